//! What the demo shows of watching: a disk that fills up, a dead switch with all that is behind it, and a release that only its lines of log betray.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use console::style;

use super::fleet::{Fleet, Release, SOAK, WORDS};
use super::mailbox::{Mail, Mailbox};
use super::watch::Watch;
use super::{command, part};

/// Longest time until a mail comes.
const LIMIT: Duration = Duration::from_secs(120);
/// Time between two looks into the mailbox.
const LOOK: Duration = Duration::from_millis(300);
/// After this much more time nothing else comes of the same cause.
const STILL: Duration = Duration::from_secs(8);
/// Where the rules of the demo stand.
const FILE: &str = "watching/demo.yaml";
/// The device whose disk fills up.
const FULL: &str = "db-fra1-02";
/// The switch that dies.
const SWITCH: &str = "sw-ams1-01";
/// Sites of which everything is behind it.
const BEHIND: [&str; 2] = ["ams1", "fra1"];

/// Rules that are as quick as a demo has to be: the examples have the same ones with minutes.
fn rules(port: u16) -> String {
    format!(
        r#"apiVersion: evenkeel.dev/v1alpha1
kind: AlertRule
metadata: {{name: disk-fills}}
spec:
  selector: {{}}
  expr: usage.disks.exists(d, usage.disks[d].ratio > 0.9)
  recover: usage.disks.all(d, usage.disks[d].ratio < 0.8)
  for: 2s
  severity: warning
  summary: "{{{{ device.name }}}}: a disk is nearly full"
  notify: {{receivers: [mailbox], wait: 1s, interval: 5s}}
---
apiVersion: evenkeel.dev/v1alpha1
kind: AlertRule
metadata: {{name: away}}
spec:
  selector: {{}}
  expr: device.health == "Unreachable"
  for: 3s
  severity: critical
  summary: "{{{{ device.name }}}} can't be reached"
  notify: {{receivers: [mailbox], wait: 3s, interval: 5s}}
---
apiVersion: evenkeel.dev/v1alpha1
kind: AlertRule
metadata: {{name: never-said}}
spec:
  selector: {{matchLabels: {{role: web}}}}
  expr: logs.newTemplates > 0
  keepFiringFor: 5m
  severity: critical
  summary: "{{{{ device.name }}}} says what it never said"
  notify: {{receivers: [mailbox], wait: 1s, interval: 5s}}
---
apiVersion: evenkeel.dev/v1alpha1
kind: Receiver
metadata: {{name: mailbox}}
spec:
  email: {{to: [oncall@example.com], from: evenkeel@example.com, server: "localhost:{port}", security: None}}
"#
    )
}

/// Tells it; returns the number of the part that is next.
pub(super) fn story(fleet: &mut Fleet, stop: &Arc<AtomicBool>) -> anyhow::Result<usize> {
    let mut mailbox = match Mailbox::open() {
        Ok(mailbox) => mailbox,
        Err(why) => {
            println!("\n{}", style(format!("Watching is left out: {why:#}")).yellow());
            return Ok(4);
        }
    };
    part("4. A disk fills up");
    let text = rules(mailbox.port);
    println!("  git commit: {FILE}");
    text.lines().for_each(|line| println!("  {}", style(format!("+ {line}")).green()));
    fleet.engine.commit(FILE, &text, "Disks that fill up, and devices that are away")?;
    fleet.order(&[FULL], "disk-fills=30s")?;
    println!("\n  Somebody on {FULL} forgot a debug log: its disk is full in half a minute.");
    let mail = next(&mut mailbox, stop)?;
    ensure!(mail.subject.contains("FIRING") && mail.text.contains(FULL), "that mail is of something else: {}", mail.subject);
    command(fleet, &["graph", &format!("device/{FULL}"), "disks[/].ratio", "--since", "2m"])?;
    let explained = command(fleet, &["explain", "alertrule/disk-fills"])?;
    ensure!(explained.contains(&format!("device/{FULL} fires")), "explain does not say so");
    fleet.order(&[FULL], "well")?;
    println!("\n  The log is gone.");
    let mail = next(&mut mailbox, stop)?;
    ensure!(mail.subject.contains("RESOLVED"), "that mail is of something else: {}", mail.subject);

    part("5. A switch dies, and everything behind it is out of sight");
    let away = behind(fleet)?;
    let names: Vec<&str> = away.iter().map(String::as_str).chain([SWITCH]).collect();
    fleet.order(&names, "away")?;
    println!("  Power is off at {SWITCH}: {} devices behind it can't be reached, of which 12 are servers.", away.len());
    let mail = next(&mut mailbox, stop)?;
    ensure!(mail.text.contains(SWITCH) && mail.text.contains(&away.len().to_string()), "it does not say what is behind: {}", mail.text);
    nothing_more(&mut mailbox, stop)?;
    println!("\n  One mail, for the one place where somebody has to go.");
    command(fleet, &["explain", "device/web-ams1-01"])?;
    fleet.order(&names, "well")?;
    println!("\n  Power is on again.");
    let mail = next(&mut mailbox, stop)?;
    ensure!(mail.subject.contains("RESOLVED") && mail.text.contains(SWITCH), "that mail is of something else: {}", mail.subject);
    nothing_more(&mut mailbox, stop)?;

    let bad = fleet.release.betrayed;
    part(&format!("6. A release that serves well, {} {bad}, and logs what was never logged", fleet.release.package));
    betrayed(fleet)?;
    let mail = next(&mut mailbox, stop)?;
    ensure!(mail.subject.contains("FIRING") && mail.text.contains(WORDS), "it does not say which lines: {}", mail.text);
    Watch::new(stop.clone()).until(fleet, "RolledBack", bad)?;
    super::on_all(fleet, fleet.release.versions[1])?;
    command(fleet, &["logs", "templates", "--new", "--since", "5m"])?;
    Ok(7)
}

/// Commits the release, with a gate that alerts count for.
fn betrayed(fleet: &Fleet) -> anyhow::Result<()> {
    let Release { file, package, versions, betrayed, .. } = &fleet.release;
    let text = std::fs::read_to_string(fleet.engine.fleet.join(file))?;
    let changes = [
        (format!("version: {}", versions[2]), format!("version: {betrayed}")),
        ("gate: {probes: true}".to_owned(), "gate: {probes: true, alerts: [critical]}".to_owned()),
        (format!("soak: {SOAK}"), "soak: 100s".to_owned()),
        ("deadline: 10m".to_owned(), "deadline: 90s".to_owned()),
    ];
    println!("  git commit: {file}");
    let mut changed = text;
    for (from, to) in &changes {
        ensure!(changed.contains(from), "{file} does not say `{from}`");
        changed = changed.replace(from, to);
        println!("  {}\n  {}", style(format!("-    {from}")).red(), style(format!("+    {to}")).green());
    }
    println!("\n  Readings of logs are made each minute: the canary is watched for longer than that.");
    fleet.engine.commit(file, &changed, &format!("{package} {betrayed}")).map(drop)
}

/// Every device of the sites that the switch stands before, but itself.
fn behind(fleet: &Fleet) -> anyhow::Result<Vec<String>> {
    let devices: serde_json::Value = serde_json::from_str(&fleet.engine.text(&["get", "devices", "-o", "json"])?)?;
    let names = devices["items"].as_array().into_iter().flatten().filter_map(|device| device["metadata"]["name"].as_str());
    Ok(names.filter(|name| *name != SWITCH && BEHIND.iter().any(|site| name.contains(site))).map(str::to_owned).collect())
}

/// Waits for the next mail, and shows it.
fn next(mailbox: &mut Mailbox, stop: &AtomicBool) -> anyhow::Result<Mail> {
    let begin = Instant::now();
    while begin.elapsed() < LIMIT {
        ensure!(!stop.load(Ordering::Relaxed), "interrupted");
        let mut mails = mailbox.unread();
        if mails.len() > 1 {
            bail!("{} mails came where there should be one: {}", mails.len(), mails[1].subject);
        }
        if let Some(mail) = mails.pop() {
            mail.show();
            return Ok(mail);
        }
        std::thread::sleep(LOOK);
    }
    bail!("no mail came within {LIMIT:?}")
}

/// No other mail comes.
fn nothing_more(mailbox: &mut Mailbox, stop: &AtomicBool) -> anyhow::Result<()> {
    let begin = Instant::now();
    while begin.elapsed() < STILL {
        ensure!(!stop.load(Ordering::Relaxed), "interrupted");
        if let Some(mail) = mailbox.unread().first() {
            bail!("another mail came: {}\n{}", mail.subject, mail.text);
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}
