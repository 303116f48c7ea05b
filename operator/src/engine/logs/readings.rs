//! From minutes of logs to readings of devices, and to what is shown of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError};

use api::view::SharedView;
use jiff::{SignedDuration, Timestamp};
use logs::anomaly::{Anomalies, Ended, Known, LOUD, Minute, Options, Patterns, STORED, Said};
use logs::mining::{Miner, TemplateId};
use logs::reading::Record;
use reconcile::{Desired, LogSaid, LogsSeen, Metric, Name, Series, Usage};
use store::{LogKnown, Store};

/// How far back counts are read at a start, in seconds: as long as rates are remembered.
const RATES: i64 = 25 * 3600;
/// How long what stands out is shown.
const SHOWN: SignedDuration = SignedDuration::from_hours(1);
/// Errors that are shown of a device.
const ERRORS: usize = 5;

/// What is remembered of the lines of all devices.
pub(super) struct Readings {
    anomalies: Anomalies,
    view: SharedView,
    /// The patterns that rules ask for, and which of them concern a device.
    wanted: BTreeSet<String>,
    matched: HashMap<Name, Vec<usize>>,
    /// What is shown of devices in whose logs anything stands out.
    seen: HashMap<Name, LogsSeen>,
    minute: i64,
}

impl Readings {
    /// With what was stored before a restart; lines since then are told again. What can't be read is learned anew: for a while nothing of
    /// a device is new then.
    pub(super) async fn restore(store: &Store, options: Options, view: SharedView, (since, now): (i64, i64)) -> Self {
        let mut anomalies = Anomalies::new(options, since);
        let known = store.log_known(options.all).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "what lines came from devices can't be read, and is learned anew");
            Vec::new()
        });
        let heard = known.first().map_or(now, |known| known.last);
        for row in known.iter().filter(|row| row.first < since) {
            if let Ok(template) = row.template.parse() {
                let beat = serde_json::from_str(&row.document).unwrap_or_default();
                anomalies.remember(&row.device, &Known { template, first: row.first, last: row.last, beat }, heard, now);
            }
        }
        match store.loud_log_counts(now - RATES, LOUD).await {
            Ok(counts) => counts.iter().filter(|count| count.slot < since).for_each(|count| {
                if let Ok(template) = count.template.parse() {
                    anomalies.remember_rate(&count.device, template, count.slot, count.lines);
                }
            }),
            Err(error) => tracing::warn!(%error, "how often lines came can't be read, and is learned anew"),
        }
        Self { anomalies, view, wanted: BTreeSet::new(), matched: HashMap::new(), seen: HashMap::new(), minute: options.minute }
    }

    /// Another revision is in force.
    pub(super) fn know(&mut self, desired: &Desired) {
        if desired.revision.commit.is_empty() {
            return;
        }
        self.anomalies.retain(|device| desired.devices.get(&Name::parse(device)).is_some());
        let wanted: BTreeSet<String> = desired.log_patterns();
        if wanted != self.wanted {
            let (patterns, refused) = Patterns::new(&wanted);
            for (pattern, why) in refused {
                tracing::warn!(pattern, why, "lines are not matched against this pattern of an alert rule");
            }
            self.anomalies.match_against(patterns);
            self.wanted = wanted;
        }
        self.matched.clear();
        if self.anomalies.patterns().is_empty() {
            return;
        }
        let places: HashMap<&str, usize> = self.anomalies.patterns().texts().iter().map(|text| &**text).zip(0..).collect();
        let rules = desired.rules.values().map(|rule| (rule, rule.patterns())).filter(|(_, patterns)| !patterns.is_empty());
        for (rule, patterns) in rules {
            for device in desired.devices.values().filter(|device| rule.applies_to(device)) {
                let of = self.matched.entry(device.name.clone()).or_default();
                of.extend(patterns.iter().filter_map(|pattern| places.get(pattern.as_str())));
                of.sort_unstable();
                of.dedup();
            }
        }
    }

    /// Lines came.
    pub(super) fn take(&mut self, records: &[Record<'_>], miner: &Miner) {
        let ended: Vec<Ended> = records.iter().flat_map(|record| self.anomalies.take(record)).collect();
        self.give(&ended, miner);
    }

    /// Lines that came before a restart are counted again, and what the last minute of them came to is given if it is just over: whoever was
    /// killed then may not have said it.
    pub(super) fn again(&mut self, records: Vec<Record<'_>>, now: i64, miner: &Miner) {
        let (mut ended, mut heard) = (Vec::new(), 0);
        for record in records {
            heard = record.received.as_second();
            ended.extend(self.anomalies.take(&record));
            // What was over long before is said, or is too old.
            ended.drain(..ended.len().saturating_sub(1));
        }
        ended.extend(self.anomalies.pass(now));
        ended.retain(|ended: &Ended| ended.at > now - 2 * self.minute && ended.at - self.minute <= heard);
        self.give(&ended, miner);
    }

    /// Time went on, and nothing that came before is still to be taken.
    pub(super) fn pass(&mut self, now: i64, miner: &Miner) {
        let ended = self.anomalies.pass(now);
        self.give(&ended, miner);
    }

    /// Stores what is new, or all that was seen since it was last stored.
    pub(super) async fn keep(&mut self, store: &Store, all: bool) {
        let now = Timestamp::now().as_second();
        let unstored = self.anomalies.unstored(now, if all { 0 } else { STORED });
        if unstored.is_empty() {
            return;
        }
        let row = |(device, known): &(Arc<str>, Known)| LogKnown {
            device: device.to_string(),
            template: known.template.to_string(),
            first: known.first,
            last: known.last,
            document: serde_json::to_string(&known.beat).unwrap_or_default(),
        };
        if let Err(error) = store.keep_log_known(&unstored.iter().map(row).collect::<Vec<_>>()).await {
            tracing::warn!(%error, "what lines came from devices could not be stored, and will be tried again");
            self.anomalies.not_stored(&unstored);
        }
    }

    /// Minutes that are over become readings; what is shown of them is there before anybody is told.
    fn give(&mut self, ended: &[Ended], miner: &Miner) {
        for ended in ended {
            let Ok(at) = Timestamp::from_second(ended.at) else { continue };
            let mut changed = self.forget(at);
            let mut readings: Vec<(Name, Arc<Usage>)> = Vec::new();
            for (device, minute) in &ended.devices {
                let name = Name::parse(device);
                readings.push((name.clone(), Arc::new(self.usage(&name, at, minute))));
                if stands_out(minute) || self.seen.get(&name).is_some_and(|seen| !seen.unusual.is_empty() || !seen.vanished.is_empty()) {
                    let texts = self.anomalies.patterns().texts();
                    show(self.seen.entry(name.clone()).or_default(), minute, at, miner, texts);
                    changed.insert(name);
                }
            }
            let usages = {
                let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
                for name in changed {
                    match self.seen.get(&name).filter(|seen| !seen.is_empty() && view.desired.devices.get(&name).is_some()) {
                        Some(seen) => drop(view.observed.logs.insert(name, Arc::new(seen.clone()))),
                        None => drop(view.observed.logs.remove(&name)),
                    }
                }
                readings.retain(|(name, _)| view.desired.devices.get(name).is_some());
                view.usages.clone()
            };
            for (name, usage) in readings {
                usages.logged(&name, &usage);
            }
        }
    }

    /// Leaves out what was shown for long enough; of which devices.
    fn forget(&mut self, now: Timestamp) -> BTreeSet<Name> {
        let Ok(before) = now.checked_sub(SHOWN) else { return BTreeSet::new() };
        let mut changed = BTreeSet::new();
        self.seen.retain(|name, seen| {
            let old = seen.clone();
            seen.forget(before);
            if *seen != old {
                changed.insert(name.clone());
            }
            !seen.is_empty()
        });
        changed
    }

    fn usage(&self, device: &Name, at: Timestamp, minute: &Minute) -> Usage {
        let counts = [
            (Metric::LogLines, minute.lines),
            (Metric::LogErrors, minute.errors),
            (Metric::LogWarnings, minute.warnings),
            (Metric::LogNewTemplates, minute.new),
            (Metric::LogUnusual, minute.unusual),
            (Metric::LogVanished, minute.vanished),
        ];
        let mut values: BTreeMap<Series, f64> = counts.into_iter().map(|(metric, count)| (Series::of(metric), f64::from(count))).collect();
        values.insert(Series::of(Metric::LogSeverityShift), minute.shift);
        let texts = self.anomalies.patterns().texts();
        for place in self.matched.get(device).into_iter().flatten() {
            let lines = minute.matches.get(*place).map_or(0, |(lines, _)| *lines);
            values.insert(Series::item(Metric::LogMatches, &texts[*place]), f64::from(lines));
        }
        Usage { at, values }
    }
}

fn stands_out(minute: &Minute) -> bool {
    minute.new > 0 || minute.unusual > 0 || minute.vanished > 0 || minute.error.is_some() || !minute.matches.is_empty()
}

/// Adds what stood out in a minute to what is shown, the newest first.
fn show(seen: &mut LogsSeen, minute: &Minute, at: Timestamp, miner: &Miner, patterns: &[Box<str>]) {
    let kind = |id: &TemplateId| {
        let template = miner.template(*id)?;
        Some(LogSaid {
            at,
            text: if template.program.is_empty() { template.text } else { format!("{}: {}", template.program, template.text) },
        })
    };
    let line = |said: &Said| LogSaid { at: Timestamp::from_second(said.at).unwrap_or(at), text: said.text.clone() };
    let new: Vec<LogSaid> = minute.new_kinds.iter().filter_map(kind).collect();
    seen.new.splice(0..0, new);
    for (shown, now) in [(&mut seen.unusual, &minute.unusual_kinds), (&mut seen.vanished, &minute.vanished_kinds)] {
        // Since when it is so, and not until when.
        let since = |said: LogSaid| shown.iter().find(|before| before.text == said.text).cloned().unwrap_or(said);
        *shown = now.iter().filter_map(kind).map(since).collect();
    }
    if let Some(error) = &minute.error {
        seen.errors.insert(0, line(error));
        seen.errors.truncate(ERRORS);
    }
    for (place, (_, first)) in minute.matches.iter().enumerate() {
        if let (Some(first), Some(pattern)) = (first, patterns.get(place)) {
            seen.matched.insert(pattern.to_string(), line(first));
        }
    }
    seen.new.truncate(reconcile::KEPT_LINES);
}
