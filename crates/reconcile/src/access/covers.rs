//! Whether the devices of a grant are all that an object is about.

use std::borrow::Cow;
use std::fmt;

use crds::{Kind, Object, Selector};

use super::What;
use crate::desired::{Desired, Device};
use crate::effective;
use crate::name::Name;

/// The kinds that are about devices.
pub(super) const ON_DEVICES: [Kind; 4] = [Kind::AlertRule, Kind::Deployment, Kind::Device, Kind::Silence];

/// What is not covered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Miss {
    /// Objects of this kind are not about devices.
    Kind(Kind),
    /// Any object was asked for, and only some are allowed.
    Any,
    /// It is about no device at all.
    Nothing,
    /// It is about this device, which is not selected.
    Device(Name),
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(kind) => write!(f, "a {} is not about devices", kind.as_str()),
            Self::Any => f.write_str("only on some devices, and no object was named that is about these only"),
            Self::Nothing => f.write_str("it selects no device, so that nothing says which ones it will be about"),
            Self::Device(device) => write!(f, "device/{device} is not among them"),
        }
    }
}

/// Whether all devices that it is about are selected, and there is one at least: what selects nothing now could select anything later.
pub(super) fn covers(fleet: &Desired, selector: &Selector, kind: Kind, namespace: &str, what: What<'_>) -> Result<(), Miss> {
    if !ON_DEVICES.contains(&kind) {
        return Err(Miss::Kind(kind));
    }
    match what {
        What::Any => Err(Miss::Any),
        What::On(device) => fleet.written(device).map_or_else(|| Err(Miss::Device(device.clone())), |device| within(selector, device)),
        What::Object(Object::Device(device)) => {
            let name = Name::new(namespace, device.metadata.name.as_deref().unwrap_or_default());
            if selector.matches(&effective::labels(fleet, &name, device)) { Ok(()) } else { Err(Miss::Device(name)) }
        }
        What::Object(Object::Deployment(deployment)) => {
            let name = Name::new(namespace, deployment.metadata.name.as_deref().unwrap_or_default());
            // Its members are known, unless it is not the one that the fleet has.
            let known = fleet.deployments.get(&name).filter(|_| {
                let there = fleet.objects.get(&(Kind::Deployment, name.clone())).map(|object| &**object);
                matches!(there, Some(Object::Deployment(there)) if there.spec.selector == deployment.spec.selector)
            });
            let chosen = &deployment.spec.selector;
            match known {
                Some(known) => {
                    let members = known.members.iter().filter_map(|member| fleet.written(member));
                    all(selector, members.chain(fleet.unusable(namespace).filter(|device| chosen.matches(&device.labels))))
                }
                None => all(selector, selected(fleet, namespace, chosen)),
            }
        }
        What::Object(object) => match selector_of(object) {
            Some(chosen) => all(selector, selected(fleet, namespace, &chosen)),
            None => Err(Miss::Kind(object.kind())),
        },
    }
}

/// What an object is about, if devices.
pub(super) fn selector_of(object: &Object) -> Option<Cow<'_, Selector>> {
    match object {
        Object::Deployment(deployment) => Some(Cow::Borrowed(&deployment.spec.selector)),
        Object::AlertRule(rule) => Some(Cow::Borrowed(&rule.spec.selector)),
        Object::Silence(silence) => Some(silence.spec.devices.as_ref().map_or_else(Cow::default, Cow::Borrowed)),
        _ => None,
    }
}

fn within(selector: &Selector, device: &Device) -> Result<(), Miss> {
    if selector.matches(&device.labels) { Ok(()) } else { Err(Miss::Device(device.name.clone())) }
}

fn all<'a>(selector: &Selector, devices: impl Iterator<Item = &'a Device>) -> Result<(), Miss> {
    let mut any = false;
    for device in devices {
        any = true;
        within(selector, device)?;
    }
    if any { Ok(()) } else { Err(Miss::Nothing) }
}

/// The devices of a namespace that a selector chooses, also those that can't be used: they will be able to, once what hinders it is gone.
fn selected<'a>(fleet: &'a Desired, namespace: &'a str, selector: &'a Selector) -> impl Iterator<Item = &'a Device> {
    fleet.all_written(namespace).filter(|device| selector.matches(&device.labels))
}
