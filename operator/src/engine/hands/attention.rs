//! Where something is under way each answer counts, since a gate asks when it was given; elsewhere only what is news.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use api::view::View;
use reconcile::Name;

use super::super::heard::{is_moving, is_open};

/// The version of a rollout, and the Deployment as it is in force.
type Stamp = (u64, Option<usize>);

/// Deployments with something under way, and the devices of which each answer counts therefore; with what that is made of.
#[derive(Default)]
pub(super) struct Attention(HashMap<Name, (Stamp, BTreeSet<Name>)>);

impl Attention {
    /// Whether each answer of a device counts.
    pub(super) fn is_on(&self, device: &Name) -> bool {
        self.0.values().any(|(_, devices)| devices.contains(device))
    }

    /// These Deployments are planned. Returns the devices for which it may be otherwise than before.
    pub(super) fn attend(&mut self, view: &View, units: &BTreeSet<Name>) -> BTreeSet<Name> {
        let mut touched = BTreeSet::new();
        for unit in units {
            let rollout = view.observed.rollouts.get(unit).filter(|rollout| is_moving(rollout));
            let deployment = view.desired.deployments.get(unit);
            let members = deployment.map(|deployment| deployment.members.as_slice()).unwrap_or_default();
            let stamp = rollout.map(|rollout| (rollout.version, deployment.map(|deployment| Arc::as_ptr(deployment) as usize)));
            if self.0.get(unit).map(|(stamp, _)| *stamp) == stamp {
                continue;
            }
            let devices: BTreeSet<Name> = match rollout {
                Some(rollout) if is_open(rollout) => members.iter().chain(rollout.placements.keys()).cloned().collect(),
                // Only those that came later are still watched.
                Some(rollout) => rollout.placements.iter().filter(|(_, there)| there.batch == 0).map(|(name, _)| name.clone()).collect(),
                None => BTreeSet::new(),
            };
            let before = match stamp {
                Some(stamp) => self.0.insert(unit.clone(), (stamp, devices.clone())),
                None => self.0.remove(unit),
            };
            let before = before.map(|(_, devices)| devices).unwrap_or_default();
            touched.extend(before.symmetric_difference(&devices).cloned());
        }
        touched
    }
}
