//! Who may do what, as data: each `access/NAME.yaml` is a fleet with Roles and what is asked; what comes of it, and what kubectl may do
//! by each Role, is in `access/NAME.txt`. `UPDATE=1` writes that anew.

// The core reads no files and no environment; its stories do.
#![allow(clippy::disallowed_methods)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use crds::{Kind, Object, Verb};
use reconcile::access::{self, Decision, MAX_NAMES, Request, What, Who};
use reconcile::{Desired, Key, Name, Revision};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// What it shows, for whoever reads it.
    story: String,
    /// Devices with their labels.
    #[serde(default)]
    devices: BTreeMap<String, BTreeMap<String, String>>,
    /// Others, such as `deployment/web`, with their specs.
    #[serde(default)]
    objects: BTreeMap<String, Value>,
    /// Roles with their specs.
    roles: BTreeMap<String, Value>,
    /// Such as `alice deploy deployment/web`; `+ group` after it for each further group.
    ask: Vec<String>,
}

fn object(kind: Kind, name: &str, labels: &BTreeMap<String, String>, spec: &Value) -> Arc<Object> {
    let value =
        json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": kind.as_str(), "metadata": {"name": name, "labels": labels}, "spec": spec});
    let violations = crds::validate_cel(kind, &value);
    assert!(violations.is_empty(), "{name}: {violations:?}");
    Arc::new(Object::from_value(kind, value).unwrap_or_else(|error| panic!("{name}: {error}")))
}

fn device(name: &str, labels: &[(&str, &str)]) -> Arc<Object> {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    object(Kind::Device, name, &labels, &json!({"type": "Server", "address": "10.0.0.1"}))
}

fn role(name: &str, spec: &Value) -> Arc<Object> {
    object(Kind::Role, name, &BTreeMap::new(), spec)
}

fn build(objects: impl IntoIterator<Item = Arc<Object>>) -> Desired {
    Desired::build(objects, Revision::default()).0
}

fn desired(case: &Case) -> Desired {
    let none = BTreeMap::new();
    let devices =
        case.devices.iter().map(|(name, labels)| object(Kind::Device, name, labels, &json!({"type": "Server", "address": "10.0.0.1"})));
    let others = case.objects.iter().map(|(target, spec)| {
        let (kind, name) = target.split_once('/').unwrap();
        object(Kind::parse(kind).unwrap(), name, &none, spec)
    });
    let roles = case.roles.iter().map(|(name, spec)| role(name, spec));
    build(devices.chain(others).chain(roles))
}

fn answer(fleet: &Desired, asked: &str) -> String {
    let mut parts = asked.split(" + ");
    let words: Vec<&str> = parts.next().unwrap().rsplitn(3, ' ').collect();
    let [target, verb, who] = words[..] else { panic!("{asked}") };
    let who = Who::parse(who).unwrap().in_groups(parts.map(str::to_owned));
    let (kind, name) = target.split_once('/').map_or((target, None), |(kind, name)| (kind, Some(name)));
    let (kind, on) = kind.strip_prefix("on:").map_or((kind, false), |kind| (kind, true));
    let kind = Kind::parse(kind).unwrap();
    let name = name.map(Name::parse);
    let there = name.as_ref().and_then(|name| fleet.objects.get(&(kind, name.clone())));
    let what = match (&name, there) {
        (Some(device), _) if on => What::On(device),
        (_, Some(object)) => What::Object(object),
        _ => What::Any,
    };
    let request = Request { who: &who, verb: Verb::parse(verb).unwrap(), kind, namespace: "default", what };
    match access::decide(fleet, fleet, &request) {
        Decision::Allowed { role, entry } => format!("yes: role/{role} spec.allow[{entry}]"),
        Decision::Denied(why) => format!("no: {why}"),
    }
}

fn shown(case: &Case) -> String {
    let fleet = desired(case);
    let mut text = format!("{}\n\n", case.story.trim());
    for asked in &case.ask {
        let _ = writeln!(text, "{asked}\n    {}", answer(&fleet, asked));
    }
    for (name, role) in access::roles(&fleet, "default") {
        let _ = writeln!(text, "\n{name}: {}", access::summary(role));
        let made = access::rules(&fleet, name, role);
        for rule in &made.rules {
            let kinds: Vec<&str> = rule.kinds.iter().map(|kind| kind.plural()).collect();
            let names = if rule.names.is_empty() { String::new() } else { format!(" {}", rule.names.join(" ")) };
            let _ = writeln!(text, "    kubectl {} on {}{names}", rule.verbs.join(","), kinds.join(","));
        }
        if made.rules.is_empty() {
            let _ = writeln!(text, "    kubectl nothing");
        }
    }
    for finding in fleet.findings() {
        let _ = writeln!(text, "\n{} {}: {}\n    {}", finding.object, finding.path, finding.message, finding.help);
    }
    text
}

#[test]
fn what_roles_come_to() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for entry in std::fs::read_dir("tests/access").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|suffix| suffix != "yaml") {
            continue;
        }
        count += 1;
        let case: Case =
            serde_yaml::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        wrong.extend(compare(&path.with_extension("txt"), &shown(&case)));
    }
    assert!(count > 0 && wrong.is_empty(), "{}\n(UPDATE=1 writes what was found)", wrong.join("\n"));
}

fn compare(path: &Path, text: &str) -> Option<String> {
    if std::env::var("UPDATE").is_ok() {
        std::fs::write(path, text).unwrap();
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    (expected != text).then(|| format!("{}:\n--- expected\n{expected}\n--- found\n{text}", path.display()))
}

/// Names in one Role's rules have a limit, beyond which kubectl may do nothing, and not everything, and that is said.
#[test]
fn beyond_the_limit_of_names_kubectl_may_do_less_and_not_more() {
    let spec = json!({"subjects": [{"user": "alice"}], "allow": [
        {"verbs": ["view"], "kinds": ["Device"], "devices": {"matchLabels": {"site": "b"}}},
        {"verbs": ["view"], "kinds": ["Device"], "devices": {"matchLabels": {"site": "a"}}}
    ]});
    let made = |count: usize| {
        let devices = (0..count).map(|number| device(&format!("d-{number}"), &[("site", "a")]));
        let fleet = build(devices.chain([device("other", &[("site", "b")]), role("r", &spec)]));
        let name = Name::parse("r");
        let (_, role) = access::roles(&fleet, "default").next().unwrap();
        let rules = access::rules(&fleet, &name, role);
        (
            access::allows(&rules.rules, "get", Kind::Device, Some("d-0")),
            access::allows(&rules.rules, "get", Kind::Device, Some("other")),
            rules,
        )
    };
    let (allowed, other, rules) = made(MAX_NAMES - 1);
    assert!(allowed && other && rules.left_out.is_empty());
    let (allowed, other, rules) = made(MAX_NAMES);
    assert!(!allowed && other, "{:?}", rules.rules.len());
    assert_eq!(
        rules.left_out,
        ["spec.allow[1] is on more devices than the 1000 names that a Role may have in RBAC: kubectl may do nothing with them"]
    );
    assert!(rules.rules.iter().all(|rule| !rule.names.is_empty()), "a rule without names is about everything");
}

/// A change of a label touches the Roles that are about it, and no others.
#[test]
fn only_roles_that_a_change_concerns_are_looked_at_again() {
    let on = |kinds: Value, site: &str| json!({"subjects": [{"user": "alice"}], "allow": [{"verbs": ["view"], "kinds": kinds, "devices": {"matchLabels": {"site": site}}}]});
    let deployment = |name: &str, role: &str| {
        let spec = json!({"selector": {"matchLabels": {"role": role}}, "package": {"apt": {"name": name, "version": "1"}}});
        object(Kind::Deployment, name, &BTreeMap::new(), &spec)
    };
    let before = build([
        device("web-1", &[("site", "a"), ("role", "web")]),
        device("db-1", &[("site", "b"), ("role", "db")]),
        deployment("web", "web"),
        deployment("db", "db"),
        object(
            Kind::Silence,
            "db",
            &BTreeMap::new(),
            &json!({"devices": {"matchLabels": {"role": "db"}}, "until": "2027-01-01T00:00:00Z", "reason": "x"}),
        ),
        role("a-devices", &on(json!(["Device"]), "a")),
        role("b-devices", &on(json!(["Device"]), "b")),
        role("a-deployments", &on(json!(["Deployment"]), "a")),
        role("b-deployments", &on(json!(["Deployment"]), "b")),
        role("b-silences", &on(json!(["Silence"]), "b")),
        role("everything", &json!({"subjects": [{"user": "alice"}], "allow": [{"verbs": ["view"]}]})),
    ]);
    let concerned = |changes: Vec<(Kind, &str, Option<Arc<Object>>)>| -> Vec<String> {
        let changes: BTreeMap<Key, _> = changes.into_iter().map(|(kind, name, object)| ((kind, Name::parse(name)), object)).collect();
        let keys: BTreeSet<Key> = changes.keys().cloned().collect();
        let after = before.update(changes, Revision::default()).0;
        access::concerned(&before, &after, &keys).iter().map(ToString::to_string).collect()
    };
    let is_now = |name: &'static str, labels: &[(&str, &str)]| concerned(vec![(Kind::Device, name, Some(device(name, labels)))]);
    assert_eq!(is_now("web-1", &[("site", "a"), ("role", "web")]), [""; 0]);
    // Neither does it come to site a or leave it, nor does it change what Deployments and Silences are about.
    assert_eq!(is_now("web-1", &[("site", "a"), ("role", "web"), ("rack", "1")]), [""; 0]);
    assert_eq!(is_now("web-2", &[("site", "a"), ("role", "web")]), ["a-devices"]);
    assert_eq!(is_now("db-2", &[("site", "c"), ("role", "db")]), ["b-deployments", "b-silences"]);
    // It was no device of site a and is none now, and yet the Deployment `web` is not about site a only any more.
    assert_eq!(is_now("db-1", &[("site", "b"), ("role", "web")]), ["a-deployments", "b-deployments", "b-silences"]);
    assert_eq!(
        is_now("db-1", &[("site", "a"), ("role", "db")]),
        ["a-deployments", "a-devices", "b-deployments", "b-devices", "b-silences"]
    );
    assert_eq!(concerned(vec![(Kind::Device, "db-1", None)]), ["b-deployments", "b-devices", "b-silences"]);
    assert_eq!(concerned(vec![(Kind::Deployment, "web", None)]), ["a-deployments"]);
    assert_eq!(concerned(vec![(Kind::Role, "everything", None)]), ["everything"]);
}

/// What was looked at anew after changes is the same as what all of it comes to, whatever the changes are.
#[test]
fn a_change_that_concerns_nobody_changes_no_rules() {
    let labels = |number: u32| [("site", ["a", "b"][(number % 2) as usize]), ("role", ["web", "db", "none"][(number / 2 % 3) as usize])];
    let spec = |site: &str| json!({"subjects": [{"user": "alice"}], "allow": [{"verbs": ["view", "edit"], "devices": {"matchLabels": {"site": site}}}]});
    let others = ["web", "db"].map(|role| {
        let spec = json!({"selector": {"matchLabels": {"role": role}}, "package": {"apt": {"name": role, "version": "1"}}});
        object(Kind::Deployment, role, &BTreeMap::new(), &spec)
    });
    let rule = object(
        Kind::AlertRule,
        "rule",
        &BTreeMap::new(),
        &json!({"selector": {"matchLabels": {"role": "web"}}, "expr": "true", "severity": "info"}),
    );
    let silence = json!({"devices": {"matchLabels": {"role": "db"}}, "until": "2027-01-01T00:00:00Z", "reason": "x"});
    let silence = object(Kind::Silence, "silence", &BTreeMap::new(), &silence);
    let class = |site: u32| {
        let labels = labels(site).into_iter().take(1).collect::<BTreeMap<_, _>>();
        object(Kind::DeviceClass, "class", &BTreeMap::new(), &json!({"labels": labels}))
    };
    // Some are in a circle, and some have their site from a class.
    let device = |name: &str, number: u32| {
        let labels = labels(number).into_iter().skip(usize::from(number % 4 == 3));
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let parents: Vec<String> = (number / 6).is_multiple_of(2).then(|| format!("d-{}", number / 12 % 5)).into_iter().collect();
        let class = if number % 4 == 3 { json!("class") } else { Value::Null };
        let mut spec = json!({"type": "Server", "address": "10.0.0.1", "parents": parents});
        if !class.is_null() {
            spec["class"] = class;
        }
        object(Kind::Device, name, &labels, &spec)
    };
    let mut fleet = build(others.into_iter().chain([rule, silence, role("a", &spec("a")), role("b", &spec("b"))]));
    let made = |fleet: &Desired| -> BTreeMap<Name, access::Rules> {
        access::roles(fleet, "default").map(|(name, role)| (name.clone(), access::rules(fleet, name, role))).collect()
    };
    let mut kept = made(&fleet);
    let (mut spared, mut circling) = (0, 0);
    // Numbers of a linear congruential generator (Knuth's MMIX): any will do, the same each time.
    let mut random: u64 = 1;
    for _ in 0..400 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let number = u32::try_from(random >> 33).unwrap();
        let name = format!("d-{}", number % 5);
        let (key, object) = match number % 7 {
            0 => ((Kind::Device, Name::parse(&name)), None),
            1 => ((Kind::DeviceClass, Name::parse("class")), (number / 7 % 3 != 0).then(|| class(number / 21))),
            _ => ((Kind::Device, Name::parse(&name)), Some(device(&name, number / 7))),
        };
        let next = fleet.update([(key.clone(), object)], Revision::default()).0;
        let concerned = access::concerned(&fleet, &next, &BTreeSet::from([key]));
        let now = made(&next);
        for (name, rules) in &now {
            if concerned.contains(name) {
                kept.insert(name.clone(), rules.clone());
            } else {
                spared += 1;
            }
        }
        assert_eq!(kept, now);
        let written = next.objects.keys().filter(|(kind, _)| *kind == Kind::Device).count();
        circling += usize::from(written > next.devices.size());
        fleet = next;
    }
    assert!(spared > 20 && circling > 20, "{spared} {circling}");
}

/// What a commit may do: by whoever signed it, to what they may edit as it was and as it becomes; the rest stays as it was.
#[test]
fn a_commit_changes_what_its_signer_may_edit() {
    let deployment = |name: &str, version: &str, selector: Value| {
        let spec = json!({"selector": {"matchLabels": selector}, "package": {"apt": {"name": name, "version": version}}});
        object(Kind::Deployment, name, &BTreeMap::new(), &spec)
    };
    let class = |labels: Value| object(Kind::DeviceClass, "class", &BTreeMap::new(), &json!({"labels": labels}));
    let of_class = |name: &str, labels: &[(&str, &str)]| {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        object(Kind::Device, name, &labels, &json!({"type": "Server", "address": "10.0.0.1", "class": "class"}))
    };
    let ann = json!({"subjects": [{"signer": "ssh-ed25519 ANN"}], "allow": [{"verbs": ["edit"]}]});
    let eve =
        json!({"subjects": [{"signer": "ssh-ed25519 EVE"}], "allow": [{"verbs": ["edit"], "devices": {"matchLabels": {"site": "ams"}}}]});
    let old = [
        device("ams", &[("site", "ams"), ("role", "web")]),
        device("fra", &[("site", "fra"), ("role", "web")]),
        of_class("classy", &[("role", "x")]),
        class(json!({"site": "ams"})),
        deployment("web", "1", json!({"role": "web"})),
        deployment("ams", "1", json!({"site": "ams"})),
        role("ann", &ann),
        role("eve", &eve),
    ];
    let objects = |all: &[Arc<Object>]| -> BTreeMap<Key, Arc<Object>> {
        all.iter().map(|object| ((object.kind(), Name::new(object.namespace(), object.name())), object.clone())).collect()
    };
    let before = objects(&old);
    let there = build(old.clone().into_iter().chain([device("by-hand", &[("site", "fra")])]));
    let commit = |key: &str, changes: &[Arc<Object>], gone: &[(Kind, &str)]| {
        let mut after = before.clone();
        after.extend(objects(changes));
        for (kind, name) in gone {
            after.remove(&(*kind, Name::parse(name)));
        }
        let signer = || access::commit::Answering { who: Who::signed(&[format!("ssh-ed25519 {key} x@y")]), shown: key.to_owned() };
        let judged = access::commit::judge("default", &there, &before, &after, |_| vec![signer()]);
        // What was denied is as it was, and the rest is as the commit says.
        for (of, object) in &judged.objects {
            let expected = if judged.denied.contains_key(of) { before.get(of) } else { after.get(of) };
            assert_eq!(Some(object), expected);
        }
        judged.denied.into_values().collect::<Vec<_>>()
    };
    let fra = || device("fra", &[("site", "fra"), ("role", "other")]);
    assert_eq!(commit("ANN", &[fra(), role("new", &eve)], &[(Kind::Deployment, "web")]), [""; 0]);
    assert_eq!(commit("EVE", &[device("ams", &[("site", "ams")]), device("new", &[("site", "ams")])], &[]), [""; 0]);
    assert_eq!(commit("EVE", &[deployment("ams", "2", json!({"site": "ams"}))], &[]), [""; 0]);
    assert_eq!(commit("EVE", &[], &[(Kind::Deployment, "ams")]), [""; 0]);
    let denied = |changes: &[Arc<Object>], gone: &[(Kind, &str)], words: &[&str]| {
        let found = commit("EVE", changes, gone);
        assert_eq!(found.len(), words.len(), "{found:?}");
        found.iter().zip(words).for_each(|(found, words)| assert!(found.contains(words), "{found}"));
    };
    denied(&[fra()], &[], &["EVE may not change device/fra: as it is: role/eve spec.allow[0].devices: device/fra is not among them"]);
    denied(&[], &[(Kind::Device, "fra")], &["EVE may not delete device/fra"]);
    denied(
        &[device("new", &[("site", "fra")])],
        &[],
        &["EVE may not make device/new: role/eve spec.allow[0].devices: device/new is not among them"],
    );
    // Neither into the own site nor out of it.
    denied(&[device("fra", &[("site", "ams")])], &[], &["as it is"]);
    denied(&[device("ams", &[("site", "fra")])], &[], &["EVE may not change device/ams: role/eve"]);
    // What was made by hand is nobody's to be taken over.
    denied(&[device("by-hand", &[("site", "ams")])], &[], &["EVE may not make device/by-hand: as it is"]);
    // A class changes the labels of others; and a Deployment may be turned nowhere else.
    denied(&[class(json!({"site": "fra"}))], &[], &["a DeviceClass is not about devices"]);
    denied(&[deployment("ams", "1", json!({}))], &[], &["EVE may not change deployment/ams: role/eve spec.allow[0].devices: device/"]);
    denied(&[deployment("web", "2", json!({"site": "ams"}))], &[], &["as it is"]);
    // That a device were of the own site by the same commit helps nothing: that is denied too.
    let roles = [role("more", &ann), device("fra", &[("site", "ams"), ("role", "web")]), deployment("new", "1", json!({"role": "web"}))];
    denied(&roles, &[], &["deployment/new: role/eve", "device/fra", "role/more"]);
    // Nobody is named by a key that no Role has, and in another namespace these Roles don't count.
    assert!(commit("MALLORY", &[fra()], &[])[0].contains("no Role in namespace default names signer ssh-ed25519 MALLORY"));
    let ann = |_: &Key| vec![access::commit::Answering { who: Who::signing("ssh-ed25519 ANN").unwrap(), shown: "ANN".into() }];
    let judged = access::commit::judge("elsewhere", &there, &BTreeMap::new(), &objects(&[fra()]), ann);
    let denied: Vec<_> = judged.denied.values().map(String::as_str).collect();
    assert_eq!(denied, ["ANN may not make device/fra: Roles of namespace elsewhere don't count there"]);
    assert!(judged.objects.is_empty());
    // What nobody answers for is not allowed, and neither is what only one of two may.
    let after = {
        let mut after = before.clone();
        after.extend(objects(&[fra()]));
        after
    };
    let judged = access::commit::judge("default", &there, &before, &after, |_| Vec::new());
    assert!(judged.objects == before && judged.denied.values().all(|why| why.contains("nobody answers")), "{:?}", judged.denied);
    let both = |_: &Key| {
        ["ANN", "EVE"]
            .map(|key| access::commit::Answering { who: Who::signing(&format!("ssh-ed25519 {key}")).unwrap(), shown: key.into() })
            .to_vec()
    };
    assert!(
        access::commit::judge("default", &there, &before, &after, both).denied.values().all(|why| why.starts_with("EVE may not change"))
    );
}

/// A device that can't be used, since it is in a circle, is still one that others are not about: the circle may be gone later.
#[test]
fn whose_device_is_made_unusable_keeps_his_say() {
    let within = |name: &str, site: &str, parent: &str| {
        let labels = BTreeMap::from([("site".to_owned(), site.to_owned()), ("role".to_owned(), "web".to_owned())]);
        object(Kind::Device, name, &labels, &json!({"type": "Server", "address": "10.0.0.1", "parents": [parent]}))
    };
    let web = json!({"selector": {"matchLabels": {"role": "web"}}, "package": {"apt": {"name": "web", "version": "1"}}});
    let rule = json!({"selector": {"matchLabels": {"role": "web"}}, "expr": "true", "severity": "info"});
    let silence = json!({"devices": {"matchLabels": {"role": "web"}}, "until": "2027-01-01T00:00:00Z", "reason": "x"});
    let about = [(Kind::Deployment, web), (Kind::AlertRule, rule), (Kind::Silence, silence)]
        .map(|(kind, spec)| object(kind, "web", &BTreeMap::new(), &spec));
    let eve =
        json!({"subjects": [{"signer": "ssh-ed25519 EVE"}], "allow": [{"verbs": ["edit"], "devices": {"matchLabels": {"site": "ams"}}}]});
    let devices = || [device("ams-1", &[("site", "ams"), ("role", "web")]), within("ams-2", "ams", "fra"), within("fra", "fra", "ams-2")];
    let fleet = build(devices().into_iter().chain([role("eve", &eve)]));
    assert!(fleet.devices.keys().eq([&Name::parse("ams-1")]), "the others are in a circle");
    let known = build(devices().into_iter().chain([role("eve", &eve)]).chain(about.clone()));
    let who = Who::signing("ssh-ed25519 EVE").unwrap();
    for object in &about {
        for fleet in [&fleet, &known] {
            let request = Request { who: &who, verb: Verb::Edit, kind: object.kind(), namespace: "default", what: What::Object(object) };
            let Decision::Denied(why) = access::decide(fleet, fleet, &request) else { panic!("{:?} is allowed", object.kind()) };
            assert_eq!(why.to_string(), "role/eve spec.allow[0].devices: device/fra is not among them");
        }
    }
}
