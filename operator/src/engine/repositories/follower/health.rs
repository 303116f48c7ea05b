//! `spec.wait`: a Repository is ready when what it applied is.
//!
//! Nothing of a commit waits for anything else of it: all of our kinds are read by one engine, which knows what refers to what, and a Deployment
//! waits for its devices by itself. It is only told.

use std::collections::BTreeSet;
use std::time::Duration;

use cluster::health::Health;
use crds::Kind;
use reconcile::{Key, Target};
use tokio::time::Instant;

use super::{Follower, Verdict, Wanted, few};

/// Time between two looks at what is waited for; nobody else is asked for it.
pub(super) const LOOK: Duration = Duration::from_secs(2);
/// Time until what is not ready counts as failed, where none is given: a rollout with its soaks may well take that.
const TIMEOUT: Duration = Duration::from_secs(3600);

/// What of a commit is waited for, and since when.
pub(super) struct Waiting {
    commit: Option<String>,
    since: Instant,
    /// What was not ready when it was looked at last; until the next look at the Repository nothing else of it is looked at. Empty: all of it
    /// is.
    keys: BTreeSet<Key>,
}

impl Waiting {
    /// What is waited for now that these are not ready, if anything is.
    fn now(before: Option<Self>, commit: Option<&String>, keys: BTreeSet<Key>, now: Instant) -> Option<Self> {
        if keys.is_empty() {
            return None;
        }
        let since = before.filter(|before| before.commit.as_ref() == commit).map_or(now, |before| before.since);
        Some(Self { commit: commit.cloned(), since, keys })
    }
}

/// What was applied and is not ready.
#[derive(Default)]
struct Unwell {
    keys: BTreeSet<Key>,
    /// What of it failed, and why.
    failed: Vec<String>,
    /// What of it is not there yet, and why.
    behind: Vec<String>,
}

impl Follower {
    /// The Repository was looked at: how all of it is may be otherwise.
    pub(super) fn look_at_all(&mut self) {
        if let Some(waiting) = &mut self.waiting {
            waiting.keys.clear();
        }
    }

    /// The verdict with how what was applied is, where that is asked for.
    pub(super) fn with_health(&mut self, of: &Wanted, verdict: Verdict) -> Verdict {
        let before = self.waiting.take();
        if of.spec.wait != Some(true) || !verdict.is_ready {
            return verdict;
        }
        let only = before.as_ref().map(|waiting| &waiting.keys).filter(|keys| !keys.is_empty());
        let mut unwell = self.unwell(only);
        // It is ready when all of it is at one time.
        if unwell.keys.is_empty() && only.is_some() {
            unwell = self.unwell(None);
        }
        let Unwell { keys, failed, behind } = unwell;
        let now = Instant::now();
        self.waiting = Waiting::now(before, self.revision.as_ref(), keys, now);
        let Some(waiting) = &self.waiting else { return verdict };
        let timeout = of.spec.timeout.map_or(TIMEOUT, |timeout| timeout.0.try_into().unwrap_or(TIMEOUT));
        let message = verdict.message;
        if !failed.is_empty() {
            return Verdict::not("HealthCheckFailed", format!("{message}; {}", few(&failed)));
        }
        if now.duration_since(waiting.since) >= timeout {
            return Verdict::not("HealthCheckFailed", format!("{message}; not ready after {} s: {}", timeout.as_secs(), few(&behind)));
        }
        Verdict::not("Progressing", format!("{message}; it waits for {}", few(&behind)))
    }

    /// What was applied, of these only if they are given, and is not ready. A device that can't be reached holds up nothing.
    fn unwell(&self, only: Option<&BTreeSet<Key>>) -> Unwell {
        let mut unwell = Unwell::default();
        for object in self.objects().values() {
            let key = self.place(object);
            if only.is_some_and(|only| !only.contains(&key)) {
                continue;
            }
            let target = || Target::of(key.0, key.1.clone());
            let Some(known) = self.shared.cluster.known(&key) else {
                unwell.behind.push(format!("{}: it is not seen yet", target()));
                unwell.keys.insert(key);
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
                Health::Current | Health::Suspended => continue,
                Health::InProgress(_) if key.0 == Kind::Device && !is_old => continue,
                Health::InProgress(why) => unwell.behind.push(format!("{} ({why})", target())),
                Health::Failed(why) => unwell.failed.push(format!("{}: {why}", target())),
            }
            unwell.keys.insert(key);
        }
        unwell
    }
}

#[cfg(test)]
mod tests {
    use reconcile::Name;

    use super::*;

    #[test]
    fn what_was_ready_is_waited_for_from_then_on() {
        let (commit, other, begun) = ("1".to_owned(), "2".to_owned(), Instant::now());
        let at = |hours: u64| begun + Duration::from_secs(hours * 3600);
        let app = || BTreeSet::from([(Kind::Deployment, Name::new("fleet", "app"))]);
        let since = |waiting: &Option<Waiting>| waiting.as_ref().map(|waiting| waiting.since);
        let waiting = Waiting::now(None, Some(&commit), app(), at(0));
        let waiting = Waiting::now(waiting, Some(&commit), app(), at(1));
        assert_eq!(since(&waiting), Some(at(0)));
        let waiting = Waiting::now(waiting, Some(&commit), BTreeSet::new(), at(2));
        assert_eq!(since(&waiting), None);
        // Two days later something of it is in progress for a moment.
        let waiting = Waiting::now(waiting, Some(&commit), app(), at(50));
        assert_eq!(since(&waiting), Some(at(50)));
        let waiting = Waiting::now(waiting, Some(&other), app(), at(51));
        assert_eq!(since(&waiting), Some(at(51)), "another commit has a time of its own");
    }
}
