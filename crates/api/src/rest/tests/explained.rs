//! Explanations name nothing that one may not see, whatever the thing is that is explained.

use std::sync::Arc;

use jiff::Timestamp;
use reconcile::alerting::alerts::Changes;
use reconcile::alerting::{Notice, Reason};
use reconcile::deletion::Deletion;
use reconcile::plan::StepId;
use reconcile::{Deferred, Name, RevisionResult, Rollout, Target, WaitingOn};
use serde_json::{Value, json};

use super::rollouts::{begin, placement};
use super::sees::{notice, said};
use super::{World, admin, role, user};

/// What waits for something else, whichever that is.
fn waits(unit: &str, target: Target, waiting_on: WaitingOn) -> Deferred {
    Deferred { unit: Target::parse(unit).unwrap(), target, wants: "apply nginx 1.0-1".into(), waiting_on }
}

/// A fleet in which everything has to do with everything, and somebody who sees devices and rules of one site, and nothing else.
async fn entangled() -> World {
    let mut objects = super::objects();
    let here = json!({"matchLabels": {"site": "ams1"}});
    let allow = json!([{"verbs": ["view"], "kinds": ["Device", "AlertRule"], "devices": here}]);
    objects.push(role("watchers", "watcher", &allow, false));
    objects.push(role("tellers", "teller", &json!([{"verbs": ["view"], "kinds": ["Receiver"]}]), false));
    let world = World::of(objects).await;
    let mut view = world.shared.view.write().unwrap();
    let (unit, device) = (Name::parse("app-ams1"), Target::parse("device/web-ams1").unwrap());
    let whole = Target::Deployment(unit.clone());
    let lock = WaitingOn::Lock { step: StepId("app-fra1-7".into()), holder: Name::parse("app-fra1") };
    let waiting = vec![
        waits("deployment/app-ams1", whole.clone(), WaitingOn::Dependency { on: Target::parse("deployment/app-fra1").unwrap() }),
        waits("deployment/app-ams1", whole, WaitingOn::Alert { name: "alert load-fra1".into(), until: None }),
        waits("deployment/app-ams1", device, lock),
    ];
    view.put_off(&unit, waiting, Timestamp::now());
    let mut alert = super::alert("load-ams1", "web-ams1", "aaaa");
    let work = reconcile::alerting::suppress::Suppressor::Rollout { deployment: unit };
    alert.suppressed.push(work);
    view.alerts.set(&(alert.subject.rule.clone(), alert.subject.device.clone()), Some(&alert));
    drop(view);
    world
}

async fn explained(world: &World, path: &str, who: &str) -> String {
    let caller = if who == "admin" { admin() } else { user(who) };
    let told = world.document(&format!("/api/v1/{path}/explain"), &caller).await;
    told["text"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_device_names_no_deployment_that_one_may_not_see() {
    let world = entangled().await;
    let text = explained(&world, "devices/default/web-ams1", "admin").await;
    assert!(text.contains("deployment/app-fra1") && text.contains("alert load-fra1") && text.contains("app-fra1-7"), "{text}");
    let text = explained(&world, "devices/default/web-ams1", "viewer").await;
    assert!(text.contains("app-ams1") && !text.contains("fra1"), "{text}");
    let text = explained(&world, "devices/default/web-ams1", "watcher").await;
    assert!(!text.contains("app-") && !text.contains("fra1"), "{text}");
    let whole = world.document("/api/v1/devices/default/web-ams1", &user("watcher")).await;
    assert!(!whole.to_string().contains("app-"), "{whole}");
}

#[tokio::test]
async fn a_deployment_names_nothing_of_another_site() {
    let world = entangled().await;
    let text = explained(&world, "deployments/default/app-ams1", "viewer").await;
    assert!(text.contains("waits: deployment/app-ams1") && text.contains("(hidden)") && !text.contains("fra1"), "{text}");
    for path in ["rollouts/default/app-ams1", "rollouts", "plans", "deployments/default/app-ams1", "overview"] {
        let told = world.document(&format!("/api/v1/{path}"), &user("viewer")).await;
        assert!(!told.to_string().contains("fra1"), "{path}: {told}");
    }
}

#[tokio::test]
async fn a_rule_names_no_silence_that_one_may_not_see() {
    let world = entangled().await;
    let text = explained(&world, "alertrules/default/load-ams1", "viewer").await;
    assert!(text.contains("silence/quiet-ams1 mutes it on 2 devices"), "{text}");
    let text = explained(&world, "alertrules/default/load-ams1", "watcher").await;
    assert!(text.contains("a silence that you may not see mutes it on 2 devices"), "{text}");
    assert!(text.contains("not said for now: by what you may not see"), "{text}");
    assert!(!text.contains("quiet-") && !text.contains("app-"), "{text}");
}

#[tokio::test]
async fn a_receiver_names_no_rule_that_one_may_not_see() {
    let mut objects = super::objects();
    let rule = json!({"expr": "device.usage.load.one > 5.0", "severity": "info", "notify": {"receivers": ["oncall"]}});
    objects.push(super::object(crds::Kind::AlertRule, "secret-rule", &Value::Null, &rule));
    let other = json!({"webhook": {"url": "https://example.com/other"}, "fallback": "oncall"});
    objects.push(super::object(crds::Kind::Receiver, "other", &Value::Null, &other));
    objects.push(role("tellers", "teller", &json!([{"verbs": ["view"], "kinds": ["Receiver"]}]), false));
    let world = World::of(objects).await;
    let text = explained(&world, "receivers/default/oncall", "reader").await;
    assert!(text.contains("told by alertrule/secret-rule") && text.contains("receiver/other"), "{text}");
    let text = explained(&world, "receivers/default/oncall", "teller").await;
    assert!(text.contains("told by what you may not see") && text.contains("receiver/other"), "{text}");
    assert!(!text.contains("secret-rule"), "{text}");
}

/// What was said of devices that one may not see is not even counted.
#[tokio::test]
async fn a_receiver_counts_no_alert_that_one_may_not_see() {
    let mut objects = super::objects();
    let here = json!({"matchLabels": {"site": "ams1"}});
    let allow = json!([{"verbs": ["view"], "kinds": ["Device"], "devices": here}, {"verbs": ["view"], "kinds": ["Receiver"]}]);
    objects.push(role("tellers", "teller", &allow, false));
    let world = World::of(objects).await;
    world.shared.store.alerts().await.unwrap();
    let [seen, hidden] = ["ams1", "fra1"].map(|site| said(&format!("load-{site}"), &format!("web-{site}")));
    let both = Notice { firing: vec![seen.clone(), hidden.clone()], left_off: (3, 0), ..notice("both", Reason::First, seen) };
    let notices = vec![both, notice("other", Reason::Repeat, hidden)];
    world.shared.store.record_alerts(&Changes { notices, ..Changes::default() }, Vec::new(), super::at(0)).await.unwrap();
    let text = explained(&world, "receivers/default/oncall", "admin").await;
    assert!(text.contains("First: 5 fire, 0 well again") && text.contains("Repeat: 1 fire, 0 well again"), "{text}");
    let text = explained(&world, "receivers/default/oncall", "teller").await;
    assert!(text.contains("First: 1 fire, 0 well again") && !text.contains("Repeat"), "{text}");
}

/// A Deployment that one may see may be for devices that one may not.
#[tokio::test]
async fn a_deployment_counts_the_devices_that_one_may_see() {
    let mut objects = super::objects();
    let here = json!({"matchLabels": {"site": "ams1"}});
    let allow = json!([{"verbs": ["view"], "kinds": ["Device"], "devices": here}, {"verbs": ["view"], "kinds": ["Deployment"]}]);
    objects.push(role("shippers", "shipper", &allow, false));
    let spec = json!({"selector": {}, "package": {"apt": {"name": "htop", "version": "1.0-1"}}});
    objects.push(super::object(crds::Kind::Deployment, "everywhere", &Value::Null, &spec));
    let world = World::of(objects).await;
    {
        let mut view = world.shared.view.write().unwrap();
        let digest = view.desired.deployments[&Name::parse("everywhere")].digest.clone();
        let deletion = Deletion {
            commit: "c0ffee".into(),
            author: "ann@example.com".into(),
            signer: None,
            remove: true,
            max_unavailable: crds::Share::Count(1),
            group_by: Vec::new(),
            deadline_seconds: 600,
            windows: Vec::new(),
        };
        let placements = ["web-ams1", "web-fra1"].map(|device| (Name::parse(device), placement(&digest, 1))).into();
        let gone = Rollout { placements, deletion: Some(Box::new(deletion)), ..Rollout::default() };
        view.observed.rollouts.insert(Name::parse("gone"), Arc::new(gone));
    }
    for (who, total, devices, left) in [("admin", 4, "of 4 devices", "2 devices left"), ("shipper", 2, "of 2 devices", "1 device left")] {
        let caller = if who == "admin" { admin() } else { user(who) };
        let shown = world.document("/api/v1/deployments/default/everywhere", &caller).await;
        assert_eq!(shown["status"]["counts"]["total"], total, "{who}");
        let page = world.document("/api/v1/overview", &caller).await;
        let ways = page["changing"]["rollouts"].as_array().unwrap();
        let way = ways.iter().find(|way| way["deployment"] == "default/everywhere").unwrap();
        assert_eq!(way["total"], total, "{who}");
        let text = explained(&world, "deployments/default/everywhere", who).await;
        assert!(text.contains(devices), "{who}: {text}");
        let text = explained(&world, "deployments/default/gone", who).await;
        assert!(text.contains(left), "{who}: {text}");
    }
}

/// Why a gate failed may be an alert of a rule that one may not see: neither its name is told nor what it says.
#[tokio::test]
async fn a_failed_gate_names_no_rule_that_one_may_not_see() {
    let world = entangled().await;
    begin(&world, "ams1", RevisionResult::Stopped);
    let (unit, why) = (Name::parse("app-ams1"), "alert load-fra1 is firing: the lab burns");
    {
        let mut view = world.shared.view.write().unwrap();
        let rollout = Arc::make_mut(view.observed.rollouts.get_mut(&unit).unwrap());
        rollout.history[0].reason = format!("web-ams1: {why}");
        rollout.placements.values_mut().for_each(|placed| placed.failure = why.to_owned());
        let waiting_on = WaitingOn::Health { reason: format!("the last try failed: {why}"), until: None };
        let device = Target::parse("device/web-ams1").unwrap();
        view.put_off(&unit, vec![waits("deployment/app-ams1", device, waiting_on)], Timestamp::now());
    }
    for (path, is_told) in [
        ("rollouts/default/app-ams1", true),
        ("rollouts", true),
        ("deployments/default/app-ams1", true),
        ("deployments/default/app-ams1/explain", true),
        ("devices/default/web-ams1", false),
        ("devices/default/web-ams1/explain", true),
        ("plans", true),
        ("overview", false),
    ] {
        let told = world.document(&format!("/api/v1/{path}"), &admin()).await.to_string();
        assert!(told.contains("the lab burns") || !is_told, "{path}: {told}");
        let told = world.document(&format!("/api/v1/{path}"), &user("viewer")).await.to_string();
        assert!(!told.contains("fra1") && !told.contains("the lab burns"), "{path}: {told}");
    }
    let told = world.document("/api/v1/rollouts/default/app-ams1", &user("viewer")).await;
    let batch = &told["batches"][1];
    assert_eq!(batch["gate"]["reason"], "web-ams1: alert (hidden) is firing");
    assert_eq!(batch["devices"][0]["gate"]["reason"], "alert (hidden) is firing");
}

/// What was said of objects by their names, in whatever text it stands.
#[tokio::test]
async fn a_text_names_no_object_that_one_may_not_see() {
    let world = entangled().await;
    let sight = crate::rest::sight::Sights::default().of(&user("watcher"), &world.shared);
    for (text, expected) in [
        ("silence/quiet-ams1 and silence/quiet-fra1.", "silence/(hidden) and silence/(hidden)."),
        ("held by deployment/app-ams1", "held by deployment/(hidden)"),
        ("alertrule/load-ams1 fires, alertrule/load-fra1 too", "alertrule/load-ams1 fires, alertrule/(hidden) too"),
        ("role/lab/ops, dep/x, roles/a", "role/(hidden), dep/x, roles/a"),
        (
            "web-ams1: alert load-fra1 is firing: it burns\nalert load-ams1 is firing: so",
            "web-ams1: alert (hidden) is firing\nalert load-ams1 is firing: so",
        ),
        ("alert load-ams1 is firing: so, alert lab/burns is firing: it burns", "alert load-ams1 is firing: so, alert (hidden) is firing"),
        ("alert load-ams1 is firing", "alert load-ams1 is firing"),
    ] {
        assert_eq!(sight.masked(text), expected);
    }
}
