//! How much each sender may send: a bucket of tokens, and a number of connections.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

use super::Limits;

/// Senders that have a bucket of their own. Over UDP an address costs nothing, so those beyond share one.
const SENDERS: usize = 65_536;

/// A sender of which lines were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Its address.
    pub address: IpAddr,
    /// Lines of it that were refused since it was last silent for long.
    pub refused: u64,
}

/// All that sent lately.
pub(super) struct Senders {
    limits: Limits,
    buckets: HashMap<IpAddr, Bucket>,
    connections: HashMap<IpAddr, usize>,
    others: Bucket,
}

#[derive(Clone, Copy)]
struct Bucket {
    tokens: f64,
    /// None: full.
    at: Option<Instant>,
    refused: u64,
}

impl Bucket {
    fn new(limits: Limits) -> Self {
        Self { tokens: limits.burst.into(), at: None, refused: 0 }
    }

    fn fill(&mut self, limits: Limits, now: Instant) {
        let since = self.at.map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64());
        self.tokens = (self.tokens + since * f64::from(limits.rate)).min(limits.burst.into());
        self.at = Some(now);
    }

    fn take(&mut self, limits: Limits, now: Instant) -> bool {
        self.fill(limits, now);
        let may = self.tokens >= 1.0;
        if may {
            self.tokens -= 1.0;
        } else {
            self.refused += 1;
        }
        may
    }
}

impl Senders {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, buckets: HashMap::new(), connections: HashMap::new(), others: Bucket::new(limits) }
    }

    /// Takes a token of a sender's, if it has one.
    pub(super) fn may_send(&mut self, address: IpAddr, now: Instant) -> bool {
        if let Some(bucket) = self.buckets.get_mut(&address) {
            return bucket.take(self.limits, now);
        }
        if self.buckets.len() >= SENDERS {
            self.forget(now);
        }
        let bucket = if self.buckets.len() < SENDERS {
            self.buckets.entry(address).or_insert_with(|| Bucket::new(self.limits))
        } else {
            &mut self.others
        };
        bucket.take(self.limits, now)
    }

    /// Whose bucket is full again is as one who never sent. Not more than once in a second, as it looks at all of them.
    fn forget(&mut self, now: Instant) {
        let limits = self.limits;
        let last = self.others.at;
        if last.is_some_and(|last| now.saturating_duration_since(last).as_millis() < 1000) && self.others.refused > 0 {
            return;
        }
        self.buckets.retain(|_, bucket| {
            bucket.fill(limits, now);
            bucket.tokens < f64::from(limits.burst)
        });
    }

    pub(super) fn may_connect(&mut self, address: IpAddr) -> bool {
        let many = self.connections.entry(address).or_default();
        let may = *many < self.limits.connections_per_address;
        *many += usize::from(may);
        may
    }

    pub(super) fn disconnected(&mut self, address: IpAddr) {
        if let Some(many) = self.connections.get_mut(&address) {
            *many -= 1;
            if *many == 0 {
                self.connections.remove(&address);
            }
        }
    }

    pub(super) fn refused(&self, many: usize) -> Vec<Sender> {
        let all = self.buckets.iter().filter(|(_, bucket)| bucket.refused > 0);
        let mut all: Vec<Sender> = all.map(|(address, bucket)| Sender { address: *address, refused: bucket.refused }).collect();
        all.sort_by_key(|sender| (std::cmp::Reverse(sender.refused), sender.address));
        all.truncate(many);
        all
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn address(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from(number).into()
    }

    #[test]
    fn a_sender_has_its_burst_and_then_its_rate() {
        let limits = Limits { rate: 10, burst: 5, ..Limits::default() };
        let mut senders = Senders::new(limits);
        let begin = Instant::now();
        let mut sent =
            |at: u64, times: usize| (0..times).filter(|_| senders.may_send(address(1), begin + Duration::from_millis(at))).count();
        assert_eq!([sent(0, 7), sent(100, 7), sent(350, 7), sent(60_000, 7)], [5, 1, 2, 5]);
        assert!(senders.may_send(address(2), begin));
        assert_eq!(senders.refused(9), [Sender { address: address(1), refused: 15 }]);
    }

    #[test]
    fn more_senders_than_there_is_room_for_share_one_bucket() {
        let limits = Limits { rate: 1, burst: 2, ..Limits::default() };
        let mut senders = Senders::new(limits);
        let begin = Instant::now();
        let many = u32::try_from(SENDERS).unwrap();
        assert!((0..many).all(|number| senders.may_send(address(number), begin)));
        let beyond = (many..many + 10).filter(|number| senders.may_send(address(*number), begin)).count();
        assert_eq!((beyond, senders.buckets.len()), (2, SENDERS));
        // All are full again, and forgotten.
        assert!(senders.may_send(address(many), begin + Duration::from_secs(60)));
        assert_eq!(senders.buckets.len(), 1);
    }

    #[test]
    fn no_address_has_all_connections() {
        let mut senders = Senders::new(Limits { connections_per_address: 2, ..Limits::default() });
        assert_eq!([(); 3].map(|()| senders.may_connect(address(1))), [true, true, false]);
        assert!(senders.may_connect(address(2)));
        senders.disconnected(address(1));
        assert!(senders.may_connect(address(1)));
        senders.disconnected(address(2));
        assert_eq!(senders.connections.len(), 1);
    }
}
