//! Appending to the audit log, and reading it.

use jiff::Timestamp;
use sqlx::{AnyConnection, Row as _};

use crate::audit::checkpoint::Checkpoint;
use crate::audit::tree::{self, Frontier, Hash};
use crate::audit::{Entry, Header, Line};
use crate::{Backend, Error, Store};

/// Entries read from the database at once.
const PAGE: i64 = 1000;

/// Which entries to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only those about this target or unit.
    pub about: Option<String>,
    /// Only those before this index.
    pub before: Option<u64>,
    /// At most so many; the newest ones.
    pub limit: usize,
}

impl Store {
    /// Appends entries in the caller's transaction and signs a checkpoint of what it leaves. The entries' indices are filled in.
    pub(crate) async fn append(&self, tx: &mut AnyConnection, entries: &mut [Entry]) -> Result<(), Error> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut frontier = self.frontier(tx).await?;
        for entry in entries.iter_mut() {
            entry.index = frontier.size();
            let text = entry.canonical();
            let leaf = tree::leaf(text.as_bytes());
            frontier.push(leaf);
            sqlx::query("INSERT INTO audit_entry (number, text, leaf) VALUES ($1, $2, $3)")
                .bind(number(entry.index))
                .bind(text)
                .bind(hex::encode(leaf))
                .execute(&mut *tx)
                .await?;
        }
        let peaks: Vec<String> = frontier.peaks().iter().map(hex::encode).collect();
        sqlx::query("INSERT INTO audit_frontier (one, size, peaks) VALUES (1, $1, $2) ON CONFLICT (one) DO UPDATE SET size = excluded.size, peaks = excluded.peaks")
            .bind(number(frontier.size()))
            .bind(peaks.join(","))
            .execute(&mut *tx)
            .await?;
        let checkpoint = self.key.sign(frontier.size(), frontier.root());
        sqlx::query("INSERT INTO audit_checkpoint (size, note) VALUES ($1, $2)")
            .bind(number(checkpoint.size))
            .bind(checkpoint.note)
            .execute(&mut *tx)
            .await?;
        Ok(())
    }

    /// Appends entries on their own: acts that are no plan.
    pub async fn log(&self, mut entries: Vec<Entry>) -> Result<(), Error> {
        let mut tx = self.pool.begin().await?;
        self.append(&mut tx, &mut entries).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn frontier(&self, tx: &mut AnyConnection) -> Result<Frontier, Error> {
        // Appenders on several replicas stand in line here.
        let lock = match self.backend {
            Backend::Postgres => {
                sqlx::query("LOCK TABLE audit_frontier IN EXCLUSIVE MODE").execute(&mut *tx).await?;
                "SELECT size, peaks FROM audit_frontier WHERE one = 1"
            }
            Backend::Sqlite => "SELECT size, peaks FROM audit_frontier WHERE one = 1",
        };
        let Some(row) = sqlx::query(lock).fetch_optional(&mut *tx).await? else { return Ok(Frontier::default()) };
        let damaged = || Error::Damaged("audit_frontier".into());
        let size = u64::try_from(row.try_get::<i64, _>("size")?).map_err(|_| damaged())?;
        let peaks: String = row.try_get("peaks")?;
        let peaks: Option<Vec<Hash>> = peaks.split(',').filter(|peak| !peak.is_empty()).map(hash).collect();
        Frontier::restore(size, peaks.ok_or_else(damaged)?).ok_or_else(damaged)
    }

    /// The newest checkpoint.
    pub async fn checkpoint(&self) -> Result<Option<Checkpoint>, Error> {
        let row = sqlx::query("SELECT note FROM audit_checkpoint ORDER BY size DESC LIMIT 1").fetch_optional(&self.pool).await?;
        let Some(row) = row else { return Ok(None) };
        let note: String = row.try_get("note")?;
        Checkpoint::open(&note, &self.public_key()).map(Some).map_err(|error| Error::Damaged(error.to_string()))
    }

    /// Entries, the newest first.
    pub async fn entries(&self, filter: &Filter) -> Result<Vec<Entry>, Error> {
        let mut found = Vec::new();
        let mut before = filter.before.map_or(i64::MAX, number);
        let limit = filter.limit.clamp(1, 10_000);
        while found.len() < limit {
            let rows = sqlx::query("SELECT number, text FROM audit_entry WHERE number < $1 ORDER BY number DESC LIMIT $2")
                .bind(before)
                .bind(PAGE)
                .fetch_all(&self.pool)
                .await?;
            let Some(last) = rows.last() else { break };
            before = last.try_get("number")?;
            for row in &rows {
                let entry: Entry = read(&row.try_get::<String, _>("text")?)?;
                let wanted = filter.about.as_ref().is_none_or(|about| *about == entry.target || *about == entry.unit);
                if wanted && found.len() < limit {
                    found.push(entry);
                }
            }
        }
        Ok(found)
    }

    /// One entry by its index.
    pub async fn entry(&self, index: u64) -> Result<Option<Entry>, Error> {
        let row = sqlx::query("SELECT text FROM audit_entry WHERE number = $1").bind(number(index)).fetch_optional(&self.pool).await?;
        row.map(|row| read(&row.try_get::<String, _>("text")?)).transpose()
    }

    /// The whole log as lines of an export, page by page: call it with the index that it returned until that is `None`.
    pub async fn export(&self, from: u64) -> Result<(Vec<Line>, Option<u64>), Error> {
        let mut lines = Vec::new();
        if from == 0 {
            lines.push(Line::Header(Header { origin: crate::audit::checkpoint::ORIGIN.into(), key: self.public_key().to_text() }));
        }
        let rows = sqlx::query("SELECT number, text, leaf FROM audit_entry WHERE number >= $1 ORDER BY number LIMIT $2")
            .bind(number(from))
            .bind(PAGE)
            .fetch_all(&self.pool)
            .await?;
        let end = rows.last().map(|row| row.try_get::<i64, _>("number")).transpose()?;
        // The last page has every checkpoint that is left, so that a tail cut off in the database shows.
        let full = i64::try_from(rows.len()).unwrap_or(i64::MAX) == PAGE;
        let notes = sqlx::query("SELECT size, note FROM audit_checkpoint WHERE size > $1 AND size <= $2 ORDER BY size")
            .bind(number(from))
            .bind(end.filter(|_| full).map_or(i64::MAX, |end| end + 1))
            .fetch_all(&self.pool)
            .await?;
        let mut notes = notes.iter().peekable();
        for row in &rows {
            let index: i64 = row.try_get("number")?;
            lines.push(Line::Entry { text: row.try_get("text")?, leaf: row.try_get("leaf")? });
            while let Some(note) = notes.next_if(|note| note.try_get::<i64, _>("size").is_ok_and(|size| size <= index + 1)) {
                lines.push(Line::Checkpoint(note.try_get("note")?));
            }
        }
        for note in notes {
            lines.push(Line::Checkpoint(note.try_get("note")?));
        }
        Ok((lines, end.filter(|_| full).and_then(|end| u64::try_from(end + 1).ok())))
    }
}

fn hash(text: &str) -> Option<Hash> {
    hex::decode(text).ok()?.try_into().ok()
}

fn read(text: &str) -> Result<Entry, Error> {
    serde_json::from_str(text).map_err(|error| Error::Damaged(format!("audit_entry: {error}")))
}

/// An index as the database has it.
pub(crate) fn number(index: u64) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}

/// An instant as the database has it: text whose order is the order in time.
pub(crate) fn instant(at: Timestamp) -> String {
    format!("{at:.6}")
}
