//! What comes of readings: the last values, which are shown and judged, and samples, which are stored.
//!
//! ```text
//! devices::usage::Scheduler ─► Measured ─► Usages: latest, on_usage (alert rules) ─► Samples ─► store
//! ```
//!
//! None of it gets into a status. The loop hears of it to ask the alert rules, once in a second for all readings together.

use std::sync::Arc;
use std::time::Duration;

use api::usage::{News, Usages};
use devices::probe::Measurements;
use devices::usage::Measured;
use reconcile::ProbeCode;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Readings that wait to be taken in; who has more waits, and reads less often meanwhile.
pub(super) const QUEUE: usize = 4096;

/// Time between two takings of what probes measured: the newest of each counts.
const PROBES: Duration = Duration::from_secs(5);

/// Takes in how long probes took, for ever.
pub(super) async fn take_in_probes(measurements: Measurements, usages: Arc<Usages>) {
    loop {
        tokio::time::sleep(PROBES).await;
        for measured in measurements.take().into_iter().filter(|measured| measured.code == ProbeCode::Passed) {
            usages.probe_took(&measured.device, &measured.probe, measured.at, measured.took.as_secs_f64());
        }
    }
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

    /// What else there is by now.
    pub(super) fn also(&mut self) -> Option<News> {
        self.news.try_recv().ok()
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
    use reconcile::Name;

    use super::*;

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
            taken += 1 + std::iter::from_fn(|| readings.also()).count();
        }
        assert!((10..=12).contains(&woken), "{woken}");
    }
}
