//! An AlertRule, read and checked: what it asks, how long that has to hold, and who is told.

mod summary;

use std::collections::{BTreeMap, BTreeSet};

use crds::{AlertRuleSpec, Kind, NoData, Severity};
use jiff::{SignedDuration, Timestamp};

use super::alerts::Around;
use super::expr::{Compiled, Inputs, Wrong};
use super::groups::{Branch, Routing};
use super::history::{LooksBack, farthest};
use super::lines;
use super::notice::LastChange;
use super::state::{Subject, Timing, Verdict};
use super::trial;
use crate::desired::{Device, Findings, windows};
use crate::finding::Finding;
use crate::name::{Name, Target};
use crate::observed::Observed;
use crate::parents;
use crate::rollout::Phase;

/// Alerts that one rule may have at once, if it says nothing else. More of them is no alert but a mistake.
pub const LIMIT: usize = 1000;
/// Patterns of log lines that one rule may ask for: each is tried on each line of each device.
pub const PATTERNS: usize = 8;
/// Patterns that all rules may ask for: so many are one automaton of some megabytes at most.
pub const ALL_PATTERNS: usize = 256;
/// Bytes of a summary; a text message has 160.
pub const SUMMARY: usize = 300;

/// An AlertRule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Its identity.
    pub name: Name,
    /// The devices.
    pub selector: crds::Selector,
    /// True means that something is wrong.
    pub expr: Compiled,
    /// When it is well again.
    pub recover: Option<Compiled>,
    /// How long it has to hold, and the like.
    pub timing: Timing,
    /// How bad it is.
    pub severity: Severity,
    /// Labels of its alerts.
    pub labels: BTreeMap<String, String>,
    /// One line for people, a template.
    pub summary: Option<String>,
    /// Who is told; nobody, if none.
    pub routing: Option<Routing>,
    /// Alerts that it may have at once.
    pub limit: usize,
    /// What is said in place of it.
    pub inhibited_by: Vec<Inhibition>,
    /// Not evaluated.
    pub suspend: bool,
}

/// A rule that makes another one silent while it fires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inhibition {
    /// The rule that fires.
    pub rule: Name,
    /// Labels that have to be the same; none: the device has to be.
    pub equal: Vec<String>,
}

impl Rule {
    /// Reads a rule; what is wrong with it is found. None: it can't be used.
    pub(crate) fn new(name: &Name, spec: &AlertRuleSpec, findings: &mut Findings) -> Option<Self> {
        let target = Target::Object(Kind::AlertRule, name.clone());
        let expr = compile(&target, "spec.expr", &spec.expr, findings);
        let recover = spec.recover.as_ref().map(|text| compile(&target, "spec.recover", text, findings));
        let summary = spec.summary.clone();
        if let Some(template) = &summary {
            let help = "write for example `{{ device.name }}: memory at {{ value | percent }}`";
            match summary::unknown(template) {
                Ok(None) => {}
                Ok(Some(what)) => findings.warn(&target, "alert-summary", "spec.summary", what, summary::HELP),
                Err(error) => {
                    findings.error(&target, "alert-summary", "spec.summary", format!("the template can't be read: {error}"), help);
                    return None;
                }
            }
        }
        let recover = match recover {
            Some(None) => return None,
            Some(recover) => recover,
            None => None,
        };
        if let (Some(expr), Some(recover)) = (&expr, &recover)
            && recover.implies(expr)
        {
            let message = "it holds only where `expr` does, so what fires never recovers";
            findings.warn(
                &target,
                "alert-recover",
                "spec.recover",
                message,
                "write what it is when all is well again, such as a lower limit",
            );
        }
        let duration = |of: Option<crds::Duration>| of.map(|of| of.0).unwrap_or_default();
        let rule = Self {
            name: name.clone(),
            selector: spec.selector.clone(),
            expr: expr?,
            recover,
            timing: Timing {
                hold_for: duration(spec.hold_for),
                keep_firing_for: duration(spec.keep_firing_for),
                no_data: spec.no_data.unwrap_or(NoData::Keep),
            },
            severity: spec.severity,
            labels: spec.labels.clone(),
            summary,
            routing: spec.notify.as_ref().map(|notify| routing(name, notify, findings)),
            limit: spec.limit.map_or(LIMIT, |limit| limit as usize),
            inhibited_by: spec
                .inhibited_by
                .iter()
                .map(|other| Inhibition { rule: name.sibling(&other.rule), equal: other.equal.clone() })
                .collect(),
            suspend: spec.suspend.unwrap_or(false),
        };
        let patterns = rule.patterns().len();
        if patterns > PATTERNS {
            let message = format!("{patterns} patterns of log lines: a rule may ask for {PATTERNS}");
            findings.error(&target, "alert-patterns", "spec.expr", message, "make several rules of it, or join patterns by `|`");
            return None;
        }
        for (at, test) in spec.tests.iter().enumerate() {
            if let Err(wrong) = trial::run(&rule, test) {
                findings.warn(&target, "alert-test", &format!("spec.tests[{at}]"), wrong, "change the rule, or the test");
            }
        }
        Some(rule)
    }

    /// Only what it asks of which devices, for whoever judges them and does not decide what follows. None: it can't be read.
    pub fn to_judge(name: &Name, selector: crds::Selector, expr: &str, recover: Option<&str>) -> Option<Self> {
        let mut spec: AlertRuleSpec = serde_json::from_value(serde_json::json!({"expr": expr, "severity": "info"})).ok()?;
        (spec.selector, spec.recover) = (selector, recover.map(str::to_owned));
        Self::new(name, &spec, &mut Findings::default())
    }

    /// Whether it asks for readings, and not only for what is seen of a device otherwise.
    pub fn reads(&self) -> bool {
        self.expr.reads() || self.recover.as_ref().is_some_and(Compiled::reads)
    }

    /// Whether it asks for what lines of log came to: only the replica that takes them in knows, which is the one who plans.
    pub fn reads_logs(&self) -> bool {
        self.expressions().any(Compiled::reads_logs)
    }

    /// Whether whoever reads a device judges it there: it asks for readings, and for nothing that only the one who plans knows.
    pub fn is_judged_where_read(&self) -> bool {
        self.reads() && !self.asks_for_rollouts() && !self.reads_logs()
    }

    /// Whether the one who plans judges it by readings, whoever it is that reads the device.
    pub fn is_judged_by_planner(&self) -> bool {
        self.reads() && !self.is_judged_where_read()
    }

    /// Whether it has to do with a device.
    pub fn applies_to(&self, device: &Device) -> bool {
        !self.suspend && !device.suspend && device.name.namespace() == self.name.namespace() && self.selector.matches(&device.labels)
    }

    /// What it says of a device, and when time alone could change that.
    pub fn verdict(&self, inputs: &Inputs<'_>) -> (Verdict, Option<Timestamp>) {
        let wrong = self.expr.truth(inputs);
        let well = self.recover.as_ref().map_or_else(|| wrong.clone().negated(), |recover| recover.truth(inputs));
        let early = self.expr.is_early(&wrong, inputs) || self.recover.as_ref().is_some_and(|recover| recover.is_early(&well, inputs));
        let verdict = Verdict { well, value: self.expr.value(inputs), wrong, early };
        let recover = self.recover.as_ref().and_then(|recover| recover.look_again(inputs));
        (verdict, self.expr.look_again(inputs).into_iter().chain(recover).min())
    }

    /// The Deployments that it names, of its own namespace.
    pub fn deployments(&self) -> BTreeSet<String> {
        self.expressions().flat_map(Compiled::deployments).collect()
    }

    /// Whether it asks for something of rollouts: only whoever plans knows of them.
    pub fn asks_for_rollouts(&self) -> bool {
        self.expressions().any(Compiled::asks_for_rollouts)
    }

    /// The patterns of log lines that it asks for: regular expressions for [`super::expr::pattern`].
    pub fn patterns(&self) -> BTreeSet<String> {
        self.expressions().flat_map(Compiled::patterns).collect()
    }

    /// The series that it looks back at, and how far.
    pub fn looks_back_at(&self) -> LooksBack {
        farthest(self.expressions().flat_map(Compiled::looks_back_at))
    }

    /// What its expressions are.
    pub fn expressions(&self) -> impl Iterator<Item = &Compiled> {
        [&self.expr].into_iter().chain(&self.recover)
    }

    /// Reads a rule that is not in force, with what is wrong with it.
    pub fn read(name: &Name, spec: &AlertRuleSpec) -> (Option<Self>, Vec<Finding>) {
        let mut findings = Findings::default();
        let rule = Self::new(name, spec, &mut findings);
        (rule, findings.take())
    }

    /// The same without what is known around the device.
    pub(super) fn plain_subject(&self, device: &Device) -> Subject {
        let mut labels = (*device.labels).clone();
        labels.extend(self.labels.clone());
        Subject {
            rule: self.name.clone(),
            device: device.name.clone(),
            severity: self.severity,
            labels,
            summary: String::new(),
            lines: Vec::new(),
            last_change: None,
            behind: 0,
        }
    }

    /// What an alert of this rule is about.
    pub(super) fn subject(&self, around: Around<'_>, device: &Device, value: Option<f64>) -> Subject {
        let mut labels = (*device.labels).clone();
        labels.extend(self.labels.clone());
        let last_change = last_change(around.observed, around.desired.selected_by.get(&device.name), &device.name);
        let logs = around.observed.logs.get(&device.name);
        let (words, lines) = logs
            .and_then(|logs| lines::behind(&self.expr.series(), logs, last_change.as_ref().map(|(change, began)| (change, *began))))
            .unwrap_or_default();
        Subject {
            rule: self.name.clone(),
            device: device.name.clone(),
            severity: self.severity,
            labels,
            summary: with_lines(&self.summarize(device, value), &words, &lines),
            lines,
            last_change: last_change.map(|(change, _)| change),
            behind: u32::try_from(parents::behind(around.desired, around.observed, &device.name).len()).unwrap_or(u32::MAX),
        }
    }

    /// One line for people. A template that fails must not keep an alert from being said.
    pub fn summarize(&self, device: &Device, value: Option<f64>) -> String {
        let rendered = self.summary.as_ref().and_then(|template| summary::render(template, device, value).ok());
        let plain = || match value {
            Some(value) => format!("{}: {} at {}", device.name.name(), self.name.name(), short(value)),
            None => format!("{}: {}", device.name.name(), self.name.name()),
        };
        one_line(&rendered.filter(|text| !text.trim().is_empty()).unwrap_or_else(plain))
    }
}

fn compile(target: &Target, path: &str, text: &str, findings: &mut Findings) -> Option<Compiled> {
    match Compiled::new(text) {
        Ok(compiled) => {
            for Wrong { message, help } in compiled.warnings() {
                findings.warn(target, "alert-never", path, message.clone(), help.clone());
            }
            Some(compiled)
        }
        Err(wrong) => {
            for Wrong { message, help } in wrong {
                findings.error(target, "alert-expr", path, message, help);
            }
            None
        }
    }
}

fn routing(name: &Name, notify: &crds::NotifySpec, findings: &mut Findings) -> Routing {
    let target = Target::Object(Kind::AlertRule, name.clone());
    let or = |given: Option<crds::Duration>, default: SignedDuration| given.map_or(default, |given| given.0);
    let siblings = |names: &[String]| names.iter().map(|receiver| name.sibling(receiver)).collect();
    Routing {
        receivers: siblings(&notify.receivers),
        routes: (0..)
            .zip(&notify.routes)
            .map(|(at, route): (usize, _)| Branch {
                match_labels: route.match_labels.clone(),
                hours: windows(&target, &format!("spec.notify.routes[{at}].hours"), &route.hours, findings),
                receivers: siblings(&route.receivers),
                goes_on: route.goes_on.unwrap_or(false),
            })
            .collect(),
        group_by: notify.group_by.clone(),
        // Alertmanager's defaults.
        wait: or(notify.wait, SignedDuration::from_secs(30)),
        interval: or(notify.interval, SignedDuration::from_mins(5)),
        repeat: or(notify.repeat, SignedDuration::from_hours(4)),
        escalate: notify.escalate.iter().map(|step| (step.after.0, siblings(&step.receivers))).collect(),
    }
}

/// Three digits behind the point at most.
fn short(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len().min(SUMMARY));
    for character in text.trim().chars().map(|character| if character.is_control() { ' ' } else { character }) {
        if line.len() + character.len_utf8() > SUMMARY - '…'.len_utf8() {
            line.push('…');
            break;
        }
        line.push(character);
    }
    line
}

/// A summary with what lines have to say.
fn with_lines(summary: &str, words: &str, lines: &[String]) -> String {
    if lines.is_empty() { summary.to_owned() } else { one_line(&format!("{summary} ({words}: {})", lines.join("; "))) }
}

/// What was last changed on a device, by whichever Deployment, and when that began at the earliest: a step says when it is done.
pub fn last_change(observed: &Observed, units: Option<&Vec<Name>>, device: &Name) -> Option<(LastChange, Timestamp)> {
    let changes = units.into_iter().flatten().filter(|unit| unit.role().is_none()).filter_map(|unit| {
        let rollout = observed.rollouts.get(unit)?;
        let placement = rollout.placements.get(device)?;
        let record = rollout.revision(placement.revision)?;
        // What is just being changed may say something before we hear that it is done.
        let at = if placement.phase == Phase::Applying { placement.since } else { placement.applied_at? };
        let batch = (placement.batch as usize).checked_sub(1).and_then(|batch| record.batches.get(batch));
        let change = LastChange {
            deployment: unit.clone(),
            revision: record.number.to_string(),
            version: record.content.summary(),
            commit: record.commit.clone(),
            author: record.author.clone(),
            at,
        };
        Some((change, batch.map_or(at, |batch| batch.opened_at.min(at))))
    });
    changes.max_by_key(|(change, _)| change.at)
}
