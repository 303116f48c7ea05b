//! A TCP listener with a limited number of places, so that clients without a token can't take the files that the engine itself needs.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

/// Connections at a time; further ones wait in the kernel's queue.
const PLACES: usize = 128;
/// A connection on which nothing went in or out for so long is closed.
const IDLE: Duration = Duration::from_secs(60);

/// The listener.
pub struct Places {
    listener: TcpListener,
    free: Arc<Semaphore>,
    idle: Duration,
}

impl Places {
    /// With the usual limits.
    pub fn new(listener: TcpListener) -> Self {
        Self::with(listener, PLACES, IDLE)
    }

    fn with(listener: TcpListener, places: usize, idle: Duration) -> Self {
        Self { listener, free: Arc::new(Semaphore::new(places)), idle }
    }
}

impl Listener for Places {
    type Io = Place;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Place, SocketAddr) {
        // The semaphore is never closed; without a permit there would be no limit, and nothing else would be lost.
        let permit = self.free.clone().acquire_owned().await.ok();
        let (stream, address) = Listener::accept(&mut self.listener).await;
        (Place { stream, idle: self.idle, end: Box::pin(sleep(self.idle)), _permit: permit }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

impl Connected<IncomingStream<'_, Places>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Places>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// A connection in its place, which is free again when this is dropped.
pub struct Place {
    stream: TcpStream,
    idle: Duration,
    end: Pin<Box<Sleep>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Place {
    /// Puts the end off if something moved, and ends what has waited too long.
    fn moved<T>(&mut self, context: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            let end = Instant::now() + self.idle;
            self.end.as_mut().reset(end);
            return poll;
        }
        ready!(self.end.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Place {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.moved(context, poll)
    }
}

impl AsyncWrite for Place {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.moved(context, poll)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::timeout;

    async fn places(places: usize, idle: Duration) -> (Places, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (Places::with(listener, places, idle), address)
    }

    #[tokio::test]
    async fn who_comes_when_all_places_are_taken_waits_until_one_is_free() {
        let (mut places, address) = places(2, Duration::from_secs(600)).await;
        let mut clients = Vec::new();
        for _ in 0..3 {
            clients.push(TcpStream::connect(address).await.unwrap());
        }
        let first = places.accept().await;
        let _second = places.accept().await;
        assert!(timeout(Duration::from_millis(100), places.accept()).await.is_err(), "a third place");
        drop(first);
        timeout(Duration::from_secs(60), places.accept()).await.expect("the place is free again");
    }

    #[tokio::test]
    async fn a_connection_on_which_nothing_happens_is_ended() {
        let (mut places, address) = places(1, Duration::from_millis(50)).await;
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET /").await.unwrap();
        let (mut place, _) = places.accept().await;
        let mut read = [0; 5];
        place.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"GET /");
        let ended = timeout(Duration::from_secs(60), place.read_exact(&mut read)).await.expect("it ends").unwrap_err();
        assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
    }
}
