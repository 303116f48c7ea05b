//! Proving an exported log, offline.
//!
//! What is proven, with the public key at hand: every entry up to the last checkpoint is the one that was there when that
//! checkpoint was signed, in the same place, with none missing in between. A checkpoint is signed with every transaction, so
//! a forger who recomputes the leaf hashes too is found between two neighbouring checkpoints. Cutting off the tail *together with*
//! its checkpoints can only be seen with a checkpoint that was kept elsewhere; keep one.

use std::io::{BufRead, Read as _};

use serde::{Deserialize, Serialize};

use super::Entry;
use super::checkpoint::{Checkpoint, PublicKey};
use super::tree::{self, Frontier};

/// The longest line that is read.
const MAX_LINE: u64 = 4 << 20;

/// The first line of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Name of the log.
    pub origin: String,
    /// Its verifier key; the one that is trusted must come from elsewhere.
    pub key: String,
}

/// One line of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
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
    let mut state = State { tree: Frontier::default(), proven: 0, key, kept, last_good: 0 };
    let mut reader = export;
    let mut number = 0_u64;
    loop {
        let mut line = String::new();
        if reader.by_ref().take(MAX_LINE).read_line(&mut line)? == 0 {
            break;
        }
        number += 1;
        if let Err(wrong) = state.line(line.trim_end(), number) {
            return Ok(state.report(Some(wrong)));
        }
    }
    let wrong = state.end().err();
    Ok(state.report(wrong))
}

struct State<'a> {
    tree: Frontier,
    proven: u64,
    key: &'a PublicKey,
    kept: Option<&'a Checkpoint>,
    last_good: u64,
}

impl State<'_> {
    fn report(&self, wrong: Option<String>) -> Report {
        Report { entries: self.tree.size(), proven: self.proven, wrong }
    }

    fn line(&mut self, line: &str, number: u64) -> Result<(), String> {
        let line: Line =
            serde_json::from_str(line).map_err(|error| format!("line {number} is damaged, after entry {}: {error}", self.last()))?;
        match line {
            Line::Header(header) if number == 1 => {
                if header.key.trim() == self.key.to_text() {
                    Ok(())
                } else {
                    Err("the export names another key than the one that is trusted".into())
                }
            }
            _ if number == 1 => Err("the first line is not a header".into()),
            Line::Header(_) => Err(format!("line {number}: a second header was inserted")),
            Line::Entry { text, leaf } => self.entry(&text, &leaf),
            Line::Checkpoint(note) => self.checkpoint(&note, number),
        }
    }

    fn entry(&mut self, text: &str, leaf: &str) -> Result<(), String> {
        let expected = self.tree.size();
        let entry: Entry = serde_json::from_str(text).map_err(|error| format!("entry {expected} was changed: {error}"))?;
        if entry.index > expected {
            return Err(format!("entry {expected} was removed: entry {} follows {}", entry.index, self.last()));
        }
        if entry.index < expected {
            return Err(format!("entry {} stands where entry {expected} should: inserted, repeated or reordered", entry.index));
        }
        let hash = tree::leaf(text.as_bytes());
        if hex::encode(hash) != leaf {
            return Err(format!("entry {expected} was changed: its text does not fit its hash"));
        }
        self.tree.push(hash);
        if let Some(kept) = self.kept.filter(|kept| kept.size == self.tree.size())
            && kept.root != self.tree.root()
        {
            return Err(self.forged("the checkpoint that was kept"));
        }
        Ok(())
    }

    fn checkpoint(&mut self, note: &str, number: u64) -> Result<(), String> {
        let checkpoint =
            Checkpoint::open(note, self.key).map_err(|error| format!("line {number}, after entry {}: {error}", self.last()))?;
        if checkpoint.size > self.tree.size() {
            return Err(format!("entries {} to {} were removed: a checkpoint counts them", self.tree.size(), checkpoint.size - 1));
        }
        if checkpoint.size < self.tree.size() {
            return Err(format!("entry {} stands before a checkpoint that does not count it: inserted or reordered", checkpoint.size));
        }
        if checkpoint.root != self.tree.root() {
            return Err(self.forged("the checkpoint after it"));
        }
        self.proven = checkpoint.size;
        self.last_good = checkpoint.size;
        Ok(())
    }

    fn forged(&self, by: &str) -> String {
        let (first, last) = (self.last_good, self.tree.size().saturating_sub(1));
        if first == last {
            format!("entry {first} was changed together with its hash: {by} says otherwise")
        } else {
            format!("entry {first} or one up to {last} was changed together with its hash: {by} says otherwise")
        }
    }

    fn end(&mut self) -> Result<(), String> {
        if let Some(kept) = self.kept.filter(|kept| kept.size > self.tree.size()) {
            return Err(format!(
                "cut off at the tail: entry {} is missing, the checkpoint that was kept counts {}",
                self.tree.size(),
                kept.size
            ));
        }
        if self.proven < self.tree.size() {
            return Err(format!("entry {} and what follows is covered by no checkpoint: cut off or appended", self.proven));
        }
        Ok(())
    }

    fn last(&self) -> String {
        self.tree.size().checked_sub(1).map_or("none".into(), |last| last.to_string())
    }
}
