//! Git into the cluster: each Repository is followed by a task of its own, and what it says is applied in the name of a service account of
//! its namespace. The engine sees what was applied as it sees everything else there: by its watches.

pub(crate) mod aside;
mod base;
mod commit_status;
mod follower;
mod judging;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use api::feed::{Change, Subject};
use api::view::SharedView;
use cluster::Cluster;
use cluster::events::Happening;
use cluster::secrets::Secrets;
use crds::{Kind, Object, PlainStatus, RepositorySpec, RepositoryStatus};
use reconcile::Name;
use reconcile::content::Digest;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::cluster::requested_at;
use super::reports::Reports;
use aside::Asides;
use follower::Follower;

/// Time between two looks at which Repositories there are: that costs next to nothing.
const TURN: Duration = Duration::from_secs(1);
/// How long further changes are waited for once there is one.
const GATHER: Duration = Duration::from_millis(20);
/// Time until one whose task ended by a fault of ours is followed again.
const AGAIN: Duration = Duration::from_secs(30);
/// On a Repository: the id by which a commit beyond its limits is let through.
const APPROVE: &str = "evenkeel.dev/approve";

/// A Repository as it is written.
#[derive(Clone, Debug, PartialEq)]
struct Wanted {
    spec: RepositorySpec,
    generation: Option<i64>,
    requested: Option<String>,
    approved: Option<String>,
}

/// What all followers share.
pub(crate) struct Shared {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) view: SharedView,
    pub(crate) reports: Arc<Reports>,
    /// Below it are their caches.
    pub(crate) data: PathBuf,
    /// Whether webhooks are taken.
    pub(crate) webhooks: bool,
    /// Where their followers are asked what another commit would do.
    pub(crate) asides: Arc<Asides>,
}

/// A Repository that is followed.
struct Followed {
    wanted: watch::Sender<Wanted>,
    task: JoinHandle<()>,
    began: Instant,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Follows every Repository until told to stop.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut followed: BTreeMap<Name, Followed> = BTreeMap::new();
    let mut changes = shared.cluster.on_change();
    let (mut seen, mut is_swept) = (None, false);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(TURN) => {}
            // Somebody may have asked for a look.
            Ok(()) = changes.changed() => tokio::time::sleep(GATHER).await,
        }
        let now = Some(shared.cluster.changes());
        if now == seen && !followed.values().any(|followed| followed.task.is_finished()) {
            continue;
        }
        seen = now;
        let wanted = shared.wanted();
        let gone: Vec<Name> = followed.keys().filter(|name| !wanted.contains_key(*name)).cloned().collect();
        is_swept &= gone.is_empty();
        for name in gone {
            if let Some(mut followed) = followed.remove(&name) {
                // It writes to its cache as long as it runs.
                followed.task.abort();
                let _ = (&mut followed.task).await;
            }
            shared.forget(&name);
        }
        // Not before it is known which there are.
        if !is_swept && shared.view.read().unwrap_or_else(PoisonError::into_inner).newest.is_some() {
            shared.sweep(wanted.keys().map(cache).collect()).await;
            is_swept = true;
        }
        for (name, wanted) in wanted {
            match followed.get(&name) {
                Some(there) if there.task.is_finished() && there.began.elapsed() > AGAIN => {
                    tracing::error!(repository = %name, "its follower ended by a fault of ours, and begins anew");
                }
                Some(there) if there.wanted.borrow().spec == wanted.spec => {
                    // Somebody may ask for a look, or approve.
                    there.wanted.send_if_modified(|before| {
                        let is_new = *before != wanted;
                        *before = wanted;
                        is_new
                    });
                    continue;
                }
                _ => {}
            }
            // Only one works on the cache.
            if let Some(mut before) = followed.remove(&name) {
                before.task.abort();
                let _ = (&mut before.task).await;
            }
            let (sender, receiver) = watch::channel(wanted);
            let task = tokio::spawn(Follower::new(name.clone(), shared.clone()).run(receiver));
            followed.insert(name, Followed { wanted: sender, task, began: Instant::now() });
        }
    }
}

impl Shared {
    /// The Repositories there are.
    fn wanted(&self) -> BTreeMap<Name, Wanted> {
        // As the API server has them, and not as they are in force: what is held up must not keep one going that somebody has stopped.
        let wanted = self.cluster.objects_of(Kind::Repository).into_iter().filter_map(|(name, object)| {
            let Object::Repository(repository) = &*object else { return None };
            let approved = repository.metadata.annotations.as_ref().and_then(|annotations| annotations.get(APPROVE).cloned());
            let generation = repository.metadata.generation;
            Some((name, Wanted { spec: repository.spec.clone(), generation, requested: requested_at(&object), approved }))
        });
        wanted.collect()
    }

    /// Notes how it stands with a Repository, and has that written.
    fn tell(&self, name: &Name, mut status: RepositoryStatus) {
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        let before = view.repositories.get(name);
        if let Some(before) = before {
            keep_times(&mut status.plain, &before.plain);
        }
        if before != Some(&status) {
            view.repositories.insert(name.clone(), status);
            let feed = view.feed.clone();
            drop(view);
            feed.changed([Change::of(Subject::Object(Kind::Repository, name.clone()))]);
            self.reports.objects([(Kind::Repository, name.clone())]);
        }
    }

    /// Whether there is such a Repository, by its namespace and name.
    fn is_there(&self, repository: &str) -> bool {
        self.cluster.known(&(Kind::Repository, Name::parse(repository))).is_some_and(|known| !known.deleting)
    }

    /// Where what was fetched is kept.
    fn caches(&self) -> PathBuf {
        self.data.join("repositories")
    }

    /// Removes what was fetched for Repositories that are not there any more: `kept` are the caches of those that are.
    async fn sweep(&self, kept: BTreeSet<String>) {
        let Ok(entries) = std::fs::read_dir(self.caches()) else { return };
        let left: Vec<PathBuf> =
            entries.flatten().filter(|entry| !kept.contains(&*entry.file_name().to_string_lossy())).map(|entry| entry.path()).collect();
        for path in left {
            match tokio::fs::remove_dir_all(&path).await {
                Ok(()) => tracing::info!(path = %path.display(), "removed what was fetched for a repository that is gone"),
                Err(error) => {
                    tracing::warn!(%error, path = %path.display(), "what was fetched for a repository that is gone can't be removed");
                }
            }
        }
    }

    fn forget(&self, name: &Name) {
        self.asides.leave(name);
        self.view.write().unwrap_or_else(PoisonError::into_inner).repositories.remove(name);
    }

    fn happened(&self, name: &Name, reason: &'static str, note: String, is_warning: bool) {
        self.reports.happened(Happening { key: (Kind::Repository, name.clone()), reason, note, is_warning });
    }
}

/// A condition that is as it was has been so since then.
fn keep_times(now: &mut PlainStatus, before: &PlainStatus) {
    for condition in &mut now.conditions {
        let same = before.conditions.iter().find(|old| old.type_ == condition.type_ && old.status == condition.status);
        if let Some(same) = same {
            condition.last_transition_time = same.last_transition_time.clone();
        }
    }
}

/// The name of the folder in which what was fetched for a Repository is.
fn cache(repository: &Name) -> String {
    Digest::of(repository.full().as_bytes()).as_str()[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use reconcile::report;

    use super::*;

    /// Else each look would be news.
    #[test]
    fn a_status_that_says_the_same_is_the_same() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let unready = |message: &str, second| PlainStatus {
            conditions: report::unready(Some("Reconciling"), "Progressing", message, at(second)),
            ..PlainStatus::default()
        };
        let kept = |mut now: PlainStatus, before: &PlainStatus| {
            keep_times(&mut now, before);
            now
        };
        let before = unready("it waits for a", 1);
        assert_eq!(kept(unready("it waits for a", 2), &before), before);
        assert_eq!(kept(unready("it waits for b", 2), &before), unready("it waits for b", 1), "it has not been ready since then");
        let ready = PlainStatus { conditions: report::conditions(true, "Applied", "", at(2)), ..PlainStatus::default() };
        assert_eq!(kept(ready.clone(), &before), ready);
    }
}
