//! Servers that take syslog in: UDP (RFC 5426), TCP (RFC 6587) and TLS (RFC 5425).
//!
//! A sender has a rate and a number of connections; what goes beyond is refused and counted, never silently dropped. What was taken goes
//! into one queue of batches. If that is full, TCP and TLS wait, so that their senders do; UDP has nobody who would wait, and counts.

pub mod frame;
mod rate;
mod stream;
pub mod tls;
mod udp;

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc};

use crate::batch::{Batch, Peer};
use crate::line::Flags;
pub use rate::Sender;
use rate::Senders;

/// What may be set, with its limits.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// Connections at once from one address, so that one sender can't have them all.
    pub connections_per_address: usize,
    /// Longest time without a byte before a connection is closed. Senders keep theirs open for days and may have little to say; rsyslog
    /// and syslog-ng connect again.
    pub idle: Duration,
    /// Lines of one sender in a second, in the long run. A busy firewall sends a few thousand.
    pub rate: u32,
    /// Lines of one sender at once: what a switch says when it starts.
    pub burst: u32,
    /// Batches in the queue.
    pub queue: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 1024, connections_per_address: 64, idle: Duration::from_secs(3600), rate: 5_000, burst: 50_000, queue: 64 }
    }
}

/// Why something was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refused {
    /// Lines of a sender beyond its rate.
    Rate,
    /// Lines that came by UDP while the queue was full.
    Queue,
    /// Lines that the kernel dropped, as they came by UDP faster than they were read.
    Kernel,
    /// Connections beyond the limit.
    Connections,
    /// TLS handshakes that failed or took too long.
    Handshake,
    /// Connections on which nothing came for too long.
    Idle,
    /// Frames that had no length that can be.
    Frame,
}

impl Refused {
    /// All of them.
    pub const ALL: [Self; 7] = [Self::Rate, Self::Queue, Self::Kernel, Self::Connections, Self::Handshake, Self::Idle, Self::Frame];

    /// Its name, for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Queue => "queue",
            Self::Kernel => "kernel",
            Self::Connections => "connections",
            Self::Handshake => "handshake",
            Self::Idle => "idle",
            Self::Frame => "frame",
        }
    }
}

/// What was counted since the start.
#[derive(Debug, Default)]
pub struct Counts {
    lines: AtomicU64,
    cut: AtomicU64,
    mended: AtomicU64,
    refused: [AtomicU64; Refused::ALL.len()],
}

impl Counts {
    /// Lines that were taken.
    pub fn lines(&self) -> u64 {
        self.lines.load(Ordering::Relaxed)
    }

    /// Lines that were taken and were too long.
    pub fn cut(&self) -> u64 {
        self.cut.load(Ordering::Relaxed)
    }

    /// Lines that were taken and had something in them that is no text.
    pub fn mended(&self) -> u64 {
        self.mended.load(Ordering::Relaxed)
    }

    /// What was not taken, and why.
    pub fn refused(&self, why: Refused) -> u64 {
        self.refused[why as usize].load(Ordering::Relaxed)
    }

    fn add_refused(&self, why: Refused, many: u64) {
        self.refused[why as usize].fetch_add(many, Ordering::Relaxed);
    }
}

/// Takes lines in, by any number of servers.
pub struct Intake {
    limits: Limits,
    counts: Counts,
    senders: Mutex<Senders>,
    connections: Arc<Semaphore>,
    out: mpsc::Sender<Batch>,
}

impl Intake {
    /// One that nothing listens for yet, and the queue of what it takes.
    pub fn new(limits: Limits) -> (Arc<Self>, mpsc::Receiver<Batch>) {
        let (out, queue) = mpsc::channel(limits.queue.max(1));
        let senders = Mutex::new(Senders::new(limits));
        let connections = Arc::new(Semaphore::new(limits.connections));
        (Arc::new(Self { limits, counts: Counts::default(), senders, connections, out }), queue)
    }

    /// What was counted.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Senders of which lines were refused, those with the most first.
    pub fn refused_senders(&self, many: usize) -> Vec<Sender> {
        self.senders().refused(many)
    }

    fn senders(&self) -> std::sync::MutexGuard<'_, Senders> {
        self.senders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line to a batch if its sender has not sent too many.
    fn admit(&self, batch: &mut Batch, bytes: &[u8], cut: bool, peer: &Peer, received: jiff::Timestamp) {
        if !self.senders().may_send(peer.address, Instant::now()) {
            return self.counts.add_refused(Refused::Rate, 1);
        }
        let flags = batch.push(bytes, peer, received);
        self.counts.lines.fetch_add(1, Ordering::Relaxed);
        self.counts.cut.fetch_add((cut || flags.has(Flags::CUT)).into(), Ordering::Relaxed);
        self.counts.mended.fetch_add(flags.has(Flags::MENDED).into(), Ordering::Relaxed);
    }

    /// Hands a batch on at once, if there is room. What is left stays in it.
    fn try_hand_on(&self, batch: &mut Batch) {
        if batch.is_empty() {
            return;
        }
        match self.out.try_send(std::mem::take(batch)) {
            Ok(()) => {}
            Err(TrySendError::Full(back)) => *batch = back,
            Err(TrySendError::Closed(lost)) => self.lose(&lost),
        }
    }

    /// Hands a batch on when there is room.
    async fn hand_on(&self, batch: &mut Batch) {
        if batch.is_empty() {
            return;
        }
        if let Err(lost) = self.out.send(std::mem::take(batch)).await {
            self.lose(&lost.0);
        }
    }

    fn lose(&self, lost: &Batch) {
        let many = lost.len() as u64;
        self.counts.add_refused(Refused::Queue, many);
        self.counts.lines.fetch_sub(many, Ordering::Relaxed);
    }
}

/// An address as it is meant: IPv4 that came through an IPv6 socket is IPv4.
fn peer(address: IpAddr) -> Peer {
    Peer { address: address.to_canonical(), certificate: None }
}
