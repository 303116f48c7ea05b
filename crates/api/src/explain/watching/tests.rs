use reconcile::alerting::state::{Subject, Timing, Verdict, advance};
use reconcile::alerting::{Notice, Reason};
use reconcile::{Desired, Metric, Revision, Series, Usage};
use serde_json::{Value, json};

use super::*;
use crate::explain::explain;

fn at(minute: i64) -> Timestamp {
    "2026-11-24T12:00:00Z".parse::<Timestamp>().unwrap().checked_add(SignedDuration::from_mins(minute)).unwrap()
}

fn object(kind: Kind, name: &str, spec: &Value) -> Arc<Object> {
    let value = json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": kind.as_str(), "metadata": {"name": name, "labels": {"role": "web"}}, "spec": spec});
    Arc::new(Object::from_value(kind, value).unwrap())
}

/// Two devices of which one is full, a rule, whom it tells, and what mutes it.
fn view() -> View {
    let device =
        |name: &str| object(Kind::Device, name, &json!({"type": "Server", "address": "192.0.2.1", "metrics": {"nodeExporter": {}}}));
    let rule = json!({
        "selector": {"matchLabels": {"role": "web"}}, "expr": "usage.memory.ratio > 0.9", "recover": "usage.memory.ratio < 0.8",
        "for": "5m", "keepFiringFor": "2m", "severity": "critical", "labels": {"team": "web"}, "inhibitedBy": [{"rule": "down"}],
        "notify": {"receivers": ["oncall"], "groupBy": ["site"], "escalate": [{"after": "15m", "receivers": ["boss"]}]},
    });
    let mail =
        json!({"email": {"to": ["oncall@example.com"], "from": "evenkeel@example.com", "server": "mail.example.com"}, "fallback": "boss"});
    let objects = [
        device("web-01"),
        device("web-02"),
        device("web-03"),
        object(Kind::AlertRule, "memory", &rule),
        object(Kind::AlertRule, "nobody", &json!({"expr": "avg(usage.cpu.ratio, \"5m\") > 0.9", "severity": "info"})),
        object(Kind::Receiver, "oncall", &mail),
        object(Kind::Receiver, "boss", &json!({"webhook": {"url": "https://chat.example.com/secret/hook", "format": "Slack"}})),
        object(Kind::Silence, "work", &json!({"matchLabels": {"team": "web"}, "until": "2026-11-24T14:00:00Z", "reason": "new memory"})),
        object(Kind::Silence, "old", &json!({"devices": {"matchLabels": {"role": "web"}}, "until": "2026-11-24T11:00:00Z", "reason": "x"})),
    ];
    let (desired, _) = Desired::build(objects, Revision { commit: "1".into(), ..Revision::default() });
    let mut view = View { desired: Arc::new(desired), ..View::default() };
    for (name, ratio) in [("web-01", 0.95), ("web-02", 0.5)] {
        let usage = Usage { at: at(9), values: [(Series::of(Metric::MemoryRatio), ratio)].into() };
        view.usages.took(&Name::parse(name), &Arc::new(usage), None);
    }
    let (rule, device) = (Name::parse("memory"), Name::parse("web-01"));
    let labels = [("role", "web"), ("team", "web")].map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let subject = Subject {
        rule: rule.clone(),
        device: device.clone(),
        severity: crds::Severity::Critical,
        labels,
        summary: "web-01: memory\u{1b}[31m at 95 %".into(),
        lines: Vec::new(),
        last_change: None,
        behind: 0,
    };
    let verdict = Verdict::of(Truth::True, Some(0.95));
    let timing = Timing { hold_for: SignedDuration::ZERO, keep_firing_for: SignedDuration::ZERO, no_data: crds::NoData::Keep };
    let mut alert = advance(&timing, None, &subject, &verdict, &[], at(5)).instance.unwrap();
    alert.id = "3f2a".into();
    alert.decided("oncall", "said: nothing of this group was said before", at(6));
    view.alerts.set(&(rule, device), Some(&alert));
    let lost =
        store::Lost { receiver: Name::parse("oncall"), count: 2, of_alerts: 2, since: at(7), last: at(8), problem: "no answer".into() };
    view.outbox.standing.lost.push(lost);
    view
}

fn explained(target: &str) -> String {
    explain(&view(), &Target::parse(target).unwrap(), &|_, _| true, at(10)).unwrap()
}

#[test]
fn a_rule_says_whom_it_asks_how_that_stands_and_who_is_told() {
    insta::assert_snapshot!(explained("alertrule/memory"));
    insta::assert_snapshot!(explained("alertrule/nobody"));
    let (view, target) = (view(), Target::parse("alertrule/memory").unwrap());
    let Target::Object(_, name) = &target else { panic!() };
    let seen = rule(&view, name, &|_, name| name.name() != "web-01", at(10)).unwrap();
    assert!(!seen.contains("web-01") && seen.contains("asks 2 devices"), "{seen}");
}

#[test]
fn a_receiver_says_how_it_is_reached_and_whether_it_was() {
    insta::assert_snapshot!(explained("receiver/oncall"));
    insta::assert_snapshot!(explained("receiver/boss"));
    let notice = Notice {
        id: "1".into(),
        receiver: Name::parse("oncall"),
        thread: "t".into(),
        reason: Reason::First,
        at: at(6),
        group: BTreeMap::new(),
        firing: Vec::new(),
        resolved: Vec::new(),
        left_off: (3, 1),
        instead: None,
    };
    let row = |receiver: &str, is_dead| NoticeRow {
        notice: Notice { receiver: Name::parse(receiver), ..notice.clone() },
        recorded_at: at(6),
        attempts: 2,
        due_at: None,
        finished_at: Some(at(7)),
        is_dead,
        problem: if is_dead { "no answer\u{7}".into() } else { String::new() },
        reached: Vec::new(),
    };
    let mut text = String::new();
    notices(&mut text, &Name::parse("oncall"), &[row("oncall", true), row("boss", false), row("oncall", false)]);
    insta::assert_snapshot!(text);
}

#[test]
fn a_silence_says_what_it_mutes() {
    insta::assert_snapshot!(explained("silence/work"));
    insta::assert_snapshot!(explained("silence/old"));
    assert_eq!(explain(&view(), &Target::parse("silence/none").unwrap(), &|_, _| true, at(10)), None);
}
