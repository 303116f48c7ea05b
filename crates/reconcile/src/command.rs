//! What a person asks of a rollout. Every command becomes a plan of one step, recorded like any other.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::desired::Desired;
use crate::name::{Name, Target};
use crate::observed::Observed;
use crate::plan::{Deferred, Plan, PlanId, Step, WaitingOn};
use crate::rollout::{Placement, RevisionResult, Rollout, RolloutChange};

/// What a person asks of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Command {
    /// Begin nothing new.
    Pause,
    /// Go on; a stopped revision is tried again, and so are devices that were given up.
    Resume,
    /// Agree to what waits for it.
    Approve {
        /// The id that was shown.
        id: String,
    },
    /// Go back, and stay there until Git changes.
    Undo {
        /// To this revision; `None`: the last one that was complete.
        to: Option<u32>,
    },
}

impl Command {
    /// The word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Pause => "the pause",
            Self::Resume => "the resumption",
            Self::Approve { .. } => "the approval",
            Self::Undo { .. } => "the undoing",
        }
    }
}

/// Why a command was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no such Deployment, or no such login.
    #[error("{} does not exist, or has never been rolled out", Target::unit(.0))]
    Unknown(Name),
    /// There is nothing that the command could change.
    #[error("{0}")]
    Nothing(String),
}

/// Plans what a person asks for. `waiting` is what the last plan put off: only what waits can be approved.
pub fn plan(desired: &Desired, observed: &Observed, unit: &Name, command: &Command, by: &str, waiting: &[Deferred]) -> Result<Plan, Error> {
    let rollout = observed.rollouts.get(unit).filter(|rollout| rollout.is_remembered()).ok_or_else(|| Error::Unknown(unit.clone()))?;
    let by = by.to_owned();
    let change = match command {
        Command::Pause if rollout.paused.is_some() => return Err(Error::Nothing("it is paused already".into())),
        Command::Pause => RolloutChange::Pause { by: by.clone() },
        Command::Resume => resume(rollout, by.clone())?,
        Command::Approve { id } => approve(unit, waiting, id, by.clone())?,
        Command::Undo { to } => undo(rollout, *to, &by)?,
    };
    let step = Step::rollout(unit, rollout.version, change, format!("asked by {by}"));
    let id = PlanId::of(&desired.revision, std::slice::from_ref(&step));
    Ok(Plan { id, revision: desired.revision.clone(), steps: vec![step], deferred: Vec::new(), look_again: None::<Timestamp> })
}

fn resume(rollout: &Rollout, by: String) -> Result<RolloutChange, Error> {
    let stopped = rollout.current().is_some_and(|record| record.result == RevisionResult::Stopped);
    let given_up = rollout.placements.values().any(Placement::is_given_up);
    if rollout.paused.is_none() && !stopped && !given_up {
        let was_taken_back = rollout.current().is_some_and(|record| matches!(record.result, RevisionResult::RolledBack { .. }));
        return Err(Error::Nothing(match was_taken_back {
            true => "its revision was taken back, and only a new commit brings something else".into(),
            false => "it is not paused (a pause in Git is taken back in Git)".into(),
        }));
    }
    Ok(RolloutChange::Resume { by })
}

fn approve(unit: &Name, waiting: &[Deferred], id: &str, by: String) -> Result<RolloutChange, Error> {
    let target = Target::unit(unit);
    let ids = || {
        waiting.iter().filter(|deferred| deferred.unit == target).filter_map(|deferred| match &deferred.waiting_on {
            WaitingOn::Approval { id } => Some(id.as_str()),
            _ => None,
        })
    };
    if ids().any(|waits| waits == id) {
        return Ok(RolloutChange::Approve { approval: id.to_owned(), by });
    }
    Err(Error::Nothing(match ids().next() {
        Some(other) => format!("{id} does not wait for approval; {other} does"),
        None => "nothing of it waits for approval".into(),
    }))
}

fn undo(rollout: &Rollout, to: Option<u32>, by: &str) -> Result<RolloutChange, Error> {
    if let Some(deletion) = &rollout.deletion {
        let help = "a commit that has it again brings it back, and rollout pause holds up what is left to do";
        return Err(Error::Nothing(format!("it was deleted by commit {}: {help}", deletion.commit)));
    }
    let current = rollout.current().ok_or_else(|| Error::Nothing("it has no revisions yet".into()))?;
    if matches!(current.result, RevisionResult::RollingBack { .. }) {
        return Err(Error::Nothing(format!("revision {} is being taken back already", current.number)));
    }
    let target = match to {
        Some(number) => rollout.revision(number).ok_or_else(|| {
            let kept = rollout.history.iter().map(|record| record.number.to_string()).collect::<Vec<_>>().join(", ");
            Error::Nothing(format!("revision {number} is not in the history, which has {kept}"))
        })?,
        None => rollout
            .stable_before(current.number)
            .ok_or_else(|| Error::Nothing(format!("no revision before {} was complete", current.number)))?,
    };
    if rollout.in_force().is_none_or(|record| record.number != current.number) && target.number == current.number {
        return Err(Error::Nothing(format!("revision {} was taken back: a new commit brings it again", target.number)));
    }
    if rollout.in_force().is_some_and(|record| record.number == target.number) {
        return Err(Error::Nothing(format!("revision {} is in force", target.number)));
    }
    if target.result != RevisionResult::Complete {
        let help = "spec.rollbackTo takes it through its batches";
        return Err(Error::Nothing(format!("revision {} was never complete: {help}", target.number)));
    }
    Ok(RolloutChange::RollBack {
        number: current.number,
        last_batch_only: false,
        to: Some(target.number),
        reason: format!("undone by {by}"),
        by: Some(by.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    /// What a person is told to do about a device that was tried in vain has to be possible.
    #[test]
    fn a_device_that_was_given_up_can_be_tried_again() {
        let resume = |attempt: u32| {
            let placement = json!({"revision": 1, "digest": "d1", "phase": "failed", "since": "2026-11-24T12:00:00Z", "step": "s1",
                "attempt": attempt, "failure": "disk full"});
            let rollout: Rollout = serde_json::from_value(json!({"placements": {"default/web": placement}, "version": 7})).unwrap();
            let unit = Name::parse("app");
            let observed = Observed { rollouts: [(unit.clone(), Arc::new(rollout))].into(), ..Observed::default() };
            plan(&Desired::default(), &observed, &unit, &Command::Resume, "bob", &[])
        };
        assert_eq!(resume(5).unwrap().steps.len(), 1);
        assert!(matches!(resume(4), Err(Error::Nothing(_))), "it is tried again by itself");
    }

    /// Of one that was deleted only its numbers are left, and nobody can ask anything of those.
    #[test]
    fn what_was_deleted_can_be_asked_for_nothing() {
        let unit = Name::parse("app");
        let ended = Rollout { numbered: 3, version: 17, ..Rollout::default() };
        let observed = Observed { rollouts: [(unit.clone(), Arc::new(ended))].into(), ..Observed::default() };
        let refused = plan(&Desired::default(), &observed, &unit, &Command::Pause, "bob", &[]);
        assert_eq!(refused, Err(Error::Unknown(unit)));
    }
}
