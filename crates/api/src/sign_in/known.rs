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
/// Tokens of Kubernetes that were refused, likewise.
const MANY_REFUSED: usize = 500;
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
    reviewed: HashMap<String, (Instant, Reviewed)>,
    /// Those of which Kubernetes said no, apart: whoever makes tokens up drives none out that counts.
    refused: HashMap<String, Instant>,
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
                make_room(&mut table.signed, MANY);
                table.signed.insert(hash, (Instant::now() + SESSION, caller, signed));
            }
        });
    }

    pub(crate) fn reviewed(&self, hash: &str) -> Option<Option<Reviewed>> {
        let now = Instant::now();
        self.table(|table| match table.reviewed.get(hash).filter(|(until, _)| *until > now) {
            Some((_, said)) => Some(Some(said.clone())),
            None => table.refused.get(hash).filter(|until| **until > now).map(|_| None),
        })
    }

    pub(crate) fn remember_review(&self, hash: String, said: Option<Reviewed>) {
        self.table(|table| {
            let now = Instant::now();
            match said {
                Some(said) => {
                    make_room(&mut table.reviewed, MANY);
                    table.reviewed.insert(hash, (now + REVIEW, said));
                }
                None => {
                    make_room(&mut table.refused, MANY_REFUSED);
                    table.refused.insert(hash, now + REFUSED);
                }
            }
        });
    }

    fn table<T>(&self, look: impl FnOnce(&mut Table) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn make_room<T>(table: &mut HashMap<String, T>, most: usize) {
    if table.len() >= most {
        table.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_that_are_made_up_drive_out_none_that_counts() {
        let known = Known::default();
        known.remember_review("good".into(), Some(Reviewed::default()));
        for number in 0..=MANY {
            known.remember_review(number.to_string(), None);
        }
        assert_eq!(known.reviewed("good"), Some(Some(Reviewed::default())));
        assert_eq!(known.reviewed(&MANY.to_string()), Some(None));
        assert!(known.table(|table| table.refused.len()) <= MANY_REFUSED);
    }
}
