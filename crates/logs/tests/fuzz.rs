//! Lines and streams as a hostile sender makes them of real ones.

#[path = "../../../tests/fuzz.rs"]
mod fuzz;

use jiff::Timestamp;
use logs::intake::frame::Frames;
use logs::mining::{Miner, Options};
use logs::parse::{Around, FIELDS, WORD, parse};
use logs::{Flags, clean};

const WORDS: [&str; 24] = [
    "<13>",
    "<191>",
    "<999>",
    "1 ",
    "- ",
    "2026-01-02T03:04:05.123456Z ",
    "Feb 29 23:59:60 ",
    "*Mar  1 18:46:11.123: ",
    "[id a=\"",
    "\"] ",
    "\\",
    "]",
    "%SYS-5-CONFIG_I: ",
    "date=2026-01-02 ",
    "k=\"v\" ",
    "system,info ",
    "\u{feff}",
    "\u{202e}",
    "\0",
    "\n",
    "10.0.0.1:22 ",
    "::1 ",
    "COMMAND=",
    "12 ",
];

#[test]
fn fuzz_lines() {
    let around = Around { received: Timestamp::from_second(1_767_323_100).unwrap(), offset: 50_400 };
    let mut miner = Miner::new(Options { templates: 64, ..Options::default() });
    fuzz::run(env!("CARGO_MANIFEST_DIR"), "line", &WORDS, 20_000, |bytes| {
        let (text, flags) = clean::line(bytes);
        assert!(text.len() <= clean::LINE && text.chars().count() <= bytes.len());
        assert!(!text.chars().any(char::is_control));
        assert_eq!(clean::line(text.as_bytes()).0.trim_end(), text.trim_end(), "what is clean stays as it is");
        assert!(bytes.len() > clean::LINE / 3 || !flags.has(Flags::CUT));
        let line = parse(&text, &around);
        assert!([line.host, line.program, line.process, line.id].iter().all(|word| word.len() <= WORD));
        assert!(text.contains(line.message) && line.fields.len() <= FIELDS);
        assert!(line.fields.iter().map(|field| field.name.len() + field.value.len()).sum::<usize>() <= text.len());
        let mined = miner.mine(line.program, line.id, line.message);
        assert_eq!(mined.template, miner.mine(line.program, line.id, line.message).template);
        assert_eq!(mined.template.to_string().parse(), Ok(mined.template));
        assert!(miner.len() <= 64);
    });
}

/// The lines of a stream that comes in pieces of so many bytes.
fn framed(bytes: &[u8], piece: usize) -> (Vec<(Vec<u8>, bool)>, u64) {
    let (mut frames, mut lines) = (Frames::default(), Vec::new());
    let mut line = |line: &[u8], is_cut: bool| lines.push((line.to_vec(), is_cut));
    for piece in bytes.chunks(piece) {
        frames.push(piece, &mut line);
    }
    frames.finish(&mut line);
    (lines, frames.take_malformed())
}

#[test]
fn fuzz_streams() {
    fuzz::run(env!("CARGO_MANIFEST_DIR"), "stream", &WORDS, 20_000, |bytes| {
        let (lines, malformed) = framed(bytes, bytes.len().max(1));
        assert!(lines.iter().all(|(line, is_cut)| line.len() <= clean::LINE + 1 && *is_cut == (line.len() > clean::LINE)));
        assert!(lines.iter().map(|(line, _)| line.len()).sum::<usize>() <= bytes.len());
        assert!(malformed <= bytes.len() as u64);
        assert_eq!((lines, malformed), framed(bytes, 7), "however it comes");
    });
}
