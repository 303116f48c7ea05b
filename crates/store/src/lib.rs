//! What is remembered: plans, outcomes, rollouts and the audit log, in PostgreSQL or an embedded SQLite file.
//!
//! Both speak the same statements; the suite in `tests/` runs on both. One transaction records a plan: the version check of each
//! rollout it touches, the plan, its steps, their audit entries, a signed checkpoint, and the rollouts' new state. Nothing is kept in
//! memory: a transaction reads the rows that it may touch and writes those that changed, so it costs what changes, and a failed one
//! leaves nothing to take back. The tables are drawn in `docs/database.md`.

mod alerts;
pub mod archive;
mod asked;
pub mod audit;
mod contents;
mod error;
mod history;
mod key;
mod last;
mod log;
mod logs;
mod mailbox;
mod open;
mod plans;
mod readers;
mod rollouts;
mod rows;
mod samples;
mod source;
#[cfg(test)]
mod tests;
pub mod users;
mod writer;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use sqlx::AnyPool;

use audit::checkpoint::{PublicKey, SigningKey};

pub use alerts::{ALERTS_KEPT, Behind, Delivery, Due, Lost, NoticeRow, Past, Remembered, Standing};
pub use asked::{ASKED_KEPT, AnswerKept, Asked};
pub use error::Error;
pub use history::{DeviceChange, DeviceRow, Permission, PermissionRow, ProbeChange};
pub use last::LastReading;
pub use log::Filter;
pub use logs::{
    Forgotten, HANDED_MOST, Handed, JournalPlace, Keep, LogCount, LogKind, LogKnown, LogLine, LogPart, LogTail, LogTemplate, MOST_PARTS,
    Place, Search, Unarchived,
};
pub use mailbox::{Letter, Owner};
pub use open::Options;
pub use plans::{PlanRow, StepRow};
pub use samples::{AT_ONCE, FIVE_MINUTES_KEPT, HOURS_KEPT, POINTS, Point, RAW_KEPT, Samples, Since};
pub use source::InForce;

/// The store.
pub struct Store {
    pool: AnyPool,
    /// For searches, graphs and the like: they hold up nobody who writes.
    readers: readers::Readers,
    key: SigningKey,
    backend: Backend,
    /// Partitions that are known to be there, by table and number.
    partitions: Mutex<HashSet<(&'static str, i64)>>,
    /// The partitions for lines of logs that PostgreSQL is known to have: from when until when.
    log_partitions: Mutex<std::collections::BTreeMap<i64, i64>>,
    /// In whose name alerts are written; 0: nobody's.
    alert_writer: AtomicU64,
}

/// Which database it is.
#[derive(Clone, Debug)]
enum Backend {
    /// A file, with the device and number that it had when it was opened.
    Sqlite { path: PathBuf, opened: (u64, u64) },
    /// A server.
    Postgres,
}

impl Store {
    /// Verifies this store's checkpoints.
    pub fn public_key(&self) -> PublicKey {
        self.key.public()
    }
}
