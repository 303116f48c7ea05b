//! Columns: what is asked of each device once, however many rules ask for it, and how rules go over them.

use std::collections::HashMap;

use super::{FALSE, OPEN, TRUE};
use crate::alerting::expr::{Arithmetic, Comparison, Inputs, Number, Scalar, Term, Test};
use crate::alerting::truth::Truth;

/// What all rules together ask for.
#[derive(Debug, Default)]
pub(super) struct Plan {
    numbers: Vec<Term>,
    /// Questions that are not about numbers: one of these texts, such a part, yes or no. Each over its one term.
    questions: Vec<(Test, Vec<Term>)>,
    selectors: Vec<(String, crds::Selector)>,
    /// Where each of them stands, by how it is written.
    known: HashMap<String, usize>,
}

/// A condition over columns.
#[derive(Debug)]
pub(super) enum Expr {
    Compare(Value, Comparison, Value),
    Question(usize),
    Const(bool),
    Not(Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
}

/// Numbers.
#[derive(Debug)]
pub(super) enum Value {
    Const(f64),
    Column(usize),
    Minus(Box<Value>),
    Of(Arithmetic, Box<Value>, Box<Value>),
}

impl Plan {
    /// The selector's place.
    pub(super) fn selector(&mut self, namespace: &str, selector: &crds::Selector) -> usize {
        let at = *self.known.entry(format!("{namespace} {selector:?}")).or_insert(self.selectors.len());
        if at == self.selectors.len() {
            self.selectors.push((namespace.to_owned(), selector.clone()));
        }
        at
    }

    /// A lowered expression, over columns.
    pub(super) fn expr(&mut self, test: &Test, terms: &[Term]) -> Expr {
        match test {
            Test::Compare(a, comparison, b) => Expr::Compare(self.value(a, terms), *comparison, self.value(b, terms)),
            Test::OneOf(at, list) => self.question(Test::OneOf(0, list.clone()), &terms[*at]),
            Test::Text(at, part, other) => self.question(Test::Text(0, *part, other.clone()), &terms[*at]),
            Test::Matches(at, pattern) => self.question(Test::Matches(0, pattern.clone()), &terms[*at]),
            Test::Flag(at) => self.question(Test::Flag(0), &terms[*at]),
            Test::Const(holds) => Expr::Const(*holds),
            Test::Not(of) => Expr::Not(Box::new(self.expr(of, terms))),
            Test::And(a, b) => Expr::And(Box::new(self.expr(a, terms)), Box::new(self.expr(b, terms))),
            Test::Or(a, b) => Expr::Or(Box::new(self.expr(a, terms)), Box::new(self.expr(b, terms))),
        }
    }

    fn question(&mut self, test: Test, term: &Term) -> Expr {
        let at = *self.known.entry(format!("{test:?} {term:?}")).or_insert(self.questions.len());
        if at == self.questions.len() {
            self.questions.push((test, vec![term.clone()]));
        }
        Expr::Question(at)
    }

    fn value(&mut self, number: &Number, terms: &[Term]) -> Value {
        match number {
            Number::Const(value) => Value::Const(*value),
            Number::Term(at) => {
                let term = &terms[*at];
                let at = *self.known.entry(format!("{term:?}")).or_insert(self.numbers.len());
                if at == self.numbers.len() {
                    self.numbers.push(term.clone());
                }
                Value::Column(at)
            }
            Number::Minus(of) => Value::Minus(Box::new(self.value(of, terms))),
            Number::Of(arithmetic, a, b) => Value::Of(*arithmetic, Box::new(self.value(a, terms)), Box::new(self.value(b, terms))),
        }
    }
}

/// The columns of some devices; each is made when the first rule asks for it.
pub(super) struct Columns<'a, 'b> {
    plan: &'a Plan,
    inputs: &'a [Inputs<'b>],
    numbers: Vec<Option<Vec<f64>>>,
    questions: Vec<Option<Vec<u8>>>,
    selectors: Vec<Option<Vec<u8>>>,
}

/// One side of a comparison: the same for all, or one for each.
enum Side<'a> {
    One(f64),
    Each(std::borrow::Cow<'a, [f64]>),
}

impl<'a, 'b> Columns<'a, 'b> {
    pub(super) fn new(plan: &'a Plan, inputs: &'a [Inputs<'b>]) -> Self {
        let numbers = vec![None; plan.numbers.len()];
        let (questions, selectors) = (vec![None; plan.questions.len()], vec![None; plan.selectors.len()]);
        Self { plan, inputs, numbers, questions, selectors }
    }

    /// Which devices a selector is for: 0 or 1.
    pub(super) fn selected(&mut self, at: usize) -> Vec<u8> {
        let (namespace, selector) = &self.plan.selectors[at];
        let inputs = self.inputs;
        let column = self.selectors[at].get_or_insert_with(|| {
            let applies = |inputs: &Inputs<'_>| {
                let device = inputs.device;
                !device.suspend && device.name.namespace() == namespace && selector.matches(&device.labels)
            };
            inputs.iter().map(|inputs| u8::from(applies(inputs))).collect()
        });
        column.clone()
    }

    /// Whether it holds, of each.
    pub(super) fn truth(&mut self, expr: &Expr) -> Vec<u8> {
        match expr {
            Expr::Compare(a, comparison, b) => {
                self.fill(a);
                self.fill(b);
                compare(self.side(a), *comparison, self.side(b), self.inputs.len())
            }
            Expr::Question(at) => {
                let (test, terms) = &self.plan.questions[*at];
                let inputs = self.inputs;
                let answer = |inputs: &Inputs<'_>| match test.truth(terms, inputs) {
                    Truth::False => FALSE,
                    Truth::Unknown(_) => OPEN,
                    Truth::True => TRUE,
                };
                self.questions[*at].get_or_insert_with(|| inputs.iter().map(answer).collect()).clone()
            }
            Expr::Const(holds) => vec![if *holds { TRUE } else { FALSE }; self.inputs.len()],
            // False, open, true are 0, 1, 2: Kleene's logic is the lower, the higher and the other end of them.
            Expr::Not(of) => {
                let mut of = self.truth(of);
                of.iter_mut().for_each(|truth| *truth = TRUE - *truth);
                of
            }
            Expr::And(a, b) => {
                let (mut a, b) = (self.truth(a), self.truth(b));
                a.iter_mut().zip(&b).for_each(|(a, b)| *a = (*a).min(*b));
                a
            }
            Expr::Or(a, b) => {
                let (mut a, b) = (self.truth(a), self.truth(b));
                a.iter_mut().zip(&b).for_each(|(a, b)| *a = (*a).max(*b));
                a
            }
        }
    }

    /// Makes the columns that a number is reckoned from.
    fn fill(&mut self, value: &Value) {
        match value {
            Value::Const(_) => {}
            Value::Column(at) => {
                let (term, inputs) = (&self.plan.numbers[*at], self.inputs);
                // What is not known is no number; whatever is reckoned with it is none either.
                let number = |inputs: &Inputs<'_>| match term.value(inputs) {
                    Ok(Scalar::Number(number)) => number,
                    _ => f64::NAN,
                };
                self.numbers[*at].get_or_insert_with(|| inputs.iter().map(number).collect());
            }
            Value::Minus(of) => self.fill(of),
            Value::Of(_, a, b) => {
                self.fill(a);
                self.fill(b);
            }
        }
    }

    fn side(&self, value: &Value) -> Side<'_> {
        match value {
            Value::Const(value) => Side::One(*value),
            Value::Column(at) => Side::Each(self.numbers[*at].as_deref().unwrap_or_default().into()),
            Value::Minus(of) => match self.side(of) {
                Side::One(value) => Side::One(-value),
                Side::Each(column) => Side::Each(column.iter().map(|value| -value).collect()),
            },
            Value::Of(arithmetic, a, b) => {
                let reckon = |a: f64, b: f64| match arithmetic {
                    Arithmetic::Add => a + b,
                    Arithmetic::Subtract => a - b,
                    Arithmetic::Multiply => a * b,
                    Arithmetic::Divide => a / b,
                };
                match (self.side(a), self.side(b)) {
                    (Side::One(a), Side::One(b)) => Side::One(reckon(a, b)),
                    (Side::One(a), Side::Each(b)) => Side::Each(b.iter().map(|b| reckon(a, *b)).collect()),
                    (Side::Each(a), Side::One(b)) => Side::Each(a.iter().map(|a| reckon(*a, b)).collect()),
                    (Side::Each(a), Side::Each(b)) => Side::Each(a.iter().zip(&*b).map(|(a, b)| reckon(*a, *b)).collect()),
                }
            }
        }
    }
}

#[expect(clippy::float_cmp, reason = "CEL compares so, and who writes == means it")]
fn compare(a: Side<'_>, comparison: Comparison, b: Side<'_>, many: usize) -> Vec<u8> {
    match comparison {
        Comparison::Less => by(a, b, many, |a, b| a < b),
        Comparison::AtMost => by(a, b, many, |a, b| a <= b),
        Comparison::More => by(a, b, many, |a, b| a > b),
        Comparison::AtLeast => by(a, b, many, |a, b| a >= b),
        Comparison::Is => by(a, b, many, |a, b| a == b),
        Comparison::IsNot => by(a, b, many, |a, b| a != b),
    }
}

/// One loop for each comparison, so that none of them has to ask which it is.
fn by(a: Side<'_>, b: Side<'_>, many: usize, holds: impl Fn(f64, f64) -> bool) -> Vec<u8> {
    // What is no number is open: 1, and neither 0 nor 2.
    let one = |a: f64, b: f64| {
        let is_open = u8::from(a.is_nan() | b.is_nan());
        is_open | ((u8::from(holds(a, b)) << 1) & (is_open << 1 ^ TRUE))
    };
    match (a, b) {
        (Side::One(a), Side::One(b)) => vec![one(a, b); many],
        (Side::One(a), Side::Each(b)) => b.iter().map(|b| one(a, *b)).collect(),
        (Side::Each(a), Side::One(b)) => a.iter().map(|a| one(*a, b)).collect(),
        (Side::Each(a), Side::Each(b)) => a.iter().zip(&*b).map(|(a, b)| one(*a, *b)).collect(),
    }
}
