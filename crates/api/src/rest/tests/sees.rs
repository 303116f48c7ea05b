//! What is shown is what one may see: neither names nor counts of anything else.

use std::sync::Arc;

use crds::{Kind, Object, Verb};
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::{Config, TestRunner};
use reconcile::Name;
use reconcile::access::{self, Decision, Request, What};
use serde_json::{Value, json};

use super::{World, admin, device, object, role, token, user};
use crate::rest::caller::Caller;
use crate::rest::sight::Sights;
use crate::server::read;

/// All that may be asked for.
const ALL: [&str; 18] = [
    "/devices?facets=site,health,type,update",
    "/deployments",
    "/alertrules",
    "/silences",
    "/roles",
    "/receivers",
    "/repositories",
    "/alerts",
    "/alerts/aaaa",
    "/notices",
    "/topology",
    "/logs",
    "/logs/templates",
    "/audit",
    "/overview",
    "/plans",
    "/status",
    "/devices/default/web-ams1/explain",
];

#[tokio::test]
async fn nothing_of_the_other_site_is_in_anything_that_a_viewer_gets() {
    let world = World::new().await;
    for path in ALL {
        let text = world.document(&format!("/api/v1{path}"), &user("viewer")).await.to_string();
        assert!(!text.contains("fra1"), "{path}: {text}");
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
        for path in ["/devices", "/alerts", "/logs", "/audit", "/notices", "/logs/templates"] {
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
