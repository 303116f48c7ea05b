//! What the audit log says of users, their sessions and tokens.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use reconcile::record::Actor;
use store::audit::Entry;

/// Names whose failures are remembered, so that each is said once a minute.
const NAMES: usize = 1000;
/// How often a failure of the same name is said.
const OFTEN: SignedDuration = SignedDuration::from_secs(60);

/// An act that is done with the transaction that writes it.
pub(crate) fn entry(actor: Actor, verb: &str, target: &str, message: &str) -> Entry {
    Entry::act(Timestamp::now(), actor, verb, target, message)
}

/// Somebody could not come in. Who it was is not known, so it is the engine who says it.
pub(crate) fn refused(name: &str, message: &str) -> Entry {
    Entry { outcome: "refused".into(), ..entry(Actor::engine(), "sign-in", &format!("user/{name}"), message) }
}

/// When a failure of a name was last said.
#[derive(Default)]
pub(crate) struct Said(Mutex<BTreeMap<String, Timestamp>>);

impl Said {
    /// Whether it is time to say it again.
    pub(crate) fn again(&self, name: &str, now: Timestamp) -> bool {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if said.get(name).is_some_and(|at| now.duration_since(*at) < OFTEN) {
            return false;
        }
        if said.len() >= NAMES {
            said.retain(|_, at| now.duration_since(*at) < OFTEN);
        }
        if said.len() >= NAMES {
            return false;
        }
        said.insert(name.to_owned(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_said_once_a_minute() {
        let said = Said::default();
        let at = |second| Timestamp::new(second, 0).unwrap();
        assert!(said.again("alice", at(0)) && !said.again("alice", at(59)) && said.again("bob", at(59)) && said.again("alice", at(60)));
        for number in 0..2000 {
            said.again(&number.to_string(), at(61));
        }
        assert_eq!(said.0.lock().unwrap().len(), NAMES);
        assert!(!said.again("new", at(62)) && said.again("new", at(200)));
    }
}
