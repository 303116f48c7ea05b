//! Deployment: what belongs on which devices, and how a change of it spreads.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::content::{FileSpec, PackageSpec, ServiceSpec};
use crate::meta::{PlainStatus, Selector, WindowSpec};
use crate::probe::ProbeSpec;
use crate::quantity::{Duration, Share};

/// Packages, archives and files on the devices that a selector chooses, rolled out in batches and back when it hurts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "evenkeel.dev",
    version = "v1alpha1",
    kind = "Deployment",
    namespaced,
    derive = "PartialEq",
    shortname = "edep",
    category = "evenkeel",
    status = "DeploymentStatus",
    plural = "deployments",
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Revision", type_ = "integer", json_path = ".status.revision"),
    printcolumn(name = "InForce", type_ = "integer", json_path = ".status.inForce", priority = 1),
    printcolumn(name = "Updated", type_ = "integer", json_path = ".status.counts.updated"),
    printcolumn(name = "Total", type_ = "integer", json_path = ".status.counts.total"),
    printcolumn(name = "Failed", type_ = "integer", json_path = ".status.counts.failed", priority = 1),
    printcolumn(name = "Waiting", type_ = "string", json_path = ".status.waitingOn"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("!(has(self.__package__) && has(self.packages))").message("package or packages, not both"))]
#[x_kube(validation = Rule::new("!(has(self.service) && has(self.services))").message("service or services, not both"))]
#[x_kube(validation = Rule::new("has(self.__package__) || has(self.packages) || has(self.files)").message("a package or a file: without content there is nothing to deploy"))]
pub struct DeploymentSpec {
    /// The devices; an empty selector chooses all of the namespace.
    pub selector: Selector,
    /// Short for a list of one package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<PackageSpec>,
    /// Packages and archives, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32))]
    pub packages: Vec<PackageSpec>,
    /// Files, in this order, after the packages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 100))]
    pub files: Vec<FileSpec>,
    /// Short for a list of one service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceSpec>,
    /// Units that are told of a change, and must be active afterwards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16))]
    pub services: Vec<ServiceSpec>,
    /// What must pass on a device before and after it is changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checks: Option<ChecksSpec>,
    /// Whether a reboot belongs to the change; Never if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reboot: Option<Reboot>,
    /// Deployments whose revision must be complete on a device first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 253)))]
    pub depends_on: Vec<String>,
    /// How a new revision spreads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<StrategySpec>,
    /// What must be well for a batch to count as good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateSpec>,
    /// What happens when a batch fails; Rollback if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
    /// Whether the old state must be proven restorable first; Require if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub way_back: Option<WayBack>,
    /// Whether a person has to agree; None if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// Changes happen only inside of these; always if none. A rollback does not wait for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub windows: Vec<WindowSpec>,
    /// What happens to a device that was changed behind our back; Correct if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
    /// What happens on a device that leaves the selector; Keep if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_delete: Option<OnDelete>,
    /// Revisions kept; 10 if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 100))]
    pub history_limit: Option<i32>,
    /// Begin nothing new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// Serve this revision of `status.history` instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub rollback_to: Option<i32>,
    /// Leave everything as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
}

/// What must pass on a device before and after it is changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChecksSpec {
    /// Before: a failure leaves the device as it is, for now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub before: Vec<ProbeSpec>,
    /// After, within the deadline: a failure counts against the revision.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub after: Vec<ProbeSpec>,
}

/// How a new revision spreads.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StrategySpec {
    /// Sizes of the first batches; an implicit last one takes the rest. One device, then 10%, if none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub batches: Vec<BatchSpec>,
    /// How many devices of a group may be out at once, for whatever reason, but at least one; 25% if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<Share>,
    /// Labels whose values make the groups that `maxUnavailable` counts in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4), inner(length(min = 1, max = 253)))]
    pub group_by: Vec<String>,
    /// A batch is watched this long before the next; 1m if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soak: Option<Duration>,
    /// A device must be well within this time; 10m if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Duration>,
}

/// The size of one batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BatchSpec {
    /// At most so many devices, or such a share of all, rounded up.
    pub max: Share,
}

/// What must be well for a batch to count as good.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GateSpec {
    /// Every probe of its devices passes; true if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probes: Option<bool>,
    /// No alert of these severities is new on its devices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3))]
    pub alerts: Vec<crate::Severity>,
    /// A CEL expression over `before` and `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub expr: Option<String>,
}

macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        pub enum $name { $($(#[$variant_doc])* $variant),* }
    };
}

choice! {
    /// Whether a reboot belongs to the change.
    Reboot {
        /// Never.
        Never,
        /// When the device says that it needs one.
        IfRequired,
        /// Always.
        Always,
    }
}
choice! {
    /// What happens when a batch fails.
    OnFailure {
        /// Every device that was changed is taken back.
        Rollback,
        /// The devices of the batch are taken back; the others keep it, and the rollout stops.
        RollbackBatch,
        /// The rollout stops.
        Pause,
    }
}
choice! {
    /// Whether the old state must be proven restorable before a device is changed.
    WayBack {
        /// It must.
        Require,
        /// It is tried, and done without.
        BestEffort,
    }
}
choice! {
    /// Whether a person has to agree.
    Approval {
        /// No.
        None,
        /// Before the first batch.
        FirstBatch,
        /// Before every batch.
        EveryBatch,
    }
}
choice! {
    /// What happens to a device that was changed behind our back.
    Drift {
        /// It is brought back.
        Correct,
        /// It is told in the status.
        Report,
        /// It is left, and not held against the device.
        Adopt,
    }
}
choice! {
    /// What happens on a device that leaves the selector.
    OnDelete {
        /// What is there stays.
        Keep,
        /// It is removed.
        Remove,
    }
}

/// How far a Deployment is; written by the engine, on transitions only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentStatus {
    /// What every status has.
    #[serde(flatten)]
    pub plain: PlainStatus,
    /// Pending, Progressing, Soaking, AwaitingApproval, Paused, RollingBack, RolledBack, Complete or Failed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub phase: String,
    /// The newest revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<i32>,
    /// The revision that devices are held to: the newest one, or the one that was gone back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_force: Option<i32>,
    /// The open batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<i32>,
    /// Devices by state.
    #[serde(default)]
    pub counts: BTreeMap<String, i32>,
    /// What it waits for, in one line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub waiting_on: String,
    /// Revisions, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub history: Vec<HistoryStatus>,
}

/// One revision.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HistoryStatus {
    /// Its number.
    pub revision: i32,
    /// What it puts on devices, in a few words.
    pub version: String,
    /// The commit that asked for it.
    pub commit: String,
    /// When it began.
    pub started_at: String,
    /// When it ended.
    pub finished_at: Option<String>,
    /// What became of it.
    pub result: String,
    /// Why.
    pub reason: String,
}
