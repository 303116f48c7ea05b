//! What is to be said to one receiver. Decided here, written into the outbox with the state that it follows from, delivered outside.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::name::Name;

/// Alerts that one notice may list of each sort. What people read counts the others in `left_off`; a program gets them in further notices.
pub const LISTED: usize = 100;

/// One notification to one receiver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    /// The same for every attempt to deliver it, and never given again: the idempotency key.
    pub id: String,
    /// The Receiver.
    pub receiver: Name,
    /// The same for all that is said of one group from its first firing until all of it is resolved: what a mail thread hangs on.
    pub thread: String,
    /// Why it is said now.
    pub reason: Reason,
    /// When that was decided.
    pub at: Timestamp,
    /// What the alerts have in common: their rule, and the labels that they were grouped by.
    pub group: BTreeMap<String, String>,
    /// What fires, worst first.
    pub firing: Vec<Said>,
    /// What is well again since it was last said.
    pub resolved: Vec<Said>,
    /// How many more fire, and are well again, than are listed.
    pub left_off: (u32, u32),
    /// For whom it was, where it could not be said there; such a notice goes to no third one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead: Option<Instead>,
}

/// A receiver that could not be told, so that another one is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Instead {
    /// Who should have been told.
    pub of: Name,
    /// Why it could not be. From hostile text: to be escaped for where it goes.
    pub problem: String,
}

impl Notice {
    /// The same for whom the receiver names to be told when it can't be. None for what is said instead of something already, so that two
    /// that name each other don't say it for ever, and for a trial, which is nobody's news.
    pub fn instead(&self, to: &Name, problem: &str) -> Option<Self> {
        if self.instead.is_some() || self.reason == Reason::Test || *to == self.receiver {
            return None;
        }
        Some(Self {
            id: format!("{}-instead", self.id),
            receiver: to.clone(),
            thread: format!("{}-instead", self.thread),
            instead: Some(Instead { of: self.receiver.clone(), problem: problem.to_owned() }),
            ..self.clone()
        })
    }
}

/// Why something is said now, by Alertmanager's table (`notify/dedup_stage.go`) and what goes beyond it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reason {
    /// Nothing of this group was said before.
    First,
    /// Something fires that was not said.
    NewAlerts,
    /// Something is well again, something else still fires.
    NewResolved,
    /// All is well again.
    AllResolved,
    /// It was last said `repeat` ago.
    Repeat,
    /// Nobody acknowledged it in time.
    Escalated,
    /// So much is to be said that it is said as one summary.
    Storm,
    /// Somebody tries out the receiver.
    Test,
}

/// One alert as it is said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Said {
    /// What `evenkeel alerts` calls it.
    pub id: String,
    /// The AlertRule.
    pub rule: Name,
    /// The device that it is about.
    pub device: Name,
    /// How bad it is.
    pub severity: crds::Severity,
    /// Labels: the device's, then the rule's.
    pub labels: BTreeMap<String, String>,
    /// One line for people, made from the rule's template. From hostile text: to be escaped for where it goes.
    pub summary: String,
    /// The value that the expression compared, if it compares one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// When it began to fire.
    pub since: Timestamp,
    /// When it was well again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// What was last changed on the device before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_change: Option<LastChange>,
    /// Devices behind this one that nobody can say anything about as long as it is dead.
    #[serde(default)]
    pub behind: u32,
}

/// What was last changed on a device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastChange {
    /// The Deployment.
    pub deployment: Name,
    /// Its revision: its number.
    pub revision: String,
    /// What that is in words, such as `nginx 1.24.0-1`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// The Git commit, if it came from one.
    pub commit: String,
    /// Who wrote that commit.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// When the step ended.
    pub at: Timestamp,
}
