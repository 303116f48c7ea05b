//! What must hold whatever happens.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use reconcile::observed::Health;
use reconcile::{
    Action, Contact, Desired, DeviceSeen, Digest, ItemKey, ItemSeen, Name, Observed, Phase, Placement, Plan, RevisionResult, Rollout,
};
use simfleet::memory::{Devices, Store};

/// What has to be remembered to tell.
#[derive(Default)]
pub struct Rules {
    /// Contents that were taken back, and that nobody has asked for anew.
    banned: BTreeMap<Name, Digest>,
}

impl Rules {
    /// A commit is in force: what it asks for anew may come again.
    pub fn commit(&mut self, desired: &Desired) {
        self.banned.retain(|unit, digest| desired.deployments.get(unit).is_some_and(|deployment| deployment.digest == *digest));
    }

    /// The store has taken something in.
    pub fn stored(&mut self, desired: &Desired, rollouts: &BTreeMap<Name, Rollout>) {
        for (unit, rollout) in rollouts {
            let (Some(deployment), Some(current)) = (desired.deployments.get(unit), rollout.current()) else { continue };
            let back_to = match current.result {
                RevisionResult::RollingBack { last_batch_only: false, to } | RevisionResult::RolledBack { to } => to,
                _ => continue,
            };
            let returns = back_to.and_then(|number| rollout.revision(number)).is_some_and(|record| record.digest == current.digest);
            if deployment.digest == current.digest && !returns {
                self.banned.insert(unit.clone(), current.digest.clone());
            }
        }
    }

    /// What is wrong with a plan, if it is going to be recorded.
    pub fn plan(&self, desired: &Desired, observed: &Observed, plan: &Plan, now: Timestamp) -> Result<(), String> {
        for step in &plan.steps {
            if let Action::Apply(work) = &step.action
                && self.banned.get(step.unit.name()) == Some(&work.digest)
            {
                return Err(format!("{step} brings back what was taken back, and nobody has asked for it anew"));
            }
        }
        budgets(desired, observed, plan, now)
    }
}

/// No step of a plan takes a device out beyond its Deployment's budget; what is out by itself takes no place that it did not have.
fn budgets(desired: &Desired, observed: &Observed, plan: &Plan, now: Timestamp) -> Result<(), String> {
    let mut out: BTreeSet<Name> = desired.devices.keys().filter(|device| is_out(desired, observed, device, now)).cloned().collect();
    for step in &plan.steps {
        let disturbs = step.action.work().is_some() && !matches!(step.action, Action::Prepare(_));
        let device = step.target.name();
        let Some(deployment) = desired.deployments.get(step.unit.name()).filter(|_| disturbs) else { continue };
        if !out.insert(device.clone()) {
            continue;
        }
        let of = |device: &Name| -> Vec<Option<String>> {
            let labels = desired.devices.get(device).map(|device| &device.labels);
            deployment.strategy.group_by.iter().map(|label| labels?.get(label).cloned()).collect()
        };
        let group: Vec<&Name> = deployment.members.iter().filter(|member| of(member) == of(device)).collect();
        let down: BTreeSet<&Name> = group.iter().copied().chain([device]).filter(|name| out.contains(*name)).collect();
        let limit = deployment.strategy.max_unavailable.floor_of(group.len());
        if down.len() > limit {
            return Err(format!("{step} takes out one too many: {down:?} would be out, and {limit} may be"));
        }
    }
    Ok(())
}

/// A step disturbs it, or it is not well by itself, or it went out of sight with its change; the last two of these for no longer than the
/// deadline, where nobody can reach it.
fn is_out(desired: &Desired, observed: &Observed, device: &Name, now: Timestamp) -> bool {
    let placements = || observed.rollouts.iter().filter_map(|(unit, rollout)| Some((unit, rollout.placements.get(device)?)));
    let seen = observed.devices.get(device);
    let is_over = |unit: &Name, begin: Timestamp| now >= begin + deadline(desired, observed, unit);
    let gone_since = match seen.map(|seen| &seen.contact) {
        Some(Contact::Unreachable { since, .. }) => Some(*since),
        _ => None,
    };
    let is_lost = |unit: &Name, placement: &Placement| gone_since.is_some_and(|since| is_over(unit, placement.since.max(since)));
    if placements().any(|(unit, placement)| placement.phase.is_disturbing() && !is_lost(unit, placement)) {
        return true;
    }
    let Some(seen) = seen else { return false };
    let gone_with_it = |unit: &Name, placement: &Placement, since: Timestamp| {
        let changed_at = placement.applied_at.filter(|_| placement.phase == Phase::Applied && placement.undo.is_some());
        changed_at.is_some_and(|at| seen.seen_at.is_none_or(|seen| seen <= at) && !is_over(unit, at.max(since)))
    };
    let settles = |(unit, placement): (&Name, &Placement)| match gone_since {
        Some(since) => gone_with_it(unit, placement, since),
        None => seen.is_reachable() && is_settling(seen, placement),
    };
    if placements().any(settles) {
        return true;
    }
    let stopped = |unit: &Name| {
        let services = desired.deployments.get(unit).map(|deployment| deployment.content.services.as_slice()).unwrap_or_default();
        services.iter().any(|service| matches!(seen.items.get(&ItemKey::unit(&service.unit)), Some(ItemSeen::Unit { active: false, .. })))
    };
    let broken = placements().any(|(unit, placement)| match placement.phase {
        Phase::Failed => true,
        Phase::Applied => stopped(unit),
        Phase::Restored => placement.from.is_some() && stopped(unit),
        _ => false,
    });
    seen.health() == Health::Degraded || (seen.is_reachable() && broken)
}

/// How long a Deployment waits for a device.
fn deadline(desired: &Desired, observed: &Observed, unit: &Name) -> SignedDuration {
    let written = desired.deployments.get(unit).map(|deployment| deployment.strategy.deadline);
    let deletion = observed.rollouts.get(unit).and_then(|rollout| rollout.deletion.as_deref());
    written.or(deletion.map(|deletion| SignedDuration::from_secs(deletion.deadline_seconds))).unwrap_or_default()
}

/// It was changed, and has not been looked at since.
fn is_settling(seen: &DeviceSeen, placement: &Placement) -> bool {
    let changed_at = match placement.phase {
        Phase::Applied => placement.applied_at.filter(|_| placement.undo.is_some()),
        Phase::Restored => Some(placement.since),
        _ => None,
    };
    let before = |looked: Option<Timestamp>| changed_at.is_some_and(|changed_at| looked.is_none_or(|at| at <= changed_at));
    before(seen.seen_at) || seen.probes.values().any(|probe| before(probe.seen_at))
}

/// Nothing has run twice, and nothing that was not recorded.
pub fn ran(desired: &Desired, devices: &Devices, store: &Store) {
    for device in desired.devices.keys() {
        let runs: Vec<_> = devices.with(device, |machine| machine.runs().map(|(id, times)| (id.clone(), times)).collect());
        for (id, times) in runs {
            assert_eq!(times, 1, "step {id} ran twice on {device}");
            assert!(store.has(&id), "step {id} ran on {device}, and nobody has recorded it");
        }
    }
}
