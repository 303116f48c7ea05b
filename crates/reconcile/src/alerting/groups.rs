//! Who is told what, and when: alerts of a rule with the same labels come in one message.
//!
//! The times and the table are Alertmanager's (`dispatch/dispatch.go`, `notify/dedup_stage.go`): the first message after `wait`, then one
//! look each `interval`, at which there either is news or `repeat` has passed. What is news is measured by what was *said* last to that
//! receiver, so nothing that a restart or a silence swallowed is lost: the next look finds the difference.

mod decide;
mod pace;
mod routes;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::notice::Said;
use super::state::{Instance, Subject};
use crate::name::Name;

pub use decide::{Decided, Hears, decide};
pub use pace::{Pace, STORM, WINDOW};
pub use routes::Branch;

/// Who is told of a rule's alerts, and how often.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Routing {
    /// Receivers of what no route takes.
    pub receivers: Vec<Name>,
    /// Who is told of some of them instead, in the order in which they are tried.
    #[serde(default)]
    pub routes: Vec<Branch>,
    /// Alerts with the same values of these labels come in one message.
    pub group_by: Vec<String>,
    /// Wait for others of the group before the first message.
    pub wait: SignedDuration,
    /// Time between two looks at the group.
    pub interval: SignedDuration,
    /// Say it again after this long.
    pub repeat: SignedDuration,
    /// Whom to tell, if nobody has acknowledged it this long after it was first said.
    pub escalate: Vec<(SignedDuration, Vec<Name>)>,
}

/// One of those who are told, and from which level of escalation on; 0: at once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// The level.
    pub level: usize,
    /// The Receiver.
    pub receiver: Name,
}

impl Routing {
    /// Everybody who may be told, with how long after it was first said.
    pub fn routes(&self) -> impl Iterator<Item = (Route, SignedDuration)> + '_ {
        let mut first: Vec<&Name> = Vec::new();
        for receiver in self.receivers.iter().chain(self.routes.iter().flat_map(|branch| &branch.receivers)) {
            if !first.contains(&receiver) {
                first.push(receiver);
            }
        }
        let levels = self.escalate.iter().map(|(after, receivers)| (*after, receivers.iter().collect()));
        let levels = std::iter::once((SignedDuration::ZERO, first)).chain(levels).enumerate();
        levels.flat_map(|(level, (after, receivers))| {
            receivers.into_iter().map(move |receiver| (Route { level, receiver: receiver.clone() }, after))
        })
    }
}

/// Alerts that are said together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// What it is known by.
    pub key: String,
    /// The AlertRule.
    pub rule: Name,
    /// The labels that they share, with the rule's name.
    pub labels: BTreeMap<String, String>,
    /// When its first alert began to fire.
    pub opened_at: Timestamp,
    /// When it is looked at next.
    pub next_at: Timestamp,
    /// Who is told, as the rule said last.
    pub routing: Routing,
    /// All who would be told at once are suspended: who is told if nobody looks after it is told as if they had been.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_mute: bool,
    /// What was said, by whom it was said to.
    #[serde(default)]
    pub told: Vec<(Route, Told)>,
}

/// What was said to one receiver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// What its messages have in common, until all is well.
    pub thread: String,
    /// Messages so far in this thread.
    pub number: u64,
    /// When it was said last.
    pub at: Timestamp,
    /// What was said to fire, by the alert's id.
    pub firing: BTreeMap<String, Mention>,
}

/// That an alert was said to fire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mention {
    /// When it was said first.
    pub at: Timestamp,
    /// As it was said.
    pub said: Said,
}

impl Group {
    /// A group that begins with this alert.
    pub fn new(key: String, routing: &Routing, subject: &Subject, now: Timestamp) -> Self {
        Self {
            key,
            rule: subject.rule.clone(),
            labels: labels(routing, subject),
            opened_at: now,
            next_at: now.checked_add(routing.wait).unwrap_or(now),
            routing: routing.clone(),
            is_mute: false,
            told: Vec::new(),
        }
    }

    /// What was said to whom.
    pub fn told(&self, route: &Route) -> Option<&Told> {
        self.told.iter().find(|(to, _)| to == route).map(|(_, told)| told)
    }

    /// Whether somebody believes that something of it fires.
    pub fn is_owed(&self) -> bool {
        self.told.iter().any(|(_, told)| !told.firing.is_empty())
    }

    /// The look after the one at `now`: looks keep their distance, and those that were missed are not made up for.
    pub fn tick(&mut self, now: Timestamp) {
        let interval = self.routing.interval.max(SignedDuration::from_secs(1));
        let late = now.duration_since(self.next_at).as_millis().max(0) / interval.as_millis().max(1);
        let steps = i32::try_from(late).unwrap_or(i32::MAX).saturating_add(1);
        let next = interval.checked_mul(steps).and_then(|by| self.next_at.checked_add(by).ok());
        self.next_at = next.filter(|next| *next > now).unwrap_or_else(|| now.checked_add(interval).unwrap_or(now));
    }

    /// When time alone could change what is said of these alerts.
    pub fn look_again<'a>(&self, alerts: impl Iterator<Item = &'a Instance>) -> Timestamp {
        let waiting: Vec<&Instance> = alerts.filter(|alert| alert.counts_as_firing() && alert.acknowledged.is_none()).collect();
        let escalations = self.routing.escalate.iter().enumerate().flat_map(|(step, (after, receivers))| {
            let due = waiting.iter().filter_map(move |alert| self.said_at(alert)?.checked_add(*after).ok().map(|at| (alert, at)));
            due.filter(move |(alert, _)| {
                receivers.iter().any(|receiver| {
                    let route = Route { level: step + 1, receiver: receiver.clone() };
                    !self.told(&route).is_some_and(|told| told.firing.contains_key(&alert.id))
                }) && alert.suppressed.is_empty()
            })
            .map(|(_, at)| at)
        });
        escalations.chain([self.next_at]).min().unwrap_or(self.next_at)
    }

    /// When the alert was first said to those who are told at once, or would have been.
    pub fn said_at(&self, alert: &Instance) -> Option<Timestamp> {
        let first = self.told.iter().filter(|(route, _)| route.level == 0);
        first.filter_map(|(_, told)| Some(told.firing.get(&alert.id)?.at)).min().or(alert.fired_at.filter(|_| self.is_mute))
    }

    /// The clock was set by so much.
    pub fn shift(&mut self, by: SignedDuration) {
        let moved = |at: Timestamp| at.checked_add(by).unwrap_or(at);
        (self.opened_at, self.next_at) = (moved(self.opened_at), moved(self.next_at));
        for (_, told) in &mut self.told {
            told.at = moved(told.at);
            told.firing.values_mut().for_each(|mention| mention.at = moved(mention.at));
        }
    }
}

/// What an alert's group is known by: its rule, and the values of the labels that it is grouped by. A label that is missing is empty.
pub fn key(routing: &Routing, subject: &Subject) -> String {
    let mut hash = Sha256::new();
    for part in [subject.rule.full()].into_iter().chain(routing.group_by.iter().flat_map(|label| [label.as_str(), value(subject, label)])) {
        // Lengths, so that no two lists of texts look the same.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hex::encode(&hash.finalize()[..16])
}

fn labels(routing: &Routing, subject: &Subject) -> BTreeMap<String, String> {
    let by = routing.group_by.iter().map(|label| (label.clone(), value(subject, label).to_owned()));
    by.chain([("rule".to_owned(), subject.rule.name().to_owned())]).collect()
}

fn value<'a>(subject: &'a Subject, label: &str) -> &'a str {
    subject.labels.get(label).map_or("", String::as_str)
}
