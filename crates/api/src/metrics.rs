//! Metrics in the OpenMetrics text format; labels are words from closed sets, so their number is bounded.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use reconcile::{Name, Target, parents, report};
use tokio::sync::Semaphore;

use crate::problem::Problem;
use crate::usage::{Last, Usages, underscored};
use crate::view::{SharedView, View};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Word {
    state: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Shard {
    shard: u32,
}

/// Values of devices that are shown: a scrape of more takes longer than most are given. What is left out is counted.
const VALUES: usize = 200_000;

/// Devices that are looked at before whoever writes down what they use may go on.
const AT_ONCE: usize = 1000;

/// A value of a device, and of which disk, interface or probe.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    device: String,
    item: String,
}

/// How long what was rendered is good for whoever else asks: nobody needs to see more than that.
const KEPT: Duration = Duration::from_secs(1);

/// What was rendered last, for everybody who asks, whoever they are.
pub(crate) struct Scrapes {
    turn: Arc<Semaphore>,
    last: Arc<Mutex<Option<(Instant, Bytes)>>>,
}

impl Default for Scrapes {
    fn default() -> Self {
        Self { turn: Arc::new(Semaphore::new(1)), last: Arc::default() }
    }
}

impl Scrapes {
    /// All metrics as text. It is made by one at a time and for all who wait, on no thread that answers others; who goes away meanwhile lets
    /// nobody else begin before it is done.
    pub(crate) async fn text(&self, view: &SharedView) -> Result<Bytes, Box<Problem>> {
        let stopping = |_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the engine is stopping");
        let turn = self.turn.clone().acquire_owned().await.map_err(stopping)?;
        let kept = |(at, text): &(Instant, Bytes)| (at.elapsed() < KEPT).then(|| text.clone());
        if let Some(text) = self.last.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(kept) {
            return Ok(text);
        }
        let (view, last) = (view.clone(), self.last.clone());
        let rendered = tokio::task::spawn_blocking(move || {
            let text = Bytes::from(render(&view));
            *last.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), text.clone()));
            drop(turn);
            text
        });
        rendered.await.map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
    }
}

/// What is known, as metrics. What devices use has locks of its own: nobody waits for the view while that, the most of it, is written.
fn render(view: &SharedView) -> String {
    let (mut registry, usages) = {
        let view = view.read().unwrap_or_else(PoisonError::into_inner);
        (registry(&view), view.usages.clone())
    };
    usage(&mut registry, &usages);
    let mut text = String::new();
    let _ = encode(&mut text, &registry);
    text
}

/// What the view itself has.
fn registry(view: &View) -> Registry {
    let mut registry = Registry::with_prefix("evenkeel");
    let gauge = |registry: &mut Registry, name: &str, help: &str| {
        let family = Family::<Word, Gauge<i64>>::default();
        registry.register(name, help, family.clone());
        family
    };
    let plain = |registry: &mut Registry, name: &str, help: &str, value: i64| {
        let gauge = Gauge::<i64>::default();
        gauge.set(value);
        registry.register(name, help, gauge);
    };
    let devices = gauge(&mut registry, "devices", "Devices by health");
    for name in view.desired.devices.keys() {
        let health = format!("{:?}", parents::health(&view.desired, &view.observed, name));
        devices.get_or_create(&Word { state: health }).inc();
    }
    let deployments = gauge(&mut registry, "deployments", "Deployments by phase");
    for name in view.desired.plain_deployments() {
        let deferred = view.deferred.get(name).map(Vec::as_slice).unwrap_or_default();
        let status = report::deployment(&view.desired, &view.observed, deferred, name);
        deployments.get_or_create(&Word { state: status.phase }).inc();
    }
    let waiting = gauge(&mut registry, "deferred", "Wanted changes that are put off, by what they wait for");
    for deferred in view.deferred.values().flatten().filter(|deferred| matches!(deferred.target, Target::Device(_) | Target::Deployment(_)))
    {
        waiting.get_or_create(&Word { state: deferred.waiting_on.word().into() }).inc();
    }
    let in_flight: usize = view.observed.rollouts.values().map(|rollout| rollout.in_flight().count()).sum();
    let firing = view.alerts.iter().filter(|alert| alert.counts_as_firing()).count();
    plain(&mut registry, "alerts_firing", "Alerts that fire", i64::try_from(firing).unwrap_or(i64::MAX));
    plain(&mut registry, "steps_in_flight", "Steps that are under way", i64::try_from(in_flight).unwrap_or(i64::MAX));
    let recorded = Counter::<u64>::default();
    recorded.inc_by(view.passes);
    registry.register("plans_recorded", "Plans recorded since the start", recorded);
    plain(&mut registry, "ready", "1 if the engine acts", i64::from(view.not_ready.is_none()));
    plain(
        &mut registry,
        "own_network_down",
        "1 if our own network is down, so that nothing is held against devices",
        i64::from(view.own_network_down()),
    );
    plain(&mut registry, "source_problem", "1 if the source gives nothing new", i64::from(view.source.problem.is_some()));
    let shards = Family::<Shard, Gauge<i64>>::default();
    registry.register("shard_devices", "Devices of each shard that this replica works for", shards.clone());
    for (shard, count) in &view.shards {
        shards.get_or_create(&Shard { shard: *shard }).set(i64::try_from(*count).unwrap_or(i64::MAX));
    }
    logs(&mut registry, view);
    log_keeping(&mut registry, view);
    outbox(&mut registry, view);
    let checked = view.source.checked_at.map_or(0, |at| at.as_second());
    plain(&mut registry, "source_checked_timestamp_seconds", "When the source was last looked at", checked);
    view.served.register(&mut registry);
    registry
}

/// How lines of logs are kept, archived and read.
fn log_keeping(registry: &mut Registry, view: &View) {
    let keeping = &view.log_keeping;
    let mut gauge = |name: &str, help: &str, value: u64| {
        let gauge = Gauge::<i64>::default();
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(name, help, gauge);
    };
    gauge("log_bytes", "What lines of logs take in the store, about", keeping.bytes);
    gauge("log_problem", "1 if old lines of logs can't be removed or archived", keeping.problem.is_some().into());
    gauge("log_archive_behind", "Lines of logs that are not archived yet", keeping.behind.unwrap_or(0));
    let failing = view.journals.values().filter(|journal| journal.problem.is_some()).count();
    gauge("log_journals_failing", "Devices whose journal can't be read", failing as u64);
    let removed = Family::<Word, Counter>::default();
    registry.register("log_removed", "Lines of logs that were removed from the store, by why", removed.clone());
    for (why, lines) in &keeping.removed {
        removed.get_or_create(&Word { state: (*why).into() }).inc_by(*lines);
    }
    let archived = Counter::<u64>::default();
    archived.inc_by(keeping.archived);
    registry.register("log_lines_archived", "Lines of logs that were archived", archived);
}

/// What is to be said, and what became of it.
fn outbox(registry: &mut Registry, view: &View) {
    let counted = |registry: &mut Registry, name: &str, help: &str, words: [&str; 3], counts: &BTreeMap<&'static str, u64>| {
        let family = Family::<Word, Counter>::default();
        registry.register(name, help, family.clone());
        // Also what never was: a rate of what is not there is none.
        for word in words {
            family.get_or_create(&Word { state: word.into() }).inc_by(counts.get(word).copied().unwrap_or_default());
        }
    };
    counted(
        registry,
        "notice_tries",
        "Tries to deliver a notification, by what came of them",
        ["said", "failed", "given-up"],
        &view.outbox.tries,
    );
    counted(registry, "heartbeats", "Beats of the heartbeat, by what came of them", ["sent", "failed", "withheld"], &view.outbox.beats);
    let standing = &view.outbox.standing;
    let mut plain = |name: &str, help: &str, value: i64| {
        let gauge = Gauge::<i64>::default();
        gauge.set(value);
        registry.register(name, help, gauge);
    };
    plain("notices_waiting", "Notifications that are not delivered yet", i64::try_from(standing.waiting).unwrap_or(i64::MAX));
    let oldest = standing.oldest.map_or(0, |at| at.as_second());
    plain("notices_oldest_timestamp_seconds", "When the oldest of them was written; 0 if none waits", oldest);
    let lost = i64::try_from(standing.lost.len()).unwrap_or(i64::MAX);
    plain("receivers_undelivered", "Receivers for which something was given up, and nothing arrived since", lost);
}

/// What the intake of logs counted, where there is one.
fn logs(registry: &mut Registry, view: &View) {
    if view.logs.is_empty() {
        return;
    }
    let refused = Family::<Word, Counter>::default();
    registry.register("log_refused", "Lines and connections of logs that were not taken, by why", refused.clone());
    for (name, value) in &view.logs {
        let help = match *name {
            "taken" => "Lines of logs that were taken",
            "cut" => "Lines of logs that were too long, and were cut",
            "mended" => "Lines of logs with something in them that is no text",
            "templates" | "strangers" => {
                let gauge = Gauge::<i64>::default();
                gauge.set(i64::try_from(*value).unwrap_or(i64::MAX));
                let help = if *name == "templates" { "Templates of lines that are known" } else { "Senders of logs that are no device's" };
                registry.register(format!("log_{name}"), help, gauge);
                continue;
            }
            why => {
                refused.get_or_create(&Word { state: why.into() }).inc_by(*value);
                continue;
            }
        };
        let counter = Counter::<u64>::default();
        counter.inc_by(*value);
        registry.register(format!("log_lines_{name}"), help, counter);
    }
}

/// What devices use: `evenkeel_device_memory_ratio{device="web-01"}`.
fn usage(registry: &mut Registry, usages: &Usages) {
    let (mut families, mut shown, mut left_out) = (BTreeMap::new(), 0_usize, 0_u64);
    let mut look = |name: &Name, last: &Last| {
        for (series, value) in last.usage.iter().flat_map(|usage| &usage.values) {
            if shown >= VALUES {
                left_out += 1;
                continue;
            }
            shown += 1;
            let family: &Family<Of, Gauge<f64, AtomicU64>> = families.entry(series.metric).or_default();
            family.get_or_create(&Of { device: name.to_string(), item: series.item.to_string() }).set(*value);
        }
    };
    let mut after = None;
    loop {
        let (mut looked, mut last_one) = (0, None);
        usages.each(after.as_ref(), |name, last| {
            look(name, last);
            looked += 1;
            last_one = (looked == AT_ONCE).then(|| name.clone());
            last_one.is_none()
        });
        after = last_one;
        if after.is_none() {
            break;
        }
    }
    for (metric, family) in families {
        registry.register(format!("device_{}", underscored(metric.name())), metric.help().trim_end_matches('.'), family);
    }
    let count = |registry: &mut Registry, name: &str, help: &str, value: u64| {
        let counter = Counter::<u64>::default();
        counter.inc_by(value);
        registry.register(name, help, counter);
    };
    let dropped = usages.samples().map_or(0, |samples| samples.dropped());
    count(registry, "samples_dropped", "Samples that were given up, since the database was away for too long", dropped);
    count(registry, "usage_missed", "New values that whoever judges them missed, since it was too slow", usages.missed());
    count(registry, "remote_write_dropped", "Samples that --remote-write gave up", usages.given_up());
    let left = Gauge::<i64>::default();
    left.set(i64::try_from(left_out).unwrap_or(i64::MAX));
    registry.register("device_values_left_out", "Values of devices that are not shown here, since there are too many", left);
}

#[cfg(test)]
mod tests {
    use reconcile::{Metric, Series, Usage};

    use super::*;

    /// Whoever asks while others do, or soon after, gets what was made for them.
    #[tokio::test]
    async fn many_who_ask_at_once_get_one_text() {
        let (scrapes, view) = (Scrapes::default(), SharedView::new(View::default().into()));
        let many = futures::future::join_all((0..100).map(|_| scrapes.text(&view))).await;
        let first = many[0].as_ref().unwrap();
        assert!(many.iter().all(|text| text.as_ref().unwrap().as_ptr() == first.as_ptr()), "made once");
        view.write().unwrap().passes = 7;
        assert_eq!(scrapes.text(&view).await.unwrap(), *first, "it is kept for a while");
        *scrapes.last.lock().unwrap() = None;
        let text = scrapes.text(&view).await.unwrap();
        assert!(String::from_utf8_lossy(&text).contains("evenkeel_plans_recorded_total 7"));
    }

    /// One that takes long, or hangs on the view, takes no thread from anybody, and no second one is begun.
    #[tokio::test]
    async fn a_text_that_takes_long_holds_up_nobody() {
        let (scrapes, view) = (Arc::new(Scrapes::default()), SharedView::new(View::default().into()));
        let (locked, waits) = (std::sync::mpsc::channel::<()>(), std::sync::mpsc::channel::<()>());
        let holder = std::thread::spawn({
            let view = view.clone();
            move || {
                let _view = view.write().unwrap();
                locked.0.send(()).unwrap();
                waits.1.recv().unwrap();
            }
        });
        locked.1.recv().unwrap();
        let ask = || {
            tokio::spawn({
                let (scrapes, view) = (scrapes.clone(), view.clone());
                async move { scrapes.text(&view).await.map(drop) }
            })
        };
        // Who asked first goes away, and it goes on.
        let first = ask();
        while scrapes.turn.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        first.abort();
        let second = ask();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(scrapes.turn.available_permits() == 0 && !second.is_finished(), "one at a time");
        waits.0.send(()).unwrap();
        holder.join().unwrap();
        second.await.unwrap().unwrap();
    }

    #[test]
    fn what_devices_use_is_there_under_its_name() {
        let view = View::default();
        let values = [(Series::of(Metric::MemoryRatio), 0.5), (Series::item(Metric::InterfaceReceiveErrors, "e\"0"), 2.0)];
        view.usages.took(&Name::parse("web-01"), &Arc::new(Usage { values: values.into(), ..Usage::default() }), None);
        let text = render(&SharedView::new(view.into()));
        for line in [
            "evenkeel_device_memory_ratio{device=\"web-01\",item=\"\"} 0.5\n",
            "evenkeel_device_interfaces_receive_errors{device=\"web-01\",item=\"e\\\"0\"} 2.0\n",
            "evenkeel_samples_dropped_total 0\n",
            "evenkeel_notice_tries_total{state=\"given-up\"} 0\n",
            "evenkeel_heartbeats_total{state=\"sent\"} 0\n",
            "evenkeel_device_values_left_out 0\n",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }

    #[test]
    fn devices_are_all_there_however_many_are_looked_at_at_once() {
        for count in [0, 1, AT_ONCE - 1, AT_ONCE, AT_ONCE + 1, 2 * AT_ONCE] {
            let view = View::default();
            for number in 0..count {
                let usage = Usage { values: [(Series::of(Metric::LoadOne), 1.0)].into(), ..Usage::default() };
                view.usages.took(&Name::parse(&format!("d-{number}")), &Arc::new(usage), None);
            }
            let text = render(&SharedView::new(view.into()));
            assert_eq!(text.matches("\nevenkeel_device_load_one{").count(), count);
        }
    }
}
