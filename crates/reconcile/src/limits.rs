//! Limits on what one commit may do: beyond them it waits for a person instead of wiping a fleet.

use serde::{Deserialize, Serialize};

use crate::content::Digest;
use crate::desired::{Changed, Desired, Share};
use crate::name::Name;

/// What one commit may do without being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Devices that it may delete.
    pub deletions: usize,
    /// Devices that it may touch.
    pub devices: Share,
}

/// What a commit would do to the fleet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reach {
    /// Devices that it deletes.
    pub deleted: Vec<Name>,
    /// Devices whose content or access it changes, or that it adds.
    pub touched: Vec<Name>,
    /// Devices in all, before or after, whichever are more.
    pub of: usize,
}

/// A commit that goes too far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TooFar {
    /// What to approve it by: bound to the commit and to what it would do.
    pub id: String,
    /// What it would do.
    pub reach: Reach,
    /// Which limit it breaks, in words.
    pub reason: String,
}

/// What going from one desired state to another would do to the fleet; `changed` is what the updates between them changed.
pub fn reach(in_force: &Desired, next: &Desired, changed: &Changed) -> Reach {
    let devices = changed.concerned(in_force, next);
    let (there, gone): (Vec<Name>, Vec<Name>) = devices.into_iter().partition(|name| next.devices.contains_key(name));
    Reach {
        deleted: gone.into_iter().filter(|name| in_force.devices.contains_key(name)).collect(),
        touched: there.into_iter().filter(|name| is_touched(in_force, next, name)).collect(),
        of: in_force.devices.size().max(next.devices.size()),
    }
}

/// Whether a commit stays within the limits. The first one of all has nothing to compare with and always does.
pub fn check(in_force: &Desired, next: &Desired, changed: &Changed, limits: Limits) -> Result<(), Box<TooFar>> {
    if in_force.revision.commit.is_empty() {
        return Ok(());
    }
    let reach = reach(in_force, next, changed);
    let reason = if reach.deleted.len() > limits.deletions {
        let devices = if reach.deleted.len() == 1 { "device" } else { "devices" };
        format!("deletes {} {devices}, more than {}", reach.deleted.len(), limits.deletions)
    } else if reach.of > 0 && reach.touched.len() > limits.devices.ceil_of(reach.of) {
        format!("touches {} of {} devices, more than {}", reach.touched.len(), reach.of, limits.devices.ceil_of(reach.of))
    } else {
        return Ok(());
    };
    let id = Digest::of_json(&(&next.revision.commit, &reach)).as_str()[..12].to_owned();
    Err(Box::new(TooFar { id, reach, reason }))
}

/// What to approve where the commit that was in force, `lost`, can't be read any more: nobody can say what `next` deletes or touches, so
/// all of it waits for a person.
pub fn unknown(lost: &str, next: &Desired) -> Box<TooFar> {
    let reach = Reach { deleted: Vec::new(), touched: next.devices.keys().cloned().collect(), of: 0 };
    let reason = format!("can't be compared with commit {lost}, which was in force and can't be read again");
    let id = Digest::of_json(&(&next.revision.commit, lost, &reach)).as_str()[..12].to_owned();
    Box::new(TooFar { id, reach, reason })
}

/// It is new, or is reached differently, or something else belongs on it.
fn is_touched(in_force: &Desired, next: &Desired, name: &Name) -> bool {
    let (Some(old), Some(new)) = (in_force.devices.get(name), next.devices.get(name)) else { return true };
    if (&old.address, &old.access) != (&new.address, &new.access) {
        return true;
    }
    contents(in_force, name) != contents(next, name)
}

/// What belongs on a device, as the digests of its contents by Deployment.
fn contents<'a>(desired: &'a Desired, device: &Name) -> Vec<(&'a Name, &'a Digest)> {
    let units = desired.selected_by.get(device).into_iter().flatten();
    units.filter_map(|unit| Some((unit, desired.deployments.get(unit)?.content_for(device).1))).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::plan::Revision;

    fn fleet(devices: u32) -> Desired {
        let device = |number: u32| {
            let spec =
                json!({"type": "Server", "address": format!("10.0.0.{number}"), "access": {"ssh": {"hostKeys": ["ssh-ed25519 AAAA"]}}});
            let object =
                json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "Device", "metadata": {"name": format!("d-{number}")}, "spec": spec});
            Arc::new(crds::Object::from_value(crds::Kind::Device, object).unwrap())
        };
        Desired::build((1..=devices).map(device), Revision { commit: format!("c{devices}"), ..Revision::default() }).0
    }

    /// A fleet that grows is measured by what it grows to: all of it is never more than 100%.
    #[test]
    fn new_devices_count_among_all() {
        let (small, large) = (fleet(1), fleet(4));
        let added = Changed { devices: (2..=4).map(|number| Name::parse(&format!("d-{number}"))).collect(), ..Changed::default() };
        let check = |percent: u32| check(&small, &large, &added, Limits { deletions: 0, devices: Share::Percent(percent) });
        assert!(check(100).is_ok());
        assert_eq!(check(50).unwrap_err().reason, "touches 3 of 4 devices, more than 2");
    }
}
