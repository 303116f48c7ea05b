//! YAML in: strict, bounded, and with the place of every value. Nothing else in the engine reads YAML that users wrote.
//!
//! The events of the parser become a tree here, without recursion: how deep a file nests costs no stack. Plain text is read by the
//! core schema of YAML 1.2, and stays text in doubt: `no`, `0644` and `1_000` are no booleans and numbers.

mod build;
pub(crate) mod scalar;
mod words;

use std::fmt;

use granit_parser::{Parser, options};
use serde_json::{Map, Value};

use build::{Builder, Stop};

/// The largest file.
pub const MAX_FILE: usize = 1 << 20;
/// The deepest nesting.
pub const MAX_DEPTH: usize = 64;
/// Documents in one file.
pub const MAX_DOCUMENTS: usize = 2000;
/// Aliases in one file: a few save typing, many are a bomb.
pub const MAX_ALIASES: usize = 64;
/// Values in one file, those that aliases repeat included.
pub const MAX_NODES: usize = 250_000;
/// Bytes of text in one file, that which aliases repeat included.
pub const MAX_TEXT: usize = 4 * MAX_FILE;
/// Errors in one file, after which the rest is not looked at.
pub const MAX_ERRORS: usize = 20;

/// A place in a file, both counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
}

/// A value with its place.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where the value begins.
    pub place: Place,
    /// The value.
    pub value: Tree,
}

/// A value whose parts have places too.
#[derive(Clone, Debug)]
pub enum Tree {
    /// Neither map nor list.
    Scalar(Value),
    /// A list.
    List(Vec<Node>),
    /// A map in the order of the file, each key with its own place.
    Map(Vec<(String, Place, Node)>),
}

/// The lines of a file.
pub(crate) struct Lines<'a>(Vec<&'a str>);

impl<'a> Lines<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self(text.lines().collect())
    }

    /// A line by its number, from 1; empty after the last one.
    pub(crate) fn get(&self, line: usize) -> &'a str {
        self.0.get(line.saturating_sub(1)).copied().unwrap_or_default()
    }
}

/// What is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
}

/// Reads all documents of a file, empty ones left out, and says everything that is wrong. Of a document with an error nothing is
/// given.
pub fn parse(text: &str) -> (Vec<Node>, Vec<Error>) {
    if text.len() > MAX_FILE {
        let message = format!("the file is larger than {MAX_FILE} bytes");
        return (Vec::new(), vec![Error { place: Place { line: 1, column: 1 }, message, help: "split it".into() }]);
    }
    let options = options! {
        emit_unresolved_aliases: true,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut builder = Builder::default();
    while let Some(next) = parser.next_event() {
        let stop = match next {
            Ok((event, span)) => builder.event(event, &span),
            Err(error) => Err(Stop::Document(builder.explain(&error, text))),
        };
        let Err(stop) = stop else { continue };
        if !builder.give_up(stop) {
            break;
        }
        match parser.proceed_next_document() {
            Ok(true) => {}
            Ok(false) => break,
            // Not even the next document can be found.
            Err(error) => {
                let error = builder.explain(&error, text);
                builder.give_up(Stop::File(error));
                break;
            }
        }
    }
    builder.finish()
}

fn place(marker: &granit_parser::Marker) -> Place {
    Place { line: marker.line().max(1), column: marker.col() + 1 }
}

impl Node {
    /// The value without places.
    pub fn to_value(&self) -> Value {
        match &self.value {
            Tree::Scalar(value) => value.clone(),
            Tree::List(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Tree::Map(entries) => Value::Object(entries.iter().map(|(key, _, node)| (key.clone(), node.to_value())).collect::<Map<_, _>>()),
        }
    }

    /// A field of a map.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Tree::Map(entries) => entries.iter().find(|(name, ..)| name == key).map(|(_, _, node)| node),
            _ => None,
        }
    }

    /// A text field of a map.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.get(key).map(|node| &node.value) {
            Some(Tree::Scalar(Value::String(text))) => Some(text),
            _ => None,
        }
    }

    /// The place of a field such as `spec.probes[0].http`: of the deepest part of it that exists. Of a plain value that is the value
    /// itself; a map or a list is placed at its key, where a person would look.
    pub fn find(&self, path: &str) -> Place {
        let (key, node, _) = self.walk(path);
        if matches!(node.value, Tree::Scalar(_)) { node.place } else { key }
    }

    /// The place of a field's key.
    pub fn find_key(&self, path: &str) -> Place {
        self.walk(path).0
    }

    /// The value of a field, if it is there.
    pub fn value_at(&self, path: &str) -> Option<&Tree> {
        let (_, node, is_whole) = self.walk(path);
        is_whole.then_some(&node.value)
    }

    /// As far along a path as there is something, and whether that is all of it.
    fn walk(&self, path: &str) -> (Place, &Self, bool) {
        let (mut at, mut node) = (self.place, self);
        for part in parts(path) {
            let next = match (&node.value, part) {
                (Tree::Map(entries), Part::Key(key)) => {
                    entries.iter().find(|(name, ..)| name == key).map(|(_, place, node)| (*place, node))
                }
                (Tree::List(items), Part::Index(index)) => items.get(index).map(|node| (node.place, node)),
                _ => None,
            };
            let Some(next) = next else { return (at, node, false) };
            (at, node) = next;
        }
        (at, node, true)
    }
}

enum Part<'a> {
    Key(&'a str),
    Index(usize),
}

fn parts(path: &str) -> impl Iterator<Item = Part<'_>> {
    path.split(['.', '[']).filter(|part| !part.is_empty()).map(|part| match part.strip_suffix(']') {
        Some(index) => index.parse().map_or(Part::Key(index.trim_matches('"')), Part::Index),
        None => Part::Key(part),
    })
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(text: &str) -> Vec<Node> {
        let (documents, errors) = parse(text);
        assert!(errors.is_empty(), "{errors:?}");
        documents
    }

    #[test]
    fn every_value_has_its_place() {
        let documents = good("a: 1\n---\nspec:\n  probes:\n    - name: web\n      port: 80\n");
        assert_eq!(documents.len(), 2);
        let at = |path: &str| documents[1].find(path);
        assert_eq!(at("spec.probes[0].port"), Place { line: 6, column: 13 });
        assert_eq!(documents[1].find_key("spec.probes[0].port"), Place { line: 6, column: 7 });
        assert_eq!(at("spec.probes[0]"), Place { line: 5, column: 7 });
        assert_eq!(at("spec.probes[7].port"), Place { line: 4, column: 3 });
        assert_eq!(documents[1].to_value(), serde_json::json!({"spec": {"probes": [{"name": "web", "port": 80}]}}));
    }

    #[test]
    fn windows_files_are_files() {
        let document = &good("\u{feff}a: 1\r\nb: text\r\n")[0];
        assert_eq!(document.text("b"), Some("text"));
        assert_eq!(document.find_key("b"), Place { line: 2, column: 1 });
    }

    #[test]
    fn empty_documents_are_left_out() {
        assert!(good("# nothing\n---\n---\n").is_empty());
        assert!(good("").is_empty());
    }

    #[test]
    fn a_document_that_is_broken_does_not_hide_the_next_one() {
        let (documents, errors) = parse("a: [\n---\nb: 1\n---\nc: 'x\n---\nd: 1\nd: 2\ne: *f\n---\ng: 1\n");
        let keys: Vec<_> = documents.iter().map(|document| document.to_value().to_string()).collect();
        assert_eq!(keys, ["{\"b\":1}", "{\"g\":1}"]);
        let lines: Vec<usize> = errors.iter().map(|error| error.place.line).collect();
        assert_eq!(lines, [1, 5, 8, 9], "{errors:?}");
    }

    #[test]
    fn aliases_and_merge_keys() {
        let document = &good("a: &a {x: 1, y: 2}\nb: *a\nc: {<<: *a, y: 3}\nd: {<<: [{y: 4, z: 5}, *a]}\n")[0];
        let value = document.to_value();
        assert_eq!(value["b"], serde_json::json!({"x": 1, "y": 2}));
        assert_eq!(value["c"], serde_json::json!({"y": 3, "x": 1}));
        assert_eq!(value["d"], serde_json::json!({"y": 4, "z": 5, "x": 1}));
        assert_eq!(document.find("b"), Place { line: 2, column: 1 });
        assert_eq!(document.find_key("c.x"), Place { line: 1, column: 8 });
    }

    fn only_error(text: &str) -> String {
        let (documents, errors) = parse(text);
        assert!(documents.is_empty() && errors.len() == 1, "{} documents, {errors:?}", documents.len());
        errors[0].message.clone()
    }

    #[test]
    fn the_size_of_a_file_is_bounded() {
        assert!(good(&"#".repeat(MAX_FILE)).is_empty());
        assert!(only_error(&"#".repeat(MAX_FILE + 1)).contains("larger than 1048576 bytes"));
    }

    #[test]
    fn depth_is_bounded_and_costs_no_stack() {
        let flow = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        let block = |depth: usize| "- ".repeat(depth) + "1\n";
        let keys = |depth: usize| (0..depth).fold(String::new(), |text, at| format!("{text}{}a:\n", " ".repeat(at)));
        // Far less than a thread has.
        let small = std::thread::Builder::new().stack_size(256 << 10);
        let run = move || {
            for of in [flow, block, keys] {
                assert_eq!(parse(&of(MAX_DEPTH)).0.len(), 1);
                assert!(only_error(&of(MAX_DEPTH + 1)).contains("nested more than 64 deep"), "{}", only_error(&of(MAX_DEPTH + 1)));
            }
            assert!(only_error(&"[".repeat(100_000)).contains("nested more than 64 deep"));
            // Aliases make trees deeper than their text.
            let twice = format!("- &a {}\n- {}*a{}\n", flow(40), "[".repeat(40), "]".repeat(40));
            assert!(only_error(&twice).contains("nested more than 64 deep"));
        };
        small.spawn(run).unwrap().join().unwrap();
    }

    #[test]
    fn the_number_of_documents_is_bounded() {
        assert_eq!(good(&"---\na: 1\n".repeat(MAX_DOCUMENTS)).len(), MAX_DOCUMENTS);
        let (documents, errors) = parse(&"---\na: 1\n".repeat(MAX_DOCUMENTS + 1));
        assert!(documents.len() == MAX_DOCUMENTS && errors[0].message.contains("more than 2000 documents"), "{errors:?}");
    }

    #[test]
    fn what_aliases_repeat_is_bounded() {
        let aliases = |count: usize| format!("- &a x\n{}", "- *a\n".repeat(count));
        assert_eq!(good(&aliases(MAX_ALIASES)).len(), 1);
        assert!(only_error(&aliases(MAX_ALIASES + 1)).contains("more than 64 aliases"));
        let many = format!("- &a [{}]\n{}", "1,".repeat(MAX_NODES / 10), "- *a\n".repeat(10));
        assert!(only_error(&many).contains("more than 250000 values"));
        let long = format!("- &a {}\n{}", "x".repeat(MAX_TEXT / 8), "- *a\n".repeat(8));
        assert!(only_error(&long).contains("more than 4194304 bytes of text"));
        let bomb: String = (0..12).fold("- &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned(), |text, n| {
            format!("{text}- &a{} [{}]\n", n + 1, vec![format!("*a{n}"); 9].join(","))
        });
        assert!(only_error(&bomb).contains("more than 250000 values"));
    }

    #[test]
    fn the_number_of_values_is_bounded() {
        assert_eq!(good(&format!("[{}]", "1,".repeat(MAX_NODES - 1))).len(), 1);
        assert!(only_error(&format!("[{}]", "1,".repeat(MAX_NODES))).contains("more than 250000 values"));
    }

    #[test]
    fn the_number_of_errors_is_bounded() {
        let (_, errors) = parse(&"---\na: 1\na: 1\n".repeat(MAX_ERRORS + 10));
        assert_eq!(errors.len(), MAX_ERRORS + 1);
        assert!(errors[MAX_ERRORS].message.contains("more than 20 errors"));
    }
}
