//! This process looks at devices, runs their probes and acts on them.

use std::sync::Arc;
use std::time::Duration;

use api::usage::Usages;
use devices::Devices;
use devices::probe::{Ran, Scheduler};
use reconcile::{Access, Device, ItemKey, Name};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::super::looks::Looks;
use super::super::{Event, usage};

/// Devices with those who look at them.
pub(crate) struct Here {
    pub(crate) devices: Arc<Devices>,
    looks: Looks,
    probes: Scheduler,
    readings: devices::usage::Scheduler,
    usages: Arc<Usages>,
    _taking_in: AbortOnDropHandle<()>,
}

impl Here {
    pub(crate) fn new(
        devices: Arc<Devices>,
        events: mpsc::Sender<Event>,
        ran: mpsc::Sender<Ran>,
        interval: Duration,
        usages: Arc<Usages>,
    ) -> Self {
        let looks = Looks::new(devices.clone(), events, interval);
        let (measured, readings) = mpsc::channel(usage::QUEUE);
        let taking_in = AbortOnDropHandle::new(tokio::spawn(usage::take_in(readings, usages.clone())));
        let readings = devices::usage::Scheduler::new(devices.clone(), measured);
        Self { probes: Scheduler::new(devices.clone(), ran), looks, readings, usages, _taking_in: taking_in, devices }
    }

    /// A device as it is now, if it is there: one whose probes or readings are otherwise begins with them anew.
    pub(crate) fn probe(&mut self, name: &Name, device: Option<&Arc<Device>>) {
        let read = device.filter(|device| !device.suspend && device.metrics.is_some());
        self.readings.set(name, read);
        if device.is_none_or(|device| device.suspend || (device.metrics.is_none() && device.probes.is_empty())) {
            self.usages.forget(name);
        }
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
