//! What comes of readings: the last values, which are shown and judged, and samples, which are stored.
//!
//! ```text
//! devices::usage::Scheduler ─► Measured ─► Usages: latest, on_usage (alert rules) ─► Samples ─► store
//! ```
//!
//! None of it gets into a status. The loop hears of it to ask the alert rules, once in a second for all readings together.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use api::usage::{News, Usages};
use api::view::SharedView;
use devices::probe::{Measurement, Measurements};
use devices::usage::Measured;
use jiff::Timestamp;
use reconcile::{Metric, Name, ProbeCode, ProbeState};
use store::{LastReading, Store};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::hands::letters::shard_of;

/// Readings that wait to be taken in; who has more waits, and reads less often meanwhile.
pub(super) const QUEUE: usize = 4096;

/// Time between two takings of what probes measured: the newest of each counts.
const PROBES: Duration = Duration::from_secs(5);

/// Takes in what probes measured, for ever.
pub(super) async fn take_in_probes(measurements: Measurements, usages: Arc<Usages>) {
    loop {
        tokio::time::sleep(PROBES).await;
        for measured in measurements.take() {
            for said in [took(&measured), found(&measured)].iter().filter(|said| !said.is_empty()) {
                usages.probe_took(&measured.device, &measured.probe, measured.at, said);
            }
        }
    }
}

/// How long a probe that passed and its parts took. Most of a run with several echo requests is the pause between them: of those it is their
/// average round trip.
fn took(measurement: &Measurement) -> Vec<(Metric, f64)> {
    if measurement.code != ProbeCode::Passed {
        return Vec::new();
    }
    let phases = measurement.measured.phases;
    let all = measurement.measured.echoes.map_or(measurement.took, |echoes| echoes.average);
    let parts = [
        (Metric::ProbeSeconds, Some(all)),
        (Metric::ProbeResolve, phases.resolve),
        (Metric::ProbeConnect, phases.connect),
        (Metric::ProbeTls, phases.tls),
        (Metric::ProbeFirstByte, phases.first_byte),
        (Metric::ProbeTransfer, phases.transfer),
    ];
    parts.into_iter().filter_map(|(metric, took)| Some((metric, took?.as_secs_f64()))).collect()
}

/// What else a probe found, also where it failed; but nothing where that says nothing about the device.
fn found(measurement: &Measurement) -> Vec<(Metric, f64)> {
    if measurement.code.state() == ProbeState::Unknown {
        return Vec::new();
    }
    let (echoes, expires) = (measurement.measured.echoes, measurement.measured.expires);
    let came_back = echoes.filter(|echoes| echoes.received > 0);
    let values = [
        (Metric::ProbeLoss, echoes.map(|echoes| f64::from(echoes.sent - echoes.received) / f64::from(echoes.sent.max(1)))),
        (Metric::ProbeRtt, came_back.map(|echoes| echoes.average.as_secs_f64())),
        (Metric::ProbeRttMin, came_back.map(|echoes| echoes.least.as_secs_f64())),
        (Metric::ProbeRttMax, came_back.map(|echoes| echoes.most.as_secs_f64())),
        (Metric::ProbeJitter, came_back.filter(|echoes| echoes.received > 1).map(|echoes| echoes.jitter.as_secs_f64())),
        (Metric::ProbeValidFor, expires.map(|end| end.duration_since(measurement.at).as_secs_f64().max(0.0))),
    ];
    values.into_iter().filter_map(|(metric, value)| Some((metric, value?))).collect()
}

/// How often what was read is handed on to the one who plans, and how often that one looks: `top` there is a minute or two behind.
const HAND_ON: Duration = Duration::from_secs(60);
/// The same for whoever takes it over.
const TAKE_OVER: Duration = Duration::from_secs(20);
/// Seconds that clocks of two machines may differ, and that a write may take: what was written meanwhile is read once more.
const SLACK: i64 = 120;
/// Devices that are written at once.
const MANY: usize = 500;

/// Hands on what this replica has read of the devices of a shard, unless it is the one who plans itself; for as long as it holds it.
pub(super) async fn hand_on(store: Arc<Store>, view: SharedView, shard: u32, shards: u32) {
    let mut told: BTreeMap<Name, Timestamp> = BTreeMap::new();
    loop {
        tokio::time::sleep(HAND_ON).await;
        let (usages, plans) = {
            let view = view.read().unwrap_or_else(PoisonError::into_inner);
            (view.usages.clone(), !view.stands_by)
        };
        if plans {
            continue;
        }
        let now = Timestamp::now().as_second();
        let mut news = Vec::new();
        usages.each(None, |device, last| {
            let at = last.usage.as_ref().map(|usage| usage.at).max(last.failing_since);
            if !last.is_far() && shard_of(device, shards) == shard && at.is_some() && told.get(device).copied() != at {
                let document = serde_json::to_string(last).unwrap_or_default();
                news.push((LastReading { device: device.clone(), at: now, document }, at));
            }
            true
        });
        for news in news.chunks(MANY) {
            let rows: Vec<LastReading> = news.iter().map(|(last, _)| last.clone()).collect();
            if let Err(error) = store.write_last_readings(&rows).await {
                tracing::debug!(%error, "the last readings can't be handed on yet");
                break;
            }
            told.extend(news.iter().filter_map(|(last, at)| Some((last.device.clone(), (*at)?))));
        }
    }
}

/// Takes over what others have read, for whoever asks the one who plans.
pub(super) async fn take_over(store: Arc<Store>, view: SharedView) {
    let mut since = Timestamp::now().as_second() - store::RAW_KEPT;
    loop {
        let begun = Timestamp::now().as_second();
        match taken_over(&store, &view, since).await {
            Ok(()) => since = begun - SLACK,
            Err(error) => tracing::debug!(%error, "what others have read can't be read yet"),
        }
        tokio::time::sleep(TAKE_OVER).await;
    }
}

async fn taken_over(store: &Store, view: &SharedView, since: i64) -> Result<(), store::Error> {
    let mut after: Option<LastReading> = None;
    loop {
        let page = store.last_readings(since, after.as_ref()).await?;
        let Some(last) = page.last().cloned() else { break };
        let (usages, desired) = {
            let view = view.read().unwrap_or_else(PoisonError::into_inner);
            (view.usages.clone(), view.desired.clone())
        };
        for reading in page.into_iter().filter(|reading| desired.devices.contains_key(&reading.device)) {
            match serde_json::from_str(&reading.document) {
                Ok(last) => usages.far(&reading.device, last),
                Err(error) => tracing::debug!(%error, device = %reading.device, "what another version has read can't be read here"),
            }
        }
        after = Some(last);
    }
    let (usages, desired) = {
        let view = view.read().unwrap_or_else(PoisonError::into_inner);
        (view.usages.clone(), view.desired.clone())
    };
    usages.keep_far(|device| desired.devices.contains_key(device));
    Ok(())
}

/// Readings that come within this time are one pass of the loop.
const GATHER: Duration = Duration::from_secs(1);

/// New readings, for the loop.
pub(super) struct Readings {
    news: mpsc::Receiver<News>,
    next: Instant,
}

impl Readings {
    /// Those that come from here.
    pub(super) fn new(news: mpsc::Receiver<News>) -> Self {
        Self { news, next: Instant::now() }
    }

    /// The next one, some time after the one before.
    pub(super) async fn next(&mut self) -> Option<News> {
        tokio::time::sleep_until(self.next).await;
        let news = self.news.recv().await;
        self.next = Instant::now() + GATHER;
        news
    }

    /// What else there is by now, all of it, and not what comes meanwhile.
    pub(super) fn also(&mut self) -> impl Iterator<Item = News> {
        (0..self.news.len()).map_while(|_| self.news.try_recv().ok())
    }
}

/// Takes in what is read, until nobody reads any more.
pub(super) async fn take_in(mut measured: mpsc::Receiver<Measured>, usages: Arc<Usages>) {
    while let Some(measured) = measured.recv().await {
        let Measured { device, at, usage, note } = measured;
        match usage {
            Ok(usage) => usages.took(&device, &usage, note),
            Err(reason) => {
                if usages.last(&device).is_none_or(|last| last.problem.is_empty()) {
                    tracing::info!(%device, reason, "its usage can't be read");
                }
                usages.failed(&device, at, reason);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use devices::probe::{self, Echoes, Phases};

    use super::*;

    fn measurement(code: ProbeCode, measured: probe::Measured) -> Measurement {
        let (device, probe, at) = (Name::parse("web-01"), "ping".into(), Timestamp::from_second(1000).unwrap());
        Measurement { device, probe, at, code, took: Duration::from_millis(75), measured }
    }

    #[test]
    fn what_echo_requests_and_certificates_say_is_taken_in_also_of_runs_that_fail() {
        let ms = Duration::from_millis;
        let echoes = Echoes { sent: 4, received: 3, least: ms(10), average: ms(20), most: ms(30), jitter: ms(15) };
        let ping = |code, echoes| measurement(code, probe::Measured { echoes: Some(echoes), ..probe::Measured::default() });
        let of_echoes = [
            (Metric::ProbeLoss, 0.25),
            (Metric::ProbeRtt, 0.02),
            (Metric::ProbeRttMin, 0.01),
            (Metric::ProbeRttMax, 0.03),
            (Metric::ProbeJitter, 0.015),
        ];
        let passed = ping(ProbeCode::Passed, echoes);
        assert_eq!((took(&passed), found(&passed)), (vec![(Metric::ProbeSeconds, 0.02)], of_echoes.to_vec()));
        let lost = ping(ProbeCode::Loss, echoes);
        assert_eq!((took(&lost), found(&lost)), (vec![], of_echoes.to_vec()));
        let silent = ping(ProbeCode::Timeout, Echoes { sent: 4, ..Echoes::default() });
        assert_eq!((took(&silent), found(&silent)), (vec![], vec![(Metric::ProbeLoss, 1.0)]));
        let excused = ping(ProbeCode::OwnNetwork, Echoes { sent: 4, ..Echoes::default() });
        assert_eq!((took(&excused), found(&excused)), (vec![], vec![]), "it says nothing about the device");
        let phases = Phases { tls: Some(ms(8)), ..Phases::default() };
        let tls = |code, end| {
            let expires = Some(Timestamp::from_second(end).unwrap());
            measurement(code, probe::Measured { phases, echoes: None, expires })
        };
        let good = tls(ProbeCode::Passed, 87_400);
        assert_eq!(took(&good), [(Metric::ProbeSeconds, 0.075), (Metric::ProbeTls, 0.008)]);
        assert_eq!(found(&good), [(Metric::ProbeValidFor, 86_400.0)]);
        assert_eq!(found(&tls(ProbeCode::CertificateExpired, 400)), [(Metric::ProbeValidFor, 0.0)]);
    }

    /// A thousand devices that are read one after the other must not be a thousand passes.
    #[tokio::test(start_paused = true)]
    async fn readings_wake_the_loop_once_in_a_second() {
        let (told, news) = mpsc::channel(100);
        let mut readings = Readings::new(news);
        tokio::spawn(async move {
            for number in 0..100 {
                let device = Name::parse(&format!("n-{number}"));
                told.send(News { device, usage: Arc::default() }).await.unwrap();
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        let (mut woken, mut taken) = (0, 0);
        while taken < 100 {
            readings.next().await.unwrap();
            woken += 1;
            taken += 1 + readings.also().count();
        }
        assert!((10..=12).contains(&woken), "{woken}");
    }
}
