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
    let mut reader = Reader::default();
    let (changes, _) = reader.update(&folder::list(root)?, true, |path, _| folder::read(root, path));
    let (desired, _) = Desired::default().update(changes, Revision::default());
    let findings = findings(&reader, &desired);
    Ok((desired, findings))
}

/// Everything that is wrong with what was read, in the order of the files.
pub fn findings(reader: &Reader, desired: &Desired) -> Vec<Finding> {
    let mut findings = reader.findings();
    findings.extend(reader.locate(&desired.findings()));
    findings.sort_by(|a, b| (&a.file, a.line, a.column, &a.code).cmp(&(&b.file, b.line, b.column, &b.code)));
    findings
}
