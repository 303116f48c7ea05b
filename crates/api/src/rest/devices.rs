//! What was so on a device: the states of its probes, and the marks for its charts. And who could do what, when.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use crds::{Kind, Verb};
use jiff::{SignedDuration, Timestamp};
use reconcile::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::audit::Entry;
use store::{DeviceChange, Filter, ProbeChange};

use super::audit;
use super::gate::{Access, Param, Routes, param};
use super::sight::Seen;
use crate::problem::problem;
use crate::shared::{Shared, read};

/// Entries of the audit log that are looked through for marks.
const ENTRIES: usize = 5000;
/// Marks of one answer; of more, the newest.
const MARKS: usize = 1000;
/// States of a probe in one answer; of more, the newest.
const STATES: usize = 500;

const SINCE: [Param; 1] = [param("since", "From when on: a time back from now such as `30d`, or an instant.")];
const THEN: [Param; 2] = [
    param("at", "When; now if nothing is said."),
    param("subject", "Of whom: `user:ann`, `group:ops`, `signer:…`; of everybody if nothing is said."),
];

pub(super) fn routes(routes: Routes) -> Routes {
    let see = Access::Object(Verb::View, Kind::Device);
    routes
        .add(Method::GET, "/devices/{namespace}/{name}/probes", see, probes)
        .says("The states of a device's probes over time")
        .takes(&SINCE)
        .gives::<Probes>(200)
        .add(Method::GET, "/devices/{namespace}/{name}/changes", see, changes)
        .says("What happened to a device: rollouts, commits, alerts")
        .takes(&SINCE)
        .gives::<Changes>(200)
        .add(Method::GET, "/permissions", Access::Admin, permissions)
        .says("Who could do what at some time, as Roles had it")
        .takes(&THEN)
        .gives::<Permissions>(200)
}

/// Since when: `30d`, or an instant.
#[derive(Debug, Deserialize)]
struct Since {
    since: Option<String>,
}

impl Since {
    fn read(&self, usual: SignedDuration) -> Result<Timestamp, String> {
        let now = Timestamp::now();
        let ago = |time: SignedDuration| now.checked_sub(time).unwrap_or(Timestamp::UNIX_EPOCH);
        let Some(since) = &self.since else { return Ok(ago(usual)) };
        if let Ok(at) = since.parse() {
            return Ok(at);
        }
        let time: crds::Duration = since.parse().map_err(|_| format!("since={since}: write a time such as 24h or 30d, or an instant"))?;
        Ok(ago(time.0))
    }
}

/// The probes of a device.
#[derive(Serialize, JsonSchema)]
struct Probes {
    items: Vec<ProbeView>,
}

/// A probe with its states.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Probe")]
struct ProbeView {
    name: String,
    /// Such as `http` or `icmp`.
    kind: String,
    /// Such as `ok`, `failed` or `unknown`.
    #[schemars(with = "String")]
    state: reconcile::ProbeState,
    /// Why, in a word.
    #[schemars(with = "String")]
    code: reconcile::ProbeCode,
    /// Why. From hostile text.
    reason: String,
    since: Option<Timestamp>,
    /// The oldest first.
    history: Vec<Stood>,
}

/// From then on it was in this state.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "ProbeStood")]
struct Stood {
    at: Timestamp,
    #[schemars(with = "String")]
    state: reconcile::ProbeState,
    reason: String,
}

/// `GET …/probes`: the first state of a history may have begun before `since`; it is the one that was so then.
async fn probes(
    State(shared): State<Shared>,
    Seen(sight): Seen,
    Path((namespace, name)): Path<(String, String)>,
    Query(since): Query<Since>,
) -> Response {
    let since = match since.read(SignedDuration::from_hours(24)) {
        Ok(since) => since,
        Err(why) => return problem(StatusCode::BAD_REQUEST, why),
    };
    let name = Name::new(&namespace, &name);
    if let Some(missing) = missing(&shared, &name) {
        return missing;
    }
    let changes = match shared.store.probe_changes(&name, since).await {
        Ok(changes) => changes,
        Err(error) => return problem(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    };
    let mut items = read(&shared, |view| {
        let device = view.desired.devices.get(&name);
        let seen = view.observed.devices.get(&name);
        let show = |probe: &reconcile::Probe| {
            let seen = seen.and_then(|seen| seen.probes.get(&probe.name)).map(|seen| (**seen).clone()).unwrap_or_default();
            let kind = kind(&probe.check);
            let history = history(&changes, &probe.name);
            ProbeView {
                name: probe.name.clone(),
                kind,
                state: seen.state,
                code: seen.code,
                reason: seen.reason,
                since: seen.since,
                history,
            }
        };
        device.map(|device| device.probes.iter().map(show).collect::<Vec<_>>()).unwrap_or_default()
    });
    // Why one failed may name other devices.
    for probe in &mut items {
        let reasons = std::iter::once(&mut probe.reason).chain(probe.history.iter_mut().map(|stood| &mut stood.reason));
        reasons.for_each(|reason| *reason = sight.masked(reason));
    }
    Json(Probes { items }).into_response()
}

/// Who may see every device is told which are not there.
fn missing(shared: &Shared, name: &Name) -> Option<Response> {
    let is_there = read(shared, |view| view.desired.objects.contains_key(&(Kind::Device, name.clone())));
    (!is_there).then(|| problem(StatusCode::NOT_FOUND, format!("there is no device {name}")))
}

/// Its word in a manifest.
fn kind(check: &reconcile::Check) -> String {
    match serde_json::to_value(check) {
        Ok(serde_json::Value::Object(fields)) => fields.keys().next().map(|word| word.to_lowercase()).unwrap_or_default(),
        Ok(serde_json::Value::String(word)) => word.to_lowercase(),
        _ => String::new(),
    }
}

fn history(changes: &[ProbeChange], probe: &str) -> Vec<Stood> {
    let mut states: Vec<Stood> = Vec::new();
    for change in changes.iter().filter(|change| change.probe == probe) {
        if states.last().is_none_or(|last| last.state != change.state) {
            states.push(Stood { at: change.at, state: change.state, reason: change.reason.clone() });
        }
    }
    states.split_off(states.len().saturating_sub(STATES))
}

/// What happened to a device.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DeviceChanges")]
struct Changes {
    /// The newest first.
    items: Vec<Mark>,
}

/// A mark on a chart's axis of time.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "DeviceChange")]
struct Mark {
    at: Timestamp,
    /// `rollout`, `commit` or `alert`.
    kind: &'static str,
    title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    deployment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    author: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
}

/// `GET …/changes`: the newest first. What Deployments and AlertRules did that the caller may not see is left out.
async fn changes(
    State(shared): State<Shared>,
    Seen(sight): Seen,
    Path((namespace, name)): Path<(String, String)>,
    Query(since): Query<Since>,
) -> Response {
    let since = match since.read(SignedDuration::from_hours(30 * 24)) {
        Ok(since) => since,
        Err(why) => return problem(StatusCode::BAD_REQUEST, why),
    };
    let name = Name::new(&namespace, &name);
    if let Some(missing) = missing(&shared, &name) {
        return missing;
    }
    let filter = Filter { about: Some(format!("device/{name}")), before: None, limit: ENTRIES };
    let (entries, commits) = match tokio::try_join!(shared.store.entries(&filter), shared.store.device_changes(&name, since)) {
        Ok(found) => found,
        Err(error) => return problem(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    };
    let mut marks: Vec<Mark> = commits.into_iter().map(commit).collect();
    let recent = entries.iter().filter(|entry| entry.at >= since && audit::sees_unit(&sight, entry));
    marks.extend(recent.filter_map(|entry| mark(entry, &entries)));
    marks.iter_mut().for_each(|mark| mark.title = sight.masked(&mark.title));
    read(&shared, |view| {
        for mark in &mut marks {
            let (Some(deployment), Some(at)) = (&mark.deployment, Some(mark.at)) else { continue };
            // Whose revision it was then.
            let Some(rollout) = view.observed.rollouts.get(&Name::parse(deployment)) else { continue };
            if let Some(record) = rollout.history.iter().rev().find(|record| record.started_at <= at) {
                (mark.revision, mark.commit, mark.author) = (Some(record.number), Some(record.commit.clone()), Some(record.author.clone()));
            }
        }
    });
    marks.sort_by_key(|mark| std::cmp::Reverse(mark.at));
    marks.truncate(MARKS);
    Json(Changes { items: marks }).into_response()
}

fn plain(at: Timestamp, kind: &'static str, title: String) -> Mark {
    Mark { at, kind, title, deployment: None, revision: None, commit: None, author: None, result: None, rule: None }
}

fn commit(change: DeviceChange) -> Mark {
    let title = match change.what.as_str() {
        "added" => "added to the fleet",
        "removed" => "removed from the fleet",
        _ => "its manifest changed",
    };
    Mark { commit: Some(change.commit), author: Some(change.author), ..plain(change.at, "commit", title.into()) }
}

/// What an entry of the audit log says of the device, if that is something to mark. An act is marked where it began, with what came of it.
fn mark(entry: &Entry, all: &[Entry]) -> Option<Mark> {
    let unit = |kind: &str| entry.unit.strip_prefix(kind).map(str::to_owned);
    match entry.verb.as_str() {
        "fire" | "resolve" => {
            let rule = unit("alertrule/");
            let result = if entry.verb == "fire" { "firing" } else { "resolved" };
            Some(Mark { rule, result: Some(result.into()), ..plain(entry.at, "alert", entry.message.clone()) })
        }
        verb if entry.outcome == "begun" => {
            let ended = all.iter().find(|ended| ended.refers_to == Some(entry.index));
            let result = ended.map_or("begun", |ended| ended.outcome.as_str()).to_owned();
            let what = if entry.changes.is_empty() { entry.message.clone() } else { entry.changes.join(", ") };
            let title = format!("{verb}: {what}");
            Some(Mark { deployment: unit("deployment/"), result: Some(result), ..plain(entry.at, "rollout", title) })
        }
        _ => None,
    }
}

/// When, and of whom.
#[derive(Debug, Deserialize)]
struct Then {
    at: Option<Timestamp>,
    /// `user:ann`, `group:ops` or `signer:…`.
    subject: Option<String>,
}

/// What Roles allowed.
#[derive(Serialize, JsonSchema)]
struct Permissions {
    /// At that time.
    at: Timestamp,
    #[schemars(with = "Vec<Permission>")]
    items: Vec<store::PermissionRow>,
}

/// Something that a Role allowed.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "it says how `store::PermissionRow` looks")]
struct Permission {
    /// The Role.
    role: String,
    /// Whom: `user:ann`, `group:ops`, `signer:…`.
    subject: String,
    verb: String,
    /// To which kind; empty: to every one.
    kind: String,
    /// About which devices, as JSON text; empty: about every one.
    devices: String,
    from: Timestamp,
    /// By which commit.
    commit: String,
    /// Until when; null: it still does.
    to: Option<Timestamp>,
}

/// `GET /permissions`: what Roles allowed at that time; now, if none is named.
async fn permissions(State(shared): State<Shared>, Query(then): Query<Then>) -> Response {
    let at = then.at.unwrap_or_else(Timestamp::now);
    match shared.store.permissions_at(at, then.subject.as_deref()).await {
        Ok(items) => Json(Permissions { at, items }).into_response(),
        Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use reconcile::record::Actor;
    use reconcile::{ProbeCode, ProbeState};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn entry(index: u64, verb: &str, outcome: &str) -> Entry {
        Entry {
            index,
            at: at(i64::try_from(index).unwrap()),
            actor: Actor::engine(),
            verb: verb.into(),
            target: "device/web".into(),
            unit: if verb == "fire" { "alertrule/cpu" } else { "deployment/nginx" }.into(),
            plan: String::new(),
            step: String::new(),
            changes: if verb == "apply" { vec!["nginx 1 -> 2".into()] } else { Vec::new() },
            message: "why".into(),
            outcome: outcome.into(),
            refers_to: None,
        }
    }

    #[test]
    fn an_act_is_one_mark_with_what_came_of_it() {
        let all = [
            Entry { refers_to: Some(0), ..entry(3, "apply", "failed") },
            entry(2, "fire", "done"),
            entry(1, "restore", "begun"),
            entry(0, "apply", "begun"),
            entry(4, "acknowledge", "done"),
        ];
        let marks: Vec<_> = all.iter().filter_map(|entry| mark(entry, &all)).collect();
        let told = |mark: &Mark| {
            format!("{} {} {:?} {:?} {}", mark.kind, mark.title, mark.deployment, mark.rule, mark.result.as_deref().unwrap_or_default())
        };
        assert_eq!(
            marks.iter().map(told).collect::<Vec<_>>(),
            [
                "alert why None Some(\"cpu\") firing",
                "rollout restore: why Some(\"nginx\") None begun",
                "rollout apply: nginx 1 -> 2 Some(\"nginx\") None failed",
            ]
        );
    }

    #[test]
    fn a_state_is_told_once_and_no_more_than_so_many() {
        let change = |second: i64, state| ProbeChange {
            device: Name::parse("web"),
            probe: "http".into(),
            at: at(second),
            state,
            code: ProbeCode::Passed,
            reason: String::new(),
        };
        let (ok, fail) = (ProbeState::Ok, ProbeState::Fail);
        let states = history(&[change(0, ok), change(1, ok), change(2, fail), change(3, ok)], "http");
        assert_eq!(states.iter().map(|state| state.at).collect::<Vec<_>>(), [at(0), at(2), at(3)]);
        assert!(history(&[change(0, ok)], "other").is_empty());
        let many: Vec<_> = (0..2000).map(|number| change(number, if number % 2 == 0 { ok } else { fail })).collect();
        let states = history(&many, "http");
        assert_eq!((states.len(), states.last().unwrap().at), (STATES, at(1999)));
    }

    #[test]
    fn since_is_a_time_or_an_instant() {
        let read = |since: &str| Since { since: Some(since.into()) }.read(SignedDuration::ZERO);
        assert_eq!(read("2026-11-24T12:00:00Z").unwrap().to_string(), "2026-11-24T12:00:00Z");
        assert!(
            (Timestamp::now().duration_since(read("24h").unwrap()) - SignedDuration::from_hours(24)).abs() < SignedDuration::from_mins(1)
        );
        assert!(read("yesterday").is_err());
    }
}
