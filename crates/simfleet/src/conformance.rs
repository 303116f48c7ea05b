//! What must hold of every [`Record`], whatever it keeps its plans in: the fake in memory, SQLite, PostgreSQL.
//!
//! ```text
//! struct Sqlite;                          // whatever is needed to make one
//! impl Subject for Sqlite { … }           // fresh, reopen, rollouts
//!
//! #[tokio::test]
//! async fn keeps_what_a_store_must_keep() { conformance::record(&Sqlite).await }
//! ```
//!
//! Each check gets a fresh store of its own and panics with what does not hold.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use reconcile::deletion::Deletion;
use reconcile::record::{Actor, Record, RecordedStep, record as write_down, resume};
use reconcile::rollout::WayBackSeen;
use reconcile::{
    Action, Apt, Content, Desired, Name, Observed, Outcome, Package, Phase, Plan, PlanId, Revision, Rollout, RolloutChange, Step, StepId,
    Target, Work,
};

/// A kind of store that is put to the test.
pub trait Subject {
    /// It.
    type Store: Record;
    /// A store with nothing in it; the others that this one made may still be in use.
    fn fresh(&self) -> impl Future<Output = Self::Store>;
    /// The same store, as it is after whoever used it was started again.
    fn reopen(&self, store: Self::Store) -> impl Future<Output = Self::Store>;
    /// What it remembers of each Deployment's rollouts.
    fn rollouts(&self, store: &Self::Store) -> impl Future<Output = BTreeMap<Name, Rollout>>;
}

/// Checks everything that must hold of a store. Panics with what does not.
pub async fn record<S: Subject>(subject: &S) {
    everything_at_once(subject).await;
    another_version(subject).await;
    one_of_two_units(subject).await;
    unfinished_after_reopening(subject).await;
    finished_twice(subject).await;
    superseded(subject).await;
    never_recorded(subject).await;
    nothing_to_do(subject).await;
    deleted_and_created_again(subject).await;
}

/// A plan, its steps and what it changes in several rollouts are there at once, and still there after reopening.
async fn everything_at_once<S: Subject>(subject: &S) {
    let store = subject.fresh().await;
    let steps = vec![start("web", 0), prepare("web", "web-1", 0), prepare("web", "web-2", 0), start("db", 0), prepare("db", "db-1", 0)];
    let plan = plan(steps);
    let mut expected: BTreeMap<Name, Rollout> = BTreeMap::new();
    for step in &plan.steps {
        let rollout = expected.entry(step.unit.rollout()).or_default();
        match &step.action {
            Action::Rollout(change) => rollout.apply(change, at(0)),
            _ => rollout.begin(step, at(0)),
        }
    }
    store.commit(&plan, &actor(), at(0)).await.expect("a plan from the right version is taken");
    assert_eq!(subject.rollouts(&store).await, expected, "a recorded plan changes the rollouts as they change themselves");
    let store = subject.reopen(store).await;
    assert_eq!(subject.rollouts(&store).await, expected, "what was recorded is there after reopening");
}

/// A plan from another version is refused, earlier or later, and nothing of it is written.
async fn another_version<S: Subject>(subject: &S) {
    let store = subject.fresh().await;
    commit(&store, vec![start("web", 0)], 0).await;
    let before = subject.rollouts(&store).await;
    for version in [0, 2] {
        let refused = plan(vec![prepare("web", "web-1", version), pause("web", version)]);
        assert!(store.commit(&refused, &actor(), at(1)).await.is_err(), "a plan from version {version} of a rollout at 1 is refused");
    }
    assert_eq!(subject.rollouts(&store).await, before, "a refused plan changes no rollout");
    assert_eq!(unfinished(&store).await, [], "steps of a refused plan don't appear");
    let store = subject.reopen(store).await;
    assert_eq!(subject.rollouts(&store).await, before, "a refused plan changes no rollout, also after reopening");
    assert_eq!(unfinished(&store).await, [], "steps of a refused plan don't appear after reopening");
}

/// A plan that is right for one unit and not for another is refused as a whole, and may come again for the one.
async fn one_of_two_units<S: Subject>(subject: &S) {
    let store = subject.fresh().await;
    commit(&store, vec![start("db", 0)], 0).await;
    let before = subject.rollouts(&store).await;
    let right = prepare("web", "web-1", 1);
    let mixed = plan(vec![start("web", 0), right.clone(), prepare("db", "db-1", 7)]);
    assert!(store.commit(&mixed, &actor(), at(1)).await.is_err(), "one unit at another version refuses the whole plan");
    assert_eq!(subject.rollouts(&store).await, before, "nothing of a refused plan is written for the other unit");
    assert_eq!(unfinished(&store).await, [], "no step of a refused plan appears for the other unit");
    commit(&store, vec![start("web", 0)], 2).await;
    commit(&store, vec![right.clone()], 3).await;
    assert_eq!(unfinished(&store).await, [right.id], "a step of a refused plan can be recorded later");
}

/// What has no outcome yet is unfinished, whole and unchanged, also after reopening; what the store does itself never is.
async fn unfinished_after_reopening<S: Subject>(subject: &S) {
    let store = subject.fresh().await;
    commit(&store, vec![start("web", 0)], 0).await;
    let steps = vec![prepare("web", "web-1", 1), prepare("web", "web-2", 1)];
    commit(&store, steps.clone(), 1).await;
    let first = find(&store, &steps[0].id).await;
    store.finish(&first, &proven(2)).await.expect("an outcome is taken");
    let store = subject.reopen(store).await;
    assert_eq!(
        store.unfinished().await.expect("it can be read"),
        steps[1..],
        "the step without an outcome is unfinished, as it was recorded"
    );
    assert_eq!(store.begun(&steps[1].id).await.expect("it can be read").as_ref(), Some(&steps[1]), "it is found by its id");
    assert_eq!(store.begun(&steps[0].id).await.expect("it can be read"), None, "a step with its outcome is not");
    assert_eq!(store.begun(&StepId("never".into())).await.expect("it can be read"), None, "nor is one that was never recorded");
    let second = find(&store, &steps[1].id).await;
    store.finish(&second, &proven(3)).await.expect("an outcome is taken after reopening");
    assert_eq!(unfinished(&store).await, [], "what has an outcome is finished");
    let rollout = &subject.rollouts(&store).await[&name("web")];
    let prepared = rollout.placements.values().filter(|placement| placement.phase == Phase::Prepared).count();
    assert_eq!(prepared, 2, "outcomes settle their steps in the rollout");
}

/// Doing it twice is the same as doing it once: the first outcome stays.
async fn finished_twice<S: Subject>(subject: &S) {
    let store = subject.fresh().await;
    commit(&store, vec![start("web", 0), prepare("web", "web-1", 0)], 0).await;
    let step = only(&store).await;
    store.finish(&step, &proven(1)).await.expect("an outcome is taken");
    let once = subject.rollouts(&store).await;
    store.finish(&step, &proven(1)).await.expect("the same outcome again is no error");
    store.finish(&step, &Outcome::failed(at(2), "late")).await.expect("another outcome later is no error");
    assert_eq!(subject.rollouts(&store).await, once, "finishing twice is finishing once");
    let store = subject.reopen(store).await;
    store.finish(&step, &Outcome::failed(at(3), "later")).await.expect("nor is it after reopening");
    assert_eq!(subject.rollouts(&store).await, once, "finishing twice is finishing once, also after reopening");
}

/// The outcome of a step that another one came after is kept, and changes nothing in the rollout.
async fn superseded<S: Subject>(subject: &S) {
    let store = subject.fresh().await;
    commit(&store, vec![start("web", 0), prepare("web", "web-1", 0)], 0).await;
    let first = only(&store).await;
    let version = subject.rollouts(&store).await[&name("web")].version;
    let next = prepare("web", "web-1", version);
    commit(&store, vec![next.clone()], 1).await;
    let before = subject.rollouts(&store).await;
    store.finish(&first, &Outcome::failed(at(2), "too late")).await.expect("a late outcome is taken");
    assert_eq!(subject.rollouts(&store).await, before, "a step that is not the placement's last changes nothing");
    assert_eq!(unfinished(&store).await, std::slice::from_ref(&next.id), "the late one is finished, the other is not");
    let second = find(&store, &next.id).await;
    store.finish(&second, &proven(3)).await.expect("the outcome of the last step is taken");
    let rollout = &subject.rollouts(&store).await[&name("web")];
    assert_eq!(rollout.placements[&name("web-1")].phase, Phase::Prepared, "the last step settles the placement");
}

/// An outcome for a step that this store never saw is an error.
async fn never_recorded<S: Subject>(subject: &S) {
    let (one, other) = (subject.fresh().await, subject.fresh().await);
    let plan = plan(vec![start("web", 0), prepare("web", "web-1", 0)]);
    let recorded = write_down(plan, (&Desired::default(), &Observed::default()), &actor(), at(0), &one)
        .await
        .expect("a plan from the right version is taken");
    let step = recorded.device_steps().next().expect("it has a device step");
    assert!(other.finish(&step, &proven(1)).await.is_err(), "an outcome of a step that was never recorded is an error");
    assert_eq!(subject.rollouts(&other).await, BTreeMap::new(), "and leaves nothing behind");
    assert_eq!(subject.rollouts(&one).await[&name("web")].placements[&name("web-1")].phase, Phase::Preparing, "two stores are two");
}

/// A plan without steps changes nothing, however often it comes.
async fn nothing_to_do<S: Subject>(subject: &S) {
    let store = subject.fresh().await;
    commit(&store, Vec::new(), 0).await;
    commit(&store, Vec::new(), 1).await;
    assert_eq!(subject.rollouts(&store).await, BTreeMap::new(), "a plan without steps changes nothing");
}

async fn commit<R: Record>(store: &R, steps: Vec<Step>, seconds: i64) {
    store.commit(&plan(steps), &actor(), at(seconds)).await.expect("a plan from the right version is taken");
}

async fn unfinished<R: Record>(store: &R) -> Vec<StepId> {
    store.unfinished().await.expect("it can be read").into_iter().map(|step| step.id).collect()
}

async fn find<R: Record>(store: &R, id: &StepId) -> RecordedStep {
    let steps = resume(store).await.expect("it can be read");
    steps.into_iter().find(|step| step.step().id == *id).expect("the step is unfinished")
}

async fn only<R: Record>(store: &R) -> RecordedStep {
    let mut steps = resume(store).await.expect("it can be read");
    assert_eq!(steps.len(), 1, "one step is unfinished");
    steps.remove(0)
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 365 * 50) + SignedDuration::from_secs(seconds)
}

fn proven(seconds: i64) -> Outcome {
    Outcome { way_back: WayBackSeen::Proven, ..Outcome::done(at(seconds), "everything is there") }
}

/// A Deployment that was deleted keeps what it said of its end until that is done, then nothing but its numbers: a new one of the same name
/// goes on counting, since devices remember steps by them.
async fn deleted_and_created_again<S: Subject>(subject: &S) {
    let store = subject.fresh().await;
    let deletion = Deletion {
        commit: "89abcdef".into(),
        author: "ann".into(),
        signer: Some("ann's key".into()),
        remove: true,
        max_unavailable: crds::Share::Percent(crds::Percent(20)),
        group_by: vec!["site".into()],
        deadline_seconds: 600,
        windows: Vec::new(),
    };
    let mut expected = Rollout::default();
    let mut change = async |store: &S::Store, change: RolloutChange| {
        let next = step("web", Target::Deployment(name("web")), Action::Rollout(change.clone()), expected.version);
        commit(store, vec![next], 1).await;
        expected.apply(&change, at(1));
        assert_eq!(subject.rollouts(store).await, BTreeMap::from([(name("web"), expected.clone())]), "{}", change.word());
        expected.version
    };
    change(&store, first()).await;
    change(&store, RolloutChange::Pause { by: "bob".into() }).await;
    change(&store, RolloutChange::Delete(Box::new(deletion))).await;
    let store = subject.reopen(store).await;
    let ended = change(&store, RolloutChange::End).await;
    let store = subject.reopen(store).await;
    let rollout = subject.rollouts(&store).await.remove(&name("web")).expect("its numbers stay");
    assert_eq!((rollout.numbered, rollout.version, rollout.is_remembered()), (1, ended, false), "nothing else does");
    assert_eq!((rollout.deletion, rollout.paused), (None, None), "nor what was said of it");
    change(&store, RolloutChange::Recreate).await;
}

fn name(text: &str) -> Name {
    Name::parse(text)
}

fn actor() -> Actor {
    Actor { kind: "commit".into(), name: "ann".into(), signer: None }
}

fn plan(steps: Vec<Step>) -> Plan {
    let revision = Revision { reference: "main".into(), commit: "0123456789".into(), author: "ann".into(), signer: None };
    Plan { id: PlanId::of(&revision, &steps), revision, steps, deferred: Vec::new(), look_again: None }
}

fn content() -> Arc<Content> {
    let package =
        Package::Apt(Apt { name: "nginx".into(), version: "1.24".into(), hold: false, allow_downgrade: false, replace_conffiles: false });
    let packages = vec![package];
    Arc::new(Content { packages, ..Content::nothing() })
}

fn step(unit: &str, target: Target, action: Action, version: u64) -> Step {
    let unit = Target::Deployment(name(unit));
    let id = StepId::of(&unit, &target, action.word(), version, "");
    Step { id, unit, target, action, expects_version: version, expects: None, changes: Vec::new(), reason: "wanted by the commit".into() }
}

fn start(unit: &str, version: u64) -> Step {
    step(unit, Target::Deployment(name(unit)), Action::Rollout(first()), version)
}

/// A first revision.
fn first() -> RolloutChange {
    let content = content();
    let digest = content.digest();
    let (commit, author) = ("0123456789".into(), "ann".into());
    RolloutChange::Start { number: 1, content, digest, commit, author, signer: None, revert: false, history_limit: 10 }
}

fn pause(unit: &str, version: u64) -> Step {
    step(unit, Target::Deployment(name(unit)), Action::Rollout(RolloutChange::Pause { by: "bob".into() }), version)
}

fn prepare(unit: &str, device: &str, version: u64) -> Step {
    let content = content();
    let work = Work {
        deployment: name(unit),
        revision: 1,
        digest: content.digest(),
        content,
        batch: 1,
        attempt: 1,
        revert: false,
        healthy_before: true,
        from: None,
        deadline_seconds: 600,
    };
    step(unit, Target::Device(name(device)), Action::Prepare(work), version)
}
