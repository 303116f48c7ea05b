//! The command line's way to a running engine.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::backtest;
use crate::can::{Answer, Question};
use crate::problem::Problem;
use crate::view::Ask;

/// The socket's name in the data directory.
pub const SOCKET: &str = "evenkeel.sock";

/// A running engine.
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
    place: String,
}

/// Why the engine gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody is there.
    #[error("no engine answers at {place} ({reason}): start one with `evenkeel run`, or name it with --data or --server")]
    NoEngine {
        /// Where.
        place: String,
        /// Why.
        reason: String,
    },
    /// It said no.
    #[error("{0}")]
    Refused(String),
    /// One may not.
    #[error("{0}")]
    Forbidden(String),
}

/// Text as a part of a URL; see RFC 3986, section 2.
pub fn in_url(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

impl Client {
    /// The engine whose data directory this is.
    pub fn local(data: &Path) -> Result<Self, Error> {
        let socket = data.join(SOCKET);
        let place = socket.display().to_string();
        let http = reqwest::Client::builder().unix_socket(socket).tls_certs_only([]).timeout(Duration::from_secs(30)).build();
        let http = http.map_err(|error| Error::NoEngine { place: place.clone(), reason: error.to_string() })?;
        Ok(Self { http, base: "http://localhost".into(), token: None, place })
    }

    /// The engine at a URL.
    pub fn remote(url: &str, token: Option<String>) -> Result<Self, Error> {
        let mut http = reqwest::Client::builder().timeout(Duration::from_secs(30));
        if url.starts_with("http://") {
            // No certificate authorities are asked for where none can be needed: there may be none.
            http = http.tls_certs_only([]);
        }
        let http = http.build().map_err(|error| Error::NoEngine { place: url.into(), reason: error.to_string() })?;
        Ok(Self { http, base: url.trim_end_matches('/').into(), token, place: url.into() })
    }

    /// Gets a document.
    pub async fn get(&self, path: &str) -> Result<Value, Error> {
        let answer = self.send(self.http.get(format!("{}{path}", self.base))).await?;
        answer.json().await.map_err(|error| Error::Refused(format!("the answer can't be read: {error}")))
    }

    /// Sends a document by this method; `null` is none. The answer is one too, or `null`.
    pub async fn send_json(&self, method: &str, path: &str, body: &Value) -> Result<Value, Error> {
        let method = method.parse().map_err(|_| Error::Refused(format!("{method}: no method")))?;
        let request = self.http.request(method, format!("{}{path}", self.base));
        let answer = self.send(if body.is_null() { request } else { request.json(body) }).await?;
        let bytes = answer.bytes().await.map_err(|error| Error::Refused(format!("the answer can't be read: {error}")))?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|error| Error::Refused(format!("the answer can't be read: {error}")))
    }

    /// Gets a text, with the header that says where its next page begins.
    pub async fn text(&self, path: &str) -> Result<(String, Option<String>), Error> {
        let answer = self.send(self.http.get(format!("{}{path}", self.base))).await?;
        let next =
            answer.headers().get("x-evenkeel-next").and_then(|next| next.to_str().ok()).filter(|next| !next.is_empty()).map(str::to_owned);
        let text = answer.text().await.map_err(|error| Error::Refused(format!("the answer can't be read: {error}")))?;
        Ok((text, next))
    }

    /// Gets every page of a list.
    pub async fn list(&self, path: &str) -> Result<Vec<Value>, Error> {
        let mut items = Vec::new();
        let mut after = String::new();
        // A bound on pages, as on everything else.
        for _ in 0..10_000 {
            let joint = if path.contains('?') { '&' } else { '?' };
            let page = self
                .get(&if after.is_empty() { path.to_owned() } else { format!("{path}{joint}after={}", after.replace('/', "%2F")) })
                .await?;
            items.extend(page["items"].as_array().cloned().unwrap_or_default());
            match page["after"].as_str() {
                Some(next) => after = next.to_owned(),
                None => break,
            }
        }
        Ok(items)
    }

    /// Gets every page of a list of `/api/v1`: the first answer, with the items of all.
    pub async fn pages(&self, path: &str) -> Result<Value, Error> {
        let mut all = self.get(path).await?;
        let joint = if path.contains('?') { '&' } else { '?' };
        // A bound on pages, as on everything else.
        for _ in 0..10_000 {
            let Some(cursor) = all["cursor"].as_str().map(in_url) else { break };
            let mut page = self.get(&format!("{path}{joint}cursor={cursor}")).await?;
            all["cursor"] = page["cursor"].take();
            if let (Some(items), Value::Array(more)) = (all["items"].as_array_mut(), page["items"].take()) {
                items.extend(more);
            }
        }
        Ok(all)
    }

    /// Asks for something.
    pub async fn ask(&self, ask: &Ask) -> Result<String, Error> {
        let answer = self.send(self.http.post(format!("{}/v1/ask", self.base)).json(ask)).await?;
        let value: Value = answer.json().await.map_err(|error| Error::Refused(format!("the answer can't be read: {error}")))?;
        Ok(value["message"].as_str().unwrap_or_default().to_owned())
    }

    /// Asks whether somebody may do something.
    pub async fn can(&self, question: &Question) -> Result<Answer, Error> {
        let answer = self.send(self.http.post(format!("{}/v1/can", self.base)).json(question)).await?;
        answer.json().await.map_err(|error| Error::Refused(format!("the answer can't be read: {error}")))
    }

    /// Asks for a page of what a rule would have done.
    pub async fn backtest(&self, question: &backtest::Question) -> Result<backtest::Answer, Error> {
        let answer = self.send(self.http.post(format!("{}/v1/backtest", self.base)).json(question)).await?;
        answer.json().await.map_err(|error| Error::Refused(format!("the answer can't be read: {error}")))
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<reqwest::Response, Error> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let answer = request.send().await.map_err(|error| {
            let mut inner: &dyn std::error::Error = &error;
            while let Some(source) = inner.source() {
                inner = source;
            }
            Error::NoEngine { place: self.place.clone(), reason: inner.to_string() }
        })?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let problem = answer.json::<Problem>().await.map(|problem| problem.error);
        let problem = problem.unwrap_or_else(|_| format!("the engine answered {status}"));
        Err(if status == reqwest::StatusCode::FORBIDDEN { Error::Forbidden(problem) } else { Error::Refused(problem) })
    }
}
