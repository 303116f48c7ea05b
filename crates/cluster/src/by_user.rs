//! Changes that people make through the engine's own interface: in their name and with their groups, so that what the API server lets them
//! do is the limit, and its audit log says who did it.
//!
//! It is server-side apply (<https://kubernetes.io/docs/reference/using-api/server-side-apply/>) by a manager of its own, never forced: what
//! others manage is left to them.

use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::{Client, Config};
use reconcile::Key;
use serde_json::Value;

use crate::{Cluster, Error, reason, resource, within};

/// The manager of what is applied so.
const MANAGER: &str = "evenkeel-api";

/// Somebody in whose name is written.
pub struct Hand(Client);

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// The object as the API server has it, or would have it; none: it is gone.
    pub object: Option<Value>,
}

/// Why the API server did not do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// They may not, or we may not act for them.
    Forbidden(String),
    /// Others manage what would change, or it is another object by now; it says who.
    Conflict(String),
    /// It is not right.
    Invalid(String),
    /// It is not there.
    Missing,
    /// It could not be asked.
    Away(String),
}

impl Cluster {
    /// Somebody, by the name and the groups that the cluster knows them by.
    pub fn hand_of(&self, user: &str, groups: &[String]) -> Result<Hand, Error> {
        let mut config: Config = self.config.clone();
        config.auth_info.impersonate = Some(user.to_owned());
        config.auth_info.impersonate_groups = Some(groups.to_vec()).filter(|groups| !groups.is_empty());
        Client::try_from(config).map(Hand).map_err(|error| Error::Config(reason(&error)))
    }
}

impl Hand {
    /// Applies an object, whole. `is_trial`: the server says what would come of it, and does nothing.
    pub async fn apply(&self, key: &Key, object: &Value, is_trial: bool) -> Result<Applied, Refused> {
        let parameters = PatchParams { dry_run: is_trial, ..PatchParams::apply(MANAGER) };
        let written =
            within(self.api(key).patch(key.1.name(), &parameters, &Patch::Apply(object))).await.map_err(|error| refused(&error))?;
        let there = serde_json::to_value(&written).unwrap_or_default();
        // What is not said any more goes only where nobody else says it.
        if let Some(left) = left(&there["spec"], &object["spec"], "spec") {
            let others: Vec<String> = written
                .metadata
                .managed_fields
                .iter()
                .flatten()
                .filter_map(|of| of.manager.clone())
                .filter(|manager| manager != MANAGER && manager != crate::FIELD_MANAGER)
                .collect();
            let others = if others.is_empty() { "the API server".to_owned() } else { others.join(", ") };
            return Err(Refused::Conflict(format!("{left} stays, since it is managed by {others}; the rest is applied")));
        }
        Ok(Applied { object: Some(there) })
    }

    /// Deletes an object, and no other one of that name.
    pub async fn delete(&self, key: &Key, uid: &str, is_trial: bool) -> Result<Applied, Refused> {
        let preconditions = Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None });
        let parameters = DeleteParams { preconditions, dry_run: is_trial, ..DeleteParams::default() };
        within(self.api(key).delete(key.1.name(), &parameters)).await.map(|_| Applied::default()).map_err(|error| refused(&error))
    }

    fn api(&self, (kind, name): &Key) -> Api<DynamicObject> {
        Api::namespaced_with(self.0.clone(), name.namespace(), &resource(*kind))
    }
}

fn refused(error: &kube::Error) -> Refused {
    match error {
        kube::Error::Api(status) => {
            let said = status.message.replace('\n', " ");
            match status.code {
                401 | 403 => Refused::Forbidden(said),
                404 => Refused::Missing,
                409 => Refused::Conflict(said),
                400 | 422 => Refused::Invalid(said),
                _ => Refused::Away(said),
            }
        }
        other => Refused::Away(reason(other)),
    }
}

/// The first field that is there and not wanted.
fn left(there: &Value, wanted: &Value, path: &str) -> Option<String> {
    let (Some(there), Some(wanted)) = (there.as_object(), wanted.as_object()) else { return None };
    there.iter().find_map(|(field, value)| {
        let path = format!("{path}.{field}");
        match wanted.get(field) {
            None => Some(path),
            Some(wanted) => left(value, wanted, &path),
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_stays_although_it_is_not_wanted_is_named() {
        let there = json!({"a": {"b": 1, "c": 2}, "list": [{"x": 1}]});
        assert_eq!(left(&there, &json!({"a": {"b": 1}, "list": []}), "spec"), Some("spec.a.c".into()));
        assert_eq!(left(&there, &json!({"a": {"b": 5, "c": 1, "d": 3}, "list": []}), "spec"), None);
    }
}
