//! Checking: every name and every kind, before a rule is in force. What it asks for becomes terms; what is simple is lowered.

mod calls;
mod operators;

use std::collections::BTreeSet;

use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, ListExpr, LiteralValue, SelectExpr, operators as op};

use super::lower::{Number, Test};
use super::paths::{Kind, Many, Path, ROOTS, Wrong, resolve};
use super::term::Term;
use super::{DEPTH, ELEMENTS, LOOPS, TERMS, fallback};

/// What came of checking.
pub(super) struct Checked {
    pub(super) expr: IdedExpr,
    pub(super) terms: Vec<Term>,
    pub(super) maps: BTreeSet<Many>,
    pub(super) loops: usize,
    pub(super) test: Option<Test>,
    pub(super) value: Option<Number>,
    pub(super) warnings: Vec<Wrong>,
}

/// A part of an expression that was looked at.
struct Seen {
    kind: Kind,
    /// With terms as variables.
    expr: Expr,
    low: Low,
}

/// What a part comes down to.
#[derive(Clone, Debug, PartialEq)]
enum Low {
    /// Nothing simple.
    No,
    Number(Number),
    /// A term that is a text.
    Text(usize),
    /// A text that is written out.
    Word(String),
    /// Texts that are written out.
    Words(Vec<String>),
    Test(Test),
}

/// Checks an expression as it was parsed.
pub(super) fn check(parsed: &IdedExpr) -> Result<Checked, Vec<Wrong>> {
    let mut check = Check::default();
    let seen = check.see(parsed, 0);
    if !matches!(seen.kind, Kind::Bool | Kind::Any) {
        let help = "compare it with something, such as `usage.memory.ratio > 0.9`";
        check.wrong.push(Wrong::new(format!("it is {}, and has to be true or false", seen.kind.word()), help));
    }
    if check.wrong.is_empty() && check.terms.is_empty() && check.maps.is_empty() {
        let help = "compare something of `device`, `usage`, `probes` or `logs`, unless it is meant to fire always";
        check.warnings.push(Wrong::new("it asks nothing of a device, so it is the same always", help));
    }
    if !check.wrong.is_empty() {
        return Err(check.wrong);
    }
    let test = match seen.low {
        Low::Test(test) => Some(test),
        _ => None,
    };
    let expr = IdedExpr { expr: seen.expr, ..parsed.clone() };
    let Check { terms, maps, deepest_loop: loops, value, warnings, .. } = check;
    Ok(Checked { expr, terms, maps, loops, test, value, warnings })
}

/// The single value that an expression is, if it is nothing but that: `probes["web"].state`.
pub(super) fn term(parsed: &IdedExpr) -> Option<Term> {
    let mut path = Vec::new();
    let is_asked = flatten(parsed, &mut path)?;
    match resolve(&path) {
        Ok(Path::Term(term, _)) if !is_asked => Some(term),
        _ => None,
    }
}

#[derive(Default)]
struct Check {
    terms: Vec<Term>,
    maps: BTreeSet<Many>,
    wrong: Vec<Wrong>,
    warnings: Vec<Wrong>,
    /// The first number that is compared.
    value: Option<Number>,
    /// Names that loops have given, the innermost last.
    scope: Vec<(String, Kind)>,
    loops: usize,
    deepest_loop: usize,
}

impl Check {
    fn see(&mut self, expr: &IdedExpr, depth: usize) -> Seen {
        if depth > DEPTH {
            return self.refuse(Wrong::new(format!("it is nested more than {DEPTH} deep"), "make two rules of it"));
        }
        if let Some(seen) = self.path(expr) {
            return seen;
        }
        match &expr.expr {
            Expr::Literal(literal) => self.literal(literal),
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) => self.select(select, depth),
            Expr::List(list) => self.list(list, depth),
            Expr::Comprehension(of) => self.comprehension(of, depth),
            Expr::Call(call) => self.call(call, depth),
            Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => {
                self.refuse(Wrong::new("maps and messages can't be written out here", "compare single values"))
            }
        }
    }

    fn refuse(&mut self, wrong: Wrong) -> Seen {
        if !self.wrong.contains(&wrong) {
            self.wrong.push(wrong);
        }
        Seen { kind: Kind::Any, expr: Expr::Ident("@wrong".into()), low: Low::No }
    }

    /// A value that is asked for, by the variable that it gets.
    fn term(&mut self, term: Term, kind: Kind) -> Seen {
        let at = self.terms.iter().position(|known| *known == term).unwrap_or_else(|| {
            self.terms.push(term);
            self.terms.len() - 1
        });
        if self.terms.len() > TERMS {
            return self.refuse(Wrong::new(format!("it asks for more than {TERMS} values"), "make two rules of it"));
        }
        let low = match kind {
            Kind::Number | Kind::Time | Kind::Span => Low::Number(Number::Term(at)),
            Kind::Text => Low::Text(at),
            Kind::Bool => Low::Test(Test::Flag(at)),
            _ => Low::No,
        };
        Seen { kind, expr: Expr::Ident(fallback::variable(at)), low }
    }

    fn map(&mut self, map: Many) -> Seen {
        self.maps.insert(map);
        Seen { kind: Kind::Map(map), expr: Expr::Ident(map.variable().into()), low: Low::No }
    }

    /// A path such as `usage.disks["/"].ratio`, if it is one.
    fn path(&mut self, expr: &IdedExpr) -> Option<Seen> {
        let mut path = Vec::new();
        let is_asked = flatten(expr, &mut path)?;
        let first = *path.first()?;
        if !ROOTS.contains(&first) || self.scope.iter().any(|(name, _)| name == first) {
            return None;
        }
        Some(match resolve(&path) {
            Err(wrong) => self.refuse(wrong),
            Ok(Path::Term(term, _)) if is_asked => self.term(Term::Known(Box::new(term)), Kind::Bool),
            Ok(Path::Term(term, kind)) => self.term(term, kind),
            Ok(_) if is_asked => {
                let help = "ask has(…) of a single value, such as has(usage.memory.ratio)";
                self.refuse(Wrong::new(format!("has({}) asks for no single value", path.join(".")), help))
            }
            Ok(Path::Map(map)) => self.map(map),
            Ok(Path::Record(fields)) => {
                let help = format!("take one of its fields: {fields}");
                self.refuse(Wrong::new(format!("`{}` is no single value", path.join(".")), help))
            }
        })
    }

    fn literal(&mut self, literal: &LiteralValue) -> Seen {
        let expr = Expr::Literal(literal.clone());
        let number = |value: f64| Low::Number(Number::Const(value));
        let (kind, low) = match literal {
            LiteralValue::Boolean(flag) => (Kind::Bool, Low::Test(Test::Const(*flag.inner()))),
            LiteralValue::Double(value) => (Kind::Number, number(*value.inner())),
            LiteralValue::Int(value) => (Kind::Int, number(*value.inner() as f64)),
            LiteralValue::UInt(value) => {
                return Seen { kind: Kind::Number, expr: double(*value.inner() as f64), low: number(*value.inner() as f64) };
            }
            LiteralValue::String(text) => (Kind::Text, Low::Word(text.inner().to_owned())),
            LiteralValue::Null => {
                return self.refuse(Wrong::new("nothing is null here: what is missing is unknown", "write has(…) or known(…)"));
            }
            LiteralValue::Bytes(_) => return self.refuse(Wrong::new("nothing here is bytes", "write a text")),
        };
        Seen { kind, expr, low }
    }

    fn name(&mut self, name: &str) -> Seen {
        if let Some((_, kind)) = self.scope.iter().rev().find(|(known, _)| known == name) {
            return Seen { kind: kind.clone(), expr: Expr::Ident(name.to_owned()), low: Low::No };
        }
        let shown: String = name.chars().take(60).collect();
        self.refuse(Wrong::new(format!("`{shown}` is not known"), format!("there are {}", ROOTS.join(", "))))
    }

    fn select(&mut self, select: &SelectExpr, depth: usize) -> Seen {
        let of = self.see(&select.operand, depth + 1);
        let kind = match &of.kind {
            Kind::Any => Ok(Kind::Any),
            Kind::One(many) | Kind::Map(many @ (Many::Labels | Many::Vars)) => match of.kind {
                Kind::Map(many) => Ok(many.one()),
                _ => many.field(&select.field),
            },
            other => Err(Wrong::new(format!("{} has no field `{}`", other.word(), select.field), "leave it away")),
        };
        match kind {
            Err(wrong) => self.refuse(wrong),
            Ok(kind) => {
                let operand = Box::new(IdedExpr { expr: of.expr, ..(*select.operand).clone() });
                let kind = if select.test { Kind::Bool } else { kind };
                Seen { kind, expr: Expr::Select(SelectExpr { operand, ..select.clone() }), low: Low::No }
            }
        }
    }

    fn list(&mut self, list: &ListExpr, depth: usize) -> Seen {
        if list.elements.len() > ELEMENTS {
            return self
                .refuse(Wrong::new(format!("a list has more than {ELEMENTS} elements"), "use a label for what they have in common"));
        }
        let seen: Vec<Seen> = list.elements.iter().map(|element| self.see(element, depth + 1)).collect();
        let kind = seen.first().map_or(Kind::Any, |first| first.kind.clone());
        let kind = if seen.iter().all(|element| element.kind == kind) { kind } else { Kind::Any };
        let words: Option<Vec<String>> = seen
            .iter()
            .map(|element| match &element.low {
                Low::Word(word) => Some(word.clone()),
                _ => None,
            })
            .collect();
        let elements = seen.into_iter().zip(&list.elements).map(|(seen, of)| IdedExpr { expr: seen.expr, ..of.clone() }).collect();
        let low = words.map_or(Low::No, Low::Words);
        Seen { kind: Kind::List(Box::new(kind)), expr: Expr::List(ListExpr { elements, ..list.clone() }), low }
    }

    /// What `exists`, `all`, `filter` and `map` become.
    fn comprehension(&mut self, of: &ComprehensionExpr, depth: usize) -> Seen {
        let range = self.see(&of.iter_range, depth + 1);
        let item = match &range.kind {
            Kind::List(kind) => (**kind).clone(),
            Kind::Map(_) => Kind::Text,
            Kind::Any => Kind::Any,
            other => {
                let message = format!("{} can't be gone through", other.word());
                return self.refuse(Wrong::new(message, "go through usage.disks, usage.interfaces, probes or a list"));
            }
        };
        if self.loops >= LOOPS {
            return self.refuse(Wrong::new(format!("more than {LOOPS} loops within each other"), "make two rules of it"));
        }
        self.loops += 1;
        self.deepest_loop = self.deepest_loop.max(self.loops);
        let init = self.see(&of.accu_init, depth + 1);
        let before = self.scope.len();
        self.scope.push((of.accu_var.clone(), init.kind.clone()));
        self.scope.push((of.iter_var.clone(), item));
        let condition = self.see(&of.loop_cond, depth + 1);
        let step = self.see(&of.loop_step, depth + 1);
        self.scope.truncate(before);
        self.scope.push((of.accu_var.clone(), step.kind.clone()));
        let result = self.see(&of.result, depth + 1);
        self.scope.truncate(before);
        self.loops -= 1;
        let again = |seen: Seen, of: &IdedExpr| IdedExpr { expr: seen.expr, ..of.clone() };
        let kind = result.kind.clone();
        let expr = Expr::Comprehension(Box::new(ComprehensionExpr {
            iter_range: again(range, &of.iter_range),
            accu_init: again(init, &of.accu_init),
            loop_cond: again(condition, &of.loop_cond),
            loop_step: again(step, &of.loop_step),
            result: again(result, &of.result),
            ..of.clone()
        }));
        Seen { kind, expr, low: Low::No }
    }

    /// A call as it was, with its arguments as they are seen.
    fn called(&self, call: &CallExpr, target: Option<Seen>, args: Vec<Seen>, kind: Kind, low: Low) -> Seen {
        let target = target.zip(call.target.as_ref()).map(|(seen, of)| Box::new(IdedExpr { expr: seen.expr, ..(**of).clone() }));
        let args = args.into_iter().zip(&call.args).map(|(seen, of)| IdedExpr { expr: seen.expr, ..of.clone() }).collect();
        Seen { kind, expr: Expr::Call(CallExpr { func_name: call.func_name.clone(), target, args }), low }
    }
}

fn double(value: f64) -> Expr {
    Expr::Literal(LiteralValue::Double(value.into()))
}

/// A chain of fields and of brackets with a text in them, from its root on. Returns whether it stands in has(…).
fn flatten<'a>(expr: &'a IdedExpr, path: &mut Vec<&'a str>) -> Option<bool> {
    match &expr.expr {
        Expr::Ident(name) => {
            path.push(name);
            Some(false)
        }
        Expr::Select(select) => {
            let below = flatten(&select.operand, path)?;
            path.push(&select.field);
            Some(select.test || below)
        }
        Expr::Call(call) if call.func_name == op::INDEX && call.args.len() == 2 => {
            let below = flatten(&call.args[0], path)?;
            let Expr::Literal(LiteralValue::String(key)) = &call.args[1].expr else { return None };
            path.push(key.inner());
            Some(below)
        }
        _ => None,
    }
}
