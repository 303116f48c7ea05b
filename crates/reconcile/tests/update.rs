//! However a fleet came about, commit by commit, it is the same as if it were built from what it holds now; and what an update says
//! that it changed is all that it changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use crds::{Kind, Object};
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::{collection, option, proptest};
use reconcile::{Desired, Key, Name, Revision};
use serde_json::{Value, json};

/// A change of one object: small numbers, so that names meet.
#[derive(Clone, Debug)]
enum Write {
    Device { name: u8, class: Option<u8>, parent: Option<u8>, via: Option<u8>, role: u8 },
    Class { name: u8, role: Option<u8>, parent: Option<u8>, greeting: bool },
    Deployment { name: u8, role: u8, package: u8, templated: bool, on: Option<u8> },
    Rule { name: u8, role: u8, receiver: u8, asks: u8, by: Option<u8> },
    Silence { name: u8, role: Option<u8>, label: u8 },
    Receiver { name: u8, good: bool },
    Role { name: u8, role: Option<u8>, device: u8, suspend: bool },
}

fn write() -> impl Strategy<Value = (Write, bool)> {
    let small = || 0..5u8;
    let write = prop_oneof![
        4 => (small(), option::of(0..3u8), option::of(small()), option::of(small()), 0..3u8)
            .prop_map(|(name, class, parent, via, role)| Write::Device { name, class, parent, via, role }),
        1 => (0..3u8, option::of(0..3u8), option::of(small()), any::<bool>())
            .prop_map(|(name, role, parent, greeting)| Write::Class { name, role, parent, greeting }),
        3 => (small(), 0..3u8, 0..3u8, any::<bool>(), option::of(small()))
            .prop_map(|(name, role, package, templated, on)| Write::Deployment { name, role, package, templated, on }),
        2 => (0..2u8, 0..3u8, 0..2u8, 0..5u8, option::of(0..3u8))
            .prop_map(|(name, role, receiver, asks, by)| Write::Rule { name, role, receiver, asks, by }),
        1 => (0..2u8, option::of(0..3u8), 0..5u8).prop_map(|(name, role, label)| Write::Silence { name, role, label }),
        1 => (0..2u8, any::<bool>()).prop_map(|(name, good)| Write::Receiver { name, good }),
        2 => (0..3u8, option::of(0..3u8), small(), any::<bool>())
            .prop_map(|(name, role, device, suspend)| Write::Role { name, role, device, suspend }),
    ];
    // One in four goes away instead.
    (write, prop_oneof![3 => Just(true), 1 => Just(false)])
}

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

fn object(write: &Write) -> (Kind, String, Value) {
    let (kind, name, labels, spec) = match write {
        Write::Device { name, class, parent, via, role } => {
            let mut spec = json!({"type": "Server", "address": "10.0.0.1", "access": {"ssh": {"hostKeys": ["ssh-ed25519 AAAA"]}}});
            if *name == 0 {
                spec["access"]["ssh"]["user"] = "u0".into();
            }
            if let Some(class) = class {
                spec["class"] = format!("class-{class}").into();
            }
            if let Some(parent) = parent {
                spec["parents"] = json!([format!("d-{parent}")]);
            }
            if let Some(via) = via {
                spec["access"]["ssh"]["via"] = format!("d-{via}").into();
            }
            (Kind::Device, format!("d-{name}"), json!({"role": format!("r{role}")}), spec)
        }
        Write::Class { name, role, parent, greeting } => {
            let mut spec = json!({"vars": if *greeting { json!({"greeting": "hello"}) } else { json!({}) }});
            if let Some(role) = role {
                spec["labels"] = json!({"extra": format!("r{role}")});
            }
            if let Some(parent) = parent {
                spec["parents"] = json!([format!("d-{parent}")]);
            }
            (Kind::DeviceClass, format!("class-{name}"), json!({}), spec)
        }
        Write::Deployment { name, role, package, templated, on } => {
            let mut spec = json!({"selector": {"matchLabels": {"role": format!("r{role}")}}});
            match templated {
                true => spec["files"] = json!([{"path": format!("/etc/{package}"), "template": "{{ vars.greeting }} {{ device.name }}"}]),
                false => spec["package"] = json!({"apt": {"name": format!("p{package}"), "version": "1"}}),
            }
            if let Some(on) = on {
                spec["dependsOn"] = json!([format!("u-{on}")]);
            }
            (Kind::Deployment, format!("u-{name}"), json!({}), spec)
        }
        Write::Rule { name, role, receiver, asks, by } => {
            let expr = [
                "true",
                "device.labels.extra == \"r1\"",
                "device.vars.greeting == \"hello\"",
                "probes[\"web\"].state == \"fail\"",
                "usage.cpu.ratio > 0.9",
            ];
            let route = json!({"matchLabels": {"extra": format!("r{asks}")}, "receivers": [format!("rc-{receiver}")]});
            let notify = json!({"receivers": [format!("rc-{receiver}")], "groupBy": ["extra"], "routes": [route]});
            let mut spec =
                json!({"expr": expr[usize::from(*asks)], "severity": "info", "notify": notify, "labels": {"team": format!("r{asks}")}});
            if *role < 2 {
                spec["selector"] = json!({"matchLabels": {"role": format!("r{role}")}});
            }
            if let Some(by) = by {
                spec["inhibitedBy"] = json!([{"rule": format!("rule-{by}")}]);
            }
            (Kind::AlertRule, format!("rule-{name}"), json!({}), spec)
        }
        Write::Silence { name, role, label } => {
            let key = ["extra", "team", "rule", "device", "role"][usize::from(*label)];
            let value = ["r1", "r2", "rule-1", "d-1", "r0"][usize::from(*label)];
            let mut spec = json!({"matchLabels": {key: value}, "until": "2026-12-01T00:00:00Z", "reason": "x"});
            if let Some(role) = role {
                spec["devices"] = json!({"matchLabels": {"role": format!("r{role}")}});
            }
            (Kind::Silence, format!("s-{name}"), json!({}), spec)
        }
        Write::Role { name, role, device, suspend } => {
            let mut grant = json!({"verbs": ["view"], "kinds": ["Device"]});
            if let Some(role) = role {
                grant["devices"] = json!({"matchLabels": {"role": format!("r{role}")}});
            }
            let test = json!({"subject": "ann", "may": "view", "kind": "Device", "device": format!("d-{device}"), "expect": true});
            let mut spec = json!({"subjects": [{"user": "ann"}], "allow": [grant], "tests": [test], "suspend": suspend});
            if *device > 0 {
                // The engine logs in as `u0` on one of the devices.
                spec["login"] = json!({"user": format!("u{}", device % 3), "authorizedKeys": [KEY]});
            }
            if *device > 3 {
                spec["login"]["devices"] = json!({});
            }
            (Kind::Role, format!("role-{name}"), json!({}), spec)
        }
        Write::Receiver { name, good } => {
            let url = if *good { "https://example.com" } else { "https://" };
            (Kind::Receiver, format!("rc-{name}"), json!({}), json!({"webhook": {"url": url}}))
        }
    };
    let value =
        json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": kind.as_str(), "metadata": {"name": name, "labels": labels}, "spec": spec});
    (kind, name, value)
}

/// Everything but the guesses at what was meant, which depend on what was there when they were made.
fn shown(desired: &Desired) -> String {
    let findings: Vec<_> =
        desired.findings().into_iter().map(|finding| (finding.object, finding.path, finding.code, finding.message)).collect();
    let (devices, deployments): (Vec<_>, Vec<_>) = (desired.devices.values().collect(), desired.deployments.values().collect());
    format!("{devices:#?}\n{deployments:#?}\n{:#?}\n{:#?}", desired.selected_by.iter().collect::<Vec<_>>(), findings)
}

proptest! {
    #[test]
    fn an_update_is_the_same_as_building_anew(commits in collection::vec(collection::vec(write(), 1..4), 1..12)) {
        let mut objects: BTreeMap<Key, Arc<Object>> = BTreeMap::new();
        let mut desired = Desired::default();
        for commit in commits {
            let mut changes: BTreeMap<Key, Option<Arc<Object>>> = BTreeMap::new();
            for (write, there) in commit {
                let (kind, name, value) = object(&write);
                let object = there.then(|| Arc::new(Object::from_value(kind, value).unwrap()));
                changes.insert((kind, Name::parse(&name)), object);
            }
            for (key, object) in &changes {
                match object {
                    Some(object) => drop(objects.insert(key.clone(), object.clone())),
                    None => drop(objects.remove(key)),
                }
            }
            let (next, changed) = desired.update(changes, Revision::default());
            let (anew, _) = Desired::build(objects.values().cloned(), Revision::default());
            let (next_shown, anew_shown) = (shown(&next), shown(&anew));
            let differ = next_shown.lines().zip(anew_shown.lines()).find(|(a, b)| a != b);
            assert!(next_shown == anew_shown, "by updates, and anew: {differ:?}\n{:#?}\n{:#?}", next.findings(), anew.findings());
            for (name, device) in next.devices.iter().filter(|(name, _)| !changed.devices.contains(*name)) {
                assert_eq!(Some(device), desired.devices.get(name), "{name} changed and nobody was told");
            }
            for (name, deployment) in next.deployments.iter().filter(|(name, _)| !changed.deployments.contains(*name)) {
                assert_eq!(Some(deployment), desired.deployments.get(name), "{name} changed and nobody was told");
                assert!(deployment.members.iter().all(|member| !changed.devices.contains(member)), "a member of {name} changed");
            }
            let gone = |old: &reconcile::Map<Name, _>, is_there: &dyn Fn(&Name) -> bool| old.keys().filter(|name| !is_there(name)).cloned().collect::<Vec<_>>();
            assert!(gone(&desired.devices, &|name| next.devices.contains_key(name)).iter().all(|name| changed.devices.contains(name)));
            let deployments: Vec<&Name> = desired.deployments.keys().filter(|name| !next.deployments.contains_key(*name)).collect();
            assert!(deployments.iter().all(|name| changed.deployments.contains(*name)));
            desired = next;
        }
    }
}
