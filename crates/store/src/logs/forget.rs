//! What is old goes: by its age, when there is too much of it, and when the disk has no room.
//!
//! SQLite deletes in small parts, each a turn at the one connection; a part removes twice what a turn of the intake brings, so whoever
//! calls this again until nothing is left keeps up with whatever comes in. PostgreSQL drops partitions.

use sqlx::{AnyConnection, AssertSqlSafe, Connection as _};

use super::shape::{Partition, partitions};
use super::{line_cost, lock_shape};
use crate::open::within;
use crate::rows::{Value, maybe_number, number, query};
use crate::{Backend, Error, Store};

/// Lines of one delete in SQLite: twice those of one write.
const AT_ONCE: u64 = 2000;
/// Counts of one delete, and deletes in a row: what is left goes the next time.
const COUNTS: i64 = 20_000;
const COUNT_ROUNDS: usize = 500;
/// Partitions that the size is made of, so that dropping one does not take much more than has to go.
const PARTS: u64 = 16;
/// Free room, on the disk and in the file, below which the oldest lines go in SQLite: a twentieth of the disk, within these.
const LOW: std::ops::RangeInclusive<u64> = (64 << 20)..=(1 << 30);
/// Free room below which no line is written in SQLite: what is left is for plans, outcomes and their audit.
const FLOOR: u64 = 32 << 20;

/// How much of the lines is kept.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// Now, in microseconds since 1970.
    pub now: i64,
    /// Lines that came so many microseconds ago go.
    pub age: i64,
    /// Beyond so many bytes the oldest go.
    pub bytes: u64,
    /// Whether lines that are not archived stay.
    pub unarchived: Unarchived,
}

/// What becomes of lines that are not archived; where the disk has no room, they go in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unarchived {
    /// They go as all others do: nothing is archived.
    Go,
    /// They stay, and that is told.
    Stay,
    /// They stay until lines take a quarter more than they may.
    StayWhile,
}

/// What one call removed, and how it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Lines that were too old.
    pub aged: u64,
    /// Lines that were too many.
    pub oversize: u64,
    /// Lines that went as the disk had no room.
    pub shed: u64,
    /// Of all these, those that should have been archived first.
    pub unarchived: u64,
    /// Bytes that are left, about.
    pub bytes: u64,
    /// Something would have to go and is not archived yet.
    pub held: bool,
    /// There is more to remove.
    pub more: bool,
}

impl Keep {
    fn before(&self) -> i64 {
        self.now.saturating_sub(self.age)
    }

    /// Whether a line that is not archived stays although it would have to go.
    fn holds(&self, bytes: u64) -> bool {
        match self.unarchived {
            Unarchived::Go => false,
            Unarchived::Stay => true,
            Unarchived::StayWhile => bytes <= self.bytes.saturating_add(self.bytes / 4),
        }
    }
}

impl Store {
    /// Removes what is not to be kept, a part of it: where there is more, that is said.
    pub async fn forget_logs(&self, keep: &Keep) -> Result<Forgotten, Error> {
        let (done, large) = within(100_000, async {
            match self.backend {
                Backend::Postgres => self.drop_partitions_of_lines(keep).await,
                Backend::Sqlite { .. } => Ok((self.delete_lines(keep).await?, None)),
            }
        })
        .await?;
        // That has a limit of its own, and is not cut in its middle by another one.
        if let Some(large) = large {
            self.split(&large, keep.now).await?;
        }
        Ok(done)
    }

    /// Removes counts of before this instant, in seconds since 1970.
    pub async fn forget_log_counts(&self, before: i64) -> Result<(), Error> {
        // Some at a time: all of a long time at once would take longer than a statement may, and never be done.
        let some = "DELETE FROM log_count WHERE slot < $1 AND slot <= (SELECT slot FROM log_count ORDER BY slot LIMIT 1 OFFSET $2)";
        let rest = "DELETE FROM log_count WHERE slot < $1";
        for _ in 0..COUNT_ROUNDS {
            let done = within(COUNTS as usize, async {
                let values = [Value::Number(Some(before)), Value::Number(Some(COUNTS))];
                Ok(query(some, values).execute(&self.pool).await?.rows_affected())
            })
            .await?;
            if done == 0 {
                let rest = query(rest, [Value::Number(Some(before))]);
                return within(COUNTS as usize, async { Ok(rest.execute(&self.pool).await.map(drop)?) }).await;
            }
        }
        Ok(())
    }

    /// Removes templates that were last seen before this instant, and all but about so many of the newest.
    pub async fn forget_log_templates(&self, before: i64, most: u32) -> Result<(), Error> {
        let beyond = "DELETE FROM log_template WHERE seen < (SELECT seen FROM log_template ORDER BY seen DESC LIMIT 1 OFFSET $1)";
        within(100_000, async {
            query("DELETE FROM log_template WHERE seen < $1", [Value::Number(Some(before))]).execute(&self.pool).await?;
            query(beyond, [most.saturating_sub(1).into()]).execute(&self.pool).await?;
            Ok(())
        })
        .await
    }

    /// The size that is kept where nothing is said: 20 GiB, and of the disk of a SQLite file no more than a quarter.
    pub fn log_size(&self) -> Result<u64, Error> {
        const MOST: u64 = 20 << 30;
        Ok(self.backend.disk()?.map_or(MOST, |(_, all)| MOST.min(all / 4)))
    }

    /// Whether lines may be written: what room is left may be for what is more important.
    pub(super) async fn has_room_for_lines(&self, connection: &mut AnyConnection) -> Result<bool, Error> {
        let Some((free, _)) = self.backend.disk()? else { return Ok(true) };
        Ok(free >= FLOOR || free + inside(connection).await? >= FLOOR)
    }

    async fn drop_partitions_of_lines(&self, keep: &Keep) -> Result<(Forgotten, Option<Partition>), Error> {
        let mut connection = self.pool.acquire().await?;
        let all = partitions(&mut connection).await?;
        let archived = tail(&mut connection).await?.1;
        let mut done = Forgotten { bytes: all.iter().map(|partition| partition.bytes).sum(), ..Forgotten::default() };
        for (place, partition) in all.iter().enumerate() {
            let is_old = partition.to <= keep.before();
            let is_last = place + 1 == all.len();
            if !is_old && (done.bytes <= keep.bytes || is_last) {
                break;
            }
            let (first, last) = numbers(&mut connection, partition).await?;
            let is_archived = keep.unarchived == Unarchived::Go;
            let unarchived = if is_archived { 0 } else { last.saturating_sub(archived.max(first.saturating_sub(1))) };
            if unarchived > 0 && keep.holds(done.bytes) {
                done.held = true;
                break;
            }
            let mut tx = connection.begin().await?;
            lock_shape(&mut tx).await?;
            sqlx::query(AssertSqlSafe(format!("DROP TABLE IF EXISTS {}", partition.name))).execute(&mut *tx).await?;
            tx.commit().await?;
            self.forget_log_partitions();
            let lines = if last == 0 { 0 } else { last - first + 1 };
            *(if is_old { &mut done.aged } else { &mut done.oversize }) += lines;
            done.unarchived += unarchived;
            done.bytes = done.bytes.saturating_sub(partition.bytes);
        }
        let current = all.iter().find(|partition| partition.from <= keep.now && keep.now < partition.to);
        Ok((done, current.filter(|partition| partition.bytes > keep.bytes / PARTS).cloned()))
    }

    async fn delete_lines(&self, keep: &Keep) -> Result<Forgotten, Error> {
        let mut tx = self.pool.begin().await?;
        let (bytes, archived) = tail(&mut tx).await?;
        let low = self.backend.disk()?.map_or(0, |(_, all)| (all / 20).clamp(*LOW.start(), *LOW.end()));
        let free = self.backend.disk()?.map_or(u64::MAX, |(free, _)| free);
        let no_room = free < low && free + inside(&mut tx).await? < low;
        let mut done = Forgotten { bytes, ..Forgotten::default() };
        let oldest = "SELECT received, number, octet_length(message) AS message, octet_length(fields) AS fields
            FROM log_line ORDER BY received, number LIMIT $1";
        let mut end = None;
        let rows = query(oldest, [AT_ONCE.into()]).fetch_all(&mut *tx).await?;
        for row in &rows {
            let (received, line): (i64, u64) = (number(row, "received")?, number(row, "number")?);
            let (is_old, is_beyond) = (received < keep.before(), done.bytes > keep.bytes);
            if !is_old && !is_beyond && !no_room {
                break;
            }
            let is_unarchived = keep.unarchived != Unarchived::Go && line > archived;
            if is_unarchived && keep.holds(done.bytes) && !no_room {
                done.held = true;
                break;
            }
            end = Some((received, line));
            done.unarchived += u64::from(is_unarchived);
            *(if is_old {
                &mut done.aged
            } else if is_beyond {
                &mut done.oversize
            } else {
                &mut done.shed
            }) += 1;
            done.bytes = done.bytes.saturating_sub(line_cost(number(row, "message")?, number(row, "fields")?));
        }
        let Some((received, line)) = end else { return Ok(done) };
        for statement in [
            "DELETE FROM log_text WHERE rowid IN (SELECT number FROM log_line WHERE (received, number) <= ($1, $2))",
            "DELETE FROM log_line WHERE (received, number) <= ($1, $2)",
        ] {
            query(statement, [Value::Number(Some(received)), line.into()]).execute(&mut *tx).await?;
        }
        query("UPDATE log_tail SET bytes = $1 WHERE one = 1", [done.bytes.into()]).execute(&mut *tx).await?;
        tx.commit().await?;
        done.more = done.aged + done.oversize + done.shed == AT_ONCE;
        Ok(done)
    }
}

/// What the lines take, and how far they are archived.
async fn tail(connection: &mut AnyConnection) -> Result<(u64, u64), Error> {
    // The first statement writes: SQLite would refuse to turn a read that is behind into a write.
    let statement = "UPDATE log_tail SET bytes = bytes WHERE one = 1 RETURNING bytes, archived";
    let row = sqlx::query(statement).fetch_one(connection).await?;
    Ok((number(&row, "bytes")?, number(&row, "archived")?))
}

/// The first and the last number in a partition; zeros if it is empty.
async fn numbers(connection: &mut AnyConnection, partition: &Partition) -> Result<(u64, u64), Error> {
    let statement = format!("SELECT MIN(number) AS first, MAX(number) AS last FROM {}", partition.name);
    let row = sqlx::query(AssertSqlSafe(statement)).fetch_one(connection).await?;
    Ok((maybe_number(&row, "first")?.unwrap_or(0), maybe_number(&row, "last")?.unwrap_or(0)))
}

/// Bytes in a SQLite file that nothing uses.
async fn inside(connection: &mut AnyConnection) -> Result<u64, Error> {
    let pages: u64 = number(&sqlx::query("PRAGMA freelist_count").fetch_one(&mut *connection).await?, "freelist_count")?;
    let size: u64 = number(&sqlx::query("PRAGMA page_size").fetch_one(connection).await?, "page_size")?;
    Ok(pages.saturating_mul(size))
}
