//! One parsed line.

use std::borrow::Cow;
use std::fmt;
use std::ops::{BitOr, BitOrAssign};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Who in a system speaks, by RFC 5424's table 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Facility(u8);

/// Their names, as in `<sys/syslog.h>`; 12 to 15 as rsyslog calls them.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp", "audit", "alert", "clock",
    "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];

impl Facility {
    /// What a line without one is taken for (RFC 3164, section 4.3.3).
    pub const USER: Self = Self(1);
    /// What IOS uses if nobody says otherwise (`logging facility`).
    pub const LOCAL7: Self = Self(23);

    /// By its number, 0 to 23.
    pub fn new(number: u8) -> Option<Self> {
        (usize::from(number) < FACILITIES.len()).then_some(Self(number))
    }

    /// Its number.
    pub fn number(self) -> u8 {
        self.0
    }

    /// Its name, such as `authpriv`.
    pub fn name(self) -> &'static str {
        FACILITIES[usize::from(self.0)]
    }

    /// By its name.
    pub fn from_name(name: &str) -> Option<Self> {
        FACILITIES.iter().position(|known| *known == name).and_then(|at| u8::try_from(at).ok()).map(Self)
    }
}

impl fmt::Display for Facility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How grave a line is, by RFC 5424's table 2: the lower, the graver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The system is unusable.
    Emerg,
    /// Action must be taken at once.
    Alert,
    /// Critical conditions.
    Crit,
    /// Errors.
    Err,
    /// Warnings.
    Warning,
    /// Normal, but significant.
    Notice,
    /// Informational.
    Info,
    /// For debugging.
    Debug,
}

impl Severity {
    /// All of them, the gravest first.
    pub const ALL: [Self; 8] = [Self::Emerg, Self::Alert, Self::Crit, Self::Err, Self::Warning, Self::Notice, Self::Info, Self::Debug];

    /// By its number, 0 to 7.
    pub fn new(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Its number.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// Its name, such as `warning`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Emerg => "emerg",
            Self::Alert => "alert",
            Self::Crit => "crit",
            Self::Err => "err",
            Self::Warning => "warning",
            Self::Notice => "notice",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }

    /// By one of the names that people and devices use for it.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "emerg" | "emergency" | "panic" => Self::Emerg,
            "alert" => Self::Alert,
            "crit" | "critical" | "fatal" => Self::Crit,
            "err" | "error" => Self::Err,
            "warning" | "warn" => Self::Warning,
            "notice" | "notification" => Self::Notice,
            "info" | "information" | "informational" => Self::Info,
            "debug" | "debugging" => Self::Debug,
            _ => return None,
        })
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which form a line had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dialect {
    /// RFC 5424.
    Structured,
    /// RFC 3164, or what comes close to it.
    Bsd,
    /// RFC 3164 with an RFC 3339 time, as rsyslog forwards.
    Iso,
    /// Cisco's `%FACILITY-SEVERITY-MNEMONIC:`, with what may stand before it.
    Cisco,
    /// Only `key=value`.
    Pairs,
    /// MikroTik's topics.
    Topics,
    /// None: the whole line is the message.
    Plain,
}

impl Dialect {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Structured => "rfc5424",
            Self::Bsd => "rfc3164",
            Self::Iso => "iso",
            Self::Cisco => "cisco",
            Self::Pairs => "pairs",
            Self::Topics => "topics",
            Self::Plain => "plain",
        }
    }
}

/// What has to be known about how far a line can be trusted: any of these together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(u16);

impl Flags {
    /// It was longer than [`crate::clean::LINE`], and was cut.
    pub const CUT: Self = Self(1);
    /// It had bytes that are not UTF-8, or control characters.
    pub const MENDED: Self = Self(1 << 1);
    /// It had no priority, or none that means anything: it counts as `user.notice`, unless it says more in another way.
    pub const NO_PRIORITY: Self = Self(1 << 2);
    /// It did not say when it was sent.
    pub const NO_TIME: Self = Self(1 << 3);
    /// It did not say by whom.
    pub const NO_HOST: Self = Self(1 << 4);
    /// Its year was deduced from when it came.
    pub const YEAR_DEDUCED: Self = Self(1 << 5);
    /// It did not say its zone, or one that is not known: the one that was given to the parser was taken.
    pub const ZONE_ASSUMED: Self = Self(1 << 6);
    /// The sender itself says that its clock is not set.
    pub const CLOCK_UNSET: Self = Self(1 << 7);
    /// The sender's clock is further off than [`crate::parse::OFF`].
    pub const CLOCK_OFF: Self = Self(1 << 8);
    /// It had more fields than [`crate::parse::FIELDS`]; the others are not kept apart.
    pub const FIELDS_CUT: Self = Self(1 << 9);
    /// Its form is not known: the whole line is the message.
    pub const PLAIN: Self = Self(1 << 10);
    /// It began like one of the known forms and did not go on like it.
    pub const MALFORMED: Self = Self(1 << 11);

    /// Their names.
    const NAMES: [(Self, &'static str); 12] = [
        (Self::CUT, "cut"),
        (Self::MENDED, "mended"),
        (Self::NO_PRIORITY, "no-priority"),
        (Self::NO_TIME, "no-time"),
        (Self::NO_HOST, "no-host"),
        (Self::YEAR_DEDUCED, "year-deduced"),
        (Self::ZONE_ASSUMED, "zone-assumed"),
        (Self::CLOCK_UNSET, "clock-unset"),
        (Self::CLOCK_OFF, "clock-off"),
        (Self::FIELDS_CUT, "fields-cut"),
        (Self::PLAIN, "plain"),
        (Self::MALFORMED, "malformed"),
    ];

    /// Whether all of these are set.
    pub fn has(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Without these.
    pub fn without(self, flags: Self) -> Self {
        Self(self.0 & !flags.0)
    }

    /// As a number, to be stored.
    pub fn bits(self) -> u16 {
        self.0
    }

    /// From a number that was stored; what is not known is left out.
    pub fn from_bits(bits: u16) -> Self {
        Self(bits & 0xfff)
    }

    /// The names of those that are set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(flag, _)| self.has(*flag)).map(|(_, name)| name)
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Flags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// A named value that a line carries beside its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field<'t> {
    /// The id of the structured element that it stood in; empty for `key=value`.
    pub group: &'t str,
    /// Its name.
    pub name: &'t str,
    /// Its value, escapes resolved.
    pub value: Cow<'t, str>,
}

/// One line, as parts of the text that it was parsed from. What it did not say is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'t> {
    /// Who in the system speaks.
    pub facility: Facility,
    /// How grave it is.
    pub severity: Severity,
    /// When it was sent by the sender's clock, which may be wrong.
    pub sent: Option<Timestamp>,
    /// How the sender calls itself.
    pub host: &'t str,
    /// The program, or the part of a device's software.
    pub program: &'t str,
    /// Its process id, or whatever stands there.
    pub process: &'t str,
    /// The kind of message: RFC 5424's MSGID, Cisco's mnemonic, Junos' event tag.
    pub id: &'t str,
    /// What it carries beside the message.
    pub fields: Vec<Field<'t>>,
    /// What it says.
    pub message: &'t str,
    /// Which form it had.
    pub dialect: Dialect,
    /// What has to be known about it.
    pub flags: Flags,
}
