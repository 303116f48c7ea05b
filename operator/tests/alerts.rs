//! An alert's whole life with the real engine: a port that nobody listens on, a kill in the middle, and somebody who listens again.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

/// Looks at what the engine says, a tenth of a second apart: far more than it takes, for a machine that is busy.
const LOOKS: u32 = 900;

/// Somebody who is told by HTTP, and remembers the id and the body of each request.
struct Told {
    port: u16,
    requests: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Told {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, requests) = (listener.local_addr().unwrap().port(), Arc::<Mutex<Vec<_>>>::default());
        let taken = requests.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if let Some(request) = request(&stream) {
                    taken.lock().unwrap().push(request);
                    let _ = (&stream).write_all(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                }
            }
        });
        Self { port, requests }
    }

    fn all(&self) -> Vec<(String, Value)> {
        self.requests.lock().unwrap().clone()
    }
}

fn request(mut stream: &TcpStream) -> Option<(String, Value)> {
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut piece).ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let header = |name: &str| {
            head.lines().find_map(|line| line.split_once(": ").filter(|(key, _)| key.eq_ignore_ascii_case(name))).map(|(_, value)| value)
        };
        if body.len() >= header("content-length")?.parse().ok()? {
            return Some((header("idempotency-key")?.to_owned(), serde_json::from_str(body).ok()?));
        }
    }
}

/// A fleet of one device, and the engine on it.
struct Fleet {
    folder: tempfile::TempDir,
    engine: Option<Child>,
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Fleet {
    fn new(port: u16, told: u16) -> Self {
        let fleet = Self { folder: tempfile::tempdir().unwrap(), engine: None };
        std::fs::create_dir_all(fleet.manifests()).unwrap();
        let manifests = format!(
            "apiVersion: evenkeel.dev/v1alpha1
kind: Device
metadata: {{name: web-01, labels: {{role: web, site: ams}}}}
spec:
  type: Server
  address: 127.0.0.1
  probes: [{{name: web, tcp: {{port: {port}}}, interval: 1s, timeout: 1s, failures: 1, successes: 1}}]
---
apiVersion: evenkeel.dev/v1alpha1
kind: Receiver
metadata: {{name: oncall}}
spec: {{webhook: {{url: 'http://127.0.0.1:{told}/hook'}}}}
---
apiVersion: evenkeel.dev/v1alpha1
kind: AlertRule
metadata: {{name: web-down}}
spec:
  selector: {{matchLabels: {{role: web}}}}
  expr: probes[\"web\"].state == \"fail\"
  for: 1s
  severity: critical
  summary: '{{{{ device.name }}}} in {{{{ device.labels.site }}}} does not answer'
  notify: {{receivers: [oncall], groupBy: [site], wait: 1s, interval: 1s}}
"
        );
        std::fs::write(fleet.manifests().join("fleet.yaml"), manifests).unwrap();
        fleet
    }

    fn manifests(&self) -> PathBuf {
        self.folder.path().join("fleet")
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn start(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
        command.args(["run", "--interval", "1s", "--repo"]).arg(self.manifests()).arg("--data").arg(self.data());
        command.env_remove("DATABASE_URL").env("RUST_LOG", "info").stdout(Stdio::null()).stderr(log);
        self.engine = Some(command.spawn().unwrap());
    }

    /// As a power cut would.
    fn kill(&mut self) {
        if let Some(mut engine) = self.engine.take() {
            engine.kill().unwrap();
            engine.wait().unwrap();
        }
    }

    fn ask(&self, arguments: &[&str]) -> Option<String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
        let output = command.args(arguments).arg("--data").arg(self.data()).env_remove("DATABASE_URL").output().unwrap();
        if !output.status.success() {
            eprintln!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let text = self.ask(&[arguments, &["-o", "json"]].concat());
        text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
    }

    /// Waits until the engine says so.
    fn until<T>(&self, what: &str, look: impl Fn(&Self) -> Option<T>) -> T {
        for _ in 0..LOOKS {
            if let Some(found) = look(self) {
                return found;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("never {what}: {}", log(self.folder.path()));
    }
}

fn log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("log")).unwrap_or_default()
}

#[test]
fn an_alert_from_its_beginning_to_its_end_with_a_kill_in_the_middle() {
    // A port that was free a moment ago, and that nobody listens on.
    let place: SocketAddr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let told = Told::new();
    let mut fleet = Fleet::new(place.port(), told.port);
    fleet.start();
    let fires = |fleet: &Fleet| fleet.json(&["alerts"]).into_iter().find(|alert| alert["state"] == "firing");
    let alert = fleet.until("firing", fires);
    let id = alert["id"].as_str().unwrap().to_owned();
    assert_eq!(alert["summary"], "web-01 in ams does not answer");
    let said = |reason: &'static str| {
        move |fleet: &Fleet| fleet.json(&["alerts", "notices"]).into_iter().find(|row| row["notice"]["reason"] == reason)
    };
    let first = fleet.until("said", said("first"));
    assert_eq!((&first["notice"]["receiver"], &first["notice"]["firing"][0]["id"]), (&"oncall".into(), &Value::from(id.as_str())));

    let requests = &told;
    let is_told = |reason: &'static str| move |_: &Fleet| requests.all().into_iter().find(|(_, body)| body["reason"] == reason);
    let (told_id, body) = fleet.until("told", is_told("first"));
    assert_eq!(
        (told_id.as_str(), &body["firing"][0]["summary"]),
        (first["notice"]["id"].as_str().unwrap(), &"web-01 in ams does not answer".into())
    );
    // What was told and is not written down as told would be told again: at least once, not at most.
    fleet.until("written down", |fleet| {
        fleet.json(&["alerts", "notices"]).into_iter().find(|row| row["notice"]["reason"] == "first" && row["finishedAt"].is_string())
    });

    let answer = fleet.ask(&["alerts", "acknowledge", &id[..6], "--comment", "on it", "--for", "2h"]).unwrap();
    assert!(answer.contains("looks after alertrule/web-down on device/web-01"), "{answer}");

    fleet.kill();
    fleet.start();
    let again = fleet.until("firing after the restart", fires);
    assert_eq!(again["id"], id.as_str(), "it is the same alert");
    assert_eq!(again["acknowledged"]["comment"], "on it");
    assert_eq!(again["firedAt"], alert["firedAt"]);

    let listener = TcpListener::bind(place).unwrap();
    let resolved = fleet.until("well again", said("allResolved"));
    assert_eq!(resolved["notice"]["thread"], first["notice"]["thread"], "it lands under the first one");
    assert_eq!(resolved["notice"]["resolved"][0]["id"], id.as_str());
    fleet.until("told that all is well", is_told("allResolved"));
    let told: Vec<String> = told.all().into_iter().map(|(id, _)| id).collect();
    assert_eq!(told.len(), 2, "nobody was told twice: {told:?}");
    let said = fleet.ask(&["receivers", "test", "oncall"]).unwrap();
    assert!(said.contains("receiver oncall has been told"), "{said}");
    assert!(fleet.ask(&["receivers", "test", "nobody"]).is_none());
    let notices = fleet.json(&["alerts", "notices"]);
    let of_it = notices.iter().filter(|row| row["notice"]["thread"] == first["notice"]["thread"]).count();
    assert_eq!(of_it, 2, "nothing was said twice: {notices:#?}");

    let why = fleet.ask(&["alerts", "why", &id[..6]]).unwrap();
    for part in
        ["firing", "said: nothing of this group was said before", "acknowledged by", "resolved", "said: all of this group is well again"]
    {
        assert!(why.contains(part), "{part}: {why}");
    }
    let audit = fleet.json(&["audit", "list", "--about", "alertrule/web-down"]);
    let verbs: Vec<&str> = audit.iter().rev().filter_map(|entry| entry["verb"].as_str()).collect();
    assert!(verbs.starts_with(&["fire", "acknowledge", "resolve"]), "{verbs:?}");
    // Until here somebody listened, so that nothing new began.
    drop(listener);
}
