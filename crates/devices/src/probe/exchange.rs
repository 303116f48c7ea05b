//! One exchange of HTTP/1.1 (RFC 9112) on a connection of its own: a request without a body, the head of what comes back, and its body piece
//! by piece. A client with pools, tasks and queues costs more than all the rest of a probe, and hides when the first byte came.

use reconcile::ProbeCode;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::Instant;

use super::{Phases, Reason, reach};

/// Bytes of an answer's head, and how many headers; servers don't send more than browsers take.
const HEAD: usize = 64 << 10;
const HEADERS: usize = 100;
/// Bytes that are read at once. Most answers to a probe come whole with it.
const PIECE: usize = 4096;
/// Bytes of the line before a chunk: a number, and extensions that nobody uses.
const CHUNK_LINE: usize = 1024;

/// An answer whose head was read.
pub(super) struct Answer<S> {
    pub(super) status: u16,
    /// Where it says that what was asked for is.
    pub(super) location: Option<Vec<u8>>,
    stream: S,
    /// What came, and how much of it was used.
    buffer: Vec<u8>,
    used: usize,
    rest: Rest,
}

/// What is to come of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// Nothing more.
    Nothing,
    /// All until the connection is closed.
    UntilClosed,
    /// So many bytes.
    Bytes(u64),
    /// A line with the length of the next chunk.
    ChunkLine,
    /// So many bytes of a chunk.
    Chunk(u64),
    /// The end of a chunk's line.
    ChunkEnd,
}

/// A head, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    length: usize,
    location: Option<Vec<u8>>,
    rest: Rest,
}

/// Asks, and reads the head of the answer.
pub(super) async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    request: &[u8],
    phases: &mut Phases,
) -> Result<Answer<S>, Reason> {
    let broken = |error: std::io::Error| reach::broken(&error);
    let is_head = request.starts_with(b"HEAD ");
    let began = Instant::now();
    stream.write_all(request).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    let mut buffer = Vec::with_capacity(PIECE);
    let mut came = None;
    // What lies before the head that counts: answers that only say that another one follows.
    let (mut from, mut seen) = (0, 0);
    loop {
        if seen == buffer.len() {
            buffer.reserve(PIECE);
            let read = (&mut stream).take((HEAD - buffer.len()) as u64).read_buf(&mut buffer).await.map_err(broken)?;
            came.get_or_insert_with(|| began.elapsed());
            if read == 0 {
                return Err(match head(&buffer[from..], is_head)? {
                    _ if buffer.len() >= HEAD => bad(&format!("its head is larger than {HEAD} bytes")),
                    _ => Reason::new(ProbeCode::Closed, "the connection was closed before there was an answer"),
                });
            }
        }
        // It is not parsed with every byte that comes: that would be as much work as a hostile server likes.
        let is_whole = seen == from || ends_a_head(&buffer[seen.saturating_sub(3).max(from)..]);
        seen = buffer.len();
        let Some(head) = is_whole.then(|| head(&buffer[from..], is_head)).transpose()?.flatten() else { continue };
        let used = from + head.length;
        if (100..200).contains(&head.status) && head.status != 101 {
            (from, seen) = (used, used);
            continue;
        }
        Phases::add(&mut phases.first_byte, came.unwrap_or_default());
        return Ok(Answer { status: head.status, location: head.location, stream, buffer, used, rest: head.rest });
    }
}

fn bad(what: &str) -> Reason {
    Reason::new(ProbeCode::BadAnswer, format!("the answer is not HTTP: {what}"))
}

fn ends_a_head(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| pair == b"\n\n") || bytes.windows(3).any(|three| three == b"\n\r\n")
}

/// A head at the beginning of this, if it is whole.
fn head(bytes: &[u8], is_head: bool) -> Result<Option<Head>, Reason> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(bytes).map_err(|error| bad(&error.to_string()))? {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial => return Ok(None),
    };
    let status = response.code.unwrap_or_default();
    let all = |name: &'static str| response.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
    let rest = match status {
        _ if is_head => Rest::Nothing,
        100..200 | 204 | 304 => Rest::Nothing,
        _ => match all("transfer-encoding").next_back() {
            Some(coding) if coding.value.trim_ascii().to_ascii_lowercase().ends_with(b"chunked") => Rest::ChunkLine,
            Some(_) => Rest::UntilClosed,
            None => length_of(all("content-length").map(|header| header.value))?,
        },
    };
    let location = all("location").next().map(|header| header.value.to_vec());
    Ok(Some(Head { status, length, location, rest }))
}

/// Lengths that contradict each other are an attack, or a mistake, on whoever reads on (RFC 9112, 6.3).
fn length_of<'a>(values: impl Iterator<Item = &'a [u8]>) -> Result<Rest, Reason> {
    let mut length = None;
    for value in values.flat_map(|value| value.split(|byte| *byte == b',')) {
        let digits = std::str::from_utf8(value.trim_ascii()).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let one: u64 = digits.and_then(|text| text.parse().ok()).ok_or_else(|| bad("its length is no number"))?;
        if length.is_some_and(|length| length != one) {
            return Err(bad("it has two lengths"));
        }
        length = Some(one);
    }
    Ok(length.map_or(Rest::UntilClosed, Rest::Bytes))
}

impl<S: AsyncRead + Unpin> Answer<S> {
    /// The next piece of the body; `None` at its end.
    pub(super) async fn piece(&mut self) -> Result<Option<&[u8]>, Reason> {
        loop {
            match self.rest {
                Rest::Nothing | Rest::Bytes(0) => return Ok(None),
                Rest::UntilClosed => return Ok(if self.fill().await? { Some(self.take(u64::MAX)) } else { None }),
                Rest::ChunkLine => self.rest = Rest::Chunk(chunk_length(&self.line().await?)?),
                Rest::Chunk(0) => self.rest = Rest::Nothing,
                Rest::ChunkEnd => {
                    if !self.line().await?.is_empty() {
                        return Err(bad("a chunk is longer than it said"));
                    }
                    self.rest = Rest::ChunkLine;
                }
                Rest::Bytes(left) | Rest::Chunk(left) => {
                    self.must_fill().await?;
                    let next = left - left.min((self.buffer.len() - self.used) as u64);
                    self.rest = match self.rest {
                        Rest::Chunk(_) if next == 0 => Rest::ChunkEnd,
                        Rest::Chunk(_) => Rest::Chunk(next),
                        _ => Rest::Bytes(next),
                    };
                    return Ok(Some(self.take(left)));
                }
            }
        }
    }

    fn take(&mut self, most: u64) -> &[u8] {
        let there = self.buffer.len() - self.used;
        let from = self.used;
        self.used += usize::try_from(most).map_or(there, |most| most.min(there));
        &self.buffer[from..self.used]
    }

    /// Whether there is something that was not used yet.
    async fn fill(&mut self) -> Result<bool, Reason> {
        if self.used < self.buffer.len() {
            return Ok(true);
        }
        self.more().await
    }

    /// Reads a piece behind what is not used yet, which is bounded by whoever calls.
    async fn more(&mut self) -> Result<bool, Reason> {
        self.buffer.drain(..self.used);
        self.used = 0;
        self.buffer.reserve(PIECE);
        // The buffer has more room than that where a head was long.
        let read = (&mut self.stream).take(PIECE as u64).read_buf(&mut self.buffer).await.map_err(|error| reach::broken(&error))?;
        Ok(read > 0)
    }

    async fn must_fill(&mut self) -> Result<(), Reason> {
        if self.fill().await? { Ok(()) } else { Err(cut_off()) }
    }

    /// A line without its end.
    async fn line(&mut self) -> Result<Vec<u8>, Reason> {
        loop {
            self.must_fill().await?;
            let there = &self.buffer[self.used..];
            let end = there.iter().take(CHUNK_LINE + 1).position(|byte| *byte == b'\n');
            if let Some(end) = end {
                let line = there[..end].trim_ascii_end().to_vec();
                self.used += end + 1;
                return Ok(line);
            }
            if there.len() > CHUNK_LINE {
                return Err(bad(&format!("a chunk's line is longer than {CHUNK_LINE} bytes")));
            }
            if !self.more().await? {
                return Err(cut_off());
            }
        }
    }
}

fn cut_off() -> Reason {
    Reason::new(ProbeCode::Closed, "the connection was closed in the middle of the answer")
}

fn chunk_length(line: &[u8]) -> Result<u64, Reason> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let digits = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    digits.and_then(|text| u64::from_str_radix(text, 16).ok()).ok_or_else(|| bad("a chunk's length is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The status and the body of an answer that comes in pieces of so many bytes, or why there is none.
    async fn read(request: &str, answer: &str, piece: usize) -> String {
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        let pieces: Vec<Vec<u8>> = answer.as_bytes().chunks(piece).map(<[u8]>::to_vec).collect();
        let server = async move {
            for piece in pieces {
                // Whoever has what was wanted goes.
                let _ = theirs.write_all(&piece).await;
                tokio::task::yield_now().await;
            }
            let _ = theirs.shutdown().await;
            theirs
        };
        let client = async {
            let mut answer = ask(ours, request.as_bytes(), &mut Phases::default()).await?;
            let mut body = Vec::new();
            while let Some(piece) = answer.piece().await? {
                body.extend_from_slice(piece);
            }
            Ok(format!("{} {}", answer.status, String::from_utf8_lossy(&body)))
        };
        let (_theirs, said) = tokio::join!(server, client);
        said.unwrap_or_else(|reason: Reason| format!("{:?}: {}", reason.code, reason.words))
    }

    #[tokio::test]
    async fn answers_are_read_however_they_come() {
        let get = "GET / HTTP/1.1\r\n\r\n";
        for (request, answer, expected) in [
            (get, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine and more", "200 fine"),
            (get, "HTTP/1.0 200\r\n\r\nall until the end", "200 all until the end"),
            (get, "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, Chunked\r\n\r\n3;x=y\r\nfin\r\n1\r\ne\r\n0\r\nT: x\r\n\r\n", "200 fine"),
            (
                get,
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx",
                "200 x",
            ),
            (get, "HTTP/1.1 204 No Content\r\n\r\nx", "204 "),
            (get, "HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\ncontent-length: 2\r\n\r\nxy", "200 xy"),
            ("HEAD / HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n", "200 "),
            (get, "HTTP/1.1 200 OK\ncontent-length: 2\n\nxy", "200 xy"),
            (get, "", "Closed: the connection was closed before there was an answer"),
            (get, "HTTP/1.1 100 Continue\r\n\r\n", "Closed: the connection was closed before there was an answer"),
            (get, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfour", "Closed: the connection was closed in the middle of the answer"),
            (
                get,
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfour",
                "Closed: the connection was closed in the middle of the answer",
            ),
            (get, "SSH-2.0-OpenSSH_9.2\r\n", "BadAnswer: the answer is not HTTP: invalid HTTP version"),
            (get, "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", "BadAnswer: the answer is not HTTP: its length is no number"),
            (get, "HTTP/1.1 200 OK\r\ncontent-length: +1\r\n\r\n", "BadAnswer: the answer is not HTTP: its length is no number"),
            (
                get,
                "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
                "BadAnswer: the answer is not HTTP: it has two lengths",
            ),
            (
                get,
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n",
                "BadAnswer: the answer is not HTTP: a chunk's length is no number",
            ),
            (
                get,
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nxx\r\n",
                "BadAnswer: the answer is not HTTP: a chunk is longer than it said",
            ),
        ] {
            for piece in [1, 2, 7, 10_000] {
                assert_eq!(read(request, answer, piece).await, expected, "in pieces of {piece}: {answer}");
            }
        }
    }

    #[tokio::test]
    async fn everything_has_a_limit() {
        let get = "GET / HTTP/1.1\r\n\r\n";
        let headers = |count: usize| format!("HTTP/1.1 204 No Content\r\n{}\r\n", "a: b\r\n".repeat(count));
        assert_eq!(read(get, &headers(HEADERS), 10_000).await, "204 ");
        assert_eq!(read(get, &headers(HEADERS + 1), 10_000).await, "BadAnswer: the answer is not HTTP: too many headers");
        let long = |length: usize| format!("HTTP/1.1 204 No Content\r\na: {}\r\n\r\n", "x".repeat(length - 32));
        assert_eq!(read(get, &long(HEAD), 10_000).await, "204 ");
        let said = read(get, &long(HEAD + 1), 10_000).await;
        assert_eq!(said, format!("BadAnswer: the answer is not HTTP: its head is larger than {HEAD} bytes"));
        let again = "HTTP/1.1 100 Continue\r\n\r\n".repeat(HEAD / 25 + 1);
        let said = read(get, &again, 10_000).await;
        assert_eq!(said, format!("BadAnswer: the answer is not HTTP: its head is larger than {HEAD} bytes"));
        let line = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;{}\r\nx\r\n0\r\n", "x".repeat(3 * PIECE));
        let too_long = format!("BadAnswer: the answer is not HTTP: a chunk's line is longer than {CHUNK_LINE} bytes");
        assert_eq!(read(get, &line, 10_000).await, too_long);
        let line = |length: usize| format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;{}\nx\r\n0\r\n", "x".repeat(length - 2));
        for piece in [700, 10_000] {
            assert_eq!(read(get, &line(CHUNK_LINE), piece).await, "200 x");
            assert_eq!(read(get, &line(CHUNK_LINE + 1), piece).await, too_long, "also where its end came with it");
        }
    }

    /// Chunks of a byte, each with as long a line as it may have: whatever comes, no more of it is held than a line and a piece.
    #[tokio::test]
    async fn lines_of_chunks_take_no_room() {
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        let chunk = format!("1;{}\r\nx\r\n", "x".repeat(CHUNK_LINE - 3));
        let count = 2000;
        let said = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}0\r\n", chunk.repeat(count));
        let server = async move {
            let _ = theirs.write_all(said.as_bytes()).await;
            theirs
        };
        let client = async {
            let mut answer = ask(ours, b"GET / HTTP/1.1\r\n\r\n", &mut Phases::default()).await.ok().unwrap();
            let mut length = 0;
            while let Some(piece) = answer.piece().await.ok().unwrap() {
                length += piece.len();
                assert!(answer.buffer.capacity() <= 4 * PIECE, "{}", answer.buffer.capacity());
            }
            length
        };
        assert_eq!(tokio::join!(server, client).1, count);
    }

    /// However an answer comes, it says the same, and no more than was sent.
    #[test]
    fn fuzz_answers() {
        let words = [
            "\r\n",
            "\r\n\r\n",
            "\n",
            "HTTP/1.1 ",
            "100 ",
            "204 ",
            "content-length: ",
            "transfer-encoding: chunked\r\n",
            "ffffffffffffffff\r\n",
            "0\r\n\r\n",
            ";x",
            "\0",
        ];
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        crate::fuzz::run(env!("CARGO_MANIFEST_DIR"), "http", &words, 5_000, |bytes| {
            let answer = String::from_utf8_lossy(bytes);
            for request in ["GET / HTTP/1.1\r\n\r\n", "HEAD / HTTP/1.1\r\n\r\n"] {
                let whole = runtime.block_on(read(request, &answer, 1 << 20));
                assert!(whole.len() <= answer.len() + 200, "{whole}");
                assert_eq!(whole, runtime.block_on(read(request, &answer, 5)), "in pieces");
            }
        });
    }
}
