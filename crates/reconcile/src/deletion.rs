//! A Deployment that is deleted in Git, or a Role that has no login any more: what it said last is written down as the commit comes in force, since nobody can read it
//! afterwards.
//!
//! That an object is missing is no deletion: a file that can't be read lacks its objects too. Only going from a commit that has it to one
//! that does not is.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::content::Content;
use crate::desired::{self, Deployment, Desired, Findings, Share, Strategy};
use crate::name::{Name, Target};
use crate::observed::Observed;
use crate::plan::{Plan, PlanId, Revision, Step};
use crate::rollout::RolloutChange;

/// What is left to do for a Deployment that was deleted, as it said itself, or for a login that a Role has no more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deletion {
    /// The commit that deleted it.
    pub commit: String,
    /// Who wrote that commit.
    pub author: String,
    /// The key that signed it, if its signature was verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// Its content is taken off its devices; else it stays there.
    pub remove: bool,
    /// How many devices of a group may be out at once.
    pub max_unavailable: crds::Share,
    /// Labels whose values make these groups.
    #[serde(default)]
    pub group_by: Vec<String>,
    /// Time limit of one step, in seconds.
    pub deadline_seconds: i64,
    /// Changes happen only inside of these; empty means always.
    #[serde(default)]
    pub windows: Vec<crds::WindowSpec>,
}

/// Whether this Deployment, or login, is not written any more: neither is it, nor is there something in its place that can't be used.
pub fn is_gone(desired: &Desired, name: &Name) -> bool {
    !desired.is_written(name) && !desired.stalled.contains_key(&Target::unit(name))
}

/// Remembers which of these Deployments `next` deletes, of those that were ever rolled out; to be recorded before `next` comes in force.
pub fn plan<'a>(in_force: &Desired, next: &Desired, names: impl IntoIterator<Item = &'a Name>, observed: &Observed) -> Option<Plan> {
    let mut steps = Vec::new();
    for name in names {
        if !in_force.is_written(name) {
            continue;
        }
        let Some(rollout) = observed.rollouts.get(name).filter(|rollout| rollout.deletion.is_none() && rollout.is_remembered()) else {
            continue;
        };
        if !is_gone(next, name) {
            continue;
        }
        let known = in_force.deployments.get(name).map(|known| &**known);
        let target = Target::unit(name);
        let object = in_force.objects.get(&(target.kind(), target.name().clone())).map(|object| &**object);
        let (deletion, reason) = match object {
            Some(crds::Object::Deployment(object)) => {
                let deletion = Deletion::of(known, &object.spec, &next.revision);
                let stays = "deleted: what is on its devices stays";
                let reason = if deletion.remove { "deleted: its content is taken off its devices" } else { stays };
                (deletion, reason)
            }
            _ => (Deletion::of_login(&next.revision), "the Role has no login any more: it is taken off its devices"),
        };
        steps.push(Step::rollout(name, rollout.version, RolloutChange::Delete(Box::new(deletion)), reason.into()));
    }
    let id = PlanId::of(&next.revision, &steps);
    (!steps.is_empty()).then(|| Plan { id, revision: next.revision.clone(), steps, deferred: Vec::new(), look_again: None })
}

impl Deletion {
    /// Also one that can't be used as it is written, since it refers to what is gone already, says how it wants to end.
    fn of(known: Option<&Deployment>, spec: &crds::DeploymentSpec, by: &Revision) -> Self {
        let share = known.map_or(Share::Count(1), |known| known.strategy.max_unavailable);
        let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
        Self {
            commit: by.commit.clone(),
            author: by.author.clone(),
            signer: by.signer.clone(),
            remove: spec.on_delete == Some(crds::OnDelete::Remove),
            max_unavailable: match share {
                Share::Count(count) => crds::Share::Count(number(count)),
                Share::Percent(percent) => crds::Share::Percent(crds::Percent(number(percent))),
            },
            group_by: known.map(|known| known.strategy.group_by.clone()).unwrap_or_default(),
            deadline_seconds: known.map_or(600, |known| known.strategy.deadline.as_secs()),
            windows: spec.windows.clone(),
        }
    }

    /// What a Role gave is taken back at once and everywhere.
    fn of_login(by: &Revision) -> Self {
        Self {
            commit: by.commit.clone(),
            author: by.author.clone(),
            signer: by.signer.clone(),
            remove: true,
            max_unavailable: crds::Share::Percent(crds::Percent(100)),
            group_by: Vec::new(),
            deadline_seconds: desired::LOGIN_DEADLINE.as_secs(),
            windows: Vec::new(),
        }
    }

    /// The Deployment as far as its end goes: nobody is selected by it.
    pub(crate) fn deployment(&self, name: &Name) -> Deployment {
        let content = Content::nothing();
        let windows = desired::windows(&Target::unit(name), "spec.windows", &self.windows, &mut Findings::default());
        Deployment {
            name: name.clone(),
            members: Vec::new(),
            own_way: Vec::new(),
            digest: content.digest(),
            content: Arc::new(content),
            rendered: BTreeMap::new(),
            strategy: Strategy {
                batches: Vec::new(),
                max_unavailable: desired::share(self.max_unavailable),
                group_by: self.group_by.clone(),
                soak: jiff::SignedDuration::ZERO,
                deadline: jiff::SignedDuration::from_secs(self.deadline_seconds),
            },
            gate_probes: false,
            gate_alerts: Vec::new(),
            on_failure: crds::OnFailure::Pause,
            way_back: crds::WayBack::BestEffort,
            approval: crds::Approval::None,
            windows,
            drift: crds::Drift::Report,
            depends_on: Vec::new(),
            on_delete: if self.remove { crds::OnDelete::Remove } else { crds::OnDelete::Keep },
            history_limit: 0,
            paused: false,
            suspend: false,
            rollback_to: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::rollout::Rollout;

    fn fleet(deployment: Option<&Value>) -> Desired {
        let written = |kind: crds::Kind, name: &str, spec: &Value| {
            let labels = json!({"role": "web"});
            let object = json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": kind.as_str(), "metadata": {"name": name, "labels": labels}, "spec": spec});
            Arc::new(crds::Object::from_value(kind, object).unwrap())
        };
        let access = json!({"ssh": {"hostKeys": ["ssh-ed25519 AAAA"]}});
        let device = written(crds::Kind::Device, "web-01", &json!({"type": "Server", "address": "10.0.0.1", "access": access}));
        let deployment = deployment.map(|spec| written(crds::Kind::Deployment, "nginx", spec));
        Desired::build([device].into_iter().chain(deployment), Revision { author: "ann".into(), ..Revision::default() }).0
    }

    /// Only what was there and is not any more was deleted. What could not be read, before or now, was not.
    #[test]
    fn what_is_only_missing_was_not_deleted() {
        let name = Name::parse("nginx");
        let package = json!({"apt": {"name": "nginx", "version": "1.0"}});
        let strategy = json!({"maxUnavailable": "20%", "deadline": "5m"});
        let spec = json!({"selector": {"matchLabels": {"role": "web"}}, "package": package, "onDelete": "Remove", "strategy": strategy});
        let rollout: Rollout =
            serde_json::from_value(json!({"placements": {"default/web-01": {"revision": 1, "digest": "d1", "phase": "applied",
            "since": "2026-11-24T12:00:00Z", "step": "s1"}}, "version": 7}))
            .unwrap();
        let observed = Observed { rollouts: [(name.clone(), Arc::new(rollout))].into(), ..Observed::default() };
        let (with, without) = (fleet(Some(&spec)), fleet(None));
        let deleted = |from: &Desired, to: &Desired, observed: &Observed| plan(from, to, [&name], observed).map(|plan| plan.steps);

        let steps = deleted(&with, &without, &observed).unwrap();
        let [Step { action: crate::plan::Action::Rollout(RolloutChange::Delete(deletion)), expects_version: 7, .. }] = steps.as_slice()
        else {
            panic!("{steps:?}")
        };
        let limits = (deletion.remove, deletion.max_unavailable, deletion.deadline_seconds, deletion.author.as_str());
        assert_eq!(limits, (true, crds::Share::Percent(crds::Percent(20)), 300, "ann"));

        assert_eq!(deleted(&without, &without, &observed), None, "a commit that was read without it says nothing about it");
        assert_eq!(deleted(&Desired::default(), &without, &observed), None, "nor does the first one after a restart");
        let mut broken = without.clone();
        broken.stalled.insert(Target::Deployment(name.clone()), "nginx.yaml:3: not YAML".into());
        assert_eq!(deleted(&with, &broken, &observed), None, "it is written, but can't be read");
        assert_eq!(deleted(&with, &without, &Observed::default()), None, "it was never rolled out");

        let unusable = fleet(Some(
            &json!({"selector": {}, "package": {"apt": {"name": "nginx", "version": "1.0"}}, "dependsOn": ["no-such"], "onDelete": "Remove"}),
        ));
        assert!(!unusable.deployments.contains_key(&name));
        let steps = deleted(&unusable, &without, &observed).unwrap();
        let removes = matches!(&steps[0].action, crate::plan::Action::Rollout(RolloutChange::Delete(deletion)) if deletion.remove);
        assert!(removes, "what it refers to went first, and how it wants to end is written: {steps:?}");
    }
}
