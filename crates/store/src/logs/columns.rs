//! Lines on their way into PostgreSQL: a column is one text, so that a statement of a thousand lines has sixteen parameters and not
//! sixteen thousand. To read and plan those cost more than to write the lines.
//!
//! Texts are escaped by the control character 1A with a digit after it, which leaves other digits free to stand between them.

use sqlx::AnyConnection;

use super::{LogLine, row_of, search};
use crate::Error;
use crate::rows::{Value, query};

/// Lines of one statement at most.
const ROWS: usize = 1000;
/// Stands between values.
const BETWEEN: &str = "\u{1a}2";
/// Stands for a value that is not there, or an empty text where a text has to be.
const NOTHING: &str = "\u{1a}3";
/// As many columns as [`row_of`] gives, and the words, which are made what their index takes.
const STATEMENT: &str = r"INSERT INTO log_line
    (number, received, sent, device, address, host, facility, severity, program, process, kind, template, flags, fields, message, words)
SELECT number, received, sent, COALESCE(device, ''), COALESCE(address, ''), COALESCE(host, ''), facility, severity, COALESCE(program, ''),
    COALESCE(process, ''), COALESCE(kind, ''), template, flags, COALESCE(fields, ''), COALESCE(message, ''),
    array_to_tsvector(string_to_array(COALESCE(words, ''), ' '))
FROM unnest(
    string_to_array($1, E'\x1a2', E'\x1a3')::bigint[], string_to_array($2, E'\x1a2', E'\x1a3')::bigint[],
    string_to_array($3, E'\x1a2', E'\x1a3')::bigint[], string_to_array($4, E'\x1a2', E'\x1a3'),
    string_to_array($5, E'\x1a2', E'\x1a3'), string_to_array($6, E'\x1a2', E'\x1a3'),
    string_to_array($7, E'\x1a2', E'\x1a3')::bigint[], string_to_array($8, E'\x1a2', E'\x1a3')::bigint[],
    string_to_array($9, E'\x1a2', E'\x1a3'), string_to_array($10, E'\x1a2', E'\x1a3'),
    string_to_array($11, E'\x1a2', E'\x1a3'), string_to_array($12, E'\x1a2', E'\x1a3'),
    string_to_array($13, E'\x1a2', E'\x1a3')::bigint[], string_to_array($14, E'\x1a2', E'\x1a3'),
    string_to_array($15, E'\x1a2', E'\x1a3'), string_to_array($16, E'\x1a2', E'\x1a3')
) AS line (number, received, sent, device, address, host, facility, severity, program, process, kind, template, flags, fields, message, words)";

/// Writes lines, the first of them with this number.
pub(super) async fn write(tx: &mut AnyConnection, first: u64, lines: &[LogLine]) -> Result<(), Error> {
    for (first, lines) in (first..).step_by(ROWS).zip(lines.chunks(ROWS)) {
        query(STATEMENT, columns(first, lines).map(|column| Value::Text(Some(column)))).execute(&mut *tx).await?;
    }
    Ok(())
}

fn columns(first: u64, lines: &[LogLine]) -> [String; 16] {
    let mut columns: [String; 16] = Default::default();
    for (place, (number, line)) in (first..).zip(lines).enumerate() {
        let words = [search::words(&line.message).into()];
        for (column, value) in columns.iter_mut().zip(row_of(number, line).into_iter().chain(words)) {
            if place > 0 {
                column.push_str(BETWEEN);
            }
            match value {
                Value::Text(Some(text)) if !text.is_empty() => column.push_str(&text),
                Value::Number(Some(number)) => column.push_str(&number.to_string()),
                Value::Real(number) => column.push_str(&number.to_string()),
                Value::Text(_) | Value::Number(None) => column.push_str(NOTHING),
            }
        }
    }
    columns
}
