//! Whatever is committed and finished, and whatever fails in between: the store holds what `Rollout`'s own changes give.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};
use reconcile::content::{AfterChange, Digest};
use reconcile::deletion::Deletion;
use reconcile::record::{Record as _, RecordedStep, resume};
use reconcile::rollout::WayBackSeen;
use reconcile::{Action, Content, File, FileSource, Name, Outcome, Rollout, RolloutChange, ServiceUse, Step, StepId, Verdict};
use serde_json::json;
use std::sync::Arc;
use store::{Error, Store};

use crate::places::{Place, actor, at, change, content, device, plan, postgres, sqlite, verified, work};

/// Tables that a fault is put into, one at a time.
const TABLES: [&str; 10] =
    ["deployment", "revision", "batch", "batch_device", "approval", "placement", "content", "plan", "step", "audit_checkpoint"];
const UNITS: u8 = 2;
const DEVICES: u8 = 4;

#[derive(Clone, Debug)]
enum Op {
    Commit { steps: Vec<Move>, fault: Option<&'static str> },
    Finish { which: Index, outcome: Outcome, fault: Option<&'static str> },
    OpenAgain,
}

#[derive(Clone, Debug)]
enum Move {
    Change(u8, RolloutChange),
    Device(u8, u8, Action),
}

/// What the store should hold.
#[derive(Default)]
struct Model {
    rollouts: BTreeMap<Name, Rollout>,
    under_way: Vec<Step>,
    entries: u64,
}

fn name(unit: u8) -> Name {
    Name::parse(&format!("unit-{unit}"))
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), Just("\0\u{1a}0 'x' \"ü\" 💾\n".to_owned()), "[a-z\\PC]{0,12}"]
}

fn contents() -> impl Strategy<Value = Arc<Content>> {
    (select(vec!["1.0", "2.0", "3.0"]), option::of(text())).prop_map(|(version, file)| {
        let mut content = (*content(version)).clone();
        content.files = file.map(|text| file_of(FileSource::Text(text))).into_iter().collect();
        content.services = vec![ServiceUse { unit: "nginx.service".into(), after: AfterChange::Reload }];
        Arc::new(content)
    })
}

fn file_of(source: FileSource) -> File {
    File { path: "/etc/motd".into(), source, mode: "0644".into(), owner: "root".into(), group: "root".into() }
}

fn number() -> impl Strategy<Value = u32> {
    1..5_u32
}

fn devices() -> impl Strategy<Value = Vec<Name>> {
    vec((0..DEVICES).prop_map(|device| Name::parse(&format!("web-{device}"))), 0..4)
}

fn changes() -> impl Strategy<Value = RolloutChange> {
    let adopted = vec(((0..DEVICES).prop_map(|device| Name::parse(&format!("web-{device}"))), text()), 0..4);
    let adopted = adopted.prop_map(|all| all.into_iter().map(|(name, text)| (name, Digest::of(text.as_bytes()))).collect());
    prop_oneof![
        4 => (number(), contents(), text(), option::of(text()), any::<bool>(), 0..4_usize).prop_map(
            |(number, content, commit, signer, revert, history_limit)| {
                let (digest, author) = (content.digest(), commit.clone());
                RolloutChange::Start { number, content, digest, commit, author, signer, revert, history_limit }
            }
        ),
        4 => (number(), option::of(devices()), option::of(select(vec!["a".to_owned(), "b\0".into()])))
            .prop_map(|(number, devices, approval)| RolloutChange::OpenBatch { number, batch: 1, devices, approval }),
        3 => (number(), adopted).prop_map(|(number, adopted)| RolloutChange::Complete { number, adopted }),
        2 => (number(), any::<bool>(), option::of(number()), text(), option::of(text()))
            .prop_map(|(number, last_batch_only, to, reason, by)| RolloutChange::RollBack { number, last_batch_only, to, reason, by }),
        1 => number().prop_map(|number| RolloutChange::RolledBack { number }),
        4 => (number(), text()).prop_map(|(number, reason)| RolloutChange::Stop { number, reason }),
        1 => text().prop_map(|by| RolloutChange::Pause { by }),
        4 => text().prop_map(|by| RolloutChange::Resume { by }),
        2 => select(vec!["a".to_owned(), "b\0".into()]).prop_map(|approval| RolloutChange::Approve { approval, by: "ada".into() }),
        1 => (0..DEVICES).prop_map(|device| RolloutChange::Forget { device: Name::parse(&format!("web-{device}")) }),
        1 => (text(), option::of(text()), any::<bool>()).prop_map(|(author, signer, remove)| RolloutChange::Delete(deletion(&author, signer.as_deref(), remove))),
        1 => Just(RolloutChange::Recreate),
        1 => Just(RolloutChange::End),
    ]
}

fn deletion(author: &str, signer: Option<&str>, remove: bool) -> Box<Deletion> {
    let window = json!({"schedule": "0 2 * * SUN", "duration": "2h", "timeZone": "Europe/Amsterdam"});
    let deletion = json!({"commit": "c0ffee", "author": author, "signer": signer, "remove": remove, "maxUnavailable": "20%",
        "groupBy": ["site"], "deadlineSeconds": 600, "windows": [window]});
    serde_json::from_value(deletion).unwrap()
}

fn actions() -> impl Strategy<Value = Action> {
    (0..5_u8, number(), contents(), 0..3_u32, 1..4_u32, any::<bool>(), option::of(number()), text()).prop_map(
        |(verb, revision, content, batch, attempt, healthy_before, from, text)| {
            let work = reconcile::Work { batch, attempt, healthy_before, from, ..work(&name(0), revision, &content) };
            match verb {
                0 => Action::Prepare(work),
                1 => Action::Apply(work),
                2 => Action::Restore { work, undo: StepId(text) },
                3 => Action::Reboot { work, boot_id: text },
                _ => Action::Remove(work),
            }
        },
    )
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    let way_back = prop_oneof![Just(WayBackSeen::Unknown), Just(WayBackSeen::Proven), text().prop_map(WayBackSeen::Missing)];
    (select(vec![Verdict::Done, Verdict::Done, Verdict::Failed, Verdict::Refused]), text(), way_back, option::of(text()))
        .prop_map(|(verdict, message, way_back, reboot_from)| Outcome { verdict, at: at(77), message, way_back, reboot_from })
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let moves = prop_oneof![
        (0..UNITS, changes()).prop_map(|(unit, change)| Move::Change(unit, change)),
        (0..UNITS, 0..DEVICES, actions()).prop_map(|(unit, device, action)| Move::Device(unit, device, action)),
    ];
    let fault = || option::weighted(0.3, select(TABLES.to_vec()));
    let op = prop_oneof![
        6 => (vec(moves, 1..6), fault()).prop_map(|(steps, fault)| Op::Commit { steps, fault }),
        4 => (any::<Index>(), outcomes(), fault()).prop_map(|(which, outcome, fault)| Op::Finish { which, outcome, fault }),
        1 => Just(Op::OpenAgain),
    ];
    vec(op, 1..24)
}

impl Model {
    /// The steps at the version where each unit is; the same id twice would be the same step.
    fn steps(&self, moves: &[Move]) -> Vec<Step> {
        let mut ids = BTreeSet::new();
        let steps = moves.iter().map(|step| {
            let (Move::Change(unit, _) | Move::Device(unit, ..)) = step;
            let unit = name(*unit);
            let (version, current) =
                self.rollouts.get(&unit).map_or((0, 0), |rollout| (rollout.version, rollout.current().map_or(0, |record| record.number)));
            match step {
                Move::Change(_, to) => change(&unit, version, about(to, current)),
                Move::Device(_, web, action) => device(&unit, &format!("web-{web}"), version, of(action, current)),
            }
        });
        steps.filter(|step| ids.insert(step.id.clone())).collect()
    }

    fn commit(&mut self, steps: &[Step]) {
        for step in steps {
            let rollout = self.rollouts.entry(step.unit.rollout()).or_default();
            match &step.action {
                Action::Rollout(change) => rollout.apply(change, at(i64::try_from(self.entries).unwrap())),
                _ => rollout.begin(step, at(i64::try_from(self.entries).unwrap())),
            }
        }
        self.under_way.extend(steps.iter().filter(|step| step.action.work().is_some()).cloned());
        self.entries += steps.len() as u64;
    }

    fn finish(&mut self, step: &RecordedStep, outcome: &Outcome) {
        let step = step.step();
        self.rollouts.get_mut(&step.unit.rollout()).unwrap().settle(step, outcome);
        self.under_way.retain(|other| other.id != step.id);
        self.entries += 1;
    }
}

/// Mostly about the newest revision, as what a planner plans; a new one is one more.
fn about(change: &RolloutChange, current: u32) -> RolloutChange {
    let mut change = change.clone();
    match &mut change {
        RolloutChange::Start { number, .. } => *number = current + 1,
        RolloutChange::OpenBatch { number, .. }
        | RolloutChange::Complete { number, .. }
        | RolloutChange::RollBack { number, .. }
        | RolloutChange::RolledBack { number }
        | RolloutChange::Stop { number, .. }
            if *number > 1 =>
        {
            *number = current;
        }
        _ => {}
    }
    change
}

fn of(action: &Action, current: u32) -> Action {
    let mut action = action.clone();
    match &mut action {
        Action::Prepare(work) | Action::Apply(work) | Action::Remove(work) if work.revision > 1 => work.revision = current,
        Action::Restore { work, .. } | Action::Reboot { work, .. } if work.revision > 1 => work.revision = current,
        _ => {}
    }
    action
}

async fn run(place: &Place, ops: &[Op]) {
    let mut store = place.open().await;
    let mut model = Model::default();
    for op in ops {
        match op {
            Op::Commit { steps, fault } => {
                let steps = model.steps(steps);
                let now = at(i64::try_from(model.entries).unwrap());
                let put = with_fault(place, *fault, store.commit(&plan(steps.clone()), &actor(), now)).await;
                if put && !steps.is_empty() {
                    model.commit(&steps);
                }
            }
            Op::Finish { which, outcome, fault } => {
                let steps = resume(&store).await.unwrap();
                if steps.is_empty() {
                    continue;
                }
                let step = which.get(&steps);
                if with_fault(place, *fault, store.finish(step, outcome)).await {
                    model.finish(step, outcome);
                }
            }
            Op::OpenAgain => {
                store.close().await;
                store = place.open().await;
            }
        }
        holds(place, &store, &model).await;
    }
    assert_eq!(verified(&store).await, model.entries);
    store.close().await;
    holds(place, &place.open().await, &model).await;
}

async fn holds(place: &Place, store: &Store, model: &Model) {
    assert_eq!(store.rollouts().await.unwrap(), model.rollouts, "{}", place.name);
    assert_eq!(store.unfinished().await.unwrap(), model.under_way, "{}", place.name);
    let unused =
        "content WHERE digest NOT IN (SELECT content FROM revision) AND digest NOT IN (SELECT content FROM step WHERE content IS NOT NULL)";
    assert_eq!(place.count(unused).await, 0, "{}", place.name);
}

/// Whether it was done, with a fault that strikes when this table is written to.
async fn with_fault(place: &Place, table: Option<&str>, act: impl Future<Output = Result<(), Error>>) -> bool {
    let Some(table) = table else {
        act.await.unwrap();
        return true;
    };
    let sqlite = place.options.url.is_none();
    if sqlite {
        place.execute(&format!("CREATE TRIGGER fault BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'fault'); END")).await;
    } else {
        place
            .execute("CREATE OR REPLACE FUNCTION fault() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION 'fault'; END $$ LANGUAGE plpgsql")
            .await;
        place.execute(&format!("CREATE TRIGGER fault BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION fault()")).await;
    }
    let done = act.await;
    place.execute(&if sqlite { "DROP TRIGGER fault".into() } else { format!("DROP TRIGGER fault ON {table}") }).await;
    assert!(matches!(done, Ok(()) | Err(Error::Database(_))), "{done:?}");
    done.is_ok()
}

fn check(place: impl AsyncFn() -> Option<Place>, cases: u32) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let done = runner.run(&ops(), |ops| {
        runtime.block_on(async {
            if let Some(place) = place().await {
                run(&place, &ops).await;
            }
        });
        Ok(())
    });
    done.unwrap();
}

#[test]
fn sqlite_holds_what_the_model_holds() {
    check(async || Some(sqlite()), 32);
}

#[test]
fn postgres_holds_what_the_model_holds() {
    check(async || postgres().await, 24);
}
