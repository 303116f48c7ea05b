//! Alerts: what fires, what was said and what is to be delivered are written together, and come back together.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use reconcile::Name;
use reconcile::alerting::alerts::Changes;
use reconcile::alerting::groups::{Group, Routing};
use reconcile::alerting::state::{Instance, Subject, Timing, Verdict, advance};
use reconcile::alerting::{Notice, Reason, Truth};
use reconcile::record::Actor;
use store::audit::Entry;
use store::{Delivery, Filter, Options, Store};

use crate::places::places;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + second).unwrap()
}

fn subject() -> Subject {
    Subject {
        rule: Name::parse("down"),
        device: Name::parse("web-01"),
        severity: serde_json::from_value("critical".into()).unwrap(),
        labels: BTreeMap::from([("site".into(), "a\0ms".into())]),
        summary: "web-01: \u{1a} down".into(),
        last_change: None,
        behind: 3,
    }
}

fn firing() -> Instance {
    let timing = Timing {
        hold_for: SignedDuration::ZERO,
        keep_firing_for: SignedDuration::ZERO,
        no_data: serde_json::from_value("Keep".into()).unwrap(),
    };
    advance(&timing, None, &subject(), &Verdict::of(Truth::True, Some(0.95)), &[], at(0)).instance.unwrap()
}

fn group() -> Group {
    let routing = Routing {
        receivers: vec![Name::parse("oncall")],
        group_by: vec!["site".into()],
        wait: SignedDuration::from_secs(30),
        interval: SignedDuration::from_mins(5),
        repeat: SignedDuration::from_hours(4),
        escalate: Vec::new(),
    };
    Group::new("g".into(), &routing, &subject(), at(0))
}

fn notice(id: &str) -> Notice {
    Notice {
        id: id.into(),
        receiver: Name::parse("oncall"),
        thread: "t".into(),
        reason: Reason::First,
        at: at(0),
        group: BTreeMap::new(),
        firing: vec![firing().said()],
        resolved: Vec::new(),
        left_off: (0, 0),
    }
}

fn entry() -> Entry {
    Entry {
        index: 0,
        at: at(0),
        actor: Actor::engine(),
        verb: "fire".into(),
        target: "device/web-01".into(),
        unit: "alertrule/down".into(),
        plan: String::new(),
        step: String::new(),
        changes: Vec::new(),
        message: "down".into(),
        outcome: "done".into(),
        refers_to: None,
    }
}

fn changes() -> Changes {
    let key = (Name::parse("down"), Name::parse("web-01"));
    Changes {
        instances: BTreeMap::from([(key, Some(firing()))]),
        groups: BTreeMap::from([("g".into(), Some(group()))]),
        notices: vec![notice("n1")],
        happenings: Vec::new(),
    }
}

async fn open(options: &Options) -> Store {
    Store::open(options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fires_comes_back_with_what_was_said() {
    for place in places().await {
        let store = open(&place.options).await;
        store.record_alerts(&changes(), vec![entry()], at(0)).await.unwrap();
        store.alive(at(1)).await.unwrap();
        store.alive(at(2)).await.unwrap();
        store.close().await;
        let store = open(&place.options).await;
        let remembered = store.alerts().await.unwrap();
        assert_eq!((&remembered.instances, &remembered.groups), (&vec![firing()], &vec![group()]), "{}", place.name);
        assert_eq!(remembered.alive_at, Some(at(2)), "{}", place.name);
        let due = store.due_notices(at(0), 10).await.unwrap();
        assert_eq!(due.iter().map(|row| &row.notice).collect::<Vec<_>>(), [&notice("n1")], "{}", place.name);
        let log = store.entries(&Filter { about: Some("alertrule/down".into()), limit: 10, ..Filter::default() }).await.unwrap();
        assert_eq!(log.iter().map(|entry| entry.verb.as_str()).collect::<Vec<_>>(), ["fire"], "{}", place.name);

        // Gone, all of it, and what was to be said is still to be said.
        let gone = Changes {
            instances: changes().instances.into_keys().map(|key| (key, None)).collect(),
            groups: BTreeMap::from([("g".into(), None)]),
            ..Changes::default()
        };
        store.record_alerts(&gone, Vec::new(), at(5)).await.unwrap();
        let remembered = store.alerts().await.unwrap();
        assert!(remembered.instances.is_empty() && remembered.groups.is_empty(), "{}", place.name);
        assert_eq!(store.due_notices(at(9), 10).await.unwrap().len(), 1, "{}", place.name);
    }
}

/// The answer of a transaction may be lost: it is written again, and nothing is said twice.
#[tokio::test(flavor = "multi_thread")]
async fn written_twice_it_is_said_once() {
    for place in places().await {
        let store = open(&place.options).await;
        store.record_alerts(&changes(), Vec::new(), at(0)).await.unwrap();
        store.tried("n1", &Delivery::Done, at(1)).await.unwrap();
        store.record_alerts(&changes(), Vec::new(), at(2)).await.unwrap();
        assert_eq!(store.due_notices(at(9), 10).await.unwrap(), [], "{}", place.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn those_of_a_thread_are_delivered_in_their_order() {
    for place in places().await {
        let store = open(&place.options).await;
        let one = |id: &str| Changes { notices: vec![notice(id)], ..Changes::default() };
        store.record_alerts(&one("firing"), Vec::new(), at(0)).await.unwrap();
        store.record_alerts(&one("resolved"), Vec::new(), at(300)).await.unwrap();
        store.tried("firing", &Delivery::Later(at(900), "451 later".into()), at(1)).await.unwrap();
        assert_eq!(store.due_notices(at(600), 10).await.unwrap(), [], "{}", place.name);
        store.tried("firing", &Delivery::Done, at(900)).await.unwrap();
        let due = store.due_notices(at(900), 10).await.unwrap();
        assert_eq!(due.iter().map(|row| row.notice.id.as_str()).collect::<Vec<_>>(), ["resolved"], "{}", place.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_is_tried_until_it_is_delivered_or_given_up() {
    for place in places().await {
        let store = open(&place.options).await;
        assert_eq!(store.next_notice().await.unwrap(), None, "{}", place.name);
        let many = Changes { notices: vec![notice("n1"), Notice { thread: "other".into(), ..notice("n2") }], ..Changes::default() };
        store.record_alerts(&many, Vec::new(), at(0)).await.unwrap();
        store.tried("n1", &Delivery::Later(at(60), "451 later".into()), at(1)).await.unwrap();
        store.tried("n2", &Delivery::Dead("550 no such user".into()), at(2)).await.unwrap();
        assert_eq!(store.next_notice().await.unwrap(), Some(at(60)), "{}", place.name);
        assert_eq!(store.due_notices(at(59), 10).await.unwrap(), [], "{}", place.name);
        let due = store.due_notices(at(60), 10).await.unwrap();
        assert_eq!(due.iter().map(|row| (row.attempts, row.problem.as_str())).collect::<Vec<_>>(), [(1, "451 later")], "{}", place.name);
        store.tried("n1", &Delivery::Done, at(61)).await.unwrap();
        // Whoever was slow can't undo that.
        store.tried("n1", &Delivery::Later(at(99), "late".into()), at(62)).await.unwrap();
        let log = store.notices(10).await.unwrap();
        let mut shown: Vec<_> = log.iter().map(|row| (row.notice.id.as_str(), row.attempts, row.is_dead, row.finished_at)).collect();
        shown.sort();
        assert_eq!(shown, [("n1", 2, false, Some(at(61))), ("n2", 1, true, Some(at(2)))], "{}", place.name);

        // After a month it is forgotten; what was not delivered stays.
        let month = at(31 * 24 * 3600);
        store.record_alerts(&Changes { notices: vec![notice("n3")], ..Changes::default() }, Vec::new(), month).await.unwrap();
        assert_eq!(store.notices(10).await.unwrap().len(), 1, "{}", place.name);
    }
}

/// A planner that was paused wakes up after another one has taken over: whatever it says is refused, in words that say why.
#[tokio::test(flavor = "multi_thread")]
async fn who_was_replaced_writes_nothing_and_says_nothing() {
    for place in places().await {
        let (paused, newer) = (open(&place.options).await, open(&place.options).await);
        paused.alerts().await.unwrap();
        paused.record_alerts(&changes(), vec![entry()], at(0)).await.unwrap();
        assert_eq!(newer.alerts().await.unwrap().instances, [firing()], "{}", place.name);
        let later = Changes { notices: vec![notice("n2")], ..changes() };
        let refused = [
            paused.record_alerts(&later, vec![entry()], at(1)).await,
            paused.alive(at(1)).await,
            paused.due_notices(at(9), 10).await.map(drop),
            paused.tried("n1", &Delivery::Dead("no".into()), at(1)).await,
        ];
        for refused in refused {
            let error = refused.unwrap_err();
            assert_eq!(error.to_string(), "another replica has taken over from this one (alerts)", "{}", place.name);
            assert_eq!(error.category(), "replaced");
        }
        let log = newer.entries(&Filter { limit: 10, ..Filter::default() }).await.unwrap();
        assert_eq!(log.len(), 1, "{}", place.name);
        // Whoever took over goes on, as often as it likes.
        newer.alive(at(2)).await.unwrap();
        newer.record_alerts(&Changes { notices: vec![notice("n3")], ..changes() }, vec![entry()], at(2)).await.unwrap();
        let due = newer.due_notices(at(9), 10).await.unwrap();
        assert_eq!(due.iter().map(|row| row.notice.id.as_str()).collect::<Vec<_>>(), ["n1"], "{}: n3 waits for it", place.name);
        newer.tried("n1", &Delivery::Done, at(9)).await.unwrap();
        assert_eq!(newer.due_notices(at(9), 10).await.unwrap().len(), 1, "{}", place.name);
    }
}
