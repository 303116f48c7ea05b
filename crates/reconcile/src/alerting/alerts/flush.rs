//! Looking at groups when it is time: what is to be said goes out, bounded by how much one receiver is told.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crds::{Kind, Object};
use jiff::Timestamp;

use super::{Alerts, Around, Key};
use crate::alerting::groups::{Decided, Group, Hears, decide};
use crate::alerting::notice::Notice;
use crate::alerting::receiver::groups_by_itself;
use crate::alerting::state::Instance;
use crate::desired::Desired;
use crate::name::Name;

impl Alerts {
    pub(super) fn flush(&mut self, around: Around<'_>, now: Timestamp) {
        let mut due: Vec<String> = Vec::new();
        // What is taken is due then, or later.
        for key in self.due.take(now) {
            let Some(group) = self.groups.get(&key) else { continue };
            let exactly = self.due_at(group, self.instances.members(&key));
            match self.held_until(group).filter(|until| *until > now) {
                _ if exactly > now => self.due.set(&key, exactly),
                Some(until) => self.due.set(&key, until),
                None => due.push(key),
            }
        }
        let mut said: BTreeMap<Name, Vec<Decided>> = BTreeMap::new();
        for key in due {
            let members = self.instances.members(&key).cloned().unwrap_or_default();
            for (name, decided) in self.look_at(around, &key, &members, now) {
                said.entry(name).or_default().push(decided);
            }
            if let Some(group) = self.groups.get(&key) {
                let next = self.due_at(group, self.instances.members(&key));
                self.due.set(&key, next);
            }
        }
        for (receiver, decided) in said {
            self.say(around.desired, &receiver, decided, now);
        }
    }

    /// When a group is looked at next.
    pub(super) fn due_at(&self, group: &Group, members: Option<&BTreeSet<Key>>) -> Timestamp {
        group.look_again(members.into_iter().flatten().filter_map(|key| self.instances.get(key)))
    }

    /// While a receiver is told summaries, groups that are for it wait for the next one.
    pub(super) fn held_until(&self, group: &Group) -> Option<Timestamp> {
        let paces = group.routing.routes().filter_map(|(route, _)| self.paces.get(&route.receiver));
        // Measured from when the group would be looked at.
        paces.filter_map(|pace| pace.waits_until(group.next_at)).max()
    }

    fn look_at(&mut self, around: Around<'_>, key: &str, members: &BTreeSet<Key>, now: Timestamp) -> Vec<(Name, Decided)> {
        for member in members {
            self.suppress_anew(around, member, now);
        }
        let Some(group) = self.groups.get_mut(key) else { return Vec::new() };
        let before = group.clone();
        if let Some(routing) = around.desired.rules.get(&group.rule).and_then(|rule| rule.routing.as_ref()) {
            group.routing.clone_from(routing);
        }
        let routes: BTreeSet<_> = group.routing.routes().map(|(route, _)| route).collect();
        let mut first = routes.iter().filter(|route| route.level == 0).peekable();
        group.is_mute = first.peek().is_some() && first.all(|route| hears(around.desired, &route.receiver) == Hears::Nothing);
        // Who is told no more by the rule is only told when what they believe to fire is over.
        let is_there = |receiver: &Name| around.desired.objects.contains_key(&(Kind::Receiver, receiver.clone()));
        group.told.retain(|(route, told)| routes.contains(route) || (!told.firing.is_empty() && is_there(&route.receiver)));
        let is_look = group.next_at <= now;
        let alerts: Vec<&Instance> = members.iter().filter_map(|member| self.instances.get(member)).collect();
        // When it was over is known now, and not when its hours begin.
        for alert in alerts.iter().filter(|alert| alert.resolved_at.is_some()) {
            let mentions = group.told.iter_mut().filter_map(|(_, told)| told.firing.get_mut(&alert.id));
            mentions.for_each(|mention| mention.said.ended = alert.resolved_at);
        }
        let (decided, why) = decide(group, &alerts, is_look, |receiver| hears(around.desired, receiver), now);
        if is_look {
            group.tick(now);
        }
        for next in &decided {
            match group.told.iter_mut().find(|(route, _)| *route == next.route) {
                Some((_, told)) => *told = next.told.clone(),
                None => group.told.push((next.route.clone(), next.told.clone())),
            }
        }
        let is_over = is_look && !group.is_owed() && !alerts.iter().any(|alert| alert.counts_as_firing());
        let changed = (&group.told, &group.routing, group.is_mute) != (&before.told, &before.routing, before.is_mute);
        if is_over {
            self.groups.remove(key);
            self.due.remove(&key.to_owned());
            self.changes.groups.insert(key.to_owned(), None);
        } else if changed {
            self.changes.groups.insert(key.to_owned(), Some(group.clone()));
        }
        self.explain(members, why, now);
        decided.into_iter().map(|decided| (decided.route.receiver.clone(), decided)).collect()
    }

    fn suppress_anew(&mut self, around: Around<'_>, key: &Key, now: Timestamp) {
        let (rule, device) = (around.desired.rules.get(&key.0), around.desired.devices.get(&key.1));
        let (Some(rule), Some(device), Some(instance)) = (rule, device, self.instances.get(key)) else { return };
        let labels = &instance.subject.labels;
        let (by, _) = self.suppressed(around, rule, device, labels, now);
        let verdict = self.verdicts.get(key).cloned();
        if let (true, Some(verdict)) = (by != instance.suppressed, verdict) {
            self.look(around, rule, device, &verdict, now);
        }
    }

    fn explain(&mut self, members: &BTreeSet<Key>, why: Vec<(String, Name, String)>, now: Timestamp) {
        let id = |key: &Key| self.instances.get(key).map(|instance| instance.id.clone());
        let by_id: HashMap<String, &Key> = members.iter().filter_map(|key| Some((id(key)?, key))).collect();
        for (id, receiver, text) in why {
            let Some(key) = by_id.get(&id).copied() else { continue };
            let decided = self.instances.update(key, |instance| {
                let before = (instance.decisions.len(), instance.decisions.last().cloned());
                instance.decided(&receiver.to_string(), text, now);
                before != (instance.decisions.len(), instance.decisions.last().cloned())
            });
            if decided == Some(true) {
                self.changes.instances.insert(key.clone(), self.instances.get(key).cloned());
            }
        }
    }

    fn say(&mut self, desired: &Desired, receiver: &Name, decided: Vec<Decided>, now: Timestamp) {
        let notices: Vec<Notice> = decided.into_iter().flat_map(|decided| decided.notices).collect();
        if hears(desired, receiver) == Hears::Each {
            self.changes.notices.extend(notices);
            return;
        }
        let pace = self.paces.entry(receiver.clone()).or_default();
        self.changes.notices.extend(pace.put(notices, now));
    }
}

/// What a receiver hears, as it is written now.
fn hears(desired: &Desired, receiver: &Name) -> Hears {
    match desired.objects.get(&(Kind::Receiver, receiver.clone())).map(|object| &**object) {
        Some(Object::Receiver(receiver)) if receiver.spec.suspend == Some(true) => Hears::Nothing,
        Some(Object::Receiver(receiver)) if groups_by_itself(&receiver.spec) => Hears::Each,
        _ => Hears::Groups,
    }
}
