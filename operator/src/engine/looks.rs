//! Looks at devices: each on an interval of its own, and at once when something happened there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use devices::Devices;
use reconcile::{Access, Desired, Device, ItemKey, Name, Observe as _};
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

    /// Another revision is in force: devices whose access or items changed are looked at anew.
    pub(super) fn update(&mut self, desired: &Arc<Desired>, _old: &Desired) {
        self.running.retain(|name, look| {
            let same = desired.devices.get(name).is_some_and(|device| {
                device.access == look.device.access
                    && device.address == look.device.address
                    && !device.suspend
                    && items(desired, name) == look.items
            });
            if !same {
                look.task.abort();
            }
            same
        });
        for (name, device) in &desired.devices {
            if device.suspend || device.access == Access::None || self.running.contains_key(name) {
                continue;
            }
            let (now, items) = (Arc::new(Notify::new()), items(desired, name));
            let watch = watch(
                self.devices.clone(),
                device.clone(),
                items.clone(),
                self.interval,
                now.clone(),
                self.permits.clone(),
                self.events.clone(),
            );
            self.running.insert(name.clone(), Look { device: device.clone(), items, now, task: tokio::spawn(watch) });
        }
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

/// What has to be read on a device: the items of all contents that belong there.
fn items(desired: &Desired, name: &Name) -> Vec<ItemKey> {
    let units = desired.selected_by.get(name).into_iter().flatten().filter_map(|unit| desired.deployments.get(unit));
    let items: BTreeSet<ItemKey> = units.flat_map(|unit| unit.content_for(name).0.items().collect::<Vec<_>>()).collect();
    items.into_iter().collect()
}

#[allow(clippy::too_many_arguments)]
async fn watch(
    devices: Arc<Devices>,
    device: Arc<Device>,
    items: Vec<ItemKey>,
    interval: Duration,
    now: Arc<Notify>,
    permits: Arc<Semaphore>,
    events: mpsc::Sender<Event>,
) {
    loop {
        let Ok(permit) = permits.acquire().await else { return };
        let seen = devices.observe(&device, &items).await;
        drop(permit);
        let wait = if seen.is_reachable() { interval } else { interval.min(AWAY) };
        if events.send(Event::Seen(device.name.clone(), Box::new(seen))).await.is_err() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = now.notified() => {}
        }
    }
}
