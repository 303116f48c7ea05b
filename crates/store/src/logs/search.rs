//! Searching lines.

use sqlx::any::AnyRow;

use super::{COLUMNS, LogLine};
use crate::rows::{Value, maybe_number, maybe_text, number, text};
use crate::{Backend, Error, Store};

/// Words of a search at most; more narrow nothing down that these don't.
const MOST_WORDS: usize = 16;
/// Bytes of a word that count; PostgreSQL takes no more than 2046.
const WORD: usize = 255;
/// Lines of one answer at most.
const MOST_LINES: usize = 1000;
/// Counts of one answer at most: a thousand devices in sixty parts with some severities each.
pub const MOST_PARTS: usize = 200_000;

/// A line's place in the order of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// When it came, in microseconds since 1970.
    pub received: i64,
    /// Its number.
    pub number: u64,
}

/// Which lines to find.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// Only a device's; the empty name has those of senders that are not known.
    pub device: Option<String>,
    /// Only from then on, in microseconds since 1970.
    pub since: Option<i64>,
    /// Only up to then, in microseconds since 1970.
    pub until: Option<i64>,
    /// Only with all of these words, or with words that begin with them.
    pub words: String,
    /// Only this grave or graver.
    pub severity: Option<u32>,
    /// Only of this program.
    pub program: Option<String>,
    /// Only of this template.
    pub template: Option<String>,
    /// Only those before this one: the next page.
    pub before: Option<Place>,
    /// Only those written after this one, the oldest first: what is new.
    pub after: Option<u64>,
    /// At most so many, 1000 in any case.
    pub limit: usize,
}

impl LogLine {
    /// Its place in the order of time.
    pub fn place(&self) -> Place {
        Place { received: self.received, number: self.number }
    }
}

/// Lines in a part of a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPart {
    /// Which part, from 0.
    pub part: i64,
    /// From which device; empty for senders that are not known.
    pub device: String,
    /// How grave, 0 to 7.
    pub severity: u32,
    /// How many.
    pub lines: u64,
}

/// A statement that grows with its values.
struct Statement {
    text: String,
    values: Vec<Value>,
}

impl Statement {
    /// Adds a condition with one value at `$`.
    fn and(&mut self, condition: &str, value: Value) {
        self.values.push(value);
        let place = format!("${}", self.values.len());
        self.text.push_str(" AND ");
        self.text.push_str(&condition.replace('$', &place));
    }
}

impl Store {
    /// Lines that fit, the newest first.
    pub async fn search_logs(&self, search: &Search) -> Result<Vec<LogLine>, Error> {
        let columns = COLUMNS.trim_start_matches("log_line (").trim_end_matches(')');
        let mut statement = Statement { text: format!("SELECT {columns} FROM log_line WHERE 1 = 1"), values: Vec::new() };
        self.conditions(search, &mut statement);
        let order = if search.after.is_some() { "number" } else { "received DESC, number DESC" };
        let limit = search.limit.clamp(1, MOST_LINES);
        let text = format!("{} ORDER BY {order} LIMIT {limit}", statement.text);
        let rows = self.readers.all(text, statement.values).await?;
        rows.iter().map(line).collect()
    }

    /// How many lines fit, in parts of a time: by part, device and severity. `search` says from when until when; its `limit` does not count.
    pub async fn count_logs(&self, search: &Search, part: i64) -> Result<Vec<LogPart>, Error> {
        let (from, part) = (search.since.unwrap_or_default(), part.max(1));
        // Whole numbers of our own: nothing that anybody wrote.
        let of = format!("(received - {from}) / {part}");
        let begin = format!("SELECT {of} AS part, device, severity, COUNT(*) AS lines FROM log_line WHERE 1 = 1");
        let mut statement = Statement { text: begin, values: Vec::new() };
        self.conditions(search, &mut statement);
        let text = format!("{} GROUP BY {of}, device, severity LIMIT {MOST_PARTS}", statement.text);
        let rows = self.readers.all(text, statement.values).await?;
        let read = |row: &AnyRow| {
            Ok(LogPart {
                part: number(row, "part")?,
                device: text_of(row)?,
                severity: number(row, "severity")?,
                lines: number(row, "lines")?,
            })
        };
        rows.iter().map(read).collect()
    }

    fn conditions(&self, search: &Search, statement: &mut Statement) {
        let Search { device, since, until, words, severity, program, template, before, after, limit: _ } = search;
        if let Some(device) = device {
            statement.and("device = $", device.as_str().into());
        }
        if let Some(since) = since {
            statement.and("received >= $", Value::Number(Some(*since)));
        }
        if let Some(until) = until {
            statement.and("received <= $", Value::Number(Some(*until)));
        }
        if let Some(severity) = severity {
            statement.and("severity <= $", (*severity).into());
        }
        if let Some(program) = program {
            statement.and("program = $", program.as_str().into());
        }
        if let Some(template) = template {
            statement.and("template = $", template.as_str().into());
        }
        if let Some(before) = before {
            statement.and("received <= $", Value::Number(Some(before.received)));
            statement.and("(received < $", Value::Number(Some(before.received)));
            statement.text.push_str(" OR number < ");
            statement.values.push(before.number.into());
            statement.text.push_str(&format!("${})", statement.values.len()));
        }
        if let Some(after) = after {
            statement.and("number > $", (*after).into());
        }
        let words: Vec<String> =
            self::words(words).split(' ').filter(|word| !word.is_empty()).take(MOST_WORDS).map(str::to_owned).collect();
        if words.is_empty() {
            return;
        }
        match self.backend {
            Backend::Postgres => {
                // No mark of ASCII is in a word, so none ends the quotes.
                let all: Vec<String> = words.iter().map(|word| format!("'{word}':*")).collect();
                statement.and("words @@ CAST($ AS tsquery)", all.join(" & ").into());
            }
            Backend::Sqlite { .. } => {
                let all: Vec<String> = words.iter().map(|word| format!("\"{word}\"*")).collect();
                statement.and("number IN (SELECT rowid FROM log_text WHERE log_text MATCH $)", all.join(" AND ").into());
            }
        }
    }
}

/// A text's words, with a space between them. Only ASCII's letters become small: of others the databases have their own idea.
pub(crate) fn words(text: &str) -> String {
    let mut words = String::with_capacity(text.len());
    let parts = text.split(|character: char| character.is_ascii() && !character.is_ascii_alphanumeric());
    for part in parts.filter(|part| !part.is_empty()) {
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(&part[..part.floor_char_boundary(WORD)]);
    }
    words.make_ascii_lowercase();
    words
}

fn text_of(row: &AnyRow) -> Result<String, Error> {
    text(row, "device")
}

fn line(row: &AnyRow) -> Result<LogLine, Error> {
    Ok(LogLine {
        number: number(row, "number")?,
        received: number(row, "received")?,
        sent: maybe_number(row, "sent")?,
        device: text(row, "device")?,
        address: text(row, "address")?,
        host: text(row, "host")?,
        facility: number(row, "facility")?,
        severity: number(row, "severity")?,
        program: text(row, "program")?,
        process: text(row, "process")?,
        kind: text(row, "kind")?,
        template: maybe_text(row, "template")?,
        flags: number(row, "flags")?,
        fields: text(row, "fields")?,
        message: text(row, "message")?,
    })
}
