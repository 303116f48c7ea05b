//! Changes of a text that make a document say something else: only what has to be otherwise is touched.

use std::ops::Range;

use granit_parser::ScalarStyle;
use serde_json::Value;

use super::marks::{Entry, Piece, What};
use super::render::{self, Rendered};
use crate::yaml::{Node, Tree};

/// Items of two lists that are compared with each other; of longer ones the whole list is written anew.
const MAX_PAIRS: usize = 250_000;

/// Why it can't be done in place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// It has an anchor, or is an alias, so that it would change elsewhere too: this field.
    Shared(String),
    /// It is written in a way that is not understood here.
    Unknown,
}

/// Changes of a text, collected.
pub(super) struct Edits<'a> {
    text: &'a str,
    newline: &'static str,
    changes: Vec<(Range<usize>, String)>,
    is_lossy: bool,
}

/// Where a value stands, which says how another one is put in its place.
#[derive(Clone, Copy)]
enum At {
    /// Behind a key that is so far to the right; behind its colon.
    Entry { indent: usize, colon: usize },
    /// Behind a dash, or as a whole document.
    Item,
    /// In brackets.
    Flow,
}

impl<'a> Edits<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
        Self { text, newline, changes: Vec::new(), is_lossy: false }
    }

    /// Whether comments go with what is replaced.
    pub(super) fn is_lossy(&self) -> bool {
        self.is_lossy
    }

    /// The line end of this text.
    pub(super) fn newline(&self) -> &'static str {
        self.newline
    }

    /// Makes a document say what is wanted.
    pub(super) fn document(&mut self, node: &Node, piece: &Piece, wanted: &Value) -> Result<(), Stop> {
        self.value("", node, piece, wanted, At::Item)
    }

    /// Puts other text in the place of some.
    pub(super) fn change(&mut self, range: Range<usize>, text: String) {
        self.changes.push((range, text));
    }

    /// The text with all changes made.
    pub(super) fn done(mut self) -> Result<String, Stop> {
        self.changes.sort_by_key(|(range, _)| (range.start, range.end));
        let (mut done, mut at) = (String::with_capacity(self.text.len() + 256), 0);
        for (range, text) in &self.changes {
            if range.start < at {
                return Err(Stop::Unknown);
            }
            done.push_str(self.text.get(at..range.start).ok_or(Stop::Unknown)?);
            done.push_str(text);
            at = range.end;
        }
        done.push_str(self.text.get(at..).ok_or(Stop::Unknown)?);
        Ok(done)
    }

    fn value(&mut self, path: &str, node: &Node, piece: &Piece, wanted: &Value, at: At) -> Result<(), Stop> {
        if node.to_value() == *wanted {
            return Ok(());
        }
        if piece.is_anchored || matches!(piece.what, What::Alias) {
            return Err(Stop::Shared(path.to_owned()));
        }
        match (&node.value, &piece.what, wanted) {
            (Tree::Map(_), What::Map { .. }, Value::Object(_)) => self.map(path, node, piece, wanted, at),
            (Tree::List(_), What::List { .. }, Value::Array(_)) => self.list(path, node, piece, wanted, at),
            _ => self.replace(path, piece, wanted, at),
        }
    }

    fn map(&mut self, path: &str, node: &Node, piece: &Piece, wanted: &Value, at: At) -> Result<(), Stop> {
        let (What::Map { is_flow, entries, merges }, Value::Object(fields)) = (&piece.what, wanted) else { return Err(Stop::Unknown) };
        let Tree::Map(known) = &node.value else { return Err(Stop::Unknown) };
        let merged = known.iter().filter(|(key, ..)| entries.iter().all(|entry| entry.key != *key));
        for (key, _, node) in merged {
            if fields.get(key) != Some(&node.to_value()) {
                return Err(Stop::Shared(join(path, key)));
            }
        }
        let is_merge = |entry: &Entry| *merges && entry.key == "<<";
        let is_kept = |entry: &Entry| is_merge(entry) || fields.contains_key(&entry.key);
        let added: Vec<(&String, &Value)> = fields.iter().filter(|(key, _)| known.iter().all(|(there, ..)| there != *key)).collect();
        let Some(last) = entries.iter().rfind(|entry| is_kept(entry)) else { return self.replace(path, piece, wanted, at) };
        if *is_flow && (!added.is_empty() || !entries.iter().all(is_kept)) {
            return self.replace(path, piece, wanted, at);
        }
        let indent = self.column(entries.first().map_or(piece.start, |first| first.start));
        if !is_flow && !self.remove_entries(path, entries, is_kept)? {
            return self.replace(path, piece, wanted, at);
        }
        for entry in entries.iter().filter(|entry| !is_merge(entry)) {
            let (Some(wanted), Some(node)) = (fields.get(&entry.key), node.get(&entry.key)) else { continue };
            let at = if *is_flow { At::Flow } else { At::Entry { indent, colon: entry.colon } };
            self.value(&join(path, &entry.key), node, &entry.value, wanted, at)?;
        }
        let lines: Vec<String> = added.iter().flat_map(|(key, value)| render::entry(key, value)).collect();
        if !lines.is_empty() {
            let behind = self.line_end(last.value.end);
            let text = self.below(&lines, indent);
            self.change(behind..behind, text);
        }
        Ok(())
    }

    /// Takes entries away, with their lines. `false`: they stand where that can't be done.
    fn remove_entries(&mut self, path: &str, entries: &[Entry], is_kept: impl Fn(&Entry) -> bool) -> Result<bool, Stop> {
        for entry in entries.iter().filter(|entry| !is_kept(entry)) {
            if has_anchor(&entry.value) {
                return Err(Stop::Shared(join(path, &entry.key)));
            }
        }
        let Some(first) = entries.first() else { return Ok(true) };
        let mut rest = entries;
        if !is_kept(first) && !self.is_first_on_line(first.start) {
            // Behind a dash: what is kept moves up to it.
            let Some(at) = entries.iter().position(&is_kept) else { return Ok(false) };
            let gap = self.text.get(first.start..entries[at].start).ok_or(Stop::Unknown)?;
            if gap.contains('#') {
                return Ok(false);
            }
            self.change(first.start..entries[at].start, String::new());
            rest = &entries[at..];
        }
        for entry in rest.iter().filter(|entry| !is_kept(entry)) {
            self.remove_lines(entry.start, entry.value.end);
        }
        Ok(true)
    }

    fn list(&mut self, path: &str, node: &Node, piece: &Piece, wanted: &Value, at: At) -> Result<(), Stop> {
        let (What::List { is_flow, items }, Tree::List(nodes), Value::Array(wants)) = (&piece.what, &node.value, wanted) else {
            return Err(Stop::Unknown);
        };
        let Some(pairs) = pairs(nodes, wants) else { return self.replace(path, piece, wanted, at) };
        let is_same_length = pairs.len() == wants.len() && pairs.len() == items.len();
        if items.iter().any(|item| matches!(item.what, What::Nothing)) || pairs.is_empty() || (*is_flow && !is_same_length) {
            return self.replace(path, piece, wanted, at);
        }
        let dashes: Option<Vec<usize>> = if *is_flow { Some(Vec::new()) } else { items.iter().map(|item| self.dash(item)).collect() };
        let Some(dashes) = dashes else { return self.replace(path, piece, wanted, at) };
        for (old, new) in &pairs {
            let at = if *is_flow { At::Flow } else { At::Item };
            self.value(&format!("{path}[{old}]"), &nodes[*old], &items[*old], &wants[*new], at)?;
        }
        if is_same_length {
            return Ok(());
        }
        for (number, item) in items.iter().enumerate().filter(|(number, _)| pairs.iter().all(|(old, _)| old != number)) {
            if has_anchor(item) {
                return Err(Stop::Shared(format!("{path}[{number}]")));
            }
            self.remove_lines(dashes[number], item.end);
        }
        for (number, value) in wants.iter().enumerate().filter(|(number, _)| pairs.iter().all(|(_, new)| new != number)) {
            let lines = render::item(value);
            match pairs.iter().rfind(|(_, new)| *new < number) {
                Some((before, _)) => {
                    let behind = self.line_end(items[*before].end);
                    let text = self.below(&lines, self.column(dashes[*before]));
                    self.change(behind..behind, text);
                }
                None => {
                    let dash = dashes[pairs[0].0];
                    let (indent, start) = (" ".repeat(self.column(dash)), self.line_start(dash));
                    let text = lines.iter().map(|line| format!("{indent}{line}{}", self.newline)).collect();
                    self.change(start..start, text);
                }
            }
        }
        Ok(())
    }

    /// Puts another value in the place of one.
    fn replace(&mut self, path: &str, piece: &Piece, wanted: &Value, at: At) -> Result<(), Stop> {
        if has_anchor(piece) {
            return Err(Stop::Shared(path.to_owned()));
        }
        let in_line = |wanted: &Value| match (&piece.what, wanted) {
            // As it was quoted before.
            (What::Scalar(ScalarStyle::DoubleQuoted), Value::String(text)) => render::quoted(text),
            (What::Scalar(ScalarStyle::SingleQuoted), Value::String(text)) if !text.chars().any(|c| c.is_control()) => {
                format!("'{}'", text.replace('\'', "''"))
            }
            // As it was ordered before.
            (What::Map { is_flow: true, entries, .. }, Value::Object(fields)) => {
                render::flow(entries.iter().map(|entry| entry.key.as_str()), fields)
            }
            _ => render::inline(wanted),
        };
        let is_flow = matches!(piece.what, What::Map { is_flow: true, .. } | What::List { is_flow: true, .. })
            && (wanted.is_object() || wanted.is_array());
        let is_quoted = matches!(piece.what, What::Scalar(ScalarStyle::DoubleQuoted | ScalarStyle::SingleQuoted));
        let (start, end) = (piece.start, piece.end);
        // A sign that is quoted in there is taken for a comment too: then it is said once too often.
        if matches!(piece.what, What::Map { .. } | What::List { .. }) {
            let old = self.text.get(start..end).unwrap_or_default();
            self.is_lossy |= old.split_inclusive(char::is_whitespace).skip(1).any(|word| word.starts_with('#'));
        }
        let rendered = match at {
            _ if is_flow => Rendered { head: in_line(wanted), lines: Vec::new() },
            At::Flow => Rendered { head: in_line(wanted), lines: Vec::new() },
            _ => match render::block(wanted) {
                Rendered { lines, .. } if lines.is_empty() || (is_quoted && wanted.is_string()) => {
                    Rendered { head: in_line(wanted), lines: Vec::new() }
                }
                rendered => rendered,
            },
        };
        match at {
            At::Flow => self.change(start..end, rendered.head),
            At::Item if matches!(piece.what, What::Nothing) => return Err(Stop::Unknown),
            At::Item => {
                let indent = self.column(start);
                let Rendered { head, lines } = rendered;
                let text = match head.is_empty() {
                    true => lines.join(&format!("{}{}", self.newline, " ".repeat(indent))),
                    // A literal is indented by more than its dash is.
                    false => head + &self.below(&lines, indent),
                };
                self.change(start..end, text);
            }
            At::Entry { indent, colon } => {
                let Rendered { head, lines } = rendered;
                let head = if head.is_empty() { head } else { format!(" {head}") };
                let below = self.below(&lines, indent + 2);
                if piece.what.is_block() {
                    // Its lines go; a comment behind the key, or between, stays.
                    let from = self.line_start(start).saturating_sub(self.newline.len());
                    self.change(colon..colon, head);
                    self.change(from..self.line_end(end), below);
                } else if matches!(piece.what, What::Scalar(ScalarStyle::Literal | ScalarStyle::Folded)) {
                    self.change(colon..end, head + &below);
                } else {
                    self.change(colon..end, head);
                    let behind = self.line_end(end);
                    self.change(behind..behind, below);
                }
            }
        }
        Ok(())
    }

    /// Lines below another one.
    fn below(&self, lines: &[String], indent: usize) -> String {
        let indent = " ".repeat(indent);
        let line = |line: &String| if line.is_empty() { self.newline.to_owned() } else { format!("{}{indent}{line}", self.newline) };
        lines.iter().map(line).collect()
    }

    /// Takes whole lines away, from the one that has this byte to the one that has the other.
    fn remove_lines(&mut self, from: usize, to: usize) {
        let (start, end) = (self.line_start(from), self.line_end(to));
        let range = match start {
            // Nothing is before it: the line end behind it goes.
            0 => 0..self.text.len().min(end + self.newline.len()),
            // The text begins with a byte order mark.
            _ if !self.text[..start].contains('\n') => start..self.text.len().min(end + self.newline.len()),
            _ => start - self.line_break_before(start)..end,
        };
        self.change(range, String::new());
    }

    fn line_break_before(&self, start: usize) -> usize {
        if self.text[..start].ends_with("\r\n") { 2 } else { 1 }
    }

    /// The dash of an item, if nothing else is before it on its line.
    fn dash(&self, item: &Piece) -> Option<usize> {
        let before = self.text.get(..item.start)?.trim_end();
        let dash = before.len().checked_sub(1)?;
        (before.ends_with('-') && self.is_first_on_line(dash)).then_some(dash)
    }

    fn is_first_on_line(&self, at: usize) -> bool {
        self.text[self.line_start(at)..at].trim_start_matches('\u{feff}').trim().is_empty()
    }

    fn line_start(&self, at: usize) -> usize {
        let start = self.text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        if start == 0 && self.text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { start }
    }

    /// The end of the line, before its line break.
    fn line_end(&self, at: usize) -> usize {
        let line = self.text[at..].split('\n').next().unwrap_or_default();
        at + line.strip_suffix('\r').unwrap_or(line).len()
    }

    fn column(&self, at: usize) -> usize {
        self.text[self.line_start(at)..at].chars().count()
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Whether something in it has an anchor, which something that stays may want, or is an alias.
fn has_anchor(piece: &Piece) -> bool {
    let mut open = vec![piece];
    while let Some(piece) = open.pop() {
        if piece.is_anchored {
            return true;
        }
        match &piece.what {
            What::List { items, .. } => open.extend(items),
            What::Map { entries, .. } => open.extend(entries.iter().map(|entry| &entry.value)),
            What::Scalar(_) | What::Nothing | What::Alias => {}
        }
    }
    false
}

/// Which item of a list becomes which, in order: those that are the same or have the same name, and those between two such pairs where as
/// many were there as are wanted. `None`: the lists are too long.
fn pairs(nodes: &[Node], wants: &[Value]) -> Option<Vec<(usize, usize)>> {
    if nodes.len() * wants.len() > MAX_PAIRS {
        return None;
    }
    let olds: Vec<Value> = nodes.iter().map(Node::to_value).collect();
    let name = |value: &Value| value.get("name").and_then(Value::as_str).map(str::to_owned);
    let same = |old: &Value, new: &Value| old == new || (name(old).is_some() && name(old) == name(new));
    // The longest common subsequence, from behind.
    let mut best = vec![vec![0_u32; wants.len() + 1]; olds.len() + 1];
    for (i, old) in olds.iter().enumerate().rev() {
        for (j, new) in wants.iter().enumerate().rev() {
            best[i][j] = if same(old, new) { best[i + 1][j + 1] + 1 } else { best[i + 1][j].max(best[i][j + 1]) };
        }
    }
    let (mut found, mut i, mut j) = (Vec::new(), 0, 0);
    while i < olds.len() && j < wants.len() {
        if same(&olds[i], &wants[j]) {
            found.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if best[i + 1][j] >= best[i][j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    let mut all = Vec::new();
    let mut from = (0, 0);
    for to in found.into_iter().chain([(olds.len(), wants.len())]) {
        if to.0 - from.0 == to.1 - from.1 {
            all.extend((from.0..to.0).zip(from.1..to.1));
        }
        if to != (olds.len(), wants.len()) {
            all.push(to);
        }
        from = (to.0 + 1, to.1 + 1);
    }
    Some(all)
}
