//! Several replicas of the operator on one PostgreSQL, as pods of the chart, while what they stand on stumbles or they are replaced.

use std::collections::BTreeSet;
use std::time::Duration;

use e2e::control_plane::ControlPlane;
use e2e::fleet::{Fleet, NAMESPACE, skipped};
use e2e::postgres::Postgres;
use e2e::proxy::Proxy;
use rustix::process::Signal;

/// A PostgreSQL, or why there is none.
fn postgres() -> Option<Postgres> {
    let database = Postgres::start().unwrap();
    assert!(
        database.is_some() || std::env::var("CI").as_deref() != Ok("true"),
        "PostgreSQL is not installed, and in CI nothing is skipped"
    );
    if database.is_none() {
        eprintln!("SKIPPED: PostgreSQL is not installed");
    }
    database
}

/// Three devices with `app` 1.0-1, and two pods of the operator on the database at this URL.
fn fleet(url: &str) -> Fleet {
    let url = format!("--from-literal=url={url}");
    let values = ["replicas=2", "database.existingSecret=db", "auditKey.existingSecret=key"];
    let mut fleet = Fleet::new(ControlPlane::start().unwrap(), 3, &values, |plane| {
        plane.must(&["create", "secret", "generic", "db", "--namespace", NAMESPACE, &url]).unwrap();
        let key = "--from-literal=audit.key=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        plane.must(&["create", "secret", "generic", "key", "--namespace", NAMESPACE, key]).unwrap();
    })
    .unwrap();
    fleet.start_pod().unwrap();
    fleet.start_pod().unwrap();
    fleet.deploy("1.0-1", "");
    fleet.wait("Complete", "1.0-1", 3);
    fleet
}

/// Starts again what has ended, as a kubelet does.
fn restart(fleet: &mut Fleet) -> usize {
    let over = fleet.pods.iter_mut().filter(|pod| pod.is_over());
    over.map(|pod| {
        pod.kill();
        pod.run().unwrap();
    })
    .count()
}

/// No two ever held the lease under the same number, which is what fences one from the other.
fn one_at_a_time(fleet: &Fleet) -> usize {
    let numbers = |log: &str| {
        let held = log.lines().filter(|line| line.contains("this replica acts")).map(str::to_owned).collect::<Vec<_>>();
        held.into_iter()
            .filter_map(|line| Some(line.split("\"generation\":").nth(1)?.split([',', '}']).next()?.to_owned()))
            .collect::<Vec<_>>()
    };
    let all: Vec<String> = fleet.pods.iter().flat_map(|pod| numbers(&pod.log())).collect();
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "{all:?}");
    all.len()
}

/// Nothing was done twice, each version reached each device once, and the log is whole.
fn once(fleet: &Fleet, versions: usize) {
    let holder = fleet.holder();
    let pod =
        fleet.pods.iter().find(|pod| holder.contains(&format!("_{}_", pod.id()))).unwrap_or_else(|| panic!("{holder} is none of ours"));
    let log = fleet.log(pod).unwrap();
    log.assert_once();
    assert_eq!(log.begun("apply"), 3 * versions);
}

/// etcd answers late, again and again, then not at all for longer than a lease lasts, and then the API server itself dies: what was begun
/// goes on, whoever could not renew the lease has let it go, and nothing is done twice.
#[test]
fn with_an_etcd_that_is_slow_nothing_is_done_twice() {
    if skipped() {
        return;
    }
    let Some(database) = postgres() else { return };
    let mut fleet = fleet(&database.url());
    let holder = fleet.holder();

    // Too slow for comfort, and quick enough for the lease.
    fleet.deploy("2.0-1", "");
    for _ in 0..4 {
        fleet.plane.signal_etcd(Signal::STOP).unwrap();
        std::thread::sleep(Duration::from_secs(4));
        fleet.plane.signal_etcd(Signal::CONT).unwrap();
        std::thread::sleep(Duration::from_millis(1500));
    }
    fleet.wait("Complete", "2.0-1", 3);
    assert_eq!(fleet.holder(), holder, "nobody had a reason to take over:\n{}", fleet.pods[0].log());

    // Away for longer than the lease can be renewed late: whoever acted ends, and does not come back as the one who acts.
    fleet.deploy("3.0-1", "");
    fleet.in_the_middle_of("3.0-1", 1);
    fleet.plane.signal_etcd(Signal::STOP).unwrap();
    let acting = fleet.pods.iter().position(|pod| holder.contains(&format!("_{}_", pod.id()))).unwrap();
    fleet.until("whoever acts letting go", || if fleet.pods[acting].is_over() { Ok(()) } else { Err("it runs".into()) });
    assert!(fleet.pods[acting].log().contains("lease is lost"), "{}", fleet.pods[acting].log());
    fleet.plane.signal_etcd(Signal::CONT).unwrap();
    assert_eq!(restart(&mut fleet), 1);
    fleet.wait("Complete", "3.0-1", 3);
    assert_ne!(fleet.holder(), holder);

    // The API server dies in the middle of a rollout.
    fleet.deploy("1.0-1", "");
    fleet.in_the_middle_of("1.0-1", 1);
    fleet.plane.restart_server().unwrap();
    fleet.wait("Complete", "1.0-1", 3);
    once(&fleet, 4);
    println!("the lease was held {} times", one_at_a_time(&fleet));
}

/// The operator is updated as its chart says, one new pod before an old one goes, in the middle of rollouts: they go on with whoever comes
/// next, without waiting for a lease to run out.
#[test]
fn the_operator_is_replaced_in_the_middle_of_rollouts() {
    if skipped() {
        return;
    }
    let Some(database) = postgres() else { return };
    let mut fleet = fleet(&database.url());
    for version in ["2.0-1", "3.0-1"] {
        fleet.deploy(version, "");
        fleet.in_the_middle_of(version, 1);
        for _ in 0..2 {
            fleet.start_pod().unwrap();
            let mut old = fleet.pods.remove(0);
            assert!(old.terminate().unwrap(), "it did not end well:\n{}", old.log());
            assert!(!old.log().contains("lease is lost"), "{}", old.log());
        }
        fleet.wait("Complete", version, 3);
        let holder = fleet.holder();
        assert!(fleet.pods.iter().any(|pod| holder.contains(&format!("_{}_", pod.id()))), "{holder} is gone");
    }
    // One that is taken back on the way is taken back by whoever is there.
    fleet.deploy("4.0-1", "");
    fleet.until("4.0-1 on a device", || {
        let there = fleet.versions().is_ok_and(|versions| versions.iter().any(|version| version == "4.0-1"));
        if there { Ok(()) } else { Err(fleet.object("edep", "app")["status"].to_string()) }
    });
    for _ in 0..2 {
        fleet.start_pod().unwrap();
        assert!(fleet.pods.remove(0).terminate().unwrap());
    }
    fleet.wait("RolledBack", "4.0-1", 3);
    assert_eq!(fleet.versions().unwrap(), ["3.0-1"; 3]);
    let holder = fleet.holder();
    let pod = fleet.pods.iter().find(|pod| holder.contains(&format!("_{}_", pod.id()))).unwrap();
    let log = fleet.log(pod).unwrap();
    log.assert_once();
    assert_eq!((log.begun("apply"), log.begun("restore")), (10, 1), "three versions on three devices, and one on one, and back");
}

/// The database's server dies in the middle of a rollout, and its standby, which has all that was committed, is promoted behind the same
/// address: what waits, waits, and nothing is lost or done twice.
#[test]
fn the_database_fails_over_in_the_middle_of_a_rollout() {
    if skipped() {
        return;
    }
    let Some(mut primary) = postgres() else { return };
    let mut standby = primary.standby().unwrap();
    let way = Proxy::to(primary.port()).unwrap();
    let fleet = fleet(&format!("postgres://evenkeel@127.0.0.1:{}/postgres", way.port()));
    fleet.deploy("2.0-1", "");
    fleet.in_the_middle_of("2.0-1", 1);
    primary.down();
    way.cut();
    let acts = || fleet.holder();
    let holder = acts();
    let pod = fleet.pods.iter().find(|pod| holder.contains(&format!("_{}_", pod.id()))).unwrap();
    fleet.until("that the store is away being said", || match pod.probe("readinessProbe") {
        Err(said) if said.contains("the store") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    standby.promote().unwrap();
    way.lead_to(standby.port());
    fleet.wait("Complete", "2.0-1", 3);
    fleet.deploy("3.0-1", "");
    fleet.wait("Complete", "3.0-1", 3);
    once(&fleet, 3);
    assert_eq!(acts(), holder, "a database that is away is no reason to take over");
}
