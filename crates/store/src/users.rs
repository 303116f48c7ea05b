//! Users, their sessions and their tokens: who may come in, and who came.
//!
//! What lets somebody in is stored as a hash only. Each change is written together with its entry in the audit log, or not at all.

mod failures;
mod sessions;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::audit::Entry;
use crate::open::within;
use crate::rows::{Value, flag, insert, maybe_text, maybe_time, number, query, text, time, word};
use crate::{Error, Store};

pub use failures::FAILURES;
pub use sessions::{ABSOLUTE, IDLE, ListedSession, NewSession, SESSIONS, SessionRow};
pub use tokens::{TOKENS, TokenRow, TokenScope};

/// Members of this group may everything.
pub const ADMINS: &str = "admins";
/// Users at most: each is in memory when they are listed, and whoever has more has a provider that knows them.
pub const USERS: u64 = 10_000;
/// Failures to sign in are forgotten when nothing was tried for so long, and tokens so long after their end.
const FORGOTTEN: SignedDuration = SignedDuration::from_hours(24);
/// How long tokens are listed after their end.
const SHOWN: SignedDuration = SignedDuration::from_hours(7 * 24);

const COLUMNS: &str = "name, kind, display_name, email, issuer, subject, disabled, created_at, last_sign_in, CAST(CASE WHEN password IS NULL THEN 0 ELSE 1 END AS BIGINT) AS has_password";

/// How a user is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum UserKind {
    /// By a password here.
    Local,
    /// By a provider.
    Oidc,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// As Roles and the audit log name them.
    pub name: String,
    /// How they are known.
    pub kind: UserKind,
    /// As people call them.
    pub display_name: String,
    /// Where they can be written to.
    pub email: String,
    /// Groups that an administrator put them into.
    pub stored: BTreeSet<String>,
    /// Groups that the provider said when they last signed in.
    pub claimed: BTreeSet<String>,
    /// The provider and who they are there.
    pub subject: Option<(String, String)>,
    /// A local user who was invited has none yet.
    pub has_password: bool,
    /// May not come in.
    pub disabled: bool,
    /// Since when.
    pub created_at: Timestamp,
    /// When they last came.
    pub last_sign_in: Option<Timestamp>,
}

impl User {
    /// A new local user.
    pub fn local(name: &str, now: Timestamp) -> Self {
        Self {
            name: name.to_owned(),
            kind: UserKind::Local,
            display_name: String::new(),
            email: String::new(),
            stored: BTreeSet::new(),
            claimed: BTreeSet::new(),
            subject: None,
            has_password: false,
            disabled: false,
            created_at: now,
            last_sign_in: None,
        }
    }

    /// All groups.
    pub fn groups(&self) -> BTreeSet<String> {
        self.stored.union(&self.claimed).cloned().collect()
    }

    /// May everything.
    pub fn is_admin(&self) -> bool {
        self.stored.contains(ADMINS) || self.claimed.contains(ADMINS)
    }
}

/// A user with what hangs on them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedUser {
    /// The user.
    pub user: User,
    /// Sessions that go on.
    pub sessions: u64,
    /// Tokens that are valid.
    pub tokens: u64,
}

/// What becomes of a user; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserChange {
    /// As people call them.
    pub display_name: Option<String>,
    /// Where they can be written to.
    pub email: Option<String>,
    /// Groups that an administrator puts them into: these and no others. It ends their sessions, as the next one does.
    pub groups: Option<BTreeSet<String>>,
    /// May not come in any more, or again.
    pub disabled: Option<bool>,
}

/// An invitation, by the hash of its one-time token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// SHA-256 in hex.
    pub hash: String,
    /// Until when it counts.
    pub expires_at: Timestamp,
}

impl Store {
    /// Whether there is any user.
    pub async fn has_users(&self) -> Result<bool, Error> {
        let rows = self.readers.all("SELECT name FROM user_account LIMIT 1", []).await?;
        Ok(!rows.is_empty())
    }

    /// All users, by name.
    pub async fn users(&self, now: Timestamp) -> Result<Vec<ListedUser>, Error> {
        let rows = self.readers.all(format!("SELECT {COLUMNS} FROM user_account ORDER BY name"), []).await?;
        let mut groups: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
        for row in self.readers.all("SELECT user_name, group_name, said_by FROM user_group", []).await? {
            groups.entry(text(&row, "user_name")?).or_default().push((text(&row, "group_name")?, text(&row, "said_by")?));
        }
        let sessions = "SELECT user_name, COUNT(*) AS many FROM session WHERE seen_at > $1 AND created_at > $2 GROUP BY user_name";
        let sessions = counts(&self.readers.all(sessions, sessions::alive(now)).await?)?;
        let tokens = "SELECT user_name, COUNT(*) AS many FROM api_token WHERE expires_at > $1 GROUP BY user_name";
        let tokens = counts(&self.readers.all(tokens, [now.into()]).await?)?;
        let listed = |row: &AnyRow| {
            let mut user = user(row)?;
            for (group, said_by) in groups.remove(&user.name).unwrap_or_default() {
                put(&mut user, group, &said_by);
            }
            let of = |counts: &BTreeMap<String, u64>| counts.get(&user.name).copied().unwrap_or(0);
            let (sessions, tokens) = (of(&sessions), of(&tokens));
            Ok(ListedUser { user, sessions, tokens })
        };
        rows.iter().map(listed).collect()
    }

    /// A user by name.
    pub async fn user(&self, name: &str) -> Result<Option<User>, Error> {
        let rows = self.readers.all(format!("SELECT {COLUMNS} FROM user_account WHERE name = $1"), [name.into()]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let mut user = user(row)?;
        let groups = "SELECT group_name, said_by FROM user_group WHERE user_name = $1";
        for row in self.readers.all(groups, [name.into()]).await? {
            put(&mut user, text(&row, "group_name")?, &text(&row, "said_by")?);
        }
        Ok(Some(user))
    }

    /// The hash of a user's password, if they have one.
    pub async fn password_of(&self, name: &str) -> Result<Option<String>, Error> {
        let rows = self.readers.all("SELECT password FROM user_account WHERE name = $1", [name.into()]).await?;
        rows.first().map_or(Ok(None), |row| maybe_text(row, "password"))
    }

    /// Adds a local user, with the hash of a password or an invitation to choose one. The very first one can be asked for, which fails
    /// when somebody else was faster.
    pub async fn add_user(
        &self,
        user: &User,
        password: Option<&str>,
        invitation: Option<&Invitation>,
        is_first: bool,
        entry: Entry,
    ) -> Result<(), Error> {
        within(0, async {
            let mut writing = self.write().await?;
            let counted = query("SELECT COUNT(*) AS many FROM user_account", []).fetch_one(&mut *writing.tx).await?;
            let many: u64 = number(&counted, "many")?;
            if many >= USERS {
                return Err(Error::TooMany("users"));
            }
            let there = query("SELECT name FROM user_account WHERE name = $1", [user.name.as_str().into()]);
            if (is_first && many > 0) || there.fetch_optional(&mut *writing.tx).await?.is_some() {
                return Err(Error::Exists(user.name.clone()));
            }
            insert_user(&mut writing.tx, user, password).await?;
            if let Some(invitation) = invitation {
                invite(&mut writing.tx, &user.name, invitation).await?;
            }
            self.append(&mut writing, &mut [entry]).await?;
            writing.commit().await
        })
        .await
    }

    /// Changes a user. `false`: there is none.
    pub async fn change_user(&self, name: &str, change: &UserChange, entry: Entry) -> Result<bool, Error> {
        within(0, async {
            let mut writing = self.write().await?;
            let tx = &mut *writing.tx;
            let admins = local_admins(tx).await?;
            let update = "UPDATE user_account SET display_name = COALESCE($2, display_name), email = COALESCE($3, email), disabled = COALESCE($4, disabled) WHERE name = $1";
            let UserChange { display_name, email, groups, disabled } = change;
            let values = [name.into(), display_name.as_deref().into(), email.as_deref().into(), (*disabled).into()];
            if query(update, values).execute(&mut *tx).await?.rows_affected() == 0 {
                return Ok(false);
            }
            if let Some(groups) = groups {
                query("DELETE FROM user_group WHERE user_name = $1 AND said_by = 'stored'", [name.into()]).execute(&mut *tx).await?;
                insert_groups(tx, name, groups, "stored").await?;
            }
            if groups.is_some() || *disabled == Some(true) {
                query("DELETE FROM session WHERE user_name = $1", [name.into()]).execute(&mut *tx).await?;
            }
            keeps_an_admin(tx, admins).await?;
            self.append(&mut writing, &mut [entry]).await?;
            writing.commit().await?;
            Ok(true)
        })
        .await
    }

    /// Removes a user with all that hangs on them. `false`: there is none.
    pub async fn delete_user(&self, name: &str, entry: Entry) -> Result<bool, Error> {
        within(0, async {
            let mut writing = self.write().await?;
            let tx = &mut *writing.tx;
            let admins = local_admins(tx).await?;
            if query("DELETE FROM user_account WHERE name = $1", [name.into()]).execute(&mut *tx).await?.rows_affected() == 0 {
                return Ok(false);
            }
            keeps_an_admin(tx, admins).await?;
            self.append(&mut writing, &mut [entry]).await?;
            writing.commit().await?;
            Ok(true)
        })
        .await
    }

    /// A local user has another password, and no other session than this one any more. `false`: there is no such local user.
    pub async fn set_password(&self, name: &str, password: &str, keep: Option<&str>, entry: Entry) -> Result<bool, Error> {
        within(0, async {
            let mut writing = self.write().await?;
            if !take_password(&mut writing.tx, name, password, keep).await? {
                return Ok(false);
            }
            self.append(&mut writing, &mut [entry]).await?;
            writing.commit().await?;
            Ok(true)
        })
        .await
    }

    /// A local user may choose a password by a one-time token; an earlier one counts no more. `false`: there is no such local user.
    pub async fn invite(&self, name: &str, invitation: &Invitation, entry: Entry) -> Result<bool, Error> {
        within(0, async {
            let mut writing = self.write().await?;
            let local = query("SELECT name FROM user_account WHERE name = $1 AND kind = 'local'", [name.into()]);
            if local.fetch_optional(&mut *writing.tx).await?.is_none() {
                return Ok(false);
            }
            invite(&mut writing.tx, name, invitation).await?;
            self.append(&mut writing, &mut [entry]).await?;
            writing.commit().await?;
            Ok(true)
        })
        .await
    }

    /// Whom this one-time token invites.
    pub async fn invited(&self, hash: &str, now: Timestamp) -> Result<Option<String>, Error> {
        let rows =
            self.readers.all("SELECT user_name FROM invitation WHERE hash = $1 AND expires_at > $2", [hash.into(), now.into()]).await?;
        rows.first().map(|row| text(row, "user_name")).transpose()
    }

    /// Uses the one-time token up: its user has this password from now on. `false`: it counts no more.
    pub async fn accept_invitation(&self, hash: &str, password: &str, now: Timestamp, entry: Entry) -> Result<bool, Error> {
        within(0, async {
            let mut writing = self.write().await?;
            let used = query("DELETE FROM invitation WHERE hash = $1 AND expires_at > $2 RETURNING user_name", [hash.into(), now.into()]);
            let Some(row) = used.fetch_optional(&mut *writing.tx).await? else { return Ok(false) };
            let name = text(&row, "user_name")?;
            if !take_password(&mut writing.tx, &name, password, None).await? {
                return Ok(false);
            }
            self.append(&mut writing, &mut [entry]).await?;
            writing.commit().await?;
            Ok(true)
        })
        .await
    }

    /// A provider vouches for a user, and says in which groups they are: they are added, or are as it says from now on. A name that
    /// somebody else has already is refused. `None`: they are disabled here.
    pub async fn vouch(&self, user: &User, entry: Entry) -> Result<Option<User>, Error> {
        let Some((issuer, subject)) = &user.subject else { return Err(Error::Damaged("a user without a subject".into())) };
        let vouched = within(0, async {
            let mut writing = self.write().await?;
            let tx = &mut *writing.tx;
            let known = query(
                "SELECT name, disabled FROM user_account WHERE issuer = $1 AND subject = $2",
                [issuer.as_str().into(), subject.as_str().into()],
            );
            let known = known.fetch_optional(&mut *tx).await?;
            if known.as_ref().map(|row| flag(row, "disabled")).transpose()?.unwrap_or(false) {
                return Ok(false);
            }
            let before = known.map(|row| text(&row, "name")).transpose()?;
            if before.as_ref() != Some(&user.name) {
                let taken = query("SELECT name FROM user_account WHERE name = $1", [user.name.as_str().into()]);
                if taken.fetch_optional(&mut *tx).await?.is_some() {
                    return Err(Error::Exists(user.name.clone()));
                }
            }
            match before {
                Some(before) => {
                    let update = "UPDATE user_account SET name = $2, display_name = $3, email = $4 WHERE name = $1";
                    let values = [before.into(), user.name.as_str().into(), user.display_name.as_str().into(), user.email.as_str().into()];
                    query(update, values).execute(&mut *tx).await?;
                }
                None => {
                    let counted = query("SELECT COUNT(*) AS many FROM user_account", []).fetch_one(&mut *tx).await?;
                    if number::<u64>(&counted, "many")? >= USERS {
                        return Err(Error::TooMany("users"));
                    }
                    insert_user(tx, &User { claimed: BTreeSet::new(), stored: BTreeSet::new(), ..user.clone() }, None).await?;
                }
            }
            let claimed = "DELETE FROM user_group WHERE user_name = $1 AND said_by = 'claim'";
            query(claimed, [user.name.as_str().into()]).execute(&mut *tx).await?;
            insert_groups(tx, &user.name, &user.claimed, "claim").await?;
            self.append(&mut writing, &mut [entry]).await?;
            writing.commit().await?;
            Ok(true)
        });
        if vouched.await? { self.user(&user.name).await } else { Ok(None) }
    }

    /// Removes what counts no more: sessions, tokens, invitations, failures.
    pub(crate) async fn sweep_users(&self, tx: &mut AnyConnection, now: Timestamp) -> Result<(), Error> {
        let earlier = |by: SignedDuration| now.checked_sub(by).unwrap_or(Timestamp::MIN);
        query("DELETE FROM session WHERE seen_at <= $1 OR created_at <= $2", sessions::alive(now)).execute(&mut *tx).await?;
        for (statement, before) in [
            ("DELETE FROM invitation WHERE expires_at <= $1", now),
            ("DELETE FROM api_token WHERE expires_at <= $1", earlier(SHOWN)),
            ("DELETE FROM sign_in_failure WHERE failed_at <= $1", earlier(FORGOTTEN)),
        ] {
            query(statement, [before.into()]).execute(&mut *tx).await?;
        }
        Ok(())
    }
}

async fn insert_user(tx: &mut AnyConnection, user: &User, password: Option<&str>) -> Result<(), Error> {
    let (issuer, subject) = user.subject.as_ref().map_or((None, None), |(issuer, subject)| (Some(&**issuer), Some(&**subject)));
    let kind = match user.kind {
        UserKind::Local => "local",
        UserKind::Oidc => "oidc",
    };
    let row: [Value; 10] = [
        user.name.as_str().into(),
        kind.into(),
        user.display_name.as_str().into(),
        user.email.as_str().into(),
        password.into(),
        issuer.into(),
        subject.into(),
        user.disabled.into(),
        user.created_at.into(),
        user.last_sign_in.into(),
    ];
    let into = "user_account (name, kind, display_name, email, password, issuer, subject, disabled, created_at, last_sign_in)";
    insert(tx, into, [row], "").await?;
    insert_groups(tx, &user.name, &user.stored, "stored").await?;
    insert_groups(tx, &user.name, &user.claimed, "claim").await
}

async fn insert_groups(tx: &mut AnyConnection, name: &str, groups: &BTreeSet<String>, said_by: &str) -> Result<(), Error> {
    let rows = groups.iter().map(|group| [name.into(), group.as_str().into(), said_by.into()]);
    insert(tx, "user_group (user_name, group_name, said_by)", rows, "").await
}

async fn invite(tx: &mut AnyConnection, name: &str, invitation: &Invitation) -> Result<(), Error> {
    let row = [name.into(), invitation.hash.as_str().into(), invitation.expires_at.into()];
    let newer = "ON CONFLICT (user_name) DO UPDATE SET hash = excluded.hash, expires_at = excluded.expires_at";
    insert(tx, "invitation (user_name, hash, expires_at)", [row], newer).await
}

async fn take_password(tx: &mut AnyConnection, name: &str, password: &str, keep: Option<&str>) -> Result<bool, Error> {
    let update = "UPDATE user_account SET password = $2 WHERE name = $1 AND kind = 'local'";
    if query(update, [name.into(), password.into()]).execute(&mut *tx).await?.rows_affected() == 0 {
        return Ok(false);
    }
    query("DELETE FROM invitation WHERE user_name = $1", [name.into()]).execute(&mut *tx).await?;
    let others = "DELETE FROM session WHERE user_name = $1 AND hash <> $2";
    query(others, [name.into(), keep.unwrap_or_default().into()]).execute(&mut *tx).await?;
    Ok(true)
}

/// Administrators who can come in by a password here: whoever else can come in does so by leave of somebody else.
async fn local_admins(tx: &mut AnyConnection) -> Result<u64, Error> {
    let admins = "SELECT COUNT(*) AS many FROM user_account WHERE kind = 'local' AND disabled = 0 AND password IS NOT NULL AND name IN (SELECT user_name FROM user_group WHERE group_name = 'admins' AND said_by = 'stored')";
    number(&query(admins, []).fetch_one(tx).await?, "many")
}

async fn keeps_an_admin(tx: &mut AnyConnection, before: u64) -> Result<(), Error> {
    if before > 0 && local_admins(tx).await? == 0 { Err(Error::LastAdmin) } else { Ok(()) }
}

fn user(row: &AnyRow) -> Result<User, Error> {
    let subject = maybe_text(row, "issuer")?.zip(maybe_text(row, "subject")?);
    Ok(User {
        name: text(row, "name")?,
        kind: word(row, "kind")?,
        display_name: text(row, "display_name")?,
        email: text(row, "email")?,
        stored: BTreeSet::new(),
        claimed: BTreeSet::new(),
        subject,
        has_password: flag(row, "has_password")?,
        disabled: flag(row, "disabled")?,
        created_at: time(row, "created_at")?,
        last_sign_in: maybe_time(row, "last_sign_in")?,
    })
}

fn put(user: &mut User, group: String, said_by: &str) {
    if said_by == "claim" {
        user.claimed.insert(group)
    } else {
        user.stored.insert(group)
    };
}

fn counts(rows: &[AnyRow]) -> Result<BTreeMap<String, u64>, Error> {
    rows.iter().map(|row| Ok((text(row, "user_name")?, number(row, "many")?))).collect()
}
