//! Alerts, their life, and notices.

mod history;

use std::collections::BTreeMap;

use axum::extract::{Path as UrlPath, State};
use axum::http::Method;
use crds::{AlertState, Severity};
use jiff::Timestamp;
use reconcile::alerting::state::Instance;
use reconcile::alerting::suppress::Suppressor;
use reconcile::alerting::{LastChange, Notice, Reason};
use reconcile::{Name, Target, parents};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::answer::{self, Answer, Fields};
use super::asked::{Asked, LIST, short};
use super::fleet::contains;
use super::gate::{Access, Param, Routes, param};
use super::sight::{HIDDEN, Seen, Sight};
use crate::problem::Problem;
use crate::shared::{Shared, read};
use crate::view::View;

/// Notices that are looked through for those that one may see, and for what was said of one alert.
const NOTICES: u32 = 1000;
/// Devices behind one that are named.
const BEHIND: usize = 100;
/// By what alerts are sorted; the gravest and newest come first if nothing is said.
const SORTED: [&str; 5] = ["severity", "activeAt", "device", "rule", "state"];

const QUERY: [Param; 11] = {
    let [limit, cursor, namespace, selector, q, sort, fields] = LIST;
    let state = param("state", "Only these: `pending`, `firing`, `resolved`; several with commas between.");
    let rule = param("rule", "Only of this AlertRule: `NAMESPACE/NAME`, or `NAME` in `default`.");
    let device = param("device", "Only on this device: `NAMESPACE/NAME`, or `NAME` in `default`.");
    let suppressed = param("suppressed", "`true`: only what is not said just now; `false`: only what is.");
    [limit, cursor, namespace, selector, q, sort, fields, state, rule, device, suppressed]
};
const NOTICE_QUERY: [Param; 2] =
    [param("dead", "`true`: only those that were given up."), param("limit", "How many, 100 if nothing is said.")];

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .add(Method::GET, "/alerts", Access::Known, list)
        .says("The alerts on devices that one may see")
        .takes(&QUERY)
        .answers::<List>()
        .add(Method::GET, "/alerts/history", Access::Known, history::list)
        .says("Alerts on devices that one may see that are over: those of 30 days")
        .takes(&history::QUERY)
        .answers::<history::List>()
        .add(Method::GET, "/alerts/{id}", Access::Known, one)
        .says("One alert: what was decided and said of it, and what is behind it")
        .takes(&[])
        .answers::<Why>()
        .add(Method::GET, "/notices", Access::Known, notices)
        .says("Notifications about devices that one may see, the newest first, whatever became of them")
        .takes(&NOTICE_QUERY)
        .answers::<Notices>()
}

/// A page of alerts.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AlertList")]
struct List {
    #[schemars(with = "Vec<Alert>")]
    items: Vec<Value>,
    /// Of those that one may see.
    total: usize,
    /// Where the next page begins; null: this was the last.
    cursor: Option<String>,
    /// Devices that a rule has no room for, by rule; of rules that one may see.
    beyond_limit: BTreeMap<String, usize>,
    /// Receivers that what was last for them did not reach; of those that one may see.
    undelivered: Vec<Undelivered>,
    /// Our own network is down: what fails is unknown, and fires nothing.
    own_network_down: bool,
}

/// A receiver that was not told what it should have been.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Undelivered {
    /// The Receiver, as `NAMESPACE/NAME`.
    receiver: String,
    /// Notifications that were given up since one arrived there last.
    count: u64,
    /// When the first of them was.
    since: Timestamp,
    /// What went wrong with the last.
    problem: String,
}

/// One alert: a rule on a device.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Alert {
    pub(super) id: String,
    /// The AlertRule, as `NAMESPACE/NAME`.
    rule: String,
    /// The device, as `NAMESPACE/NAME`.
    device: String,
    state: AlertState,
    /// It begins and ends over and over, and counts as firing all the while.
    flapping: bool,
    severity: Severity,
    /// One line for people. From hostile text.
    summary: String,
    labels: BTreeMap<String, String>,
    /// Lines of log that it is about, a few of them. From hostile text.
    lines: Vec<String>,
    /// The number that was compared.
    value: Option<f64>,
    /// Since when its condition holds.
    active_at: Timestamp,
    fired_at: Option<Timestamp>,
    /// Since when it is well, and goes on firing.
    well_since: Option<Timestamp>,
    resolved_at: Option<Timestamp>,
    /// Since when nobody can say how it is.
    unknown_since: Option<Timestamp>,
    /// Why nobody can.
    unknown_reason: String,
    acknowledged: Option<Acknowledged>,
    /// What keeps it from being said.
    suppressed: Vec<Muted>,
    /// Devices behind this one of which nobody knows how they are, since it is dead; of those that one may see.
    behind: usize,
    /// The dead device that this one is behind, as `NAMESPACE/NAME`, if one may see it.
    root: Option<String>,
    last_change: Option<Change>,
    /// The group in which it is said.
    group: Option<String>,
}

/// Somebody looks after it.
#[derive(Serialize, JsonSchema)]
struct Acknowledged {
    by: String,
    comment: String,
    at: Timestamp,
    until: Timestamp,
}

/// What keeps an alert from being said.
#[derive(Serialize, JsonSchema)]
struct Muted {
    /// `silence`, `maintenance`, `parent`, `returned`, `rollout`, `inhibited`.
    kind: &'static str,
    /// The object that does, as `kind/NAME`, if one may see it.
    by: Option<String>,
    text: String,
    until: Option<Timestamp>,
}

/// What a Deployment that one may see changed last on the device.
#[derive(Serialize, JsonSchema)]
struct Change {
    /// The Deployment, as `NAMESPACE/NAME`.
    deployment: String,
    revision: String,
    commit: String,
    at: Timestamp,
}

/// One alert at length.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AlertDetail")]
struct Why {
    #[serde(flatten)]
    alert: Alert,
    decisions: Vec<Decision>,
    said: Vec<Told>,
    /// Devices behind this one, as `NAMESPACE/NAME`: a hundred at most, of those that one may see.
    behind_devices: Vec<String>,
    /// What `evenkeel alerts why` says, in lines.
    text: String,
}

/// What was decided, and why.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AlertDecision")]
struct Decision {
    at: Timestamp,
    /// About whom: a receiver; empty for the alert itself.
    what: String,
    why: String,
}

/// To whom it was said.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AlertTold")]
struct Told {
    receiver: String,
    at: Timestamp,
    reason: Value,
    /// When it arrived, or was given up.
    finished_at: Option<Timestamp>,
    /// It was given up.
    is_dead: bool,
    problem: Option<String>,
}

/// Notifications.
#[derive(Serialize, JsonSchema)]
struct Notices {
    items: Vec<Value>,
    total: usize,
}

impl Alert {
    pub(super) fn of(view: &View, sight: &Sight, alert: &Instance) -> Self {
        let subject = &alert.subject;
        let behind = || {
            let behind = parents::behind(&sight.desired, &view.observed, &subject.device);
            behind.iter().filter(|device| sight.sees_device(device)).count()
        };
        let root = parents::root_of(&sight.desired, &view.observed, &subject.device).filter(|root| sight.sees_device(root));
        Self {
            id: alert.id.clone(),
            rule: subject.rule.full().to_owned(),
            device: subject.device.full().to_owned(),
            state: alert.state,
            flapping: alert.flaps.flapping,
            severity: subject.severity,
            summary: sight.masked(&subject.summary),
            labels: subject.labels.clone(),
            lines: subject.lines.clone(),
            value: alert.value,
            active_at: alert.active_at,
            fired_at: alert.fired_at,
            well_since: alert.well_since,
            resolved_at: alert.resolved_at,
            unknown_since: alert.unknown_since,
            unknown_reason: sight.masked(&alert.unknown_reason),
            acknowledged: alert.acknowledged.as_ref().map(|by| Acknowledged {
                by: by.by.clone(),
                comment: by.comment.clone(),
                at: by.at,
                until: by.until,
            }),
            suppressed: alert.suppressed.iter().map(|by| muted(sight, by)).collect(),
            behind: if subject.behind > 0 { behind() } else { 0 },
            root: root.map(|root| root.full().to_owned()),
            last_change: subject.last_change.as_ref().filter(|change| sees_change(sight, change)).map(|change| Change {
                deployment: change.deployment.full().to_owned(),
                revision: change.revision.clone(),
                commit: change.commit.clone(),
                at: change.at,
            }),
            group: alert.group.clone(),
        }
    }
}

fn muted(sight: &Sight, by: &Suppressor) -> Muted {
    let device = |device: &Name| sight.sees_device(device).then(|| format!("device/{device}"));
    let (kind, by_whom, until) = match by {
        Suppressor::Silence { name, until, .. } => ("silence", Some(format!("silence/{name}")), Some(*until)),
        Suppressor::Maintenance { until, .. } => ("maintenance", None, Some(*until)),
        Suppressor::Parent { device: parent } => ("parent", device(parent), None),
        Suppressor::Returned { device: parent, until } => ("returned", device(parent), Some(*until)),
        Suppressor::Rollout { deployment } => ("rollout", Some(format!("deployment/{deployment}")), None),
        Suppressor::Inhibited { rule, .. } => ("inhibited", Some(format!("alertrule/{rule}")), None),
    };
    match is_seen(sight, by) {
        true => Muted { kind, by: by_whom, text: sight.masked(&by.to_string()), until },
        false => Muted { kind, by: None, text: format!("{kind}: by what you may not see"), until },
    }
}

/// Whether they may see the object that keeps an alert from being said.
fn is_seen(sight: &Sight, by: &Suppressor) -> bool {
    crate::explain::sees_suppressor(by, &|kind, name| sight.sees(kind, name))
}

/// Words of a decision that begin what keeps an alert from being said.
const SUPPRESSED: &str = "suppressed: ";

/// What was decided, without what keeps the alert from being said where they may not see that.
fn decided(sight: &Sight, text: &str) -> String {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || "-./".contains(c);
    let hidden = |target: Target| target.kind() != crds::Kind::Device && !sight.sees(target.kind(), target.name());
    match text.starts_with(SUPPRESSED) && text.split(|c| !is_of_name(c)).filter_map(Target::parse).any(hidden) {
        true => format!("{SUPPRESSED}by what you may not see"),
        false => sight.masked(text),
    }
}

/// Whether they may see the Deployment that changed something.
fn sees_change(sight: &Sight, change: &LastChange) -> bool {
    sight.sees(crds::Kind::Deployment, &change.deployment)
}

/// The gravest first, then the newest.
pub(super) fn gravest(a: &Instance, b: &Instance) -> std::cmp::Ordering {
    let rank = |alert: &Instance| (state_rank(alert.state), severity_rank(alert.subject.severity));
    rank(a).cmp(&rank(b)).then_with(|| b.active_at.cmp(&a.active_at)).then_with(|| a.id.cmp(&b.id))
}

fn state_rank(state: AlertState) -> u8 {
    match state {
        AlertState::Firing => 0,
        AlertState::Pending => 1,
        AlertState::Resolved => 2,
        AlertState::Inactive => 3,
    }
}

fn severity_rank(severity: Severity) -> u8 {
    match severity {
        Severity::Critical => 0,
        Severity::Warning => 1,
        Severity::Info => 2,
    }
}

fn word(value: impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

async fn list(State(shared): State<Shared>, Seen(sight): Seen, asked: Asked) -> Answer {
    let (fields, limit, words, selector) = (Fields::of(&asked)?, asked.limit()?, asked.search()?, asked.selector()?);
    let states = states(&asked)?;
    let sort = asked.sort(&SORTED)?;
    let (rule, device, is_suppressed) = (asked.name("rule"), asked.name("device"), asked.read::<bool>("suppressed")?);
    // Each alert asks for its device.
    sight.devices().await;
    let wanted = |alert: &&Instance| {
        let subject = &alert.subject;
        // What is hidden is not found either.
        let summary = || sight.masked(&subject.summary);
        let has = |word: &String| {
            let texts = [subject.rule.name(), subject.device.name()];
            contains(&summary(), word)
                || texts.into_iter().chain(subject.labels.values().map(String::as_str)).any(|text| contains(text, word))
        };
        (states.is_empty() || states.contains(&alert.state))
            && rule.as_ref().is_none_or(|rule| subject.rule == *rule)
            && device.as_ref().is_none_or(|device| subject.device == *device)
            && is_suppressed.is_none_or(|wanted| wanted != alert.suppressed.is_empty())
            && asked.one("namespace").is_none_or(|namespace| subject.device.namespace() == namespace)
            && selector.matches(&subject.labels)
            && words.iter().all(has)
            && sight.sees_device(&subject.device)
    };
    let alerts = read(&shared, |view| view.alerts.clone());
    let mut found: Vec<&Instance> = alerts.iter().filter(wanted).collect();
    found.sort_by(|a, b| {
        let by = |(key, is_down): &(&str, bool)| {
            let order = match *key {
                "severity" => severity_rank(a.subject.severity).cmp(&severity_rank(b.subject.severity)),
                "activeAt" => a.active_at.cmp(&b.active_at),
                "device" => a.subject.device.cmp(&b.subject.device),
                "rule" => a.subject.rule.cmp(&b.subject.rule),
                _ => state_rank(a.state).cmp(&state_rank(b.state)),
            };
            if *is_down { order.reverse() } else { order }
        };
        sort.iter().map(by).find(|order| order.is_ne()).unwrap_or_else(|| gravest(a, b))
    });
    let from = answer::begin(&asked, found.len(), |at| &found[at].id)?;
    let page = read(&shared, |view| {
        let items: Vec<Alert> = found.iter().skip(from).take(limit).map(|alert| Alert::of(view, &sight, alert)).collect();
        let last = from + items.len();
        let beyond = view.beyond_limit.iter().filter(|(rule, _)| sight.sees(crds::Kind::AlertRule, rule));
        let list = List {
            items: Vec::new(),
            total: found.len(),
            cursor: (last < found.len()).then(|| answer::cursor(last - 1, &found[last - 1].id)),
            beyond_limit: beyond.map(|(rule, count)| (rule.full().to_owned(), *count)).collect(),
            undelivered: undelivered(view, &sight),
            own_network_down: view.own_network_down(),
        };
        (list, items)
    });
    let (list, items) = page;
    let items = items.iter().map(|item| fields.of_item(serde_json::to_value(item).unwrap_or_default())).collect();
    answer::document(&asked, &List { items, ..list })
}

fn states(asked: &Asked) -> Result<Vec<AlertState>, Box<Problem>> {
    let state = |text: &str| {
        let known = [AlertState::Pending, AlertState::Firing, AlertState::Resolved].into_iter().find(|state| word(state) == text);
        known.ok_or_else(|| Problem::bad(format!("state: `{}` is none of pending, firing, resolved", short(text))))
    };
    asked.words("state").map(state).collect()
}

pub(super) fn undelivered(view: &View, sight: &Sight) -> Vec<Undelivered> {
    let lost = view.outbox.standing.lost.iter().filter(|lost| sight.sees(crds::Kind::Receiver, &lost.receiver));
    let undelivered = lost.map(|lost| Undelivered {
        receiver: lost.receiver.full().to_owned(),
        count: lost.count,
        since: lost.since,
        problem: sight.masked(&lost.problem),
    });
    undelivered.collect()
}

async fn one(State(shared): State<Shared>, Seen(sight): Seen, UrlPath(id): UrlPath<String>, asked: Asked) -> Answer {
    let mut found = read(&shared, |view| {
        let alert = view.alerts.iter().find(|alert| alert.id == id && sight.sees_device(&alert.subject.device))?;
        let behind = parents::behind(&sight.desired, &view.observed, &alert.subject.device);
        let behind = behind.iter().filter(|device| sight.sees_device(device)).take(BEHIND);
        Some((alert.clone(), Alert::of(view, &sight, alert), behind.map(|device| device.full().to_owned()).collect::<Vec<_>>()))
    });
    // Whoever was told of it days ago still finds it.
    if found.is_none() {
        let past = shared.store.past_alert(&id).await?.filter(|alert| sight.sees_device(&alert.subject.device));
        found = past.map(|past| (past.clone(), read(&shared, |view| history::past(view, &sight, &past)), Vec::new()));
    }
    let Some((mut instance, alert, behind_devices)) = found else {
        return Err(Problem::missing(format!("there is no alert {}", short(&id))));
    };
    let rows = shared.store.notices(NOTICES).await?;
    let is_about = |row: &&store::NoticeRow| row.notice.firing.iter().chain(&row.notice.resolved).any(|said| said.id == id);
    let sees = |receiver: &Name| sight.sees(crds::Kind::Receiver, receiver);
    instance.decisions.retain(|decision| decision.receiver.is_empty() || sees(&Name::parse(&decision.receiver)));
    instance.decisions.iter_mut().for_each(|decision| decision.text = decided(&sight, &decision.text));
    instance.suppressed.retain(|by| is_seen(&sight, by));
    instance.subject.last_change.take_if(|change| !sees_change(&sight, change));
    let told = rows.iter().filter(is_about).filter(|row| sees(&row.notice.receiver)).map(|row| Told {
        receiver: row.notice.receiver.full().to_owned(),
        at: row.recorded_at,
        reason: json!(row.notice.reason),
        finished_at: row.finished_at,
        is_dead: row.is_dead,
        problem: (!row.problem.is_empty()).then(|| sight.masked(&row.problem)),
    });
    let decision = |decision: &reconcile::alerting::state::Decision| Decision {
        at: decision.at,
        what: decision.receiver.clone(),
        why: decision.text.clone(),
    };
    let why = Why {
        alert,
        decisions: instance.decisions.iter().map(decision).collect(),
        said: told.collect(),
        behind_devices,
        text: sight.masked(&crate::explain::alert(&instance)),
    };
    answer::document(&asked, &why)
}

async fn notices(State(shared): State<Shared>, Seen(sight): Seen, asked: Asked) -> Answer {
    let (limit, is_dead) = (asked.limit()?, asked.read::<bool>("dead")?);
    sight.devices().await;
    let rows = shared.store.notices(NOTICES).await?;
    let mut items = Vec::new();
    for mut row in rows.into_iter().filter(|row| is_dead.is_none_or(|wanted| row.is_dead == wanted)) {
        if !leave_seen(&sight, &mut row.notice) {
            continue;
        }
        let sees = |receiver: &Name| sight.sees(crds::Kind::Receiver, receiver);
        let is_known = sees(&row.notice.receiver);
        if !is_known {
            row.reached.clear();
            row.problem.clear();
        }
        row.notice.instead.take_if(|instead| !is_known || !sees(&instead.of));
        let mut item = json!(row);
        item["notice"]["receiver"] = json!(if is_known { row.notice.receiver.full() } else { HIDDEN });
        sight.mask(&mut item);
        items.push(item);
    }
    let total = items.len();
    items.truncate(limit);
    answer::document(&asked, &Notices { items, total })
}

/// Leaves of a notification what somebody may see of it; whether there is anything.
pub(super) fn leave_seen(sight: &Sight, notice: &mut Notice) -> bool {
    // A trial is about no device, and for who may see whom it goes to.
    let is_trial = notice.reason == Reason::Test;
    for said in [&mut notice.firing, &mut notice.resolved] {
        said.retain(|said| is_trial || sight.sees_device(&said.device));
        said.iter_mut().for_each(|said| drop(said.last_change.take_if(|change| !sees_change(sight, change))));
    }
    if !sight.is_all() {
        // How many more there were is of devices that one may not see.
        notice.left_off = (0, 0);
    }
    match is_trial {
        true => sight.sees(crds::Kind::Receiver, &notice.receiver),
        false => !notice.firing.is_empty() || !notice.resolved.is_empty(),
    }
}
