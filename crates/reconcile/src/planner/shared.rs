//! What Deployments share: who holds a device, and which devices are out.

use std::collections::{BTreeMap, HashMap};

use crate::desired::{Deployment, Desired};
use crate::name::Name;
use crate::observed::{DeviceSeen, Health, Observed};
use crate::plan::StepId;
use crate::rollout::{Phase, Placement};

/// Who holds a device, and which devices are out: by what is in flight, and by what this pass has planned so far.
pub(super) struct Shared<'a> {
    desired: &'a Desired,
    observed: &'a Observed,
    /// Device, step and Deployment of this pass, and whether the step takes the device out.
    planned: HashMap<Name, (StepId, Name, bool)>,
}

/// How many devices of one group may be out, and which are.
#[derive(Default)]
pub(super) struct Group {
    pub(super) size: usize,
    pub(super) out: Vec<Name>,
}

impl<'a> Shared<'a> {
    pub(super) fn new(desired: &'a Desired, observed: &'a Observed) -> Self {
        Self { desired, observed, planned: HashMap::new() }
    }

    /// This pass plans a step on the device.
    pub(super) fn take(&mut self, device: &Name, step: StepId, unit: &Name, disturbs: bool) {
        self.planned.insert(device.clone(), (step, unit.clone(), disturbs));
    }

    /// The step that holds the device, and for which Deployment.
    pub(super) fn holder(&self, device: &Name) -> Option<(StepId, Name)> {
        if let Some((step, unit, _)) = self.planned.get(device) {
            return Some((step.clone(), unit.clone()));
        }
        self.placements(device)
            .find(|(_, placement)| placement.phase.is_in_flight())
            .map(|(unit, placement)| (placement.step.clone(), unit.clone()))
    }

    /// Whether the device counts as out: something disturbing is in flight or planned on it, it fails a probe, or it
    /// has not been seen well since it was changed. One that can't be reached is left out of the count: it was not taken
    /// out by us, and it must not block the others.
    pub(super) fn is_out(&self, device: &Name) -> bool {
        if self.planned.get(device).is_some_and(|(_, _, disturbs)| *disturbs) {
            return true;
        }
        let seen = self.observed.devices.get(device);
        let degraded = seen.is_some_and(|seen| seen.health() == Health::Degraded);
        degraded
            || self
                .placements(device)
                .any(|(_, placement)| placement.phase.is_disturbing() || seen.is_some_and(|seen| is_settling(seen, placement)))
    }

    /// The groups that the Deployment's budget counts in, with what is out in each.
    pub(super) fn groups(&self, deployment: &Deployment) -> BTreeMap<String, Group> {
        let mut groups: BTreeMap<String, Group> = BTreeMap::new();
        for member in &deployment.members {
            let group = groups.entry(self.group_of(deployment, member)).or_default();
            group.size += 1;
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
}

/// Changed, and not seen since: nobody knows yet whether it is well.
fn is_settling(seen: &DeviceSeen, placement: &Placement) -> bool {
    let Some(applied_at) = placement.applied_at.filter(|_| placement.phase == Phase::Applied) else { return false };
    seen.is_reachable()
        && (seen.seen_at.is_none_or(|at| at <= applied_at)
            || seen.probes.values().any(|probe| probe.seen_at.is_none_or(|at| at <= applied_at)))
}
