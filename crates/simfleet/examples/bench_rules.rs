//! What rules cost: `bench_rules DEVICES`. Twenty rules over a fleet in which everything was just read, by each of the ways that there are.
//! Prints `name<TAB>value`, evaluations (one rule, one device) in a second and on one core; the fastest of some passes counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crds::{Kind, Object};
use jiff::Timestamp;
use reconcile::alerting::Truth;
use reconcile::alerting::expr::{Inputs, Rollouts};
use reconcile::alerting::history::History;
use reconcile::alerting::sheet::{FALSE, LANES, Sheet};
use reconcile::{Desired, Metric, Name, Observed, Revision, Series, Usage};
use serde_json::json;

const RULES: usize = 20;
const PASSES: usize = 5;

fn main() {
    let devices: usize = std::env::args().nth(1).and_then(|size| size.parse().ok()).unwrap_or(50_000);
    let now: Timestamp = "2026-11-24T12:00:00Z".parse().expect("an instant");
    let plain = |number: usize| format!("usage.memory.ratio > {:.3} && device.labels.role == \"web\"", limit(number));
    let choice = |number: usize| format!("usage.memory.ratio > (device.labels.role == \"web\" ? {:.3} : 0.99)", limit(number));
    let fleet = Fleet::new(devices, now, plain);
    let expected = fleet.one_by_one();
    assert_eq!(fleet.together(), expected, "both ways say the same");
    let all = (devices * RULES) as f64;
    println!("rules_together\t{:.0}", all / fastest(|| fleet.together()));
    println!("rules_one_by_one\t{:.0}", all / fastest(|| fleet.one_by_one()));
    // What does not come down to comparisons goes through CEL's interpreter; a tenth of the fleet does for a figure.
    let cel = Fleet::new(devices.div_ceil(10), now, choice);
    assert!(cel.desired.rules.values().all(|rule| !rule.expr.is_lowered()));
    let all = (cel.usages.len() * RULES) as f64;
    println!("rules_cel\t{:.0}", all / fastest(|| cel.one_by_one()));
}

fn limit(number: usize) -> f64 {
    0.9 + number as f64 * 0.005
}

/// Seconds.
fn fastest<T>(mut pass: impl FnMut() -> T) -> f64 {
    let times = (0..PASSES).map(|_| {
        let begin = Instant::now();
        std::hint::black_box(pass());
        begin.elapsed().as_secs_f64()
    });
    times.fold(f64::MAX, f64::min)
}

/// A fleet as the engine has it: devices by name, readings by name.
struct Fleet {
    desired: Desired,
    observed: Observed,
    usages: BTreeMap<Name, Arc<Usage>>,
    history: History,
    sheet: Sheet,
    now: Timestamp,
}

impl Fleet {
    fn new(devices: usize, now: Timestamp, expr: impl Fn(usize) -> String) -> Self {
        let object = |kind: Kind, name: String, labels: serde_json::Value, spec: serde_json::Value| {
            let value = json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": kind.as_str(), "metadata": {"name": name, "labels": labels}, "spec": spec});
            Arc::new(Object::from_value(kind, value).expect("an object"))
        };
        let device = |number: usize| {
            let labels = json!({"role": "web", "site": format!("s{}", number % 7), "rack": format!("r{}", number % 40)});
            object(Kind::Device, format!("d-{number:06}"), labels, json!({"type": "Server", "address": "10.0.0.1"}))
        };
        let rule = |number: usize| {
            let spec = json!({"expr": expr(number), "for": "5m", "severity": "warning"});
            object(Kind::AlertRule, format!("memory-{number:02}"), json!({}), spec)
        };
        let revision = Revision { commit: "1".into(), ..Revision::default() };
        let (desired, findings) = Desired::build((0..devices).map(device).chain((0..RULES).map(rule)), revision);
        assert!(findings.is_empty(), "{findings:?}");
        let usages = desired.devices.keys().enumerate().map(|(number, name)| (name.clone(), Arc::new(usage(number, now)))).collect();
        let sheet = Sheet::new(&desired, false);
        Self { desired, observed: Observed::default(), usages, history: History::default(), sheet, now }
    }

    fn inputs<'a>(&'a self, name: &Name) -> Option<Inputs<'a>> {
        let device = self.desired.devices.get(name)?;
        let seen = self.observed.devices.get(name).map(|seen| &**seen);
        let usage = self.usages.get(name).map(|usage| &**usage);
        Some(Inputs { device, seen, usage, history: &self.history, rollouts: Rollouts::Unknown, now: self.now })
    }

    /// As the engine does it: looked up by name, asked together, and those that are not plainly false asked themselves.
    fn together(&self) -> usize {
        let names: Vec<&Name> = self.usages.keys().collect();
        let mut found = 0;
        for names in names.chunks(LANES) {
            let inputs: Vec<Inputs<'_>> = names.iter().filter_map(|name| self.inputs(name)).collect();
            self.sheet.ask(&inputs, |answers| {
                let open = answers.holds.iter().enumerate().filter(|(_, holds)| **holds != FALSE);
                found += open.filter(|(lane, _)| answers.rule.verdict(&inputs[*lane]).0.wrong == Truth::True).count();
            });
        }
        found
    }

    /// Each rule by itself.
    fn one_by_one(&self) -> usize {
        let of = |name: &Name| {
            let Some(inputs) = self.inputs(name) else { return 0 };
            let rules = self.desired.rules.values().filter(|rule| rule.applies_to(inputs.device));
            rules.filter(|rule| rule.verdict(&inputs).0.wrong == Truth::True).count()
        };
        self.usages.keys().map(of).sum()
    }
}

/// What a server says of itself; one of a thousand is above the lowest limit.
fn usage(number: usize, at: Timestamp) -> Usage {
    let memory = (number * 7919 % 1000) as f64 / 1000.0 * 0.902;
    let values = [
        (Series::of(Metric::CpuRatio), 0.3),
        (Series::of(Metric::LoadOne), 1.0),
        (Series::of(Metric::MemoryTotal), 64e9),
        (Series::of(Metric::MemoryAvailable), 64e9 * (1.0 - memory)),
        (Series::of(Metric::MemoryRatio), memory),
        (Series::item(Metric::DiskRatio, "/"), 0.4),
        (Series::item(Metric::DiskRatio, "/var"), 0.5),
        (Series::item(Metric::InterfaceReceived, "eth0"), 1e6),
        (Series::item(Metric::InterfaceSent, "eth0"), 1e6),
        (Series::of(Metric::Uptime), 1e6),
    ];
    Usage { at, values: values.into() }
}
