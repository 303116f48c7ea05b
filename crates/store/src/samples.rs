//! Samples: what devices used over time. They are gathered in memory for five minutes and written as one row of a series then, with the
//! four numbers that stand for it later: a row for each value would cost ten times as much, on the disk and on the way there.
//!
//! ```text
//! push ─► windows (memory) ─► finished ones wait ─► sample_raw 48 h, sample_5m 30 d ─► sample_1h 400 d
//!                                  │ too many: the oldest go, counted
//! ```
//!
//! What is in memory only is read with the rest, and is lost with the process: at most five minutes, unless it ended as it should.

mod group;
mod keep;
pub(crate) mod partitions;
mod range;
mod replay;
mod window;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reconcile::{Name, Series, Usage};
use sha2::{Digest as _, Sha256};

use crate::open::within;
use crate::rows::{Value, insert};
use crate::{Error, Store};

use group::Group;
pub use keep::{FIVE_MINUTES_KEPT, HOURS_KEPT, RAW_KEPT};
pub use range::{POINTS, Point};
pub use replay::{AT_ONCE, Since};
use window::{SECONDS, Window, start};

/// Windows that are open or wait for the database: those of 10 000 devices with 60 series each, and as many again. An open one takes about
/// 110 bytes.
const WINDOWS: usize = 1_200_000;
/// Rows that are written by one transaction: others get their turn in between.
const BATCH: usize = 4096;
/// Series whose rows are known to be there; when there are more, they are asked for again.
const KNOWN: usize = 2_000_000;
/// So long, in seconds, it is believed that a series' row is still there: others may have removed it when nothing was left of it.
const BELIEVED: i64 = 6 * 3600;

/// Takes samples in, and writes them when it is time.
pub struct Samples {
    store: Arc<Store>,
    gathered: Mutex<Gathered>,
    known: Mutex<Known>,
    dropped: AtomicU64,
    most: usize,
}

/// A window of one series, on its way to the database.
struct Of<'a> {
    id: i64,
    device: &'a Name,
    series: &'a Series,
    window: Window,
}

impl<'a> Of<'a> {
    fn all(group: &'a Group) -> impl Iterator<Item = Self> {
        group.all().map(|(series, window)| Self { id: id(&group.device, series), device: &group.device, series, window })
    }
}

#[derive(Default)]
struct Gathered {
    open: HashMap<Name, Group>,
    /// Finished, the oldest first.
    waiting: VecDeque<Group>,
    /// How many windows there are in both.
    windows: [usize; 2],
}

impl Gathered {
    /// Takes in a value, and tells whether there was room for it.
    fn push(&mut self, device: &Name, series: &Series, second: i64, value: f64) -> bool {
        let begins = start(second);
        if !self.open.contains_key(device) {
            self.open.insert(device.clone(), Group::new(device, begins));
        }
        let Some(open) = self.open.get_mut(device) else { return false };
        let late = open.start - begins;
        if (1..=SECONDS).contains(&late) {
            // It was measured before others were, and came after them.
            let mut group = Group::new(device, begins);
            let has_room = group.push(series, second, value);
            group.shrink();
            self.waits(group);
            return has_room;
        }
        let next = (late != 0).then(|| open.next(begins));
        let over = next.map(|next| std::mem::replace(open, next));
        let before = open.windows();
        let has_room = open.push(series, second, value);
        self.windows[0] += open.windows() - before;
        if let Some(over) = over {
            self.windows[0] -= over.windows();
            self.waits(over);
        }
        has_room
    }

    fn waits(&mut self, group: Group) {
        self.windows[1] += group.windows();
        self.waiting.push_back(group);
    }

    /// The values of a series.
    fn of<'a>(&'a self, device: &'a Name, series: &'a Series) -> impl Iterator<Item = (i64, f64)> {
        let groups = self.waiting.iter().filter(move |group| group.device == *device).chain(self.open.get(device));
        groups.flat_map(|group| group.of(series))
    }

    /// As many groups as make a batch.
    fn batch(&mut self) -> Vec<Group> {
        let (mut batch, mut many) = (Vec::new(), 0);
        while many < BATCH {
            let Some(group) = self.waiting.pop_front() else { break };
            many += group.windows();
            batch.push(group);
        }
        self.windows[1] -= many;
        batch
    }

    /// Puts a batch back that could not be written.
    fn put_back(&mut self, batch: Vec<Group>) {
        self.windows[1] += batch.iter().map(Group::windows).sum::<usize>();
        for group in batch.into_iter().rev() {
            self.waiting.push_front(group);
        }
    }

    /// Gives up the oldest until there are no more than so many windows; returns how many values are lost.
    fn shed(&mut self, most: usize) -> usize {
        let mut lost = 0;
        while self.windows[0] + self.windows[1] > most {
            let which = usize::from(!self.waiting.is_empty());
            let any = || self.open.keys().next().cloned();
            let shed = if which == 1 { self.waiting.pop_front() } else { any().and_then(|any| self.open.remove(&any)) };
            let Some(group) = shed else { break };
            lost += group.len();
            self.windows[which] -= group.windows();
        }
        lost
    }
}

#[derive(Default)]
struct Known {
    ids: HashSet<i64>,
    since: i64,
}

/// The number of a series: 63 bits of a hash, so that two of ten million have the same one about once in 200 000 fleets.
pub(crate) fn id(device: &Name, series: &Series) -> i64 {
    let mut hash = Sha256::new();
    for part in [device.full(), series.metric.name(), &series.item] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hash.finalize()[..8]);
    i64::from_be_bytes(first) & i64::MAX
}

impl Samples {
    /// Writes to this store.
    pub fn new(store: Arc<Store>) -> Self {
        Self::with_limit(store, WINDOWS)
    }

    /// With another limit of what is kept in memory.
    pub fn with_limit(store: Arc<Store>, most: usize) -> Self {
        Self { store, gathered: Mutex::default(), known: Mutex::default(), dropped: AtomicU64::new(0), most }
    }

    /// Takes in what a device used. Nothing is written yet.
    pub fn push(&self, device: &Name, usage: &Usage) {
        for (series, value) in &usage.values {
            self.push_one(device, series, usage.at.as_second(), *value);
        }
    }

    /// Takes in one value.
    pub fn push_one(&self, device: &Name, series: &Series, second: i64, value: f64) {
        if !value.is_finite() || second < 0 {
            return;
        }
        let mut gathered = self.gathered();
        let has_room = gathered.push(device, series, second, value);
        let lost = gathered.shed(self.most) + usize::from(!has_room);
        self.dropped.fetch_add(lost as u64, Ordering::Relaxed);
    }

    /// Samples that were given up, since the database was away for longer than there was room for.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Windows in memory: open ones, and those that wait to be written.
    pub fn in_memory(&self) -> (usize, usize) {
        let [open, waiting] = self.gathered().windows;
        (open, waiting)
    }

    /// Writes what is finished at this second, or all there is. What can't be written stays, as long as there is room.
    pub async fn flush(&self, now: i64, all: bool) -> Result<usize, Error> {
        self.finish(now, all);
        let mut written = 0;
        loop {
            let groups = self.gathered().batch();
            if groups.is_empty() {
                return Ok(written);
            }
            let batch: Vec<Of<'_>> = groups.iter().flat_map(Of::all).collect();
            let result = self.write(&batch, now).await;
            written += batch.len();
            drop(batch);
            if let Err(error) = result {
                let mut gathered = self.gathered();
                gathered.put_back(groups);
                let lost = gathered.shed(self.most);
                self.dropped.fetch_add(lost as u64, Ordering::Relaxed);
                return Err(error);
            }
        }
    }

    /// Windows whose time is over go to those that wait.
    fn finish(&self, now: i64, all: bool) {
        let mut gathered = self.gathered();
        let over = |group: &Group| all || group.start + SECONDS <= now;
        let mut over: Vec<Group> = gathered.open.extract_if(|_, group| over(group)).map(|(_, group)| group).collect();
        over.sort_by(|a, b| (a.start, &a.device).cmp(&(b.start, &b.device)));
        for group in over {
            gathered.windows[0] -= group.windows();
            gathered.waits(group);
        }
    }

    async fn write(&self, batch: &[Of<'_>], now: i64) -> Result<(), Error> {
        let unknown: Vec<&Of<'_>> = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if known.ids.len() > KNOWN || known.since + BELIEVED < now {
                *known = Known { ids: HashSet::new(), since: now };
            }
            batch.iter().filter(|of| !known.ids.contains(&of.id)).collect()
        };
        // One row twice in a statement is refused; a series may be there with several windows.
        let fresh: BTreeMap<i64, &Of<'_>> = unknown.iter().map(|of| (of.id, *of)).collect();
        self.store.write_windows(fresh.values().copied(), batch).await?;
        self.known.lock().unwrap_or_else(PoisonError::into_inner).ids.extend(fresh.into_keys());
        Ok(())
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    async fn write_windows<'a>(&self, fresh: impl Iterator<Item = &'a Of<'a>>, batch: &[Of<'a>]) -> Result<(), Error> {
        within(batch.len(), async {
            self.make_room(batch.iter().map(|of| of.window.start)).await?;
            let mut tx = self.pool.begin().await?;
            let series = fresh.map(|of| {
                let (metric, item) = (of.series.metric.name(), &*of.series.item);
                [Value::from_i64(of.id), of.device.full().into(), metric.into(), item.into(), Value::from_i64(of.window.start)]
            });
            insert(&mut tx, "series (id, device, metric, item, since)", series, "ON CONFLICT DO NOTHING").await?;
            // A process that was started anew within the five minutes adds to what is there.
            let again = "ON CONFLICT (series, at) DO UPDATE SET points = sample_raw.points || ' ' || excluded.points";
            for rows in distinct(batch) {
                let raw = rows.iter().map(|of| [Value::from_i64(of.id), Value::from_i64(of.window.start), of.window.packed().into()]);
                insert(&mut tx, "sample_raw (series, at, points)", raw, again).await?;
                let sums = rows.iter().map(|of| {
                    let sum = of.window.sum();
                    let [lowest, highest, mean] = [sum.lowest, sum.highest, sum.mean].map(Value::Real);
                    [Value::from_i64(of.id), Value::from_i64(of.window.start), lowest, highest, mean, sum.readings.into()]
                });
                insert(&mut tx, "sample_5m (series, at, lowest, highest, mean, readings)", sums, AGAIN).await?;
            }
            Ok(tx.commit().await?)
        })
        .await
    }
}

/// Two sums of the same five minutes are one.
const AGAIN: &str = "ON CONFLICT (series, at) DO UPDATE SET \
    lowest = CASE WHEN excluded.lowest < sample_5m.lowest THEN excluded.lowest ELSE sample_5m.lowest END, \
    highest = CASE WHEN excluded.highest > sample_5m.highest THEN excluded.highest ELSE sample_5m.highest END, \
    mean = (sample_5m.mean * sample_5m.readings + excluded.mean * excluded.readings) / (sample_5m.readings + excluded.readings), \
    readings = sample_5m.readings + excluded.readings";

/// Windows, and by what they are told apart.
type Distinct<'a> = (HashSet<(i64, i64)>, Vec<&'a Of<'a>>);

/// The same windows in several lists, none of which has two of the same series and time: PostgreSQL changes no row twice in one statement.
fn distinct<'a>(batch: &'a [Of<'a>]) -> Vec<Vec<&'a Of<'a>>> {
    let mut lists: Vec<Distinct<'_>> = Vec::new();
    for of in batch {
        let key = (of.id, of.window.start);
        let at = lists.iter().position(|(keys, _)| !keys.contains(&key)).unwrap_or(lists.len());
        if at == lists.len() {
            lists.push(Default::default());
        }
        lists[at].0.insert(key);
        lists[at].1.push(of);
    }
    lists.into_iter().map(|(_, rows)| rows).collect()
}
