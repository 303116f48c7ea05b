//! SSH to one device: one kept connection, its host key pinned, everything with a limit in time and size.

use std::borrow::Cow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reconcile::{AwayCode, ProbeCode};
use russh::client::{self, Handle};
use russh::keys::ssh_key::{self, Algorithm, HashAlg, PublicKey};
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{ChannelMsg, Disconnect, Preferred};
use tokio::time::timeout;

/// Time limit of connecting and of the key exchange, each.
const CONNECT: Duration = Duration::from_secs(10);
/// Time limit of logging in.
const AUTHENTICATE: Duration = Duration::from_secs(10);
/// A connection on which nothing comes back to this many keep-alives is dead.
const KEEPALIVES: usize = 3;
/// Time between keep-alives.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// Bytes of a command's output that are kept; of more, the tail.
pub const OUTPUT: usize = 1 << 20;

/// What can go wrong on the way to a device.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No TCP connection.
    #[error("cannot connect to {address}: {reason}")]
    Connect {
        /// Where to.
        address: String,
        /// Why not.
        reason: String,
    },
    /// Nothing pinned.
    #[error(
        "no host key is pinned; the device shows {seen} (SHA256 {fingerprint}): compare it, and put it into spec.access.ssh.hostKeys (evenkeel scan {address} prints the YAML)"
    )]
    NotPinned {
        /// Where.
        address: String,
        /// The key line that was seen.
        seen: String,
        /// Its fingerprint.
        fingerprint: String,
    },
    /// Another key than the pinned ones.
    #[error(
        "the host key is not the pinned one: the device shows {seen} (SHA256 {fingerprint}); if it was reinstalled, replace spec.access.ssh.hostKeys (evenkeel scan {address} prints the YAML), else somebody is in between"
    )]
    OtherKey {
        /// Where.
        address: String,
        /// The key line that was seen.
        seen: String,
        /// Its fingerprint.
        fingerprint: String,
    },
    /// A pinned key that can't be read.
    #[error("spec.access.ssh.hostKeys: `{0}` is not an OpenSSH public key such as `ssh-ed25519 AAAA…`")]
    BadPin(String),
    /// The private key.
    #[error("{0}")]
    Key(String),
    /// The device did not accept our key.
    #[error("user {user} was refused: the device does not accept the key {fingerprint}")]
    Refused {
        /// As whom.
        user: String,
        /// With which key.
        fingerprint: String,
    },
    /// It took too long.
    #[error("{what} took longer than {limit:?}")]
    Slow {
        /// What.
        what: &'static str,
        /// The limit.
        limit: Duration,
    },
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The way over other devices.
    #[error("through device {via}: {reason}")]
    Via {
        /// Which device.
        via: String,
        /// What is wrong there.
        reason: String,
    },
}

impl Error {
    /// A bounded word for metrics.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Connect { .. } => "connect",
            Self::NotPinned { .. } | Self::OtherKey { .. } | Self::BadPin(_) => "host_key",
            Self::Key(_) => "key",
            Self::Refused { .. } => "auth",
            Self::Slow { .. } => "timeout",
            Self::Broken(_) => "broken",
            Self::Via { .. } => "via",
        }
    }

    /// What a probe that meets with it came to: what is wrong with our keys and pins says nothing about the device.
    pub fn code(&self) -> ProbeCode {
        match self {
            Self::Connect { reason, .. } if reason.contains("refused") => ProbeCode::Refused,
            Self::Connect { .. } => ProbeCode::NoRoute,
            Self::Slow { .. } => ProbeCode::Timeout,
            Self::Broken(_) | Self::Via { .. } => ProbeCode::Closed,
            Self::NotPinned { .. } | Self::OtherKey { .. } | Self::BadPin(_) | Self::Key(_) | Self::Refused { .. } => {
                ProbeCode::NoCredential
            }
        }
    }

    /// Why a device that it stands for can't be acted on.
    pub fn away(&self) -> AwayCode {
        match self {
            Self::Connect { .. } | Self::Slow { .. } | Self::Broken(_) | Self::Via { .. } => AwayCode::NoAnswer,
            Self::NotPinned { .. } | Self::OtherKey { .. } | Self::BadPin(_) => AwayCode::HostKeyMismatch,
            Self::Refused { .. } => AwayCode::LoginRefused,
            Self::Key(_) => AwayCode::NoCredential,
        }
    }

    /// Whether it may be better the next time without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Slow { .. } | Self::Broken(_) | Self::Via { .. })
    }
}

/// Where a connection goes, and as whom.
pub struct Endpoint<'a> {
    /// Host and port.
    pub address: (&'a str, u16),
    /// User to log in as.
    pub user: &'a str,
    /// Pinned host keys, as `ssh-ed25519 AAAA…`.
    pub host_keys: &'a [String],
    /// Our key.
    pub key: Arc<PrivateKey>,
}

/// What a command left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Exit code; `None` if a signal ended it.
    pub code: Option<u32>,
    /// Standard output, the tail of it if it was too much.
    pub stdout: Vec<u8>,
    /// Standard error, the tail of it if it was too much.
    pub stderr: Vec<u8>,
    /// Something of it was dropped.
    pub truncated: bool,
}

/// An open connection.
pub struct Connection {
    handle: Handle<Pinned>,
}

/// Accepts the pinned keys and remembers what it was shown.
struct Pinned {
    keys: Vec<PublicKey>,
    seen: Arc<Mutex<Option<PublicKey>>>,
}

impl client::Handler for Pinned {
    type Error = russh::Error;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        // A certificate would be its authority's word; only the plain key is pinned.
        let PublicKeyOrCertificate::PublicKey { key, .. } = key else { return Ok(false) };
        let pinned = self.keys.iter().any(|pinned| pinned.key_data() == key.key_data());
        *self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(key.clone());
        Ok(pinned)
    }
}

impl Connection {
    /// Connects over TCP and logs in.
    pub async fn open(endpoint: &Endpoint<'_>) -> Result<Self, Error> {
        Self::over(dial(endpoint.address).await?, endpoint).await
    }

    /// Connects through another connection, and logs in.
    pub async fn through(&self, endpoint: &Endpoint<'_>) -> Result<Self, Error> {
        let (host, port) = endpoint.address;
        let channel = timeout(CONNECT, self.handle.channel_open_direct_tcpip(host, u32::from(port), "127.0.0.1", 0))
            .await
            .map_err(|_| Error::Slow { what: "opening the way through", limit: CONNECT })?
            .map_err(|error| Error::Connect { address: format!("{host}:{port}"), reason: error.to_string() })?;
        Self::over(channel.into_stream(), endpoint).await
    }

    async fn over<S>(stream: S, endpoint: &Endpoint<'_>) -> Result<Self, Error>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let keys = pins(endpoint.host_keys)?;
        let seen = Arc::new(Mutex::new(None));
        let handler = Pinned { keys: keys.clone(), seen: seen.clone() };
        let connecting = client::connect_stream(config(algorithms(&keys)), stream, handler);
        let mut handle = match timeout(CONNECT, connecting).await {
            Err(_) => return Err(Error::Slow { what: "the key exchange", limit: CONNECT }),
            Ok(Ok(handle)) => handle,
            Ok(Err(error)) => return Err(rejected(endpoint, &keys, &seen, &error)),
        };
        let hash = endpoint.key.algorithm().is_rsa().then_some(HashAlg::Sha512);
        let key = PrivateKeyWithHashAlg::new(endpoint.key.clone(), hash);
        let answer = timeout(AUTHENTICATE, handle.authenticate_publickey(endpoint.user, key))
            .await
            .map_err(|_| Error::Slow { what: "logging in", limit: AUTHENTICATE })?
            .map_err(|error| Error::Broken(error.to_string()))?;
        if !answer.success() {
            let fingerprint = endpoint.key.public_key().fingerprint(HashAlg::Sha256).to_string();
            return Err(Error::Refused { user: endpoint.user.to_owned(), fingerprint });
        }
        Ok(Self { handle })
    }

    /// Whether the connection is known to be gone.
    pub fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// Runs a command with some input, within a time limit. The command line is not secret; the input may be.
    pub async fn exec(&self, command: &str, input: &[u8], limit: Duration) -> Result<Output, Error> {
        match timeout(limit, self.run(command, input)).await {
            Ok(result) => result.map_err(|error| Error::Broken(error.to_string())),
            Err(_) => Err(Error::Slow { what: "the command", limit }),
        }
    }

    async fn run(&self, command: &str, input: &[u8]) -> Result<Output, russh::Error> {
        let mut channel = self.handle.channel_open_session().await?;
        channel.exec(true, command).await?;
        let mut writer = channel.make_writer();
        let feed = async move {
            use tokio::io::AsyncWriteExt as _;
            let _ = writer.write_all(input).await;
            let _ = writer.shutdown().await;
        };
        tokio::pin!(feed);
        let mut fed = false;
        let mut output = Output { code: None, stdout: Vec::new(), stderr: Vec::new(), truncated: false };
        let mut ended = false;
        loop {
            // Writing and reading go on at once: a command may well answer before it has read everything.
            let message = tokio::select! {
                () = &mut feed, if !fed => {
                    fed = true;
                    continue;
                }
                message = channel.wait() => message,
            };
            let Some(message) = message else { break };
            match message {
                ChannelMsg::Data { data } => output.truncated |= keep_tail(&mut output.stdout, &data, 2 * OUTPUT),
                ChannelMsg::ExtendedData { data, ext: 1 } => output.truncated |= keep_tail(&mut output.stderr, &data, 2 * OUTPUT),
                ChannelMsg::ExitStatus { exit_status } => {
                    output.code = Some(exit_status);
                    ended = true;
                }
                ChannelMsg::ExitSignal { .. } => ended = true,
                ChannelMsg::Failure => return Err(russh::Error::RequestDenied),
                _ => {}
            }
        }
        for kept in [&mut output.stdout, &mut output.stderr] {
            output.truncated |= keep_tail(kept, &[], OUTPUT);
        }
        // The channel closed without a word on how the command ended: the connection broke.
        if ended { Ok(output) } else { Err(russh::Error::Disconnect) }
    }

    /// Says goodbye.
    pub async fn close(&self) {
        let _ = timeout(Duration::from_secs(1), self.handle.disconnect(Disconnect::ByApplication, "", "")).await;
    }
}

/// Appends, and keeps the last [`OUTPUT`] bytes once there are more than `limit`: dropping the head costs what is kept, so it is
/// done in large pieces only. Returns whether something was dropped.
pub(crate) fn keep_tail(kept: &mut Vec<u8>, more: &[u8], limit: usize) -> bool {
    kept.extend_from_slice(more);
    if kept.len() <= limit {
        return false;
    }
    kept.drain(..kept.len() - OUTPUT);
    true
}

async fn dial(address: (&str, u16)) -> Result<tokio::net::TcpStream, Error> {
    let failed = |reason: String| Error::Connect { address: format!("{}:{}", address.0, address.1), reason };
    let stream = timeout(CONNECT, tokio::net::TcpStream::connect(address))
        .await
        .map_err(|_| failed(format!("no answer within {CONNECT:?}")))?
        .map_err(|error| failed(error.to_string()))?;
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

fn config(keys: Vec<Algorithm>) -> Arc<client::Config> {
    let preferred = if keys.is_empty() { Preferred::default() } else { Preferred { key: Cow::Owned(keys), ..Preferred::default() } };
    Arc::new(client::Config {
        preferred,
        nodelay: true,
        keepalive_interval: Some(KEEPALIVE),
        keepalive_max: KEEPALIVES,
        inactivity_timeout: None,
        ..client::Config::default()
    })
}

/// The algorithms of the pinned keys first, so that a server with several keys shows one that can be compared; then the others,
/// so that a server with none of those shows what it has, and we can say so.
fn algorithms(keys: &[PublicKey]) -> Vec<Algorithm> {
    let mut algorithms = Vec::new();
    for key in keys {
        match key.algorithm() {
            Algorithm::Rsa { .. } => {
                algorithms.push(Algorithm::Rsa { hash: Some(HashAlg::Sha512) });
                algorithms.push(Algorithm::Rsa { hash: Some(HashAlg::Sha256) });
            }
            other => algorithms.push(other),
        }
    }
    if !algorithms.is_empty() {
        let others = Preferred::default().key.iter().filter(|other| !algorithms.contains(other)).cloned().collect::<Vec<_>>();
        algorithms.extend(others);
    }
    algorithms
}

fn pins(lines: &[String]) -> Result<Vec<PublicKey>, Error> {
    lines.iter().map(|line| PublicKey::from_openssh(line).map_err(|_| Error::BadPin(line.chars().take(60).collect()))).collect()
}

fn rejected(endpoint: &Endpoint<'_>, keys: &[PublicKey], seen: &Mutex<Option<PublicKey>>, error: &russh::Error) -> Error {
    let seen = seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    let (host, port) = endpoint.address;
    let address = if port == 22 { host.to_owned() } else { format!("{host}:{port}") };
    match (seen, error) {
        (Some(key), russh::Error::UnknownKey) => {
            let (seen, fingerprint) = describe(&key);
            if keys.is_empty() { Error::NotPinned { address, seen, fingerprint } } else { Error::OtherKey { address, seen, fingerprint } }
        }
        (_, error) => Error::Broken(error.to_string()),
    }
}

fn describe(key: &PublicKey) -> (String, String) {
    let mut bare = key.clone();
    bare.set_comment("");
    let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
    (bare.to_openssh().unwrap_or_default(), fingerprint.trim_start_matches("SHA256:").to_owned())
}

/// Asks a server for its host keys, one of each type, without logging in: key lines with their fingerprints.
pub async fn scan(host: &str, port: u16) -> Result<Vec<(String, String)>, Error> {
    let wanted =
        [Algorithm::Ed25519, Algorithm::Ecdsa { curve: ssh_key::EcdsaCurve::NistP256 }, Algorithm::Rsa { hash: Some(HashAlg::Sha512) }];
    let mut found = Vec::new();
    let mut last = None;
    for algorithm in wanted {
        let seen = Arc::new(Mutex::new(None));
        let handler = Pinned { keys: Vec::new(), seen: seen.clone() };
        let stream = dial((host, port)).await?;
        match timeout(CONNECT, client::connect_stream(config(vec![algorithm]), stream, handler)).await {
            Err(_) => last = Some(format!("no answer within {CONNECT:?}")),
            Ok(Err(error)) => last = Some(error.to_string()),
            Ok(Ok(_)) => {}
        }
        if let Some(key) = seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take() {
            found.push(describe(&key));
        }
    }
    match (found.is_empty(), last) {
        (true, Some(reason)) => Err(Error::Connect { address: format!("{host}:{port}"), reason }),
        _ => Ok(found),
    }
}
