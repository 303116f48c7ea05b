//! Beside other GitOps tools: Flux's kustomize-controller or Argo CD apply the same objects, under their field managers, again and again.

#[path = "../../../crates/manifests/tests/common/sshd.rs"]
#[allow(dead_code, reason = "shared with others")]
mod sshd;

use std::path::PathBuf;
use std::time::Duration;

use e2e::control_plane::ControlPlane;
use e2e::engine::Engine;
use e2e::fleet::{Fleet, LIMIT, app, skipped};
use e2e::wait_until;
use serde_json::Value;

const CLASS: &str =
    "apiVersion: evenkeel.dev/v1alpha1\nkind: DeviceClass\nmetadata: {name: server, namespace: default}\nspec: {labels: {site: ams1}}\n";

/// The first of these programs that exists.
fn find(what: &str, paths: &[&str]) -> Option<PathBuf> {
    let found = paths.iter().map(PathBuf::from).find(|path| path.exists());
    assert!(found.is_some() || std::env::var("CI").as_deref() != Ok("true"), "{what} is missing, and in CI nothing is skipped");
    found
}

/// Applies as the other tool does: its word counts, whoever has the fields.
fn theirs(fleet: &Fleet, manager: &str, text: &str) {
    let manager = format!("--field-manager={manager}");
    let output = fleet.plane.with(&["apply", "--server-side", "--force-conflicts", &manager], text).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What the other tool would have to correct; nothing, if all is well.
fn drift(fleet: &Fleet, manager: &str, text: &str) -> String {
    let manager = format!("--field-manager={manager}");
    let output = fleet.plane.with(&["diff", "--server-side", "--force-conflicts", &manager], text).unwrap();
    assert!(output.status.code().is_some_and(|code| code < 2), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Versions of all our objects: another one is a write of somebody.
fn versions(fleet: &Fleet) -> String {
    fleet
        .plane
        .must(&["get", "evenkeel", "-o", "jsonpath={range .items[*]}{.kind}/{.metadata.name}:{.metadata.resourceVersion} {end}"])
        .unwrap()
}

/// Nobody writes, although the other tool applies what it has again and again.
fn at_rest(fleet: &Fleet, manager: &str, text: &str) {
    let mut last = String::new();
    fleet.until("rest", || {
        std::thread::sleep(Duration::from_secs(2));
        let now = versions(fleet);
        let rests = std::mem::replace(&mut last, now.clone()) == now;
        if rests { Ok(()) } else { Err(now) }
    });
    for _ in 0..6 {
        theirs(fleet, manager, text);
        std::thread::sleep(Duration::from_millis(1500));
    }
    let fields = || fleet.plane.must(&["get", "edep,dclass", "-o", "jsonpath={.items[*].metadata.managedFields}"]).unwrap();
    assert_eq!(versions(fleet), last, "{manager}: somebody writes: {}", fields());
    let drift = drift(fleet, manager, text);
    assert!(drift.is_empty(), "{manager} would correct:\n{drift}");
}

fn ready(fleet: &Fleet, repository: &str) -> Value {
    let conditions = fleet.object("erepo", repository)["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.into_iter().find(|condition| condition["type"] == "Ready").unwrap_or_default()
}

/// Waits until our Repository says this of this commit.
fn told(fleet: &Fleet, engine: &Engine, commit: &str, reason: &str, parts: &[&str]) {
    let look = || {
        let ready = ready(fleet, "fleet");
        let message = ready["message"].as_str().unwrap_or_default();
        let is_told = ready["reason"] == reason && message.contains(&commit[..12]) && parts.iter().all(|part| message.contains(part));
        if is_told { Ok(()) } else { Err(ready.to_string()) }
    };
    wait_until(&format!("{reason} with {parts:?}"), LIMIT, look).unwrap_or_else(|error| panic!("{error}\n{}", engine.tail()));
}

/// The other tool applies all there is; we write status and finalizers, and a Repository of ours has the same objects in it.
#[test]
fn no_fields_are_fought_over() {
    if skipped() {
        return;
    }
    let Some(git) = sshd::Server::start() else { return };
    let values = ["secrets[0].names={fleet-key,git}", "repositories[0].namespace=default"];
    let fleet = Fleet::new(ControlPlane::start().unwrap(), 2, &values, |_| {}).unwrap();
    let (key, known) =
        (format!("--from-literal=ssh-privatekey={}", git.key("client")), format!("--from-literal=known_hosts={}", git.known("host")));
    fleet.plane.must(&["create", "secret", "generic", "git", &key, &known]).unwrap();
    let mut engine = fleet.engine("engine", None).unwrap();
    engine.start().unwrap();
    let rolled_out = |version: &str| {
        let look = || fleet.is("Complete", version, 2);
        wait_until(version, LIMIT, look).unwrap_or_else(|error| panic!("{error}\n{}", engine.tail()));
    };
    let devices = || [fleet.device(1).unwrap(), fleet.device(2).unwrap()];
    let all = |version: &str| [&devices()[..], &[CLASS.to_owned(), app(version, "  onDelete: Remove\n")]].concat().join("---\n");

    // Both tools one after the other: as one of them lets go, the other one takes over what it applied.
    for manager in ["argocd-controller", "kustomize-controller"] {
        theirs(&fleet, manager, &all("1.0-1"));
        rolled_out("1.0-1");
        at_rest(&fleet, manager, &all("1.0-1"));
        let finalizers = fleet.object("edep", "app")["metadata"]["finalizers"].clone();
        assert_eq!(finalizers, serde_json::json!(["evenkeel.dev/remove"]), "{manager} leaves it where it is");
    }
    // Argo CD lets go, so that there is one other tool.
    for text in [CLASS.to_owned(), app("1.0-1", "")].iter().chain(&devices()) {
        let bare: Vec<&str> = text.lines().take_while(|line| !line.starts_with("spec")).collect();
        theirs(&fleet, "argocd-controller", &bare.join("\n"));
    }
    let flux = "kustomize-controller";
    at_rest(&fleet, flux, &all("1.0-1"));

    // A Repository with the same objects: what both say alike is applied by both.
    for (number, text) in devices().iter().enumerate() {
        std::fs::write(engine.fleet.join(format!("d-{}.yaml", number + 1)), text).unwrap();
    }
    std::fs::write(engine.fleet.join("class.yaml"), CLASS).unwrap();
    let same = engine.commit("app.yaml", &app("1.0-1", "  onDelete: Remove\n"), "the same").unwrap();
    let branch = engine.git(&["branch", "--show-current"]).unwrap();
    let repository = format!(
        "apiVersion: evenkeel.dev/v1alpha1\nkind: Repository\nmetadata: {{name: fleet, namespace: default}}\nspec:\n  url: {}\n  ref: {{branch: {}}}\n  interval: 5s\n  secretRef: {{name: git}}\n",
        git.url(&engine.fleet),
        branch.trim()
    );
    fleet.plane.apply(&repository).unwrap();
    told(&fleet, &engine, &same, "Applied", &["4 objects"]);
    at_rest(&fleet, flux, &all("1.0-1"));

    // Git says otherwise: who has the field is said, it stays with them, and nobody writes again and again.
    let other = engine.commit("app.yaml", &app("2.0-1", "  onDelete: Remove\n"), "otherwise").unwrap();
    told(&fleet, &engine, &other, "Refused", &["Deployment/default/app", flux, ".spec.package"]);
    at_rest(&fleet, flux, &all("1.0-1"));
    rolled_out("1.0-1");
    // The other tool comes to the same, and all is well.
    theirs(&fleet, flux, &all("2.0-1"));
    told(&fleet, &engine, &other, "Applied", &["4 objects"]);
    rolled_out("2.0-1");
    at_rest(&fleet, flux, &all("2.0-1"));

    // What leaves our Git and not theirs stays.
    engine.git(&["rm", "-q", "class.yaml"]).unwrap();
    let without = engine.commit("README.md", "The fleet.\n", "without the class").unwrap();
    told(&fleet, &engine, &without, "Applied", &["3 objects", "deviceclass/server left Git and stays", flux]);
    at_rest(&fleet, flux, &all("2.0-1"));
    // What leaves both goes, with its content.
    engine.git(&["rm", "-q", "app.yaml"]).unwrap();
    let without = engine.commit("README.md", "The fleet, bare.\n", "without app").unwrap();
    told(&fleet, &engine, &without, "Applied", &["2 objects", "deployment/app left Git and stays"]);
    fleet.plane.must(&["delete", "edep", "app", "--timeout=120s"]).unwrap();
    assert!(fleet.versions().unwrap().iter().all(String::is_empty), "it was taken off");
}
