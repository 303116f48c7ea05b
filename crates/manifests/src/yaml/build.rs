//! From the parser's events to trees.

use std::collections::BTreeMap;

use granit_parser::{Event, ScalarStyle, ScanError, Span};
use serde_json::Value;

use super::{Error, MAX_ALIASES, MAX_DEPTH, MAX_DOCUMENTS, MAX_ERRORS, MAX_NODES, MAX_TEXT, Node, Place, Tree, scalar, words};

/// Why building does not go on.
pub(super) enum Stop {
    /// Nothing more can be read of this document.
    Document(Error),
    /// Nothing more can be read of the file.
    File(Error),
}

/// Builds the documents of one file.
#[derive(Default)]
pub(super) struct Builder {
    documents: Vec<Node>,
    errors: Vec<Error>,
    /// Errors before the document that is being built.
    errors_before: usize,
    /// Collections that are open, outermost first.
    open: Vec<Open>,
    anchors: BTreeMap<usize, Anchor>,
    seen: usize,
    aliases: usize,
    size: Size,
}

/// What was built so far.
#[derive(Clone, Copy, Default)]
struct Size {
    nodes: usize,
    text: usize,
}

/// What an alias repeats.
struct Anchor {
    node: Node,
    size: Size,
    /// Collections in collections.
    height: usize,
}

/// A collection that is not complete.
struct Open {
    place: Place,
    anchor: usize,
    before: Size,
    height: usize,
    kind: Kind,
}

enum Kind {
    List(Vec<Node>),
    Map(Map),
}

#[derive(Default)]
struct Map {
    entries: Vec<(String, Place, Node)>,
    keys: BTreeMap<String, Place>,
    /// The key whose value comes next.
    key: Option<Key>,
    merged: Vec<Node>,
}

enum Key {
    Named(String, Place),
    /// `<<`.
    Merge,
    /// One that is there twice: its value is dropped.
    Twice,
}

impl Builder {
    /// Takes the next event.
    pub(super) fn event(&mut self, event: Event<'_>, span: &Span) -> Result<(), Stop> {
        let place = super::place(&span.start);
        self.tag(&event, span.tag_start.as_ref().map_or(place, super::place));
        match event {
            Event::DocumentStart(..) => {
                self.seen += 1;
                self.errors_before = self.errors.len();
                self.anchors.clear();
                if self.seen > MAX_DOCUMENTS {
                    let error = error(place, format!("the file has more than {MAX_DOCUMENTS} documents"), "split it");
                    return Err(Stop::File(error));
                }
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                let is_plain = style == ScalarStyle::Plain && tag.is_none();
                self.scalar(&text, is_plain, anchor, place)
            }
            Event::SequenceStart(_, anchor, _) => self.begin(Kind::List(Vec::new()), anchor, place),
            Event::MappingStart(_, anchor, _) => self.begin(Kind::Map(Map::default()), anchor, place),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(id) => self.alias(id, place),
            Event::UnresolvedAlias(name) => {
                let help = "an anchor `&name` has to come before it, in the same document; quote it if it is text";
                self.errors.push(error(place, format!("there is no anchor `&{name}`"), help));
                self.node(Node { place, value: Tree::Scalar(Value::Null) }, 0)
            }
            _ => Ok(()),
        }
    }

    /// An error of the parser: what is wrong where.
    pub(super) fn explain(&self, error: &ScanError, text: &str) -> Error {
        words::explain(error, text, self.open.last().map(|open| open.place))
    }

    /// Leaves a document that can't be read. Returns whether the rest of the file is worth looking at.
    pub(super) fn give_up(&mut self, stop: Stop) -> bool {
        self.open.clear();
        let (error, is_document) = match stop {
            Stop::Document(error) => (error, true),
            Stop::File(error) => (error, false),
        };
        // The same place twice is one mistake.
        if self.errors.last().is_none_or(|last| last.place != error.place) {
            self.errors.push(error);
        }
        is_document && self.errors.len() <= MAX_ERRORS
    }

    pub(super) fn finish(mut self) -> (Vec<Node>, Vec<Error>) {
        if let Some(first) = self.errors.get(MAX_ERRORS) {
            let more = error(first.place, format!("the file has more than {MAX_ERRORS} errors; the rest is not shown"), "mend these first");
            self.errors.truncate(MAX_ERRORS);
            self.errors.push(more);
        }
        (self.documents, self.errors)
    }

    fn scalar(&mut self, text: &str, is_plain: bool, anchor: usize, place: Place) -> Result<(), Stop> {
        if let Some(Open { kind: Kind::Map(map), .. }) = self.open.last_mut()
            && map.key.is_none()
        {
            self.size.text += text.len();
            let key = match map.keys.get(text) {
                Some(first) => {
                    let message = format!("the key `{}` is there twice: first in {first}", text.chars().take(60).collect::<String>());
                    self.errors.push(error(place, message, "take one of them away"));
                    Key::Twice
                }
                None if is_plain && text == "<<" => Key::Merge,
                None => {
                    map.keys.insert(text.to_owned(), place);
                    Key::Named(text.to_owned(), place)
                }
            };
            map.key = Some(key);
            return Ok(());
        }
        let value = if is_plain { scalar::resolve(text) } else { Value::String(text.to_owned()) };
        self.size.text += text.len();
        self.node(Node { place, value: Tree::Scalar(value) }, anchor)
    }

    /// Tags that say what is so anyway are accepted, and `!!str` makes text of anything; others would ask us to make something.
    fn tag(&mut self, event: &Event<'_>, place: Place) {
        let usual = match event {
            Event::Scalar(..) => "str",
            Event::SequenceStart(..) => "seq",
            _ => "map",
        };
        if let Some(tag) = event.tag().filter(|tag| tag.core_suffix() != Some(usual)) {
            let written: String = tag.original().chars().take(60).collect();
            self.errors.push(error(place, format!("the tag `{written}` is not supported"), "leave it out; quotes make text of anything"));
        }
    }

    fn begin(&mut self, kind: Kind, anchor: usize, place: Place) -> Result<(), Stop> {
        if let Some(Open { kind: Kind::Map(map), .. }) = self.open.last()
            && map.key.is_none()
        {
            let help = "quote it if it is text that begins with a bracket, such as a template";
            return Err(Stop::Document(error(place, "a list or a map can't be a key".into(), help)));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(Stop::Document(words::too_deep(place)));
        }
        self.open.push(Open { place, anchor, before: self.size, height: 0, kind });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Stop> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let value = match open.kind {
            Kind::List(items) => Tree::List(items),
            Kind::Map(map) => self.merged(map, open.place),
        };
        let node = Node { place: open.place, value };
        if open.anchor != 0 {
            let size = Size { nodes: self.size.nodes - open.before.nodes, text: self.size.text - open.before.text };
            self.anchors.insert(open.anchor, Anchor { node: node.clone(), size, height: open.height + 1 });
        }
        self.add(node, open.height + 1)
    }

    /// A map with what its merge keys bring: its own entries win, and then the first of those merged.
    fn merged(&mut self, mut map: Map, place: Place) -> Tree {
        for node in std::mem::take(&mut map.merged) {
            let maps = match node.value {
                Tree::List(items) => items,
                _ => vec![node],
            };
            for node in maps {
                let Tree::Map(entries) = node.value else {
                    self.errors.push(error(place, "`<<` takes a map, or a list of maps".into(), "give it an alias of a map"));
                    continue;
                };
                for (key, at, value) in entries {
                    if map.keys.insert(key.clone(), at).is_none() {
                        map.entries.push((key, at, value));
                    }
                }
            }
        }
        Tree::Map(map.entries)
    }

    fn alias(&mut self, id: usize, place: Place) -> Result<(), Stop> {
        self.aliases += 1;
        if self.aliases > MAX_ALIASES {
            let error = error(place, format!("the file has more than {MAX_ALIASES} aliases"), "write the values out");
            return Err(Stop::File(error));
        }
        let Some(anchor) = self.anchors.get(&id) else {
            let error = error(place, "an alias of what it is in itself".into(), "write the values out");
            return Err(Stop::Document(error));
        };
        if self.open.len() + anchor.height > MAX_DEPTH {
            return Err(Stop::Document(words::too_deep(place)));
        }
        if matches!(self.open.last(), Some(Open { kind: Kind::Map(map), .. }) if map.key.is_none()) {
            return Err(Stop::Document(error(place, "an alias can't be a key".into(), "write the key out")));
        }
        self.size.nodes += anchor.size.nodes;
        self.size.text += anchor.size.text;
        let (node, height) = (Node { place, value: anchor.node.value.clone() }, anchor.height);
        self.check(place)?;
        self.add(node, height)
    }

    /// A value that holds no others.
    fn node(&mut self, node: Node, anchor: usize) -> Result<(), Stop> {
        if anchor != 0 {
            let text = match &node.value {
                Tree::Scalar(Value::String(text)) => text.len(),
                _ => 0,
            };
            self.anchors.insert(anchor, Anchor { node: node.clone(), size: Size { nodes: 0, text }, height: 0 });
        }
        self.add(node, 0)
    }

    fn add(&mut self, node: Node, height: usize) -> Result<(), Stop> {
        self.size.nodes += 1;
        self.check(node.place)?;
        let Some(open) = self.open.last_mut() else {
            let is_good = self.errors.len() == self.errors_before;
            if is_good && !matches!(node.value, Tree::Scalar(Value::Null)) {
                self.documents.push(node);
            }
            return if self.errors.len() > MAX_ERRORS { Err(Stop::File(self.errors[MAX_ERRORS].clone())) } else { Ok(()) };
        };
        open.height = open.height.max(height);
        match &mut open.kind {
            Kind::List(items) => items.push(node),
            Kind::Map(map) => match map.key.take() {
                Some(Key::Named(key, place)) => map.entries.push((key, place, node)),
                Some(Key::Merge) => map.merged.push(node),
                Some(Key::Twice) | None => {}
            },
        }
        Ok(())
    }

    fn check(&self, place: Place) -> Result<(), Stop> {
        let message = match self.size {
            Size { nodes, .. } if nodes > MAX_NODES => format!("the file has more than {MAX_NODES} values"),
            Size { text, .. } if text > MAX_TEXT => format!("the file has more than {MAX_TEXT} bytes of text"),
            _ => return Ok(()),
        };
        Err(Stop::File(error(place, message, "split it, and repeat less by aliases")))
    }
}

fn error(place: Place, message: String, help: &str) -> Error {
    Error { place, message, help: help.to_owned() }
}
