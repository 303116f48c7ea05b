//! Actors: each recorded step is done, or found again, until its outcome is stored.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reconcile::record::{Record as _, RecordedStep};
use reconcile::{Desired, Outcome, StepId};
use store::Store;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Event;
use super::hands::act::Actor;

/// Time between two tries of a store that refused.
const AGAIN: Duration = Duration::from_secs(2);

/// Does recorded steps.
pub(super) struct Actors {
    store: Arc<Store>,
    actor: Actor,
    events: mpsc::Sender<Event>,
    running: BTreeMap<StepId, JoinHandle<()>>,
}

impl Actors {
    pub(super) fn new(store: Arc<Store>, actor: Actor, events: mpsc::Sender<Event>) -> Self {
        Self { store, actor, events, running: BTreeMap::new() }
    }

    /// Begins with a step; one that is being worked on already is left to that.
    pub(super) fn start(&mut self, desired: &Arc<Desired>, step: RecordedStep) {
        let id = step.step().id.clone();
        if self.running.contains_key(&id) {
            return;
        }
        let work = work(self.store.clone(), self.actor.clone(), self.events.clone(), desired.clone(), step);
        self.running.insert(id, tokio::spawn(work));
    }

    /// Whether a step is being worked on.
    pub(super) fn has(&self, id: &StepId) -> bool {
        self.running.contains_key(id)
    }

    pub(super) fn ended(&mut self, step: &RecordedStep) {
        self.running.remove(&step.step().id);
    }

    pub(super) fn stop(&mut self) {
        for task in self.running.values() {
            task.abort();
        }
    }
}

async fn work(store: Arc<Store>, actor: Actor, events: mpsc::Sender<Event>, desired: Arc<Desired>, step: RecordedStep) {
    let outcome = match desired.devices.get(step.device()) {
        None => Outcome::failed(Timestamp::now(), "the device was deleted before the step came to its end"),
        Some(device) => actor.act(&desired, device, &step).await,
    };
    let mut told = false;
    while let Err(error) = store.finish(&step, &outcome).await {
        if !told {
            tracing::warn!(%error, step = %step.step().id, "the outcome can't be stored yet");
            told = true;
            if !matches!(error, store::Error::Conflict { .. }) && events.send(Event::StoreRefused(Box::new(error))).await.is_err() {
                return;
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
    let _ = events.send(Event::Ended(Box::new(step), Box::new(outcome))).await;
}
