//! The batches of a rollout, each with its devices and what its gate says.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use reconcile::rollout::Batch as Opened;
use reconcile::{Judged, Name, Observed, RevisionRecord, RevisionResult, Rollout, parents};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::Sight;

/// Devices that one answer has: each batch says how many more it is of.
const DEVICES: usize = 10_000;

/// A batch of the newest revision.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Batch {
    /// From 1.
    number: usize,
    opened_at: Timestamp,
    /// It takes all devices that are left.
    takes_rest: bool,
    gate: BatchGate,
    /// Of those that one may see.
    devices: Vec<Member>,
    /// How many more there are of them, beyond what one answer has.
    more: usize,
}

/// What a batch has to pass before the next one is opened, or the revision is complete; counted are the devices that one may see.
#[derive(Serialize, JsonSchema)]
struct BatchGate {
    /// `waiting`, `passed`, `failed`, or `left` where another revision came before it was decided.
    state: &'static str,
    /// When it passed or failed.
    at: Option<Timestamp>,
    /// Why it failed, as the rollout has it.
    reason: String,
    /// Devices by what the gate says of them: the words of `devices[].gate.result`, and `pending` for those that were not changed.
    counts: BTreeMap<&'static str, usize>,
}

/// A device in a batch.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "BatchDevice")]
struct Member {
    /// As `NAMESPACE/NAME`.
    name: String,
    /// `waiting` as long as nothing was done, else `preparing`, `prepared`, `applying`, `applied`, `rebooting`, `failed`, `restoring`,
    /// `restored`, `removing`.
    phase: String,
    /// The revision that it was done for.
    revision: Option<u32>,
    since: Option<Timestamp>,
    step: Option<String>,
    problem: Option<String>,
    health: String,
    /// What the gate says of it; null: it was not changed yet.
    gate: Option<DeviceGate>,
}

/// What the gate says of a device that was changed.
#[derive(Serialize, JsonSchema)]
struct DeviceGate {
    /// `passed`, `waiting`, `changing`, `failed`, `unproven` (as unwell as before), `lost` (not reached since) or `away`.
    result: &'static str,
    /// Why, in words. From hostile text.
    reason: String,
    /// Since when it is well.
    since: Option<Timestamp>,
}

impl DeviceGate {
    fn of(sight: &Sight, judged: &Judged) -> Self {
        let (reason, since) = match judged {
            Judged::Passed(since) => (String::new(), *since),
            Judged::Waiting(on) => (crate::explain::seen(on, &|kind, name| sight.sees(kind, name)).to_string(), None),
            Judged::Failed(reason) | Judged::Unproven(reason) | Judged::Lost(reason) => (reason.clone(), None),
            Judged::Changing | Judged::Away => (String::new(), None),
        };
        Self { result: word(judged), reason: sight.masked(&reason), since }
    }
}

fn word(judged: &Judged) -> &'static str {
    match judged {
        Judged::Passed(_) => "passed",
        Judged::Waiting(_) => "waiting",
        Judged::Changing => "changing",
        Judged::Failed(_) => "failed",
        Judged::Unproven(_) => "unproven",
        Judged::Lost(_) => "lost",
        Judged::Away => "away",
    }
}

/// Those of the newest revision.
pub(super) fn of(observed: &Observed, sight: &Sight, name: &Name, rollout: &Rollout) -> Vec<Batch> {
    let Some(current) = rollout.current() else { return Vec::new() };
    let listed: BTreeSet<&Name> = current.batches.iter().flat_map(|batch| batch.devices.iter().flatten()).collect();
    let members = sight.desired.deployments.get(name).map(|deployment| deployment.members.as_slice()).unwrap_or_default();
    let judged = reconcile::judged(&sight.desired, observed, name, Timestamp::now());
    let member = |device: &Name| {
        let placed = rollout.placements.get(device).filter(|placed| placed.revision == current.number);
        Member {
            name: device.full().to_owned(),
            phase: placed.map_or_else(|| "waiting".into(), |placed| json!(placed.phase).as_str().unwrap_or_default().to_owned()),
            revision: rollout.placements.get(device).map(|placed| placed.revision),
            since: placed.map(|placed| placed.since),
            step: placed.map(|placed| placed.step.to_string()),
            problem: placed.filter(|placed| !placed.failure.is_empty()).map(|placed| sight.masked(&placed.failure)),
            health: format!("{:?}", parents::health(&sight.desired, observed, device)),
            gate: judged.get(device).map(|judged| DeviceGate::of(sight, judged)),
        }
    };
    let mut room = DEVICES;
    let batch = |(at, batch): (usize, &Opened)| {
        let of: Vec<&Name> = match &batch.devices {
            Some(devices) => devices.iter().filter(|device| sight.sees_device(device)).collect(),
            None => members.iter().filter(|device| !listed.contains(device) && sight.sees_device(device)).collect(),
        };
        let gate = gate(sight, current, at, of.iter().map(|device| judged.get(*device)));
        let devices: Vec<Member> = of.iter().take(room).map(|device| member(device)).collect();
        room -= devices.len();
        let more = of.len() - devices.len();
        Batch { number: at + 1, opened_at: batch.opened_at, takes_rest: batch.devices.is_none(), gate, devices, more }
    };
    current.batches.iter().enumerate().map(batch).collect()
}

/// A batch has passed when the next one was opened; what the last one came to is what the revision came to.
fn gate<'a>(sight: &Sight, current: &RevisionRecord, at: usize, devices: impl Iterator<Item = Option<&'a Judged>>) -> BatchGate {
    let mut counts = BTreeMap::new();
    for device in devices {
        *counts.entry(device.map_or("pending", word)).or_default() += 1;
    }
    let (state, at) = match (current.batches.get(at + 1), &current.result) {
        (Some(next), _) => ("passed", Some(next.opened_at)),
        (None, RevisionResult::Progressing) => ("waiting", None),
        (None, RevisionResult::Complete) => ("passed", current.finished_at),
        (None, RevisionResult::Superseded) => ("left", current.finished_at),
        (None, RevisionResult::Stopped | RevisionResult::RollingBack { .. } | RevisionResult::RolledBack { .. }) => {
            ("failed", current.finished_at)
        }
    };
    let reason = if state == "failed" { sight.masked(&current.reason) } else { String::new() };
    BatchGate { state, at, reason, counts }
}
