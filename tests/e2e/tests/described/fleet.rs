//! A small fleet that has something of everything, the engine on it, and who asks it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use e2e::engine::Engine;
use e2e::rest::{Answer, Caller};
use e2e::simulated::Simulated;
use e2e::wait_until;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::http::Headers;

/// The engine's own token.
const TOKEN: &str = "a-token-of-the-engine-itself";
/// What people sign in with, and what they choose anew.
pub const PASSWORD: &str = "correct horse battery 42";
pub const OTHER_PASSWORD: &str = "purple lamp station 17";
/// Users with their groups.
const USERS: [(&str, &[&str]); 5] = [("ann", &["admins"]), ("vera", &[]), ("otto", &[]), ("pia", &[]), ("gus", &[])];
/// The name of what may be changed and deleted, one of each kind.
pub const VICTIM: &str = "gone";
/// How long something may take.
const LIMIT: Duration = Duration::from_secs(90);

/// Each kind with its word in paths.
const KINDS: [(&str, &str); 8] = [
    ("alertrules", "AlertRule"),
    ("deployments", "Deployment"),
    ("devices", "Device"),
    ("deviceclasses", "DeviceClass"),
    ("receivers", "Receiver"),
    ("repositories", "Repository"),
    ("roles", "Role"),
    ("silences", "Silence"),
];

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// A session of an administrator.
    Admin,
    /// The engine's own token.
    Token,
    /// A session of somebody who may look.
    Viewer,
    /// Somebody who shows nothing.
    Nobody,
    /// Somebody who shows a token that is none.
    Stranger,
    /// A session of somebody who may nothing, which ends itself.
    Leaver,
    /// Another one of the same user, which ends a third.
    Ender,
    /// A session in which a password is chosen.
    Chooser,
}

/// Dropped in this order: the engine, and then what it acts on.
pub struct World {
    pub engine: Engine,
    /// Such as `127.0.0.1:8080`.
    pub host: String,
    pub ids: Ids,
    callers: Vec<(Who, Headers)>,
    _simulated: Simulated,
    _manifests: tempfile::TempDir,
}

/// What of the fleet is named by an id.
#[derive(Default)]
pub struct Ids {
    pub alert: String,
    /// What a rollout waits for.
    pub approval: String,
    /// A commit that was made by the interface.
    pub commit: String,
    /// A session that somebody else of the same user may end.
    pub session: String,
    pub token: String,
    /// What lets somebody in who was invited.
    pub invitation: String,
}

fn binary() -> PathBuf {
    std::env::var("EVENKEEL_BIN").expect("EVENKEEL_BIN names no evenkeel: run the tests by `cargo xtask test`").into()
}

/// An instant in some hours.
pub fn in_hours(hours: i64) -> String {
    Timestamp::now().checked_add(SignedDuration::from_hours(hours)).unwrap().to_string()
}

/// An object of a kind, by its word in paths.
pub fn object(plural: &str, name: &str, spec: &Value) -> Value {
    let kind = KINDS.iter().find(|(word, _)| *word == plural).map(|(_, kind)| *kind);
    json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": kind, "metadata": {"name": name, "namespace": "default"}, "spec": spec})
}

/// The spec of an object that is well and does nothing.
pub fn idle(plural: &str) -> Value {
    let none = json!({"matchLabels": {"role": "none"}});
    match plural {
        "alertrules" => json!({"selector": none, "expr": "device.usage.load.one > 5.0", "severity": "info", "summary": "high load"}),
        "deployments" => json!({"selector": none, "files": [{"path": "/etc/none", "content": "x"}], "gate": {"probes": false}}),
        "devices" => json!({"type": "Server", "address": "127.0.0.9", "suspend": true}),
        "deviceclasses" => json!({"labels": {"class": "idle"}}),
        "receivers" => json!({"webhook": {"url": "http://127.0.0.1:9/hook"}, "suspend": true}),
        "repositories" => json!({"url": "https://git.example.com/idle.git", "ref": {"branch": "main"}, "suspend": true}),
        "roles" => json!({"subjects": [{"group": "idle"}], "allow": [{"verbs": ["view"], "kinds": ["Device"]}]}),
        _ => json!({"matchLabels": {"rule": "none"}, "until": in_hours(20), "reason": "work"}),
    }
}

/// A Deployment of one file on all devices, which is well as soon as it is there.
fn file_with(path: &str, content: &str, more: &Value) -> Value {
    let mut spec = json!({
        "selector": {"matchLabels": {"role": "app"}},
        "files": [{"path": path, "content": content}],
        "strategy": {"batches": [{"max": 1}], "maxUnavailable": 2, "soak": "1s", "deadline": "60s"},
        "gate": {"probes": false},
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        spec[name] = value.clone();
    }
    spec
}

/// JSON is YAML too.
fn write(folder: &Path, file: &str, object: &Value) {
    std::fs::write(folder.join(format!("{file}.yaml")), format!("{object:#}\n")).unwrap();
}

fn devices(folder: &Path) {
    for number in 1..=2 {
        let spec = json!({
            "type": "Server",
            "address": format!("10.0.0.{number}"),
            "access": {"ssh": {"user": "ops", "become": "sudo", "secretRef": {"name": "fleet-key"}}},
            "metrics": {"ssh": {}, "interval": "2s"},
            "logs": {"syslog": true},
        });
        let mut device = object("devices", &format!("web-{number}"), &spec);
        device["metadata"]["labels"] = json!({"role": "app", "site": "a"});
        write(folder, &format!("web-{number}"), &device);
    }
    write(folder, "app", &object("deployments", "app", &file_with("/etc/app", "one", &Value::Null)));
    write(folder, "asks", &object("deployments", "asks", &file_with("/etc/asks", "yes", &json!({"approval": "FirstBatch"}))));
}

/// What is no device and nothing on one.
fn others(folder: &Path, hook: &str) {
    let everywhere = json!({"matchLabels": {"role": "app"}});
    let up = json!({
        "selector": everywhere,
        "expr": "usage.uptime > 1.0",
        "severity": "warning",
        "summary": "{{ device.name }} runs",
        "notify": {"receivers": ["oncall"]},
    });
    let may = json!([{"verbs": ["view"], "kinds": ["Device", "Deployment", "AlertRule", "Silence"], "devices": everywhere}]);
    for (plural, name, spec) in [
        ("alertrules", "up", up),
        ("deviceclasses", "plain", idle("deviceclasses")),
        ("receivers", "oncall", json!({"webhook": {"url": hook}})),
        ("repositories", "fleet", idle("repositories")),
        ("roles", "lookers", json!({"subjects": [{"user": "vera"}], "allow": may})),
        ("silences", "quiet", idle("silences")),
    ] {
        write(folder, name, &object(plural, name, &spec));
    }
    for (plural, _) in KINDS {
        write(folder, &format!("{VICTIM}-{plural}"), &object(plural, VICTIM, &idle(plural)));
    }
}

/// Takes whatever is sent to it; where it is.
fn hook() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| drop(take(&stream))));
    format!("http://{address}/hook")
}

fn take(mut stream: &TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let (mut reader, mut length) = (BufReader::new(stream), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or_default();
        }
    }
    reader.read_exact(&mut vec![0; length])?;
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
}

impl World {
    /// Begins, and waits until there is something of everything.
    pub fn start() -> Self {
        let manifests = tempfile::tempdir().unwrap();
        devices(manifests.path());
        let syslog = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let simulated = Simulated::start(&binary(), manifests.path(), &["--syslog", &syslog]).unwrap();
        let mut engine = Engine::with(&binary(), &simulated.folder, &simulated.key()).unwrap();
        let host = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let token = simulated.folder.join("token");
        std::fs::write(&token, TOKEN).unwrap();
        let token = token.display().to_string();
        let (listens, writes) = (["--listen", &host, "--token-file", &token, "--syslog-udp", &syslog], ["--write", "direct"]);
        engine.arguments = listens.into_iter().chain(writes).chain(["--max-deletions", "1000"]).map(str::to_owned).collect();
        // The simulator lets receivers rest: these are written behind it.
        others(&engine.fleet, &hook());
        engine.git(&["add", "-A"]).unwrap();
        engine.git(&["commit", "-q", "-m", "a fleet"]).unwrap();
        engine.start().unwrap();
        let mut world = Self { engine, host, ids: Ids::default(), callers: Vec::new(), _simulated: simulated, _manifests: manifests };
        world.has_something_of_everything(&syslog);
        world.lets_people_in();
        world
    }

    fn has_something_of_everything(&mut self, syslog: &str) {
        let token = self.token();
        let rollout = |name: &str| token.ask("GET", &format!("/rollouts/default/{name}"), &Value::Null);
        let is_complete = |revisions: usize| {
            self.until(&format!("revision {revisions}"), || {
                let course = rollout("app").map_err(|error| error.to_string())?.body;
                let is_there = course["history"].as_array().is_some_and(|history| history.len() == revisions);
                if is_there && course["phase"] == "Complete" { Ok(()) } else { Err(course.to_string()) }
            });
        };
        is_complete(1);
        let two = object("deployments", "app", &file_with("/etc/app", "two", &Value::Null));
        self.engine.commit("app.yaml", &format!("{two:#}\n"), "two").unwrap();
        is_complete(2);
        // What is checked out is not written to.
        self.engine.git(&["checkout", "-q", "--detach"]).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for number in 0..5 {
            sender.send_to(format!("<11>Nov 24 12:00:00 host app[7]: line {number} of nobody").as_bytes(), syslog).unwrap();
        }
        let (mut alert, mut approval) = (String::new(), String::new());
        self.until("an alert that fires, and a rollout that waits for somebody", || {
            let alerts = token.ask("GET", "/alerts?state=firing", &Value::Null).map_err(|error| error.to_string())?.body;
            let course = rollout("asks").map_err(|error| error.to_string())?.body;
            let waits = course["waits"].as_array().into_iter().flatten();
            let id = waits.filter_map(|wait| wait["waitingOn"]["id"].as_str()).next();
            alerts["items"][0]["id"].as_str().unwrap_or_default().clone_into(&mut alert);
            id.unwrap_or_default().clone_into(&mut approval);
            if alert.is_empty() || approval.is_empty() { Err(format!("{alerts} {course}")) } else { Ok(()) }
        });
        let class = object("deviceclasses", "first", &idle("deviceclasses"));
        let made = must(&token, "POST", "/deviceclasses", &class, 202);
        (self.ids.alert, self.ids.approval) = (alert, approval);
        self.ids.commit = made["commit"].as_str().unwrap().to_owned();
    }

    fn lets_people_in(&mut self) {
        let token = self.token();
        for (name, groups) in USERS {
            must(&token, "POST", "/users", &json!({"name": name, "password": PASSWORD, "groups": groups}), 201);
        }
        let invited = must(&token, "POST", "/users", &json!({"name": "ina"}), 201);
        self.ids.invitation = invited["invitation"].as_str().unwrap().to_owned();
        let made = must(&token, "POST", "/tokens", &json!({"name": "spare", "user": "ann"}), 201);
        self.ids.token = made["id"].as_str().unwrap().to_owned();
        self.callers = vec![
            (Who::Admin, self.signs_in("ann")),
            (Who::Token, vec![("Authorization".into(), format!("Bearer {TOKEN}").into_bytes())]),
            (Who::Viewer, self.signs_in("vera")),
            (Who::Nobody, Vec::new()),
            (Who::Stranger, vec![("Authorization".into(), b"Bearer nonsense".to_vec())]),
            (Who::Leaver, self.signs_in("otto")),
            (Who::Ender, self.signs_in("otto")),
            (Who::Chooser, self.signs_in("pia")),
        ];
        let other = Caller::signed_in(&format!("http://{}", self.host), "otto", PASSWORD).unwrap();
        let sessions = must(&other, "GET", "/sessions", &Value::Null, 200);
        let current = sessions["items"].as_array().unwrap().iter().find(|session| session["current"] == true);
        self.ids.session = current.unwrap()["id"].as_str().unwrap().to_owned();
    }

    fn token(&self) -> Caller {
        Caller::with_token(&format!("http://{}", self.host), TOKEN)
    }

    /// The headers of a session.
    fn signs_in(&self, name: &str) -> Headers {
        let nobody = Caller::nobody(&format!("http://{}", self.host));
        let answer = nobody.ask("POST", "/session", &json!({"user": name, "password": PASSWORD})).unwrap();
        let cookie = answer.header("set-cookie").and_then(|cookie| cookie.split(';').next());
        let cookie = cookie.unwrap_or_else(|| panic!("{answer:?}")).as_bytes().to_vec();
        let csrf = answer.body["csrf"].as_str().unwrap().as_bytes().to_vec();
        vec![("Cookie".into(), cookie), ("X-CSRF-Token".into(), csrf)]
    }

    /// What somebody shows.
    pub fn shows(&self, who: Who) -> Headers {
        self.callers.iter().find(|(caller, _)| *caller == who).map(|(_, headers)| headers.clone()).unwrap_or_default()
    }

    fn until(&self, what: &str, look: impl FnMut() -> Result<(), String>) {
        wait_until(what, LIMIT, look).unwrap_or_else(|error| panic!("{error}\n{}", self.engine.tail()));
    }
}

/// Asks for what has to be answered so; the body of the answer.
fn must(caller: &Caller, method: &str, path: &str, body: &Value, status: u16) -> Value {
    let answer: Answer = caller.ask(method, path, body).unwrap();
    assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
    answer.body
}
