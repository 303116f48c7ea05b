//! Which templates ever came from which device, and since when.

use serde::{Deserialize, Serialize};
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use super::LogCount;
use crate::open::within;
use crate::rows::{Value, insert, number, query, text};
use crate::{Error, Store};

/// Counts that one answer has at most, and that are read at a start.
const COUNTS: i64 = 500_000;
/// Kinds of lines of one answer at most.
const KINDS: i64 = 1000;

/// A template that came from a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogKnown {
    /// The device.
    pub device: String,
    /// The template's id.
    pub template: String,
    /// When it first came, in seconds since 1970.
    pub first: i64,
    /// When it came last.
    pub last: i64,
    /// What whoever takes lines in needs beside that, as JSON text.
    pub document: String,
}

/// A template that came from a device, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogKind {
    /// The device.
    pub device: String,
    /// The template's id.
    pub template: String,
    /// The program that it is of.
    pub program: String,
    /// What its lines have in common.
    pub text: String,
    /// When it first came from this device, in seconds since 1970.
    pub first: i64,
    /// When it was last stored as seen there, which is done once in an hour.
    pub last: i64,
    /// When it first came from any device.
    pub anywhere: i64,
}

impl Store {
    /// Keeps what came from where; what is known goes on being known since it was.
    pub async fn keep_log_known(&self, known: &[LogKnown]) -> Result<(), Error> {
        within(known.len(), async {
            let mut tx = self.pool.begin().await?;
            let rows = known.iter().map(|known| {
                let LogKnown { device, template, first, last, document } = known;
                let at = |second: &i64| Value::Number(Some(*second));
                [device.as_str().into(), template.as_str().into(), at(first), at(last), document.as_str().into()]
            });
            let conflict = "ON CONFLICT (device, template) DO UPDATE SET last_seen = excluded.last_seen, document = excluded.document";
            insert(&mut tx, "log_known (device, template, first_seen, last_seen, document)", rows, conflict).await?;
            Ok(tx.commit().await?)
        })
        .await
    }

    /// What came from where, the newest first; so many at most.
    pub async fn log_known(&self, most: usize) -> Result<Vec<LogKnown>, Error> {
        let statement =
            "SELECT device, template, first_seen, last_seen, document FROM log_known ORDER BY last_seen DESC, device, template LIMIT $1";
        let rows = within(most, async { Ok(query(statement, [most.into()]).fetch_all(&self.pool).await?) }).await?;
        let known = |row: &AnyRow| {
            Ok(LogKnown {
                device: text(row, "device")?,
                template: text(row, "template")?,
                first: number(row, "first_seen")?,
                last: number(row, "last_seen")?,
                document: text(row, "document")?,
            })
        };
        rows.iter().map(known).collect()
    }

    /// Counts of five minutes since then with so many lines or more, the newest first; 500 000 at most.
    pub async fn loud_log_counts(&self, since: i64, least: u32) -> Result<Vec<LogCount>, Error> {
        let statement = "SELECT slot, device, template, lines FROM log_count WHERE slot >= $1 AND lines >= $2 AND template <> '' \
            ORDER BY slot DESC, device, template LIMIT $3";
        let values = [Value::Number(Some(since)), least.into(), Value::Number(Some(COUNTS))];
        let rows = within(100_000, async { Ok(query(statement, values).fetch_all(&self.pool).await?) }).await?;
        rows.iter().map(count).collect()
    }

    /// How often templates came in each five minutes since then, of one device or of all together; the newest first.
    pub async fn log_rates(&self, device: Option<&str>, since: i64) -> Result<Vec<LogCount>, Error> {
        let of = "SELECT slot, device, template, lines FROM log_count WHERE slot >= $1 AND device = $3 ORDER BY slot DESC LIMIT $2";
        let all = "SELECT slot, '' AS device, template, CAST(SUM(lines) AS BIGINT) AS lines FROM log_count WHERE slot >= $1 \
            GROUP BY slot, template ORDER BY slot DESC LIMIT $2";
        let [since, most] = [since, COUNTS].map(|number| Value::Number(Some(number)));
        let found = match device {
            Some(device) => query(of, [since, most, device.into()]),
            None => query(all, [since, most]),
        };
        let rows = within(1000, async { Ok(found.fetch_all(&self.pool).await?) }).await?;
        rows.iter().map(count).collect()
    }

    /// What came from a device, or from all, since then; or what first came since then. The newest first, 1000 at most.
    pub async fn log_kinds(&self, device: Option<&str>, since: i64, only_new: bool) -> Result<Vec<LogKind>, Error> {
        let which = if only_new { "known.first_seen" } else { "known.last_seen" };
        let of = if device.is_some() { "AND known.device = $3" } else { "" };
        let statement = format!(
            "SELECT known.device AS device, known.template AS template, kind.program AS program, kind.text AS text, \
             known.first_seen AS first_seen, known.last_seen AS last_seen, \
             (SELECT MIN(first_seen) FROM log_known AS other WHERE other.template = known.template) AS anywhere \
             FROM log_known AS known JOIN log_template AS kind ON kind.id = known.template \
             WHERE {which} >= $1 {of} ORDER BY {which} DESC, known.device, known.template LIMIT $2"
        );
        let values = [since, KINDS].map(|number| Value::Number(Some(number))).into_iter().chain(device.map(Value::from));
        let found = values.fold(sqlx::query(AssertSqlSafe(statement)), |found, value| value.bind(found));
        let rows = within(1000, async { Ok(found.fetch_all(&self.pool).await?) }).await?;
        let kind = |row: &AnyRow| {
            Ok(LogKind {
                device: text(row, "device")?,
                template: text(row, "template")?,
                program: text(row, "program")?,
                text: text(row, "text")?,
                first: number(row, "first_seen")?,
                last: number(row, "last_seen")?,
                anywhere: number(row, "anywhere")?,
            })
        };
        rows.iter().map(kind).collect()
    }

    /// Forgets what was last seen before this instant, in seconds since 1970, and all but about so many of the newest: it would be new again.
    pub async fn forget_log_known(&self, before: i64, most: u32) -> Result<(), Error> {
        let beyond = "DELETE FROM log_known WHERE last_seen < (SELECT last_seen FROM log_known ORDER BY last_seen DESC LIMIT 1 OFFSET $1)";
        within(100_000, async {
            query(beyond, [most.saturating_sub(1).into()]).execute(&self.pool).await?;
            query("DELETE FROM log_known WHERE last_seen < $1", [Value::Number(Some(before))]).execute(&self.pool).await?;
            Ok(())
        })
        .await
    }
}

fn count(row: &AnyRow) -> Result<LogCount, Error> {
    Ok(LogCount {
        slot: number(row, "slot")?,
        device: text(row, "device")?,
        template: text(row, "template")?,
        lines: number(row, "lines")?,
    })
}
