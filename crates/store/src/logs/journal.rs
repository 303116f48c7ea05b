//! How far the journals of devices are read.

use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::open::within;
use crate::rows::{Value, number, query, text};
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
    /// The cursor that it was read on from; empty at the first time. When another one is kept, somebody else read on meanwhile.
    pub after: String,
}

impl Store {
    /// How far the journal of a device is read.
    pub async fn journal_place(&self, device: &str) -> Result<Option<JournalPlace>, Error> {
        let query = query("SELECT cursor, at FROM log_journal WHERE device = $1", [device.into()]);
        let row = within(0, async { Ok(query.fetch_optional(&self.pool).await?) }).await?;
        let place = |row: AnyRow| {
            let cursor = text(&row, "cursor")?;
            Ok(JournalPlace { device: device.to_owned(), after: cursor.clone(), cursor, at: number(&row, "at")? })
        };
        row.map(place).transpose()
    }
}

/// Keeps places in the transaction that writes the lines that came before them. Of two who read the same journal, one is refused with its lines.
pub(super) async fn keep(tx: &mut AnyConnection, places: &[JournalPlace]) -> Result<(), Error> {
    for JournalPlace { device, cursor, at, after } in places {
        let statement = if after.is_empty() {
            "INSERT INTO log_journal (device, cursor, at) SELECT $1, $2, $3 WHERE $4 = '' ON CONFLICT (device) DO NOTHING"
        } else {
            "UPDATE log_journal SET cursor = $2, at = $3 WHERE device = $1 AND cursor = $4"
        };
        let values = [device.as_str().into(), cursor.as_str().into(), Value::from_i64(*at), after.as_str().into()];
        if query(statement, values).execute(&mut *tx).await?.rows_affected() == 0 {
            return Err(Error::Replaced(format!("the journal of {device} was read on by somebody else")));
        }
    }
    Ok(())
}
