//! What is remembered of one device, and what its minute comes to.

use std::collections::HashMap;

use super::beat::Beat;
use super::patterns::Patterns;
use super::rate::Rate;
use super::severity::Severities;
use super::{Known, Minute, Options, SHOWN, Said};
use crate::line::Severity;
use crate::mining::TemplateId;
use crate::mining::hash::Pass;
use crate::reading::Record;

/// Characters of a line that are kept to be shown.
const TEXT: usize = 160;

/// One device.
pub(super) struct Device {
    /// When its first line came.
    pub(super) first: i64,
    templates: HashMap<TemplateId, Seen, Pass>,
    severities: Severities,
    minute: Minute,
}

/// A template on a device.
pub(super) struct Seen {
    first: i64,
    last: i64,
    /// What is stored of it is older than this.
    stored: i64,
    rate: Rate,
    beat: Beat,
}

impl Device {
    pub(super) fn new(first: i64) -> Self {
        Self { first, templates: HashMap::default(), severities: Severities::default(), minute: Minute::default() }
    }

    pub(super) fn templates(&self) -> usize {
        self.templates.len()
    }

    /// A line of it; `has_room` for one more template.
    pub(super) fn take(&mut self, record: &Record<'_>, template: TemplateId, options: &Options, patterns: &Patterns, has_room: bool) {
        let at = record.received.as_second();
        let minute = at.div_euclid(options.minute);
        let (line, now) = (&record.line, &mut self.minute);
        now.lines += 1;
        self.severities.came(minute, line.severity.number());
        if line.severity <= Severity::Err {
            now.errors += 1;
            now.error.get_or_insert_with(|| Said { at, text: said(record) });
        } else if line.severity == Severity::Warning {
            now.warnings += 1;
        }
        for place in patterns.matches(line.message) {
            now.matches.resize_with(patterns.len(), Default::default);
            let (lines, first) = &mut now.matches[place];
            *lines += 1;
            first.get_or_insert_with(|| Said { at, text: said(record) });
        }
        if let Some(seen) = self.templates.get_mut(&template) {
            seen.came(at, minute, options);
            return;
        }
        // What has no room can't be remembered: it would be new each time.
        if self.templates.len() >= options.templates {
            let Some(oldest) = self.oldest() else { return };
            self.templates.remove(&oldest);
        } else if !has_room {
            return;
        }
        let now = &mut self.minute;
        if at - self.first >= options.learning {
            now.new += 1;
            if now.new_kinds.len() < SHOWN {
                now.new_kinds.push(template);
            }
        }
        self.templates.insert(template, Seen::new(at, minute, options));
    }

    /// What was stored of it; until `heard` somebody listened.
    pub(super) fn remember(&mut self, known: &Known, heard: i64, now: i64, minute: i64) {
        let mut seen = Seen { first: known.first, last: known.last, stored: known.last, rate: Rate::default(), beat: known.beat };
        seen.beat.restart(heard, now, minute);
        self.first = self.first.min(known.first);
        self.templates.insert(known.template, seen);
    }

    pub(super) fn remember_rate(&mut self, template: TemplateId, slot: i64, lines: u32) {
        if let Some(seen) = self.templates.get_mut(&template) {
            seen.rate.remember(slot, lines);
        }
    }

    /// A minute is over: what it comes to.
    pub(super) fn close(&mut self, minute: i64, options: &Options) -> Minute {
        let mut closed = std::mem::take(&mut self.minute);
        let now = (minute + 1) * options.minute;
        for (template, seen) in &self.templates {
            if seen.rate.is_unusual(minute, seen.first.div_euclid(options.minute)) {
                closed.unusual += 1;
                if closed.unusual_kinds.len() < SHOWN {
                    closed.unusual_kinds.push(*template);
                }
            }
            if seen.beat.is_missed(now, options.minute) {
                closed.vanished += 1;
                if closed.vanished_kinds.len() < SHOWN {
                    closed.vanished_kinds.push(*template);
                }
            }
        }
        closed.shift = self.severities.shift();
        closed
    }

    /// Other patterns are in force: places are not what they were.
    pub(super) fn forget_matches(&mut self) {
        self.minute.matches = Vec::new();
    }

    /// A minute begins.
    pub(super) fn begin(&mut self, minute: i64) {
        self.severities.begin(minute);
    }

    /// The clock went on by more than anybody remembers.
    pub(super) fn forget_severities(&mut self) {
        self.severities = Severities::default();
    }

    /// What is to be stored: what is new, and what was last stored as seen that long ago.
    pub(super) fn unstored(&mut self, before: i64) -> impl Iterator<Item = Known> {
        let due = move |seen: &Seen| seen.stored == 0 || seen.stored < before && seen.last > seen.stored;
        self.templates.iter_mut().filter(move |(_, seen)| due(seen)).map(|(template, seen)| {
            seen.stored = seen.last;
            Known { template: *template, first: seen.first, last: seen.last, beat: seen.beat }
        })
    }

    /// What was to be stored was not.
    pub(super) fn not_stored(&mut self, template: TemplateId) {
        if let Some(seen) = self.templates.get_mut(&template) {
            seen.stored = 0;
        }
    }

    /// Seconds between two lines of a template, if it comes regularly.
    pub(super) fn every(&self, template: TemplateId, options: &Options) -> Option<f32> {
        self.templates.get(&template).and_then(|seen| seen.beat.every(options.minute))
    }

    fn oldest(&self) -> Option<TemplateId> {
        self.templates.iter().min_by_key(|(_, seen)| seen.last).map(|(template, _)| *template)
    }
}

impl Seen {
    fn new(at: i64, minute: i64, options: &Options) -> Self {
        let mut seen = Self { first: at, last: at, stored: 0, rate: Rate::default(), beat: Beat::default() };
        seen.came(at, minute, options);
        seen
    }

    fn came(&mut self, at: i64, minute: i64, options: &Options) {
        self.rate.came(minute);
        self.beat.came(at, options.minute);
        self.last = self.last.max(at);
    }
}

/// A line as it is shown: its program and its beginning.
fn said(record: &Record<'_>) -> String {
    let line = &record.line;
    let text = if line.program.is_empty() { line.message.to_owned() } else { format!("{}: {}", line.program, line.message) };
    text.chars().take(TEXT).collect()
}
