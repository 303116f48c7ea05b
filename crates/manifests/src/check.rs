//! Manifests, read as a compiler reads code: everything that is wrong, in one run.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use reconcile::alerting::suppress::ended;
use reconcile::{Desired, Revision};

use crate::core_object::Core;
use crate::finding::Finding;
use crate::git::{self, Entry, Fetched, Source};
use crate::read::Reader;
use crate::{folder, in_files, update};

/// What manifests say, and what is wrong with them.
pub type Checked = (Desired, Vec<Finding>);

/// Checks a folder, or one file, as it is on disk. Files are named below `root` as it is given.
pub fn check(root: &Path) -> Result<Checked, String> {
    let named = if root.is_file() { root.parent().unwrap_or(root) } else { root };
    let named: PathBuf = named.components().filter(|part| *part != Component::CurDir).collect();
    let tree = folder::list(root)?;
    if tree.is_empty() {
        return Err(format!("there are no manifests (*.yaml, *.yml) in {}", root.display()));
    }
    let tree = tree.into_iter().map(|(path, entry)| (named.join(path).to_string_lossy().into_owned(), entry)).collect();
    let read = |path: &str, _: &str| folder::read(root, &Path::new(path).strip_prefix(&named).unwrap_or(Path::new(path)).to_string_lossy());
    Ok(all(&tree, read, Revision::default()))
}

/// Checks a commit of a repository on this machine, without checking it out; see [`git::read_commit`].
pub fn check_commit(path: &Path, rev: &str) -> Result<Checked, git::Error> {
    let (fetched, contents) = git::read_commit(path, rev)?;
    Ok(fetched_all(fetched, &contents))
}

/// Checks what a repository elsewhere has now.
pub async fn check_source(source: &Source) -> Result<Checked, git::Error> {
    let Some(fetched) = source.poll(None).await? else { return Err(git::Error::Empty(source.url())) };
    let ids = Reader::default().missing(&fetched.changed).map(str::to_owned).collect();
    let contents = source.blobs(ids).await?;
    Ok(fetched_all(fetched.from_root(source.path()), &contents))
}

fn fetched_all(fetched: Fetched, contents: &BTreeMap<String, Vec<u8>>) -> Checked {
    let read = |_: &str, id: &str| contents.get(id).cloned().ok_or_else(|| format!("blob {id} is missing"));
    all(&fetched.changed, read, fetched.revision)
}

fn all(tree: &BTreeMap<String, Entry>, read: impl FnMut(&str, &str) -> Result<Vec<u8>, String>, revision: Revision) -> Checked {
    let mut reader = Reader::default().with_core(Core::Checked);
    let (changes, _) = reader.update(tree, true, read);
    let (desired, _, mut findings) = update(&reader, changes, &Desired::default(), revision);
    findings.extend(reader.locate(&ended(&desired, jiff::Timestamp::now())));
    findings.sort_by(in_files);
    (desired, findings)
}
