//! What expressions know of rollouts: of the Deployments that select the device, each as it stands there.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;

use super::term::{Scalar, seconds};
use crate::desired::{Desired, Device};
use crate::name::Name;
use crate::observed::Observed;
use crate::plan::Deferred;
use crate::report;

/// What a Deployment's phase can be, as its status has it.
pub const PHASES: [&str; 9] =
    ["Pending", "Progressing", "Soaking", "AwaitingApproval", "Complete", "Paused", "RollingBack", "RolledBack", "Failed"];

/// What is known of rollouts, where it is.
#[derive(Clone, Copy, Debug, Default)]
pub enum Rollouts<'a> {
    /// Nobody knows of them here.
    #[default]
    Unknown,
    /// Whoever plans knows of all.
    Known {
        /// What is in force.
        desired: &'a Desired,
        /// What was seen.
        observed: &'a Observed,
        /// What each Deployment's last plan put off.
        deferred: &'a BTreeMap<Name, Vec<Deferred>>,
    },
    /// A rule's test says.
    Given(&'a BTreeMap<String, Given>),
}

/// A Deployment as a rule's test has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// One of [`PHASES`].
    pub phase: &'static str,
    /// When it came there, which is when the device was changed.
    pub since: Timestamp,
}

/// Of a Deployment, as it stands on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeploymentField {
    /// How far its rollout is.
    Phase,
    /// The revision that the device holds.
    Revision,
    /// What that is in words, such as `nginx 1.24.0-1`.
    Version,
    /// When it last changed the device.
    ChangedAt,
}

/// The fields, by name.
pub(super) const FIELDS: [(&str, DeploymentField); 4] = [
    ("phase", DeploymentField::Phase),
    ("revision", DeploymentField::Revision),
    ("version", DeploymentField::Version),
    ("changedAt", DeploymentField::ChangedAt),
];

impl<'a> Rollouts<'a> {
    /// A field of a Deployment of the device's namespace.
    pub(super) fn value(self, device: &Device, unit: &str, field: DeploymentField) -> Result<Scalar<'a>, String> {
        let (desired, observed, deferred) = match self {
            Self::Unknown => return Err("nothing is known of rollouts here".into()),
            Self::Given(given) => return of_test(given, unit, field),
            Self::Known { desired, observed, deferred } => (desired, observed, deferred),
        };
        let name = device.name.sibling(unit);
        if !desired.selected_by.get(&device.name).is_some_and(|units| units.contains(&name)) {
            return Err(format!("deployment/{name} does not select the device"));
        }
        if field == DeploymentField::Phase {
            let deferred = deferred.get(&name).map(Vec::as_slice).unwrap_or_default();
            let phase = report::phase_of(desired, observed, deferred, &name).ok_or_else(|| format!("deployment/{name} is not in force"))?;
            return Ok(Scalar::Text(Cow::Borrowed(phase)));
        }
        let never = || format!("deployment/{name} has not changed the device");
        let rollout = observed.rollouts.get(&name).ok_or_else(never)?;
        let placement = rollout.placements.get(&device.name).ok_or_else(never)?;
        match field {
            DeploymentField::ChangedAt => placement.applied_at.map(|at| Scalar::Number(seconds(at))).ok_or_else(never),
            _ => {
                let number = placement.holds().ok_or_else(never)?;
                if field == DeploymentField::Revision {
                    return Ok(Scalar::Number(f64::from(number)));
                }
                let record = rollout.revision(number).ok_or_else(|| format!("revision {number} of deployment/{name} is forgotten"))?;
                Ok(Scalar::Text(Cow::Owned(record.content.summary())))
            }
        }
    }

    /// The Deployments that select the device.
    pub(super) fn units(self, device: &Device) -> Result<Vec<String>, String> {
        Ok(match self {
            Self::Unknown => return Err("nothing is known of rollouts here".into()),
            Self::Given(given) => given.keys().cloned().collect(),
            Self::Known { desired, .. } => {
                let units = desired.selected_by.get(&device.name).into_iter().flatten().filter(|unit| unit.role().is_none());
                units.map(|unit| unit.name().to_owned()).collect()
            }
        })
    }

    /// Whether the device is what its Deployments want.
    pub(super) fn update(self, device: &Device) -> Result<Scalar<'a>, String> {
        let Self::Known { desired, observed, .. } = self else { return Err("nothing is known of rollouts here".into()) };
        match report::update(desired, observed, &device.name) {
            "Unknown" => Err("it has not been seen what is there".into()),
            word => Ok(Scalar::Text(Cow::Borrowed(word))),
        }
    }

    /// When any Deployment last changed the device.
    pub(super) fn changed_at(self, device: &Device) -> Result<Scalar<'a>, String> {
        let latest = match self {
            Self::Unknown => return Err("nothing is known of rollouts here".into()),
            Self::Given(given) => given.values().map(|given| given.since).max(),
            Self::Known { desired, observed, .. } => {
                let units = desired.selected_by.get(&device.name).into_iter().flatten().filter(|unit| unit.role().is_none());
                units.filter_map(|unit| observed.rollouts.get(unit)?.placements.get(&device.name)?.applied_at).max()
            }
        };
        latest.map(|at| Scalar::Number(seconds(at))).ok_or_else(|| "no Deployment has changed the device".into())
    }
}

fn of_test<'a>(given: &BTreeMap<String, Given>, unit: &str, field: DeploymentField) -> Result<Scalar<'a>, String> {
    let given = given.get(unit).ok_or_else(|| format!("the test says nothing of deployment/{unit}"))?;
    match field {
        DeploymentField::Phase => Ok(Scalar::Text(Cow::Borrowed(given.phase))),
        DeploymentField::ChangedAt => Ok(Scalar::Number(seconds(given.since))),
        DeploymentField::Revision | DeploymentField::Version => Err("a test knows of a Deployment's phase and when that changed".into()),
    }
}
