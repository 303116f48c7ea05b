//! What comes of readings: the last values, which are shown and judged, and samples, which are stored.
//!
//! ```text
//! devices::usage::Scheduler ─► Measured ─► Usages: latest, on_usage (alert rules) ─► Samples ─► store
//! ```
//!
//! None of it gets into a status, and none of it wakes the loop.

use std::sync::Arc;

use api::usage::Usages;
use devices::usage::Measured;
use tokio::sync::mpsc;

/// Readings that wait to be taken in; who has more waits, and reads less often meanwhile.
pub(super) const QUEUE: usize = 4096;

/// Takes in what is read, until nobody reads any more.
pub(super) async fn take_in(mut measured: mpsc::Receiver<Measured>, usages: Arc<Usages>) {
    while let Some(measured) = measured.recv().await {
        let Measured { device, at, usage, note } = measured;
        match usage {
            Ok(usage) => usages.took(&device, &usage, note),
            Err(reason) => {
                if usages.last(&device).is_none_or(|last| last.problem.is_empty()) {
                    tracing::info!(%device, reason, "its usage can't be read");
                }
                usages.failed(&device, at, reason);
            }
        }
    }
}
