//! Writing what we report of an object: its status by server-side apply, and our finalizer.
//!
//! Written is what is otherwise than what the API server has. A condition that is as it was keeps the time at which it became so.

use jiff::Timestamp;
use kube::api::{DynamicObject, Patch, PatchParams};
use reconcile::Key;
use serde_json::{Value, json};

use crate::marks::{FIELD_MANAGER, FINALIZER, FINALIZER_MANAGER};
use crate::watch::version;
use crate::{Cluster, Error, Known, within};

/// As a condition has it of which nothing was seen yet.
const EPOCH: &str = "1970-01-01T00:00:00Z";
/// How often a finalizer is tried to be taken off while others write to the same object.
const TRIES: usize = 5;

impl Cluster {
    /// Writes an object's status if it is otherwise than what the API server has. Returns whether it was written; an object that is gone
    /// is not.
    pub async fn write_status(&self, key: &Key, status: Value) -> Result<bool, Error> {
        let Some(known) = self.known(key) else { return Ok(false) };
        let before: Value = serde_json::from_str(&known.status).unwrap_or_default();
        let status = settled(status, &before);
        if status == before {
            return Ok(false);
        }
        let (kind, name) = key;
        let body = json!({
            "apiVersion": format!("{}/{}", crds::GROUP, crds::VERSION),
            "kind": kind.as_str(),
            // Not that of another one with the same name.
            "metadata": {"name": name.name(), "uid": known.uid},
            "status": status,
        });
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let api = self.objects(*kind, name.namespace());
        match within(api.patch_status(name.name(), &parameters, &Patch::Apply(&body))).await {
            Ok(written) => {
                // The watch will say the same; until then nothing is written twice.
                if let Some(known) = self.table().get_mut(key).filter(|now| now.uid == known.uid) {
                    known.wrote(&written, &status);
                }
                Ok(true)
            }
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
            Err(error) => Err(Error::api(format!("the status of {} {name}", kind.as_str()))(error)),
        }
    }

    /// Puts our finalizer on an object, or takes it off, if it is not so already.
    pub async fn hold(&self, key: &Key, hold: bool) -> Result<bool, Error> {
        let Some(known) = self.known(key).filter(|known| known.finalizer != hold) else { return Ok(false) };
        if known.deleting && hold {
            return Ok(false);
        }
        match if hold { self.put_on(key, &known).await.map(drop) } else { self.take_off(key, &known).await } {
            Ok(()) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
            Err(error) => Err(Error::api(format!("the finalizer of {} {}", key.0.as_str(), key.1))(error)),
        }
    }

    async fn put_on(&self, key: &Key, known: &Known) -> Result<DynamicObject, kube::Error> {
        self.apply_finalizers(key, known, &[FINALIZER]).await
    }

    /// Takes our finalizer off, whoever put it there: an object that was saved and restored has it from its manifest.
    async fn take_off(&self, key: &Key, known: &Known) -> Result<(), kube::Error> {
        let api = self.objects(key.0, key.1.namespace());
        let mut tries = 0;
        loop {
            // What nobody else has put there is gone with this, whatever others write meanwhile; and it says what is there now.
            let now = self.apply_finalizers(key, known, &[]).await?;
            let finalizers = now.metadata.finalizers.unwrap_or_default();
            if !finalizers.iter().any(|name| name == FINALIZER) {
                return Ok(());
            }
            let others: Vec<&String> = finalizers.iter().filter(|name| *name != FINALIZER).collect();
            let body = json!({"metadata": {"uid": known.uid, "resourceVersion": now.metadata.resource_version, "finalizers": others}});
            let parameters = PatchParams { field_manager: Some(FINALIZER_MANAGER.into()), ..PatchParams::default() };
            tries += 1;
            match within(api.patch(key.1.name(), &parameters, &Patch::Merge(&body))).await {
                Err(kube::Error::Api(status)) if status.code == 409 && tries < TRIES => {}
                other => return other.map(drop),
            }
        }
    }

    /// Makes these the finalizers that we want on an object.
    async fn apply_finalizers(&self, (kind, name): &Key, known: &Known, wanted: &[&str]) -> Result<DynamicObject, kube::Error> {
        let body = json!({
            "apiVersion": format!("{}/{}", crds::GROUP, crds::VERSION),
            "kind": kind.as_str(),
            "metadata": {"name": name.name(), "uid": known.uid, "finalizers": wanted},
        });
        let parameters = PatchParams::apply(FINALIZER_MANAGER).force();
        within(self.objects(*kind, name.namespace()).patch(name.name(), &parameters, &Patch::Apply(&body))).await
    }
}

impl Known {
    /// Notes a status that was written, unless the watch has shown something newer already: somebody may have written over it before we
    /// had our answer, and then what we wrote is not what is there.
    fn wrote(&mut self, written: &DynamicObject, status: &Value) {
        if version(written) >= self.version.parse().unwrap_or_default() {
            self.version = written.metadata.resource_version.clone().unwrap_or_default();
            self.status = status.to_string().into();
        }
    }
}

/// A status as it is to be written: nothing null in it, and conditions that are as they were since then.
fn settled(mut status: Value, before: &Value) -> Value {
    prune(&mut status);
    let old = before["conditions"].as_array().cloned().unwrap_or_default();
    for condition in status.get_mut("conditions").and_then(Value::as_array_mut).into_iter().flatten() {
        let same = |other: &&Value| other["type"] == condition["type"] && other["status"] == condition["status"];
        if let Some(since) = old.iter().find(same).map(|old| old["lastTransitionTime"].clone()) {
            condition["lastTransitionTime"] = since;
        } else if condition["lastTransitionTime"] == EPOCH {
            // Nobody knows since when: it is seen now.
            condition["lastTransitionTime"] = json!(Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        }
    }
    status
}

/// The API server keeps no nulls.
fn prune(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(prune);
        }
        Value::Array(items) => items.iter_mut().for_each(prune),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_does_not_hide_what_came_after_it() {
        let answer = |version: &str| {
            let object =
                json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "Device", "metadata": {"name": "a", "resourceVersion": version}});
            serde_json::from_value::<DynamicObject>(object).unwrap()
        };
        let ours = json!({"health": "Healthy"});
        let mut known = Known { version: "99".into(), shown: 99, status: "others".into(), ..Known::default() };
        known.wrote(&answer("98"), &ours);
        assert_eq!((&*known.version, &*known.status), ("99", "others"));
        known.wrote(&answer("100"), &ours);
        assert_eq!((&*known.version, &*known.status), ("100", r#"{"health":"Healthy"}"#));
        assert_eq!(known.shown, 99, "what it says beside its status may be otherwise by then");
    }

    #[test]
    fn a_condition_that_is_as_it_was_keeps_its_time() {
        let condition = |status: &str, time: &str| json!({"conditions": [{"type": "Ready", "status": status, "lastTransitionTime": time}]});
        let before = condition("True", "2026-11-25T10:00:00Z");
        assert_eq!(settled(condition("True", "2026-11-25T11:00:00Z"), &before), before);
        let after = condition("False", "2026-11-25T11:00:00Z");
        assert_eq!(settled(after.clone(), &before), after);
        let unknown = settled(condition("False", EPOCH), &before);
        assert_ne!(unknown["conditions"][0]["lastTransitionTime"], EPOCH, "nothing has been so since 1970");
        assert_eq!(settled(json!({"a": null, "b": [{"c": null}], "d": 1}), &Value::Null), json!({"b": [{}], "d": 1}));
    }
}
