//! Mailboxes: how the replica that plans and those that hold a shard hear of each other.
//!
//! Of each matter only the newest word is kept, so a mailbox holds no more than there are matters, and whoever opens it anew finds all
//! that counts. A mailbox belongs to whoever opened it last. Who sends says in whose name, and is refused if that one was replaced
//! meanwhile: a process that was frozen can't put in a word when it wakes up.

use std::collections::BTreeSet;

use sqlx::any::AnyRow;

use crate::open::within;
use crate::rows::{insert, maybe_text, number, query, text};
use crate::{Error, Store};

/// Letters that are read at once.
const PAGE: u32 = 1000;

/// The right to read a mailbox, and to send in its name, until somebody else opens it.
#[derive(Clone, Debug)]
pub struct Owner {
    mailbox: String,
    number: u64,
    /// The number of the newest letter when it was opened.
    newest: u64,
}

/// The newest word on a matter; none: it is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// What it is about.
    pub matter: String,
    /// What is to be said of it.
    pub document: Option<String>,
}

impl Owner {
    /// Whose mailbox.
    pub fn mailbox(&self) -> &str {
        &self.mailbox
    }

    /// The number of the newest letter when it was opened: up to it they are for whoever owned it before.
    pub fn newest(&self) -> u64 {
        self.newest
    }
}

impl Store {
    /// Becomes the owner of a mailbox, which is made if it is new.
    pub async fn open_mailbox(&self, name: &str) -> Result<Owner, Error> {
        within(0, async {
            let mut tx = self.pool.begin().await?;
            let again = "ON CONFLICT (name) DO UPDATE SET owner = mailbox.owner + 1";
            insert(&mut tx, "mailbox (name, owner, numbered)", [[name.into(), 1_u64.into(), 0_u64.into()]], again).await?;
            let row = query("SELECT owner, numbered FROM mailbox WHERE name = $1", [name.into()]).fetch_one(&mut *tx).await?;
            tx.commit().await?;
            Ok(Owner { mailbox: name.to_owned(), number: number(&row, "owner")?, newest: number(&row, "numbered")? })
        })
        .await
    }

    /// Puts letters into a mailbox, whether or not somebody owns it.
    pub async fn send(&self, from: &Owner, to: &str, letters: Vec<Letter>) -> Result<(), Error> {
        within(letters.len(), async {
            let mut tx = self.pool.begin().await?;
            let made = [to.into(), 0_u64.into(), 0_u64.into()];
            insert(&mut tx, "mailbox (name, owner, numbered)", [made], "ON CONFLICT (name) DO NOTHING").await?;
            // Both rows are held to the end: nobody else becomes the owner meanwhile, and numbers are seen in their order. They are taken
            // in the order of their names, so that two who write to each other don't wait for each other.
            let mut last: u64 = 0;
            for place in BTreeSet::from([from.mailbox.as_str(), to]) {
                let count = if place == to { letters.len() } else { 0 };
                let owner = if place == from.mailbox { from.number } else { 0 };
                let take = "UPDATE mailbox SET numbered = numbered + $2 WHERE name = $1 AND ($3 = 0 OR owner = $3) RETURNING numbered";
                let row = query(take, [place.into(), count.into(), owner.into()]).fetch_optional(&mut *tx).await?;
                let row = row.ok_or_else(|| Error::Replaced(from.mailbox.clone()))?;
                last = if place == to { number(&row, "numbered")? } else { last };
            }
            let first = last - letters.len() as u64 + 1;
            let rows = (first..)
                .zip(&letters)
                .map(|(number, letter)| [to.into(), letter.matter.as_str().into(), number.into(), letter.document.as_deref().into()]);
            let newest = "ON CONFLICT (mailbox, matter) DO UPDATE SET number = excluded.number, document = excluded.document";
            insert(&mut tx, "letter (mailbox, matter, number, document)", rows, newest).await?;
            Ok(tx.commit().await?)
        })
        .await
    }

    /// Whether it is still the owner; an error if not.
    pub async fn is_owner(&self, of: &Owner) -> Result<(), Error> {
        let still = "SELECT name FROM mailbox WHERE name = $1 AND owner = $2";
        let query = query(still, [of.mailbox.as_str().into(), of.number.into()]);
        let row = within(0, async { Ok(query.fetch_optional(&self.pool).await?) }).await?;
        row.map(drop).ok_or_else(|| Error::Replaced(of.mailbox.clone()))
    }

    /// What was put into a mailbox after this number, the oldest first and at most 1000, with the number up to which that is. What was there
    /// when it was opened is read by itself, and then what came since. Matters that are closed are forgotten once they have been read.
    pub async fn letters(&self, of: &Owner, after: u64) -> Result<(u64, Vec<Letter>), Error> {
        within(PAGE as usize, async {
            let mut tx = self.read().await?;
            let still =
                query("SELECT numbered FROM mailbox WHERE name = $1 AND owner = $2", [of.mailbox.as_str().into(), of.number.into()]);
            let row = still.fetch_optional(&mut *tx).await?.ok_or_else(|| Error::Replaced(of.mailbox.clone()))?;
            let numbered: u64 = number(&row, "numbered")?;
            if numbered <= after {
                return Ok((after, Vec::new()));
            }
            let end = if after < of.newest { of.newest } else { numbered };
            let newer = "SELECT matter, number, document FROM letter WHERE mailbox = $1 AND number > $2 AND number <= $3
                ORDER BY number LIMIT $4";
            let rows = query(newer, [of.mailbox.as_str().into(), after.into(), end.into(), PAGE.into()]).fetch_all(&mut *tx).await?;
            drop(tx);
            let to = match rows.last() {
                Some(last) if rows.len() == PAGE as usize => number(last, "number")?,
                _ => end,
            };
            let letters = rows.iter().map(letter).collect::<Result<Vec<_>, _>>()?;
            if letters.iter().any(|letter| letter.document.is_none()) {
                let closed = "DELETE FROM letter WHERE mailbox = $1 AND document IS NULL AND number <= $2";
                query(closed, [of.mailbox.as_str().into(), to.into()]).execute(&self.pool).await?;
            }
            Ok((to, letters))
        })
        .await
    }

    /// What lies in all mailboxes but this one: what an earlier owner of it has asked for. For each mailbox its letters.
    pub async fn asked_of_others(&self, of: &Owner) -> Result<Vec<(String, Letter)>, Error> {
        within(1_000_000, async {
            let all = "SELECT mailbox, matter, document FROM letter WHERE mailbox <> $1 AND document IS NOT NULL";
            let rows = query(all, [of.mailbox.as_str().into()]).fetch_all(&self.pool).await?;
            rows.iter().map(|row| Ok((text(row, "mailbox")?, letter(row)?))).collect()
        })
        .await
    }
}

fn letter(row: &AnyRow) -> Result<Letter, Error> {
    Ok(Letter { matter: text(row, "matter")?, document: maybe_text(row, "document")? })
}
