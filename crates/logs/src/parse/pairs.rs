//! `key=value` and nothing else: Fortinet, SonicWall, Sophos and others.

use std::borrow::Cow;

use super::scan::Scan;
use super::structured::quoted;
use super::{Around, FIELDS, stamp};
use crate::line::{Dialect, Field, Flags, Line, Severity};

/// What such a line begins with. Another program's message may begin with any pair, so these have to be known.
const FIRST: [&str; 6] = ["date=", "id=", "device=", "device_name=", "logver=", "devname="];
/// Keys that name the sender, the best first.
const HOSTS: [&str; 5] = ["devname", "device_name", "fw", "devid", "device"];

/// Reads it if it begins like one of them and goes on with another pair.
pub(super) fn read<'t>(scan: Scan<'t>, around: &Around, line: &mut Line<'t>) -> bool {
    if !FIRST.iter().any(|first| scan.starts(first.as_bytes())) {
        return false;
    }
    let mut at = scan;
    let mut fields = Vec::new();
    let mut flags = Flags::default();
    while let Some((name, value)) = pair(&mut at) {
        if fields.len() < FIELDS {
            fields.push(Field { group: "", name, value });
        } else {
            flags |= Flags::FIELDS_CUT;
        }
        at.spaces();
    }
    if fields.len() < 2 {
        return false;
    }
    line.dialect = Dialect::Pairs;
    line.flags |= flags;
    line.message = scan.rest();
    if !at.rest().is_empty() {
        line.flags |= Flags::MALFORMED;
    }
    line.fields = fields;
    describe(line, around);
    true
}

/// Takes from the fields what the header of another form would have said.
fn describe<'t>(line: &mut Line<'t>, around: &Around) {
    // Only what stands in the text as it is: a name with an escape in it is none.
    let plain = |name: &str| {
        let field = line.fields.iter().find(|field| field.name == name)?;
        match field.value {
            Cow::Borrowed(value) => Some(value),
            Cow::Owned(_) => None,
        }
    };
    let host = HOSTS.iter().find_map(|name| plain(name)).unwrap_or_default();
    let program = plain("type").or_else(|| plain("log_type")).or_else(|| plain("id")).unwrap_or_default();
    let id = plain("logid").or_else(|| plain("log_id")).or_else(|| plain("m")).unwrap_or_default();
    let message = plain("msg").or_else(|| plain("message"));
    let level = plain("level").or_else(|| plain("priority")).and_then(Severity::from_name);
    let sent = sent(line, around);
    line.host = host;
    line.program = program;
    line.id = id;
    if let Some(message) = message.filter(|message| !message.is_empty()) {
        line.message = message;
    }
    if line.flags.has(Flags::NO_PRIORITY)
        && let Some(level) = level
    {
        line.severity = level;
    }
    if let Some(stamp) = sent {
        line.sent = stamp.at;
        line.flags |= stamp.flags;
    }
}

fn sent(line: &Line<'_>, around: &Around) -> Option<stamp::Stamp> {
    let value = |name: &str| line.fields.iter().find(|field| field.name == name).map(|field| field.value.as_ref());
    let time = value("time")?;
    let zone = value("tz").or_else(|| value("timezone")).unwrap_or_default();
    let text = match value("date") {
        Some(date) if zone.starts_with(['+', '-']) => format!("{date}T{time}{}", zone.trim_matches('"')),
        Some(date) => format!("{date} {time} {zone}"),
        None => time.to_owned(),
    };
    stamp::iso(&mut Scan::new(text.trim_end()), around)
}

/// `key=value` or `key="value"`.
fn pair<'t>(scan: &mut Scan<'t>) -> Option<(&'t str, Cow<'t, str>)> {
    scan.try_part(|scan| {
        let name = scan.take_while(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
        scan.byte(b'=')?;
        let value = match scan.peek() {
            Some(b'"') => quoted(scan)?,
            _ => {
                let value = scan.word();
                scan.skip(value.len());
                Cow::Borrowed(value)
            }
        };
        (!name.is_empty()).then_some((name, value))
    })
}
