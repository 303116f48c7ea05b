//! Lines that a replica takes in which does not plan: it hands them to the one who does, so that all of them are matched to their devices,
//! grouped and counted in one place.

use sqlx::AnyConnection;

use super::journal;
use crate::open::within;
use crate::rows::{Value, insert, number, query, text};
use crate::{Error, JournalPlace, Store};

/// Bytes that may wait. Beyond that who takes lines in keeps them for a search, as those of senders that nobody knows.
pub const HANDED_MOST: u64 = 64 << 20;
/// Batches that are read at once.
const PAGE: u32 = 16;

/// A batch of lines on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handed {
    /// When it was put here, in microseconds since 1970; each time later than before by the same sender.
    pub at: i64,
    /// By whom.
    pub sender: String,
    /// The lines, as whoever takes them in wrote them.
    pub document: String,
}

impl Store {
    /// Bytes that wait to be taken over.
    pub async fn handed_bytes(&self) -> Result<u64, Error> {
        let all = query("SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) AS bytes FROM log_handed", []);
        within(0, async { number(&all.fetch_one(&self.pool).await?, "bytes") }).await
    }

    /// Hands lines over, and with them how far the journals are read that they came from.
    pub async fn hand_over_logs(&self, handed: &Handed, journals: &[JournalPlace]) -> Result<(), Error> {
        within(1000, async {
            let mut tx = self.pool.begin().await?;
            if !self.has_room_for_lines(&mut tx).await? {
                return Err(crate::open::full());
            }
            let Handed { at, sender, document } = handed;
            let row = [Value::from_i64(*at), sender.as_str().into(), document.len().into(), document.as_str().into()];
            insert(&mut tx, "log_handed (at, sender, bytes, document)", [row], "").await?;
            journal::keep(&mut tx, journals).await?;
            Ok(tx.commit().await?)
        })
        .await
    }

    /// What was handed over first; 16 batches at most.
    pub async fn handed_logs(&self) -> Result<Vec<Handed>, Error> {
        let first = query("SELECT at, sender, document FROM log_handed ORDER BY at, sender LIMIT $1", [PAGE.into()]);
        let rows = within(PAGE as usize * 1000, async { Ok(first.fetch_all(&self.pool).await?) }).await?;
        let handed = |row| Ok(Handed { at: number(row, "at")?, sender: text(row, "sender")?, document: text(row, "document")? });
        rows.iter().map(handed).collect()
    }
}

/// Takes a batch over in the transaction that writes its lines. Of two who do so, one is refused with its lines.
pub(super) async fn take(tx: &mut AnyConnection, handed: &Handed) -> Result<(), Error> {
    let taken = query("DELETE FROM log_handed WHERE at = $1 AND sender = $2", [Value::from_i64(handed.at), handed.sender.as_str().into()]);
    match taken.execute(&mut *tx).await?.rows_affected() {
        0 => Err(Error::Replaced("the lines of another replica were taken over by somebody else".into())),
        _ => Ok(()),
    }
}
