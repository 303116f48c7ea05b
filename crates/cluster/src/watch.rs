//! What the API server has of our kinds, as changes in batches.
//!
//! Each kind is listed and then watched, from where the list ended: as one stream where the server offers that, and in pages where it does
//! not. What a watch has missed (410 Gone) is listed anew, and what such a list lacks is gone. An object that this version can't read stalls itself only.

mod streaming;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crds::{Kind, Object};
use futures::stream::{BoxStream, SelectAll, StreamExt as _};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::ResourceExt as _;
use kube::api::{Api, DynamicObject};
use kube::core::ObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use reconcile::{Key, Name};
use serde_json::Value;

use crate::marks::{API_MANAGER, ASKED_BY, CHANGED_BY, FIELD_MANAGER, FINALIZER, FINALIZER_MANAGER, FROM, GIT_MANAGER, OURS};
use crate::{Cluster, fields, resource};

/// Objects of one page of a list.
const PAGE: u32 = 500;
/// Changes that become one batch.
const BATCH: usize = 4096;
/// How long further changes are waited for once there is one, so that an apply of many objects becomes few batches.
const GATHER: Duration = Duration::from_millis(50);
/// What is known of an object beyond what it says: what our writes need.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    /// Its identity in this cluster.
    pub uid: String,
    /// Its generation.
    pub generation: i64,
    /// It is being deleted, and held by finalizers.
    pub deleting: bool,
    /// Our finalizer is on it.
    pub finalizer: bool,
    /// Its resource version.
    pub version: String,
    /// The resource version that the watches have shown, as a number: what it says is of then. That of a status that we wrote since is newer.
    pub shown: u128,
    /// Its status as the API server has it, as JSON text.
    pub status: Arc<str>,
    /// As it was taken in; `None`: it can't be read, or is being deleted.
    pub object: Option<Arc<Object>>,
    /// Why it can't be read, if so.
    pub broken: Option<String>,
    /// The Repository that it comes from, as `namespace/name`; it need not be one.
    pub from: Option<String>,
    /// Others who have applied fields of it, such as another GitOps tool.
    pub appliers: Vec<String>,
    /// Fields that others have of what comes from a Repository.
    pub others: fields::Others,
    /// Labels that others have put on what comes from a Repository.
    pub foreign: BTreeSet<String>,
}

/// Changes that belong together.
#[derive(Debug, Default)]
pub struct Batch {
    /// The objects that are otherwise than before; `None`: gone.
    pub changes: BTreeMap<Key, Option<Arc<Object>>>,
    /// Objects whose status or finalizers are otherwise than before: ours may have to be written again.
    pub touched: BTreeSet<Key>,
    /// The resource version of the newest change.
    pub version: u128,
    /// Who made it: the field manager, as the API server noted it.
    pub by: String,
    /// The objects that can't be read, and why.
    pub broken: BTreeMap<Key, String>,
}

/// The watches.
pub struct Watch {
    streams: SelectAll<BoxStream<'static, (usize, watcher::Result<Event<DynamicObject>>)>>,
    /// What each list that is under way has shown so far, by watch.
    lists: Vec<Option<BTreeSet<Key>>>,
    kinds: Vec<(Kind, Option<String>)>,
    /// Watches whose first list is not complete yet.
    unlisted: BTreeSet<usize>,
    version: u128,
    broken: BTreeMap<Key, String>,
    /// What was taken in and not given away yet.
    batch: Batch,
    /// Until when further changes are waited for; kept here, since whoever waits may be called away.
    end: Option<tokio::time::Instant>,
    /// What each watch that does not work met with last, and when.
    failing: BTreeMap<usize, (String, tokio::time::Instant)>,
    /// Objects that were being deleted when they were first seen: they are told of once, and are gone in the next batch.
    leaving: Vec<Key>,
}

impl Watch {
    /// What a watch that does not work met with. One that says nothing for so long works again: it tries more often than that.
    pub fn problem(&mut self, quiet: Duration) -> Option<String> {
        self.failing.retain(|_, (_, at)| at.elapsed() < quiet);
        self.failing.values().next().map(|(said, _)| said.clone())
    }
}

impl Cluster {
    /// Begins to watch these kinds.
    pub fn watch(&self, kinds: &[Kind]) -> Watch {
        let places: Vec<Option<String>> =
            if self.namespaces.is_empty() { vec![None] } else { self.namespaces.iter().cloned().map(Some).collect() };
        let kinds: Vec<(Kind, Option<String>)> = places.iter().flat_map(|place| kinds.iter().map(|kind| (*kind, place.clone()))).collect();
        let streams = kinds.iter().enumerate().map(|(number, (kind, place))| {
            let api: Api<DynamicObject> = match place {
                None => Api::all_with(self.client.clone(), &resource(*kind)),
                Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource(*kind)),
            };
            let streamed = streaming::watch(api.clone()).default_backoff();
            let paged = watcher::watcher(api, watcher::Config::default().page_size(PAGE)).default_backoff();
            let streamed = streamed.take_while(|event| futures::future::ready(!streaming::is_not_offered(event)));
            streamed.chain(paged).map(move |event| (number, event)).boxed()
        });
        let streams = streams.collect();
        let unlisted = (0..kinds.len()).collect();
        let lists = vec![None; kinds.len()];
        Watch {
            streams,
            lists,
            kinds,
            unlisted,
            version: 0,
            broken: BTreeMap::new(),
            batch: Batch::default(),
            end: None,
            failing: BTreeMap::new(),
            leaving: Vec::new(),
        }
    }

    /// The next changes; the first time, everything. An error is what a watch has met with; it goes on by itself, and nothing is lost.
    pub async fn next(&self, watch: &mut Watch) -> Result<Batch, String> {
        if watch.unlisted.is_empty() && !watch.leaving.is_empty() {
            let leaving = std::mem::take(&mut watch.leaving);
            watch.batch.changes.extend(leaving.into_iter().map(|key| (key, None)));
            watch.end = Some(tokio::time::Instant::now());
        }
        while watch.batch.changes.len() < BATCH || !watch.unlisted.is_empty() {
            let next = watch.streams.next();
            let (number, event) = match watch.end {
                None => next.await.ok_or("the watches have ended")?,
                Some(end) => match tokio::time::timeout_at(end, next).await {
                    Ok(Some(next)) => next,
                    Ok(None) | Err(_) => break,
                },
            };
            let taken = self.take(watch, number, event);
            if watch.end.is_none() && watch.unlisted.is_empty() {
                watch.end = Some(tokio::time::Instant::now() + GATHER);
            }
            taken?;
        }
        watch.end = None;
        let mut batch = std::mem::take(&mut watch.batch);
        batch.version = watch.version;
        batch.broken.clone_from(&watch.broken);
        Ok(batch)
    }

    fn take(&self, watch: &mut Watch, number: usize, event: watcher::Result<Event<DynamicObject>>) -> Result<(), String> {
        let (kind, place) = watch.kinds[number].clone();
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                let said = said(kind, &error);
                watch.failing.insert(number, (said.clone(), tokio::time::Instant::now()));
                return Err(said);
            }
        };
        watch.failing.remove(&number);
        match event {
            Event::Init => watch.lists[number] = Some(BTreeSet::new()),
            Event::InitApply(object) => {
                let key = self.put(watch, kind, object);
                if let Some(list) = &mut watch.lists[number] {
                    list.insert(key);
                }
            }
            Event::InitDone => {
                let listed = watch.lists[number].take().unwrap_or_default();
                let is_here = |key: &Key| key.0 == kind && place.as_deref().is_none_or(|place| key.1.namespace() == place);
                let gone: Vec<Key> = self.table().keys().filter(|key| is_here(key) && !listed.contains(*key)).cloned().collect();
                gone.into_iter().for_each(|key| self.remove(watch, key));
                watch.unlisted.remove(&number);
            }
            Event::Apply(object) => drop(self.put(watch, kind, object)),
            Event::Delete(object) => {
                watch.version = watch.version.max(version(&object));
                self.remove(watch, key(kind, &object));
            }
        }
        Ok(())
    }

    fn put(&self, watch: &mut Watch, kind: Kind, object: DynamicObject) -> Key {
        let batch = &mut watch.batch;
        let key = key(kind, &object);
        watch.version = watch.version.max(version(&object));
        let by = author(&object);
        let mut known = read(kind, object);
        let before = self.table().get(&key).cloned();
        let old = before.as_ref().and_then(|before| before.object.clone());
        if known.object == old {
            // One value for all that hold it.
            known.object.clone_from(&old);
        }
        match &known.broken {
            Some(why) => drop(watch.broken.insert(key.clone(), why.clone())),
            None => drop(watch.broken.remove(&key)),
        }
        if known.deleting {
            let first = known.object.take().filter(|_| before.is_none() && known.finalizer);
            if let Some(object) = first {
                // Somebody has to read how it wants to end.
                watch.leaving.push(key.clone());
                batch.changes.insert(key.clone(), Some(object));
                batch.touched.insert(key.clone());
                self.insert(key.clone(), known);
                return key;
            }
        }
        // What can't be read stays as it was when it was last good.
        if known.broken.is_some() {
            known.object.clone_from(&old);
        }
        if known.object != old || before.as_ref().and_then(|before| before.broken.as_ref()) != known.broken.as_ref() {
            batch.by = by;
            batch.changes.insert(key.clone(), known.object.clone());
        }
        let ours = |known: &Known| (known.status.clone(), known.finalizer, known.deleting, known.generation);
        if before.as_ref().map(ours) != Some(ours(&known)) {
            batch.touched.insert(key.clone());
        }
        self.insert(key.clone(), known);
        key
    }

    fn insert(&self, key: Key, known: Known) {
        let says = |known: &Known| (known.object.clone(), known.from.clone(), known.appliers.clone(), known.deleting);
        let now = says(&known);
        let before = self.table().insert(key, known);
        if before.as_ref().map(says) != Some(now) {
            self.changes.send_modify(|changes| *changes += 1);
        }
    }

    fn remove(&self, watch: &mut Watch, key: Key) {
        let batch = &mut watch.batch;
        watch.broken.remove(&key);
        if self.table().remove(&key).is_some() {
            self.changes.send_modify(|changes| *changes += 1);
            batch.changes.insert(key, None);
        }
    }
}

fn key(kind: Kind, object: &DynamicObject) -> Key {
    (kind, Name::new(object.metadata.namespace.as_deref().unwrap_or("default"), object.metadata.name.as_deref().unwrap_or_default()))
}

/// Resource versions of one API server can be compared (Kubernetes 1.35 and later say so).
pub(crate) fn version(object: &DynamicObject) -> u128 {
    object.metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or_default()
}

/// Who changed last what the object says; its status is ours and does not count. Where that came from Git, who committed it; where it came
/// through our API, who asked.
fn author(object: &DynamicObject) -> String {
    let last = written(object.managed_fields()).max_by_key(|entry| entry.time.as_ref().map(|time| time.0));
    let manager = last.and_then(|entry| entry.manager.clone()).unwrap_or_default();
    let said_by = [(GIT_MANAGER, CHANGED_BY), (API_MANAGER, ASKED_BY)].into_iter().find(|(ours, _)| *ours == manager);
    said_by.and_then(|(_, by)| object.annotations().get(by)).cloned().unwrap_or(manager)
}

/// Managers of what an object says.
fn written(entries: &[ManagedFieldsEntry]) -> impl Iterator<Item = &ManagedFieldsEntry> {
    let ours = [FIELD_MANAGER, FINALIZER_MANAGER];
    entries.iter().filter(move |entry| entry.subresource.is_none() && entry.manager.as_deref().is_none_or(|name| !ours.contains(&name)))
}

/// Takes apart what the API server sent: what it says, and what our writes need.
pub(crate) fn read(kind: Kind, mut object: DynamicObject) -> Known {
    let shown = version(&object);
    let metadata = std::mem::take(&mut object.metadata);
    let status = object.data.as_object_mut().and_then(|fields| fields.remove("status")).unwrap_or(Value::Null);
    let deleting = metadata.deletion_timestamp.is_some();
    let mut known = Known {
        uid: metadata.uid.clone().unwrap_or_default(),
        generation: metadata.generation.unwrap_or_default(),
        deleting,
        finalizer: metadata.finalizers.iter().flatten().any(|name| name == FINALIZER),
        version: metadata.resource_version.clone().unwrap_or_default(),
        shown,
        status: if status.is_null() { "".into() } else { status.to_string().into() },
        object: None,
        broken: None,
        from: None,
        appliers: Vec::new(),
        others: fields::Others::new(),
        foreign: BTreeSet::new(),
    };
    // An annotation alone may have been copied along with the rest of an object.
    let is_from_git =
        written(metadata.managed_fields.as_deref().unwrap_or_default()).any(|entry| entry.manager.as_deref() == Some(GIT_MANAGER));
    let is_apply =
        |entry: &&ManagedFieldsEntry| entry.operation.as_deref() == Some("Apply") && entry.manager.as_deref() != Some(GIT_MANAGER);
    let appliers = written(metadata.managed_fields.as_deref().unwrap_or_default()).filter(is_apply);
    known.appliers = appliers.filter_map(|entry| entry.manager.clone()).collect();
    let applied =
        written(metadata.managed_fields.as_deref().unwrap_or_default()).filter(|entry| entry.manager.as_deref() == Some(GIT_MANAGER));
    let labels: Vec<&Value> = applied.filter_map(|entry| entry.fields_v1.as_ref()?.0.pointer("/f:metadata/f:labels")).collect();
    let is_ours = |label: &str| labels.iter().any(|labels| labels.get(format!("f:{label}")).is_some());
    if is_from_git {
        let theirs = |entry: &&ManagedFieldsEntry| entry.manager.as_deref() != Some(GIT_MANAGER);
        known.others = fields::of(written(metadata.managed_fields.as_deref().unwrap_or_default()).filter(theirs));
        known.foreign = metadata.labels.iter().flatten().map(|(label, _)| label.clone()).filter(|label| !is_ours(label)).collect();
    }
    let mut annotations = metadata.annotations.unwrap_or_default();
    known.from = annotations.remove(FROM).filter(|_| is_from_git);
    OURS.iter().for_each(|ours| drop(annotations.remove(*ours)));
    object.metadata = ObjectMeta {
        name: metadata.name,
        namespace: metadata.namespace,
        labels: metadata.labels,
        annotations: Some(annotations).filter(|annotations| !annotations.is_empty()),
        uid: metadata.uid,
        generation: metadata.generation,
        ..ObjectMeta::default()
    };
    let value = serde_json::to_value(&object).unwrap_or_default();
    match Object::from_value(kind, value) {
        Ok(object) => known.object = Some(Arc::new(object)),
        Err(_) if deleting && !known.finalizer => {}
        Err(error) => known.broken = Some(format!("this version can't read it: {error}")),
    }
    known
}

fn said(kind: Kind, error: &watcher::Error) -> String {
    let inner = match error {
        watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => {
            crate::reason(error)
        }
        watcher::Error::WatchError(status) => format!("{} ({})", status.message, status.code),
        watcher::Error::NoResourceVersion => "the server sent no resource version".into(),
    };
    format!("watching {}: {inner}", kind.plural())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::marks::LAST_APPLIED;

    fn sent(spec: &Value, more: &Value) -> DynamicObject {
        let mut object = json!({
            "apiVersion": "evenkeel.dev/v1alpha1",
            "kind": "Device",
            "metadata": {
                "name": "web", "namespace": "ours", "uid": "u-1", "generation": 2, "resourceVersion": "17", "creationTimestamp": "2026-11-25T10:00:00Z",
                "annotations": {LAST_APPLIED: "{}", "note": "kept"},
                "managedFields": [
                    {"manager": "kubectl", "operation": "Apply", "time": "2026-11-25T10:00:00Z"},
                    {"manager": "flux", "operation": "Apply", "time": "2026-11-25T11:00:00Z"},
                    {"manager": "somebody", "operation": "Apply", "subresource": "status", "time": "2026-11-25T12:00:00Z"}
                ]
            },
            "spec": spec,
            "status": {"health": "Healthy"}
        });
        for (field, value) in more.as_object().unwrap() {
            object["metadata"][field] = value.clone();
        }
        serde_json::from_value(object).unwrap()
    }

    /// Whoever takes a label out of Git takes away what rights go by; what others have put there is not Git's.
    #[test]
    fn labels_that_others_put_there_are_not_ours() {
        let fields = |manager: &str, label: &str| json!({"manager": manager, "operation": "Apply", "fieldsV1": {"f:metadata": {"f:labels": {(label): {}}}}});
        let more = json!({
            "labels": {"site": "fra", "by-hand": "x"}, "annotations": {FROM: "fleet/fleet"},
            "managedFields": [fields(GIT_MANAGER, "f:site"), fields("somebody", "f:by-hand")],
        });
        let known = read(Kind::Device, sent(&json!({"type": "Server", "address": "10.0.0.1"}), &more));
        assert_eq!(known.foreign, BTreeSet::from(["by-hand".to_owned()]));
        let wanted = |labels: Value| {
            let mut wanted = (**known.object.as_ref().unwrap()).clone();
            wanted.metadata_mut().labels = serde_json::from_value(labels).unwrap();
            (known.is_as(&wanted), known.is_just(&wanted))
        };
        assert_eq!(
            (wanted(json!({"site": "fra"})), wanted(json!({})), wanted(json!({"site": "ams"}))),
            ((true, true), (true, false), (false, false))
        );
    }

    /// Anybody may write the annotation: it counts where one of ours wrote last.
    #[test]
    fn who_asked_through_us_is_who_changed_it() {
        for (manager, expected) in [(GIT_MANAGER, "ann"), (API_MANAGER, "bob"), ("kubectl", "kubectl")] {
            let fields = json!([{"manager": manager, "operation": "Apply", "time": "2026-11-25T10:00:00Z"}]);
            let more = json!({"annotations": {CHANGED_BY: "ann", ASKED_BY: "bob"}, "managedFields": fields});
            assert_eq!(author(&sent(&json!({"type": "Server", "address": "10.0.0.1"}), &more)), expected);
        }
    }

    #[test]
    fn what_an_object_says_is_kept_without_what_changes_by_itself() {
        let object = sent(&json!({"type": "Server", "address": "10.0.0.1"}), &json!({}));
        assert_eq!((author(&object).as_str(), version(&object)), ("flux", 17));
        let known = read(Kind::Device, object);
        assert_eq!((known.uid.as_str(), known.generation, known.deleting, &*known.status), ("u-1", 2, false, r#"{"health":"Healthy"}"#));
        assert_eq!((known.version.as_str(), known.shown), ("17", 17));
        let object = known.object.unwrap().to_value();
        let metadata = json!({"name": "web", "namespace": "ours", "uid": "u-1", "generation": 2, "annotations": {"note": "kept"}});
        assert_eq!(object["metadata"], metadata);
        assert!(object.get("status").is_none_or(Value::is_null), "{object}");
    }

    #[test]
    fn what_can_not_be_read_says_why_and_what_is_being_deleted_is_not_wanted() {
        let known = read(Kind::Device, sent(&json!({"type": "Server", "address": "10.0.0.1", "colour": "red"}), &json!({})));
        assert!(known.broken.unwrap().contains("colour"));
        let deleting = json!({"deletionTimestamp": "2026-11-25T10:00:00Z", "finalizers": ["evenkeel.dev/remove"]});
        let known = read(Kind::Device, sent(&json!({"type": "Server", "address": "10.0.0.1"}), &deleting));
        assert!(known.broken.is_none() && known.deleting && known.finalizer);
    }
}
