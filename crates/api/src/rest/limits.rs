//! What holds for every answer below `/api`: how often one may ask, how long that may take, what every answer carries, and that whatever says no
//! says it as a problem.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use tower_http::compression::CompressionLayer;
use tower_http::timeout::TimeoutLayer;

use super::caller::{By, Caller};
use crate::problem::{MEDIA_TYPE, Problem};
use crate::shared::Shared;
use crate::sign_in::whence::{Whence, network};

/// Requests of one caller in a second, and at once after a pause: a page asks for some tens, and somebody may have many of them open.
const RATE: NonZeroU32 = NonZeroU32::new(100).unwrap();
const BURST: NonZeroU32 = NonZeroU32::new(1000).unwrap();
/// Callers that are counted; those beyond share one count.
const CALLERS: usize = 10_000;
/// Time until an answer has to begin: whoever asks has gone away by then, and the engine answers within half of it.
const TIME: Duration = Duration::from_secs(60);
/// Bytes of an answer that says no, as an extractor writes it.
const WORDS: usize = 4096;

/// Who is counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    /// Somebody who is known.
    Caller(String),
    /// Somebody who is not, by where they are.
    Peer(IpAddr),
    /// All others together.
    Others,
}

/// How often each one asked.
pub(crate) struct Rates(DefaultKeyedRateLimiter<Key>);

impl Default for Rates {
    fn default() -> Self {
        Self::with(RATE, BURST)
    }
}

impl Rates {
    pub(super) fn with(rate: NonZeroU32, burst: NonZeroU32) -> Self {
        Self(RateLimiter::keyed(Quota::per_second(rate).allow_burst(burst)))
    }

    /// Counts a request, or says how long to wait.
    fn take(&self, key: Key) -> Result<(), Duration> {
        if self.0.len() >= CALLERS {
            self.0.retain_recent();
        }
        let key = if self.0.len() >= CALLERS { Key::Others } else { key };
        self.0.check_key(&key).map_err(|until| until.wait_time_from(DefaultClock::default().now()))
    }
}

/// Puts all of it around routes.
pub(super) fn around(router: Router<Shared>, rates: Arc<Rates>) -> Router<Shared> {
    router
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, TIME))
        .layer(middleware::from_fn_with_state(rates, rate))
        .layer(middleware::from_fn(finish))
        .layer(CompressionLayer::new())
}

/// Counts who asks for what is not below `/api`, together with what they ask there.
pub(crate) fn counted(router: Router<Shared>, rates: Arc<Rates>) -> Router<Shared> {
    router.layer(middleware::from_fn_with_state(rates, rate))
}

async fn rate(State(rates): State<Arc<Rates>>, request: Request, next: Next) -> Response {
    let Some(key) = key(&request) else { return next.run(request).await };
    match rates.take(key) {
        Ok(()) => next.run(request).await,
        Err(wait) => {
            let seconds = wait.as_secs() + 1;
            let mut response =
                Problem::new(StatusCode::TOO_MANY_REQUESTS, format!("too many requests: come again in {seconds} s")).into_response();
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            response
        }
    }
}

/// Who is counted; whoever has the engine in hand is not.
fn key(request: &Request) -> Option<Key> {
    match request.extensions().get::<Caller>() {
        Some(caller) if matches!(caller.by, By::Socket | By::Operator) => None,
        Some(caller) => Some(Key::Caller(caller.name.clone())),
        None => Some(request.extensions().get::<Whence>().and_then(|whence| whence.0).map_or(Key::Others, |peer| Key::Peer(network(peer)))),
    }
}

async fn finish(request: Request, next: Next) -> Response {
    let mut response = as_problem(next.run(request).await).await;
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// What says no says it as a problem, whoever wrote it: extractors, limits and the router itself answer in plain words.
pub(super) async fn as_problem(response: Response) -> Response {
    let is_problem = response.headers().get(header::CONTENT_TYPE).is_some_and(|media| media == MEDIA_TYPE);
    let status = response.status();
    if is_problem || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let (parts, body) = response.into_parts();
    let words = to_bytes(body, WORDS).await.unwrap_or_default();
    let words = String::from_utf8_lossy(&words);
    let detail = match (status, words.trim()) {
        (StatusCode::METHOD_NOT_ALLOWED, _) => "that can't be done here: `Allow` says what can".to_owned(),
        (StatusCode::SERVICE_UNAVAILABLE, "") => "the answer took too long".to_owned(),
        (status, "") => status.canonical_reason().unwrap_or("it can't be answered").to_owned(),
        (_, words) => words.to_owned(),
    };
    let mut response = Problem::new(status, detail).into_response();
    for (name, value) in &parts.headers {
        if ![header::CONTENT_TYPE, header::CONTENT_LENGTH].contains(name) {
            response.headers_mut().append(name, value.clone());
        }
    }
    response
}

/// What no route is for.
pub(super) async fn nothing(request: Request) -> Problem {
    *Problem::missing(format!("there is nothing at {}: /api/v1/openapi.json says what there is", super::asked::short(request.uri().path())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_too_often_is_told_when_to_come_again_and_nobody_else_is() {
        let rates = Rates::with(NonZeroU32::MIN, NonZeroU32::new(3).unwrap());
        let alice = || Key::Caller("alice".into());
        let taken = (0..4).filter(|_| rates.take(alice()).is_ok()).count();
        assert_eq!(taken, 3);
        assert!(rates.take(alice()).unwrap_err() <= Duration::from_secs(1));
        assert!(rates.take(Key::Caller("bob".into())).is_ok());
        assert!(rates.take(Key::Peer([192, 0, 2, 1].into())).is_ok());
    }

    #[test]
    fn those_that_are_too_many_to_be_counted_share_one_count() {
        let rates = Rates::with(NonZeroU32::MIN, NonZeroU32::new(2).unwrap());
        for number in 0..CALLERS as u32 {
            // Each has asked just now, so none is forgotten.
            let _ = rates.take(Key::Peer(number.to_be_bytes().into()));
        }
        let late: Vec<bool> = (0..4).map(|number| rates.take(Key::Caller(format!("late {number}"))).is_ok()).collect();
        assert!(rates.0.len() <= CALLERS + 1);
        assert_eq!(late.iter().filter(|taken| **taken).count(), 2, "{late:?}");
    }
}
