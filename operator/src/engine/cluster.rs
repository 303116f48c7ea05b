//! Desired state from the objects of a cluster: each batch of changes is a revision.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cluster::ask::REQUESTED_AT;
use cluster::{Batch, Cluster};
use crds::{Kind, Object};
use reconcile::finding::Severity;
use reconcile::{Desired, Key, Name, Revision, Target};
use tokio::sync::mpsc;

use super::Event;
use super::governing::Governing;
use super::source::{Candidate, Wish, Wrong};

/// A watch that has failed and says nothing for so long goes on: it tries again within a minute at the latest.
const QUIET: Duration = Duration::from_secs(80);

/// Watches, and tells what is new.
pub(super) async fn follow(cluster: &Cluster, governing: &Governing, mut wishes: mpsc::Receiver<Wish>, events: mpsc::Sender<Event>) {
    let mut watch = cluster.watch(Kind::ALL);
    let mut desired = Arc::new(Desired::default());
    let mut failing = false;
    loop {
        let event = tokio::select! {
            batch = cluster.next(&mut watch) => match batch {
                Ok(batch) => match take(&desired, batch) {
                    Taken::Candidate(candidate) => {
                        governing.update(&desired, &candidate.desired, &candidate.told);
                        desired = candidate.desired.clone();
                        Some(Event::Candidate(candidate))
                    }
                    Taken::Touched(keys) => Some(Event::Touched(keys)),
                },
                // Said below, by whichever watch it is.
                Err(_) => None,
            },
            () = tokio::time::sleep(QUIET / 4), if failing => None,
            wish = wishes.recv() => match wish {
                Some(Wish::Preview(_, reply)) => {
                    let _ = reply.send(Err("in a cluster objects have no branches: name a Repository with --repository, or ask `kubectl diff`".into()));
                    continue;
                }
                Some(Wish::Reading(reply)) => {
                    let _ = reply.send(Err("in a cluster nothing is read from files".into()));
                    continue;
                }
                Some(Wish::Look) if failing => None,
                Some(Wish::Look) => Some(Event::Unchanged),
                None => return,
            },
        };
        // A watch that does not work is said for as long as it is so, whatever the others bring.
        let problem = watch.problem(QUIET);
        let news = match (&problem, failing) {
            (Some(error), false) => Some(Event::SourceFailed(error.clone())),
            (Some(error), true) if matches!(event, Some(Event::Candidate(_))) => Some(Event::SourceFailed(error.clone())),
            (None, true) => Some(Event::Unchanged),
            _ => None,
        };
        failing = problem.is_some();
        for event in event.into_iter().chain(news) {
            if events.send(event).await.is_err() {
                return;
            }
        }
    }
}

enum Taken {
    Candidate(Box<Candidate>),
    Touched(BTreeSet<Key>),
}

fn take(before: &Desired, batch: Batch) -> Taken {
    let is_first = before.revision.commit.is_empty();
    if !is_first && batch.changes.iter().all(|(key, object)| !batch.broken.contains_key(key) && only_asks(before, key, object.as_deref())) {
        return Taken::Touched(batch.touched);
    }
    let commit = format!("kubernetes-{}", batch.version);
    let revision = Revision { commit, author: batch.by.clone(), ..Revision::default() };
    let keys: Vec<Key> = batch.changes.keys().cloned().collect();
    let (mut desired, changed) = before.update(batch.changes, revision);
    let mut wrong = Vec::new();
    for ((kind, name), why) in batch.broken {
        wrong.push(Wrong { severity: Severity::Error, text: format!("{}: error: {why}", Target::of(kind, name.clone())) });
        desired.stalled.insert(Target::of(kind, name), why);
    }
    for finding in desired.findings() {
        let text = format!("{} {}: {}: {}", finding.object, finding.path, finding.severity.word(), finding.message);
        if finding.severity == Severity::Error {
            desired.stalled.entry(finding.object.clone()).or_insert_with(|| format!("{}: {}", finding.path, finding.message));
        }
        wrong.push(Wrong { severity: finding.severity, text });
    }
    let told = keys.iter().cloned().chain(differing(&before.stalled, &desired.stalled)).chain(batch.touched).collect();
    let requested = keys.iter().flat_map(|key| requested(before, &desired, key)).collect();
    Taken::Candidate(Box::new(Candidate { told, requested, ..Candidate::new(Arc::new(desired), changed, wrong) }))
}

/// Whether a Repository is as it was, and only a look is asked for: that is nothing that anybody wants of the fleet. Who follows it knows.
fn only_asks(before: &Desired, key: &Key, object: Option<&Object>) -> bool {
    let plain = |object: &Object| {
        let mut object = object.clone();
        if let Some(annotations) = &mut object.metadata_mut().annotations {
            annotations.remove(REQUESTED_AT);
        }
        let metadata = object.metadata_mut();
        metadata.annotations = metadata.annotations.take().filter(|annotations| !annotations.is_empty());
        object
    };
    let (Some(now), Some(then)) = (object, before.objects.get(key)) else { return false };
    key.0 == Kind::Repository && plain(now) == plain(then)
}

/// Objects about whose faults there is something new to say.
fn differing<'a>(old: &'a BTreeMap<Target, String>, new: &'a BTreeMap<Target, String>) -> impl Iterator<Item = Key> + 'a {
    let targets: BTreeSet<&Target> = old.keys().chain(new.keys()).collect();
    targets.into_iter().filter(|target| old.get(target) != new.get(target)).map(|target| (target.kind(), target.name().clone()))
}

/// The devices that a change of this object's annotation asks to be looked at.
fn requested(before: &Desired, after: &Desired, key: &Key) -> Vec<Name> {
    let asked = |desired: &Desired| desired.objects.get(key).and_then(|object| requested_at(object));
    let asked_now = asked(after);
    if asked_now.is_none() || asked(before) == asked_now {
        return Vec::new();
    }
    match key.0 {
        Kind::Device => vec![key.1.clone()],
        Kind::Deployment | Kind::Role => {
            let unit = if key.0 == Kind::Role { key.1.login() } else { key.1.clone() };
            after.deployments.get(&unit).map(|deployment| deployment.members.clone()).unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

/// What an object's annotation asks for.
pub(super) fn requested_at(object: &Object) -> Option<String> {
    object.metadata().annotations.as_ref()?.get(REQUESTED_AT).cloned()
}
