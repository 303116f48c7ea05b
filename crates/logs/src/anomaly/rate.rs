//! How often a template comes on a device, and whether that is far more often than it did.
//!
//! What came in the last five minutes is held against the slots of five minutes of the last 25 hours: it has to be twice as much as in
//! any of them, and far from their middle. How far is measured by median and MAD (Iglewicz and Hoaglin: "How to Detect and Handle
//! Outliers", 1993: a modified z-score), with the spread of chance (Poisson: the root of the mean) as the least.

/// Minutes that are counted together.
pub(super) const SLOT: i64 = 5;
/// Slots that are remembered: 25 hours, so that what comes every day at the same time is known.
pub(super) const SLOTS: usize = 300;
/// Slots that have to be known: an hour.
const KNOWN: i64 = 12;
/// Lines of five minutes below which nothing is unusual.
const FEWEST: u32 = 10;
/// How many times as many as in any slot before.
const TIMES: f64 = 2.0;
/// How many deviations from the median: Iglewicz and Hoaglin take 3.5 for one look at a sample; this is looked at every minute.
const FAR: f64 = 6.0;
/// Makes of the MAD of a normal distribution its standard deviation.
const NORMAL: f64 = 1.4826;
/// Lines of a slot from which on a template has a history of its own: of most templates there never are so many.
pub const LOUD: u32 = 4;

/// How often it came.
#[derive(Clone, Debug, Default)]
pub(super) struct Rate {
    /// By minute, of those until `minute`.
    minutes: [u32; SLOT as usize],
    minute: i64,
    /// The slot at hand.
    slot: i64,
    lines: u32,
    /// Slots before it as [`code`]s, by their number modulo [`SLOTS`]; none: there never were many.
    history: Option<Box<[u8; SLOTS]>>,
}

impl Rate {
    /// A line came in this minute.
    pub(super) fn came(&mut self, minute: i64) {
        self.move_to(minute);
        let at = &mut self.minutes[minute.rem_euclid(SLOT) as usize];
        *at = at.saturating_add(1);
        self.lines = self.lines.saturating_add(1);
    }

    /// What is known of a slot from before a restart.
    pub(super) fn remember(&mut self, slot: i64, lines: u32) {
        if lines >= LOUD {
            self.history.get_or_insert_with(|| Box::new([0; SLOTS]))[slot.rem_euclid(SLOTS as i64) as usize] = code(lines);
        }
        self.slot = self.slot.max(slot + 1);
    }

    /// Lines of the five minutes that end with this one.
    pub(super) fn recent(&self, minute: i64) -> u32 {
        let is_in = |offset: &i64| minute - offset <= self.minute && self.minute - (minute - offset) < SLOT;
        (0..SLOT).filter(is_in).map(|offset| self.minutes[(minute - offset).rem_euclid(SLOT) as usize]).sum()
    }

    /// Whether the five minutes that end with this one are far from what was there; `first` is the minute from which on it is known.
    pub(super) fn is_unusual(&self, minute: i64, first: i64) -> bool {
        let recent = self.recent(minute);
        if recent < FEWEST {
            return false;
        }
        // The slots that ended before these five minutes began.
        let (end, first) = ((minute + 1 - SLOT).div_euclid(SLOT), first.div_euclid(SLOT));
        let known = (end - first).min(SLOTS as i64 - 2);
        if known < KNOWN {
            return false;
        }
        let lines = f64::from(recent);
        let before = || (end - known..end).map(|slot| self.of(slot));
        if lines < TIMES * before().fold(0.0, f64::max) {
            return false;
        }
        let median = middle(before().collect());
        let mad = middle(before().map(|slot| (slot - median).abs()).collect());
        (lines - median) / (NORMAL * mad).max(median.max(1.0).sqrt()) >= FAR
    }

    fn of(&self, slot: i64) -> f64 {
        if slot == self.slot {
            return f64::from(self.lines);
        }
        // Nothing came since the slot at hand.
        let is_there = slot < self.slot && slot > self.slot - SLOTS as i64;
        self.history.as_ref().filter(|_| is_there).map_or(0.0, |history| decode(history[slot.rem_euclid(SLOTS as i64) as usize]))
    }

    /// Time goes on to this minute.
    fn move_to(&mut self, minute: i64) {
        if minute > self.minute {
            for gone in (self.minute + 1..=minute).rev().take(SLOT as usize) {
                self.minutes[gone.rem_euclid(SLOT) as usize] = 0;
            }
            self.minute = minute;
        }
        let slot = minute.div_euclid(SLOT);
        if slot <= self.slot {
            return;
        }
        if self.lines >= LOUD && self.history.is_none() {
            self.history = Some(Box::new([0; SLOTS]));
        }
        if let Some(history) = &mut self.history {
            history[self.slot.rem_euclid(SLOTS as i64) as usize] = code(self.lines);
            for quiet in (self.slot + 1..slot).rev().take(SLOTS) {
                history[quiet.rem_euclid(SLOTS as i64) as usize] = 0;
            }
        }
        (self.slot, self.lines) = (slot, 0);
    }
}

/// A count in eighths of a doubling, which is as exact as nine percent.
fn code(lines: u32) -> u8 {
    ((f64::from(lines) + 1.0).log2() * 8.0).round().min(255.0) as u8
}

fn decode(code: u8) -> f64 {
    (f64::from(code) / 8.0).exp2() - 1.0
}

/// The median.
fn middle(mut values: Vec<f64>) -> f64 {
    let at = values.len() / 2;
    values.select_nth_unstable_by(at, f64::total_cmp);
    values[at]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many lines in each of these minutes, from minute 0 on.
    fn rate(lines: impl IntoIterator<Item = u32>) -> (Rate, i64) {
        let (mut rate, mut minute) = (Rate::default(), -1);
        for lines in lines {
            minute += 1;
            (0..lines).for_each(|_| rate.came(minute));
        }
        (rate, minute)
    }

    #[test]
    fn a_count_is_kept_in_a_byte_and_is_not_far_off() {
        for lines in [0_u32, 1, 4, 10, 99, 1000, 123_456, 4_000_000_000] {
            assert!((decode(code(lines)) - f64::from(lines)).abs() <= f64::from(lines) * 0.05 + 0.1, "{lines}");
        }
    }

    #[test]
    fn five_minutes_are_those_that_end_now() {
        let (rate, minute) = rate([1, 2, 4, 8, 16, 32, 64]);
        let recent: Vec<u32> = (minute..minute + 7).map(|minute| rate.recent(minute)).collect();
        assert_eq!(recent, [124, 120, 112, 96, 64, 0, 0]);
    }

    #[test]
    fn a_burst_is_unusual_at_once_and_one_that_was_there_yesterday_is_not() {
        let quiet = || std::iter::repeat_n(1, 90);
        let (burst, minute) = rate(quiet().chain([30]));
        assert!(burst.is_unusual(minute, 0));
        assert!(!burst.is_unusual(minute + 5, 0), "it is over");
        let (double, minute) = rate(quiet().chain([3, 3, 3, 3, 3]));
        assert!(!double.is_unusual(minute, 0), "three times a little is a little");
        let day = || (0..1440).map(|minute| if minute == 240 { 300 } else { 0 });
        let (nightly, minute) = rate(day().chain(day().take(241)));
        assert!(!nightly.is_unusual(minute, 0), "so much came a day before");
        let (first, minute) = rate(day().take(241));
        assert!(first.is_unusual(minute, 0));
    }

    #[test]
    fn what_is_not_known_for_an_hour_is_not_unusual() {
        let (young, minute) = rate(std::iter::repeat_n(0, 60).chain([500]));
        assert!(!young.is_unusual(minute, 10));
        assert!(young.is_unusual(minute, -10));
    }

    #[test]
    fn what_was_stored_is_remembered() {
        let mut rate = Rate::default();
        (0..288).for_each(|slot| rate.remember(slot, if slot == 100 { 400 } else { 2 }));
        (0..500).for_each(|_| rate.came(288 * SLOT));
        assert!(!rate.is_unusual(288 * SLOT, 0));
        (0..500).for_each(|_| rate.came(288 * SLOT + 1));
        assert!(rate.is_unusual(288 * SLOT + 1, 0));
    }
}
