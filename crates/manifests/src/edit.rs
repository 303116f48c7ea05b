//! Manifests out: a file is made to say something else, and what is not meant by that stays as it is written, comments, order and quotes.
//!
//! ```text
//! text ─► where each value stands (marks) ─► changes of the text (text, render) ─► read again: does it say what is wanted? ─► text
//! ```
//!
//! Where it does not, the whole document is written anew, and that is said.

mod marks;
mod render;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;

use crds::Kind;
use reconcile::Key;
use serde_json::{Map, Value, json};

use crate::read::{Reader, items_of, named};
use crate::yaml::{self, MAX_FILE, Node};
use marks::Document;
use text::{Edits, Stop};

/// What becomes of an object.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    /// It is there, with what this JSON merge patch (RFC 7396) changes; of one that is not there yet, all of it.
    Merged(&'a Value),
    /// It is gone.
    Gone,
}

/// What becomes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    /// Below the folder that is read.
    pub path: String,
    /// Its text before; `None`: it is new.
    pub before: Option<String>,
    /// Its text afterwards; `None`: it is gone.
    pub after: Option<String>,
    /// The document, or a part of it that had comments, could not be changed in place: it is written anew, without them.
    pub is_rewritten: bool,
}

/// Why a file can't be made to say it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// What is written there can't be read.
    #[error("{0} is broken as it is: mend it first, by hand")]
    Broken(String),
    /// It is there more than once.
    #[error("it is written more than once ({0}): take all but one away, by hand")]
    Twice(String),
    /// It would change elsewhere too.
    #[error(
        "{file}: {field} has an anchor or is an alias (`&`, `*`, `<<`), so that something else would change with it: edit the file by hand"
    )]
    Shared {
        /// The file.
        file: String,
        /// The field.
        field: String,
    },
    /// There is nothing to be deleted.
    #[error("it is not there")]
    Missing,
    /// What it would become can't be written.
    #[error("{0}")]
    Unwritable(String),
}

/// What has to become of a file, so that an object becomes what is wanted. `None`: it is so already.
pub fn change(reader: &Reader, key: &Key, wanted: Wanted<'_>) -> Result<Option<FileChange>, Error> {
    let homes = reader.homes(key);
    let Some(path) = homes.first() else {
        return match wanted {
            Wanted::Merged(value) => new_file(reader, key, value).map(Some),
            Wanted::Gone => Err(Error::Missing),
        };
    };
    if homes.len() > 1 {
        return Err(Error::Twice(homes.join(", ")));
    }
    if reader.is_stalled(key) {
        return Err(Error::Broken((*path).to_owned()));
    }
    let before = reader.text(path).ok_or_else(|| Error::Broken((*path).to_owned()))?;
    let place = Found::find(before, key, reader.namespace()).ok_or_else(|| Error::Broken((*path).to_owned()))?;
    if place.is_twice {
        return Err(Error::Twice((*path).to_owned()));
    }
    let (after, is_rewritten) = place.changed(before, wanted).map_err(|stop| match stop {
        Stop::Shared(field) => Error::Shared { file: (*path).to_owned(), field },
        Stop::Unknown => Error::Unwritable(format!("{path}: it can't be written in YAML that says the same")),
    })?;
    if after.as_deref().is_some_and(|text| text.len() > MAX_FILE) {
        return Err(Error::Unwritable(format!("{path} would be larger than {MAX_FILE} bytes")));
    }
    if after.as_deref() == Some(before) {
        return Ok(None);
    }
    Ok(Some(FileChange { path: (*path).to_owned(), before: Some(before.to_owned()), after, is_rewritten }))
}

/// Applies a JSON merge patch (RFC 7396).
pub fn merge(target: &Value, patch: &Value) -> Value {
    let Value::Object(fields) = patch else { return patch.clone() };
    let mut merged = target.as_object().cloned().unwrap_or_default();
    for (key, value) in fields {
        match value {
            Value::Null => drop(merged.remove(key)),
            value => {
                let before = merged.get(key).cloned().unwrap_or(Value::Null);
                merged.insert(key.clone(), merge(&before, value));
            }
        }
    }
    Value::Object(merged)
}

/// The JSON merge patch that makes one value another.
pub fn difference(from: &Value, to: &Value) -> Value {
    let (Value::Object(old), Value::Object(new)) = (from, to) else { return to.clone() };
    let gone = old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let changed = new.iter().filter(|(key, value)| old.get(*key) != Some(value));
    let changed = changed.map(|(key, value)| (key.clone(), difference(old.get(key).unwrap_or(&Value::Null), value)));
    Value::Object(changed.chain(gone).collect())
}

/// What changes between two texts, as `diff -u` says it, with so many lines around each change: in a file with several objects these may be of
/// others, and so does no head of a hunk name a line.
pub fn unified(path: &str, before: Option<&str>, after: Option<&str>, around: u32) -> String {
    let (old, new) = (before.unwrap_or_default(), after.unwrap_or_default());
    let path = std::path::Path::new(path);
    let mut options = git2::DiffOptions::new();
    options.context_lines(around).interhunk_lines(0);
    let patch = git2::Patch::from_buffers(old.as_bytes(), Some(path), new.as_bytes(), Some(path), Some(&mut options));
    let Ok(text) = patch.and_then(|mut patch| patch.to_buf()) else { return String::new() };
    let head = |line: &str| match line.strip_prefix("@@ ").and_then(|rest| rest.split_once(" @@")) {
        Some((places, _)) => format!("@@ {places} @@\n"),
        None => line.to_owned(),
    };
    String::from_utf8_lossy(&text).split_inclusive('\n').map(head).collect()
}

/// An object as YAML, as a new file has it.
pub fn written(value: &Value) -> String {
    render::document(value, "\n")
}

/// An object in its file.
struct Found {
    documents: Vec<Node>,
    marks: Option<Vec<Document>>,
    /// The document that has it.
    number: usize,
    /// Its number among the items, where the document is a list.
    item: Option<usize>,
    is_twice: bool,
}

impl Found {
    fn find(text: &str, key: &Key, namespace: &str) -> Option<Self> {
        let (documents, errors) = yaml::parse(text);
        if !errors.is_empty() {
            return None;
        }
        let mut places = Vec::new();
        for (number, document) in documents.iter().enumerate() {
            let items = items_of(document);
            let is_list = !(items.len() == 1 && std::ptr::eq(items[0], document));
            let there = items.iter().enumerate().filter(|(_, node)| named(node, namespace).as_ref() == Some(key));
            places.extend(there.map(|(item, _)| (number, is_list.then_some(item))));
        }
        let (number, item) = *places.first()?;
        let marks = marks::documents(text).filter(|marks| marks.len() == documents.len());
        Some(Self { documents, marks, number, item, is_twice: places.len() > 1 })
    }

    fn changed(&self, text: &str, wanted: Wanted<'_>) -> Result<(Option<String>, bool), Stop> {
        let mut document = self.documents[self.number].to_value();
        let object = match self.item {
            Some(item) => document["items"].get_mut(item).ok_or(Stop::Unknown)?,
            None => &mut document,
        };
        match (wanted, self.item) {
            (Wanted::Merged(patch), _) => *object = merge(object, patch),
            (Wanted::Gone, Some(item)) => {
                document["items"].as_array_mut().map(|items| items.remove(item));
            }
            (Wanted::Gone, None) => return self.without(text).map(|text| (text, false)),
        }
        let mut all: Vec<Value> = self.documents.iter().map(Node::to_value).collect();
        if all[self.number] == document {
            return Ok((Some(text.to_owned()), false));
        }
        let marks = self.marks.as_ref().ok_or(Stop::Unknown)?;
        all[self.number].clone_from(&document);
        let root = &marks[self.number].root;
        let mut edits = Edits::new(text);
        let edited = edits.document(&self.documents[self.number], root, &document);
        let is_lossy = edits.is_lossy();
        match edited.and_then(|()| edits.done()) {
            Err(stop @ Stop::Shared(_)) => return Err(stop),
            Ok(edited) if says(&edited, &all) => return Ok((Some(edited), is_lossy)),
            Ok(_) | Err(Stop::Unknown) => {}
        }
        let mut edits = Edits::new(text);
        let newline = edits.newline();
        let anew = render::document(&document, newline);
        let is_first = text[..root.start].rsplit('\n').next().is_some_and(|line| line.trim_start_matches('\u{feff}').trim().is_empty());
        let before = if is_first { "" } else { newline };
        edits.change(root.start..root.end, format!("{before}{}", anew.trim_end_matches(['\r', '\n'])));
        let edited = edits.done()?;
        if says(&edited, &all) { Ok((Some(edited), true)) } else { Err(Stop::Unknown) }
    }

    /// The text without the document; `None` where it was the only one.
    fn without(&self, text: &str) -> Result<Option<String>, Stop> {
        if self.documents.len() == 1 {
            return Ok(None);
        }
        let marks = self.marks.as_ref().ok_or(Stop::Unknown)?;
        let line = |at: usize| text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let next = marks.get(self.number + 1).map(|next| next.mark.ok_or(Stop::Unknown)).transpose()?;
        let range = match (marks[self.number].mark, next) {
            // With its `---`, up to the next one.
            (Some(mark), Some(next)) if self.number > 0 => line(mark)..line(next),
            (Some(mark), None) => line(mark)..text.len(),
            // The first one: what stands above it stays, and so does the `---` that this one had.
            (_, Some(next)) => line(marks[self.number].root.start)..text[next..].find('\n').map_or(text.len(), |end| next + end + 1),
            (None, None) => return Err(Stop::Unknown),
        };
        let mut edits = Edits::new(text);
        edits.change(range, String::new());
        let edited = edits.done()?;
        let rest: Vec<Value> =
            self.documents.iter().enumerate().filter(|(number, _)| *number != self.number).map(|(_, node)| node.to_value()).collect();
        if says(&edited, &rest) { Ok(Some(edited)) } else { Err(Stop::Unknown) }
    }
}

/// Whether a text says exactly this.
fn says(text: &str, wanted: &[Value]) -> bool {
    let (documents, errors) = yaml::parse(text);
    errors.is_empty() && documents.len() == wanted.len() && documents.iter().zip(wanted).all(|(node, wanted)| node.to_value() == *wanted)
}

/// A file of its own, beside others of its kind.
fn new_file(reader: &Reader, (kind, name): &Key, wanted: &Value) -> Result<FileChange, Error> {
    let mut value = merge(&Value::Object(Map::new()), wanted);
    if value.get("metadata").is_some_and(|metadata| !metadata.is_object()) {
        return Err(Error::Unwritable("metadata has to be an object".into()));
    }
    value["apiVersion"] = json!(format!("{}/{}", crds::GROUP, crds::VERSION));
    value["kind"] = json!(kind.as_str());
    value["metadata"]["name"] = json!(name.name());
    if name.namespace() == reader.namespace() {
        value["metadata"].as_object_mut().map(|metadata| metadata.remove("namespace"));
    } else {
        value["metadata"]["namespace"] = json!(name.namespace());
    }
    let folder = folder(reader, *kind);
    let beside = |file: String| if folder.is_empty() { file } else { format!("{folder}/{file}") };
    let (own, other) = (name.name(), name.namespace());
    let names = [format!("{own}.yaml"), format!("{other}.{own}.yaml"), format!("{}.{other}.{own}.yaml", kind.plural())];
    let is_free = |path: &String| reader.paths().all(|there| !there.eq_ignore_ascii_case(path));
    let path = names.into_iter().map(beside).find(is_free);
    let path = path.ok_or_else(|| Error::Unwritable(format!("{folder}: there are files of that name already")))?;
    let text = render::document(&value, "\n");
    if text.len() > MAX_FILE {
        return Err(Error::Unwritable(format!("it is larger than {MAX_FILE} bytes")));
    }
    if !says(&text, &[value]) {
        return Err(Error::Unwritable("it can't be written in YAML that says the same".into()));
    }
    Ok(FileChange { path, before: None, after: Some(text), is_rewritten: false })
}

/// The folder that has most objects of a kind, of several the first; where there are none, one that is named after it.
fn folder(reader: &Reader, kind: Kind) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for path in reader.homes_of(kind) {
        *counts.entry(path.rsplit_once('/').map_or("", |(folder, _)| folder)).or_default() += 1;
    }
    let most = counts.iter().max_by(|(a, few), (b, many)| few.cmp(many).then(b.cmp(a)));
    most.map_or_else(|| kind.plural().to_owned(), |(folder, _)| (*folder).to_owned())
}
