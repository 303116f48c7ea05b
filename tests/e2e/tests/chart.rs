//! The chart on a real API server: what it renders is taken, its pods run as they are described, and what they may do is what they do.

use std::collections::BTreeSet;
use std::process::Command;

use e2e::control_plane::ControlPlane;
use e2e::fleet::{Fleet, NAMESPACE, binary, database_secrets, skipped};
use e2e::postgres::Postgres;
use rustix::process::Signal;
use serde_json::Value;

/// Looks that whoever waits for the lease has at it, from the holder's last word until it takes it. What is promised is that a lease is taken
/// over within its own time and one try: there are 7.5 tries in that time, so nine looks, of which the first one hears the last word; and one more
/// where that look and the word cross. That is the clock: a slow machine looks less often, and no more.
const LOOKS: usize = 10;

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
            "actFor.users={ann@example.com}",
            "actFor.groups={platform}",
            "actFor.serviceAccounts[0].namespace=a",
            "actFor.serviceAccounts[0].name=ci",
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
        (["replicas=2"], "set database.existingSecret, or database.bundled.enabled"),
        (["database.existingSecret=db"], "--from-literal=audit.key="),
        (["logFormat=xml"], "value must be one of"),
        (["lookInterval=often"], "does not match pattern"),
        (["lookInterval=0s"], "does not match pattern"),
        (["limits.touched=150%"], "does not match pattern"),
        (["webhooks.ingress.enabled=true"], "set webhooks.enabled too"),
        (["actFor.groups={platform,system:masters}"], "actFor.groups: system:masters is the cluster's own"),
        (["actFor.users={system:admin}"], "actFor.users: system:admin is the cluster's own"),
        (["actFor.users={system:serviceaccount:a:ci}"], "name it under actFor.serviceAccounts"),
        (["actFor.serviceAccounts[0].name=ci"], "missing property 'namespace'"),
    ] {
        let (fine, said) = helm(&plane, &["template", "keel", &chart()], &values);
        assert!(!fine && said.contains(reason), "{values:?}: {said}");
    }
    let values = ["database.existingSecret=db", "database.bundled.enabled=true"];
    let (fine, said) = helm(&plane, &["template", "keel", &chart()], &values);
    assert!(!fine && said.contains("leave one out"), "{said}");
    let values = ["watchNamespaces={a}", "secrets[0].namespace=b", "secrets[0].names={one}"];
    let (fine, said) = helm(&plane, &["template", "keel", &chart()], &values);
    assert!(!fine && said.contains("not among watchNamespaces"), "{said}");
}

/// As installed without a word: SQLite on a volume, a key and a token that the chart makes. An upgrade keeps both, an uninstall the objects.
#[test]
fn a_pod_runs_as_the_chart_says() {
    if skipped() {
        return;
    }
    let mut world = Fleet::new(ControlPlane::start().unwrap(), 2, &[], |_| {}).unwrap();
    world.start_pod().unwrap();
    world.deploy("1.0-1", "  onDelete: Remove\n");
    world.wait("Complete", "1.0-1", 2);
    let pod = &world.pods[0];
    world.log(pod).unwrap().assert_once();
    let refused = Command::new(binary().unwrap())
        .args(["status", "--server", &pod.url()])
        .env("EVENKEEL_TOKEN", "not-the-token-at-all")
        .output()
        .unwrap();
    assert!(!refused.status.success());

    helm_test(&world);
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
    world.start_pod().unwrap();
    world.deploy("2.0-1", "  onDelete: Remove\n");
    world.wait("Complete", "2.0-1", 2);
    world.log(&world.pods[1]).unwrap().assert_once();

    // Its rights go with the chart, and its pods do before.
    world.pods.clear();
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
    let values = ["replicas=2", "database.existingSecret=db", "auditKey.existingSecret=key", "webhooks.enabled=true"];
    let mut world = Fleet::new(ControlPlane::start().unwrap(), 3, &values, |plane| database_secrets(plane, &database)).unwrap();
    // The kinds that nothing is done for yet have a status too.
    for others in ["devices/classes.yaml", "watching/alerts.yaml", "governing/roles.yaml"] {
        world.plane.must(&["apply", "-f", &format!("{}/../../examples/{others}", env!("CARGO_MANIFEST_DIR"))]).unwrap();
    }
    // What is told apart by devices RBAC can't say, so those of the examples are none there: this one is.
    let role = "metadata: {name: readers}\nspec: {subjects: [{group: readers}], allow: [{verbs: [view], kinds: [AlertRule]}]}\n";
    world.plane.apply(&format!("apiVersion: evenkeel.dev/v1alpha1\nkind: Role\n{role}")).unwrap();
    let repository = "metadata: {name: r, namespace: default}\nspec: {url: 'https://git.example.com/r', suspend: true, webhook: {provider: GitLab, secretRef: {name: fleet-key, key: hook}}}\n";
    world.plane.apply(&format!("apiVersion: evenkeel.dev/v1alpha1\nkind: Repository\n{repository}")).unwrap();
    world.start_pod().unwrap();
    world.start_pod().unwrap();
    world.deploy("1.0-1", "  onDelete: Remove\n");
    world.wait("Complete", "1.0-1", 3);
    let said = format!("{:?}", world.cli(&world.pods[1], &["status"]));
    assert!(said.contains("waiting for the lease"), "{said}");
    // It takes webhooks all the same.
    world.plane.must(&["patch", "secret", "fleet-key", "--patch", r#"{"stringData": {"hook": "the-token-of-the-webhook"}}"#]).unwrap();
    world.until("a webhook being taken", || {
        let answer = world.pods[1].post("/hooks/default/r", "X-Gitlab-Token: the-token-of-the-webhook\r\nX-Gitlab-Event: Push Hook");
        let answer = answer.map_err(|error| error.to_string())?;
        if answer.starts_with("HTTP/1.1 202") { Ok(()) } else { Err(answer) }
    });
    let asked = "jsonpath={.metadata.annotations.evenkeel\\.dev/requested-at}";
    assert!(!world.plane.must(&["get", "erepo/r", "-o", asked]).unwrap().is_empty());

    // Killed with a batch done and others to come.
    let first = world.holder();
    world.deploy("2.0-1", "  onDelete: Remove\n");
    world.until("the first device of 2.0-1", || {
        let status = world.object("edep", "app")["status"].clone();
        if status["counts"]["updated"] == 1 && status["phase"] != "Complete" { Ok(()) } else { Err(status.to_string()) }
    });
    world.pods[0].kill();
    taken_over(&world, &first);
    world.wait("Complete", "2.0-1", 3);

    // Frozen with a batch done and others to come, and awake again when somebody else acts.
    world.pods[0].run().unwrap();
    let second = world.holder();
    world.deploy("3.0-1", "  onDelete: Remove\n");
    world.until("the first device of 3.0-1", || {
        let status = world.object("edep", "app")["status"].clone();
        if status["counts"]["updated"] == 1 && status["phase"] != "Complete" { Ok(()) } else { Err(status.to_string()) }
    });
    world.pods[1].signal(Signal::STOP).unwrap();
    taken_over(&world, &second);
    world.pods[1].signal(Signal::CONT).unwrap();
    world.until("its end", || if world.pods[1].is_over() { Ok(()) } else { Err("it runs".into()) });
    assert!(world.pods[1].log().contains("lease is lost"), "{}", world.pods[1].log());
    world.wait("Complete", "3.0-1", 3);

    let log = world.log(&world.pods[0]).unwrap();
    log.assert_once();
    assert_eq!(log.begun("apply"), 9, "three devices and three versions");

    // A Deployment goes with its content, and nothing that was allowed was not needed.
    world.plane.must(&["delete", "edep", "app", "--timeout=60s"]).unwrap();
    rights(&world.plane);
}

/// `helm test`: its pod's command with its environment, as its user, towards the pod that its Service would lead to.
fn helm_test(world: &Fleet) {
    let (fine, hooks) = helm(&world.plane, &["get", "hooks", "evenkeel", "--namespace", NAMESPACE], &[]);
    assert!(fine, "{hooks}");
    let text = world.plane.with(&["create", "--dry-run=client", "-o", "json"], &hooks).unwrap();
    let pod: Value = serde_json::from_slice(&text.stdout).unwrap_or_else(|error| panic!("{error}: {hooks}"));
    assert_eq!(pod["metadata"]["annotations"]["helm.sh/hook"], "test");
    // It needs nothing of the API server.
    assert_eq!(pod["spec"]["automountServiceAccountToken"], false);
    let container = &pod["spec"]["containers"][0];
    let service = format!("http://evenkeel.{NAMESPACE}:8080");
    let ports =
        world.plane.must(&["get", "service", "evenkeel", "--namespace", NAMESPACE, "-o", "jsonpath={.spec.ports[*].port}"]).unwrap();
    assert!(ports.split(' ').any(|port| port == "8080"), "{ports}");
    let arguments: Vec<String> =
        container["args"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap().to_owned()).collect();
    assert!(arguments.contains(&service), "{arguments:?}");
    let reference = &container["env"][0]["valueFrom"]["secretKeyRef"];
    let template = format!("go-template={{{{index .data {} | base64decode}}}}", reference["key"]);
    let token =
        world.plane.must(&["get", "secret", reference["name"].as_str().unwrap(), "--namespace", NAMESPACE, "-o", &template]).unwrap();
    // Where anybody may read it.
    let place = tempfile::Builder::new().prefix("evenkeel-helm-test-").tempdir().unwrap();
    std::fs::set_permissions(place.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let program = place.path().join("evenkeel");
    std::fs::copy(binary().unwrap(), &program).unwrap();
    let user = pod["spec"]["securityContext"]["runAsUser"].to_string();
    let run = |token: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]);
        command
            .arg(&program)
            .args(arguments.iter().map(|argument| if *argument == service { world.pods[0].url() } else { argument.clone() }));
        command.env_clear().env(container["env"][0]["name"].as_str().unwrap(), token).output().unwrap()
    };
    let output = run(&token);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!run("not-the-token-of-the-chart").status.success(), "whatever is there, it says that all is well");
}

/// Waits until another one has the lease; nobody ever waited for it longer than is promised, by the API server's own log.
fn taken_over(world: &Fleet, from: &str) {
    world.until("another holder", || if world.holder() == from { Err(from.to_owned()) } else { Ok(()) });
    let asked = world.plane.requests_of(NAMESPACE, "evenkeel").unwrap();
    let (mut looks, mut most) = (0, 0);
    for request in asked.iter().filter(|request| request.resource == "coordination.k8s.io/leases" && request.name == "evenkeel") {
        looks = if request.verb == "get" { looks + 1 } else { 0 };
        most = most.max(looks);
    }
    assert!(most <= LOOKS, "{most} looks at a lease that nobody renewed, and it was taken at the last one only");
}

/// What the chart allows is what the operator has asked for, no more and no less.
fn rights(plane: &ControlPlane) {
    let asked = plane.requests_of(NAMESPACE, "evenkeel").unwrap();
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
    // needed is shown by `without_a_right_it_can_not_be_handed_out` of roles.rs. Our kinds are listed in pages only where the API server does
    // not send a list as a stream, as this one does.
    let is_shown_elsewhere = |role: &str, resource: &str, verb: &str| {
        (role == "clusterrole/evenkeel-roles" && (resource.starts_with("evenkeel.dev/") || verb == "create"))
            || (resource.starts_with("evenkeel.dev/") && verb == "list")
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
