//! A bad revision on its way out.

use super::device::{Budget, Wanted};
use super::draft::Draft;
use super::shared::Shared;
use super::unit::Unit;
use crate::rollout::{RevisionRecord, RevisionResult, RolloutChange};

/// Takes the revision off every device that it touched; batches and windows don't apply, the budget does.
pub(super) fn plan(unit: &Unit<'_>, shared: &mut Shared<'_>, draft: &mut Draft, record: &RevisionRecord) {
    if let Some(waiting) = unit.paused() {
        return unit.defer(draft, format!("take back revision {}", record.number), waiting);
    }
    if !take(unit, shared, draft, record) {
        draft.step(unit.change(RolloutChange::RolledBack { number: record.number }, record.reason.clone()));
    }
}

/// The devices' part of it; of a stopped revision, those of the batch that failed. Returns whether some are still to be waited for.
pub(super) fn take(unit: &Unit<'_>, shared: &mut Shared<'_>, draft: &mut Draft, record: &RevisionRecord) -> bool {
    let (last_batch_only, to) = match record.result {
        RevisionResult::RollingBack { last_batch_only, to } => (last_batch_only, to),
        _ => (true, None),
    };
    let last = u32::try_from(record.batches.len()).unwrap_or(u32::MAX);
    let stable = to.and_then(|number| unit.rollout.revision(number));
    let mut budget = Budget::default();
    let mut pending = false;
    for (name, placement) in &unit.rollout.placements {
        // A step that is still under way is waited for, whatever it does.
        let concerned = placement.revision == record.number && placement.is_touched();
        let kept = last_batch_only && placement.batch != last;
        if kept || !(concerned || placement.phase.is_in_flight()) {
            continue;
        }
        let Some(device) = unit.desired.devices.get(name) else { continue };
        pending |= Wanted::new(unit, device, record).backward(shared, &mut budget, draft, stable, &record.reason);
    }
    pending
}
