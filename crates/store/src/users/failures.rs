//! Failed sign-ins, by name and by address: each makes the next one wait longer.

use jiff::{SignedDuration, Timestamp};

use crate::open::within;
use crate::rows::{Value, insert, number, query, time};
use crate::{Error, Store};

/// Names and addresses that are remembered; beyond it the one that failed longest ago is forgotten.
pub const FAILURES: u64 = 10_000;
/// What failed so long ago is held against nobody any more.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(24);

impl Store {
    /// Somebody is about to try to sign in. Counts it as failed, since several may be tried at once, until it is [forgiven]; `lock` says
    /// for how long nothing more may be tried after so many. The answer is until when nothing may be tried just now, if so; that is
    /// not counted.
    ///
    /// [forgiven]: Self::forgive
    pub async fn attempt(&self, hash: &str, now: Timestamp, lock: fn(u32) -> SignedDuration) -> Result<Option<Timestamp>, Error> {
        within(0, async {
            let mut writing = self.write().await?;
            let tx = &mut *writing.tx;
            let known = "SELECT failures, failed_at, locked_until FROM sign_in_failure WHERE hash = $1";
            let known = query(known, [hash.into()]).fetch_optional(&mut *tx).await?;
            if let Some(row) = &known {
                let until = time(row, "locked_until")?;
                if until > now {
                    return Ok(Some(until));
                }
            } else {
                make_room(tx).await?;
            }
            let failures = match known {
                Some(row) if now.duration_since(time(&row, "failed_at")?) < REMEMBERED => number::<u32>(&row, "failures")?,
                _ => 0,
            };
            let failures = failures.saturating_add(1);
            let until = now.checked_add(lock(failures)).unwrap_or(Timestamp::MAX);
            let row: [Value; 4] = [hash.into(), failures.into(), now.into(), until.into()];
            let again = "ON CONFLICT (hash) DO UPDATE SET failures = excluded.failures, failed_at = excluded.failed_at, locked_until = excluded.locked_until";
            insert(tx, "sign_in_failure (hash, failures, failed_at, locked_until)", [row], again).await?;
            writing.commit().await?;
            Ok(None)
        })
        .await
    }

    /// What was counted last was no failure, and makes up for one that was; with `all` nothing is held against it any more.
    pub async fn forgive(&self, hash: &str, all: bool, now: Timestamp) -> Result<(), Error> {
        within(0, async {
            let mut writing = self.write().await?;
            let tx = &mut *writing.tx;
            let gone = "DELETE FROM sign_in_failure WHERE hash = $1 AND (failures <= 2 OR $2 = 1)";
            query(gone, [hash.into(), all.into()]).execute(&mut *tx).await?;
            let one = "UPDATE sign_in_failure SET failures = failures - 2, locked_until = $2 WHERE hash = $1";
            query(one, [hash.into(), now.into()]).execute(&mut *tx).await?;
            writing.commit().await
        })
        .await
    }

    /// Until when nothing may be tried, if so.
    pub async fn locked_until(&self, hash: &str, now: Timestamp) -> Result<Option<Timestamp>, Error> {
        let locked = "SELECT locked_until FROM sign_in_failure WHERE hash = $1 AND locked_until > $2";
        let rows = self.readers.all(locked, [hash.into(), now.into()]).await?;
        rows.first().map(|row| time(row, "locked_until")).transpose()
    }
}

async fn make_room(tx: &mut sqlx::AnyConnection) -> Result<(), Error> {
    let counted = query("SELECT COUNT(*) AS many FROM sign_in_failure", []).fetch_one(&mut *tx).await?;
    if number::<u64>(&counted, "many")? < FAILURES {
        return Ok(());
    }
    let oldest = "DELETE FROM sign_in_failure WHERE hash IN (SELECT hash FROM sign_in_failure ORDER BY failed_at LIMIT 1)";
    query(oldest, []).execute(&mut *tx).await?;
    Ok(())
}
