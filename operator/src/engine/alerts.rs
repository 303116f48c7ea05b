//! Alerts in the loop: rules are asked where something changed, and what follows is written down before it is so.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use api::usage::News;
use api::view::View;
use crds::{Kind, Object};
use jiff::{SignedDuration, Timestamp};
use reconcile::alerting::alerts::{Alerts, Around, Changes, Happening};
use reconcile::alerting::expr::Inputs;
use reconcile::alerting::history::History;
use reconcile::alerting::state::{Acknowledged, Transition, Verdict};
use reconcile::alerting::suppress::Silence;
use reconcile::record::Actor;
use reconcile::{Desired, Name, Target};
use store::Remembered;

use super::hands::letters::Judged;
use super::judging::Judging;
use super::told::Told;
use super::{Engine, audit};

/// How often it is written down that the engine is there, while something waits to fire: within the time that a restart may take anyhow.
const ALIVE: SignedDuration = SignedDuration::from_secs(30);
/// A clock that differs by more than this from the time that passed was set.
const JUMP: SignedDuration = SignedDuration::from_secs(5);
/// The longest time for which an alert is looked after by a word: nobody remembers for longer.
const LONGEST: SignedDuration = SignedDuration::from_hours(31 * 24);
/// Bytes of what somebody says.
const COMMENT: usize = 500;

/// What the loop keeps of alerts.
#[derive(Default)]
pub(super) struct Watch {
    alerts: Alerts,
    silences: Vec<Silence>,
    judging: Judging,
    /// What others say of the devices that they read, where they do.
    told: Option<Told>,
    /// Devices that are otherwise than before, where neither a rule nor a silence is.
    other_devices: BTreeSet<Name>,
    /// Other rules or silences are in force.
    other_rules: bool,
    /// What the store has not taken yet.
    unwritten: Changes,
    alive_at: Option<Timestamp>,
    clock: Option<(Timestamp, Instant)>,
}

impl Watch {
    /// As it was stored.
    pub(super) fn restore(remembered: Remembered, now: Timestamp) -> Self {
        let Remembered { instances, groups, alive_at } = remembered;
        Self { alerts: Alerts::restore(instances, groups, alive_at, now), ..Self::default() }
    }

    /// What was restored is shown; from then on what changes is.
    pub(super) fn show_all(&self, view: &mut View) {
        for alert in self.alerts.all() {
            let key = (alert.subject.rule.clone(), alert.subject.device.clone());
            view.alerts.set(&key, Some(alert));
            let seen = self.alerts.seen(&key.1);
            if !seen.is_empty() {
                view.observed.alerts.insert(key.1, seen);
            }
        }
    }

    /// Something changed on a device.
    pub(super) fn touch(&mut self, device: &Name) {
        self.judging.touch(device);
    }

    /// A device was read.
    pub(super) fn usage(&mut self, desired: &Desired, news: &News) {
        // Where others read devices, whoever has the shard judges them, also where that is this process.
        if self.told.is_none() && !desired.rules.is_empty() && desired.devices.contains_key(&news.device) {
            self.judging.usage(news);
        }
    }

    /// Devices are read by those who hold so many shards.
    pub(super) fn told_by(&mut self, shards: u32) {
        self.told = Some(Told::new(shards));
    }

    /// Somebody works for a shard.
    pub(super) fn alive(&mut self, shard: u32, at: Timestamp, now: Timestamp) {
        let again = self.told.as_mut().map(|told| told.alive(shard, at, now)).unwrap_or_default();
        again.iter().for_each(|device| self.judging.touch(device));
    }

    /// Another revision is in force.
    pub(super) fn in_force(&mut self, old: &Desired, new: &Desired, changed: &BTreeSet<Name>) {
        let now = Timestamp::now();
        let is_first = old.revision.commit.is_empty();
        if is_first {
            self.alerts.settle(now);
        }
        for device in changed {
            if !new.devices.contains_key(device) {
                self.judging.forget(device);
                self.told.iter_mut().for_each(|told| told.forget(device));
                continue;
            }
            if !is_first && !old.devices.contains_key(device) {
                self.alerts.settle_device(device, now);
            }
            self.judging.touch(device);
        }
        let same = old.rules.size() == new.rules.size()
            && old.rules.iter().zip(new.rules.iter()).all(|((_, old), (_, new))| Arc::ptr_eq(old, new));
        let silences = silences(new);
        self.other_rules |= is_first || !same || silences != self.silences || unusable(old) != unusable(new);
        self.other_devices.extend(changed.iter().cloned());
        self.silences = silences;
        if !same {
            new.devices.keys().for_each(|device| self.judging.touch(device));
            self.judging.rules(new.rules.values().map(|rule| &**rule));
        }
    }

    /// When it has to be looked at again.
    pub(super) fn look_again(&self, is_store_away: bool) -> Option<Timestamp> {
        let alive = self.alive_at.filter(|_| !is_store_away && self.alerts.waits()).and_then(|at| at.checked_add(ALIVE).ok());
        let told = self.told.as_ref().and_then(Told::next);
        self.judging.next().into_iter().chain(self.alerts.look_again()).chain(alive).chain(told).min()
    }

    /// By how much the clock was set since it was last asked, if it was.
    fn jumped(&mut self, now: Timestamp, at: Instant) -> Option<SignedDuration> {
        let (before, then) = self.clock.replace((now, at))?;
        let passed = SignedDuration::try_from(at.duration_since(then)).ok()?;
        let jump = now.duration_since(before) - passed;
        (jump.abs() > JUMP).then_some(jump)
    }
}

/// Silences in their order; those that have ended mute nothing.
fn silences(desired: &Desired) -> Vec<Silence> {
    let of = |(name, object): (&Name, &Arc<Object>)| match &**object {
        Object::Silence(silence) => Some(Silence::of(name, &silence.spec)),
        _ => None,
    };
    let from = (Kind::Silence, Name::new("", ""));
    let all = desired.objects.range(from..).take_while(|((kind, _), _)| *kind == Kind::Silence);
    all.filter_map(|((_, name), object)| of((name, object))).collect()
}

/// Rules that are written and can't be used: their alerts stay as they are.
fn unusable(desired: &Desired) -> usize {
    desired.stalled.keys().filter(|target| matches!(target, Target::Object(Kind::AlertRule, _))).count()
}

impl Engine {
    /// Somebody else reads the device, and says what follows from that.
    pub(super) fn judged(&mut self, device: &Name, judged: Judged) {
        if !self.read().desired.devices.contains_key(device) {
            return;
        }
        if let Some(told) = &mut self.alerts.told {
            told.judged(device, judged);
            self.alerts.judging.touch(device);
        }
    }

    /// Asks the rules where something changed, lets time go on, and writes down what follows.
    pub(super) async fn watch(&mut self) {
        let desired = self.desired();
        if desired.revision.commit.is_empty() {
            // Nobody knows which rules there are.
            return;
        }
        let now = Timestamp::now();
        if let Some(jump) = self.alerts.jumped(now, Instant::now()) {
            tracing::warn!(jump = %jump, "the clock was set: what waits goes on waiting as long as it would have");
            self.alerts.alerts.clock_set(jump);
        }
        self.judge(&desired, now);
        self.record_alerts(now).await;
    }

    fn judge(&mut self, desired: &Desired, now: Timestamp) {
        let watch = &mut self.alerts;
        let silent = watch.told.as_mut().map(|told| told.fall_silent(now)).unwrap_or_default();
        silent.iter().for_each(|device| watch.judging.touch(device));
        let view = self.view.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let around = Around { desired, observed: &view.observed, silences: &watch.silences };
        let other_devices = std::mem::take(&mut watch.other_devices);
        match std::mem::take(&mut watch.other_rules) {
            true => watch.alerts.in_force(around, now),
            false => watch.alerts.devices_in_force(around, &other_devices, now),
        }
        let none = History::default();
        for name in watch.judging.take(now) {
            let Some(device) = desired.devices.get(&name) else { continue };
            let seen = view.observed.devices.get(&name).map(|seen| &**seen);
            let usage = view.usages.latest(&name);
            let mut next = None;
            let inputs = Inputs { device, seen, usage: usage.as_deref(), history: watch.judging.history(&name).unwrap_or(&none), now };
            for rule in desired.rules.values().filter(|rule| rule.applies_to(device)) {
                let verdict = match watch.told.as_ref().filter(|_| rule.reads()) {
                    // Nothing was said yet: what is known stays.
                    Some(told) => told.verdict(&rule.name, &name),
                    None => {
                        let (verdict, again): (Verdict, _) = rule.verdict(&inputs);
                        next = next.into_iter().chain(again).min();
                        Some(verdict)
                    }
                };
                if let Some(verdict) = verdict {
                    watch.alerts.verdict(around, &rule.name, &name, &verdict, now);
                }
            }
            watch.judging.again(&name, next);
        }
        watch.alerts.pass(around, now);
    }

    /// What changed is stored, and then shown: what is said of an alert lies in the outbox before anybody sees it fire.
    async fn record_alerts(&mut self, now: Timestamp) {
        let changes = self.alerts.alerts.take_changes();
        merge(&mut self.alerts.unwritten, changes);
        if self.store_away {
            return;
        }
        if !self.alerts.unwritten.is_empty() {
            let changes = std::mem::take(&mut self.alerts.unwritten);
            let entries: Vec<_> = changes.happenings.iter().filter_map(|happening| entry(happening, now)).collect();
            if let Err(error) = self.store.record_alerts(&changes, entries, now).await {
                let newer = std::mem::replace(&mut self.alerts.unwritten, changes);
                merge(&mut self.alerts.unwritten, newer);
                return self.alerts_refused(&error);
            }
            self.show_alerts(&changes);
            if !changes.notices.is_empty() {
                self.said.notify_one();
            }
        }
        let waits = self.alerts.alerts.waits();
        if waits && self.alerts.alive_at.is_none_or(|at| now.duration_since(at).abs() >= ALIVE) {
            self.alerts.alive_at = Some(now);
            if let Err(error) = self.store.alive(now).await {
                self.alerts_refused(&error);
            }
        }
    }

    /// The store refuses; where that is because somebody else writes alerts by now, this one has nothing more to say.
    fn alerts_refused(&mut self, error: &store::Error) {
        match error {
            store::Error::Replaced(_) => {
                tracing::warn!(%error, "what this replica has to say of alerts counts no more");
                self.replaced = true;
            }
            error => self.store_failed(error),
        }
    }

    fn show_alerts(&mut self, changes: &Changes) {
        for happening in changes.happenings.iter().filter(|happening| !happening.held) {
            let (rule, device) = &happening.key;
            match happening.transition {
                Transition::Firing => tracing::warn!(%rule, %device, id = happening.id, "an alert fires: {}", happening.text),
                Transition::Resolved => tracing::info!(%rule, %device, id = happening.id, "an alert is resolved: {}", happening.text),
                _ => tracing::debug!(%rule, %device, id = happening.id, "alert: {:?}", happening.transition),
            }
        }
        for notice in &changes.notices {
            tracing::info!(receiver = %notice.receiver, id = notice.id, reason = ?notice.reason, firing = notice.firing.len(), resolved = notice.resolved.len(), "to be said");
        }
        let mut dirty = BTreeSet::new();
        let rules: BTreeSet<Name> = changes.instances.keys().map(|(rule, _)| rule.clone()).collect();
        {
            let mut view = self.view.write().unwrap_or_else(std::sync::PoisonError::into_inner);
            // A rollout's gate asks for what fires on its devices.
            let devices: BTreeSet<&Name> = changes.instances.keys().map(|(_, device)| device).collect();
            for device in devices {
                let seen = self.alerts.alerts.seen(device);
                if view.observed.alerts.get(device).map_or(!seen.is_empty(), |before| *before != seen) {
                    dirty.extend(view.desired.selected_by.get(device).into_iter().flatten().cloned());
                    match seen.is_empty() {
                        true => drop(view.observed.alerts.remove(device)),
                        false => drop(view.observed.alerts.insert(device.clone(), seen)),
                    }
                }
            }
            for key in changes.instances.keys() {
                view.alerts.set(key, self.alerts.alerts.get(key));
            }
            view.beyond_limit = self.alerts.alerts.beyond_limit().map(|(rule, beyond)| (rule.clone(), beyond)).collect();
        }
        self.dirty.extend(dirty);
        self.tell(|told| told.objects(rules.into_iter().map(|rule| (Kind::AlertRule, rule))));
    }

    /// Somebody looks after an alert.
    pub(super) async fn acknowledge(&mut self, id: &str, comment: String, until: Timestamp, by: &str) -> Result<String, String> {
        let now = Timestamp::now();
        if until <= now || until.duration_since(now) > LONGEST {
            return Err("an acknowledgement has an end, within 31 days from now".into());
        }
        let comment: String = comment.chars().filter(|character| !character.is_control()).collect();
        if comment.trim().is_empty() || comment.len() > COMMENT {
            return Err(format!("say in 1 to {COMMENT} bytes what is done about it"));
        }
        if self.store_away {
            return Err("the store does not take writes just now".into());
        }
        let acknowledged = Acknowledged { by: by.to_owned(), comment: comment.clone(), at: now, until };
        let key = self.alerts.alerts.acknowledge(id, acknowledged).map_err(|refused| refused.to_string())?;
        let mut entry = audit(Actor::user(by), "acknowledge", &format!("device/{}", key.1), &comment);
        entry.unit = format!("alertrule/{}", key.0);
        let changes = self.alerts.alerts.take_changes();
        if let Err(error) = self.store.record_alerts(&changes, vec![entry], now).await {
            merge(&mut self.alerts.unwritten, changes);
            self.alerts_refused(&error);
            return Err(error.to_string());
        }
        self.show_alerts(&changes);
        Ok(format!("{} looks after alertrule/{} on device/{} until {until:.0}", by, key.0, key.1))
    }
}

/// Takes in what changed later.
fn merge(older: &mut Changes, newer: Changes) {
    older.instances.extend(newer.instances);
    older.groups.extend(newer.groups);
    older.notices.extend(newer.notices);
    older.happenings.extend(newer.happenings);
}

/// What belongs into the audit log.
fn entry(happening: &Happening, now: Timestamp) -> Option<store::audit::Entry> {
    // What flaps is held as firing until it does no more: what it does meanwhile would fill the log.
    let verb = match happening.transition {
        Transition::Firing if !happening.held => "fire",
        Transition::Resolved if !happening.held => "resolve",
        Transition::FlappingBegan => "flap",
        Transition::FlappingEnded => "settle",
        _ => return None,
    };
    let mut entry = audit(Actor::engine(), verb, &format!("device/{}", happening.key.1), &happening.text);
    (entry.at, entry.unit) = (now, format!("alertrule/{}", happening.key.0));
    Some(entry)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_clock_that_is_set_is_noticed() {
        let mut watch = Watch::default();
        let (start, began) = (Timestamp::from_second(1_800_000_000).unwrap(), Instant::now());
        let mut after = |wall: i64, passed: u64| {
            watch.jumped(start.checked_add(SignedDuration::from_secs(wall)).unwrap(), began + Duration::from_secs(passed))
        };
        assert_eq!(after(0, 0), None);
        assert_eq!(after(60, 60), None);
        assert_eq!(after(64, 60), None, "a little is what NTP does");
        assert_eq!(after(3664, 60), Some(SignedDuration::from_hours(1)));
        assert_eq!(after(124, 120), Some(SignedDuration::from_secs(-3600)));
    }
}
