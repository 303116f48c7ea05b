//! Lines of logs on their way from the intake to the store: whose they are, which template, how often.
//!
//! A task of its own beside the loop: it reads what is desired, for the devices' addresses, and writes what is counted into the view.

mod again;
mod handing;
pub(crate) mod journal;
pub(crate) mod keeping;
mod readings;
mod senders;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use api::view::SharedView;
use jiff::Timestamp;
use logs::anomaly;
use logs::batch::Batch;
use logs::intake::{Intake, Refused};
use logs::mining::{Change, Kept, Snapshot, TemplateId};
use logs::reading::{Count, Reading, Record};
use logs::senders::{By, Known};
use reconcile::desired::Logs;
use reconcile::{Desired, Device, Name};
use store::{Handed, JournalPlace, LogCount, LogLine, LogTemplate, Store};
use tokio::sync::mpsc::Receiver;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use readings::Readings;

/// How often templates are kept, and counters are shown.
const TICK: Duration = Duration::from_secs(10);
/// Ticks after which all templates are kept that were seen.
const ALL: u64 = 60;
/// How often it is looked whether a minute is over.
const PASS: Duration = Duration::from_secs(1);
/// Seconds after a minute's end at which it is over: what came in it is out of the queue by then.
const LATE: i64 = 1;

/// Longest time for which lines wait for whose they are to be known.
const UNREADY: Duration = Duration::from_secs(30);
/// Pages of what other replicas took in that are taken over at once; what is sent here has its turn in between.
const TAKEN_OVER: usize = 8;

/// What is remembered between batches.
struct Lines {
    reading: Reading,
    /// The last lines from before the start, which are to be counted again.
    before: Vec<again::Before>,
    readings: Readings,
    view: SharedView,
    desired: Option<Arc<Desired>>,
    store: Arc<Store>,
    /// Lines that the store did not take.
    lost: u64,
    /// Templates that are new or wider, and not kept yet as they are.
    changed: BTreeSet<TemplateId>,
    /// Templates that were seen, and are not kept yet as seen.
    seen: BTreeSet<TemplateId>,
    is_away: bool,
}

/// Where lines come from.
pub(crate) struct Sources {
    pub(crate) intake: Arc<Intake>,
    pub(crate) sent: Receiver<Batch>,
    pub(crate) journals: Receiver<journal::Arrived>,
    /// Something listens: what it counts is shown from the beginning.
    pub(crate) listens: bool,
    /// Other replicas may hand on what they take in.
    pub(crate) has_others: bool,
}

/// Stores what comes, until it is stopped and nothing is left in the queue; as long as another replica plans, hands it on to that one.
pub(crate) async fn run(mut sources: Sources, options: anomaly::Options, store: Arc<Store>, view: SharedView, stop: CancellationToken) {
    let Some(lost) = handing::until_it_plans(&mut sources, &store, &view, &stop).await else { return };
    let mut lines = Lines { lost, ..Lines::restore(options, store, view).await };
    let begun = Instant::now();
    let Sources { intake, sent: mut queue, mut journals, listens, has_others } = sources;
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut pass = tokio::time::interval(PASS);
    pass.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut ticks = 0;
    let mut is_ready = false;
    // What one left that was stopped before it knew whose it was is there without others too.
    let mut is_more = true;
    loop {
        // Whose lines are is not known before: they wait in the queue, and on their devices.
        if !is_ready && (lines.know() || begun.elapsed() > UNREADY) {
            lines.again().await;
            is_ready = true;
        }
        tokio::select! {
            batch = queue.recv(), if is_ready => match batch {
                Some(batch) => {
                    lines.know();
                    lines.store(&batch).await;
                }
                None => break,
            },
            Some(arrived) = journals.recv(), if is_ready => {
                lines.know();
                let stored = lines.store_read(&arrived.batch, Whence::Journal(arrived.place)).await.is_ok();
                // Who read it may be gone.
                let _ = arrived.stored.send(stored);
            }
            _ = pass.tick() => {
                if is_ready {
                    lines.know();
                    if has_others || is_more {
                        is_more = lines.take_over().await;
                    }
                    // What waits in the queue came before this.
                    if queue.is_empty() {
                        lines.readings.pass(Timestamp::now().as_second() - LATE, &lines.reading.miner);
                    }
                }
                continue;
            }
            _ = tick.tick() => {
                ticks += 1;
                lines.keep(false).await;
                if ticks % ALL == 1 {
                    lines.keep(true).await;
                }
                lines.view.write().unwrap_or_else(PoisonError::into_inner).senders = senders::list(&intake, &lines.reading);
            }
            () = stop.cancelled() => break,
        }
        if listens {
            let counters = counters(&intake, lines.lost, &lines.reading);
            lines.view.write().unwrap_or_else(PoisonError::into_inner).logs = counters;
        }
    }
    let (sender, mut at) = (handing::sender(), 0);
    while let Ok(batch) = queue.try_recv() {
        at = Timestamp::now().as_microsecond().max(at + 1);
        // Whose lines are was not known yet: whoever plans next takes them over.
        let left = Handed { at, sender: sender.clone(), document: batch.to_document() };
        if is_ready || lines.store.hand_over_logs(&left, &[]).await.is_err() {
            lines.store(&batch).await;
        }
    }
    let counts = lines.reading.finish();
    lines.count(counts).await;
    lines.keep(true).await;
    lines.readings.keep(&lines.store, true).await;
}

/// How lines came here, and what of that is written down with them.
enum Whence {
    Sent,
    Journal(JournalPlace),
    Handed(Handed),
}

impl Lines {
    /// Takes in which devices there are, if that changed. Returns whether anything is in force yet.
    fn know(&mut self) -> bool {
        let desired = self.view.read().unwrap_or_else(PoisonError::into_inner).desired.clone();
        let is_in_force = !desired.revision.commit.is_empty();
        if self.desired.as_ref().is_some_and(|known| Arc::ptr_eq(known, &desired)) {
            return is_in_force;
        }
        let before = self.desired.take();
        let known_by = |device: &Device| (device.address.clone(), device.logs.syslog, device.logs.relay);
        for (name, device) in &desired.devices {
            let then = before.as_ref().and_then(|before| before.devices.get(name));
            if then.map(|device| known_by(device)) != Some(known_by(device)) {
                let Logs { syslog, relay, .. } = device.logs;
                self.reading.devices.set(name.full(), Known { is_kept_apart: !syslog, is_relay: relay, ..known(name, &device.address) });
            }
        }
        for name in before.iter().flat_map(|before| before.devices.keys()).filter(|name| desired.devices.get(name).is_none()) {
            self.reading.devices.remove(name.full());
        }
        self.readings.know(&desired);
        self.desired = Some(desired);
        is_in_force
    }

    async fn store(&mut self, batch: &Batch) {
        if self.store_read(batch, Whence::Sent).await.is_err() {
            self.lost += batch.len() as u64;
        }
    }

    /// Takes over some of what other replicas took in, and tells whether there may be more of it.
    async fn take_over(&mut self) -> bool {
        for _ in 0..TAKEN_OVER {
            let Ok(all) = self.store.handed_logs().await else { return true };
            if all.is_empty() {
                return false;
            }
            for handed in all {
                let batch = Batch::from_document(&handed.document, Timestamp::now()).unwrap_or_else(|error| {
                    tracing::error!(%error, sender = handed.sender, "lines of another version can't be read, and are lost");
                    Batch::default()
                });
                match self.store_read(&batch, Whence::Handed(handed.clone())).await {
                    Ok(()) => {}
                    Err(error) if error.is_transient() || matches!(error, store::Error::Replaced(_)) => return true,
                    // It would be refused for ever, and those behind it wait.
                    Err(error) => {
                        tracing::error!(%error, sender = handed.sender, lines = batch.len(), "lines of logs are refused, and are lost");
                        self.lost += batch.len() as u64;
                        if self.store.take_over_logs(&[], &handed).await.is_err() {
                            return true;
                        }
                    }
                }
            }
        }
        true
    }

    /// Stores lines, and what tells that they are.
    async fn store_read(&mut self, batch: &Batch, whence: Whence) -> Result<(), store::Error> {
        let records = self.reading.read(batch);
        self.changed.extend(records.iter().filter(|record| record.change != Change::None).filter_map(|record| record.template));
        self.seen.extend(records.iter().filter_map(|record| record.template));
        let rows: Vec<LogLine> = records.iter().map(row).collect();
        let written = match &whence {
            Whence::Sent => self.store.write_logs(&rows).await,
            Whence::Journal(place) => self.store.write_logs_of(&rows, std::slice::from_ref(place)).await,
            Whence::Handed(handed) => self.store.take_over_logs(&rows, handed).await,
        };
        if let Err(error) = &written
            && !self.is_away
        {
            tracing::error!(%error, "lines of logs can't be stored, and those that were sent are lost until they can");
        }
        self.is_away = written.is_err();
        // What a journal says, or another replica, and was not stored is read again, and counts then.
        if written.is_ok() || matches!(whence, Whence::Sent) {
            self.readings.take(&records, &self.reading.miner);
            let ended = self.reading.count(&records);
            self.count(ended).await;
        }
        written.map(drop)
    }

    async fn count(&self, counts: Vec<Count>) {
        let count = |count: Count| LogCount {
            slot: count.slot,
            device: count.device.to_string(),
            template: count.template.map(|template| template.to_string()).unwrap_or_default(),
            lines: count.lines,
        };
        let counts: Vec<LogCount> = counts.into_iter().map(count).collect();
        if let Err(error) = self.store.keep_log_counts(&counts).await {
            tracing::error!(%error, "counts of five minutes of logs could not be stored");
        }
    }

    /// Keeps templates that changed, or all that were seen, so that they are not taken for old ones.
    async fn keep(&mut self, all: bool) {
        self.readings.keep(&self.store, false).await;
        let which = if all { &self.seen } else { &self.changed };
        if which.is_empty() {
            return;
        }
        let seen = Timestamp::now().as_second();
        let snapshot = self.reading.miner.snapshot();
        let kept = snapshot.templates.iter().filter(|kept| which.contains(&kept.id));
        let templates: Vec<LogTemplate> = kept.map(|kept| template(kept, seen)).collect();
        match self.store.keep_log_templates(&templates).await {
            Ok(()) => {
                self.changed.clear();
                if all {
                    self.seen.clear();
                }
            }
            Err(error) => tracing::warn!(%error, "templates of logs could not be stored, and will be tried again"),
        }
    }
}

/// A device's address is an IP address or a DNS name.
fn known(name: &Name, address: &str) -> Known {
    let name = name.name().to_owned();
    match address.parse() {
        Ok(address) => Known { names: vec![name], addresses: vec![address], ..Known::default() },
        Err(_) => Known { names: vec![name, address.to_owned()], ..Known::default() },
    }
}

fn row(record: &Record<'_>) -> LogLine {
    let line = &record.line;
    let fields: Vec<[&str; 3]> = line.fields.iter().map(|field| [field.group, field.name, field.value.as_ref()]).collect();
    LogLine {
        number: 0,
        received: record.received.as_microsecond(),
        sent: line.sent.map(Timestamp::as_microsecond),
        device: record.device.as_deref().unwrap_or_default().to_owned(),
        // A line that was read on the device says so.
        address: if record.by == Some(By::Read) { "journald".into() } else { record.address.to_string() },
        host: line.host.to_owned(),
        facility: line.facility.number().into(),
        severity: line.severity.number().into(),
        program: line.program.to_owned(),
        process: line.process.to_owned(),
        kind: line.id.to_owned(),
        template: record.template.map(|template| template.to_string()),
        flags: line.flags.bits().into(),
        fields: serde_json::to_string(&fields).unwrap_or_default(),
        message: line.message.to_owned(),
    }
}

fn template(kept: &Kept, seen: i64) -> LogTemplate {
    LogTemplate {
        id: kept.id.to_string(),
        program: kept.program.clone(),
        text: kept.words.join(" "),
        document: serde_json::to_string(kept).unwrap_or_default(),
        seen,
    }
}

/// What can't be read, of another version, is left out: its template will be new once more.
fn snapshot(kept: &[LogTemplate]) -> Snapshot {
    Snapshot { templates: kept.iter().filter_map(|template| serde_json::from_str(&template.document).ok()).collect() }
}

/// What is counted, under the names of its metrics.
fn counters(intake: &Intake, lost: u64, reading: &Reading) -> BTreeMap<&'static str, u64> {
    let counts = intake.counts();
    let mut counters: BTreeMap<&'static str, u64> = Refused::ALL.iter().map(|why| (why.name(), counts.refused(*why))).collect();
    counters.extend([("store", lost), ("taken", counts.lines()), ("cut", counts.cut()), ("mended", counts.mended())]);
    counters.extend([("templates", reading.miner.len() as u64), ("strangers", reading.strangers.list().len() as u64)]);
    counters
}

#[cfg(test)]
mod tests;
