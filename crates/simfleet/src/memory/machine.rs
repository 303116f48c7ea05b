//! One machine in memory: what is on it, and what its steps do to that.

use std::collections::{BTreeMap, VecDeque};

use jiff::{SignedDuration, Timestamp};
use reconcile::rollout::WayBackSeen;
use reconcile::{
    Action, Content, DeviceSeen, Digest, ItemKey, ItemSeen, Outcome, Package, ProbeState, Reboot, Step, StepId, Verdict, Work,
};

/// What a bad version breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breaks {
    /// Its own installation: the step fails, and the package stays half-installed.
    Install,
    /// The unit of the package's name.
    Unit,
    /// The device's probes.
    Probe,
}

/// How the next step ends that begins on a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// As it should.
    Well,
    /// It fails, and has changed something.
    Fails,
    /// It is refused, and nothing has changed.
    Refused,
    /// A prepare step finds no way back; any other ends as it should.
    NoWayBack,
    /// It hangs until its deadline, and is ended by that.
    Hangs,
}

/// Bad versions.
pub(super) type Versions = BTreeMap<String, Breaks>;

/// One machine.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    items: BTreeMap<ItemKey, ItemSeen>,
    boots: u32,
    needs_reboot: bool,
    away: bool,
    sick: bool,
    takes: SignedDuration,
    fates: VecDeque<Fate>,
    /// What each step found before it changed that.
    saved: BTreeMap<StepId, BTreeMap<ItemKey, ItemSeen>>,
    known: BTreeMap<StepId, Ran>,
    runs: BTreeMap<StepId, u32>,
}

/// A step that has begun.
#[derive(Clone, Debug)]
struct Ran {
    step: Step,
    ends: Timestamp,
    outcome: Outcome,
}

impl Machine {
    /// Whether it can't be reached.
    pub fn is_away(&self) -> bool {
        self.away
    }

    /// It can't be reached from now on, or can again; what runs on it goes on.
    pub fn set_away(&mut self, away: bool) {
        self.away = away;
    }

    /// Its probes fail from now on whatever is installed, or don't.
    pub fn set_sick(&mut self, sick: bool) {
        self.sick = sick;
    }

    /// How long its steps take.
    pub fn set_takes(&mut self, takes: SignedDuration) {
        self.takes = takes;
    }

    /// How a step ends that begins after those whose fate is known.
    pub fn push_fate(&mut self, fate: Fate) {
        self.fates.push_back(fate);
    }

    /// From now on steps end as they should.
    pub fn clear_fates(&mut self) {
        self.fates.clear();
    }

    /// It says that it needs a reboot.
    pub fn set_needs_reboot(&mut self) {
        self.needs_reboot = true;
    }

    /// Somebody changes a package by hand; no version: takes it off.
    pub fn drift(&mut self, package: &str, version: Option<&str>) {
        let seen = version.map_or(ItemSeen::Absent, |version| ItemSeen::Package { version: version.into(), held: false, broken: false });
        self.items.insert(ItemKey::apt(package), seen);
    }

    /// The power fails and comes back: a step under way is interrupted, with or without what it was to change.
    pub fn lose_power(&mut self, now: Timestamp, changed: bool) {
        self.boots += 1;
        self.needs_reboot = false;
        let running: Vec<StepId> = self.known.iter().filter(|(_, ran)| ran.ends > now).map(|(id, _)| id.clone()).collect();
        for id in running {
            let Some(ran) = self.known.get_mut(&id) else { continue };
            ran.ends = now;
            if matches!(ran.step.action, Action::Reboot { .. }) {
                ran.outcome = Outcome::done(now, "");
                continue;
            }
            ran.outcome = Outcome::failed(now, "interrupted: the device went down in the middle of it");
            if !changed && matches!(ran.step.action, Action::Apply(_)) {
                self.items.extend(self.saved.get(&id).cloned().unwrap_or_default());
            }
        }
    }

    /// A package's version, if it is installed.
    pub fn version(&self, package: &str) -> Option<&str> {
        match self.items.get(&ItemKey::apt(package)) {
            Some(ItemSeen::Package { version, broken: false, .. }) => Some(version),
            _ => None,
        }
    }

    /// Steps that began here, with how often each did.
    pub fn runs(&self) -> impl Iterator<Item = (&StepId, u32)> {
        self.runs.iter().map(|(id, times)| (id, *times))
    }

    pub(super) fn forget(&mut self, id: &StepId) {
        self.known.remove(id);
    }

    pub(super) fn boot_id(&self) -> String {
        format!("boot-{}", self.boots)
    }

    pub(super) fn needs_reboot(&self) -> bool {
        self.needs_reboot
    }

    pub(super) fn probe(&self, versions: &Versions) -> Option<ProbeState> {
        let breaks = || self.items.values().any(|item| bad(item, versions) == Some(Breaks::Probe));
        let state = if self.sick || breaks() { ProbeState::Fail } else { ProbeState::Ok };
        (!self.away).then_some(state)
    }

    /// A unit runs while the package of its name is installed and not bad.
    pub(super) fn look(&self, key: &ItemKey, versions: &Versions) -> ItemSeen {
        let ("unit", unit) = key.split() else { return self.items.get(key).cloned().unwrap_or(ItemSeen::Absent) };
        let package = self.items.get(&ItemKey::apt(unit.trim_end_matches(".service")));
        match package {
            Some(item @ ItemSeen::Package { broken, .. }) => {
                let active = !broken && bad(item, versions) != Some(Breaks::Unit);
                ItemSeen::Unit { active, state: if active { "active/running".into() } else { "failed/failed".into() } }
            }
            _ => ItemSeen::Absent,
        }
    }

    /// Begins a step or finds it again, and says how it ended if it has.
    pub(super) fn act(&mut self, step: &Step, now: Timestamp, versions: &Versions) -> Option<Outcome> {
        if self.away {
            return None;
        }
        if !self.known.contains_key(&step.id) {
            let ran = self.begin(step, now, versions);
            // What never began leaves nothing behind by which it could be found again.
            if ran.outcome.verdict == Verdict::Refused {
                return Some(ran.outcome);
            }
            self.known.insert(step.id.clone(), ran);
        }
        self.known.get(&step.id).filter(|ran| ran.ends <= now).map(|ran| ran.outcome.clone())
    }

    fn begin(&mut self, step: &Step, now: Timestamp, versions: &Versions) -> Ran {
        let fate = self.fates.pop_front().unwrap_or(Fate::Well);
        let ended = |outcome| Ran { step: step.clone(), ends: now, outcome };
        let Some(work) = step.action.work() else { return ended(Outcome::refused(now, "not a device's step")) };
        if fate == Fate::Refused {
            return ended(Outcome::refused(now, "could not be started"));
        }
        if step.expects.as_ref().is_some_and(|expects| self.fingerprint(work) != *expects) {
            return ended(Outcome::refused(now, "the device is not as it was when this was planned"));
        }
        *self.runs.entry(step.id.clone()).or_default() += 1;
        let takes = if fate == Fate::Hangs { SignedDuration::from_secs(work.deadline_seconds.max(60)) } else { self.takes };
        let ends = now.saturating_add(takes).unwrap_or(Timestamp::MAX);
        let mut outcome = Outcome::done(ends, "");
        if let Err(message) = self.change(step, work, fate, versions, &mut outcome) {
            outcome = Outcome { verdict: Verdict::Failed, message, ..outcome };
        } else if matches!(fate, Fate::Fails | Fate::Hangs) {
            outcome = Outcome::failed(ends, if fate == Fate::Hangs { "timed out" } else { "exit code 1" });
        }
        Ran { step: step.clone(), ends, outcome }
    }

    fn change(&mut self, step: &Step, work: &Work, fate: Fate, versions: &Versions, outcome: &mut Outcome) -> Result<(), String> {
        match &step.action {
            Action::Prepare(_) if fate == Fate::NoWayBack => {
                outcome.way_back = WayBackSeen::Missing("the old package is not to be had".into());
            }
            Action::Prepare(_) => outcome.way_back = WayBackSeen::Proven,
            Action::Apply(_) => {
                let items = work.content.items().filter(|key| key.split().0 != "unit");
                let before = items.map(|key| (key.clone(), self.items.get(&key).cloned().unwrap_or(ItemSeen::Absent))).collect();
                self.saved.insert(step.id.clone(), before);
                self.put(&work.content, versions)?;
                outcome.reboot_from = self.reboots(&work.content).then(|| self.boot_id());
            }
            // What failed on the way back has brought nothing back.
            Action::Restore { .. } | Action::Remove(_) if matches!(fate, Fate::Fails | Fate::Hangs) => {}
            Action::Restore { undo, .. } => {
                let saved = self.saved.get(undo).cloned().ok_or_else(|| format!("step {undo} saved nothing here"))?;
                self.items.extend(saved);
                outcome.reboot_from = self.reboots(&work.content).then(|| self.boot_id());
            }
            Action::Remove(_) => self.items.extend(work.content.items().map(|key| (key, ItemSeen::Absent))),
            Action::Reboot { boot_id, .. } if *boot_id == self.boot_id() => {
                self.boots += 1;
                self.needs_reboot = false;
            }
            Action::Reboot { .. } | Action::Rollout(_) | Action::Admit { .. } => {}
        }
        Ok(())
    }

    fn reboots(&self, content: &Content) -> bool {
        match content.reboot {
            Reboot::Always => true,
            Reboot::IfRequired => self.needs_reboot,
            Reboot::Never => false,
        }
    }

    fn put(&mut self, content: &Content, versions: &Versions) -> Result<(), String> {
        for package in &content.packages {
            let mut item = match package {
                Package::Apt(apt) => ItemSeen::Package { version: apt.version.clone(), held: apt.hold, broken: false },
                Package::Archive(archive) => ItemSeen::Archive { sha256: archive.sha256.clone() },
            };
            let fails = bad(&item, versions) == Some(Breaks::Install);
            if let (true, ItemSeen::Package { broken, .. }) = (fails, &mut item) {
                *broken = true;
            }
            self.items.insert(package.key(), item);
            if fails {
                return Err(format!("{} failed to configure", package.key()));
            }
        }
        self.items.extend(content.accounts.iter().map(|account| (account.key(), account.seen())));
        for file in &content.files {
            let sha256 = file.source.sha256().unwrap_or_default();
            let item = ItemSeen::File { sha256, mode: file.mode.clone(), owner: file.owner.clone(), group: file.group.clone() };
            self.items.insert(ItemKey::file(&file.path), item);
        }
        Ok(())
    }

    fn fingerprint(&self, work: &Work) -> Digest {
        let items = work.content.items().map(|key| (key.clone(), self.items.get(&key).cloned().unwrap_or(ItemSeen::Absent))).collect();
        DeviceSeen { items, ..DeviceSeen::default() }.fingerprint(&work.content)
    }
}

fn bad(item: &ItemSeen, versions: &Versions) -> Option<Breaks> {
    let ItemSeen::Package { version, .. } = item else { return None };
    versions.get(version).copied()
}
