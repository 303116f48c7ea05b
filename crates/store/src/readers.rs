//! Connections for whoever only reads, and may read much: searches, graphs, lists. In SQLite there is one connection that writes, and
//! these see, beside it, what was there when they began (its write-ahead log); in PostgreSQL they take no connection from those who
//! write. Each read has a time limit, at which the database itself stops.

use std::str::FromStr as _;
use std::time::{Duration, Instant};

use sqlx::any::AnyRow;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{AnyPool, AssertSqlSafe, ConnectOptions as _, SqlitePool};

use crate::Error;
use crate::open::within;
use crate::rows::Value;

/// Connections: somebody may look at a graph while others search.
pub(crate) const MANY: u32 = 3;
/// Longest time of one read. Who waits for longer has gone away.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);
/// Steps of SQLite's machine between two looks at the clock: less than a millisecond.
const STEPS: i32 = 10_000;
/// Longest wait for one of the connections.
const ACQUIRE: Duration = Duration::from_secs(10);

/// Those connections.
pub(crate) enum Readers {
    Sqlite(SqlitePool),
    Postgres(AnyPool),
}

impl Readers {
    pub(crate) fn sqlite(url: &str) -> Result<Self, Error> {
        // A file that is opened for reading only can't take part in the log of those who write.
        let options = SqliteConnectOptions::from_str(url)?.pragma("query_only", "ON").busy_timeout(Duration::from_secs(5));
        let options = options.disable_statement_logging();
        Ok(Self::Sqlite(SqlitePoolOptions::new().max_connections(MANY).acquire_timeout(ACQUIRE).connect_lazy_with(options)))
    }

    pub(crate) fn postgres(pool: AnyPool) -> Self {
        Self::Postgres(pool)
    }

    /// All rows of a statement, within the limit.
    pub(crate) async fn all(&self, statement: impl Into<String>, values: impl IntoIterator<Item = Value>) -> Result<Vec<AnyRow>, Error> {
        self.within(LIMIT, statement.into(), values.into_iter().collect()).await
    }

    pub(crate) async fn within(&self, limit: Duration, statement: String, values: Vec<Value>) -> Result<Vec<AnyRow>, Error> {
        within(0, async {
            match self {
                Self::Sqlite(pool) => {
                    let mut connection = pool.acquire().await?;
                    let until = Instant::now() + limit;
                    connection.lock_handle().await?.set_progress_handler(STEPS, move || Instant::now() < until);
                    let query = values.into_iter().fold(sqlx::query(AssertSqlSafe(statement)), |query, value| value.bind_sqlite(query));
                    let rows = query.fetch_all(&mut *connection).await;
                    connection.lock_handle().await?.remove_progress_handler();
                    Ok(rows?.iter().map(AnyRow::try_from).collect::<Result<_, _>>()?)
                }
                Self::Postgres(pool) => {
                    let query = values.into_iter().fold(sqlx::query(AssertSqlSafe(statement)), |query, value| value.bind(query));
                    let rows = tokio::time::timeout(limit, query.fetch_all(pool)).await;
                    rows.map_err(|_| Error::TooLong)?.map_err(too_long)
                }
            }
        })
        .await
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// A statement that the server has stopped (`query_canceled`).
fn too_long(error: sqlx::Error) -> Error {
    let is_stopped = error.as_database_error().is_some_and(|error| error.code().as_deref() == Some("57014"));
    if is_stopped { Error::TooLong } else { error.into() }
}
