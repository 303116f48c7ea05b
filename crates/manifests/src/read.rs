//! From files to objects, by what changed: a file whose blob is known is not read again.
//!
//! A broken file, or a broken object in it, is that file's problem: what it held when it was last good stays in force, and is
//! stalled; everything else applies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crds::{GROUP, Kind, Object, VERSION};
use reconcile::finding::Severity;
use reconcile::{Name, Target};

use crate::finding::Finding;
use crate::schema;
use crate::yaml::{self, Node, Place, Tree};

/// Files of one repository.
const MAX_FILES: usize = 500_000;

/// Identity of an object.
pub type Key = (Kind, Name);

/// The objects of a tree of files, kept up to date by what changes.
#[derive(Default)]
pub struct Reader {
    files: BTreeMap<String, (String, Arc<Parsed>)>,
}

/// One file, read.
#[derive(Default)]
struct Parsed {
    text: String,
    objects: Vec<(Key, Arc<Object>)>,
    /// Objects that stay as they were, since what the file says now is broken.
    stalled: BTreeSet<Key>,
    findings: Vec<Finding>,
}

impl Reader {
    /// Calls back for every file whose blob has not been read: what [`Self::update`] will ask for.
    pub fn missing(&self, tree: &BTreeMap<String, String>, mut each: impl FnMut(&str, &str)) {
        for (path, id) in tree {
            if self.files.get(path).is_none_or(|(known, _)| known != id) {
                each(path, id);
            }
        }
    }

    /// Brings the objects to another tree: `tree` maps paths to blob ids, and `read` is asked for those that are new only.
    /// Returns how many files were read.
    pub fn update(&mut self, tree: &BTreeMap<String, String>, mut read: impl FnMut(&str, &str) -> Result<Vec<u8>, String>) -> usize {
        self.files.retain(|path, _| tree.contains_key(path));
        let mut count = 0;
        for (path, id) in tree.iter().take(MAX_FILES) {
            let before = self.files.get(path);
            if before.is_some_and(|(known, _)| known == id) {
                continue;
            }
            count += 1;
            let before = before.map(|(_, parsed)| parsed.clone());
            let parsed = match read(path, id).and_then(|bytes| String::from_utf8(bytes).map_err(|error| not_text(&error))) {
                Ok(text) => parse(path, text, before.as_deref()),
                Err(error) => broken(
                    String::new(),
                    before.as_deref(),
                    Finding::new(Severity::Error, "file", "", error, "").at(path, Place { line: 1, column: 1 }, ""),
                ),
            };
            self.files.insert(path.clone(), (id.clone(), Arc::new(parsed)));
        }
        count
    }

    /// The objects, each once; of two with the same name the one in the first file counts.
    pub fn objects(&self) -> BTreeMap<Key, Arc<Object>> {
        let mut objects = BTreeMap::new();
        for (_, parsed) in self.files.values() {
            for (key, object) in &parsed.objects {
                objects.entry(key.clone()).or_insert_with(|| object.clone());
            }
        }
        objects
    }

    /// Objects that are in force as they were before, since what Git says now is broken.
    pub fn stalled(&self) -> BTreeSet<Key> {
        self.files.values().flat_map(|(_, parsed)| parsed.stalled.iter().cloned()).collect()
    }

    /// What is wrong with single objects, and with names that are used twice.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut first: BTreeMap<&Key, &str> = BTreeMap::new();
        for (path, (_, parsed)) in &self.files {
            findings.extend(parsed.findings.iter().cloned());
            for (key, _) in &parsed.objects {
                if let Some(other) = first.insert(key, path) {
                    first.insert(key, other);
                    let message = format!("{} is defined twice: the one in {other} counts", target(key));
                    let finding =
                        Finding::new(Severity::Error, "duplicate-object", "metadata.name", message, "rename one of them, or delete it");
                    findings.push(self.place(key, "metadata.name", path, finding));
                }
            }
        }
        findings
    }

    /// Places findings that speak of objects at the lines where these were written.
    pub fn locate(&self, found: &[reconcile::finding::Finding]) -> Vec<Finding> {
        let mut homes: BTreeMap<String, (&Key, &str)> = BTreeMap::new();
        if !found.is_empty() {
            for (path, (_, parsed)) in &self.files {
                for (key, _) in &parsed.objects {
                    homes.entry(target(key)).or_insert((key, path));
                }
            }
        }
        let locate = |found: &reconcile::finding::Finding| {
            let finding = Finding::new(found.severity, found.code, &found.path, found.message.clone(), found.help.clone());
            match homes.get(&found.object.to_string()) {
                Some((key, path)) => self.place(key, &found.path, path, finding),
                None => Finding { object: found.object.to_string(), ..finding },
            }
        };
        found.iter().map(locate).collect()
    }

    fn place(&self, key: &Key, field: &str, path: &str, finding: Finding) -> Finding {
        let text = self.files.get(path).map(|(_, parsed)| parsed.text.as_str()).unwrap_or_default();
        // Findings are few: reading the file once more is cheaper than keeping every tree.
        let documents = yaml::parse(text).unwrap_or_default();
        let node = documents.iter().flat_map(items).rfind(|node| identity(node).as_ref() == Some(key));
        let place = node.map_or(Place { line: 1, column: 1 }, |node| node.find(field));
        Finding { object: target(key), ..finding.at(path, place, text) }
    }
}

fn target((kind, name): &Key) -> String {
    Target::parse(&format!("{}/{}", kind.as_str(), name.full())).map(|target| target.to_string()).unwrap_or_default()
}

fn not_text(error: &std::string::FromUtf8Error) -> String {
    format!("the file is not UTF-8: byte {} is wrong", error.utf8_error().valid_up_to())
}

/// A file that can't be read at all: everything it held stays as it was.
fn broken(text: String, before: Option<&Parsed>, finding: Finding) -> Parsed {
    let objects = before.map(|before| before.objects.clone()).unwrap_or_default();
    let stalled = objects.iter().map(|(key, _)| key.clone()).collect();
    Parsed { text, objects, stalled, findings: vec![finding] }
}

fn parse(path: &str, text: String, before: Option<&Parsed>) -> Parsed {
    if text.starts_with("version https://git-lfs.github.com/spec/") {
        let finding =
            Finding::new(Severity::Error, "lfs-pointer", "", "this is a Git LFS pointer, not the file itself", "keep manifests out of LFS");
        let finding = finding.at(path, Place { line: 1, column: 1 }, &text);
        return broken(text, before, finding);
    }
    let documents = match yaml::parse(&text) {
        Ok(documents) => documents,
        Err(error) => {
            let finding = Finding::new(Severity::Error, "yaml", "", error.message, "").at(path, error.place, &text);
            return broken(text, before, finding);
        }
    };
    let mut parsed = Parsed::default();
    for node in documents.iter().flat_map(items) {
        document(path, &text, node, before, &mut parsed);
    }
    parsed.text = text;
    parsed
}

/// The objects of a document: itself, or the items of a `List`.
fn items(node: &Node) -> Vec<&Node> {
    let is_list = node.text("kind").is_some_and(|kind| kind.ends_with("List"));
    match node.get("items").map(|items| &items.value) {
        Some(Tree::List(items)) if is_list => items.iter().collect(),
        _ => vec![node],
    }
}

fn identity(node: &Node) -> Option<Key> {
    let kind = Kind::ALL.iter().find(|kind| Some(kind.as_str()) == node.text("kind"))?;
    let metadata = node.get("metadata")?;
    Some((*kind, Name::new(metadata.text("namespace").unwrap_or(reconcile::name::DEFAULT_NAMESPACE), metadata.text("name")?)))
}

fn document(path: &str, text: &str, node: &Node, before: Option<&Parsed>, parsed: &mut Parsed) {
    let mut add = |field: &str, finding: Finding| parsed.findings.push(finding.at(path, node.find(field), text));
    let Tree::Map(_) = node.value else {
        return add(
            "",
            Finding::new(Severity::Error, "not-an-object", "", "a document must be a map with apiVersion, kind, metadata and spec", ""),
        );
    };
    let version = node.text("apiVersion").unwrap_or_default();
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    if group != GROUP {
        let (severity, code, message) = if node.get("apiVersion").is_none() {
            (Severity::Error, "missing-field", "an object needs an `apiVersion`".to_owned())
        } else {
            (Severity::Note, "other-group", format!("{} is left to others", node.text("kind").unwrap_or("this object")))
        };
        return add("apiVersion", Finding::new(severity, code, "apiVersion", message, format!("ours is `{GROUP}/{VERSION}`")));
    }
    if version != VERSION {
        return add(
            "apiVersion",
            Finding::new(
                Severity::Error,
                "api-version",
                "apiVersion",
                format!("there is no version `{version}`"),
                format!("write `{GROUP}/{VERSION}`"),
            ),
        );
    }
    let Some(kind) = Kind::ALL.iter().copied().find(|kind| Some(kind.as_str()) == node.text("kind")) else {
        let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        let found = node.text("kind").unwrap_or("nothing");
        return add(
            "kind",
            Finding::new(
                Severity::Error,
                "unknown-kind",
                "kind",
                format!("there is no kind `{found}`"),
                format!("kinds are {}", kinds.join(", ")),
            ),
        );
    };
    let key = identity(node);
    let value = node.to_value();
    let mut findings = schema::check(kind, &value);
    if findings.is_empty()
        && let Some(key) = &key
    {
        match Object::from_value(kind, value) {
            Ok(object) => return parsed.objects.push((key.clone(), Arc::new(object))),
            Err(error) => findings.push(Finding::new(Severity::Error, "object", "spec", error.to_string(), "")),
        }
    }
    let object = key.as_ref().map(target).unwrap_or_default();
    for finding in findings {
        let field = finding.path.clone();
        add(&field, Finding { object: object.clone(), ..finding });
    }
    let last_good = key.as_ref().and_then(|key| before?.objects.iter().find(|(known, _)| known == key));
    if let Some((key, object)) = last_good {
        parsed.stalled.insert(key.clone());
        parsed.objects.push((key.clone(), object.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> (BTreeMap<String, String>, BTreeMap<String, Vec<u8>>) {
        let ids = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), format!("{:x}", text.len() * 31 + text.bytes().map(usize::from).sum::<usize>())));
        (ids.collect(), files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect())
    }

    fn update(reader: &mut Reader, files: &[(&str, &str)]) -> usize {
        let (tree, contents) = tree(files);
        reader.update(&tree, |path, _| Ok(contents[path].clone()))
    }

    fn device(name: &str, address: &str) -> String {
        format!("apiVersion: evenkeel.dev/v1alpha1\nkind: Device\nmetadata: {{name: {name}}}\nspec: {{type: Server, address: {address}}}\n")
    }

    #[test]
    fn only_new_blobs_are_read() {
        let mut reader = Reader::default();
        let (a, b) = (device("a", "10.0.0.1"), device("b", "10.0.0.2"));
        assert_eq!(update(&mut reader, &[("a.yaml", &a), ("b.yaml", &b)]), 2);
        assert_eq!(update(&mut reader, &[("a.yaml", &a), ("b.yaml", &b)]), 0);
        assert_eq!(update(&mut reader, &[("a.yaml", &a), ("c.yaml", &b)]), 1);
        assert_eq!(reader.objects().len(), 2);
    }

    #[test]
    fn a_broken_file_keeps_what_it_held_and_nothing_else_waits() {
        let mut reader = Reader::default();
        let a = device("a", "10.0.0.1");
        update(&mut reader, &[("a.yaml", &a), ("b.yaml", &device("b", "10.0.0.2"))]);
        for broken in ["kind: [", &device("a", "not an address")] {
            update(&mut reader, &[("a.yaml", broken), ("b.yaml", &device("b", "10.0.0.3"))]);
            let address = |name: &str| match &*reader.objects()[&(Kind::Device, Name::parse(name))] {
                Object::Device(device) => device.spec.address.clone(),
                _ => unreachable!(),
            };
            assert_eq!((address("a").as_str(), address("b").as_str()), ("10.0.0.1", "10.0.0.3"));
            assert_eq!(reader.stalled().len(), 1);
            assert!(!reader.findings().is_empty());
        }
        update(&mut reader, &[("a.yaml", &a)]);
        assert!(reader.stalled().is_empty() && reader.findings().is_empty());
    }

    #[test]
    fn lists_are_opened_and_others_are_left_alone() {
        let mut reader = Reader::default();
        let list = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: evenkeel.dev/v1alpha1\n  kind: Device\n  metadata: {name: a}\n  spec: {type: Server, address: 10.0.0.1}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n";
        update(&mut reader, &[("a.yaml", list)]);
        assert_eq!(reader.objects().len(), 1);
        let findings = reader.findings();
        assert_eq!((findings.len(), findings[0].severity), (1, Severity::Note));
    }
}
