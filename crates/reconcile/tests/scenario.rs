//! One file per scenario: a fleet as Git has it, and then a story: what is seen, what time it is, and how steps end. What comes
//! out is what people would read: plans, and the status at the end. The stories are in `scenarios/*.yaml`, what comes out of them
//! in `scenarios/*.txt`; `UPDATE=1 cargo test -p reconcile` writes the latter anew.

// The core reads no files and no environment; its stories do.
#![allow(clippy::disallowed_methods)]

mod world;

use std::fmt::Write as _;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use reconcile::command::{self, Command};
use reconcile::{AlertSeen, ItemKey, ItemSeen, Name, Outcome, Plan, ProbeState, Step, Target, Verdict, WaitingOn, report};
use serde::Deserialize;
use serde_json::Value;

use world::World;
use world::given::Objects;
use world::machine::Machine;

/// A story.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Story {
    /// What it shows, for whoever reads it.
    story: String,
    /// Objects, as in Git.
    given: Objects,
    /// What happens.
    then: Vec<Event>,
}

/// One thing that happens.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Event {
    /// Every device is looked at.
    Look,
    /// Only these are.
    See(Vec<String>),
    /// Time passes.
    Wait(crds::Duration),
    /// Plans, shows the plan, and does it.
    Pass,
    /// Shows how devices and Deployments are by now.
    Status,
    /// Looks and passes until nothing is to be done, and shows each step in a line.
    Watch,
    /// The same, but for so long at most.
    WatchFor(crds::Duration),
    /// The same as `watch`, without showing it.
    Settle,
    /// Git changes: these objects, or these fields of them.
    Commit(Objects),
    /// Git changes: these are deleted, such as `device/web-01`.
    Delete(Vec<String>),
    /// Git changes: one object is deleted, and others are written in the same commit.
    Rename { from: String, to: Objects },
    /// Devices can't be reached from now on.
    Away(Vec<String>),
    /// They can again.
    Back(Vec<String>),
    /// Somebody changes a package on a device by hand; no version: takes it off.
    Drift { device: String, item: String, version: Option<String> },
    /// The next steps with this verb on these devices end like that: `fail: words`, `refuse: words`, `no way back: words`, `hang`.
    Ends {
        devices: Vec<String>,
        verb: String,
        how: String,
        #[serde(default = "one")]
        times: usize,
    },
    /// What hangs on these devices comes to an end after all.
    Unhang(Vec<String>),
    /// A version breaks something wherever it is: `unit`, `probe` or `hidden`.
    Breaks { version: String, what: String },
    /// A device's probes answer like that from now on; null: as its packages make it.
    Probe { devices: Vec<String>, state: Option<ProbeState> },
    /// The probes of these devices are not run any more, though the devices are looked at.
    ProbesRest(Vec<String>),
    /// They are again.
    ProbesRun(Vec<String>),
    /// An alert begins to fire on a device, or is over.
    Alert {
        device: String,
        rule: String,
        severity: crds::Severity,
        #[serde(default)]
        over: bool,
    },
    /// The state of a device's units from now on; null: as its packages make it.
    Unit { devices: Vec<String>, state: Option<String> },
    /// A device says that it needs a reboot.
    NeedsReboot(Vec<String>),
    /// A person asks for something; `id: what waits` stands for the id that waits for approval.
    Bob { deployment: String, does: Command },
    /// The engine plans, and is killed `before recording`, `after recording` or `after acting`; then it starts again.
    KilledWhilePassing(String),
    /// The engine is killed and started again: only what is stored stays.
    Restart,
}

fn one() -> usize {
    1
}

/// A story being told.
struct Teller {
    world: World,
    last: Option<Plan>,
    /// What was last said to be put off, so that it is said once.
    said: String,
    text: String,
}

impl Teller {
    fn tell(story: &Story) -> String {
        let mut teller = Self { world: World::new(), last: None, said: String::new(), text: format!("{}\n\n", story.story.trim()) };
        teller.commit(&story.given);
        for event in &story.then {
            teller.happen(event);
        }
        teller.end();
        teller.text
    }

    fn commit(&mut self, objects: &Objects) {
        self.world.write(objects);
        self.build();
    }

    fn build(&mut self) {
        for finding in self.world.build() {
            let _ = writeln!(self.text, "{:?} {} {} {}: {}", finding.severity, finding.code, finding.object, finding.path, finding.message);
        }
    }

    fn note(&mut self, what: &str) {
        self.said.clear();
        let _ = writeln!(self.text, ">>> {} {what}", self.world.now.strftime("%H:%M:%S"));
    }

    fn machines(&mut self, names: &[String]) -> Vec<&mut Machine> {
        let names: Vec<Name> = names.iter().map(|name| Name::parse(name)).collect();
        self.world.machines.iter_mut().filter(|(name, _)| names.contains(name)).map(|(_, machine)| machine).collect()
    }

    fn pass(&mut self) {
        let plan = self.world.plan();
        self.said.clear();
        let _ = writeln!(self.text, "--- {}\n{plan}", self.world.now.strftime("%H:%M:%S"));
        self.world.record(&plan);
        let ended = self.world.act();
        self.last = Some(plan);
        ended.iter().for_each(|(step, outcome)| self.ended(step, outcome));
    }

    /// Only what did not go as planned is worth a line.
    fn ended(&mut self, step: &Step, outcome: &Outcome) {
        if outcome.verdict != Verdict::Done {
            let _ = writeln!(self.text, "    !! {} {} {:?}: {}", step.target, step.action.word(), outcome.verdict, outcome.message);
        }
    }

    /// Looks and passes until nothing is to be done any more, or the time is up.
    fn watch(&mut self, show: bool, time: Option<SignedDuration>) {
        let end = time.map_or(Timestamp::MAX, |time| self.world.now + time);
        for _ in 0..400 {
            if self.world.now >= end {
                return;
            }
            self.world.look();
            let plan = self.world.plan();
            if show {
                self.show(&plan);
            }
            self.world.record(&plan);
            let ended = self.world.act();
            if show {
                ended.iter().for_each(|(step, outcome)| self.ended(step, outcome));
            }
            let (rests, at) = (plan.steps.is_empty() && ended.is_empty(), plan.look_again);
            self.last = Some(plan);
            if rests {
                // Only what is on its way is waited for; a window or a backoff of an hour is not.
                let Some(at) = at.filter(|at| at.duration_since(self.world.now) <= SignedDuration::from_mins(15)) else {
                    self.world.now = if time.is_some() { end } else { self.world.now };
                    return;
                };
                self.world.now = self.world.now.max(at.min(end));
            }
        }
        panic!("it does not come to rest:\n{}\n{}", self.text, self.last.as_ref().unwrap());
    }

    fn show(&mut self, plan: &Plan) {
        let clock = self.world.now.strftime("%H:%M:%S").to_string();
        for step in &plan.steps {
            let shown = step.to_string();
            let _ = writeln!(self.text, "{clock} {} {}", named(&step.unit), shown.lines().next().unwrap_or_default());
        }
        let off: String = plan.deferred.iter().map(|deferred| format!("{clock} {} {deferred}\n", named(&deferred.unit))).collect();
        let plain = off.replace(&clock, "");
        if plan.steps.is_empty() && plain != self.said {
            self.text.push_str(&off);
            self.said = plain;
        }
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Look => self.world.look(),
            Event::See(names) => {
                self.world.pass_time(SignedDuration::from_secs(1));
                names.iter().for_each(|name| self.world.see(&Name::parse(name)));
            }
            Event::Wait(time) => {
                self.world.pass_time(time.0);
                self.note(&format!("{:#} later", time.0));
            }
            Event::Pass => self.pass(),
            Event::Status => {
                self.said.clear();
                self.end();
            }
            Event::Watch => self.watch(true, None),
            Event::WatchFor(time) => self.watch(true, Some(time.0)),
            Event::Settle => self.watch(false, None),
            Event::Commit(objects) => {
                self.note(&format!("commit {:010}", self.world.commits + 1));
                self.commit(objects);
            }
            Event::Delete(gone) => {
                self.note(&format!("commit {:010} deletes {}", self.world.commits + 1, gone.join(", ")));
                let gone: Vec<Target> = gone.iter().map(|target| Target::parse(target).expect("kind/name")).collect();
                self.world.objects.retain(|(kind, name), _| !gone.iter().any(|target| target.kind() == *kind && target.name() == name));
                self.build();
            }
            Event::Rename { from, to } => {
                self.note(&format!("commit {:010} deletes {from} and writes others", self.world.commits + 1));
                let gone = Target::parse(from).expect("kind/name");
                self.world.objects.retain(|(kind, name), _| gone.kind() != *kind || gone.name() != name);
                self.commit(to);
            }
            Event::Bob { deployment, does } => {
                let unit = Target::parse(deployment).map_or_else(|| Name::parse(deployment), |target| target.rollout());
                self.command(&unit, does);
            }
            Event::KilledWhilePassing(when) => self.killed(when),
            Event::Restart => {
                self.note("the engine is killed and starts again");
                self.world.restart();
            }
            _ => self.outside(event),
        }
    }

    /// What happens to the machines.
    fn outside(&mut self, event: &Event) {
        let now = self.world.now;
        let list = |names: &[String]| names.join(", ");
        match event {
            Event::Away(names) => {
                self.note(&format!("{} can't be reached any more", list(names)));
                self.machines(names).into_iter().for_each(|machine| machine.away = Some((now, "no answer".into())));
            }
            Event::Back(names) => {
                self.note(&format!("{} can be reached again", list(names)));
                self.machines(names).into_iter().for_each(|machine| machine.away = None);
            }
            Event::Drift { device, item, version } => {
                self.note(&format!("by hand on {device}: {item} {}", version.as_deref().unwrap_or("taken off")));
                for machine in self.machines(std::slice::from_ref(device)) {
                    let account = |keys| ItemSeen::Account { keys, sudo: None, locked: false };
                    let package = |version| ItemSeen::Package { version, held: false, broken: false };
                    let is_account = item.starts_with("account:");
                    let seen = version.clone().map_or(ItemSeen::Absent, |now| if is_account { account(now) } else { package(now) });
                    machine.items.insert(ItemKey(item.clone()), seen);
                }
            }
            Event::Ends { devices, verb, how, times } => {
                for machine in self.machines(devices) {
                    machine.ends.extend(std::iter::repeat_n((verb.clone(), how.clone()), *times));
                }
            }
            Event::Unhang(names) => {
                self.note(&format!("what hangs on {} comes to its end", list(names)));
                self.machines(names).into_iter().for_each(|machine| machine.hangs = None);
                let ended = self.world.act();
                ended.iter().for_each(|(step, outcome)| self.ended(step, outcome));
            }
            Event::Breaks { version, what } => {
                self.world.machines.values_mut().for_each(|machine| drop(machine.broken.insert(version.clone(), what.clone())));
            }
            Event::Probe { devices, state } => {
                let word = state.map_or("answer again".into(), |state| format!("are {state:?}").to_lowercase());
                self.note(&format!("probes of {} {word}", list(devices)));
                self.machines(devices).into_iter().for_each(|machine| machine.probes = *state);
            }
            Event::Unit { devices, state } => {
                self.note(&format!("units of {} are {}", list(devices), state.as_deref().unwrap_or("as they should be")));
                self.machines(devices).into_iter().for_each(|machine| machine.units.clone_from(state));
            }
            Event::ProbesRest(names) => self.machines(names).into_iter().for_each(|machine| machine.probes_rest = true),
            Event::ProbesRun(names) => self.machines(names).into_iter().for_each(|machine| machine.probes_rest = false),
            Event::Alert { device, rule, severity, over } => {
                self.note(&format!("alert {rule} {} {device}", if *over { "is over on" } else { "begins to fire on" }));
                let alerts = self.world.observed.alerts.entry(Name::parse(device)).or_default();
                alerts.retain(|alert| alert.rule != Name::parse(rule));
                alerts.extend((!over).then(|| AlertSeen {
                    rule: Name::parse(rule),
                    severity: *severity,
                    since: now,
                    summary: String::new(),
                }));
            }
            Event::NeedsReboot(names) => self.machines(names).into_iter().for_each(|machine| machine.needs_reboot = true),
            _ => unreachable!("not outside"),
        }
    }

    fn command(&mut self, unit: &Name, command: &Command) {
        let waiting = self.last.as_ref().map(|plan| plan.deferred.clone()).unwrap_or_default();
        let command = match command {
            Command::Approve { id } if id == "what waits" => {
                let id = waiting.iter().find_map(|deferred| match &deferred.waiting_on {
                    WaitingOn::Approval { id } => Some(id.clone()),
                    _ => None,
                });
                Command::Approve { id: id.unwrap_or_default() }
            }
            other => other.clone(),
        };
        let asked = serde_json::to_string(&command).unwrap();
        self.note(&format!("bob: {} {}", asked.replace(['{', '}', '"'], "").replace(':', " ").replace(" to null", ""), Target::unit(unit)));
        match command::plan(&self.world.desired, &self.world.observed, unit, &command, "bob", &waiting) {
            Ok(plan) => {
                reconcile::record::check(&plan, &self.world.desired, &self.world.observed).unwrap();
                self.world.record(&plan);
                let _ = plan.steps.iter().try_for_each(|step| writeln!(self.text, "    {step}"));
            }
            Err(error) => {
                let _ = writeln!(self.text, "    refused: {error}");
            }
        }
    }

    fn killed(&mut self, when: &str) {
        let plan = self.world.plan();
        let _ = writeln!(self.text, "--- {}\n{plan}", self.world.now.strftime("%H:%M:%S"));
        self.note(&format!("the engine is killed {when} this, and starts again"));
        match when {
            "before recording" => {}
            "after recording" => self.world.record(&plan),
            "after acting" => {
                self.world.record(&plan);
                self.world.run_steps();
            }
            other => panic!("killed {other}"),
        }
        self.world.restart();
        // Steps without an outcome are taken up again.
        let ended = self.world.act();
        ended.iter().for_each(|(step, outcome)| self.ended(step, outcome));
    }

    fn end(&mut self) {
        let World { desired, observed, .. } = &self.world;
        let plan = self.world.plan();
        let text = &mut self.text;
        for ((kind, name), _) in desired.objects.iter().filter(|((kind, _), _)| *kind == crds::Kind::Role) {
            let status = report::role(desired, observed, &plan.deferred, name, None);
            let said = |condition: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
                format!("{} {} {}", condition.type_, condition.status, condition.reason)
            };
            let message = status.conditions.first().map(|ready| ready.message.clone()).unwrap_or_default();
            let conditions: Vec<String> = status.conditions.iter().map(said).collect();
            let _ = writeln!(text, "=== {} {}: {message}", Target::of(*kind, name.clone()), conditions.join(", "));
        }
        for name in desired.deployments.keys() {
            let status = report::deployment(desired, observed, &plan.deferred, name);
            let counts: Vec<String> =
                status.counts.iter().filter(|(_, count)| **count > 0).map(|(key, count)| format!("{count} {key}")).collect();
            let _ = writeln!(text, "=== {} {}: {}", Target::unit(name), status.phase, counts.join(", "));
            for revision in status.history {
                let _ = write!(text, "    revision {} ({}) {}", revision.revision, revision.version, revision.result);
                let _ = writeln!(text, "{}{}", if revision.reason.is_empty() { "" } else { ": " }, revision.reason);
            }
            if !status.waiting_on.is_empty() {
                let _ = writeln!(text, "    waits on {}", status.waiting_on);
            }
        }
        let devices = desired.devices.keys().map(|name| (name, device(&report::device(desired, observed, name))));
        let mut alike: Vec<(Vec<&Name>, String)> = Vec::new();
        for (name, shown) in devices {
            match alike.last_mut().filter(|(_, last)| *last == shown) {
                Some((names, _)) => names.push(name),
                None => alike.push((vec![name], shown)),
            }
        }
        for (names, shown) in alike {
            let names: Vec<String> = names.into_iter().map(ToString::to_string).collect();
            let _ = writeln!(text, "=== {} {shown}", names.join(" "));
        }
    }
}

/// Whose a step is: a Deployment by its name, the login of a Role as `role/NAME`.
fn named(unit: &Target) -> String {
    unit.to_string().trim_start_matches("deployment/").to_owned()
}

fn device(status: &crds::DeviceStatus) -> String {
    let has: Vec<String> = status.packages.iter().map(|package| format!("{} {}", package.name, package.version)).collect();
    let mut text = format!("{}, {}: {}", status.health, status.update, has.join(", "));
    for probe in status.probes.iter().filter(|probe| probe.code == "ParentDead") {
        let _ = write!(text, "\n    probe {} is {}: {}", probe.name, probe.state, probe.reason);
    }
    for deviation in &status.deviations {
        let why = if deviation.reason.is_empty() { String::new() } else { format!(" ({})", deviation.reason) };
        let _ = write!(text, "\n    {} is {}, should be {}{why}", deviation.path, deviation.actual, deviation.desired);
    }
    text
}

/// The YAML of a story, with the one-key maps that stand for its events.
fn read(text: &str) -> Result<Story, String> {
    let value: Value = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
    serde_json::from_value(value).map_err(|error| error.to_string())
}

#[test]
fn stories() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let of = |suffix: &str| -> Vec<_> {
        let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let mut paths: Vec<_> = files.filter(|path| path.extension().is_some_and(|other| other == suffix)).collect();
        paths.sort();
        paths
    };
    let stories = of("yaml");
    let mut wrong = Vec::new();
    for path in &stories {
        let shown = path.file_stem().unwrap().to_string_lossy().into_owned();
        let story = read(&std::fs::read_to_string(path).unwrap()).unwrap_or_else(|error| panic!("{shown}: {error}"));
        let told = std::panic::catch_unwind(|| Teller::tell(&story)).unwrap_or_else(|_| panic!("{shown}"));
        let beside = path.with_extension("txt");
        if std::env::var("UPDATE").is_ok() {
            std::fs::write(&beside, &told).unwrap();
        } else if std::fs::read_to_string(&beside).unwrap_or_default() != told {
            wrong.push(format!("{shown} comes out otherwise:\n{told}"));
        }
    }
    let orphans = of("txt").into_iter().filter(|path| !stories.contains(&path.with_extension("yaml")));
    wrong.extend(orphans.map(|path| format!("{} has no story", path.display())));
    assert!(wrong.is_empty(), "{}\nlook at each; if it is meant, UPDATE=1 cargo test -p reconcile writes them anew", wrong.join("\n\n"));
}

/// Each reason to wait, and each thing that a rollout can become, is in some story.
#[test]
fn every_reason_to_wait_is_told() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let told: String = files
        .filter(|path| path.extension().is_some_and(|suffix| suffix == "txt"))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    let words = [
        "Unreachable",
        "Budget",
        "Window",
        "Approval",
        "Soak",
        "Health",
        "Alert",
        "Dependency",
        "Lock",
        "Maintenance",
        "NoWayBack",
        "Suspended",
    ];
    let missing: Vec<&str> = words.into_iter().filter(|word| !told.contains(&format!("not now. {word}: "))).collect();
    assert!(missing.is_empty(), "no story waits on {missing:?}");
    let phases = ["Pending", "Progressing", "Soaking", "AwaitingApproval", "Paused", "RollingBack", "RolledBack", "Complete", "Failed"];
    let ends: Vec<&str> = told.lines().filter(|line| line.starts_with("=== deployment/")).collect();
    let missing: Vec<&str> = phases.into_iter().filter(|phase| !ends.iter().any(|line| line.contains(&format!(" {phase}: ")))).collect();
    assert!(missing.is_empty(), "no story ends {missing:?}");
}
