//! Changes that people make through the engine's own interface: in their name and with their groups, so that what the API server lets them
//! do is the limit, and its audit log says who did it.
//!
//! ```text
//! get ─► apply for trial, at that version ─► does it leave something, since others say it too? ─► apply, at that version
//! ```
//!
//! It is server-side apply (<https://kubernetes.io/docs/reference/using-api/server-side-apply/>) by a manager of its own, of what changes and
//! of nothing else: the rest stays with whoever manages it. An apply takes away only what nobody else says. Where it would leave something that
//! is to go, and that may be taken over, a merge patch does all of it at once. A new object is made by a POST: that alone makes one and never changes one
//! that is there.

use std::collections::BTreeSet;

use crds::Object;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions};
use kube::{Client, Config};
use reconcile::Key;
use serde_json::{Map, Value, json};

use crate::apply::without_others;
use crate::marks::{API_MANAGER, ASKED_BY};
use crate::watch::{self, Known};
use crate::{Cluster, Error, reason, resource, within};

/// The parts of an object that people write, and what is in front of a field of them in words.
const PARTS: [(&str, &str); 3] =
    [("/metadata/labels", "metadata.labels"), ("/metadata/annotations", "metadata.annotations"), ("/spec", "spec")];
/// The longest text of the API server that is passed on.
const LONGEST: usize = 2000;
/// How many things that are wrong are passed on.
const MOST: usize = 50;

/// Somebody in whose name is written.
pub struct Hand {
    client: Client,
    /// Whose it is: the API server notes only through what was written.
    user: String,
}

/// An object as the API server has it just now.
#[derive(Clone, Debug)]
pub struct Live {
    /// What it says, and where it comes from.
    pub known: Known,
    managed: Vec<ManagedFieldsEntry>,
}

/// How a change is meant.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// The server says what would come of it, and does nothing.
    pub is_trial: bool,
    /// What others manage is taken over.
    pub is_forced: bool,
}

/// A field that somebody else manages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The manager, such as `kubectl`.
    pub by: String,
    /// Such as `spec.address`.
    pub field: String,
}

/// What is not right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The field, such as `spec.probes[0]`; empty for the whole object.
    pub field: String,
    /// What the API server says.
    pub said: String,
}

/// Why the API server did not do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// They may not.
    Forbidden(String),
    /// We may not act for them.
    NotLent(String),
    /// Others manage what would change.
    Managed(Vec<Held>),
    /// It is otherwise by now, or another object.
    Moved(String),
    /// There is one of that name.
    Exists(String),
    /// It is not right.
    Invalid(Vec<Wrong>),
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
        Client::try_from(config).map(|client| Hand { client, user: user.to_owned() }).map_err(|error| Error::Config(reason(&error)))
    }
}

impl Live {
    fn of(key: &Key, object: DynamicObject) -> Self {
        let managed = object.metadata.managed_fields.clone().unwrap_or_default();
        Self { known: watch::read(key.0, object), managed }
    }

    /// Who manages a field of a part, beside us.
    fn others(&self, part: &str, field: &str) -> Vec<String> {
        let has = |entry: &&ManagedFieldsEntry| {
            entry.subresource.is_none() && entry.manager.as_deref() != Some(API_MANAGER) && manages(entry, part, field)
        };
        self.managed.iter().filter(has).filter_map(|entry| entry.manager.clone()).collect()
    }

    /// Whether we have applied a field of a part before.
    fn is_applied(&self, part: &str, field: &str) -> bool {
        let is_ours = |entry: &&ManagedFieldsEntry| {
            entry.subresource.is_none() && entry.operation.as_deref() == Some("Apply") && entry.manager.as_deref() == Some(API_MANAGER)
        };
        self.managed.iter().filter(is_ours).any(|entry| manages(entry, part, field))
    }
}

/// `FieldsV1`: each field is a key with `f:` in front.
fn manages(entry: &ManagedFieldsEntry, part: &str, field: &str) -> bool {
    let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
    let part = fields.and_then(|fields| fields.pointer(&part.replace('/', "/f:")));
    part.is_some_and(|part| part.get(format!("f:{field}")).is_some())
}

impl Hand {
    /// An object as it is just now.
    pub async fn get(&self, key: &Key) -> Result<Option<Live>, Refused> {
        let there = within(self.api(key).get_opt(key.1.name())).await.map_err(|error| refused(&error))?;
        Ok(there.map(|object| Live::of(key, object)))
    }

    /// Makes an object; one that is there stays as it is.
    pub async fn create(&self, key: &Key, object: &Value, is_trial: bool) -> Result<Live, Refused> {
        let wrong = |field: &str, said: String| Refused::Invalid(vec![Wrong { field: field.into(), said }]);
        let mut body: DynamicObject = serde_json::from_value(object.clone()).map_err(|error| wrong("", error.to_string()))?;
        body.metadata.annotations.get_or_insert_default().insert(ASKED_BY.into(), self.user.clone());
        let parameters = PostParams { dry_run: is_trial, field_manager: Some(API_MANAGER.into()) };
        match within(self.api(key).create(&parameters, &body)).await {
            Ok(made) => Ok(Live::of(key, made)),
            Err(kube::Error::Api(status)) if status.code == 404 => Err(wrong("metadata.namespace", said(&status.message))),
            Err(error) => Err(refused(&error)),
        }
    }

    /// Makes an object what is wanted, if it still is as it was seen (`live`). Returns what came of it.
    pub async fn change(&self, key: &Key, live: &Live, wanted: &Object, manner: Manner) -> Result<Live, Refused> {
        let mut is_forced = manner.is_forced;
        let value = wanted.to_value();
        let mut body = body(key, live, &value);
        body["metadata"]["annotations"][ASKED_BY] = json!(self.user);
        let tried = match self.apply(key, &body, true, is_forced).await {
            // What we have made by a POST is ours, though the server tells that from what we apply.
            Err(Refused::Managed(held)) if held.iter().all(|held| held.by == API_MANAGER) => {
                is_forced = true;
                self.apply(key, &body, true, true).await?
            }
            tried => tried?,
        };
        let left = Rest::of(&tried, &value);
        if left.fields.is_empty() {
            return if manner.is_trial { Ok(tried) } else { self.apply(key, &body, false, is_forced).await };
        }
        let held = left.fields.iter().flat_map(|(part, words, field)| {
            let others = tried.others(part, field).into_iter();
            others.map(move |by| Held { by, field: format!("{words}.{field}") })
        });
        let held: Vec<Held> = held.collect();
        if !manner.is_forced && !held.is_empty() {
            return Err(Refused::Managed(held));
        }
        let mut patch = Rest::of(live, &value).patch;
        patch["metadata"]["annotations"][ASKED_BY] = json!(self.user);
        patch["metadata"]["uid"] = json!(live.known.uid);
        patch["metadata"]["resourceVersion"] = json!(live.known.version);
        let parameters = PatchParams { dry_run: manner.is_trial, field_manager: Some(API_MANAGER.into()), ..PatchParams::default() };
        let written = within(self.api(key).patch(key.1.name(), &parameters, &Patch::Merge(&patch))).await;
        written.map(|object| Live::of(key, object)).map_err(|error| refused(&error))
    }

    /// Deletes an object, if it still is as it was seen.
    pub async fn delete(&self, key: &Key, live: &Live, is_trial: bool) -> Result<(), Refused> {
        let Known { uid, version, .. } = &live.known;
        let preconditions = Some(Preconditions { uid: Some(uid.clone()), resource_version: Some(version.clone()) });
        let parameters = DeleteParams { preconditions, dry_run: is_trial, ..DeleteParams::default() };
        within(self.api(key).delete(key.1.name(), &parameters)).await.map(drop).map_err(|error| refused(&error))
    }

    async fn apply(&self, key: &Key, body: &Value, is_trial: bool, is_forced: bool) -> Result<Live, Refused> {
        let parameters = PatchParams { dry_run: is_trial, force: is_forced, ..PatchParams::apply(API_MANAGER) };
        let applied = within(self.api(key).patch(key.1.name(), &parameters, &Patch::Apply(body))).await;
        applied.map(|object| Live::of(key, object)).map_err(|error| refused(&error))
    }

    fn api(&self, (kind, name): &Key) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), name.namespace(), &resource(*kind))
    }
}

/// What is applied: what changes, and what we have applied before, which would go if it were not said again.
fn body((kind, name): &Key, live: &Live, wanted: &Value) -> Value {
    let now = said_by(live);
    let Known { uid, version, .. } = &live.known;
    let mut body = json!({
        "apiVersion": format!("{}/{}", crds::GROUP, crds::VERSION),
        "kind": kind.as_str(),
        "metadata": {"name": name.name(), "namespace": name.namespace(), "uid": uid, "resourceVersion": version},
    });
    for (part, _) in PARTS {
        let before = part_of(&now, part);
        let mut ours = part_of(wanted, part);
        ours.retain(|field, value| before.get(field) != Some(value) || live.is_applied(part, field));
        // An empty map would be a field of its own.
        if !ours.is_empty() {
            put(&mut body, part, ours);
        }
    }
    body
}

/// What of an object is otherwise than it is wanted.
struct Rest {
    /// Each with its part, and that in words.
    fields: Vec<(&'static str, &'static str, String)>,
    /// What makes it as it is wanted (RFC 7396).
    patch: Value,
}

impl Rest {
    fn of(there: &Live, wanted: &Value) -> Self {
        let there = said_by(there);
        let mut rest = Self { fields: Vec::new(), patch: json!({"metadata": {}}) };
        for (part, words) in PARTS {
            let (there, wanted) = (part_of(&there, part), part_of(wanted, part));
            let differing: BTreeSet<&String> =
                there.keys().chain(wanted.keys()).filter(|field| there.get(*field) != wanted.get(*field)).collect();
            let as_wanted = |field: &String| match wanted.get(field) {
                Some(wanted) => without_others(there.get(field).unwrap_or(&Value::Null), wanted),
                None => Value::Null,
            };
            let patch: Map<String, Value> = differing.iter().map(|field| ((*field).clone(), as_wanted(field))).collect();
            if !patch.is_empty() {
                put(&mut rest.patch, part, patch);
            }
            rest.fields.extend(differing.into_iter().map(|field| (part, words, field.clone())));
        }
        rest
    }
}

fn said_by(live: &Live) -> Value {
    live.known.object.as_ref().map(|object| object.to_value()).unwrap_or_default()
}

/// The fields of a part.
fn part_of(object: &Value, part: &str) -> Map<String, Value> {
    let fields = object.pointer(part).and_then(Value::as_object).into_iter().flatten();
    fields.filter(|(_, value)| !value.is_null()).map(|(field, value)| (field.clone(), value.clone())).collect()
}

fn put(object: &mut Value, part: &str, fields: Map<String, Value>) {
    let place = part.split('/').skip(1).fold(object, |place, step| &mut place[step]);
    *place = Value::Object(fields);
}

fn refused(error: &kube::Error) -> Refused {
    let kube::Error::Api(status) = error else { return Refused::Away(reason(error)) };
    let text = said(&status.message);
    let causes = || status.details.iter().flat_map(|details| &details.causes);
    match status.code {
        403 if text.contains("cannot impersonate resource") => Refused::NotLent(text),
        403 => Refused::Forbidden(text),
        404 => Refused::Missing,
        409 if status.reason == "AlreadyExists" => Refused::Exists(text),
        409 => {
            let held = causes().filter(|cause| cause.reason == "FieldManagerConflict").map(|cause| Held {
                by: cause.message.split('"').nth(1).unwrap_or("somebody").to_owned(),
                field: cause.field.trim_start_matches('.').to_owned(),
            });
            let mut held: Vec<Held> = held.collect();
            // Others are what somebody wants to know of, where there are some.
            if held.iter().any(|held| held.by != API_MANAGER) {
                held.retain(|held| held.by != API_MANAGER);
            }
            if held.is_empty() { Refused::Moved(text) } else { Refused::Managed(held) }
        }
        400 | 413 | 422 => {
            let wrong = causes().map(|cause| Wrong { field: cause.field.replace("<nil>", ""), said: said(&cause.message) });
            let wrong: Vec<Wrong> = wrong.take(MOST).collect();
            let whole = || vec![Wrong { field: String::new(), said: text.clone() }];
            Refused::Invalid(if wrong.is_empty() { whole() } else { wrong })
        }
        _ => Refused::Away(text),
    }
}

/// In one line, and no longer than somebody reads. What was sent is not said again.
fn said(text: &str) -> String {
    let text = text.trim_start_matches("Invalid value: \"object\": ");
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect()
}

#[cfg(test)]
mod tests;
