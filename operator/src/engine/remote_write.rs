//! Samples for others: Prometheus remote write 1.0 (<https://prometheus.io/docs/specs/prw/remote_write_spec/>), to Prometheus, Mimir or
//! VictoriaMetrics.
//!
//! What can't be sent waits, as long as there is room; then the oldest goes, and is counted. A request that the other side refuses for good
//! is given up, since it would be refused again. A series that comes no more is ended.

mod queue;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use api::usage::{News, Usages};
use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use tokio::sync::mpsc;
use tokio::time::Instant;
use zeroize::Zeroizing;

use queue::{Queue, Room};
use wire::{Sample, request};

/// Samples of one request: what Prometheus sends at most by itself.
const BATCH: usize = 2000;
/// Longest wait for a request to be answered.
const ANSWER: Duration = Duration::from_secs(30);

/// How fast it goes, and how much waits.
#[derive(Clone, Copy)]
struct Pace {
    /// Time within which what came is sent, where it is not enough for a request.
    soon: Duration,
    /// Time until a failed request is tried again: twice as long each time, from the first to the second of these.
    again: (Duration, Duration),
    /// Time between two looks for series that have ended.
    look: Duration,
    room: Room,
}

const PACE: Pace = Pace {
    soon: Duration::from_secs(5),
    again: (Duration::from_secs(1), Duration::from_secs(120)),
    look: Duration::from_secs(15),
    room: Room {
        // Of 64 bytes each: a quarter of an hour of 1 000 devices with 60 series each. The store has them for much longer.
        waiting: 2_000_000,
        // Of 24 bytes each: those of 16 000 such devices.
        series: 1_000_000,
    },
};

/// Where samples go.
pub(crate) struct Receiver {
    pub(crate) url: reqwest::Url,
    pub(crate) token: Option<Zeroizing<String>>,
}

/// What became of a request.
enum Sent {
    Taken,
    /// Never to be tried again.
    Refused(String),
    /// To be tried again, after this time if it said so.
    Later(String, Option<Duration>),
}

/// Sends what is told, until nobody tells any more.
pub(crate) async fn send(usages: Arc<Usages>, receiver: Receiver) {
    let news = usages.on_usage();
    run(&usages, news, &receiver, PACE).await;
}

async fn run(usages: &Usages, mut news: mpsc::Receiver<News>, receiver: &Receiver, pace: Pace) {
    // The token goes to that server and to no other one.
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(ANSWER).build();
    let client = match client {
        Ok(client) => client,
        Err(error) => return tracing::error!(%error, "--remote-write: nothing is sent"),
    };
    let mut queue = Queue::new(pace.room);
    let mut requests = Requests { client, receiver, pace, failures: 0, told: String::new() };
    let (mut next, mut look) = (Instant::now() + pace.soon, Instant::now() + pace.look);
    loop {
        tokio::select! {
            new = news.recv() => match new {
                Some(new) => usages.gave_up(queue.take(&new)),
                None => return,
            },
            () = tokio::time::sleep_until(look) => {
                usages.gave_up(queue.end(usages, Timestamp::now()));
                look = Instant::now() + pace.look;
            }
            () = tokio::time::sleep_until(next) => {
                let pause = requests.send(&mut queue.waiting, usages).await;
                next = Instant::now() + pause;
            }
        }
    }
}

/// Requests to one server, one after the other.
struct Requests<'a> {
    client: reqwest::Client,
    receiver: &'a Receiver,
    pace: Pace,
    /// How many have failed in a row.
    failures: u32,
    /// What was said of the last one.
    told: String,
}

impl Requests<'_> {
    /// Sends the oldest of what waits; returns the time until that is to be done again.
    async fn send(&mut self, waiting: &mut VecDeque<Sample>, usages: &Usages) -> Duration {
        let many = waiting.len().min(BATCH);
        if many == 0 {
            return self.pace.soon;
        }
        let body = request(&waiting.range(..many).collect::<Vec<_>>());
        let (error, pause) = match post(&self.client, self.receiver, body).await {
            Sent::Taken => {
                waiting.drain(..many);
                self.failures = 0;
                (String::new(), if waiting.len() >= BATCH { Duration::ZERO } else { self.pace.soon })
            }
            Sent::Refused(error) => {
                waiting.drain(..many);
                usages.gave_up(many);
                self.failures = 0;
                (error, self.pace.soon)
            }
            Sent::Later(error, after) => {
                self.failures = self.failures.saturating_add(1);
                let dice = f64::from(u32::try_from(RandomState::new().hash_one(self.failures) >> 32).unwrap_or_default());
                (error, wait(self.pace.again, self.failures, after, dice / f64::from(u32::MAX)))
            }
        };
        if error != self.told && !error.is_empty() {
            tracing::warn!(error, "samples are not taken by --remote-write");
        }
        self.told = error;
        pause
    }
}

/// The time until a request is tried again that has failed so often in a row: what the server asks for; else half of what it may be at
/// most, and of the other half as much as the dice say, so that many senders do not all come back at once.
fn wait((shortest, longest): (Duration, Duration), failures: u32, after: Option<Duration>, dice: f64) -> Duration {
    let most = shortest.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(longest);
    after.map_or(most.mul_f64(0.5 + dice / 2.0), |after| after.max(shortest).min(longest))
}

async fn post(client: &reqwest::Client, receiver: &Receiver, body: Vec<u8>) -> Sent {
    let mut request = client
        .post(receiver.url.clone())
        .header(CONTENT_TYPE, "application/x-protobuf")
        .header(CONTENT_ENCODING, "snappy")
        .header("x-prometheus-remote-write-version", "0.1.0")
        .header("user-agent", concat!("evenkeel/", env!("CARGO_PKG_VERSION")))
        .body(body);
    if let Some(token) = &receiver.token {
        request = request.bearer_auth(token.as_str());
    }
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) => return Sent::Later(error.without_url().to_string(), None),
    };
    let status = answer.status();
    if status.is_success() {
        return Sent::Taken;
    }
    let after = answer.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok()).and_then(|after| after.parse().ok());
    // The specification: 5xx is tried again, other errors are not; 429 may be.
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Sent::Later(format!("status {status}"), after.map(Duration::from_secs));
    }
    Sent::Refused(format!("status {status}"))
}
