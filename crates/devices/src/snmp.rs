//! Asking SNMP agents: v2c, and v3 with users (RFC 3414), SHA and AES. One socket for each address that is asked from serves all devices.

pub(crate) mod probe;
pub(crate) mod usage;

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_snmp::client::{WalkOptions, WalkStream};
use async_snmp::transport::{UdpHandle, UdpTransport};
use async_snmp::{Auth, AuthProtocol, Client, EngineCache, ErrorKind, MasterKeys, Oid, PrivProtocol, Retry, UsmConfig, Value};
use reconcile::{Device, Snmp, Way};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::probe::{Phases, Reason, reach};
use crate::secrets::Secrets;

/// Wait for one answer, and how often it is asked for again: an agent that is there answers within milliseconds, and a probe has five
/// seconds.
const ANSWER: Duration = Duration::from_millis(1500);
const AGAIN: u32 = 1;
/// Rows of one column: the interfaces of a large chassis.
const ROWS: usize = 1024;
/// Values that are asked for at once.
const AT_ONCE: u32 = 25;
/// Sockets that are kept: more addresses than a machine has.
const SOCKETS: usize = 64;
/// Derived keys that are kept; one takes a million bytes of hashing to derive.
const KEYS: usize = 256;

/// What all questions share.
#[derive(Default)]
pub(crate) struct Agents {
    /// By the address that is asked from: one of each family where none is named.
    sockets: tokio::sync::Mutex<HashMap<IpAddr, UdpTransport>>,
    engines: Arc<EngineCache>,
    keys: Mutex<HashMap<[u8; 32], MasterKeys>>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Error {
    /// It could not be asked: that says nothing about the device.
    NotAsked(String),
    /// It was asked, and did not answer as it should.
    Silent(String),
    /// It has no address, or nobody tells us which.
    Address(Reason),
}

impl Error {
    pub(crate) fn into_reason(self) -> String {
        match self {
            Self::NotAsked(reason) | Self::Silent(reason) => reason,
            Self::Address(reason) => reason.words,
        }
    }

    fn of(error: &async_snmp::Error) -> Self {
        let text = error.to_string();
        match error.kind() {
            // The agent is there and does not know us.
            ErrorKind::Auth | ErrorKind::Report | ErrorKind::Privacy => Self::NotAsked(format!("the agent refuses user or keys: {text}")),
            ErrorKind::Config | ErrorKind::InvalidOid | ErrorKind::RandomSource | ErrorKind::Closed => Self::NotAsked(text),
            // What an agent says to a wrong key is not signed with the right one, and so could be anybody's word: it is not taken for an answer.
            ErrorKind::Timeout | ErrorKind::ConstructionTimeout => Self::Silent("no answer, or another community or key than ours".into()),
            _ => Self::Silent(text),
        }
    }
}

/// A device's agent.
pub(crate) struct Agent(Client<UdpHandle>);

impl Agents {
    /// Gets ready to ask a device's agent.
    pub(crate) async fn agent(&self, secrets: &Secrets, device: &Device, how: &Snmp, way: &Way) -> Result<Agent, Error> {
        let auth = self.credential(secrets, device.name.namespace(), how).await.map_err(Error::NotAsked)?;
        let address = reach::address(&device.address, way, &mut Phases::default()).await.map_err(Error::Address)?;
        let socket = self.socket(address, way.source).await?;
        let retry = Retry::fixed(AGAIN, Duration::ZERO).map_err(|error| Error::NotAsked(error.to_string()))?;
        let builder = Client::builder(SocketAddr::new(address, how.port), auth).request_timeout(ANSWER).retry(retry);
        let client = builder.engine_cache(self.engines.clone()).build_with(&socket).await;
        client.map(Agent).map_err(|error| Error::of(&error))
    }

    /// The socket that is asked from.
    async fn socket(&self, to: IpAddr, source: Option<IpAddr>) -> Result<UdpTransport, Error> {
        let any = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let from = source.unwrap_or(any);
        let mut sockets = self.sockets.lock().await;
        if let Some(socket) = sockets.get(&from) {
            return Ok(socket.clone());
        }
        let own = SocketAddr::new(from, 0);
        // Why an address can't be had is told apart here, and not by the library.
        std::net::UdpSocket::bind(own).map_err(|error| Error::Address(reach::unbound(from, &error)))?;
        let socket = UdpTransport::bind(own.to_string()).await.map_err(|error| Error::NotAsked(error.to_string()))?;
        if sockets.len() >= SOCKETS {
            sockets.clear();
        }
        sockets.insert(from, socket.clone());
        Ok(socket)
    }

    /// Community, or user and keys. What is wrong with them is said without what they are.
    async fn credential(&self, secrets: &Secrets, namespace: &str, how: &Snmp) -> Result<Auth, String> {
        let secret = how.secret.as_deref().ok_or("no secretRef names a credential")?;
        if how.version == crds::SnmpVersion::V2c {
            let community = text(secrets, namespace, secret, "community").await?;
            return Ok(Auth::v2c(community.as_str()));
        }
        let user = text(secrets, namespace, secret, "user").await?;
        let password = text(secrets, namespace, secret, "authPassword").await?;
        let protocol = optional(secrets, namespace, secret, "authProtocol").await.map_or_else(|| "SHA".to_owned(), |text| text.to_string());
        let auth = AuthProtocol::from_str(&protocol).ok().filter(|protocol| *protocol != AuthProtocol::Md5);
        let auth = auth.ok_or_else(|| format!("secret {secret}: authProtocol is none of SHA, SHA-224, SHA-256, SHA-384 and SHA-512"))?;
        let privacy = match optional(secrets, namespace, secret, "privPassword").await {
            None => None,
            Some(password) => {
                let protocol =
                    optional(secrets, namespace, secret, "privProtocol").await.map_or_else(|| "AES".to_owned(), |text| text.to_string());
                let known = PrivProtocol::from_str(&protocol).ok();
                let known = known.filter(|known| !matches!(known, PrivProtocol::Des | PrivProtocol::Des3));
                let known =
                    known.ok_or_else(|| format!("secret {secret}: privProtocol is none of AES, AES-192-CISCO and AES-256-CISCO"))?;
                Some((known, password))
            }
        };
        let keys = self.keys(auth, password, privacy).await.map_err(|error| format!("secret {secret}: {error}"))?;
        UsmConfig::new(user.as_bytes().to_vec()).with_master_keys(keys).map(Auth::from).map_err(|error| format!("secret {secret}: {error}"))
    }

    /// Derives keys from passwords, once.
    async fn keys(
        &self,
        auth: AuthProtocol,
        password: Zeroizing<String>,
        privacy: Option<(PrivProtocol, Zeroizing<String>)>,
    ) -> Result<MasterKeys, String> {
        let mut hash = Sha256::new();
        let privately = privacy.as_ref().map(|(protocol, password)| (protocol.to_string(), password.as_str())).unwrap_or_default();
        for part in [auth.to_string().as_str(), &password, &privately.0, privately.1] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let id: [u8; 32] = hash.finalize().into();
        if let Some(keys) = self.known(&id) {
            return Ok(keys);
        }
        let derive = move || {
            let keys = MasterKeys::new(auth, password.as_bytes())?;
            match privacy {
                Some((protocol, password)) => keys.with_privacy(protocol, password.as_bytes()),
                None => Ok(keys),
            }
        };
        let keys = tokio::task::spawn_blocking(derive).await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        let mut known = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KEYS {
            known.clear();
        }
        known.insert(id, keys.clone());
        Ok(keys)
    }

    fn known(&self, id: &[u8; 32]) -> Option<MasterKeys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }
}

impl Agent {
    /// One value; `None` if there is no such thing.
    pub(crate) async fn get(&self, oid: &Oid) -> Result<Option<Value>, Error> {
        let answer = self.0.get(oid).await.map_err(|error| Error::of(&error))?;
        Ok(answer.single().map(|found| found.value.clone()).filter(|value| !value.is_exception() && *value != Value::Null))
    }

    /// Several values, those that there are.
    pub(crate) async fn get_many(&self, oids: &[&[u32]], into: &mut Answers) -> Result<(), Error> {
        let oids: Vec<Oid> = oids.iter().map(|oid| Oid::from_slice(oid)).collect();
        let answer = self.0.get_many(&oids).await.map_err(|error| Error::of(&error))?;
        for found in answer.varbinds {
            into.insert(&found.oid, found.value);
        }
        Ok(())
    }

    /// A column of a table, as far as it may go.
    pub(crate) async fn column(&self, column: &[u32], into: &mut Answers) -> Result<(), Error> {
        let options = WalkOptions { max_repetitions: AT_ONCE, result_limit: Some(ROWS), ..WalkOptions::default() };
        let mut walk: WalkStream<UdpHandle> = self.0.walk_with(Oid::from_slice(column), options).map_err(|error| Error::of(&error))?;
        let mut rows = 0;
        while let Some(found) = walk.next().await {
            match found {
                Ok(found) if rows < ROWS => into.insert(&found.oid, found.value),
                Ok(_) => break,
                // At the limit, and where an agent goes round in a circle: what came before that counts.
                Err(error) if error.kind() == ErrorKind::WalkAborted => {
                    into.cut = true;
                    break;
                }
                Err(error) => return Err(Error::of(&error)),
            }
            rows += 1;
        }
        Ok(())
    }
}

/// What an agent answered, by object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers {
    values: BTreeMap<Vec<u32>, Value>,
    /// Some table was longer than is read.
    pub(crate) cut: bool,
}

impl Answers {
    fn insert(&mut self, oid: &Oid, value: Value) {
        if !value.is_exception() {
            self.values.insert(oid.arcs().to_vec(), value);
        }
    }

    pub(crate) fn get(&self, oid: &[u32]) -> Option<&Value> {
        self.values.get(oid)
    }

    /// The rows of a column: what follows its identifier, and the value.
    pub(crate) fn column(&self, column: &'static [u32]) -> impl Iterator<Item = (&[u32], &Value)> {
        let from = self.values.range(column.to_vec()..);
        from.take_while(move |(oid, _)| oid.starts_with(column)).map(move |(oid, value)| (&oid[column.len()..], value))
    }
}

/// A value as it is shown and compared with: numbers in decimal, text as it is, other bytes in hexadecimal.
pub(crate) fn shown(value: &Value) -> String {
    if let Some(number) = value.as_u64() {
        return number.to_string();
    }
    match value {
        Value::Integer(number) => number.to_string(),
        Value::ObjectIdentifier(oid) => oid.to_string(),
        Value::IpAddress([a, b, c, d]) => format!("{a}.{b}.{c}.{d}"),
        value => match value.as_bytes() {
            Some(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
                _ => hex::encode(bytes),
            },
            None => format!("{value:?}"),
        },
    }
}

async fn text(secrets: &Secrets, namespace: &str, secret: &str, key: &str) -> Result<Zeroizing<String>, String> {
    let bytes = secrets.read(namespace, secret, key).await?;
    let text = std::str::from_utf8(&bytes).map_err(|_| format!("secret {secret}/{key} is no text"))?;
    // As an editor leaves it at the end of a file.
    Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

async fn optional(secrets: &Secrets, namespace: &str, secret: &str, key: &str) -> Option<Zeroizing<String>> {
    text(secrets, namespace, secret, key).await.ok()
}
