//! Echo requests: how many came back, and how fast (RFC 792, RFC 4443).
//!
//! One connected socket for each run, so the kernel sorts out whose answers they are. It is one that needs no rights (`ping_group_range`, see
//! icmp(7)), or a raw one where we have the right to that.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reconcile::{ProbeCode, Way};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::Instant;

use super::{Checked, Echoes, Measured, Reason, reach};

/// Time between two requests: a burst says little about a path, and routers limit what they answer.
const PACE: Duration = Duration::from_millis(20);
/// Bytes of an answer that are looked at: an IP header with options (60), an ICMP header (8), and our cookie (8).
const LOOKED_AT: usize = 128;
/// Sockets that need no rights were refused to us, and raw ones were not.
static IS_RAW: AtomicBool = AtomicBool::new(false);
/// The kinds of message, in IPv4 and in IPv6.
const REQUEST: [u8; 2] = [8, 128];
const REPLY: [u8; 2] = [0, 129];

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) count: u16,
    pub(super) max_loss_percent: u32,
    pub(super) max_rtt: Option<Duration>,
}

/// Asks as often as it is told, until `limit`.
pub(super) async fn check(host: &str, way: &Way, limits: Limits, limit: Duration, measured: &mut Measured) -> Checked {
    let end = Instant::now() + limit;
    let address = reach::address(host, way, &mut measured.phases).await?;
    let echo = Echo::open(address, way)?;
    let (trips, told) = echo.run(limits.count, end).await?;
    let echoes = Echoes::of(u32::from(limits.count), &trips);
    measured.echoes = Some(echoes);
    verdict(echoes, told, limits)
}

/// What they come to, and `told`: what the network said instead of an answer.
fn verdict(echoes: Echoes, told: Option<Reason>, limits: Limits) -> Checked {
    let lost = echoes.sent - echoes.received;
    if echoes.received == 0 {
        return Err(told.unwrap_or_else(|| match echoes.sent {
            1 => Reason { code: ProbeCode::Timeout, words: "the echo request was not answered".into() },
            sent => Reason { code: ProbeCode::Timeout, words: format!("none of {sent} echo requests was answered") },
        }));
    }
    if lost * 100 > limits.max_loss_percent * echoes.sent {
        return Err(Reason { code: ProbeCode::Loss, words: echoes.to_string() });
    }
    match limits.max_rtt.filter(|limit| echoes.average > *limit) {
        Some(limit) => Err(Reason { code: ProbeCode::Slow, words: format!("{echoes}; more than {limit:?} on average") }),
        None => Ok(echoes.to_string()),
    }
}

struct Echo {
    socket: UdpSocket,
    is_ipv6: bool,
    /// Of an IPv4 socket that is raw, the IP header comes with each answer.
    is_raw: bool,
    /// In each of our requests, and so in each answer to them.
    cookie: [u8; 8],
}

impl Echo {
    fn open(address: IpAddr, way: &Way) -> Result<Self, Reason> {
        let to = SocketAddr::new(address, 0);
        let protocol = if address.is_ipv4() { Protocol::ICMPV4 } else { Protocol::ICMPV6 };
        let open = |kind: Type| Socket::new(Domain::for_address(to), kind.nonblocking(), Some(protocol));
        let raw = || open(Type::RAW).inspect(|_| IS_RAW.store(true, Ordering::Relaxed));
        // What was allowed the last time is asked for first.
        let known = IS_RAW.load(Ordering::Relaxed).then(raw).and_then(Result::ok);
        let (socket, is_raw) = match known.map_or_else(|| open(Type::DGRAM).map(|socket| (socket, false)), |socket| Ok((socket, true))) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => (raw().map_err(|_| refused(&error))?, true),
            opened => opened.map_err(|error| reach::broken(&error))?,
        };
        if let Some(source) = way.source {
            socket.bind(&SocketAddr::new(source, 0).into()).map_err(|error| reach::unbound(source, &error))?;
        }
        let broken = |error: io::Error| reach::broken(&error);
        socket.connect(&to.into()).map_err(broken)?;
        let socket = UdpSocket::from_std(socket.into()).map_err(broken)?;
        Ok(Self { socket, is_ipv6: address.is_ipv6(), is_raw, cookie: RandomState::new().build_hasher().finish().to_be_bytes() })
    }

    /// The round trips, in the order of the requests (`None`: not answered), and what the network said instead.
    async fn run(&self, count: u16, end: Instant) -> Result<(Vec<Option<Duration>>, Option<Reason>), Reason> {
        let mut sent_at = Vec::new();
        let mut trips = vec![None; usize::from(count)];
        let mut told = None;
        let pace = PACE.min(end.saturating_duration_since(Instant::now()) / (2 * u32::from(count.max(1))));
        let mut next = Instant::now();
        let mut answer = [0; LOOKED_AT];
        while trips.iter().any(Option::is_none) {
            let now = Instant::now();
            if now >= end {
                break;
            }
            if sent_at.len() < trips.len() && now >= next {
                let number = u16::try_from(sent_at.len()).unwrap_or(u16::MAX);
                sent_at.push(Instant::now());
                match self.socket.send(&self.request(number)).await {
                    Ok(_) => {}
                    Err(error) => told = Some(reach::broken(&error)).filter(|reason| reason.code != ProbeCode::Exhausted).or(told),
                }
                next += pace;
                continue;
            }
            let until = if sent_at.len() < trips.len() { next } else { end };
            match tokio::time::timeout_at(until, self.socket.recv(&mut answer)).await {
                Ok(Ok(length)) => {
                    if let Some(number) = self.number(&answer[..length])
                        && let (Some(at), Some(trip)) = (sent_at.get(number), trips.get_mut(number))
                    {
                        trip.get_or_insert(at.elapsed());
                    }
                }
                // What a router said of one of them; others may come through.
                Ok(Err(error)) => told = Some(reach::broken(&error)),
                Err(_) => {}
            }
        }
        match told {
            // Nothing has gone out.
            Some(reason) if reason.code == ProbeCode::NotPermitted => Err(reason),
            told => Ok((trips, told)),
        }
    }

    fn request(&self, number: u16) -> [u8; 40] {
        let mut packet = [0; 40];
        packet[0] = REQUEST[usize::from(self.is_ipv6)];
        // The kernel writes an identifier of its own over it, unless the socket is raw.
        packet[4..6].copy_from_slice(&self.cookie[..2]);
        packet[6..8].copy_from_slice(&number.to_be_bytes());
        packet[8..16].copy_from_slice(&self.cookie);
        // Of IPv6 it is the kernel that adds up.
        if !self.is_ipv6 {
            let sum = checksum(&packet).to_be_bytes();
            packet[2..4].copy_from_slice(&sum);
        }
        packet
    }

    /// Which of our requests this answers, if it is an answer to one of ours.
    fn number(&self, answer: &[u8]) -> Option<usize> {
        let header = if self.is_raw && !self.is_ipv6 { usize::from(answer.first()? & 0x0f) * 4 } else { 0 };
        let message = answer.get(header..)?;
        if *message.first()? != REPLY[usize::from(self.is_ipv6)] || message.get(8..16)? != self.cookie {
            return None;
        }
        Some(usize::from(u16::from_be_bytes([*message.get(6)?, *message.get(7)?])))
    }
}

fn refused(error: &io::Error) -> Reason {
    let words = format!("the kernel refuses ICMP sockets ({error}): allow our group in net.ipv4.ping_group_range");
    Reason { code: ProbeCode::NotPermitted, words }
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)));
    let sum = words.fold(0_u32, |sum, word| sum.wrapping_add(word));
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(0)
}

impl Echoes {
    fn of(sent: u32, trips: &[Option<Duration>]) -> Self {
        let there: Vec<Duration> = trips.iter().flatten().copied().collect();
        let received = u32::try_from(there.len()).unwrap_or(u32::MAX);
        let steps: Vec<Duration> = there.windows(2).map(|pair| pair[0].abs_diff(pair[1])).collect();
        let mean =
            |of: &[Duration]| of.iter().sum::<Duration>().checked_div(u32::try_from(of.len()).unwrap_or(u32::MAX)).unwrap_or_default();
        Self {
            sent,
            received,
            least: there.iter().min().copied().unwrap_or_default(),
            average: mean(&there),
            most: there.iter().max().copied().unwrap_or_default(),
            jitter: mean(&steps),
        }
    }
}

impl std::fmt::Display for Echoes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} answered", self.received, self.sent)?;
        if self.received == 0 {
            return Ok(());
        }
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        write!(f, ", round trip {:.2}/{:.2}/{:.2} ms", ms(self.least), ms(self.average), ms(self.most))?;
        if self.received > 1 { write!(f, ", jitter {:.2} ms", ms(self.jitter)) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_of_what_came_back() {
        let ms = Duration::from_millis;
        let echoes = Echoes::of(5, &[Some(ms(10)), None, Some(ms(30)), Some(ms(20)), None]);
        assert_eq!(echoes.to_string(), "3 of 5 answered, round trip 10.00/20.00/30.00 ms, jitter 15.00 ms");
        assert_eq!(Echoes::of(2, &[None, None]).to_string(), "0 of 2 answered");
        assert_eq!(Echoes::of(1, &[Some(ms(1))]).to_string(), "1 of 1 answered, round trip 1.00/1.00/1.00 ms");
    }

    #[test]
    fn as_many_may_be_lost_and_may_take_as_long_as_is_allowed() {
        let ms = Duration::from_millis;
        let limits = Limits { count: 4, max_loss_percent: 50, max_rtt: Some(ms(20)) };
        let judged =
            |trips: &[Option<Duration>], told| verdict(Echoes::of(4, trips), told, limits).map_err(|reason| (reason.code, reason.words));
        let failed = |code, words: &str| -> Result<String, (ProbeCode, String)> { Err((code, words.to_owned())) };
        let half = [Some(ms(10)), None, None, Some(ms(30))];
        assert_eq!(judged(&half, None), Ok("2 of 4 answered, round trip 10.00/20.00/30.00 ms, jitter 20.00 ms".into()));
        let one = [None, Some(ms(10)), None, None];
        assert_eq!(judged(&one, None), failed(ProbeCode::Loss, "1 of 4 answered, round trip 10.00/10.00/10.00 ms"));
        let unreachable = Reason::new(ProbeCode::NoRoute, "no route");
        let said = judged(&one, Some(unreachable.clone()));
        assert_eq!(said.map_err(|(code, _)| code), Err(ProbeCode::Loss), "one of them came through");
        let slow = "4 of 4 answered, round trip 21.00/21.00/21.00 ms, jitter 0.00 ms; more than 20ms on average";
        assert_eq!(judged(&[Some(ms(21)); 4], None), failed(ProbeCode::Slow, slow));
        assert_eq!(judged(&[None; 4], None), failed(ProbeCode::Timeout, "none of 4 echo requests was answered"));
        assert_eq!(judged(&[None; 4], Some(unreachable)), failed(ProbeCode::NoRoute, "no route"));
    }

    /// The example of RFC 1071, section 3, and one with an odd length.
    #[test]
    fn sums_are_those_of_the_rfc() {
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
        assert_eq!(checksum(&[0xff]), 0x00ff);
        assert_eq!(checksum(&[0xff; 64]), 0);
    }

    #[tokio::test]
    async fn only_an_answer_to_ours_counts() {
        let echo = |is_raw, is_ipv6| async move {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            Echo { socket, is_ipv6, is_raw, cookie: *b"evenkeel" }
        };
        let plain = echo(false, false).await;
        let mut answer = plain.request(3);
        assert_eq!(plain.number(&answer), None, "it is the request");
        answer[0] = 0;
        assert_eq!(plain.number(&answer), Some(3));
        for length in 0..16 {
            assert_eq!(plain.number(&answer[..length]), None, "cut at {length}");
        }
        answer[9] ^= 1;
        assert_eq!(plain.number(&answer), None, "another one's");
        answer[9] ^= 1;
        let raw = echo(true, false).await;
        let with_header = [&[0x46; 24], answer.as_slice()].concat();
        assert_eq!(raw.number(&with_header), Some(3));
        assert_eq!(raw.number(&[0x4f; 20]), None, "a header that is longer than all of it");
        let six = echo(true, true).await;
        answer[0] = 129;
        assert_eq!(six.number(&answer), Some(3));
    }
}
