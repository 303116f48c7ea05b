//! What is wrong, what is changing, what changed last; and who may what.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::Method;
use crds::{Kind, Severity};
use jiff::Timestamp;
use reconcile::alerting::state::Instance;
use reconcile::alerting::suppress::Suppressor;
use reconcile::observed::Health;
use reconcile::{Target, report};
use schemars::JsonSchema;
use serde::Serialize;

use super::alerts::{Alert, Undelivered, gravest, undelivered};
use super::answer::{self, Answer};
use super::asked::Asked;
use super::audit;
use super::fleet::Lists;
use super::gate::{Access, Routes};
use super::rollouts::{Source, source};
use super::sight::{Seen, Sight};
use crate::shared::{Shared, read};
use crate::view::View;

/// Alerts, entries and rollouts that are shown.
const TOP: usize = 10;
const ROLLOUTS: usize = 50;
const HEALTH: [Health; 4] = [Health::Healthy, Health::Degraded, Health::Unreachable, Health::Unknown];

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .add(Method::GET, "/overview", Access::Known, overview)
        .says("What is wrong now, what is changing now, what changed last; of what one may see")
        .takes(&[])
        .answers::<Overview>()
        .add(Method::GET, "/status", Access::Known, status)
        .says("How the engine is")
        .takes(&[])
        .answers::<Status>()
}

/// All at a glance.
#[derive(Serialize, JsonSchema)]
struct Overview {
    wrong: Wrong,
    changing: Changing,
    /// The newest acts.
    last: Vec<Act>,
    source: Source,
    /// What the intake of logs counted since the start; empty for who may not see all devices.
    logs: BTreeMap<String, u64>,
}

/// What is wrong now.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Wrong {
    /// Alerts that fire and that nothing keeps from being said, by severity.
    alerts: BySeverity,
    /// Those that fire and are kept from being said, but for those behind a dead device: its own alert counts them.
    suppressed: usize,
    /// Devices by health.
    devices: BTreeMap<String, usize>,
    /// The gravest of those that are said, ten at most.
    top: Vec<Alert>,
    undelivered: Vec<Undelivered>,
    /// The engine's own network is down, so that nothing is held against devices.
    own_network_down: bool,
    /// Why the engine does not act just now, if so.
    not_ready: Option<String>,
}

/// How many there are.
#[derive(Default, Serialize, JsonSchema)]
struct BySeverity {
    critical: usize,
    warning: usize,
    info: usize,
}

/// What is changing now.
#[derive(Serialize, JsonSchema)]
struct Changing {
    /// Deployments that are on their way, or stopped on it.
    rollouts: Vec<Way>,
    /// How many more there are.
    more: usize,
}

/// How far a Deployment is.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RolloutInShort")]
struct Way {
    /// As `NAMESPACE/NAME`.
    deployment: String,
    phase: String,
    updated: i64,
    total: i64,
    /// What it waits for, in words; empty: nothing.
    waits: String,
}

/// Who did what.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LastAct")]
struct Act {
    index: u64,
    at: Timestamp,
    actor: String,
    what: String,
    target: String,
    outcome: String,
}

/// How the engine is.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Status {
    source: Source,
    not_ready: Option<String>,
    /// Of those that one may see.
    devices: usize,
    /// Of those that one may see.
    deployments: usize,
    passes: u64,
    own_network_down: bool,
}

async fn overview(State(shared): State<Shared>, Seen(sight): Seen, Extension(lists): Extension<Arc<Lists>>, asked: Asked) -> Answer {
    let seen = sight.devices().await;
    let standing = lists.standing(&sight.fleet, &shared).await;
    let is = |at: &u32, health: Health| standing.of.get(*at as usize).is_some_and(|stand| stand.health == health);
    let devices = HEALTH.map(|health| (format!("{health:?}"), seen.iter().filter(|at| is(at, health)).count()));
    // Who came in and went has changed nothing.
    let changed = |entry: &store::audit::Entry| !["sign-in", "sign-out"].contains(&entry.verb.as_str());
    let last = audit::visible(&shared, &sight, TOP, changed).await?;
    let last = last.into_iter().map(|entry| Act {
        index: entry.index,
        at: entry.at,
        actor: entry.actor.name,
        what: entry.verb,
        target: entry.target,
        outcome: entry.outcome,
    });
    let alerts = read(&shared, |view| view.alerts.clone());
    let firing = alerts.iter().filter(|alert| alert.counts_as_firing() && sight.sees_device(&alert.subject.device));
    let (mut firing, suppressed): (Vec<&Instance>, Vec<&Instance>) = firing.partition(|alert| alert.suppressed.is_empty());
    firing.sort_by(|a, b| gravest(a, b));
    let mut by = BySeverity::default();
    for alert in &firing {
        match alert.subject.severity {
            Severity::Critical => by.critical += 1,
            Severity::Warning => by.warning += 1,
            Severity::Info => by.info += 1,
        }
    }
    let page = read(&shared, |view| Overview {
        wrong: Wrong {
            alerts: by,
            suppressed: suppressed.iter().filter(|alert| alert.suppressed.iter().any(|by| !is_behind(by))).count(),
            devices: devices.into(),
            top: firing.iter().take(TOP).map(|alert| Alert::of(view, &sight, alert)).collect(),
            undelivered: undelivered(view, &sight),
            own_network_down: view.own_network_down(),
            not_ready: view.not_ready.clone(),
        },
        changing: changing(view, &sight),
        last: last.collect(),
        source: source(view, &sight),
        logs: match sight.sees_senders() {
            true => view.logs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
            false => BTreeMap::new(),
        },
    });
    answer::document(&asked, &page)
}

fn is_behind(by: &Suppressor) -> bool {
    matches!(by, Suppressor::Parent { .. } | Suppressor::Returned { .. })
}

fn changing(view: &View, sight: &Sight) -> Changing {
    let mut rollouts = Vec::new();
    let mut more = 0;
    for name in sight.names(Kind::Deployment) {
        let deferred = view.deferred.get(name).map(Vec::as_slice).unwrap_or_default();
        let phase = report::phase_of(&sight.desired, &view.observed, deferred, name);
        // What was taken back does not change until Git does: that is in the list of Deployments.
        if phase.is_none_or(|phase| ["Complete", "RolledBack"].contains(&phase)) {
            continue;
        }
        if rollouts.len() >= ROLLOUTS {
            more += 1;
            continue;
        }
        let status = report::deployment(&sight.desired, &view.observed, deferred, name);
        let counts = match sight.is_all() {
            true => status.counts,
            false => report::counts_of(&sight.desired, &view.observed, name, &|device| sight.sees_device(device)),
        };
        let count = |key: &str| counts.get(key).copied().unwrap_or_default().into();
        let own = deferred.iter().find(|deferred| deferred.target == Target::Deployment(name.clone()));
        let waits = own.map(|deferred| crate::explain::seen(&deferred.waiting_on, &|kind, name| sight.sees(kind, name)).to_string());
        rollouts.push(Way {
            deployment: name.full().to_owned(),
            phase: status.phase,
            updated: count("updated"),
            total: count("total"),
            waits: sight.masked(&waits.unwrap_or_default()),
        });
    }
    Changing { rollouts, more }
}

async fn status(State(shared): State<Shared>, Seen(sight): Seen, asked: Asked) -> Answer {
    let devices = sight.devices().await.len();
    let status = read(&shared, |view| Status {
        source: source(view, &sight),
        not_ready: view.not_ready.clone(),
        devices,
        deployments: sight.names(Kind::Deployment).len(),
        passes: view.passes,
        own_network_down: view.own_network_down(),
    });
    answer::document(&asked, &status)
}
