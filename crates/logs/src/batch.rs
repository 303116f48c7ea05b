//! Lines on their way from the network: their cleaned text in one buffer, parsed where they are used.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;

use crate::clean;
use crate::line::{Flags, Line};
use crate::parse::{Around, parse};

/// Lines in one batch at most: what one transaction of the store takes well.
pub const LINES: usize = 1000;
/// Bytes of text in one batch at most, with one line beyond: 64 of them are in the queue.
pub const BYTES: usize = 1 << 20;

/// Who sent a line, as the network knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address; IPv4 in IPv6 is IPv4.
    pub address: IpAddr,
    /// The first DNS name of its certificate, which a CA of ours signed.
    pub certificate: Option<Arc<str>>,
}

/// Lines of one or several senders, in the order in which they came.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    text: String,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    end: usize,
    flags: Flags,
    received: Timestamp,
    peer: Peer,
    read_on: Option<Arc<str>>,
}

/// A line with who sent it and when it came.
#[derive(Clone, Debug)]
pub struct Received<'b> {
    /// Who sent it.
    pub peer: &'b Peer,
    /// When it came.
    pub received: Timestamp,
    /// The device on which we read it ourselves; none: it was sent.
    pub read_on: Option<&'b Arc<str>>,
    /// What it says.
    pub line: Line<'b>,
}

impl Batch {
    /// Adds a line's bytes, and says what was done to them.
    pub fn push(&mut self, bytes: &[u8], peer: &Peer, received: Timestamp) -> Flags {
        self.take(bytes, peer, received, None)
    }

    /// Adds a line that we read on a device ourselves: whose it is needs no proof.
    pub fn push_read(&mut self, bytes: &[u8], device: &Arc<str>, address: IpAddr, received: Timestamp) -> Flags {
        self.take(bytes, &Peer { address, certificate: None }, received, Some(device.clone()))
    }

    fn take(&mut self, bytes: &[u8], peer: &Peer, received: Timestamp, read_on: Option<Arc<str>>) -> Flags {
        let flags = clean::append(bytes, &mut self.text);
        self.entries.push(Entry { end: self.text.len(), flags, received, peer: peer.clone(), read_on });
        flags
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether nothing more should be added.
    pub fn is_full(&self) -> bool {
        self.entries.len() >= LINES || self.text.len() >= BYTES
    }

    /// Its lines, parsed; clocks that do not name their zone are taken to be so many seconds east of Greenwich.
    pub fn lines(&self, offset: i32) -> impl Iterator<Item = Received<'_>> {
        let starts = std::iter::once(0).chain(self.entries.iter().map(|entry| entry.end));
        starts.zip(&self.entries).map(move |(start, entry)| {
            let mut line = parse(&self.text[start..entry.end], &Around { received: entry.received, offset });
            line.flags |= entry.flags;
            if entry.read_on.is_some() {
                // It was not under way since then, it waited to be read.
                line.flags = line.flags.without(Flags::CLOCK_OFF);
            }
            Received { peer: &entry.peer, received: entry.received, read_on: entry.read_on.as_ref(), line }
        })
    }
}
