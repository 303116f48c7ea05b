//! Devices as they are written, whether they can be used or not: who decides about them goes by these, since one that is in a circle now is
//! not when the circle is gone.

use super::{Desired, Device};
use crate::name::Name;

impl Desired {
    /// A device, its class merged in.
    pub(crate) fn written(&self, name: &Name) -> Option<&Device> {
        self.index.read.get(name).map(|device| &**device)
    }

    /// The devices of a namespace.
    pub(crate) fn all_written<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Device> {
        let there = self.index.read.range(Name::new(namespace, "")..).take_while(move |(name, _)| name.namespace() == namespace);
        there.map(|(_, device)| &**device)
    }

    /// Those of them that [`Desired::devices`] lacks.
    pub(crate) fn unusable<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Device> {
        let there = self.index.circling.range(Name::new(namespace, "")..).take_while(move |name| name.namespace() == namespace);
        there.filter_map(|name| self.written(name))
    }

    /// The devices that use a class.
    pub(crate) fn of_class(&self, class: &Name) -> impl Iterator<Item = &Name> {
        self.index.class_users.get(class).into_iter().flatten()
    }
}
