//! Requests as they are sent, and answers as they come.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// The longest wait for an answer: the engine gives one up after a minute, and ours is a small fleet.
const TIME: Duration = Duration::from_secs(30);
/// Bytes of an answer at most.
const MOST: usize = 8 << 20;
/// Bytes of a body that are shown.
const SHOWN: usize = 4000;
/// What ends a head.
const END: &[u8] = b"\r\n\r\n";

/// Names and values of headers; a value may be any bytes.
pub type Headers = Vec<(String, Vec<u8>)>;

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// What comes behind `/api/v1`, with its query.
    pub address: String,
    pub headers: Headers,
    pub body: Option<Vec<u8>>,
}

/// What is answered.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Request {
    /// Sends it to such as `127.0.0.1:8080`. Of an answer that has no end only its beginning is read.
    pub fn send(&self, host: &str) -> Result<Answer, String> {
        let failed = |error: std::io::Error| format!("no answer: {error}");
        let mut stream = TcpStream::connect(host).map_err(failed)?;
        stream.set_read_timeout(Some(TIME)).map_err(failed)?;
        stream.set_write_timeout(Some(TIME)).map_err(failed)?;
        // What is too large is answered before all of it is read.
        let _ = stream.write_all(&self.bytes(host));
        let begin = Instant::now();
        let (mut got, mut piece) = (Vec::new(), vec![0; 16 << 10]);
        loop {
            match stream.read(&mut piece) {
                Ok(0) => break,
                Ok(read) => got.extend_from_slice(&piece[..read]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Who did not read all of a request may end the connection so.
                Err(error) if error.kind() == ErrorKind::ConnectionReset && head_of(&got).is_some() => break,
                Err(error) => return Err(failed(error)),
            }
            if is_stream_begun(&got) {
                break;
            }
            if got.len() > MOST || begin.elapsed() > TIME {
                return Err(format!("it does not end: {} bytes in {:?}", got.len(), begin.elapsed()));
            }
        }
        Answer::read(&got)
    }

    /// HTTP/1.0: the answer ends where the connection does.
    fn bytes(&self, host: &str) -> Vec<u8> {
        let mut bytes = format!("{} /api/v1{} HTTP/1.0\r\nHost: {host}\r\n", self.method, self.address).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        let body = self.body.as_deref().unwrap_or_default();
        if self.body.is_some() || self.method != "GET" {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body);
        bytes
    }

    /// As it is sent by hand, in bash.
    pub fn by_hand(&self, host: &str) -> String {
        let quoted = |bytes: &[u8]| {
            let left = bytes.len().saturating_sub(SHOWN);
            let note = if left > 0 { format!(" # and {left} bytes more") } else { String::new() };
            format!("$'{}'{note}", bytes[..bytes.len() - left].escape_ascii())
        };
        let mut text = format!("curl -i --http1.0 --path-as-is -X {} 'http://{host}/api/v1{}'", self.method, self.address);
        for (name, value) in &self.headers {
            let header = [name.as_bytes(), b": ", value.as_slice()].concat();
            text += &format!(" \\\n    -H {}", quoted(&header));
        }
        if let Some(body) = &self.body {
            text += &format!(" \\\n    --data-binary {}", quoted(body));
        }
        text
    }
}

/// Where a head ends.
fn head_of(got: &[u8]) -> Option<usize> {
    got.windows(END.len()).position(|four| four == END)
}

/// Whether something of a stream of events is there.
fn is_stream_begun(got: &[u8]) -> bool {
    let Some(end) = head_of(got) else { return false };
    let is_stream = String::from_utf8_lossy(&got[..end]).to_ascii_lowercase().contains("content-type: text/event-stream");
    is_stream && got.len() > end + END.len()
}

impl Answer {
    fn read(got: &[u8]) -> Result<Self, String> {
        let end = head_of(got).ok_or_else(|| format!("this is no answer: {}", got.escape_ascii()))?;
        let head = String::from_utf8_lossy(&got[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(|| format!("it has no status: {head}"))?;
        let answer = Self { status, head, body: got[end + END.len()..].to_vec() };
        let said = answer.header("content-length").and_then(|length| length.parse::<usize>().ok());
        match said {
            Some(said) if said != answer.body.len() && status != 304 => {
                Err(format!("it has {} bytes and says that it has {said}: {}", answer.body.len(), answer.head))
            }
            _ => Ok(answer),
        }
    }

    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers.find(|(there, _)| there.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// As it came, but for what is too long.
    pub fn shown(&self) -> String {
        format!("{}\n\n{}", self.head, String::from_utf8_lossy(&self.body[..self.body.len().min(SHOWN)]))
    }
}
