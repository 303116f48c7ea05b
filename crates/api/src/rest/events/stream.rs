//! One listener: woken by news, at most ten times a second; kept alive; and sent away with a word why.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures::{Stream, stream};
use tokio::time::Instant;

use crate::feed::{Listeners, NoRoom, Seat};
use crate::problem::problem;
use crate::rest::caller::{By, Caller};

/// How long more news are waited for once there are some: what changes ten times in it is told once.
const GATHER: Duration = Duration::from_millis(100);
/// A comment when nothing was told for so long: proxies cut what says nothing for a minute, and so do we.
const ALIVE: Duration = Duration::from_secs(15);
/// Who takes what was written only after so long, while there is more, is too slow. A page in the background of a phone is.
const SLOW: Duration = Duration::from_secs(30);
/// The longest that one stream goes on: then the caller comes again, at its last place, and is asked once more who they are.
const LONGEST: Duration = Duration::from_secs(600);
/// When a client that was cut off comes again, in milliseconds.
const RETRY: u32 = 2000;

/// Where a listener's events come from.
pub(super) trait Source: Send + 'static {
    /// What is said at first.
    fn first(&mut self) -> String;
    /// Waits until there may be something to tell.
    fn wait(&mut self) -> impl Future<Output = ()> + Send;
    /// That, or nothing; or why there will be no more.
    fn next(&mut self) -> impl Future<Output = Result<String, &'static str>> + Send;
}

/// Takes a place for a caller.
#[expect(clippy::result_large_err, reason = "it is answered at once")]
pub(super) fn seat(listeners: &Arc<Listeners>, caller: &Caller) -> Result<Seat, Response> {
    let is_bounded = !matches!(caller.by, By::Socket | By::Operator);
    listeners.sit(&caller.name, is_bounded).map_err(|refused| {
        let (status, why) = match refused {
            NoRoom::All => (StatusCode::SERVICE_UNAVAILABLE, "too many listen already: try again later"),
            NoRoom::Caller => (StatusCode::TOO_MANY_REQUESTS, "you listen too many times already: close some of your pages"),
            NoRoom::Closed => (StatusCode::SERVICE_UNAVAILABLE, "the engine is stopping"),
        };
        let mut response = problem(status, why);
        response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("10"));
        response
    })
}

/// A listener and what it is told.
pub(super) struct Listener<S> {
    seat: Seat,
    source: S,
    began: Instant,
    /// When something was last handed to the connection; none: at the beginning.
    handed_at: Option<Instant>,
    is_over: bool,
}

impl<S: Source> Listener<S> {
    pub(super) fn new(seat: Seat, source: S) -> Self {
        Self { seat, source, began: Instant::now(), handed_at: None, is_over: false }
    }

    pub(super) fn into_response(self) -> Response {
        let headers = [
            (header::CONTENT_TYPE, "text/event-stream"),
            (header::CACHE_CONTROL, "no-store"),
            // Its place among the connections was given up.
            (header::CONNECTION, "close"),
            // For proxies that would wait until there is more: nginx, and who does as it does.
            (header::HeaderName::from_static("x-accel-buffering"), "no"),
        ];
        (headers, Body::from_stream(self.stream())).into_response()
    }

    fn stream(self) -> impl Stream<Item = Result<Bytes, Infallible>> {
        stream::unfold(self, |mut listener| async {
            let text = listener.turn().await?;
            listener.handed_at = Some(Instant::now());
            Some((Ok(Bytes::from(text)), listener))
        })
    }

    /// What is written next; none: it is over.
    async fn turn(&mut self) -> Option<String> {
        if self.is_over {
            return None;
        }
        let Some(handed_at) = self.handed_at else {
            return Some(format!("retry: {RETRY}\n{}", self.source.first()));
        };
        // Nobody asks for more before there is room for it.
        if handed_at.elapsed() > SLOW {
            return self.bye("too slow");
        }
        let ended = self.seat.ended.clone();
        let over = self.began + LONGEST;
        loop {
            let alive = handed_at + ALIVE;
            tokio::select! {
                biased;
                why = ended.wait() => return self.bye(why),
                () = tokio::time::sleep_until(over) => return self.bye("come again"),
                () = tokio::time::sleep_until(alive) => return Some(":\n\n".into()),
                () = self.source.wait() => {}
            }
            tokio::select! {
                biased;
                why = ended.wait() => return self.bye(why),
                () = tokio::time::sleep(GATHER) => {}
            }
            match self.source.next().await {
                Ok(text) if text.is_empty() => {}
                Ok(text) => return Some(text),
                Err(why) => return self.bye(why),
            }
        }
    }

    fn bye(&mut self, why: &str) -> Option<String> {
        self.is_over = true;
        Some(format!("event: bye\ndata: {}\n\n", serde_json::json!({"reason": why})))
    }
}
