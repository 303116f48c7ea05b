//! A wire to a database that can be cut in the worst moments.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

/// What the wire does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Wire {
    /// Carries everything.
    Open,
    /// Carries nothing, and keeps connections open.
    Silent,
    /// Carries everything until a COMMIT is on its way: that still arrives, and its answer does not.
    CutAtCommit,
}

/// A wire to a port on loopback.
pub struct Proxy {
    pub port: u16,
    wire: Arc<AtomicU8>,
}

impl Proxy {
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self { port: listener.local_addr().unwrap().port(), wire: Arc::new(AtomicU8::new(Wire::Open as u8)) };
        let wire = proxy.wire.clone();
        // Ends with the test's process; each connection ends with its client.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                let cut = Arc::new(AtomicBool::new(false));
                let (back, to) = ((server.try_clone().unwrap(), client.try_clone().unwrap()), (client, server));
                for (from, to, is_request) in [(to.0, to.1, true), (back.0, back.1, false)] {
                    let (wire, cut) = (wire.clone(), cut.clone());
                    std::thread::spawn(move || carry(from, to, is_request, &wire, &cut));
                }
            }
        });
        proxy
    }

    pub fn set(&self, wire: Wire) {
        self.wire.store(wire as u8, Ordering::SeqCst);
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, is_request: bool, wire: &AtomicU8, cut: &AtomicBool) {
    let mut buffer = [0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        while wire.load(Ordering::SeqCst) == Wire::Silent as u8 {
            std::thread::sleep(Duration::from_millis(5));
        }
        let bytes = &buffer[..length];
        let at_commit = wire.load(Ordering::SeqCst) == Wire::CutAtCommit as u8;
        if is_request && at_commit && bytes.windows(6).any(|word| word == b"COMMIT") {
            cut.store(true, Ordering::SeqCst);
            let _ = to.write_all(bytes);
            // The server ends the session when it has done what it was asked.
            let _ = to.shutdown(Shutdown::Write);
            let _ = from.shutdown(Shutdown::Both);
            return;
        }
        if cut.load(Ordering::SeqCst) || to.write_all(bytes).is_err() {
            break;
        }
    }
    let _ = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
}
