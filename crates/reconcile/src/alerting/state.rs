//! What a rule remembers of one device: inactive, pending, firing, resolved, and how one follows from the other.
//!
//! As Prometheus does it (`rules/alerting.go: Eval`), and then: hysteresis, what missing data means, flapping, acknowledgement. What
//! suppresses an alert is written beside its state and has no say in it.

use std::collections::BTreeMap;

use crds::{AlertState, NoData, Severity};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::flap::Flaps;
use super::notice::LastChange;
use super::suppress::Suppressor;
use super::truth::Truth;
use crate::name::Name;

/// A resolved alert is remembered this long, as in Prometheus (`resolvedRetention`).
pub const RETAINED: SignedDuration = SignedDuration::from_mins(15);
/// Downtime of ours up to this counts as pending, since a restart is no news; what goes beyond it does not count.
pub const GRACE: SignedDuration = SignedDuration::from_mins(1);
/// After nobody looked for this long a pending alert begins anew (Prometheus: `--rules.alert.for-outage-tolerance`).
pub const OUTAGE: SignedDuration = SignedDuration::from_hours(1);
/// Decisions that are remembered of one alert.
pub const DECISIONS: usize = 30;

/// How long an alert's condition has to hold, and the like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// It must hold this long before the alert fires.
    pub hold_for: SignedDuration,
    /// It goes on firing this long after it is well.
    pub keep_firing_for: SignedDuration,
    /// What missing data means.
    pub no_data: NoData,
}

/// What a rule says of a device, where that is observed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// Something is wrong.
    pub wrong: Truth,
    /// It is well again: `recover`, or that nothing is wrong.
    pub well: Truth,
    /// The number that the expression compared, if it compares one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// What is unknown is so only since nobody has looked for long enough yet: that is no missing data.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub early: bool,
}

impl Verdict {
    /// Without hysteresis.
    pub fn of(wrong: Truth, value: Option<f64>) -> Self {
        Self { well: wrong.clone().negated(), wrong, value, early: false }
    }

    /// Whether another one says something else; a value alone is no news.
    pub fn differs(&self, other: &Self) -> bool {
        (&self.wrong, &self.well, self.early) != (&other.wrong, &other.well, other.early)
    }
}

/// What an alert is about, as of its beginning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    /// The AlertRule.
    pub rule: Name,
    /// The device.
    pub device: Name,
    /// How bad it is.
    pub severity: Severity,
    /// Labels: the device's, then the rule's.
    pub labels: BTreeMap<String, String>,
    /// One line for people.
    pub summary: String,
    /// What was last changed on the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_change: Option<LastChange>,
    /// Devices behind this one.
    #[serde(default)]
    pub behind: u32,
    /// Lines of log that it is about, a few of them. From hostile text, as the summary is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<String>,
}

/// Somebody looks after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Acknowledged {
    /// Who.
    pub by: String,
    /// What they say.
    pub comment: String,
    /// Since when.
    pub at: Timestamp,
    /// Until when.
    pub until: Timestamp,
}

/// A decision, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// When.
    pub at: Timestamp,
    /// About whom: a receiver; empty for the alert itself.
    #[serde(default)]
    pub receiver: String,
    /// What, and why.
    pub text: String,
}

/// One alert: a rule on a device, from its condition's beginning to a while after its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    /// What it is called; another one each time it begins.
    pub id: String,
    /// What it is about.
    pub subject: Subject,
    /// Where it stands.
    pub state: AlertState,
    /// The number that was compared when it was last looked at.
    pub value: Option<f64>,
    /// Since when the condition holds; time that does not count as pending is taken out by moving this on.
    pub active_at: Timestamp,
    /// Since when it fires.
    pub fired_at: Option<Timestamp>,
    /// Since when it is well, and goes on firing.
    pub well_since: Option<Timestamp>,
    /// When it was well again.
    pub resolved_at: Option<Timestamp>,
    /// Since when nobody can say how it is.
    pub unknown_since: Option<Timestamp>,
    /// Why nobody can.
    pub unknown_reason: String,
    /// When it was last looked at.
    pub seen_at: Timestamp,
    /// How much it changes.
    pub flaps: Flaps,
    /// Somebody looks after it.
    pub acknowledged: Option<Acknowledged>,
    /// What keeps it from being said.
    pub suppressed: Vec<Suppressor>,
    /// The group in which it is said, from when it fires.
    pub group: Option<String>,
    /// What was decided, the oldest first.
    pub decisions: Vec<Decision>,
}

/// What happened to an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// Its condition holds, not long enough yet.
    Pending,
    /// It fires.
    Firing,
    /// It is well again.
    Resolved,
    /// Its condition held, and did not for long enough.
    Cleared,
    /// `for` was raised: it has to hold longer before it fires.
    Withdrawn,
    /// It changes so often that only that is said.
    FlappingBegan,
    /// It flaps no more.
    FlappingEnded,
    /// It is not said for now.
    Suppressed,
    /// It is said again.
    Unsuppressed,
    /// Nobody looks after it any more.
    AcknowledgementEnded,
    /// It was well for long enough to be forgotten.
    Forgotten,
}

/// What came of looking at an alert.
#[derive(Clone, Debug, PartialEq)]
pub struct Advanced {
    /// How it stands now; none: there is nothing to remember.
    pub instance: Option<Instance>,
    /// What happened.
    pub transitions: Vec<Transition>,
    /// When time alone could change it.
    pub look_again: Option<Timestamp>,
}

/// A verdict, and what missing data means, in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Wrong,
    /// Not wrong, and not well enough to have recovered.
    Between,
    Well,
    Unknown,
}

/// Looks at one alert: how it stands follows from how it stood, the verdict and the time.
pub fn advance(
    timing: &Timing,
    before: Option<&Instance>,
    subject: &Subject,
    verdict: &Verdict,
    suppressed: &[Suppressor],
    now: Timestamp,
) -> Advanced {
    let answer = answer(timing, verdict);
    let mut transitions = Vec::new();
    let fresh = || (answer == Answer::Wrong).then(|| Instance::new(subject, now));
    let Some(mut alert) = before.cloned().or_else(fresh) else {
        return Advanced { instance: None, transitions, look_again: None };
    };
    alert.set_clock(now);
    alert.pass_unknown(answer, verdict, now);
    alert.value = verdict.value.or(alert.value);
    alert.refresh(subject);
    let left = alert.go_on(timing, answer, subject, now, &mut transitions);
    if !left || alert.is_over(now) {
        transitions.push(if left { Transition::Forgotten } else { Transition::Cleared });
        return Advanced { instance: None, transitions, look_again: None };
    }
    if before.is_none() && alert.state == AlertState::Pending {
        transitions.insert(0, Transition::Pending);
    }
    alert.flap(&mut transitions, now);
    alert.suppress(suppressed, &mut transitions);
    if alert.acknowledged.as_ref().is_some_and(|acknowledged| acknowledged.until <= now) {
        alert.acknowledged = None;
        transitions.push(Transition::AcknowledgementEnded);
    }
    alert.note(&transitions, now);
    let look_again = alert.look_again(timing);
    Advanced { instance: Some(alert), transitions, look_again }
}

impl Advanced {
    /// What began anew has changed before: all of it counts.
    pub(super) fn remember(&mut self, mut past: Flaps, now: Timestamp) {
        let Some(alert) = &mut self.instance else { return };
        match alert.flaps.is_quiet() {
            true => past.pass(now),
            false => past.changed(now),
        }
        alert.flaps = past;
        if alert.flaps.flapping {
            self.transitions.push(Transition::FlappingBegan);
            alert.note(&[Transition::FlappingBegan], now);
            self.look_again = self.look_again.into_iter().chain(alert.flaps.look_again()).min();
        }
    }
}

fn answer(timing: &Timing, verdict: &Verdict) -> Answer {
    let no_data = if verdict.early { NoData::Keep } else { timing.no_data };
    match (&verdict.wrong, &verdict.well, no_data) {
        (Truth::True, ..) | (Truth::Unknown(_), _, NoData::Fire) => Answer::Wrong,
        (Truth::False, Truth::True, _) | (Truth::Unknown(_), _, NoData::Resolve) => Answer::Well,
        (Truth::False, Truth::Unknown(_), NoData::Resolve) => Answer::Well,
        (Truth::False, Truth::False, _) | (Truth::False, Truth::Unknown(_), NoData::Fire) => Answer::Between,
        (_, _, NoData::Keep) => Answer::Unknown,
    }
}

impl Instance {
    fn new(subject: &Subject, now: Timestamp) -> Self {
        Self {
            id: id(subject, now),
            subject: subject.clone(),
            state: AlertState::Pending,
            value: None,
            active_at: now,
            fired_at: None,
            well_since: None,
            resolved_at: None,
            unknown_since: None,
            unknown_reason: String::new(),
            seen_at: now,
            flaps: Flaps::default(),
            acknowledged: None,
            suppressed: Vec::new(),
            group: None,
            decisions: Vec::new(),
        }
    }

    /// Whether it fires, or is held as firing since it flaps.
    pub fn counts_as_firing(&self) -> bool {
        match self.state {
            AlertState::Firing => true,
            AlertState::Pending | AlertState::Resolved => self.flaps.flapping,
            AlertState::Inactive => false,
        }
    }

    /// The engine was not there from then until now.
    pub fn was_alone(&mut self, since: Timestamp, now: Timestamp) {
        if now.duration_since(since) > GRACE {
            self.unknown_since.get_or_insert(since);
            if self.unknown_reason.is_empty() {
                "the engine was not running".clone_into(&mut self.unknown_reason);
            }
        }
        self.seen_at = self.seen_at.max(since).min(now);
    }

    /// The clock was set by so much: what waits goes on waiting as long as it would have.
    pub fn shift(&mut self, by: SignedDuration) {
        let moved = |at: Timestamp| at.checked_add(by).unwrap_or(at);
        self.active_at = moved(self.active_at);
        self.seen_at = moved(self.seen_at);
        for at in [&mut self.well_since, &mut self.resolved_at, &mut self.unknown_since] {
            *at = at.map(moved);
        }
        // Nothing waits for this one, and what asks whether it began before something else must not find that it began later.
        self.fired_at = self.fired_at.map(|at| if by.is_negative() { moved(at) } else { at });
        if let Some(acknowledged) = &mut self.acknowledged {
            acknowledged.at = moved(acknowledged.at);
        }
        self.flaps.shift(by);
    }

    /// A decision about it; what was decided already is not said again.
    pub fn decided(&mut self, receiver: &str, text: impl Into<String>, now: Timestamp) {
        let text = text.into();
        let last = self.decisions.iter().rev().find(|decision| decision.receiver == receiver);
        if last.is_some_and(|last| last.text == text) {
            return;
        }
        if self.decisions.len() >= DECISIONS {
            self.decisions.remove(0);
        }
        self.decisions.push(Decision { at: now, receiver: receiver.to_owned(), text });
    }

    /// A clock that goes backward, and nobody said so, must not make anything wait for as long as it went.
    fn set_clock(&mut self, now: Timestamp) {
        let back = now.duration_since(self.seen_at);
        if back.is_negative() {
            self.shift(back);
        }
        self.seen_at = now;
    }

    /// Time of which nobody can say how it was counts neither as pending nor as well.
    fn pass_unknown(&mut self, answer: Answer, verdict: &Verdict, now: Timestamp) {
        if answer == Answer::Unknown {
            self.unknown_since.get_or_insert(now);
            if let (Truth::Unknown(reason), _) | (_, Truth::Unknown(reason)) = (&verdict.wrong, &verdict.well) {
                self.unknown_reason.clone_from(reason);
            }
            return;
        }
        self.unknown_reason.clear();
        let Some(since) = self.unknown_since.take() else { return };
        let gap = now.duration_since(since);
        if self.state == AlertState::Pending {
            self.active_at = if gap > OUTAGE { now } else { self.active_at.checked_add(gap).unwrap_or(now) };
        }
        self.well_since = self.well_since.map(|since| since.checked_add(gap).unwrap_or(now).min(now));
    }

    /// What is said of it is as of now; its labels stay, since they are what it is known by.
    fn refresh(&mut self, subject: &Subject) {
        if self.state != AlertState::Resolved {
            self.subject.severity = subject.severity;
            self.subject.summary.clone_from(&subject.summary);
            self.subject.behind = subject.behind;
            if self.state == AlertState::Pending {
                self.subject.last_change.clone_from(&subject.last_change);
            }
        }
    }

    /// From state to state. Returns whether anything is left of it.
    fn go_on(&mut self, timing: &Timing, answer: Answer, subject: &Subject, now: Timestamp, told: &mut Vec<Transition>) -> bool {
        match (self.state, answer) {
            (AlertState::Resolved | AlertState::Inactive, Answer::Wrong) => {
                let before = std::mem::replace(self, Self::new(subject, now));
                (self.flaps, self.decisions, self.value) = (before.flaps, before.decisions, before.value);
                if self.flaps.flapping {
                    // What flaps is one alert from its beginning to its end.
                    (self.id, self.group) = (before.id, before.group);
                    (self.suppressed, self.acknowledged) = (before.suppressed, before.acknowledged);
                }
                if timing.hold_for.is_positive() {
                    told.push(Transition::Pending);
                }
            }
            (AlertState::Pending, Answer::Well | Answer::Between) if self.flaps.flapping => {
                (self.state, self.resolved_at) = (AlertState::Resolved, Some(now));
            }
            (AlertState::Pending, Answer::Well | Answer::Between) => return false,
            (AlertState::Firing, Answer::Wrong) => {
                self.well_since = None;
                if now.duration_since(self.active_at) < timing.hold_for {
                    (self.state, self.fired_at) = (AlertState::Pending, None);
                    told.push(Transition::Withdrawn);
                }
            }
            (AlertState::Firing, Answer::Between) => self.well_since = None,
            (AlertState::Firing, Answer::Well) => {
                let since = *self.well_since.get_or_insert(now);
                if now.duration_since(since) >= timing.keep_firing_for {
                    (self.state, self.resolved_at) = (AlertState::Resolved, Some(now));
                    told.push(Transition::Resolved);
                }
            }
            (AlertState::Firing | AlertState::Pending, Answer::Unknown)
            | (AlertState::Pending, Answer::Wrong)
            | (AlertState::Resolved | AlertState::Inactive, _) => {}
        }
        if self.state == AlertState::Pending && answer == Answer::Wrong && now.duration_since(self.active_at) >= timing.hold_for {
            (self.state, self.fired_at) = (AlertState::Firing, Some(now));
            told.push(Transition::Firing);
        }
        true
    }

    fn is_over(&self, now: Timestamp) -> bool {
        let retained = |at: Timestamp| now.duration_since(at) < RETAINED;
        self.state == AlertState::Resolved && self.flaps_over(now) && !self.resolved_at.is_some_and(retained)
    }

    fn flaps_over(&self, now: Timestamp) -> bool {
        let mut flaps = self.flaps.clone();
        flaps.pass(now);
        !flaps.flapping
    }

    fn flap(&mut self, told: &mut Vec<Transition>, now: Timestamp) {
        let before = self.flaps.flapping;
        match told.iter().any(|transition| matches!(transition, Transition::Firing | Transition::Resolved)) {
            true => self.flaps.changed(now),
            false => self.flaps.pass(now),
        }
        match (before, self.flaps.flapping) {
            (false, true) => told.push(Transition::FlappingBegan),
            (true, false) => told.push(Transition::FlappingEnded),
            _ => {}
        }
    }

    fn suppress(&mut self, by: &[Suppressor], told: &mut Vec<Transition>) {
        match (self.suppressed.is_empty(), by.is_empty()) {
            (true, false) => told.push(Transition::Suppressed),
            (false, true) => told.push(Transition::Unsuppressed),
            _ => {}
        }
        if self.suppressed != by {
            self.suppressed = by.to_vec();
        }
    }

    fn note(&mut self, transitions: &[Transition], now: Timestamp) {
        for transition in transitions {
            let text = match transition {
                Transition::Pending => "pending".to_owned(),
                Transition::Firing => match self.value {
                    Some(value) => format!("firing at {value}"),
                    None => "firing".to_owned(),
                },
                Transition::Resolved => "resolved".to_owned(),
                Transition::Withdrawn => "pending again: it has to hold longer now".to_owned(),
                Transition::FlappingBegan => format!("flapping ({:.0} % of the last 20 minutes): held as firing", self.flaps.percent()),
                Transition::FlappingEnded => "flaps no more".to_owned(),
                Transition::Suppressed => {
                    format!("suppressed: {}", self.suppressed.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
                }
                Transition::Unsuppressed => "suppressed no more".to_owned(),
                Transition::AcknowledgementEnded => "the acknowledgement has ended".to_owned(),
                Transition::Cleared | Transition::Forgotten => continue,
            };
            self.decided("", text, now);
        }
    }

    fn look_again(&self, timing: &Timing) -> Option<Timestamp> {
        let known = self.unknown_since.is_none();
        let own = match self.state {
            AlertState::Pending if known => self.active_at.checked_add(timing.hold_for).ok(),
            AlertState::Firing if known => self.well_since.and_then(|since| since.checked_add(timing.keep_firing_for).ok()),
            AlertState::Resolved => self.resolved_at.and_then(|at| at.checked_add(RETAINED).ok()),
            _ => None,
        };
        let until = self.acknowledged.as_ref().map(|acknowledged| acknowledged.until);
        [own, until, self.flaps.look_again()].into_iter().flatten().min()
    }
}

/// Short enough to be typed, and another one each time: the beginning of a hash over what it is about and since when.
fn id(subject: &Subject, now: Timestamp) -> String {
    let text = format!("{} {} {}", subject.rule.full(), subject.device.full(), now.as_nanosecond());
    hex::encode(&Sha256::digest(text.as_bytes())[..5])
}
