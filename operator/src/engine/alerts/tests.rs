//! Which rules are asked when, and what the clock does to them.

use std::time::Duration;

use reconcile::{Metric, Series};

use super::*;

fn object(kind: Kind, name: &str, spec: &serde_json::Value) -> Arc<Object> {
    let labels = serde_json::json!({"role": "web"});
    let value = serde_json::json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": kind.as_str(), "metadata": {"name": name, "labels": labels}, "spec": spec});
    Arc::new(Object::from_value(kind, value).unwrap())
}

/// A web server and a database server, and one rule over the web servers.
pub(in crate::engine) fn desired(expr: &str) -> Desired {
    let device = |name: &str, role: &str| {
        let value = serde_json::json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "Device", "metadata": {"name": name, "labels": {"role": role}},
            "spec": {"type": "Server", "address": "10.0.0.1"}});
        Arc::new(Object::from_value(Kind::Device, value).unwrap())
    };
    let rule = serde_json::json!({"expr": expr, "severity": "warning", "selector": {"matchLabels": {"role": "web"}}});
    let objects = [device("web-01", "web"), device("db-01", "db"), object(Kind::AlertRule, "r", &rule)];
    Desired::build(objects, reconcile::Revision { commit: "1".into(), ..Default::default() }).0
}

/// A rule over a Deployment is asked again where that came further, and only there; rules that ask for none cost nothing.
#[test]
fn rules_over_deployments_are_asked_when_those_move() {
    let selector = serde_json::json!({"matchLabels": {"role": "web"}});
    let objects = |expr: &str| {
        let package = serde_json::json!({"apt": {"name": "nginx", "version": "1"}});
        [
            object(Kind::Device, "web-01", &serde_json::json!({"type": "Server", "address": "10.0.0.1"})),
            object(Kind::Deployment, "web", &serde_json::json!({"selector": selector, "package": package})),
            object(Kind::AlertRule, "r", &serde_json::json!({"expr": expr, "severity": "warning"})),
        ]
    };
    let revision = reconcile::Revision { commit: "1".into(), ..Default::default() };
    let touched = |expr: &str| {
        let (desired, _) = Desired::build(objects(expr), revision.clone());
        let (mut watch, mut view) = (Watch::default(), View { desired: Arc::new(desired), ..View::default() });
        watch.in_force(&Desired::default(), &view.desired, &BTreeSet::new());
        let unit = BTreeSet::from([Name::parse("web")]);
        let mut look = |view: &View| {
            watch.judging.take(Timestamp::MIN);
            watch.planned(view, &unit);
            watch.judging.take(Timestamp::MIN).len()
        };
        let first = (look(&view), look(&view));
        let record = serde_json::json!({"number": 1, "digest": view.desired.deployments[&Name::parse("web")].digest, "content": *view.desired.deployments[&Name::parse("web")].content,
            "commit": "1", "startedAt": "2026-01-01T00:00:00Z", "result": "progressing"});
        let rollout = reconcile::Rollout { history: vec![serde_json::from_value(record).unwrap()], ..Default::default() };
        view.observed.rollouts.insert(Name::parse("web"), Arc::new(rollout));
        let then = (look(&view), look(&view));
        watch.judging.take(Timestamp::MIN);
        watch.moved([&Name::parse("web-01")]);
        (first, then, watch.judging.take(Timestamp::MIN).len())
    };
    assert_eq!(touched("deployments[\"web\"].phase == \"Failed\""), ((1, 0), (1, 0), 1));
    assert_eq!(touched("age(device.changedAt) < duration(\"5m\")"), ((1, 0), (1, 0), 1));
    assert_eq!(touched("usage.memory.ratio > 0.9"), ((0, 0), (0, 0), 0));
}

/// Lines of log come to the one who plans: its rules over them look back at what it heard, also where others read the devices.
#[test]
fn readings_count_where_shards_are_only_for_rules_that_are_judged_here() {
    let takes = |expr: &str, shards: u32| {
        let objects = [
            object(Kind::Device, "web-01", &serde_json::json!({"type": "Server", "address": "10.0.0.1"})),
            object(Kind::AlertRule, "r", &serde_json::json!({"expr": expr, "severity": "warning"})),
        ];
        let (desired, _) = Desired::build(objects, reconcile::Revision { commit: "1".into(), ..Default::default() });
        let mut watch = Watch::default();
        watch.told_by(shards);
        watch.in_force(&Desired::default(), &desired, &BTreeSet::new());
        watch.judging.take(Timestamp::MIN);
        let web = Name::parse("web-01");
        let at = Timestamp::from_second(1_800_000_000).unwrap();
        let [errors, cpu] = [Metric::LogErrors, Metric::CpuRatio].map(Series::of);
        let values = [(errors.clone(), 1.0), (cpu.clone(), 1.0)].into();
        watch.usage(&desired, &News { device: web.clone(), usage: Arc::new(reconcile::Usage { at, values }) });
        let is_kept = [errors, cpu].iter().any(|series| !watch.judging.history(&web).window(series, SignedDuration::ZERO, at).is_empty());
        (watch.judging.take(Timestamp::MIN).contains(&web), is_kept)
    };
    let (logs, cpu) = ("max(logs.errors, \"5m\") > 3", "max(usage.cpu.ratio, \"5m\") > 0.9");
    assert_eq!((takes(logs, 0), takes(cpu, 0)), ((true, true), (true, true)));
    assert_eq!((takes(logs, 2), takes(cpu, 2)), ((true, true), (false, false)));
    assert_eq!(takes("usage.cpu.ratio > 0.9 && device.update == \"Blocked\"", 2), (true, false));
}

#[test]
fn a_clock_that_is_set_is_noticed() {
    let mut watch = Watch::default();
    let (start, began) = (Timestamp::from_second(1_800_000_000).unwrap(), Instant::now());
    let mut after = |wall: i64, passed: u64| {
        watch.jumped(start.checked_add(SignedDuration::from_secs(wall)).unwrap(), began + Duration::from_secs(passed))
    };
    assert_eq!(after(0, 0), None);
    assert_eq!(after(60, 60), None);
    assert_eq!(after(64, 60), None, "a little is what NTP does");
    assert_eq!(after(3664, 60), Some(SignedDuration::from_hours(1)));
    assert_eq!(after(124, 120), Some(SignedDuration::from_secs(-3600)));
}

/// The store fails just when somebody acknowledges: when what follows is written after all, so is who it was.
#[tokio::test]
async fn what_somebody_decided_is_written_with_who_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let options = store::Options { data: folder.path().to_owned(), url: None };
    let (ours, others) = (Store::open(&options).await.unwrap(), Store::open(&options).await.unwrap());
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let mut watch = Watch::default();
    watch.unwritten.instances.insert((Name::parse("r"), Name::parse("web-01")), None);
    watch.decided.push(audit(Actor::user("ann"), "acknowledge", "device/default/web-01", "on it"));
    ours.alerts().await.unwrap();
    others.alerts().await.unwrap();
    assert!(watch.write(&ours, now).await.is_err(), "somebody else writes");
    ours.alerts().await.unwrap();
    assert_eq!(watch.write(&ours, now).await.unwrap().instances.len(), 1);
    assert!(watch.unwritten.is_empty() && watch.decided.is_empty());
    let entries = ours.entries(&store::Filter { limit: 10, ..store::Filter::default() }).await.unwrap();
    let said: Vec<(&str, &str)> = entries.iter().map(|entry| (entry.actor.name.as_str(), entry.verb.as_str())).collect();
    assert_eq!(said, [("ann", "acknowledge")]);
}
