//! Git over HTTPS, gitprotocol-http(5): the list of refs is one GET, a fetch or a push is one POST more.

use std::error::Error as _;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use tokio::sync::mpsc::Sender;

use super::location::is_loopback;
use super::secret::{Login, Secret};
use super::wire::{Listing, MAX_LISTING, MAX_PACK, MAX_REPORT, Pack, Packets, Pieces, Report, Service};

/// Time limit of connecting.
const CONNECT: Duration = Duration::from_secs(10);
/// Time limit of one piece of an answer.
const IDLE: Duration = Duration::from_secs(30);
/// Redirects that are followed, on the same server.
const MAX_REDIRECTS: usize = 5;

/// A server that told us its refs.
pub(super) struct Connection {
    client: Client,
    login: Option<Login>,
    base: String,
    has_bands: bool,
}

impl Pieces for Response {
    async fn piece(&mut self) -> Result<Option<Vec<u8>>, String> {
        self.chunk().await.map(|piece| piece.map(Vec::from)).map_err(|error| words(&error))
    }
}

/// Asks for the refs.
pub(super) async fn list(url: &Url, secret: &Secret, service: Service) -> Result<(Listing, Connection), String> {
    let login = secret.login()?;
    let client = client(url, secret)?;
    let asked = format!("{}/info/refs", url.as_str().trim_end_matches('/'));
    let request = client.get(&asked).query(&[("service", service.program())]).header(ACCEPT, "*/*");
    let answer = send(request, login.as_ref(), &format!("application/x-{}-advertisement", service.program())).await?;
    // As Git does: where the list came from is where the rest is asked for.
    let base = answer.url().as_str().split("/info/refs").next().unwrap_or_default().to_owned();
    let listing = Packets::new(answer, MAX_LISTING).listing().await?;
    let has_bands = listing.can("side-band-64k");
    Ok((listing, Connection { client, login, base, has_bands }))
}

impl Connection {
    /// Sends a request for objects, and hands the pack on.
    pub(super) async fn fetch(self, request: Vec<u8>, sink: &Sender<Pack>) -> Result<(), String> {
        let request = self
            .client
            .post(format!("{}/git-upload-pack", self.base))
            .header(CONTENT_TYPE, "application/x-git-upload-pack-request")
            .header(ACCEPT, "application/x-git-upload-pack-result")
            .body(request);
        let answer = send(request, self.login.as_ref(), "application/x-git-upload-pack-result").await?;
        Packets::new(answer, MAX_PACK).pack(sink).await
    }

    /// Sends a command with its pack, and reads what the server says to it.
    pub(super) async fn push(self, request: Vec<u8>) -> Result<Report, String> {
        let request = self
            .client
            .post(format!("{}/git-receive-pack", self.base))
            .header(CONTENT_TYPE, "application/x-git-receive-pack-request")
            .header(ACCEPT, "application/x-git-receive-pack-result")
            .body(request);
        let answer = send(request, self.login.as_ref(), "application/x-git-receive-pack-result").await?;
        Packets::new(answer, MAX_REPORT).report(self.has_bands).await
    }
}

fn client(url: &Url, secret: &Secret) -> Result<Client, String> {
    let home = url.clone();
    // A token goes to the server it was given for, and to no other.
    let redirects = Policy::custom(move |attempt| {
        let (from, to) = (&home, attempt.url());
        let same =
            (from.scheme(), from.host_str(), from.port_or_known_default()) == (to.scheme(), to.host_str(), to.port_or_known_default());
        if !same {
            let to = to.host_str().unwrap_or("?").to_owned();
            return attempt.error(format!("it redirects to another server ({to}): if that is right, put its URL here"));
        }
        if attempt.previous().len() > MAX_REDIRECTS { attempt.error("too many redirects") } else { attempt.follow() }
    });
    let mut builder = Client::builder()
        .user_agent(concat!("git/evenkeel-", env!("CARGO_PKG_VERSION")))
        .redirect(redirects)
        .referer(false)
        .connect_timeout(CONNECT)
        .read_timeout(IDLE);
    if url.host_str().is_some_and(is_loopback) {
        // This machine is not behind a proxy.
        builder = builder.no_proxy();
    }
    if let Some(authority) = secret.text("ca.crt")? {
        let certificates = reqwest::Certificate::from_pem_bundle(authority.as_bytes()).unwrap_or_default();
        if certificates.is_empty() {
            return Err(format!("secret {}: there is no PEM certificate in it", secret.place("ca.crt")));
        }
        builder = builder.tls_certs_only(certificates);
    }
    builder.build().map_err(|error| words(&error))
}

async fn send(request: RequestBuilder, login: Option<&Login>, wanted: &str) -> Result<Response, String> {
    let request = match login {
        Some(Login::Basic(user, password)) => request.basic_auth(user.as_str(), Some(password.as_str())),
        Some(Login::Bearer(token)) => request.bearer_auth(token.as_str()),
        None => request,
    };
    let answer = request.send().await.map_err(|error| words(&error))?;
    let found = answer.headers().get(CONTENT_TYPE).and_then(|found| found.to_str().ok()).unwrap_or("nothing that has a type");
    match answer.status() {
        StatusCode::OK if found == wanted => Ok(answer),
        StatusCode::OK => Err(format!("it answers with {found}: that is not a Git repository, or a server without Git's smart protocol")),
        status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND) => Err(match (login, status) {
            (Some(_), StatusCode::NOT_FOUND) => format!("it is not there, or the secret's credentials don't show it ({status})"),
            (Some(_), _) => format!("the secret's credentials are not accepted ({status})"),
            (None, StatusCode::NOT_FOUND) => format!("it is not there, or wants credentials ({status}): name a secret with a `token`"),
            (None, _) => format!("it wants credentials ({status}): name a secret with a `token`, or `username` and `password`"),
        }),
        status => Err(format!("it answers {status}")),
    }
}

/// The whole chain of causes, in which the reason is mostly the last.
fn words(error: &reqwest::Error) -> String {
    let (mut words, mut last) = (String::new(), String::new());
    let mut next: Option<&dyn std::error::Error> = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        // Some causes repeat the one below them, or say nothing.
        if !last.contains(&text) && !text.starts_with("client error") {
            words = if words.is_empty() { text.clone() } else { format!("{words}: {text}") };
        }
        last = text;
        next = cause.source();
    }
    if error.is_timeout() {
        return format!("no answer within {IDLE:?} ({words})");
    }
    if words.is_empty() { "the request failed".into() } else { words }
}
