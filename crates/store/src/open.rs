//! Opening the database, and taking a connection of it.

use std::fmt;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{Any, AnyConnection, AnyPool, ConnectOptions as _, Connection as _, Executor as _, Transaction};

use crate::audit::tree::Frontier;
use crate::readers::Readers;
use crate::rows::{maybe_text, number, query, text};
use crate::samples::partitions;
use crate::{Backend, Error, Store, key, log, logs, readers};

/// Longest wait for a connection: a busy pool, or a server that does not answer.
const ACQUIRE: Duration = Duration::from_secs(10);
/// Longest wait for what one call does with it, with one millisecond more for each row.
const CALL: Duration = Duration::from_secs(20);
/// Longest wait for a connection that was given back to be usable again.
const RELEASE: Duration = Duration::from_secs(5);
/// Bytes that must be free on the disk of a file, so that it counts as healthy.
const ROOM: u64 = 16 << 20;
/// FULL: an act must not begin before its record would survive a power cut.
const SQLITE: [&str; 4] =
    ["PRAGMA busy_timeout = 5000", "PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", "PRAGMA foreign_keys = ON"];
/// What the server itself gives up on, before we do.
const POSTGRES: [&str; 3] = ["SET lock_timeout = '5s'", "SET statement_timeout = '15s'", "SET idle_in_transaction_session_timeout = '60s'"];
/// Bringing the schema up to date takes as long as it takes: of an old store each line of log may be written anew, and another process may
/// be at it already.
const POSTGRES_MIGRATES: [&str; 2] = ["SET lock_timeout = 0", "SET statement_timeout = 0"];
/// How often it is said meanwhile that it goes on.
const SAID: Duration = Duration::from_secs(10);
/// The same for whoever only reads, and a little earlier than [`readers::LIMIT`].
const POSTGRES_READS: [&str; 3] =
    ["SET statement_timeout = '9500ms'", "SET default_transaction_read_only = on", "SET idle_in_transaction_session_timeout = '60s'"];
/// What a URL may say; anything else would be ignored, and logged with its value, which may be a mistyped secret.
const PARAMETERS: [&str; 16] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
];

/// Where the store is.
#[derive(Clone)]
pub struct Options {
    /// Directory of the SQLite file and of the key that signs the audit log.
    pub data: PathBuf,
    /// A `postgres://` URL; without it the SQLite file in `data` is used.
    pub url: Option<String>,
}

/// The URL holds a password.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("data", &self.data).field("url", &self.url.as_ref().map(|_| "***")).finish()
    }
}

/// A transaction that writes. Writers stand in line: each has taken the row of the tree.
pub(crate) struct Writing {
    pub(crate) tx: Transaction<'static, Any>,
    pub(crate) frontier: Frontier,
}

impl Store {
    /// Opens the store, creates it if it is new, and brings its schema up to date.
    pub async fn open(options: &Options) -> Result<Self, Error> {
        sqlx::any::install_default_drivers();
        let data = folder(&options.data)?;
        match &options.url {
            Some(url) => open_postgres(&data, url).await,
            None => open_sqlite(&data).await,
        }
    }

    /// Whether it can be written to just now.
    pub async fn health(&self) -> Result<(), Error> {
        self.backend.has_room()?;
        // Taking the write lock changes nothing and yet is a write: on a full disk it fails.
        within(0, async { self.write().await?.commit().await }).await
    }

    /// Lets go of the database.
    pub async fn close(&self) {
        self.readers.close().await;
        self.pool.close().await;
    }

    /// Begins to write: waits for other writers, a while.
    pub(crate) async fn write(&self) -> Result<Writing, Error> {
        self.backend.is_in_place()?;
        let mut tx = self.pool.begin().await?;
        // The first statement writes: SQLite would refuse to turn a read that is behind into a write.
        let row = sqlx::query("UPDATE audit_tree SET size = size WHERE one = 1 RETURNING size, peaks").fetch_optional(&mut *tx).await?;
        let frontier = log::frontier(row.as_ref())?;
        Ok(Writing { tx, frontier })
    }

    /// Begins to read: all statements see the same state.
    pub(crate) async fn read(&self) -> Result<Transaction<'static, Any>, Error> {
        let begin = match self.backend {
            Backend::Sqlite { .. } => "BEGIN",
            Backend::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        };
        Ok(self.pool.begin_with(begin).await?)
    }
}

impl Writing {
    pub(crate) async fn commit(self) -> Result<(), Error> {
        Ok(self.tx.commit().await?)
    }
}

impl Backend {
    /// A file that was deleted under us would take writes that nobody will ever read.
    fn is_in_place(&self) -> Result<(), Error> {
        let Self::Sqlite { path, opened } = self else { return Ok(()) };
        if identity(path)? == *opened {
            return Ok(());
        }
        Err(Error::away(ErrorKind::NotFound, "evenkeel.db was replaced by another file since it was opened: start again"))
    }
}

impl Backend {
    /// A write that is too large for what is left fails as a whole; one that changes nothing would not show that.
    fn has_room(&self) -> Result<(), Error> {
        if self.disk()?.is_none_or(|(free, _)| free >= ROOM) { Ok(()) } else { Err(full()) }
    }

    /// Bytes that are free on the disk of a file, and how many it has in all.
    pub(crate) fn disk(&self) -> Result<Option<(u64, u64)>, Error> {
        let Self::Sqlite { path, .. } = self else { return Ok(None) };
        let disk = rustix::fs::statvfs(path).map_err(|error| Error::Away(sqlx::Error::Io(error.into())))?;
        Ok(Some((disk.f_bavail.saturating_mul(disk.f_frsize), disk.f_blocks.saturating_mul(disk.f_frsize))))
    }
}

/// The disk has less room than what is asked for needs.
pub(crate) fn full() -> Error {
    Error::Full(sqlx::Error::Io(ErrorKind::StorageFull.into()))
}

/// Bounds the time of a call that has to do with so many rows.
pub(crate) async fn within<T>(rows: usize, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let limit = CALL + Duration::from_millis(rows as u64);
    let late = |_| Err(Error::away(ErrorKind::TimedOut, "no answer in time"));
    tokio::time::timeout(limit, call).await.unwrap_or_else(late)
}

async fn open_sqlite(data: &Path) -> Result<Store, Error> {
    let path = data.join("evenkeel.db");
    prepare(&AnyConnectOptions::from_str(&sqlite_url(&path, "rwc")?)?, &SQLITE).await?;
    // One writer: more connections would only wait for each other's lock. It is kept, and never creates the file again.
    let pool =
        pool(1, &SQLITE).idle_timeout(None).max_lifetime(None).connect_lazy_with(AnyConnectOptions::from_str(&sqlite_url(&path, "rw")?)?);
    let opened = identity(&path)?;
    let readers = Readers::sqlite(&sqlite_url(&path, "rw")?)?;
    within(0, open(data, pool, readers, Backend::Sqlite { path, opened })).await
}

async fn open_postgres(data: &Path, url: &str) -> Result<Store, Error> {
    let options = AnyConnectOptions::from_str(url)?;
    check(&options)?;
    prepare(&options, &POSTGRES_MIGRATES).await?;
    let readers = Readers::postgres(pool(readers::MANY, &POSTGRES_READS).connect_lazy_with(options.clone()));
    within(0, open(data, pool(8, &POSTGRES).connect_lazy_with(options), readers, Backend::Postgres)).await
}

/// Connects once by hand, since a pool would try again for a while and then not say why, and brings the schema up to date: only
/// the connecting has a limit.
async fn prepare(options: &AnyConnectOptions, settings: &'static [&'static str]) -> Result<(), Error> {
    let connect = async {
        let mut connection = options.connect().await?;
        set_up(&mut connection, settings).await?;
        Ok(connection)
    };
    let late = |_| Err(Error::away(ErrorKind::TimedOut, "no answer to a new connection in time"));
    let mut connection: AnyConnection = tokio::time::timeout(ACQUIRE, connect).await.unwrap_or_else(late)?;
    patiently(migrate(&mut connection)).await?;
    Ok(connection.close().await?)
}

/// Waits for as long as it takes, and says so.
async fn patiently<T>(work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        if let Ok(done) = tokio::time::timeout(SAID, &mut work).await {
            return done;
        }
        tracing::info!("the database is brought up to date: with many lines of log that takes long, and must not be stopped");
    }
}

async fn migrate(connection: &mut AnyConnection) -> Result<(), Error> {
    sqlx::migrate!("./migrations").run(&mut *connection).await?;
    if connection.backend_name() == "SQLite" {
        logs::shape::prepare_sqlite(connection).await
    } else {
        partitions::prepare(connection).await?;
        logs::shape::prepare_postgres(connection).await
    }
}

async fn open(data: &Path, pool: AnyPool, readers: Readers, backend: Backend) -> Result<Store, Error> {
    let signer = "SELECT signer FROM audit_tree WHERE one = 1";
    let before = sqlx::query(signer).fetch_optional(&pool).await?;
    let key = key::read(data, before.map(|row| maybe_text(&row, "signer")).transpose()?.flatten().as_deref())?;
    // Somebody else may open the same new database at this moment, with another key.
    query("UPDATE audit_tree SET signer = $1 WHERE one = 1 AND signer IS NULL", [key.public().to_text().into()]).execute(&pool).await?;
    let after = sqlx::query(signer).fetch_optional(&pool).await?;
    let after = after.map(|row| text(&row, "signer")).transpose()?;
    key::is_signer(data, &key, after.as_deref())?;
    let (partitions, log_partitions, alert_writer) = (Mutex::default(), Mutex::default(), AtomicU64::default());
    let store = Store { pool, readers, key, backend, partitions, log_partitions, alert_writer };
    store.check_log().await?;
    Ok(store)
}

impl Store {
    /// The tree goes on from its frontier: it must be where the newest checkpoint and the last entry are.
    async fn check_log(&self) -> Result<(), Error> {
        let mut tx = self.read().await?;
        let tree = sqlx::query("SELECT size, peaks FROM audit_tree WHERE one = 1").fetch_optional(&mut *tx).await?;
        let frontier = log::frontier(tree.as_ref())?;
        let last = sqlx::query("SELECT number FROM audit_entry ORDER BY number DESC LIMIT 1").fetch_optional(&mut *tx).await?;
        let entries = last.map(|row| number::<u64>(&row, "number")).transpose()?.map_or(0, |last| last + 1);
        let signed = self.newest(&mut tx).await?;
        let (size, root) = signed.map_or((0, Frontier::default().root()), |signed| (signed.size, signed.root));
        if size == entries && size == frontier.size() && root == frontier.root() {
            return Ok(());
        }
        let tree = frontier.size();
        Err(Error::Damaged(format!("the audit log's newest checkpoint counts {size} entries, its tree {tree}, and {entries} are there")))
    }
}

/// The data directory; a new one is its owner's only.
fn folder(data: &Path) -> Result<PathBuf, Error> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data).and_then(|()| data.canonicalize());
    made.map_err(|source| Error::File { path: data.to_owned(), source })
}

/// Any path, spaces and question marks included.
pub(crate) fn sqlite_url(path: &Path, mode: &str) -> Result<String, Error> {
    if path.to_str().is_none() {
        let source = std::io::Error::new(ErrorKind::InvalidInput, "its name is not UTF-8");
        return Err(Error::File { path: path.to_owned(), source });
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte);
    let encode = |byte: &u8| if plain(*byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") };
    let path: String = path.as_os_str().as_bytes().iter().map(encode).collect();
    Ok(format!("sqlite://{path}?mode={mode}"))
}

fn check(options: &AnyConnectOptions) -> Result<(), Error> {
    let url = &options.database_url;
    if !["postgres", "postgresql"].contains(&url.scheme()) {
        return Err(Error::Url("it does not begin with postgres://"));
    }
    if url.query_pairs().any(|(key, _)| !PARAMETERS.contains(&&*key)) {
        return Err(Error::Url(
            "it has a parameter that is not known; known are sslmode, sslrootcert, sslcert, sslkey, host, port, dbname, user, password and application_name",
        ));
    }
    Ok(())
}

fn pool(connections: u32, settings: &'static [&'static str]) -> AnyPoolOptions {
    AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE)
        .after_connect(move |connection, _| Box::pin(set_up(connection, settings)))
        .after_release(|connection, _| Box::pin(may_stay(connection)))
}

/// Whether a connection may go back into the pool. One that hangs would keep its place there for as long as it does. And SQLite
/// itself ends a transaction when the disk is full, which the driver takes for one that is still open: what came next would be part
/// of it, and be lost with it.
async fn may_stay(connection: &mut AnyConnection) -> Result<bool, sqlx::Error> {
    let answer = tokio::time::timeout(RELEASE, connection.ping()).await;
    answer.unwrap_or_else(|_| Err(sqlx::Error::Io(ErrorKind::TimedOut.into())))?;
    Ok(!connection.is_in_transaction())
}

async fn set_up(connection: &mut AnyConnection, settings: &'static [&'static str]) -> Result<(), sqlx::Error> {
    for setting in settings {
        connection.execute(*setting).await?;
    }
    Ok(())
}

/// Device and number of a file.
fn identity(path: &Path) -> Result<(u64, u64), Error> {
    match std::fs::metadata(path) {
        Ok(file) => Ok((file.dev(), file.ino())),
        Err(error) => Err(Error::Away(sqlx::Error::Io(error))),
    }
}
