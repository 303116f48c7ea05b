//! Explanations name nothing that one may not see, whatever the thing is that is explained.

use jiff::Timestamp;
use reconcile::plan::StepId;
use reconcile::{Deferred, Name, Target, WaitingOn};
use serde_json::{Value, json};

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
    ] {
        assert_eq!(sight.masked(text), expected);
    }
}
