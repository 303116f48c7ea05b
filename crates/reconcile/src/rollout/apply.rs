//! The only ways in which a rollout's state changes.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::content::Digest;
use crate::name::{Name, Target};
use crate::outcome::{Outcome, Verdict};
use crate::plan::{Action, Step, StepId, Work};
use crate::rollout::{Batch, Pause, Phase, Placement, RevisionRecord, RevisionResult, Rollout, RolloutChange, WayBackSeen};

impl Rollout {
    /// Applies a recorded change of state.
    pub fn apply(&mut self, change: &RolloutChange, now: Timestamp) {
        self.version += 1;
        match change {
            RolloutChange::Start { number, content, digest, commit, author, signer, revert, history_limit } => {
                if let Some(last) = self.history.last_mut()
                    && matches!(last.result, RevisionResult::Progressing | RevisionResult::Stopped)
                {
                    last.result = RevisionResult::Superseded;
                    last.finished_at = Some(now);
                }
                self.approvals.clear();
                self.history.push(RevisionRecord {
                    number: *number,
                    digest: digest.clone(),
                    content: content.clone(),
                    commit: commit.clone(),
                    author: author.clone(),
                    signer: signer.clone(),
                    started_at: now,
                    finished_at: None,
                    result: RevisionResult::Progressing,
                    reason: String::new(),
                    undone_by: None,
                    batches: Vec::new(),
                    revert: *revert,
                });
                self.trim(*history_limit);
            }
            RolloutChange::OpenBatch { number, devices, .. } => {
                if let Some(record) = self.record_mut(*number) {
                    record.batches.push(Batch { devices: devices.clone(), opened_at: now });
                }
                self.approvals.clear();
            }
            RolloutChange::Complete { number, adopted } => {
                self.end(*number, RevisionResult::Complete, "", now);
                self.adopt(*number, adopted, now);
            }
            RolloutChange::RollBack { number, last_batch_only, to, reason, by } => {
                let result = RevisionResult::RollingBack { last_batch_only: *last_batch_only, to: *to };
                // What was agreed to is not going to happen, and a paused rollout goes back only when a person says so.
                self.approvals.clear();
                self.paused = None;
                if let Some(record) = self.record_mut(*number) {
                    record.result = result;
                    record.undone_by.clone_from(by);
                    // Why it failed before stays known when a person undoes it.
                    record.reason = match record.reason.as_str() {
                        before if before.is_empty() || before.starts_with("undone by ") => reason.clone(),
                        before => format!("{reason} (before that: {before})"),
                    };
                    record.finished_at = None;
                }
            }
            RolloutChange::RolledBack { number } => self.rolled_back(*number, now),
            RolloutChange::Stop { number, reason } => {
                self.approvals.clear();
                self.end(*number, RevisionResult::Stopped, reason, now);
            }
            RolloutChange::Pause { by } => self.paused = Some(Pause { by: by.clone(), at: now }),
            RolloutChange::Resume { .. } => self.resume(now),
            RolloutChange::Approve { approval, .. } => self.approvals = [approval.clone()].into(),
            RolloutChange::Forget { device } => {
                self.placements.remove(device);
            }
            RolloutChange::Delete(deletion) => {
                self.approvals.clear();
                // What became of its revisions stays as it is: if it is written again soon, it goes on where it was.
                self.deletion = Some(deletion.clone());
            }
            RolloutChange::Recreate => self.deletion = None,
            RolloutChange::End => {
                let numbered = self.current().map_or(self.numbered, |record| record.number);
                *self = Self { numbered, version: self.version, ..Self::default() };
            }
        }
    }

    /// Marks a recorded device step as under way.
    pub fn begin(&mut self, step: &Step, now: Timestamp) {
        let Some(work) = step.action.work() else { return };
        self.version += 1;
        let device = step.target.name().clone();
        let before = self.placements.get(&device).filter(|placement| placement.revision == work.revision).cloned();
        let phase = match &step.action {
            Action::Prepare(_) => Phase::Preparing,
            Action::Apply(_) => Phase::Applying,
            Action::Restore { .. } => Phase::Restoring,
            Action::Reboot { .. } => Phase::Rebooting,
            Action::Remove(_) => Phase::Removing,
            Action::Rollout(_) | Action::Admit { .. } => return,
        };
        let mut placement = before.unwrap_or_else(|| first(work, step, now));
        placement.phase = phase;
        placement.since = now;
        placement.step = step.id.clone();
        placement.attempt = work.attempt;
        placement.batch = work.batch;
        placement.digest = work.digest.clone();
        if phase == Phase::Applying {
            placement.healthy_before = work.healthy_before;
            placement.restore_failures = 0;
            // Re-applying the same content must not make the changed state the one to go back to.
            placement.undo.get_or_insert_with(|| step.id.clone());
        }
        if phase == Phase::Restoring && placement.failure.is_empty() {
            placement.failure.clone_from(&step.reason);
        }
        self.placements.insert(device, placement);
    }

    /// Settles a device step by its outcome; a step that is not the device's last one changes nothing.
    pub fn settle(&mut self, step: &Step, outcome: &Outcome) {
        let device = step.target.name();
        let Some(placement) = self.placements.get_mut(device) else { return };
        if placement.step != step.id || !placement.phase.is_in_flight() {
            return;
        }
        self.version += 1;
        placement.since = outcome.at;
        let back = placement.is_rebooting_back();
        match (&step.action, outcome.verdict) {
            // Why it was taken back stays known.
            (Action::Restore { .. }, Verdict::Done) => {}
            (Action::Reboot { .. }, Verdict::Done) if back && placement.restore_failures == 0 => {}
            (_, Verdict::Done) => placement.failure.clear(),
            _ => placement.failure = in_one_line(&outcome.message),
        }
        placement.phase = match (&step.action, outcome.verdict) {
            (Action::Prepare(_), Verdict::Done) => {
                placement.way_back = outcome.way_back.clone();
                Phase::Prepared
            }
            // Nothing on the device has changed: it is prepared anew, after a while.
            (Action::Prepare(_), _) => {
                placement.way_back = WayBackSeen::Unknown;
                Phase::Prepared
            }
            (Action::Apply(_), Verdict::Refused) => {
                placement.way_back = WayBackSeen::Unknown;
                if placement.undo.as_ref() == Some(&step.id) {
                    placement.undo = None;
                }
                Phase::Prepared
            }
            (Action::Apply(_), Verdict::Done) => {
                placement.applied_at = Some(outcome.at);
                placement.reboot_from.clone_from(&outcome.reboot_from);
                Phase::Applied
            }
            (Action::Reboot { .. }, Verdict::Done) if back => {
                placement.reboot_from = None;
                placement.restore_failures = 0;
                Phase::Restored
            }
            (Action::Reboot { .. }, _) if back => {
                placement.restore_failures += 1;
                Phase::Restored
            }
            (Action::Reboot { .. }, Verdict::Done) => {
                placement.applied_at = Some(outcome.at);
                placement.reboot_from = None;
                Phase::Applied
            }
            (Action::Restore { .. }, Verdict::Done) => {
                placement.undo = None;
                placement.applied_at = None;
                placement.way_back = WayBackSeen::Unknown;
                // What was never booted into needs no reboot to get out of.
                let never_booted = outcome.reboot_from.is_some() && outcome.reboot_from == placement.reboot_from;
                placement.reboot_from = outcome.reboot_from.clone().filter(|_| !never_booted);
                placement.restore_failures = 0;
                Phase::Restored
            }
            (Action::Remove(_), Verdict::Done) => {
                self.placements.remove(device);
                return;
            }
            (Action::Restore { .. }, _) => {
                placement.restore_failures += 1;
                Phase::Failed
            }
            _ => Phase::Failed,
        };
    }

    fn record_mut(&mut self, number: u32) -> Option<&mut RevisionRecord> {
        self.history.iter_mut().rev().find(|record| record.number == number)
    }

    fn end(&mut self, number: u32, result: RevisionResult, reason: &str, now: Timestamp) {
        if let Some(record) = self.record_mut(number) {
            record.result = result;
            record.finished_at = Some(now);
            reason.clone_into(&mut record.reason);
        }
    }

    /// Devices that had the content already are held to it from now on like those that we changed.
    fn adopt(&mut self, number: u32, adopted: &[(Name, Digest)], now: Timestamp) {
        let batch = self.revision(number).map_or(1, |record| record.batches.len().max(1));
        for (device, digest) in adopted {
            let placement = Placement {
                revision: number,
                digest: digest.clone(),
                batch: u32::try_from(batch).unwrap_or(u32::MAX),
                phase: Phase::Applied,
                since: now,
                step: StepId::default(),
                attempt: 1,
                applied_at: Some(now),
                healthy_before: true,
                way_back: WayBackSeen::Unknown,
                undo: None,
                from: None,
                failure: String::new(),
                restore_failures: 0,
                reboot_from: None,
            };
            self.placements.insert(device.clone(), placement);
        }
    }

    fn rolled_back(&mut self, number: u32, now: Timestamp) {
        let Some(record) = self.record_mut(number) else { return };
        record.finished_at = Some(now);
        record.result = match record.result {
            RevisionResult::RollingBack { last_batch_only: true, .. } => RevisionResult::Stopped,
            RevisionResult::RollingBack { to, .. } => RevisionResult::RolledBack { to },
            _ => return,
        };
    }

    fn resume(&mut self, now: Timestamp) {
        self.paused = None;
        for placement in self.placements.values_mut().filter(|placement| placement.is_given_up()) {
            placement.failure.clear();
            placement.attempt = 0;
            placement.restore_failures = 0;
        }
        let Some(record) = self.history.last_mut() else { return };
        if record.result != RevisionResult::Stopped {
            return;
        }
        record.result = RevisionResult::Progressing;
        record.reason.clear();
        record.finished_at = None;
        let number = record.number;
        for placement in self.placements.values_mut() {
            if placement.revision == number && matches!(placement.phase, Phase::Failed | Phase::Restored) {
                placement.phase = Phase::Prepared;
                placement.way_back = WayBackSeen::Unknown;
                placement.reboot_from = None;
                placement.since = now;
                placement.failure.clear();
                placement.attempt += 1;
            }
            // What others have changed there is put back anew.
            if placement.revision == number && placement.phase == Phase::Applied {
                placement.attempt = placement.attempt.min(1);
            }
        }
    }

    /// Keeps the newest revisions, the one that a rollback leads to, and those that devices still hold.
    fn trim(&mut self, limit: usize) {
        let newest = self.history.last().map_or(0, |record| record.number);
        let mut kept: BTreeSet<u32> = self.placements.values().filter_map(Placement::holds).collect();
        kept.extend([newest].into_iter().chain(self.stable_before(newest).map(|record| record.number)));
        let mut surplus = self.history.len().saturating_sub(limit.max(2));
        self.history.retain(|record| {
            let goes = surplus > 0 && !kept.contains(&record.number);
            surplus -= usize::from(goes);
            !goes
        });
    }

    /// Steps in flight, by device.
    pub fn in_flight(&self) -> impl Iterator<Item = (&Name, &Placement)> {
        self.placements.iter().filter(|(_, placement)| placement.phase.is_in_flight())
    }
}

fn first(work: &Work, step: &Step, now: Timestamp) -> Placement {
    Placement {
        revision: work.revision,
        digest: work.digest.clone(),
        batch: work.batch,
        phase: Phase::Preparing,
        since: now,
        step: step.id.clone(),
        attempt: work.attempt,
        applied_at: None,
        healthy_before: work.healthy_before,
        way_back: WayBackSeen::Unknown,
        undo: None,
        from: work.from,
        failure: String::new(),
        restore_failures: 0,
        reboot_from: None,
    }
}

impl Step {
    /// A step that changes a rollout's state.
    pub(crate) fn rollout(unit: &Name, version: u64, change: RolloutChange, reason: String) -> Self {
        let target = Target::unit(unit);
        // Each version is left once, so version and verb name the step.
        Self {
            id: StepId::of(&target, &target, change.word(), version, ""),
            unit: target.clone(),
            target,
            action: Action::Rollout(change),
            expects_version: version,
            expects: None,
            changes: Vec::new(),
            reason,
        }
    }
}

/// What a device printed, for where one line is shown.
fn in_one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}
