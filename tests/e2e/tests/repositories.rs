//! Git into the cluster: a real OpenSSH server with a repository, a real API server, the chart's own rights, simulated devices.

#[path = "../../../crates/manifests/tests/common/sshd.rs"]
#[allow(dead_code, reason = "shared with others")]
mod sshd;

use std::path::PathBuf;
use std::time::Duration;

use e2e::control_plane::{ControlPlane, programs};
use e2e::engine::Engine;
use e2e::simulated::Simulated;
use e2e::wait_until;
use serde_json::Value;

const NAMESPACE: &str = "evenkeel-system";

/// The first of these programs that exists.
fn find(what: &str, paths: &[&str]) -> Option<PathBuf> {
    let found = paths.iter().map(PathBuf::from).find(|path| path.exists());
    assert!(found.is_some() || std::env::var("CI").as_deref() != Ok("true"), "{what} is missing, and in CI nothing is skipped");
    found
}

fn binary() -> PathBuf {
    std::env::var("EVENKEEL_BIN").expect("EVENKEEL_BIN names no evenkeel: run the tests by `cargo xtask test`").into()
}

/// Dropped in this order.
struct World {
    engine: Engine,
    plane: ControlPlane,
    git: sshd::Server,
    _simulated: Simulated,
    _manifests: tempfile::TempDir,
}

fn app(version: &str, more: &str) -> String {
    format!(
        "apiVersion: evenkeel.dev/v1alpha1\nkind: Deployment\nmetadata: {{name: app}}\nspec:\n  selector: {{matchLabels: {{role: app}}}}\n  package: {{apt: {{name: app, version: {version}}}}}\n  service: {{unit: app}}\n  strategy: {{batches: [{{max: 1}}], maxUnavailable: 2, soak: 1s, deadline: 60s}}\n{more}"
    )
}

/// A namespace `fleet` with a Repository of `devices` devices and `app` 1.0-1, that may be applied there.
fn world(devices: usize, more: &str) -> Option<World> {
    if let Some(why) = programs::unavailable() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{why}, and in CI nothing is skipped");
        eprintln!("SKIPPED: {why}");
        return None;
    }
    let git = sshd::Server::start()?;
    let manifests = tempfile::tempdir().unwrap();
    for number in 1..=devices {
        let text = format!(
            "apiVersion: evenkeel.dev/v1alpha1\nkind: Device\nmetadata: {{name: d-{number}, labels: {{role: app}}}}\nspec:\n  type: Server\n  address: 10.0.0.{number}\n  access: {{ssh: {{user: ops, become: sudo, secretRef: {{name: fleet-key}}}}}}\n"
        );
        std::fs::write(manifests.path().join(format!("d-{number}.yaml")), text).unwrap();
    }
    std::fs::write(manifests.path().join("app.yaml"), app("1.0-1", "")).unwrap();
    let arguments = ["--package", "app=2.0-1", "--package", "app=3.0-1", "--bad", "app=3.0-1:dies-after=2s"];
    let simulated = Simulated::start(&binary(), manifests.path(), &arguments).unwrap();
    let plane = ControlPlane::start().unwrap();
    plane.must(&["create", "namespace", "fleet"]).unwrap();
    let values = ["secrets[0].namespace=fleet", "secrets[0].names={fleet-key,git}", "repositories[0].namespace=fleet"];
    plane.install_chart("evenkeel", NAMESPACE, &values).unwrap();
    let key = format!("--from-file=ssh-privatekey={}", simulated.key().display());
    plane.must(&["create", "secret", "generic", "fleet-key", "--namespace", "fleet", &key]).unwrap();
    let (key, known) =
        (format!("--from-literal=ssh-privatekey={}", git.key("client")), format!("--from-literal=known_hosts={}", git.known("host")));
    plane.must(&["create", "secret", "generic", "git", "--namespace", "fleet", &key, &known]).unwrap();
    let mut engine = Engine::with(&binary(), &simulated.folder, &simulated.key()).unwrap();
    engine.commit("README.md", "The fleet.\n", "begin").unwrap();
    engine.kubeconfig = Some(plane.service_account(NAMESPACE, "evenkeel").unwrap());
    let world = World { engine, plane, git, _simulated: simulated, _manifests: manifests };
    world.repository(more);
    Some(world)
}

impl World {
    fn repository(&self, more: &str) {
        let url = self.git.url(&self.engine.fleet);
        let branch = self.engine.git(&["branch", "--show-current"]).unwrap();
        let text = format!(
            "apiVersion: evenkeel.dev/v1alpha1\nkind: Repository\nmetadata: {{name: fleet, namespace: fleet}}\nspec:\n  url: {url}\n  ref: {{branch: {}}}\n  interval: 5s\n  secretRef: {{name: git}}\n{more}",
            branch.trim()
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
            let object = self.object("erepo/fleet");
            let ready = object["status"]["conditions"].as_array().and_then(|all| all.iter().find(|of| of["type"] == "Ready")).cloned();
            let ready = ready.unwrap_or_default();
            let text = ready["message"].as_str().unwrap_or_default();
            let there = ready["reason"] == reason && text.contains(message) && text.contains(&commit[..commit.len().min(12)]);
            if there { Ok(()) } else { Err(object["status"].to_string()) }
        });
    }

    /// Waits until `kubectl describe` says this of an object.
    fn described(&self, what: &str, words: &[&str]) {
        self.until(&format!("{words:?}"), || {
            let said = self.plane.must(&["describe", what, "--namespace", "fleet"]).map_err(|error| error.to_string())?;
            if words.iter().all(|word| said.contains(word)) { Ok(()) } else { Err(said) }
        });
    }

    fn rolled_out(&self, phase: &str, version: &str) {
        self.until(&format!("{phase} of {version}"), || {
            let status = self.object("edep/app")["status"].clone();
            let newest = status["history"].as_array().and_then(|history| history.last()).cloned().unwrap_or_default();
            let there = status["phase"] == phase && newest["version"].as_str().is_some_and(|newest| newest.contains(version));
            if there { Ok(()) } else { Err(status.to_string()) }
        });
    }
}

/// A commit reaches devices by way of the cluster and comes back when it hurts; what others change is put back, what leaves Git leaves.
#[test]
fn a_commit_reaches_devices_by_way_of_the_cluster() {
    let Some(mut world) = world(3, "") else { return };
    world.engine.start().unwrap();
    world.engine.git(&["commit", "-q", "--allow-empty", "-m", "x"]).unwrap();
    let commit = world.engine.git(&["rev-parse", "HEAD"]).unwrap();
    world.told(&commit, "Applied", "4 objects");
    world.plane.must(&["wait", "--for=condition=Ready", "--timeout=60s", "--namespace", "fleet", "erepo/fleet"]).unwrap();
    world.rolled_out("Complete", "1.0-1");

    let bad = world.engine.commit("app.yaml", &app("3.0-1", ""), "3.0").unwrap();
    world.told(&bad, "Applied", "4 objects");
    world.rolled_out("RolledBack", "3.0-1");
    // Who is behind it is who committed it.
    let log = world.engine.text(&["audit", "list", "--limit", "300", "-o", "json"]).unwrap();
    assert!(log.contains(&format!("{} Ann <ann@example.com>", &bad[..12])), "{log}");
    let good = world.engine.commit("app.yaml", &app("2.0-1", ""), "2.0").unwrap();
    world.told(&good, "Applied", "4 objects");
    world.rolled_out("Complete", "2.0-1");

    // What others change and add is put back, and what they need is theirs.
    let soak = || world.object("edep/app")["spec"]["strategy"]["soak"].clone();
    let others_change_it = || {
        let change = r#"{"spec":{"strategy":{"soak":"7m"},"suspend":true}}"#;
        world.plane.must(&["patch", "edep/app", "--namespace", "fleet", "--type=merge", "-p", change]).unwrap();
        world.until("Git's word", || {
            let spec = world.object("edep/app")["spec"].clone();
            if soak() == "1s" && spec.get("suspend").is_none() { Ok(()) } else { Err(spec.to_string()) }
        });
    };
    world.plane.must(&["label", "dev/d-1", "--namespace", "fleet", "owner=bob"]).unwrap();
    others_change_it();
    assert_eq!(world.object("dev/d-1")["metadata"]["labels"]["owner"], "bob");
    let named = "spec.strategy.soak, changed by kubectl-patch";
    world.described("edep/app", &["DriftCorrected", "put back by repository fleet/fleet", named]);
    world.described("erepo/fleet", &["DriftCorrected", "deployment/fleet/app was put back", named]);
    // The same once more is no second event: the one that is there counts it.
    others_change_it();
    world.until("the event being a series", || {
        let field = "--field-selector=regarding.name=app";
        let text = world.plane.must(&["get", "events.events.k8s.io", "--namespace", "fleet", field, "-o", "json"]);
        let events: Value = serde_json::from_str(&text.map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
        let corrected = events["items"].as_array().into_iter().flatten().filter(|event| event["reason"] == "DriftCorrected");
        let counts: Vec<Option<i64>> = corrected.map(|event| event["series"]["count"].as_i64()).collect();
        if matches!(counts[..], [Some(2..)]) { Ok(()) } else { Err(format!("{counts:?} of {events}")) }
    });

    // Nothing is written when nothing changes, also not by a process that begins anew.
    let versions =
        || world.plane.must(&["get", "evenkeel", "--namespace", "fleet", "-o", "jsonpath={.items[*].metadata.resourceVersion}"]).unwrap();
    world.rolled_out("Complete", "2.0-1");
    world.engine.terminate().unwrap();
    let before = versions();
    let asked = world.plane.requests_of("fleet", "evenkeel-repository").unwrap().len();
    assert!(asked >= 6, "four objects, two commits: {asked}");
    world.engine.start().unwrap();
    world.until("all devices looked at again", || match world.engine.text(&["get", "devices"]) {
        Ok(text) if text.matches("Healthy").count() == 3 => Ok(()),
        other => Err(format!("{other:?}")),
    });
    std::thread::sleep(Duration::from_secs(7));
    assert_eq!(versions(), before, "{}", world.engine.tail());
    assert_eq!(world.plane.requests_of("fleet", "evenkeel-repository").unwrap().len(), asked, "an apply of what is there already");

    // A second Repository does not fight over what the first one applies, and a copy of an object is nobody's but its maker's.
    let text = world.plane.must(&["get", "erepo/fleet", "--namespace", "fleet", "-o", "jsonpath={.spec}"]).unwrap();
    let second =
        format!("apiVersion: evenkeel.dev/v1alpha1\nkind: Repository\nmetadata: {{name: second, namespace: fleet}}\nspec: {text}\n");
    world.plane.apply(&second).unwrap();
    world.until("the second one being refused", || {
        let ready = world.object("erepo/second")["status"]["conditions"][0].clone();
        let said = ready["message"].as_str().unwrap_or_default();
        if said.contains("is applied by repository fleet/fleet") { Ok(()) } else { Err(ready.to_string()) }
    });
    world.plane.must(&["delete", "erepo/second", "--namespace", "fleet"]).unwrap();
    let mut copy = world.object("dev/d-1");
    copy["metadata"] = serde_json::json!({"name": "copy", "namespace": "fleet", "annotations": copy["metadata"]["annotations"]});
    copy["spec"]["suspend"] = true.into();
    let made = world.plane.with(&["create"], &copy.to_string()).unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

    // What leaves Git leaves the cluster; the Repository may go, and what it applied stays.
    let gone = world.engine.git(&["rm", "-q", "d-3.yaml"]).and_then(|_| world.engine.commit("x", "", "without d-3")).unwrap();
    world.told(&gone, "Applied", "3 objects");
    world.until("d-3 being gone", || if world.object("dev/d-3") == Value::Null { Ok(()) } else { Err("it is there".into()) });
    world.plane.must(&["delete", "erepo/fleet", "--namespace", "fleet", "--timeout=30s"]).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    assert_ne!(world.object("edep/app"), Value::Null);
    assert_ne!(world.object("dev/copy"), Value::Null);
}

/// What others refer to is applied before them and deleted after them, by the API server's own log.
#[test]
fn what_others_refer_to_comes_first_and_goes_last() {
    let Some(mut world) = world(2, "") else { return };
    let object = |kind: &str, spec: &str| {
        let text = format!("apiVersion: evenkeel.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: it}}\nspec: {spec}\n");
        world.engine.commit(&format!("{kind}.yaml"), &text, kind).unwrap()
    };
    object("DeviceClass", "{labels: {site: ams1}}");
    object("Receiver", "{webhook: {url: 'https://chat.example.com/hook'}}");
    let commit = object("AlertRule", "{expr: logs.errors > 5, severity: warning, notify: {receivers: [it]}}");
    world.engine.start().unwrap();
    world.told(&commit, "Applied", "6 objects");
    // When the first one of a kind was asked for.
    let asked = |verb: &str, kinds: &[&str]| -> Vec<_> {
        let resources = kinds.iter().map(|kind| format!("evenkeel.dev/{kind}"));
        resources.map(|resource| world.plane.span((verb, resource.as_str()), "fleet", Some("evenkeel-repository")).unwrap().0).collect()
    };
    for kinds in [["deviceclasses", "devices", "alertrules", "deployments"], ["receivers", "devices", "alertrules", "deployments"]] {
        let times = asked("patch", &kinds);
        assert!(times.is_sorted(), "{kinds:?} are applied in this order: {times:?}");
    }

    world.rolled_out("Complete", "1.0-1");
    world.engine.git(&["rm", "-q", "DeviceClass.yaml", "Receiver.yaml", "AlertRule.yaml", "app.yaml", "d-2.yaml"]).unwrap();
    let gone = world.engine.commit("x", "", "without all but d-1").unwrap();
    world.told(&gone, "Applied", "1 object");
    for kinds in [["deployments", "alertrules", "devices", "deviceclasses"], ["deployments", "alertrules", "devices", "receivers"]] {
        let times = asked("delete", &kinds);
        assert!(times.is_sorted(), "{kinds:?} go in this order: {times:?}");
    }
}

/// A Repository that waits is ready when what it applied is, and says what it waits for; one that reports drift names the field and who
/// changed it.
#[test]
fn ready_waits_for_what_was_applied_and_drift_is_named() {
    let Some(mut world) = world(2, "  wait: true\n  drift: Report\n") else { return };
    world.engine.start().unwrap();
    let first = world.engine.commit("app.yaml", &app("1.0-1", "  suspend: false\n"), "1.0").unwrap();
    world.told(&first, "Applied", "3 objects");
    world.rolled_out("Complete", "1.0-1");
    let inventory = || world.object("erepo/fleet")["status"]["inventory"].as_str().unwrap_or_default().to_owned();
    let before = inventory();
    assert!(before.starts_with("sha256:") && before.len() == 71, "{before}");

    let bad = world.engine.commit("app.yaml", &app("3.0-1", ""), "3.0").unwrap();
    world.told(&bad, "Progressing", "it waits for deployment/fleet/app");
    world.told(&bad, "HealthCheckFailed", "deployment/fleet/app: RolledBack");
    let said = world.engine.text(&["explain", "repository/fleet/fleet"]).unwrap();
    assert!(said.starts_with("repository/fleet/fleet is HealthCheckFailed") && said.contains(&bad), "{said}");
    let better = world.engine.commit("app.yaml", &app("2.0-1", ""), "2.0").unwrap();
    world.told(&better, "Applied", "3 objects");
    world.rolled_out("Complete", "2.0-1");
    assert_eq!(inventory(), before, "the same objects, whatever they say");

    // What waits for somebody is not waited for for ever.
    world.plane.must(&["patch", "erepo/fleet", "--namespace", "fleet", "--type=merge", "-p", r#"{"spec":{"timeout":"3s"}}"#]).unwrap();
    let asks = world.engine.commit("app.yaml", &app("4.0-1", "  approval: FirstBatch\n"), "4.0, once somebody agrees").unwrap();
    world.told(&asks, "HealthCheckFailed", "not ready after 3 s: deployment/fleet/app (");
    let good = world.engine.commit("app.yaml", &app("2.0-1", ""), "2.0 again").unwrap();
    world.told(&good, "Applied", "3 objects");

    let change = r#"{"spec":{"strategy":{"soak":"7m"}}}"#;
    world.plane.must(&["patch", "edep/app", "--namespace", "fleet", "--type=merge", "-p", change]).unwrap();
    let words = "deployment/fleet/app was changed by somebody else: spec.strategy.soak, changed by kubectl-patch";
    world.told(&good, "Drifted", words);
    world.described("edep/app", &["Drifted", "otherwise than repository fleet/fleet says", "spec.strategy.soak, changed by kubectl-patch"]);
    let said = world.engine.text(&["explain", "repository/fleet/fleet"]).unwrap();
    assert!(said.contains(words), "{said}");
    assert_eq!(world.object("edep/app")["spec"]["strategy"]["soak"], "7m");
    world.engine.git(&["rm", "-q", "d-2.yaml"]).unwrap();
    let gone = world.engine.commit("x", "", "without d-2").unwrap();
    world.told(&gone, "Drifted", "2 objects");
    assert_ne!(inventory(), before);
}

/// What a branch of a Repository would change is shown as a plan, of the whole fleet as the cluster has it, and nothing of it is done.
#[test]
fn what_a_branch_would_change_is_shown() {
    let Some(mut world) = world(3, "  limits: {deletions: 0}\n") else { return };
    world.engine.start().unwrap();
    let commit = world.engine.git(&["rev-parse", "HEAD"]).unwrap();
    world.told(&commit, "Applied", "4 objects");
    world.rolled_out("Complete", "1.0-1");
    let main = world.engine.git(&["branch", "--show-current"]).unwrap();
    world.engine.git(&["checkout", "-q", "-b", "next"]).unwrap();
    world.engine.git(&["rm", "-q", "d-3.yaml"]).unwrap();
    let next = world.engine.commit("app.yaml", &app("2.0-1", ""), "2.0").unwrap();
    world.engine.git(&["checkout", "-q", main.trim()]).unwrap();

    let asked = world.engine.cli(&["plan", "--repository", "fleet/fleet", "--diff", "next"]);
    let said = String::from_utf8_lossy(&asked.stdout).into_owned();
    assert_eq!(asked.status.code(), Some(2), "{said}{}", String::from_utf8_lossy(&asked.stderr));
    assert!(said.contains(&next[..10]), "{said}");
    assert!(said.contains("deletes 1.") && said.contains("- device/fleet/d-3"), "{said}");
    assert!(said.contains("more than 0: it would wait for an annotation"), "beyond the Repository's own limit: {said}");
    assert!(said.contains("1.0-1 -> 2.0-1"), "{said}");
    // What is there is no change.
    let asked = world.engine.cli(&["plan", "--repository", "fleet/fleet", "--diff", main.trim()]);
    assert_eq!(asked.status.code(), Some(0), "{}", String::from_utf8_lossy(&asked.stdout));
    for (arguments, reason) in [
        (&["plan", "--diff", "next"][..], "name a Repository with --repository"),
        (&["plan", "--repository", "fleet/other", "--diff", "next"], "repository/fleet/other is not followed here"),
        (&["plan", "--repository", "fleet/fleet", "--diff", "no-such-branch"], "no-such-branch"),
    ] {
        let asked = world.engine.cli(arguments);
        let said = String::from_utf8_lossy(&asked.stderr).into_owned();
        assert!(!asked.status.success() && said.contains(reason), "{arguments:?}: {said}");
    }
    // A branch that takes a label away takes its device out of the Deployment; what others have labelled stays with it.
    world.plane.must(&["label", "dev/d-2", "--namespace", "fleet", "owner=bob"]).unwrap();
    world.engine.git(&["checkout", "-q", "-b", "bare"]).unwrap();
    let text = std::fs::read_to_string(world.engine.fleet.join("d-1.yaml")).unwrap();
    world.engine.commit("d-1.yaml", &text.replace("role: app", "site: ams"), "bare").unwrap();
    world.engine.git(&["checkout", "-q", main.trim()]).unwrap();
    let said = String::from_utf8_lossy(&world.engine.cli(&["plan", "--repository", "fleet/fleet", "--diff", "bare"]).stdout).into_owned();
    assert!(said.contains("fleet/d-1 is no longer selected") && !said.contains("d-2"), "{said}");

    // Nothing of all that is done, also not by the next look.
    world.plane.must(&["annotate", "erepo/fleet", "--namespace", "fleet", "evenkeel.dev/requested-at=now"]).unwrap();
    world.until("the next look", || {
        let status = world.object("erepo/fleet")["status"].clone();
        if status["lastHandledRequestAt"] == "now" { Ok(()) } else { Err(status.to_string()) }
    });
    world.told(&commit, "Applied", "4 objects");
    assert_eq!(world.object("dev/d-3")["metadata"]["name"], "d-3");
    assert_eq!(world.object("dev/d-1")["metadata"]["labels"]["role"], "app");
    assert_eq!(world.object("edep/app")["spec"]["package"]["apt"]["version"], "1.0-1");
}

/// Who may not act for the account of a Repository applies nothing, and says so.
#[test]
fn without_the_right_to_act_for_its_account_nothing_is_applied() {
    let Some(mut world) = world(1, "") else { return };
    world.plane.denials_are_meant("*");
    world.plane.must(&["patch", "clusterrole", "evenkeel-repository", "--type=merge", "-p", r#"{"rules": []}"#]).unwrap();
    world.engine.start().unwrap();
    let commit = world.engine.git(&["rev-parse", "HEAD"]).unwrap();
    world.told(&commit, "Refused", "cannot patch resource");
    world.plane.must(&["delete", "role", "evenkeel-act-for-evenkeel-repository", "--namespace", "fleet"]).unwrap();
    world.told(&commit, "Refused", "may not act for that account (chart value `repositories`)");
    world.told(&commit, "Refused", "cannot impersonate");
    assert!(world.object("dev/d-1").is_null());
}

/// A repository does no more than it may: a broken file stalls itself, limits hold a commit, and other namespaces and managers are left alone.
#[test]
fn a_repository_does_no_more_than_it_may() {
    let Some(mut world) = world(3, "  limits: {deletions: 0}\n") else { return };
    world.engine.start().unwrap();
    let commit = world.engine.git(&["rev-parse", "HEAD"]).unwrap();
    world.told(commit.trim(), "Applied", "");
    let first = world.engine.commit("app.yaml", &app("1.0-1", ""), "begin").unwrap_or(commit);
    world.told(first.trim(), "Applied", "4 objects");

    // A broken file is told with its place, its object stays, and nothing is pruned; the rest comes.
    let broken = "apiVersion: evenkeel.dev/v1alpha1\nkind: Device\nmetadata: {name: d-2}\nspec: {type: Server, adress: 10.0.0.2}\n";
    world.engine.commit("d-2.yaml", broken, "broken").unwrap();
    let commit = world.engine.commit("app.yaml", &app("2.0-1", ""), "2.0").unwrap();
    world.told(&commit, "InvalidManifest", "d-2.yaml:4");
    world.rolled_out("Complete", "2.0-1");
    assert_eq!(world.object("dev/d-2")["spec"]["type"], "Server");

    // Beyond its limits a commit waits, and says how it is let through.
    world.engine.git(&["rm", "-q", "-f", "d-2.yaml", "d-3.yaml"]).unwrap();
    let commit = world.engine.commit("x", "", "without two").unwrap();
    world.told(&commit, "WaitsForApproval", "deletes 2 devices, more than 0");
    let said = world.object("erepo/fleet")["status"]["conditions"][0]["message"].as_str().unwrap_or_default().to_owned();
    assert_ne!(world.object("dev/d-3"), Value::Null);
    let approve = said.split("evenkeel.dev/approve=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    let approve = format!("evenkeel.dev/approve={approve}");
    world.plane.must(&["annotate", "erepo/fleet", "--namespace", "fleet", "--overwrite", &approve]).unwrap();
    world.told(&commit, "Applied", "2 objects");
    world.until("two being gone", || if world.object("dev/d-3") == Value::Null { Ok(()) } else { Err("it is there".into()) });

    // Another folder may have none of what is there: that is no commit that deletes, and is held all the same.
    std::fs::create_dir(world.engine.fleet.join("sub")).unwrap();
    let class = "apiVersion: evenkeel.dev/v1alpha1\nkind: DeviceClass\nmetadata: {name: c}\nspec: {}\n";
    let commit = world.engine.commit("sub/class.yaml", class, "a class").unwrap();
    world.told(&commit, "Applied", "3 objects");
    let path = |path: &str| format!(r#"{{"spec":{{"path":{path}}}}}"#);
    let patch = |what: &str| world.plane.must(&["patch", "erepo/fleet", "--namespace", "fleet", "--type=merge", "-p", what]).unwrap();
    patch(&path(r#""sub""#));
    world.told(&commit, "WaitsForApproval", "deletes device/fleet/d-1, more than 0");
    patch(&path("null"));
    world.told(&commit, "Applied", "3 objects");
    assert_ne!(world.object("dev/d-1"), Value::Null);

    // Another namespace is not its own, another manager's fields neither, and kinds of others are not applied at all.
    let elsewhere = "apiVersion: evenkeel.dev/v1alpha1\nkind: DeviceClass\nmetadata: {name: elsewhere, namespace: default}\nspec: {}\n";
    let commit = world.engine.commit("elsewhere.yaml", elsewhere, "elsewhere").unwrap();
    world.told(&commit, "Refused", "may not apply it");
    assert!(!world.plane.kubectl(&["get", "dclass", "elsewhere"]).unwrap().status.success());
    // Nor does it lift its own limits; and where something was refused, nothing goes that it may have been to replace.
    let own = "apiVersion: evenkeel.dev/v1alpha1\nkind: Repository\nmetadata: {name: fleet}\nspec: {url: 'https://evil.example.com/x'}\n";
    world.engine.git(&["rm", "-q", "sub/class.yaml"]).unwrap();
    let commit = world.engine.commit("own.yaml", own, "its own").unwrap();
    world.told(&commit, "Refused", "may not apply it");
    assert_ne!(world.object("dclass/c"), Value::Null);
    world.engine.git(&["rm", "-q", "elsewhere.yaml"]).unwrap();
    let commit = world.engine.commit("x", "1", "not elsewhere").unwrap();
    world.told(&commit, "Applied", "does not apply itself");
    assert!(!world.object("erepo/fleet")["spec"]["url"].to_string().contains("evil"));
    world.until("the class being gone", || if world.object("dclass/c") == Value::Null { Ok(()) } else { Err("it is there".into()) });
    let class = |every: &str| {
        format!(
            "apiVersion: evenkeel.dev/v1alpha1\nkind: DeviceClass\nmetadata: {{name: theirs, namespace: fleet}}\nspec: {{labels: {{every: {every}}}}}\n"
        )
    };
    let flux = world.plane.with(&["apply", "--server-side", "--field-manager=flux"], &class("30s")).unwrap();
    assert!(flux.status.success(), "{}", String::from_utf8_lossy(&flux.stderr));
    world.engine.commit("theirs.yaml", &class("60s"), "theirs").unwrap();
    let other = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm}\ndata: {}\n";
    let commit = world.engine.commit("cm.yaml", other, "a ConfigMap").unwrap();
    world.told(&commit, "Refused", "flux");
    assert_eq!(world.object("dclass/theirs")["spec"]["labels"]["every"], "30s");
    assert!(!world.plane.kubectl(&["get", "cm/cm", "--namespace", "fleet"]).unwrap().status.success());

    let conditions = world.object("erepo/fleet")["status"]["conditions"].to_string();
    assert!(conditions.contains(r#""type":"Stalled""#), "kstatus: it does not go on by itself: {conditions}");

    // How many devices a commit may touch is of those in the cluster: it may have none of them itself.
    patch(r#"{"spec":{"limits":{"deletions":5}}}"#);
    world.engine.git(&["rm", "-q", "theirs.yaml", "cm.yaml", "own.yaml", "d-1.yaml"]).unwrap();
    let commit = world.engine.commit("x", "2", "no devices").unwrap();
    world.told(&commit, "Applied", "1 object");
    for number in 1..=2 {
        let device = format!(
            "apiVersion: evenkeel.dev/v1alpha1\nkind: Device\nmetadata: {{name: k-{number}, namespace: fleet, labels: {{role: app}}}}\nspec: {{type: Server, address: 192.0.2.{number}}}\n"
        );
        world.plane.apply(&device).unwrap();
    }
    patch(r#"{"spec":{"limits":{"devices":"10%"}}}"#);
    let commit = world.engine.commit("app.yaml", &app("3.0-1", ""), "3.0").unwrap();
    world.told(&commit, "WaitsForApproval", "touches 2 of 2 devices, more than 1");

    // It may go to no place on the operator's own disk.
    world.plane.must(&["patch", "erepo/fleet", "--namespace", "fleet", "--type=merge", "-p", r#"{"spec":{"url":"/etc"}}"#]).unwrap();
    world.told("", "Invalid", "spec.url: a path");
    patch(r#"{"spec":{"url":"http://127.0.0.1:8080/x"}}"#);
    world.told("", "Invalid", "plain HTTP");

    // What was fetched for it goes with it.
    let caches = || std::fs::read_dir(world.engine.data.join("repositories")).map_or(0, Iterator::count);
    assert_eq!(caches(), 1);
    world.plane.must(&["delete", "erepo", "fleet", "--namespace", "fleet"]).unwrap();
    world.until("its cache being gone", || if caches() == 0 { Ok(()) } else { Err(format!("{} are there", caches())) });
}
