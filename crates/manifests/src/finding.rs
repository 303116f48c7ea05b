//! What is wrong, with file, line, column, the source line and what to do; as text, as JSON, or as commands for a CI.

use std::fmt::Write as _;

use reconcile::finding::Severity;
use serde::Serialize;

use crate::yaml::Place;

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
    /// The line of the file.
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
        Self { file: printable(path, 300), ..Self::new(Severity::Warning, "skipped", "", why, "") }
    }

    pub(crate) fn at(self, file: &str, place: Place, text: &str) -> Self {
        let source = text.lines().nth(place.line.saturating_sub(1)).unwrap_or_default();
        Self { file: file.to_owned(), line: place.line, column: place.column, source: printable(source, 200), ..self }
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

/// Shows findings.
pub fn render(findings: &[Finding], format: Format) -> String {
    match format {
        Format::Text { colour } => findings.iter().map(|finding| text(finding, colour)).collect(),
        Format::Json => serde_json::to_string_pretty(findings).map(|text| text + "\n").unwrap_or_default(),
        Format::Github => findings.iter().map(github).collect(),
    }
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
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
    let mut out = format!("{}: {}\n", paint(tint, &format!("{}[{}]", word(finding.severity), finding.code)), paint("1", &finding.message));
    let _ = writeln!(out, "{margin}{} {}:{}:{}", paint("34", "-->"), finding.file, finding.line, finding.column);
    if !finding.source.is_empty() {
        let caret = " ".repeat(finding.column.saturating_sub(1).min(200));
        let _ = writeln!(out, "{margin} {bar}\n{} {bar} {}\n{margin} {bar} {caret}{}", finding.line, finding.source, paint(tint, "^"));
    }
    let about = [finding.object.as_str(), finding.path.as_str()].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    if !about.is_empty() {
        let _ = writeln!(out, "{margin} = in {about}");
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

/// Text that can't do anything to a terminal.
fn printable(text: &str, max: usize) -> String {
    let shown = text.chars().take(max).map(|c| {
        if c == '\t' {
            ' '
        } else if c.is_control() {
            '\u{fffd}'
        } else {
            c
        }
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(!render(&[finding], Format::Text { colour: false }).contains(['\u{1b}', '\u{7}']));
    }
}
