//! What those who hold the shards say of devices that they read: verdicts of the rules that ask for readings. And of their own networks.
//!
//! Readings stay where they are read: of ten thousand devices that are read each half a minute, nothing travels as long as no rule says
//! anything else than before. A verdict that changed is a letter, and of each device only the newest one counts. Whoever plans stays the
//! only writer of alerts; it takes a verdict for what is so for as long as whoever holds the shard is heard of, and for unknown when
//! nobody has been for as long as a reading counts. Who takes a shard over tells nothing of what it has not read yet, so that an alert
//! neither ends nor begins anew because somebody died. So it is with a network that is down: it is until somebody knows better.

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
    /// Whether the own network of whoever holds the shard is down, as whoever knew it said last.
    networks: BTreeMap<u32, bool>,
    judged: HashMap<Name, Judged>,
}

impl Told {
    pub(super) fn new(shards: u32) -> Self {
        Self { shards, heard: BTreeMap::new(), silent: BTreeMap::new(), networks: BTreeMap::new(), judged: HashMap::new() }
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
    pub(super) fn alive(&mut self, shard: u32, at: Timestamp, network_down: Option<bool>, now: Timestamp) -> Vec<Name> {
        // Two machines' clocks may differ: nobody is heard of later than now.
        let at = at.min(now);
        // The last word on a shard that is not there any more stays in the mailbox.
        if shard >= self.shards || now.duration_since(at) > STALE {
            return Vec::new();
        }
        self.networks.extend(network_down.map(|is_down| (shard, is_down)));
        let was_heard = self.heard.insert(shard, at).is_some() && self.silent.remove(&shard).is_none();
        if was_heard { Vec::new() } else { self.of(shard) }
    }

    /// Whether the own network of any of them is down; that none is only where each has said so.
    pub(super) fn network_down(&self) -> Option<bool> {
        let is_down = self.networks.values().any(|is_down| *is_down);
        (is_down || self.networks.len() == self.shards as usize).then_some(is_down)
    }

    /// The clock was set by so much.
    pub(super) fn clock_set(&mut self, by: SignedDuration) {
        self.heard.values_mut().chain(self.silent.values_mut()).for_each(|at| *at = at.checked_add(by).unwrap_or(*at));
    }

    /// Devices of shards of which nothing was heard for long: what was said of them counts no more by now.
    pub(super) fn fall_silent(&mut self, now: Timestamp) -> Vec<Name> {
        let over = |at: &Timestamp| now.duration_since(*at) > STALE;
        let silent: Vec<u32> =
            self.heard.iter().filter(|(shard, at)| over(at) && !self.silent.contains_key(shard)).map(|(shard, _)| *shard).collect();
        let mut devices = Vec::new();
        for shard in silent {
            tracing::warn!(shard, "nobody reads the devices of the shard any more: what rules say of them is not known");
            self.silent.insert(shard, self.heard.get(&shard).copied().unwrap_or(now));
            devices.extend(self.of(shard));
        }
        devices
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
        assert_eq!(told.alive(0, at(0), None, at(60)), [], "an old word");
        assert_eq!(told.alive(0, at(60), None, at(60)), std::slice::from_ref(&web));
        assert_eq!((says(&told).as_str(), told.alive(0, at(61), None, at(61)).len()), ("true", 0));
        assert_eq!(told.verdict(&Name::parse("low"), &web), Some(Verdict::of(Truth::False, None)));
        assert_eq!(told.verdict(&Name::parse("other"), &web), None, "nothing was said");
        assert_eq!((told.fall_silent(at(66)).len(), told.next()), (0, Some(at(66).checked_add(SignedDuration::from_secs(1)).unwrap())));
        assert_eq!(told.fall_silent(at(67)), std::slice::from_ref(&web));
        assert!(says(&told).starts_with("unknown: nobody has read it since "));
        assert_eq!((told.fall_silent(at(68)).len(), told.next()), (0, None), "once");
        assert_eq!(told.alive(0, at(70), None, at(70)), std::slice::from_ref(&web));
        assert_eq!(says(&told), "true");
        told.clock_set(SignedDuration::from_hours(1));
        assert_eq!((told.fall_silent(at(131)).len(), says(&told).as_str()), (0, "true"), "the clock was set, and time did not go on");
        told.clock_set(SignedDuration::from_hours(-1));
        assert_eq!(told.fall_silent(at(76)).len(), 1, "time does");
        told.forget(&web);
        assert_eq!(told.verdict(&high, &web), None);
    }

    /// The first whose network is down is the alert, and the last that is back its end; who knows nothing says nothing.
    #[test]
    fn a_network_is_down_until_whoever_holds_the_shard_knows_better() {
        let at = |minute: i64| Timestamp::from_second(1_800_000_000 + minute * 60).unwrap();
        let mut told = Told::new(2);
        let says = |told: &mut Told, minute: i64, shard: u32, is_down: Option<bool>| {
            told.alive(shard, at(minute), is_down, at(minute));
            told.network_down()
        };
        assert_eq!((says(&mut told, 0, 0, Some(false)), says(&mut told, 0, 1, None)), (None, None), "one has not found out yet");
        assert_eq!((says(&mut told, 1, 0, Some(true)), says(&mut told, 1, 1, Some(true))), (Some(true), Some(true)));
        assert_eq!(says(&mut told, 2, 0, Some(false)), Some(true));
        assert_eq!(says(&mut told, 3, 1, None), Some(true), "another one holds the shard");
        told.fall_silent(at(60));
        assert_eq!(told.network_down(), Some(true), "nobody does");
        assert_eq!(says(&mut told, 61, 1, Some(false)), Some(false));
        told.alive(1, at(3), Some(true), at(61));
        assert_eq!(told.network_down(), Some(false), "an old word");
        assert_eq!(says(&mut told, 61, 2, Some(true)), Some(false), "a shard that is not there any more");
    }
}
