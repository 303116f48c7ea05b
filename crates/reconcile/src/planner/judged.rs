//! What the gate of a rollout says of each device: for whoever looks, by the very judge that the rollout goes by.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::survey::{self, Standing};
use super::unit::Unit;
use crate::desired::Desired;
use crate::name::Name;
use crate::observed::Observed;
use crate::plan::WaitingOn;

/// What is known of a device that the newest revision was brought to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    /// It is well, since then if it was changed.
    Passed(Option<Timestamp>),
    /// It was changed; whether it is well is not known yet.
    Waiting(WaitingOn),
    /// A step is under way, or has to be taken once more.
    Changing,
    /// The revision did it harm.
    Failed(String),
    /// It is as unwell as it was before: that says nothing of the revision.
    Unproven(String),
    /// It can't be reached since it was changed.
    Lost(String),
    /// It can't be worked on, and nobody waits for it.
    Away,
}

/// The verdicts on the devices that the newest revision of a Deployment was brought to.
pub fn judged(desired: &Desired, observed: &Observed, name: &Name, now: Timestamp) -> BTreeMap<Name, Judged> {
    let Some(deployment) = desired.deployments.get(name) else { return BTreeMap::new() };
    let unit = Unit::new(desired, observed, deployment, now);
    let Some(record) = unit.rollout.current() else { return BTreeMap::new() };
    let verdict = |device: &Name| match survey::standing(&unit, record, device) {
        Standing::Settled(since) => Judged::Passed(since),
        Standing::Waiting(waiting) => Judged::Waiting(waiting),
        Standing::Reboot(_) => Judged::Waiting(WaitingOn::Health { reason: "it has to be rebooted".into(), until: None }),
        Standing::Unseen => Judged::Waiting(WaitingOn::Health { reason: "not looked at since it was changed".into(), until: None }),
        Standing::InFlight | Standing::Todo => Judged::Changing,
        Standing::Failed(reason) => Judged::Failed(reason),
        Standing::Unproven(reason) => Judged::Unproven(reason),
        Standing::Lost(reason) => Judged::Lost(reason),
        Standing::Away => Judged::Away,
    };
    let brought = unit.rollout.placements.iter().filter(|(_, placement)| placement.revision == record.number);
    brought.map(|(device, _)| (device.clone(), verdict(device))).collect()
}
