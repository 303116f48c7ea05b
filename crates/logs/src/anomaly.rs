//! From lines to readings: what the lines of each minute come to for each device, and what stands out in them.
//!
//! ```text
//! Record ─► lines, errors, warnings, matches of the minute ────────────────────────┐
//!   └► template on this device ─► new? ─► how often (rate) ─► how regularly (beat) ─┴─► Minute
//! ```
//!
//! A template is *new* if it was never seen from this device, once the device has sent lines for a while ([`Options::learning`]). It is
//! *unusual* if it comes far more often than it did (`rate.rs`), and has *vanished* if it came regularly and does not any more
//! (`beat.rs`). How far severities moved is in `severity.rs`. A line costs the same however many came before it; everything has a bound.

mod beat;
mod device;
mod patterns;
mod rate;
mod severity;

use std::collections::HashMap;
use std::sync::Arc;

use crate::mining::TemplateId;
use crate::reading::Record;
use device::Device;

pub use beat::Beat;
pub use patterns::{PATTERNS, Patterns};
pub use rate::LOUD;

/// Kinds of lines of one sort that are shown of a minute; all are counted.
pub const SHOWN: usize = 20;
/// Seconds between two times that a template which goes on coming is stored as seen.
pub const STORED: i64 = 3600;
/// Minutes that are gone through one by one; after a longer jump of the clock severities are learned anew.
const CATCH_UP: i64 = 25 * 60;
/// Minutes of which readings are given when several are over at once: what is older is a gap.
const GIVEN: i64 = 2;

/// What may be set.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Seconds of a minute: fewer where a rehearsal lets time go faster.
    pub minute: i64,
    /// Seconds after a device's first line in which no template is new.
    pub learning: i64,
    /// Templates of one device at most; the one that was not seen for longest goes first.
    pub templates: usize,
    /// Templates of all devices at most; one takes about 200 bytes, and one that often comes 300 more.
    pub all: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { minute: 60, learning: 15 * 60, templates: 1000, all: 300_000 }
    }
}

/// What stood out, to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// When, in seconds since 1970.
    pub at: i64,
    /// A line, or its beginning.
    pub text: String,
}

/// A minute of one device.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Minute {
    /// Lines that came.
    pub lines: u32,
    /// Those of severity 0 to 3.
    pub errors: u32,
    /// Those of severity 4.
    pub warnings: u32,
    /// Templates that are new.
    pub new: u32,
    /// Templates that come far more often than they did.
    pub unusual: u32,
    /// Templates that came regularly and don't any more.
    pub vanished: u32,
    /// How far severities moved, 0 to 1.
    pub shift: f64,
    /// By place of the pattern, lines that match it, with the first of them; empty where none matched any.
    pub matches: Vec<(u32, Option<Said>)>,
    /// Which are new, [`SHOWN`] at most.
    pub new_kinds: Vec<TemplateId>,
    /// Which are unusual.
    pub unusual_kinds: Vec<TemplateId>,
    /// Which have vanished.
    pub vanished_kinds: Vec<TemplateId>,
    /// The first error.
    pub error: Option<Said>,
}

/// What is stored of a template on a device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Known {
    /// Which.
    pub template: TemplateId,
    /// When it was first seen, in seconds since 1970.
    pub first: i64,
    /// When it was last seen.
    pub last: i64,
    /// How regularly it comes.
    pub beat: Beat,
}

/// All minutes that ended at one instant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ended {
    /// That instant, in seconds since 1970.
    pub at: i64,
    /// The devices from which lines ever came.
    pub devices: Vec<(Arc<str>, Minute)>,
}

/// What is remembered of all devices.
pub struct Anomalies {
    options: Options,
    devices: HashMap<Arc<str>, Device>,
    patterns: Patterns,
    /// Templates of all devices.
    templates: usize,
    /// The minute at hand.
    minute: i64,
}

impl Anomalies {
    /// Knows nothing, and listens from `now` on.
    pub fn new(options: Options, now: i64) -> Self {
        let minute = now.div_euclid(options.minute);
        Self { options, devices: HashMap::new(), patterns: Patterns::default(), templates: 0, minute }
    }

    /// What was stored of a device before a restart; until `heard` somebody listened.
    pub fn remember(&mut self, device: &str, known: &Known, heard: i64, now: i64) {
        if self.templates >= self.options.all {
            return;
        }
        let device = self.devices.entry(device.into()).or_insert_with(|| Device::new(known.first));
        if device.templates() < self.options.templates {
            self.templates += 1;
            device.remember(known, heard, now, self.options.minute);
        }
    }

    /// Lines of a template of a device in a slot of five minutes that began then, as it was stored before a restart.
    pub fn remember_rate(&mut self, device: &str, template: TemplateId, began: i64, lines: u64) {
        if let Some(device) = self.devices.get_mut(device) {
            let slot = began.div_euclid(self.options.minute).div_euclid(rate::SLOT);
            device.remember_rate(template, slot, u32::try_from(lines).unwrap_or(u32::MAX));
        }
    }

    /// From now on lines are matched against these.
    pub fn match_against(&mut self, patterns: Patterns) {
        for device in self.devices.values_mut() {
            device.forget_matches();
        }
        self.patterns = patterns;
    }

    /// The patterns.
    pub fn patterns(&self) -> &Patterns {
        &self.patterns
    }

    /// Forgets the devices that are not to be kept.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.devices.retain(|name, _| keep(name));
        self.templates = self.devices.values().map(Device::templates).sum();
    }

    /// Takes a line in, and gives the minutes that ended before it.
    pub fn take(&mut self, record: &Record<'_>) -> Vec<Ended> {
        let at = record.received.as_second();
        let ended = self.advance(at);
        let (Some(name), Some(template)) = (&record.device, record.template) else { return ended };
        if !self.devices.contains_key(name) {
            let mut device = Device::new(at);
            device.begin(self.minute);
            self.devices.insert(name.clone(), device);
        }
        if let Some(device) = self.devices.get_mut(name) {
            let before = device.templates();
            device.take(record, template, &self.options, &self.patterns, self.templates < self.options.all);
            self.templates = self.templates + device.templates() - before;
        }
        ended
    }

    /// Time went on, and the minutes that are over by then are given. A clock that was put back by more than a minute begins anew: nobody waits
    /// until it has caught up. What came in the minute at hand counts then.
    pub fn pass(&mut self, now: i64) -> Vec<Ended> {
        let minute = now.div_euclid(self.options.minute);
        if minute + 1 < self.minute {
            self.devices.values_mut().for_each(Device::forget_severities);
            self.minute = minute;
        }
        self.advance(now)
    }

    /// A line may have waited, and be older than the minute at hand.
    fn advance(&mut self, now: i64) -> Vec<Ended> {
        let minute = now.div_euclid(self.options.minute);
        if minute <= self.minute {
            return Vec::new();
        }
        if minute - self.minute > CATCH_UP {
            self.devices.values_mut().for_each(Device::forget_severities);
            self.minute = minute - 1;
        }
        let mut ended = Vec::new();
        for over in self.minute..minute {
            // Of minutes in which nobody looked only the newest is of any use.
            if minute - over <= GIVEN {
                let devices = self.devices.iter_mut().map(|(name, device)| (name.clone(), device.close(over, &self.options))).collect();
                ended.push(Ended { at: (over + 1) * self.options.minute, devices });
            }
            self.devices.values_mut().for_each(|device| device.begin(over + 1));
        }
        self.minute = minute;
        ended
    }

    /// What is to be stored: templates that are new on their device, and those that were seen since and were not
    /// stored for `every` so many seconds.
    pub fn unstored(&mut self, now: i64, every: i64) -> Vec<(Arc<str>, Known)> {
        let of = |(name, device): (&Arc<str>, &mut Device)| {
            let name = name.clone();
            device.unstored(now - every).map(|known| (name.clone(), known)).collect::<Vec<_>>()
        };
        self.devices.iter_mut().flat_map(of).collect()
    }

    /// That was not stored, and is given again.
    pub fn not_stored(&mut self, which: &[(Arc<str>, Known)]) {
        for (name, known) in which {
            if let Some(device) = self.devices.get_mut(name) {
                device.not_stored(known.template);
            }
        }
    }

    /// Seconds between two lines of a template of a device, if it comes regularly.
    pub fn every(&self, device: &str, template: TemplateId) -> Option<f32> {
        self.devices.get(device)?.every(template, &self.options)
    }

    /// Templates of all devices that are remembered.
    pub fn len(&self) -> usize {
        self.templates
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.templates == 0
    }
}

#[cfg(test)]
mod tests;
