//! The parser's errors in words for people who don't know its grammar.

use granit_parser::{ErrorKind, ScanError};

use super::{Error, MAX_DEPTH, Place, place};

/// What is wrong, where, and what to do. `open`: where the innermost collection began.
pub(super) fn explain(error: &ScanError, text: &str, open: Option<Place>) -> Error {
    let at = place(error.marker());
    let kind = error.kind();
    if matches!(kind, ErrorKind::RecursionLimitExceeded) {
        return too_deep(at);
    }
    let (message, help) = match kind {
        ErrorKind::TabNotAllowed | ErrorKind::TabInBlockIndentation | ErrorKind::TabInIndentation | ErrorKind::TabAtBlockScalarStart => {
            ("a tab can't indent".to_owned(), "indent with spaces")
        }
        ErrorKind::UnclosedQuotedScalar | ErrorKind::DocumentIndicatorInQuotedScalar => {
            ("a quoted text does not end".into(), "add the quote that is missing")
        }
        ErrorKind::UnclosedFlowCollection { .. }
        | ErrorKind::UnexpectedEofFlowSequence
        | ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::UnexpectedEofImplicitFlowMapping => ("a bracket is not closed".into(), "add the `]` or `}` that is missing"),
        ErrorKind::ExpectedFlowMappingSeparator | ErrorKind::ExpectedFlowSequenceSeparator => {
            ("a comma or a closing bracket is missing".into(), "between brackets, quote text with `: `, `,` or brackets in it")
        }
        ErrorKind::MisplacedFlowCollectionEnd | ErrorKind::MismatchedFlowCollectionEnd { .. } => {
            ("this bracket closes nothing".into(), "let each `[` end with `]` and each `{` with `}`; quote a bracket that is text")
        }
        ErrorKind::InvalidTrailingSingleQuotedScalar | ErrorKind::InvalidTrailingDoubleQuotedScalar => {
            ("there is something after the end of a quoted text".into(), "write a quote within as `''` or `\\\"`")
        }
        ErrorKind::UnknownQuotedScalarEscape | ErrorKind::InvalidQuotedScalarHexEscape => {
            ("a backslash is followed by something that it can't be followed by".into(), "write `\\\\`, or use single quotes")
        }
        ErrorKind::MappingValueNotAllowed | ErrorKind::InvalidColonPlacement => {
            ("a `:` is not expected here".into(), "quote text that has `: ` in it; begin the entries of one map in the same column")
        }
        ErrorKind::InvalidIndentation
        | ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::ExpectedBlockSequenceEntry
        | ErrorKind::BlockSequenceEntryNotAllowed
        | ErrorKind::MappingKeyNotAllowed
        | ErrorKind::InvalidBlockScalarIndent
        | ErrorKind::InvalidQuotedScalarIndent
        | ErrorKind::InvalidFlowScalarIndent => {
            ("this does not line up with what is above it".into(), "begin the entries of one map or list in the same column")
        }
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => {
            ("a `:` is missing after a key".into(), "write `key: value`; begin text of several lines with `|`")
        }
        ErrorKind::UnexpectedCharacter { character } => (format!("text can't begin with `{}`", character.escape_default()), "quote it"),
        other => (other.to_string(), "look for a missing quote, bracket or colon, and whether the columns line up"),
    };
    let begins_before = matches!(
        kind,
        ErrorKind::UnclosedFlowCollection { .. }
            | ErrorKind::UnexpectedEofFlowSequence
            | ErrorKind::UnexpectedEofFlowMapping
            | ErrorKind::UnexpectedEofImplicitFlowMapping
    );
    // What is not closed is best seen where it was opened.
    let at = open.filter(|_| begins_before).unwrap_or(at);
    Error { place: within(at, text), message, help: help.to_owned() }
}

pub(super) fn too_deep(place: Place) -> Error {
    Error { place, message: format!("values are nested more than {MAX_DEPTH} deep"), help: "no kind needs that".into() }
}

/// The end of a file is after its last line: show that one.
fn within(place: Place, text: &str) -> Place {
    let lines = text.lines().count().max(1);
    if place.line <= lines { place } else { Place { line: lines, column: text.lines().last().map_or(1, |line| line.chars().count() + 1) } }
}
