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
use store::{Delivery, Filter, NoticeRow, Options, Store};

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
        lines: vec!["app: \u{0} panic".into()],
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
        routes: Vec::new(),
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
        instead: None,
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

/// What is due, as it lies in the store.
async fn lying(store: &Store, second: i64) -> Vec<NoticeRow> {
    let mut rows = Vec::new();
    for due in store.due_notices(at(second), 10).await.unwrap() {
        rows.push(store.notice(&due.id).await.unwrap().unwrap());
    }
    rows
}

async fn tried(store: &Store, id: &str, delivery: Delivery, second: i64) {
    store.tried(id, &delivery, &[], None, at(second)).await.unwrap();
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
        let due = lying(&store, 0).await;
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
        assert_eq!(lying(&store, 9).await.len(), 1, "{}", place.name);
    }
}

/// The answer of a transaction may be lost: it is written again, and nothing is said twice.
#[tokio::test(flavor = "multi_thread")]
async fn written_twice_it_is_said_once() {
    for place in places().await {
        let store = open(&place.options).await;
        store.record_alerts(&changes(), Vec::new(), at(0)).await.unwrap();
        tried(&store, "n1", Delivery::Done, 1).await;
        store.record_alerts(&changes(), Vec::new(), at(2)).await.unwrap();
        assert_eq!(lying(&store, 9).await, [], "{}", place.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn those_of_a_thread_are_delivered_in_their_order() {
    for place in places().await {
        let store = open(&place.options).await;
        let one = |id: &str| Changes { notices: vec![notice(id)], ..Changes::default() };
        store.record_alerts(&one("firing"), Vec::new(), at(0)).await.unwrap();
        store.record_alerts(&one("resolved"), Vec::new(), at(300)).await.unwrap();
        tried(&store, "firing", Delivery::Later(at(900), "451 later".into()), 1).await;
        assert_eq!(lying(&store, 600).await, [], "{}", place.name);
        tried(&store, "firing", Delivery::Done, 900).await;
        let due = lying(&store, 900).await;
        assert_eq!(due.iter().map(|row| row.notice.id.as_str()).collect::<Vec<_>>(), ["resolved"], "{}", place.name);
    }
}

/// By what its threads begin with, in a database of any language.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_of_ourselves_is_found() {
    for place in places().await {
        let store = open(&place.options).await;
        let of = |id: &str, thread: &str| Notice { thread: thread.into(), ..notice(id) };
        let notices = vec![
            of("a", "own-network-1-x"),
            of("b", "own-network-2-\u{e9}"),
            of("c", "own-networks"),
            of("d", "Own-network-3"),
            of("e", "t"),
            of("f", "undelivered-1-x"),
            of("g", "Undelivered-2"),
        ];
        store.record_alerts(&Changes { notices, ..Changes::default() }, Vec::new(), at(0)).await.unwrap();
        let mut found: Vec<String> = store.said_of_own_network().await.unwrap().into_iter().map(|notice| notice.id).collect();
        found.sort();
        assert_eq!(found, ["a", "b"], "{}", place.name);
        let found: Vec<String> = store.said_of_undelivered().await.unwrap().into_iter().map(|notice| notice.id).collect();
        assert_eq!(found, ["f"], "{}", place.name);
    }
}

/// A clock that is put back neither turns a thread round nor puts off for days what waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_put_back_keeps_the_order() {
    for place in places().await {
        let store = open(&place.options).await;
        let day = 86_400;
        let one = |id: &str| Changes { notices: vec![notice(id)], ..Changes::default() };
        store.record_alerts(&one("firing"), Vec::new(), at(day)).await.unwrap();
        tried(&store, "firing", Delivery::Later(at(day + 60), "451 later".into()), day + 1).await;
        store.record_alerts(&one("resolved"), Vec::new(), at(0)).await.unwrap();
        let ids = async |second| store.due_notices(at(second), 10).await.unwrap().into_iter().map(|due| due.id).collect::<Vec<_>>();
        assert_eq!(ids(1).await, ["firing"], "{}", place.name);
        tried(&store, "firing", Delivery::Done, 2).await;
        assert_eq!(ids(3).await, ["resolved"], "{}", place.name);
    }
}

/// What held up a receiver may be over: what was tried is tried again, of that receiver, and what waits for its time still does.
#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_said_yet_can_be_hurried() {
    for place in places().await {
        let store = open(&place.options).await;
        let other = |id: &str, receiver: &str| Notice { thread: id.into(), receiver: Name::parse(receiver), ..notice(id) };
        let own = notice("n1").receiver.clone();
        let notices = vec![notice("n1"), other("n2", "somebody-else"), Notice { thread: "n3".into(), ..notice("n3") }];
        store.record_alerts(&Changes { notices, ..Changes::default() }, Vec::new(), at(0)).await.unwrap();
        tried(&store, "n1", Delivery::Later(at(600), "535 wrong password".into()), 1).await;
        tried(&store, "n2", Delivery::Later(at(600), "535 wrong password".into()), 1).await;
        tried(&store, "n3", Delivery::Dead("550 no such user".into()), 1).await;
        store.hurry_notices(&own, at(5)).await.unwrap();
        let due: Vec<String> = lying(&store, 5).await.into_iter().map(|row| row.notice.id).collect();
        assert_eq!(due, ["n1"], "{}", place.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_is_tried_until_it_is_delivered_or_given_up() {
    for place in places().await {
        let store = open(&place.options).await;
        assert_eq!(store.next_notice().await.unwrap(), None, "{}", place.name);
        let many = Changes { notices: vec![notice("n1"), Notice { thread: "other".into(), ..notice("n2") }], ..Changes::default() };
        store.record_alerts(&many, Vec::new(), at(0)).await.unwrap();
        tried(&store, "n1", Delivery::Later(at(60), "451 later".into()), 1).await;
        tried(&store, "n2", Delivery::Dead("550 no such user".into()), 2).await;
        assert_eq!(store.next_notice().await.unwrap(), Some(at(60)), "{}", place.name);
        assert_eq!(lying(&store, 59).await, [], "{}", place.name);
        let due = lying(&store, 60).await;
        assert_eq!(due.iter().map(|row| (row.attempts, row.problem.as_str())).collect::<Vec<_>>(), [(1, "451 later")], "{}", place.name);
        tried(&store, "n1", Delivery::Done, 61).await;
        // Whoever was slow can't undo that.
        tried(&store, "n1", Delivery::Later(at(99), "late".into()), 62).await;
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

/// However much waits for one receiver, what is for another one comes at once.
#[tokio::test(flavor = "multi_thread")]
async fn each_receiver_has_its_turn() {
    for place in places().await {
        let store = open(&place.options).await;
        let many = (0..3000).map(|number| Notice { id: format!("n{number}"), thread: format!("t{number}"), ..notice("") }).collect();
        store.record_alerts(&Changes { notices: many, ..Changes::default() }, Vec::new(), at(0)).await.unwrap();
        let other = |name: &str| Notice { id: name.into(), thread: name.into(), receiver: Name::parse(name), ..notice("") };
        let others = Changes { notices: vec![other("zoe"), other("ann"), other("later")], ..Changes::default() };
        store.record_alerts(&others, Vec::new(), at(5)).await.unwrap();
        tried(&store, "later", Delivery::Later(at(900), "451 later".into()), 6).await;
        let due = store.due_notices(at(10), 2).await.unwrap();
        let mut names: Vec<&str> = due.iter().map(|due| due.receiver.name()).collect();
        names.sort_unstable();
        assert_eq!(names, ["ann", "oncall", "oncall", "zoe"], "{}", place.name);
        assert_eq!(store.standing().await.unwrap().waiting, 3003, "{}", place.name);
    }
}

/// However many alerts there are, all of them come back: one that is not read would fire anew, and be said anew.
#[tokio::test(flavor = "multi_thread")]
async fn all_of_very_many_alerts_come_back() {
    const MANY: usize = 20_001;
    for place in places().await {
        let store = open(&place.options).await;
        store.record_alerts(&changes(), Vec::new(), at(0)).await.unwrap();
        let numbers = format!("WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {})", MANY - 1);
        for statement in [
            "INSERT INTO alert (rule, device, id, state, document) {numbers} SELECT rule || n % 7, device || n, id || n, state, document FROM numbers CROSS JOIN alert",
            "INSERT INTO alert_group (digest, rule, document) {numbers} SELECT digest || n, rule, document FROM numbers CROSS JOIN alert_group",
        ] {
            place.execute(&statement.replace("{numbers}", &numbers)).await;
        }
        let remembered = store.alerts().await.unwrap();
        assert_eq!((remembered.instances.len(), remembered.groups.len()), (MANY, MANY), "{}", place.name);
    }
}

/// However much was said before, what is due is found: the database's own limit of a statement is the bound.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_does_not_hold_up_what_is_due() {
    for place in places().await {
        let store = open(&place.options).await;
        let of = |number: u32| Name::parse(&format!("oncall-{}", number % 20));
        let many =
            (0..200).map(|number| Notice { id: format!("n{number}"), thread: format!("t{number}"), receiver: of(number), ..notice("") });
        store.record_alerts(&Changes { notices: many.collect(), ..Changes::default() }, Vec::new(), at(0)).await.unwrap();
        // Those that were delivered, and those that were given up after that.
        for (word, dead, second) in [("done", 0, 1), ("dead", 1, 2)] {
            place
                .execute(&format!(
                    "INSERT INTO notice (id, receiver, thread, document, recorded_at, attempts, due_at, finished_at, is_dead, problem)
                    WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < 19999)
                    SELECT '{word}-' || n, receiver, '{word}-' || n, document, recorded_at, 1, NULL, '{}', {dead}, ''
                    FROM numbers JOIN notice ON id = 'n' || (n % 200)",
                    at(second)
                ))
                .await;
        }
        let due = store.due_notices(at(10), 4).await.unwrap();
        assert_eq!(due.len(), 80, "{}", place.name);
        let standing = store.standing().await.unwrap();
        assert_eq!((standing.waiting, standing.lost.len(), standing.lost[0].count), (200, 20, 1000), "{}", place.name);
    }
}

/// A summary of a storm is of many threads: nobody hears that something is well before they heard of the storm, and the reverse.
#[tokio::test(flavor = "multi_thread")]
async fn a_storm_is_told_in_its_order_too() {
    for place in places().await {
        let store = open(&place.options).await;
        let of = |id: &str, thread: &str, receiver: &str| Notice {
            id: id.into(),
            thread: thread.into(),
            receiver: Name::parse(receiver),
            ..notice("")
        };
        let notices = [("before", "t1", "oncall"), ("storm", "storm-1", "oncall"), ("after", "t2", "oncall"), ("else", "t3", "boss")];
        for (second, (id, thread, receiver)) in (0..).zip(notices) {
            let one = Changes { notices: vec![of(id, thread, receiver)], ..Changes::default() };
            store.record_alerts(&one, Vec::new(), at(second)).await.unwrap();
        }
        let due = async |second| {
            let mut ids: Vec<String> = store.due_notices(at(second), 10).await.unwrap().into_iter().map(|due| due.id).collect();
            ids.sort();
            ids
        };
        assert_eq!(due(10).await, ["before", "else"], "{}", place.name);
        tried(&store, "before", Delivery::Done, 11).await;
        tried(&store, "else", Delivery::Done, 11).await;
        tried(&store, "storm", Delivery::Later(at(60), "451 later".into()), 12).await;
        assert_eq!(due(30).await, <[&str; 0]>::default(), "{}", place.name);
        assert_eq!(due(60).await, ["storm"], "{}", place.name);
        tried(&store, "storm", Delivery::Done, 61).await;
        assert_eq!(due(61).await, ["after"], "{}", place.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_a_try_has_reached_is_kept() {
    for place in places().await {
        let store = open(&place.options).await;
        store.record_alerts(&changes(), Vec::new(), at(0)).await.unwrap();
        store.reached("n1", &["+31611111111".into()]).await.unwrap();
        store.close().await;
        let store = open(&place.options).await;
        assert_eq!(lying(&store, 1).await[0].reached, ["+31611111111"], "{}", place.name);
        let both = ["+31611111111".to_owned(), "+31622222222".to_owned()];
        store.tried("n1", &Delivery::Later(at(9), "429".into()), &both, None, at(1)).await.unwrap();
        assert_eq!(lying(&store, 9).await[0].reached, both, "{}", place.name);
        tried(&store, "n1", Delivery::Done, 10).await;
        store.reached("n1", &["late".into()]).await.unwrap();
        assert_eq!(store.notice("n1").await.unwrap().unwrap().reached, <[String; 0]>::default(), "{}", place.name);
    }
}

/// What was given up is known of its receiver until something arrives there, and what is said instead is written with it.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_up_is_known_until_something_arrives() {
    for place in places().await {
        let store = open(&place.options).await;
        let one = |id: &str| Notice { thread: id.into(), ..notice(id) };
        let many = Changes { notices: vec![one("n1"), one("n2"), one("n3"), one("trial-1"), one("n4")], ..Changes::default() };
        store.record_alerts(&many, Vec::new(), at(0)).await.unwrap();
        tried(&store, "trial-1", Delivery::Dead("550 a trial".into()), 1).await;
        assert_eq!(store.standing().await.unwrap().lost, [], "a trial is no lost word; {}", place.name);
        tried(&store, "n1", Delivery::Done, 2).await;
        tried(&store, "n2", Delivery::Dead("550 no such user".into()), 3).await;
        let instead = Notice { receiver: Name::parse("boss"), ..one("n3-boss") };
        let dead = Delivery::Dead("550 full".into());
        store.tried("n3", &dead, &[], Some(&instead), at(4)).await.unwrap();
        // An answer that was lost: it is said once.
        store.tried("n3", &dead, &[], Some(&Notice { id: "n3-again".into(), ..instead.clone() }), at(5)).await.unwrap();
        let standing = store.standing().await.unwrap();
        let lost: Vec<_> =
            standing.lost.iter().map(|lost| (lost.receiver.name(), lost.count, lost.since, lost.last, lost.problem.as_str())).collect();
        assert_eq!(lost, [("oncall", 2, at(3), at(4), "550 full")], "{}", place.name);
        assert_eq!(
            (standing.waiting, standing.oldest),
            (2, Some(at(0).checked_add(SignedDuration::from_nanos(4)).unwrap())),
            "{}",
            place.name
        );
        let names: Vec<String> = lying(&store, 9).await.into_iter().map(|row| row.notice.id).collect();
        assert_eq!(names, ["n4", "n3-boss"], "{}", place.name);
        tried(&store, "n4", Delivery::Done, 10).await;
        assert_eq!(store.standing().await.unwrap().lost, [], "{}", place.name);
        // That somebody else was not told is counted by itself.
        let more = Changes { notices: vec![one("undelivered-1-oncall"), one("n5")], ..Changes::default() };
        store.record_alerts(&more, Vec::new(), at(11)).await.unwrap();
        for (id, second, counts) in [("undelivered-1-oncall", 12, (1, 0)), ("n5", 13, (2, 1))] {
            tried(&store, id, Delivery::Dead("550".into()), second).await;
            let lost = store.standing().await.unwrap().lost;
            assert_eq!(lost.iter().map(|lost| (lost.count, lost.of_alerts)).collect::<Vec<_>>(), [counts], "{}", place.name);
        }
    }
}

/// Who was told instead that it fires hears that it is over, when whom it is for can be told again.
#[tokio::test(flavor = "multi_thread")]
async fn who_was_told_instead_hears_that_it_is_over() {
    for place in places().await {
        let store = open(&place.options).await;
        let fires = notice("n1");
        let over = Notice { reason: Reason::AllResolved, firing: Vec::new(), resolved: fires.firing.clone(), ..notice("n2") };
        // Another one, that nobody was told instead.
        let mut another = Notice { thread: "u".into(), ..over.clone() };
        another.id = "n3".into();
        another.resolved[0].id = "another".into();
        store
            .record_alerts(&Changes { notices: vec![fires.clone(), over.clone(), another], ..Changes::default() }, Vec::new(), at(0))
            .await
            .unwrap();
        let instead = fires.instead(&Name::parse("boss"), "550 full").unwrap();
        store.tried("n1", &Delivery::Dead("550 full".into()), &[], Some(&instead), at(1)).await.unwrap();
        tried(&store, "n2", Delivery::Done, 2).await;
        tried(&store, "n3", Delivery::Done, 3).await;
        let due = lying(&store, 9).await;
        assert_eq!(due.iter().map(|row| row.notice.id.as_str()).collect::<Vec<_>>(), ["n1-instead"], "{}: in its order", place.name);
        tried(&store, "n1-instead", Delivery::Done, 9).await;
        let due = lying(&store, 10).await;
        let [row] = due.as_slice() else { panic!("{}: {due:?}", place.name) };
        let expected = Notice {
            id: "n2-instead".into(),
            receiver: instead.receiver.clone(),
            thread: instead.thread.clone(),
            instead: instead.instead.clone(),
            ..over
        };
        assert_eq!(row.notice, expected, "{}", place.name);
        tried(&store, "n2-instead", Delivery::Done, 11).await;
        assert_eq!(lying(&store, 99).await, [], "{}", place.name);
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
            paused.tried("n1", &Delivery::Dead("no".into()), &[], None, at(1)).await,
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
        assert_eq!(due.iter().map(|due| due.id.as_str()).collect::<Vec<_>>(), ["n1"], "{}: n3 waits for it", place.name);
        newer.tried("n1", &Delivery::Done, &[], None, at(9)).await.unwrap();
        assert_eq!(newer.due_notices(at(9), 10).await.unwrap().len(), 1, "{}", place.name);
    }
}
