//! When a notification is tried again, and when it is given up: pure, so that the time and the dice are the caller's.
//!
//! | Attempt that failed | The next one, at most |
//! |---|---|
//! | 1st | 10 s later |
//! | 2nd | 20 s |
//! | 3rd | 40 s |
//! | … | twice as long each time |
//! | 7th and later | 10 min |
//!
//! Each wait is drawn evenly from nothing to that ("full jitter", AWS Architecture Blog, "Exponential Backoff And Jitter"), so that two hundred
//! notices do not all come back at once; where the server said `Retry-After`, it is never before that. No wait is longer than an hour. The
//! last try is when a day is over; after that, or at once where trying again can't help, it is a dead letter.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::error::Error;

/// Six doublings: when a server is back after a long time, the news should come before somebody looks by himself.
const LONGEST: u32 = 60;
/// The longest wait, and what a server may ask for at most: an hour, so that a mistake of its clock does not silence it for long. What is due
/// later than in two hours the store takes for that of a clock that was set back.
pub const PATIENCE: Duration = Duration::from_secs(3600);
/// The longest first wait that can be chosen: it can still be doubled before it is an hour.
pub const SLOWEST: Duration = Duration::from_secs(600);
/// How long a notice is tried: what is a day old is news to nobody.
pub const GIVEN_UP: Duration = Duration::from_secs(24 * 3600);
/// Attempts, even where each fails at once: with waits of half the longest on average this is never reached within a day.
pub const ATTEMPTS: u32 = 1000;

/// What becomes of a notification after an attempt that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is tried again then.
    Again(Timestamp),
    /// It is given up, and why.
    DeadLetter(Why),
}

/// Why a notification is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Trying the same again can't help.
    Permanent,
    /// It was tried for so long, or so often.
    Exhausted,
}

impl Why {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Permanent => "trying again can't help",
            Self::Exhausted => "it was tried for a day",
        }
    }
}

/// How long is waited before a notification is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The longest wait after the first failure, [`SLOWEST`] at most; later ones are twice as long each time, up to sixty times this and an
    /// hour.
    pub first: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_secs(10) }
    }
}

impl Backoff {
    /// What becomes of a notice that was written at `since` after its attempt number `attempts` (from 1) failed. `dice` is evenly from 0
    /// to 1.
    pub fn next(self, error: &Error, attempts: u32, (since, now): (Timestamp, Timestamp), dice: f64) -> Next {
        if !error.is_transient() {
            return Next::DeadLetter(Why::Permanent);
        }
        let wait = self.wait(attempts, error.retry_after, dice);
        let after = |at: Timestamp, time: Duration| {
            at.saturating_add(SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX)).unwrap_or(Timestamp::MAX)
        };
        let end = after(since, GIVEN_UP);
        // A clock that was set back must not make it eternal: that is what the number of attempts is for.
        if attempts >= ATTEMPTS || now >= end {
            return Next::DeadLetter(Why::Exhausted);
        }
        Next::Again(after(now, wait).min(end))
    }

    /// How long to wait after a number of failed attempts.
    pub fn wait(self, attempts: u32, retry_after: Option<Duration>, dice: f64) -> Duration {
        let doublings = attempts.saturating_sub(1).min(16);
        let longest = self.first.saturating_mul((1 << doublings).min(LONGEST)).min(PATIENCE);
        let dice = if dice.is_finite() { dice.clamp(0.0, 1.0) } else { 1.0 };
        let drawn = longest.mul_f64(dice);
        let asked = retry_after.unwrap_or_default().min(PATIENCE);
        // What all were asked to wait for, they don't end at the same instant.
        if asked > drawn { asked + self.first.mul_f64(dice) } else { drawn }
    }
}

/// How much a receiver may be sent: so many at once, and so many in a minute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// At once.
    pub burst: u32,
    /// In a minute.
    pub per_minute: u32,
}

impl Default for Rate {
    /// What a person can still look through: Slack takes one a second, PagerDuty 120 a minute.
    fn default() -> Self {
        Self { burst: 20, per_minute: 30 }
    }
}

/// What is left of a receiver's rate: a token bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    tokens: f64,
    at: Timestamp,
}

impl Bucket {
    /// A full one.
    pub fn full(rate: Rate, now: Timestamp) -> Self {
        Self { tokens: f64::from(rate.burst), at: now }
    }

    /// Whether all of it is there, as if nothing had ever been taken.
    pub fn is_full(&self, rate: Rate, now: Timestamp) -> bool {
        let mut after = *self;
        after.fill(rate, now);
        after.tokens >= f64::from(rate.burst.max(1))
    }

    /// Takes one; else says when there is one again.
    pub fn take(&mut self, rate: Rate, now: Timestamp) -> Result<(), Timestamp> {
        let per_second = self.fill(rate, now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        let wait = SignedDuration::try_from_secs_f64((1.0 - self.tokens) / per_second).unwrap_or(SignedDuration::MAX);
        // A little later than computed, so that what was rounded does not make it come twice for one.
        Err(now.saturating_add(wait + SignedDuration::from_millis(1)).unwrap_or(Timestamp::MAX))
    }

    /// With what came since; returns how much comes in a second.
    fn fill(&mut self, rate: Rate, now: Timestamp) -> f64 {
        let per_second = f64::from(rate.per_minute.max(1)) / 60.0;
        // A clock that was set back gives nothing and takes nothing.
        let passed = now.duration_since(self.at).as_secs_f64().max(0.0);
        self.tokens = (self.tokens + passed * per_second).min(f64::from(rate.burst.max(1)));
        self.at = now;
        per_second
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop, prop_assert, proptest};

    use super::*;
    use crate::error::Category;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    #[test]
    fn waits_double_up_to_ten_minutes() {
        let usual = Backoff::default();
        let waits = |backoff: Backoff| (1..=9).map(|attempts| backoff.wait(attempts, None, 1.0).as_secs()).collect::<Vec<u64>>();
        assert_eq!(waits(usual), [10, 20, 40, 80, 160, 320, 600, 600, 600]);
        assert_eq!(waits(Backoff { first: Duration::from_secs(1) }), [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(waits(Backoff { first: SLOWEST }), [600, 1200, 2400, 3600, 3600, 3600, 3600, 3600, 3600]);
        assert_eq!(usual.wait(u32::MAX, None, 1.0).as_secs(), 600);
        assert_eq!(usual.wait(3, None, 0.25).as_secs(), 10);
        assert_eq!(usual.wait(1, Some(Duration::from_secs(90)), 0.5).as_secs(), 95, "what the server asks for, and a little");
        assert_eq!(usual.wait(1, Some(Duration::from_secs(1 << 40)), 0.0), PATIENCE);
    }

    #[test]
    fn it_is_given_up_where_that_helps_nothing_and_after_a_day() {
        let transient = Error::new(Category::Server, "500");
        let next = |error: &Error, attempts: u32, now: i64, dice: f64| Backoff::default().next(error, attempts, (at(0), at(now)), dice);
        assert_eq!(next(&Error::new(Category::Refused, "404"), 1, 0, 0.5), Next::DeadLetter(Why::Permanent));
        assert_eq!(next(&transient, 1, 0, 0.5), Next::Again(at(5)));
        assert_eq!(next(&transient, 150, 86_300, 0.1), Next::Again(at(86_360)));
        assert_eq!(next(&transient, 150, 86_300, 1.0), Next::Again(at(86_400)), "once more when the day is over");
        assert_eq!(next(&transient, 151, 86_400, 0.1), Next::DeadLetter(Why::Exhausted));
        assert_eq!(next(&transient, ATTEMPTS, -5000, 0.1), Next::DeadLetter(Why::Exhausted));
    }

    #[test]
    fn a_bucket_lets_a_burst_through_and_then_so_many_a_minute() {
        let rate = Rate { burst: 2, per_minute: 6 };
        let mut bucket = Bucket::full(rate, at(0));
        assert_eq!((bucket.take(rate, at(0)), bucket.take(rate, at(0))), (Ok(()), Ok(())));
        let again = bucket.take(rate, at(0)).unwrap_err();
        assert_eq!(again, at(10).saturating_add(SignedDuration::from_millis(1)).unwrap());
        assert_eq!(bucket.take(rate, again), Ok(()));
        assert!(bucket.take(rate, at(-100)).is_err(), "a clock set back gives nothing");
        let mut idle = Bucket::full(rate, at(0));
        assert!(bucket.is_full(rate, at(86_400)) && !bucket.is_full(rate, at(-95)));
        assert_eq!((0..5).filter(|_| idle.take(rate, at(86_400)).is_ok()).count(), 2, "it holds no more than a burst");
    }

    proptest! {
        #[test]
        fn no_rate_is_ever_exceeded(steps in prop::collection::vec(0i64..90, 1..200), burst in 1u32..10, per_minute in 1u32..120) {
            let rate = Rate { burst, per_minute };
            let mut bucket = Bucket::full(rate, at(0));
            let mut now = 0;
            let mut taken = 0.0;
            for step in steps {
                now += step;
                if bucket.take(rate, at(now)).is_ok() {
                    taken += 1.0;
                }
            }
            #[allow(clippy::cast_precision_loss, reason = "small numbers")]
            let allowed = f64::from(burst) + now as f64 * f64::from(per_minute) / 60.0;
            prop_assert!(taken <= allowed + 1e-6, "{taken} > {allowed}");
        }

        #[test]
        fn no_wait_is_longer_than_its_bound(
            first in 1u64..=600,
            attempts in 0u32..2000,
            asked in prop::option::of(0u64..u64::MAX / 2),
            dice in prop::num::f64::ANY,
        ) {
            let backoff = Backoff { first: Duration::from_secs(first) };
            let wait = backoff.wait(attempts, asked.map(Duration::from_secs), dice);
            prop_assert!(wait <= PATIENCE + backoff.first);
            prop_assert!(wait >= asked.map(Duration::from_secs).unwrap_or_default().min(PATIENCE));
        }
    }
}
