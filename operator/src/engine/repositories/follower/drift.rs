//! What others have changed of what a Repository applied: which fields, and who.

use std::collections::BTreeMap;

use cluster::events::Happening;
use cluster::{Known, fields};
use crds::Object;
use reconcile::{Key, Target};

use super::Follower;

/// What was found at one look, by object: its fields, in words.
#[derive(Default)]
pub(super) struct Drift {
    /// It stays so (`spec.drift: Report`).
    pub(super) left: BTreeMap<Key, String>,
    /// It is put back.
    pub(super) corrected: BTreeMap<Key, String>,
}

impl Drift {
    /// What stays so; what was put back is over, and has no place in a status.
    pub(super) fn words(&self) -> impl Iterator<Item = String> {
        self.left.iter().map(|(key, fields)| format!("{} was changed by somebody else: {fields}", shown(key)))
    }
}

/// What was applied and is not shown by the watches yet, with the resource version that it got by that.
pub(super) type Unseen = BTreeMap<Key, u128>;

/// Whether what is known of an object is older than what was applied.
pub(super) fn is_behind(unseen: &Unseen, key: &Key, known: &Known) -> bool {
    unseen.get(key).is_some_and(|version| known.shown < *version)
}

fn shown((kind, name): &Key) -> Target {
    Target::of(*kind, name.clone())
}

impl Follower {
    /// What of an object others have changed.
    pub(super) fn drift_of(&self, key: &Key, wanted: &Object) -> String {
        let differing = self.shared.cluster.known(key).map(|known| known.differing(wanted)).unwrap_or_default();
        if differing.is_empty() { "it can't be read".into() } else { fields::words(&differing) }
    }

    /// Tells it of the objects themselves, and of the Repository what was put back; what stays as it is only once.
    pub(super) fn tell_drift(&mut self, drift: Drift) {
        for (key, fields) in &drift.corrected {
            let note = format!("put back by repository {}: {fields}", self.name);
            tracing::warn!(repository = %self.name, object = %shown(key), fields, "changed by somebody else, and put back");
            self.shared.happened(&self.name, "DriftCorrected", format!("{} was put back: {fields}", shown(key)), false);
            self.shared.reports.happened(Happening { key: key.clone(), reason: "DriftCorrected", note, is_warning: false });
        }
        for (key, fields) in drift.left.iter().filter(|(key, fields)| self.drift.left.get(*key) != Some(*fields)) {
            let note = format!("otherwise than repository {} says, and left so (spec.drift): {fields}", self.name);
            self.shared.reports.happened(Happening { key: key.clone(), reason: "Drifted", note, is_warning: true });
        }
        self.drift = drift;
    }
}

#[cfg(test)]
mod tests {
    use crds::Kind;
    use reconcile::Name;

    use super::*;

    #[test]
    fn what_the_watches_have_not_shown_yet_is_nobody_elses_drift() {
        let key = |name: &str| (Kind::Deployment, Name::new("fleet", name));
        let unseen = Unseen::from([(key("app"), 10)]);
        let known = |version: &str, shown: u128| Known { version: version.into(), shown, ..Known::default() };
        assert!(is_behind(&unseen, &key("app"), &known("9", 9)));
        assert!(is_behind(&unseen, &key("app"), &known("11", 9)), "a status that we wrote shows nothing of it");
        assert!(!is_behind(&unseen, &key("app"), &known("10", 10)));
        assert!(!is_behind(&unseen, &key("app"), &known("12", 12)), "somebody else has changed it since");
        assert!(!is_behind(&unseen, &key("other"), &known("9", 9)));
    }
}
