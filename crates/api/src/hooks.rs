//! Webhooks: anybody may send them, so that they have few places, little time, and one answer for all that is wrong.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures::future::BoxFuture;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout};

use crate::problem::problem;

/// The largest body. GitHub sends up to 25 MiB, but no more than this for a push of some hundred commits; what is larger is refused, and
/// Git is looked at on the interval as always.
const BODY: usize = 1 << 20;
/// Requests at a time, and with [`BODY`] the memory that strangers can make us use.
const PLACES: usize = 32;
/// Requests that may wait for a place; more are sent away at once, so that they don't take all connections from those who ask whether we live.
const WAITING: usize = 32;
/// How long a place is waited for, and how long the body: senders give up after ten seconds themselves.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long the answer may take.
const ANSWER: Duration = Duration::from_secs(5);
/// A refusal takes so long, whatever its reason: how long it took says nothing, and trying secrets out takes its time.
const REFUSAL: Duration = Duration::from_millis(300);

/// A webhook as it came.
#[derive(Debug)]
pub struct Hook {
    /// What follows `/hooks/`.
    pub place: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body; nobody knows yet who wrote it.
    pub body: Bytes,
}

/// What has become of a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is from whom it says, and this is what follows.
    Yes(&'static str),
    /// It is for nobody, or not from whom it says.
    No,
    /// Nobody knows yet what there is, or it is from whom it says and what should follow could not be done.
    Later(String),
}

/// Takes webhooks.
pub type Take = Arc<dyn Fn(Hook) -> BoxFuture<'static, Taken> + Send + Sync>;

/// Who takes webhooks, and how many at a time.
#[derive(Clone)]
pub struct Hooks {
    take: Take,
    places: Arc<Semaphore>,
    /// Those with a place, and those who wait for one.
    inside: Arc<Semaphore>,
}

impl Hooks {
    /// Webhooks taken by this.
    pub fn new(take: Take) -> Self {
        Self { take, places: Arc::new(Semaphore::new(PLACES)), inside: Arc::new(Semaphore::new(PLACES + WAITING)) }
    }
}

/// Answers a webhook.
pub(crate) async fn answer(hooks: Option<Hooks>, method: &Method, place: String, headers: HeaderMap, body: Body) -> Response {
    let Some(hooks) = hooks.filter(|_| *method == Method::POST) else { return refused() };
    let began = Instant::now();
    let too_many = || later("too many webhooks at once: send it again later");
    let Ok(_inside) = hooks.inside.try_acquire() else { return too_many() };
    let Ok(Ok(held)) = timeout(PATIENCE, hooks.places.acquire()).await else { return too_many() };
    let body = match timeout(PATIENCE, to_bytes(body, BODY)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return problem(StatusCode::PAYLOAD_TOO_LARGE, "its body did not come, or is larger than 1 MiB"),
        Err(_) => return problem(StatusCode::REQUEST_TIMEOUT, "its body did not come in time"),
    };
    // What was begun comes to its end, also when its sender goes away meanwhile.
    let taken = tokio::spawn((hooks.take)(Hook { place, headers, body }));
    match timeout(ANSWER, taken).await.map(|taken| taken.unwrap_or(Taken::No)) {
        Ok(Taken::Yes(what)) => (StatusCode::ACCEPTED, format!("{what}\n")).into_response(),
        Ok(Taken::No) => {
            // Whoever is refused waits outside: strangers would keep all places from others by being wrong.
            drop(held);
            sleep_until(began + REFUSAL).await;
            refused()
        }
        Ok(Taken::Later(why)) => later(&why),
        Err(_) => later("it took too long: send it again later"),
    }
}

fn refused() -> Response {
    problem(StatusCode::UNAUTHORIZED, "there is no webhook here, or its signature is not right")
}

fn later(why: &str) -> Response {
    ([(header::RETRY_AFTER, "30")], problem(StatusCode::SERVICE_UNAVAILABLE, why)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hooks() -> Hooks {
        Hooks::new(Arc::new(|hook: Hook| {
            Box::pin(async move {
                match hook.place.as_str() {
                    "good" => Taken::Yes("a look follows"),
                    "away" => Taken::Later("the API server is away".into()),
                    "hangs" => std::future::pending().await,
                    _ => Taken::No,
                }
            })
        }))
    }

    async fn said(hooks: Option<Hooks>, method: &Method, place: &str, body: Body) -> (u16, String) {
        let answer = answer(hooks, method, place.into(), HeaderMap::new(), body).await;
        let status = answer.status().as_u16();
        (status, String::from_utf8(to_bytes(answer.into_body(), BODY).await.unwrap().to_vec()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn one_answer_for_all_that_is_wrong_and_it_takes_as_long() {
        let began = Instant::now();
        let refused = said(Some(hooks()), &Method::POST, "bad", Body::empty()).await;
        assert!(began.elapsed() >= REFUSAL);
        assert_eq!((refused.0, refused.1.contains("no webhook here, or its signature")), (401, true));
        assert_eq!(said(Some(hooks()), &Method::GET, "good", Body::empty()).await, refused);
        assert_eq!(said(None, &Method::POST, "good", Body::empty()).await, refused);
        assert_eq!(said(Some(hooks()), &Method::POST, "good", Body::empty()).await, (202, "a look follows\n".into()));
        let away = said(Some(hooks()), &Method::POST, "away", Body::empty()).await;
        assert_eq!((away.0, away.1.contains("the API server is away")), (503, true));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_sends_more_or_takes_longer_than_he_may() {
        let post = |place, body| said(Some(hooks()), &Method::POST, place, body);
        assert_eq!(post("good", Body::from(vec![b'x'; BODY])).await.0, 202);
        assert_eq!(post("good", Body::from(vec![b'x'; BODY + 1])).await.0, 413);
        let slow = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(post("good", slow).await.0, 408);
        assert_eq!(post("hangs", Body::empty()).await.0, 503);
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_places_are_taken_others_wait_but_not_for_ever() {
        let hooks = hooks();
        let taken: Vec<_> = (0..PLACES).map(|_| hooks.places.clone().try_acquire_owned().unwrap()).collect();
        let (status, text) = said(Some(hooks.clone()), &Method::POST, "good", Body::empty()).await;
        assert_eq!((status, text.contains("too many webhooks")), (503, true));
        let waiting = said(Some(hooks.clone()), &Method::POST, "good", Body::empty());
        let (answer, ()) = tokio::join!(waiting, async { drop(taken) });
        assert_eq!(answer.0, 202);
        assert_eq!(hooks.places.available_permits(), PLACES);
        let _all: Vec<_> = (0..PLACES + WAITING).map(|_| hooks.inside.clone().try_acquire_owned().unwrap()).collect();
        let began = Instant::now();
        assert_eq!(said(Some(hooks.clone()), &Method::POST, "good", Body::empty()).await.0, 503);
        assert_eq!(began.elapsed(), Duration::ZERO, "not everybody may wait");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_refused_keeps_no_place_while_that_takes_its_time() {
        let hooks = hooks();
        let refused = said(Some(hooks.clone()), &Method::POST, "bad", Body::empty());
        let meanwhile = async {
            tokio::time::sleep(REFUSAL / 2).await;
            (hooks.places.available_permits(), hooks.inside.available_permits())
        };
        let (answer, free) = tokio::join!(refused, meanwhile);
        assert_eq!((answer.0, free), (401, (PLACES, PLACES + WAITING - 1)));
    }
}
