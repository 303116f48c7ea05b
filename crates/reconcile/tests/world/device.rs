//! One device, and what is known of it: what expressions are asked of.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use reconcile::alerting::Truth;
use reconcile::alerting::expr::{Compiled, Inputs, Rollouts};
use reconcile::alerting::history::History;
use reconcile::{Access, Check, Contact, Device, DeviceSeen, Metric, Name, Probe, ProbeSeen, ProbeState, Series, Usage, Way};

pub fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

pub fn ago(seconds: i64) -> Timestamp {
    now().checked_sub(SignedDuration::from_secs(seconds)).unwrap()
}

/// One device, and what is known of it.
pub struct World {
    pub device: Device,
    pub seen: DeviceSeen,
    pub usage: Option<Usage>,
    pub history: History,
}

impl World {
    pub fn new() -> Self {
        let probe = |name: &str| Probe {
            name: name.into(),
            check: Check::Tcp { port: 1, send: None, expect: None },
            interval: SignedDuration::from_secs(15),
            timeout: SignedDuration::from_secs(5),
            failures: 1,
            successes: 1,
            way: Way::default(),
        };
        let device = Device {
            name: Name::parse("web-01"),
            device_type: crds::DeviceType::Server,
            address: "10.0.0.1".into(),
            labels: BTreeMap::from([("role".into(), "web".into()), ("example.com/tier".into(), "1".into())]).into(),
            parents: Vec::new(),
            access: Access::None,
            probes: vec![probe("web"), probe("ping"), probe("dns")],
            metrics: None,
            logs: Default::default(),
            maintenance: Vec::new(),
            suspend: false,
            vars: BTreeMap::from([("limit".into(), 0.8.into()), ("ports".into(), serde_json::json!([80, 443]))]),
        };
        let seen = |state, since: i64| ProbeSeen { state, since: Some(ago(since)), seen_at: Some(ago(5)), ..ProbeSeen::default() };
        let probes = [("web", seen(ProbeState::Fail, 600)), ("ping", seen(ProbeState::Ok, 60)), ("dns", seen(ProbeState::Unknown, 60))];
        let probes = probes.into_iter().map(|(name, seen)| (name.to_owned(), seen.into())).collect();
        let values = [
            (Series::of(Metric::MemoryRatio), 0.92),
            (Series::of(Metric::CpuRatio), 0.5),
            (Series::of(Metric::CpuCount), 4.0),
            (Series::of(Metric::Uptime), 86_400.0),
            (Series::item(Metric::DiskRatio, "/"), 0.4),
            (Series::item(Metric::DiskRatio, "/var"), 0.97),
            (Series::item(Metric::DiskAvailable, "/"), 1e9),
            (Series::item(Metric::InterfaceReceived, "eth0"), 5e6),
        ];
        Self {
            device,
            seen: DeviceSeen { contact: Contact::Known, probes, ..DeviceSeen::default() },
            usage: Some(Usage { at: ago(10), values: values.into() }),
            history: History::default(),
        }
    }

    pub fn inputs(&self) -> Inputs<'_> {
        Inputs {
            device: &self.device,
            seen: Some(&self.seen),
            usage: self.usage.as_ref(),
            history: &self.history,
            rollouts: Rollouts::Unknown,
            now: now(),
        }
    }

    /// What an expression comes to, by both ways.
    pub fn truth(&self, text: &str) -> Truth {
        let compiled = Compiled::new(text).unwrap_or_else(|wrong| panic!("{text}: {wrong:?}"));
        let (own, cel) = (compiled.truth(&self.inputs()), compiled.truth_by_cel(&self.inputs()));
        assert!(alike(&own, &cel), "{text}: {own}, by CEL {cel}");
        own
    }
}

/// The same, but for the words of a reason.
pub fn alike(a: &Truth, b: &Truth) -> bool {
    matches!((a, b), (Truth::Unknown(_), Truth::Unknown(_))) || a == b
}
