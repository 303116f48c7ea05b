//! What waits to be sent, and which series there are: the specification wants one that comes no more to be ended by a marker, since whoever
//! asks would be told its last value for five minutes more.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use api::usage::{News, Usages};
use jiff::Timestamp;
use reconcile::alerting::expr::STALE;
use reconcile::{Metric, Name, Series};

use super::wire::{ENDED, Sample};

/// How much there is room for.
#[derive(Clone, Copy)]
pub(super) struct Room {
    /// Samples that wait; the oldest give way.
    pub(super) waiting: usize,
    /// Series of which the end is told. That of others shows when nothing came of them for five minutes.
    pub(super) series: usize,
}

/// What comes together, and ends together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Source {
    Reading,
    Logs,
    /// How long a probe and its parts took.
    Took(Arc<str>),
    /// What else it found.
    Found(Arc<str>),
}

impl Source {
    /// The one that begins with this series.
    fn of(first: &Series) -> Self {
        match first.metric {
            Metric::ProbeSeconds => Self::Took(first.item.clone()),
            metric if metric.is_of_probes() => Self::Found(first.item.clone()),
            metric if metric.is_of_logs() => Self::Logs,
            _ => Self::Reading,
        }
    }
}

/// The newest of a source.
struct Live {
    at: Timestamp,
    series: Box<[Series]>,
}

/// What waits to be sent, the oldest first.
pub(super) struct Queue {
    pub(super) waiting: VecDeque<Sample>,
    live: HashMap<(Name, Source), Live>,
    /// How many series there are in all of those.
    series: usize,
    room: Room,
}

impl Queue {
    pub(super) fn new(room: Room) -> Self {
        Self { waiting: VecDeque::new(), live: HashMap::new(), series: 0, room }
    }

    /// Takes in what is new; returns how many samples gave way to it. The same one is not sent twice, and no older one.
    pub(super) fn take(&mut self, new: &News) -> usize {
        let (device, usage) = (&new.device, &new.usage);
        let Some((first, _)) = usage.values.first_key_value() else { return 0 };
        let key = (device.clone(), Source::of(first));
        if self.live.get(&key).is_some_and(|live| live.at >= usage.at) {
            return 0;
        }
        let before: Box<[Series]> = self.live.remove(&key).map(|live| live.series).unwrap_or_default();
        self.series -= before.len();
        let ended = before.iter().filter(|series| !usage.values.contains_key(*series)).map(|series| (series, ENDED));
        let values = usage.values.iter().map(|(series, value)| (series, *value));
        let at = usage.at.as_millisecond();
        self.waiting.extend(values.chain(ended).map(|(series, value)| sample(device, series, at, value)));
        let has_room = self.series + usage.values.len() <= self.room.series;
        let series: Box<[Series]> = if has_room { usage.values.keys().cloned().collect() } else { Box::default() };
        self.series += series.len();
        self.live.insert(key, Live { at: usage.at, series });
        self.shed()
    }

    /// Ends what comes no more; returns how many samples gave way to that.
    pub(super) fn end(&mut self, usages: &Usages, now: Timestamp) -> usize {
        let mut there: HashMap<Name, Known> = HashMap::new();
        usages.each(None, |name, last| {
            there.insert(name.clone(), Known { is_far: last.is_far(), failing_since: last.failing_since });
            true
        });
        let Self { waiting, live, series: many, .. } = self;
        live.retain(|(device, source), live| {
            let Some(at) = ended(source, live.at, there.get(device), now) else { return true };
            *many -= live.series.len();
            waiting.extend(live.series.iter().map(|series| sample(device, series, at, ENDED)));
            false
        });
        self.shed()
    }

    fn shed(&mut self) -> usize {
        let over = self.waiting.len().saturating_sub(self.room.waiting);
        self.waiting.drain(..over);
        over
    }
}

fn sample(device: &Name, series: &Series, millisecond: i64, value: f64) -> Sample {
    Sample { device: device.clone(), series: series.clone(), millisecond, value }
}

/// How a device stands of which something is known.
struct Known {
    is_far: bool,
    failing_since: Option<Timestamp>,
}

/// The millisecond in which a source ended, if it did.
fn ended(source: &Source, newest: Timestamp, device: Option<&Known>, now: Timestamp) -> Option<i64> {
    let next = newest.as_millisecond() + 1;
    match device {
        None => Some(next),
        // Another replica reads it, and sends that. Its lines of log may come here all the same.
        Some(device) if device.is_far && *source != Source::Logs => Some(next),
        Some(Known { failing_since: Some(since), .. }) if *source == Source::Reading => Some(since.as_millisecond().max(next)),
        // Not sooner than whoever asks would miss it: it may be read only so often.
        Some(_) if now.duration_since(newest) > STALE => newest.checked_add(STALE).ok().map(|at| at.as_millisecond()),
        Some(_) => None,
    }
}
