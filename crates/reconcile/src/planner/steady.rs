//! Nothing is on its way: drift is corrected, and devices that were away catch up, to the newest revision only.

use super::device::{Budget, Wanted};
use super::draft::Draft;
use super::gate::{self, Gate};
use super::shared::Shared;
use super::unit::Unit;
use crate::name::{Name, Target};
use crate::observed::Contact;
use crate::plan::WaitingOn;
use crate::rollout::{ATTEMPTS, Phase, Placement, RevisionRecord, RevisionResult};

/// Holds every member at the revision in force; `None`: there is none, since the first one was taken back.
pub(super) fn plan(unit: &Unit<'_>, shared: &mut Shared<'_>, draft: &mut Draft, goal: Option<&RevisionRecord>) {
    let mut pass = Pass { closed: unit.closed(), told: unit.paused().is_some(), budget: Budget::default() };
    // Most passes change nothing: this loop costs little for a device that is as it should be.
    let plain = goal.filter(|record| !record.content.is_templated()).map(|record| record.content.matcher());
    let mut placements = unit.rollout.placements.iter().peekable();
    for name in &unit.deployment.members {
        while placements.next_if(|(other, _)| *other < name).is_some() {}
        let placement = placements.next_if(|(other, _)| *other == name).map(|(_, placement)| placement);
        if placement.is_some_and(|placement| placement.phase.is_in_flight()) {
            if let (Some(device), Some(record)) = (unit.desired.devices.get(name), unit.rollout.current()) {
                Wanted::new(unit, device, record).under_way(draft);
            }
            continue;
        }
        let seen = unit.observed.devices.get(name).map(|seen| &**seen);
        if placement.is_some_and(|placement| is_straggler(unit, goal, placement)) {
            pass.straggler(unit, shared, draft, goal, name);
            continue;
        }
        let Some(goal) = goal else { continue };
        let matches = match (&plain, seen) {
            (_, None) => None,
            (Some(matcher), Some(seen)) => matcher.matches(seen),
            (None, Some(seen)) => unit.content_for(goal, name).0.matcher().matches(seen),
        };
        let quiet = matches == Some(true)
            && placement.is_none_or(|placement| match placement.phase {
                Phase::Applied => placement.batch > 0 && placement.reboot_from.is_none(),
                phase => phase != Phase::Failed && placement.owes_reboot().is_none(),
            });
        if !quiet {
            pass.device(unit, shared, draft, goal, name, matches);
        }
    }
}

/// It still holds a revision that was taken back while it was away.
fn is_straggler(unit: &Unit<'_>, goal: Option<&RevisionRecord>, placement: &Placement) -> bool {
    (placement.is_touched() || placement.owes_reboot().is_some())
        && goal.is_none_or(|goal| placement.revision != goal.number)
        && unit.rollout.revision(placement.revision).is_some_and(|record| matches!(record.result, RevisionResult::RolledBack { .. }))
}

struct Pass {
    closed: Option<WaitingOn>,
    told: bool,
    budget: Budget,
}

impl Pass {
    fn straggler(&mut self, unit: &Unit<'_>, shared: &mut Shared<'_>, draft: &mut Draft, goal: Option<&RevisionRecord>, name: &Name) {
        let placement = unit.rollout.placements.get(name).and_then(|placement| unit.rollout.revision(placement.revision));
        if let (Some(device), Some(record)) = (unit.desired.devices.get(name), placement) {
            Wanted::new(unit, device, record).backward(shared, &mut self.budget, draft, goal, &record.reason);
        }
    }

    fn device(
        &mut self,
        unit: &Unit<'_>,
        shared: &mut Shared<'_>,
        draft: &mut Draft,
        goal: &RevisionRecord,
        name: &Name,
        matches: Option<bool>,
    ) {
        let Some(device) = unit.desired.devices.get(name) else { return };
        let wanted = Wanted::new(unit, device, goal);
        let (seen, here) = (wanted.seen, wanted.here());
        if let Some(placement) = here.filter(|placement| placement.phase == Phase::Applied) {
            if let Some(boot_id) = &placement.reboot_from {
                return wanted.reboot(shared, &mut self.budget, draft, boot_id);
            }
            if placement.batch == 0 && self.caught_up_badly(unit, shared, draft, goal, &wanted) {
                return;
            }
        }
        if here.is_some_and(|placement| placement.owes_reboot().is_some()) {
            wanted.backward(shared, &mut self.budget, draft, None, "the change failed there");
            return;
        }
        let failed = here.filter(|placement| placement.phase == Phase::Failed);
        match matches {
            // What failed half-way is not done because it looks as if it were.
            Some(true) if failed.is_some() => {}
            // A restored placement that matches is one that nothing has to be done for.
            Some(true) => return,
            Some(false) => {}
            None => {
                let away = seen.is_some_and(|seen| matches!(seen.contact, Contact::Unreachable { .. }));
                if away && here.is_none() {
                    wanted.steadily("catch up to").forward(shared, &mut self.budget, draft, true);
                }
                return;
            }
        }
        let was_applied = |placement: &Placement| placement.applied_at.is_some() && placement.reboot_from.is_none();
        let drifted = here.is_some_and(|placement| was_applied(placement) && placement.digest == unit.content_for(goal, name).1);
        // What was seen before the last step ended says nothing about what that step did.
        let settled = wanted.placement.filter(|placement| matches!(placement.phase, Phase::Applied | Phase::Restored));
        if settled.is_some_and(|placement| seen.and_then(|seen| seen.seen_at).is_none_or(|at| at <= placement.since)) {
            return;
        }
        if drifted && failed.is_none() && unit.deployment.drift != crds::Drift::Correct {
            return;
        }
        if let Some(waiting) = &self.closed {
            if !self.told {
                let wants = if drifted { "correct drift" } else { "catch up" };
                unit.defer(draft, wants, waiting.clone());
                self.told = true;
            }
            return;
        }
        let undone = failed.filter(|placement| wanted.may_return(placement));
        if undone.is_some_and(|placement| placement.restore_failures < ATTEMPTS && !drifted) {
            wanted.backward(shared, &mut self.budget, draft, None, "the change failed there");
            return;
        }
        // What is in force is in force, also where a higher version was put in by hand.
        wanted.steadily(if drifted { "bring back to" } else { "catch up to" }).forward(shared, &mut self.budget, draft, !drifted);
    }

    /// A device that caught up alone is judged alone: the revision stays, the device goes back. Returns whether there is nothing
    /// else to do on it now.
    fn caught_up_badly(
        &mut self,
        unit: &Unit<'_>,
        shared: &mut Shared<'_>,
        draft: &mut Draft,
        goal: &RevisionRecord,
        wanted: &Wanted<'_, '_>,
    ) -> bool {
        let Some(placement) = wanted.placement else { return false };
        let (content, _) = unit.content_for(goal, &wanted.device.name);
        match gate::judge(unit, &content, wanted.device, placement) {
            Gate::Waiting(waiting) => {
                draft.defer(unit.name(), Target::Device(wanted.device.name.clone()), "count as updated", waiting);
                true
            }
            Gate::Failed(reason) if wanted.may_return(placement) && unit.deployment.on_failure != crds::OnFailure::Pause => {
                wanted.backward(shared, &mut self.budget, draft, None, &reason);
                true
            }
            Gate::Passed(_) | Gate::Failed(_) | Gate::Lost(_) | Gate::Unproven(_) => false,
        }
    }
}
