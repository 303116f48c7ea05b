//! UDP: each datagram is a line (RFC 5426).

use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::UdpSocket;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{Intake, Refused, peer};
use crate::batch::Batch;

/// What the kernel may keep for us between two reads: some 10 000 lines. It grants what `net.core.rmem_max` allows.
const KERNEL: usize = 8 << 20;
/// Longest datagram.
const DATAGRAM: usize = 65_536;
/// How often it is asked what the kernel dropped, and lines are handed on that found the queue full.
const ASK: Duration = Duration::from_secs(1);

impl Intake {
    /// Takes lines from a socket until it is cancelled, and then what is there already.
    pub async fn udp(self: Arc<Self>, socket: std::net::UdpSocket, stop: CancellationToken) -> std::io::Result<()> {
        // Less is no reason not to start.
        let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(KERNEL);
        let inode = std::fs::metadata(format!("/proc/self/fd/{}", socket.as_raw_fd())).map_or(0, |file| file.ino());
        socket.set_nonblocking(true)?;
        let socket = UdpSocket::from_std(socket)?;
        let mut buffer = vec![0; DATAGRAM];
        let mut batch = Batch::default();
        let mut ask = tokio::time::interval_at(Instant::now() + ASK, ASK);
        ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut dropped = 0;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                ready = socket.readable() => ready?,
                _ = ask.tick() => self.ask_kernel(inode, &mut dropped).await,
            }
            self.drain(&socket, &mut buffer, &mut batch);
        }
        self.drain(&socket, &mut buffer, &mut batch);
        self.hand_on(&mut batch).await;
        self.ask_kernel(inode, &mut dropped).await;
        Ok(())
    }

    /// Reads until nothing is there, or for one batch, since others want to run too.
    fn drain(&self, socket: &UdpSocket, buffer: &mut [u8], batch: &mut Batch) {
        let received = Timestamp::now();
        for _ in 0..crate::batch::LINES {
            // An error is that of an earlier packet of ours, and we send none: what comes next is read all the same.
            let Ok((length, from)) = socket.try_recv_from(buffer) else { break };
            if batch.is_full() {
                self.try_hand_on(batch);
            }
            if batch.is_full() {
                self.counts.add_refused(Refused::Queue, 1);
                continue;
            }
            self.admit(batch, &buffer[..length], false, &peer(from.ip()), received);
        }
        self.try_hand_on(batch);
    }

    /// Counts what the kernel dropped since the last time.
    async fn ask_kernel(&self, inode: u64, before: &mut u64) {
        for table in ["/proc/net/udp", "/proc/net/udp6"] {
            let Ok(text) = tokio::fs::read_to_string(table).await else { continue };
            if let Some(dropped) = drops(&text, inode) {
                self.counts.add_refused(Refused::Kernel, dropped.saturating_sub(*before));
                *before = dropped;
            }
        }
    }
}

/// The last column of a socket's line (proc(5)); the socket's number is four before it.
fn drops(table: &str, inode: u64) -> Option<u64> {
    let inode = inode.to_string();
    let line = table.lines().skip(1).find(|line| line.split_ascii_whitespace().nth(9) == Some(&inode))?;
    line.split_ascii_whitespace().last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_dropped_is_read_of_our_socket() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
             1018: 00000000:0202 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0000000000000000 12\n\
             1019: 00000000:0203 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4712 2 0000000000000000 0\n";
        assert_eq!((drops(table, 4711), drops(table, 4712), drops(table, 1)), (Some(12), Some(0), None));
    }
}
