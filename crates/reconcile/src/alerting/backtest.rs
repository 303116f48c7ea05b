//! What a rule would have done on one device, over what is kept of the past: the very rule and the very state machine, in virtual time.
//!
//! What it would have said is another matter: silences, maintenance, limits and receivers have no part in it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::expr::{Inputs, Rollouts, STALE};
use super::history::{History, LooksBack};
use super::rule::Rule;
use super::state::{Instance, Subject, Transition, advance};
use super::truth::Truth;
use crate::desired::{Desired, Device};
use crate::observed::{DeviceSeen, Observed, ProbeSeen};
use crate::rollout::RevisionResult;
use crate::usage::{Series, Usage};

/// Readings of one series, the oldest first.
pub type Readings = BTreeMap<Series, Vec<(Timestamp, f64)>>;

/// Looks at one device: 30 days of readings each minute, with as many timers between them. What goes beyond is not looked at.
pub const LOOKS: usize = 100_000;
/// Firings of one device that are told one by one; those beyond are counted.
pub const FIRINGS: usize = 200;
/// What only time changes (`age`, windows) is looked at this often between readings.
const TICK: SignedDuration = SignedDuration::from_mins(1);

/// One time that it would have fired.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Firing {
    /// From when.
    pub from: Timestamp,
    /// Until when; none: it would fire still.
    pub to: Option<Timestamp>,
    /// The number that was compared when it began.
    pub value: Option<f64>,
    /// Seconds of it while a rollout of a Deployment that selects the device was under way.
    pub in_rollouts: i64,
}

/// What came of it on one device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Course {
    /// Each time that it would have fired, the oldest first.
    pub firings: Vec<Firing>,
    /// How many more.
    pub more: usize,
    /// Seconds for which it would have fired.
    pub fired: i64,
    /// Of them while a rollout was under way.
    pub in_rollouts: i64,
    /// Seconds of which nobody can say how it was.
    pub unknown: i64,
    /// Why not, at the last of them.
    pub reason: String,
    /// It was not looked at to the end.
    pub cut: bool,
}

/// From when until when, in order and apart from each other.
pub type Spans = Vec<(Timestamp, Timestamp)>;

/// What is kept of one device.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// What it used.
    pub readings: Readings,
    /// Which of its probes came into which state and when, the oldest first. As it was written down: it stays so until the next one.
    pub probes: Vec<(Timestamp, String, ProbeSeen)>,
    /// When rollouts were under way.
    pub rollouts: Spans,
}

/// When rollouts of the Deployments that select a device were under way, as far as their histories go back.
pub fn rollouts(desired: &Desired, observed: &Observed, device: &Device, now: Timestamp) -> Spans {
    let units = desired.selected_by.get(&device.name).into_iter().flatten();
    let records = units.filter_map(|unit| observed.rollouts.get(unit)).flat_map(|rollout| &rollout.history);
    let moving = |result: &RevisionResult| matches!(result, RevisionResult::Progressing | RevisionResult::RollingBack { .. });
    let mut spans: Spans = records
        .map(|record| (record.started_at, record.finished_at.unwrap_or(if moving(&record.result) { now } else { record.started_at })))
        .collect();
    spans.sort();
    let mut apart: Spans = Vec::with_capacity(spans.len());
    for (from, to) in spans {
        match apart.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => apart.push((from, to)),
        }
    }
    apart
}

/// Seconds that two have in common.
fn common(spans: &Spans, from: Timestamp, to: Timestamp) -> i64 {
    let within = spans.iter().map(|span| span.1.min(to).duration_since(span.0.max(from)).as_secs().max(0));
    within.sum()
}

/// Plays a rule over the past of a device, from one instant to another.
pub fn play(rule: &Rule, device: &Device, past: &Past, (from, to): (Timestamp, Timestamp)) -> Course {
    let mut world = World {
        rule,
        device,
        looks_back_at: rule.looks_back_at(),
        subject: rule.plain_subject(device),
        last: BTreeMap::new(),
        usage: None,
        seen: None,
        history: History::default(),
        instance: None,
        since: None,
        unknown_since: None,
        course: Course::default(),
        during: &past.rollouts,
    };
    let mut all: Vec<(Timestamp, &Series, f64)> =
        past.readings.iter().flat_map(|(series, points)| points.iter().map(move |(at, value)| (*at, series, *value))).collect();
    all.retain(|(at, ..)| (from..=to).contains(at));
    all.sort_by_key(|(at, ..)| *at);
    let (mut next, mut states) = (all.iter().peekable(), past.probes.iter().peekable());
    let mut now = from;
    for look in 0.. {
        if look >= LOOKS {
            world.course.cut = true;
            break;
        }
        while let Some((at, series, value)) = next.next_if(|(at, ..)| *at <= now) {
            world.last.insert((*series).clone(), (*at, *value));
            if next.peek().is_none_or(|(other, ..)| other != at) {
                world.read(*at);
            }
        }
        while let Some((_, probe, seen)) = states.next_if(|(at, ..)| *at <= now) {
            world.stood(probe, seen);
        }
        let again = world.look(now);
        if now >= to {
            break;
        }
        let reading = next.peek().map(|(at, ..)| *at);
        let state = states.peek().map(|(at, ..)| *at);
        now = again.into_iter().chain(reading).chain(state).min().unwrap_or(to).min(to);
    }
    world.end(now);
    world.course
}

struct World<'a> {
    rule: &'a Rule,
    device: &'a Device,
    looks_back_at: LooksBack,
    subject: Subject,
    /// The last reading of each series: they need not all come at once.
    last: BTreeMap<Series, (Timestamp, f64)>,
    usage: Option<Usage>,
    /// How its probes stand; none: as far as anybody knows, it has none that ever ran.
    seen: Option<DeviceSeen>,
    history: History,
    instance: Option<Instance>,
    /// Since when it fires, and at what.
    since: Option<(Timestamp, Option<f64>)>,
    unknown_since: Option<Timestamp>,
    course: Course,
    during: &'a Spans,
}

impl World<'_> {
    /// Something was read.
    fn read(&mut self, at: Timestamp) {
        let fresh = self.last.iter().filter(|(_, (then, _))| at.duration_since(*then) <= STALE);
        let usage = Usage { at, values: fresh.map(|(series, (_, value))| (series.clone(), *value)).collect() };
        let new = self.last.iter().filter(|(series, (then, _))| *then == at && self.looks_back_at.contains_key(*series));
        for (series, (_, value)) in new {
            self.history.point(series, at, *value);
        }
        self.usage = Some(usage);
    }

    /// A probe came into another state.
    fn stood(&mut self, probe: &str, seen: &ProbeSeen) {
        let device = self.seen.get_or_insert_default();
        device.probes.insert(probe.to_owned(), Box::new(seen.clone()));
    }

    /// Looks at the rule. Returns when to look again.
    fn look(&mut self, now: Timestamp) -> Option<Timestamp> {
        let inputs = Inputs {
            device: self.device,
            seen: self.seen.as_ref(),
            usage: self.usage.as_ref(),
            history: &self.history,
            rollouts: Rollouts::Unknown,
            now,
        };
        let (verdict, again) = self.rule.verdict(&inputs);
        match &verdict.wrong {
            Truth::Unknown(reason) => {
                self.unknown_since.get_or_insert(now);
                self.course.reason.clone_from(reason);
            }
            Truth::True | Truth::False => {
                self.course.unknown += self.unknown_since.take().map_or(0, |since| now.duration_since(since).as_secs());
            }
        }
        let advanced = advance(&self.rule.timing, self.instance.as_ref(), &self.subject, &verdict, &[], now);
        for transition in &advanced.transitions {
            match transition {
                Transition::Firing => self.since = Some((now, verdict.value)),
                Transition::Resolved => self.over(Some(now), now),
                _ => {}
            }
        }
        self.instance = advanced.instance.map(|mut instance| {
            // Nobody reads them.
            instance.decisions.clear();
            instance
        });
        let tick = now.checked_add(TICK).unwrap_or(Timestamp::MAX);
        let again = again.map(|at| at.max(tick));
        again.into_iter().chain(advanced.look_again).filter(|at| *at > now).min()
    }

    fn over(&mut self, to: Option<Timestamp>, now: Timestamp) {
        let Some((from, value)) = self.since.take() else { return };
        let in_rollouts = common(self.during, from, now);
        self.course.fired += now.duration_since(from).as_secs();
        self.course.in_rollouts += in_rollouts;
        match self.course.firings.len() < FIRINGS {
            true => self.course.firings.push(Firing { from, to, value, in_rollouts }),
            false => self.course.more += 1,
        }
    }

    fn end(&mut self, now: Timestamp) {
        self.course.unknown += self.unknown_since.take().map_or(0, |since| now.duration_since(since).as_secs());
        self.over(None, now);
    }
}
