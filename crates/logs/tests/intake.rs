//! The servers with real senders: Debian's rsyslog over UDP, TCP and TLS, and logger(1); and what happens at their limits.

use std::io::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use logs::batch::Batch;
use logs::intake::{Intake, Limits, Refused, tls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

/// Longest wait for what a sender has sent.
const WAIT: Duration = Duration::from_secs(30);

/// All three servers on loopback.
struct Servers {
    intake: Arc<Intake>,
    queue: Receiver<Batch>,
    udp: SocketAddr,
    tcp: SocketAddr,
    tls: Option<SocketAddr>,
    stop: CancellationToken,
}

impl Servers {
    async fn start(limits: Limits, acceptor: Option<tls::Acceptor>) -> Self {
        let (intake, queue) = Intake::new(limits);
        let stop = CancellationToken::new();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let udp = socket.local_addr().unwrap();
        tokio::spawn(intake.clone().udp(socket, stop.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = listener.local_addr().unwrap();
        tokio::spawn(intake.clone().tcp(listener, None, stop.clone()));
        let mut secure = None;
        if let Some(acceptor) = acceptor {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            secure = Some(listener.local_addr().unwrap());
            tokio::spawn(intake.clone().tcp(listener, Some(acceptor), stop.clone()));
        }
        Self { intake, queue, udp, tcp, tls: secure, stop }
    }

    /// So many lines, each as host, program and message, with the certificate's name if there is one.
    async fn lines(&mut self, many: usize) -> Vec<String> {
        let mut lines = Vec::new();
        while lines.len() < many {
            let batch = tokio::time::timeout(WAIT, self.queue.recv()).await;
            let batch = batch.unwrap_or_else(|_| panic!("only {lines:?}")).unwrap();
            for received in batch.lines(0) {
                assert!(received.peer.address.is_loopback());
                let line = received.line;
                let certificate = received.peer.certificate.as_deref().map(|name| format!("{name}: ")).unwrap_or_default();
                lines.push(format!("{certificate}{} {} {}", line.severity, line.program, line.message));
            }
        }
        lines
    }

    async fn refused(&self, why: Refused, many: u64) {
        let until = tokio::time::Instant::now() + WAIT;
        while self.intake.counts().refused(why) < many {
            assert!(tokio::time::Instant::now() < until, "{why:?} {}", self.intake.counts().refused(why));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(self.intake.counts().refused(why), many, "{why:?}");
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Ends with the test.
struct Sender(Child);

impl Drop for Sender {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether a program is there; in CI it has to be.
fn is_there(program: &str) -> bool {
    let is = ["/usr/sbin", "/usr/bin"].iter().any(|folder| Path::new(folder).join(program).exists());
    if !is {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{program} is missing, and in CI nothing is skipped");
        let _ = writeln!(std::io::stderr(), "SKIPPED: {program} is not installed");
    }
    is
}

/// An rsyslog that forwards all that comes through its socket.
fn rsyslog(folder: &Path, global: &str, action: &str) -> Sender {
    let socket = folder.join("log");
    let text = format!(
        "global(workDirectory=\"{}\" {global})\nmodule(load=\"imuxsock\" SysSock.Use=\"off\")\n\
         input(type=\"imuxsock\" Socket=\"{}\" RateLimit.Interval=\"0\")\naction(type=\"omfwd\" Target=\"127.0.0.1\" {action})\n",
        folder.display(),
        socket.display()
    );
    let file = folder.join("rsyslog.conf");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new("/usr/sbin/rsyslogd");
    command.arg("-n").arg("-f").arg(&file).arg("-i").arg(folder.join("pid")).stdin(Stdio::null()).stdout(Stdio::null());
    let sender = Sender(command.spawn().unwrap());
    for _ in 0..600 {
        if socket.exists() {
            return sender;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("rsyslog did not open its socket");
}

fn say(folder: &Path, message: &str) {
    let socket = folder.join("log");
    let status = Command::new("logger").arg("--socket").arg(socket).args(["-t", "backup", "-p", "local3.warning", message]).status();
    assert!(status.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn rsyslog_over_udp_and_tcp() {
    if !is_there("rsyslogd") {
        return;
    }
    let mut servers = Servers::start(Limits::default(), None).await;
    let (udp, tcp) = (servers.udp.port(), servers.tcp.port());
    for action in [
        format!("Port=\"{udp}\" Protocol=\"udp\""),
        format!("Port=\"{udp}\" Protocol=\"udp\" Template=\"RSYSLOG_SyslogProtocol23Format\""),
        format!("Port=\"{tcp}\" Protocol=\"tcp\""),
        format!("Port=\"{tcp}\" Protocol=\"tcp\" TCP_Framing=\"octet-counted\" Template=\"RSYSLOG_SyslogProtocol23Format\""),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let _sender = rsyslog(folder.path(), "", &action);
        say(folder.path(), "done in 12 s");
        say(folder.path(), "ünïcode too");
        assert_eq!(servers.lines(2).await, ["warning backup done in 12 s", "warning backup ünïcode too"], "{action}");
    }
    assert_eq!(servers.intake.counts().lines(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn logger_sends_both_forms_over_both() {
    let mut servers = Servers::start(Limits::default(), None).await;
    for form in ["--rfc3164", "--rfc5424"] {
        for (kind, address) in [("--udp", servers.udp), ("--tcp", servers.tcp)] {
            let port = address.port().to_string();
            let mut command = Command::new("logger");
            command.args(["--server", "127.0.0.1", "--port", &port, kind, form, "-t", "job", "-p", "cron.err", "it failed"]);
            assert!(command.status().unwrap().success());
            assert_eq!(servers.lines(1).await, ["err job it failed"], "{form} {kind}");
        }
    }
}

/// A CA, and the certificates of both ends as PEM files.
fn certificates(folder: &Path) -> tls::Options {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    for name in ["logs.test", "web-01.test"] {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        std::fs::write(folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
    let file = |name: &str| folder.join(name);
    tls::Options { certificate: file("logs.test.pem"), key: file("logs.test.key"), senders: Some(file("ca.pem")) }
}

#[tokio::test(flavor = "multi_thread")]
async fn rsyslog_over_tls_shows_its_certificate() {
    if !is_there("rsyslogd") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let mut servers = Servers::start(Limits::default(), Some(tls::Acceptor::read(&certificates(path)).unwrap())).await;
    let port = servers.tls.unwrap().port();
    let global = format!(
        "defaultNetstreamDriver=\"gtls\" defaultNetstreamDriverCAFile=\"{0}/ca.pem\" \
         defaultNetstreamDriverCertFile=\"{0}/web-01.test.pem\" defaultNetstreamDriverKeyFile=\"{0}/web-01.test.key\"",
        path.display()
    );
    let action = format!(
        "Port=\"{port}\" Protocol=\"tcp\" TCP_Framing=\"octet-counted\" StreamDriver=\"gtls\" StreamDriverMode=\"1\" \
         StreamDriverAuthMode=\"x509/name\" StreamDriverPermittedPeers=\"logs.test\""
    );
    let _sender = rsyslog(path, &global, &action);
    say(path, "in private");
    assert_eq!(servers.lines(1).await, ["web-01.test: warning backup in private"]);

    // Who speaks no TLS at all.
    let mut plain = TcpStream::connect(servers.tls.unwrap()).await.unwrap();
    plain.write_all(b"<13>Jan  2 03:04:05 web-01 app: no TLS\n").await.unwrap();
    servers.refused(Refused::Handshake, 1).await;
}

/// Where senders have to show a certificate, who has none is refused, and so is who has one that somebody else has signed. With TLS 1.3 a
/// sender hears of that only after it has said all that it has to say.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_certificate_is_refused_where_senders_have_to_have_one() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let options = certificates(folder.path());
    let mut servers = Servers::start(Limits::default(), Some(tls::Acceptor::read(&options).unwrap())).await;
    certificates(other.path());
    assert!(send_by_tls(servers.tls.unwrap(), folder.path(), None, "nobody").await, "it is told so");
    servers.refused(Refused::Handshake, 1).await;
    assert!(send_by_tls(servers.tls.unwrap(), folder.path(), Some(other.path()), "somebody else").await, "it is told so");
    servers.refused(Refused::Handshake, 2).await;
    assert!(!send_by_tls(servers.tls.unwrap(), folder.path(), Some(folder.path()), "ours").await);
    assert_eq!(servers.lines(1).await, ["web-01.test: notice app ours"], "and nothing of the others");
    assert_eq!(servers.intake.counts().lines(), 1);

    // Where they need none, none is asked for.
    let open = tls::Options { senders: None, ..options };
    let mut servers = Servers::start(Limits::default(), Some(tls::Acceptor::read(&open).unwrap())).await;
    assert!(!send_by_tls(servers.tls.unwrap(), folder.path(), None, "anybody").await);
    assert_eq!(servers.lines(1).await, ["notice app anybody"]);
}

/// Sends a line by TLS, with the sender's certificate in this folder if there is one; whether the server broke it off.
async fn send_by_tls(to: SocketAddr, roots: &Path, own: Option<&Path>, message: &str) -> bool {
    let mut known = rustls::RootCertStore::empty();
    known.add(CertificateDer::from_pem_file(roots.join("ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(known);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let certificate = CertificateDer::from_pem_file(own.join("web-01.test.pem")).unwrap();
            let key = PrivateKeyDer::from_pem_file(own.join("web-01.test.key")).unwrap();
            builder.with_client_auth_cert(vec![certificate], key).unwrap()
        }
    };
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(to).await.unwrap();
    let Ok(mut stream) = connector.connect("logs.test".try_into().unwrap(), stream).await else { return true };
    let line = format!("<13>Jan  2 03:04:05 web-01 app: {message}\n");
    if stream.write_all(line.as_bytes()).await.is_err() || stream.shutdown().await.is_err() {
        return true;
    }
    let mut rest = Vec::new();
    let read = tokio::time::timeout(WAIT, stream.read_to_end(&mut rest)).await;
    // A server that has taken it just closes the connection.
    read.unwrap().is_err_and(|error| error.kind() != std::io::ErrorKind::UnexpectedEof)
}

#[test]
fn files_that_are_no_certificates_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let good = certificates(folder.path());
    std::fs::write(folder.path().join("empty.pem"), "").unwrap();
    let empty = tls::Options { certificate: folder.path().join("empty.pem"), ..good.clone() };
    assert!(matches!(tls::Acceptor::read(&empty), Err(tls::Error::Empty(_))));
    let missing = tls::Options { key: folder.path().join("none"), ..good.clone() };
    assert!(matches!(tls::Acceptor::read(&missing), Err(tls::Error::Pem { .. })));
    let other = tls::Options { key: folder.path().join("web-01.test.key"), ..good };
    assert!(matches!(tls::Acceptor::read(&other), Err(tls::Error::Tls(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_beyond_the_limits_is_refused_and_counted() {
    let limits = Limits { rate: 1, burst: 3, connections_per_address: 2, idle: Duration::from_millis(300), queue: 1, ..Limits::default() };
    let mut servers = Servers::start(limits, None).await;
    let mut first = TcpStream::connect(servers.tcp).await.unwrap();
    first.write_all(b"<13>a\n<13>b\n<13>c\n<13>d\n<13>e\n").await.unwrap();
    assert_eq!(servers.lines(3).await.len(), 3);
    servers.refused(Refused::Rate, 2).await;
    assert_eq!(servers.intake.refused_senders(5)[0].refused, 2);
    let _second = TcpStream::connect(servers.tcp).await.unwrap();
    let _third = TcpStream::connect(servers.tcp).await.unwrap();
    servers.refused(Refused::Connections, 1).await;
    // Both say nothing more.
    servers.refused(Refused::Idle, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_counts_what_came_by_udp_and_lets_tcp_wait() {
    let mut servers = Servers::start(Limits { queue: 1, ..Limits::default() }, None).await;
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    // In steps, as the kernel's own queue may be small.
    let sent: u64 = 6000;
    for number in 0..sent {
        socket.send_to(format!("<13>{number}").as_bytes(), servers.udp).unwrap();
        let counts = servers.intake.counts();
        let until = tokio::time::Instant::now() + WAIT;
        while counts.lines() + counts.refused(Refused::Queue) < number.saturating_sub(50) && tokio::time::Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let mut stream = TcpStream::connect(servers.tcp).await.unwrap();
    stream.write_all(b"<13>patient\n").await.unwrap();
    let mut taken = 0;
    let mut patient = false;
    let until = tokio::time::Instant::now() + WAIT;
    while !patient || taken + servers.intake.counts().refused(Refused::Queue) + servers.intake.counts().refused(Refused::Kernel) < sent {
        assert!(tokio::time::Instant::now() < until, "{taken} {:?}", servers.intake.counts());
        for line in servers.lines(1).await {
            patient |= line.ends_with("patient");
            taken += u64::from(!line.ends_with("patient"));
        }
    }
    assert!(taken <= 2500 && servers.intake.counts().refused(Refused::Queue) >= 3000, "{taken} {:?}", servers.intake.counts());
}
