//! Applying what a Git repository says, in the name of a service account of its namespace: that account's rights are its limits.
//!
//! What was applied is known by an annotation on it, and by who manages its fields. There is no other list of it: all objects of our kinds
//! are watched anyway.

use crds::Object;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::{Client, Config};
use reconcile::{Key, Name};
use serde_json::{Value, json};

use crate::marks::{CHANGED_BY, FROM, GIT_MANAGER};
use crate::watch::version;
use crate::{Cluster, Error, Known, reason, resource, within};

/// Applies for one Repository.
pub struct Applier {
    pub(crate) client: Client,
    pub(crate) account: String,
    pub(crate) from: String,
}

/// Why an object was not applied or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// In one line.
    pub text: String,
    /// Nobody said no: it may work the next time.
    pub again: bool,
}

impl Known {
    /// Whether it is as it is wanted to be: it says the same, and has the labels and annotations that are wanted.
    pub fn is_as(&self, wanted: &Object) -> bool {
        let Some(live) = self.object.as_deref() else { return false };
        let has = |live: Option<&std::collections::BTreeMap<String, String>>,
                   wanted: Option<&std::collections::BTreeMap<String, String>>| {
            wanted.into_iter().flatten().all(|(key, value)| live.is_some_and(|live| live.get(key) == Some(value)))
        };
        let (here, there) = (live.metadata(), wanted.metadata());
        live.says_the_same(wanted)
            && has(here.labels.as_ref(), there.labels.as_ref())
            && has(here.annotations.as_ref(), there.annotations.as_ref())
    }

    /// Whether it is so and nothing of what we put on it is wanted no more: rights go by labels.
    pub fn is_just(&self, wanted: &Object) -> bool {
        let labels = |object: &Object| object.metadata().labels.clone().unwrap_or_default();
        let Some(live) = self.object.as_deref() else { return false };
        let wants = labels(wanted);
        self.is_as(wanted) && labels(live).keys().all(|label| wants.contains_key(label) || self.foreign.contains(label))
    }
}

impl Cluster {
    /// Applies in the name of a service account of the Repository's namespace.
    pub fn applier(&self, repository: &Name, account: &str) -> Result<Applier, Error> {
        let account = format!("system:serviceaccount:{}:{account}", repository.namespace());
        let mut config: Config = self.config.clone();
        config.auth_info.impersonate = Some(account.clone());
        let client = Client::try_from(config).map_err(|error| Error::Config(reason(&error)))?;
        Ok(Applier { client, account, from: repository.full().to_owned() })
    }

    /// The objects that come from a Repository, as the API server has them.
    pub fn applied_from(&self, repository: &Name) -> Vec<(Key, Known)> {
        let from = repository.full();
        let is_from = |known: &Known| known.from.as_deref() == Some(from);
        self.table().iter().filter(|(_, known)| is_from(known)).map(|(key, known)| (key.clone(), known.clone())).collect()
    }
}

impl Applier {
    /// Applies an object. Fields that others have applied are theirs, unless it is to be `forced`. Returns the resource version that it has
    /// then.
    pub async fn apply(&self, key: &Key, wanted: &Object, by: &str, forced: bool) -> Result<u128, Refusal> {
        let (kind, name) = key;
        let mut body = wanted.to_value();
        if let Some(fields) = body.as_object_mut() {
            fields.remove("status");
        }
        let mut annotations = json!(wanted.metadata().annotations.clone().unwrap_or_default());
        annotations[FROM] = json!(self.from);
        annotations[CHANGED_BY] = json!(by);
        body["metadata"] = json!({"name": name.name(), "namespace": name.namespace(), "annotations": annotations});
        // No labels are not an empty list of them: that would be a field of its own, which the server forgets and others seem to change.
        if let Some(labels) = wanted.metadata().labels.as_ref().filter(|labels| !labels.is_empty()) {
            body["metadata"]["labels"] = json!(labels);
        }
        let parameters = if forced { PatchParams::apply(GIT_MANAGER).force() } else { PatchParams::apply(GIT_MANAGER) };
        let written = within(self.api(key).patch(name.name(), &parameters, &Patch::Apply(&body))).await;
        let written = written.map_err(|error| self.refusal(key, "apply", &error))?;
        // Fields that somebody else has added are not ours to take away by an apply; where Git's word counts, they go.
        let there = Object::from_value(
            *kind,
            json!({"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": {}, "spec": written.data.get("spec").cloned().unwrap_or(Value::Null)}),
        );
        if !forced || there.is_ok_and(|there| there.says_the_same(wanted)) {
            return Ok(version(&written));
        }
        let spec = without_others(written.data.get("spec").unwrap_or(&Value::Null), &body["spec"]);
        let patch = json!({"metadata": {"uid": written.metadata.uid}, "spec": spec});
        let parameters = PatchParams { field_manager: Some(GIT_MANAGER.into()), ..PatchParams::default() };
        let replaced = within(self.api(key).patch(name.name(), &parameters, &Patch::Merge(&patch))).await;
        replaced.map(|replaced| version(&replaced)).map_err(|error| self.refusal(key, "correct", &error))
    }

    /// Deletes an object that was applied, and no other one of that name.
    pub async fn delete(&self, key: &Key, uid: &str) -> Result<(), Refusal> {
        let preconditions = Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None });
        let parameters = DeleteParams { preconditions, ..DeleteParams::default() };
        match within(self.api(key).delete(key.1.name(), &parameters)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(self.refusal(key, "delete", &error)),
        }
    }

    fn api(&self, (kind, name): &Key) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), name.namespace(), &resource(*kind))
    }

    fn refusal(&self, (kind, name): &Key, what: &str, error: &kube::Error) -> Refusal {
        let object = format!("{}/{}", kind.as_str(), name.full());
        let (code, said) = match error {
            kube::Error::Api(status) => (status.code, status.message.clone()),
            other => (0, reason(other)),
        };
        let text = match code {
            403 => format!(
                "{object}: {} may not {what} it, or the operator may not act for that account (chart value `repositories`): {said}",
                self.account
            ),
            409 => format!("{object}: others manage fields of it, which are left to them: {said}"),
            _ => format!("{object}: {said}"),
        };
        Refusal { text: text.replace('\n', " "), again: code == 0 || code == 429 || code >= 500 }
    }
}

/// What makes `live` the same as `wanted` as a JSON merge patch (RFC 7396): what only `live` has is null in it.
pub(crate) fn without_others(live: &Value, wanted: &Value) -> Value {
    let (Some(live), Some(fields)) = (live.as_object(), wanted.as_object()) else { return wanted.clone() };
    let mut patch = serde_json::Map::new();
    for (field, value) in fields {
        patch.insert(field.clone(), without_others(live.get(field).unwrap_or(&Value::Null), value));
    }
    for field in live.keys().filter(|field| !fields.contains_key(*field)) {
        patch.insert(field.clone(), Value::Null);
    }
    Value::Object(patch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_added_is_taken_away_and_lists_are_whole() {
        let live = json!({"a": {"b": 1, "others": 2}, "list": [1, 2], "others": {"x": 1}});
        let wanted = json!({"a": {"b": 3}, "list": [1]});
        assert_eq!(without_others(&live, &wanted), json!({"a": {"b": 3, "others": null}, "list": [1], "others": null}));
    }
}
