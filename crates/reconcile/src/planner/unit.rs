//! One Deployment's turn: which revision is wanted, and what stage its rollout is in.

use std::sync::Arc;

use jiff::Timestamp;

use super::draft::Draft;
use super::shared::Shared;
use super::{back, device, forward, shared, steady};
use crate::content::{Content, Digest};
use crate::desired::{Deployment, Desired};
use crate::name::{Name, Target};
use crate::observed::Observed;
use crate::plan::{Step, WaitingOn};
use crate::rollout::{self, Placement, RevisionRecord, RevisionResult, Rollout, RolloutChange};
use crate::window::{self, Opening};

/// One Deployment with everything that its plan is made from.
pub(super) struct Unit<'a> {
    pub(super) desired: &'a Desired,
    pub(super) observed: &'a Observed,
    pub(super) deployment: &'a Deployment,
    pub(super) rollout: &'a Rollout,
    pub(super) now: Timestamp,
}

impl<'a> Unit<'a> {
    pub(super) fn new(desired: &'a Desired, observed: &'a Observed, deployment: &'a Deployment, now: Timestamp) -> Self {
        let rollout = observed.rollouts.get(&deployment.name).map_or(&*rollout::NEVER, |rollout| &**rollout);
        Self { desired, observed, deployment, rollout, now }
    }

    pub(super) fn name(&self) -> &'a Name {
        &self.deployment.name
    }

    pub(super) fn target(&self) -> Target {
        Target::unit(&self.deployment.name)
    }

    /// A revision's content for one device, with its digest.
    pub(super) fn content_for(&self, record: &RevisionRecord, device: &Name) -> (Arc<Content>, Digest) {
        if record.digest == self.deployment.digest {
            let (content, digest) = self.deployment.content_for(device);
            return (content.clone(), digest.clone());
        }
        match self.desired.devices.get(device) {
            Some(of) if record.content.is_templated() => match record.content.render(of) {
                Ok(content) => {
                    let digest = content.digest();
                    (Arc::new(content), digest)
                }
                Err(_) => (record.content.clone(), record.digest.clone()),
            },
            _ => (record.content.clone(), record.digest.clone()),
        }
    }

    /// A person said that everything is to stay as it is.
    pub(super) fn paused(&self) -> Option<WaitingOn> {
        let pause = self.rollout.paused.as_ref()?;
        Some(WaitingOn::Suspended { by: format!("paused by {}, until `evenkeel rollout resume`", pause.by) })
    }

    /// A person or Git said that nothing new may begin.
    pub(super) fn stopped(&self) -> Option<WaitingOn> {
        let written = || self.deployment.paused.then(|| WaitingOn::Suspended { by: "spec.paused".into() });
        self.paused().or_else(written)
    }

    /// Why nothing new may begin just now, if so: somebody said stop, or no window is open.
    pub(super) fn closed(&self) -> Option<WaitingOn> {
        if let Some(waiting) = self.stopped() {
            return Some(waiting);
        }
        if self.deployment.windows.is_empty() {
            return None;
        }
        match window::opening(&self.deployment.windows, self.now) {
            Opening::Open { .. } => None,
            Opening::Closed { opens } => Some(WaitingOn::Window { opens }),
        }
    }

    pub(super) fn change(&self, change: RolloutChange, reason: impl Into<String>) -> Step {
        Step::rollout(self.name(), self.rollout.version, change, reason.into())
    }

    pub(super) fn defer(&self, draft: &mut Draft, wants: impl Into<String>, waiting_on: WaitingOn) {
        draft.defer(self.name(), self.target(), wants, waiting_on);
    }

    /// When the patience with a device ends that began then.
    pub(super) fn deadline_after(&self, begin: Timestamp) -> Timestamp {
        begin.saturating_add(self.deployment.strategy.deadline).unwrap_or(Timestamp::MAX)
    }

    /// How many devices a device is reached through, one behind the other.
    pub(super) fn depth(&self, device: &Name) -> usize {
        let mut depth = 0;
        let mut above = self.desired.devices.get(device);
        // There are no cycles; the bound is for who reads this.
        while let Some(parent) = above.and_then(|device| device.parents.first()).filter(|_| depth < 16) {
            depth += 1;
            above = self.desired.devices.get(parent);
        }
        depth
    }

    /// A step is under way on a device that has been out of sight for longer than it may take: nobody waits for it any more,
    /// and what came of it is read when the device is back.
    pub(super) fn lost(&self, device: &Name, placement: &Placement) -> bool {
        self.lost_at(device, placement).is_some_and(|at| self.now >= at)
    }

    /// Until when a step that is under way on a device out of sight is waited for.
    pub(super) fn lost_at(&self, device: &Name, placement: &Placement) -> Option<Timestamp> {
        shared::lost_at(self.desired, self.observed, device, placement, self.deployment.strategy.deadline)
    }

    /// The content that is wanted: what Git says, or the revision of the history that it names.
    fn wanted(&self) -> Result<(Arc<Content>, Digest), String> {
        match self.deployment.rollback_to {
            None => Ok((self.deployment.content.clone(), self.deployment.digest.clone())),
            Some(number) => match self.rollout.revision(number) {
                Some(record) => Ok((record.content.clone(), record.digest.clone())),
                None => Err(format!("spec.rollbackTo: revision {number} is not in the history")),
            },
        }
    }

    /// Some member holds this revision with other template values than are wanted now.
    fn renders_differently(&self, record: &RevisionRecord) -> bool {
        let differs = |device: &Name, placement: &Placement| {
            placement.revision == record.number
                && self.deployment.members.binary_search(device).is_ok()
                && placement.digest != self.content_for(record, device).1
        };
        record.content.is_templated() && self.rollout.placements.iter().any(|(device, placement)| differs(device, placement))
    }
}

/// Plans one Deployment.
pub(super) fn plan(unit: &mut Unit<'_>, shared: &mut Shared<'_>, draft: &mut Draft) {
    if unit.rollout.deletion.is_some() {
        return draft.step(unit.change(RolloutChange::Recreate, "it is written again"));
    }
    if unit.deployment.suspend {
        unit.defer(draft, "reconcile", WaitingOn::Suspended { by: "spec.suspend".into() });
        return;
    }
    leavers(unit, shared, draft);
    let (content, digest) = match unit.wanted() {
        Ok(wanted) => wanted,
        Err(reason) => return unit.defer(draft, "roll back", WaitingOn::Health { reason, until: None }),
    };
    let current = unit.rollout.current();
    let another = current.is_none_or(|record| record.digest != digest || unit.renders_differently(record));
    let Some(current) = current else { return start(unit, draft, content, digest) };
    match &current.result {
        // What is broken is mended before anything new begins.
        RevisionResult::RollingBack { .. } => back::plan(unit, shared, draft, current, another),
        _ if another => start(unit, draft, content, digest),
        RevisionResult::Progressing => forward::plan(unit, shared, draft, current),
        RevisionResult::Complete | RevisionResult::Superseded => {
            tell_paused(unit, draft);
            steady::plan(unit, shared, draft, Some(current));
        }
        RevisionResult::RolledBack { to } => {
            tell_paused(unit, draft);
            let goal = to.and_then(|number| unit.rollout.revision(number));
            steady::plan(unit, shared, draft, goal);
            back::tell_unwell(unit, draft, current);
        }
        RevisionResult::Stopped => {
            let by = format!(
                "revision {} failed ({}), until a new commit, `evenkeel rollout resume` or `rollout undo`",
                current.number, current.reason
            );
            unit.defer(draft, "go on", WaitingOn::Suspended { by });
            if unit.deployment.on_failure == crds::OnFailure::RollbackBatch {
                // Whoever was away while its batch was taken back.
                back::take(unit, shared, draft, current);
                back::tell_unwell(unit, draft, current);
            }
        }
    }
}

/// Also where nothing waits for it: somebody has to know that nothing would come.
fn tell_paused(unit: &Unit<'_>, draft: &mut Draft) {
    if let Some(waiting) = unit.paused() {
        unit.defer(draft, "change anything", waiting);
    }
}

fn start(unit: &Unit<'_>, draft: &mut Draft, content: Arc<Content>, digest: Digest) {
    let newest = unit.rollout.current();
    let number = newest.map_or(unit.rollout.numbered, |record| record.number) + 1;
    let summary = content.summary();
    if unit.deployment.members.is_empty() && newest.is_none() {
        return;
    }
    if let Some(waiting) = unit.stopped() {
        return unit.defer(draft, format!("start revision {number} ({summary})"), waiting);
    }
    let revert = unit.rollout.history.iter().any(|record| record.digest == digest && record.result == RevisionResult::Complete)
        && newest.is_some_and(|record| record.digest != digest);
    let change = RolloutChange::Start {
        number,
        content,
        digest,
        commit: unit.desired.revision.commit.clone(),
        author: unit.desired.revision.author.clone(),
        signer: unit.desired.revision.signer.clone(),
        revert,
        history_limit: unit.deployment.history_limit,
    };
    let what = if revert { "returns to what was complete before" } else { "wanted by the commit" };
    draft.step(unit.change(change, format!("{summary}: {what}")));
}

/// Plans the end of a Deployment that was deleted.
pub(super) fn end(unit: &Unit<'_>, shared: &mut Shared<'_>, draft: &mut Draft) {
    if unit.rollout.placements.is_empty() {
        return draft.step(unit.change(RolloutChange::End, "deleted, and nothing is left to do"));
    }
    leavers(unit, shared, draft);
}

/// Devices that have a placement and are no members any more.
fn leavers(unit: &Unit<'_>, shared: &mut Shared<'_>, draft: &mut Draft) {
    let mut budget = device::Budget::default();
    for (name, placement) in &unit.rollout.placements {
        // One that can't be used as it is written now is not one that somebody let go.
        let is_unclear = unit.desired.stalled.contains_key(&Target::Device(name.clone()));
        if placement.phase.is_in_flight() || unit.deployment.members.binary_search(name).is_ok() || is_unclear {
            continue;
        }
        let remove = unit.deployment.on_delete == crds::OnDelete::Remove;
        let held = placement.holds().and_then(|number| unit.rollout.revision(number)).filter(|_| remove);
        let of = unit.desired.devices.get(name);
        let leaving = of.zip(held).map(|(of, record)| device::Wanted::new(unit, of, record));
        // What another Deployment wants there stays, and with nothing else left there is nothing to remove.
        match leaving.and_then(|leaving| Some((leaving.own_content()?, leaving))) {
            Some((content, leaving)) => leaving.remove(shared, &mut budget, draft, content),
            None => {
                let why = match (of.is_some(), unit.rollout.deletion.is_some()) {
                    (false, _) if held.is_some() => "is gone: what was to be taken off stays on it",
                    (_, true) => "keeps what it has: the Deployment was deleted",
                    (_, false) => "is no longer selected",
                };
                let mut step = unit.change(RolloutChange::Forget { device: name.clone() }, format!("{name} {why}"));
                step.id = crate::plan::StepId::of(&unit.target(), &Target::Device(name.clone()), "forget", unit.rollout.version, "");
                draft.step(step);
            }
        }
    }
}
