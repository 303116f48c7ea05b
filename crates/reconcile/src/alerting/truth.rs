//! Three values to the end: what could not be seen is neither true nor false.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Bytes of a reason that are kept.
pub const REASON: usize = 200;

/// Whether something holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Truth {
    /// It does.
    True,
    /// It does not.
    False,
    /// Nobody can say, for this reason.
    Unknown(String),
}

impl Truth {
    /// Of a condition that was seen.
    pub fn of(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }

    /// Nobody can say.
    pub fn unknown(reason: impl Into<String>) -> Self {
        Self::Unknown(cut(reason.into()))
    }

    /// Both: false as soon as one of them is false, whatever is unknown of the other (Kleene, "Introduction to Metamathematics", 1952).
    #[must_use]
    pub fn and(self, other: impl FnOnce() -> Self) -> Self {
        match self {
            Self::False => Self::False,
            Self::True => other(),
            Self::Unknown(reason) => {
                if other() == Self::False {
                    Self::False
                } else {
                    Self::Unknown(reason)
                }
            }
        }
    }

    /// One of them: true as soon as one of them is true.
    #[must_use]
    pub fn or(self, other: impl FnOnce() -> Self) -> Self {
        match self {
            Self::True => Self::True,
            Self::False => other(),
            Self::Unknown(reason) => {
                if other() == Self::True {
                    Self::True
                } else {
                    Self::Unknown(reason)
                }
            }
        }
    }

    /// The contrary; of what is unknown it is unknown too.
    #[must_use]
    pub fn negated(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
            unknown @ Self::Unknown(_) => unknown,
        }
    }
}

impl fmt::Display for Truth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::True => f.write_str("true"),
            Self::False => f.write_str("false"),
            Self::Unknown(reason) => write!(f, "unknown: {reason}"),
        }
    }
}

/// A reason may quote a device: its length is bounded, and it holds no control characters.
fn cut(reason: String) -> String {
    let hostile = |character: char| character.is_control();
    if reason.len() <= REASON && !reason.contains(hostile) {
        return reason;
    }
    let mut short = String::with_capacity(REASON);
    for character in reason.chars().map(|character| if hostile(character) { ' ' } else { character }) {
        if short.len() + character.len_utf8() > REASON {
            break;
        }
        short.push(character);
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_decides_nothing_that_the_other_side_decides() {
        let all = [Truth::True, Truth::False, Truth::unknown("x")];
        let rank = |truth: &Truth| match truth {
            Truth::False => 0,
            Truth::Unknown(_) => 1,
            Truth::True => 2,
        };
        for a in &all {
            for b in &all {
                assert_eq!(rank(&a.clone().and(|| b.clone())), rank(a).min(rank(b)), "{a} and {b}");
                assert_eq!(rank(&a.clone().or(|| b.clone())), rank(a).max(rank(b)), "{a} or {b}");
            }
            assert_eq!(a.clone().negated().negated(), *a);
        }
    }

    #[test]
    fn a_reason_is_short_and_one_line() {
        let Truth::Unknown(reason) = Truth::unknown(format!("a\r\nb{}", "ü".repeat(500))) else { panic!() };
        assert!(reason.len() <= REASON && reason.starts_with("a  bü"), "{reason}");
    }
}
