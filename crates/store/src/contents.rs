//! Contents, written once whoever refers to them: a plan for 100 000 devices carries the same one 100 000 times.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use reconcile::{Action, Content, Digest, RolloutChange};
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::Error;
use crate::rows::{by_keys, insert, json, query, text, to_json};

/// What stands in a document where its content was taken out.
static NOTHING: LazyLock<Arc<Content>> = LazyLock::new(|| Arc::new(Content::nothing()));

/// Contents that one transaction writes.
#[derive(Default)]
pub(crate) struct Contents {
    documents: BTreeMap<String, String>,
    /// By address, so that a shared one is hashed once.
    known: BTreeMap<usize, (String, Arc<Content>)>,
}

impl Contents {
    /// Takes a content in; what refers to it refers to this digest.
    pub(crate) fn add(&mut self, content: &Arc<Content>) -> String {
        let address = Arc::as_ptr(content) as usize;
        if let Some((digest, _)) = self.known.get(&address) {
            return digest.clone();
        }
        let document = to_json(content);
        let digest = Digest::of(document.as_bytes()).as_str().to_owned();
        self.documents.insert(digest.clone(), document);
        // Kept, so that the address stays its own.
        self.known.insert(address, (digest.clone(), content.clone()));
        digest
    }

    /// Writes those that are not there yet.
    pub(crate) async fn write(mut self, tx: &mut AnyConnection) -> Result<(), Error> {
        let digests: Vec<&str> = self.documents.keys().map(String::as_str).collect();
        let there = by_keys(tx, "SELECT digest FROM content WHERE digest IN", None, &digests).await?;
        for row in &there {
            self.documents.remove(&text(row, "digest")?);
        }
        let rows = self.documents.into_iter().map(|(digest, document)| [digest.into(), document.into()]);
        insert(tx, "content (digest, document)", rows, "").await
    }
}

/// Contents that were read, by digest.
pub(crate) fn read(rows: &[AnyRow]) -> Result<BTreeMap<String, Arc<Content>>, Error> {
    rows.iter().map(|row| Ok((text(row, "digest")?, Arc::new(json(row, "document")?)))).collect()
}

/// Takes the content out of an action.
pub(crate) fn take(action: &mut Action) -> Option<Arc<Content>> {
    place(action).map(|content| std::mem::replace(content, NOTHING.clone()))
}

/// Puts it back.
pub(crate) fn put(action: &mut Action, content: Arc<Content>) {
    if let Some(place) = place(action) {
        *place = content;
    }
}

/// What a record looks like whose content was not read.
pub(crate) fn nothing() -> Arc<Content> {
    NOTHING.clone()
}

/// Removes those of these that nothing refers to any more.
pub(crate) async fn sweep(tx: &mut AnyConnection, digests: BTreeSet<String>) -> Result<(), Error> {
    for digest in digests {
        let unused = "DELETE FROM content WHERE digest = $1 AND NOT EXISTS (SELECT 1 FROM revision WHERE content = $1) AND NOT EXISTS (SELECT 1 FROM step WHERE content = $1)";
        query(unused, [digest.into()]).execute(&mut *tx).await?;
    }
    Ok(())
}

fn place(action: &mut Action) -> Option<&mut Arc<Content>> {
    match action {
        Action::Prepare(work) | Action::Apply(work) | Action::Remove(work) => Some(&mut work.content),
        Action::Restore { work, .. } | Action::Reboot { work, .. } => Some(&mut work.content),
        Action::Rollout(RolloutChange::Start { content, .. }) => Some(content),
        Action::Rollout(_) | Action::Admit { .. } => None,
    }
}
