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

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use reconcile::{Device, Metrics, MetricsSource, Name, Usage};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

use crate::devices::{Devices, words};
use rates::{Rates, Reading};

/// Readings at once, of devices that answered when they were last read: most of their time they wait for the device.
const AT_ONCE: usize = 128;
/// The same of devices that did not: however many are dead, they hold up each other and nobody else.
const FAILING: usize = 32;
/// Longest time between two readings of a device that does not answer, where its interval is not longer: as long as a reading counts.
const LONGEST: Duration = Duration::from_secs(300);
/// A device that is known to be out of reach is read as seldom as one that failed so often.
const AWAY: u32 = 3;
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

/// Reads a device once, within a time limit.
type Read = Arc<dyn Fn(Arc<Device>, Metrics, Duration) -> BoxFuture<'static, Result<Reading, String>> + Send + Sync>;

/// Reads each device on its interval; one that does not answer, ever more seldom.
///
/// Probes have a scheduler of their own: they need what this one does not (what is news, who waits for which run), each reading here
/// needs the one before it (rates), and what both have in common is a dozen lines.
pub struct Scheduler {
    shared: Arc<Shared>,
    running: HashMap<Name, Running>,
}

struct Shared {
    read: Read,
    out: mpsc::Sender<Measured>,
    /// For devices that answered when they were last read, and for those that did not.
    lanes: [Semaphore; 2],
}

struct Running {
    device: Arc<Device>,
    /// Whether it answers, as others have seen.
    contact: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Scheduler {
    /// A scheduler that tells what it read to `out`.
    pub fn new(devices: Arc<Devices>, out: mpsc::Sender<Measured>) -> Self {
        Self::with(
            out,
            Arc::new(move |device, metrics, limit| {
                let devices = devices.clone();
                async move { read(&devices, &device, &metrics, limit).await }.boxed()
            }),
        )
    }

    fn with(out: mpsc::Sender<Measured>, read: Read) -> Self {
        let shared = Shared { read, out, lanes: [Semaphore::new(AT_ONCE), Semaphore::new(FAILING)] };
        Self { shared: Arc::new(shared), running: HashMap::new() }
    }

    /// A device as it is now, if it is to be read; only one that is reached or read otherwise than before begins anew.
    pub fn set(&mut self, name: &Name, now: Option<&Arc<Device>>) {
        let same = |before: &Running| {
            let before = &before.device;
            now.is_some_and(|now| now.metrics == before.metrics && now.address == before.address && now.access == before.access)
        };
        if self.running.get(name).is_some_and(same) {
            return;
        }
        if let Some(before) = self.running.remove(name) {
            before.task.abort();
        }
        if let Some((device, metrics)) = now.and_then(|device| Some((device, device.metrics.clone()?))) {
            let (contact, seen) = watch::channel(true);
            let task = tokio::spawn(keep_reading(self.shared.clone(), device.clone(), metrics, seen));
            self.running.insert(name.clone(), Running { device: device.clone(), contact, task });
        }
    }

    /// What it takes to read a device is otherwise: it is read anew.
    pub fn anew(&mut self, name: &Name) {
        if let Some(before) = self.running.remove(name) {
            before.task.abort();
            self.set(name, Some(&before.device));
        }
    }

    /// Others have seen that a device answers, or does not: it is read at once, if it was not, or less often.
    pub fn contact(&mut self, name: &Name, is_there: bool) {
        if let Some(running) = self.running.get(name) {
            running.contact.send_replace(is_there);
        }
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        for running in self.running.values() {
            running.task.abort();
        }
    }
}

/// Reads one device, beginning at a moment of its own so that a fleet does not beat in time.
async fn keep_reading(shared: Arc<Shared>, device: Arc<Device>, metrics: Metrics, mut contact: watch::Receiver<bool>) {
    let interval = Duration::try_from(metrics.interval).unwrap_or(LIMIT).max(Duration::from_secs(1));
    let share = share(&device.name);
    let (mut rates, mut failures) = (Rates::default(), 0_u32);
    let mut due = tokio::time::Instant::now() + interval.min(Duration::from_secs(30)).mul_f64(share);
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(due) => {}
            Ok(()) = contact.changed() => match *contact.borrow_and_update() {
                true if failures > 0 => (failures, due) = (0, tokio::time::Instant::now()),
                true => continue,
                false => {
                    failures = failures.max(AWAY);
                    due += pause(interval, failures, share);
                    continue;
                }
            },
        }
        let Ok(permit) = shared.lanes[usize::from(failures > 0)].acquire().await else { return };
        let measured = measure((shared.read)(device.clone(), metrics.clone(), interval.min(LIMIT)), &device, &mut rates, interval).await;
        drop(permit);
        failures = if measured.usage.is_ok() { 0 } else { failures.saturating_add(1) };
        // After a pause the missed readings are not made up for.
        let pause = pause(interval, failures, share);
        let now = tokio::time::Instant::now();
        due = Some(due.max(now - interval.min(LIMIT)) + pause).filter(|next| *next > now).unwrap_or(now + pause);
        if shared.out.send(measured).await.is_err() {
            return;
        }
    }
}

/// Time until the next reading: the interval, twice as much with each that failed up to [`LONGEST`], and each device a little otherwise.
fn pause(interval: Duration, failures: u32, share: f64) -> Duration {
    if failures == 0 {
        return interval;
    }
    interval.saturating_mul(1 << failures.min(16)).min(LONGEST.max(interval)).mul_f64(0.9 + 0.2 * share)
}

async fn measure(
    reading: impl Future<Output = Result<Reading, String>>,
    device: &Device,
    rates: &mut Rates,
    interval: Duration,
) -> Measured {
    let (at, asked) = (Timestamp::now(), Instant::now());
    let (usage, note) = match reading.await {
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
    measure(read(devices, device, metrics, limit.min(LIMIT)), device, &mut rates, limit).await.usage?;
    tokio::time::sleep(apart).await;
    measure(read(devices, device, metrics, limit.min(LIMIT)), device, &mut rates, limit).await.usage.map(Arc::unwrap_or_clone)
}

/// A share between 0 and 1 that is always the same for a device.
fn share(name: &Name) -> f64 {
    let mut hasher = DefaultHasher::new();
    name.full().hash(&mut hasher);
    f64::from(u32::try_from(hasher.finish() >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests;
