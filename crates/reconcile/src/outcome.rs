//! What happened to each step.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::rollout::WayBackSeen;

/// What happened to one step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// How it ended.
    pub verdict: Verdict,
    /// When.
    pub at: Timestamp,
    /// What a person should read: the device's own words, bounded, secrets masked.
    pub message: String,
    /// What a prepare step found out.
    pub way_back: WayBackSeen,
    /// Another boot is needed before what was applied, or restored, is in force, with the boot id that must change.
    pub reboot_from: Option<String>,
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// It did what it said.
    Done,
    /// It failed, and may have changed something.
    Failed,
    /// It never began: the device was not as expected, or could not be reached. Nothing was changed.
    Refused,
}

impl Outcome {
    /// It did what it said.
    pub fn done(at: Timestamp, message: impl Into<String>) -> Self {
        Self { verdict: Verdict::Done, at, message: message.into(), way_back: WayBackSeen::Unknown, reboot_from: None }
    }

    /// It failed.
    pub fn failed(at: Timestamp, message: impl Into<String>) -> Self {
        Self { verdict: Verdict::Failed, ..Self::done(at, message) }
    }

    /// It never began.
    pub fn refused(at: Timestamp, message: impl Into<String>) -> Self {
        Self { verdict: Verdict::Refused, ..Self::done(at, message) }
    }
}
