//! Every route x every role: what `routes.txt` beside this says, and nothing else.

use std::collections::BTreeSet;

use axum::body::to_bytes;
use axum::http::header;

use super::{Method, World, admin, described, token, user};
use crate::rest::caller::Caller;
use crate::rest::gate::Declared;

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

/// What a route answers a role: about a thing of its site, and about one of the other site if that is not the same. And what of that is not as
/// it is described.
async fn answers(world: &World, declared: &Declared, role: &str, faults: &mut BTreeSet<String>) -> String {
    let mut codes = Vec::new();
    for site in ["ams1", "fra1"] {
        let path = path(declared, site);
        let answer = world.send(declared.method.clone(), &path, caller(role).as_ref(), &[]).await;
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
            found.push(format!("{:7}", answers(&world, declared, role, &mut faults).await));
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

#[tokio::test]
async fn what_begins_with_a_kind_answers_without_the_version_too() {
    let world = World::new().await;
    for kind in crds::Kind::ALL {
        let [long, short] = ["/api/v1", "/api"].map(|base| format!("{base}/{}", kind.plural()));
        assert_eq!(world.document(&long, &admin()).await, world.document(&short, &admin()).await, "{short}");
    }
    let short = world.document("/api/devices/default/web-ams1", &user("viewer")).await;
    assert_eq!(short["metadata"]["name"], "web-ams1");
    let response = world.send(Method::GET, "/api/devices/default/web-fra1", Some(&user("viewer")), &[]).await;
    assert_eq!(response.status(), 404);
}
