//! Who was known a moment ago, so that not each request asks the store, or Kubernetes.
//!
//! Whoever changes a user, a session or a token forgets all of it: what was taken from somebody is gone with the next request. Only the
//! one replica that acts answers, so no other one can change them beside it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Reviewed;
use super::authenticate::Signed;
use crate::rest::caller::Caller;

/// Sessions and tokens that are remembered; with more, all are forgotten.
const MANY: usize = 2000;
/// How long a session or a token is remembered: its end comes so much later at most.
const SESSION: Duration = Duration::from_secs(5);
/// How long what Kubernetes said is: whoever is thrown out there is so for so long here.
const REVIEW: Duration = Duration::from_secs(30);
/// How long that it said no is.
const REFUSED: Duration = Duration::from_secs(5);

/// What is remembered, by the hash of what was shown.
#[derive(Default)]
pub(crate) struct Known(Mutex<Table>);

#[derive(Default)]
struct Table {
    generation: u64,
    signed: HashMap<String, (Instant, Caller, Signed)>,
    reviewed: HashMap<String, (Instant, Option<Reviewed>)>,
}

impl Known {
    /// Changes whenever something may have been taken from somebody.
    pub(crate) fn generation(&self) -> u64 {
        self.table(|table| table.generation)
    }

    /// Somebody may have lost something.
    pub(crate) fn forget(&self) {
        self.table(|table| {
            table.generation += 1;
            table.signed.clear();
        });
    }

    pub(crate) fn signed(&self, hash: &str) -> Option<(Caller, Signed)> {
        let fresh = |table: &mut Table| table.signed.get(hash).filter(|(until, ..)| *until > Instant::now()).cloned();
        self.table(fresh).map(|(_, caller, signed)| (caller, signed))
    }

    /// Remembers, unless something was taken from somebody since this generation.
    pub(crate) fn remember(&self, hash: String, generation: u64, caller: Caller, signed: Signed) {
        self.table(|table| {
            if table.generation == generation {
                make_room(&mut table.signed);
                table.signed.insert(hash, (Instant::now() + SESSION, caller, signed));
            }
        });
    }

    pub(crate) fn reviewed(&self, hash: &str) -> Option<Option<Reviewed>> {
        self.table(|table| table.reviewed.get(hash).filter(|(until, _)| *until > Instant::now()).map(|(_, said)| said.clone()))
    }

    pub(crate) fn remember_review(&self, hash: String, said: Option<Reviewed>) {
        self.table(|table| {
            make_room(&mut table.reviewed);
            table.reviewed.insert(hash, (Instant::now() + if said.is_some() { REVIEW } else { REFUSED }, said));
        });
    }

    fn table<T>(&self, look: impl FnOnce(&mut Table) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn make_room<T>(table: &mut HashMap<String, T>) {
    if table.len() >= MANY {
        table.clear();
    }
}
