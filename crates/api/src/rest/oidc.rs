//! Sign-in at somebody else's place (OpenID Connect).

use std::collections::BTreeSet;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use reconcile::record::Actor;
use serde::Deserialize;
use store::users::{ABSOLUTE, User, UserKind};

use super::gate::{Access, Param, Routes, param};
use super::session;
use crate::problem::problem;
use crate::shared::Shared;
use crate::sign_in::audit::{entry, refused};
use crate::sign_in::authenticate::unavailable;
use crate::sign_in::cookie::Cookie;
use crate::sign_in::oidc::{Begun, Error, Vouched, own_path};
use crate::sign_in::whence::Whence;

/// How long the cookie of a sign-in lives that is under way.
const SECONDS: i64 = 600;
/// The longest code and state that are looked at.
const LONGEST: usize = 4096;

const LOGIN: [Param; 1] = [param("next", "The page to come back to.")];

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .add(Method::GET, "/oidc/login", Access::Anyone, login)
        .says("Sends a browser to the provider to sign in")
        .takes(&LOGIN)
        .gives_nothing(302)
        .add(Method::GET, "/oidc/callback", Access::Anyone, callback)
        .says("Where the provider sends it back to")
        .takes_any()
        .gives_nothing(302)
}

#[derive(Deserialize)]
struct Login {
    next: Option<String>,
}

async fn login(State(shared): State<Shared>, whence: Whence, Query(asked): Query<Login>) -> Response {
    let Some(oidc) = shared.sign_in.oidc() else { return none() };
    match oidc.begin(own_path(asked.next.as_deref()), whence).await {
        Ok(Begun { url, cookie }) => {
            let cookie = Cookie::Provider.write(&cookie, shared.sign_in.is_secure(), SECONDS);
            go(url.as_str(), cookie)
        }
        Err(error) => back(&shared, &error),
    }
}

#[derive(Deserialize)]
struct Callback {
    #[serde(default)]
    state: String,
    code: Option<String>,
}

async fn callback(State(shared): State<Shared>, whence: Whence, headers: HeaderMap, Query(asked): Query<Callback>) -> Response {
    let Some(oidc) = shared.sign_in.oidc() else { return none() };
    if asked.state.len() > LONGEST || asked.code.as_ref().is_some_and(|code| code.len() > LONGEST) {
        return back(&shared, &Error::State);
    }
    let cookie = Cookie::Provider.read(&headers, shared.sign_in.is_secure());
    let (vouched, next) = match oidc.finish(&asked.state, asked.code.as_deref(), cookie).await {
        Ok(finished) => finished,
        Err(error) => {
            say(&shared, &error, whence).await;
            return back(&shared, &error);
        }
    };
    match come_in(&shared, vouched, whence, &headers).await {
        Ok(cookie) => {
            let mut response = go(&next, Cookie::Session.write(&cookie, shared.sign_in.is_secure(), ABSOLUTE.as_secs()));
            response.headers_mut().append(header::SET_COOKIE, Cookie::Provider.write("", shared.sign_in.is_secure(), 0));
            response
        }
        Err(refusal) => *refusal,
    }
}

/// Lets in whom the provider vouches for; what the cookie of their session holds.
async fn come_in(shared: &Shared, vouched: Vouched, whence: Whence, headers: &HeaderMap) -> Result<String, Box<Response>> {
    let Vouched { issuer, subject, name, display_name, email, groups } = vouched;
    let now = Timestamp::now();
    let user = User {
        kind: UserKind::Oidc,
        display_name,
        email,
        stored: BTreeSet::new(),
        claimed: groups,
        subject: Some((issuer.clone(), subject)),
        ..User::local(&name, now)
    };
    let mut said = entry(Actor::user(&name), "vouch", &format!("user/{name}"), &format!("{issuer} says who they are"));
    said.changes = vec![format!("groups: {}", user.claimed.iter().map(String::as_str).collect::<Vec<_>>().join(", "))];
    let known = shared.store.vouch(&user, said).await;
    shared.took_from(&name);
    let user = match known {
        Ok(Some(user)) => user,
        Ok(None) => {
            let error = Error::Refused("you may not come in: an administrator has disabled your user here".into());
            say(shared, &error, whence).await;
            return Err(Box::new(back(shared, &error)));
        }
        Err(store::Error::Exists(_)) => {
            let error = Error::Refused("your name is somebody else's here: an administrator has to delete that user first".into());
            say(shared, &error, whence).await;
            return Err(Box::new(back(shared, &error)));
        }
        Err(error) => return Err(Box::new(unavailable(&error))),
    };
    let started = session::start(shared, &user, whence, headers, "by the provider").await;
    started.map_err(|error| Box::new(unavailable(&error)))
}

/// Writes down that somebody was not let in, once a minute: who it was is not known.
async fn say(shared: &Shared, error: &Error, whence: Whence) {
    let why = match error {
        Error::Away(why) | Error::Untrusted(why) => format!("{error}: {why}"),
        error => error.to_string(),
    };
    tracing::warn!(%whence, why, "a sign-in by the provider failed");
    if shared.sign_in.said().again("by the provider", Timestamp::now())
        && let Err(error) = shared.store.log(vec![refused("unknown", &format!("by the provider: {why}; from {whence}"))]).await
    {
        tracing::error!(%error, "a failed sign-in can't be written into the audit log");
    }
}

fn none() -> Response {
    problem(StatusCode::NOT_FOUND, "there is no provider to sign in with: --oidc-issuer names one")
}

/// To the page where people sign in, with what went wrong: it is a browser that reads it.
fn back(shared: &Shared, error: &Error) -> Response {
    if let Error::Away(why) = error {
        tracing::warn!(why, "the provider can't be asked");
    }
    let why: String = error
        .to_string()
        .bytes()
        .map(|byte| match byte {
            byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect();
    go(&format!("/sign-in#problem={why}"), Cookie::Provider.write("", shared.sign_in.is_secure(), 0))
}

fn go(to: &str, cookie: HeaderValue) -> Response {
    let Ok(to) = HeaderValue::try_from(to) else { return problem(StatusCode::BAD_REQUEST, "no such place") };
    let headers = [
        (header::LOCATION, to),
        (header::SET_COOKIE, cookie),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // The code is in this page's address.
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    (StatusCode::FOUND, headers).into_response()
}
