//! Users, as administrators see and change them.

use std::collections::BTreeSet;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use jiff::{SignedDuration, Timestamp};
use reconcile::record::Actor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::users::{Invitation, ListedUser, User, UserChange, UserKind};
use tokio::sync::Semaphore;

use super::answer;
use super::caller::Caller;
use super::gate::{Access, Param, Routes, param};
use super::session::{busy, kind};
use super::tag;
use crate::problem::problem;
use crate::shared::Shared;
use crate::sign_in::audit::entry;
use crate::sign_in::authenticate::unavailable;
use crate::sign_in::limits::Asked;
use crate::sign_in::password::Password;
use crate::sign_in::{lockout, names, secret};

/// How long an invitation counts: over a long weekend.
const INVITED: SignedDuration = SignedDuration::from_hours(4 * 24);
/// Changes at a time: what `If-Match` says is still so when it is written.
static TURN: Semaphore = Semaphore::const_new(1);
/// Users in one answer, if nothing is said.
const PAGE: usize = 100;
/// Users in one answer at most.
const MOST: usize = 1000;

const QUERY: [Param; 3] = [
    param("limit", "Users in one answer, 100 if nothing is said, 1000 at most."),
    param("cursor", "Where the next page begins, as the answer before said it."),
    param("q", "Only those with all these words in name, display name, address of mail or a group."),
];

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .add(Method::GET, "/users", Access::Admin, list)
        .says("Local users, and whom a provider vouched for")
        .takes(&QUERY)
        .gives::<List>(200)
        .add(Method::POST, "/users", Access::Admin, add)
        .says("Adds a local user; one without a password is invited to choose it")
        .reads::<New>()
        .gives::<Shown>(201)
        .add(Method::GET, "/users/{name}", Access::Admin, one)
        .says("A user, with how many sessions and tokens they have")
        .gives::<Shown>(200)
        .add(Method::PATCH, "/users/{name}", Access::Admin, change)
        .says("Changes a user: names, groups, whether they may come in")
        .reads::<Change>()
        .gives::<Shown>(200)
        .add(Method::DELETE, "/users/{name}", Access::Admin, remove)
        .says("Deletes a user with their sessions and tokens")
        .gives_nothing(204)
        .add(Method::POST, "/users/{name}/password", Access::Admin, set_password)
        .says("Sets a local user's password; their sessions end")
        .reads::<Chosen>()
        .gives_nothing(204)
        .add(Method::POST, "/users/{name}/invitation", Access::Admin, invite)
        .says("Invites a local user to choose another password")
        .gives::<Invited>(201)
        .add(Method::DELETE, "/users/{name}/sessions", Access::Admin, end_sessions)
        .says("Ends all sessions of a user")
        .gives_nothing(204)
}

/// Which users.
#[derive(Debug, Default, Deserialize)]
struct Which {
    limit: Option<usize>,
    /// The last name of the page before.
    cursor: Option<String>,
    /// In name, display name, address of mail or a group.
    q: Option<String>,
}

/// A page of users.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "UserList")]
struct List {
    items: Vec<Shown>,
    total: usize,
    /// Where the next page begins; null: this was the last.
    cursor: Option<String>,
}

/// A user.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "User")]
struct Shown {
    name: String,
    display_name: String,
    email: String,
    /// All of them.
    groups: BTreeSet<String>,
    /// Those that are kept here; the others are what a provider said.
    stored_groups: BTreeSet<String>,
    is_admin: bool,
    /// They may not come in.
    disabled: bool,
    created_at: Timestamp,
    /// `local` or `oidc`.
    kind: &'static str,
    /// How many they have.
    sessions: u64,
    /// How many they have.
    tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_sign_in: Option<Timestamp>,
    /// They have not chosen a password yet.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    invited: bool,
    /// So many wrong passwords were tried that they can't come in until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    locked_until: Option<Timestamp>,
    /// The token of the invitation of who was just added: only this answer has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    invitation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    invitation_expires_at: Option<Timestamp>,
}

/// Somebody may choose a password.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Invitation")]
struct Invited {
    /// The one-time token: only this answer has it.
    invitation: String,
    invitation_expires_at: Timestamp,
}

async fn list(State(shared): State<Shared>, Query(which): Query<Which>) -> Response {
    let now = Timestamp::now();
    let users = match shared.store.users(now).await {
        Ok(users) => users,
        Err(error) => return unavailable(&error),
    };
    let wanted = which.q.unwrap_or_default().to_lowercase();
    let is_wanted = |listed: &&ListedUser| {
        let user = &listed.user;
        let groups = user.groups();
        let texts = [&user.name, &user.display_name, &user.email].into_iter().chain(&groups);
        wanted.split_whitespace().all(|word| texts.clone().any(|text| text.to_lowercase().contains(word)))
    };
    let found: Vec<&ListedUser> = users.iter().filter(is_wanted).collect();
    let limit = which.limit.unwrap_or(PAGE).clamp(1, MOST);
    let after = |listed: &&&ListedUser| which.cursor.as_ref().is_none_or(|cursor| listed.user.name > *cursor);
    let mut page: Vec<&ListedUser> = found.iter().filter(after).take(limit + 1).copied().collect();
    let more = page.len() > limit;
    page.truncate(limit);
    let cursor = page.last().filter(|_| more).map(|last| last.user.name.clone());
    let mut items = Vec::with_capacity(page.len());
    for listed in page {
        match item(&shared, listed, now).await {
            Ok(item) => items.push(item),
            Err(error) => return unavailable(&error),
        }
    }
    Json(List { items, total: found.len(), cursor }).into_response()
}

async fn item(shared: &Shared, listed: &ListedUser, now: Timestamp) -> Result<Shown, store::Error> {
    let ListedUser { user, sessions, tokens } = listed;
    Ok(Shown {
        name: user.name.clone(),
        display_name: user.display_name.clone(),
        email: user.email.clone(),
        groups: user.groups(),
        stored_groups: user.stored.clone(),
        is_admin: user.is_admin(),
        disabled: user.disabled,
        created_at: user.created_at,
        kind: kind(user.kind),
        sessions: *sessions,
        tokens: *tokens,
        last_sign_in: user.last_sign_in,
        invited: user.kind == UserKind::Local && !user.has_password,
        locked_until: shared.store.locked_until(&lockout::of_name(&user.name), now).await?,
        invitation: None,
        invitation_expires_at: None,
    })
}

/// A user as it is answered, with what is added to it.
async fn shown(shared: &Shared, name: &str, status: StatusCode, invited: Option<Invited>) -> Response {
    let now = Timestamp::now();
    let found = async {
        let listed = shared.store.users(now).await?.into_iter().find(|listed| listed.user.name == name);
        match listed {
            Some(listed) => Ok::<_, store::Error>(Some((item(shared, &listed, now).await?, kept(&listed.user)))),
            None => Ok(None),
        }
    };
    match found.await {
        Ok(Some((mut item, kept))) => {
            let how_it_stands = answer::digest(json!(item).to_string().as_bytes());
            if let Some(Invited { invitation, invitation_expires_at }) = invited {
                (item.invitation, item.invitation_expires_at) = (Some(invitation), Some(invitation_expires_at));
            }
            let mut response = (status, Json(item)).into_response();
            if let Ok(tag) = HeaderValue::try_from(format!("\"{kept}.{how_it_stands}\"")) {
                response.headers_mut().insert(header::ETAG, tag);
            }
            response
        }
        Ok(None) => missing(name),
        Err(error) => unavailable(&error),
    }
}

/// What the tag of a user begins with, as of an object: what an administrator writes. Sessions and the like change by themselves.
fn kept(user: &User) -> String {
    answer::digest(json!([user.name, user.display_name, user.email, user.stored, user.disabled]).to_string().as_bytes())
}

/// Whether a user is as who changes them expects it.
async fn is_as_seen(shared: &Shared, headers: &HeaderMap, name: &str) -> Result<(), Box<Response>> {
    if !headers.contains_key(header::IF_MATCH) {
        return Ok(());
    }
    let user = shared.store.user(name).await.map_err(|error| unavailable(&error))?.ok_or_else(|| missing(name))?;
    let tag = format!("\"{}\"", kept(&user));
    tag::is_still(headers, Some(&tag)).map_err(|why| Box::new(problem(StatusCode::PRECONDITION_FAILED, why)))
}

fn missing(name: &str) -> Response {
    let name: String = name.chars().filter(|letter| !letter.is_control()).take(100).collect();
    problem(StatusCode::NOT_FOUND, format!("there is no user {name}"))
}

async fn one(State(shared): State<Shared>, Path(name): Path<String>) -> Response {
    shown(&shared, &name, StatusCode::OK, None).await
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "NewUser")]
struct New {
    name: String,
    #[serde(default)]
    display_name: String,
    #[serde(default)]
    email: String,
    #[serde(default)]
    groups: BTreeSet<String>,
    /// Without one the user is invited to choose it.
    #[schemars(with = "String")]
    password: Option<Password>,
}

async fn add(State(shared): State<Shared>, Extension(caller): Extension<Caller>, Asked(new): Asked<New>) -> Response {
    let New { name, display_name, email, groups, password } = new;
    let fits = names::local(&name).and_then(|()| fits(Some(&display_name), Some(&email), Some(&groups)));
    if let Err(why) = fits.and_then(|()| password.as_ref().map_or(Ok(()), |password| password.suits(&name))) {
        return problem(StatusCode::UNPROCESSABLE_ENTITY, why);
    }
    let now = Timestamp::now();
    let hash = match password {
        Some(password) => match shared.sign_in.hashing().hash(password).await {
            Ok(hash) => Some(hash),
            Err(_) => return busy(),
        },
        None => None,
    };
    let (token, invitation) = invitation(now);
    let invitation = hash.is_none().then_some(invitation);
    let user = User { display_name, email, stored: groups, has_password: hash.is_some(), ..User::local(&name, now) };
    let how = if hash.is_some() { "with a password" } else { "with an invitation" };
    let mut said = entry(Actor::user(&caller.name), "add", &format!("user/{name}"), how);
    let filled = |text: &'_ String| (!text.is_empty()).then(|| text.clone());
    let groups = (!user.stored.is_empty()).then_some(&user.stored);
    said.changes = changes(filled(&user.display_name).as_deref(), filled(&user.email).as_deref(), groups, None);
    match shared.store.add_user(&user, hash.as_deref(), invitation.as_ref(), false, said).await {
        Ok(()) => {}
        Err(error) => return refused(&error),
    }
    let invited = invitation.map(|invitation| Invited { invitation: token, invitation_expires_at: invitation.expires_at });
    shown(&shared, &name, StatusCode::CREATED, invited).await
}

fn invitation(now: Timestamp) -> (String, Invitation) {
    let token = secret::random();
    let hash = secret::hash(&token);
    (token, Invitation { hash, expires_at: now.checked_add(INVITED).unwrap_or(now) })
}

fn fits(display_name: Option<&str>, email: Option<&str>, groups: Option<&BTreeSet<String>>) -> Result<(), String> {
    display_name.map_or(Ok(()), names::display)?;
    email.map_or(Ok(()), names::email)?;
    let Some(groups) = groups else { return Ok(()) };
    if groups.len() > names::GROUPS {
        return Err(format!("a user is in {} groups at most", names::GROUPS));
    }
    groups.iter().try_for_each(|group| names::group(group))
}

/// What the audit log says has changed.
fn changes(display_name: Option<&str>, email: Option<&str>, groups: Option<&BTreeSet<String>>, disabled: Option<bool>) -> Vec<String> {
    let list = |groups: &BTreeSet<String>| groups.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let said = [
        display_name.map(|name| format!("display name: {name}")),
        email.map(|email| format!("email: {email}")),
        groups.map(|groups| format!("groups: {}", list(groups))),
        disabled.map(|disabled| format!("disabled: {disabled}")),
    ];
    said.into_iter().flatten().collect()
}

fn refused(error: &store::Error) -> Response {
    use store::Error::{Exists, LastAdmin, TooMany};
    match error {
        Exists(_) | LastAdmin | TooMany(_) => problem(StatusCode::CONFLICT, error.to_string()),
        error => unavailable(error),
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "UserChange")]
struct Change {
    display_name: Option<String>,
    email: Option<String>,
    groups: Option<BTreeSet<String>>,
    disabled: Option<bool>,
}

async fn change(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    headers: HeaderMap,
    Asked(change): Asked<Change>,
) -> Response {
    let Change { display_name, email, groups, disabled } = change;
    if let Err(why) = fits(display_name.as_deref(), email.as_deref(), groups.as_ref()) {
        return problem(StatusCode::UNPROCESSABLE_ENTITY, why);
    }
    let Ok(turn) = TURN.acquire().await else { return problem(StatusCode::SERVICE_UNAVAILABLE, "the engine is stopping") };
    if let Err(refusal) = is_as_seen(&shared, &headers, &name).await {
        return *refusal;
    }
    let mut said = entry(Actor::user(&caller.name), "change", &format!("user/{name}"), "");
    said.changes = changes(display_name.as_deref(), email.as_deref(), groups.as_ref(), disabled);
    let change = UserChange { display_name, email, groups, disabled };
    let changed = shared.store.change_user(&name, &change, said).await;
    drop(turn);
    shared.took_from(&name);
    match changed {
        Ok(true) if disabled == Some(false) => {
            // Who is let in again is not kept out by what was tried before.
            if let Err(error) = shared.store.forgive(&lockout::of_name(&name), true, Timestamp::now()).await {
                return unavailable(&error);
            }
            shown(&shared, &name, StatusCode::OK, None).await
        }
        Ok(true) => shown(&shared, &name, StatusCode::OK, None).await,
        Ok(false) => missing(&name),
        Err(error) => refused(&error),
    }
}

async fn remove(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    let Ok(turn) = TURN.acquire().await else { return problem(StatusCode::SERVICE_UNAVAILABLE, "the engine is stopping") };
    if let Err(refusal) = is_as_seen(&shared, &headers, &name).await {
        return *refusal;
    }
    let said = entry(Actor::user(&caller.name), "delete", &format!("user/{name}"), "with their sessions and tokens");
    let removed = shared.store.delete_user(&name, said).await;
    drop(turn);
    shared.took_from(&name);
    match removed {
        Ok(true) => StatusCode::NO_CONTENT.into_response(),
        Ok(false) => missing(&name),
        Err(error) => refused(&error),
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ChosenPassword")]
struct Chosen {
    #[schemars(with = "String")]
    password: Password,
}

async fn set_password(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    Asked(Chosen { password }): Asked<Chosen>,
) -> Response {
    if let Err(why) = password.suits(&name) {
        return problem(StatusCode::UNPROCESSABLE_ENTITY, why);
    }
    let Ok(hash) = shared.sign_in.hashing().hash(password).await else { return busy() };
    let said = entry(Actor::user(&caller.name), "set-password", &format!("user/{name}"), "all their sessions end");
    let set = shared.store.set_password(&name, &hash, None, said).await;
    shared.took_from(&name);
    match set {
        Ok(true) => match shared.store.forgive(&lockout::of_name(&name), true, Timestamp::now()).await {
            Ok(()) => StatusCode::NO_CONTENT.into_response(),
            Err(error) => unavailable(&error),
        },
        Ok(false) => problem(StatusCode::NOT_FOUND, "there is no such local user"),
        Err(error) => unavailable(&error),
    }
}

async fn invite(State(shared): State<Shared>, Extension(caller): Extension<Caller>, Path(name): Path<String>) -> Response {
    let (token, invitation) = invitation(Timestamp::now());
    let said = entry(Actor::user(&caller.name), "invite", &format!("user/{name}"), "to choose a password");
    match shared.store.invite(&name, &invitation, said).await {
        Ok(true) => {
            let body = Invited { invitation: token, invitation_expires_at: invitation.expires_at };
            (StatusCode::CREATED, Json(body)).into_response()
        }
        Ok(false) => problem(StatusCode::NOT_FOUND, "there is no such local user"),
        Err(error) => unavailable(&error),
    }
}

async fn end_sessions(State(shared): State<Shared>, Extension(caller): Extension<Caller>, Path(name): Path<String>) -> Response {
    let said = entry(Actor::user(&caller.name), "sign-out", &format!("user/{name}"), "all their sessions");
    match shared.store.user(&name).await {
        Ok(Some(_)) => {}
        Ok(None) => return missing(&name),
        Err(error) => return unavailable(&error),
    }
    let ended = shared.store.end_other_sessions(&name, None, said).await;
    shared.took_from(&name);
    match ended {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => unavailable(&error),
    }
}
