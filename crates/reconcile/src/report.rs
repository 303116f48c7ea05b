//! Status, computed once: a pure function of desired, observed and what the plan put off.

use std::collections::BTreeMap;

use crds::{DeploymentStatus, DeviationStatus, DeviceStatus, FactsStatus, HistoryStatus, PackageStatus, PlainStatus, ProbeStatus};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::content::Content;
use crate::desired::{Deployment, Desired};
use crate::name::{Name, Target};
use crate::observed::{Contact, DeviceSeen, Health, ItemKey, ItemSeen, Observed, ProbeCode, ProbeSeen, ProbeState};
use crate::parents::{self, Hidden};
use crate::plan::{Deferred, WaitingOn};
use crate::rollout::{self, Phase, Placement, RevisionRecord, RevisionResult, Rollout};

mod login;

pub use login::{login_words, role};

/// Lists in a status are cut at this length; the full ones are behind the API.
const LIST: usize = 20;

/// What we know of a device.
pub fn device(desired: &Desired, observed: &Observed, name: &Name) -> DeviceStatus {
    let seen = observed.devices.get(name).map(|seen| (**seen).clone()).unwrap_or_default();
    let hidden = parents::hidden(desired, observed, name);
    let health = if hidden.is_some() { Health::Unknown } else { seen.health() };
    let mut status = DeviceStatus {
        health: format!("{health:?}"),
        probes: seen.probes.iter().take(LIST).map(|(name, probe)| probe_status(name, probe, hidden.as_ref())).collect(),
        facts: (!seen.facts.os.is_empty()).then(|| facts(&seen)),
        ..DeviceStatus::default()
    };
    let update = updated(desired, observed, name, &seen, &mut status);
    status.packages.truncate(LIST);
    status.deviations.truncate(LIST);
    update.word().clone_into(&mut status.update);
    let ready = health == Health::Healthy && update == Update::UpToDate;
    // What keeps it from being ready.
    let reason = match (&hidden, &seen.contact) {
        (None, Contact::Unreachable { code, .. }) => code.word().to_owned(),
        _ if health == Health::Healthy => status.update.clone(),
        _ => status.health.clone(),
    };
    let (since, word) = match &hidden {
        Some(hidden) => (hidden.since, hidden.reason()),
        None => (seen.changed_at(), seen.contact_word()),
    };
    status.plain = plain(ready, (&reason, since), &word, desired.stalled.get(&Target::Device(name.clone())));
    status
}

/// Whether a device is what Git says, in a word: `UpToDate`, `OutOfDate`, `Updating`, `Blocked` or `Unknown`.
pub fn update(desired: &Desired, observed: &Observed, name: &Name) -> &'static str {
    let nothing = DeviceSeen::default();
    let seen = observed.devices.get(name).map_or(&nothing, |seen| &**seen);
    updated(desired, observed, name, seen, &mut DeviceStatus::default()).word()
}

fn updated(desired: &Desired, observed: &Observed, name: &Name, seen: &DeviceSeen, status: &mut DeviceStatus) -> Update {
    let mut update = Update::UpToDate;
    for unit in desired.selected_by.get(name).into_iter().flatten() {
        let Some(deployment) = desired.deployments.get(unit) else { continue };
        let rollout = observed.rollouts.get(unit).map_or(&*rollout::NEVER, |rollout| &**rollout);
        update = update.max(on_device(deployment, rollout, seen, name, status));
    }
    update
}

/// Is it what Git says; the worst of its Deployments counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Update {
    UpToDate,
    Unknown,
    OutOfDate,
    Updating,
    Blocked,
}

impl Update {
    fn word(self) -> &'static str {
        match self {
            Self::UpToDate => "UpToDate",
            Self::Unknown => "Unknown",
            Self::OutOfDate => "OutOfDate",
            Self::Updating => "Updating",
            Self::Blocked => "Blocked",
        }
    }
}

fn on_device(deployment: &Deployment, rollout: &Rollout, seen: &DeviceSeen, name: &Name, status: &mut DeviceStatus) -> Update {
    let placement = rollout.placements.get(name);
    let (wanted, _) = deployment.content_for(name);
    let in_force = in_force(rollout)
        .map_or_else(|| wanted.clone(), |record| if record.digest == deployment.digest { wanted.clone() } else { record.content.clone() });
    let revision = placement.and_then(Placement::holds).map_or(0, |revision| i32::try_from(revision).unwrap_or(i32::MAX));
    for item in in_force.items().filter(|item| item.split().0 != "unit") {
        let version = seen.items.get(&item).and_then(|found| in_force.shown(&item, found)).unwrap_or_else(|| "-".into());
        status.packages.push(PackageStatus { deployment: by(&deployment.name), name: item.to_string(), version, revision });
    }
    let changes = in_force.changes(seen).map(|changes| if is_adopted(deployment, rollout, placement) { Vec::new() } else { changes });
    for change in changes.iter().flatten() {
        status.deviations.push(DeviationStatus {
            deployment: by(&deployment.name),
            path: change.item.to_string(),
            desired: change.to.clone().unwrap_or_else(|| "absent".into()),
            actual: change.from.clone().unwrap_or_else(|| "absent".into()),
            reason: placement.map(|placement| placement.failure.clone()).unwrap_or_default(),
        });
    }
    match (placement.map(|placement| placement.phase), changes) {
        (Some(phase), _) if phase.is_in_flight() => Update::Updating,
        (Some(Phase::Failed), _) => Update::Blocked,
        (_, None) => Update::Unknown,
        (_, Some(changes)) if changes.is_empty() => Update::UpToDate,
        _ => Update::OutOfDate,
    }
}

/// Who wants something of a device: a Deployment by its name, a Role with its login as `role/NAME`.
pub fn by(unit: &Name) -> String {
    if unit.role().is_some() { Target::unit(unit).to_string() } else { unit.to_string() }
}

/// The revision that devices are held to.
fn in_force(rollout: &Rollout) -> Option<&RevisionRecord> {
    let current = rollout.current()?;
    match current.result {
        RevisionResult::RolledBack { to } | RevisionResult::RollingBack { to, .. } => to.and_then(|number| rollout.revision(number)),
        _ => Some(current),
    }
}

fn facts(seen: &DeviceSeen) -> FactsStatus {
    let facts = seen.facts.clone();
    FactsStatus {
        os: facts.os,
        os_version: facts.os_version,
        kernel: facts.kernel,
        arch: facts.arch,
        cpus: facts.cpus,
        memory_bytes: facts.memory_bytes,
        serial: facts.serial,
    }
}

/// How a probe stands; of a device behind a dead one nobody knows.
fn probe_status(name: &str, probe: &ProbeSeen, hidden: Option<&Hidden>) -> ProbeStatus {
    let (state, code, since, reason) = match hidden {
        Some(hidden) => (ProbeState::Unknown, ProbeCode::ParentDead, hidden.since, hidden.reason()),
        None => (probe.state, probe.code, probe.since, probe.reason.clone()),
    };
    let state = match state {
        ProbeState::Ok => "ok",
        ProbeState::Fail => "fail",
        ProbeState::Unknown => "unknown",
    };
    let since = since.map(|at| format!("{at:.0}"));
    ProbeStatus { name: name.to_owned(), state: state.into(), since, code: code.word(), reason }
}

impl DeviceSeen {
    /// When it last came to be as it is: its contact or a probe.
    fn changed_at(&self) -> Option<Timestamp> {
        let contact = match &self.contact {
            Contact::Unreachable { since, .. } => Some(*since),
            _ => None,
        };
        self.probes.values().filter_map(|probe| probe.since).chain(contact).max().or(self.seen_at)
    }

    fn contact_word(&self) -> String {
        match &self.contact {
            Contact::Unreachable { reason, .. } => reason.clone(),
            _ => String::new(),
        }
    }
}

/// How far a Deployment is. `deferred` is what its last plan put off.
pub fn deployment(desired: &Desired, observed: &Observed, deferred: &[Deferred], name: &Name) -> DeploymentStatus {
    let rollout = observed.rollouts.get(name).map_or(&*rollout::NEVER, |rollout| &**rollout);
    let Some(deployment) = desired.deployments.get(name) else {
        return DeploymentStatus {
            phase: "Pending".into(),
            plain: plain(false, ("Stalled", None), "it is not in force", desired.stalled.get(&Target::unit(name))),
            ..DeploymentStatus::default()
        };
    };
    let unit = Target::unit(name);
    let own: Vec<&Deferred> = deferred.iter().filter(|deferred| deferred.unit == unit).collect();
    let phase = phase(deployment, rollout, &own);
    let first = own.iter().find(|deferred| deferred.target == deferred.unit).or_else(|| own.first());
    let waiting_on = first.map(|deferred| deferred.waiting_on.to_string());
    let waiting_on = waiting_on.unwrap_or_else(|| match (phase, deployment.members.is_empty()) {
        ("Pending", true) => "a device with the labels of spec.selector".into(),
        _ => String::new(),
    });
    let since = rollout.current().map(|record| record.finished_at.unwrap_or(record.started_at));
    let history = rollout.history.iter().rev().take(LIST).rev().map(history_status).collect();
    let mut plain = plain(phase == "Complete", (phase, since), &waiting_on, desired.stalled.get(&Target::unit(name)));
    let reason = rollout.current().map(|record| record.reason.as_str()).unwrap_or_default();
    plain
        .conditions
        .extend(course(phase).filter(|_| plain.conditions.len() == 1).map(|kind| condition(kind, true, (phase, since), reason)));
    DeploymentStatus {
        plain,
        phase: phase.into(),
        revision: rollout.current().and_then(|record| i32::try_from(record.number).ok()),
        in_force: in_force(rollout).and_then(|record| i32::try_from(record.number).ok()),
        batch: rollout.current().and_then(|record| i32::try_from(record.batches.len()).ok()).filter(|batch| *batch > 0),
        counts: counts(deployment, rollout, observed, &|_| true),
        waiting_on,
        history,
    }
}

/// How many devices of a Deployment stand how, as in its status, of those that `takes` takes; empty: it is not in force.
pub fn counts_of(desired: &Desired, observed: &Observed, name: &Name, takes: &dyn Fn(&Name) -> bool) -> BTreeMap<String, i32> {
    let rollout = observed.rollouts.get(name).map_or(&*rollout::NEVER, |rollout| &**rollout);
    desired.deployments.get(name).map(|deployment| counts(deployment, rollout, observed, takes)).unwrap_or_default()
}

/// How far a Deployment is, in a word; none: it is not in force.
pub fn phase_of(desired: &Desired, observed: &Observed, deferred: &[Deferred], name: &Name) -> Option<&'static str> {
    let deployment = desired.deployments.get(name)?;
    let rollout = observed.rollouts.get(name).map_or(&*rollout::NEVER, |rollout| &**rollout);
    let unit = Target::unit(name);
    let own: Vec<&Deferred> = deferred.iter().filter(|deferred| deferred.unit == unit).collect();
    Some(phase(deployment, rollout, &own))
}

/// What a thing that is ready, or not for a reason, shows: kstatus's conditions.
pub fn conditions(is_ready: bool, reason: &str, message: &str, now: Timestamp) -> Vec<Condition> {
    vec![condition("Ready", is_ready, (reason, Some(now)), message)]
}

/// The same for a thing that stays as it was last good, since what is written of it can't be used.
pub fn stalled(why: &str, now: Timestamp) -> Vec<Condition> {
    unready(Some("Stalled"), "InvalidManifest", why, now)
}

/// What a thing that is not ready shows: whether somebody has to do something for that (`Stalled`), or it goes on by itself or when it is let
/// (`Reconciling`).
pub fn unready(also: Option<&'static str>, reason: &str, message: &str, now: Timestamp) -> Vec<Condition> {
    let mut conditions = conditions(false, reason, message, now);
    conditions.extend(also.map(|also| condition(also, true, (reason, Some(now)), message)));
    conditions
}

/// What we know of an object that is no device and no Deployment: whether it can be used.
pub fn other(desired: &Desired, kind: crds::Kind, name: &Name) -> PlainStatus {
    let stalled = desired.stalled.get(&Target::of(kind, name.clone()));
    plain(true, ("Valid", None), "", stalled)
}

/// An AlertRule, with how many devices it has no room for.
pub fn rule(desired: &Desired, name: &Name, beyond_limit: usize) -> PlainStatus {
    if beyond_limit == 0 {
        return other(desired, crds::Kind::AlertRule, name);
    }
    let message = format!("its limit is reached: {beyond_limit} more devices are not alerted on");
    plain(false, ("LimitReached", None), &message, desired.stalled.get(&Target::Object(crds::Kind::AlertRule, name.clone())))
}

fn phase(deployment: &Deployment, rollout: &Rollout, deferred: &[&Deferred]) -> &'static str {
    let waits = |of: fn(&WaitingOn) -> bool| deferred.iter().any(|deferred| of(&deferred.waiting_on));
    let suspended = rollout.paused.is_some()
        || deferred.iter().any(|deferred| deferred.target == deferred.unit && matches!(deferred.waiting_on, WaitingOn::Suspended { .. }));
    // What has come to its end says nothing about what Git wants by now.
    let named = deployment.rollback_to.and_then(|number| rollout.revision(number));
    let wanted = named.map_or(&deployment.digest, |record| &record.digest);
    let is_over = |record: &RevisionRecord| !matches!(record.result, RevisionResult::Progressing | RevisionResult::RollingBack { .. });
    if rollout.current().is_some_and(|record| record.digest != *wanted && is_over(record)) {
        return if suspended { "Paused" } else { "Pending" };
    }
    match rollout.current().map(|record| &record.result) {
        None => "Pending",
        Some(RevisionResult::RollingBack { .. }) => "RollingBack",
        Some(RevisionResult::RolledBack { .. }) => "RolledBack",
        Some(RevisionResult::Stopped) => "Failed",
        Some(_) if suspended => "Paused",
        Some(RevisionResult::Complete | RevisionResult::Superseded) => "Complete",
        Some(RevisionResult::Progressing) if waits(|waiting| matches!(waiting, WaitingOn::Approval { .. })) => "AwaitingApproval",
        Some(RevisionResult::Progressing) if waits(|waiting| matches!(waiting, WaitingOn::Soak { .. })) => "Soaking",
        Some(RevisionResult::Progressing) => "Progressing",
    }
}

fn counts(deployment: &Deployment, rollout: &Rollout, observed: &Observed, takes: &dyn Fn(&Name) -> bool) -> BTreeMap<String, i32> {
    let mut counts: BTreeMap<String, i32> = ["total", "updated", "failed", "unreachable", "pending"].map(|key| (key.to_owned(), 0)).into();
    let goal = in_force(rollout);
    for member in deployment.members.iter().filter(|member| takes(member)) {
        let seen = observed.devices.get(member);
        let placement = rollout.placements.get(member);
        let content = match goal {
            Some(record) if record.digest != deployment.digest => &record.content,
            _ => deployment.content_for(member).0,
        };
        let applied = placement.is_some_and(|placement| placement.phase == Phase::Applied);
        let key = match seen.map(|seen| seen.health()) {
            _ if placement.is_some_and(|placement: &Placement| placement.phase == Phase::Failed) => "failed",
            Some(Health::Unreachable) => "unreachable",
            _ if applied && seen.is_some_and(|seen| !runs(content, seen)) => "failed",
            _ if is_adopted(deployment, rollout, placement) => "updated",
            _ if seen.and_then(|seen| content.matcher().matches(seen)) == Some(true)
                // A step that only prepares for what is not wanted any more changes nothing there.
                && placement.is_none_or(|placement| !placement.phase.is_disturbing()) =>
            {
                "updated"
            }
            _ => "pending",
        };
        *counts.entry(key.to_owned()).or_default() += 1;
        *counts.entry("total".to_owned()).or_default() += 1;
    }
    counts
}

/// Whatever was done to it by hand since we changed it is left, and not held against it.
fn is_adopted(deployment: &Deployment, rollout: &Rollout, placement: Option<&Placement>) -> bool {
    let in_force = in_force(rollout).map(|record| record.number);
    deployment.drift == crds::Drift::Adopt
        && placement.is_some_and(|placement| placement.phase == Phase::Applied && Some(placement.revision) == in_force)
}

/// Whether the units that are to run there were not seen stopped.
fn runs(content: &Content, seen: &DeviceSeen) -> bool {
    let stopped = |unit: &str| matches!(seen.items.get(&ItemKey::unit(unit)), Some(ItemSeen::Unit { active: false, .. }));
    !content.services.iter().any(|service| stopped(&service.unit))
}

fn history_status(record: &RevisionRecord) -> HistoryStatus {
    HistoryStatus {
        revision: i32::try_from(record.number).unwrap_or(i32::MAX),
        version: record.content.summary(),
        commit: record.commit.clone(),
        started_at: format!("{:.0}", record.started_at),
        finished_at: record.finished_at.map(|at| format!("{at:.0}")),
        result: record.result.word().to_owned(),
        reason: record.reason.clone(),
    }
}

impl RevisionResult {
    /// The bare word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Progressing => "Progressing",
            Self::Complete => "Complete",
            Self::RollingBack { .. } => "RollingBack",
            Self::RolledBack { .. } => "RolledBack",
            Self::Stopped => "Stopped",
            Self::Superseded => "Superseded",
        }
    }
}

/// What kstatus wants to know of a rollout beside whether it is ready: whether it still goes on, or has failed.
fn course(phase: &str) -> Option<&'static str> {
    match phase {
        "Complete" => None,
        "RolledBack" | "Failed" => Some("Stalled"),
        _ => Some("Reconciling"),
    }
}

/// `Ready` always, `Stalled` when true: what is written can't be used, and what was last good stays in force.
fn plain(ready: bool, (reason, since): (&str, Option<Timestamp>), message: &str, stalled: Option<&String>) -> PlainStatus {
    let mut conditions = vec![condition("Ready", ready && stalled.is_none(), (reason, since), message)];
    conditions.extend(stalled.map(|why| condition("Stalled", true, ("InvalidManifest", since), why)));
    PlainStatus { conditions, ..PlainStatus::default() }
}

fn condition(kind: &str, is_true: bool, (reason, since): (&str, Option<Timestamp>), message: &str) -> Condition {
    Condition {
        type_: kind.to_owned(),
        status: if is_true { "True" } else { "False" }.into(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        // The field can't be left out. The epoch says that nothing has been seen yet.
        last_transition_time: Time(since.unwrap_or(Timestamp::UNIX_EPOCH)),
        observed_generation: None,
    }
}
