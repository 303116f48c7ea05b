//! In which order objects are applied, and go.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use cluster::Known;
use cluster::apply::{Applier, Refusal};
use crds::Kind;
use futures::{FutureExt as _, StreamExt as _};
use reconcile::Key;

use super::WRITERS;

/// What others refer to comes first.
pub(super) fn rank(kind: Kind) -> u8 {
    match kind {
        Kind::DeviceClass | Kind::Receiver | Kind::Role => 0,
        Kind::Device => 1,
        Kind::AlertRule | Kind::Silence => 2,
        Kind::Deployment => 3,
        Kind::Repository => 4,
    }
}

/// Deletes objects: what others refer to goes last.
pub(super) async fn prune<'a>(applier: &Applier, gone: &'a [(Key, Known)]) -> Vec<(&'a Key, Result<(), Refusal>)> {
    let mut ranks: BTreeMap<Reverse<u8>, Vec<&'a (Key, Known)>> = BTreeMap::new();
    for object in gone {
        ranks.entry(Reverse(rank(object.0.0))).or_default().push(object);
    }
    let mut results = Vec::new();
    for objects in ranks.into_values() {
        let deletions: Vec<_> =
            objects.into_iter().map(|(key, known)| async move { (key, applier.delete(key, &known.uid).await) }.boxed()).collect();
        results.extend(futures::stream::iter(deletions).buffer_unordered(WRITERS).collect::<Vec<_>>().await);
    }
    results
}
