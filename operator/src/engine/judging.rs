//! Whom to ask the rules of: devices of which something changed, and those where time alone could change an answer.
//!
//! Whoever reads a device judges it: this process, or whoever holds the device's shard (`hands/shard.rs`), which tells the verdicts that
//! changed to the one who plans (`told.rs`).

use std::collections::{BTreeMap, BTreeSet};

use api::usage::News;
use jiff::{SignedDuration, Timestamp};
use reconcile::alerting::due::Due;
use reconcile::alerting::history::{History, LooksBack, farthest};
use reconcile::alerting::rule::Rule;
use reconcile::{Device, Name, Series};
use store::Since;

use super::refill::Past;

/// What is judged next, and what rules look back at.
#[derive(Default)]
pub(super) struct Judging {
    /// Devices of which something changed that rules may ask for.
    touched: BTreeSet<Name>,
    /// What rules look back at.
    looked_back_at: LooksBack,
    /// Of that, what the store was not asked for yet.
    fresh: BTreeSet<Series>,
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

    /// A device was read. That counts as a change, whatever was read: hardly any reading says the same as the one before.
    pub(super) fn usage(&mut self, news: &News) {
        if !self.looked_back_at.is_empty() {
            self.history.entry(news.device.clone()).or_default().push(&news.usage, &self.looked_back_at);
        }
        self.touch(&news.device);
    }

    /// These rules are in force.
    pub(super) fn rules<'a>(&mut self, rules: impl Iterator<Item = &'a Rule>, now: Timestamp) {
        let before = std::mem::replace(&mut self.looked_back_at, farthest(rules.flat_map(Rule::looks_back_at)));
        let is_farther = |(series, far): &(&Series, &SignedDuration)| before.get(*series).is_none_or(|before| before < *far);
        self.fresh.extend(self.looked_back_at.iter().filter(is_farther).map(|(series, _)| series.clone()));
        for history in self.history.values_mut().chain([&mut self.unread]) {
            history.begin(&self.looked_back_at, now);
        }
    }

    /// What the store is to be asked for: what devices used before, as far as rules that apply to them look back at it anew.
    pub(super) fn take_past<'a>(
        &mut self,
        rules: impl Iterator<Item = &'a Rule>,
        devices: impl Iterator<Item = &'a Device>,
        now: Timestamp,
    ) -> Vec<Since> {
        let fresh = std::mem::take(&mut self.fresh);
        let of = |rule: &'a Rule| {
            let series: LooksBack = rule.looks_back_at().into_iter().filter(|(series, _)| fresh.contains(series)).collect();
            (!series.is_empty()).then_some((rule, series))
        };
        let rules: Vec<(&Rule, LooksBack)> = if fresh.is_empty() { Vec::new() } else { rules.filter_map(of).collect() };
        if rules.is_empty() {
            return Vec::new();
        }
        let since = |device: &Device| {
            let apply = rules.iter().filter(|(rule, _)| rule.applies_to(device)).flat_map(|(_, series)| series.clone());
            let from = |far| now.checked_sub(far).unwrap_or(Timestamp::MIN).as_second();
            let wanted = farthest(apply).into_iter();
            wanted.map(|(series, far)| Since { device: device.name.clone(), series, from: from(far) }).collect::<Vec<_>>()
        };
        devices.flat_map(since).collect()
    }

    /// What devices used before, from the store.
    pub(super) fn before(&mut self, past: Vec<Past>) {
        for Past { device, series, points } in past.into_iter().filter(|past| self.looked_back_at.contains_key(&past.series)) {
            self.history.entry(device.clone()).or_insert_with(|| self.unread.clone()).before(&series, &points);
            self.touched.insert(device);
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use reconcile::{Metric, Usage};

    use super::*;

    /// Of a fleet at rest nobody is asked; else those of whom something changed, each once, and those whose time has come.
    #[test]
    fn only_who_changed_is_asked() {
        let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).unwrap();
        let name = |number: usize| Name::parse(&format!("d-{number}"));
        let mut judging = Judging::default();
        (0..1000).for_each(|number| judging.touch(&name(number)));
        assert_eq!(judging.take(at(0)).len(), 1000, "a rule is new");
        for changed in [0, 1, 7, 0] {
            (0..changed).for_each(|number| judging.touch(&name(number)));
            assert_eq!(judging.take(at(1)).len(), changed);
        }
        assert_eq!(judging.next(), None);
        let usage = Arc::new(Usage { at: at(2), values: [(Series::of(Metric::CpuRatio), 0.5)].into() });
        judging.usage(&News { device: name(3), usage });
        judging.touch(&name(3));
        assert_eq!(judging.take(at(2)), BTreeSet::from([name(3)]));
        judging.again(&name(4), Some(at(60)));
        assert_eq!((judging.next(), judging.take(at(59)).len(), judging.take(at(60)).len()), (Some(at(60)), 0, 1));
    }
}
