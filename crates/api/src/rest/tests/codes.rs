//! Every status that the interface answers with, asked for once.

use std::num::NonZeroU32;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Request, header};
use jiff::Timestamp;
use reconcile::alerting::alerts::Changes;
use serde_json::{Value, json};
use store::users::User;
use tower::ServiceExt as _;

use super::{World, admin, alert, user};
use crate::rest::caller::Caller;
use crate::rest::limits;
use crate::sign_in::authenticate::Signed;

/// Asks, with a document if there is one; the status, with what is said of a problem.
async fn ask(world: &World, (method, path): (Method, &str), caller: Option<&Caller>, more: &[(&str, &str)], body: &Value) -> (u16, Value) {
    let mut request = Request::builder().method(method).uri(format!("/api/v1{path}"));
    for (name, value) in more {
        request = request.header(*name, *value);
    }
    if !more.iter().any(|(name, _)| *name == "content-type") {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let mut request = request.body(Body::from(body)).unwrap();
    if let Some(caller) = caller {
        request.extensions_mut().insert(caller.clone());
    }
    let answer = world.router.clone().oneshot(request).await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    let value: Value = serde_json::from_slice(&body).unwrap_or_default();
    if status >= 400 {
        assert_eq!(headers[header::CONTENT_TYPE], "application/problem+json", "{path}");
        assert_eq!((&value["type"], &value["status"]), (&json!("about:blank"), &json!(status)), "{path}: {value}");
        assert_eq!(headers.contains_key(header::RETRY_AFTER), [429, 503].contains(&status), "{path}");
    }
    (status, value)
}

/// An alert that was, and is no more.
async fn is_over(world: &World, id: &str) {
    let mut over = alert("load-ams1", "web-ams1", id);
    (over.state, over.resolved_at) = (crds::AlertState::Resolved, Some(Timestamp::now()));
    world.shared.store.alerts().await.unwrap();
    let key = (over.subject.rule.clone(), over.subject.device.clone());
    let resolved = Changes { instances: [(key.clone(), Some(over))].into(), ..Changes::default() };
    world.shared.store.record_alerts(&resolved, Vec::new(), Timestamp::now()).await.unwrap();
    let gone = Changes { instances: [(key, None)].into(), ..Changes::default() };
    world.shared.store.record_alerts(&gone, Vec::new(), Timestamp::now()).await.unwrap();
}

/// What others have is for administrators, also where a user signed in.
#[tokio::test]
async fn tokens_of_another_user_are_refused() {
    let world = World::new().await;
    let path = "/api/v1/tokens?user=bob";
    let signed = Signed { user: User::local("viewer", Timestamp::now()), session: None, token: None, seen_at: None };
    let request = Request::builder().uri(path).extension(user("viewer")).extension(signed).body(Body::empty()).unwrap();
    let answer = world.router.clone().oneshot(request).await.unwrap();
    assert_eq!(World::read(&Method::GET, path, answer).await.0, 403);
}

/// What would come of a revision of a Repository is told to who may see that.
#[tokio::test]
async fn a_repository_that_one_may_not_see_has_no_preview() {
    let mut objects = super::objects();
    let allow = json!([{"verbs": ["view"], "kinds": ["Deployment", "Device"]}]);
    objects.push(super::role("planners", "planner", &allow, false));
    let world = World::of(objects).await;
    assert_eq!(world.get("/api/v1/plans/preview", &user("planner")).await.0, 200);
    for repository in ["fleet", "nope"] {
        let path = format!("/api/v1/plans/preview?repository={repository}");
        assert_eq!(world.get(&path, &user("planner")).await.0, 404, "{repository}");
    }
}

#[tokio::test]
async fn each_status_is_said_where_it_fits() {
    let world = World::new().await;
    is_over(&world, "0ver").await;
    let (admin, viewer) = (admin(), user("viewer"));
    let tag = {
        let answer = world.send(Method::GET, "/api/v1/devices", Some(&viewer), &[]).await;
        answer.headers()[header::ETAG].to_str().unwrap().to_owned()
    };
    let silence = |name: &str| json!({"metadata": {"name": name}, "spec": {"until": Timestamp::now() + jiff::SignedDuration::from_hours(1), "reason": "work"}});
    let acknowledged = json!({"comment": "mine", "until": "2030-01-01T00:00:00Z"});
    let patch = json!({"metadata": {"labels": {"a": "b"}}});
    let merge = ("content-type", "application/merge-patch+json");
    let nothing = Value::Null;
    let (get, post, delete, change) = (Method::GET, Method::POST, Method::DELETE, Method::PATCH);
    for (status, method, path, caller, headers, body) in [
        (200, &get, "/devices", Some(&viewer), vec![], &nothing),
        (201, &post, "/silences", Some(&admin), vec![], &silence("fresh")),
        (202, &post, "/devices/default/web-ams1/look", Some(&viewer), vec![], &nothing),
        (204, &delete, "/silences/default/quiet-ams1", Some(&admin), vec![], &nothing),
        (304, &get, "/devices", Some(&viewer), vec![("if-none-match", tag.as_str())], &nothing),
        (400, &get, "/devices?limit=0", Some(&viewer), vec![], &nothing),
        (401, &get, "/devices", None, vec![], &nothing),
        (403, &get, "/audit/export", Some(&viewer), vec![], &nothing),
        (404, &get, "/devices/default/web-fra1", Some(&viewer), vec![], &nothing),
        (404, &post, "/alerts/never/acknowledge", Some(&admin), vec![], &acknowledged),
        (405, &delete, "/devices", Some(&admin), vec![], &nothing),
        (409, &post, "/silences", Some(&admin), vec![], &silence("quiet-ams1")),
        (410, &post, "/alerts/0ver/acknowledge", Some(&admin), vec![], &acknowledged),
        (412, &change, "/devices/default/web-ams1", Some(&admin), vec![merge, ("if-match", "\"else\"")], &patch),
        (415, &change, "/devices/default/web-ams1", Some(&admin), vec![("content-type", "text/plain")], &patch),
        (422, &post, "/silences", Some(&admin), vec![], &silence("No Name")),
    ] {
        let (found, value) = ask(&world, (method.clone(), path), caller, &headers, body).await;
        assert_eq!(found, status, "{method} {path}: {value}");
    }
    let large = json!({"metadata": {"name": "x".repeat(2 << 20)}});
    assert_eq!(ask(&world, (post.clone(), "/silences"), Some(&admin), &[], &large).await.0, 413);
    // Of whom one may not see it is said in no other words than of what never was.
    let hidden = ask(&world, (post.clone(), "/alerts/0ver/acknowledge"), Some(&user("suspended")), &[], &acknowledged).await;
    let never = ask(&world, (post, "/alerts/never/acknowledge"), Some(&user("suspended")), &[], &acknowledged).await;
    assert_eq!(hidden, never);

    // Whoever may ask once a second, and asks at once again.
    let rates = Arc::new(limits::Rates::with(NonZeroU32::MIN, NonZeroU32::MIN));
    let router = limits::around(crate::rest::routes().router(&world.shared), rates).with_state(world.shared.clone());
    let limited = World { router, shared: world.shared.clone(), _data: tempfile::tempdir().unwrap() };
    let mut statuses = Vec::new();
    while statuses.last() != Some(&429) && statuses.len() < 50 {
        statuses.push(ask(&limited, (Method::GET, "/openapi.json"), Some(&viewer), &[], &Value::Null).await.0);
    }
    assert_eq!((statuses.first(), statuses.last()), (Some(&200), Some(&429)));
    world.shared.view.write().unwrap().stands_by = true;
    assert_eq!(ask(&world, (Method::GET, "/devices"), Some(&admin), &[], &Value::Null).await.0, 503);
}
