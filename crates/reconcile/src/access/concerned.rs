//! Whose rules a change may have changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crds::{Kind, Object, Role, Selector};

use super::covers::{covers, selector_of};
use super::{What, roles};
use crate::desired::{Desired, Key};
use crate::name::Name;

/// The Roles whose rules are otherwise after this change than before: those that changed themselves, and those that are about some
/// devices, where one of these came or went, or an object that is about them. `keys` are the objects that changed.
pub fn concerned(before: &Desired, after: &Desired, keys: &BTreeSet<Key>) -> BTreeSet<Name> {
    let mut concerned: BTreeSet<Name> = keys.iter().filter(|(kind, _)| *kind == Kind::Role).map(|(_, name)| name.clone()).collect();
    let devices = relabelled(before, after, keys);
    let others = keys.iter().filter(|(kind, _)| ABOUT_DEVICES.contains(kind)).map(|(_, name)| name.namespace());
    let namespaces: BTreeSet<&str> = devices.iter().map(|device| device.name.namespace()).chain(others).collect();
    for namespace in namespaces {
        let there = roles(after, namespace).filter(|(name, role)| !concerned.contains(*name) && is_on_some(role));
        let there: Vec<(&Name, &Role)> = there.collect();
        if !there.is_empty() {
            let change = Change::of(before, after, keys, &devices, namespace);
            concerned.extend(there.into_iter().filter(|(_, role)| change.concerns(role)).map(|(name, _)| name.clone()));
        }
    }
    concerned
}

/// The kinds that are about devices and are none.
const ABOUT_DEVICES: [Kind; 3] = [Kind::AlertRule, Kind::Deployment, Kind::Silence];

type Labels = BTreeMap<String, String>;

/// A device whose labels are otherwise than before, usable or not.
struct Relabelled<'a> {
    name: Name,
    old: Option<&'a Labels>,
    new: Option<&'a Labels>,
}

impl Relabelled<'_> {
    /// Whether a selector chose it before, and does now.
    fn is_in(&self, selector: &Selector) -> (bool, bool) {
        let is_in = |labels: Option<&Labels>| labels.is_some_and(|labels| selector.matches(labels));
        (is_in(self.old), is_in(self.new))
    }
}

/// Devices that changed, or their class.
fn relabelled<'a>(before: &'a Desired, after: &'a Desired, keys: &BTreeSet<Key>) -> Vec<Relabelled<'a>> {
    let mut names: BTreeSet<Name> = BTreeSet::new();
    for (kind, name) in keys {
        match kind {
            Kind::Device => drop(names.insert(name.clone())),
            Kind::DeviceClass => names.extend(before.of_class(name).chain(after.of_class(name)).cloned()),
            _ => {}
        }
    }
    let devices = names.into_iter().map(|name| {
        let (old, new) = (before.written(&name), after.written(&name));
        Relabelled { old: old.map(|device| &*device.labels), new: new.map(|device| &*device.labels), name }
    });
    devices.filter(|device| device.old != device.new).collect()
}

fn is_on_some(role: &Role) -> bool {
    role.spec.allow.iter().any(|grant| grant.devices.is_some())
}

/// What changed in a namespace.
struct Change<'a> {
    before: &'a Desired,
    after: &'a Desired,
    devices: Vec<&'a Relabelled<'a>>,
    objects: Vec<Concerned<'a>>,
}

/// An object that changed, or that is about a device that did.
struct Concerned<'a> {
    key: &'a Key,
    /// It may be about other devices than before.
    is_moved: bool,
}

impl<'a> Change<'a> {
    fn of(before: &'a Desired, after: &'a Desired, keys: &'a BTreeSet<Key>, devices: &'a [Relabelled<'a>], namespace: &'a str) -> Self {
        let devices: Vec<&Relabelled<'_>> = devices.iter().filter(|device| device.name.namespace() == namespace).collect();
        let is_own = |(kind, name): &Key| ABOUT_DEVICES.contains(kind) && name.namespace() == namespace;
        let mut objects: Vec<Concerned<'_>> = keys.iter().filter(|key| is_own(key)).map(|key| Concerned { key, is_moved: true }).collect();
        for kind in ABOUT_DEVICES {
            let there = after.objects.range((kind, Name::new(namespace, ""))..);
            let there = there.take_while(|((of, name), _)| *of == kind && name.namespace() == namespace);
            for (key, object) in there.filter(|(key, _)| !keys.contains(*key)) {
                let Some(selector) = selector_of(object) else { continue };
                let is_in = || devices.iter().map(|device| device.is_in(&selector));
                let is_moved = is_in().any(|(old, new)| old != new);
                if is_moved || is_in().any(|(old, new)| old || new) {
                    objects.push(Concerned { key, is_moved });
                }
            }
        }
        Self { before, after, devices, objects }
    }

    fn concerns(&self, role: &Role) -> bool {
        let grants = role.spec.allow.iter().filter_map(|grant| Some((grant.devices.as_ref()?, &grant.kinds)));
        grants.into_iter().any(|(selector, kinds)| {
            let is_about = |kind: Kind| kinds.is_empty() || kinds.contains(&kind);
            let moves = self.devices.iter().map(|device| device.is_in(selector)).any(|(old, new)| old != new);
            if moves && is_about(Kind::Device) {
                return true;
            }
            let objects = self.objects.iter().filter(|object| is_about(object.key.0) && (object.is_moved || moves));
            objects.into_iter().any(|object| {
                let covered = |fleet: &Desired| is_covered(fleet, selector, object.key);
                covered(self.before) != covered(self.after)
            })
        })
    }
}

fn is_covered(fleet: &Desired, selector: &Selector, key: &Key) -> bool {
    let object: Option<&Arc<Object>> = fleet.objects.get(key);
    object.is_some_and(|object| covers(fleet, selector, key.0, key.1.namespace(), What::Object(object)).is_ok())
}
