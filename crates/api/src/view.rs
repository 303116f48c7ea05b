//! What a running engine shows: its own state, shared for reading.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, RwLock};

use jiff::Timestamp;
use reconcile::alerting::state::Instance;
use reconcile::command::Command;
use reconcile::limits::{Reach, TooFar};
use reconcile::{Deferred, Desired, Key, Map, Name, Observed, Outlook, Revision, Target};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use crate::change;
use crate::feed::Feed;
use crate::usage::Usages;

/// What a running engine shows. The engine's loop is the only writer; a reader never holds the lock across an await.
#[derive(Debug, Default)]
pub struct View {
    /// What is in force.
    pub desired: Arc<Desired>,
    /// What was seen.
    pub observed: Observed,
    /// What each Deployment's last plan put off.
    pub deferred: BTreeMap<Name, Vec<Deferred>>,
    /// Since when each of those waits for that kind of thing, as far as this process has seen it; by Deployment.
    pub waiting: BTreeMap<Name, BTreeMap<(Target, &'static str), Timestamp>>,
    /// Where desired state comes from.
    pub source: SourceView,
    /// How it stands with the Repositories of a cluster.
    pub repositories: BTreeMap<Name, crds::RepositoryStatus>,
    /// How it stands with the Roles of a cluster.
    pub roles: BTreeMap<Name, crds::PlainStatus>,
    /// In a cluster, what the API server has, also where it waits to come in force: its Roles decide, so that nobody keeps a right that
    /// was taken from them. Elsewhere, who may do what is in force as everything else is.
    pub newest: Option<Arc<Desired>>,
    /// Alerts, by rule and device.
    pub alerts: Shown,
    /// Devices that a rule has no room for, by rule.
    pub beyond_limit: BTreeMap<Name, usize>,
    /// Why the engine does not act just now, if so: the store is away, a first sync is missing.
    pub not_ready: Option<String>,
    /// Another replica acts, and this one waits to take over: that is well.
    pub stands_by: bool,
    /// The shards of the fleet that this replica works for, with the number of their devices.
    pub shards: BTreeMap<u32, usize>,
    /// The shards for which devices are looked at from here while our own network is down: what fails is not held against them. 0 where there
    /// are no shards. Kept by [`View::own_network_turned`].
    pub own_network_down_for: BTreeSet<u32>,
    /// What its devices use just now; it has locks of its own, since it changes all the time.
    pub usages: Arc<Usages>,
    /// What changed of all this; it has locks of its own.
    pub feed: Arc<Feed>,
    /// What the intake of logs counted since the start: `taken`, `cut`, `mended`, and what was refused by why; how many `templates` and
    /// `strangers` are known. Empty where no logs are taken.
    pub logs: BTreeMap<&'static str, u64>,
    /// Who sent lines and is no device, or more than it may.
    pub senders: Arc<Senders>,
    /// How it stands with the journals that this replica reads.
    pub journals: BTreeMap<Name, JournalView>,
    /// How lines of logs are kept.
    pub log_keeping: LogKeeping,
    /// What was asked of us.
    pub served: crate::served::Served,
    /// How it stands with what is to be said.
    pub outbox: Outbox,
    /// Passes of the loop since the start.
    pub passes: u64,
    /// Steps under way, by id, with the instant they were started here.
    pub in_flight: usize,
}

/// How it stands with what is to be said.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    /// Tries since the start, by what came of them: `said`, `failed`, `given-up`.
    pub tries: BTreeMap<&'static str, u64>,
    /// What waits, and who could not be told.
    pub standing: store::Standing,
    /// When it was last looked into.
    pub looked_at: Option<Timestamp>,
    /// Beats of the heartbeat since the start, where there is one: `sent`, `failed`, and `withheld` where not all was well.
    pub beats: BTreeMap<&'static str, u64>,
}

/// Alerts as they are shown. A copy shares what it has in common with the original.
#[derive(Clone, Debug, Default)]
pub struct Shown(Map<(Name, Name), Arc<Instance>>);

impl Shown {
    /// All of them, by rule and device.
    pub fn iter(&self) -> impl Iterator<Item = &Instance> {
        self.0.values().map(|instance| &**instance)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.size()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The alert of a rule on a device is as it is now, or gone.
    pub fn set(&mut self, key: &(Name, Name), now: Option<&Instance>) {
        match now {
            Some(now) => self.0.insert_mut(key.clone(), Arc::new(now.clone())),
            None => drop(self.0.remove_mut(key)),
        }
    }
}

impl View {
    /// Whose Roles decide.
    pub fn governing(&self) -> &Arc<Desired> {
        self.newest.as_ref().unwrap_or(&self.desired)
    }

    /// Whether the network of whoever looks at devices here is down.
    pub fn own_network_down(&self) -> bool {
        !self.own_network_down_for.is_empty()
    }

    /// Whoever looks at the devices of this shard here says that our own network is down, or is back; or looks at them no more.
    pub fn own_network_turned(&mut self, shard: u32, is_down: bool) {
        match is_down {
            true => drop(self.own_network_down_for.insert(shard)),
            false => drop(self.own_network_down_for.remove(&shard)),
        }
    }

    /// Takes in what the newest plan of a Deployment puts off; what waited for the same before goes on waiting since then.
    pub fn put_off(&mut self, unit: &Name, deferred: Vec<Deferred>, now: Timestamp) {
        let before = self.waiting.remove(unit).unwrap_or_default();
        if deferred.is_empty() {
            self.deferred.remove(unit);
            return;
        }
        let since = deferred.iter().map(|deferred| {
            let key = (deferred.target.clone(), deferred.waiting_on.word());
            let since = before.get(&key).copied().unwrap_or(now);
            (key, since)
        });
        self.waiting.insert(unit.clone(), since.collect());
        self.deferred.insert(unit.clone(), deferred);
    }

    /// Since when it has been put off.
    pub fn waits_since(&self, deferred: &Deferred) -> Option<Timestamp> {
        self.waiting.get(&deferred.unit.rollout())?.get(&(deferred.target.clone(), deferred.waiting_on.word())).copied()
    }
}

/// Who sent lines of logs since the start and is no device, or sent more than it may.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Senders {
    /// They, those that were heard last first.
    pub senders: Vec<SenderView>,
    /// How many more there were, and are forgotten.
    pub forgotten: u64,
}

/// A sender of lines of logs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SenderView {
    /// Its address.
    pub address: String,
    /// The device of this address, if there is one: it sends too much, or should send nothing.
    pub device: Option<Name>,
    /// The hosts that its lines claim to be of; some of them.
    pub hosts: Vec<String>,
    /// Its lines that were kept apart.
    pub lines: u64,
    /// Its lines that were refused, as it sent too many at once.
    pub refused: u64,
    /// When the first of its lines came.
    pub first: Option<Timestamp>,
    /// When the newest one came.
    pub last: Option<Timestamp>,
}

/// How it stands with the journal of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JournalView {
    /// When it was last read.
    pub read_at: Option<Timestamp>,
    /// Its lines since the start.
    pub lines: u64,
    /// How often a part of it was gone before it was read.
    pub gaps: u64,
    /// Why it can't be read, or not all of it.
    pub problem: Option<String>,
}

/// How lines of logs are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LogKeeping {
    /// What they take, about.
    pub bytes: u64,
    /// What they may take.
    pub limit: u64,
    /// Lines that were removed since the start: `age`, `size`, and `room` where the disk had none; `unarchived` are those of them that should have been
    /// archived first.
    pub removed: BTreeMap<&'static str, u64>,
    /// Segments that were archived since the start.
    pub segments: u64,
    /// Their lines.
    pub archived: u64,
    /// Lines that are not archived yet; none: they are not archived at all.
    pub behind: Option<u64>,
    /// What is wrong with it, if anything.
    pub problem: Option<String>,
}

/// Where desired state comes from in a cluster, in place of a URL.
pub const KUBERNETES: &str = "kubernetes";

/// Where desired state comes from, and how that went last.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceView {
    /// URL or directory, without credentials.
    pub url: String,
    /// The commit in force.
    pub in_force: String,
    /// Its author.
    pub author: String,
    /// The key that signed it, if its signature was verified.
    pub signer: Option<String>,
    /// When the source was last asked.
    pub checked_at: Option<Timestamp>,
    /// What is wrong with the source or with a newer commit, if anything.
    pub problem: Option<String>,
    /// A commit that waits for approval.
    pub too_far: Option<TooFar>,
    /// Findings in the files of the commit in force, rendered as text, bounded.
    pub findings: Vec<String>,
}

/// The view, shared.
pub type SharedView = Arc<RwLock<View>>;

/// What a person asks of the engine.
#[derive(Debug)]
pub struct Request {
    /// What.
    pub what: Ask,
    /// Who, as the interface knows them.
    pub by: String,
    /// Gets the answer, or why it was refused.
    pub reply: oneshot::Sender<Result<Value, String>>,
}

/// The source does not take what is asked just now.
pub const BUSY: &str = "the source is busy";
/// The store takes no writes.
pub const STORE_AWAY: &str = "the store does not take writes just now, and what can't be recorded is not done";

/// How what passes by itself ends, where it is not one of these.
pub const AGAIN: &str = ": ask again";

/// Whether what was refused may be taken a moment later, as it is.
pub fn passes(error: &str) -> bool {
    [BUSY, STORE_AWAY].contains(&error) || error.ends_with(AGAIN)
}

/// What can be asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ask {
    /// Something about a rollout.
    Rollout {
        /// The Deployment.
        deployment: Name,
        /// What.
        command: Command,
    },
    /// Let a commit through that went beyond the limits.
    Admit {
        /// The id that was shown.
        id: String,
    },
    /// Say that somebody looks after an alert.
    Acknowledge {
        /// The alert, or the beginning of its name.
        id: String,
        /// What they say.
        comment: String,
        /// Until when nobody else need be told.
        until: Timestamp,
    },
    /// Take that back.
    Unacknowledge {
        /// The alert.
        id: String,
    },
    /// Look at a device and probe it now.
    Look {
        /// Which.
        device: Name,
    },
    /// Change an object where the truth is. Answers `Result<change::Answer, change::Refusal>`. It is asked in this process only, by those who
    /// have found out who asks.
    #[serde(skip)]
    Change(Box<change::Wanted>),
    /// What became of a commit. Answers `Option<change::CommitView>`.
    #[serde(skip)]
    Commit {
        /// Which.
        id: String,
    },
    /// Where an object stands in the source. Answers `Option<(String, usize)>`, its file and its line.
    #[serde(skip)]
    Origin {
        /// Which.
        key: Key,
    },
    /// Try out a Receiver.
    TryOut {
        /// Which.
        receiver: Name,
    },
    /// Ask the source now.
    Sync,
    /// What would come of a branch, tag or commit if it were in force; of what is in force, if none is named. Answers a [`Preview`].
    Preview {
        /// Which.
        reference: Option<String>,
        /// Of which Repository, in a cluster.
        repository: Option<Name>,
    },
}

/// What would come of a revision.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Preview {
    /// Which.
    pub revision: Revision,
    /// What it would do to the fleet, seen from what is in force.
    pub reach: Reach,
    /// The limits that it would break, in words, and what it would wait for.
    pub too_far: Option<String>,
    /// What is wrong with its manifests, rendered as text, bounded.
    pub findings: Vec<String>,
    /// What would come of it if all went well.
    pub outlook: Outlook,
}

/// Where requests go.
pub type Requests = mpsc::Sender<Request>;

#[cfg(test)]
mod tests {
    use reconcile::WaitingOn;

    use super::*;

    #[test]
    fn our_own_network_is_down_for_as_long_as_any_shard_says_so() {
        let mut view = View::default();
        let mut after = |shard, is_down| {
            view.own_network_turned(shard, is_down);
            view.own_network_down()
        };
        let told = [after(1, true), after(2, true), after(2, false), after(3, false), after(1, false)];
        assert_eq!(told, [true, true, true, true, false]);
    }

    #[test]
    fn what_waits_on_waits_since_it_began() {
        let unit = Name::parse("app");
        let target = Target::unit(&unit);
        let waits = |waiting_on| Deferred { unit: target.clone(), target: target.clone(), wants: "open batch 2".into(), waiting_on };
        let soak = |until: &str| waits(WaitingOn::Soak { until: until.parse().unwrap() });
        let [first, second] = ["2026-11-24T12:00:00Z", "2026-11-24T13:00:00Z"].map(|at| at.parse::<Timestamp>().unwrap());
        let mut view = View::default();
        view.put_off(&unit, vec![soak("2026-11-24T12:30:00Z")], first);
        view.put_off(&unit, vec![soak("2026-11-24T13:30:00Z")], second);
        assert_eq!(view.waits_since(&soak("2026-11-24T13:30:00Z")), Some(first));
        let other = waits(WaitingOn::Approval { id: "a".into() });
        view.put_off(&unit, vec![other.clone()], second);
        assert_eq!(view.waits_since(&other), Some(second));
        view.put_off(&unit, Vec::new(), second);
        assert!(view.deferred.is_empty() && view.waiting.is_empty());
    }
}
