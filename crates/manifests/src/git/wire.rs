//! The part of Git's protocol that a follower needs: the list of refs, one fetch, and a push of one branch. Version 0, which every server speaks.
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

/// Bytes of what a server says to a push: its report, and what its hooks say.
pub(super) const MAX_REPORT: u64 = 1 << 20;
/// Characters of it that are passed on.
const MAX_SAID: usize = 300;

/// What is asked of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// To give objects.
    Upload,
    /// To take them.
    Receive,
}

impl Service {
    /// The program that does it.
    pub(super) fn program(self) -> &'static str {
        match self {
            Self::Upload => "git-upload-pack",
            Self::Receive => "git-receive-pack",
        }
    }
}

/// What a server says to a push, gitprotocol-pack(5), "Report Status".
#[derive(Debug, Default)]
pub(super) struct Report {
    lines: Vec<String>,
    /// What its hooks say.
    said: String,
}

impl Report {
    /// Whether it took a branch; if not, why.
    pub(super) fn of(&self, name: &str) -> Result<(), String> {
        let is =
            |line: &String, word: &str| line.strip_prefix(word).is_some_and(|rest| rest == name || rest.starts_with(&format!("{name} ")));
        let unpacked = self.lines.first().map(String::as_str);
        if unpacked == Some("unpack ok") && self.lines.iter().any(|line| is(line, "ok ")) {
            return Ok(());
        }
        let refusal = self.lines.iter().find(|line| is(line, "ng ")).map(|line| line[3 + name.len()..].trim());
        let reason = refusal.or(unpacked.filter(|line| *line != "unpack ok")).unwrap_or("it does not say that it took it");
        let said = self.said.split_whitespace().collect::<Vec<_>>().join(" ");
        let text = if said.is_empty() { reason.to_owned() } else { format!("{reason}: {said}") };
        Err(text.chars().filter(|c| !c.is_control()).take(MAX_SAID).collect())
    }
}

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

impl<P: Pieces> Packets<P> {
    /// Reads the report on a push, on a band of its own where the server has bands.
    pub(super) async fn report(&mut self, has_bands: bool) -> Result<Report, String> {
        let mut report = Report::default();
        let mut inner = Vec::new();
        while let Some(packet) = self.packet().await? {
            match (has_bands, packet.split_first()) {
                (false, _) => report.lines.push(String::from_utf8_lossy(&packet).trim_end().to_owned()),
                (true, Some((1, data))) => inner.extend_from_slice(data),
                (true, Some((2, words))) => report.said += &String::from_utf8_lossy(words),
                (true, Some((3, message))) => return Err(format!("the server says: {}", String::from_utf8_lossy(message).trim())),
                (true, _) => return Err("the answer is not a report".into()),
            }
        }
        let mut rest = inner.as_slice();
        while let Some((head, behind)) = rest.split_at_checked(4) {
            let length = std::str::from_utf8(head).ok().and_then(|head| usize::from_str_radix(head, 16).ok());
            let length = match length {
                Some(0) => break,
                Some(length @ 4..) => length - 4,
                _ => return Err("the answer is not a report".into()),
            };
            let (line, behind) = behind.split_at_checked(length).ok_or("the report ended early")?;
            report.lines.push(String::from_utf8_lossy(line).trim_end().to_owned());
            rest = behind;
        }
        Ok(report)
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

    /// A request to move a branch; the pack comes behind it.
    pub(super) fn command(&self, name: &str, old: Option<Oid>, new: Oid) -> Result<Vec<u8>, String> {
        if !self.can("report-status") {
            return Err("the server is too old: it does not know report-status".into());
        }
        let old = old.map_or_else(|| "0".repeat(40), |old| old.to_string());
        let bands = if self.can("side-band-64k") { " side-band-64k" } else { "" };
        let mut body = String::new();
        line(&mut body, &format!("{old} {new} {name}\0 report-status{bands} agent=evenkeel"));
        body.push_str(FLUSH);
        Ok(body.into_bytes())
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

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer that arrives in pieces of one size.
    struct Slices(Vec<u8>, usize);

    impl Pieces for Slices {
        async fn piece(&mut self) -> Result<Option<Vec<u8>>, String> {
            let rest = self.0.split_off(self.1.min(self.0.len()));
            let piece = std::mem::replace(&mut self.0, rest);
            Ok(Some(piece).filter(|piece| !piece.is_empty()))
        }
    }

    fn packets(lines: &[&str]) -> Vec<u8> {
        let mut body = String::new();
        lines.iter().for_each(|text| if text.is_empty() { body.push_str(FLUSH) } else { line(&mut body, text) });
        body.into_bytes()
    }

    #[tokio::test]
    async fn a_list_is_the_same_in_pieces_of_any_size() {
        let (a, b, c) = ("a".repeat(40), "b".repeat(40), "c".repeat(40));
        let lines = [
            "# service=git-upload-pack\n".to_owned(),
            String::new(),
            format!("{a} HEAD\0side-band-64k symref=HEAD:refs/heads/main\n"),
            format!("{a} refs/heads/main\n"),
            format!("{b} refs/tags/v1"),
            format!("{c} refs/tags/v1^{{}}\n"),
            String::new(),
        ];
        let bytes = packets(&lines.each_ref().map(String::as_str));
        for size in 1..=bytes.len() {
            let listing = Packets::new(Slices(bytes.clone(), size), MAX_LISTING).listing().await.unwrap();
            let names: Vec<&str> = listing.refs.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, ["HEAD", "refs/heads/main", "refs/tags/v1", "refs/tags/v1^{}"], "pieces of {size}");
            assert!(listing.can("side-band-64k") && !listing.can("side-band"));
        }
        // Cut off anywhere, it is no list.
        for length in 0..bytes.len() {
            assert!(Packets::new(Slices(bytes[..length].to_vec(), 7), MAX_LISTING).listing().await.is_err(), "{length} bytes");
        }
    }

    #[tokio::test]
    async fn an_empty_repository_has_no_refs() {
        let none = format!("{} capabilities^{{}}\0side-band-64k\n", "0".repeat(40));
        for lines in [&[none.as_str(), ""][..], &[""]] {
            assert!(Packets::new(Slices(packets(lines), 5), MAX_LISTING).listing().await.unwrap().refs.is_empty());
        }
    }

    #[tokio::test]
    async fn refs_and_bytes_are_bounded() {
        let line = packets(&[&format!("{} r\n", "a".repeat(40))]);
        let listing = |count: usize, limit| {
            let bytes = [line.repeat(count), FLUSH.into()].concat();
            async move { Packets::new(Slices(bytes, 1 << 16), limit).listing().await.map(|listing| listing.refs.len()) }
        };
        assert_eq!(listing(MAX_REFS, MAX_LISTING).await, Ok(MAX_REFS));
        assert!(listing(MAX_REFS + 1, MAX_LISTING).await.unwrap_err().contains("more than 500000 refs"));
        assert!(listing(100, 4000).await.unwrap_err().contains("larger than 4000 bytes"));
    }

    #[tokio::test]
    async fn a_report_says_whether_a_branch_was_taken_and_why_not() {
        let plain = |lines: &[&str]| packets(&lines.iter().copied().chain([""]).collect::<Vec<_>>());
        let banded = |lines: &[&str], said: &str| {
            let inner = String::from_utf8(plain(lines)).unwrap();
            packets(&[&format!("\u{2}{said}"), &format!("\u{1}{inner}"), ""])
        };
        let of = |bytes: Vec<u8>, has_bands: bool| async move {
            let report = Packets::new(Slices(bytes, 3), MAX_REPORT).report(has_bands).await?;
            report.of("refs/heads/main")
        };
        let good = ["unpack ok\n", "ok refs/heads/main\n"];
        assert_eq!(of(plain(&good), false).await, Ok(()));
        assert_eq!(of(banded(&good, "hello"), true).await, Ok(()));
        let no = ["unpack ok\n", "ng refs/heads/main protected branch hook declined\n"];
        assert_eq!(of(banded(&no, "GitLab: no\n"), true).await, Err("protected branch hook declined: GitLab: no".into()));
        assert_eq!(of(plain(&["unpack index-pack abnormal exit\n", "ng refs/heads/main x\n"]), false).await, Err("x".into()));
        assert_eq!(of(plain(&["unpack no room\n", "ok refs/heads/main\n"]), false).await, Err("unpack no room".into()));
        assert!(of(plain(&["unpack ok\n", "ok refs/heads/mainly\n"]), false).await.is_err(), "of another branch");
        assert!(of(plain(&[]), false).await.is_err(), "nothing said is not yes");
        let cut = banded(&good, "");
        for length in 0..cut.len() {
            assert!(of(cut[..length].to_vec(), true).await.is_err(), "{length} bytes");
        }
    }

    #[test]
    fn a_request_says_what_is_wanted_and_what_is_there() {
        let id = |byte: u8| Oid::from_bytes(&[byte; 20]).unwrap();
        let listing = Listing { capabilities: "side-band-64k ofs-delta".into(), ..Listing::default() };
        let request = String::from_utf8(listing.request(&[id(1), id(2)], &[id(3)]).unwrap()).unwrap();
        let wanted =
            format!("005awant {} side-band-64k ofs-delta agent=evenkeel\n0032want {}\n00000032have {}\n0009done\n", id(1), id(2), id(3));
        assert_eq!(request.replacen(&request[..4], "005a", 1), wanted);
        assert_eq!(usize::from_str_radix(&request[..4], 16), Ok(request.find('\n').unwrap() + 1));
        assert!(Listing::default().request(&[id(1)], &[]).is_err());
    }
}
