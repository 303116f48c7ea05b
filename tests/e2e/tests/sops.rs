//! ConfigMaps and Secrets from Git: a real OpenSSH server with a repository, a real API server, the chart's own rights, and files that a
//! real SOPS wrote.

#[path = "../../../crates/manifests/tests/common/sshd.rs"]
#[allow(dead_code, reason = "shared with others")]
mod sshd;

use std::path::{Path, PathBuf};
use std::time::Duration;

use e2e::control_plane::{ControlPlane, programs};
use e2e::engine::Engine;
use e2e::wait_until;
use serde_json::Value;

const NAMESPACE: &str = "evenkeel-system";
const SECRET: &str = include_str!("../../../crates/manifests/tests/sops/secret.yaml");
const CHANGED: &str = include_str!("../../../crates/manifests/tests/sops/changed.yaml");
const KEY: &str = include_str!("../../../crates/manifests/tests/sops/throw-away.agekey");
const OTHER: &str = include_str!("../../../crates/manifests/tests/sops/other.agekey");
/// What is in them, as text and as base64.
const VALUES: [&str; 3] = ["correct horse", "Y29ycmVjdCBob3JzZ", "Y2hhbmdlZCBzaW5jZ"];

/// The first of these programs that exists.
fn find(what: &str, paths: &[&str]) -> Option<PathBuf> {
    let found = paths.iter().map(PathBuf::from).find(|path| path.exists());
    assert!(found.is_some() || std::env::var("CI").as_deref() != Ok("true"), "{what} is missing, and in CI nothing is skipped");
    found
}

/// Dropped in this order.
struct World {
    engine: Engine,
    plane: ControlPlane,
    git: sshd::Server,
    _folder: tempfile::TempDir,
}

fn map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{greeting: {value}}}\n")
}

fn world() -> Option<World> {
    if let Some(why) = programs::unavailable() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{why}, and in CI nothing is skipped");
        eprintln!("SKIPPED: {why}");
        return None;
    }
    let git = sshd::Server::start()?;
    let folder = tempfile::tempdir().unwrap();
    let binary = std::env::var("EVENKEEL_BIN").expect("EVENKEEL_BIN names no evenkeel: run the tests by `cargo xtask test`");
    let plane = ControlPlane::start().unwrap();
    plane.must(&["create", "namespace", "fleet"]).unwrap();
    let key = folder.path().join("unused");
    std::fs::write(&key, "").unwrap();
    let mut engine = Engine::with(Path::new(&binary), folder.path(), &key).unwrap();
    engine.commit("README.md", "The fleet.\n", "begin").unwrap();
    let values = ["secrets[0].namespace=fleet", "secrets[0].names={git,age}", "repositories[0].namespace=fleet"];
    plane.install_chart("evenkeel", NAMESPACE, &values).unwrap();
    let (key, known) =
        (format!("--from-literal=ssh-privatekey={}", git.key("client")), format!("--from-literal=known_hosts={}", git.known("host")));
    plane.must(&["create", "secret", "generic", "git", "--namespace", "fleet", &key, &known]).unwrap();
    engine.kubeconfig = Some(plane.service_account(NAMESPACE, "evenkeel").unwrap());
    Some(World { engine, plane, git, _folder: folder })
}

impl World {
    fn repository(&self, more: &str) {
        let (url, branch) = (self.git.url(&self.engine.fleet), self.engine.git(&["branch", "--show-current"]).unwrap());
        let text = format!(
            "apiVersion: evenkeel.dev/v1alpha1\nkind: Repository\nmetadata: {{name: fleet, namespace: fleet}}\nspec:\n  url: {url}\n  ref: {{branch: {}}}\n  interval: 5s\n  secretRef: {{name: git}}\n{more}",
            branch.trim()
        );
        self.plane.apply(&text).unwrap();
    }

    fn age(&self, key: &str) {
        let text = format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: age, namespace: fleet}}\nstringData:\n  age.agekey: {}\n",
            key.lines().last().unwrap()
        );
        self.plane.apply(&text).unwrap();
    }

    fn object(&self, what: &str) -> Value {
        let text = self.plane.kubectl(&["get", what, "--namespace", "fleet", "-o", "json"]).unwrap().stdout;
        serde_json::from_slice(&text).unwrap_or_default()
    }

    fn until(&self, what: &str, look: impl FnMut() -> Result<(), String>) {
        wait_until(what, Duration::from_secs(120), look).unwrap_or_else(|error| panic!("{error}\n{}", self.engine.tail()));
    }

    /// Waits until the Repository says this of this commit.
    fn told(&self, commit: &str, reason: &str, message: &str) {
        self.until(&format!("{reason} with {message:?}"), || {
            let status = self.object("erepo/fleet")["status"].clone();
            let ready =
                status["conditions"].as_array().and_then(|all| all.iter().find(|of| of["type"] == "Ready")).cloned().unwrap_or_default();
            let text = ready["message"].as_str().unwrap_or_default();
            let there = ready["reason"] == reason && text.contains(message) && text.contains(&commit[..commit.len().min(12)]);
            if there { Ok(()) } else { Err(status.to_string()) }
        });
    }

    fn value(&self, what: &str, key: &str) -> String {
        self.object(what)["data"][key].as_str().unwrap_or_default().to_owned()
    }

    /// Nothing of what is in the Secrets is anywhere that somebody could see it who may not see them.
    fn nothing_is_shown(&self) {
        let seen = [
            self.engine.log(),
            self.object("erepo/fleet").to_string(),
            self.plane.must(&["get", "events", "--all-namespaces", "-o", "json"]).unwrap(),
            self.engine.text(&["audit", "list", "--limit", "300", "-o", "json"]).unwrap(),
        ];
        for value in VALUES {
            assert!(seen.iter().all(|text| !text.contains(value)), "{value} is shown");
        }
        let files = files(&self.engine.data);
        assert!(files.iter().any(|path| path.ends_with("HEAD")), "the cache of the repository is there: {files:?}");
        for path in files {
            let bytes = std::fs::read(&path).unwrap_or_default();
            let has = |value: &str| bytes.windows(value.len()).any(|part| part == value.as_bytes());
            assert!(!VALUES.into_iter().any(has), "{} has a value", path.display());
        }
    }
}

/// All files below a directory.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Only who is told to applies them, only with the right to it, encrypted, by the right key; then they follow Git, and go with it.
#[test]
fn config_maps_and_secrets_come_from_git_where_that_is_asked_for() {
    let Some(mut world) = world() else { return };
    world.repository("");
    world.age(OTHER);
    world.engine.start().unwrap();
    world.engine.commit("map.yaml", &map("greeting", "hello"), "a map").unwrap();
    let commit = world.engine.commit("secret.yaml", SECRET, "a secret").unwrap();
    world.told(&commit, "Applied", "0 objects");
    assert_eq!(world.object("cm/greeting"), Value::Null, "nobody asked for it");

    // Without a key, with another one, without the right.
    world.repository("  also: [ConfigMap, Secret]\n");
    world.told(&commit, "Refused", "`spec.decryption` names no Secret with keys");
    let spec = "  also: [ConfigMap, Secret]\n  decryption: {secretRef: {name: age}}\n";
    world.repository(spec);
    world.told(&commit, "Refused", "none of the age keys given is one that it was encrypted for");
    world.told(&commit, "Refused", "evenkeel-repository may not get it (chart value `repositories[].core`)");
    assert_eq!((world.object("cm/greeting"), world.object("secret/app")), (Value::Null, Value::Null));
    world.age(KEY);
    let rights =
        ["secrets[0].namespace=fleet", "secrets[0].names={git,age}", "repositories[0].namespace=fleet", "repositories[0].core=true"];
    world.plane.install_chart("evenkeel", NAMESPACE, &rights).unwrap();
    world.told(&commit, "Applied", "of ConfigMaps 1, of Secrets 1");
    assert_eq!(
        (world.value("cm/greeting", "greeting").as_str(), world.value("secret/app", "token").as_str()),
        ("hello", "c2VjcmV0LXRva2Vu")
    );
    assert!(world.value("secret/app", "password").starts_with(VALUES[1]));
    let names = || world.object("erepo/fleet")["status"]["applied"].to_string();
    assert_eq!(names(), r#"[{"kind":"ConfigMap","name":"greeting"},{"kind":"Secret","name":"app"}]"#);

    // At rest nothing is asked, and the operator itself never asks for these.
    let asked = || world.plane.requests_of("fleet", "evenkeel-repository").unwrap().len();
    let before = asked();
    std::thread::sleep(Duration::from_secs(12));
    assert_eq!(asked(), before, "{}", world.engine.tail());

    // A change in Git, and one behind its back, which somebody who asks for a look need not wait for.
    let commit = world.engine.commit("secret.yaml", CHANGED, "another password").unwrap();
    world.told(&commit, "Applied", "of Secrets 1");
    world.until("the other password", || {
        let value = world.value("secret/app", "password");
        if value.starts_with(VALUES[2]) { Ok(()) } else { Err("not yet".into()) }
    });
    assert_eq!(world.value("secret/app", "token"), "", "what left the document left the object");
    world.plane.must(&["patch", "cm/greeting", "--namespace", "fleet", "--type=merge", "-p", r#"{"data":{"greeting":"bye"}}"#]).unwrap();
    world.plane.must(&["annotate", "erepo/fleet", "--namespace", "fleet", "evenkeel.dev/requested-at=now"]).unwrap();
    world.until("Git's word", || match world.value("cm/greeting", "greeting").as_str() {
        "hello" => Ok(()),
        other => Err(other.to_owned()),
    });

    // A plain Secret stalls, and nothing goes while that is so; what is there and not from Git is left alone.
    let plain = "apiVersion: v1\nkind: Secret\nmetadata: {name: plain}\nstringData: {password: hunter2}\n";
    world.engine.git(&["rm", "-q", "map.yaml"]).unwrap();
    let commit = world.engine.commit("plain.yaml", plain, "plain").unwrap();
    world.told(&commit, "InvalidManifest", "plain.yaml:2:1: error: this is a Secret in plain text");
    assert_ne!(world.object("cm/greeting"), Value::Null);
    world.plane.must(&["create", "configmap", "theirs", "--namespace", "fleet", "--from-literal=greeting=mine"]).unwrap();
    world.engine.git(&["rm", "-q", "plain.yaml"]).unwrap();
    let commit = world.engine.commit("theirs.yaml", &map("theirs", "ours"), "theirs").unwrap();
    world.told(&commit, "Refused", "does not come from Git: it is left as it is");
    assert_eq!(world.value("cm/theirs", "greeting"), "mine");
    let elsewhere = map("elsewhere", "x").replace("name: elsewhere", "name: elsewhere, namespace: default");
    let commit = world.engine.commit("theirs.yaml", &elsewhere, "elsewhere").unwrap();
    world.told(&commit, "InvalidManifest", "in its own namespace only");

    // What left Git goes, also after a restart; what never came from there stays, and what somebody else applies too.
    let flux = map("greeting", "hello").replace("name: greeting", "name: greeting, namespace: fleet");
    let flux = world.plane.with(&["apply", "--server-side", "--field-manager=flux"], &flux).unwrap();
    assert!(flux.status.success(), "{}", String::from_utf8_lossy(&flux.stderr));
    world.engine.terminate().unwrap();
    world.engine.git(&["rm", "-q", "theirs.yaml", "secret.yaml"]).unwrap();
    let commit = world.engine.commit("x", "", "without").unwrap();
    world.engine.start().unwrap();
    world.told(&commit, "Applied", "of ConfigMaps 0, of Secrets 0; ConfigMap/fleet/greeting left Git and stays, since flux applies it too");
    assert_eq!(world.object("secret/app"), Value::Null);
    assert_eq!(world.value("cm/greeting", "greeting"), "hello");
    assert_eq!(world.value("cm/theirs", "greeting"), "mine");
    world.nothing_is_shown();
}
