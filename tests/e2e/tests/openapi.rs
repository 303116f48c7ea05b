//! The interface as it describes itself: Schemathesis asks a live engine whatever `openapi.json` lets one ask, and more, and holds each answer to
//! it. No answer is a fault of ours (500), each has a status and a media type that are described, and a body of the described shape.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use e2e::engine::Engine;
use e2e::rest::Caller;
use e2e::simulated::Simulated;
use e2e::{cache, run, wait_until};
use serde_json::{Value, json};

/// An administrator, and somebody who may look at one site.
const PEOPLE: [(&str, &str, &[&str]); 2] =
    [("ann", "correct horse battery 42", &["--admin"]), ("vera", "purple lamp station 17", &["--group", "lookers"])];
/// What the second one may.
const ROLE: &str = "apiVersion: evenkeel.dev/v1alpha1
kind: Role
metadata: {name: lookers}
spec:
  subjects: [{group: lookers}]
  allow:
    - {verbs: [view], devices: {matchLabels: {site: ams1}}}
";
/// Fires on some devices for as long as the test runs.
const RULE: &str = "apiVersion: evenkeel.dev/v1alpha1
kind: AlertRule
metadata: {name: up-for-long}
spec:
  selector: {matchLabels: {role: db}}
  expr: usage.uptime > 1.0
  severity: warning
  summary: '{{ device.name }} runs'
";
/// Set, it has Schemathesis ask everything.
const ASKED_FOR: &str = "EVENKEEL_SCHEMATHESIS";
const LIMIT: Duration = Duration::from_secs(180);
/// Cases of one route that are made up at random, beside those that cover each parameter.
const EXAMPLES: &str = "4";
/// What is not asked: streams, which have no end; and what sends people somewhere, which takes a provider.
const LEFT_OUT: [&str; 4] = ["/events", "/logs/tail", "/oidc/login", "/oidc/callback"];
/// Routes that have nothing to say yes to here, so that no answer with a body is expected of them.
const NEVER_YES: [&str; 3] = ["/commits/{id}", "/alerts/{id}", "/plans/preview"];

fn binary() -> PathBuf {
    std::env::var("EVENKEEL_BIN").expect("EVENKEEL_BIN names no evenkeel: run the tests by `cargo xtask test`").into()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi")
}

/// Schemathesis in an environment of its own, which is kept for the next run.
fn schemathesis() -> Result<PathBuf, String> {
    let wanted = folder().join("requirements.txt");
    let wants = std::fs::read_to_string(&wanted).map_err(|error| error.to_string())?;
    let environment = cache().join("schemathesis");
    let (mark, program) = (environment.join("installed.txt"), environment.join("bin/st"));
    if std::fs::read_to_string(&mark).is_ok_and(|has| has == wants) {
        return Ok(program);
    }
    let ok = |command: &mut Command| run(command).map_err(|error| format!("{error:#}"));
    ok(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))?;
    let pip = ["install", "--quiet", "--disable-pip-version-check", "--requirement"];
    ok(Command::new(environment.join("bin/pip")).args(pip).arg(&wanted))?;
    std::fs::write(mark, wants).map_err(|error| error.to_string())?;
    Ok(program)
}

/// The engine with simulated devices, rollouts, an alert that fires, and people.
struct World {
    engine: Engine,
    url: String,
    _simulated: Simulated,
    passwords: tempfile::TempDir,
}

impl World {
    fn start() -> Self {
        let simulated = Simulated::start(&binary(), &Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples"), &[]).unwrap();
        let mut engine = Engine::with(&binary(), &simulated.folder, &simulated.key()).unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        engine.arguments = ["--listen", &address].map(str::to_owned).into();
        // Nobody elsewhere is told anything.
        let watching = engine.fleet.join("watching/alerts.yaml");
        let text = std::fs::read_to_string(&watching).unwrap();
        let text =
            text.replace("mail.example.com:587", "127.0.0.1:9").replace("https://chat.example.com/hooks/fleet", "http://127.0.0.1:9/");
        std::fs::write(watching, text).unwrap();
        std::fs::write(engine.fleet.join("governing/lookers.yaml"), ROLE).unwrap();
        std::fs::write(engine.fleet.join("watching/test.yaml"), RULE).unwrap();
        let file = "deployments/nginx.yaml";
        let text = std::fs::read_to_string(engine.fleet.join(file)).unwrap().replace("soak: 2m", "soak: 3s");
        engine.commit(file, &text, "nginx").unwrap();
        engine.start().unwrap();
        let world = Self { engine, url: format!("http://{address}"), _simulated: simulated, passwords: tempfile::tempdir().unwrap() };
        PEOPLE.iter().for_each(|person| world.add(person));
        world
    }

    fn add(&self, (name, password, groups): &(&str, &str, &[&str])) {
        let file = self.passwords.path().join(name);
        std::fs::write(&file, password).unwrap();
        let mut add = Command::new(binary());
        add.args(["users", "add", name]).args(*groups).arg("--password-file").arg(&file).arg("--data").arg(&self.engine.data);
        run(&mut add).unwrap();
    }

    /// Somebody, and a token of theirs.
    fn person(&self, (name, password, _): &(&str, &str, &[&str])) -> (Caller, String) {
        let caller = Caller::signed_in(&self.url, name, password).unwrap();
        let made = caller.ask("POST", "/tokens", &json!({"name": "schemathesis"})).unwrap();
        assert_eq!(made.status, 201, "{made:?}");
        (caller, made.body["token"].as_str().unwrap().to_owned())
    }

    fn until(&self, what: &str, look: impl FnMut() -> Result<(), String>) {
        wait_until(what, LIMIT, look).unwrap_or_else(|error| panic!("{error}\n{}", self.engine.tail()));
    }
}

/// What there is to ask about, by the first part of a path and the name of a parameter.
fn names(ann: &Caller) -> Value {
    let list = |path: &str| ann.ask("GET", path, &Value::Null).unwrap().body["items"].as_array().cloned().unwrap_or_default();
    let of = |items: &[Value], pointer: &str| -> Vec<String> {
        let mut names: Vec<String> = items.iter().filter_map(|item| item.pointer(pointer)?.as_str().map(str::to_owned)).take(4).collect();
        names.push("nobody".into());
        names
    };
    let mut names = BTreeMap::new();
    for plural in ["alertrules", "deployments", "deviceclasses", "devices", "receivers", "repositories", "roles", "silences"] {
        let items = list(&format!("/{plural}?limit=4"));
        names.insert(plural, json!({"namespace": ["default"], "name": of(&items, "/metadata/name")}));
    }
    names.insert("rollouts", names["deployments"].clone());
    names.insert("alerts", json!({"id": of(&list("/alerts?limit=4"), "/id")}));
    names.insert("audit", json!({"index": ["0", "1", "2"]}));
    // Whoever deletes themselves is not asked about any more.
    names.insert("users", json!({"name": ["bob", "vera", "nobody"]}));
    names.insert("query", json!({"device": names["devices"]["name"], "namespace": ["default"]}));
    json!(names)
}

/// Lets Schemathesis ask as somebody; which routes said what.
fn ask_everything(world: &World, program: &Path, token: &str, names: &Value) -> BTreeMap<String, u64> {
    let seen = world.passwords.path().join("seen.json");
    let mut st = Command::new(program);
    st.arg("--config-file").arg(folder().join("schemathesis.toml")).arg("run").arg(folder().join("../../../crates/api/openapi.json"));
    st.args(["--url", &format!("{}/api/v1", world.url), "--max-examples", EXAMPLES]);
    st.args(LEFT_OUT.iter().flat_map(|path| ["--exclude-path", path]));
    st.env("SCHEMATHESIS_HOOKS", "hooks").env("PYTHONPATH", folder()).env("PYTHONDONTWRITEBYTECODE", "1");
    st.env("EVENKEEL_TOKEN", token).env("EVENKEEL_NAMES", names.to_string()).env("EVENKEEL_SEEN", &seen);
    let output = st.current_dir(world.passwords.path()).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}\n{}", String::from_utf8_lossy(&output.stderr), world.engine.tail());
    println!("{}", said.lines().rev().take(12).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n"));
    serde_json::from_slice(&std::fs::read(seen).unwrap()).unwrap()
}

/// It takes ten minutes, so it is for those who ask for it.
#[test]
fn every_answer_is_as_it_is_described() {
    if std::env::var_os(ASKED_FOR).is_none() {
        return eprintln!("not asked for: {ASKED_FOR}=1 has Schemathesis ask everything");
    }
    let program = match schemathesis() {
        Ok(program) => program,
        Err(why) => {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{why}, and in CI nothing is skipped");
            return eprintln!("SKIPPED: Schemathesis can't be installed: {why}");
        }
    };
    let world = World::start();
    let [(ann, admin), (vera, viewer)] = [&PEOPLE[0], &PEOPLE[1]].map(|person| world.person(person));
    world.until("an alert and a rollout", || {
        let [alerts, rollouts] = ["/alerts?state=firing", "/rollouts"].map(|path| ann.ask("GET", path, &Value::Null).unwrap());
        let are_there = [&alerts, &rollouts].iter().all(|list| list.body["total"].as_u64() > Some(0));
        if are_there { Ok(()) } else { Err(format!("{} {}", alerts.body, rollouts.body)) }
    });
    let names = names(&ann);
    // The viewer first: what an administrator does might change what there is.
    let by_viewer = ask_everything(&world, &program, &viewer, &names);
    assert_eq!(vera.ask("GET", "/devices", &Value::Null).unwrap().status, 200);
    let seen = ask_everything(&world, &program, &admin, &names);

    // It has to have been told something: an interface that says no to everything keeps to its description too.
    let document: Value = serde_json::from_str(include_str!("../../../crates/api/openapi.json")).unwrap();
    let routes = document["paths"].as_object().unwrap().iter();
    let reads: BTreeSet<&str> = routes.filter(|(_, operations)| operations["get"].is_object()).map(|(path, _)| path.as_str()).collect();
    let is_left_out = |path: &str| LEFT_OUT.contains(&path) || NEVER_YES.contains(&path);
    let silent: Vec<&str> = reads.into_iter().filter(|path| !is_left_out(path) && !seen.contains_key(&format!("GET {path} 200"))).collect();
    assert_eq!(silent, [""; 0], "never answered with 200: {seen:?}");
    assert!(by_viewer.contains_key("GET /devices/{namespace}/{name} 404"), "{by_viewer:?}");
    let all: u64 = seen.values().chain(by_viewer.values()).sum();
    println!("{all} requests, {} sorts of answers to the administrator, {} to the viewer", seen.len(), by_viewer.len());
}

#[test]
fn routes_are_tried_out_and_no_secret_is_written_down() {
    let world = World::start();
    let (_, admin) = world.person(&PEOPLE[0]);
    a_secret_in_an_address_is_written_nowhere(&world, &admin);
    routes_are_tried_out_in_a_browser(&world, &admin);
}

/// The page beside the description sends requests under its own policy, and asks nobody else.
fn routes_are_tried_out_in_a_browser(world: &World, token: &str) {
    let needed = [Path::new("/usr/bin/chromium").to_owned(), folder().join("../../../web/node_modules/playwright-core")];
    if let Some(missing) = needed.iter().find(|path| !path.exists()) {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "missing: {}, and in CI nothing is skipped", missing.display());
        return eprintln!("SKIPPED: the page in a browser: missing: {}", missing.display());
    }
    let mut browse = Command::new("node");
    browse.arg(folder().join("docs.mjs")).stdin(Stdio::null());
    browse.env("E2E_URL", &world.url).env("E2E_USER", PEOPLE[0].0).env("E2E_PASSWORD", PEOPLE[0].1).env("E2E_TOKEN", token);
    browse.env("PATH", std::env::var("EVENKEEL_NODE_PATH").or_else(|_| std::env::var("PATH")).unwrap());
    println!("{}", run(&mut browse).unwrap_or_else(|error| panic!("{error:#}")));
}

/// Addresses end in logs of proxies and in histories of browsers: ours does not write one down, whoever puts a secret into it.
fn a_secret_in_an_address_is_written_nowhere(world: &World, token: &str) {
    for path in ["/api/v1/devices", "/v1/status", "/hooks/default/fleet", "/sign-in", "/nothing"] {
        for parameter in ["access_token", "token", "code"] {
            let answer = Caller::nobody(&world.url).ask_at("GET", &format!("{path}?{parameter}={token}"), &Value::Null).unwrap();
            assert!(!answer.head.contains(token) && !answer.body.to_string().contains(token), "{path}: {answer:?}");
            assert_ne!((path, answer.status), ("/api/v1/devices", 200), "a token in an address lets nobody in");
        }
    }
    assert!(!world.engine.log().contains(token), "it is in the log");
    let audit = world.engine.text(&["audit", "list"]).unwrap_or_default();
    assert!(!audit.contains(token), "it is in the audit log");
}
