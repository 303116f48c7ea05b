//! Whether a changed device has been seen well since.

use jiff::Timestamp;

use super::unit::Unit;
use crate::content::Content;
use crate::desired::Device;
use crate::name::Name;
use crate::observed::{AlertSeen, Contact, DeviceSeen, ItemKey, ItemSeen, ProbeState};
use crate::parents;
use crate::plan::WaitingOn;
use crate::rollout::Placement;

/// What is known of a changed device.
#[derive(Debug, PartialEq)]
pub(super) enum Gate {
    /// Seen well since it was changed; well since then.
    Passed(Timestamp),
    /// Not yet, for this reason.
    Waiting(WaitingOn),
    /// Not well.
    Failed(String),
    /// Patience has ended, and it can't be reached.
    Lost(String),
    /// Patience has ended without a word that could be held against the revision: the device was not well before either.
    Unproven(String),
}

/// What keeps a device from counting as well.
enum Ails {
    /// It will not get well by waiting.
    Broken(String),
    /// It may get well in time: so it was when it was looked at then.
    Unwell(String, Timestamp),
    /// Nothing can be said of it.
    Unknown(String),
    /// It has not been looked at: that is nobody's fault, and is waited for.
    Unseen(String),
    /// An alert fires that did not fire before, and says this.
    Alert(String, String),
}

/// Judges a device on which the content was applied. Only what was observed *after* that counts.
pub(super) fn judge(unit: &Unit<'_>, content: &Content, device: &Device, placement: &Placement) -> Gate {
    let Some(applied_at) = placement.applied_at else { return Gate::Failed("was not applied".into()) };
    if let Some(gate) = out_of_sight(unit, device, applied_at) {
        return gate;
    }
    let seen = unit.observed.devices.get(&device.name);
    let Some(seen) = seen.filter(|seen| seen.is_reachable() && seen.seen_at.is_some_and(|at| at > applied_at)) else {
        return Gate::Waiting(WaitingOn::Health { reason: "not looked at since it was changed".into(), until: None });
    };
    match well_since(unit, content, device, seen, placement) {
        Ok(since) => Gate::Passed(since),
        Err(ails) => verdict(ails, unit, placement.healthy_before, applied_at),
    }
}

/// Judges a changed device that can't be reached, or that nobody knows of since what it is reached through is dead; `None`: it can.
pub(super) fn out_of_sight(unit: &Unit<'_>, device: &Device, applied_at: Timestamp) -> Option<Gate> {
    let seen = unit.observed.devices.get(&device.name)?;
    let (since, reason) = match &seen.contact {
        Contact::Unreachable { since, reason, .. } => (*since, reason.clone()),
        _ => {
            let hidden = parents::hidden(unit.desired, unit.observed, &device.name)?;
            let since = hidden.since.unwrap_or(applied_at);
            // One that answered after that is there, whatever it is reached through.
            if seen.seen_at > Some(since) {
                return None;
            }
            (since, hidden.reason())
        }
    };
    // After a restart of ours it is only known from then on that it is away.
    let until = unit.deadline_after(applied_at.max(since));
    let reason = format!("unreachable since it was changed: {reason}");
    Some(if unit.now < until { Gate::Waiting(WaitingOn::Health { reason, until: Some(until) }) } else { Gate::Lost(reason) })
}

/// What ails a device since it was taken back to `content` (`None`: to what nobody knows); nothing is done about it, but it is said.
pub(super) fn ails_restored(content: Option<&Content>, device: &Device, seen: &DeviceSeen, placement: &Placement) -> Option<String> {
    let is_new = |at: Option<Timestamp>| at.is_some_and(|at| at > placement.since);
    if !seen.is_reachable() || !is_new(seen.seen_at) {
        return None;
    }
    let unit = content.and_then(|content| match units(content, seen) {
        Err(Ails::Broken(reason) | Ails::Unwell(reason, _)) => Some(reason),
        _ => None,
    });
    unit.or_else(|| {
        let failing = |name: &String| seen.probes.get(name).filter(|probe| is_new(probe.seen_at) && probe.state == ProbeState::Fail);
        device.probes.iter().find_map(|probe| Some(format!("probe {} fails: {}", probe.name, failing(&probe.name)?.reason)))
    })
}

fn verdict(ails: Ails, unit: &Unit<'_>, healthy_before: bool, applied_at: Timestamp) -> Gate {
    let patience = unit.deadline_after(applied_at);
    let (patient, until) = (unit.now < patience, Some(patience));
    match ails {
        Ails::Broken(reason) => Gate::Failed(reason),
        Ails::Unseen(reason) => Gate::Waiting(WaitingOn::Health { reason, until: None }),
        Ails::Unwell(reason, _) | Ails::Unknown(reason) if patient => Gate::Waiting(WaitingOn::Health { reason, until }),
        // Nobody looked when patience ended (the engine was not there): it may have got well since.
        Ails::Unwell(reason, at) if at < patience => Gate::Waiting(WaitingOn::Health { reason, until: None }),
        Ails::Unwell(reason, _) if healthy_before => Gate::Failed(format!("not well in time: {reason}")),
        Ails::Unwell(reason, _) | Ails::Unknown(reason) => Gate::Unproven(reason),
        Ails::Alert(name, _) if patient => Gate::Waiting(WaitingOn::Alert { name, until }),
        Ails::Alert(name, says) => Gate::Failed(fires(&name, &says)),
    }
}

fn well_since(unit: &Unit<'_>, content: &Content, device: &Device, seen: &DeviceSeen, placement: &Placement) -> Result<Timestamp, Ails> {
    units(content, seen)?;
    if unit.deployment.drift != crds::Drift::Adopt {
        there(content, seen)?;
    }
    let applied_at = placement.applied_at.unwrap_or(placement.since);
    let mut well_since = applied_at;
    if unit.deployment.gate_probes {
        for probe in &device.probes {
            well_since = well_since.max(self::probe(&probe.name, seen, placement, applied_at)?);
        }
    }
    alerts(unit, device, placement, applied_at)?;
    Ok(well_since)
}

fn units(content: &Content, seen: &DeviceSeen) -> Result<(), Ails> {
    for service in &content.services {
        match seen.items.get(&ItemKey::unit(&service.unit)) {
            Some(ItemSeen::Unit { active: true, .. }) => {}
            Some(ItemSeen::Unit { state, .. }) if state.starts_with("failed") || state.starts_with("inactive") => {
                return Err(Ails::Broken(format!("{} is {state}", service.unit)));
            }
            Some(ItemSeen::Unit { state, .. }) => return Err(unwell(format!("{} is {state}", service.unit), seen.seen_at)),
            Some(_) => return Err(Ails::Broken(format!("{} does not exist", service.unit))),
            None => return Err(Ails::Unseen(format!("{} not looked at since it was changed", service.unit))),
        }
    }
    Ok(())
}

fn unwell(reason: String, at: Option<Timestamp>) -> Ails {
    Ails::Unwell(reason, at.unwrap_or(Timestamp::UNIX_EPOCH))
}

/// That it is well says nothing of a content that somebody has changed since.
fn there(content: &Content, seen: &DeviceSeen) -> Result<(), Ails> {
    let Some(changes) = content.changes(seen) else { return Err(Ails::Unseen("not looked at in full since it was changed".into())) };
    let Some(change) = changes.first() else { return Ok(()) };
    let word = |value: &Option<String>| value.clone().unwrap_or_else(|| "absent".into());
    let reason = format!("{} is {}, not {} as applied", change.item, word(&change.from), word(&change.to));
    Err(unwell(reason, seen.seen_at))
}

fn probe(name: &str, seen: &DeviceSeen, placement: &Placement, applied_at: Timestamp) -> Result<Timestamp, Ails> {
    let Some(result) = seen.probes.get(name).filter(|result| result.seen_at.is_some_and(|at| at > applied_at)) else {
        return Err(Ails::Unseen(format!("probe {name} has not run since it was changed")));
    };
    match result.state {
        ProbeState::Ok => Ok(result.since.unwrap_or(applied_at)),
        ProbeState::Unknown if result.reason.is_empty() => Err(Ails::Unknown(format!("probe {name} is unknown"))),
        ProbeState::Unknown => Err(Ails::Unknown(format!("probe {name} is unknown: {}", result.reason))),
        // It was well on the new revision, and is no more; one that passed once and has not passed often enough yet is getting well.
        ProbeState::Fail if placement.healthy_before && result.last_ok.is_some_and(|at| at > applied_at && result.since > Some(at)) => {
            Err(Ails::Broken(format!("probe {name} fails: {}", result.reason)))
        }
        ProbeState::Fail => Err(unwell(format!("probe {name} fails: {}", result.reason), result.seen_at)),
    }
}

/// An alert counts if it began to fire after the batch was opened; outside of batches, after the device was changed. It may still end in
/// time, unless its rule lets it fire on for longer: then there is nothing to wait for.
fn alerts(unit: &Unit<'_>, device: &Device, placement: &Placement, applied_at: Timestamp) -> Result<(), Ails> {
    let batch = (placement.batch as usize).checked_sub(1);
    let record = unit.rollout.revision(placement.revision);
    let opened_at = record.zip(batch).and_then(|(record, batch)| record.batches.get(batch)).map_or(applied_at, |batch| batch.opened_at);
    let firing = unit.observed.alerts.get(&device.name).into_iter().flatten();
    let new = firing.filter(|alert| unit.deployment.gate_alerts.contains(&alert.severity) && alert.since > opened_at);
    let keeps = |rule: &Name| unit.desired.rules.get(rule).map(|rule| rule.timing.keep_firing_for).unwrap_or_default();
    let patience = unit.deadline_after(applied_at);
    let may_end = |alert: &AlertSeen| alert.since.saturating_add(keeps(&alert.rule)).is_ok_and(|ends| ends < patience);
    match new.min_by_key(|alert| (may_end(alert), alert.since, &alert.rule)) {
        Some(alert) if may_end(alert) => Err(Ails::Alert(format!("alert {}", alert.rule), alert.summary.clone())),
        Some(alert) => Err(Ails::Broken(fires(&format!("alert {}", alert.rule), &alert.summary))),
        None => Ok(()),
    }
}

fn fires(name: &str, says: &str) -> String {
    if says.is_empty() { format!("{name} is firing") } else { format!("{name} is firing: {says}") }
}
