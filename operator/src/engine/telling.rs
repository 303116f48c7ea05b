//! Who is told that something is otherwise than before: whoever listens, and in a cluster whoever writes status.

use std::sync::Arc;

use api::feed::{Change, Feed, Subject};
use cluster::events::Happening;
use crds::Kind;
use reconcile::{Desired, Key, Name};

use super::reports::Reports;

/// Tells both. What is told has to be in the view by then.
pub(super) struct Telling<'a> {
    /// What is in force.
    pub(super) desired: Arc<Desired>,
    pub(super) feed: &'a Feed,
    pub(super) reports: Option<&'a Reports>,
}

impl Telling<'_> {
    pub(super) fn devices<'n>(&self, names: impl IntoIterator<Item = &'n Name> + Clone) {
        self.feed.changed(names.clone().into_iter().map(|name| self.change((Kind::Device, name.clone()))));
        if let Some(reports) = self.reports {
            reports.devices(names);
        }
    }

    /// Deployments, with their rollouts.
    pub(super) fn units<'n>(&self, names: impl IntoIterator<Item = &'n Name> + Clone) {
        let rollouts = names.clone().into_iter().map(|name| Change::of(Subject::Rollout(name.clone())));
        self.feed.changed(rollouts);
        self.concerned(names.clone());
        if let Some(reports) = self.reports {
            reports.units(names);
        }
    }

    /// Deployments whose devices are otherwise than before; whoever plans them reports them.
    pub(super) fn concerned<'n>(&self, names: impl IntoIterator<Item = &'n Name>) {
        self.feed.changed(names.into_iter().map(|name| self.change((Kind::Deployment, name.clone()))));
    }

    /// Deployments were planned: what each of these puts off is otherwise than before.
    pub(super) fn planned<'n>(&self, names: impl IntoIterator<Item = &'n Name>, otherwise: impl IntoIterator<Item = &'n Name>) {
        let changes = otherwise
            .into_iter()
            .flat_map(|name| [Change::of(Subject::Rollout(name.clone())), self.change((Kind::Deployment, name.clone()))]);
        self.feed.changed(changes);
        if let Some(reports) = self.reports {
            reports.units(names);
        }
    }

    pub(super) fn objects(&self, keys: impl IntoIterator<Item = Key>) {
        let keys: Vec<Key> = keys.into_iter().collect();
        self.feed.changed(keys.iter().cloned().map(|key| self.change(key)));
        if let Some(reports) = self.reports {
            reports.objects(keys);
        }
    }

    /// Objects that a revision changed.
    pub(super) fn in_force(&self, keys: Vec<Key>, before: &Desired) {
        let change = |key: Key| match self.desired.objects.contains_key(&key) {
            true => self.change(key),
            false => {
                let was = before.objects.get(&key).cloned();
                Change::gone(key, was)
            }
        };
        self.feed.changed(keys.iter().cloned().map(change).chain([Change::of(Subject::Source)]));
        if let Some(reports) = self.reports {
            reports.objects(keys);
        }
    }

    /// For whoever follows events in a cluster.
    pub(super) fn happened(&self, happening: Happening) {
        if let Some(reports) = self.reports {
            reports.happened(happening);
        }
    }

    fn change(&self, key: Key) -> Change {
        if self.desired.objects.contains_key(&key) { Change::of(Subject::Object(key.0, key.1)) } else { Change::gone(key, None) }
    }
}
