//! A small TLS server that lets git's own `git http-backend` answer.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto};

/// A request as the server saw it.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub method: String,
    pub target: String,
    /// All of its headers.
    pub head: String,
    pub authorization: String,
    pub content_type: String,
    pub body: Vec<u8>,
}

/// What the server does with a request.
pub enum Reply {
    /// Lets git answer.
    Git,
    /// Sends these bytes, head and all.
    Raw(Vec<u8>),
    /// Sends the first, and then the second over and over.
    Flood(Vec<u8>, Vec<u8>),
    /// Says nothing.
    Hang,
}

pub struct Server {
    pub port: u16,
    /// The certificate, which is its own authority.
    pub ca: String,
    requests: Arc<Mutex<Vec<Request>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Serves the repositories below a folder over TLS.
    pub async fn start(root: &Path, answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        Self::listen(root, Some(TlsAcceptor::from(Arc::new(config))), made.cert.pem(), answer).await
    }

    /// The same without TLS.
    pub async fn start_plain(root: &Path, answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::listen(root, None, String::new(), answer).await
    }

    async fn listen(root: &Path, tls: Option<TlsAcceptor>, ca: String, answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let (root, log, answer) = (root.to_owned(), requests.clone(), Arc::new(answer));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (root, log, answer, tls) = (root.clone(), log.clone(), answer.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                connection(stream, root, &log, &*answer).await;
                            }
                        }
                        None => connection(stream, root, &log, &*answer).await,
                    }
                });
            }
        });
        Self { port, ca, requests, task }
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}/{path}", self.port)
    }

    /// What was asked so far, in short.
    pub fn asked(&self) -> Vec<String> {
        self.requests.lock().unwrap().iter().map(|request| format!("{} {}", request.method, request.target)).collect()
    }

    /// What was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    pub fn forget(&self) {
        self.requests.lock().unwrap().clear();
    }
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    root: PathBuf,
    log: &Mutex<Vec<Request>>,
    answer: &(dyn Fn(&Request) -> Reply + Send + Sync),
) {
    let Some(request) = read(&mut stream).await else { return };
    log.lock().unwrap().push(request.clone());
    match answer(&request) {
        Reply::Git => {
            let bytes = backend(&root, &request).await;
            let _ = stream.write_all(&bytes).await;
        }
        Reply::Raw(bytes) => _ = stream.write_all(&bytes).await,
        Reply::Flood(head, bytes) => {
            let _ = stream.write_all(&head).await;
            while stream.write_all(&bytes).await.is_ok() {}
        }
        Reply::Hang => std::future::pending().await,
    }
    let _ = stream.shutdown().await;
}

async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Option<Request> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut words = head.split_whitespace();
    let mut request =
        Request { method: words.next()?.to_owned(), target: words.next()?.to_owned(), body: bytes[end..].to_vec(), ..Request::default() };
    request.head.clone_from(&head);
    let mut length = 0;
    for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
        match name.to_lowercase().as_str() {
            "authorization" => request.authorization = value.to_owned(),
            "content-type" => request.content_type = value.to_owned(),
            "content-length" => length = value.parse().unwrap(),
            _ => {}
        }
    }
    while request.body.len() < length {
        if stream.read_buf(&mut request.body).await.ok()? == 0 {
            return None;
        }
    }
    Some(request)
}

/// CGI, as git-http-backend(1) has it.
async fn backend(root: &Path, request: &Request) -> Vec<u8> {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let mut child = tokio::process::Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", &request.method)
        .env("CONTENT_TYPE", &request.content_type)
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&request.body).await.unwrap();
    let output = child.wait_with_output().await.unwrap().stdout;
    let end = output.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(output[..end].to_vec()).unwrap();
    let status = head.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK");
    let mut answer = format!("HTTP/1.1 {status}\r\n{head}\r\nConnection: close\r\n\r\n").into_bytes();
    answer.extend_from_slice(&output[end + 4..]);
    answer
}

/// An answer with a body.
pub fn answer(status: &str, content_type: &str, body: &[u8]) -> Reply {
    let mut bytes = format!("HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nConnection: close\r\n\r\n").into_bytes();
    bytes.extend_from_slice(body);
    Reply::Raw(bytes)
}

/// The content type of a list of refs.
pub const LISTING: &str = "application/x-git-upload-pack-advertisement";
/// The content type of a pack.
pub const PACK: &str = "application/x-git-upload-pack-result";
