//! Reading samples: from the finest table that reaches back so far, in so many points.

use reconcile::{Name, Series};
use serde::{Deserialize, Serialize};
use sqlx::Row as _;

use super::keep::{FIVE_MINUTES_KEPT, HOUR, RAW_KEPT};
use super::window::{SECONDS, Window};
use super::{Samples, id};
use crate::rows::{Value, number, text};
use crate::{Error, Store};

/// Points of one answer at most: more than any screen is wide.
pub const POINTS: usize = 2000;
/// Rows that one question reads at most: 400 days of hours, with as much again.
const ROWS: i64 = 20_000;
const FIVE_MINUTES: &str =
    "SELECT at, lowest, highest, mean, readings FROM sample_5m WHERE series = $1 AND at >= $2 AND at <= $3 ORDER BY at LIMIT $4";
const HOURS: &str =
    "SELECT at, lowest, highest, mean, readings FROM sample_1h WHERE series = $1 AND at >= $2 AND at <= $3 ORDER BY at LIMIT $4";

/// What a series was around one instant.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Point {
    /// Seconds since 1970.
    pub at: i64,
    /// The lowest value.
    pub lowest: f64,
    /// The mean of all.
    pub mean: f64,
    /// The highest value.
    pub highest: f64,
    /// How many there were.
    pub readings: u64,
}

impl Point {
    fn one(at: i64, value: f64) -> Self {
        Self { at, lowest: value, mean: value, highest: value, readings: 1 }
    }

    fn take(&mut self, other: &Self) {
        let readings = self.readings + other.readings;
        self.mean = (self.mean * self.readings as f64 + other.mean * other.readings as f64) / readings.max(1) as f64;
        (self.lowest, self.highest) = (self.lowest.min(other.lowest), self.highest.max(other.highest));
        self.readings = readings;
    }
}

impl Samples {
    /// What is stored and what waits in memory, as [`Store::samples`] has it.
    pub async fn read(&self, device: &Name, series: &Series, from: i64, to: i64, most: usize, now: i64) -> Result<Vec<Point>, Error> {
        // Memory first: what is written meanwhile may be there twice, and is then told apart by its time.
        let mut points = self.unwritten(device, series);
        let id = id(device, series);
        let stored = self.store.coarse(id, from, to, most, now).await?;
        points.retain(|point| !stored.iter().any(|stored| stored.at == point.at && stored.readings == 1));
        points.extend(stored);
        Ok(fewer(points, from, to, most))
    }

    fn unwritten(&self, device: &Name, series: &Series) -> Vec<Point> {
        let gathered = self.gathered();
        gathered.of(device, series).map(|(at, value)| Point::one(at, value)).collect()
    }
}

impl Store {
    /// What a series was from one second up to another, in at most so many points, the oldest first. `now` says which table reaches back
    /// far enough.
    pub async fn samples(&self, device: &Name, series: &Series, from: i64, to: i64, most: usize, now: i64) -> Result<Vec<Point>, Error> {
        Ok(fewer(self.coarse(id(device, series), from, to, most, now).await?, from, to, most))
    }

    /// The series that a device has, the newest of them first where there are very many.
    pub async fn series(&self, device: &Name) -> Result<Vec<Series>, Error> {
        let all = "SELECT metric, item FROM series WHERE device = $1 ORDER BY since DESC LIMIT 5000";
        let rows = self.readers.all(all, [device.full().into()]).await?;
        let mut found = Vec::new();
        for row in &rows {
            let (metric, item) = (text(row, "metric")?, text(row, "item")?);
            // A metric that only another version knows is passed over.
            if let Some(metric) = reconcile::Metric::ALL.iter().copied().find(|known| known.name() == metric) {
                found.push(Series { metric, item: item.into() });
            }
        }
        found.sort();
        Ok(found)
    }

    /// No finer than so many points need: of a month in some hundred of them, hours, and only what is not summed up yet finer.
    async fn coarse(&self, id: i64, from: i64, to: i64, most: usize, now: i64) -> Result<Vec<Point>, Error> {
        if from >= now - RAW_KEPT || (to - from) / most.clamp(1, POINTS) as i64 <= HOUR {
            return self.stored(id, from, to, now).await;
        }
        let mut points = self.sums(HOURS, id, from, to).await?;
        let since = points.last().map_or(from, |last| last.at + HOUR);
        points.extend(self.sums(FIVE_MINUTES, id, since, to).await?);
        Ok(points)
    }

    /// As finely as it is kept.
    pub(super) async fn stored(&self, id: i64, from: i64, to: i64, now: i64) -> Result<Vec<Point>, Error> {
        if from >= now - RAW_KEPT {
            return self.raw(id, from, to).await;
        }
        self.sums(if from >= now - FIVE_MINUTES_KEPT { FIVE_MINUTES } else { HOURS }, id, from, to).await
    }

    async fn sums(&self, statement: &'static str, id: i64, from: i64, to: i64) -> Result<Vec<Point>, Error> {
        let rows = self.readers.all(statement, [id, from, to, ROWS].map(Value::from_i64)).await?;
        rows.iter()
            .map(|row| {
                let real = |column: &str| row.try_get::<f64, _>(column);
                let readings = number(row, "readings")?;
                Ok(Point { at: number(row, "at")?, lowest: real("lowest")?, mean: real("mean")?, highest: real("highest")?, readings })
            })
            .collect()
    }

    async fn raw(&self, id: i64, from: i64, to: i64) -> Result<Vec<Point>, Error> {
        let windows = "SELECT at, points FROM sample_raw WHERE series = $1 AND at > $2 AND at <= $3 ORDER BY at LIMIT $4";
        let rows = self.readers.all(windows, [id, from - SECONDS, to, ROWS].map(Value::from_i64)).await?;
        let mut points = Vec::new();
        for row in &rows {
            points.extend(Window::unpack(number(row, "at")?, &text(row, "points")?).into_iter().map(|(at, value)| Point::one(at, value)));
        }
        Ok(points)
    }
}

/// At most so many of them, in the order of time: those that are close to each other are one.
fn fewer(mut points: Vec<Point>, from: i64, to: i64, most: usize) -> Vec<Point> {
    points.retain(|point| (from..=to).contains(&point.at));
    points.sort_by_key(|point| point.at);
    let most = most.clamp(1, POINTS);
    if points.len() <= most {
        return points;
    }
    let width = ((to - from) / most as i64 + 1).max(1);
    let mut fewer: Vec<Point> = Vec::with_capacity(most);
    for point in points {
        let place = from + (point.at - from) / width * width;
        match fewer.last_mut().filter(|last| last.at == place) {
            Some(last) => last.take(&point),
            None => fewer.push(Point { at: place, ..point }),
        }
    }
    fewer
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::*;

    proptest! {
        /// However many there are: no more than asked for, in order, within the time, and nothing lost.
        #[test]
        fn fewer_points_say_the_same(seconds in proptest::collection::vec(0_i64..10_000, 0..500), most in 1_usize..50) {
            let points: Vec<Point> = seconds.iter().map(|second| Point::one(*second, *second as f64)).collect();
            let within: Vec<i64> = seconds.into_iter().filter(|second| (100..=9000).contains(second)).collect();
            let found = fewer(points, 100, 9000, most);
            prop_assert!(found.len() <= most);
            prop_assert!(found.is_sorted_by_key(|point| point.at));
            prop_assert!(found.iter().map(|point| point.readings).sum::<u64>() == within.len() as u64);
            let highest = found.iter().map(|point| point.highest).fold(f64::NEG_INFINITY, f64::max);
            prop_assert!(within.iter().max().is_none_or(|most| highest == *most as f64));
        }
    }
}
