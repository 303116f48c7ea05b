//! Mail servers, and connections to them that are used again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crds::MailSecurity;
use lettre::address::Envelope;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::{self, PoolConfig};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use reconcile::alerting::receiver::Email;

use crate::error::{Category, Error};
use crate::secret::Secret;

/// Connections to one server that are kept: mail servers limit how many there may be from one address.
const KEPT: u32 = 2;
/// How long a connection is kept without use: less than the five minutes after which servers hang up (RFC 5321, 4.5.3.2.7).
const IDLE: Duration = Duration::from_secs(120);
/// Servers that are known at a time: as many as Receivers name, mostly one.
const SERVERS: usize = 64;

type Transport = AsyncSmtpTransport<Tokio1Executor>;

/// What makes a connection another one: with another password it must not be used again.
type Key = (String, u16, u8, [u8; 32]);

/// Mail servers, each with its connections.
pub(crate) struct Servers {
    limit: Duration,
    known: Mutex<BTreeMap<Key, Transport>>,
}

impl Servers {
    /// A message to one recipient may take `limit`.
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, known: Mutex::default() }
    }

    /// Sends a message to one recipient.
    pub(crate) async fn send(&self, email: &Email, secret: &Secret, from: &Address, to: Address, message: &[u8]) -> Result<(), Error> {
        let key = key(email, secret);
        let transport = self.get(&key, email, secret)?;
        let server = format!("{}:{}", email.host, email.port);
        let envelope = Envelope::new(Some(from.clone()), vec![to.clone()]);
        let envelope = envelope.map_err(|_| Error::new(Category::Receiver, "the receiver's addresses make no envelope"))?;
        let limit = self.limit;
        let message = message.to_vec();
        // By itself, so that nobody who stops waiting for it leaves a connection in the middle of a command behind, for the next message.
        let sending = tokio::spawn(async move {
            let mut sending = std::pin::pin!(transport.send_raw(&envelope, &message));
            let sent = tokio::time::timeout(limit, &mut sending).await;
            if sent.is_err() {
                // Before what is under way is dropped: its connection would be kept, with an answer still to come.
                transport.shutdown().await;
            }
            sent
        });
        let failed = match sending.await {
            Ok(Ok(Ok(_))) => return Ok(()),
            Ok(Ok(Err(error))) => return Err(failed(&server, &to, &error, secret)),
            Ok(Err(_)) => Error::new(Category::Timeout, format!("{server}: it did not take the mail within {} s", limit.as_secs())),
            Err(_) => Error::new(Category::Connection, format!("{server}: sending was stopped")),
        };
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        Err(failed)
    }

    fn get(&self, key: &Key, email: &Email, secret: &Secret) -> Result<Transport, Error> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(transport) = known.get(key) {
            return Ok(transport.clone());
        }
        let transport = transport(email, secret, self.limit)?;
        if known.len() >= SERVERS {
            known.clear();
        }
        known.insert(key.clone(), transport.clone());
        Ok(transport)
    }
}

fn key(email: &Email, secret: &Secret) -> Key {
    (email.host.clone(), email.port, email.security as u8, secret.fingerprint())
}

fn transport(email: &Email, secret: &Secret, limit: Duration) -> Result<Transport, Error> {
    let mut builder = Transport::builder_dangerous(&email.host)
        .port(email.port)
        .tls(tls(email, secret)?)
        .timeout(Some(limit))
        .pool_config(PoolConfig::new().max_size(KEPT).idle_timeout(IDLE));
    if let Some(user) = secret.text("username")? {
        if email.security == MailSecurity::None {
            return Err(Error::new(Category::Receiver, "a password is not sent over a connection that is not secured"));
        }
        builder = builder.credentials(Credentials::new(user.to_owned(), secret.needed("password")?.to_owned()));
    }
    Ok(builder.build())
}

fn tls(email: &Email, secret: &Secret) -> Result<Tls, Error> {
    if email.security == MailSecurity::None {
        return Ok(Tls::None);
    }
    let mut parameters = TlsParameters::builder(email.host.clone());
    if let Some(authorities) = secret.bytes("ca.crt") {
        let wrong = |_| Error::new(Category::Secret, "there is no PEM certificate in the secret's `ca.crt`");
        parameters =
            parameters.certificate_store(CertificateStore::None).add_root_certificate(Certificate::from_pem(authorities).map_err(wrong)?);
    }
    let parameters =
        parameters.build_rustls().map_err(|error| Error::new(Category::Tls, format!("TLS can't be set up: {}", cause(&error))))?;
    Ok(if email.security == MailSecurity::Tls { Tls::Wrapper(parameters) } else { Tls::Required(parameters) })
}

fn cause(error: &smtp::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

/// RFC 5321, 4.2.3, and RFC 4954, 6, say what the codes mean.
fn failed(server: &str, to: &Address, error: &smtp::Error, secret: &Secret) -> Error {
    let said = secret.taken_out_of(&cause(error));
    let code = error.status().map(u16::from);
    let (category, why) = match code {
        Some(530 | 534 | 535 | 538) => (Category::Login, "it does not accept the user name and password"),
        Some(550 | 551 | 553) => (Category::Recipient, "it does not take mail for this recipient"),
        Some(500..) => (Category::Refused, "it refuses the mail"),
        Some(421) => (Category::RateLimited, "it hangs up"),
        Some(454) => (Category::RateLimited, "it can't check the login now"),
        Some(_) => (Category::Server, "it can't take the mail now"),
        None if error.is_tls() || said.contains("ertificate") => (Category::Tls, "no secure connection"),
        None if said.contains("STARTTLS") => (Category::Tls, "it has no STARTTLS, and without it nothing is sent"),
        None if said.contains("uthentication mechanism") => (Category::Login, "there is no way to log in that both sides know"),
        None if error.is_timeout() => (Category::Timeout, "no connection in time"),
        None if error.is_response() => (Category::Answer, "its answer is not SMTP"),
        None if error.is_client() => (Category::Refused, "the mail can't be sent there"),
        None => (Category::Connection, "no connection"),
    };
    let of = if category == Category::Recipient { format!(" ({to})") } else { String::new() };
    let code = code.map(|code| format!(" ({code})")).unwrap_or_default();
    Error::said(category, &format!("{server}: {why}{of}{code}"), &said)
}
