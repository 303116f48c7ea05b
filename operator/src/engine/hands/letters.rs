//! What the planner and those that hold a shard write to each other. Of each matter only the newest word counts.

use std::collections::BTreeSet;

use reconcile::{Access, Device, ItemKey, Logs, Metrics, Name, Probe, StepId};
use serde::{Deserialize, Serialize};

/// The planner's mailbox.
pub(crate) const PLANNER: &str = "planner";

/// A shard's mailbox, and what is added to the lease's name.
pub(crate) fn shard(number: u32) -> String {
    format!("shard-{number}")
}

/// What a letter is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Matter {
    /// To a shard: this device is to be looked at; an [`Order`].
    Device(Name),
    /// To a shard: this step is to be done; an [`Errand`].
    Step(StepId),
    /// To the planner: what was seen of this device; a `DeviceSeen`.
    Seen(Name),
    /// To the planner: how its probe stands; a `ProbeSeen`.
    Probe(Name, String),
    /// To the planner: how the step ended; an `Outcome`.
    Outcome(StepId),
}

impl Matter {
    pub(crate) fn to_text(&self) -> String {
        match self {
            Self::Device(name) => format!("device {}", name.full()),
            Self::Step(id) => format!("step {id}"),
            Self::Seen(name) => format!("seen {}", name.full()),
            Self::Probe(name, probe) => format!("probe {} {probe}", name.full()),
            Self::Outcome(id) => format!("outcome {id}"),
        }
    }

    /// `None`: a newer version wrote it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (word, rest) = text.split_once(' ')?;
        Some(match word {
            "device" => Self::Device(Name::parse(rest)),
            "step" => Self::Step(StepId(rest.to_owned())),
            "seen" => Self::Seen(Name::parse(rest)),
            "probe" => rest.split_once(' ').map(|(name, probe)| Self::Probe(Name::parse(name), probe.to_owned()))?,
            "outcome" => Self::Outcome(StepId(rest.to_owned())),
            _ => return None,
        })
    }
}

/// Of a device what it takes to look at it and to act on it. Secrets go by name: whoever holds the shard reads them itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Place {
    name: String,
    address: String,
    access: Access,
    probes: Vec<Probe>,
    #[serde(default)]
    metrics: Option<Metrics>,
    #[serde(default)]
    logs: Logs,
}

impl Place {
    pub(crate) fn of(device: &Device) -> Self {
        Self {
            name: device.name.full().to_owned(),
            address: device.address.clone(),
            access: device.access.clone(),
            probes: device.probes.clone(),
            metrics: device.metrics.clone(),
            logs: device.logs.clone(),
        }
    }

    /// The same without its probes and readings: a jump host.
    pub(crate) fn hop(device: &Device) -> Self {
        Self { probes: Vec::new(), metrics: None, logs: Logs::default(), ..Self::of(device) }
    }

    /// The names of its probes.
    pub(crate) fn probes(&self) -> Vec<String> {
        self.probes.iter().map(|probe| probe.name.clone()).collect()
    }

    pub(crate) fn device(&self) -> Device {
        Device {
            name: Name::parse(&self.name),
            device_type: crds::DeviceType::Server,
            address: self.address.clone(),
            labels: Default::default(),
            parents: Vec::new(),
            access: self.access.clone(),
            probes: self.probes.clone(),
            metrics: self.metrics.clone(),
            logs: self.logs.clone(),
            maintenance: Vec::new(),
            suspend: false,
            vars: Default::default(),
        }
    }
}

/// A device is to be looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Order {
    pub(crate) place: Place,
    /// Its jump hosts.
    pub(crate) through: Vec<Place>,
    /// What has to be read there.
    pub(crate) items: Vec<ItemKey>,
    /// Of those, what holds a secret.
    #[serde(default)]
    pub(crate) secret: BTreeSet<ItemKey>,
    /// Something is under way there: each answer is told, and not only one that differs from the one before.
    pub(crate) eager: bool,
    /// With another number, it is looked at now, and that is told.
    pub(crate) look: u64,
}

/// A step is to be done. What it is stands where it was recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Errand {
    pub(crate) place: Place,
    pub(crate) through: Vec<Place>,
}

/// The shard that a device belongs to, by rendezvous hashing: with one shard more, only those devices move that go to it (Thaler and
/// Ravishankar, "Using name-based mappings to increase hit rates", 1998).
pub(crate) fn shard_of(name: &Name, shards: u32) -> u32 {
    (0..shards).max_by_key(|shard| (weight(name, *shard), *shard)).unwrap_or_default()
}

/// FNV-1a over both, its bits mixed as MurmurHash3's finalizer does: the same in each version and on each machine.
fn weight(name: &Name, shard: u32) -> u64 {
    let bytes = name.full().bytes().chain(shard.to_be_bytes());
    let hash = bytes.fold(14_695_981_039_346_656_037_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(1_099_511_628_211));
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matters_come_back() {
        let name = Name::new("ams1", "web-01");
        for matter in [
            Matter::Device(name.clone()),
            Matter::Step(StepId("abc".into())),
            Matter::Seen(name.clone()),
            Matter::Probe(name, "a probe".into()),
            Matter::Outcome(StepId("abc".into())),
        ] {
            assert_eq!(Matter::parse(&matter.to_text()), Some(matter));
        }
        assert_eq!(Matter::parse("later x"), None);
    }

    #[test]
    fn devices_are_spread_and_few_move() {
        let names: Vec<Name> = (0..3000).map(|number| Name::new("default", &format!("web-{number}"))).collect();
        for shard in 0..3 {
            let share = names.iter().filter(|name| shard_of(name, 3) == shard).count();
            assert!((900..1100).contains(&share), "{share} of 3000 on shard {shard}");
        }
        let moved: Vec<_> = names.iter().filter(|name| shard_of(name, 3) != shard_of(name, 4)).collect();
        assert!(moved.iter().all(|name| shard_of(name, 4) == 3), "whoever moves goes to the new one");
        assert!((650..850).contains(&moved.len()), "{} of 3000 move to a fourth", moved.len());
        // What is written in a database outlives this version.
        assert_eq!((0..6).map(|number| shard_of(&names[number], 3)).collect::<Vec<_>>(), [0, 0, 1, 0, 0, 1]);
    }
}
