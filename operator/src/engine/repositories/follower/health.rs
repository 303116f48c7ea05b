//! `spec.wait`: a Repository is ready when what it applied is.
//!
//! Nothing of a commit waits for anything else of it: all of our kinds are read by one engine, which knows what refers to what, and a Deployment
//! waits for its devices by itself. It is only told.

use std::time::Duration;

use cluster::health::Health;
use crds::Kind;
use reconcile::Target;
use tokio::time::Instant;

use super::{Follower, Verdict, Wanted, few};

/// Time between two looks at what is waited for; nobody else is asked for it.
pub(super) const LOOK: Duration = Duration::from_secs(2);
/// Time until what is not ready counts as failed, where none is given: a rollout with its soaks may well take that.
const TIMEOUT: Duration = Duration::from_secs(3600);

/// Since when a commit is waited for.
pub(super) struct Waiting {
    commit: Option<String>,
    since: Instant,
}

impl Follower {
    /// The verdict with how what was applied is, where that is asked for.
    pub(super) fn with_health(&mut self, of: &Wanted, verdict: Verdict) -> Verdict {
        if of.spec.wait != Some(true) || !verdict.is_ready {
            return verdict;
        }
        let (failed, behind) = self.unwell();
        if failed.is_empty() && behind.is_empty() {
            return verdict;
        }
        if self.waiting.as_ref().is_none_or(|waiting| waiting.commit != self.revision) {
            self.waiting = Some(Waiting { commit: self.revision.clone(), since: Instant::now() });
        }
        let waited = self.waiting.as_ref().map(|waiting| waiting.since.elapsed()).unwrap_or_default();
        let timeout = of.spec.timeout.map_or(TIMEOUT, |timeout| timeout.0.try_into().unwrap_or(TIMEOUT));
        let message = verdict.message;
        if !failed.is_empty() {
            return Verdict::not("HealthCheckFailed", format!("{message}; {}", few(&failed)));
        }
        if waited >= timeout {
            return Verdict::not("HealthCheckFailed", format!("{message}; not ready after {} s: {}", timeout.as_secs(), few(&behind)));
        }
        Verdict::not("Progressing", format!("{message}; it waits for {}", few(&behind)))
    }

    /// What was applied and failed, and what is not there yet, each with why. A device that can't be reached holds up nothing.
    fn unwell(&self) -> (Vec<String>, Vec<String>) {
        let (mut failed, mut behind) = (Vec::new(), Vec::new());
        for object in self.objects().values() {
            let key = self.place(object);
            let target = || Target::of(key.0, key.1.clone());
            let Some(known) = self.shared.cluster.known(&key) else {
                behind.push(format!("{}: it is not seen yet", target()));
                continue;
            };
            if known.from.as_deref() != Some(self.name.full()) {
                continue;
            }
            // What is not as it was applied is older than that, unless others have a say in it.
            let is_old = !known.object.as_ref().is_some_and(|live| live.says_the_same(object));
            let health = if is_old && known.others.is_empty() && known.broken.is_none() {
                Health::InProgress("it is not seen yet".into())
            } else {
                known.health()
            };
            match health {
                Health::Current | Health::Suspended => {}
                Health::InProgress(_) if key.0 == Kind::Device && !is_old => {}
                Health::InProgress(why) => behind.push(format!("{} ({why})", target())),
                Health::Failed(why) => failed.push(format!("{}: {why}", target())),
            }
        }
        (failed, behind)
    }
}
