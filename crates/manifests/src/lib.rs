//! Git and YAML: fetch a revision, verify its signature, read changed files into the kinds.

mod check;
pub mod core_object;
pub mod edit;
pub mod finding;
pub mod folder;
pub mod git;
mod header;
pub mod read;
mod schema;
pub mod sops;
pub mod verify;
pub mod yaml;

use reconcile::finding::Severity;
use reconcile::{Changed, Desired, Revision, Target};

pub use check::{Checked, check, check_commit, check_source};

use finding::Finding;
use read::{ObjectChange, Reader};

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

/// What is wrong with an object by itself, by the schema and the rules of its kind.
pub fn faults(kind: crds::Kind, object: &serde_json::Value) -> Vec<Finding> {
    schema::check(kind, object)
}

/// Everything that is wrong with what was read, in the order of the files.
pub fn findings(reader: &Reader, desired: &Desired) -> Vec<Finding> {
    let mut findings = reader.findings();
    findings.extend(reader.locate(&desired.findings()));
    findings.sort_by(in_files);
    findings
}

fn in_files(a: &Finding, b: &Finding) -> std::cmp::Ordering {
    (&a.file, a.line, a.column, &a.code).cmp(&(&b.file, b.line, b.column, &b.code))
}
