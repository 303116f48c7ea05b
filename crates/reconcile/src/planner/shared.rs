//! What Deployments share: who holds a device, and which devices are out.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};

use crate::desired::{Access, Deployment, Desired};
use crate::name::Name;
use crate::observed::{Contact, DeviceSeen, Health, ItemKey, ItemSeen, Observed};
use crate::plan::StepId;
use crate::rollout::{Phase, Placement, RevisionResult, Rollout};

/// Who holds a device, and which devices are out: by what is in flight, and by what this pass has planned so far.
pub(super) struct Shared<'a> {
    desired: &'a Desired,
    observed: &'a Observed,
    now: Timestamp,
    planned: HashMap<Name, Planned>,
    /// Devices that others are reached through, with one of those that a step in flight disturbs; found when first asked for.
    busy_below: OnceCell<HashMap<Name, Name>>,
}

/// What this pass plans on a device.
struct Planned {
    step: StepId,
    unit: Name,
    disturbs: bool,
}

/// How many devices of one group may be out, and which are.
#[derive(Default)]
pub(super) struct Group {
    pub(super) size: usize,
    pub(super) out: Vec<Name>,
}

impl Group {
    /// How many of it may be out.
    pub(super) fn limit(&self, deployment: &Deployment) -> usize {
        deployment.strategy.max_unavailable.floor_of(self.size)
    }

    pub(super) fn is_full(&self, deployment: &Deployment) -> bool {
        self.out.len() >= self.limit(deployment)
    }
}

impl<'a> Shared<'a> {
    pub(super) fn new(desired: &'a Desired, observed: &'a Observed, now: Timestamp) -> Self {
        Self { desired, observed, now, planned: HashMap::new(), busy_below: OnceCell::new() }
    }

    /// This pass plans a step on the device.
    pub(super) fn take(&mut self, device: &Name, step: StepId, unit: &Name, disturbs: bool) {
        if let (true, Some(below)) = (disturbs, self.busy_below.get_mut()) {
            let parents = self.desired.devices.get(device).map(|device| device.parents.as_slice());
            below.extend(parents.unwrap_or_default().iter().map(|parent| (parent.clone(), device.clone())));
        }
        self.planned.insert(device.clone(), Planned { step, unit: unit.clone(), disturbs });
    }

    /// The step that holds the device, and for which Deployment.
    pub(super) fn holder(&self, device: &Name) -> Option<(StepId, Name)> {
        if let Some(planned) = self.planned.get(device) {
            return Some((planned.step.clone(), planned.unit.clone()));
        }
        self.placements(device)
            .find(|(_, placement)| placement.phase.is_in_flight())
            .map(|(unit, placement)| (placement.step.clone(), unit.clone()))
    }

    /// A step disturbs the device, or it has not been seen well since one did. One that can't be reached is left out where it was not
    /// taken out by us, and otherwise when patience with it ends: it must not block the others for ever.
    pub(super) fn is_worked_on(&self, device: &Name) -> bool {
        self.planned.get(device).is_some_and(|planned| planned.disturbs) || {
            let seen = self.observed.devices.get(device).map(|seen| &**seen);
            self.placements(device)
                .any(|(unit, placement)| self.is_disturbed(device, unit, placement) || self.is_settling(device, unit, seen, placement))
        }
    }

    /// When the patience ends with which this device counts as worked on though it can't be reached.
    pub(super) fn patience_with(&self, device: &Name) -> Option<Timestamp> {
        let seen = self.observed.devices.get(device).filter(|seen| !seen.is_reachable())?;
        let ends = self.placements(device).filter_map(|(unit, placement)| match placement.phase.is_disturbing() {
            true => self.lost_at(device, unit, placement),
            false => self.out_of_sight_until(unit, seen, placement),
        });
        ends.max()
    }

    /// A device that is reached through this one and is being worked on.
    pub(super) fn busy_below(&self, device: &Name) -> Option<Name> {
        let found = self.busy_below.get_or_init(|| {
            let in_flight = self.observed.rollouts.iter().flat_map(|(unit, rollout)| rollout.placements.iter().map(move |at| (unit, at)));
            let in_flight =
                in_flight.filter(|(unit, (name, placement))| self.is_disturbed(name, unit, placement)).map(|(_, (name, _))| name);
            let planned = self.planned.iter().filter(|(_, planned)| planned.disturbs).map(|(name, _)| name);
            let devices = in_flight.chain(planned).filter_map(|name| self.desired.devices.get(name));
            devices.flat_map(|child| child.parents.iter().map(|parent| (parent.clone(), child.name.clone()))).collect()
        });
        found.get(device).cloned()
    }

    /// Whether the device counts as out: it is worked on, it fails a probe, a step on it failed, or a unit that we are to keep
    /// running there does not run.
    pub(super) fn is_out(&self, device: &Name) -> bool {
        let seen = self.observed.devices.get(device);
        self.is_worked_on(device)
            || seen.is_some_and(|seen| {
                seen.health() == Health::Degraded
                    || (seen.is_reachable() && self.placements(device).any(|(unit, placement)| self.is_broken(unit, placement, seen)))
            })
    }

    /// The groups that the Deployment's budget counts in, with what is out in each. Devices that are about to leave it may be out too,
    /// but only where nobody else is left do they make the budget larger.
    pub(super) fn groups(&self, deployment: &Deployment, rollout: &Rollout) -> BTreeMap<String, Group> {
        let mut groups: BTreeMap<String, Group> = BTreeMap::new();
        let leavers = rollout.placements.keys().filter(|device| deployment.members.binary_search(device).is_err());
        let leaver_size = usize::from(deployment.members.is_empty());
        let members = deployment.members.iter().map(|member| (member, 1));
        for (member, size) in members.chain(leavers.map(|device| (device, leaver_size))) {
            let group = groups.entry(self.group_of(deployment, member)).or_default();
            group.size += size;
            if self.is_out(member) {
                group.out.push(member.clone());
            }
        }
        groups
    }

    /// The group of a device: the values of the labels that the Deployment groups by, such as `site=ams1`.
    pub(super) fn group_of(&self, deployment: &Deployment, device: &Name) -> String {
        let labels = self.desired.devices.get(device).map(|device| &device.labels);
        let value = |label: &String| {
            let value = labels.and_then(|labels| labels.get(label)).map_or("", String::as_str);
            format!("{label}={value}")
        };
        deployment.strategy.group_by.iter().map(value).collect::<Vec<_>>().join(",")
    }

    fn placements<'s>(&'s self, device: &'s Name) -> impl Iterator<Item = (&'s Name, &'s Placement)> {
        self.observed.rollouts.iter().filter_map(move |(unit, rollout)| Some((unit, rollout.placements.get(device)?)))
    }

    /// A step that may take the device out is under way there, and is still waited for.
    fn is_disturbed(&self, device: &Name, unit: &Name, placement: &Placement) -> bool {
        placement.phase.is_disturbing() && self.lost_at(device, unit, placement).is_none_or(|at| self.now < at)
    }

    fn lost_at(&self, device: &Name, unit: &Name, placement: &Placement) -> Option<Timestamp> {
        lost_at(self.desired, self.observed, device, placement, self.deadline(unit))
    }

    /// How long a Deployment has patience with a device.
    fn deadline(&self, unit: &Name) -> SignedDuration {
        let deletion = || self.observed.rollouts.get(unit).and_then(|rollout| rollout.deletion.as_deref());
        match self.desired.deployments.get(unit) {
            Some(deployment) => deployment.strategy.deadline,
            None => SignedDuration::from_secs(deletion().map_or(0, |deletion| deletion.deadline_seconds)),
        }
    }

    /// When the patience of a Deployment ends that began then.
    fn deadline_after(&self, unit: &Name, begin: Timestamp) -> Timestamp {
        begin.saturating_add(self.deadline(unit)).unwrap_or(Timestamp::MAX)
    }

    /// Until when a device that went out of sight since we changed it is taken to be out by that: as long as the gate waits for it.
    fn out_of_sight_until(&self, unit: &Name, seen: &DeviceSeen, placement: &Placement) -> Option<Timestamp> {
        let changed_at = changed_at(placement).filter(|_| placement.phase == Phase::Applied)?;
        let Contact::Unreachable { since, .. } = &seen.contact else { return None };
        if seen.seen_at.is_none_or(|at| at <= changed_at) {
            // After a restart of ours it is only known from then on that it is away.
            return Some(self.deadline_after(unit, changed_at.max(*since)));
        }
        let current = self.observed.rollouts.get(unit).and_then(|rollout| rollout.current());
        let on_its_way = current.is_some_and(|it| it.number == placement.revision && it.result == RevisionResult::Progressing);
        on_its_way.then(|| self.deadline_after(unit, changed_at))
    }

    /// Changed by us, and not seen since: nobody knows yet whether it is well.
    fn is_settling(&self, device: &Name, unit: &Name, seen: Option<&DeviceSeen>, placement: &Placement) -> bool {
        let Some(changed_at) = changed_at(placement) else { return false };
        let watched_only = || self.desired.devices.get(device).is_none_or(|device| device.access == Access::None);
        match seen.map(|seen| &seen.contact) {
            None | Some(Contact::Never) => !watched_only(),
            Some(Contact::Unreachable { .. }) => {
                seen.and_then(|seen| self.out_of_sight_until(unit, seen, placement)).is_some_and(|until| self.now < until)
            }
            Some(Contact::Known) => seen.is_some_and(|seen| {
                seen.seen_at.is_none_or(|at| at <= changed_at)
                    || seen.probes.values().any(|probe| probe.seen_at.is_none_or(|at| at <= changed_at))
            }),
        }
    }

    /// A step on it failed and was not mended, or what we put there does not run.
    fn is_broken(&self, unit: &Name, placement: &Placement, seen: &DeviceSeen) -> bool {
        let Some(deployment) = self.desired.deployments.get(unit) else {
            let is_deleted = self.observed.rollouts.get(unit).is_some_and(|rollout| rollout.deletion.is_some());
            return is_deleted && placement.phase == Phase::Failed;
        };
        let stopped = |unit: &str| matches!(seen.items.get(&ItemKey::unit(unit)), Some(ItemSeen::Unit { active: false, .. }));
        let kept_running = placement.phase == Phase::Applied || (placement.phase == Phase::Restored && placement.from.is_some());
        placement.phase == Phase::Failed || (kept_running && deployment.content.services.iter().any(|service| stopped(&service.unit)))
    }
}

/// When we changed the device.
fn changed_at(placement: &Placement) -> Option<Timestamp> {
    match placement.phase {
        Phase::Applied => placement.applied_at.filter(|_| placement.undo.is_some()),
        Phase::Restored => Some(placement.since),
        _ => None,
    }
}

/// From when on nobody waits any more for a step that is under way on a device out of sight; `None`: it can be seen, or nobody has
/// looked yet. That we were away ourselves is not held against it: it counts from when it was found to be away.
pub(super) fn lost_at(
    desired: &Desired,
    observed: &Observed,
    device: &Name,
    placement: &Placement,
    deadline: SignedDuration,
) -> Option<Timestamp> {
    let begin = match observed.devices.get(device).map(|seen| &seen.contact) {
        Some(Contact::Known) => return None,
        Some(Contact::Unreachable { since, .. }) => placement.since.max(*since),
        None | Some(Contact::Never) => {
            let is_looked_at = desired.devices.get(device).is_some_and(|device| !device.suspend && device.access != Access::None);
            return (!is_looked_at).then(|| placement.since.saturating_add(deadline).unwrap_or(Timestamp::MAX));
        }
    };
    Some(begin.saturating_add(deadline).unwrap_or(Timestamp::MAX))
}
