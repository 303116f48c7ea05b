//! How a rollout stands, taken out of the view: what is said of it is found out beside the engine, and holds it up no longer than that takes.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use reconcile::{Deferred, Name, Observed, Rollout, report};

use super::{PAGE, Sight, is_seen};
use crate::view::View;

pub(super) struct Standing {
    pub(super) rollout: Arc<Rollout>,
    pub(super) phase: &'static str,
    /// What was seen of its devices, and of what is above them.
    pub(super) observed: Observed,
    /// What is put off and may be seen, each with since when.
    pub(super) deferred: Vec<(Deferred, Option<Timestamp>)>,
}

impl Standing {
    pub(super) fn of(view: &View, sight: &Sight, name: &Name, devices: &BTreeSet<&Name>) -> Option<Self> {
        let rollout = view.observed.rollouts.get(name)?.clone();
        let deferred = view.deferred.get(name).map(Vec::as_slice).unwrap_or_default();
        let phase = report::phase_of(&sight.desired, &view.observed, deferred, name).unwrap_or("Pending");
        let seen = deferred.iter().filter(|deferred| is_seen(sight, deferred)).take(PAGE);
        let deferred = seen.map(|deferred| (deferred.clone(), view.waits_since(deferred))).collect();
        let mut observed = Observed::default();
        for device in devices.iter().copied().chain(rollout.placements.keys()) {
            let Some(seen) = view.observed.devices.get(device) else { continue };
            observed.devices.insert(device.clone(), seen.clone());
            if let Some(alerts) = view.observed.alerts.get(device) {
                observed.alerts.insert(device.clone(), alerts.clone());
            }
        }
        observed.rollouts.insert(name.clone(), rollout.clone());
        Some(Self { rollout, phase, observed, deferred })
    }
}

/// The devices of a Deployment, and those that they are behind.
pub(super) fn devices<'a>(sight: &'a Sight, name: &Name) -> BTreeSet<&'a Name> {
    let mut ways: Vec<&Name> =
        sight.desired.deployments.get(name).map(|deployment| deployment.members.iter().collect()).unwrap_or_default();
    let mut found = BTreeSet::new();
    while let Some(device) = ways.pop() {
        if found.insert(device) {
            ways.extend(sight.desired.devices.get(device).into_iter().flat_map(|device| &device.parents));
        }
    }
    found
}
