//! What a pass costs that finds nothing to do, by the size of the fleet: `bench_pass DEVICES`. Prints `name<TAB>value<TAB>unit`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crds::{Kind, Object};
use jiff::Timestamp;
use reconcile::{
    Contact, Desired, DeviceSeen, Digest, ItemKey, ItemSeen, Name, Observed, Phase, Placement, ProbeSeen, ProbeState, Revision,
    RevisionRecord, RevisionResult, Rollout, plan,
};
use serde_json::json;

/// Deployments that share the fleet.
const UNITS: usize = 20;
/// Passes that are measured; the fastest counts, since the machine does other things too.
const PASSES: usize = 9;

fn main() {
    let devices: usize = std::env::args().nth(1).and_then(|size| size.parse().ok()).unwrap_or(1000);
    let now: Timestamp = "2026-11-24T12:00:00Z".parse().expect("an instant");
    let empty = resident();
    let (desired, findings) = Desired::build(objects(devices), Revision { commit: "1".into(), ..Revision::default() });
    assert!(findings.is_empty(), "{findings:?}");
    let observed = observed(&desired, now);
    let mut best = f64::MAX;
    for _ in 0..PASSES {
        let begin = Instant::now();
        let plan = plan(&desired, &observed, now);
        best = best.min(begin.elapsed().as_secs_f64());
        assert!(plan.steps.is_empty() && plan.deferred.is_empty(), "{plan}");
    }
    println!("pass_{devices}\t{:.3}\tms", best * 1000.0);
    println!("resident_{devices}\t{:.1}\tMiB", resident() - empty);
}

fn objects(devices: usize) -> impl Iterator<Item = Arc<Object>> {
    let object = |kind: Kind, name: String, labels: serde_json::Value, spec: serde_json::Value| {
        let value = json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": kind.as_str(), "metadata": {"name": name, "labels": labels}, "spec": spec});
        Arc::new(Object::from_value(kind, value).expect("an object"))
    };
    let device = move |number: usize| {
        let address = format!("10.{}.{}.{}", number >> 16 & 255, number >> 8 & 255, number & 255);
        let spec = json!({"type": "Server", "address": address, "access": {"ssh": {"user": "ops", "hostKeys": ["ssh-ed25519 AAAA"]}},
            "probes": [{"name": "web", "http": {"port": 80}}]});
        object(
            Kind::Device,
            format!("d-{number:06}"),
            json!({"unit": format!("u{}", number % UNITS), "site": format!("s{}", number % 7)}),
            spec,
        )
    };
    let unit = move |number: usize| {
        let spec = json!({"selector": {"matchLabels": {"unit": format!("u{number}")}}, "package": {"apt": {"name": "app", "version": "1.0-1"}},
            "service": {"unit": "app"}, "strategy": {"groupBy": ["site"]}});
        object(Kind::Deployment, format!("u-{number}"), json!({}), spec)
    };
    (0..devices).map(device).chain((0..UNITS).map(unit))
}

/// Everything is as it should be, and was brought there by us.
fn observed(desired: &Desired, now: Timestamp) -> Observed {
    let before = now.checked_sub(jiff::SignedDuration::from_hours(1)).expect("an instant");
    let seen = |name: &Name| {
        let package = ItemSeen::Package { version: "1.0-1".into(), held: false, broken: false };
        let unit = ItemSeen::Unit { active: true, state: "active/running".into() };
        let probe = ProbeSeen { state: ProbeState::Ok, since: Some(now), seen_at: Some(now), last_ok: Some(now), ..ProbeSeen::default() };
        let seen = DeviceSeen {
            contact: Contact::Known,
            seen_at: Some(now),
            items: BTreeMap::from([(ItemKey::apt("app"), package), (ItemKey::unit("app.service"), unit)]),
            probes: BTreeMap::from([("web".to_owned(), Box::new(probe))]),
            ..DeviceSeen::default()
        };
        (name.clone(), Arc::new(seen))
    };
    let rollout = |unit: &Arc<reconcile::Deployment>| {
        let record = RevisionRecord {
            number: 1,
            digest: unit.digest.clone(),
            content: unit.content.clone(),
            commit: "1".into(),
            author: String::new(),
            signer: None,
            started_at: before,
            finished_at: Some(before),
            result: RevisionResult::Complete,
            reason: String::new(),
            batches: Vec::new(),
            revert: false,
            undone_by: None,
        };
        let placements = unit.members.iter().map(|member| (member.clone(), placement(&unit.digest, before)));
        Arc::new(Rollout { history: vec![record], placements: placements.collect(), ..Rollout::default() })
    };
    Observed {
        devices: desired.devices.keys().map(seen).collect(),
        rollouts: desired.deployments.iter().map(|(name, unit)| (name.clone(), rollout(unit))).collect(),
        ..Observed::default()
    }
}

fn placement(digest: &Digest, at: Timestamp) -> Placement {
    Placement {
        revision: 1,
        digest: digest.clone(),
        batch: 1,
        phase: Phase::Applied,
        since: at,
        step: reconcile::StepId("0123456789abcdef".into()),
        attempt: 1,
        applied_at: Some(at),
        healthy_before: true,
        way_back: reconcile::rollout::WayBackSeen::Proven,
        undo: None,
        from: None,
        failure: String::new(),
        restore_failures: 0,
        reboot_from: None,
    }
}

/// Resident memory of this process in MiB; see proc(5).
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|size| size.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}
