//! Samples as they came, for whoever goes through them again.

use jiff::Timestamp;
use reconcile::{Name, Series};

use super::id;
use super::keep::{FIVE_MINUTES_KEPT, RAW_KEPT};
use crate::{Error, Store};

impl Store {
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
