//! How far the journals of devices are read.

use sqlx::AnyConnection;

use crate::open::within;
use crate::rows::{Value, insert, number, query, text};
use crate::{Error, Store};

/// How far the journal of a device is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalPlace {
    /// The device, by its full name.
    pub device: String,
    /// The cursor of the newest entry that was read.
    pub cursor: String,
    /// When that was written, by the device's clock, in microseconds since 1970.
    pub at: i64,
}

impl Store {
    /// How far the journal of a device is read.
    pub async fn journal_place(&self, device: &str) -> Result<Option<JournalPlace>, Error> {
        let query = query("SELECT device, cursor, at FROM log_journal WHERE device = $1", [device.into()]);
        let row = within(0, async { Ok(query.fetch_optional(&self.pool).await?) }).await?;
        row.map(|row| Ok(JournalPlace { device: text(&row, "device")?, cursor: text(&row, "cursor")?, at: number(&row, "at")? }))
            .transpose()
    }
}

/// Keeps places in the transaction that writes the lines that came before them.
pub(super) async fn keep(tx: &mut AnyConnection, places: &[JournalPlace]) -> Result<(), Error> {
    let rows = places.iter().map(|place| [place.device.as_str().into(), place.cursor.as_str().into(), Value::from_i64(place.at)]);
    let conflict = "ON CONFLICT (device) DO UPDATE SET cursor = excluded.cursor, at = excluded.at";
    insert(tx, "log_journal (device, cursor, at)", rows, conflict).await
}
