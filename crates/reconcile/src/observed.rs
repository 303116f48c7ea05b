//! What was seen, and when.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::content::{Content, Digest, short};
use crate::desired::Desired;
use crate::name::Name;
use crate::rollout::Rollout;

mod logs;
mod probe;

pub use logs::{KEPT, LogSaid, LogsSeen};
pub use probe::{ProbeCode, ProbeSeen, ProbeState};

/// What was seen, and when; each item known, absent or unreachable, never silently missing.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Devices, by name. One that is missing here has never been tried.
    pub devices: HashMap<Name, Arc<DeviceSeen>>,
    /// What the store remembers of each Deployment's rollouts.
    pub rollouts: BTreeMap<Name, Arc<Rollout>>,
    /// Alerts that fire now, by the device that they speak of.
    pub alerts: BTreeMap<Name, Vec<AlertSeen>>,
    /// What stands out in the logs of devices, where anything does.
    pub logs: HashMap<Name, Arc<LogsSeen>>,
}

impl Observed {
    /// Forgets devices, and probes of devices, that are not there any more; among those that were changed.
    pub fn forget(&mut self, desired: &Desired, changed: &BTreeSet<Name>) {
        for name in changed {
            let Some(device) = desired.devices.get(name) else {
                self.devices.remove(name);
                self.logs.remove(name);
                continue;
            };
            let is_there = |probe: &String| device.probes.iter().any(|there| there.name == *probe);
            if let Some(seen) = self.devices.get_mut(name)
                && !seen.probes.keys().all(is_there)
            {
                Arc::make_mut(seen).probes.retain(|probe, _| is_there(probe));
            }
        }
    }

    /// What has to be read on a device: the items of everything that belongs there, by what Git says and by what is in force.
    pub fn items(&self, desired: &Desired, device: &Name) -> BTreeSet<ItemKey> {
        let mut items = BTreeSet::new();
        for unit in desired.selected_by.get(device).into_iter().flatten() {
            let Some(deployment) = desired.deployments.get(unit) else { continue };
            items.extend(deployment.content.items());
            if let Some(record) = self.rollouts.get(unit).and_then(|rollout| rollout.in_force()) {
                items.extend(record.content.items());
            }
        }
        items
    }
}

impl Observed {
    /// Those of the items to be read on a device that hold a secret: nothing of their hash is to be written down.
    pub fn secret_items(&self, desired: &Desired, device: &Name) -> BTreeSet<ItemKey> {
        let mut items = BTreeSet::new();
        for unit in desired.selected_by.get(device).into_iter().flatten() {
            let wanted = desired.deployments.get(unit).map(|deployment| &*deployment.content);
            let in_force = self.rollouts.get(unit).and_then(|rollout| rollout.in_force()).map(|record| &*record.content);
            for content in wanted.into_iter().chain(in_force) {
                items.extend(content.items().filter(|key| content.is_secret(key)));
            }
        }
        items
    }
}

/// An alert that fires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AlertSeen {
    /// The AlertRule.
    pub rule: Name,
    /// How bad it is.
    pub severity: crds::Severity,
    /// When it began to fire.
    pub since: Timestamp,
    /// What it says.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
}

/// What was last seen of one device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceSeen {
    /// Whether it can be acted on.
    pub contact: Contact,
    /// When `items`, `facts` and `bootId` were read.
    pub seen_at: Option<Timestamp>,
    /// Changes with each boot; proof that a reboot happened.
    pub boot_id: String,
    /// The device says that it needs a reboot.
    pub reboot_required: bool,
    /// What kind of machine it is.
    pub facts: Facts,
    /// State of what Deployments decide on it; an item that is missing here has not been looked at.
    pub items: BTreeMap<ItemKey, ItemSeen>,
    /// Probes by name. A map has room for eleven where there are a few: they lie elsewhere.
    pub probes: BTreeMap<String, Box<ProbeSeen>>,
}

/// Whether a device can be acted on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Contact {
    /// Not tried yet.
    #[default]
    Never,
    /// It answered when it was last tried.
    Known,
    /// It did not answer.
    Unreachable {
        /// Since when.
        since: Timestamp,
        /// Why, in the words of the transport.
        reason: String,
        /// Why, in one word.
        #[serde(default)]
        code: AwayCode,
    },
}

/// Why a device can't be acted on: somebody who refuses us is there, and waiting does not help.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AwayCode {
    /// Nobody answers, or not in time.
    #[default]
    NoAnswer,
    /// It does not let us log in.
    LoginRefused,
    /// Its host key is none that is pinned.
    HostKeyMismatch,
    /// There is no key to log in with.
    NoCredential,
}

impl AwayCode {
    /// The word for it, as in conditions, events and rules.
    pub fn word(self) -> &'static str {
        match self {
            Self::NoAnswer => "Unreachable",
            Self::LoginRefused => "LoginRefused",
            Self::HostKeyMismatch => "HostKeyMismatch",
            Self::NoCredential => "NoCredential",
        }
    }

    /// The same for people, as of a device that is so since an instant.
    pub fn says(self) -> &'static str {
        match self {
            Self::NoAnswer => "unreachable",
            Self::LoginRefused => "refuses our login",
            Self::HostKeyMismatch => "shows a host key that is not pinned",
            Self::NoCredential => "can't be logged in to: our key is missing",
        }
    }
}

/// What kind of machine it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Facts {
    /// Distribution, such as `debian`.
    pub os: String,
    /// Its version, such as `12`.
    pub os_version: String,
    /// Kernel release.
    pub kernel: String,
    /// Machine architecture as `uname -m` has it.
    pub arch: String,
    /// Online processors.
    pub cpus: i32,
    /// Memory in bytes.
    pub memory_bytes: i64,
    /// Serial number, if it can be read.
    pub serial: String,
}

/// An item of a device: `apt:nginx`, `archive:/opt/app`, `file:/etc/motd`, `account:alice`, `unit:nginx.service`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ItemKey(pub String);

impl ItemKey {
    /// A Debian package.
    pub fn apt(name: &str) -> Self {
        Self(format!("apt:{name}"))
    }
    /// An archive's directory.
    pub fn archive(into: &str) -> Self {
        Self(format!("archive:{into}"))
    }
    /// A file.
    pub fn file(path: &str) -> Self {
        Self(format!("file:{path}"))
    }
    /// An account.
    pub fn account(user: &str) -> Self {
        Self(format!("account:{user}"))
    }
    /// A systemd unit.
    pub fn unit(name: &str) -> Self {
        Self(format!("unit:{name}"))
    }
    /// The part before the colon and the part after it.
    pub fn split(&self) -> (&str, &str) {
        self.0.split_once(':').unwrap_or(("", &self.0))
    }
}

impl fmt::Display for ItemKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an item was found to be.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ItemSeen {
    /// It is not there.
    Absent,
    /// An installed package.
    Package {
        /// Its version.
        version: String,
        /// Held at that version.
        #[serde(default)]
        held: bool,
        /// Half-installed, unpacked only, or failed to configure.
        #[serde(default)]
        broken: bool,
    },
    /// The archive that `current` points at.
    Archive {
        /// Hash of the archive that was unpacked.
        sha256: String,
    },
    /// A file.
    File {
        /// Hash of its bytes.
        sha256: String,
        /// Octal, four digits.
        mode: String,
        /// User name.
        owner: String,
        /// Group name.
        group: String,
    },
    /// An account. One that was made for a Role and has been taken off again, which stays there locked, is absent.
    Account {
        /// Hash of the file of its keys; empty: there is none.
        keys: String,
        /// Hash of the sudo rules that we keep for it, if there are any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sudo: Option<String>,
        /// It has expired, so that nobody logs in there.
        #[serde(default)]
        locked: bool,
    },
    /// A unit.
    Unit {
        /// `ActiveState` is `active`.
        active: bool,
        /// `ActiveState` and `SubState`, such as `failed/failed`.
        state: String,
    },
}

impl ItemSeen {
    /// The same for what holds a secret: nothing of its hash.
    pub fn shown_as_secret(&self) -> Option<String> {
        match self {
            Self::File { mode, owner, group, .. } => Some(format!("secret {mode} {owner}:{group}")),
            other => other.shown(),
        }
    }

    /// The same without the hash of what is in it.
    fn without_hash(self) -> Self {
        match self {
            Self::File { mode, owner, group, .. } => Self::File { sha256: String::new(), mode, owner, group },
            other => other,
        }
    }

    /// A few words for people; `None` when absent.
    pub fn shown(&self) -> Option<String> {
        Some(match self {
            Self::Absent => return None,
            Self::Package { version, held, broken } => {
                let mut text = version.clone();
                if *held {
                    text.push_str(" (held)");
                }
                if *broken {
                    text.push_str(" (broken)");
                }
                text
            }
            Self::Archive { sha256 } => short(sha256).to_owned(),
            Self::File { sha256, mode, owner, group } => format!("{} {mode} {owner}:{group}", short(sha256)),
            Self::Account { keys, sudo, locked } => {
                let mut text = if keys.is_empty() { "without keys".to_owned() } else { format!("keys {}", short(keys)) };
                if let Some(sudo) = sudo {
                    text.push_str(&format!(", sudo {}", short(sudo)));
                }
                if *locked {
                    text.push_str(", locked");
                }
                text
            }
            Self::Unit { state, .. } => state.clone(),
        })
    }
}

/// Are we able to see it, and is it well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Health {
    /// Reachable and every probe passes.
    Healthy,
    /// Reachable and some probe fails.
    Degraded,
    /// Not reachable.
    Unreachable,
    /// Not known yet.
    Unknown,
}

impl DeviceSeen {
    /// Keeps of an earlier look what this one could not see: what was last known of a device that is out of sight stays known, with when it
    /// got out of sight.
    pub fn after(&mut self, before: &Self) {
        let Contact::Unreachable { since, .. } = &mut self.contact else { return };
        if let Contact::Unreachable { since: earlier, .. } = &before.contact {
            *since = *earlier;
        }
        (self.items, self.facts, self.boot_id, self.seen_at) =
            (before.items.clone(), before.facts.clone(), before.boot_id.clone(), before.seen_at);
    }

    /// Leaves out the hashes of what holds a secret: a short one could be guessed from that.
    pub fn without_hashes(&mut self, secret: &BTreeSet<ItemKey>) {
        for (_, item) in self.items.iter_mut().filter(|(key, _)| secret.contains(*key)) {
            *item = item.clone().without_hash();
        }
    }

    /// Whether this look shows something else than another one did, but for when that was.
    pub fn differs(&self, other: &Self) -> bool {
        let shown =
            |seen: &Self| (seen.contact.clone(), seen.items.clone(), seen.boot_id.clone(), seen.reboot_required, seen.facts.clone());
        shown(self) != shown(other)
    }

    /// Whether it answered when it was last tried.
    pub fn is_reachable(&self) -> bool {
        self.contact == Contact::Known
    }

    /// A digest of the content's items as they were seen: what a step expects to find. It is stored, so the hash of what holds a secret has
    /// no part in it: a short secret could be guessed from that.
    pub fn fingerprint(&self, content: &Content) -> Digest {
        // Units come and go by themselves; a step is about content.
        let items = content.items().filter(|key| key.split().0 != "unit");
        let state: BTreeMap<ItemKey, Option<ItemSeen>> = items
            .map(|key| {
                let seen = self.items.get(&key).cloned().map(|seen| if content.is_secret(&key) { seen.without_hash() } else { seen });
                (key, seen)
            })
            .collect();
        Digest::of_json(&state)
    }

    /// Are we able to see it, and is it well.
    pub fn health(&self) -> Health {
        match self.contact {
            // One that is only watched is never looked at, and is as well as its probes say: if all fail, it is out of reach.
            Contact::Never if self.probes.is_empty() => Health::Unknown,
            Contact::Never if self.probes.values().all(|probe| probe.state == ProbeState::Fail) => Health::Unreachable,
            Contact::Unreachable { .. } => Health::Unreachable,
            _ if self.probes.values().any(|probe| probe.state == ProbeState::Fail) => Health::Degraded,
            _ if self.probes.values().any(|probe| probe.state == ProbeState::Unknown) => Health::Unknown,
            Contact::Known | Contact::Never => Health::Healthy,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A step's fingerprint is stored: nothing of a secret can be tried out on it, and it still tells any other file apart.
    #[test]
    fn a_fingerprint_holds_nothing_of_a_secret() {
        let fingerprint = |source: serde_json::Value, sha256: &str| {
            let file = json!({"path": "/etc/key", "source": source, "mode": "0600", "owner": "root", "group": "root"});
            let content = json!({"packages": [], "files": [file], "services": [], "before": [], "after": [], "reboot": "Never"});
            let content: Content = serde_json::from_value(content).unwrap();
            let seen = ItemSeen::File { sha256: sha256.into(), mode: "0600".into(), owner: "root".into(), group: "root".into() };
            let items = [(ItemKey::file("/etc/key"), seen)].into();
            DeviceSeen { items, ..DeviceSeen::default() }.fingerprint(&content)
        };
        let secret = json!({"Secret": {"name": "tls", "key": "key"}});
        assert_eq!(fingerprint(secret.clone(), "aa"), fingerprint(secret, "bb"));
        assert_ne!(fingerprint(json!({"Text": "x"}), "aa"), fingerprint(json!({"Text": "x"}), "bb"));
    }

    fn device(name: &str, probes: &[&str]) -> crate::desired::Device {
        let probe = |name: &&str| crate::desired::Probe {
            name: (*name).to_owned(),
            check: crate::desired::Check::Tcp { port: 1, send: None, expect: None },
            interval: jiff::SignedDuration::from_secs(1),
            timeout: jiff::SignedDuration::from_secs(1),
            failures: 1,
            successes: 1,
            way: crate::desired::Way::default(),
        };
        crate::desired::Device {
            name: Name::parse(name),
            device_type: crds::DeviceType::Server,
            address: String::new(),
            labels: Default::default(),
            parents: Vec::new(),
            access: crate::desired::Access::None,
            probes: probes.iter().map(probe).collect(),
            metrics: None,
            logs: Default::default(),
            maintenance: Vec::new(),
            suspend: false,
            vars: BTreeMap::new(),
        }
    }

    /// A probe that was taken out while it failed would keep its device degraded for ever.
    #[test]
    fn what_is_not_there_any_more_is_forgotten() {
        let failing = ProbeSeen { state: ProbeState::Fail, ..ProbeSeen::default() };
        let seen = |probes: &[&str]| {
            let probes = probes.iter().map(|probe| ((*probe).to_owned(), failing.clone().into())).collect();
            Arc::new(DeviceSeen { contact: Contact::Known, probes, ..DeviceSeen::default() })
        };
        let mut observed = Observed::default();
        observed.devices.insert(Name::parse("gone"), seen(&["web"]));
        observed.devices.insert(Name::parse("a"), seen(&["web", "old"]));
        observed.devices.insert(Name::parse("b"), seen(&["old"]));
        let mut desired = Desired::default();
        for device in [device("a", &["web"]), device("b", &[])] {
            desired.devices.insert_mut(device.name.clone(), Arc::new(device));
        }
        observed.forget(&desired, &["gone", "a", "b"].map(Name::parse).into());
        assert!(!observed.devices.contains_key(&Name::parse("gone")));
        assert_eq!(observed.devices[&Name::parse("a")].probes.keys().collect::<Vec<_>>(), ["web"]);
        assert_eq!(observed.devices[&Name::parse("b")].health(), Health::Healthy);
    }

    /// A switch has no login; a dead one would never be worth an alert.
    #[test]
    fn what_is_only_watched_is_out_of_reach_when_all_its_probes_fail() {
        let health = |contact: Contact, states: &[ProbeState]| {
            let probes = states
                .iter()
                .enumerate()
                .map(|(at, state)| (at.to_string(), Box::new(ProbeSeen { state: *state, ..ProbeSeen::default() })));
            DeviceSeen { contact, probes: probes.collect(), ..DeviceSeen::default() }.health()
        };
        use ProbeState::{Fail, Ok, Unknown};
        assert_eq!(health(Contact::Never, &[Fail, Fail]), Health::Unreachable);
        assert_eq!(health(Contact::Never, &[Fail, Ok]), Health::Degraded);
        assert_eq!(health(Contact::Never, &[Fail, Unknown]), Health::Degraded);
        assert_eq!(health(Contact::Known, &[Fail, Fail]), Health::Degraded, "it answers");
        assert_eq!(health(Contact::Never, &[]), Health::Unknown);
    }

    #[test]
    fn of_a_secret_no_hash_is_told() {
        let file = |sha256: &str| ItemSeen::File { sha256: sha256.into(), mode: "0600".into(), owner: "root".into(), group: "root".into() };
        let (key, other) = (ItemKey::file("/etc/key"), ItemKey::file("/etc/motd"));
        let mut seen = DeviceSeen { items: [(key.clone(), file("aa")), (other.clone(), file("bb"))].into(), ..DeviceSeen::default() };
        seen.without_hashes(&[key.clone()].into());
        assert_eq!((&seen.items[&key], &seen.items[&other]), (&file(""), &file("bb")));
    }

    /// Out of sight is not absent: what was last known stays known, with the first instant at which it could not be seen.
    #[test]
    fn out_of_sight_keeps_what_was_known() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let away = |second| Contact::Unreachable { since: at(second), reason: "no route".into(), code: AwayCode::NoAnswer };
        let known = DeviceSeen { contact: Contact::Known, seen_at: Some(at(1)), boot_id: "one".into(), ..DeviceSeen::default() };
        let mut lost = DeviceSeen { contact: away(5), ..DeviceSeen::default() };
        lost.after(&known);
        assert_eq!(lost, DeviceSeen { contact: away(5), ..known.clone() });
        let mut still = DeviceSeen { contact: away(9), ..DeviceSeen::default() };
        still.after(&lost);
        assert!(!still.differs(&lost), "nothing new: {still:?}");
        let mut back = DeviceSeen { seen_at: Some(at(10)), ..known.clone() };
        back.after(&still);
        assert!(back.differs(&still) && !back.differs(&known));
    }
}
