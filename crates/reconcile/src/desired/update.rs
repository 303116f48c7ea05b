//! Another commit: what changed is read again, and so is whatever has to do with it. Building everything is an update of nothing.
//!
//! ```text
//! objects ─► devices (classes merged) ─► circles, parents ─► Deployments (members) ─► claims, dependencies ─► selectors elsewhere
//! ```

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use crds::{Kind, Object};

use super::asked;
use super::check::{self, Findings};
use super::{Changed, Deployment, Desired, Device, Key, Map, Names, Part, build, login};
use crate::access::trial;
use crate::alerting::rule::{ALL_PATTERNS, Rule};
use crate::effective;
use crate::finding::Finding;
use crate::name::{Name, Target};
use crate::plan::Revision;

impl Desired {
    /// Fills in defaults, merges classes, resolves references and checks what no single object can show. An object with an
    /// error is left out; all others are in.
    pub fn build(objects: impl IntoIterator<Item = Arc<Object>>, revision: Revision) -> (Self, Vec<Finding>) {
        let key = |object: &Object| (object.kind(), Name::new(object.namespace(), object.name()));
        let all = objects.into_iter().map(|object| (key(&object), Some(object)));
        let (desired, _) = Self::default().update(all, revision);
        let findings = desired.findings();
        (desired, findings)
    }

    /// What is desired after some objects changed (`None`: are gone), and what that changed. It is the same as building from all
    /// objects, but for AlertRules that can't be used any more, and costs what the changed ones and those that have to do with them cost.
    pub fn update(&self, changes: impl IntoIterator<Item = (Key, Option<Arc<Object>>)>, revision: Revision) -> (Self, Changed) {
        let next = Self { revision, stalled: Default::default(), ..self.clone() };
        let mut update = Update { old: self, next, findings: Findings::default(), labels: HashSet::new() };
        let mut touched = BTreeSet::new();
        for (key, object) in changes {
            match object {
                Some(object) => update.next.objects.insert_mut(key.clone(), object),
                None => drop(update.next.objects.remove_mut(&key)),
            }
            touched.insert(key);
        }
        let devices = update.devices(&touched);
        let deployments = update.deployments(&touched, &devices);
        update.rules(&touched);
        update.others(&touched, &devices);
        (update.next, Changed { devices, deployments })
    }
}

struct Update<'a> {
    old: &'a Desired,
    next: Desired,
    findings: Findings,
    /// Those of the devices that were read.
    labels: HashSet<Arc<BTreeMap<String, String>>>,
}

impl Update<'_> {
    /// Devices: returns those that are otherwise than before.
    fn devices(&mut self, touched: &BTreeSet<Key>) -> BTreeSet<Name> {
        let mut own: BTreeSet<Name> = BTreeSet::new();
        for (kind, name) in touched {
            match kind {
                Kind::Device => drop(own.insert(name.clone())),
                Kind::DeviceClass => own.extend(self.old.index.class_users.get(name).into_iter().flatten().cloned()),
                _ => {}
            }
        }
        let mut again = own.clone();
        for name in &own {
            let known = self.read(name);
            if known != self.next.index.read.contains_key(name) {
                again.extend(self.next.index.referrers.get(name).into_iter().flatten().cloned());
            }
        }
        // A circle that is new goes through what changed; one that is gone had all of its devices left out.
        again.extend(own.iter().flat_map(|name| above(&self.next.index.read, name)));
        again.extend(self.old.index.circling.iter().cloned());
        again.retain(|name| self.judge(name));
        again
    }

    /// Reads a device anew, classes merged in, and links it to those that it names. Returns whether it was known before.
    fn read(&mut self, name: &Name) -> bool {
        let key = (Kind::Device, name.clone());
        let target = Target::Device(name.clone());
        if let Some(Object::Device(before)) = self.old.objects.get(&key).map(|object| &**object)
            && let Some(class) = &before.spec.class
        {
            unlink(&mut self.next.index.class_users, &name.sibling(class), name);
        }
        let before = self.next.index.read.get(name).cloned();
        self.labels.extend(before.iter().map(|before| before.labels.clone()));
        for other in before.iter().flat_map(|before| named(before)) {
            unlink(&mut self.next.index.referrers, other, name);
        }
        match self.next.objects.get(&key).cloned().as_deref() {
            Some(Object::Device(object)) => {
                if let Some(class) = &object.spec.class {
                    link(&mut self.next.index.class_users, &name.sibling(class), name);
                }
                let mut device = effective::device(&self.next, name, object, &mut self.findings);
                match self.labels.get(&device.labels) {
                    Some(same) => device.labels = same.clone(),
                    None => drop(self.labels.insert(device.labels.clone())),
                }
                for other in named(&device) {
                    link(&mut self.next.index.referrers, other, name);
                }
                self.next.index.read.insert_mut(name.clone(), Arc::new(device));
            }
            _ => drop(self.next.index.read.remove_mut(name)),
        }
        self.found(&target, Part::Own);
        before.is_some()
    }

    /// Checks a device against the others. Returns whether it is otherwise than before.
    fn judge(&mut self, name: &Name) -> bool {
        let read = self.next.index.read.get(name).cloned();
        let usable = read.clone().filter(|device| check::device(&self.next, device, &mut self.findings));
        self.found(&Target::Device(name.clone()), Part::Others);
        mark(&mut self.next.index.circling, name, read.is_some() && usable.is_none());
        replace(&mut self.next.devices, name, usable)
    }

    /// Deployments: returns those that are otherwise than before, or have to do with something that is.
    fn deployments(&mut self, touched: &BTreeSet<Key>, devices: &BTreeSet<Name>) -> BTreeSet<Name> {
        let own: BTreeSet<Name> = touched.iter().filter_map(unit_of).collect();
        let mut again = own.clone();
        again.extend(devices.iter().flat_map(|device| self.old.selected_by.get(device).into_iter().flatten()).cloned());
        again.extend(self.selecting(devices));
        if !devices.is_empty() {
            // Nobody is selected by what was left out, so these are not known by their devices.
            again.extend(self.old.index.left_out.iter().cloned());
        }
        let mut checked = again.clone();
        checked.extend(self.old.index.left_out.iter().cloned());
        for name in &again {
            self.build(name, devices, &mut checked);
        }
        for name in &again {
            checked.extend(self.next.index.dependents.get(name).into_iter().flatten().cloned());
            checked.extend(depended_on(&self.next.index.built, name));
        }
        for name in &checked {
            if self.settle(name) {
                again.insert(name.clone());
                again.extend(self.next.index.dependents.get(name).into_iter().flatten().cloned());
            }
        }
        again
    }

    /// Deployments and logins whose selector matches any of these devices now.
    fn selecting(&self, devices: &BTreeSet<Name>) -> Vec<Name> {
        if devices.is_empty() {
            return Vec::new();
        }
        let labels: Vec<_> =
            devices.iter().filter_map(|name| self.next.devices.get(name)).map(|device| (&device.name, &device.labels)).collect();
        let any = |name: &Name, selector: &crds::Selector| {
            labels.iter().any(|(device, labels)| device.namespace() == name.namespace() && selector.matches(labels))
        };
        let selects = |name: &Name, object: &Object| match object {
            Object::Deployment(object) => any(name, &object.spec.selector),
            Object::Role(object) => login::selectors(&object.spec).into_iter().any(|selector| any(name, selector)),
            _ => false,
        };
        let units = of_kind(&self.next, Kind::Deployment).chain(of_kind(&self.next, Kind::Role));
        let selecting = units.filter(|(name, object)| selects(name, object));
        selecting.filter_map(|(name, object)| unit_of(&(object.kind(), name.clone()))).collect()
    }

    /// Builds a Deployment anew; whoever claims the same things has to be checked again too.
    fn build(&mut self, name: &Name, devices: &BTreeSet<Name>, checked: &mut BTreeSet<Name>) {
        let target = Target::unit(name);
        let key = (target.kind(), target.name().clone());
        let before = self.next.index.built.get(name).cloned();
        let selects = |object: Option<&Arc<Object>>| match object.map(|object| &**object) {
            Some(Object::Deployment(object)) => (vec![object.spec.selector.clone()], String::new()),
            Some(Object::Role(object)) => {
                let user = login::of(&object.spec).map(|login| login.user.clone()).unwrap_or_default();
                (login::selectors(&object.spec).into_iter().cloned().collect(), user)
            }
            _ => (Vec::new(), String::new()),
        };
        let object = self.next.objects.get(&key).cloned();
        let same = selects(self.old.objects.get(&key)) == selects(object.as_ref());
        let known = before.as_deref().filter(|_| same).map(|before| (before, devices));
        let built = match object.as_deref() {
            Some(Object::Deployment(object)) => build::deployment(&self.next, name, &object.spec, known, &mut self.findings),
            Some(Object::Role(object)) => login::build(&self.next, name, &object.spec, known, &mut self.findings),
            _ => None,
        };
        let part = if name.role().is_some() { Part::Login } else { Part::Own };
        self.found(&target, part);
        for deployment in before.as_deref().into_iter().chain(&built) {
            for item in deployment.content.claims() {
                checked.extend(self.next.index.claims.get(&item).into_iter().flatten().cloned());
            }
        }
        let index = &mut self.next.index;
        if let Some(before) = &before {
            before.content.claims().for_each(|item| unlink(&mut index.claims, &item, name));
            before.depends_on.iter().for_each(|other| unlink(&mut index.dependents, other, name));
            checked.extend(index.dependents.get(name).into_iter().flatten().cloned());
            checked.extend(depended_on(&self.old.index.built, name));
        }
        match built {
            Some(built) => {
                built.content.claims().for_each(|item| link(&mut index.claims, &item, name));
                built.depends_on.iter().for_each(|other| link(&mut index.dependents, other, name));
                index.built.insert_mut(name.clone(), Arc::new(built));
            }
            None => drop(index.built.remove_mut(name)),
        }
    }

    /// Checks a Deployment against the others, and puts it in or leaves it out. Returns whether it is otherwise than before.
    fn settle(&mut self, name: &Name) -> bool {
        let built = self.next.index.built.get(name).cloned();
        let usable = built.filter(|deployment| check::deployment(&self.next, deployment, &mut self.findings));
        let part = if name.role().is_some() { Part::Accounts } else { Part::Others };
        self.found(&Target::unit(name), part);
        let is_written = self.next.is_written(name);
        mark(&mut self.next.index.left_out, name, is_written && usable.is_none());
        let before = self.old.deployments.get(name).cloned();
        if !replace(&mut self.next.deployments, name, usable) {
            return false;
        }
        let members = |deployment: Option<&Arc<Deployment>>| deployment.map(|deployment| deployment.members.clone()).unwrap_or_default();
        let (old, new) = (members(before.as_ref()), members(self.next.deployments.get(name)));
        for member in old.iter().filter(|member| new.binary_search(member).is_err()) {
            let mut units = self.next.selected_by.get(member).cloned().unwrap_or_default();
            units.retain(|unit| unit != name);
            match units.is_empty() {
                true => drop(self.next.selected_by.remove_mut(member)),
                false => self.next.selected_by.insert_mut(member.clone(), units),
            }
        }
        for member in new.iter().filter(|member| old.binary_search(member).is_err()) {
            let mut units = self.next.selected_by.get(member).cloned().unwrap_or_default();
            if let Err(at) = units.binary_search(name) {
                units.insert(at, name.clone());
                self.next.selected_by.insert_mut(member.clone(), units);
            }
        }
        true
    }

    /// AlertRules are read once, and depend on nothing else. One that can't be used as it is written now stays in force as it was: nobody
    /// would notice that nothing is watched any more.
    fn rules(&mut self, touched: &BTreeSet<Key>) {
        let mut others = false;
        for (_, name) in touched.iter().filter(|(kind, _)| *kind == Kind::AlertRule) {
            let object = self.next.objects.get(&(Kind::AlertRule, name.clone())).cloned();
            let rule = match object.as_deref() {
                Some(Object::AlertRule(object)) => {
                    let read = Rule::new(name, &object.spec, &mut self.findings).map(Arc::new);
                    read.or_else(|| self.old.rules.get(name).cloned())
                }
                _ => None,
            };
            self.found(&Target::Object(Kind::AlertRule, name.clone()), Part::Own);
            let asked = |rule: Option<&Arc<Rule>>| rule.map(|rule| rule.patterns()).unwrap_or_default();
            others |= asked(self.next.rules.get(name)) != asked(rule.as_ref());
            replace(&mut self.next.rules, name, rule);
        }
        if others {
            self.patterns(touched);
        }
    }

    /// All rules together may ask for so many patterns: those that come first by name have them.
    fn patterns(&mut self, touched: &BTreeSet<Key>) {
        let kept = self.next.log_patterns();
        let of = |(name, rule): (&Name, &Arc<Rule>)| (name.clone(), rule.patterns());
        let gone = touched.iter().filter(|(kind, _)| *kind == Kind::AlertRule).map(|(_, name)| (name.clone(), BTreeSet::new()));
        let rules: BTreeMap<Name, BTreeSet<String>> = gone.chain(self.next.rules.iter().map(of)).collect();
        for (name, patterns) in rules {
            let target = Target::Object(Kind::AlertRule, name);
            let left_out: Vec<&String> = patterns.iter().filter(|pattern| !kept.contains(*pattern)).collect();
            if let Some(first) = left_out.first() {
                let message = format!(
                    "all rules together ask for more than {ALL_PATTERNS} patterns of log lines: `{first}` and what else is new in it is not looked for"
                );
                self.findings.warn(&target, "alert-patterns", "spec.expr", message, "join patterns by `|`, or take a rule away");
            }
            self.found(&target, Part::Patterns);
        }
    }

    /// References of AlertRules, Roles and Silences.
    fn others(&mut self, touched: &BTreeSet<Key>, devices: &BTreeSet<Name>) {
        for key in touched.iter().filter(|(kind, _)| matches!(kind, Kind::AlertRule | Kind::Role | Kind::Silence)) {
            if !self.next.objects.contains_key(key) {
                let places: Vec<_> = self
                    .next
                    .index
                    .witnesses
                    .range((key.clone(), String::new())..)
                    .map(|(place, _)| place.clone())
                    .take_while(|(of, _)| of == key)
                    .collect();
                for place in &places {
                    self.next.index.witnesses.remove_mut(place);
                }
                self.found(&Target::Object(key.0, key.1.clone()), Part::Others);
                self.found(&Target::Object(key.0, key.1.clone()), Part::Tests);
            }
        }
        for key in touched.iter().filter(|(kind, _)| *kind == Kind::Receiver) {
            self.found(&Target::Object(key.0, key.1.clone()), Part::Others);
        }
        let named = touched.iter().any(|(kind, _)| matches!(kind, Kind::Receiver | Kind::Deployment | Kind::AlertRule));
        let rules = touched.iter().any(|(kind, _)| *kind == Kind::AlertRule);
        let receivers = touched.iter().any(|(kind, _)| *kind == Kind::Receiver);
        // Each may name each: there are few.
        let all = of_kind(&self.next, Kind::Receiver).filter(|_| receivers);
        for (name, object) in all.map(|(name, object)| (name.clone(), object.clone())).collect::<Vec<_>>() {
            check::receiver(&self.next, &name, &object, &mut self.findings);
            self.found(&Target::Object(Kind::Receiver, name), Part::Others);
        }
        for kind in [Kind::AlertRule, Kind::Role, Kind::Silence] {
            let objects: Vec<(Name, Arc<Object>)> =
                of_kind(&self.next, kind).map(|(name, object)| (name.clone(), object.clone())).collect();
            for (name, object) in objects {
                let key = (kind, name);
                // What a Silence asks depends on what rules give.
                let own = touched.contains(&key) || (kind == Kind::Silence && rules);
                if own || named || !devices.is_empty() {
                    self.other(&key, &object, own, devices);
                }
            }
        }
        self.role_tests(touched, devices);
    }

    /// What a Role's tests come to depends on all Roles of its namespace, and on the devices that they name.
    fn role_tests(&mut self, touched: &BTreeSet<Key>, devices: &BTreeSet<Name>) {
        let places: BTreeSet<&str> = touched.iter().filter(|(kind, _)| *kind == Kind::Role).map(|(_, name)| name.namespace()).collect();
        if places.is_empty() && devices.is_empty() {
            return;
        }
        let roles: Vec<(Name, Arc<Object>)> =
            of_kind(&self.next, Kind::Role).map(|(name, object)| (name.clone(), object.clone())).collect();
        for (name, object) in roles {
            let Object::Role(role) = &*object else { continue };
            if places.contains(name.namespace()) || trial::named(&name, role).iter().any(|device| devices.contains(device)) {
                trial::check(&self.next, &name, role, &mut self.findings);
                self.found(&Target::Object(Kind::Role, name), Part::Tests);
            }
        }
    }

    fn other(&mut self, key: &Key, object: &Object, own: bool, devices: &BTreeSet<Name>) {
        let target = Target::Object(key.0, key.1.clone());
        check::receivers(&self.next, key, object, &mut self.findings);
        if key.0 == Kind::AlertRule {
            check::named_deployments(&self.next, &key.1, &mut self.findings);
        }
        if key.0 == Kind::AlertRule {
            check::inhibitors(&self.next, &key.1, object, &mut self.findings);
        }
        self.asked(&target, key, object, own, devices);
        self.found(&target, Part::Others);
    }

    /// Of what an object asks some device should have each. A witness is remembered, so that not all are asked each time.
    fn asked(&mut self, target: &Target, key: &Key, object: &Object, own: bool, devices: &BTreeSet<Name>) {
        // What is asked refers to what is desired, of which only witnesses and findings change here.
        let next = self.next.clone();
        let mut places = BTreeSet::new();
        for asked in asked::of(&next, &key.1, object) {
            let place = (key.clone(), format!("{} {}", asked.path, asked.what));
            let has = |name: &Name| next.devices.get(name).is_some_and(|device| (asked.has)(device));
            let known = next.index.witnesses.get(&place).filter(|name| !own && has(name)).cloned();
            // Where none had it before, only a device that changed can; where one did and does no more, any other may.
            let had = !own && next.index.witnesses.contains_key(&place);
            let witness = known.or_else(|| match own || had {
                true => next.devices.keys().find(|name| has(name)).cloned(),
                false => devices.iter().find(|name| has(name)).cloned(),
            });
            match witness {
                Some(witness) => {
                    self.next.index.witnesses.insert_mut(place.clone(), witness);
                    places.insert(place);
                }
                None => {
                    if !asked.message.is_empty() {
                        let help = asked.help.text(&next, key.1.namespace());
                        self.findings.warn(target, asked.code, &asked.path, asked.message, help);
                    }
                    if asked.is_first {
                        break;
                    }
                }
            }
        }
        let all = self.next.index.witnesses.range((key.clone(), String::new())..).map(|(place, _)| place);
        let gone: Vec<_> = all.take_while(|(of, _)| of == key).filter(|place| !places.contains(place)).cloned().collect();
        for place in &gone {
            self.next.index.witnesses.remove_mut(place);
        }
    }

    /// What was found just now is what is wrong with the object, of this sort.
    fn found(&mut self, target: &Target, part: Part) {
        let found = self.findings.take();
        let key = (target.clone(), part);
        match found.is_empty() {
            true => drop(self.next.index.findings.remove_mut(&key)),
            false => self.next.index.findings.insert_mut(key, Arc::new(found)),
        }
    }
}

/// The unit of rollout that an object asks for, if its kind does.
fn unit_of((kind, name): &Key) -> Option<Name> {
    match kind {
        Kind::Deployment => Some(name.clone()),
        Kind::Role => Some(name.login()),
        _ => None,
    }
}

/// The objects of a kind.
fn of_kind(desired: &Desired, kind: Kind) -> impl Iterator<Item = (&Name, &Arc<Object>)> {
    let from = (kind, Name::new("", ""));
    desired.objects.range(from..).take_while(move |((of, _), _)| *of == kind).map(|((_, name), object)| (name, object))
}

/// The devices that a device names.
fn named(device: &Device) -> impl Iterator<Item = &Name> {
    device.parents.iter().chain(check::jump_host(device))
}

/// Every device on the way up from this one.
fn above(read: &Map<Name, Arc<Device>>, name: &Name) -> BTreeSet<Name> {
    reach(name, |name| read.get(name).map(|device| named(device).cloned().collect()).unwrap_or_default())
}

/// Every Deployment that this one depends on, near or far.
fn depended_on(built: &Map<Name, Arc<Deployment>>, name: &Name) -> BTreeSet<Name> {
    reach(name, |name| built.get(name).map(|deployment| deployment.depends_on.clone()).unwrap_or_default())
}

fn reach(start: &Name, next: impl Fn(&Name) -> Vec<Name>) -> BTreeSet<Name> {
    let mut seen = BTreeSet::new();
    let mut ways = next(start);
    while let Some(name) = ways.pop() {
        if seen.insert(name.clone()) {
            ways.extend(next(&name));
        }
    }
    seen
}

/// Puts a value in, or takes it out; one that is as it was stays. Returns whether that changed anything.
fn replace<T: PartialEq>(map: &mut Map<Name, Arc<T>>, name: &Name, value: Option<Arc<T>>) -> bool {
    match value {
        None => map.remove_mut(name),
        Some(value) if map.get(name).is_some_and(|old| Arc::ptr_eq(old, &value) || **old == *value) => false,
        Some(value) => {
            map.insert_mut(name.clone(), value);
            true
        }
    }
}

fn mark(names: &mut Names, name: &Name, is_one: bool) {
    match is_one {
        true => names.insert_mut(name.clone()),
        false => drop(names.remove_mut(name)),
    }
}

fn link<K: Ord + Clone>(map: &mut Map<K, Names>, key: &K, name: &Name) {
    let mut names = map.get(key).cloned().unwrap_or_default();
    names.insert_mut(name.clone());
    map.insert_mut(key.clone(), names);
}

fn unlink<K: Ord + Clone>(map: &mut Map<K, Names>, key: &K, name: &Name) {
    let Some(mut names) = map.get(key).cloned() else { return };
    names.remove_mut(name);
    match names.is_empty() {
        true => drop(map.remove_mut(key)),
        false => map.insert_mut(key.clone(), names),
    }
}
