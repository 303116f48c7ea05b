//! The chart on a real API server: what it renders is taken, its pods run as they are described, and what they may do is what they do.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::control_plane::pod::Pod;
use e2e::control_plane::{ControlPlane, programs};
use e2e::postgres::Postgres;
use e2e::simulated::Simulated;
use e2e::wait_until;
use rustix::process::Signal;
use serde_json::Value;

const NAMESPACE: &str = "evenkeel-system";
/// The lease's own time, and some for the rest.
const TAKEN_OVER: Duration = Duration::from_secs(40);

fn skipped() -> bool {
    let root = || (!rustix::process::geteuid().is_root()).then(|| "pods need root".to_owned());
    let Some(why) = programs::unavailable().or_else(root) else { return false };
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{why}, and in CI nothing is skipped");
    eprintln!("SKIPPED: {why}");
    true
}

fn binary() -> PathBuf {
    std::env::var("EVENKEEL_BIN").expect("EVENKEEL_BIN names no evenkeel: run the tests by `cargo xtask test`").into()
}

fn chart() -> String {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/evenkeel").display().to_string()
}

fn helm(plane: &ControlPlane, arguments: &[&str], values: &[&str]) -> (bool, String) {
    let set = values.iter().flat_map(|value| ["--set", value]);
    let output = plane.helm(&arguments.iter().copied().chain(set).collect::<Vec<_>>()).unwrap();
    let text = if output.status.success() { output.stdout } else { [output.stdout, output.stderr].concat() };
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// Every way in which the chart can be used renders something that the API server takes; what makes no sense is refused with a reason.
#[test]
fn what_the_chart_renders_is_taken() {
    if skipped() {
        return;
    }
    let plane = ControlPlane::start().unwrap();
    for namespace in [NAMESPACE, "a", "b"] {
        plane.must(&["create", "namespace", namespace]).unwrap();
    }
    let ways: [&[&str]; 8] = [
        &[],
        &["replicas=3", "database.existingSecret=db", "networkPolicy.enabled=true", "auditKey.existingSecret=k", "api.existingSecret=t"],
        &["watchNamespaces={a,b}", "secrets[0].namespace=a", "secrets[0].names={one,two}", "repositories[0].namespace=b"],
        &[
            "repositories[0].namespace=a",
            "repositories[0].serviceAccount=mine",
            "repositories[0].core=true",
            "rbac.aggregate=false",
            "limits.deletions=5",
            "limits.touched=50%",
            "roles.enabled=false",
        ],
        &[
            "webhooks.enabled=true",
            "webhooks.ingress.enabled=true",
            "webhooks.ingress.host=keel.example.com",
            "webhooks.ingress.className=nginx",
            "webhooks.ingress.tlsSecret=keel-tls",
            "webhooks.ingress.annotations.a=b",
        ],
        &["rbac.create=false", "serviceAccount.create=false", "serviceAccount.name=mine", "crds.enabled=false"],
        &["persistence.existingClaim=mine", "image.digest=sha256:0123456789012345678901234567890123456789012345678901234567890123"],
        &[
            "extraEnv[0].name=RUST_LOG",
            "extraEnv[0].value=debug",
            "extraArgs={--look-interval=30s}",
            "podLabels.team=x",
            "fullnameOverride=keel",
        ],
    ];
    for values in ways {
        let (fine, said) = helm(&plane, &["lint", "--strict", &chart()], values);
        assert!(fine, "{values:?}: {said}");
        let (fine, objects) = helm(&plane, &["template", "keel", &chart(), "--namespace", NAMESPACE], values);
        assert!(fine, "{values:?}: {objects}");
        let taken = plane.with(&["apply", "--dry-run=server", "--server-side"], &objects).unwrap();
        assert!(taken.status.success(), "{values:?}: {}", String::from_utf8_lossy(&taken.stderr));
    }
    let (_, objects) = helm(&plane, &["template", "keel", &chart()], &["limits.deletions=0", "limits.touched=0"]);
    assert!(objects.contains("--max-deletions=0") && objects.contains("--max-touched=0"), "0 is a limit: {objects}");
    let (_, objects) = helm(&plane, &["template", "keel", &chart()], &[]);
    assert!(!objects.contains("--max-") && !objects.contains("--webhooks") && !objects.contains("by which a webhook asks"), "{objects}");
    // Kinds of others, which are not here.
    let (fine, objects) =
        helm(&plane, &["template", "keel", &chart()], &["metrics.serviceMonitor.enabled=true", "metrics.prometheusRule.enabled=true"]);
    assert!(fine && objects.contains("kind: ServiceMonitor") && objects.contains("kind: PrometheusRule"), "{objects}");

    for (values, reason) in [
        (["replicaz=2"], "additional properties 'replicaz' not allowed"),
        (["replicas=two"], "got string, want integer"),
        (["replicas=2"], "set database.existingSecret"),
        (["database.existingSecret=db"], "--from-literal=audit.key="),
        (["logFormat=xml"], "value must be one of"),
        (["lookInterval=often"], "does not match pattern"),
        (["webhooks.ingress.enabled=true"], "set webhooks.enabled too"),
    ] {
        let (fine, said) = helm(&plane, &["template", "keel", &chart()], &values);
        assert!(!fine && said.contains(reason), "{values:?}: {said}");
    }
    let values = ["watchNamespaces={a}", "secrets[0].namespace=b", "secrets[0].names={one}"];
    let (fine, said) = helm(&plane, &["template", "keel", &chart()], &values);
    assert!(!fine && said.contains("not among watchNamespaces"), "{said}");
}

/// A fleet behind an installed chart.
struct World {
    pods: Vec<Pod>,
    plane: ControlPlane,
    simulated: Simulated,
    folder: tempfile::TempDir,
}

impl World {
    /// Devices that get `app`, of which 2.0-1 takes a while on each, with their key as a Secret, and the chart installed.
    fn new(devices: usize, values: &[&str], prepare: impl FnOnce(&ControlPlane)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let manifests = folder.path().join("manifests");
        std::fs::create_dir(&manifests).unwrap();
        for number in 1..=devices {
            let text = format!(
                "apiVersion: evenkeel.dev/v1alpha1\nkind: Device\nmetadata: {{name: d-{number}, namespace: default, labels: {{role: app}}}}\nspec:\n  type: Server\n  address: 10.0.0.{number}\n  access: {{ssh: {{user: ops, become: sudo, secretRef: {{name: fleet-key}}}}}}\n"
            );
            std::fs::write(manifests.join(format!("d-{number}.yaml")), text).unwrap();
        }
        std::fs::write(manifests.join("app.yaml"), app("1.0-1", "")).unwrap();
        let simulated = Simulated::start(&binary(), &manifests, &["--package", "app=2.0-1", "--package", "app=3.0-1"]).unwrap();
        let plane = ControlPlane::start().unwrap();
        plane.must(&["create", "namespace", NAMESPACE]).unwrap();
        prepare(&plane);
        let values: Vec<&str> = [&["secrets[0].namespace=default", "secrets[0].names={fleet-key}"], values].concat();
        plane.install_chart("evenkeel", NAMESPACE, &values).unwrap();
        let key = format!("--from-file=ssh-privatekey={}", simulated.key().display());
        plane.must(&["create", "secret", "generic", "fleet-key", &key]).unwrap();
        let world = Self { pods: Vec::new(), plane, simulated, folder };
        for number in 1..=devices {
            let file = world.simulated.folder.join(format!("fleet/d-{number}.yaml"));
            world.plane.must(&["apply", "--server-side", "-f", file.to_str().unwrap()]).unwrap();
        }
        world
    }

    fn start_pod(&mut self) {
        let claim = self.folder.path().join("claim");
        self.pods.push(Pod::start(&self.plane, NAMESPACE, "evenkeel", &binary(), &claim).unwrap());
        let pod = self.pods.last().unwrap();
        for probe in ["livenessProbe", "readinessProbe"] {
            wait_until(probe, Duration::from_secs(30), || pod.probe(probe)).unwrap();
        }
    }

    fn deploy(&self, version: &str, more: &str) {
        self.plane.apply(&app(version, more)).unwrap();
    }

    fn status(&self) -> Value {
        let text = self.plane.must(&["get", "edep", "app", "-o", "json"]).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["status"].clone()
    }

    fn until(&self, what: &str, limit: Duration, look: impl FnMut() -> Result<(), String>) {
        let logs = || self.pods.iter().map(Pod::log).collect::<Vec<_>>().join("\n--- the next pod\n");
        wait_until(what, limit, look).unwrap_or_else(|error| panic!("{error}\n{}", logs()));
    }

    fn wait(&self, phase: &str, version: &str, devices: u64) {
        self.until(&format!("{phase} of {version}"), Duration::from_secs(120), || {
            let status = self.status();
            let newest = status["history"].as_array().and_then(|history| history.last()).cloned().unwrap_or_default();
            let there = status["phase"] == phase && newest["version"].as_str().is_some_and(|newest| newest.contains(version));
            if there && status["counts"]["updated"] == devices { Ok(()) } else { Err(status.to_string()) }
        });
    }

    /// The command line of the operator, asked over HTTP with the token that the chart made.
    fn cli(&self, pod: &Pod, arguments: &[&str]) -> (bool, String) {
        let template = "go-template={{index .data \"token\" | base64decode}}";
        let token = self.plane.must(&["get", "secret", "evenkeel-api", "--namespace", NAMESPACE, "-o", template]).unwrap();
        let output = Command::new(binary()).args(arguments).args(["--server", &pod.url()]).env("EVENKEEL_TOKEN", token).output().unwrap();
        let text = if output.status.success() { &output.stdout } else { &output.stderr };
        (output.status.success(), String::from_utf8_lossy(text).into_owned())
    }

    /// Exports the audit log, proves it, and gives it back.
    fn verify(&self, pod: &Pod) -> String {
        let (fine, export) = self.cli(pod, &["audit", "export"]);
        assert!(fine, "{export}");
        let file = self.folder.path().join("export");
        std::fs::write(&file, &export).unwrap();
        let key = pod.volume("data").join("audit.pub");
        let proven = Command::new(binary()).args(["audit", "verify"]).arg(&file).arg("--key").arg(key).output().unwrap();
        assert!(proven.status.success(), "{proven:?}");
        export
    }

    fn holder(&self) -> String {
        self.plane.must(&["get", "lease", "evenkeel", "--namespace", NAMESPACE, "-o", "jsonpath={.spec.holderIdentity}"]).unwrap()
    }
}

fn app(version: &str, more: &str) -> String {
    format!(
        "apiVersion: evenkeel.dev/v1alpha1\nkind: Deployment\nmetadata: {{name: app, namespace: default}}\nspec:\n  selector: {{matchLabels: {{role: app}}}}\n  package: {{apt: {{name: app, version: {version}}}}}\n  service: {{unit: app}}\n  strategy: {{batches: [{{max: 1}}, {{max: 1}}, {{max: 1}}], maxUnavailable: 1, soak: 2s, deadline: 60s}}\n{more}"
    )
}

/// As installed without a word: SQLite on a volume, a key and a token that the chart makes. An upgrade keeps both, an uninstall the objects.
#[test]
fn a_pod_runs_as_the_chart_says() {
    if skipped() {
        return;
    }
    let mut world = World::new(2, &[], |_| {});
    world.start_pod();
    world.deploy("1.0-1", "  onDelete: Remove\n");
    world.wait("Complete", "1.0-1", 2);
    let pod = &world.pods[0];
    world.verify(pod);
    let refused =
        Command::new(binary()).args(["status", "--server", &pod.url()]).env("EVENKEEL_TOKEN", "not-the-token-at-all").output().unwrap();
    assert!(!refused.status.success());

    let secrets = || {
        let token = world.plane.must(&["get", "secret", "evenkeel-api", "--namespace", NAMESPACE, "-o", "jsonpath={.data}"]).unwrap();
        (token, std::fs::read_to_string(world.pods[0].volume("data").join("audit.pub")).unwrap())
    };
    let before = secrets();
    world
        .plane
        .install_chart("evenkeel", NAMESPACE, &["secrets[0].namespace=default", "secrets[0].names={fleet-key}", "lookInterval=5s"])
        .unwrap();
    assert_eq!(secrets(), before);
    assert!(world.pods[0].terminate().unwrap(), "{}", world.pods[0].log());
    // The same volume under a new pod: the log goes on.
    world.start_pod();
    world.deploy("2.0-1", "  onDelete: Remove\n");
    world.wait("Complete", "2.0-1", 2);
    world.verify(&world.pods[1]);

    let (fine, said) = helm(&world.plane, &["uninstall", "evenkeel", "--namespace", NAMESPACE], &[]);
    assert!(fine, "{said}");
    world.plane.must(&["get", "edep/app", "dev/d-1"]).unwrap();
}

/// Two replicas on one PostgreSQL. The one that acts dies in the middle of a rollout, and the other one goes on; then that one is frozen,
/// is replaced, and ends when it wakes up. No step runs twice, and of what they may do nothing is left unused.
#[test]
fn replicas_take_over_and_no_step_runs_twice() {
    if skipped() {
        return;
    }
    let Some(database) = Postgres::start().unwrap() else {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "PostgreSQL is not installed, and in CI nothing is skipped");
        return eprintln!("SKIPPED: PostgreSQL is not installed");
    };
    let url = format!("--from-literal=url={}", database.url());
    let mut world =
        World::new(3, &["replicas=2", "database.existingSecret=db", "auditKey.existingSecret=key", "webhooks.enabled=true"], |plane| {
            plane.must(&["create", "secret", "generic", "db", "--namespace", NAMESPACE, &url]).unwrap();
            let key = "--from-literal=audit.key=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
            plane.must(&["create", "secret", "generic", "key", "--namespace", NAMESPACE, key]).unwrap();
        });
    // The kinds that nothing is done for yet have a status too.
    for others in ["devices/classes.yaml", "watching/alerts.yaml", "governing/roles.yaml"] {
        world.plane.must(&["apply", "-f", &format!("{}/../../examples/{others}", env!("CARGO_MANIFEST_DIR"))]).unwrap();
    }
    let repository = "metadata: {name: r, namespace: default}\nspec: {url: 'https://git.example.com/r', suspend: true, webhook: {provider: GitLab, secretRef: {name: fleet-key, key: hook}}}\n";
    world.plane.apply(&format!("apiVersion: evenkeel.dev/v1alpha1\nkind: Repository\n{repository}")).unwrap();
    world.start_pod();
    world.start_pod();
    world.deploy("1.0-1", "  onDelete: Remove\n");
    world.wait("Complete", "1.0-1", 3);
    let (_, said) = world.cli(&world.pods[1], &["status"]);
    assert!(said.contains("waiting for the lease"), "{said}");
    // It takes webhooks all the same.
    world.plane.must(&["patch", "secret", "fleet-key", "--patch", r#"{"stringData": {"hook": "the-token-of-the-webhook"}}"#]).unwrap();
    world.until("a webhook being taken", Duration::from_secs(60), || {
        let answer = world.pods[1].post("/hooks/default/r", "X-Gitlab-Token: the-token-of-the-webhook\r\nX-Gitlab-Event: Push Hook");
        let answer = answer.map_err(|error| error.to_string())?;
        if answer.starts_with("HTTP/1.1 202") { Ok(()) } else { Err(answer) }
    });
    let asked = "jsonpath={.metadata.annotations.evenkeel\\.dev/requested-at}";
    assert!(!world.plane.must(&["get", "erepo/r", "-o", asked]).unwrap().is_empty());

    // Killed with a batch done and others to come.
    let first = world.holder();
    world.deploy("2.0-1", "  onDelete: Remove\n");
    world.until("the first device of 2.0-1", Duration::from_secs(60), || {
        let status = world.status();
        if status["counts"]["updated"] == 1 && status["phase"] != "Complete" { Ok(()) } else { Err(status.to_string()) }
    });
    world.pods[0].kill();
    let died = Instant::now();
    world.until("another holder", TAKEN_OVER, || if world.holder() == first { Err(first.clone()) } else { Ok(()) });
    println!("taken over after {:?}", died.elapsed());
    world.wait("Complete", "2.0-1", 3);

    // Frozen with a batch done and others to come, and awake again when somebody else acts.
    world.pods[0].run().unwrap();
    let second = world.holder();
    world.deploy("3.0-1", "  onDelete: Remove\n");
    world.until("the first device of 3.0-1", Duration::from_secs(60), || {
        let status = world.status();
        if status["counts"]["updated"] == 1 && status["phase"] != "Complete" { Ok(()) } else { Err(status.to_string()) }
    });
    world.pods[1].signal(Signal::STOP).unwrap();
    world.until("another holder", TAKEN_OVER, || if world.holder() == second { Err(second.clone()) } else { Ok(()) });
    world.pods[1].signal(Signal::CONT).unwrap();
    world.until("its end", Duration::from_secs(20), || if world.pods[1].is_over() { Ok(()) } else { Err("it runs".into()) });
    assert!(world.pods[1].log().contains("lease is lost"), "{}", world.pods[1].log());
    world.wait("Complete", "3.0-1", 3);

    let log = world.verify(&world.pods[0]);
    let begun = log.lines().filter(|line| line.contains(r#"\"outcome\":\"begun\""#));
    let applied = begun.clone().filter(|line| line.contains(r#"\"verb\":\"apply\""#)).count();
    assert_eq!(applied, 9, "three devices and three versions:\n{log}");
    let steps: Vec<&str> = begun.filter_map(|line| line.split(r#"\"step\":\""#).nth(1)?.split('\\').next()).collect();
    assert_eq!(steps.iter().collect::<BTreeSet<_>>().len(), steps.len(), "{steps:?}");

    // A Deployment goes with its content, and nothing that was allowed was not needed.
    world.plane.must(&["delete", "edep", "app", "--timeout=60s"]).unwrap();
    rights(&world.plane);
}

/// What the chart allows is what the operator has asked for, no more and no less.
fn rights(plane: &ControlPlane) {
    let asked = plane.requests_of(NAMESPACE, "evenkeel").unwrap();
    let refused: Vec<_> = asked.iter().filter(|request| request.forbidden).collect();
    assert!(refused.is_empty(), "{refused:?}");
    let used: BTreeSet<(String, String, String)> =
        asked.into_iter().map(|request| (request.verb, request.resource, request.namespace)).collect();
    let mut unused = Vec::new();
    let roles = [
        ("clusterrole/evenkeel", ""),
        ("clusterrole/evenkeel-roles", ""),
        ("role/evenkeel-lease", NAMESPACE),
        ("role/evenkeel-secrets", "default"),
    ];
    // What is held to be handed out is used by handing it out, and an apply that creates is written down as a patch: that each of these is
    // needed is shown by `without_a_right_it_can_not_be_handed_out` of roles.rs.
    let is_shown_elsewhere = |role: &str, resource: &str, verb: &str| {
        role == "clusterrole/evenkeel-roles" && (resource.starts_with("evenkeel.dev/") || verb == "create")
    };
    for (role, namespace) in roles {
        let scope: &[&str] = if namespace.is_empty() { &[] } else { &["--namespace", namespace] };
        let text = plane.must(&[&["get", role, "-o", "json"], scope].concat()).unwrap();
        for rule in serde_json::from_str::<Value>(&text).unwrap()["rules"].as_array().unwrap() {
            let list = |field: &str| rule[field].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>();
            for (group, resource) in list("apiGroups").iter().flat_map(|group| list("resources").into_iter().map(move |of| (group, of))) {
                let resource = format!("{group}/{resource}").trim_start_matches('/').to_owned();
                for verb in list("verbs") {
                    let is_used = used.iter().any(|(v, r, n)| v == verb && *r == resource && (namespace.is_empty() || n == namespace));
                    if !is_used && !is_shown_elsewhere(role, &resource, verb) {
                        unused.push(format!("{verb} {resource}"));
                    }
                }
            }
        }
    }
    assert!(unused.is_empty(), "allowed and not used: {unused:?}");
}

/// A replica is killed, or the database ends, at a moment that a seed chooses, again and again in rollouts that overtake each other: nothing
/// is done twice, the log is whole, and it ends as it should. `cargo xtask chaos` does it more often.
#[test]
fn killed_at_any_moment_nothing_is_done_twice() {
    if skipped() {
        return;
    }
    let Some(mut database) = Postgres::start().unwrap() else {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "PostgreSQL is not installed, and in CI nothing is skipped");
        return eprintln!("SKIPPED: PostgreSQL is not installed");
    };
    let number = |name: &str, default: u64| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (kills, seed) = (number("EVENKEEL_KILLS", 6), number("EVENKEEL_SEED", 1));
    println!("{kills} kills from seed {seed}");
    let url = format!("--from-literal=url={}", database.url());
    let values = ["replicas=2", "database.existingSecret=db", "auditKey.existingSecret=key", "extraArgs={--lease-duration=3s}"];
    let mut world = World::new(3, &values, |plane| {
        plane.must(&["create", "secret", "generic", "db", "--namespace", NAMESPACE, &url]).unwrap();
        let key = "--from-literal=audit.key=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        plane.must(&["create", "secret", "generic", "key", "--namespace", NAMESPACE, key]).unwrap();
    });
    world.start_pod();
    world.start_pod();
    let versions = ["1.0-1", "2.0-1", "3.0-1"];
    world.deploy(versions[0], "");
    world.wait("Complete", versions[0], 3);
    // A linear congruential generator (Knuth, MMIX) is random enough for a moment.
    let mut state = seed;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let (mut version, mut planners) = (versions[0], 0);
    for kill in 0..kills {
        if kill % 2 == 0 {
            version = versions[usize::try_from(kill / 2 + 1).unwrap() % versions.len()];
            world.deploy(version, "");
        }
        std::thread::sleep(Duration::from_millis(random(6000)));
        if random(4) == 0 {
            database.down();
            std::thread::sleep(Duration::from_millis(random(3000)));
            database.up().unwrap();
        }
        let holder = world.holder();
        // Mostly the one that plans; or one that only holds shards.
        let planner = world.pods.iter().position(|pod| holder.contains(&format!("_{}_", pod.id()))).filter(|_| random(3) > 0);
        let number = planner.unwrap_or_else(|| usize::from(random(2) == 0));
        let pod = &mut world.pods[number];
        pod.kill();
        pod.run().unwrap();
        planners += usize::from(planner.is_some());
    }
    println!("{planners} of them planned");
    world.wait("Complete", version, 3);
    let log = world.verify(&world.pods[usize::from(!world.holder().contains(&format!("_{}_", world.pods[0].id())))]);
    let text = |line: &str, field: &str| {
        line.split(&format!(r#"\"{field}\":\""#)).nth(1).and_then(|rest| rest.split('\\').next()).map(str::to_owned)
    };
    let entries = |outcome: &str| {
        let of = log.lines().filter(|line| text(line, "outcome").as_deref() == Some(outcome));
        of.filter_map(|line| text(line, "step")).collect::<Vec<_>>()
    };
    let begun = entries("begun");
    assert_eq!(begun.iter().collect::<BTreeSet<_>>().len(), begun.len(), "{begun:?}");
    let ended: Vec<String> = ["done", "failed", "refused"].into_iter().flat_map(entries).filter(|step| begun.contains(step)).collect();
    assert_eq!(ended.iter().collect::<BTreeSet<_>>().len(), ended.len(), "an outcome is written once: {ended:?}");
    assert_eq!(ended.len(), begun.len(), "whatever was begun came to its end");
}
