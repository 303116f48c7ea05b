//! A plan in the making.

use jiff::Timestamp;

use crate::name::{Name, Target};
use crate::plan::{Deferred, Plan, PlanId, Revision, Step, WaitingOn};

/// A plan in the making.
pub(super) struct Draft {
    now: Timestamp,
    steps: Vec<Step>,
    deferred: Vec<Deferred>,
    look_again: Option<Timestamp>,
}

impl Draft {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { now, steps: Vec::new(), deferred: Vec::new(), look_again: None }
    }

    pub(super) fn step(&mut self, step: Step) {
        self.steps.push(step);
    }

    /// Puts something off; the instants that the reason names are when to look again.
    pub(super) fn defer(&mut self, unit: &Name, target: Target, wants: impl Into<String>, waiting_on: WaitingOn) {
        match &waiting_on {
            WaitingOn::Soak { until } => self.look_at(Some(*until)),
            WaitingOn::Window { opens: at }
            | WaitingOn::Health { until: at, .. }
            | WaitingOn::Alert { until: at, .. }
            | WaitingOn::Maintenance { until: at, .. } => self.look_at(*at),
            _ => {}
        }
        self.deferred.push(Deferred { unit: Target::unit(unit), target, wants: wants.into(), waiting_on });
    }

    /// Time alone could change the plan at that instant.
    pub(super) fn look_at(&mut self, at: Option<Timestamp>) {
        if let Some(at) = at.filter(|at| *at > self.now) {
            self.look_again = Some(self.look_again.map_or(at, |earlier| earlier.min(at)));
        }
    }

    pub(super) fn finish(self, revision: &Revision) -> Plan {
        Plan {
            id: PlanId::of(revision, &self.steps),
            revision: revision.clone(),
            steps: self.steps,
            deferred: self.deferred,
            look_again: self.look_again,
        }
    }
}
