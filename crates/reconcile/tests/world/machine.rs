//! One machine on paper.

use std::collections::BTreeMap;

use jiff::Timestamp;
use reconcile::rollout::WayBackSeen;
use reconcile::{Action, Content, DeviceSeen, ItemKey, ItemSeen, Outcome, Package, ProbeState, Reboot, Step, StepId, Verdict, Work};

/// One machine: what is on it, and how it will behave.
#[derive(Default)]
pub struct Machine {
    /// Packages, archives and files.
    pub items: BTreeMap<ItemKey, ItemSeen>,
    /// The state of all its units, where that is not what its packages make it.
    pub units: Option<String>,
    /// What its probes answer, where that is not what its packages make it.
    pub probes: Option<ProbeState>,
    /// Its probes are not run.
    pub probes_rest: bool,
    /// Versions that don't work, with what they break: `unit`, `probe` or `hidden` (nothing that can be seen).
    pub broken: BTreeMap<String, String>,
    pub boots: u32,
    pub needs_reboot: bool,
    pub away: Option<(Timestamp, String)>,
    /// How the next steps with a verb end: `fail: words`, `refuse: words`, `no way back: words`, `hang`.
    pub ends: Vec<(String, String)>,
    /// A step that hangs.
    pub hangs: Option<StepId>,
    /// What was there before the step that saved it.
    saved: BTreeMap<StepId, BTreeMap<ItemKey, Option<ItemSeen>>>,
    /// Steps that ran here, and how they ended: none runs twice.
    pub ran: BTreeMap<StepId, Outcome>,
}

impl Machine {
    pub fn boot_id(&self) -> String {
        format!("boot-{}", self.boots)
    }

    pub fn look(&self, key: &ItemKey) -> ItemSeen {
        if key.split().0 != "unit" {
            return self.items.get(key).cloned().unwrap_or(ItemSeen::Absent);
        }
        let state = match (&self.units, self.breaks("unit")) {
            (Some(state), _) => state.clone(),
            (None, true) => "failed/failed".into(),
            (None, false) if self.items.is_empty() => return ItemSeen::Absent,
            (None, false) => "active/running".into(),
        };
        ItemSeen::Unit { active: state.starts_with("active"), state }
    }

    pub fn probe_state(&self) -> ProbeState {
        self.probes.unwrap_or(if self.breaks("probe") { ProbeState::Fail } else { ProbeState::Ok })
    }

    fn breaks(&self, what: &str) -> bool {
        let versions = self.items.values().filter_map(|item| match item {
            ItemSeen::Package { version, .. } => Some(version),
            _ => None,
        });
        versions.into_iter().any(|version| self.broken.get(version).is_some_and(|breaks| breaks == what))
    }

    /// Runs a step, or says how it ended if it ran before. `None`: it is not known yet.
    pub fn run(&mut self, step: &Step, now: Timestamp) -> Option<Outcome> {
        if self.away.is_some() || self.hangs.as_ref() == Some(&step.id) {
            return None;
        }
        if let Some(outcome) = self.ran.get(&step.id) {
            return Some(outcome.clone());
        }
        let verb = step.action.word();
        let ends = self.ends.iter().position(|(of, _)| of == verb).map(|at| self.ends.remove(at).1).unwrap_or_default();
        if ends == "hang" {
            self.hangs = Some(step.id.clone());
            return None;
        }
        let outcome = self.end(step, &ends, now);
        self.ran.insert(step.id.clone(), outcome.clone());
        Some(outcome)
    }

    /// How a step ends, and what it leaves here.
    fn end(&mut self, step: &Step, ends: &str, now: Timestamp) -> Outcome {
        let work = step.action.work().expect("a device's step");
        let (how, words) = ends.split_once(": ").unwrap_or((ends, ""));
        if how == "refuse" {
            return Outcome::refused(now, words);
        }
        if step.expects.as_ref().is_some_and(|expects| self.fingerprint(work) != *expects) {
            return Outcome::refused(now, "the device is not as it was when this was planned");
        }
        let mut outcome = Outcome::done(now, "");
        match how {
            "no way back" => outcome.way_back = WayBackSeen::Missing(words.into()),
            "fail" => outcome = Outcome { verdict: Verdict::Failed, message: words.into(), ..outcome },
            _ if matches!(step.action, Action::Prepare(_)) => outcome.way_back = WayBackSeen::Proven,
            _ => {}
        }
        let done = outcome.verdict == Verdict::Done;
        match &step.action {
            Action::Apply(_) => {
                let before = work.content.items().map(|key| (key.clone(), self.items.get(&key).cloned()));
                self.saved.insert(step.id.clone(), before.collect());
                put(&work.content, &mut self.items);
                outcome.reboot_from = (done && self.reboots(&work.content)).then(|| self.boot_id());
            }
            Action::Restore { undo, .. } if done => {
                for (key, before) in self.saved.get(undo).cloned().expect("only what was saved is restored") {
                    match before {
                        Some(before) => drop(self.items.insert(key, before)),
                        None => drop(self.items.remove(&key)),
                    }
                }
                outcome.reboot_from = self.reboots(&work.content).then(|| self.boot_id());
            }
            Action::Remove(_) if done => work.content.items().for_each(|key| drop(self.items.remove(&key))),
            Action::Reboot { .. } if done => {
                self.boots += 1;
                self.needs_reboot = false;
            }
            Action::Prepare(_) | Action::Reboot { .. } | Action::Restore { .. } | Action::Remove(_) => {}
            Action::Rollout(_) | Action::Admit { .. } => unreachable!("not a device's step"),
        }
        outcome
    }

    fn reboots(&self, content: &Content) -> bool {
        match content.reboot {
            Reboot::Always => true,
            Reboot::IfRequired => self.needs_reboot,
            Reboot::Never => false,
        }
    }

    fn fingerprint(&self, work: &Work) -> reconcile::Digest {
        let items = work.content.items().map(|key| (key.clone(), self.look(&key))).collect();
        DeviceSeen { items, ..DeviceSeen::default() }.fingerprint(&work.content)
    }
}

fn put(content: &Content, items: &mut BTreeMap<ItemKey, ItemSeen>) {
    for package in &content.packages {
        let seen = match package {
            Package::Apt(apt) => ItemSeen::Package { version: apt.version.clone(), held: apt.hold, broken: false },
            Package::Archive(archive) => ItemSeen::Archive { sha256: archive.sha256.clone() },
        };
        items.insert(package.key(), seen);
    }
    for account in &content.accounts {
        items.insert(account.key(), account.seen());
    }
    for file in &content.files {
        let sha256 = file.source.sha256().unwrap_or_default();
        let seen = ItemSeen::File { sha256, mode: file.mode.clone(), owner: file.owner.clone(), group: file.group.clone() };
        items.insert(ItemKey::file(&file.path), seen);
    }
}
