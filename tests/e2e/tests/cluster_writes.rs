//! Changes through `/api/v1` in a cluster: a real API server, the chart's own rights, and people who come by a session, an API token and a
//! token of Kubernetes. What they change is written in their name, with their rights, and never over what others write.

use std::thread;

use e2e::control_plane::{ControlPlane, Request};
use e2e::fleet::{Fleet, NAMESPACE, app, database_secrets, skipped};
use e2e::postgres::Postgres;
use e2e::rest::{Answer, Caller};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// A silence ends within a month.
fn tomorrow() -> Timestamp {
    Timestamp::now() + SignedDuration::from_hours(24)
}

const PASSWORD: &str = "correct horse battery";
/// Where Deployments, devices and the account are.
const PLACE: &str = "default";
/// The Roles: members of `web` may everything, so may the account `ci`, and Carol edits the devices of one site.
const ROLES: [(&str, &str); 3] = [
    ("web", "{subjects: [{group: web}], allow: [{verbs: [edit, deploy, rollback, approve, silence, acknowledge]}]}"),
    ("ci", "{subjects: [{user: 'system:serviceaccount:default:ci'}], allow: [{verbs: [edit]}]}"),
    ("ams", "{subjects: [{user: carol}], allow: [{verbs: [edit], devices: {matchLabels: {site: ams}}}]}"),
];

struct World {
    fleet: Fleet,
    /// By a session; of `web`.
    ada: Caller,
    /// By an API token; of `web`.
    bob: Caller,
    /// By an API token; of one site.
    carol: Caller,
    /// Administrators by API tokens. The operator may act for Eve, and not for Dave.
    dave: Caller,
    eve: Caller,
    /// By a token of its account.
    ci: Caller,
}

/// So many devices and pods of the operator, of which the first one acts.
fn world(devices: usize, pods: usize, values: &[&str], prepare: impl FnOnce(&ControlPlane)) -> World {
    let ours = [
        "signIn.kubernetesTokens=true",
        "actFor.users={ada,bob,carol,eve}",
        "actFor.groups={web,admins}",
        "actFor.serviceAccounts[0].namespace=default",
        "actFor.serviceAccounts[0].name=ci",
    ];
    let values = [&ours[..], values].concat();
    let mut fleet = Fleet::new(ControlPlane::start().unwrap(), devices, &values, |plane| {
        plane.must(&["create", "serviceaccount", "ci"]).unwrap();
        prepare(plane);
    })
    .unwrap();
    for (name, spec) in ROLES {
        fleet.plane.apply(&object("Role", name, spec)).unwrap();
    }
    for _ in 0..pods {
        fleet.start_pod().unwrap();
    }
    let (pod, file) = (&fleet.pods[0], fleet.folder.path().join("password"));
    std::fs::write(&file, PASSWORD).unwrap();
    let file = file.display().to_string();
    let user = |name: &str, more: &[&str]| {
        fleet.cli(pod, &[&["users", "add", name, "--password-file", &file], more].concat()).unwrap();
        let token = fleet.cli(pod, &["tokens", "create", "t", "--user", name]).unwrap();
        Caller::with_token(&pod.url(), token.trim())
    };
    user("ada", &["--group", "web"]);
    let bob = user("bob", &["--group", "web"]);
    let (carol, dave, eve) = (user("carol", &[]), user("dave", &["--admin"]), user("eve", &["--admin"]));
    let ada = Caller::signed_in(&pod.url(), "ada", PASSWORD).unwrap();
    let ci = Caller::with_token(&pod.url(), &fleet.plane.token(PLACE, "ci").unwrap());
    let world = World { fleet, ada, bob, carol, dave, eve, ci };
    for (name, _) in ROLES {
        world.fleet.until(&format!("role {name} in RBAC"), || {
            let conditions = world.fleet.object("erole", name)["status"]["conditions"].clone();
            if conditions.to_string().contains("Granted") { Ok(()) } else { Err(conditions.to_string()) }
        });
    }
    world
}

fn object(kind: &str, metadata: &str, spec: &str) -> String {
    format!("---\napiVersion: evenkeel.dev/v1alpha1\nkind: {kind}\nmetadata: {{namespace: {PLACE}, name: {metadata}}}\nspec: {spec}\n")
}

fn device(name: &str, address: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"type": "Server", "address": address}})
}

fn path(name: &str) -> String {
    format!("/devices/{PLACE}/{name}")
}

/// Asks, and wants this status.
fn must(caller: &Caller, method: &str, path: &str, body: &Value, status: u16) -> Answer {
    let answer = caller.ask(method, path, body).unwrap();
    assert_eq!(answer.status, status, "{method} {path} {body}: {answer:?}");
    answer
}

/// Whether a request was not done, and says this of why not.
fn refused(answer: &Answer, status: u16, words: &[&str]) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    for word in words {
        assert!(answer.detail().contains(word), "{word}: {answer:?}");
    }
}

impl World {
    /// Waits until what is in force is so.
    fn until(&self, path: &str, what: &str, is_so: impl Fn(&Answer) -> bool) -> Answer {
        let mut last = None;
        self.fleet.until(what, || {
            let answer = self.bob.ask("GET", path, &Value::Null).map_err(|error| format!("{error:#}"))?;
            if is_so(&answer) {
                last = Some(answer);
                return Ok(());
            }
            Err(format!("{answer:?}"))
        });
        last.unwrap()
    }

    fn device(&self, name: &str) -> Value {
        self.fleet.object("dev", name)
    }

    fn acted(&self, user: &str) -> Vec<Request> {
        self.fleet.plane.requests_for(user, NAMESPACE, "evenkeel").unwrap()
    }

    /// What the engine's own audit log has of an object: who, what, and how it ended.
    fn log(&self, target: &str) -> Vec<(String, String, String)> {
        let text = self.fleet.cli(&self.fleet.pods[0], &["audit", "list", "--about", target, "--limit", "1000", "-o", "json"]).unwrap();
        let entries: Vec<Value> = serde_json::from_str(&text).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let entries = entries.iter().rev().map(|entry| (text(&entry["actor"]["name"]), text(&entry["verb"]), text(&entry["outcome"])));
        entries.collect()
    }
}

#[test]
fn what_people_change_is_written_in_their_name() {
    if skipped() {
        return;
    }
    let w = world(1, 1, &[], |_| {});
    // By a session.
    let mut web = device("web", "10.1.0.1");
    web["spec"]["vars"] = json!({"a": "b"});
    let made = must(&w.ada, "POST", "/devices", &web, 201);
    assert_eq!(made.header("location"), Some("/api/v1/devices/default/web"));
    assert_eq!(w.device("web")["spec"]["address"], "10.1.0.1");
    let seen = w.until(&path("web"), "what was made being in force", |answer| answer.status == 200);
    let expected = w.ada.and("If-Match", seen.header("etag").unwrap());
    must(&expected, "PATCH", &path("web"), &json!({"metadata": {"labels": {"site": "ams"}}, "spec": {"suspend": true, "vars": null}}), 200);
    refused(&must(&expected, "PATCH", &path("web"), &json!({"spec": {"suspend": null}}), 412), 412, &["If-Match"]);
    refused(&must(&expected, "DELETE", &path("web"), &Value::Null, 412), 412, &["If-Match"]);
    let seen = w.until(&path("web"), "the label", |answer| answer.body["metadata"]["labels"]["site"] == "ams");
    // What GET shows is what PUT takes.
    let mut whole = seen.body.clone();
    whole["spec"]["address"] = json!("10.1.0.2");
    whole["spec"].as_object_mut().unwrap().remove("suspend").unwrap();
    must(&w.ada.and("If-Match", seen.header("etag").unwrap()), "PUT", &path("web"), &whole, 200);
    assert_eq!(w.device("web")["spec"], json!({"type": "Server", "address": "10.1.0.2"}));
    w.until(&path("web"), "the address", |answer| answer.body["spec"]["address"] == "10.1.0.2");
    must(&w.ada, "PATCH", &path("web"), &json!({"spec": {"address": "10.1.0.2"}}), 200);
    must(&w.ada, "DELETE", &path("web"), &Value::Null, 204);
    assert!(w.device("web").is_null());
    refused(&must(&w.ada, "DELETE", &path("web"), &Value::Null, 404), 404, &["web"]);
    // It was Ada who asked, for all that the API server knows, and so says our own log.
    let verbs: Vec<String> =
        w.acted("ada").into_iter().filter(|request| request.resource == "evenkeel.dev/devices").map(|request| request.verb).collect();
    for verb in ["get", "create", "patch", "delete"] {
        assert!(verbs.iter().any(|done| done == verb), "{verb}: {verbs:?}");
    }
    let own = w.fleet.plane.requests_of(NAMESPACE, "evenkeel").unwrap();
    let own = own.iter().find(|request| request.resource == "evenkeel.dev/devices" && !["list", "watch"].contains(&&*request.verb));
    assert_eq!(own, None, "the operator itself changes no device");
    let begun_and_done = |verb: &str| {
        [("ada", verb, "begun"), ("ada", verb, "done")].map(|(who, verb, how)| (who.to_owned(), verb.to_owned(), how.to_owned()))
    };
    let log = w.log("device/web");
    assert_eq!(log, ["create", "change", "change", "delete"].map(begun_and_done).concat());

    // Made once, whoever is quicker; what is there is left as it is.
    for round in 0..4 {
        let name = format!("race-{round}");
        let make =
            |caller: &Caller, address: &str| (caller.ask("POST", "/devices", &device(&name, address)).unwrap().status, address.to_owned());
        let mut ends = thread::scope(|scope| {
            let other = scope.spawn(|| make(&w.bob, "10.2.0.2"));
            let own = make(&w.ada, "10.2.0.1");
            [own, other.join().unwrap()]
        });
        ends.sort();
        assert_eq!((ends[0].0, ends[1].0), (201, 409));
        assert_eq!(w.device(&name)["spec"]["address"], ends[0].1.as_str());
        let name = format!("late-{round}");
        let text = object("Device", &format!("{name}, labels: {{by: kubectl}}"), "{type: Server, address: 10.2.0.3}");
        let (by_kubectl, by_us) = thread::scope(|scope| {
            let other = scope.spawn(|| w.fleet.plane.with(&["create"], &text).unwrap().status.success());
            let own = w.ada.ask("POST", "/devices", &device(&name, "10.2.0.1")).unwrap();
            (other.join().unwrap(), own)
        });
        assert_eq!(by_us.status, if by_kubectl { 409 } else { 201 }, "{by_us:?}");
        assert_eq!(w.device(&name)["metadata"]["labels"]["by"].is_null(), !by_kubectl);
    }
    // Of many who have seen the same and change it at once, one does.
    must(&w.bob, "POST", "/devices", &device("seen", "10.2.0.1"), 201);
    let seen = w.until(&path("seen"), "what was made being in force", |answer| answer.status == 200);
    let expected = w.bob.and("If-Match", seen.header("etag").unwrap());
    let change = |number: usize| {
        let address = format!("10.2.1.{number}");
        (expected.ask("PATCH", &path("seen"), &json!({"spec": {"address": address}})).unwrap().status, address)
    };
    let ends: Vec<_> = thread::scope(|scope| {
        let change = &change;
        let writers: Vec<_> = (0..8).map(|number| scope.spawn(move || change(number))).collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    let (won, lost): (Vec<_>, Vec<_>) = ends.into_iter().partition(|(status, _)| *status == 200);
    assert!(won.len() == 1 && lost.iter().all(|(status, _)| [409, 412].contains(status)), "{won:?} {lost:?}");
    assert_eq!(w.device("seen")["spec"]["address"], won[0].1.as_str());
    // Sent again, since its answer was lost, it is done once.
    let keyed = w.ci.and("Idempotency-Key", "k-1");
    let first = must(&keyed, "POST", "/devices", &device("once", "10.3.0.1"), 201);
    let again = must(&keyed, "POST", "/devices", &device("once", "10.3.0.1"), 201);
    assert_eq!((&first.body, first.header("location")), (&again.body, again.header("location")));
    must(&keyed, "POST", "/devices", &device("twice", "10.3.0.1"), 422);
    must(&w.ci, "POST", "/devices", &device("once", "10.3.0.1"), 409);

    // A trial writes nothing.
    let trial = must(&w.bob, "PATCH", &format!("{}?dryRun=true", path("once")), &json!({"spec": {"address": "10.3.0.9"}}), 200);
    assert!(trial.body["diff"].as_str().unwrap().contains("-  address: 10.3.0.1\n+  address: 10.3.0.9"), "{trial:?}");
    let trial = must(&w.bob, "POST", "/devices?dryRun=true", &device("never", "10.3.0.2"), 200);
    assert!(trial.body["diff"].as_str().unwrap().contains("+  address: 10.3.0.2"), "{trial:?}");
    must(&w.bob, "DELETE", &format!("{}?dryRun=true", path("once")), &Value::Null, 200);
    assert!(w.device("never").is_null() && w.device("once")["spec"]["address"] == "10.3.0.1");
    assert_eq!(w.log("device/never"), Vec::new());

    // What is wrong is told by its field: by the kind's rules, by all that there is, and by the API server.
    for (patch, pointer) in [
        (json!({"spec": {"address": "not an address"}}), "/spec/address"),
        (json!({"spec": {"type": "Network"}}), "/spec/type"),
        (json!({"spec": {"class": "missing"}}), "/spec/class"),
        (json!({"metadata": {"labels": {"site": "two words"}}}), "/metadata/labels"),
        (json!({"metadata": {"finalizers": ["a/b"]}}), "/metadata/finalizers"),
    ] {
        let answer = must(&w.bob, "PATCH", &path("once"), &patch, 422);
        assert!(answer.body["errors"][0]["pointer"].as_str().unwrap().starts_with(pointer), "{answer:?}");
        let trial = w.bob.ask("PATCH", &format!("{}?dryRun=true", path("once")), &patch).unwrap();
        assert!(trial.status == 422 || trial.body["findings"][0]["pointer"].as_str().unwrap().starts_with(pointer), "{trial:?}");
    }
    let elsewhere = json!({"metadata": {"name": "x", "namespace": "nowhere"}, "spec": {"type": "Server", "address": "10.3.0.3"}});
    let answer = must(&w.eve, "POST", "/devices", &elsewhere, 403);
    refused(&answer, 403, &["cannot"]);
    kinds(&w);
}

/// Other kinds, by an API token and by a token of Kubernetes.
fn kinds(w: &World) {
    let session = must(&w.ci, "GET", "/session", &Value::Null, 200);
    assert_eq!(
        (&session.body["user"]["name"], &session.body["user"]["kind"]),
        (&json!("system:serviceaccount:default:ci"), &json!("kubernetes"))
    );
    let rule = json!({"selector": {"matchLabels": {"role": "none"}}, "expr": "usage.memory.ratio > 0.9", "severity": "warning"});
    let silence = json!({"devices": {"matchLabels": {"role": "none"}}, "until": tomorrow(), "reason": "works"});
    let rollout = json!({"selector": {"matchLabels": {"role": "none"}}, "package": {"apt": {"name": "app", "version": "1.0-1"}}});
    for (caller, plural, short, spec, patch) in [
        (&w.bob, "alertrules", "arule", &rule, json!({"spec": {"severity": "info"}})),
        (&w.bob, "silences", "sil", &silence, json!({"spec": {"reason": "more works"}})),
        (&w.ci, "deployments", "edep", &rollout, json!({"spec": {"package": {"apt": {"version": "2.0-1"}}}})),
        (&w.ci, "deviceclasses", "dclass", &json!({"labels": {"a": "b"}}), json!({"spec": {"labels": {"a": "c"}}})),
    ] {
        must(caller, "POST", &format!("/{plural}"), &json!({"metadata": {"name": "x"}, "spec": spec}), 201);
        let one = format!("/{plural}/{PLACE}/x");
        w.until(&one, &format!("{plural}/x"), |answer| answer.status == 200);
        must(caller, "PATCH", &one, &patch, 200);
        let (field, value) = patch["spec"].as_object().unwrap().iter().next().unwrap();
        let there = w.fleet.object(short, "x");
        assert!(contains(&there["spec"][field], value), "{there}");
        w.until(&one, "the change", |answer| contains(&answer.body["spec"][field], value));
        must(caller, "DELETE", &one, &Value::Null, 204);
        assert!(w.fleet.object(short, "x").is_null());
    }
    let acted = w.acted("system:serviceaccount:default:ci");
    assert!(acted.iter().any(|request| request.verb == "create" && request.resource == "evenkeel.dev/deployments"), "{acted:?}");
    let stranger = Caller::with_token(&w.fleet.pods[0].url(), "a.b.c");
    refused(&must(&stranger, "GET", "/devices", &Value::Null, 401), 401, &["does not know that token"]);
}

fn contains(there: &Value, wanted: &Value) -> bool {
    match (there, wanted) {
        (Value::Object(there), Value::Object(wanted)) => {
            wanted.iter().all(|(field, wanted)| there.get(field).is_some_and(|there| contains(there, wanted)))
        }
        (there, wanted) => there == wanted,
    }
}

#[test]
fn what_others_write_or_manage_is_left_to_them() {
    if skipped() {
        return;
    }
    let mut w = world(1, 1, &["limits.deletions=0", "extraArgs={--lease-duration=120s}"], |_| {});
    managed(&w);
    from_git(&w);
    rights(&w);
    held_back(&w);

    // Without the API server nothing is written, and it is said when to come again.
    let unknown = Caller::with_token(&w.fleet.pods[0].url(), &w.fleet.plane.token(PLACE, "ci").unwrap());
    w.fleet.plane.stop_server();
    let patch = json!({"metadata": {"labels": {"away": "yes"}}});
    for caller in [&w.bob, &unknown] {
        let answer = must(caller, "PATCH", &path("d-1"), &patch, 503);
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
    }
    w.fleet.plane.restart_server().unwrap();
    w.fleet.until("it being written when the API server is back", || {
        let answer = w.bob.ask("PATCH", &path("d-1"), &patch).map_err(|error| format!("{error:#}"))?;
        if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
    });
    assert_eq!(w.device("d-1")["metadata"]["labels"]["away"], "yes");
}

/// Fields that kubectl has applied are kubectl's, until they are taken over; and nothing else is taken over with them.
fn managed(w: &World) {
    let text = "{type: Server, address: 10.4.0.1, probes: [{name: a, tcp: {port: 1}}, {name: b, tcp: {port: 2}}]}";
    let text = object("Device", "theirs, labels: {site: ams, role: web}", text);
    w.fleet.plane.apply(&text).unwrap();
    w.until(&path("theirs"), "what kubectl applied", |answer| answer.status == 200);
    let probes = json!([{"name": "a", "tcp": {"port": 1}}]);
    for (patch, words) in [
        (json!({"spec": {"address": "10.4.0.2"}}), "spec.address (kubectl)"),
        (json!({"metadata": {"labels": {"role": null}}}), "metadata.labels.role (kubectl)"),
        (json!({"spec": {"probes": probes}}), "spec.probes (kubectl)"),
    ] {
        let before = w.device("theirs");
        for query in ["", "?dryRun=true"] {
            let answer = must(&w.bob, "PATCH", &format!("{}{query}", path("theirs")), &patch, 409);
            refused(&answer, 409, &[words, "force=true"]);
        }
        assert_eq!(w.device("theirs")["metadata"]["generation"], before["metadata"]["generation"], "nothing of it is written");
        must(&w.bob, "PATCH", &format!("{}?force=true", path("theirs")), &patch, 200);
        let there = w.device("theirs");
        assert!(there["metadata"]["labels"]["site"] == "ams", "{there}");
        w.until(&path("theirs"), "what was taken over", |answer| {
            ["generation", "labels"].iter().all(|field| answer.body["metadata"][field] == there["metadata"][field])
        });
    }
    let there = w.device("theirs");
    assert_eq!(
        (&there["spec"]["address"], &there["spec"]["probes"], &there["metadata"]["labels"]),
        (&json!("10.4.0.2"), &probes, &json!({"site": "ams"}))
    );
    // What nobody manages is free.
    must(&w.bob, "PATCH", &path("theirs"), &json!({"spec": {"suspend": true}}), 200);
    // Whoever applies it again hears of what was taken over, and of nothing else.
    let again = w.fleet.plane.with(&["apply", "--server-side"], &text).unwrap();
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(!again.status.success() && said.contains("evenkeel-api") && said.contains(".spec.address"), "{said}");
    assert!(!said.contains("site") && !said.contains(".spec.type") && !said.contains("suspend"), "{said}");
    let forced = w.fleet.plane.with(&["apply", "--server-side", "--force-conflicts"], &text).unwrap();
    assert!(forced.status.success(), "{}", String::from_utf8_lossy(&forced.stderr));
    let there = w.device("theirs");
    assert_eq!((&there["spec"]["address"], &there["spec"]["suspend"]), (&json!("10.4.0.1"), &json!(true)), "{there}");
}

/// What a Repository has applied is changed in Git.
fn from_git(w: &World) {
    w.fleet.plane.apply(&object("Repository", "fleet", "{url: 'https://git.example.com/r', suspend: true}")).unwrap();
    let text = object("Device", "of-git, annotations: {evenkeel.dev/repository: default/fleet}", "{type: Server, address: 10.5.0.1}");
    let applied = w.fleet.plane.with(&["apply", "--server-side", "--field-manager=evenkeel-repository"], &text).unwrap();
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    w.until(&path("of-git"), "what a Repository applied", |answer| answer.status == 200);
    let change = json!({"spec": {"suspend": true}});
    for (method, query, body) in [("PATCH", "", &change), ("PATCH", "?force=true", &change), ("DELETE", "", &Value::Null)] {
        refused(&must(&w.bob, method, &format!("{}{query}", path("of-git")), body, 409), 409, &["repository/default/fleet"]);
    }
    // What was made here becomes Git's once Git says the same: no note of ours on it is in the way.
    must(&w.bob, "POST", "/devices", &device("made-here", "10.5.0.2"), 201);
    let notes = "annotations: {evenkeel.dev/repository: default/fleet, evenkeel.dev/changed-by: 'c0ffee by Ann'}";
    let text = object("Device", &format!("made-here, {notes}"), "{type: Server, address: 10.5.0.2}");
    let applied = w.fleet.plane.with(&["apply", "--server-side", "--field-manager=evenkeel-repository"], &text).unwrap();
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    // What is left of one that is gone is anybody's.
    w.fleet.plane.must(&["delete", "erepo", "fleet"]).unwrap();
    w.fleet.until("its device being free", || {
        let answer = w.bob.ask("PATCH", &path("of-git"), &change).map_err(|error| format!("{error:#}"))?;
        if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
    });
}

/// RBAC is the limit, whatever a Role says; and so is for whom the operator may act.
fn rights(w: &World) {
    w.fleet.plane.denials_are_meant("evenkeel.dev/devices");
    w.fleet.plane.apply(&object("Device", "ams, labels: {site: ams}", "{type: Server, address: 10.6.0.1}")).unwrap();
    w.until(&path("ams"), "a device of the site", |answer| answer.status == 200);
    let change = json!({"spec": {"suspend": true}});
    w.fleet.until("Carol's right to it", || {
        let answer = w.carol.ask("PATCH", &path("ams"), &change).map_err(|error| format!("{error:#}"))?;
        if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
    });
    let mut new = device("ams-2", "10.6.0.2");
    new["metadata"]["labels"] = json!({"site": "ams"});
    let answer = must(&w.carol, "POST", "/devices", &new, 403);
    refused(&answer, 403, &["the cluster does not let carol do it", "cannot create resource \"devices\""]);
    assert!(w.log("device/ams-2").iter().any(|(who, verb, how)| (&**who, &**verb, &**how) == ("carol", "create", "failed")));

    refused(&must(&w.dave, "PATCH", &path("ams"), &json!({"spec": {"suspend": null}}), 403), 403, &["actFor", "dave"]);
    let operator = Caller::with_token(&w.fleet.pods[0].url(), &operators_token(&w.fleet));
    refused(&must(&operator, "PATCH", &path("ams"), &json!({"spec": {"suspend": null}}), 403), 403, &["nobody whom the cluster knows"]);
    refused(&must(&w.eve, "PATCH", &path("ams"), &change, 403), 403, &["cannot get resource \"devices\""]);
    w.fleet.plane.must(&["create", "role", "eve", "--verb=get,patch", "--resource=devices.evenkeel.dev"]).unwrap();
    w.fleet.plane.must(&["create", "rolebinding", "eve", "--role=eve", "--user=eve"]).unwrap();
    let until = |status: u16| {
        w.fleet.until(&format!("{status} for Eve"), || {
            let answer = w.eve.ask("PATCH", &path("ams"), &json!({"metadata": {"labels": {"by": format!("eve-{status}")}}}));
            let answer = answer.map_err(|error| format!("{error:#}"))?;
            if answer.status == status { Ok(()) } else { Err(format!("{answer:?}")) }
        });
    };
    until(200);
    refused(&must(&w.eve, "DELETE", &path("ams"), &Value::Null, 403), 403, &["cannot delete resource \"devices\""]);
    w.fleet.plane.must(&["delete", "rolebinding", "eve"]).unwrap();
    until(403);
    assert_eq!(w.device("ams")["metadata"]["labels"]["by"], "eve-200");
}

fn operators_token(fleet: &Fleet) -> String {
    let template = "go-template={{index .data \"token\" | base64decode}}";
    fleet.plane.must(&["get", "secret", "evenkeel-api", "--namespace", NAMESPACE, "-o", template]).unwrap()
}

/// What somebody wrote that is not in force yet is not overwritten: it is shown.
fn held_back(w: &World) {
    must(&w.bob, "POST", "/devices", &device("mine", "10.7.0.1"), 201);
    must(&w.bob, "POST", "/devices", &device("doomed", "10.7.0.2"), 201);
    let seen = w.until(&path("mine"), "a device", |answer| answer.status == 200);
    w.until(&path("doomed"), "another", |answer| answer.status == 200);
    // A deletion waits for approval here, and whatever comes after it.
    must(&w.bob, "DELETE", &path("doomed"), &Value::Null, 204);
    let mut waits = None;
    w.fleet.until("a change that waits", || {
        let text = w.fleet.cli(&w.fleet.pods[0], &["status"]).map_err(|error| format!("{error:#}"))?;
        waits = text.split("evenkeel approve ").nth(1).and_then(|rest| rest.split_whitespace().next()).map(str::to_owned);
        if waits.is_some() { Ok(()) } else { Err(text) }
    });
    w.fleet.plane.must(&["label", "dev", "mine", "by=kubectl"]).unwrap();
    let expected = w.bob.and("If-Match", seen.header("etag").unwrap());
    let change = json!({"spec": {"suspend": true}});
    let mut whole = seen.body.clone();
    whole["spec"]["suspend"] = json!(true);
    for (method, body) in [("PATCH", &change), ("PUT", &whole), ("DELETE", &Value::Null)] {
        for (caller, status) in [(&w.bob, 409), (&expected, 412)] {
            let answer = must(caller, method, &path("mine"), body, status);
            assert!(answer.body["diff"].as_str().unwrap_or_default().contains("+    by: kubectl"), "{answer:?}");
        }
    }
    assert_eq!((&w.device("mine")["metadata"]["labels"], &w.device("mine")["spec"]["suspend"]), (&json!({"by": "kubectl"}), &Value::Null));
    must(&w.bob, "POST", "/devices", &device("doomed", "10.7.0.3"), 409);
    refused(&must(&w.bob, "POST", "/source/admit", &json!({"id": "0123456789ab"}), 409), 409, &["does not wait for approval"]);
    // More may have come since, and then that waits under another id.
    w.fleet.until("it being let through", || {
        let text = w.fleet.cli(&w.fleet.pods[0], &["status"]).map_err(|error| format!("{error:#}"))?;
        let id = text.split("evenkeel approve ").nth(1).and_then(|rest| rest.split_whitespace().next()).ok_or("nothing waits")?;
        let answer = w.bob.ask("POST", "/source/admit", &json!({"id": id})).map_err(|error| format!("{error:#}"))?;
        if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
    });
    w.until(&path("mine"), "what kubectl wrote", |answer| answer.body["metadata"]["labels"]["by"] == "kubectl");
    must(&w.bob, "PATCH", &path("mine"), &change, 200);
    assert_eq!(w.device("mine")["spec"]["suspend"], true);
}

/// What people do beside writing, and who they are when another replica answers.
#[test]
fn people_act_and_stay_signed_in_when_another_replica_acts() {
    if skipped() {
        return;
    }
    let Some(database) = Postgres::start().unwrap() else {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "PostgreSQL is not installed, and in CI nothing is skipped");
        return eprintln!("SKIPPED: PostgreSQL is not installed");
    };
    let values = ["replicas=2", "database.existingSecret=db", "auditKey.existingSecret=key", "extraArgs={--lease-duration=3s}"];
    let mut w = world(2, 2, &values, |plane| database_secrets(plane, &database));
    let acts = |w: &World| {
        let holder = w.fleet.holder();
        w.fleet.pods.iter().position(|pod| holder.contains(&format!("_{}_", pod.id())))
    };
    assert_eq!(acts(&w), Some(0));
    // The Service leads to the one that acts: by a label on its pod.
    let led_to = |w: &World, wanted: &[bool]| {
        w.fleet.until("the Service leading to whoever acts", || {
            let of =
                |name: String| w.fleet.plane.must(&["get", "pod", &name, "--namespace", NAMESPACE, "-o", "jsonpath={.metadata.labels}"]);
            let labels =
                w.fleet.pods.iter().map(|pod| of(pod.name())).collect::<Result<Vec<_>, _>>().map_err(|error| format!("{error:#}"))?;
            let acts: Vec<bool> = labels.iter().map(|labels| labels.contains("\"evenkeel.dev/acts\":\"true\"")).collect();
            if acts == wanted { Ok(()) } else { Err(format!("{labels:?}")) }
        });
    };
    led_to(&w, &[true, false]);
    // One that stands by says so, and that another one may be met the next time.
    let standby = w.fleet.pods[1].url();
    let answer = Caller::nobody(&standby).ask("POST", "/session", &json!({"user": "ada", "password": PASSWORD})).unwrap();
    refused(&answer, 503, &["stands by"]);
    assert_eq!((answer.header("retry-after"), answer.header("connection")), (Some("1"), Some("close")), "{answer:?}");

    w.fleet.plane.apply(&app("1.0-1", "")).unwrap();
    w.fleet.wait("Complete", "1.0-1", 2);
    let of = |verb: &str| format!("/deployments/{PLACE}/app{verb}");
    must(&w.ada, "POST", &of("/pause"), &json!({"comment": "wait"}), 200);
    let change = json!({"spec": {"package": {"apt": {"version": "2.0-1"}}}});
    must(&w.ada, "PATCH", &format!("{}?force=true", of("")), &change, 200);
    w.fleet.until("the new version being held", || {
        let there = w.fleet.object("edep", "app");
        let is_known = there["status"]["observedGeneration"] == there["metadata"]["generation"];
        if is_known && there["status"]["phase"] == "Paused" { Ok(()) } else { Err(there.to_string()) }
    });
    assert_eq!(w.fleet.versions().unwrap(), ["1.0-1"; 2]);
    must(&w.ada, "POST", &of("/resume"), &Value::Null, 200);
    w.fleet.wait("Complete", "2.0-1", 2);
    must(&w.ada, "POST", &of("/undo"), &json!({"comment": "back"}), 200);
    w.fleet.until("1.0-1 everywhere", || {
        let versions = w.fleet.versions().map_err(|error| format!("{error:#}"))?;
        if versions == ["1.0-1"; 2] { Ok(()) } else { Err(format!("{versions:?}")) }
    });
    approved(&w);
    alerts(&w);
    must(&w.ada, "POST", &format!("{}/look", path("d-1")), &Value::Null, 202);
    must(&w.ada, "POST", "/source/sync", &Value::Null, 202);
    let log = w.log("deployment/app");
    for verb in ["pause", "resume", "roll-back", "approve", "change"] {
        assert!(log.iter().any(|(who, done, how)| (&**who, &**done, &**how) == ("ada", verb, "done")), "{verb}: {log:?}");
    }

    w.fleet.pods[0].kill();
    w.fleet.until("the other one acting", || if acts(&w) == Some(1) { Ok(()) } else { Err(w.fleet.holder()) });
    // What it left on its pod is taken away when it begins anew there.
    led_to(&w, &[true, true]);
    w.fleet.pods[0].run().unwrap();
    led_to(&w, &[false, true]);
    let ada = w.ada.at(&standby);
    w.fleet.until("Ada being known there", || {
        let answer = ada.ask("GET", "/session", &Value::Null).map_err(|error| format!("{error:#}"))?;
        if answer.body["user"]["name"] == "ada" { Ok(()) } else { Err(format!("{answer:?}")) }
    });
    w.fleet.until("the Deployment being known there", || {
        let answer = ada.ask("POST", &of("/pause"), &Value::Null).map_err(|error| format!("{error:#}"))?;
        if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
    });
    must(&ada, "POST", "/devices", &device("elsewhere", "10.8.0.1"), 201);
    must(&w.bob.at(&standby), "POST", &of("/resume"), &Value::Null, 200);
}

/// A rollout that a person has to agree to.
fn approved(w: &World) {
    let of = |verb: &str| format!("/deployments/{PLACE}/app{verb}");
    let change = json!({"spec": {"package": {"apt": {"version": "3.0-1"}}, "approval": "FirstBatch"}});
    must(&w.ada, "PATCH", &format!("{}?force=true", of("")), &change, 200);
    let mut id = None;
    w.fleet.until("what waits for a person", || {
        let answer = w.ada.ask("GET", &of("/explain"), &Value::Null).map_err(|error| format!("{error:#}"))?;
        let text = answer.body["text"].as_str().unwrap_or_default();
        id = text.split("rollout approve ").nth(1).and_then(|rest| rest.split_whitespace().nth(1)).map(str::to_owned);
        if id.is_some() { Ok(()) } else { Err(format!("{answer:?}")) }
    });
    must(&w.ada, "POST", &of("/approve"), &json!({"id": id}), 200);
    w.fleet.wait("Complete", "3.0-1", 2);
}

/// An alert that somebody looks after, and then mutes.
fn alerts(w: &World) {
    let rule = json!({"selector": {"matchLabels": {"role": "app"}}, "expr": "device.labels.role == 'app'", "severity": "warning"});
    must(&w.ada, "POST", "/alertrules", &json!({"metadata": {"name": "app"}, "spec": rule}), 201);
    let firing = w.until("/alerts?state=firing&device=d-1", "an alert", |answer| answer.body["total"] == 1);
    let alert = format!("/alerts/{}/acknowledge", firing.body["items"][0]["id"].as_str().unwrap());
    let until = (Timestamp::now() + SignedDuration::from_hours(1)).to_string();
    must(&w.ada, "POST", &alert, &json!({"comment": "on it", "until": until}), 200);
    w.until("/alerts?device=d-1", "who looks after it", |answer| answer.body["items"][0]["acknowledged"]["by"] == "ada");
    must(&w.ada, "DELETE", &alert, &Value::Null, 200);
    let devices = json!({"matchLabels": {"role": "app"}});
    let preview = must(&w.ada, "POST", "/silences/preview", &json!({"devices": devices, "until": tomorrow()}), 200);
    assert_eq!((preview.body["alerts"].as_array().map(Vec::len), &preview.body["devices"]), (Some(2), &json!(2)), "{preview:?}");
    let silence = json!({"devices": devices, "until": tomorrow(), "reason": "works"});
    must(&w.ada, "POST", "/silences", &json!({"metadata": {"name": "app"}, "spec": silence}), 201);
    w.until("/alerts?device=d-1&suppressed=true", "it being muted", |answer| answer.body["total"] == 1);
    must(&w.ada, "DELETE", &format!("/silences/{PLACE}/app"), &Value::Null, 204);
}
