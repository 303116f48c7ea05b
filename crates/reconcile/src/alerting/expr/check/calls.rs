//! Functions: CEL's own that make sense here, and those over a window of time.

use cel::common::ast::{CallExpr, operators as op};
use crds::Duration;
use jiff::{SignedDuration, Timestamp};

use super::{Check, Low, Seen, double};
use crate::alerting::expr::lower::{Arithmetic, Number, Part, Test};
use crate::alerting::expr::paths::{Kind, Wrong};
use crate::alerting::expr::term::{Function, Term};
use crate::alerting::history::KEPT;
use crate::usage::Series;

/// Everything that can be called, for whoever mistypes it.
const FUNCTIONS: &str = "avg, max, min, sum, quantile, rate, predict, changed, age, percent, known, has, duration, timestamp, size, double, int, string; after a dot: startsWith, endsWith, contains, matches, size, exists, all, exists_one, filter, map";

impl Check {
    pub(super) fn function(&mut self, call: &CallExpr, depth: usize) -> Seen {
        if call.target.is_some() {
            return self.method(call, depth);
        }
        match (call.func_name.as_str(), call.args.len()) {
            ("avg" | "max" | "min" | "sum" | "rate" | "changed", 2) | ("quantile" | "predict", 3) => self.window(call, depth),
            ("age", 1) => self.age(call, depth),
            ("known", 1) => self.known(call, depth),
            ("percent", 1) => self.percent(call, depth),
            ("duration", 1) => match self.span(call, 0, depth) {
                Some(span) => self.constant(span.as_secs_f64(), Kind::Span),
                None => self.refuse(Wrong::new("duration() takes a text that is a length of time", "write duration(\"5m\")")),
            },
            ("timestamp", 1) => {
                let at = self.see(&call.args[0], depth + 1);
                match at.low {
                    Low::Word(word) if word.parse::<Timestamp>().is_ok() => {
                        let at: Timestamp = word.parse().unwrap_or_default();
                        self.constant(crate::alerting::expr::term::seconds(at), Kind::Time)
                    }
                    _ => {
                        self.refuse(Wrong::new("timestamp() takes a text that is an instant", "write timestamp(\"2026-01-31T12:00:00Z\")"))
                    }
                }
            }
            ("size", 1) => {
                let of = self.see(&call.args[0], depth + 1);
                self.has_a_size(&of);
                self.called(call, None, vec![of], Kind::Int, Low::No)
            }
            (name @ ("double" | "int" | "string"), 1) => {
                let of = self.see(&call.args[0], depth + 1);
                if !matches!(of.kind, Kind::Number | Kind::Int | Kind::Text | Kind::Any) {
                    return self.refuse(Wrong::new(format!("{name}() of {}", of.kind.word()), "leave it away"));
                }
                let kind = match name {
                    "double" => Kind::Number,
                    "int" => Kind::Int,
                    _ => Kind::Text,
                };
                self.called(call, None, vec![of], kind, Low::No)
            }
            (name, args) => {
                let shown: String = name.chars().take(60).collect();
                self.refuse(Wrong::new(format!("there is no function `{shown}` of {args} arguments"), format!("there are {FUNCTIONS}")))
            }
        }
    }

    fn constant(&self, value: f64, kind: Kind) -> Seen {
        Seen { kind, expr: double(value), low: Low::Number(Number::Const(value)) }
    }

    fn has_a_size(&mut self, of: &Seen) {
        if !matches!(of.kind, Kind::Text | Kind::List(_) | Kind::Map(_) | Kind::Any) {
            self.refuse(Wrong::new(format!("{} has no size", of.kind.word()), "take the size of a text, a list, usage.disks …"));
        }
    }

    fn method(&mut self, call: &CallExpr, depth: usize) -> Seen {
        let Some(target) = &call.target else { return self.function(call, depth) };
        let of = self.see(target, depth + 1);
        let name = call.func_name.as_str();
        match (name, call.args.as_slice()) {
            ("size", []) => {
                self.has_a_size(&of);
                self.called(call, Some(of), Vec::new(), Kind::Int, Low::No)
            }
            ("startsWith" | "endsWith" | "contains" | "matches", [arg]) => {
                let arg = self.see(arg, depth + 1);
                self.has_to_be(&of, &Kind::Text, name);
                self.has_to_be(&arg, &Kind::Text, name);
                let part = match name {
                    "startsWith" => Some(Part::Start),
                    "endsWith" => Some(Part::End),
                    "contains" => Some(Part::Anywhere),
                    _ => None,
                };
                let low = match (&of.low, &arg.low, part) {
                    (Low::Text(at), Low::Word(word), Some(part)) => Low::Test(Test::Text(*at, part, word.clone())),
                    _ => Low::No,
                };
                self.called(call, Some(of), vec![arg], Kind::Bool, low)
            }
            _ => {
                let shown: String = name.chars().take(60).collect();
                let message = format!("there is no function `{shown}` of {} arguments after a dot", call.args.len());
                self.refuse(Wrong::new(message, format!("there are {FUNCTIONS}")))
            }
        }
    }

    fn age(&mut self, call: &CallExpr, depth: usize) -> Seen {
        let of = self.see(&call.args[0], depth + 1);
        if of.kind != Kind::Time {
            let help = "write for example age(probes[\"web\"].since) > duration(\"5m\")";
            return self.refuse(Wrong::new(format!("age() takes an instant, and this is {}", of.kind.word()), help));
        }
        if let Low::Number(Number::Term(at)) = of.low {
            let term = self.terms[at].clone();
            return self.term(Term::Age(Box::new(term)), Kind::Span);
        }
        let now = self.term(Term::Now, Kind::Time);
        let again = |seen: Seen| cel::IdedExpr { expr: seen.expr, ..call.args[0].clone() };
        let expr =
            cel::common::ast::Expr::Call(CallExpr { func_name: op::SUBSTRACT.into(), target: None, args: vec![again(now), again(of)] });
        Seen { kind: Kind::Span, expr, low: Low::No }
    }

    fn known(&mut self, call: &CallExpr, depth: usize) -> Seen {
        let of = self.see(&call.args[0], depth + 1);
        let at = match of.low {
            Low::Number(Number::Term(at)) | Low::Text(at) => Some(at),
            _ => None,
        };
        match at.map(|at| self.terms[at].clone()) {
            Some(term) => self.term(Term::Known(Box::new(term)), Kind::Bool),
            None => self.refuse(Wrong::new("known() takes a single value", "write for example known(usage.memory.ratio)")),
        }
    }

    fn percent(&mut self, call: &CallExpr, depth: usize) -> Seen {
        let of = self.see(&call.args[0], depth + 1);
        if !matches!(of.kind, Kind::Number | Kind::Any) {
            return self.refuse(Wrong::new(
                format!("percent() takes a share, and this is {}", of.kind.word()),
                "write percent(usage.memory.ratio)",
            ));
        }
        let low = match &of.low {
            Low::Number(number) => Low::Number(Number::Of(Arithmetic::Multiply, Box::new(number.clone()), Box::new(Number::Const(100.0)))),
            _ => Low::No,
        };
        let id = call.args[0].id;
        let args = vec![cel::IdedExpr { expr: of.expr, ..call.args[0].clone() }, cel::IdedExpr { id, expr: double(100.0) }];
        let expr = cel::common::ast::Expr::Call(CallExpr { func_name: op::MULTIPLY.into(), target: None, args });
        Seen { kind: Kind::Number, expr, low }
    }

    fn window(&mut self, call: &CallExpr, depth: usize) -> Seen {
        let name = call.func_name.as_str();
        let Some(series) = self.series(call, depth) else {
            let help = format!("write for example {name}(usage.cpu.ratio, {}\"10m\")", if name == "quantile" { "0.95, " } else { "" });
            return self.refuse(Wrong::new(format!("{name}() takes a reading that is written out, and then how far to look back"), help));
        };
        let place = if name == "quantile" { 2 } else { 1 };
        let Some(window) = self.span(call, place, depth).filter(|window| window.is_positive()) else {
            return self
                .refuse(Wrong::new(format!("{name}() has to look back for a length of time"), "write it as a text, such as \"10m\""));
        };
        if window > KEPT {
            let message = format!("{name}() looks back {}: more than is kept at hand", Duration::from(window));
            return self.refuse(Wrong::new(message, format!("{} at most", Duration::from(KEPT))));
        }
        let function = match name {
            "avg" => Function::Avg,
            "max" => Function::Max,
            "min" => Function::Min,
            "sum" => Function::Sum,
            "rate" => Function::Rate,
            "changed" => Function::Changed,
            "quantile" => match self.see(&call.args[1], depth + 1).low {
                Low::Number(Number::Const(share)) if (0.0..=1.0).contains(&share) => Function::Quantile(share),
                _ => {
                    return self
                        .refuse(Wrong::new("quantile() takes a share between 0 and 1", "write quantile(usage.cpu.ratio, 0.95, \"10m\")"));
                }
            },
            _ => match self.span(call, 2, depth) {
                Some(ahead) => Function::Predict(ahead.as_secs_f64()),
                None => {
                    return self.refuse(Wrong::new(
                        "predict() has to know how far ahead",
                        "write predict(usage.disks[\"/\"].available, \"1h\", \"1d\") < 0",
                    ));
                }
            },
        };
        let kind = if function == Function::Changed { Kind::Bool } else { Kind::Number };
        self.term(Term::Window { series, function, window }, kind)
    }

    /// The first argument as a series. The term that it made is left over where nothing else asks for it, which is harmless but costs a
    /// look; so it is taken out again.
    fn series(&mut self, call: &CallExpr, depth: usize) -> Option<Series> {
        let before = self.terms.len();
        let of = self.see(&call.args[0], depth + 1);
        let Low::Number(Number::Term(at)) = of.low else { return None };
        let Term::Series(series) = self.terms[at].clone() else { return None };
        if at == before {
            self.terms.truncate(before);
        }
        Some(series)
    }

    /// An argument that is a length of time: a text, or duration() of one.
    fn span(&mut self, call: &CallExpr, at: usize, depth: usize) -> Option<SignedDuration> {
        match self.see(call.args.get(at)?, depth + 1) {
            Seen { low: Low::Word(word), .. } => word.parse::<Duration>().ok().map(|duration| duration.0),
            Seen { kind: Kind::Span, low: Low::Number(Number::Const(seconds)), .. } => SignedDuration::try_from_secs_f64(seconds).ok(),
            _ => None,
        }
    }
}
