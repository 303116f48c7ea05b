//! What another commit of a Repository would change in the cluster: read beside what is applied, and never applied.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crds::{Kind, Object};
use reconcile::desired::{Share, share};
use reconcile::limits::{self, Limits};
use reconcile::{Key, Name, Target};
use tokio::sync::{mpsc, oneshot};

use super::super::source::{Candidate, Wrong};
use super::Wanted;
use super::base::placed;
use super::follower::{Follower, deletions};

/// Questions that wait for one follower; more are refused.
const WAITING: usize = 4;

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
        follower.try_send(Question { reference, reply }).map_err(|_| format!("repository/{repository} is busy: ask again"))?;
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
        let _ = question.reply.send(self.aside(wanted, &question.reference).await);
    }

    async fn aside(&self, wanted: &Wanted, reference: &str) -> Result<Aside, String> {
        let origin = self.origin.as_ref().ok_or("it was not looked at yet: kubectl describe says why")?;
        let read = self.reading.preview(origin, reference).await?;
        let there = self.shared.view.read().unwrap_or_else(PoisonError::into_inner).newest.clone();
        let there = there.ok_or("what the cluster has is not known yet")?;
        let mut findings = read.findings;
        let (mut changes, mut wanted_keys) = (BTreeMap::<Key, Option<Arc<Object>>>::new(), BTreeMap::new());
        for object in read.desired.objects.values() {
            let key = self.place(object);
            wanted_keys.insert(key.clone(), &**object);
            let object = placed(&key, object);
            let known = self.shared.cluster.known(&key);
            let from = known.as_ref().and_then(|known| known.from.as_deref());
            if key == (Kind::Repository, self.name.clone()) || known.as_ref().is_some_and(|known| known.is_as(&object)) {
                continue;
            }
            let other = from.filter(|other| *other != self.name.full() && self.shared.is_there(other));
            if let Some(other) = other {
                let text = format!("{}: error: it is applied by repository {other}", Target::of(key.0, key.1.clone()));
                findings.push(Wrong { severity: reconcile::finding::Severity::Error, text });
                continue;
            }
            changes.insert(key, Some(Arc::new(object)));
        }
        let (gone, _) = self.gone(&wanted.spec, &wanted_keys);
        changes.extend(gone.into_iter().map(|(key, _)| (key, None)));
        if self.is_judging() {
            let text = format!("repository/{}: note: whether its signers may change that is judged when it is committed", self.name);
            findings.push(Wrong { severity: reconcile::finding::Severity::Warning, text });
        }
        let (desired, changed) = there.update(changes, read.desired.revision.clone());
        let limits = wanted.spec.limits.as_ref();
        let devices = limits.and_then(|limits| limits.devices).map_or(Share::Percent(100), share);
        let limits = Limits { deletions: deletions(&wanted.spec), devices };
        let too_far = limits::check(&there, &desired, &changed, limits).err().map(|too_far| too_far.reason);
        Ok(Aside { candidate: Candidate::new(Arc::new(desired), changed, findings), too_far })
    }
}
