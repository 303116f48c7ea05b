use axum::body::to_bytes;
use store::{Options as StoreOptions, Store};
use tempfile::TempDir;
use tower::ServiceExt as _;

use super::*;
use crate::sign_in::{Options, SignIn};

use crate::view::{SharedView, View};

const TOKEN: &str = "the-operators-own-token";
const PASSWORD: &str = "correct horse battery";

/// What is registered outside of `rest::routes`, which asks of each route for whom it is: what a stranger gets there by TCP, and what a user who
/// is no administrator.
const OUTSIDE: [(&str, u16, u16); 28] = [
    ("/healthz", 200, 200),
    ("/readyz", 200, 200),
    ("/metrics", 200, 200),
    ("/hooks/{*place}", 401, 401),
    ("/v1/status", 401, 403),
    ("/v1/plan", 401, 403),
    ("/v1/outlook", 401, 403),
    ("/v1/devices", 401, 403),
    ("/v1/deployments", 401, 403),
    ("/v1/objects/{kind}", 401, 403),
    ("/v1/rollouts/{namespace}/{name}", 401, 403),
    ("/v1/federate", 401, 403),
    ("/v1/usage", 401, 403),
    ("/v1/usage/{namespace}/{name}", 401, 403),
    ("/v1/samples/{namespace}/{name}", 401, 403),
    ("/v1/audit", 401, 403),
    ("/v1/audit/checkpoint", 401, 403),
    ("/v1/audit/export", 401, 403),
    ("/v1/audit/{index}", 401, 403),
    ("/v1/logs", 401, 403),
    ("/v1/logs/senders", 401, 403),
    ("/v1/logs/templates", 401, 403),
    ("/v1/alerts", 401, 403),
    ("/v1/notices", 401, 403),
    ("/v1/backtest", 401, 403),
    ("/v1/can", 401, 403),
    ("/v1/ask", 401, 403),
    // What no route is for.
    ("/api", 404, 404),
];

/// All that comes by TCP.
async fn world() -> (Router, TempDir) {
    let data = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(&StoreOptions { data: data.path().to_owned(), url: None }).await.unwrap());
    let (view, sign_in) = (SharedView::new(View::default().into()), SignIn::new(Options::default()).unwrap());
    let shared = Shared { view, requests: tokio::sync::mpsc::channel(1).0, store, hooks: None, sign_in };
    (by_tcp(shared, Some(Arc::new(Zeroizing::new(TOKEN.into())))), data)
}

async fn send(world: &Router, method: Method, path: &str, headers: &[(&str, &str)], body: &Value) -> Response {
    let mut request = HttpRequest::builder().method(method).uri(path).header(header::CONTENT_TYPE, "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    world.clone().oneshot(request.body(Body::from(body.to_string())).unwrap()).await.unwrap()
}

/// A user who may see nothing at all, by their session.
async fn user(world: &Router) -> String {
    let bob = json!({"name": "bob", "password": PASSWORD});
    let made = send(world, Method::POST, "/api/v1/users", &[("authorization", &format!("Bearer {TOKEN}"))], &bob).await;
    assert_eq!(made.status(), 201);
    let came = send(world, Method::POST, "/api/v1/session", &[], &json!({"user": "bob", "password": PASSWORD})).await;
    let cookie = came.headers()[header::SET_COOKIE].to_str().unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn what_no_gate_is_before_is_for_administrators_or_for_everybody() {
    let (world, _data) = world().await;
    let cookie = user(&world).await;
    for (path, stranger, known) in OUTSIDE {
        let path = path.replace("{*place}", "x").replace("{kind}", "device").replace(['{', '}'], "");
        for (headers, expected) in [(&[][..], stranger), (&[("cookie", &*cookie)], known)] {
            let status = send(&world, Method::GET, &path, headers, &Value::Null).await.status();
            assert_eq!(status, expected, "{path} {headers:?}");
        }
    }
}

/// A route that is registered beside the gate has to be in the table above, where it is seen for whom it is.
#[test]
fn no_route_is_registered_beside_the_gate_unseen() {
    fn files(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            match entry.is_dir() {
                true => files(&entry, found),
                false => found.push(entry),
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    files(&root, &mut sources);
    sources.retain(|file| {
        !file.strip_prefix(&root).unwrap().components().any(|part| ["tests", "tests.rs"].contains(&part.as_os_str().to_str().unwrap()))
    });
    assert!(sources.len() > 50);
    let (mut found, mut unnamed) = (Vec::new(), Vec::new());
    for file in sources.iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs")) {
        let text = std::fs::read_to_string(file).unwrap();
        for call in ["route(", "route_service(", "nest(", "nest_service("] {
            for (at, _) in text.match_indices(&format!(".{call}")) {
                let argument = text[at + 1 + call.len()..].trim_start();
                match argument.strip_prefix('"').and_then(|rest| rest.split_once('"')) {
                    Some((path, _)) => found.push(path.to_owned()),
                    None => unnamed.push(file.file_name().unwrap().to_owned()),
                }
            }
        }
    }
    found.retain(|path| path != "/api/{*path}");
    let mut expected: Vec<&str> = OUTSIDE.iter().map(|(path, _, _)| *path).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(unnamed, ["gate.rs", "gate.rs"], "the gate itself: with and without the version");
}

/// It is for everybody, and for nobody without end.
#[tokio::test]
async fn who_asks_for_metrics_without_end_is_told_to_wait() {
    let (world, _data) = world().await;
    let others = async || send(&world, Method::GET, "/api/v1/session", &[], &Value::Null).await.status() == StatusCode::TOO_MANY_REQUESTS;
    let mut waits = false;
    for _ in 0..100 {
        // It is counted together with what is below /api, which costs less; on a slow machine one more may be let in meanwhile.
        let mut asked = 0;
        while !others().await {
            asked += 1;
            assert!(asked < 100_000, "nobody is told to wait");
        }
        let response = send(&world, Method::GET, "/metrics", &[], &Value::Null).await;
        waits = response.status() == StatusCode::TOO_MANY_REQUESTS;
        if waits {
            assert!(response.headers().contains_key(header::RETRY_AFTER));
            break;
        }
        assert!(to_bytes(response.into_body(), 1 << 20).await.unwrap().ends_with(b"# EOF\n"));
    }
    assert!(waits);
}

#[test]
fn users_are_named_as_the_system_names_them() {
    assert_eq!(super::user(0), "root");
    assert_eq!(super::user(4_000_000_000), "uid 4000000000");
}
