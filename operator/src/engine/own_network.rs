//! That our own network is down is one alert: said to everybody whom rules tell, and once more when it is back.
//!
//! It lies in the outbox like any other: whoever can be reached hears of it at once, and the others when the network is back. What was said
//! is in the log of notices, so that neither a restart nor another planner says it twice, or forgets that it is over. With shards each
//! replica knows of its own network; the first that is down is the alert, and the last that is back its end.

use std::collections::BTreeSet;

use crds::{Kind, Object, Severity};
use jiff::Timestamp;
use reconcile::alerting::alerts::{Changes, SETTLING};
use reconcile::alerting::{Notice, Reason, Said};
use reconcile::record::Actor;
use reconcile::{Desired, Name};
use store::Store;

use super::{Engine, audit};

/// What the alert is called.
const RULE: &str = "EvenkeelOwnNetworkDown";
/// What its threads begin with: by that the store finds them.
const THREAD: &str = "own-network-";

/// How it stands with our own network, and who was told.
#[derive(Default)]
pub(super) struct OwnNetwork {
    /// Shards whose network is down, by what they said last.
    down: BTreeSet<u32>,
    /// What was said; none: the store was not asked yet.
    said: Option<Standing>,
    /// Until then nobody can know yet that it is still down.
    settles: Option<Timestamp>,
}

/// Who believes that it is down, and since when.
type Standing = Option<(Timestamp, BTreeSet<Name>)>;

impl OwnNetwork {
    /// A shard says how it stands with its network.
    pub(super) fn told(&mut self, shard: u32, is_down: bool) {
        match is_down {
            true => drop(self.down.insert(shard)),
            false => drop(self.down.remove(&shard)),
        }
    }

    /// Nobody works for this shard any more: its next holder says how it stands.
    pub(super) fn silent(&mut self, shard: u32) {
        self.down.remove(&shard);
    }

    /// Whether the network of any shard is down.
    pub(super) fn is_down(&self) -> bool {
        !self.down.is_empty()
    }

    /// When it has to be looked at again.
    pub(super) fn look_again(&self) -> Option<Timestamp> {
        self.settles.filter(|_| matches!(self.said, Some(Some(_))))
    }

    /// What is to be said by now, and as what it is remembered once that is written.
    async fn turned(
        &mut self,
        store: &Store,
        desired: &Desired,
        is_down: bool,
        now: Timestamp,
    ) -> Result<Option<(Vec<Notice>, Standing)>, store::Error> {
        let settles = *self.settles.get_or_insert_with(|| now.checked_add(SETTLING).unwrap_or(now));
        if self.said.is_none() {
            self.said = Some(standing(&store.said_of_own_network().await?));
        }
        Ok(match self.said.as_ref().and_then(Option::as_ref) {
            None if is_down => {
                let receivers = receivers(desired);
                let notices = receivers.iter().map(|receiver| notice(receiver, now, None)).collect();
                Some((notices, Some((now, receivers))))
            }
            Some((since, receivers)) if !is_down && settles <= now => {
                Some((receivers.iter().map(|receiver| notice(receiver, *since, Some(now))).collect(), None))
            }
            _ => None,
        })
    }
}

/// Those whom rules tell at once, and who are there to be told.
fn receivers(desired: &Desired) -> BTreeSet<Name> {
    let rules = desired.rules.values().filter(|rule| !rule.suspend).filter_map(|rule| rule.routing.as_ref());
    let named = rules.flat_map(|routing| routing.routes().filter(|(route, _)| route.level == 0).map(|(route, _)| route.receiver));
    let is_there = |receiver: &Name| {
        let object = desired.objects.get(&(Kind::Receiver, receiver.clone()));
        matches!(object.map(|object| &**object), Some(Object::Receiver(receiver)) if receiver.spec.suspend != Some(true))
    };
    named.filter(is_there).collect()
}

/// By the notices of the newest time that it was said.
fn standing(said: &[Notice]) -> Standing {
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
        let is_down = if self.alerts.is_told() { self.alerts.own_network.is_down() } else { self.read().own_network_down };
        let (notices, standing) = match self.alerts.own_network.turned(&self.store, desired, is_down, now).await {
            Ok(None) => return,
            Ok(Some(news)) => news,
            Err(error) => return self.store_failed(&error),
        };
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

    async fn said(network: &mut OwnNetwork, store: &Store, is_down: bool, now: Timestamp) -> Vec<String> {
        let Some((notices, standing)) = network.turned(store, &desired(), is_down, now).await.unwrap() else { return Vec::new() };
        let changes = Changes { notices, ..Changes::default() };
        store.record_alerts(&changes, Vec::new(), now).await.unwrap();
        network.said = Some(standing);
        let word = |notice: &Notice| format!("{} {:?} {}+{}", notice.receiver, notice.reason, notice.firing.len(), notice.resolved.len());
        changes.notices.iter().map(word).collect()
    }

    /// Once that it is down, and once that it is back, to each who was told; also over a restart, which knows at first nothing of the network.
    #[tokio::test]
    async fn it_is_one_alert_whatever_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&Options { data: folder.path().to_owned(), url: None }).await.unwrap();
        let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).unwrap();
        let mut network = OwnNetwork::default();
        let mut all = Vec::new();
        for (second, is_down) in [(0, false), (200, true), (230, true)] {
            all.extend(said(&mut network, &store, is_down, at(second)).await);
        }
        assert_eq!(all, ["chat First 1+0", "oncall First 1+0"]);
        // Killed while it is down: the next one does not know yet that it is.
        let mut next = OwnNetwork::default();
        for (second, is_down) in [(300, false), (330, true), (600, true)] {
            assert_eq!(said(&mut next, &store, is_down, at(second)).await, Vec::<String>::new());
        }
        // And killed once more, and back meanwhile.
        let mut last = OwnNetwork::default();
        assert_eq!(said(&mut last, &store, false, at(700)).await, Vec::<String>::new());
        assert_eq!(last.look_again(), Some(at(700).checked_add(SETTLING).unwrap()));
        let over = said(&mut last, &store, false, at(700).checked_add(SETTLING).unwrap()).await;
        assert_eq!(over, ["chat AllResolved 0+1", "oncall AllResolved 0+1"]);
        assert_eq!((said(&mut last, &store, false, at(900)).await.len(), last.look_again()), (0, None));
        let mut after = OwnNetwork::default();
        assert_eq!(said(&mut after, &store, false, at(5000)).await.len(), 0);
        assert_eq!(said(&mut after, &store, true, at(5200)).await.len(), 2, "the next time is the next alert");
    }

    #[test]
    fn the_first_shard_that_is_down_is_the_alert_and_the_last_that_is_back_its_end() {
        let mut network = OwnNetwork::default();
        let mut after = |shard: u32, is_down: bool| {
            network.told(shard, is_down);
            network.is_down()
        };
        assert_eq!([after(1, false), after(1, true), after(2, true), after(1, false), after(2, false)], [false, true, true, true, false]);
        network.told(3, true);
        network.silent(3);
        assert!(!network.is_down(), "nobody speaks for it");
    }
}
