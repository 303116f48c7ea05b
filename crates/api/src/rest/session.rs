//! Signing in and out.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use jiff::Timestamp;
use reconcile::record::Actor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::users::{ABSOLUTE, ADMINS, NewSession, User, UserKind};
use tokio::sync::Semaphore;

use super::caller::{By, Caller};
use super::gate::{Access, Routes};
use crate::problem::problem;
use crate::shared::{Shared, read};
use crate::sign_in::audit::{entry, refused};
use crate::sign_in::authenticate::{Csrf, Signed, unavailable};
use crate::sign_in::cookie::Cookie;
use crate::sign_in::limits::Asked;
use crate::sign_in::lockout::Tried;
use crate::sign_in::password::Password;
use crate::sign_in::whence::Whence;
use crate::sign_in::{names, secret};

/// The longest name that is looked up at all.
const NAME: usize = 256;
/// Failed sign-ins that are being written down at once: hashing lets no more of them through in the time that this takes.
static BESIDE: Semaphore = Semaphore::const_new(32);

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .add(Method::GET, "/session", Access::Anyone, session)
        .says("Who is signed in, and how one may sign in")
        .gives::<SessionView>(200)
        .add(Method::POST, "/session", Access::Anyone, sign_in)
        .says("Signs in with a password: the answer has the cookie, and the token that each change repeats in `X-CSRF-Token`")
        .reads::<Named>()
        .gives::<SessionView>(200)
        .add(Method::DELETE, "/session", Access::Known, sign_out)
        .says("Signs out")
        .gives_nothing(204)
        .add(Method::DELETE, "/session/others", Access::Known, sign_out_elsewhere)
        .says("Signs out everywhere else")
        .gives_nothing(204)
        .add(Method::POST, "/session/first", Access::Anyone, first)
        .says("Makes the first administrator, by the one-time token that the engine printed")
        .reads::<First>()
        .gives::<SessionView>(201)
        .add(Method::POST, "/session/invitation", Access::Anyone, accept)
        .says("Chooses a password by the one-time token of an invitation, and signs in")
        .reads::<Accepted>()
        .gives::<SessionView>(201)
        .add(Method::POST, "/session/password", Access::Known, change_password)
        .says("Chooses another password; all other sessions end")
        .reads::<Changed>()
        .gives_nothing(204)
}

/// Who is signed in, as the page shows it, and how one can.
async fn session(
    State(shared): State<Shared>,
    caller: Option<Extension<Caller>>,
    signed: Option<Extension<Signed>>,
    csrf: Option<Extension<Csrf>>,
) -> Response {
    let user = caller.map(|Extension(caller)| shown(&caller, signed.as_deref()));
    answer(&shared, user, csrf.map(|Extension(Csrf(csrf))| csrf)).await
}

/// Who is signed in, and how one may sign in.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "SignedIn")]
struct SessionView {
    signed_in: bool,
    providers: Vec<Provider>,
    /// Nobody is there yet: the first administrator comes in by the one-time token.
    needs_first_user: bool,
    /// Of the engine.
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<Me>,
    /// Where objects come from: `git`, `folder` or `kubernetes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'static str>,
    /// Its URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    /// What each change repeats in `X-CSRF-Token`; where one is signed in by a cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    csrf: Option<String>,
}

/// A way to sign in.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SignInProvider")]
struct Provider {
    /// `local` or `oidc`.
    id: &'static str,
    /// What people call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    /// Where a browser goes to.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'static str>,
}

/// Who asks.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Me {
    name: String,
    display_name: String,
    email: String,
    groups: BTreeSet<String>,
    is_admin: bool,
    /// `local`, `oidc`, `kubernetes`, `token` or `socket`.
    kind: &'static str,
}

async fn answer(shared: &Shared, user: Option<Me>, csrf: Option<String>) -> Response {
    let has_users = match shared.store.has_users().await {
        Ok(has) => has,
        Err(error) => return unavailable(&error),
    };
    let mut providers = vec![Provider { id: "local", title: None, url: None }];
    if let Some(oidc) = shared.sign_in.oidc() {
        providers.push(Provider { id: "oidc", title: Some(oidc.title().to_owned()), url: Some("/api/v1/oidc/login") });
    }
    let is_in = user.is_some();
    let body = SessionView {
        signed_in: is_in,
        providers,
        needs_first_user: !has_users,
        version: env!("CARGO_PKG_VERSION"),
        user,
        mode: is_in.then(|| shared.sign_in.options().mode),
        source: is_in.then(|| read(shared, |view| view.source.url.clone())),
        csrf,
    };
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

fn shown(caller: &Caller, signed: Option<&Signed>) -> Me {
    let user = signed.map(|signed| &signed.user);
    let kind = match caller.by {
        By::Socket => "socket",
        By::Operator | By::Token => "token",
        By::Kubernetes => "kubernetes",
        By::Session => user.map_or("local", |user| kind(user.kind)),
    };
    Me {
        name: caller.name.clone(),
        display_name: user.map(|user| user.display_name.clone()).unwrap_or_default(),
        email: user.map(|user| user.email.clone()).unwrap_or_default(),
        groups: user.map(User::groups).unwrap_or_default(),
        is_admin: caller.is_admin,
        kind,
    }
}

/// As it is written.
pub(super) fn kind(kind: UserKind) -> &'static str {
    match kind {
        UserKind::Local => "local",
        UserKind::Oidc => "oidc",
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SignIn")]
struct Named {
    user: String,
    #[schemars(with = "String")]
    password: Password,
}

async fn sign_in(State(shared): State<Shared>, whence: Whence, headers: HeaderMap, Asked(asked): Asked<Named>) -> Response {
    let Named { user: name, password } = asked;
    let wrong = || problem(StatusCode::UNAUTHORIZED, "user or password is wrong");
    if name.len() > NAME {
        return wrong();
    }
    let (tried, now) = (Tried::new(&name, whence), Timestamp::now());
    match tried.begin(&shared.store, now).await {
        Ok(None) => {}
        Ok(Some(until)) => return locked(until, now),
        Err(error) => return unavailable(&error),
    }
    let found = async {
        let user = shared.store.user(&name).await?;
        // Whoever can't come in by a password is looked up and compared like everybody else.
        let hash = shared.store.password_of(&name).await?;
        Ok::<_, store::Error>((user, hash))
    };
    let (user, hash) = match found.await {
        Ok(found) => found,
        Err(error) => return unavailable(&error),
    };
    let may = user.as_ref().is_some_and(|user| user.kind == UserKind::Local && !user.disabled);
    let Ok(is_right) = shared.sign_in.hashing().is(password, hash.filter(|_| may)).await else { return busy() };
    match user.filter(|_| is_right) {
        Some(user) => {
            if let Err(error) = tried.succeeded(&shared.store, Timestamp::now()).await {
                return unavailable(&error);
            }
            begin(&shared, &user, whence, &headers, StatusCode::OK, "by password").await
        }
        None => {
            beside(shared, name, whence);
            wrong()
        }
    }
}

/// Says it beside the answer: how long that takes would tell whether there is such a user.
fn beside(shared: Shared, name: String, whence: Whence) {
    let Ok(place) = BESIDE.try_acquire() else {
        tracing::warn!(%whence, "a sign-in failed; so many do that it is not written into the audit log");
        return;
    };
    tokio::spawn(async move {
        say_refused(&shared, &name, whence).await;
        drop(place);
    });
}

/// What was typed as a name may be a password: only names of users are written down.
async fn say_refused(shared: &Shared, name: &str, whence: Whence) {
    let known = matches!(shared.store.user(name).await, Ok(Some(_)));
    let name = if known { name } else { "unknown" };
    if !shared.sign_in.said().again(name, Timestamp::now()) {
        return;
    }
    tracing::warn!(user = name, %whence, "a sign-in failed");
    let message = if known { "the password is wrong, or they may not come in" } else { "there is no such user" };
    let entry = refused(name, &format!("{message}; from {whence}; further ones within a minute are not written down"));
    if let Err(error) = shared.store.log(vec![entry]).await {
        tracing::error!(%error, "a failed sign-in can't be written into the audit log");
    }
}

/// Begins a session with an id of its own, in place of whatever this browser had before.
pub(super) async fn begin(shared: &Shared, user: &User, whence: Whence, headers: &HeaderMap, status: StatusCode, how: &str) -> Response {
    let cookie = match start(shared, user, whence, headers, how).await {
        Ok(cookie) => cookie,
        Err(error) => return unavailable(&error),
    };
    let caller = Caller { is_admin: user.is_admin(), ..Caller::owner(&user.name, By::Session) };
    let signed = Signed { user: user.clone(), session: None, token: None, seen_at: None };
    let mut response = answer(shared, Some(shown(&caller, Some(&signed))), Some(secret::csrf(&cookie))).await;
    *response.status_mut() = status;
    response.headers_mut().insert(header::SET_COOKIE, Cookie::Session.write(&cookie, shared.sign_in.is_secure(), ABSOLUTE.as_secs()));
    response
}

/// Begins a session; what its cookie holds.
pub(super) async fn start(shared: &Shared, user: &User, whence: Whence, headers: &HeaderMap, how: &str) -> Result<String, store::Error> {
    let cookie = secret::random();
    let before = Cookie::Session.read(headers, shared.sign_in.is_secure()).map(secret::hash);
    let (hash, address) = (secret::hash(&cookie), whence.to_string());
    let new = NewSession { user: &user.name, hash: &hash, address: &address, instead_of: before.as_deref(), at: Timestamp::now() };
    let said = entry(Actor::user(&user.name), "sign-in", &format!("user/{}", user.name), &format!("{how}, from {whence}"));
    shared.store.start_session(&new, said).await?;
    shared.sign_in.known().forget();
    Ok(cookie)
}

fn locked(until: Timestamp, now: Timestamp) -> Response {
    let seconds = until.duration_since(now).as_secs().max(0) + 1;
    let text = format!("too many failed sign-ins: try again in {seconds} s");
    ([(header::RETRY_AFTER, seconds.to_string())], problem(StatusCode::TOO_MANY_REQUESTS, text)).into_response()
}

/// So many want a password looked at that this one can't be.
pub(super) fn busy() -> Response {
    ([(header::RETRY_AFTER, "5")], problem(StatusCode::SERVICE_UNAVAILABLE, "too many sign-ins at once: try again")).into_response()
}

async fn sign_out(State(shared): State<Shared>, signed: Option<Extension<Signed>>) -> Response {
    let Some((signed, hash)) = signed.and_then(|Extension(signed)| signed.session.clone().map(|hash| (signed, hash))) else {
        return no_session();
    };
    let name = &signed.user.name;
    let said = entry(Actor::user(name), "sign-out", &format!("user/{name}"), "");
    if let Err(error) = shared.store.end_session(&hash, said).await {
        return unavailable(&error);
    }
    shared.took_from(name);
    let gone = Cookie::Session.write("", shared.sign_in.is_secure(), 0);
    (StatusCode::NO_CONTENT, [(header::SET_COOKIE, gone)]).into_response()
}

async fn sign_out_elsewhere(State(shared): State<Shared>, signed: Option<Extension<Signed>>) -> Response {
    let Some(Extension(signed)) = signed.filter(|signed| signed.session.is_some()) else { return no_session() };
    let name = &signed.user.name;
    let said = entry(Actor::user(name), "sign-out", &format!("user/{name}"), "everywhere else");
    if let Err(error) = shared.store.end_other_sessions(name, signed.session.as_deref(), said).await {
        return unavailable(&error);
    }
    shared.took_from(name);
    StatusCode::NO_CONTENT.into_response()
}

pub(super) fn no_session() -> Response {
    problem(StatusCode::CONFLICT, "there is no session: this was asked by a token, or on the machine itself")
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "FirstAdministrator")]
struct First {
    #[schemars(with = "String")]
    token: Password,
    user: String,
    #[schemars(with = "String")]
    password: Password,
    #[serde(default)]
    display_name: String,
}

/// The first administrator, by the token that the engine printed.
async fn first(State(shared): State<Shared>, whence: Whence, headers: HeaderMap, Asked(asked): Asked<First>) -> Response {
    let First { token, user: name, password, display_name } = asked;
    if let Err(refusal) = may_try(&shared, "first token", whence, shared.sign_in.is_first_token(token.as_str())).await {
        return refusal;
    }
    let fits = names::local(&name).and_then(|()| names::display(&display_name)).and_then(|()| password.suits(&name));
    if let Err(why) = fits {
        return problem(StatusCode::UNPROCESSABLE_ENTITY, why);
    }
    let Ok(hash) = shared.sign_in.hashing().hash(password).await else { return busy() };
    let mut user = User { display_name, has_password: true, ..User::local(&name, Timestamp::now()) };
    user.stored.insert(ADMINS.into());
    let said = entry(Actor::user(&name), "add", &format!("user/{name}"), "the first administrator, by the one-time token");
    match shared.store.add_user(&user, Some(&hash), None, true, said).await {
        Ok(()) => shared.sign_in.first_token_is_used(),
        Err(store::Error::Exists(_)) => return problem(StatusCode::CONFLICT, "there are users already: sign in"),
        Err(error) => return unavailable(&error),
    }
    begin(&shared, &user, whence, &headers, StatusCode::CREATED, "as the first administrator").await
}

/// A one-time token is tried. Each that does not count is held against the address, as a wrong password is.
async fn may_try(shared: &Shared, what: &str, whence: Whence, is_right: bool) -> Result<(), Response> {
    let (tried, now) = (Tried::by_address(what, whence), Timestamp::now());
    match tried.begin(&shared.store, now).await {
        Ok(None) => {}
        Ok(Some(until)) => return Err(locked(until, now)),
        Err(error) => return Err(unavailable(&error)),
    }
    if !is_right {
        return Err(problem(StatusCode::UNAUTHORIZED, "that one-time token does not count, or no more"));
    }
    tried.succeeded(&shared.store, now).await.map_err(|error| unavailable(&error))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AcceptedInvitation")]
struct Accepted {
    #[schemars(with = "String")]
    token: Password,
    #[schemars(with = "String")]
    password: Password,
}

/// Who was invited chooses a password, and is in.
async fn accept(State(shared): State<Shared>, whence: Whence, headers: HeaderMap, Asked(asked): Asked<Accepted>) -> Response {
    let (hash, now) = (secret::hash(asked.token.as_str()), Timestamp::now());
    let invited = match shared.store.invited(&hash, now).await {
        Ok(invited) => invited,
        Err(error) => return unavailable(&error),
    };
    if let Err(refusal) = may_try(&shared, "invitation", whence, invited.is_some()).await {
        return refusal;
    }
    let name = invited.unwrap_or_default();
    if let Err(why) = asked.password.suits(&name) {
        return problem(StatusCode::UNPROCESSABLE_ENTITY, why);
    }
    let Ok(password) = shared.sign_in.hashing().hash(asked.password).await else { return busy() };
    let said = entry(Actor::user(&name), "set-password", &format!("user/{name}"), "by the one-time token of an invitation");
    let accepted = shared.store.accept_invitation(&hash, &password, now, said).await;
    shared.took_from(&name);
    let user = match accepted {
        Ok(true) => shared.store.user(&name).await,
        Ok(false) => Ok(None),
        Err(error) => Err(error),
    };
    match user {
        Ok(Some(user)) if !user.disabled => begin(&shared, &user, whence, &headers, StatusCode::CREATED, "by an invitation").await,
        Ok(_) => problem(StatusCode::UNAUTHORIZED, "that one-time token does not count, or no more"),
        Err(error) => unavailable(&error),
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ChangedPassword")]
struct Changed {
    #[schemars(with = "String")]
    old: Password,
    #[schemars(with = "String")]
    new: Password,
}

async fn change_password(
    State(shared): State<Shared>,
    whence: Whence,
    signed: Option<Extension<Signed>>,
    Asked(asked): Asked<Changed>,
) -> Response {
    let Some(Extension(signed)) = signed.filter(|signed| signed.session.is_some()) else { return no_session() };
    let name = &signed.user.name;
    if signed.user.kind != UserKind::Local {
        return problem(StatusCode::CONFLICT, "your password is kept by the provider that you sign in with");
    }
    let (tried, now) = (Tried::new(name, whence), Timestamp::now());
    match tried.begin(&shared.store, now).await {
        Ok(None) => {}
        Ok(Some(until)) => return locked(until, now),
        Err(error) => return unavailable(&error),
    }
    let hash = match shared.store.password_of(name).await {
        Ok(hash) => hash,
        Err(error) => return unavailable(&error),
    };
    match shared.sign_in.hashing().is(asked.old, hash).await {
        Ok(true) => {}
        Ok(false) => return problem(StatusCode::FORBIDDEN, "the old password is wrong"),
        Err(_) => return busy(),
    }
    if let Err(error) = tried.succeeded(&shared.store, now).await {
        return unavailable(&error);
    }
    if let Err(why) = asked.new.suits(name) {
        return problem(StatusCode::UNPROCESSABLE_ENTITY, why);
    }
    let Ok(password) = shared.sign_in.hashing().hash(asked.new).await else { return busy() };
    let said = entry(Actor::user(name), "set-password", &format!("user/{name}"), "their own; all their other sessions end");
    if let Err(error) = shared.store.set_password(name, &password, signed.session.as_deref(), said).await {
        return unavailable(&error);
    }
    shared.took_from(name);
    StatusCode::NO_CONTENT.into_response()
}
