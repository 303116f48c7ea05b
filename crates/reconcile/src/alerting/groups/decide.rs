//! Whether something is said of a group to one receiver, and why.

use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use super::routes::Way;
use super::{Group, Mention, Route, Told};
use crate::alerting::notice::{LISTED, Notice, Reason, Said};
use crate::alerting::state::Instance;
use crate::name::Name;

/// The longest that a program hears nothing of what still fires: it is told to believe for a day (`notify/src/webhook/alertmanager.rs`).
const REMINDED: SignedDuration = SignedDuration::from_hours(12);

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

/// What a receiver hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hears {
    /// Of groups: people.
    Groups,
    /// Of each alert, since it groups them by itself: a program.
    Each,
    /// Nothing for now: it is suspended. The difference is said when it is not any more.
    Nothing,
}

/// Decides over each receiver. `is_look`: it is time for a look at the group, and not only for an escalation.
pub fn decide(
    group: &Group,
    alerts: &[&Instance],
    is_look: bool,
    hears: impl Fn(&Name) -> Hears,
    now: Timestamp,
) -> (Vec<Decided>, Vec<Why>) {
    let (mut decided, mut why) = (Vec::new(), Vec::new());
    let routes: Vec<(Route, SignedDuration)> = group.routing.routes().collect();
    let is_named = |route: &Route| routes.iter().any(|(named, _)| named == route);
    let gone = group.told.iter().map(|(route, _)| route).filter(|route| !is_named(route));
    for (route, after) in routes.iter().cloned().chain(gone.map(|route| (route.clone(), SignedDuration::ZERO))) {
        if (route.level == 0 || !is_named(&route)) && !is_look {
            continue;
        }
        let hears = hears(&route.receiver);
        let mut view = View::new(group, alerts, &route, after, is_named(&route), now);
        if hears == Hears::Nothing {
            view.hold_all();
        }
        let is_program = hears == Hears::Each;
        match view.reason(is_look, is_program) {
            Ok(reason) => {
                view.explain(Some(reason), &mut why);
                decided.push(view.say(reason, is_program));
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
    fn new(group: &'a Group, alerts: &[&'a Instance], route: &'a Route, after: SignedDuration, is_named: bool, now: Timestamp) -> Self {
        let told = group.told(route);
        let was_told = |alert: &Instance| told.is_some_and(|told| told.firing.contains_key(&alert.id));
        let (mut due, mut held) = (Vec::new(), Vec::new());
        let way = |labels: &BTreeMap<String, String>| match route.level {
            0 if is_named => group.routing.way(&route.receiver, labels, now),
            _ => Way::Open(None),
        };
        for alert in alerts.iter().copied().filter(|alert| alert.counts_as_firing()) {
            let way = way(&alert.subject.labels);
            // What was said here is followed to its end, whatever the routes are by now.
            if (way == Way::None || !is_named) && !was_told(alert) {
                continue;
            }
            if !is_named {
                held.push((alert, "not said any more: the rule does not name this receiver now, which hears only when it is over".into()));
            } else if let Way::Closed(number, opens) = way {
                held.push((alert, closed(group, number, opens)));
            } else if !alert.suppressed.is_empty() {
                let by: Vec<String> = alert.suppressed.iter().map(ToString::to_string).collect();
                held.push((alert, format!("not said: {}", by.join(", "))));
            } else if route.level == 0 || was_told(alert) {
                due.push(alert);
            } else if let Some(acknowledged) = &alert.acknowledged {
                held.push((alert, format!("not escalated: {} has acknowledged it", acknowledged.by)));
            } else if group.said_at(alert).is_some_and(|said| now.duration_since(said) >= after) {
                due.push(alert);
            }
        }
        // A rule that went wrong has a thousand of them.
        let by_id: HashMap<&str, &Instance> = alerts.iter().map(|alert| (alert.id.as_str(), *alert)).collect();
        let fires = |id: &str| by_id.get(id).is_some_and(|alert| alert.counts_as_firing());
        let mentioned = told.iter().flat_map(|told| &told.firing);
        let (still, over): (Vec<_>, Vec<_>) = mentioned.partition(|(id, _)| fires(id));
        let (mut said, mut waits) = (Vec::new(), Vec::new());
        for (id, mention) in over {
            match way(&mention.said.labels) {
                Way::Closed(number, opens) => waits.push((id, mention, closed(group, number, opens))),
                Way::None | Way::Open(_) => said.push((mention, by_id.get(id.as_str()).copied())),
            }
        }
        let still = still.len() + waits.len();
        Self { group, route, told, due, held, over: said, waits, still, now }
    }

    /// Nobody is told anything: neither that something fires, nor that it is over, nor again.
    fn hold_all(&mut self) {
        let why = format!("not said: receiver/{} is suspended", self.route.receiver);
        self.held.extend(std::mem::take(&mut self.due).into_iter().map(|alert| (alert, why.clone())));
        let over = std::mem::take(&mut self.over);
        self.still += over.len();
        self.waits.extend(over.into_iter().map(|(mention, _)| (&mention.said.id, mention, why.clone())));
    }

    /// Alertmanager's table, in its order.
    fn reason(&self, is_look: bool, is_program: bool) -> Result<Reason, Silent> {
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
            // A program takes what it does not hear of for over, whoever looks after it and whatever the hours.
            _ if is_program && self.now.duration_since(told.at) >= self.group.routing.repeat.min(REMINDED) => Ok(Reason::Repeat),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerting::groups::Routing;
    use crate::alerting::state::{Acknowledged, Subject, Timing, Verdict, advance};
    use crate::alerting::truth::Truth;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + hours * 3600).unwrap()
    }

    fn alert(device: &str) -> Instance {
        let subject = Subject {
            rule: Name::parse("down"),
            device: Name::parse(device),
            severity: crds::Severity::Critical,
            labels: BTreeMap::new(),
            summary: "down".into(),
            last_change: None,
            behind: 0,
            lines: Vec::new(),
        };
        let timing = Timing { hold_for: SignedDuration::ZERO, keep_firing_for: SignedDuration::ZERO, no_data: crds::NoData::Keep };
        advance(&timing, None, &subject, &Verdict::of(Truth::True, None), &[], at(0)).instance.unwrap()
    }

    /// A group of which `old` was told that this alert fires, though the rule names another one by now.
    fn group(alert: &Instance, names: &str) -> Group {
        let routing = Routing {
            receivers: vec![Name::parse(names)],
            routes: Vec::new(),
            group_by: Vec::new(),
            wait: SignedDuration::ZERO,
            interval: SignedDuration::from_mins(5),
            repeat: SignedDuration::from_hours(48),
            escalate: Vec::new(),
        };
        let told = Told {
            thread: "t".into(),
            number: 1,
            at: at(0),
            firing: [(alert.id.clone(), Mention { at: at(0), said: alert.said() })].into(),
        };
        let mut group = Group::new("g".into(), &routing, &alert.subject, at(0));
        group.told.push((Route { level: 0, receiver: Name::parse("old") }, told));
        group
    }

    /// What `old` is told: why, and how many fire and are over.
    fn told(group: &Group, alerts: &[&Instance], is_program: bool, now: Timestamp) -> Option<(Reason, usize, usize)> {
        let hears = if is_program { Hears::Each } else { Hears::Groups };
        told_as(group, alerts, hears, now)
    }

    fn told_as(group: &Group, alerts: &[&Instance], hears: Hears, now: Timestamp) -> Option<(Reason, usize, usize)> {
        let (decided, _) = decide(group, alerts, true, |_| hears, now);
        let notice =
            decided.into_iter().filter(|decided| decided.route.receiver.name() == "old").flat_map(|decided| decided.notices).next()?;
        Some((notice.reason, notice.firing.len(), notice.resolved.len()))
    }

    #[test]
    fn who_is_named_no_more_hears_when_it_is_over_and_nothing_else() {
        let (known, later) = (alert("web-01"), alert("web-02"));
        let group = group(&known, "new");
        assert_eq!(told(&group, &[&known, &later], false, at(100)), None, "neither again nor of what came later");
        assert_eq!(told(&group, &[&later], false, at(1)), Some((Reason::AllResolved, 0, 1)));
    }

    /// When it is not suspended any more, the difference is said.
    #[test]
    fn who_is_suspended_hears_nothing_and_the_difference_afterwards() {
        let (known, later) = (alert("web-01"), alert("web-02"));
        let group = group(&known, "old");
        for alerts in [&[&known, &later][..], &[&later], &[]] {
            assert_eq!(told_as(&group, alerts, Hears::Nothing, at(100)), None);
        }
        let (_, why) = decide(&group, &[&known, &later], true, |_| Hears::Nothing, at(100));
        assert_eq!((why.len(), why[0].2.as_str()), (2, "not said: receiver/old is suspended"));
        assert_eq!(told_as(&group, &[&known, &later], Hears::Groups, at(100)), Some((Reason::NewAlerts, 2, 0)));
        assert_eq!(told_as(&group, &[], Hears::Groups, at(100)), Some((Reason::AllResolved, 0, 1)));
    }

    #[test]
    fn a_program_hears_again_of_what_still_fires_whoever_looks_after_it() {
        let mut known = alert("web-01");
        let group = group(&known, "old");
        known.acknowledged = Some(Acknowledged { by: "ada".into(), comment: String::new(), at: at(0), until: at(1000) });
        assert_eq!(told(&group, &[&known], false, at(100)), None);
        assert_eq!(told(&group, &[&known], true, at(11)), None);
        assert_eq!(told(&group, &[&known], true, at(12)), Some((Reason::Repeat, 1, 0)));
    }
}
