//! What should be true at one revision.

use std::collections::BTreeMap;
use std::sync::Arc;

use crds::Object;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::content::{Content, Digest};
use crate::name::Name;
use crate::plan::Revision;
use crate::window::Window;

pub(crate) mod build;
mod check;
mod template;

pub use build::share;
pub(crate) use build::windows;
pub(crate) use check::Findings;

/// What should be true at one revision: parsed, validated, defaults filled in.
#[derive(Clone, Debug, Default)]
pub struct Desired {
    /// Where it came from.
    pub revision: Revision,
    /// Devices, classes merged in.
    pub devices: BTreeMap<Name, Arc<Device>>,
    /// Deployments, their members resolved.
    pub deployments: BTreeMap<Name, Arc<Deployment>>,
    /// For each device, the Deployments that select it.
    pub selected_by: BTreeMap<Name, Vec<Name>>,
    /// Every object as it was written, for those who show it.
    pub objects: BTreeMap<(crds::Kind, Name), Arc<Object>>,
}

/// One device, its class merged in.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Device {
    /// Its identity.
    pub name: Name,
    /// Server, network device or storage box.
    pub device_type: crds::DeviceType,
    /// IP address or DNS name.
    pub address: String,
    /// Labels of the object and its class.
    pub labels: BTreeMap<String, String>,
    /// Devices that this one is reached through.
    pub parents: Vec<Name>,
    /// How we act on it.
    pub access: Access,
    /// How we know that it is well.
    pub probes: Vec<Probe>,
    /// When people work on it.
    pub maintenance: Vec<Window>,
    /// Left alone entirely.
    pub suspend: bool,
    /// Values for templates.
    pub vars: BTreeMap<String, serde_json::Value>,
}

/// How we act on a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// Over SSH.
    Ssh(SshAccess),
    /// The machine that the engine runs on.
    Local,
    /// Not at all: it is watched only.
    None,
}

/// How a device is reached over SSH.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshAccess {
    /// TCP port.
    pub port: u16,
    /// User to log in as.
    pub user: String,
    /// The Secret that holds the private key.
    pub secret: Option<String>,
    /// Accepted host keys, each as in `known_hosts` without the host: `ssh-ed25519 AAAA…`.
    pub host_keys: Vec<String>,
    /// Use `sudo -n` to become root.
    pub sudo: bool,
    /// The device to go through.
    pub via: Option<Name>,
}

/// One probe of a device, or one check of a Deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Unique on its device.
    pub name: String,
    /// What is tried.
    pub check: Check,
    /// Time between two runs.
    pub interval: SignedDuration,
    /// Time limit of one run.
    pub timeout: SignedDuration,
    /// Failures in a row until it counts as failed.
    pub failures: u32,
    /// Successes in a row until it counts as passed.
    pub successes: u32,
}

/// What a probe tries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Check {
    /// Opens a connection; may send and expect text.
    Tcp {
        /// Port.
        port: u16,
        /// Sent after connecting.
        send: Option<String>,
        /// Must appear in what comes back.
        expect: Option<String>,
    },
    /// One HTTP request.
    Http {
        /// `http` or `https`.
        scheme: String,
        /// Port.
        port: u16,
        /// Path with its query.
        path: String,
        /// Method.
        method: String,
        /// Request headers.
        headers: BTreeMap<String, String>,
        /// Accepted status codes; empty means 200 to 299.
        status: Vec<u16>,
        /// Must appear in the body.
        contains: Option<String>,
    },
    /// Echo requests.
    Icmp {
        /// How many.
        count: u32,
        /// Share of losses that is still accepted, in percent.
        max_loss_percent: u32,
        /// Average round trip that is still accepted.
        max_rtt: Option<SignedDuration>,
    },
    /// A command on the device.
    Ssh {
        /// Run by `sh -c`.
        command: String,
        /// The exit code that means well.
        exit_code: i32,
    },
    /// A kind of probe that is valid but not run by this version; its result stays unknown.
    NotRun {
        /// `tls`, `dns` or `snmp`.
        kind: String,
    },
}

/// One Deployment with its members resolved.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// Its identity.
    pub name: Name,
    /// Devices that its selector matches, in name order.
    pub members: Vec<Name>,
    /// What it puts on them, templates unrendered.
    pub content: Arc<Content>,
    /// Digest of `content`: what makes a revision another one.
    pub digest: Digest,
    /// Content per device where templates make a difference, with its digest.
    pub rendered: BTreeMap<Name, (Arc<Content>, Digest)>,
    /// How a new revision spreads.
    pub strategy: Strategy,
    /// Whether probes gate a batch.
    pub gate_probes: bool,
    /// Severities of which no new alert may fire on the devices of a batch.
    pub gate_alerts: Vec<crds::Severity>,
    /// What happens when a batch fails.
    pub on_failure: crds::OnFailure,
    /// Whether the way back must be proven first.
    pub way_back: crds::WayBack,
    /// Who has to agree, and how often.
    pub approval: crds::Approval,
    /// Changes happen only inside of these; empty means always.
    pub windows: Vec<Window>,
    /// What happens to drift.
    pub drift: crds::Drift,
    /// Deployments whose current revision must be complete on a device first.
    pub depends_on: Vec<Name>,
    /// What happens on devices that leave the selector.
    pub on_delete: crds::OnDelete,
    /// Revisions kept.
    pub history_limit: usize,
    /// Written `paused: true`.
    pub paused: bool,
    /// Written `suspend: true`.
    pub suspend: bool,
    /// Serve this revision of the history instead of `content`.
    pub rollback_to: Option<u32>,
}

/// How a new revision spreads.
#[derive(Clone, Debug, PartialEq)]
pub struct Strategy {
    /// Sizes of the first batches; an implicit last one takes the rest.
    pub batches: Vec<Share>,
    /// How many devices of a group may be out at once.
    pub max_unavailable: Share,
    /// Labels whose values make the groups that `max_unavailable` counts in.
    pub group_by: Vec<String>,
    /// A batch is watched this long before the next.
    pub soak: SignedDuration,
    /// A device must be well within this time after its step began.
    pub deadline: SignedDuration,
}

/// A number, or a share of some whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// So many.
    Count(u32),
    /// So many percent.
    Percent(u32),
}

impl Share {
    /// Of `whole`, rounded up, and at least one: the size of a batch.
    pub fn ceil_of(self, whole: usize) -> usize {
        match self {
            Self::Count(count) => count as usize,
            Self::Percent(percent) => (whole * percent as usize).div_ceil(100),
        }
        .max(1)
    }

    /// Of `whole`, rounded down, and at least one: what may be out at once. At least one, since a budget of
    /// none would never let anything happen.
    pub fn floor_of(self, whole: usize) -> usize {
        match self {
            Self::Count(count) => count as usize,
            Self::Percent(percent) => whole * percent as usize / 100,
        }
        .max(1)
    }
}

impl Deployment {
    /// The content for one device, templates rendered, with its digest.
    pub fn content_for(&self, device: &Name) -> (&Arc<Content>, &Digest) {
        match self.rendered.get(device) {
            Some((content, digest)) => (content, digest),
            None => (&self.content, &self.digest),
        }
    }
}
