//! From files to objects, by what changed: a file whose blob is known is not read again.
//!
//! A broken file, or a broken object in it, is that file's problem: what it held when it was last good stays in force, and is
//! stalled; everything else applies.

mod locate;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crds::{Kind, Object};
use reconcile::finding::Severity;
use reconcile::{Key, Name, Target};

use crate::core_object::{self, Core, CoreFile};
use crate::finding::Finding;
use crate::git::Entry;
use crate::yaml::{self, Lines, Node, Place, Tree};
use crate::{header, schema};

/// Where a file begins.
const START: Place = Place { line: 1, column: 1 };

/// A change of an object: `None` where it is gone.
pub type ObjectChange = (Key, Option<Arc<Object>>);

/// The objects of a tree of files, kept up to date by what changes.
#[derive(Clone, Default)]
pub struct Reader {
    files: BTreeMap<String, Arc<Parsed>>,
    /// The objects, each once.
    objects: BTreeMap<Key, Arc<Object>>,
    /// The files that define an object; the first one counts.
    homes: BTreeMap<Key, BTreeSet<String>>,
    /// Objects with more than one home.
    twice: BTreeSet<Key>,
    /// Files with something wrong in them.
    wrong: BTreeSet<String>,
    setting: Setting,
}

/// How it is read.
#[derive(Clone)]
struct Setting {
    /// The namespace of objects that name none.
    namespace: Arc<str>,
    /// What is done with ConfigMaps and Secrets.
    core: Core,
}

impl Default for Setting {
    fn default() -> Self {
        Self { namespace: reconcile::name::DEFAULT_NAMESPACE.into(), core: Core::default() }
    }
}

/// One file, read.
#[derive(Default)]
struct Parsed {
    /// The blob that was read.
    id: String,
    text: String,
    objects: Vec<(Key, Arc<Object>)>,
    /// Objects that stay as they were, since what the file says now is broken.
    stalled: BTreeSet<Key>,
    findings: Vec<Finding>,
    /// ConfigMaps and Secrets, where they are to be applied.
    core: Option<Arc<CoreFile>>,
}

impl Reader {
    /// One that reads objects without a namespace as being in this one.
    pub fn in_namespace(namespace: &str) -> Self {
        Self { setting: Setting { namespace: namespace.into(), ..Setting::default() }, ..Self::default() }
    }

    /// One that does this with ConfigMaps and Secrets.
    #[must_use]
    pub fn with_core(mut self, core: Core) -> Self {
        self.setting.core = core;
        self
    }

    /// The files with ConfigMaps and Secrets that are to be applied.
    pub fn core(&self) -> impl Iterator<Item = &Arc<CoreFile>> {
        self.files.values().filter_map(|parsed| parsed.core.as_ref())
    }

    /// As it was made, with nothing read.
    #[must_use]
    pub fn anew(&self) -> Self {
        Self { setting: self.setting.clone(), ..Self::default() }
    }

    /// Why what was read may not be all that is meant: a file, or a part of one, can't be used.
    pub fn fault(&self) -> Option<&Finding> {
        let wrong = self.wrong.iter().filter_map(|path| self.files.get(path));
        let mut findings = wrong.flat_map(|parsed| &parsed.findings);
        findings.find(|finding| finding.severity == Severity::Error || finding.code == "skipped")
    }

    /// The blobs that [`Self::update`] will ask for: those that are not known yet.
    pub fn missing<'a>(&'a self, changed: &'a BTreeMap<String, Entry>) -> impl Iterator<Item = &'a str> {
        changed.iter().filter_map(|(path, entry)| match entry {
            Entry::Blob(id) if !self.knows(path, id) => Some(id.as_str()),
            _ => None,
        })
    }

    /// Takes in what changed in the tree; `whole`: what is not in `changed` is not in the tree. `read` is asked for blobs that are
    /// new only. Returns the objects that are otherwise than before, and how many files were read.
    pub fn update(
        &mut self,
        changed: &BTreeMap<String, Entry>,
        whole: bool,
        mut read: impl FnMut(&str, &str) -> Result<Vec<u8>, String>,
    ) -> (Vec<ObjectChange>, usize) {
        let mut touched = BTreeSet::new();
        if whole {
            let gone: Vec<String> = self.files.keys().filter(|path| !changed.contains_key(*path)).cloned().collect();
            gone.iter().for_each(|path| self.put(path, None, &mut touched));
        }
        let mut count = 0;
        for (path, entry) in changed {
            let before = self.files.get(path).cloned();
            let parsed = match entry {
                Entry::Blob(id) if self.knows(path, id) => continue,
                Entry::Blob(id) => {
                    count += 1;
                    Some(Parsed { id: id.clone(), ..file(path, read(path, id), before.as_deref(), &self.setting) })
                }
                Entry::Left(why) => Some(broken(String::new(), before.as_deref(), vec![Finding::skipped(path, why)])),
                Entry::Gone => None,
            };
            self.put(path, parsed, &mut touched);
        }
        (self.resolve(touched), count)
    }

    fn knows(&self, path: &str, id: &str) -> bool {
        self.files.get(path).is_some_and(|parsed| parsed.id == id)
    }

    /// Puts a file in, or takes it out; the objects that have to do with it are added to `touched`.
    fn put(&mut self, path: &str, parsed: Option<Parsed>, touched: &mut BTreeSet<Key>) {
        let before = self.files.remove(path);
        for (key, _) in before.iter().flat_map(|before| &before.objects) {
            if let Some(homes) = self.homes.get_mut(key) {
                homes.remove(path);
            }
            touched.insert(key.clone());
        }
        self.wrong.remove(path);
        let Some(parsed) = parsed else { return };
        for (key, _) in &parsed.objects {
            self.homes.entry(key.clone()).or_default().insert(path.to_owned());
            touched.insert(key.clone());
        }
        if !parsed.findings.is_empty() || !parsed.stalled.is_empty() {
            self.wrong.insert(path.to_owned());
        }
        self.files.insert(path.to_owned(), Arc::new(parsed));
    }

    /// Which of these objects are otherwise than before; of two with the same name the one in the first file counts.
    fn resolve(&mut self, touched: BTreeSet<Key>) -> Vec<ObjectChange> {
        let mut changes = Vec::new();
        for key in touched {
            let homes = self.homes.get(&key);
            let first = homes.and_then(|homes| self.files.get(homes.first()?));
            let object = first.and_then(|parsed| parsed.objects.iter().find(|(of, _)| *of == key)).map(|(_, object)| object.clone());
            // Twice in one file is twice too.
            let written: usize = homes.into_iter().flatten().filter_map(|path| self.files.get(path)).map(|parsed| parsed.count(&key)).sum();
            match written {
                0 | 1 => self.twice.remove(&key),
                _ => self.twice.insert(key.clone()),
            };
            if written == 0 {
                self.homes.remove(&key);
            }
            if object.as_ref() == self.objects.get(&key) {
                continue;
            }
            match &object {
                Some(object) => drop(self.objects.insert(key.clone(), object.clone())),
                None => drop(self.objects.remove(&key)),
            }
            changes.push((key, object));
        }
        changes
    }

    /// The objects, each once.
    pub fn objects(&self) -> &BTreeMap<Key, Arc<Object>> {
        &self.objects
    }

    /// The file that defines an object; of several the one that counts.
    pub fn home(&self, key: &Key) -> Option<&str> {
        self.homes.get(key)?.first().map(String::as_str)
    }

    /// The files that define an object.
    pub(crate) fn homes(&self, key: &Key) -> Vec<&str> {
        self.homes.get(key).into_iter().flatten().map(String::as_str).collect()
    }

    /// The files that define objects of a kind, one for each object.
    pub(crate) fn homes_of(&self, kind: Kind) -> impl Iterator<Item = &str> {
        let from = (kind, Name::new("", ""));
        let of = self.homes.range(from..).take_while(move |((of, _), _)| *of == kind);
        of.filter_map(|(_, homes)| homes.first().map(String::as_str))
    }

    /// What a file says.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(|parsed| parsed.text.as_str())
    }

    /// All files.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// The namespace of objects that name none.
    pub fn namespace(&self) -> &str {
        &self.setting.namespace
    }

    /// Whether an object stays as it was, since what its file says now is broken.
    pub(crate) fn is_stalled(&self, key: &Key) -> bool {
        let homes = self.homes.get(key).into_iter().flatten();
        homes.filter_map(|path| self.files.get(path)).any(|parsed| parsed.stalled.contains(key))
    }

    /// Objects that are in force as they were before, since what Git says now is broken, each with what is wrong.
    pub fn stalled(&self) -> impl Iterator<Item = (&Key, &Finding)> {
        let wrong = self.wrong.iter().filter_map(|path| self.files.get(path));
        wrong.flat_map(|parsed| parsed.stalled.iter().filter_map(|key| Some((key, parsed.reason(key)?))))
    }
}

impl Parsed {
    /// What is wrong with an object, or with the whole file.
    fn reason(&self, key: &Key) -> Option<&Finding> {
        let own = target(key);
        self.findings.iter().find(|finding| finding.object == own).or(self.findings.first())
    }

    fn count(&self, key: &Key) -> usize {
        self.objects.iter().filter(|(of, _)| of == key).count()
    }
}

/// A file from its bytes, or why these can't be had.
fn file(path: &str, bytes: Result<Vec<u8>, String>, before: Option<&Parsed>, setting: &Setting) -> Parsed {
    let finding = match bytes.map(String::from_utf8) {
        Ok(Ok(text)) => return parse(path, text, before, setting),
        Ok(Err(error)) => {
            let good = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
            let line = good.split('\n').next_back().unwrap_or_default();
            let place = Place { line: good.matches('\n').count() + 1, column: line.chars().count() + 1 };
            Finding::error("file", "", "the file is not UTF-8 text", "save it as UTF-8, or give it another suffix").at(path, place, line)
        }
        Err(error) => Finding::error("file", "", error, "see whether the file can be read").at(path, START, ""),
    };
    broken(String::new(), before, vec![finding])
}

fn target((kind, name): &Key) -> String {
    Target::parse(&format!("{}/{}", kind.as_str(), name.full())).map(|target| target.to_string()).unwrap_or_default()
}

/// A file that can't be read at all: everything it held stays as it was.
fn broken(text: String, before: Option<&Parsed>, findings: Vec<Finding>) -> Parsed {
    let objects = before.map(|before| before.objects.clone()).unwrap_or_default();
    let stalled = objects.iter().map(|(key, _)| key.clone()).collect();
    Parsed { text, objects, stalled, findings, ..Parsed::default() }
}

fn parse(path: &str, text: String, before: Option<&Parsed>, setting: &Setting) -> Parsed {
    if text.starts_with("version https://git-lfs.github.com/spec/") {
        let help = "keep manifests out of LFS: `git lfs untrack`, then commit the file itself";
        let finding = Finding::error("lfs-pointer", "", "this is a Git LFS pointer, not the file itself", help);
        let finding = finding.at(path, START, text.lines().next().unwrap_or_default());
        return broken(text, before, vec![finding]);
    }
    let (documents, errors) = yaml::parse(&text);
    let lines = Lines::new(&text);
    let mut parsed = Parsed::default();
    let mut core = Vec::new();
    for (number, node) in
        documents.iter().enumerate().flat_map(|(number, document)| items_of(document).into_iter().map(move |node| (number, node)))
    {
        match core_object::kind(node) {
            Some(kind) => match core_object::read(kind, node, number, &setting.core, &setting.namespace) {
                Ok(written) => core.push(written),
                // A line of it may have what nobody is to see.
                Err(findings) => parsed.findings.extend(findings.into_iter().map(|finding| {
                    let is_note = finding.code == "other-group";
                    let place = if is_note { node.find(&finding.path) } else { node.find_key(&finding.path) };
                    finding.at(path, place, if is_note { lines.get(place.line) } else { "" })
                })),
            },
            None => document((path, &lines, &setting.namespace), node, before, &mut parsed),
        }
    }
    if !core.is_empty() {
        parsed.core = Some(Arc::new(CoreFile::new(path, core, &documents)));
    }
    if !errors.is_empty() {
        // What a broken document held is not known: of this file everything stays as it was.
        let finding =
            |error: yaml::Error| Finding::error("yaml", "", error.message, error.help).at(path, error.place, lines.get(error.place.line));
        parsed.findings.extend(errors.into_iter().map(finding));
        return broken(text, before, parsed.findings);
    }
    parsed.text = text;
    parsed
}

/// The objects of a document: itself, or the items of a `List`.
pub(crate) fn items_of(node: &Node) -> Vec<&Node> {
    let is_list = node.text("kind").is_some_and(|kind| kind.ends_with("List"));
    match node.get("items").map(|items| &items.value) {
        Some(Tree::List(items)) if is_list => items.iter().collect(),
        _ => vec![node],
    }
}

/// Which object a document is, if it is one of ours.
pub(crate) fn named(node: &Node, namespace: &str) -> Option<Key> {
    let kind = Kind::ALL.iter().find(|kind| Some(kind.as_str()) == node.text("kind"))?;
    let metadata = node.get("metadata")?;
    Some((*kind, Name::new(metadata.text("namespace").unwrap_or(namespace), metadata.text("name")?)))
}

fn document((path, lines, namespace): (&str, &Lines<'_>, &str), node: &Node, before: Option<&Parsed>, parsed: &mut Parsed) {
    let mut add = |finding: Finding| {
        // What should not be there is seen at its name, what is wrong with a value at the value.
        let place = if finding.code == "unknown-field" { node.find_key(&finding.path) } else { node.find(&finding.path) };
        parsed.findings.push(finding.at(path, place, lines.get(place.line)));
    };
    let kind = match header::kind(node) {
        Ok(kind) => kind,
        Err(finding) => return add(*finding),
    };
    let key = named(node, namespace);
    let value = node.to_value();
    let mut findings = schema::check(kind, &value);
    if findings.is_empty()
        && let Some(key) = &key
    {
        match Object::from_value(kind, value) {
            Ok(object) => return parsed.objects.push((key.clone(), Arc::new(object))),
            Err(error) => findings.push(Finding::error("object", "spec", error.to_string(), "compare it with `evenkeel crds`")),
        }
    }
    let object = key.as_ref().map(target).unwrap_or_default();
    for finding in findings {
        add(Finding { object: object.clone(), ..finding });
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

    fn update(reader: &mut Reader, files: &[(&str, &str)]) -> usize {
        let id = |text: &str| Entry::Blob(hex::encode(<sha2::Sha256 as sha2::Digest>::digest(text)));
        let tree = files.iter().map(|(path, text)| ((*path).to_owned(), id(text))).collect();
        let contents: BTreeMap<&str, &str> = files.iter().copied().collect();
        reader.update(&tree, true, |path, _| Ok(contents[path].as_bytes().to_vec())).1
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
    fn what_changed_is_told_and_the_first_of_two_counts() {
        let mut reader = Reader::default();
        let mut change = |path: &str, entry: Entry, text: &str| {
            let (changes, _) = reader.update(&BTreeMap::from([(path.to_owned(), entry)]), false, |_, _| Ok(text.as_bytes().to_vec()));
            let shown = changes.iter().map(|((_, name), object)| format!("{name} {}", if object.is_some() { "is" } else { "gone" }));
            (
                shown.collect::<Vec<_>>().join(", "),
                reader
                    .findings()
                    .into_iter()
                    .map(|finding| format!("{} {}:{}", finding.code, finding.file, finding.line))
                    .collect::<Vec<_>>()
                    .join(", "),
            )
        };
        let of = |changed: &str, findings: &str| (changed.to_owned(), findings.to_owned());
        let blob = |id: &str| Entry::Blob(id.to_owned());
        assert_eq!(change("b.yaml", blob("1"), &device("x", "10.0.0.1")), of("x is", ""));
        assert_eq!(change("c.yaml", blob("2"), &device("x", "10.0.0.2")), of("", "duplicate-object c.yaml:3"));
        assert_eq!(
            change("a.yaml", blob("3"), &device("x", "10.0.0.3")),
            of("x is", "duplicate-object b.yaml:3, duplicate-object c.yaml:3")
        );
        assert_eq!(change("a.yaml", Entry::Gone, ""), of("x is", "duplicate-object c.yaml:3"));
        assert_eq!(change("b.yaml", Entry::Gone, ""), of("x is", ""));
        let twice = format!("{}---\n{}", device("y", "10.0.0.4"), device("y", "10.0.0.5"));
        assert_eq!(change("d.yaml", blob("4"), &twice), of("y is", "duplicate-object d.yaml:8"));
        assert_eq!(change("c.yaml", Entry::Left("a symbolic link".into()), ""), of("", "skipped c.yaml:1, duplicate-object d.yaml:8"));
        assert_eq!(change("c.yaml", Entry::Gone, ""), of("x gone", "duplicate-object d.yaml:8"));
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
            assert_eq!(reader.stalled().count(), 1);
            assert!(!reader.findings().is_empty());
        }
        update(&mut reader, &[("a.yaml", &a)]);
        assert!(reader.stalled().next().is_none() && reader.findings().is_empty());
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
