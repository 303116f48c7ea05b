//! What has `%FACILITY-SEVERITY-MNEMONIC:` in it, with all that IOS, IOS XR, NX-OS, ASA and EOS may put before it; and Huawei's and
//! H3C's `%%10MODULE/SEVERITY/MNEMONIC:`.
//!
//! Before it stand, each of them or not: a message counter and a sequence number (`45: 000046: `), a host (`logging origin-id`), a
//! mark of an unset clock (`*`) or of one that lost its source (`.`), a time or an uptime (`1w2d`), the node and the process of IOS XR.

use super::scan::Scan;
use super::{Around, is_host, stamp};
use crate::line::{Dialect, Facility, Flags, Line, Severity};

/// How far the mnemonic may be from the beginning: beyond all of the above with the longest host name.
const REACH: usize = 400;

/// A mnemonic in its three parts.
struct Mnemonic<'t> {
    facility: &'t str,
    severity: Severity,
    name: &'t str,
}

/// Reads it if a mnemonic is within reach, or if it begins with a sequence number and a time.
pub(super) fn read<'t>(scan: Scan<'t>, around: &Around, line: &mut Line<'t>) -> bool {
    let text = scan.rest();
    let (before, mnemonic, message) = match find(text) {
        Some((before, mnemonic, message)) => (before, Some(mnemonic), message),
        // `debug` output has no mnemonic, but the rest.
        None => match numbered(scan, around) {
            Some(message) => (&text[..text.len() - message.len()], None, message),
            None => return false,
        },
    };
    line.dialect = Dialect::Cisco;
    line.message = message;
    prefix(Scan::new(before), around, line);
    if let Some(Mnemonic { facility, severity, name }) = mnemonic {
        // EOS names its process, and then this is the better name all the same: one template has one program.
        line.program = facility;
        line.id = name;
        if line.flags.has(Flags::NO_PRIORITY) {
            (line.facility, line.severity) = (Facility::LOCAL7, severity);
        }
    }
    true
}

/// The first mnemonic: what is before it, it, and what follows.
fn find(text: &str) -> Option<(&str, Mnemonic<'_>, &str)> {
    let within = &text[..text.floor_char_boundary(text.len().min(REACH))];
    let mut from = 0;
    while let Some(at) = within[from..].find('%').map(|at| at + from) {
        // Where words stand before it, it is quoted.
        let before = text[..at].trim_ascii_end();
        let is_start = before.is_empty() || before.ends_with(':') || text[at..].starts_with("%%");
        if is_start && let Some((mnemonic, message)) = mnemonic(&text[at..]) {
            return Some((&text[..at], mnemonic, message));
        }
        from = at + 1;
    }
    None
}

fn mnemonic(text: &str) -> Option<(Mnemonic<'_>, &str)> {
    let huawei = text.strip_prefix("%%");
    let separator = if huawei.is_some() { '/' } else { '-' };
    let body = huawei.map(|text| text.trim_start_matches(|c: char| c.is_ascii_digit())).or_else(|| text.strip_prefix('%'))?;
    let end = body.find([':', ' ', '('])?;
    let (head, tail) = body.split_at(end);
    // `(l)[0]` of VRP, and the space that IOS XR has there.
    let colon = tail
        .find(':')
        .filter(|colon| *colon <= 16 && tail[..*colon].bytes().all(|byte| b" ()[]".contains(&byte) || byte.is_ascii_alphanumeric()))?;
    let (front, name) = head.rsplit_once(separator)?;
    let (facility, severity) = front.rsplit_once(separator)?;
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"_-$".contains(&byte);
    let is_one = !facility.is_empty() && !name.is_empty() && severity.len() == 1 && facility.bytes().chain(name.bytes()).all(is_word);
    let severity = severity.parse().ok().and_then(Severity::new).filter(|_| is_one)?;
    Some((Mnemonic { facility, severity, name }, &tail[colon + 1..]))
}

/// `123: *Mar  1 18:46:11.123: ` and what follows it.
fn numbered<'t>(mut scan: Scan<'t>, around: &Around) -> Option<&'t str> {
    let mut numbers = 0;
    while number(&mut scan).is_some() {
        numbers += 1;
    }
    scan.one_of(b"*.");
    let stamp = stamp::any(&mut scan, around);
    scan.byte(b':')?;
    (numbers > 0 && stamp.is_some()).then(|| scan.rest())
}

/// A sequence number with its colon.
fn number(scan: &mut Scan<'_>) -> Option<()> {
    scan.try_part(|scan| {
        scan.digits(1, 12)?;
        scan.byte(b':')?;
        if !matches!(scan.peek(), None | Some(b' ')) {
            return None;
        }
        scan.spaces();
        Some(())
    })
}

/// What stands before the mnemonic. Each turn takes at least one byte.
fn prefix<'t>(mut scan: Scan<'t>, around: &Around, line: &mut Line<'t>) {
    loop {
        if scan.one_of(b": ").is_some() || number(&mut scan).is_some() {
            continue;
        }
        let unset = scan.one_of(b"*.").is_some_and(|mark| mark == b'*');
        if unset {
            line.flags |= Flags::CLOCK_UNSET;
        }
        if line.sent.is_none()
            && let Some(stamp) = stamp::any(&mut scan, around)
        {
            line.sent = stamp.at;
            line.flags |= stamp.flags;
            continue;
        }
        let word = scan.take_while(|byte| byte != b' ' && byte != b':');
        if word.is_empty() {
            if scan.rest().is_empty() {
                return;
            }
            // Not ASCII: no part of any of these.
            let first = scan.rest().chars().next().map_or(1, char::len_utf8);
            scan.skip(first);
            continue;
        }
        if word.contains('/') || is_uptime(word) {
            // `RP/0/RSP0/CPU0`: a place within the device.
        } else if let Some((program, process)) = word.strip_suffix(']').and_then(|word| word.split_once('[')) {
            (line.program, line.process) = (program, process);
        } else if line.host.is_empty() && is_host(word) {
            line.host = word;
        }
    }
}

/// `00:00:46`'s first part, `1w2d`, `3d04h`.
fn is_uptime(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_digit() || b"ywdhms".contains(&byte)) && word.starts_with(|c: char| c.is_ascii_digit())
}
