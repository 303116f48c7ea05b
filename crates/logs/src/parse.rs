//! A line's text becomes a [`Line`]. This never fails: what is not understood is the message.
//!
//! ```text
//! <PRI> ─► version: RFC 5424 ──────────────────────────────────────┐
//!       ├► key=value from the beginning: Fortinet, SonicWall …     ├─► Line
//!       ├► %FACILITY-SEVERITY-MNEMONIC within reach: Cisco …       │
//!       └► [time] [host] [tag]: RFC 3164, RFC 3339 time, MikroTik ─┘
//! ```

mod bsd;
mod cisco;
mod pairs;
mod scan;
mod stamp;
mod structured;

use jiff::Timestamp;

use crate::line::{Dialect, Facility, Flags, Line, Severity};
use scan::Scan;

/// Fields of one line that are kept apart; those beyond stay in the text only. A FortiGate's longest events have about 60.
pub const FIELDS: usize = 64;
/// Longest host, program, process or kind of message in bytes: that of a host name (RFC 5424, section 6).
pub const WORD: usize = 255;
/// Seconds that a sender's clock may be off before that is said: beyond five minutes Kerberos fails, so people look at it by then.
pub const OFF: i64 = 300;

/// What is known when a line comes.
#[derive(Clone, Copy, Debug)]
pub struct Around {
    /// When it came.
    pub received: Timestamp,
    /// Seconds east of Greenwich that a sender's clock is taken to show if a line does not say so.
    pub offset: i32,
}

impl Around {
    /// In UTC.
    pub fn utc(received: Timestamp) -> Self {
        Self { received, offset: 0 }
    }
}

/// Parses a line's text, as [`crate::clean`] leaves it.
pub fn parse<'t>(text: &'t str, around: &Around) -> Line<'t> {
    let mut line = empty(text);
    let mut scan = Scan::new(text);
    match priority(&mut scan) {
        Some((facility, severity)) => (line.facility, line.severity) = (facility, severity),
        None => line.flags |= Flags::NO_PRIORITY,
    }
    // ProCurve and NetScaler put one there.
    scan.spaces();
    let known = structured::read(scan, around, &mut line)
        || pairs::read(scan, around, &mut line)
        || cisco::read(scan, around, &mut line)
        || bsd::read(scan, around, &mut line);
    if !known {
        line.message = scan.rest();
        line.flags |= Flags::PLAIN;
    }
    settle(&mut line, around);
    line
}

fn empty(text: &str) -> Line<'_> {
    Line {
        facility: Facility::USER,
        severity: Severity::Notice,
        sent: None,
        host: "",
        program: "",
        process: "",
        id: "",
        fields: Vec::new(),
        message: text,
        dialect: Dialect::Plain,
        flags: Flags::default(),
    }
}

/// `<189>`: facility times 8 and severity. Some send zeros before it.
fn priority(scan: &mut Scan<'_>) -> Option<(Facility, Severity)> {
    scan.try_part(|scan| {
        scan.byte(b'<')?;
        let number = u8::try_from(scan.digits(1, 3)?).ok()?;
        scan.byte(b'>')?;
        Facility::new(number / 8).zip(Severity::new(number % 8))
    })
}

/// What holds for all forms.
fn settle(line: &mut Line<'_>, around: &Around) {
    for word in [&mut line.host, &mut line.program, &mut line.process, &mut line.id] {
        if word.len() > WORD {
            *word = &word[..word.floor_char_boundary(WORD)];
            line.flags |= Flags::MALFORMED;
        }
    }
    line.message = line.message.trim_ascii();
    match line.sent {
        None => line.flags |= Flags::NO_TIME,
        Some(sent) if (sent.as_second() - around.received.as_second()).abs() > OFF => line.flags |= Flags::CLOCK_OFF,
        Some(_) => {}
    }
    if line.host.is_empty() {
        line.flags |= Flags::NO_HOST;
    }
}

/// A name as hosts have one, or an address.
fn is_host(word: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) || byte >= 0x80;
    if word.is_empty() || word.len() > WORD {
        return false;
    }
    word.bytes().all(plain) || word.trim_matches(['[', ']']).parse::<std::net::Ipv6Addr>().is_ok()
}
