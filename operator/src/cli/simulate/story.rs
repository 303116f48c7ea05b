//! The story of a rehearsal as it happens: its audit log, what it waits for, and what the probes say.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use api::view::View;
use console::Style;
use reconcile::{ProbeState, report};
use serde_json::json;
use store::audit::Entry;
use store::log::Filter;
use tokio::time;

use super::{Running, SimulateOutput};
use crate::cli::show;

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(200);
/// Nothing happened for this long and nothing is under way: then nothing will.
const STILL: Duration = Duration::from_secs(90);
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
    waits: BTreeMap<String, String>,
    probes: BTreeMap<(String, String), ProbeState>,
    revision: String,
}

impl Story {
    pub(super) fn new(output: SimulateOutput) -> Self {
        Self { output, begin: Instant::now(), told: 0, waits: BTreeMap::new(), probes: BTreeMap::new(), revision: String::new() }
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

    /// Tells what happens until every Deployment has come to its end.
    pub(super) async fn play(&mut self, engine: &Running, limit: time::Instant) -> anyhow::Result<Verdict> {
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
            self.entry(entry);
        }
        let (waits, probes) = {
            let view = engine.view.read().unwrap_or_else(std::sync::PoisonError::into_inner);
            (waits(&view), probes(&view))
        };
        let mut new = !entries.is_empty();
        for (unit, wait) in &waits {
            if self.waits.get(unit) != Some(wait) && !wait.is_empty() {
                self.line(unit, "", &format!("waits: {wait}"), &Style::new().dim());
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
        let unit = entry.unit.trim_start_matches("deployment/");
        let device = entry.target.trim_start_matches("device/");
        let last = entry.message.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
        let plain = Style::new();
        match (entry.verb.as_str(), entry.outcome.as_str()) {
            ("admit" | "prepare", "begun" | "done") => {}
            (verb @ ("apply" | "restore" | "remove" | "reboot"), "begun") => {
                let what = if entry.changes.is_empty() { last.to_owned() } else { entry.changes.join(", ") };
                self.line(unit, device, &format!("{verb} {what}"), &plain);
            }
            ("restore", "done") => self.line(unit, device, "is back", &Style::new().green()),
            (verb, "done") if entry.target.starts_with("device/") => self.line(unit, device, &format!("{verb} is done"), &plain),
            (verb, outcome) if entry.target.starts_with("device/") => {
                self.line(unit, device, &format!("{verb} {outcome}: {}", told(&entry.message)), &Style::new().red());
            }
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
            let deployments: BTreeMap<String, _> = view.desired.deployments.keys().map(|name| (name.to_string(), status(&view, name))).collect();
            return self.json("summary", &json!({"complete": verdict == Verdict::Complete, "deployments": deployments}));
        }
        println!();
        let row = |name: &reconcile::Name| {
            let status = status(&view, name);
            let count = |key: &str| status.counts.get(key).copied().unwrap_or(0);
            let newest = status.history.last();
            vec![
                name.to_string(),
                status.phase.clone(),
                newest.map(|revision| revision.version.clone()).unwrap_or_default(),
                format!("{}/{}", count("updated"), count("total")),
                count("failed").to_string(),
                count("unreachable").to_string(),
                newest.map(|revision| revision.reason.clone()).filter(|reason| !reason.is_empty()).unwrap_or(status.waiting_on),
            ]
        };
        let rows: Vec<Vec<String>> = view.desired.deployments.keys().map(row).collect();
        show::table(&["DEPLOYMENT", "PHASE", "WANTS", "UPDATED", "FAILED", "AWAY", "WHY"], &rows);
        let word = match verdict {
            Verdict::Complete => "Everything is as the manifests say.",
            Verdict::Not => "Not everything is as the manifests say.",
        };
        println!("\n{word} The rehearsal took {took:.0} s.");
    }

    fn line(&self, unit: &str, device: &str, text: &str, style: &Style) {
        let seconds = self.begin.elapsed().as_secs_f32();
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
    view.observed.rollouts.values().any(|rollout| rollout.in_flight().next().is_some())
}

/// What each Deployment waits for, without instants: those change all the time.
fn waits(view: &View) -> BTreeMap<String, String> {
    let names: BTreeSet<_> = view.desired.deployments.keys().collect();
    names.into_iter().map(|name| (name.to_string(), status(view, name).waiting_on)).collect()
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
