//! `Idempotency-Key`: a request that is sent twice, since its answer was lost, is done once.
//!
//! A key belongs to who asks. The same request under it gets the same answer for a day; another one is refused. What failed on our side is
//! not kept: it may be tried again under the same key. Routes whose answers hold a secret take no part in it, since those are stored nowhere,
//! and refuse a key: who sends one relies on it.

use axum::body::{Body, Bytes, HttpBody as _, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use crds::Kind;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use store::{AnswerKept, Asked};

use super::caller::{By, Caller};
use super::limits::as_problem;
use super::refusal::say;
use crate::shared::{BODY, Shared};

/// The header.
const KEY: &str = "idempotency-key";
/// The longest key.
const MAX_KEY: usize = 255;
/// The largest answer that is kept; ours are some hundred bytes.
const MAX_ANSWER: usize = 64 << 10;
/// Beside the kinds: what is asked for below these has no secret in its answer.
const OTHERS: [&str; 3] = ["alerts", "backtest", "source"];

/// Whether requests to a path take keys.
pub(super) fn covers(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    OTHERS.contains(&first) || Kind::ALL.iter().any(|kind| kind.plural() == first)
}

/// Answers what was answered before, or lets it be done and keeps the answer. It stands behind the guard: who may not ask any more is not
/// answered.
pub(super) async fn once(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    // A dry run does nothing that could be done twice: what is tried so is done under the same key afterwards.
    let is_dry = request.uri().query().is_some_and(|query| query.split('&').any(|said| said == "dryRun=true"));
    if request.method().is_safe() || is_dry {
        return next.run(request).await;
    }
    let Some(key) = request.headers().get(KEY).cloned() else { return next.run(request).await };
    let Some(caller) = request.extensions().get::<Caller>() else { return next.run(request).await };
    let (caller, is_token) = (asker(caller), caller.by == By::Token);
    let key = match key.to_str() {
        Ok(key) if (1..=MAX_KEY).contains(&key.len()) => key.to_owned(),
        _ => return say(StatusCode::BAD_REQUEST, format!("Idempotency-Key: 1 to {MAX_KEY} letters, digits and signs")),
    };
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY).await else {
        return say(StatusCode::PAYLOAD_TOO_LARGE, format!("a request has {BODY} bytes at most"));
    };
    // A token that may less is another asker, though its user is the same; and what they expect belongs to what they ask.
    let header = |name: header::HeaderName| parts.headers.get(name).map(HeaderValue::as_bytes).unwrap_or_default();
    let token = if is_token { header(header::AUTHORIZATION) } else { &[] };
    let (expected, absent) = (header(header::IF_MATCH), header(header::IF_NONE_MATCH));
    let asked = digest(&[parts.method.as_str().as_bytes(), parts.uri.to_string().as_bytes(), &body, expected, absent, token]);
    match shared.store.ask_once(&caller, &key, &asked, Timestamp::now()).await {
        Ok(Asked::New) => {}
        Ok(Asked::Answered(kept)) => return again(kept),
        Ok(Asked::Otherwise) => {
            return say(StatusCode::UNPROCESSABLE_ENTITY, "this Idempotency-Key was used for another request: take a new one");
        }
        Ok(Asked::Open) => {
            let what =
                "this request is worked on just now, or was when the engine ended: see what came of it, and take a new key if nothing did";
            return say(StatusCode::CONFLICT, what);
        }
        Err(error) => return say(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    }
    // Whoever asked may go away: what was begun is kept all the same.
    let done = tokio::spawn(async move {
        // One that ends by a fault of ours is not left open.
        let done = tokio::spawn(async move { next.run(Request::from_parts(parts, Body::from(body))).await });
        let (response, kept) = match done.await {
            Ok(response) => keep(response).await,
            Err(_) => (say(StatusCode::INTERNAL_SERVER_ERROR, "it ended by a fault of ours"), None),
        };
        if let Err(error) = shared.store.answered(&caller, &key, kept.as_ref()).await {
            tracing::warn!(%error, "an answer could not be kept for who asks again");
        }
        response
    });
    done.await.unwrap_or_else(|_| say(StatusCode::INTERNAL_SERVER_ERROR, "it ended by a fault of ours"))
}

/// Refuses a key where none is taken. It stands behind the guard too.
pub(super) async fn none(request: Request, next: Next) -> Response {
    if request.headers().contains_key(KEY) {
        let why = "Idempotency-Key: none is taken here, since no answer is kept that may hold a secret; ask without one";
        return say(StatusCode::BAD_REQUEST, why);
    }
    next.run(request).await
}

/// Who asks: the same name known otherwise is somebody else.
fn asker(caller: &Caller) -> String {
    format!("{:?} {}", caller.by, caller.name)
}

fn digest(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hex::encode(hash.finalize())
}

/// The answer, and what is kept of it.
async fn keep(response: Response) -> (Response, Option<AnswerKept>) {
    // What an extractor says in plain words would be answered again as what it is not.
    let response = as_problem(response).await;
    // A large one is sent as it is.
    if response.body().size_hint().upper().is_none_or(|size| size > MAX_ANSWER as u64) {
        return (response, None);
    }
    let (parts, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, MAX_ANSWER).await else {
        return (say(StatusCode::INTERNAL_SERVER_ERROR, "the answer could not be made"), None);
    };
    let text = std::str::from_utf8(&bytes).ok().map(str::to_owned);
    let location = parts.headers.get(header::LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let kept = text.filter(|_| !parts.status.is_server_error());
    let kept = kept.map(|body| AnswerKept { status: parts.status.as_u16(), location, body });
    (Response::from_parts(parts, Body::from(bytes)), kept)
}

fn again(kept: AnswerKept) -> Response {
    let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = if status.is_success() { "application/json" } else { "application/problem+json" };
    let mut response = (status, Bytes::from(kept.body)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Some(location) = kept.location.and_then(|location| HeaderValue::from_str(&location).ok()) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_a_secret_is_not_kept() {
        for path in ["/devices", "/deployments/{namespace}/{name}/pause", "/alerts/{id}/acknowledge", "/source/sync"] {
            assert!(covers(path), "{path}");
        }
        for path in ["/session", "/tokens", "/users", "/session/first", "/oidc/callback", "/"] {
            assert!(!covers(path), "{path}");
        }
    }

    #[tokio::test]
    async fn a_large_answer_is_sent_whole_and_not_kept() {
        for (size, is_kept) in [(10, true), (MAX_ANSWER, true), (MAX_ANSWER + 1, false)] {
            let (response, kept) = keep("x".repeat(size).into_response()).await;
            assert_eq!(to_bytes(response.into_body(), usize::MAX).await.unwrap().len(), size);
            assert_eq!(kept.is_some(), is_kept, "{size}");
        }
        let busy = say(StatusCode::SERVICE_UNAVAILABLE, crate::view::BUSY);
        assert!(keep(busy).await.1.is_none(), "it may be tried again");
    }

    #[test]
    fn two_requests_are_told_apart() {
        assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
    }
}
