//! Who listens: so many, so many of one caller, and how they are sent away.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio_util::sync::CancellationToken;

/// Listeners in all: each holds a connection, which is a file, and some kilobytes.
const MOST: usize = 1024;
/// Listeners of one caller: a browser has one for each tab.
const EACH: usize = 32;

/// Those that listen.
#[derive(Debug)]
pub struct Listeners {
    most: usize,
    each: usize,
    seats: Mutex<Seats>,
}

#[derive(Debug, Default)]
struct Seats {
    next: u64,
    taken: HashMap<u64, Taken>,
    /// By caller, how many.
    of: HashMap<String, usize>,
    /// All were sent away, and nobody comes any more.
    closed: Option<&'static str>,
}

#[derive(Debug)]
struct Taken {
    caller: String,
    ended: Ended,
}

/// Why somebody can't listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoom {
    /// There are too many.
    All,
    /// There are too many of this caller.
    Caller,
    /// The engine stops.
    Closed,
}

/// Whether a listener was sent away.
#[derive(Clone, Debug, Default)]
pub struct Ended {
    why: Arc<OnceLock<&'static str>>,
    token: CancellationToken,
}

impl Ended {
    /// Waits until it is, and says why.
    pub async fn wait(&self) -> &'static str {
        self.token.cancelled().await;
        self.why.get().copied().unwrap_or("ended")
    }

    fn end(&self, why: &'static str) {
        let _ = self.why.set(why);
        self.token.cancel();
    }
}

/// The place of a listener, free again when this is dropped.
#[derive(Debug)]
pub struct Seat {
    listeners: Arc<Listeners>,
    number: u64,
    /// Whether it was sent away.
    pub ended: Ended,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.listeners.seats();
        let Some(Taken { caller, .. }) = seats.taken.remove(&self.number) else { return };
        let left = seats.of.get_mut(&caller).map(|of| {
            *of -= 1;
            *of
        });
        if left == Some(0) {
            seats.of.remove(&caller);
        }
    }
}

impl Default for Listeners {
    fn default() -> Self {
        Self::with(MOST, EACH)
    }
}

impl Listeners {
    /// So many, and so many of one caller.
    pub(crate) fn with(most: usize, each: usize) -> Self {
        Self { most, each, seats: Mutex::default() }
    }

    /// Takes a place. `is_bounded`: the caller may not take all of them.
    pub fn sit(self: &Arc<Self>, caller: &str, is_bounded: bool) -> Result<Seat, NoRoom> {
        let mut seats = self.seats();
        if seats.closed.is_some() {
            return Err(NoRoom::Closed);
        }
        if seats.taken.len() >= self.most {
            return Err(NoRoom::All);
        }
        let of = seats.of.get(caller).copied().unwrap_or_default();
        if is_bounded && of >= self.each {
            return Err(NoRoom::Caller);
        }
        seats.of.insert(caller.to_owned(), of + 1);
        seats.next += 1;
        let (number, ended) = (seats.next, Ended::default());
        seats.taken.insert(number, Taken { caller: caller.to_owned(), ended: ended.clone() });
        Ok(Seat { listeners: self.clone(), number, ended })
    }

    /// Sends away those of a caller who may not listen any more.
    pub fn end(&self, caller: &str, why: &'static str) {
        self.seats().taken.values().filter(|taken| taken.caller == caller).for_each(|taken| taken.ended.end(why));
    }

    /// Sends all away, for good.
    pub fn close(&self, why: &'static str) {
        let mut seats = self.seats();
        seats.closed = Some(why);
        seats.taken.values().for_each(|taken| taken.ended.end(why));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.seats().taken.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn places_are_bounded_and_come_free_again() {
        let listeners = Arc::new(Listeners::with(3, 2));
        let first = listeners.sit("ann", true).unwrap();
        let second = listeners.sit("ann", true).unwrap();
        assert_eq!(listeners.sit("ann", true).unwrap_err(), NoRoom::Caller);
        let third = listeners.sit("bob", true).unwrap();
        assert_eq!(listeners.sit("eve", true).unwrap_err(), NoRoom::All);
        drop(first);
        assert_eq!(listeners.len(), 2);
        let again = listeners.sit("ann", true).unwrap();
        drop((second, third));
        // Whoever has the engine in hand may take all.
        let owner: Vec<Seat> = (0..2).map(|_| listeners.sit("ann", false).unwrap()).collect();
        listeners.end("bob", "signed out");
        listeners.end("ann", "signed out");
        assert_eq!(again.ended.wait().await, "signed out");
        drop((owner, again));
        assert!(listeners.is_empty() && listeners.seats().of.is_empty());
    }

    #[tokio::test]
    async fn when_it_closes_all_go_and_nobody_comes() {
        let listeners = Arc::new(Listeners::default());
        let seat = listeners.sit("ann", true).unwrap();
        listeners.close("the engine stops");
        assert_eq!(seat.ended.wait().await, "the engine stops");
        assert_eq!(listeners.sit("bob", true).unwrap_err(), NoRoom::Closed);
    }
}
