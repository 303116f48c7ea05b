//! How often those who may ask for a look are heard: often enough that nothing is missed, and no more.
//!
//! Between two looks at one repository lies [`GAP`]. Whoever asks meanwhile is heard at its end, all of them at once; nobody who asked is
//! forgotten.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// Time between two looks that are asked for.
pub const GAP: Duration = Duration::from_secs(5);
/// Requests that are remembered for each repository, so that the same one again asks for nothing; of more, the oldest is forgotten.
const SEEN: usize = 64;
/// Repositories that are remembered; of more, the one that asked longest ago is forgotten, and may be heard a little too often.
const REPOSITORIES: usize = 4096;

/// What is to be done about somebody who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Look now.
    Now,
    /// Look after so long.
    After(Duration),
    /// A look is waiting already, and will see it.
    Waits,
    /// The same request was heard before.
    Heard,
}

/// Who asked when.
#[derive(Debug, Default)]
pub struct Asks(BTreeMap<String, Asked>);

#[derive(Debug)]
struct Asked {
    last: Instant,
    /// Whether `last` is to come.
    waits: bool,
    seen: VecDeque<[u8; 32]>,
}

impl Asks {
    /// Somebody asks for a look at a repository; `once` is what is the same when the same request is sent again.
    pub fn ask(&mut self, repository: &str, once: Option<[u8; 32]>, now: Instant) -> Turn {
        let Some(asked) = self.0.get_mut(repository) else {
            self.make_room();
            let asked = Asked { last: now, waits: false, seen: once.into_iter().collect() };
            self.0.insert(repository.to_owned(), asked);
            return Turn::Now;
        };
        if once.is_some_and(|once| asked.seen.contains(&once)) {
            return Turn::Heard;
        }
        asked.seen.extend(once);
        if asked.seen.len() > SEEN {
            asked.seen.pop_front();
        }
        if asked.waits && now < asked.last {
            return Turn::Waits;
        }
        let due = asked.last + GAP;
        asked.waits = now < due;
        asked.last = now.max(due);
        if asked.waits { Turn::After(due - now) } else { Turn::Now }
    }

    /// What was asked for could not be done: whoever sends it again is heard.
    pub fn undo(&mut self, repository: &str) {
        self.0.remove(repository);
    }

    fn make_room(&mut self) {
        while self.0.len() >= REPOSITORIES {
            let Some(oldest) = self.0.iter().min_by_key(|(_, asked)| asked.last).map(|(name, _)| name.clone()) else { return };
            self.0.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(begin: Instant, millis: u64) -> Instant {
        begin + Duration::from_millis(millis)
    }

    #[test]
    fn many_who_ask_get_few_looks_and_the_last_one_comes_after_the_last_of_them() {
        let (mut asks, begin) = (Asks::default(), Instant::now());
        let mut ask = |millis| asks.ask("fleet/fleet", None, at(begin, millis));
        assert_eq!(ask(0), Turn::Now);
        assert_eq!(ask(1000), Turn::After(Duration::from_secs(4)));
        assert_eq!(ask(2000), Turn::Waits);
        assert_eq!(ask(4999), Turn::Waits);
        // The look of 5000 has begun, and may have seen less than this one knows.
        assert_eq!(ask(5000), Turn::After(Duration::from_secs(5)));
        assert_eq!(ask(9999), Turn::Waits);
        assert_eq!(ask(15_000), Turn::Now);
        assert_eq!(asks.ask("fleet/other", None, begin), Turn::Now, "each has its own");
    }

    #[test]
    fn the_same_request_is_heard_once_within_a_bound() {
        let (mut asks, begin) = (Asks::default(), Instant::now());
        let mut ask = |number: u8, seconds: u64| asks.ask("fleet/fleet", Some([number; 32]), at(begin, seconds * 1000));
        assert_eq!(ask(0, 0), Turn::Now);
        assert_eq!(ask(0, 60), Turn::Heard);
        assert_eq!(ask(1, 60), Turn::Now);
        for number in 2..=u8::try_from(SEEN).unwrap() {
            ask(number, 120);
        }
        assert_eq!(ask(1, 240), Turn::Heard);
        assert_eq!(ask(0, 240), Turn::Now, "the oldest is forgotten");
        assert_eq!(asks.0["fleet/fleet"].seen.len(), SEEN);
        asks.undo("fleet/fleet");
        assert_eq!(asks.ask("fleet/fleet", Some([1; 32]), at(begin, 240_001)), Turn::Now);
    }

    #[test]
    fn no_more_repositories_are_remembered_than_there_is_room_for() {
        let (mut asks, begin) = (Asks::default(), Instant::now());
        for number in 0..REPOSITORIES as u64 + 10 {
            asks.ask(&number.to_string(), None, at(begin, number));
        }
        assert_eq!(asks.0.len(), REPOSITORIES);
        assert!(!asks.0.contains_key("9") && asks.0.contains_key("10"));
    }
}
