//! What is reached through what: a device behind a dead one is neither well nor dead, nobody knows.
//!
//! Of a device with several parents all must be dead, since any one of them is a way. The one that is named is the topmost: that is where
//! somebody has to go. What a device says of itself is kept as it was seen; what is said here counts over it wherever it is shown or judged.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::desired::Desired;
use crate::name::Name;
use crate::observed::{Contact, Health, Observed, ProbeState};

/// Devices on the way up that are looked at for one: topologies are a few levels high, and at most eight wide in each.
const UP: usize = 256;
/// Devices that are counted behind one, at most: more is shown as this many.
pub const BEHIND: usize = 100_000;

/// Why nobody knows how a device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hidden {
    /// The topmost dead device on the way there.
    pub root: Name,
    /// Since when that one is dead, as far as it is known.
    pub since: Option<Timestamp>,
}

impl Hidden {
    /// In words.
    pub fn reason(&self) -> String {
        format!("behind device/{}, which is dead", self.root)
    }
}

/// Whether a device is dead by what was seen of itself: it can't be reached, or each of its probes fails. One that answers a probe is not dead,
/// whatever keeps us from logging in there, such as a key that is missing here.
pub fn is_dead(observed: &Observed, name: &Name) -> bool {
    observed.devices.get(name).is_some_and(|seen| {
        let all_fail = !seen.probes.is_empty() && seen.probes.values().all(|probe| probe.state == ProbeState::Fail);
        let one_passes = seen.probes.values().any(|probe| probe.state == ProbeState::Ok);
        (matches!(seen.contact, Contact::Unreachable { .. }) && !one_passes) || all_fail
    })
}

/// The topmost dead device through which alone this one is reached; `None`: there is a way there, as far as it is known.
pub fn root_of(desired: &Desired, observed: &Observed, name: &Name) -> Option<Name> {
    let mut way = Way { desired, observed, known: BTreeMap::new() };
    if !way.is_cut_off(name) {
        return None;
    }
    let mut root = name;
    // As long as that one is cut off as well, what killed it is farther up. Bounded by what was looked at.
    for _ in 0..UP {
        match desired.devices.get(root).and_then(|device| device.parents.first()) {
            Some(parent) if way.is_cut_off(root) => root = parent,
            _ => break,
        }
    }
    Some(root.clone())
}

/// The same, with since when.
pub fn hidden(desired: &Desired, observed: &Observed, name: &Name) -> Option<Hidden> {
    let root = root_of(desired, observed, name)?;
    let seen = observed.devices.get(&root)?;
    let since = match &seen.contact {
        Contact::Unreachable { since, .. } => Some(*since),
        _ => seen.probes.values().filter_map(|probe| probe.since).max(),
    };
    Some(Hidden { root, since })
}

/// The devices of which nobody knows how they are because this one is dead.
pub fn behind(desired: &Desired, observed: &Observed, root: &Name) -> BTreeSet<Name> {
    below(desired, root, |name| root_of(desired, observed, name).is_some())
        .into_iter()
        .filter(|name| root_of(desired, observed, name).as_ref() == Some(root))
        .collect()
}

/// All devices that are reached through this one, near or far: those to look at again when it dies or comes back.
pub fn all_below(desired: &Desired, name: &Name) -> BTreeSet<Name> {
    below(desired, name, |_| true)
}

/// Are we able to see it, and is it well: a device behind a dead one is Unknown.
pub fn health(desired: &Desired, observed: &Observed, name: &Name) -> Health {
    let Some(seen) = observed.devices.get(name) else { return Health::Unknown };
    if root_of(desired, observed, name).is_some() { Health::Unknown } else { seen.health() }
}

fn below(desired: &Desired, from: &Name, goes_on: impl Fn(&Name) -> bool) -> BTreeSet<Name> {
    let mut found = BTreeSet::new();
    let mut ways = vec![from.clone()];
    while let Some(name) = ways.pop() {
        for child in desired.children(&name) {
            if found.len() < BEHIND && child != from && !found.contains(child) && goes_on(child) {
                found.insert(child.clone());
                ways.push(child.clone());
            }
        }
    }
    found
}

/// What was found out on the way up.
struct Way<'a> {
    desired: &'a Desired,
    observed: &'a Observed,
    /// Whether it is cut off; `false` as long as it is being found out, which ends circles.
    known: BTreeMap<&'a Name, bool>,
}

impl<'a> Way<'a> {
    /// Whether every parent is dead, or cut off itself. One that is not there proves nothing.
    fn is_cut_off(&mut self, name: &'a Name) -> bool {
        if let Some(known) = self.known.get(name) {
            return *known;
        }
        let Some(device) = self.desired.devices.get(name) else { return false };
        if device.parents.is_empty() || self.known.len() >= UP {
            return false;
        }
        self.known.insert(name, false);
        let is_dead = device.parents.iter().all(|parent| is_dead(self.observed, parent) || self.is_cut_off(parent));
        self.known.insert(name, is_dead);
        is_dead
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::observed::{DeviceSeen, ProbeSeen};
    use crate::plan::Revision;

    /// `child < parent parent`, one for each line.
    fn fleet(text: &str) -> Desired {
        let objects = text.lines().map(|line| {
            let (name, parents) = line.split_once('<').unwrap_or((line, ""));
            let parents: Vec<&str> = parents.split_whitespace().collect();
            let spec = json!({"type": "Server", "address": "192.0.2.1", "parents": parents});
            let object = json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "Device", "metadata": {"name": name.trim()}, "spec": spec});
            Arc::new(crds::Object::Device(serde_json::from_value(object).unwrap()))
        });
        Desired::build(objects, Revision::default()).0
    }

    fn dead(names: &str) -> Observed {
        let failing = ProbeSeen { state: ProbeState::Fail, ..ProbeSeen::default() };
        let seen = |(at, name): (usize, &str)| {
            // One way of being dead is as good as the other.
            let seen = match at % 2 {
                0 => DeviceSeen {
                    contact: Contact::Unreachable { since: Timestamp::UNIX_EPOCH, reason: String::new(), code: Default::default() },
                    ..DeviceSeen::default()
                },
                _ => DeviceSeen { probes: [("ping".to_owned(), failing.clone().into())].into(), ..DeviceSeen::default() },
            };
            (Name::parse(name), Arc::new(seen))
        };
        Observed { devices: names.split_whitespace().enumerate().map(seen).collect(), ..Observed::default() }
    }

    fn roots(fleet: &Desired, observed: &Observed) -> String {
        let root = |name: &Name| Some(format!("{name}:{}", root_of(fleet, observed, name)?));
        fleet.devices.keys().filter_map(root).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_topmost_dead_one_is_named() {
        let fleet = fleet("core\nleft < core\nright < core\nrack < left right\nweb < rack\ndb < left");
        for (what, expected) in [
            ("", ""),
            ("left", "db:left"),
            ("left right", "db:left rack:left web:left"),
            // All the way down each looks dead for itself: one of them is to be mended.
            ("core left right rack web db", "db:core left:core rack:core right:core web:core"),
            // One that is not seen itself is cut off too.
            ("core", "db:core left:core rack:core right:core web:core"),
            ("rack web", "web:rack"),
            ("web", ""),
        ] {
            assert_eq!(roots(&fleet, &dead(what)), expected, "dead: {what}");
        }
    }

    /// A key that is missing here, or a refused login, is not the way that is broken.
    #[test]
    fn who_answers_a_probe_is_not_dead() {
        let fleet = fleet("left\nweb < left");
        let mut observed = dead("left");
        let left = Name::parse("left");
        let mut seen = (*observed.devices[&left]).clone();
        for (state, expected) in [(ProbeState::Ok, ""), (ProbeState::Unknown, "web:left"), (ProbeState::Fail, "web:left")] {
            seen.probes.insert("ping".into(), Box::new(ProbeSeen { state, ..ProbeSeen::default() }));
            observed.devices.insert(left.clone(), Arc::new(seen.clone()));
            assert_eq!(roots(&fleet, &observed), expected, "{state:?}");
        }
    }

    #[test]
    fn those_behind_are_counted_once_for_one_root() {
        let fleet = fleet("core\nleft < core\nright < core\nrack < left right\nweb < rack\ndb < left");
        let count = |observed: &Observed, root: &str| behind(&fleet, observed, &Name::parse(root)).len();
        let all = dead("core left right rack web db");
        assert_eq!((count(&all, "core"), count(&all, "left"), count(&all, "web")), (5, 0, 0));
        let some = dead("left");
        assert_eq!((count(&some, "core"), count(&some, "left")), (0, 1));
        assert_eq!(all_below(&fleet, &Name::parse("left")).len(), 3);
    }

    #[test]
    fn a_parent_that_is_not_there_proves_nothing_and_circles_end() {
        let fleet = fleet("web < gone\na < b\nb < a\nlow < a");
        // Those in the circle are left out of the fleet.
        assert_eq!(roots(&fleet, &dead("a b")), "low:a");
        assert_eq!(all_below(&fleet, &Name::parse("a")).len(), 1);
        assert_eq!(health(&fleet, &dead("a low"), &Name::parse("low")), Health::Unknown);
        assert_eq!(health(&fleet, &dead("low"), &Name::parse("low")), Health::Unreachable);
    }

    #[test]
    fn a_very_long_way_is_not_gone_to_its_end() {
        let chain: Vec<String> = (0..2000).map(|at| if at == 0 { "d0".into() } else { format!("d{at} < d{}", at - 1) }).collect();
        let fleet = fleet(&chain.join("\n"));
        let observed = dead("d0");
        assert_eq!(root_of(&fleet, &observed, &Name::parse("d9")), Some(Name::parse("d0")));
        assert_eq!(root_of(&fleet, &observed, &Name::parse("d1999")), None);
    }
}
