//! Proving an archive, offline: against an export of the audit log and the key that signed it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::{Error, Segment, first_of, segments};
use crate::audit::checkpoint::{Checkpoint, PublicKey};
use crate::audit::{Entry, Line, verify as verify_log};

/// The longest line of an export that is read: more than any entry has.
const EXPORT_LINE: u64 = 4 << 20;

/// What came of verifying an archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// Segments that are those that were recorded.
    pub proven: u64,
    /// Their lines.
    pub lines: u64,
    /// What is wrong, by segment.
    pub wrong: Vec<String>,
    /// What should be known, and is nobody's doing.
    pub notes: Vec<String>,
}

/// Verifies the segments in a folder against an export. Those of which no line came since then, in microseconds, may be missing.
pub fn verify(folder: &Path, export: &Path, key: &PublicKey, kept: Option<&Checkpoint>, since: Option<i64>) -> Result<Proof, Error> {
    let failed = |source| Error::File { path: export.to_owned(), source };
    let open = || File::open(export).map(BufReader::new).map_err(failed);
    let report = verify_log(open()?, key, kept).map_err(failed)?;
    if let Some(wrong) = report.wrong {
        return Err(Error::Damaged { path: export.to_owned(), reason: wrong });
    }
    let mut proof = Proof::default();
    let mut recorded: BTreeMap<String, Segment> = BTreeMap::new();
    let mut last = 0;
    for segment in read_export(open()?).map_err(failed)? {
        if segment.after != last {
            proof.wrong.push(format!("{}: it does not go on where the segment before it ends, at line {last}", segment.name));
        }
        if segment.first > segment.after + 1 {
            let (from, to) = (segment.after + 1, segment.first - 1);
            proof.notes.push(format!("lines {from} to {to} were removed before they were archived, as there was no room"));
        }
        last = segment.last;
        recorded.insert(segment.name.clone(), segment);
    }
    let there = segments(folder)?;
    for name in &there {
        match recorded.get(name) {
            Some(segment) => match holds(&folder.join(name), segment)? {
                Some(wrong) => proof.wrong.push(format!("{name}: {wrong}")),
                None => {
                    proof.proven += 1;
                    proof.lines += segment.lines;
                }
            },
            None if first_of(name).is_some_and(|first| first > last) => {
                proof.notes.push(format!("{name}: written after the export, or never recorded as the engine was killed"));
            }
            None => proof.wrong.push(format!("{name}: the audit log does not know it")),
        }
    }
    for segment in recorded.values().filter(|segment| !there.contains(&segment.name)) {
        if since.is_none_or(|since| segment.to.as_microsecond() >= since) {
            proof.wrong.push(format!(
                "{}: it is missing, with {} lines from {:.0} to {:.0}",
                segment.name, segment.lines, segment.from, segment.to
            ));
        }
    }
    Ok(proof)
}

/// The segments that an export tells of; that it is whole was seen before.
fn read_export(mut export: impl std::io::BufRead) -> std::io::Result<Vec<Segment>> {
    let mut found = Vec::new();
    let mut text = Vec::new();
    loop {
        text.clear();
        if export.by_ref().take(EXPORT_LINE).read_until(b'\n', &mut text)? == 0 {
            return Ok(found);
        }
        if let Ok(Line::Entry { text, .. }) = serde_json::from_slice(&text)
            && let Ok(entry) = serde_json::from_str::<Entry>(&text)
        {
            found.extend(Segment::of(&entry));
        }
    }
}

/// What is wrong with a file, if it is not the one that was recorded.
fn holds(path: &Path, segment: &Segment) -> Result<Option<String>, Error> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    if bytes != segment.bytes {
        let what = if bytes < segment.bytes { "cut off" } else { "changed" };
        return Ok(Some(format!("it was {what}: it has {bytes} bytes, and {} were recorded", segment.bytes)));
    }
    let (mut hash, mut piece) = (Sha256::new(), vec![0; 64 << 10]);
    loop {
        match file.read(&mut piece).map_err(failed)? {
            0 => break,
            read => hash.update(&piece[..read]),
        }
    }
    let hash = hex::encode(hash.finalize());
    Ok((hash != segment.sha256).then(|| format!("it was changed: its SHA-256 is {hash}, and {} was recorded", segment.sha256)))
}
