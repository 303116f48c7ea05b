//! What is probed and read in measurements: one port that takes connections at every address of the loopback network, and answers HTTP.
//! `bench_target METRICS PORT_FILE`: `METRICS` is what `/metrics` answers with, `PORT_FILE` is told the port. `/count` answers with the number of
//! connections that there were.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Bytes of a request.
const REQUEST: usize = 8192;

struct Target {
    metrics: Vec<u8>,
    connections: AtomicU64,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, metrics, port_file] = arguments.as_slice() else { panic!("bench_target METRICS PORT_FILE") };
    let metrics = std::fs::read_to_string(metrics)?;
    let target = Arc::new(Target { metrics: answer("text/plain; version=0.0.4", &metrics), connections: AtomicU64::new(0) });
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    // All of 127.0.0.0/8, and nobody from elsewhere.
    socket.bind_device(Some(b"lo"))?;
    socket.set_reuse_address(true)?;
    socket.bind(&std::net::SocketAddr::from(([0, 0, 0, 0], 0)).into())?;
    socket.listen(4096)?;
    socket.set_nonblocking(true)?;
    let listener = TcpListener::from_std(socket.into())?;
    std::fs::write(port_file, listener.local_addr()?.port().to_string())?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(serve(target.clone(), stream));
    }
}

fn answer(kind: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()).into_bytes()
}

async fn serve(target: Arc<Target>, mut stream: TcpStream) {
    let mut request = Vec::with_capacity(512);
    while !request.ends_with(b"\r\n\r\n") {
        if request.len() > REQUEST || !matches!(stream.read_buf(&mut request).await, Ok(1..)) {
            // Whoever only connects says nothing.
            target.connections.fetch_add(1, Ordering::Relaxed);
            return;
        }
    }
    let path = request.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    if path == b"/count" {
        let text = answer("text/plain", &target.connections.load(Ordering::Relaxed).to_string());
        let _ = stream.write_all(&text).await;
        return;
    }
    target.connections.fetch_add(1, Ordering::Relaxed);
    let text = if path.starts_with(b"/metrics") { &target.metrics } else { &answer("text/plain", "fine\n") };
    let _ = stream.write_all(text).await;
}
