//! Alerts that are over: remembered as they were, listed page by page, forgotten after a while.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use reconcile::Name;
use reconcile::alerting::Truth;
use reconcile::alerting::alerts::Changes;
use reconcile::alerting::state::{Instance, Subject, Timing, Verdict, advance};
use store::{ALERTS_KEPT, Past, Store};

use crate::places::places;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + second).unwrap()
}

fn timing() -> Timing {
    let no_data = serde_json::from_value("Keep".into()).unwrap();
    Timing { hold_for: SignedDuration::ZERO, keep_firing_for: SignedDuration::ZERO, no_data }
}

/// What is so on a device at that time, after what was so before.
fn next(before: Option<&Instance>, device: &str, truth: Truth, second: i64) -> Instance {
    let subject = Subject {
        rule: Name::parse("down"),
        device: Name::parse(device),
        severity: serde_json::from_value("critical".into()).unwrap(),
        labels: BTreeMap::from([("site".into(), "a\0ms".into())]),
        summary: format!("{device}: \u{1a} down"),
        last_change: None,
        behind: 0,
        lines: Vec::new(),
    };
    advance(&timing(), before, &subject, &Verdict::of(truth, None), &[], at(second)).instance.unwrap()
}

/// All that came to be well since then.
fn since(second: i64) -> Past {
    Past { since: at(second), ..Past::default() }
}

async fn write(store: &Store, device: &str, instance: Option<Instance>, second: i64) {
    let key = (Name::parse("down"), Name::parse(device));
    let changes = Changes { instances: BTreeMap::from([(key, instance)]), ..Changes::default() };
    store.record_alerts(&changes, Vec::new(), at(second)).await.unwrap();
}

/// It fires for a second, is well, and gone after that.
async fn comes_and_goes(store: &Store, device: &str, second: i64) -> Instance {
    let fires = next(None, device, Truth::True, second);
    write(store, device, Some(fires.clone()), second).await;
    let over = next(Some(&fires), device, Truth::False, second + 1);
    write(store, device, Some(over.clone()), second + 1).await;
    write(store, device, None, second + 1000).await;
    over
}

/// Page by page until there is nothing more.
async fn pages(store: &Store, mut past: Past, size: usize) -> Vec<Instance> {
    let mut found = Vec::new();
    loop {
        let page = store.past_alerts(&past, size).await.unwrap();
        let Some(last) = page.last() else { return found };
        past.behind = Some((last.resolved_at.unwrap(), last.id.clone()));
        found.extend(page);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_is_remembered_and_listed_in_pages() {
    for place in places().await {
        let store = Store::open(&place.options).await.unwrap();
        store.alerts().await.unwrap();
        // Two of them at the same moment, and one that has not ended.
        let mut over = Vec::new();
        for (device, second) in [("web-01", 0), ("web-02", 10), ("web-03", 10), ("web-01", 20)] {
            over.push(comes_and_goes(&store, device, second).await);
        }
        write(&store, "web-09", Some(next(None, "web-09", Truth::True, 30)), 30).await;
        let mut newest = over.clone();
        newest.sort_by(|a, b| (b.resolved_at, &b.id).cmp(&(a.resolved_at, &a.id)));
        assert_eq!(store.past_alerts(&since(0), 10).await.unwrap(), newest, "{}", place.name);
        for size in 1..4 {
            assert_eq!(pages(&store, since(0), size).await, newest, "{} {size}", place.name);
        }
        assert_eq!(store.past_alerts(&since(21), 10).await.unwrap(), newest[..1], "{}", place.name);
        assert_eq!(store.past_alert(&over[1].id).await.unwrap().as_ref(), Some(&over[1]), "{}", place.name);
        assert_eq!(store.past_alert("none").await.unwrap(), None, "{}", place.name);

        // Written once more, as after an answer that was lost, it is there once.
        write(&store, "web-01", Some(over[3].clone()), 40).await;
        assert_eq!(store.past_alerts(&since(0), 10).await.unwrap(), newest, "{}", place.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_found_by_its_rule_and_its_device() {
    for place in places().await {
        let store = Store::open(&place.options).await.unwrap();
        store.alerts().await.unwrap();
        for (device, second) in [("web-01", 0), ("web-02", 10), ("lab/web-01", 20), ("web-01", 30)] {
            comes_and_goes(&store, device, second).await;
        }
        let name = |name: &str| Some(Name::parse(name));
        for (rule, device, expected) in [
            (None, name("web-01"), 2),
            (name("down"), None, 4),
            (name("down"), name("lab/web-01"), 1),
            (name("lab/down"), None, 0),
            (name("down"), name("web-09"), 0),
        ] {
            for size in [1, 10] {
                let past = Past { rule: rule.clone(), device: device.clone(), ..since(0) };
                let found = pages(&store, past, size).await;
                assert_eq!(found.len(), expected, "{} {rule:?} {device:?} {size}", place.name);
                assert!(found.iter().all(|alert| device.as_ref().is_none_or(|device| alert.subject.device == *device)), "{}", place.name);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_been_over_for_long_is_forgotten() {
    for place in places().await {
        let store = Store::open(&place.options).await.unwrap();
        store.alerts().await.unwrap();
        comes_and_goes(&store, "web-01", 0).await;
        let kept = ALERTS_KEPT.as_secs();
        comes_and_goes(&store, "web-02", kept).await;
        assert_eq!(store.past_alerts(&since(0), 10).await.unwrap().len(), 2, "{}", place.name);
        let last = comes_and_goes(&store, "web-03", kept + 10).await;
        let left = store.past_alerts(&since(0), 10).await.unwrap();
        assert_eq!((left.len(), left.first()), (2, Some(&last)), "{}", place.name);
    }
}

/// Its condition held and it did not fire: nobody was told, and nobody asks for it.
#[tokio::test(flavor = "multi_thread")]
async fn what_never_fired_was_no_alert() {
    for place in places().await {
        let store = Store::open(&place.options).await.unwrap();
        store.alerts().await.unwrap();
        let mut pending = next(None, "web-01", Truth::True, 0);
        pending.fired_at = None;
        pending.resolved_at = Some(at(1));
        write(&store, "web-01", Some(pending), 1).await;
        assert_eq!(store.past_alerts(&since(0), 10).await.unwrap(), [], "{}", place.name);
    }
}
