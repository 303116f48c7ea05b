//! The web UI in a browser, on the real engine with the simulated devices of `examples/`: what people do with it, and what they may not.
//! Pictures of each page stay in `target/pictures`, or where EVENKEEL_PICTURES says.

use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use e2e::engine::Engine;
use e2e::rest::Caller;
use e2e::simulated::Simulated;
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
    - {verbs: [view], kinds: [Device, Deployment, AlertRule, Silence], devices: {matchLabels: {site: ams1}}}
";
/// Fires on every device of one role, for as long as the test runs.
const RULE: &str = "apiVersion: evenkeel.dev/v1alpha1
kind: AlertRule
metadata: {name: up-for-long}
spec:
  selector: {matchLabels: {role: db}}
  expr: usage.uptime > 1.0
  severity: warning
  summary: '{{ device.name }} runs'
";
/// Waits for a person before it touches anything.
const ASKS: &str = "apiVersion: evenkeel.dev/v1alpha1
kind: Deployment
metadata: {name: asks}
spec:
  selector: {matchLabels: {role: db}}
  files: [{path: /etc/asks, content: 'approved'}]
  strategy: {batches: [{max: 1}], soak: 1s}
  gate: {probes: false}
  approval: FirstBatch
";
/// Versions of nginx: one that is good, and one that dies.
const GOOD: &str = "1.22.1-9";
const BAD: &str = "1.25.2-1";
/// What the browser says when it has seen the good one on all devices.
const SEEN: &str = "ok    good";
/// What it says before it takes back a release that is good too.
const BEFORE_UNDO: &str = "ok    edit";

fn binary() -> PathBuf {
    std::env::var("EVENKEEL_BIN").expect("EVENKEEL_BIN names no evenkeel: run the tests by `cargo xtask test`").into()
}

fn web() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web")
}

/// Why there is no browser to try it in.
fn unavailable() -> Option<String> {
    let version = Command::new(binary()).arg("--version").output().unwrap();
    if String::from_utf8_lossy(&version.stdout).contains("without") {
        return Some("the web UI is not in this binary: `cargo xtask web` builds it".into());
    }
    let missing = ["/usr/bin/chromium"].into_iter().find(|program| !Path::new(program).exists());
    missing.map(|program| format!("missing: {program} (Debian package chromium)"))
}

fn deploy(engine: &Engine, from: &str, to: &str) {
    let file = "deployments/nginx.yaml";
    let text = std::fs::read_to_string(engine.fleet.join(file)).unwrap().replace(from, to).replace("soak: 2m", "soak: 3s");
    engine.commit(file, &text, &format!("nginx {to}")).unwrap();
}

fn add_people(engine: &Engine) {
    let passwords = tempfile::tempdir().unwrap();
    for (name, password, groups) in PEOPLE {
        let file = passwords.path().join(name);
        std::fs::write(&file, password).unwrap();
        let mut add = Command::new(binary());
        add.args(["users", "add", name]).args(groups).arg("--password-file").arg(&file).arg("--data").arg(&engine.data);
        e2e::run(&mut add).unwrap();
    }
}

/// Where the pictures go: below `target/`, beside the binary.
fn pictures() -> PathBuf {
    std::env::var_os("EVENKEEL_PICTURES").map_or_else(|| binary().ancestors().nth(2).unwrap().join("pictures"), PathBuf::from)
}

/// Runs a script as the administrator would.
fn node(arguments: &[&str], address: &str) -> Command {
    let (ann, password, _) = PEOPLE[0];
    let mut node = Command::new("node");
    node.args(arguments).current_dir(web()).stdin(Stdio::null());
    node.env("E2E_URL", format!("http://{address}")).env("E2E_USER", ann).env("E2E_PASSWORD", password);
    node.env("PATH", std::env::var("EVENKEEL_NODE_PATH").or_else(|_| std::env::var("PATH")).unwrap());
    node
}

/// Releases the good version once more, with a file beside it.
fn deploy_what_is_undone(engine: &Engine) {
    deploy(engine, &format!("version: {BAD}}}"), &format!("version: {GOOD}}}\n  files: [{{path: /etc/undone, content: once}}]"));
}

/// All scripts; when they have followed the good rollout to its end, the bad one is committed, and at last one that they take back. What they
/// said.
fn browse(engine: &Engine, address: &str) -> String {
    let (vera, password, _) = PEOPLE[1];
    let mut node = node(&["e2e/run.mjs", "real"], address);
    node.env("E2E_SHOTS", pictures()).env("E2E_VIEWER", vera).env("E2E_VIEWER_PASSWORD", password).env("E2E_ASKS", "default/asks");
    let mut node = node.stdout(Stdio::piped()).spawn().unwrap();
    let mut told = String::new();
    for line in BufReader::new(node.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if line.starts_with(SEEN) {
            deploy(engine, GOOD, BAD);
        }
        if line == BEFORE_UNDO {
            deploy_what_is_undone(engine);
        }
        println!("{line}");
        told += &line;
        told.push('\n');
    }
    assert!(node.wait().unwrap().success(), "{}", engine.tail());
    told
}

/// Addresses end in logs of proxies and in histories of browsers: ours does not write one down, whoever puts a secret into it.
fn a_secret_in_an_address_is_written_nowhere(engine: &Engine, url: &str, token: &str) {
    for path in ["/api/v1/devices", "/v1/status", "/hooks/default/fleet", "/sign-in", "/nothing"] {
        for parameter in ["access_token", "token", "code"] {
            let answer = Caller::nobody(url).ask_at("GET", &format!("{path}?{parameter}={token}"), &Value::Null).unwrap();
            assert!(!answer.head.contains(token) && !answer.body.to_string().contains(token), "{path}: {answer:?}");
            assert_ne!((path, answer.status), ("/api/v1/devices", 200), "a token in an address lets nobody in");
        }
    }
    assert!(!engine.log().contains(token), "it is in the log");
    let audit = engine.text(&["audit", "list"]).unwrap();
    assert!(!audit.contains(token), "it is in the audit log");
}

#[test]
fn people_see_and_do_what_they_may_in_a_browser() {
    if let Some(why) = unavailable() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{why}, and in CI nothing is skipped");
        return eprintln!("SKIPPED: {why}");
    }
    let bad = format!("nginx={BAD}");
    let dies = format!("{bad}:dies-after=4s");
    let syslog = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let more = ["--package", &bad, "--bad", &dies, "--syslog", &syslog];
    let simulated = Simulated::start(&binary(), &Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples"), &more).unwrap();
    let mut engine = Engine::with(&binary(), &simulated.folder, &simulated.key()).unwrap();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    engine.arguments = ["--listen", &address, "--syslog-udp", &syslog].map(str::to_owned).into();
    let classes = engine.fleet.join("devices/classes.yaml");
    std::fs::write(&classes, std::fs::read_to_string(&classes).unwrap().replace("interval: 30s", "interval: 2s")).unwrap();
    std::fs::write(engine.fleet.join("governing/lookers.yaml"), ROLE).unwrap();
    std::fs::write(engine.fleet.join("watching/test.yaml"), RULE).unwrap();
    std::fs::write(engine.fleet.join("deployments/asks.yaml"), ASKS).unwrap();
    deploy(&engine, "soak: 2m", "soak: 3s");
    engine.start().unwrap();
    add_people(&engine);
    let told = browse(&engine, &address);
    // What was agreed to in the browser is done on devices; how soon on all of them depends on who else is out there.
    let asks = engine.text(&["get", "deployment", "asks", "-o", "json"]).unwrap();
    let asks: Value = serde_json::from_str(&asks).unwrap();
    assert!(asks["status"]["counts"]["updated"].as_u64() > Some(0), "{asks}");
    assert!(told.contains(SEEN) && !told.contains("FAULT") && !told.contains("FAIL"), "a script failed");
    // The page beside the API's description sends requests under its own policy, and asks nobody else.
    let url = format!("http://{address}");
    let ann = Caller::signed_in(&url, PEOPLE[0].0, PEOPLE[0].1).unwrap();
    let made = ann.ask("POST", "/tokens", &json!({"name": "tried-out"})).unwrap();
    let token = made.body["token"].as_str().unwrap_or_else(|| panic!("{made:?}"));
    println!("{}", e2e::run(node(&["e2e/docs.mjs"], &address).env("E2E_TOKEN", token)).unwrap_or_else(|error| panic!("{error:#}")));
    a_secret_in_an_address_is_written_nowhere(&engine, &url, token);
    println!("pictures of each page, light and dark, in both languages: {}", pictures().display());
}
