//! Fuzzing without more than a test: each file of a corpus, and then mutations of them that are the same every time.
//!
//! `EVENKEEL_FUZZ=1000000 cargo test --workspace fuzz_` tries more of them. An input that a target panics at is written into the corpus
//! as `found-…`: mend what is wrong and commit it, and it is tried first from then on.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

/// Bytes of an input at most: beyond every limit of one line or one expression, little enough for a debug build.
const LONGEST: usize = 24 << 10;
/// Changes of one input at most.
const CHANGES: u64 = 6;
/// Numbers that are where something ends.
const NUMBERS: [&str; 12] =
    ["0", "-1", "255", "256", "65536", "2147483648", "4294967296", "9223372036854775807", "18446744073709551616", "1e309", "-0", "NaN"];

/// Runs a target on each file of `tests/corpus/<name>` of a crate's folder, and on so many mutations of them, made with words of the format.
pub fn run(folder: &str, name: &str, words: &[&str], mutations: u64, mut target: impl FnMut(&[u8])) {
    let corpus_folder = Path::new(folder).join("tests/corpus").join(name);
    let mut paths: Vec<_> = std::fs::read_dir(&corpus_folder).expect("a corpus").map(|entry| entry.expect("a file").path()).collect();
    paths.sort();
    let corpus: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).expect("a file")).collect();
    assert!(corpus.len() >= 5, "the corpus of {name} has {} files", corpus.len());
    let mut check = |input: &[u8], what: &dyn Fn() -> String| {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
            eprintln!("{name} fails at {}: {}", what(), input.escape_ascii());
            resume_unwind(panic);
        }
    };
    for (path, input) in paths.iter().zip(&corpus) {
        check(input, &|| path.display().to_string());
    }
    let asked = std::env::var_os("EVENKEEL_FUZZ").and_then(|count| count.to_str()?.parse().ok());
    let mut random = Random(name.bytes().fold(1, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into())));
    for number in 0..asked.unwrap_or(mutations) {
        let mut input = random.one(&corpus).clone();
        for _ in 0..=random.below(CHANGES) {
            mutate(&mut input, &corpus, words, &mut random);
        }
        check(&input, &|| {
            let path = corpus_folder.join(format!("found-{number}"));
            match std::fs::write(&path, &input) {
                Ok(()) => format!("mutation {number}, now {}", path.display()),
                Err(error) => format!("mutation {number}, which can't be written ({error})"),
            }
        });
    }
}

/// One change.
fn mutate(input: &mut Vec<u8>, corpus: &[Vec<u8>], words: &[&str], random: &mut Random) {
    let at = random.below_len(input.len() + 1);
    let end = at + random.below_len((input.len() - at).min(64) + 1);
    let part: Vec<u8> = match random.below(10) {
        0 if !input.is_empty() => {
            input[at.saturating_sub(1)] ^= 1 << random.below(8);
            return;
        }
        1 => Vec::new(),
        2 => input[at..end].repeat(2),
        // As a line, a list or a number is made too long.
        3 if random.below(8) == 0 => input[at..end].repeat(random.below_len(600)),
        3 => input[at..end].repeat(random.below_len(12)),
        4 => {
            let other = random.one(corpus);
            input.truncate(at);
            input.extend_from_slice(&other[random.below_len(other.len() + 1)..]);
            input.truncate(LONGEST);
            return;
        }
        5 => {
            input.truncate(at);
            return;
        }
        6 => vec![random.below(256).to_le_bytes()[0]],
        7 => random.one(&NUMBERS).as_bytes().to_vec(),
        8 => {
            let other = random.one(corpus);
            let from = random.below_len(other.len() + 1);
            other[from..(from + random.below_len(40)).min(other.len())].to_vec()
        }
        _ => random.one(words).as_bytes().to_vec(),
    };
    // In its place, or before it.
    let end = if random.below(2) == 0 { end } else { at };
    input.splice(at..end, part);
    input.truncate(LONGEST);
}

/// SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit.max(1)
    }

    fn below_len(&mut self, limit: usize) -> usize {
        usize::try_from(self.below(limit as u64)).unwrap_or_default()
    }

    fn one<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below_len(all.len())]
    }
}
