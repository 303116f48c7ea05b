//! Requests to servers that are not trusted: nothing is followed, answers are bounded, and what an answer means is said in one place.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response, StatusCode, Url};

use crate::error::{Category, Error};
use crate::guard::{Guarded, Places, Refused};
use crate::retry::PATIENCE;
use crate::secret::Secret;

/// Time limit of connecting, TLS included.
const CONNECT: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read: what says why something is refused, or whether an SMS is taken, is less.
pub(crate) const ANSWER: usize = reconcile::alerting::success::BODY;
/// Time for the body of an answer whose status has said already that all is well; it is read only so that the connection can be used again.
const REST: Duration = Duration::from_secs(2);
/// Clients with authorities of their own that are kept: as many as there are Receivers with a `ca.crt`, mostly none.
const CLIENTS: usize = 64;

/// One request.
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) retry_after: Option<Duration>,
    /// The beginning of it; empty where it was not to be read.
    pub(crate) body: String,
    /// Whether there was more than is read.
    pub(crate) is_cut: bool,
}

impl Request {
    pub(crate) fn post(url: Url, content_type: &'static str, body: Vec<u8>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        Self { method: Method::POST, url, headers, body }
    }

    /// Name of the server, for messages: paths and queries may be secrets.
    pub(crate) fn server(&self) -> String {
        server(&self.url)
    }
}

/// Name of a URL's server.
pub(crate) fn server(url: &Url) -> String {
    let host = url.host_str().unwrap_or("the server");
    url.port().map_or(host.to_owned(), |port| format!("{host}:{port}"))
}

/// Reads a URL that a request can go to.
pub(crate) fn url(text: &str) -> Result<Url, Error> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some());
    let url = url.ok_or_else(|| Error::new(Category::Receiver, "the receiver's URL is not one of http or https"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Error::new(Category::Receiver, "the receiver's URL has a user name or password in it"));
    }
    Ok(url)
}

/// A header value that is kept out of logs.
pub(crate) fn sensitive(value: &str) -> Result<HeaderValue, Error> {
    let mut value =
        HeaderValue::from_str(value).map_err(|_| Error::new(Category::Secret, "the secret has letters that no header takes"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Clients, each with its connections: one that trusts the system's authorities, and others for those that trust their own.
pub(crate) struct Clients {
    limit: Duration,
    places: Places,
    by_authorities: Mutex<BTreeMap<Vec<u8>, Client>>,
}

impl Clients {
    /// A whole request may take `limit`, and goes to these places only.
    pub(crate) fn new(limit: Duration, places: Places) -> Self {
        Self { limit, places, by_authorities: Mutex::default() }
    }

    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    fn get(&self, secret: &Secret) -> Result<Client, Error> {
        let authorities = secret.bytes("ca.crt").unwrap_or_default();
        let mut clients = self.by_authorities.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(authorities) {
            return Ok(client.clone());
        }
        let client = client(authorities, self.limit, self.places)?;
        if clients.len() >= CLIENTS {
            clients.clear();
        }
        clients.insert(authorities.to_vec(), client.clone());
        Ok(client)
    }

    /// Sends a request and reads the beginning of its answer. Where `needs_body` is false, an answer of 2xx is one whatever its body does.
    pub(crate) async fn send(&self, request: Request, secret: &Secret, needs_body: bool, now: Timestamp) -> Result<Answer, Error> {
        self.places.allows(&request.url)?;
        let client = self.get(secret)?;
        let server = request.server();
        let sending = async {
            let sent = client.request(request.method, request.url).headers(request.headers).body(request.body).send();
            let response = sent.await.map_err(|error| self.failed(&server, &error))?;
            self.read(&server, response, needs_body, now).await
        };
        // The client has this limit as well; this one also covers what it does not, such as looking up names.
        let limit = self.limit.saturating_add(REST);
        tokio::time::timeout(limit, sending).await.unwrap_or_else(|_| Err(self.late(&server)))
    }

    async fn read(&self, server: &str, mut response: Response, needs_body: bool, now: Timestamp) -> Result<Answer, Error> {
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?, now));
        let mut body = Vec::new();
        let mut is_cut = false;
        let reading = async {
            while let Some(piece) = response.chunk().await? {
                let rest = ANSWER - body.len();
                body.extend_from_slice(&piece[..piece.len().min(rest)]);
                if piece.len() > rest {
                    is_cut = true;
                    break;
                }
            }
            Ok(())
        };
        // An answer of failure is one without its words too.
        let is_needed = needs_body && status.is_success();
        let limit = if is_needed { self.limit } else { REST };
        match tokio::time::timeout(limit, reading).await {
            Ok(Err(error)) if is_needed => return Err(self.failed(server, &error)),
            Err(_) if is_needed => return Err(self.late(server)),
            _ => {}
        }
        Ok(Answer { status, retry_after, body: String::from_utf8_lossy(&body).into_owned(), is_cut })
    }

    fn late(&self, server: &str) -> Error {
        Error::new(Category::Timeout, format!("{server}: no answer within {} s", self.limit.as_secs()))
    }

    fn failed(&self, server: &str, error: &reqwest::Error) -> Error {
        if error.is_timeout() && !error.is_connect() {
            return self.late(server);
        }
        // The innermost cause is mostly the reason. The URL, which may be a secret, stands only in the outermost.
        let mut cause: &(dyn std::error::Error + 'static) = error;
        let (mut is_tls, mut is_refused, mut is_outermost) = (false, false, true);
        for _ in 0..8 {
            let Some(next) = cause.source() else { break };
            cause = next;
            is_outermost = false;
            is_refused |= cause.is::<Refused>();
            is_tls |= cause.to_string().contains("certificate");
        }
        let words = if is_outermost { "no connection".to_owned() } else { cause.to_string() };
        if is_refused {
            return Error::new(Category::Receiver, format!("{server}: {words}"));
        }
        let category = match (is_tls, error.is_connect(), error.is_timeout()) {
            (true, ..) => Category::Tls,
            (_, true, true) => Category::Timeout,
            (_, true, false) => Category::Connection,
            // A connection that ends in the middle can't be told from an answer that is none.
            _ if error.is_request() => Category::Connection,
            _ => Category::Answer,
        };
        Error::new(category, format!("{server}: {words}"))
    }
}

fn client(authorities: &[u8], limit: Duration, places: Places) -> Result<Client, Error> {
    let configured = || {
        let builder = if places == Places::Any { Client::builder() } else { Client::builder().dns_resolver(Guarded(places)) };
        builder
            .user_agent(concat!("evenkeel/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .referer(false)
            .connect_timeout(CONNECT.min(limit))
            .timeout(limit)
            .pool_max_idle_per_host(4)
    };
    let built = if authorities.is_empty() {
        // Where this system has no authorities (a bare container), one that trusts nobody, so that the reason is said.
        configured().build().or_else(|_| configured().tls_certs_only([]).build())
    } else {
        let certificates = reqwest::Certificate::from_pem_bundle(authorities).unwrap_or_default();
        if certificates.is_empty() {
            return Err(Error::new(Category::Secret, "there is no PEM certificate in the secret's `ca.crt`"));
        }
        configured().tls_certs_only(certificates).build()
    };
    built.map_err(|_| Error::new(Category::Tls, "no HTTP client can be made from the authorities"))
}

/// What a status means where nothing but the status counts. `server` is for the message.
pub(crate) fn judged(server: &str, answer: &Answer, secret: &Secret) -> Result<(), Error> {
    let status = answer.status;
    if status.is_success() {
        return Ok(());
    }
    let (category, why) = match status {
        StatusCode::TOO_MANY_REQUESTS => (Category::RateLimited, "it takes no more for now"),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY => (Category::Server, "it asks to try again"),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => (Category::Login, "it does not accept the credentials"),
        StatusCode::NOT_FOUND | StatusCode::GONE => (Category::Refused, "there is nothing at this URL"),
        _ if status.is_redirection() => {
            (Category::Refused, "it redirects, and nothing is sent elsewhere: put the right URL into the receiver")
        }
        _ if status.is_server_error() => (Category::Server, "it has a fault"),
        _ => (Category::Refused, "it does not take this"),
    };
    let said = secret.taken_out_of(&answer.body);
    Err(Error::said(category, &format!("{server}: {why} ({})", status.as_u16()), &said).after(answer.retry_after))
}

/// RFC 9110, 10.2.3: seconds, or a date; bounded.
fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are more than anybody waits.
        return Some(value.parse().map_or(PATIENCE, Duration::from_secs).min(PATIENCE));
    }
    let then = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    Some(Duration::try_from(then.duration_since(now)).unwrap_or_default().min(PATIENCE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_has_two_forms_and_a_bound() {
        let now: Timestamp = "2026-11-26T12:00:00Z".parse().unwrap();
        for (value, seconds) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("99999999999999999999999", Some(3600)),
            ("Thu, 26 Nov 2026 12:01:30 GMT", Some(90)),
            ("Thu, 26 Nov 2026 11:00:00 GMT", Some(0)),
            ("Fri, 26 Nov 2027 12:00:00 GMT", Some(3600)),
            ("-5", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(retry_after(value, now).map(|after| after.as_secs()), seconds, "{value}");
        }
    }

    #[test]
    fn each_status_means_one_thing() {
        let of = |status: u16| {
            let answer = Answer { status: StatusCode::from_u16(status).unwrap(), retry_after: None, body: String::new(), is_cut: false };
            judged("x", &answer, &Secret::default()).map_err(|error| (error.category.as_str(), error.is_transient()))
        };
        for status in [200, 202, 204] {
            assert_eq!(of(status), Ok(()));
        }
        for (status, category, is_transient) in [
            (301, "refused", false),
            (308, "refused", false),
            (400, "refused", false),
            (401, "login", false),
            (403, "login", false),
            (404, "refused", false),
            (408, "server", true),
            (422, "refused", false),
            (429, "rate-limited", true),
            (500, "server", true),
            (503, "server", true),
        ] {
            assert_eq!(of(status), Err((category, is_transient)), "{status}");
        }
    }

    #[test]
    fn only_plain_urls_are_taken() {
        assert!(url("https://example.com/x?y=z").is_ok());
        for bad in ["ftp://example.com", "https://u:p@example.com", "https://u@example.com", "//x", "", "file:///etc/passwd"] {
            assert_eq!(url(bad).unwrap_err().category, Category::Receiver, "{bad}");
        }
    }
}
