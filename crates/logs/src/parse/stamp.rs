//! When a line was sent, in the forms that senders write. By hand, since each line has one.

use jiff::Timestamp;

use super::Around;
use super::scan::Scan;
use crate::line::Flags;

/// A time, and what had to be assumed for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// None: it could be read and does not exist, such as the 31st of February.
    pub(crate) at: Option<Timestamp>,
    pub(crate) flags: Flags,
}

/// A day and a time of it, as written.
#[derive(Clone, Copy)]
struct Written {
    /// None: not written.
    year: Option<i64>,
    month: i64,
    day: i64,
    second_of_day: i64,
    nanosecond: i32,
}

const MONTHS: [&[u8; 3]; 12] = [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
const WEEKDAYS: [&[u8; 3]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];
/// Names of zones that mean one thing nearly everywhere, in minutes east of Greenwich. IST is not one of them.
const ZONES: [(&str, i64); 24] = [
    ("UTC", 0),
    ("GMT", 0),
    ("Z", 0),
    ("WET", 0),
    ("WEST", 60),
    ("BST", 60),
    ("CET", 60),
    ("CEST", 120),
    ("MEZ", 60),
    ("MESZ", 120),
    ("EET", 120),
    ("EEST", 180),
    ("MSK", 180),
    ("EST", -300),
    ("EDT", -240),
    ("CST", -360),
    ("CDT", -300),
    ("MST", -420),
    ("MDT", -360),
    ("PST", -480),
    ("PDT", -420),
    ("JST", 540),
    ("AEST", 600),
    ("AEDT", 660),
];

/// Any of the forms.
pub(crate) fn any(scan: &mut Scan<'_>, around: &Around) -> Option<Stamp> {
    match scan.peek()? {
        b'0'..=b'9' => iso(scan, around).or_else(|| year_first(scan, around)).or_else(|| american(scan, around)),
        b'A'..=b'Z' => bsd(scan, around),
        _ => None,
    }
}

/// `2026-01-02T03:04:05.678+01:00` (RFC 3339), with a space, without a zone, or with slashes.
pub(crate) fn iso(scan: &mut Scan<'_>, around: &Around) -> Option<Stamp> {
    let mut at = *scan;
    let year = at.digits(4, 4)?;
    let separator = at.one_of(b"-/")?;
    let month = at.digits(2, 2)?;
    at.byte(separator)?;
    let day = at.digits(2, 2)?;
    at.one_of(b"T t")?;
    let (second_of_day, nanosecond) = clock(&mut at)?;
    let written = Written { year: Some(year), month, day, second_of_day, nanosecond };
    let zone = offset(&mut at).or_else(|| named(&mut at, true));
    at.ends_word()?;
    *scan = at;
    Some(stamp(&written, zone, around))
}

/// `Jan  2 03:04:05` (RFC 3164), with a weekday before it, with a year before or behind the time, with fractions, with a zone.
pub(crate) fn bsd(scan: &mut Scan<'_>, around: &Around) -> Option<Stamp> {
    let mut at = *scan;
    if WEEKDAYS.iter().any(|day| at.starts(*day)) {
        at.skip(3);
        at.byte(b' ')?;
    }
    let (month, day) = month_and_day(&mut at)?;
    let mut year = at.try_part(|at| {
        let year = at.digits(4, 4)?;
        at.byte(b' ').map(|()| year)
    });
    let (second_of_day, nanosecond) = clock(&mut at)?;
    let zone = zone(&mut at);
    if year.is_none() {
        year = at.try_part(|at| {
            at.byte(b' ')?;
            let year = at.digits(4, 4).filter(|year| (1970..2200).contains(year))?;
            // `2001:db8::1` is a host.
            (matches!(at.peek(), None | Some(b' ')) || at.starts(b": ")).then_some(year)
        });
    }
    at.ends_word()?;
    *scan = at;
    Some(stamp(&Written { year, month, day, second_of_day, nanosecond }, zone, around))
}

/// `2026 Jan  2 03:04:05.678 UTC`, as NX-OS and others write.
fn year_first(scan: &mut Scan<'_>, around: &Around) -> Option<Stamp> {
    let mut at = *scan;
    let year = at.digits(4, 4)?;
    at.byte(b' ')?;
    let (month, day) = month_and_day(&mut at)?;
    let (second_of_day, nanosecond) = clock(&mut at)?;
    let zone = zone(&mut at);
    at.ends_word()?;
    *scan = at;
    Some(stamp(&Written { year: Some(year), month, day, second_of_day, nanosecond }, zone, around))
}

/// `01/02/2026:03:04:05 GMT`, as NetScaler writes.
fn american(scan: &mut Scan<'_>, around: &Around) -> Option<Stamp> {
    let mut at = *scan;
    let month = at.digits(2, 2)?;
    at.byte(b'/')?;
    let day = at.digits(2, 2)?;
    at.byte(b'/')?;
    let year = at.digits(4, 4)?;
    at.one_of(b": ")?;
    let (second_of_day, nanosecond) = clock(&mut at)?;
    let zone = zone(&mut at);
    at.ends_word()?;
    *scan = at;
    Some(stamp(&Written { year: Some(year), month, day, second_of_day, nanosecond }, zone, around))
}

/// Seconds since 1970 with fractions, as Meraki writes.
pub(crate) fn epoch(scan: &mut Scan<'_>) -> Option<Stamp> {
    let mut at = *scan;
    let second = at.digits(9, 11)?;
    let nanosecond = fraction(&mut at);
    at.ends_word()?;
    *scan = at;
    Some(Stamp { at: Timestamp::new(second, nanosecond).ok(), flags: Flags::default() })
}

fn month_and_day(at: &mut Scan<'_>) -> Option<(i64, i64)> {
    let month = (1..).zip(MONTHS).find(|(_, name)| at.starts(*name)).map(|(month, _)| month)?;
    at.skip(3);
    at.byte(b' ')?;
    at.spaces();
    let day = at.digits(1, 2)?;
    at.byte(b' ')?;
    at.spaces();
    Some((month, day))
}

/// `03:04:05` with fractions.
fn clock(at: &mut Scan<'_>) -> Option<(i64, i32)> {
    let hour = at.digits(1, 2)?;
    at.byte(b':')?;
    let minute = at.digits(2, 2)?;
    at.byte(b':')?;
    // A leap second is the last one of its minute.
    let second = at.digits(2, 2)?.min(60);
    if hour > 23 || minute > 59 {
        return None;
    }
    Some((hour * 3600 + minute * 60 + second.min(59), fraction(at)))
}

/// `.678` or `,678`; nothing is none.
fn fraction(at: &mut Scan<'_>) -> i32 {
    let part = at.try_part(|at| {
        at.one_of(b".,")?;
        let mut nanosecond = 0;
        let mut digits = 0;
        while let Some(digit @ b'0'..=b'9') = at.peek() {
            at.skip(1);
            digits += 1;
            if digits <= 9 {
                nanosecond = nanosecond * 10 + i32::from(digit - b'0');
            }
        }
        (digits > 0).then(|| nanosecond * 10_i32.pow(9_u32.saturating_sub(digits)))
    });
    part.unwrap_or(0)
}

/// A zone behind a time: an offset, or a name after a space.
fn zone(at: &mut Scan<'_>) -> Option<Option<i64>> {
    offset(at).or_else(|| {
        at.try_part(|at| {
            at.byte(b' ')?;
            offset(at).or_else(|| named(at, false))
        })
    })
}

/// `Z`, `+01:00`, `-0530`, `+01`: in minutes.
fn offset(at: &mut Scan<'_>) -> Option<Option<i64>> {
    at.try_part(|at| {
        let sign = match at.one_of(b"Zz+-")? {
            b'+' => 1,
            b'-' => -1,
            _ => return at.ends_word().map(|()| Some(0)),
        };
        let hours = at.digits(2, 2)?;
        let _ = at.byte(b':');
        let minutes = at.digits(2, 2).unwrap_or(0);
        (hours <= 14 && minutes < 60).then_some(Some(sign * (hours * 60 + minutes)))
    })
}

/// A name of a zone. One that is not known is taken for one only if a colon follows, as nothing else would stand there.
fn named(at: &mut Scan<'_>, after_space: bool) -> Option<Option<i64>> {
    at.try_part(|at| {
        if after_space {
            at.byte(b' ')?;
        }
        let name = at.take_while(|byte| byte.is_ascii_uppercase());
        let known = ZONES.iter().find(|(known, _)| *known == name).map(|(_, minutes)| *minutes);
        let is_one = known.is_some() && at.ends_word().is_some();
        let looks_so = (2..=5).contains(&name.len()) && at.peek() == Some(b':');
        (is_one || looks_so).then_some(known)
    })
}

fn stamp(written: &Written, zone: Option<Option<i64>>, around: &Around) -> Stamp {
    let mut flags = Flags::default();
    let offset = match zone.flatten() {
        Some(minutes) => minutes * 60,
        None => {
            flags |= Flags::ZONE_ASSUMED;
            i64::from(around.offset)
        }
    };
    let at = match written.year {
        Some(year) => instant(written, year, offset),
        None => {
            flags |= Flags::YEAR_DEDUCED;
            nearest(written, offset, around.received)
        }
    };
    Stamp { at, flags }
}

/// The year that brings it nearest to now: in the first days of January, what says December is of the year before. The 29th of February
/// may be up to eight years away.
fn nearest(written: &Written, offset: i64, now: Timestamp) -> Option<Timestamp> {
    // 31 556 952 s: the mean year of the Gregorian calendar.
    let this = 1970 + now.as_second().div_euclid(31_556_952);
    let away = |at: &Timestamp| (at.as_second() - now.as_second()).abs();
    let near = (this - 1..=this + 1).filter_map(|year| instant(written, year, offset)).min_by_key(away);
    near.or_else(|| (this - 8..=this + 8).filter_map(|year| instant(written, year, offset)).min_by_key(away))
}

fn instant(written: &Written, year: i64, offset: i64) -> Option<Timestamp> {
    let days = days(year, written.month, written.day)?;
    Timestamp::new(days * 86_400 + written.second_of_day - offset, written.nanosecond).ok()
}

/// Days since 1970 (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms"). None: no such day.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=last).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, now: &str) -> Option<(String, Flags, String)> {
        let around = Around { received: now.parse().unwrap(), offset: 3600 };
        let mut scan = Scan::new(text);
        let stamp = any(&mut scan, &around)?;
        Some((stamp.at.map(|at| at.to_string()).unwrap_or_default(), stamp.flags, scan.rest().to_owned()))
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        for (date, second) in [("1970-01-01", 0), ("2000-02-29", 951_782_400), ("2026-12-31", 1_798_675_200), ("1969-12-31", -86_400)] {
            let parts: Vec<i64> = date.split('-').map(|part| part.parse().unwrap()).collect();
            assert_eq!(days(parts[0], parts[1], parts[2]).unwrap() * 86_400, second, "{date}");
        }
        assert_eq!((days(2025, 2, 29), days(1900, 2, 29), days(2026, 4, 31), days(2026, 13, 1)), (None, None, None, None));
    }

    #[test]
    fn a_year_is_the_nearest_one() {
        let both = Flags::YEAR_DEDUCED | Flags::ZONE_ASSUMED;
        let at = |text: &str, now: &str| read(text, now).unwrap().0;
        assert_eq!(read("Dec 31 23:59:59 x", "2026-01-01T00:00:10Z").unwrap(), ("2025-12-31T22:59:59Z".into(), both, " x".into()));
        assert_eq!(at("Jan  1 00:00:01 x", "2025-12-31T23:00:00Z"), "2025-12-31T23:00:01Z");
        assert_eq!(at("Jul  1 12:00:00", "2026-06-30T12:00:00Z"), "2026-07-01T11:00:00Z");
        // No 29th of February is near.
        assert_eq!(at("Feb 29 12:00:00", "2026-01-30T12:00:00Z"), "2024-02-29T11:00:00Z");
        assert_eq!(at("Feb 31 12:00:00", "2026-06-30T12:00:00Z"), "");
    }

    #[test]
    fn zones_are_read_and_unknown_ones_are_not_taken_for_hosts() {
        let now = "2026-01-02T03:04:05Z";
        let at = |text: &str| read(text, now).map(|(at, flags, rest)| (at, flags.has(Flags::ZONE_ASSUMED), rest)).unwrap();
        assert_eq!(at("2026-01-02T03:04:05.678901+01:00 h"), ("2026-01-02T02:04:05.678901Z".into(), false, " h".into()));
        assert_eq!(at("2026-01-02T03:04:05Z h"), ("2026-01-02T03:04:05Z".into(), false, " h".into()));
        assert_eq!(at("2026-01-02 03:04:05,5 h"), ("2026-01-02T02:04:05.5Z".into(), true, " h".into()));
        assert_eq!(at("Jan  2 2026 03:04:05 CEST: x"), ("2026-01-02T01:04:05Z".into(), false, ": x".into()));
        assert_eq!(at("Jan 2 03:04:05.123 XYZ: x"), ("2026-01-02T02:04:05.123Z".into(), true, ": x".into()));
        assert_eq!(at("Jan 2 03:04:05 NAS x"), ("2026-01-02T02:04:05Z".into(), true, " NAS x".into()));
        assert_eq!(at("2026 Jan  2 03:04:05.678 UTC: x"), ("2026-01-02T03:04:05.678Z".into(), false, ": x".into()));
        assert_eq!(at("Fri Jan  2 03:04:05 2026 h"), ("2026-01-02T02:04:05Z".into(), true, " h".into()));
        assert_eq!(at("01/02/2026:03:04:05 GMT h"), ("2026-01-02T03:04:05Z".into(), false, " h".into()));
        assert_eq!(read("Jan 2 25:04:05 x", now), None);
        assert_eq!(read("Jantar 2 03:04:05 x", now), None);
        assert_eq!(read("2026-01-02T03:04:05junk", now), None);
    }
}
