//! The engine as far as it matters here: what it holds in memory, and its verbs.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use reconcile::record::{Actor, Error, RecordedStep, record, resume};
use reconcile::{
    Act as _, Action, Contact, Deferred, Desired, Name, Observe as _, Observed, Outcome, Plan, ProbeState, Record as _, Rollout,
};
use simfleet::memory::{self, Devices, Store};

/// What is lost when the engine is killed.
#[derive(Default)]
pub struct Engine {
    pub observed: Observed,
    /// Recorded steps without a known outcome.
    pub steps: Vec<RecordedStep>,
    /// Outcomes that are not stored yet.
    pub ended: Vec<(RecordedStep, Outcome)>,
    /// What the last plan put off.
    pub deferred: Vec<Deferred>,
    /// The store may hold something else than is known here.
    pub stale: bool,
}

impl Engine {
    /// Starts from what is stored.
    pub async fn start(store: &Store) -> Result<Self, memory::Error> {
        let mut engine = Self::default();
        engine.reload(store).await?;
        Ok(engine)
    }

    /// Takes what is stored for what is.
    pub async fn reload(&mut self, store: &Store) -> Result<(), memory::Error> {
        // As it comes back from a database: written and read.
        let text = serde_json::to_string(&store.rollouts()?).unwrap();
        let rollouts: BTreeMap<Name, Rollout> = serde_json::from_str(&text).unwrap();
        self.observed.rollouts = rollouts.into_iter().map(|(unit, rollout)| (unit, Arc::new(rollout))).collect();
        self.steps = resume(store).await?;
        self.steps.retain(|step| !self.ended.iter().any(|(other, _)| other.step().id == step.step().id));
        self.stale = false;
        Ok(())
    }

    /// Looks at a device.
    pub async fn look(&mut self, desired: &Desired, devices: &Devices, name: &Name) {
        let Some(device) = desired.devices.get(name) else { return };
        let items: Vec<_> = self.observed.items(desired, name).into_iter().collect();
        let mut seen = devices.observe(device, &items).await;
        let old = self.observed.devices.get(name).cloned().unwrap_or_default();
        seen.probes.clone_from(&old.probes);
        if let Contact::Unreachable { since, .. } = &mut seen.contact {
            if let Contact::Unreachable { since: earlier, .. } = &old.contact {
                *since = *earlier;
            }
            // What was last known of it stays known.
            (seen.items, seen.boot_id, seen.seen_at) = (old.items.clone(), old.boot_id.clone(), old.seen_at);
        }
        self.observed.devices.insert(name.clone(), Arc::new(seen));
    }

    /// Runs a device's probes.
    pub fn probe(&mut self, desired: &Desired, devices: &Devices, name: &Name, now: Timestamp) {
        let Some(device) = desired.devices.get(name) else { return };
        let mut seen = self.observed.devices.get(name).map(|seen| (**seen).clone()).unwrap_or_default();
        let state = devices.probe(name).unwrap_or(ProbeState::Fail);
        for probe in &device.probes {
            let mut result = seen.probes.get(&probe.name).cloned().unwrap_or_default();
            if result.state != state {
                (result.state, result.since) = (state, Some(now));
            }
            result.seen_at = Some(now);
            if state == ProbeState::Ok {
                result.last_ok = Some(now);
            }
            seen.probes.insert(probe.name.clone(), result);
        }
        self.observed.devices.insert(name.clone(), Arc::new(seen));
    }

    /// Writes a plan down and takes it in. Panics if it breaks an invariant.
    pub async fn record(&mut self, plan: Plan, desired: &Desired, store: &Store, now: Timestamp) -> Result<(), memory::Error> {
        let actor = Actor { kind: "commit".into(), name: "ann".into(), signer: None };
        let recorded = match record(plan, (desired, &self.observed), &actor, now, store).await {
            Ok(recorded) => recorded,
            Err(Error::Store(error)) => {
                self.stale = true;
                return Err(error);
            }
            Err(error @ Error::Invariant { .. }) => panic!("{error}"),
        };
        for step in &recorded.plan().steps {
            let rollout = Arc::make_mut(self.observed.rollouts.entry(step.unit.rollout()).or_default());
            match &step.action {
                Action::Rollout(change) => rollout.apply(change, now),
                _ => rollout.begin(step, now),
            }
        }
        self.steps.extend(recorded.device_steps());
        Ok(())
    }

    /// Does a recorded step, or asks what became of it.
    pub async fn act(&mut self, desired: &Desired, devices: &Devices, at: usize) -> Option<&(RecordedStep, Outcome)> {
        let step = &self.steps[at];
        let device = desired.devices.get(step.device())?;
        let outcome = devices.act(device, step).await?;
        self.ended.push((self.steps.remove(at), outcome));
        self.ended.last()
    }

    /// Stores the outcomes, as far as the store takes them.
    pub async fn finish(&mut self, store: &Store) -> Result<(), memory::Error> {
        while let Some((step, outcome)) = self.ended.first() {
            store.finish(step, outcome).await?;
            if let Some(rollout) = self.observed.rollouts.get_mut(&step.step().unit.rollout()) {
                Arc::make_mut(rollout).settle(step.step(), outcome);
            }
            self.ended.remove(0);
        }
        Ok(())
    }
}
