//! The part of Git's protocol that a follower needs: the list of refs, and one fetch. Version 0, which every server speaks.
//!
//! gitprotocol-common(5) has the packets, gitprotocol-pack(5) the list, the request and the answer. We say at once everything that
//! we have, and `done`: one exchange, the same over HTTP and SSH.

use std::fmt::Write as _;

use git2::Oid;
use tokio::sync::mpsc::Sender;

/// The packet that ends a part; sent instead of a request it means that nothing is wanted.
pub(super) const FLUSH: &str = "0000";
/// Bytes of a list of refs.
pub(super) const MAX_LISTING: u64 = 64 << 20;
/// Bytes of one pack.
pub(super) const MAX_PACK: u64 = 1 << 30;
/// Objects in one pack.
const MAX_OBJECTS: u32 = 10_000_000;
/// Refs of one repository.
const MAX_REFS: usize = 500_000;

/// What comes from a server, in pieces of any size.
pub(super) trait Pieces {
    /// The next piece; `None` at the end.
    async fn piece(&mut self) -> Result<Option<Vec<u8>>, String>;
}

/// What comes from a server, in packets.
pub(super) struct Packets<P> {
    pieces: P,
    buffer: Vec<u8>,
    at: usize,
    left: u64,
    limit: u64,
}

/// A piece of a pack for whoever stores it; `End` once it is complete.
pub(super) enum Pack {
    Piece(Vec<u8>),
    End,
}

/// The refs of a repository.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Names with ids; of an annotated tag also `NAME^{}` with the commit.
    pub(super) refs: Vec<(String, Oid)>,
    pub(super) capabilities: String,
}

impl<P: Pieces> Packets<P> {
    /// Reads packets, and no more than so many bytes.
    pub(super) fn new(pieces: P, limit: u64) -> Self {
        Self { pieces, buffer: Vec::new(), at: 0, left: limit, limit }
    }

    /// Allows more bytes for what comes next.
    pub(super) fn allow(&mut self, limit: u64) {
        (self.left, self.limit) = (limit, limit);
    }

    pub(super) fn pieces(&mut self) -> &mut P {
        &mut self.pieces
    }

    async fn bytes(&mut self, count: usize) -> Result<&[u8], String> {
        while self.buffer.len() - self.at < count {
            self.buffer.drain(..self.at);
            self.at = 0;
            let piece = self.pieces.piece().await?.ok_or("the answer ended early")?;
            self.left =
                self.left.checked_sub(piece.len() as u64).ok_or_else(|| format!("the answer is larger than {} bytes", self.limit))?;
            self.buffer.extend_from_slice(&piece);
        }
        self.at += count;
        Ok(&self.buffer[self.at - count..self.at])
    }

    /// The next packet; `None` is a flush packet.
    async fn packet(&mut self) -> Result<Option<Vec<u8>>, String> {
        let head = self.bytes(4).await?;
        let length = std::str::from_utf8(head).ok().and_then(|head| usize::from_str_radix(head, 16).ok());
        match length {
            Some(0) => Ok(None),
            Some(length @ 4..=65520) => {
                let packet = self.bytes(length - 4).await?.to_vec();
                match packet.strip_prefix(b"ERR ") {
                    Some(message) => Err(format!("the server says: {}", String::from_utf8_lossy(message).trim())),
                    None => Ok(Some(packet)),
                }
            }
            _ => Err("the answer is not Git's protocol".into()),
        }
    }

    /// Reads the list of refs that a server begins with.
    pub(super) async fn listing(&mut self) -> Result<Listing, String> {
        let mut listing = Listing::default();
        let mut first = true;
        while let Some(packet) = self.packet().await? {
            let line = packet.strip_suffix(b"\n").unwrap_or(&packet);
            if first && line.starts_with(b"# service=") {
                // HTTP has this line, and a flush of its own, before the list.
                self.packet().await?.map_or(Ok(()), |_| Err("the answer is not Git's protocol"))?;
                continue;
            }
            if line.starts_with(b"version ") || line.starts_with(b"shallow ") {
                continue;
            }
            let line = String::from_utf8_lossy(line);
            let (line, capabilities) = line.split_once('\0').unwrap_or((&line, ""));
            if first {
                listing.capabilities = capabilities.to_owned();
                first = false;
            }
            let (id, name) = line.split_once(' ').ok_or("the answer is not a list of refs")?;
            let id = Some(id).filter(|id| id.len() == 40).and_then(|id| Oid::from_str(id).ok());
            let id = id.ok_or("the answer has ids that are not SHA-1: only such repositories can be followed")?;
            if !id.is_zero() {
                listing.refs.push((name.to_owned(), id));
            }
            if listing.refs.len() > MAX_REFS {
                return Err(format!("it has more than {MAX_REFS} refs"));
            }
        }
        Ok(listing)
    }

    /// Reads the answer to a request, and hands its pack on. Ends early if nobody takes it any more.
    pub(super) async fn pack(&mut self, sink: &Sender<Pack>) -> Result<(), String> {
        let mut head = Vec::new();
        while let Some(packet) = self.packet().await? {
            match packet.split_first() {
                Some((1, data)) => {
                    if head.len() < 12 {
                        head.extend(data.iter().take(12 - head.len()));
                        check_head(&head)?;
                    }
                    if sink.send(Pack::Piece(data.to_vec())).await.is_err() {
                        return Ok(());
                    }
                }
                Some((2, _)) => {}
                Some((3, message)) => return Err(format!("the server says: {}", String::from_utf8_lossy(message).trim())),
                _ if packet.starts_with(b"ACK ") || packet.starts_with(b"NAK") => {}
                _ => return Err("the answer is not a pack".into()),
            }
        }
        if head.len() < 12 {
            return Err("the answer has no pack".into());
        }
        let _ = sink.send(Pack::End).await;
        Ok(())
    }
}

/// The beginning of a pack, gitformat-pack(5): `PACK`, version 2 or 3, number of objects. Nothing to say before all of it is there.
fn check_head(head: &[u8]) -> Result<(), String> {
    let Ok(head) = <&[u8; 12]>::try_from(head) else { return Ok(()) };
    let count = u32::from_be_bytes([head[8], head[9], head[10], head[11]]);
    match head.starts_with(b"PACK\0\0\0") {
        false => Err("the answer is not a pack".into()),
        true if count > MAX_OBJECTS => Err(format!("the pack has {count} objects, more than {MAX_OBJECTS}")),
        true => Ok(()),
    }
}

impl Listing {
    /// Whether the server can do something.
    pub(super) fn can(&self, what: &str) -> bool {
        self.capabilities.split(' ').any(|word| word == what)
    }

    /// A request for objects, given those that we have.
    pub(super) fn request(&self, wants: &[Oid], haves: &[Oid]) -> Result<Vec<u8>, String> {
        if !self.can("side-band-64k") {
            return Err("the server is too old: it does not know side-band-64k".into());
        }
        let mut capabilities = String::from("side-band-64k");
        for word in ["multi_ack_detailed", "ofs-delta", "no-progress"] {
            if self.can(word) {
                let _ = write!(capabilities, " {word}");
            }
        }
        let mut body = String::new();
        for (at, want) in wants.iter().enumerate() {
            let more = if at == 0 { format!(" {capabilities} agent=evenkeel") } else { String::new() };
            line(&mut body, &format!("want {want}{more}\n"));
        }
        body.push_str(FLUSH);
        for have in haves {
            line(&mut body, &format!("have {have}\n"));
        }
        line(&mut body, "done\n");
        Ok(body.into_bytes())
    }
}

fn line(body: &mut String, text: &str) {
    let _ = write!(body, "{:04x}{text}", text.len() + 4);
}
