//! The small form that most expressions come down to: comparisons of values with constants, joined by and, or, not.
//!
//! It is evaluated without CEL, and gives what CEL gives (a property says so).

use super::term::{Inputs, Scalar, Term};
use crate::alerting::truth::Truth;

/// A number: a constant, a term by its place in the list of terms, or something that is reckoned with them.
#[derive(Clone, Debug, PartialEq)]
pub enum Number {
    /// A constant.
    Const(f64),
    /// A term.
    Term(usize),
    /// Its contrary.
    Minus(Box<Number>),
    /// Two of them.
    Of(Arithmetic, Box<Number>, Box<Number>),
}

/// What is reckoned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`; by zero it is infinite, as in CEL.
    Divide,
}

/// How two are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    More,
    /// `>=`
    AtLeast,
    /// `==`
    Is,
    /// `!=`
    IsNot,
}

/// A condition.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// Two numbers.
    Compare(Number, Comparison, Number),
    /// A text, which is one of these.
    OneOf(usize, Vec<String>),
    /// A text that begins, ends, or goes on somewhere with this.
    Text(usize, Part, String),
    /// A text in which something matches this.
    Matches(usize, Pattern),
    /// A term that is yes or no.
    Flag(usize),
    /// A constant.
    Const(bool),
    /// The contrary.
    Not(Box<Test>),
    /// Both.
    And(Box<Test>, Box<Test>),
    /// One of them.
    Or(Box<Test>, Box<Test>),
}

/// A regular expression, compiled once.
#[derive(Clone, Debug)]
pub struct Pattern(pub regex::Regex);

/// What is the same text is the same pattern.
impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

/// Where in a text something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It begins with it.
    Start,
    /// It ends with it.
    End,
    /// It is in it somewhere.
    Anywhere,
}

impl Number {
    /// Its value.
    pub fn value(&self, terms: &[Term], inputs: &Inputs<'_>) -> Result<f64, String> {
        Ok(match self {
            Self::Const(value) => *value,
            Self::Term(at) => match terms[*at].value(inputs)? {
                Scalar::Number(value) => value,
                _ => return Err("no number".into()),
            },
            Self::Minus(of) => -of.value(terms, inputs)?,
            Self::Of(operator, a, b) => {
                let (a, b) = (a.value(terms, inputs)?, b.value(terms, inputs)?);
                match operator {
                    Arithmetic::Add => a + b,
                    Arithmetic::Subtract => a - b,
                    Arithmetic::Multiply => a * b,
                    Arithmetic::Divide => a / b,
                }
            }
        })
    }

    /// Whether it is the same always.
    pub fn is_constant(&self) -> bool {
        match self {
            Self::Const(_) => true,
            Self::Term(_) => false,
            Self::Minus(of) => of.is_constant(),
            Self::Of(_, a, b) => a.is_constant() && b.is_constant(),
        }
    }
}

impl Test {
    /// Whether it holds.
    pub fn truth(&self, terms: &[Term], inputs: &Inputs<'_>) -> Truth {
        match self {
            Self::Compare(a, comparison, b) => match (a.value(terms, inputs), b.value(terms, inputs)) {
                (Ok(a), Ok(b)) => compare(a, *comparison, b),
                (Err(reason), _) | (_, Err(reason)) => Truth::unknown(reason),
            },
            Self::OneOf(at, list) => text(&terms[*at], inputs, |text| list.iter().any(|one| one == text)),
            Self::Text(at, part, other) => text(&terms[*at], inputs, |text| match part {
                Part::Start => text.starts_with(other.as_str()),
                Part::End => text.ends_with(other.as_str()),
                Part::Anywhere => text.contains(other.as_str()),
            }),
            Self::Matches(at, pattern) => text(&terms[*at], inputs, |text| pattern.0.is_match(text)),
            Self::Flag(at) => match terms[*at].value(inputs) {
                Ok(Scalar::Flag(flag)) => Truth::of(flag),
                Ok(_) => Truth::unknown("neither yes nor no"),
                Err(reason) => Truth::unknown(reason),
            },
            Self::Const(holds) => Truth::of(*holds),
            Self::Not(of) => of.truth(terms, inputs).negated(),
            Self::And(a, b) => a.truth(terms, inputs).and(|| b.truth(terms, inputs)),
            Self::Or(a, b) => a.truth(terms, inputs).or(|| b.truth(terms, inputs)),
        }
    }
}

/// As IEEE 754 and CEL have it; what is not a number can't be put in order, and so nobody knows.
fn compare(a: f64, comparison: Comparison, b: f64) -> Truth {
    if a.is_nan() || b.is_nan() {
        return Truth::unknown("zero was divided by zero");
    }
    #[expect(clippy::float_cmp, reason = "CEL compares so, and who writes == means it")]
    Truth::of(match comparison {
        Comparison::Less => a < b,
        Comparison::AtMost => a <= b,
        Comparison::More => a > b,
        Comparison::AtLeast => a >= b,
        Comparison::Is => a == b,
        Comparison::IsNot => a != b,
    })
}

fn text(term: &Term, inputs: &Inputs<'_>, test: impl Fn(&str) -> bool) -> Truth {
    match term.value(inputs) {
        Ok(Scalar::Text(text)) => Truth::of(test(&text)),
        Ok(_) => Truth::unknown("no text"),
        Err(reason) => Truth::unknown(reason),
    }
}
