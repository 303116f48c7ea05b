//! What must hold of every store that keeps plans: the same suite that the fake in memory passes.

use std::collections::BTreeMap;

use jiff::Timestamp;
use reconcile::record::{Actor, Record, RecordedStep};
use reconcile::{Name, Outcome, Plan, Rollout, Step, StepId};
use simfleet::conformance::{self, Subject};
use store::{Error, Store};

use crate::places::{Place, places};

/// The stores of one kind, by their place among all kinds.
struct Kind(usize);

/// A store with the place that it lies in.
struct Kept {
    store: Store,
    place: Place,
}

impl Record for Kept {
    type Error = Error;

    async fn commit(&self, plan: &Plan, actor: &Actor, now: Timestamp) -> Result<(), Error> {
        self.store.commit(plan, actor, now).await
    }

    async fn unfinished(&self) -> Result<Vec<Step>, Error> {
        self.store.unfinished().await
    }

    async fn begun(&self, id: &StepId) -> Result<Option<Step>, Error> {
        self.store.begun(id).await
    }

    async fn finish(&self, step: &RecordedStep, outcome: &Outcome) -> Result<(), Error> {
        self.store.finish(step, outcome).await
    }
}

impl Subject for Kind {
    type Store = Kept;

    async fn fresh(&self) -> Kept {
        let place = places().await.swap_remove(self.0);
        Kept { store: Store::open(&place.options).await.expect("an empty place"), place }
    }

    async fn reopen(&self, kept: Kept) -> Kept {
        kept.store.close().await;
        Kept { store: Store::open(&kept.place.options).await.expect("the same place"), place: kept.place }
    }

    async fn rollouts(&self, kept: &Kept) -> BTreeMap<Name, Rollout> {
        kept.store.rollouts().await.expect("rollouts")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_store_keeps_what_a_store_must_keep() {
    for kind in 0..places().await.len() {
        conformance::record(&Kind(kind)).await;
    }
}

/// Somebody else is at bringing the database up to date, for longer than any other call may wait: that is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn the_schema_is_waited_for() {
    let Some(place) = crate::places::postgres().await else { return };
    place.open().await.close().await;
    // The lock of whoever changes the shape of the tables of logs.
    place.execute("SELECT pg_advisory_lock(7311142093281)::text").await;
    let let_go = async {
        // Longer than the limit of any other wait for a lock.
        tokio::time::sleep(std::time::Duration::from_secs(6)).await;
        place.execute("SELECT pg_advisory_unlock(7311142093281)::text").await;
    };
    let (store, ()) = tokio::join!(place.open(), let_go);
    store.close().await;
}

/// Two replicas begin on an empty database at once: one brings it up to date, and the other one waits for that.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_database_is_opened_by_two_at_once() {
    let Some(place) = crate::places::postgres().await else { return };
    let (one, two) = tokio::join!(place.open(), place.open());
    for store in [one, two] {
        store.health().await.unwrap();
        store.close().await;
    }
}
