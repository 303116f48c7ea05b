//! Where in a file each value is written, to the byte: what it takes to change one of them and leave the rest alone.

use granit_parser::{Event, Parser, ScalarStyle, StructureStyle, options};
use serde_json::Value;

use crate::yaml::{MAX_DEPTH, scalar};

/// A value as it is written.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) start: usize,
    /// Behind its last byte, without a comment or a line end.
    pub(super) end: usize,
    /// It has an anchor, so that what is written here counts elsewhere too.
    pub(super) is_anchored: bool,
    pub(super) what: What,
}

/// What is written there.
#[derive(Debug)]
pub(super) enum What {
    Scalar(ScalarStyle),
    /// Nothing at all, which is null.
    Nothing,
    List {
        is_flow: bool,
        items: Vec<Piece>,
    },
    Map {
        is_flow: bool,
        entries: Vec<Entry>,
        /// `<<` brings entries from elsewhere.
        merges: bool,
    },
    /// `*name`: it is written elsewhere.
    Alias,
}

/// An entry of a map.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) start: usize,
    /// Behind the colon.
    pub(super) colon: usize,
    pub(super) value: Piece,
}

/// A document that is not empty.
#[derive(Debug)]
pub(super) struct Document {
    /// Where its `---` is, if it has one.
    pub(super) mark: Option<usize>,
    pub(super) root: Piece,
}

impl What {
    pub(super) fn is_block(&self) -> bool {
        matches!(self, Self::List { is_flow: false, .. } | Self::Map { is_flow: false, .. })
    }
}

struct Open {
    start: usize,
    is_anchored: bool,
    is_flow: bool,
    kind: Kind,
}

enum Kind {
    List(Vec<Piece>),
    Map { entries: Vec<Entry>, key: Option<(String, usize, usize)>, merges: bool },
}

/// The documents of a file that [`crate::yaml::parse`] reads without an error, in the same order. `None`: it is written in a way of which
/// the places are not known.
pub(super) fn documents(text: &str) -> Option<Vec<Document>> {
    let options = options! {
        emit_unresolved_aliases: true,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut walk = Walk { text, documents: Vec::new(), mark: None, open: Vec::new() };
    while let Some(next) = parser.next_event() {
        let (event, span) = next.ok()?;
        walk.event(&event, span.byte_range()?)?;
    }
    Some(walk.documents)
}

struct Walk<'a> {
    text: &'a str,
    documents: Vec<Document>,
    mark: Option<usize>,
    open: Vec<Open>,
}

impl Walk<'_> {
    fn event(&mut self, event: &Event<'_>, range: std::ops::Range<usize>) -> Option<()> {
        match event {
            Event::DocumentStart(is_explicit, _) => {
                self.mark = is_explicit.then_some(range.start);
                Some(())
            }
            Event::Scalar(value, style, anchor, tag) => {
                if self.is_key(value, *style == ScalarStyle::Plain && tag.is_none(), &range)? {
                    return Some(());
                }
                let is_null = *style == ScalarStyle::Plain && tag.is_none() && scalar::resolve(value) == Value::Null;
                if self.open.is_empty() && is_null {
                    return Some(());
                }
                let what = if range.is_empty() && *style == ScalarStyle::Plain { What::Nothing } else { What::Scalar(*style) };
                let written = self.text.get(range.clone())?.trim_end();
                self.add(Piece { start: range.start, end: range.start + written.len(), is_anchored: *anchor != 0, what })
            }
            Event::SequenceStart(style, anchor, _) => self.begin(*style, *anchor, range.start, Kind::List(Vec::new())),
            Event::MappingStart(style, anchor, _) => {
                self.begin(*style, *anchor, range.start, Kind::Map { entries: Vec::new(), key: None, merges: false })
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(range.end),
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                self.add(Piece { start: range.start, end: range.end, is_anchored: false, what: What::Alias })
            }
            _ => Some(()),
        }
    }

    /// Whether a scalar is the key of the entry that comes next.
    fn is_key(&mut self, value: &str, is_plain: bool, range: &std::ops::Range<usize>) -> Option<bool> {
        let Some(Open { kind: Kind::Map { key: key @ None, merges, .. }, .. }) = self.open.last_mut() else { return Some(false) };
        let after = self.text.get(range.end..)?;
        let blank = after.len() - after.trim_start_matches([' ', '\t']).len();
        // An explicit key (`? a`) has its colon on another line: nobody writes manifests so.
        let colon = after[blank..].starts_with(':').then_some(range.end + blank + 1)?;
        *merges |= is_plain && value == "<<";
        *key = Some((value.to_owned(), range.start, colon));
        Some(true)
    }

    fn begin(&mut self, style: StructureStyle, anchor: usize, start: usize, kind: Kind) -> Option<()> {
        self.open.push(Open { start, is_anchored: anchor != 0, is_flow: style == StructureStyle::Flow, kind });
        Some(())
    }

    fn end(&mut self, end: usize) -> Option<()> {
        let Open { start, is_anchored, is_flow, kind } = self.open.pop()?;
        let (what, last) = match kind {
            Kind::List(items) => {
                let last = items.last().map(|item| item.end);
                (What::List { is_flow, items }, last)
            }
            Kind::Map { entries, merges, .. } => {
                let last = entries.last().map(|entry| entry.value.end);
                (What::Map { is_flow, entries, merges }, last)
            }
        };
        let end = if is_flow { end } else { last.unwrap_or(start) };
        self.add(Piece { start, end, is_anchored, what })
    }

    fn add(&mut self, mut piece: Piece) -> Option<()> {
        let Some(open) = self.open.last_mut() else {
            self.documents.push(Document { mark: self.mark, root: piece });
            return Some(());
        };
        match &mut open.kind {
            Kind::List(items) => items.push(piece),
            Kind::Map { entries, key, .. } => {
                let (key, start, colon) = key.take()?;
                if matches!(piece.what, What::Nothing) {
                    (piece.start, piece.end) = (colon, colon);
                }
                entries.push(Entry { key, start, colon, value: piece });
            }
        }
        Some(())
    }
}
