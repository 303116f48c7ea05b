//! That a Receiver is not told what it should be is one alert: said to the others beside it, and once more when something arrives there again.
//!
//! What is given up for a Receiver is known from the outbox. The others are those of its namespace whom rules tell, and whom all was told that
//! was for them: who has a `fallback` has that one told of the very alerts, so it is not told of this too. It lies in the outbox like any
//! other. What was said is in the log of notices, so that no restart says it twice, or forgets that it is over. That such a word was given up
//! in its turn is no reason for another one.

use std::collections::{BTreeMap, BTreeSet};

use crds::{Kind, Object, Severity};
use jiff::{SignedDuration, Timestamp};
use reconcile::alerting::alerts::Changes;
use reconcile::alerting::{LISTED, Notice, Reason, Said};
use reconcile::record::Actor;
use reconcile::{Desired, Name};
use store::{Lost, Store};

use super::{Engine, audit, own_network};

/// What the alert is called.
const RULE: &str = "EvenkeelReceiverNotTold";
/// What its threads begin with: by that the store finds them.
const THREAD: &str = "undelivered-";
/// The label that says which Receiver is not told.
const RECEIVER: &str = "receiver";
/// How often it is looked at, whatever else happens, and how soon a store is asked again that could not be read.
const AGAIN: SignedDuration = SignedDuration::from_secs(30);

/// Who was told of whom.
#[derive(Default)]
pub(super) struct NotTold {
    /// What was said; none: the store was not asked yet, or has not taken it yet.
    said: Option<Standing>,
    /// When it was last looked at.
    looked: Option<Timestamp>,
}

/// Of each Receiver that is not told, who believes that, and since when.
type Standing = BTreeMap<Name, Believed>;

#[derive(Clone, Debug, PartialEq)]
struct Believed {
    since: Timestamp,
    by: BTreeSet<Name>,
}

/// What is to be said, as what it is remembered once that is written, and which Receivers are not told from now on, or are again.
struct News {
    notices: Vec<Notice>,
    standing: Standing,
    turned: Vec<(Name, bool)>,
}

impl NotTold {
    /// When it has to be looked at again.
    pub(super) fn look_again(&self) -> Option<Timestamp> {
        self.looked?.checked_add(AGAIN).ok()
    }

    /// What is to be said by now. `lost`: none as long as nobody has looked into the outbox.
    async fn turned(
        &mut self,
        store: &Store,
        desired: &Desired,
        lost: Option<&[Lost]>,
        now: Timestamp,
    ) -> Result<Option<News>, store::Error> {
        // Nobody waits for a store that can't be read each time that anything happens.
        if self.said.is_none() && self.looked.is_some_and(|at| now.duration_since(at).abs() < AGAIN) {
            return Ok(None);
        }
        self.looked = Some(now);
        if self.said.is_none() {
            self.said = Some(standing(&store.said_of_undelivered().await?));
        }
        let (Some(said), Some(lost)) = (&self.said, lost) else { return Ok(None) };
        let news = news(said, desired, lost, now);
        if news.is_some() {
            // Until it is known to be written, the store is asked: its answer may be lost.
            *self = Self::default();
        }
        Ok(news)
    }
}

/// What is otherwise than it was said, if anything is.
fn news(said: &Standing, desired: &Desired, lost: &[Lost], now: Timestamp) -> Option<News> {
    let failing: BTreeSet<&Name> = lost.iter().map(|lost| &lost.receiver).collect();
    let (mut standing, mut turned) = (said.clone(), Vec::new());
    standing.retain(|receiver, _| failing.contains(receiver));
    let mut over: BTreeMap<(Timestamp, &Name), Vec<Said>> = BTreeMap::new();
    for (receiver, believed) in said.iter().filter(|(receiver, _)| !failing.contains(receiver)) {
        turned.push((receiver.clone(), false));
        let well = said_of(receiver, "is told again", believed.since, Some(now));
        believed.by.iter().for_each(|other| over.entry((believed.since, other)).or_default().push(well.clone()));
    }
    let mut fresh: BTreeMap<Name, Vec<Said>> = BTreeMap::new();
    for (lost, others) in not_said(said, desired, lost, &failing).into_iter().take(LISTED) {
        turned.push((lost.receiver.clone(), true));
        let many = if lost.count == 1 { "1 notification was".to_owned() } else { format!("{} notifications were", lost.count) };
        let wrong = said_of(&lost.receiver, &format!("is not told: {many} given up; last: {}", lost.problem), now, None);
        others.iter().for_each(|other| fresh.entry(other.clone()).or_default().push(wrong.clone()));
        standing.insert(lost.receiver.clone(), Believed { since: now, by: others });
    }
    let remains = |since: Timestamp, other: &Name| standing.values().any(|believed| believed.since == since && believed.by.contains(other));
    let over = over.into_iter().map(|((since, other), said)| {
        let reason = if remains(since, other) { Reason::NewResolved } else { Reason::AllResolved };
        notice(other, since, reason, now, said)
    });
    let fresh = fresh.into_iter().map(|(other, said)| notice(&other, now, Reason::First, now, said));
    let notices: Vec<Notice> = over.chain(fresh).collect();
    (!turned.is_empty()).then_some(News { notices, standing, turned })
}

/// Receivers that are not told and of whom nobody knows it yet, with those who are to know. With nobody to be told of it, it waits.
fn not_said<'a>(said: &Standing, desired: &Desired, lost: &'a [Lost], failing: &BTreeSet<&Name>) -> Vec<(&'a Lost, BTreeSet<Name>)> {
    let new: Vec<&Lost> = lost.iter().filter(|lost| lost.of_alerts > 0 && !said.contains_key(&lost.receiver)).collect();
    if new.is_empty() {
        return Vec::new();
    }
    let told = own_network::receivers(desired);
    let with_others = |lost: &'a Lost| {
        let object = desired.objects.get(&(Kind::Receiver, lost.receiver.clone()))?;
        let Object::Receiver(receiver) = &**object else { return None };
        let fallback = receiver.spec.fallback.as_ref().map(|fallback| lost.receiver.sibling(fallback));
        let is_other = |other: &&Name| {
            other.namespace() == lost.receiver.namespace() && !failing.contains(*other) && fallback.as_ref() != Some(*other)
        };
        let others: BTreeSet<Name> = told.iter().filter(is_other).cloned().collect();
        (!others.is_empty()).then_some((lost, others))
    };
    new.into_iter().filter_map(with_others).collect()
}

/// By the notices of the newest time that it was said of each. Who is told instead of somebody else hears of the end as that one does.
fn standing(said: &[Notice]) -> Standing {
    let said: Vec<&Notice> = said.iter().filter(|notice| notice.instead.is_none()).collect();
    let resolved = said.iter().flat_map(|notice| notice.resolved.iter().map(move |said| (said.id.as_str(), &notice.receiver)));
    let over: BTreeSet<(&str, &Name)> = resolved.collect();
    let mut standing = Standing::new();
    for (notice, said) in said.iter().flat_map(|notice| notice.firing.iter().map(move |said| (notice, said))) {
        let Some(receiver) = said.labels.get(RECEIVER) else { continue };
        if over.contains(&(said.id.as_str(), &notice.receiver)) {
            continue;
        }
        let new = Believed { since: said.since, by: BTreeSet::new() };
        let believed = standing.entry(Name::parse(receiver)).or_insert_with(|| new.clone());
        if believed.since < said.since {
            *believed = new;
        }
        if believed.since == said.since {
            believed.by.insert(notice.receiver.clone());
        }
    }
    standing
}

fn said_of(receiver: &Name, words: &str, since: Timestamp, ended: Option<Timestamp>) -> Said {
    Said {
        id: format!("{THREAD}{}-{receiver}", since.as_millisecond()),
        rule: receiver.sibling(RULE),
        device: receiver.sibling("evenkeel"),
        severity: Severity::Critical,
        labels: [("rule".to_owned(), RULE.to_owned()), (RECEIVER.to_owned(), receiver.full().to_owned())].into(),
        summary: format!("receiver {receiver} {words}"),
        value: None,
        since,
        ended,
        last_change: None,
        behind: 0,
    }
}

fn notice(other: &Name, since: Timestamp, reason: Reason, now: Timestamp, said: Vec<Said>) -> Notice {
    let thread = format!("{THREAD}{}-{other}", since.as_millisecond());
    let is_first = reason == Reason::First;
    let id = if is_first { format!("{thread}-not-told") } else { format!("{thread}-told-{}", now.as_millisecond()) };
    let (firing, resolved) = if is_first { (said, Vec::new()) } else { (Vec::new(), said) };
    Notice {
        id,
        receiver: other.clone(),
        thread,
        reason,
        at: now,
        group: [("rule".to_owned(), RULE.to_owned())].into(),
        firing,
        resolved,
        left_off: (0, 0),
        instead: None,
    }
}

impl Engine {
    /// Says that a Receiver is not told, or is again, where that is news.
    pub(super) async fn say_not_told(&mut self, desired: &Desired, now: Timestamp) {
        if self.store_away {
            return;
        }
        let lost = {
            let view = self.read();
            view.outbox.looked_at.map(|_| view.outbox.standing.lost.clone())
        };
        let News { notices, standing, turned } = match self.alerts.not_told.turned(&self.store, desired, lost.as_deref(), now).await {
            Ok(None) => return,
            Ok(Some(news)) => news,
            Err(error) => {
                tracing::warn!(%error, "what was said of receivers that are not told can't be read yet");
                return;
            }
        };
        let entry = |(receiver, is_lost): &(Name, bool)| {
            audit(Actor::engine(), if *is_lost { "fire" } else { "resolve" }, &format!("receiver/{receiver}"), RULE)
        };
        let entries = turned.iter().map(entry).collect();
        let changes = Changes { notices, ..Changes::default() };
        if let Err(error) = self.store.record_alerts(&changes, entries, now).await {
            return self.alerts_refused(&error);
        }
        self.alerts.not_told = NotTold { said: Some(standing), looked: Some(now) };
        tracing::warn!(?turned, told = changes.notices.len(), "receivers that are not told, or are again");
        self.said.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use store::{Delivery, Options};

    use super::*;

    fn desired() -> Desired {
        let object = |kind: Kind, name: &str, spec: serde_json::Value| {
            let (namespace, name) = name.split_once('/').unwrap_or(("default", name));
            let metadata = serde_json::json!({"name": name, "namespace": namespace});
            let value =
                serde_json::json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": kind.as_str(), "metadata": metadata, "spec": spec});
            Arc::new(Object::from_value(kind, value).unwrap())
        };
        let hook = |fallback: &str| match fallback {
            "" => serde_json::json!({"webhook": {"url": "https://example.com"}}),
            fallback => serde_json::json!({"webhook": {"url": "https://example.com"}, "fallback": fallback}),
        };
        let rule = |receivers: &[&str]| {
            let notify = serde_json::json!({"receivers": receivers, "escalate": [{"after": "15m", "receivers": ["boss"]}]});
            serde_json::json!({"expr": "usage.cpu.ratio > 0.9", "severity": "warning", "notify": notify})
        };
        let receivers = [("oncall", ""), ("chat", ""), ("mail", "chat"), ("boss", ""), ("other/ops", "")];
        let objects = receivers.map(|(name, fallback)| object(Kind::Receiver, name, hook(fallback)));
        let rules = [object(Kind::AlertRule, "a", rule(&["oncall", "mail", "chat"])), object(Kind::AlertRule, "other/b", rule(&["ops"]))];
        Desired::build(objects.into_iter().chain(rules), reconcile::Revision::default()).0
    }

    fn lost(receiver: &str, count: u64) -> Lost {
        Lost { receiver: Name::parse(receiver), count, of_alerts: count, since: at(0), last: at(0), problem: "550 full".into() }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    async fn open(folder: &tempfile::TempDir) -> Store {
        Store::open(&Options { data: folder.path().to_owned(), url: None }).await.unwrap()
    }

    /// To whom, why, and of whom.
    fn words(notices: &[Notice]) -> Vec<String> {
        let of = |said: &Said| said.labels[RECEIVER].trim_start_matches("default/").to_owned();
        let word = |notice: &Notice| {
            let all: Vec<String> = notice.firing.iter().chain(&notice.resolved).map(of).collect();
            format!("{} {:?} {}", notice.receiver, notice.reason, all.join(" "))
        };
        notices.iter().map(word).collect()
    }

    async fn said(not_told: &mut NotTold, store: &Store, lost: Option<&[Lost]>, now: Timestamp) -> Vec<String> {
        let Some(News { notices, standing, .. }) = not_told.turned(store, &desired(), lost, now).await.unwrap() else { return Vec::new() };
        let words = words(&notices);
        store.record_alerts(&Changes { notices, ..Changes::default() }, Vec::new(), now).await.unwrap();
        *not_told = NotTold { said: Some(standing), looked: Some(now) };
        words
    }

    /// Once that it is not told, to the others who are, and once to the same that it is again; also over a restart, which knows at first nothing
    /// of the outbox.
    #[tokio::test]
    async fn it_is_one_alert_whatever_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder).await;
        let mut not_told = NotTold::default();
        assert_eq!(said(&mut not_told, &store, Some(&[]), at(0)).await, Vec::<String>::new());
        assert_eq!(not_told.look_again(), Some(at(30)), "nothing else may happen by which it would be known");
        assert_eq!(said(&mut not_told, &store, Some(&[lost("oncall", 1)]), at(5)).await, ["chat First oncall", "mail First oncall"]);
        assert_eq!(said(&mut not_told, &store, Some(&[lost("oncall", 7)]), at(600)).await, Vec::<String>::new());
        let mut next = NotTold::default();
        assert_eq!(said(&mut next, &store, None, at(700)).await, Vec::<String>::new());
        assert_eq!(said(&mut next, &store, Some(&[lost("oncall", 7)]), at(710)).await, Vec::<String>::new());
        assert_eq!(said(&mut next, &store, Some(&[]), at(800)).await, ["chat AllResolved oncall", "mail AllResolved oncall"]);
        let mut last = NotTold::default();
        assert_eq!(said(&mut last, &store, Some(&[]), at(900)).await, Vec::<String>::new());
        assert_eq!(said(&mut last, &store, Some(&[lost("oncall", 1)]), at(910)).await.len(), 2, "the next time is the next alert");
    }

    #[test]
    fn who_is_told_of_whom() {
        let table: [(&[&str], &[&str]); 7] = [
            // Whom it names to be told instead was told of the alerts themselves.
            (&["mail"], &["oncall First mail"]),
            (&["oncall", "mail"], &["chat First oncall"]),
            (&["oncall", "mail", "chat"], &[]),
            // One message of both, and none to who is not told either.
            (&["oncall", "boss"], &["chat First oncall boss", "mail First oncall boss"]),
            // Whom rules tell later.
            (&["boss"], &["chat First boss", "mail First boss", "oncall First boss"]),
            // What somebody has in a namespace is nothing for another one.
            (&["other/ops"], &[]),
            // It is not there any more.
            (&["gone"], &[]),
        ];
        for (failing, expected) in table {
            let all: Vec<Lost> = failing.iter().map(|receiver| lost(receiver, 2)).collect();
            let said = news(&Standing::new(), &desired(), &all, at(0));
            assert_eq!(said.map(|news| words(&news.notices)).unwrap_or_default(), expected, "{failing:?}");
        }
    }

    #[test]
    fn it_says_how_many_and_why() {
        let said = |count| news(&Standing::new(), &desired(), &[lost("mail", count)], at(0)).unwrap().notices[0].firing[0].summary.clone();
        assert_eq!(said(1), "receiver mail is not told: 1 notification was given up; last: 550 full");
        assert_eq!(said(3), "receiver mail is not told: 3 notifications were given up; last: 550 full");
    }

    /// One of two is told again.
    #[test]
    fn the_end_of_one_is_not_that_of_the_other() {
        let desired = desired();
        let both = news(&Standing::new(), &desired, &[lost("oncall", 1), lost("boss", 1)], at(0)).unwrap();
        let one = news(&both.standing, &desired, &[lost("boss", 1)], at(60)).unwrap();
        assert_eq!(words(&one.notices), ["chat NewResolved oncall", "mail NewResolved oncall"]);
        assert_eq!(one.turned, [(Name::parse("oncall"), false)]);
        let last = news(&one.standing, &desired, &[], at(90)).unwrap();
        assert_eq!(words(&last.notices), ["chat AllResolved boss", "mail AllResolved boss"]);
        assert!(last.standing.is_empty());
        let threads: BTreeSet<&str> = both.notices.iter().chain(&last.notices).map(|notice| notice.thread.as_str()).collect();
        assert_eq!(threads.len(), 2, "one for each who is told");
        let all: Vec<Notice> = both.notices.into_iter().chain(one.notices).collect();
        assert_eq!(standing(&all), one.standing, "as the store has it");
    }

    /// A word that is given up makes no further one, however many there are.
    #[tokio::test]
    async fn it_does_not_speak_of_itself() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder).await;
        let mut not_told = NotTold::default();
        assert_eq!(said(&mut not_told, &store, Some(&[lost("oncall", 1)]), at(0)).await.len(), 2);
        for row in store.notices(10).await.unwrap().iter().filter(|row| row.notice.receiver == Name::parse("mail")) {
            store.tried(&row.notice.id, &Delivery::Dead("550 full".into()), &[], None, at(1)).await.unwrap();
        }
        let mut all = store.standing().await.unwrap().lost;
        assert_eq!(all.iter().map(|lost| (lost.receiver.name(), lost.count, lost.of_alerts)).collect::<Vec<_>>(), [("mail", 1, 0)]);
        all.push(lost("oncall", 1));
        assert_eq!(said(&mut not_told, &store, Some(&all), at(60)).await, Vec::<String>::new());
    }

    /// The store may have written what it has not said that it has.
    #[tokio::test]
    async fn a_lost_answer_is_no_second_alert() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder).await;
        let (mut not_told, failing, desired) = (NotTold::default(), [lost("oncall", 1)], desired());
        let written = not_told.turned(&store, &desired, Some(&failing), at(0)).await.unwrap().unwrap();
        store.record_alerts(&Changes { notices: written.notices, ..Changes::default() }, Vec::new(), at(0)).await.unwrap();
        assert_eq!(said(&mut not_told, &store, Some(&failing), at(2)).await, Vec::<String>::new());
        assert_eq!(said(&mut not_told, &store, Some(&[]), at(60)).await, ["chat AllResolved oncall", "mail AllResolved oncall"]);
    }
}
