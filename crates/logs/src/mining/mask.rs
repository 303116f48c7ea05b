//! A message becomes tokens, with what varies by its nature masked: numbers, addresses, ids, paths, what stands in quotes.
//!
//! One pass over the bytes, by hand: this is where a miner spends its time. Tokens end at spaces; what is masked lies within them:
//! `port=22` becomes `port=<num>`, `10.0.0.1:22` becomes `<ip>:<num>`.

use std::net::Ipv6Addr;
use std::ops::Range;

use super::hash;
use super::{MOST, WILDCARD};

/// What is masked beside numbers, addresses and ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Masks {
    /// Absolute paths and URLs.
    pub paths: bool,
    /// What stands in double quotes, or in single ones that begin a word.
    pub quotes: bool,
}

impl Default for Masks {
    fn default() -> Self {
        Self { paths: true, quotes: true }
    }
}

/// A masked message. Kept from line to line, so that none allocates.
#[derive(Default)]
pub(crate) struct Masked {
    text: String,
    ends: Vec<u32>,
    hashes: Vec<u64>,
    has_id: bool,
}

/// Before these stands a command that is the rest of the message, of any length: sudo and cron.
const COMMANDS: [&[u8]; 2] = [b"COMMAND=", b"CMD"];
/// Shortest run of hexadecimal digits that is an id; shorter ones are words and numbers too often.
const HEX: usize = 8;

impl Masked {
    /// Reads a message; `id` becomes a first token as it is.
    pub(crate) fn read(&mut self, id: &str, message: &str, masks: Masks) {
        self.text.clear();
        self.ends.clear();
        self.hashes.clear();
        self.has_id = !id.is_empty();
        if self.has_id {
            self.text.push_str(id);
            self.end();
        }
        let mut at = after_uptime(message.as_bytes());
        let bytes = message.as_bytes();
        let mut is_second = false;
        while at < bytes.len() {
            if bytes[at] == b' ' {
                at += 1;
                continue;
            }
            if self.ends.len() == MOST {
                self.text.push_str(WILDCARD);
                self.end();
                break;
            }
            if is_second && bytes[at..].starts_with(b": ") {
                // `alice : TTY=pts/0`: who did it, in sudo's form.
                self.replace_last();
            }
            let start = self.text.len();
            is_second = self.ends.len() == usize::from(self.has_id);
            at = self.token(message, at, masks);
            let is_command = COMMANDS.iter().any(|command| self.text.as_bytes()[start..].starts_with(command));
            self.end();
            if is_command && self.rest_is_command(start, bytes.get(at..).unwrap_or_default()) {
                break;
            }
        }
    }

    pub(crate) fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// Whether the first token is the kind of message.
    pub(crate) fn has_id(&self) -> bool {
        self.has_id
    }

    /// What the line's branch of the tree is called: the kind of message, or the first token if that is a plain word. Lines that begin
    /// with anything else share the branch with the empty name: `nginx.service:` and `eth<num>:` vary from line to line.
    pub(crate) fn branch(&self) -> &str {
        let first = self.words().next().unwrap_or_default();
        if self.has_id || is_plain(first) { first } else { "" }
    }

    pub(crate) fn words(&self) -> impl Iterator<Item = &str> {
        (0..self.ends.len()).map(|word| &self.text[self.range(word)])
    }

    /// Of all tokens in their order.
    pub(crate) fn hash(&self) -> u64 {
        self.hashes.iter().fold(self.hashes.len() as u64, |all, token| hash::join(all, *token))
    }

    fn range(&self, word: usize) -> Range<usize> {
        let start = word.checked_sub(1).map_or(0, |before| self.ends[before]);
        start as usize..self.ends[word] as usize
    }

    /// What was written since the last token is one.
    fn end(&mut self) {
        let start = self.ends.last().copied().unwrap_or_default() as usize;
        self.hashes.push(hash::token(&self.text[start..]));
        // The longest line fits many times: a mask is never longer than what makes two tokens of it.
        self.ends.push(u32::try_from(self.text.len()).unwrap_or(u32::MAX));
    }

    fn replace_last(&mut self) {
        let start = self.range(self.ends.len() - 1).start;
        self.text.truncate(start);
        self.ends.pop();
        self.hashes.pop();
        self.text.push_str(WILDCARD);
        self.end();
    }

    /// `COMMAND=/bin/ls -l` and `CMD (run-parts /etc/cron.hourly)`: one token, whatever the command is.
    fn rest_is_command(&mut self, start: usize, rest: &[u8]) -> bool {
        if self.text.as_bytes()[start..].starts_with(COMMANDS[0]) {
            self.ends.pop();
            self.hashes.pop();
            self.text.truncate(start + COMMANDS[0].len());
            self.text.push_str(WILDCARD);
            self.end();
            return true;
        }
        if &self.text[start..] == "CMD" && rest.starts_with(b" (") {
            self.text.push_str(WILDCARD);
            self.end();
            return true;
        }
        false
    }

    /// Writes the token that begins here, masked, and says where it ends.
    fn token(&mut self, message: &str, from: usize, masks: Masks) -> usize {
        let bytes = message.as_bytes();
        let mut at = from;
        // What of the message is to be copied as it is begins here.
        let mut copied = from;
        while at < bytes.len() {
            let byte = bytes[at];
            match CLASS[usize::from(byte)] {
                Class::Space => break,
                Class::Quote => {
                    let begins = byte == b'"' || at == from || !bytes[at - 1].is_ascii_alphanumeric();
                    if let Some(end) = masks.quotes.then(|| closing(bytes, at)).flatten().filter(|_| begins) {
                        self.text.push_str(&message[copied..=at]);
                        self.text.push_str("<str>");
                        copied = end;
                        at = end;
                    }
                    at += 1;
                }
                Class::Other => at += 1,
                Class::Atom | Class::Digit => {
                    let atom = at;
                    let mut has_digit = false;
                    let mut is_marked = false;
                    while at < bytes.len() {
                        match CLASS[usize::from(bytes[at])] {
                            Class::Digit => has_digit = true,
                            Class::Atom => is_marked |= matches!(bytes[at], b'/' | b':'),
                            _ => break,
                        }
                        at += 1;
                    }
                    if has_digit || is_marked {
                        self.text.push_str(&message[copied..atom]);
                        self.atom(&message[atom..at], masks);
                        copied = at;
                    }
                }
            }
        }
        self.text.push_str(&message[copied..at]);
        at
    }

    /// Writes a run of what addresses, numbers and paths are made of.
    fn atom(&mut self, whole: &str, masks: Masks) {
        // A sentence's end, a colon behind a name, belong to no address; `::1` begins with its own.
        let atom = whole.trim_end_matches(['.', ':', '-', '_', '+']);
        let tail = &whole[atom.len()..];
        let bytes = atom.as_bytes();
        if masks.paths && bytes.len() > 1 && bytes[0] == b'/' {
            self.text.push_str("<path>");
        } else if masks.paths && atom.contains("://") {
            self.text.push_str("<url>");
        } else if let Some(end) = ipv4(bytes) {
            self.text.push_str("<ip>");
            self.numbers(&atom[end..]);
        } else if is_mac(bytes) {
            self.text.push_str("<mac>");
        } else if let Some(end) = ipv6(atom) {
            self.text.push_str("<ip>");
            self.numbers(&atom[end..]);
        } else if is_uuid(bytes) {
            self.text.push_str("<uuid>");
        } else if is_hex(bytes) {
            self.text.push_str("<hex>");
        } else {
            self.numbers(atom);
        }
        self.text.push_str(tail);
    }

    /// Writes text with its numbers masked, and runs that mix letters and digits all over as one id.
    fn numbers(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let start = at;
            let mut turns = 0;
            while at < bytes.len() && bytes[at].is_ascii_alphanumeric() {
                turns += usize::from(at > start && bytes[at].is_ascii_digit() != bytes[at - 1].is_ascii_digit());
                at += 1;
            }
            if at == start {
                // A sign belongs to its number.
                let is_sign = matches!(bytes[at], b'-' | b'+') && at == 0 && bytes.get(1).is_some_and(u8::is_ascii_digit);
                let end = text.ceil_char_boundary(at + 1);
                if !is_sign {
                    self.text.push_str(&text[at..end]);
                }
                at = end;
            } else if turns >= 3 && at - start >= HEX {
                self.text.push_str("<id>");
            } else {
                at = self.run(text, start, at);
            }
        }
    }

    /// Writes a run of letters and digits, each number of it as one with its fractions, and says where it ends.
    fn run(&mut self, text: &str, start: usize, end: usize) -> usize {
        let bytes = text.as_bytes();
        let mut at = start;
        while at < end {
            if !bytes[at].is_ascii_digit() {
                self.text.push(char::from(bytes[at]));
                at += 1;
                continue;
            }
            self.text.push_str("<num>");
            loop {
                while at < bytes.len() && bytes[at].is_ascii_digit() {
                    at += 1;
                }
                // `1.5`, `1.2.3`
                let goes_on = at + 1 < bytes.len() && bytes[at] == b'.' && bytes[at + 1].is_ascii_digit();
                if !goes_on {
                    break;
                }
                at += 1;
            }
        }
        at
    }
}

/// Letters only, but for a mark behind them.
pub(crate) fn is_plain(word: &str) -> bool {
    let letters = word.trim_end_matches([':', ',', '.', ';']);
    !letters.is_empty() && letters.bytes().all(|byte| byte.is_ascii_alphabetic())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Space,
    Quote,
    Digit,
    /// What may stand in an address, a path, a number or a name.
    Atom,
    Other,
}

const CLASS: [Class; 256] = {
    let mut class = [Class::Other; 256];
    let mut byte = 0;
    while byte < 256 {
        class[byte] = match byte as u8 {
            b' ' => Class::Space,
            b'"' | b'\'' => Class::Quote,
            b'0'..=b'9' => Class::Digit,
            b'a'..=b'z' | b'A'..=b'Z' | b'.' | b':' | b'-' | b'_' | b'/' | b'+' | b'@' | 0x80.. => Class::Atom,
            _ => Class::Other,
        };
        byte += 1;
    }
    class
};

/// The kernel's `[   12.345678] ` and where the message begins behind it: its padding would make lines differ in length.
fn after_uptime(bytes: &[u8]) -> usize {
    if bytes.first() != Some(&b'[') {
        return 0;
    }
    let Some(end) = bytes.iter().take(24).position(|byte| *byte == b']') else { return 0 };
    let inner = bytes[1..end].trim_ascii();
    let is_uptime = inner.contains(&b'.') && inner.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
    if is_uptime { end + 1 } else { 0 }
}

/// Where the quote that opens here is closed.
fn closing(bytes: &[u8], open: usize) -> Option<usize> {
    let mut at = open + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 1,
            byte if byte == bytes[open] => {
                let ends = bytes[open] == b'"' || bytes.get(at + 1).is_none_or(|next| !next.is_ascii_alphanumeric());
                if ends {
                    return Some(at);
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Where the IPv4 address ends that begins the atom: `10.0.0.1`, `10.0.0.1:22`, `10.0.0.0/8`.
fn ipv4(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    for part in 0..4 {
        if part > 0 {
            if bytes.get(at) != Some(&b'.') {
                return None;
            }
            at += 1;
        }
        let digits = bytes[at..].iter().take(4).take_while(|byte| byte.is_ascii_digit()).count();
        let number = bytes[at..at + digits].iter().fold(0_u32, |number, digit| number * 10 + u32::from(digit - b'0'));
        if digits == 0 || digits > 3 || number > 255 {
            return None;
        }
        at += digits;
    }
    bytes.get(at).is_none_or(|next| matches!(next, b':' | b'/' | b'-')).then_some(at)
}

/// Where the IPv6 address ends that begins the atom; a prefix length may follow.
fn ipv6(atom: &str) -> Option<usize> {
    let bytes = atom.as_bytes();
    let end = bytes.iter().position(|byte| !(byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'))).unwrap_or(bytes.len());
    let colons = bytes[..end].iter().filter(|byte| **byte == b':').count();
    let may_follow = matches!(bytes.get(end), None | Some(b'/'));
    (colons >= 2 && end <= 45 && may_follow && atom[..end].parse::<Ipv6Addr>().is_ok()).then_some(end)
}

/// `00:11:22:aa:bb:cc`, with dashes, or `0011.22aa.bbcc`.
fn is_mac(bytes: &[u8]) -> bool {
    let shape = |group: usize, separators: &[u8]| {
        let separator = bytes[group];
        separators.contains(&separator)
            && bytes
                .iter()
                .enumerate()
                .all(|(at, byte)| if at % (group + 1) == group { *byte == separator } else { byte.is_ascii_hexdigit() })
    };
    match bytes.len() {
        17 => shape(2, b":-"),
        14 => shape(4, b"."),
        _ => false,
    }
}

fn is_uuid(bytes: &[u8]) -> bool {
    let is_right = |(at, byte): (usize, &u8)| if matches!(at, 8 | 13 | 18 | 23) { *byte == b'-' } else { byte.is_ascii_hexdigit() };
    bytes.len() == 36 && bytes.iter().enumerate().all(is_right)
}

/// `0x1f`, or a long run of hexadecimal digits with a letter among them.
fn is_hex(bytes: &[u8]) -> bool {
    let all = |bytes: &[u8]| !bytes.is_empty() && bytes.iter().all(u8::is_ascii_hexdigit);
    match bytes.strip_prefix(b"0x").or_else(|| bytes.strip_prefix(b"0X")) {
        Some(rest) => all(rest),
        None => bytes.len() >= HEX && all(bytes) && bytes.iter().any(u8::is_ascii_digit) && !bytes.iter().all(u8::is_ascii_digit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(message: &str) -> String {
        let mut masked = Masked::default();
        masked.read("", message, Masks::default());
        masked.words().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_varies_by_its_nature_is_masked() {
        for (message, want) in [
            ("Failed password for root from 10.0.0.1 port 22 ssh2", "Failed password for root from <ip> port <num> ssh<num>"),
            ("a 10.0.0.1:22 10.0.0.0/8, [fe80::1]:22 ::1 2001:db8::/32.", "a <ip>:<num> <ip>/<num>, [<ip>]:<num> <ip> <ip>/<num>."),
            ("a 999.0.0.1 1.2.3 -5 +1.5ms 50% 12:34:56", "a <num> <num> <num> <num>ms <num>% <num>:<num>:<num>"),
            ("00:11:22:aa:bb:cc 00-11-22-aa-bb-cc 0011.22aa.bbcc", "<mac> <mac> <mac>"),
            ("id 123e4567-e89b-12d3-a456-426614174000 0xdeadbeef 1f2e3d4c5b6a", "id <uuid> <hex> <hex>"),
            ("deadbeef cafe 12345678", "deadbeef cafe <num>"),
            ("session sB3xK9qQ1z eth0 x86_64 Gi1/0/24,", "session <id> eth<num> x<num>_<num> Gi<num>/<num>/<num>,"),
            ("open /var/log/x.1: no", "open <path>: no"),
            ("get https://example.org/a?b=1 now", "get <url>?b=<num> now"),
            ("\"GET /a HTTP/1.1\" 200 don't 'a b' x='c d'", "\"<str>\" <num> don't '<str>' x='<str>'"),
            ("an \"open one", "an \"open one"),
            ("alice : TTY=pts/0 ; COMMAND=/bin/ls -l /root", "<*> : TTY=pts/<num> ; COMMAND=<*>"),
            ("(root) CMD (run-parts /etc/cron.hourly)", "(root) CMD <*>"),
            ("[   12.345678] usb 1-1: new", "usb <num>-<num>: new"),
            ("[ 1] x", "[ <num>] x"),
            ("über 5€ ü5", "über <num>€ ü<num>"),
            ("", ""),
        ] {
            assert_eq!(masked(message), want, "{message}");
        }
    }

    #[test]
    fn a_long_line_is_told_by_its_beginning() {
        let words = masked(&"word ".repeat(500));
        assert_eq!(words.split(' ').count(), MOST + 1);
        assert!(words.ends_with("word <*>"));
        assert_eq!(masked(&"word ".repeat(MOST)).split(' ').count(), MOST);
    }

    #[test]
    fn a_kind_is_a_token_as_it_is() {
        let mut masked = Masked::default();
        masked.read("302013", "Built 1", Masks::default());
        assert_eq!(masked.words().collect::<Vec<_>>(), ["302013", "Built", "<num>"]);
    }
}
