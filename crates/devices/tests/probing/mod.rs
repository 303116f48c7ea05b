//! What tests of probes have in common: a device that is this machine, and servers that say what they are told to.

#![allow(dead_code, reason = "each test file uses its part of this")]

use std::collections::BTreeMap;
use std::time::Duration;

use devices::probe::{Run, run};
use devices::{Devices, Secrets};
use jiff::SignedDuration;
use reconcile::{Access, Check, Device, HttpCheck, Name, Probe, Way};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

pub fn devices() -> (Devices, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (Devices::new(Secrets::new(directory.path()), directory.path()), directory)
}

pub fn device(probes: Vec<Probe>) -> Device {
    Device {
        name: Name::parse("web-01"),
        device_type: crds::DeviceType::Server,
        address: "127.0.0.1".into(),
        labels: Default::default(),
        parents: Vec::new(),
        access: Access::None,
        probes,
        metrics: None,
        logs: Default::default(),
        maintenance: Vec::new(),
        suspend: false,
        vars: BTreeMap::new(),
    }
}

pub fn probe(check: Check) -> Probe {
    let (interval, timeout) = (SignedDuration::from_secs(1), SignedDuration::from_secs(3));
    Probe { name: "it".into(), check, interval, timeout, failures: 1, successes: 1, way: Way::default() }
}

pub fn tcp(port: u16, send: Option<&str>, expect: Option<&str>) -> Check {
    Check::Tcp { port, send: send.map(Into::into), expect: expect.map(Into::into) }
}

pub fn http(port: u16, status: &[u16], contains: Option<&str>) -> Check {
    Check::Http(Box::new(HttpCheck { status: status.to_vec(), contains: contains.map(Into::into), ..HttpCheck::get(port, "/healthz") }))
}

pub async fn ran(check: Check) -> Run {
    let (devices, _directory) = devices();
    run(&devices, &device(Vec::new()), &probe(check)).await
}

/// What came of it: `Code: words`.
pub async fn shown(check: Check) -> String {
    let run = ran(check).await;
    format!("{:?}: {}", run.code, run.words)
}

/// A server that answers each connection with the same text, whatever it is told, and then closes; with a `None`, never.
pub async fn serve(answer: Option<&'static str>) -> u16 {
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

/// A server that says this to three who come, whatever they say, and then closes.
pub async fn say(answer: Vec<u8>) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        for _ in 0..3 {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.write_all(&answer).await;
            let _ = stream.shutdown().await;
            // A reset would take with it what was not read yet.
            let _ = tokio::time::timeout(Duration::from_millis(200), stream.read(&mut [0; 4096])).await;
        }
    });
    port
}

/// A web server that answers with what it was asked.
pub async fn echo() -> u16 {
    let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 4096];
            let length = stream.read(&mut asked).await.unwrap_or(0);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(&[head.as_bytes(), &asked[..length]].concat()).await;
        }
    });
    port
}

/// A server that begins with `head` and then never ends: pieces of so many bytes between two words, with a pause after each.
pub async fn flood(head: &'static str, before: &'static str, bytes: usize, after: &'static str, pause: Duration) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let piece = [before.as_bytes(), &vec![b'x'; bytes], after.as_bytes()].concat();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let piece = piece.clone();
            tokio::spawn(async move {
                let _ = stream.write_all(head.as_bytes()).await;
                while stream.write_all(&piece).await.is_ok() {
                    tokio::time::sleep(pause).await;
                }
            });
        }
    });
    port
}
