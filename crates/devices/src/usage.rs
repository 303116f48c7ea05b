//! What devices use: read from `/proc`, a node_exporter or an SNMP agent, in one vocabulary ([`reconcile::Usage`]).
//!
//! ```text
//! Scheduler ─► read (proc, node_exporter, snmp) ─► Reading ─► Rates ─► Usage ─► Measured, to whoever holds the device
//! ```
//!
//! A reading that fails is a gap and never a zero, and says why.

mod exposition;
mod node_exporter;
mod proc;
pub(crate) mod rates;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use reconcile::{Device, Metrics, MetricsSource, Name, Usage};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::devices::{Devices, words};
use rates::{Rates, Reading};

/// Readings at once: most of their time they wait for the device.
const AT_ONCE: usize = 128;
/// Longest time that one reading may take, where the interval is not shorter.
const LIMIT: Duration = Duration::from_secs(20);
/// Bytes of a reason that is kept.
const REASON: usize = 300;

/// What one reading gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Of which device.
    pub device: Name,
    /// When it was asked.
    pub at: Timestamp,
    /// What it uses; or why that is not known.
    pub usage: Result<Arc<Usage>, String>,
    /// What of the answer was left out.
    pub note: Option<String>,
}

/// Reads each device on its interval.
pub struct Scheduler {
    devices: Arc<Devices>,
    out: mpsc::Sender<Measured>,
    permits: Arc<Semaphore>,
    running: HashMap<Name, (Arc<Device>, JoinHandle<()>)>,
}

impl Scheduler {
    /// A scheduler that tells what it read to `out`.
    pub fn new(devices: Arc<Devices>, out: mpsc::Sender<Measured>) -> Self {
        Self { devices, out, permits: Arc::new(Semaphore::new(AT_ONCE)), running: HashMap::new() }
    }

    /// A device as it is now, if it is to be read; only one that is reached or read otherwise than before begins anew.
    pub fn set(&mut self, name: &Name, now: Option<&Arc<Device>>) {
        let same = |(before, _): &(Arc<Device>, _)| {
            now.is_some_and(|now| now.metrics == before.metrics && now.address == before.address && now.access == before.access)
        };
        if self.running.get(name).is_some_and(same) {
            return;
        }
        if let Some((_, task)) = self.running.remove(name) {
            task.abort();
        }
        if let Some((device, metrics)) = now.and_then(|device| Some((device, device.metrics.clone()?))) {
            let watch = watch(self.devices.clone(), device.clone(), metrics, self.out.clone(), self.permits.clone());
            self.running.insert(name.clone(), (device.clone(), tokio::spawn(watch)));
        }
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        for (_, task) in self.running.values() {
            task.abort();
        }
    }
}

/// Reads one device, beginning at a moment of its own so that a fleet does not beat in time.
async fn watch(devices: Arc<Devices>, device: Arc<Device>, metrics: Metrics, out: mpsc::Sender<Measured>, permits: Arc<Semaphore>) {
    let interval = Duration::try_from(metrics.interval).unwrap_or(LIMIT).max(Duration::from_secs(1));
    let mut rates = Rates::default();
    tokio::time::sleep(interval.min(Duration::from_secs(30)).mul_f64(share(&device.name))).await;
    let mut ticks = tokio::time::interval(interval);
    // After a pause the missed readings are not made up for.
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Ok(permit) = permits.acquire().await else { return };
        let measured = measure(&devices, &device, &metrics, &mut rates, interval).await;
        drop(permit);
        if out.send(measured).await.is_err() {
            return;
        }
    }
}

async fn measure(devices: &Devices, device: &Device, metrics: &Metrics, rates: &mut Rates, interval: Duration) -> Measured {
    let (at, asked) = (Timestamp::now(), Instant::now());
    let (usage, note) = match read(devices, device, metrics, interval.min(LIMIT)).await {
        Ok(reading) => {
            let (usage, note) = rates.usage(at, asked, reading, interval);
            (Ok(Arc::new(usage)), note)
        }
        Err(reason) => (Err(reason.chars().filter(|c| !c.is_control()).take(REASON).collect()), None),
    };
    Measured { device: device.name.clone(), at, usage, note }
}

/// Reads a device once, within a time limit.
async fn read(devices: &Devices, device: &Device, metrics: &Metrics, limit: Duration) -> Result<Reading, String> {
    let reading = async {
        match &metrics.source {
            MetricsSource::Ssh => {
                // A command ends by its own limit, a little earlier: it then gives up its connection.
                let output = devices.run_as_user(device, &proc::script(), limit.mul_f32(0.95)).await.map_err(|error| error.to_string())?;
                proc::parse(&output.stdout).map_err(|error| format!("{error} {}", words(&output)))
            }
            MetricsSource::NodeExporter { port, path } => node_exporter::read(&devices.reader, device, *port, path, limit).await,
            MetricsSource::Snmp(agent) => crate::snmp::usage::read(devices, device, agent).await,
        }
    };
    let result = tokio::time::timeout(limit, reading).await;
    result.unwrap_or_else(|_| Err(format!("no answer within {limit:?}")))
}

/// Two readings of a device, so long apart: what `Scheduler` would tell, once there are rates.
pub async fn once(devices: &Devices, device: &Device, apart: Duration) -> Result<Usage, String> {
    let Some(metrics) = &device.metrics else { return Err("the device has no metrics".into()) };
    let (mut rates, limit) = (Rates::default(), apart.max(LIMIT));
    measure(devices, device, metrics, &mut rates, limit).await.usage?;
    tokio::time::sleep(apart).await;
    measure(devices, device, metrics, &mut rates, limit).await.usage.map(Arc::unwrap_or_clone)
}

/// A share between 0 and 1 that is always the same for a device.
fn share(name: &Name) -> f64 {
    let mut hasher = DefaultHasher::new();
    name.full().hash(&mut hasher);
    f64::from(u32::try_from(hasher.finish() >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}
