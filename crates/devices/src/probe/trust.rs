//! Whom probes believe over TLS, and what they saw of a certificate.
//!
//! The handshake is judged by webpki, as with any other client; beside that the chain is kept, so that a failure can say what was presented,
//! and a success how long it lasts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use reconcile::{Name, ProbeCode, Trust};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::{Digest as _, Sha256};

use super::Reason;
use crate::secrets::Secrets;

/// Sets of authorities, and regular expressions, that are kept ready; when there are more, all are made anew.
const KEPT: usize = 256;
/// How long the system's authorities are taken to be as they were read.
const READ_AGAIN: Duration = Duration::from_secs(3600);
/// Certificates of a chain that are kept; none that is used in earnest is longer.
const CHAIN: usize = 10;
/// Names of a certificate that are shown.
const NAMES: usize = 5;

type Verifier = Arc<WebPkiServerVerifier>;

/// What probes have in common.
pub(crate) struct Prober {
    provider: Arc<CryptoProvider>,
    system: Mutex<Option<(std::time::Instant, Result<Verifier, String>)>>,
    named: Mutex<HashMap<[u8; 32], Verifier>>,
    patterns: Mutex<HashMap<String, regex::bytes::Regex>>,
}

impl Default for Prober {
    fn default() -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        Self { provider, system: Mutex::default(), named: Mutex::default(), patterns: Mutex::default() }
    }
}

/// Who looks at a certificate during one handshake.
#[derive(Debug)]
pub(super) struct Witness {
    /// Nobody: all are believed.
    verifier: Option<Verifier>,
    provider: Arc<CryptoProvider>,
    /// For how long it has to be valid.
    min_validity: Option<Duration>,
    chain: Mutex<Vec<CertificateDer<'static>>>,
    /// It is valid now, and will not be at the end of that time.
    expires: OnceLock<()>,
}

/// What there is to say of a certificate.
#[derive(Clone, Debug, Default)]
pub(super) struct Leaf {
    pub(super) not_before: Option<Timestamp>,
    pub(super) not_after: Option<Timestamp>,
    pub(super) issuer: String,
    /// The first few of the names that it is for.
    names: Vec<String>,
}

impl Prober {
    /// Whoever is to look at the certificate of a handshake.
    pub(super) async fn witness(
        &self,
        secrets: &Secrets,
        device: &Name,
        trust: &Trust,
        min_validity: Option<Duration>,
    ) -> Result<Arc<Witness>, Reason> {
        let verifier = match &trust.authorities {
            _ if trust.insecure => None,
            None => Some(self.system().map_err(|words| Reason::new(ProbeCode::NoCredential, words))?),
            Some((name, key)) => {
                let pem = secrets.read(device.namespace(), name, key).await;
                let pem = pem.map_err(|words| Reason::new(ProbeCode::NoCredential, words))?;
                let made = self.authorities(&pem);
                Some(made.map_err(|words| Reason::new(ProbeCode::NoCredential, format!("secret {name}/{key}: {words}")))?)
            }
        };
        let (chain, expires) = (Mutex::default(), OnceLock::new());
        Ok(Arc::new(Witness { verifier, provider: self.provider.clone(), min_validity, chain, expires }))
    }

    /// A client whose handshake is looked at by the witness.
    pub(super) fn client(&self, witness: &Arc<Witness>) -> Result<Arc<rustls::ClientConfig>, Reason> {
        let builder = rustls::ClientConfig::builder_with_provider(self.provider.clone()).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| Reason::new(ProbeCode::BadProbe, error.to_string()))?;
        let mut client = builder.dangerous().with_custom_certificate_verifier(witness.clone()).with_no_client_auth();
        // Each run is to see a whole handshake.
        client.resumption = rustls::client::Resumption::disabled();
        Ok(Arc::new(client))
    }

    /// A regular expression, made once.
    pub(super) fn pattern(&self, pattern: &str) -> Result<regex::bytes::Regex, Reason> {
        let mut kept = self.patterns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = kept.get(pattern) {
            return Ok(made.clone());
        }
        let made = regex::bytes::RegexBuilder::new(pattern).size_limit(reconcile::desired::PATTERN).build();
        let made = made.map_err(|_| Reason::new(ProbeCode::BadProbe, format!("`{pattern}` is not a regular expression")))?;
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(pattern.to_owned(), made.clone());
        Ok(made)
    }

    fn system(&self) -> Result<Verifier, String> {
        let mut kept = self.system.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, made)) = &*kept
            && at.elapsed() < READ_AGAIN
        {
            return made.clone();
        }
        let found = rustls_native_certs::load_native_certs();
        let made = self.verifier(found.certs).map_err(|_| "this system has no certificate authorities".to_owned());
        *kept = Some((std::time::Instant::now(), made.clone()));
        made
    }

    fn authorities(&self, pem: &[u8]) -> Result<Verifier, String> {
        let digest: [u8; 32] = Sha256::digest(pem).into();
        let mut kept = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = kept.get(&digest) {
            return Ok(made.clone());
        }
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let made = self.verifier(certificates.map_err(|_| "it is not PEM".to_owned())?)?;
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(digest, made.clone());
        Ok(made)
    }

    fn verifier(&self, certificates: Vec<CertificateDer<'static>>) -> Result<Verifier, String> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates);
        if roots.is_empty() {
            return Err("there is no certificate of an authority in it".into());
        }
        let made = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone()).build();
        made.map_err(|error| error.to_string())
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let seen = [end_entity].into_iter().chain(intermediates).take(CHAIN).map(|one| one.clone().into_owned()).collect();
        *self.chain.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        let Some(verifier) = &self.verifier else { return Ok(ServerCertVerified::assertion()) };
        let verified = verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp, now)?;
        if let Some(least) = self.min_validity {
            let later = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs().saturating_add(least.as_secs())));
            // Judged as it will be then, so that of all above it those count that are needed.
            if verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp, later).is_err() {
                let _ = self.expires.set(());
            }
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl Witness {
    /// Whether somebody was there to judge it.
    pub(super) fn is_judging(&self) -> bool {
        self.verifier.is_some()
    }

    /// Whether the chain ends within the time for which it has to be valid.
    pub(super) fn falls_short(&self) -> bool {
        self.expires.get().is_some()
    }

    /// What there is to say of the certificate, if one was presented that can be read.
    pub(super) fn leaf(&self) -> Option<Leaf> {
        let chain = self.chain.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, read) = x509_parser::parse_x509_certificate(chain.first()?).ok()?;
        let time = |seconds: i64| Timestamp::from_second(seconds).ok();
        let name = read.issuer().iter_common_name().next().or_else(|| read.issuer().iter_organization().next());
        let issuer: String = name.and_then(|name| name.as_str().ok()).unwrap_or("somebody without a name").chars().take(100).collect();
        let names = read.subject_alternative_name().ok().flatten().map(|names| names.value.general_names.iter().filter_map(shown));
        let names = names.map(|names| names.take(NAMES).collect()).unwrap_or_default();
        let validity = read.validity();
        Some(Leaf { not_before: time(validity.not_before.timestamp()), not_after: time(validity.not_after.timestamp()), issuer, names })
    }

    /// What a handshake that failed says.
    pub(super) fn failure(&self, error: &std::io::Error, now: Timestamp) -> Reason {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let Some(error) = inner else { return super::reach::broken(error) };
        match error {
            rustls::Error::InvalidCertificate(error) => self.certificate(error, now),
            rustls::Error::AlertReceived(alert) => Reason::new(ProbeCode::TlsFailed, format!("the other side refuses: {alert:?}")),
            rustls::Error::InvalidMessage(_) => Reason::new(ProbeCode::TlsFailed, "it does not speak TLS"),
            error => Reason::new(ProbeCode::TlsFailed, error.to_string()),
        }
    }

    fn certificate(&self, error: &CertificateError, now: Timestamp) -> Reason {
        use CertificateError as Error;
        let leaf = self.leaf().unwrap_or_default();
        match error {
            Error::Expired | Error::ExpiredContext { .. } => Reason::new(
                ProbeCode::CertificateExpired,
                match leaf.not_after.filter(|end| *end < now) {
                    Some(end) => format!("the certificate expired {} ago", days(now, end)),
                    None => "a certificate above it has expired".into(),
                },
            ),
            Error::NotValidYet | Error::NotValidYetContext { .. } => {
                Reason::new(ProbeCode::CertificateNotYetValid, "the certificate, or one above it, is not valid yet")
            }
            Error::NotValidForName => Reason::new(ProbeCode::NameMismatch, "the certificate is for another name"),
            Error::NotValidForNameContext { expected, .. } => {
                let names = if leaf.names.is_empty() { "no name".to_owned() } else { leaf.names.join(", ") };
                Reason::new(ProbeCode::NameMismatch, format!("the certificate is not for {} but for {names}", expected.to_str()))
            }
            Error::UnknownIssuer => {
                Reason::new(ProbeCode::Untrusted, format!("the certificate is by {}, who is not believed", leaf.issuer))
            }
            error => Reason::new(ProbeCode::Untrusted, format!("the certificate can't be believed: {error}")),
        }
    }
}

/// A name of a certificate, cut to what fits into a line.
fn shown(name: &x509_parser::extensions::GeneralName<'_>) -> Option<String> {
    use x509_parser::extensions::GeneralName as Name;
    Some(match name {
        Name::DNSName(name) => name.chars().take(100).collect(),
        Name::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
            Ok(four) => std::net::IpAddr::from(four).to_string(),
            Err(_) => std::net::IpAddr::from(<[u8; 16]>::try_from(*bytes).ok()?).to_string(),
        },
        _ => return None,
    })
}

/// The time between two instants, in whole days.
pub(super) fn days(a: Timestamp, b: Timestamp) -> String {
    match a.duration_since(b).abs().as_hours() / 24 {
        1 => "1 day".into(),
        days => format!("{days} days"),
    }
}
