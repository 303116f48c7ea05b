//! Asks `/api/v1` as somebody: by a session in a cookie, or by a token.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

/// The longest answer that is read.
const ANSWER: u64 = 16 << 20;

/// Somebody, and where they ask.
#[derive(Clone, Debug)]
pub struct Caller {
    address: String,
    headers: Vec<(String, String)>,
}

/// What is answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Such as 200.
    pub status: u16,
    /// The headers.
    pub head: String,
    /// The body; a text where it is no JSON.
    pub body: Value,
}

impl Answer {
    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers.filter(|(there, _)| there.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }

    /// What it says of why not.
    pub fn detail(&self) -> &str {
        self.body["detail"].as_str().unwrap_or_default()
    }
}

impl Caller {
    /// Nobody, at a URL such as `http://127.0.0.1:8080`.
    pub fn nobody(url: &str) -> Self {
        Self { address: url.trim_start_matches("http://").to_owned(), headers: Vec::new() }
    }

    /// Whoever has this token.
    pub fn with_token(url: &str, token: &str) -> Self {
        Self::nobody(url).and("Authorization", &format!("Bearer {token}"))
    }

    /// Signs in with a password.
    pub fn signed_in(url: &str, user: &str, password: &str) -> anyhow::Result<Self> {
        let nobody = Self::nobody(url);
        let answer = nobody.ask("POST", "/session", &json!({"user": user, "password": password}))?;
        ensure!(answer.status == 200, "{answer:?}");
        let cookie = answer.header("set-cookie").and_then(|cookie| cookie.split(';').next()).context("a cookie")?.to_owned();
        let csrf = answer.body["csrf"].as_str().context("a token against requests from elsewhere")?.to_owned();
        Ok(nobody.and("Cookie", &cookie).and("X-CSRF-Token", &csrf))
    }

    /// The same with one more header.
    pub fn and(&self, name: &str, value: &str) -> Self {
        let mut caller = self.clone();
        caller.headers.push((name.to_owned(), value.to_owned()));
        caller
    }

    /// The same somewhere else.
    pub fn at(&self, url: &str) -> Self {
        Self { address: Self::nobody(url).address, headers: self.headers.clone() }
    }

    /// Asks. `path` is what comes behind `/api/v1`.
    pub fn ask(&self, method: &str, path: &str, body: &Value) -> anyhow::Result<Answer> {
        self.ask_at(method, &format!("/api/v1{path}"), body)
    }

    /// The same for any path.
    pub fn ask_at(&self, method: &str, path: &str, body: &Value) -> anyhow::Result<Answer> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(90)))?;
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let headers: String = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        // HTTP/1.0: the answer ends where the connection does.
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{headers}\r\n{body}",
            self.address,
            body.len()
        )?;
        let mut text = String::new();
        stream.take(ANSWER).read_to_string(&mut text)?;
        let (head, body) = text.split_once("\r\n\r\n").with_context(|| text.clone())?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).with_context(|| head.to_owned())?;
        Ok(Answer { status, head: head.to_owned(), body: serde_json::from_str(body).unwrap_or_else(|_| json!(body)) })
    }
}
