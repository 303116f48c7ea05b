//! AlertRules as they are written: their own tests, what is found wrong with them, and how much they may ask for together.

use std::sync::Arc;

use crds::{Kind, Object};
use reconcile::alerting::rule::{ALL_PATTERNS, PATTERNS};
use reconcile::{Desired, Name, Revision};
use serde_json::{Value, json};

fn object(kind: Kind, name: &str, labels: &Value, spec: &Value) -> Arc<Object> {
    let value =
        json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": kind.as_str(), "metadata": {"name": name, "labels": labels}, "spec": spec});
    Arc::new(Object::from_value(kind, value).unwrap_or_else(|error| panic!("{name}: {error:?}")))
}

fn device() -> Arc<Object> {
    object(Kind::Device, "web-01", &json!({"role": "web"}), &json!({"type": "Server", "address": "10.0.0.1"}))
}

fn rule(name: &str, expr: &str, tests: &Value) -> Arc<Object> {
    let spec = json!({"expr": expr, "severity": "warning", "tests": tests, "selector": {"matchLabels": {"role": "web"}}});
    object(Kind::AlertRule, name, &json!({}), &spec)
}

fn deployment(name: &str) -> Arc<Object> {
    let spec = json!({"selector": {"matchLabels": {"role": "web"}}, "package": {"apt": {"name": name, "version": "1"}}});
    object(Kind::Deployment, name, &json!({}), &spec)
}

fn said(desired: &Desired) -> Vec<String> {
    desired
        .findings()
        .iter()
        .map(|finding| format!("{} {}: {} / {}", finding.code, finding.object, finding.message, finding.help))
        .collect()
}

fn build(objects: impl IntoIterator<Item = Arc<Object>>) -> Desired {
    Desired::build(objects, Revision::default()).0
}

#[test]
fn a_rules_tests_know_of_logs_and_deployments() {
    for (expr, tests) in [
        ("logs.errors > 5", json!([{"given": {"logs.errors": "0x3 9x3"}, "at": "2m", "expect": "inactive"}])),
        ("logs.errors > 5", json!([{"given": {"device.logs.errors": "0x3 9x3"}, "at": "5m", "expect": "firing"}])),
        (
            "sum(logs[\"Failed password\"].matches, \"5m\") > 5",
            json!([
                {"given": {"logs[\"Failed password\"].matches": "0x5 2x9"}, "at": "7m", "expect": "inactive"},
                {"given": {"logs[\"Failed password\"].matches": "0x5 2x9"}, "at": "8m", "expect": "firing"},
                {"given": {"logs[\"Failed password\"].matches": "_x20"}, "at": "8m", "expect": "inactive"},
            ]),
        ),
        ("logs[r\"ssh\\d+: x\"].matches > 0", json!([{"given": {"logs[r\"ssh\\d+: x\"].matches": "1x3"}, "at": "1m", "expect": "firing"}])),
        (
            "logs.errors > 5 && deployments[\"web\"].phase == \"Progressing\"",
            json!([
                {"given": {"logs.errors": "9x9", "deployments[\"web\"].phase": "Completex2 Progressing"}, "at": "1m", "expect": "inactive"},
                {"given": {"logs.errors": "9x9", "deployments[\"web\"].phase": "Completex2 Progressing"}, "at": "3m", "expect": "firing"},
            ]),
        ),
        (
            "logs.newTemplates > 0 && age(device.changedAt) < duration(\"5m\")",
            json!([
                {"given": {"logs.newTemplates": "1x30", "deployments[\"web\"].phase": "Complete"}, "at": "4m", "expect": "firing"},
                {"given": {"logs.newTemplates": "1x30", "deployments[\"web\"].phase": "Complete"}, "at": "6m", "expect": "resolved"},
            ]),
        ),
        (
            "deployments.exists(d, deployments[d].phase == \"RolledBack\")",
            json!([{"given": {"deployments[\"web\"].phase": "RolledBack"}, "at": "1m", "expect": "firing"}]),
        ),
    ] {
        let desired = build([device(), deployment("web"), rule("r", expr, &tests)]);
        assert_eq!(said(&desired), [""; 0], "{expr}");
        // And a test that expects something else is found.
        let mut other = tests.clone();
        other[0]["expect"] = json!("pending");
        let desired = build([device(), deployment("web"), rule("r", expr, &other)]);
        assert!(said(&desired).iter().any(|said| said.starts_with("alert-test alertrule/r: at ")), "{expr}: {:?}", said(&desired));
    }
}

#[test]
fn a_deployment_that_is_not_there_is_found_and_comes() {
    let desired = build([device(), rule("r", "deployments[\"wev\"].phase == \"Failed\"", &json!([])), deployment("web")]);
    let found =
        ["unknown-deployment alertrule/r: there is no Deployment `wev`: what is asked of it is unknown always / did you mean `web`?"];
    assert_eq!(said(&desired), found);
    assert!(desired.rules.contains_key(&Name::parse("r")), "the rule is in force all the same");
    let key = (Kind::Deployment, Name::parse("wev"));
    let (desired, _) = desired.update([(key.clone(), Some(deployment("wev")))], Revision::default());
    assert_eq!(said(&desired), [""; 0]);
    let (desired, _) = desired.update([(key, None)], Revision::default());
    assert_eq!(said(&desired), found);
}

#[test]
fn patterns_are_bounded_for_a_rule_and_for_all() {
    let expr = |from: usize, many: usize| {
        (from..from + many).map(|number| format!("logs[\"p{number:04}\"].matches > 0")).collect::<Vec<_>>().join(" || ")
    };
    let desired = build([device(), rule("r", &expr(0, PATTERNS + 1), &json!([]))]);
    assert!(
        said(&desired)[0].starts_with("alert-patterns alertrule/r: 9 patterns of log lines: a rule may ask for 8"),
        "{:?}",
        said(&desired)
    );
    assert!(desired.rules.is_empty());
    let rules = (0..ALL_PATTERNS / PATTERNS).map(|number| rule(&format!("r{number:03}"), &expr(number * PATTERNS, PATTERNS), &json!([])));
    let desired = build(rules.chain([device()]));
    assert_eq!((desired.log_patterns().len(), said(&desired)), (ALL_PATTERNS, Vec::new()));
    // One more: it has no room, and the others have theirs. What somebody asks for already costs nothing.
    let key = |name: &str| (Kind::AlertRule, Name::parse(name));
    let more = [("s", expr(9000, 1)), ("t", expr(3, 2))].map(|(name, expr)| (key(name), Some(rule(name, &expr, &json!([])))));
    let (desired, _) = desired.update(more, Revision::default());
    assert_eq!(desired.log_patterns().len(), ALL_PATTERNS);
    assert_eq!(said(&desired).len(), 1, "{:?}", said(&desired));
    assert!(said(&desired)[0].starts_with("alert-patterns alertrule/s: all rules together ask for more than 256"), "{:?}", said(&desired));
    // Where one goes, there is room.
    let (desired, _) = desired.update([(key("r000"), None)], Revision::default());
    assert_eq!(said(&desired), [""; 0]);
    assert!(desired.log_patterns().contains("p9000"));
}

/// Lines of log come to the one who plans, whoever reads the device.
#[test]
fn rules_over_logs_are_not_judged_where_devices_are_read() {
    let rule = |expr: &str, recover: Option<&str>| {
        reconcile::alerting::rule::Rule::to_judge(&reconcile::Name::parse("r"), crds::Selector::default(), expr, recover)
            .map(|rule| (rule.reads_logs(), rule.is_judged_where_read()))
    };
    for text in [
        "logs.errors > 3",
        "logs[\"Failed password\"].matches > 0",
        "sum(logs.warnings, \"5m\") > 3 && usage.cpu.ratio > 0.9",
        "known(logs.lines)",
        "usage.disks.exists(d, usage.disks[d].ratio > 0.9) && logs.errors > 0",
    ] {
        assert_eq!(rule(text, None), Some((true, false)), "{text}");
    }
    assert_eq!(rule("usage.cpu.ratio > 0.9", Some("logs.errors < 1")), Some((true, false)));
    assert_eq!(rule("usage.cpu.ratio > 0.9", None), Some((false, true)));
}

/// A typing error in a commit must not be the end of what is watched.
#[test]
fn a_rule_that_a_commit_breaks_stays_in_force_as_it_was() {
    let name = Name::parse("memory");
    let key = (Kind::AlertRule, name.clone());
    let text = |desired: &Desired| desired.rules.get(&name).map(|rule| rule.expr.text().to_owned());
    let good = build([device(), rule("memory", "usage.memory.ratio > 0.9", &json!([]))]);
    let broken = good.update([(key.clone(), Some(rule("memory", "usage.memry.ratio > 0.9", &json!([]))))], Revision::default()).0;
    assert_eq!(text(&broken).as_deref(), Some("usage.memory.ratio > 0.9"));
    assert!(said(&broken).iter().any(|said| said.contains("`usage.memry` is not known")), "{:?}", said(&broken));
    let mended = broken.update([(key.clone(), Some(rule("memory", "usage.memory.ratio > 0.8", &json!([]))))], Revision::default()).0;
    assert_eq!(text(&mended).as_deref(), Some("usage.memory.ratio > 0.8"));
    assert_eq!(text(&broken.update([(key, None)], Revision::default()).0), None, "who takes it away means it");
}
