//! Where every member of a rollout stands, found by looking at each once.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::gate::{self, Gate};
use super::unit::Unit;
use crate::content::{Content, Digest};
use crate::desired::{Access, Device};
use crate::name::Name;
use crate::observed::Contact;
use crate::plan::WaitingOn;
use crate::rollout::{ATTEMPTS, Phase, Placement, RevisionRecord};
use crate::window::{self, Opening};

/// Where one device stands.
pub(super) enum Standing {
    /// It has the content, and nothing of ours is left to wait for; well since then if we changed it.
    Settled(Option<Timestamp>),
    /// It was changed by this revision, and can't be reached since.
    Lost(String),
    /// It was changed, and is as unwell as it was before.
    Unproven(String),
    /// A step is under way.
    InFlight,
    /// It was changed; whether it is well is not known yet.
    Waiting(WaitingOn),
    /// It must be rebooted.
    Reboot(String),
    /// The revision did it harm.
    Failed(String),
    /// It has to be changed.
    Todo,
    /// What it has is not known yet.
    Unseen,
    /// It can't be worked on, and nobody waits for it.
    Away,
}

/// What was found.
#[derive(Default)]
pub(super) struct Survey<'a> {
    /// Members of the opened batches that still need something, and whatever an earlier try left behind, with the batch.
    pub(super) batch: Vec<(&'a Name, u32, Standing)>,
    /// Members outside of any opened batch that have to be changed.
    pub(super) rest: Vec<&'a Name>,
    /// Members that nobody waits for.
    pub(super) away: Vec<&'a Name>,
    pub(super) unseen: usize,
    /// Members that have the content.
    pub(super) settled: usize,
    /// Devices that have the content without a step of ours.
    pub(super) adopted: Vec<(Name, Digest)>,
    /// Devices that were changed and seen well since.
    proven: usize,
    /// Batches of which some device was changed and came to a verdict: only those say something about the revision.
    pub(super) tried: BTreeSet<u32>,
    lost: Vec<(&'a Name, String)>,
    unproven: Option<(&'a Name, String)>,
    /// Of the current batch: the latest instant since which a changed device is well.
    well_since: Option<Timestamp>,
}

impl<'a> Survey<'a> {
    pub(super) fn of(unit: &Unit<'a>, record: &RevisionRecord) -> Self {
        let mut survey = Self::default();
        let listed: Vec<(u32, BTreeSet<&Name>)> =
            (1..).zip(&record.batches).map(|(number, batch)| (number, batch.devices.iter().flatten().collect())).collect();
        let open_end = record.batches.last().is_some_and(|batch| batch.devices.is_none());
        let current = u32::try_from(record.batches.len()).unwrap_or(u32::MAX);
        for name in &unit.deployment.members {
            let opened = listed.iter().rev().find(|(_, devices)| devices.contains(name)).map(|(number, _)| *number);
            // Who was away when its batch had its turn waits for another one.
            let opened = opened.filter(|batch| *batch == current || is_touched(unit, record, name));
            let batch = opened.or(open_end.then_some(current));
            survey.add(unit, record, name, batch, current);
        }
        // Devices come after those that they are reached through.
        survey.batch.sort_by_cached_key(|(name, batch, _)| (*batch, unit.depth(name)));
        survey
    }

    fn add(&mut self, unit: &Unit<'a>, record: &RevisionRecord, name: &'a Name, batch: Option<u32>, current: u32) {
        let standing = standing(unit, record, name);
        match (standing, batch) {
            (Standing::Settled(since), _) => {
                self.settled += 1;
                match since {
                    None => self.adopted.push((name.clone(), unit.content_for(record, name).1)),
                    Some(since) => {
                        self.proven += 1;
                        self.tried.extend(batch);
                        if batch == Some(current) {
                            self.well_since = self.well_since.max(Some(since));
                        }
                    }
                }
            }
            (Standing::Lost(reason), _) => {
                self.away.push(name);
                self.lost.push((name, reason));
            }
            (Standing::Unproven(reason), batch) => {
                self.settled += 1;
                self.tried.extend(batch);
                self.unproven = Some((name, reason));
            }
            (Standing::Away, batch) => {
                self.away.push(name);
                if let Some(batch) = batch {
                    self.batch.push((name, batch, Standing::Away));
                }
            }
            (Standing::Unseen, None) => self.unseen += 1,
            (Standing::Todo, None) => self.rest.push(name),
            // Nothing else is possible outside of a batch but what an earlier try left behind.
            (standing, batch) => self.batch.push((name, batch.unwrap_or(current), standing)),
        }
    }

    /// The first device that the revision did harm; or one of the lost, when more were lost than were seen well.
    pub(super) fn failure(&self) -> Option<(&'a Name, String)> {
        let harmed = self.batch.iter().find_map(|(name, _, standing)| match standing {
            Standing::Failed(reason) => Some((*name, reason.clone())),
            _ => None,
        });
        harmed.or_else(|| self.lost.first().filter(|_| self.lost.len() > self.proven).cloned())
    }

    /// A device that was changed and is as unwell as before, when there is none that speaks for the revision. It is asked when
    /// nothing else is left to wait for: what shows nothing must not pass.
    pub(super) fn unproven(&self) -> Option<(&'a Name, String)> {
        let (name, reason) = self.unproven.clone().filter(|_| self.proven == 0)?;
        Some((name, format!("not well before, and not since: {reason}")))
    }

    /// Until when the current batch is watched, if it still is.
    pub(super) fn soaking_until(&self, unit: &Unit<'_>) -> Option<Timestamp> {
        let until = self.well_since?.saturating_add(unit.deployment.strategy.soak).unwrap_or(Timestamp::MAX);
        (until > unit.now).then_some(until)
    }

    pub(super) fn verdict(&self) -> String {
        match (self.settled, self.away.len()) {
            (settled, 0) => format!("on {}", count(settled, "device")),
            (settled, away) => format!("on {}; {away} will catch up", count(settled, "device")),
        }
    }
}

pub(super) fn standing(unit: &Unit<'_>, record: &RevisionRecord, name: &Name) -> Standing {
    let Some(device) = unit.desired.devices.get(name) else { return Standing::Away };
    let placement = unit.rollout.placements.get(name);
    if let Some(placement) = placement.filter(|placement| placement.phase.is_in_flight()) {
        return match unit.lost(name, placement) {
            false => Standing::InFlight,
            // What an earlier revision lost is not this one's fault.
            true if placement.revision == record.number && placement.phase.is_disturbing() => {
                let what = if placement.phase == Phase::Rebooting { "reboot" } else { "change" };
                Standing::Lost(format!("no word of its {what} since that began"))
            }
            true => Standing::Away,
        };
    }
    let changed = placement.filter(|placement| placement.revision == record.number);
    match changed.and_then(|placement| outcome(unit, record, device, placement)).unwrap_or_else(|| before(unit, record, device)) {
        // What failed half-way is not done because it looks as if it were.
        Standing::Settled(None) if placement.is_some_and(|placement| is_begun(record, placement)) => Standing::Todo,
        // It can't be begun with, and nothing of it was changed: like one that is away it holds nobody up, and catches up.
        Standing::Todo if changed.and_then(|placement| set_aside_at(unit, record, placement)).is_some_and(|at| unit.now >= at) => {
            Standing::Away
        }
        standing => standing,
    }
}

/// The last change there has failed half-way, of whichever revision, or another try at it was begun.
fn is_begun(record: &RevisionRecord, placement: &Placement) -> bool {
    placement.phase == if placement.revision == record.number { Phase::Prepared } else { Phase::Failed }
}

/// When a device that refuses the change again and again has had its time, from the opening of its batch on.
pub(super) fn set_aside_at(unit: &Unit<'_>, record: &RevisionRecord, placement: &Placement) -> Option<Timestamp> {
    // Once may be bad luck: it is asked again before that counts.
    let refuses = placement.phase == Phase::Prepared && !placement.failure.is_empty() && placement.undo.is_none() && placement.attempt > 1;
    let batch = record.batches.get((placement.batch as usize).checked_sub(1)?)?;
    refuses.then(|| unit.deadline_after(batch.opened_at))
}

fn is_touched(unit: &Unit<'_>, record: &RevisionRecord, name: &Name) -> bool {
    unit.rollout.placements.get(name).is_some_and(|placement| placement.revision == record.number && placement.is_touched())
}

/// Where a device stands that this revision has changed, or failed to.
fn outcome(unit: &Unit<'_>, record: &RevisionRecord, device: &Device, placement: &Placement) -> Option<Standing> {
    let (content, digest) = unit.content_for(record, &device.name);
    match placement.phase {
        Phase::Failed => Some(Standing::Failed(placement.failure.clone())),
        Phase::Applied if placement.digest == digest => {
            // Somebody has changed it since: it is put back, and watched anew; who does so again and again is a failure.
            if unit.deployment.drift == crds::Drift::Correct
                && placement.attempt < ATTEMPTS
                && has_drifted(unit, &content, device, placement)
            {
                return Some(Standing::Todo);
            }
            let gate = match &placement.reboot_from {
                None => gate::judge(unit, &content, device, placement),
                Some(boot_id) => match gate::out_of_sight(unit, device, placement.since) {
                    None => return Some(Standing::Reboot(boot_id.clone())),
                    Some(gate) => gate,
                },
            };
            Some(match gate {
                Gate::Passed(since) => Standing::Settled(Some(since)),
                Gate::Waiting(waiting) => Standing::Waiting(waiting),
                Gate::Failed(reason) => Standing::Failed(reason),
                Gate::Lost(reason) => Standing::Lost(reason),
                Gate::Unproven(reason) => Standing::Unproven(reason),
            })
        }
        _ => None,
    }
}

/// What was seen after it was applied is not what was applied.
fn has_drifted(unit: &Unit<'_>, content: &Content, device: &Device, placement: &Placement) -> bool {
    let seen = unit.observed.devices.get(&device.name).filter(|seen| seen.is_reachable());
    let seen = seen.filter(|seen| placement.reboot_from.is_none() && seen.seen_at.is_some_and(|at| at > placement.since));
    seen.and_then(|seen| content.matcher().matches(seen)) == Some(false)
}

/// Where a device stands that was not changed yet.
fn before(unit: &Unit<'_>, record: &RevisionRecord, device: &Device) -> Standing {
    let seen = unit.observed.devices.get(&device.name);
    let at_work = || matches!(window::opening(&device.maintenance, unit.now), Opening::Open { .. });
    if device.suspend || device.access == Access::None || (!device.maintenance.is_empty() && at_work()) {
        return Standing::Away;
    }
    match seen.map(|seen| &seen.contact) {
        None | Some(Contact::Never) => return Standing::Unseen,
        Some(Contact::Unreachable { .. }) => return Standing::Away,
        Some(Contact::Known) => {}
    }
    // What was seen before another revision's step changed it says nothing of what is there now.
    let changed =
        unit.rollout.placements.get(&device.name).filter(|placement| !matches!(placement.phase, Phase::Preparing | Phase::Prepared));
    if changed.is_some_and(|placement| seen.and_then(|seen| seen.seen_at) <= Some(placement.since)) {
        return Standing::Unseen;
    }
    match seen.and_then(|seen| unit.content_for(record, &device.name).0.matcher().matches(seen)) {
        None => Standing::Unseen,
        Some(true) => Standing::Settled(None),
        Some(false) => Standing::Todo,
    }
}

/// A number of things, for people.
pub(super) fn count(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}
