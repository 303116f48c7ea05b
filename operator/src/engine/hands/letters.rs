//! What the planner and those that hold a shard write to each other. Of each matter only the newest word counts.

use std::collections::{BTreeMap, BTreeSet};

use reconcile::alerting::Truth;
use reconcile::alerting::rule::Rule;
use reconcile::alerting::state::Verdict;
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
    /// To a shard: this rule asks for readings, which only whoever takes them can judge; an [`Asked`].
    Rule(Name),
    /// To the planner: what was seen of this device; a `DeviceSeen`.
    Seen(Name),
    /// To the planner: how its probe stands; a `ProbeSeen`.
    Probe(Name, String),
    /// To the planner: what those rules say of the device; a [`Judged`].
    Verdicts(Name),
    /// To the planner: somebody works for the shard; an [`Alive`].
    Alive(u32),
    /// To the planner: how the step ended; an `Outcome`.
    Outcome(StepId),
}

impl Matter {
    pub(crate) fn to_text(&self) -> String {
        match self {
            Self::Device(name) => format!("device {}", name.full()),
            Self::Step(id) => format!("step {id}"),
            Self::Rule(name) => format!("rule {}", name.full()),
            Self::Verdicts(name) => format!("verdicts {}", name.full()),
            Self::Alive(shard) => format!("alive {shard}"),
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
            "rule" => Self::Rule(Name::parse(rest)),
            "verdicts" => Self::Verdicts(Name::parse(rest)),
            "alive" => Self::Alive(rest.parse().ok()?),
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
    /// What rules may ask for beside what is read.
    #[serde(default = "server")]
    device_type: crds::DeviceType,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    vars: BTreeMap<String, serde_json::Value>,
}

/// Of what an older version wrote.
fn server() -> crds::DeviceType {
    crds::DeviceType::Server
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
            device_type: device.device_type,
            labels: (*device.labels).clone(),
            vars: device.vars.clone(),
        }
    }

    /// The same without its probes and readings: a jump host.
    pub(crate) fn hop(device: &Device) -> Self {
        let (labels, vars) = (BTreeMap::new(), BTreeMap::new());
        Self { probes: Vec::new(), metrics: None, logs: Logs::default(), labels, vars, device_type: server(), ..Self::of(device) }
    }

    /// The names of its probes.
    pub(crate) fn probes(&self) -> Vec<String> {
        self.probes.iter().map(|probe| probe.name.clone()).collect()
    }

    pub(crate) fn device(&self) -> Device {
        Device {
            name: Name::parse(&self.name),
            device_type: self.device_type,
            address: self.address.clone(),
            labels: self.labels.clone().into(),
            parents: Vec::new(),
            access: self.access.clone(),
            probes: self.probes.clone(),
            metrics: self.metrics.clone(),
            logs: self.logs.clone(),
            maintenance: Vec::new(),
            suspend: false,
            vars: self.vars.clone(),
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

/// A rule that asks for readings: what whoever judges it has to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Asked {
    selector: crds::Selector,
    expr: String,
    #[serde(default)]
    recover: Option<String>,
}

impl Asked {
    pub(crate) fn of(rule: &Rule) -> Self {
        let recover = rule.recover.as_ref().map(|recover| recover.text().to_owned());
        Self { selector: rule.selector.clone(), expr: rule.expr.text().to_owned(), recover }
    }

    /// None: this version can't read it.
    pub(crate) fn rule(&self, name: &Name) -> Option<Rule> {
        Rule::to_judge(name, self.selector.clone(), &self.expr, self.recover.as_deref())
    }
}

/// What rules say of a device, by their names; all of them are of its namespace. Of most there is nothing to say but that all is well.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Judged {
    #[serde(default)]
    well: BTreeSet<String>,
    #[serde(default)]
    others: BTreeMap<String, Verdict>,
}

impl Judged {
    pub(crate) fn put(&mut self, rule: &str, verdict: Verdict) {
        match verdict {
            Verdict { wrong: Truth::False, well: Truth::True, .. } => drop(self.well.insert(rule.to_owned())),
            other => drop(self.others.insert(rule.to_owned(), other)),
        }
    }

    /// None: nothing is said of it.
    pub(crate) fn verdict(&self, rule: &str) -> Option<Verdict> {
        let is_well = || self.well.contains(rule).then(|| Verdict::of(Truth::False, None));
        self.others.get(rule).cloned().or_else(is_well)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.well.is_empty() && self.others.is_empty()
    }

    /// Whether it says something else. Another value is no news, and neither is another reason why something is not known: those change
    /// with each reading.
    pub(crate) fn differs(&self, before: &Self) -> bool {
        let kind = |truth: &Truth| std::mem::discriminant(truth);
        let kinds = |verdict: &Verdict| (kind(&verdict.wrong), kind(&verdict.well), verdict.early);
        let others = |judged: &Self| judged.others.iter().map(|(rule, verdict)| (rule.clone(), kinds(verdict))).collect::<Vec<_>>();
        self.well != before.well || others(self) != others(before)
    }
}

/// Somebody works for a shard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Alive {
    /// By their clock.
    pub(crate) at: jiff::Timestamp,
    /// Whether their own network is down; none, and nothing is written, as long as they don't know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) network_down: Option<bool>,
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
            Matter::Rule(name.clone()),
            Matter::Verdicts(name.clone()),
            Matter::Alive(63),
            Matter::Probe(name, "a probe".into()),
            Matter::Outcome(StepId("abc".into())),
        ] {
            assert_eq!(Matter::parse(&matter.to_text()), Some(matter));
        }
        assert_eq!(Matter::parse("later x"), None);
    }

    /// A version after this one may say more: what this one knows of it is taken, and nothing is dropped.
    #[test]
    fn letters_of_a_newer_version_are_read() {
        let more = |text: &str| {
            let mut value: serde_json::Value = serde_json::from_str(text).unwrap();
            value["ofALaterVersion"] = serde_json::json!({"x": 1});
            value.to_string()
        };
        let probe = serde_json::to_string(&reconcile::ProbeSeen::default()).unwrap();
        assert_eq!(serde_json::from_str::<reconcile::ProbeSeen>(&more(&probe)).unwrap(), reconcile::ProbeSeen::default());
        let mut seen = serde_json::to_value(reconcile::DeviceSeen::default()).unwrap();
        seen["facts"]["later"] = serde_json::json!(1);
        seen["probes"] = serde_json::json!({"web": serde_json::from_str::<serde_json::Value>(&more(&probe)).unwrap()});
        let seen: reconcile::DeviceSeen = serde_json::from_str(&more(&seen.to_string())).unwrap();
        assert!(seen.probes.contains_key("web"));
        let outcome = reconcile::Outcome::failed(jiff::Timestamp::UNIX_EPOCH, "no");
        assert_eq!(serde_json::from_str::<reconcile::Outcome>(&more(&serde_json::to_string(&outcome).unwrap())).unwrap(), outcome);
        let place = r#"{"name":"default/a","address":"192.0.2.1","access":"None","probes":[]}"#;
        let order = format!(r#"{{"place":{},"through":[],"items":[],"eager":false,"look":1}}"#, more(place));
        let order: Order = serde_json::from_str(&more(&order)).unwrap();
        assert_eq!(order.place.device().name, Name::parse("a"));
        for judged in [r#"{"well":["a"],"others":{"b":{"wrong":"true","well":"false","value":0.5}}}"#, "{}"] {
            serde_json::from_str::<Judged>(&more(judged)).unwrap();
        }
        serde_json::from_str::<Asked>(&more(r#"{"selector":{},"expr":"usage.cpu.ratio > 0.9"}"#)).unwrap();
        serde_json::from_str::<Alive>(&more(r#"{"at":"2026-01-01T00:00:00Z"}"#)).unwrap();
    }

    /// A version before this one always says how it stands with its network, and can't read that somebody does not know.
    #[test]
    fn an_older_version_reads_that_somebody_lives_and_is_read() {
        let read = |text: &str| serde_json::from_str::<Alive>(text).unwrap().network_down;
        let at = r#""at":"2026-01-01T00:00:00Z""#;
        let words = [format!("{{{at}}}"), format!("{{{at},\"networkDown\":false}}"), format!("{{{at},\"networkDown\":true}}")];
        assert_eq!(words.each_ref().map(|text| read(text)), [None, Some(false), Some(true)]);
        let write = |network_down| serde_json::to_string(&Alive { at: "2026-01-01T00:00:00Z".parse().unwrap(), network_down }).unwrap();
        assert_eq!([None, Some(false), Some(true)].map(write), words);
    }

    #[test]
    fn what_rules_say_is_news_only_if_it_is_otherwise() {
        let unknown = |why: &str| Verdict::of(Truth::unknown(why), None);
        let judged = |verdict: Verdict| {
            let mut judged = Judged::default();
            judged.put("high", verdict);
            judged
        };
        let high = judged(Verdict::of(Truth::True, Some(0.91)));
        assert!(!judged(Verdict::of(Truth::True, Some(0.95))).differs(&high), "a value alone");
        assert!(!judged(unknown("known for 30 s")).differs(&judged(unknown("known for 60 s"))));
        assert!(judged(unknown("x")).differs(&high) && judged(Verdict::of(Truth::False, None)).differs(&high));
        assert!(Judged::default().differs(&high) && high.verdict("other").is_none());
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
