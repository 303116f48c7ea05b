//! What is old goes: by its age, and when there is too much of it.

use sqlx::{AssertSqlSafe, Row as _};

use super::lock_shape;
use super::shape::DAY;
use crate::open::within;
use crate::rows::{Value, number, query};
use crate::{Backend, Error, Store};

/// Lines of one delete in SQLite, so that nobody waits long for the lock.
const AT_ONCE: i64 = 2000;
/// Deletes of one call at most; the next call goes on.
const TURNS: usize = 50;

impl Store {
    /// Removes lines that came before this instant (microseconds since 1970), and those beyond so many newest ones. In PostgreSQL whole
    /// days go, once nothing in them is to stay. Returns whether there is more to remove.
    pub async fn forget_logs(&self, before: i64, most: u64) -> Result<bool, Error> {
        within(100_000, async {
            let row = sqlx::query("SELECT number FROM log_tail WHERE one = 1").fetch_one(&self.pool).await?;
            let through = number::<u64>(&row, "number")?.saturating_sub(most);
            match self.backend {
                Backend::Postgres => self.drop_days(before, through).await.map(|()| false),
                Backend::Sqlite { .. } => self.delete_lines(before, through).await,
            }
        })
        .await
    }

    /// Removes counts and templates that were last seen before this instant, in seconds since 1970.
    pub async fn forget_log_counts(&self, before: i64) -> Result<(), Error> {
        within(100_000, async {
            query("DELETE FROM log_count WHERE slot < $1", [Value::Number(Some(before))]).execute(&self.pool).await?;
            query("DELETE FROM log_template WHERE seen < $1", [Value::Number(Some(before))]).execute(&self.pool).await?;
            Ok(())
        })
        .await
    }

    async fn drop_days(&self, before: i64, through: u64) -> Result<(), Error> {
        let children = "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'log_line'::regclass";
        for row in sqlx::query(children).fetch_all(&self.pool).await? {
            let name: String = row.try_get("name")?;
            let Some(day) = name.strip_prefix("log_line_d").and_then(|day| day.parse::<i64>().ok()) else { continue };
            let newest = format!("SELECT COALESCE(MAX(number), 0) AS number FROM log_line_d{day}");
            let newest: u64 = number(&sqlx::query(AssertSqlSafe(newest)).fetch_one(&self.pool).await?, "number")?;
            if (day + 1) * DAY > before && newest > through {
                continue;
            }
            let mut tx = self.pool.begin().await?;
            lock_shape(&mut tx).await?;
            sqlx::query(AssertSqlSafe(format!("DROP TABLE IF EXISTS log_line_d{day}"))).execute(&mut *tx).await?;
            tx.commit().await?;
            self.log_days.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&day);
        }
        Ok(())
    }

    async fn delete_lines(&self, before: i64, through: u64) -> Result<bool, Error> {
        let old = "SELECT received, number FROM log_line WHERE received < $1 OR number <= $2 ORDER BY received, number LIMIT $3";
        for _ in 0..TURNS {
            let mut tx = self.pool.begin().await?;
            let rows = query(old, [Value::Number(Some(before)), through.into(), Value::Number(Some(AT_ONCE))]).fetch_all(&mut *tx).await?;
            for row in &rows {
                let (received, line): (i64, u64) = (number(row, "received")?, number(row, "number")?);
                query("DELETE FROM log_text WHERE rowid = $1", [line.into()]).execute(&mut *tx).await?;
                query("DELETE FROM log_line WHERE received = $1 AND number = $2", [Value::Number(Some(received)), line.into()])
                    .execute(&mut *tx)
                    .await?;
            }
            tx.commit().await?;
            if i64::try_from(rows.len()).is_ok_and(|many| many < AT_ONCE) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
