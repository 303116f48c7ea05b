//! A world that comes from a seed: a fleet, people, an engine, and everything that can go wrong between them.

pub mod engine;
pub mod git;
mod rest;
pub mod rules;
pub mod seeded;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use reconcile::command::{self, Command};
use reconcile::deletion;
use reconcile::{Deferred, Desired, Name, Plan, StepId, WaitingOn};
use simfleet::memory::{Breaks, Devices, Error, Fate, Machine, Store};

use engine::Engine;
use git::{Git, name};
use rules::Rules;
use seeded::Seeded;

/// Turns with faults.
const TURNS: usize = 60;

/// What happened, in lines.
pub type Log = Arc<Mutex<Vec<String>>>;

/// How often a Deployment came to which end, and what else there was.
pub type Tally = BTreeMap<&'static str, usize>;

pub struct World {
    chance: Seeded,
    log: Log,
    pub tally: Tally,
    now: Timestamp,
    git: Git,
    desired: Desired,
    /// A commit that is not in force yet.
    next: Option<Desired>,
    pub devices: Devices,
    store: Store,
    /// `None`: it was killed, and could not start yet.
    engine: Option<Engine>,
    rules: Rules,
    store_away: bool,
    /// Makes the rules narrower than what the engine is told: for showing that they can be broken.
    pub narrow: bool,
}

/// The engine was killed.
struct Killed;

impl World {
    pub fn new(seed: u64, log: Log, devices: fn(Timestamp) -> Devices) -> Self {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let mut chance = Seeded::new(seed);
        let mut git = Git::new(&mut chance);
        let devices = devices(now);
        for (package, version) in git.versions() {
            if chance.percent(25) {
                devices.set_bad(&version, *chance.one(&[Breaks::Install, Breaks::Unit, Breaks::Probe]));
            } else if chance.percent(10) {
                let (device, _) = chance.one(&git.devices);
                devices.with(&name(device), |machine| machine.drift(&package, Some(&version)));
            }
        }
        let desired = git.build();
        for device in desired.devices.keys() {
            let takes = *chance.one(&[0, 0, 1, 5, 20, 90]);
            devices.with(device, |machine| machine.set_takes(SignedDuration::from_secs(takes)));
        }
        let (store, rules, tally) = (Store::new(), Rules::default(), Tally::new());
        Self { chance, log, tally, now, git, desired, next: None, devices, store, engine: None, rules, store_away: false, narrow: false }
    }

    /// Lives through everything, and comes to rest.
    pub async fn live(&mut self) {
        for (device, value) in &self.git.devices {
            self.note(&format!("{device} {value}"));
        }
        for (deployment, value) in &self.git.deployments {
            self.note(&format!("{deployment} {value}"));
        }
        for _ in 0..TURNS {
            self.outside();
            self.pass_time();
            if self.turn().await.is_err() {
                self.count("killed");
                self.note("the engine is killed");
                self.engine = None;
            }
            rules::ran(&self.desired, &self.devices, &self.store);
        }
        self.rest().await;
    }

    fn note(&self, what: &str) {
        let line = format!("{} {what}", self.now.strftime("%d %H:%M:%S"));
        self.log.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    fn pass_time(&mut self) {
        let seconds = match self.chance.below(100) {
            0..60 => 1 + self.chance.below(20),
            60..90 => 20 + self.chance.below(100),
            90..97 => 600 + self.chance.below(6000),
            _ => 0,
        };
        self.now += SignedDuration::from_secs(i64::try_from(seconds).unwrap());
        if seconds == 0 {
            self.count("clock back");
            self.note("the clock jumps back");
            self.now -= SignedDuration::from_secs(90);
        }
        self.devices.set_now(self.now);
    }

    /// What happens outside of the engine.
    fn outside(&mut self) {
        if self.chance.percent(8) {
            self.store_away = !self.store_away && self.chance.percent(60);
            self.store.set_away(self.store_away);
            self.note(if self.store_away { "the store is away" } else { "the store is there" });
        }
        if self.chance.percent(3) {
            self.store.lose_next_answer();
            self.note("the store's next answer will be lost");
        }
        if self.chance.percent(12) {
            let what = self.git.change(&mut self.chance);
            self.next = Some(self.git.build());
            self.note(&format!("commit {} {what}", self.git.commits));
        }
        if self.chance.percent(30) {
            self.misfortune();
        }
    }

    /// Something happens to a device.
    fn misfortune(&mut self) {
        let (device, _) = self.chance.one(&self.git.devices).clone();
        let (package, version) = self.chance.one(&self.git.versions()).clone();
        let (what, now, changed) = (self.chance.below(12), self.now, self.chance.percent(50));
        let fate = *self.chance.one(&[Fate::Fails, Fate::Refused, Fate::NoWayBack, Fate::Hangs]);
        let done = |machine: &mut Machine| match what {
            0..4 if machine.is_away() => {
                machine.set_away(false);
                "can be reached".to_owned()
            }
            0..2 => {
                machine.set_away(true);
                "can't be reached".to_owned()
            }
            2..4 => {
                machine.lose_power(now, changed);
                "loses power".to_owned()
            }
            4 => {
                machine.drift(&package, None);
                format!("{package} is taken off by hand")
            }
            5 => {
                machine.drift(&package, Some(&version));
                format!("{package} is {version} by hand")
            }
            6 | 7 => {
                machine.set_sick(what == 6);
                if what == 6 { "gets sick".to_owned() } else { "is not sick".to_owned() }
            }
            8 => {
                machine.set_needs_reboot();
                "needs a reboot".to_owned()
            }
            _ => {
                machine.push_fate(fate);
                format!("the next step: {fate:?}")
            }
        };
        let what = self.devices.with(&name(&device), done);
        self.note(&format!("{device}: {what}"));
    }

    /// One turn of the engine, which may be killed between any two verbs.
    async fn turn(&mut self) -> Result<(), Killed> {
        if self.engine.is_none() {
            self.engine = Engine::start(&self.store).await.ok();
            if self.engine.is_some() {
                self.note("the engine starts");
            }
        }
        let Some(mut engine) = self.engine.take() else { return Ok(()) };
        if engine.stale && engine.reload(&self.store).await.is_ok() {
            self.note("what is stored is taken up again");
        }
        self.admit(&mut engine).await?;
        for device in self.desired.devices.keys() {
            if self.chance.percent(85) {
                engine.look(&self.desired, &self.devices, device).await;
            }
            if self.chance.percent(85) {
                engine.probe(&self.desired, &self.devices, device, self.now);
            }
        }
        self.fate()?;
        self.people(&mut engine).await;
        for _ in 0..1 + self.chance.below(3) {
            let plan = self.plan(&mut engine);
            self.fate()?;
            if plan.steps.is_empty() || self.record(&mut engine, plan).await.is_err() {
                break;
            }
            self.fate()?;
        }
        self.act(&mut engine).await?;
        self.finish(&mut engine).await;
        self.fate()?;
        self.engine = Some(engine);
        Ok(())
    }

    /// Puts a commit in force, after what it deletes is noted.
    async fn admit(&mut self, engine: &mut Engine) -> Result<(), Killed> {
        let Some(next) = self.next.clone().filter(|_| !engine.stale) else { return Ok(()) };
        if let Some(plan) = deletion::plan(&self.desired, &next, self.desired.deployments.keys(), &engine.observed) {
            if self.record(engine, plan).await.is_err() {
                return Ok(());
            }
            self.count("deleted");
            self.fate()?;
        }
        self.rules.commit(&next);
        self.desired = next;
        self.next = None;
        Ok(())
    }

    fn fate(&mut self) -> Result<(), Killed> {
        if self.chance.percent(1) { Err(Killed) } else { Ok(()) }
    }

    fn plan(&mut self, engine: &mut Engine) -> Plan {
        if !engine.stale
            && engine.ended.is_empty()
            && let Ok(stored) = self.store.rollouts()
        {
            let known: BTreeMap<_, _> =
                engine.observed.rollouts.iter().map(|(unit, rollout)| (unit.clone(), (**rollout).clone())).collect();
            assert_eq!(known, stored, "the engine knows what is stored");
        }
        let plan = reconcile::plan(&self.desired, &engine.observed, self.now);
        engine.deferred.clone_from(&plan.deferred);
        plan
    }

    async fn record(&mut self, engine: &mut Engine, plan: Plan) -> Result<(), Error> {
        reconcile::record::check(&plan, &self.desired, &engine.observed).unwrap_or_else(|error| panic!("{error}"));
        let mut told = self.desired.clone();
        if self.narrow {
            let narrowed = told.deployments.iter().map(|(unit, deployment)| {
                let mut deployment = (**deployment).clone();
                deployment.strategy.max_unavailable = reconcile::desired::Share::Count(1);
                deployment.strategy.group_by.clear();
                (unit.clone(), Arc::new(deployment))
            });
            told.deployments = narrowed.collect();
        }
        let kept = self.rules.plan(&told, &engine.observed, &plan, self.now);
        let steps: Vec<StepId> = plan.steps.iter().map(|step| step.id.clone()).collect();
        for step in &plan.steps {
            self.note(&format!("{} {} {step}", step.unit.name(), step.id));
        }
        let recorded = engine.record(plan, &self.desired, &self.store, self.now).await;
        if let Err(error) = &recorded {
            self.count("not recorded");
            self.note(&format!("not recorded: {error}"));
        }
        // A plan that was made from what is no more is refused, and need not keep to anything.
        if recorded.is_ok() || steps.iter().any(|step| self.store.has(step)) {
            kept.unwrap_or_else(|broken| panic!("{broken}"));
        }
        if let Ok(rollouts) = self.store.rollouts() {
            self.rules.stored(&self.desired, &rollouts);
        }
        recorded
    }

    async fn act(&mut self, engine: &mut Engine) -> Result<(), Killed> {
        for at in (0..engine.steps.len()).rev() {
            if self.chance.percent(5) {
                continue;
            }
            assert!(self.store.has(&engine.steps[at].step().id), "only what is recorded is done");
            if let Some((step, outcome)) = engine.act(&self.desired, &self.devices, at).await {
                let line =
                    format!("{} {} {}: {:?} {}", step.step().unit.name(), step.step().id, step.device(), outcome.verdict, outcome.message);
                assert!(!outcome.message.contains("saved nothing here"), "what never began can't be taken back: {line}");
                self.note(&line);
            }
            self.fate()?;
        }
        Ok(())
    }

    async fn finish(&mut self, engine: &mut Engine) {
        if let Err(error) = engine.finish(&self.store).await {
            self.count("outcome not stored");
            self.note(&format!("the outcome is not stored: {error}"));
        }
    }

    /// People ask for something.
    async fn people(&mut self, engine: &mut Engine) {
        if !self.chance.percent(15) {
            return;
        }
        let (unit, _) = self.chance.one(&self.git.deployments).clone();
        let does = match self.chance.below(8) {
            0 => Command::Pause,
            1..4 => Command::Resume,
            4 => Command::Undo { to: None },
            _ => approval(&engine.deferred, &name(&unit)).unwrap_or(Command::Resume),
        };
        self.ask(engine, &name(&unit), &does).await;
    }

    async fn ask(&mut self, engine: &mut Engine, unit: &Name, does: &Command) {
        let deferred = engine.deferred.clone();
        if let Ok(plan) = command::plan(&self.desired, &engine.observed, unit, does, "bob", &deferred) {
            self.note(&format!("bob: {does:?}"));
            self.count("command");
            let _ = self.record(engine, plan).await;
        }
    }
}

/// What a person would have to say for a Deployment to go on.
fn approval(deferred: &[Deferred], unit: &Name) -> Option<Command> {
    deferred.iter().filter(|deferred| deferred.unit.name() == unit).find_map(|deferred| match &deferred.waiting_on {
        WaitingOn::Approval { id } => Some(Command::Approve { id: id.clone() }),
        _ => None,
    })
}
