//! The story of a rehearsal as it happens: its audit log, what it waits for, and what the probes say.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use api::view::View;
use console::Style;
use reconcile::{Contact, ProbeState, WaitingOn, report};
use serde_json::json;
use store::Filter;
use store::audit::Entry;
use tokio::time;

use super::{Running, SimulateOutput};
use crate::cli::show;

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(200);
/// Nothing happened for this long and nothing is under way: then nothing will.
const STILL: Duration = Duration::from_secs(90);
/// Characters of one change that are shown.
const WIDTH: usize = 100;
/// Entries read at once.
const ENTRIES: usize = 1000;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Every Deployment is complete.
    Complete,
    /// Some are not.
    Not,
}

/// Prints what happens.
pub(super) struct Story {
    output: SimulateOutput,
    begin: Instant,
    /// Audit entries that were told.
    told: u64,
    waits: BTreeMap<String, (&'static str, String)>,
    probes: BTreeMap<(String, String), ProbeState>,
    revision: String,
    /// Devices that were changed in this part, by Deployment.
    touched: BTreeMap<String, BTreeSet<String>>,
    /// Only what goes wrong is told.
    quiet: bool,
    /// The folder of the devices' roots, which no real device has in its words.
    roots: String,
}

impl Story {
    pub(super) fn new(output: SimulateOutput, roots: &Path) -> Self {
        Self {
            output,
            begin: Instant::now(),
            told: 0,
            waits: BTreeMap::new(),
            probes: BTreeMap::new(),
            revision: String::new(),
            touched: BTreeMap::new(),
            quiet: false,
            roots: format!("{}/", roots.display()),
        }
    }

    /// A new part begins.
    pub(super) fn title(&self, text: &str) {
        match self.output {
            SimulateOutput::Text => println!("{}", Style::new().bold().apply_to(show::clean(text))),
            SimulateOutput::Json => self.json("part", &json!({"message": text})),
        }
    }

    /// Something worth knowing.
    pub(super) fn note(&self, text: &str) {
        self.line("note", "", text, &Style::new().dim());
    }

    /// As [`Self::play`], but only what goes wrong is told.
    pub(super) async fn play_quietly(&mut self, engine: &Running, limit: time::Instant) -> anyhow::Result<Verdict> {
        self.quiet = true;
        let verdict = self.play(engine, limit).await;
        self.quiet = false;
        verdict
    }

    /// Tells what happens until every Deployment has come to its end.
    pub(super) async fn play(&mut self, engine: &Running, limit: time::Instant) -> anyhow::Result<Verdict> {
        self.touched.clear();
        let mut last = Instant::now();
        loop {
            time::sleep(LOOK).await;
            if self.tell(engine).await? {
                last = Instant::now();
            }
            if engine.task.is_finished() {
                anyhow::bail!("the engine ended by itself");
            }
            let (settled, moving, revision) = {
                let view = engine.view.read().unwrap_or_else(std::sync::PoisonError::into_inner);
                (settled(&view), is_moving(&view), view.desired.revision.commit.clone())
            };
            // The stage before this one had come to its end too.
            if revision == self.revision || revision.is_empty() {
                continue;
            }
            let verdict = match settled {
                Some(verdict) => verdict,
                None if last.elapsed() > STILL && !moving => {
                    self.line("still", "", "nothing happens any more", &Style::new().yellow());
                    Verdict::Not
                }
                None if time::Instant::now() >= limit => {
                    self.line("late", "", "the time is over", &Style::new().yellow());
                    Verdict::Not
                }
                None => continue,
            };
            self.tell(engine).await?;
            self.revision = revision;
            return Ok(verdict);
        }
    }

    /// What is new; whether anything is.
    async fn tell(&mut self, engine: &Running) -> anyhow::Result<bool> {
        let mut entries = engine.store.entries(&Filter { limit: ENTRIES, ..Filter::default() }).await?;
        entries.retain(|entry| entry.index >= self.told);
        entries.reverse();
        for entry in &entries {
            self.told = entry.index + 1;
            if entry.verb == "apply" {
                self.touched.entry(unit(&entry.unit).to_owned()).or_default().insert(entry.target.clone());
            }
            self.entry(entry);
        }
        let (waits, probes) = {
            let view = engine.view.read().unwrap_or_else(std::sync::PoisonError::into_inner);
            (waits(&view), probes(&view))
        };
        let mut new = !entries.is_empty();
        for (unit, wait) in &waits {
            // Told once for each kind of waiting: the rest of it is how time goes by.
            if self.waits.get(unit).is_none_or(|before| before.0 != wait.0) {
                self.line(unit, "", &wait.1, &Style::new().dim());
                new = true;
            }
        }
        for ((device, probe), (state, reason)) in &probes {
            let before = self.probes.insert((device.clone(), probe.clone()), *state);
            match (before, state) {
                (Some(ProbeState::Ok), ProbeState::Fail) => {
                    self.line("probe", device, &format!("{probe} fails: {reason}"), &Style::new().red());
                }
                (Some(ProbeState::Fail), ProbeState::Ok) => self.line("probe", device, &format!("{probe} passes"), &Style::new().green()),
                _ => continue,
            }
            new = true;
        }
        self.waits = waits;
        Ok(new)
    }

    fn entry(&self, entry: &Entry) {
        if self.output == SimulateOutput::Json {
            return self.json("audit", &json!(entry));
        }
        let (unit, device) = (unit(&entry.unit), bare(&entry.target));
        let last = entry.message.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
        let plain = Style::new();
        match (entry.verb.as_str(), entry.outcome.as_str()) {
            ("admit" | "prepare", "begun" | "done") => {}
            (verb @ ("apply" | "remove" | "reboot"), "begun") => {
                let what = if entry.changes.is_empty() { last.to_owned() } else { entry.changes.join(", ") };
                let short: String = what.chars().take(WIDTH).collect();
                let more = if short.len() < what.len() { "…" } else { "" };
                self.line(unit, device, &format!("{verb} {short}{more}"), &plain);
            }
            ("restore", "begun") => self.line(unit, device, last, &Style::new().yellow()),
            ("restore", "done") => self.line(unit, device, "is back", &Style::new().green()),
            ("apply", "done") if entry.target.starts_with("device/") => self.line(unit, device, "has it", &plain),
            (verb, "done") if entry.target.starts_with("device/") => self.line(unit, device, &format!("{verb}: done"), &plain),
            (verb, outcome) if entry.target.starts_with("device/") => {
                self.line(unit, device, &format!("{verb} {outcome}: {}", told(&entry.message)), &Style::new().red());
            }
            ("open-batch", _) => self.line(unit, "", last, &Style::new().cyan()),
            (verb, _) => {
                let style = match verb {
                    "complete" => Style::new().green(),
                    "roll-back" | "rolled-back" | "stop" => Style::new().red(),
                    _ => Style::new().cyan(),
                };
                self.line(unit, "", &format!("{verb}: {last}"), &style);
            }
        }
    }

    /// What became of each Deployment, and how long it took.
    pub(super) fn summary(&self, engine: &Running, verdict: Verdict) {
        let view = engine.view.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let took = self.begin.elapsed().as_secs_f32();
        if self.output == SimulateOutput::Json {
            let deployments: BTreeMap<String, _> = view.desired.deployments.keys().map(|name| (shown(name), status(&view, name))).collect();
            return self.json("summary", &json!({"complete": verdict == Verdict::Complete, "deployments": deployments}));
        }
        println!();
        let row = |name: &reconcile::Name| {
            let status = status(&view, name);
            let count = |key: &str| status.counts.get(key).copied().unwrap_or(0);
            let newest = status.history.last();
            vec![
                shown(name),
                status.phase.clone(),
                newest.map(|revision| revision.version.clone()).unwrap_or_default(),
                format!("{}/{}", count("updated"), count("total")),
                self.touched.get(&shown(name)).map_or(0, BTreeSet::len).to_string(),
                count("failed").to_string(),
                count("unreachable").to_string(),
                self.why(&newest.map(|revision| revision.reason.clone()).filter(|reason| !reason.is_empty()).unwrap_or(status.waiting_on)),
            ]
        };
        let rows: Vec<Vec<String>> = view.desired.deployments.keys().map(row).collect();
        show::table(&["DEPLOYMENT", "PHASE", "WANTS", "UP TO DATE", "CHANGED", "FAILED", "AWAY", "WHY"], &rows);
        let away = view.observed.devices.values().filter(|seen| matches!(seen.contact, Contact::Unreachable { .. })).count();
        let word = match (verdict, away) {
            (Verdict::Complete, 0) => "Everything is as the manifests say.".into(),
            (Verdict::Complete, away) => {
                format!("Everything is as the manifests say, but for what is away: {}.", show::count(away, "device"))
            }
            (Verdict::Not, _) => "Not everything is as the manifests say.".into(),
        };
        println!("\n{word} The rehearsal took {took:.0} s.");
    }

    /// A reason in one line of the table.
    fn why(&self, reason: &str) -> String {
        let short: String = reason.replace(&self.roots, "").chars().take(WIDTH).collect();
        if short.len() < reason.len() { format!("{short}…") } else { short }
    }

    fn line(&self, unit: &str, device: &str, text: &str, style: &Style) {
        if self.quiet && *style != Style::new().red() {
            return;
        }
        let seconds = self.begin.elapsed().as_secs_f32();
        let text = &text.replace(&format!("{}{device}", self.roots), "");
        if self.output == SimulateOutput::Json {
            return self.json("line", &json!({"about": unit, "device": device, "message": text}));
        }
        let mut line = format!("{seconds:6.1}s  {unit:<12} ");
        if !device.is_empty() {
            let _ = write!(line, "{device:<14} ");
        }
        println!("{line}{}", style.apply_to(show::clean(text)));
    }

    fn json(&self, kind: &str, value: &serde_json::Value) {
        println!("{}", json!({"seconds": (self.begin.elapsed().as_secs_f32() * 10.0).round() / 10.0, kind: value}));
    }
}

/// A target without its kind.
fn bare(target: &str) -> &str {
    target.split_once('/').map_or(target, |(_, name)| name)
}

/// What is rolled out: a Deployment by its name, the login of a Role as `role/NAME`.
fn unit(target: &str) -> &str {
    target.strip_prefix("deployment/").unwrap_or(target)
}

fn shown(name: &reconcile::Name) -> String {
    report::by(name)
}

/// The last lines of what a device said, in one.
fn told(message: &str) -> String {
    let lines: Vec<&str> = message.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(3)..].join(" | ")
}

fn status(view: &View, name: &reconcile::Name) -> crds::DeploymentStatus {
    report::deployment(&view.desired, &view.observed, view.deferred.get(name).map(Vec::as_slice).unwrap_or_default(), name)
}

/// How it ended, if every Deployment has come to its end.
fn settled(view: &View) -> Option<Verdict> {
    if view.not_ready.is_some() {
        return None;
    }
    let phases: Vec<String> = view.desired.deployments.keys().map(|name| status(view, name).phase).collect();
    let is_end = |phase: &String| ["Complete", "RolledBack", "Failed", "Paused"].contains(&phase.as_str());
    let complete = phases.iter().all(|phase| phase == "Complete");
    phases.iter().all(is_end).then_some(if complete { Verdict::Complete } else { Verdict::Not })
}

fn is_moving(view: &View) -> bool {
    // A batch that is watched is on its way too, however long that takes.
    let soaks = view.deferred.values().flatten().any(|deferred| matches!(deferred.waiting_on, WaitingOn::Soak { .. }));
    soaks || view.observed.rollouts.values().any(|rollout| rollout.in_flight().next().is_some())
}

/// What each Deployment waits for that is worth a word: not that a step or a probe takes its moment.
fn waits(view: &View) -> BTreeMap<String, (&'static str, String)> {
    let mut waits = BTreeMap::new();
    for (name, deferred) in &view.deferred {
        let worth = deferred.iter().find_map(|deferred| match &deferred.waiting_on {
            WaitingOn::Lock { .. } => None,
            WaitingOn::Health { reason, .. } if !reason.contains(" fails: ") => None,
            WaitingOn::Health { reason, .. } => Some((deferred.waiting_on.word(), format!("waits: {}: {reason}", deferred.target))),
            WaitingOn::Soak { until } => {
                let seconds = until.duration_since(jiff::Timestamp::now()).as_secs_f32().max(0.0).ceil();
                Some((deferred.waiting_on.word(), format!("watches the batch for {seconds:.0} s")))
            }
            WaitingOn::Unreachable { reason, .. } => {
                Some((deferred.waiting_on.word(), format!("goes on without {}: {reason}", deferred.target)))
            }
            other => Some((other.word(), format!("waits: {}: {}: {other}", deferred.target, deferred.wants))),
        });
        if let Some(worth) = worth {
            waits.insert(shown(name), worth);
        }
    }
    waits
}

type Probes = BTreeMap<(String, String), (ProbeState, String)>;

fn probes(view: &View) -> Probes {
    let mut found = Probes::new();
    for (device, seen) in &view.observed.devices {
        for (name, probe) in &seen.probes {
            found.insert((device.to_string(), name.clone()), (probe.state, probe.reason.clone()));
        }
    }
    found
}
