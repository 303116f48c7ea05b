//! A line's bytes become text that can be stored and shown anywhere.
//!
//! What is not UTF-8 becomes U+FFFD, one for each broken sequence. Control characters become spaces, so that no line can move a
//! terminal's cursor or make two of one; characters that turn the direction of writing become U+FFFD, as they make a text look like
//! another one. Ends of lines and NULs at the end are the framing of some senders and go without a word.

use crate::line::Flags;

/// Longest line in bytes. RFC 5424 asks for 2048 at least, rsyslog's default and Cisco's longest are 8192.
pub const LINE: usize = 8 * 1024;

/// Appends a line's text, and says what was done to it. Never more than [`LINE`] bytes, never more characters than the line has bytes.
pub fn append(bytes: &[u8], text: &mut String) -> Flags {
    let bytes = trim(bytes);
    let start = text.len();
    let mut flags = Flags::default();
    if bytes.len() <= LINE && bytes.iter().all(|byte| (b' '..0x7f).contains(byte)) {
        // Nearly all of them.
        text.push_str(std::str::from_utf8(bytes).unwrap_or_default());
        return flags;
    }
    // What lies beyond the limit is not even looked at: no character has more than four bytes.
    let seen = &bytes[..bytes.len().min(LINE + 4)];
    'line: for chunk in seen.utf8_chunks() {
        for character in chunk.valid().chars() {
            let kept = keep(character);
            if kept != character && character != '\t' {
                flags |= Flags::MENDED;
            }
            if text.len() - start + kept.len_utf8() > LINE {
                flags |= Flags::CUT;
                break 'line;
            }
            text.push(kept);
        }
        if !chunk.invalid().is_empty() {
            flags |= Flags::MENDED;
            if text.len() - start + char::REPLACEMENT_CHARACTER.len_utf8() > LINE {
                flags |= Flags::CUT;
                break;
            }
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    if bytes.len() > LINE {
        flags |= Flags::CUT;
    }
    flags
}

/// A line's text on its own.
pub fn line(bytes: &[u8]) -> (String, Flags) {
    let mut text = String::with_capacity(bytes.len().min(LINE));
    let flags = append(bytes, &mut text);
    (text, flags)
}

fn trim(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r' | 0)).map_or(0, |last| last + 1);
    &bytes[..end]
}

/// What stays of a character.
fn keep(character: char) -> char {
    match character {
        character if character.is_control() => ' ',
        // Line and paragraph separators.
        '\u{2028}' | '\u{2029}' => ' ',
        // Marks, embeddings, overrides and isolates of the direction (Unicode, UAX #9).
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => char::REPLACEMENT_CHARACTER,
        character => character,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays_and_its_end_goes() {
        assert_eq!(line(b"<13>all fine\r\n\0"), ("<13>all fine".into(), Flags::default()));
        assert_eq!(line("ünïcode".as_bytes()), ("ünïcode".into(), Flags::default()));
        assert_eq!(line(b"a\tb"), ("a b".into(), Flags::default()));
        assert_eq!(line(b"\n"), (String::new(), Flags::default()));
    }

    #[test]
    fn nothing_moves_a_cursor_or_turns_the_text() {
        assert_eq!(line(b"a\x1b[2Jb\x07\nc\x9b"), ("a [2Jb  c\u{fffd}".into(), Flags::MENDED));
        assert_eq!(line("a\u{9b}31m".as_bytes()), ("a 31m".into(), Flags::MENDED));
        assert_eq!(line("exe\u{202e}gpj".as_bytes()), ("exe\u{fffd}gpj".into(), Flags::MENDED));
        assert_eq!(line(b"caf\xe9 au lait"), ("caf\u{fffd} au lait".into(), Flags::MENDED));
    }

    #[test]
    fn a_long_line_is_cut_at_a_character() {
        let (text, flags) = line(&vec![b'x'; LINE]);
        assert_eq!((text.len(), flags), (LINE, Flags::default()));
        let (text, flags) = line(&vec![b'x'; LINE + 1]);
        assert_eq!((text.len(), flags), (LINE, Flags::CUT));
        let (text, flags) = line("ü".repeat(LINE).as_bytes());
        assert_eq!((text.len(), flags), (LINE, Flags::CUT));
        // Each of these bytes would become three.
        let (text, flags) = line(&vec![0xff; LINE]);
        assert!(text.len() <= LINE && flags == Flags::CUT | Flags::MENDED, "{} {flags:?}", text.len());
    }
}
