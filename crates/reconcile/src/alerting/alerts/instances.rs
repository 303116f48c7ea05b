//! Alerts with what is asked of all of them, counted as they change: of ten thousand that fire, one more costs what one costs.

use std::collections::{BTreeMap, BTreeSet};

use crds::AlertState;

use super::Key;
use crate::alerting::state::Instance;
use crate::name::Name;

/// Alerts by rule and device. Whatever changes one goes through [`Instances::set`], [`Instances::update`] or [`Instances::remove`].
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Instances {
    all: BTreeMap<Key, Instance>,
    counted: Counted,
}

/// What could be found by going through all of them.
#[derive(Clone, Debug, Default, PartialEq)]
struct Counted {
    /// Rules that have an alert on a device.
    by_device: BTreeMap<Name, BTreeSet<Name>>,
    /// Alerts of a rule that are not resolved.
    live: BTreeMap<Name, usize>,
    /// Devices on which a rule fires.
    firing: BTreeMap<Name, BTreeSet<Name>>,
    /// Members of a group.
    members: BTreeMap<String, BTreeSet<Key>>,
    /// How many wait for something that only time brings.
    waiting: usize,
}

impl Instances {
    pub(super) fn get(&self, key: &Key) -> Option<&Instance> {
        self.all.get(key)
    }

    pub(super) fn contains(&self, key: &Key) -> bool {
        self.all.contains_key(key)
    }

    /// Whether there is any of a rule.
    pub(super) fn has_any(&self, rule: &Name) -> bool {
        let from = (rule.clone(), Name::new("", ""));
        self.all.range(from..).next().is_some_and(|((of, _), _)| of == rule)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, &Instance)> {
        self.all.iter()
    }

    pub(super) fn set(&mut self, key: &Key, instance: Instance) {
        self.remove(key);
        self.counted.add(key, &instance);
        self.all.insert(key.clone(), instance);
    }

    pub(super) fn remove(&mut self, key: &Key) -> Option<Instance> {
        let instance = self.all.remove(key)?;
        self.counted.take_away(key, &instance);
        Some(instance)
    }

    pub(super) fn update<T>(&mut self, key: &Key, change: impl FnOnce(&mut Instance) -> T) -> Option<T> {
        let mut instance = self.remove(key)?;
        let changed = change(&mut instance);
        self.set(key, instance);
        Some(changed)
    }

    pub(super) fn of_device(&self, device: &Name) -> impl Iterator<Item = (Key, &Instance)> {
        let keys = self.counted.by_device.get(device).into_iter().flatten().map(|rule| (rule.clone(), device.clone()));
        keys.filter_map(|key| self.all.get(&key).map(|instance| (key, instance)))
    }

    pub(super) fn live(&self, rule: &Name) -> usize {
        self.counted.live.get(rule).copied().unwrap_or(0)
    }

    /// Whether the rule fires on the device.
    pub(super) fn fires(&self, rule: &Name, device: &Name) -> bool {
        self.counted.firing.get(rule).is_some_and(|devices| devices.contains(device))
    }

    /// What the rule has firing.
    pub(super) fn firing(&self, rule: &Name) -> impl Iterator<Item = &Instance> {
        let devices = self.counted.firing.get(rule).into_iter().flatten();
        devices.filter_map(|device| self.all.get(&(rule.clone(), device.clone())))
    }

    pub(super) fn members(&self, group: &str) -> Option<&BTreeSet<Key>> {
        self.counted.members.get(group)
    }

    pub(super) fn anything_waits(&self) -> bool {
        self.counted.waiting > 0
    }

    /// Whether what was counted is what there is.
    #[cfg(test)]
    pub(super) fn is_counted(&self) -> bool {
        let mut counted = Counted::default();
        self.all.iter().for_each(|(key, instance)| counted.add(key, instance));
        counted == self.counted
    }
}

fn waits(instance: &Instance) -> bool {
    instance.state == AlertState::Pending || instance.well_since.is_some()
}

impl Counted {
    fn add(&mut self, key: &Key, instance: &Instance) {
        let (rule, device) = key;
        self.by_device.entry(device.clone()).or_default().insert(rule.clone());
        if instance.state != AlertState::Resolved {
            *self.live.entry(rule.clone()).or_default() += 1;
        }
        if instance.state == AlertState::Firing {
            self.firing.entry(rule.clone()).or_default().insert(device.clone());
        }
        if let Some(group) = &instance.group {
            self.members.entry(group.clone()).or_default().insert(key.clone());
        }
        self.waiting += usize::from(waits(instance));
    }

    fn take_away(&mut self, key: &Key, instance: &Instance) {
        let (rule, device) = key;
        without(&mut self.by_device, device, rule);
        if instance.state != AlertState::Resolved
            && let Some(live) = self.live.get_mut(rule)
        {
            *live -= 1;
            if *live == 0 {
                self.live.remove(rule);
            }
        }
        if instance.state == AlertState::Firing {
            without(&mut self.firing, rule, device);
        }
        if let Some(group) = &instance.group {
            without(&mut self.members, group, key);
        }
        self.waiting -= usize::from(waits(instance));
    }
}

fn without<K: Ord, V: Ord>(sets: &mut BTreeMap<K, BTreeSet<V>>, key: &K, value: &V) {
    if let Some(set) = sets.get_mut(key) {
        set.remove(value);
        if set.is_empty() {
            sets.remove(key);
        }
    }
}
