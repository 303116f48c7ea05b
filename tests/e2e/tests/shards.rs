//! Several replicas share the devices: each holds shards, one plans, and whoever dies or freezes is replaced without a step done twice.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use e2e::control_plane::{ControlPlane, programs};
use e2e::engine::Engine;
use e2e::fleet::Log;
use e2e::postgres::Postgres;
use e2e::simulated::Simulated;
use e2e::wait_until;
use rustix::process::Signal;
use serde_json::Value;

const NAMESPACE: &str = "evenkeel-system";
const DEVICES: usize = 8;

/// Dropped in this order.
struct World {
    replicas: Vec<Engine>,
    plane: ControlPlane,
    _database: Postgres,
    simulated: Simulated,
    _manifests: tempfile::TempDir,
}

fn skipped(why: &str) {
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{why}, and in CI nothing is skipped");
    eprintln!("SKIPPED: {why}");
}

fn binary() -> PathBuf {
    std::env::var("EVENKEEL_BIN").expect("EVENKEEL_BIN names no evenkeel: run the tests by `cargo xtask test`").into()
}

fn app(version: &str) -> String {
    format!(
        "apiVersion: evenkeel.dev/v1alpha1\nkind: Deployment\nmetadata: {{name: app, namespace: default}}\nspec:\n  selector: {{matchLabels: {{role: app}}}}\n  package: {{apt: {{name: app, version: {version}}}}}\n  service: {{unit: app}}\n  strategy: {{batches: [{{max: 2}}, {{max: 2}}], maxUnavailable: 2, soak: 2s, deadline: 60s}}\n"
    )
}

/// A device with a probe, so that what is probed by one replica reaches the one that plans.
fn device(number: usize) -> String {
    format!(
        "apiVersion: evenkeel.dev/v1alpha1\nkind: Device\nmetadata: {{name: d-{number}, namespace: default, labels: {{role: app}}}}\nspec:\n  type: Server\n  address: 10.0.0.{number}\n  access: {{ssh: {{user: ops, become: sudo, secretRef: {{name: fleet-key}}}}}}\n  probes:\n    - {{name: alive, ssh: {{command: 'true', exitCode: 0}}, interval: 2s, timeout: 2s, failures: 4, successes: 1}}\n  metrics: {{ssh: {{}}, interval: 5s}}\n"
    )
}

/// `None`: what it takes is not to be had here.
fn world() -> Option<World> {
    if let Some(why) = programs::unavailable() {
        skipped(&why);
        return None;
    }
    let Some(database) = Postgres::start().unwrap() else {
        skipped("PostgreSQL is not installed");
        return None;
    };
    let manifests = tempfile::tempdir().unwrap();
    for number in 1..=DEVICES {
        std::fs::write(manifests.path().join(format!("d-{number}.yaml")), device(number)).unwrap();
    }
    std::fs::write(manifests.path().join("app.yaml"), app("1.0-1")).unwrap();
    let more = ["--package", "app=2.0-1", "--package", "app=3.0-1", "--package", "app=4.0-1", "--bad", "app=4.0-1:dies-after=1s"];
    let simulated = Simulated::start(&binary(), manifests.path(), &more).unwrap();
    let plane = ControlPlane::start().unwrap();
    let values = [
        "secrets[0].namespace=default",
        "secrets[0].names[0]=fleet-key",
        "replicas=3",
        "database.existingSecret=db",
        "auditKey.existingSecret=key",
    ];
    plane.install_chart("evenkeel", NAMESPACE, &values).unwrap();
    let key = format!("--from-file=ssh-privatekey={}", simulated.key().display());
    plane.must(&["create", "secret", "generic", "fleet-key", &key]).unwrap();
    for number in 1..=DEVICES {
        let file = simulated.folder.join(format!("fleet/d-{number}.yaml"));
        plane.must(&["apply", "--server-side", "-f", file.to_str().unwrap()]).unwrap();
    }
    let account = plane.service_account(NAMESPACE, "evenkeel").unwrap();
    let replica = |number: usize| {
        let folder = simulated.folder.join(format!("replica-{number}"));
        std::fs::create_dir_all(folder.join("data")).unwrap();
        // The key that signs the audit log is the same for all of them.
        let key = folder.join("data/audit.key");
        std::fs::write(&key, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
        std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let mut engine = Engine::with(&binary(), &folder, &simulated.key()).unwrap();
        engine.kubeconfig = Some(account.clone());
        engine.database = Some(database.url());
        engine.arguments = ["--shards", "3", "--lease-duration", "3s"].map(str::to_owned).into();
        engine
    };
    let replicas = (0..3).map(replica).collect();
    Some(World { replicas, plane, _database: database, simulated, _manifests: manifests })
}

impl World {
    fn logs(&self) -> String {
        self.replicas.iter().map(Engine::tail).collect::<Vec<_>>().join("\n--- the next replica\n")
    }

    fn until(&self, what: &str, look: impl FnMut() -> Result<(), String>) {
        wait_until(what, Duration::from_secs(90), look).unwrap_or_else(|error| panic!("{error}\n{}", self.logs()));
    }

    fn holder(&self, lease: &str) -> String {
        let arguments = ["get", "lease", lease, "--namespace", NAMESPACE, "-o", "jsonpath={.spec.holderIdentity}"];
        // It is made by the first one who holds it.
        self.plane.must(&arguments).unwrap_or_default()
    }

    /// Who holds each of the shards.
    fn holders(&self) -> Vec<String> {
        (0..3).map(|shard| self.holder(&format!("evenkeel-shard-{shard}"))).collect()
    }

    /// Waits until every shard is held by one of so many.
    fn shared_by(&self, count: usize) {
        self.until(&format!("the shards being shared by {count}"), || {
            let holders = self.holders();
            let different: BTreeSet<&String> = holders.iter().collect();
            if different.len() == count && !holders.contains(&String::new()) { Ok(()) } else { Err(format!("{holders:?}")) }
        });
    }

    fn status(&self) -> Value {
        let text = self.plane.must(&["get", "edep", "app", "-o", "json"]).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["status"].clone()
    }

    fn wait(&self, phase: &str, version: &str) {
        self.until(&format!("{phase} of {version}"), || {
            let status = self.status();
            let newest = status["history"].as_array().and_then(|history| history.last()).cloned().unwrap_or_default();
            let there = status["phase"] == phase && newest["version"].as_str().is_some_and(|newest| newest.contains(version));
            if there && status["counts"]["updated"] == DEVICES { Ok(()) } else { Err(status.to_string()) }
        });
    }

    /// Waits until a rollout is in its midst.
    fn in_the_midst(&self) {
        self.until("some devices being updated", || {
            let status = self.status();
            let updated = status["counts"]["updated"].as_u64().unwrap_or_default();
            if (1..DEVICES as u64).contains(&updated) && status["phase"] != "Complete" { Ok(()) } else { Err(status.to_string()) }
        });
    }

    /// One that holds a shard and does not plan.
    fn worker(&self) -> usize {
        let planner = self.holder("evenkeel");
        let holders = self.holders();
        let is_worker = |replica: &&Engine| {
            let of = format!("_{}_", replica.id().unwrap_or_default());
            !planner.contains(&of) && holders.iter().any(|holder| holder.contains(&of))
        };
        self.replicas.iter().position(|replica| is_worker(&replica)).expect("a replica that holds a shard and does not plan")
    }

    /// The shard that a replica holds.
    fn shard_of(&self, replica: usize) -> usize {
        let of = format!("_{}_", self.replicas[replica].id().unwrap_or_default());
        self.holders().iter().position(|holder| holder.contains(&of)).expect("it holds a shard")
    }

    /// How often each shard has changed hands.
    fn transitions(&self) -> Vec<u32> {
        let of = |shard: usize| {
            let lease = format!("evenkeel-shard-{shard}");
            let asked = ["get", "lease", &lease, "--namespace", NAMESPACE, "-o", "jsonpath={.spec.leaseTransitions}"];
            self.plane.must(&asked).unwrap().parse().unwrap_or_default()
        };
        (0..3).map(of).collect()
    }

    /// The leases that were written, in that order, by the API server's own log.
    fn renewals(&self) -> Vec<String> {
        let asked = self.plane.requests_of(NAMESPACE, "evenkeel").unwrap();
        let written = asked.into_iter().filter(|request| request.verb == "update" && request.resource == "coordination.k8s.io/leases");
        written.map(|request| request.name).collect()
    }

    /// A shard's holder died when so many leases had been written. From its last word until somebody else has the shard, whoever plans renews
    /// its own lease, 7.5 times in the time that a lease lasts: that is the clock, since a machine that is slow is slow for both. What is promised is
    /// that time, one look to hear the last word, one that finds it old, and one more for each shard that whoever takes it has already, so that
    /// others go first: 11. Two more are for a machine that is slow for one of them only.
    fn taken_over_in_time(&self, shard: usize, dead: usize) {
        let (written, lease) = (self.renewals(), format!("evenkeel-shard-{shard}"));
        let last = written[..dead].iter().rposition(|name| *name == lease).expect("it held it");
        let taken = dead + written[dead..].iter().position(|name| *name == lease).expect("somebody has it");
        let ticks = written[last..taken].iter().filter(|name| *name == "evenkeel").count();
        assert!(ticks <= 13, "taken over after {ticks} renewals of another lease, and 11 are promised");
    }

    fn planner(&self) -> &Engine {
        let planner = self.holder("evenkeel");
        let is_planner = |replica: &&Engine| planner.contains(&format!("_{}_", replica.id().unwrap_or_default()));
        self.replicas.iter().find(is_planner).expect("a replica that plans")
    }

    /// The audit log, exported by whoever plans and proven.
    fn audit(&self) -> Log {
        let planner = self.planner();
        let export = planner.data.join("export.jsonl");
        planner.text(&["audit", "export", "--file", export.to_str().unwrap()]).unwrap();
        Log::proven(&export, &planner.data.join("audit.pub"), &self.simulated).unwrap()
    }
}

#[test]
fn replicas_share_the_devices() {
    let Some(mut world) = world() else { return };
    world.plane.apply(&app("1.0-1")).unwrap();
    world.replicas[0].start().unwrap();
    world.shared_by(1);
    world.wait("Complete", "1.0-1");
    // Whoever comes gets a share, without anybody having been lost.
    world.replicas[1].start().unwrap();
    world.replicas[2].start().unwrap();
    world.shared_by(3);
    let worked = |replica: &Engine| replica.log().lines().filter(|line| line.contains("apply ended")).count();
    let before = worked(&world.replicas[0]);
    assert_eq!(before, DEVICES);
    world.plane.apply(&app("2.0-1")).unwrap();
    world.wait("Complete", "2.0-1");
    let now: Vec<usize> = world.replicas.iter().map(worked).collect();
    assert_eq!(now.iter().sum::<usize>(), 2 * DEVICES, "{now:?}");
    assert!(now[1] > 0 && now[2] > 0 && now[0] - before < DEVICES, "each has done its part: {now:?}");

    // A version that dies is seen by those who probe, and taken back.
    world.plane.apply(&app("4.0-1")).unwrap();
    world.wait("RolledBack", "4.0-1");

    // Killed, and not the one that plans: its devices are taken over.
    world.plane.apply(&app("3.0-1")).unwrap();
    world.in_the_midst();
    let worker = world.worker();
    let (shard, before) = (world.shard_of(worker), world.transitions());
    world.replicas[worker].kill().unwrap();
    let dead = world.renewals().len();
    world.wait("Complete", "3.0-1");
    world.shared_by(2);
    let mut expected = before;
    expected[shard] += 1;
    assert_eq!(world.transitions(), expected, "its shard changed hands once, and no other one did");
    world.taken_over_in_time(shard, dead);
    world.replicas[worker].start().unwrap();
    world.shared_by(3);

    // Frozen, replaced, and awake again.
    world.plane.apply(&app("1.0-1")).unwrap();
    world.in_the_midst();
    let worker = world.worker();
    world.replicas[worker].signal(Signal::STOP).unwrap();
    world.until("it being replaced", || {
        let of = format!("_{}_", world.replicas[worker].id().unwrap_or_default());
        let holders = world.holders();
        if holders.iter().any(|holder| holder.contains(&of)) { Err(format!("{holders:?}")) } else { Ok(()) }
    });
    world.replicas[worker].signal(Signal::CONT).unwrap();
    world.wait("Complete", "1.0-1");
    world.until("it knowing that it was replaced", || {
        let log = world.replicas[worker].log();
        if log.contains("the lease is lost") || log.contains("taken over from this one") { Ok(()) } else { Err("nothing said".into()) }
    });
    world.shared_by(3);

    world.audit().assert_once();
}

/// The one that plans is replaced: what it had asked for is still asked for, and what is not wanted any more is not.
#[test]
fn another_one_plans_on() {
    let Some(mut world) = world() else { return };
    world.plane.apply(&app("1.0-1")).unwrap();
    for replica in &mut world.replicas {
        replica.start().unwrap();
    }
    world.shared_by(3);
    world.wait("Complete", "1.0-1");
    world.plane.apply(&app("2.0-1")).unwrap();
    world.in_the_midst();
    let planner = world.holder("evenkeel");
    let number = world.replicas.iter().position(|replica| planner.contains(&format!("_{}_", replica.id().unwrap_or_default()))).unwrap();
    world.replicas[number].kill().unwrap();
    // While nobody plans, a device leaves.
    world.plane.must(&["delete", "dev", "d-1", "--wait=false"]).unwrap();
    world.until("another one planning", || {
        let holder = world.holder("evenkeel");
        if holder.is_empty() || holder == planner { Err(holder) } else { Ok(()) }
    });
    world.until("the others being done", || {
        let status = world.status();
        if status["phase"] == "Complete" && status["counts"]["updated"] == DEVICES - 1 { Ok(()) } else { Err(status.to_string()) }
    });
    // What was begun on the device that left may have no end.
    world.audit().assert_never_twice();
    let devices = world.planner().text(&["get", "devices"]).unwrap();
    assert!(!devices.contains("d-1") && devices.matches("Healthy").count() == DEVICES - 1, "{devices}");
}

/// A rule over what devices use: whoever holds their shard judges it, and only what it says otherwise than before reaches the one who plans.
#[test]
fn whoever_reads_a_device_judges_it() {
    let Some(mut world) = world() else { return };
    let rule = |expr: &str| {
        format!(
            "apiVersion: evenkeel.dev/v1alpha1\nkind: AlertRule\nmetadata: {{name: up, namespace: default}}\nspec:\n  selector: {{matchLabels: {{role: app}}}}\n  expr: {expr}\n  for: 1s\n  severity: warning\n"
        )
    };
    world.plane.apply(&rule("usage.uptime >= 0.0")).unwrap();
    for replica in &mut world.replicas {
        replica.start().unwrap();
    }
    world.shared_by(3);
    let firing = |world: &World| -> Result<BTreeSet<(String, String)>, String> {
        let text = world.planner().text(&["alerts", "-o", "json"]).map_err(|error| error.to_string())?;
        let alerts: Vec<Value> = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
        let of = |alert: &Value| {
            (alert["subject"]["device"].as_str().unwrap_or_default().to_owned(), alert["id"].as_str().unwrap_or_default().to_owned())
        };
        Ok(alerts.iter().filter(|alert| alert["state"] == "firing").map(of).collect())
    };
    world.until("it firing on all devices", || match firing(&world) {
        Ok(alerts) if alerts.len() == DEVICES => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let alerts = firing(&world).unwrap();

    // What others read is shown by the one who plans, and drawn from the samples that they write.
    world.until("what all devices use being shown", || {
        let top = world.planner().text(&["top", "--limit", "100"]).map_err(|error| error.to_string())?;
        let shown = (1..=DEVICES).filter(|number| top.contains(&format!("d-{number}"))).count();
        if shown == DEVICES { Ok(()) } else { Err(top) }
    });

    // One that holds a shard dies: nothing is known for a moment, and nothing follows from that.
    let worker = world.worker();
    world.replicas[worker].kill().unwrap();
    world.shared_by(2);
    let judged = |world: &World| world.replicas.iter().map(|replica| replica.log().matches("an alert fires").count()).sum::<usize>();
    assert_eq!(judged(&world), DEVICES, "{}", world.logs());
    // The one who plans dies too, and another one goes on.
    let planner = world.holder("evenkeel");
    let number = world.replicas.iter().position(|replica| planner.contains(&format!("_{}_", replica.id().unwrap_or_default()))).unwrap();
    world.replicas[number].kill().unwrap();
    world.replicas[worker].start().unwrap();
    world.until("another one planning", || {
        let holder = world.holder("evenkeel");
        if holder.is_empty() || holder == planner { Err(holder) } else { Ok(()) }
    });
    world.shared_by(2);
    world.until("the same alerts firing", || match firing(&world) {
        Ok(now) if now == alerts => Ok(()),
        other => Err(format!("{other:?}, and before {alerts:?}")),
    });

    // Whoever has the shards by now judges the rule as it is now.
    world.plane.apply(&rule("usage.uptime < 0.0")).unwrap();
    world.until("all of them being well", || match firing(&world) {
        Ok(alerts) if alerts.is_empty() => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let log = world.planner().text(&["audit", "export"]).unwrap();
    let entries = |verb: &str| log.lines().filter(|line| line.contains(&format!(r#"\"verb\":\"{verb}\""#))).count();
    assert_eq!((entries("fire"), entries("resolve")), (DEVICES, DEVICES), "each fired once, and was well once: {log}");
}
