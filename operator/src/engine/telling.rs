//! Who is told that something is otherwise than before: whoever listens, and in a cluster whoever writes status.

use std::sync::Arc;

use api::feed::{Change, Feed, Subject};
use cluster::events::Happening;
use crds::Kind;
use jiff::Timestamp;
use reconcile::{Contact, Desired, Key, Name, parents};

use super::reports::{Reports, key_of};
use super::{Engine, heard};

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
        self.feed.changed(names.clone().into_iter().filter_map(rollout));
        self.concerned(names.clone());
        if let Some(reports) = self.reports {
            reports.units(names);
        }
    }

    /// Deployments whose devices are otherwise than before; whoever plans them reports them.
    pub(super) fn concerned<'n>(&self, names: impl IntoIterator<Item = &'n Name>) {
        self.feed.changed(names.into_iter().map(|name| self.change(key_of(name))));
    }

    /// Deployments were planned: what each of these puts off is otherwise than before.
    pub(super) fn planned<'n>(&self, names: impl IntoIterator<Item = &'n Name>, otherwise: impl IntoIterator<Item = &'n Name>) {
        let changes = otherwise.into_iter().flat_map(|name| rollout(name).into_iter().chain([self.change(key_of(name))]));
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

/// The rollout of a Deployment; that of a login is a matter of its Role.
fn rollout(unit: &Name) -> Option<Change> {
    unit.role().is_none().then(|| Change::of(Subject::Rollout(unit.clone())))
}

impl Engine {
    /// Tells those who want to know it that these are otherwise than before.
    pub(super) fn tell(&self, what: impl FnOnce(&Telling<'_>)) {
        what(&Telling { desired: self.desired(), feed: &self.feed, reports: self.reports.as_deref() });
    }

    /// Tells only those who listen.
    pub(super) fn tell_of(&self, subject: Subject) {
        self.feed.changed([Change::of(subject)]);
    }

    pub(super) fn source_failed(&self, error: String) {
        let mut view = self.write();
        view.source.checked_at = Some(Timestamp::now());
        let is_new = view.source.problem.as_ref() != Some(&error);
        if is_new {
            tracing::warn!(%error, "the source gives nothing new; what is in force stays");
            view.source.problem = Some(error.clone());
        }
        if view.desired.revision.commit.is_empty() {
            view.not_ready = Some(error);
        }
        drop(view);
        if is_new {
            self.tell_of(Subject::Source);
        }
    }

    pub(super) fn unchanged(&self) {
        let mut view = self.write();
        view.source.checked_at = Some(Timestamp::now());
        let is_well_again = view.source.too_far.is_none() && view.source.problem.take().is_some();
        drop(view);
        if is_well_again {
            self.tell_of(Subject::Source);
        }
    }

    /// Our own network is down, or back. Devices that went out of reach just before it was found out did not.
    pub(super) fn network_turned(&mut self, is_down: bool) {
        let view = self.view.clone();
        let mut view = view.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        view.own_network_turned(0, is_down);
        let devices = view.observed.devices.iter().filter(|(_, seen)| is_down && heard::is_excused(seen));
        let excused: Vec<Name> = devices.map(|(name, _)| name.clone()).collect();
        for name in &excused {
            let was_dead = parents::is_dead(&view.observed, name);
            if let Some(seen) = view.observed.devices.get_mut(name) {
                Arc::make_mut(seen).contact = Contact::Never;
            }
            self.behind(&view, name, was_dead);
            // A gate judges it otherwise by now.
            self.dirty.extend(heard::concerned(&view, name));
        }
        drop(view);
        excused.iter().for_each(|name| self.alerts.touch(name));
        if !excused.is_empty() {
            self.tell(|told| told.devices(&excused));
        }
        self.tell_of(Subject::Engine);
    }
}
