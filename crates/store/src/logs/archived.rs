//! How far the lines are archived. That a segment is there and that it counts as archived is written in one transaction, with its hash in
//! the audit log: a kill in between leaves a file that counts for nothing, and is written anew.

use jiff::Timestamp;

use crate::archive::Segment;
use crate::open::within;
use crate::rows::{number, query};
use crate::{Error, Store};

/// How it stands with the lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogTail {
    /// The number of the newest line.
    pub number: u64,
    /// Lines up to this number are archived.
    pub archived: u64,
}

impl Store {
    /// How it stands with the lines.
    pub async fn log_tail(&self) -> Result<LogTail, Error> {
        let query = sqlx::query("SELECT number, archived FROM log_tail WHERE one = 1");
        let row = within(0, async { Ok(query.fetch_one(&self.pool).await?) }).await?;
        Ok(LogTail { number: number(&row, "number")?, archived: number(&row, "archived")? })
    }

    /// Records a segment whose file is complete. `false`: another replica archived these lines, and the file counts for nothing.
    pub async fn record_segment(&self, segment: &Segment, now: Timestamp) -> Result<bool, Error> {
        within(0, async {
            let mut writing = self.write().await?;
            let statement = "UPDATE log_tail SET archived = $1 WHERE one = 1 AND archived = $2";
            let moved = query(statement, [segment.last.into(), segment.after.into()]).execute(&mut *writing.tx).await?;
            if moved.rows_affected() == 0 {
                return Ok(false);
            }
            self.append(&mut writing, &mut [segment.entry(now)]).await?;
            writing.commit().await?;
            Ok(true)
        })
        .await
    }
}
