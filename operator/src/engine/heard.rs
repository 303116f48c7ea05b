//! What the loop hears of devices: looks, probes, and how steps ended.

use std::collections::BTreeSet;
use std::sync::Arc;

use api::feed::Subject;
use api::view::View;
use crds::Kind;
use devices::probe::Ran;
use jiff::{SignedDuration, Timestamp};
use reconcile::record::RecordedStep;
use reconcile::{DeviceSeen, Name, Outcome, ProbeState, Rollout, parents};
use tokio::sync::watch;

use super::telling::Telling;
use super::{Engine, reports};

/// So long it takes at most until it is found out that our own network is down.
const FOUND_OUT: SignedDuration = SignedDuration::from_secs(60);

impl Engine {
    pub(super) fn seen(&mut self, name: &Name, mut seen: DeviceSeen) {
        let view = self.view.clone();
        let mut view = view.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !view.desired.devices.contains_key(name) {
            return self.hands.unknown(name, None);
        }
        // Nothing is held against it while nobody can be reached from here.
        if matches!(seen.contact, reconcile::Contact::Unreachable { .. }) && self.hands.excuses() {
            return;
        }
        let units = concerned(&view, name);
        let old = view.observed.devices.get(name).cloned().unwrap_or_default();
        seen.probes.clone_from(&old.probes);
        seen.after(&old);
        let changed = (&old.contact, &old.items, &old.boot_id) != (&seen.contact, &seen.items, &seen.boot_id);
        let is_shown_otherwise = seen.differs(&old);
        let is_known_first = old.contact == reconcile::Contact::Never;
        let turned = reports::turned(name, &old.contact, &seen.contact);
        let was_dead = parents::is_dead(&view.observed, name);
        if old.contact != seen.contact {
            match &seen.contact {
                reconcile::Contact::Unreachable { reason, .. } => tracing::warn!(device = %name, reason, "unreachable"),
                _ => tracing::info!(device = %name, "reachable"),
            }
        }
        // The first look since a step ended there says what came of it, even if it shows the same as the one before.
        let is_first = |rollout: &Rollout| rollout.placements.get(name).is_some_and(|placement| old.seen_at <= Some(placement.since));
        let awaited = |rollout: &Rollout| is_moving(rollout) || is_first(rollout);
        let settling = units.iter().any(|unit| view.observed.rollouts.get(unit).is_some_and(|rollout| awaited(rollout)));
        if seen.is_reachable() && is_outdated(&view, &units, name, seen.seen_at) {
            self.hands.outdated(&view, name);
        }
        let is_reachable = (old.contact != seen.contact).then(|| seen.is_reachable());
        view.observed.devices.insert(name.clone(), Arc::new(seen));
        self.behind(&view, name, was_dead);
        drop(view);
        if let Some(is_reachable) = is_reachable {
            self.hands.contact(name, is_reachable);
        }
        if changed || is_known_first {
            self.alerts.touch(name);
            self.tell(|told| {
                told.devices([name]);
                told.concerned(&units);
            });
        } else if is_shown_otherwise {
            self.tell_of(Subject::Object(Kind::Device, name.clone()));
        }
        if let Some(happening) = turned {
            self.tell(|told| told.happened(happening));
        }
        if changed || settling {
            self.dirty.extend(units);
        }
    }

    /// Where a device died, or is back, those behind it are known otherwise than before.
    pub(super) fn behind(&mut self, view: &View, name: &Name, was_dead: bool) {
        let is_dead = parents::is_dead(&view.observed, name);
        if is_dead == was_dead {
            return;
        }
        let below = parents::all_below(&view.desired, name);
        if below.is_empty() {
            return;
        }
        match is_dead {
            true => tracing::warn!(device = %name, behind = below.len(), "dead, and others are reached through it"),
            false => tracing::info!(device = %name, behind = below.len(), "back, and those that are reached through it with it"),
        }
        let units: BTreeSet<Name> = below.iter().flat_map(|device| concerned(view, device)).collect();
        let telling = Telling { desired: view.desired.clone(), feed: &self.feed, reports: self.reports.as_deref() };
        telling.devices(&below);
        telling.concerned(&units);
        // A gate judges them otherwise by now.
        self.dirty.extend(units);
    }

    /// What was told before this process planned. Where something is under way nobody knows how it is by now, as after any restart: that is
    /// waited for. Else a soak would end, or a device be given up, on what nobody has looked at since.
    pub(super) fn remembered(&mut self, name: &Name, seen: Option<DeviceSeen>, ran: Option<&Ran>) {
        let view = self.view.clone();
        let view = view.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        if concerned(&view, name).iter().any(|unit| view.observed.rollouts.get(unit).is_some_and(|rollout| is_moving(rollout))) {
            return self.hands.outdated(&view, name);
        }
        drop(view);
        if let Some(seen) = seen {
            self.seen(name, seen);
        }
        if let Some(ran) = ran {
            self.probe(ran);
        }
    }

    pub(super) fn probe(&mut self, ran: &Ran) {
        let view = self.view.clone();
        let mut view = view.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let units = concerned(&view, &ran.device);
        let is_there = |device: &Arc<reconcile::Device>| device.probes.iter().any(|probe| probe.name == ran.probe);
        if !view.desired.devices.get(&ran.device).is_some_and(is_there) {
            return self.hands.unknown(&ran.device, Some(&ran.probe));
        }
        let mut seen = view.observed.devices.get(&ran.device).map(|seen| (**seen).clone()).unwrap_or_default();
        let was_dead = parents::is_dead(&view.observed, &ran.device);
        let before = seen.probes.insert(ran.probe.clone(), Box::new(ran.seen.clone())).unwrap_or_default();
        let is_other_code = ran.seen.state != ProbeState::Ok && before.code != ran.seen.code;
        let before = before.state;
        let settling = units.iter().any(|unit| view.observed.rollouts.get(unit).is_some_and(|rollout| is_moving(rollout)));
        if is_outdated(&view, &units, &ran.device, ran.seen.seen_at) {
            self.hands.outdated(&view, &ran.device);
        }
        view.observed.devices.insert(ran.device.clone(), Arc::new(seen));
        self.behind(&view, &ran.device, was_dead);
        drop(view);
        if before == ran.seen.state && is_other_code {
            self.tell(|told| told.devices([&ran.device]));
        }
        if before != ran.seen.state && ran.seen.state == ProbeState::Ok {
            self.hands.contact(&ran.device, true);
        }
        if before != ran.seen.state {
            self.alerts.touch(&ran.device);
            self.ledger.probe(&ran.device, &ran.probe, &ran.seen);
            tracing::info!(device = %ran.device, probe = ran.probe, state = ?ran.seen.state, reason = ran.seen.reason, "probe");
            self.tell(|told| {
                told.devices([&ran.device]);
                told.concerned(&units);
            });
        }
        if before != ran.seen.state || settling {
            self.dirty.extend(units);
        }
    }

    pub(super) fn ended(&mut self, step: &RecordedStep, outcome: &Outcome) {
        let unit = step.step().unit.rollout();
        let word = step.step().action.word();
        tracing::info!(step = %step.step().id, device = %step.device(), unit = %step.step().unit, verdict = ?outcome.verdict, "{word}: {}", outcome.message.lines().last().unwrap_or_default());
        {
            let mut view = self.write();
            if let Some(rollout) = view.observed.rollouts.get_mut(&unit) {
                Arc::make_mut(rollout).settle(step.step(), outcome);
            }
        }
        self.tell(|told| {
            told.devices([step.device()]);
            told.units([&unit]);
            told.happened(reports::ended(step, outcome));
        });
        self.tell_of(Subject::Audit);
        self.alerts.moved([step.device()]);
        self.actors.ended(step);
        self.hands.ended(step);
        self.look_now(step.device());
        let concerned = concerned(&self.read(), step.device());
        self.dirty.extend(concerned);
        self.dirty.insert(unit);
    }
}

/// Whether an answer was asked for before what was done last on the device: whoever waits for a newer one would wait for ever, if nobody
/// asked for it.
fn is_outdated(view: &View, units: &[Name], device: &Name, at: Option<Timestamp>) -> bool {
    let placements = units.iter().filter_map(|unit| view.observed.rollouts.get(unit)?.placements.get(device));
    placements.into_iter().any(|placement| at <= Some(placement.since))
}

/// Devices that went out of reach just before it was found out that our own network is down.
pub(super) fn is_excused(seen: &DeviceSeen) -> bool {
    let earliest = Timestamp::now().checked_sub(FOUND_OUT).unwrap_or(Timestamp::MIN);
    matches!(&seen.contact, reconcile::Contact::Unreachable { since, .. } if *since >= earliest)
}

/// The Deployments that have to do with a device: those that select it, and those that were deleted and have something there.
pub(super) fn concerned(view: &View, device: &Name) -> Vec<Name> {
    let deleted =
        view.observed.rollouts.iter().filter(|(_, rollout)| rollout.deletion.is_some() && rollout.placements.contains_key(device));
    let deleted = deleted.map(|(name, _)| name);
    view.desired.selected_by.get(device).into_iter().flatten().chain(deleted).cloned().collect()
}

/// Our own network is down, or is back.
pub(super) async fn turned(own_network: &mut Option<watch::Receiver<bool>>) -> bool {
    if let Some(receiver) = own_network
        && receiver.changed().await.is_ok()
    {
        return *receiver.borrow_and_update();
    }
    // Others look at devices, and know it of their networks.
    std::future::pending().await
}

/// Something is on its way, so that even a look that found nothing new counts.
pub(super) fn is_moving(rollout: &Rollout) -> bool {
    is_open(rollout) || rollout.placements.values().any(|placement| placement.batch == 0)
}

/// A revision spreads, or is taken back.
pub(super) fn is_open(rollout: &Rollout) -> bool {
    use reconcile::RevisionResult::{Progressing, RollingBack};
    rollout.current().is_some_and(|record| matches!(record.result, Progressing | RollingBack { .. }))
}
