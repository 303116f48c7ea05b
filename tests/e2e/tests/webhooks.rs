//! A Git server's webhooks, and what it is told of its commits: a real API server, the chart's own rights, Git over HTTPS by `git http-backend`,
//! and Gitea's API as its documents have it.

#[path = "../../../crates/manifests/tests/common/https.rs"]
#[allow(dead_code, reason = "shared with others")]
mod https;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use e2e::control_plane::{ControlPlane, programs};
use e2e::engine::Engine;
use e2e::wait_until;
use https::{Reply, Server, answer};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const NAMESPACE: &str = "evenkeel-system";
const SECRET: &str = "the-secret-of-the-webhook";
const TOKEN: &str = "the-token-of-the-forge";

fn binary() -> PathBuf {
    std::env::var("EVENKEEL_BIN").expect("EVENKEEL_BIN names no evenkeel: run the tests by `cargo xtask test`").into()
}

/// HMAC-SHA256 as RFC 2104 defines it: not by the code that is tested.
fn hmac(key: &str, text: &str) -> String {
    assert!(key.len() <= 64);
    let pad = |with: u8| (0..64).map(|at| key.as_bytes().get(at).unwrap_or(&0) ^ with).collect::<Vec<u8>>();
    let inner = Sha256::digest([pad(0x36), text.as_bytes().to_vec()].concat());
    hex::encode(Sha256::digest([pad(0x5c), inner.to_vec()].concat()))
}

/// A free port.
fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Sends a webhook; the answer without its head, and its status.
fn post(port: u16, place: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    write!(
        stream,
        "POST /hooks/{place} HTTP/1.1\r\nHost: evenkeel\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// A push as Gitea sends it, signed with a secret.
fn push(port: u16, place: &str, branch: &str, commit: &str, secret: &str) -> (u16, String) {
    let body = json!({"ref": format!("refs/heads/{branch}"), "after": commit, "commits": [{"id": commit}]}).to_string();
    let signature = hmac(secret, &body);
    post(port, place, &[("X-Gitea-Event", "push"), ("X-Gitea-Signature", &signature), ("Content-Type", "application/json")], &body)
}

/// Dropped in this order.
struct World {
    engine: Engine,
    second: Engine,
    ports: [u16; 2],
    plane: ControlPlane,
    server: Server,
    _runtime: tokio::runtime::Runtime,
    /// Whether the server takes statuses.
    takes: Arc<AtomicBool>,
    branch: String,
    _folder: tempfile::TempDir,
}

/// A namespace `fleet` with a Repository that is looked at once an hour, whose server asks for looks and wants to know what came of it.
fn world() -> Option<World> {
    if let Some(why) = programs::unavailable() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{why}, and in CI nothing is skipped");
        eprintln!("SKIPPED: {why}");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let (fleet, ports) = (folder.path().join("one"), [port(), port()]);
    std::fs::create_dir_all(folder.path().join("git/ops")).unwrap();
    std::fs::write(folder.path().join("key"), "not used").unwrap();
    let mut engine = Engine::with(&binary(), &fleet, &folder.path().join("key")).unwrap();
    let mut second = Engine::with(&binary(), &folder.path().join("two"), &folder.path().join("key")).unwrap();
    std::os::unix::fs::symlink(engine.fleet.join(".git"), folder.path().join("git/ops/fleet.git")).unwrap();
    engine.commit("a.yaml", &class("a"), "begin").unwrap();
    let branch = engine.git(&["branch", "--show-current"]).unwrap().trim().to_owned();

    let (runtime, takes) = (tokio::runtime::Runtime::new().unwrap(), Arc::new(AtomicBool::new(true)));
    let (root, taking) = (folder.path().join("git"), takes.clone());
    let server = runtime.block_on(Server::start(&root, move |request| match request.target.starts_with("/api/v1/") {
        true if taking.load(Ordering::SeqCst) => answer("201 Created", "application/json", b"{}"),
        true => answer("401 Unauthorized", "application/json", br#"{"message": "token is expired"}"#),
        false => Reply::Git,
    }));

    let plane = ControlPlane::start().unwrap();
    plane.must(&["create", "namespace", "fleet"]).unwrap();
    let values =
        ["secrets[0].namespace=fleet", "secrets[0].names={git,hook,forge}", "repositories[0].namespace=fleet", "webhooks.enabled=true"];
    plane.install_chart("evenkeel", NAMESPACE, &values).unwrap();
    let (authority, token) = (format!("--from-literal=ca.crt={}", server.ca), format!("--from-literal=token={TOKEN}"));
    let hook = format!("--from-literal=token={SECRET}");
    for (name, literals) in [("git", vec![&authority]), ("hook", vec![&hook]), ("forge", vec![&authority, &token])] {
        let literals: Vec<&str> = literals.into_iter().map(String::as_str).collect();
        plane.must(&[&["create", "secret", "generic", name, "--namespace", "fleet"], literals.as_slice()].concat()).unwrap();
    }
    std::fs::write(folder.path().join("token"), "the-token-of-the-http-interface").unwrap();
    for (engine, port) in [(&mut engine, ports[0]), (&mut second, ports[1])] {
        engine.kubeconfig = Some(plane.service_account(NAMESPACE, "evenkeel").unwrap());
        let file = folder.path().join("token").display().to_string();
        engine.arguments = ["--webhooks", "--listen", &format!("127.0.0.1:{port}"), "--token-file", &file, "--lease-duration", "5s"]
            .map(str::to_owned)
            .into();
    }
    let world = World { engine, second, ports, plane, server, _runtime: runtime, takes, branch, _folder: folder };
    let (url, branch) = (world.server.url("ops/fleet.git"), &world.branch);
    let hook = "  webhook: {provider: Gitea, secretRef: {name: hook}}\n  commitStatus: {provider: Gitea, secretRef: {name: forge}}\n";
    world.plane.apply(&format!(
        "apiVersion: evenkeel.dev/v1alpha1\nkind: Repository\nmetadata: {{name: fleet, namespace: fleet}}\nspec:\n  url: {url}\n  ref: {{branch: {branch}}}\n  interval: 1h\n  secretRef: {{name: git}}\n  limits: {{deletions: 0}}\n{hook}"
    )).unwrap();
    Some(world)
}

fn class(name: &str) -> String {
    format!("apiVersion: evenkeel.dev/v1alpha1\nkind: DeviceClass\nmetadata: {{name: {name}}}\nspec: {{labels: {{of: {name}}}}}\n")
}

impl World {
    fn repository(&self) -> Value {
        let text = self.plane.kubectl(&["get", "erepo/fleet", "--namespace", "fleet", "-o", "json"]).unwrap().stdout;
        serde_json::from_slice(&text).unwrap_or_default()
    }

    fn until(&self, what: &str, look: impl FnMut() -> Result<(), String>) {
        let tails = || format!("{}\n--- the second one\n{}", self.engine.tail(), self.second.tail());
        wait_until(what, Duration::from_secs(60), look).unwrap_or_else(|error| panic!("{error}\n{}", tails()));
    }

    /// Waits until the Repository says this of this commit.
    fn told(&self, commit: &str, reason: &str, message: &str) {
        self.until(&format!("{reason} with {message:?}"), || {
            let status = self.repository()["status"].clone();
            let ready = status["conditions"].as_array().and_then(|all| all.iter().find(|of| of["type"] == "Ready")).cloned();
            let ready = ready.unwrap_or_default();
            let text = ready["message"].as_str().unwrap_or_default();
            if ready["reason"] == reason && text.contains(message) && text.contains(&commit[..12]) {
                Ok(())
            } else {
                Err(status.to_string())
            }
        });
    }

    /// Statuses that the server was sent of a commit.
    fn statuses(&self, commit: &str) -> Vec<Value> {
        let target = format!("/api/v1/repos/ops/fleet/statuses/{commit}");
        let requests = self.server.requests().into_iter().filter(|request| request.target == target);
        requests.map(|request| serde_json::from_slice(&request.body).unwrap()).collect()
    }

    /// Waits until the newest status that the server was sent of a commit is this.
    fn reported(&self, commit: &str, state: &str, description: &str) {
        self.until(&format!("{state} with {description:?}"), || {
            let statuses = self.statuses(commit);
            let newest = statuses.last().cloned().unwrap_or_default();
            let text = newest["description"].as_str().unwrap_or_default();
            if newest["state"] == state && text.contains(description) { Ok(()) } else { Err(format!("{statuses:?}")) }
        });
    }

    /// Sends a push that has to be taken, to this replica.
    fn push(&self, replica: usize, commit: &str) {
        let (status, said) = push(self.ports[replica], "fleet/fleet", &self.branch, commit, SECRET);
        assert_eq!(status, 202, "{said}\n{}", self.engine.tail());
    }
}

/// A commit comes in force when its server says so, and the server is told what came of it; whoever is not the server is not heard.
#[test]
fn a_webhook_brings_a_commit_at_once_and_its_status_goes_back() {
    let Some(mut world) = world() else { return };
    world.engine.start().unwrap();
    let first = world.engine.git(&["rev-parse", "HEAD"]).unwrap().trim().to_owned();
    world.told(&first, "Applied", "1 object");
    world.reported(&first, "success", "applied: 1 object");
    assert_eq!(world.statuses(&first).last().unwrap()["context"], "evenkeel/fleet/fleet");
    let request = world.server.requests().into_iter().find(|request| request.target.starts_with("/api/v1/")).unwrap();
    assert_eq!(request.authorization, format!("token {TOKEN}"));

    // Nobody but the server is heard, and nobody learns what there is.
    let second = world.engine.commit("b.yaml", &class("b"), "second").unwrap();
    let stranger = push(world.ports[0], "fleet/fleet", &world.branch, &second, "another-secret-of-some-length");
    assert_eq!(stranger.0, 401, "{}", stranger.1);
    for place in ["fleet/other", "other/fleet", "fleet", "source", "fleet/fleet/x", "..%2ffleet/fleet", "fleet%2Ffleet%00"] {
        assert_eq!(push(world.ports[0], place, &world.branch, &second, SECRET), stranger, "{place}");
    }
    let plain = [("X-Gitlab-Token", SECRET), ("X-Gitlab-Event", "Push Hook")];
    assert_eq!(post(world.ports[0], "fleet/fleet", &plain, "{}"), stranger, "it is not the way that was agreed on");
    let other = push(world.ports[0], "fleet/fleet", "topic", &second, SECRET);
    assert_eq!((other.0, other.1.contains("something else")), (202, true));
    let annotations = || world.repository()["metadata"]["annotations"].clone();
    assert!(annotations()["evenkeel.dev/requested-at"].is_null(), "nobody has asked for a look: {}", annotations());

    world.push(0, &second);
    world.told(&second, "Applied", "2 objects");
    world.reported(&second, "success", "applied: 2 objects");
    let asked = annotations()["evenkeel.dev/requested-at"].clone();
    world.until("the request being acknowledged", || {
        let handled = world.repository()["status"]["lastHandledRequestAt"].clone();
        if handled == asked && !handled.is_null() { Ok(()) } else { Err(format!("{asked} {handled}")) }
    });
    let (status, said) = push(world.ports[0], "fleet/fleet", &world.branch, &second, SECRET);
    assert_eq!((status, said.contains("heard before")), (202, true), "{said}");

    // Several at once become few looks, and the last commit is seen.
    let mut newest = String::new();
    for number in 0..5 {
        newest = world.engine.commit("c.yaml", &class(&format!("c-{number}")), "more").unwrap();
        world.push(0, &newest);
    }
    world.told(&newest, "Applied", "3 objects");
    world.reported(&newest, "success", "applied: 3 objects");

    // What is held, and what is wrong, is told too.
    let device =
        "apiVersion: evenkeel.dev/v1alpha1\nkind: Device\nmetadata: {name: d-1}\nspec: {type: Server, address: 10.0.0.1, suspend: true}\n";
    let commit = world.engine.commit("d.yaml", device, "a device").unwrap();
    world.push(0, &commit);
    world.reported(&commit, "success", "applied: 4 objects");
    world.engine.git(&["rm", "-q", "d.yaml"]).unwrap();
    let commit = world.engine.commit("x", "", "without it").unwrap();
    world.push(0, &commit);
    world.told(&commit, "WaitsForApproval", "deletes");
    world.reported(&commit, "pending", "waits for approval: deletes");
    std::fs::write(world.engine.fleet.join("d.yaml"), device).unwrap();
    let commit = world.engine.commit("e.yaml", &class("e").replace("labels", "lables"), "broken").unwrap();
    world.push(0, &commit);
    world.told(&commit, "InvalidManifest", "e.yaml:4");
    world.reported(&commit, "failure", "e.yaml:4");

    // A server that takes no status holds up nothing.
    world.takes.store(false, Ordering::SeqCst);
    world.engine.git(&["rm", "-q", "e.yaml"]).unwrap();
    let commit = world.engine.commit("x", "1", "mended").unwrap();
    world.push(0, &commit);
    world.told(&commit, "Applied", "4 objects");
    world.plane.must(&["wait", "--for=condition=Ready", "--timeout=60s", "--namespace", "fleet", "erepo/fleet"]).unwrap();
    world.until("an event", || {
        let events = world.plane.must(&["get", "events.events.k8s.io", "--namespace", "fleet", "-o", "jsonpath={.items[*].note}"]).unwrap();
        if events.contains("the token is not accepted (401): token is expired") { Ok(()) } else { Err(events) }
    });
    world.takes.store(true, Ordering::SeqCst);
    world.reported(&commit, "success", "applied: 4 objects");
    let log = world.engine.log();
    assert!(!log.contains(SECRET) && !log.contains(TOKEN), "a secret is in the log");
    assert!(!log.contains("author=\"evenkeel-webhook\""), "that somebody asks for a look is no change of what is desired: {log}");
}

/// Any replica behind the Service may get the webhook: one that stands by takes it too, and the one that acts looks.
#[test]
fn a_replica_that_stands_by_takes_webhooks_too() {
    let Some(mut world) = world() else { return };
    world.engine.start().unwrap();
    let first = world.engine.git(&["rev-parse", "HEAD"]).unwrap().trim().to_owned();
    world.told(&first, "Applied", "1 object");
    world.second.start().unwrap();
    assert!(world.second.text(&["status"]).unwrap().contains("waiting for the lease"));
    let second = world.engine.commit("b.yaml", &class("b"), "second").unwrap();
    let refused = push(world.ports[1], "fleet/fleet", &world.branch, &second, "another-secret-of-some-length");
    assert!([401, 503].contains(&refused.0), "{refused:?}");
    // It has to learn which Repositories there are first.
    world.until("the push being taken", || match push(world.ports[1], "fleet/fleet", &world.branch, &second, SECRET) {
        (202, _) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    world.told(&second, "Applied", "2 objects");
    assert!(world.second.text(&["status"]).unwrap().contains("waiting for the lease"), "it stands by still");

    // What can't be verified with is told at the Repository; and a change of the Repository is known to both.
    let patch = |patch: &str| world.plane.must(&["patch", "erepo/fleet", "--namespace", "fleet", "--type=merge", "-p", patch]).unwrap();
    patch(r#"{"spec": {"webhook": {"secretRef": {"name": "git"}}}}"#);
    world.told(&second, "Applied", "webhook: Secret git has no token");
    patch(r#"{"spec": {"webhook": null}}"#);
    world.told(&second, "Applied", "2 objects");
    world.until("nobody being heard any more", || {
        let third = push(world.ports[1], "fleet/fleet", &world.branch, &first, SECRET);
        if third.0 == 401 { Ok(()) } else { Err(format!("{third:?}")) }
    });
}

/// The same where there is no cluster: one repository, one place.
#[test]
fn a_standalone_engine_looks_when_it_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let (key, token) = (folder.path().join("key"), folder.path().join("token"));
    std::fs::write(&key, "not used").unwrap();
    std::fs::write(&token, "the-token-of-the-http-interface").unwrap();
    let mut engine = Engine::with(&binary(), folder.path(), &key).unwrap();
    let first = engine.commit("a.yaml", &class("a"), "begin").unwrap();
    let branch = engine.git(&["branch", "--show-current"]).unwrap().trim().to_owned();
    let (port, file) = (port(), token.display().to_string());
    let arguments = ["--branch", &branch, "--webhook", "github", "--webhook-secret", "hook", "--token-file", &file, "--listen"];
    engine.arguments = arguments.map(str::to_owned).into();
    engine.arguments.push(format!("127.0.0.1:{port}"));
    engine.interval = "1h";
    std::fs::create_dir(engine.secrets.join("hook")).unwrap();
    std::fs::write(engine.secrets.join("hook/token"), "short\n").unwrap();
    let refused = engine.command().output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("shorter than 16") && !said.contains("short\n"), "{said}");

    std::fs::write(engine.secrets.join("hook/token"), format!("{SECRET}\n")).unwrap();
    engine.start().unwrap();
    let in_force = |commit: &str| {
        let look = || match engine.text(&["status"]) {
            Ok(text) if text.contains(&commit[..12]) => Ok(()),
            other => Err(format!("{other:?}")),
        };
        wait_until("the commit in force", Duration::from_secs(60), look).unwrap_or_else(|error| panic!("{error}\n{}", engine.tail()));
    };
    in_force(&first);
    let second = engine.commit("b.yaml", &class("b"), "second").unwrap();
    let push = |place: &str, secret: &str| {
        let body = json!({"ref": format!("refs/heads/{branch}"), "after": second}).to_string();
        let signature = format!("sha256={}", hmac(secret, &body));
        post(port, place, &[("X-GitHub-Event", "push"), ("X-Hub-Signature-256", &signature)], &body)
    };
    let stranger = push("source", "another-secret-of-some-length");
    assert_eq!(stranger.0, 401);
    assert_eq!(push("fleet/fleet", SECRET), stranger);
    let ping = format!("sha256={}", hmac(SECRET, "{}"));
    assert_eq!(post(port, "source", &[("X-GitHub-Event", "ping"), ("X-Hub-Signature-256", &ping)], "{}"), (202, "nothing to do\n".into()));
    assert_eq!(post(port, "source", &[], &"x".repeat((1 << 20) + 1)).0, 413);
    assert_eq!(push("source", SECRET), (202, "a look follows\n".into()));
    in_force(&second);
    assert!(Path::new(&engine.data).join("evenkeel.sock").exists());
}
