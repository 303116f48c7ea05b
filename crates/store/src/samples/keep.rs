//! What becomes of samples: hours are summed up, and what is old goes.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::Row as _;
use sqlx::any::AnyRow;
use tokio::time::Instant;

use super::Samples;
use super::partitions::TABLES;
use crate::open::within;
use crate::rows::{Value, insert, number, query};
use crate::{Backend, Error, Store};

/// Single values are kept so long, in seconds: two days, so that yesterday can be compared with.
pub const RAW_KEPT: i64 = 48 * 3600;
/// Sums of five minutes: a month.
pub const FIVE_MINUTES_KEPT: i64 = 30 * 86_400;
/// Sums of an hour: a year and what the same month of it can be compared with.
pub const HOURS_KEPT: i64 = 400 * 86_400;

/// Time between two looks at what is finished.
const LOOK: Duration = Duration::from_secs(20);
/// Time between two times of summing up and throwing away.
const TIDY: Duration = Duration::from_secs(600);
/// An hour, in seconds.
pub(super) const HOUR: i64 = 3600;
/// What was summed up so long ago, in seconds, is once more when the next hour is over: what came late is in it.
const LATE: i64 = 2 * HOUR;
/// Hours that are summed up in one go, after a time in which nobody did: the next go has the next ones.
const HOURS: usize = 48;
/// Series of one piece: it is read and written within a few seconds, also where 10 000 devices have 60 each.
const SERIES: i64 = 20_000;
/// Rows that one statement removes from SQLite: others get their turn in between.
const ROWS: u32 = 5000;
/// Such statements in a row, which is more than comes in between two times; what is left is removed the next time.
const ROUNDS: usize = 2000;
/// Longest time that is spent on what is left at the end.
const LAST: Duration = Duration::from_secs(3);

impl Samples {
    /// Writes, sums up and throws away until `stop` is over, and then writes what is left.
    pub async fn keep(self: Arc<Self>, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        let (mut tidied, mut told) = (None::<Instant>, String::new());
        loop {
            tokio::select! {
                () = &mut stop => break,
                () = tokio::time::sleep(LOOK) => {}
            }
            let now = Timestamp::now().as_second();
            let mut result = self.flush(now, false).await.map(drop);
            if result.is_ok() && tidied.is_none_or(|tidied| tidied.elapsed() > TIDY) {
                tidied = Some(Instant::now());
                result = self.store.tidy_samples(now).await;
            }
            let error = result.err().map(|error| error.to_string()).unwrap_or_default();
            if error != told && !error.is_empty() {
                tracing::warn!(error, "samples can't be written; they wait as long as there is room");
            }
            told = error;
        }
        let _ = tokio::time::timeout(LAST, self.flush(Timestamp::now().as_second(), true)).await;
    }
}

impl Store {
    /// Throws away what is older than it is kept, and sums up the hours that are over. Doing so twice, or in two processes, is the same as
    /// doing it once. What is old goes first: whatever else fails, the disk does not fill up.
    pub async fn tidy_samples(&self, now: i64) -> Result<(), Error> {
        for (table, kept) in TABLES.map(|table| (table, table.kept())) {
            match self.backend {
                Backend::Postgres => self.drop_partitions(table, now - kept).await?,
                Backend::Sqlite { .. } => self.remove(table.name(), now - kept).await?,
            }
        }
        self.forget_series(now).await?;
        self.forget_last_readings(now - RAW_KEPT).await?;
        self.catch_up(now).await
    }

    /// Sums up the hours since the last one that was, some at a time, and remembers how far it came.
    async fn catch_up(&self, now: i64) -> Result<(), Error> {
        let rows = self.readers.all("SELECT through FROM sample_summed WHERE one = 1", []).await?;
        let through = rows.first().map(|row| number::<i64>(row, "through")).transpose()?;
        // What came late is in it the second time.
        let from = through.map_or(now - LATE, |through| through - LATE).max(now - FIVE_MINUTES_KEPT + HOUR);
        let (first, over) = (from.div_euclid(HOUR), now.div_euclid(HOUR));
        if through.is_some_and(|through| through.div_euclid(HOUR) >= over) {
            return Ok(());
        }
        let pieces = self.pieces().await?;
        for hour in (first..over).take(HOURS) {
            self.sum_hour(hour * HOUR, pieces).await?;
            let further = "ON CONFLICT (one) DO UPDATE SET through = excluded.through WHERE excluded.through > sample_summed.through";
            let mark = [[1_u32.into(), Value::from_i64((hour + 1) * HOUR)]];
            within(0, async { insert(&mut *self.pool.acquire().await?, "sample_summed (one, through)", mark, further).await }).await?;
        }
        Ok(())
    }

    /// Sums up the hours from the one that `from` is in to the one that `to` is in.
    pub async fn sum_up(&self, from: i64, to: i64) -> Result<(), Error> {
        let pieces = self.pieces().await?;
        for hour in from.div_euclid(HOUR)..=to.div_euclid(HOUR) {
            self.sum_hour(hour * HOUR, pieces).await?;
        }
        Ok(())
    }

    /// In how many pieces an hour is summed up, so that each takes a second or two.
    async fn pieces(&self) -> Result<i64, Error> {
        let rows = self.readers.all("SELECT COUNT(*) AS series FROM series", []).await?;
        let series: i64 = rows.first().map_or(Ok(0), |row| number(row, "series"))?;
        Ok(1 + series / SERIES)
    }

    /// Sums up one hour: each piece, a share of all series by their numbers, is read without holding up anybody, and written in batches.
    pub(crate) async fn sum_hour(&self, hour: i64, pieces: i64) -> Result<(), Error> {
        let sums = "SELECT series, MIN(lowest) AS lowest, MAX(highest) AS highest, \
            CAST(SUM(mean * readings) / SUM(readings) AS DOUBLE PRECISION) AS mean, CAST(SUM(readings) AS BIGINT) AS readings \
            FROM sample_5m WHERE at >= $1 AND at < $2 AND series >= $3 AND series <= $4 GROUP BY series";
        let again = "ON CONFLICT (series, at) DO UPDATE SET lowest = excluded.lowest, highest = excluded.highest, mean = excluded.mean, readings = excluded.readings";
        let width = i64::MAX / pieces.max(1);
        for piece in 0..pieces.max(1) {
            let last = if piece + 1 >= pieces { i64::MAX } else { (piece + 1) * width - 1 };
            let rows = self.readers.all(sums, [hour, hour + HOUR, piece * width, last].map(Value::from_i64)).await?;
            let sum = |row: &AnyRow| {
                let real = |column: &str| Ok::<_, Error>(Value::Real(row.try_get(column)?));
                let readings = Value::from_i64(number(row, "readings")?);
                Ok([
                    Value::from_i64(number(row, "series")?),
                    Value::from_i64(hour),
                    real("lowest")?,
                    real("highest")?,
                    real("mean")?,
                    readings,
                ])
            };
            for batch in rows.chunks(ROWS as usize) {
                let batch = batch.iter().map(sum).collect::<Result<Vec<_>, Error>>()?;
                within(batch.len(), async {
                    self.make_room(std::iter::once(hour)).await?;
                    let mut tx = self.pool.begin().await?;
                    insert(&mut tx, "sample_1h (series, at, lowest, highest, mean, readings)", batch, again).await?;
                    Ok(tx.commit().await?)
                })
                .await?;
            }
        }
        Ok(())
    }

    /// Removes what is older, some at a time.
    async fn remove(&self, table: &'static str, before: i64) -> Result<(), Error> {
        let statement = match table {
            "sample_raw" => "DELETE FROM sample_raw WHERE rowid IN (SELECT rowid FROM sample_raw WHERE at < $1 LIMIT $2)",
            "sample_5m" => "DELETE FROM sample_5m WHERE rowid IN (SELECT rowid FROM sample_5m WHERE at < $1 LIMIT $2)",
            _ => "DELETE FROM sample_1h WHERE rowid IN (SELECT rowid FROM sample_1h WHERE at < $1 LIMIT $2)",
        };
        for _ in 0..ROUNDS {
            let delete = query(statement, [Value::from_i64(before), ROWS.into()]);
            let done = within(ROWS as usize, async { Ok(delete.execute(&self.pool).await?) }).await?;
            if done.rows_affected() < u64::from(ROWS) {
                break;
            }
        }
        Ok(())
    }

    /// Series of which nothing is left: their devices, disks or interfaces are gone for longer than anything is kept.
    async fn forget_series(&self, now: i64) -> Result<(), Error> {
        let forget = "DELETE FROM series WHERE id IN (SELECT id FROM series WHERE since < $1 \
            AND NOT EXISTS (SELECT 1 FROM sample_1h WHERE sample_1h.series = series.id) \
            AND NOT EXISTS (SELECT 1 FROM sample_5m WHERE sample_5m.series = series.id) LIMIT $2)";
        let forget = query(forget, [Value::from_i64(now - HOURS_KEPT), ROWS.into()]);
        within(ROWS as usize, async { Ok(forget.execute(&self.pool).await.map(drop)?) }).await
    }
}
