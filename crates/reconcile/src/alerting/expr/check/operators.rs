//! Operators: what may be compared and reckoned with what.

use cel::common::ast::{CallExpr, Expr, operators as op};

use super::{Check, Low, Seen, double};
use crate::alerting::expr::lower::{Arithmetic, Comparison, Number, Test};
use crate::alerting::expr::paths::{Kind, Wrong, values};
use crate::alerting::expr::term::{Function, Term};
use crate::usage::Unit;

impl Check {
    pub(super) fn call(&mut self, call: &CallExpr, depth: usize) -> Seen {
        let name = call.func_name.as_str();
        if let (Some(comparison), [_, _], None) = (comparison(name), call.args.as_slice(), &call.target) {
            return self.compare(call, comparison, depth);
        }
        if let (Some(arithmetic), [_, _], None) = (arithmetic(name), call.args.as_slice(), &call.target) {
            return self.reckon(call, arithmetic, depth);
        }
        match (name, call.args.as_slice()) {
            (op::LOGICAL_AND | op::LOGICAL_OR, [_, _]) => self.junction(call, depth),
            (op::LOGICAL_NOT, [of]) => {
                let of = self.see(of, depth + 1);
                self.has_to_be(&of, &Kind::Bool, "!");
                let low = match &of.low {
                    Low::Test(test) => Low::Test(Test::Not(Box::new(test.clone()))),
                    _ => Low::No,
                };
                self.called(call, None, vec![of], Kind::Bool, low)
            }
            (op::NOT_STRICTLY_FALSE, [of]) => {
                let of = self.see(of, depth + 1);
                self.called(call, None, vec![of], Kind::Bool, Low::No)
            }
            (op::NEGATE, [of]) => {
                let of = self.see(of, depth + 1);
                let (kind, low) = (of.kind.clone(), of.low.clone());
                if !matches!(kind, Kind::Number | Kind::Int | Kind::Span | Kind::Any) {
                    return self.refuse(Wrong::new(format!("`-` before {}", kind.word()), "leave it away"));
                }
                let low = match low {
                    Low::Number(Number::Const(value)) => Low::Number(Number::Const(-value)),
                    Low::Number(number) => Low::Number(Number::Minus(Box::new(number))),
                    _ => Low::No,
                };
                self.called(call, None, vec![of], kind, low)
            }
            (op::MODULO, [a, b]) => {
                let (a, b) = (self.see(a, depth + 1), self.see(b, depth + 1));
                self.has_to_be(&a, &Kind::Int, "%");
                self.has_to_be(&b, &Kind::Int, "%");
                self.called(call, None, vec![a, b], Kind::Int, Low::No)
            }
            (op::CONDITIONAL, [condition, then, otherwise]) => {
                let condition = self.see(condition, depth + 1);
                self.has_to_be(&condition, &Kind::Bool, "?");
                let (mut then, mut otherwise) = (self.see(then, depth + 1), self.see(otherwise, depth + 1));
                same_numbers(&mut then, &mut otherwise);
                let kind = if then.kind == otherwise.kind { then.kind.clone() } else { Kind::Any };
                self.called(call, None, vec![condition, then, otherwise], kind, Low::No)
            }
            (op::IN, [_, _]) => self.is_in(call, depth),
            (op::INDEX, [_, _]) => self.index(call, depth),
            (op::OPT_INDEX | op::OPT_SELECT, _) => {
                self.refuse(Wrong::new("what is missing is unknown here, and needs no `?`", "leave the question mark away"))
            }
            _ => self.function(call, depth),
        }
    }

    pub(super) fn has_to_be(&mut self, seen: &Seen, kind: &Kind, of: &str) {
        let fits = seen.kind == *kind || seen.kind == Kind::Any;
        if !fits {
            let message = format!("`{of}` takes {}, and this is {}", kind.word(), seen.kind.word());
            self.refuse(Wrong::new(message, "compare it first, or leave it away"));
        }
    }

    fn junction(&mut self, call: &CallExpr, depth: usize) -> Seen {
        let (a, b) = (self.see(&call.args[0], depth + 1), self.see(&call.args[1], depth + 1));
        let is_and = call.func_name == op::LOGICAL_AND;
        for side in [&a, &b] {
            self.has_to_be(side, &Kind::Bool, if is_and { "&&" } else { "||" });
        }
        let low = match (&a.low, &b.low) {
            (Low::Test(a), Low::Test(b)) => {
                let (a, b) = (Box::new(a.clone()), Box::new(b.clone()));
                Low::Test(if is_and { Test::And(a, b) } else { Test::Or(a, b) })
            }
            _ => Low::No,
        };
        self.called(call, None, vec![a, b], Kind::Bool, low)
    }

    fn compare(&mut self, call: &CallExpr, comparison: Comparison, depth: usize) -> Seen {
        let (mut a, mut b) = (self.see(&call.args[0], depth + 1), self.see(&call.args[1], depth + 1));
        same_numbers(&mut a, &mut b);
        let equality = matches!(comparison, Comparison::Is | Comparison::IsNot);
        let ordered = |kind: &Kind| matches!(kind, Kind::Number | Kind::Int | Kind::Text | Kind::Time | Kind::Span | Kind::Any);
        let numbers = |kind: &Kind| matches!(kind, Kind::Number | Kind::Int);
        let alike = a.kind == b.kind || a.kind == Kind::Any || b.kind == Kind::Any || (numbers(&a.kind) && numbers(&b.kind));
        if !alike {
            return self.refuse(unlike(&a.kind, &b.kind));
        }
        if !(equality || ordered(&a.kind) && ordered(&b.kind)) {
            return self.refuse(Wrong::new(format!("{} can't be put in order", a.kind.word()), "use == or !="));
        }
        let low = match (&a.low, &b.low) {
            (Low::Number(x), Low::Number(y)) => {
                if !self.out_of_range(x, comparison, y) {
                    self.decided(x, comparison, y);
                }
                self.note_value(x, y);
                Low::Test(Test::Compare(x.clone(), comparison, y.clone()))
            }
            (Low::Text(at), Low::Word(word)) | (Low::Word(word), Low::Text(at)) if equality => {
                self.never_so(*at, word);
                let one_of = Test::OneOf(*at, vec![word.clone()]);
                Low::Test(if comparison == Comparison::Is { one_of } else { Test::Not(Box::new(one_of)) })
            }
            (Low::Choice(known), Low::Word(word)) | (Low::Word(word), Low::Choice(known)) if equality => {
                self.one_of(known, word);
                Low::No
            }
            (Low::Number(x), _) | (_, Low::Number(x)) => {
                self.note_value(x, x);
                Low::No
            }
            _ => Low::No,
        };
        self.called(call, None, vec![a, b], Kind::Bool, low)
    }

    fn note_value(&mut self, a: &Number, b: &Number) {
        let is_some = self.value.is_some();
        let first = [a, b].into_iter().find(|number| !number.is_constant());
        // Within a loop there is no one number.
        if let (false, 0, Some(number)) = (is_some, self.loops, first) {
            self.value = Some(number.clone());
        }
    }

    /// A share that is compared with more than all of it.
    fn out_of_range(&mut self, a: &Number, comparison: Comparison, b: &Number) -> bool {
        let (at, limit) = match (a, b) {
            (Number::Term(at), Number::Const(limit)) | (Number::Const(limit), Number::Term(at)) => (*at, *limit),
            _ => return false,
        };
        let is_sum = matches!(self.terms.get(at), Some(Term::Window { function: Function::Sum, .. }));
        if let Some(Term::Series(series) | Term::Window { series, .. }) = self.terms.get(at)
            && series.metric.unit() == Unit::Ratio
            && limit > 1.0
            && comparison != Comparison::IsNot
            && !is_sum
        {
            let message = format!("{series} is a share between 0 and 1, and never comes to {limit}");
            let help = format!("write {} for {limit} percent", limit / 100.0);
            self.warnings.push(Wrong::new(message, help));
            return true;
        }
        false
    }

    /// Numbers of which one is larger always.
    fn decided(&mut self, a: &Number, comparison: Comparison, b: &Number) {
        if a.is_constant() && b.is_constant() {
            return;
        }
        let (low_a, high_a) = self.bounds(a);
        let (low_b, high_b) = self.bounds(b);
        let (never, always) = match comparison {
            Comparison::Less => (low_a >= high_b, high_a < low_b),
            Comparison::AtMost => (low_a > high_b, high_a <= low_b),
            Comparison::More => (high_a <= low_b, low_a > high_b),
            Comparison::AtLeast => (high_a < low_b, low_a >= high_b),
            Comparison::Is => (low_a > high_b || high_a < low_b, false),
            Comparison::IsNot => (false, low_a > high_b || high_a < low_b),
        };
        if never || always {
            let word = if never { "never" } else { "always" };
            let message = format!("a comparison is {word} so: one side is {}, the other {}", span(low_a, high_a), span(low_b, high_b));
            self.warnings.push(Wrong::new(message, "compare it with something that it can come to"));
        }
    }

    /// What a number can be.
    fn bounds(&self, number: &Number) -> (f64, f64) {
        let any = (f64::NEG_INFINITY, f64::INFINITY);
        match number {
            Number::Const(value) => (*value, *value),
            Number::Term(at) => match self.terms.get(*at) {
                Some(Term::Window { function: Function::Rate | Function::Predict(_), .. }) => any,
                Some(Term::Window { function: Function::Sum, .. }) => (0.0, f64::INFINITY),
                Some(Term::Series(series) | Term::Window { series, .. }) if series.metric.unit() == Unit::Ratio => (0.0, 1.0),
                Some(Term::Series(_) | Term::Window { .. }) => (0.0, f64::INFINITY),
                _ => any,
            },
            Number::Minus(of) => {
                let (low, high) = self.bounds(of);
                (-high, -low)
            }
            Number::Of(arithmetic, a, b) => {
                let ((low_a, high_a), (low_b, high_b)) = (self.bounds(a), self.bounds(b));
                match arithmetic {
                    Arithmetic::Add => (low_a + low_b, high_a + high_b),
                    Arithmetic::Subtract => (low_a - high_b, high_a - low_b),
                    Arithmetic::Multiply if low_a >= 0.0 && low_b > 0.0 && high_b.is_finite() => (low_a * low_b, high_a * high_b),
                    Arithmetic::Multiply | Arithmetic::Divide => any,
                }
            }
        }
    }

    /// A text that something never is.
    fn never_so(&mut self, at: usize, word: &str) {
        if let Some(known) = self.terms.get(at).and_then(values) {
            self.one_of(known, word);
        }
    }

    fn one_of(&mut self, known: &[&str], word: &str) {
        if !known.contains(&word) {
            let shown: String = word.chars().take(60).collect();
            let mut help = format!("it is one of {}", known.join(", "));
            if word.eq_ignore_ascii_case("unknown") {
                help.push_str("; what is unknown is asked by !known(…), or decided by noData");
            }
            self.refuse(Wrong::new(format!("it is never `{shown}`"), help));
        }
    }

    fn reckon(&mut self, call: &CallExpr, arithmetic: Arithmetic, depth: usize) -> Seen {
        let (mut a, mut b) = (self.see(&call.args[0], depth + 1), self.see(&call.args[1], depth + 1));
        same_numbers(&mut a, &mut b);
        let Some(kind) = result(arithmetic, &a.kind, &b.kind) else {
            let sign = call.func_name.trim_matches('_');
            let message = match (&a.kind, &b.kind) {
                (Kind::Number, Kind::Int) | (Kind::Int, Kind::Number) => format!("`{sign}` of a measured number and a counted one"),
                (a, b) => format!("`{sign}` of {} and {}", a.word(), b.word()),
            };
            return self.refuse(Wrong::new(message, "write double(…) around what is counted, or compare them one by one"));
        };
        let low = match (&a.low, &b.low) {
            // CEL divides whole numbers as such.
            (Low::Number(_), Low::Number(_)) if kind == Kind::Int && arithmetic == Arithmetic::Divide => Low::No,
            (Low::Number(x), Low::Number(y)) => Low::Number(Number::Of(arithmetic, Box::new(x.clone()), Box::new(y.clone()))),
            _ => Low::No,
        };
        self.called(call, None, vec![a, b], kind, low)
    }

    fn is_in(&mut self, call: &CallExpr, depth: usize) -> Seen {
        let (a, b) = (self.see(&call.args[0], depth + 1), self.see(&call.args[1], depth + 1));
        let fits = match &b.kind {
            Kind::List(kind) => **kind == a.kind || **kind == Kind::Any || a.kind == Kind::Any,
            Kind::Map(_) => matches!(a.kind, Kind::Text | Kind::Any),
            Kind::Any => true,
            _ => false,
        };
        if !fits {
            let message = format!("{} can't be in {}", a.kind.word(), b.kind.word());
            return self.refuse(Wrong::new(message, "write for example device.labels.role in [\"web\", \"db\"]"));
        }
        let low = match (&a.low, &b.low) {
            (Low::Text(at), Low::Words(words)) => {
                words.iter().for_each(|word| self.never_so(*at, word));
                Low::Test(Test::OneOf(*at, words.clone()))
            }
            _ => Low::No,
        };
        self.called(call, None, vec![a, b], Kind::Bool, low)
    }

    fn index(&mut self, call: &CallExpr, depth: usize) -> Seen {
        let (of, key) = (self.see(&call.args[0], depth + 1), self.see(&call.args[1], depth + 1));
        let kind = match (&of.kind, &key.kind) {
            (Kind::Map(many), Kind::Text | Kind::Any) => many.one(),
            (Kind::List(kind), Kind::Int | Kind::Any) => (**kind).clone(),
            (Kind::Any, _) => Kind::Any,
            (of, key) => {
                let message = format!("{} in brackets after {}", key.word(), of.word());
                return self.refuse(Wrong::new(message, "write for example usage.disks[\"/\"].ratio"));
            }
        };
        self.called(call, None, vec![of, key], kind, Low::No)
    }
}

fn span(low: f64, high: f64) -> String {
    match (low.is_finite(), high.is_finite()) {
        (true, true) if low < high => format!("{low} to {high}"),
        (true, true) => format!("{low}"),
        (true, false) => format!("{low} or more"),
        (false, true) => format!("{high} or less"),
        (false, false) => "any number".into(),
    }
}

/// Whole numbers that are written out become measured ones beside such, since CEL reckons only with two of a kind.
fn same_numbers(a: &mut Seen, b: &mut Seen) {
    let measured = |kind: &Kind| *kind == Kind::Number || *kind == Kind::Any;
    for (one, other) in [(true, false), (false, true)] {
        let (this, that) = if one && !other { (&mut *a, &*b) } else { (&mut *b, &*a) };
        if let (Kind::Int, Low::Number(Number::Const(value)), true) = (&this.kind, &this.low, measured(&that.kind)) {
            let value = *value;
            if matches!(this.expr, Expr::Literal(_) | Expr::Call(_)) {
                (this.expr, this.kind) = (double(value), Kind::Number);
            }
        }
    }
}

fn unlike(a: &Kind, b: &Kind) -> Wrong {
    let help = match (a, b) {
        (Kind::Span, _) | (_, Kind::Span) => "write a length of time as duration(\"5m\")",
        (Kind::Time, _) | (_, Kind::Time) => "compare how long ago it was: age(…) > duration(\"5m\")",
        (Kind::Number | Kind::Int, Kind::Text) | (Kind::Text, Kind::Number | Kind::Int) => "leave the quotes away",
        _ => "compare two of a kind",
    };
    Wrong::new(format!("{} is compared with {}", a.word(), b.word()), help)
}

fn comparison(name: &str) -> Option<Comparison> {
    Some(match name {
        op::LESS => Comparison::Less,
        op::LESS_EQUALS => Comparison::AtMost,
        op::GREATER => Comparison::More,
        op::GREATER_EQUALS => Comparison::AtLeast,
        op::EQUALS => Comparison::Is,
        op::NOT_EQUALS => Comparison::IsNot,
        _ => return None,
    })
}

fn arithmetic(name: &str) -> Option<Arithmetic> {
    Some(match name {
        op::ADD => Arithmetic::Add,
        op::SUBSTRACT => Arithmetic::Subtract,
        op::MULTIPLY => Arithmetic::Multiply,
        op::DIVIDE => Arithmetic::Divide,
        _ => return None,
    })
}

/// What comes of reckoning; none: that can't be done.
fn result(arithmetic: Arithmetic, a: &Kind, b: &Kind) -> Option<Kind> {
    Some(match (arithmetic, a, b) {
        (_, Kind::Any, _) | (_, _, Kind::Any) => Kind::Any,
        (_, Kind::Number, Kind::Number) => Kind::Number,
        (_, Kind::Int, Kind::Int) => Kind::Int,
        (Arithmetic::Add, Kind::Text, Kind::Text) => Kind::Text,
        (Arithmetic::Add, Kind::List(a), Kind::List(b)) => {
            Kind::List(Box::new(if **a == Kind::Any { (**b).clone() } else { (**a).clone() }))
        }
        (Arithmetic::Subtract, Kind::Time, Kind::Time) => Kind::Span,
        (Arithmetic::Add | Arithmetic::Subtract, Kind::Time, Kind::Span) | (Arithmetic::Add, Kind::Span, Kind::Time) => Kind::Time,
        (Arithmetic::Add | Arithmetic::Subtract, Kind::Span, Kind::Span) => Kind::Span,
        (Arithmetic::Multiply | Arithmetic::Divide, Kind::Span, Kind::Number) | (Arithmetic::Multiply, Kind::Number, Kind::Span) => {
            Kind::Span
        }
        (Arithmetic::Divide, Kind::Span, Kind::Span) => Kind::Number,
        _ => return None,
    })
}
