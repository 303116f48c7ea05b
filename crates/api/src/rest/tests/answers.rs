//! How answers look: pages, parts, tags, problems.

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::{Method, World, admin, device, user};

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().filter_map(|item| item["metadata"]["name"].as_str()).collect()
}

#[tokio::test]
async fn a_device_is_its_manifest_with_how_it_stands() {
    let world = World::new().await;
    insta::assert_yaml_snapshot!(world.document("/api/v1/devices/default/web-fra1", &admin()).await);
}

#[tokio::test]
async fn an_alert_an_overview_and_a_rollout_look_so() {
    let world = World::new().await;
    insta::assert_yaml_snapshot!("alert", world.document("/api/v1/alerts/ffff", &admin()).await);
    insta::assert_yaml_snapshot!("overview", world.document("/api/v1/overview", &admin()).await);
    insta::assert_yaml_snapshot!("topology", world.document("/api/v1/topology", &admin()).await);
    insta::assert_yaml_snapshot!("rollout", world.document("/api/v1/rollouts/default/app-ams1", &admin()).await);
    insta::assert_yaml_snapshot!("logs", world.document("/api/v1/logs?device=web-ams1", &admin()).await);
    insta::assert_yaml_snapshot!("access", world.document("/api/v1/access", &user("editor")).await);
}

#[tokio::test]
async fn lists_are_filtered_sorted_and_cut() {
    let world = World::new().await;
    for (query, expected) in [
        ("", vec!["sw-ams1", "sw-fra1", "web-ams1", "web-fra1"]),
        ("?sort=-name", vec!["web-fra1", "web-ams1", "sw-fra1", "sw-ams1"]),
        ("?sort=site,-name", vec!["web-ams1", "sw-ams1", "web-fra1", "sw-fra1"]),
        ("?sort=health,name", vec!["sw-fra1", "web-fra1", "sw-ams1", "web-ams1"]),
        ("?sort=-cpu,name", vec!["web-fra1", "web-ams1", "sw-ams1", "sw-fra1"]),
        ("?sort=cpu,-name", vec!["sw-fra1", "sw-ams1", "web-ams1", "web-fra1"]),
        ("?health=Unreachable", vec!["sw-fra1"]),
        ("?health=Unknown,Healthy", vec!["sw-ams1", "web-ams1", "web-fra1"]),
        ("?type=Network", vec![]),
        ("?update=UpToDate", vec![]),
        ("?q=WEB-+ams", vec!["web-ams1"]),
        ("?q=example.com", vec!["sw-ams1", "sw-fra1", "web-ams1", "web-fra1"]),
        ("?labelSelector=site%20in%20(fra1),role", vec!["sw-fra1", "web-fra1"]),
        ("?namespace=lab", vec![]),
        ("?limit=1", vec!["sw-ams1"]),
    ] {
        let list = world.document(&format!("/api/v1/devices{query}"), &admin()).await;
        assert_eq!(names(&list), expected, "{query}");
    }
    let list = world.document("/api/v1/devices?fields=metadata.name,status.health,status.probes.state&limit=1", &admin()).await;
    assert_eq!(list["items"][0], json!({"metadata": {"name": "sw-ams1"}, "status": {"health": "Healthy", "probes": [{"state": "ok"}]}}));
    for (query, expected) in
        [("?state=firing&sort=device", 2), ("?state=pending", 0), ("?rule=load-ams1", 1), ("?suppressed=true", 0), ("?q=load-fra1", 1)]
    {
        assert_eq!(world.document(&format!("/api/v1/alerts{query}"), &admin()).await["total"], expected, "{query}");
    }
}

#[tokio::test]
async fn pages_hold_everything_once_also_when_what_a_cursor_names_is_gone() {
    let world = World::of((0..25).map(|at| device(&format!("d{at:02}"), "ams1", &[])).collect()).await;
    for sort in ["name", "-name", "site,-name", "health"] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        for _ in 0..20 {
            let list = world.document(&format!("/api/v1/devices?limit=7&sort={sort}{cursor}"), &admin()).await;
            seen.extend(names(&list).into_iter().map(str::to_owned));
            assert_eq!(list["total"], 25);
            match list["cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        let mut distinct = seen.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!((seen.len(), distinct.len()), (25, 25), "{sort}");
    }
    let first = world.document("/api/v1/devices?limit=7", &admin()).await;
    let left: Vec<_> = (0..25).filter(|at| *at != 6).map(|at| device(&format!("d{at:02}"), "ams1", &[])).collect();
    let (desired, _) = reconcile::Desired::build(left, reconcile::Revision::default());
    world.shared.view.write().unwrap().desired = std::sync::Arc::new(desired);
    let next = world.document(&format!("/api/v1/devices?limit=7&cursor={}", first["cursor"].as_str().unwrap()), &admin()).await;
    assert_eq!(names(&next)[0], "d07");
}

#[tokio::test]
async fn what_did_not_change_is_not_sent_again() {
    let world = World::new().await;
    for path in ["/api/v1/devices", "/api/v1/devices/default/web-ams1", "/api/v1/alerts", "/api/v1/topology"] {
        let first = world.send(Method::GET, path, Some(&admin()), &[]).await;
        let tag = first.headers()[header::ETAG].to_str().unwrap().to_owned();
        let again = world.send(Method::GET, path, Some(&admin()), &[(header::IF_NONE_MATCH, &tag)]).await;
        assert_eq!((again.status(), again.headers()[header::ETAG].to_str().unwrap()), (StatusCode::NOT_MODIFIED, tag.as_str()), "{path}");
        assert!(to_bytes(again.into_body(), 1).await.unwrap().is_empty());
        let other = world.send(Method::GET, path, Some(&admin()), &[(header::IF_NONE_MATCH, "W/\"0\", \"1\"")]).await;
        assert_eq!(other.status(), StatusCode::OK, "{path}");
    }
    // How an object is written is one part of its tag, how it stands the other.
    let tag = async || {
        world.send(Method::GET, "/api/v1/devices/default/web-ams1", Some(&admin()), &[]).await.headers()[header::ETAG]
            .to_str()
            .unwrap()
            .to_owned()
    };
    let before = tag().await;
    world.shared.view.write().unwrap().observed.devices.insert(reconcile::Name::parse("web-ams1"), super::seen("dead"));
    let after = tag().await;
    assert_ne!(before, after);
    assert_eq!(before.split('.').next(), after.split('.').next());
}

#[tokio::test]
async fn whatever_says_no_is_a_problem_with_headers() {
    let world = World::new().await;
    for (method, path, status, word) in [
        (Method::GET, "/api/v1/nothing", 404, "/api/v1/openapi.json"),
        (Method::GET, "/api", 404, "/api/v1/openapi.json"),
        (Method::GET, "/api/v2/devices", 404, "/api/v1/openapi.json"),
        (Method::PATCH, "/api/v1/topology", 405, "`Allow`"),
        (Method::GET, "/api/v1/devices?color=red", 400, "`color`"),
        (Method::GET, "/api/v1/devices?limit=0", 400, "limit"),
        (Method::GET, "/api/v1/devices?limit=1001", 400, "limit"),
        (Method::GET, "/api/v1/devices?sort=color", 400, "sort"),
        (Method::GET, "/api/v1/devices?cursor=%00", 400, "cursor"),
        (Method::GET, "/api/v1/devices/default/nobody", 404, "device nobody"),
        (Method::GET, "/api/v1/audit/many", 404, "entry"),
        (Method::GET, "/api/v1/samples", 400, "device"),
        (Method::GET, "/api/v1/samples?device=web-ams1&series=all", 400, "`all` is no series"),
        (Method::GET, "/api/v1/samples?device=web-ams1&series=load.one&points=9999", 400, "points"),
        (Method::GET, "/api/v1/logs?q=(", 400, "q:"),
        (Method::GET, "/api/v1/logs?severity=9", 400, "severity"),
        (Method::GET, "/api/v1/can?verb=fly&kind=Device", 400, "verb"),
    ] {
        let response = world.send(method.clone(), path, Some(&admin()), &[]).await;
        let headers = response.headers().clone();
        let found =
            (response.status().as_u16(), headers[header::CONTENT_TYPE].to_str().unwrap(), headers[header::CACHE_CONTROL].to_str().unwrap());
        assert_eq!(found, (status, "application/problem+json", "no-store"), "{method} {path}");
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(headers.contains_key(header::ALLOW), status == 405, "{path}");
        let problem: Value = serde_json::from_slice(&to_bytes(response.into_body(), 1 << 20).await.unwrap()).unwrap();
        assert_eq!(problem["status"], status);
        assert!(problem["detail"].as_str().unwrap().contains(word), "{path}: {problem}");
        assert_eq!(problem["error"], problem["detail"], "what older command lines read");
    }
}

#[tokio::test]
async fn answers_are_compressed_for_who_takes_that() {
    let world = World::new().await;
    let response = world.send(Method::GET, "/api/v1/devices", Some(&admin()), &[(header::ACCEPT_ENCODING, "gzip")]).await;
    assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
    let plain = world.send(Method::GET, "/api/v1/devices", Some(&admin()), &[]).await;
    assert!(!plain.headers().contains_key(header::CONTENT_ENCODING));
}

#[tokio::test]
async fn several_series_come_in_one_answer() {
    let world = World::new().await;
    let two = world.document("/api/v1/samples?device=default/web-ams1&series=load.one&series=cpu.ratio&from=1h", &admin()).await;
    assert_eq!(two["items"].as_array().unwrap().iter().map(|chart| &chart["unit"]).collect::<Vec<_>>(), ["Count", "Ratio"]);
    let one = world.document("/api/v1/samples?device=web-ams1&series=load.one", &admin()).await;
    assert_eq!((&one["series"], &one["points"]), (&json!("load.one"), &json!([])));
    assert_eq!(world.document("/api/v1/devices/default/web-ams1/series", &admin()).await, json!(["cpu.ratio", "load.one"]));
}

#[tokio::test]
async fn the_log_is_proven_and_exported() {
    let world = World::new().await;
    let proof = world.document("/api/v1/audit/proof", &admin()).await;
    assert_eq!((&proof["size"], &proof["verified"], &proof["problem"]), (&json!(3), &json!(true), &Value::Null));
    let export = world.send(Method::GET, "/api/v1/audit/export", Some(&admin()), &[]).await;
    assert_eq!(export.headers()[header::CONTENT_TYPE], "application/jsonl");
    let text = to_bytes(export.into_body(), 1 << 20).await.unwrap();
    let report = store::audit::verify(&text[..], &world.shared.store.public_key(), None).unwrap();
    assert_eq!((report.entries, report.wrong), (3, None));
    // Whoever takes it compressed gets all of it too.
    let export = world.send(Method::GET, "/api/v1/audit/export", Some(&admin()), &[(header::ACCEPT_ENCODING, "gzip")]).await;
    assert_eq!(export.headers()[header::CONTENT_ENCODING], "gzip");
    assert!(!to_bytes(export.into_body(), 1 << 20).await.unwrap().is_empty());
    let found = world.document("/api/v1/audit?about=device/default/web-ams1&actor=ann&q=beside&limit=1", &admin()).await;
    assert_eq!((found["items"].as_array().unwrap().len(), &found["items"][0]["target"]), (1, &json!("device/web-ams1")));
}

#[tokio::test]
async fn who_may_what_is_told_and_of_others_only_to_who_may_see_roles() {
    let world = World::new().await;
    let can = async |query: &str, name: &str| world.get(&format!("/api/v1/can?{query}"), &user(name)).await;
    let (_, own) = can("verb=edit&kind=Device&name=web-ams1", "editor").await;
    assert_eq!(
        own,
        json!({"allowed": true, "reason": "role/editors allows it", "role": "editors", "entry": "spec.allow[0]", "groups": []})
    );
    let (_, other) = can("verb=edit&kind=Device&name=web-fra1", "editor").await;
    let (_, none) = can("verb=edit&kind=Device&name=web-none", "editor").await;
    assert_eq!((&other["allowed"], &other), (&json!(false), &none), "what may not be seen is as what is not there");
    assert_eq!(can("verb=view&kind=Device&subject=editor", "editor").await.0, StatusCode::FORBIDDEN);
    let (status, found) = can("verb=view&kind=Device&name=web-ams1&subject=editor", "reader").await;
    assert_eq!((status, &found["allowed"]), (StatusCode::OK, &json!(true)));
}

/// What is said of a user is said with the groups that they have here; of those only the ones that Roles there name.
#[tokio::test]
async fn who_may_what_knows_the_groups_of_users() {
    let mut objects = super::objects();
    objects.push(super::object(
        crds::Kind::Role,
        "web",
        &json!({}),
        &json!({"subjects": [{"group": "web"}], "allow": [{"verbs": ["view"], "kinds": ["Device"]}]}),
    ));
    let world = World::of(objects).await;
    let act = || store::audit::Entry::act(jiff::Timestamp::now(), reconcile::record::Actor::engine(), "add", "user/x", "");
    for (name, groups) in [("alice", &["web", "choir"][..]), ("ada", &["admins"])] {
        let mut user = store::users::User::local(name, jiff::Timestamp::now());
        user.stored = groups.iter().map(|group| (*group).to_owned()).collect();
        world.shared.store.add_user(&user, None, None, false, act()).await.unwrap();
    }
    let can = async |subject: &str| world.document(&format!("/api/v1/can?verb=view&kind=Device&subject={subject}"), &user("reader")).await;
    for subject in ["alice", "user:alice"] {
        let found = can(subject).await;
        assert_eq!((&found["allowed"], &found["role"], &found["groups"]), (&json!(true), &json!("web"), &json!(["web"])), "{subject}");
    }
    assert_eq!(can("bob").await["allowed"], false);
    assert_eq!(can("group:alice").await["allowed"], false, "a group is no user");
    let admin = can("ada").await;
    assert_eq!((&admin["allowed"], &admin["role"]), (&json!(true), &Value::Null), "{admin}");
    let change = store::users::UserChange { disabled: Some(true), ..Default::default() };
    world.shared.store.change_user("alice", &change, act()).await.unwrap();
    let disabled = can("alice").await;
    assert!(disabled["allowed"] == false && disabled["reason"].as_str().unwrap().contains("disabled"), "{disabled}");
}

/// Devices are chosen by their labels, wherever these stand; labels of rules and their names choose alerts.
#[tokio::test]
async fn a_preview_counts_the_devices_that_labels_choose() {
    let mut objects = super::objects();
    let rule =
        json!({"selector": {}, "expr": "device.usage.load.one > 5.0", "severity": "info", "labels": {"team": "web"}, "summary": "x"});
    objects.push(super::object(crds::Kind::AlertRule, "any", &json!({}), &rule));
    let world = World::of(objects).await;
    for (labels, devices, expected) in [
        (json!({}), Value::Null, 4),
        (json!({"site": "ams1"}), Value::Null, 2),
        (json!({"site": "ams1"}), json!({"matchLabels": {"site": "fra1"}}), 0),
        (json!({"device": "web-ams1"}), Value::Null, 1),
        (json!({"site": "ams1", "device": "web-fra1"}), Value::Null, 0),
        (json!({"rule": "load-ams1"}), Value::Null, 4),
        (json!({"team": "web", "site": "fra1"}), Value::Null, 2),
        (json!({"team": "db"}), Value::Null, 0),
    ] {
        let planned = json!({"matchLabels": labels, "devices": devices, "until": "2100-01-01T00:00:00Z"});
        let (status, found) = world.post("/api/v1/silences/preview", &admin(), &planned).await;
        assert_eq!((status, &found["devices"]), (StatusCode::OK, &json!(expected)), "{planned}: {found}");
    }
    // A rule that one may not see chooses nothing: whoever asks would learn what its labels are.
    let planned = json!({"matchLabels": {"team": "web"}, "until": "2100-01-01T00:00:00Z"});
    for (caller, expected) in [(user("viewer"), 0), (user("reader"), 4)] {
        let (_, found) = world.post("/api/v1/silences/preview", &caller, &planned).await;
        assert_eq!(found["devices"], expected, "{}: {found}", caller.name);
    }
}

/// What is misspelt in a query is refused by every route but the one to which a provider sends people.
#[tokio::test]
async fn no_route_passes_over_what_it_does_not_know() {
    let world = World::new().await;
    let all = crate::rest::routes();
    for declared in all.declared() {
        let path = declared.path.replace("{namespace}", "default").replace("{name}", "web-ams1").replace(['{', '}'], "");
        let (status, problem) = world.asked(declared.method.clone(), &format!("/api/v1{path}?nosuch=secret"), &admin()).await;
        let text = problem.to_string();
        let is_refused = status == StatusCode::BAD_REQUEST && text.contains("`nosuch`") && !text.contains("secret");
        assert_eq!(is_refused, declared.path != "/oidc/callback", "{declared:?}: {status} {text}");
    }
}

/// Who goes on reading the log names the place as the answer before did, or by its number.
#[tokio::test]
async fn the_log_goes_on_where_its_answer_said() {
    let world = World::new().await;
    let page = world.document("/api/v1/audit?limit=2", &admin()).await;
    let cursor = page["cursor"].as_str().unwrap();
    let next = world.document(&format!("/api/v1/audit?limit=2&cursor={cursor}"), &admin()).await;
    assert_eq!(next["items"].as_array().unwrap().iter().map(|item| &item["index"]).collect::<Vec<_>>(), [&json!(0)]);
    assert_eq!(world.document(&format!("/api/v1/audit?limit=2&before={cursor}"), &admin()).await, next);
    assert_eq!(world.get("/api/v1/audit?cursor=x", &admin()).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn what_is_said_to_a_commit_that_is_let_through_is_in_the_log() {
    let world = World::new().await;
    let admit = async |comment: &str| world.post("/api/v1/source/admit", &admin(), &json!({"id": "a1b2", "comment": comment})).await.0;
    assert_eq!(admit("the old site is closed").await, StatusCode::OK);
    assert_eq!(admit(" ").await, StatusCode::OK);
    assert_eq!(admit("two\nlines").await, StatusCode::UNPROCESSABLE_ENTITY);
    let log = world.document("/api/v1/audit?about=source", &admin()).await;
    let said = |item: &Value| format!("{} {}: {}", item["actor"]["name"], item["verb"], item["message"]);
    let said: Vec<String> = log["items"].as_array().unwrap().iter().map(said).collect();
    assert_eq!(said, [r#""root" "comment": "a1b2: the old site is closed""#]);
}

#[tokio::test]
async fn the_source_says_which_key_signed_what_is_in_force() {
    let world = World::new().await;
    assert_eq!(world.document("/api/v1/source", &admin()).await["signer"], Value::Null);
    world.shared.view.write().unwrap().source.signer = Some("ann SHA256:abc".into());
    assert_eq!(world.document("/api/v1/source", &admin()).await["signer"], "ann SHA256:abc");
}

/// What is answered again under a key is a problem still, also where an extractor said it in plain words.
#[tokio::test]
async fn who_is_refused_under_a_key_is_refused_alike_again() {
    let world = World::new().await;
    for _ in 0..2 {
        let request = Request::builder().method(Method::POST).uri("/api/v1/devices?dryRun=perhaps").header("Idempotency-Key", "one");
        let request = request.header(header::CONTENT_TYPE, "application/json").extension(admin()).body(Body::from("{}")).unwrap();
        let response = world.router.clone().oneshot(request).await.unwrap();
        let (status, problem) = World::read(&Method::POST, "/api/v1/devices", response).await;
        assert_eq!((status, &problem["status"]), (StatusCode::BAD_REQUEST, &json!(400)), "{problem}");
    }
}
