//! What a listener may hear of.

use std::collections::HashMap;
use std::sync::Arc;

use crds::{Kind, Verb};
use reconcile::Desired;
use reconcile::access::What;

use crate::feed::{Change, Subject};
use crate::rest::caller::Caller;
use crate::view::View;

/// Answers that are kept: as many things as change in a while. When there are more, it is begun anew.
const KEPT: usize = 4096;

/// What is known of it, for as long as nothing else is in force.
#[derive(Default)]
pub(super) struct Sight {
    desired: Arc<Desired>,
    governing: Arc<Desired>,
    known: HashMap<Subject, bool>,
}

impl Sight {
    /// Of each change, whether it may be told.
    pub(super) fn seen(&mut self, view: &View, caller: &Caller, changes: &[Arc<Change>]) -> Vec<bool> {
        if caller.is_admin && caller.scopes.is_none() {
            return vec![true; changes.len()];
        }
        let is_same = Arc::ptr_eq(&self.desired, &view.desired) && Arc::ptr_eq(&self.governing, view.governing());
        if !is_same || self.known.len() > KEPT {
            (self.desired, self.governing) = (view.desired.clone(), view.governing().clone());
            self.known.clear();
        }
        let look = |change: &Arc<Change>| {
            // What is gone may be there again at the next look.
            if change.removed {
                return sees(view, caller, change);
            }
            *self.known.entry(change.subject.clone()).or_insert_with(|| sees(view, caller, change))
        };
        changes.iter().map(look).collect()
    }
}

fn sees(view: &View, caller: &Caller, change: &Change) -> bool {
    let (kind, name) = match &change.subject {
        Subject::Object(kind, name) => (*kind, name),
        Subject::Rollout(name) => (Kind::Deployment, name),
        // An alert is seen by who sees its device.
        Subject::Alert { device, .. } => (Kind::Device, device),
        Subject::Source | Subject::Engine => return true,
        // That there are entries says that something happened, whatever it was: who may see all of it may know.
        Subject::Audit => return caller.is_admin && caller.scopes.is_none(),
    };
    let there = view.desired.objects.get(&(kind, name.clone())).or(change.was.as_ref());
    caller.may(view, Verb::View, kind, name.namespace(), there.map_or(What::Any, |object| What::Object(object))).is_ok()
}
