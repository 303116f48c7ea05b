//! This process looks at devices, runs their probes and acts on them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use api::usage::Usages;
use api::view::View;
use devices::Devices;
use devices::probe::{Ran, Reference, Scheduler};
use reconcile::alerting::alerts::SETTLING;
use reconcile::{Access, Device, ItemKey, Name};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::super::logs::journal::{Journals, Way};
use super::super::looks::Looks;
use super::super::{Event, usage};
use super::attention::Attention;

/// Devices with those who look at them.
pub(crate) struct Here {
    pub(crate) devices: Arc<Devices>,
    looks: Looks,
    probes: Scheduler,
    attention: Attention,
    readings: devices::usage::Scheduler,
    journals: Journals,
    usages: Arc<Usages>,
    /// When it was first asked whether our own network is down.
    asked: Option<Instant>,
    _taking_in: [AbortOnDropHandle<()>; 2],
}

/// How devices are looked at.
#[derive(Clone, Debug)]
pub(crate) struct Watching {
    /// Time between two looks at a device.
    pub(crate) interval: Duration,
    /// What answers if our own network is up.
    pub(crate) references: Vec<Reference>,
    /// Where lines of journals go, if any are read.
    pub(crate) journals: Option<Way>,
}

impl Here {
    pub(crate) fn new(
        devices: Arc<Devices>,
        events: mpsc::Sender<Event>,
        ran: mpsc::Sender<Ran>,
        watching: &Watching,
        usages: Arc<Usages>,
    ) -> Self {
        let looks = Looks::new(devices.clone(), events, watching.interval);
        let probes = Scheduler::new(devices.clone(), ran, watching.references.clone());
        let (measured, taken) = mpsc::channel(usage::QUEUE);
        let readings = devices::usage::Scheduler::new(devices.clone(), measured);
        let taking_in = [
            AbortOnDropHandle::new(tokio::spawn(usage::take_in(taken, usages.clone()))),
            AbortOnDropHandle::new(tokio::spawn(usage::take_in_probes(probes.measurements(), usages.clone()))),
        ];
        let journals = Journals::new(devices.clone(), watching.journals.clone());
        Self { probes, looks, readings, journals, usages, asked: None, _taking_in: taking_in, devices, attention: Attention::default() }
    }

    /// A device as it is now, if it is there: a probe or a reading of it that is otherwise begins anew.
    pub(crate) fn probe(&mut self, name: &Name, device: Option<&Arc<Device>>) {
        let read = device.filter(|device| !device.suspend && device.metrics.is_some());
        self.readings.set(name, read);
        self.journals.set(name, device.filter(|device| !device.suspend && device.logs.journald.is_some()));
        if device.is_none_or(|device| device.suspend || (device.metrics.is_none() && device.probes.is_empty())) {
            self.usages.forget(name);
        }
        self.probes.set(name, device.filter(|device| !device.suspend && !device.probes.is_empty()));
        self.probes.attend(name, self.attention.is_on(name));
    }

    /// A device as it is now, and what has to be read there.
    pub(crate) fn look_at(&mut self, name: &Name, device: Option<&Arc<Device>>, items: Vec<ItemKey>) {
        self.looks.set(name, device.filter(|device| !device.suspend && device.access != Access::None), items);
    }

    /// Whether a device answers, as far as looks and probes say.
    pub(crate) fn contact(&mut self, name: &Name, is_there: bool) {
        self.readings.contact(name, is_there);
    }

    /// Something happened on the device: it is looked at now, and how its probes find it afterwards is told.
    pub(crate) fn now(&mut self, name: &Name) {
        self.looks.now(name);
        self.probes.ask(name);
    }

    /// These Secrets are otherwise than before: whatever needs one of them begins anew on these devices.
    pub(crate) async fn secrets_changed<'a, D: Iterator<Item = &'a Arc<Device>>>(&mut self, secrets: &[Name], devices: impl Fn() -> D) {
        for secret in secrets {
            for device in devices() {
                if device.logs_in_with(secret) {
                    self.devices.log_in_anew(&device.name).await;
                    self.looks.now(&device.name);
                }
                if device.probes.iter().any(|probe| device.probes_with(probe, secret)) {
                    self.probes.anew(&device.name, |probe| device.probes_with(probe, secret));
                }
                if device.is_read_with(secret) {
                    self.readings.anew(&device.name);
                }
            }
            tracing::info!(%secret, "a Secret changed: what needs it begins anew");
        }
    }

    /// What was told of its probes is older than what was done there last.
    pub(crate) fn outdated(&mut self, name: &Name) {
        self.probes.ask(name);
    }

    /// These Deployments are planned: where something is under way, each run counts.
    pub(crate) fn attend(&mut self, view: &View, units: &BTreeSet<Name>) {
        for name in self.attention.attend(view, units) {
            self.probes.attend(&name, self.attention.is_on(&name));
        }
    }

    /// On this device each run is told, or only what is news: somebody else knows where something is under way.
    pub(crate) fn tell_each(&mut self, name: &Name, each: bool) {
        self.probes.attend(name, each);
    }

    /// Tells when our own network is down, and when it is back.
    pub(crate) fn own_network(&self) -> watch::Receiver<bool> {
        self.probes.own_network()
    }

    /// Whether our own network is down. That it is not is known a while after this was first asked: before, no probe may have failed yet.
    pub(crate) fn network_down(&mut self) -> Option<bool> {
        let is_down = *self.own_network().borrow();
        let asked = *self.asked.get_or_insert_with(Instant::now);
        (is_down || asked.elapsed() > SETTLING.unsigned_abs()).then_some(is_down)
    }

    /// Whether nothing is held against a device that could not be reached from here.
    pub(crate) fn excuses(&self) -> bool {
        self.probes.excuses()
    }

    pub(crate) fn stop(&mut self) {
        self.looks.stop();
    }
}

#[cfg(test)]
mod tests {
    use devices::Secrets;

    use super::*;

    /// Who takes a shard while the network is down would say else that it is back.
    #[tokio::test(start_paused = true)]
    async fn that_the_network_is_up_is_not_known_at_first() {
        let folder = tempfile::tempdir().unwrap();
        let devices = Arc::new(Devices::new(Secrets::new(folder.path()), folder.path()));
        let (events, _seen) = mpsc::channel(1);
        let (probes, _ran) = mpsc::channel(1);
        let watching = Watching { interval: Duration::from_secs(30), references: Vec::new(), journals: None };
        let mut here = Here::new(devices, events, probes, &watching, Arc::default());
        assert_eq!(here.network_down(), None);
        tokio::time::advance(SETTLING.unsigned_abs() / 2).await;
        assert_eq!(here.network_down(), None);
        tokio::time::advance(SETTLING.unsigned_abs()).await;
        assert_eq!(here.network_down(), Some(false));
    }
}
