//! Writing what differs between two states of a rollout.

use std::collections::BTreeSet;

use reconcile::rollout::{Batch, WayBackSeen};
use reconcile::{Name, Placement, RevisionRecord, RevisionResult, Rollout};
use sqlx::AnyConnection;

use crate::Error;
use crate::contents::{self, Contents};
use crate::rows::{Value, by_keys, insert, text, to_json, to_word};

const DEPLOYMENT: &str = "deployment (name, version, paused_by, paused_at, deletion, numbered)";
const REVISION: &str = "revision (deployment, number, content, commit_id, author, signer, is_revert, started_at, finished_at, result, last_batch_only, back_to, reason, undone_by)";
const PLACEMENT: &str = "placement (deployment, device, revision, digest, batch, phase, since, step, attempt, applied_at, healthy_before, way_back, no_way_back, undo, from_revision, failure, restore_failures, reboot_from)";

/// Writes what differs between two excerpts of a unit's rollout.
pub(crate) async fn save(tx: &mut AnyConnection, unit: &Name, old: &Rollout, new: &Rollout) -> Result<(), Error> {
    let unit = unit.full();
    let paused = new.paused.as_ref();
    let deletion = new.deletion.as_ref().map(to_json);
    let row = [
        unit.into(),
        new.version.into(),
        paused.map(|pause| pause.by.as_str()).into(),
        paused.map(|pause| pause.at).into(),
        deletion.as_deref().into(),
        new.numbered.into(),
    ];
    let replace = "ON CONFLICT (name) DO UPDATE SET version = excluded.version, paused_by = excluded.paused_by, paused_at = excluded.paused_at, deletion = excluded.deletion, numbered = excluded.numbered";
    insert(tx, DEPLOYMENT, [row], replace).await?;
    save_history(tx, unit, old, new).await?;
    save_approvals(tx, unit, old, new).await?;
    save_placements(tx, unit, old, new).await
}

async fn save_history(tx: &mut AnyConnection, unit: &str, old: &Rollout, new: &Rollout) -> Result<(), Error> {
    let mut left = BTreeSet::new();
    for record in old.history.iter().filter(|record| new.revision(record.number).is_none()) {
        let delete = "DELETE FROM revision WHERE deployment = $1 AND number = $2 RETURNING content";
        for row in crate::rows::query(delete, [unit.into(), record.number.into()]).fetch_all(&mut *tx).await? {
            left.insert(text(&row, "content")?);
        }
    }
    contents::sweep(tx, left).await?;
    let (mut contents, mut rows) = (Contents::default(), Vec::new());
    for record in new.history.iter().filter(|record| old.revision(record.number) != Some(*record)) {
        let content = match old.revision(record.number) {
            // It is there, and never changes.
            Some(_) => record.digest.as_str().to_owned(),
            None => contents.add(&record.content),
        };
        rows.push(revision(unit, record, content));
    }
    contents.write(tx).await?;
    // Content, commit, author and signer of a revision never change: only what became of it does.
    let replace = "ON CONFLICT (deployment, number) DO UPDATE SET finished_at = excluded.finished_at, result = excluded.result, last_batch_only = excluded.last_batch_only, back_to = excluded.back_to, reason = excluded.reason, undone_by = excluded.undone_by";
    insert(tx, REVISION, rows, replace).await?;
    for record in &new.history {
        let known = old.revision(record.number).map_or(0, |before| before.batches.len());
        for (at, batch) in record.batches.iter().enumerate().skip(known) {
            save_batch(tx, unit, record.number, at + 1, batch).await?;
        }
    }
    Ok(())
}

fn revision(unit: &str, record: &RevisionRecord, content: String) -> [Value; 14] {
    let (result, last_batch_only, to) = match record.result {
        RevisionResult::Progressing => ("progressing", None, None),
        RevisionResult::Complete => ("complete", None, None),
        RevisionResult::RollingBack { last_batch_only, to } => ("rollingBack", Some(last_batch_only), to),
        RevisionResult::RolledBack { to } => ("rolledBack", None, to),
        RevisionResult::Stopped => ("stopped", None, None),
        RevisionResult::Superseded => ("superseded", None, None),
    };
    [
        unit.into(),
        record.number.into(),
        content.into(),
        record.commit.as_str().into(),
        record.author.as_str().into(),
        record.signer.as_deref().into(),
        record.revert.into(),
        record.started_at.into(),
        record.finished_at.into(),
        result.into(),
        last_batch_only.into(),
        to.into(),
        record.reason.as_str().into(),
        record.undone_by.as_deref().into(),
    ]
}

async fn save_batch(tx: &mut AnyConnection, unit: &str, revision: u32, at: usize, batch: &Batch) -> Result<(), Error> {
    let row = [unit.into(), revision.into(), at.into(), batch.opened_at.into(), batch.devices.is_none().into()];
    insert(tx, "batch (deployment, revision, number, opened_at, takes_rest)", [row], "").await?;
    let devices = batch.devices.iter().flatten().enumerate();
    let rows = devices.map(|(position, device)| [unit.into(), revision.into(), at.into(), position.into(), device.full().into()]);
    insert(tx, "batch_device (deployment, revision, batch, position, device)", rows, "").await
}

async fn save_approvals(tx: &mut AnyConnection, unit: &str, old: &Rollout, new: &Rollout) -> Result<(), Error> {
    let gone: Vec<&str> = old.approvals.difference(&new.approvals).map(String::as_str).collect();
    by_keys(tx, "DELETE FROM approval WHERE deployment = $1 AND id IN", Some(unit), &gone).await?;
    let rows = new.approvals.difference(&old.approvals).map(|id| [unit.into(), id.as_str().into()]);
    insert(tx, "approval (deployment, id)", rows, "").await
}

async fn save_placements(tx: &mut AnyConnection, unit: &str, old: &Rollout, new: &Rollout) -> Result<(), Error> {
    let gone: Vec<&str> = old.placements.keys().filter(|device| !new.placements.contains_key(*device)).map(Name::full).collect();
    by_keys(tx, "DELETE FROM placement WHERE deployment = $1 AND device IN", Some(unit), &gone).await?;
    let changed = new.placements.iter().filter(|(device, placement)| old.placements.get(*device) != Some(*placement));
    let rows = changed.map(|(device, placement)| row(unit, device, placement));
    let replace = "ON CONFLICT (deployment, device) DO UPDATE SET revision = excluded.revision, digest = excluded.digest, batch = excluded.batch, phase = excluded.phase, since = excluded.since, step = excluded.step, attempt = excluded.attempt, applied_at = excluded.applied_at, healthy_before = excluded.healthy_before, way_back = excluded.way_back, no_way_back = excluded.no_way_back, undo = excluded.undo, from_revision = excluded.from_revision, failure = excluded.failure, restore_failures = excluded.restore_failures, reboot_from = excluded.reboot_from";
    insert(tx, PLACEMENT, rows, replace).await
}

fn row(unit: &str, device: &Name, placement: &Placement) -> [Value; 18] {
    // Every field by its name: a new one must find its column.
    let Placement {
        revision,
        digest,
        batch,
        phase,
        since,
        step,
        attempt,
        applied_at,
        healthy_before,
        way_back,
        undo,
        from,
        failure,
        restore_failures,
        reboot_from,
    } = placement;
    let (way_back, missing) = match way_back {
        WayBackSeen::Unknown => ("unknown", None),
        WayBackSeen::Proven => ("proven", None),
        WayBackSeen::Missing(why) => ("missing", Some(why.as_str())),
    };
    [
        unit.into(),
        device.full().into(),
        (*revision).into(),
        digest.as_str().into(),
        (*batch).into(),
        to_word(phase).into(),
        (*since).into(),
        step.0.as_str().into(),
        (*attempt).into(),
        (*applied_at).into(),
        (*healthy_before).into(),
        way_back.into(),
        missing.into(),
        undo.as_ref().map(|step| step.0.as_str()).into(),
        (*from).into(),
        failure.as_str().into(),
        (*restore_failures).into(),
        reboot_from.as_deref().into(),
    ]
}
