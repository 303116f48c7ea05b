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
mod instances;
mod lookup;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crds::AlertState;
use jiff::{SignedDuration, Timestamp};

use super::due::Due;
use super::flap::Flaps;
use super::groups::{self, Group, Pace};
use super::notice::Notice;
use super::rule::Rule;
use super::state::{Acknowledged, Instance, Timing, Transition, Verdict, advance};
use super::suppress::{Silence, Suppressor, returned, suppressors};
use super::truth::Truth;
use crate::desired::{Desired, Device};
use crate::name::Name;
use crate::observed::{AlertSeen, Observed};

use instances::Instances;
pub use lookup::Refused;

/// After a start missing data means nothing for so long: probes run each few seconds or minutes, and none has run yet.
pub const SETTLING: SignedDuration = SignedDuration::from_mins(2);

/// Alerts that are over, and of which is remembered how often they changed; beyond that the first ones are forgotten.
const PAST: usize = 10_000;

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
    instances: Instances,
    groups: BTreeMap<String, Group>,
    /// When a group is to be looked at: then, or later.
    due: Due<String>,
    paces: BTreeMap<Name, Pace>,
    /// The last verdict on what there is an instance of.
    verdicts: BTreeMap<Key, Verdict>,
    /// Devices that a rule has no room for, with what it says of them.
    over_limit: BTreeMap<Name, BTreeMap<Name, Verdict>>,
    /// When an instance is to be looked at again.
    again: Due<Key>,
    /// What is over, and changed lately: whether it flaps goes by all of it.
    past: BTreeMap<Key, Flaps>,
    /// When that is forgotten.
    forgotten: Due<Key>,
    /// Until then nobody can have looked at everything since the start, and missing data means nothing yet.
    settling_until: Option<Timestamp>,
    /// The same for devices that came later.
    settling: Due<Name>,
    /// What was missing until then, by device and rule.
    missing: BTreeMap<Name, BTreeMap<Name, Verdict>>,
    changes: Changes,
    /// Whose value is otherwise than it was, and nothing followed from that.
    refreshed: BTreeSet<Key>,
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
    /// It was known before to change back and forth, and is held as firing: this is no news.
    pub held: bool,
}

impl Alerts {
    /// What was stored, as it was when the engine was last alive. Until a device is observed again, nobody knows how it is.
    pub fn restore(instances: Vec<Instance>, groups: Vec<Group>, alive_at: Option<Timestamp>, now: Timestamp) -> Self {
        let mut alerts = Self { settling_until: now.checked_add(SETTLING).ok(), ..Self::default() };
        for mut instance in instances {
            instance.was_alone(alive_at.map_or(instance.seen_at, |at| at.max(instance.seen_at)), now);
            let key = (instance.subject.rule.clone(), instance.subject.device.clone());
            alerts.verdicts.insert(key.clone(), Verdict::of(Truth::unknown("not looked at since the engine was started"), None));
            alerts.again.set(&key, now);
            alerts.instances.set(&key, instance);
        }
        for mut group in groups {
            // What has never been said is said at once; else the rhythm goes on.
            if group.next_at < now && !group.told.is_empty() {
                group.tick(now);
            }
            alerts.due.set(&group.key, group.next_at.min(now));
            alerts.groups.insert(group.key.clone(), group);
        }
        alerts
    }

    /// From now on devices are looked at: until each has been, missing data means nothing.
    pub fn settle(&mut self, now: Timestamp) {
        self.settling_until = now.checked_add(SETTLING).ok();
    }

    /// The same for one device that was not there before.
    pub fn settle_device(&mut self, device: &Name, now: Timestamp) {
        if let Ok(until) = now.checked_add(SETTLING) {
            self.settling.set(device, until);
        }
    }

    /// A rule says something else of a device than before.
    pub fn verdict(&mut self, around: Around<'_>, rule: &Name, device: &Name, verdict: &Verdict, now: Timestamp) {
        let key = (rule.clone(), device.clone());
        let (Some(rule), Some(device)) = (around.desired.rules.get(rule), around.desired.devices.get(device)) else { return };
        if !rule.applies_to(device) {
            return;
        }
        if let Some(missing) = self.missing.get_mut(&key.1) {
            missing.remove(&key.0);
            if missing.is_empty() {
                self.missing.remove(&key.1);
            }
        }
        if self.is_settling(rule, &key.1, verdict, now) {
            self.missing.entry(key.1.clone()).or_default().insert(key.0.clone(), verdict.clone());
            if !self.instances.contains(&key) {
                return;
            }
        }
        // Most of all verdicts are that nothing is wrong where nothing was: they cost nothing.
        let known = self.instances.get(&key);
        let (is_known, lives) = (known.is_some(), known.is_some_and(|known| known.state != AlertState::Resolved || known.flaps.flapping));
        // What was resolved and begins again is one more.
        if (!lives && !self.has_room(rule, &key, verdict)) || (!is_known && !begins(rule, verdict)) {
            return;
        }
        self.look(around, rule, device, verdict, now);
    }

    /// Whether it is too early for missing data to mean something.
    fn is_settling(&self, rule: &Rule, device: &Name, verdict: &Verdict, now: Timestamp) -> bool {
        let unknown = matches!((&verdict.wrong, &verdict.well), (Truth::Unknown(_), _) | (_, Truth::Unknown(_)));
        let until = self.settling_until.max(self.settling.get(device));
        unknown && rule.timing.no_data != crds::NoData::Keep && until.is_some_and(|until| now < until)
    }

    /// Rules that have no room for some devices, and for how many.
    pub fn beyond_limit(&self) -> impl Iterator<Item = (&Name, usize)> {
        self.over_limit.iter().map(|(rule, refused)| (rule, refused.len()))
    }

    /// How many devices a rule has no room for.
    pub fn over_limit(&self, rule: &Name) -> usize {
        self.over_limit.get(rule).map_or(0, BTreeMap::len)
    }

    /// Time went on.
    pub fn pass(&mut self, around: Around<'_>, now: Timestamp) {
        for key in self.again.take(now) {
            let Some(verdict) = self.verdicts.get(&key).cloned() else { continue };
            match (around.desired.rules.get(&key.0), around.desired.devices.get(&key.1)) {
                (Some(rule), Some(device)) if rule.applies_to(device) => self.look(around, rule, device, &verdict, now),
                (None, Some(_)) if is_unusable(around, &key.0) => {}
                _ => self.end(&key, now),
            }
        }
        for key in self.forgotten.take(now) {
            self.past.remove(&key);
        }
        let mut settled = self.settling.take(now);
        if self.settling_until.is_some_and(|until| until <= now) {
            self.settling_until = None;
            settled.extend(self.missing.keys().cloned());
        }
        for device in settled {
            for (rule, verdict) in self.missing.remove(&device).unwrap_or_default() {
                self.verdict(around, &rule, &device, &verdict, now);
            }
        }
        self.make_up(around, now);
        self.flush(around, now);
    }

    /// Other rules, devices or silences are in force.
    pub fn in_force(&mut self, around: Around<'_>, now: Timestamp) {
        let keys: Vec<Key> = self.instances.iter().map(|(key, _)| key.clone()).collect();
        self.apply(around, keys, now);
        self.over_limit.retain(|rule, refused| {
            let rule = around.desired.rules.get(rule);
            refused.retain(|device, _| rule.zip(around.desired.devices.get(device)).is_some_and(|(rule, device)| rule.applies_to(device)));
            !refused.is_empty()
        });
    }

    /// The same where only these devices changed, and neither a rule nor a silence.
    pub fn devices_in_force(&mut self, around: Around<'_>, devices: &BTreeSet<Name>, now: Timestamp) {
        for device in devices {
            let keys: Vec<Key> = self.instances.of_device(device).map(|(key, _)| key).collect();
            self.apply(around, keys, now);
            let there = around.desired.devices.get(device);
            self.over_limit.retain(|rule, refused| {
                if !around.desired.rules.get(rule).zip(there).is_some_and(|(rule, device)| rule.applies_to(device)) {
                    refused.remove(device);
                }
                !refused.is_empty()
            });
        }
    }

    fn apply(&mut self, around: Around<'_>, keys: Vec<Key>, now: Timestamp) {
        for key in keys {
            if is_unusable(around, &key.0) && around.desired.devices.contains_key(&key.1) {
                continue;
            }
            let applies = around.desired.rules.get(&key.0).zip(around.desired.devices.get(&key.1));
            match applies.filter(|(rule, device)| rule.applies_to(device)) {
                Some(_) => self.again.set(&key, now),
                None => self.end(&key, now),
            }
        }
    }

    /// The clock was set by so much: whatever waits goes on waiting as long as it would have.
    pub fn clock_set(&mut self, by: SignedDuration) {
        let keys: Vec<Key> = self.instances.iter().map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.instances.update(&key, |instance| instance.shift(by));
            self.changes.instances.insert(key.clone(), self.instances.get(&key).cloned());
        }
        for (key, group) in &mut self.groups {
            group.shift(by);
            self.changes.groups.insert(key.clone(), Some(group.clone()));
        }
        self.paces.values_mut().for_each(|pace| pace.shift(by));
        self.past.values_mut().for_each(|flaps| flaps.shift(by));
        self.again.shift(by);
        self.due.shift(by);
        self.forgotten.shift(by);
        self.settling.shift(by);
        self.settling_until = self.settling_until.map(|until| until.checked_add(by).unwrap_or(until));
    }

    /// When time alone could change something.
    pub fn look_again(&self) -> Option<Timestamp> {
        let settled = self.settling_until.into_iter().chain(self.settling.next()).filter(|_| !self.missing.is_empty());
        [self.again.next(), self.due.next()].into_iter().flatten().chain(settled).min()
    }

    /// Takes out what changed.
    pub fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    /// Whether something waits to fire: only then does it matter how long the engine was away.
    pub fn waits(&self) -> bool {
        self.instances.anything_waits()
    }

    /// What fires on a device: what a rollout's gate asks for.
    pub fn seen(&self, device: &Name) -> Vec<AlertSeen> {
        let firing = self.instances.of_device(device).filter(|(_, instance)| instance.state == AlertState::Firing);
        let seen = firing.map(|((rule, _), instance)| {
            let since = instance.fired_at.unwrap_or(instance.active_at);
            AlertSeen { rule, severity: instance.subject.severity, since, summary: instance.subject.summary.clone() }
        });
        seen.collect()
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
        rule.limit.saturating_sub(self.instances.live(&rule.name))
    }

    /// Those that a rule had no room for, where it has some by now.
    fn make_up(&mut self, around: Around<'_>, now: Timestamp) {
        for name in self.over_limit.keys().cloned().collect::<Vec<_>>() {
            let room = around.desired.rules.get(&name).map_or(0, |rule| self.room(rule));
            let refused = self.over_limit.get(&name).into_iter().flatten().take(room);
            for (device, verdict) in refused.map(|(device, verdict)| (device.clone(), verdict.clone())).collect::<Vec<_>>() {
                self.verdict(around, &name, &device, &verdict, now);
            }
        }
    }

    fn look(&mut self, around: Around<'_>, rule: &Rule, device: &Device, verdict: &Verdict, now: Timestamp) {
        let key = (rule.name.clone(), device.name.clone());
        let before = self.instances.get(&key);
        let subject = rule.subject(around, device, verdict.value.or(before.and_then(|before| before.value)));
        let labels = before.map_or(&subject.labels, |before| &before.subject.labels);
        let (mut suppressed, mut suppressed_until) = self.suppressed(around, rule, device, labels, now);
        if let Some((by, until)) = before.and_then(|before| returned(&before.suppressed, &suppressed, now)) {
            suppressed.push(by);
            suppressed_until = suppressed_until.into_iter().chain([until]).min();
        }
        let keep = Timing { no_data: crds::NoData::Keep, ..rule.timing.clone() };
        let timing = if self.is_settling(rule, &key.1, verdict, now) { &keep } else { &rule.timing };
        let was_flapping = before.is_some_and(|before| before.flaps.flapping);
        let is_new = before.is_none();
        let mut advanced = advance(timing, before, &subject, verdict, &suppressed, now);
        let id = advanced.instance.as_ref().or(before).map(|instance| instance.id.clone()).unwrap_or_default();
        if is_new && let Some(past) = self.past.remove(&key) {
            self.forgotten.remove(&key);
            advanced.remember(past, now);
        }
        if let Some(instance) = &mut advanced.instance
            && instance.state == AlertState::Firing
        {
            self.join(rule, instance, now);
        }
        let changed = !advanced.transitions.is_empty() || !same_but_for_looks(advanced.instance.as_ref(), self.instances.get(&key));
        let said = |instance: Option<&Instance>| instance.map(|instance| (instance.value, instance.subject.summary.clone()));
        if !changed && said(advanced.instance.as_ref()) != said(self.instances.get(&key)) {
            self.refreshed.insert(key.clone());
        }
        for transition in &advanced.transitions {
            let text = advanced.instance.as_ref().map(|instance| instance.subject.summary.clone()).unwrap_or_default();
            let held = was_flapping && !matches!(transition, Transition::FlappingEnded);
            self.changes.happenings.push(Happening { key: key.clone(), id: id.clone(), transition: *transition, text, held });
        }
        let suppressed_until = advanced.instance.as_ref().filter(|instance| !instance.suppressed.is_empty()).and(suppressed_until);
        match advanced.look_again.into_iter().chain(suppressed_until).min() {
            Some(at) => self.again.set(&key, at),
            None => self.again.remove(&key),
        }
        if changed {
            self.changes.instances.insert(key.clone(), advanced.instance.clone());
        }
        match advanced.instance {
            Some(instance) => {
                self.be_told(&instance);
                self.instances.set(&key, instance);
                self.verdicts.insert(key, verdict.clone());
            }
            None => {
                if let Some(gone) = self.instances.remove(&key) {
                    self.remember(&key, gone.flaps, now);
                }
                self.verdicts.remove(&key);
            }
        }
    }

    /// How often an alert changed that is over.
    fn remember(&mut self, key: &Key, mut flaps: Flaps, now: Timestamp) {
        flaps.pass(now);
        let Some(until) = flaps.quiet_at().filter(|_| !flaps.is_quiet()) else { return };
        while self.past.len() >= PAST
            && let Some(first) = self.forgotten.pop()
        {
            self.past.remove(&first);
        }
        self.past.insert(key.clone(), flaps);
        self.forgotten.set(key, until);
    }

    /// The group of an alert that changed may have something to say earlier than before.
    fn be_told(&mut self, instance: &Instance) {
        if let Some(group) = instance.group.as_ref().and_then(|group| self.groups.get(group)) {
            self.due.sooner(&group.key, group.look_again(std::iter::once(instance)));
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
            self.due.set(&key, group.next_at);
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
        let (mut by, until) = suppressors(around.desired, around.observed, around.silences, (device, &rule.name, labels), now);
        for inhibited in &rule.inhibited_by {
            if inhibited.rule == rule.name {
                continue;
            }
            // A label that is missing is empty.
            let value = |labels: &'_ BTreeMap<String, String>, label: &String| labels.get(label).cloned().unwrap_or_default();
            let same = |other: &&Instance| inhibited.equal.iter().all(|label| value(labels, label) == value(&other.subject.labels, label));
            let other = match inhibited.equal.as_slice() {
                [] => self.instances.fires(&inhibited.rule, &device.name).then(|| device.name.clone()),
                _ => self.instances.firing(&inhibited.rule).find(same).map(|other| other.subject.device.clone()),
            };
            by.extend(other.map(|device| Suppressor::Inhibited { rule: inhibited.rule.clone(), device }));
        }
        (by, until)
    }

    /// The rule or the device is not there any more, or they have nothing to do with each other.
    fn end(&mut self, key: &Key, now: Timestamp) {
        self.again.remove(key);
        let Some(instance) = self.instances.get(key) else { return };
        let forgotten = now.checked_add(super::state::RETAINED).unwrap_or(now);
        if instance.state != AlertState::Firing {
            if instance.state == AlertState::Pending || !instance.group.as_ref().is_some_and(|group| self.groups.contains_key(group)) {
                self.instances.remove(key);
                self.verdicts.remove(key);
                self.changes.instances.insert(key.clone(), None);
            } else {
                self.again.set(key, forgotten);
                self.instances.update(key, |instance| instance.flaps = Default::default());
            }
            return;
        }
        let (id, text, held) = (instance.id.clone(), instance.subject.summary.clone(), false);
        self.instances.update(key, |instance| {
            (instance.state, instance.resolved_at, instance.flaps) = (AlertState::Resolved, Some(now), Default::default());
            instance.decided("", "resolved: the rule or the device is not there any more", now);
        });
        self.changes.happenings.push(Happening { key: key.clone(), id, transition: Transition::Resolved, text, held });
        self.changes.instances.insert(key.clone(), self.instances.get(key).cloned());
        self.again.set(key, forgotten);
    }

    /// Somebody looks after an alert. A second word takes the place of the first.
    pub fn acknowledge(&mut self, id: &str, acknowledged: Acknowledged) -> Result<Key, Refused> {
        let key = self.find(id)?.0.clone();
        let instance = self.instances.get(&key).ok_or_else(|| Refused::Unknown(id.to_owned()))?;
        if !instance.counts_as_firing() {
            return Err(Refused::NotFiring(instance.id.clone()));
        }
        let text = format!("acknowledged by {} until {:.0}: {}", acknowledged.by, acknowledged.until, acknowledged.comment);
        let until = acknowledged.until;
        self.instances.update(&key, |instance| {
            instance.decided("", text, acknowledged.at);
            instance.acknowledged = Some(acknowledged);
        });
        self.changes.instances.insert(key.clone(), self.instances.get(&key).cloned());
        self.again.sooner(&key, until);
        Ok(key)
    }

    /// Whoever looked after an alert does so no more: it is said again as if nobody had.
    pub fn unacknowledge(&mut self, id: &str, by: &str, now: Timestamp) -> Result<Key, Refused> {
        let key = self.find(id)?.0.clone();
        let instance = self.instances.get(&key).ok_or_else(|| Refused::Unknown(id.to_owned()))?;
        if instance.acknowledged.is_none() {
            return Err(Refused::NotAcknowledged(instance.id.clone()));
        }
        self.instances.update(&key, |instance| {
            instance.decided("", format!("the acknowledgement was taken back by {by}"), now);
            instance.acknowledged = None;
        });
        self.changes.instances.insert(key.clone(), self.instances.get(&key).cloned());
        self.again.sooner(&key, now);
        Ok(key)
    }
}

/// Whether a verdict is the beginning of an alert.
fn begins(rule: &Rule, verdict: &Verdict) -> bool {
    match verdict.wrong {
        Truth::True => true,
        Truth::False => false,
        Truth::Unknown(_) => rule.timing.no_data == crds::NoData::Fire && !verdict.early,
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
