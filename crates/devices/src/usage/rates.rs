//! From what was read to what is used: counters become rates, and whoever counts from the beginning again, or was not asked for long,
//! gives none.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use reconcile::usage::{ITEM, Of, SERIES};
use reconcile::{Metric, Series, Usage};

/// After a gap of more than so many intervals no rate is made up for it: nobody knows what happened meanwhile.
const GAP: u32 = 5;
/// Names that are shared; with more, it is begun anew, so that names that come and go take no more room than this: some 10 MiB.
const NAMES: usize = 50_000;
/// What a 32-bit counter goes back to 0 at.
const AROUND: f64 = 4_294_967_296.0;

/// What one reading found, before it is compared with the one before.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Reading {
    /// Seconds on a clock of the device's own, where it tells one. It begins at 0 when its counters do.
    pub(crate) clock: Option<f64>,
    /// What counts as it is.
    pub(crate) gauges: BTreeMap<Series, f64>,
    /// What grows, under the series that its growth in a second is.
    pub(crate) counters: BTreeMap<Series, Counter>,
    /// Processor time.
    pub(crate) cpu: Option<Cpu>,
    /// What of the answer could not be used.
    pub(crate) note: Option<String>,
}

/// Something that only grows, until it begins again.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Counter {
    pub(crate) value: f64,
    /// It has 32 bits only: less than before means once around.
    pub(crate) wraps: bool,
    /// Counters of different eras have nothing to do with each other.
    pub(crate) era: u64,
    /// What it can't grow faster than, in a second, if that is known.
    pub(crate) most: Option<f64>,
}

/// Processor time by what it was spent on, in any unit, over all processors.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Cpu {
    /// User, nice, system, interrupts, and what was stolen: it worked.
    pub(crate) busy: [f64; 6],
    pub(crate) idle: f64,
    pub(crate) iowait: f64,
    /// They have 32 bits only.
    pub(crate) wraps: bool,
}

impl Reading {
    /// Notes a value. What is no number, or less than nothing, was not seen.
    pub(crate) fn gauge(&mut self, metric: Metric, item: &str, value: f64) {
        if value.is_finite() && value >= 0.0 && is_name(metric, item) {
            self.gauges.insert(Series { metric, item: shared(item) }, value);
        }
    }

    /// Notes a counter.
    pub(crate) fn counter(&mut self, metric: Metric, item: &str, counter: Counter) {
        if counter.value.is_finite() && counter.value >= 0.0 && is_name(metric, item) {
            self.counters.insert(Series { metric, item: shared(item) }, counter);
        }
    }

    /// Notes a whole and what is left of it, in bytes, and the share that is used.
    pub(crate) fn memory(&mut self, total: f64, available: f64) {
        self.gauge(Metric::MemoryTotal, "", total);
        self.gauge(Metric::MemoryAvailable, "", available);
        if total > 0.0 {
            self.gauge(Metric::MemoryRatio, "", (1.0 - available / total).clamp(0.0, 1.0));
        }
    }

    /// Notes swap space.
    pub(crate) fn swap(&mut self, total: f64, free: f64) {
        let used = (total - free).max(0.0);
        self.gauge(Metric::SwapTotal, "", total);
        self.gauge(Metric::SwapUsed, "", used);
        self.gauge(Metric::SwapRatio, "", if total > 0.0 { (used / total).min(1.0) } else { 0.0 });
    }

    /// Notes a file system, in bytes.
    pub(crate) fn disk(&mut self, mounted: &str, total: f64, used: f64, available: f64) {
        if total <= 0.0 {
            return;
        }
        self.gauge(Metric::DiskTotal, mounted, total);
        self.gauge(Metric::DiskAvailable, mounted, available);
        if used + available > 0.0 {
            self.gauge(Metric::DiskRatio, mounted, (used / (used + available)).clamp(0.0, 1.0));
        }
    }
}

#[cfg(test)]
impl Reading {
    /// What holds of every reading, whatever it was read from.
    pub(crate) fn check(self) {
        assert!(self.clock.is_none_or(f64::is_finite), "{:?}", self.clock);
        for (series, value) in &self.gauges {
            assert!(value.is_finite() && *value >= 0.0 && is_name(series.metric, &series.item), "{series}: {value}");
        }
        for (series, counter) in &self.counters {
            assert!(counter.value.is_finite() && counter.value >= 0.0 && is_name(series.metric, &series.item), "{series}: {counter:?}");
        }
        let (at, asked, minute) = (Timestamp::UNIX_EPOCH, Instant::now(), Duration::from_secs(60));
        let mut rates = Rates::default();
        rates.usage(at, asked, self.clone(), minute);
        let (usage, _) = rates.usage(at, asked + minute, self, minute);
        assert!(usage.values.len() <= SERIES);
        assert!(usage.values.iter().all(|(_, value)| value.is_finite() && *value >= 0.0), "{:?}", usage.values);
    }
}

/// The name of a disk or an interface, which is kept once for all devices that have one of this name.
fn shared(item: &str) -> Arc<str> {
    static SHARED: LazyLock<Mutex<HashSet<Arc<str>>>> = LazyLock::new(Mutex::default);
    if item.is_empty() {
        return Arc::default();
    }
    let mut all = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = all.get(item) {
        return known.clone();
    }
    if all.len() >= NAMES {
        all.clear();
    }
    let new: Arc<str> = item.into();
    all.insert(new.clone());
    new
}

fn is_name(metric: Metric, item: &str) -> bool {
    (metric.of() == Of::Device) == item.is_empty() && item.len() <= ITEM && !item.chars().any(char::is_control)
}

/// Interfaces that say nothing about a device: the way to itself, and one end each of the wires to its containers.
pub(crate) fn is_wire(interface: &str) -> bool {
    interface == "lo" || ["veth", "cali", "lxc", "nodelocaldns"].iter().any(|prefix| interface.starts_with(prefix))
}

/// The reading before, of one device.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    before: Option<Before>,
}

/// What of a reading the next one is compared with. There is one of each device, so it takes no more room than it needs.
#[derive(Debug)]
struct Before {
    asked: Instant,
    clock: Option<f64>,
    cpu: Option<Cpu>,
    /// In the order of the series.
    counters: Box<[(Series, Past)]>,
}

/// What of a counter the next reading is compared with.
#[derive(Debug)]
struct Past {
    value: f64,
    era: u64,
    wraps: bool,
}

impl Before {
    fn new(asked: Instant, reading: Reading) -> Self {
        let past = |counter: Counter| Past { value: counter.value, era: counter.era, wraps: counter.wraps };
        let counters = reading.counters.into_iter().map(|(series, counter)| (series, past(counter))).collect();
        Self { asked, clock: reading.clock, cpu: reading.cpu, counters }
    }

    fn counter(&self, series: &Series) -> Option<&Past> {
        let at = self.counters.binary_search_by(|(other, _)| other.cmp(series)).ok()?;
        Some(&self.counters[at].1)
    }
}

impl Rates {
    /// What is used, as this reading shows it beside the one before; and what was left out, if anything.
    pub(crate) fn usage(&mut self, at: Timestamp, asked: Instant, reading: Reading, interval: Duration) -> (Usage, Option<String>) {
        let mut reading = reading;
        // What counts as it is has nothing to be compared with, and is not kept.
        let mut values = std::mem::take(&mut reading.gauges);
        if let Some(before) = &self.before {
            let passed = asked.saturating_duration_since(before.asked);
            if passed <= interval * GAP {
                values.extend(between(before, &reading, passed));
            }
        }
        let note = reading.note.take();
        self.before = Some(Before::new(asked, reading));
        let (values, left_out) = bounded(values);
        let left_out = (left_out > 0).then(|| format!("{left_out} series are left out, since a device has at most {SERIES}"));
        (Usage { at, values }, note.or(left_out))
    }
}

/// What grew between two readings.
fn between(before: &Before, now: &Reading, passed: Duration) -> BTreeMap<Series, f64> {
    let seconds = match (before.clock, now.clock) {
        // Whoever was started anew counts from the beginning.
        (Some(before), Some(now)) if now < before => return BTreeMap::new(),
        // Its own clock does not know how long the answers took. One that stands, or runs away, is none.
        (Some(before), Some(now)) if (now - before - passed.as_secs_f64()).abs() < passed.as_secs_f64() / 2.0 => now - before,
        _ => passed.as_secs_f64(),
    };
    if seconds <= 0.0 {
        return BTreeMap::new();
    }
    let mut grown = BTreeMap::new();
    for (series, counter) in &now.counters {
        let rate = before.counter(series).and_then(|before| growth(before, counter)).map(|growth| growth / seconds);
        if let Some(rate) = rate.filter(|rate| counter.most.is_none_or(|most| *rate <= most)) {
            grown.insert(series.clone(), rate);
        }
    }
    if let Some((ratio, iowait)) = before.cpu.as_ref().zip(now.cpu.as_ref()).and_then(|(before, now)| shares(before, now)) {
        grown.insert(Series::of(Metric::CpuRatio), ratio);
        grown.insert(Series::of(Metric::CpuIowait), iowait);
    }
    grown
}

/// How much a counter grew; `None` if it began anew.
fn growth(before: &Past, now: &Counter) -> Option<f64> {
    if before.era != now.era || before.wraps != now.wraps {
        return None;
    }
    let growth = now.value - before.value;
    match growth {
        growth if growth >= 0.0 => Some(growth),
        // Around once: twice within an interval can't be told from it, which is why there are counters of 64 bits. A counter that was far
        // from its end has more likely begun anew.
        growth if now.wraps && (AROUND / 2.0..AROUND).contains(&before.value) => Some(growth + AROUND),
        _ => None,
    }
}

/// The shares of busy processors and of waiting ones. Single parts may go back a little (proc(5) says so of iowait), or by what a
/// processor had counted that was switched off.
fn shares(before: &Cpu, now: &Cpu) -> Option<(f64, f64)> {
    let wraps = before.wraps && now.wraps;
    let part = |before: f64, now: f64| match now - before {
        grown if grown < 0.0 && wraps && (AROUND / 2.0..AROUND).contains(&before) => grown + AROUND,
        grown => grown.max(0.0),
    };
    let busy: f64 = before.busy.iter().zip(&now.busy).map(|(before, now)| part(*before, *now)).sum();
    let (idle, iowait) = (part(before.idle, now.idle), part(before.iowait, now.iowait));
    let total = busy + idle + iowait;
    (total > 0.0).then(|| (busy / total, iowait / total))
}

/// At most as many series as a device may have: what is of the whole device first, then disks, then interfaces, each of them whole or not
/// at all. And how many are left out.
fn bounded(values: BTreeMap<Series, f64>) -> (BTreeMap<Series, f64>, usize) {
    let all = values.len();
    if all <= SERIES {
        // Built at once it is half as large as what was put in one by one.
        return (values.into_iter().collect(), 0);
    }
    let rank = |of: Of| match of {
        Of::Device => 0,
        Of::Probe => 1,
        Of::Disk => 2,
        Of::Interface => 3,
        Of::Pattern => 4,
    };
    let place = |series: &Series| (rank(series.metric.of()), series.item.clone());
    let mut values: Vec<(Series, f64)> = values.into_iter().collect();
    values.sort_by_key(|(series, _)| place(series));
    let mut kept = BTreeMap::new();
    for of_item in values.chunk_by(|(one, _), (other, _)| place(one) == place(other)) {
        if kept.len() + of_item.len() > SERIES {
            break;
        }
        kept.extend(of_item.iter().cloned());
    }
    let left_out = all - kept.len();
    (kept, left_out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, proptest};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn counted(value: f64, wraps: bool) -> Reading {
        let mut reading = Reading::default();
        reading.counter(Metric::InterfaceReceived, "eth0", Counter { value, wraps, ..Counter::default() });
        reading
    }

    fn received(usage: &Usage) -> Option<f64> {
        usage.values.get(&Series::item(Metric::InterfaceReceived, "eth0")).copied()
    }

    /// Readings as (seconds after the first, value), and the rates after each.
    fn rates(wraps: bool, readings: &[(u64, f64)]) -> Vec<Option<f64>> {
        let (mut rates, begin) = (Rates::default(), Instant::now());
        let one = |&(second, value): &(u64, f64)| {
            let asked = begin + Duration::from_secs(second);
            received(&rates.usage(Timestamp::UNIX_EPOCH, asked, counted(value, wraps), 10 * SECOND).0)
        };
        readings.iter().map(one).collect()
    }

    #[test]
    fn a_rate_takes_two_readings_that_belong_together() {
        assert_eq!(rates(false, &[(0, 100.0), (10, 200.0), (20, 200.0)]), [None, Some(10.0), Some(0.0)]);
        assert_eq!(rates(false, &[(0, 100.0), (10, 50.0), (20, 150.0)]), [None, None, Some(10.0)], "it began anew");
        assert_eq!(rates(true, &[(0, AROUND - 100.0), (10, 100.0)]), [None, Some(20.0)], "once around");
        assert_eq!(rates(true, &[(0, 1000.0), (10, 100.0)]), [None, None], "far from its end: it began anew");
        assert_eq!(rates(true, &[(0, 5e9), (10, 100.0)]), [None, None], "an agent that says 32 bits and sends more");
        assert_eq!(rates(false, &[(0, 0.0), (50, 500.0)]), [None, Some(10.0)], "five intervals are bridged");
        assert_eq!(rates(false, &[(0, 0.0), (51, 510.0), (61, 610.0)]), [None, None, Some(10.0)], "more are not");
        assert_eq!(rates(false, &[(0, 0.0), (0, 500.0)]), [None, None]);
    }

    #[test]
    fn a_device_that_was_started_anew_has_no_rate() {
        let (mut rates, begin) = (Rates::default(), Instant::now());
        let mut at = |second: u64, clock: f64, value: f64| {
            let reading = Reading { clock: Some(clock), ..counted(value, true) };
            received(&rates.usage(Timestamp::UNIX_EPOCH, begin + Duration::from_secs(second), reading, 10 * SECOND).0)
        };
        assert_eq!(at(0, 1000.0, AROUND - 1.0), None);
        // The answer came late: what counts is the device's own clock.
        assert_eq!(at(11, 1010.0, 99.0), Some(10.0));
        assert_eq!(at(20, 5.0, 500.0), None);
        assert_eq!(at(30, 15.0, 600.0), Some(10.0));
        // A clock that stands is none.
        assert_eq!(at(40, 15.0, 700.0), Some(10.0));
    }

    #[test]
    fn names_are_kept_once() {
        let [one, other] = ["/srv/kept-once"; 2].map(shared);
        assert!(Arc::ptr_eq(&one, &other));
        for number in 0..=NAMES {
            assert_eq!(&*shared(&number.to_string()), number.to_string());
        }
        assert_eq!(shared("/srv/kept-once"), one, "it may be another one by now, and says the same");
    }

    #[test]
    fn what_can_t_be_is_left_out() {
        let mut reading = Reading::default();
        for (metric, item, value) in [
            (Metric::LoadOne, "", f64::NAN),
            (Metric::LoadFive, "", f64::INFINITY),
            (Metric::LoadFifteen, "", -1.0),
            (Metric::DiskTotal, "", 1.0),
            (Metric::DiskTotal, "/a\u{1b}[2J", 1.0),
            (Metric::DiskTotal, &"x".repeat(ITEM + 1), 1.0),
        ] {
            reading.gauge(metric, item, value);
        }
        assert_eq!(reading, Reading::default());
        // Faster than the wire: the counter began anew.
        let faster = |value: f64| {
            let mut reading = Reading::default();
            reading.counter(Metric::InterfaceReceived, "eth0", Counter { value, wraps: true, most: Some(1e6), era: 0 });
            reading
        };
        assert!(between(&Before::new(Instant::now(), faster(AROUND - 1.0)), &faster(AROUND - 2.0), SECOND).is_empty());
        assert_eq!(between(&Before::new(Instant::now(), faster(AROUND - 1.0)), &faster(999.0), SECOND).len(), 1);
    }

    #[test]
    fn a_device_has_so_many_series_and_not_more() {
        let mut reading = Reading::default();
        reading.gauge(Metric::LoadOne, "", 1.0);
        reading.gauge(Metric::Uptime, "", 1.0);
        reading.disk("/", 10.0, 5.0, 5.0);
        for number in 0..600 {
            reading.gauge(Metric::InterfaceUp, &format!("eth{number:03}"), 1.0);
            reading.gauge(Metric::InterfaceSpeed, &format!("eth{number:03}"), 1.0);
        }
        let (usage, note) = Rates::default().usage(Timestamp::UNIX_EPOCH, Instant::now(), reading, SECOND);
        assert_eq!(usage.values.len(), SERIES - 1, "five, and 253 whole interfaces");
        assert!(usage.values.contains_key(&Series::of(Metric::Uptime)));
        assert!(usage.values.contains_key(&Series::item(Metric::DiskRatio, "/")));
        assert_eq!(note.unwrap(), format!("694 series are left out, since a device has at most {SERIES}"));
    }

    proptest! {
        /// Whatever was counted when: a rate is neither less than nothing nor more than one time around allows.
        #[test]
        fn rates_stay_within_what_can_be(before in any::<u32>(), now in any::<u32>(), seconds in 1_u64..50, wraps in any::<bool>()) {
            let found = rates(wraps, &[(0, f64::from(before)), (seconds, f64::from(now))])[1];
            let expected = match (now >= before, wraps) {
                (true, _) => Some(f64::from(now - before)),
                (false, true) if f64::from(before) >= AROUND / 2.0 => Some(f64::from(now.wrapping_sub(before))),
                _ => None,
            };
            prop_assert!(found == expected.map(|grown| grown / seconds as f64), "{found:?} and not {expected:?}");
        }

        /// Shares are shares.
        #[test]
        fn shares_are_between_none_and_all(before in proptest::array::uniform8(0_f64..5e9), now in proptest::array::uniform8(0_f64..5e9), wraps in any::<bool>()) {
            let cpu = |parts: [f64; 8]| {
                let [busy @ .., idle, iowait] = parts;
                Cpu { busy, idle, iowait, wraps }
            };
            if let Some((ratio, iowait)) = shares(&cpu(before), &cpu(now)) {
                prop_assert!((0.0..=1.0).contains(&ratio) && (0.0..=1.0).contains(&iowait) && ratio + iowait <= 1.0 + 1e-9);
            }
        }
    }
}
