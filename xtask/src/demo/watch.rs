//! Progress in the terminal: bars where there is one, lines where there is none.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use console::style;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::Value;

use super::fleet::Fleet;

/// Longest time that one part of the story may take.
const LIMIT: Duration = Duration::from_secs(240);
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// What was shown so far.
pub(super) struct Watch {
    /// Somebody wants us to end.
    stop: Arc<AtomicBool>,
    /// Audit entries that were told.
    told: u64,
    /// The last line of each Deployment, where there are no bars.
    lines: BTreeMap<String, String>,
}

impl Watch {
    pub(super) fn new(stop: Arc<AtomicBool>) -> Self {
        Self { stop, told: 0, lines: BTreeMap::new() }
    }

    /// Shows how it goes on until the released version is in this phase and every other Deployment is complete.
    pub(super) fn until(&mut self, fleet: &Fleet, phase: &str, version: &str) -> anyhow::Result<()> {
        let begin = Instant::now();
        let (shown, mut bars) = (MultiProgress::new(), BTreeMap::new());
        loop {
            std::thread::sleep(LOOK);
            ensure!(!self.stop.load(Ordering::Relaxed), "interrupted");
            let listed: Value = serde_json::from_str(&fleet.engine.text(&["get", "deployments", "-o", "json"])?).unwrap_or_default();
            let deployments = listed["items"].as_array().cloned().unwrap_or_default();
            let news = self.news(fleet)?;
            for line in news {
                if console::user_attended_stderr() { shown.println(line)? } else { println!("{line}") }
            }
            for deployment in &deployments {
                self.show(deployment, &shown, &mut bars);
            }
            let arrived = |deployment: &Value| {
                let released = deployment["metadata"]["name"] == fleet.release.deployment;
                let wanted = if released { phase } else { "Complete" };
                let newest = deployment["status"]["history"].as_array().and_then(|history| history.last()).cloned().unwrap_or_default();
                let there = !released || newest["version"].as_str().is_some_and(|newest| newest.ends_with(version));
                there && deployment["status"]["phase"] == wanted && count(deployment, "updated") == count(deployment, "total")
            };
            if !deployments.is_empty() && deployments.iter().all(arrived) {
                bars.values().for_each(ProgressBar::finish);
                if !bars.is_empty() {
                    eprintln!();
                }
                return Ok(());
            }
            if begin.elapsed() > LIMIT {
                bail!("not {phase} with {version} within {LIMIT:?}: {}", Value::from(deployments));
            }
        }
    }

    /// Audit entries that have a place in the story, since the last time.
    fn news(&mut self, fleet: &Fleet) -> anyhow::Result<Vec<String>> {
        let mut entries = parse(&fleet.engine.text(&["audit", "list", "--limit", "200", "-o", "json"])?);
        entries.reverse();
        let mut lines = Vec::new();
        for entry in entries {
            let Some(index) = entry["index"].as_u64().filter(|index| *index >= self.told) else { continue };
            self.told = index + 1;
            lines.extend(line(&entry));
        }
        Ok(lines)
    }

    fn show(&mut self, deployment: &Value, shown: &MultiProgress, bars: &mut BTreeMap<String, ProgressBar>) {
        let name = text(&deployment["metadata"]["name"]);
        let (phase, updated, total) = (text(&deployment["status"]["phase"]), count(deployment, "updated"), count(deployment, "total"));
        if console::user_attended_stderr() {
            let bar = bars.entry(name.clone()).or_insert_with(|| {
                let look = ProgressStyle::with_template("  {prefix:<12} {bar:30.cyan/dim} {pos:>2}/{len} {msg}")
                    .unwrap_or_else(|_| ProgressStyle::default_bar());
                shown.add(ProgressBar::new(total).with_style(look).with_prefix(name))
            });
            bar.set_length(total);
            bar.set_position(updated);
            bar.set_message(phase);
            return;
        }
        let line = format!("  {name:<12} {updated:>2}/{total} {phase}");
        if self.lines.get(&name) != Some(&line) {
            println!("{line}");
            self.lines.insert(name, line);
        }
    }
}

/// What of an audit entry belongs to the story.
fn line(entry: &Value) -> Option<String> {
    let word = |key: &str| text(&entry[key]);
    let bare = |key: &str| word(key).split_once('/').map(|(_, name)| name.to_owned()).unwrap_or_default();
    let message = word("message");
    let last = message.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    let (unit, device) = (bare("unit"), bare("target"));
    Some(match (word("verb").as_str(), word("outcome").as_str()) {
        ("open-batch", _) => format!("  {unit}: {}", style(last).cyan()),
        ("complete", _) => format!("  {unit}: {}", style(format!("complete {last}")).green()),
        ("roll-back", _) => format!("  {unit}: {}", style(format!("rolls back, since {last}")).red().bold()),
        ("rolled-back", _) => format!("  {unit}: {}", style("is rolled back").red()),
        ("restore", "done") => format!("  {unit}: {device} has the old state again"),
        ("apply", "done") => return None,
        ("apply" | "restore" | "prepare", "failed" | "refused") => {
            format!("  {unit}: {} {}", style(format!("failed on {device}:")).red(), last)
        }
        _ => return None,
    })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().chars().filter(|c| *c == '\n' || !c.is_control()).collect()
}

fn count(deployment: &Value, key: &str) -> u64 {
    deployment["status"]["counts"][key].as_u64().unwrap_or(0)
}

fn parse(text: &str) -> Vec<Value> {
    serde_json::from_str(text).unwrap_or_default()
}
