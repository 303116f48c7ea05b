//! Roles on a real API server: what each gives with kubectl is what `evenkeel can` says, it ends when it is taken away, and nothing else can
//! be given.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use e2e::control_plane::{ControlPlane, programs};
use e2e::engine::Engine;
use e2e::wait_until;
use serde_json::{Value, json};

const NAMESPACE: &str = "evenkeel-system";

/// Dropped in this order.
struct World {
    engine: Engine,
    plane: ControlPlane,
    _folder: tempfile::TempDir,
}

fn binary() -> PathBuf {
    std::env::var("EVENKEEL_BIN").expect("EVENKEEL_BIN names no evenkeel: run the tests by `cargo xtask test`").into()
}

/// Devices of two sites and what is about them; nothing is done on any of them.
const OBJECTS: &[(&str, &str, &str)] = &[
    ("Device", "web-ams, labels: {site: ams, role: web}", "{type: Server, address: 10.0.0.1}"),
    ("Device", "db-ams, labels: {site: ams, role: db}", "{type: Server, address: 10.0.0.2}"),
    ("Device", "web-fra, labels: {site: fra, role: web}", "{type: Server, address: 10.0.0.3}"),
    ("Deployment", "db", "{selector: {matchLabels: {role: db}}, package: {apt: {name: db, version: '1'}}}"),
    ("Deployment", "web", "{selector: {matchLabels: {role: web}}, package: {apt: {name: web, version: '1'}}}"),
    ("AlertRule", "db", "{selector: {matchLabels: {role: db}}, expr: 'true', severity: info}"),
    ("Silence", "ams", "{devices: {matchLabels: {site: ams}}, until: '2037-01-01T00:00:00Z', reason: x}"),
    ("Receiver", "mail", "{webhook: {url: 'https://example.com'}}"),
    (
        "Role",
        "ams",
        "{subjects: [{user: alice}, {group: ams}], allow: [{verbs: [edit, deploy, silence], devices: {matchLabels: {site: ams}}}]}",
    ),
    (
        "Role",
        "viewers",
        "{subjects: [{user: bob}], allow: [{verbs: [view], kinds: [Device, Receiver]}, {verbs: [approve, rollback], kinds: [Deployment]}]}",
    ),
    ("Role", "platform", "{subjects: [{group: platform}], allow: [{verbs: [edit, acknowledge]}]}"),
    ("Role", "asleep", "{subjects: [{user: carol}], allow: [{verbs: [edit]}], suspend: true}"),
    ("Role", "repositories", "{subjects: [{user: dave}], allow: [{verbs: [edit], kinds: [Repository]}]}"),
    ("Role", "signers", "{subjects: [{signer: ssh-ed25519 AAAAC3Nz}], allow: [{verbs: [edit]}]}"),
];

fn object(kind: &str, metadata: &str, spec: &str) -> String {
    format!("---\napiVersion: evenkeel.dev/v1alpha1\nkind: {kind}\nmetadata: {{namespace: default, name: {metadata}}}\nspec: {spec}\n")
}

/// `None`: no API server can be had here.
fn world() -> Option<World> {
    if let Some(why) = programs::unavailable() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{why}, and in CI nothing is skipped");
        eprintln!("SKIPPED: {why}");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "no device is reached").unwrap();
    let plane = ControlPlane::start().unwrap();
    plane.install_chart("evenkeel", NAMESPACE, &[]).unwrap();
    let mut engine = Engine::with(&binary(), folder.path(), &key).unwrap();
    engine.kubeconfig = Some(plane.service_account(NAMESPACE, "evenkeel").unwrap());
    let world = World { engine, plane, _folder: folder };
    let all: String = OBJECTS.iter().map(|(kind, metadata, spec)| object(kind, metadata, spec)).collect();
    world.plane.apply(&all).unwrap();
    Some(world)
}

impl World {
    fn until(&self, what: &str, look: impl FnMut() -> Result<(), String>) {
        wait_until(what, Duration::from_secs(60), look).unwrap_or_else(|error| panic!("{error}\n{}", self.engine.tail()));
    }

    fn ready(&self, role: &str) -> Value {
        let text = self.plane.kubectl(&["get", "erole", role, "-o", "json"]).unwrap().stdout;
        let object: Value = serde_json::from_slice(&text).unwrap_or_default();
        let ready = object["status"]["conditions"].as_array().and_then(|all| all.iter().find(|of| of["type"] == "Ready")).cloned();
        let is_newest = object["status"]["observedGeneration"] == object["metadata"]["generation"];
        ready.filter(|_| is_newest).unwrap_or_default()
    }

    /// Waits until a Role says this of itself.
    fn told(&self, role: &str, reason: &str, message: &str) {
        self.until(&format!("role {role}: {reason} {message:?}"), || {
            let ready = self.ready(role);
            let there = ready["reason"] == reason && ready["message"].as_str().is_some_and(|said| said.contains(message));
            if there { Ok(()) } else { Err(ready.to_string()) }
        });
    }

    fn started(&mut self) {
        self.engine.start().unwrap();
        for role in ["ams", "viewers", "platform", "repositories", "signers"] {
            self.told(role, "Granted", "");
        }
        self.told("asleep", "Suspended", "");
    }

    /// kubectl in somebody's name: what they may do is what the API server lets them do.
    fn as_user(&self, user: &str, arguments: &[&str]) -> Output {
        self.plane.kubectl(&[&["--as", user], arguments].concat()).unwrap()
    }

    fn may(&self, user: &str, arguments: &[&str]) {
        let output = self.as_user(user, arguments);
        assert!(output.status.success(), "{user} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn may_not(&self, user: &str, arguments: &[&str]) {
        let output = self.as_user(user, arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("Forbidden"), "{user} {arguments:?}: {said}");
    }

    fn until_may_not(&self, user: &str, arguments: &[&str]) {
        self.until(&format!("{user} may not {arguments:?}"), || {
            let output = self.as_user(user, arguments);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            if !output.status.success() && said.contains("Forbidden") { Ok(()) } else { Err("they may".into()) }
        });
    }

    fn until_may(&self, user: &str, arguments: &[&str]) {
        self.until(&format!("{user} may {arguments:?}"), || {
            let output = self.as_user(user, arguments);
            if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
        });
    }

    /// The resource versions of all that Roles have become.
    fn versions(&self) -> BTreeMap<String, String> {
        let format = "jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.resourceVersion}{\"\\n\"}{end}";
        let label = "app.kubernetes.io/managed-by=evenkeel";
        let text = self.plane.must(&["get", "roles.rbac.authorization.k8s.io,rolebindings", "-l", label, "-o", format]).unwrap();
        text.lines().filter_map(|line| line.split_once(' ')).map(|(name, version)| (name.to_owned(), version.to_owned())).collect()
    }

    fn patch(&self, target: &str, patch: &Value) {
        self.plane.must(&["patch", target, "--type=merge", "-p", &patch.to_string()]).unwrap();
    }
}

/// What our verbs are called there.
fn in_kubernetes(verb: &str, is_named: bool) -> &str {
    match (verb, is_named) {
        ("view", true) => "get",
        ("view", false) => "list",
        ("edit", true) => "update",
        ("edit", false) => "create",
        (verb, _) => verb,
    }
}

/// Subjects, verbs and objects, all of them: `evenkeel can` says what the API server says, also where kubectl gives less than a Role does.
#[test]
fn what_can_says_is_what_the_api_server_says() {
    let Some(mut world) = world() else { return };
    world.started();
    let subjects: [(&str, &[&str]); 8] = [
        ("alice", &[]),
        ("bob", &[]),
        ("bob", &["ams"]),
        ("erin", &["platform"]),
        ("erin", &["platform", "ams"]),
        ("carol", &[]),
        ("dave", &[]),
        ("mallory", &["elsewhere"]),
    ];
    let verbs = ["view", "edit", "deploy", "rollback", "approve", "silence", "acknowledge"];
    let targets = [
        ("devices", None),
        ("devices", Some("web-ams")),
        ("devices", Some("web-fra")),
        ("deployments", None),
        ("deployments", Some("db")),
        ("deployments", Some("web")),
        ("alertrules", Some("db")),
        ("silences", Some("ams")),
        ("receivers", Some("mail")),
        ("roles", Some("ams")),
        ("repositories", None),
        ("repositories", Some("none")),
    ];
    let mut asked = Vec::new();
    let mut reviews = Vec::new();
    for (user, groups) in subjects {
        for verb in verbs {
            for (resource, name) in targets {
                let attributes = json!({"group": "evenkeel.dev", "resource": resource, "verb": in_kubernetes(verb, name.is_some()), "namespace": "default", "name": name.unwrap_or_default()});
                reviews.push(json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {"user": user, "groups": groups, "resourceAttributes": attributes}}));
                asked.push((user, groups, verb, resource, name));
            }
        }
    }
    let list = json!({"apiVersion": "v1", "kind": "List", "items": reviews}).to_string();
    let answers = world.plane.with(&["create", "-o", "json"], &list).unwrap();
    assert!(answers.status.success(), "{}", String::from_utf8_lossy(&answers.stderr));
    let text = String::from_utf8(answers.stdout).unwrap();
    let answers: Vec<Value> = match serde_json::from_str::<Value>(&text) {
        Ok(list) => list["items"].as_array().cloned().unwrap_or_default(),
        // Several objects, one after the other.
        Err(_) => serde_json::Deserializer::from_str(&text).into_iter::<Value>().map(Result::unwrap).collect(),
    };
    assert_eq!(answers.len(), asked.len());
    let (mut allowed, mut less) = (0, BTreeSet::new());
    for (number, ((user, groups, verb, resource, name), answer)) in asked.into_iter().zip(answers).enumerate() {
        let there = answer["status"]["allowed"] == true;
        let target = name.map_or_else(|| resource.to_owned(), |name| format!("{resource}/{name}"));
        let mut arguments = vec!["can", user, verb, &target, "-o", "json"];
        groups.iter().for_each(|group| arguments.extend(["--group", group]));
        let output = world.engine.cli(&arguments);
        let here: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{arguments:?}: {output:?}"));
        assert_eq!(output.status.success(), here["allowed"] == true, "{arguments:?}");
        assert_eq!(here["kubectl"] == true, there, "{arguments:?}: {here} {answer}");
        if here["allowed"] != there {
            assert!(here["allowed"] == true && verb == "edit", "{arguments:?}: {here}");
            less.insert(resource);
        }
        allowed += usize::from(there);
        // The same by kubectl's own word for it, for some of them.
        if number % 29 == 0 {
            let mut can_i = vec!["auth", "can-i", in_kubernetes(verb, name.is_some()), "--as", user];
            groups.iter().for_each(|group| can_i.extend(["--as-group", group]));
            let of = name.map_or_else(|| format!("{resource}.evenkeel.dev"), |name| format!("{resource}.evenkeel.dev/{name}"));
            can_i.push(&of);
            let said = world.plane.kubectl(&can_i).unwrap();
            assert_eq!(said.status.success(), there, "{can_i:?}: {said:?}");
        }
    }
    println!("{allowed} are allowed");
    assert!(allowed > 100, "{allowed}");
    // Where kubectl gives less than a Role: what could be turned to other devices by a change, and Repositories.
    assert_eq!(less, BTreeSet::from(["alertrules", "deployments", "repositories", "silences"]));
    let signer = world.engine.cli(&["can", "signer:ssh-ed25519 AAAAC3Nz somebody", "edit", "device/web-fra"]);
    assert_eq!(String::from_utf8_lossy(&signer.stdout), "yes: role/signers spec.allow[0]\n");
}

/// What is given can be used, what is taken away can't any more, what others change is put back, and what others made is left alone.
#[test]
fn rights_come_and_go_with_their_role() {
    let Some(mut world) = world() else { return };
    world.plane.start_controllers().unwrap();
    world.started();
    world.told("ams", "Granted", "alice, group ams: edit, deploy, silence everything on some devices");
    world.told("signers", "Granted", "nothing by kubectl");
    world.may("alice", &["get", "dev", "web-ams"]);
    world.may("alice", &["annotate", "dev", "web-ams", "note=x"]);
    world.may_not("alice", &["get", "dev", "web-fra"]);
    world.may_not("alice", &["annotate", "dev", "web-fra", "note=x"]);
    world.may_not("alice", &["get", "dev"]);
    world.may_not("alice", &["patch", "edep", "db", "--type=merge", "-p", r#"{"spec":{"selector":{"matchLabels":{}}}}"#]);
    world.may("bob", &["get", "dev"]);
    world.may_not("bob", &["delete", "dev", "web-ams"]);
    world.may_not("carol", &["get", "dev", "web-ams"]);
    // Nothing is made for whoever gets nothing.
    let names: BTreeSet<String> = world.versions().into_keys().collect();
    let made = ["ams", "platform", "repositories", "viewers"];
    let made = made.iter().flat_map(|role| [format!("Role/evenkeel:{role}"), format!("RoleBinding/evenkeel:{role}")]);
    assert_eq!(names, made.collect());

    // A label changes: only the Role that this concerns is written.
    let before = world.versions();
    world.plane.must(&["label", "dev", "web-fra", "--overwrite", "site=ams"]).unwrap();
    world.until_may("alice", &["get", "dev", "web-fra"]);
    world.until_may("alice", &["get", "edep", "web"]);
    let after = world.versions();
    let written: Vec<&String> = after.iter().filter(|(name, version)| before.get(*name) != Some(version)).map(|(name, _)| name).collect();
    assert_eq!(written, ["Role/evenkeel:ams"]);
    world.plane.must(&["label", "dev", "web-fra", "--overwrite", "site=fra"]).unwrap();
    world.until_may_not("alice", &["get", "dev", "web-fra"]);

    // Whoever is taken out of a Role has nothing of it any more, and a suspended one gives nothing to anybody.
    world.patch("erole/ams", &json!({"spec": {"subjects": [{"group": "ams"}]}}));
    world.until_may_not("alice", &["get", "dev", "web-ams"]);
    world.may("somebody", &["--as-group", "ams", "get", "dev", "web-ams"]);
    world.patch("erole/viewers", &json!({"spec": {"suspend": true}}));
    world.until_may_not("bob", &["get", "dev"]);
    world.told("viewers", "Suspended", "");
    world.patch("erole/viewers", &json!({"spec": {"suspend": null}}));
    world.until_may("bob", &["get", "dev"]);

    // What others add, take away or delete is put back.
    let more = json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]);
    world.patch("roles.rbac.authorization.k8s.io/evenkeel:viewers", &json!({"rules": more}));
    world.until("bob sees devices and no secrets", || {
        let (devices, secrets) = (world.as_user("bob", &["get", "dev"]), world.as_user("bob", &["get", "secret", "x"]));
        let refused = String::from_utf8_lossy(&secrets.stderr).contains("Forbidden");
        if devices.status.success() && refused { Ok(()) } else { Err("not yet".into()) }
    });
    let mallory = json!([{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "mallory"}]);
    world.patch("rolebinding/evenkeel:viewers", &json!({"subjects": mallory, "metadata": {"labels": null}}));
    world.until_may_not("mallory", &["get", "dev"]);
    world.until_may("bob", &["get", "dev"]);
    world.plane.must(&["delete", "rolebinding", "evenkeel:viewers"]).unwrap();
    world.until_may("bob", &["get", "dev"]);

    // One of the name that is not ours stays as it is, and that is said until it goes.
    world.plane.must(&["create", "role", "evenkeel:taken", "--verb=get", "--resource=configmaps"]).unwrap();
    world.plane.apply(&object("Role", "taken", "{subjects: [{user: frank}], allow: [{verbs: [view], kinds: [Device]}]}")).unwrap();
    world.told("taken", "OwnedElsewhere", "evenkeel:taken");
    let rules =
        world.plane.must(&["get", "roles.rbac.authorization.k8s.io", "evenkeel:taken", "-o", "jsonpath={.rules[*].resources}"]).unwrap();
    assert_eq!(rules, r#"["configmaps"]"#);
    world.may_not("frank", &["get", "dev"]);
    world.plane.must(&["delete", "roles.rbac.authorization.k8s.io", "evenkeel:taken"]).unwrap();
    world.plane.must(&["annotate", "erole", "taken", "evenkeel.dev/requested-at=now"]).unwrap();
    world.until_may("frank", &["get", "dev"]);

    // Nothing is written when nothing changes, also not by a process that begins anew; what went meanwhile gives nothing any more.
    world.until("the state being told", || if world.ready("taken")["reason"] == "Granted" { Ok(()) } else { Err("not yet".into()) });
    let before = world.versions();
    world.engine.terminate().unwrap();
    world.plane.must(&["delete", "erole", "taken"]).unwrap();
    world.engine.start().unwrap();
    world.until_may_not("frank", &["get", "dev"]);
    let is_other = |name: &str| !name.ends_with("evenkeel:taken");
    let others = |versions: BTreeMap<String, String>| versions.into_iter().filter(|(name, _)| is_other(name)).collect::<Vec<_>>();
    world.until("both being collected", || if world.versions().keys().all(|name| is_other(name)) { Ok(()) } else { Err("there".into()) });
    assert_eq!(others(world.versions()), others(before), "{}", world.engine.tail());
}

/// A Role gives rights on our kinds and on nothing else: the schema has no others, and the operator may hand out no others, whoever makes it
/// try, nor change of a Repository.
#[test]
fn nothing_else_can_be_handed_out() {
    let Some(mut world) = world() else { return };
    // What is tried here is tried with the operator's own rights.
    world.plane.denials_are_meant("*");
    world.started();
    for wrong in [
        "{verbs: [view], kinds: [Secret]}",
        "{verbs: [get], kinds: [Device]}",
        "{verbs: ['*']}",
        "{verbs: [view], kinds: ['*']}",
        "{verbs: [view], apiGroups: ['']}",
    ] {
        let text = object("Role", "smuggler", &format!("{{subjects: [{{user: mallory}}], allow: [{wrong}]}}"));
        let refused = world.plane.with(&["apply", "--server-side"], &text).unwrap();
        assert!(!refused.status.success(), "{wrong}");
    }
    // With the operator's own rights, as if it were somebody else's by now.
    let kubeconfig = world.engine.kubeconfig.clone().unwrap().display().to_string();
    let operator = |arguments: &[&str]| world.plane.kubectl(&[&["--kubeconfig", &kubeconfig], arguments].concat()).unwrap();
    let fine = operator(&["create", "role", "fine", "--verb=get,delete,approve", "--resource=devices.evenkeel.dev"]);
    assert!(fine.status.success(), "{}", String::from_utf8_lossy(&fine.stderr));
    for smuggled in [
        &["create", "role", "x", "--verb=get", "--resource=secrets"][..],
        &["create", "role", "x", "--verb=*", "--resource=devices.evenkeel.dev"],
        &["create", "role", "x", "--verb=update", "--resource=repositories.evenkeel.dev"],
        &["create", "role", "x", "--verb=create", "--resource=pods"],
        &["create", "role", "x", "--verb=escalate", "--resource=roles.rbac.authorization.k8s.io"],
        &["create", "role", "x", "--verb=update", "--resource=devices.evenkeel.dev/status"],
        &["create", "rolebinding", "x", "--clusterrole=cluster-admin", "--user=mallory"],
        &["create", "rolebinding", "x", "--clusterrole=system:node", "--user=mallory"],
        &["create", "clusterrole", "x", "--verb=get", "--resource=devices.evenkeel.dev"],
        &["create", "clusterrolebinding", "x", "--clusterrole=view", "--user=mallory"],
        &["delete", "role", "fine"],
    ] {
        let output = operator(smuggled);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.to_lowercase().contains("forbidden"), "{smuggled:?}: {said}");
    }
}

/// Where Roles are not to become RBAC, the operator has no right to any of it and asks for none, and Roles say so.
#[test]
fn where_it_is_turned_off_nothing_is_handed_out() {
    let Some(mut world) = world() else { return };
    world.plane.install_chart("evenkeel", NAMESPACE, &["roles.enabled=false"]).unwrap();
    assert!(!world.plane.kubectl(&["get", "clusterrole", "evenkeel-roles"]).unwrap().status.success());
    world.engine.arguments.push("--no-rbac".into());
    world.engine.start().unwrap();
    world.told("ams", "Granted", "not by kubectl (--no-rbac)");
    assert_eq!(world.versions(), BTreeMap::new());
    world.may_not("alice", &["get", "dev", "web-ams"]);
    world.engine.text(&["can", "alice", "edit", "device/web-ams"]).unwrap();
}

/// Each right that is held to be handed out is needed for that: without it the API server refuses the Role that gives it, and that is told.
#[test]
fn without_a_right_it_can_not_be_handed_out() {
    let Some(mut world) = world() else { return };
    world.plane.denials_are_meant("*");
    world.started();
    let text = world.plane.must(&["get", "clusterrole", "evenkeel-roles", "-o", "json"]).unwrap();
    let whole = serde_json::from_str::<Value>(&text).unwrap()["rules"].clone();
    let rules = whole.as_array().unwrap();
    let mut tried = 0;
    for (at, rule) in rules.iter().enumerate().filter(|(_, rule)| rule["apiGroups"] == json!(["evenkeel.dev"])) {
        let kind = if rule["resources"] == json!(["repositories"]) { "Repository" } else { "Device" };
        for verb in rule["verbs"].as_array().unwrap() {
            let given = match verb.as_str().unwrap() {
                "get" => "view",
                "create" | "update" | "patch" | "delete" => "edit",
                other => other,
            };
            let mut without = whole.clone();
            without[at]["verbs"].as_array_mut().unwrap().retain(|other| other != verb);
            world.patch("clusterrole/evenkeel-roles", &json!({"rules": without}));
            let name = format!("r{tried}");
            let spec = format!("{{subjects: [{{user: alice}}], allow: [{{verbs: [{given}], kinds: [{kind}]}}]}}");
            // The API server takes a moment to know of the rule, and a Role that was quicker is written.
            world.until(&format!("{kind} {verb} being refused"), || {
                world.plane.kubectl(&["delete", "erole", &name]).unwrap();
                world.plane.kubectl(&["delete", "roles.rbac.authorization.k8s.io,rolebindings", &format!("evenkeel:{name}")]).unwrap();
                world.plane.apply(&object("Role", &name, &spec)).map_err(|error| error.to_string())?;
                let refused = wait_until("Refused", Duration::from_secs(5), || match &world.ready(&name) {
                    ready if ready["reason"] == "Refused" => Ok(()),
                    ready => Err(ready.to_string()),
                });
                refused.map_err(|error| error.to_string())
            });
            let said = world.ready(&name)["message"].as_str().unwrap_or_default().to_owned();
            assert!(said.contains("attempting to grant RBAC permissions not currently held"), "{said}");
            assert!(said.contains(verb.as_str().unwrap()), "{said}");
            tried += 1;
        }
    }
    assert_eq!(tried, 16);
    // An apply that makes an object is asked for the right to create too.
    let mut without = whole.clone();
    for rule in without.as_array_mut().unwrap().iter_mut().filter(|rule| rule["apiGroups"] == json!(["rbac.authorization.k8s.io"])) {
        rule["verbs"].as_array_mut().unwrap().retain(|verb| verb != "create");
    }
    world.patch("clusterrole/evenkeel-roles", &json!({"rules": without}));
    world.plane.apply(&object("Role", "last", "{subjects: [{user: alice}], allow: [{verbs: [view]}]}")).unwrap();
    world.told("last", "Refused", "cannot create resource");
    // And when it may again, it does.
    world.patch("clusterrole/evenkeel-roles", &json!({"rules": whole}));
    world.plane.must(&["annotate", "erole", "last", "evenkeel.dev/requested-at=now"]).unwrap();
    world.told("last", "Granted", "alice: view everything");
}
