//! Rollouts as rows: read once at the start, and then written by what changed.

use std::collections::{BTreeMap, BTreeSet};

use reconcile::rollout::{Batch, Pause};
use reconcile::{Name, Placement, RevisionRecord, Rollout};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use crate::log::{instant, number};
use crate::{Error, Store};

impl Store {
    pub(crate) async fn load_rollouts(&self) -> Result<BTreeMap<Name, Rollout>, Error> {
        let mut rollouts: BTreeMap<Name, Rollout> = BTreeMap::new();
        for row in sqlx::query("SELECT name, version, paused_by, paused_at FROM deployment").fetch_all(&self.pool).await? {
            let paused = match (text(&row, "paused_by")?, text(&row, "paused_at")?) {
                (Some(by), Some(at)) => Some(Pause { by, at: parse(&at)? }),
                _ => None,
            };
            let version = u64::try_from(row.try_get::<i64, _>("version")?).unwrap_or(0);
            rollouts.insert(name(&row, "name")?, Rollout { paused, version, ..Rollout::default() });
        }
        for row in sqlx::query("SELECT * FROM revision ORDER BY deployment, number").fetch_all(&self.pool).await? {
            if let Some(rollout) = rollouts.get_mut(&name(&row, "deployment")?) {
                rollout.history.push(revision(&row)?);
            }
        }
        let mut members: BTreeMap<(String, i64, i64), Vec<Name>> = BTreeMap::new();
        for row in sqlx::query("SELECT * FROM batch_device ORDER BY deployment, revision, batch, device").fetch_all(&self.pool).await? {
            let key = (row.try_get("deployment")?, row.try_get("revision")?, row.try_get("batch")?);
            members.entry(key).or_default().push(name(&row, "device")?);
        }
        for row in sqlx::query("SELECT * FROM batch ORDER BY deployment, revision, number").fetch_all(&self.pool).await? {
            let key = (row.try_get::<String, _>("deployment")?, row.try_get::<i64, _>("revision")?, row.try_get::<i64, _>("number")?);
            let takes_rest = row.try_get::<i64, _>("takes_rest")? != 0;
            let opened_at = parse(&row.try_get::<String, _>("opened_at")?)?;
            let batch = Batch { devices: (!takes_rest).then(|| members.remove(&key).unwrap_or_default()), opened_at };
            let record = rollouts
                .get_mut(&Name::parse(&key.0))
                .and_then(|rollout| rollout.history.iter_mut().find(|record| i64::from(record.number) == key.1));
            if let Some(record) = record {
                record.batches.push(batch);
            }
        }
        for row in sqlx::query("SELECT deployment, id FROM approval").fetch_all(&self.pool).await? {
            if let Some(rollout) = rollouts.get_mut(&name(&row, "deployment")?) {
                rollout.approvals.insert(row.try_get("id")?);
            }
        }
        for row in sqlx::query("SELECT deployment, device, state FROM placement").fetch_all(&self.pool).await? {
            if let Some(rollout) = rollouts.get_mut(&name(&row, "deployment")?) {
                let placement: Placement = json(&row.try_get::<String, _>("state")?)?;
                rollout.placements.insert(name(&row, "device")?, placement);
            }
        }
        Ok(rollouts)
    }
}

/// Writes what differs between two states of a rollout. The version in the database must still be the old one.
pub(crate) async fn save(tx: &mut AnyConnection, unit: &Name, old: &Rollout, new: &Rollout) -> Result<(), Error> {
    let conflict = || Error::Conflict { unit: unit.to_string(), expected: old.version };
    let (by, at) = new.paused.as_ref().map(|pause| (pause.by.clone(), instant(pause.at))).unzip();
    let statement = if old.version == 0 {
        "INSERT INTO deployment (name, version, paused_by, paused_at) VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO NOTHING"
    } else {
        "UPDATE deployment SET version = $2, paused_by = $3, paused_at = $4 WHERE name = $1 AND version = $5"
    };
    let mut query = sqlx::query(statement).bind(unit.full().to_owned()).bind(number(new.version)).bind(by).bind(at);
    if old.version != 0 {
        query = query.bind(number(old.version));
    }
    if query.execute(&mut *tx).await?.rows_affected() != 1 {
        return Err(conflict());
    }
    save_history(tx, unit, old, new).await?;
    save_approvals(tx, unit, old, new).await?;
    save_placements(tx, unit, old, new).await
}

async fn save_history(tx: &mut AnyConnection, unit: &Name, old: &Rollout, new: &Rollout) -> Result<(), Error> {
    let kept: BTreeSet<u32> = new.history.iter().map(|record| record.number).collect();
    for record in old.history.iter().filter(|record| !kept.contains(&record.number)) {
        sqlx::query("DELETE FROM revision WHERE deployment = $1 AND number = $2")
            .bind(unit.full().to_owned())
            .bind(i64::from(record.number))
            .execute(&mut *tx)
            .await?;
    }
    for record in &new.history {
        let before = old.revision(record.number);
        if before == Some(record) {
            continue;
        }
        // Content, digest, commit and author of a revision never change: only what became of it does.
        sqlx::query(
            "INSERT INTO revision (deployment, number, digest, content, commit_id, author, started_at, finished_at, result, reason, is_revert)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
             ON CONFLICT (deployment, number) DO UPDATE SET finished_at = excluded.finished_at, result = excluded.result, reason = excluded.reason",
        )
        .bind(unit.full().to_owned())
        .bind(i64::from(record.number))
        .bind(record.digest.as_str().to_owned())
        .bind(to_json(&record.content))
        .bind(record.commit.clone())
        .bind(record.author.clone())
        .bind(instant(record.started_at))
        .bind(record.finished_at.map(instant))
        .bind(to_json(&record.result))
        .bind(record.reason.clone())
        .bind(i64::from(record.revert))
        .execute(&mut *tx)
        .await?;
        let known = before.map_or(0, |before| before.batches.len());
        for (at, batch) in record.batches.iter().enumerate().skip(known) {
            save_batch(tx, unit, record.number, at + 1, batch).await?;
        }
    }
    Ok(())
}

async fn save_batch(tx: &mut AnyConnection, unit: &Name, revision: u32, at: usize, batch: &Batch) -> Result<(), Error> {
    let at = i64::try_from(at).unwrap_or(i64::MAX);
    sqlx::query("INSERT INTO batch (deployment, revision, number, opened_at, takes_rest) VALUES ($1, $2, $3, $4, $5)")
        .bind(unit.full().to_owned())
        .bind(i64::from(revision))
        .bind(at)
        .bind(instant(batch.opened_at))
        .bind(i64::from(batch.devices.is_none()))
        .execute(&mut *tx)
        .await?;
    for device in batch.devices.iter().flatten() {
        sqlx::query("INSERT INTO batch_device (deployment, revision, batch, device) VALUES ($1, $2, $3, $4)")
            .bind(unit.full().to_owned())
            .bind(i64::from(revision))
            .bind(at)
            .bind(device.full().to_owned())
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

async fn save_approvals(tx: &mut AnyConnection, unit: &Name, old: &Rollout, new: &Rollout) -> Result<(), Error> {
    for id in old.approvals.difference(&new.approvals) {
        sqlx::query("DELETE FROM approval WHERE deployment = $1 AND id = $2")
            .bind(unit.full().to_owned())
            .bind(id.clone())
            .execute(&mut *tx)
            .await?;
    }
    for id in new.approvals.difference(&old.approvals) {
        sqlx::query("INSERT INTO approval (deployment, id) VALUES ($1, $2)")
            .bind(unit.full().to_owned())
            .bind(id.clone())
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

async fn save_placements(tx: &mut AnyConnection, unit: &Name, old: &Rollout, new: &Rollout) -> Result<(), Error> {
    for device in old.placements.keys().filter(|device| !new.placements.contains_key(*device)) {
        sqlx::query("DELETE FROM placement WHERE deployment = $1 AND device = $2")
            .bind(unit.full().to_owned())
            .bind(device.full().to_owned())
            .execute(&mut *tx)
            .await?;
    }
    for (device, placement) in &new.placements {
        if old.placements.get(device) == Some(placement) {
            continue;
        }
        sqlx::query("INSERT INTO placement (deployment, device, state) VALUES ($1, $2, $3) ON CONFLICT (deployment, device) DO UPDATE SET state = excluded.state")
            .bind(unit.full().to_owned())
            .bind(device.full().to_owned())
            .bind(to_json(placement))
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

fn revision(row: &AnyRow) -> Result<RevisionRecord, Error> {
    Ok(RevisionRecord {
        number: u32::try_from(row.try_get::<i64, _>("number")?).map_err(|_| Error::Damaged("revision.number".into()))?,
        digest: row.try_get::<String, _>("digest")?.into(),
        content: json(&row.try_get::<String, _>("content")?)?,
        commit: row.try_get("commit_id")?,
        author: row.try_get("author")?,
        started_at: parse(&row.try_get::<String, _>("started_at")?)?,
        finished_at: text(row, "finished_at")?.map(|at| parse(&at)).transpose()?,
        result: json(&row.try_get::<String, _>("result")?)?,
        reason: row.try_get("reason")?,
        batches: Vec::new(),
        revert: row.try_get::<i64, _>("is_revert")? != 0,
    })
}

pub(crate) fn name(row: &AnyRow, column: &str) -> Result<Name, Error> {
    Ok(Name::parse(&row.try_get::<String, _>(column)?))
}

pub(crate) fn text(row: &AnyRow, column: &str) -> Result<Option<String>, Error> {
    Ok(row.try_get(column)?)
}

pub(crate) fn parse(at: &str) -> Result<jiff::Timestamp, Error> {
    at.parse().map_err(|error| Error::Damaged(format!("instant {at}: {error}")))
}

pub(crate) fn json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| Error::Damaged(error.to_string()))
}

pub(crate) fn to_json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("our own types always serialize")
}
