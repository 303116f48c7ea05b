//! Rollouts: all of them in short, and one with what the gate of each batch says.

use std::sync::Arc;

use reconcile::content::Digest;
use reconcile::plan::StepId;
use reconcile::rollout::Batch;
use reconcile::{Name, Phase, Placement, RevisionRecord, RevisionResult, Rollout};
use serde_json::{Value, json};

use super::{World, admin, at, user};

/// The Deployment of a site as it goes on: the switch in the first batch, the server in the second one.
pub(super) fn begin(world: &World, site: &str, result: RevisionResult) {
    let mut view = world.shared.view.write().unwrap();
    let name = Name::parse(&format!("app-{site}"));
    let (content, digest) = {
        let deployment = &view.desired.deployments[&name];
        (deployment.content.clone(), deployment.digest.clone())
    };
    let [switch, server] = ["sw", "web"].map(|device| Name::parse(&format!("{device}-{site}")));
    let batch = |device: &Name, second| Batch { devices: Some(vec![device.clone()]), opened_at: at(second) };
    let ends = result != RevisionResult::Progressing;
    let record = RevisionRecord {
        number: 1,
        digest: digest.clone(),
        content,
        commit: "c0ffee".into(),
        author: "ann@example.com".into(),
        signer: None,
        started_at: at(-100),
        finished_at: ends.then(|| at(50)),
        result,
        reason: if ends { format!("device/{server} was not well") } else { String::new() },
        undone_by: None,
        batches: vec![batch(&switch, -90), batch(&server, -50)],
        revert: false,
    };
    let placed = |device: &Name, batch| {
        let placement = placement(&digest, batch);
        (device.clone(), placement)
    };
    let rollout = Rollout { history: vec![record], placements: [placed(&switch, 1), placed(&server, 2)].into(), ..Rollout::default() };
    view.observed.rollouts.insert(name, Arc::new(rollout));
}

pub(super) fn placement(digest: &Digest, batch: u32) -> Placement {
    Placement {
        revision: 1,
        digest: digest.clone(),
        batch,
        phase: Phase::Failed,
        since: at(-40),
        step: StepId(format!("step-{batch}")),
        attempt: 1,
        applied_at: None,
        healthy_before: true,
        way_back: Default::default(),
        undo: None,
        from: None,
        failure: "it hurt, as web-fra1 did".into(),
        restore_failures: 0,
        reboot_from: None,
    }
}

fn named(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["deployment"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn all_of_them_are_listed_to_who_may_see_the_deployment() {
    let world = World::new().await;
    begin(&world, "ams1", RevisionResult::Progressing);
    begin(&world, "fra1", RevisionResult::Stopped);
    for (query, expected) in [
        ("", vec!["default/app-ams1", "default/app-fra1"]),
        ("?sort=-name", vec!["default/app-fra1", "default/app-ams1"]),
        ("?phase=Failed", vec!["default/app-fra1"]),
        ("?phase=Failed,Progressing&q=ams", vec!["default/app-ams1"]),
        ("?limit=1", vec!["default/app-ams1"]),
        ("?labelSelector=a%3Db", vec![]),
        ("?namespace=lab", vec![]),
    ] {
        assert_eq!(named(&world.document(&format!("/api/v1/rollouts{query}"), &admin()).await), expected, "{query}");
    }
    let first = world.document("/api/v1/rollouts?limit=1", &admin()).await;
    assert_eq!(
        (&first["total"], &first["items"][0]["phase"], &first["items"][0]["batches"]),
        (&json!(2), &json!("Progressing"), &json!(2))
    );
    let next = world.document(&format!("/api/v1/rollouts?limit=1&cursor={}", first["cursor"].as_str().unwrap()), &admin()).await;
    assert_eq!((named(&next), &next["cursor"]), (vec!["default/app-fra1"], &Value::Null));
    let seen = world.document("/api/v1/rollouts", &user("viewer")).await;
    assert_eq!((named(&seen), &seen["total"]), (vec!["default/app-ams1"], &json!(1)));
    assert!(!seen.to_string().contains("fra1"), "{seen}");
    assert_eq!(world.document("/api/v1/rollouts", &user("suspended")).await["total"], 0);
    assert_eq!(world.document("/api/v1/rollouts?fields=phase", &user("viewer")).await["items"], json!([{"phase": "Progressing"}]));
}

#[tokio::test]
async fn each_batch_says_what_its_gate_says() {
    let world = World::new().await;
    begin(&world, "ams1", RevisionResult::Progressing);
    let told = world.document("/api/v1/rollouts/default/app-ams1", &user("viewer")).await;
    assert!(!told.to_string().contains("fra1"), "{told}");
    let gates: Vec<&Value> = told["batches"].as_array().unwrap().iter().map(|batch| &batch["gate"]).collect();
    assert_eq!((&gates[0]["state"], &gates[0]["at"]), (&json!("passed"), &json!(at(-50))));
    assert_eq!((&gates[1]["state"], &gates[1]["counts"]), (&json!("waiting"), &json!({"failed": 1})));
    let device = &told["batches"][1]["devices"][0];
    assert_eq!(device["gate"], json!({"result": "failed", "reason": "it hurt, as (hidden) did", "since": null}));

    begin(&world, "ams1", RevisionResult::Stopped);
    let told = world.document("/api/v1/rollouts/default/app-ams1", &admin()).await;
    let gate = &told["batches"][1]["gate"];
    assert_eq!((&gate["state"], &gate["reason"]), (&json!("failed"), &json!("device/web-ams1 was not well")));
}
