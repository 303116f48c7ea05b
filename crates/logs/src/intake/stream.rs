//! TCP and TLS: connections with lines in them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::frame::Frames;
use super::tls::Acceptor;
use super::{Intake, Refused, peer};
use crate::batch::{Batch, Peer};

/// Bytes of one read: several lines.
const READ: usize = 16 * 1024;
/// Longest TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Wait after a connection could not be taken, as when the process has no descriptors left: it would fail again at once.
const PAUSE: Duration = Duration::from_millis(100);

impl Intake {
    /// Takes connections until it is cancelled, with TLS if there is an acceptor.
    pub async fn tcp(self: Arc<Self>, listener: TcpListener, tls: Option<Acceptor>, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, from)) = accepted else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let Some(place) = self.place(from) else { continue };
            let (intake, tls, stop) = (self.clone(), tls.clone(), stop.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = intake.connection(stream, tls, place.peer.clone()) => {}
                }
                drop(place);
            });
        }
    }

    fn place(self: &Arc<Self>, from: SocketAddr) -> Option<Place> {
        let peer = peer(from.ip());
        let permit = self.connections.clone().try_acquire_owned().ok();
        match permit {
            Some(permit) if self.senders().may_connect(peer.address) => Some(Place { intake: self.clone(), peer, _permit: permit }),
            _ => {
                self.counts.add_refused(Refused::Connections, 1);
                None
            }
        }
    }

    async fn connection(&self, stream: TcpStream, tls: Option<Acceptor>, mut peer: Peer) {
        let Some(tls) = tls else { return self.lines(stream, &peer).await };
        match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
            Ok(Ok((stream, certificate))) => {
                peer.certificate = certificate;
                self.lines(stream, &peer).await;
            }
            failed => {
                let why = failed
                    .map_or_else(|_| "took too long".to_owned(), |failed| failed.err().map(|error| error.to_string()).unwrap_or_default());
                tracing::debug!(sender = %peer.address, why, "a TLS handshake of a syslog sender failed");
                self.counts.add_refused(Refused::Handshake, 1);
            }
        }
    }

    async fn lines(&self, mut stream: impl AsyncRead + Unpin, peer: &Peer) {
        let mut frames = Frames::default();
        let mut batch = Batch::default();
        let mut buffer = vec![0; READ];
        loop {
            let Ok(read) = tokio::time::timeout(self.limits.idle, stream.read(&mut buffer)).await else {
                self.counts.add_refused(Refused::Idle, 1);
                break;
            };
            // A connection that broke ends like one that was closed: what came before it counts.
            let length = read.unwrap_or(0);
            if length == 0 {
                break;
            }
            let received = Timestamp::now();
            frames.push(&buffer[..length], |line, cut| self.admit(&mut batch, line, cut, peer, received));
            self.counts.add_refused(Refused::Frame, frames.take_malformed());
            self.hand_on(&mut batch).await;
        }
        frames.finish(|line, cut| self.admit(&mut batch, line, cut, peer, Timestamp::now()));
        self.counts.add_refused(Refused::Frame, frames.take_malformed());
        self.hand_on(&mut batch).await;
    }
}

/// A connection's place among all; given back when it ends, however it ends.
struct Place {
    intake: Arc<Intake>,
    peer: Peer,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.intake.senders().disconnected(self.peer.address);
    }
}
