//! Device and DeviceClass: what is out there, and how it is reached and watched.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::meta::{PlainStatus, SecretRef, WindowSpec};
use crate::probe::ProbeSpec;
use crate::quantity::{Duration, HOST_KEY};

/// A server, a network device or a storage box.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "evenkeel.dev",
    version = "v1alpha1",
    kind = "Device",
    namespaced,
    derive = "PartialEq",
    shortname = "dev",
    category = "evenkeel",
    // The objects that we hold in memory have none, and there are many.
    status = "Box<DeviceStatus>",
    plural = "devices",
    printcolumn(name = "Health", type_ = "string", json_path = ".status.health"),
    printcolumn(name = "Update", type_ = "string", json_path = ".status.update"),
    printcolumn(name = "Address", type_ = "string", json_path = ".spec.address"),
    printcolumn(name = "Class", type_ = "string", json_path = ".spec.class", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("self.type == oldSelf.type").message("type can't be changed: delete the device and create it anew"))]
pub struct DeviceSpec {
    /// What it is; can't be changed.
    #[serde(rename = "type")]
    pub device_type: DeviceType,
    /// IP address or DNS name.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[0-9A-Za-z:]([-0-9A-Za-z._:]*[0-9A-Za-z])?$"))]
    pub address: String,
    /// The DeviceClass whose fields this device takes where it has none of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub class: Option<String>,
    /// Devices that this one is reached through: a dead parent makes it Unknown, not dead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 253)))]
    pub parents: Vec<String>,
    /// How we act on it; without it the device is only watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<AccessSpec>,
    /// Is it up?
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub probes: Vec<ProbeSpec>,
    /// CPU, memory, disks, network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<MetricsSpec>,
    /// What it logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs: Option<LogsSpec>,
    /// When people work on it: nothing is changed then, and alerts are quiet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub maintenance: Vec<WindowSpec>,
    /// Values for templates.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 100, "additionalProperties" = {"x-kubernetes-preserve-unknown-fields": true}))]
    pub vars: BTreeMap<String, serde_json::Value>,
    /// Leave it alone entirely.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
}

/// What a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum DeviceType {
    /// A server.
    Server,
    /// A switch, router, firewall or access point.
    Network,
    /// A storage box.
    Storage,
}

/// How we act on a device; exactly one of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.ssh) != has(self.local)").message("exactly one of ssh, local"))]
pub struct AccessSpec {
    /// Over SSH.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<SshSpec>,
    /// The machine that the engine runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<LocalSpec>,
}

/// The machine that the engine runs on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LocalSpec {}

/// How a device is reached over SSH.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SshSpec {
    /// TCP port; 22 if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// User to log in as; root if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = r"^[a-z_][-a-z0-9_]*$"))]
    pub user: Option<String>,
    /// The Secret with the private key, under `ssh-privatekey`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
    /// Accepted host keys, such as `ssh-ed25519 AAAA…`; any other key is refused. `evenkeel scan ADDRESS` prints them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 2048), regex(pattern = HOST_KEY)))]
    pub host_keys: Vec<String>,
    /// How to become root; not at all if none.
    #[serde(default, rename = "become", skip_serializing_if = "Option::is_none")]
    pub become_root: Option<Become>,
    /// The device to go through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub via: Option<String>,
}

/// How to become root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Become {
    /// `sudo -n`.
    Sudo,
    /// Not at all.
    None,
}

/// CPU, memory, disks, network; exactly one of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("[has(self.ssh), has(self.nodeExporter), has(self.snmp)].filter(x, x).size() == 1").message("exactly one of ssh, nodeExporter, snmp"))]
pub struct MetricsSpec {
    /// Read from /proc over SSH.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<LocalSpec>,
    /// Scraped from node_exporter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_exporter: Option<NodeExporterSpec>,
    /// Asked by SNMP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snmp: Option<SnmpSpec>,
    /// Time between two readings; 30s if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
}

/// Where node_exporter listens.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeExporterSpec {
    /// The port; 9100 if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// The path; `/metrics` if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = "^/"))]
    pub path: Option<String>,
}

/// How a device is asked by SNMP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SnmpSpec {
    /// The port; 161 if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// Version; v2c if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<SnmpVersion>,
    /// Community (v2c), or user and keys (v3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
}

/// Version of SNMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SnmpVersion {
    /// Community based.
    V2c,
    /// With users and encryption.
    V3,
}

/// What a device logs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogsSpec {
    /// It sends syslog to us; if none, true, or false where its journal is read. What comes from its address nevertheless is kept apart, as what
    /// unknown senders send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syslog: Option<bool>,
    /// It passes on what others send: the host that a line names says whose it is, among our devices. False if none: whatever a device sends is
    /// its own, since anybody could name another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<bool>,
    /// Its systemd journal is read over its access.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journald: Option<JournaldSpec>,
}

/// How a device's journal is read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JournaldSpec {
    /// Time between two readings; 30s if none, and not less than 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
}

/// What we know of a device; written by the engine, on transitions only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceStatus {
    /// What every status has.
    #[serde(flatten)]
    pub plain: PlainStatus,
    /// Healthy, Degraded, Unreachable or Unknown: are we able to see it, and is it well.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub health: String,
    /// UpToDate, Updating, OutOfDate, Blocked or Unknown: is it what Git says.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub update: String,
    /// What kind of machine it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<FactsStatus>,
    /// Probes by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub probes: Vec<ProbeStatus>,
    /// What our Deployments put there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub packages: Vec<PackageStatus>,
    /// Where it differs from what is in force.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub deviations: Vec<DeviationStatus>,
}

/// What kind of machine it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FactsStatus {
    /// Distribution.
    pub os: String,
    /// Its version.
    pub os_version: String,
    /// Kernel release.
    pub kernel: String,
    /// Machine architecture.
    pub arch: String,
    /// Online processors.
    pub cpus: i32,
    /// Memory in bytes.
    pub memory_bytes: i64,
    /// Serial number.
    pub serial: String,
}

/// One probe's state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProbeStatus {
    /// Its name.
    pub name: String,
    /// ok, fail or unknown.
    pub state: String,
    /// Since when.
    pub since: Option<String>,
    /// Why, in one word for machines, such as `Refused` or `CertificateExpired`.
    pub code: String,
    /// Why.
    pub reason: String,
}

/// What one Deployment put on the device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PackageStatus {
    /// The Deployment.
    pub deployment: String,
    /// The package, archive or file.
    pub name: String,
    /// What is there.
    pub version: String,
    /// The Deployment's revision.
    pub revision: i32,
}

/// One difference from what is in force.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviationStatus {
    /// The Deployment.
    pub deployment: String,
    /// The package, archive or file.
    pub path: String,
    /// What should be there.
    pub desired: String,
    /// What is there.
    pub actual: String,
    /// Why it is not corrected.
    pub reason: String,
}

/// What many devices have in common; a Device wins field by field, and probes merge by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "evenkeel.dev",
    version = "v1alpha1",
    kind = "DeviceClass",
    namespaced,
    derive = "PartialEq",
    shortname = "dclass",
    category = "evenkeel",
    status = "PlainStatus",
    plural = "deviceclasses",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeviceClassSpec {
    /// Labels that its devices have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub labels: BTreeMap<String, String>,
    /// Devices that they are reached through.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 253)))]
    pub parents: Vec<String>,
    /// How we act on them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<AccessSpec>,
    /// Are they up?
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub probes: Vec<ProbeSpec>,
    /// CPU, memory, disks, network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<MetricsSpec>,
    /// What they log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs: Option<LogsSpec>,
    /// When people work on them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub maintenance: Vec<WindowSpec>,
    /// Values for templates.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 100, "additionalProperties" = {"x-kubernetes-preserve-unknown-fields": true}))]
    pub vars: BTreeMap<String, serde_json::Value>,
    /// Leave its devices alone entirely.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
}
