//! Looks at devices: each on an interval of its own, and at once when something happened there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use devices::Devices;
use reconcile::{Device, ItemKey, Name, Observe as _};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinHandle;

use super::Event;

/// Looks at once.
const AT_ONCE: usize = 64;
/// A device that can't be reached is tried again at least this often.
const AWAY: Duration = Duration::from_secs(15);

/// Looks at devices.
pub(super) struct Looks {
    devices: Arc<Devices>,
    events: mpsc::Sender<Event>,
    interval: Duration,
    permits: Arc<Semaphore>,
    running: BTreeMap<Name, Look>,
}

struct Look {
    device: Arc<Device>,
    items: Vec<ItemKey>,
    now: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Looks {
    pub(super) fn new(devices: Arc<Devices>, events: mpsc::Sender<Event>, interval: Duration) -> Self {
        Self { devices, events, interval, permits: Arc::new(Semaphore::new(AT_ONCE)), running: BTreeMap::new() }
    }

    /// A device as it is now, if it is to be looked at, and what has to be read there.
    pub(super) fn set(&mut self, name: &Name, device: Option<&Arc<Device>>, items: Vec<ItemKey>) {
        let same = |look: &Look| {
            let is_same = |now: &Arc<Device>| now.access == look.device.access && now.address == look.device.address;
            device.is_some_and(is_same) && items == look.items
        };
        if self.running.get(name).is_some_and(same) {
            return;
        }
        if let Some(look) = self.running.remove(name) {
            look.task.abort();
        }
        let Some(device) = device else { return };
        let again = Arc::new(Notify::new());
        let watch = Watch {
            devices: self.devices.clone(),
            device: device.clone(),
            items: items.clone(),
            interval: self.interval,
            again: again.clone(),
            permits: self.permits.clone(),
            events: self.events.clone(),
        };
        self.running.insert(name.clone(), Look { device: device.clone(), items, now: again, task: tokio::spawn(watch.run()) });
    }

    /// Something happened on the device.
    pub(super) fn now(&self, name: &Name) {
        if let Some(look) = self.running.get(name) {
            look.now.notify_one();
        }
    }

    pub(super) fn stop(&mut self) {
        for look in self.running.values() {
            look.task.abort();
        }
    }
}

impl Drop for Looks {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What it takes to look at one device.
struct Watch {
    devices: Arc<Devices>,
    device: Arc<Device>,
    items: Vec<ItemKey>,
    interval: Duration,
    again: Arc<Notify>,
    permits: Arc<Semaphore>,
    events: mpsc::Sender<Event>,
}

impl Watch {
    async fn run(self) {
        loop {
            let Ok(permit) = self.permits.acquire().await else { return };
            let seen = self.devices.observe(&self.device, &self.items).await;
            drop(permit);
            let wait = if seen.is_reachable() { self.interval } else { self.interval.min(AWAY) };
            if self.events.send(Event::Seen(self.device.name.clone(), Box::new(seen))).await.is_err() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.again.notified() => {}
            }
        }
    }
}
