//! What the API server has, for those who decide by it and not by what is in force.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reconcile::{Desired, Key, Name, access};
use tokio::sync::Notify;

/// What the API server has, and whose rules that may have changed.
#[derive(Default)]
pub(crate) struct Governing {
    state: Mutex<State>,
    /// Wakes whoever waits for something new.
    pub(super) news: Notify,
}

#[derive(Default)]
struct State {
    desired: Arc<Desired>,
    concerned: BTreeSet<Name>,
}

impl Governing {
    /// Takes in what is new: these objects have changed, and with them what is wanted.
    pub(super) fn update(&self, before: &Desired, desired: &Arc<Desired>, objects: &[Key]) {
        let concerned = access::concerned(before, desired, &objects.iter().cloned().collect());
        let mut state = self.state();
        state.desired = desired.clone();
        state.concerned.extend(concerned);
        drop(state);
        self.news.notify_one();
    }

    /// What there is now, and whose rules may have changed since this was asked last.
    pub(super) fn take(&self) -> (Arc<Desired>, BTreeSet<Name>) {
        let mut state = self.state();
        (state.desired.clone(), std::mem::take(&mut state.concerned))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
