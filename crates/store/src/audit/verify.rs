//! Proving an exported log, offline.
//!
//! What is proven, with the public key at hand: every entry up to the last checkpoint is the one that was there when that
//! checkpoint was signed, in the same place, with none missing in between. Where a forger has changed an entry *and* its leaf hash,
//! the entries from the checkpoint before it to the one after it are named: at most 256, or those of one transaction. Cutting off the
//! tail *together with* its checkpoints can only be seen with a checkpoint that was kept elsewhere; keep one.
//!
//! An export is read once, in pieces of a bounded size; reading and hashing lines is spread over the processors.

use std::collections::VecDeque;
use std::io::{BufRead, Read as _};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use serde::{Deserialize, Serialize};

use super::checkpoint::{Checkpoint, ORIGIN, PublicKey};
use super::tree::{self, Frontier, Hash};

#[cfg(test)]
mod tests;

/// The longest line that is read: more than any entry has.
const MAX_LINE: u64 = 4 << 20;
/// Bytes that are handed out at once, and one line more.
const PIECE: usize = 256 << 10;
/// Threads that read and hash lines, at most; the tree itself grows in the caller's.
const THREADS: usize = 8;

/// The first line of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Name of the log.
    pub origin: String,
    /// Its verifier key; the one that is trusted must come from elsewhere.
    pub key: String,
}

/// One line of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Line {
    /// The first line.
    Header(Header),
    /// An entry, as the text that was hashed, and its leaf hash.
    Entry {
        /// Canonical JSON of the entry.
        text: String,
        /// Leaf hash in hexadecimal.
        leaf: String,
    },
    /// A checkpoint of what came before it.
    Checkpoint(String),
}

/// What came of verifying.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Entries read.
    pub entries: u64,
    /// Entries that the last good checkpoint covers.
    pub proven: u64,
    /// The first thing that is wrong.
    pub wrong: Option<String>,
}

/// Verifies an export against a key, and against a checkpoint that was kept elsewhere if there is one.
pub fn verify(export: impl BufRead, key: &PublicKey, kept: Option<&Checkpoint>) -> std::io::Result<Report> {
    let mut state = State { tree: Frontier::default(), proven: 0, lines: 0, key, kept };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS);
    let wrong = std::thread::scope(|scope| {
        let readers: Vec<Reader> = (0..threads)
            .map(|_| {
                let ((pieces, given), (done, read)) = (sync_channel(2), sync_channel(2));
                scope.spawn(move || read_pieces(&given, &done));
                Reader { pieces, read }
            })
            .collect();
        state.run(export, &readers)
    })?;
    Ok(state.report(wrong))
}

/// A thread that reads lines.
struct Reader {
    pieces: SyncSender<Vec<u8>>,
    read: Receiver<Vec<Seen>>,
}

/// What a line says.
enum Seen {
    Header(Header),
    Entry {
        index: u64,
        leaf: Hash,
    },
    Checkpoint(String),
    /// The entry does not fit its own hash.
    Unfit,
    /// An entry that can't be read.
    Unread(String),
    /// A line that can't be read.
    Broken(String),
}

fn read_pieces(given: &Receiver<Vec<u8>>, done: &SyncSender<Vec<Seen>>) {
    for piece in given {
        let lines = piece.split_inclusive(|byte| *byte == b'\n').map(see).collect();
        if done.send(lines).is_err() {
            return;
        }
    }
}

fn see(line: &[u8]) -> Seen {
    if line.len() as u64 > MAX_LINE {
        return Seen::Broken(format!("it is longer than {MAX_LINE} bytes"));
    }
    match serde_json::from_slice(line) {
        Err(error) => Seen::Broken(error.to_string()),
        Ok(Line::Header(header)) => Seen::Header(header),
        Ok(Line::Checkpoint(note)) => Seen::Checkpoint(note),
        Ok(Line::Entry { text, leaf }) => {
            let hash = tree::leaf(text.as_bytes());
            let mut given = Hash::default();
            match index(&text) {
                Err(error) => Seen::Unread(error.to_string()),
                Ok(_) if hex::decode_to_slice(&leaf, &mut given).is_err() || given != hash => Seen::Unfit,
                Ok(index) => Seen::Entry { index, leaf: hash },
            }
        }
    }
}

/// An entry's index; that the rest is whole is what its hash says.
fn index(text: &str) -> Result<u64, serde_json::Error> {
    #[derive(Deserialize)]
    struct Numbered {
        index: u64,
    }
    // It is the first field: no need to read on.
    let first = text.strip_prefix("{\"index\":").and_then(|rest| rest.split_once(',')?.0.parse().ok());
    first.map_or_else(|| serde_json::from_str(text).map(|Numbered { index }| index), Ok)
}

struct State<'a> {
    tree: Frontier,
    proven: u64,
    lines: u64,
    key: &'a PublicKey,
    kept: Option<&'a Checkpoint>,
}

impl State<'_> {
    /// Hands pieces out in turn and takes what was read in the same turn, so that lines stay in order.
    fn run(&mut self, mut export: impl BufRead, readers: &[Reader]) -> std::io::Result<Option<String>> {
        let mut waiting = VecDeque::new();
        let mut turns = readers.iter().cycle();
        loop {
            let piece = piece(&mut export)?;
            let at_end = piece.is_empty();
            if let Some(reader) = turns.next().filter(|_| !at_end) {
                // A reader lives as long as its channel.
                let _ = reader.pieces.send(piece);
                waiting.push_back(reader);
            }
            while waiting.len() >= readers.len() * 2 || (at_end && !waiting.is_empty()) {
                let seen = waiting.pop_front().and_then(|reader| reader.read.recv().ok()).unwrap_or_default();
                for line in seen {
                    if let Err(wrong) = self.line(line) {
                        return Ok(Some(wrong));
                    }
                }
            }
            if at_end {
                return Ok(self.end().err());
            }
        }
    }

    fn report(&self, wrong: Option<String>) -> Report {
        Report { entries: self.tree.size(), proven: self.proven, wrong }
    }

    fn line(&mut self, line: Seen) -> Result<(), String> {
        self.lines += 1;
        let (number, expected) = (self.lines, self.tree.size());
        match line {
            Seen::Broken(error) => Err(format!("line {number} is damaged, after entry {}: {error}", self.last())),
            Seen::Header(header) if number == 1 => self.header(&header),
            _ if number == 1 => Err("the first line is not a header".into()),
            Seen::Header(_) => Err(format!("line {number}, after entry {}: a second header was inserted", self.last())),
            Seen::Unread(error) => Err(format!("entry {expected} was changed: {error}")),
            Seen::Unfit => Err(format!("entry {expected} was changed: its text does not fit its hash")),
            Seen::Entry { index, leaf } => self.entry(index, leaf),
            Seen::Checkpoint(note) => self.checkpoint(&note),
        }
    }

    fn header(&self, header: &Header) -> Result<(), String> {
        if header.origin != ORIGIN {
            return Err(format!("the export is of another log: {}", header.origin));
        }
        if header.key.trim() != self.key.to_text() {
            return Err("the export names another key than the one that is trusted".into());
        }
        Ok(())
    }

    fn entry(&mut self, index: u64, leaf: Hash) -> Result<(), String> {
        let expected = self.tree.size();
        if index > expected {
            return Err(format!("entry {expected} is missing, entry {index} stands in its place: removed, or put in another order"));
        }
        if index < expected {
            return Err(format!("entry {index} stands where entry {expected} should: inserted, repeated, or put in another order"));
        }
        self.tree.push(leaf);
        match self.kept {
            Some(kept) if kept.size == self.tree.size() && kept.root != self.tree.root() => {
                Err(self.forged("the checkpoint that was kept"))
            }
            _ => Ok(()),
        }
    }

    fn checkpoint(&mut self, note: &str) -> Result<(), String> {
        let (lines, last) = (self.lines, self.last());
        let checkpoint = Checkpoint::open(note, self.key).map_err(|error| format!("line {lines}, after entry {last}: {error}"))?;
        if checkpoint.size > self.tree.size() {
            return Err(format!("entries {} to {} were removed: a checkpoint counts them", self.tree.size(), checkpoint.size - 1));
        }
        if checkpoint.size < self.tree.size() {
            let first = checkpoint.size;
            return Err(format!("entry {first} stands before a checkpoint that does not count it: inserted, or put in another order"));
        }
        if checkpoint.root != self.tree.root() {
            return Err(self.forged("the checkpoint after it"));
        }
        self.proven = checkpoint.size;
        Ok(())
    }

    fn forged(&self, by: &str) -> String {
        let (first, last) = (self.proven, self.tree.size().saturating_sub(1));
        if first == last {
            format!("entry {first} was changed together with its hash: {by} says otherwise")
        } else {
            format!("entry {first} or one up to {last} was changed together with its hash: {by} says otherwise")
        }
    }

    fn end(&self) -> Result<(), String> {
        if self.lines == 0 {
            return Err("the export is empty".into());
        }
        if let Some(kept) = self.kept.filter(|kept| kept.size > self.tree.size()) {
            let (first, size) = (self.tree.size(), kept.size);
            return Err(format!("cut off at the tail: entry {first} is missing, the checkpoint that was kept counts {size}"));
        }
        if self.proven < self.tree.size() {
            let (first, last) = (self.proven, self.last());
            return Err(format!(
                "no checkpoint covers what is from entry {first} on: the log was cut off after entry {last}, or that was appended"
            ));
        }
        Ok(())
    }

    fn last(&self) -> String {
        self.tree.size().checked_sub(1).map_or("none".into(), |last| last.to_string())
    }
}

/// The next lines, as many as fit; of one that is too long no more than shows that it is.
fn piece(export: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut piece = Vec::with_capacity(PIECE + 1024);
    while piece.len() < PIECE {
        let read = export.by_ref().take(MAX_LINE + 1).read_until(b'\n', &mut piece)?;
        if read == 0 || read as u64 > MAX_LINE {
            break;
        }
    }
    Ok(piece)
}
