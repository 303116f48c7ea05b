//! This process looks at devices, runs their probes and acts on them.

use std::sync::Arc;
use std::time::Duration;

use devices::Devices;
use devices::probe::{Ran, Scheduler};
use reconcile::{Access, Device, ItemKey, Name};
use tokio::sync::mpsc;

use super::super::Event;
use super::super::looks::Looks;

/// Devices with those who look at them.
pub(crate) struct Here {
    pub(crate) devices: Arc<Devices>,
    looks: Looks,
    probes: Scheduler,
}

impl Here {
    pub(crate) fn new(devices: Arc<Devices>, events: mpsc::Sender<Event>, ran: mpsc::Sender<Ran>, interval: Duration) -> Self {
        let looks = Looks::new(devices.clone(), events, interval);
        Self { probes: Scheduler::new(devices.clone(), ran), looks, devices }
    }

    /// A device as it is now, if it is there: one whose probes are otherwise begins with them anew.
    pub(crate) fn probe(&mut self, name: &Name, device: Option<&Arc<Device>>) {
        self.probes.set(name, device.filter(|device| !device.suspend && !device.probes.is_empty()));
    }

    /// A device as it is now, and what has to be read there.
    pub(crate) fn look_at(&mut self, name: &Name, device: Option<&Arc<Device>>, items: Vec<ItemKey>) {
        self.looks.set(name, device.filter(|device| !device.suspend && device.access != Access::None), items);
    }

    pub(crate) fn now(&self, name: &Name) {
        self.looks.now(name);
    }

    pub(crate) fn stop(&mut self) {
        self.looks.stop();
    }
}
