//! TLS probes, and HTTP over TLS, against a real server whose certificates are made for the case.

mod probing;

use std::sync::Arc;
use std::time::Duration;

use devices::probe::{Run, run};
use jiff::{SignedDuration, Timestamp};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use reconcile::{Check, HttpCheck, ProbeCode, TlsCheck, Trust};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;

/// Valid from and until so many days from now, at midnight.
fn valid(params: &mut CertificateParams, begins: i64, ends: i64) {
    let day = |days: i64| {
        let date = (Timestamp::now() + SignedDuration::from_hours(24 * days)).to_zoned(jiff::tz::TimeZone::UTC).date();
        rcgen::date_time_ymd(i32::from(date.year()), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    (params.not_before, params.not_after) = (day(begins), day(ends));
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: CertificateDer<'static>,
}

fn authority(name: &str, ends: i64, above: Option<&Authority>) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    valid(&mut params, -400, ends);
    let key = KeyPair::generate().unwrap();
    let made = match above {
        Some(above) => params.signed_by(&key, &above.issuer).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    Authority { pem: made.pem(), der: made.der().clone(), issuer: Issuer::new(params, key) }
}

/// A certificate of a name, valid from and until so many days from now, and its key.
fn certificate(name: &str, (begins, ends): (i64, i64), by: &Authority) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    valid(&mut params, begins, ends);
    let key = KeyPair::generate().unwrap();
    let made = params.signed_by(&key, &by.issuer).unwrap();
    (made.der().clone(), PrivatePkcs8KeyDer::from(key.serialize_der()).into())
}

/// A server with this chain; it answers each request with 200.
async fn serve(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> u16 {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").await;
                let _ = stream.shutdown().await;
            });
        }
    });
    port
}

struct Asked {
    devices: devices::Devices,
    _directory: tempfile::TempDir,
}

impl Asked {
    /// Devices whose secret `ca` has this authority, and whose secret `rubbish` has none.
    fn believing(authority: &Authority) -> Self {
        let (devices, directory) = probing::devices();
        for (secret, text) in [("ca", authority.pem.as_str()), ("rubbish", "none")] {
            std::fs::create_dir_all(directory.path().join(secret)).unwrap();
            std::fs::write(directory.path().join(secret).join("ca.crt"), text).unwrap();
        }
        Self { devices, _directory: directory }
    }

    async fn run(&self, check: Check) -> Run {
        run(&self.devices, &probing::device(Vec::new()), &probing::probe(check)).await
    }

    async fn shown(&self, check: Check) -> String {
        let run = self.run(check).await;
        format!("{:?}: {}", run.code, run.words)
    }
}

fn trust(name: &str) -> Trust {
    Trust { server_name: Some(name.into()), authorities: Some(("ca".into(), "ca.crt".into())), insecure: false }
}

fn tls(port: u16, trust: Trust, days: Option<i64>) -> Check {
    Check::Tls(Box::new(TlsCheck { port, trust, min_validity: days.map(|days| SignedDuration::from_hours(24 * days)) }))
}

#[tokio::test]
async fn a_chain_is_believed_or_it_is_said_why_not() {
    let root = authority("Our Root", 4000, None);
    let asked = Asked::believing(&root);
    let by = |name: &str, days| {
        let (certificate, key) = certificate(name, days, &root);
        serve(vec![certificate], key)
    };
    let good = by("web.example.com", (-10, 43)).await;
    let usual = || trust("web.example.com");
    // An hour may have been cut off meanwhile.
    let said = asked.shown(tls(good, usual(), None)).await;
    assert!(["Passed: valid for 42 days", "Passed: valid for 43 days"].contains(&said.as_str()), "{said}");
    assert!(asked.shown(tls(good, usual(), Some(40))).await.starts_with("Passed: "));
    let said = asked.shown(tls(good, usual(), Some(60))).await;
    assert!(
        said.starts_with("CertificateExpires: the certificate expires in 4") && said.ends_with("days, sooner than in 60 days"),
        "{said}"
    );
    let measured = asked.run(tls(good, usual(), None)).await.measured;
    assert!(measured.phases.tls.is_some() && measured.expires.is_some(), "{measured:?}");
    assert_eq!(
        asked.shown(tls(good, trust("db.example.com"), None)).await,
        "NameMismatch: the certificate is not for db.example.com but for web.example.com"
    );
    let expired = by("web.example.com", (-30, -3)).await;
    assert_eq!(asked.shown(tls(expired, usual(), None)).await, "CertificateExpired: the certificate expired 3 days ago");
    let early = by("web.example.com", (3, 30)).await;
    assert!(asked.shown(tls(early, usual(), None)).await.starts_with("CertificateNotYetValid: "));
    let stranger = authority("Somebody Else", 4000, None);
    let (certificate, key) = certificate("web.example.com", (-1, 30), &stranger);
    let unknown = serve(vec![certificate], key).await;
    assert_eq!(asked.shown(tls(unknown, usual(), None)).await, "Untrusted: the certificate is by Somebody Else, who is not believed");
    let named = |name: &str| Trust { authorities: Some((name.into(), "ca.crt".into())), ..usual() };
    assert_eq!(
        asked.shown(tls(good, named("rubbish"), None)).await,
        "NoCredential: secret rubbish/ca.crt: there is no certificate of an authority in it"
    );
    assert!(asked.shown(tls(good, named("gone"), None)).await.starts_with("NoCredential: secret "));
}

/// The certificate is fine for long, and what is above it is not: only what is needed for it counts.
#[tokio::test]
async fn what_is_above_a_certificate_counts_too() {
    let root = authority("Our Root", 4000, None);
    let asked = Asked::believing(&root);
    let between = authority("Between", 20, Some(&root));
    let useless = authority("Useless", -5, Some(&root));
    let (leaf, key) = certificate("web.example.com", (-1, 300), &between);
    let port = serve(vec![leaf, between.der.clone(), useless.der.clone()], key).await;
    assert!(asked.shown(tls(port, trust("web.example.com"), Some(10))).await.starts_with("Passed: valid for "));
    let said = asked.shown(tls(port, trust("web.example.com"), Some(30))).await;
    assert_eq!(said, "CertificateExpires: a certificate above it expires, sooner than in 30 days");
    let (leaf, key) = certificate("web.example.com", (-1, 300), &useless);
    let port = serve(vec![leaf, useless.der.clone()], key).await;
    assert_eq!(asked.shown(tls(port, trust("web.example.com"), None)).await, "CertificateExpired: a certificate above it has expired");
}

#[tokio::test]
async fn where_all_are_believed_time_still_counts() {
    let root = authority("A Box", 4000, None);
    let asked = Asked::believing(&authority("Our Root", 4000, None));
    let all = || Trust { insecure: true, ..Trust::default() };
    for (days, least, expected) in [
        ((-1, 30), None, "Passed: valid for "),
        ((-1, 30), Some(60), "CertificateExpires: "),
        ((-30, -3), None, "CertificateExpired: the certificate expired 3 days ago"),
        ((3, 30), None, "CertificateNotYetValid: "),
    ] {
        let (leaf, key) = certificate("whatever", days, &root);
        let port = serve(vec![leaf], key).await;
        let said = asked.shown(tls(port, all(), least)).await;
        assert!(said.starts_with(expected), "{said}");
        // The system's authorities don't know it, or there are none.
        let said = asked.run(tls(port, Trust::default(), least)).await.code;
        assert!(!matches!(said, ProbeCode::Passed), "{said:?}");
    }
}

#[tokio::test]
async fn what_is_no_tls_is_said() {
    let asked = Asked::believing(&authority("Our Root", 4000, None));
    let plain = probing::serve(Some("HTTP/1.1 400 Bad Request\r\n\r\n")).await;
    assert_eq!(asked.shown(tls(plain, trust("a"), None)).await, "TlsFailed: it does not speak TLS");
    let silent = probing::serve(None).await;
    assert_eq!(asked.shown(tls(silent, trust("a"), None)).await, "Timeout: no answer within 3s");
    let shut = probing::serve(Some("")).await;
    assert!(asked.shown(tls(shut, trust("a"), None)).await.starts_with("Closed: "));
    let flood = probing::flood("", "", 1000, "", Duration::ZERO).await;
    assert!(asked.shown(tls(flood, trust("a"), None)).await.starts_with("TlsFailed: "));
    assert_eq!(asked.run(tls(1, trust("a"), None)).await.code, ProbeCode::Refused);
    assert_eq!(asked.run(tls(1, trust("no name"), None)).await.code, ProbeCode::BadProbe);
    // A handshake message that claims to be of 16 MiB, and a chain of ten thousand names.
    let huge = probing::flood("\u{16}\u{3}\u{3}", "", 0x4000, "", Duration::ZERO).await;
    assert_ne!(asked.run(tls(huge, trust("a"), None)).await.code, ProbeCode::Passed);
    let root = authority("Our Root", 4000, None);
    let mut params = CertificateParams::new((0..2000).map(|at| format!("{at}.example.com")).collect::<Vec<_>>()).unwrap();
    valid(&mut params, -1, 30);
    let key = KeyPair::generate().unwrap();
    let made = params.signed_by(&key, &root.issuer).unwrap();
    let wide = serve(vec![made.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into()).await;
    let said = Asked::believing(&root).run(tls(wide, trust("other.example.com"), None)).await;
    assert_eq!(said.code, ProbeCode::NameMismatch);
    assert!(said.words.len() < 500, "{}", said.words);
}

#[tokio::test]
async fn http_over_tls_believes_as_it_is_told() {
    let root = authority("Our Root", 4000, None);
    let asked = Asked::believing(&root);
    let (leaf, key) = certificate("web.example.com", (-1, 30), &root);
    let port = serve(vec![leaf], key).await;
    let https = |trust| {
        let contains = Some("ok".into());
        Check::Http(Box::new(HttpCheck { scheme: "https".into(), trust, contains, ..HttpCheck::get(port, "/") }))
    };
    let run = asked.run(https(trust("web.example.com"))).await;
    assert_eq!((run.code, run.words.as_str()), (ProbeCode::Passed, "status 200"));
    let phases = run.measured.phases;
    assert!(phases.tls.is_some() && phases.first_byte.is_some() && phases.transfer.is_some(), "{phases:?}");
    assert!(run.measured.expires.is_some());
    let (leaf, key) = certificate("web.example.com", (-30, -3), &root);
    let over = HttpCheck { scheme: "https".into(), trust: trust("web.example.com"), ..HttpCheck::get(serve(vec![leaf], key).await, "/") };
    let run = asked.run(Check::Http(Box::new(over))).await;
    assert_eq!(run.code, ProbeCode::CertificateExpired, "{}", run.words);
    assert!(run.measured.expires.is_some_and(|end| end < jiff::Timestamp::now()), "{:?}", run.measured);
    assert_eq!(asked.run(https(trust("db.example.com"))).await.code, ProbeCode::NameMismatch);
    // The address is no name of the certificate.
    assert_eq!(asked.run(https(Trust { server_name: None, ..trust("") })).await.code, ProbeCode::NameMismatch);
    assert_ne!(asked.run(https(Trust::default())).await.code, ProbeCode::Passed);
    assert_eq!(asked.run(https(Trust { insecure: true, ..Trust::default() })).await.code, ProbeCode::Passed);
}
