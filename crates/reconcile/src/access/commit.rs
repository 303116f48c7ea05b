//! What a commit may change: whoever signed it needs a Role that allows to edit each object, as it was and as it becomes.
//!
//! Classes and devices come first, since what is about devices is judged by those that there will be: by their labels as they are allowed
//! to become, not as the commit would have them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crds::{Kind, Object, Verb};

use super::{Decision, Request, What, Who, decide};
use crate::desired::{Desired, Key};
use crate::name::Target;

/// Objects by their names.
pub type Objects = BTreeMap<Key, Arc<Object>>;

/// Whoever answers for a change.
#[derive(Clone, Debug)]
pub struct Answering {
    /// The signer.
    pub who: Who,
    /// For people: with the commit.
    pub shown: String,
}

/// What of a commit is allowed.
#[derive(Clone, Debug, Default)]
pub struct Judged {
    /// The objects as they may be: what was denied is as it was.
    pub objects: Objects,
    /// What was denied, and why.
    pub denied: BTreeMap<Key, String>,
}

/// Judges what is new in `new` compared with what was in force, `old`, by the Roles of a namespace. `there` is what there is before any of
/// it is applied: whose Roles count, and what objects are like that nobody has applied from here yet.
pub fn judge(namespace: &str, there: &Desired, old: &Objects, new: &Objects, answers: impl Fn(&Key) -> Vec<Answering>) -> Judged {
    let mut judged = Judged { objects: new.clone(), denied: BTreeMap::new() };
    let changed: BTreeSet<&Key> = old.keys().chain(new.keys()).filter(|key| old.get(*key) != new.get(*key)).collect();
    let mut fleet = there.clone();
    for stage in [|kind| kind == Kind::DeviceClass, |kind| kind == Kind::Device, |kind| !matches!(kind, Kind::Device | Kind::DeviceClass)] {
        let mut allowed = Vec::new();
        for key in changed.iter().copied().filter(|(kind, _)| stage(*kind)) {
            let change = Change { namespace, there, fleet: &fleet, key, old: old.get(key), new: new.get(key) };
            match change.denied_to(&answers(key)) {
                None => allowed.push((key.clone(), new.get(key).cloned())),
                Some(why) => {
                    match old.get(key) {
                        Some(before) => drop(judged.objects.insert(key.clone(), before.clone())),
                        None => drop(judged.objects.remove(key)),
                    }
                    judged.denied.insert(key.clone(), why);
                }
            }
        }
        if allowed.iter().any(|((kind, _), _)| matches!(kind, Kind::Device | Kind::DeviceClass)) {
            fleet = fleet.update(allowed, there.revision.clone()).0;
        }
    }
    judged
}

struct Change<'a> {
    namespace: &'a str,
    there: &'a Desired,
    fleet: &'a Desired,
    key: &'a Key,
    old: Option<&'a Arc<Object>>,
    new: Option<&'a Arc<Object>>,
}

impl Change<'_> {
    /// Why these may not make it, if so: each of them has to be allowed to, and there has to be one.
    fn denied_to(&self, answering: &[Answering]) -> Option<String> {
        if answering.is_empty() {
            let target = Target::of(self.key.0, self.key.1.clone());
            return Some(format!("nobody answers for what became of {target}, as where a branch was set back: commit it anew"));
        }
        answering.iter().find_map(|by| self.denied(by))
    }

    /// Why this signer may not make it, if so.
    fn denied(&self, by: &Answering) -> Option<String> {
        let (kind, name) = self.key;
        let target = Target::of(*kind, name.clone());
        let deed = match (self.old, self.new) {
            (_, None) => "delete",
            (None, _) => "make",
            _ => "change",
        };
        if name.namespace() != self.namespace {
            return Some(format!("{} may not {deed} {target}: Roles of namespace {} don't count there", by.shown, self.namespace));
        }
        let decide = |fleet: &Desired, object: &Arc<Object>| {
            let request = Request { who: &by.who, verb: Verb::Edit, kind: *kind, namespace: self.namespace, what: What::Object(object) };
            match decide(self.there, fleet, &request) {
                Decision::Allowed { .. } => None,
                Decision::Denied(why) => Some(why),
            }
        };
        // What there is may be otherwise than what was in force: somebody else has made or changed it.
        let before = [self.old, self.there.objects.get(self.key)].into_iter().flatten();
        let before = before.filter_map(|object| decide(self.there, object)).map(|why| format!("as it is: {why}")).next();
        let denied = before.or_else(|| self.new.and_then(|object| decide(self.fleet, object)).map(|why| why.to_string()))?;
        Some(format!("{} may not {deed} {target}: {denied}", by.shown))
    }
}
