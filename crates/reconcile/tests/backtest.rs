//! A rule over the past: how often, for how long, how much of it in rollouts; and what is said where nothing that is kept can tell.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use reconcile::alerting::backtest::{self, Course, FIRINGS, Past, Readings};
use reconcile::alerting::rule::Rule;
use reconcile::{Access, Check, Device, Metric, Name, Probe, ProbeSeen, ProbeState, Series, Way};
use serde_json::{Value, json};

fn at(minutes: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + minutes * 60).unwrap()
}

fn device() -> Device {
    Device {
        name: Name::parse("web-01"),
        device_type: crds::DeviceType::Server,
        address: "10.0.0.1".into(),
        labels: BTreeMap::from([("role".into(), "web".into())]).into(),
        parents: Vec::new(),
        access: Access::None,
        probes: Vec::new(),
        metrics: None,
        logs: Default::default(),
        maintenance: Vec::new(),
        suspend: false,
        vars: BTreeMap::new(),
    }
}

fn rule(spec: &Value) -> Rule {
    let mut full = json!({"severity": "warning"});
    full.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let (rule, findings) = Rule::read(&Name::parse("memory"), &serde_json::from_value(full).unwrap());
    rule.unwrap_or_else(|| panic!("{findings:?}"))
}

/// A reading each so many minutes; none where it is not known.
fn memory(every: i64, value: impl Fn(i64) -> Option<f64>, end: i64) -> Readings {
    let points = (0..=end / every).filter_map(|step| Some((at(step * every), value(step * every)?))).collect();
    [(Series::of(Metric::MemoryRatio), points)].into()
}

fn play(rule: &Rule, readings: &Readings, during: &[(i64, i64)], end: i64) -> Course {
    let rollouts = during.iter().map(|(from, to)| (at(*from), at(*to))).collect();
    let past = Past { readings: readings.clone(), rollouts, ..Past::default() };
    backtest::play(rule, &device(), &past, (at(0), at(end)))
}

#[test]
fn how_often_and_for_how_long() {
    let rule = rule(&json!({"expr": "usage.memory.ratio > 0.9 && device.labels.role == \"web\"", "for": "5m"}));
    // High from 10 to 30, and for 3 minutes from 60 on, which is too short; then from 100 to the end.
    let high = |minute: i64| (10..30).contains(&minute) || (60..63).contains(&minute) || minute >= 100;
    let course = play(&rule, &memory(1, |minute| Some(if high(minute) { 0.95 } else { 0.5 }), 120), &[(20, 40), (110, 115)], 120);
    let shown: Vec<_> = course.firings.iter().map(|firing| (firing.from, firing.to, firing.in_rollouts, firing.value)).collect();
    assert_eq!(shown, [(at(15), Some(at(30)), 600, Some(0.95)), (at(105), None, 300, Some(0.95))]);
    assert_eq!((course.fired, course.in_rollouts, course.unknown, course.cut), (30 * 60, 15 * 60, 0, false));
}

/// It is the very state machine: what holds it firing in life does so here.
#[test]
fn hysteresis_and_missing_data_are_as_in_life() {
    let value = |minute: i64| match minute {
        10..20 => Some(0.95),
        20..40 => Some(0.85),
        50..80 => None,
        _ => Some(0.5),
    };
    let readings = memory(1, value, 120);
    let plain = play(&rule(&json!({"expr": "usage.memory.ratio > 0.9"})), &readings, &[], 120);
    assert_eq!(plain.fired, 10 * 60);
    // Readings count for five minutes, and what comes after that is not known.
    assert_eq!((plain.unknown / 60, plain.reason.contains("has not been read since")), (25, true), "{plain:?}");
    let recover = play(&rule(&json!({"expr": "usage.memory.ratio > 0.9", "recover": "usage.memory.ratio < 0.8"})), &readings, &[], 120);
    assert_eq!(recover.fired, 30 * 60);
    let fire = play(&rule(&json!({"expr": "usage.memory.ratio > 0.9", "noData": "Fire"})), &readings, &[], 120);
    assert_eq!((fire.firings.len(), fire.fired / 60), (2, 35));
    let longer = play(&rule(&json!({"expr": "usage.memory.ratio > 0.9", "keepFiringFor": "10m"})), &readings, &[], 120);
    assert_eq!(longer.fired, 20 * 60);
}

#[test]
fn means_of_five_minutes_do_for_windows_too() {
    let rule = rule(&json!({"expr": "avg(usage.memory.ratio, \"15m\") > 0.9"}));
    let course = play(&rule, &memory(5, |minute| Some(if minute >= 60 { 1.0 } else { 0.8 }), 300), &[], 300);
    assert_eq!(course.firings.len(), 1, "{course:?}");
    assert!(course.fired > 200 * 60 && course.unknown <= 10 * 60, "{course:?}");
}

#[test]
fn counts_of_logs_are_readings_too() {
    let rule = rule(&json!({"expr": "sum(logs[\"Failed password\"].matches, \"5m\") > 5"}));
    let points = (0..60).map(|minute| (at(minute), if (20..23).contains(&minute) { 2.0 } else { 0.0 })).collect();
    let course = play(&rule, &[(Series::item(Metric::LogMatches, "Failed password"), points)].into(), &[], 59);
    assert_eq!((course.firings.len(), course.firings[0].from, course.firings[0].value), (1, at(22), Some(6.0)));
    assert_eq!(course.fired, 3 * 60, "as long as all three are within the five minutes");
}

/// A probe stays in the state that was written down last; before the first one nobody knows.
#[test]
fn states_of_probes_are_as_they_were_written_down() {
    let check = Check::Tcp { port: 80, send: None, expect: None };
    let (interval, timeout) = (SignedDuration::from_secs(30), SignedDuration::from_secs(5));
    let probe = Probe { name: "web".into(), check, interval, timeout, failures: 1, successes: 1, way: Way::default() };
    let device = Device { probes: vec![probe], ..device() };
    let stood = |minute: i64, state: ProbeState| {
        (at(minute), "web".to_owned(), ProbeSeen { state, since: Some(at(minute)), ..ProbeSeen::default() })
    };
    let played = |expr: &str, first: i64| {
        let probes = vec![stood(first, ProbeState::Ok), stood(20, ProbeState::Fail), stood(50, ProbeState::Ok)];
        let rule = rule(&json!({"expr": expr, "for": "5m"}));
        assert!(rule.expressions().all(|expr| expr.asks_for_probes() && expr.not_kept().is_empty()), "{expr}");
        let course = backtest::play(&rule, &device, &Past { probes, ..Past::default() }, (at(0), at(60)));
        let firings: Vec<_> = course.firings.iter().map(|firing| (firing.from, firing.to)).collect();
        (firings, course.unknown / 60)
    };
    let fails = "probes[\"web\"].state == \"fail\"";
    assert_eq!(played(fails, 10), (vec![(at(25), Some(at(50)))], 10));
    assert_eq!(played(fails, -600), (vec![(at(25), Some(at(50)))], 0), "it was so before");
    assert_eq!(played("probes.exists(p, probes[p].state == \"fail\")", -600), (vec![(at(25), Some(at(50)))], 0));
    assert!(rule(&json!({"expr": "device.health == \"Degraded\""})).expr.asks_for_health());
}

#[test]
fn what_is_not_kept_is_unknown_and_named() {
    let rule = rule(
        &json!({"expr": "age(probes[\"web\"].lastOk) > duration(\"1h\") || usage.memory.ratio > 0.9 && deployments[\"app\"].phase == \"Complete\" && device.vars.x == 1.0"}),
    );
    let not_kept: Vec<String> = rule.expressions().flat_map(|expr| expr.not_kept()).collect();
    assert_eq!(not_kept, ["deployments[\"app\"].phase", "probes[\"web\"].lastOk"]);
    assert!(rule.expressions().any(|expr| expr.asks_for_today()));
    let course = play(&rule, &memory(1, |_| Some(0.95), 60), &[], 60);
    assert_eq!((course.fired, course.unknown), (0, 3600));
}

#[test]
fn it_has_limits() {
    let rule = rule(&json!({"expr": "usage.memory.ratio > 0.9"}));
    // Every other minute: far more often than is told one by one.
    let course = play(&rule, &memory(1, |minute| Some(if minute % 2 == 0 { 0.95 } else { 0.5 }), 1000), &[], 1000);
    assert_eq!((course.firings.len(), course.more > 0), (FIRINGS, true));
    let points = (0..backtest::LOOKS as i64 + 10).map(|second| (at(0).checked_add(SignedDuration::from_secs(second)).unwrap(), 0.1));
    let readings: Readings = [(Series::of(Metric::MemoryRatio), points.collect())].into();
    assert!(play(&rule, &readings, &[], 100_000).cut);
}
