//! Audit before acting: a plan is checked and written down, and only what was written down can be acted on.

use std::collections::BTreeSet;
use std::future::Future;

use jiff::Timestamp;

use crate::desired::{Desired, Device, is_own_way};
use crate::name::{Name, Target};
use crate::observed::{DeviceSeen, ItemKey, Observed};
use crate::outcome::Outcome;
use crate::plan::{Action, Plan, Revision, Step, StepId, Work};
use crate::rollout::{RevisionRecord, RevisionResult, Rollout, RolloutChange};

/// Who is behind an act.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Actor {
    /// `commit`, `user` or `engine`.
    pub kind: String,
    /// The commit's author, the user's name, or `evenkeel`.
    pub name: String,
    /// The verified signer of the commit, if any.
    pub signer: Option<String>,
}

impl Actor {
    /// The engine itself.
    pub fn engine() -> Self {
        Self { kind: "engine".into(), name: "evenkeel".into(), signer: None }
    }

    /// A person who asked for something.
    pub fn user(name: &str) -> Self {
        Self { kind: "user".into(), name: name.to_owned(), signer: None }
    }

    /// The author of a commit, with its verified signer.
    pub fn commit(revision: &Revision) -> Self {
        Self { kind: "commit".into(), name: revision.author.clone(), signer: revision.signer.clone() }
    }

    /// Who is behind steps of a Deployment whose rollout was `rollout` when they were planned from `revision`: what spreads a commit is
    /// its author's, what a person had undone is theirs, and what takes back a failure or holds what is in force (drift, devices that were
    /// away) is the engine's.
    pub fn behind<'a>(steps: impl Iterator<Item = &'a Step> + Clone, rollout: Option<&Rollout>, revision: &Revision) -> Self {
        let begun = steps.clone().find_map(|step| match &step.action {
            Action::Rollout(RolloutChange::Start { .. } | RolloutChange::Recreate) => Some(Self::commit(revision)),
            Action::Rollout(RolloutChange::RollBack { by, .. }) => Some(by.as_deref().map_or_else(Self::engine, Self::user)),
            Action::Rollout(RolloutChange::Stop { .. }) => Some(Self::engine()),
            _ => None,
        });
        let current = rollout.and_then(Rollout::current);
        let deleted = rollout.and_then(|rollout| rollout.deletion.as_deref()).map(|deletion| Self {
            kind: "commit".into(),
            name: deletion.author.clone(),
            signer: deletion.signer.clone(),
        });
        begun.or(deleted).unwrap_or_else(|| match current.map(|record| (record, &record.result)) {
            Some((record, RevisionResult::Progressing)) => {
                Self { kind: "commit".into(), name: record.author.clone(), signer: record.signer.clone() }
            }
            Some((record, RevisionResult::RollingBack { .. })) => record.undone_by.as_deref().map_or_else(Self::engine, Self::user),
            // Going back to a revision before the one that failed is theirs who asked for it, until a device is there.
            Some((RevisionRecord { undone_by: Some(by), .. }, RevisionResult::RolledBack { to })) if goes_to(*to, steps, rollout) => {
                Self::user(by)
            }
            _ => Self::engine(),
        })
    }
}

/// Some of these steps bring a device to this revision that holds another one.
fn goes_to<'a>(revision: Option<u32>, mut steps: impl Iterator<Item = &'a Step>, rollout: Option<&Rollout>) -> bool {
    steps.any(|step| {
        let placement = rollout.and_then(|rollout| rollout.placements.get(step.target.name()));
        matches!(&step.target, Target::Device(_)) && placement.is_some_and(|placement| placement.holds() != revision)
    })
}

/// The port to whatever keeps plans: the store, or a fake of it.
pub trait Record {
    /// What can go wrong there.
    type Error: std::error::Error + Send + Sync + 'static;

    /// In one transaction: check that each unit's rollout is at the version that the plan expects, write the plan, its steps
    /// and their audit entries, apply the rollout changes and mark device steps as begun.
    fn commit(&self, plan: &Plan, actor: &Actor, now: Timestamp) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Device steps that were recorded and have no outcome yet: what an actor takes up again after a restart.
    fn unfinished(&self) -> impl Future<Output = Result<Vec<Step>, Self::Error>> + Send;

    /// The device step with this id, if it was recorded and has no outcome yet.
    fn begun(&self, id: &StepId) -> impl Future<Output = Result<Option<Step>, Self::Error>> + Send;

    /// In one transaction: write the step's outcome, complete its audit entry and settle it in its rollout. Doing it twice
    /// is the same as doing it once.
    fn finish(&self, step: &RecordedStep, outcome: &Outcome) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// The port to devices, reading: one look at one device.
pub trait Observe {
    /// Reads the named items, facts and boot id; never fails, since not being able to see is an answer too. `probes` stay empty here.
    fn observe(&self, device: &Device, items: &[ItemKey]) -> impl Future<Output = DeviceSeen> + Send;
}

/// The port to devices, changing.
pub trait Act {
    /// Does the step, or finds it again and waits for its end: the same step id never runs twice on a device. `None`: the
    /// device was lost from sight with the step perhaps under way; ask again later.
    fn act(&self, device: &Device, step: &RecordedStep) -> impl Future<Output = Option<Outcome>> + Send;
}

/// A device step that is written down; what [`Act`] wants to see.
#[derive(Clone, Debug)]
pub struct RecordedStep(Step);

impl RecordedStep {
    /// The step.
    pub fn step(&self) -> &Step {
        &self.0
    }

    /// What to work with.
    pub fn work(&self) -> &Work {
        self.0.action.work().expect("only device steps become recorded steps")
    }

    /// The device's name.
    pub fn device(&self) -> &Name {
        self.0.target.name()
    }
}

/// Takes up what was recorded before a restart and has no outcome yet.
pub async fn resume<R: Record>(store: &R) -> Result<Vec<RecordedStep>, R::Error> {
    let steps = store.unfinished().await?;
    Ok(steps.into_iter().filter(|step| step.action.work().is_some()).map(RecordedStep).collect())
}

/// Takes up one step, as an actor does that was told its id; `None` if it was never recorded, or has its outcome.
pub async fn take_up<R: Record>(store: &R, id: &StepId) -> Result<Option<RecordedStep>, R::Error> {
    let step = store.begun(id).await?;
    Ok(step.filter(|step| step.action.work().is_some()).map(RecordedStep))
}

/// A plan that is written down. Only [`record`] makes one, so acting on an unrecorded plan does not compile.
#[derive(Clone, Debug)]
pub struct Recorded(Plan);

impl Recorded {
    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.0
    }

    /// The steps that an actor has to do; the store has done the others already.
    pub fn device_steps(&self) -> impl Iterator<Item = RecordedStep> {
        self.0.steps.iter().filter(|step| step.action.work().is_some()).cloned().map(RecordedStep)
    }
}

/// Why a plan was not recorded.
#[derive(Debug, thiserror::Error)]
pub enum Error<E: std::error::Error + 'static> {
    /// The plan breaks an invariant: a defect in the planner, and nothing happened.
    #[error("plan {plan} breaks an invariant: {what}")]
    Invariant {
        /// Which plan.
        plan: String,
        /// Which invariant.
        what: String,
    },
    /// The store did not take it.
    #[error("plan could not be recorded")]
    Store(#[source] E),
}

/// A plan whose invariants hold. Only [`admit`] makes one.
#[derive(Clone, Debug)]
pub struct Admitted(Plan);

/// Checks the plan's invariants against what it was made from.
pub fn admit<E: std::error::Error + 'static>(plan: Plan, desired: &Desired, observed: &Observed) -> Result<Admitted, Error<E>> {
    match check(&plan, desired, observed) {
        Ok(()) => Ok(Admitted(plan)),
        Err(what) => Err(Error::Invariant { plan: plan.id.to_string(), what }),
    }
}

impl Admitted {
    /// Writes the plan down.
    pub async fn record<R: Record>(self, actor: &Actor, now: Timestamp, store: &R) -> Result<Recorded, Error<R::Error>> {
        store.commit(&self.0, actor, now).await.map_err(Error::Store)?;
        Ok(Recorded(self.0))
    }
}

/// Checks the plan's invariants and writes it down.
pub async fn record<R: Record>(
    plan: Plan,
    (desired, observed): (&Desired, &Observed),
    actor: &Actor,
    now: Timestamp,
    store: &R,
) -> Result<Recorded, Error<R::Error>> {
    admit(plan, desired, observed)?.record(actor, now, store).await
}

/// No step twice, one step per device, no device that already has a step in flight, and no removal of the engine's own way in.
pub fn check(plan: &Plan, desired: &Desired, observed: &Observed) -> Result<(), String> {
    let mut ids = BTreeSet::new();
    let mut devices = BTreeSet::new();
    for step in &plan.steps {
        if !ids.insert(&step.id) {
            return Err(format!("step {} occurs twice", step.id));
        }
        let Some(work) = step.action.work() else { continue };
        let Target::Device(device) = &step.target else {
            return Err(format!("step {} works on {}, which is no device", step.id, step.target));
        };
        if !devices.insert(device) {
            return Err(format!("two steps on {device}"));
        }
        for (unit, rollout) in &observed.rollouts {
            if let Some(placement) = rollout.placements.get(device)
                && placement.phase.is_in_flight()
            {
                return Err(format!("{device} already has step {} of {unit} in flight", placement.step));
            }
        }
        for file in &work.content.files {
            if PROTECTED.iter().any(|prefix| file.path.starts_with(prefix)) {
                return Err(format!("{} is the engine's own record on {device}", file.path));
            }
        }
        let access = desired.devices.get(device).map(|device| &device.access);
        if let Some(account) = work.content.accounts.iter().find(|account| access.is_some_and(|access| is_own_way(access, &account.user))) {
            return Err(format!("{} is the account by which the engine logs in on {device}", account.user));
        }
    }
    Ok(())
}

/// What no plan may write to on a device: the engine's own state there.
const PROTECTED: [&str; 1] = ["/var/lib/evenkeel/"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Whatever planned it: the account by which the engine logs in is no content of a step.
    #[test]
    fn the_engines_own_account_is_in_no_plan() {
        let account = |user: &str| json!({"user": user, "authorizedKeys": ["ssh-ed25519 AAAA"], "sudo": []});
        let check = |user: &str| {
            let content = json!({"packages": [], "files": [], "accounts": [account(user)], "services": [], "before": [], "after": [], "reboot": "Never"});
            let work = json!({"deployment": "default/role:team", "revision": 1, "digest": "d", "content": content, "batch": 1, "attempt": 1,
                "revert": false, "healthyBefore": true, "from": null, "deadlineSeconds": 300});
            let step = json!({"id": "s", "unit": "role/team", "target": "device/web", "action": {"apply": work}, "expectsVersion": 1,
                "expects": null, "changes": [], "reason": ""});
            let plan = Plan {
                id: crate::plan::PlanId::default(),
                revision: Revision::default(),
                steps: vec![serde_json::from_value(step).unwrap()],
                deferred: Vec::new(),
                look_again: None,
            };
            let spec =
                json!({"type": "Server", "address": "10.0.0.1", "access": {"ssh": {"user": "ops", "hostKeys": ["ssh-ed25519 AAAA"]}}});
            let device = json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "Device", "metadata": {"name": "web"}, "spec": spec});
            let device = std::sync::Arc::new(crds::Object::from_value(crds::Kind::Device, device).unwrap());
            super::check(&plan, &Desired::build([device], Revision::default()).0, &Observed::default())
        };
        assert_eq!(check("ops"), Err("ops is the account by which the engine logs in on web".into()));
        assert_eq!(check("alice"), Ok(()));
    }

    /// Who is behind what is done next, by what the rollout remembers.
    #[test]
    fn everybody_is_named_for_what_they_asked_for() {
        let revision = Revision { commit: "c2".into(), author: "ann".into(), signer: Some("key".into()), ..Revision::default() };
        let behind = |result: serde_json::Value, undone_by: Option<&str>| {
            let record = json!({"number": 1, "digest": "d1", "content": {"packages": [], "files": [], "services": [], "before": [], "after": [], "reboot": "Never"}, "commit": "c1", "author": "bob", "signer": "bob's key", "startedAt": "2026-11-24T12:00:00Z",
                "result": result, "undoneBy": undone_by});
            let rollout: Rollout = serde_json::from_value(json!({"history": [record], "version": 1})).unwrap();
            Actor::behind(std::iter::empty(), Some(&rollout), &revision)
        };
        let back = json!({"rollingBack": {"last_batch_only": false, "to": null}});
        // Of the commit that it came from, whatever has come in force since.
        let bob = Actor { kind: "commit".into(), name: "bob".into(), signer: Some("bob's key".into()) };
        assert_eq!(behind(json!("progressing"), None), bob);
        assert_eq!(behind(back.clone(), None), Actor::engine());
        assert_eq!(behind(back, Some("eve")), Actor::user("eve"));
        assert_eq!(behind(json!("complete"), None), Actor::engine());

        // Eve went back further than the engine had: hers until the device is there, and what drifts then is the engine's.
        let went_back = |holds: u32| {
            let record = json!({"number": 3, "digest": "d1", "content": {"packages": [], "files": [], "services": [], "before": [], "after": [], "reboot": "Never"}, "commit": "c1", "author": "bob", "startedAt": "2026-11-24T12:00:00Z",
                "result": {"rolledBack": {"to": 1}}, "undoneBy": "eve"});
            let placement = json!({"revision": holds, "digest": "d1", "phase": "applied", "since": "2026-11-24T12:00:00Z", "step": "s1"});
            let rollout: Rollout =
                serde_json::from_value(json!({"history": [record], "placements": {"default/web-01": placement}, "version": 1})).unwrap();
            let mut step = Step::rollout(&Name::parse("app"), 1, RolloutChange::Recreate, "why".into());
            (step.target, step.action) = (Target::Device(Name::parse("web-01")), Action::Rollout(RolloutChange::End));
            Actor::behind([&step].into_iter(), Some(&rollout), &revision)
        };
        assert_eq!((went_back(2), went_back(1)), (Actor::user("eve"), Actor::engine()));

        let unit = Name::parse("app");
        let first = |change: RolloutChange| {
            let step = Step::rollout(&unit, 0, change, "why".into());
            Actor::behind([&step].into_iter(), None, &revision)
        };
        let back = |by: Option<&str>| RolloutChange::RollBack {
            number: 1,
            last_batch_only: false,
            to: None,
            reason: String::new(),
            by: by.map(str::to_owned),
        };
        assert_eq!(first(back(None)), Actor::engine());
        assert_eq!(first(back(Some("eve"))), Actor::user("eve"));
        assert_eq!(first(RolloutChange::Stop { number: 1, reason: String::new() }), Actor::engine());
    }
}
