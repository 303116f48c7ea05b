//! Lines of logs, templates, and how often each came.
//!
//! Lines have their own line to stand in (`log_tail`): who writes them never holds up who writes plans. A search for words finds lines
//! that have all of them, or words that begin with them. Both databases are given the same words; whether letters beyond ASCII are also
//! found as small or capital ones depends on the database and its locale.

mod archived;
mod columns;
mod forget;
mod handed;
mod journal;
mod known;
pub(crate) mod search;
pub(crate) mod shape;

use serde::{Deserialize, Serialize};
use sqlx::AnyConnection;

use crate::open::within;
use crate::rows::{Value, insert, number, query, text};
use crate::{Backend, Error, Store};

pub use archived::LogTail;
pub use forget::{Forgotten, Keep, Unarchived};
pub use handed::{HANDED_MOST, Handed};
pub use journal::JournalPlace;
pub use known::{LogKind, LogKnown};
pub use search::{LogPart, MOST_PARTS, Place, Search};

/// A line as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Its number; given by the store.
    pub number: u64,
    /// When it came, in microseconds since 1970.
    pub received: i64,
    /// When it was sent by the sender's clock, in microseconds since 1970.
    pub sent: Option<i64>,
    /// Its device; empty for a sender that is not known.
    pub device: String,
    /// Where it came from.
    pub address: String,
    /// How the sender calls itself.
    pub host: String,
    /// Facility, 0 to 23.
    pub facility: u32,
    /// Severity, 0 to 7; the lower, the graver.
    pub severity: u32,
    /// The program.
    pub program: String,
    /// Its process.
    pub process: String,
    /// The kind of message that the line itself names.
    pub kind: String,
    /// Its template's id.
    pub template: Option<String>,
    /// What has to be known about it, as bits.
    pub flags: u32,
    /// What it carries beside the message, as JSON text.
    pub fields: String,
    /// What it says.
    pub message: String,
}

/// A template as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogTemplate {
    /// Its id: sixteen hexadecimal digits.
    pub id: String,
    /// Its program.
    pub program: String,
    /// Its text.
    pub text: String,
    /// What the miner needs, as JSON text.
    pub document: String,
    /// When it was last seen, in seconds since 1970.
    pub seen: i64,
}

/// Lines of a template of a device in five minutes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogCount {
    /// When the five minutes began, in seconds since 1970.
    pub slot: i64,
    /// The device.
    pub device: String,
    /// The template's id; empty for the rest.
    pub template: String,
    /// How many.
    pub lines: u64,
}

const COLUMNS: &str = "log_line (number, received, sent, device, address, host, facility, severity, program, process, kind, template, flags, fields, message)";

impl Store {
    /// Writes lines, all or none, and returns the number of the last one.
    pub async fn write_logs(&self, lines: &[LogLine]) -> Result<u64, Error> {
        self.write_logs_of(lines, &[]).await
    }

    /// The same, and how far the journals are read that the lines came from.
    pub async fn write_logs_of(&self, lines: &[LogLine], journals: &[JournalPlace]) -> Result<u64, Error> {
        self.write_all(lines, journals, None).await
    }

    /// The same of a batch that another replica handed over, which waits no more then.
    pub async fn take_over_logs(&self, lines: &[LogLine], handed: &Handed) -> Result<u64, Error> {
        self.write_all(lines, &[], Some(handed)).await
    }

    async fn write_all(&self, lines: &[LogLine], journals: &[JournalPlace], handed: Option<&Handed>) -> Result<u64, Error> {
        within(lines.len(), async {
            self.make_log_room(lines.iter().map(|line| line.received)).await?;
            let written = self.write_lines(lines, journals, handed).await;
            if !written.as_ref().is_err_and(has_no_partition) {
                return written;
            }
            // Another process dropped or split one meanwhile.
            self.forget_log_partitions();
            self.drop_left_checks().await?;
            self.make_log_room(lines.iter().map(|line| line.received)).await?;
            self.write_lines(lines, journals, handed).await
        })
        .await
    }

    async fn write_lines(&self, lines: &[LogLine], journals: &[JournalPlace], handed: Option<&Handed>) -> Result<u64, Error> {
        let mut tx = self.pool.begin().await?;
        let bytes: u64 = lines.iter().map(|line| line_cost(line.message.len() as u64, line.fields.len() as u64)).sum();
        let statement = "UPDATE log_tail SET number = number + $1, bytes = bytes + $2 WHERE one = 1 RETURNING number";
        let row = query(statement, [lines.len().into(), bytes.into()]).fetch_optional(&mut *tx).await?;
        let last: u64 = number(&row.ok_or_else(|| Error::Damaged("log_tail".into()))?, "number")?;
        if !lines.is_empty() && !self.has_room_for_lines(&mut tx).await? {
            return Err(crate::open::full());
        }
        let first = last + 1 - lines.len() as u64;
        match self.backend {
            Backend::Sqlite { .. } => {
                insert(&mut tx, COLUMNS, (first..).zip(lines).map(|(number, line)| row_of(number, line)), "").await?;
                let words = (first..).zip(lines).map(|(number, line)| [number.into(), search::words(&line.message).into()]);
                insert(&mut tx, "log_text (rowid, message)", words, "").await?;
            }
            Backend::Postgres => columns::write(&mut tx, first, lines).await?,
        }
        journal::keep(&mut tx, journals).await?;
        if let Some(handed) = handed {
            handed::take(&mut tx, handed).await?;
        }
        tx.commit().await?;
        Ok(last)
    }

    /// Writes counts down. What was counted before of the same lines is in them, or was more.
    pub async fn keep_log_counts(&self, counts: &[LogCount]) -> Result<(), Error> {
        within(counts.len(), async {
            let mut tx = self.pool.begin().await?;
            let rows = counts.iter().map(|count| {
                [Value::Number(Some(count.slot)), count.device.as_str().into(), count.template.as_str().into(), count.lines.into()]
            });
            let conflict =
                "ON CONFLICT (slot, device, template) DO UPDATE SET lines = excluded.lines WHERE excluded.lines > log_count.lines";
            insert(&mut tx, "log_count (slot, device, template, lines)", rows, conflict).await?;
            Ok(tx.commit().await?)
        })
        .await
    }

    /// How often each template of a device came since then, the oldest first; at most 100 000.
    pub async fn log_counts(&self, device: &str, since: i64) -> Result<Vec<LogCount>, Error> {
        let statement =
            "SELECT slot, device, template, lines FROM log_count WHERE device = $1 AND slot >= $2 ORDER BY slot, template LIMIT 100000";
        let rows = self.readers.all(statement, [device.into(), Value::Number(Some(since))]).await?;
        let count = |row: &sqlx::any::AnyRow| {
            Ok(LogCount {
                slot: number(row, "slot")?,
                device: text(row, "device")?,
                template: text(row, "template")?,
                lines: number(row, "lines")?,
            })
        };
        rows.iter().map(count).collect()
    }

    /// Keeps templates: new ones, and those that changed.
    pub async fn keep_log_templates(&self, templates: &[LogTemplate]) -> Result<(), Error> {
        within(templates.len(), async {
            let mut tx = self.pool.begin().await?;
            let rows = templates.iter().map(|template| {
                let LogTemplate { id, program, text, document, seen } = template;
                [id.as_str().into(), program.as_str().into(), text.as_str().into(), document.as_str().into(), Value::Number(Some(*seen))]
            });
            let conflict = "ON CONFLICT (id) DO UPDATE SET text = excluded.text, document = excluded.document, seen = excluded.seen";
            insert(&mut tx, "log_template (id, program, text, document, seen)", rows, conflict).await?;
            Ok(tx.commit().await?)
        })
        .await
    }

    /// The templates that are kept, the one that was not seen for longest first; of more than 20 000 those that were seen last.
    pub async fn log_templates(&self) -> Result<Vec<LogTemplate>, Error> {
        let statement = "SELECT id, program, text, document, seen FROM
            (SELECT id, program, text, document, seen FROM log_template ORDER BY seen DESC, id LIMIT 20000) AS newest ORDER BY seen, id";
        let rows = within(100_000, async { Ok(sqlx::query(statement).fetch_all(&self.pool).await?) }).await?;
        let template = |row: &sqlx::any::AnyRow| {
            let (id, program, document) = (text(row, "id")?, text(row, "program")?, text(row, "document")?);
            Ok(LogTemplate { id, program, text: text(row, "text")?, document, seen: number(row, "seen")? })
        };
        rows.iter().map(template).collect()
    }
}

fn row_of(number: u64, line: &LogLine) -> [Value; 15] {
    let LogLine {
        number: _,
        received,
        sent,
        device,
        address,
        host,
        facility,
        severity,
        program,
        process,
        kind,
        template,
        flags,
        fields,
        message,
    } = line;
    [
        number.into(),
        Value::Number(Some(*received)),
        Value::Number(*sent),
        device.as_str().into(),
        address.as_str().into(),
        host.as_str().into(),
        (*facility).into(),
        (*severity).into(),
        program.as_str().into(),
        process.as_str().into(),
        kind.as_str().into(),
        template.as_deref().into(),
        (*flags).into(),
        fields.as_str().into(),
        message.as_str().into(),
    ]
}

/// About what a line takes in SQLite, with its places in four indices and half of its words once more: what `0009_log_archive.sql` takes too.
fn line_cost(message: u64, fields: u64) -> u64 {
    300 + fields + message + message / 2
}

/// PostgreSQL has no partition for a line: a check that fails.
fn has_no_partition(error: &Error) -> bool {
    matches!(error, Error::Database(sqlx::Error::Database(error)) if error.code().as_deref() == Some("23514"))
}

/// Nobody else changes the shape of these tables while this transaction goes on; any number that nobody else takes.
async fn lock_shape(connection: &mut AnyConnection) -> Result<(), Error> {
    sqlx::query("SELECT pg_advisory_xact_lock(7311142093281)::text AS taken").execute(connection).await?;
    Ok(())
}
