//! Whose rules a change may have changed.

use std::collections::{BTreeMap, BTreeSet};

use crds::{Kind, Object, Role, Selector};

use super::covers::covers;
use super::{What, roles};
use crate::desired::{Changed, Desired, Key};
use crate::name::Name;

/// The Roles whose rules are otherwise after this change than before: those that changed themselves, and those that are about some
/// devices, where one of these came or went, or an object that is about them. `keys` are the objects that changed.
pub fn concerned(before: &Desired, after: &Desired, keys: &BTreeSet<Key>, changed: &Changed) -> BTreeSet<Name> {
    let mut concerned: BTreeSet<Name> = keys.iter().filter(|(kind, _)| *kind == Kind::Role).map(|(_, name)| name.clone()).collect();
    let change = Change::of(before, after, keys, changed);
    let namespaces: BTreeSet<&str> = change.namespaces();
    for namespace in namespaces {
        for (name, role) in roles(after, namespace) {
            if !concerned.contains(name) && change.concerns(namespace, role) {
                concerned.insert(name.clone());
            }
        }
    }
    concerned
}

type Labels = BTreeMap<String, String>;

struct Change<'a> {
    before: &'a Desired,
    after: &'a Desired,
    /// Devices whose labels are otherwise than before, with both.
    devices: Vec<(&'a Name, Option<&'a Labels>, Option<&'a Labels>)>,
    deployments: &'a BTreeSet<Name>,
    /// AlertRules and Silences.
    others: Vec<&'a Key>,
}

impl<'a> Change<'a> {
    fn of(before: &'a Desired, after: &'a Desired, keys: &'a BTreeSet<Key>, changed: &'a Changed) -> Self {
        let labels = |desired: &'a Desired, name: &Name| desired.devices.get(name).map(|device| &device.labels);
        let devices = changed.devices.iter().map(|name| (name, labels(before, name), labels(after, name)));
        let devices = devices.filter(|(_, old, new)| old != new).collect();
        let others = keys.iter().filter(|(kind, _)| matches!(kind, Kind::AlertRule | Kind::Silence)).collect();
        Self { before, after, devices, deployments: &changed.deployments, others }
    }

    fn namespaces(&self) -> BTreeSet<&'a str> {
        let devices = self.devices.iter().map(|(name, ..)| name.namespace());
        let others = self.others.iter().map(|(_, name)| name.namespace());
        devices.chain(self.deployments.iter().map(Name::namespace)).chain(others).collect()
    }

    fn concerns(&self, namespace: &str, role: &Role) -> bool {
        let grants = role.spec.allow.iter().filter_map(|grant| Some((grant.devices.as_ref()?, &grant.kinds)));
        grants.into_iter().any(|(selector, kinds)| {
            let is_about = |kind: Kind| kinds.is_empty() || kinds.contains(&kind);
            (is_about(Kind::Device) && self.moves_device(namespace, selector))
                || (is_about(Kind::Deployment) && self.moves_deployment(namespace, selector))
                || ((is_about(Kind::AlertRule) || is_about(Kind::Silence)) && self.may_move_others(namespace))
        })
    }

    fn moves_device(&self, namespace: &str, selector: &Selector) -> bool {
        let is_in = |labels: Option<&Labels>| labels.is_some_and(|labels| selector.matches(labels));
        self.devices.iter().any(|(name, old, new)| name.namespace() == namespace && is_in(*old) != is_in(*new))
    }

    fn moves_deployment(&self, namespace: &str, selector: &Selector) -> bool {
        let is_in = |fleet: &Desired, name: &Name| {
            let object = fleet.objects.get(&(Kind::Deployment, name.clone()));
            object.is_some_and(|object: &std::sync::Arc<Object>| {
                covers(fleet, selector, Kind::Deployment, namespace, What::Object(object)).is_ok()
            })
        };
        let there = self.deployments.iter().filter(|name| name.namespace() == namespace);
        there.into_iter().any(|name| is_in(self.before, name) != is_in(self.after, name))
    }

    /// Which devices these are about is not kept.
    fn may_move_others(&self, namespace: &str) -> bool {
        let devices = self.devices.iter().any(|(name, ..)| name.namespace() == namespace);
        devices || self.others.iter().any(|(_, name)| name.namespace() == namespace)
    }
}
