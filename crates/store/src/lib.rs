//! What is remembered: plans, outcomes, rollouts and the audit log, in PostgreSQL or an embedded SQLite file.
//!
//! Both speak the same statements; the suite in `tests/` runs on both. One transaction records a plan: the version check of each
//! rollout it touches, the plan, its steps, their audit entries, a signed checkpoint, and the rollouts' new state.

pub mod audit;
mod log;
mod open;
mod plans;
mod rollouts;
mod source;

use std::collections::BTreeMap;

use reconcile::{Name, Rollout};
use sqlx::AnyPool;
use tokio::sync::Mutex;

use audit::checkpoint::{PublicKey, SigningKey};

pub use log::Filter;
pub use open::{Error, Options};
pub use plans::{PlanRow, StepRow};
pub use source::InForce;

/// The store.
pub struct Store {
    pool: AnyPool,
    key: SigningKey,
    backend: Backend,
    /// What the last commit left: the planner is one at a time, and the database checks the version again.
    rollouts: Mutex<BTreeMap<Name, Rollout>>,
}

/// Which database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Backend {
    Sqlite,
    Postgres,
}

impl Store {
    /// Verifies this store's checkpoints.
    pub fn public_key(&self) -> PublicKey {
        self.key.public()
    }

    /// What is remembered of every Deployment's rollouts.
    pub async fn rollouts(&self) -> BTreeMap<Name, Rollout> {
        self.rollouts.lock().await.clone()
    }
}
