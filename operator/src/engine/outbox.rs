//! Takes what is due out of the outbox and has it delivered, at least once: the outcome of a try is stored after the try, and a process
//! that is killed between the two tries again under the same id.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use notify::retry::{self, Next};
use notify::{Category, Error};
use reconcile::alerting::Notice;
use store::{Delivery, NoticeRow, Store};
use tokio::sync::Notify;

/// Tries at once.
const AT_ONCE: usize = 8;
/// Notifications that are taken up at once.
const MANY: u32 = 64;
/// Longest time of one try.
const LIMIT: Duration = Duration::from_secs(60);
/// Longest time between two looks into the outbox; news come with a word.
const LOOK: Duration = Duration::from_secs(30);
/// Time until a store that refused is asked again.
const AGAIN: Duration = Duration::from_secs(2);

/// Delivers until it is stopped. `news` is told when something was written into the outbox.
pub(crate) async fn run<F, D>(store: Arc<Store>, news: Arc<Notify>, deliver: F)
where
    F: Fn(Notice) -> D,
    D: Future<Output = Result<(), Error>>,
{
    loop {
        let wait = match round(&store, &deliver).await {
            Ok(wait) => wait,
            Err(error) => {
                tracing::debug!(%error, "the outbox can't be read or written");
                AGAIN
            }
        };
        let _ = tokio::time::timeout(wait, news.notified()).await;
    }
}

/// Tries what is due; returns how long there is nothing more to do.
pub(crate) async fn round<F, D>(store: &Store, deliver: &F) -> Result<Duration, store::Error>
where
    F: Fn(Notice) -> D,
    D: Future<Output = Result<(), Error>>,
{
    let due = store.due_notices(Timestamp::now(), MANY).await?;
    let full = due.len() >= MANY as usize;
    let tries = due.into_iter().map(|row| async move {
        let outcome = tokio::time::timeout(LIMIT, deliver(row.notice.clone())).await;
        let outcome = outcome.unwrap_or_else(|_| Err(Error::new(Category::Timeout, "no answer in time")));
        (row, outcome)
    });
    let mut tried = futures::stream::iter(tries).buffer_unordered(AT_ONCE);
    while let Some((row, outcome)) = tried.next().await {
        let now = Timestamp::now();
        let delivery = decide(&row, outcome, now);
        match &delivery {
            Delivery::Done => tracing::info!(receiver = %row.notice.receiver, id = row.notice.id, "said"),
            Delivery::Later(at, problem) => {
                tracing::warn!(receiver = %row.notice.receiver, id = row.notice.id, problem, again = %at, "could not be said yet");
            }
            Delivery::Dead(problem) => {
                tracing::error!(receiver = %row.notice.receiver, id = row.notice.id, problem, "given up: nobody was told");
            }
        }
        store.tried(&row.notice.id, &delivery, now).await?;
    }
    if full {
        return Ok(Duration::ZERO);
    }
    let next = store.next_notice().await?.map(|at| Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default());
    // What waits for another one of its thread is due, and yet not: it must not be asked for all the time.
    Ok(next.unwrap_or(LOOK).clamp(AGAIN, LOOK))
}

fn decide(row: &NoticeRow, outcome: Result<(), Error>, now: Timestamp) -> Delivery {
    let Err(error) = outcome else { return Delivery::Done };
    // What failed together is not tried together.
    let dice = f64::from(u32::try_from(RandomState::new().hash_one(&row.notice.id) >> 32).unwrap_or_default()) / f64::from(u32::MAX);
    match retry::next(&error, row.attempts + 1, row.recorded_at, now, dice) {
        Next::Again(at) => Delivery::Later(at, error.to_string()),
        Next::DeadLetter(why) => Delivery::Dead(format!("{error}; {}", why.as_str())),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use reconcile::Name;
    use reconcile::alerting::Reason;
    use reconcile::alerting::alerts::Changes;
    use store::Options;

    use super::*;

    fn notice(id: &str) -> Notice {
        Notice {
            id: id.into(),
            receiver: Name::parse("oncall"),
            thread: id.into(),
            reason: Reason::First,
            at: Timestamp::UNIX_EPOCH,
            group: Default::default(),
            firing: Vec::new(),
            resolved: Vec::new(),
            left_off: (0, 0),
        }
    }

    #[tokio::test]
    async fn what_is_due_is_tried_once_and_what_failed_is_kept() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(&Options { data: data.path().to_owned(), url: None }).await.unwrap();
        let changes = Changes { notices: vec![notice("good"), notice("bad"), notice("busy")], ..Changes::default() };
        store.record_alerts(&changes, Vec::new(), Timestamp::now()).await.unwrap();
        let tries = AtomicU32::new(0);
        let deliver = |notice: Notice| {
            tries.fetch_add(1, Ordering::Relaxed);
            async move {
                match notice.id.as_str() {
                    "good" => Ok(()),
                    "bad" => Err(Error::new(Category::Refused, "550")),
                    _ => Err(Error::new(Category::Server, "451")),
                }
            }
        };
        round(&store, &deliver).await.unwrap();
        round(&store, &deliver).await.unwrap();
        assert_eq!(tries.load(Ordering::Relaxed), 3);
        let mut rows = store.notices(10).await.unwrap();
        rows.sort_by(|a, b| a.notice.id.cmp(&b.notice.id));
        let shown: Vec<_> =
            rows.iter().map(|row| (row.notice.id.as_str(), row.is_dead, row.finished_at.is_some(), row.problem.as_str())).collect();
        assert_eq!(shown, [("bad", true, true, "550; trying again can't help"), ("busy", false, false, "451"), ("good", false, true, "")]);
    }
}
