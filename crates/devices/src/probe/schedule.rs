//! When which probe runs. Time comes in, so that an hour can be told in a test.
//!
//! What is due next lies in a heap. A timer wheel would find it in constant time, but at 10 000 probes each second a heap's fourteen
//! comparisons are nothing beside one system call of the probe, and it needs no slots to choose, cascade or round to.
//!
//! - Each probe begins at a moment of its own within its interval, so that a fleet does not beat in time.
//! - So many run at once. Those that did not answer in time when they last ran have their own lane: however many there are, they hold up
//!   each other and nobody else.
//! - A probe is about now: what was missed is not made up for, and after a pause of the whole process each begins at a moment of its own again.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reconcile::{Device, Name, Probe, ProbeCode};
use tokio::time::Instant;

use super::{Counter, Measured, Run};

/// Probes that run at once in each of the two lanes. One takes a socket and a few KiB; with the usual 5 s of patience, 512 in a lane are 100 dead
/// devices found in each second.
pub(super) const AT_ONCE: usize = 512;
/// The first runs of all probes are spread over no more than this: somebody waits for them.
const SOON: Duration = Duration::from_secs(30);
/// What is due for so long, and was not even taken up, was due while nobody was there: the process had been stopped.
const LATE: Duration = Duration::from_secs(2);
/// A heap with more dead entries than living ones and these is made anew.
const DEAD: usize = 1024;

/// A run that is to begin now.
#[derive(Clone, Debug)]
pub(super) struct Start {
    pub(super) id: u64,
    pub(super) device: Arc<Device>,
    /// Which of the device's probes.
    pub(super) number: usize,
}

impl Start {
    pub(super) fn probe(&self) -> &Probe {
        &self.device.probes[self.number]
    }
}

/// How a probe stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Told {
    pub(super) id: u64,
    pub(super) device: Name,
    pub(super) probe: String,
    pub(super) seen: reconcile::ProbeSeen,
}

/// What a run took, and what was measured in it.
#[derive(Clone, Debug)]
pub struct Measurement {
    /// On which device.
    pub device: Name,
    /// Which probe.
    pub probe: String,
    /// When the run was begun.
    pub at: Timestamp,
    /// What it came to.
    pub code: ProbeCode,
    /// How long it took.
    pub took: Duration,
    /// What was measured on the way.
    pub measured: Measured,
}

/// Two lanes: for those that answered in time when they last ran, and for those that did not.
#[derive(Default)]
struct Lane {
    waiting: VecDeque<u64>,
    running: usize,
}

struct Slot {
    device: Arc<Device>,
    /// Which of the device's probes.
    number: usize,
    /// Its own moment within its interval, between 0 and 1.
    share: f64,
    interval: Duration,
    /// When it was due.
    due: Instant,
    /// It did not run yet.
    is_first: bool,
    is_slow: bool,
    /// In which lane it runs just now.
    runs_in: Option<usize>,
    /// It begins anew when that run ends, of which nothing counts.
    is_stale: bool,
    counter: Counter,
    /// What was begun after this is told, whatever it shows.
    asked: Option<Timestamp>,
    /// Nearly always it was taken already.
    latest: Option<Box<(Timestamp, Run)>>,
}

/// When which probe runs.
#[derive(Default)]
pub(super) struct Schedule {
    slots: HashMap<u64, Box<Slot>>,
    devices: HashMap<Name, Vec<u64>>,
    due: BinaryHeap<Reverse<(Instant, u64)>>,
    lanes: [Lane; 2],
    /// Devices of which each run is told.
    eager: HashSet<Name>,
    last: u64,
}

impl Schedule {
    /// A device as it is now, if its probes are to run; what is as before goes on as before.
    pub(super) fn set(&mut self, name: &Name, device: Option<&Arc<Device>>, now: Instant) {
        let mut before = self.devices.remove(name).unwrap_or_default();
        let mut ids = Vec::new();
        for (number, probe) in device.iter().flat_map(|device| device.probes.iter().enumerate()) {
            let Some(device) = device else { continue };
            let same = |id: &u64| {
                self.slots.get(id).is_some_and(|slot| {
                    slot.probe() == probe && slot.device.address == device.address && slot.device.access == device.access
                })
            };
            match before.iter().position(same) {
                Some(at) => {
                    let id = before.swap_remove(at);
                    if let Some(slot) = self.slots.get_mut(&id) {
                        (slot.device, slot.number) = ((*device).clone(), number);
                    }
                    ids.push(id);
                }
                None => ids.push(self.add(device, number, share(name, number), now)),
            }
        }
        for id in before {
            self.forget(id);
        }
        if !ids.is_empty() {
            self.devices.insert(name.clone(), ids);
        } else {
            self.eager.remove(name);
        }
        if self.due.len() > 2 * self.slots.len() + DEAD {
            self.due.retain(|Reverse((_, id))| self.slots.contains_key(id));
        }
    }

    /// These probes of a device begin anew, now; those that run, when that ends: however often this is, each runs once at a time.
    pub(super) fn anew(&mut self, name: &Name, which: impl Fn(&Probe) -> bool, now: Instant) {
        let ids = self.devices.get(name).cloned().unwrap_or_default();
        let anew = |id: u64| {
            let Some(slot) = self.slots.get_mut(&id).filter(|slot| which(slot.probe())) else { return id };
            if slot.runs_in.is_some() {
                slot.is_stale = true;
                return id;
            }
            let (device, number) = (slot.device.clone(), slot.number);
            self.forget(id);
            self.add(&device, number, 0.0, now)
        };
        let ids: Vec<u64> = ids.into_iter().map(anew).collect();
        if !ids.is_empty() {
            self.devices.insert(name.clone(), ids);
        }
    }

    fn add(&mut self, device: &Arc<Device>, number: usize, share: f64, now: Instant) -> u64 {
        self.last += 1;
        let interval = Duration::try_from(device.probes[number].interval).unwrap_or(SOON).max(Duration::from_secs(1));
        let due = now + interval.min(SOON).mul_f64(share);
        let slot = Slot {
            device: device.clone(),
            number,
            share,
            interval,
            due,
            is_first: true,
            is_slow: false,
            runs_in: None,
            is_stale: false,
            counter: Counter::default(),
            asked: None,
            latest: None,
        };
        self.slots.insert(self.last, Box::new(slot));
        self.due.push(Reverse((due, self.last)));
        self.last
    }

    /// What still runs of it is over when it ends, and not told.
    fn forget(&mut self, id: u64) {
        if let Some(lane) = self.slots.remove(&id).and_then(|slot| slot.runs_in) {
            self.lanes[lane].running -= 1;
        }
    }

    /// Each run on this device is told, or only what is news.
    pub(super) fn attend(&mut self, name: &Name, each: bool) {
        match each {
            true => self.eager.insert(name.clone()),
            false => self.eager.remove(name),
        };
    }

    /// Of each probe of the device, the next run that is begun after this is told.
    pub(super) fn ask(&mut self, name: &Name, after: Timestamp) {
        for id in self.devices.get(name).into_iter().flatten() {
            if let Some(slot) = self.slots.get_mut(id) {
                slot.asked = slot.asked.max(Some(after));
            }
        }
    }

    /// What is to begin now.
    pub(super) fn take(&mut self, now: Instant) -> Vec<Start> {
        while let Some(Reverse((due, id))) = self.due.peek().copied().filter(|Reverse((due, _))| *due <= now) {
            self.due.pop();
            let Some(slot) = self.slots.get_mut(&id) else { continue };
            if now.saturating_duration_since(due) > LATE {
                slot.due = now + slot.interval.min(SOON).mul_f64(slot.share);
                self.due.push(Reverse((slot.due, id)));
                continue;
            }
            slot.due = due;
            self.lanes[usize::from(slot.is_slow)].waiting.push_back(id);
        }
        let mut starts = Vec::new();
        for number in 0..self.lanes.len() {
            while self.lanes[number].running < AT_ONCE
                && let Some(id) = self.lanes[number].waiting.pop_front()
            {
                let Some(slot) = self.slots.get_mut(&id) else { continue };
                slot.runs_in = Some(number);
                self.lanes[number].running += 1;
                starts.push(Start { id, device: slot.device.clone(), number: slot.number });
            }
        }
        starts
    }

    /// When something is due next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse((due, _))| *due)
    }

    /// Whether something waits for others to end.
    pub(super) fn is_crowded(&self) -> bool {
        self.lanes.iter().any(|lane| !lane.waiting.is_empty())
    }

    /// A run that was begun at `at` came to its end; with none, it says nothing. Returns what is to be told.
    pub(super) fn ended(&mut self, id: u64, run: Option<Run>, at: Timestamp) -> Option<Told> {
        let slot = self.slots.get_mut(&id)?;
        if let Some(lane) = slot.runs_in.take() {
            self.lanes[lane].running -= 1;
        }
        let run = run.filter(|_| !slot.is_stale)?;
        slot.is_slow = run.code == ProbeCode::Timeout;
        let is_news = slot.counter.count(&slot.device.probes[slot.number], &run, at);
        slot.latest = Some(Box::new((at, run)));
        let is_asked = slot.asked.is_some_and(|after| at > after);
        if is_asked {
            slot.asked = None;
        }
        (is_news || is_asked || self.eager.contains(&slot.device.name)).then(|| slot.told(id))
    }

    /// What has ended, and been told, is due again.
    pub(super) fn rest(&mut self, id: u64, now: Instant) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        if std::mem::take(&mut slot.is_stale) {
            (slot.counter, slot.is_slow) = (Counter::default(), false);
            self.due.push(Reverse((now, id)));
            return;
        }
        let mut next = slot.due + slot.interval;
        // Of a long interval the first runs were close together: from the second on each has its own moment in it.
        if std::mem::take(&mut slot.is_first) && slot.interval > SOON {
            next += slot.interval.mul_f64(slot.share).saturating_sub(SOON.mul_f64(slot.share)) / 2;
        }
        self.due.push(Reverse((next.max(now), id)));
    }

    /// Our own network is down: what failed of late says nothing. Returns what is to be told.
    pub(super) fn excuse(&mut self, run: &Run, at: Timestamp) -> Vec<Told> {
        let failing = self.slots.iter_mut().filter(|(_, slot)| slot.counter.seen.code.state() == reconcile::ProbeState::Fail);
        failing.filter_map(|(id, slot)| slot.counter.count(&slot.device.probes[slot.number], run, at).then(|| slot.told(*id))).collect()
    }

    /// What was measured since this was asked last: of each probe the newest.
    pub(super) fn measured(&mut self) -> Vec<Measurement> {
        let taken = self.slots.values_mut().filter_map(|slot| {
            let (at, run) = *slot.latest.take()?;
            let (device, probe) = (slot.device.name.clone(), slot.probe().name.clone());
            Some(Measurement { device, probe, at, code: run.code, took: run.took, measured: run.measured })
        });
        taken.collect()
    }
}

impl Slot {
    fn probe(&self) -> &Probe {
        &self.device.probes[self.number]
    }

    fn told(&self, id: u64) -> Told {
        Told { id, device: self.device.name.clone(), probe: self.probe().name.clone(), seen: self.counter.seen.clone() }
    }
}

/// A share between 0 and 1 that is always the same for a device's probe.
fn share(name: &Name, number: usize) -> f64 {
    let hash = name.full().bytes().fold(14_695_981_039_346_656_037_u64.wrapping_add(number as u64), |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(1_099_511_628_211)
    });
    // Short names leave the high bits alike: mix them as MurmurHash3's finalizer does.
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = hash ^ (hash >> 33);
    f64::from(u32::try_from(hash >> 40).unwrap_or(0)) / f64::from(1_u32 << 24)
}

#[cfg(test)]
mod tests;
