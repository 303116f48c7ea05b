//! Where in the files something was written. Files with findings are few: reading one of them once more costs less than keeping
//! every tree.

use std::collections::{BTreeMap, BTreeSet};

use crds::Kind;
use reconcile::Target;
use serde_json::Value;

use super::{Key, Reader, items_of, named, target};
use crate::finding::Finding;
use crate::yaml::{self, Lines, Node, Place, Tree};

/// A field of an object, the `nth` one of that name in its file.
#[derive(Clone, Copy)]
struct Field<'a> {
    path: &'a str,
    key: &'a Key,
    nth: usize,
    field: &'a str,
}

/// What is written there.
#[derive(Clone, Default)]
struct Written {
    place: Place,
    line: String,
    /// The value, if it is text.
    text: Option<String>,
}

impl Reader {
    /// What is wrong with single objects, and with names that are used twice.
    pub fn findings(&self) -> Vec<Finding> {
        let wrong = self.wrong.iter().filter_map(|path| self.files.get(path));
        let mut findings: Vec<Finding> = wrong.flat_map(|parsed| parsed.findings.iter().cloned()).collect();
        let mut fields = Vec::new();
        for key in &self.twice {
            for path in self.homes.get(key).into_iter().flatten() {
                let count = self.files.get(path).map_or(0, |parsed| parsed.count(key));
                fields.extend((0..count).map(|nth| Field { path, key, nth, field: "metadata.name" }));
            }
        }
        let mut first: Option<(&Key, String)> = None;
        for (field, written) in fields.iter().zip(self.look_up(&fields)) {
            let Some((_, counts)) = first.as_ref().filter(|(key, _)| *key == field.key) else {
                first = Some((field.key, format!("{}:{}", field.path, written.place.line)));
                continue;
            };
            let message = format!("{} is defined twice: the one in {counts} counts", target(field.key));
            let finding = Finding::error("duplicate-object", "metadata.name", message, "rename one of them, or delete it");
            let finding = Finding { object: target(field.key), ..finding };
            findings.push(finding.at(field.path, written.place, &written.line));
        }
        findings
    }

    /// Places findings that speak of objects at the lines where these were written.
    pub fn locate(&self, found: &[reconcile::finding::Finding]) -> Vec<Finding> {
        let keys: Vec<Key> = found.iter().map(|found| (found.object.kind(), found.object.name().clone())).collect();
        let home = |key| self.homes.get(key).and_then(BTreeSet::first);
        let fields: Vec<Option<Field<'_>>> =
            found.iter().zip(&keys).map(|(found, key)| home(key).map(|path| Field { path, key, nth: 0, field: &found.path })).collect();
        let mut written = self.look_up(&fields.iter().flatten().copied().collect::<Vec<_>>()).into_iter();
        let unusable = self.unusable();
        let mut located = Vec::new();
        for (found, field) in found.iter().zip(fields) {
            let finding = Finding::new(found.severity, found.code, &found.path, found.message.clone(), found.help.clone());
            let finding = Finding { object: found.object.to_string(), ..finding };
            let Some((field, written)) = field.and_then(|field| Some((field, written.next()?))) else {
                located.push(finding);
                continue;
            };
            let meant = written.text.as_ref().and_then(|text| Some(Target::of(meant(found.code)?, field.key.1.sibling(text)).to_string()));
            let finding = match meant.filter(|meant| unusable.contains(meant.as_str())) {
                // It is there: to say that it is not would send people looking in the wrong place.
                Some(meant) => {
                    let message = format!("{meant} is there, but can't be used as it is written");
                    Finding { message, help: "mend that one first".into(), ..finding }
                }
                None => finding,
            };
            located.push(finding.at(field.path, written.place, &written.line));
        }
        located
    }

    /// The line of its file at which an object begins.
    pub fn line(&self, key: &Key) -> usize {
        let field = self.home(key).map(|path| Field { path, key, nth: 0, field: "metadata.name" });
        self.look_up(field.as_slice()).first().map_or(1, |written| written.place.line)
    }

    /// Objects that are written, and wrong.
    fn unusable(&self) -> BTreeSet<&str> {
        let wrong = self.wrong.iter().filter_map(|path| self.files.get(path));
        wrong.flat_map(|parsed| &parsed.findings).map(|finding| finding.object.as_str()).filter(|object| !object.is_empty()).collect()
    }

    /// What is written in fields, each file read once.
    fn look_up(&self, fields: &[Field<'_>]) -> Vec<Written> {
        let mut by_path: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (at, field) in fields.iter().enumerate() {
            by_path.entry(field.path).or_default().push(at);
        }
        let mut found = vec![Written::default(); fields.len()];
        for (path, wanted) in by_path {
            let text = self.files.get(path).map(|parsed| parsed.text.as_str()).unwrap_or_default();
            let (documents, _) = yaml::parse(text);
            let lines = Lines::new(text);
            let mut objects: BTreeMap<Key, Vec<&Node>> = BTreeMap::new();
            for node in documents.iter().flat_map(items_of) {
                if let Some(key) = named(node, &self.setting.namespace) {
                    objects.entry(key).or_default().push(node);
                }
            }
            for at in wanted {
                let Some(node) = objects.get(fields[at].key).and_then(|nodes| nodes.get(fields[at].nth)) else {
                    found[at].place = Place { line: 1, column: 1 };
                    continue;
                };
                let place = node.find(fields[at].field);
                let text = match node.value_at(fields[at].field) {
                    Some(Tree::Scalar(Value::String(text))) => Some(text.clone()),
                    _ => None,
                };
                found[at] = Written { place, line: lines.get(place.line).to_owned(), text };
            }
        }
        found
    }
}

/// The kind of object that a field names, by the code of the finding that it is not there.
fn meant(code: &str) -> Option<Kind> {
    match code {
        "unknown-parent" | "unknown-via" => Some(Kind::Device),
        "unknown-class" => Some(Kind::DeviceClass),
        "unknown-dependency" => Some(Kind::Deployment),
        "unknown-receiver" => Some(Kind::Receiver),
        _ => None,
    }
}
