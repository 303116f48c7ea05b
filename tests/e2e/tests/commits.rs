//! Role on commits: a real OpenSSH server with a repository of signed commits, a real API server, the chart's own rights.

#[path = "../../../crates/manifests/tests/common/sshd.rs"]
#[allow(dead_code, reason = "shared with others")]
mod sshd;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use e2e::control_plane::{ControlPlane, programs};
use e2e::engine::Engine;
use e2e::wait_until;
use serde_json::Value;

const NAMESPACE: &str = "evenkeel-system";

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
    _git: sshd::Server,
    folder: tempfile::TempDir,
}

fn device(name: &str, site: &str, more: &str) -> String {
    format!(
        "apiVersion: evenkeel.dev/v1alpha1\nkind: Device\nmetadata: {{name: {name}, labels: {{site: {site}}}}}\nspec: {{type: Server, address: 10.0.0.1{more}}}\n"
    )
}

fn role(name: &str, key: &str, devices: &str) -> String {
    format!(
        "apiVersion: evenkeel.dev/v1alpha1\nkind: Role\nmetadata: {{name: {name}, namespace: fleet}}\nspec:\n  subjects: [{{signer: '{key}'}}]\n  allow: [{{verbs: [edit]{devices}}}]\n"
    )
}

/// Ann may edit everything, Eve the devices of site `ams`.
fn world() -> Option<World> {
    if let Some(why) = programs::unavailable() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{why}, and in CI nothing is skipped");
        eprintln!("SKIPPED: {why}");
        return None;
    }
    let git = sshd::Server::start()?;
    let binary = std::env::var("EVENKEEL_BIN").expect("EVENKEEL_BIN names no evenkeel: run the tests by `cargo xtask test`");
    let folder = tempfile::tempdir().unwrap();
    for name in ["ann", "eve", "device"] {
        let path = folder.path().join(name);
        let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(&path).status().unwrap();
        assert!(made.success());
    }
    let plane = ControlPlane::start().unwrap();
    plane.must(&["create", "namespace", "fleet"]).unwrap();
    let values = ["secrets[0].namespace=fleet", "secrets[0].names={git,keys}", "repositories[0].namespace=fleet"];
    plane.install_chart("evenkeel", NAMESPACE, &values).unwrap();
    let (key, known) =
        (format!("--from-literal=ssh-privatekey={}", git.key("client")), format!("--from-literal=known_hosts={}", git.known("host")));
    plane.must(&["create", "secret", "generic", "git", "--namespace", "fleet", &key, &known]).unwrap();
    let keys = ["ann", "eve"].map(|name| format!("--from-file={}", folder.path().join(format!("{name}.pub")).display()));
    plane.must(&["create", "secret", "generic", "keys", "--namespace", "fleet", &keys[0], &keys[1]]).unwrap();
    let mut engine = Engine::with(Path::new(&binary), folder.path(), &folder.path().join("device")).unwrap();
    engine.kubeconfig = Some(plane.service_account(NAMESPACE, "evenkeel").unwrap());
    let world = World { engine, plane, _git: git, folder };
    world.plane.apply(&role("ann", &world.key("ann"), "")).unwrap();
    world.plane.apply(&role("eve", &world.key("eve"), ", kinds: [Device], devices: {matchLabels: {site: ams}}")).unwrap();
    world.commit(
        "ann",
        "begin",
        &[("web-ams.yaml", Some(device("web-ams", "ams", ""))), ("web-fra.yaml", Some(device("web-fra", "fra", "")))],
    );
    let branch = world.engine.git(&["branch", "--show-current"]).unwrap();
    let repository = format!(
        "apiVersion: evenkeel.dev/v1alpha1\nkind: Repository\nmetadata: {{name: fleet, namespace: fleet}}\nspec:\n  url: {}\n  ref: {{branch: {}}}\n  interval: 5s\n  secretRef: {{name: git}}\n  verify: {{mode: Ancestors, secretRef: {{name: keys}}, roles: true}}\n",
        world._git.url(&world.engine.fleet),
        branch.trim()
    );
    world.plane.apply(&repository).unwrap();
    Some(world)
}

impl World {
    /// Somebody's public key, without its comment.
    fn key(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.folder.path().join(format!("{name}.pub"))).unwrap();
        text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    }

    /// Commits files, or without them, signed by somebody.
    fn commit(&self, by: &str, message: &str, files: &[(&str, Option<String>)]) -> String {
        for (file, text) in files {
            let path = self.engine.fleet.join(file);
            match text {
                Some(text) => std::fs::write(path, text).unwrap(),
                None => std::fs::remove_file(path).unwrap(),
            }
        }
        let key = format!("user.signingKey={}", self.folder.path().join(by).display());
        self.engine.git(&["add", "-A"]).unwrap();
        self.engine.git(&["-c", "gpg.format=ssh", "-c", &key, "commit", "-q", "-S", "-m", message]).unwrap();
        self.engine.git(&["rev-parse", "HEAD"]).unwrap().trim().to_owned()
    }

    fn object(&self, what: &str) -> Value {
        let text = self.plane.kubectl(&["get", what, "--namespace", "fleet", "-o", "json"]).unwrap().stdout;
        serde_json::from_slice(&text).unwrap_or_default()
    }

    fn until(&self, what: &str, look: impl FnMut() -> Result<(), String>) {
        wait_until(what, Duration::from_secs(60), look).unwrap_or_else(|error| panic!("{error}\n{}", self.engine.tail()));
    }

    /// Waits until the Repository says this of this commit, and gives back what it says.
    fn told(&self, commit: &str, reason: &str, words: &[&str]) -> String {
        let mut said = String::new();
        self.until(&format!("{reason} with {words:?}"), || {
            let object = self.object("erepo/fleet");
            let ready = object["status"]["conditions"].as_array().and_then(|all| all.iter().find(|of| of["type"] == "Ready")).cloned();
            let ready = ready.unwrap_or_default();
            ready["message"].as_str().unwrap_or_default().clone_into(&mut said);
            let there = ready["reason"] == reason && said.contains(&commit[..12]) && words.iter().all(|word| said.contains(word));
            if there { Ok(()) } else { Err(object["status"].to_string()) }
        });
        said
    }
}

/// Of a commit that changes more than its signer may, the rest is left as it was and told with signer, rule, file and line; also by the next
/// process, and whoever else commits something else. A Role lets it through, and not one of the same hand.
#[test]
fn a_commit_changes_what_its_signer_may() {
    let Some(mut world) = world() else { return };
    world.engine.start().unwrap();
    let begin = world.engine.git(&["rev-parse", "HEAD"]).unwrap();
    world.told(begin.trim(), "Applied", &["2 objects"]);
    let status = world.object("erepo/fleet")["status"].clone();
    assert!(status["signer"].as_str().is_some_and(|signer| signer.starts_with("ann SHA256:")), "{status}");

    let changed = |name: &str, site: &str| Some(device(name, site, ", suspend: true"));
    let own = Some(role("more", &world.key("eve"), ""));
    let files = [("web-ams.yaml", changed("web-ams", "ams")), ("web-fra.yaml", changed("web-fra", "fra")), ("more.yaml", own)];
    let commit = world.commit("eve", "more than she may", &files);
    let why = "web-fra.yaml:3: eve SHA256:";
    let rule =
        "may not change device/fleet/web-fra: as it is: role/fleet/eve spec.allow[0].devices: device/fleet/web-fra is not among them";
    let role_denied = "may not make role/fleet/more: role/fleet/eve: nothing there allows to edit a Role";
    world.told(&commit, "Denied", &[why, &format!("(commit {})", &commit[..12]), rule, "more.yaml:3", role_denied, "the rest is applied"]);
    let is_suspended = |name: &str| world.object(&format!("dev/{name}"))["spec"]["suspend"] == true;
    assert!(is_suspended("web-ams") && !is_suspended("web-fra"));
    assert_eq!(world.object("erole/more"), Value::Null);
    assert_eq!(world.object("erepo/fleet")["status"]["revision"], commit.as_str(), "the last one that was judged");

    // While that is denied, what came in force beside it is not undone by whoever may not change it.
    world.commit("ann", "beside", &[("beside.yaml", Some(device("beside", "fra", "")))]);
    world.until("beside being there", || if world.object("dev/beside") == Value::Null { Err("gone".into()) } else { Ok(()) });
    let commit = world.commit("eve", "without it", &[("beside.yaml", None)]);
    world.told(
        &commit,
        "Denied",
        &["beside.yaml: eve SHA256:", "may not delete device/fleet/beside", "web-fra.yaml:3: eve", "more.yaml:3"],
    );
    assert_ne!(world.object("dev/beside"), Value::Null);
    let commit = world.commit("ann", "without it", &[("beside.yaml", Some(device("beside", "fra", "")))]);
    let said = world.told(&commit, "Denied", &["web-fra.yaml:3: eve", "more.yaml:3"]);
    assert!(!said.contains("beside"), "{said}");
    world.commit("ann", "no more", &[("beside.yaml", None)]);
    world.until("beside being gone", || if world.object("dev/beside") == Value::Null { Ok(()) } else { Err("there".into()) });

    // Neither does she move a device to where she may, nor delete it, nor is it forgotten when another process begins, which does not know
    // who answered.
    let commit = world.commit("eve", "mine now", &[("web-fra.yaml", Some(device("web-fra", "ams", "")))]);
    world.told(&commit, "Denied", &["may not change device/fleet/web-fra: as it is"]);
    let commit = world.commit("eve", "without", &[("web-fra.yaml", None)]);
    world.told(&commit, "Denied", &["web-fra.yaml: eve SHA256:", "may not delete device/fleet/web-fra"]);
    world.engine.terminate().unwrap();
    world.engine.start().unwrap();
    let nobody = ["nobody answers for what became of device/fleet/web-fra", "nobody answers for what became of role/fleet/more"];
    world.told(&commit, "Denied", &nobody);
    let class = "apiVersion: evenkeel.dev/v1alpha1\nkind: DeviceClass\nmetadata: {name: c}\nspec: {}\n";
    let commit = world.commit("ann", "something else", &[("class.yaml", Some(class.to_owned()))]);
    world.told(&commit, "Denied", &nobody);
    assert_ne!(world.object("dclass/c"), Value::Null);
    assert_eq!(world.object("dev/web-fra")["metadata"]["labels"]["site"], "fra");
    assert_eq!(world.object("erole/more"), Value::Null);

    // Whoever may answers for what they touch; and a Role that is given to her elsewhere lets the rest through.
    let commit = world.commit("ann", "no", &[("more.yaml", None), ("web-fra.yaml", Some(device("web-fra", "fra", "")))]);
    world.told(&commit, "Applied", &["3 objects"]);
    let commit = world.commit("eve", "without", &[("web-fra.yaml", None)]);
    let said = world.told(&commit, "Denied", &["may not delete device/fleet/web-fra"]);
    assert!(!said.contains("role/fleet/more"), "{said}");
    world.plane.apply(&role("fra", &world.key("eve"), ", kinds: [Device], devices: {matchLabels: {site: fra}}")).unwrap();
    world.told(&commit, "Applied", &["2 objects"]);
    world.until("web-fra being gone", || if world.object("dev/web-fra") == Value::Null { Ok(()) } else { Err("there".into()) });
    assert_eq!(world.object("erepo/fleet")["status"]["revision"], commit.as_str());

    // Whoever sets the branch back to what was signed once has signed nothing by that: a person lets it through, and then its signer answers.
    world.engine.git(&["reset", "-q", "--hard", "HEAD~1"]).unwrap();
    let back = world.engine.git(&["rev-parse", "HEAD"]).unwrap();
    let said = world.told(back.trim(), "WaitsForApproval", &[&format!("does not follow commit {commit}, which was judged last")]);
    assert_eq!(world.object("dev/web-fra"), Value::Null);
    assert_eq!(world.object("erepo/fleet")["status"]["revision"], commit.as_str());
    let id = said.split_once("approve=").and_then(|(_, id)| id.split(' ').next()).unwrap();
    world.plane.must(&["annotate", "erepo", "fleet", "--namespace", "fleet", &format!("evenkeel.dev/approve={id}")]).unwrap();
    world.told(back.trim(), "Applied", &["3 objects"]);
    assert_ne!(world.object("dev/web-fra"), Value::Null);

    // One commit that nobody signed keeps all that came with it away.
    world.engine.commit("x.yaml", &device("x", "ams", ""), "not signed").unwrap();
    let unsigned = world.engine.git(&["rev-parse", "HEAD"]).unwrap();
    world.commit("ann", "signed", &[("y.yaml", Some(device("y", "ams", "")))]);
    world.told(unsigned.trim(), "GitFailed", &["is not applied: it is not signed"]);
    assert_eq!(world.object("dev/y"), Value::Null);
}
