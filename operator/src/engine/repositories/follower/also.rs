//! The ConfigMaps and Secrets of a Repository: decrypted at the last moment and applied in the name of its service account.
//!
//! They are not watched, since nobody here may: they are applied when a commit or a person asks for it, and again now and then. What was
//! applied is in the status, so that it is known what has left Git.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cluster::apply::{Applier, Refusal};
use cluster::core_object::CoreBody;
use crds::{AppliedStatus, CoreKind, Kind, MAX_CORE_OBJECTS, RepositorySpec, RepositoryStatus};
use futures::{FutureExt as _, StreamExt as _};
use manifests::core_object::{CoreFile, CoreObject};
use manifests::sops::Identities;
use reconcile::Revision;
use tokio::time::Instant;

use super::{Follower, Verdict, WRITERS, Wanted, few};

/// They are applied again so often, in case others have changed them.
const AGAIN: Duration = Duration::from_secs(600);
/// Where something went wrong, it is tried again so soon.
const RETRY: Duration = Duration::from_secs(30);

/// What is known of them.
#[derive(Default)]
pub(super) struct Also {
    applied: BTreeSet<AppliedStatus>,
    /// The commit of which all was applied last.
    done: Option<String>,
    last: Option<Last>,
}

/// How the last try went.
struct Last {
    commit: String,
    requested: Option<String>,
    at: Instant,
    told: Told,
}

/// What is said of it.
#[derive(Clone, Default)]
struct Told {
    faults: Vec<String>,
    notes: Vec<String>,
}

impl Also {
    pub(super) fn applied(&self) -> Vec<AppliedStatus> {
        self.applied.iter().cloned().collect()
    }

    /// What they are decrypted with may be otherwise: they are applied at the next look.
    pub(super) fn again(&mut self) {
        self.last = None;
    }

    /// Whether nothing has to be done now.
    fn is_at_rest(&self, commit: &str, requested: Option<&String>) -> bool {
        self.last.as_ref().is_some_and(|last| {
            let pause = if last.told.faults.is_empty() { AGAIN } else { RETRY };
            last.commit == commit && last.requested.as_ref() == requested && last.at.elapsed() < pause
        })
    }
}

impl Follower {
    /// What an earlier process applied.
    pub(super) fn known_also(&self) -> Also {
        let known = self.shared.cluster.known(&(Kind::Repository, self.name.clone()));
        let status = known.and_then(|known| serde_json::from_str::<RepositoryStatus>(&known.status).ok()).unwrap_or_default();
        let is_ready = status.plain.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
        Also { applied: status.applied.into_iter().collect(), done: status.revision.filter(|_| is_ready), last: None }
    }

    /// Brings ConfigMaps and Secrets to what the commit in force says, if it is time for it, and adds to the verdict how that went.
    pub(super) async fn bring_also(&mut self, of: &Wanted, applier: &Applier, verdict: Verdict) -> Verdict {
        let kinds = &of.spec.also;
        // What was applied of a kind that is none of ours any more stays.
        self.also.applied.retain(|object| kinds.contains(&object.kind));
        // What waits waits with all that belongs to it.
        let Some(desired) = self.applied.clone().filter(|_| !kinds.is_empty() && self.next.is_none()) else { return verdict };
        let Revision { commit, .. } = &desired.revision;
        if !self.also.is_at_rest(commit, of.requested.as_ref()) {
            let told = self.apply_also(&of.spec, applier, &desired.revision).await;
            if told.faults.is_empty() {
                self.also.done = Some(commit.clone());
            }
            self.also.last = Some(Last { commit: commit.clone(), requested: of.requested.clone(), at: Instant::now(), told });
        }
        let told = self.also.last.as_ref().map(|last| last.told.clone()).unwrap_or_default();
        self.verdict_with(verdict, commit, &told)
    }

    fn verdict_with(&self, verdict: Verdict, commit: &str, told: &Told) -> Verdict {
        let Verdict { is_ready, reason, message } = verdict;
        if told.faults.is_empty() {
            let count = |kind| self.also.applied.iter().filter(|object| object.kind == kind).count();
            let (maps, secrets) = (count(CoreKind::ConfigMap), count(CoreKind::Secret));
            let notes = if told.notes.is_empty() { String::new() } else { format!("; {}", few(&told.notes)) };
            return Verdict { is_ready, reason, message: format!("{message}; of ConfigMaps {maps}, of Secrets {secrets}{notes}") };
        }
        let faults = few(&told.faults);
        if is_ready {
            return Verdict::not("Refused", format!("commit {}: {faults}", &commit[..commit.len().min(12)]));
        }
        Verdict { is_ready, reason, message: format!("{message}; {faults}") }
    }

    async fn apply_also(&mut self, spec: &RepositorySpec, applier: &Applier, revision: &Revision) -> Told {
        let mut told = Told::default();
        let files = self.reading.core();
        let wanted = match wanted(&files, &self.also.applied) {
            Ok(wanted) => wanted,
            Err(fault) => {
                told.faults.push(fault);
                return told;
            }
        };
        let objects = match self.open(spec, files, &mut told.faults).await {
            Ok(objects) => objects,
            Err(fault) => {
                told.faults.push(fault);
                return told;
            }
        };
        let by = format!("{} {}", &revision.commit[..revision.commit.len().min(12)], revision.author);
        let keep = spec.drift.is_some_and(|drift| drift != crds::Drift::Correct) && self.also.done.as_ref() == Some(&revision.commit);
        let (shared, by) = (&self.shared, by.as_str());
        let writes: Vec<_> = objects
            .iter()
            .map(|object| {
                async move {
                    let CoreObject { kind, name, labels, annotations, fields } = object;
                    let body = CoreBody { kind: *kind, name, labels, annotations, fields };
                    (object, applier.apply_core(&body, by, keep, |repository| shared.is_there(repository)).await)
                }
                .boxed()
            })
            .collect();
        let results: Vec<(&CoreObject, Result<(), Refusal>)> = futures::stream::iter(writes).buffer_unordered(WRITERS).collect().await;
        for (object, result) in results {
            match result {
                Ok(()) => drop(self.also.applied.insert(AppliedStatus { kind: object.kind, name: object.name.clone() })),
                Err(refusal) => told.faults.push(refusal.text),
            }
        }
        drop(objects);
        self.prune_also(spec, applier, &wanted, &mut told).await;
        if told.faults.is_empty() {
            tracing::info!(repository = %self.name, commit = revision.commit, count = self.also.applied.len(), "ConfigMaps and Secrets applied");
        }
        told.faults.sort();
        told
    }

    /// The objects as they are to be applied.
    async fn open(&self, spec: &RepositorySpec, files: Vec<Arc<CoreFile>>, faults: &mut Vec<String>) -> Result<Vec<CoreObject>, String> {
        let mut identities = None;
        if let Some(decryption) = spec.decryption.as_ref().filter(|_| files.iter().any(|file| file.is_sealed())) {
            let reference = &decryption.secret_ref;
            let values = self.shared.secrets.get(self.name.namespace(), &reference.name).await?;
            let chosen = values.iter().filter(|(key, _)| reference.key.as_ref().is_none_or(|wanted| wanted == *key));
            let read = Identities::read(chosen.map(|(key, value)| (key.as_str(), value.as_slice())));
            identities = Some(read.map_err(|error| format!("spec.decryption: Secret {}: {error}", reference.name))?);
        }
        let open = move || {
            let (mut objects, mut faults) = (Vec::new(), Vec::new());
            for file in files {
                match file.open(identities.as_ref()) {
                    Err(error) => faults.push(format!("{}: {error}", file.path)),
                    Ok(opened) => {
                        for ((kind, name, place), object) in file.objects().zip(opened) {
                            match object {
                                Ok(object) => objects.push(object),
                                Err(error) => faults.push(format!("{place}: {}/{name}: {error}", kind.as_str())),
                            }
                        }
                    }
                }
            }
            (objects, faults)
        };
        let (objects, wrong) = tokio::task::spawn_blocking(open).await.map_err(|_| "a fault of ours while decrypting".to_owned())?;
        faults.extend(wrong);
        Ok(objects)
    }

    /// Takes away what was applied and has left Git, once all that is in Git is there.
    async fn prune_also(&mut self, spec: &RepositorySpec, applier: &Applier, wanted: &BTreeMap<AppliedStatus, String>, told: &mut Told) {
        if !told.faults.is_empty() || self.reading.fault().is_some() {
            return;
        }
        let gone: Vec<AppliedStatus> = self.also.applied.iter().filter(|object| !wanted.contains_key(*object)).cloned().collect();
        for object in gone {
            if spec.prune != Some(false) {
                match applier.delete_core(object.kind, &object.name).await {
                    Ok(note) => told.notes.extend(note),
                    Err(refusal) => {
                        told.faults.push(refusal.text);
                        continue;
                    }
                }
            }
            self.also.applied.remove(&object);
        }
    }
}

/// What the files say that there should be, each with its place: each once, and no more than can be remembered.
fn wanted(files: &[Arc<CoreFile>], applied: &BTreeSet<AppliedStatus>) -> Result<BTreeMap<AppliedStatus, String>, String> {
    let mut wanted: BTreeMap<AppliedStatus, String> = BTreeMap::new();
    for (kind, name, place) in files.iter().flat_map(|file| file.objects()) {
        let object = AppliedStatus { kind, name: name.to_owned() };
        if let Some(first) = wanted.insert(object, place.clone()) {
            return Err(format!("{place}: {}/{name} is there twice, first in {first}: none of these is applied", kind.as_str()));
        }
    }
    if wanted.len() > MAX_CORE_OBJECTS {
        let (count, max) = (wanted.len(), MAX_CORE_OBJECTS);
        return Err(format!(
            "{count} ConfigMaps and Secrets are more than the {max} that one Repository applies: none of these is applied"
        ));
    }
    let all = wanted.keys().chain(applied).collect::<BTreeSet<_>>().len();
    if all > MAX_CORE_OBJECTS {
        let max = MAX_CORE_OBJECTS;
        return Err(format!(
            "{all} ConfigMaps and Secrets, with those that this commit takes away, are more than {max}: make two commits of it"
        ));
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_a_status_can_hold_are_applied() {
        let applied = |from: usize, to: usize| -> BTreeSet<AppliedStatus> {
            (from..to).map(|number| AppliedStatus { kind: CoreKind::ConfigMap, name: format!("c-{number}") }).collect()
        };
        let said = |count: usize, applied: BTreeSet<AppliedStatus>| {
            let text: String =
                (0..count).map(|number| format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c-{number}}}\n")).collect();
            let mut reader = manifests::read::Reader::in_namespace("fleet")
                .with_core(manifests::core_object::Core::Applied(CoreKind::ALL.into_iter().collect()));
            let tree = BTreeMap::from([("a.yaml".to_owned(), manifests::git::Entry::Blob("1".into()))]);
            reader.update(&tree, true, |_, _| Ok(text.clone().into_bytes()));
            wanted(&reader.core().cloned().collect::<Vec<_>>(), &applied).map(|wanted| wanted.len())
        };
        assert_eq!(said(100, BTreeSet::new()), Ok(100));
        assert_eq!(said(100, applied(0, 100)), Ok(100));
        assert!(said(101, BTreeSet::new()).unwrap_err().contains("101 ConfigMaps and Secrets are more than the 100"));
        assert!(said(60, applied(50, 101)).unwrap_err().contains("make two commits"));
    }
}
