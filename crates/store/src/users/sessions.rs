//! Sessions.

use jiff::{SignedDuration, Timestamp};

use super::User;
use crate::audit::Entry;
use crate::open::within;
use crate::rows::{Value, insert, query, text, time};
use crate::{Error, Store};

/// A session in which nothing was asked for so long is over: a night at home.
pub const IDLE: SignedDuration = SignedDuration::from_hours(12);
/// A session is over after this time whatever is asked in it: once a week somebody shows who they are.
pub const ABSOLUTE: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Sessions of one user; a further one ends the oldest.
pub const SESSIONS: u32 = 20;

/// A session that begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSession<'a> {
    /// Whose.
    pub user: &'a str,
    /// SHA-256 of what the cookie holds, in hex.
    pub hash: &'a str,
    /// From which address.
    pub address: &'a str,
    /// The session that the same browser had before: it ends.
    pub instead_of: Option<&'a str>,
    /// When.
    pub at: Timestamp,
}

/// A session as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// Its user.
    pub user: User,
    /// When it began.
    pub created_at: Timestamp,
    /// When something was last asked in it, up to a minute.
    pub seen_at: Timestamp,
}

/// A session as its user is shown it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedSession {
    /// SHA-256 of what the cookie holds, in hex.
    pub hash: String,
    /// When it began.
    pub created_at: Timestamp,
    /// When something was last asked in it, up to a minute.
    pub seen_at: Timestamp,
    /// From which address it began.
    pub address: String,
}

/// Sessions that go on were seen, and began, after these instants.
pub(super) fn alive(now: Timestamp) -> [Value; 2] {
    let earlier = |by: SignedDuration| now.checked_sub(by).unwrap_or(Timestamp::MIN).into();
    [earlier(IDLE), earlier(ABSOLUTE)]
}

impl Store {
    /// Begins a session.
    pub async fn start_session(&self, new: &NewSession<'_>, entry: Entry) -> Result<(), Error> {
        within(0, async {
            let mut writing = self.write().await?;
            let tx = &mut *writing.tx;
            self.sweep_users(tx, new.at).await?;
            query("DELETE FROM session WHERE hash = $1", [new.instead_of.unwrap_or_default().into()]).execute(&mut *tx).await?;
            let row = [new.hash.into(), new.user.into(), new.at.into(), new.at.into(), new.address.into()];
            insert(tx, "session (hash, user_name, created_at, seen_at, address)", [row], "").await?;
            let newest = "DELETE FROM session WHERE user_name = $1 AND hash NOT IN (SELECT hash FROM session WHERE user_name = $1 ORDER BY created_at DESC, hash LIMIT $2)";
            query(newest, [new.user.into(), SESSIONS.into()]).execute(&mut *tx).await?;
            query("UPDATE user_account SET last_sign_in = $2 WHERE name = $1", [new.user.into(), new.at.into()]).execute(&mut *tx).await?;
            self.append(&mut writing, &mut [entry]).await?;
            writing.commit().await
        })
        .await
    }

    /// A session that goes on, by its hash.
    pub async fn session(&self, hash: &str, now: Timestamp) -> Result<Option<SessionRow>, Error> {
        let session = "SELECT user_name, created_at, seen_at FROM session WHERE hash = $1 AND seen_at > $2 AND created_at > $3";
        let [idle, absolute] = alive(now);
        let rows = self.readers.all(session, [hash.into(), idle, absolute]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let Some(user) = self.user(&text(row, "user_name")?).await? else { return Ok(None) };
        Ok(Some(SessionRow { user, created_at: time(row, "created_at")?, seen_at: time(row, "seen_at")? }))
    }

    /// The sessions of a user that go on, the one that was seen last first.
    pub async fn sessions(&self, user: &str, now: Timestamp) -> Result<Vec<ListedSession>, Error> {
        let sessions = "SELECT hash, created_at, seen_at, address FROM session WHERE user_name = $1 AND seen_at > $2 AND created_at > $3 ORDER BY seen_at DESC, hash";
        let [idle, absolute] = alive(now);
        let rows = self.readers.all(sessions, [user.into(), idle, absolute]).await?;
        let session = |row| {
            let (hash, address) = (text(row, "hash")?, text(row, "address")?);
            Ok(ListedSession { hash, created_at: time(row, "created_at")?, seen_at: time(row, "seen_at")?, address })
        };
        rows.iter().map(session).collect()
    }

    /// Something was asked in a session.
    pub async fn see_session(&self, hash: &str, now: Timestamp) -> Result<(), Error> {
        let seen = query("UPDATE session SET seen_at = $2 WHERE hash = $1 AND seen_at < $2", [hash.into(), now.into()]);
        within(0, async { Ok(seen.execute(&self.pool).await.map(drop)?) }).await
    }

    /// Ends a session.
    pub async fn end_session(&self, hash: &str, entry: Entry) -> Result<(), Error> {
        within(0, async {
            let mut writing = self.write().await?;
            query("DELETE FROM session WHERE hash = $1", [hash.into()]).execute(&mut *writing.tx).await?;
            self.append(&mut writing, &mut [entry]).await?;
            writing.commit().await
        })
        .await
    }

    /// Ends all sessions of a user but this one.
    pub async fn end_other_sessions(&self, user: &str, keep: Option<&str>, entry: Entry) -> Result<(), Error> {
        within(0, async {
            let mut writing = self.write().await?;
            let others = "DELETE FROM session WHERE user_name = $1 AND hash <> $2";
            query(others, [user.into(), keep.unwrap_or_default().into()]).execute(&mut *writing.tx).await?;
            self.append(&mut writing, &mut [entry]).await?;
            writing.commit().await
        })
        .await
    }
}
