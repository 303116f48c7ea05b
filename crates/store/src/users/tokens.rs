//! Tokens that programs show.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::User;
use crate::audit::Entry;
use crate::open::within;
use crate::rows::{insert, maybe_text, maybe_time, number, query, text, time};
use crate::{Error, Store};

/// Tokens of one user that count.
pub const TOKENS: u64 = 50;
/// Any verb, or any kind.
const ANY: &str = "*";
const COLUMNS: &str = "id, name, user_name, prefix, created_at, expires_at, last_used_at, last_used_from";

/// A token, without what lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRow {
    /// What it is revoked by.
    pub id: String,
    /// What its user calls it.
    pub name: String,
    /// Whose.
    pub user: String,
    /// Its first characters.
    pub prefix: String,
    /// What it is narrowed to.
    pub scopes: Vec<TokenScope>,
    /// Since when.
    pub created_at: Timestamp,
    /// Until when.
    pub expires_at: Timestamp,
    /// When and from where it was last shown, up to a minute.
    pub last_used: Option<(Timestamp, String)>,
}

/// A part of what a user may; an empty set means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenScope {
    /// Verbs.
    pub verbs: BTreeSet<String>,
    /// Kinds.
    pub kinds: BTreeSet<String>,
}

impl Store {
    /// Adds a token.
    pub async fn add_token(&self, token: &TokenRow, hash: &str, entry: Entry) -> Result<(), Error> {
        within(0, async {
            let mut writing = self.write().await?;
            let tx = &mut *writing.tx;
            let many = "SELECT COUNT(*) AS many FROM api_token WHERE user_name = $1 AND expires_at > $2";
            let counted = query(many, [token.user.as_str().into(), token.created_at.into()]).fetch_one(&mut *tx).await?;
            if number::<u64>(&counted, "many")? >= TOKENS {
                return Err(Error::TooMany("tokens of one user"));
            }
            let row = [
                token.id.as_str().into(),
                token.name.as_str().into(),
                token.user.as_str().into(),
                hash.into(),
                token.prefix.as_str().into(),
                token.created_at.into(),
                token.expires_at.into(),
            ];
            insert(tx, "api_token (id, name, user_name, hash, prefix, created_at, expires_at)", [row], "").await?;
            let any = BTreeSet::from([ANY.to_owned()]);
            let or_any = |set: &BTreeSet<String>| if set.is_empty() { any.clone() } else { set.clone() };
            let scopes = token.scopes.iter().enumerate().flat_map(|(number, scope)| {
                let kinds = or_any(&scope.kinds);
                or_any(&scope.verbs)
                    .into_iter()
                    .flat_map(move |verb| kinds.clone().into_iter().map(move |kind| (number, verb.clone(), kind)))
            });
            let rows = scopes.map(|(number, verb, kind)| [token.id.as_str().into(), number.into(), verb.into(), kind.into()]);
            insert(tx, "token_scope (token, number, verb, kind)", rows, "").await?;
            self.append(&mut writing, &mut [entry]).await?;
            writing.commit().await
        })
        .await
    }

    /// Tokens of a user, or all, the newest first.
    pub async fn tokens(&self, user: Option<&str>) -> Result<Vec<TokenRow>, Error> {
        let of = |what: &str| match user {
            Some(_) => format!("{what} WHERE user_name = $1 ORDER BY created_at DESC, id"),
            None => format!("{what} ORDER BY created_at DESC, id"),
        };
        let rows = self.readers.all(of(&format!("SELECT {COLUMNS} FROM api_token")), user.map(Into::into)).await?;
        let mut tokens = rows.iter().map(token).collect::<Result<Vec<_>, _>>()?;
        let scopes = match user {
            Some(_) => "SELECT token, number, verb, kind FROM token_scope WHERE token IN (SELECT id FROM api_token WHERE user_name = $1)",
            None => "SELECT token, number, verb, kind FROM token_scope",
        };
        let mut scopes = scopes_of(&self.readers.all(scopes, user.map(Into::into)).await?)?;
        for token in &mut tokens {
            token.scopes = scopes.remove(&token.id).unwrap_or_default();
        }
        Ok(tokens)
    }

    /// A token that counts, by its hash, with its user.
    pub async fn token(&self, hash: &str, now: Timestamp) -> Result<Option<(TokenRow, User)>, Error> {
        let statement = format!("SELECT {COLUMNS} FROM api_token WHERE hash = $1 AND expires_at > $2");
        let rows = self.readers.all(statement, [hash.into(), now.into()]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let mut token = token(row)?;
        let scopes =
            self.readers.all("SELECT token, number, verb, kind FROM token_scope WHERE token = $1", [token.id.as_str().into()]).await?;
        token.scopes = scopes_of(&scopes)?.remove(&token.id).unwrap_or_default();
        Ok(self.user(&token.user).await?.map(|user| (token, user)))
    }

    /// A token was shown.
    pub async fn use_token(&self, id: &str, now: Timestamp, from: &str) -> Result<(), Error> {
        let used = "UPDATE api_token SET last_used_at = $2, last_used_from = $3 WHERE id = $1";
        let used = query(used, [id.into(), now.into(), from.into()]);
        within(0, async { Ok(used.execute(&self.pool).await.map(drop)?) }).await
    }

    /// Revokes a token. `false`: there is none.
    pub async fn revoke_token(&self, id: &str, entry: Entry) -> Result<bool, Error> {
        within(0, async {
            let mut writing = self.write().await?;
            let gone = query("DELETE FROM api_token WHERE id = $1", [id.into()]).execute(&mut *writing.tx).await?;
            if gone.rows_affected() == 0 {
                return Ok(false);
            }
            self.append(&mut writing, &mut [entry]).await?;
            writing.commit().await?;
            Ok(true)
        })
        .await
    }
}

fn token(row: &sqlx::any::AnyRow) -> Result<TokenRow, Error> {
    Ok(TokenRow {
        id: text(row, "id")?,
        name: text(row, "name")?,
        user: text(row, "user_name")?,
        prefix: text(row, "prefix")?,
        scopes: Vec::new(),
        created_at: time(row, "created_at")?,
        expires_at: time(row, "expires_at")?,
        last_used: maybe_time(row, "last_used_at")?.zip(maybe_text(row, "last_used_from")?),
    })
}

fn scopes_of(rows: &[sqlx::any::AnyRow]) -> Result<BTreeMap<String, Vec<TokenScope>>, Error> {
    let mut scopes: BTreeMap<String, BTreeMap<u64, TokenScope>> = BTreeMap::new();
    for row in rows {
        let scope = scopes.entry(text(row, "token")?).or_default().entry(number(row, "number")?).or_default();
        for (set, word) in [(&mut scope.verbs, text(row, "verb")?), (&mut scope.kinds, text(row, "kind")?)] {
            if word != ANY {
                set.insert(word);
            }
        }
    }
    Ok(scopes.into_iter().map(|(token, scopes)| (token, scopes.into_values().collect())).collect())
}
