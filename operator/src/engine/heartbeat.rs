//! The dead-man's switch: a service elsewhere is asked each minute, as long as the loop turns, the store takes writes and the outbox is looked
//! into. When it hears nothing of us any more, it tells somebody.

use std::time::Duration;

use api::view::SharedView;
use jiff::{SignedDuration, Timestamp};
use notify::Heartbeat;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval_at};
use tokio_util::task::AbortOnDropHandle;

use super::Event;

/// Time between two beats: what such services take as their shortest.
const EVERY: Duration = Duration::from_secs(60);
/// Until the first one: everything has begun by then.
const FIRST: Duration = Duration::from_secs(5);
/// The loop answers within this time, or it hangs.
const ANSWER: Duration = Duration::from_secs(30);
/// The outbox was looked into within this time, or it hangs: it is each half minute.
const LOOKED: SignedDuration = SignedDuration::from_mins(2);

/// Beats until it is dropped.
pub(super) fn start(heart: Heartbeat, events: mpsc::Sender<Event>, view: SharedView) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(beat(heart, events, view)))
}

async fn beat(heart: Heartbeat, events: mpsc::Sender<Event>, view: SharedView) {
    let mut turns = interval_at(tokio::time::Instant::now() + FIRST, EVERY);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        let word = match well(&events, &view, ANSWER).await {
            Ok(()) => match heart.beat(Timestamp::now()).await {
                Ok(()) => "sent",
                Err(error) => {
                    tracing::warn!(%error, "the heartbeat does not arrive");
                    "failed"
                }
            },
            Err(why) => {
                tracing::warn!(why, "the heartbeat is withheld");
                "withheld"
            }
        };
        *view.write().unwrap_or_else(std::sync::PoisonError::into_inner).outbox.beats.entry(word).or_default() += 1;
    }
}

/// Whether all is well here, or what is not.
async fn well(events: &mpsc::Sender<Event>, view: &SharedView, answer: Duration) -> Result<(), &'static str> {
    let (reply, answered) = oneshot::channel();
    let asked = async {
        events.send(Event::Pulse(reply)).await.ok()?;
        answered.await.ok()
    };
    match tokio::time::timeout(answer, asked).await {
        Ok(Some(true)) => {}
        Ok(Some(false)) => return Err("the store does not take writes"),
        Ok(None) | Err(_) => return Err("the engine's loop does not answer"),
    }
    let looked_at = view.read().unwrap_or_else(std::sync::PoisonError::into_inner).outbox.looked_at;
    match looked_at.is_some_and(|at| Timestamp::now().duration_since(at).abs() < LOOKED) {
        true => Ok(()),
        false => Err("the outbox is not looked into"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn it_beats_only_where_loop_store_and_outbox_are_well() {
        let (events, mut inbox) = mpsc::channel(1);
        let view = SharedView::default();
        let soon = Duration::from_millis(200);
        assert_eq!(well(&events, &view, soon).await, Err("the engine's loop does not answer"));
        assert!(inbox.recv().await.is_some());
        let is_well = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let says = is_well.clone();
        tokio::spawn(async move {
            while let Some(Event::Pulse(reply)) = inbox.recv().await {
                let _ = reply.send(says.load(std::sync::atomic::Ordering::Relaxed));
            }
        });
        let long = Duration::from_secs(60);
        assert_eq!(well(&events, &view, long).await, Err("the store does not take writes"));
        is_well.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(well(&events, &view, long).await, Err("the outbox is not looked into"));
        let looked = |ago: i64| view.write().unwrap().outbox.looked_at = Some(Timestamp::now() - SignedDuration::from_secs(ago));
        looked(300);
        assert_eq!(well(&events, &view, long).await, Err("the outbox is not looked into"));
        looked(1);
        assert_eq!(well(&events, &view, long).await, Ok(()));
    }
}
