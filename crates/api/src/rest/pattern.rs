//! Regular expressions that people look for in lines of logs.

use regex::{Regex, RegexBuilder};
use store::LogLine;
use tokio::sync::Semaphore;

/// Bytes of a pattern.
const PATTERN: usize = 500;
/// Bytes of what it becomes. What a line costs grows with this: some classes of letters of all the world's scripts fit in, many don't.
const COMPILED: usize = 64 << 10;
/// Bytes of what is remembered while it is looked for.
const REMEMBERED: usize = 1 << 20;
/// Pages of lines that are looked through at once, by all who ask: what is left of the processors is for everything else.
static TURNS: Semaphore = Semaphore::const_new(2);

/// A pattern; great and small letters are the same.
pub(super) fn read(q: &str) -> Result<Regex, String> {
    if q.len() > PATTERN {
        return Err(format!("q: {} bytes are more than {PATTERN}", q.len()));
    }
    let pattern = RegexBuilder::new(q).case_insensitive(true).size_limit(COMPILED).dfa_size_limit(REMEMBERED).build();
    pattern.map_err(|error| format!("q: {}", error.to_string().lines().last().unwrap_or("no pattern")))
}

/// The lines that have it in them; without a pattern all. Not on the threads that answer everybody.
pub(super) async fn fitting(pattern: Option<&Regex>, lines: Vec<LogLine>) -> Vec<LogLine> {
    let Some(pattern) = pattern.filter(|_| !lines.is_empty()).cloned() else { return lines };
    // The semaphore is never closed.
    let _turn = TURNS.acquire().await.ok();
    let fits = move || lines.into_iter().filter(|line| pattern.is_match(&line.message)).collect();
    tokio::task::spawn_blocking(fits).await.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_regular_expression_has_its_limits() {
        assert!(read("FAIL(ed|ure)").unwrap().is_match("a failure"));
        assert!(read(r"\d+ \w+ [a-z]{3}").unwrap().is_match("17 more abc"));
        assert!(read("(").unwrap_err().starts_with("q: "));
        assert!(read(&"a".repeat(PATTERN + 1)).is_err());
        assert!(read(&format!("{}a{}", "(".repeat(50), "{50}){50}".repeat(50))).is_err(), "it would take gigabytes");
        assert!(read("(a{100}){100}").is_err());
    }
}
