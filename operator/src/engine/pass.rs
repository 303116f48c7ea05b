//! One pass: plan what changed, write it down, hand it to the actors.

use std::collections::BTreeSet;
use std::sync::Arc;

use api::feed::Subject;
use jiff::Timestamp;
use reconcile::command::{self, Command};
use reconcile::record::Actor;
use reconcile::{Action, Name, Plan, PlanId, Recorded, RolloutChange, Step, Target, plan_units};

use super::{Engine, reports};

/// Rounds of one pass: changes of rollouts are done at once, and what follows from them is planned at once too.
pub(super) const ROUNDS: usize = 64;

impl Engine {
    /// Plans the Deployments whose input changed, until nothing follows any more.
    pub(super) async fn pass(&mut self) {
        for _ in 0..ROUNDS {
            if self.dirty.is_empty() || self.store_away {
                return;
            }
            let dirty = std::mem::take(&mut self.dirty);
            self.attend(&dirty);
            let now = Timestamp::now();
            let plan = {
                let view = self.read();
                plan_units(&view.desired, &view.observed, now, &dirty)
            };
            self.show(&plan, &dirty);
            if plan.steps.is_empty() {
                return;
            }
            for (actor, plan) in self.by_actor(plan) {
                if let Err(error) = self.record(plan, &actor, now).await {
                    tracing::debug!(%error, "not recorded; planned again");
                    self.dirty.extend(dirty);
                    if self.store_away {
                        return;
                    }
                    // Outcomes that are stored already are still in our queue.
                    self.reload().await;
                    // What a planner before this one recorded at its last moment is done by this one.
                    self.resume().await;
                    break;
                }
            }
        }
    }

    /// Who looks at devices knows where something is under way.
    fn attend(&mut self, units: &BTreeSet<Name>) {
        let view = self.view.clone();
        self.hands.attend(&view.read().unwrap_or_else(std::sync::PoisonError::into_inner), units);
    }

    /// One plan for everybody who is behind something in it; the steps of a Deployment stay together.
    fn by_actor(&self, plan: Plan) -> Vec<(Actor, Plan)> {
        let view = self.read();
        let units: BTreeSet<&Target> = plan.steps.iter().map(|step| &step.unit).collect();
        let mut groups: Vec<(Actor, BTreeSet<&Target>)> = Vec::new();
        for unit in units {
            let steps = plan.steps.iter().filter(|step| step.unit == *unit);
            let actor = Actor::behind(steps, view.observed.rollouts.get(&unit.rollout()).map(|rollout| &**rollout), &plan.revision);
            match groups.iter_mut().find(|(other, _)| *other == actor) {
                Some((_, units)) => drop(units.insert(unit)),
                None => groups.push((actor, [unit].into())),
            }
        }
        if let [_] = groups.as_slice() {
            let (actor, _) = groups.remove(0);
            return vec![(actor, plan)];
        }
        let plans = groups.into_iter().map(|(actor, units)| {
            let steps: Vec<Step> = plan.steps.iter().filter(|step| units.contains(&step.unit)).cloned().collect();
            let id = PlanId::of(&plan.revision, &steps);
            (actor, Plan { id, revision: plan.revision.clone(), steps, deferred: Vec::new(), look_again: plan.look_again })
        });
        plans.collect()
    }

    /// Writes a plan down, and does it.
    pub(super) async fn record(&mut self, plan: Plan, actor: &Actor, now: Timestamp) -> Result<(), String> {
        if self.store_away {
            return Err(api::view::STORE_AWAY.into());
        }
        let admitted = {
            let view = self.read();
            reconcile::record::admit(plan, &view.desired, &view.observed)
        };
        let recorded = match admitted {
            Ok(admitted) => admitted.record(actor, now, &*self.store).await,
            Err(error) => Err(error),
        };
        let recorded = match recorded {
            Ok(recorded) => recorded,
            Err(reconcile::record::Error::Store(error)) => {
                if !matches!(error, store::Error::Conflict { .. }) {
                    self.store_failed(&error);
                }
                return Err(error.to_string());
            }
            Err(error) => {
                tracing::error!(%error, "a plan was refused");
                return Err(error.to_string());
            }
        };
        self.apply(&recorded, now);
        self.tell_of(Subject::Audit);
        let desired = self.desired();
        for step in recorded.device_steps() {
            self.actors.start(&desired, step);
        }
        Ok(())
    }

    /// Takes the recorded plan into what is known, as the store has done.
    fn apply(&mut self, recorded: &Recorded, now: Timestamp) {
        let mut touched = BTreeSet::new();
        let mut other_content = BTreeSet::new();
        let mut other_state = BTreeSet::new();
        let mut happenings = Vec::new();
        let mut view = self.write();
        view.passes += 1;
        for step in &recorded.plan().steps {
            let unit = &step.unit.rollout();
            let rollout = Arc::make_mut(view.observed.rollouts.entry(unit.clone()).or_default());
            match &step.action {
                Action::Rollout(change) => {
                    tracing::info!(unit = %step.unit, "{}: {}", change.word(), step.reason);
                    rollout.apply(change, now);
                    happenings.extend(reports::changed(unit, change, &step.reason));
                    if matches!(change, RolloutChange::Start { .. } | RolloutChange::RollBack { .. } | RolloutChange::RolledBack { .. }) {
                        other_content.extend(view.desired.deployments.get(unit).map(|unit| unit.members.clone()).unwrap_or_default());
                    }
                }
                action => {
                    tracing::info!(unit = %step.unit, step = %step.id, "{} {}: {}", action.word(), step.target, step.reason);
                    rollout.begin(step, now);
                }
            }
            touched.insert(unit.clone());
            if let Target::Device(device) = &step.target {
                other_state.insert(device.clone());
                touched.extend(view.desired.selected_by.get(device).into_iter().flatten().cloned());
            }
        }
        drop(view);
        self.look_at(&other_content);
        self.alerts.moved(&other_state);
        self.tell(|told| {
            told.devices(other_content.iter().chain(&other_state));
            told.units(&touched);
            happenings.into_iter().for_each(|happening| told.happened(happening));
        });
        self.dirty.extend(touched);
    }

    /// What was put off is shown, and when to look again is kept.
    fn show(&mut self, plan: &Plan, units: &BTreeSet<Name>) {
        let mut otherwise = BTreeSet::new();
        let mut view = self.view.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let became_ready = view.not_ready.take().is_some();
        let now = Timestamp::now();
        for unit in units {
            let target = Target::unit(unit);
            let deferred: Vec<_> = plan.deferred.iter().filter(|deferred| deferred.unit == target).cloned().collect();
            if view.deferred.get(unit).map_or(!deferred.is_empty(), |before| *before != deferred) {
                otherwise.insert(unit.clone());
            }
            view.put_off(unit, deferred, now);
            self.look_again.remove(unit);
            // One instant for all of them: waking too early for one costs one plan that changes nothing.
            if let Some(at) = plan.look_again {
                self.look_again.insert(unit.clone(), at);
            }
        }
        self.alerts.planned(&view, units);
        drop(view);
        self.tell(|told| told.planned(units, &otherwise));
        if became_ready {
            self.tell_of(Subject::Engine);
        }
    }

    /// What a person asks of a rollout.
    pub(super) async fn command(&mut self, unit: &Name, command: &Command, by: &str) -> Result<String, String> {
        let plan = {
            let view = self.read();
            let waiting = view.deferred.get(unit).map(Vec::as_slice).unwrap_or_default();
            command::plan(&view.desired, &view.observed, unit, command, by, waiting).map_err(|error| error.to_string())?
        };
        let actor = Actor::user(by);
        let id = plan.id.clone();
        self.record(plan, &actor, Timestamp::now()).await?;
        Ok(format!("{} of {} is recorded (plan {id})", command.word(), Target::unit(unit)))
    }
}
