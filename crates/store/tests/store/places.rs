//! Where a store can be, and what is written into it.

#![allow(dead_code, reason = "each test program uses its part of this")]

use std::str::FromStr as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use reconcile::content::Change;
use reconcile::record::Actor;
use reconcile::{Action, Apt, Content, Digest, ItemKey, Name, Package, Plan, PlanId, Revision, RolloutChange, Step, StepId, Target, Work};
use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, ConnectOptions as _, Executor as _};
use store::audit::Entry;
use store::{Options, Store};
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::postgres::Server;

/// One server for all tests of this program; without fsync, since nobody pulls the plug here.
pub fn server() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER.get_or_init(|| Server::start(false)).as_ref()
}

/// An empty place for a store.
pub struct Place {
    pub name: &'static str,
    pub options: Options,
    /// Kept for what is done and counted behind the store's back.
    behind: Mutex<Option<AnyConnection>>,
    _data: TempDir,
}

/// One of each kind; what can't be had here is said loudly.
pub async fn places() -> Vec<Place> {
    let mut places = vec![sqlite()];
    places.extend(postgres().await);
    places
}

/// An empty directory.
pub fn sqlite() -> Place {
    let data = TempDir::new().unwrap();
    Place { name: "SQLite", options: Options { data: data.path().join("data"), url: None }, behind: Mutex::default(), _data: data }
}

/// An empty database on the shared server.
pub async fn postgres() -> Option<Place> {
    Some(database(server()?, server()?.port).await)
}

/// An empty database on this server, to be reached by this port.
pub async fn database(server: &Server, port: u16) -> Place {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let mut admin = connect(&server.url("postgres", server.port)).await;
    admin.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
    let data = TempDir::new().unwrap();
    let options = Options { data: data.path().join("data"), url: Some(server.url(&name, port)) };
    Place { name: "PostgreSQL", options, behind: Mutex::default(), _data: data }
}

/// A connection behind the store's back.
pub async fn connect(url: &str) -> AnyConnection {
    sqlx::any::install_default_drivers();
    AnyConnectOptions::from_str(url).unwrap().connect().await.unwrap()
}

impl Place {
    pub async fn open(&self) -> Store {
        Store::open(&self.options).await.unwrap_or_else(|error| panic!("{}: {error}: {error:?}", self.name))
    }

    pub async fn refuses(&self) -> store::Error {
        Store::open(&self.options).await.err().unwrap_or_else(|| panic!("{} was opened", self.name))
    }

    pub async fn behind(&self) -> AnyConnection {
        let sqlite = || format!("sqlite://{}?mode=rw", self.options.data.join("evenkeel.db").display());
        connect(&self.options.url.clone().unwrap_or_else(sqlite)).await
    }

    /// Does something behind the store's back.
    pub async fn execute(&self, statement: &str) {
        let mut behind = self.behind.lock().await;
        let connection = match behind.take() {
            Some(connection) => connection,
            None => self.behind().await,
        };
        let done = behind.insert(connection).execute(sqlx::AssertSqlSafe(statement)).await;
        done.unwrap_or_else(|error| panic!("{}: {statement}: {error}", self.name));
    }

    /// Counts behind the store's back.
    pub async fn count(&self, of: &str) -> i64 {
        let mut behind = self.behind.lock().await;
        let connection = match behind.take() {
            Some(connection) => connection,
            None => self.behind().await,
        };
        let query = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {of}")));
        query.persistent(false).fetch_one(behind.insert(connection)).await.unwrap()
    }
}

pub fn at(second: i64) -> Timestamp {
    Timestamp::new(1_700_000_000 + second, 123_456_789).unwrap()
}

pub fn actor() -> Actor {
    Actor { kind: "commit".into(), name: "Ada <ada@example.org>".into(), signer: Some("SHA256:abc".into()) }
}

pub fn content(version: &str) -> Arc<Content> {
    let nginx = Apt { name: "nginx".into(), version: version.into(), hold: false, allow_downgrade: false, replace_conffiles: false };
    let packages = vec![Package::Apt(nginx)];
    let (files, services) = (Vec::new(), Vec::new());
    Arc::new(Content { packages, files, services, ..Content::nothing() })
}

pub fn start(number: u32, content: &Arc<Content>) -> RolloutChange {
    RolloutChange::Start {
        number,
        content: content.clone(),
        digest: content.digest(),
        commit: "c0ffee".into(),
        author: "Ada <ada@example.org>".into(),
        signer: Some("ssh-ed25519 AAAA".into()),
        revert: false,
        history_limit: 3,
    }
}

pub fn work(unit: &Name, revision: u32, content: &Arc<Content>) -> Work {
    Work {
        deployment: unit.clone(),
        revision,
        digest: content.digest(),
        content: content.clone(),
        batch: 1,
        attempt: 1,
        revert: false,
        healthy_before: true,
        from: None,
        deadline_seconds: 600,
    }
}

/// A step that changes the rollout.
pub fn change(unit: &Name, version: u64, change: RolloutChange) -> Step {
    step(unit, Target::Deployment(unit.clone()), version, Action::Rollout(change))
}

/// A step on a device.
pub fn device(unit: &Name, name: &str, version: u64, action: Action) -> Step {
    step(unit, Target::Device(Name::parse(name)), version, action)
}

fn step(unit: &Name, target: Target, version: u64, action: Action) -> Step {
    let unit = Target::Deployment(unit.clone());
    Step {
        id: StepId::of(&unit, &target, action.word(), version, ""),
        unit,
        target,
        action,
        expects_version: version,
        expects: Some(Digest::of(b"seen")),
        changes: vec![Change { item: ItemKey::apt("nginx"), from: Some("1.0".into()), to: None }],
        reason: "because \u{0}\u{1a} it's \"wanted\"".into(),
    }
}

pub fn plan(steps: Vec<Step>) -> Plan {
    let revision = Revision { reference: "main".into(), commit: "c0ffee".into(), author: "Ada <ada@example.org>".into(), signer: None };
    Plan { id: PlanId::of(&revision, &steps), revision, steps, deferred: Vec::new(), look_again: None }
}

pub fn entry(verb: &str, target: &str, unit: &str) -> Entry {
    Entry {
        index: 0,
        at: at(0),
        actor: actor(),
        verb: verb.into(),
        target: target.into(),
        unit: unit.into(),
        plan: String::new(),
        step: String::new(),
        changes: Vec::new(),
        message: String::new(),
        outcome: "done".into(),
        refers_to: None,
    }
}

/// The whole log, exported and verified.
pub async fn verified(store: &Store) -> u64 {
    let text = export(store).await;
    let report = store::audit::verify(text.as_bytes(), &store.public_key(), None).unwrap();
    assert_eq!(report.wrong, None);
    assert_eq!(report.proven, report.entries);
    report.entries
}

pub async fn export(store: &Store) -> String {
    let (mut text, mut from) = (String::new(), Some(0));
    while let Some(start) = from {
        let (lines, next) = store.export(start).await.unwrap();
        for line in lines {
            text += &serde_json::to_string(&line).unwrap();
            text.push('\n');
        }
        from = next;
    }
    text
}
