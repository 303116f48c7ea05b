//! The sessions of whoever asks: where they are signed in, and how that ends there.

use axum::extract::{Path, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use jiff::Timestamp;
use reconcile::record::Actor;
use schemars::JsonSchema;
use serde::Serialize;

use super::caller::Caller;
use super::gate::{Access, Routes};
use super::session::no_session;
use crate::problem::problem;
use crate::shared::Shared;
use crate::sign_in::audit::entry;
use crate::sign_in::authenticate::{Signed, unavailable};

/// Digits of a session's hash by which it is named: who knows them can show no cookie that has it.
const NAMED: usize = 16;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .add(Method::GET, "/sessions", Access::Known, list)
        .says("One's own sessions, the one that was used last first")
        .gives::<List>(200)
        .add(Method::DELETE, "/sessions/{id}", Access::Known, end)
        .says("Ends one of one's own sessions")
        .gives_nothing(204)
}

/// Where one is signed in.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SessionList")]
struct List {
    items: Vec<Session>,
    total: usize,
    /// There is one page.
    cursor: Option<String>,
}

/// A session.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Session {
    id: String,
    /// When it began.
    created_at: Timestamp,
    /// When something was last asked in it, up to a minute.
    seen_at: Timestamp,
    /// From which address it began.
    address: String,
    /// It is the one in which this was asked.
    current: bool,
}

/// Who has sessions that they may look at: a user, and none by a token that is for something else.
#[expect(clippy::result_large_err, reason = "it is answered at once")]
fn own(caller: &Caller, signed: Option<Extension<Signed>>) -> Result<Signed, Response> {
    match signed {
        Some(_) if caller.scopes.is_some() => Err(problem(StatusCode::FORBIDDEN, "a token with scopes is not for sessions")),
        Some(Extension(signed)) => Ok(signed),
        None => Err(no_session()),
    }
}

async fn list(State(shared): State<Shared>, Extension(caller): Extension<Caller>, signed: Option<Extension<Signed>>) -> Response {
    let signed = match own(&caller, signed) {
        Ok(signed) => signed,
        Err(refusal) => return refusal,
    };
    match shared.store.sessions(&signed.user.name, Timestamp::now()).await {
        Ok(sessions) => {
            let session = |session: store::users::ListedSession| Session {
                current: signed.session.as_ref() == Some(&session.hash),
                id: session.hash.chars().take(NAMED).collect(),
                created_at: session.created_at,
                seen_at: session.seen_at,
                address: session.address,
            };
            let items: Vec<Session> = sessions.into_iter().map(session).collect();
            Json(List { total: items.len(), items, cursor: None }).into_response()
        }
        Err(error) => unavailable(&error),
    }
}

async fn end(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    signed: Option<Extension<Signed>>,
    Path(id): Path<String>,
) -> Response {
    let signed = match own(&caller, signed) {
        Ok(signed) => signed,
        Err(refusal) => return refusal,
    };
    let name = &signed.user.name;
    let found = match shared.store.sessions(name, Timestamp::now()).await {
        Ok(sessions) => sessions.into_iter().find(|session| id.len() == NAMED && session.hash.starts_with(&id)),
        Err(error) => return unavailable(&error),
    };
    let Some(session) = found else { return problem(StatusCode::NOT_FOUND, "you have no such session") };
    let said = entry(Actor::user(name), "sign-out", &format!("user/{name}"), &format!("the session from {}", session.address));
    if let Err(error) = shared.store.end_session(&session.hash, said).await {
        return unavailable(&error);
    }
    shared.took_from(name);
    StatusCode::NO_CONTENT.into_response()
}
