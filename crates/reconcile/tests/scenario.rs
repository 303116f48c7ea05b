//! One file per scenario: a fleet as Git has it, and then a story: what is seen, what time it is, and how steps end. What comes
//! out is what people would read: plans, and the status at the end. The stories are in `scenarios/*.yaml`, what comes out of them
//! in `scenarios/*.txt`; `UPDATE=1 cargo test -p reconcile` writes the latter anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use crds::{Kind, Object};
use jiff::{SignedDuration, Timestamp};
use reconcile::command::{self, Command};
use reconcile::rollout::WayBackSeen;
use reconcile::{
    Contact, Content, Desired, DeviceSeen, ItemKey, ItemSeen, Name, Observed, Outcome, Plan, ProbeSeen, ProbeState, Revision, Step,
    Verdict, plan, report,
};
use serde::Deserialize;
use serde_json::Value;

/// A story.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Story {
    /// What it shows, for whoever reads it.
    #[allow(dead_code)]
    story: String,
    /// Objects, as in Git, without what every object has.
    given: Vec<Value>,
    /// What happens.
    then: Vec<Event>,
}

/// One thing that happens, and one letter of state for it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Event {
    /// Every device is looked at, with what the story has put on it.
    Look,
    /// Time passes.
    Wait(crds::Duration),
    /// Plans, shows the plan, and does it: every step ends well unless `outcomes` says otherwise.
    Pass,
    /// Passes and looks until nothing is to be done, without showing the plans.
    Settle,
    /// Git changes: these objects replace those of the same name.
    Commit(Vec<Value>),
    /// Git changes: these are deleted.
    Delete(Vec<String>),
    /// Devices can't be reached from now on.
    Away(Vec<String>),
    /// They can again.
    Back(Vec<String>),
    /// Something on a device changes by itself.
    Drift { device: String, item: String, version: String },
    /// The next steps with this verb on this device end like that: `fail: words`, `refuse: words`, `no way back: words`, `hang`.
    Outcome { device: String, verb: String, ends: String },
    /// Probes of a device answer like that from now on.
    Probe { device: String, state: ProbeState },
    /// A unit's state from now on.
    Unit { device: String, state: String },
    /// A person asks for something.
    Command { deployment: String, command: Command },
    /// The engine is killed and started again: only what is stored stays.
    Restart,
}

struct World {
    objects: BTreeMap<(Kind, Name), Arc<Object>>,
    commits: u32,
    desired: Desired,
    observed: Observed,
    now: Timestamp,
    /// What is on each device.
    items: BTreeMap<Name, BTreeMap<ItemKey, ItemSeen>>,
    /// What was there before the step that saved it.
    saved: BTreeMap<String, BTreeMap<ItemKey, ItemSeen>>,
    away: BTreeMap<Name, Timestamp>,
    probes: BTreeMap<Name, ProbeState>,
    units: BTreeMap<Name, String>,
    outcomes: BTreeMap<(Name, String), String>,
    last: Option<Plan>,
    text: String,
}

impl World {
    fn new(given: &[Value]) -> Self {
        let mut world = Self {
            objects: BTreeMap::new(),
            commits: 0,
            desired: Desired::default(),
            observed: Observed::default(),
            now: "2026-11-24T12:00:00Z".parse().unwrap(),
            items: BTreeMap::new(),
            saved: BTreeMap::new(),
            away: BTreeMap::new(),
            probes: BTreeMap::new(),
            units: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            last: None,
            text: String::new(),
        };
        world.commit(given);
        world
    }

    fn commit(&mut self, changed: &[Value]) {
        for value in changed {
            let mut value = value.clone();
            value["apiVersion"] = "evenkeel.dev/v1alpha1".into();
            let kind = Kind::parse(value["kind"].as_str().expect("kind")).expect("a kind");
            let violations = crds::validate_cel(kind, &value);
            assert!(violations.is_empty(), "{violations:?}");
            let object = Object::from_value(kind, value).unwrap_or_else(|error| panic!("{error}"));
            self.objects.insert((kind, Name::new(object.namespace(), object.name())), Arc::new(object));
        }
        self.build();
    }

    fn build(&mut self) {
        self.commits += 1;
        let revision = Revision { reference: "main".into(), commit: format!("{:010}", self.commits), author: "ann".into(), signer: None };
        let (desired, findings) = Desired::build(self.objects.values().cloned(), revision);
        for finding in findings {
            let _ = writeln!(self.text, "{:?} {} {} {}: {}", finding.severity, finding.code, finding.object, finding.path, finding.message);
        }
        self.desired = desired;
    }

    fn look(&mut self) {
        self.now = self.now.saturating_add(SignedDuration::from_secs(1)).unwrap();
        for device in self.desired.devices.values() {
            let name = &device.name;
            let mut seen = self.observed.devices.get(name).map(|seen| (**seen).clone()).unwrap_or_default();
            if let Some(since) = self.away.get(name) {
                seen.contact = Contact::Unreachable { since: *since, reason: "no answer".into() };
                self.observed.devices.insert(name.clone(), Arc::new(seen));
                continue;
            }
            seen.contact = Contact::Known;
            seen.seen_at = Some(self.now);
            seen.boot_id = seen.boot_id.clone();
            let units = self.desired.selected_by.get(name).into_iter().flatten();
            let wanted: Vec<ItemKey> =
                units.flat_map(|unit| self.desired.deployments[unit].content_for(name).0.items().collect::<Vec<_>>()).collect();
            for key in wanted {
                let found = self.items.get(name).and_then(|items| items.get(&key)).cloned().unwrap_or(ItemSeen::Absent);
                let found = match (key.split().0, self.units.get(name)) {
                    ("unit", Some(state)) => ItemSeen::Unit { active: state.starts_with("active"), state: state.clone() },
                    ("unit", None) => ItemSeen::Unit { active: true, state: "active/running".into() },
                    _ => found,
                };
                seen.items.insert(key, found);
            }
            let state = self.probes.get(name).copied().unwrap_or(ProbeState::Ok);
            for probe in &device.probes {
                let old = seen.probes.get(&probe.name).cloned().unwrap_or_default();
                let since = if old.state == state { old.since } else { Some(self.now) };
                let last_ok = if state == ProbeState::Ok { Some(self.now) } else { old.last_ok };
                let reason = if state == ProbeState::Fail { "status 500".to_owned() } else { String::new() };
                seen.probes.insert(probe.name.clone(), ProbeSeen { state, since, seen_at: Some(self.now), last_ok, reason });
            }
            self.observed.devices.insert(name.clone(), Arc::new(seen));
        }
    }

    fn pass(&mut self, show: bool) -> usize {
        let plan = plan(&self.desired, &self.observed, self.now);
        assert_eq!(plan, reconcile::plan(&self.desired, &self.observed, self.now), "the same input gives the same plan");
        reconcile::record::check(&plan, &self.observed).unwrap_or_else(|error| panic!("{error}\n{plan}"));
        if show {
            let _ = writeln!(self.text, "--- {} pass\n{plan}", self.now.strftime("%H:%M:%S"));
        }
        self.act(&plan);
        let steps = plan.steps.len();
        self.last = Some(plan);
        steps
    }

    fn act(&mut self, plan: &Plan) {
        let steps = plan.steps.clone();
        for step in &steps {
            let rollout = Arc::make_mut(self.observed.rollouts.entry(step.unit.name().clone()).or_default());
            match &step.action {
                reconcile::Action::Rollout(change) => rollout.apply(change, self.now),
                _ => rollout.begin(step, self.now),
            }
        }
        for step in steps.iter().filter(|step| step.action.work().is_some()) {
            if let Some(outcome) = self.outcome(step) {
                Arc::make_mut(self.observed.rollouts.get_mut(step.unit.name()).unwrap()).settle(step, &outcome);
            }
        }
    }

    /// What comes of a step, and what it leaves on the device.
    fn outcome(&mut self, step: &Step) -> Option<Outcome> {
        use reconcile::Action::{Apply, Prepare, Reboot, Remove, Restore};
        let device = step.target.name().clone();
        let ends = self.outcomes.remove(&(device.clone(), step.action.word().to_owned())).unwrap_or_default();
        let work = step.action.work().expect("a device's step");
        let (how, words) = ends.split_once(": ").unwrap_or((&ends, ""));
        let mut outcome = Outcome::done(self.now, "");
        outcome.way_back = WayBackSeen::Proven;
        match how {
            "hang" => return None,
            "refuse" => return Some(Outcome::refused(self.now, words)),
            "no way back" => outcome.way_back = WayBackSeen::Missing(words.into()),
            "fail" => outcome = Outcome { verdict: Verdict::Failed, message: words.into(), ..outcome },
            _ => {}
        }
        let items = self.items.entry(device).or_default();
        match &step.action {
            Apply(_) => {
                self.saved.entry(step.id.to_string()).or_insert_with(|| items.clone());
                put(&work.content, items);
                if work.content.reboot == reconcile::Reboot::Always {
                    outcome.reboot_from = Some("boot-1".into());
                }
            }
            Restore { undo, .. } if outcome.verdict == Verdict::Done => {
                *items = self.saved.get(&undo.to_string()).cloned().unwrap_or_default()
            }
            Remove(_) => work.content.items().for_each(|key| drop(items.remove(&key))),
            Prepare(_) | Reboot { .. } | Restore { .. } | reconcile::Action::Rollout(_) | reconcile::Action::Admit { .. } => {}
        }
        Some(outcome)
    }

    fn settle(&mut self) {
        for _ in 0..400 {
            self.look();
            if self.pass(false) == 0 {
                let Some(at) = self.last.as_ref().and_then(|plan| plan.look_again) else { return };
                // Only what is on its way is waited for; a window or a backoff of an hour is not.
                if at.duration_since(self.now) > SignedDuration::from_mins(15) {
                    return;
                }
                self.now = self.now.max(at);
            }
        }
        panic!("it does not come to rest:\n{}", self.last.as_ref().unwrap());
    }

    fn happen(&mut self, event: &Event) {
        let names = |names: &[String]| names.iter().map(|name| Name::parse(name)).collect::<Vec<_>>();
        match event {
            Event::Look => self.look(),
            Event::Wait(time) => self.now = self.now.saturating_add(time.0).unwrap(),
            Event::Pass => drop(self.pass(true)),
            Event::Settle => self.settle(),
            Event::Commit(changed) => self.commit(changed),
            Event::Delete(gone) => {
                self.objects.retain(|(_, name), _| !gone.contains(&name.to_string()));
                self.build();
            }
            Event::Away(devices) => names(devices).into_iter().for_each(|name| drop(self.away.insert(name, self.now))),
            Event::Back(devices) => names(devices).iter().for_each(|name| drop(self.away.remove(name))),
            Event::Drift { device, item, version } => {
                let seen = ItemSeen::Package { version: version.clone(), held: false, broken: false };
                self.items.entry(Name::parse(device)).or_default().insert(ItemKey(item.clone()), seen);
            }
            Event::Outcome { device, verb, ends } => drop(self.outcomes.insert((Name::parse(device), verb.clone()), ends.clone())),
            Event::Probe { device, state } => drop(self.probes.insert(Name::parse(device), *state)),
            Event::Unit { device, state } => drop(self.units.insert(Name::parse(device), state.clone())),
            Event::Command { deployment, command } => self.command(&Name::parse(deployment), command),
            Event::Restart => {
                // What is stored comes back from what was written; what was seen is gone.
                let stored = serde_json::to_string(&self.observed.rollouts).unwrap();
                self.observed = Observed { rollouts: serde_json::from_str(&stored).unwrap(), ..Observed::default() };
            }
        }
    }

    fn command(&mut self, unit: &Name, command: &Command) {
        let waiting = self.last.as_ref().map(|plan| plan.deferred.clone()).unwrap_or_default();
        let command = match command {
            // The story can't know the id: it agrees to what waits.
            Command::Approve { id } if id == "what waits" => Command::Approve {
                id: waiting
                    .iter()
                    .find_map(|deferred| match &deferred.waiting_on {
                        reconcile::WaitingOn::Approval { id } => Some(id.clone()),
                        _ => None,
                    })
                    .unwrap_or_default(),
            },
            other => other.clone(),
        };
        match command::plan(&self.desired, &self.observed, unit, &command, "bob", &waiting) {
            Ok(plan) => {
                let _ = writeln!(self.text, "--- {} bob\n{plan}", self.now.strftime("%H:%M:%S"));
                self.act(&plan);
            }
            Err(error) => {
                let _ = writeln!(self.text, "--- {} bob\nrefused: {error}\n", self.now.strftime("%H:%M:%S"));
            }
        }
    }

    fn end(&mut self) {
        let deferred = plan(&self.desired, &self.observed, self.now).deferred;
        for name in self.desired.deployments.keys() {
            let status = report::deployment(&self.desired, &self.observed, &deferred, name);
            let counts: Vec<String> =
                status.counts.iter().filter(|(_, count)| **count > 0).map(|(key, count)| format!("{count} {key}")).collect();
            let _ = writeln!(
                self.text,
                "=== deployment/{name} {} revision {}: {}",
                status.phase,
                status.revision.unwrap_or(0),
                counts.join(", ")
            );
            for revision in status.history {
                let _ =
                    writeln!(self.text, "    revision {} {} {} {}", revision.revision, revision.version, revision.result, revision.reason);
            }
            if !status.waiting_on.is_empty() {
                let _ = writeln!(self.text, "    waits on {}", status.waiting_on);
            }
        }
        for name in self.desired.devices.keys() {
            let status = report::device(&self.desired, &self.observed, name);
            let has: Vec<String> = status.packages.iter().map(|package| format!("{} {}", package.name, package.version)).collect();
            let _ = writeln!(self.text, "=== device/{name} {} {}: {}", status.health, status.update, has.join(", "));
        }
    }
}

fn put(content: &Content, items: &mut BTreeMap<ItemKey, ItemSeen>) {
    for package in &content.packages {
        let seen = match package {
            reconcile::Package::Apt(apt) => ItemSeen::Package { version: apt.version.clone(), held: apt.hold, broken: false },
            reconcile::Package::Archive(archive) => ItemSeen::Archive { sha256: archive.sha256.clone() },
        };
        items.insert(package.key(), seen);
    }
    for file in &content.files {
        let sha256 = file.source.sha256().unwrap_or_default();
        items.insert(
            ItemKey::file(&file.path),
            ItemSeen::File { sha256, mode: file.mode.clone(), owner: file.owner.clone(), group: file.group.clone() },
        );
    }
}

#[test]
fn stories() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut paths: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|suffix| suffix == "yaml"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    let mut stale = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let story: Story = serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let told = std::panic::catch_unwind(|| {
            let mut world = World::new(&story.given);
            for event in &story.then {
                world.happen(event);
            }
            world.end();
            world.text
        });
        let told = told.unwrap_or_else(|_| panic!("{}", path.display()));
        let beside = path.with_extension("txt");
        if std::env::var("UPDATE").is_ok() {
            std::fs::write(&beside, &told).unwrap();
        } else if std::fs::read_to_string(&beside).unwrap_or_default() != told {
            stale.push(format!("{} comes out otherwise:\n{told}", path.file_stem().unwrap().to_string_lossy()));
        }
    }
    assert!(stale.is_empty(), "{}\nlook at each; if it is meant, UPDATE=1 cargo test -p reconcile writes them anew", stale.join("\n\n"));
}
