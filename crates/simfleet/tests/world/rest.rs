//! The end: nothing goes wrong any more, and the fleet has to come to rest, and to what is in force.

use jiff::SignedDuration;
use reconcile::command::Command;
use reconcile::{Deferred, ItemKey, ItemSeen, Name, Package, RevisionResult, WaitingOn};

use super::engine::Engine;
use super::{World, approval, rules};

/// Passes that a fleet has to come to rest.
const PASSES: usize = 700;

impl World {
    /// Nothing goes wrong any more, and people agree to everything: the fleet comes to rest, and to what is in force.
    pub(super) async fn rest(&mut self) {
        self.calm();
        let mut engine = match self.engine.take() {
            Some(engine) => engine,
            None => Engine::start(&self.store).await.expect("the store is there"),
        };
        let mut asked = false;
        for _ in 0..PASSES {
            self.now += SignedDuration::from_secs(1);
            self.devices.set_now(self.now);
            if engine.stale {
                engine.reload(&self.store).await.expect("the store is there");
            }
            let _ = self.admit(&mut engine).await;
            for device in self.desired.devices.keys() {
                engine.look(&self.desired, &self.devices, device).await;
                engine.probe(&self.desired, &self.devices, device, self.now);
            }
            let plan = self.plan(&mut engine);
            let (quiet, look_again) =
                (self.next.is_none() && plan.steps.is_empty() && engine.steps.is_empty() && engine.ended.is_empty(), plan.look_again);
            if plan.steps.is_empty() {
                // Whatever is under way gets on.
                self.now += SignedDuration::from_secs(if engine.steps.is_empty() { 0 } else { 20 });
                self.devices.set_now(self.now);
            } else {
                let _ = self.record(&mut engine, plan).await;
            }
            let _ = self.act(&mut engine).await;
            self.finish(&mut engine).await;
            rules::ran(&self.desired, &self.devices, &self.store);
            if !quiet {
                continue;
            }
            let units: Vec<Name> = reconcile::units(&self.desired, &engine.observed).cloned().collect();
            let waits = units.iter().find_map(|unit| Some((unit, approval(&engine.deferred, unit)?)));
            if let Some((unit, approve)) = waits {
                self.ask(&mut engine, unit, &approve).await;
            } else if !asked {
                asked = true;
                for unit in &units {
                    self.ask(&mut engine, unit, &Command::Resume).await;
                }
            } else if let Some(at) = look_again {
                self.now = self.now.max(at);
            } else {
                return self.rested(&engine);
            }
        }
        panic!("it does not come to rest: {:#?}", engine.deferred);
    }

    /// What is put off at the end is nothing that comes by waiting, and a device that is not as it should be is spoken of.
    fn rested(&mut self, engine: &Engine) {
        for deferred in &engine.deferred {
            let stays = matches!(
                deferred.waiting_on,
                WaitingOn::Health { until: None, .. }
                    | WaitingOn::Budget { .. }
                    | WaitingOn::NoWayBack { .. }
                    | WaitingOn::Dependency { .. }
                    | WaitingOn::Suspended { .. }
            );
            assert!(stays, "at rest, and waiting for what comes by itself: {} {deferred}", deferred.unit);
        }
        for (unit, rollout) in &engine.observed.rollouts {
            let ended = self.desired.deployments.contains_key(unit) || !rollout.is_remembered();
            let spoken = engine.deferred.iter().any(|deferred| deferred.unit.name() == unit);
            assert!(ended || spoken, "{unit} was deleted and is still remembered at rest, and nobody knows why");
        }
        let units: Vec<Name> = self.desired.deployments.keys().cloned().collect();
        for unit in units {
            let Some(rollout) = engine.observed.rollouts.get(&unit) else {
                assert!(self.desired.deployments.get(&unit).unwrap().members.is_empty(), "{unit} was never begun");
                continue;
            };
            let spoken = engine.deferred.iter().any(|deferred| deferred.unit.name() == &unit);
            let Some(current) = rollout.current() else {
                assert!(self.desired.deployments.get(&unit).unwrap().members.is_empty(), "{unit} was never begun again");
                continue;
            };
            let end = match current.result {
                RevisionResult::Complete => "complete",
                RevisionResult::RolledBack { .. } => "rolled back",
                RevisionResult::Stopped => "stopped",
                _ => "stuck",
            };
            assert!(end != "stuck" || spoken, "{unit} is {:?} at rest, and nobody knows why", current.result);
            self.count(end);
            self.note(&format!("{unit} revision {} {end}", current.number));
            if matches!(end, "complete" | "rolled back") {
                self.has(engine, &unit);
            }
        }
    }

    /// Every member has what is in force, or the plan says why not.
    fn has(&mut self, engine: &Engine, unit: &Name) {
        let deployment = self.desired.deployments.get(unit).unwrap().clone();
        let rollout = &engine.observed.rollouts[unit];
        for member in &deployment.members {
            let spoken = |deferred: &Deferred| deferred.unit.name() == unit && [member, unit].contains(&deferred.target.name());
            let explained = deployment.drift != crds::Drift::Correct || engine.deferred.iter().any(spoken);
            let held = rollout.placements.get(member).filter(|placement| placement.is_touched());
            let bad = held.and_then(|placement| rollout.revision(placement.revision)).map(|record| &record.result);
            let bad = matches!(bad, Some(RevisionResult::RolledBack { .. }));
            assert!(!bad || explained, "{member} still holds a revision of {unit} that was taken back, and nobody says why");
            let Some(record) = rollout.in_force() else { continue };
            let Some(Package::Apt(apt)) = record.content.packages.first() else { continue };
            let found = self.devices.with(member, |machine| machine.version(&apt.name).map(str::to_owned));
            let seen = &engine.observed.devices[member].items;
            assert!(seen.get(&ItemKey::apt(&apt.name)).is_some_and(|item| *item != ItemSeen::Absent) == found.is_some() || explained);
            if found.as_deref() == Some(&apt.version) {
                self.count("device as it should be");
            } else {
                self.count("device otherwise");
                assert!(explained, "{member} has {} {found:?}, {} is in force, and nobody says why", apt.name, apt.version);
            }
        }
    }

    /// Everything that was wrong is right again, but for versions that are bad.
    fn calm(&mut self) {
        self.note("nothing goes wrong any more");
        self.store.set_away(false);
        self.git.set_free();
        self.next = Some(self.git.build());
        for device in self.desired.devices.keys() {
            self.devices.with(device, |machine| {
                machine.set_away(false);
                machine.set_sick(false);
                machine.clear_fates();
            });
        }
    }
}
