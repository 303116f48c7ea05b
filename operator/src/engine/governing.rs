//! What the API server has, for those who decide by it and not by what is in force.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api::view::SharedView;
use reconcile::{Desired, Key, Name, access};
use tokio::sync::Notify;

/// What the API server has, and whose rules that may have changed.
pub(crate) struct Governing {
    view: SharedView,
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
    /// Nothing is known yet; what becomes known is shown here.
    pub(crate) fn new(view: SharedView) -> Self {
        Self { view, state: Mutex::default(), news: Notify::new() }
    }

    /// Takes in what is new: these objects have changed, and with them what is wanted. From now on these Roles decide, for whoever asks,
    /// however long it takes until RBAC says the same.
    pub(super) fn update(&self, before: &Desired, desired: &Arc<Desired>, objects: &[Key]) {
        self.view.write().unwrap_or_else(PoisonError::into_inner).newest = Some(desired.clone());
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

#[cfg(test)]
mod tests {
    use reconcile::Revision;

    use super::*;

    #[test]
    fn whose_roles_decide_is_shown_before_anybody_acts_on_it() {
        let view = SharedView::default();
        let governing = Governing::new(view.clone());
        let desired = Arc::new(Desired { revision: Revision { commit: "new".into(), ..Revision::default() }, ..Desired::default() });
        governing.update(&Desired::default(), &desired, &[]);
        assert_eq!(view.read().unwrap().governing().revision.commit, "new");
    }
}
