//! From single runs to a state: so many failures in a row until it counts as failed, so many successes until it counts as well again.

use jiff::Timestamp;
use reconcile::{Probe, ProbeCode, ProbeSeen, ProbeState};

use super::{Phases, Run};

/// Characters that are kept of what a run had to say.
const WORDS: usize = 300;

/// A probe's state with what it has counted.
#[derive(Clone, Debug, Default)]
pub struct Counter {
    /// The state.
    pub seen: ProbeSeen,
    failures: u32,
    successes: u32,
}

impl Counter {
    /// Counts one run that was begun at `at`. The first run of all that passes decides at once: there is no state yet that could flap.
    /// Returns whether that shows something new: another state, or, of what is not well, another reason.
    pub fn count(&mut self, probe: &Probe, run: &Run, at: Timestamp) -> bool {
        let (state, code) = (self.seen.state, self.seen.code);
        let first = state == ProbeState::Unknown;
        let next = match run.code.state() {
            ProbeState::Ok => {
                (self.failures, self.successes) = (0, self.successes.saturating_add(1));
                self.seen.last_ok = Some(at);
                (first || self.successes >= probe.successes).then_some(ProbeState::Ok)
            }
            ProbeState::Fail => {
                (self.failures, self.successes) = (self.failures.saturating_add(1), 0);
                (self.failures >= probe.failures).then_some(ProbeState::Fail)
            }
            ProbeState::Unknown => {
                (self.failures, self.successes) = (0, 0);
                Some(ProbeState::Unknown)
            }
        };
        self.seen.seen_at = Some(at);
        self.seen.code = run.code;
        let words: String = run.words.chars().filter(|c| !c.is_control()).take(WORDS).collect();
        (self.seen.reason, self.seen.says) = match run.code {
            ProbeCode::Passed => (String::new(), with_phases(words, &run.measured.phases)),
            _ => (words, String::new()),
        };
        if let Some(next) = next.filter(|next| *next != self.seen.state || self.seen.since.is_none()) {
            self.seen.state = next;
            self.seen.since = Some(at);
        }
        self.seen.state != state || (state != ProbeState::Ok && self.seen.code != code)
    }
}

/// What it had to say, and what took how long.
fn with_phases(mut words: String, phases: &Phases) -> String {
    if *phases != Phases::default() {
        let between = if words.is_empty() { "" } else { "; " };
        words.push_str(&format!("{between}{phases}"));
    }
    words
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::SignedDuration;
    use reconcile::{Check, Way};

    use super::*;

    fn probe() -> Probe {
        let check = Check::Tcp { port: 1, send: None, expect: None };
        let second = SignedDuration::from_secs(1);
        Probe { name: "web".into(), check, interval: second, timeout: second, failures: 3, successes: 2, way: Way::default() }
    }

    #[test]
    fn what_took_how_long_is_said() {
        let ms = |ms| Some(Duration::from_micros(ms));
        let phases = Phases { connect: ms(1230), tls: ms(8000), first_byte: ms(20_100), ..Phases::default() };
        assert_eq!(with_phases("status 200".into(), &phases), "status 200; connect 1.2 ms, TLS 8.0 ms, first byte 20.1 ms");
        assert_eq!(with_phases(String::new(), &Phases { connect: ms(40), ..Phases::default() }), "connect 0.0 ms");
        assert_eq!(with_phases("4 of 4 answered".into(), &Phases::default()), "4 of 4 answered");
    }

    /// Runs as letters (p passed, f refused, t too late, n no key), the states after each of them, and which of them are told.
    #[test]
    fn states_follow_the_counts() {
        for (runs, states, told) in [
            ("p", "o", "!"),
            ("fff", "uux", "!.!"),
            ("pffpff", "oooooo", "!....."),
            ("pfff", "ooox", "!..!"),
            ("pfffpp", "oooxxo", "!..!!!"),
            ("pfffpfpp", "oooxxxxo", "!..!!!!!"),
            ("pnp", "ouo", "!!!"),
            ("pffnff", "ooouuu", "!..!!."),
            ("pffft", "oooxx", "!..!!"),
            ("pppp", "oooo", "!..."),
        ] {
            let mut counter = Counter::default();
            let (mut seen, mut new) = (String::new(), String::new());
            for (second, run) in (0..).zip(runs.chars()) {
                let code = match run {
                    'p' => ProbeCode::Passed,
                    'f' => ProbeCode::Refused,
                    't' => ProbeCode::Timeout,
                    _ => ProbeCode::NoCredential,
                };
                let run = Run { code, ..Run::default() };
                new.push(if counter.count(&probe(), &run, Timestamp::from_second(second).unwrap()) { '!' } else { '.' });
                seen.push(match counter.seen.state {
                    ProbeState::Ok => 'o',
                    ProbeState::Fail => 'x',
                    ProbeState::Unknown => 'u',
                });
            }
            assert_eq!((seen.as_str(), new.as_str()), (states, told), "{runs}");
        }
    }

    #[test]
    fn what_a_device_says_is_cut_and_can_t_break_a_line() {
        let mut counter = Counter::default();
        let run = Run { code: ProbeCode::BadAnswer, words: format!("a\nb\u{1b}[31m{}", "x".repeat(5000)), ..Run::default() };
        counter.count(&probe(), &run, Timestamp::UNIX_EPOCH);
        assert_eq!(counter.seen.reason.chars().count(), WORDS);
        assert!(counter.seen.reason.starts_with("ab[31mxx"));
    }
}
