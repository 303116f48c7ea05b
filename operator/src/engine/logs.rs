//! Lines of logs on their way from the intake to the store: whose they are, which template, how often.
//!
//! A task of its own beside the loop: it reads what is desired, for the devices' addresses, and writes what is counted into the view.

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
use logs::mining::{Change, Kept, Miner, Options, Snapshot, TemplateId};
use logs::reading::{Count, Reading, Record};
use logs::senders::{By, Known};
use reconcile::{Desired, Device, Name};
use store::{JournalPlace, LogCount, LogLine, LogTemplate, Store};
use tokio::sync::mpsc::Receiver;
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

/// What is remembered between batches.
struct Lines {
    reading: Reading,
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
}

/// Stores what comes, until it is stopped and nothing is left in the queue.
pub(crate) async fn run(sources: Sources, options: anomaly::Options, store: Arc<Store>, view: SharedView, stop: CancellationToken) {
    let Sources { intake, sent: mut queue, mut journals, listens } = sources;
    let miner = match store.log_templates().await {
        Ok(kept) => Miner::restore(Options::default(), &snapshot(&kept)),
        Err(error) => {
            tracing::warn!(%error, "the templates of logs can't be read: all will be new");
            Miner::new(Options::default())
        }
    };
    let readings = Readings::restore(&store, options, view.clone(), Timestamp::now().as_second()).await;
    let mut lines = Lines {
        reading: Reading::new(miner),
        readings,
        view,
        desired: None,
        store,
        lost: 0,
        changed: BTreeSet::new(),
        seen: BTreeSet::new(),
        is_away: false,
    };
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut pass = tokio::time::interval(PASS);
    pass.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut ticks = 0;
    loop {
        tokio::select! {
            batch = queue.recv() => match batch {
                Some(batch) => {
                    lines.know();
                    lines.store(&batch).await;
                }
                None => break,
            },
            Some(arrived) = journals.recv() => {
                lines.know();
                let stored = lines.store_read(&arrived.batch, &[arrived.place]).await;
                // Who read it may be gone.
                let _ = arrived.stored.send(stored);
            }
            _ = pass.tick() => {
                lines.know();
                // What waits in the queue came before this.
                if queue.is_empty() {
                    lines.readings.pass(Timestamp::now().as_second() - LATE, &lines.reading.miner);
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
            let counters = counters(&intake, &lines);
            lines.view.write().unwrap_or_else(PoisonError::into_inner).logs = counters;
        }
    }
    while let Ok(batch) = queue.try_recv() {
        lines.store(&batch).await;
    }
    let counts = lines.reading.finish();
    lines.count(counts).await;
    lines.keep(true).await;
    lines.readings.keep(&lines.store, true).await;
}

impl Lines {
    /// Takes in which devices there are, if that changed.
    fn know(&mut self) {
        let desired = self.view.read().unwrap_or_else(PoisonError::into_inner).desired.clone();
        if self.desired.as_ref().is_some_and(|known| Arc::ptr_eq(known, &desired)) {
            return;
        }
        let before = self.desired.take();
        let known_by = |device: &Device| (device.address.clone(), device.logs.syslog);
        for (name, device) in &desired.devices {
            let then = before.as_ref().and_then(|before| before.devices.get(name));
            if then.map(|device| known_by(device)) != Some(known_by(device)) {
                self.reading.devices.set(name.full(), Known { is_kept_apart: !device.logs.syslog, ..known(name, &device.address) });
            }
        }
        for name in before.iter().flat_map(|before| before.devices.keys()).filter(|name| desired.devices.get(name).is_none()) {
            self.reading.devices.remove(name.full());
        }
        self.readings.know(&desired);
        self.desired = Some(desired);
    }

    async fn store(&mut self, batch: &Batch) {
        if !self.store_read(batch, &[]).await {
            self.lost += batch.len() as u64;
        }
    }

    /// Stores lines, and how far the journals are read that they came from. Returns whether that was done.
    async fn store_read(&mut self, batch: &Batch, journals: &[JournalPlace]) -> bool {
        let records = self.reading.read(batch);
        self.changed.extend(records.iter().filter(|record| record.change != Change::None).filter_map(|record| record.template));
        self.seen.extend(records.iter().filter_map(|record| record.template));
        let rows: Vec<LogLine> = records.iter().map(row).collect();
        let written = self.store.write_logs_of(&rows, journals).await;
        if let Err(error) = &written
            && !self.is_away
        {
            tracing::error!(%error, "lines of logs can't be stored, and those that were sent are lost until they can");
        }
        self.is_away = written.is_err();
        // What a journal says and was not stored is read again, and counts then.
        if written.is_ok() || journals.is_empty() {
            self.readings.take(&records, &self.reading.miner);
            let ended = self.reading.count(&records);
            self.count(ended).await;
        }
        written.is_ok()
    }

    async fn count(&self, counts: Vec<Count>) {
        let count = |count: Count| LogCount {
            slot: count.slot,
            device: count.device.to_string(),
            template: count.template.map(|template| template.to_string()).unwrap_or_default(),
            lines: count.lines,
        };
        let counts: Vec<LogCount> = counts.into_iter().map(count).collect();
        if let Err(error) = self.store.add_log_counts(&counts).await {
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
fn counters(intake: &Intake, lines: &Lines) -> BTreeMap<&'static str, u64> {
    let counts = intake.counts();
    let mut counters: BTreeMap<&'static str, u64> = Refused::ALL.iter().map(|why| (why.name(), counts.refused(*why))).collect();
    counters.extend([("store", lines.lost), ("taken", counts.lines()), ("cut", counts.cut()), ("mended", counts.mended())]);
    counters.extend([("templates", lines.reading.miner.len() as u64), ("strangers", lines.reading.strangers.list().len() as u64)]);
    counters
}
