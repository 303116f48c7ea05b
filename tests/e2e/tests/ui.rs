//! The web UI in a browser, on the real engine with the simulated devices of `examples/`: what people do with it, and what they may not.

use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use e2e::engine::Engine;
use e2e::simulated::Simulated;
use e2e::{run, wait_until};

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
/// Versions of nginx: the first one, a good one, and one that dies.
const FIRST: &str = "1.22.1-9";
const GOOD: &str = "1.24.0-1";
const BAD: &str = "1.25.2-1";
const LIMIT: Duration = Duration::from_secs(180);

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

fn until(engine: &Engine, name: &str, phase: &str) {
    let result = wait_until(phase, LIMIT, || {
        let text = engine.text(&["get", "deployment", name, "-o", "json"]).map_err(|error| error.to_string())?;
        let is: serde_json::Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        if is["status"]["phase"] == phase { Ok(()) } else { Err(is["status"].to_string()) }
    });
    result.unwrap_or_else(|error| panic!("{error}\n{}", engine.tail()));
}

#[test]
fn people_see_and_do_what_they_may_in_a_browser() {
    if let Some(why) = unavailable() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{why}, and in CI nothing is skipped");
        return eprintln!("SKIPPED: {why}");
    }
    let (good, bad) = (format!("nginx={GOOD}"), format!("nginx={BAD}"));
    let dies = format!("{bad}:dies-after=4s");
    let syslog = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let more = ["--package", &good, "--package", &bad, "--bad", &dies, "--syslog", &syslog];
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
    until(&engine, "nginx", "Complete");
    let passwords = tempfile::tempdir().unwrap();
    for (name, password, groups) in PEOPLE {
        let file = passwords.path().join(name);
        std::fs::write(&file, password).unwrap();
        let add = Command::new(binary())
            .args(["users", "add", name])
            .args(groups)
            .arg("--password-file")
            .arg(&file)
            .arg("--data")
            .arg(&engine.data)
            .output();
        let add = add.unwrap();
        assert!(add.status.success(), "{}", String::from_utf8_lossy(&add.stderr));
    }
    deploy(&engine, FIRST, GOOD);
    until(&engine, "nginx", "Progressing");
    until(&engine, "nginx", "Complete");
    deploy(&engine, GOOD, BAD);
    until(&engine, "nginx", "RolledBack");
    until(&engine, "asks", "AwaitingApproval");

    let pictures = std::env::var_os("EVENKEEL_PICTURES").map_or_else(|| passwords.path().join("pictures"), PathBuf::from);
    let [(ann, ann_password, _), (vera, vera_password, _)] = PEOPLE;
    let mut browse = Command::new("node");
    browse.args(["e2e/run.mjs", "real"]).current_dir(web()).stdin(Stdio::null());
    browse.env("E2E_URL", format!("http://{address}")).env("E2E_SHOTS", &pictures).env("E2E_USER", ann).env("E2E_PASSWORD", ann_password);
    browse.env("E2E_VIEWER", vera).env("E2E_VIEWER_PASSWORD", vera_password).env("E2E_REAL", "1").env("E2E_ASKS", "default/asks");
    browse.env("PATH", std::env::var("EVENKEEL_NODE_PATH").or_else(|_| std::env::var("PATH")).unwrap());
    let told = run(&mut browse).unwrap_or_else(|error| panic!("{error:#}\n{}", engine.tail()));
    println!("{told}");
    // What was agreed to in the browser is done on devices; how soon on all of them depends on who else is out there.
    let asks = engine.text(&["get", "deployment", "asks", "-o", "json"]).unwrap();
    let asks: serde_json::Value = serde_json::from_str(&asks).unwrap();
    assert!(asks["status"]["counts"]["updated"].as_u64() > Some(0), "{asks}");
    assert!(told.contains("ok ") && !told.contains("FAULT") && !told.contains("FAIL"), "{told}");
}
