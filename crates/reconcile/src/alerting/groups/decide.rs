//! Whether something is said of a group to one receiver, and why.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use super::routes::Way;
use super::{Group, Mention, Route, Told};
use crate::alerting::notice::{LISTED, Notice, Reason, Said};
use crate::alerting::state::Instance;
use crate::name::Name;

/// What is decided for one receiver.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// To whom.
    pub route: Route,
    /// What is said: in one notice, or for a program that has to hear of each alert in as many as it takes.
    pub notices: Vec<Notice>,
    /// What was said to them once this is.
    pub told: Told,
}

/// A decision about one alert, for whoever asks why.
pub type Why = (String, Name, String);

/// Decides over each receiver. `is_look`: it is time for a look at the group, and not only for an escalation. `is_program`: a receiver has to
/// hear of each alert, since it groups them by itself.
pub fn decide(
    group: &Group,
    alerts: &[&Instance],
    is_look: bool,
    is_program: impl Fn(&Name) -> bool,
    now: Timestamp,
) -> (Vec<Decided>, Vec<Why>) {
    let (mut decided, mut why) = (Vec::new(), Vec::new());
    for (route, after) in group.routing.routes() {
        if route.level == 0 && !is_look {
            continue;
        }
        let view = View::new(group, alerts, &route, after, now);
        match view.reason(is_look) {
            Ok(reason) => {
                view.explain(Some(reason), &mut why);
                decided.push(view.say(reason, is_program(&route.receiver)));
            }
            Err(Silent) => view.explain(None, &mut why),
        }
    }
    (decided, why)
}

/// Nothing is said.
struct Silent;

/// One group as one receiver has to see it.
struct View<'a> {
    group: &'a Group,
    route: &'a Route,
    told: Option<&'a Told>,
    /// What fires and is for this receiver.
    due: Vec<&'a Instance>,
    /// What fires and is not said, with why.
    held: Vec<(&'a Instance, String)>,
    /// What was said to fire and does no more.
    over: Vec<(&'a Mention, Option<&'a Instance>)>,
    /// What was said to fire, does no more, and can't be said to be over now.
    waits: Vec<(&'a String, &'a Mention, String)>,
    /// What was said to fire and still does, whether or not it would be said by now.
    still: usize,
    now: Timestamp,
}

impl<'a> View<'a> {
    fn new(group: &'a Group, alerts: &[&'a Instance], route: &'a Route, after: SignedDuration, now: Timestamp) -> Self {
        let told = group.told(route);
        let was_told = |alert: &Instance| told.is_some_and(|told| told.firing.contains_key(&alert.id));
        let (mut due, mut held) = (Vec::new(), Vec::new());
        let way = |labels: &BTreeMap<String, String>| match route.level {
            0 => group.routing.way(&route.receiver, labels, now),
            _ => Way::Open(None),
        };
        for alert in alerts.iter().copied().filter(|alert| alert.counts_as_firing()) {
            let way = way(&alert.subject.labels);
            // What was said here is followed to its end, whatever the routes are by now.
            if way == Way::None && !was_told(alert) {
                continue;
            }
            if let Way::Closed(number, opens) = way {
                held.push((alert, closed(group, number, opens)));
            } else if !alert.suppressed.is_empty() {
                let by: Vec<String> = alert.suppressed.iter().map(ToString::to_string).collect();
                held.push((alert, format!("not said: {}", by.join(", "))));
            } else if route.level == 0 || was_told(alert) {
                due.push(alert);
            } else if let Some(acknowledged) = &alert.acknowledged {
                held.push((alert, format!("not escalated: {} has acknowledged it", acknowledged.by)));
            } else if group.said_at(&alert.id).is_some_and(|said| now.duration_since(said) >= after) {
                due.push(alert);
            }
        }
        let fires = |id: &str| alerts.iter().any(|alert| alert.id == id && alert.counts_as_firing());
        let mentioned = told.iter().flat_map(|told| &told.firing);
        let (still, over): (Vec<_>, Vec<_>) = mentioned.partition(|(id, _)| fires(id));
        let (mut said, mut waits) = (Vec::new(), Vec::new());
        for (id, mention) in over {
            match way(&mention.said.labels) {
                Way::Closed(number, opens) => waits.push((id, mention, closed(group, number, opens))),
                Way::None | Way::Open(_) => said.push((mention, alerts.iter().copied().find(|alert| alert.id == *id))),
            }
        }
        let still = still.len() + waits.len();
        Self { group, route, told, due, held, over: said, waits, still, now }
    }

    /// Alertmanager's table, in its order.
    fn reason(&self, is_look: bool) -> Result<Reason, Silent> {
        let Some(told) = self.told.filter(|told| !told.firing.is_empty()) else {
            return if self.due.is_empty() {
                Err(Silent)
            } else {
                Ok(if self.route.level == 0 { Reason::First } else { Reason::Escalated })
            };
        };
        if self.due.iter().any(|alert| !told.firing.contains_key(&alert.id)) {
            return Ok(if self.route.level == 0 { Reason::NewAlerts } else { Reason::Escalated });
        }
        if !is_look {
            return Err(Silent);
        }
        match (self.still, self.over.len()) {
            (0, _) => Ok(Reason::AllResolved),
            (_, 1..) => Ok(Reason::NewResolved),
            _ if self.now.duration_since(told.at) < self.group.routing.repeat => Err(Silent),
            // Who looks after it need not be reminded, and what is suppressed is not said.
            _ if self.due.iter().all(|alert| alert.acknowledged.is_some()) => Err(Silent),
            _ => Ok(Reason::Repeat),
        }
    }

    fn explain(&self, reason: Option<Reason>, why: &mut Vec<Why>) {
        let mut note = |alert: &Instance, text: String| why.push((alert.id.clone(), self.route.receiver.clone(), text));
        for (alert, text) in &self.held {
            note(alert, text.clone());
        }
        for (id, _, text) in &self.waits {
            why.push(((*id).clone(), self.route.receiver.clone(), text.clone()));
        }
        let mut note = |alert: &Instance, text: String| why.push((alert.id.clone(), self.route.receiver.clone(), text));
        let Some(reason) = reason else {
            let is_due = |told: &Told| self.now.duration_since(told.at) >= self.group.routing.repeat;
            for alert in self.due.iter().filter(|_| self.told.is_some_and(is_due)) {
                if let Some(acknowledged) = &alert.acknowledged {
                    note(alert, format!("not repeated: {} has acknowledged it", acknowledged.by));
                }
            }
            return;
        };
        let so = match reason {
            Reason::First => "said: nothing of this group was said before",
            Reason::NewAlerts => "said: something fires that was not said",
            Reason::NewResolved => "said: something of this group is well again",
            Reason::AllResolved => "said: all of this group is well again",
            Reason::Repeat => "said again: it was last said long enough ago",
            Reason::Escalated => "said: nobody has acknowledged it in time",
            Reason::Storm | Reason::Test => "said",
        };
        let over = self.over.iter().filter_map(|(_, alert)| *alert);
        for alert in self.due.iter().copied().chain(over) {
            match self.group.routing.way(&self.route.receiver, &alert.subject.labels, self.now) {
                Way::Open(Some(number)) if self.route.level == 0 => note(alert, format!("{so}; by {}", self.group.routing.called(number))),
                _ => note(alert, so.to_owned()),
            }
        }
    }

    fn say(&self, reason: Reason, is_program: bool) -> Decided {
        let goes_on = self.told.filter(|told| !told.firing.is_empty());
        let thread = goes_on.map_or_else(|| thread(self.group, self.route, self.now), |told| told.thread.clone());
        let number = goes_on.map_or(1, |told| told.number + 1);
        // What was said to fire and still does belongs to it, though it would not be said by itself: else it would seem to be over.
        let is_told = |alert: &&Instance| self.told.is_some_and(|told| told.firing.contains_key(&alert.id));
        let still = self.held.iter().map(|(alert, _)| *alert).filter(is_told);
        let mut firing: Vec<Said> = self.due.iter().copied().chain(still).map(Instance::said).collect();
        firing.sort_by_key(|said| (said.severity as u8, said.since));
        let ended = |mention: &Mention, alert: Option<&Instance>| {
            alert.and_then(|alert| alert.resolved_at).or(mention.said.ended).unwrap_or(self.now)
        };
        let resolved: Vec<Said> =
            self.over.iter().map(|(mention, alert)| Said { ended: Some(ended(mention, *alert)), ..mention.said.clone() }).collect();
        let told = Told { thread: thread.clone(), number, at: self.now, firing: self.mentions(&firing) };
        let notice = |part: usize, firing: &[Said], resolved: &[Said]| {
            let number = if part == 0 { number.to_string() } else { format!("{number}.{part}") };
            let listed = |all: &[Said]| all.iter().take(LISTED).cloned().collect();
            let left = |all: &[Said]| u32::try_from(all.len().saturating_sub(LISTED)).unwrap_or(u32::MAX);
            Notice {
                id: hash(&[&thread, &number]),
                receiver: self.route.receiver.clone(),
                thread: thread.clone(),
                reason,
                at: self.now,
                group: self.group.labels.clone(),
                firing: listed(firing),
                resolved: listed(resolved),
                left_off: (left(firing), left(resolved)),
                instead: None,
            }
        };
        let notices = if is_program {
            let (mut firing, mut resolved) = (firing.chunks(LISTED), resolved.chunks(LISTED));
            let parts = std::iter::from_fn(|| match (firing.next(), resolved.next()) {
                (None, None) => None,
                (firing, resolved) => Some((firing.unwrap_or_default(), resolved.unwrap_or_default())),
            });
            parts.enumerate().map(|(part, (firing, resolved))| notice(part, firing, resolved)).collect()
        } else {
            vec![notice(0, &firing, &resolved)]
        };
        Decided { route: self.route.clone(), notices, told }
    }

    /// What they believe to fire from now on: what is said now, and what was said before and is only not said again.
    fn mentions(&self, firing: &[Said]) -> BTreeMap<String, Mention> {
        let before = |id: &String| self.told.and_then(|told| told.firing.get(id));
        let held = self.held.iter().filter_map(|(alert, _)| Some((alert.id.clone(), before(&alert.id)?.clone())));
        let due = firing.iter().map(|said| {
            let at = before(&said.id).map_or(self.now, |mention| mention.at);
            (said.id.clone(), Mention { at, said: said.clone() })
        });
        let waits = self.waits.iter().map(|(id, mention, _)| ((*id).clone(), (*mention).clone()));
        held.chain(waits).chain(due).collect()
    }
}

/// Outside of a route's hours.
fn closed(group: &Group, number: usize, opens: Option<Timestamp>) -> String {
    let (called, hours) = (group.routing.called(number), group.routing.hours(number));
    let next = opens.map(|opens| format!(", next from {opens}")).unwrap_or_default();
    format!("not said: outside of the hours of {called}{next} ({hours})")
}

impl Instance {
    /// As it is said.
    pub fn said(&self) -> Said {
        Said {
            id: self.id.clone(),
            rule: self.subject.rule.clone(),
            device: self.subject.device.clone(),
            severity: self.subject.severity,
            labels: self.subject.labels.clone(),
            summary: self.subject.summary.clone(),
            value: self.value,
            since: self.fired_at.unwrap_or(self.active_at),
            ended: None,
            last_change: self.subject.last_change.clone(),
            behind: self.subject.behind,
        }
    }
}

/// Another one each time that something of the group begins to be said.
fn thread(group: &Group, route: &Route, now: Timestamp) -> String {
    hash(&[&group.key, &route.level.to_string(), route.receiver.full(), &now.as_nanosecond().to_string()])
}

fn hash(parts: &[&str]) -> String {
    hex::encode(&Sha256::digest(parts.join("\n").as_bytes())[..16])
}
