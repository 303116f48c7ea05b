//! Samples for others: Prometheus remote write 1.0 (<https://prometheus.io/docs/specs/prw/remote_write_spec/>), to Prometheus, Mimir or
//! VictoriaMetrics.
//!
//! What can't be sent waits, as long as there is room; then the oldest goes, and is counted. A request that the other side refuses for good
//! is given up, since it would be refused again.

mod wire;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use api::usage::{News, Usages};
use jiff::Timestamp;
use reconcile::{Name, Series};
use reqwest::StatusCode;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use tokio::time::Instant;
use zeroize::Zeroizing;

use wire::{Sample, request};

/// Samples that wait, of 64 bytes each: a quarter of an hour of 1 000 devices with 60 series each. The store has them for much longer.
const WAITING: usize = 2_000_000;
/// Samples of one request: what Prometheus sends at most by itself.
const BATCH: usize = 2000;
/// Longest wait for a request to be answered.
const ANSWER: Duration = Duration::from_secs(30);
/// Time within which what came is sent, where it is not enough for a request.
const SOON: Duration = Duration::from_secs(5);
/// Time until a failed request is tried again: twice as long each time, from the first to the second of these.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(120));

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
    let mut news = usages.on_usage();
    // The token goes to that server and to no other one.
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(ANSWER).build();
    let client = match client {
        Ok(client) => client,
        Err(error) => return tracing::error!(%error, "--remote-write: nothing is sent"),
    };
    let mut waiting: VecDeque<Sample> = VecDeque::new();
    let mut newest = Newest::new();
    let (mut next, mut failures, mut told) = (Instant::now() + SOON, 0_u32, String::new());
    loop {
        tokio::select! {
            new = news.recv() => match new {
                Some(new) => usages.gave_up(take(&new, &mut waiting, &mut newest)),
                None => return,
            },
            () = tokio::time::sleep_until(next) => {
                let many = waiting.len().min(BATCH);
                if many == 0 {
                    next = Instant::now() + SOON;
                    continue;
                }
                let batch: Vec<&Sample> = waiting.range(..many).collect();
                let error = match post(&client, &receiver, request(&batch)).await {
                    Sent::Taken => {
                        waiting.drain(..many);
                        (failures, next) = (0, Instant::now() + if waiting.len() >= BATCH { Duration::ZERO } else { SOON });
                        String::new()
                    }
                    Sent::Refused(error) => {
                        waiting.drain(..many);
                        usages.gave_up(many);
                        (failures, next) = (0, Instant::now() + SOON);
                        error
                    }
                    Sent::Later(error, after) => {
                        failures += 1;
                        let pause = AGAIN.0.saturating_mul(1 << (failures - 1).min(10)).min(AGAIN.1);
                        next = Instant::now() + after.unwrap_or(pause).min(AGAIN.1);
                        error
                    }
                };
                if error != told && !error.is_empty() {
                    tracing::warn!(error, "samples are not taken by --remote-write");
                }
                told = error;
            }
        }
    }
}

/// The instant of the last sample of each device, of each source of them (its usage, its logs, a probe), known by the first series: the
/// same one is not sent twice, and no older one.
type Newest = HashMap<(Name, Series), Timestamp>;

/// Takes in what is new; returns how many gave way to it.
fn take(new: &News, waiting: &mut VecDeque<Sample>, newest: &mut Newest) -> usize {
    let at = new.usage.at;
    let Some((first, _)) = new.usage.values.first_key_value() else { return 0 };
    let source = (new.device.clone(), first.clone());
    if newest.get(&source).is_some_and(|newest| *newest >= at) {
        return 0;
    }
    newest.insert(source, at);
    waiting.extend(new.usage.values.iter().map(|(series, value)| Sample {
        device: new.device.clone(),
        series: series.clone(),
        millisecond: at.as_millisecond(),
        value: *value,
    }));
    let over = waiting.len().saturating_sub(WAITING);
    waiting.drain(..over);
    over
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
