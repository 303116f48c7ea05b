//! Lines of logs in files: compressed JSON lines, a segment after the other, each recorded in the audit log by its hash.
//!
//! ```text
//! lines in the order of their numbers ─► Writer: .tmp, fsync ─► its name, fsync of the folder ─► one transaction: how far lines are
//! archived, and an audit entry with the file's SHA-256
//! ```
//!
//! A segment's name has its first line and its hash in it: no file is ever written over by one that says something else. Killed before the
//! transaction, the file counts for nothing and its lines are written once more; whoever records a segment removes what else begins with
//! its first line.

mod read;
mod verify;
mod write;

use std::path::PathBuf;

use jiff::Timestamp;
use reconcile::record::Actor;

use crate::audit::Entry;

pub use read::{Select, lines, segments, segments_between};
pub use verify::{Proof, verify};
pub use write::{Writer, sweep, sweep_temporary};

/// Lines of one segment at most: some 30 MiB of what servers usually say.
pub const LINES: u64 = 100_000;
/// Bytes of one segment at most before it is compressed, with one line beyond. So many are read of one file, whatever is in it.
pub const BYTES: u64 = 64 << 20;
/// The longest line that is read: a message of 8 KiB with its fields, each character escaped, has some 100 KiB.
const LINE: u64 = 256 << 10;
/// The ends of the names of segments.
const SUFFIX: &str = ".jsonl.gz";
/// The verb of their audit entries.
const VERB: &str = "archive";

/// What can be wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or the folder.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file does not hold what a segment holds.
    #[error("{path}: {reason}")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// One segment, as its audit entry has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The file's name.
    pub name: String,
    /// The SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// The file's size.
    pub bytes: u64,
    /// How many lines it has.
    pub lines: u64,
    /// The number of the last line that was archived before it.
    pub after: u64,
    /// The number of its first line.
    pub first: u64,
    /// The number of its last line.
    pub last: u64,
    /// When the earliest of its lines came.
    pub from: Timestamp,
    /// When the latest of them came.
    pub to: Timestamp,
}

impl Segment {
    /// What the audit log has of it.
    pub(crate) fn entry(&self, at: Timestamp) -> Entry {
        let Self { name, sha256, bytes, lines, after, first, last, from, to } = self;
        let changes = [
            format!("sha256 {sha256}"),
            format!("bytes {bytes}"),
            format!("lines {lines}"),
            format!("after {after}"),
            format!("first {first}"),
            format!("last {last}"),
            format!("from {from}"),
            format!("to {to}"),
        ];
        Entry {
            index: 0,
            at,
            actor: Actor::engine(),
            verb: VERB.into(),
            target: format!("logs/{name}"),
            unit: String::new(),
            plan: String::new(),
            step: String::new(),
            changes: changes.into(),
            message: format!("{lines} lines of logs were archived"),
            outcome: "done".into(),
            refers_to: None,
        }
    }

    /// The segment that an entry is about, if it is about one.
    pub fn of(entry: &Entry) -> Option<Self> {
        let name = entry.target.strip_prefix("logs/").filter(|_| entry.verb == VERB)?;
        let get = |key: &str| entry.changes.iter().find_map(|change| change.strip_prefix(key)?.strip_prefix(' '));
        let number = |key: &str| get(key)?.parse().ok();
        Some(Self {
            name: name.to_owned(),
            sha256: get("sha256")?.to_owned(),
            bytes: number("bytes")?,
            lines: number("lines")?,
            after: number("after")?,
            first: number("first")?,
            last: number("last")?,
            from: get("from")?.parse().ok()?,
            to: get("to")?.parse().ok()?,
        })
    }
}

/// What all names of segments with this first line begin with.
fn beginning(first: u64) -> String {
    format!("logs-{first:012}-")
}

/// Whether a file could be a segment, by its name; anything else in the folder is let be.
fn is_segment(name: &str) -> bool {
    first_of(name).is_some()
}

/// The number of the first line, as a segment's name has it.
fn first_of(name: &str) -> Option<u64> {
    name.strip_suffix(SUFFIX)?.strip_prefix("logs-")?.split_once('-')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_says_all_of_a_segment() {
        let at = Timestamp::UNIX_EPOCH;
        let segment = Segment {
            name: "logs-000000000002-19700101T000000Z-0123456789abcdef.jsonl.gz".into(),
            sha256: "ab".repeat(32),
            bytes: 3,
            lines: 2,
            after: 0,
            first: 2,
            last: 7,
            from: at,
            to: at + jiff::SignedDuration::from_micros(1),
        };
        let entry = segment.entry(at);
        assert_eq!(Segment::of(&entry), Some(segment));
        assert_eq!(Segment::of(&Entry { verb: "apply".into(), ..entry }), None);
        assert_eq!(first_of("logs-000000000002-x.jsonl.gz"), Some(2));
        assert!(!is_segment("logs-2.jsonl.gz") && !is_segment("notes.txt") && !is_segment("logs-x-y.jsonl.gz"));
    }
}
