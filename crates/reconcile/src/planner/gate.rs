//! Whether a changed device has been seen well since.

use jiff::Timestamp;

use crate::content::Content;
use crate::desired::{Check, Deployment, Device};
use crate::observed::{Contact, DeviceSeen, ItemKey, ItemSeen, ProbeState};
use crate::rollout::Placement;

/// What is known of a changed device.
#[derive(Debug, PartialEq)]
pub(super) enum Gate {
    /// Seen well since it was changed; well since then.
    Passed(Timestamp),
    /// Not yet, for this reason; patience ends then.
    Waiting(String, Timestamp),
    /// Not well.
    Failed(String),
    /// Patience has ended without a word on this device that could be held against the revision: it vanished, or it
    /// was not well before either.
    NoWord(String),
}

/// Judges a device on which the content was applied. Only what was observed *after* that counts.
pub(super) fn judge(
    deployment: &Deployment,
    content: &Content,
    device: &Device,
    seen: &DeviceSeen,
    placement: &Placement,
    now: Timestamp,
) -> Gate {
    let Some(applied_at) = placement.applied_at else { return Gate::Failed("was not applied".into()) };
    let patience = applied_at.saturating_add(deployment.strategy.deadline).unwrap_or(Timestamp::MAX);
    let waiting = |reason: String, blamed: bool| {
        if now < patience {
            Gate::Waiting(reason, patience)
        } else if blamed && placement.healthy_before {
            Gate::Failed(format!("not well in time: {reason}"))
        } else {
            Gate::NoWord(reason)
        }
    };
    if let Contact::Unreachable { reason, .. } = &seen.contact {
        return waiting(format!("unreachable since it was changed: {reason}"), false);
    }
    if seen.seen_at.is_none_or(|at| at <= applied_at) {
        return waiting("not looked at since it was changed".into(), false);
    }
    for service in &content.services {
        match seen.items.get(&ItemKey::unit(&service.unit)) {
            Some(ItemSeen::Unit { active: true, .. }) => {}
            Some(ItemSeen::Unit { state, .. }) if state.starts_with("failed") || state.starts_with("inactive") => {
                return Gate::Failed(format!("{} is {state}", service.unit));
            }
            Some(ItemSeen::Unit { state, .. }) => return waiting(format!("{} is {state}", service.unit), true),
            Some(_) => return Gate::Failed(format!("{} does not exist", service.unit)),
            None => return waiting(format!("{} not looked at since it was changed", service.unit), false),
        }
    }
    let mut well_since = applied_at;
    if deployment.gate_probes {
        for probe in device.probes.iter().filter(|probe| !matches!(probe.check, Check::NotRun { .. })) {
            let name = &probe.name;
            let Some(result) = seen.probes.get(name).filter(|result| result.seen_at.is_some_and(|at| at > applied_at)) else {
                return waiting(format!("probe {name} has not run since it was changed"), false);
            };
            match result.state {
                ProbeState::Ok => well_since = well_since.max(result.since.unwrap_or(applied_at)),
                ProbeState::Unknown => return waiting(format!("probe {name} is unknown: {}", result.reason), false),
                // It was well on the new revision, and is no more.
                ProbeState::Fail if result.last_ok.is_some_and(|at| at > applied_at) && placement.healthy_before => {
                    return Gate::Failed(format!("probe {name} fails: {}", result.reason));
                }
                ProbeState::Fail => return waiting(format!("probe {name} fails: {}", result.reason), true),
            }
        }
    }
    Gate::Passed(well_since)
}
