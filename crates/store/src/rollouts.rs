//! Rollouts as rows: read as a whole at the start, and otherwise only what a transaction may touch.

mod save;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::TryStreamExt as _;
use reconcile::rollout::{Batch, Pause, WayBackSeen};
use reconcile::{Action, Content, Name, Phase, Placement, RevisionRecord, RevisionResult, Rollout, RolloutChange, Step, StepId};
use sqlx::any::AnyRow;
use sqlx::{Any, AnyConnection, Transaction};

use crate::open::within;
use crate::rows::{by_keys, flag, maybe_number, maybe_text, maybe_time, number, parse, query, text, time, word};
use crate::{Error, Store, contents};

pub(crate) use save::save;

/// Rows that all rollouts together are allowed time for.
const EVERYTHING: usize = 300_000;
const PLACEMENT: &str = "SELECT deployment, device, revision, digest, batch, phase, since, step, attempt, applied_at, healthy_before, way_back, no_way_back, undo, from_revision, failure, restore_failures, reboot_from FROM placement";

impl Store {
    /// What is remembered of every Deployment's rollouts.
    pub async fn rollouts(&self) -> Result<BTreeMap<Name, Rollout>, Error> {
        within(EVERYTHING, async {
            let mut tx = self.read().await?;
            let mut rollouts = BTreeMap::new();
            for row in sqlx::query("SELECT * FROM deployment").fetch_all(&mut *tx).await? {
                rollouts.insert(name(&row, "name")?, header(&row)?);
            }
            history(&mut tx, &mut rollouts).await?;
            batches(&mut tx, &mut rollouts).await?;
            for row in sqlx::query("SELECT deployment, id FROM approval").fetch_all(&mut *tx).await? {
                of(&mut rollouts, &row)?.approvals.insert(text(&row, "id")?);
            }
            let mut rows = sqlx::query(PLACEMENT).fetch(&mut *tx);
            while let Some(row) = rows.try_next().await? {
                of(&mut rollouts, &row)?.placements.insert(name(&row, "device")?, placement(&row)?);
            }
            Ok(rollouts)
        })
        .await
    }
}

async fn history(tx: &mut Transaction<'static, Any>, rollouts: &mut BTreeMap<Name, Rollout>) -> Result<(), Error> {
    let documents = "SELECT digest, document FROM content WHERE digest IN (SELECT content FROM revision)";
    let documents = contents::read(&sqlx::query(documents).fetch_all(&mut **tx).await?)?;
    for row in sqlx::query("SELECT * FROM revision ORDER BY deployment, number").fetch_all(&mut **tx).await? {
        let content = documents.get(&text(&row, "content")?).ok_or_else(|| Error::Damaged("revision.content".into()))?;
        of(rollouts, &row)?.history.push(revision(&row, content.clone())?);
    }
    Ok(())
}

async fn batches(tx: &mut Transaction<'static, Any>, rollouts: &mut BTreeMap<Name, Rollout>) -> Result<(), Error> {
    for row in sqlx::query("SELECT * FROM batch ORDER BY deployment, revision, number").fetch_all(&mut **tx).await? {
        let devices = (!flag(&row, "takes_rest")?).then(Vec::new);
        record(rollouts, &row)?.batches.push(Batch { devices, opened_at: time(&row, "opened_at")? });
    }
    let members = "SELECT deployment, revision, batch, device FROM batch_device ORDER BY deployment, revision, batch, position";
    let mut rows = sqlx::query(members).fetch(&mut **tx);
    while let Some(row) = rows.try_next().await? {
        let (batch, device): (usize, _) = (number(&row, "batch")?, name(&row, "device")?);
        let batch = record(rollouts, &row)?.batches.get_mut(batch.wrapping_sub(1));
        let devices = batch.and_then(|batch| batch.devices.as_mut());
        devices.ok_or_else(|| Error::Damaged("batch_device.batch".into()))?.push(device);
    }
    Ok(())
}

/// What of a unit's rollout a transaction may touch.
#[derive(Default)]
pub(crate) struct Touched<'a> {
    /// Revisions, batches and approvals.
    history: bool,
    /// Placements of these devices.
    devices: BTreeSet<&'a Name>,
    /// All placements: what is held anywhere stays in the history, and a resumed rollout is tried again wherever it failed.
    all: bool,
}

impl<'a> Touched<'a> {
    /// What [`Rollout::apply`], [`Rollout::begin`] and [`Rollout::settle`] may touch for these steps.
    pub(crate) fn by(steps: &[&'a Step]) -> Self {
        let mut touched = Self::default();
        for step in steps {
            match &step.action {
                Action::Rollout(change) => touched.change(change),
                _ => {
                    touched.devices.insert(step.target.name());
                }
            }
        }
        touched
    }

    fn change(&mut self, change: &'a RolloutChange) {
        self.history = true;
        match change {
            RolloutChange::Complete { adopted, .. } => self.devices.extend(adopted.iter().map(|(device, _)| device)),
            RolloutChange::Forget { device } => {
                self.devices.insert(device);
            }
            RolloutChange::Start { .. } | RolloutChange::Resume { .. } | RolloutChange::End => self.all = true,
            RolloutChange::OpenBatch { .. }
            | RolloutChange::RollBack { .. }
            | RolloutChange::RolledBack { .. }
            | RolloutChange::Stop { .. }
            | RolloutChange::Pause { .. }
            | RolloutChange::Approve { .. }
            | RolloutChange::Delete(_)
            | RolloutChange::Recreate => {}
        }
    }
}

/// Reads what of a unit's rollout may be touched, and no more. Contents and the members of batches are left out: no change of state
/// looks at them, nor changes them.
pub(crate) async fn excerpt(tx: &mut AnyConnection, unit: &Name, touched: &Touched<'_>) -> Result<Rollout, Error> {
    let unit = unit.full();
    let row = query("SELECT * FROM deployment WHERE name = $1", [unit.into()]).fetch_optional(&mut *tx).await?;
    let Some(row) = row else { return Ok(Rollout::default()) };
    let mut rollout = header(&row)?;
    if touched.history {
        for row in query("SELECT * FROM revision WHERE deployment = $1 ORDER BY number", [unit.into()]).fetch_all(&mut *tx).await? {
            rollout.history.push(revision(&row, contents::nothing())?);
        }
        let opened = "SELECT revision, opened_at FROM batch WHERE deployment = $1 ORDER BY revision, number";
        for row in query(opened, [unit.into()]).fetch_all(&mut *tx).await? {
            let batch = Batch { devices: None, opened_at: time(&row, "opened_at")? };
            find(&mut rollout, number(&row, "revision")?)?.batches.push(batch);
        }
        for row in query("SELECT id FROM approval WHERE deployment = $1", [unit.into()]).fetch_all(&mut *tx).await? {
            rollout.approvals.insert(text(&row, "id")?);
        }
    }
    let rows = if touched.all {
        by_keys(tx, &format!("{PLACEMENT} WHERE deployment IN"), None, &[unit]).await?
    } else {
        let devices: Vec<&str> = touched.devices.iter().map(|device| device.full()).collect();
        by_keys(tx, &format!("{PLACEMENT} WHERE deployment = $1 AND device IN"), Some(unit), &devices).await?
    };
    for row in &rows {
        rollout.placements.insert(name(row, "device")?, placement(row)?);
    }
    Ok(rollout)
}

fn header(row: &AnyRow) -> Result<Rollout, Error> {
    let by = maybe_text(row, "paused_by")?;
    let paused = by.map(|by| Ok::<_, Error>(Pause { by, at: time(row, "paused_at")? })).transpose()?;
    let deletion = maybe_text(row, "deletion")?.map(|document| parse(&document, "deployment.deletion")).transpose()?;
    Ok(Rollout { paused, deletion, numbered: number(row, "numbered")?, version: number(row, "version")?, ..Rollout::default() })
}

fn revision(row: &AnyRow, content: Arc<Content>) -> Result<RevisionRecord, Error> {
    let to = maybe_number(row, "back_to")?;
    let result: String = text(row, "result")?;
    let result = match result.as_str() {
        "progressing" => RevisionResult::Progressing,
        "complete" => RevisionResult::Complete,
        "rollingBack" => {
            RevisionResult::RollingBack { last_batch_only: maybe_number::<u8>(row, "last_batch_only")?.is_some_and(|yes| yes != 0), to }
        }
        "rolledBack" => RevisionResult::RolledBack { to },
        "stopped" => RevisionResult::Stopped,
        "superseded" => RevisionResult::Superseded,
        _ => return Err(Error::Damaged("revision.result".into())),
    };
    Ok(RevisionRecord {
        number: number(row, "number")?,
        digest: text(row, "content")?.into(),
        content,
        commit: text(row, "commit_id")?,
        author: text(row, "author")?,
        signer: maybe_text(row, "signer")?,
        started_at: time(row, "started_at")?,
        finished_at: maybe_time(row, "finished_at")?,
        result,
        reason: text(row, "reason")?,
        undone_by: maybe_text(row, "undone_by")?,
        batches: Vec::new(),
        revert: flag(row, "is_revert")?,
    })
}

fn placement(row: &AnyRow) -> Result<Placement, Error> {
    let way_back: String = text(row, "way_back")?;
    Ok(Placement {
        revision: number(row, "revision")?,
        digest: text(row, "digest")?.into(),
        batch: number(row, "batch")?,
        phase: word::<Phase>(row, "phase")?,
        since: time(row, "since")?,
        step: StepId(text(row, "step")?),
        attempt: number(row, "attempt")?,
        applied_at: maybe_time(row, "applied_at")?,
        healthy_before: flag(row, "healthy_before")?,
        way_back: match way_back.as_str() {
            "unknown" => WayBackSeen::Unknown,
            "proven" => WayBackSeen::Proven,
            _ => WayBackSeen::Missing(text(row, "no_way_back")?),
        },
        undo: maybe_text(row, "undo")?.map(StepId),
        from: maybe_number(row, "from_revision")?,
        failure: text(row, "failure")?,
        restore_failures: number(row, "restore_failures")?,
        reboot_from: maybe_text(row, "reboot_from")?,
    })
}

fn of<'a>(rollouts: &'a mut BTreeMap<Name, Rollout>, row: &AnyRow) -> Result<&'a mut Rollout, Error> {
    rollouts.get_mut(&name(row, "deployment")?).ok_or_else(|| Error::Damaged("deployment.name".into()))
}

fn record<'a>(rollouts: &'a mut BTreeMap<Name, Rollout>, row: &AnyRow) -> Result<&'a mut RevisionRecord, Error> {
    find(of(rollouts, row)?, number(row, "revision")?)
}

fn find(rollout: &mut Rollout, number: u32) -> Result<&mut RevisionRecord, Error> {
    rollout.history.iter_mut().find(|record| record.number == number).ok_or_else(|| Error::Damaged("batch.revision".into()))
}

fn name(row: &AnyRow, column: &str) -> Result<Name, Error> {
    Ok(Name::parse(&text(row, column)?))
}
