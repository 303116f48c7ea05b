//! Writing what we report of an object: its status by server-side apply, and our finalizer.
//!
//! Written is what is otherwise than what the API server has. A condition that is as it was keeps the time at which it became so.

use kube::api::{Patch, PatchParams};
use reconcile::Key;
use serde_json::{Value, json};

use crate::{Cluster, Error, FIELD_MANAGER, FINALIZER, within};

/// The manager of our finalizer: apart, so that letting it go lets nothing else go.
pub(crate) const FINALIZER_MANAGER: &str = "evenkeel-finalizer";

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
            Ok(_) => {
                // The watch will say the same; until then nothing is written twice.
                if let Some(known) = self.table().get_mut(key).filter(|now| now.uid == known.uid) {
                    known.status = status.to_string().into();
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
        let (kind, name) = key;
        let api = self.objects(*kind, name.namespace());
        let written = if hold {
            let body = json!({
                "apiVersion": format!("{}/{}", crds::GROUP, crds::VERSION),
                "kind": kind.as_str(),
                "metadata": {"name": name.name(), "uid": known.uid, "finalizers": [FINALIZER]},
            });
            within(api.patch(name.name(), &PatchParams::apply(FINALIZER_MANAGER).force(), &Patch::Apply(&body))).await
        } else {
            // Whoever put it there: an object that was saved and restored has it from its manifest.
            let others: Vec<&String> = known.finalizers.iter().filter(|name| *name != FINALIZER).collect();
            let body = json!({"metadata": {"uid": known.uid, "resourceVersion": known.version, "finalizers": others}});
            let parameters = PatchParams { field_manager: Some(FINALIZER_MANAGER.into()), ..PatchParams::default() };
            within(api.patch(name.name(), &parameters, &Patch::Merge(&body))).await
        };
        match written {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
            Err(error) => Err(Error::api(format!("the finalizer of {} {name}", kind.as_str()))(error)),
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
    fn a_condition_that_is_as_it_was_keeps_its_time() {
        let condition = |status: &str, time: &str| json!({"conditions": [{"type": "Ready", "status": status, "lastTransitionTime": time}]});
        let before = condition("True", "2026-11-25T10:00:00Z");
        assert_eq!(settled(condition("True", "2026-11-25T11:00:00Z"), &before), before);
        let after = condition("False", "2026-11-25T11:00:00Z");
        assert_eq!(settled(after.clone(), &before), after);
        assert_eq!(settled(json!({"a": null, "b": [{"c": null}], "d": 1}), &Value::Null), json!({"b": [{}], "d": 1}));
    }
}
