//! RFC 3164 and all that comes close to it: `Jan  2 03:04:05 host program[123]: message`, each part of which may be missing, with an
//! RFC 3339 time as rsyslog sends, and with what F5, ProCurve, AIX, Solaris, Junos and MikroTik put between.

use super::scan::Scan;
use super::stamp;
use super::{Around, is_host};
use crate::line::{Dialect, Flags, Line, Severity};

/// Longest tag in bytes: RFC 3164 says 32, syslog-ng and systemd send longer ones.
const TAG: usize = 96;
/// What AIX puts before the host, without its first letter.
const FORWARDED: &[u8] = b"essage forwarded from ";

/// A program with its process.
struct Tag<'t> {
    program: &'t str,
    process: &'t str,
}

/// Reads it if it has a time, a tag or topics.
pub(super) fn read<'t>(mut scan: Scan<'t>, around: &Around, line: &mut Line<'t>) -> bool {
    let is_iso = scan.peek().is_some_and(|first| first.is_ascii_digit());
    let Some(stamp) = stamp::any(&mut scan, around) else { return without_time(scan, line) };
    line.dialect = if is_iso { Dialect::Iso } else { Dialect::Bsd };
    line.sent = stamp.at;
    line.flags |= stamp.flags;
    let _ = scan.byte(b':');
    scan.spaces();
    if topics(scan, line) {
        return true;
    }
    if !forwarded(&mut scan, line) {
        host(&mut scan, line);
    }
    body(scan, line);
    true
}

/// Then the rest is the message (RFC 3164, section 4.3.3), but many send a tag all the same.
fn without_time<'t>(mut scan: Scan<'t>, line: &mut Line<'t>) -> bool {
    if scan.word().contains(',') && topics(scan, line) {
        return true;
    }
    let mut at = scan;
    if let Some(found) = tag(&mut at) {
        line.dialect = Dialect::Bsd;
        take(&found, line);
        line.message = at.rest();
        return true;
    }
    // A host and a tag with a process, which no sentence looks like.
    let word = scan.take_word();
    match tag(&mut scan) {
        Some(found) if is_host(word) && !found.process.is_empty() => {
            line.dialect = Dialect::Bsd;
            line.host = word;
            take(&found, line);
            line.message = scan.rest();
            true
        }
        _ => false,
    }
}

/// AIX: `Message forwarded from host: `.
fn forwarded<'t>(scan: &mut Scan<'t>, line: &mut Line<'t>) -> bool {
    let host = scan.try_part(|scan| {
        scan.one_of(b"Mm").filter(|_| scan.starts(FORWARDED))?;
        scan.skip(FORWARDED.len());
        scan.take_word().strip_suffix(':').filter(|host| is_host(host))
    });
    line.host = host.unwrap_or_default();
    host.is_some()
}

/// The next word, unless it is a tag already, or can't be a host's name.
fn host<'t>(scan: &mut Scan<'t>, line: &mut Line<'t>) {
    let word = scan.word();
    if tag(&mut { *scan }).is_none() && is_host(word) {
        line.host = word;
        scan.take_word();
    }
}

/// The place behind the next word.
fn after(mut scan: Scan<'_>) -> Scan<'_> {
    scan.take_word();
    scan.spaces();
    scan
}

/// What follows the host.
fn body<'t>(mut scan: Scan<'t>, line: &mut Line<'t>) {
    scan.spaces();
    if topics(scan, line) {
        return;
    }
    if let Some(tag) = tag(&mut scan) {
        take(&tag, line);
        line.message = scan.rest();
        return identify(line);
    }
    // F5 puts a severity before the tag, ProCurve the number of the event, UniFi the model.
    let word = scan.word();
    let is_event = word.len() == 5 && word.bytes().all(|byte| byte.is_ascii_digit());
    let mut behind = after(scan);
    if (is_event || Severity::from_name(word).is_some() || word.ends_with([':', ',']) || word.matches(',').count() == 2)
        && let Some(tag) = tag(&mut behind)
    {
        take(&tag, line);
        if is_event {
            line.id = word;
        }
        line.message = behind.rest();
        return;
    }
    line.message = scan.rest();
}

fn take<'t>(tag: &Tag<'t>, line: &mut Line<'t>) {
    line.program = tag.program;
    line.process = tag.process;
}

/// `program:`, `program[123]:`, `program[123] `, `su(pam_unix)[123]:`, `postfix/smtpd[123]:`.
fn tag<'t>(scan: &mut Scan<'t>) -> Option<Tag<'t>> {
    scan.try_part(|scan| {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./@()+".contains(&byte);
        let program = scan.take_while(is_name);
        if program.is_empty() || program.len() > TAG {
            return None;
        }
        let process = scan.try_part(|scan| {
            scan.byte(b'[')?;
            let process = scan.take_while(|byte| byte != b']' && byte != b' ');
            scan.byte(b']').map(|()| process)
        });
        let has_colon = scan.byte(b':').is_some();
        let ends = matches!(scan.peek(), None | Some(b' '));
        // `10:20:30` and `C:\` are none; neither is `::1`.
        let is_one = if has_colon { ends || process.is_some() } else { process.is_some() && ends };
        let _ = scan.byte(b' ');
        is_one.then_some(Tag { program, process: process.unwrap_or_default() })
    })
}

/// The kind of message, if it has one of the forms of Junos (`UI_COMMIT: `) or Solaris (`[ID 702911 auth.info] `).
fn identify(line: &mut Line<'_>) {
    let message = line.message;
    if let Some((id, rest)) = message.split_once(": ")
        && (4..=64).contains(&id.len())
        && id.contains('_')
        && id.starts_with(|c: char| c.is_ascii_uppercase())
        && id.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
    {
        (line.id, line.message) = (id, rest);
    } else if let Some((id, rest)) = message.strip_prefix("[ID ").and_then(|rest| rest.split_once("] "))
        && let Some((number, _)) = id.split_once(' ')
        && number.bytes().all(|byte| byte.is_ascii_digit())
    {
        (line.id, line.message) = (number, rest);
    }
}

/// `system,info,account message`, as MikroTik writes: at least two topics, and one of them says how grave it is.
fn topics<'t>(mut scan: Scan<'t>, line: &mut Line<'t>) -> bool {
    let mut host = "";
    if scan.word().find(',').is_none() {
        host = scan.take_word();
        scan.spaces();
    }
    let word = scan.take_word();
    let is_topic = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-!".contains(&byte))
    };
    let grave = word.split(',').filter_map(Severity::from_name).min();
    let (Some(severity), true) = (grave, word.contains(',') && word.split(',').all(is_topic)) else { return false };
    if !host.is_empty() && (!line.host.is_empty() || !is_host(host)) {
        return false;
    }
    if line.host.is_empty() {
        line.host = host;
    }
    line.dialect = Dialect::Topics;
    line.program = word.split(',').find(|part| Severity::from_name(part).is_none()).unwrap_or_default();
    if line.flags.has(Flags::NO_PRIORITY) {
        line.severity = severity;
    }
    line.message = scan.rest();
    true
}
