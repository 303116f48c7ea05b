//! How often the store, or Kubernetes, is asked who shows what is not known.

use std::net::IpAddr;
use std::num::NonZeroU32;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::whence::{Whence, network};

/// Looks for one address in a second, and at once after a pause: whoever is known is looked for once in some seconds, so that is an office of
/// hundreds, and still not much work.
const RATE: NonZeroU32 = NonZeroU32::new(50).unwrap();
const BURST: NonZeroU32 = NonZeroU32::new(500).unwrap();
/// Addresses that are counted; those beyond share one count.
const ADDRESSES: usize = 10_000;

/// How often each address had somebody looked for. `None` is for all that are not counted on their own.
pub(crate) struct Looks(DefaultKeyedRateLimiter<Option<IpAddr>>);

impl Default for Looks {
    fn default() -> Self {
        Self::with(RATE, BURST)
    }
}

impl Looks {
    fn with(rate: NonZeroU32, burst: NonZeroU32) -> Self {
        Self(RateLimiter::keyed(Quota::per_second(rate).allow_burst(burst)))
    }

    /// Counts a look, if one more may be had from there.
    pub(crate) fn take(&self, whence: Whence) -> bool {
        if self.0.len() >= ADDRESSES {
            self.0.retain_recent();
        }
        let key = whence.0.map(network).filter(|_| self.0.len() < ADDRESSES);
        self.0.check_key(&key).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_shows_too_much_that_is_not_known_is_not_looked_for() {
        let looks = Looks::with(NonZeroU32::MIN, NonZeroU32::new(2).unwrap());
        let from = |address: &str| Whence(Some(address.parse().unwrap()));
        let taken = ["2001:db8::1", "2001:db8::2", "2001:db8::3"].map(|address| looks.take(from(address)));
        assert_eq!(taken, [true, true, false], "they are of one network");
        assert!(looks.take(from("192.0.2.1")));
    }
}
