//! Recording plans, and what came of their steps.

pub(crate) mod prune;

use std::collections::BTreeMap;

use jiff::Timestamp;
use reconcile::record::{Actor, Record, RecordedStep};
use reconcile::{Action, Name, Outcome, Plan, RolloutChange, Step, StepId, Target, Verdict};
use serde::Serialize;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use crate::audit::{Entry, cut};
use crate::contents::{self, Contents};
use crate::open::within;
use crate::rollouts::{Touched, excerpt, save};
use crate::rows::{insert, json, maybe_text, maybe_time, number, query, text, time, to_json, to_word, word};
use crate::{Error, Store};

/// Bytes of a step's message that are kept.
const MESSAGE: usize = 8 << 10;
/// Changes of a step that are written into its audit entry.
const CHANGES: usize = 50;
/// Bytes of each.
const CHANGE: usize = 1 << 10;
/// Steps or plans that are listed at once.
const PAGE: u32 = 1000;

/// A recorded plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanRow {
    /// Its id.
    pub id: String,
    /// The commit that it served.
    pub commit: String,
    /// Who is behind it.
    pub actor: Actor,
    /// When it was recorded.
    pub recorded_at: Timestamp,
}

/// A recorded step.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepRow {
    /// The plan.
    pub plan: String,
    /// Index of the audit entry that was written with it: what steps are ordered by.
    pub entry: u64,
    /// The step.
    pub step: Step,
    /// How it ended, if it did.
    pub verdict: Option<Verdict>,
    /// Its message.
    pub message: Option<String>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

impl Record for Store {
    type Error = Error;

    async fn commit(&self, plan: &Plan, actor: &Actor, now: Timestamp) -> Result<(), Error> {
        within(rows(plan), async {
            let mut writing = self.write().await?;
            for (unit, steps) in by_unit(plan) {
                go_on(&mut writing.tx, &unit, &steps, now).await?;
            }
            let mut entries: Vec<Entry> = plan.steps.iter().map(|step| begun(plan, step, actor, now)).collect();
            self.append(&mut writing, &mut entries).await?;
            write(&mut writing.tx, plan, actor, now, &entries).await?;
            prune::prune(&mut writing.tx, writing.frontier.size(), plan.steps.len()).await?;
            writing.commit().await
        })
        .await
    }

    async fn unfinished(&self) -> Result<Vec<Step>, Error> {
        within(100_000, async {
            let mut tx = self.read().await?;
            let documents = "SELECT digest, document FROM content WHERE digest IN (SELECT content FROM step WHERE verdict IS NULL)";
            let documents = sqlx::query(documents).fetch_all(&mut *tx).await?;
            let steps = "SELECT document, content FROM step WHERE verdict IS NULL ORDER BY audit_entry";
            let steps = sqlx::query(steps).fetch_all(&mut *tx).await?;
            read(&steps, &documents, |_, step| Ok(step))
        })
        .await
    }

    async fn begun(&self, id: &StepId) -> Result<Option<Step>, Error> {
        within(0, async {
            let mut tx = self.read().await?;
            let documents = "SELECT digest, document FROM content WHERE digest IN (SELECT content FROM step WHERE id = $1)";
            let documents = query(documents, [id.0.as_str().into()]).fetch_all(&mut *tx).await?;
            let steps = "SELECT document, content FROM step WHERE id = $1 AND verdict IS NULL";
            let steps = query(steps, [id.0.as_str().into()]).fetch_all(&mut *tx).await?;
            Ok(read(&steps, &documents, |_, step| Ok(step))?.pop())
        })
        .await
    }

    async fn finish(&self, step: &RecordedStep, outcome: &Outcome) -> Result<(), Error> {
        let step = step.step();
        within(0, async {
            let mut writing = self.write().await?;
            let finish = "UPDATE step SET verdict = $2, message = $3, finished_at = $4 WHERE id = $1 AND verdict IS NULL RETURNING plan, audit_entry";
            let message = cut(&outcome.message, MESSAGE);
            let values = [step.id.0.as_str().into(), to_word(outcome.verdict).into(), message.as_str().into(), outcome.at.into()];
            let Some(row) = query(finish, values).fetch_optional(&mut *writing.tx).await? else {
                let known = query("SELECT id FROM step WHERE id = $1", [step.id.0.as_str().into()]).fetch_optional(&mut *writing.tx).await?;
                return known.map(drop).ok_or_else(|| Error::Damaged(format!("step {} was never recorded, or was pruned", step.id)));
            };
            let mut entries = [ended(step, outcome, message, text(&row, "plan")?, number(&row, "audit_entry")?)];
            settle(&mut writing.tx, step, outcome).await?;
            self.append(&mut writing, &mut entries).await?;
            writing.commit().await
        })
        .await
    }
}

/// How many rows of one kind a plan may write.
fn rows(plan: &Plan) -> usize {
    let of = |step: &Step| match &step.action {
        Action::Rollout(RolloutChange::Complete { adopted, .. }) => adopted.len(),
        Action::Rollout(RolloutChange::OpenBatch { devices, .. }) => devices.as_ref().map_or(0, Vec::len),
        _ => 0,
    };
    plan.steps.iter().map(|step| 1 + of(step)).sum()
}

/// The plan's steps for each unit that has a rollout: a Repository has none.
fn by_unit(plan: &Plan) -> BTreeMap<Name, Vec<&Step>> {
    let mut units: BTreeMap<Name, Vec<&Step>> = BTreeMap::new();
    for step in &plan.steps {
        if matches!(step.unit, Target::Deployment(_) | Target::Object(..)) {
            units.entry(step.unit.rollout()).or_default().push(step);
        }
    }
    units
}

/// Brings a rollout to where the plan's steps leave it.
async fn go_on(tx: &mut AnyConnection, unit: &Name, steps: &[&Step], now: Timestamp) -> Result<(), Error> {
    let old = excerpt(tx, unit, &Touched::by(steps)).await?;
    if let Some(step) = steps.iter().find(|step| step.expects_version != old.version) {
        return Err(Error::Conflict { unit: unit.to_string(), expected: step.expects_version });
    }
    let mut new = old.clone();
    for step in steps {
        match &step.action {
            Action::Rollout(change) => new.apply(change, now),
            _ => new.begin(step, now),
        }
    }
    if new.version == old.version { Ok(()) } else { save(tx, unit, &old, &new).await }
}

async fn settle(tx: &mut AnyConnection, step: &Step, outcome: &Outcome) -> Result<(), Error> {
    let unit = &step.unit.rollout();
    let old = excerpt(tx, unit, &Touched::by(&[step])).await?;
    let mut new = old.clone();
    new.settle(step, outcome);
    if new.version == old.version { Ok(()) } else { save(tx, unit, &old, &new).await }
}

async fn write(tx: &mut AnyConnection, plan: &Plan, actor: &Actor, now: Timestamp, entries: &[Entry]) -> Result<(), Error> {
    let row = [
        plan.id.0.as_str().into(),
        plan.revision.commit.as_str().into(),
        plan.revision.reference.as_str().into(),
        actor.kind.as_str().into(),
        actor.name.as_str().into(),
        actor.signer.as_deref().into(),
        now.into(),
    ];
    // The same steps can't be recorded twice, so neither can the same plan, unless it has no steps at all.
    let columns = "plan (id, commit_id, reference, actor_kind, actor_name, actor_signer, recorded_at)";
    insert(tx, columns, [row], "ON CONFLICT (id) DO NOTHING").await?;
    let (mut contents, mut rows) = (Contents::default(), Vec::with_capacity(plan.steps.len()));
    for (step, entry) in plan.steps.iter().zip(entries) {
        // What the store does itself is done when it is recorded.
        let done = step.action.work().is_none();
        let mut step = step.clone();
        let content = contents::take(&mut step.action).map(|content| contents.add(&content));
        rows.push([
            step.id.0.as_str().into(),
            plan.id.0.as_str().into(),
            entry.index.into(),
            to_json(&step).into(),
            content.as_deref().into(),
            done.then(|| to_word(Verdict::Done)).as_deref().into(),
            done.then_some(now).into(),
        ]);
    }
    contents.write(tx).await?;
    insert(tx, "step (id, plan, audit_entry, document, content, verdict, finished_at)", rows, "").await
}

/// Steps with their contents put back.
fn read<T>(rows: &[AnyRow], documents: &[AnyRow], shape: impl Fn(&AnyRow, Step) -> Result<T, Error>) -> Result<Vec<T>, Error> {
    let documents = contents::read(documents)?;
    let step = |row: &AnyRow| {
        let mut step: Step = json(row, "document")?;
        if let Some(digest) = maybe_text(row, "content")? {
            let content = documents.get(&digest).ok_or_else(|| Error::Damaged("step.content".into()))?;
            contents::put(&mut step.action, content.clone());
        }
        shape(row, step)
    };
    rows.iter().map(step).collect()
}

fn begun(plan: &Plan, step: &Step, actor: &Actor, now: Timestamp) -> Entry {
    Entry {
        index: 0,
        at: now,
        actor: actor.clone(),
        verb: step.action.word().to_owned(),
        target: step.target.to_string(),
        unit: step.unit.to_string(),
        plan: plan.id.to_string(),
        step: step.id.to_string(),
        changes: step.changes.iter().take(CHANGES).map(|change| cut(&change.to_string(), CHANGE)).collect(),
        message: cut(&step.reason, MESSAGE),
        outcome: if step.action.work().is_some() { "begun" } else { "done" }.into(),
        refers_to: None,
    }
}

fn ended(step: &Step, outcome: &Outcome, message: String, plan: String, begun: u64) -> Entry {
    Entry {
        index: 0,
        at: outcome.at,
        actor: Actor::engine(),
        verb: step.action.word().to_owned(),
        target: step.target.to_string(),
        unit: step.unit.to_string(),
        plan,
        step: step.id.to_string(),
        changes: Vec::new(),
        message,
        outcome: to_word(outcome.verdict),
        refers_to: Some(begun),
    }
}

impl Store {
    /// Recorded plans, the newest first; at most 1000.
    pub async fn plans(&self, limit: u32) -> Result<Vec<PlanRow>, Error> {
        let plans =
            "SELECT id, commit_id, actor_kind, actor_name, actor_signer, recorded_at FROM plan ORDER BY recorded_at DESC, id DESC LIMIT $1";
        let query = query(plans, [limit.min(PAGE).into()]);
        let rows = within(0, async { Ok(query.fetch_all(&self.pool).await?) }).await?;
        let read = |row: &AnyRow| {
            let signer = maybe_text(row, "actor_signer")?;
            Ok(PlanRow {
                id: text(row, "id")?,
                commit: text(row, "commit_id")?,
                actor: Actor { kind: text(row, "actor_kind")?, name: text(row, "actor_name")?, signer },
                recorded_at: time(row, "recorded_at")?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Up to 1000 steps of a recorded plan, in the order of their entries, after this one.
    pub async fn steps(&self, plan: &str, after: Option<u64>) -> Result<Vec<StepRow>, Error> {
        within(0, async {
            let mut tx = self.read().await?;
            let from = after.map_or(0, |after| after.saturating_add(1));
            let steps = "SELECT plan, audit_entry, document, content, verdict, message, finished_at FROM step WHERE plan = $1 AND audit_entry >= $2 ORDER BY audit_entry LIMIT $3";
            let rows = query(steps, [plan.into(), from.into(), PAGE.into()]).fetch_all(&mut *tx).await?;
            let documents = "SELECT digest, document FROM content WHERE digest IN (SELECT content FROM step WHERE plan = $1 AND audit_entry >= $2 ORDER BY audit_entry LIMIT $3)";
            let documents = query(documents, [plan.into(), from.into(), PAGE.into()]).fetch_all(&mut *tx).await?;
            read(&rows, &documents, |row, step| {
                let ended = row.try_get::<Option<&str>, _>("verdict")?.is_some();
                Ok(StepRow {
                    plan: text(row, "plan")?,
                    entry: number(row, "audit_entry")?,
                    step,
                    verdict: ended.then(|| word(row, "verdict")).transpose()?,
                    message: maybe_text(row, "message")?,
                    finished_at: maybe_time(row, "finished_at")?,
                })
            })
        })
        .await
    }
}
