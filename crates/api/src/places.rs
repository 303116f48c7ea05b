//! A TCP listener with a limited number of places, so that clients without a token can't take the files that the engine itself needs, nor a
//! place for long by doing next to nothing with it.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

use crate::sign_in::whence::{Network, network};

/// Connections at a time; further ones wait in the kernel's queue.
const PLACES: usize = 128;
/// Of these, for one address (of IPv6, one network): a browser takes six, and what comes through a proxy, or from behind one address of an office,
/// is many. Three of them together may still take all there are, one alone not.
const FROM_ONE: usize = 48;
/// The same where it is said which proxies are ours: then whoever else comes speaks for themselves.
const FROM_ONE_BESIDE_PROXIES: usize = 16;
/// A connection on which nothing went in or out for so long is closed.
const IDLE: Duration = Duration::from_secs(60);
/// From so long after its first byte on, a request has to have come with [`RATE`]: one that comes by drops takes a place from others.
const DROPS: Duration = Duration::from_secs(20);
/// Bytes a second: the slowest line that anybody has is ten times as fast.
const RATE: u64 = 256;

/// The listener.
pub struct Places {
    listener: TcpListener,
    free: Arc<Semaphore>,
    peers: Arc<Mutex<HashMap<IpAddr, usize>>>,
    proxies: Vec<Network>,
    idle: Duration,
    drops: Duration,
}

impl Places {
    /// With the usual limits.
    pub fn new(listener: TcpListener) -> Self {
        Self::with(listener, PLACES, IDLE, DROPS)
    }

    fn with(listener: TcpListener, places: usize, idle: Duration, drops: Duration) -> Self {
        Self { listener, free: Arc::new(Semaphore::new(places)), peers: Arc::default(), proxies: Vec::new(), idle, drops }
    }

    /// Where these proxies may take as many places as there are.
    #[must_use]
    pub fn beside(self, proxies: &[Network]) -> Self {
        Self { proxies: proxies.to_vec(), ..self }
    }

    /// One more place for an address, if it may have one.
    fn count(&self, peer: IpAddr) -> Option<Counted> {
        let most = match (self.proxies.is_empty(), self.proxies.iter().any(|network| network.has(peer))) {
            (true, _) => FROM_ONE,
            (false, true) => usize::MAX,
            (false, false) => FROM_ONE_BESIDE_PROXIES,
        };
        let peer = network(peer);
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let places = peers.entry(peer).or_default();
        if *places >= most {
            return None;
        }
        *places += 1;
        Some(Counted { peers: self.peers.clone(), peer })
    }
}

/// A place that is counted for an address, until it is dropped.
#[derive(Debug)]
struct Counted {
    peers: Arc<Mutex<HashMap<IpAddr, usize>>>,
    peer: IpAddr,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = peers.get_mut(&self.peer) {
            *places -= 1;
            if *places == 0 {
                peers.remove(&self.peer);
            }
        }
    }
}

/// A place of all, and one of those for its address.
type Held = (Option<OwnedSemaphorePermit>, Counted);

/// The place that a connection has; it can be given up before its end by whoever is counted elsewhere from then on.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    place: Arc<Mutex<Option<Held>>>,
    /// The other end.
    pub(crate) peer: IpAddr,
}

impl Taken {
    /// The connection takes none any more. It has to be the last thing that it is used for.
    pub(crate) fn give_up(&self) {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl Connected<IncomingStream<'_, Places>> for Taken {
    fn connect_info(stream: IncomingStream<'_, Places>) -> Self {
        stream.io().taken.clone()
    }
}

impl Listener for Places {
    type Io = Place;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Place, SocketAddr) {
        // The semaphore is never closed; without a permit there would be no limit, and nothing else would be lost.
        let permit = self.free.clone().acquire_owned().await.ok();
        let (stream, address, counted) = loop {
            let (stream, address) = Listener::accept(&mut self.listener).await;
            // Whoever has as many as they may have is hung up on: in the queue they would be in the way of others.
            if let Some(counted) = self.count(address.ip().to_canonical()) {
                break (stream, address, counted);
            }
        };
        let taken = Taken { place: Arc::new(Mutex::new(Some((permit, counted)))), peer: address.ip().to_canonical() };
        let place = Place { stream, idle: self.idle, drops: self.drops, end: Box::pin(sleep(self.idle)), request: None, taken };
        (place, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection in its place, which is free again when this is dropped.
pub struct Place {
    stream: TcpStream,
    idle: Duration,
    drops: Duration,
    end: Pin<Box<Sleep>>,
    /// When the request began that comes in now, and its bytes so far; from an answer's first byte on there is none.
    request: Option<(Instant, u64)>,
    taken: Taken,
}

impl Place {
    /// Whether a request comes fast enough.
    fn keeps_up(&mut self, bytes: usize) -> bool {
        if bytes == 0 {
            return true;
        }
        let (began, so_far) = self.request.get_or_insert_with(|| (Instant::now(), 0));
        *so_far += bytes as u64;
        let passed = began.elapsed();
        passed < self.drops || *so_far >= RATE * passed.as_secs()
    }

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
        let before = buffer.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(context, buffer);
        if !self.keeps_up(buffer.filled().len() - before) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.moved(context, poll)
    }
}

impl AsyncWrite for Place {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.request = None;
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
        (Places::with(listener, places, idle, DROPS), address)
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
    async fn one_address_takes_not_all_places() {
        let (places, address) = places(PLACES, Duration::from_secs(600)).await;
        let mut places = places.beside(&["192.0.2.0/24".parse().unwrap()]);
        let (mut clients, mut taken) = (Vec::new(), Vec::new());
        for _ in 0..FROM_ONE_BESIDE_PROXIES {
            clients.push(TcpStream::connect(address).await.unwrap());
            taken.push(places.accept().await);
        }
        let mut refused = TcpStream::connect(address).await.unwrap();
        assert!(timeout(Duration::from_millis(100), places.accept()).await.is_err(), "one more");
        assert_eq!(refused.read(&mut [0]).await.unwrap_or(0), 0, "it is hung up");
        taken.pop();
        clients.push(TcpStream::connect(address).await.unwrap());
        timeout(Duration::from_secs(60), places.accept()).await.expect("there is room again");
        assert!(places.count("192.0.2.1".parse().unwrap()).is_some());
        taken.clear();
        let peers = places.peers.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(peers.is_empty(), "{peers:?}");
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

    /// Slow-loris: each drop puts off the end of an idle connection, and is far from a request.
    #[tokio::test]
    async fn a_request_that_comes_by_drops_is_ended() {
        let (mut places, address) = places(1, Duration::from_secs(600)).await;
        places.drops = Duration::from_secs(2);
        let mut client = TcpStream::connect(address).await.unwrap();
        let (mut place, _) = places.accept().await;
        let dripping = tokio::spawn(async move {
            while client.write_all(b"G").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let mut read = [0; 4096];
        let ended = loop {
            match timeout(Duration::from_secs(60), place.read(&mut read)).await.expect("it ends") {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
        drop(place);
        dripping.await.unwrap();
    }

    /// The next request begins anew, and one that is fast may be long.
    #[tokio::test]
    async fn a_request_that_keeps_up_goes_on() {
        let (mut places, address) = places(1, Duration::from_secs(600)).await;
        places.drops = Duration::ZERO;
        let mut client = TcpStream::connect(address).await.unwrap();
        let (mut place, _) = places.accept().await;
        let mut read = vec![0; 1000];
        for _ in 0..3 {
            client.write_all(&[b'G'; 1000]).await.unwrap();
            place.read_exact(&mut read).await.unwrap();
            place.write_all(b"HTTP/1.1 200 OK").await.unwrap();
            assert!(place.request.is_none());
        }
    }

    #[tokio::test]
    async fn who_gives_a_place_up_makes_room_and_is_not_cut() {
        let (mut places, address) = places(1, Duration::from_secs(600)).await;
        let mut first = TcpStream::connect(address).await.unwrap();
        let (mut place, _) = places.accept().await;
        let _second = TcpStream::connect(address).await.unwrap();
        place.taken.give_up();
        timeout(Duration::from_secs(60), places.accept()).await.expect("there is room");
        place.write_all(b"data").await.unwrap();
        let mut read = [0; 4];
        first.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"data");
    }
}
