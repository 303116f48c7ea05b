//! In PostgreSQL the tables of samples have a partition for each stretch of time: what is old goes at once, and leaves no holes.

use std::collections::BTreeSet;

use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, Row as _};

use super::keep::{FIVE_MINUTES_KEPT, HOURS_KEPT, RAW_KEPT};
use crate::{Backend, Error, Store};

/// Nobody else changes partitions while one holds this; any number that nobody else takes.
const LOCK: i64 = 0x6576_656e_6b65_656c;

/// A table that is partitioned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    Raw,
    FiveMinutes,
    Hours,
}

pub(super) const TABLES: [Table; 3] = [Table::Raw, Table::FiveMinutes, Table::Hours];

impl Table {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Raw => "sample_raw",
            Self::FiveMinutes => "sample_5m",
            Self::Hours => "sample_1h",
        }
    }

    /// Seconds that rows are kept.
    pub(super) fn kept(self) -> i64 {
        match self {
            Self::Raw => RAW_KEPT,
            Self::FiveMinutes => FIVE_MINUTES_KEPT,
            Self::Hours => HOURS_KEPT,
        }
    }

    /// Seconds of one partition: about as many rows in each of the tables.
    fn stretch(self) -> i64 {
        match self {
            Self::Raw | Self::FiveMinutes => 86_400,
            Self::Hours => 28 * 86_400,
        }
    }
}

/// Makes the tables partitioned, once, when the schema is brought up to date: they are empty then.
pub(crate) async fn prepare(connection: &mut AnyConnection) -> Result<(), Error> {
    let mut tx = connection.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)::text AS taken").bind(LOCK).execute(&mut *tx).await?;
    for table in TABLES.map(Table::name) {
        let plain = format!("SELECT relname::text AS name FROM pg_class WHERE oid = '{table}'::regclass AND relkind = 'r'");
        if sqlx::query(AssertSqlSafe(plain)).fetch_optional(&mut *tx).await?.is_none() {
            continue;
        }
        for statement in [
            format!(
                "CREATE TABLE {table}_new (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS, PRIMARY KEY (series, at)) PARTITION BY RANGE (at)"
            ),
            format!("DROP TABLE {table}"),
            format!("ALTER TABLE {table}_new RENAME TO {table}"),
        ] {
            sqlx::query(AssertSqlSafe(statement)).execute(&mut *tx).await?;
        }
    }
    Ok(tx.commit().await?)
}

impl Store {
    /// Makes the partitions for these instants, where there are any, and the next ones: at midnight nobody has to wait.
    pub(super) async fn make_room(&self, instants: impl Iterator<Item = i64>) -> Result<(), Error> {
        let Backend::Postgres = self.backend else { return Ok(()) };
        let mut wanted: BTreeSet<(Table, i64)> = BTreeSet::new();
        for at in instants {
            for table in TABLES {
                let number = at.div_euclid(table.stretch());
                wanted.extend([(table, number), (table, number + 1)]);
            }
        }
        {
            let made = self.partitions.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            wanted.retain(|(table, number)| !made.contains(&(table.name(), *number)));
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let mut tx = self.pool.begin().await?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)::text AS taken").bind(LOCK).execute(&mut *tx).await?;
        for (table, number) in &wanted {
            let (name, stretch) = (table.name(), table.stretch());
            let (from, to) = (number * stretch, (number + 1) * stretch);
            let make = format!("CREATE TABLE IF NOT EXISTS {name}_p{number} PARTITION OF {name} FOR VALUES FROM ({from}) TO ({to})");
            sqlx::query(AssertSqlSafe(make)).execute(&mut *tx).await?;
            if *table == Table::FiveMinutes {
                // Rows come in the order of their times: to find an hour's, a few numbers for each stretch of the file are enough.
                let find = format!("CREATE INDEX IF NOT EXISTS {name}_p{number}_when ON {name}_p{number} USING brin (at)");
                sqlx::query(AssertSqlSafe(find)).execute(&mut *tx).await?;
            }
        }
        tx.commit().await?;
        let mut made = self.partitions.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        made.extend(wanted.into_iter().map(|(table, number)| (table.name(), number)));
        Ok(())
    }

    /// Drops the partitions that end before this instant.
    pub(super) async fn drop_partitions(&self, table: Table, before: i64) -> Result<(), Error> {
        let name = table.name();
        let children = format!("SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = '{name}'::regclass");
        for row in sqlx::query(AssertSqlSafe(children)).fetch_all(&self.pool).await? {
            let child: String = row.try_get("name")?;
            let number = child.strip_prefix(name).and_then(|rest| rest.strip_prefix("_p")).and_then(|number| number.parse::<i64>().ok());
            if let Some(number) = number.filter(|number| (number + 1) * table.stretch() <= before) {
                let mut tx = self.pool.begin().await?;
                sqlx::query("SELECT pg_advisory_xact_lock($1)::text AS taken").bind(LOCK).execute(&mut *tx).await?;
                sqlx::query(AssertSqlSafe(format!("DROP TABLE IF EXISTS {name}_p{number}"))).execute(&mut *tx).await?;
                tx.commit().await?;
                self.partitions.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&(name, number));
            }
        }
        Ok(())
    }
}
