//! DNS probes against dnsmasq on loopback.

mod common;
mod probing;

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use devices::probe::{Run, run};
use probing::{device, devices, probe};
use reconcile::{Check, Device, DnsCheck, ProbeCode};

struct Server {
    process: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    /// Authoritative for a zone on 127.0.0.2, and a plain server on 127.0.0.1; `None` where there is no dnsmasq.
    async fn start() -> Option<Self> {
        let program = common::find("dnsmasq", &["/usr/sbin/dnsmasq", "/usr/local/sbin/dnsmasq"])?;
        // A port that is free for one kind of sockets need not be for the other, and may be taken meanwhile.
        for _ in 0..5 {
            if let Some(server) = Self::start_once(&program).await {
                return Some(server);
            }
        }
        panic!("dnsmasq does not answer");
    }

    async fn start_once(program: &std::path::Path) -> Option<Self> {
        let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(program);
        command.args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-hosts", "--no-resolv", "--pid-file=", "--bind-interfaces"]);
        command.args(["--listen-address=127.0.0.1", "--listen-address=127.0.0.2", "--no-daemon", "--local=/example.test/"]);
        command.arg(format!("--port={port}"));
        command.args(["--host-record=www.example.test,192.0.2.7,2001:db8::7", "--cname=alias.example.test,www.example.test"]);
        command.args(["--mx-host=example.test,mail.example.test,10", "--srv-host=_sip._tcp.example.test,sip.example.test,5060,1,2"]);
        command.args(["--txt-record=example.test,v=spf1 -all", "--ptr-record=7.2.0.192.in-addr.arpa,www.example.test"]);
        command.args(["--auth-server=ns.zone.test,127.0.0.2", "--auth-zone=zone.test", "--auth-soa=2026112601"]);
        // More than goes into a datagram.
        for number in 0..40 {
            command.arg(format!("--txt-record=long.example.test,number {number} {}", "x".repeat(60)));
        }
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut server = Self { process, port };
        for _ in 0..100 {
            if server.process.try_wait().ok()?.is_some() {
                return None;
            }
            if server.ask("www.example.test", crds::RecordType::A, None).await.code == ProbeCode::Passed {
                return Some(server);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        None
    }

    async fn ask(&self, name: &str, record: crds::RecordType, answer: Option<&str>) -> Run {
        ask("127.0.0.1", self.port, name, record, answer).await
    }

    async fn shown(&self, name: &str, record: crds::RecordType, answer: Option<&str>) -> String {
        let run = self.ask(name, record, answer).await;
        format!("{:?}: {}", run.code, run.words)
    }
}

async fn ask(address: &str, port: u16, name: &str, record: crds::RecordType, answer: Option<&str>) -> Run {
    let (devices, _directory) = devices();
    let check = Check::Dns(Box::new(DnsCheck { port, name: name.into(), record, answer: answer.map(Into::into) }));
    run(&devices, &Device { address: address.into(), ..device(Vec::new()) }, &probe(check)).await
}

#[tokio::test]
async fn each_type_is_asked_for_and_matched() {
    use crds::RecordType as Type;
    let Some(server) = Server::start().await else { return };
    for (name, record, answer, expected) in [
        ("www.example.test", Type::A, None, "Passed: 192.0.2.7"),
        ("WWW.example.test.", Type::A, Some("192.0.2.7"), "Passed: 192.0.2.7"),
        ("www.example.test", Type::A, Some("192.0.2.8"), "BadAnswer: `192.0.2.8` is not among the answers: 192.0.2.7"),
        ("www.example.test", Type::Aaaa, Some("2001:0db8:0::7"), "Passed: 2001:db8::7"),
        ("alias.example.test", Type::Cname, Some("www.example.test"), "Passed: www.example.test."),
        // What an alias leads to counts as well.
        ("alias.example.test", Type::A, Some("192.0.2.7"), "Passed: 192.0.2.7"),
        ("example.test", Type::Mx, Some("mail.example.test"), "Passed: 10 mail.example.test."),
        ("example.test", Type::Mx, Some("10 mail.example.test."), "Passed: 10 mail.example.test."),
        (
            "example.test",
            Type::Mx,
            Some("20 mail.example.test."),
            "BadAnswer: `20 mail.example.test.` is not among the answers: 10 mail.example.test.",
        ),
        ("_sip._tcp.example.test", Type::Srv, Some("1 2 5060 sip.example.test"), "Passed: 1 2 5060 sip.example.test."),
        ("example.test", Type::Txt, Some("v=spf1 -all"), "Passed: v=spf1 -all"),
        ("7.2.0.192.in-addr.arpa", Type::Ptr, Some("www.example.test"), "Passed: www.example.test."),
        ("www.example.test", Type::Txt, None, "BadAnswer: `www.example.test` has no TXT record"),
        ("gone.example.test", Type::A, None, "DnsError: NXDOMAIN: Non-Existent Domain"),
        ("elsewhere.test", Type::A, None, "DnsError: REFUSED: Query Refused"),
        ("a..b", Type::A, None, "BadProbe: `a..b` is no name that can be asked for"),
    ] {
        assert_eq!(server.shown(name, record, answer).await, expected, "{name} {record:?} {answer:?}");
    }
    for (record, answer) in [(Type::Ns, "ns.zone.test"), (Type::Soa, "ns.zone.test")] {
        let run = ask("127.0.0.2", server.port, "zone.test", record, Some(answer)).await;
        assert_eq!(run.code, ProbeCode::Passed, "{record:?}: {}", run.words);
    }
    // Over TCP, as it does not fit otherwise.
    let run = server.ask("long.example.test", Type::Txt, None).await;
    assert_eq!(run.code, ProbeCode::Passed, "{}", run.words);
    assert!(run.words.ends_with("and 37 more") && run.measured.phases.connect.is_some(), "{}: {:?}", run.words, run.measured);
}

#[tokio::test]
async fn who_is_no_dns_server_does_not_pass() {
    let answering = async |answer: &'static [u8]| {
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        tokio::spawn(async move {
            let mut asked = [0; 512];
            while let Ok((_, from)) = socket.recv_from(&mut asked).await {
                // More of it than anybody would wait for.
                for _ in 0..32 {
                    let _ = socket.send_to(answer, from).await;
                }
            }
        });
        let run = ask("127.0.0.1", port, "www.example.test", crds::RecordType::A, None).await;
        format!("{:?}: {}", run.code, run.words)
    };
    assert_eq!(answering(b"hello").await, "BadAnswer: what came back is not DNS");
    assert_eq!(answering(&[0xff; 4000]).await, "BadAnswer: what came back is not DNS");
    assert_eq!(answering(b"\x00\x00\x81\x80\x00\x00\x00\x00\x00\x00\x00\x00").await, "BadAnswer: what came back answers another question");
    assert_eq!(answering(b"").await, "BadAnswer: what came back is not DNS");
    let run = ask("127.0.0.1", 1, "www.example.test", crds::RecordType::A, None).await;
    assert_eq!(run.code, ProbeCode::Refused, "{}", run.words);
}
