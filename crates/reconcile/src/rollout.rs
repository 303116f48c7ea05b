//! What is remembered of a Deployment's rollouts between passes, and the only ways in which it changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::content::{Content, Digest};
use crate::deletion::Deletion;
use crate::name::Name;
use crate::plan::StepId;

mod apply;

/// What the store remembers of one Deployment's rollouts.
///
/// It changes only by a recorded [`RolloutChange`] ([`Rollout::apply`]), by a recorded step being started
/// ([`Rollout::begin`]) and by that step's outcome ([`Rollout::settle`]).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Rollout {
    /// Revisions, oldest first; numbers rise by one and are never used again.
    pub history: Vec<RevisionRecord>,
    /// What was done on each device, by device.
    pub placements: BTreeMap<Name, Placement>,
    /// A person said stop.
    pub paused: Option<Pause>,
    /// The approval that was given and not used up: what waits is one thing at a time.
    pub approvals: BTreeSet<String>,
    /// It was deleted in Git, and this is left to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion: Option<Box<Deletion>>,
    /// The highest number that a revision had before the history was cleared; 0: it never was. Numbers and steps are never used again:
    /// devices remember them.
    pub numbered: u32,
    /// Counts changes; a plan made from another version is refused.
    pub version: u64,
}

/// Nothing is remembered of a Deployment that was never rolled out.
pub(crate) static NEVER: LazyLock<Rollout> = LazyLock::new(Rollout::default);

/// A person said stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pause {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// One revision of a Deployment's content and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionRecord {
    /// Rises by one.
    pub number: u32,
    /// Digest of `content`.
    pub digest: Digest,
    /// What it puts on devices, templates unrendered.
    pub content: Arc<Content>,
    /// The commit that asked for it.
    pub commit: String,
    /// Who wrote that commit.
    #[serde(default)]
    pub author: String,
    /// The key that signed it, if its signature was verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it came to its end, whichever.
    #[serde(default)]
    pub finished_at: Option<Timestamp>,
    /// What became of it.
    pub result: RevisionResult,
    /// Why, where that needs a word.
    #[serde(default)]
    pub reason: String,
    /// Who asked to take it back; `None` where it failed, and nobody had to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undone_by: Option<String>,
    /// Opened batches; the last is the current one. Empty: none is open yet.
    #[serde(default)]
    pub batches: Vec<Batch>,
    /// Goes everywhere in one batch: it returns to what was complete before.
    #[serde(default)]
    pub revert: bool,
}

/// One opened batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Batch {
    /// Its members; `None` for the last one, which takes everything that is left.
    pub devices: Option<Vec<Name>>,
    /// When it was opened.
    pub opened_at: Timestamp,
}

/// What became of a revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RevisionResult {
    /// Being rolled out.
    Progressing,
    /// On every device that could be reached.
    Complete,
    /// Being taken back.
    RollingBack {
        /// Only from the devices of the batch that failed; the others keep it.
        last_batch_only: bool,
        /// Back to this revision; `None`: to what was there before.
        to: Option<u32>,
    },
    /// Taken back; not tried again until Git changes.
    RolledBack {
        /// The revision that is in force instead; `None`: what was there before.
        to: Option<u32>,
    },
    /// Stopped by a failure, left as it is until a person says.
    Stopped,
    /// Another one came before it was complete.
    Superseded,
}

/// What was done on one device for one Deployment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// The revision it was done for.
    pub revision: u32,
    /// Digest of the content for this device.
    pub digest: Digest,
    /// The batch, counted from 1; 0 where it was done outside of batches.
    #[serde(default)]
    pub batch: u32,
    /// Where it stands.
    pub phase: Phase,
    /// When it came there.
    pub since: Timestamp,
    /// The last step, in flight or settled.
    pub step: StepId,
    /// Tries at this revision on this device, from 1.
    #[serde(default = "one")]
    pub attempt: u32,
    /// When the content was last applied.
    #[serde(default)]
    pub applied_at: Option<Timestamp>,
    /// It was well before it was touched.
    #[serde(default)]
    pub healthy_before: bool,
    /// Whether the old state can be restored.
    #[serde(default)]
    pub way_back: WayBackSeen,
    /// The apply step whose saved state is the way back.
    #[serde(default)]
    pub undo: Option<StepId>,
    /// The revision that was there before.
    #[serde(default)]
    pub from: Option<u32>,
    /// What went wrong, in the device's own words; where it was taken back, why.
    #[serde(default)]
    pub failure: String,
    /// Failed attempts to take it back, or to reboot after that.
    #[serde(default)]
    pub restore_failures: u32,
    /// A reboot is still owed, with the boot id it must differ from.
    #[serde(default)]
    pub reboot_from: Option<String>,
}

fn one() -> u32 {
    1
}

/// Where a device stands within a Deployment's revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// The way back is being proven.
    Preparing,
    /// Ready to be changed.
    Prepared,
    /// Being changed.
    Applying,
    /// Changed.
    Applied,
    /// Rebooting, as part of the change or of taking it back.
    Rebooting,
    /// The last step failed; what it left behind is not known.
    Failed,
    /// Being taken back.
    Restoring,
    /// Taken back.
    Restored,
    /// Being removed, since the device left the selector.
    Removing,
}

impl Placement {
    /// The device holds something of this revision, or may.
    pub fn is_touched(&self) -> bool {
        (self.phase.is_touched() && !self.is_rebooting_back()) || self.undo.is_some()
    }

    /// It was taken back, and reboots so that what was restored is in force.
    pub fn is_rebooting_back(&self) -> bool {
        self.phase == Phase::Rebooting && self.applied_at.is_none()
    }

    /// It was taken back, and what was restored is in force only after a reboot: the boot id that it must differ from.
    pub fn owes_reboot(&self) -> Option<&str> {
        self.reboot_from.as_deref().filter(|_| self.phase == Phase::Restored)
    }

    /// The revision that the device holds, as far as our steps go.
    pub fn holds(&self) -> Option<u32> {
        if self.is_touched() { Some(self.revision) } else { self.from }
    }

    /// It was tried often enough: a person has to look.
    pub fn is_given_up(&self) -> bool {
        self.phase != Phase::Prepared && !self.failure.is_empty() && (self.attempt >= ATTEMPTS || self.restore_failures >= ATTEMPTS)
    }
}

/// Tries at one revision on one device before a person has to look.
pub const ATTEMPTS: u32 = 5;

impl Phase {
    /// A step is running on the device, or will when it is claimed.
    pub fn is_in_flight(self) -> bool {
        matches!(self, Self::Preparing | Self::Applying | Self::Rebooting | Self::Restoring | Self::Removing)
    }

    /// A step that may take the device out is running.
    pub fn is_disturbing(self) -> bool {
        self.is_in_flight() && self != Self::Preparing
    }

    /// The device holds something of this revision, or may.
    pub fn is_touched(self) -> bool {
        matches!(self, Self::Applying | Self::Applied | Self::Rebooting | Self::Failed | Self::Restoring)
    }
}

/// Whether the old state can be restored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WayBackSeen {
    /// Not looked at.
    #[default]
    Unknown,
    /// Everything that is needed lies on the device, checked.
    Proven,
    /// It can't be restored.
    Missing(String),
}

/// A change of a rollout's state, as a step of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RolloutChange {
    /// Another content is wanted: a new revision begins.
    Start {
        /// Its number.
        number: u32,
        /// Its content, templates unrendered.
        content: Arc<Content>,
        /// Digest of that.
        digest: Digest,
        /// The commit that asked for it.
        commit: String,
        /// Who wrote that commit.
        author: String,
        /// The key that signed it, if its signature was verified.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signer: Option<String>,
        /// Goes everywhere in one batch.
        revert: bool,
        /// Revisions kept.
        history_limit: usize,
    },
    /// The next batch may begin.
    OpenBatch {
        /// The revision.
        number: u32,
        /// The batch, counted from 1.
        batch: u32,
        /// Its members; `None`: everything that is left.
        devices: Option<Vec<Name>>,
        /// The approval that this uses up.
        approval: Option<String>,
    },
    /// The revision is where it should be.
    Complete {
        /// The revision.
        number: u32,
        /// Devices that had the content without a step of ours, with its digest there.
        adopted: Vec<(Name, Digest)>,
    },
    /// The revision is bad: take it back.
    RollBack {
        /// The revision.
        number: u32,
        /// Only from the devices of the current batch.
        last_batch_only: bool,
        /// Back to this revision; `None`: to what was there before.
        to: Option<u32>,
        /// Why.
        reason: String,
        /// Who asked for it; `None`: it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// Taken back everywhere that could be reached.
    RolledBack {
        /// The revision.
        number: u32,
    },
    /// Leave everything as it is.
    Stop {
        /// The revision.
        number: u32,
        /// Why.
        reason: String,
    },
    /// A person said stop.
    Pause {
        /// Who.
        by: String,
    },
    /// A person said go on; a stopped revision is tried again.
    Resume {
        /// Who.
        by: String,
    },
    /// A person agreed.
    Approve {
        /// To what.
        approval: String,
        /// Who.
        by: String,
    },
    /// A device is no member any more, and nothing of ours is left to undo on it.
    Forget {
        /// Which.
        device: Name,
    },
    /// Git does not have the Deployment any more.
    Delete(Box<Deletion>),
    /// Git has it again, before everything of it was gone.
    Recreate,
    /// It was deleted, and nothing is left to do: it is forgotten, but for its numbers.
    End,
}

impl Rollout {
    /// There is something that its end would have to clear away.
    pub fn is_remembered(&self) -> bool {
        !self.history.is_empty() || !self.placements.is_empty()
    }

    /// The newest revision.
    pub fn current(&self) -> Option<&RevisionRecord> {
        self.history.last()
    }

    /// The revision that devices are held to, or are being brought to. `None`: none yet, or the first one was taken back.
    pub fn in_force(&self) -> Option<&RevisionRecord> {
        let current = self.current()?;
        match current.result {
            RevisionResult::RolledBack { to } | RevisionResult::RollingBack { to, .. } => to.and_then(|number| self.revision(number)),
            _ => Some(current),
        }
    }

    /// A revision of the history by its number.
    pub fn revision(&self, number: u32) -> Option<&RevisionRecord> {
        self.history.iter().rev().find(|record| record.number == number)
    }

    /// The newest revision before `number` that was complete: where a rollback leads.
    pub fn stable_before(&self, number: u32) -> Option<&RevisionRecord> {
        self.history.iter().rev().find(|record| record.number < number && record.result == RevisionResult::Complete)
    }
}
