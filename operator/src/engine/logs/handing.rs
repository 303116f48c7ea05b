//! A replica that does not plan hands on what it takes in to the one that does: that one knows the devices, and judges what lines come to.
//!
//! ```text
//! intake, journals ─► Batch ─► log_handed ─► the one who plans: matched, grouped, counted, stored
//! ```
//!
//! Batches go as they came, and are taken over in the transaction that stores their lines: whoever dies loses none and doubles none.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use api::view::SharedView;
use jiff::Timestamp;
use logs::batch::Batch;
use logs::mining::{Miner, Options};
use logs::reading::Reading;
use store::{HANDED_MOST, Handed, JournalPlace, LogLine, Store};
use tokio_util::sync::CancellationToken;

use super::{Sources, counters, row};

/// How often it is looked whether this replica plans by now, and whether there is room.
const LOOK: Duration = Duration::from_millis(500);

/// What is handed on.
struct Handing {
    store: Arc<Store>,
    sender: String,
    /// When the last batch was, in microseconds since 1970.
    last: i64,
    has_room: bool,
    is_away: bool,
    /// Lines that nobody took.
    lost: u64,
    /// Knows no device: what is not handed on is a stranger's.
    reading: Reading,
}

/// Hands on what comes for as long as this replica stands by. Returns the lines that nobody took; none: it is to stop.
pub(super) async fn until_it_plans(sources: &mut Sources, store: &Arc<Store>, view: &SharedView, stop: &CancellationToken) -> Option<u64> {
    let stands_by = || view.read().unwrap_or_else(PoisonError::into_inner).stands_by;
    let mut handing = Handing {
        store: store.clone(),
        sender: sender(),
        last: 0,
        has_room: true,
        is_away: false,
        lost: 0,
        reading: Reading::new(Miner::new(Options::default())),
    };
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while stands_by() {
        tokio::select! {
            Some(batch) = sources.sent.recv() => handing.sent(&batch).await,
            Some(arrived) = sources.journals.recv() => {
                let stored = handing.hand_over(&arrived.batch, &[arrived.place]).await;
                // Who read it may be gone.
                let _ = arrived.stored.send(stored);
            }
            _ = look.tick() => handing.look().await,
            () = stop.cancelled() => {
                while let Ok(batch) = sources.sent.try_recv() {
                    handing.sent(&batch).await;
                }
                return None;
            }
        }
        if sources.listens {
            let counters = counters(&sources.intake, handing.lost, &handing.reading);
            view.write().unwrap_or_else(PoisonError::into_inner).logs = counters;
        }
    }
    Some(handing.lost)
}

/// Whose batches these are: no other process has this name.
pub(super) fn sender() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}_{}_{}", std::process::id(), Timestamp::now().as_millisecond())
}

impl Handing {
    async fn sent(&mut self, batch: &Batch) {
        if !self.hand_over(batch, &[]).await {
            self.lost += batch.len() as u64;
        }
    }

    async fn look(&mut self) {
        let Ok(bytes) = self.store.handed_bytes().await else { return };
        let has_room = bytes < HANDED_MOST;
        if self.has_room && !has_room {
            tracing::error!(
                bytes,
                "nobody takes over the lines of logs that wait: what comes now can be searched, and is not counted for its device"
            );
        }
        self.has_room = has_room;
    }

    /// Returns whether it was done.
    async fn hand_over(&mut self, batch: &Batch, journals: &[JournalPlace]) -> bool {
        if batch.is_empty() && journals.is_empty() {
            return true;
        }
        let written = if self.has_room {
            self.last = Timestamp::now().as_microsecond().max(self.last + 1);
            let handed = Handed { at: self.last, sender: self.sender.clone(), document: batch.to_document() };
            self.store.hand_over_logs(&handed, journals).await
        } else {
            let rows: Vec<LogLine> = self.reading.read(batch).iter().map(|record| LogLine { template: None, ..row(record) }).collect();
            self.store.write_logs_of(&rows, journals).await.map(drop)
        };
        if let Err(error) = &written
            && !self.is_away
        {
            tracing::error!(%error, "lines of logs can't be handed on, and those that were sent are lost until they can");
        }
        self.is_away = written.is_err();
        written.is_ok()
    }
}
