//! Expressions: CEL over what is known of one device.
//!
//! ```text
//! text ─► cel's parser ─► check (names, kinds, bounds) ─► the small form of lower.rs ─► Truth
//!                                                    └─► the rewritten CEL of fallback.rs ─┘
//! ```
//!
//! Checking replaces each value that is asked for (`usage.memory.ratio`, `avg(usage.cpu.ratio, "10m")`) by a variable, a [`Term`]. So
//! both ways read the same terms, a missing one is unknown in both, and CEL sees a handful of scalars instead of a whole device. CEL's
//! `&&` and `||` absorb errors as three-valued logic has it (cel-spec, "Logical Operators"), so a variable that is not there is enough.

mod check;
mod fallback;
mod lower;
mod needs;
mod paths;
mod rollouts;
mod spans;
mod term;

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::history::{LooksBack, farthest};
use super::truth::Truth;
use crate::usage::{Metric, Series};

pub use lower::{Arithmetic, Comparison, Number, Part, Pattern, Test};
pub use needs::Need;
pub use paths::{Wrong, pattern};
pub use rollouts::{DeploymentField, Given, PHASES, Rollouts};
pub use term::{Field, Function, Inputs, ProbeField, STALE, Scalar, Term};

/// Bytes of an expression, as the kind's schema has it.
pub const LENGTH: usize = 2048;
/// How deep an expression may be nested: more than people write, less than what needs a deep stack.
pub const DEPTH: usize = 32;
/// Elements of a list that is written out.
pub const ELEMENTS: usize = 64;
/// Values that one expression may ask for.
pub const TERMS: usize = 64;
/// `exists`, `all`, `filter` and `map` within each other.
pub const LOOPS: usize = 2;
/// How many disks, interfaces or probes an expression with loops in loops goes through: their number is squared.
pub const SQUARED: usize = 64;
/// An expression that depends on the time is looked at again after this long.
pub const TICK: SignedDuration = SignedDuration::from_secs(10);

/// An expression that was checked.
#[derive(Clone, Debug)]
pub struct Compiled {
    text: String,
    terms: Vec<Term>,
    test: Option<Test>,
    fallback: fallback::Fallback,
    value: Option<Number>,
    warnings: Vec<Wrong>,
}

/// The value that a text names as an expression would, such as `logs["Failed password"].matches`.
pub(super) fn named(text: &str) -> Option<Term> {
    let parsed = (text.len() <= LENGTH).then(|| fallback::parse(text).ok()).flatten()?;
    check::term(&parsed)
}

/// The series that a text names as an expression would: `usage.disks["/"].ratio`, `logs["Failed password"].matches`.
pub fn series(text: &str) -> Option<Series> {
    match named(text)? {
        Term::Series(series) => Some(series),
        _ => None,
    }
}

/// What is the same text is the same expression.
impl PartialEq for Compiled {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Compiled {
    /// Checks an expression; an error is all that is wrong with it.
    pub fn new(text: &str) -> Result<Self, Vec<Wrong>> {
        if text.len() > LENGTH {
            return Err(vec![Wrong::new(format!("it has more than {LENGTH} bytes"), "make two rules of it")]);
        }
        let parsed = fallback::parse(text).map_err(|wrong| vec![wrong])?;
        let mut checked = check::check(&parsed)?;
        if let Some(term) = checked.test.as_ref().and_then(|test| spans::impossible(test, &checked.terms)) {
            let message = format!("{term} is never all of that at once, so it never holds");
            checked.warnings.push(Wrong::new(message, "change one of its limits, or write `||`"));
        }
        Ok(Self {
            text: text.to_owned(),
            fallback: fallback::Fallback::new(checked.expr, checked.maps, checked.loops),
            terms: checked.terms,
            test: checked.test,
            value: checked.value,
            warnings: checked.warnings,
        })
    }

    /// As it is written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What looks wrong and need not be.
    pub fn warnings(&self) -> &[Wrong] {
        &self.warnings
    }

    /// Whether it comes down to the small form.
    pub fn is_lowered(&self) -> bool {
        self.test.is_some()
    }

    /// The small form that it comes down to, over these values.
    pub fn lowered(&self) -> Option<(&Test, &[Term])> {
        Some((self.test.as_ref()?, &self.terms))
    }

    /// Whether it is seen to hold only where another one does.
    pub fn implies(&self, other: &Self) -> bool {
        self.lowered().zip(other.lowered()).is_some_and(|(own, other)| spans::implies(own, other))
    }

    /// Whether time alone changes something in it.
    pub fn is_timed(&self) -> bool {
        self.terms.iter().any(Term::is_timed)
    }

    /// Whether it asks for readings.
    pub fn reads(&self) -> bool {
        self.terms.iter().any(Term::is_read) || self.fallback.reads()
    }

    /// Whether it asks for what lines of log came to. A loop goes through none of that.
    pub fn reads_logs(&self) -> bool {
        self.terms.iter().filter_map(Term::series).any(|series| series.metric.is_of_logs())
    }

    /// Whether it holds.
    pub fn truth(&self, inputs: &Inputs<'_>) -> Truth {
        match &self.test {
            Some(test) => test.truth(&self.terms, inputs),
            None => self.fallback.truth(&self.terms, inputs),
        }
    }

    /// Whether what is unknown is so only since nobody has looked back for long enough yet: a window after a start, or of a new rule.
    pub fn is_early(&self, truth: &Truth, inputs: &Inputs<'_>) -> bool {
        let Truth::Unknown(_) = truth else { return false };
        self.terms.iter().filter_map(|term| term.too_early(inputs)).any(|reason| Truth::unknown(reason) == *truth)
    }

    /// The same by CEL, also where there is a quicker way.
    pub fn truth_by_cel(&self, inputs: &Inputs<'_>) -> Truth {
        self.fallback.truth(&self.terms, inputs)
    }

    /// The first number that it compares.
    pub fn value(&self, inputs: &Inputs<'_>) -> Option<f64> {
        self.value.as_ref()?.value(&self.terms, inputs).ok().filter(|value| value.is_finite())
    }

    /// The patterns of log lines that it asks for.
    pub fn patterns(&self) -> BTreeSet<String> {
        let of = |series: &Series| (series.metric == Metric::LogMatches).then(|| series.item.to_string());
        self.terms.iter().filter_map(Term::series).filter_map(of).collect()
    }

    /// The Deployments that it names.
    pub fn deployments(&self) -> BTreeSet<String> {
        self.terms.iter().filter_map(Term::deployment).map(str::to_owned).collect()
    }

    /// Whether it asks for something of rollouts: only whoever plans knows of them.
    pub fn asks_for_rollouts(&self) -> bool {
        self.terms.iter().any(Term::is_of_rollouts) || self.fallback.asks_for_rollouts()
    }

    /// The series that it looks back at, and how far.
    pub fn looks_back_at(&self) -> LooksBack {
        farthest(self.terms.iter().filter_map(Term::looks_back_at).map(|(series, window)| (series.clone(), window)))
    }

    /// When time alone could change what it says.
    pub fn look_again(&self, inputs: &Inputs<'_>) -> Option<Timestamp> {
        let tick = self.is_timed().then(|| inputs.now.checked_add(TICK).ok()).flatten();
        let stale = inputs.usage.filter(|_| self.reads()).and_then(|usage| usage.at.checked_add(STALE).ok()).filter(|at| *at >= inputs.now);
        // The instant itself is not too long ago yet.
        let stale = stale.and_then(|at| at.checked_add(SignedDuration::from_millis(1)).ok());
        tick.into_iter().chain(stale).min()
    }
}
