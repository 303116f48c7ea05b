//! How much one receiver is told in a minute. Beyond that it comes as one summary: nobody reads the fortieth mail.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

use crate::alerting::notice::{LISTED, Notice, Reason};

/// Messages to one receiver within [`WINDOW`]; what goes beyond is said as one summary.
pub const STORM: usize = 20;
/// The time in which they are counted, and between two summaries.
pub const WINDOW: SignedDuration = SignedDuration::from_mins(1);

/// What one receiver was told lately.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pace {
    /// When, the oldest first; no more than [`STORM`].
    told: VecDeque<Timestamp>,
    /// When it was last told a summary.
    summary_at: Option<Timestamp>,
}

impl Pace {
    /// When more may be said; none: now.
    pub fn waits_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.summary_at?.checked_add(WINDOW).ok().filter(|until| now < *until)
    }

    /// What of these is said: each, as long as that is not too much, else all of them as one.
    pub fn put(&mut self, mut notices: Vec<Notice>, now: Timestamp) -> Vec<Notice> {
        self.told.retain(|at| now.duration_since(*at) < WINDOW && *at <= now);
        if self.told.len() + notices.len() > STORM {
            // What comes after it one by one is gathered too.
            self.summary_at = Some(now);
            if notices.len() > 1 {
                notices = summary(notices).into_iter().collect();
            }
        }
        self.told.extend(notices.iter().map(|_| now));
        while self.told.len() > STORM {
            self.told.pop_front();
        }
        notices
    }

    /// The clock was set by so much.
    pub fn shift(&mut self, by: SignedDuration) {
        let moved = |at: Timestamp| at.checked_add(by).unwrap_or(at);
        self.told.iter_mut().for_each(|at| *at = moved(*at));
        self.summary_at = self.summary_at.map(moved);
    }
}

fn summary(notices: Vec<Notice>) -> Option<Notice> {
    let mut notices = notices.into_iter();
    let mut all = notices.next()?;
    all.reason = Reason::Storm;
    all.thread = format!("storm-{}", all.id);
    all.group.clear();
    for notice in notices {
        all.firing.extend(notice.firing);
        all.resolved.extend(notice.resolved);
        all.left_off = (all.left_off.0.saturating_add(notice.left_off.0), all.left_off.1.saturating_add(notice.left_off.1));
    }
    all.firing.sort_by_key(|said| (said.severity as u8, said.since));
    let left = (all.firing.len().saturating_sub(LISTED), all.resolved.len().saturating_sub(LISTED));
    all.firing.truncate(LISTED);
    all.resolved.truncate(LISTED);
    let count = |many: usize| u32::try_from(many).unwrap_or(u32::MAX);
    all.left_off = (all.left_off.0.saturating_add(count(left.0)), all.left_off.1.saturating_add(count(left.1)));
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Name;

    fn notice(number: usize) -> Notice {
        let (id, at) = (format!("n-{number}"), Timestamp::UNIX_EPOCH);
        let (thread, receiver) = (id.clone(), Name::parse("oncall"));
        Notice {
            id,
            receiver,
            thread,
            reason: Reason::First,
            at,
            group: [].into(),
            firing: vec![],
            resolved: vec![],
            left_off: (0, 0),
            instead: None,
        }
    }

    /// Groups mostly come one by one, each with its own delay: that is a storm too.
    #[test]
    fn what_comes_one_by_one_is_a_storm_too() {
        let (mut pace, mut now) = (Pace::default(), Timestamp::from_second(1_800_000_000).unwrap());
        for number in 0..=STORM {
            assert_eq!(pace.waits_until(now), None, "{number}");
            assert_eq!(pace.put(vec![notice(number)], now).len(), 1);
            now = now.checked_add(SignedDuration::from_secs(1)).unwrap();
        }
        let until = pace.waits_until(now).unwrap();
        assert_eq!(pace.put((0..40).map(notice).collect(), until).len(), 1, "what was gathered meanwhile");
    }
}
