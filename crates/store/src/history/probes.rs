//! The states of probes over time.

use jiff::Timestamp;
use reconcile::{Name, ProbeCode, ProbeState};
use sqlx::any::AnyRow;

use crate::audit::cut;
use crate::open::within;
use crate::rows::{query, text, time, to_word, word};
use crate::{Error, Store};

/// States of a probe that are kept.
pub(super) const EACH: u32 = 500;
/// Rows of one answer at most: as many as ten probes have.
const MOST: u32 = 5000;
/// Bytes of a reason that are kept.
const REASON: usize = 200;
const OTHERWISE: &str = "INSERT INTO probe_change (device, probe, at, state, code, reason)
    SELECT CAST($1 AS TEXT), CAST($2 AS TEXT), CAST($3 AS TEXT), CAST($4 AS TEXT), CAST($5 AS TEXT), CAST($6 AS TEXT)
    WHERE COALESCE((SELECT state FROM probe_change WHERE device = CAST($1 AS TEXT) AND probe = CAST($2 AS TEXT) ORDER BY at DESC LIMIT 1), '') <> CAST($4 AS TEXT)
    ON CONFLICT (device, probe, at) DO NOTHING";

/// A probe came into another state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeChange {
    /// The device.
    pub device: Name,
    /// The probe.
    pub probe: String,
    /// When.
    pub at: Timestamp,
    /// Into which.
    pub state: ProbeState,
    /// What its last run came to.
    pub code: ProbeCode,
    /// Why.
    pub reason: String,
}

impl Store {
    /// Writes down states of probes, but for those that a probe was in last: a start sees each of them again.
    pub async fn record_probe_changes(&self, changes: &[ProbeChange]) -> Result<(), Error> {
        within(changes.len(), async {
            let mut tx = self.pool.begin().await?;
            for change in changes {
                let ProbeChange { device, probe, at, state, code, reason } = change;
                let (state, code) = (to_word(state), to_word(code));
                let values =
                    [device.full().into(), probe.as_str().into(), (*at).into(), state.into(), code.into(), cut(reason, REASON).into()];
                query(OTHERWISE, values).execute(&mut *tx).await?;
            }
            Ok(tx.commit().await?)
        })
        .await
    }

    /// The states of a device's probes since then, and of each the one before that, the oldest first.
    pub async fn probe_changes(&self, device: &Name, since: Timestamp) -> Result<Vec<ProbeChange>, Error> {
        let columns = "probe, at, state, code, reason";
        let newest = format!("SELECT {columns} FROM probe_change WHERE device = $1 AND at >= $2 ORDER BY at DESC LIMIT $3");
        let before = format!(
            "SELECT {columns} FROM probe_change AS one WHERE device = $1 AND at = (SELECT MAX(at) FROM probe_change AS older WHERE older.device = one.device AND older.probe = one.probe AND older.at < $2) ORDER BY at DESC LIMIT $3"
        );
        let mut changes = Vec::new();
        for statement in [newest, before] {
            let rows = self.readers.all(statement, [device.full().into(), since.into(), MOST.into()]).await?;
            for row in &rows {
                changes.push(change(device, row)?);
            }
        }
        changes.reverse();
        Ok(changes)
    }
}

fn change(device: &Name, row: &AnyRow) -> Result<ProbeChange, Error> {
    let (state, code) = (word(row, "state")?, word(row, "code")?);
    Ok(ProbeChange { device: device.clone(), probe: text(row, "probe")?, at: time(row, "at")?, state, code, reason: text(row, "reason")? })
}
