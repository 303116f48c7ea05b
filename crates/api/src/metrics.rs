//! Metrics in the OpenMetrics text format; labels are words from closed sets, so their number is bounded.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use reconcile::{Target, parents, report};

use crate::usage::underscored;
use crate::view::View;

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

/// A value of a device, and of which disk, interface or probe.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    device: String,
    item: String,
}

/// What is known, as metrics.
pub(crate) fn render(view: &View) -> String {
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
        i64::from(view.own_network_down),
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
    usage(&mut registry, view);
    let mut text = String::new();
    let _ = encode(&mut text, &registry);
    text
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
fn usage(registry: &mut Registry, view: &View) {
    let (mut families, mut shown, mut left_out) = (BTreeMap::new(), 0_usize, 0_u64);
    view.usages.each(None, |name, last| {
        for (series, value) in last.usage.iter().flat_map(|usage| &usage.values) {
            if shown >= VALUES {
                left_out += 1;
                continue;
            }
            shown += 1;
            let family: &Family<Of, Gauge<f64, AtomicU64>> = families.entry(series.metric).or_default();
            family.get_or_create(&Of { device: name.to_string(), item: series.item.to_string() }).set(*value);
        }
        true
    });
    for (metric, family) in families {
        registry.register(format!("device_{}", underscored(metric.name())), metric.help().trim_end_matches('.'), family);
    }
    let count = |registry: &mut Registry, name: &str, help: &str, value: u64| {
        let counter = Counter::<u64>::default();
        counter.inc_by(value);
        registry.register(name, help, counter);
    };
    let dropped = view.usages.samples().map_or(0, |samples| samples.dropped());
    count(registry, "samples_dropped", "Samples that were given up, since the database was away for too long", dropped);
    count(registry, "usage_missed", "New values that whoever judges them missed, since it was too slow", view.usages.missed());
    count(registry, "remote_write_dropped", "Samples that --remote-write gave up", view.usages.given_up());
    let left = Gauge::<i64>::default();
    left.set(i64::try_from(left_out).unwrap_or(i64::MAX));
    registry.register("device_values_left_out", "Values of devices that are not shown here, since there are too many", left);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use reconcile::{Metric, Name, Series, Usage};

    use super::*;

    #[test]
    fn what_devices_use_is_there_under_its_name() {
        let view = View::default();
        let values = [(Series::of(Metric::MemoryRatio), 0.5), (Series::item(Metric::InterfaceReceiveErrors, "e\"0"), 2.0)];
        view.usages.took(&Name::parse("web-01"), &Arc::new(Usage { values: values.into(), ..Usage::default() }), None);
        let text = render(&view);
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
}
