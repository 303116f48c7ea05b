//! Values as the database has them, and rows that are written many at once.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Any, AnyConnection, AssertSqlSafe, Row as _, Sqlite};

use crate::Error;

/// Rows of one INSERT statement at most: its parameters stay below the limits of both databases (65535 and 32766).
const ROWS: usize = 512;
/// PostgreSQL's text holds everything but NUL; this control character escapes it, and itself.
const ESCAPE: char = '\u{1a}';

/// A value to be written.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(Option<String>),
    Number(Option<i64>),
    Real(f64),
}

impl Value {
    pub(crate) fn bind(self, query: Query<'_, Any, AnyArguments>) -> Query<'_, Any, AnyArguments> {
        match self {
            Self::Text(text) => query.bind(text),
            Self::Number(number) => query.bind(number),
            Self::Real(number) => query.bind(number),
        }
    }

    /// The same for a connection that is SQLite's own.
    pub(crate) fn bind_sqlite(self, query: Query<'_, Sqlite, SqliteArguments>) -> Query<'_, Sqlite, SqliteArguments> {
        match self {
            Self::Text(text) => query.bind(text),
            Self::Number(number) => query.bind(number),
            Self::Real(number) => query.bind(number),
        }
    }

    /// Any number.
    pub(crate) fn from_i64(number: i64) -> Self {
        Self::Number(Some(number))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(escape(text).into_owned()))
    }
}

impl From<Option<&str>> for Value {
    fn from(text: Option<&str>) -> Self {
        Self::Text(text.map(|text| escape(text).into_owned()))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Some(match escape(&text) {
            Cow::Owned(escaped) => escaped,
            Cow::Borrowed(_) => text,
        }))
    }
}

impl From<Timestamp> for Value {
    fn from(at: Timestamp) -> Self {
        Self::Text(Some(instant(at)))
    }
}

impl From<Option<Timestamp>> for Value {
    fn from(at: Option<Timestamp>) -> Self {
        Self::Text(at.map(instant))
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(Some(i64::try_from(number).unwrap_or(i64::MAX)))
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(Some(number.into()))
    }
}

impl From<Option<u32>> for Value {
    fn from(number: Option<u32>) -> Self {
        Self::Number(number.map(i64::from))
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::from(number as u64)
    }
}

impl From<bool> for Value {
    fn from(yes: bool) -> Self {
        Self::Number(Some(yes.into()))
    }
}

impl From<Option<bool>> for Value {
    fn from(yes: Option<bool>) -> Self {
        Self::Number(yes.map(i64::from))
    }
}

/// A statement with its values.
pub(crate) fn query<const N: usize>(statement: &'static str, values: [Value; N]) -> Query<'static, Any, AnyArguments> {
    values.into_iter().fold(sqlx::query(statement), |query, value| value.bind(query))
}

/// Writes rows: `into` is `table (columns)`, `conflict` what follows the values.
pub(crate) async fn insert<const N: usize>(
    tx: &mut AnyConnection,
    into: &str,
    rows: impl IntoIterator<Item = [Value; N]>,
    conflict: &str,
) -> Result<(), Error> {
    let rows: Vec<[Value; N]> = rows.into_iter().collect();
    // SQLite takes a time for each numbered parameter that grows with their number; the others it counts by itself.
    let numbered = tx.backend_name() != "SQLite";
    let mut left = rows.len();
    let mut rows = rows.into_iter();
    while left > 0 {
        let many = chunk(left);
        let statement = format!("INSERT INTO {into} VALUES {} {conflict}", tuples(many, N, numbered));
        let query = rows.by_ref().take(many).flatten().fold(sqlx::query(AssertSqlSafe(statement)), |query, value| value.bind(query));
        query.execute(&mut *tx).await?;
        left -= many;
    }
    Ok(())
}

/// Reads or deletes rows by many keys: `statement` ends where the list of the keys belongs, and `scope` is its first parameter.
pub(crate) async fn by_keys(tx: &mut AnyConnection, statement: &str, scope: Option<&str>, keys: &[&str]) -> Result<Vec<AnyRow>, Error> {
    let mut found = Vec::new();
    let mut left = keys;
    while !left.is_empty() {
        let (these, rest) = left.split_at(chunk(left.len()));
        let first = 1 + usize::from(scope.is_some());
        let query = sqlx::query(AssertSqlSafe(format!("{statement} {}", tuple(first, these.len()))));
        let query = scope.into_iter().chain(these.iter().copied()).fold(query, |query, key| Value::from(key).bind(query));
        found.extend(query.fetch_all(&mut *tx).await?);
        left = rest;
    }
    Ok(found)
}

/// Powers of two only, so that few statements have to be prepared.
fn chunk(left: usize) -> usize {
    if left >= ROWS { ROWS } else { 1 << left.ilog2() }
}

fn tuples(rows: usize, columns: usize, numbered: bool) -> String {
    let tuple = |row: usize| if numbered { tuple(row * columns + 1, columns) } else { format!("({})", vec!["?"; columns].join(", ")) };
    (0..rows).map(tuple).collect::<Vec<_>>().join(", ")
}

fn tuple(first: usize, columns: usize) -> String {
    let places: Vec<String> = (first..first + columns).map(|place| format!("${place}")).collect();
    format!("({})", places.join(", "))
}

/// A text.
pub(crate) fn text(row: &AnyRow, column: &str) -> Result<String, Error> {
    let text: String = row.try_get(column)?;
    unescape(text, column)
}

/// A text that may be missing.
pub(crate) fn maybe_text(row: &AnyRow, column: &str) -> Result<Option<String>, Error> {
    let text: Option<String> = row.try_get(column)?;
    text.map(|text| unescape(text, column)).transpose()
}

/// A number.
pub(crate) fn number<T: TryFrom<i64>>(row: &AnyRow, column: &str) -> Result<T, Error> {
    row.try_get::<i64, _>(column)?.try_into().map_err(|_| damaged(column))
}

/// A number that may be missing.
pub(crate) fn maybe_number<T: TryFrom<i64>>(row: &AnyRow, column: &str) -> Result<Option<T>, Error> {
    let number: Option<i64> = row.try_get(column)?;
    number.map(|number| number.try_into().map_err(|_| damaged(column))).transpose()
}

/// Yes or no.
pub(crate) fn flag(row: &AnyRow, column: &str) -> Result<bool, Error> {
    Ok(row.try_get::<i64, _>(column)? != 0)
}

/// An instant.
pub(crate) fn time(row: &AnyRow, column: &str) -> Result<Timestamp, Error> {
    maybe_time(row, column)?.ok_or_else(|| damaged(column))
}

/// An instant that may be missing.
pub(crate) fn maybe_time(row: &AnyRow, column: &str) -> Result<Option<Timestamp>, Error> {
    let at: Option<String> = row.try_get(column)?;
    at.map(|at| at.parse().map_err(|_| damaged(column))).transpose()
}

/// A unit variant by its serialized name.
pub(crate) fn word<T: DeserializeOwned>(row: &AnyRow, column: &str) -> Result<T, Error> {
    T::deserialize(serde_json::Value::String(row.try_get(column)?)).map_err(|_| damaged(column))
}

/// The serialized name of a unit variant.
pub(crate) fn to_word<T: Serialize>(value: T) -> String {
    let word = serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned));
    word.expect("only unit variants are written as words")
}

/// A document.
pub(crate) fn json<T: DeserializeOwned>(row: &AnyRow, column: &str) -> Result<T, Error> {
    parse(row.try_get(column)?, column)
}

pub(crate) fn parse<T: DeserializeOwned>(document: &str, column: &str) -> Result<T, Error> {
    serde_json::from_str(document).map_err(|error| Error::Damaged(format!("{column}: {error}")))
}

/// A document's text.
pub(crate) fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("our own types always serialize")
}

fn damaged(column: &str) -> Error {
    Error::Damaged(column.to_owned())
}

/// Nine digits for all of them: text whose order is the order in time.
fn instant(at: Timestamp) -> String {
    format!("{at:.9}")
}

/// A text as PostgreSQL can hold it.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', ESCAPE]) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\0' => escaped.extend([ESCAPE, '0']),
            ESCAPE => escaped.extend([ESCAPE, '1']),
            other => escaped.push(other),
        }
    }
    Cow::Owned(escaped)
}

fn unescape(text: String, column: &str) -> Result<String, Error> {
    if !text.contains(ESCAPE) {
        return Ok(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        plain.push(match character {
            ESCAPE => match characters.next() {
                Some('0') => '\0',
                Some('1') => ESCAPE,
                _ => return Err(damaged(column)),
            },
            other => other,
        });
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_comes_back() {
        for text in ["", "plain", "a\0b", "\u{1a}", "\u{1a}0\0\u{1a}1", "ü\0"] {
            let written = escape(text).into_owned();
            assert!(!written.contains('\0'));
            assert_eq!(unescape(written, "x").unwrap(), text);
        }
        assert!(matches!(unescape("\u{1a}x".into(), "reason"), Err(Error::Damaged(column)) if column == "reason"));
    }

    #[test]
    fn chunks_are_few_and_bounded() {
        let mut left = 1500;
        let mut chunks = Vec::new();
        while left > 0 {
            chunks.push(chunk(left));
            left -= chunk(left);
        }
        assert_eq!(chunks, [512, 512, 256, 128, 64, 16, 8, 4]);
        assert_eq!(tuples(2, 3, true), "($1, $2, $3), ($4, $5, $6)");
        assert_eq!(tuples(2, 3, false), "(?, ?, ?), (?, ?, ?)");
    }

    #[test]
    fn instants_sort_as_text() {
        let text = |at: &str| instant(at.parse().unwrap());
        assert_eq!(text("2026-01-02T03:04:05Z"), "2026-01-02T03:04:05.000000000Z");
        assert!(text("2026-01-02T03:04:05.9Z") < text("2026-01-02T03:04:05.900000001Z"));
        assert!(text("2026-01-02T03:04:05.9Z") < text("2026-01-02T03:04:06Z"));
    }
}
