//! One device's turn within a Deployment: everything that can say "not now", and the step if nothing does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::draft::Draft;
use super::gate::{self, Gate};
use super::shared::{Group, Shared};
use super::survey::count;
use super::unit::Unit;
use crate::content::Content;
use crate::desired::{Access, Device, is_own_way};
use crate::name::Target;
use crate::observed::{Contact, DeviceSeen, Health, ItemKey};
use crate::plan::{Action, Step, StepId, WaitingOn, Work};
use crate::rollout::{ATTEMPTS, Phase, Placement, RevisionRecord, RevisionResult, WayBackSeen};
use crate::window::{self, Opening};

/// Time after which a way back that was missing is looked for again.
const WAY_BACK_AGAIN: SignedDuration = SignedDuration::from_mins(10);

/// Whether a device that something is wanted of is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Turn {
    /// Not any more.
    Over,
    /// The budget holds it back, for devices that are out without anybody being at work on them.
    Held,
    /// It is on its way, or its turn will come.
    Moving,
}

/// A device on which something is wanted.
pub(super) struct Wanted<'u, 'a> {
    unit: &'u Unit<'a>,
    pub(super) device: &'a Device,
    pub(super) seen: Option<&'a DeviceSeen>,
    /// What was done on it for this Deployment, for whichever revision.
    pub(super) placement: Option<&'a Placement>,
    record: &'u RevisionRecord,
    batch: u32,
    revert: bool,
    /// How a change is spoken of.
    verb: &'static str,
}

impl<'u, 'a> Wanted<'u, 'a> {
    pub(super) fn new(unit: &'u Unit<'a>, device: &'a Device, record: &'u RevisionRecord) -> Self {
        let seen = unit.observed.devices.get(&device.name).map(|seen| &**seen);
        let placement = unit.rollout.placements.get(&device.name);
        Self { unit, device, seen, placement, record, batch: 0, revert: record.revert, verb: "update to" }
    }

    pub(super) fn in_batch(mut self, batch: u32) -> Self {
        self.batch = batch;
        self
    }

    /// The revision is in force already, so that lower versions are meant too.
    pub(super) fn steadily(mut self, verb: &'static str) -> Self {
        self.revert = true;
        self.verb = verb;
        self
    }

    fn target(&self) -> Target {
        Target::Device(self.device.name.clone())
    }

    fn defer(&self, draft: &mut Draft, wants: &str, waiting_on: WaitingOn) {
        draft.defer(self.unit.name(), self.target(), wants, waiting_on);
    }

    /// This revision's placement.
    pub(super) fn here(&self) -> Option<&'a Placement> {
        self.placement.filter(|placement| placement.revision == self.record.number)
    }

    /// Brings the content onto the device: proves the way back first, if that is needed. Returns whether that is waited for.
    pub(super) fn forward(&self, shared: &mut Shared<'_>, budget: &mut Budget, draft: &mut Draft, prove: bool) -> Turn {
        let wants = format!("{} revision {}", self.verb, self.record.number);
        if let Some(waiting) = self.blocked(shared, draft).or_else(|| self.missing()) {
            self.defer(draft, &wants, waiting);
            return Turn::Moving;
        }
        let here = self.here();
        if let Some(waiting) = here.and_then(|placement| self.backing_off(placement, draft)) {
            self.defer(draft, &wants, waiting);
            return Turn::Moving;
        }
        match here.filter(|_| prove).map(|placement| (&placement.way_back, placement.since)) {
            _ if !prove => {}
            Some((WayBackSeen::Proven, _)) => {}
            Some((WayBackSeen::Missing(reason), since)) => {
                let again = since.saturating_add(WAY_BACK_AGAIN).unwrap_or(Timestamp::MAX);
                if self.unit.deployment.way_back == crds::WayBack::Require {
                    if self.unit.now >= again {
                        self.then(shared, draft, "look for a way back again", Action::Prepare);
                        return Turn::Moving;
                    }
                    draft.look_at(Some(again));
                    self.defer(draft, &wants, WaitingOn::NoWayBack { reason: reason.clone() });
                    return Turn::Moving;
                }
            }
            Some((WayBackSeen::Unknown, _)) | None => {
                self.then(shared, draft, "prove the way back", Action::Prepare);
                return Turn::Moving;
            }
        }
        if let Some(waiting) = budget.refuse(self.unit, shared, draft, self.device) {
            let turn = held(shared, &waiting);
            self.defer(draft, &wants, waiting);
            return turn;
        }
        self.then(shared, draft, &wants, Action::Apply);
        Turn::Moving
    }

    /// Takes the revision off the device again, for a reason. Returns whether that is waited for.
    pub(super) fn backward(
        &self,
        shared: &mut Shared<'_>,
        budget: &mut Budget,
        draft: &mut Draft,
        to: Option<&RevisionRecord>,
        reason: &str,
    ) -> Turn {
        let Some(placement) = self.placement else { return Turn::Over };
        let wants = format!("take back revision {}", self.record.number);
        if placement.phase.is_in_flight() {
            self.under_way(draft);
            return if self.unit.lost(&self.device.name, placement) { Turn::Over } else { Turn::Moving };
        }
        let in_vain = match self.here() {
            Some(here) => taken_back_in_vain(here, self.unit.now),
            // Half way to the revision that it goes back to.
            None => self.backing_off(placement, draft),
        };
        if let Some(waiting) = in_vain {
            let turn = if matches!(waiting, WaitingOn::Health { until: Some(_), .. }) { Turn::Moving } else { Turn::Over };
            self.defer(draft, &wants, waiting);
            return turn;
        }
        if let Some(waiting) = self.blocked(shared, draft) {
            let turn = if matches!(waiting, WaitingOn::Lock { .. } | WaitingOn::Dependency { .. }) { Turn::Moving } else { Turn::Over };
            self.defer(draft, &wants, waiting);
            return turn;
        }
        let direct = to.is_none_or(|to| placement.from.is_none_or(|from| from == to.number));
        let undo = placement.undo.clone().filter(|_| direct);
        let reboot = placement.owes_reboot();
        if undo.is_none() && to.is_none() && reboot.is_none() {
            return Turn::Over;
        }
        if let Some(waiting) = budget.refuse(self.unit, shared, draft, self.device) {
            let turn = held(shared, &waiting);
            self.defer(draft, &wants, waiting);
            return turn;
        }
        if let Some(boot_id) = reboot {
            let boot_id = boot_id.to_owned();
            self.then(shared, draft, "reboot, as what was restored needs", |work| Action::Reboot { work, boot_id });
            return Turn::Moving;
        }
        let why = format!("{wants}: {reason}");
        match (undo, to) {
            (Some(undo), _) => self.then(shared, draft, &why, |work| Action::Restore { work, undo }),
            (None, Some(to)) => Wanted { record: to, batch: 0, revert: true, ..*self }.then(shared, draft, &why, Action::Apply),
            (None, None) => {}
        }
        Turn::Moving
    }

    /// Whether what was there before the change can be brought back, and was not taken back itself.
    pub(super) fn may_return(&self, placement: &Placement) -> bool {
        let before = placement.from.and_then(|number| self.unit.rollout.revision(number)).map(|record| &record.result);
        placement.undo.is_some() && !matches!(before, Some(RevisionResult::RollingBack { .. } | RevisionResult::RolledBack { .. }))
    }

    /// What of the revision no other Deployment wants on the device; `None`: nothing.
    pub(super) fn own_content(&self) -> Option<Content> {
        let desired = self.unit.desired;
        let others = desired.selected_by.get(&self.device.name).into_iter().flatten().filter(|other| *other != self.unit.name());
        let others = others.filter_map(|other| desired.deployments.get(other));
        let kept: BTreeSet<ItemKey> = others.flat_map(|other| other.content_for(&self.device.name).0.items().collect::<Vec<_>>()).collect();
        let mut content = (*self.unit.content_for(self.record, &self.device.name).0).clone();
        content.packages.retain(|package| !kept.contains(&package.key()));
        content.files.retain(|file| !kept.contains(&ItemKey::file(&file.path)));
        content.accounts.retain(|account| !kept.contains(&account.key()) && !is_own_way(&self.device.access, &account.user));
        content.services.retain(|service| !kept.contains(&ItemKey::unit(&service.unit)));
        (!content.packages.is_empty() || !content.files.is_empty() || !content.accounts.is_empty()).then_some(content)
    }

    /// Takes content of the revision that the device holds off it, since it left the selector or the Deployment is gone.
    pub(super) fn remove(&self, shared: &mut Shared<'_>, budget: &mut Budget, draft: &mut Draft, content: Content) {
        let wants = format!("remove revision {}", self.record.number);
        let failed = self.placement.filter(|placement| placement.phase == Phase::Failed);
        let until = failed.map(|placement| backoff(placement.since, placement.attempt)).filter(|until| self.unit.now < *until);
        let backs_off =
            until.zip(failed).map(|(until, placement)| WaitingOn::Health { reason: placement.failure.clone(), until: Some(until) });
        let waiting = self.unit.closed().or_else(|| self.blocked(shared, draft)).or(backs_off);
        match waiting.or_else(|| budget.refuse(self.unit, shared, draft, self.device)) {
            Some(waiting) => self.defer(draft, &wants, waiting),
            None => {
                let why = match (self.unit.rollout.deletion.is_some(), self.unit.name().role().is_some()) {
                    (true, false) => "the Deployment was deleted",
                    (true, true) => "the Role has no login any more",
                    (false, _) => "it left the selector",
                };
                let digest = content.digest();
                self.then(shared, draft, why, |work| Action::Remove(Work { digest, content: Arc::new(content), ..work }));
            }
        }
    }

    /// Says that a step of this Deployment is at work there.
    pub(super) fn under_way(&self, draft: &mut Draft) {
        let Some(placement) = self.placement else { return };
        draft.look_at(self.unit.lost_at(&self.device.name, placement));
        let waiting = match self.seen.map(|seen| &seen.contact) {
            Some(Contact::Unreachable { since, reason, .. }) => {
                WaitingOn::Unreachable { since: Some(*since), reason: format!("{reason}, with a step under way") }
            }
            _ => WaitingOn::Lock { step: placement.step.clone(), holder: self.unit.name().clone() },
        };
        self.defer(draft, &format!("go on with revision {}", placement.revision), waiting);
    }

    /// Reboots the device, as its change asks for.
    pub(super) fn reboot(&self, shared: &mut Shared<'_>, budget: &mut Budget, draft: &mut Draft, boot_id: &str) {
        if let Some(waiting) = self.blocked(shared, draft).or_else(|| budget.refuse(self.unit, shared, draft, self.device)) {
            return self.defer(draft, "reboot", waiting);
        }
        let boot_id = boot_id.to_owned();
        self.then(shared, draft, "reboot, as the change needs", |work| Action::Reboot { work, boot_id });
    }

    /// What says "not now" to anything on this device, whatever it is.
    fn blocked(&self, shared: &Shared<'_>, draft: &mut Draft) -> Option<WaitingOn> {
        if self.device.suspend {
            return Some(WaitingOn::Suspended { by: format!("device/{} spec.suspend", self.device.name) });
        }
        if self.device.access == Access::None {
            return Some(WaitingOn::Suspended { by: format!("device/{} has no access", self.device.name) });
        }
        let accounts = &self.record.content.accounts;
        if let Some(account) = accounts.iter().find(|account| is_own_way(&self.device.access, &account.user)) {
            return Some(WaitingOn::Suspended { by: format!("{} is the account by which the engine logs in there", account.user) });
        }
        match self.seen.map(|seen| &seen.contact) {
            Some(Contact::Known) => {}
            Some(Contact::Unreachable { since, reason, .. }) => {
                return Some(WaitingOn::Unreachable { since: Some(*since), reason: reason.clone() });
            }
            Some(Contact::Never) | None => {
                return Some(WaitingOn::Unreachable { since: None, reason: "not tried yet".into() });
            }
        }
        if let Some((step, holder)) = shared.holder(&self.device.name) {
            return Some(WaitingOn::Lock { step, holder });
        }
        if let Opening::Open { until, reason } = window::opening(&self.device.maintenance, self.unit.now) {
            return Some(WaitingOn::Maintenance { until: Some(until), reason });
        }
        // A device and those that are reached through it are never worked on at once.
        let parent = self.device.parents.iter().find(|parent| shared.is_worked_on(parent)).cloned();
        let busy = parent.or_else(|| shared.busy_below(&self.device.name));
        draft.look_at(busy.as_ref().and_then(|device| shared.patience_with(device)));
        busy.map(|device| WaitingOn::Dependency { on: Target::Device(device) })
    }

    /// Another Deployment that has to be here first.
    fn missing(&self) -> Option<WaitingOn> {
        let missing = self.unit.deployment.depends_on.iter().find(|other| !self.has(other));
        missing.map(|other| WaitingOn::Dependency { on: Target::unit(other) })
    }

    /// Whether another Deployment's wanted revision is on this device.
    fn has(&self, other: &crate::name::Name) -> bool {
        let Some(deployment) = self.unit.desired.deployments.get(other) else { return false };
        if deployment.members.binary_search(&self.device.name).is_err() {
            return true;
        }
        let (content, _) = deployment.content_for(&self.device.name);
        if self.seen.and_then(|seen| content.matcher().matches(seen)) != Some(true) {
            return false;
        }
        let unit = Unit::new(self.unit.desired, self.unit.observed, deployment, self.unit.now);
        let Some(placement) = unit.rollout.placements.get(&self.device.name) else { return true };
        let result = unit.rollout.revision(placement.revision).map(|record| &record.result);
        placement.phase == Phase::Applied
            && placement.reboot_from.is_none()
            && match result {
                Some(RevisionResult::Complete) => true,
                // What is there is on its way out.
                Some(RevisionResult::RollingBack { .. } | RevisionResult::RolledBack { .. }) => false,
                _ => matches!(gate::judge(&unit, content, self.device, placement), Gate::Passed(_)),
            }
    }

    /// The last try failed or was refused: wait longer each time, and give up after some.
    fn backing_off(&self, placement: &Placement, draft: &mut Draft) -> Option<WaitingOn> {
        let failed = !placement.failure.is_empty() || placement.phase == Phase::Restored;
        // Prepared without a complaint is a step on the way, not a try that ended.
        if !failed && (placement.attempt < 2 || placement.phase == Phase::Prepared) {
            return None;
        }
        let reason = match placement.failure.is_empty() {
            true => "changed again behind our back".to_owned(),
            false => format!("the last try failed: {}", placement.failure),
        };
        if placement.is_given_up() {
            let reason =
                format!("tried {} in vain, until a new revision or rollout resume: {reason}", count(placement.attempt as usize, "time"));
            return Some(WaitingOn::Health { reason, until: None });
        }
        let until = backoff(placement.since, placement.attempt);
        draft.look_at(Some(until));
        (self.unit.now < until).then_some(WaitingOn::Health { reason, until: Some(until) })
    }

    /// Plans the step.
    pub(super) fn then(&self, shared: &mut Shared<'_>, draft: &mut Draft, reason: &str, action: impl FnOnce(Work) -> Action) {
        let mut action = action(self.work());
        self.count_try(&mut action);
        let content = action.work().map_or("", |work| work.digest.as_str());
        let id = StepId::of(&self.unit.target(), &self.target(), action.word(), self.unit.rollout.version, content);
        let prepares = matches!(action, Action::Prepare(_));
        shared.take(&self.device.name, id.clone(), self.unit.name(), !prepares);
        let (content, _) = self.unit.content_for(self.record, &self.device.name);
        let changes = match &action {
            Action::Apply(_) => self.seen.and_then(|seen| content.changes(seen)).unwrap_or_default(),
            _ => Vec::new(),
        };
        let expects = matches!(action, Action::Apply(_)).then(|| self.seen.map(|seen| seen.fingerprint(&content))).flatten();
        draft.step(Step {
            id,
            unit: self.unit.target(),
            target: self.target(),
            action,
            expects_version: self.unit.rollout.version,
            expects,
            changes,
            reason: reason.to_owned(),
        });
    }

    /// What is done about a try belongs to it: only another try at the content, or at removing it, counts as one.
    fn count_try(&self, action: &mut Action) {
        let here = self.here().map_or(1, |placement| placement.attempt);
        match action {
            Action::Restore { work, .. } | Action::Reboot { work, .. } => work.attempt = here,
            Action::Remove(work) if self.here().is_none_or(|placement| placement.phase != Phase::Failed) => work.attempt = 1,
            Action::Prepare(_) | Action::Apply(_) | Action::Remove(_) | Action::Rollout(_) | Action::Admit { .. } => {}
        }
    }

    fn work(&self) -> Work {
        let (content, digest) = self.unit.content_for(self.record, &self.device.name);
        let here = self.here();
        let calm = |placement: &Placement| self.unit.now.duration_since(placement.since) > SignedDuration::from_hours(24);
        let attempt = match here {
            None => 1,
            Some(placement) if placement.phase == Phase::Prepared && placement.failure.is_empty() => placement.attempt,
            Some(placement) if calm(placement) => 1,
            Some(placement) => placement.attempt.saturating_add(1),
        };
        let from = match here {
            Some(placement) => placement.from,
            None => self.placement.and_then(Placement::holds),
        };
        Work {
            deployment: self.unit.name().clone(),
            revision: self.record.number,
            digest,
            content,
            batch: if self.batch > 0 { self.batch } else { here.map_or(0, |placement| placement.batch) },
            attempt,
            revert: self.revert,
            healthy_before: self.seen.is_some_and(|seen| seen.health() != Health::Degraded),
            from,
            deadline_seconds: self.unit.deployment.strategy.deadline.as_secs(),
        }
    }
}

/// The budget has no place: for devices that somebody is at work on, or for others.
fn held(shared: &Shared<'_>, waiting: &WaitingOn) -> Turn {
    match waiting {
        WaitingOn::Budget { out, .. } if out.iter().any(|device| shared.is_worked_on(device)) => Turn::Moving,
        _ => Turn::Held,
    }
}

/// It could not be taken back: wait longer each time, and give up after some.
fn taken_back_in_vain(placement: &Placement, now: Timestamp) -> Option<WaitingOn> {
    let times = placement.restore_failures;
    if times >= ATTEMPTS {
        let reason = format!("could not be taken back {times} times, until rollout resume: {}", placement.failure);
        return Some(WaitingOn::Health { reason, until: None });
    }
    let until = backoff(placement.since, times);
    let reason = format!("could not be taken back: {}", placement.failure);
    (times > 0 && now < until).then_some(WaitingOn::Health { reason, until: Some(until) })
}

/// 30 seconds, doubled with each try, an hour at most.
fn backoff(since: Timestamp, attempt: u32) -> Timestamp {
    let seconds = (30_i64 << attempt.saturating_sub(1).min(7)).min(3600);
    since.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

/// How many devices of each group may still go out; counted when first asked for, since most passes ask for nothing.
#[derive(Default)]
pub(super) struct Budget {
    groups: Option<BTreeMap<String, Group>>,
}

impl Budget {
    /// Takes a place in the device's group, or says why there is none. A device that is out already takes none.
    pub(super) fn refuse(&mut self, unit: &Unit<'_>, shared: &Shared<'_>, draft: &mut Draft, device: &Device) -> Option<WaitingOn> {
        if shared.is_out(&device.name) {
            return None;
        }
        let groups = self.groups.get_or_insert_with(|| shared.groups(unit.deployment, unit.rollout));
        let key = shared.group_of(unit.deployment, &device.name);
        let group = groups.entry(key.clone()).or_default();
        if group.is_full(unit.deployment) {
            let limit = group.limit(unit.deployment);
            let again = group.out.iter().filter_map(|device| shared.patience_with(device)).filter(|at| *at > unit.now);
            draft.look_at(again.min());
            let out = group.out.iter().take(5).cloned().collect();
            return Some(WaitingOn::Budget { group: key, limit, out });
        }
        group.out.push(device.name.clone());
        None
    }
}
