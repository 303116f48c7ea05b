//! Whom to ask the rules of: devices of which something changed, and those where time alone could change an answer.
//!
//! Whoever reads a device judges it: this process, or whoever holds the device's shard (`hands/shard.rs`), which tells the verdicts that
//! changed to the one who plans (`told.rs`).

use std::collections::{BTreeMap, BTreeSet};

use api::usage::News;
use jiff::{SignedDuration, Timestamp};
use reconcile::alerting::due::Due;
use reconcile::alerting::history::History;
use reconcile::alerting::rule::Rule;
use reconcile::{Name, Series};

/// What is judged next, and what rules look back at.
#[derive(Default)]
pub(super) struct Judging {
    /// Devices of which something changed that rules may ask for.
    touched: BTreeSet<Name>,
    /// What rules look back at.
    looked_back_at: BTreeSet<Series>,
    /// That, of the devices whose usage is read.
    history: BTreeMap<Name, History>,
    /// The same of those that were not read yet.
    unread: History,
    /// When time alone could change what rules say of a device.
    again: Due<Name>,
}

impl Judging {
    /// Something changed on a device.
    pub(super) fn touch(&mut self, device: &Name) {
        self.touched.insert(device.clone());
    }

    /// A device was read.
    pub(super) fn usage(&mut self, news: &News) {
        if !self.looked_back_at.is_empty() {
            self.history.entry(news.device.clone()).or_default().push(&news.usage, &self.looked_back_at);
        }
        self.touch(&news.device);
    }

    /// These rules are in force.
    pub(super) fn rules<'a>(&mut self, rules: impl Iterator<Item = &'a Rule>, now: Timestamp) {
        self.looked_back_at = rules.flat_map(Rule::looks_back_at).collect();
        for history in self.history.values_mut().chain([&mut self.unread]) {
            history.begin(&self.looked_back_at, now);
        }
    }

    /// The clock was set by so much.
    pub(super) fn clock_set(&mut self, by: SignedDuration) {
        self.again.shift(by);
        self.history.values_mut().chain([&mut self.unread]).for_each(|history| history.shift(by));
    }

    /// A device is not there any more.
    pub(super) fn forget(&mut self, device: &Name) {
        self.history.remove(device);
        self.again.remove(device);
        self.touched.remove(device);
    }

    /// Takes out the devices to be judged now.
    pub(super) fn take(&mut self, now: Timestamp) -> BTreeSet<Name> {
        let mut due = self.again.take(now);
        for device in std::mem::take(&mut self.touched) {
            self.again.remove(&device);
            due.insert(device);
        }
        due
    }

    /// A device is to be judged again then, at the latest.
    pub(super) fn again(&mut self, device: &Name, at: Option<Timestamp>) {
        if let Some(at) = at {
            self.again.sooner(device, at);
        }
    }

    /// What a device used before, as far as some rule looks back at it.
    pub(super) fn history(&self, device: &Name) -> &History {
        self.history.get(device).unwrap_or(&self.unread)
    }

    /// When somebody has to be judged next.
    pub(super) fn next(&self) -> Option<Timestamp> {
        if self.touched.is_empty() { self.again.next() } else { Some(Timestamp::MIN) }
    }
}
