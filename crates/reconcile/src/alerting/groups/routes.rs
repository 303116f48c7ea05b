//! Which of a rule's receivers an alert is for, and when.
//!
//! As in Alertmanager the first route that matches takes the alert, unless it says that others may too; what no route takes is for the rule's
//! own receivers. Outside of a route's hours nothing is said by it: what still fires when they begin is said then.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Routing;
use crate::name::Name;
use crate::window::{Opening, Window, opening, stored};

/// Who is told of some of a rule's alerts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Branch {
    /// Labels that the alerts have.
    #[serde(default)]
    pub match_labels: BTreeMap<String, String>,
    /// When they are told; always, if none.
    #[serde(default, with = "stored")]
    pub hours: Vec<Window>,
    /// Receivers.
    pub receivers: Vec<Name>,
    /// Routes after this one are looked at too.
    #[serde(default)]
    pub goes_on: bool,
}

impl Branch {
    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        // A label that is missing is empty.
        self.match_labels.iter().all(|(key, value)| labels.get(key).map_or("", String::as_str) == value)
    }
}

/// How an alert gets to one who is told at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Not at all.
    None,
    /// By this route, or as one that no route takes.
    Open(Option<usize>),
    /// By this route, and not now.
    Closed(usize, Option<Timestamp>),
}

impl Routing {
    /// How an alert with these labels gets to a receiver.
    pub(super) fn way(&self, receiver: &Name, labels: &BTreeMap<String, String>, now: Timestamp) -> Way {
        let (mut way, mut is_taken) = (Way::None, false);
        for (number, branch) in self.routes.iter().enumerate().filter(|(_, branch)| branch.matches(labels)) {
            if branch.receivers.contains(receiver) {
                if branch.hours.is_empty() {
                    return Way::Open(Some(number));
                }
                match opening(&branch.hours, now) {
                    Opening::Open { .. } => return Way::Open(Some(number)),
                    Opening::Closed { opens } if way == Way::None => way = Way::Closed(number, opens),
                    Opening::Closed { .. } => {}
                }
            }
            if !branch.goes_on {
                is_taken = true;
                break;
            }
        }
        if !is_taken && self.receivers.contains(receiver) { Way::Open(None) } else { way }
    }

    /// What people call a route: its number, and what it matches.
    pub(super) fn called(&self, number: usize) -> String {
        let labels = self.routes.get(number).into_iter().flat_map(|branch| &branch.match_labels);
        let labels: Vec<String> = labels.map(|(key, value)| format!("{key}={value}")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!(" ({})", labels.join(", ")) };
        format!("route {}{labels}", number + 1)
    }

    /// A route's hours as they are written.
    pub(super) fn hours(&self, number: usize) -> String {
        let hours = self.routes.get(number).into_iter().flat_map(|branch| &branch.hours);
        hours.map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
}
