//! What devices use just now: the last value of each series, in memory, for whoever shows it or judges it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use jiff::Timestamp;
use reconcile::alerting::expr::STALE;
use reconcile::usage::Unit;
use reconcile::{Metric, Name, Series, Usage};
use serde::{Deserialize, Serialize};
use store::Samples;
use tokio::sync::mpsc;

/// Values that wait for one listener: a minute of log and a probe of each of 50 000 devices at once, some megabytes. One that is slower than
/// that misses some, which is counted.
const WAITING: usize = 100_000;
/// What is kept of the probes of one device: of 64 of them what it took, and what else was found.
const PROBES: usize = 2 * 64;

/// The last that is known of one device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Last {
    /// The last reading that succeeded.
    pub usage: Option<Arc<Usage>>,
    /// Since when readings fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Timestamp>,
    /// Why the last one failed; empty if it did not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub problem: String,
    /// What of the last one was left out.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Another replica has read it.
    #[serde(skip)]
    far: bool,
    /// What each probe last said: a few, so that a list takes less room than a map.
    #[serde(skip)]
    probes: Vec<Took>,
    /// What its lines of log came to in the last whole minute.
    #[serde(skip)]
    logs: Option<Arc<Usage>>,
}

/// A probe, an instant, and what a run that was begun then said: how long it and its parts took, if it passed; or what else it found, in an
/// entry of its own, since a run that fails finds that too.
type Took = (Arc<str>, Timestamp, Box<[(Metric, f64)]>);

impl Last {
    /// Whether another replica has read it.
    pub fn is_far(&self) -> bool {
        self.far
    }

    /// When a value of it was read: probes and logs have instants of their own.
    pub fn at(&self, series: &Series) -> Option<Timestamp> {
        let own = match series.metric {
            metric if metric.is_of_probes() => {
                let is_it = |(probe, _, took): &&Took| *probe == series.item && took.iter().any(|(of, _)| *of == metric);
                self.probes.iter().find(is_it).map(|(_, at, _)| *at)
            }
            metric if metric.is_of_logs() => self.logs.as_ref().map(|logs| logs.at),
            _ => None,
        };
        own.or(self.usage.as_ref().map(|usage| usage.at))
    }

    /// Whether this one reads it: more is known than what its lines of log came to.
    fn is_read_here(&self) -> bool {
        let is_more = |usage: &Arc<Usage>| usage.values.keys().any(|series| !series.metric.is_of_logs());
        !self.far && (!self.problem.is_empty() || self.usage.iter().any(is_more))
    }

    /// A reading, and what logs and probes say beside it. The instant is that of the reading, since its age is what tells whether it says
    /// anything about now; once it does not, and lines still come, it makes room for them.
    fn together(&self, mut usage: Usage) -> Arc<Usage> {
        self.put_logs(&mut usage);
        // What others have read holds its probes.
        if !self.far {
            self.put_probes(&mut usage);
        }
        Arc::new(usage)
    }

    /// Probes as of then, and none that ran long before or after.
    fn put_probes(&self, usage: &mut Usage) {
        let at = usage.at;
        let fresh = || self.probes.iter().filter(|(_, then, _)| at.duration_since(*then).abs() <= STALE);
        // What stays keeps its place.
        let stays = |series: &Series| {
            fresh().any(|(probe, _, took)| *probe == series.item && took.iter().any(|(metric, _)| *metric == series.metric))
        };
        usage.values.retain(|series, _| !series.metric.is_of_probes() || stays(series));
        usage.values.extend(fresh().flat_map(|(probe, _, took)| of_probe(probe, took)));
    }

    fn put_logs(&self, usage: &mut Usage) {
        let Some(logs) = &self.logs else { return };
        usage.values.retain(|series, _| !series.metric.is_of_logs());
        let has_others = usage.values.keys().any(|series| !series.metric.is_of_probes());
        if !has_others || logs.at.duration_since(usage.at) > STALE {
            usage.values.retain(|series, _| series.metric.is_of_probes());
            usage.at = logs.at;
        }
        if usage.at.duration_since(logs.at) <= STALE {
            usage.values.extend(logs.values.iter().map(|(series, value)| (series.clone(), *value)));
        }
    }
}

/// The series of what a probe said.
fn of_probe<'a>(probe: &'a Arc<str>, took: &'a [(Metric, f64)]) -> impl Iterator<Item = (Series, f64)> + 'a {
    took.iter().map(|(metric, value)| (Series { metric: *metric, item: probe.clone() }, *value))
}

/// A new value.
#[derive(Clone, Debug, PartialEq)]
pub struct News {
    /// Of which device.
    pub device: Name,
    /// What was read just now, and nothing that was read before: each value is told once, with its instant.
    pub usage: Arc<Usage>,
}

/// Who is told of new values.
struct Listener {
    news: mpsc::Sender<News>,
    /// Also of what another replica has read.
    far: bool,
}

/// The last values of all devices, and who is told of new ones. There are as many as devices are in force: one that had no room would not be
/// judged by any rule.
#[derive(Default)]
pub struct Usages {
    last: RwLock<BTreeMap<Name, Last>>,
    listeners: Mutex<Vec<Listener>>,
    samples: OnceLock<Arc<Samples>>,
    missed: AtomicU64,
    given_up: AtomicU64,
}

impl fmt::Debug for Usages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Usages").field("devices", &self.len()).finish_non_exhaustive()
    }
}

impl Usages {
    /// From now on they are stored too.
    pub fn store_in(&self, samples: Arc<Samples>) {
        let _ = self.samples.set(samples);
    }

    /// Where they are stored, if anywhere.
    pub fn samples(&self) -> Option<&Arc<Samples>> {
        self.samples.get()
    }

    /// The last reading of a device that succeeded, with how long its probes took.
    pub fn latest(&self, device: &Name) -> Option<Arc<Usage>> {
        self.read(|last| last.get(device)?.usage.clone())
    }

    /// The last that is known of a device.
    pub fn last(&self, device: &Name) -> Option<Last> {
        self.read(|last| last.get(device).cloned())
    }

    /// The last value of a series of each of these devices.
    pub fn values<'a>(&self, series: &Series, devices: impl Iterator<Item = &'a Name>) -> Vec<Option<f64>> {
        self.read(|last| devices.map(|device| last.get(device)?.usage.as_ref()?.values.get(series).copied()).collect())
    }

    /// The devices of which anything is known.
    pub fn len(&self) -> usize {
        self.read(BTreeMap::len)
    }

    /// Whether nothing is known of any.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// New values that a listener missed, since it was too slow.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Samples that were to be sent elsewhere, and were given up.
    pub fn given_up(&self) -> u64 {
        self.given_up.load(Ordering::Relaxed)
    }

    /// So many samples that were to be sent elsewhere are given up.
    pub fn gave_up(&self, samples: usize) {
        self.given_up.fetch_add(samples as u64, Ordering::Relaxed);
    }

    /// Tells of each new value from now on. Who listens no more is forgotten.
    pub fn on_usage(&self) -> mpsc::Receiver<News> {
        self.listen(false)
    }

    /// The same, and also of what another replica has read.
    pub fn on_usage_anywhere(&self) -> mpsc::Receiver<News> {
        self.listen(true)
    }

    fn listen(&self, far: bool) -> mpsc::Receiver<News> {
        let (listener, news) = mpsc::channel(WAITING);
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(Listener { news: listener, far });
        news
    }

    /// A reading succeeded.
    pub fn took(&self, device: &Name, usage: &Arc<Usage>, note: Option<String>) {
        if let Some(samples) = self.samples.get() {
            samples.push(device, usage);
        }
        self.write(device, true, |last| {
            // After the clock was set back lines are not of the future: what is read now must not make room for them.
            last.logs.take_if(|logs| logs.at.duration_since(usage.at) > STALE);
            (last.problem, last.failing_since, last.note) = (String::new(), None, note.unwrap_or_default());
            // Shared with who stores it, where there is nothing beside it.
            let is_alone = last.probes.is_empty() && last.logs.is_none();
            last.usage = Some(if is_alone { usage.clone() } else { last.together(Usage::clone(usage)) });
        });
        self.tell(device, usage, false);
    }

    /// A minute of its logs is over, and came to this. What else is known of the device stays, also what another replica has read.
    pub fn logged(&self, device: &Name, logs: &Arc<Usage>) {
        if let Some(samples) = self.samples.get() {
            samples.push(device, logs);
        }
        self.write(device, false, |last| {
            last.logs = Some(logs.clone());
            let before = last.usage.take().unwrap_or_default();
            last.usage = Some(last.together(Arc::unwrap_or_clone(before)));
        });
        self.tell(device, logs, false);
    }

    /// A reading failed: that is a gap, and what was known before stays what was known before.
    pub fn failed(&self, device: &Name, at: Timestamp, reason: String) {
        self.write(device, true, |last| {
            last.failing_since.get_or_insert(at);
            last.problem = reason;
        });
    }

    /// What a run of a probe said: that it passed and what took how many seconds, or what else it found. It takes the place of what was said
    /// before and begins with the same metric.
    pub fn probe_took(&self, device: &Name, probe: &str, at: Timestamp, took: &[(Metric, f64)]) {
        let probe: Arc<str> = probe.into();
        if let Some(samples) = self.samples.get() {
            let stored = of_probe(&probe, took).filter(|(series, _)| series.metric.is_stored());
            stored.for_each(|(series, value)| samples.push_one(device, &series, at.as_second(), value));
        }
        let told = Usage { at, values: of_probe(&probe, took).collect() };
        self.write(device, true, |last| {
            let many = last.probes.len();
            let first = |values: &[(Metric, f64)]| values.first().map(|(metric, _)| *metric);
            match last.probes.iter_mut().find(|(name, _, before)| *name == probe && first(before) == first(took)) {
                Some((_, then, before)) => (*then, *before) = (at, took.into()),
                None if many < PROBES => last.probes.push((probe.clone(), at, took.into())),
                None => {}
            }
            let mut usage = last.usage.take().unwrap_or_default();
            let changed = Arc::make_mut(&mut usage);
            // A device that is not read, or not any more, has nothing but its probes.
            let has_others = changed.values.keys().any(|series| !series.metric.is_of_probes());
            if !has_others || at.duration_since(changed.at) > STALE {
                changed.values.clear();
                changed.at = at;
            }
            last.put_probes(changed);
            last.usage = Some(usage);
        });
        self.tell(device, &Arc::new(told), false);
    }

    /// A device left, or is not read any more.
    pub fn forget(&self, device: &Name) {
        self.last.write().unwrap_or_else(PoisonError::into_inner).remove(device);
    }

    /// What another replica has read: it is shown, not stored, and only who wants to know is told of what is new in it. What is read here
    /// counts for more; lines of log that came here stand beside it.
    pub fn far(&self, device: &Name, far: Last) {
        let mut all = self.last.write().unwrap_or_else(PoisonError::into_inner);
        let known = all.get(device);
        if known.is_some_and(Last::is_read_here) {
            return;
        }
        let before = known.filter(|known| known.far).and_then(|known| Some(known.usage.as_ref()?.at));
        let news = far.usage.clone().filter(|usage| before.is_none_or(|before| before < usage.at));
        let mut last = Last { far: true, logs: known.and_then(|known| known.logs.clone()), ..far };
        if let Some(usage) = last.usage.take() {
            last.usage = Some(last.together(Arc::unwrap_or_clone(usage)));
        } else {
            last.usage = last.logs.clone();
        }
        all.insert(device.clone(), last);
        drop(all);
        if let Some(news) = news {
            self.tell(device, &news, true);
        }
    }

    /// Forgets what another replica has read of others than these.
    pub fn keep_far(&self, is_there: impl Fn(&Name) -> bool) {
        self.last.write().unwrap_or_else(PoisonError::into_inner).retain(|device, last| !last.far || is_there(device));
    }

    /// Looks at all of them from one on, in the order of their names, for as long as `each` wants.
    pub fn each(&self, after: Option<&Name>, mut each: impl FnMut(&Name, &Last) -> bool) {
        use std::ops::Bound::{Excluded, Unbounded};
        self.read(|last| {
            let _ = last.range::<Name, _>((after.map_or(Unbounded, Excluded), Unbounded)).all(|(name, last)| each(name, last));
        });
    }

    fn read<T>(&self, look: impl FnOnce(&BTreeMap<Name, Last>) -> T) -> T {
        look(&self.last.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes what is known of a device; whoever takes it over from another replica begins with nothing.
    fn write(&self, device: &Name, takes_over: bool, change: impl FnOnce(&mut Last)) {
        let mut last = self.last.write().unwrap_or_else(PoisonError::into_inner);
        let last = last.entry(device.clone()).or_default();
        if last.far && takes_over {
            let logs = last.logs.take();
            *last = Last { usage: logs.clone(), logs, ..Last::default() };
        }
        change(last);
    }

    fn tell(&self, device: &Name, usage: &Arc<Usage>, far: bool) {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|listener| {
            if far && !listener.far {
                return true;
            }
            match listener.news.try_send(News { device: device.clone(), usage: usage.clone() }) {
                Ok(()) => true,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    self.missed.fetch_add(1, Ordering::Relaxed);
                    true
                }
                Err(mpsc::error::TrySendError::Closed(_)) => false,
            }
        });
    }
}

/// The most important of it in a few words: `cpu 12 %, mem 40 %, / 71 %`; or why it is not known.
pub fn in_short(last: &Last) -> String {
    if !last.problem.is_empty() {
        return format!("not known: {}", last.problem.chars().take(80).collect::<String>());
    }
    let Some(usage) = &last.usage else { return String::new() };
    let share = |metric| usage.values.get(&Series::of(metric)).map(|value| format!("{:.0} %", value * 100.0));
    let disks = usage.values.iter().filter(|(series, _)| series.metric == Metric::DiskRatio);
    let fullest = disks.max_by(|a, b| a.1.total_cmp(b.1)).map(|(series, ratio)| format!("{} {:.0} %", series.item, ratio * 100.0));
    let some = |metric, what: &str| {
        let count = usage.values.get(&Series::of(metric)).filter(|count| **count > 0.0)?;
        Some(format!("{count} {what}{} in a minute of log", if *count > 1.0 { "s" } else { "" }))
    };
    let said = [
        share(Metric::CpuRatio).map(|cpu| format!("cpu {cpu}")),
        share(Metric::MemoryRatio).map(|mem| format!("mem {mem}")),
        fullest,
        some(Metric::LogErrors, "error"),
        some(Metric::LogNewTemplates, "new kind"),
    ];
    said.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// A value for people: `42 %`, `1.5 GiB`, `3d 4h`.
pub fn shown(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Ratio => format!("{:.1} %", value * 100.0),
        Unit::Bytes => scaled(value, "B"),
        Unit::BytesPerSecond => scaled(value, "B/s"),
        Unit::PerSecond => format!("{value:.1}/s"),
        Unit::Seconds if value < 1.0 => format!("{:.1} ms", value * 1000.0),
        Unit::Seconds if value < 120.0 => format!("{value:.1} s"),
        Unit::Seconds if value < 7200.0 => format!("{:.0}m", (value / 60.0).floor()),
        Unit::Seconds if value < 172_800.0 => format!("{:.0}h {:.0}m", (value / 3600.0).floor(), (value % 3600.0 / 60.0).floor()),
        Unit::Seconds => format!("{:.0}d {:.0}h", (value / 86_400.0).floor(), (value % 86_400.0 / 3600.0).floor()),
        Unit::Count if value.fract() == 0.0 => format!("{value}"),
        Unit::Count => format!("{value:.2}"),
    }
}

/// A metric's name as Prometheus has them: `interfaces.receiveErrors` as `interfaces_receive_errors`.
pub fn underscored(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        match letter {
            '.' => text.push('_'),
            letter if letter.is_ascii_uppercase() => text.extend(['_', letter.to_ascii_lowercase()]),
            letter => text.push(letter),
        }
    }
    text
}

fn scaled(value: f64, unit: &str) -> String {
    let mut value = value;
    for prefix in ["", "Ki", "Mi", "Gi", "Ti"] {
        if value < 1024.0 {
            return if prefix.is_empty() { format!("{value:.0} {unit}") } else { format!("{value:.1} {prefix}{unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} Pi{unit}")
}

#[cfg(test)]
mod tests;
