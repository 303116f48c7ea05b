//! What is wrong, with file, line, column, the source line and what to do; as text, as JSON, or as commands for a CI.

use std::fmt::Write as _;

use reconcile::finding::Severity;
use serde::Serialize;
use unicode_width::UnicodeWidthChar as _;

use crate::yaml::Place;

/// Notes that are shown to people: a repository may be full of what is left to others.
const MAX_NOTES: usize = 10;
/// Characters of a line that are shown.
const MAX_SOURCE: usize = 160;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Stable name of the rule, in kebab-case.
    pub code: String,
    /// The file, relative to what was checked.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// The object, such as `device/web-01`; empty if it is not known.
    pub object: String,
    /// The field, such as `spec.probes[0].http`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
    /// The line of the file, or of a long one the part around the column.
    pub source: String,
}

/// How findings are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text {
        /// With colours.
        colour: bool,
    },
    /// One JSON document.
    Json,
    /// Workflow commands that GitHub shows beside the lines.
    Github,
}

impl Finding {
    /// A file that was left out, and why.
    pub fn skipped(path: &str, why: &str) -> Self {
        let help = "nothing of it is used: put a plain file in its place, or take it away";
        Self { file: path.to_owned(), ..Self::new(Severity::Warning, "skipped", "", why, help) }
    }

    pub(crate) fn error(code: &str, path: &str, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, path, message, help)
    }

    /// Placed in a file, with the line there.
    pub(crate) fn at(self, file: &str, place: Place, line: &str) -> Self {
        let line = line.strip_prefix('\u{feff}').unwrap_or(line);
        let source = printable(&line.chars().skip(left_out(place.column)).collect::<String>(), MAX_SOURCE);
        Self { file: file.to_owned(), line: place.line, column: place.column, source, ..self }
    }

    pub(crate) fn new(severity: Severity, code: &str, path: &str, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            severity,
            code: code.to_owned(),
            file: String::new(),
            line: 1,
            column: 1,
            object: String::new(),
            path: path.to_owned(),
            message: printable(&message.into(), 600),
            help: printable(&help.into(), 600),
            source: String::new(),
        }
    }
}

/// Characters at the beginning of a long line that are not shown, so that the place is.
fn left_out(column: usize) -> usize {
    if column > 3 * MAX_SOURCE / 4 { column - MAX_SOURCE / 2 } else { 0 }
}

/// Shows findings.
pub fn render(findings: &[Finding], format: Format) -> String {
    // Who reads JSON can leave notes out alone.
    let max = if format == Format::Json { usize::MAX } else { MAX_NOTES };
    let (notes, others): (Vec<&Finding>, Vec<&Finding>) = findings.iter().partition(|finding| finding.severity == Severity::Note);
    let shown = others.iter().chain(notes.iter().take(max));
    let more = notes.len().saturating_sub(max);
    match format {
        Format::Text { colour } => {
            let rest = if more > 0 { format!("and {more} more notes; `--output json` has them all\n\n") } else { String::new() };
            shown.map(|finding| text(finding, colour)).chain([rest]).collect()
        }
        Format::Json => serde_json::to_string_pretty(findings).map(|text| text + "\n").unwrap_or_default(),
        Format::Github => {
            let rest = if more > 0 { format!("::notice::and {more} more notes\n") } else { String::new() };
            shown.map(|finding| github(finding)).chain([rest]).collect()
        }
    }
}

fn text(finding: &Finding, colour: bool) -> String {
    let paint = |code: &str, text: &str| if colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() };
    let tint = match finding.severity {
        Severity::Error => "1;31",
        Severity::Warning => "1;33",
        Severity::Note => "1;36",
    };
    let margin = " ".repeat(finding.line.to_string().len());
    let bar = paint("34", "|");
    let mut out = format!("{}: {}\n", paint(tint, &format!("{}[{}]", finding.severity.word(), finding.code)), paint("1", &finding.message));
    let file = printable(&finding.file, 300);
    let _ = writeln!(out, "{margin}{} {file}:{}:{}", paint("34", "-->"), finding.line, finding.column);
    if !finding.source.is_empty() {
        let before = finding.source.chars().take(finding.column.saturating_sub(1 + left_out(finding.column)));
        let caret = " ".repeat(before.map(|c| c.width().unwrap_or(0)).sum());
        let _ = writeln!(out, "{margin} {bar}\n{} {bar} {}\n{margin} {bar} {caret}{}", finding.line, finding.source, paint(tint, "^"));
    }
    let about = [finding.object.as_str(), finding.path.as_str()].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    if !about.is_empty() {
        let _ = writeln!(out, "{margin} = in {}", printable(&about, 300));
    }
    if !finding.help.is_empty() {
        let _ = writeln!(out, "{margin} = help: {}", finding.help);
    }
    out.push('\n');
    out
}

/// See "Workflow commands for GitHub Actions": data and properties are escaped each in their way, so that text from a file can't
/// become a command of its own.
fn github(finding: &Finding) -> String {
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    let command = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "notice",
    };
    let message = if finding.help.is_empty() { finding.message.clone() } else { format!("{}\n{}", finding.message, finding.help) };
    format!(
        "::{command} file={},line={},col={},title={}::{}\n",
        property(&finding.file),
        finding.line,
        finding.column,
        property(&finding.code),
        data(&message)
    )
}

/// Text that can't do anything to a terminal, and reads in the order in which it is written.
fn printable(text: &str, max: usize) -> String {
    let shown = text.chars().take(max).map(|c| match c {
        '\t' => ' ',
        // Marks that turn the direction of text: what is shown would not be what is there.
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A repository may be full of what is left to others, and GitHub shows only the first few.
    #[test]
    fn notes_are_bounded_and_errors_are_not() {
        let note = Finding::new(Severity::Note, "other", "", "left to others", "");
        let error = Finding::new(Severity::Error, "x", "", "wrong", "");
        let findings = [vec![note; 50], vec![error; 50]].concat();
        for (format, word) in [(Format::Github, "::error"), (Format::Text { colour: false }, "error[x]")] {
            let text = render(&findings, format);
            assert!(text.starts_with(word) && text.contains("and 40 more notes"), "{text}");
            assert_eq!((text.matches("wrong").count(), text.matches("left to others").count()), (50, MAX_NOTES));
        }
        assert_eq!(render(&findings, Format::Json).matches("left to others").count(), 50);
    }

    #[test]
    fn hostile_text_stays_text() {
        let finding = Finding::new(Severity::Error, "x", "", "a\n::error::b\u{1b}[2J", "").at(
            "a,b:c.yaml",
            Place { line: 1, column: 1 },
            "\u{1b}]0;x\u{7}: 1",
        );
        let github = render(std::slice::from_ref(&finding), Format::Github);
        assert_eq!(github.lines().count(), 1);
        assert!(github.starts_with("::error file=a%2Cb%3Ac.yaml,line=1,col=1,"));
        let finding = Finding { object: "device/\u{1b}[2J".into(), path: "spec.\u{202e}".into(), ..finding };
        let text = render(&[finding], Format::Text { colour: false });
        assert!(!text.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{text:?}");
    }
}
