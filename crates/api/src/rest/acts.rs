//! Acting verbs: pause, resume, approve, undo, acknowledge, look now, sync, admit, try out. Each is done by the engine's loop, and written into
//! the audit log with the name of who asks.

mod backtest;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use crds::{AlertState, Kind, Object, Selector, Verb};
use jiff::Timestamp;
use reconcile::access::What;
use reconcile::alerting::suppress::Silence;
use reconcile::command::Command;
use reconcile::record::Actor;
use reconcile::{Device, Name};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_path_to_error::Segment;

use super::caller::Caller;
use super::gate::{Access, Routes};
use super::refusal::{self, field, say};
use super::selector;
use super::sight::{Seen, Sight};
use super::writes::asked;
use crate::shared::{Shared, read};
use crate::view::{Ask, Shown, View};

/// Bytes of what somebody says to what they do.
const MAX_COMMENT: usize = 500;
/// Labels of alerts that a silence names, as in its manifest.
const MAX_LABELS: usize = 32;
/// Alerts that a preview of a silence shows.
const MAX_ALERTS: usize = 1000;

pub(super) fn routes(routes: Routes) -> Routes {
    let deployment = |verb: Verb| Access::Object(verb, Kind::Deployment);
    routes
        .add(Method::POST, "/deployments/{namespace}/{name}/pause", deployment(Verb::Deploy), pause)
        .says("Pauses a rollout")
        .reads::<Comment>()
        .gives::<Done>(200)
        .add(Method::POST, "/deployments/{namespace}/{name}/resume", deployment(Verb::Deploy), resume)
        .says("Lets a paused rollout go on")
        .reads::<Comment>()
        .gives::<Done>(200)
        .add(Method::POST, "/deployments/{namespace}/{name}/undo", deployment(Verb::Rollback), undo)
        .says("Takes a Deployment back to a revision that was complete")
        .reads::<Undo>()
        .gives::<Done>(200)
        .add(Method::POST, "/deployments/{namespace}/{name}/approve", deployment(Verb::Approve), approve)
        .says("Agrees to what a rollout waits for, by the id that was shown")
        .reads::<Approval>()
        .gives::<Done>(200)
        // A look changes nothing and reads what is read every minute anyway, and however often it is asked for, a device is looked at once at a
        // time: who may see a device may want to know how it is now.
        .add(Method::POST, "/devices/{namespace}/{name}/look", Access::Object(Verb::View, Kind::Device), look)
        .says("Has a device looked at and probed now")
        .gives::<Done>(202)
        .add(Method::POST, "/alerts/{id}/acknowledge", Access::Meant(Verb::Acknowledge, Kind::Device), acknowledge)
        .says("Says that somebody looks after an alert, until then")
        .reads::<Acknowledgement>()
        .gives::<Done>(200)
        .add(Method::DELETE, "/alerts/{id}/acknowledge", Access::Meant(Verb::Acknowledge, Kind::Device), unacknowledge)
        .says("Takes that back")
        .gives::<Done>(200)
        // It shows what they may see anyway.
        .add(Method::POST, "/silences/preview", Access::Known, preview)
        .says("What a silence would mute, before it is made")
        .reads::<Planned>()
        .gives::<Muted>(200)
        // The source brings what is rolled out, and a commit that went too far is agreed to as a rollout is.
        .add(Method::POST, "/source/sync", Access::Kind(Verb::Deploy, Kind::Repository), sync)
        .says("Has the source looked at now")
        .gives::<Done>(202)
        .add(Method::POST, "/source/admit", Access::Kind(Verb::Approve, Kind::Repository), admit)
        .says("Lets a commit through that went beyond the limits, by the id that was shown")
        .reads::<Approval>()
        .gives::<Done>(200)
        .add(Method::POST, "/backtest", Access::Known, backtest::backtest)
        .says("How often, where and for how long a rule would have fired on what is stored")
        .reads::<backtest::Asked>()
        .gives::<backtest::Told>(200)
        // People are told something: that is for who may say where it goes.
        .add(Method::POST, "/receivers/{namespace}/{name}/test", Access::Object(Verb::Edit, Kind::Receiver), try_out)
        .says("Sends a test to a receiver, by the very way of an alert")
        .gives::<Done>(200)
}

/// What somebody says to it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Comment {
    /// For the audit log.
    comment: Option<String>,
}

/// How far back.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Undo {
    /// To this revision; without it, to the last one that was complete.
    to: Option<u32>,
    /// For the audit log.
    comment: Option<String>,
}

/// What is agreed to.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Approval {
    /// The id that was shown: it stands for exactly that.
    id: String,
    /// For the audit log.
    comment: Option<String>,
}

/// That somebody looks after an alert.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Acknowledgement {
    /// What they do about it.
    comment: String,
    /// Until when nobody else need be told.
    until: Timestamp,
}

/// A silence that is not written yet.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "PlannedSilence")]
pub(crate) struct Planned {
    /// The namespace it would be in.
    #[serde(default = "default_namespace")]
    namespace: String,
    /// Labels of the alerts.
    #[serde(default)]
    match_labels: BTreeMap<String, String>,
    /// Which devices; all, if nothing is said.
    devices: Option<Selector>,
    /// Its end.
    until: Timestamp,
}

fn default_namespace() -> String {
    "default".into()
}

/// What came of it, as the engine says it.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "it says how what the engine answers looks")]
struct Done {
    /// In words.
    message: String,
}

/// What a silence would mute.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "SilencePreview")]
pub(crate) struct Muted {
    /// Alerts that are there now; some of them, if they are many.
    alerts: Vec<MutedAlert>,
    /// Devices that it would be about: those that `devices` and the labels of devices among `matchLabels` choose.
    devices: usize,
}

/// An alert that would be muted.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct MutedAlert {
    id: String,
    /// The AlertRule.
    #[schemars(with = "String")]
    rule: Name,
    #[schemars(with = "String")]
    device: Name,
    state: AlertState,
    summary: String,
}

/// A body; an empty one stands for nothing said. What is wrong with one names its field.
#[expect(clippy::result_large_err, reason = "it is answered at once")]
fn body<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Response> {
    let bytes = if bytes.is_empty() { b"{}" } else { bytes };
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let read = serde_path_to_error::deserialize(&mut json).map_err(|error| (pointer(error.path(), error.inner()), error.into_inner()));
    let read = read.and_then(|read| json.end().map(|()| read).map_err(|error| (String::new(), error)));
    read.map_err(|(pointer, error)| refusal::mistyped(pointer, format!("the body: {error}")))
}

/// Where in a body something is wrong, as a JSON pointer (RFC 6901); empty: it is no JSON, or no object.
fn pointer(path: &serde_path_to_error::Path, error: &serde_json::Error) -> String {
    let text = error.to_string();
    let missing = text.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
    let parts = path.iter().filter_map(|part| match part {
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Map { key } => Some(key.clone()),
        Segment::Enum { .. } | Segment::Unknown => None,
    });
    let parts = parts.chain(missing.map(str::to_owned));
    parts.map(|part| format!("/{}", part.replace('~', "~0").replace('/', "~1"))).collect()
}

async fn command(shared: &Shared, caller: &Caller, deployment: Name, command: Command, comment: Option<String>) -> Response {
    let comment = match said_of(comment) {
        Ok(comment) => comment,
        Err(refusal) => return refusal,
    };
    let is_there = |view: &View| {
        view.desired.objects.contains_key(&(Kind::Deployment, deployment.clone())) || view.observed.rollouts.contains_key(&deployment)
    };
    // Whoever may do something to every Deployment may do nothing to the login of a Role by that.
    if deployment.role().is_some() || !read(shared, is_there) {
        return say(StatusCode::NOT_FOUND, format!("there is no deployment {deployment}"));
    }
    let target = format!("deployment/{deployment}");
    let value = match asked(shared, Ask::Rollout { deployment, command }, &caller.name).await {
        Ok(value) => value,
        Err(refusal) => return refusal,
    };
    if let Some(comment) = comment {
        write_down(shared, said(caller, &target, comment)).await;
    }
    Json(value).into_response()
}

/// What somebody says to what they do, if anything.
#[expect(clippy::result_large_err, reason = "it is answered at once")]
fn said_of(comment: Option<String>) -> Result<Option<String>, Response> {
    if comment.as_ref().is_some_and(|comment| comment.len() > MAX_COMMENT || comment.chars().any(char::is_control)) {
        return Err(field("/comment", format!("one line of {MAX_COMMENT} bytes at most")));
    }
    Ok(comment.filter(|comment| !comment.trim().is_empty()))
}

/// It is done already, so it is no failure where this can't be written.
async fn write_down(shared: &Shared, said: store::audit::Entry) {
    let target = said.target.clone();
    if let Err(error) = shared.store.log(vec![said]).await {
        tracing::warn!(%error, target, "what was said to it could not be written into the audit log");
    }
}

/// What somebody says to what they have just done.
fn said(caller: &Caller, target: &str, message: String) -> store::audit::Entry {
    store::audit::Entry {
        index: 0,
        at: Timestamp::now(),
        actor: Actor::user(&caller.name),
        verb: "comment".into(),
        target: target.to_owned(),
        unit: target.to_owned(),
        plan: String::new(),
        step: String::new(),
        changes: Vec::new(),
        message,
        outcome: "done".into(),
        refers_to: None,
    }
}

type Place = Path<(String, String)>;

fn name(Path((namespace, name)): Place) -> Name {
    Name::new(&namespace, &name)
}

async fn pause(State(shared): State<Shared>, Extension(caller): Extension<Caller>, place: Place, bytes: Bytes) -> Response {
    match body::<Comment>(&bytes) {
        Ok(Comment { comment }) => command(&shared, &caller, name(place), Command::Pause, comment).await,
        Err(refusal) => refusal,
    }
}

async fn resume(State(shared): State<Shared>, Extension(caller): Extension<Caller>, place: Place, bytes: Bytes) -> Response {
    match body::<Comment>(&bytes) {
        Ok(Comment { comment }) => command(&shared, &caller, name(place), Command::Resume, comment).await,
        Err(refusal) => refusal,
    }
}

async fn undo(State(shared): State<Shared>, Extension(caller): Extension<Caller>, place: Place, bytes: Bytes) -> Response {
    match body::<Undo>(&bytes) {
        Ok(Undo { to, comment }) => command(&shared, &caller, name(place), Command::Undo { to }, comment).await,
        Err(refusal) => refusal,
    }
}

async fn approve(State(shared): State<Shared>, Extension(caller): Extension<Caller>, place: Place, bytes: Bytes) -> Response {
    match body::<Approval>(&bytes) {
        Ok(Approval { id, comment }) => command(&shared, &caller, name(place), Command::Approve { id }, comment).await,
        Err(refusal) => refusal,
    }
}

async fn look(State(shared): State<Shared>, Extension(caller): Extension<Caller>, place: Place) -> Response {
    let device = name(place);
    if !read(&shared, |view| view.desired.objects.contains_key(&(Kind::Device, device.clone()))) {
        return say(StatusCode::NOT_FOUND, format!("there is no device {device}"));
    }
    match asked(&shared, Ask::Look { device }, &caller.name).await {
        Ok(value) => (StatusCode::ACCEPTED, Json(value)).into_response(),
        Err(refusal) => refusal,
    }
}

/// The alert of this name, if they may see its device; and then, whether they may say that they look after it.
async fn alert(shared: &Shared, sight: &Sight, id: &str) -> Result<String, Response> {
    let found = read(shared, |view| view.alerts.iter().find(|alert| alert.id == id).map(|alert| (alert.subject.device.clone(), None)));
    let found = match found {
        Some(found) => Some(found),
        None => match shared.store.past_alert(id).await {
            Ok(past) => past.map(|past| (past.subject.device, past.resolved_at)),
            Err(error) => return Err(say(StatusCode::SERVICE_UNAVAILABLE, error.to_string())),
        },
    };
    let judged = read(shared, |view| {
        let caller = &sight.caller;
        let found = found.filter(|(device, _)| sees(view, caller, device));
        let Some((device, over)) = found else { return Err((StatusCode::NOT_FOUND, "there is no such alert".to_owned())) };
        let may = caller.may(view, Verb::Acknowledge, Kind::Device, device.namespace(), What::On(&device));
        may.map_err(|why| (StatusCode::FORBIDDEN, sight.masked(&why)))?;
        match over {
            Some(over) => Err((StatusCode::GONE, format!("it is over: well again since {over:.0}"))),
            None => Ok(id.to_owned()),
        }
    });
    judged.map_err(|(status, why)| say(status, why))
}

fn sees(view: &View, caller: &Caller, device: &Name) -> bool {
    caller.may(view, Verb::View, Kind::Device, device.namespace(), What::On(device)).is_ok()
}

async fn acknowledge(State(shared): State<Shared>, Seen(sight): Seen, Path(id): Path<String>, bytes: Bytes) -> Response {
    let id = match alert(&shared, &sight, &id).await {
        Ok(id) => id,
        Err(refusal) => return refusal,
    };
    let Acknowledgement { comment, until } = match body(&bytes) {
        Ok(said) => said,
        Err(refusal) => return refusal,
    };
    answer(asked(&shared, Ask::Acknowledge { id, comment, until }, &sight.caller.name).await)
}

async fn unacknowledge(State(shared): State<Shared>, Seen(sight): Seen, Path(id): Path<String>) -> Response {
    match alert(&shared, &sight, &id).await {
        Ok(id) => answer(asked(&shared, Ask::Unacknowledge { id }, &sight.caller.name).await),
        Err(refusal) => refusal,
    }
}

async fn preview(State(shared): State<Shared>, Seen(sight): Seen, bytes: Bytes) -> Response {
    let Planned { namespace, match_labels, devices, until } = match body(&bytes) {
        Ok(planned) => planned,
        Err(refusal) => return refusal,
    };
    let now = Timestamp::now();
    if until <= now {
        return field("/until", "its end is over already");
    }
    if match_labels.len() > MAX_LABELS {
        return field("/matchLabels", format!("more than {MAX_LABELS} labels"));
    }
    if let Err(why) = devices.as_ref().map_or(Ok(()), selector::within) {
        return field("/devices", why);
    }
    let silence = Silence { name: Name::new(&namespace, "preview"), match_labels, devices, until, reason: String::new() };
    let (seen, alerts) = (sight.devices().await, read(&shared, |view| view.alerts.clone()));
    // Not on the threads that answer everybody, nor while the engine waits for the view.
    match tokio::task::spawn_blocking(move || muted(&sight, &seen, &alerts, &silence, now)).await {
        Ok(muted) => Json(muted).into_response(),
        Err(error) => say(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// What a silence mutes of what somebody may see.
fn muted(sight: &Sight, seen: &[u32], alerts: &Shown, silence: &Silence, now: Timestamp) -> Muted {
    let rows = seen.iter().filter_map(|at| sight.fleet.rows[*at as usize].device.as_ref());
    let is_about = |device: &&Arc<Device>| {
        device.name.namespace() == silence.name.namespace()
            && silence.devices.as_ref().is_none_or(|devices| devices.matches(&device.labels))
    };
    let about: HashMap<&Name, &Arc<Device>> = rows.filter(is_about).map(|device| (&device.name, device)).collect();
    let of_rules = labels_of_rules(sight, silence.name.namespace());
    // A label that a rule sets is of the alerts, and chooses no devices; the others are those of the device.
    let chooses = |device: &Device, key: &str, value: &str| match device.labels.get(key) {
        _ if of_rules.contains(&(key, value)) => true,
        Some(own) => own == value,
        None => key == "rule" || (key == "device" && device.name.name() == value),
    };
    let chosen = about.values().filter(|device| silence.match_labels.iter().all(|(key, value)| chooses(device, key, value)));
    let devices = chosen.count();
    let mutes = |alert: &&reconcile::alerting::state::Instance| {
        let subject = &alert.subject;
        let mutes = |device: &Arc<Device>| silence.mutes((&device.name, &device.labels), (&subject.rule, &subject.labels), now);
        matches!(alert.state, AlertState::Firing | AlertState::Pending) && about.get(&subject.device).is_some_and(|device| mutes(device))
    };
    let shown = alerts.iter().filter(mutes).take(MAX_ALERTS).map(|alert| MutedAlert {
        id: alert.id.clone(),
        rule: alert.subject.rule.clone(),
        device: alert.subject.device.clone(),
        state: alert.state,
        summary: sight.masked(&alert.subject.summary),
    });
    Muted { alerts: shown.collect(), devices }
}

/// The labels that rules of a namespace set on their alerts, of those that they may see.
fn labels_of_rules<'a>(sight: &'a Sight, namespace: &'a str) -> HashSet<(&'a str, &'a str)> {
    let from = (Kind::AlertRule, Name::new(namespace, ""));
    let rules = sight.desired.objects.range(from..);
    let rules = rules.take_while(|((kind, name), _)| *kind == Kind::AlertRule && name.namespace() == namespace);
    let seen = rules.filter(|((_, name), _)| sight.sees(Kind::AlertRule, name));
    let labels = seen.filter_map(|(_, object)| match &**object {
        Object::AlertRule(rule) => Some(&rule.spec.labels),
        _ => None,
    });
    labels.flatten().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

async fn sync(State(shared): State<Shared>, Extension(caller): Extension<Caller>, Seen(sight): Seen) -> Response {
    // What comes of it may be in any namespace.
    if let Err(why) = sight.everywhere(Verb::Deploy, Kind::Repository) {
        return say(StatusCode::FORBIDDEN, why);
    }
    match asked(&shared, Ask::Sync, &caller.name).await {
        Ok(value) => (StatusCode::ACCEPTED, Json(value)).into_response(),
        Err(refusal) => refusal,
    }
}

async fn admit(State(shared): State<Shared>, Extension(caller): Extension<Caller>, Seen(sight): Seen, bytes: Bytes) -> Response {
    if let Err(why) = sight.everywhere(Verb::Approve, Kind::Repository) {
        return say(StatusCode::FORBIDDEN, why);
    }
    let Approval { id, comment } = match body(&bytes) {
        Ok(approval) => approval,
        Err(refusal) => return refusal,
    };
    let comment = match said_of(comment) {
        Ok(comment) => comment,
        Err(refusal) => return refusal,
    };
    let answered = asked(&shared, Ask::Admit { id: id.clone() }, &caller.name).await;
    if answered.is_ok()
        && let Some(comment) = comment
    {
        // The entry of the act itself has the same id.
        write_down(&shared, said(&caller, "source", format!("{id}: {comment}"))).await;
    }
    answer(answered)
}

async fn try_out(State(shared): State<Shared>, Extension(caller): Extension<Caller>, place: Place) -> Response {
    let receiver = name(place);
    if !read(&shared, |view| view.desired.objects.contains_key(&(Kind::Receiver, receiver.clone()))) {
        return say(StatusCode::NOT_FOUND, format!("there is no receiver {receiver}"));
    }
    answer(asked(&shared, Ask::TryOut { receiver }, &caller.name).await)
}

fn answer(answered: Result<Value, Response>) -> Response {
    answered.map_or_else(|refusal| refusal, |value| Json(value).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_body_says_nothing_and_a_mistyped_one_is_refused() {
        assert!(body::<Comment>(b"").unwrap().comment.is_none());
        assert!(body::<Comment>(b"{\"comment\":\"x\"}").unwrap().comment.is_some());
        for wrong in [b"{\"coment\":\"x\"}".as_slice(), b"[]", b"{", b"null"] {
            assert!(body::<Comment>(wrong).is_err());
        }
        assert!(body::<Approval>(b"").is_err(), "nothing is agreed to without its id");
    }

    #[tokio::test]
    async fn what_is_wrong_names_its_field() {
        async fn errors<T: DeserializeOwned>(sent: &str) -> (StatusCode, Value) {
            let Err(refusal) = body::<T>(sent.as_bytes()) else { panic!("{sent} is taken") };
            let status = refusal.status();
            let bytes = axum::body::to_bytes(refusal.into_body(), 1 << 16).await.unwrap();
            (status, serde_json::from_slice::<Value>(&bytes).unwrap()["errors"].clone())
        }
        for (found, pointer) in [
            (errors::<Comment>(r#"{"coment": "x"}"#).await, "/coment"),
            (errors::<Comment>(r#"{"comment": 1}"#).await, "/comment"),
            (errors::<Approval>("{}").await, "/id"),
            (errors::<Undo>(r#"{"to": "three"}"#).await, "/to"),
            (errors::<Acknowledgement>(r#"{"comment": "mine", "until": "soon"}"#).await, "/until"),
            (errors::<Planned>(r#"{"until": "2030-01-01T00:00:00Z", "matchLabels": {"a/b": 1}}"#).await, "/matchLabels/a~1b"),
        ] {
            let (status, errors) = found;
            assert_eq!((status, errors[0]["pointer"].as_str()), (StatusCode::BAD_REQUEST, Some(pointer)), "{errors}");
            assert!(errors[0]["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{errors}");
        }
        for nothing in ["{", "[]", "{} {}"] {
            assert_eq!(errors::<Comment>(nothing).await, (StatusCode::BAD_REQUEST, Value::Null), "{nothing}: it has no field");
        }
    }
}
