//! Git over SSH: `git-upload-pack` or `git-receive-pack` on the server, its host key pinned by the `known_hosts` of the secret.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::hmac;
use russh::client::{self, Handle, Msg};
use russh::keys::ssh_key::known_hosts::{Entry, HostPatterns, Marker};
use russh::keys::ssh_key::{Algorithm, HashAlg, PublicKey};
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{Channel, ChannelMsg, Disconnect, Preferred};
use tokio::net::TcpStream;
use tokio::sync::mpsc::Sender;
use tokio::time::timeout;

use super::location::Ssh;
use super::secret::Secret;
use super::wire::{FLUSH, Listing, MAX_LISTING, MAX_PACK, MAX_REPORT, Pack, Packets, Pieces, Report, Service};

/// Time limit of connecting, of the key exchange, and of logging in, each.
const CONNECT: Duration = Duration::from_secs(10);
/// Bytes of what the server says beside the protocol.
const MAX_WORDS: usize = 4096;

/// A server that told us its refs, and waits for what we want.
pub(super) struct Connection {
    handle: Handle<Pinned>,
    packets: Packets<Session>,
    has_bands: bool,
}

/// The server's side of it.
struct Session {
    channel: Channel<Msg>,
    service: Service,
    words: Vec<u8>,
}

impl Pieces for Session {
    async fn piece(&mut self) -> Result<Option<Vec<u8>>, String> {
        loop {
            match self.channel.wait().await {
                Some(ChannelMsg::Data { data }) => return Ok(Some(Vec::from(data))),
                Some(ChannelMsg::ExtendedData { data, .. }) => {
                    self.words.extend(data.iter().take(MAX_WORDS - self.words.len()));
                }
                Some(ChannelMsg::Failure) => return Err(format!("the server does not let us run {}", self.service.program())),
                Some(ChannelMsg::Close) | None => {
                    let words = String::from_utf8_lossy(&self.words);
                    let words = words.trim();
                    return if words.is_empty() { Ok(None) } else { Err(format!("the server says: {words}")) };
                }
                Some(_) => {}
            }
        }
    }
}

/// Connects, and asks for the refs.
pub(super) async fn list(at: &Ssh, secret: &Secret, service: Service) -> Result<(Listing, Connection), String> {
    let handle = connect(at, secret).await?;
    let broken = |error: russh::Error| format!("the connection broke: {error}");
    let channel = handle.channel_open_session().await.map_err(broken)?;
    // As Git quotes it: a server with a restricted shell reads exactly this form.
    let path = at.path.replace('\'', "'\\''").replace('!', "'\\!'");
    channel.exec(true, format!("{} '{path}'", service.program())).await.map_err(broken)?;
    let mut packets = Packets::new(Session { channel, service, words: Vec::new() }, MAX_LISTING);
    let listing = packets.listing().await?;
    let has_bands = listing.can("side-band-64k");
    Ok((listing, Connection { handle, packets, has_bands }))
}

impl Connection {
    /// Sends a request for objects, and hands the pack on.
    pub(super) async fn fetch(mut self, request: Vec<u8>, sink: &Sender<Pack>) -> Result<(), String> {
        self.packets.allow(MAX_PACK);
        self.say(request).await?;
        self.packets.pack(sink).await?;
        self.leave().await;
        Ok(())
    }

    /// Sends a command with its pack, and reads what the server says to it.
    pub(super) async fn push(mut self, request: Vec<u8>) -> Result<Report, String> {
        self.packets.allow(MAX_REPORT);
        self.say(request).await?;
        let report = self.packets.report(self.has_bands).await?;
        self.leave().await;
        Ok(report)
    }

    /// Wants nothing, and goes.
    pub(super) async fn close(mut self) {
        let _ = self.say(FLUSH.into()).await;
        self.leave().await;
    }

    async fn say(&mut self, bytes: Vec<u8>) -> Result<(), String> {
        self.packets.pieces().channel.data_bytes(bytes).await.map_err(|error| format!("the connection broke: {error}"))
    }

    async fn leave(&self) {
        let _ = timeout(Duration::from_secs(1), self.handle.disconnect(Disconnect::ByApplication, "", "")).await;
    }
}

/// Accepts the pinned keys and remembers what it was shown.
struct Pinned {
    keys: Vec<PublicKey>,
    seen: Arc<Mutex<Option<PublicKey>>>,
}

impl client::Handler for Pinned {
    type Error = russh::Error;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        // A certificate would be its authority's word; only plain keys are pinned.
        let PublicKeyOrCertificate::PublicKey { key, .. } = key else { return Ok(false) };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(key.clone());
        Ok(self.keys.iter().any(|pinned| pinned.key_data() == key.key_data()))
    }
}

async fn connect(at: &Ssh, secret: &Secret) -> Result<Handle<Pinned>, String> {
    let key = secret.private_key()?;
    let keys = pinned(&secret.text("known_hosts")?.unwrap_or_default(), &at.host, at.port);
    let address = (at.host.as_str(), at.port);
    let stream = timeout(CONNECT, TcpStream::connect(address)).await.map_err(|_| format!("cannot connect within {CONNECT:?}"))?;
    let stream = stream.map_err(|error| format!("cannot connect: {error}"))?;
    let seen = Arc::new(Mutex::new(None));
    let handler = Pinned { keys: keys.clone(), seen: seen.clone() };
    let connecting = timeout(CONNECT, client::connect_stream(config(&keys), stream, handler)).await;
    let mut handle = match connecting.map_err(|_| format!("no key exchange within {CONNECT:?}"))? {
        Ok(handle) => handle,
        Err(error) => return Err(refused(at, secret, &keys, &seen, &error)),
    };
    let hash = key.algorithm().is_rsa().then_some(HashAlg::Sha512);
    let fingerprint = key.public_key().fingerprint(HashAlg::Sha256);
    let login = handle.authenticate_publickey(at.user.as_str(), PrivateKeyWithHashAlg::new(key, hash));
    let answer = timeout(CONNECT, login).await.map_err(|_| format!("no login within {CONNECT:?}"))?;
    match answer.map_err(|error| format!("the connection broke: {error}"))?.success() {
        true => Ok(handle),
        false => Err(format!("user {} was refused: the server does not accept the key {fingerprint}", at.user)),
    }
}

fn config(keys: &[PublicKey]) -> Arc<client::Config> {
    // The algorithms of the pinned keys first, so that a server with several keys shows one that can be compared.
    let pinned = |algorithm: &Algorithm| match algorithm {
        Algorithm::Rsa { .. } => keys.iter().any(|key| key.algorithm().is_rsa()),
        other => keys.iter().any(|key| key.algorithm() == *other),
    };
    let preferred = Preferred::default();
    let (mut first, others): (Vec<_>, Vec<_>) = preferred.key.iter().cloned().partition(pinned);
    first.extend(others);
    let preferred = Preferred { key: Cow::Owned(first), ..preferred };
    Arc::new(client::Config { preferred, nodelay: true, ..client::Config::default() })
}

fn refused(at: &Ssh, secret: &Secret, keys: &[PublicKey], seen: &Mutex<Option<PublicKey>>, error: &russh::Error) -> String {
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let (Some(mut key), russh::Error::UnknownKey) = (seen, error) else { return format!("the connection broke: {error}") };
    key.set_comment("");
    let fingerprint = key.fingerprint(HashAlg::Sha256);
    let line = format!("{} {}", host_name(&at.host, at.port), key.to_openssh().unwrap_or_default());
    let file = secret.place("known_hosts");
    if keys.is_empty() {
        format!(
            "no host key of it is pinned; it shows {fingerprint}: compare that with what its owner says, and put this line into {file}: {line}"
        )
    } else {
        format!(
            "its host key is not the pinned one: it shows {fingerprint}; if its owner changed the key, put this line into {file}: {line}; \
             else somebody is in between"
        )
    }
}

/// The keys that a file of known hosts pins for a server, sshd(8). Lines that can't be read, and authorities, pin nothing; a
/// revoked key is never accepted.
fn pinned(text: &str, host: &str, port: u16) -> Vec<PublicKey> {
    let name = host_name(host, port);
    let (mut keys, mut revoked) = (Vec::new(), Vec::new());
    for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        let Some(entry) = line.parse::<Entry>().ok().filter(|entry| is_for(entry.host_patterns(), &name)) else { continue };
        match entry.marker() {
            None => keys.push(entry.public_key().clone()),
            Some(Marker::Revoked) => revoked.push(entry.public_key().clone()),
            Some(Marker::CertAuthority) => {}
        }
    }
    keys.retain(|key| !revoked.iter().any(|revoked| revoked.key_data() == key.key_data()));
    keys
}

/// A host as such a file names it.
fn host_name(host: &str, port: u16) -> String {
    if port == 22 { host.to_owned() } else { format!("[{host}]:{port}") }
}

fn is_for(patterns: &HostPatterns, name: &str) -> bool {
    match patterns {
        HostPatterns::HashedName { salt, hash } => {
            let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, salt);
            hmac::verify(&key, name.as_bytes(), hash).is_ok()
        }
        HostPatterns::Patterns(patterns) => {
            let hit = |pattern: &str| glob(&pattern.to_lowercase(), &name.to_lowercase());
            let (not, yes): (Vec<&str>, Vec<&str>) = patterns.iter().map(String::as_str).partition(|pattern| pattern.starts_with('!'));
            yes.into_iter().any(hit) && !not.into_iter().any(|pattern| hit(&pattern[1..]))
        }
    }
}

/// `*` and `?`, in time that is bounded by the product of both lengths.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut read, mut star) = (0, 0, None);
    while read < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[read] => (at, read) = (at + 1, read + 1),
            _ => match &mut star {
                Some((from, taken)) => {
                    *taken += 1;
                    (at, read) = (*from + 1, *taken);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}
