//! Expressions: what they mean, that both ways of evaluating them give the same, and what is said of those that can't be meant.

#[path = "world/device.rs"]
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::{collection, option, prop_assert, prop_assert_eq, proptest};
use reconcile::alerting::Truth;
use reconcile::alerting::expr::{Compiled, DEPTH, Inputs, LENGTH, STALE, TERMS};
use reconcile::alerting::history::History;
use reconcile::alerting::rule::Rule;
use reconcile::alerting::sheet::{FALSE, OPEN, Sheet, TRUE};
use reconcile::{Desired, Metric, Name, ProbeState, Series, Usage};
use world::{World, ago, alike, now};

#[test]
fn what_expressions_mean() {
    let world = World::new();
    for text in [
        "device.usage.memory.ratio > 0.9",
        "usage.memory.ratio > 0.9 && device.labels.role == \"web\"",
        "usage.cpu.count == 4",
        "usage.cpu.count * 2 > 7",
        "2 * usage.cpu.count - 1 >= 7.0",
        "percent(usage.memory.ratio) > 91",
        "usage.disks[\"/var\"].ratio > 0.95",
        "usage.disks.exists(d, usage.disks[d].ratio > 0.95)",
        "!usage.disks.all(d, usage.disks[d].ratio < 0.9)",
        "usage.disks.filter(d, usage.disks[d].ratio > 0.9).size() == 1",
        "size(usage.disks) == 2",
        "usage.interfaces[\"eth0\"].received > 1000000",
        "probes[\"web\"].state == \"fail\"",
        "probes[\"web\"].state != \"ok\"",
        "probes.exists(p, probes[p].state == \"fail\")",
        "age(probes[\"web\"].since) > duration(\"5m\")",
        "age(probes[\"ping\"].since) < duration(\"5m\")",
        "now - probes[\"web\"].since > duration(\"9m\")",
        "probes.exists(p, age(probes[p].since) > duration(\"9m\"))",
        "device.labels.role in [\"db\", \"web\"]",
        "!(device.labels.role in [\"db\"])",
        "\"role\" in device.labels",
        "device.labels[\"example.com/tier\"] == \"1\"",
        "device.labels.nothing == \"\"",
        "!has(device.labels.nothing) && has(device.labels.role)",
        "device.name.startsWith(\"web-\") && device.name.endsWith(\"01\") && device.name.contains(\"b-0\")",
        "device.name.matches(\"^web-[0-9]+$\")",
        "device.type == \"Server\" && device.contact == \"Reachable\"",
        "usage.memory.ratio > device.vars.limit",
        "443 in device.vars.ports || usage.memory.ratio > 0.9",
        "!known(usage.swap.ratio) && known(usage.memory.ratio)",
        "!has(usage.swap.ratio)",
        "!known(probes[\"dns\"].state)",
        "(usage.memory.ratio > 0.9) == true",
        "usage.memory.ratio > 0.9 ? probes[\"web\"].state == \"fail\" : false",
        "-usage.memory.ratio < 0.0",
        "usage.uptime > 3600.0",
        "device.address != \"\"",
    ] {
        assert_eq!(world.truth(text), Truth::True, "{text}");
    }
}

#[test]
fn readings_of_logs_are_readings() {
    let mut world = World::new();
    let failed = Series::item(Metric::LogMatches, "Failed password");
    let usage = world.usage.as_mut().unwrap();
    usage.values.extend([(Series::of(Metric::LogErrors), 3.0), (Series::of(Metric::LogSeverityShift), 0.25), (failed.clone(), 2.0)]);
    for minutes in 0..8 {
        world.history.point(&failed, ago(60 * (7 - minutes) + 10), 2.0);
    }
    for text in [
        "logs.errors > 2",
        "device.logs.errors == 3",
        "logs.severityShift >= 0.25",
        "logs[\"Failed password\"].matches == 2",
        "device.logs[\"Failed password\"].matches == 2",
        "sum(logs[\"Failed password\"].matches, \"5m\") == 10",
        "sum(logs[\"Failed password\"].matches, duration(\"1m\")) == 2",
        "max(logs[\"Failed password\"].matches, \"5m\") < 3",
        "!known(logs.lines)",
        "!known(logs[\"other\"].matches)",
    ] {
        assert_eq!(world.truth(text), Truth::True, "{text}");
    }
    assert!(matches!(world.truth("sum(logs[\"Failed password\"].matches, \"30m\") > 1"), Truth::Unknown(_)), "less than half of it");
    let asked = Compiled::new(
        "logs[\"a\"].matches > 0 || sum(logs[r\"b\\d\"].matches, \"5m\") > 1 || known(logs[\"c\"].matches) || logs.errors > 9",
    );
    assert_eq!(asked.unwrap().patterns().into_iter().collect::<Vec<_>>(), ["a", "b\\d", "c"]);
}

#[test]
fn what_probes_measure_are_readings() {
    let mut world = World::new();
    let [loss, jitter] = [Metric::ProbeLoss, Metric::ProbeJitter].map(|metric| Series::item(metric, "ping"));
    let usage = world.usage.as_mut().unwrap();
    usage.values.extend([
        (loss.clone(), 0.25),
        (Series::item(Metric::ProbeLoss, "web"), 0.0),
        (Series::item(Metric::ProbeLoss, "dns"), 0.0),
        (jitter, 0.004),
        (Series::item(Metric::ProbeRtt, "ping"), 0.02),
        (Series::item(Metric::ProbeRttMin, "ping"), 0.01),
        (Series::item(Metric::ProbeRttMax, "ping"), 0.03),
        (Series::item(Metric::ProbeValidFor, "web"), 864_000.0),
    ]);
    for minutes in 0..8 {
        world.history.point(&loss, ago(60 * (7 - minutes) + 10), 0.5);
    }
    for text in [
        "probes[\"ping\"].loss > 0.2 && probes[\"ping\"].rtt < 0.05",
        "percent(probes[\"ping\"].loss) == 25",
        "probes[\"ping\"].rttMax > 2 * probes[\"ping\"].rttMin",
        "probes[\"ping\"].jitter == 0.004",
        "probes[\"web\"].validFor < 1209600",
        "avg(probes[\"ping\"].loss, \"5m\") == 0.5",
        "probes.exists(p, probes[p].loss > 0.2)",
        "!known(probes[\"web\"].rtt)",
    ] {
        assert_eq!(world.truth(text), Truth::True, "{text}");
    }
    assert_eq!(Compiled::new("probes[\"ping\"].loss > 5").unwrap().warnings().len(), 1, "it is a share");
    let stored: Vec<Metric> = Metric::ALL.iter().copied().filter(|metric| metric.is_of_probes() && metric.is_stored()).collect();
    assert_eq!(stored, [Metric::ProbeSeconds, Metric::ProbeLoss, Metric::ProbeJitter]);
}

#[test]
fn what_is_asked_of_rollouts_where_nobody_knows_of_them_is_unknown() {
    let world = World::new();
    for text in [
        "deployments[\"web\"].phase == \"Complete\"",
        "deployments[\"web\"].revision > 1",
        "deployments.exists(d, deployments[d].phase == \"Failed\")",
        "age(deployments[\"web\"].changedAt) < duration(\"15m\")",
        "age(device.changedAt) < duration(\"30m\")",
        "device.update == \"Blocked\"",
    ] {
        assert!(matches!(world.truth(text), Truth::Unknown(_)), "{text}");
        assert!(Compiled::new(text).unwrap().asks_for_rollouts(), "{text}");
    }
    assert_eq!(world.truth("known(deployments[\"web\"].phase)"), Truth::False);
}

/// Ten thousand devices must not be asked each ten seconds what somebody else is asked.
#[test]
fn what_others_judge_is_not_looked_at_again_by_time() {
    let world = World::new();
    let looks = |text: &str, others_read| {
        let mut desired = Desired::default();
        let rule = Rule::to_judge(&Name::parse("r"), crds::Selector::default(), text, None).unwrap();
        desired.rules.insert_mut(rule.name.clone(), Arc::new(rule));
        Sheet::new(&desired, others_read).ask(&[world.inputs()], |_| {})[0].is_some()
    };
    let (window, age) = ("avg(usage.cpu.ratio, \"20m\") > 0.9", "age(probes[\"web\"].since) > duration(\"1h\")");
    assert_eq!((looks(window, false), looks(window, true)), (true, false));
    assert_eq!((looks(age, false), looks(age, true)), (true, true), "it is judged here");
}

/// What a window can't reach since nobody looked then is not missing; what should have come since is.
#[test]
fn a_window_that_is_too_short_yet_is_not_missing_data() {
    let series = Series::of(Metric::CpuRatio);
    let wanted = [(series.clone(), SignedDuration::from_mins(20))].into();
    let world = World::new();
    let rule = Rule::to_judge(&Name::parse("r"), crds::Selector::default(), "avg(usage.cpu.ratio, \"20m\") > 0.9", None).unwrap();
    let ago = |minutes: i64| now().checked_sub(SignedDuration::from_mins(minutes)).unwrap();
    let verdict = |since: Option<i64>, points: &[i64]| {
        let mut history = History::default();
        since.into_iter().for_each(|since| history.begin(&wanted, ago(since)));
        points.iter().for_each(|minutes| history.point(&series, ago(*minutes), 0.95));
        let (verdict, _) = rule.verdict(&Inputs { history: &history, ..world.inputs() });
        (matches!(verdict.wrong, Truth::Unknown(_)), verdict.early)
    };
    let unknown_early = (true, true);
    assert_eq!(verdict(None, &[4, 2, 1]), unknown_early, "after a start");
    assert_eq!(verdict(Some(1), &[]), unknown_early, "a new rule, and no reading came yet");
    assert_eq!(verdict(Some(9), &[]), (true, false), "none comes");
    assert_eq!(verdict(None, &[14, 12, 6]), (true, false), "none comes any more");
    assert_eq!(verdict(Some(60), &[2, 1]), (true, false), "it was away, and is back");
    assert_eq!(verdict(None, &[60, 2, 1]), (true, false), "the same");
    assert_eq!(verdict(None, &[14, 8, 1]), (false, false));
    assert_eq!(verdict(None, &[]), (true, false), "nobody ever looked");
}

#[test]
fn what_is_so_always_or_never_is_warned_of() {
    let said = |text: &str| -> Vec<String> { Compiled::new(text).unwrap().warnings().iter().map(|wrong| wrong.message.clone()).collect() };
    for text in [
        "usage.memory.ratio > 90",
        "usage.memory.ratio > 1",
        "usage.memory.ratio < 0",
        "usage.memory.ratio >= 0",
        "percent(usage.memory.ratio) > 100",
        "usage.memory.ratio + usage.swap.ratio > 2",
        "avg(usage.cpu.ratio, \"5m\") < 0",
        "logs.errors < 0",
        "usage.disks[\"/\"].available == -1",
    ] {
        assert_eq!(said(text).len(), 1, "{text}: {:?}", said(text));
    }
    assert_eq!(said("usage.swap.used < 0"), ["a comparison is never so: one side is 0 or more, the other 0"]);
    for text in [
        "usage.memory.ratio >= 1",
        "percent(usage.memory.ratio) > 99",
        "rate(usage.memory.ratio, \"5m\") < 0",
        "predict(usage.disks[\"/\"].available, \"1h\", \"1d\") < 0",
        "sum(logs.severityShift, \"5m\") > 2",
        "usage.memory.ratio - usage.swap.ratio < 0",
        "usage.memory.available / usage.memory.total > 4",
        "usage.cpu.count == 0",
    ] {
        assert_eq!(said(text), [""; 0], "{text}");
    }
}

#[test]
fn what_is_missing_is_unknown_unless_the_other_side_decides() {
    let world = World::new();
    let unknown = |text: &str| match world.truth(text) {
        Truth::Unknown(reason) => reason,
        other => panic!("{text}: {other}"),
    };
    assert_eq!(unknown("usage.swap.ratio > 0.5"), "swap.ratio was not read");
    assert_eq!(unknown("!(usage.swap.ratio > 0.5)"), "swap.ratio was not read");
    assert_eq!(unknown("probes[\"dns\"].state == \"fail\""), "probe dns is unknown");
    assert_eq!(unknown("probes[\"dns\"].state != \"fail\""), "probe dns is unknown");
    assert_eq!(unknown("probes[\"smtp\"].state == \"fail\""), "the device has no probe `smtp`");
    unknown("usage.swap.ratio > 0.5 && usage.memory.ratio > 0.9");
    unknown("usage.swap.ratio > 0.5 || usage.memory.ratio < 0.9");
    unknown("usage.memory.ratio > 0.9 && usage.swap.ratio > 0.5");
    unknown("probes.all(p, probes[p].state == \"ok\" || p == \"web\")");
    unknown("device.vars.nothing == 1.0");
    // Whoever writes a device's variables must not stop whoever judges it.
    let mut large = World::new();
    large.device.vars.insert("many".into(), serde_json::json!(vec![1; 100_000]));
    large.device.vars.insert("long".into(), serde_json::json!("x".repeat(100_000)));
    for (text, reason) in [
        ("device.vars.many.all(a, device.vars.many.all(b, a != b + 1.5))", "a var with 100000 elements, more than 256"),
        ("device.vars.ports.map(a, device.vars.long + device.vars.long).size() > 0", "a var that is longer than 1024 bytes"),
    ] {
        assert_eq!(large.truth(text), Truth::unknown(reason), "{text}");
    }
    unknown("device.awaySince < now");
    unknown("usage.disks[\"/srv\"].ratio > 0.9");
    assert_eq!(world.truth("usage.swap.ratio > 0.5 && usage.memory.ratio < 0.9"), Truth::False);
    assert_eq!(world.truth("usage.memory.ratio < 0.9 && usage.swap.ratio > 0.5"), Truth::False);
    assert_eq!(world.truth("usage.swap.ratio > 0.5 || usage.memory.ratio > 0.9"), Truth::True);
    assert_eq!(world.truth("probes.exists(p, probes[p].state == \"fail\")"), Truth::True);
    assert_eq!(world.truth("device.contact == \"Unreachable\" && age(device.awaySince) > duration(\"5m\")"), Truth::False);
}

#[test]
fn an_old_reading_says_nothing() {
    let mut world = World::new();
    let at = now().checked_sub(STALE).unwrap();
    let usage = Usage { at, ..world.usage.clone().unwrap() };
    world.usage = Some(usage.clone());
    assert_eq!(world.truth("usage.memory.ratio > 0.9"), Truth::True);
    let compiled = Compiled::new("usage.memory.ratio > 0.9").unwrap();
    let again = compiled.look_again(&world.inputs()).unwrap();
    assert!(again > now() && again < now().checked_add(SignedDuration::from_secs(1)).unwrap(), "{again}");
    world.usage = Some(Usage { at: at.checked_sub(SignedDuration::from_secs(1)).unwrap(), ..usage });
    assert!(matches!(world.truth("usage.memory.ratio > 0.9"), Truth::Unknown(_)));
    assert!(matches!(world.truth("usage.disks.exists(d, usage.disks[d].ratio > 0.9)"), Truth::Unknown(_)));
    world.usage = None;
    assert!(matches!(world.truth("usage.memory.ratio > 0.9"), Truth::Unknown(_)));
}

#[test]
fn windows_look_back() {
    let mut world = World::new();
    let free = Series::item(Metric::DiskAvailable, "/");
    // A gigabyte an hour goes, and one is left.
    (0..=60).for_each(|minute| world.history.point(&free, ago((60 - minute) * 60), 2e9 - minute as f64 / 60.0 * 1e9));
    let disk = "usage.disks[\"/\"].available";
    for text in [
        format!("predict({disk}, \"1h\", \"61m\") < 0"),
        format!("predict({disk}, \"1h\", \"59m\") > 0"),
        format!("rate({disk}, \"1h\") < -277777 && rate({disk}, \"1h\") > -277779"),
        format!("max({disk}, \"1h\") == 2000000000 && min({disk}, \"1h\") == 1000000000"),
        // A window knows seven digits.
        format!("avg({disk}, \"1h\") > 1499999900 && avg({disk}, \"1h\") < 1500000100"),
        format!("quantile({disk}, 0.5, \"1h\") > 1499999900 && quantile({disk}, 0.5, duration(\"1h\")) < 1500000100"),
        format!("changed({disk}, \"10m\")"),
    ] {
        assert_eq!(world.truth(&text), Truth::True, "{text}");
    }
    let compiled = Compiled::new(&format!("predict({disk}, \"1h\", \"4h\") < 0")).unwrap();
    assert_eq!(compiled.looks_back_at().into_keys().collect::<Vec<_>>(), std::slice::from_ref(&free));
    assert!((compiled.value(&world.inputs()).unwrap() - -3e9).abs() < 1000.0);
    // Half of a window has to be known.
    let mut young = World::new();
    (0..=2).for_each(|minute| young.history.point(&free, ago((2 - minute) * 60), 1.0));
    assert!(matches!(young.truth(&format!("avg({disk}, \"10m\") > 0")), Truth::Unknown(_)));
    assert_eq!(young.truth(&format!("avg({disk}, \"4m\") > 0")), Truth::True);
}

#[test]
fn what_comes_down_to_comparisons_is_lowered() {
    for text in [
        "usage.memory.ratio > 0.9",
        "usage.memory.ratio > 0.9 && device.labels.role == \"web\" || !(probes[\"web\"].state == \"ok\")",
        "device.labels.role in [\"web\"] && percent(usage.memory.ratio) > 90",
        "usage.memory.available / usage.memory.total < 0.1",
        "avg(usage.cpu.ratio, \"10m\") > 0.9",
        "age(probes[\"web\"].since) > duration(\"5m\")",
        "known(usage.swap.ratio)",
        "device.name.matches(\"^web-[0-9]+$\")",
    ] {
        assert!(Compiled::new(text).unwrap().is_lowered(), "{text}");
    }
    for text in ["usage.disks.exists(d, usage.disks[d].ratio > 0.9)", "device.name.matches(device.labels.role)", "device.vars.limit > 1"] {
        assert!(!Compiled::new(text).unwrap().is_lowered(), "{text}");
    }
}

#[test]
fn the_number_that_is_compared_is_told() {
    let world = World::new();
    let value = |text: &str| Compiled::new(text).unwrap().value(&world.inputs());
    assert_eq!(value("device.labels.role == \"web\" && usage.memory.ratio > 0.9"), Some(0.92));
    assert_eq!(value("0.9 < usage.memory.ratio"), Some(0.92));
    assert_eq!(value("probes[\"web\"].state == \"fail\""), None);
    assert_eq!(value("usage.swap.ratio > 0.5"), None);
}

/// What is wrong with an expression, and what is said to write instead.
#[test]
fn what_can_never_be_meant_is_refused() {
    for (text, message, help) in [
        ("usage.memory.rato > 0.9", "`usage.memory.rato` is not known", "did you mean `ratio`"),
        ("usage.memry.ratio > 0.9", "`usage.memry` is not known", "memory"),
        ("device.label.role == \"a\"", "`device.label` is not known", "did you mean `labels`"),
        ("usage.disks[\"/\"].used > 1", "is not known", "available"),
        ("usage.memory > 0.9", "no single value", "ratio"),
        ("device == \"a\"", "no single value", "labels"),
        ("memory.ratio > 0.9", "`memory` is not known", "usage"),
        ("usage.memory.ratio > \"0.9\"", "a number is compared with a text", "quotes"),
        ("usage.memory.ratio", "has to be true or false", "compare"),
        ("usage.memory.ratio && true", "takes true or false", "compare"),
        ("device.labels.role > 5", "compared", "quotes"),
        ("probes[\"web\"].state == \"down\"", "never `down`", "ok, fail"),
        ("probes[\"web\"].state == \"unknown\"", "never `unknown`", "known("),
        ("device.health in [\"Dead\"]", "never `Dead`", "Unreachable"),
        ("probes[\"web\"].since > 5", "an instant is compared with a number", "age("),
        ("age(probes[\"web\"].since) > 300", "a length of time is compared with a number", "duration"),
        ("age(usage.memory.ratio) > duration(\"5m\")", "takes an instant", "since"),
        ("average(usage.cpu.ratio, \"5m\") > 1", "no function `average`", "avg"),
        ("avg(0.5, \"5m\") > 0.1", "takes a reading", "usage.cpu.ratio"),
        ("avg(usage.cpu.ratio, \"2h\") > 0.1", "more than is kept", "1h"),
        ("avg(usage.cpu.ratio, 5) > 0.1", "look back", "10m"),
        ("usage.disks.exists(d, avg(usage.disks[d].ratio, \"5m\") > 0.1)", "takes a reading", "written out"),
        ("quantile(usage.cpu.ratio, 95, \"5m\") > 0.1", "between 0 and 1", "0.95"),
        ("usage.memory.ratio >", "can't be read", "CEL"),
        ("usage.memory.ratio > null", "null", "known"),
        ("{\"a\": 1}.a == usage.cpu.count", "written out", "single"),
        ("Foo{a: 1} == usage.cpu.count", "written out", "single"),
        ("logs.size() > 1", "no single value", "matches"),
        ("logs.error > 1", "`logs.error` is not known", "did you mean `errors`"),
        ("logs[\"a\"].lines > 1", "of a pattern `lines` is not known", "matches"),
        ("logs[\"a(\"].matches > 1", "not a regular expression: unclosed group", "look-around"),
        ("logs[\"(?=a)\"].matches > 1", "look-around", "regex"),
        ("logs[\"(a{1,999}){1,999}\"].matches > 1", "size limit", "regex"),
        ("device.name.matches(\"a(\")", "unclosed group", "look-around"),
        ("logs[\"\"].matches > 1", "1 to 128 bytes", "brackets"),
        ("usage.logs.errors > 1", "`usage.logs` is not known", "logs.errors"),
        ("sum(usage.cpu.ratio) > 1", "no function `sum` of 1", "sum"),
        ("deployments[\"web\"].phase == \"Done\"", "never `Done`", "Complete"),
        ("deployments.exists(d, deployments[d].phase == \"Done\")", "never `Done`", "Complete"),
        ("probes.exists(p, \"down\" == probes[p].state)", "never `down`", "ok, fail"),
        ("deployments[\"web\"].phse == \"Done\"", "is not known", "did you mean `phase`"),
        ("deployments[\"web\"].changedAt > 5", "an instant is compared", "age("),
        ("device.update == \"Stale\"", "never `Stale`", "OutOfDate"),
        ("size(usage.disks) / usage.cpu.count > 1", "measured number and a counted one", "double"),
        ("usage.memory.ratio.exists(x, x > 1)", "can't be gone through", "disks"),
        ("usage.disks.exists(a, usage.disks.exists(b, usage.disks.exists(c, a == c && b == c)))", "more than 2 loops", "two rules"),
    ] {
        let wrong = Compiled::new(text).expect_err(text);
        let said: Vec<String> = wrong.iter().map(|wrong| format!("{} / {}", wrong.message, wrong.help)).collect();
        assert!(said.iter().any(|said| said.contains(message) && said.contains(help)), "{text}: {said:?}");
    }
    for (text, help) in [("usage.memory.ratio > 90", "0.9"), ("1 == 1", "device"), ("true", "device"), ("false", "device")] {
        let warned = Compiled::new(text).unwrap();
        assert!(warned.warnings()[0].help.contains(help), "{text}: {:?}", warned.warnings());
    }
}

#[test]
fn everything_has_a_limit() {
    let long = format!("usage.cpu.ratio > 0.{}", "1".repeat(LENGTH));
    assert!(Compiled::new(&long).unwrap_err()[0].message.contains("bytes"));
    let deep = format!("{}usage.cpu.ratio > 0.5{}", "!(".repeat(DEPTH + 2), ")".repeat(DEPTH + 2));
    assert!(Compiled::new(&deep).is_err());
    let list = (0..65).map(|number| format!("\"{number}\"")).collect::<Vec<_>>().join(",");
    assert!(Compiled::new(&format!("device.labels.a in [{list}]")).unwrap_err()[0].message.contains("elements"));
    let many = (0..=TERMS).map(|number| format!("has(device.labels.l{number})")).collect::<Vec<_>>().join("||");
    assert!(Compiled::new(&many).unwrap_err().iter().any(|wrong| wrong.message.contains("values") || wrong.message.contains("deep")));
    for hostile in [
        format!("device{}", ".a".repeat(1000)),
        format!("{}usage.cpu.ratio", "!".repeat(2000)),
        format!("{}1{}", "[".repeat(1000), "]".repeat(1000)),
        format!("usage.cpu.ratio > 0{}", "+1".repeat(1000)),
        "a?a:".repeat(500),
        "(".repeat(2048),
    ] {
        assert!(Compiled::new(&hostile).is_err(), "{hostile}");
    }
    // A loop in a loop over more than 64 disks is not gone through.
    let mut world = World::new();
    let usage = world.usage.as_mut().unwrap();
    usage.values.extend((0..65).map(|disk| (Series::item(Metric::DiskRatio, &format!("/d{disk}")), 0.1)));
    let text = "usage.disks.exists(a, usage.disks.exists(b, usage.disks[a].ratio > 2.0 && a == b))";
    assert!(matches!(world.truth(text), Truth::Unknown(reason) if reason.contains("too many")));
}

/// Whatever somebody writes, nothing panics.
#[test]
fn nonsense_is_refused_and_nothing_more() {
    for text in [
        "",
        "(",
        "\"",
        "a[",
        "[][0]",
        "{}",
        "@result",
        "@t0 > 1",
        "__disks",
        "\u{0}",
        "usage[\"memory\"].ratio > 0.5",
        "usage.memory[\"ratio\"] > 0.5",
        "1/0 == usage.cpu.count",
        "device.labels[device.name] == \"\"",
        "[1,2].exists(usage, usage > 1)",
        "x.y.z(1,2,3)",
        "has(1)",
        "has(usage.memory)",
        "b'a' == device.name",
        "type(device.name) == string",
    ] {
        let _ = Compiled::new(text);
    }
}

/// An expression that comes down to the small form, with small numbers so that equality happens.
fn expression() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        Just("usage.memory.ratio".to_owned()),
        Just("usage.cpu.ratio".to_owned()),
        Just("usage.disks[\"/\"].ratio".to_owned()),
        Just("usage.cpu.count".to_owned()),
        (-2..3i32).prop_map(|number| number.to_string()),
        (-4..5i32).prop_map(|number| format!("{:.2}", f64::from(number) / 4.0)),
    ];
    let number = number.prop_recursive(2, 6, 2, |inner| {
        prop_oneof![
            (inner.clone(), prop_oneof![Just("+"), Just("-"), Just("*")], inner.clone())
                .prop_map(|(a, sign, b)| format!("({a} {sign} {b})")),
            inner.clone().prop_map(|of| format!("-({of})")),
        ]
    });
    let operator = prop_oneof![Just("<"), Just("<="), Just(">"), Just(">="), Just("=="), Just("!=")];
    let test = prop_oneof![
        4 => (number.clone(), operator, number).prop_map(|(a, operator, b)| format!("{a} {operator} {b}")),
        1 => prop_oneof![Just("web"), Just("db"), Just("")].prop_map(|role| format!("device.labels.role == \"{role}\"")),
        1 => prop_oneof![Just("web"), Just("dns"), Just("none")].prop_map(|probe| format!("probes[\"{probe}\"].state != \"ok\"")),
        1 => Just("device.labels.role in [\"web\", \"x\"]".to_owned()),
        1 => Just("device.name.startsWith(\"web\")".to_owned()),
        1 => Just("known(usage.memory.ratio)".to_owned()),
    ];
    test.prop_recursive(4, 24, 2, |inner| {
        prop_oneof![
            (inner.clone(), prop_oneof![Just("&&"), Just("||")], inner.clone()).prop_map(|(a, sign, b)| format!("({a} {sign} {b})")),
            inner.prop_map(|of| format!("!({of})")),
        ]
    })
}

proptest! {
    /// The small form gives what CEL gives, whatever is missing.
    #[test]
    fn both_ways_give_the_same(
        text in expression(),
        values in collection::vec(option::of(-4..5i32), 4),
        role in option::of(prop_oneof![Just("web"), Just("db")]),
        fails in any::<bool>(),
    ) {
        let mut world = World::new();
        let series = [Series::of(Metric::MemoryRatio), Series::of(Metric::CpuRatio), Series::item(Metric::DiskRatio, "/"), Series::of(Metric::CpuCount)];
        let values = series.into_iter().zip(values).filter_map(|(series, value)| Some((series, f64::from(value?) / 4.0)));
        world.usage = Some(Usage { at: now(), values: values.collect() });
        world.device.labels = Arc::new(role.map(|role| ("role".to_owned(), role.to_owned())).into_iter().collect());
        world.seen.probes.get_mut("web").unwrap().state = if fails { ProbeState::Fail } else { ProbeState::Ok };
        // Constants alone are refused.
        if let Ok(compiled) = Compiled::new(&text) {
            let (own, cel) = (compiled.truth(&world.inputs()), compiled.truth_by_cel(&world.inputs()));
            prop_assert_eq!(alike(&own, &cel), true, "{}: {}, by CEL {}", text, own, cel);
        }
    }

    /// Rules that are asked together of many devices say what each says of each, and when to look again.
    #[test]
    fn together_they_give_the_same(
        texts in collection::vec(prop_oneof![9 => expression(), 1 => Just("usage.disks.exists(d, usage.disks[d].ratio > 0.5)".to_owned())], 1..6),
        devices in collection::vec((collection::vec(option::of(-4..5i32), 4), option::of(prop_oneof![Just("web"), Just("db")]), 0..600i64), 1..5),
    ) {
        let mut desired = Desired::default();
        for (number, text) in texts.iter().enumerate() {
            let selector = if number.is_multiple_of(2) { serde_json::json!({}) } else { serde_json::json!({"matchLabels": {"role": "web"}}) };
            let spec = serde_json::json!({"expr": text, "selector": selector, "severity": "warning"});
            let name = Name::parse(&format!("r{number}"));
            if let (Some(rule), _) = Rule::read(&name, &serde_json::from_value(spec).unwrap()) {
                desired.rules.insert_mut(name, Arc::new(rule));
            }
        }
        let worlds: Vec<World> = devices.into_iter().map(|(values, role, age)| {
            let mut world = World::new();
            let series = [Series::of(Metric::MemoryRatio), Series::of(Metric::CpuRatio), Series::item(Metric::DiskRatio, "/"), Series::of(Metric::CpuCount)];
            let values = series.into_iter().zip(values).filter_map(|(series, value)| Some((series, f64::from(value?) / 4.0)));
            world.usage = (age < 550).then(|| Usage { at: ago(age), values: values.collect() });
            world.device.labels = Arc::new(role.map(|role| ("role".to_owned(), role.to_owned())).into_iter().collect());
            world
        }).collect();
        let inputs: Vec<Inputs<'_>> = worlds.iter().map(World::inputs).collect();
        let mut told = BTreeMap::new();
        let times = Sheet::new(&desired, false).ask(&inputs, |answers| {
            for lane in 0..inputs.len() {
                told.insert((answers.rule.name.clone(), lane), (answers.applies[lane], answers.holds[lane]));
            }
        });
        for (name, rule) in &desired.rules {
            for (lane, inputs) in inputs.iter().enumerate() {
                let (applies, holds) = told.get(&(name.clone(), lane)).copied().unwrap_or_default();
                prop_assert_eq!(applies == 1, rule.applies_to(inputs.device));
                if applies == 0 {
                    prop_assert_eq!(holds, FALSE);
                    continue;
                }
                let (verdict, again) = rule.verdict(inputs);
                match verdict.wrong {
                    _ if !rule.expr.is_lowered() => prop_assert_eq!(holds, OPEN),
                    Truth::True => prop_assert_eq!(holds, TRUE, "{}", rule.expr.text()),
                    Truth::False => prop_assert_eq!(holds, FALSE, "{}", rule.expr.text()),
                    Truth::Unknown(_) => prop_assert_eq!(holds, OPEN, "{}", rule.expr.text()),
                }
                // Never later than the rule itself says.
                if let Some(again) = again {
                    prop_assert!(times[lane].is_some_and(|at| at <= again), "{}", rule.expr.text());
                }
            }
        }
    }

    #[test]
    fn no_text_panics(text in ".{0,80}") {
        let _ = Compiled::new(&text);
    }
}
