//! Which commit of each source is in force, and which one was let through beyond the limits.

use jiff::Timestamp;
use reconcile::Revision;

use crate::audit::Entry;
use crate::open::within;
use crate::rows::{insert, maybe_text, query, text, time};
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
        let query = query("SELECT reference, commit_id, author, signer, since FROM source WHERE url = $1", [url.into()]);
        let row = within(0, async { Ok(query.fetch_optional(&self.pool).await?) }).await?;
        let Some(row) = row else { return Ok(None) };
        let revision = Revision {
            reference: text(&row, "reference")?,
            commit: text(&row, "commit_id")?,
            author: text(&row, "author")?,
            signer: maybe_text(&row, "signer")?,
        };
        Ok(Some(InForce { revision, since: time(&row, "since")? }))
    }

    /// Puts a commit in force, with its entry in the audit log. What was let through is used up.
    pub async fn put_in_force(&self, url: &str, revision: &Revision, entry: Entry) -> Result<(), Error> {
        within(0, async {
            let mut writing = self.write().await?;
            let row = [
                url.into(),
                revision.reference.as_str().into(),
                revision.commit.as_str().into(),
                revision.author.as_str().into(),
                revision.signer.as_deref().into(),
                entry.at.into(),
            ];
            let replace = "ON CONFLICT (url) DO UPDATE SET reference = excluded.reference, commit_id = excluded.commit_id, author = excluded.author, signer = excluded.signer, since = excluded.since";
            insert(&mut writing.tx, "source (url, reference, commit_id, author, signer, since)", [row], replace).await?;
            query("DELETE FROM source_approval WHERE url = $1", [url.into()]).execute(&mut *writing.tx).await?;
            self.append(&mut writing, &mut [entry]).await?;
            writing.commit().await
        })
        .await
    }

    /// Lets a commit through, by the id that was shown for it; it takes the place of the one that was let through before.
    pub async fn approve_source(&self, url: &str, id: &str, entry: Entry) -> Result<(), Error> {
        within(0, async {
            let mut writing = self.write().await?;
            let replace = "ON CONFLICT (url) DO UPDATE SET id = excluded.id";
            insert(&mut writing.tx, "source_approval (url, id)", [[url.into(), id.into()]], replace).await?;
            self.append(&mut writing, &mut [entry]).await?;
            writing.commit().await
        })
        .await
    }

    /// Whether a commit was let through.
    pub async fn is_approved(&self, url: &str, id: &str) -> Result<bool, Error> {
        let query = query("SELECT id FROM source_approval WHERE url = $1 AND id = $2", [url.into(), id.into()]);
        Ok(within(0, async { Ok(query.fetch_optional(&self.pool).await?) }).await?.is_some())
    }
}
