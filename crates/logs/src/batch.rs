//! Lines on their way from the network: their cleaned text in one buffer, parsed where they are used.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

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

/// A line on its way from one replica to another.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Handed {
    /// When it came, in microseconds since 1970.
    at: i64,
    from: IpAddr,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certificate: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    read_on: Option<String>,
    #[serde(default)]
    flags: u16,
    text: String,
}

impl Handed {
    fn of(entry: &Entry, text: &str) -> Self {
        Self {
            at: entry.received.as_microsecond(),
            from: entry.peer.address,
            certificate: entry.peer.certificate.as_deref().map(str::to_owned),
            read_on: entry.read_on.as_deref().map(str::to_owned),
            flags: entry.flags.bits(),
            text: text.to_owned(),
        }
    }
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

    /// As JSON text, for whoever takes them over.
    pub fn to_document(&self) -> String {
        let starts = std::iter::once(0).chain(self.entries.iter().map(|entry| entry.end));
        let lines: Vec<Handed> = starts.zip(&self.entries).map(|(start, entry)| Handed::of(entry, &self.text[start..entry.end])).collect();
        serde_json::to_string(&lines).unwrap_or_default()
    }

    /// From that. Nothing came later than now, whatever clock its taker had.
    pub fn from_document(text: &str, now: Timestamp) -> Result<Self, serde_json::Error> {
        let mut batch = Self::default();
        for line in serde_json::from_str::<Vec<Handed>>(text)? {
            let peer = Peer { address: line.from, certificate: line.certificate.map(Into::into) };
            let received = Timestamp::from_microsecond(line.at).unwrap_or(now).min(now);
            batch.take(line.text.as_bytes(), &peer, received, line.read_on.map(Into::into));
            if let Some(entry) = batch.entries.last_mut() {
                entry.flags |= Flags::from_bits(line.flags);
            }
        }
        Ok(batch)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_over_is_what_came() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let later = Timestamp::from_second(1_800_000_009).unwrap();
        let mut batch = Batch::default();
        let peer = Peer { address: "192.0.2.1".parse().unwrap(), certificate: Some("web-01".into()) };
        batch.push(b"<13>Jan  1 00:00:00 web-01 app: one\x07 two", &peer, now);
        batch.push_read(b"<13>1 - - app - - - read", &"default/web-02".into(), "::1".parse().unwrap(), later);
        let back = Batch::from_document(&batch.to_document(), now).unwrap();
        let seen = |batch: &Batch| {
            let of = |line: Received<'_>| (line.peer.clone(), line.read_on.cloned(), line.line.message.to_owned(), line.line.flags.bits());
            batch.lines(0).map(of).collect::<Vec<_>>()
        };
        assert_eq!(seen(&back), seen(&batch));
        assert!(back.lines(0).all(|line| line.received == now), "nothing comes from the future");
        assert!(Batch::from_document("[{}]", now).is_err());
        assert!(Batch::from_document("[]", now).unwrap().is_empty());
    }
}
