//! Appending to the audit log, and reading it.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use crate::audit::checkpoint::{Checkpoint, ORIGIN};
use crate::audit::tree::{self, Frontier, Hash};
use crate::audit::{Entry, Header, Line};
use crate::open::{Writing, within};
use crate::rows::{insert, number, parse, query, text};
use crate::{Error, Store};

/// Entries read from the database at once.
const PAGE: usize = 1000;
/// Checkpoints that are kept: the newest one, and the last in each so many entries. A log grows by its entries and not by its
/// signatures, a million of them are verified in seconds, and what a forger changed is found within so many.
const KEPT: u64 = 256;
/// The numbers of a listing by target or unit, from the ends of two indices.
pub(crate) const ABOUT: &str = "SELECT number, text FROM audit_entry WHERE number IN (
    SELECT number FROM (SELECT number FROM audit_entry WHERE target = $1 AND number < $2 ORDER BY number DESC LIMIT $3) AS by_target
    UNION
    SELECT number FROM (SELECT number FROM audit_entry WHERE unit = $1 AND number < $2 ORDER BY number DESC LIMIT $3) AS by_unit
) ORDER BY number DESC LIMIT $3";

/// Which entries to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only those about this target or unit.
    pub about: Option<String>,
    /// Only those before this index.
    pub before: Option<u64>,
    /// At most so many; the newest ones. A list has at least one and at most 10 000.
    pub limit: usize,
}

impl Store {
    /// Appends entries on their own: acts that are no plan.
    pub async fn log(&self, entries: Vec<Entry>) -> Result<(), Error> {
        self.logged(entries).await.map(drop)
    }

    /// The same; returns the index of the first of them, for what refers to it later.
    pub async fn logged(&self, mut entries: Vec<Entry>) -> Result<Option<u64>, Error> {
        within(entries.len(), async {
            let mut writing = self.write().await?;
            self.append(&mut writing, &mut entries).await?;
            writing.commit().await?;
            Ok(entries.first().map(|entry| entry.index))
        })
        .await
    }

    /// The hash of the log's first entry: what tells this log from any other one. `None`: nothing is written yet.
    pub async fn first_leaf(&self) -> Result<Option<String>, Error> {
        let query = sqlx::query("SELECT leaf FROM audit_entry WHERE number = 0");
        let row = within(0, async { Ok(query.fetch_optional(&self.pool).await?) }).await?;
        row.map(|row| text(&row, "leaf")).transpose()
    }

    /// Appends entries in the caller's transaction and signs a checkpoint of what it leaves. The entries' indices are filled in.
    pub(crate) async fn append(&self, writing: &mut Writing, entries: &mut [Entry]) -> Result<(), Error> {
        if entries.is_empty() {
            return Ok(());
        }
        let Writing { tx, frontier } = writing;
        let mut rows = Vec::with_capacity(entries.len());
        for entry in entries {
            entry.index = frontier.size();
            let text = entry.canonical();
            let leaf = tree::leaf(text.as_bytes());
            frontier.push(leaf);
            rows.push([
                entry.index.into(),
                text.into(),
                hex::encode(leaf).into(),
                entry.target.as_str().into(),
                entry.unit.as_str().into(),
            ]);
        }
        insert(tx, "audit_entry (number, text, leaf, target, unit)", rows, "").await?;
        let peaks: Vec<String> = frontier.peaks().iter().map(hex::encode).collect();
        let statement = "UPDATE audit_tree SET size = $1, peaks = $2 WHERE one = 1";
        query(statement, [frontier.size().into(), peaks.join(",").into()]).execute(&mut **tx).await?;
        let checkpoint = self.key.sign(frontier.size(), frontier.root());
        let block = (checkpoint.size - 1) / KEPT * KEPT;
        query("DELETE FROM audit_checkpoint WHERE size > $1", [block.into()]).execute(&mut **tx).await?;
        insert(tx, "audit_checkpoint (size, note)", [[checkpoint.size.into(), checkpoint.note.into()]], "").await
    }

    /// The newest checkpoint.
    pub async fn checkpoint(&self) -> Result<Option<Checkpoint>, Error> {
        within(0, async { self.newest(&mut *self.pool.acquire().await?).await }).await
    }

    pub(crate) async fn newest(&self, connection: &mut AnyConnection) -> Result<Option<Checkpoint>, Error> {
        let row = sqlx::query("SELECT note FROM audit_checkpoint ORDER BY size DESC LIMIT 1").fetch_optional(connection).await?;
        let Some(row) = row else { return Ok(None) };
        let opened = Checkpoint::open(&text(&row, "note")?, &self.public_key());
        opened.map(Some).map_err(|error| Error::Damaged(format!("audit_checkpoint: {error}")))
    }

    /// Entries, the newest first.
    pub async fn entries(&self, filter: &Filter) -> Result<Vec<Entry>, Error> {
        let before = filter.before.unwrap_or(u64::MAX).into();
        let limit = filter.limit.clamp(1, 10_000).into();
        let query = match &filter.about {
            Some(about) => query(ABOUT, [about.as_str().into(), before, limit]),
            None => query("SELECT number, text FROM audit_entry WHERE number < $1 ORDER BY number DESC LIMIT $2", [before, limit]),
        };
        let rows = within(0, async { Ok(query.fetch_all(&self.pool).await?) }).await?;
        rows.iter().map(entry).collect()
    }

    /// One entry by its index.
    pub async fn entry(&self, index: u64) -> Result<Option<Entry>, Error> {
        let query = query("SELECT text FROM audit_entry WHERE number = $1", [index.into()]);
        let row = within(0, async { Ok(query.fetch_optional(&self.pool).await?) }).await?;
        row.as_ref().map(entry).transpose()
    }

    /// The whole log as lines of an export, page by page: call it with the index that it returned until that is `None`.
    pub async fn export(&self, from: u64) -> Result<(Vec<Line>, Option<u64>), Error> {
        within(0, self.page(from)).await
    }

    async fn page(&self, from: u64) -> Result<(Vec<Line>, Option<u64>), Error> {
        let mut lines = Vec::new();
        if from == 0 {
            lines.push(Line::Header(Header { origin: ORIGIN.into(), key: self.public_key().to_text() }));
        }
        let mut tx = self.read().await?;
        let entries = "SELECT number, text, leaf FROM audit_entry WHERE number >= $1 ORDER BY number LIMIT $2";
        let rows = query(entries, [from.into(), PAGE.into()]).fetch_all(&mut *tx).await?;
        let last = rows.last().filter(|_| rows.len() == PAGE);
        let next = last.map(|row| number::<u64>(row, "number")).transpose()?.map(|last| last + 1);
        // The last page has every checkpoint that is left, so that a tail cut off in the database shows.
        let notes = "SELECT size, note FROM audit_checkpoint WHERE size > $1 AND size <= $2 ORDER BY size";
        let notes = query(notes, [from.into(), next.unwrap_or(u64::MAX).into()]).fetch_all(&mut *tx).await?;
        let mut notes = notes.iter().peekable();
        for row in &rows {
            let index: u64 = number(row, "number")?;
            lines.push(Line::Entry { text: row.try_get("text")?, leaf: row.try_get("leaf")? });
            while let Some(note) = notes.next_if(|note| number::<u64>(note, "size").is_ok_and(|size| size <= index + 1)) {
                lines.push(Line::Checkpoint(text(note, "note")?));
            }
        }
        for note in notes {
            lines.push(Line::Checkpoint(text(note, "note")?));
        }
        Ok((lines, next))
    }
}

/// The right edge of the tree.
pub(crate) fn frontier(row: Option<&AnyRow>) -> Result<Frontier, Error> {
    let damaged = || Error::Damaged("audit_tree".into());
    let row = row.ok_or_else(damaged)?;
    let peaks: String = row.try_get("peaks")?;
    let peaks: Option<Vec<Hash>> = peaks.split(',').filter(|peak| !peak.is_empty()).map(hash).collect();
    Frontier::restore(number(row, "size")?, peaks.ok_or_else(damaged)?).ok_or_else(damaged)
}

fn hash(text: &str) -> Option<Hash> {
    hex::decode(text).ok()?.try_into().ok()
}

fn entry(row: &AnyRow) -> Result<Entry, Error> {
    parse(row.try_get("text")?, "audit_entry.text")
}
