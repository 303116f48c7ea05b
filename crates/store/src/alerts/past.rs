//! Alerts that are over: written when they come to be well, and kept for a while.

use jiff::{SignedDuration, Timestamp};
use reconcile::Name;
use reconcile::alerting::state::Instance;
use sqlx::AnyConnection;

use crate::rows::{Value, insert, json, query, to_json};
use crate::{Error, Store};

/// How long what is over is remembered: as long as what was said of it.
pub const ALERTS_KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Alerts of one answer at most.
const MOST: usize = 1000;
/// Old ones that go with one write, beside as many as it adds.
const PRUNED: usize = 200;
pub(crate) const OLD: &str = "DELETE FROM alert_history WHERE (id, rule, device) IN (SELECT id, rule, device FROM alert_history WHERE resolved_at < $1 ORDER BY resolved_at LIMIT $2)";

/// One of them.
pub(crate) const ONE: &str = "SELECT document FROM alert_history WHERE id = $1 ORDER BY resolved_at DESC LIMIT 1";

/// Where a page of what is over goes on: behind the alert that came to be well then, by its name.
pub type Behind = (Timestamp, String);

/// Which alerts that are over are asked for.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// Only those that came to be well since then.
    pub since: Timestamp,
    /// Only those behind this one: the next page.
    pub behind: Option<Behind>,
    /// Only of this AlertRule.
    pub rule: Option<Name>,
    /// Only on this device.
    pub device: Option<Name>,
}

impl Past {
    /// The statement that asks for them, so many at most, with its values.
    pub(crate) fn statement(&self, limit: usize) -> (String, Vec<Value>) {
        let Self { since, behind, rule, device } = self;
        let mut text = "SELECT document FROM alert_history WHERE resolved_at >= $1".to_owned();
        let mut values = vec![Value::from(*since)];
        if let Some((at, id)) = behind {
            text.push_str(" AND (resolved_at, id) < ($2, $3)");
            values.push(Value::from(*at));
            values.push(Value::from(id.as_str()));
        }
        for (column, name) in [("rule", rule), ("device", device)] {
            if let Some(name) = name {
                values.push(Value::from(name.full()));
                text.push_str(&format!(" AND {column} = ${}", values.len()));
            }
        }
        values.push(Value::from(limit.clamp(1, MOST)));
        (format!("{text} ORDER BY resolved_at DESC, id DESC LIMIT ${}", values.len()), values)
    }
}

/// Writes down those that fired and are well now.
pub(super) async fn remember<'a>(tx: &mut AnyConnection, alerts: impl Iterator<Item = &'a Instance>, now: Timestamp) -> Result<(), Error> {
    let row = |alert: &Instance| {
        let resolved_at = alert.resolved_at.filter(|_| alert.fired_at.is_some())?;
        let (rule, device) = (alert.subject.rule.full(), alert.subject.device.full());
        Some([alert.id.as_str().into(), rule.into(), device.into(), resolved_at.into(), to_json(alert).into()])
    };
    let rows: Vec<_> = alerts.filter_map(row).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let pruned = rows.len() + PRUNED;
    let replace = "ON CONFLICT (id, rule, device) DO UPDATE SET resolved_at = excluded.resolved_at, document = excluded.document";
    insert(tx, "alert_history (id, rule, device, resolved_at, document)", rows, replace).await?;
    let old = now.checked_sub(ALERTS_KEPT).unwrap_or(Timestamp::MIN);
    query(OLD, [old.into(), pruned.into()]).execute(&mut *tx).await?;
    Ok(())
}

impl Store {
    /// Alerts that are over, those that came to be well last first; at most 1000.
    pub async fn past_alerts(&self, past: &Past, limit: usize) -> Result<Vec<Instance>, Error> {
        let (statement, values) = past.statement(limit);
        let rows = self.readers.all(statement, values).await?;
        rows.iter().map(|row| json(row, "document")).collect()
    }

    /// An alert of this name that is over, if it is remembered: the newest.
    pub async fn past_alert(&self, id: &str) -> Result<Option<Instance>, Error> {
        let rows = self.readers.all(ONE, [id.into()]).await?;
        rows.first().map(|row| json(row, "document")).transpose()
    }
}
