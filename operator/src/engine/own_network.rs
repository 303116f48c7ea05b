//! That our own network is down is one alert: said to everybody whom rules tell, and once more when it is back.
//!
//! It lies in the outbox like any other: whoever can be reached hears of it at once, and the others when the network is back. What was said
//! is in the log of notices, so that neither a restart nor another planner says it twice, or forgets that it is over. With shards each
//! replica knows of its own network; the first that is down is the alert, and the last that is back its end. As long as somebody does not
//! know how it stands, it is neither.

use std::collections::BTreeSet;

use crds::{Kind, Object, Severity};
use jiff::{SignedDuration, Timestamp};
use reconcile::alerting::alerts::Changes;
use reconcile::alerting::{Notice, Reason, Said};
use reconcile::record::Actor;
use reconcile::{Desired, Name};
use store::Store;

use super::{Engine, audit};

/// What the alert is called.
const RULE: &str = "EvenkeelOwnNetworkDown";
/// What its threads begin with: by that the store finds them.
const THREAD: &str = "own-network-";

/// That the network is not down is known by itself after a while, and a store that could not be read may be read by then.
const AGAIN: SignedDuration = SignedDuration::from_secs(30);

/// Who was told of our own network.
#[derive(Default)]
pub(super) struct OwnNetwork {
    /// What was said; none: the store was not asked yet, or has not taken it yet.
    said: Option<Standing>,
    /// When it was last looked at.
    looked: Option<Timestamp>,
}

/// Who believes that it is down, and since when.
type Standing = Option<(Timestamp, BTreeSet<Name>)>;

impl OwnNetwork {
    /// When it has to be looked at again.
    pub(super) fn look_again(&self) -> Option<Timestamp> {
        self.looked.filter(|_| !matches!(self.said, Some(None)))?.checked_add(AGAIN).ok()
    }

    /// What is to be said by now, and as what it is remembered once that is written. `is_down`: none as long as that is not known.
    async fn turned(
        &mut self,
        store: &Store,
        desired: &Desired,
        is_down: Option<bool>,
        now: Timestamp,
    ) -> Result<Option<(Vec<Notice>, Standing)>, store::Error> {
        // Nobody waits for a store that can't be read each time that anything happens.
        if self.said.is_none() && self.looked.is_some_and(|at| now.duration_since(at).abs() < AGAIN) {
            return Ok(None);
        }
        self.looked = Some(now);
        if self.said.is_none() {
            self.said = Some(standing(&store.said_of_own_network().await?));
        }
        let news: Option<(Vec<Notice>, Standing)> = match (self.said.as_ref().and_then(Option::as_ref), is_down) {
            (None, Some(true)) => {
                let receivers = receivers(desired);
                let notices = receivers.iter().map(|receiver| notice(receiver, now, None)).collect();
                Some((notices, Some((now, receivers))))
            }
            (Some((since, receivers)), Some(false)) => {
                Some((receivers.iter().map(|receiver| notice(receiver, *since, Some(now))).collect(), None))
            }
            _ => None,
        };
        if news.is_some() {
            // Until it is known to be written, the store is asked: its answer may be lost.
            *self = Self::default();
        }
        Ok(news)
    }
}

/// Those whom rules tell at once, and who are there to be told.
pub(super) fn receivers(desired: &Desired) -> BTreeSet<Name> {
    let rules = desired.rules.values().filter(|rule| !rule.suspend).filter_map(|rule| rule.routing.as_ref());
    let named = rules.flat_map(|routing| routing.routes().filter(|(route, _)| route.level == 0).map(|(route, _)| route.receiver));
    let is_there = |receiver: &Name| {
        let object = desired.objects.get(&(Kind::Receiver, receiver.clone()));
        matches!(object.map(|object| &**object), Some(Object::Receiver(receiver)) if receiver.spec.suspend != Some(true))
    };
    named.filter(is_there).collect()
}

/// By the notices of the newest time that it was said. Who is told instead of somebody else hears of the end as that one does.
fn standing(said: &[Notice]) -> Standing {
    let said: Vec<&Notice> = said.iter().filter(|notice| notice.instead.is_none()).collect();
    let since = said.iter().flat_map(|notice| notice.firing.iter().chain(&notice.resolved)).map(|said| said.since).max()?;
    let of = |all: fn(&Notice) -> &Vec<Said>| -> BTreeSet<Name> {
        said.iter().filter(|notice| all(notice).iter().any(|said| said.since == since)).map(|notice| notice.receiver.clone()).collect()
    };
    let believes: BTreeSet<Name> = of(|notice| &notice.firing).difference(&of(|notice| &notice.resolved)).cloned().collect();
    (!believes.is_empty()).then_some((since, believes))
}

fn notice(receiver: &Name, since: Timestamp, ended: Option<Timestamp>) -> Notice {
    let thread = format!("{THREAD}{}-{receiver}", since.as_millisecond());
    let said = Said {
        id: format!("{THREAD}{}", since.as_millisecond()),
        rule: receiver.sibling(RULE),
        device: receiver.sibling("evenkeel"),
        severity: Severity::Critical,
        labels: [("rule".to_owned(), RULE.to_owned())].into(),
        summary:
            "evenkeel's own network is down: none of its references answers, so nothing is known of the devices that are reached from there"
                .into(),
        value: None,
        since,
        ended,
        last_change: None,
        behind: 0,
    };
    let (reason, word) = if ended.is_none() { (Reason::First, "down") } else { (Reason::AllResolved, "back") };
    let (firing, resolved) = if ended.is_none() { (vec![said], Vec::new()) } else { (Vec::new(), vec![said]) };
    Notice {
        id: format!("{thread}-{word}"),
        receiver: receiver.clone(),
        thread,
        reason,
        at: ended.unwrap_or(since),
        group: [("rule".to_owned(), RULE.to_owned())].into(),
        firing,
        resolved,
        left_off: (0, 0),
        instead: None,
    }
}

impl Engine {
    /// Says that our own network is down, or back, where that is news.
    pub(super) async fn say_own_network(&mut self, desired: &Desired, now: Timestamp) {
        if self.store_away {
            return;
        }
        let is_down = self.hands.network_down().or_else(|| self.alerts.network_down());
        let (notices, standing) = match self.alerts.own_network.turned(&self.store, desired, is_down, now).await {
            Ok(None) => return,
            Ok(Some(news)) => news,
            Err(error) => {
                tracing::warn!(%error, "what was said of our own network can't be read yet");
                return;
            }
        };
        let is_down = standing.is_some();
        let entry = audit(Actor::engine(), if is_down { "fire" } else { "resolve" }, "engine/own-network", RULE);
        let changes = Changes { notices, ..Changes::default() };
        if let Err(error) = self.store.record_alerts(&changes, vec![entry], now).await {
            return self.alerts_refused(&error);
        }
        self.alerts.own_network.said = Some(standing);
        tracing::warn!(is_down, told = changes.notices.len(), "our own network");
        self.said.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use store::Options;

    use super::*;

    fn desired() -> Desired {
        let object = |kind: Kind, name: &str, spec: serde_json::Value| {
            let value =
                serde_json::json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": kind.as_str(), "metadata": {"name": name}, "spec": spec});
            Arc::new(Object::from_value(kind, value).unwrap())
        };
        let hook = |suspend: bool| serde_json::json!({"webhook": {"url": "https://example.com"}, "suspend": suspend});
        let rule = |receivers: &[&str]| {
            let notify = serde_json::json!({"receivers": receivers, "escalate": [{"after": "15m", "receivers": ["boss"]}]});
            serde_json::json!({"expr": "usage.cpu.ratio > 0.9", "severity": "warning", "notify": notify})
        };
        let receivers = [("oncall", false), ("chat", false), ("boss", false), ("asleep", true)];
        let objects = receivers.map(|(name, suspend)| object(Kind::Receiver, name, hook(suspend)));
        let rules = [object(Kind::AlertRule, "a", rule(&["oncall", "asleep"])), object(Kind::AlertRule, "b", rule(&["oncall", "chat"]))];
        Desired::build(objects.into_iter().chain(rules), reconcile::Revision::default()).0
    }

    async fn said(network: &mut OwnNetwork, store: &Store, is_down: Option<bool>, now: Timestamp) -> Vec<String> {
        let Some((notices, standing)) = network.turned(store, &desired(), is_down, now).await.unwrap() else { return Vec::new() };
        let said = write(store, notices, now).await;
        network.said = Some(standing);
        said
    }

    async fn write(store: &Store, notices: Vec<Notice>, now: Timestamp) -> Vec<String> {
        let word = |notice: &Notice| format!("{} {:?} {}+{}", notice.receiver, notice.reason, notice.firing.len(), notice.resolved.len());
        let said: Vec<String> = notices.iter().map(word).collect();
        store.record_alerts(&Changes { notices, ..Changes::default() }, Vec::new(), now).await.unwrap();
        said
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    async fn open(folder: &tempfile::TempDir) -> Store {
        Store::open(&Options { data: folder.path().to_owned(), url: None }).await.unwrap()
    }

    /// Once that it is down, and once that it is back, to each who was told; also over a restart, which knows at first nothing of the network.
    #[tokio::test]
    async fn it_is_one_alert_whatever_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder).await;
        let mut network = OwnNetwork::default();
        let mut all = Vec::new();
        for (second, is_down) in [(0, Some(false)), (200, Some(true)), (230, Some(true))] {
            all.extend(said(&mut network, &store, is_down, at(second)).await);
        }
        assert_eq!(all, ["chat First 1+0", "oncall First 1+0"]);
        // Killed while it is down: the next one does not know yet that it is.
        let mut next = OwnNetwork::default();
        for (second, is_down) in [(300, None), (330, Some(true)), (600, Some(true))] {
            assert_eq!(said(&mut next, &store, is_down, at(second)).await, Vec::<String>::new());
        }
        // And killed once more, and back meanwhile.
        let mut last = OwnNetwork::default();
        assert_eq!(said(&mut last, &store, None, at(700)).await, Vec::<String>::new());
        assert_eq!(last.look_again(), Some(at(730)), "nothing else may happen by which it would be known");
        let over = said(&mut last, &store, Some(false), at(830)).await;
        assert_eq!(over, ["chat AllResolved 0+1", "oncall AllResolved 0+1"]);
        assert_eq!((said(&mut last, &store, Some(false), at(900)).await.len(), last.look_again()), (0, None));
        let mut after = OwnNetwork::default();
        assert_eq!(said(&mut after, &store, Some(false), at(5000)).await.len(), 0);
        assert_eq!(said(&mut after, &store, Some(true), at(5200)).await.len(), 2, "the next time is the next alert");
    }

    /// The store may have written what it has not said that it has.
    #[tokio::test]
    async fn a_lost_answer_is_no_second_alert() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder).await;
        let mut network = OwnNetwork::default();
        assert_eq!(network.turned(&store, &desired(), Some(true), at(0)).await.unwrap().unwrap().0.len(), 2, "and not written");
        let (notices, _) = network.turned(&store, &desired(), Some(true), at(10)).await.unwrap().unwrap();
        assert_eq!(write(&store, notices, at(10)).await.len(), 2);
        assert_eq!(said(&mut network, &store, Some(true), at(20)).await, Vec::<String>::new());
        let (notices, _) = network.turned(&store, &desired(), Some(false), at(200)).await.unwrap().unwrap();
        assert_eq!(write(&store, notices, at(200)).await, ["chat AllResolved 0+1", "oncall AllResolved 0+1"]);
        assert_eq!(said(&mut network, &store, Some(false), at(210)).await, Vec::<String>::new());
    }

    /// A store that can't be read is asked again after a while, and not each time that anything happens.
    #[tokio::test]
    async fn what_was_said_is_read_later_where_it_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder).await;
        store.close().await;
        let mut network = OwnNetwork::default();
        network.turned(&store, &desired(), Some(true), at(0)).await.unwrap_err();
        assert!(network.turned(&store, &desired(), Some(true), at(10)).await.unwrap().is_none());
        assert_eq!(network.look_again(), Some(at(30)));
        let store = open(&folder).await;
        assert_eq!(said(&mut network, &store, Some(true), at(30)).await, ["chat First 1+0", "oncall First 1+0"]);
    }

    #[test]
    fn who_is_told_instead_hears_of_the_end_as_who_was_to_be_told() {
        let down = notice(&Name::parse("oncall"), at(0), None);
        let instead = down.instead(&Name::parse("boss"), "550 full").unwrap();
        assert_eq!(standing(&[instead, down]), Some((at(0), BTreeSet::from([Name::parse("oncall")]))));
    }
}
