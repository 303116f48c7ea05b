//! Probes against real servers on loopback, and their schedule.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::Machine;
use devices::probe::{Run, Scheduler, run};
use devices::{Devices, Secrets};
use jiff::SignedDuration;
use reconcile::{Access, Check, Device, Name, Probe, ProbeState};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn devices() -> (Devices, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (Devices::new(Secrets::new(directory.path()), directory.path()), directory)
}

fn device(probes: Vec<Probe>) -> Device {
    Device {
        name: Name::parse("web-01"),
        device_type: crds::DeviceType::Server,
        address: "127.0.0.1".into(),
        labels: BTreeMap::new(),
        parents: Vec::new(),
        access: Access::None,
        probes,
        metrics: None,
        maintenance: Vec::new(),
        suspend: false,
        vars: BTreeMap::new(),
    }
}

fn probe(check: Check) -> Probe {
    let (interval, timeout) = (SignedDuration::from_secs(1), SignedDuration::from_secs(3));
    Probe { name: "it".into(), check, interval, timeout, failures: 1, successes: 1 }
}

/// A server that answers each connection with the same text, whatever it is told, and then closes; with a `None`, never.
async fn serve(answer: Option<&'static str>) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let Some(answer) = answer else { return std::future::pending().await };
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    port
}

fn tcp(port: u16, send: Option<&str>, expect: Option<&str>) -> Check {
    Check::Tcp { port, send: send.map(Into::into), expect: expect.map(Into::into) }
}

fn http(port: u16, status: &[u16], contains: Option<&str>) -> Check {
    Check::Http {
        scheme: "http".into(),
        port,
        path: "/healthz".into(),
        method: "GET".into(),
        headers: BTreeMap::from([("X-Probe".into(), "1".into())]),
        status: status.to_vec(),
        contains: contains.map(Into::into),
    }
}

async fn shown(check: Check) -> String {
    let (devices, _directory) = devices();
    match run(&devices, &device(Vec::new()), &probe(check)).await {
        Run::Passed => "passed".into(),
        Run::Failed(reason) => format!("failed: {reason}"),
        Run::NotRun(reason) => format!("not run: {reason}"),
    }
}

#[tokio::test]
async fn tcp_connects_sends_and_expects() {
    let (greeting, silent) = (serve(Some("220 ready\r\n")).await, serve(None).await);
    assert_eq!(shown(tcp(greeting, None, None)).await, "passed");
    assert_eq!(shown(tcp(greeting, Some("HELO\r\n"), Some("220 "))).await, "passed");
    assert_eq!(shown(tcp(greeting, Some("HELO\r\n"), Some("250 "))).await, "failed: the answer does not contain `250 `");
    assert_eq!(shown(tcp(silent, Some("x"), Some("y"))).await, "failed: no answer within 3s");
    assert!(shown(tcp(1, None, None)).await.starts_with("failed: Connection refused"));
}

#[tokio::test]
async fn http_looks_at_the_status_and_the_body() {
    let fine = serve(Some("HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nall ok")).await;
    let moved = serve(Some("HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")).await;
    let broken = serve(Some("HTTP/1.1 503 Gone\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")).await;
    let rubbish = serve(Some("rubbish\r\n\r\n")).await;
    assert_eq!(shown(http(fine, &[], None)).await, "passed");
    assert_eq!(shown(http(fine, &[200], Some("all ok"))).await, "passed");
    assert_eq!(shown(http(fine, &[], Some("all fine"))).await, "failed: the body does not contain `all fine`");
    assert_eq!(shown(http(fine, &[204], None)).await, "failed: status 200");
    assert_eq!(shown(http(broken, &[], None)).await, "failed: status 503");
    assert_eq!(shown(http(broken, &[503], None)).await, "passed");
    // What is behind a redirect is not this device.
    assert_eq!(shown(http(moved, &[], None)).await, "failed: status 302");
    assert!(shown(http(rubbish, &[], None)).await.starts_with("failed: "));
    assert!(shown(http(1, &[], None)).await.contains("Connection refused"));
}

/// Whether the kernel lets us send echo requests is the machine's affair; that it is never the device's fault is ours.
#[tokio::test]
async fn icmp_passes_or_says_that_it_could_not_be_run() {
    let ping = |max_rtt| Check::Icmp { count: 2, max_loss_percent: 50, max_rtt };
    let seen = shown(ping(None)).await;
    assert!(seen == "passed" || seen.starts_with("not run: the kernel refuses ICMP sockets"), "{seen}");
    if seen == "passed" {
        assert!(shown(ping(Some(SignedDuration::ZERO))).await.starts_with("failed: average round trip"));
    }
}

#[tokio::test]
async fn a_command_is_run_over_ssh_and_a_key_that_is_wrong_here_is_not_the_device_s_fault() {
    let Some(machine) = Machine::start() else { return };
    let (devices, device) = (machine.devices(), machine.device("web-01"));
    let command = |command: &str, exit_code| probe(Check::Ssh { command: command.into(), exit_code });
    assert_eq!(run(&devices, &device, &command("exit 3", 3)).await, Run::Passed);
    assert_eq!(run(&devices, &device, &command("echo no disk; exit 1", 0)).await, Run::Failed("exit code 1: no disk".into()));
    let Run::Failed(reason) = run(&devices, &device, &command("sleep 60", 0)).await else { panic!("it can't pass") };
    assert!(reason.contains("took longer than"), "{reason}");
    let mut other = device.clone();
    common::ssh(&mut other).secret = Some("gone".into());
    assert!(matches!(run(&devices, &other, &command("true", 0)).await, Run::NotRun(_)));
    let mut away = device;
    common::ssh(&mut away).port = 1;
    assert!(matches!(run(&devices, &away, &command("true", 0)).await, Run::Failed(_)));
}

#[tokio::test]
async fn what_this_version_does_not_run_is_unknown() {
    assert_eq!(shown(Check::NotRun { kind: "dns".into() }).await, "not run: dns probes are not run by this version");
}

#[tokio::test]
async fn the_schedule_tells_what_ran_and_forgets_who_left() {
    let (devices, _directory) = devices();
    let port = serve(Some("hello")).await;
    let (out, mut ran) = tokio::sync::mpsc::channel(16);
    let mut scheduler = Scheduler::new(Arc::new(devices), out);
    let watched = device(vec![probe(tcp(port, None, None)), Probe { name: "down".into(), ..probe(tcp(1, None, None)) }]);
    scheduler.set(&watched.name, Some(&Arc::new(watched.clone())));
    let mut states = BTreeMap::new();
    while states.len() < 2 {
        let ran = tokio::time::timeout(Duration::from_secs(20), ran.recv()).await.unwrap().unwrap();
        assert!(ran.seen.seen_at.is_some());
        states.insert(ran.probe, ran.seen.state);
    }
    assert_eq!(states, BTreeMap::from([("it".to_owned(), ProbeState::Ok), ("down".to_owned(), ProbeState::Fail)]));
    // It left: nothing runs any more. What had been told before is still in the channel.
    scheduler.set(&watched.name, None);
    drop(scheduler);
    while ran.recv().await.is_some() {}
}
