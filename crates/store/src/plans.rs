//! Recording plans, and what came of their steps.

use std::collections::BTreeMap;

use jiff::Timestamp;
use reconcile::record::{Actor, Record, RecordedStep};
use reconcile::{Action, Name, Outcome, Plan, Rollout, Step, Verdict};
use serde::Serialize;
use sqlx::{AnyConnection, Row as _};

use crate::audit::{Entry, cut};
use crate::log::{instant, number};
use crate::rollouts::{json, parse, save, text, to_json};
use crate::{Error, Store};

/// Bytes of a step's message that are kept.
const MESSAGE: usize = 8 << 10;
/// Changes of a step that are written into its audit entry.
const CHANGES: usize = 50;
/// Finished plans that are kept; the audit log keeps all acts for ever.
const PLANS: i64 = 2000;

/// A recorded plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanRow {
    /// Its id.
    pub id: String,
    /// The commit that it served.
    pub commit: String,
    /// When it was recorded.
    pub recorded_at: Timestamp,
}

/// A recorded step.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepRow {
    /// The plan.
    pub plan: String,
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
        let mut rollouts = self.rollouts.lock().await;
        let changed = apply(&rollouts, plan, now)?;
        let mut tx = self.pool.begin().await?;
        for (unit, new) in &changed {
            let old = rollouts.get(unit).cloned().unwrap_or_default();
            save(&mut tx, unit, &old, new).await?;
        }
        let mut entries: Vec<Entry> = plan.steps.iter().map(|step| begun(plan, step, actor, now)).collect();
        self.append(&mut tx, &mut entries).await?;
        insert(&mut tx, plan, actor, now, &entries).await?;
        tx.commit().await?;
        rollouts.extend(changed);
        Ok(())
    }

    async fn unfinished(&self) -> Result<Vec<Step>, Error> {
        let rows = sqlx::query("SELECT document FROM step WHERE verdict IS NULL ORDER BY id").fetch_all(&self.pool).await?;
        rows.iter().map(|row| json(&row.try_get::<String, _>("document")?)).collect()
    }

    async fn finish(&self, step: &RecordedStep, outcome: &Outcome) -> Result<(), Error> {
        let step = step.step();
        let unit = step.unit.name();
        let mut rollouts = self.rollouts.lock().await;
        let old = rollouts.get(unit).cloned().unwrap_or_default();
        let mut new = old.clone();
        new.settle(step, outcome);
        let mut tx = self.pool.begin().await?;
        let row = sqlx::query("SELECT plan, audit_index, verdict FROM step WHERE id = $1")
            .bind(step.id.0.clone())
            .fetch_optional(&mut *tx)
            .await?;
        let row = row.ok_or_else(|| Error::Damaged(format!("step {} was never recorded", step.id)))?;
        if text(&row, "verdict")?.is_some() {
            return Ok(());
        }
        sqlx::query("UPDATE step SET verdict = $2, message = $3, finished_at = $4 WHERE id = $1")
            .bind(step.id.0.clone())
            .bind(to_json(&outcome.verdict))
            .bind(cut(&outcome.message, MESSAGE))
            .bind(instant(outcome.at))
            .execute(&mut *tx)
            .await?;
        let begun = u64::try_from(row.try_get::<i64, _>("audit_index")?).unwrap_or(0);
        let mut entries = [ended(step, outcome, row.try_get("plan")?, begun)];
        self.append(&mut tx, &mut entries).await?;
        if new.version != old.version {
            save(&mut tx, unit, &old, &new).await?;
        }
        tx.commit().await?;
        rollouts.insert(unit.clone(), new);
        Ok(())
    }
}

/// The state that the plan leaves each rollout in.
fn apply(rollouts: &BTreeMap<Name, Rollout>, plan: &Plan, now: Timestamp) -> Result<BTreeMap<Name, Rollout>, Error> {
    let mut changed: BTreeMap<Name, Rollout> = BTreeMap::new();
    for step in &plan.steps {
        let unit = step.unit.name();
        if !changed.contains_key(unit) {
            let rollout = rollouts.get(unit).cloned().unwrap_or_default();
            if rollout.version != step.expects_version {
                return Err(Error::Conflict { unit: unit.to_string(), expected: step.expects_version });
            }
            changed.insert(unit.clone(), rollout);
        }
        let rollout = changed.get_mut(unit).expect("just inserted");
        match &step.action {
            Action::Rollout(change) => rollout.apply(change, now),
            _ => rollout.begin(step, now),
        }
    }
    Ok(changed)
}

async fn insert(tx: &mut AnyConnection, plan: &Plan, actor: &Actor, now: Timestamp, entries: &[Entry]) -> Result<(), Error> {
    // The same steps can't be recorded twice, so neither can the same plan, unless it has no steps at all.
    sqlx::query("INSERT INTO plan (id, commit_id, reference, actor, recorded_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO NOTHING")
        .bind(plan.id.0.clone())
        .bind(plan.revision.commit.clone())
        .bind(plan.revision.reference.clone())
        .bind(to_json(actor))
        .bind(instant(now))
        .execute(&mut *tx)
        .await?;
    for (step, entry) in plan.steps.iter().zip(entries) {
        // What the store does itself is done when it is recorded.
        let done = step.action.work().is_none();
        sqlx::query("INSERT INTO step (id, plan, unit, target, verb, document, audit_index, verdict, finished_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)")
            .bind(step.id.0.clone())
            .bind(plan.id.0.clone())
            .bind(step.unit.to_string())
            .bind(step.target.to_string())
            .bind(step.action.word().to_owned())
            .bind(to_json(step))
            .bind(number(entry.index))
            .bind(done.then(|| to_json(&Verdict::Done)))
            .bind(done.then(|| instant(now)))
            .execute(&mut *tx)
            .await?;
    }
    prune(tx).await
}

/// Forgets the oldest finished plans beyond the bound.
async fn prune(tx: &mut AnyConnection) -> Result<(), Error> {
    let row = sqlx::query("SELECT recorded_at FROM plan ORDER BY recorded_at DESC LIMIT 1 OFFSET $1")
        .bind(PLANS)
        .fetch_optional(&mut *tx)
        .await?;
    let Some(row) = row else { return Ok(()) };
    let until: String = row.try_get("recorded_at")?;
    sqlx::query("DELETE FROM step WHERE verdict IS NOT NULL AND plan IN (SELECT id FROM plan WHERE recorded_at <= $1)")
        .bind(until.clone())
        .execute(&mut *tx)
        .await?;
    sqlx::query("DELETE FROM plan WHERE recorded_at <= $1 AND id NOT IN (SELECT plan FROM step)").bind(until).execute(&mut *tx).await?;
    Ok(())
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
        changes: step.changes.iter().take(CHANGES).map(ToString::to_string).collect(),
        message: cut(&step.reason, MESSAGE),
        outcome: if step.action.work().is_some() { "begun" } else { "done" }.into(),
        refers_to: None,
    }
}

fn ended(step: &Step, outcome: &Outcome, plan: String, begun: u64) -> Entry {
    let word = match outcome.verdict {
        Verdict::Done => "done",
        Verdict::Failed => "failed",
        Verdict::Refused => "refused",
    };
    Entry {
        index: 0,
        at: outcome.at,
        actor: Actor { kind: "engine".into(), name: "evenkeel".into(), signer: None },
        verb: step.action.word().to_owned(),
        target: step.target.to_string(),
        unit: step.unit.to_string(),
        plan,
        step: step.id.to_string(),
        changes: Vec::new(),
        message: cut(&outcome.message, MESSAGE),
        outcome: word.into(),
        refers_to: Some(begun),
    }
}

impl Store {
    /// Recorded plans, the newest first.
    pub async fn plans(&self, limit: u32) -> Result<Vec<PlanRow>, Error> {
        let rows = sqlx::query("SELECT id, commit_id, recorded_at FROM plan ORDER BY recorded_at DESC LIMIT $1")
            .bind(i64::from(limit.min(1000)))
            .fetch_all(&self.pool)
            .await?;
        let read = |row: &sqlx::any::AnyRow| {
            Ok(PlanRow {
                id: row.try_get("id")?,
                commit: row.try_get("commit_id")?,
                recorded_at: parse(&row.try_get::<String, _>("recorded_at")?)?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// The steps of a recorded plan.
    pub async fn steps(&self, plan: &str) -> Result<Vec<StepRow>, Error> {
        let rows = sqlx::query("SELECT plan, document, verdict, message, finished_at FROM step WHERE plan = $1 ORDER BY audit_index")
            .bind(plan.to_owned())
            .fetch_all(&self.pool)
            .await?;
        let read = |row: &sqlx::any::AnyRow| {
            Ok(StepRow {
                plan: row.try_get("plan")?,
                step: json(&row.try_get::<String, _>("document")?)?,
                verdict: text(row, "verdict")?.map(|verdict| json(&verdict)).transpose()?,
                message: text(row, "message")?,
                finished_at: text(row, "finished_at")?.map(|at| parse(&at)).transpose()?,
            })
        };
        rows.iter().map(read).collect()
    }
}
