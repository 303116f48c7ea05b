//! Real Debian machines behind a real API server, driven by Git and watched by kubectl alone.

#[path = "../../../crates/manifests/tests/common/sshd.rs"]
#[allow(dead_code, reason = "shared with others")]
mod sshd;

use std::path::PathBuf;
use std::process::Command;

use e2e::control_plane::{ControlPlane, programs};
use e2e::engine::Engine;
use e2e::fleet::{LIMIT, NAMESPACE};
use e2e::machine::{Block, Machine};
use e2e::packages::Repository;
use e2e::{rootfs, run, unavailable, wait_until};

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
    machines: Vec<Machine>,
    _block: Block,
    _folder: tempfile::TempDir,
}

/// A namespace `fleet` with a Repository of machines, and the chart's own rights for whoever acts.
fn world(count: u8) -> Option<World> {
    if let Some(why) = unavailable().or_else(programs::unavailable) {
        assert!(std::env::var("CI").is_err(), "in CI nothing may be skipped: {why}");
        eprintln!("SKIPPED: {why}");
        return None;
    }
    let git = sshd::Server::start()?;
    let folder = tempfile::Builder::new().prefix("evenkeel-e2e-").tempdir().unwrap();
    let key = folder.path().join("key");
    run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key)).unwrap();
    let root = rootfs::ensure().unwrap();
    let packages = Repository::make(folder.path()).unwrap();
    let block = Block::take().unwrap();
    let boot =
        |number| Machine::boot(&format!("web-{number}"), &block.address(number), folder.path(), &root, &packages.folder, &key).unwrap();
    let machines: Vec<Machine> = (1..=count).map(boot).collect();
    for machine in &machines {
        machine.exec("apt-get -q update").unwrap();
    }
    let plane = ControlPlane::start().unwrap();
    plane.must(&["create", "namespace", "fleet"]).unwrap();
    let values = ["secrets[0].namespace=fleet", "secrets[0].names={fleet-key,git}", "repositories[0].namespace=fleet"];
    plane.install_chart("evenkeel", NAMESPACE, &values).unwrap();
    let of = |name: &str, values: &[String]| {
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        plane.must(&[&["create", "secret", "generic", name, "--namespace", "fleet"], values.as_slice()].concat()).unwrap();
    };
    of("fleet-key", &[format!("--from-file=ssh-privatekey={}", key.display())]);
    of(
        "git",
        &[format!("--from-literal=ssh-privatekey={}", git.key("client")), format!("--from-literal=known_hosts={}", git.known("host"))],
    );
    let mut engine = Engine::new(folder.path(), &key).unwrap();
    engine.kubeconfig = Some(plane.service_account(NAMESPACE, "evenkeel").unwrap());
    engine.write_devices(&machines).unwrap();
    engine.deploy("1.0-1", "").unwrap();
    let (url, branch) = (git.url(&engine.fleet), engine.git(&["branch", "--show-current"]).unwrap());
    let repository = format!(
        "apiVersion: evenkeel.dev/v1alpha1\nkind: Repository\nmetadata: {{name: fleet, namespace: fleet}}\nspec: {{url: '{url}', ref: {{branch: {}}}, interval: 5s, secretRef: {{name: git}}}}\n",
        branch.trim()
    );
    plane.apply(&repository).unwrap();
    Some(World { engine, plane, _git: git, machines, _block: block, _folder: folder })
}

impl World {
    /// kubectl in the namespace; it has to succeed.
    fn kubectl(&self, arguments: &[&str]) -> String {
        let said = self.plane.must(&[&["--namespace", "fleet"], arguments].concat());
        said.unwrap_or_else(|error| panic!("{error}\n{}", self.engine.tail()))
    }

    /// Waits until a commit was applied: from then on `kubectl wait` says how it goes, since it looks at the generation.
    fn applied(&self, commit: &str) {
        self.kubectl(&["wait", "--timeout=120s", &format!("--for=jsonpath={{.status.revision}}={commit}"), "erepo/fleet"]);
    }

    fn versions(&self) -> Vec<String> {
        self.machines.iter().map(|machine| machine.version("hello-keel")).collect()
    }
}

/// A version spreads by a commit, the next one too, and one that fails its probe is taken back.
#[test]
fn commits_reach_machines_and_come_back() {
    let Some(mut world) = world(3) else { return };
    world.engine.start().unwrap();
    let commit = world.engine.git(&["rev-parse", "HEAD"]).unwrap();
    world.applied(commit.trim());
    let ready = ["wait", "--timeout=180s", "--for=condition=Ready"];
    world.kubectl(&[&ready[..], &["erepo/fleet", "edep/hello", "dev/web-1", "dev/web-2", "dev/web-3"]].concat());
    assert_eq!(world.versions(), ["1.0-1"; 3]);

    let commit = world.engine.deploy("2.0-1", "").unwrap();
    world.applied(&commit);
    world.kubectl(&[&ready[..], &["edep/hello"]].concat());
    assert_eq!(world.versions(), ["2.0-1"; 3]);
    // A device says it a moment later.
    let table = || world.kubectl(&["get", "evenkeel"]);
    wait_until("the devices being up to date", LIMIT, || {
        let table = table();
        if table.matches("UpToDate").count() == 3 { Ok(()) } else { Err(table) }
    })
    .unwrap();
    println!("{}", table());

    // Its service dies some seconds after its start: the canary's probe sees it, and nobody else gets it.
    let commit = world.engine.deploy("3.0-1", "").unwrap();
    world.applied(&commit);
    world.kubectl(&["wait", "--timeout=180s", "--for=jsonpath={.status.phase}=RolledBack", "edep/hello"]);
    let stalled = world.kubectl(&["wait", "--timeout=60s", "--for=condition=Stalled", "edep/hello"]);
    assert!(stalled.contains("condition met"), "{stalled}");
    assert_eq!(world.versions(), ["2.0-1"; 3]);
    let had: Vec<&Machine> =
        world.machines.iter().filter(|machine| machine.exec("grep -q 'hello-keel:all .*3.0-1' /var/log/dpkg.log").is_ok()).collect();
    assert_eq!(had.len(), 1, "only the canary ever had it");
    let told = world.kubectl(&["describe", "edep", "hello"]);
    assert!(told.contains("RollingBack") && told.contains("RolledBack"), "{told}");
    println!("{}", world.kubectl(&["get", "edep,dev"]));

    // What Git says next goes out again.
    let commit = world.engine.deploy("7.0-1", "").unwrap();
    world.applied(&commit);
    world.kubectl(&[&ready[..], &["edep/hello"]].concat());
    assert_eq!(world.versions(), ["7.0-1"; 3]);
}
