//! RFC 5424, and what Meraki makes of it.

use std::borrow::Cow;

use super::scan::Scan;
use super::{Around, FIELDS, stamp};
use crate::line::{Dialect, Field, Flags, Line};

const NIL: &str = "-";

/// Reads it if it begins with a version and something that may be a time.
pub(super) fn read<'t>(mut scan: Scan<'t>, around: &Around, line: &mut Line<'t>) -> bool {
    let version = scan.try_part(|scan| {
        scan.digits(1, 2).filter(|version| *version > 0)?;
        scan.byte(b' ')
    });
    if version.is_none() || line.flags.has(Flags::NO_PRIORITY) {
        return false;
    }
    if let Some(stamp) = scan.try_part(|scan| stamp::epoch(scan)) {
        line.sent = stamp.at;
        meraki(scan, line);
        return true;
    }
    match stamp::iso(&mut scan, around) {
        Some(stamp) => {
            line.sent = stamp.at;
            line.flags |= stamp.flags;
            if scan.byte(b' ').is_none() {
                line.flags |= Flags::MALFORMED;
            }
        }
        None if scan.take_word() == NIL => {}
        None => return false,
    }
    line.dialect = Dialect::Structured;
    for part in [&mut line.host, &mut line.program, &mut line.process, &mut line.id] {
        let word = scan.take_word();
        *part = if word == NIL { "" } else { word };
    }
    if !data(&mut scan, line) {
        line.fields.clear();
        line.flags |= Flags::MALFORMED;
    }
    let message = scan.rest();
    let message = message.strip_prefix(' ').unwrap_or(message);
    line.message = message.strip_prefix('\u{feff}').unwrap_or(message);
    true
}

/// `1 1380664922.583851938 MX84 flows src=…`: host, kind, and the rest.
fn meraki<'t>(mut scan: Scan<'t>, line: &mut Line<'t>) {
    let _ = scan.byte(b' ');
    line.dialect = Dialect::Bsd;
    line.host = scan.take_word();
    line.program = scan.take_word();
    line.message = scan.rest();
}

/// Structured data: `-`, or elements side by side. Stays where it is if that is not what is there.
fn data<'t>(scan: &mut Scan<'t>, line: &mut Line<'t>) -> bool {
    if scan.word() == NIL {
        scan.skip(1);
        return true;
    }
    let mut at = *scan;
    let mut elements = 0;
    while at.peek() == Some(b'[') {
        if element(&mut at, line).is_none() {
            return false;
        }
        elements += 1;
    }
    if elements == 0 || !matches!(at.peek(), None | Some(b' ')) {
        // A message may be missing, and then nothing at all stands there.
        return scan.rest().is_empty();
    }
    *scan = at;
    true
}

/// `[id name="value" …]`
fn element<'t>(scan: &mut Scan<'t>, line: &mut Line<'t>) -> Option<()> {
    let is_name = |byte: u8| byte.is_ascii_graphic() && !b"=\"]".contains(&byte);
    scan.byte(b'[')?;
    let group = scan.take_while(is_name);
    if group.is_empty() {
        return None;
    }
    loop {
        scan.spaces();
        if scan.byte(b']').is_some() {
            return Some(());
        }
        let name = scan.take_while(is_name);
        scan.byte(b'=')?;
        let value = quoted(scan)?;
        if name.is_empty() {
            return None;
        }
        if line.fields.len() < FIELDS {
            line.fields.push(Field { group, name, value });
        } else {
            line.flags |= Flags::FIELDS_CUT;
        }
    }
}

/// A value in double quotes. A backslash makes `"`, `\` and `]` plain, and is itself plain before anything else.
pub(super) fn quoted<'t>(scan: &mut Scan<'t>) -> Option<Cow<'t, str>> {
    scan.byte(b'"')?;
    let rest = scan.rest();
    let mut escaped = false;
    let mut has_escapes = false;
    for (at, byte) in rest.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => (escaped, has_escapes) = (true, true),
            b'"' => {
                scan.skip(at + 1);
                return Some(if has_escapes { Cow::Owned(unescape(&rest[..at])) } else { Cow::Borrowed(&rest[..at]) });
            }
            _ => {}
        }
    }
    None
}

fn unescape(value: &str) -> String {
    let mut plain = String::with_capacity(value.len());
    let mut characters = value.chars().peekable();
    while let Some(character) = characters.next() {
        match characters.peek() {
            Some(next @ ('"' | '\\' | ']')) if character == '\\' => {
                plain.push(*next);
                characters.next();
            }
            _ => plain.push(character),
        }
    }
    plain
}
