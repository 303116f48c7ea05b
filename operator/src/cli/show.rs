//! Text for terminals: tables, colours where they are wanted, and nothing that a device said gets through as a control code.

pub(crate) use api::client::in_url;
use serde::Serialize;

use super::Output;

/// Text that can't do anything to a terminal, nor turn around what stands beside it (the bidirectional controls of Unicode Annex 9); lines
/// stay lines.
pub(crate) fn clean(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if (c.is_control() && c != '\n') || turns(c) { '\u{fffd}' } else { c }).collect()
}

/// A number of things.
pub(crate) fn count(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// Prints a table as kubectl does: columns two blanks apart, no lines.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) {
    let width =
        |column: usize| rows.iter().map(|row| console::measure_text_width(&row[column])).chain([head[column].len()]).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: Vec<String>| {
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| console::pad_str(cell, *width, console::Alignment::Left, None).into_owned())
            .collect();
        println!("{}", padded.join("  ").trim_end());
    };
    line(head.iter().map(|cell| (*cell).to_owned()).collect());
    for row in rows {
        line(row.iter().map(|cell| paint(&clean(cell).replace('\n', " "))).collect());
    }
}

/// Words that mean well or not well get a colour, where colours are wanted.
fn paint(cell: &str) -> String {
    let style = match cell {
        "Healthy" | "UpToDate" | "Complete" | "ok" => console::Style::new().green(),
        "Degraded" | "Failed" | "Blocked" | "RolledBack" | "fail" => console::Style::new().red(),
        "Unreachable" | "OutOfDate" | "RollingBack" | "AwaitingApproval" | "Paused" => console::Style::new().yellow(),
        "Updating" | "Progressing" | "Soaking" => console::Style::new().cyan(),
        _ => return cell.to_owned(),
    };
    style.apply_to(cell).to_string()
}

/// Prints a value as JSON or YAML.
pub(crate) fn document<T: Serialize>(value: &T, output: Output) -> anyhow::Result<()> {
    match output {
        Output::Yaml => print!("{}", serde_yaml::to_string(value)?),
        _ => println!("{}", serde_json::to_string_pretty(value)?),
    }
    Ok(())
}

/// An instant to the second, as RFC 3339 writes it in UTC; what is none stays as it is.
pub(crate) fn second(at: &str) -> String {
    at.parse::<jiff::Timestamp>().map_or_else(|_| at.to_owned(), |at| format!("{at:.0}"))
}

/// Time since an instant, as kubectl shows it.
pub(crate) fn age(since: &str) -> String {
    let Ok(at) = since.parse::<jiff::Timestamp>() else { return "-".into() };
    let seconds = jiff::Timestamp::now().duration_since(at).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_shown_to_the_second_in_utc() {
        assert_eq!(second("2026-11-27T12:00:00.123456789Z"), "2026-11-27T12:00:00Z");
        assert_eq!(second("2026-11-27T13:00:00+01:00"), "2026-11-27T12:00:00Z");
        assert_eq!((second(""), second("never")), (String::new(), "never".into()));
    }
}
