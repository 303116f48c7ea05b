//! Git and YAML: fetch a revision, verify its signature, read changed files into the kinds.

pub mod finding;
pub mod folder;
pub mod git;
pub mod read;
mod schema;
pub mod verify;
pub mod yaml;

use std::path::Path;

use reconcile::{Desired, Revision};

use finding::Finding;
use read::Reader;

/// Checks the manifests of a folder as the engine would read them: everything that is wrong, in one run.
pub fn check(root: &Path) -> Result<(Desired, Vec<Finding>), String> {
    let tree = folder::list(root)?;
    let mut reader = Reader::default();
    reader.update(&tree, |path, _| folder::read(root, path));
    Ok(build(&reader, Revision::default()))
}

/// Desired state from what was read, with everything that is wrong with it.
pub fn build(reader: &Reader, revision: Revision) -> (Desired, Vec<Finding>) {
    let (desired, found) = Desired::build(reader.objects().into_values(), revision);
    let mut findings = reader.findings();
    findings.extend(reader.locate(&found));
    findings.sort_by(|a, b| (&a.file, a.line, a.column, &a.code).cmp(&(&b.file, b.line, b.column, &b.code)));
    (desired, findings)
}
