//! One writer of alerts: whoever read them last.
//!
//! A lease says who plans, and a process that was paused does not know that it has lost it. So each write of alerts, and each look into
//! the outbox, says in whose name it is done, and is refused once somebody else has taken over: nothing is said twice by two of them.

use std::sync::atomic::Ordering;

use sqlx::AnyConnection;

use crate::rows::{Value, number, query};
use crate::{Error, Store};

/// What is taken over, as it is said to whoever had it.
const ALERTS: &str = "alerts";

impl Store {
    /// From now on this process is the one who writes alerts.
    pub(crate) async fn take_over_alerts(&self) -> Result<(), Error> {
        // In line with all other writers: what one of them has begun is there before this goes on.
        let mut writing = self.write().await?;
        let next = "UPDATE alert_writer SET generation = generation + 1 WHERE one = 1 RETURNING generation";
        let row = query(next, []).fetch_optional(&mut *writing.tx).await?;
        let generation: u64 = number(&row.ok_or_else(|| Error::Damaged("alert_writer".into()))?, "generation")?;
        writing.commit().await?;
        self.alert_writer.store(generation, Ordering::SeqCst);
        Ok(())
    }

    /// Refuses if somebody else has taken over; and nobody does before this transaction is over.
    pub(crate) async fn writes_alerts(&self, tx: &mut AnyConnection) -> Result<(), Error> {
        let Some(generation) = self.generation() else { return Ok(()) };
        let hold = "UPDATE alert_writer SET generation = generation WHERE one = 1 AND generation = $1";
        match query(hold, [generation]).execute(tx).await?.rows_affected() {
            0 => Err(Error::Replaced(ALERTS.into())),
            _ => Ok(()),
        }
    }

    /// The same for whoever only reads.
    pub(crate) async fn still_writes_alerts(&self) -> Result<(), Error> {
        let Some(generation) = self.generation() else { return Ok(()) };
        let still = "SELECT one FROM alert_writer WHERE one = 1 AND generation = $1";
        let row = query(still, [generation]).fetch_optional(&self.pool).await?;
        row.map(drop).ok_or_else(|| Error::Replaced(ALERTS.into()))
    }

    /// None: it never read the alerts, and is not one of those who write them in turn.
    fn generation(&self) -> Option<Value> {
        Some(self.alert_writer.load(Ordering::SeqCst)).filter(|generation| *generation > 0).map(Value::from)
    }
}
