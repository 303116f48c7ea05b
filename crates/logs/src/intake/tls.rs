//! TLS for syslog (RFC 5425), with or without certificates of senders.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What TLS needs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Our certificate with those between it and a root, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// Roots of senders' certificates, PEM; then each sender has to have one.
    pub senders: Option<PathBuf>,
}

/// What can be wrong with them.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file can't be read, or is no PEM.
    #[error("{path}: can't be read as PEM")]
    Pem {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// A file has no certificate.
    #[error("{0}: has no certificate in it")]
    Empty(PathBuf),
    /// They don't fit together.
    #[error("the certificate for syslog over TLS can't be used")]
    Tls(#[from] rustls::Error),
    /// The roots can't be used.
    #[error("the roots of senders' certificates can't be used")]
    Roots(#[from] rustls::server::VerifierBuilderError),
}

/// Takes TLS connections.
#[derive(Clone)]
pub struct Acceptor(TlsAcceptor);

impl Acceptor {
    /// Reads the files.
    pub fn read(options: &Options) -> Result<Self, Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let chain = certificates(&options.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&options.key).map_err(|source| Error::Pem { path: options.key.clone(), source })?;
        let builder = rustls::ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        let builder = match &options.senders {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for root in certificates(path)? {
                    roots.add(root)?;
                }
                builder.with_client_cert_verifier(WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?)
            }
        };
        Ok(Self(TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key)?))))
    }

    /// Takes one, with the first DNS name of the sender's certificate.
    pub(super) async fn accept(&self, stream: TcpStream) -> std::io::Result<(TlsStream<TcpStream>, Option<Arc<str>>)> {
        let stream = self.0.accept(stream).await?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).and_then(name);
        Ok((stream, certificate))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let failed = |source| Error::Pem { path: path.to_owned(), source };
    let all: Vec<_> = CertificateDer::pem_file_iter(path).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)?;
    if all.is_empty() { Err(Error::Empty(path.to_owned())) } else { Ok(all) }
}

/// The first DNS name among its subject's alternative names (RFC 5425, section 5.2).
fn name(certificate: &CertificateDer<'_>) -> Option<Arc<str>> {
    let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
    certificate.valid_dns_names().next().map(Arc::from)
}
