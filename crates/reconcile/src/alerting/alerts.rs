//! All alerts, and what was said of them: what the one writer keeps.
//!
//! ```text
//! verdicts ─► advance ─► instances ─► groups ─► decide ─► pace ─► notices
//!                 ▲           └────────────── time ──────────────┘
//! ```
//!
//! Whatever changes is in [`Changes`], to be stored in one transaction: an alert is not known to fire unless what is said of it lies in
//! the outbox or will be decided again.

mod flush;
mod lookup;

use std::collections::BTreeMap;

use crds::AlertState;
use jiff::{SignedDuration, Timestamp};

use super::groups::{self, Group, Pace};
use super::notice::Notice;
use super::rule::Rule;
use super::state::{Acknowledged, Instance, Timing, Transition, Verdict, advance};
use super::suppress::{Silence, Suppressor, suppressors};
use super::truth::Truth;
use crate::desired::{Desired, Device};
use crate::name::Name;
use crate::observed::{AlertSeen, Observed};

pub use lookup::Refused;

/// After a start missing data means nothing for so long: probes run each few seconds or minutes, and none has run yet.
pub const SETTLING: SignedDuration = SignedDuration::from_mins(2);

/// A rule and a device.
pub type Key = (Name, Name);

/// What is in force and what was seen, for whoever decides over alerts.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    /// Rules and devices.
    pub desired: &'a Desired,
    /// Contact and rollouts.
    pub observed: &'a Observed,
    /// Silences that have not ended.
    pub silences: &'a [Silence],
}

/// All alerts, and what was said of them.
#[derive(Clone, Debug, Default)]
pub struct Alerts {
    instances: BTreeMap<Key, Instance>,
    groups: BTreeMap<String, Group>,
    paces: BTreeMap<Name, Pace>,
    /// The last verdict on what there is an instance of.
    verdicts: BTreeMap<Key, Verdict>,
    /// Devices that a rule has no room for, with what it says of them.
    over_limit: BTreeMap<Name, BTreeMap<Name, Verdict>>,
    /// When an instance is to be looked at again.
    again: BTreeMap<Key, Timestamp>,
    /// Until then nobody can have looked at everything since the start, and missing data means nothing yet.
    settling_until: Option<Timestamp>,
    /// What was missing until then.
    missing: BTreeMap<Key, Verdict>,
    changes: Changes,
    /// A value is otherwise than it was, and nothing followed from that.
    refreshed: bool,
}

/// What changed since it was last asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// Instances as they are now; none: gone.
    pub instances: BTreeMap<Key, Option<Instance>>,
    /// Groups as they are now; none: gone.
    pub groups: BTreeMap<String, Option<Group>>,
    /// What is to be said.
    pub notices: Vec<Notice>,
    /// What happened, for the log.
    pub happenings: Vec<Happening>,
}

impl Changes {
    /// Nothing changed.
    pub fn is_empty(&self) -> bool {
        self.instances.is_empty() && self.groups.is_empty() && self.notices.is_empty() && self.happenings.is_empty()
    }
}

/// Something happened to an alert.
#[derive(Clone, Debug, PartialEq)]
pub struct Happening {
    /// The rule and the device.
    pub key: Key,
    /// The alert.
    pub id: String,
    /// What.
    pub transition: Transition,
    /// In words.
    pub text: String,
}

impl Alerts {
    /// What was stored, as it was when the engine was last alive. Until a device is observed again, nobody knows how it is.
    pub fn restore(instances: Vec<Instance>, groups: Vec<Group>, alive_at: Option<Timestamp>, now: Timestamp) -> Self {
        let mut alerts = Self { settling_until: now.checked_add(SETTLING).ok(), ..Self::default() };
        for mut instance in instances {
            instance.was_alone(alive_at.map_or(instance.seen_at, |at| at.max(instance.seen_at)), now);
            let key = (instance.subject.rule.clone(), instance.subject.device.clone());
            alerts.verdicts.insert(key.clone(), Verdict::of(Truth::unknown("not looked at since the engine was started"), None));
            alerts.again.insert(key.clone(), now);
            alerts.instances.insert(key, instance);
        }
        for mut group in groups {
            // What has never been said is said at once; else the rhythm goes on.
            if group.next_at < now && !group.told.is_empty() {
                group.tick(now);
            }
            alerts.groups.insert(group.key.clone(), group);
        }
        alerts
    }

    /// From now on devices are looked at: until each has been, missing data means nothing.
    pub fn settle(&mut self, now: Timestamp) {
        self.settling_until = now.checked_add(SETTLING).ok();
    }

    /// A rule says something else of a device than before.
    pub fn verdict(&mut self, around: Around<'_>, rule: &Name, device: &Name, verdict: &Verdict, now: Timestamp) {
        let key = (rule.clone(), device.clone());
        let (Some(rule), Some(device)) = (around.desired.rules.get(rule), around.desired.devices.get(device)) else { return };
        if !rule.applies_to(device) {
            return;
        }
        self.missing.remove(&key);
        if self.is_settling(rule, verdict, now) {
            self.missing.insert(key.clone(), verdict.clone());
            if !self.instances.contains_key(&key) {
                return;
            }
        }
        // Most of all verdicts are that nothing is wrong where nothing was: they cost nothing.
        if !self.instances.contains_key(&key) && (!self.has_room(rule, &key, verdict) || !begins(rule, verdict)) {
            return;
        }
        self.look(around, rule, device, verdict, now);
    }

    /// Whether it is too early for missing data to mean something.
    fn is_settling(&self, rule: &Rule, verdict: &Verdict, now: Timestamp) -> bool {
        let unknown = matches!((&verdict.wrong, &verdict.well), (Truth::Unknown(_), _) | (_, Truth::Unknown(_)));
        unknown && rule.timing.no_data != crds::NoData::Keep && self.settling_until.is_some_and(|until| now < until)
    }

    /// How many devices a rule has no room for.
    pub fn over_limit(&self, rule: &Name) -> usize {
        self.over_limit.get(rule).map_or(0, BTreeMap::len)
    }

    /// Time went on.
    pub fn pass(&mut self, around: Around<'_>, now: Timestamp) {
        let due: Vec<Key> = self.again.iter().filter(|(_, at)| **at <= now).map(|(key, _)| key.clone()).collect();
        for key in due {
            self.again.remove(&key);
            let Some(verdict) = self.verdicts.get(&key).cloned() else { continue };
            match (around.desired.rules.get(&key.0), around.desired.devices.get(&key.1)) {
                (Some(rule), Some(device)) if rule.applies_to(device) => self.look(around, rule, device, &verdict, now),
                (None, Some(_)) if is_unusable(around, &key.0) => {}
                _ => self.end(&key, now),
            }
        }
        if self.settling_until.is_some_and(|until| until <= now) {
            self.settling_until = None;
            for ((rule, device), verdict) in std::mem::take(&mut self.missing) {
                self.verdict(around, &rule, &device, &verdict, now);
            }
        }
        self.make_up(around, now);
        self.flush(around, now);
    }

    /// Other rules, devices or silences are in force.
    pub fn in_force(&mut self, around: Around<'_>, now: Timestamp) {
        let keys: Vec<Key> = self.instances.keys().cloned().collect();
        for key in keys {
            if is_unusable(around, &key.0) && around.desired.devices.contains_key(&key.1) {
                continue;
            }
            let applies = around.desired.rules.get(&key.0).zip(around.desired.devices.get(&key.1));
            match applies.filter(|(rule, device)| rule.applies_to(device)) {
                Some(_) => drop(self.again.insert(key, now)),
                None => self.end(&key, now),
            }
        }
        self.over_limit.retain(|rule, refused| {
            let rule = around.desired.rules.get(rule);
            refused.retain(|device, _| rule.zip(around.desired.devices.get(device)).is_some_and(|(rule, device)| rule.applies_to(device)));
            !refused.is_empty()
        });
    }

    /// The clock was set by so much: whatever waits goes on waiting as long as it would have.
    pub fn clock_set(&mut self, by: SignedDuration) {
        for (key, instance) in &mut self.instances {
            instance.shift(by);
            self.changes.instances.insert(key.clone(), Some(instance.clone()));
        }
        for (key, group) in &mut self.groups {
            group.shift(by);
            self.changes.groups.insert(key.clone(), Some(group.clone()));
        }
        self.paces.values_mut().for_each(|pace| pace.shift(by));
        self.again.values_mut().for_each(|at| *at = at.checked_add(by).unwrap_or(*at));
    }

    /// When time alone could change something.
    pub fn look_again(&self) -> Option<Timestamp> {
        let escalates = self.groups.values().any(|group| !group.routing.escalate.is_empty());
        let members = if escalates { self.by_group() } else { BTreeMap::new() };
        let groups = self.groups.values().map(|group| {
            let at = self.due_at(group, members.get(&group.key));
            self.held_until(group).map_or(at, |until| at.max(until))
        });
        let settled = self.settling_until.filter(|_| !self.missing.is_empty());
        self.again.values().copied().chain(groups).chain(settled).min()
    }

    /// Takes out what changed.
    pub fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    /// Whether something waits to fire: only then does it matter how long the engine was away.
    pub fn waits(&self) -> bool {
        self.instances.values().any(|instance| instance.state == AlertState::Pending || instance.well_since.is_some())
    }

    /// What fires, by device: what a rollout's gate asks for.
    pub fn seen(&self) -> BTreeMap<Name, Vec<AlertSeen>> {
        let mut seen: BTreeMap<Name, Vec<AlertSeen>> = BTreeMap::new();
        for ((rule, device), instance) in self.instances.iter().filter(|(_, instance)| instance.state == AlertState::Firing) {
            let since = instance.fired_at.unwrap_or(instance.active_at);
            let alert =
                AlertSeen { rule: rule.clone(), severity: instance.subject.severity, since, summary: instance.subject.summary.clone() };
            seen.entry(device.clone()).or_default().push(alert);
        }
        seen
    }

    /// Whether the rule may have one more alert. What it may not is remembered: its turn comes when another one is over.
    fn has_room(&mut self, rule: &Rule, key: &Key, verdict: &Verdict) -> bool {
        let full = begins(rule, verdict) && self.room(rule) == 0;
        if full {
            self.over_limit.entry(rule.name.clone()).or_default().insert(key.1.clone(), verdict.clone());
        } else if let Some(refused) = self.over_limit.get_mut(&rule.name) {
            refused.remove(&key.1);
        }
        self.over_limit.retain(|_, refused| !refused.is_empty());
        !full
    }

    /// How many more alerts a rule may have.
    fn room(&self, rule: &Rule) -> usize {
        let from = (rule.name.clone(), Name::new("", ""));
        let alerts = self.instances.range(from..).take_while(|((of, _), _)| *of == rule.name);
        rule.limit.saturating_sub(alerts.filter(|(_, alert)| alert.state != AlertState::Resolved).count())
    }

    /// Those that a rule had no room for, where it has some by now.
    fn make_up(&mut self, around: Around<'_>, now: Timestamp) {
        for name in self.over_limit.keys().cloned().collect::<Vec<_>>() {
            let Some(rule) = around.desired.rules.get(&name) else { continue };
            let room = self.room(rule);
            let Some(refused) = self.over_limit.get(&name) else { continue };
            for (device, verdict) in refused.clone().into_iter().take(room) {
                self.verdict(around, &name, &device, &verdict, now);
            }
        }
    }

    fn look(&mut self, around: Around<'_>, rule: &Rule, device: &Device, verdict: &Verdict, now: Timestamp) {
        let key = (rule.name.clone(), device.name.clone());
        let before = self.instances.get(&key);
        let subject = rule.subject(around, device, verdict.value.or(before.and_then(|before| before.value)));
        let labels = before.map_or(&subject.labels, |before| &before.subject.labels);
        let (suppressed, suppressed_until) = self.suppressed(around, rule, device, labels, now);
        let keep = Timing { no_data: crds::NoData::Keep, ..rule.timing.clone() };
        let timing = if self.is_settling(rule, verdict, now) { &keep } else { &rule.timing };
        let mut advanced = advance(timing, before, &subject, verdict, &suppressed, now);
        let id = advanced.instance.as_ref().or(before).map(|instance| instance.id.clone()).unwrap_or_default();
        if let Some(instance) = &mut advanced.instance
            && instance.state == AlertState::Firing
        {
            self.join(rule, instance, now);
        }
        let changed = !advanced.transitions.is_empty() || !same_but_for_looks(advanced.instance.as_ref(), self.instances.get(&key));
        let said = |instance: Option<&Instance>| instance.map(|instance| (instance.value, instance.subject.summary.clone()));
        self.refreshed |= !changed && said(advanced.instance.as_ref()) != said(self.instances.get(&key));
        for transition in &advanced.transitions {
            let text = advanced.instance.as_ref().map(|instance| instance.subject.summary.clone()).unwrap_or_default();
            self.changes.happenings.push(Happening { key: key.clone(), id: id.clone(), transition: *transition, text });
        }
        let suppressed_until = advanced.instance.as_ref().filter(|instance| !instance.suppressed.is_empty()).and(suppressed_until);
        match advanced.look_again.into_iter().chain(suppressed_until).min() {
            Some(at) => drop(self.again.insert(key.clone(), at)),
            None => drop(self.again.remove(&key)),
        }
        if changed {
            self.changes.instances.insert(key.clone(), advanced.instance.clone());
        }
        match advanced.instance {
            Some(instance) => {
                self.instances.insert(key.clone(), instance);
                self.verdicts.insert(key, verdict.clone());
            }
            None => {
                self.instances.remove(&key);
                self.verdicts.remove(&key);
            }
        }
    }

    /// What fires is in a group from then on.
    fn join(&mut self, rule: &Rule, instance: &mut Instance, now: Timestamp) {
        let Some(routing) = &rule.routing else { return };
        if instance.group.as_ref().is_some_and(|group| self.groups.contains_key(group)) {
            return;
        }
        let key = groups::key(routing, &instance.subject);
        if !self.groups.contains_key(&key) {
            let group = Group::new(key.clone(), routing, &instance.subject, now);
            self.changes.groups.insert(key.clone(), Some(group.clone()));
            self.groups.insert(key.clone(), group);
        }
        instance.group = Some(key);
    }

    fn suppressed(
        &self,
        around: Around<'_>,
        rule: &Rule,
        device: &Device,
        labels: &BTreeMap<String, String>,
        now: Timestamp,
    ) -> (Vec<Suppressor>, Option<Timestamp>) {
        let (mut by, until) = suppressors(around.desired, around.observed, around.silences, (device, labels), now);
        for inhibited in &rule.inhibited_by {
            let from = (inhibited.rule.clone(), Name::new("", ""));
            let others = self.instances.range(from..).take_while(|((of, _), _)| *of == inhibited.rule);
            let same = |other: &Instance| match inhibited.equal.as_slice() {
                [] => other.subject.device == device.name,
                // A label that is missing is empty.
                equal => equal
                    .iter()
                    .all(|label| labels.get(label).map_or("", |value| value) == other.subject.labels.get(label).map_or("", |value| value)),
            };
            let fires = |other: &Instance| other.state == AlertState::Firing && inhibited.rule != rule.name && same(other);
            let first = others.map(|(_, other)| other).find(|other| fires(other));
            by.extend(first.map(|other| Suppressor::Inhibited { rule: inhibited.rule.clone(), device: other.subject.device.clone() }));
        }
        (by, until)
    }

    /// The rule or the device is not there any more, or they have nothing to do with each other.
    fn end(&mut self, key: &Key, now: Timestamp) {
        self.again.remove(key);
        let Some(instance) = self.instances.get_mut(key) else { return };
        if instance.state != AlertState::Firing {
            if instance.state == AlertState::Pending || !instance.group.as_ref().is_some_and(|group| self.groups.contains_key(group)) {
                self.instances.remove(key);
                self.verdicts.remove(key);
                self.changes.instances.insert(key.clone(), None);
            } else {
                self.again.insert(key.clone(), now.checked_add(super::state::RETAINED).unwrap_or(now));
                instance.flaps = Default::default();
            }
            return;
        }
        (instance.state, instance.resolved_at, instance.flaps) = (AlertState::Resolved, Some(now), Default::default());
        instance.decided("", "resolved: the rule or the device is not there any more", now);
        let text = instance.subject.summary.clone();
        let happening = Happening { key: key.clone(), id: instance.id.clone(), transition: Transition::Resolved, text };
        self.changes.happenings.push(happening);
        self.changes.instances.insert(key.clone(), Some(instance.clone()));
        self.again.insert(key.clone(), now.checked_add(super::state::RETAINED).unwrap_or(now));
    }

    /// Somebody looks after an alert. A second word takes the place of the first.
    pub fn acknowledge(&mut self, id: &str, acknowledged: Acknowledged) -> Result<Key, Refused> {
        let key = self.find(id)?.0.clone();
        let instance = self.instances.get_mut(&key).ok_or_else(|| Refused::Unknown(id.to_owned()))?;
        if !instance.counts_as_firing() {
            return Err(Refused::NotFiring(instance.id.clone()));
        }
        let text = format!("acknowledged by {} until {}: {}", acknowledged.by, acknowledged.until, acknowledged.comment);
        instance.decided("", text, acknowledged.at);
        let until = acknowledged.until;
        instance.acknowledged = Some(acknowledged);
        self.changes.instances.insert(key.clone(), Some(instance.clone()));
        let again = self.again.get(&key).map_or(until, |at| until.min(*at));
        self.again.insert(key.clone(), again);
        Ok(key)
    }
}

/// Whether a verdict is the beginning of an alert.
fn begins(rule: &Rule, verdict: &Verdict) -> bool {
    match verdict.wrong {
        Truth::True => true,
        Truth::False => false,
        Truth::Unknown(_) => rule.timing.no_data == crds::NoData::Fire,
    }
}

/// The rule is written, and something is wrong with it: its alerts stay as they are, since a mistyped rule is no reason to say that all is
/// well.
fn is_unusable(around: Around<'_>, rule: &Name) -> bool {
    !around.desired.rules.contains_key(rule) && around.desired.objects.contains_key(&(crds::Kind::AlertRule, rule.clone()))
}

fn same_but_for_looks(now: Option<&Instance>, before: Option<&Instance>) -> bool {
    match (now, before) {
        (Some(now), Some(before)) => {
            // That time went on is no news; neither is another value, unless something follows from it.
            let shown = |instance: &Instance| {
                let Instance {
                    id,
                    state,
                    active_at,
                    fired_at,
                    well_since,
                    resolved_at,
                    unknown_since,
                    acknowledged,
                    suppressed,
                    group,
                    ..
                } = instance.clone();
                (id, state, active_at, fired_at, well_since, resolved_at, unknown_since, acknowledged, suppressed, group)
            };
            shown(now) == shown(before)
        }
        (None, None) => true,
        _ => false,
    }
}
