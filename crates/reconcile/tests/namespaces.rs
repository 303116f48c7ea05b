//! Namespaces are walls: what an object of one selects, mutes, tells and opens is of that namespace, and nothing lets it reach into another.

use std::collections::BTreeMap;
use std::sync::Arc;

use crds::{AlertRuleSpec, Kind, Object, ReceiverSpec, SilenceSpec};
use jiff::Timestamp;
use reconcile::alerting::Receiver;
use reconcile::alerting::rule::Rule;
use reconcile::alerting::suppress::Silence;
use reconcile::{Desired, Name, Revision};
use serde_json::{Value, json};

fn here(name: &str) -> Name {
    Name::new("here", name)
}

fn there(name: &str) -> Name {
    Name::new("there", name)
}

fn object(kind: Kind, name: &Name, spec: &Value) -> Arc<Object> {
    let metadata = json!({"namespace": name.namespace(), "name": name.name(), "labels": {"role": "web"}});
    let value = json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": kind.as_str(), "metadata": metadata, "spec": spec});
    Arc::new(Object::from_value(kind, value).unwrap_or_else(|error| panic!("{name}: {error:?}")))
}

fn device(name: &Name, address: &str) -> Arc<Object> {
    let access = json!({"ssh": {"user": "ops", "secretRef": {"name": "fleet-key"}}});
    object(Kind::Device, name, &json!({"type": "Server", "address": address, "access": access}))
}

fn rule_spec() -> Value {
    json!({"selector": {"matchLabels": {"role": "web"}}, "expr": "logs.errors > 5", "severity": "critical", "notify": {"receivers": ["oncall"]}})
}

/// A device in each of two namespaces, with the same labels; everything else is in the first one.
fn fleet() -> Desired {
    let deployment = json!({"selector": {"matchLabels": {"role": "web"}}, "package": {"apt": {"name": "nginx", "version": "1"}}});
    let objects = [
        device(&here("web-01"), "10.0.0.1"),
        device(&there("web-01"), "10.0.0.2"),
        object(Kind::DeviceClass, &here("server"), &json!({})),
        object(Kind::Deployment, &here("web"), &deployment),
        object(Kind::AlertRule, &here("errors"), &rule_spec()),
        object(Kind::Receiver, &here("oncall"), &json!({"webhook": {"url": "https://chat.example.com/hook"}})),
    ];
    let desired = Desired::build(objects, Revision::default()).0;
    assert!(!said(&desired).iter().any(|said| said.starts_with("unknown-")), "{:?}", said(&desired));
    desired
}

fn said(desired: &Desired) -> Vec<String> {
    desired.findings().iter().map(|finding| format!("{} {}: {}", finding.code, finding.object, finding.message)).collect()
}

#[test]
fn a_deployment_selects_devices_of_its_namespace() {
    let desired = fleet();
    let members = |desired: &Desired| desired.deployments.get(&here("web")).expect("it is in force").members.clone();
    assert_eq!(members(&desired), [here("web-01")]);
    assert!(desired.selected_by.get(&there("web-01")).is_none_or(Vec::is_empty));
    // Nor one that comes later.
    let late = [there("web-02"), here("web-02")].map(|name| ((Kind::Device, name.clone()), Some(device(&name, "10.0.0.3"))));
    let (desired, _) = desired.update(late, Revision::default());
    assert_eq!(members(&desired), [here("web-01"), here("web-02")]);
    assert!(desired.selected_by.get(&there("web-02")).is_none_or(Vec::is_empty));
}

#[test]
fn a_rule_judges_and_a_silence_mutes_devices_of_its_namespace() {
    let desired = fleet();
    let (own, other) = (desired.devices.get(&here("web-01")).unwrap(), desired.devices.get(&there("web-01")).unwrap());
    let rule = desired.rules.get(&here("errors")).expect("it is in force");
    assert!(rule.applies_to(own) && !rule.applies_to(other));

    let spec = json!({"matchLabels": {"role": "web"}, "until": "2030-01-01T00:00:00Z", "reason": "load test"});
    let silence = Silence::of(&here("quiet"), &serde_json::from_value::<SilenceSpec>(spec).unwrap());
    let now: Timestamp = "2029-01-01T00:00:00Z".parse().unwrap();
    let labels: BTreeMap<String, String> = (*own.labels).clone();
    assert_eq!(own.labels, other.labels);
    assert!(silence.mutes((&own.name, &labels), (&here("errors"), &labels), now));
    assert!(!silence.mutes((&other.name, &labels), (&there("errors"), &labels), now));
}

#[test]
fn who_is_told_is_a_receiver_of_the_same_namespace() {
    let spec: AlertRuleSpec = serde_json::from_value(rule_spec()).unwrap();
    let routing = Rule::read(&there("errors"), &spec).0.and_then(|rule| rule.routing).expect("it tells somebody");
    assert_eq!(routing.receivers, [there("oncall")]);
    let spec = json!({"webhook": {"url": "https://chat.example.com/hook"}, "fallback": "oncall"});
    let spec: ReceiverSpec = serde_json::from_value(spec).unwrap();
    assert_eq!(Receiver::of(&there("chat"), &spec).0.and_then(|receiver| receiver.fallback), Some(there("oncall")));
    // The one of the other namespace is none that there is.
    let key = (Kind::AlertRule, there("errors"));
    let (desired, _) = fleet().update([(key, Some(object(Kind::AlertRule, &there("errors"), &rule_spec())))], Revision::default());
    let wanted = "unknown-receiver alertrule/there/errors: there is no Receiver `oncall`".to_owned();
    assert!(said(&desired).contains(&wanted), "{:?}", said(&desired));
}

#[test]
fn a_device_is_opened_by_a_secret_and_described_by_a_class_of_its_namespace() {
    let desired = fleet();
    let device = desired.devices.get(&here("web-01")).unwrap();
    assert!(device.logs_in_with(&here("fleet-key")) && !device.logs_in_with(&there("fleet-key")));
    let classed = object(Kind::Device, &there("web-02"), &json!({"type": "Server", "address": "10.0.0.3", "class": "server"}));
    let (desired, _) = desired.update([((Kind::Device, there("web-02")), Some(classed))], Revision::default());
    let wanted = "unknown-class device/there/web-02: there is no DeviceClass `server`".to_owned();
    assert!(said(&desired).contains(&wanted), "{:?}", said(&desired));
}
