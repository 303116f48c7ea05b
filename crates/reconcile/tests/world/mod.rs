//! A fleet on paper: machines that keep what steps put on them, an engine's memory, and a clock that only moves when it is told.
//! Stories and properties are told in it.

// Each test binary uses its part.
#![allow(dead_code)]

pub mod given;
pub mod machine;

use std::collections::BTreeMap;
use std::sync::Arc;

use crds::{Kind, Object};
use jiff::{SignedDuration, Timestamp};
use reconcile::finding::Finding;
use reconcile::{Action, Contact, Desired, Name, Observed, Outcome, Plan, ProbeCode, ProbeSeen, ProbeState, Revision, Step};

use machine::Machine;

/// Everything there is: what Git says, what is known, and what is really out there.
pub struct World {
    pub objects: BTreeMap<(Kind, Name), Arc<Object>>,
    pub commits: u32,
    pub desired: Desired,
    pub observed: Observed,
    pub now: Timestamp,
    pub machines: BTreeMap<Name, Machine>,
    /// Recorded device steps without an outcome.
    pub pending: Vec<Step>,
}

impl World {
    pub fn new() -> Self {
        Self {
            objects: BTreeMap::new(),
            commits: 0,
            desired: Desired::default(),
            observed: Observed::default(),
            now: "2026-11-24T12:00:00Z".parse().unwrap(),
            machines: BTreeMap::new(),
            pending: Vec::new(),
        }
    }

    /// Puts what Git has now in force.
    pub fn build(&mut self) -> Vec<Finding> {
        self.commits += 1;
        let revision = Revision { reference: "main".into(), commit: format!("{:010}", self.commits), author: "ann".into(), signer: None };
        let (desired, findings) = Desired::build(self.objects.values().cloned(), revision);
        for name in desired.devices.keys() {
            self.machines.entry(name.clone()).or_default();
        }
        self.observed.devices.retain(|name, _| desired.devices.contains_key(name));
        let deletions = reconcile::deletion::plan(&self.desired, &desired, self.desired.deployments.keys(), &self.observed);
        deletions.iter().for_each(|plan| self.record(plan));
        self.desired = desired;
        findings
    }

    pub fn pass_time(&mut self, time: SignedDuration) {
        self.now = self.now.saturating_add(time).unwrap();
    }

    /// Looks at every device, a second later than what happened last.
    pub fn look(&mut self) {
        self.pass_time(SignedDuration::from_secs(1));
        let names: Vec<Name> = self.desired.devices.keys().cloned().collect();
        names.iter().for_each(|name| self.see(name));
    }

    /// Looks at one device, and runs its probes.
    pub fn see(&mut self, name: &Name) {
        let Some(device) = self.desired.devices.get(name) else { return };
        let machine = &self.machines[name];
        let mut seen = self.observed.devices.get(name).map(|seen| (**seen).clone()).unwrap_or_default();
        if device.access == reconcile::Access::None {
            // Nobody can log in there; only its probes run.
        } else if let Some((since, reason)) = &machine.away {
            // What was last known of it stays known.
            seen.contact = Contact::Unreachable { since: *since, reason: reason.clone(), code: Default::default() };
            self.observed.devices.insert(name.clone(), Arc::new(seen));
            return;
        } else {
            seen.contact = Contact::Known;
            seen.seen_at = Some(self.now);
            seen.boot_id = machine.boot_id();
            seen.reboot_required = machine.needs_reboot;
            for key in self.observed.items(&self.desired, name) {
                let found = machine.look(&key);
                seen.items.insert(key, found);
            }
        }
        let state = machine.probe_state();
        for probe in device.probes.iter().filter(|_| !machine.probes_rest) {
            let old = seen.probes.get(&probe.name).cloned().unwrap_or_default();
            let since = if old.state == state { old.since } else { Some(self.now) };
            let last_ok = if state == ProbeState::Ok { Some(self.now) } else { old.last_ok };
            let reason = if state == ProbeState::Fail { "status 500".to_owned() } else { String::new() };
            let code = match state {
                ProbeState::Ok => ProbeCode::Passed,
                ProbeState::Fail => ProbeCode::BadStatus,
                ProbeState::Unknown => ProbeCode::NoCredential,
            };
            let now = ProbeSeen { state, since, seen_at: Some(self.now), last_ok, code, reason, says: String::new() };
            seen.probes.insert(probe.name.clone(), now.into());
        }
        self.observed.devices.insert(name.clone(), Arc::new(seen));
    }

    /// Plans, and asserts what must hold of every plan.
    pub fn plan(&self) -> Plan {
        let plan = reconcile::plan(&self.desired, &self.observed, self.now);
        assert_eq!(plan, reconcile::plan(&self.desired, &self.observed, self.now), "the same input gives the same plan");
        reconcile::record::check(&plan, &self.desired, &self.observed).unwrap_or_else(|error| panic!("{error}\n{plan}"));
        plan
    }

    /// Writes a plan down: rollouts change, device steps have begun.
    pub fn record(&mut self, plan: &Plan) {
        for step in &plan.steps {
            let rollout = Arc::make_mut(self.observed.rollouts.entry(step.unit.rollout()).or_default());
            match &step.action {
                Action::Rollout(change) => rollout.apply(change, self.now),
                _ => {
                    rollout.begin(step, self.now);
                    self.pending.push(step.clone());
                }
            }
        }
    }

    /// Machines do what was recorded, or are asked again what became of it. Returns how steps ended that now have an outcome.
    pub fn act(&mut self) -> Vec<(Step, Outcome)> {
        let ended = self.run_steps();
        for (step, outcome) in &ended {
            self.settle(step, outcome);
        }
        ended
    }

    /// The same, but nobody is there to take the outcomes in.
    pub fn run_steps(&mut self) -> Vec<(Step, Outcome)> {
        let now = self.now;
        let (pending, machines) = (&self.pending, &mut self.machines);
        let run = pending.iter().filter_map(|step| Some((step.clone(), machines.get_mut(step.target.name())?.run(step, now)?)));
        run.collect()
    }

    fn settle(&mut self, step: &Step, outcome: &Outcome) {
        self.pending.retain(|pending| pending.id != step.id);
        Arc::make_mut(self.observed.rollouts.get_mut(&step.unit.rollout()).unwrap()).settle(step, outcome);
    }

    /// The engine is killed and started again: what is stored comes back from what was written, what was seen is gone.
    pub fn restart(&mut self) {
        let stored = serde_json::to_string(&self.observed.rollouts).unwrap();
        self.observed = Observed { rollouts: serde_json::from_str(&stored).unwrap(), ..Observed::default() };
    }
}
