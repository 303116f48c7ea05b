//! What would come of it if all went well: the plans that would follow one another, each made by the same planner as the real
//! ones. People read it before a commit is in force; nothing of it is ever acted on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::content::{Content, Package, Reboot};
use crate::desired::{Desired, Device};
use crate::name::{Name, Target};
use crate::observed::{Contact, DeviceSeen, ItemKey, ItemSeen, Observed, ProbeSeen, ProbeState};
use crate::outcome::Outcome;
use crate::plan::show::clock;
use crate::plan::{Action, Deferred, Plan, Step, WaitingOn, Work};
use crate::planner::plan_units;
use crate::rollout::{Phase, RolloutChange, WayBackSeen};

/// Plans that follow one another at most; a fleet that needs more is shown up to there.
const PLANS: usize = 2000;
/// How far ahead is looked, for windows that open later.
const HORIZON: SignedDuration = SignedDuration::from_hours(24 * 15);
/// Groups of devices and changes of state that are told of one Deployment before the rest is only counted.
const TOLD: usize = 100;
/// Devices that are named in one line.
const NAMES: usize = 8;

/// The plans that would follow one another if every step went well, every device stayed well and everybody agreed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outlook {
    /// Plans with something to do, in order.
    pub plans: Vec<Plan>,
    /// Deployments that wait for a window first, which opens then.
    pub windows: BTreeMap<Target, Timestamp>,
    /// What is put off at the end and does not come by waiting.
    pub deferred: Vec<Deferred>,
    /// Whether it comes to its end; else there is more than is shown.
    pub ends: bool,
}

/// Looks ahead for these Deployments.
pub fn outlook(desired: &Desired, observed: &Observed, now: Timestamp, units: &BTreeSet<Name>) -> Outlook {
    let mut world = World { desired, seen: observed.clone(), now };
    world.land(units);
    let mut outlook = Outlook { plans: Vec::new(), windows: BTreeMap::new(), deferred: Vec::new(), ends: false };
    let end = now.saturating_add(HORIZON).unwrap_or(Timestamp::MAX);
    // Passes that only wait are not shown, but they are bounded too.
    for _ in 0..PLANS * 4 {
        let plan = plan_units(desired, &world.seen, world.now, units);
        if !plan.steps.is_empty() {
            world.happen(&plan.steps);
            outlook.plans.push(plan);
            if outlook.plans.len() == PLANS {
                return outlook;
            }
        } else if world.agree(&plan.deferred) {
        } else if let Some(at) = plan.look_again.filter(|at| *at <= end) {
            for deferred in &plan.deferred {
                if let WaitingOn::Window { opens: Some(opens) } = &deferred.waiting_on {
                    outlook.windows.entry(deferred.unit.clone()).or_insert(*opens);
                }
            }
            world.now = at;
        } else {
            outlook.deferred = plan.deferred;
            outlook.ends = true;
            return outlook;
        }
    }
    outlook
}

struct World<'a> {
    desired: &'a Desired,
    seen: Observed,
    now: Timestamp,
}

impl World<'_> {
    /// Steps that are under way come to their end.
    fn land(&mut self, units: &BTreeSet<Name>) {
        for (unit, rollout) in self.seen.rollouts.iter_mut().filter(|(unit, _)| units.contains(*unit)) {
            let in_flight: Vec<Name> = rollout.in_flight().map(|(device, _)| device.clone()).collect();
            for device in in_flight {
                let rollout = Arc::make_mut(rollout);
                let revision = rollout.placements.get(&device).map(|placement| placement.revision);
                let content = revision.and_then(|revision| rollout.revision(revision)).map(|record| record.content.clone());
                let Some(placement) = rollout.placements.get_mut(&device) else { continue };
                let put = matches!(placement.phase, Phase::Applying | Phase::Rebooting) && !placement.is_rebooting_back();
                placement.phase = match placement.phase {
                    Phase::Rebooting if placement.is_rebooting_back() => Phase::Restored,
                    Phase::Applying | Phase::Rebooting => Phase::Applied,
                    Phase::Restoring => Phase::Restored,
                    _ => Phase::Prepared,
                };
                placement.way_back = WayBackSeen::Proven;
                placement.applied_at = put.then_some(self.now);
                let content = self.desired.deployments.get(unit).map(|unit| unit.content_for(&device).0.clone()).or(content);
                if let (true, Some(content), Some(seen)) = (put, content, self.seen.devices.get_mut(&device)) {
                    change(Arc::make_mut(seen), &content, self.now);
                }
            }
        }
    }

    /// Every step goes well, and the device is seen well after it.
    fn happen(&mut self, steps: &[Step]) {
        for step in steps {
            let rollout = Arc::make_mut(self.seen.rollouts.entry(step.unit.rollout()).or_default());
            match &step.action {
                Action::Rollout(change) => rollout.apply(change, self.now),
                _ => rollout.begin(step, self.now),
            }
        }
        let later = |seconds| self.now.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX);
        let (done, seen_at) = (later(1), later(2));
        for step in steps {
            let Some(work) = step.action.work() else { continue };
            let mut outcome = Outcome { way_back: WayBackSeen::Proven, ..Outcome::done(done, "") };
            let device = step.target.name();
            let before = self.seen.devices.get(device).map(|seen| seen.boot_id.clone()).unwrap_or_default();
            if matches!(step.action, Action::Apply(_) | Action::Restore { .. }) && work.content.reboot == Reboot::Always {
                outcome.reboot_from = Some(before);
            }
            if let Some(rollout) = self.seen.rollouts.get_mut(&step.unit.rollout()) {
                let rollout = Arc::make_mut(rollout);
                let back = work.from.and_then(|from| rollout.revision(from)).map(|record| record.content.clone());
                rollout.settle(step, &outcome);
                if let Some(seen) = self.seen.devices.get_mut(device) {
                    become_so(Arc::make_mut(seen), &step.action, work, back.as_deref(), seen_at);
                }
            }
        }
        self.now = later(3);
    }

    /// Everybody agrees to what waits for them. Returns whether somebody was asked.
    fn agree(&mut self, deferred: &[Deferred]) -> bool {
        let mut asked = false;
        for deferred in deferred {
            let WaitingOn::Approval { id } = &deferred.waiting_on else { continue };
            let rollout = Arc::make_mut(self.seen.rollouts.entry(deferred.unit.rollout()).or_default());
            rollout.apply(&RolloutChange::Approve { approval: id.clone(), by: String::new() }, self.now);
            asked = true;
        }
        asked
    }
}

fn become_so(seen: &mut DeviceSeen, action: &Action, work: &Work, back: Option<&Content>, at: Timestamp) {
    match action {
        Action::Apply(_) => change(seen, &work.content, at),
        Action::Restore { .. } => {
            work.content.items().for_each(|item| drop(seen.items.insert(item, ItemSeen::Absent)));
            back.into_iter().for_each(|content| change(seen, content, at));
        }
        Action::Remove(_) => work.content.items().for_each(|item| drop(seen.items.insert(item, ItemSeen::Absent))),
        Action::Reboot { .. } => seen.boot_id.push('+'),
        Action::Prepare(_) | Action::Rollout(_) | Action::Admit { .. } => return,
    }
    see(seen, at);
}

/// The device has the content, and is well with it.
fn change(seen: &mut DeviceSeen, content: &Content, at: Timestamp) {
    for package in &content.packages {
        let item = match package {
            Package::Apt(apt) => ItemSeen::Package { version: apt.version.clone(), held: apt.hold, broken: false },
            Package::Archive(archive) => ItemSeen::Archive { sha256: archive.sha256.clone() },
        };
        seen.items.insert(package.key(), item);
    }
    for file in &content.files {
        let sha256 = file.source.sha256().unwrap_or_default();
        let item = ItemSeen::File { sha256, mode: file.mode.clone(), owner: file.owner.clone(), group: file.group.clone() };
        seen.items.insert(ItemKey::file(&file.path), item);
    }
    for account in &content.accounts {
        seen.items.insert(account.key(), account.seen());
    }
    for service in &content.services {
        seen.items.insert(ItemKey::unit(&service.unit), ItemSeen::Unit { active: true, state: "active/running".into() });
    }
    see(seen, at);
}

fn see(seen: &mut DeviceSeen, at: Timestamp) {
    seen.seen_at = Some(at);
    for probe in seen.probes.values_mut() {
        if probe.state != ProbeState::Ok {
            probe.since = Some(at);
        }
        (probe.state, probe.seen_at, probe.last_ok) = (ProbeState::Ok, Some(at), Some(at));
    }
}

impl Observed {
    /// Every device as if it had been looked at and had nothing of what is wanted on it: what a first rollout would find.
    pub fn bare(desired: &Desired, now: Timestamp) -> Self {
        let seen = |device: &Device| {
            let units = desired.selected_by.get(&device.name).into_iter().flatten().filter_map(|unit| desired.deployments.get(unit));
            let items = units.flat_map(|unit| unit.content_for(&device.name).0.items().collect::<Vec<_>>());
            DeviceSeen {
                contact: Contact::Known,
                seen_at: Some(now),
                items: items.map(|item| (item, ItemSeen::Absent)).collect(),
                probes: device.probes.iter().map(|probe| (probe.name.clone(), Box::<ProbeSeen>::default())).collect(),
                ..DeviceSeen::default()
            }
        };
        let devices = desired.devices.iter().map(|(name, device)| (name.clone(), Arc::new(seen(device)))).collect();
        Self { devices, ..Self::default() }
    }
}

impl Outlook {
    /// Whether nothing would be done.
    pub fn is_empty(&self) -> bool {
        self.plans.is_empty()
    }

    /// Devices that would be changed.
    pub fn devices(&self) -> BTreeSet<&Name> {
        let steps = self.plans.iter().flat_map(|plan| &plan.steps);
        steps
            .filter(|step| step.action.work().is_some() && !matches!(step.action, Action::Prepare(_)))
            .map(|step| step.target.name())
            .collect()
    }
}

impl fmt::Display for Outlook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut units: BTreeMap<&Target, Vec<&Step>> = BTreeMap::new();
        for step in self.plans.iter().flat_map(|plan| &plan.steps) {
            units.entry(&step.unit).or_default().push(step);
        }
        if units.is_empty() && self.deferred.is_empty() {
            return writeln!(f, "Nothing to do.");
        }
        for (unit, steps) in &units {
            writeln!(f, "{unit}")?;
            if let Some(opens) = self.windows.get(unit) {
                writeln!(f, "  waits for its window, which opens at {}", clock(*opens))?;
            }
            told(f, steps)?;
        }
        if !self.ends {
            writeln!(f, "… and more than can be shown")?;
        }
        if !self.deferred.is_empty() {
            writeln!(f, "Put off:")?;
        }
        let alike = alike(&self.deferred);
        for (deferred, targets) in alike.iter().take(TOLD) {
            let on = if targets == &[&deferred.unit] { String::new() } else { format!("{}: ", named(targets)) };
            writeln!(f, "  {}: {on}{}: not now. {}", deferred.unit, deferred.wants, deferred.waiting_on)?;
        }
        match alike.len().saturating_sub(TOLD) {
            0 => Ok(()),
            more => writeln!(f, "  … and {more} more"),
        }
    }
}

/// What is put off alike, together: each once, with all that it is wanted on.
pub fn alike<'a>(deferred: impl IntoIterator<Item = &'a Deferred>) -> Vec<(&'a Deferred, Vec<&'a Target>)> {
    let mut groups: Vec<(&Deferred, Vec<&Target>)> = Vec::new();
    let mut known: BTreeMap<(&Target, &str, String), usize> = BTreeMap::new();
    for deferred in deferred {
        let key = (&deferred.unit, deferred.wants.as_str(), deferred.waiting_on.to_string());
        match known.get(&key) {
            Some(at) => groups[*at].1.push(&deferred.target),
            None => {
                known.insert(key, groups.len());
                groups.push((deferred, vec![&deferred.target]));
            }
        }
    }
    groups
}

/// Some targets by name, the others by number: `device/web-01, device/web-02 and 10 more`.
pub fn named(targets: &[&Target]) -> String {
    let names = targets.iter().take(NAMES).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match targets.len().saturating_sub(NAMES) {
        0 => names,
        more => format!("{names} and {more} more"),
    }
}

/// One Deployment's steps in order; devices that change alike, one after the other, in one line.
fn told(f: &mut fmt::Formatter<'_>, steps: &[&Step]) -> fmt::Result {
    let mut alike: Option<(String, Vec<&Name>)> = None;
    let mut told = 0;
    for (number, step) in steps.iter().enumerate() {
        if told == TOLD {
            flush(f, alike.take())?;
            return writeln!(f, "  … and {} more steps", steps.len() - number);
        }
        let what = match &step.action {
            Action::Prepare(_) => continue,
            Action::Rollout(_) | Action::Admit { .. } => None,
            action => {
                let changes: String = step.changes.iter().take(20).map(|change| format!("\n      {change}")).collect();
                Some(format!("{}{changes}", action.word()))
            }
        };
        match (&mut alike, what) {
            (Some((same, devices)), Some(what)) if *same == what => devices.push(step.target.name()),
            (_, what) => {
                flush(f, alike.take())?;
                told += 1;
                match what {
                    Some(what) => alike = Some((what, vec![step.target.name()])),
                    None => writeln!(f, "  {step}")?,
                }
            }
        }
    }
    flush(f, alike)
}

fn flush(f: &mut fmt::Formatter<'_>, alike: Option<(String, Vec<&Name>)>) -> fmt::Result {
    let Some((what, devices)) = alike else { return Ok(()) };
    let names = devices.iter().take(NAMES).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let more = if devices.len() > NAMES { format!(" and {} more", devices.len() - NAMES) } else { String::new() };
    writeln!(f, "  ~ {names}{more}: {what}")
}
