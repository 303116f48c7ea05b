//! A plan as text: what the command line prints, and what scenario snapshots keep.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;

use super::{Action, Deferred, Plan, Step, WaitingOn};
use crate::name::Target;

/// Lines shown for one Deployment's steps, or for what it puts off, before the rest is counted.
const LINES: usize = 40;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.steps.is_empty() && self.deferred.is_empty() {
            return writeln!(f, "Nothing to do.");
        }
        writeln!(f, "Plan {} for {}: {} to do, {} put off", self.id, self.revision, self.steps.len(), self.deferred.len())?;
        let mut units: BTreeMap<&Target, (Vec<&Step>, Vec<&Deferred>)> = BTreeMap::new();
        for step in &self.steps {
            units.entry(&step.unit).or_default().0.push(step);
        }
        for deferred in &self.deferred {
            units.entry(&deferred.unit).or_default().1.push(deferred);
        }
        for (unit, (steps, deferred)) in units {
            writeln!(f, "\n{unit}")?;
            lines(f, &steps)?;
            lines(f, &deferred)?;
        }
        if let Some(at) = self.look_again {
            writeln!(f, "\nLooks again at {} at the latest.", clock(at))?;
        }
        Ok(())
    }
}

fn lines<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[&T]) -> fmt::Result {
    for item in items.iter().take(LINES) {
        writeln!(f, "  {item}")?;
    }
    if items.len() > LINES {
        writeln!(f, "  … and {} more", items.len() - LINES)?;
    }
    Ok(())
}

impl fmt::Display for super::Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let commit = self.commit.get(..10).unwrap_or(&self.commit);
        if self.reference.is_empty() { f.write_str(commit) } else { write!(f, "{}@{commit}", self.reference) }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Action::Rollout(_) = self.action {
            return write!(f, "* {}: {}", self.action.word(), self.reason);
        }
        write!(f, "~ {}: {}", self.target, self.action.word())?;
        if let Some(work) = self.action.work() {
            write!(f, " revision {}", work.revision)?;
            if work.batch > 0 {
                write!(f, ", batch {}", work.batch)?;
            }
            if work.attempt > 1 {
                write!(f, ", try {}", work.attempt)?;
            }
        }
        write!(f, " ({})", self.reason)?;
        for change in self.changes.iter().take(LINES) {
            write!(f, "\n      {change}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Deferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.target == self.unit {
            write!(f, "- {}: not now. {}", self.wants, self.waiting_on)
        } else {
            write!(f, "- {}: {}: not now. {}", self.target, self.wants, self.waiting_on)
        }
    }
}

impl fmt::Display for WaitingOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.word())?;
        let until = |at: &Option<Timestamp>| at.map(|at| format!(" (until {})", clock(at))).unwrap_or_default();
        match self {
            Self::Unreachable { since: Some(since), reason } => write!(f, "since {}: {reason}", clock(*since)),
            Self::Unreachable { since: None, reason } => f.write_str(reason),
            Self::Budget { group, limit, out } => {
                let names = out.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                let place = if group.is_empty() { String::new() } else { format!(" of {group}") };
                write!(f, "at most {limit}{place} may be out, and these are: {names}")
            }
            Self::Window { opens: Some(at) } => write!(f, "the next window opens at {}", clock(*at)),
            Self::Window { opens: None } => f.write_str("no window will ever open"),
            Self::Approval { id } => write!(f, "evenkeel rollout approve --id {id}"),
            Self::Soak { until } => write!(f, "the batch is watched until {}", clock(*until)),
            Self::Health { reason, until: at } => write!(f, "{reason}{}", until(at)),
            Self::Alert { name, until: at } => write!(f, "{name} is firing{}", until(at)),
            Self::Dependency { on } => write!(f, "{on} comes first"),
            Self::Lock { step, holder } => write!(f, "step {step} of deployment/{holder} is at work there"),
            Self::Maintenance { until: at, reason } if reason.is_empty() => write!(f, "people are at work{}", until(at)),
            Self::Maintenance { until: at, reason } => write!(f, "{reason}{}", until(at)),
            Self::NoWayBack { reason } => f.write_str(reason),
            Self::Suspended { by } => f.write_str(by),
        }
    }
}

/// An instant to the second, which is what people plan by.
pub(crate) fn clock(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
