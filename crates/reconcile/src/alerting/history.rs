//! What a device used lately: as much as functions over a window need, and no more.

use std::collections::{BTreeMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

use crate::usage::{Series, Usage};

/// How far back a window may reach; what is older is in the store.
pub const KEPT: SignedDuration = SignedDuration::from_hours(1);
/// Points of one series: an hour of readings each 5 seconds, as often as a device is read at most.
pub const POINTS: usize = 720;

/// Series that are looked back at, and how far.
pub type LooksBack = BTreeMap<Series, SignedDuration>;

/// The farthest that each is looked back at.
pub fn farthest(all: impl IntoIterator<Item = (Series, SignedDuration)>) -> LooksBack {
    let mut farthest = LooksBack::new();
    for (series, window) in all {
        let far = farthest.entry(series).or_insert(window);
        *far = window.max(*far);
    }
    farthest
}

/// Points of the series that some rule looks back at, the oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    points: BTreeMap<Series, VecDeque<(Timestamp, f64)>>,
    /// Since when somebody looks back at each.
    since: BTreeMap<Series, Timestamp>,
}

impl History {
    /// Takes in a reading, as far as somebody looks back at it.
    pub fn push(&mut self, usage: &Usage, wanted: &LooksBack) {
        self.points.retain(|series, _| wanted.contains_key(series));
        self.since.retain(|series, _| wanted.contains_key(series));
        for series in wanted.keys() {
            if let Some(value) = usage.values.get(series).filter(|value| value.is_finite()) {
                self.point(series, usage.at, *value);
            }
        }
    }

    /// Somebody looks back at these from now on, as far as nobody did before: what is not there yet is not missing.
    pub fn begin(&mut self, wanted: &LooksBack, now: Timestamp) {
        for series in wanted.keys() {
            self.since.entry(series.clone()).or_insert(now);
        }
    }

    /// How long there could have been points of a series; none: nobody ever looked, or it was read.
    pub fn looked_for(&self, series: &Series, now: Timestamp) -> Option<SignedDuration> {
        self.since.get(series).map(|since| now.duration_since(*since).max(SignedDuration::ZERO))
    }

    /// Takes in one point, as exactly as the store has it: what is read from there later is no change. After the clock was set back, what lies
    /// in the future was not seen yet.
    pub fn point(&mut self, series: &Series, at: Timestamp, value: f64) {
        let value = f64::from((value as f32).clamp(f32::MIN, f32::MAX));
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

    /// Takes in what was read before all that is there, the oldest first: by whoever looked before a restart. Since when it is looked for
    /// stays as it is: what is not there yet is not missing.
    pub fn before(&mut self, series: &Series, past: &[(Timestamp, f64)]) {
        let points = self.points.entry(series.clone()).or_default();
        // The store knows seconds only.
        let first = points.front().map_or(i64::MAX, |(first, _)| first.as_second());
        let room = POINTS.saturating_sub(points.len());
        for point in past.iter().rev().filter(|(at, value)| at.as_second() < first && value.is_finite()).take(room) {
            points.push_front(*point);
        }
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

    /// The store has 32 bits of each.
    #[test]
    fn what_the_store_has_of_a_value_is_what_is_kept_of_it() {
        let (mut history, series) = (History::default(), Series::of(Metric::CpuRatio));
        let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).unwrap();
        history.point(&series, at(10), 0.1);
        history.before(&series, &[(at(0), f64::from(0.1_f32))]);
        let values: Vec<f64> = history.window(&series, KEPT, at(10)).into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, [f64::from(0.1_f32); 2]);
    }

    #[test]
    fn what_was_before_comes_before_what_is_there() {
        let (mut history, series) = (History::default(), Series::of(Metric::CpuRatio));
        let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).unwrap();
        history.begin(&[(series.clone(), KEPT)].into(), at(90));
        history.point(&series, at(100).checked_add(SignedDuration::from_millis(700)).unwrap(), 4.0);
        history.before(&series, &[(at(30), 1.0), (at(60), 2.0), (at(61), f64::NAN), (at(100), 4.0), (at(130), 5.0)]);
        let values: Vec<f64> = history.window(&series, KEPT, at(200)).into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, [1.0, 2.0, 4.0], "and the store's second of what is there is not told twice");
        assert_eq!(history.looked_for(&series, at(100)), Some(SignedDuration::from_secs(10)));
        let many: Vec<_> = (0..10_000).map(|second| (at(second - 20_000), 0.0)).collect();
        history.before(&series, &many);
        assert_eq!(history.points[&series].len(), POINTS);
        assert_eq!(history.points[&series][POINTS - 4].0, at(9_999 - 20_000), "the newest of it");
    }
}
