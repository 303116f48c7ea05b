//! Windows in time: when something may happen, or when people are at work.

use std::fmt;
use std::str::FromStr;

use croner::Cron;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Serialize, Serializer};

/// A window that opens by a cron schedule and stays open for a while.
#[derive(Clone, Debug)]
pub struct Window {
    cron: Cron,
    zone: TimeZone,
    /// How long it stays open.
    pub duration: SignedDuration,
    /// Why, in the words of who wrote it.
    pub reason: String,
    text: String,
}

impl PartialEq for Window {
    fn eq(&self, other: &Self) -> bool {
        (&self.text, self.duration, &self.reason) == (&other.text, other.duration, &other.reason)
    }
}

impl Eq for Window {}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {:#}", self.text, self.duration)
    }
}

impl Serialize for Window {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Windows as they are kept, so that they can be read again.
pub(crate) mod stored {
    use jiff::SignedDuration;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Window;

    pub(crate) fn serialize<S: Serializer>(windows: &[Window], serializer: S) -> Result<S::Ok, S::Error> {
        let parts = |window: &Window| (window.text.clone(), window.duration, window.reason.clone());
        windows.iter().map(parts).collect::<Vec<_>>().serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Window>, D::Error> {
        let all = Vec::<(String, SignedDuration, String)>::deserialize(deserializer)?;
        let window = |(text, duration, reason): (String, SignedDuration, String)| {
            let (schedule, zone) = text.rsplit_once(' ').unwrap_or((&text, "UTC"));
            Window::new(schedule, Some(zone), duration, &reason).map_err(|(_, error)| D::Error::custom(error))
        };
        all.into_iter().map(window).collect()
    }
}

/// Whether a set of windows is open, and until or from when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Open until then.
    Open {
        /// When the window closes.
        until: Timestamp,
        /// The window's reason.
        reason: String,
    },
    /// Closed; opens then, if ever.
    Closed {
        /// When the next window opens.
        opens: Option<Timestamp>,
    },
}

impl Window {
    /// Reads a five-field cron schedule, an IANA time zone (UTC if none) and a duration. The error has the field and what is wrong.
    pub fn new(schedule: &str, zone: Option<&str>, duration: SignedDuration, reason: &str) -> Result<Self, (&'static str, String)> {
        let cron = Cron::from_str(schedule).map_err(|error| ("schedule", format!("schedule `{schedule}`: {error}")))?;
        let name = zone.unwrap_or("UTC");
        let zone = TimeZone::get(name).map_err(|_| ("timeZone", format!("`{name}` is no IANA time zone such as Europe/Amsterdam")))?;
        // Any day will do to begin with: days that come at all come within a few years.
        if cron.find_next_occurrence(&Timestamp::UNIX_EPOCH.to_zoned(zone.clone()), false).is_err() {
            return Err(("schedule", format!("schedule `{schedule}`: such a day never comes")));
        }
        if !duration.is_positive() {
            return Err(("duration", "a window that stays open for no time never opens".into()));
        }
        let text = format!("{schedule} {name}");
        Ok(Self { cron, zone, duration, reason: reason.to_owned(), text })
    }

    /// When the window that contains `now` opened, if one does.
    fn opened(&self, now: Timestamp) -> Option<Timestamp> {
        let earliest = now.checked_sub(self.duration).ok()?.to_zoned(self.zone.clone());
        let start = self.cron.find_next_occurrence(&earliest, false).ok()?.timestamp();
        (start <= now).then_some(start)
    }

    fn next(&self, now: Timestamp) -> Option<Timestamp> {
        Some(self.cron.find_next_occurrence(&now.to_zoned(self.zone.clone()), false).ok()?.timestamp())
    }
}

/// Whether any of the windows is open at `now`.
pub fn opening(windows: &[Window], now: Timestamp) -> Opening {
    let open = windows.iter().filter_map(|window| {
        let until = window.opened(now)?.checked_add(window.duration).ok()?;
        Some((until, &window.reason))
    });
    match open.max_by_key(|(until, _)| *until) {
        Some((until, reason)) => Opening::Open { until, reason: reason.clone() },
        None => Opening::Closed { opens: windows.iter().filter_map(|window| window.next(now)).min() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_open_from_its_start_for_its_duration_in_its_zone() {
        let nightly = Window::new("0 2 * * *", Some("Europe/Amsterdam"), SignedDuration::from_hours(2), "").unwrap();
        let windows = [nightly];
        let at = |text: &str| opening(&windows, text.parse().unwrap());
        assert_eq!(at("2026-11-24T00:59:59Z"), Opening::Closed { opens: Some("2026-11-24T01:00:00Z".parse().unwrap()) });
        let until: Timestamp = "2026-11-24T03:00:00Z".parse().unwrap();
        assert_eq!(at("2026-11-24T01:00:00Z"), Opening::Open { until, reason: String::new() });
        assert_eq!(at("2026-11-24T02:59:59Z"), Opening::Open { until, reason: String::new() });
        assert!(matches!(at("2026-11-24T03:00:00Z"), Opening::Closed { .. }));
    }

    #[test]
    fn nonsense_is_refused_with_what_would_be_right() {
        let hour = SignedDuration::from_hours(1);
        let wrong = |schedule: &str, zone| Window::new(schedule, zone, hour, "").unwrap_err();
        assert!(wrong("every night", None).1.contains("every night"));
        assert_eq!(wrong("0 2 31 2 *", None), ("schedule", "schedule `0 2 31 2 *`: such a day never comes".into()));
        let (field, error) = wrong("0 2 * * *", Some("Mars/Base"));
        assert_eq!((field, error.contains("Europe/Amsterdam")), ("timeZone", true));
    }
}
