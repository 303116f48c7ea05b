//! Requests under a key of the asker's choice: asked again, they are answered again and not done again.

use jiff::Timestamp;

use crate::open::within;
use crate::rows::{Value, maybe_text, number, query, text};
use crate::{Error, Store};

/// How long a key is remembered, in seconds.
pub const ASKED_KEPT: i64 = 24 * 3600;
/// Keys of one asker that are remembered; the oldest answered ones go first. Somebody who writes once a minute has room for a day.
const MAX_KEYS: usize = 2000;

/// What is known of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Nothing: it is theirs now, and is to be answered.
    New,
    /// It was used for something else.
    Otherwise,
    /// It is worked on, or was when the process ended that did so.
    Open,
    /// It was answered.
    Answered(AnswerKept),
}

/// An answer that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerKept {
    /// Status of HTTP.
    pub status: u16,
    /// The header `Location`.
    pub location: Option<String>,
    /// The body.
    pub body: String,
}

impl Store {
    /// Takes a key for a request, if nobody has it.
    pub async fn ask_once(&self, caller: &str, key: &str, asked: &str, now: Timestamp) -> Result<Asked, Error> {
        within(0, async {
            let mut writing = self.write().await?;
            let old = now.as_second().saturating_sub(ASKED_KEPT);
            query("DELETE FROM asked_once WHERE at < $1", [Value::from_i64(old)]).execute(&mut *writing.tx).await?;
            let known = query("SELECT asked, status, location, answer FROM asked_once WHERE caller = $1 AND word = $2", [caller.into(), key.into()])
                .fetch_optional(&mut *writing.tx)
                .await?;
            let Some(known) = known else {
                let row = [caller.into(), key.into(), asked.into(), Value::from_i64(now.as_second())];
                let put = "INSERT INTO asked_once (caller, word, asked, at) VALUES ($1, $2, $3, $4)";
                query(put, row).execute(&mut *writing.tx).await?;
                let most = "DELETE FROM asked_once WHERE caller = $1 AND word IN (SELECT word FROM asked_once WHERE caller = $1 AND status IS NOT NULL ORDER BY at DESC, word LIMIT 100000 OFFSET $2)";
                query(most, [caller.into(), MAX_KEYS.into()]).execute(&mut *writing.tx).await?;
                writing.commit().await?;
                return Ok(Asked::New);
            };
            writing.commit().await?;
            if text(&known, "asked")? != asked {
                return Ok(Asked::Otherwise);
            }
            let Some(body) = maybe_text(&known, "answer")? else { return Ok(Asked::Open) };
            let location = maybe_text(&known, "location")?;
            Ok(Asked::Answered(AnswerKept { status: number(&known, "status")?, location, body }))
        })
        .await
    }

    /// Keeps what was answered; `None`: nothing was done, and the key is free again.
    pub async fn answered(&self, caller: &str, key: &str, answer: Option<&AnswerKept>) -> Result<(), Error> {
        within(0, async {
            let mut writing = self.write().await?;
            match answer {
                Some(AnswerKept { status, location, body }) => {
                    let row = [caller.into(), key.into(), u32::from(*status).into(), location.as_deref().into(), body.as_str().into()];
                    let put = "UPDATE asked_once SET status = $3, location = $4, answer = $5 WHERE caller = $1 AND word = $2";
                    query(put, row).execute(&mut *writing.tx).await?;
                }
                None => {
                    let gone = "DELETE FROM asked_once WHERE caller = $1 AND word = $2";
                    query(gone, [caller.into(), key.into()]).execute(&mut *writing.tx).await?;
                }
            }
            writing.commit().await
        })
        .await
    }
}
