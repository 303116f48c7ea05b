//! What was so once, the same in both databases.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use reconcile::{Name, ProbeCode, ProbeState, Revision};
use store::{DeviceRow, Permission, ProbeChange};

use crate::places::places;

fn at(hour: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + hour * 3600).unwrap()
}

fn device(name: &str, address: &str) -> DeviceRow {
    let labels = [("site", "ams1"), ("role", "web")].map(|(label, value)| (label.to_owned(), value.to_owned())).into();
    DeviceRow { name: Name::parse(name), kind: "Server".into(), address: address.into(), digest: format!("of {address}"), labels }
}

fn revision(commit: &str) -> Revision {
    Revision { commit: commit.into(), author: "ann".into(), ..Revision::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_known_with_the_commits_that_changed_it() {
    for place in places().await {
        let (store, kind) = (place.open().await, place.name);
        let (web, db) = (Name::parse("web"), Name::parse("db"));
        let both = [device("web", "10.0.0.1"), device("db", "10.0.0.2")];
        store.record_devices(&both, &[], &revision("c1"), at(1)).await.unwrap();
        // A start sees all of them again.
        store.record_devices(&both, &[], &revision("c1"), at(2)).await.unwrap();
        store.record_devices(&[device("web", "10.0.0.9")], std::slice::from_ref(&db), &revision("c2"), at(3)).await.unwrap();
        // The clock was put back.
        store.record_devices(&[device("web", "10.0.0.1"), device("db", "10.0.0.2")], &[], &revision("c3"), at(2)).await.unwrap();
        let told = |name: &Name| {
            let (store, name) = (&store, name.clone());
            async move {
                let changes = store.device_changes(&name, at(0)).await.unwrap();
                changes.into_iter().map(|change| format!("{} {}", change.what, change.commit)).collect::<Vec<_>>()
            }
        };
        assert_eq!(told(&web).await, ["changed c3", "changed c2", "added c1"], "{kind}");
        assert_eq!(told(&db).await, ["added c3", "removed c2", "added c1"], "{kind}");
        assert_eq!(store.device_changes(&web, at(3)).await.unwrap().len(), 2, "{kind}");
        assert_eq!(store.known_devices().await.unwrap().len(), 2, "{kind}");
        store.record_devices(&[], &[db.clone(), Name::parse("never")], &revision("c4"), at(4)).await.unwrap();
        assert_eq!(store.known_devices().await.unwrap(), [(web.clone(), "of 10.0.0.1".to_owned())].into(), "{kind}");

        store.tidy_history(at(4 + 400 * 24)).await.unwrap();
        assert_eq!((told(&web).await.len(), told(&db).await.len()), (0, 1), "{kind}");
        store.tidy_history(at(5 + 400 * 24)).await.unwrap();
        assert_eq!(told(&db).await.len(), 0, "{kind}: it is forgotten");
        assert_eq!(store.known_devices().await.unwrap().len(), 1, "{kind}: what is there stays");
    }
}

fn probe(probe: &str, hour: i64, state: ProbeState) -> ProbeChange {
    let code = if state == ProbeState::Ok { ProbeCode::Passed } else { ProbeCode::NeverRun };
    ProbeChange { device: Name::parse("web"), probe: probe.into(), at: at(hour), state, code, reason: "ü\0".into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn states_of_probes_are_known_with_the_one_before() {
    for place in places().await {
        let (store, kind) = (place.open().await, place.name);
        let web = Name::parse("web");
        let changes = [
            probe("http", 1, ProbeState::Ok),
            probe("ping", 2, ProbeState::Ok),
            probe("http", 3, ProbeState::Fail),
            probe("http", 5, ProbeState::Ok),
        ];
        store.record_probe_changes(&changes).await.unwrap();
        store.record_probe_changes(&changes[1..2]).await.unwrap();
        // A start sees what is so anew.
        store.record_probe_changes(&[probe("http", 6, ProbeState::Ok), probe("ping", 6, ProbeState::Ok)]).await.unwrap();
        assert_eq!(store.probe_changes(&web, at(0)).await.unwrap(), changes, "{kind}");
        assert_eq!(store.probe_changes(&web, at(4)).await.unwrap(), [&changes[1..3], &changes[3..]].concat(), "{kind}");
        assert!(store.probe_changes(&Name::parse("other"), at(0)).await.unwrap().is_empty(), "{kind}");

        // One that changes all the time, and a reason without an end.
        let long = ProbeChange { reason: "x".repeat(10_000), ..probe("flaps", 6, ProbeState::Fail) };
        let state = |number| if number % 2 == 0 { ProbeState::Fail } else { ProbeState::Ok };
        let flap = |number| ProbeChange { at: long.at + SignedDuration::from_secs(number), state: state(number), ..long.clone() };
        let flaps: Vec<_> = (0..600).map(flap).collect();
        store.record_probe_changes(&flaps).await.unwrap();
        store.tidy_history(at(7)).await.unwrap();
        let left = store.probe_changes(&web, at(0)).await.unwrap();
        assert_eq!(left.len(), 504, "{kind}");
        assert!(left.last().unwrap().reason.len() < 210 && left.last().unwrap().at == flaps[599].at, "{kind}");
        store.tidy_history(at(4 + 30 * 24)).await.unwrap();
        assert_eq!(store.probe_changes(&web, at(0)).await.unwrap().len(), 501, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_could_do_what_is_known_for_each_time() {
    for place in places().await {
        let (store, kind) = (place.open().await, place.name);
        let may = |subject: &str, verb: &str| Permission {
            role: Name::parse("r"),
            subject: subject.into(),
            verb: verb.into(),
            kind: String::new(),
            devices: String::new(),
        };
        let (ann, bob, edits) = (may("user:ann", "view"), may("user:bob", "view"), may("user:ann", "edit"));
        for (hour, commit, allowed) in
            [(1, "c1", vec![&ann, &bob]), (2, "c1", vec![&ann, &bob]), (3, "c2", vec![&ann, &edits]), (5, "c3", vec![&bob])]
        {
            store.record_permissions(&allowed.into_iter().cloned().collect::<BTreeSet<_>>(), commit, at(hour)).await.unwrap();
        }
        let then = |hour: i64, subject: Option<&'static str>| {
            let store = &store;
            async move {
                let rows = store.permissions_at(at(hour), subject).await.unwrap();
                rows.into_iter().map(|row| format!("{} {} {}", row.permission.subject, row.permission.verb, row.commit)).collect::<Vec<_>>()
            }
        };
        assert!(then(0, None).await.is_empty(), "{kind}");
        assert_eq!(then(2, None).await, ["user:ann view c1", "user:bob view c1"], "{kind}");
        assert_eq!(then(4, None).await, ["user:ann edit c2", "user:ann view c1"], "{kind}");
        assert_eq!(then(5, None).await, ["user:bob view c3"], "{kind}");
        assert!(then(6, Some("user:ann")).await.is_empty(), "{kind}");
        store.tidy_history(at(4 + 400 * 24)).await.unwrap();
        assert_eq!(then(4, None).await.len(), 2, "{kind}");
        store.tidy_history(at(6 + 400 * 24)).await.unwrap();
        assert!(then(4, None).await.is_empty(), "{kind}");
        assert_eq!(then(9000, None).await.len(), 1, "{kind}: what is so stays");
    }
}
