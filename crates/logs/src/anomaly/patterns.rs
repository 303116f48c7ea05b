//! Lines that match patterns which alert rules ask for.

use std::collections::BTreeSet;

use regex::bytes::{RegexSet, RegexSetBuilder};

/// Patterns in force at most.
pub const PATTERNS: usize = 256;
/// Bytes that one compiled pattern may take: what a rule is checked against. All together may take as much as all of these.
const ONE: usize = 256 << 10;
const ALL: usize = PATTERNS * ONE;
/// Bytes that are kept of what was seen while matching: beyond that matching becomes slower, and never wrong.
const SEEN: usize = 4 << 20;

/// What lines are matched against: all patterns at once, in a time that grows with the line and not with their number.
#[derive(Clone, Debug, Default)]
pub struct Patterns {
    set: RegexSet,
    texts: Vec<Box<str>>,
}

impl Patterns {
    /// Of these; and those that can't be used, with why. They are in the order of their texts.
    pub fn new(wanted: &BTreeSet<String>) -> (Self, Vec<(String, String)>) {
        let mut refused = Vec::new();
        let mut texts: Vec<&String> = Vec::new();
        for text in wanted {
            let one = RegexSetBuilder::new([text]).size_limit(ONE).build();
            match one {
                _ if texts.len() >= PATTERNS => refused.push((text.clone(), format!("more than {PATTERNS} patterns"))),
                Ok(_) => texts.push(text),
                Err(error) => refused.push((text.clone(), error.to_string())),
            }
        }
        match RegexSetBuilder::new(&texts).size_limit(ALL).dfa_size_limit(SEEN).build() {
            Ok(set) => (Self { set, texts: texts.into_iter().map(|text| text.as_str().into()).collect() }, refused),
            Err(error) => {
                refused.extend(texts.into_iter().map(|text| (text.clone(), error.to_string())));
                (Self::default(), refused)
            }
        }
    }

    /// The places of those that a line matches.
    pub fn matches(&self, message: &str) -> impl Iterator<Item = usize> {
        let found = (!self.texts.is_empty()).then(|| self.set.matches(message.as_bytes()));
        found.into_iter().flatten()
    }

    /// Their texts, by place.
    pub fn texts(&self) -> &[Box<str>] {
        &self.texts
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(texts: &[&str]) -> (Patterns, Vec<(String, String)>) {
        Patterns::new(&texts.iter().map(|text| (*text).to_owned()).collect())
    }

    #[test]
    fn a_line_matches_several() {
        let (patterns, refused) = patterns(&["Failed password", "for (root|admin) ", "(?i)FAILED", "^Accepted"]);
        assert!(refused.is_empty());
        let found: Vec<&str> = patterns.matches("Failed password for root from 192.0.2.1").map(|place| &*patterns.texts()[place]).collect();
        assert_eq!(found, ["(?i)FAILED", "Failed password", "for (root|admin) "]);
        assert_eq!(Patterns::default().matches("x").count(), 0);
    }

    #[test]
    fn what_is_wrong_or_too_large_is_left_out_and_said() {
        let (patterns, refused) = patterns(&["fine", "(", "a{1000}{1000}"]);
        assert_eq!(patterns.len(), 1);
        assert_eq!(refused.len(), 2, "{refused:?}");
        let many: BTreeSet<String> = (0..PATTERNS + 3).map(|number| format!("p{number:04}")).collect();
        let (patterns, refused) = Patterns::new(&many);
        assert_eq!((patterns.len(), refused.len()), (PATTERNS, 3));
        assert_eq!(patterns.matches("p0255").count(), 1);
    }
}
