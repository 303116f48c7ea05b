//! A bad revision on its way out.

use super::device::{Budget, Wanted};
use super::draft::Draft;
use super::shared::Shared;
use super::unit::Unit;
use crate::plan::WaitingOn;
use crate::rollout::{RevisionRecord, RolloutChange};

/// Takes the revision off every device that it touched; batches and windows don't apply, the budget does.
pub(super) fn plan(
    unit: &Unit<'_>,
    shared: &mut Shared<'_>,
    draft: &mut Draft,
    record: &RevisionRecord,
    last_batch_only: bool,
    to: Option<u32>,
) {
    if let Some(pause) = &unit.rollout.paused {
        return unit.defer(draft, format!("take back revision {}", record.number), WaitingOn::Suspended { by: pause.by.clone() });
    }
    let last = u32::try_from(record.batches.len()).unwrap_or(u32::MAX);
    let stable = to.and_then(|number| unit.rollout.revision(number));
    let mut budget = Budget::default();
    let mut pending = false;
    for (name, placement) in &unit.rollout.placements {
        // A step of this revision that is still under way is waited for, whatever it does.
        let concerned = placement.revision == record.number && (placement.phase.is_touched() || placement.phase.is_in_flight());
        let kept = last_batch_only && placement.batch != last;
        if kept || !(concerned || placement.phase.is_in_flight()) {
            continue;
        }
        let Some(device) = unit.desired.devices.get(name) else { continue };
        pending |= Wanted::new(unit, device, record).backward(shared, &mut budget, draft, stable);
    }
    if !pending {
        let reason = record.reason.clone();
        draft.step(unit.change(RolloutChange::RolledBack { number: record.number }, reason));
    }
}
