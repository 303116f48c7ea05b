//! Objects in short: what every object of a story has in common is filled in.

use std::collections::BTreeMap;
use std::sync::Arc;

use crds::{Kind, Object};
use reconcile::Name;
use serde::Deserialize;
use serde_json::{Value, json};

use super::World;

/// Objects by kind and name, each as its spec; `labels` beside the fields of a device's spec, and `version` for the version of a
/// deployment's apt package. `web-01..05` stands for five devices. What is there already is changed as a JSON merge patch does it (RFC 7396).
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Objects {
    pub devices: BTreeMap<String, Value>,
    pub classes: BTreeMap<String, Value>,
    pub deployments: BTreeMap<String, Value>,
    pub roles: BTreeMap<String, Value>,
    pub rules: BTreeMap<String, Value>,
}

/// Keys of stories: `key a` to `key z` in a login stand for them.
fn public_key(letter: u8) -> String {
    // The wire format of RFC 8709: the type, then 32 bytes.
    let head = "AAAAC3NzaC1lZDI1NTE5AAAAI";
    format!("ssh-ed25519 {head}{}", char::from(letter.to_ascii_uppercase()).to_string().repeat(43))
}

impl World {
    /// Writes the objects as a commit would.
    pub fn write(&mut self, objects: &Objects) {
        for (name, patch) in &objects.classes {
            self.patch(Kind::DeviceClass, name, patch, json!({"metadata": {"name": name}, "spec": {}}));
        }
        for (name, patch) in objects.devices.iter().flat_map(|(names, patch)| expand(names).into_iter().map(move |name| (name, patch))) {
            let address = format!("10.0.0.{}", name.trim_start_matches(|c: char| !c.is_ascii_digit()).trim_start_matches('0'));
            let spec =
                json!({"type": "Server", "address": address.trim_end_matches('.'), "access": {"ssh": {"hostKeys": ["ssh-ed25519 AAAA"]}}});
            self.patch(Kind::Device, &name, patch, json!({"metadata": {"name": name, "labels": {"role": "web"}}, "spec": spec}));
        }
        for (name, patch) in &objects.roles {
            let mut patch = patch.clone();
            for key in patch.pointer_mut("/login/authorizedKeys").and_then(Value::as_array_mut).into_iter().flatten() {
                let letter = key.as_str().and_then(|text| text.strip_prefix("key ")).and_then(|letter| letter.bytes().next());
                *key = letter.map_or_else(|| key.clone(), |letter| public_key(letter).into());
            }
            let spec = json!({"subjects": [{"user": "alice"}]});
            self.patch(Kind::Role, name, &patch, json!({"metadata": {"name": name}, "spec": spec}));
        }
        for (name, patch) in &objects.deployments {
            let spec = json!({"selector": {"matchLabels": {"role": "web"}}, "package": {"apt": {"name": name, "version": "1.0"}}});
            self.patch(Kind::Deployment, name, patch, json!({"metadata": {"name": name}, "spec": spec}));
        }
        for (name, patch) in &objects.rules {
            let spec = json!({"expr": "usage.memory.ratio > 0.9", "severity": "critical"});
            self.patch(Kind::AlertRule, name, patch, json!({"metadata": {"name": name}, "spec": spec}));
        }
    }

    fn patch(&mut self, kind: Kind, name: &str, patch: &Value, new: Value) {
        let key = (kind, Name::parse(name));
        let mut value = self.objects.get(&key).map_or(new, |object| object.to_value());
        value["apiVersion"] = "evenkeel.dev/v1alpha1".into();
        value["kind"] = kind.as_str().into();
        let mut spec = patch.clone();
        if let Some(fields) = spec.as_object_mut() {
            if let Some(labels) = fields.remove("labels").filter(|_| kind == Kind::Device) {
                merge(&mut value["metadata"]["labels"], &labels);
            }
            if let Some(version) = fields.remove("version") {
                value["spec"]["package"]["apt"]["version"] = version;
            }
        }
        if !spec.is_null() {
            merge(&mut value["spec"], &spec);
        }
        let violations = crds::validate_cel(kind, &value);
        assert!(violations.is_empty(), "{name}: {violations:?}");
        let object = Object::from_value(kind, value).unwrap_or_else(|error| panic!("{name}: {error}"));
        self.objects.insert(key, Arc::new(object));
    }
}

fn expand(names: &str) -> Vec<String> {
    let Some((first, last)) = names.split_once("..") else { return vec![names.to_owned()] };
    let (stem, from) = first.rsplit_once('-').expect("stem-01..05");
    let numbers = from.parse::<u32>().expect("a number")..=last.parse().expect("a number");
    numbers.map(|number| format!("{stem}-{number:0width$}", width = from.len())).collect()
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in fields {
        if value.is_null() {
            target.as_object_mut().expect("an object").remove(key);
        } else {
            merge(&mut target[key], value);
        }
    }
}
