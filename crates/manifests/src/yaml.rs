//! YAML in: strict, bounded, and with the place of every value. Nothing else in the engine reads YAML that users wrote.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

/// The largest file.
pub const MAX_FILE: usize = 1 << 20;
/// The deepest nesting.
const MAX_DEPTH: usize = 64;
/// Documents in one file.
const MAX_DOCUMENTS: usize = 2000;
/// Aliases in one file: a few save typing, many are a bomb.
const MAX_ALIASES: usize = 64;

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

/// Why a file can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub message: String,
}

/// Reads all documents of a file; empty ones are left out.
pub fn parse(text: &str) -> Result<Vec<Node>, Error> {
    if text.len() > MAX_FILE {
        let message = format!("the file is larger than {MAX_FILE} bytes: split it");
        return Err(Error { place: Place { line: 1, column: 1 }, message });
    }
    let options = serde_saphyr::options! {
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        reject_unsupported_tags: true,
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_documents: MAX_DOCUMENTS,
            max_aliases: MAX_ALIASES,
            max_nodes: 250_000,
            max_events: 1_000_000,
            max_total_scalar_bytes: 4 * MAX_FILE,
        },
    };
    let documents: Vec<Option<Node>> = serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        let place = error.location().map(|at| place(&at)).unwrap_or(Place { line: 1, column: 1 });
        Error { place, message: describe(&error) }
    })?;
    Ok(documents.into_iter().flatten().collect())
}

/// The parser's words, in one line, without the place that we show ourselves.
fn describe(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let text = text.split('\n').next().unwrap_or_default();
    let text = text.split(" at line ").next().unwrap_or(text);
    text.split(" (line ").next().unwrap_or(text).trim_end_matches([':', ' ']).chars().filter(|c| !c.is_control()).take(300).collect()
}

fn place(at: &serde_saphyr::Location) -> Place {
    let number = |value: u64| usize::try_from(value).unwrap_or(1).max(1);
    Place { line: number(at.line()), column: number(at.column()) }
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

    /// The place of a field such as `spec.probes[0].http`: of the deepest part of it that exists. A map's field is placed at
    /// its key, where a person would look.
    pub fn find(&self, path: &str) -> Place {
        let mut node = self;
        let mut at = self.place;
        for part in parts(path) {
            let next = match (&node.value, part) {
                (Tree::Map(entries), Part::Key(key)) => {
                    entries.iter().find(|(name, ..)| name == key).map(|(_, place, node)| (*place, node))
                }
                (Tree::List(items), Part::Index(index)) => items.get(index).map(|node| (node.place, node)),
                _ => None,
            };
            let Some((place, next)) = next else { break };
            (at, node) = (place, next);
        }
        at
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

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Tree>::deserialize(deserializer)?;
        Ok(Self { place: place(&spanned.referenced), value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Scalar(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Tree, E> {
        Number::from_f64(value).map(|number| Tree::Scalar(Value::Number(number))).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Scalar(Value::String(value.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = access.next_key::<Spanned<String>>()? {
            let at = place(&key.referenced);
            entries.push((key.value, at, access.next_value()?));
        }
        Ok(Tree::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_its_place() {
        let documents = parse("a: 1\n---\nspec:\n  probes:\n    - name: web\n      port: 80\n").unwrap();
        assert_eq!(documents.len(), 2);
        let at = |path: &str| documents[1].find(path);
        assert_eq!(at("spec.probes[0].port"), Place { line: 6, column: 7 });
        assert_eq!(at("spec.probes[0]"), Place { line: 5, column: 7 });
        assert_eq!(at("spec.probes[7].port"), Place { line: 4, column: 3 });
        assert_eq!(documents[1].to_value(), serde_json::json!({"spec": {"probes": [{"name": "web", "port": 80}]}}));
    }

    #[test]
    fn words_and_odd_numbers_stay_text() {
        let document = &parse("a: no\nb: on\nc: 0644\nd: 1_000\ne: y\nf: 1.10\n").unwrap()[0];
        for (key, text) in [("a", "no"), ("b", "on"), ("c", "0644"), ("d", "1_000"), ("e", "y")] {
            assert_eq!(document.text(key), Some(text));
        }
    }

    #[test]
    fn windows_files_are_files() {
        let document = &parse("\u{feff}a: 1\r\nb: text\r\n").unwrap()[0];
        assert_eq!(document.text("b"), Some("text"));
    }

    #[test]
    fn empty_documents_are_left_out() {
        assert!(parse("# nothing\n---\n---\n").unwrap().is_empty());
        assert!(parse("").unwrap().is_empty());
    }

    /// Each is refused quickly, and says where.
    #[test]
    fn attacks_are_refused() {
        let bomb: String = (0..12).fold("a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned(), |text, n| {
            let list = vec![format!("*a{n}"); 9].join(",");
            format!("{text}a{}: &a{} [{list}]\n", n + 1, n + 1)
        });
        let cases = [
            ("a bomb of aliases", bomb),
            ("depth", format!("a: {}", "[".repeat(100_000))),
            ("the same key twice", "a: 1\na: 2\n".into()),
            ("a tag that makes objects", "a: !!python/object:os.system x\n".into()),
            ("a large file", "#".repeat(MAX_FILE + 1)),
            ("many documents", "---\na: 1\n".repeat(MAX_DOCUMENTS + 1)),
            ("an alias of nothing", "a: *b\n".into()),
            ("broken quotes", "a: \"b\n".into()),
            ("tabs", "a:\n\t- b\n".into()),
        ];
        for (what, text) in cases {
            let error = parse(&text).map(|documents| documents.len()).expect_err(what);
            assert!(error.place.line >= 1 && !error.message.is_empty() && !error.message.contains('\n'), "{what}: {error:?}");
        }
    }
}
