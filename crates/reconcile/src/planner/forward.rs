//! A revision on its way: the next safe part of the current batch, or the next batch, or the verdict.

use std::collections::BTreeSet;

use super::device::{Budget, Turn, Wanted};
use super::draft::Draft;
use super::shared::Shared;
use super::survey::{self, Standing, Survey, count};
use super::unit::Unit;
use crate::content::Digest;
use crate::desired::Share;
use crate::name::{Name, Target};
use crate::observed::Health;
use crate::plan::WaitingOn;
use crate::rollout::{RevisionRecord, RolloutChange};

pub(super) fn plan(unit: &Unit<'_>, shared: &mut Shared<'_>, draft: &mut Draft, record: &RevisionRecord) {
    let survey = Survey::of(unit, record);
    // What fails on one device must not keep the others from losing a key: only the first one says something of a login.
    let goes_on = unit.name().role().is_some() && record.batches.len() > 1;
    if let Some((device, reason)) = survey.failure().filter(|_| !goes_on) {
        return fail(unit, draft, record, device, &reason);
    }
    if walk(&survey, unit, shared, draft, record) {
        return;
    }
    if let Some((device, reason)) = survey.unproven().filter(|_| !goes_on) {
        return fail(unit, draft, record, device, &reason);
    }
    let next = if survey.rest.is_empty() { "complete".to_owned() } else { format!("open batch {}", record.batches.len() + 1) };
    if let Some(until) = survey.soaking_until(unit) {
        return unit.defer(draft, next, WaitingOn::Soak { until });
    }
    if survey.unseen > 0 {
        let reason = format!("{} not looked at yet", count(survey.unseen, "device"));
        return unit.defer(draft, next, WaitingOn::Health { reason, until: None });
    }
    if !survey.rest.is_empty() {
        return open(unit, shared, draft, record, survey);
    }
    if survey.settled == 0 && !survey.away.is_empty() {
        // On nobody is not complete: those who come back would get it without a first batch.
        let mut budget = Budget::default();
        let walked: BTreeSet<&Name> = survey.batch.iter().map(|(name, ..)| *name).collect();
        let others = survey.away.iter().filter(|name| !walked.contains(*name));
        for device in others.filter_map(|name| unit.desired.devices.get(*name)) {
            Wanted::new(unit, device, record).forward(shared, &mut budget, draft, true);
        }
        return;
    }
    let verdict = survey.verdict();
    draft.step(unit.change(RolloutChange::Complete { number: record.number, adopted: survey.adopted }, verdict));
}

/// Goes on with the opened batches. Returns whether there is something in them to wait for.
fn walk(survey: &Survey<'_>, unit: &Unit<'_>, shared: &mut Shared<'_>, draft: &mut Draft, record: &RevisionRecord) -> bool {
    let closed = unit.closed();
    let mut budget = Budget::default();
    let mut busy = false;
    let mut told = false;
    // Of those that the budget counts as out, some can be brought this revision: they must not wait for those that wait for them.
    let could_free = survey.rest.iter().any(|name| shared.is_out(name));
    for (name, batch, standing) in &survey.batch {
        let Some(device) = unit.desired.devices.get(*name) else { continue };
        let wanted = Wanted::new(unit, device, record).in_batch(*batch);
        let mut turn = Turn::Moving;
        match standing {
            Standing::Todo | Standing::Reboot(_) if closed.is_some() => {
                if let (false, Some(waiting)) = (told, closed.clone()) {
                    unit.defer(draft, format!("go on with batch {batch}"), waiting);
                    told = true;
                }
            }
            Standing::Todo | Standing::Away => {
                draft.look_at(wanted.here().and_then(|placement| survey::set_aside_at(unit, record, placement)));
                turn = wanted.forward(shared, &mut budget, draft, true);
            }
            Standing::Reboot(boot_id) => wanted.reboot(shared, &mut budget, draft, boot_id),
            Standing::Waiting(waiting) => {
                draft.defer(unit.name(), Target::Device((*name).clone()), "count as updated", waiting.clone());
            }
            Standing::Unseen => {
                let waiting = WaitingOn::Health { reason: "not looked at yet".into(), until: None };
                draft.defer(unit.name(), Target::Device((*name).clone()), format!("update to revision {}", record.number), waiting);
            }
            Standing::InFlight => wanted.under_way(draft),
            Standing::Settled(_) | Standing::Lost(_) | Standing::Unproven(_) | Standing::Failed(_) => {}
        }
        let is_held_for_them = turn == Turn::Held && could_free;
        busy |= !is_held_for_them && !matches!(standing, Standing::Away | Standing::Failed(_));
    }
    busy
}

fn fail(unit: &Unit<'_>, draft: &mut Draft, record: &RevisionRecord, device: &Name, reason: &str) {
    let reason = format!("{device}: {reason}");
    if let Some(waiting) = unit.paused() {
        return unit.defer(draft, format!("act on a failure ({reason})"), waiting);
    }
    let change = match unit.deployment.on_failure {
        crds::OnFailure::Pause => RolloutChange::Stop { number: record.number, reason: reason.clone() },
        crds::OnFailure::Rollback | crds::OnFailure::RollbackBatch => RolloutChange::RollBack {
            number: record.number,
            last_batch_only: unit.deployment.on_failure == crds::OnFailure::RollbackBatch,
            to: unit.rollout.stable_before(record.number).map(|stable| stable.number),
            reason: reason.clone(),
            by: None,
        },
    };
    draft.step(unit.change(change, reason));
}

/// Opens the next batch, if everybody agrees.
fn open(unit: &Unit<'_>, shared: &Shared<'_>, draft: &mut Draft, record: &RevisionRecord, survey: Survey<'_>) {
    let batch = u32::try_from(record.batches.len() + 1).unwrap_or(u32::MAX);
    let (waiting, left) = (survey.rest.len(), survey.rest.len() + survey.away.len());
    // A batch whose devices all went away before they were changed has shown nothing: the next one is not larger.
    let size = (!record.revert).then(|| unit.deployment.strategy.batches.get(survey.tried.len())).flatten();
    // Whoever joins later joins an open end; before that is the turn of those who are here now, however few.
    let size = size.filter(|share| **share != Share::Percent(100)).map(|share| share.ceil_of(unit.deployment.members.len()));
    let devices = size.map(|size| choose(unit, shared, survey.rest, size));
    let wants = match &devices {
        Some(devices) if devices.len() < left => format!("open batch {batch} ({} of {waiting} left): {}", devices.len(), few(devices)),
        Some(devices) => format!("open batch {batch}, the last ({})", count(devices.len(), "device")),
        None => format!("open batch {batch}, the last ({})", count(waiting, "device")),
    };
    if let Some(waiting) = unit.stopped() {
        return unit.defer(draft, wants, waiting);
    }
    let asked = match unit.deployment.approval {
        crds::Approval::None => false,
        crds::Approval::FirstBatch => batch == 1,
        crds::Approval::EveryBatch => true,
    };
    // Before the window, so that a person can agree by day to what happens at night.
    let id = Digest::of_json(&(unit.name(), &record.digest, batch, &devices)).as_str()[..12].to_owned();
    if asked && !unit.rollout.approvals.contains(&id) {
        return unit.defer(draft, wants, WaitingOn::Approval { id });
    }
    if let Some(waiting) = unit.closed() {
        return unit.defer(draft, wants, waiting);
    }
    let approval = asked.then_some(id);
    draft.step(unit.change(RolloutChange::OpenBatch { number: record.number, batch, devices, approval }, wants));
}

/// The first five names.
fn few(names: &[Name]) -> String {
    let shown: Vec<String> = names.iter().take(5).map(ToString::to_string).collect();
    let rest = if names.len() > 5 { format!(" and {} more", names.len() - 5) } else { String::new() };
    format!("{}{rest}", shown.join(", "))
}

/// Devices that the budget leaves room for first (those that are out already take none), of them the well ones, then evenly over
/// the groups, then by name.
fn choose(unit: &Unit<'_>, shared: &Shared<'_>, rest: Vec<&Name>, size: usize) -> Vec<Name> {
    let well = |name: &Name| unit.observed.devices.get(name).is_some_and(|seen| seen.health() == Health::Healthy);
    let groups = shared.groups(unit.deployment, unit.rollout);
    let mut ranks = std::collections::BTreeMap::<(bool, bool, String), usize>::new();
    let mut order: Vec<_> = rest
        .into_iter()
        .map(|name| {
            let group = shared.group_of(unit.deployment, name);
            let full = groups.get(&group).is_some_and(|group| group.is_full(unit.deployment)) && !shared.is_out(name);
            let sick = !well(name);
            let rank = ranks.entry((full, sick, group.clone())).or_default();
            *rank += 1;
            (full, sick, *rank, group, name)
        })
        .collect();
    order.sort();
    let mut chosen: Vec<Name> = order.into_iter().take(size).map(|(.., name)| name.clone()).collect();
    chosen.sort();
    chosen
}
