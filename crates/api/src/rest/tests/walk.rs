//! Every route x every role: what `routes.txt` beside this says, and nothing else.

use std::collections::BTreeSet;

use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use axum::response::Response;
use crds::Kind;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::{Method, StatusCode, World, admin, described, objects, token, user};
use crate::rest::caller::Caller;
use crate::rest::gate::{Declared, is_short};
use crate::rest::once;
use crate::sign_in::whence::Whence;

const TABLE: &str = include_str!("routes.txt");
/// The columns of the table.
const ROLES: [&str; 9] = ["anonymous", "viewer", "editor", "deployer", "approver", "reader", "admin", "token", "suspended"];

fn caller(role: &str) -> Option<Caller> {
    match role {
        "anonymous" => None,
        "admin" => Some(admin()),
        "token" => Some(token()),
        role => Some(user(role)),
    }
}

/// A route's path as it is asked for, about a thing of this site.
fn path(declared: &Declared, site: &str) -> String {
    let path = &declared.path;
    let name = match path.split('/').nth(1).unwrap_or_default() {
        "devices" => format!("web-{site}"),
        "deployments" | "rollouts" => format!("app-{site}"),
        "alertrules" => format!("load-{site}"),
        "silences" => format!("quiet-{site}"),
        "roles" => "viewers".into(),
        "receivers" => "oncall".into(),
        "repositories" => "fleet".into(),
        "deviceclasses" => "plain".into(),
        _ => "nobody".into(),
    };
    let (alert, index) = if site == "ams1" { ("aaaa", "0") } else { ("ffff", "1") };
    let path = path.replace("{namespace}", "default").replace("{name}", &name).replace("{id}", alert).replace("{index}", index);
    let query = match &*declared.path {
        "/samples" => format!("?device=web-{site}&series=load.one"),
        "/logs" | "/logs/templates" | "/logs/histogram" => format!("?device=web-{site}"),
        "/can" => "?verb=view&kind=Device&subject=somebody".into(),
        _ => String::new(),
    };
    format!("/api/v1{path}{query}")
}

/// What is sent to a route, about a thing of this site: right in itself, so that nothing but who asks decides. `None`: it takes no body.
/// Whoever has no password, no such user and no one-time token comes in by none of it.
fn body_of(declared: &Declared, site: &str) -> Option<Value> {
    declared.reads.as_ref()?;
    let soon = Timestamp::now() + SignedDuration::from_hours(1);
    let (password, token) = ("correct horse battery", "none that was given out");
    Some(match (declared.method.as_str(), &*declared.path) {
        ("PATCH", "/users/{name}") => json!({"displayName": "Nobody"}),
        ("PATCH", _) => json!({"metadata": {"labels": {"a": "b"}}}),
        // A name that is too long is wrong before any password is looked at, which takes its time, and is counted.
        (_, "/session") => json!({"user": "x".repeat(300), "password": password}),
        (_, "/session/first") => json!({"token": token, "user": "nobody", "password": password}),
        (_, "/session/invitation") => json!({"token": token, "password": password}),
        (_, "/session/password") => json!({"old": password, "new": "another long passphrase"}),
        (_, "/tokens") => json!({"name": "ci", "user": "nobody"}),
        (_, "/users") => json!({"name": format!("new-{site}")}),
        (_, "/users/{name}/password") => json!({"password": password}),
        (_, "/silences/preview") => json!({"devices": {"matchLabels": {"site": site}}, "until": soon}),
        (_, "/alerts/{id}/acknowledge") => json!({"comment": "mine", "until": soon}),
        (_, "/backtest") => json!({"rule": format!("load-{site}"), "since": "1h"}),
        (_, "/source/admit" | "/deployments/{namespace}/{name}/approve") => json!({"id": "a"}),
        (_, path) if ["/pause", "/resume", "/undo"].iter().any(|act| path.ends_with(act)) => json!({}),
        (method, path) => {
            let (kind, name) = (path.split('/').nth(1).and_then(Kind::parse), (method == "POST").then(|| format!("new-{site}")));
            written(kind.unwrap_or_else(|| panic!("{method} {path}: what is sent there?")), name, site, soon)
        }
    })
}

/// An object of a kind as the fleet has it, of this site if there are several; by another name, if it is to be a new one.
fn written(kind: Kind, name: Option<String>, site: &str, soon: Timestamp) -> Value {
    let of_kind = || objects().into_iter().filter(move |object| object.kind() == kind).map(|object| object.to_value());
    let of_site = of_kind().find(|value| value["metadata"]["name"].as_str().is_some_and(|name| name.ends_with(site)));
    let mut value = of_site.or_else(|| of_kind().next()).unwrap();
    if let Some(name) = name {
        value["metadata"]["name"] = name.into();
    }
    if kind == Kind::Silence {
        value["spec"]["until"] = json!(soon);
    }
    value
}

/// Asks as a role does, from an address of its own: one-time tokens that don't count are held against the address.
async fn ask(world: &World, declared: &Declared, role: &str, site: &str) -> Response {
    let mut request = Request::builder().method(declared.method.clone()).uri(path(declared, site));
    let body = body_of(declared, site);
    if body.is_some() {
        let media = if declared.method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        request = request.header(header::CONTENT_TYPE, media);
    }
    let mut request = request.body(body.map_or_else(Body::empty, |body| Body::from(body.to_string()))).unwrap();
    let number = ROLES.iter().zip(0..).find(|(known, _)| **known == role).map_or(0, |(_, number)| number);
    request.extensions_mut().insert(Whence(Some([10, 0, number, u8::from(site == "ams1")].into())));
    if let Some(caller) = caller(role) {
        request.extensions_mut().insert(caller);
    }
    world.router.clone().oneshot(request).await.unwrap()
}

/// What a route answers a role: about a thing of its site, and about one of the other site if that is not the same. And what of that is not as
/// it is described.
async fn answers(world: &World, declared: &Declared, role: &str, faults: &mut BTreeSet<String>) -> String {
    let mut codes = Vec::new();
    for site in ["ams1", "fra1"] {
        let answer = ask(world, declared, role, site).await;
        let (status, media) = (answer.status(), answer.headers().get(header::CONTENT_TYPE).cloned());
        let media = media.as_ref().and_then(|media| media.to_str().ok());
        codes.push(status.as_u16());
        // A stream has no end.
        let is_stream = media.is_some_and(|media| media.starts_with("text/event-stream"));
        let body = if is_stream { Default::default() } else { to_bytes(answer.into_body(), 16 << 20).await.unwrap() };
        faults.extend(described::fault(&declared.method, &declared.path, status, media, &body));
    }
    if codes[0] == codes[1] { codes[0].to_string() } else { format!("{}/{}", codes[0], codes[1]) }
}

#[tokio::test]
async fn every_route_answers_every_role_as_the_table_says() {
    let world = World::new().await;
    let expected: std::collections::BTreeMap<&str, &str> = TABLE
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(" : "))
        .map(|(route, codes)| (route.trim(), codes.trim()))
        .collect();
    let (mut wrong, mut routes, mut faults) = (Vec::new(), 0, BTreeSet::new());
    let all = crate::rest::routes();
    for declared in all.declared() {
        routes += 1;
        let route = format!("{} {}", declared.method, declared.path);
        let mut found = Vec::new();
        for role in ROLES {
            let codes = answers(&world, declared, role, &mut faults).await;
            // Where the body decides, the table says nothing of who may.
            if codes.contains("415") || codes.contains("400") {
                faults.insert(format!("{route} for {role}: {codes}: what is sent there is not right"));
            }
            found.push(format!("{codes:7}"));
        }
        let found = found.join(" ").trim_end().to_owned();
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        if expected.get(route.as_str()).is_none_or(|expected| words(expected) != words(&found)) {
            wrong.push(format!("{route:54} : {found}"));
        }
    }
    println!("{routes} routes x {} roles", ROLES.len());
    assert!(wrong.is_empty(), "not as tests/routes.txt says; these lines would make it so:\n{}", wrong.join("\n"));
    let faults: Vec<String> = faults.into_iter().collect();
    assert!(faults.is_empty(), "not as it is described:\n{}", faults.join("\n"));
    assert_eq!(expected.len(), routes, "the table speaks of routes that are not there");
}

/// A key that would be left unheard is refused: who sends one relies on it.
#[tokio::test]
async fn where_no_key_is_taken_one_is_refused() {
    let world = World::new().await;
    let (all, key) = (crate::rest::routes(), [(header::HeaderName::from_static("idempotency-key"), "k-1")]);
    let posts: Vec<_> = all.declared().filter(|declared| declared.method == Method::POST && !once::covers(&declared.path)).collect();
    assert!(posts.len() >= 8, "{posts:?}");
    for declared in posts {
        let address = path(declared, "ams1");
        let answer = world.send(Method::POST, &address, Some(&admin()), &key).await;
        let (status, said) = World::read(&Method::POST, &address, answer).await;
        assert!(status == 400 && said["detail"].as_str().unwrap().contains("Idempotency-Key"), "{declared:?}: {status} {said}");
    }
    let answer = world.send(Method::POST, "/api/v1/users", Some(&user("viewer")), &key).await;
    assert_eq!(answer.status(), 403, "who may not is told nothing else");
}

#[tokio::test]
async fn what_begins_with_a_kind_answers_without_the_version_too() {
    let world = World::new().await;
    for kind in Kind::ALL {
        let [long, short] = ["/api/v1", "/api"].map(|base| format!("{base}/{}", kind.plural()));
        assert_eq!(world.document(&long, &admin()).await, world.document(&short, &admin()).await, "{short}");
    }
    let short = world.document("/api/devices/default/web-ams1", &user("viewer")).await;
    assert_eq!(short["metadata"]["name"], "web-ams1");
    let response = world.send(Method::GET, "/api/devices/default/web-fra1", Some(&user("viewer")), &[]).await;
    assert_eq!(response.status(), 404);
}

/// So does what else people look for by its name, behind the same guard; sign-in and what is about the engine have the one address.
#[tokio::test]
async fn other_nouns_answer_without_the_version_too() {
    let world = World::new().await;
    let all = crate::rest::routes();
    let mut nouns = BTreeSet::new();
    for declared in all.declared().filter(|declared| declared.method == Method::GET) {
        let long = path(declared, "ams1");
        let short = long.replacen("/api/v1/", "/api/", 1);
        let is_short = is_short(&declared.path);
        for caller in [None, Some(user("viewer")), Some(user("suspended")), Some(admin())] {
            let there = world.send(Method::GET, &long, caller.as_ref(), &[]).await.status();
            let found = world.send(Method::GET, &short, caller.as_ref(), &[]).await.status();
            assert_eq!(found, if is_short { there } else { StatusCode::NOT_FOUND }, "{short}: {caller:?}");
        }
        nouns.extend(is_short.then(|| declared.path.split('/').nth(1).unwrap_or_default().to_owned()));
    }
    let others = ["alerts", "audit", "logs", "plans", "rollouts", "samples", "tokens", "users"];
    assert_eq!(nouns, Kind::ALL.iter().map(|kind| kind.plural()).chain(others).map(str::to_owned).collect::<BTreeSet<_>>());
    for noun in ["alerts", "audit", "rollouts", "tokens", "users"] {
        let [long, short] = ["/api/v1", "/api"].map(|base| format!("{base}/{noun}"));
        assert_eq!(world.document(&long, &admin()).await["items"], world.document(&short, &admin()).await["items"], "{short}");
    }
    let described = crate::rest::openapi::document();
    assert!(described["paths"].as_object().unwrap().keys().all(|path| !path.starts_with("/api")), "each is described once");
}
