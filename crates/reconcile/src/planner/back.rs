//! A bad revision on its way out.

use super::device::{Budget, Turn, Wanted};
use super::draft::Draft;
use super::gate;
use super::shared::Shared;
use super::unit::Unit;
use crate::name::Target;
use crate::plan::WaitingOn;
use crate::rollout::{Phase, Placement, RevisionRecord, RevisionResult, RolloutChange};

/// Takes the revision off every device that it touched; batches and windows don't apply, the budget does. `another` one is wanted
/// already: it waits for what is on its way, and not for devices that are held back by others that nobody is at work on.
pub(super) fn plan(unit: &Unit<'_>, shared: &mut Shared<'_>, draft: &mut Draft, record: &RevisionRecord, another: bool) {
    if let Some(waiting) = unit.paused() {
        return unit.defer(draft, format!("take back revision {}", record.number), waiting);
    }
    let is_over = match take(unit, shared, draft, record) {
        Turn::Over => true,
        Turn::Held => another,
        Turn::Moving => false,
    };
    if is_over {
        draft.step(unit.change(RolloutChange::RolledBack { number: record.number }, record.reason.clone()));
    }
}

/// The devices' part of it; of a stopped revision, those of the batch that failed.
pub(super) fn take(unit: &Unit<'_>, shared: &mut Shared<'_>, draft: &mut Draft, record: &RevisionRecord) -> Turn {
    let (last_batch_only, to) = match record.result {
        RevisionResult::RollingBack { last_batch_only, to } => (last_batch_only, to),
        _ => (true, None),
    };
    let last = u32::try_from(record.batches.len()).unwrap_or(u32::MAX);
    let stable = to.and_then(|number| unit.rollout.revision(number));
    let mut budget = Budget::default();
    let mut turn = Turn::Over;
    for (name, placement) in &unit.rollout.placements {
        // A step that is still under way is waited for, whatever it does.
        let touched = placement.revision == record.number && (placement.is_touched() || placement.owes_reboot().is_some());
        let concerned = touched || stable.is_some_and(|stable| is_half_way(placement, record, stable));
        let kept = last_batch_only && placement.batch != last;
        if kept || !(concerned || placement.phase.is_in_flight()) {
            continue;
        }
        let Some(device) = unit.desired.devices.get(name) else { continue };
        turn = turn.max(Wanted::new(unit, device, record).backward(shared, &mut budget, draft, stable, &record.reason));
    }
    turn
}

/// Says which devices are unwell though the revision was taken back there: the way back did not help them, or was not enough.
pub(super) fn tell_unwell(unit: &Unit<'_>, draft: &mut Draft, record: &RevisionRecord) {
    let restored = |placement: &Placement| placement.revision == record.number && placement.phase == Phase::Restored;
    for (name, placement) in unit.rollout.placements.iter().filter(|(_, placement)| restored(placement)) {
        let Some((device, seen)) = unit.desired.devices.get(name).zip(unit.observed.devices.get(name)) else { continue };
        let before = placement.from.and_then(|number| unit.rollout.revision(number)).map(|before| unit.content_for(before, name).0);
        if let Some(reason) = gate::ails_restored(before.as_deref(), device, seen, placement) {
            let wants = format!("be well without revision {}", record.number);
            draft.defer(unit.name(), Target::Device(name.clone()), wants, WaitingOn::Health { reason, until: None });
        }
    }
}

/// It was to be brought to the revision that it goes back to, and that was refused or failed.
fn is_half_way(placement: &Placement, record: &RevisionRecord, stable: &RevisionRecord) -> bool {
    placement.revision == stable.number && (placement.phase == Phase::Failed || placement.holds() == Some(record.number))
}
