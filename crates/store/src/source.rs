//! Which commit of each source is in force, and which were let through beyond the limits.

use jiff::Timestamp;
use reconcile::Revision;
use sqlx::Row as _;

use crate::audit::Entry;
use crate::log::instant;
use crate::rollouts::{parse, text};
use crate::{Error, Store};

/// The commit of a source that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// The commit.
    pub revision: Revision,
    /// Since when.
    pub since: Timestamp,
}

impl Store {
    /// The commit of a source that is in force.
    pub async fn in_force(&self, url: &str) -> Result<Option<InForce>, Error> {
        let row = sqlx::query("SELECT * FROM source WHERE url = $1").bind(url.to_owned()).fetch_optional(&self.pool).await?;
        let Some(row) = row else { return Ok(None) };
        let revision = Revision {
            reference: row.try_get("reference")?,
            commit: row.try_get("commit_id")?,
            author: row.try_get("author")?,
            signer: text(&row, "signer")?,
        };
        Ok(Some(InForce { revision, since: parse(&row.try_get::<String, _>("since")?)? }))
    }

    /// Puts a commit in force, with its entry in the audit log.
    pub async fn put_in_force(&self, url: &str, revision: &Revision, entry: Entry) -> Result<(), Error> {
        let mut tx = self.pool.begin().await?;
        sqlx::query(
            "INSERT INTO source (url, reference, commit_id, author, signer, since) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (url) DO UPDATE SET reference = excluded.reference, commit_id = excluded.commit_id, author = excluded.author,
             signer = excluded.signer, since = excluded.since",
        )
        .bind(url.to_owned())
        .bind(revision.reference.clone())
        .bind(revision.commit.clone())
        .bind(revision.author.clone())
        .bind(revision.signer.clone())
        .bind(instant(entry.at))
        .execute(&mut *tx)
        .await?;
        sqlx::query("DELETE FROM source_approval WHERE url = $1").bind(url.to_owned()).execute(&mut *tx).await?;
        self.append(&mut tx, &mut [entry]).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Lets a commit through, by the id that was shown for it.
    pub async fn approve_source(&self, url: &str, id: &str, entry: Entry) -> Result<(), Error> {
        let mut tx = self.pool.begin().await?;
        sqlx::query("INSERT INTO source_approval (url, id) VALUES ($1, $2) ON CONFLICT (url, id) DO NOTHING")
            .bind(url.to_owned())
            .bind(id.to_owned())
            .execute(&mut *tx)
            .await?;
        self.append(&mut tx, &mut [entry]).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Whether a commit was let through.
    pub async fn is_approved(&self, url: &str, id: &str) -> Result<bool, Error> {
        let row = sqlx::query("SELECT id FROM source_approval WHERE url = $1 AND id = $2")
            .bind(url.to_owned())
            .bind(id.to_owned())
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.is_some())
    }
}
