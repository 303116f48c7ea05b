//! After a start: what was counted of lines is made again from the lines that are stored, so that being killed loses nothing that a
//! minute or a time slot came to.

use std::collections::BTreeSet;
use std::sync::Arc;

use api::view::SharedView;
use jiff::Timestamp;
use logs::anomaly;
use logs::mining::{Miner, Options};
use logs::reading::{Reading, SLOT, Stored};
use store::{LogLine, Search, Store};

use super::readings::Readings;
use super::{LATE, Lines, snapshot};

/// Seconds since the last line after which nothing of it is counted again: all of that is over and said.
const RECENT: i64 = 900;
/// Lines that are counted again at most; of more the newest.
const MOST: usize = 50_000;
/// Lines that are read at once.
const PAGE: usize = 1000;

/// What counts of a line that is stored.
pub(super) struct Before {
    device: Arc<str>,
    received: Timestamp,
    severity: u8,
    program: String,
    id: String,
    message: String,
}

impl Lines {
    /// With the templates that are kept, and with what was counted before the lines that are to be counted again.
    pub(super) async fn restore(options: anomaly::Options, store: Arc<Store>, view: SharedView) -> Self {
        let miner = match store.log_templates().await {
            Ok(kept) => Miner::restore(Options::default(), &snapshot(&kept)),
            Err(error) => {
                tracing::warn!(%error, "the templates of logs can't be read: all will be new");
                Miner::new(Options::default())
            }
        };
        let now = Timestamp::now().as_second();
        let (since, before) = last(&store, now).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the last lines of logs can't be read: what they came to is not known");
            (now, Vec::new())
        });
        let readings = Readings::restore(&store, options, view.clone(), (since, now)).await;
        Self {
            reading: Reading::new(miner),
            before,
            readings,
            view,
            desired: None,
            store,
            lost: 0,
            changed: BTreeSet::new(),
            seen: BTreeSet::new(),
            is_away: false,
        }
    }

    /// Counts the last lines before the start again.
    pub(super) async fn again(&mut self) {
        let before = std::mem::take(&mut self.before);
        let mut records = Vec::new();
        for Before { device, received, severity, program, id, message } in &before {
            let stored = Stored { device, received: *received, severity: *severity, program, id, message };
            records.push(self.reading.again(&stored));
        }
        self.changed.extend(records.iter().filter_map(|record| record.template));
        let ended = self.reading.count(&records);
        self.readings.again(records, Timestamp::now().as_second() - LATE, &self.reading.miner);
        self.count(ended).await;
    }
}

/// From when on lines are counted again, in seconds since 1970, and the lines of devices that came since, the oldest first. That is the time
/// slot of the last line, and the one before that, which may not be written down either.
async fn last(store: &Store, now: i64) -> Result<(i64, Vec<Before>), store::Error> {
    let newest = store.search_logs(&Search { limit: 1, ..Search::default() }).await?;
    let newest = newest.first().map_or(i64::MIN, |line| line.received.div_euclid(1_000_000));
    if now - RECENT > newest {
        return Ok((now, Vec::new()));
    }
    let mut since = (newest.min(now).div_euclid(SLOT) - 1) * SLOT;
    let mut search = Search { since: Some(since * 1_000_000), limit: PAGE, ..Search::default() };
    let mut lines = Vec::new();
    loop {
        let page = store.search_logs(&search).await?;
        search.before = page.last().map(LogLine::place);
        let is_last = page.len() < PAGE;
        lines.extend(page.into_iter().filter(|line| !line.device.is_empty()).map(before));
        if is_last {
            break;
        }
        if lines.len() >= MOST {
            // What came before those is not counted again, so it has to be known.
            since = lines.last().map_or(now, |line| line.received.as_second() + 1);
            break;
        }
    }
    lines.reverse();
    lines.retain(|line| line.received.as_second() >= since);
    Ok((since, lines))
}

fn before(line: LogLine) -> Before {
    Before {
        device: line.device.into(),
        received: Timestamp::from_microsecond(line.received).unwrap_or_default(),
        severity: u8::try_from(line.severity).unwrap_or(u8::MAX),
        program: line.program,
        id: line.kind,
        message: line.message,
    }
}
