//! ConfigMaps and Secrets that a Repository applies, in the name of its service account. The operator itself may not even read them.
//!
//! Only metadata comes back, and what the API server says to a refusal is not passed on: it might repeat a value.

use std::collections::BTreeMap;
use std::fmt;

use crds::CoreKind;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use reconcile::Name;
use serde_json::{Value, json};

use crate::apply::{Applier, Refusal};
use crate::marks::{CHANGED_BY, FROM, GIT_MANAGER, OURS};
use crate::{reason, within};

/// Fields with something wrong that are named.
const NAMED: usize = 5;

/// What is to be applied. Its values are in it, so it is not shown.
pub struct CoreBody<'a> {
    /// Its kind.
    pub kind: CoreKind,
    /// Its name.
    pub name: &'a str,
    /// Its labels.
    pub labels: &'a BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: &'a BTreeMap<String, String>,
    /// The fields beside its metadata.
    pub fields: &'a Value,
}

impl fmt::Debug for CoreBody<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.as_str(), self.name)
    }
}

/// An object as it is there.
struct Live {
    uid: Option<String>,
    deleting: bool,
    /// The Repository that it comes from.
    from: Option<String>,
    /// Others who have applied fields of it.
    appliers: Vec<String>,
}

impl Applier {
    /// Applies an object, if there is none of that name or that one comes from here. `keep`: one that is there is left as it is.
    /// `is_there` tells whether there is such a Repository.
    pub async fn apply_core(&self, body: &CoreBody<'_>, by: &str, keep: bool, is_there: impl Fn(&str) -> bool) -> Result<(), Refusal> {
        let (kind, name) = (body.kind, body.name);
        let no = |text: &str, again: bool| Err(Refusal { text: format!("{}: {text}", self.shown(kind, name)), again });
        let live = self.live(kind, name).await?;
        let mut forced = false;
        if let Some(live) = &live {
            match live.from.as_deref() {
                _ if live.deleting => return no("it is being deleted", true),
                Some(from) if from == self.from => forced = live.appliers.is_empty(),
                Some(other) if is_there(other) => return no(&format!("repository {other} applies it: take it out of one of them"), false),
                Some(_) => {}
                None => return no("one of that name is there that does not come from Git: it is left as it is", false),
            }
            if keep && live.from.as_deref() == Some(&self.from) {
                return Ok(());
            }
        }
        let mut annotations = json!(body.annotations);
        OURS.iter().for_each(|ours| drop(annotations.as_object_mut().and_then(|all| all.remove(*ours))));
        annotations[FROM] = json!(self.from);
        annotations[CHANGED_BY] = json!(by);
        let mut whole = body.fields.clone();
        whole["apiVersion"] = json!("v1");
        whole["kind"] = json!(kind.as_str());
        whole["metadata"] = json!({"name": name, "labels": body.labels, "annotations": annotations});
        if let Some(uid) = live.and_then(|live| live.uid) {
            // One that has taken its place since is another one.
            whole["metadata"]["uid"] = json!(uid);
        }
        let parameters = if forced { PatchParams::apply(GIT_MANAGER).force() } else { PatchParams::apply(GIT_MANAGER) };
        let written = within(self.core(kind).patch_metadata(name, &parameters, &Patch::Apply(&whole))).await;
        written.map(drop).map_err(|error| self.core_refusal(kind, name, "apply", &error))
    }

    /// Deletes an object if it comes from here and nobody else applies it too; else says why it stays.
    pub async fn delete_core(&self, kind: CoreKind, name: &str) -> Result<Option<String>, Refusal> {
        let Some(live) = self.live(kind, name).await?.filter(|live| !live.deleting) else { return Ok(None) };
        if live.from.as_deref() != Some(&self.from) {
            return Ok(None);
        }
        if !live.appliers.is_empty() {
            let others = live.appliers.join(", ");
            return Ok(Some(format!("{} left Git and stays, since {others} applies it too", self.shown(kind, name))));
        }
        let preconditions = Some(Preconditions { uid: live.uid, resource_version: None });
        let parameters = DeleteParams { preconditions, ..DeleteParams::default() };
        match within(self.core(kind).delete(name, &parameters)).await {
            Ok(_) => Ok(None),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(self.core_refusal(kind, name, "delete", &error)),
        }
    }

    async fn live(&self, kind: CoreKind, name: &str) -> Result<Option<Live>, Refusal> {
        match within(self.core(kind).get_metadata_opt(name)).await {
            Ok(found) => Ok(found.map(|found| Live::of(found.metadata))),
            Err(error) => Err(self.core_refusal(kind, name, "get", &error)),
        }
    }

    fn core(&self, kind: CoreKind) -> Api<DynamicObject> {
        let resource = ApiResource {
            group: String::new(),
            version: "v1".into(),
            api_version: "v1".into(),
            kind: kind.as_str().into(),
            plural: kind.plural().into(),
        };
        Api::namespaced_with(self.client.clone(), Name::parse(&self.from).namespace(), &resource)
    }

    fn shown(&self, kind: CoreKind, name: &str) -> String {
        format!("{}/{}/{name}", kind.as_str(), Name::parse(&self.from).namespace())
    }

    fn core_refusal(&self, kind: CoreKind, name: &str, what: &str, error: &kube::Error) -> Refusal {
        let (code, said) = match error {
            kube::Error::Api(status) => {
                let causes = status.details.iter().flat_map(|details| &details.causes);
                let fields: Vec<&str> = causes.map(|cause| cause.field.as_str()).filter(|field| !field.is_empty()).take(NAMED).collect();
                let at = if fields.is_empty() { String::new() } else { format!(" at {}", fields.join(", ")) };
                (status.code, format!("the API server says {} {}{at}", status.code, status.reason))
            }
            other => (0, reason(other)),
        };
        let text = match code {
            403 => format!("{} may not {what} it (chart value `repositories[].core`), or an admission policy is against it", self.account),
            409 => format!("others manage fields of it, which are left to them: {said}"),
            _ => said,
        };
        Refusal { text: format!("{}: {text}", self.shown(kind, name)).replace('\n', " "), again: code == 0 || code == 429 || code >= 500 }
    }
}

impl Live {
    fn of(metadata: ObjectMeta) -> Self {
        let managers = metadata.managed_fields.unwrap_or_default();
        // An annotation alone may have been copied along with the rest of an object.
        let is_from_git = managers.iter().any(|entry| entry.manager.as_deref() == Some(GIT_MANAGER));
        let others = managers
            .iter()
            .filter(|entry| entry.operation.as_deref() == Some("Apply") && entry.manager.as_deref() != Some(GIT_MANAGER))
            .filter_map(|entry| entry.manager.clone());
        Self {
            uid: metadata.uid,
            deleting: metadata.deletion_timestamp.is_some(),
            from: metadata.annotations.and_then(|mut annotations| annotations.remove(FROM)).filter(|_| is_from_git),
            appliers: others.collect(),
        }
    }
}
