//! Alerts in the loop: rules are asked where something changed, and what follows is written down before it is so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use api::feed::{Change, Subject};
use api::usage::News;
use api::view::View;
use crds::{Kind, Object};
use jiff::{SignedDuration, Timestamp};
use reconcile::alerting::alerts::{Alerts, Around, Changes, Happening};
use reconcile::alerting::expr::{Inputs, Rollouts};
use reconcile::alerting::rule::Rule;
use reconcile::alerting::sheet::{FALSE, LANES, Sheet};
use reconcile::alerting::state::{Acknowledged, Transition, Verdict};
use reconcile::alerting::suppress::Silence;
use reconcile::record::Actor;
use reconcile::{Desired, Device, Name, Target, report};
use store::{Remembered, Since, Store};

use super::hands::letters::Judged;
use super::judging::Judging;
use super::not_told::NotTold;
use super::own_network::OwnNetwork;
use super::refill::Past;
use super::told::Told;
use super::{Engine, audit};

/// How often it is written down that the engine is there, while something waits to fire: within the time that a restart may take anyhow.
const ALIVE: SignedDuration = SignedDuration::from_secs(30);
/// A clock that differs by more than this from the time that passed was set.
const JUMP: SignedDuration = SignedDuration::from_secs(5);
/// Values of what fires are shown anew no more often than this.
const SHOWN: SignedDuration = SignedDuration::from_secs(5);
/// The longest time for which an alert is looked after by a word: nobody remembers for longer.
const LONGEST: SignedDuration = SignedDuration::from_hours(31 * 24);
/// Bytes of what somebody says.
const COMMENT: usize = 500;
/// What happened to alerts and could not be written down yet; of more, the oldest goes.
const HAPPENINGS: usize = 100_000;

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
    /// What was said of our own network.
    pub(super) own_network: OwnNetwork,
    /// What was said of receivers that are not told.
    pub(super) not_told: NotTold,
    /// Other rules or silences are in force.
    other_rules: bool,
    /// The rules in force, put together.
    sheet: Sheet,
    /// When alerts were last shown.
    shown_at: Option<Timestamp>,
    /// Some rule asks for something of rollouts.
    asks_for_rollouts: bool,
    /// Some rule asks for readings and is judged here, whoever reads the devices.
    judges_readings: bool,
    /// How far each Deployment was when rules were last asked.
    phases: BTreeMap<Name, &'static str>,
    /// What the store has not taken yet.
    unwritten: Changes,
    /// What of it people have decided, for the audit log.
    decided: Vec<store::audit::Entry>,
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

    /// A rollout does something on a device.
    pub(super) fn moved<'a>(&mut self, devices: impl IntoIterator<Item = &'a Name>) {
        if self.asks_for_rollouts {
            devices.into_iter().for_each(|device| self.judging.touch(device));
        }
    }

    /// Deployments were planned anew: where one is otherwise than it was, its devices are.
    pub(super) fn planned(&mut self, view: &View, units: &BTreeSet<Name>) {
        if !self.asks_for_rollouts {
            return;
        }
        for unit in units {
            let deferred = view.deferred.get(unit).map(Vec::as_slice).unwrap_or_default();
            let phase = report::phase_of(&view.desired, &view.observed, deferred, unit);
            let before = match phase {
                Some(phase) => self.phases.insert(unit.clone(), phase),
                None => self.phases.remove(unit),
            };
            if before != phase {
                view.desired.deployments.get(unit).into_iter().flat_map(|unit| &unit.members).for_each(|device| self.judging.touch(device));
            }
        }
    }

    /// A device was read.
    pub(super) fn usage(&mut self, desired: &Desired, news: &News) {
        // Where others read devices, whoever has the shard judges them, also where that is this process; but for what only this one knows.
        if (self.told.is_none() || self.judges_readings) && !desired.rules.is_empty() && desired.devices.contains_key(&news.device) {
            self.judging.usage(news);
        }
    }

    /// Devices are read by those who hold so many shards; 0: by this process.
    pub(super) fn told_by(&mut self, shards: u32) {
        self.told = (shards > 0).then(|| Told::new(shards));
    }

    /// Whether the own network of any of those others is down, where they are there, and that is known.
    pub(super) fn network_down(&self) -> Option<bool> {
        self.told.as_ref().and_then(Told::network_down)
    }

    /// Somebody works for a shard.
    pub(super) fn alive(&mut self, shard: u32, at: Timestamp, network_down: Option<bool>, now: Timestamp) {
        let again = self.told.as_mut().map(|told| told.alive(shard, at, network_down, now)).unwrap_or_default();
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
            self.asks_for_rollouts = new.rules.values().any(|rule| rule.asks_for_rollouts());
            self.judges_readings = new.rules.values().any(|rule| rule.is_judged_by_planner());
            self.phases.clear();
            self.sheet = Sheet::new(new, self.told.is_some());
            new.devices.keys().for_each(|device| self.judging.touch(device));
            self.judging.rules(judged_here(new, self.told.is_some()), now);
        }
    }

    /// What the store is to be asked for, so that rules can look back.
    pub(super) fn take_past(&mut self, desired: &Desired, now: Timestamp) -> Vec<Since> {
        let devices = desired.devices.values().map(|device| &**device);
        self.judging.take_past(judged_here(desired, self.told.is_some()), devices, now)
    }

    /// What devices used before.
    pub(super) fn before(&mut self, past: Vec<Past>) {
        self.judging.before(past);
    }

    /// When it has to be looked at again.
    pub(super) fn look_again(&self, is_store_away: bool) -> Option<Timestamp> {
        let alive = self.alive_at.filter(|_| !is_store_away && self.alerts.waits()).and_then(|at| at.checked_add(ALIVE).ok());
        let told = self.told.as_ref().and_then(Told::next);
        let ours = self.own_network.look_again().into_iter().chain(self.not_told.look_again()).filter(|_| !is_store_away);
        self.judging.next().into_iter().chain(self.alerts.look_again()).chain(alive).chain(told).chain(ours).min()
    }

    /// The clock was set by so much. What was read before looks older or newer than it is: until all is read again, nothing is missing.
    fn clock_set(&mut self, by: SignedDuration, now: Timestamp) {
        self.alerts.clock_set(by);
        self.alerts.settle(now);
        self.judging.clock_set(by);
        self.told.iter_mut().for_each(|told| told.clock_set(by));
        let moved = |at: Option<Timestamp>| at.map(|at| at.checked_add(by).unwrap_or(at));
        (self.alive_at, self.shown_at) = (moved(self.alive_at), moved(self.shown_at));
    }

    /// What changed is to be written down.
    fn gather(&mut self) {
        let changes = self.alerts.take_changes();
        merge(&mut self.unwritten, changes);
    }

    /// Writes down what is not written yet, with who decided it, and returns it. What the store refuses stays as it is.
    async fn write(&mut self, store: &Store, now: Timestamp) -> Result<Changes, store::Error> {
        let happened = self.unwritten.happenings.iter().filter_map(|happening| entry(happening, now));
        let entries = self.decided.iter().cloned().chain(happened).collect();
        store.record_alerts(&self.unwritten, entries, now).await?;
        self.decided.clear();
        Ok(std::mem::take(&mut self.unwritten))
    }

    /// By how much the clock was set since it was last asked, if it was.
    fn jumped(&mut self, now: Timestamp, at: Instant) -> Option<SignedDuration> {
        let (before, then) = self.clock.replace((now, at))?;
        let passed = SignedDuration::try_from(at.duration_since(then)).ok()?;
        let jump = now.duration_since(before) - passed;
        (jump.abs() > JUMP).then_some(jump)
    }
}

/// The rules that this process judges by readings, where others may read the devices.
fn judged_here(desired: &Desired, others: bool) -> impl Iterator<Item = &Rule> {
    desired.rules.values().map(|rule| &**rule).filter(move |rule| !others || rule.is_judged_by_planner())
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
            self.alerts.clock_set(jump, now);
        }
        self.judge(&desired, now);
        self.record_alerts(now).await;
        self.say_own_network(&desired, now).await;
        self.say_not_told(&desired, now).await;
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
        let rollouts = Rollouts::Known { desired, observed: &view.observed, deferred: &view.deferred };
        let touched: Vec<Name> = watch.judging.take(now).into_iter().collect();
        for names in touched.chunks(LANES) {
            let there = || names.iter().filter_map(|name| desired.devices.get(name));
            let usages: Vec<_> = there().map(|device| view.usages.latest(&device.name)).collect();
            let known = |(device, usage)| {
                let device: &Device = device;
                let seen = view.observed.devices.get(&device.name).map(|seen| &**seen);
                Inputs { device, seen, usage, history: watch.judging.history(&device.name), rollouts, now }
            };
            let inputs: Vec<Inputs<'_>> =
                there().map(|device| &**device).zip(usages.iter().map(std::option::Option::as_deref)).map(known).collect();
            let mut asked = Vec::new();
            let mut times = watch.sheet.ask(&inputs, |answers| {
                let told = watch.told.as_ref().filter(|_| answers.rule.is_judged_where_read());
                let is_about = watch.alerts.is_about_any(&answers.rule.name);
                if told.is_none() && !is_about && answers.holds.iter().all(|holds| *holds == FALSE) {
                    return;
                }
                let lanes = inputs.iter().zip(answers.applies).zip(answers.holds).enumerate();
                let matters = lanes.filter(|(_, ((inputs, applies), holds))| {
                    **applies == 1
                        && (told.is_some()
                            || **holds != FALSE
                            || (is_about && watch.alerts.is_about(&answers.rule.name, &inputs.device.name)))
                });
                asked.extend(matters.map(|(lane, _)| (lane, answers.rule, told)));
            });
            for (lane, rule, told) in asked {
                let name = &inputs[lane].device.name;
                let verdict = match told {
                    // Nothing was said yet: what is known stays.
                    Some(told) => told.verdict(&rule.name, name),
                    None => {
                        let (verdict, at): (Verdict, _) = rule.verdict(&inputs[lane]);
                        times[lane] = times[lane].into_iter().chain(at).min();
                        Some(verdict)
                    }
                };
                if let Some(verdict) = verdict {
                    watch.alerts.verdict(around, &rule.name, name, &verdict, now);
                }
            }
            let times: Vec<_> = inputs.iter().zip(times).map(|(inputs, at)| (inputs.device.name.clone(), at)).collect();
            for (name, at) in times {
                watch.judging.again(&name, at);
            }
        }
        watch.alerts.pass(around, now);
    }

    /// Writes down what changed, unless the store is away, and now and then that the engine is there.
    async fn record_alerts(&mut self, now: Timestamp) {
        self.alerts.gather();
        if self.store_away || self.write_alerts(now).await.is_err() {
            return;
        }
        self.show_values(now);
        let waits = self.alerts.alerts.waits();
        if waits && self.alerts.alive_at.is_none_or(|at| now.duration_since(at).abs() >= ALIVE) {
            self.alerts.alive_at = Some(now);
            if let Err(error) = self.store.alive(now).await {
                self.alerts_refused(&error);
            }
        }
    }

    /// What changed is stored, and then shown: what is said of an alert lies in the outbox before anybody sees it fire.
    async fn write_alerts(&mut self, now: Timestamp) -> Result<(), store::Error> {
        if self.alerts.unwritten.is_empty() {
            return Ok(());
        }
        let written = self.alerts.write(&self.store, now).await;
        let changes = written.inspect_err(|error| self.alerts_refused(error))?;
        self.show_alerts(&changes);
        if !changes.notices.is_empty() {
            self.said.notify_one();
        }
        Ok(())
    }

    /// Values go on changing while an alert fires: the list shows those of now, and nothing is written down for it.
    fn show_values(&mut self, now: Timestamp) {
        let is_time = self.alerts.shown_at.is_none_or(|at| now.duration_since(at).abs() >= SHOWN);
        if !is_time {
            return;
        }
        let refreshed = self.alerts.alerts.take_refreshed();
        if refreshed.is_empty() {
            return;
        }
        self.alerts.shown_at = Some(now);
        let mut view = self.view.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        for key in &refreshed {
            view.alerts.set(key, self.alerts.alerts.get(key));
        }
    }

    /// The store refuses; where that is because somebody else writes alerts by now, this one has nothing more to say.
    pub(super) fn alerts_refused(&mut self, error: &store::Error) {
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
        let alerts = changes.instances.iter();
        self.feed.changed(alerts.map(|((rule, device), now)| Change::alert(rule, device, now.as_ref().map(|alert| alert.id.as_str()))));
        self.tell_of(Subject::Audit);
        self.tell(|told| {
            told.objects(rules.into_iter().map(|rule| (Kind::AlertRule, rule)));
            told.concerned(&dirty);
        });
        self.dirty.extend(dirty);
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
            return Err(api::view::STORE_AWAY.into());
        }
        let acknowledged = Acknowledged { by: by.to_owned(), comment: comment.clone(), at: now, until };
        let key = self.alerts.alerts.acknowledge(id, acknowledged).map_err(|refused| refused.to_string())?;
        self.decided(&key, "acknowledge", by, &comment).await?;
        Ok(format!("{} looks after alertrule/{} on device/{} until {until:.0}", by, key.0, key.1))
    }
}

impl Engine {
    /// Somebody looks after an alert no more.
    pub(super) async fn unacknowledge(&mut self, id: &str, by: &str) -> Result<String, String> {
        let now = Timestamp::now();
        if self.store_away {
            return Err(api::view::STORE_AWAY.into());
        }
        let key = self.alerts.alerts.unacknowledge(id, by, now).map_err(|refused| refused.to_string())?;
        self.decided(&key, "unacknowledge", by, "").await?;
        Ok(format!("nobody looks after alertrule/{} on device/{} any more", key.0, key.1))
    }

    /// Writes down what somebody decided of an alert. Where the store fails just then, that is done when it is back: here it is so already.
    async fn decided(&mut self, key: &(Name, Name), verb: &str, by: &str, comment: &str) -> Result<(), String> {
        let mut entry = audit(Actor::user(by), verb, &format!("device/{}", key.1), comment);
        entry.unit = format!("alertrule/{}", key.0);
        let now = entry.at;
        self.alerts.gather();
        self.alerts.decided.push(entry);
        let written = self.write_alerts(now).await;
        match written {
            // Another replica knows nothing of it.
            Err(error) if self.replaced => Err(error.to_string()),
            Err(error) => Err(format!("{error}; it is kept, and counts once the store takes it")),
            Ok(()) => Ok(()),
        }
    }
}

/// Takes in what changed later.
fn merge(older: &mut Changes, newer: Changes) {
    older.instances.extend(newer.instances);
    older.groups.extend(newer.groups);
    older.notices.extend(newer.notices);
    older.happenings.extend(newer.happenings);
    // While nothing can be written, what flaps would fill all memory.
    if older.happenings.len() > HAPPENINGS {
        older.happenings.retain(is_logged);
        let more = older.happenings.len().saturating_sub(HAPPENINGS);
        if more > 0 {
            tracing::warn!(more, "the store is away, and the oldest of what happened to alerts is left out of the audit log");
            older.happenings.drain(..more);
        }
    }
}

/// What happens while an alert flaps is not logged: it is held as firing until it does no more.
fn is_logged(happening: &Happening) -> bool {
    match happening.transition {
        Transition::Firing | Transition::Resolved => !happening.held,
        Transition::FlappingBegan | Transition::FlappingEnded => true,
        _ => false,
    }
}

/// What belongs into the audit log.
fn entry(happening: &Happening, now: Timestamp) -> Option<store::audit::Entry> {
    if !is_logged(happening) {
        return None;
    }
    let verb = match happening.transition {
        Transition::Firing => "fire",
        Transition::Resolved => "resolve",
        Transition::FlappingBegan => "flap",
        Transition::FlappingEnded => "settle",
        _ => return None,
    };
    let mut entry = audit(Actor::engine(), verb, &format!("device/{}", happening.key.1), &happening.text);
    (entry.at, entry.unit) = (now, format!("alertrule/{}", happening.key.0));
    Some(entry)
}

#[cfg(test)]
pub(super) mod tests;
