//! Two trees of a repository, compared: only folders whose ids differ are opened, so that the cost follows the change.
//!
//! What comes out depends on the two trees alone: the changes from one tree to the next, applied to what was known of the first,
//! give exactly what a reading of the whole second tree gives.

use std::collections::BTreeMap;

use git2::{Oid, Repository, TreeEntry};

use crate::folder::{MAX_DEPTH, is_yaml};

/// Entries that are looked at in one comparison. A few objects can stand for more paths than there are atoms.
const MAX_SEEN: usize = 4_000_000;
/// Files of one repository.
const MAX_FILES: usize = 500_000;

/// What became of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A manifest: its blob id.
    Blob(String),
    /// It is left out: why.
    Left(String),
    /// It was there, and is not any more.
    Gone,
}

/// Why two trees can't be compared.
#[derive(Debug)]
pub(super) enum Error {
    /// An object is missing or damaged.
    Object(git2::Error),
    /// There is too much.
    TooMany(String),
}

impl From<git2::Error> for Error {
    fn from(error: git2::Error) -> Self {
        Self::Object(error)
    }
}

/// What changed from one tree to another; without the first, all of the second. Manifests are files whose names say that they are
/// YAML; what is hidden is left alone.
pub(super) fn compare(repository: &Repository, old: Option<Oid>, new: Oid) -> Result<BTreeMap<String, Entry>, Error> {
    let mut comparison = Comparison { repository, changed: BTreeMap::new(), seen: 0 };
    if old != Some(new) {
        comparison.folder("", old, Some(new), 0)?;
    }
    Ok(comparison.changed)
}

struct Comparison<'a> {
    repository: &'a Repository,
    changed: BTreeMap<String, Entry>,
    seen: usize,
}

#[derive(PartialEq, Eq)]
enum Kind {
    Folder(Oid),
    Item(Entry),
}

impl Comparison<'_> {
    fn folder(&mut self, path: &str, old: Option<Oid>, new: Option<Oid>, depth: usize) -> Result<(), Error> {
        let mut both: BTreeMap<String, (Option<Kind>, Option<Kind>)> = BTreeMap::new();
        for (tree, is_new) in [(old, false), (new, true)] {
            let Some(tree) = tree else { continue };
            let tree = self.repository.find_tree(tree)?;
            self.seen += tree.len();
            if self.seen > MAX_SEEN {
                return Err(Error::TooMany(format!("more than {MAX_SEEN} entries")));
            }
            for entry in &tree {
                let Some((name, kind)) = kind(&entry, depth) else { continue };
                let slot = both.entry(name).or_default();
                *(if is_new { &mut slot.1 } else { &mut slot.0 }) = Some(kind);
            }
        }
        for (name, (old, new)) in both {
            if old != new {
                self.entry(format!("{path}{name}"), old.as_ref(), new, depth)?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, path: String, old: Option<&Kind>, new: Option<Kind>, depth: usize) -> Result<(), Error> {
        let was_item = matches!(old, Some(Kind::Item(_)));
        let folder = |kind: Option<&Kind>| match kind {
            Some(Kind::Folder(id)) => Some(*id),
            _ => None,
        };
        let (before, now) = (folder(old), folder(new.as_ref()));
        if before.or(now).is_some() {
            self.folder(&format!("{path}/"), before, now, depth + 1)?;
        }
        match new {
            Some(Kind::Item(item)) => self.changed.insert(path, item),
            _ if was_item => self.changed.insert(path, Entry::Gone),
            _ => None,
        };
        if self.changed.len() > MAX_FILES {
            return Err(Error::TooMany(format!("more than {MAX_FILES} manifests")));
        }
        Ok(())
    }
}

/// What an entry is to us, under a name that can be shown; `None` if it is nothing to us.
fn kind(entry: &TreeEntry<'_>, depth: usize) -> Option<(String, Kind)> {
    let bytes = entry.name_bytes();
    let (name, is_clean) = printable(bytes);
    let left = |why: &str| Some((name.clone(), Kind::Item(Entry::Left(why.to_owned()))));
    let looks_like_yaml = is_yaml(&String::from_utf8_lossy(bytes));
    match entry.filemode_raw() & 0o170_000 {
        _ if bytes.first() == Some(&b'.') => None,
        0o040_000 if !is_clean => left("a folder whose name is not plain UTF-8 text"),
        0o040_000 if depth + 1 >= MAX_DEPTH => left(&format!("folders are nested more than {MAX_DEPTH} deep")),
        0o040_000 => Some((name, Kind::Folder(entry.id()))),
        0o160_000 => left("a submodule: submodules are not fetched"),
        0o120_000 if looks_like_yaml => left("a symbolic link: links are not followed"),
        0o100_000 if looks_like_yaml && !is_clean => left("its name is not plain UTF-8 text"),
        0o100_000 if looks_like_yaml => Some((name, Kind::Item(Entry::Blob(entry.id().to_string())))),
        _ => None,
    }
}

/// A name as it is, or escaped where it could be mistaken for another one or do something to a terminal. No two names look alike:
/// whatever is escaped has a backslash, and no clean name has one.
fn printable(name: &[u8]) -> (String, bool) {
    match std::str::from_utf8(name) {
        Ok(text) if !text.chars().any(|c| c.is_control() || matches!(c, '/' | '\\')) => (text.to_owned(), true),
        _ => (name.escape_ascii().to_string().replace('/', "\\x2f"), false),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, prop_assert_eq, proptest};

    use super::*;

    const FILE: i32 = 0o100_644;
    const FOLDER: i32 = 0o040_000;

    fn repository() -> (tempfile::TempDir, Repository) {
        let home = tempfile::tempdir().unwrap();
        let repository = Repository::init_bare(home.path()).unwrap();
        // Objects in memory: thousands of small files would be slow.
        let odb = repository.odb().unwrap();
        odb.add_new_mempack_backend(1000).unwrap();
        drop(odb);
        (home, repository)
    }

    fn tree(repository: &Repository, entries: &[(&[u8], Oid, i32)]) -> Oid {
        // Written as bytes: libgit2's builder would refuse the names that only an attacker gives.
        let mut entries = entries.to_vec();
        entries.sort_by_key(|(name, _, mode)| [*name, if *mode == FOLDER { &b"/"[..] } else { b"" }].concat());
        let line = |(name, id, mode): &(&[u8], Oid, i32)| [format!("{mode:o} ").as_bytes(), *name, b"\0", id.as_bytes()].concat();
        let bytes: Vec<u8> = entries.iter().flat_map(line).collect();
        repository.odb().unwrap().write(git2::ObjectType::Tree, &bytes).unwrap()
    }

    /// A tree of files; `a/b.yaml` is a file in a folder.
    fn files(repository: &Repository, files: &BTreeMap<String, String>) -> Oid {
        let mut folders: BTreeMap<&str, BTreeMap<String, String>> = BTreeMap::new();
        let mut entries = Vec::new();
        for (path, content) in files {
            match path.split_once('/') {
                Some((folder, rest)) => _ = folders.entry(folder).or_default().insert(rest.to_owned(), content.clone()),
                None => entries.push((path.as_bytes(), repository.blob(content.as_bytes()).unwrap(), FILE)),
            }
        }
        for (folder, inner) in &folders {
            entries.push((folder.as_bytes(), self::files(repository, inner), FOLDER));
        }
        tree(repository, &entries)
    }

    fn whole(repository: &Repository, id: Oid) -> BTreeMap<String, Entry> {
        compare(repository, None, id).unwrap()
    }

    #[test]
    fn only_changed_folders_are_opened() {
        let (_home, repository) = repository();
        let path = |at: usize| format!("{}/{}/{}.yaml", at % 10, at / 10 % 10, at / 100);
        let mut all: BTreeMap<String, String> = (0..1000).map(|at| (path(at), at.to_string())).collect();
        let old = files(&repository, &all);
        all.insert(path(123), "new".into());
        let new = files(&repository, &all);
        let mut comparison = Comparison { repository: &repository, changed: BTreeMap::new(), seen: 0 };
        comparison.folder("", Some(old), Some(new), 0).unwrap();
        assert_eq!(comparison.changed.keys().collect::<Vec<_>>(), [&path(123)]);
        // Three levels of ten entries, in both trees.
        assert_eq!(comparison.seen, 60);
    }

    #[test]
    fn names_that_only_an_attacker_gives_are_left_out() {
        let (_home, repository) = repository();
        let blob = repository.blob(b"a: 1\n").unwrap();
        let inner = tree(&repository, &[(b"a.yaml", blob, FILE)]);
        let names: [&[u8]; 5] = [b"\xff.yaml", b"a/b.yaml", b"a\\b.yaml", b"\x1b[2J.yaml", b"plain.yaml"];
        let mut entries: Vec<(&[u8], Oid, i32)> = names.iter().map(|name| (*name, blob, FILE)).collect();
        entries.extend([(&b".."[..], inner, FOLDER), (b"\xfe", inner, FOLDER), (b"link.yaml", blob, 0o120_000), (b"sub", blob, 0o160_000)]);
        let found = whole(&repository, tree(&repository, &entries));
        let blobs: Vec<&str> = found.iter().filter(|(_, entry)| matches!(entry, Entry::Blob(_))).map(|(path, _)| path.as_str()).collect();
        let left: Vec<&str> = found.iter().filter(|(_, entry)| matches!(entry, Entry::Left(_))).map(|(path, _)| path.as_str()).collect();
        assert_eq!(blobs, ["plain.yaml"]);
        assert_eq!(left, ["\\x1b[2J.yaml", "\\xfe", "\\xff.yaml", "a\\\\b.yaml", "a\\x2fb.yaml", "link.yaml", "sub"]);
    }

    #[test]
    fn depth_and_number_are_bounded() {
        let (_home, repository) = repository();
        let blob = repository.blob(b"a: 1\n").unwrap();
        let mut deep = tree(&repository, &[(b"a.yaml", blob, FILE)]);
        let mut bomb = deep;
        for _ in 0..100 {
            deep = tree(&repository, &[(b"d", deep, FOLDER)]);
        }
        let found = whole(&repository, deep);
        assert_eq!(found.len(), 1);
        assert!(matches!(found.values().next().unwrap(), Entry::Left(why) if why.contains("deep")), "{found:?}");
        for _ in 0..20 {
            let entries: Vec<(&[u8], Oid, i32)> =
                [b"a", b"b", b"c", b"d", b"e", b"f", b"g", b"h"].map(|name| (&name[..], bomb, FOLDER)).to_vec();
            bomb = tree(&repository, &entries);
        }
        assert!(matches!(compare(&repository, None, bomb), Err(Error::TooMany(what)) if what == "more than 500000 manifests"));
        // The same of what is no manifest.
        let names: Vec<String> = (0..10_000).map(|at| at.to_string()).collect();
        let wide = tree(&repository, &names.iter().map(|name| (name.as_bytes(), blob, FILE)).collect::<Vec<_>>());
        let bomb = tree(&repository, &names[..MAX_SEEN / 10_000].iter().map(|name| (name.as_bytes(), wide, FOLDER)).collect::<Vec<_>>());
        assert!(matches!(compare(&repository, None, bomb), Err(Error::TooMany(what)) if what == "more than 4000000 entries"));
    }

    fn any_files() -> impl Strategy<Value = BTreeMap<String, String>> {
        proptest::collection::btree_map("[ab](/[ab]){0,2}(\\.yaml)?", "[01]", 0..8).prop_map(|mut files| {
            // A name is a file or a folder, not both.
            let paths: Vec<String> = files.keys().cloned().collect();
            files.retain(|path, _| !paths.iter().any(|other| other.starts_with(&format!("{path}/"))));
            files
        })
    }

    proptest! {
        #![proptest_config(proptest::test_runner::Config { cases: 60, failure_persistence: None, ..Default::default() })]

        #[test]
        fn changes_lead_from_one_tree_to_the_other(old in any_files(), new in any_files()) {
            let (_home, repository) = repository();
            let (old, new) = (files(&repository, &old), files(&repository, &new));
            let mut state = whole(&repository, old);
            let changed = compare(&repository, Some(old), new).unwrap();
            for (path, entry) in changed {
                let before = match entry {
                    Entry::Gone => state.remove(&path),
                    entry => state.insert(path.clone(), entry),
                };
                prop_assert_eq!(before.as_ref() == state.get(&path), false, "{} did not change", path);
            }
            prop_assert_eq!(state, whole(&repository, new));
        }
    }
}
