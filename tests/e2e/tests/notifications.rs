//! Database, mail server and gateway, each away for a while during 200 alerts, and the engine killed in between: every alert and every end
//! arrives, and nothing twice but what was cut while it was under way.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use e2e::fleet::{LIMIT, binary};
use e2e::postgres::Postgres;
use e2e::wait_until;
use serde_json::Value;

/// Devices, and sites that they are spread over: what is of one site comes in one message, so that people get no summary.
const DEVICES: usize = 200;
const SITES: usize = 8;
/// Tries for one receiver at once: so many may be cut by one kill.
const EACH: usize = 2;

/// What the gateway does with what it is sent.
#[derive(Clone, Copy, PartialEq)]
#[repr(u8)]
enum Mode {
    Good,
    /// It is ill, and says so.
    Ill,
    /// It takes it, and its answer is lost.
    Mute,
}

/// How often each event was taken, by alert and action, and how often its answer was lost.
type Events = Mutex<BTreeMap<(String, String), [usize; 2]>>;

/// PagerDuty's place: an event for each alert.
struct Gateway {
    port: u16,
    mode: Arc<AtomicU8>,
    events: Arc<Events>,
}

impl Gateway {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (mode, events) = (Arc::new(AtomicU8::new(Mode::Ill as u8)), Arc::<Events>::default());
        let gateway = Self { port, mode: mode.clone(), events: events.clone() };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (mode, events) = (mode.clone(), events.clone());
                std::thread::spawn(move || serve(&stream, &mode, &events));
            }
        });
        gateway
    }

    fn is(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::SeqCst);
    }

    /// Alerts that it knows to have begun, or ended.
    fn known(&self, action: &str) -> usize {
        self.events.lock().unwrap().keys().filter(|(_, of)| of == action).count()
    }
}

fn serve(mut stream: &TcpStream, mode: &AtomicU8, events: &Events) -> Option<()> {
    stream.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut length = 0;
        for number in 0.. {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            if line == "\r\n" && number > 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let event: Value = serde_json::from_slice(&body).ok()?;
        let mode = mode.load(Ordering::SeqCst);
        if mode == Mode::Ill as u8 {
            stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n").ok()?;
            continue;
        }
        let key = (event["dedup_key"].as_str()?.to_owned(), event["event_action"].as_str()?.to_owned());
        let lost = usize::from(mode == Mode::Mute as u8);
        {
            let mut events = events.lock().unwrap();
            let counts = events.entry(key).or_default();
            counts[0] += 1;
            counts[1] += lost;
        }
        if lost > 0 {
            return None;
        }
        stream.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n").ok()?;
    }
}

/// A mail server that can be taken away and comes back at the same port.
struct Mails {
    folder: tempfile::TempDir,
    port: u16,
    lives: usize,
    process: Option<Child>,
}

impl Mails {
    fn new() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { folder: tempfile::tempdir().unwrap(), port, lives: 0, process: None }
    }

    fn up(&mut self) {
        let folder = self.folder.path().join(self.lives.to_string());
        std::fs::create_dir(&folder).unwrap();
        self.lives += 1;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/notify/tests/common/smtpd.py");
        let mut command = Command::new("/usr/bin/python3");
        command.arg(script).arg(folder).arg("plain").env("SMTPD_PORT", self.port.to_string()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), self.port.to_string(), "the mail server is up");
        self.process = Some(child);
    }

    fn down(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    fn all(&self) -> Vec<Value> {
        let lives = (0..self.lives).map(|life| self.folder.path().join(life.to_string()));
        let of = |folder: PathBuf| (0..).map_while(move |number| std::fs::read(folder.join(format!("{number}.json"))).ok());
        lives.flat_map(of).map(|bytes| serde_json::from_slice(&bytes).unwrap()).collect()
    }

    /// Devices of which some mail says that an alert fires, and that it is over.
    fn told(&self) -> [usize; 2] {
        let mut told: [std::collections::BTreeSet<String>; 2] = Default::default();
        for mail in self.all() {
            for line in mail["text"].as_str().unwrap().lines() {
                for (at, word) in ["CRITICAL d-", "RESOLVED d-"].into_iter().enumerate() {
                    told[at].extend(line.strip_prefix(word).map(str::to_owned));
                }
            }
        }
        told.map(|devices| devices.len())
    }

    /// Mails beyond the first of each notice.
    fn doubles(&self) -> usize {
        let mut seen = BTreeMap::<String, usize>::new();
        for mail in self.all() {
            let headers = mail["headers"].as_array().unwrap();
            let id = headers.iter().find(|header| header[0] == "Message-ID").unwrap()[1].to_string();
            *seen.entry(id).or_default() += 1;
        }
        seen.values().map(|count| count - 1).sum()
    }
}

impl Drop for Mails {
    fn drop(&mut self) {
        self.down();
    }
}

struct Engine<'a> {
    folder: &'a Path,
    database: String,
    process: Option<Child>,
}

impl Drop for Engine<'_> {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Engine<'_> {
    fn start(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.folder.join("log")).unwrap();
        let mut command = Command::new(binary().unwrap());
        command.args(["run", "--interval", "1s", "--repo"]).arg(self.folder.join("fleet")).arg("--data").arg(self.folder.join("data"));
        command.arg("--secrets").arg(self.folder.join("secrets")).env("DATABASE_URL", &self.database);
        command.env("RUST_LOG", "info").stdout(Stdio::null()).stderr(log);
        self.process = Some(command.spawn().unwrap());
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let mut command = Command::new(binary().unwrap());
        let output = command.args(arguments).args(["-o", "json", "--data"]).arg(self.folder.join("data")).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    fn until(&self, what: &str, mut is_so: impl FnMut() -> String) {
        let waited = wait_until(what, LIMIT, || {
            let left = is_so();
            if left.is_empty() { Ok(()) } else { Err(left) }
        });
        let log = || std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        waited.unwrap_or_else(|error| panic!("{error}\n{}", e2e::fleet::tail(&log())));
    }
}

fn manifests(ports: [u16; 2], mails: u16, gateway: u16) -> String {
    let mut text = format!(
        "apiVersion: evenkeel.dev/v1alpha1
kind: Receiver
metadata: {{name: mail}}
spec: {{email: {{to: [ops@example.com], from: evenkeel@example.com, server: '127.0.0.1:{mails}', security: None}}}}
---
apiVersion: evenkeel.dev/v1alpha1
kind: Receiver
metadata: {{name: pager}}
spec: {{webhook: {{url: 'http://127.0.0.1:{gateway}/v2/enqueue', format: PagerDuty, secretRef: {{name: pager}}}}}}
---
apiVersion: evenkeel.dev/v1alpha1
kind: AlertRule
metadata: {{name: port-closed}}
spec:
  selector: {{matchLabels: {{role: chaos}}}}
  expr: probes[\"port\"].state == \"fail\"
  severity: critical
  notify: {{receivers: [mail, pager], groupBy: [site], wait: 3s, interval: 3s}}
"
    );
    for device in 0..DEVICES {
        let (site, port) = (device % SITES, ports[device % 2]);
        let _ = write!(
            text,
            "---
apiVersion: evenkeel.dev/v1alpha1
kind: Device
metadata: {{name: d-{device:03}, labels: {{role: chaos, site: s{site}}}}}
spec:
  type: Server
  address: 127.0.0.1
  probes: [{{name: port, tcp: {{port: {port}}}, interval: 2s, timeout: 1s, failures: 1, successes: 1}}]
"
        );
    }
    text
}

/// A port of ours that nobody listens on, and somebody who does.
fn closed() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn opened(port: u16) -> TcpListener {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let taking = listener.try_clone().unwrap();
    std::thread::spawn(move || taking.incoming().for_each(drop));
    listener
}

fn missing() -> bool {
    let is_there = Path::new("/usr/bin/aiosmtpd").exists();
    if !is_there {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "aiosmtpd is missing, and in CI nothing is skipped");
        eprintln!("SKIPPED: missing Debian packages: python3-aiosmtpd");
    }
    !is_there
}

#[test]
fn every_alert_and_every_end_arrives_whatever_is_away() {
    if missing() {
        return;
    }
    let Some(mut database) = Postgres::start().unwrap() else {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "PostgreSQL is missing, and in CI nothing is skipped");
        return eprintln!("SKIPPED: missing Debian packages: postgresql");
    };
    let folder = tempfile::tempdir().unwrap();
    let (mut mails, gateway, ports) = (Mails::new(), Gateway::start(), [closed(), closed()]);
    std::fs::create_dir_all(folder.path().join("fleet")).unwrap();
    std::fs::create_dir_all(folder.path().join("secrets/pager")).unwrap();
    std::fs::write(folder.path().join("secrets/pager/routingKey"), "R0UT1NGKEY").unwrap();
    std::fs::write(folder.path().join("fleet/fleet.yaml"), manifests(ports, mails.port, gateway.port)).unwrap();
    let mut engine = Engine { folder: folder.path(), database: database.url(), process: None };

    // Mail server and gateway are away from the start; 200 alerts begin.
    engine.start();
    engine.until("all fire and all is in the outbox", || {
        let firing = engine.json(&["alerts"]).iter().filter(|alert| alert["state"] == "firing").count();
        let notices = engine.json(&["alerts", "notices"]);
        let said: usize = notices.iter().filter_map(|row| row["notice"]["firing"].as_array()).map(Vec::len).sum();
        if firing == DEVICES && said >= 2 * DEVICES { String::new() } else { format!("{firing} fire, {said} are to be said") }
    });
    // The gateway's answers are lost; what it took is sent again.
    gateway.is(Mode::Mute);
    engine.until("the gateway took something", || if gateway.known("trigger") > 0 { String::new() } else { "nothing yet".into() });
    gateway.is(Mode::Good);
    // The database goes while half of the devices are well again.
    database.down();
    let first = opened(ports[0]);
    mails.up();
    std::thread::sleep(Duration::from_secs(6));
    database.up().unwrap();
    engine.until("the gateway knows of all alerts", || {
        let known = gateway.known("trigger");
        if known == DEVICES { String::new() } else { format!("{known} of {DEVICES}") }
    });
    // The engine is killed, and the mail server goes, while the others are well again.
    engine.kill();
    mails.down();
    let second = opened(ports[1]);
    engine.start();
    std::thread::sleep(Duration::from_secs(4));
    mails.up();
    engine.until("every end has arrived everywhere", || {
        let (begun, ended, told) = (gateway.known("trigger"), gateway.known("resolve"), mails.told());
        if (begun, ended, told) == (DEVICES, DEVICES, [DEVICES; 2]) {
            String::new()
        } else {
            format!("gateway {begun}, {ended}; mails {told:?}")
        }
    });
    engine.until("all of it is written down", || {
        let open = engine.json(&["alerts", "notices", "--limit", "1000"]).iter().filter(|row| row["finishedAt"].is_null()).count();
        if open == 0 { String::new() } else { format!("{open} wait") }
    });

    // Twice only what was cut: the answer was lost, or the engine or the mail server was killed in its middle.
    let events = gateway.events.lock().unwrap();
    let lost: usize = events.values().map(|[_, lost]| lost).sum();
    // On a slow machine a group is spoken of twice while it grows, and each time as a whole.
    let mut said = BTreeMap::<(String, &str), usize>::new();
    for row in engine.json(&["alerts", "notices", "--limit", "1000"]).iter().filter(|row| row["notice"]["receiver"] == "pager") {
        for (list, action) in [("firing", "trigger"), ("resolved", "resolve")] {
            for alert in row["notice"][list].as_array().into_iter().flatten() {
                *said.entry((alert["id"].as_str().unwrap().to_owned(), action)).or_default() += 1;
            }
        }
    }
    let meant = |(id, action): &(String, String)| said.get(&(id.clone(), action.as_str())).copied().unwrap_or_default();
    let doubles: usize = events.iter().map(|(event, [taken, lost])| (taken - lost).saturating_sub(meant(event))).sum();
    eprintln!(
        "gateway: {} events, {lost} answers lost, {doubles} doubles beside; mails: {}, {} doubles",
        events.len(),
        mails.all().len(),
        mails.doubles()
    );
    assert!(lost > 0 && events.values().all(|[taken, lost]| taken > lost), "each was taken with an answer");
    assert!(doubles <= EACH, "{doubles} came twice without having been cut");
    assert!(mails.doubles() <= 2 * EACH, "{} mails came twice", mails.doubles());
    drop((first, second));
}
