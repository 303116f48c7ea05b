//! Objects made, changed and deleted, where the truth is.
//!
//! What is asked for goes to whoever keeps it ([`crate::change`]); here it is found out who asks, which object is meant, and whether it is as
//! they have seen it.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use crds::{Kind, Object, Verb};
use jiff::{SignedDuration, Timestamp};
use reconcile::access::{What, roles};
use reconcile::finding::Severity;
use reconcile::{Name, Target};
use schemars::{JsonSchema, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::oneshot;

use super::caller::{By, Caller};
use super::gate::{Access, Param, Routes, param};
use super::objects::object_of;
use super::refusal::{self, FieldError, field, say};
use super::tag;
use crate::change::{Answer, Author, CommitState, CommitView, Fault, How, Refusal, Trial, Wanted};
use crate::shared::{Shared, read};
use crate::view::{Ask, Request, passes};

/// Characters of what somebody says to a change.
const MAX_MESSAGE: usize = 200;
/// The longest name, as Kubernetes has it (RFC 1123).
const MAX_NAME: usize = 253;
/// The longest namespace.
const MAX_NAMESPACE: usize = 63;
/// How long ago a Silence may be told to end: clocks differ.
const JUST_NOW: SignedDuration = SignedDuration::from_mins(1);
/// The longest silence, as the command line and the pages have it.
const LONGEST: SignedDuration = SignedDuration::from_hours(31 * 24);

/// The kinds with their two paths.
const KINDS: [(Kind, &str, &str); 8] = [
    (Kind::AlertRule, "/alertrules", "/alertrules/{namespace}/{name}"),
    (Kind::Deployment, "/deployments", "/deployments/{namespace}/{name}"),
    (Kind::Device, "/devices", "/devices/{namespace}/{name}"),
    (Kind::DeviceClass, "/deviceclasses", "/deviceclasses/{namespace}/{name}"),
    (Kind::Receiver, "/receivers", "/receivers/{namespace}/{name}"),
    (Kind::Repository, "/repositories", "/repositories/{namespace}/{name}"),
    (Kind::Role, "/roles", "/roles/{namespace}/{name}"),
    (Kind::Silence, "/silences", "/silences/{namespace}/{name}"),
];

/// What may stand in the query of a write: what is misspelt there is not done for real.
const QUERY: [Param; 3] = [
    param(
        "dryRun",
        "`true`: nothing is written. What would be refused is refused alike (422 then has the `diff` too); else the answer is a 200 with what would be.",
    ),
    param("force", "`true`, in a cluster: fields that others manage, such as kubectl, are taken over from them."),
    param("message", "What the commit says of itself."),
];

pub(super) fn routes(routes: Routes) -> Routes {
    let routes = routes
        .add(Method::GET, "/commits/{id}", Access::Known, commit)
        .says("What became of a commit that was made here")
        .takes(&[])
        .gives::<CommitNow>(200);
    KINDS.into_iter().fold(routes, |routes, (kind, all, one)| {
        // Who makes something is judged by what they make, and who mutes alerts by `silence` as well as by `edit`: not before it is known what.
        let (making, access) = match kind {
            Kind::Silence => (Access::Meant(Verb::Silence, kind), Access::Meant(Verb::Silence, kind)),
            kind => (Access::Meant(Verb::Edit, kind), Access::Object(Verb::Edit, kind)),
        };
        let create = move |shared, caller, query, headers, body| make(kind, shared, caller, query, headers, body);
        let put = move |shared, caller, path, query, headers, body| write((kind, Way::Put), shared, caller, path, query, headers, body);
        let patch = move |shared, caller, path, query, headers, body| write((kind, Way::Patch), shared, caller, path, query, headers, body);
        let delete =
            move |shared, caller, path, query, headers, body| write((kind, Way::Delete), shared, caller, path, query, headers, body);
        let name = kind.as_str();
        let routes = routes.add(Method::POST, all, making, create).says(format!("Makes a {name}"));
        let routes = routes.takes(&QUERY).sent(object_of(kind));
        let routes = routes.gives::<NothingWritten>(200).gives::<Written>(201).gives::<CommitAnswer>(202);
        let routes = routes.add(Method::PUT, one, access, put).says(format!("Makes a {name}, or says anew what it is"));
        let routes = routes.takes(&QUERY).sent(object_of(kind));
        let routes = routes.gives::<MaybeWritten>(200).gives::<Written>(201).gives::<CommitAnswer>(202);
        let routes = routes.add(Method::PATCH, one, access, patch).says(format!("Changes a {name} (RFC 7396)"));
        let routes = routes.takes(&QUERY).sent(Arc::new(|_| json_schema!({"type": "object"})));
        let routes = routes.gives::<MaybeWritten>(200).gives::<CommitAnswer>(202);
        let routes = routes.add(Method::DELETE, one, access, delete).says(format!("Deletes a {name}")).takes(&QUERY);
        routes.gives::<TrialAnswer>(200).gives::<CommitAnswer>(202).gives_nothing(204)
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Put,
    Patch,
    Delete,
}

/// How a write is meant.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Meant {
    /// Nothing is written: the answer says what would be.
    #[serde(default)]
    dry_run: bool,
    /// In a cluster: what others manage is taken over.
    #[serde(default)]
    force: bool,
    /// What the commit says of itself.
    message: Option<String>,
}

/// What came of a write that is in force, or written where it comes in force by itself.
#[derive(Clone, Debug, Serialize, JsonSchema)]
struct Written {
    /// In words.
    message: String,
    /// The file could not be changed in place: its document was written anew, without its comments.
    rewritten: bool,
}

/// It is so already, and nothing was written.
#[derive(Clone, Debug, Serialize, JsonSchema)]
struct Same {
    /// In words.
    message: &'static str,
}

/// What a write says that wrote nothing: what it would do, or that it is so already.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "it says how answers look")]
enum NothingWritten {
    Trial(TrialAnswer),
    Same(Same),
}

/// What a write says that was done at once, or not at all.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "it says how answers look")]
enum MaybeWritten {
    Trial(TrialAnswer),
    Written(Written),
    Same(Same),
}

/// What came of a write that became a commit.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Committed")]
pub(crate) struct CommitAnswer {
    /// The commit; `GET /api/v1/commits/{id}` follows it.
    commit: String,
    /// The branch that it is on.
    branch: String,
    /// What it says of itself.
    message: String,
    /// The file that it changes.
    file: String,
    /// The branch is followed: it comes in force by itself. Else somebody has to merge it.
    followed: bool,
    /// The file could not be changed in place: its document was written anew, without its comments.
    rewritten: bool,
}

/// What a write would do.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Trial")]
pub(crate) struct TrialAnswer {
    /// As `diff -u` says it.
    diff: String,
    /// What is worth a look that is not so now: warnings and notes, since what would be wrong is refused.
    findings: Vec<TrialFinding>,
    /// The file.
    file: Option<String>,
    /// Its document would be written anew, without its comments.
    rewritten: bool,
}

/// One thing that is worth a look.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TrialFinding {
    /// `warning` or `note`.
    severity: String,
    #[serde(flatten)]
    error: FieldError,
}

async fn make(
    kind: Kind,
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Query(meant): Query<Meant>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let value = match object(&headers, &body, false) {
        Ok(value) => value,
        Err(refusal) => return refusal,
    };
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
    let Some(name) = text("/metadata/name") else { return field("/metadata/name", "an object needs a name") };
    let namespace = text("/metadata/namespace").unwrap_or("default");
    if let Err(refusal) = names(namespace, name) {
        return refusal;
    }
    if let Err(refusal) = grants(&shared, &caller, kind, namespace) {
        return refusal;
    }
    let name = Name::new(namespace, name);
    let seen = in_force(&shared, kind, &name);
    // That something is there is no news to those who may see it; others learn it no sooner than they may make one of that name.
    if let Some(seen) = &seen
        && sees(&shared, &caller, kind, &name, seen)
    {
        return say(StatusCode::CONFLICT, format!("{} is there already", Target::of(kind, name)));
    }
    change(&shared, &caller, (kind, name), How::Create(value), None, (meant, headers)).await
}

async fn write(
    (kind, way): (Kind, Way),
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path((namespace, name)): Path<(String, String)>,
    Query(meant): Query<Meant>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Err(refusal) = names(&namespace, &name) {
        return refusal;
    }
    if let Err(refusal) = grants(&shared, &caller, kind, &namespace) {
        return refusal;
    }
    let name = Name::new(&namespace, &name);
    let seen = in_force(&shared, kind, &name);
    let missing = || say(StatusCode::NOT_FOUND, format!("there is no {} {name}", kind.as_str().to_lowercase()));
    match &seen {
        None if way != Way::Put => return missing(),
        Some(object) if !sees(&shared, &caller, kind, &name, object) => return missing(),
        _ => {}
    }
    let how = match way {
        Way::Delete => How::Delete,
        Way::Put | Way::Patch => match object(&headers, &body, way == Way::Patch) {
            Ok(value) if way == Way::Patch => How::Merge(value),
            Ok(value) => How::Replace(value),
            Err(refusal) => return refusal,
        },
    };
    change(&shared, &caller, (kind, name), how, seen, (meant, headers)).await
}

/// Whether any Role lets them write objects of a kind in a namespace: who may write none is not listened to any longer.
#[expect(clippy::result_large_err, reason = "it is answered at once")]
fn grants(shared: &Shared, caller: &Caller, kind: Kind, namespace: &str) -> Result<(), Response> {
    let (governing, word) = (read(shared, |view| view.governing().clone()), kind.as_str());
    let holds = |verb: Verb, kind: Kind| {
        let theirs = roles(&governing, namespace)
            .filter(|(_, role)| role.spec.suspend != Some(true) && role.spec.subjects.iter().any(|subject| caller.who.is(subject)));
        let mut entries = theirs.flat_map(|(_, role)| &role.spec.allow);
        let is_in = |kinds: &[Kind]| kinds.is_empty() || kinds.contains(&kind);
        caller.is_in_scope(verb, kind)
            && (caller.is_admin
                || entries.any(|entry| {
                    is_in(&entry.kinds) && (entry.verbs.contains(&verb) || (verb == Verb::View && entry.verbs.contains(&Verb::Edit)))
                }))
    };
    let silences = || holds(Verb::Silence, Kind::Silence) || holds(Verb::Silence, Kind::Device);
    if holds(Verb::Edit, kind) || (kind == Kind::Silence && silences()) {
        return Ok(());
    }
    // Who sees devices may be told what it takes to mute them; of Silences that there are it says nothing.
    if kind == Kind::Silence && (holds(Verb::View, kind) || holds(Verb::View, Kind::Device)) {
        let lacking = "it takes the verb `silence` on what it mutes, or `edit` on Silences";
        let why = format!("no Role, or not this token, lets {} silence anything in {namespace}: {lacking}", caller.name);
        return Err(say(StatusCode::FORBIDDEN, why));
    }
    if holds(Verb::View, kind) {
        return Err(say(StatusCode::FORBIDDEN, format!("no Role, or not this token, lets {} edit a {word} in {namespace}", caller.name)));
    }
    Err(say(StatusCode::NOT_FOUND, format!("there is no {} for you in {namespace}", word.to_lowercase())))
}

fn in_force(shared: &Shared, kind: Kind, name: &Name) -> Option<Arc<Object>> {
    read(shared, |view| view.desired.objects.get(&(kind, name.clone())).cloned())
}

/// Whether they may see it; a Silence also who may mute what it is about.
fn sees(shared: &Shared, caller: &Caller, kind: Kind, name: &Name, object: &Object) -> bool {
    let may = |verb: Verb, of: Kind| read(shared, |view| caller.may(view, verb, of, name.namespace(), What::Object(object)).is_ok());
    may(Verb::View, kind)
        || may(Verb::Edit, kind)
        || (kind == Kind::Silence && (may(Verb::Silence, kind) || may(Verb::Silence, Kind::Device)))
}

/// The body, as what it is said to be.
#[expect(clippy::result_large_err, reason = "it is answered at once")]
fn object(headers: &HeaderMap, body: &[u8], is_patch: bool) -> Result<Value, Response> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let wanted = if is_patch { "application/merge-patch+json" } else { "application/json" };
    if kind != wanted {
        return Err(say(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("the body has to be {wanted}")));
    }
    match serde_json::from_slice::<Value>(body) {
        Ok(value) if value.is_object() => Ok(value),
        Ok(_) => Err(say(StatusCode::BAD_REQUEST, "the body has to be an object")),
        Err(error) => Err(say(StatusCode::BAD_REQUEST, format!("the body is not JSON: {error}"))),
    }
}

/// Names that can be of an object, and so of a file.
#[expect(clippy::result_large_err, reason = "it is answered at once")]
fn names(namespace: &str, name: &str) -> Result<(), Response> {
    if !is_name(name, MAX_NAME, true) {
        return Err(field("/metadata/name", "lower-case letters, digits, `-` and `.`, beginning and ending with a letter or a digit"));
    }
    if !is_name(namespace, MAX_NAMESPACE, false) {
        return Err(field("/metadata/namespace", "lower-case letters, digits and `-`, beginning and ending with a letter or a digit"));
    }
    Ok(())
}

fn is_name(text: &str, most: usize, dots: bool) -> bool {
    let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_part = |part: &str| part.starts_with(is_letter) && part.ends_with(is_letter) && part.chars().all(|c| is_letter(c) || c == '-');
    text.len() <= most && if dots { text.split('.').all(is_part) } else { is_part(text) }
}

async fn change(
    shared: &Shared,
    caller: &Caller,
    (kind, name): (Kind, Name),
    how: How,
    seen: Option<Arc<Object>>,
    (meant, headers): (Meant, HeaderMap),
) -> Response {
    if let Err(why) = tag::expected(&headers, seen.as_deref()) {
        return say(StatusCode::PRECONDITION_FAILED, why);
    }
    // What a token leaves out its user's Roles do not bring back.
    let unlimited = Caller { is_admin: true, ..caller.clone() };
    let verb = if kind == Kind::Silence { [Verb::Edit, Verb::Silence].as_slice() } else { &[Verb::Edit] };
    let in_scope = read(shared, |view| verb.iter().any(|verb| unlimited.may(view, *verb, kind, name.namespace(), What::Any).is_ok()));
    if !in_scope {
        return say(StatusCode::FORBIDDEN, format!("this token may not edit a {}", kind.as_str()));
    }
    let message = match meant.message.as_deref().map(str::trim).filter(|message| !message.is_empty()) {
        Some(message) if message.chars().count() > MAX_MESSAGE || message.chars().any(char::is_control) => {
            return say(StatusCode::BAD_REQUEST, format!("message: one line of {MAX_MESSAGE} characters at most"));
        }
        message => message.map(str::to_owned),
    };
    if kind == Kind::Silence
        && let Err(why) = ends_in_time(&how, seen.as_deref(), Timestamp::now())
    {
        return field("/spec/until", why);
    }
    let is_new = seen.is_none();
    let is_gone = how == How::Delete;
    let wanted = Wanted {
        key: (kind, name.clone()),
        how,
        seen,
        is_trial: meant.dry_run,
        is_forced: meant.force,
        message,
        by: author(caller),
        judged: (!caller.is_admin).then(|| caller.who.clone()),
        is_narrow: !caller.is_admin || caller.scopes.is_some(),
        is_nobody: matches!(caller.by, By::Socket | By::Operator) || (caller.by != By::Kubernetes && caller.name.starts_with("system:")),
        groups: caller.who.groups().filter(|group| is_lent(group)).map(str::to_owned).collect(),
    };
    let answered = match asked(shared, Ask::Change(Box::new(wanted)), &caller.name).await {
        Ok(value) => serde_json::from_value::<Result<Answer, Refusal>>(value),
        Err(refusal) => return refusal,
    };
    match answered {
        Ok(Ok(Answer::Same)) => Json(Same { message: "it is so already" }).into_response(),
        Ok(Ok(Answer::Tried(trial))) => tried(shared, caller, &Target::of(kind, name), trial),
        Ok(Ok(Answer::Committed(done))) => {
            let location = format!("/api/v1/commits/{}", done.commit);
            let body = CommitAnswer {
                commit: done.commit,
                branch: done.branch,
                message: done.message,
                file: done.file,
                followed: done.is_followed,
                rewritten: done.is_rewritten,
            };
            located(StatusCode::ACCEPTED, &location, Json(body).into_response())
        }
        Ok(Ok(Answer::Done { .. })) if is_gone => StatusCode::NO_CONTENT.into_response(),
        Ok(Ok(Answer::Done { is_rewritten })) => {
            let body = Json(Written { message: "it is written".into(), rewritten: is_rewritten }).into_response();
            let location = format!("/api/v1/{}/{}/{}", kind.plural(), name.namespace(), name.name());
            if is_new { located(StatusCode::CREATED, &location, body) } else { body }
        }
        // What was expected was so in force, and is not any more where it is written.
        Ok(Err(Refusal::Conflict { detail, diff: diff @ Some(_) })) if headers.contains_key(header::IF_MATCH) => {
            refusal::moved(format!("If-Match: {detail}"), diff)
        }
        Ok(Err(refused)) => refusal::response(shared, caller, kind, &name, refused),
        Err(error) => say(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// Whether the end that a Silence is given is one; what it has already may stay.
fn ends_in_time(how: &How, seen: Option<&Object>, now: Timestamp) -> Result<(), String> {
    let (How::Create(value) | How::Replace(value) | How::Merge(value)) = how else { return Ok(()) };
    // What is no time at all is found by its schema.
    let until = value.pointer("/spec/until").and_then(Value::as_str).and_then(|until| until.parse::<Timestamp>().ok());
    let before = match seen {
        Some(Object::Silence(silence)) => Some(silence.spec.until),
        _ => None,
    };
    let Some(until) = until.filter(|until| Some(*until) != before) else { return Ok(()) };
    // Who ends one now says when now is, and the request takes a while.
    let ends_now = matches!(how, How::Merge(_)) && seen.is_some() && now.duration_since(until) <= JUST_NOW;
    if until <= now && !ends_now {
        return Err("its end is over already: `until` of a PATCH may be now, a minute ago at most, to end a silence".into());
    }
    let days = LONGEST.as_hours() / 24;
    let is_longer = until.duration_since(now) > LONGEST;
    if is_longer { Err(format!("a silence ends within {days} days: whoever wants more wants another rule")) } else { Ok(()) }
}

/// Whether a group goes along to a cluster. The cluster's own don't: what the API server gives everybody, or an account, it gives by itself,
/// and who may everything there is nobody's to be.
fn is_lent(group: &str) -> bool {
    !group.starts_with("system:")
}

/// What a trial says: yes, if the change would be made; else what the change itself would be told, with what it would become.
fn tried(shared: &Shared, caller: &Caller, own: &Target, trial: Trial) -> Response {
    let Trial { diff, findings, file, is_rewritten } = trial;
    let is_wrong = |fault: &Fault| fault.severity == Severity::Error.word();
    if findings.iter().any(is_wrong) {
        let faults = findings.into_iter().filter(is_wrong).collect();
        return refusal::invalid(shared, caller, own, faults, Some(diff));
    }
    let findings = findings.into_iter().flat_map(|fault| {
        let severity = fault.severity.clone();
        let seen = refusal::seen(shared, caller, own, vec![fault]);
        seen.into_iter().map(move |error| TrialFinding { severity: severity.clone(), error })
    });
    Json(TrialAnswer { diff, findings: findings.collect(), file, rewritten: is_rewritten }).into_response()
}

fn located(status: StatusCode, location: &str, body: Response) -> Response {
    let mut response = body;
    *response.status_mut() = status;
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// Whose change it is, as a commit says it.
fn author(caller: &Caller) -> Author {
    let name: String = caller.name.chars().filter(|c| !c.is_control()).collect();
    let email = if name.contains('@') { name.clone() } else { format!("{}@localhost", name.replace(' ', "-")) };
    Author { name, email }
}

/// Asks the engine.
pub(super) async fn asked(shared: &Shared, what: Ask, by: &str) -> Result<Value, Response> {
    let (reply, answer) = oneshot::channel();
    let stopping = || say(StatusCode::SERVICE_UNAVAILABLE, "the engine is stopping");
    shared.requests.send(Request { what, by: by.to_owned(), reply }).await.map_err(|_| stopping())?;
    match answer.await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) if passes(&error) => Err(say(StatusCode::SERVICE_UNAVAILABLE, error)),
        Ok(Err(error)) => Err(say(StatusCode::CONFLICT, error)),
        Err(_) => Err(stopping()),
    }
}

/// A commit that was made here.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Commit")]
struct CommitNow {
    /// Its id.
    commit: String,
    /// `NAME <ADDRESS>`.
    author: String,
    /// What it says of itself.
    message: String,
    at: Timestamp,
    /// What became of it.
    state: CommitState,
    /// Why, or what to do.
    detail: Option<String>,
}

/// What became of a commit: for administrators, whoever wrote it, and those who may see Repositories.
async fn commit(State(shared): State<Shared>, Extension(caller): Extension<Caller>, Path(id): Path<String>) -> Response {
    let missing = || say(StatusCode::NOT_FOUND, "there is no such commit, or nothing is known of it here");
    if id.len() != 40 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return missing();
    }
    let value = match asked(&shared, Ask::Commit { id }, &caller.name).await {
        Ok(value) => value,
        Err(refusal) => return refusal,
    };
    let Ok(Some(view)) = serde_json::from_value::<Option<CommitView>>(value) else { return missing() };
    let sees_all = || read(&shared, |view| caller.may(view, Verb::View, Kind::Repository, "default", What::Any).is_ok());
    if view.author != author(&caller) && !sees_all() {
        return missing();
    }
    let CommitView { commit, author: Author { name, email }, message, at, state, detail } = view;
    Json(CommitNow { commit, author: format!("{name} <{email}>"), message, at, state, detail }).into_response()
}

#[cfg(test)]
mod tests;
