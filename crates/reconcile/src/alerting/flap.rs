//! Flapping: what changes back and forth is said once, and not each time.
//!
//! The measure is Icinga's (`lib/icinga/checkable-flapping.cpp`): a ring of 20 slots, the newer the heavier. There a slot is a check;
//! here only changes are told, so a slot is a minute.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Slots of the ring.
pub const SLOTS: u32 = 20;
/// How long a slot is: with 20 of them, what changed within the last 20 minutes counts.
pub const SLOT: SignedDuration = SignedDuration::from_mins(1);
/// Above this share of weighted changes it flaps, in percent.
const BEGINS: f64 = 30.0;
/// At or below this share it flaps no more.
const ENDS: f64 = 25.0;

/// What changed lately.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Flaps {
    /// One bit for each slot in which something changed; the lowest is the newest.
    bits: u32,
    /// When the newest slot began.
    slot: Option<Timestamp>,
    /// It flaps.
    pub flapping: bool,
}

impl Flaps {
    /// Time goes on.
    pub fn pass(&mut self, now: Timestamp) {
        let Some(slot) = self.slot else { return };
        let gone = now.duration_since(slot).as_secs() / SLOT.as_secs();
        if gone > 0 {
            self.bits = if gone >= i64::from(SLOTS) { 0 } else { (self.bits << gone) & ((1 << SLOTS) - 1) };
            self.slot = slot.checked_add(SignedDuration::from_secs(gone * SLOT.as_secs())).ok();
        }
        self.judge();
    }

    /// It changed.
    pub fn changed(&mut self, now: Timestamp) {
        self.pass(now);
        self.slot.get_or_insert(now);
        self.bits |= 1;
        self.judge();
    }

    /// The clock was set: what is remembered goes with it.
    pub fn shift(&mut self, by: SignedDuration) {
        self.slot = self.slot.and_then(|slot| slot.checked_add(by).ok());
    }

    /// How much it changes, in percent.
    pub fn percent(&self) -> f64 {
        let weight = |age: u32| 0.8 + 0.02 * f64::from(SLOTS - 1 - age);
        let changed = (0..SLOTS).filter(|age| self.bits >> age & 1 == 1).map(weight);
        100.0 * changed.sum::<f64>() / f64::from(SLOTS)
    }

    /// Nothing changed lately.
    pub fn is_quiet(&self) -> bool {
        self.bits == 0
    }

    /// When nothing of what changed counts any more, if nothing else changes.
    pub fn quiet_at(&self) -> Option<Timestamp> {
        self.slot?.checked_add(SLOT.checked_mul(SLOTS as i32)?).ok()
    }

    /// When it may stop flapping.
    pub fn look_again(&self) -> Option<Timestamp> {
        self.slot.filter(|_| self.flapping)?.checked_add(SLOT).ok()
    }

    fn judge(&mut self) {
        let percent = self.percent();
        self.flapping = if self.flapping { percent > ENDS } else { percent > BEGINS };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + minute * 60).unwrap()
    }

    /// The numbers of Icinga's own formula: the newest slot weighs 1.18, the oldest 0.8.
    #[test]
    fn the_newer_weighs_more() {
        let mut flaps = Flaps::default();
        flaps.changed(at(0));
        assert!((flaps.percent() - 5.9).abs() < 1e-9, "{}", flaps.percent());
        flaps.pass(at(19));
        assert!((flaps.percent() - 4.0).abs() < 1e-9, "{}", flaps.percent());
        flaps.pass(at(20));
        assert!(flaps.is_quiet());
    }

    #[test]
    fn it_begins_above_30_and_ends_at_25_percent() {
        let mut flaps = Flaps::default();
        let begins = (0..20).find(|minute| {
            flaps.changed(at(*minute));
            flaps.flapping
        });
        // Six newest slots weigh 1.18 + 1.16 + … + 1.08 = 6.78: 33.9 %; five weigh 28.5 %.
        assert_eq!(begins, Some(5));
        let ends = (6..40).find(|minute| {
            flaps.pass(at(*minute));
            !flaps.flapping
        });
        // Six slots weigh 24.9 % or less when the newest of them is 15 minutes old, one of them having left.
        assert_eq!(ends, Some(20), "{}", flaps.percent());
    }

    #[test]
    fn more_changes_within_a_minute_are_one() {
        let mut flaps = Flaps::default();
        (0..50).for_each(|_| flaps.changed(at(3)));
        assert!((flaps.percent() - 5.9).abs() < 1e-9);
    }

    #[test]
    fn a_clock_that_is_set_back_changes_nothing() {
        let mut flaps = Flaps::default();
        flaps.changed(at(60));
        flaps.shift(SignedDuration::from_hours(-1));
        flaps.pass(at(2));
        assert_eq!(flaps.bits, 0b100);
        flaps.pass(at(-500));
        assert_eq!(flaps.bits, 0b100);
    }
}
