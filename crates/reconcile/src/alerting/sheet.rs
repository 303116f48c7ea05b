//! Many rules over many devices, column by column.
//!
//! ```text
//! devices ─► a column for each value that any rule asks for ─► a column of answers for each rule ─► the few that are not plainly false
//! ```
//!
//! Twenty rules that ask for the same reading look it up once, and a comparison goes through a column of numbers. Only where the answer is
//! not plainly false, or there is an alert already, is the rule itself asked ([`Rule::verdict`]): what an alert says comes from there, and
//! from nowhere else. So the worst that a mistake here could do is to miss a beginning, and a property holds both to the same.

mod columns;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::expr::{Inputs, STALE, TICK};
use super::rule::Rule;
use crate::desired::Desired;
use columns::{Columns, Expr, Plan};

/// Devices that are gone through at once: their columns fit into a processor's cache.
pub const LANES: usize = 1024;

/// Plainly false.
pub const FALSE: u8 = 0;
/// Nobody can say, or only the rule itself can.
pub const OPEN: u8 = 1;
/// It holds.
pub const TRUE: u8 = 2;

/// Some rule asks for readings, which get old.
const READS: u8 = 1;
/// Some rule asks for what time alone changes.
const TIMED: u8 = 2;

/// Rules, put together so that they can be asked of many devices at once.
#[derive(Debug, Default)]
pub struct Sheet {
    rules: Vec<Row>,
    plan: Plan,
}

#[derive(Debug)]
struct Row {
    rule: Arc<Rule>,
    selector: usize,
    /// What it comes down to; none: the rule has to be asked itself.
    expr: Option<Expr>,
    flags: u8,
}

/// One rule's answers.
#[derive(Debug)]
pub struct Answers<'rules, 'a> {
    /// The rule.
    pub rule: &'rules Arc<Rule>,
    /// Whether it applies to each device: 0 or 1.
    pub applies: &'a [u8],
    /// [`FALSE`], [`OPEN`] or [`TRUE`] of each device; what it does not apply to is false.
    pub holds: &'a [u8],
}

impl Sheet {
    /// Puts rules together. Where somebody else judges by readings, time changes nothing of those here.
    pub fn new(desired: &Desired, others_read: bool) -> Self {
        let mut plan = Plan::default();
        let row = |rule: &Arc<Rule>| {
            let is_asked_here = !(others_read && rule.is_judged_where_read());
            let is_timed = is_asked_here && rule.expressions().any(super::expr::Compiled::is_timed);
            let reads = is_asked_here && rule.expressions().any(super::expr::Compiled::reads);
            Row {
                selector: plan.selector(rule.name.namespace(), &rule.selector),
                expr: rule.expr.lowered().map(|(test, terms)| plan.expr(test, terms)),
                flags: if is_timed { TIMED } else { 0 } | if reads { READS } else { 0 },
                rule: rule.clone(),
            }
        };
        let rules = desired.rules.values().filter(|rule| !rule.suspend).map(row).collect();
        Self { rules, plan }
    }

    /// Asks all rules of [`LANES`] devices at most; `told` hears of each rule that applies to any. Returns for each device when time alone
    /// could change what is plainly false; what was asked of a rule itself says so there.
    pub fn ask<'rules>(&'rules self, inputs: &[Inputs<'_>], mut told: impl FnMut(Answers<'rules, '_>)) -> Vec<Option<Timestamp>> {
        let mut columns = Columns::new(&self.plan, inputs);
        let mut flags = vec![0_u8; inputs.len()];
        for row in &self.rules {
            let applies = columns.selected(row.selector);
            if applies.iter().all(|applies| *applies == 0) {
                continue;
            }
            let holds = match &row.expr {
                Some(expr) => {
                    let mut holds = columns.truth(expr);
                    // 0 or 1 becomes 0 or 255.
                    holds.iter_mut().zip(&applies).for_each(|(holds, applies)| *holds &= applies.wrapping_neg());
                    holds
                }
                // 1 is open.
                None => applies.clone(),
            };
            flags.iter_mut().zip(&applies).for_each(|(flags, applies)| *flags |= applies.wrapping_neg() & row.flags);
            told(Answers { rule: &row.rule, applies: &applies, holds: &holds });
        }
        flags.iter().zip(inputs).map(|(flags, inputs)| look_again(*flags, inputs)).collect()
    }
}

/// As [`super::expr::Compiled::look_again`] has it.
fn look_again(flags: u8, inputs: &Inputs<'_>) -> Option<Timestamp> {
    let tick = (flags & TIMED != 0).then(|| inputs.now.checked_add(TICK).ok()).flatten();
    let stale = inputs.usage.filter(|_| flags & READS != 0).and_then(|usage| usage.at.checked_add(STALE).ok());
    let stale = stale.filter(|at| *at >= inputs.now).and_then(|at| at.checked_add(SignedDuration::from_millis(1)).ok());
    tick.into_iter().chain(stale).min()
}
