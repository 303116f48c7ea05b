//! Which values conditions leave: two of the same value that exclude each other are a rule that never fires.

use super::lower::{Arithmetic, Comparison, Number, Test};
use super::term::Term;

/// The values of one term that conditions leave.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Span {
    low: f64,
    /// The lowest is one of them.
    with_low: bool,
    high: f64,
    with_high: bool,
}

impl Span {
    fn new(comparison: Comparison, limit: f64) -> Option<Self> {
        let any = Self { low: f64::NEG_INFINITY, with_low: true, high: f64::INFINITY, with_high: true };
        Some(match comparison {
            Comparison::Less => Self { high: limit, with_high: false, ..any },
            Comparison::AtMost => Self { high: limit, ..any },
            Comparison::More => Self { low: limit, with_low: false, ..any },
            Comparison::AtLeast => Self { low: limit, ..any },
            Comparison::Is => Self { low: limit, high: limit, ..any },
            Comparison::IsNot => return None,
        })
    }

    fn with(self, other: Self) -> Self {
        let (low, with_low) = match self.low.total_cmp(&other.low) {
            std::cmp::Ordering::Less => (other.low, other.with_low),
            std::cmp::Ordering::Equal => (self.low, self.with_low && other.with_low),
            std::cmp::Ordering::Greater => (self.low, self.with_low),
        };
        let (high, with_high) = match self.high.total_cmp(&other.high) {
            std::cmp::Ordering::Less => (self.high, self.with_high),
            std::cmp::Ordering::Equal => (self.high, self.with_high && other.with_high),
            std::cmp::Ordering::Greater => (other.high, other.with_high),
        };
        Self { low, with_low, high, with_high }
    }

    fn is_empty(self) -> bool {
        self.low > self.high || (self.low >= self.high && !(self.with_low && self.with_high))
    }

    fn is_within(self, other: Self) -> bool {
        self.with(other) == self
    }
}

/// What holds of single terms wherever a test holds, and whether that is all that it asks.
#[derive(Default)]
struct Spans<'a> {
    of: Vec<(&'a Term, Span)>,
    is_more: bool,
}

impl<'a> Spans<'a> {
    fn new(test: &Test, terms: &'a [Term]) -> Self {
        let mut spans = Self::default();
        spans.take(test, terms);
        spans
    }

    fn take(&mut self, test: &Test, terms: &'a [Term]) {
        let known = match test {
            Test::And(a, b) => {
                self.take(a, terms);
                self.take(b, terms);
                return;
            }
            Test::Compare(Number::Term(at), comparison, limit) => Some((at, *comparison, limit)),
            Test::Compare(limit, comparison, Number::Term(at)) => Some((at, turned(*comparison), limit)),
            _ => None,
        };
        let known = known.and_then(|(at, comparison, limit)| Some((terms.get(*at)?, Span::new(comparison, constant(limit)?)?)));
        match known {
            None => self.is_more = true,
            Some((term, span)) => match self.of.iter_mut().find(|(other, _)| *other == term) {
                Some((_, known)) => *known = known.with(span),
                None => self.of.push((term, span)),
            },
        }
    }
}

fn turned(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Less => Comparison::More,
        Comparison::AtMost => Comparison::AtLeast,
        Comparison::More => Comparison::Less,
        Comparison::AtLeast => Comparison::AtMost,
        same => same,
    }
}

fn constant(number: &Number) -> Option<f64> {
    match number {
        Number::Const(value) => Some(*value),
        Number::Term(_) => None,
        Number::Minus(of) => Some(-constant(of)?),
        Number::Of(operator, a, b) => {
            let (a, b) = (constant(a)?, constant(b)?);
            Some(match operator {
                Arithmetic::Add => a + b,
                Arithmetic::Subtract => a - b,
                Arithmetic::Multiply => a * b,
                Arithmetic::Divide => a / b,
            })
        }
    }
}

/// The term of which a test wants what no single value is, if it can't hold for that.
pub(super) fn impossible<'a>(test: &Test, terms: &'a [Term]) -> Option<&'a Term> {
    match test {
        Test::Or(a, b) => impossible(a, terms).and_then(|_| impossible(b, terms)),
        // In an `or` within an `and` one side may still hold.
        test => Spans::new(test, terms).of.into_iter().find(|(_, span)| span.is_empty()).map(|(term, _)| term),
    }
}

/// Whether one can't hold without the other, as far as that is seen from comparisons of single values with constants.
pub(super) fn implies((test, terms): (&Test, &[Term]), (other, others): (&Test, &[Term])) -> bool {
    let (spans, wanted) = (Spans::new(test, terms), Spans::new(other, others));
    let has = |(term, span): &(&Term, Span)| spans.of.iter().any(|(own, narrower)| own == term && narrower.is_within(*span));
    !wanted.is_more && !wanted.of.is_empty() && wanted.of.iter().all(has)
}

#[cfg(test)]
mod tests {
    use super::super::Compiled;
    use super::*;

    fn is_impossible(text: &str) -> Option<String> {
        let compiled = Compiled::new(text).unwrap();
        let (test, terms) = compiled.lowered().unwrap();
        impossible(test, terms).map(ToString::to_string)
    }

    #[test]
    fn what_no_value_is_never_holds() {
        for text in [
            "usage.memory.ratio > 0.9 && usage.memory.ratio < 0.5",
            "usage.memory.ratio > 0.5 && usage.memory.ratio <= 0.5",
            "0.9 < usage.memory.ratio && device.labels.role == 'app' && usage.memory.ratio == 0.8",
            "(usage.memory.ratio > 0.9 && usage.memory.ratio < 0.5) || (usage.memory.ratio > 0.8 && usage.memory.ratio < 0.7)",
        ] {
            assert_eq!(is_impossible(text).as_deref(), Some("memory.ratio"), "{text}");
        }
        for text in [
            "usage.memory.ratio > 0.5 && usage.memory.ratio < 0.9",
            "usage.memory.ratio >= 0.5 && usage.memory.ratio <= 0.5",
            "usage.memory.ratio > 0.9 && usage.swap.ratio < 0.5",
            "usage.memory.ratio > 0.9 || usage.memory.ratio < 0.5",
            "usage.memory.ratio > 0.9 && (usage.memory.ratio < 0.5 || usage.swap.ratio > 0.5)",
            "!(usage.memory.ratio > 0.9) && usage.memory.ratio > 0.95",
        ] {
            assert_eq!(is_impossible(text), None, "{text}");
        }
    }

    #[test]
    fn what_holds_only_where_another_does() {
        let implied = |a: &str, b: &str| {
            let (a, b) = (Compiled::new(a).unwrap(), Compiled::new(b).unwrap());
            implies(a.lowered().unwrap(), b.lowered().unwrap())
        };
        assert!(implied("usage.memory.ratio > 0.95", "usage.memory.ratio > 0.9"));
        assert!(implied("usage.swap.ratio < 0.1 && usage.memory.ratio > 0.9", "usage.memory.ratio > 0.9"));
        assert!(implied("usage.memory.ratio == 0.95", "usage.memory.ratio > 0.9 && usage.memory.ratio < 1.0"));
        assert!(!implied("usage.memory.ratio < 0.8", "usage.memory.ratio > 0.9"));
        assert!(!implied("usage.memory.ratio > 0.8", "usage.memory.ratio > 0.9"));
        assert!(!implied("usage.memory.ratio > 0.95", "usage.memory.ratio > 0.9 && usage.swap.ratio > 0.5"));
        assert!(!implied("usage.memory.ratio > 0.95", "usage.memory.ratio > 0.9 || usage.swap.ratio > 0.5"));
    }
}
