//! What only one of the databases has: partitions by time and an index of words in PostgreSQL, a table of words in SQLite.
//!
//! A partition is a day, or less where a day is too much: one that has grown too large ends a minute from then, and the rest of its day
//! gets another one. So what has to go by its size goes in small parts too, however much comes in.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, Row as _};

use super::lock_shape;
use crate::rows::number;
use crate::{Backend, Error, Store};

/// Microseconds of the longest partition.
pub(super) const DAY: i64 = 86_400_000_000;
/// A partition that was too large ends so many microseconds later: longer than it may take to look through it, as lines of after that are
/// refused as soon as that has begun.
const SOON: i64 = 600_000_000;
/// The longest that it may take to look through one.
const VALIDATE: Duration = Duration::from_secs(300);
/// The longest that it may take to split one, and to take back what was begun.
const SPLITS: Duration = Duration::from_secs(360);
const LIMIT: Duration = Duration::from_secs(30);
/// What the name of a check ends with that stands on a partition while it is split.
const CHECK: &str = "_until";
/// The words of a message as PostgreSQL itself would find them: for lines that were written before they had a column for them. Finding them
/// there costs more than all else that is done with a line.
const WORDS: &str = r"to_tsvector('simple', regexp_replace(message, '[\u0001-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u007f]+', ' ', 'g'))";
/// The index of words. New words wait in a list, 16 MB of it, before they are sorted in all at once; a search reads the list too.
const INDEX: &str = "CREATE INDEX log_line_words ON log_line USING GIN (words) WITH (gin_pending_list_limit = 16384)";

/// A partition in PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Partition {
    pub(super) name: String,
    /// Its first instant, in microseconds.
    pub(super) from: i64,
    /// The first instant after it.
    pub(super) to: i64,
    /// What it takes on the disk, with its indices.
    pub(super) bytes: u64,
}

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
            "CREATE INDEX log_line_number ON log_line (number)".into(),
        ] {
            sqlx::query(AssertSqlSafe(statement)).execute(&mut *tx).await?;
        }
    }
    let words = "SELECT attname::text AS name FROM pg_attribute WHERE attrelid = 'log_line'::regclass AND attname = 'words'";
    if sqlx::query(words).fetch_optional(&mut *tx).await?.is_none() {
        for statement in [
            "SET LOCAL statement_timeout = 0".to_owned(),
            "DROP INDEX IF EXISTS log_line_words".into(),
            "ALTER TABLE log_line ADD COLUMN words tsvector".into(),
            format!("UPDATE log_line SET words = {WORDS}"),
            INDEX.into(),
        ] {
            sqlx::query(AssertSqlSafe(statement)).execute(&mut *tx).await?;
        }
    }
    drop_left_checks(&mut tx).await?;
    Ok(tx.commit().await?)
}

/// The same for SQLite: a table of words without the text, which is in `log_line` already.
pub(crate) async fn prepare_sqlite(connection: &mut AnyConnection) -> Result<(), Error> {
    let statement = "CREATE VIRTUAL TABLE IF NOT EXISTS log_text USING fts5(message, content='', contentless_delete=1)";
    sqlx::query(statement).execute(connection).await?;
    Ok(())
}

/// The partitions, the oldest first.
pub(super) async fn partitions(connection: &mut AnyConnection) -> Result<Vec<Partition>, Error> {
    let statement =
        "SELECT c.oid::regclass::text AS name, pg_get_expr(c.relpartbound, c.oid) AS bound, pg_total_relation_size(c.oid) AS bytes
        FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = 'log_line'::regclass";
    let mut partitions = Vec::new();
    for row in sqlx::query(statement).fetch_all(connection).await? {
        let bound: String = row.try_get("bound")?;
        let (from, to) = bounds(&bound).ok_or_else(|| Error::Damaged(format!("a partition of log_line {bound}")))?;
        partitions.push(Partition { name: row.try_get("name")?, from, to, bytes: number(&row, "bytes")? });
    }
    partitions.sort_by_key(|partition| partition.from);
    Ok(partitions)
}

/// `FOR VALUES FROM ('1') TO ('2')`.
fn bounds(text: &str) -> Option<(i64, i64)> {
    let numbers: Vec<i64> = text.split('\'').filter_map(|part| part.parse().ok()).collect();
    <[i64; 2]>::try_from(numbers).ok().map(|[from, to]| (from, to))
}

/// The partition that an instant gets: its day, as far as others leave it free.
fn room_for(at: i64, made: &BTreeMap<i64, i64>) -> (i64, i64) {
    let day = at.div_euclid(DAY) * DAY;
    let before = made.range(..=at).next_back().map_or(i64::MIN, |(_, to)| *to);
    let after = made.range(at..).next().map_or(i64::MAX, |(from, _)| *from);
    (day.max(before), (day + DAY).min(after))
}

fn is_made(at: i64, made: &BTreeMap<i64, i64>) -> bool {
    made.range(..=at).next_back().is_some_and(|(_, to)| at < *to)
}

impl Store {
    /// Makes the partitions for these instants, where there are any.
    pub(super) async fn make_log_room(&self, instants: impl Iterator<Item = i64>) -> Result<(), Error> {
        let Backend::Postgres = self.backend else { return Ok(()) };
        let missing: Vec<i64> = {
            let made = self.known_log_partitions();
            instants.filter(|at| !is_made(*at, &made)).collect()
        };
        if missing.is_empty() {
            return Ok(());
        }
        let mut tx = self.pool.begin().await?;
        lock_shape(&mut tx).await?;
        let mut made: BTreeMap<i64, i64> = partitions(&mut tx).await?.into_iter().map(|partition| (partition.from, partition.to)).collect();
        for at in missing {
            if !is_made(at, &made) {
                let (from, to) = room_for(at, &made);
                // A name with a sign would have to be quoted.
                let name = format!("log_line_f{from}").replace('-', "m");
                let make = format!("CREATE TABLE {name} PARTITION OF log_line FOR VALUES FROM ({from}) TO ({to})");
                sqlx::query(AssertSqlSafe(make)).execute(&mut *tx).await?;
                made.insert(from, to);
            }
        }
        tx.commit().await?;
        *self.known_log_partitions() = made;
        Ok(())
    }

    /// Another process may have dropped or split them.
    pub(super) fn forget_log_partitions(&self) {
        self.known_log_partitions().clear();
    }

    fn known_log_partitions(&self) -> std::sync::MutexGuard<'_, BTreeMap<i64, i64>> {
        self.log_partitions.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Ends a partition soon after now. What is in it is looked through while others write on; the rest takes no time. Where another
    /// process does it, or the time that there is for it runs out, it is left for the next look.
    pub(super) async fn split(&self, partition: &Partition, now: i64) -> Result<(), Error> {
        let Partition { name, from, to, .. } = partition;
        let end = now + SOON;
        if end >= *to || end <= *from {
            return Ok(());
        }
        let mut turn = self.pool.begin().await?;
        let row = sqlx::query("SELECT pg_try_advisory_xact_lock(7311142093282)::int::bigint AS taken").fetch_one(&mut *turn).await?;
        if number::<u64>(&row, "taken")? == 0 {
            return Ok(());
        }
        // It only holds the turn meanwhile.
        sqlx::query("SET LOCAL idle_in_transaction_session_timeout = 0").execute(&mut *turn).await?;
        let done = tokio::time::timeout(SPLITS, self.split_at(name, *from, end)).await;
        if !matches!(done, Ok(Ok(()))) {
            // What is left of it would refuse lines from then on.
            let left = async { drop_checks(&mut *self.pool.acquire().await?).await };
            tokio::time::timeout(LIMIT, left).await.map_err(|_| late())??;
        }
        turn.commit().await?;
        self.forget_log_partitions();
        done.unwrap_or_else(|_| Err(late()))
    }

    async fn split_at(&self, name: &str, from: i64, end: i64) -> Result<(), Error> {
        let check = format!("{name}{CHECK}");
        let mut connection = self.pool.acquire().await?;
        for statement in [
            format!("ALTER TABLE {name} DROP CONSTRAINT IF EXISTS {check}"),
            format!("ALTER TABLE {name} ADD CONSTRAINT {check} CHECK (received >= {from} AND received < {end}) NOT VALID"),
        ] {
            sqlx::query(AssertSqlSafe(statement)).execute(&mut *connection).await?;
        }
        let mut tx = connection.begin().await?;
        for statement in [
            // With some gigabytes in it that takes longer than a statement usually may.
            format!("SET LOCAL statement_timeout = '{}s'", VALIDATE.as_secs()),
            format!("ALTER TABLE {name} VALIDATE CONSTRAINT {check}"),
        ] {
            sqlx::query(AssertSqlSafe(statement)).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        let mut tx = connection.begin().await?;
        lock_shape(&mut tx).await?;
        for statement in [
            format!("ALTER TABLE log_line DETACH PARTITION {name}"),
            format!("ALTER TABLE log_line ATTACH PARTITION {name} FOR VALUES FROM ({from}) TO ({end})"),
            format!("ALTER TABLE {name} DROP CONSTRAINT {check}"),
        ] {
            sqlx::query(AssertSqlSafe(statement)).execute(&mut *tx).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Removes what a process left that was killed while it split a partition, unless one is at it.
    pub(super) async fn drop_left_checks(&self) -> Result<(), Error> {
        let Backend::Postgres = self.backend else { return Ok(()) };
        let mut tx = self.pool.begin().await?;
        drop_left_checks(&mut tx).await?;
        Ok(tx.commit().await?)
    }
}

/// The same in a transaction of one's own.
async fn drop_left_checks(tx: &mut AnyConnection) -> Result<(), Error> {
    let row = sqlx::query("SELECT pg_try_advisory_xact_lock(7311142093282)::int::bigint AS taken").fetch_one(&mut *tx).await?;
    if number::<u64>(&row, "taken")? == 0 { Ok(()) } else { drop_checks(tx).await }
}

fn late() -> Error {
    Error::away(std::io::ErrorKind::TimedOut, "a partition of the lines could not be split in time")
}

async fn drop_checks(connection: &mut AnyConnection) -> Result<(), Error> {
    let left = "SELECT conrelid::regclass::text AS name, conname::text AS of FROM pg_constraint
        JOIN pg_inherits ON inhrelid = conrelid WHERE inhparent = 'log_line'::regclass AND contype = 'c' AND conname LIKE '%\\_until'";
    for row in sqlx::query(left).fetch_all(&mut *connection).await? {
        let (name, check): (String, String) = (row.try_get("name")?, row.try_get("of")?);
        let drop = format!("ALTER TABLE {name} DROP CONSTRAINT IF EXISTS \"{check}\"");
        sqlx::query(AssertSqlSafe(drop)).execute(&mut *connection).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_leave_no_gap_and_never_overlap() {
        let made = BTreeMap::from([(0, DAY), (2 * DAY, 2 * DAY + 5), (3 * DAY + 7, 4 * DAY)]);
        assert!(is_made(DAY - 1, &made) && !is_made(DAY, &made) && is_made(2 * DAY + 4, &made) && !is_made(2 * DAY + 5, &made));
        assert_eq!(room_for(-1, &made), (-DAY, 0));
        assert_eq!(room_for(DAY + 3, &made), (DAY, 2 * DAY));
        assert_eq!(room_for(2 * DAY + 5, &made), (2 * DAY + 5, 3 * DAY));
        assert_eq!(room_for(3 * DAY, &made), (3 * DAY, 3 * DAY + 7));
        assert_eq!(bounds("FOR VALUES FROM ('-5') TO ('86400000000')"), Some((-5, DAY)));
        assert_eq!(bounds("DEFAULT"), None);
    }
}
