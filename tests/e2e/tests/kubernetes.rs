//! The engine on a real API server: custom resources in, status and events out, simulated devices behind it.

use std::path::PathBuf;
use std::time::Duration;

use e2e::control_plane::{ControlPlane, programs};
use e2e::engine::Engine;
use e2e::simulated::Simulated;
use e2e::wait_until;
use serde_json::Value;

/// Where the chart is installed.
const NAMESPACE: &str = "evenkeel-system";

/// Dropped in this order: the engine, the API server, and what is acted on.
struct World {
    engine: Engine,
    plane: ControlPlane,
    simulated: Simulated,
    _manifests: tempfile::TempDir,
}

fn binary() -> PathBuf {
    std::env::var("EVENKEEL_BIN").expect("EVENKEEL_BIN names no evenkeel: run the tests by `cargo xtask test`").into()
}

fn app(version: &str, more: &str) -> String {
    format!(
        "apiVersion: evenkeel.dev/v1alpha1\nkind: Deployment\nmetadata: {{name: app, namespace: default}}\nspec:\n  selector: {{matchLabels: {{role: app}}}}\n  package: {{apt: {{name: app, version: {version}}}}}\n  service: {{unit: app}}\n  strategy: {{batches: [{{max: 1}}], maxUnavailable: 2, soak: 1s, deadline: 60s}}\n{more}"
    )
}

/// Devices that get `app`, of which there are versions 1.0-1, 2.0-1, and 3.0-1 that dies; applied with kubectl, with their key as a Secret.
/// `None`: no API server can be had here.
fn world(devices: usize) -> Option<World> {
    if let Some(why) = programs::unavailable() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{why}, and in CI nothing is skipped");
        eprintln!("SKIPPED: {why}");
        return None;
    }
    let manifests = tempfile::tempdir().unwrap();
    for number in 1..=devices {
        let text = format!(
            "apiVersion: evenkeel.dev/v1alpha1\nkind: Device\nmetadata: {{name: d-{number}, namespace: default, labels: {{role: app}}}}\nspec:\n  type: Server\n  address: 10.0.0.{number}\n  access: {{ssh: {{user: ops, become: sudo, secretRef: {{name: fleet-key}}}}}}\n"
        );
        std::fs::write(manifests.path().join(format!("d-{number}.yaml")), text).unwrap();
    }
    std::fs::write(manifests.path().join("app.yaml"), app("1.0-1", "")).unwrap();
    let more = ["--package", "app=2.0-1", "--package", "app=3.0-1", "--bad", "app=3.0-1:dies-after=2s"];
    let simulated = Simulated::start(&binary(), manifests.path(), &more).unwrap();
    let plane = ControlPlane::start().unwrap();
    // What the operator may do is what the chart lets it do.
    let values = ["secrets[0].namespace=default", "secrets[0].names[0]=fleet-key"];
    plane.install_chart("evenkeel", NAMESPACE, &values).unwrap();
    let key = format!("--from-file=ssh-privatekey={}", simulated.key().display());
    plane.must(&["create", "secret", "generic", "fleet-key", &key]).unwrap();
    let mut engine = Engine::with(&binary(), &simulated.folder, &simulated.key()).unwrap();
    engine.kubeconfig = Some(plane.service_account(NAMESPACE, "evenkeel").unwrap());
    let world = World { engine, plane, simulated, _manifests: manifests };
    for number in 1..=devices {
        let file = world.simulated.folder.join(format!("fleet/d-{number}.yaml"));
        world.plane.must(&["apply", "--server-side", "-f", file.to_str().unwrap()]).unwrap();
    }
    Some(world)
}

impl World {
    fn deploy(&self, version: &str, more: &str) {
        self.plane.apply(&app(version, more)).unwrap();
    }

    fn object(&self, kind: &str, name: &str) -> Value {
        let text = self.plane.must(&["get", kind, name, "-o", "json"]).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    fn until(&self, what: &str, look: impl FnMut() -> Result<(), String>) {
        wait_until(what, Duration::from_secs(120), look).unwrap_or_else(|error| panic!("{error}\n{}", self.engine.tail()));
    }

    /// Waits until the Deployment has this phase in this generation, and says that of every device.
    fn wait(&self, phase: &str, version: &str, devices: u64) {
        self.until(&format!("{phase} of {version}"), || {
            let object = self.object("edep", "app");
            let status = &object["status"];
            let newest = status["history"].as_array().and_then(|history| history.last()).cloned().unwrap_or_default();
            let fresh = status["observedGeneration"] == object["metadata"]["generation"];
            let there = status["phase"] == phase && newest["version"].as_str().is_some_and(|newest| newest.contains(version));
            if fresh && there && status["counts"]["updated"] == devices { Ok(()) } else { Err(object.to_string()) }
        });
    }

    fn condition(&self, kind: &str, name: &str, condition: &str) -> Value {
        let object = self.object(kind, name);
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.into_iter().find(|of| of["type"] == condition).unwrap_or_default()
    }

    fn reasons(&self, name: &str) -> Vec<String> {
        let field = format!("regarding.name={name}");
        let text = self.plane.must(&["get", "events.events.k8s.io", "--field-selector", &field, "-o", "jsonpath={.items[*].reason}"]);
        text.unwrap().split_whitespace().map(str::to_owned).collect()
    }
}

/// The whole way with kubectl alone: a version spreads, a bad one comes back, and the objects say so.
#[test]
fn a_rollout_driven_by_kubectl() {
    let Some(mut world) = world(3) else { return };
    world.deploy("1.0-1", "");
    world.engine.start().unwrap();
    world.wait("Complete", "1.0-1", 3);
    world.plane.must(&["wait", "--for=condition=Ready", "--timeout=60s", "edep/app", "dev/d-1", "dev/d-2", "dev/d-3"]).unwrap();
    let device = world.object("dev", "d-1");
    assert_eq!((&device["status"]["health"], &device["status"]["update"]), (&"Healthy".into(), &"UpToDate".into()), "{device}");
    assert_eq!(device["status"]["observedGeneration"], device["metadata"]["generation"]);

    world.deploy("3.0-1", "");
    world.wait("RolledBack", "3.0-1", 3);
    // What kstatus, and with it Flux and `kubectl wait`, reads as failed and not as still going on.
    assert_eq!(world.condition("edep", "app", "Stalled")["reason"], "RolledBack");
    assert_eq!(world.condition("edep", "app", "Ready")["status"], "False");
    world.until("events", || {
        let reasons = world.reasons("app");
        let missing: Vec<_> = ["RevisionStarted", "BatchOpened", "Complete", "RollingBack", "RolledBack"]
            .into_iter()
            .filter(|reason| !reasons.iter().any(|there| there == reason))
            .collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?} of {reasons:?}")) }
    });
    world.deploy("2.0-1", "");
    world.wait("Complete", "2.0-1", 3);

    // Nothing changes any more, so nothing is written any more, also not by another process that begins anew.
    let versions = || world.plane.must(&["get", "evenkeel", "-o", "jsonpath={.items[*].metadata.resourceVersion}"]).unwrap();
    let before = versions();
    world.engine.terminate().unwrap();
    world.engine.start().unwrap();
    world.until("all devices looked at again", || match world.engine.text(&["get", "devices"]) {
        Ok(text) if text.matches("Healthy").count() == 3 => Ok(()),
        other => Err(format!("{other:?}")),
    });
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(versions(), before, "{}", world.engine.tail());
    let events = world.plane.must(&["describe", "edep", "app"]).unwrap();
    assert!(events.contains("RolledBack"), "{events}");
}

/// What is on the devices comes off before a Deployment goes that wants it so, also where it was deleted while nobody was there.
#[test]
fn a_deployment_that_wants_it_is_held_until_its_content_is_off() {
    let Some(mut world) = world(2) else { return };
    world.deploy("1.0-1", "  onDelete: Remove\n");
    world.engine.start().unwrap();
    world.wait("Complete", "1.0-1", 2);
    world.until("the finalizer", || {
        let object = world.object("edep", "app");
        if object["metadata"]["finalizers"] == serde_json::json!(["evenkeel.dev/remove"]) { Ok(()) } else { Err(object.to_string()) }
    });
    world.engine.kill().unwrap();
    world.plane.must(&["delete", "edep", "app", "--wait=false"]).unwrap();
    world.engine.start().unwrap();
    world.plane.must(&["wait", "--for=delete", "--timeout=120s", "edep/app"]).unwrap();
    world.until("nothing left on the devices", || match world.engine.text(&["audit", "list"]) {
        Ok(text) if text.matches("remove").count() >= 2 => Ok(()),
        other => Err(format!("{other:?}")),
    });
    // One that wants nothing goes at once.
    world.deploy("2.0-1", "");
    world.wait("Complete", "2.0-1", 2);
    world.plane.must(&["delete", "edep", "app", "--timeout=20s"]).unwrap();
    // One that is paused is held, and explain says how it is let go.
    world.deploy("2.0-1", "  onDelete: Remove\n");
    world.wait("Complete", "2.0-1", 2);
    world.engine.text(&["rollout", "pause", "app"]).unwrap();
    world.until("the finalizer again", || {
        let object = world.object("edep", "app");
        if object["metadata"]["finalizers"] == serde_json::json!(["evenkeel.dev/remove"]) { Ok(()) } else { Err(object.to_string()) }
    });
    world.plane.must(&["delete", "edep", "app", "--wait=false"]).unwrap();
    world.until("that it is held being explained", || match world.engine.text(&["explain", "deployment/app"]) {
        Ok(text) if text.contains("kubectl -n default patch edep app --type=merge -p '{\"metadata\":{\"finalizers\":null}}'") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let patch = r#"{"metadata":{"finalizers":null}}"#;
    world.plane.must(&["-n", "default", "patch", "edep", "app", "--type=merge", "-p", patch]).unwrap();
    world.plane.must(&["wait", "--for=delete", "--timeout=20s", "edep/app"]).unwrap();
}

/// A Role with a login goes when its accounts are off the devices. One that is out of reach holds it; that is explained, with how to let it go.
#[test]
fn a_role_is_held_until_its_login_is_off() {
    let Some(mut world) = world(2) else { return };
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIM7kzJF9O1HS5OrI0W8zSfAZADqrE5S4xUqIX6TwXsxr";
    let role = format!(
        "apiVersion: evenkeel.dev/v1alpha1\nkind: Role\nmetadata: {{name: team, namespace: default}}\nspec:\n  subjects: [{{user: alice}}]\n  allow: [{{verbs: [view]}}]\n  login: {{user: alice, authorizedKeys: ['{key}'], devices: {{matchLabels: {{role: app}}}}}}\n"
    );
    world.plane.apply(&role).unwrap();
    world.engine.start().unwrap();
    let explained = |world: &World, words: &[&str]| {
        world.until(&format!("{words:?}"), || match world.engine.text(&["explain", "role/team"]) {
            Ok(text) if words.iter().all(|word| text.contains(word)) => Ok(()),
            other => Err(format!("{other:?}")),
        });
    };
    let held = |world: &World| {
        world.until("the finalizer", || {
            let object = world.object("erole", "team");
            if object["metadata"]["finalizers"] == serde_json::json!(["evenkeel.dev/remove"]) { Ok(()) } else { Err(object.to_string()) }
        });
    };
    explained(&world, &["role/team is Complete", "2 of 2 devices updated"]);
    held(&world);
    world.plane.must(&["delete", "erole", "team", "--timeout=120s"]).unwrap();

    // The same with a device out of reach.
    world.plane.apply(&role).unwrap();
    explained(&world, &["role/team is Complete", "2 of 2 devices updated"]);
    held(&world);
    world.simulated.order("d-2", "away").unwrap();
    world.until("d-2 being out of reach", || match world.engine.text(&["explain", "device/d-2"]) {
        Ok(text) if text.contains("unreachable since") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    world.plane.must(&["delete", "erole", "team", "--wait=false"]).unwrap();
    let patch = r#"{"metadata":{"finalizers":null}}"#;
    let let_go = format!("kubectl -n default patch erole team --type=merge -p '{patch}'");
    explained(&world, &["1 device left", "device/d-2", &let_go]);
    assert!(world.object("erole", "team")["metadata"]["deletionTimestamp"].is_string(), "it is held");
    world.plane.must(&["-n", "default", "patch", "erole", "team", "--type=merge", "-p", patch]).unwrap();
    world.plane.must(&["wait", "--for=delete", "--timeout=20s", "erole/team"]).unwrap();
    // What was promised: it still comes off when it can.
    world.simulated.order("d-2", "well").unwrap();
    world.until("nothing being left to do", || match world.engine.cli(&["explain", "role/team"]).status.success() {
        false => Ok(()),
        true => world.engine.text(&["explain", "role/team"]).map_or(Ok(()), Err),
    });
}

/// The API server is what the engine stands on: without it what is in force stays, that is said, and it goes on when it is back.
#[test]
fn without_the_api_server_it_goes_on_with_what_it_knows() {
    let Some(mut world) = world(2) else { return };
    world.deploy("1.0-1", "");
    world.engine.start().unwrap();
    world.wait("Complete", "1.0-1", 2);
    world.plane.stop_server();
    world.until("that it is away being said", || match world.engine.text(&["status"]) {
        Ok(text) if text.contains("watching") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    world.plane.restart_server().unwrap();
    world.deploy("2.0-1", "");
    world.wait("Complete", "2.0-1", 2);
    world.until("that it is back being said", || match world.engine.text(&["status"]) {
        Ok(text) if !text.contains("watching") => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

/// A second replica waits, and takes over.
#[test]
fn one_of_two_replicas_acts() {
    let Some(mut world) = world(2) else { return };
    world.deploy("1.0-1", "");
    world.engine.start().unwrap();
    world.wait("Complete", "1.0-1", 2);
    let folder = world.simulated.folder.join("second");
    std::fs::create_dir_all(&folder).unwrap();
    let mut second = Engine::with(&binary(), &folder, &world.simulated.key()).unwrap();
    second.kubeconfig.clone_from(&world.engine.kubeconfig);
    second.start().unwrap();
    let status = second.text(&["status"]).unwrap();
    assert!(status.contains("waiting for the lease"), "{status}");
    let said = second.cli(&["get", "devices"]);
    assert!(!said.status.success() && String::from_utf8_lossy(&said.stderr).contains("stands by"), "{said:?}");
    world.engine.terminate().unwrap();
    world.until("the other one acting", || match second.text(&["status"]) {
        Ok(text) if !text.contains("waiting") && text.contains("ready") => Ok(()),
        other => Err(format!("{other:?}\n{}", second.tail())),
    });
}
