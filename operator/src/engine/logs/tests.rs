use crds::{Kind, Object};
use logs::batch::Peer;
use logs::intake::Limits;
use reconcile::{Metric, Revision, Series, Usage};
use serde_json::json;
use store::Search;
use tokio::sync::mpsc;

use super::*;

const OPTIONS: anomaly::Options = anomaly::Options { minute: 60, learning: 0, templates: 1000, all: 300_000 };

/// A device, and a rule that counts lines of it.
fn desired() -> Arc<Desired> {
    let object = |kind: Kind, name: &str, spec: serde_json::Value| {
        let value = json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": kind.as_str(), "metadata": {"name": name}, "spec": spec});
        Arc::new(Object::from_value(kind, value).unwrap())
    };
    let objects = [
        object(Kind::Device, "web-01", json!({"type": "Server", "address": "192.0.2.1"})),
        object(Kind::AlertRule, "logins", json!({"expr": "logs[\"Failed\"].matches > 2", "severity": "info"})),
    ];
    Arc::new(Desired::build(objects, Revision { commit: "1".into(), ..Revision::default() }).0)
}

async fn store(folder: &std::path::Path) -> Arc<Store> {
    Arc::new(Store::open(&store::Options { data: folder.to_owned(), url: None }).await.unwrap())
}

fn view(desired: Arc<Desired>) -> SharedView {
    SharedView::new(api::view::View { desired, ..Default::default() }.into())
}

fn batch(received: Timestamp, messages: &[&str]) -> Batch {
    let mut batch = Batch::default();
    let peer = Peer { address: "192.0.2.1".parse().unwrap(), certificate: None };
    for message in messages {
        batch.push(format!("<11>Jan  1 00:00:00 web-01 sshd: {message}").as_bytes(), &peer, received);
    }
    batch
}

fn reading(view: &SharedView) -> Option<Arc<Usage>> {
    view.read().unwrap().usages.clone().latest(&Name::parse("web-01"))
}

/// Killed in the middle of a minute: the next one says of that minute what the one before would have said, and counts each line once.
#[tokio::test]
async fn what_a_minute_came_to_is_not_lost_by_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let received = Timestamp::now();
    let slot = received.as_second().div_euclid(logs::reading::SLOT) * logs::reading::SLOT;
    let begun = async || {
        let view = view(desired());
        let mut lines = Lines::restore(OPTIONS, store.clone(), view.clone()).await;
        assert!(lines.know());
        lines.again().await;
        (lines, view)
    };
    let (mut first, _) = begun().await;
    first.store(&batch(received, &["Failed password for root", "Accepted key for ann"])).await;
    // What is new is kept, and is new all the same when its minute is over.
    first.keep(true).await;
    drop(first);
    let (mut second, _) = begun().await;
    second.store(&batch(received, &["Failed password for root", "Failed password for root"])).await;
    drop(second);
    let (mut third, view) = begun().await;
    let over = (received.as_second().div_euclid(60) + 1) * 60;
    third.readings.pass(over, &third.reading.miner);
    let usage = reading(&view).unwrap();
    let of = |series: Series| usage.values[&series];
    assert_eq!(usage.at.as_second(), over);
    assert_eq!(of(Series::of(Metric::LogLines)), 4.0);
    assert_eq!(of(Series::of(Metric::LogErrors)), 4.0);
    assert_eq!(of(Series::item(Metric::LogMatches, "Failed")), 3.0);
    assert_eq!(of(Series::of(Metric::LogNewTemplates)), 2.0);
    // Each writes down what it counted: nothing is counted twice.
    let counted = async || store.log_counts("default/web-01", slot).await.unwrap().iter().map(|count| count.lines).sum::<u64>();
    let counts = third.reading.finish();
    third.count(counts).await;
    assert_eq!(counted().await, 4);
    drop(third);
    let (mut fourth, _) = begun().await;
    let counts = fourth.reading.finish();
    fourth.count(counts).await;
    assert_eq!(counted().await, 4);
}

/// One that is stopped before it knows its devices takes nobody for a stranger: the next one knows.
#[tokio::test]
async fn what_came_before_the_devices_were_known_waits_for_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let start = |view: &SharedView, stop: &CancellationToken| {
        let (sent, queue) = mpsc::channel(8);
        let (_, journals) = mpsc::channel(8);
        let sources = Sources { intake: Intake::new(Limits::default()).0, sent: queue, journals, listens: true, has_others: false };
        (sent, tokio::spawn(run(sources, OPTIONS, store.clone(), view.clone(), stop.clone())))
    };
    let stop = CancellationToken::new();
    let (sent, early) = start(&view(Arc::default()), &stop);
    sent.send(batch(Timestamp::now(), &["Failed password for root"])).await.unwrap();
    stop.cancel();
    early.await.unwrap();
    assert_eq!(store.search_logs(&Search::default()).await.unwrap(), []);
    assert_eq!(store.handed_logs().await.unwrap().len(), 1);

    let stop = CancellationToken::new();
    let (_sent, next) = start(&view(desired()), &stop);
    let of = Search { device: Some("default/web-01".into()), limit: 10, ..Search::default() };
    for _ in 0..200 {
        if !store.search_logs(&of).await.unwrap().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(store.search_logs(&of).await.unwrap().len(), 1);
    assert_eq!(store.handed_logs().await.unwrap(), []);
    stop.cancel();
    next.await.unwrap();
}

/// However much others hand on: what is sent to this one has its turn in between, and so has who stops it.
#[tokio::test]
async fn what_is_taken_over_has_an_end_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let document = batch(Timestamp::now(), &["Failed password for root"]).to_document();
    for at in 0..130 {
        let handed = Handed { at, sender: "other".into(), document: document.clone() };
        store.hand_over_logs(&handed, &[]).await.unwrap();
    }
    let mut lines = Lines::restore(OPTIONS, store.clone(), view(desired())).await;
    assert!(lines.know());
    assert!(lines.take_over().await, "there is more");
    assert_eq!(store.handed_logs().await.unwrap().len(), 2);
    assert!(!lines.take_over().await);
    assert_eq!(store.handed_logs().await.unwrap(), []);
}

/// One that stands by hands on what it takes in: lines and what is read from journals are matched and counted by the one who plans.
#[tokio::test]
async fn what_a_replica_takes_in_that_stands_by_is_counted_by_the_one_that_plans() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let stop = CancellationToken::new();
    let start = |view: &SharedView| {
        let (sent, queue) = mpsc::channel(8);
        let (read, journals) = mpsc::channel(8);
        let sources = Sources { intake: Intake::new(Limits::default()).0, sent: queue, journals, listens: true, has_others: true };
        (sent, read, tokio::spawn(run(sources, anomaly::Options { minute: 5, ..OPTIONS }, store.clone(), view.clone(), stop.clone())))
    };
    let standby = view(Arc::default());
    standby.write().unwrap().stands_by = true;
    let (sent, read, standing) = start(&standby);
    sent.send(batch(Timestamp::now(), &["Failed password for root"])).await.unwrap();
    let mut journal = Batch::default();
    journal.push_read(b"<11>1 - - app - - - from the journal", &"default/web-01".into(), "192.0.2.1".parse().unwrap(), Timestamp::now());
    let (stored, answer) = tokio::sync::oneshot::channel();
    let place = JournalPlace { device: "default/web-01".into(), cursor: "s=1".into(), at: 1, after: String::new() };
    read.send(journal::Arrived { batch: journal, place, stored }).await.unwrap();
    assert!(answer.await.unwrap(), "it is safe, so the journal is read on");
    assert_eq!(store.journal_place("default/web-01").await.unwrap().unwrap().cursor, "s=1");
    assert_eq!(store.search_logs(&Search::default()).await.unwrap(), [], "it is not for this one to say whose they are");

    let plans = view(desired());
    let (_sent, _read, planning) = start(&plans);
    let mut found = Vec::new();
    for _ in 0..200 {
        found = store.search_logs(&Search { device: Some("default/web-01".into()), limit: 10, ..Search::default() }).await.unwrap();
        if found.len() == 2 && reading(&plans).is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let messages: Vec<&str> = found.iter().map(|line| line.message.as_str()).collect();
    assert_eq!(messages, ["from the journal", "Failed password for root"]);
    assert!(found.iter().all(|line| line.template.is_some()));
    assert_eq!(store.handed_logs().await.unwrap(), []);
    assert!(reading(&plans).is_some() && reading(&standby).is_none());

    // The one that stood by takes over.
    {
        let mut view = standby.write().unwrap();
        (view.stands_by, view.desired) = (false, desired());
    }
    sent.send(batch(Timestamp::now(), &["Failed password for ann"])).await.unwrap();
    let mut count = 0;
    for _ in 0..60 {
        count = store.search_logs(&Search { device: Some("default/web-01".into()), limit: 10, ..Search::default() }).await.unwrap().len();
        if count == 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(count, 3);
    stop.cancel();
    let (stood, planned) = tokio::time::timeout(Duration::from_secs(30), futures::future::join(standing, planning)).await.unwrap();
    stood.unwrap();
    planned.unwrap();
}
