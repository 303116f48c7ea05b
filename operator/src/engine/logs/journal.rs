//! Journals of devices that send nothing: whoever holds a device reads its journal, and its lines go the way of all others.
//!
//! ```text
//! devices::journal::read ─► Batch with the place it was read to ─► the task of lines ─► one transaction: lines and place ─► read on
//! ```
//!
//! A place is kept in the transaction that writes the lines before it, and nothing is read on before that: a kill or a database that is away
//! loses no line of a journal, and doubles none.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use api::view::{JournalView, SharedView};
use devices::Devices;
use devices::journal::{Place, Read, read};
use jiff::Timestamp;
use logs::batch::Batch;
use reconcile::{Device, Name};
use store::{JournalPlace, Store};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

/// Journals that are read at once.
const AT_ONCE: usize = 32;
/// Readings in a row of a device that has much to say, before others have their turn.
const IN_A_ROW: usize = 20;

/// What was read, on its way to the store.
pub(crate) struct Arrived {
    pub(crate) batch: Batch,
    pub(crate) place: JournalPlace,
    /// Told whether it was stored.
    pub(crate) stored: oneshot::Sender<bool>,
}

/// Where what is read goes.
#[derive(Clone)]
pub(crate) struct Way {
    pub(crate) store: Arc<Store>,
    pub(crate) out: mpsc::Sender<Arrived>,
    pub(crate) view: SharedView,
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Way").finish_non_exhaustive()
    }
}

/// Reads the journals of devices, each on its interval.
pub(crate) struct Journals {
    devices: Arc<Devices>,
    way: Option<Way>,
    permits: Arc<Semaphore>,
    running: HashMap<Name, (Arc<Device>, AbortOnDropHandle<()>)>,
}

impl Journals {
    pub(crate) fn new(devices: Arc<Devices>, way: Option<Way>) -> Self {
        Self { devices, way, permits: Arc::new(Semaphore::new(AT_ONCE)), running: HashMap::new() }
    }

    /// A device as it is now, if its journal is to be read.
    pub(crate) fn set(&mut self, name: &Name, now: Option<&Arc<Device>>) {
        let Some(way) = &self.way else { return };
        let same = |(before, _): &(Arc<Device>, _)| {
            now.is_some_and(|now| now.logs == before.logs && now.address == before.address && now.access == before.access)
        };
        if self.running.get(name).is_some_and(same) {
            return;
        }
        if self.running.remove(name).is_some() && now.is_none() {
            way.view.write().unwrap_or_else(PoisonError::into_inner).journals.remove(name);
        }
        if let Some((device, interval)) = now.and_then(|device| Some((device.clone(), device.logs.journald?))) {
            let interval = Duration::try_from(interval).unwrap_or(Duration::from_secs(30));
            let journal = Journal {
                devices: self.devices.clone(),
                device: device.clone(),
                way: way.clone(),
                permits: self.permits.clone(),
                place: None,
                known: JournalView::default(),
            };
            self.running.insert(name.clone(), (device, AbortOnDropHandle::new(tokio::spawn(journal.follow(interval)))));
        }
    }
}

/// Somebody else reads them from now on.
impl Drop for Journals {
    fn drop(&mut self) {
        if let Some(way) = &self.way {
            let mut view = way.view.write().unwrap_or_else(PoisonError::into_inner);
            self.running.keys().for_each(|name| drop(view.journals.remove(name)));
        }
    }
}

/// The journal of one device.
struct Journal {
    devices: Arc<Devices>,
    device: Arc<Device>,
    way: Way,
    permits: Arc<Semaphore>,
    /// How far it is read and stored; not asked for yet, if none.
    place: Option<Option<Place>>,
    known: JournalView,
}

impl Journal {
    /// Begins at a moment of its own, so that a fleet does not beat in time.
    async fn follow(mut self, interval: Duration) {
        tokio::time::sleep(interval.min(Duration::from_secs(30)).mul_f64(share(&self.device.name))).await;
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            for _ in 0..IN_A_ROW {
                let read = self.look().await;
                self.tell(&read);
                if !read.is_ok_and(|more| more) {
                    break;
                }
            }
        }
    }

    /// Reads a part, and has it stored. Returns whether there is more.
    async fn look(&mut self) -> Result<bool, String> {
        let from = match &self.place {
            Some(place) => place.clone(),
            None => {
                let kept = self.way.store.journal_place(self.device.name.full()).await.map_err(|error| error.to_string())?;
                self.place.insert(kept.map(|kept| Place { cursor: kept.cursor, at: kept.at })).clone()
            }
        };
        let permits = self.permits.clone();
        let _permit = permits.acquire().await.map_err(|error| error.to_string())?;
        let read = read(&self.devices, &self.device, from.as_ref()).await?;
        let (more, lines) = (read.more, read.lines.len() as u64);
        let hint = read.hint.clone().map_or(Ok(()), Err);
        self.known.read_at = Some(Timestamp::now());
        if read.gap {
            self.known.gaps += 1;
            tracing::warn!(device = %self.device.name, "the journal was vacuumed or begun anew: entries may be missing");
        }
        let Some(place) = read.place.clone() else { return hint.map(|()| false) };
        let (stored, answer) = oneshot::channel();
        let kept = JournalPlace {
            device: self.device.name.full().to_owned(),
            cursor: place.cursor.clone(),
            at: place.at,
            after: from.map(|from| from.cursor).unwrap_or_default(),
        };
        let arrived = Arrived { batch: batch(&self.device, &read), place: kept, stored };
        self.way.out.send(arrived).await.map_err(|_| "the engine is stopping")?;
        if !answer.await.unwrap_or(false) {
            // If another replica read on meanwhile, from there.
            self.place = None;
            return Err("its lines can't be stored, and will be read again".into());
        }
        self.known.lines += lines;
        self.place = Some(Some(place));
        hint.map(|()| more)
    }

    fn tell(&mut self, read: &Result<bool, String>) {
        let problem = read.as_ref().err().cloned();
        match (&self.known.problem, &problem) {
            (before, Some(problem)) if before.as_ref() != Some(problem) => {
                tracing::warn!(device = %self.device.name, problem, "the journal can't be read as it should be");
            }
            (Some(_), None) => tracing::info!(device = %self.device.name, "the journal is read as it should be again"),
            _ => {}
        }
        self.known.problem = problem;
        let mut view = self.way.view.write().unwrap_or_else(PoisonError::into_inner);
        view.journals.insert(self.device.name.clone(), self.known.clone());
    }
}

/// What was read, as lines of the device; that a part of it is missing is one of them.
fn batch(device: &Device, read: &Read) -> Batch {
    let now = Timestamp::now();
    let address = device.address.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let name: Arc<str> = device.name.full().into();
    let mut batch = Batch::default();
    if read.gap {
        // daemon.warning
        let line = format!("<28>1 {now} - evenkeel - - - the journal was vacuumed or begun anew: entries before this one may be missing");
        batch.push_read(line.as_bytes(), &name, address, now);
    }
    for line in &read.lines {
        batch.push_read(line, &name, address, now);
    }
    batch
}

/// A share between 0 and 1 that is always the same for a device.
fn share(name: &Name) -> f64 {
    let mut hasher = DefaultHasher::new();
    name.full().hash(&mut hasher);
    f64::from(u32::try_from(hasher.finish() >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}
