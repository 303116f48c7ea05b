//! Why something is as it is: every gate, since when, and who can clear it.

pub(crate) mod watching;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::LazyLock;

use crds::{AlertState, Kind};
use jiff::Timestamp;
use reconcile::alerting::state::Instance;
use reconcile::alerting::suppress::Suppressor;
use reconcile::alerting::text::{cut, neutral};
use reconcile::outlook::{alike, named};
use reconcile::{Deferred, Metric, Name, Series, Target, WaitingOn, parents, report};
use regex::Regex;

use crate::usage::shown;
use crate::view::{KUBERNETES, View};

/// Alerts of one device that are shown.
const ALERTS: usize = 20;
/// Lines of each sort that are shown, and characters of one.
const LINES: usize = 5;
const WIDTH: usize = 120;

/// Whether somebody may see an object of a kind.
pub(crate) type Sees<'a> = &'a (dyn Fn(Kind, &Name) -> bool + Sync);

/// Explains a device, a Deployment, an AlertRule, a Receiver, a Silence, a Repository or the login of a Role to somebody; `None` if there is no such thing.
/// What is counted and listed are the devices that they see, and other objects are named only if they see them. A text that comes from
/// elsewhere may still name some, as `device/NAME` or `silence/NAME`.
pub(crate) fn explain(view: &View, target: &Target, sees: Sees<'_>, now: Timestamp) -> Option<String> {
    match target {
        Target::Device(name) => device(view, name, sees),
        Target::Deployment(name) => rollout(view, name, sees),
        Target::Object(Kind::Role, name) => role(view, name, sees),
        Target::Object(Kind::Repository, name) => repository(view, name),
        Target::Object(Kind::AlertRule, name) => watching::rule(view, name, sees, now),
        Target::Object(Kind::Receiver, name) => watching::receiver(view, name, sees),
        Target::Object(Kind::Silence, name) => watching::silence(view, name, sees, now),
        _ => None,
    }
}

fn device(view: &View, name: &Name, sees: Sees<'_>) -> Option<String> {
    view.desired.devices.get(name)?;
    let status = report::device(&view.desired, &view.observed, name);
    let mut text = format!("device/{name} is {} and {}\n", status.health, status.update);
    let seen = view.observed.devices.get(name);
    if let Some(hidden) = parents::hidden(&view.desired, &view.observed, name) {
        let since = hidden.since.map(|since| format!(" since {since:.0}")).unwrap_or_default();
        let _ = writeln!(text, "  {}{since}: nobody knows how it is", hidden.reason());
    }
    if parents::is_dead(&view.observed, name) {
        match parents::behind(&view.desired, &view.observed, name).iter().filter(|name| sees(Kind::Device, name)).count() {
            0 => {}
            1 => text.push_str("  1 device is behind it\n"),
            count => {
                let _ = writeln!(text, "  {count} devices are behind it");
            }
        }
    }
    if let Some(reconcile::Contact::Unreachable { since, reason, code }) = seen.map(|seen| &seen.contact) {
        let _ = writeln!(text, "  {} since {since:.0}: {reason}", code.says());
    }
    stalled(&mut text, view, &Target::Device(name.clone()));
    for probe in &status.probes {
        let since = probe.since.as_ref().map(|since| format!(" since {since}")).unwrap_or_default();
        let code = if probe.state == "ok" { String::new() } else { format!(" ({})", probe.code) };
        let reason = if probe.reason.is_empty() { String::new() } else { format!(": {}", probe.reason) };
        let _ = writeln!(text, "  probe {}: {}{code}{since}{reason}", probe.name, probe.state);
        // Numbers are of a moment, which is said with them.
        if let Some(seen) = seen.and_then(|seen| seen.probes.get(&probe.name))
            && let Some(at) = seen.seen_at.filter(|_| !seen.says.is_empty() && probe.state == "ok")
        {
            let _ = writeln!(text, "         at {at:.0}: {}", seen.says);
        }
    }
    usage(&mut text, view, name);
    lines(&mut text, view, name);
    alerts(&mut text, view, name);
    for package in &status.packages {
        let version = if package.version == "-" { "not there, or not known yet" } else { &package.version };
        let by = if package.revision > 0 { format!(" revision {}", package.revision) } else { String::new() };
        let _ = writeln!(text, "  {} is {version} ({}{by})", package.name, whose(&package.deployment, sees));
    }
    for deviation in &status.deviations {
        let _ = writeln!(
            text,
            "  {} should be {} and is {} ({}) {}",
            deviation.path,
            deviation.desired,
            deviation.actual,
            whose(&deviation.deployment, sees),
            deviation.reason
        );
    }
    let target = Target::Device(name.clone());
    // What a whole Deployment waits on, its devices wait on too.
    let selected = view.desired.selected_by.get(name).cloned().unwrap_or_default();
    let concerns = |deferred: &&Deferred| {
        deferred.target == target
            || (deferred.target == deferred.unit
                && selected.contains(&deferred.unit.rollout())
                && sees(deferred.unit.kind(), deferred.unit.name()))
    };
    let own: Vec<&Deferred> = view.deferred.values().flatten().filter(concerns).collect();
    gates(&mut text, view, &own, sees);
    Some(text)
}

/// Whose something is on a device, as a status has it.
fn whose(by: &str, sees: Sees<'_>) -> String {
    let by = owner(by, sees);
    if by.starts_with("role/") { by } else { format!("deployment/{by}") }
}

/// The same as somebody may know of it: a Deployment, or `role/NAME`.
pub(crate) fn owner(by: &str, sees: Sees<'_>) -> String {
    let role = by.strip_prefix("role/");
    let (kind, name) = role.map_or((Kind::Deployment, by), |role| (Kind::Role, role));
    match (sees(kind, &Name::parse(name)), role) {
        (true, _) => by.to_owned(),
        (false, None) => HIDDEN.to_owned(),
        (false, Some(_)) => format!("role/{HIDDEN}"),
    }
}

/// A target as somebody may know of it.
fn seen_target(target: &Target, sees: Sees<'_>) -> Target {
    if sees(target.kind(), target.name()) { target.clone() } else { Target::of(target.kind(), Name::new("default", HIDDEN)) }
}

/// Why an alert stands as it does, as `evenkeel alerts why` says it.
pub(crate) fn alert(alert: &Instance) -> String {
    let subject = &alert.subject;
    let word = format!("{:?}", alert.state).to_lowercase();
    let mut text = format!("{} {word}: alertrule/{} on device/{}\n", alert.id, subject.rule, subject.device);
    let _ = writeln!(text, "  {}", neutral(&subject.summary));
    for line in &subject.lines {
        let _ = writeln!(text, "    {}", neutral(line));
    }
    if let Some(since) = alert.unknown_since {
        let _ = writeln!(text, "  unknown since {since:.0}: {}", neutral(&alert.unknown_reason));
    }
    for by in &alert.suppressed {
        let _ = writeln!(text, "  not said for now: {}", neutral(&by.to_string()));
    }
    if let Some(by) = &alert.acknowledged {
        let _ = writeln!(text, "  {} looks after it until {:.0}: {}", neutral(&by.by), by.until, neutral(&by.comment));
    }
    if let Some(change) = &subject.last_change {
        let (deployment, revision, commit) = (&change.deployment, &change.revision, neutral(&change.commit));
        let version = if change.version.is_empty() { String::new() } else { format!(" ({})", neutral(&change.version)) };
        let author = if change.author.is_empty() { String::new() } else { format!(" of {}", neutral(&change.author)) };
        let _ = writeln!(
            text,
            "  last change: deployment/{deployment} revision {revision}{version}, commit {commit}{author}, at {:.0}",
            change.at
        );
    }
    for decision in &alert.decisions {
        let about = if decision.receiver.is_empty() { String::new() } else { format!("{}: ", decision.receiver) };
        let _ = writeln!(text, "  {:.0} {about}{}", decision.at, neutral(&decision.text));
    }
    text
}

/// What rules say of it; what is well again does not count.
fn alerts(text: &mut String, view: &View, name: &Name) {
    let of = view.alerts.iter().filter(|alert| alert.subject.device == *name);
    for alert in of.filter(|alert| matches!(alert.state, AlertState::Pending | AlertState::Firing)).take(ALERTS) {
        let (word, since) = match alert.fired_at {
            Some(at) => ("fires", at),
            None => ("is pending", alert.active_at),
        };
        let by = alert.acknowledged.as_ref().map(|by| format!(" ({} looks after it)", by.by)).unwrap_or_default();
        let quiet = if alert.suppressed.is_empty() { "" } else { ", and is not said just now" };
        let (rule, id) = (&alert.subject.rule, &alert.id);
        let _ =
            writeln!(text, "  alertrule/{rule} {word} since {since:.0}: {}{by}{quiet} [evenkeel alerts why {id}]", alert.subject.summary);
    }
}

/// What it uses, in one line for each thing, and why that is not known, if so.
fn usage(text: &mut String, view: &View, name: &Name) {
    let Some(last) = view.usages.last(name) else { return };
    let values = last.usage.as_ref().map(|usage| &usage.values);
    let value = |series: Series| values?.get(&series).map(|value| shown(series.metric.unit(), *value));
    let of = |metric| value(Series::of(metric));
    let mut said = Vec::new();
    said.extend(of(Metric::CpuRatio).map(|cpu| format!("cpu {cpu}")));
    said.extend(of(Metric::LoadOne).map(|load| format!("load {load}")));
    said.extend(of(Metric::MemoryRatio).map(|memory| format!("memory {memory}")));
    let disks = values.into_iter().flatten().filter(|(series, _)| series.metric == Metric::DiskRatio);
    said.extend(disks.take(10).map(|(series, value)| format!("disk {} {}", series.item, shown(series.metric.unit(), *value))));
    said.extend(of(Metric::Uptime).map(|uptime| format!("up {uptime}")));
    if !said.is_empty() {
        let _ = writeln!(text, "  uses {}", said.join(", "));
    }
    let count = |metric: Metric| values?.get(&Series::of(metric)).copied();
    if let Some(lines) = count(Metric::LogLines) {
        let more = [
            (Metric::LogErrors, "errors"),
            (Metric::LogNewTemplates, "new kinds"),
            (Metric::LogUnusual, "unusual kinds"),
            (Metric::LogVanished, "vanished kinds"),
        ];
        let more = more.iter().filter_map(|(metric, what)| Some(format!(", {} {what}", count(*metric).filter(|count| *count > 0.0)?)));
        let _ = writeln!(text, "  logs {lines} lines in the last minute{}", more.collect::<String>());
    }
    if !last.problem.is_empty() {
        let since = last.failing_since.map(|since| format!(" since {since:.0}")).unwrap_or_default();
        let _ = writeln!(text, "  usage is not known{since}: {}", last.problem);
    }
    if !last.note.is_empty() {
        let _ = writeln!(text, "  usage: {}", last.note);
    }
}

/// What stands out in its logs.
fn lines(text: &mut String, view: &View, name: &Name) {
    let Some(logs) = view.observed.logs.get(name) else { return };
    for (what, said) in [("new", &logs.new), ("unusual", &logs.unusual), ("vanished", &logs.vanished)] {
        for line in said.iter().take(LINES) {
            let _ = writeln!(text, "    {what} at {:.0}: {}", line.at, cut(&neutral(&line.text), WIDTH));
        }
    }
}

/// What a Role allows, and how far its login is.
fn role(view: &View, name: &Name, sees: Sees<'_>) -> Option<String> {
    let key = (crds::Kind::Role, name.clone());
    if let Some(text) = rollout(view, &name.login(), sees) {
        return Some(text);
    }
    let Some(crds::Object::Role(object)) = view.desired.objects.get(&key).map(|object| &**object) else { return None };
    let mut text = format!("role/{name}: {}\n", reconcile::access::summary(object));
    stalled(&mut text, view, &Target::Object(crds::Kind::Role, name.clone()));
    let why = match (&object.spec.login, object.spec.suspend) {
        (None, _) => "it has no login",
        (Some(_), Some(true)) => "its login is nowhere: spec.suspend",
        (Some(_), _) => "its login is not in force",
    };
    let _ = writeln!(text, "  {why}");
    Some(text)
}

/// A Repository of a cluster: how its last look went, and what is in force of it.
fn repository(view: &View, name: &Name) -> Option<String> {
    let status = view.repositories.get(name)?;
    let ready = status.plain.conditions.iter().find(|condition| condition.type_ == "Ready")?;
    let mut text = format!("repository/{name} is {}\n", ready.reason);
    for line in neutral(&ready.message).split("; ") {
        let _ = writeln!(text, "  {line}");
    }
    let inventory = status.inventory.as_ref().map(|inventory| format!(", {inventory}")).unwrap_or_default();
    match &status.revision {
        Some(commit) => {
            let _ = writeln!(text, "  in force: commit {commit}, {} objects{inventory}", status.objects.unwrap_or_default());
        }
        None => text.push_str("  no commit is in force\n"),
    }
    stalled(&mut text, view, &Target::Object(Kind::Repository, name.clone()));
    Some(text)
}

/// A Deployment, or the login of a Role.
fn rollout(view: &View, name: &Name, sees: Sees<'_>) -> Option<String> {
    let target = &Target::unit(name);
    let is_known = match name.role() {
        Some(_) => view.desired.deployments.contains_key(name),
        None => view.desired.stalled.contains_key(target) || view.desired.is_written(name),
    };
    if !is_known {
        return deleted(view, name, sees);
    }
    let deferred = view.deferred.get(name).map(Vec::as_slice).unwrap_or_default();
    let status = report::deployment(&view.desired, &view.observed, deferred, name);
    let counts = report::counts_of(&view.desired, &view.observed, name, &|device| sees(Kind::Device, device));
    let count = |key: &str| counts.get(key).copied().unwrap_or(0);
    let mut text = format!("{target} is {}", status.phase);
    if let Some(revision) = status.history.last() {
        let _ = write!(text, ": revision {} ({})", revision.revision, revision.version);
        if let Some(batch) = status.batch {
            let _ = write!(text, ", batch {batch}");
        }
    }
    let _ = writeln!(
        text,
        "\n  {} of {} devices updated, {} pending, {} unreachable, {} failed",
        count("updated"),
        count("total"),
        count("pending"),
        count("unreachable"),
        count("failed")
    );
    stalled(&mut text, view, target);
    if let Some(in_force) = rolled_back_to(view, name) {
        let _ = writeln!(text, "  {in_force}; the bad one is not tried again until Git changes");
    }
    for revision in status.history.iter().rev().take(5) {
        let reason = if revision.reason.is_empty() { String::new() } else { format!(": {}", revision.reason) };
        let _ = writeln!(text, "  revision {} ({}) {}{reason}", revision.revision, revision.version, revision.result);
    }
    let steps: Vec<_> = view
        .observed
        .rollouts
        .get(name)
        .map(|rollout| {
            rollout
                .in_flight()
                .filter(|(device, _)| sees(Kind::Device, device))
                .take(20)
                .map(|(device, placement)| {
                    format!("  step {} on {device}: {:?} since {:.0}", placement.step, placement.phase, placement.since)
                })
                .collect()
        })
        .unwrap_or_default();
    for step in steps {
        let _ = writeln!(text, "{step}");
    }
    gates(&mut text, view, &deferred.iter().collect::<Vec<_>>(), sees);
    Some(text)
}

/// One that is not written any more, as long as something of it is left to be done.
fn deleted(view: &View, name: &Name, sees: Sees<'_>) -> Option<String> {
    let rollout = view.observed.rollouts.get(name)?;
    let deletion = rollout.deletion.as_ref()?;
    let target = Target::unit(name);
    let what = if name.role().is_some() { "has no login any more: taken off" } else { "is deleted" };
    let mut text = format!("{target} {what} by {} ({})\n", deletion.commit, deletion.author);
    let left = rollout.placements.keys().filter(|device| sees(Kind::Device, device)).count();
    match deletion.remove {
        true => {
            let _ = writeln!(
                text,
                "  its content comes off its devices; {} left",
                if left == 1 { "1 device".to_owned() } else { format!("{left} devices") }
            );
        }
        false => text.push_str("  what is on its devices stays\n"),
    }
    if deletion.remove && view.source.url == KUBERNETES {
        let kind = if name.role().is_some() { "erole" } else { "edep" };
        let (namespace, name) = (target.name().namespace(), target.name().name());
        let patch = r#"'{"metadata":{"finalizers":null}}'"#;
        let _ = writeln!(
            text,
            "  the finalizer evenkeel.dev/remove holds it until then; to let the object go before (its content still comes off when it can):\n         kubectl -n {namespace} patch {kind} {name} --type=merge -p {patch}"
        );
    }
    let deferred = view.deferred.get(name).map(Vec::as_slice).unwrap_or_default();
    gates(&mut text, view, &deferred.iter().collect::<Vec<_>>(), sees);
    Some(text)
}

/// What is held to instead of a revision that was taken back.
fn rolled_back_to(view: &View, name: &Name) -> Option<String> {
    use reconcile::RevisionResult::{RolledBack, RollingBack};
    let rollout = view.observed.rollouts.get(name)?;
    let to = match rollout.current()?.result {
        RolledBack { to } | RollingBack { to, .. } => to,
        _ => return None,
    };
    Some(match to.and_then(|number| rollout.revision(number)) {
        Some(record) => format!("in force is revision {} ({})", record.number, record.content.summary()),
        None => "in force is what was there before".into(),
    })
}

fn stalled(text: &mut String, view: &View, target: &Target) {
    if let Some(why) = view.desired.stalled.get(target) {
        let _ = writeln!(text, "  stalled: {why}\n         what was last good stays in force; cleared by a commit that mends it");
    }
}

fn gates(text: &mut String, view: &View, deferred: &[&Deferred], sees: Sees<'_>) {
    let shown = deferred.iter().copied().filter(|deferred| match &deferred.target {
        Target::Device(device) => sees(Kind::Device, device),
        _ => true,
    });
    for (deferred, targets) in alike(shown).iter().take(50) {
        // A device that is out of sight says itself since when.
        let since = view.waits_since(deferred).filter(|_| !matches!(deferred.waiting_on, WaitingOn::Unreachable { .. }));
        let since = since.map(|since| format!(" (since {since:.0})")).unwrap_or_default();
        let _ = writeln!(
            text,
            "  waits: {}: {}\n         {}{since}\n         cleared by {}",
            named(targets),
            deferred.wants,
            seen(&deferred.waiting_on, sees),
            clears(&deferred.waiting_on)
        );
    }
    if deferred.is_empty() {
        text.push_str("  waits for nothing\n");
    }
}

/// The same without what is not seen.
pub(crate) fn seen(waiting: &WaitingOn, sees: Sees<'_>) -> WaitingOn {
    let mut seen = waiting.clone();
    match &mut seen {
        WaitingOn::Budget { out, .. } => out.retain(|device| sees(Kind::Device, device)),
        WaitingOn::Dependency { on } => *on = seen_target(on, sees),
        WaitingOn::Lock { holder, step } => {
            let by = Target::unit(holder);
            if !sees(by.kind(), by.name()) {
                (*holder, step.0) = (Name::new("default", HIDDEN), HIDDEN.to_owned());
            }
        }
        WaitingOn::Alert { name, .. } => {
            let rule = name.strip_prefix("alert ").map(Name::parse);
            if rule.is_some_and(|rule| !sees(Kind::AlertRule, &rule)) {
                *name = format!("alert {HIDDEN}");
            }
        }
        WaitingOn::Health { reason, .. } | WaitingOn::NoWayBack { reason } => *reason = without_alerts(reason, sees).into_owned(),
        WaitingOn::Unreachable { .. }
        | WaitingOn::Window { .. }
        | WaitingOn::Approval { .. }
        | WaitingOn::Soak { .. }
        | WaitingOn::Maintenance { .. }
        | WaitingOn::Suspended { .. } => {}
    }
    seen
}

/// A text without the alerts of rules that somebody may not see, as the gate of a rollout says them: `alert NAME is firing: SUMMARY`. Where
/// a summary ends nobody can tell, so the line ends there.
pub(crate) fn without_alerts<'a>(text: &'a str, sees: Sees<'_>) -> Cow<'a, str> {
    static ALERT: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\balert ([a-z0-9](?:[-a-z0-9./]*[a-z0-9])?) is firing").ok());
    if !text.contains(" is firing") {
        return Cow::Borrowed(text);
    }
    // Without the pattern nothing is told at all.
    let Some(pattern) = &*ALERT else { return Cow::Borrowed("") };
    let shown = |line: &str| {
        let hidden = pattern.captures_iter(line).find(|found| !sees(Kind::AlertRule, &Name::parse(&found[1])));
        match hidden.and_then(|found| found.get(0)) {
            Some(found) => format!("{}alert {HIDDEN} is firing", &line[..found.start()]),
            None => line.to_owned(),
        }
    };
    Cow::Owned(text.split('\n').map(shown).collect::<Vec<_>>().join("\n"))
}

/// Whether they may see the object that keeps an alert from being said.
pub(crate) fn sees_suppressor(by: &Suppressor, sees: Sees<'_>) -> bool {
    match by {
        Suppressor::Silence { name, .. } => sees(Kind::Silence, name),
        Suppressor::Rollout { deployment } => sees(Kind::Deployment, deployment),
        Suppressor::Inhibited { rule, .. } => sees(Kind::AlertRule, rule),
        Suppressor::Maintenance { .. } | Suppressor::Parent { .. } | Suppressor::Returned { .. } => true,
    }
}

/// What stands in place of a name that somebody may not know.
pub(crate) const HIDDEN: &str = "(hidden)";

/// Who or what ends this kind of waiting.
pub(crate) fn clears(waiting: &WaitingOn) -> &'static str {
    match waiting {
        WaitingOn::Unreachable { .. } => "the device coming back; it then catches up to the newest revision",
        WaitingOn::Budget { .. } => "the devices that are out coming back, or a larger strategy.maxUnavailable",
        WaitingOn::Window { .. } => "time, or another window in Git",
        WaitingOn::Approval { .. } => "a person: evenkeel rollout approve",
        WaitingOn::Soak { .. } => "time",
        WaitingOn::Health { reason, .. } if reason.starts_with("the last try failed") => "the next try, at that time; or a new commit",
        WaitingOn::Health { .. } => "the device getting well; or time, after which the batch fails",
        WaitingOn::Alert { .. } => "the alert being resolved",
        WaitingOn::Dependency { .. } => "that being done first",
        WaitingOn::Lock { .. } => "that step coming to its end",
        WaitingOn::Maintenance { .. } => "the end of the maintenance window",
        WaitingOn::NoWayBack { .. } => "making the old version fetchable again, or wayBack: BestEffort",
        WaitingOn::Suspended { .. } => {
            "a commit that takes `suspend` or `paused` back; or `evenkeel rollout resume`, where a person paused it"
        }
    }
}
