//! What was so once: devices and the commits that changed them, the states of their probes, and what Roles allowed.
//!
//! All of it is written on change, beside what the engine does: nothing waits for it, and nothing is decided by it.

mod devices;
mod permissions;
mod probes;

use jiff::{SignedDuration, Timestamp};

use crate::open::within;
use crate::rows::{Value, query};
use crate::{Error, Store};

pub use devices::{DeviceChange, DeviceRow};
pub use permissions::{Permission, PermissionRow};
pub use probes::ProbeChange;

/// How long it is known who changed what: a year, and what the same month of it can be compared with.
const KEPT: SignedDuration = SignedDuration::from_hours(400 * 24);
/// How long states of probes are: as long as the finer samples, beside which they are shown.
const PROBES_KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Rows that one statement removes: others get their turn in between.
const ROWS: u32 = 5000;
/// Such statements in a row; what is left is removed the next time.
const ROUNDS: usize = 100;

impl Store {
    /// Throws away what is older than it is kept.
    pub async fn tidy_history(&self, now: Timestamp) -> Result<(), Error> {
        let before = |kept: SignedDuration| now.checked_sub(kept).unwrap_or(Timestamp::MIN);
        let (old, old_probes) = (before(KEPT), before(PROBES_KEPT));
        let probes =
            "DELETE FROM probe_change WHERE (device, probe, at) IN (SELECT device, probe, at FROM probe_change WHERE at < $1 LIMIT $2)";
        self.remove_old(probes, old_probes).await?;
        self.tidy_probes().await?;
        let changes = "DELETE FROM device_change WHERE (device, at) IN (SELECT device, at FROM device_change WHERE at < $1 LIMIT $2)";
        self.remove_old(changes, old).await?;
        let gone = "SELECT name FROM device WHERE removed_at < $1";
        let of_gone = [
            format!(
                "DELETE FROM device_change WHERE (device, at) IN (SELECT device, at FROM device_change WHERE device IN ({gone}) LIMIT $2)"
            ),
            format!(
                "DELETE FROM device_label WHERE (device, label) IN (SELECT device, label FROM device_label WHERE device IN ({gone}) LIMIT $2)"
            ),
            format!("DELETE FROM device WHERE name IN ({gone} LIMIT $2)"),
        ];
        for statement in of_gone {
            self.remove_old(&statement, old).await?;
        }
        let key = "role, subject, verb, kind, devices, valid_from";
        let ended = format!("DELETE FROM permission WHERE ({key}) IN (SELECT {key} FROM permission WHERE valid_to < $1 LIMIT $2)");
        self.remove_old(&ended, old).await
    }

    async fn remove_old(&self, statement: &str, before: Timestamp) -> Result<(), Error> {
        for _ in 0..ROUNDS {
            let query = [before.into(), Value::from(ROWS)]
                .into_iter()
                .fold(sqlx::query(sqlx::AssertSqlSafe(statement.to_owned())), |query, value| value.bind(query));
            let removed = within(ROWS as usize, async { Ok(query.execute(&self.pool).await?.rows_affected()) }).await?;
            if removed < u64::from(ROWS) {
                break;
            }
        }
        Ok(())
    }

    /// Of a probe that changes all the time only the newest states are kept.
    async fn tidy_probes(&self) -> Result<(), Error> {
        let many = "SELECT device, probe FROM probe_change GROUP BY device, probe HAVING COUNT(*) > $1 LIMIT 1000";
        let rows = self.readers.all(many, [Value::from(probes::EACH)]).await?;
        for row in rows {
            let (device, probe) = (crate::rows::text(&row, "device")?, crate::rows::text(&row, "probe")?);
            let older = "DELETE FROM probe_change WHERE device = $1 AND probe = $2 AND at <= (SELECT at FROM probe_change WHERE device = $1 AND probe = $2 ORDER BY at DESC LIMIT 1 OFFSET $3)";
            let delete = query(older, [device.into(), probe.into(), probes::EACH.into()]);
            within(0, async { Ok(delete.execute(&self.pool).await.map(drop)?) }).await?;
        }
        Ok(())
    }
}
