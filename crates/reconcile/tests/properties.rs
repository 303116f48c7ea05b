//! What must hold whatever happens: devices come and go, steps fail, people and processes interfere, and time passes.

mod world;

use std::collections::BTreeSet;

use jiff::SignedDuration;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof};
use proptest::{collection, proptest, sample};
use reconcile::command::{self, Command};
use reconcile::{Action, Contact, ItemKey, ItemSeen, Name, Phase, Plan, ProbeState, RevisionResult, RolloutChange, WaitingOn, report};
use serde_json::{Value, json};

use world::World;
use world::given::Objects;

const DEVICES: [&str; 6] = ["a-1", "a-2", "a-3", "b-1", "b-2", "b-3"];
const UNITS: [&str; 2] = ["nginx", "php"];

/// One thing that happens; small numbers, so that things meet.
#[derive(Clone, Debug)]
enum Move {
    /// A pass.
    Pass,
    /// A version is wanted.
    Commit(usize, u8),
    /// A device leaves the selector, or comes back to it.
    Selected(usize, bool),
    /// A device is in Git, or is not.
    Exists(usize, bool),
    Away(usize),
    Back(usize),
    /// Somebody changes a package by hand.
    Drift(usize, usize, u8),
    /// The next such step ends like that.
    Ends(usize, &'static str, &'static str),
    Probe(usize, Option<ProbeState>),
    Unit(usize, bool),
    /// Probes are not run, or are again.
    ProbesRest(usize, bool),
    NeedsReboot(usize),
    Bob(usize, Command),
    Wait(u8),
    Restart,
    /// Killed between recording and acting.
    Killed,
}

fn happening() -> impl Strategy<Value = Move> {
    let device = || 0..DEVICES.len();
    let unit = || 0..UNITS.len();
    let verb = sample::select(vec!["prepare", "apply", "restore", "reboot", "remove"]);
    let how = sample::select(vec!["fail: no", "refuse: no", "no way back: no", "hang"]);
    let state = prop_oneof![Just(None), Just(Some(ProbeState::Fail)), Just(Some(ProbeState::Unknown))];
    let bob =
        prop_oneof![Just(Command::Pause), Just(Command::Resume), Just(Command::Undo { to: None }), Just(Command::Undo { to: Some(1) })];
    prop_oneof![
        30 => Just(Move::Pass),
        3 => (unit(), 1..4u8).prop_map(|(unit, version)| Move::Commit(unit, version)),
        1 => (device(), any::<bool>()).prop_map(|(device, is)| Move::Selected(device, is)),
        1 => (device(), any::<bool>()).prop_map(|(device, is)| Move::Exists(device, is)),
        3 => device().prop_map(Move::Away),
        3 => device().prop_map(Move::Back),
        2 => (device(), unit(), 0..4u8).prop_map(|(device, unit, version)| Move::Drift(device, unit, version)),
        3 => (device(), verb, how).prop_map(|(device, verb, how)| Move::Ends(device, verb, how)),
        2 => (device(), state).prop_map(|(device, state)| Move::Probe(device, state)),
        1 => (device(), any::<bool>()).prop_map(|(device, runs)| Move::Unit(device, runs)),
        1 => (device(), any::<bool>()).prop_map(|(device, rest)| Move::ProbesRest(device, rest)),
        1 => device().prop_map(Move::NeedsReboot),
        1 => (unit(), bob).prop_map(|(unit, does)| Move::Bob(unit, does)),
        2 => (0..20u8).prop_map(Move::Wait),
        1 => Just(Move::Restart),
        1 => Just(Move::Killed),
    ]
}

/// What is the same for both Deployments.
fn settings() -> impl Strategy<Value = Value> {
    let limit = sample::select(vec![json!(1), json!(2), json!("50%")]);
    let group = sample::select(vec![json!([]), json!(["site"])]);
    let failure = sample::select(vec!["Rollback", "RollbackBatch", "Pause"]);
    let reboot = sample::select(vec!["Never", "IfRequired", "Always"]);
    let delete = sample::select(vec!["Keep", "Remove"]);
    (limit, group, failure, reboot, delete).prop_map(|(limit, group, failure, reboot, delete)| {
        json!({
            "onFailure": failure, "reboot": reboot, "onDelete": delete, "service": {"unit": "web"},
            "strategy": {"batches": [{"max": 1}, {"max": 2}], "maxUnavailable": limit, "groupBy": group, "soak": "10s", "deadline": "2m"},
        })
    })
}

fn name(device: usize) -> Name {
    Name::parse(DEVICES[device])
}

fn write(world: &mut World, objects: Value) {
    let objects: Objects = serde_json::from_value(objects).unwrap();
    world.write(&objects);
    world.build();
}

fn device(index: usize) -> Value {
    let site = if DEVICES[index].starts_with('a') { "a" } else { "b" };
    json!({"devices": {DEVICES[index]: {"labels": {"role": "web", "site": site}, "probes": [{"name": "web", "tcp": {"port": 80}}]}}})
}

fn begin(settings: &Value) -> World {
    let mut world = World::new();
    (0..DEVICES.len()).for_each(|index| write(&mut world, device(index)));
    UNITS.iter().for_each(|unit| write(&mut world, json!({"deployments": {*unit: settings}})));
    world
}

fn happen(world: &mut World, what: &Move) {
    let now = world.now;
    match what {
        Move::Pass => drop(pass(world)),
        Move::Commit(unit, version) => write(world, json!({"deployments": {UNITS[*unit]: {"version": format!("{version}.0")}}})),
        Move::Selected(index, is) if world.desired.devices.contains_key(&name(*index)) => {
            write(world, json!({"devices": {DEVICES[*index]: {"labels": {"role": if *is { "web" } else { "db" }}}}}));
        }
        Move::Exists(index, true) => write(world, device(*index)),
        Move::Exists(index, false) => {
            world.objects.retain(|(_, object), _| *object != name(*index));
            world.build();
        }
        Move::Away(index) => world.machines.get_mut(&name(*index)).unwrap().away = Some((now, "no answer".into())),
        Move::Back(index) => world.machines.get_mut(&name(*index)).unwrap().away = None,
        Move::Drift(index, unit, version) => {
            let seen = match version {
                0 => ItemSeen::Absent,
                _ => ItemSeen::Package { version: format!("{version}.0"), held: false, broken: false },
            };
            world.machines.get_mut(&name(*index)).unwrap().items.insert(ItemKey::apt(UNITS[*unit]), seen);
        }
        Move::Ends(index, verb, how) => world.machines.get_mut(&name(*index)).unwrap().ends.push(((*verb).into(), (*how).into())),
        Move::Probe(index, state) => world.machines.get_mut(&name(*index)).unwrap().probes = *state,
        Move::Unit(index, runs) => {
            world.machines.get_mut(&name(*index)).unwrap().units = if *runs { None } else { Some("failed/failed".into()) };
        }
        Move::ProbesRest(index, rest) => world.machines.get_mut(&name(*index)).unwrap().probes_rest = *rest,
        Move::NeedsReboot(index) => world.machines.get_mut(&name(*index)).unwrap().needs_reboot = true,
        Move::Bob(unit, does) => bob(world, UNITS[*unit], does),
        Move::Wait(minutes) => world.pass_time(SignedDuration::from_mins(i64::from(*minutes))),
        Move::Restart => world.restart(),
        Move::Killed => {
            world.look();
            let plan = world.plan();
            world.record(&plan);
            world.restart();
        }
        Move::Selected(..) => {}
    }
}

fn bob(world: &mut World, unit: &str, does: &Command) {
    if let Ok(plan) = command::plan(&world.desired, &world.observed, &Name::parse(unit), does, "bob", &[]) {
        world.record(&plan);
    }
}

/// Looks, plans, checks what must hold, and does it.
fn pass(world: &mut World) -> Plan {
    world.look();
    let plan = world.plan();
    the_unreachable_are_left_in_peace(world, &plan);
    the_budget_is_kept(world, &plan);
    who_does_nothing_changes_nothing(world, &plan);
    world.record(&plan);
    world.act();
    counts_add_up(world, &plan);
    plan
}

fn is_away(world: &World, device: &Name) -> bool {
    world.observed.devices.get(device).is_some_and(|seen| matches!(seen.contact, Contact::Unreachable { .. }))
}

/// Nothing is done to them, and nothing that we put there is forgotten.
fn the_unreachable_are_left_in_peace(world: &World, plan: &Plan) {
    for step in &plan.steps {
        if step.action.work().is_some() {
            assert!(!is_away(world, step.target.name()), "{step}\n{plan}");
        }
        let Action::Rollout(RolloutChange::Forget { device }) = &step.action else { continue };
        let deployment = &world.desired.deployments[step.unit.name()];
        let placement = &world.observed.rollouts[step.unit.name()].placements[device];
        assert!(!deployment.members.contains(device), "{plan}");
        let to_be_cleaned = deployment.on_delete == crds::OnDelete::Remove && world.desired.devices.contains_key(device);
        assert!(!(to_be_cleaned && placement.holds().is_some()), "{plan}");
    }
}

/// It is out already, whoever took it out.
fn is_out(world: &World, device: &Name) -> bool {
    let seen = world.observed.devices.get(device);
    let placements = world.observed.rollouts.values().filter_map(|rollout| rollout.placements.get(device));
    let runs_ours = placements
        .clone()
        .any(|placement| placement.phase == Phase::Applied || (placement.phase == Phase::Restored && placement.from.is_some()));
    let by_us = placements.clone().any(|placement| {
        let unseen = seen.is_none_or(|seen| {
            seen.seen_at.is_none_or(|at| at <= placement.since) || seen.probes.values().any(|probe| probe.seen_at <= Some(placement.since))
        });
        placement.phase.is_disturbing()
            || placement.phase == Phase::Failed
            || (unseen && matches!(placement.phase, Phase::Applied | Phase::Restored))
    });
    by_us
        || seen.is_some_and(|seen| {
            seen.probes.values().any(|probe| probe.state == ProbeState::Fail)
                || (runs_ours && seen.items.values().any(|item| matches!(item, ItemSeen::Unit { active: false, .. })))
        })
}

/// Nobody else is taken out where as many as may be are out, for whatever reason.
fn the_budget_is_kept(world: &World, plan: &Plan) {
    let disturbed: BTreeSet<&Name> = plan
        .steps
        .iter()
        .filter(|step| step.action.work().is_some() && !matches!(step.action, Action::Prepare(_)))
        .map(|step| step.target.name())
        .collect();
    for deployment in world.desired.deployments.values() {
        let group = |device: &Name| -> Vec<Option<&String>> {
            let labels = &world.desired.devices[device].labels;
            deployment.strategy.group_by.iter().map(|label| labels.get(label)).collect()
        };
        let groups: BTreeSet<_> = deployment.members.iter().map(group).collect();
        for of in groups {
            let members: Vec<&Name> = deployment.members.iter().filter(|member| group(member) == of).collect();
            let taken: Vec<&&Name> = members.iter().filter(|member| disturbed.contains(**member) && !is_out(world, member)).collect();
            // What can't be reached is no one's budget.
            let out = members.iter().filter(|member| is_out(world, member) && !is_away(world, member)).count();
            let limit = deployment.strategy.max_unavailable.floor_of(members.len());
            assert!(taken.is_empty() || taken.len() + out <= limit, "{taken:?} beside {out} of {limit}\n{plan}");
        }
    }
}

/// Leaving out the Deployments that have nothing to do changes nothing for the others.
fn who_does_nothing_changes_nothing(world: &World, plan: &Plan) {
    let busy: BTreeSet<&Name> = plan.steps.iter().map(|step| step.unit.name()).collect();
    let part = reconcile::plan_units(&world.desired, &world.observed, world.now, busy);
    assert_eq!((&plan.id, &plan.steps), (&part.id, &part.steps));
}

fn counts_add_up(world: &World, plan: &Plan) {
    for (unit, deployment) in world.desired.deployments.iter() {
        let counts = report::deployment(&world.desired, &world.observed, &plan.deferred, unit).counts;
        let sum: i32 = counts.iter().filter(|(key, _)| *key != "total").map(|(_, count)| count).sum();
        assert_eq!((sum, counts["total"]), (counts["total"], i32::try_from(deployment.members.len()).unwrap()));
        let rollout = world.observed.rollouts.get(unit);
        let broken = |member: &&Name| {
            !is_away(world, member)
                || rollout.and_then(|rollout| rollout.placements.get(*member)).is_some_and(|placement| placement.phase == Phase::Failed)
        };
        let may_have_failed = deployment.members.iter().filter(broken).count();
        assert!(counts["failed"] <= i32::try_from(may_have_failed).unwrap(), "who can't be reached has not failed: {counts:?}");
    }
}

/// Everything outside is well again, and Bob lets everything go on.
fn mend(world: &mut World) {
    for machine in world.machines.values_mut() {
        machine.away = None;
        machine.ends.clear();
        machine.hangs = None;
        machine.probes = None;
        machine.probes_rest = false;
        machine.units = None;
    }
}

/// Passes until nothing is left to be done. Returns the last plan.
fn settle(world: &mut World) -> Plan {
    for _ in 0..600 {
        let plan = pass(world);
        let given_up = |deferred: &reconcile::Deferred| {
            matches!(&deferred.waiting_on, WaitingOn::Suspended { .. } | WaitingOn::Health { until: None, .. })
        };
        if plan.steps.is_empty() && world.pending.is_empty() {
            let stuck = plan.deferred.iter().find(|deferred| given_up(deferred)).map(|deferred| deferred.unit.name().to_string());
            match (stuck, plan.look_again) {
                (Some(unit), _) => bob(world, &unit, &Command::Resume),
                (None, Some(at)) => world.now = world.now.max(at),
                (None, None) if plan.deferred.is_empty() => return plan,
                (None, None) => {}
            }
        }
    }
    panic!("it does not come to rest:\n{}\n{:?}", world.plan(), world.observed.rollouts);
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// However it came about, when everything is well again it ends with every device as it should be and nothing to do; and on the
    /// way budgets are kept and nobody is harmed whom nobody can see.
    #[test]
    fn it_comes_to_rest_with_everybody_as_they_should_be(settings in settings(), moves in collection::vec(happening(), 0..80)) {
        let mut world = begin(&settings);
        moves.iter().for_each(|what| happen(&mut world, what));
        mend(&mut world);
        let plan = settle(&mut world);
        assert!(plan.steps.is_empty() && plan.deferred.is_empty(), "{plan}");
        for (unit, deployment) in world.desired.deployments.iter() {
            let Some(rollout) = world.observed.rollouts.get(unit) else { continue };
            let current = rollout.current().unwrap();
            assert!(matches!(current.result, RevisionResult::Complete | RevisionResult::RolledBack { .. }), "{unit}: {:?}", current.result);
            let Some(in_force) = rollout.in_force() else { continue };
            for member in &deployment.members {
                assert_eq!(in_force.content.matcher().matches(&world.observed.devices[member]), Some(true), "{unit} on {member}");
            }
        }
        // Again, as after a restart: there is nothing to be done on any device. (A step that hung on a device that is gone from Git has
        // an end now, so that the device can be forgotten.)
        world.restart();
        world.look();
        let again = world.plan();
        assert!(again.steps.iter().all(|step| step.action.work().is_none()), "after a restart:\n{again}");
    }

    /// Until the first batch has been watched, no more devices than are in it get a new revision, whoever goes away or returns meanwhile.
    #[test]
    fn nobody_else_is_touched_before_the_first_batch_is_proven(
        first in 1..4usize,
        moves in collection::vec(prop_oneof![
            4 => Just(Move::Pass),
            1 => (0..DEVICES.len()).prop_map(Move::Away),
            1 => (0..DEVICES.len()).prop_map(Move::Back),
            1 => (0..DEVICES.len(), any::<bool>()).prop_map(|(device, is)| Move::Selected(device, is)),
            1 => Just(Move::Restart),
        ], 0..80),
    ) {
        let strategy = json!({"batches": [{"max": first}], "maxUnavailable": "100%", "soak": "10s", "deadline": "24h"});
        let mut world = begin(&json!({"strategy": strategy}));
        settle(&mut world);
        write(&mut world, json!({"deployments": {"nginx": {"version": "2.0", "strategy": {"soak": "12h"}}}}));
        for what in &moves {
            // Who has it already speaks for it, also when nobody looks after it any more: those that were changed stay.
            let changed = |index: &usize| {
                let placement = world.observed.rollouts[&Name::parse("nginx")].placements.get(&name(*index));
                placement.is_some_and(|placement| placement.revision == 2)
            };
            if !matches!(what, Move::Selected(index, false) if changed(index)) {
                happen(&mut world, what);
            }
            let rollout = &world.observed.rollouts[&Name::parse("nginx")];
            let touched = rollout.placements.values().filter(|placement| placement.revision == 2 && placement.is_touched());
            assert!(touched.count() <= first);
        }
    }
}
