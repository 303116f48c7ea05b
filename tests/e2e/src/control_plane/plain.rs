//! The API server over plain HTTP, by `kubectl proxy`: for whoever has many requests to make, each of which would cost a kubectl.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use super::{ControlPlane, end};

/// The longest answer that is read.
const ANSWER: u64 = 64 << 20;

/// The proxy's process.
pub struct Plain {
    port: u16,
    process: Option<Child>,
}

impl ControlPlane {
    /// Over plain HTTP, as the administrator.
    pub fn plain(&self) -> anyhow::Result<Plain> {
        let mut process =
            self.command(&["proxy", "--port=0", "--reject-methods=^$"]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let out = process.stdout.take().context("its output")?;
        let mut plain = Plain { port: 0, process: Some(process) };
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        plain.port = line.trim().rsplit(':').next().and_then(|port| port.parse().ok()).with_context(|| format!("kubectl proxy: {line}"))?;
        Ok(plain)
    }
}

impl Plain {
    /// An answer's status and body.
    pub fn ask(&self, method: &str, path: &str, kind: &str, body: &Value) -> anyhow::Result<(u16, Value)> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        // HTTP/1.0: the answer ends where the connection does.
        let length = body.len();
        write!(stream, "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}")?;
        let mut answer = String::new();
        stream.take(ANSWER).read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").with_context(|| answer.clone())?;
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).with_context(|| head.to_owned())?;
        Ok((code, serde_json::from_str(body).unwrap_or_default()))
    }

    /// An object, or nothing.
    pub fn get(&self, path: &str) -> anyhow::Result<Value> {
        Ok(self.ask("GET", path, "application/json", &Value::Null)?.1)
    }

    /// A JSON merge patch (RFC 7396), under a field manager of this name.
    pub fn merge(&self, path: &str, manager: &str, patch: &Value) -> anyhow::Result<u16> {
        Ok(self.ask("PATCH", &format!("{path}?fieldManager={manager}"), "application/merge-patch+json", patch)?.0)
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        end(self.process.take());
    }
}
