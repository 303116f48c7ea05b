//! A way on loopback that can be cut, mended and led elsewhere: what a network, or a virtual address before two servers, does to whoever
//! uses it.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Bytes that are carried at once.
const PIECE: usize = 64 << 10;

#[derive(Default)]
struct Way {
    /// Where it leads; nowhere while it is cut.
    to: Option<SocketAddr>,
    /// Both ends of what goes through it.
    open: Vec<TcpStream>,
    is_over: bool,
}

/// The way.
pub struct Proxy {
    port: u16,
    way: Arc<Mutex<Way>>,
}

impl Proxy {
    /// One to a port on loopback.
    pub fn to(port: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let way = Way { to: Some((Ipv4Addr::LOCALHOST, port).into()), ..Way::default() };
        let proxy = Self { port: listener.local_addr()?.port(), way: Arc::new(Mutex::new(way)) };
        let way = proxy.way.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (to, is_over) = {
                    let way = way.lock().unwrap_or_else(PoisonError::into_inner);
                    (way.to, way.is_over)
                };
                if is_over {
                    return;
                }
                // A connection that leads nowhere is closed, which whoever made it sees.
                let Some(server) = to.and_then(|to| TcpStream::connect_timeout(&to, Duration::from_secs(1)).ok()) else { continue };
                let _ = carry(&way, &client, &server).and_then(|()| carry(&way, &server, &client));
            }
        });
        Ok(proxy)
    }

    /// Where it begins.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends what goes through it, and lets nothing through any more.
    pub fn cut(&self) {
        self.lead(None);
    }

    /// Leads to a port on loopback from now on; what went elsewhere ends.
    pub fn lead_to(&self, port: u16) {
        self.lead(Some((Ipv4Addr::LOCALHOST, port).into()));
    }

    fn lead(&self, to: Option<SocketAddr>) {
        let mut way = self.way.lock().unwrap_or_else(PoisonError::into_inner);
        way.to = to;
        for stream in way.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Carries what comes from one end to the other, in a thread of its own.
fn carry(way: &Mutex<Way>, from: &TcpStream, to: &TcpStream) -> std::io::Result<()> {
    let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
    way.lock().unwrap_or_else(PoisonError::into_inner).open.push(from.try_clone()?);
    std::thread::spawn(move || {
        let mut piece = vec![0; PIECE];
        while let Ok(count) = from.read(&mut piece) {
            if count == 0 || to.write_all(&piece[..count]).is_err() {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    });
    Ok(())
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        self.way.lock().unwrap_or_else(PoisonError::into_inner).is_over = true;
        // So that its thread looks.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}
