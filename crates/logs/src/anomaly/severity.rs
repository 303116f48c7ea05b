//! How grave lines are, held against how grave they were.

/// Severities, RFC 5424.
const SEVERITIES: usize = 8;
/// Minutes that are held against the day before them.
const RECENT: usize = 15;
/// Hours of that day.
const DAY: usize = 24;
/// Lines of the last minutes below which nothing is said: of fewer, chance alone moves a good part.
const FEWEST: u32 = 30;
/// Lines of the day.
const KNOWN: u32 = 300;

/// Lines by severity.
#[derive(Clone, Debug, Default)]
pub(super) struct Severities {
    minutes: [[u32; SEVERITIES]; RECENT],
    hours: [[u32; SEVERITIES]; DAY],
}

impl Severities {
    /// A line came in this minute.
    pub(super) fn came(&mut self, minute: i64, severity: u8) {
        let at = &mut self.minutes[minute.rem_euclid(RECENT as i64) as usize][usize::from(severity) % SEVERITIES];
        *at = at.saturating_add(1);
    }

    /// A minute begins: the one whose place it takes belongs to the day before.
    pub(super) fn begin(&mut self, minute: i64) {
        let hour = |minute: i64| minute.div_euclid(60).rem_euclid(DAY as i64) as usize;
        let gone = minute - RECENT as i64;
        if gone.rem_euclid(60) == 0 {
            self.hours[hour(gone)] = [0; SEVERITIES];
        }
        let left = std::mem::take(&mut self.minutes[minute.rem_euclid(RECENT as i64) as usize]);
        for (sum, lines) in self.hours[hour(gone)].iter_mut().zip(left) {
            *sum = sum.saturating_add(lines);
        }
    }

    /// The share of lines that moved from one severity to another between the day and the last minutes: the total variation distance
    /// of the two distributions (Levin, Peres and Wilmer: "Markov Chains and Mixing Times", proposition 4.2). 0 where there are too few.
    pub(super) fn shift(&self) -> f64 {
        let sum = |parts: &[[u32; SEVERITIES]]| {
            let mut sum = [0_u64; SEVERITIES];
            parts.iter().flat_map(|part| part.iter().enumerate()).for_each(|(severity, lines)| sum[severity] += u64::from(*lines));
            sum
        };
        let (recent, day) = (sum(&self.minutes), sum(&self.hours));
        let (now, before) = (recent.iter().sum::<u64>(), day.iter().sum::<u64>());
        if now < u64::from(FEWEST) || before < u64::from(KNOWN) {
            return 0.0;
        }
        let apart = |(a, b): (&u64, &u64)| (*a as f64 / now as f64 - *b as f64 / before as f64).abs();
        recent.iter().zip(&day).map(apart).sum::<f64>() / 2.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn play(severities: &mut Severities, minutes: std::ops::Range<i64>, each: &[(u8, u32)]) {
        for minute in minutes {
            severities.begin(minute);
            for (severity, lines) in each {
                (0..*lines).for_each(|_| severities.came(minute, *severity));
            }
        }
    }

    #[test]
    fn what_moved_from_info_to_error_is_said_as_a_share() {
        let mut severities = Severities::default();
        play(&mut severities, 0..200, &[(6, 9), (4, 1)]);
        assert!(severities.shift() < 1e-9);
        play(&mut severities, 200..215, &[(6, 4), (4, 1), (3, 5)]);
        assert!((severities.shift() - 0.5).abs() < 1e-9, "{}", severities.shift());
        play(&mut severities, 215..215 + 24 * 60 + 60, &[(6, 4), (4, 1), (3, 5)]);
        assert!(severities.shift() < 1e-9, "after a day it is what it always was");
    }

    #[test]
    fn a_few_lines_say_nothing() {
        let mut severities = Severities::default();
        play(&mut severities, 0..200, &[(6, 10)]);
        play(&mut severities, 200..215, &[(3, 1)]);
        assert!(severities.shift() < 1e-9);
        let mut young = Severities::default();
        play(&mut young, 0..20, &[(6, 10)]);
        play(&mut young, 20..35, &[(3, 10)]);
        assert!(young.shift() < 1e-9);
    }
}
