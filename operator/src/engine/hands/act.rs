//! Steps being done: by this process, a few at a time, or by whoever holds the device's shard.

use std::sync::Arc;
use std::time::Duration;

use devices::Devices;
use reconcile::record::RecordedStep;
use reconcile::{Act as _, Desired, Device, Outcome};
use store::Store;
use tokio::sync::Semaphore;

use super::away::Far;

/// Steps that this process works on at once; more wait in line, recorded.
const AT_ONCE: usize = 64;
/// Longest time between two tries to see a device again.
const PATIENCE: Duration = Duration::from_secs(30);
/// Time between two tries of a store that can't be read.
const AGAIN: Duration = Duration::from_secs(2);

/// Who does recorded steps.
#[derive(Clone)]
pub(crate) enum Actor {
    /// This process.
    Here { store: Arc<Store>, devices: Arc<Devices>, permits: Arc<Semaphore> },
    /// Those that hold the shards.
    Away(Arc<Far>),
}

impl Actor {
    pub(crate) fn here(store: Arc<Store>, devices: Arc<Devices>) -> Self {
        Self::Here { store, devices, permits: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Does a step until it is known how it ended.
    pub(crate) async fn act(&self, desired: &Desired, device: &Device, step: &RecordedStep) -> Outcome {
        if let Self::Here { store, devices, .. } = self {
            know_the_log(store, devices).await;
        }
        let mut pause = Duration::from_secs(1);
        loop {
            let outcome = match self {
                Self::Here { devices, permits, .. } => {
                    let _permit = permits.acquire().await;
                    devices.act(device, step).await
                }
                Self::Away(far) => far.act(desired, device, step).await,
            };
            if let Some(outcome) = outcome {
                return outcome;
            }
            // Lost from sight, with the step perhaps under way: the planner waits for it no longer than the deadline, and we read what came
            // of it when the device is back.
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PATIENCE);
        }
    }
}

/// Nothing is done before the steps of our store can be told from those of another one.
async fn know_the_log(store: &Store, devices: &Devices) {
    while !devices.belong_to_a_log() {
        match store.first_leaf().await {
            Ok(Some(leaf)) => devices.belong_to(&leaf),
            other => {
                tracing::warn!(error = ?other.err(), "the beginning of the log can't be read yet");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}
