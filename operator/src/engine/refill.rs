//! What rules look back at is there again after a restart, and for a rule that is new: it is read from the store, beside the loop.
//!
//! Until it is there, windows are as unknown as they are just after a start, which neither fires nor resolves anything.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reconcile::alerting::history::KEPT;
use reconcile::{Desired, Name, Series};
use store::{AT_ONCE, Samples, Since};
use tokio::sync::mpsc;

use super::{Engine, Event};

/// Time between two tries of a store that can't be read.
const AGAIN: Duration = Duration::from_secs(5);

/// What a series of a device was, the oldest first.
#[derive(Debug, PartialEq)]
pub(crate) struct Past {
    pub(super) device: Name,
    pub(super) series: Series,
    pub(super) points: Vec<(Timestamp, f64)>,
}

/// Reads it part by part, and tells of each; who listens no more ends it. After the longest time that windows reach back they have been
/// filled anew, or there is nothing to read.
pub(super) async fn read(samples: Arc<Samples>, wanted: Vec<Since>, tell: mpsc::Sender<Event>) {
    let reading = async {
        for part in wanted.chunks(AT_ONCE) {
            let found = loop {
                match samples.since(part, Timestamp::now().as_second()).await {
                    Ok(found) => break found,
                    Err(error) => tracing::warn!(%error, "what rules look back at can't be read yet"),
                }
                tokio::time::sleep(AGAIN).await;
            };
            let past = part.iter().zip(found).filter(|(_, points)| !points.is_empty());
            let past = past.map(|(of, points)| Past { device: of.device.clone(), series: of.series.clone(), points });
            if tell.send(Event::Past(past.collect())).await.is_err() {
                return;
            }
        }
    };
    let limit = Duration::try_from(KEPT).unwrap_or_default();
    if tokio::time::timeout(limit, reading).await.is_err() {
        tracing::warn!("what rules look back at could not be read: windows fill with what is read from now on");
    }
}

impl Engine {
    /// What rules look back at is read from the store, beside the loop.
    pub(super) fn refill(&mut self, desired: &Desired) {
        let wanted = self.alerts.take_past(desired, Timestamp::now());
        let samples = self.read().usages.samples().cloned();
        if let Some(samples) = samples.filter(|_| !wanted.is_empty()) {
            tokio::spawn(read(samples, wanted, self.events.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use reconcile::alerting::rule::Rule;
    use reconcile::{Metric, Usage};
    use store::{Options, Store};

    use super::super::alerts::tests::desired;
    use super::super::judging::Judging;
    use super::*;

    fn wanted(judging: &mut Judging, desired: &Desired, now: Timestamp) -> Vec<Since> {
        let rules = || desired.rules.values().map(|rule| -> &Rule { rule });
        judging.rules(rules(), now);
        judging.take_past(rules(), desired.devices.values().map(|device| &**device), now)
    }

    /// The process is killed with a window half full: the next one has what is in the store, of what rules look back at and no more.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_window_is_filled_again_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(&Options { data: folder.path().to_owned(), url: None }).await.unwrap());
        let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
        let ago = |seconds: i64| now.checked_sub(jiff::SignedDuration::from_secs(seconds)).unwrap();
        let [cpu, memory] = [Metric::CpuRatio, Metric::MemoryRatio].map(Series::of);
        let samples = Arc::new(Samples::new(store.clone()));
        for seconds in (0..1200).step_by(30) {
            let values = BTreeMap::from([(cpu.clone(), 0.95), (memory.clone(), 0.5)]);
            for device in ["web-01", "db-01"] {
                samples.push(&Name::parse(device), &Usage { at: ago(1200 - seconds), values: values.clone() });
            }
        }
        samples.flush(now.as_second(), true).await.unwrap();

        let desired = desired("avg(usage.cpu.ratio, \"10m\") > 0.9 && usage.memory.ratio > 0.1");
        let (mut judging, web) = (Judging::default(), Name::parse("web-01"));
        let asked = wanted(&mut judging, &desired, now);
        assert_eq!(asked, [Since { device: web.clone(), series: cpu.clone(), from: ago(600).as_second() }]);
        assert_eq!(wanted(&mut judging, &desired, now), [], "once");
        let farther = super::super::alerts::tests::desired("avg(usage.cpu.ratio, \"15m\") > 0.9");
        let more = wanted(&mut judging, &farther, now);
        assert_eq!(more.iter().map(|of| of.from).collect::<Vec<_>>(), [ago(900).as_second()], "where a rule looks farther back");
        wanted(&mut judging, &desired, now);
        let (tell, mut told) = mpsc::channel(4);
        read(Arc::new(Samples::new(store)), asked, tell).await;
        let Some(Event::Past(past)) = told.recv().await else { panic!("nothing was told") };
        judging.take(now);
        judging.before(past);
        assert_eq!(judging.history(&web).window(&cpu, KEPT, now).len(), 20);
        assert!(judging.take(now).contains(&web), "and it is judged by that at once");
    }
}
