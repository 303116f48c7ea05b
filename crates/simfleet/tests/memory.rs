//! The ports in memory keep what ports must keep, and the suite that says so finds stores that don't.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use reconcile::record::{Actor, Record, RecordedStep, record};
use reconcile::{
    Act as _, Desired, Device, Name, Observe as _, Observed, Outcome, Plan, ProbeState, Revision, Rollout, Step, StepId, Verdict, plan,
};
use simfleet::conformance::{self, Subject};
use simfleet::memory::{Breaks, Devices, Error, Fate, Store};

/// A store, and what is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wrong {
    Nothing,
    ForgetsWhenClosed,
    WritesByHalves,
    FinishesOnce,
    DropsLateOutcomes,
}

#[derive(Clone, Debug)]
struct Kept(Store, Wrong);

impl Record for Kept {
    type Error = Error;

    async fn commit(&self, plan: &Plan, actor: &Actor, now: Timestamp) -> Result<(), Error> {
        if self.1 != Wrong::WritesByHalves {
            return self.0.commit(plan, actor, now).await;
        }
        for group in plan.steps.chunk_by(|a, b| a.unit == b.unit) {
            self.0.commit(&Plan { steps: group.to_vec(), ..plan.clone() }, actor, now).await?;
        }
        Ok(())
    }

    async fn unfinished(&self) -> Result<Vec<Step>, Error> {
        self.0.unfinished().await
    }

    async fn begun(&self, id: &StepId) -> Result<Option<Step>, Error> {
        self.0.begun(id).await
    }

    async fn finish(&self, step: &RecordedStep, outcome: &Outcome) -> Result<(), Error> {
        let unfinished = self.0.unfinished().await?;
        if self.1 == Wrong::FinishesOnce && !unfinished.iter().any(|other| other.id == step.step().id) {
            return Err(Error::Unknown(step.step().id.clone()));
        }
        let current =
            self.0.rollouts()?.values().any(|rollout| rollout.placements.values().any(|placement| placement.step == step.step().id));
        if self.1 == Wrong::DropsLateOutcomes && !current {
            return Ok(());
        }
        self.0.finish(step, outcome).await
    }
}

impl Subject for Wrong {
    type Store = Kept;

    async fn fresh(&self) -> Kept {
        Kept(Store::new(), *self)
    }

    async fn reopen(&self, store: Kept) -> Kept {
        if *self == Self::ForgetsWhenClosed { self.fresh().await } else { store.clone() }
    }

    async fn rollouts(&self, store: &Kept) -> BTreeMap<Name, Rollout> {
        store.0.rollouts().unwrap()
    }
}

#[tokio::test]
async fn the_store_conforms() {
    conformance::record(&Wrong::Nothing).await;
}

#[tokio::test]
#[should_panic(expected = "what was recorded is there after reopening")]
async fn a_store_that_forgets_does_not() {
    conformance::record(&Wrong::ForgetsWhenClosed).await;
}

#[tokio::test]
#[should_panic(expected = "nothing of a refused plan is written for the other unit")]
async fn nor_does_one_that_writes_by_halves() {
    conformance::record(&Wrong::WritesByHalves).await;
}

#[tokio::test]
#[should_panic(expected = "the same outcome again is no error")]
async fn nor_does_one_that_finishes_once_only() {
    conformance::record(&Wrong::FinishesOnce).await;
}

#[tokio::test]
#[should_panic(expected = "the late one is finished, the other is not")]
async fn nor_does_one_that_drops_late_outcomes() {
    conformance::record(&Wrong::DropsLateOutcomes).await;
}

/// One device on which a step is wanted, in memory all of it.
struct Bench {
    devices: Devices,
    device: std::sync::Arc<Device>,
    step: RecordedStep,
    now: Timestamp,
}

impl Bench {
    /// Its step is the preparation of version 1.0, for which a plan was made and recorded.
    async fn new(devices: fn(Timestamp) -> Devices) -> Self {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let of = |kind: crds::Kind, spec: serde_json::Value| {
            let metadata = serde_json::json!({"name": "web", "labels": {"role": "web"}});
            let kind_name = kind.as_str();
            let value = serde_json::json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": kind_name, "metadata": metadata, "spec": spec});
            std::sync::Arc::new(crds::Object::from_value(kind, value).unwrap())
        };
        let access = serde_json::json!({"ssh": {"hostKeys": ["ssh-ed25519 AAAA"]}});
        let device = of(crds::Kind::Device, serde_json::json!({"type": "Server", "address": "10.0.0.1", "access": access}));
        let content = serde_json::json!({"selector": {}, "package": {"apt": {"name": "web", "version": "1.0"}}});
        let objects = [device, of(crds::Kind::Deployment, content)];
        let (desired, findings) = Desired::build(objects, Revision::default());
        assert_eq!(findings, []);
        let (devices, store, actor) = (devices(now), Store::new(), Actor { kind: "commit".into(), name: "ann".into(), signer: None });
        let device = desired.devices.get(&Name::parse("web")).unwrap().clone();
        let mut observed = Observed::default();
        loop {
            let items: Vec<_> = observed.items(&desired, &device.name).into_iter().collect();
            let seen = devices.observe(&device, &items).await;
            observed.devices.insert(device.name.clone(), seen.into());
            observed.rollouts = store.rollouts().unwrap().into_iter().map(|(unit, rollout)| (unit, rollout.into())).collect();
            let plan = plan(&desired, &observed, now);
            assert!(!plan.steps.is_empty(), "it comes to a device's step: {plan}");
            let recorded = record(plan, (&desired, &observed), &actor, now, &store).await.unwrap();
            if let Some(step) = recorded.device_steps().next() {
                return Self { devices, device, step, now };
            }
        }
    }

    async fn act(&mut self, seconds: i64) -> Option<Outcome> {
        self.now += SignedDuration::from_secs(seconds);
        self.devices.set_now(self.now);
        self.devices.act(&self.device, &self.step).await
    }

    fn runs(&self) -> u32 {
        self.devices.with(&self.device.name, |machine| machine.runs().map(|(_, times)| times).sum())
    }
}

#[tokio::test]
async fn a_step_is_found_again_and_never_runs_twice() {
    let mut bench = Bench::new(Devices::new).await;
    let name = bench.device.name.clone();
    bench.devices.with(&name, |machine| machine.set_takes(SignedDuration::from_secs(10)));
    assert_eq!(bench.act(0).await, None, "it is under way");
    bench.devices.with(&name, |machine| machine.set_away(true));
    assert_eq!(bench.act(20).await, None, "nobody can see that it has ended");
    assert_eq!(bench.devices.probe(&name), None);
    assert!(!bench.devices.observe(&bench.device, &[]).await.is_reachable());
    bench.devices.with(&name, |machine| machine.set_away(false));
    let ended = bench.act(0).await.unwrap();
    assert_eq!((ended.verdict, ended.at), (Verdict::Done, bench.now - SignedDuration::from_secs(10)));
    assert_eq!(bench.act(5).await, Some(ended), "it says the same again");
    assert_eq!(bench.runs(), 1);
}

#[tokio::test]
async fn a_forgetful_device_runs_a_step_twice() {
    let mut bench = Bench::new(Devices::forgetful).await;
    bench.act(0).await;
    bench.act(0).await;
    assert_eq!(bench.runs(), 2);
}

#[tokio::test]
async fn a_step_that_loses_power_fails_and_one_that_hangs_ends_at_its_deadline() {
    let mut bench = Bench::new(Devices::new).await;
    let name = bench.device.name.clone();
    bench.devices.with(&name, |machine| machine.push_fate(Fate::Hangs));
    assert_eq!(bench.act(0).await, None);
    assert_eq!(bench.act(599).await, None);
    assert_eq!(bench.act(1).await.unwrap().message, "timed out");
    let mut bench = Bench::new(Devices::new).await;
    bench.devices.with(&name, |machine| machine.set_takes(SignedDuration::from_secs(10)));
    assert_eq!(bench.act(0).await, None);
    bench.devices.with(&name, |machine| machine.lose_power(bench.now, false));
    assert_eq!(bench.act(0).await.unwrap().verdict, Verdict::Failed);
}

#[tokio::test]
async fn a_bad_version_shows_where_it_is_installed() {
    let bench = Bench::new(Devices::new).await;
    let name = bench.device.name.clone();
    bench.devices.set_bad("6.6", Breaks::Probe);
    assert_eq!(bench.devices.probe(&name), Some(ProbeState::Ok));
    bench.devices.with(&name, |machine| machine.drift("web", Some("6.6")));
    assert_eq!(bench.devices.probe(&name), Some(ProbeState::Fail));
}
