//! What a device used lately: as much as functions over a window need, and no more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};

use crate::usage::{Series, Usage};

/// How far back a window may reach; what is older is in the store.
pub const KEPT: SignedDuration = SignedDuration::from_hours(1);
/// Points of one series: an hour of readings each 5 seconds, as often as a device is read at most.
pub const POINTS: usize = 720;

/// Points of the series that some rule looks back at, the oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    points: BTreeMap<Series, VecDeque<(Timestamp, f64)>>,
    /// Since when somebody looks back at each.
    since: BTreeMap<Series, Timestamp>,
}

impl History {
    /// Takes in a reading, as far as somebody looks back at it.
    pub fn push(&mut self, usage: &Usage, wanted: &BTreeSet<Series>) {
        self.points.retain(|series, _| wanted.contains(series));
        self.since.retain(|series, _| wanted.contains(series));
        for series in wanted {
            if let Some(value) = usage.values.get(series).filter(|value| value.is_finite()) {
                self.point(series, usage.at, *value);
            }
        }
    }

    /// Somebody looks back at these from now on, as far as nobody did before: what is not there yet is not missing.
    pub fn begin(&mut self, wanted: &BTreeSet<Series>, now: Timestamp) {
        for series in wanted {
            self.since.entry(series.clone()).or_insert(now);
        }
    }

    /// How long there could have been points of a series; none: nobody ever looked, or it was read.
    pub fn looked_for(&self, series: &Series, now: Timestamp) -> Option<SignedDuration> {
        self.since.get(series).map(|since| now.duration_since(*since).max(SignedDuration::ZERO))
    }

    /// Takes in one point. After the clock was set back, what lies in the future was not seen yet.
    pub fn point(&mut self, series: &Series, at: Timestamp, value: f64) {
        let since = self.since.entry(series.clone()).or_insert(at);
        *since = at.min(*since);
        let points = self.points.entry(series.clone()).or_default();
        while points.back().is_some_and(|(last, _)| *last >= at) {
            points.pop_back();
        }
        while points.len() >= POINTS || points.front().is_some_and(|(first, _)| at.duration_since(*first) > KEPT) {
            points.pop_front();
        }
        points.push_back((at, value));
    }

    /// The clock was set by so much.
    pub fn shift(&mut self, by: SignedDuration) {
        let points = self.points.values_mut().flatten().map(|(at, _)| at);
        points.chain(self.since.values_mut()).for_each(|at| *at = at.checked_add(by).unwrap_or(*at));
    }

    /// The points of a series within a window that ends now.
    pub fn window(&self, series: &Series, length: SignedDuration, now: Timestamp) -> Vec<(Timestamp, f64)> {
        let points = self.points.get(series).into_iter().flatten();
        points.filter(|(at, _)| *at <= now && now.duration_since(*at) <= length).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::Metric;

    #[test]
    fn it_is_bounded_in_time_and_number() {
        let (mut history, series) = (History::default(), Series::of(Metric::CpuRatio));
        let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).unwrap();
        (0..10_000).for_each(|second| history.point(&series, at(second), 1.0));
        assert_eq!(history.points[&series].len(), POINTS);
        history.point(&series, at(20_000), 2.0);
        assert_eq!(history.points[&series].len(), 1, "what is older than an hour goes");
        history.point(&series, at(5), 3.0);
        assert_eq!(history.window(&series, KEPT, at(5)), [(at(5), 3.0)], "the clock was set back");
        history.shift(SignedDuration::from_hours(5));
        assert_eq!(history.window(&series, KEPT, at(18_010)), [(at(18_005), 3.0)], "it was set, and somebody noticed");
        assert_eq!(history.looked_for(&series, at(18_010)), Some(SignedDuration::from_secs(10)));
    }
}
