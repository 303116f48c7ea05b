//! What becomes of samples: hours are summed up, and what is old goes.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::Samples;
use super::partitions::TABLES;
use crate::open::within;
use crate::rows::{Value, query};
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
/// Hours that are summed up anew each time: what came late is in it.
const LATE: i64 = 2 * 3600;
/// Rows that one statement removes from SQLite: others get their turn in between.
const ROWS: u32 = 5000;
/// Such statements in a row; what is left is removed the next time.
const ROUNDS: usize = 200;
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
    /// Sums up the hours that are over, and throws away what is older than it is kept. Doing so twice, or in two processes, is the same as
    /// doing it once.
    pub async fn tidy_samples(&self, now: i64) -> Result<(), Error> {
        self.sum_up(now - LATE, now).await?;
        for (table, kept) in TABLES.map(|table| (table, table.kept())) {
            match self.backend {
                Backend::Postgres => self.drop_partitions(table, now - kept).await?,
                Backend::Sqlite { .. } => self.remove(table.name(), now - kept).await?,
            }
        }
        self.forget_series(now).await
    }

    /// Sums up the hours from the one that `from` is in to the one that `to` is in.
    pub async fn sum_up(&self, from: i64, to: i64) -> Result<(), Error> {
        let sum = "INSERT INTO sample_1h (series, at, lowest, highest, mean, readings) \
            SELECT series, at / 3600 * 3600, MIN(lowest), MAX(highest), SUM(mean * readings) / SUM(readings), CAST(SUM(readings) AS BIGINT) \
            FROM sample_5m WHERE at >= $1 AND at < $2 GROUP BY series, at / 3600 * 3600 \
            ON CONFLICT (series, at) DO UPDATE SET lowest = excluded.lowest, highest = excluded.highest, mean = excluded.mean, readings = excluded.readings";
        let (from, to) = (from.div_euclid(3600) * 3600, (to.div_euclid(3600) + 1) * 3600);
        within(1_000_000, async {
            self.make_room([from, to].into_iter()).await?;
            query(sum, [from, to].map(Value::from_i64)).execute(&self.pool).await?;
            Ok(())
        })
        .await
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
