//! Whatever comes: no panic, nothing longer than what came, no control characters.

use jiff::Timestamp;
use logs::mining::{Miner, Options};
use logs::parse::{Around, FIELDS, WORD, parse};
use logs::{Flags, clean};
use proptest::prelude::{ProptestConfig, any, prop, proptest};

fn check(bytes: &[u8]) {
    let (text, flags) = clean::line(bytes);
    assert!(text.len() <= clean::LINE && text.chars().count() <= bytes.len());
    assert!(!text.chars().any(char::is_control));
    assert!(bytes.len() > clean::LINE / 3 || !flags.has(Flags::CUT));
    for second in [0, 1_767_323_100, 253_402_200_000, -377_705_000_000] {
        let around = Around { received: Timestamp::from_second(second).unwrap(), offset: 50_400 };
        let line = parse(&text, &around);
        let parts = [line.host, line.program, line.process, line.id, line.message];
        assert!(parts.iter().all(|part| part.len() <= text.len()));
        assert!(parts[..4].iter().all(|part| part.len() <= WORD));
        assert!(line.fields.len() <= FIELDS);
        assert!(line.fields.iter().map(|field| field.name.len() + field.value.len()).sum::<usize>() <= text.len());
    }
    let mut miner = Miner::new(Options { templates: 4, ..Options::default() });
    let first = miner.mine("p", "", &text);
    assert_eq!(first.template, miner.mine("p", "", &text).template);
}

/// Pieces that lead deep into each form.
const PIECES: [&str; 40] = [
    "<13>",
    "<189>",
    "1 ",
    "- ",
    "2026-01-02T03:04:05Z ",
    "Jan  2 03:04:05 ",
    "*Mar  1 18:46:11.123: ",
    "123: ",
    "host ",
    "app[1]: ",
    "[id a=\"",
    "b\"] ",
    "\\\"",
    "\\",
    "]",
    "[",
    "%SYS-5-CONFIG_I: ",
    "%%10SHELL/5/X(l)[0]:",
    "date=2026-01-02 ",
    "time=03:04:05 ",
    "k=\"v\" ",
    "system,info ",
    "RP/0/RSP0/CPU0:",
    "1767323045.5 ",
    "\u{feff}",
    "ü",
    " ",
    ":",
    "%",
    "'",
    "\"",
    "10.0.0.1:22 ",
    "::1 ",
    "00:11:22:33:44:55 ",
    "0x1f ",
    "/var/log ",
    "COMMAND=",
    "CMD (",
    "[   1.5] ",
    "Message forwarded from ",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        check(&bytes);
    }

    #[test]
    fn any_pieces(pieces in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..24), cut in any::<prop::sample::Index>()) {
        let text: String = pieces.concat();
        check(text.as_bytes());
        check(&text.as_bytes()[..cut.index(text.len() + 1)]);
    }
}

#[test]
fn at_the_limits() {
    for piece in PIECES.iter().chain(&["a=b ", "[a b=\"c\"]", "a ", "\u{202e}", "\0", "1", "a1"]) {
        for head in ["", "<13>", "<13>1 - - - - - ", "<13>Jan  2 03:04:05 ", "date=1 "] {
            check(format!("{head}{}", piece.repeat(9000 / piece.len())).as_bytes());
        }
    }
}
