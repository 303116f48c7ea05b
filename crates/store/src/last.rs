//! What devices used when they were last read, where another replica reads them than the one that plans: it stands beside the samples,
//! which are written each five minutes only, so that whoever asks the one that plans sees it.

use reconcile::Name;

use crate::open::within;
use crate::rows::{Value, insert, number, text};
use crate::{Error, Store};

/// Rows that are read at once.
const PAGE: u32 = 1000;
/// Rows that are removed at once.
const OLD: u32 = 5000;

/// The last reading of a device, as whoever reads it wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastReading {
    /// The device.
    pub device: Name,
    /// When it was written, in seconds since 1970.
    pub at: i64,
    /// What it says, as JSON text.
    pub document: String,
}

impl Store {
    /// Writes down the last readings of devices.
    pub async fn write_last_readings(&self, readings: &[LastReading]) -> Result<(), Error> {
        within(readings.len(), async {
            let mut tx = self.pool.begin().await?;
            let rows = readings.iter().map(|last| {
                let LastReading { device, at, document } = last;
                [device.full().into(), Value::from_i64(*at), document.as_str().into()]
            });
            // Whoever was paused in between does not put an older one in its place.
            let newer =
                "ON CONFLICT (device) DO UPDATE SET at = excluded.at, document = excluded.document WHERE excluded.at >= last_reading.at";
            insert(&mut tx, "last_reading (device, at, document)", rows, newer).await?;
            Ok(tx.commit().await?)
        })
        .await
    }

    /// Readings that were written at this second or later, beginning behind this one; at most 1000, in the order of their times and names.
    pub async fn last_readings(&self, since: i64, after: Option<&LastReading>) -> Result<Vec<LastReading>, Error> {
        let newer = "SELECT device, at, document FROM last_reading WHERE at > $1 OR (at = $1 AND device > $2) ORDER BY at, device LIMIT $3";
        let (at, device) = after.map_or((since - 1, ""), |last| (last.at, last.device.full()));
        // Behind whatever name was written in the second before.
        let device = if after.is_none() { "\u{10ffff}" } else { device };
        let rows = self.readers.all(newer, [Value::from_i64(at), device.into(), PAGE.into()]).await?;
        let last =
            |row| Ok(LastReading { device: Name::parse(&text(row, "device")?), at: number(row, "at")?, document: text(row, "document")? });
        rows.iter().map(last).collect()
    }

    /// Removes readings that were written before this second: those devices are read no more.
    pub async fn forget_last_readings(&self, before: i64) -> Result<(), Error> {
        let old = "DELETE FROM last_reading WHERE device IN (SELECT device FROM last_reading WHERE at < $1 LIMIT $2)";
        let delete = crate::rows::query(old, [Value::from_i64(before), OLD.into()]);
        within(OLD as usize, async { Ok(delete.execute(&self.pool).await.map(drop)?) }).await
    }
}
