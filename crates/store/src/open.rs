//! Opening the database, and what can go wrong with it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::any::AnyPoolOptions;
use sqlx::{AnyPool, Executor as _};
use tokio::sync::Mutex;

use super::{Backend, Store};
use crate::audit::checkpoint::{self, SigningKey};

/// Where the store is.
#[derive(Clone, Debug)]
pub struct Options {
    /// Directory of the SQLite file and of the key that signs the audit log.
    pub data: PathBuf,
    /// A `postgres://` URL; without it the SQLite file in `data` is used.
    pub url: Option<String>,
}

/// What can go wrong with the store.
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
    /// The disk or the quota is full.
    #[error("the database's disk is full")]
    Full(#[source] sqlx::Error),
    /// Another connection holds the lock.
    #[error("the database is locked by another process")]
    Locked(#[source] sqlx::Error),
    /// The server or the file can't be reached.
    #[error("the database can't be reached")]
    Away(#[source] sqlx::Error),
    /// A statement failed.
    #[error("the database refused a statement")]
    Database(#[source] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("the database's schema could not be brought up to date")]
    Migrate(#[source] Box<sqlx::migrate::MigrateError>),
    /// A row does not hold what we wrote.
    #[error("the database holds something that we did not write: {0}")]
    Damaged(String),
    /// A file beside the database.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The audit log's key.
    #[error("{path}: {source}")]
    Key {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: checkpoint::Error,
    },
}

impl Error {
    /// A bounded word for metrics.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Newer(_) | Self::Migrate(_) => "schema",
            Self::Conflict { .. } => "conflict",
            Self::Full(_) => "full",
            Self::Locked(_) => "locked",
            Self::Away(_) => "away",
            Self::Database(_) => "database",
            Self::Damaged(_) => "damaged",
            Self::File { .. } | Self::Key { .. } => "file",
        }
    }

    /// Whether trying again later may help without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Conflict { .. } | Self::Full(_) | Self::Locked(_) | Self::Away(_))
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        // Primary result codes of SQLite, and SQLSTATE classes of PostgreSQL.
        let code = error.as_database_error().and_then(|error| error.code().map(|code| code.into_owned())).unwrap_or_default();
        let sqlite = code.parse::<u32>().ok().filter(|_| code.len() < 5).map(|code| code & 0xff);
        match (sqlite, code.as_str()) {
            (Some(13), _) | (_, "53100") => Self::Full(error),
            (Some(5 | 6), _) | (_, "55P03" | "40001" | "40P01") => Self::Locked(error),
            // I/O error, cannot open, and the file vanished under us.
            (Some(10 | 14), _) => Self::Away(error),
            (_, code) if code.starts_with("08") || code.starts_with("57P") || code.starts_with("53") => Self::Away(error),
            _ if error.as_database_error().is_none() => Self::Away(error),
            _ => Self::Database(error),
        }
    }
}

impl Store {
    /// Opens the store, creates it if it is new, and brings its schema up to date.
    pub async fn open(options: &Options) -> Result<Self, Error> {
        sqlx::any::install_default_drivers();
        std::fs::create_dir_all(&options.data).map_err(|source| Error::File { path: options.data.clone(), source })?;
        let (url, backend) = match &options.url {
            Some(url) => (url.clone(), Backend::Postgres),
            None => (format!("sqlite://{}?mode=rwc", options.data.join("evenkeel.db").display()), Backend::Sqlite),
        };
        let pool = pool(&url, backend).await?;
        sqlx::migrate!("./migrations").run(&pool).await.map_err(|error| match error {
            sqlx::migrate::MigrateError::VersionMissing(version) => Error::Newer(version),
            sqlx::migrate::MigrateError::Execute(error) => Error::from(error),
            other => Error::Migrate(Box::new(other)),
        })?;
        let key = key(&options.data)?;
        let store = Self { pool, key, backend, rollouts: Mutex::default() };
        let rollouts = store.load_rollouts().await?;
        *store.rollouts.lock().await = rollouts;
        Ok(store)
    }

    /// Whether it can be written to just now.
    pub async fn health(&self) -> Result<(), Error> {
        let mut tx = self.pool.begin().await?;
        // Touches no row and yet takes the write lock, and on a full disk it fails.
        sqlx::query("UPDATE audit_frontier SET size = size WHERE one = 1").execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Lets go of the database.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

async fn pool(url: &str, backend: Backend) -> Result<AnyPool, Error> {
    // SQLite has one writer; more connections would only wait for each other's lock.
    let connections = if backend == Backend::Sqlite { 1 } else { 8 };
    let pool = AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(Duration::from_secs(10))
        .after_connect(move |connection, _| {
            Box::pin(async move {
                if backend == Backend::Sqlite {
                    // FULL: an act must not begin before its record would survive a power cut.
                    for pragma in
                        ["PRAGMA busy_timeout = 5000", "PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", "PRAGMA foreign_keys = ON"]
                    {
                        connection.execute(pragma).await?;
                    }
                }
                Ok(())
            })
        })
        .connect(url)
        .await?;
    Ok(pool)
}

/// Reads the key that signs the audit log, or makes it at the first start, readable by its owner only.
fn key(data: &Path) -> Result<SigningKey, Error> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;

    let path = data.join("audit.key");
    match std::fs::read_to_string(&path) {
        Ok(text) => SigningKey::from_text(&text).map_err(|source| Error::Key { path, source }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let key = SigningKey::generate();
            let write = |path: &Path, mode, text: &str| {
                let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
                file.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
            };
            write(&path, 0o600, &key.to_text()).map_err(|source| Error::File { path: path.clone(), source })?;
            let public = data.join("audit.pub");
            let _ = std::fs::remove_file(&public);
            write(&public, 0o644, &format!("{}\n", key.public().to_text())).map_err(|source| Error::File { path: public, source })?;
            Ok(key)
        }
        Err(source) => Err(Error::File { path, source }),
    }
}
