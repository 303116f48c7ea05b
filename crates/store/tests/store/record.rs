//! What `Record` promises.

use std::collections::BTreeMap;

use reconcile::record::{Record as _, resume};
use reconcile::rollout::WayBackSeen;
use reconcile::{Action, Name, Outcome, Phase, Revision, RolloutChange, Verdict};
use store::audit::Entry;
use store::{Error, Filter, Store};

use crate::places::{Place, actor, at, change, content, device, entry, places, plan, start, verified, work};

/// A rollout of revision 1 with one open batch, at version 2.
async fn rolled_out(store: &Store, unit: &Name) {
    let content = content("1.0");
    store.commit(&plan(vec![change(unit, 0, start(1, &content))]), &actor(), at(1)).await.unwrap();
    let devices = Some(vec![Name::parse("web-02"), Name::parse("web-01")]);
    let open = RolloutChange::OpenBatch { number: 1, batch: 1, devices, approval: None };
    store.commit(&plan(vec![change(unit, 1, open)]), &actor(), at(2)).await.unwrap();
}

async fn entries(store: &Store) -> Vec<Entry> {
    store.entries(&Filter { limit: 1000, ..Filter::default() }).await.unwrap()
}

/// Everything that a store tells, to be compared.
async fn told(store: &Store) -> String {
    let (rollouts, steps) = (store.rollouts().await.unwrap(), store.unfinished().await.unwrap());
    format!("{rollouts:?}\n{steps:?}\n{:?}\n{:?}", store.plans(1000).await.unwrap(), entries(store).await)
}

#[tokio::test]
async fn a_plan_is_written_as_one() {
    for place in places().await {
        let store = place.open().await;
        let (unit, content) = (Name::parse("nginx"), content("1.0"));
        rolled_out(&store, &unit).await;
        let steps = vec![
            device(&unit, "web-01", 2, Action::Prepare(work(&unit, 1, &content))),
            device(&unit, "web-02", 2, Action::Prepare(work(&unit, 1, &content))),
        ];
        let plan = plan(steps);
        store.commit(&plan, &actor(), at(3)).await.unwrap();

        let rollouts = store.rollouts().await.unwrap();
        let rollout = &rollouts[&unit];
        assert_eq!(rollout.version, 4);
        assert_eq!(rollout.history[0].batches[0].devices.as_deref().unwrap(), [Name::parse("web-02"), Name::parse("web-01")]);
        assert_eq!(rollout.placements[&Name::parse("web-01")].phase, Phase::Preparing);
        assert_eq!(store.unfinished().await.unwrap(), plan.steps);

        let entries = entries(&store).await;
        assert_eq!(entries.len(), 4);
        assert_eq!((entries[3].verb.as_str(), entries[3].outcome.as_str()), ("start", "done"));
        assert_eq!((entries[0].target.as_str(), entries[0].unit.as_str()), ("device/web-02", "deployment/nginx"));
        assert_eq!((entries[0].outcome.as_str(), entries[0].plan.as_str()), ("begun", plan.id.0.as_str()));
        assert_eq!(entries[0].changes, ["apt nginx 1.0 -> absent"]);
        assert_eq!(entries[0].actor, actor());

        let recorded = store.plans(1).await.unwrap();
        assert_eq!((recorded[0].id.as_str(), recorded[0].recorded_at), (plan.id.0.as_str(), at(3)));
        assert_eq!(recorded[0].actor, actor());
        let steps = store.steps(&plan.id.0, None).await.unwrap();
        assert_eq!(steps.iter().map(|row| row.step.clone()).collect::<Vec<_>>(), plan.steps);
        assert_eq!(store.steps(&plan.id.0, Some(steps[0].entry)).await.unwrap(), steps[1..]);
        assert_eq!(place.count("content").await, 1, "{}: the same content is written once", place.name);
        assert_eq!(verified(&store).await, 4);
    }
}

#[tokio::test]
async fn a_version_conflict_writes_nothing() {
    for place in places().await {
        let store = place.open().await;
        let (unit, other) = (Name::parse("nginx"), Name::parse("haproxy"));
        rolled_out(&store, &unit).await;
        let before = told(&store).await;
        // The first Deployment could go on: it must not, alone.
        for stale in [0, 1, 3] {
            let steps = vec![
                change(&other, 0, start(1, &content("9.0"))),
                device(&unit, "web-01", stale, Action::Prepare(work(&unit, 1, &content("1.0")))),
            ];
            let error = store.commit(&plan(steps), &actor(), at(9)).await.unwrap_err();
            assert!(matches!(&error, Error::Conflict { unit, expected } if unit == "nginx" && *expected == stale), "{error:?}");
            assert_eq!((error.category(), error.is_transient()), ("conflict", true));
        }
        assert_eq!(told(&store).await, before, "{}", place.name);
        assert_eq!(verified(&store).await, 2);
    }
}

#[tokio::test]
async fn an_outcome_is_written_once() {
    for place in places().await {
        let store = place.open().await;
        let (unit, web) = (Name::parse("nginx"), Name::parse("web-01"));
        rolled_out(&store, &unit).await;
        let prepare = device(&unit, "web-01", 2, Action::Prepare(work(&unit, 1, &content("1.0"))));
        store.commit(&plan(vec![prepare]), &actor(), at(3)).await.unwrap();
        let [step] = resume(&store).await.unwrap().try_into().unwrap();

        let outcome = Outcome { way_back: WayBackSeen::Missing("no\0.deb".into()), ..Outcome::done(at(4), "x".repeat(100_000)) };
        store.finish(&step, &outcome).await.unwrap();
        let once = told(&store).await;
        // Whoever could not see that it was stored stores it again, perhaps with other words.
        store.finish(&step, &outcome).await.unwrap();
        store.finish(&step, &Outcome::failed(at(5), "lost")).await.unwrap();
        assert_eq!(told(&store).await, once, "{}", place.name);

        let rollouts = store.rollouts().await.unwrap();
        let placement = &rollouts[&unit].placements[&web];
        assert_eq!((placement.phase, placement.since), (Phase::Prepared, at(4)));
        assert_eq!(placement.way_back, WayBackSeen::Missing("no\0.deb".into()));
        assert!(store.unfinished().await.unwrap().is_empty());
        let entries = entries(&store).await;
        assert_eq!((entries[0].outcome.as_str(), entries[0].refers_to), ("done", Some(2)));
        assert!(entries[0].message.len() < 10_000, "a message has a limit");
        let steps = store.steps(&entries[0].plan, None).await.unwrap();
        assert_eq!((steps[0].verdict, steps[0].finished_at), (Some(Verdict::Done), Some(at(4))));
        assert_eq!(verified(&store).await, 4);
    }
}

/// An outcome that comes late, when the device's last step is another one, is kept and changes nothing.
#[tokio::test]
async fn an_outcome_settles_only_its_own_step() {
    for place in places().await {
        let store = place.open().await;
        let unit = Name::parse("nginx");
        rolled_out(&store, &unit).await;
        let work = work(&unit, 1, &content("1.0"));
        store.commit(&plan(vec![device(&unit, "web-01", 2, Action::Prepare(work.clone()))]), &actor(), at(3)).await.unwrap();
        store.commit(&plan(vec![device(&unit, "web-01", 3, Action::Apply(work))]), &actor(), at(4)).await.unwrap();
        let steps = resume(&store).await.unwrap();
        assert_eq!(steps.iter().map(|step| step.step().action.word()).collect::<Vec<_>>(), ["prepare", "apply"]);
        let before = store.rollouts().await.unwrap();
        store.finish(&steps[0], &Outcome::failed(at(5), "late")).await.unwrap();
        assert_eq!(store.rollouts().await.unwrap(), before, "{}", place.name);
        assert_eq!(store.unfinished().await.unwrap().len(), 1);
        assert_eq!(verified(&store).await, 5);
    }
}

#[tokio::test]
async fn an_outcome_of_an_unknown_step_is_refused() {
    let [one, two] = [crate::places::sqlite(), crate::places::sqlite()];
    let (one, two) = (one.open().await, two.open().await);
    let unit = Name::parse("nginx");
    rolled_out(&one, &unit).await;
    let step = device(&unit, "web-01", 2, Action::Prepare(work(&unit, 1, &content("1.0"))));
    one.commit(&plan(vec![step]), &actor(), at(3)).await.unwrap();
    let [step] = resume(&one).await.unwrap().try_into().unwrap();
    assert!(matches!(two.finish(&step, &Outcome::done(at(4), "")).await, Err(Error::Damaged(_))));
    assert_eq!(two.entries(&Filter { limit: 1, ..Filter::default() }).await.unwrap(), []);
}

/// The one change of state that touches placements which it does not name.
#[tokio::test]
async fn a_resumed_rollout_is_tried_again_where_it_failed() {
    for place in places().await {
        let store = place.open().await;
        let (unit, web) = (Name::parse("nginx"), Name::parse("web-01"));
        rolled_out(&store, &unit).await;
        let apply = device(&unit, "web-01", 2, Action::Apply(work(&unit, 1, &content("1.0"))));
        store.commit(&plan(vec![apply]), &actor(), at(3)).await.unwrap();
        let [step] = resume(&store).await.unwrap().try_into().unwrap();
        store.finish(&step, &Outcome::failed(at(4), "no")).await.unwrap();
        let stop = RolloutChange::Stop { number: 1, reason: "no".into() };
        store.commit(&plan(vec![change(&unit, 4, stop)]), &actor(), at(5)).await.unwrap();
        let go_on = RolloutChange::Resume { by: "ada".into() };
        store.commit(&plan(vec![change(&unit, 5, go_on)]), &actor(), at(6)).await.unwrap();
        let rollouts = store.rollouts().await.unwrap();
        let placement = &rollouts[&unit].placements[&web];
        assert_eq!((placement.phase, placement.attempt, placement.since), (Phase::Prepared, 2, at(6)), "{}", place.name);
    }
}

/// What a commit or an outcome writes follows from what it changes, not from how large the rollout is.
#[tokio::test]
async fn only_what_changes_is_written() {
    for place in places().await {
        let store = place.open().await;
        let (unit, content) = (Name::parse("nginx"), content("1.0"));
        store.commit(&plan(vec![change(&unit, 0, start(1, &content))]), &actor(), at(1)).await.unwrap();
        let adopted = (0..1500).map(|number| (Name::parse(&format!("web-{number}")), content.digest())).collect();
        store.commit(&plan(vec![change(&unit, 1, RolloutChange::Complete { number: 1, adopted })]), &actor(), at(2)).await.unwrap();
        assert_eq!(place.count("placement").await, 1500);

        count_writes(&place).await;
        store.commit(&plan(vec![device(&unit, "web-7", 2, Action::Apply(work(&unit, 1, &content)))]), &actor(), at(3)).await.unwrap();
        let [step] = resume(&store).await.unwrap().try_into().unwrap();
        store.finish(&step, &Outcome::done(at(4), "")).await.unwrap();
        assert_eq!(place.count("written WHERE what = 'placement'").await, 2, "{}", place.name);
        assert_eq!(place.count("written WHERE what = 'revision'").await, 0, "{}", place.name);
    }
}

/// Triggers that count rows as they are written.
async fn count_writes(place: &Place) {
    place.execute("CREATE TABLE written (what TEXT NOT NULL)").await;
    for table in ["placement", "revision"] {
        if place.options.url.is_none() {
            for event in ["INSERT", "UPDATE", "DELETE"] {
                let body = format!("BEGIN INSERT INTO written VALUES ('{table}'); END");
                place.execute(&format!("CREATE TRIGGER count_{table}_{event} AFTER {event} ON {table} {body}")).await;
            }
        } else {
            let function = "CREATE OR REPLACE FUNCTION count_write() RETURNS trigger AS $$ BEGIN INSERT INTO written VALUES (TG_TABLE_NAME); RETURN NULL; END $$ LANGUAGE plpgsql";
            place.execute(function).await;
            let when = "AFTER INSERT OR UPDATE OR DELETE";
            place.execute(&format!("CREATE TRIGGER count_{table} {when} ON {table} FOR EACH ROW EXECUTE FUNCTION count_write()")).await;
        }
    }
}

#[tokio::test]
async fn old_plans_are_forgotten_and_what_is_under_way_is_not() {
    for place in places().await {
        let store = place.open().await;
        let unit = Name::parse("nginx");
        rolled_out(&store, &unit).await;
        let under_way = plan(vec![device(&unit, "web-01", 2, Action::Prepare(work(&unit, 1, &content("2.0"))))]);
        store.commit(&under_way, &actor(), at(3)).await.unwrap();
        // 2000 plans later …
        for hundreds in 0..20 {
            let rows: Vec<String> = (0..100)
                .map(|number| format!("('later-{hundreds}-{number}', '', '', '', '', '2026-01-01T00:00:00.{hundreds:03}{number:06}Z')"))
                .collect();
            place
                .execute(&format!(
                    "INSERT INTO plan (id, commit_id, reference, actor_kind, actor_name, recorded_at) VALUES {}",
                    rows.join(", ")
                ))
                .await;
        }
        let pause = plan(vec![change(&unit, 3, RolloutChange::Pause { by: "ada".into() })]);
        store.commit(&pause, &actor(), "2027-01-01T00:00:00Z".parse().unwrap()).await.unwrap();

        let plans = store.plans(u32::MAX).await.unwrap();
        assert_eq!((plans.len(), plans[0].id.as_str()), (1000, pause.id.0.as_str()), "a list has a limit");
        assert_eq!(place.count("plan").await, 2001, "{}: 2000, and the one that is under way", place.name);
        assert_eq!(place.count("plan WHERE id = 'later-0-0'").await, 0, "{}: the oldest of them goes", place.name);
        assert_eq!(store.unfinished().await.unwrap(), under_way.steps);
        assert_eq!(place.count("step").await, 2);

        // … and when it has ended, it goes with its content.
        let [step] = resume(&store).await.unwrap().try_into().unwrap();
        store.finish(&step, &Outcome::done(at(4), "")).await.unwrap();
        let version = store.rollouts().await.unwrap()[&unit].version;
        let resume = plan(vec![change(&unit, version, RolloutChange::Resume { by: "ada".into() })]);
        store.commit(&resume, &actor(), "2027-01-02T00:00:00Z".parse().unwrap()).await.unwrap();
        assert_eq!(place.count("plan").await, 2000, "{}", place.name);
        assert_eq!(place.count(&format!("content WHERE digest = '{}'", content("2.0").digest())).await, 0, "{}", place.name);
        assert_eq!(place.count(&format!("content WHERE digest = '{}'", content("1.0").digest())).await, 1, "{}", place.name);
    }
}

#[tokio::test]
async fn a_plan_without_rollouts_is_only_written_down() {
    for place in places().await {
        let store = place.open().await;
        let mut admit = change(&Name::parse("fleet"), 0, RolloutChange::Pause { by: String::new() });
        admit.unit = reconcile::Target::Repository(Name::parse("fleet"));
        admit.target = admit.unit.clone();
        admit.action = Action::Admit { commit: "c0ffee".into() };
        store.commit(&plan(vec![admit.clone()]), &actor(), at(1)).await.unwrap();
        assert_eq!(store.rollouts().await.unwrap(), BTreeMap::new(), "{}", place.name);
        assert_eq!(store.unfinished().await.unwrap(), []);
        // No steps at all, twice.
        let empty = plan(Vec::new());
        for second in [2, 3] {
            store.commit(&empty, &actor(), at(second)).await.unwrap();
        }
        assert_eq!(store.plans(10).await.unwrap().len(), 2);
        assert_eq!(verified(&store).await, 1);
    }
}

#[tokio::test]
async fn a_source_is_remembered_with_what_was_let_through() {
    for place in places().await {
        let store = place.open().await;
        let url = "https://git.example.org/fleet.git";
        assert_eq!(store.in_force(url).await.unwrap(), None);
        store.approve_source(url, "older", entry("approve", "commit/older", "")).await.unwrap();
        store.approve_source(url, "newer", entry("approve", "commit/newer", "")).await.unwrap();
        assert!(store.is_approved(url, "newer").await.unwrap());
        assert!(!store.is_approved(url, "older").await.unwrap(), "{}: one commit is let through, not any number", place.name);
        assert!(!store.is_approved("elsewhere", "newer").await.unwrap());

        for (commit, signer) in [("c1", None), ("c2", Some("SHA256:abc".to_owned()))] {
            let revision = Revision { reference: "main".into(), commit: commit.into(), author: "A\u{1a}da".into(), signer };
            store.put_in_force(url, &revision, entry("admit", "source", "")).await.unwrap();
            let found = store.in_force(url).await.unwrap().unwrap();
            assert_eq!((found.revision, found.since), (revision, at(0)), "{}", place.name);
            assert!(!store.is_approved(url, "newer").await.unwrap(), "{}: it is used up", place.name);
        }
        assert_eq!(verified(&store).await, 4);
    }
}
