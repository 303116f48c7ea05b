//! What can go wrong with the store.

use std::path::PathBuf;

use crate::audit::checkpoint;

/// What can go wrong with the store. None of it shows what a database URL holds.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Written by a newer Evenkeel.
    #[error("the database was written by a newer version of evenkeel (migration {0} is unknown here): upgrade, or restore an older copy")]
    Newer(i64),
    /// A rollout went on since the plan was made.
    #[error("deployment/{unit} went on since the plan was made (its rollout is not at version {expected} any more)")]
    Conflict {
        /// Which.
        unit: String,
        /// The version that the plan was made from.
        expected: u64,
    },
    /// Somebody else has taken over.
    #[error("another replica has taken over from this one ({0})")]
    Replaced(String),
    /// Somebody has that name already.
    #[error("{0} is there already")]
    Exists(String),
    /// There are as many as there may be.
    #[error("there are as many {0} as there may be")]
    TooMany(&'static str),
    /// Nobody would be left who can let anybody in.
    #[error("this is the last local user who may everything (group admins), has a password and is not disabled: make another one first")]
    LastAdmin,
    /// The disk or the quota is full.
    #[error("the database's disk is full")]
    Full(#[source] sqlx::Error),
    /// Another connection holds the lock.
    #[error("the database is locked by another process")]
    Locked(#[source] sqlx::Error),
    /// The server or the file can't be reached, or not be written to.
    #[error("the database can't be reached")]
    Away(#[source] sqlx::Error),
    /// It can be reached, and says no.
    #[error("the database refused")]
    Database(#[source] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("the database's schema could not be brought up to date")]
    Migrate(#[source] Box<sqlx::migrate::MigrateError>),
    /// A search or a graph was asked for too much.
    #[error("it took too long and was stopped: ask for a shorter time, or for less")]
    TooLong,
    /// A row does not hold what we wrote.
    #[error("the database holds something that we did not write: {0}")]
    Damaged(String),
    /// The database's URL can't be used.
    #[error("the database's URL can't be used: {0}")]
    Url(&'static str),
    /// A file beside the database.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The audit log's key can't be used.
    #[error("{path}: {source}")]
    Key {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: checkpoint::Error,
    },
    /// The audit log's key lies open.
    #[error("{path}: others can read or change the key that signs the audit log (mode {mode:04o}): chmod 600 it")]
    KeyMode {
        /// Which file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Another key signs the audit log in this database.
    #[error("{path}: {have}, but the audit log in the database is signed by {signer}: bring that key back")]
    OtherKey {
        /// Which file.
        path: PathBuf,
        /// What is there.
        have: String,
        /// Name and hash of the key that signs.
        signer: String,
    },
}

impl Error {
    /// A bounded word for metrics.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Newer(_) | Self::Migrate(_) => "schema",
            Self::Conflict { .. } => "conflict",
            Self::Replaced(_) => "replaced",
            Self::Exists(_) | Self::TooMany(_) | Self::LastAdmin => "users",
            Self::Full(_) => "full",
            Self::Locked(_) => "locked",
            Self::Away(_) => "away",
            Self::Database(_) => "database",
            Self::TooLong => "too-long",
            Self::Damaged(_) => "damaged",
            Self::Url(_) => "url",
            Self::File { .. } => "file",
            Self::Key { .. } | Self::KeyMode { .. } | Self::OtherKey { .. } => "key",
        }
    }

    /// Whether trying again later may help without anybody doing anything to us.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Conflict { .. } | Self::Full(_) | Self::Locked(_) | Self::Away(_))
    }

    /// The file or the server gave no sign, for this reason.
    pub(crate) fn away(kind: std::io::ErrorKind, reason: &'static str) -> Self {
        Self::Away(sqlx::Error::Io(std::io::Error::new(kind, reason)))
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        match &error {
            E::Database(database) => {
                let code = database.code().unwrap_or_default().into_owned();
                if code.len() < 5 { sqlite(&code, error) } else { postgres(&code, error) }
            }
            E::Io(_) | E::Tls(_) | E::Protocol(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed | E::BeginFailed => {
                Self::Away(error)
            }
            E::ColumnDecode { .. } | E::Decode(_) | E::TypeNotFound { .. } | E::RowNotFound => Self::Damaged(error.to_string()),
            // Its text may hold the URL.
            E::Configuration(_) => Self::Url("see DATABASE_URL: it is not of the form postgres://user:password@host:port/database"),
            _ => Self::Database(error),
        }
    }
}

/// By the primary result codes of SQLite: <https://www.sqlite.org/rescode.html>.
fn sqlite(code: &str, error: sqlx::Error) -> Error {
    match code.parse::<u32>().map(|code| code & 0xff) {
        Ok(13) => Error::Full(error),
        Ok(5 | 6) => Error::Locked(error),
        // Interrupted: only whoever reads is, when its time is over.
        Ok(9) => Error::TooLong,
        // Corrupt, and not a database at all.
        Ok(11 | 26) => Error::Damaged(error.to_string()),
        // Permission denied, read-only, I/O error, cannot open.
        Ok(3 | 8 | 10 | 14) => Error::Away(error),
        _ => Error::Database(error),
    }
}

/// By the error codes of PostgreSQL: <https://www.postgresql.org/docs/15/errcodes-appendix.html>.
fn postgres(code: &str, error: sqlx::Error) -> Error {
    match code {
        "53100" => Error::Full(error),
        // Lock not available, serialization failure, deadlock.
        "55P03" | "40001" | "40P01" => Error::Locked(error),
        "XX001" | "XX002" => Error::Damaged(error.to_string()),
        // A read-only replica, a statement that took too long, a transaction that idled too long.
        "25006" | "57014" | "25P03" => Error::Away(error),
        _ if ["08", "53", "57P"].iter().any(|class| code.starts_with(class)) => Error::Away(error),
        _ => Error::Database(error),
    }
}

impl From<sqlx::migrate::MigrateError> for Error {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        use sqlx::migrate::MigrateError as E;
        match error {
            E::VersionMissing(version) => Self::Newer(version),
            E::Execute(error) | E::ExecuteMigration(error, _) => Self::from(error),
            other => Self::Migrate(Box::new(other)),
        }
    }
}
