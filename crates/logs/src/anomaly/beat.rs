//! A line that comes regularly, like a heart that beats, and whether it has stopped.
//!
//! The time between two beats and how much it varies are averaged as TCP does it for its retransmission timer (RFC 6298, section 2:
//! `SRTT`, `RTTVAR`, and a limit of the mean plus four times the deviation), with a longer memory. Whoever has been regular for an hour
//! is missed after two beats were left out.

use serde::{Deserialize, Serialize};

use super::STORED;

/// Share of what is new in the averages. RFC 6298 takes 1/8; chance must not look regular, so more of the past counts here.
const WEIGHT: f32 = 1.0 / 16.0;
/// Times between beats that have to be known.
const BEATS: u16 = 12;
/// The most that they may vary, as a share of their mean: lines that come by chance (Poisson) have 0.74.
const VARIES: f32 = 0.25;
/// Minutes for which it has to have been regular. Each time that it stopped and came back doubles them: a job that runs for two hours
/// every night is no heartbeat, and that is learned.
const REGULAR: i64 = 60;
/// Doublings at most: 32 hours.
const LAPSES: u8 = 5;
/// Minutes without it, at least, until it is missed.
const PATIENCE: i64 = 2;
/// Minutes after which it is not expected any more: a day.
const GIVEN_UP: i64 = 24 * 60;

/// When a template comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Beat {
    /// Mean seconds between two beats.
    mean: f32,
    /// Mean deviation from that.
    spread: f32,
    /// How many times between beats are in these.
    beats: u16,
    /// When it came last, in seconds since 1970.
    last: i64,
    /// Since when it is regular.
    since: i64,
    /// How often it stopped and came back.
    lapses: u8,
}

impl Beat {
    /// A line came.
    pub(super) fn came(&mut self, at: i64, minute: i64) {
        let before = self.last;
        self.last = at.max(before);
        if before == 0 || at <= before {
            // The first; or lines of the same second, which are one beat.
            return;
        }
        let gap = (at - before) as f32;
        if (Self { last: before, ..*self }).is_missed(at, minute) {
            *self = Self { lapses: (self.lapses + 1).min(LAPSES), since: at, last: at, ..Self::default() };
            return;
        }
        if self.beats == 0 {
            (self.mean, self.spread, self.since) = (gap, gap / 2.0, before);
        } else {
            self.spread += ((gap - self.mean).abs() - self.spread) * WEIGHT;
            self.mean += (gap - self.mean) * WEIGHT;
        }
        self.beats = self.beats.saturating_add(1);
        if self.beats >= BEATS && self.spread > VARIES * self.mean {
            self.since = at;
        }
    }

    /// Whether it came regularly, and does not now.
    pub(super) fn is_missed(&self, now: i64, minute: i64) -> bool {
        let wait = ((2.0 * self.mean + 4.0 * self.spread) as i64).max(PATIENCE * minute);
        let missing = now - self.last;
        missing > wait && missing <= GIVEN_UP * minute && self.is_regular(minute)
    }

    fn is_regular(&self, minute: i64) -> bool {
        let long = (REGULAR * minute) << self.lapses.min(LAPSES);
        self.beats >= BEATS && self.spread <= VARIES * self.mean && self.last - self.since >= long
    }

    /// Seconds between two beats, if it is regular.
    pub(super) fn every(&self, minute: i64) -> Option<f32> {
        self.is_regular(minute).then_some(self.mean)
    }

    /// After a restart: until `heard` somebody listened. What was missed by then still is; of all else nobody knows what came meanwhile.
    pub(super) fn restart(&mut self, heard: i64, now: i64, minute: i64) {
        let was_missed = self.is_missed(heard - STORED, minute);
        self.last = if was_missed { self.last + (now - heard) } else { now };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_800_000_000;

    /// Beats at these seconds, and when the last one was.
    fn beat(at: impl IntoIterator<Item = i64>) -> (Beat, i64) {
        let mut beat = Beat::default();
        at.into_iter().for_each(|at| beat.came(START + at, 60));
        (beat, beat.last)
    }

    #[test]
    fn a_beat_that_stops_is_missed_after_two_were_left_out_and_for_a_day() {
        let (heart, last) = beat((0..=100).map(|beat| beat * 60));
        let missed = |after: i64| heart.is_missed(last + after, 60);
        assert_eq!((missed(60), missed(120), missed(130), missed(86_400), missed(86_401)), (false, false, true, true, false));
        assert_eq!(heart.every(60).map(f32::round), Some(60.0));
        let (quick, last) = beat(0..=4000);
        assert!(!quick.is_missed(last + 100, 60) && quick.is_missed(last + 130, 60), "two minutes are the least");
    }

    #[test]
    fn what_was_not_regular_for_an_hour_is_not_missed() {
        let (young, last) = beat((0..50).map(|beat| beat * 60));
        assert!(!young.is_missed(last + 600, 60));
        let (few, last) = beat((0..11).map(|beat| beat * 3600));
        assert!(!few.is_missed(last + 86_000, 60));
        let (bursts, last) = beat((0..200).flat_map(|burst| [burst * 300, burst * 300 + 10]));
        assert!(!bursts.is_missed(last + 3000, 60));
    }

    #[test]
    fn what_stops_again_and_again_has_to_be_regular_for_longer_each_time() {
        let night = |day: i64| (0..90).map(move |minute| day * 80_000 + minute * 60);
        let (job, last) = beat(night(0));
        assert!(job.is_missed(last + 600, 60), "nobody can know it in the first night");
        let (job, last) = beat((0..3).flat_map(night));
        assert!(!job.is_missed(last + 600, 60));
    }

    #[test]
    fn several_lines_of_one_second_are_one_beat() {
        let (heart, last) = beat((0..=100).flat_map(|beat| [beat * 60; 3]));
        assert!(heart.is_missed(last + 180, 60));
    }

    #[test]
    fn a_restart_of_ours_is_no_silence_of_theirs() {
        let (heart, last) = beat((0..=100).map(|beat| beat * 60));
        let mut went_on = heart;
        went_on.restart(last + 30, last + 7200, 60);
        assert!(!went_on.is_missed(last + 7260, 60) && went_on.is_missed(last + 7400, 60));
        let mut silent = heart;
        silent.restart(last + 3 * 3600, last + 3 * 3600 + 60, 60);
        assert!(silent.is_missed(last + 3 * 3600 + 60, 60), "it was missed before");
    }
}
