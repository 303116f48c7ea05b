//! Lines on their way into PostgreSQL: a column is one text, so that a statement of a thousand lines has sixteen parameters and not
//! sixteen thousand. To read and plan those cost more than to write the lines.
//!
//! Texts are escaped by the control character 1A with a digit after it, which leaves other digits free to stand between them.

use std::fmt::Write as _;

use sqlx::AnyConnection;

use super::{LogLine, search};
use crate::Error;
use crate::rows::{Value, escape, query};

/// Lines of one statement at most.
const ROWS: usize = 1000;
/// Stands between values.
const BETWEEN: &str = "\u{1a}2";
/// Stands for a value that is not there, or an empty text where a text has to be.
const NOTHING: &str = "\u{1a}3";
/// The words are made what their index takes.
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

/// The columns in the order of the statement's parameters.
fn columns(first: u64, lines: &[LogLine]) -> [String; 16] {
    let mut columns: [String; 16] = Default::default();
    for (number, line) in (first..).zip(lines) {
        let LogLine { number: _, received, sent, device, address, host, facility, severity, .. } = line;
        let LogLine { program, process, kind, template, flags, fields, message, .. } = line;
        let words = search::words(message);
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        let is_first = columns[0].is_empty();
        for (column, value) in columns.iter_mut().zip([
            Cell::Number(Some(number)),
            Cell::Number(Some(*received)),
            Cell::Number(*sent),
            Cell::Text(device),
            Cell::Text(address),
            Cell::Text(host),
            Cell::Number(Some((*facility).into())),
            Cell::Number(Some((*severity).into())),
            Cell::Text(program),
            Cell::Text(process),
            Cell::Text(kind),
            Cell::Text(template.as_deref().unwrap_or_default()),
            Cell::Number(Some((*flags).into())),
            Cell::Text(fields),
            Cell::Text(message),
            Cell::Text(&words),
        ]) {
            if !is_first {
                column.push_str(BETWEEN);
            }
            match value {
                Cell::Text("") | Cell::Number(None) => column.push_str(NOTHING),
                Cell::Text(text) => column.push_str(&escape(text)),
                // Writing into a text never fails.
                Cell::Number(Some(number)) => drop(write!(column, "{number}")),
            }
        }
    }
    columns
}

/// One value of a line.
enum Cell<'l> {
    Text(&'l str),
    Number(Option<i64>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_line_says_can_be_taken_for_what_stands_between() {
        let line = LogLine { message: "a\u{1a}2b\u{1a}3\0".into(), device: "d".into(), ..LogLine::default() };
        let columns = columns(7, &[line.clone(), LogLine { sent: Some(-1), ..line }]);
        assert_eq!(columns[0], "7\u{1a}28");
        assert_eq!(columns[2], "\u{1a}3\u{1a}2-1");
        assert_eq!(columns[11], "\u{1a}3\u{1a}2\u{1a}3");
        assert_eq!(columns[14], ["a\u{1a}12b\u{1a}13\u{1a}0"; 2].join(BETWEEN));
        assert_eq!(columns[15], ["a 2b 3"; 2].join(BETWEEN));
    }
}
