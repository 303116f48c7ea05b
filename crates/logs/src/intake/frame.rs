//! Lines within a stream of bytes (RFC 6587): each with its length before it, or with an end of line behind it. A sender may do either,
//! and some do both; which it is shows in the first byte, since no line without a length begins with a digit from 1 to 9 and a space
//! after at most five of them.

use crate::clean::LINE;

/// Longest length that is believed. What is longer than [`LINE`] is cut, but its end has to be found.
const LONGEST: usize = 99_999;

/// What of a stream has come and is not a line yet.
#[derive(Debug, Default)]
pub struct Frames {
    buffer: Vec<u8>,
    state: State,
    /// Frames whose length could not be.
    malformed: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Between two frames.
    #[default]
    Between,
    /// Digits of a length.
    Length,
    /// Of a line with a length, so many bytes are to come.
    Counted(usize),
    /// Of a line that ends with its line.
    Line,
}

impl Frames {
    /// Takes what has come, and gives each line that is whole with whether it was cut.
    pub fn push(&mut self, mut bytes: &[u8], mut line: impl FnMut(&[u8], bool)) {
        while let Some(first) = bytes.first().copied() {
            match self.state {
                State::Between if first.is_ascii_digit() && first != b'0' => self.state = State::Length,
                // Ends of lines behind lines with a length, and empty lines.
                State::Between if matches!(first, b'\n' | b'\r' | 0 | b' ') => bytes = &bytes[1..],
                State::Between => self.state = State::Line,
                State::Length if first.is_ascii_digit() && self.buffer.len() < 5 => {
                    self.buffer.push(first);
                    bytes = &bytes[1..];
                }
                State::Length if first == b' ' => {
                    let length = self.buffer.drain(..).fold(0, |length, digit| length * 10 + usize::from(digit - b'0'));
                    self.state = State::Counted(length.min(LONGEST));
                    bytes = &bytes[1..];
                }
                State::Length => {
                    // A line that begins with a number: a year, for example.
                    self.malformed += u64::from(first.is_ascii_digit());
                    self.state = State::Line;
                }
                State::Counted(left) => {
                    let (part, rest) = bytes.split_at(left.min(bytes.len()));
                    self.keep(part);
                    self.state = State::Counted(left - part.len());
                    bytes = rest;
                    if left == part.len() {
                        self.emit(&mut line);
                    }
                }
                State::Line => {
                    let end = bytes.iter().position(|byte| matches!(byte, b'\n' | 0));
                    let (part, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
                    self.keep(part);
                    bytes = rest;
                    if end.is_some() {
                        bytes = &bytes[1..];
                        self.emit(&mut line);
                    }
                }
            }
        }
    }

    /// The stream is at its end: what is there is a line, though perhaps not a whole one.
    pub fn finish(&mut self, mut line: impl FnMut(&[u8], bool)) {
        if !self.buffer.is_empty() {
            if matches!(self.state, State::Counted(_)) {
                self.malformed += 1;
            }
            self.emit(&mut line);
        }
    }

    /// Frames whose length could not be, since this was last asked.
    pub fn take_malformed(&mut self) -> u64 {
        std::mem::take(&mut self.malformed)
    }

    /// One byte more than a line may have tells that it was cut.
    fn keep(&mut self, part: &[u8]) {
        let room = (LINE + 1).saturating_sub(self.buffer.len());
        self.buffer.extend_from_slice(&part[..part.len().min(room)]);
    }

    fn emit(&mut self, line: &mut impl FnMut(&[u8], bool)) {
        line(&self.buffer, self.buffer.len() > LINE);
        self.buffer.clear();
        self.state = State::Between;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(chunks: &[&[u8]]) -> (Vec<String>, u64) {
        let mut frames = Frames::default();
        let mut lines = Vec::new();
        let mut line = |bytes: &[u8], cut: bool| lines.push(format!("{}{}", String::from_utf8_lossy(bytes), if cut { "|" } else { "" }));
        for chunk in chunks {
            frames.push(chunk, &mut line);
        }
        frames.finish(&mut line);
        (lines, frames.take_malformed())
    }

    #[test]
    fn both_kinds_in_one_stream_however_it_is_cut() {
        let stream = b"<13>one\n<13>two\r\n8 <13>fo\nr12 <13>three\x00\n\n2026-01-02 x\n1234567 y\n<13>last";
        let want = ["<13>one", "<13>two\r", "<13>fo\nr", "<13>three\0\n\n", "2026-01-02 x", "1234567 y", "<13>last"];
        assert_eq!(read(&[stream]), (want.map(String::from).to_vec(), 1));
        for at in 0..stream.len() {
            assert_eq!(read(&[&stream[..at], &stream[at..]]).0, want, "{at}");
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(read(&bytes).0, want);
    }

    #[test]
    fn what_is_too_long_is_cut_and_its_end_is_found() {
        let long = "x".repeat(LINE + 1000);
        let (lines, malformed) = read(&[format!("<{long}\nnext\n{} {long}5 after", long.len()).as_bytes()]);
        assert_eq!(lines.iter().map(String::len).collect::<Vec<_>>(), [LINE + 2, 4, LINE + 2, 5]);
        assert_eq!((&*lines[1], &*lines[3], malformed), ("next", "after", 0));
        assert_eq!(read(&[&[b'x'; 100_000]]).0[0].len(), LINE + 2);
        // A length that did not come as a whole.
        assert_eq!(read(&[b"50 <13>half"]), (vec!["<13>half".into()], 1));
        assert_eq!(read(&[b"", b"\n\n\0"]), (vec![], 0));
    }
}
