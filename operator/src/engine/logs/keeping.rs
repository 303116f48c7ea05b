//! How lines are kept: archived first, if they are archived at all, and removed when they are old, too many, or the disk has no room.
//!
//! A task of its own: it takes its turns at the store beside those who write, and never holds them up.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use api::view::{LogKeeping, SharedView};
use jiff::{SignedDuration, Timestamp};
use store::archive::{self, Segment, Writer};
use store::{Filter, Forgotten, Keep, Search, Store, Unarchived};
use tokio_util::sync::CancellationToken;

/// Time between two looks.
const TICK: Duration = Duration::from_secs(10);
/// Looks between two removals of old counts.
const COUNTS: u64 = 60;
/// How long counts are kept, in seconds: 35 days, so that a month can be compared.
const COUNTS_KEPT: i64 = 35 * 86_400;
/// How long it is kept after it was last seen which templates there are, and what came from where: 400 days, for what comes once in a year.
const SEEN_KEPT: i64 = 400 * 86_400;
/// Templates that are kept: twice what is read at a start, so that one which comes back is known.
const TEMPLATES: u32 = 40_000;
/// Templates of devices that are kept: twice what is remembered, for the same reason.
const KNOWN: u32 = 600_000;
/// Lines wait no longer than this to be archived: so much would be lost with the store.
const SEGMENT: SignedDuration = SignedDuration::from_hours(1);
/// Segments of one look at most, so that what is old is removed meanwhile too.
const SEGMENTS: usize = 20;
/// Lines that are read at once.
const PAGE: usize = 1000;

/// How lines are kept.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// So long.
    pub(crate) age: SignedDuration,
    /// So many bytes; what the store says, if none.
    pub(crate) size: Option<u64>,
    /// Archived here before they go.
    pub(crate) archive: Option<PathBuf>,
}

struct Keeping {
    options: Options,
    store: Arc<Store>,
    state: LogKeeping,
}

/// Archives and removes, until it is stopped.
pub(crate) async fn keep(options: Options, store: Arc<Store>, view: SharedView, stop: CancellationToken) {
    let limit = options.size.map_or_else(|| store.log_size(), Ok).unwrap_or_else(|error| {
        tracing::warn!(%error, "the size of the disk can't be read: lines of logs may take 1 GiB");
        1 << 30
    });
    let state = LogKeeping { limit, removed: ["age", "size", "room", "unarchived"].map(|why| (why, 0)).into(), ..LogKeeping::default() };
    if let Some(folder) = &options.archive
        && let Err(error) = archive::sweep_temporary(folder)
    {
        tracing::warn!(%error, "what a kill left in the archive can't be removed");
    }
    let mut keeping = Keeping { options, store, state };
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for looks in 0_u64.. {
        tokio::select! {
            _ = tick.tick() => {}
            () = stop.cancelled() => return,
        }
        // It may end anywhere: what is not recorded counts for nothing.
        tokio::select! {
            () = keeping.look(looks % COUNTS == 0) => {}
            () = stop.cancelled() => return,
        }
        view.write().unwrap_or_else(PoisonError::into_inner).log_keeping = keeping.state.clone();
    }
}

impl Keeping {
    async fn look(&mut self, counts: bool) {
        let mut problem = self.archive_and_remove().await.err();
        if counts {
            let now = Timestamp::now().as_second();
            let counts = self.store.forget_log_counts(now - COUNTS_KEPT).await;
            let templates = self.store.forget_log_templates(now - SEEN_KEPT, TEMPLATES).await;
            let known = self.store.forget_log_known(now - SEEN_KEPT, KNOWN).await;
            if let Err(error) = counts.and(templates).and(known) {
                problem.get_or_insert(error.to_string());
            }
        }
        match (&self.state.problem, &problem) {
            (before, Some(problem)) if before.as_ref() != Some(problem) => {
                tracing::error!(problem, "lines of logs are not kept as they should be");
            }
            (Some(_), None) => tracing::info!("lines of logs are kept as they should be again"),
            _ => {}
        }
        self.state.problem = problem;
    }

    async fn archive_and_remove(&mut self) -> Result<(), String> {
        if self.options.archive.is_none() {
            return self.remove(Unarchived::Go).await.map(drop);
        }
        let mut archived = self.archive(false).await;
        if self.remove(Unarchived::Stay).await? {
            // More came than was expected to: however little is left, it is archived now.
            archived = archived.and(self.archive(true).await);
            if self.remove(Unarchived::StayWhile).await? {
                archived = archived.and(Err("old lines of logs stay, as they are not archived yet".into()));
            }
        }
        archived
    }

    /// Removes what has to go, however much that is; each part is a turn of its own. Returns whether something stays that is not archived.
    async fn remove(&mut self, unarchived: Unarchived) -> Result<bool, String> {
        loop {
            let age = i64::try_from(self.options.age.as_micros()).unwrap_or(i64::MAX);
            let keep = Keep { now: Timestamp::now().as_microsecond(), age, bytes: self.state.limit, unarchived };
            let Forgotten { aged, oversize, shed, unarchived, bytes, held, more } =
                self.store.forget_logs(&keep).await.map_err(|error| error.to_string())?;
            for (why, lines) in [("age", aged), ("size", oversize), ("room", shed), ("unarchived", unarchived)] {
                *self.state.removed.entry(why).or_default() += lines;
            }
            self.state.bytes = bytes;
            if shed > 0 {
                tracing::error!(lines = shed, "the disk of the store is nearly full: the oldest lines of logs were removed");
            }
            if unarchived > 0 {
                tracing::error!(lines = unarchived, "lines of logs were removed that are not archived");
            }
            if held || !more {
                return Ok(held);
            }
            tokio::task::yield_now().await;
        }
    }

    /// Archives segments that are due; or all that is there.
    async fn archive(&mut self, all: bool) -> Result<(), String> {
        let Some(folder) = self.options.archive.clone() else { return Ok(()) };
        for _ in 0..SEGMENTS {
            let tail = self.store.log_tail().await.map_err(|error| error.to_string())?;
            let behind = tail.number.saturating_sub(tail.archived);
            self.state.behind = Some(behind);
            let first = self.page(tail.archived, 1).await?;
            let is_old = |received: i64| Timestamp::now().as_microsecond().saturating_sub(received) >= SEGMENT.as_micros() as i64;
            if behind < archive::LINES && !all && !first.first().is_some_and(|line| is_old(line.received)) {
                return Ok(());
            }
            let Some((segment, is_full)) = self.write(&folder, tail.archived).await? else { return Ok(()) };
            self.record(&folder, &segment).await?;
            // It has all that was there: what came since would be a file of a few lines, and so would what comes while that is written.
            if !is_full {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Writes the next segment, and tells whether it is full. Compressing takes a second of a processor, and is done where that holds up nobody.
    async fn write(&self, folder: &Path, after: u64) -> Result<Option<(Segment, bool)>, String> {
        let mut writer = Writer::begin(folder).map_err(|error| error.to_string())?;
        let mut from = after;
        loop {
            let lines = self.page(from, PAGE).await?;
            let is_last = lines.len() < PAGE;
            let task = tokio::task::spawn_blocking(move || writer.add(&lines).map(|_| writer));
            writer = task.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
            from = writer.last().max(from);
            if is_last || writer.is_full() {
                break;
            }
        }
        if writer.lines() == 0 {
            return Ok(None);
        }
        let is_full = writer.is_full();
        let task = tokio::task::spawn_blocking(move || writer.finish(after));
        let segment = task.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        Ok(Some((segment, is_full)))
    }

    async fn record(&mut self, folder: &Path, segment: &Segment) -> Result<(), String> {
        let recorded = self.store.record_segment(segment, Timestamp::now()).await.map_err(|error| error.to_string())?;
        if recorded {
            self.state.segments += 1;
            self.state.archived += segment.lines;
            tracing::info!(segment = segment.name, lines = segment.lines, bytes = segment.bytes, "lines of logs were archived");
            return archive::sweep(folder, segment).map_err(|error| error.to_string());
        }
        // Another replica was first; it may have written the very same file into the same folder.
        let about = Filter { about: Some(format!("logs/{}", segment.name)), limit: 1, ..Filter::default() };
        let known = self.store.entries(&about).await.map_err(|error| error.to_string())?;
        if known.is_empty() {
            std::fs::remove_file(folder.join(&segment.name)).map_err(|error| format!("{}: {error}", segment.name))?;
        }
        Ok(())
    }

    async fn page(&self, after: u64, limit: usize) -> Result<Vec<store::LogLine>, String> {
        let search = Search { after: Some(after), limit, ..Search::default() };
        self.store.search_logs(&search).await.map_err(|error| error.to_string())
    }
}
