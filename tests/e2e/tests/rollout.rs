//! The main job on real Debian machines: from a commit to a package, and back when it hurts.

use std::time::Duration;

use e2e::engine::Engine;
use e2e::machine::{Block, Machine};
use e2e::packages::Repository;
use e2e::{rootfs, run, unavailable, wait_until};

struct World {
    // Dropped in this order: the engine, the machines, and then what they lie on.
    engine: Engine,
    machines: Vec<Machine>,
    repository: Repository,
    _block: Block,
    _folder: tempfile::TempDir,
}

/// Machines and an engine on them; `None`, said loudly, where that can't be had.
fn world(count: u8) -> Option<World> {
    if let Some(why) = unavailable() {
        assert!(std::env::var("CI").is_err(), "in CI nothing may be skipped: {why}");
        eprintln!("SKIPPED: {why}");
        return None;
    }
    let folder = tempfile::Builder::new().prefix("evenkeel-e2e-").tempdir().unwrap();
    let key = folder.path().join("key");
    run(std::process::Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key)).unwrap();
    let root = rootfs::ensure().unwrap();
    let repository = Repository::make(folder.path()).unwrap();
    let block = Block::take().unwrap();
    let boot =
        |number| Machine::boot(&format!("web-{number}"), &block.address(number), folder.path(), &root, &repository.folder, &key).unwrap();
    let machines: Vec<Machine> = (1..=count).map(boot).collect();
    for machine in &machines {
        machine.exec("apt-get -q update").unwrap();
    }
    let engine = Engine::new(folder.path(), &key).unwrap();
    engine.write_devices(&machines).unwrap();
    Some(World { engine, machines, repository, _block: block, _folder: folder })
}

impl World {
    fn versions(&self) -> Vec<String> {
        self.machines.iter().map(|machine| machine.version("hello-keel")).collect()
    }
}

/// v1 fresh on five machines in three batches; v2 good; v3 whose service dies; v4 whose maintainer script fails; undo; and a log
/// of it all that is proven.
#[test]
fn releases_good_and_bad() {
    let Some(mut world) = world(5) else { return };
    let engine = &mut world.engine;
    engine.deploy("1.0-1", "").unwrap();
    engine.start().unwrap();
    engine.wait("Complete", "1.0-1", 5, 180).unwrap();
    let history = engine.text(&["audit", "list", "--limit", "1000", "-o", "json"]).unwrap();
    assert_eq!(history.matches("\"verb\": \"open-batch\"").count(), 3, "three batches");

    engine.deploy("2.0-1", "").unwrap();
    engine.wait("Complete", "2.0-1", 5, 180).unwrap();

    // Its service dies five seconds after its start: seen at the canary, taken back, and remembered.
    engine.deploy("3.0-1", "").unwrap();
    engine.wait("RolledBack", "3.0-1", 5, 180).unwrap();
    assert_eq!(world.versions(), vec!["2.0-1"; 5]);
    let listed = world.engine.text(&["audit", "list", "--limit", "1000", "-o", "json"]).unwrap();
    let entries: Vec<serde_json::Value> = serde_json::from_str(&listed).unwrap();
    let touched = |version: &str| {
        entries
            .iter()
            .filter(|entry| {
                entry["verb"] == "apply" && entry["outcome"] == "begun" && entry["changes"].to_string().contains(&format!("-> {version}"))
            })
            .count()
    };
    assert_eq!(touched("3.0-1"), 1, "only the canary ever had it");
    std::thread::sleep(Duration::from_secs(8));
    assert_eq!(world.engine.status()["phase"], "RolledBack", "not tried again until Git changes");

    // Its maintainer script fails: the package's own words are in the log, and the set goes back together.
    world.engine.deploy("4.0-1", "").unwrap();
    world.engine.wait("RolledBack", "4.0-1", 5, 180).unwrap();
    assert_eq!(world.versions(), vec!["2.0-1"; 5]);
    assert!(world.machines.iter().all(|machine| machine.version("hello-keel-lib") == "2.0-1"));
    assert!(world.engine.text(&["audit", "list", "--limit", "100", "-o", "json"]).unwrap().contains("the schema is too old, giving up"));

    // By hand, to the first revision; it stays there.
    world.engine.text(&["rollout", "undo", "hello", "--to-revision", "1"]).unwrap();
    world.engine.wait("RolledBack", "4.0-1", 5, 180).unwrap();
    wait_until("1.0-1 everywhere", Duration::from_secs(120), || {
        let versions = world.versions();
        if versions == vec!["1.0-1"; 5] { Ok(()) } else { Err(format!("{versions:?}")) }
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", world.engine.tail()));

    let export = world.engine.data.join("export.jsonl");
    world.engine.text(&["audit", "export", "--file", export.to_str().unwrap()]).unwrap();
    let key = world.engine.data.join("audit.pub");
    let binary = std::env::var("EVENKEEL_BIN").unwrap();
    let verify = || std::process::Command::new(&binary).args(["audit", "verify"]).arg(&export).arg("--key").arg(&key).output().unwrap();
    assert!(verify().status.success(), "{}", String::from_utf8_lossy(&verify().stderr));
    let text = std::fs::read_to_string(&export).unwrap();
    std::fs::write(&export, text.replacen("web-2", "web-3", 1)).unwrap();
    let forged = verify();
    assert!(!forged.status.success() && String::from_utf8_lossy(&forged.stderr).contains("was changed"));
    assert!(world.engine.terminate().unwrap() < Duration::from_secs(10));
}

/// The engine is killed again and again, a connection is cut in the middle of an installation, a machine is off and catches up,
/// a lock is held, drift is corrected, a changed host key is refused.
#[test]
fn things_that_go_wrong() {
    let Some(mut world) = world(3) else { return };
    world.engine.deploy("1.0-1", "").unwrap();
    world.engine.start().unwrap();
    // Killed in every phase: each time it goes on where it was.
    for _ in 0..6 {
        std::thread::sleep(Duration::from_millis(1300));
        world.engine.kill().unwrap();
        world.engine.start().unwrap();
    }
    world.engine.wait("Complete", "1.0-1", 3, 240).unwrap();
    for machine in &world.machines {
        let installed = machine.exec("grep -c ' install hello-keel:all ' /var/log/dpkg.log").unwrap();
        assert_eq!(installed.trim(), "1", "{} was installed once", machine.name);
    }

    // A machine is off during two releases, and catches up to the newest only.
    world.machines[2].power_off().unwrap();
    wait_until("web-3 being missed", Duration::from_secs(60), || match world.engine.text(&["explain", "device/web-3"]) {
        Ok(text) if text.contains("Unreachable") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .unwrap();
    world.engine.deploy("2.0-1", "").unwrap();
    world.engine.wait("Complete", "2.0-1", 2, 180).unwrap();

    // The connections are cut, and then the engine is killed, in the middle of an installation that takes ten seconds.
    world.engine.deploy("6.0-1", "").unwrap();
    wait_until("an installation", Duration::from_secs(60), || match world.machines[0].exec("pgrep -f hello-keel.postinst") {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    })
    .unwrap();
    world.machines[0].cut_connections();
    std::thread::sleep(Duration::from_secs(1));
    world.engine.kill().unwrap();
    world.engine.start().unwrap();
    world.engine.wait("Complete", "6.0-1", 2, 180).unwrap();
    world.machines[2].power_on().unwrap();
    world.engine.wait("Complete", "6.0-1", 3, 180).unwrap();
    let log = world.machines[2].exec("cat /var/log/dpkg.log").unwrap();
    let ours: Vec<&str> = log.lines().filter(|line| line.contains(" hello-keel")).collect();
    assert!(ours.iter().all(|line| !line.contains(" 2.0-1")), "it saw the release that it missed: {ours:#?}");

    // Somebody else holds the lock for twenty seconds, and a configuration file was changed by hand: it stays.
    world.machines[0].exec("echo 'greeting = mine' > /etc/hello-keel/hello.conf").unwrap();
    world.machines[0].exec("(setsid flock /var/lib/dpkg/lock-frontend sleep 20 </dev/null >/dev/null 2>&1 &) ; true").unwrap();
    world.engine.deploy("7.0-1", "").unwrap();
    world.engine.wait("Complete", "7.0-1", 3, 240).unwrap();
    assert_eq!(world.machines[0].exec("cat /etc/hello-keel/hello.conf").unwrap().trim(), "greeting = mine");
    assert_eq!(world.machines[1].exec("cat /etc/hello-keel/hello.conf").unwrap().trim(), "greeting = good day");

    // Drift by hand is corrected.
    world.machines[1].exec("apt-get -q -y --allow-downgrades install hello-keel=1.0-1 hello-keel-lib=1.0-1").unwrap();
    wait_until("the drift being corrected", Duration::from_secs(90), || match world.machines[1].version("hello-keel").as_str() {
        "7.0-1" => Ok(()),
        other => Err(other.to_owned()),
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", world.engine.tail()));

    // Another host key: not one more command is sent there.
    world.machines[0]
        .exec("rm /etc/ssh/ssh_host_ed25519_key*; ssh-keygen -q -t ed25519 -N \"\" -f /etc/ssh/ssh_host_ed25519_key; systemctl restart ssh")
        .unwrap();
    world.machines[0].cut_connections();
    wait_until("the other key being refused", Duration::from_secs(60), || match world.engine.text(&["explain", "device/web-1"]) {
        Ok(text) if text.contains("not the pinned one") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .unwrap();
}

/// Files and templates roll out, and go back, the same way; without a way back nothing is touched.
#[test]
fn files_and_the_way_back() {
    let Some(mut world) = world(2) else { return };
    let files = |text: &str| {
        format!(
            "apiVersion: evenkeel.dev/v1alpha1\nkind: Deployment\nmetadata: {{name: motd}}\nspec:\n  selector: {{matchLabels: {{role: web}}}}\n  files:\n    - {{path: /etc/motd, template: \"{text} from {{{{ device.name }}}}\\n\"}}\n    - {{path: /etc/keel/extra.conf, content: \"x = 1\\n\", mode: \"0600\"}}\n  checks: {{after: [{{name: greets, ssh: {{command: 'grep -q welcome /etc/motd'}}}}]}}\n  gate: {{probes: false}}\n  strategy: {{batches: [{{max: 1}}], soak: 0s, deadline: 5s}}\n"
        )
    };
    let motd = |machine: &Machine| machine.exec("cat /etc/motd").unwrap_or_default().trim().to_owned();
    world.engine.commit("motd.yaml", &files("welcome"), "motd").unwrap();
    world.engine.start().unwrap();
    wait_until("the greeting", Duration::from_secs(60), || {
        let all: Vec<String> = world.machines.iter().map(motd).collect();
        if all == ["welcome from web-1", "welcome from web-2"] { Ok(()) } else { Err(format!("{all:?}")) }
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", world.engine.tail()));
    assert_eq!(world.machines[0].exec("stat -c %a:%U /etc/keel/extra.conf").unwrap().trim(), "600:root");
    world.engine.commit("motd.yaml", &files("go away"), "rude").unwrap();
    wait_until("the rude one being taken back", Duration::from_secs(60), || match world.engine.text(&["explain", "deployment/motd"]) {
        Ok(text) if text.contains("RolledBack") && motd(&world.machines[0]) == "welcome from web-1" => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", world.engine.tail()));
    assert_eq!(motd(&world.machines[1]), "welcome from web-2");

    // The old version is in no repository and in no cache any more: nothing is touched, and the reason is said.
    world.machines[0]
        .exec("apt-get -q -y install hello-keel=1.0-1 hello-keel-lib=1.0-1; apt-get clean; rm -rf /var/lib/evenkeel/wayback")
        .unwrap();
    world.machines[1]
        .exec("apt-get -q -y install hello-keel=1.0-1 hello-keel-lib=1.0-1; apt-get clean; rm -rf /var/lib/evenkeel/wayback")
        .unwrap();
    world.repository.forget("1.0-1").unwrap();
    for machine in &world.machines {
        machine.exec("apt-get -q update").unwrap();
    }
    world.engine.deploy("2.0-1", "").unwrap();
    wait_until("no way back", Duration::from_secs(60), || match world.engine.text(&["explain", "deployment/hello"]) {
        Ok(text) if text.contains("NoWayBack") && text.contains("neither in a repository nor in the cache") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", world.engine.tail()));
    assert_eq!(world.versions(), vec!["1.0-1"; 2]);
}
