//! A revision on its way: the next safe part of the current batch, or the next batch, or the verdict.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::device::{Budget, Wanted};
use super::draft::Draft;
use super::gate::{self, Gate};
use super::shared::Shared;
use super::unit::Unit;
use crate::content::Digest;
use crate::desired::Access;
use crate::name::Name;
use crate::observed::{Contact, Health};
use crate::plan::WaitingOn;
use crate::rollout::{Phase, RevisionRecord, RolloutChange};

/// Where one device stands.
enum Standing {
    /// It has the content, and nothing of ours is left to wait for; seen well since then if we changed it.
    Settled(Option<Timestamp>),
    /// It was changed and nothing can be said of it, without blame.
    NoWord,
    /// A step is under way, and waited for until then.
    InFlight(Timestamp),
    /// It was changed; its health is not known yet.
    Waiting(String, Timestamp),
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

pub(super) fn plan(unit: &Unit<'_>, shared: &mut Shared<'_>, draft: &mut Draft, record: &RevisionRecord) {
    let survey = Survey::of(unit, record);
    if let Some((device, reason)) = survey.failure() {
        return fail(unit, draft, record, &device, &reason);
    }
    let opened = record.batches.len();
    let busy = survey.walk(unit, shared, draft, record);
    if busy {
        return;
    }
    if let Some(until) = survey.soaking_until(unit) {
        let wants = if survey.rest.is_empty() { "complete".to_owned() } else { format!("open batch {}", opened + 1) };
        return unit.defer(draft, wants, WaitingOn::Soak { until });
    }
    if survey.unseen > 0 {
        let reason = format!("{} devices not looked at yet", survey.unseen);
        return unit.defer(draft, format!("open batch {}", opened + 1), WaitingOn::Health { reason, until: None });
    }
    if survey.rest.is_empty() {
        let (verdict, adopted) = (survey.verdict(), survey.adopted);
        return draft.step(unit.change(RolloutChange::Complete { number: record.number, adopted }, verdict));
    }
    open(unit, draft, record, survey.rest);
}

/// What was found when looking at every member once.
struct Survey<'a> {
    /// Members of the opened batches that still need something, in batch order, with their batch.
    batch: Vec<(&'a Name, u32, Standing)>,
    /// Members outside of any opened batch that have to be changed.
    rest: Vec<&'a Name>,
    unseen: usize,
    away: usize,
    settled: usize,
    /// Devices that have the content without a step of ours.
    adopted: Vec<(Name, Digest)>,
    /// Of the current batch: the latest instant since which a changed device is well.
    well_since: Option<Timestamp>,
    /// Of the current batch: some changed device was seen well; some was lost without a word.
    proven: bool,
    lost: Option<(&'a Name, String)>,
}

impl<'a> Survey<'a> {
    fn of(unit: &Unit<'a>, record: &RevisionRecord) -> Self {
        let mut survey = Self {
            batch: Vec::new(),
            rest: Vec::new(),
            unseen: 0,
            away: 0,
            settled: 0,
            adopted: Vec::new(),
            well_since: None,
            proven: false,
            lost: None,
        };
        let listed: Vec<(u32, BTreeSet<&Name>)> =
            (1..).zip(&record.batches).map(|(number, batch)| (number, batch.devices.iter().flatten().collect())).collect();
        let open_end = record.batches.last().is_some_and(|batch| batch.devices.is_none());
        let current = u32::try_from(record.batches.len()).unwrap_or(u32::MAX);
        for name in &unit.deployment.members {
            let batch =
                listed.iter().find(|(_, devices)| devices.contains(name)).map(|(number, _)| *number).or(open_end.then_some(current));
            survey.add(unit, record, name, batch, current);
        }
        survey.batch.sort_by_key(|(_, batch, _)| *batch);
        survey
    }

    fn add(&mut self, unit: &Unit<'a>, record: &RevisionRecord, name: &'a Name, batch: Option<u32>, current: u32) {
        let standing = standing(unit, record, name);
        match (&standing, batch) {
            (Standing::Settled(since), _) => {
                self.settled += 1;
                if since.is_none() {
                    self.adopted.push((name.clone(), unit.content_for(record, name).1));
                }
                if let Some(since) = since.filter(|_| batch == Some(current)) {
                    self.proven = true;
                    self.well_since = Some(self.well_since.map_or(since, |earlier| earlier.max(since)));
                }
            }
            (Standing::NoWord, _) => {
                self.away += 1;
                if batch == Some(current) {
                    self.lost = Some((name, "no word of it since it was changed".into()));
                }
            }
            (Standing::Away, _) => {
                self.away += 1;
                if let Some(batch) = batch {
                    self.batch.push((name, batch, standing));
                }
            }
            (Standing::Unseen, None) => self.unseen += 1,
            (Standing::Todo, None) => self.rest.push(name),
            // Nothing else is possible outside of a batch but what an earlier try at this revision left behind.
            (_, batch) => self.batch.push((name, batch.unwrap_or(current), standing)),
        }
    }

    /// The first device that the revision did harm; or, when all that were changed are lost, one of them.
    fn failure(&self) -> Option<(Name, String)> {
        let harmed = self.batch.iter().find_map(|(name, _, standing)| match standing {
            Standing::Failed(reason) => Some(((*name).clone(), reason.clone())),
            _ => None,
        });
        harmed.or_else(|| {
            let (name, reason) = self.lost.as_ref().filter(|_| !self.proven)?;
            Some(((*name).clone(), reason.clone()))
        })
    }

    /// Goes on with the opened batches. Returns whether there is something in them to wait for.
    fn walk(&self, unit: &Unit<'a>, shared: &mut Shared<'_>, draft: &mut Draft, record: &RevisionRecord) -> bool {
        let closed = unit.closed();
        let mut budget = Budget::default();
        let mut busy = false;
        let mut told = false;
        for (name, batch, standing) in &self.batch {
            let Some(device) = unit.desired.devices.get(*name) else { continue };
            let wanted = Wanted::new(unit, device, record).in_batch(*batch);
            busy |= !matches!(standing, Standing::Away);
            match standing {
                Standing::Todo | Standing::Reboot(_) if closed.is_some() => {
                    if let (false, Some(waiting)) = (told, closed.clone()) {
                        unit.defer(draft, format!("go on with batch {batch}"), waiting);
                        told = true;
                    }
                }
                Standing::Todo | Standing::Away => wanted.forward(shared, &mut budget, draft, true),
                Standing::Reboot(boot_id) => wanted.reboot(shared, &mut budget, draft, boot_id),
                Standing::Waiting(reason, until) => {
                    let waiting = WaitingOn::Health { reason: reason.clone(), until: Some(*until) };
                    draft.defer(unit.name(), crate::name::Target::Device((*name).clone()), "count as updated", waiting);
                }
                Standing::Unseen => {
                    let waiting = WaitingOn::Health { reason: "not looked at yet".into(), until: None };
                    draft.defer(unit.name(), crate::name::Target::Device((*name).clone()), "update", waiting);
                }
                Standing::InFlight(patience) => draft.look_at(Some(*patience)),
                Standing::Settled(_) | Standing::NoWord | Standing::Failed(_) => {}
            }
        }
        busy
    }

    fn soaking_until(&self, unit: &Unit<'_>) -> Option<Timestamp> {
        let until = self.well_since?.saturating_add(unit.deployment.strategy.soak).unwrap_or(Timestamp::MAX);
        (until > unit.now).then_some(until)
    }

    fn verdict(&self) -> String {
        match self.away {
            0 => format!("on all {} devices", self.settled),
            away => format!("on {} devices; {away} away, they catch up", self.settled),
        }
    }
}

fn standing(unit: &Unit<'_>, record: &RevisionRecord, name: &Name) -> Standing {
    let Some(device) = unit.desired.devices.get(name) else { return Standing::Away };
    let placement = unit.rollout.placements.get(name);
    if let Some(placement) = placement.filter(|placement| placement.phase.is_in_flight()) {
        return match unit.lost(name, placement) {
            true => Standing::NoWord,
            false => Standing::InFlight(unit.patience(placement)),
        };
    }
    let placement = placement.filter(|placement| placement.revision == record.number);
    let (content, digest) = unit.content_for(record, name);
    let seen = unit.observed.devices.get(name);
    if let Some(placement) = placement {
        match placement.phase {
            Phase::Failed => return Standing::Failed(placement.failure.clone()),
            Phase::Applied if placement.digest == digest => {
                if let Some(boot_id) = &placement.reboot_from {
                    return Standing::Reboot(boot_id.clone());
                }
                let Some(seen) = seen else { return Standing::Away };
                return match gate::judge(unit.deployment, &content, device, seen, placement, unit.now) {
                    Gate::Passed(since) => Standing::Settled(Some(since)),
                    Gate::Waiting(reason, until) => Standing::Waiting(reason, until),
                    Gate::Failed(reason) => Standing::Failed(reason),
                    Gate::NoWord(_) => Standing::NoWord,
                };
            }
            _ => {}
        }
    }
    if device.suspend || device.access == Access::None {
        return Standing::Away;
    }
    match seen.map(|seen| &seen.contact) {
        None | Some(Contact::Never) => return Standing::Unseen,
        Some(Contact::Unreachable { .. }) => return Standing::Away,
        Some(Contact::Known) => {}
    }
    match seen.and_then(|seen| content.matcher().matches(seen)) {
        None => Standing::Unseen,
        Some(true) => Standing::Settled(None),
        Some(false) => Standing::Todo,
    }
}

fn fail(unit: &Unit<'_>, draft: &mut Draft, record: &RevisionRecord, device: &Name, reason: &str) {
    let reason = format!("{device}: {reason}");
    let change = match unit.deployment.on_failure {
        crds::OnFailure::Pause => RolloutChange::Stop { number: record.number, reason: reason.clone() },
        crds::OnFailure::Rollback | crds::OnFailure::RollbackBatch => RolloutChange::RollBack {
            number: record.number,
            last_batch_only: unit.deployment.on_failure == crds::OnFailure::RollbackBatch,
            to: unit.rollout.stable_before(record.number).map(|stable| stable.number),
            reason: reason.clone(),
        },
    };
    draft.step(unit.change(change, reason));
}

/// Opens the next batch, if everybody agrees.
fn open(unit: &Unit<'_>, draft: &mut Draft, record: &RevisionRecord, rest: Vec<&Name>) {
    let number = record.batches.len();
    let batch = u32::try_from(number + 1).unwrap_or(u32::MAX);
    let size = (!record.revert).then(|| unit.deployment.strategy.batches.get(number)).flatten();
    let size = size.map(|share| share.ceil_of(unit.deployment.members.len())).filter(|size| *size < rest.len());
    let waiting = rest.len();
    let devices = size.map(|size| choose(unit, rest, size));
    let wants = match &devices {
        Some(devices) => format!("open batch {batch} ({} of {waiting} left)", devices.len()),
        None => format!("open batch {batch}, the last ({waiting} devices)"),
    };
    if let Some(waiting) = unit.closed() {
        return unit.defer(draft, wants, waiting);
    }
    let asked = match unit.deployment.approval {
        crds::Approval::None => false,
        crds::Approval::FirstBatch => batch == 1,
        crds::Approval::EveryBatch => true,
    };
    let id = Digest::of_json(&(unit.name(), &record.digest, batch, &devices)).as_str()[..12].to_owned();
    if asked && !unit.rollout.approvals.contains(&id) {
        return unit.defer(draft, wants, WaitingOn::Approval { id });
    }
    let approval = asked.then_some(id);
    draft.step(unit.change(RolloutChange::OpenBatch { number: record.number, batch, devices, approval }, wants));
}

/// Well devices first, then evenly over the groups, then by name.
fn choose(unit: &Unit<'_>, rest: Vec<&Name>, size: usize) -> Vec<Name> {
    let well = |name: &Name| unit.observed.devices.get(name).is_some_and(|seen| seen.health() == Health::Healthy);
    let group = |name: &Name| -> Vec<String> {
        let labels = unit.desired.devices.get(name).map(|device| &device.labels);
        let value = |label: &String| labels.and_then(|labels| labels.get(label)).cloned().unwrap_or_default();
        unit.deployment.strategy.group_by.iter().map(value).collect()
    };
    let mut ranks = std::collections::BTreeMap::<(bool, Vec<String>), usize>::new();
    let mut order: Vec<_> = rest
        .into_iter()
        .map(|name| {
            let (sick, group) = (!well(name), group(name));
            let rank = ranks.entry((sick, group.clone())).or_default();
            *rank += 1;
            (sick, *rank, group, name)
        })
        .collect();
    order.sort();
    let mut chosen: Vec<Name> = order.into_iter().take(size).map(|(_, _, _, name)| name.clone()).collect();
    chosen.sort();
    chosen
}
