//! Database, mail server, pager and SMS gateway, each away for several tries during 200 alerts, and the engine killed in between: every
//! alert and every end arrives, and nothing twice but what was cut while it was under way. What is waited for is as long as always, but the
//! waits between tries (`--notify-retry`): minutes become seconds. With `EVENKEEL_AWAY`, in seconds, each is away for so long
//! (`cargo xtask chaos --away 3m`).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use e2e::fleet::{LIMIT, binary};
use e2e::postgres::Postgres;
use e2e::wait_until;
use serde_json::Value;

/// Devices, and sites that they are spread over: what is of one site comes in one message, so that people get no summary.
const DEVICES: usize = 200;
const SITES: usize = 5;
/// Tries for one receiver at once: so many may be cut by one kill.
const EACH: usize = 2;
/// Each is away for so many tries of some message.
const TRIES: u64 = 3;
/// The database is away for so long, unless more is wanted: several of the engine's tries to write (2 s).
const DATABASE: Duration = Duration::from_secs(9);
/// Who gets an SMS.
const NUMBERS: [&str; 2] = ["+31600000001", "+31600000002"];

/// What a gateway does with what it is sent.
#[derive(Clone, Copy, PartialEq)]
#[repr(u8)]
enum Mode {
    Good,
    /// It is ill, and says so.
    Ill,
    /// It takes it, and its answer is lost.
    Mute,
    /// It reads what it is sent, and never answers.
    Hang,
    /// Nobody listens.
    Gone,
}

/// How often each thing was taken, by what it is, and how often its answer was lost.
type Taken = Mutex<BTreeMap<(String, String), [usize; 2]>>;

/// What a gateway is.
#[derive(Clone, Copy)]
struct Of {
    /// What it was sent: a message and for whom, or an alert and what became of it.
    key: [&'static str; 2],
    taken: &'static str,
    ill: &'static str,
}

/// PagerDuty's place: an event for each alert.
const PAGER: Of = Of {
    key: ["dedup_key", "event_action"],
    taken: "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n",
    ill: "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
};

/// An SMS gateway, which answers 200 whatever comes of it, as many do.
const SMS: Of = Of {
    key: ["reference", "to"],
    taken: "HTTP/1.1 200 OK\r\ncontent-length: 19\r\n\r\n{\"status\":\"queued\"}",
    ill: "HTTP/1.1 200 OK\r\ncontent-length: 19\r\n\r\n{\"status\":\"failed\"}",
};

/// An HTTP gateway that plays one of them.
struct Gateway {
    port: u16,
    mode: Arc<AtomicU8>,
    taken: Arc<Taken>,
}

impl Gateway {
    fn start(of: Of, mode: Mode) -> Self {
        let port = closed();
        let (mode, taken) = (Arc::new(AtomicU8::new(mode as u8)), Arc::<Taken>::default());
        let gateway = Self { port, mode: mode.clone(), taken: taken.clone() };
        std::thread::spawn(move || {
            let mut listener = None;
            loop {
                if mode.load(Ordering::SeqCst) == Mode::Gone as u8 {
                    listener = None;
                } else if listener.is_none() {
                    listener = TcpListener::bind(("127.0.0.1", port)).ok();
                    listener.iter().for_each(|listener| listener.set_nonblocking(true).unwrap());
                }
                let Some(Ok((stream, _))) = listener.as_ref().map(TcpListener::accept) else {
                    std::thread::sleep(Duration::from_millis(10));
                    continue;
                };
                let (mode, taken) = (mode.clone(), taken.clone());
                std::thread::spawn(move || serve(&stream, of, &mode, &taken));
            }
        });
        gateway
    }

    fn is(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::SeqCst);
    }

    /// Things of which the second word is this one.
    fn known(&self, second: &str) -> usize {
        self.taken.lock().unwrap().keys().filter(|(_, of)| of == second).count()
    }

    fn lost(&self) -> usize {
        self.taken.lock().unwrap().values().map(|[_, lost]| lost).sum()
    }
}

/// The body of the next request.
fn request(reader: &mut BufReader<&TcpStream>) -> Option<Value> {
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
    serde_json::from_slice(&body).ok()
}

fn serve(mut stream: &TcpStream, of: Of, mode: &AtomicU8, taken: &Taken) -> Option<()> {
    stream.set_nonblocking(false).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let sent = request(&mut reader)?;
        let is = |of: Mode| mode.load(Ordering::SeqCst) == of as u8;
        while is(Mode::Hang) {
            std::thread::sleep(Duration::from_millis(10));
        }
        if is(Mode::Gone) {
            return None;
        }
        if is(Mode::Ill) {
            stream.write_all(of.ill.as_bytes()).ok()?;
            continue;
        }
        let lost = is(Mode::Mute);
        let [first, second] = of.key.map(|key| sent[key].as_str().map(str::to_owned));
        {
            let mut taken = taken.lock().unwrap();
            let counts = taken.entry((first?, second?)).or_default();
            counts[0] += 1;
            counts[1] += usize::from(lost);
        }
        if lost {
            return None;
        }
        stream.write_all(of.taken.as_bytes()).ok()?;
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
        command
            .args(["run", "--interval", "1s", "--notify-retry", "1s", "--repo"])
            .arg(self.folder.join("fleet"))
            .arg("--data")
            .arg(self.folder.join("data"));
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
        // The longer somebody was away, the longer the waits that tries have come to by then.
        let waited = wait_until(what, LIMIT + 2 * away().unwrap_or_default(), || {
            let left = is_so();
            if left.is_empty() { Ok(()) } else { Err(left) }
        });
        let log = || std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        waited.unwrap_or_else(|error| panic!("{error}\n{}", e2e::fleet::tail(&log())));
    }
}

fn manifests(ports: [u16; 2], [mails, pager, sms]: [u16; 3]) -> String {
    let mut text = format!(
        "apiVersion: evenkeel.dev/v1alpha1
kind: Receiver
metadata: {{name: mail}}
spec: {{email: {{to: [ops@example.com], from: evenkeel@example.com, server: '127.0.0.1:{mails}', security: None}}}}
---
apiVersion: evenkeel.dev/v1alpha1
kind: Receiver
metadata: {{name: pager}}
spec: {{webhook: {{url: 'http://127.0.0.1:{pager}/v2/enqueue', format: PagerDuty, secretRef: {{name: pager}}}}}}
---
apiVersion: evenkeel.dev/v1alpha1
kind: Receiver
metadata: {{name: sms}}
spec:
  sms:
    to: ['{}', '{}']
    gateway:
      url: 'http://127.0.0.1:{sms}/v1/messages'
      body: '{{\"to\": \"{{{{ to }}}}\", \"text\": \"{{{{ text }}}}\", \"reference\": \"{{{{ id }}}}\"}}'
      success: status == 200 && json.status == \"queued\"
---
apiVersion: evenkeel.dev/v1alpha1
kind: AlertRule
metadata: {{name: port-closed}}
spec:
  selector: {{matchLabels: {{role: chaos}}}}
  expr: probes[\"port\"].state == \"fail\"
  severity: critical
  notify: {{receivers: [mail, pager, sms], groupBy: [site], wait: 3s, interval: 3s}}
",
        NUMBERS[0], NUMBERS[1]
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

/// A port of ours that nobody listens on, and somebody who does. It is below those that the system gives to whoever wants any, so that nobody
/// has it in between.
fn closed() -> u16 {
    static TRIED: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + u16::try_from(std::process::id() % 8_000).unwrap();
    let ports = (0..100).map(|_| first + TRIED.fetch_add(1, Ordering::Relaxed));
    ports.into_iter().find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

fn opened(port: u16) -> TcpListener {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let taking = listener.try_clone().unwrap();
    std::thread::spawn(move || taking.incoming().for_each(drop));
    listener
}

/// For how long each is away at least, if somebody wants more than a few tries.
fn away() -> Option<Duration> {
    let text = std::env::var("EVENKEEL_AWAY").ok()?;
    Some(Duration::from_secs(text.parse().unwrap_or_else(|_| panic!("EVENKEEL_AWAY: {text}: seconds"))))
}

fn missing() -> bool {
    let is_there = Path::new("/usr/bin/aiosmtpd").exists();
    if !is_there {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "aiosmtpd is missing, and in CI nothing is skipped");
        eprintln!("SKIPPED: missing Debian packages: python3-aiosmtpd");
    }
    !is_there
}

/// Who is told, and what of it arrived.
struct World<'a> {
    engine: Engine<'a>,
    database: Postgres,
    mails: Mails,
    pager: Gateway,
    sms: Gateway,
}

impl World<'_> {
    fn notices(&self) -> Vec<Value> {
        self.engine.json(&["alerts", "notices", "--limit", "1000"])
    }

    /// Waits until each of these was tried so often in vain, and away for long enough.
    fn until_tried(&self, receivers: &[&str], of: &str, since: Instant) {
        std::thread::sleep(away().unwrap_or_default().saturating_sub(since.elapsed()));
        self.engine.until("several tries in vain", || {
            let notices = self.notices();
            let open = |receiver: &str| {
                let rows = notices.iter().filter(|row| row["notice"]["receiver"] == receiver && row["finishedAt"].is_null());
                let rows = rows.filter(|row| row["notice"][of].as_array().is_some_and(|alerts| !alerts.is_empty()));
                rows.filter_map(|row| row["attempts"].as_u64()).max().unwrap_or_default()
            };
            let tried: Vec<u64> = receivers.iter().map(|receiver| open(receiver)).collect();
            if tried.iter().all(|tries| *tries >= TRIES) { String::new() } else { format!("{receivers:?} {tried:?}") }
        });
    }

    /// How many alerts of this kind the messages told that the SMS gateway took, for each of its numbers.
    fn texted(&self, of: &str) -> [usize; 2] {
        let notices = self.notices();
        let taken = self.sms.taken.lock().unwrap();
        NUMBERS.map(|number| {
            let message = |id: &str| (format!("{id}-{}", number.trim_start_matches('+')), number.to_owned());
            let arrived = |row: &&Value| row["notice"]["id"].as_str().is_some_and(|id| taken.contains_key(&message(id)));
            let told = notices.iter().filter(|row| row["notice"]["receiver"] == "sms").filter(arrived);
            let alerts = told.flat_map(|row| row["notice"][of].as_array().into_iter().flatten()).map(|alert| alert["id"].to_string());
            alerts.collect::<std::collections::BTreeSet<_>>().len()
        })
    }

    /// Everybody knows of every alert and of every end.
    fn until_all_is_told(&self) {
        self.engine.until("every end has arrived everywhere", || {
            let pager = [self.pager.known("trigger"), self.pager.known("resolve")];
            let (mails, texted) = (self.mails.told(), [self.texted("firing"), self.texted("resolved")]);
            if (pager, mails, texted) == ([DEVICES; 2], [DEVICES; 2], [[DEVICES; 2]; 2]) {
                String::new()
            } else {
                format!("pager {pager:?}; mails {mails:?}; SMS {texted:?}")
            }
        });
        self.engine.until("all of it is written down", || {
            let open = self.notices().iter().filter(|row| row["finishedAt"].is_null()).count();
            if open == 0 { String::new() } else { format!("{open} wait") }
        });
    }

    /// Twice only what was cut: the answer was lost, or the engine or the mail server was killed in its middle.
    fn nothing_came_twice(&self) {
        let notices = self.notices();
        assert!(notices.iter().all(|row| row["isDead"] == false), "nothing is given up");
        // On a slow machine a group is spoken of twice while it grows, and each time as a whole.
        let mut said = BTreeMap::<(String, &str), usize>::new();
        for row in notices.iter().filter(|row| row["notice"]["receiver"] == "pager") {
            for (list, action) in [("firing", "trigger"), ("resolved", "resolve")] {
                for alert in row["notice"][list].as_array().into_iter().flatten() {
                    *said.entry((alert["id"].as_str().unwrap().to_owned(), action)).or_default() += 1;
                }
            }
        }
        let meant = |(id, action): &(String, String)| said.get(&(id.clone(), action.as_str())).copied().unwrap_or_default();
        let doubles = |gateway: &Gateway, meant: &dyn Fn(&(String, String)) -> usize| -> usize {
            let taken = gateway.taken.lock().unwrap();
            assert!(taken.values().all(|[taken, lost]| taken > lost), "each was taken with an answer");
            taken.iter().map(|(key, [taken, lost])| (taken - lost).saturating_sub(meant(key))).sum()
        };
        let (pager, sms) = (doubles(&self.pager, &meant), doubles(&self.sms, &|_| 1));
        let tries: u64 = notices.iter().filter_map(|row| row["attempts"].as_u64()).sum();
        eprintln!("{} notices, {tries} tries", notices.len());
        for (name, gateway, doubles) in [("pager", &self.pager, pager), ("SMS", &self.sms, sms)] {
            // One lock at a time.
            let lost = gateway.lost();
            let taken = gateway.taken.lock().unwrap().len();
            eprintln!("{name}: {taken} taken, {lost} answers lost, {doubles} doubles beside");
            assert!(lost > 0, "{name}: some answers were lost");
            assert!(doubles <= EACH, "{name}: {doubles} came twice without having been cut");
        }
        eprintln!("mails: {}, {} doubles", self.mails.all().len(), self.mails.doubles());
        assert!(self.mails.doubles() <= 2 * EACH, "{} mails came twice", self.mails.doubles());
    }
}

#[test]
fn every_alert_and_every_end_arrives_whatever_is_away() {
    if missing() {
        return;
    }
    let Some(database) = Postgres::start().unwrap() else {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "PostgreSQL is missing, and in CI nothing is skipped");
        return eprintln!("SKIPPED: missing Debian packages: postgresql");
    };
    let folder = tempfile::tempdir().unwrap();
    let ports = [closed(), closed()];
    let (mails, pager, sms) = (Mails::new(), Gateway::start(PAGER, Mode::Ill), Gateway::start(SMS, Mode::Hang));
    std::fs::create_dir_all(folder.path().join("fleet")).unwrap();
    std::fs::create_dir_all(folder.path().join("secrets/pager")).unwrap();
    std::fs::write(folder.path().join("secrets/pager/routingKey"), "R0UT1NGKEY").unwrap();
    std::fs::write(folder.path().join("fleet/fleet.yaml"), manifests(ports, [mails.port, pager.port, sms.port])).unwrap();
    let engine = Engine { folder: folder.path(), database: database.url(), process: None };
    let mut world = World { engine, database, mails, pager, sms };

    // All who are told are away from the start, each in its own way; 200 alerts begin.
    let gone = Instant::now();
    world.engine.start();
    world.engine.until("all fire and all is in the outbox", || {
        let firing = world.engine.json(&["alerts"]).iter().filter(|alert| alert["state"] == "firing").count();
        let said: usize = world.notices().iter().filter_map(|row| row["notice"]["firing"].as_array()).map(Vec::len).sum();
        if firing == DEVICES && said >= 3 * DEVICES { String::new() } else { format!("{firing} fire, {said} are to be said") }
    });
    world.sms.is(Mode::Gone);
    world.until_tried(&["mail", "pager", "sms"], "firing", gone);
    // The gateways' answers are lost; what they took is sent again.
    [&world.pager, &world.sms].iter().for_each(|gateway| gateway.is(Mode::Mute));
    world.engine.until("the gateways took something", || {
        let lost = [world.pager.lost(), world.sms.lost()];
        if lost.contains(&0) { format!("{lost:?}") } else { String::new() }
    });
    [&world.pager, &world.sms].iter().for_each(|gateway| gateway.is(Mode::Good));
    // The database goes while it is said and half of the devices are well again.
    world.database.down();
    let first = opened(ports[0]);
    world.mails.up();
    std::thread::sleep(away().unwrap_or(DATABASE));
    world.database.up().unwrap();
    world.engine.until("the pager knows of all alerts", || {
        let known = world.pager.known("trigger");
        if known == DEVICES { String::new() } else { format!("{known} of {DEVICES}") }
    });
    // The engine is killed, and all who are told go, while the others are well again.
    world.engine.kill();
    world.mails.down();
    world.sms.is(Mode::Ill);
    world.pager.is(Mode::Gone);
    let (second, gone) = (opened(ports[1]), Instant::now());
    world.engine.start();
    world.until_tried(&["mail", "pager", "sms"], "resolved", gone);
    world.mails.up();
    [&world.pager, &world.sms].iter().for_each(|gateway| gateway.is(Mode::Good));
    world.until_all_is_told();
    world.nothing_came_twice();
    drop((first, second));
}
