//! What we would do now, in order, and what we put off, and why.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::content::{Change, Content, Digest};
use crate::name::{Name, Target};
use crate::rollout::RolloutChange;

pub(crate) mod show;

/// The Git commit (or the cluster generation) that `Desired` came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Revision {
    /// Branch or tag.
    pub reference: String,
    /// Commit id, 40 hexadecimal digits; `working-tree` plus a digest for a plain directory.
    pub commit: String,
    /// Who wrote it.
    pub author: String,
    /// The key that signed it, if its signature was verified.
    pub signer: Option<String>,
}

/// Names a plan by its content.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PlanId(pub String);

/// Names a step by what it is: the same step has the same id for ever, and runs at most once.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepId(pub String);

/// What we would do now, in order, and what we put off, and why. Immutable, serializable, comparable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Digest of `steps` and the revision: the same plan has the same id.
    pub id: PlanId,
    /// What it serves.
    pub revision: Revision,
    /// What to do, in order; steps on different targets may run at once.
    pub steps: Vec<Step>,
    /// What is put off.
    pub deferred: Vec<Deferred>,
    /// The earliest instant at which time alone could change the plan.
    pub look_again: Option<Timestamp>,
}

/// One idempotent action on one target, with the state that it expects to find.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Fence: what runs on the device runs under this id, once.
    pub id: StepId,
    /// What it serves: a Deployment, a Role with its login, or a Repository.
    pub unit: Target,
    /// What it changes.
    pub target: Target,
    /// What it does.
    pub action: Action,
    /// Version of the unit's rollout that the plan was made from; another one refuses the record.
    pub expects_version: u64,
    /// Digest of the target's items as they were seen; another state refuses the act. `None`: any state will do.
    pub expects: Option<Digest>,
    /// What will look different.
    pub changes: Vec<Change>,
    /// Why.
    pub reason: String,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// Prove the way back and fetch what is needed; disturbs nothing.
    Prepare(Work),
    /// Bring the content onto the device.
    Apply(Work),
    /// Bring back the state that the apply step saved.
    Restore {
        /// What is being taken back.
        work: Work,
        /// The apply step that saved it.
        undo: StepId,
    },
    /// Reboot, and prove it by another boot id.
    Reboot {
        /// What it belongs to.
        work: Work,
        /// The boot id that must change.
        boot_id: String,
    },
    /// Take the content off a device that left the selector.
    Remove(Work),
    /// Change the rollout's state; done by the store as it records the plan.
    Rollout(RolloutChange),
    /// Put another commit in force.
    Admit {
        /// Which.
        commit: String,
    },
}

/// What an actor needs to know to work on a device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Work {
    /// The Deployment.
    pub deployment: Name,
    /// Its revision.
    pub revision: u32,
    /// Digest of `content`.
    pub digest: Digest,
    /// What belongs on this device.
    pub content: Arc<Content>,
    /// The batch, counted from 1; 0 outside of batches.
    pub batch: u32,
    /// Tries at this revision on this device, from 1.
    pub attempt: u32,
    /// Lower versions are meant.
    pub revert: bool,
    /// The device was well when this was planned.
    pub healthy_before: bool,
    /// The revision that is there now.
    pub from: Option<u32>,
    /// Time limit in seconds, from the strategy's deadline.
    pub deadline_seconds: i64,
}

/// A wanted change that the plan leaves out for now, with the reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deferred {
    /// What wants it: a Deployment, a Role with its login, or a Repository.
    pub unit: Target,
    /// What would change.
    pub target: Target,
    /// What is wanted, in a few words.
    pub wants: String,
    /// Why not now.
    pub waiting_on: WaitingOn,
}

/// Why a wanted change is left out for now, and by implication who can clear it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WaitingOn {
    /// The device can't be reached, or was never seen.
    Unreachable {
        /// Since when.
        since: Option<Timestamp>,
        /// Why.
        reason: String,
    },
    /// Too many devices of its group are out.
    Budget {
        /// The group, such as `site=ams1`; empty: all.
        group: String,
        /// May be out.
        limit: usize,
        /// Are out, up to five of them.
        out: Vec<Name>,
    },
    /// Outside of the Deployment's windows.
    Window {
        /// When the next one opens.
        opens: Option<Timestamp>,
    },
    /// A person has to agree.
    Approval {
        /// To this.
        id: String,
    },
    /// The batch is being watched.
    Soak {
        /// Until then.
        until: Timestamp,
    },
    /// Something isn't well, or not known to be.
    Health {
        /// What.
        reason: String,
        /// When patience ends.
        until: Option<Timestamp>,
    },
    /// An alert is firing.
    Alert {
        /// Which.
        name: String,
        /// When patience ends.
        until: Option<Timestamp>,
    },
    /// Something else has to be done first.
    Dependency {
        /// What.
        on: Target,
    },
    /// Another step holds the device.
    Lock {
        /// Which.
        step: StepId,
        /// For whom.
        holder: Name,
    },
    /// People work on the device.
    Maintenance {
        /// Until then.
        until: Option<Timestamp>,
        /// Why.
        reason: String,
    },
    /// The old state could not be restored.
    NoWayBack {
        /// Why.
        reason: String,
    },
    /// Somebody said stop.
    Suspended {
        /// Who or what.
        by: String,
    },
}

impl WaitingOn {
    /// The bare word, as in the type: for labels and columns.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "Unreachable",
            Self::Budget { .. } => "Budget",
            Self::Window { .. } => "Window",
            Self::Approval { .. } => "Approval",
            Self::Soak { .. } => "Soak",
            Self::Health { .. } => "Health",
            Self::Alert { .. } => "Alert",
            Self::Dependency { .. } => "Dependency",
            Self::Lock { .. } => "Lock",
            Self::Maintenance { .. } => "Maintenance",
            Self::NoWayBack { .. } => "NoWayBack",
            Self::Suspended { .. } => "Suspended",
        }
    }
}

impl Action {
    /// The verb.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Prepare(_) => "prepare",
            Self::Apply(_) => "apply",
            Self::Restore { .. } => "restore",
            Self::Reboot { .. } => "reboot",
            Self::Remove(_) => "remove",
            Self::Rollout(change) => change.word(),
            Self::Admit { .. } => "admit",
        }
    }

    /// What an actor works with; `None` where the store does the step itself.
    pub fn work(&self) -> Option<&Work> {
        match self {
            Self::Prepare(work) | Self::Apply(work) | Self::Remove(work) => Some(work),
            Self::Restore { work, .. } | Self::Reboot { work, .. } => Some(work),
            Self::Rollout(_) | Self::Admit { .. } => None,
        }
    }
}

impl RolloutChange {
    /// The verb.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Start { .. } => "start",
            Self::OpenBatch { .. } => "open-batch",
            Self::Complete { .. } => "complete",
            Self::RollBack { .. } => "roll-back",
            Self::RolledBack { .. } => "rolled-back",
            Self::Stop { .. } => "stop",
            Self::Pause { .. } => "pause",
            Self::Resume { .. } => "resume",
            Self::Approve { .. } => "approve",
            Self::Forget { .. } => "forget",
            Self::Delete(_) => "delete",
            Self::Recreate => "recreate",
            Self::End => "end",
        }
    }
}

impl StepId {
    /// The id of the step that does `word` with `content` on `target`, planned from `version` of the unit's rollout. Recording a step
    /// leaves that version for ever, so a recorded id never comes back; where an old copy of the store is put back, at least no other
    /// content is taken for done.
    pub fn of(unit: &Target, target: &Target, word: &str, version: u64, content: &str) -> Self {
        let text = format!("{unit}|{target}|{word}|{version}|{content}");
        Self(Digest::of(text.as_bytes()).as_str()[..16].to_owned())
    }
}

impl PlanId {
    /// The id of a plan with these steps.
    pub fn of(revision: &Revision, steps: &[Step]) -> Self {
        Self(Digest::of_json(&(&revision.commit, steps)).as_str()[..12].to_owned())
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for PlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
