//! What only one of the databases has: partitions by day and an index of words in PostgreSQL, a table of words in SQLite.

use std::collections::BTreeSet;

use sqlx::{AnyConnection, AssertSqlSafe, Connection as _};

use super::lock_shape;
use crate::{Backend, Error, Store};

/// Microseconds of one partition.
pub(super) const DAY: i64 = 86_400_000_000;
/// The words of a message: its index in PostgreSQL is over this expression. ASCII's marks end a word, and no class of characters is named,
/// as what belongs to one depends on the database's locale.
pub(super) const WORDS: &str =
    r"to_tsvector('simple', regexp_replace(message, '[\u0001-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u007f]+', ' ', 'g'))";

/// Brings the tables into the shape that they have in PostgreSQL. Done again, it does nothing.
pub(crate) async fn prepare_postgres(connection: &mut AnyConnection) -> Result<(), Error> {
    let mut tx = connection.begin().await?;
    lock_shape(&mut tx).await?;
    let plain = "SELECT relname::text AS name FROM pg_class WHERE oid = 'log_line'::regclass AND relkind = 'r'";
    if sqlx::query(plain).fetch_optional(&mut *tx).await?.is_some() {
        for statement in [
            "CREATE TABLE log_line_new (LIKE log_line INCLUDING DEFAULTS INCLUDING CONSTRAINTS, PRIMARY KEY (received, number)) PARTITION BY RANGE (received)".to_owned(),
            "DROP TABLE log_line".into(),
            "ALTER TABLE log_line_new RENAME TO log_line".into(),
            "CREATE INDEX log_line_device ON log_line (device, received, number)".into(),
            format!("CREATE INDEX log_line_words ON log_line USING GIN ({WORDS})"),
        ] {
            sqlx::query(AssertSqlSafe(statement)).execute(&mut *tx).await?;
        }
    }
    Ok(tx.commit().await?)
}

/// The same for SQLite: a table of words without the text, which is in `log_line` already.
pub(crate) async fn prepare_sqlite(connection: &mut AnyConnection) -> Result<(), Error> {
    let statement = "CREATE VIRTUAL TABLE IF NOT EXISTS log_text USING fts5(message, content='', contentless_delete=1)";
    sqlx::query(statement).execute(connection).await?;
    Ok(())
}

impl Store {
    /// Makes the partitions for these instants, where there are any.
    pub(super) async fn make_log_room(&self, instants: impl Iterator<Item = i64>) -> Result<(), Error> {
        let Backend::Postgres = self.backend else { return Ok(()) };
        let days: BTreeSet<i64> = instants.map(|at| at.div_euclid(DAY)).collect();
        let missing: Vec<i64> = {
            let made = self.log_days.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            days.into_iter().filter(|day| !made.contains(day)).collect()
        };
        if missing.is_empty() {
            return Ok(());
        }
        let mut tx = self.pool.begin().await?;
        lock_shape(&mut tx).await?;
        for day in &missing {
            let (from, to) = (day * DAY, (day + 1) * DAY);
            let make = format!("CREATE TABLE IF NOT EXISTS log_line_d{day} PARTITION OF log_line FOR VALUES FROM ({from}) TO ({to})");
            sqlx::query(AssertSqlSafe(make)).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        self.log_days.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend(missing);
        Ok(())
    }
}
