//! What comes of readings: the last values, which are shown and judged, and samples, which are stored.
//!
//! ```text
//! devices::usage::Scheduler ─► Measured ─► Usages: latest, on_usage (alert rules) ─► Samples ─► store
//! ```
//!
//! None of it gets into a status, and none of it wakes the loop.

use std::sync::Arc;
use std::time::Duration;

use api::usage::Usages;
use devices::probe::Measurements;
use devices::usage::Measured;
use reconcile::ProbeCode;
use tokio::sync::mpsc;

/// Readings that wait to be taken in; who has more waits, and reads less often meanwhile.
pub(super) const QUEUE: usize = 4096;

/// Time between two takings of what probes measured: the newest of each counts.
const PROBES: Duration = Duration::from_secs(5);

/// Takes in how long probes took, for ever.
pub(super) async fn take_in_probes(measurements: Measurements, usages: Arc<Usages>) {
    loop {
        tokio::time::sleep(PROBES).await;
        for measured in measurements.take().into_iter().filter(|measured| measured.code == ProbeCode::Passed) {
            usages.probe_took(&measured.device, &measured.probe, measured.at, measured.took.as_secs_f64());
        }
    }
}

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
