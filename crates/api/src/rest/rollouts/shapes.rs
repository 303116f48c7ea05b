//! How values of the core look as they are sent: nothing here is made, it is only described. The API's tests hold what is sent to it.
#![expect(dead_code, reason = "it says how values of the core look")]

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde_json::{Map, Value};

/// Something of the core that is as free as a manifest.
type Free = Map<String, Value>;

/// One revision of a Deployment's content and what became of it.
#[derive(JsonSchema)]
#[schemars(rename = "RolloutRevision", rename_all = "camelCase")]
pub(super) struct Revision {
    /// Rises by one.
    number: u32,
    /// Of `content`.
    digest: String,
    /// What it puts on devices, as its manifest has it.
    content: Free,
    commit: String,
    author: String,
    /// The key that signed the commit, if its signature was verified.
    #[schemars(skip_serializing_if = "Option::is_none")]
    signer: Option<String>,
    started_at: Timestamp,
    /// null: it goes on.
    finished_at: Option<Timestamp>,
    result: RevisionResult,
    reason: String,
    /// Who asked to take it back.
    #[schemars(skip_serializing_if = "Option::is_none")]
    undone_by: Option<String>,
    batches: Vec<OpenedBatch>,
    /// It returned to what was complete before.
    revert: bool,
}

/// What became of a revision.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
enum RevisionResult {
    Progressing,
    Complete,
    RollingBack {
        /// Only from the devices of the batch that failed.
        last_batch_only: bool,
        /// null: to what was there before.
        to: Option<u32>,
    },
    RolledBack {
        /// null: to what was there before.
        to: Option<u32>,
    },
    Stopped,
    Superseded,
}

/// An opened batch.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct OpenedBatch {
    /// Those that one may see; null: all that were left.
    devices: Option<Vec<String>>,
    opened_at: Timestamp,
}

/// What was done on one device.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub(super) struct Placement {
    revision: u32,
    /// Of the content for this device.
    digest: String,
    /// From 1; 0: outside of batches.
    batch: u32,
    /// Such as `applied`.
    phase: String,
    since: Timestamp,
    /// The last step.
    step: String,
    /// Tries at this revision, from 1.
    attempt: u32,
    applied_at: Option<Timestamp>,
    healthy_before: bool,
    /// Whether the old state can be restored.
    way_back: Value,
    undo: Option<String>,
    /// The revision that was there before.
    from: Option<u32>,
    /// What went wrong. From hostile text.
    failure: String,
    restore_failures: u32,
    reboot_from: Option<String>,
}

/// A commit.
#[derive(JsonSchema)]
#[schemars(rename = "InForce")]
pub(super) struct Commit {
    /// Branch or tag.
    reference: String,
    commit: String,
    author: String,
    /// The key that signed it, if its signature was verified.
    signer: Option<String>,
}

/// What would come of a revision.
#[derive(JsonSchema)]
#[schemars(rename = "PlanPreview", rename_all = "camelCase")]
pub(super) struct Preview {
    revision: Commit,
    reach: Reach,
    /// The limits that it would break, in words.
    too_far: Option<String>,
    /// What is wrong with its manifests.
    findings: Vec<String>,
    outlook: Outlook,
}

/// What a revision would do to the fleet.
#[derive(JsonSchema)]
struct Reach {
    deleted: Vec<String>,
    touched: Vec<String>,
    /// Devices in all.
    of: usize,
}

/// What would come of it if all went well.
#[derive(JsonSchema)]
struct Outlook {
    /// Plans with something to do, in order.
    plans: Vec<Free>,
    /// Deployments that wait for a window first, which opens then.
    windows: BTreeMap<String, Timestamp>,
    /// What is put off at the end and does not come by waiting.
    deferred: Vec<Free>,
    /// Whether it comes to its end; else there is more than is shown.
    ends: bool,
}
