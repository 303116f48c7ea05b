//! How far a commit goes: what of it goes, what it touches, and whether that is more than it may without being asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use cluster::Known;
use crds::{Kind, Object, RepositorySpec};
use reconcile::access::commit::Objects;
use reconcile::content::Digest;
use reconcile::desired::{Share, share};
use reconcile::limits::{self, Limits, TooFar};
use reconcile::plan::Revision;
use reconcile::{Key, Target};

use super::super::super::source::Reading;
use super::super::Wanted;
use super::super::judging::Waits;
use super::{Follower, few};

/// Devices that a commit may delete where nothing is said.
const DELETIONS: usize = 5;

impl Follower {
    /// Whether what was read may be applied; otherwise the id to approve it by, the commit, and why not.
    pub(super) fn within_limits(&mut self, wanted: &Wanted) -> Result<(), Waits> {
        let Some((next, changed)) = self.coming() else { return Ok(()) };
        let devices = wanted.spec.limits.as_ref().and_then(|limits| limits.devices).map_or(Share::Percent(100), share);
        let limits = Limits { deletions: deletions(&wanted.spec), devices };
        let too_far = match (&self.lost, &self.applied) {
            (Some(lost), _) => limits::unknown(lost, next),
            (None, None) => return Ok(()),
            (None, Some(applied)) => {
                let by_cluster = || self.reach(wanted, &next.revision, self.objects(), &self.touched);
                match limits::check(applied, next, changed, limits).and_then(|()| by_cluster()) {
                    Ok(()) => return Ok(()),
                    Err(too_far) => too_far,
                }
            }
        };
        let commit = next.revision.commit.clone();
        if wanted.approved.as_ref() == Some(&too_far.id) || self.let_through.as_ref() == Some(&commit) {
            self.let_through = Some(commit);
            return Ok(());
        }
        Err((too_far.id, commit, too_far.reason))
    }

    /// Whether it touches no more devices of the cluster than it may: the Repository itself may have none of them, and Deployments that belong
    /// on all of them.
    pub(in super::super) fn reach(
        &self,
        of: &Wanted,
        revision: &Revision,
        objects: &Objects,
        touched: &BTreeSet<Key>,
    ) -> Result<(), Box<TooFar>> {
        let Some(devices) = of.spec.limits.as_ref().and_then(|limits| limits.devices).map(share) else { return Ok(()) };
        let there = self.shared.view.read().unwrap_or_else(PoisonError::into_inner).newest.clone();
        let Some(there) = there else { return Ok(()) };
        let wanted: BTreeMap<Key, &Object> = objects.values().map(|object| (self.place(object), &**object)).collect();
        let new = wanted.iter().filter(|(key, _)| touched.contains(*key));
        let mut changes: BTreeMap<Key, Option<Arc<Object>>> =
            new.filter_map(|(key, object)| self.applied_as(key.clone(), (*object).clone())).collect();
        changes.extend(self.gone(&of.spec, &wanted, &self.reading).0.into_iter().map(|(key, _)| (key, None)));
        let (next, changed) = there.update(changes, revision.clone());
        limits::check(&there, &next, &changed, Limits { deletions: usize::MAX, devices })
    }

    /// What came from here and is not in Git any more; and what of that is left, since others apply it too.
    pub(in super::super) fn gone(
        &self,
        spec: &RepositorySpec,
        wanted: &BTreeMap<Key, &Object>,
        read: &Reading,
    ) -> (Vec<(Key, Known)>, Vec<String>) {
        // What can't be read may be all that is missing.
        if spec.prune == Some(false) || read.fault().is_some() {
            return (Vec::new(), Vec::new());
        }
        let there = self.shared.cluster.applied_from(&self.name);
        // Elsewhere anybody could put something with our name on it.
        let before = self.applied.iter().flat_map(|applied| applied.objects.keys());
        let places: BTreeSet<&str> = wanted.keys().chain(before).map(|(_, name)| name.namespace()).chain([self.name.namespace()]).collect();
        let (mut ours, mut left) = (Vec::new(), Vec::new());
        for (key, known) in there {
            if wanted.contains_key(&key) || known.deleting || self.is_denied(&key) {
                continue;
            }
            let object = || Target::of(key.0, key.1.clone());
            if !places.contains(key.1.namespace()) {
                left.push(format!(
                    "{} is said to be from here and stays, since Git has nothing in its namespace: delete it by hand",
                    object()
                ));
            } else if known.appliers.is_empty() {
                ours.push((key, known));
            } else {
                left.push(format!("{} left Git and stays, since {} applies it too", object(), known.appliers.join(", ")));
            }
        }
        (ours, left)
    }

    /// Whether more would be deleted than may be, by what is there and not by what commits say: another branch or path, or another
    /// repository, may have none of it. What a Deployment takes off its devices as it goes weighs as much as a device.
    pub(in super::super) fn too_many(&self, of: &Wanted, commit: &str, gone: &[(Key, Known)]) -> Option<Waits> {
        let weighs = |(key, known): &&(Key, Known)| match known.object.as_deref() {
            Some(Object::Deployment(deployment)) => deployment.spec.on_delete == Some(crds::OnDelete::Remove),
            _ => key.0 == Kind::Device,
        };
        let heavy: Vec<String> = gone.iter().filter(weighs).map(|((kind, name), _)| Target::of(*kind, name.clone()).to_string()).collect();
        let limit = deletions(&of.spec);
        let id = Digest::of_json(&(commit, &heavy)).as_str()[..12].to_owned();
        if heavy.len() <= limit || self.let_through.as_deref() == Some(commit) || of.approved.as_ref() == Some(&id) {
            return None;
        }
        Some((id, commit.to_owned(), format!("deletes {}, more than {limit}", few(&heavy))))
    }
}

/// Devices that may be deleted at once.
pub(in super::super) fn deletions(spec: &RepositorySpec) -> usize {
    let limit = spec.limits.as_ref().and_then(|limits| limits.deletions);
    limit.map_or(DELETIONS, |count| usize::try_from(count).unwrap_or_default())
}
