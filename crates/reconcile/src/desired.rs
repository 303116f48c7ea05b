//! What should be true at one revision.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crds::Object;
use jiff::SignedDuration;
use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};
use serde::{Deserialize, Serialize};

use crate::alerting::rule::{ALL_PATTERNS, Rule};
use crate::content::{Content, Digest};
use crate::finding::Finding;
use crate::name::{Name, Target};
use crate::observed::ItemKey;
use crate::plan::Revision;
use crate::window::Window;

mod asked;
mod build;
mod check;
mod login;
mod probe;
mod secret;
pub(crate) mod template;
mod update;
mod written;

pub use build::share;
pub(crate) use build::windows;
pub(crate) use check::Findings;
pub use check::PATTERN;
pub(crate) use login::DEADLINE as LOGIN_DEADLINE;
pub use login::is_own_way;
pub use probe::{Check, DnsCheck, HttpCheck, Probe, TlsCheck, Trust, Way};

/// A sorted map that shares what it has in common with the one that it was made from, so that another commit costs what it
/// changes and not what the fleet holds.
pub type Map<K, V> = RedBlackTreeMapSync<K, V>;
/// A sorted set of names that shares in the same way.
type Names = RedBlackTreeSetSync<Name>;

/// Identity of an object.
pub type Key = (crds::Kind, Name);

/// What should be true at one revision: parsed, validated, defaults filled in.
#[derive(Clone, Debug, Default)]
pub struct Desired {
    /// Where it came from.
    pub revision: Revision,
    /// Devices, classes merged in.
    pub devices: Map<Name, Arc<Device>>,
    /// Deployments, their members resolved; and the logins of Roles, which are rolled out as they are, under [`Name::login`].
    pub deployments: Map<Name, Arc<Deployment>>,
    /// For each device, the Deployments and logins that select it.
    pub selected_by: Map<Name, Vec<Name>>,
    /// AlertRules that can be used.
    pub rules: Map<Name, Arc<Rule>>,
    /// Every object as it was written, for those who show it.
    pub objects: Map<Key, Arc<Object>>,
    /// Objects that can't be used as they are written, and why; what was last good of them stays in force.
    pub stalled: BTreeMap<Target, String>,
    /// What makes an update cost what changes; only [`Desired::update`] writes it.
    pub index: Index,
}

/// Who looks at whom: which objects an update has to look at again.
#[derive(Clone, Debug, Default)]
pub struct Index {
    /// Every device that could be read; [`Desired::devices`] lacks those that are in a circle.
    read: Map<Name, Arc<Device>>,
    /// Those.
    circling: Names,
    /// Devices by the class that they use.
    class_users: Map<Name, Names>,
    /// Devices by the device that they name as parent or jump host.
    referrers: Map<Name, Names>,
    /// Every Deployment that could be built; [`Desired::deployments`] lacks those of them that contradict others.
    built: Map<Name, Arc<Deployment>>,
    /// Deployments that are written and not in force: something is wrong with them, or between them and others.
    left_out: Names,
    /// Deployments by what they put on devices.
    claims: Map<ItemKey, Names>,
    /// Deployments by the Deployment that they depend on.
    dependents: Map<Name, Names>,
    /// For each selector of the other kinds, by object and field, a device that it matches.
    witnesses: Map<(Key, String), Name>,
    /// What is wrong, by object.
    findings: Map<(Target, Part), Arc<Vec<Finding>>>,
}

/// What a finding depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// On the object alone.
    Own,
    /// On others too.
    Others,
    /// On others too: the tests of a Role.
    Tests,
    /// On all rules: whether there is room for its patterns.
    Patterns,
    /// On the login of a Role, and the devices that it selects.
    Login,
    /// On others too: whether somebody else has the account of a login.
    Accounts,
}

/// What one update changed, so that nobody has to compare two fleets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Devices that are new, gone, or otherwise than before.
    pub devices: BTreeSet<Name>,
    /// Deployments that are new, gone, or otherwise than before, or that have to do with a device or Deployment that is.
    pub deployments: BTreeSet<Name>,
}

impl Changed {
    /// Takes in what a further update changed.
    pub fn extend(&mut self, other: Self) {
        self.devices.extend(other.devices);
        self.deployments.extend(other.deployments);
    }

    /// Devices that are otherwise than before, or on which something else is wanted than before.
    pub fn concerned(&self, before: &Desired, after: &Desired) -> BTreeSet<Name> {
        let mut devices = self.devices.clone();
        for unit in &self.deployments {
            let (old, new) = (before.deployments.get(unit), after.deployments.get(unit));
            let empty = Vec::new();
            let members = |unit: Option<&Arc<Deployment>>| unit.map_or(&empty, |unit| &unit.members).clone();
            match (old, new) {
                (Some(old), Some(new)) if Arc::ptr_eq(old, new) => {}
                (Some(old), Some(new)) if old.digest == new.digest => {
                    devices.extend(old.members.iter().filter(|member| new.members.binary_search(member).is_err()).cloned());
                    devices.extend(new.members.iter().filter(|member| old.members.binary_search(member).is_err()).cloned());
                }
                _ => devices.extend(members(old).into_iter().chain(members(new))),
            }
        }
        devices
    }
}

impl Desired {
    /// Whether something asks for this unit of rollout: a Deployment, or a Role with a login that is not suspended.
    pub fn is_written(&self, unit: &Name) -> bool {
        let target = Target::unit(unit);
        match self.objects.get(&(target.kind(), target.name().clone())).map(|object| &**object) {
            Some(Object::Deployment(_)) => true,
            Some(Object::Role(role)) => login::of(&role.spec).is_some(),
            _ => false,
        }
    }

    /// The Deployments among what is rolled out.
    pub fn plain_deployments(&self) -> impl Iterator<Item = &Name> {
        self.deployments.keys().filter(|name| name.role().is_none())
    }

    /// The devices that name this one as a parent.
    pub fn children<'a>(&'a self, name: &'a Name) -> impl Iterator<Item = &'a Name> {
        let is_parent = |child: &&Name| self.devices.get(*child).is_some_and(|child| child.parents.contains(name));
        self.index.referrers.get(name).into_iter().flatten().filter(is_parent)
    }

    /// The patterns of log lines that rules ask for, as far as there is room: those of the rules that come first by name.
    pub fn log_patterns(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for pattern in self.rules.values().flat_map(|rule| rule.patterns()) {
            if all.len() < ALL_PATTERNS {
                all.insert(pattern);
            }
        }
        all
    }

    /// What is wrong with its objects, by object and field.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self.index.findings.values().flat_map(|found| found.iter().cloned()).collect();
        findings.sort_by(|a, b| (&a.object, &a.path, a.code).cmp(&(&b.object, &b.path, b.code)));
        findings
    }
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
    /// Labels of the object and its class; one value for all devices that have the same, as most of a site or a role do.
    pub labels: Arc<BTreeMap<String, String>>,
    /// Devices that this one is reached through.
    pub parents: Vec<Name>,
    /// How we act on it.
    pub access: Access,
    /// How we know that it is well.
    pub probes: Vec<Probe>,
    /// How we know what it uses; not at all if none.
    pub metrics: Option<Metrics>,
    /// How its lines of logs come to us.
    pub logs: Logs,
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

/// How a device's lines of logs come to us.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logs {
    /// It sends syslog. Where it does not, lines from its address are kept apart.
    pub syslog: bool,
    /// It passes on lines of others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub relay: bool,
    /// Its journal is read, so often.
    pub journald: Option<SignedDuration>,
}

impl Default for Logs {
    fn default() -> Self {
        Self { syslog: true, relay: false, journald: None }
    }
}

/// How it is known what a device uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metrics {
    /// Who is asked.
    pub source: MetricsSource,
    /// Time between two readings.
    pub interval: SignedDuration,
}

/// Who is asked what a device uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MetricsSource {
    /// The device itself, over its access: `/proc` and `df`.
    Ssh,
    /// A node_exporter on the device.
    NodeExporter {
        /// Its TCP port.
        port: u16,
        /// The path of its metrics.
        path: String,
    },
    /// The device's SNMP agent.
    Snmp(Snmp),
}

/// How a device's SNMP agent is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snmp {
    /// UDP port.
    pub port: u16,
    /// Version of the protocol.
    pub version: crds::SnmpVersion,
    /// The Secret with the community, or with user and keys.
    pub secret: Option<String>,
}

/// One Deployment with its members resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployment {
    /// Its identity.
    pub name: Name,
    /// Devices that its selector matches, in name order.
    pub members: Vec<Name>,
    /// Devices that it would select as well, if its account were not the one by which the engine logs in there.
    pub own_way: Vec<Name>,
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
