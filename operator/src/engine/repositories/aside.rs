//! What another commit of a Repository would change in the cluster: read beside what is applied, and never applied.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use api::view::AGAIN;
use cluster::Known;
use crds::Object;
use reconcile::desired::{Share, share};
use reconcile::finding::Severity;
use reconcile::limits::{self, Limits};
use reconcile::{Key, Name, Target};
use tokio::sync::{mpsc, oneshot};

use super::super::source::{Candidate, Wrong};
use super::Wanted;
use super::base::placed;
use super::follower::bounds::deletions;
use super::follower::{Follower, Turn};

/// Questions that wait for one follower; more are refused.
const WAITING: usize = 4;
/// Time limit of one: whoever asks does not wait for longer, and the follower has other things to do.
const LIMIT: Duration = Duration::from_secs(25);

/// What the cluster would have with that commit, and the limit of the Repository that it goes beyond, if so.
pub(crate) struct Aside {
    pub(crate) candidate: Candidate,
    pub(crate) too_far: Option<String>,
}

/// A question to a follower.
pub(super) struct Question {
    reference: String,
    reply: oneshot::Sender<Result<Aside, String>>,
}

/// The followers, for those who ask them.
#[derive(Default)]
pub(crate) struct Asides(Mutex<BTreeMap<Name, mpsc::Sender<Question>>>);

impl Asides {
    /// What would come of a branch, tag or commit of a Repository.
    pub(crate) async fn ask(&self, repository: &Name, reference: String) -> Result<Aside, String> {
        let follower = self.followers().get(repository).cloned();
        let follower = follower.ok_or_else(|| format!("repository/{repository} is not followed here: kubectl get erepo -A shows those that are; without a cluster leave --repository out"))?;
        let (reply, answer) = oneshot::channel();
        follower.try_send(Question { reference, reply }).map_err(|_| format!("repository/{repository} is busy{AGAIN}"))?;
        answer.await.map_err(|_| format!("repository/{repository} is not followed any more"))?
    }

    pub(super) fn join(&self, name: &Name) -> mpsc::Receiver<Question> {
        let (sender, receiver) = mpsc::channel(WAITING);
        self.followers().insert(name.clone(), sender);
        receiver
    }

    pub(super) fn leave(&self, name: &Name) {
        self.followers().remove(name);
    }

    fn followers(&self) -> MutexGuard<'_, BTreeMap<Name, mpsc::Sender<Question>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Follower {
    pub(super) async fn answer(&self, wanted: &Wanted, question: Question) {
        let answer = tokio::time::timeout(LIMIT, self.aside(wanted, &question.reference)).await;
        let late = || Err(format!("it could not be read within {} s{AGAIN}", LIMIT.as_secs()));
        let _ = question.reply.send(answer.unwrap_or_else(|_| late()));
    }

    async fn aside(&self, wanted: &Wanted, reference: &str) -> Result<Aside, String> {
        let origin = self.origin.as_ref().ok_or("it was not looked at yet: kubectl describe says why")?;
        let (read, next) = self.reading.preview(origin, reference).await?;
        let there = self.shared.view.read().unwrap_or_else(PoisonError::into_inner).newest.clone();
        let there = there.ok_or("what the cluster has is not known yet")?;
        let touched: BTreeSet<Key> = self.touched.iter().cloned().chain(read.told.iter().cloned()).collect();
        let mut notes: Vec<String> = next.fault().into_iter().collect();
        let (mut changes, mut all) = (BTreeMap::<Key, Option<Arc<Object>>>::new(), BTreeMap::new());
        for object in next.objects().values() {
            let key = self.place(object);
            all.insert(key.clone(), &**object);
            match self.turn(&wanted.spec, &key, &placed(&key, object), &touched) {
                Turn::None => {}
                Turn::Drifted(fields) => {
                    notes.push(format!("{}: note: it was changed by somebody else, and stays so: {fields}", Target::of(key.0, key.1)));
                }
                Turn::Refused(text) => notes.push(format!("error: {text}")),
                Turn::Left(text) => notes.push(format!("note: {text}")),
                Turn::Apply { .. } => changes.extend(self.applied_as(key, (**object).clone())),
            }
        }
        let (gone, left) = self.gone(&wanted.spec, &all, &next);
        notes.extend(left.into_iter().map(|text| format!("note: {text}")));
        notes.push(format!("repository/{}: note: what its account and its signers may change is judged when it is committed", self.name));
        let reach = || self.reach(wanted, &read.desired.revision, next.objects(), &touched).err();
        let too_far = self.too_far(wanted, &read, &gone).or_else(|| reach().map(|too_far| too_far.reason));
        changes.extend(gone.into_iter().map(|(key, _)| (key, None)));
        let (desired, changed) = there.update(changes, read.desired.revision.clone());
        notes.extend(
            desired
                .findings()
                .into_iter()
                .filter(|finding| all.contains_key(&(finding.object.kind(), finding.object.name().clone())))
                .map(|finding| format!("{} {}: {}: {}", finding.object, finding.path, finding.severity.word(), finding.message)),
        );
        let findings = notes.into_iter().map(|text| Wrong { severity: Severity::Note, text }).collect();
        Ok(Aside { candidate: Candidate::new(Arc::new(desired), changed, findings), too_far })
    }

    /// As the API server would have it: labels that others put there stay. `None`: it has it so.
    pub(super) fn applied_as(&self, key: Key, mut object: Object) -> Option<(Key, Option<Arc<Object>>)> {
        let known = self.shared.cluster.known(&key);
        if let Some(live) = known.as_ref().and_then(|known| known.object.as_deref()) {
            let is_theirs = |label: &&String| known.as_ref().is_some_and(|known| known.foreign.contains(*label));
            let theirs = live.metadata().labels.iter().flatten().filter(|(label, _)| is_theirs(label));
            let labels = object.metadata_mut().labels.get_or_insert_default();
            for (label, value) in theirs {
                labels.entry(label.clone()).or_insert_with(|| value.clone());
            }
        }
        let object = placed(&key, &object);
        if known.is_some_and(|known| known.is_just(&object)) { None } else { Some((key, Some(Arc::new(object)))) }
    }

    /// The limit of the Repository that it goes beyond: of what the Repository itself has, as when it is committed.
    fn too_far(&self, wanted: &Wanted, read: &Candidate, gone: &[(Key, Known)]) -> Option<String> {
        let limits = wanted.spec.limits.as_ref();
        let devices = limits.and_then(|limits| limits.devices).map_or(Share::Percent(100), share);
        let limits = Limits { deletions: deletions(&wanted.spec), devices };
        let mut changed = self.changed.clone();
        changed.extend(read.changed.clone());
        let by_commits = self.applied.as_ref().and_then(|applied| limits::check(applied, &read.desired, &changed, limits).err());
        let by_objects = || self.too_many(wanted, &read.desired.revision.commit, gone).map(|(_, _, reason)| reason);
        by_commits.map(|too_far| too_far.reason).or_else(by_objects)
    }
}
