//! What the operator is allowed: each rule of the chart is taken away in turn, and something is refused that it needs.

use std::collections::BTreeSet;
use std::time::Duration;

use e2e::control_plane::{ControlPlane, Request};
use e2e::fleet::{Fleet, LIMIT, NAMESPACE, app, database_secrets, skipped};
use e2e::postgres::Postgres;
use e2e::wait_until;
use serde_json::{Value, json};

/// Roles of the chart of which each rule is taken away here, and where they are.
const ROLES: [(&str, &str); 4] = [
    ("clusterrole/evenkeel", ""),
    ("role/evenkeel-lease", NAMESPACE),
    ("role/evenkeel-secrets", "default"),
    ("clusterrole/evenkeel-tokens", ""),
];
/// The other ones, and where each is taken away, or why it is not.
const ELSEWHERE: [(&str, &str); 8] = [
    // It would stand in for some of what is taken away here.
    ("clusterrole/evenkeel-roles", "roles.rs: without_a_right_it_can_not_be_handed_out"),
    ("role/evenkeel-act-for-evenkeel-repository", "repositories.rs: without_the_right_to_act_for_its_account_nothing_is_applied"),
    ("clusterrole/evenkeel-repository", "the same: the account's own rights, not the operator's"),
    ("role/evenkeel-repository-core", "sops.rs: config_maps_and_secrets_come_from_git_where_that_is_asked_for, which begins without it"),
    ("clusterrole/evenkeel-act-for", "cluster_writes.rs: who is not named in it can't be acted for"),
    ("role/evenkeel-act-for-account-ci", "the same"),
    ("clusterrole/evenkeel-view", "people's: the operator is not bound to it"),
    ("clusterrole/evenkeel-edit", "people's: the operator is not bound to it"),
];

struct World {
    fleet: Fleet,
    turn: usize,
}

impl World {
    fn patch(&self, role: &str, namespace: &str, rules: &Value) {
        let scope: &[&str] = if namespace.is_empty() { &[] } else { &["--namespace", namespace] };
        let patch = json!({"rules": rules}).to_string();
        self.fleet.plane.must(&[&["patch", role, "--type=merge", "--patch", &patch], scope].concat()).unwrap();
    }

    fn rules(&self, role: &str, namespace: &str) -> Vec<Value> {
        let scope: &[&str] = if namespace.is_empty() { &[] } else { &["--namespace", namespace] };
        let text = self.fleet.plane.must(&[&["get", role, "-o", "json"], scope].concat()).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["rules"].as_array().unwrap().clone()
    }

    fn refused(&self) -> Vec<Request> {
        let asked = self.fleet.plane.requests_of(NAMESPACE, "evenkeel").unwrap();
        asked.into_iter().filter(|request| request.forbidden).collect()
    }

    /// Begins anew with nothing but what it may now, with something of everything to do.
    fn live(&mut self) {
        self.turn += 1;
        let pod = &mut self.fleet.pods[0];
        pod.kill();
        // Nobody has to wait for who was there before, and somebody has to make it.
        self.fleet.plane.must(&["delete", "lease", "--all", "--namespace", NAMESPACE]).unwrap();
        self.fleet.pods[0].run().unwrap();
        let version = ["2.0-1", "3.0-1"][self.turn % 2];
        deploy(&self.fleet, version);
        let named = |kind: &str, spec: &str| {
            let name = format!("turn-{}", self.turn);
            format!("apiVersion: evenkeel.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}, namespace: default}}\nspec: {spec}\n")
        };
        let deployment = "{selector: {matchLabels: {role: none}}, package: {apt: {name: app, version: 1.0-1}}, onDelete: Remove}";
        self.fleet.plane.apply(&named("Deployment", deployment)).unwrap();
    }

    /// Asks for a look as a Git server does, and for whom a token of the cluster speaks; who can't be reached yet is asked again.
    fn ask(&self) {
        let token = self.fleet.plane.token("default", "default").unwrap();
        let _ = self.fleet.pods[0].get_with("/api/v1/devices", &format!("Authorization: Bearer {token}"));
        let _ = self.fleet.pods[0].post("/hooks/default/r", "X-Gitlab-Token: the-token-of-the-webhook\r\nX-Gitlab-Event: Push Hook");
    }
}

/// Another version each time, lower than the one before where that has come as far as the device.
fn deploy(fleet: &Fleet, version: &str) {
    let app =
        app(version, "  onDelete: Remove\n").replace(&format!("version: {version}"), &format!("version: {version}, allowDowngrade: true"));
    fleet.plane.apply(&app).unwrap();
}

/// Whether a request is of what a rule allows.
fn is_of(rule: &Value, request: &Request) -> bool {
    let list = |field: &str| rule[field].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>();
    let resources = list("apiGroups").into_iter().flat_map(|group| list("resources").into_iter().map(move |of| format!("{group}/{of}")));
    let is_named = resources.map(|resource| resource.trim_start_matches('/').to_owned()).any(|resource| resource == request.resource);
    is_named && list("verbs").contains(&request.verb.as_str())
}

#[test]
fn each_rule_that_is_taken_away_is_missed() {
    if skipped() {
        return;
    }
    let Some(database) = Postgres::start().unwrap() else {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "PostgreSQL is not installed, and in CI nothing is skipped");
        return eprintln!("SKIPPED: PostgreSQL is not installed");
    };
    // With several replicas whoever acts says so on its pod; one is enough to see that.
    let values = [
        "webhooks.enabled=true",
        "roles.enabled=false",
        "signIn.kubernetesTokens=true",
        "replicas=2",
        "shards=0",
        "database.existingSecret=db",
        "auditKey.existingSecret=key",
        "extraArgs={--lease-duration=3s}",
    ];
    let mut fleet = Fleet::new(ControlPlane::start().unwrap(), 1, &values, |plane| database_secrets(plane, &database)).unwrap();
    fleet.plane.must(&["create", "serviceaccount", "default"]).unwrap();
    fleet.plane.must(&["patch", "secret", "fleet-key", "--patch", r#"{"stringData": {"hook": "the-token-of-the-webhook"}}"#]).unwrap();
    let repository = "metadata: {name: r, namespace: default}\nspec: {url: 'https://git.example.com/r', suspend: true, webhook: {provider: GitLab, secretRef: {name: fleet-key, key: hook}}}\n";
    fleet.plane.apply(&format!("apiVersion: evenkeel.dev/v1alpha1\nkind: Repository\n{repository}")).unwrap();
    assert_eq!(
        roles(&fleet.plane),
        ROLES.map(|(role, _)| role).into_iter().chain(ELSEWHERE.map(|(role, _)| role)).map(str::to_owned).collect()
    );
    fleet.start_pod().unwrap();
    deploy(&fleet, "1.0-1");
    fleet.wait("Complete", "1.0-1", 1);
    let mut world = World { fleet, turn: 0 };
    world.ask();
    assert!(world.refused().is_empty(), "{:?}", world.refused());
    world.fleet.plane.denials_are_meant("*");
    let mut taken = 0;
    for (role, namespace) in ROLES {
        let whole = world.rules(role, namespace);
        for number in 0..whole.len() {
            let mut without = whole.clone();
            let rule = without.remove(number);
            world.patch(role, namespace, &json!(without));
            // The API server takes a moment to know of it.
            std::thread::sleep(Duration::from_millis(500));
            let before = world.refused().len();
            world.live();
            world.fleet.until(&format!("{role} without {rule} being missed"), || {
                world.ask();
                let refused = world.refused();
                if refused[before..].iter().any(|request| is_of(&rule, request)) {
                    Ok(())
                } else {
                    Err(format!("{:?}", &refused[before..]))
                }
            });
            world.patch(role, namespace, &json!(whole));
            taken += 1;
        }
    }
    assert_eq!(taken, 11, "rules of the chart");
    // With all of them back nothing is refused, and it works.
    std::thread::sleep(Duration::from_millis(500));
    world.live();
    let version = ["2.0-1", "3.0-1"][world.turn % 2];
    world.fleet.wait("Complete", version, 1);
    let before = world.refused().len();
    deploy(&world.fleet, "1.0-1");
    world.fleet.wait("Complete", "1.0-1", 1);
    assert_eq!(world.refused().len(), before, "{:?}", &world.refused()[before..]);
}

/// Every role that the chart can make, with whatever makes it.
fn roles(plane: &ControlPlane) -> BTreeSet<String> {
    let chart = format!("{}/../../charts/evenkeel", env!("CARGO_MANIFEST_DIR"));
    let set = [
        "webhooks.enabled=true",
        "signIn.kubernetesTokens=true",
        "secrets[0].namespace=default",
        "secrets[0].names={fleet-key}",
        "repositories[0].namespace=default",
        "repositories[0].core=true",
        "actFor.users={ann@example.com}",
        "actFor.serviceAccounts[0].namespace=default",
        "actFor.serviceAccounts[0].name=ci",
    ];
    let arguments: Vec<&str> = ["template", "evenkeel", &chart].into_iter().chain(set.iter().flat_map(|set| ["--set", *set])).collect();
    let rendered = plane.helm(&arguments).unwrap();
    assert!(rendered.status.success(), "{}", String::from_utf8_lossy(&rendered.stderr));
    let text = String::from_utf8_lossy(&rendered.stdout).into_owned();
    let role = |document: &str| {
        let line = |field: &str| document.lines().find_map(|line| line.strip_prefix(field)).map(str::trim);
        let kind = line("kind: ").filter(|kind| ["Role", "ClusterRole"].contains(kind))?;
        Some(format!("{}/{}", kind.to_lowercase(), line("  name: ")?))
    };
    text.split("\n---\n").filter_map(role).collect()
}

/// Whoever may write Receivers sends neither the fleet's key to a place of their own, nor anything to what only the operator reaches.
#[test]
fn a_receiver_gets_only_a_secret_that_says_so_and_reaches_only_what_others_reach() {
    if skipped() {
        return;
    }
    let fleet = Fleet::new(ControlPlane::start().unwrap(), 1, &[], |_| {}).unwrap();
    let receiver = |url: &str| {
        let spec = format!("{{webhook: {{url: '{url}', secretRef: {{name: fleet-key, key: ssh-privatekey}}}}}}");
        fleet
            .plane
            .apply(&format!(
                "apiVersion: evenkeel.dev/v1alpha1\nkind: Receiver\nmetadata: {{name: mine, namespace: default}}\nspec: {spec}\n"
            ))
            .unwrap();
    };
    receiver("http://127.0.0.1:9/take");
    let mut engine = fleet.engine("engine", None).unwrap();
    engine.start().unwrap();
    let says = |what: &str, text: &str| {
        wait_until(what, LIMIT, || {
            let output = engine.cli(&["receivers", "test", "mine"]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            if said.contains(text) { Ok(()) } else { Err(said) }
        })
        .unwrap_or_else(|error| panic!("{error}\n{}", engine.tail()));
    };
    says("the key is not for receivers", "kubectl label secret -n default fleet-key evenkeel.dev/receiver=true");
    fleet.plane.must(&["label", "secret", "fleet-key", "evenkeel.dev/receiver=true"]).unwrap();
    says("the operator's own ports are nobody else's", "nothing is sent to 127.0.0.1");
    receiver("http://localhost:9/take");
    says("whatever their name is", "nothing is sent to 127.0.0.1");
    receiver("http://169.254.169.254/latest");
    says("nor is a cloud's metadata", "nothing is sent to 169.254.169.254");
}
