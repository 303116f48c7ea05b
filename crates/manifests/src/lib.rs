//! Git and YAML: fetch a revision, verify its signature, read changed files into the kinds.

pub mod finding;
pub mod folder;
pub mod git;
pub mod read;
mod schema;
pub mod verify;
pub mod yaml;

use std::path::Path;

use reconcile::finding::Severity;
use reconcile::{Changed, Desired, Revision, Target};

use finding::Finding;
use read::{ObjectChange, Reader};

/// Checks the manifests of a folder as the engine would read them: everything that is wrong, in one run.
pub fn check(root: &Path) -> Result<(Desired, Vec<Finding>), String> {
    let mut reader = Reader::default();
    let (changes, _) = reader.update(&folder::list(root)?, true, |path, _| folder::read(root, path));
    let (desired, _, findings) = update(&reader, changes, &Desired::default(), Revision::default());
    Ok((desired, findings))
}

/// Desired state after what the reader says that changed, what that changed, and everything that is wrong with it.
pub fn update(reader: &Reader, changes: Vec<ObjectChange>, before: &Desired, revision: Revision) -> (Desired, Changed, Vec<Finding>) {
    let (mut desired, changed) = before.update(changes, revision);
    let findings = findings(reader, &desired);
    let why = |finding: &Finding| format!("{}:{}: {}", finding.file, finding.line, finding.message);
    for ((kind, name), finding) in reader.stalled() {
        desired.stalled.entry(Target::of(*kind, name.clone())).or_insert_with(|| why(finding));
    }
    for finding in findings.iter().filter(|finding| finding.severity == Severity::Error) {
        if let Some(target) = Target::parse(&finding.object) {
            desired.stalled.entry(target).or_insert_with(|| why(finding));
        }
    }
    (desired, changed, findings)
}

/// Everything that is wrong with what was read, in the order of the files.
fn findings(reader: &Reader, desired: &Desired) -> Vec<Finding> {
    let mut findings = reader.findings();
    findings.extend(reader.locate(&desired.findings()));
    findings.sort_by(|a, b| (&a.file, a.line, a.column, &a.code).cmp(&(&b.file, b.line, b.column, &b.code)));
    findings
}
