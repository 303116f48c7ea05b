//! From what should be true and what was seen to what to do now.
//!
//! A plan is made per Deployment. What Deployments share (who holds a device, who is out) is one value, [`shared::Shared`],
//! which sees everything that is in flight and everything that this pass has planned so far.

use jiff::Timestamp;

use crate::deletion::is_gone;
use crate::desired::Desired;
use crate::name::Name;
use crate::observed::Observed;
use crate::plan::Plan;

mod back;
mod device;
mod draft;
mod forward;
mod gate;
mod judged;
mod shared;
mod steady;
mod survey;
mod unit;

pub use judged::{Judged, judged};

/// Plans every Deployment.
pub fn plan(desired: &Desired, observed: &Observed, now: Timestamp) -> Plan {
    plan_units(desired, observed, now, units(desired, observed))
}

/// Everything that is planned: the Deployments, and those that were deleted and have something left to do.
pub fn units<'a>(desired: &'a Desired, observed: &'a Observed) -> impl Iterator<Item = &'a Name> {
    let deleted = observed.rollouts.iter().filter(|(_, rollout)| rollout.deletion.is_some()).map(|(name, _)| name);
    desired.deployments.keys().chain(deleted.filter(|name| !desired.deployments.contains_key(*name)))
}

/// Plans some Deployments, in the order given. Planning those whose input changed is the same as planning all, since what the
/// others would do is in `observed` already.
pub fn plan_units<'a>(desired: &Desired, observed: &Observed, now: Timestamp, units: impl IntoIterator<Item = &'a Name>) -> Plan {
    let mut shared = shared::Shared::new(desired, observed, now);
    let mut draft = draft::Draft::new(now);
    for name in units {
        if let Some(deployment) = desired.deployments.get(name) {
            unit::plan(&mut unit::Unit::new(desired, observed, deployment, now), &mut shared, &mut draft);
        } else if let Some(deletion) = observed.rollouts.get(name).and_then(|rollout| rollout.deletion.as_ref())
            && is_gone(desired, name)
        {
            unit::end(&unit::Unit::new(desired, observed, &deletion.deployment(name), now), &mut shared, &mut draft);
        }
    }
    draft.finish(&desired.revision)
}
