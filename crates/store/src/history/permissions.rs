//! What Roles allowed, from when until when.

use std::collections::BTreeSet;

use jiff::Timestamp;
use reconcile::Name;
use serde::Serialize;
use sqlx::any::AnyRow;

use crate::open::within;
use crate::rows::{insert, maybe_time, query, text, time};
use crate::{Error, Store};

/// Rows of one answer at most.
const MOST: u32 = 10_000;
const KEY: &str = "SELECT role, subject, verb, kind, devices FROM permission WHERE valid_to IS NULL";

/// A Role allows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Permission {
    /// The Role.
    pub role: Name,
    /// Whom: `user:ann`, `group:ops`, `signer:…`.
    pub subject: String,
    /// What.
    pub verb: String,
    /// To which kind; empty: to every one.
    pub kind: String,
    /// About which devices, as JSON text; empty: about every one.
    pub devices: String,
}

/// A Role allows it, or did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PermissionRow {
    /// What.
    #[serde(flatten)]
    pub permission: Permission,
    /// Since when.
    pub from: Timestamp,
    /// By which commit.
    pub commit: String,
    /// Until when, if it is over.
    pub to: Option<Timestamp>,
}

impl Store {
    /// What Roles allow by now: what else they did has ended.
    pub async fn record_permissions(&self, allowed: &BTreeSet<Permission>, commit: &str, now: Timestamp) -> Result<(), Error> {
        within(allowed.len() * 2, async {
            let mut tx = self.pool.begin().await?;
            let rows = sqlx::query(KEY).fetch_all(&mut *tx).await?;
            let before: BTreeSet<Permission> = rows.iter().map(permission).collect::<Result<_, _>>()?;
            for ended in before.difference(allowed) {
                let Permission { role, subject, verb, kind, devices } = ended.clone();
                let end = "UPDATE permission SET valid_to = $1 WHERE role = $2 AND subject = $3 AND verb = $4 AND kind = $5 AND devices = $6 AND valid_to IS NULL";
                let values = [now.into(), role.full().into(), subject.into(), verb.into(), kind.into(), devices.into()];
                query(end, values).execute(&mut *tx).await?;
            }
            let rows = allowed.difference(&before).map(|begun| {
                let Permission { role, subject, verb, kind, devices } = begun.clone();
                [role.full().into(), subject.into(), verb.into(), kind.into(), devices.into(), now.into(), commit.into()]
            });
            // Given back at the very instant at which it was taken away, as a clock that was put back has it.
            let again = "ON CONFLICT (role, subject, verb, kind, devices, valid_from) DO UPDATE SET valid_to = NULL";
            insert(&mut tx, "permission (role, subject, verb, kind, devices, valid_from, commit_id)", rows, again).await?;
            Ok(tx.commit().await?)
        })
        .await
    }

    /// What Roles allowed at that time, to everybody or to one subject.
    pub async fn permissions_at(&self, at: Timestamp, subject: Option<&str>) -> Result<Vec<PermissionRow>, Error> {
        let columns = "role, subject, verb, kind, devices, valid_from, commit_id, valid_to";
        let mut statement = format!("SELECT {columns} FROM permission WHERE valid_from <= $1 AND (valid_to IS NULL OR valid_to > $1)");
        let mut values = vec![at.into()];
        if let Some(subject) = subject {
            statement += " AND subject = $2";
            values.push(subject.into());
        }
        statement += &format!(" ORDER BY role, subject, verb, kind, devices LIMIT {MOST}");
        let rows = self.readers.all(statement, values).await?;
        let row = |row: &AnyRow| {
            let (from, to) = (time(row, "valid_from")?, maybe_time(row, "valid_to")?);
            Ok(PermissionRow { permission: permission(row)?, from, commit: text(row, "commit_id")?, to })
        };
        rows.iter().map(row).collect()
    }
}

fn permission(row: &AnyRow) -> Result<Permission, Error> {
    let role = Name::parse(&text(row, "role")?);
    Ok(Permission {
        role,
        subject: text(row, "subject")?,
        verb: text(row, "verb")?,
        kind: text(row, "kind")?,
        devices: text(row, "devices")?,
    })
}
