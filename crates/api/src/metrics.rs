//! Metrics in the OpenMetrics text format; labels are words from closed sets, so their number is bounded.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use reconcile::{Target, report};

use crate::view::View;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Word {
    state: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Shard {
    shard: u32,
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
        let health = view.observed.devices.get(name).map_or("Unknown".into(), |seen| format!("{:?}", seen.health()));
        devices.get_or_create(&Word { state: health }).inc();
    }
    let deployments = gauge(&mut registry, "deployments", "Deployments by phase");
    for name in view.desired.deployments.keys() {
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
    plain(&mut registry, "source_problem", "1 if the source gives nothing new", i64::from(view.source.problem.is_some()));
    let shards = Family::<Shard, Gauge<i64>>::default();
    registry.register("shard_devices", "Devices of each shard that this replica works for", shards.clone());
    for (shard, count) in &view.shards {
        shards.get_or_create(&Shard { shard: *shard }).set(i64::try_from(*count).unwrap_or(i64::MAX));
    }
    let checked = view.source.checked_at.map_or(0, |at| at.as_second());
    plain(&mut registry, "source_checked_timestamp_seconds", "When the source was last looked at", checked);
    let mut text = String::new();
    let _ = encode(&mut text, &registry);
    text
}
