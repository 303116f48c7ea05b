//! Changes through `/api/v1`, on the real engine as a process: a commit, or a file, and what becomes of it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const DEVICE: &str = "# Servers of the shop.
apiVersion: evenkeel.dev/v1alpha1
kind: Device
metadata:
  name: web-01
  labels: {site: ams1}   # the old building
spec:
  type: Server
  address: 10.0.0.11   # static
";

struct Engine {
    process: Child,
    data: PathBuf,
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

struct Answer {
    status: u16,
    head: String,
    body: Value,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(there, _)| there.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

impl Engine {
    fn start(repo: &Path, data: &Path, more: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
        command.args(["run", "--interval", "1s", "--repo"]).arg(repo).arg("--data").arg(data).args(more);
        let process = command.env_remove("DATABASE_URL").env("RUST_LOG", "error").stderr(Stdio::inherit()).spawn().unwrap();
        let engine = Self { process, data: data.to_owned() };
        engine.until("it is ready", || engine.try_ask("GET", "/readyz", &[], "").is_some_and(|answer| answer.status == 200));
        engine
    }

    fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(60);
        while !is_so() {
            assert!(Instant::now() < end, "{what}: not within a minute");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn try_ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Option<Answer> {
        sent(UnixStream::connect(self.data.join("evenkeel.sock")).ok()?, (method, path), headers, body)
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let headers: Vec<_> = headers.iter().copied().chain([kind_of(method)]).collect();
        self.try_ask(method, &format!("/api/v1{path}"), &headers, &body.to_string()).unwrap()
    }

    /// Makes a local user, who signs in by TCP.
    fn user(&self, address: &str, name: &str, group: &str) -> User {
        let made = self.ask("POST", "/users", &[], &json!({"name": name, "password": PASSWORD, "groups": [group]}));
        assert_eq!(made.status, 201, "{}", made.body);
        let user = User { address: address.to_owned(), cookie: String::new(), csrf: String::new() };
        let signed_in = user.ask("POST", "/session", &json!({"user": name, "password": PASSWORD}));
        assert_eq!(signed_in.status, 200, "{}", signed_in.body);
        let cookie = signed_in.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        User { cookie, csrf: signed_in.body["csrf"].as_str().unwrap().to_owned(), ..user }
    }
}

const PASSWORD: &str = "correct horse battery";

/// Somebody who has signed in.
struct User {
    address: String,
    cookie: String,
    csrf: String,
}

impl User {
    fn ask(&self, method: &str, path: &str, body: &Value) -> Answer {
        let own = [("Cookie", self.cookie.as_str()), ("X-CSRF-Token", self.csrf.as_str())];
        let headers: Vec<_> = own.into_iter().filter(|(_, value)| !value.is_empty()).chain([kind_of(method)]).collect();
        let stream = TcpStream::connect(&self.address).unwrap();
        sent(stream, (method, &format!("/api/v1{path}")), &headers, &body.to_string()).unwrap()
    }
}

fn kind_of(method: &str) -> (&'static str, &'static str) {
    ("Content-Type", if method == "PATCH" { "application/merge-patch+json" } else { "application/json" })
}

/// A place to listen on, with a port that was free a moment ago.
fn address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn sent(mut stream: impl Read + Write, (method, path): (&str, &str), headers: &[(&str, &str)], body: &str) -> Option<Answer> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    // What is too large is answered before all of it is read.
    let _ = stream.write_all(format!("{head}\r\n{body}").as_bytes());
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.to_owned(), body: serde_json::from_str(body).unwrap_or(Value::String(body.to_owned())) })
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(["-c", "user.name=Ann", "-c", "user.email=ann@example.com", "-c", "commit.gpgsign=false"]);
    let output = command.args(arguments).env("GIT_CONFIG_GLOBAL", "/dev/null").output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A bare repository and a working copy of it.
fn repository(home: &Path) -> (PathBuf, PathBuf) {
    let (bare, work) = (home.join("fleet.git"), home.join("work"));
    git(home, &["init", "-q", "--bare", "-b", "main", "fleet.git"]);
    git(home, &["clone", "-q", "fleet.git", "work"]);
    git(&work, &["checkout", "-q", "-b", "main"]);
    commit(&work, "devices/web.yaml", DEVICE);
    (bare, work)
}

fn commit(work: &Path, path: &str, text: &str) {
    std::fs::create_dir_all(work.join(path).parent().unwrap()).unwrap();
    std::fs::write(work.join(path), text).unwrap();
    git(work, &["add", "-A"]);
    git(work, &["commit", "-q", "-m", "by hand"]);
    git(work, &["push", "-q", "origin", "main"]);
}

fn device(name: &str, address: &str) -> Value {
    json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "Device", "metadata": {"name": name}, "spec": {"type": "Server", "address": address}})
}

#[test]
fn a_change_is_a_commit_that_comes_in_force() {
    let home = tempfile::tempdir().unwrap();
    let (bare, work) = repository(home.path());
    let engine = Engine::start(&bare, &home.path().join("data"), &["--write", "direct"]);
    let web = "/devices/default/web-01";

    let trial = engine.ask("PATCH", &format!("{web}?dryRun=true"), &[], &json!({"spec": {"address": "10.0.0.12"}}));
    assert_eq!(trial.status, 200, "{}", trial.body);
    assert!(trial.body["diff"].as_str().unwrap().contains("-  address: 10.0.0.11   # static\n+  address: 10.0.0.12   # static"));
    let before = git(&bare, &["rev-parse", "main"]);

    let done = engine.ask("PATCH", web, &[], &json!({"spec": {"address": "10.0.0.12"}}));
    assert_eq!(done.status, 202, "{}", done.body);
    let id = done.body["commit"].as_str().unwrap().to_owned();
    assert_eq!(done.header("location"), Some(&*format!("/api/v1/commits/{id}")));
    assert_eq!(git(&bare, &["rev-parse", "main", "main^"]), format!("{id}\n{before}"));
    assert_eq!(git(&bare, &["show", "main:devices/web.yaml"]), DEVICE.replace("10.0.0.11", "10.0.0.12").trim());
    engine.until("it comes in force", || engine.ask("GET", &format!("/commits/{id}"), &[], &Value::Null).body["state"] == "inForce");

    let stands = engine.ask("GET", &format!("{web}/origin"), &[], &Value::Null);
    assert_eq!((stands.status, &stands.body), (200, &json!({"file": "devices/web.yaml", "line": 5})), "{}", stands.body);
    // A trial of what would be refused is refused, and shows what it would be.
    let trial = engine.ask("PATCH", &format!("{web}?dryRun=true"), &[], &json!({"spec": {"address": "not an address"}}));
    assert_eq!((trial.status, trial.body["errors"][0]["pointer"].as_str()), (422, Some("/spec/address")), "{}", trial.body);
    assert!(trial.body["diff"].as_str().unwrap().contains("+  address: not an address"), "{}", trial.body);
    // The same again changes nothing; what is wrong, or called otherwise, is refused by its field.
    assert_eq!(engine.ask("PATCH", web, &[], &json!({"spec": {"address": "10.0.0.12"}})).status, 200);
    for (patch, pointer) in [
        (json!({"spec": {"address": "not an address"}}), "/spec/address"),
        (json!({"spec": {"type": "Network"}}), "/spec/type"),
        (json!({"metadata": {"name": "other"}}), "/metadata/name"),
        (json!({"kind": "Role"}), "/kind"),
    ] {
        let refused = engine.ask("PATCH", web, &[], &patch);
        assert_eq!((refused.status, refused.body["errors"][0]["pointer"].as_str()), (422, Some(pointer)), "{}", refused.body);
        assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    }
    assert_eq!(engine.ask("PATCH", web, &[("If-Match", "\"another\"")], &json!({"spec": {"suspend": true}})).status, 412);
    assert_eq!(engine.ask("PATCH", "/devices/default/nobody", &[], &json!({})).status, 404);
    assert_eq!(engine.try_ask("PATCH", &format!("/api/v1{web}"), &[("Content-Type", "application/json")], "{}").unwrap().status, 415);
    for name in ["../x", "a/b", ".git", "A"] {
        assert_eq!(engine.ask("POST", "/devices", &[], &device(name, "10.0.0.9")).status, 422, "{name}");
    }

    // A new one, asked for twice under one key: one commit.
    let key = [("Idempotency-Key", "k-1")];
    // Tried before under the same one, which takes it up as little as it does anything else.
    let tried = engine.ask("POST", "/devices?dryRun=true", &key, &device("web-02", "10.0.0.13"));
    assert_eq!(tried.status, 200, "{}", tried.body);
    let first = engine.ask("POST", "/devices", &key, &device("web-02", "10.0.0.13"));
    assert_eq!(first.status, 202, "{}", first.body);
    let again = engine.ask("POST", "/devices", &key, &device("web-02", "10.0.0.13"));
    assert_eq!((again.status, &again.body, again.header("location")), (202, &first.body, first.header("location")));
    assert_eq!(engine.ask("POST", "/devices", &key, &device("web-03", "10.0.0.14")).status, 422);
    assert!(git(&bare, &["show", "main:devices/web-02.yaml"]).contains("address: 10.0.0.13"));
    let new = first.body["commit"].as_str().unwrap().to_owned();
    engine.until("it comes in force", || engine.ask("GET", &format!("/commits/{new}"), &[], &Value::Null).body["state"] == "inForce");
    assert_eq!(engine.ask("GET", &format!("/commits/{id}"), &[], &Value::Null).body["state"], "superseded");
    assert_eq!(engine.ask("POST", "/devices", &[], &device("web-02", "10.0.0.13")).status, 409);

    // Somebody else's commit is built upon, and not overwritten.
    git(&work, &["pull", "-q", "origin", "main"]);
    commit(&work, "devices/db.yaml", &DEVICE.replace("web-01", "db-01").replace("10.0.0.11", "10.0.0.21"));
    let gone = engine.ask("DELETE", "/devices/default/web-02", &[], &Value::Null);
    assert_eq!(gone.status, 202, "{}", gone.body);
    assert_eq!(git(&bare, &["ls-tree", "-r", "--name-only", "main"]), "devices/db.yaml\ndevices/web.yaml");
    let said = engine.try_ask("GET", "/v1/audit?about=device/web-02", &[], "").unwrap().body;
    let entries = said.as_array().unwrap();
    let begun = entries.iter().find(|entry| entry["outcome"] == "begun").expect("what is to be done is written down before");
    assert!(entries.iter().any(|entry| entry["outcome"] == "done" && entry["refersTo"] == begun["index"]), "and what came of it: {said}");
    let log = said.to_string();
    assert!(log.contains("\"create\"") && log.contains("\"delete\""), "{log}");
}

#[test]
fn a_change_that_came_meanwhile_is_not_overwritten() {
    let home = tempfile::tempdir().unwrap();
    let (bare, work) = repository(home.path());
    let data = home.path().join("data");
    let mut command = vec!["--write", "direct"];
    // Nothing new comes in force by itself while this goes on.
    command.extend(["--interval", "1h"]);
    let mut start = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    start.args(["run", "--repo"]).arg(&bare).arg("--data").arg(&data).args(&command).env_remove("DATABASE_URL").env("RUST_LOG", "error");
    let engine = Engine { process: start.spawn().unwrap(), data };
    engine.until("it is ready", || engine.try_ask("GET", "/readyz", &[], "").is_some_and(|answer| answer.status == 200));
    commit(&work, "devices/web.yaml", &DEVICE.replace("static", "by DHCP").replace("10.0.0.11", "10.0.0.99"));
    let refused = engine.ask("PATCH", "/devices/default/web-01", &[], &json!({"spec": {"address": "10.0.0.12"}}));
    assert_eq!(refused.status, 409, "{}", refused.body);
    let diff = refused.body["diff"].as_str().unwrap();
    assert!(diff.contains("-  address: 10.0.0.11") && diff.contains("+  address: 10.0.0.99"), "{diff}");
    assert!(git(&bare, &["show", "main:devices/web.yaml"]).contains("10.0.0.99   # by DHCP"));
}

#[test]
fn without_being_asked_a_change_goes_to_a_branch_of_its_own() {
    let home = tempfile::tempdir().unwrap();
    let (bare, _) = repository(home.path());
    let engine = Engine::start(&bare, &home.path().join("data"), &[]);
    let main = git(&bare, &["rev-parse", "main"]);
    let done = engine.ask("POST", "/devices", &[], &device("web-02", "10.0.0.13"));
    assert_eq!(done.status, 202, "{}", done.body);
    let branch = done.body["branch"].as_str().unwrap();
    assert!(branch.starts_with("evenkeel/") && done.body["followed"] == false, "{}", done.body);
    assert_eq!(git(&bare, &["rev-parse", "main", &format!("{branch}^")]), format!("{main}\n{main}"));
    let id = done.body["commit"].as_str().unwrap();
    assert_eq!(engine.ask("GET", &format!("/commits/{id}"), &[], &Value::Null).body["state"], "waiting");
    git(&bare, &["update-ref", "refs/heads/main", id]);
    engine.until("it is merged", || engine.ask("GET", &format!("/commits/{id}"), &[], &Value::Null).body["state"] == "inForce");
}

/// Where only signed commits count, what somebody has put on the branch for changes is not built upon.
#[test]
fn on_the_branch_for_changes_nothing_unsigned_is_built_upon() {
    let home = tempfile::tempdir().unwrap();
    let (bare, work) = repository(home.path());
    let (key, keys) = (home.path().join("key"), home.path().join("keys"));
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status().unwrap();
    assert!(made.success());
    std::fs::create_dir(&keys).unwrap();
    std::fs::copy(key.with_extension("pub"), keys.join("ann.pub")).unwrap();
    let signing = format!("user.signingKey={}", key.display());
    let signed = ["-c", "gpg.format=ssh", "-c", &signing, "commit", "-q", "-S", "--allow-empty", "-m", "signed"];
    git(&work, &signed);
    git(&work, &["push", "-q", "origin", "main"]);
    let options = ["--write-branch", "changes", "--verify-keys", keys.to_str().unwrap()];
    let engine = Engine::start(&bare, &home.path().join("data"), &options);
    for name in ["web-02", "web-03"] {
        let done = engine.ask("POST", "/devices", &[], &device(name, "10.0.0.13"));
        assert_eq!(
            (done.status, &done.body["branch"]),
            (202, &json!("changes")),
            "what the engine made itself is built upon: {}",
            done.body
        );
    }
    git(&work, &["fetch", "-q", "origin"]);
    git(&work, &["checkout", "-q", "-b", "changes", "origin/changes"]);
    std::fs::write(work.join("devices/web.yaml"), DEVICE.replace("10.0.0.11", "10.6.6.6")).unwrap();
    git(&work, &["commit", "-q", "-a", "-m", "by nobody"]);
    git(&work, &["push", "-q", "origin", "changes"]);
    let theirs = git(&work, &["rev-parse", "HEAD"]);
    let refused = engine.ask("POST", "/devices", &[], &device("web-04", "10.0.0.14"));
    let detail = refused.body["detail"].as_str().unwrap_or_default();
    assert!(refused.status == 409 && detail.contains(&theirs) && detail.contains("it is not signed"), "{}", refused.body);
    assert_eq!(git(&bare, &["rev-parse", "changes"]), theirs);
    git(&work, &["reset", "-q", "--hard", "HEAD^"]);
    git(&work, &["push", "-q", "-f", "origin", "changes"]);
    assert_eq!(engine.ask("POST", "/devices", &[], &device("web-04", "10.0.0.14")).status, 202);
}

/// A commit says whose change it is, and the engine answers for it by its key.
#[test]
fn a_commit_is_by_who_signed_in_and_signed_by_the_engine() {
    let home = tempfile::tempdir().unwrap();
    let (bare, _) = repository(home.path());
    let (key, signers, address) = (home.path().join("key"), home.path().join("signers"), address());
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status().unwrap();
    assert!(made.success());
    let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
    std::fs::write(&signers, format!("engine {public}")).unwrap();
    let options = ["--write", "direct", "--write-signing-key", key.to_str().unwrap(), "--listen", &address];
    let engine = Engine::start(&bare, &home.path().join("data"), &options);
    let ada = engine.user(&address, "ada", "admins");
    let done = ada.ask("PATCH", "/devices/default/web-01", &json!({"spec": {"address": "10.0.0.12"}}));
    assert_eq!(done.status, 202, "{}", done.body);
    let known = format!("gpg.ssh.allowedSignersFile={}", signers.display());
    let log = |known: &str| git(&bare, &["-c", known, "log", "-1", "--format=%H%n%an <%ae>%n%cn%n%G?%n%GS", "main"]);
    let id = done.body["commit"].as_str().unwrap();
    assert_eq!(log(&known), format!("{id}\nada <ada@localhost>\nEvenkeel\nG\nengine"));
    // It is that very key: whoever knows another one does not take it.
    let other = home.path().join("other");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&other).status().unwrap();
    assert!(made.success());
    std::fs::write(&signers, format!("engine {}", std::fs::read_to_string(other.with_extension("pub")).unwrap())).unwrap();
    assert!(!log(&known).contains("\nG"), "{}", log(&known));
}

/// A device is looked at once for all who ask meanwhile, and each of them is in the audit log.
#[test]
fn everybody_who_has_a_device_looked_at_is_written_down() {
    let home = tempfile::tempdir().unwrap();
    let fleet = home.path().join("fleet");
    std::fs::create_dir(&fleet).unwrap();
    std::fs::write(fleet.join("web.yaml"), DEVICE).unwrap();
    let address = address();
    let engine = Engine::start(&fleet, &home.path().join("data"), &["--listen", &address]);
    let (ada, bob) = (engine.user(&address, "ada", "admins"), engine.user(&address, "bob", "admins"));
    for user in [&ada, &bob, &ada, &bob] {
        let asked = user.ask("POST", "/devices/default/web-01/look", &Value::Null);
        assert_eq!(asked.status, 202, "{}", asked.body);
    }
    let said = engine.try_ask("GET", "/v1/audit?about=device/web-01", &[], "").unwrap().body;
    let looks = said.as_array().unwrap().iter().filter(|entry| entry["verb"] == "look");
    let mut askers: Vec<_> = looks.map(|entry| entry["actor"]["name"].as_str().unwrap()).collect();
    askers.sort();
    assert_eq!(askers, ["ada", "bob"], "each once, and neither for the other: {said}");
}

/// Of many who have seen the same and change it at once, one does: in a repository, and in a folder.
#[test]
fn of_many_who_have_seen_the_same_one_changes_it() {
    let home = tempfile::tempdir().unwrap();
    let (bare, _) = repository(home.path());
    let fleet = home.path().join("fleet");
    std::fs::create_dir(&fleet).unwrap();
    std::fs::write(fleet.join("web.yaml"), DEVICE).unwrap();
    let web = "/devices/default/web-01";
    for (place, more, done) in [(&bare, &["--write", "direct"][..], 202), (&fleet, &[], 200)] {
        let engine = Engine::start(place, &home.path().join(format!("data-{done}")), more);
        let seen = engine.ask("GET", web, &[], &Value::Null);
        let expected = [("If-Match", seen.header("etag").unwrap())];
        let change = |number: usize| {
            let address = format!("10.0.1.{number}");
            let patch = json!({"spec": {"address": address}});
            // Who is told to come again has still seen the same.
            let status = (0..100).find_map(|_| match engine.ask("PATCH", web, &expected, &patch).status {
                503 => {
                    std::thread::sleep(Duration::from_millis(50));
                    None
                }
                status => Some(status),
            });
            (status.unwrap(), address)
        };
        let ends: Vec<_> = std::thread::scope(|scope| {
            let change = &change;
            let writers: Vec<_> = (0..8).map(|number| scope.spawn(move || change(number))).collect();
            writers.into_iter().map(|writer| writer.join().unwrap()).collect()
        });
        let (won, lost): (Vec<_>, Vec<_>) = ends.into_iter().partition(|(status, _)| *status == done);
        assert!(won.len() == 1 && lost.iter().all(|(status, _)| [409, 412].contains(status)), "{won:?} {lost:?}");
        let text = match done {
            202 => git(&bare, &["show", "main:devices/web.yaml"]),
            _ => std::fs::read_to_string(fleet.join("web.yaml")).unwrap(),
        };
        assert!(text.contains(&won[0].1), "{won:?}: {text}");
    }
    assert_eq!(git(&bare, &["rev-list", "--count", "main"]), "2", "what was there, and the one that came first");
}

#[test]
fn a_folder_is_written_to() {
    let home = tempfile::tempdir().unwrap();
    let fleet = home.path().join("fleet");
    std::fs::create_dir(&fleet).unwrap();
    std::fs::write(fleet.join("web.yaml"), DEVICE).unwrap();
    let engine = Engine::start(&fleet, &home.path().join("data"), &[]);
    let done = engine.ask(
        "PUT",
        "/devices/default/web-01",
        &[],
        &json!({"metadata": {"labels": {"site": "ams1"}}, "spec": {"type": "Server", "address": "10.0.0.12"}}),
    );
    assert_eq!(done.status, 200, "{}", done.body);
    assert_eq!(std::fs::read_to_string(fleet.join("web.yaml")).unwrap(), DEVICE.replace("10.0.0.11", "10.0.0.12"));
    let made = engine.ask("POST", "/devices", &[], &device("web-02", "10.0.0.13"));
    assert_eq!((made.status, made.header("location")), (201, Some("/api/v1/devices/default/web-02")), "{}", made.body);
    assert!(fleet.join("web-02.yaml").exists());
    engine.until("it is in force", || engine.ask("PATCH", "/devices/default/web-02?dryRun=true", &[], &json!({})).status == 200);
    assert_eq!(engine.ask("DELETE", "/devices/default/web-02", &[], &Value::Null).status, 204);
    assert!(!fleet.join("web-02.yaml").exists());
    let large = json!({"spec": {"vars": {"x": "y".repeat(2 << 20)}}}).to_string();
    let headers = [("Content-Type", "application/merge-patch+json")];
    assert_eq!(engine.try_ask("PATCH", "/api/v1/devices/default/web-01", &headers, &large).map(|answer| answer.status), Some(413));
}

#[test]
fn what_is_not_to_be_written_is_not() {
    let home = tempfile::tempdir().unwrap();
    let (bare, _) = repository(home.path());
    let main = git(&bare, &["rev-parse", "main"]);
    let engine = Engine::start(&bare, &home.path().join("data"), &["--write", "never"]);
    assert_eq!(engine.ask("POST", "/devices", &[], &device("web-02", "10.0.0.13")).status, 405);
    assert_eq!(engine.ask("POST", "/devices?dryRun=true", &[], &device("web-02", "10.0.0.13")).status, 200);
    assert_eq!(git(&bare, &["for-each-ref", "--format=%(objectname)"]), main);
}

/// People push while others write through the interface: nothing of anybody is lost.
#[test]
fn whoever_writes_at_the_same_time_is_built_upon() {
    let home = tempfile::tempdir().unwrap();
    let (bare, work) = repository(home.path());
    let engine = Engine::start(&bare, &home.path().join("data"), &["--write", "direct"]);
    let made = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3)
            .map(|writer| {
                let engine = &engine;
                scope.spawn(move || {
                    let name = |number: usize| format!("w{writer}-{number}");
                    (0..3)
                        .map(name)
                        .filter(|name| engine.ask("POST", "/devices", &[], &device(name, "10.0.0.9")).status == 202)
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        for number in 0..5 {
            std::fs::write(work.join(format!("notes-{number}.txt")), "x").unwrap();
            git(&work, &["add", "-A"]);
            git(&work, &["commit", "-q", "-m", "notes"]);
            let push =
                || Command::new("git").arg("-C").arg(&work).args(["push", "-q", "origin", "main"]).stderr(Stdio::null()).status().unwrap();
            // As people do it.
            for _ in 0..50 {
                if push().success() {
                    break;
                }
                git(&work, &["pull", "-q", "--rebase", "origin", "main"]);
            }
        }
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect::<Vec<_>>()
    });
    let files = git(&bare, &["ls-tree", "-r", "--name-only", "main"]);
    assert!(!made.is_empty());
    for name in &made {
        assert!(files.contains(&format!("devices/{name}.yaml")), "{name}: {files}");
    }
    for number in 0..5 {
        assert!(files.contains(&format!("notes-{number}.txt")), "{files}");
    }
    git(&bare, &["fsck", "--strict"]);
}

/// However it ends, there is a whole commit or none, and its key says what is known.
#[test]
fn killed_in_the_middle_it_leaves_a_whole_commit_or_none() {
    let home = tempfile::tempdir().unwrap();
    let (bare, _) = repository(home.path());
    let data = home.path().join("data");
    for (round, wait) in [0, 5, 20, 60].into_iter().enumerate() {
        let name = format!("web-1{round}");
        let key = format!("k-{round}");
        let mut engine = Engine::start(&bare, &data, &["--write", "direct"]);
        let before: usize = git(&bare, &["rev-list", "--count", "main"]).parse().unwrap();
        let socket = engine.data.clone();
        let body = device(&name, "10.0.0.9").to_string();
        let asked = std::thread::spawn(move || {
            // It may be gone by now.
            let Ok(mut stream) = UnixStream::connect(socket.join("evenkeel.sock")) else { return };
            let head = format!(
                "POST /api/v1/devices HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nIdempotency-Key: {key}\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
            let _ = stream.read(&mut [0; 1]);
        });
        std::thread::sleep(Duration::from_millis(wait));
        engine.process.kill().unwrap();
        engine.process.wait().unwrap();
        asked.join().unwrap();
        git(&bare, &["fsck", "--strict"]);
        let after: usize = git(&bare, &["rev-list", "--count", "main"]).parse().unwrap();
        assert!(after == before || after == before + 1);
        let engine = Engine::start(&bare, &data, &["--write", "direct"]);
        let again = engine.ask("POST", "/devices", &[("Idempotency-Key", &format!("k-{round}"))], &device(&name, "10.0.0.9"));
        assert!([202, 409].contains(&again.status), "{}", again.body);
        let made: usize = git(&bare, &["rev-list", "--count", "main"]).parse().unwrap();
        assert!(made <= before + 1, "once at most");
    }
}
