//! What is shown is what one may see: neither names nor counts of anything else.

use std::sync::Arc;

use crds::{Kind, Object, Severity, Verb};
use jiff::Timestamp;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::{Config, TestRunner};
use reconcile::access::{self, Decision, Request, What};
use reconcile::alerting::alerts::Changes;
use reconcile::alerting::{Instead, Notice, Reason, Said};
use reconcile::observed::{Contact, DeviceSeen, ProbeSeen, ProbeState};
use reconcile::{Name, ProbeCode, RevisionResult};
use serde_json::{Value, json};
use store::audit::Entry;
use store::{Delivery, Lost, ProbeChange};

use super::{Method, World, admin, device, object, role, token, user};
use crate::rest::caller::Caller;
use crate::rest::sight::Sights;
use crate::shared::read;

/// All that may be asked for.
const ALL: [&str; 28] = [
    "/devices?facets=site,health,type,update",
    "/deployments",
    "/alertrules",
    "/silences",
    "/roles",
    "/receivers",
    "/repositories",
    "/alerts",
    "/alerts/aaaa",
    "/alerts/history",
    "/notices",
    "/topology",
    "/logs",
    "/logs/templates",
    "/audit",
    "/overview",
    "/plans",
    "/rollouts",
    "/rollouts/default/app-ams1",
    "/status",
    "/devices/default/web-ams1/explain",
    "/alertrules/default/load-ams1/explain",
    "/silences/default/quiet-ams1/explain",
    "/devices/default/web-ams1/changes",
    "/devices/default/web-ams1/probes",
    "/devices/default/web-ams1/series",
    "/samples?device=web-ams1&series=load.one",
    "/source",
];

#[tokio::test]
async fn nothing_of_the_other_site_is_in_anything_that_a_viewer_gets() {
    let world = World::new().await;
    for path in ALL {
        let text = world.document(&format!("/api/v1{path}"), &user("viewer")).await.to_string();
        assert!(!text.contains("fra1") && !text.contains("oncall"), "{path}: {text}");
        let everything = world.document(&format!("/api/v1{path}"), &admin()).await.to_string();
        assert_ne!(everything, "", "{path}");
    }
    let devices = world.document("/api/v1/devices?facets=site,health", &user("viewer")).await;
    assert_eq!((&devices["total"], &devices["facets"]), (&json!(2), &json!({"site": {"ams1": 2}, "health": {"Healthy": 2}})));
    let overview = world.document("/api/v1/overview", &user("viewer")).await;
    assert_eq!(overview["wrong"]["alerts"], json!({"critical": 1, "warning": 0, "info": 0}));
    assert_eq!(overview["wrong"]["devices"], json!({"Degraded": 0, "Healthy": 2, "Unknown": 0, "Unreachable": 0}));
    let status = world.document("/api/v1/status", &user("viewer")).await;
    assert_eq!((&status["devices"], &status["deployments"]), (&json!(2), &json!(1)));
    let audit = world.document("/api/v1/audit", &user("viewer")).await;
    assert_eq!(audit["items"].as_array().unwrap().len(), 1);
    assert_eq!(audit["items"][0]["message"], "(hidden): beside device/(hidden) and device/web-ams1.");
    for path in ["alerts", "audit"] {
        let found = world.document(&format!("/api/v1/{path}?q=fra1"), &user("viewer")).await;
        assert_eq!(found["items"], json!([]), "{path}: what is hidden is not found");
    }
    let logs = world.document("/api/v1/logs?q=fish", &user("viewer")).await;
    assert_eq!(logs["items"].as_array().unwrap().len(), 1);
    let histogram = world.document("/api/v1/logs/histogram?since=1790000000&until=1790000060", &user("viewer")).await;
    let errors: u64 = histogram["buckets"].as_array().unwrap().iter().filter_map(|bucket| bucket["counts"]["error"].as_u64()).sum();
    assert_eq!(errors, 1);
    let logs = world.document("/api/v1/logs", &admin()).await;
    assert_eq!(logs["items"].as_array().unwrap().len(), 3, "also of who is no device");
}

/// An act of the last minutes.
fn act(verb: &str, unit: &str, message: &str) -> Entry {
    let outcome = if verb == "apply" { "begun" } else { "done" };
    let (unit, outcome) = (unit.into(), outcome.into());
    Entry { at: Timestamp::now(), verb: verb.into(), unit, message: message.into(), outcome, ..super::entry("device/db-ams1") }
}

/// A world in which what is told of a device of one's own site speaks of the other one.
async fn entangled() -> World {
    let mut objects = super::objects();
    let probes = json!([{"name": "web", "http": {"port": 80}}]);
    let spec = json!({"type": "Server", "address": "db-ams1.example.com", "probes": probes});
    objects.push(object(Kind::Device, "db-ams1", &json!({"site": "ams1"}), &spec));
    let world = World::of(objects).await;
    let beside = "web-fra1: refused by device/sw-fra1";
    let (device, change) = (Name::parse("db-ams1"), super::change("app-fra1"));
    {
        let mut view = world.shared.view.write().unwrap();
        let probe = ProbeSeen { state: ProbeState::Fail, reason: beside.into(), ..ProbeSeen::default() };
        let seen = DeviceSeen { contact: Contact::Known, probes: [("web".to_owned(), probe.into())].into(), ..DeviceSeen::default() };
        view.observed.devices.insert(device.clone(), Arc::new(seen));
        let mut alert = super::alert("load-ams1", "web-ams1", "aaaa");
        alert.subject.last_change = Some(change);
        alert.decided("oncall", "said: nothing of this group was said before", super::at(0));
        for by in ["deployment/app-fra1 is at work on the device", "silenced by silence/quiet-ams1 until 2030-01-01T00:00:00Z (work)"] {
            alert.decided("", format!("suppressed: {by}"), super::at(0));
        }
        view.alerts.set(&(alert.subject.rule.clone(), alert.subject.device.clone()), Some(&alert));
        let lost = Lost {
            receiver: Name::parse("oncall"),
            count: 1,
            of_alerts: 1,
            since: super::at(0),
            last: super::at(0),
            problem: beside.into(),
        };
        view.outbox.standing.lost.push(lost);
        view.source.problem = Some(beside.into());
        view.source.findings = vec![beside.into()];
    }
    super::rollouts::begin(&world, "ams1", RevisionResult::Stopped);
    super::rollouts::begin(&world, "fra1", RevisionResult::Stopped);
    world.shared.store.alerts().await.unwrap();
    for site in ["ams1", "fra1"] {
        super::past::over(&world, site, &format!("past-{site}"), 1).await;
    }
    let notices = vec![notice("n", Reason::First, said("load-ams1", "web-ams1"))];
    world.shared.store.record_alerts(&Changes { notices, ..Changes::default() }, Vec::new(), super::at(0)).await.unwrap();
    let stood = |state| ProbeChange {
        device: device.clone(),
        probe: "web".into(),
        at: Timestamp::now(),
        state,
        code: ProbeCode::Passed,
        reason: beside.into(),
    };
    world.shared.store.record_probe_changes(&[stood(ProbeState::Fail)]).await.unwrap();
    let entries = vec![
        act("apply", "deployment/app-ams1", beside),
        act("apply", "deployment/app-fra1", "what the other site does"),
        act("fire", "alertrule/load-ams1", beside),
        act("fire", "alertrule/load-fra1", "what the other site does"),
    ];
    world.shared.store.log(entries).await.unwrap();
    world
}

#[tokio::test]
async fn what_is_told_of_a_device_names_nothing_of_another_site() {
    let world = entangled().await;
    let more = ["probes", "changes"].map(|part| format!("/devices/default/db-ams1/{part}"));
    for path in ALL.iter().map(|path| (*path).to_owned()).chain(more.clone()) {
        let text = world.document(&format!("/api/v1{path}"), &user("viewer")).await.to_string();
        assert!(!text.contains("fra1") && !text.contains("oncall"), "{path}: {text}");
    }
    for path in ["/alerts/history", "/notices", "/rollouts"] {
        let text = world.document(&format!("/api/v1{path}"), &user("viewer")).await.to_string();
        assert!(text.contains("ams1"), "{path}: {text}");
    }
    let [probes, changes] = more.map(|path| format!("/api/v1{path}"));
    let told = world.document(&probes, &user("viewer")).await;
    let masked = "(hidden): refused by device/(hidden)";
    assert_eq!((&told["items"][0]["reason"], &told["items"][0]["history"][0]["reason"]), (&json!(masked), &json!(masked)));
    let whole = world.document(&probes, &admin()).await;
    assert_eq!(whole["items"][0]["reason"], "web-fra1: refused by device/sw-fra1");
    let titles = async |caller: &Caller| {
        let told = world.document(&changes, caller).await;
        let mut titles: Vec<String> =
            told["items"].as_array().unwrap().iter().map(|mark| mark["title"].as_str().unwrap().to_owned()).collect();
        titles.sort();
        titles
    };
    assert_eq!(titles(&user("viewer")).await, [masked.to_owned(), format!("apply: {masked}")]);
    assert_eq!(titles(&admin()).await.len(), 4);
}

/// What changed a device last is told to who may see the Deployment, wherever an alert is shown.
#[tokio::test]
async fn an_alert_names_no_deployment_that_one_may_not_see() {
    let world = entangled().await;
    for (caller, is_told) in [(user("viewer"), false), (user("reader"), true)] {
        let list = world.document("/api/v1/alerts?rule=load-ams1", &caller).await;
        let overview = world.document("/api/v1/overview", &caller).await;
        let top = overview["wrong"]["top"].as_array().unwrap().iter().find(|alert| alert["id"] == "aaaa").unwrap();
        let one = world.document("/api/v1/alerts/aaaa", &caller).await;
        for alert in [&list["items"][0], top, &one] {
            assert_eq!(!alert["lastChange"].is_null(), is_told, "{alert}");
        }
        let text = one["text"].as_str().unwrap();
        assert_eq!(text.contains("last change: deployment/app-fra1"), is_told, "{text}");
        assert_eq!(text.contains("suppressed: deployment/app-fra1"), is_told, "{text}");
        assert!(text.contains("suppressed: silenced by silence/quiet-ams1"), "{text}");
    }
}

/// An act on a device is seen by who sees that, and what for by who sees the Deployment.
#[tokio::test]
async fn the_log_names_no_deployment_that_one_may_not_see() {
    let world = entangled().await;
    let audit = async |query: &str, caller: &Caller| world.document(&format!("/api/v1/audit{query}"), caller).await["items"].clone();
    let units =
        |items: &Value| items.as_array().unwrap().iter().filter_map(|item| item["unit"].as_str().map(str::to_owned)).collect::<Vec<_>>();
    assert_eq!(
        units(&audit("?about=device/db-ams1", &user("viewer")).await),
        ["alertrule/(hidden)", "alertrule/load-ams1", "deployment/(hidden)", "deployment/app-ams1"]
    );
    for hidden in ["?about=deployment/app-fra1", "?q=app-fra1"] {
        assert_eq!(audit(hidden, &user("viewer")).await, json!([]), "{hidden}");
        assert_eq!(audit(hidden, &admin()).await.as_array().unwrap().len(), 1, "{hidden}");
    }
}

/// One alert as somebody was told of it.
pub(super) fn said(rule: &str, device: &str) -> Said {
    Said {
        id: "s".into(),
        rule: Name::parse(rule),
        device: Name::parse(device),
        severity: Severity::Info,
        labels: Default::default(),
        summary: "high load".into(),
        value: None,
        since: super::at(0),
        ended: None,
        last_change: Some(super::change("app-fra1")),
        behind: 0,
    }
}

/// One notification to those who are on call.
pub(super) fn notice(id: &str, reason: Reason, said: Said) -> Notice {
    Notice {
        id: id.into(),
        receiver: Name::parse("oncall"),
        thread: id.into(),
        reason,
        at: super::at(0),
        group: Default::default(),
        firing: vec![said],
        resolved: Vec::new(),
        left_off: (0, 0),
        instead: None,
    }
}

/// To whom something was said, where that is and what went wrong there is told to who may see the Receiver.
#[tokio::test]
async fn a_notification_names_no_receiver_that_one_may_not_see() {
    let mut objects = super::objects();
    let here = json!({"matchLabels": {"site": "ams1"}});
    let allow = json!([{"verbs": ["view"], "kinds": ["Device"], "devices": here}, {"verbs": ["view"], "kinds": ["Receiver"]}]);
    objects.push(role("tellers", "teller", &allow, false));
    let world = World::of(objects).await;
    let store = &world.shared.store;
    store.alerts().await.unwrap();
    let instead = |id: &str, of: &str| {
        let instead = Some(Instead { of: Name::parse(of), problem: "no answer from chat.example.com".into() });
        Notice { instead, ..notice(id, Reason::First, said("load-ams1", "web-ams1")) }
    };
    let notices = vec![instead("near", "boss"), instead("far", "lab/chief")];
    store.record_alerts(&Changes { notices, ..Changes::default() }, Vec::new(), super::at(0)).await.unwrap();
    for id in ["near", "far"] {
        let dead = Delivery::Dead("mail.example.com says no".into());
        store.tried(id, &dead, &["ann@example.com".to_owned()], None, super::at(1)).await.unwrap();
    }
    let found = async |caller: &Caller| {
        let mut items = world.document("/api/v1/notices?dead=true", caller).await["items"].as_array().unwrap().clone();
        items.sort_by_key(|item| item["notice"]["id"].to_string());
        items
    };
    let items = found(&user("viewer")).await;
    assert_eq!(items.len(), 2);
    for item in &items {
        assert_eq!((&item["notice"]["receiver"], &item["reached"], &item["problem"]), (&json!("(hidden)"), &json!([]), &json!("")));
        let text = item.to_string();
        assert!(!["oncall", "boss", "chief", "example.com"].iter().any(|hidden| text.contains(hidden)), "{text}");
    }
    let items = found(&user("teller")).await;
    for item in &items {
        assert_eq!((&item["notice"]["receiver"], &item["reached"]), (&json!("default/oncall"), &json!(["ann@example.com"])));
        assert_eq!(item["problem"], "mail.example.com says no");
    }
    // Each Receiver is asked for by itself.
    assert_eq!((&items[0]["notice"]["instead"], &items[1]["notice"]["instead"]["of"]), (&Value::Null, &json!("boss")));
    assert_eq!(found(&admin()).await[0]["notice"]["instead"]["of"], "lab/chief");
}

/// Why one may not is said without the Roles that one may not see.
#[tokio::test]
async fn a_refusal_to_acknowledge_names_no_role() {
    let world = World::new().await;
    let (path, said) = ("/api/v1/alerts/aaaa/acknowledge", json!({"comment": "mine", "until": "2100-01-01T00:00:00Z"}));
    let answers = [world.post(path, &user("viewer"), &said).await, world.asked(Method::DELETE, path, &user("viewer")).await];
    for (status, problem) in answers {
        let why = "role/(hidden): nothing there allows to acknowledge a Device";
        assert_eq!((status.as_u16(), &problem["detail"]), (403, &json!(why)));
    }
    let (status, problem) = world.post(path, &user("reader"), &said).await;
    assert_eq!((status.as_u16(), &problem["detail"]), (403, &json!("role/readers: nothing there allows to acknowledge a Device")));
}

/// Who may see a Receiver sees what it was tried out with, which is about no device.
#[tokio::test]
async fn a_trial_is_seen_by_who_may_see_its_receiver() {
    let mut objects = super::objects();
    objects.push(role("tellers", "teller", &json!([{"verbs": ["view"], "kinds": ["Receiver"]}]), false));
    let world = World::of(objects).await;
    world.shared.store.alerts().await.unwrap();
    let summary = "This is a trial of the receiver oncall, asked for by ann. Nothing is wrong.".to_owned();
    let trial = notice("t", Reason::Test, Said { summary, last_change: None, ..said("trial", "no-device") });
    let notices = vec![trial, notice("n", Reason::First, said("load-ams1", "web-ams1"))];
    world.shared.store.record_alerts(&Changes { notices, ..Changes::default() }, Vec::new(), super::at(0)).await.unwrap();
    let ids = async |caller: &Caller| {
        let found = world.document("/api/v1/notices", caller).await;
        assert!(caller.is_admin || caller.name == "reader" || !found.to_string().contains("fra1"), "{found}");
        let mut ids: Vec<String> =
            found["items"].as_array().unwrap().iter().map(|item| item["notice"]["id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    };
    for (caller, expected) in [
        (user("teller"), &["t"][..]),
        (user("viewer"), &["n"]),
        (user("nobody"), &[]),
        (user("reader"), &["n", "t"]),
        (admin(), &["n", "t"]),
    ] {
        assert_eq!(ids(&caller).await, expected, "{}", caller.name);
    }
}

#[tokio::test]
async fn a_name_within_a_path_is_masked_too() {
    let world = World::new().await;
    let sight = Sights::default().of(&user("viewer"), &world.shared);
    for (text, expected) in [
        ("GET https://web-fra1/status: refused", "GET https://(hidden)/status: refused"),
        ("at web-fra1.example.com:443", "at (hidden).example.com:443"),
        ("/srv/default/web-fra1/x and /srv/web-ams1/x", "/srv/(hidden)/x and /srv/web-ams1/x"),
        ("device/web-fra1 a//b.c", "device/(hidden) a//b.c"),
    ] {
        assert_eq!(sight.masked(text), expected);
    }
}

/// Where lines are hidden, a cursor says nothing of them, and yet goes on.
#[tokio::test]
async fn a_cursor_tells_no_place_of_what_is_hidden() {
    let world = World::new().await;
    let page = world.document("/api/v1/logs?limit=1", &user("viewer")).await;
    let cursor = page["cursor"].as_str().unwrap();
    assert!(!cursor.contains('-') || cursor.split('-').any(|part| part.parse::<u64>().is_err()), "{cursor}");
    let next = world.document(&format!("/api/v1/logs?limit=1&cursor={cursor}"), &user("viewer")).await;
    assert_eq!((&page["items"][0]["device"], &next["items"]), (&json!("default/web-ams1"), &json!([])));
    let (forged, _) = world.get(&format!("/api/v1/logs?cursor={}A", &cursor[..cursor.len() - 1]), &user("viewer")).await;
    assert!([200, 400].contains(&forged.as_u16()));
    assert_eq!(world.get("/api/v1/logs?cursor=AAAA", &user("viewer")).await.0, 400);
}

/// What speaks of the whole fleet is for who may see it in every namespace.
#[tokio::test]
async fn one_namespace_is_not_all_of_them() {
    let world = World::new().await;
    assert_eq!(world.get("/api/v1/plans/preview", &user("reader")).await.0, 200);
    let senders = |logs: &Value| logs["items"].as_array().unwrap().iter().any(|line| line["device"] == "");
    assert!(senders(&world.document("/api/v1/logs", &user("reader")).await));
    let mut objects = super::objects();
    objects.push(device("lab/web-lab", "lab", &[]));
    let (desired, _) = reconcile::Desired::build(objects, reconcile::Revision::default());
    world.shared.view.write().unwrap().desired = Arc::new(desired);
    assert_eq!(world.get("/api/v1/plans/preview", &user("reader")).await.0, 403);
    assert_eq!(world.get("/api/v1/plans/preview", &admin()).await.0, 200);
    assert!(!senders(&world.document("/api/v1/logs", &user("reader")).await));
}

/// Who may see Roles, and not a device, is not told whether it is there.
#[tokio::test]
async fn whether_others_may_does_not_say_what_there_is() {
    let world = World::new().await;
    let mut objects = super::objects();
    objects.push(role("auditors", "auditor", &json!([{"verbs": ["view"], "kinds": ["Role"]}]), false));
    let (desired, _) = reconcile::Desired::build(objects, reconcile::Revision::default());
    world.shared.view.write().unwrap().desired = Arc::new(desired);
    let ask = |name: &str| format!("/api/v1/can?verb=edit&kind=Device&subject=viewer&name={name}");
    let there = world.document(&ask("web-fra1"), &user("auditor")).await;
    assert_eq!(there, world.document(&ask("web-none"), &user("auditor")).await);
    assert!(!there["reason"].as_str().unwrap().contains("web-"), "{there}");
}

#[tokio::test]
async fn who_may_see_nothing_gets_empty_lists() {
    let world = World::new().await;
    for caller in [user("nobody"), user("suspended"), user("approver")] {
        for path in ["/devices", "/alerts", "/logs", "/audit", "/notices", "/logs/templates", "/alerts/history", "/rollouts"] {
            let found = world.document(&format!("/api/v1{path}"), &caller).await;
            assert_eq!(found["items"], json!([]), "{path} for {caller:?}");
        }
        assert_eq!(world.document("/api/v1/devices?facets=site", &caller).await["facets"], json!({"site": {}}));
    }
    // A token sees what it is for, whoever it belongs to.
    assert_eq!(world.document("/api/v1/devices", &token()).await["total"], 4);
    assert_eq!(world.document("/api/v1/deployments", &token()).await["total"], 0);
}

#[tokio::test]
async fn a_right_that_is_taken_away_is_gone_with_the_next_request() {
    let world = World::new().await;
    assert_eq!(world.document("/api/v1/devices", &user("viewer")).await["total"], 2);
    let without: Vec<Arc<Object>> = super::objects().into_iter().filter(|object| object.name() != "viewers").collect();
    let (desired, _) = reconcile::Desired::build(without, reconcile::Revision::default());
    world.shared.view.write().unwrap().newest = Some(Arc::new(desired));
    assert_eq!(world.document("/api/v1/devices", &user("viewer")).await["total"], 0);
}

/// Names of a kind that a list shows.
async fn listed(world: &World, kind: Kind, caller: &Caller) -> Vec<String> {
    let list = world.document(&format!("/api/v1/{}?limit=1000", kind.plural()), caller).await;
    let items = list["items"].as_array().unwrap();
    assert_eq!(list["total"], items.len(), "{kind:?}");
    let name = |item: &Value| format!("{}/{}", item["metadata"]["namespace"].as_str().unwrap(), item["metadata"]["name"].as_str().unwrap());
    items.iter().map(name).collect()
}

/// Names of a kind that may be seen, asked one by one.
fn allowed(world: &World, kind: Kind, caller: &Caller) -> Vec<String> {
    read(&world.shared, |view| {
        let may = |name: &Name, object: &Object| {
            let request = Request { who: &caller.who, verb: Verb::View, kind, namespace: name.namespace(), what: What::Object(object) };
            matches!(access::decide(&view.desired, &view.desired, &request), Decision::Allowed { .. })
        };
        let of_kind = view.desired.objects.iter().filter(|((of, _), _)| *of == kind);
        let names = of_kind.filter(|((_, name), object)| may(name, object)).map(|((_, name), _)| name.full().to_owned());
        names.collect()
    })
}

#[test]
fn a_list_shows_what_is_allowed_one_by_one() {
    let word = |words: &'static [&'static str]| (0..words.len()).prop_map(move |at| words[at]);
    let namespace = word(&["default", "lab"]);
    let devices = proptest::collection::vec((namespace, word(&["ams1", "fra1", "lon1"])), 1..12);
    let grant = (
        prop_oneof![Just(json!(["view"])), Just(json!(["edit"])), Just(json!(["deploy"]))],
        prop_oneof![Just(json!([])), Just(json!(["Device"])), Just(json!(["Deployment", "AlertRule"])), Just(json!(["Silence", "Role"]))],
        prop_oneof![
            Just(None),
            Just(Some(json!({}))),
            word(&["ams1", "fra1"]).prop_map(|site| Some(json!({"matchLabels": {"site": site}}))),
            Just(Some(json!({"matchExpressions": [{"key": "site", "operator": "NotIn", "values": ["lon1"]}]}))),
        ],
    );
    let roles = proptest::collection::vec((word(&["default", "lab"]), grant, any::<bool>(), word(&["ann", "bob"])), 0..5);
    let mut runner = TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let checked = runner.run(&(devices, roles), |(devices, roles)| {
        let mut objects = Vec::new();
        for (at, (namespace, site)) in devices.iter().enumerate() {
            objects.push(device(&format!("{namespace}/d{at}"), site, &[]));
        }
        for namespace in ["default", "lab"] {
            for site in ["ams1", "fra1", "none"] {
                let here = json!({"matchLabels": {"site": site}});
                let rule = json!({"selector": here, "expr": "device.usage.load.one > 5.0", "severity": "info", "summary": "x"});
                objects.push(object(Kind::AlertRule, &format!("{namespace}/r-{site}"), &json!({}), &rule));
                let silence = json!({"devices": here, "until": "2030-01-01T00:00:00Z", "reason": "work"});
                objects.push(object(Kind::Silence, &format!("{namespace}/s-{site}"), &json!({}), &silence));
            }
        }
        for (at, (namespace, (verbs, kinds, devices), suspend, subject)) in roles.iter().enumerate() {
            let mut allow = json!({"verbs": verbs, "kinds": kinds});
            if let Some(devices) = devices {
                allow["devices"] = devices.clone();
            }
            objects.push(role(&format!("{namespace}/role{at}"), subject, &json!([allow]), *suspend));
        }
        runtime.block_on(async {
            let world = World::of(objects).await;
            for caller in [user("ann"), user("bob")] {
                for kind in Kind::ALL {
                    assert_eq!(listed(&world, *kind, &caller).await, allowed(&world, *kind, &caller), "{kind:?} for {}", caller.name);
                }
            }
        });
        Ok(())
    });
    checked.unwrap();
}
