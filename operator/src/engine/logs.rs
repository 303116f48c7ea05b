//! Lines of logs on their way from the intake to the store: whose they are, which template, how often.
//!
//! A task of its own beside the loop: it reads what is desired, for the devices' addresses, and writes what is counted into the view.

mod readings;

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
use logs::senders::Known;
use reconcile::{Desired, Name};
use store::{LogCount, LogLine, LogTemplate, Store};
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

use readings::Readings;

/// How often templates are kept, old lines go, and counters are shown.
const TICK: Duration = Duration::from_secs(10);
/// How often it is looked whether a minute is over.
const PASS: Duration = Duration::from_secs(1);
/// Seconds after a minute's end at which it is over: what came in it is out of the queue by then.
const LATE: i64 = 1;
/// Ticks between two removals of what is old.
const FORGET: u64 = 60;
/// How long lines are kept, in microseconds: 30 days.
const KEPT: i64 = 30 * 86_400 * 1_000_000;
/// Lines that are kept at most.
const MOST: u64 = 50_000_000;
/// How long counts and templates are kept after they were last seen, in seconds: 400 days, so that a year can be compared.
const COUNTS_KEPT: i64 = 400 * 86_400;

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

/// Stores what comes, until it is stopped and nothing is left in the queue.
pub(crate) async fn run(
    intake: Arc<Intake>,
    mut queue: Receiver<Batch>,
    store: Arc<Store>,
    view: SharedView,
    options: anomaly::Options,
    stop: CancellationToken,
) {
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
                if ticks % FORGET == 1 {
                    lines.keep(true).await;
                    lines.forget().await;
                }
            }
            () = stop.cancelled() => break,
        }
        let counters = counters(&intake, &lines);
        lines.view.write().unwrap_or_else(PoisonError::into_inner).logs = counters;
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
        let address = |desired: &Desired, name: &Name| desired.devices.get(name).map(|device| device.address.clone());
        for (name, device) in &desired.devices {
            if before.as_ref().and_then(|before| address(before, name)).as_ref() != Some(&device.address) {
                self.reading.devices.set(name.full(), known(name, &device.address));
            }
        }
        for name in before.iter().flat_map(|before| before.devices.keys()).filter(|name| desired.devices.get(name).is_none()) {
            self.reading.devices.remove(name.full());
        }
        self.readings.know(&desired);
        self.desired = Some(desired);
    }

    async fn store(&mut self, batch: &Batch) {
        let (records, ended) = self.reading.take(batch);
        self.changed.extend(records.iter().filter(|record| record.change != Change::None).filter_map(|record| record.template));
        self.seen.extend(records.iter().filter_map(|record| record.template));
        self.readings.take(&records, &self.reading.miner);
        let rows: Vec<LogLine> = records.iter().map(row).collect();
        let written = self.store.write_logs(&rows).await;
        if let Err(error) = &written {
            self.lost += rows.len() as u64;
            if !self.is_away {
                tracing::error!(%error, "lines of logs can't be stored, and are lost until they can");
            }
        }
        self.is_away = written.is_err();
        self.count(ended).await;
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

    async fn forget(&self) {
        let now = Timestamp::now();
        let lines = self.store.forget_logs(now.as_microsecond() - KEPT, MOST).await.map(drop);
        let counts = self.store.forget_log_counts(now.as_second() - COUNTS_KEPT).await;
        let known = self.store.forget_log_known(now.as_second() - COUNTS_KEPT).await;
        if let Err(error) = lines.and(counts).and(known) {
            tracing::warn!(%error, "old lines of logs could not be removed, and will be tried again");
        }
    }
}

/// A device's address is an IP address or a DNS name.
fn known(name: &Name, address: &str) -> Known {
    let mut known = Known { names: vec![name.name().to_owned()], ..Known::default() };
    match address.parse() {
        Ok(address) => known.addresses.push(address),
        Err(_) => known.names.push(address.to_owned()),
    }
    known
}

fn row(record: &Record<'_>) -> LogLine {
    let line = &record.line;
    let fields: Vec<[&str; 3]> = line.fields.iter().map(|field| [field.group, field.name, field.value.as_ref()]).collect();
    LogLine {
        number: 0,
        received: record.received.as_microsecond(),
        sent: line.sent.map(Timestamp::as_microsecond),
        device: record.device.as_deref().unwrap_or_default().to_owned(),
        address: record.address.to_string(),
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
