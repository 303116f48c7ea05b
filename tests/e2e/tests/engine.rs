//! The engine on simulated devices: what happens when what it stands on goes away, and what people ask of it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use e2e::engine::Engine;
use e2e::postgres::Postgres;
use e2e::simulated::Simulated;
use e2e::{run, wait_until};

/// Dropped in this order: the engine, and then what it acts on.
struct World {
    engine: Engine,
    simulated: Simulated,
    _manifests: tempfile::TempDir,
}

fn binary() -> PathBuf {
    std::env::var("EVENKEEL_BIN").expect("EVENKEEL_BIN names no evenkeel: run the tests by `cargo xtask test`").into()
}

/// Devices that get `app`, of which there are versions 1.0-1, 2.0-1, and 3.0-1 that dies.
fn world(devices: usize) -> World {
    let manifests = tempfile::tempdir().unwrap();
    for number in 1..=devices {
        let text = format!(
            "apiVersion: evenkeel.dev/v1alpha1\nkind: Device\nmetadata: {{name: d-{number}, labels: {{role: app}}}}\nspec:\n  type: Server\n  address: 10.0.0.{number}\n  access: {{ssh: {{user: ops, become: sudo, secretRef: {{name: fleet-key}}}}}}\n"
        );
        std::fs::write(manifests.path().join(format!("d-{number}.yaml")), text).unwrap();
    }
    std::fs::write(manifests.path().join("app.yaml"), app("1.0-1")).unwrap();
    let more = ["--package", "app=2.0-1", "--package", "app=3.0-1", "--bad", "app=3.0-1:dies-after=2s"];
    let simulated = Simulated::start(&binary(), manifests.path(), &more).unwrap();
    let engine = Engine::with(&binary(), &simulated.folder, &simulated.key()).unwrap();
    World { engine, simulated, _manifests: manifests }
}

fn app(version: &str) -> String {
    format!(
        "apiVersion: evenkeel.dev/v1alpha1\nkind: Deployment\nmetadata: {{name: app}}\nspec:\n  selector: {{matchLabels: {{role: app}}}}\n  package: {{apt: {{name: app, version: {version}}}}}\n  service: {{unit: app}}\n  strategy: {{batches: [{{max: 1}}], maxUnavailable: 2, soak: 1s, deadline: 60s}}\n"
    )
}

impl World {
    fn deploy(&self, version: &str) {
        self.engine.commit("app.yaml", &app(version), version).unwrap();
    }

    fn wait(&self, phase: &str, version: &str, devices: usize) {
        let name = ["get", "deployment", "app", "-o", "json"];
        let result = wait_until(&format!("{phase} of {version}"), Duration::from_secs(120), || {
            let status = self.engine.text(&name).map_err(|error| error.to_string())?;
            let status: serde_json::Value = serde_json::from_str(&status).map_err(|error| error.to_string())?;
            let status = &status["status"];
            let newest = status["history"].as_array().and_then(|history| history.last()).cloned().unwrap_or_default();
            let there = status["phase"] == phase && newest["version"].as_str().is_some_and(|newest| newest.contains(version));
            if there && status["counts"]["updated"] == devices { Ok(()) } else { Err(status.to_string()) }
        });
        result.unwrap_or_else(|error| panic!("{error}\n{}", self.engine.tail()));
    }

    /// What is on the devices, by what they say themselves.
    fn versions(&self) -> Vec<String> {
        let mut versions = Vec::new();
        let path = format!("{}:{}", self.simulated.folder.join("simulated/bin").display(), std::env::var("PATH").unwrap());
        for entry in std::fs::read_dir(self.simulated.folder.join("simulated/devices")).unwrap().flatten() {
            let query = "dpkg-query -W -f='${Version}' app";
            let said = Command::new("sh").args(["-c", query]).env("EVENKEEL_ROOT", entry.path()).env("PATH", &path).output().unwrap();
            versions.push(String::from_utf8_lossy(&said.stdout).into_owned());
        }
        versions
    }

    /// Waits until `evenkeel status` has this in it.
    fn says(&self, part: &str) {
        until(part, &self.engine, || match self.engine.text(&["status"]) {
            Ok(text) if text.contains(part) => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }

    /// Lets the commit through that waits for approval.
    fn approve(&self) {
        let text = self.engine.text(&["status"]).unwrap();
        let id = text.split("evenkeel approve ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
        self.engine.text(&["approve", &id]).unwrap();
    }

    fn proven(&self) {
        let export = self.engine.data.join("export.jsonl");
        self.engine.text(&["audit", "export", "--file", export.to_str().unwrap()]).unwrap();
        run(Command::new(binary()).args(["audit", "verify"]).arg(&export).arg("--key").arg(self.engine.data.join("audit.pub"))).unwrap();
    }
}

fn until(what: &str, engine: &Engine, look: impl Fn() -> Result<(), String>) {
    wait_until(what, Duration::from_secs(60), look).unwrap_or_else(|error| panic!("{error}\n{}", engine.tail()));
}

fn postgres() -> Option<Postgres> {
    let database = Postgres::start().unwrap();
    if database.is_none() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "PostgreSQL is missing, and in CI nothing is skipped");
        eprintln!("SKIPPED: PostgreSQL is not installed");
    }
    database
}

/// A store that goes away while all that is to be written is what came of a step.
#[test]
fn an_outcome_that_cannot_be_stored_is_said() {
    let Some(mut database) = postgres() else { return };
    let mut world = world(1);
    world.engine.database = Some(database.url());
    world.deploy("1.0-1");
    world.engine.start().unwrap();
    until("a step under way", &world.engine, || match world.engine.tail().contains("apply device/d-1") {
        true => Ok(()),
        false => Err("none yet".into()),
    });
    database.down();
    world.says("not ready: the store");
    database.up().unwrap();
    world.wait("Complete", "1.0-1", 1);
    world.says("engine     ready");
}

/// Without its store nothing is done that could not be recorded, that is said, and it goes on alone when the store is back.
#[test]
fn without_its_database_it_does_nothing_and_says_so() {
    let Some(mut database) = postgres() else { return };
    let mut world = world(3);
    world.engine.database = Some(database.url());
    world.deploy("1.0-1");
    world.engine.start().unwrap();
    world.wait("Complete", "1.0-1", 3);
    database.down();
    world.deploy("2.0-1");
    until("not ready", &world.engine, || match world.engine.text(&["status"]) {
        Ok(text) if text.contains("not ready: the store") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(world.versions(), vec!["1.0-1"; 3]);
    database.up().unwrap();
    world.wait("Complete", "2.0-1", 3);
    assert_eq!(world.versions(), vec!["2.0-1"; 3]);
    assert!(world.engine.text(&["status"]).unwrap().contains("engine     ready"));
    world.proven();
    // A restart finds everything as it was.
    assert!(world.engine.terminate().unwrap() < Duration::from_secs(10));
    world.engine.start().unwrap();
    world.deploy("3.0-1");
    world.wait("RolledBack", "3.0-1", 3);
    world.proven();
    let behind = |verb: &str| {
        let text = world.engine.text(&["audit", "list", "--limit", "500", "-o", "json"]).unwrap();
        let entries: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        let of = |entry: &&serde_json::Value| entry["verb"] == verb && entry["outcome"] == "begun";
        entries.iter().filter(of).map(|entry| entry["actor"]["kind"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(behind("apply").iter().all(|kind| kind == "commit"), "{:?}", behind("apply"));
    assert_eq!(behind("restore"), ["engine"], "nobody asked for it");
}

/// A full disk is the same as no store.
#[test]
fn on_a_full_disk_it_does_nothing_and_says_so() {
    if !rustix::process::geteuid().is_root() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "a small file system needs root, and in CI nothing is skipped");
        eprintln!("SKIPPED: a small file system needs root");
        return;
    }
    let mut world = world(2);
    let data = Mount::small(&world.engine.data);
    world.deploy("1.0-1");
    world.engine.start().unwrap();
    world.wait("Complete", "1.0-1", 2);
    let filler = data.0.join("filler");
    let _ = run(Command::new("dd").args(["if=/dev/zero", "bs=4096"]).arg(format!("of={}", filler.display())));
    world.deploy("2.0-1");
    until("not ready", &world.engine, || match world.engine.text(&["status"]) {
        Ok(text) if text.contains("not ready: the store") || text.contains("problem") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(world.versions(), vec!["1.0-1"; 2]);
    std::fs::remove_file(filler).unwrap();
    world.wait("Complete", "2.0-1", 2);
    world.proven();
    world.engine.kill().unwrap();
}

/// A file system of a few megabytes.
struct Mount(PathBuf);

impl Mount {
    fn small(at: &Path) -> Self {
        std::fs::create_dir_all(at).unwrap();
        run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(at)).unwrap();
        Self(at.to_owned())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Two engines never share a data directory; a commit that goes too far waits for a person; a broken file stalls what it held.
#[test]
fn people_are_asked_and_told() {
    let mut world = world(4);
    world.engine.arguments = ["--max-deletions", "1"].map(str::to_owned).to_vec();
    world.deploy("1.0-1");
    world.engine.start().unwrap();
    world.wait("Complete", "1.0-1", 4);
    let second = world.engine.command().output().unwrap();
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("another engine runs on this data directory: process"), "{second:?}");

    // What is printed is what was written, and can be written again.
    let printed = tempfile::tempdir().unwrap();
    for kind in ["devices", "deployments"] {
        let text = world.engine.text(&["get", kind, "-o", "yaml"]).unwrap();
        assert!(text.contains("kind: List") && text.contains("status:"), "{text}");
        std::fs::write(printed.path().join(format!("{kind}.yaml")), text).unwrap();
    }
    assert!(world.engine.text(&["get", "deployment", "app", "-o", "yaml"]).unwrap().contains("kind: Deployment"));
    let check = run(Command::new(binary()).arg("check").arg(printed.path())).unwrap();
    assert!(check.contains("4 devices, 1 deployment"), "{check}");

    world.engine.git(&["checkout", "-q", "-b", "next"]).unwrap();
    world.deploy("2.0-1");
    world.engine.git(&["checkout", "-q", "main"]).unwrap();
    let preview = world.engine.cli(&["plan", "--diff", "next"]);
    let text = String::from_utf8_lossy(&preview.stdout);
    assert_eq!(preview.status.code(), Some(2), "{preview:?}");
    for part in ["It touches 4 of 4 devices", "apt app 1.0-1 -> 2.0-1", "open batch 1 (1 of 4 left)", "open batch 2, the last (3 devices)"]
    {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    assert_eq!(world.versions(), vec!["1.0-1"; 4], "looking changes nothing");

    std::fs::remove_file(world.engine.fleet.join("d-3.yaml")).unwrap();
    std::fs::remove_file(world.engine.fleet.join("d-4.yaml")).unwrap();
    world.deploy("2.0-1");
    let waits = || match world.engine.text(&["status"]) {
        Ok(text) if text.contains("deletes 2 devices, more than 1") => Ok(text),
        other => Err(format!("{other:?}")),
    };
    until("the limit", &world.engine, || waits().map(drop));
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(world.versions(), vec!["1.0-1"; 4]);
    let text = waits().unwrap();
    let id = text.split("evenkeel approve ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    assert!(!world.engine.cli(&["approve", "0123456789ab"]).status.success());
    world.engine.text(&["approve", &id]).unwrap();
    world.wait("Complete", "2.0-1", 2);

    world.engine.commit("app.yaml", "kind: [", "broken").unwrap();
    until("the stalled object", &world.engine, || match world.engine.text(&["explain", "deployment/app"]) {
        Ok(text) if text.contains("stalled: app.yaml:1:") && text.contains("2 of 2 devices updated") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    world.deploy("2.0-1");
    until("the mended object", &world.engine, || match world.engine.text(&["explain", "deployment/app"]) {
        Ok(text) if !text.contains("stalled") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert!(world.engine.terminate().unwrap() < Duration::from_secs(10));
}

/// The limits are kept although the cache of the repository was lost, also where the repository no longer has what was in force.
#[test]
fn a_lost_cache_lifts_no_limit() {
    let mut world = world(3);
    world.engine.arguments = ["--max-deletions", "1"].map(str::to_owned).to_vec();
    world.deploy("1.0-1");
    world.engine.start().unwrap();
    world.wait("Complete", "1.0-1", 3);

    let restart = |world: &mut World| {
        assert!(world.engine.terminate().unwrap() < Duration::from_secs(10));
        std::fs::remove_dir_all(world.engine.data.join("repository.git")).unwrap();
        std::fs::remove_file(world.engine.fleet.join("d-2.yaml")).unwrap_or_default();
        std::fs::remove_file(world.engine.fleet.join("d-3.yaml")).unwrap_or_default();
    };
    restart(&mut world);
    world.deploy("2.0-1");
    world.engine.start().unwrap();
    world.says("deletes 2 devices, more than 1");

    // The branch is made anew, so that nothing leads to what was in force.
    restart(&mut world);
    world.engine.git(&["checkout", "-q", "--orphan", "anew"]).unwrap();
    world.deploy("2.0-1");
    world.engine.git(&["branch", "-q", "-M", "anew", "main"]).unwrap();
    world.engine.start().unwrap();
    world.says("can't be compared with commit");
    assert_eq!(world.versions(), vec!["1.0-1"; 3]);
    world.approve();
    world.wait("Complete", "2.0-1", 1);
    world.proven();
}

/// Where what was in force can't come in force again, since its key was withdrawn or another folder is followed, newer commits are not
/// kept away: they wait for approval.
#[test]
fn what_counts_no_more_keeps_nothing_newer_away() {
    let mut world = world(2);
    let keys = world.simulated.folder.join("keys");
    std::fs::create_dir(&keys).unwrap();
    let key = |name: &str| world.simulated.folder.join(name);
    for name in ["one", "two"] {
        run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(key(name))).unwrap();
    }
    let (one, two) = (key("one"), key("two"));
    let publish = |key: &Path| std::fs::copy(key.with_extension("pub"), keys.join("key.pub")).unwrap();
    let sign = |world: &World, key: &Path| {
        let key = format!("user.signingKey={}", key.display());
        world.engine.git(&["-c", "gpg.format=ssh", "-c", &key, "commit", "-q", "--amend", "--no-edit", "-S"]).unwrap();
    };
    world.engine.arguments = vec!["--verify-keys".to_owned(), keys.display().to_string()];
    publish(&one);
    world.deploy("1.0-1");
    sign(&world, &one);
    world.engine.start().unwrap();
    world.wait("Complete", "1.0-1", 2);

    world.engine.terminate().unwrap();
    publish(&two);
    world.deploy("2.0-1");
    sign(&world, &two);
    world.engine.start().unwrap();
    world.says("can't be compared with commit");
    assert_eq!(world.versions(), vec!["1.0-1"; 2]);
    world.approve();
    world.wait("Complete", "2.0-1", 2);

    world.engine.terminate().unwrap();
    std::fs::create_dir(world.engine.fleet.join("all")).unwrap();
    world.engine.git(&["mv", "app.yaml", "d-1.yaml", "d-2.yaml", "all"]).unwrap();
    let commit = world.engine.commit("all/app.yaml", &app("1.0-1"), "moved").unwrap();
    world.engine.arguments = vec!["--path".to_owned(), "all".to_owned()];
    world.engine.start().unwrap();
    world.says("can't be compared with commit");
    world.approve();
    world.says(&commit[..12]);
    world.wait("Complete", "1.0-1", 2);
    world.proven();
}

/// A Deployment that is deleted is taken off its devices, if it said so; a file that can't be read deletes nothing, whatever happens then.
#[test]
fn what_a_deleted_deployment_put_there_is_taken_off() {
    let mut world = world(3);
    let text = format!("{}  onDelete: Remove\n", app("1.0-1"));
    world.engine.commit("app.yaml", &text, "1.0-1").unwrap();
    world.engine.start().unwrap();
    world.wait("Complete", "1.0-1", 3);

    world.engine.commit("app.yaml", "kind: [", "broken").unwrap();
    until("the stalled object", &world.engine, || match world.engine.text(&["explain", "deployment/app"]) {
        Ok(text) if text.contains("stalled: app.yaml:1:") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    world.engine.kill().unwrap();
    world.engine.start().unwrap();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(world.versions(), vec!["1.0-1"; 3], "what can't be read was not deleted, also for who never read it before");
    world.engine.commit("app.yaml", &text, "mended").unwrap();
    world.wait("Complete", "1.0-1", 3);

    world.engine.git(&["checkout", "-q", "-b", "without"]).unwrap();
    world.engine.git(&["rm", "-q", "app.yaml"]).unwrap();
    world.engine.git(&["commit", "-q", "-m", "without"]).unwrap();
    world.engine.git(&["checkout", "-q", "main"]).unwrap();
    let preview = world.engine.cli(&["plan", "--diff", "without"]);
    let shown = String::from_utf8_lossy(&preview.stdout);
    assert!(shown.contains("deployment/app") && shown.contains("remove") && shown.contains("d-1, d-2, d-3"), "{preview:?}");
    assert_eq!(world.versions(), vec!["1.0-1"; 3], "looking changes nothing");

    world.engine.git(&["merge", "-q", "--ff-only", "without"]).unwrap();
    until("the devices to be cleaned", &world.engine, || match world.versions() {
        versions if versions.iter().all(|version| !version.contains("1.0-1")) => Ok(()),
        versions => Err(format!("{versions:?}")),
    });
    until("its end", &world.engine, || match world.engine.text(&["audit", "list"]) {
        Ok(text) if text.lines().any(|line| line.contains(" end ") && line.contains("Ann")) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let told = world.engine.text(&["audit", "list"]).unwrap();
    let by_ann = |what: &str| told.lines().filter(|line| line.contains("Ann") && line.contains(what)).count();
    assert_eq!((by_ann(" delete "), by_ann(" remove ")), (1, 3), "{told}");

    world.engine.commit("app.yaml", &text, "again").unwrap();
    world.wait("Complete", "1.0-1", 3);
    let history = world.engine.text(&["rollout", "history", "app"]).unwrap();
    assert!(history.lines().any(|line| line.trim_start().starts_with("2 ")), "numbers are never used again:\n{history}");
    world.proven();
}

/// A store that was lost makes another log, which counts from the beginning again. What the devices remember of the steps of the first
/// one must not count as done, nor be what they go back to.
#[test]
fn steps_of_a_store_that_was_lost_are_not_taken_for_new_ones() {
    let mut world = world(2);
    world.deploy("1.0-1");
    world.engine.start().unwrap();
    world.wait("Complete", "1.0-1", 2);
    world.engine.terminate().unwrap();
    std::fs::remove_dir_all(&world.engine.data).unwrap();
    world.deploy("3.0-1");
    world.engine.start().unwrap();
    until("taken back", &world.engine, || {
        let status = world.engine.text(&["explain", "deployment/app"]).map_err(|error| error.to_string())?;
        if status.contains("deployment/app is RolledBack") { Ok(()) } else { Err(status) }
    });
    assert_eq!(world.versions(), ["1.0-1", "1.0-1"]);
    world.deploy("2.0-1");
    world.wait("Complete", "2.0-1", 2);
    assert_eq!(world.versions(), ["2.0-1", "2.0-1"]);
}

/// `apply --once` says that all is done when all is done: not before the newest commit was read, not while it waits for a person, and
/// not before what was deleted is off.
#[test]
fn apply_once_ends_well_only_when_all_is_done() {
    let world = world(2);
    let apply = |more: &[&str]| {
        let output = world.engine.command_of(&["apply", "--once"]).args(more).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let at = |versions: [&str; 2]| assert_eq!(world.versions(), versions);
    let text = format!("{}  onDelete: Remove\n", app("1.0-1"));
    world.engine.commit("app.yaml", &text, "1.0-1").unwrap();
    let (code, said) = apply(&[]);
    assert_eq!(code, Some(0), "{said}");
    at(["1.0-1", "1.0-1"]);

    world.engine.commit("app.yaml", &text.replace("1.0-1", "2.0-1"), "2.0-1").unwrap();
    let (code, said) = apply(&["--max-touched", "1"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.lines().last().unwrap().contains("touches 2 of 2 devices, more than 1: evenkeel approve"), "{said}");
    at(["1.0-1", "1.0-1"]);

    world.engine.git(&["branch", "-m", "elsewhere"]).unwrap();
    let (code, said) = apply(&["--timeout", "5s"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.lines().last().unwrap().contains("not there after 5s: there is no refs/heads/main"), "{said}");
    world.engine.git(&["branch", "-m", "main"]).unwrap();

    let (code, said) = apply(&[]);
    assert_eq!(code, Some(0), "{said}");
    at(["2.0-1", "2.0-1"]);

    std::fs::remove_file(world.engine.fleet.join("app.yaml")).unwrap();
    world.engine.git(&["add", "-A"]).unwrap();
    world.engine.git(&["commit", "-q", "-m", "gone"]).unwrap();
    let (code, said) = apply(&[]);
    assert_eq!(code, Some(0), "{said}");
    at(["", ""]);
}

/// An engine that nobody can reach is not left running.
#[test]
fn a_place_that_cannot_be_listened_on_ends_it() {
    let mut world = world(1);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let token = world.simulated.folder.join("token");
    std::fs::write(&token, "0123456789abcdef").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    world.engine.arguments = vec!["--listen".into(), address.clone(), "--token-file".into(), token.display().to_string()];
    let output = world.engine.command().output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("{address} can't be listened on")), "{said}");
}
