//! Devices in memory, behind the ports that real ones are behind.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use reconcile::record::{Act, Observe, RecordedStep};
use reconcile::{AwayCode, Contact, Device, DeviceSeen, ItemKey, Name, Outcome, ProbeState};

use crate::memory::machine::{Breaks, Machine, Versions};

/// Devices in memory. Their clock stands still until it is set.
#[derive(Debug)]
pub struct Devices(Mutex<Fleet>);

#[derive(Debug)]
struct Fleet {
    now: Timestamp,
    machines: BTreeMap<Name, Machine>,
    versions: Versions,
    forgetful: bool,
}

impl Devices {
    /// No devices yet; one comes to be when it is first asked for.
    pub fn new(now: Timestamp) -> Self {
        Self(Mutex::new(Fleet { now, machines: BTreeMap::new(), versions: Versions::default(), forgetful: false }))
    }

    /// Devices that don't remember which steps they have run, as no device may be: for showing that a test can fail.
    pub fn forgetful(now: Timestamp) -> Self {
        let devices = Self::new(now);
        devices.fleet().forgetful = true;
        devices
    }

    /// Sets the clock.
    pub fn set_now(&self, now: Timestamp) {
        self.fleet().now = now;
    }

    /// A version of whichever package is bad, wherever it is installed.
    pub fn set_bad(&self, version: &str, breaks: Breaks) {
        self.fleet().versions.insert(version.to_owned(), breaks);
    }

    /// Does something with one of them.
    pub fn with<T>(&self, name: &Name, does: impl FnOnce(&mut Machine) -> T) -> T {
        does(self.fleet().machines.entry(name.clone()).or_default())
    }

    /// What each of its probes answers; `None`: it can't be reached.
    pub fn probe(&self, name: &Name) -> Option<ProbeState> {
        let mut fleet = self.fleet();
        let Fleet { machines, versions, .. } = &mut *fleet;
        machines.entry(name.clone()).or_default().probe(versions)
    }

    fn fleet(&self) -> MutexGuard<'_, Fleet> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observe for Devices {
    async fn observe(&self, device: &Device, items: &[ItemKey]) -> DeviceSeen {
        let mut fleet = self.fleet();
        let Fleet { now, machines, versions, .. } = &mut *fleet;
        let machine = machines.entry(device.name.clone()).or_default();
        if machine.is_away() {
            return DeviceSeen {
                contact: Contact::Unreachable { since: *now, reason: "no answer".into(), code: AwayCode::NoAnswer },
                ..DeviceSeen::default()
            };
        }
        DeviceSeen {
            contact: Contact::Known,
            seen_at: Some(*now),
            boot_id: machine.boot_id(),
            reboot_required: machine.needs_reboot(),
            items: items.iter().map(|key| (key.clone(), machine.look(key, versions))).collect(),
            ..DeviceSeen::default()
        }
    }
}

impl Act for Devices {
    /// `None` also while the step is under way: nobody can wait here, since the clock stands still.
    async fn act(&self, device: &Device, step: &RecordedStep) -> Option<Outcome> {
        let mut fleet = self.fleet();
        let Fleet { now, machines, versions, forgetful } = &mut *fleet;
        let machine = machines.entry(device.name.clone()).or_default();
        if *forgetful {
            machine.forget(&step.step().id);
        }
        machine.act(step.step(), *now, versions)
    }
}
