//! Letters on their way: gathered for a moment, then sent together. While the store is away they wait, of each matter the newest.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use store::{Letter, Owner, Store};
use tokio::sync::Notify;

use super::letters::Matter;

/// Letters are gathered for so long: a pass of the planner, or a burst of answers, becomes one transaction.
const GATHER: Duration = Duration::from_millis(50);
/// Time between two tries of a store that refused.
const AGAIN: Duration = Duration::from_secs(1);
/// Letters that are sent in one transaction.
const MANY: usize = 1000;

/// Letters by mailbox and matter. There are never more than there are matters.
type Waiting = BTreeMap<(String, String), Option<String>>;

/// Letters on their way.
#[derive(Default)]
pub(crate) struct Post {
    waiting: Mutex<Waiting>,
    more: Notify,
}

impl Post {
    /// The newest word on a matter; none: it is closed.
    pub(crate) fn put(&self, to: &str, matter: &Matter, document: Option<String>) {
        self.waiting().insert((to.to_owned(), matter.to_text()), document);
        self.more.notify_one();
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what is put in, until somebody else owns the mailbox in whose name that is done.
    pub(crate) async fn deliver(self: Arc<Self>, store: Arc<Store>, from: Owner) {
        let mut told = false;
        loop {
            self.more.notified().await;
            tokio::time::sleep(GATHER).await;
            while let Err(error) = self.empty(&store, &from).await {
                if matches!(error, store::Error::Replaced(_)) {
                    tracing::warn!(%error, mailbox = from.mailbox(), "what this replica has to say counts no more");
                    return;
                }
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(%error, mailbox = from.mailbox(), "letters can't be sent yet");
                }
                tokio::time::sleep(AGAIN).await;
            }
            told = false;
        }
    }

    /// Sends all that waits.
    pub(crate) async fn empty(&self, store: &Store, from: &Owner) -> Result<(), store::Error> {
        loop {
            let mut taken = Waiting::new();
            {
                let mut waiting = self.waiting();
                let Some(((to, _), _)) = waiting.first_key_value() else { return Ok(()) };
                let to = to.clone();
                while taken.len() < MANY && waiting.first_key_value().is_some_and(|((next, _), _)| *next == to) {
                    taken.extend(waiting.pop_first());
                }
            }
            let to = taken.keys().next().map(|(to, _)| to.clone()).unwrap_or_default();
            let letters = taken.iter().map(|((_, matter), document)| Letter { matter: matter.clone(), document: document.clone() });
            if let Err(error) = store.send(from, &to, letters.collect()).await {
                let mut waiting = self.waiting();
                for (key, document) in taken {
                    waiting.entry(key).or_insert(document);
                }
                return Err(error);
            }
        }
    }
}
