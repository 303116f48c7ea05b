//! Samples as they came, for whoever goes through them again.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use reconcile::{Name, Series};

use super::keep::{FIVE_MINUTES_KEPT, RAW_KEPT};
use super::window::{SECONDS, Window};
use super::{Samples, id};
use crate::rows::{Value, number, text};
use crate::{Error, Store};

/// Series that are asked for at once: with an hour of each that is some megabytes at most, and neither database refuses so many values.
pub const AT_ONCE: usize = 500;

/// A series of a device, from one second on.
#[derive(Clone, Debug, PartialEq)]
pub struct Since {
    /// Of which device.
    pub device: Name,
    /// Which.
    pub series: Series,
    /// From when on, as seconds since 1970: as far back as single readings are kept.
    pub from: i64,
}

impl Samples {
    /// The single readings of each of these series up to now, the oldest first: what is stored, and what waits in memory. Of at most
    /// [`AT_ONCE`] of them; of those beyond nothing.
    pub async fn since(&self, wanted: &[Since], now: i64) -> Result<Vec<Vec<(Timestamp, f64)>>, Error> {
        let wanted = &wanted[..wanted.len().min(AT_ONCE)];
        // Memory first: what is written meanwhile may be there twice, and is then one by its time.
        let mut found: Vec<BTreeMap<i64, f64>> = {
            let gathered = self.gathered();
            wanted.iter().map(|of| gathered.of(&of.device, &of.series).collect()).collect()
        };
        let places: HashMap<i64, usize> = wanted.iter().enumerate().map(|(place, of)| (id(&of.device, &of.series), place)).collect();
        for (series, at, value) in self.store.single(places.keys(), wanted.iter().map(|of| of.from).min(), now).await? {
            if let Some(place) = places.get(&series) {
                found[*place].insert(at, value);
            }
        }
        let within = |(points, of): (BTreeMap<i64, f64>, &Since)| {
            let points = points.into_iter().filter(|(at, _)| (of.from..=now).contains(at));
            points.filter_map(|(at, value)| Some((Timestamp::from_second(at).ok()?, value))).collect()
        };
        Ok(found.into_iter().zip(wanted).map(within).collect())
    }
}

impl Store {
    /// Single readings of several series, in no order.
    async fn single(&self, series: impl ExactSizeIterator<Item = &i64>, from: Option<i64>, to: i64) -> Result<Vec<(i64, i64, f64)>, Error> {
        let Some(from) = from else { return Ok(Vec::new()) };
        let places: Vec<String> = (0..series.len()).map(|place| format!("${}", place + 3)).collect();
        let windows = format!("SELECT series, at, points FROM sample_raw WHERE at > $1 AND at <= $2 AND series IN ({})", places.join(", "));
        let values = [from - SECONDS, to].into_iter().chain(series.copied()).map(Value::from_i64);
        let rows = self.readers.all(windows, values).await?;
        let mut points = Vec::new();
        for row in &rows {
            let series = number(row, "series")?;
            let window = Window::unpack(number(row, "at")?, &text(row, "points")?);
            points.extend(window.into_iter().map(|(at, value)| (series, at, value)));
        }
        Ok(points)
    }

    /// Readings of a series from one second up to another, the oldest first: single ones as far as they are kept, before that means of five
    /// minutes. A month at most.
    pub async fn readings(&self, device: &Name, series: &Series, from: i64, to: i64, now: i64) -> Result<Vec<(Timestamp, f64)>, Error> {
        let id = id(device, series);
        let from = from.max(now - FIVE_MINUTES_KEPT);
        // Single readings go in blocks of five minutes: the oldest that is kept in part is taken as a mean.
        let single = from.max(now - RAW_KEPT);
        let mut points = Vec::new();
        if from < single {
            points = self.stored(id, from, single - 1, now).await?;
        }
        points.extend(self.stored(id, single, to, now).await?.into_iter().filter(|point| point.at >= single));
        Ok(points.into_iter().filter_map(|point| Some((Timestamp::from_second(point.at).ok()?, point.mean))).collect())
    }
}
