//! What can only be shown from within: limits of a connection, plans of queries, bounds that are far away.

use std::str::FromStr as _;

use jiff::Timestamp;
use reconcile::record::Actor;
use sqlx::any::AnyConnectOptions;
use sqlx::{AssertSqlSafe, Executor as _, Row as _};
use tempfile::TempDir;

use crate::audit::Entry;
use crate::open::{sqlite_url, within};
use crate::plans::prune::{QUERIES, prune};
use crate::{Error, Filter, Options, Store, alerts, log};

async fn open(data: &TempDir) -> Store {
    Store::open(&Options { data: data.path().to_owned(), url: None }).await.unwrap()
}

fn entry() -> Entry {
    Entry {
        index: 0,
        at: Timestamp::UNIX_EPOCH,
        actor: Actor { kind: "engine".into(), name: "evenkeel".into(), signer: None },
        verb: "apply".into(),
        target: "device/web-01".into(),
        unit: "deployment/nginx".into(),
        plan: String::new(),
        step: String::new(),
        changes: Vec::new(),
        message: String::new(),
        outcome: "done".into(),
        refers_to: None,
    }
}

/// As on a full disk, without one.
#[tokio::test]
async fn a_file_that_may_not_grow_is_full() {
    let data = TempDir::new().unwrap();
    let store = open(&data).await;
    store.log(vec![entry()]).await.unwrap();
    store.pool.execute("PRAGMA max_page_count = 1").await.unwrap();
    let error = store.log(vec![entry(); 1000]).await.unwrap_err();
    assert_eq!((error.category(), error.is_transient()), ("full", true), "{error:?}");
    store.pool.execute("PRAGMA max_page_count = 1000000").await.unwrap();
    store.log(vec![entry()]).await.unwrap();
    assert_eq!(store.entries(&Filter { limit: 10, ..Filter::default() }).await.unwrap().len(), 2);
    assert_eq!(store.checkpoint().await.unwrap().unwrap().size, 2);
}

/// As on a file system that was mounted again for reading only.
#[tokio::test]
async fn a_file_that_is_read_only_is_away() {
    let data = TempDir::new().unwrap();
    let mut store = open(&data).await;
    store.log(vec![entry()]).await.unwrap();
    let url = sqlite_url(&data.path().join("evenkeel.db"), "ro").unwrap();
    store.pool = sqlx::AnyPool::connect_lazy_with(AnyConnectOptions::from_str(&url).unwrap());
    let error = store.log(vec![entry()]).await.unwrap_err();
    assert_eq!((error.category(), error.is_transient()), ("away", true), "{error:?}");
    assert_eq!(store.entries(&Filter { limit: 10, ..Filter::default() }).await.unwrap().len(), 1);
}

/// None of what is asked often reads a table from one end to the other.
#[tokio::test]
async fn queries_use_their_indices() {
    let data = TempDir::new().unwrap();
    let store = open(&data).await;
    let (behind, name) = (Some((Timestamp::UNIX_EPOCH, "a".to_owned())), Some(reconcile::Name::parse("a")));
    let newest = alerts::Past::default();
    let of_rule = alerts::Past { rule: name.clone(), ..newest.clone() };
    let past = [newest, alerts::Past { behind, device: name, ..of_rule.clone() }, of_rule];
    let asked = [
        log::ABOUT,
        alerts::DUE,
        alerts::STANDING,
        alerts::LOST,
        alerts::LISTED,
        alerts::OLD,
        alerts::OWN_NETWORK,
        alerts::UNDELIVERED,
        alerts::past::OLD,
        alerts::past::ONE,
    ];
    let asked = asked.into_iter().chain(QUERIES).map(str::to_owned);
    for statement in asked.chain(past.map(|past| past.statement(10).0)) {
        let rows = store.pool.fetch_all(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"))).await.unwrap();
        let steps: Vec<String> = rows.iter().map(|row| row.try_get("detail").unwrap()).collect();
        assert!(!steps.is_empty());
        for step in steps {
            let scans = step.starts_with("SCAN")
                && !step.contains("INDEX plan_recorded")
                && !step.contains("INDEX step_under_way")
                && !step.contains("INDEX notice_");
            let reads_a_result = ["SCAN by_target", "SCAN by_unit", "SCAN (subquery", "SCAN waiting", "SCAN held"]
                .iter()
                .any(|result| step.starts_with(result));
            assert!(!scans || reads_a_result, "{statement}: {step}");
            // The others have all that was ever said.
            for (own, index) in [(alerts::OWN_NETWORK, "notice_own_network"), (alerts::UNDELIVERED, "notice_undelivered")] {
                let is_own = statement == own && step.starts_with("SCAN");
                assert!(!is_own || step.contains(index), "{statement}: {step}");
            }
        }
    }
}

/// Steps go when so much was logged after them, a limited number at a time.
#[tokio::test]
async fn old_steps_are_forgotten_a_few_at_a_time() {
    let data = TempDir::new().unwrap();
    let store = open(&data).await;
    store.log(vec![entry(); 3000]).await.unwrap();
    store
        .pool
        .execute("INSERT INTO plan (id, commit_id, reference, actor_kind, actor_name, recorded_at) VALUES ('p', '', '', '', '', '')")
        .await
        .unwrap();
    let steps = "WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < 2999) INSERT INTO step (id, plan, audit_entry, document, verdict, finished_at) SELECT 's' || n, 'p', n, '', CASE WHEN n = 7 THEN NULL ELSE 'done' END, CASE WHEN n = 7 THEN NULL ELSE '' END FROM numbers";
    store.pool.execute(steps).await.unwrap();
    let count = async || {
        let row = store.pool.fetch_one("SELECT COUNT(*) AS n, SUM(verdict IS NULL) AS under_way FROM step").await.unwrap();
        (row.try_get::<i64, _>("n").unwrap(), row.try_get::<i64, _>("under_way").unwrap())
    };
    for left in [1800, 601, 601] {
        let mut writing = store.write().await.unwrap();
        // As if so much had been logged that those from 2400 on are young enough; the plan added 100 steps.
        prune(&mut writing.tx, 500_000 + 2400, if left == 601 { 10_000 } else { 100 }).await.unwrap();
        writing.commit().await.unwrap();
        assert_eq!(count().await, (left, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_has_a_limit() {
    let never = within::<()>(10, std::future::pending()).await.unwrap_err();
    assert!(matches!(never, Error::Away(_)), "{never:?}");
}

/// A search without end is stopped by the database itself, and meanwhile somebody writes.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_search_is_stopped_and_holds_up_nobody() {
    let data = TempDir::new().unwrap();
    let store = open(&data).await;
    let endless = "WITH RECURSIVE more(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM more) SELECT COUNT(*) AS x FROM more";
    let limit = std::time::Duration::from_millis(500);
    let search = store.readers.within(limit, endless.into(), Vec::new());
    let (found, written) = tokio::join!(search, async { store.log(vec![entry()]).await });
    written.unwrap();
    let error = found.err().unwrap();
    assert_eq!((error.category(), error.is_transient()), ("too-long", false), "{error:?}");
    // The connections are as good as before, however often that happens.
    for _ in 0..2 * crate::readers::MANY {
        let error = store.readers.within(std::time::Duration::from_millis(1), endless.into(), Vec::new()).await.err().unwrap();
        assert_eq!(error.category(), "too-long", "{error:?}");
    }
    assert_eq!(store.readers.all("SELECT COUNT(*) AS x FROM audit_entry", []).await.unwrap()[0].get::<i64, _>("x"), 1);
    let error = store.readers.all("DELETE FROM audit_entry", []).await.err().unwrap();
    assert!(matches!(error, Error::Away(_)), "who reads can't write: {error:?}");
}

/// In however many pieces an hour is summed up, the sums are the same.
#[tokio::test(flavor = "multi_thread")]
async fn an_hour_is_the_same_in_any_number_of_pieces() {
    let data = TempDir::new().unwrap();
    let store = std::sync::Arc::new(open(&data).await);
    let samples = crate::Samples::new(store.clone());
    for number in 0..300 {
        let device = reconcile::Name::parse(&format!("d{number}"));
        for minute in 0..60 {
            samples.push_one(&device, &reconcile::Series::of(reconcile::Metric::LoadOne), minute * 60, f64::from(number));
        }
    }
    samples.flush(3600, true).await.unwrap();
    let mut sums = Vec::new();
    for pieces in [1, 7, 64] {
        store.pool.execute("DELETE FROM sample_1h").await.unwrap();
        store.sum_hour(0, pieces).await.unwrap();
        let rows = store.readers.all("SELECT series, mean, readings FROM sample_1h ORDER BY series", []).await.unwrap();
        let row = |row: &sqlx::any::AnyRow| (row.get::<i64, _>("series"), row.get::<f64, _>("mean"), row.get::<i64, _>("readings"));
        sums.push(rows.iter().map(row).collect::<Vec<_>>());
    }
    assert!(sums[0].len() == 300 && sums[0].iter().all(|(_, _, readings)| *readings == 60));
    assert!(sums[0] == sums[1] && sums[1] == sums[2]);
}
