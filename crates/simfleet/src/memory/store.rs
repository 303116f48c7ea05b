//! What keeps plans, in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use reconcile::record::{Actor, Record, RecordedStep};
use reconcile::{Action, Name, Outcome, Plan, Rollout, Step, StepId};

/// A store. Its clones are the same store: what one of them keeps is there when whoever used another is gone.
#[derive(Clone, Debug, Default)]
pub struct Store(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    rollouts: BTreeMap<Name, Rollout>,
    /// Recorded device steps in the order of their recording, with what came of them.
    steps: Vec<(Step, Option<Outcome>)>,
    away: bool,
    mute: bool,
}

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is away, or was before it could answer.
    #[error("the store does not answer")]
    Away,
    /// A rollout is at another version than the plan expects.
    #[error("{unit} is at version {found}, not {expected}")]
    Conflict {
        /// The Deployment.
        unit: Name,
        /// The version that the plan was made from.
        expected: u64,
        /// The version that it is at.
        found: u64,
    },
    /// The step's id was used before.
    #[error("step {0} was recorded before")]
    Again(StepId),
    /// An outcome for a step that nobody recorded.
    #[error("step {0} was never recorded")]
    Unknown(StepId),
}

impl Store {
    /// A store with nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on it does not answer, and does nothing; or it does again.
    pub fn set_away(&self, away: bool) {
        self.kept().away = away;
    }

    /// The next write is done, but nobody hears of it.
    pub fn lose_next_answer(&self) {
        self.kept().mute = true;
    }

    /// What it remembers of each Deployment's rollouts.
    pub fn rollouts(&self) -> Result<BTreeMap<Name, Rollout>, Error> {
        Ok(self.open()?.rollouts.clone())
    }

    /// Whether a device step with this id was recorded.
    pub fn has(&self, id: &StepId) -> bool {
        self.kept().steps.iter().any(|(step, _)| step.id == *id)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> Result<MutexGuard<'_, Kept>, Error> {
        let kept = self.kept();
        if kept.away { Err(Error::Away) } else { Ok(kept) }
    }
}

impl Record for Store {
    type Error = Error;

    async fn commit(&self, plan: &Plan, _actor: &Actor, now: Timestamp) -> Result<(), Error> {
        let mut kept = self.open()?;
        let rollouts = apply(&kept, plan, now)?;
        kept.rollouts.extend(rollouts);
        let steps = plan.steps.iter().filter(|step| step.action.work().is_some());
        kept.steps.extend(steps.map(|step| (step.clone(), None)));
        kept.answer()
    }

    async fn unfinished(&self) -> Result<Vec<Step>, Error> {
        let kept = self.open()?;
        Ok(kept.steps.iter().filter(|(_, outcome)| outcome.is_none()).map(|(step, _)| step.clone()).collect())
    }

    async fn begun(&self, id: &StepId) -> Result<Option<Step>, Error> {
        let kept = self.open()?;
        Ok(kept.steps.iter().find(|(step, outcome)| step.id == *id && outcome.is_none()).map(|(step, _)| step.clone()))
    }

    async fn finish(&self, step: &RecordedStep, outcome: &Outcome) -> Result<(), Error> {
        let mut kept = self.open()?;
        let step = step.step();
        let found = kept.steps.iter_mut().find(|(other, _)| other.id == step.id).ok_or_else(|| Error::Unknown(step.id.clone()))?;
        if found.1.is_none() {
            found.1 = Some(outcome.clone());
            if let Some(rollout) = kept.rollouts.get_mut(&step.unit.rollout()) {
                rollout.settle(step, outcome);
            }
        }
        kept.answer()
    }
}

impl Kept {
    fn answer(&mut self) -> Result<(), Error> {
        if std::mem::take(&mut self.mute) { Err(Error::Away) } else { Ok(()) }
    }
}

/// The state that the plan leaves its rollouts in.
fn apply(kept: &Kept, plan: &Plan, now: Timestamp) -> Result<BTreeMap<Name, Rollout>, Error> {
    let mut changed: BTreeMap<Name, Rollout> = BTreeMap::new();
    for step in &plan.steps {
        let unit = &step.unit.rollout();
        if kept.steps.iter().any(|(other, _)| other.id == step.id) {
            return Err(Error::Again(step.id.clone()));
        }
        if !changed.contains_key(unit) {
            let rollout = kept.rollouts.get(unit).cloned().unwrap_or_default();
            if rollout.version != step.expects_version {
                return Err(Error::Conflict { unit: unit.clone(), expected: step.expects_version, found: rollout.version });
            }
            changed.insert(unit.clone(), rollout);
        }
        let rollout = changed.entry(unit.clone()).or_default();
        match &step.action {
            Action::Rollout(change) => rollout.apply(change, now),
            _ => rollout.begin(step, now),
        }
    }
    Ok(changed)
}
