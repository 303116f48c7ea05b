//! Turns at what takes a processor, or much of the store: so many at a time, however many ask.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

/// How long one waits for others.
const WAIT: Duration = Duration::from_secs(10);

/// So many turns, and what is said to who waits for one too long.
pub(crate) struct Turns {
    free: Semaphore,
    busy: &'static str,
}

impl Turns {
    pub(crate) const fn new(at_once: usize, busy: &'static str) -> Self {
        Self { free: Semaphore::const_new(at_once), busy }
    }

    /// One's turn, for as long as what is returned is kept.
    pub(crate) async fn take(&'static self) -> Result<SemaphorePermit<'static>, &'static str> {
        match tokio::time::timeout(WAIT, self.free.acquire()).await {
            Ok(turn) => turn.map_err(|_| "the engine is stopping"),
            Err(_) => Err(self.busy),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_for_others_is_told_to_come_again() {
        static TURNS: Turns = Turns::new(2, "others are at it: ask again");
        let (first, second) = (TURNS.take().await.unwrap(), TURNS.take().await.unwrap());
        assert_eq!(TURNS.take().await.unwrap_err(), "others are at it: ask again");
        drop((first, second));
        assert!(TURNS.take().await.is_ok());
    }
}
