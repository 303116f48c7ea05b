//! Takes what is due out of the outbox and has it delivered, at least once: the outcome of a try is stored after the try, and a process
//! that is killed between the two tries again under the same id.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use reconcile::alerting::Notice;
use store::{Delivery, NoticeRow, Store};
use tokio::sync::Notify;

/// Tries at once.
const AT_ONCE: usize = 8;
/// Notifications that are taken up at once.
const MANY: u32 = 64;
/// Longest time of one try.
const LIMIT: Duration = Duration::from_secs(60);
/// Pause after the first try that failed; doubled with each one.
const FIRST: SignedDuration = SignedDuration::from_secs(5);
/// Longest pause between two tries, unless the receiver asks for a longer one.
const LONGEST: SignedDuration = SignedDuration::from_mins(15);
/// A notification that is older is given up: by then it is repeated, or over.
const GIVEN_UP: SignedDuration = SignedDuration::from_hours(24);
/// Longest time between two looks into the outbox; news come with a word.
const LOOK: Duration = Duration::from_secs(30);
/// Time until a store that refused is asked again.
const AGAIN: Duration = Duration::from_secs(2);

/// Why a try failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// It may go well later; not before so long, if the receiver said so.
    Later(Option<SignedDuration>, String),
    /// It will never go well.
    Never(String),
}

/// Delivers until it is stopped. `news` is told when something was written into the outbox.
pub(crate) async fn run<F, D>(store: Arc<Store>, news: Arc<Notify>, deliver: F)
where
    F: Fn(Notice) -> D,
    D: Future<Output = Result<(), Failed>>,
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
    D: Future<Output = Result<(), Failed>>,
{
    let due = store.due_notices(Timestamp::now(), MANY).await?;
    let full = due.len() >= MANY as usize;
    let tries = due.into_iter().map(|row| async move {
        let outcome = tokio::time::timeout(LIMIT, deliver(row.notice.clone())).await;
        let outcome = outcome.unwrap_or_else(|_| Err(Failed::Later(None, "no answer in time".into())));
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

fn decide(row: &NoticeRow, outcome: Result<(), Failed>, now: Timestamp) -> Delivery {
    match outcome {
        Ok(()) => Delivery::Done,
        Err(Failed::Never(problem)) => Delivery::Dead(problem),
        Err(Failed::Later(after, problem)) => {
            let pause = after.unwrap_or_default().max(pause(row));
            match now.checked_add(pause) {
                Ok(at) if at.duration_since(row.recorded_at) < GIVEN_UP => Delivery::Later(at, problem),
                _ => Delivery::Dead(problem),
            }
        }
    }
}

/// Doubled with each try, and spread by a quarter, so that what failed together is not tried together.
fn pause(row: &NoticeRow) -> SignedDuration {
    let doubled = FIRST.saturating_mul(1 << row.attempts.min(16)).min(LONGEST);
    let spread = row.notice.id.bytes().fold(row.attempts, |hash, byte| hash.wrapping_mul(31).wrapping_add(u32::from(byte))) % 256;
    doubled.saturating_add(SignedDuration::from_millis(i64::try_from(doubled.as_millis()).unwrap_or(0) * i64::from(spread) / 1024))
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

    fn row(attempts: u32, recorded_at: Timestamp) -> NoticeRow {
        NoticeRow { notice: notice("n"), recorded_at, attempts, due_at: None, finished_at: None, is_dead: false, problem: String::new() }
    }

    #[test]
    fn pauses_grow_and_end() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let later = |attempts, after| match decide(&row(attempts, now), Err(Failed::Later(after, "busy".into())), now) {
            Delivery::Later(at, _) => at.duration_since(now).as_secs(),
            other => panic!("{other:?}"),
        };
        assert!((5..=6).contains(&later(0, None)) && (80..=100).contains(&later(4, None)));
        assert!((900..=1125).contains(&later(u32::MAX, None)));
        assert_eq!(later(0, Some(SignedDuration::from_hours(2))), 7200, "the receiver asked for it");
        let old = now.checked_sub(SignedDuration::from_hours(24)).unwrap();
        assert_eq!(decide(&row(50, old), Err(Failed::Later(None, "busy".into())), now), Delivery::Dead("busy".into()));
        assert_eq!(decide(&row(0, now), Err(Failed::Never("no such user".into())), now), Delivery::Dead("no such user".into()));
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
                    "bad" => Err(Failed::Never("550".into())),
                    _ => Err(Failed::Later(None, "451".into())),
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
        assert_eq!(shown, [("bad", true, true, "550"), ("busy", false, false, "451"), ("good", false, true, "")]);
    }
}
