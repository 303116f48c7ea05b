//! What those who hold the shards say of devices that they read: verdicts of the rules that ask for readings.
//!
//! Readings stay where they are read: of ten thousand devices that are read each half a minute, nothing travels as long as no rule says
//! anything else than before. A verdict that changed is a letter, and of each device only the newest one counts. Whoever plans stays the
//! only writer of alerts; it takes a verdict for what is so for as long as whoever holds the shard is heard of, and for unknown when
//! nobody has been for as long as a reading counts. Who takes a shard over tells nothing of what it has not read yet, so that an alert
//! neither ends nor begins anew because somebody died.

use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};
use reconcile::Name;
use reconcile::alerting::Truth;
use reconcile::alerting::expr::STALE;
use reconcile::alerting::state::Verdict;

use super::hands::letters::{Judged, shard_of};

/// What was told, and when each shard was last heard of.
pub(super) struct Told {
    shards: u32,
    heard: BTreeMap<u32, Timestamp>,
    /// Those of which nobody was heard for too long.
    silent: BTreeMap<u32, Timestamp>,
    judged: HashMap<Name, Judged>,
}

impl Told {
    pub(super) fn new(shards: u32) -> Self {
        Self { shards, heard: BTreeMap::new(), silent: BTreeMap::new(), judged: HashMap::new() }
    }

    /// Something else is said of a device.
    pub(super) fn judged(&mut self, device: &Name, judged: Judged) {
        self.judged.insert(device.clone(), judged);
    }

    /// A device is not there any more.
    pub(super) fn forget(&mut self, device: &Name) {
        self.judged.remove(device);
    }

    /// Somebody works for the shard. Returns the devices of which what was said counts again.
    pub(super) fn alive(&mut self, shard: u32, at: Timestamp, now: Timestamp) -> Vec<Name> {
        // Two machines' clocks may differ: nobody is heard of later than now.
        let at = at.min(now);
        if now.duration_since(at) > STALE {
            return Vec::new();
        }
        let was_heard = self.heard.insert(shard, at).is_some() && self.silent.remove(&shard).is_none();
        if was_heard { Vec::new() } else { self.of(shard) }
    }

    /// The clock was set by so much.
    pub(super) fn clock_set(&mut self, by: SignedDuration) {
        self.heard.values_mut().chain(self.silent.values_mut()).for_each(|at| *at = at.checked_add(by).unwrap_or(*at));
    }

    /// Shards of which nothing was heard for long, and their devices: what was said of them counts no more by now.
    pub(super) fn fall_silent(&mut self, now: Timestamp) -> (Vec<u32>, Vec<Name>) {
        let over = |at: &Timestamp| now.duration_since(*at) > STALE;
        let silent: Vec<u32> =
            self.heard.iter().filter(|(shard, at)| over(at) && !self.silent.contains_key(shard)).map(|(shard, _)| *shard).collect();
        let mut devices = Vec::new();
        for shard in silent.iter().copied() {
            tracing::warn!(shard, "nobody reads the devices of the shard any more: what rules say of them is not known");
            self.silent.insert(shard, self.heard.get(&shard).copied().unwrap_or(now));
            devices.extend(self.of(shard));
        }
        (silent, devices)
    }

    /// When the next one falls silent, if nothing more is heard of it.
    pub(super) fn next(&self) -> Option<Timestamp> {
        let heard = self.heard.iter().filter(|(shard, _)| !self.silent.contains_key(shard)).map(|(_, at)| *at).min();
        // The instant itself is not too late yet.
        heard?.checked_add(STALE).ok()?.checked_add(jiff::SignedDuration::from_secs(1)).ok()
    }

    /// What a rule says of a device, as far as that was told.
    pub(super) fn verdict(&self, rule: &Name, device: &Name) -> Option<Verdict> {
        let shard = shard_of(device, self.shards);
        let verdict = self.judged.get(device)?.verdict(rule.name())?;
        if self.silent.contains_key(&shard) || !self.heard.contains_key(&shard) {
            let since = self.silent.get(&shard).map_or_else(String::new, |since| format!(" since {since:.0}"));
            return Some(Verdict::of(Truth::unknown(format!("nobody has read it{since}")), None));
        }
        Some(verdict)
    }

    fn of(&self, shard: u32) -> Vec<Name> {
        self.judged.keys().filter(|device| shard_of(device, self.shards) == shard).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_counts_as_long_as_somebody_is_heard() {
        let at = |minute: i64| Timestamp::from_second(1_800_000_000 + minute * 60).unwrap();
        let (web, high) = (Name::parse("web-01"), Name::parse("high"));
        let mut told = Told::new(1);
        let mut judged = Judged::default();
        judged.put("high", Verdict::of(Truth::True, Some(0.9)));
        judged.put("low", Verdict::of(Truth::False, None));
        told.judged(&web, judged);
        let says = |told: &Told| told.verdict(&high, &web).map(|verdict| verdict.wrong.to_string()).unwrap();
        // What lay there from before a restart, and nobody is known to be there.
        assert_eq!(says(&told), "unknown: nobody has read it");
        assert_eq!(told.alive(0, at(0), at(60)), [], "an old word");
        assert_eq!(told.alive(0, at(60), at(60)), std::slice::from_ref(&web));
        assert_eq!((says(&told).as_str(), told.alive(0, at(61), at(61)).len()), ("true", 0));
        assert_eq!(told.verdict(&Name::parse("low"), &web), Some(Verdict::of(Truth::False, None)));
        assert_eq!(told.verdict(&Name::parse("other"), &web), None, "nothing was said");
        assert_eq!((told.fall_silent(at(66)).1.len(), told.next()), (0, Some(at(66).checked_add(SignedDuration::from_secs(1)).unwrap())));
        assert_eq!(told.fall_silent(at(67)), (vec![0], vec![web.clone()]));
        assert!(says(&told).starts_with("unknown: nobody has read it since "));
        assert_eq!((told.fall_silent(at(68)).1.len(), told.next()), (0, None), "once");
        assert_eq!(told.alive(0, at(70), at(70)), std::slice::from_ref(&web));
        assert_eq!(says(&told), "true");
        told.clock_set(SignedDuration::from_hours(1));
        assert_eq!((told.fall_silent(at(131)).1.len(), says(&told).as_str()), (0, "true"), "the clock was set, and time did not go on");
        told.clock_set(SignedDuration::from_hours(-1));
        assert_eq!(told.fall_silent(at(76)).1.len(), 1, "time does");
        told.forget(&web);
        assert_eq!(told.verdict(&high, &web), None);
    }
}
