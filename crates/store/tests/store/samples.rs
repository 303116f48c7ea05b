//! Samples: what goes in comes out in the resolution that is left of it, and what is old goes.

use std::sync::Arc;

use jiff::Timestamp;
use reconcile::{Metric, Name, Series, Usage};
use store::{AT_ONCE, FIVE_MINUTES_KEPT, HOURS_KEPT, POINTS, RAW_KEPT, Samples, Since, Store};

use crate::places::{Place, database, places};
use crate::postgres::Server;

/// Some midnight.
const DAY: i64 = 1_795_564_800;

fn web() -> Name {
    Name::new("ams1", "web-01")
}

fn usage(second: i64, load: f64) -> Usage {
    let values = [
        (Series::of(Metric::LoadOne), load),
        (Series::item(Metric::DiskRatio, "/srv/ü \0"), load / 10.0),
        (Series::of(Metric::MemoryTotal), 1.5e12),
        (Series::of(Metric::SwapRatio), f64::NAN),
    ];
    Usage { at: Timestamp::from_second(second).unwrap(), values: values.into() }
}

async fn open(place: &Place) -> (Arc<Store>, Samples) {
    let store = Arc::new(place.open().await);
    (store.clone(), Samples::new(store))
}

/// Load rises by 1 with each 30 seconds from midnight on, in each 5 minutes from 0 to 9.
fn fill(samples: &Samples, from: i64, to: i64) {
    for second in (from..to).step_by(30) {
        samples.push(&web(), &usage(second, (second % 300 / 30) as f64));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_in_comes_out() {
    for place in places().await {
        let (store, samples) = open(&place).await;
        fill(&samples, DAY, DAY + 3600);
        let load = Series::of(Metric::LoadOne);
        let now = DAY + 3600;
        // From memory alone, then from both, then from the database alone.
        let before = samples.read(&web(), &load, DAY, now, POINTS, now).await.unwrap();
        assert_eq!(before.len(), 120, "{}", place.name);
        assert_eq!(samples.flush(now - 300, false).await.unwrap(), 33, "{}: eleven windows of three series", place.name);
        assert_eq!(samples.read(&web(), &load, DAY, now, POINTS, now).await.unwrap(), before, "{}", place.name);
        assert_eq!(samples.flush(now, true).await.unwrap(), 3, "{}", place.name);
        assert_eq!(samples.in_memory(), (0, 0));
        let stored = store.samples(&web(), &load, DAY, now, POINTS, now).await.unwrap();
        assert_eq!(stored, before, "{}", place.name);
        assert_eq!((stored[1].at, stored[1].mean, stored[1].readings), (DAY + 30, 1.0, 1), "{}", place.name);
        assert_eq!(place.count("sample_raw").await, 36, "{}", place.name);

        let disk = Series::item(Metric::DiskRatio, "/srv/ü \0");
        assert_eq!(store.samples(&web(), &disk, DAY, DAY + 60, POINTS, now).await.unwrap()[2].mean, f64::from(0.2_f32), "{}", place.name);
        let memory = Series::of(Metric::MemoryTotal);
        assert_eq!(store.samples(&web(), &memory, DAY, DAY, POINTS, now).await.unwrap()[0].mean, f64::from(1.5e12_f32), "{}", place.name);
        assert_eq!(store.series(&web()).await.unwrap(), [load.clone(), memory, disk], "{}", place.name);
        assert_eq!(store.series(&Name::parse("other")).await.unwrap(), [], "{}", place.name);
        assert_eq!(store.samples(&Name::parse("other"), &load, DAY, now, POINTS, now).await.unwrap(), [], "{}", place.name);
    }
}

/// What rules look back at after a restart: of several series at once, each from its own second on.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_lately_is_there_again() {
    for place in places().await {
        let (store, samples) = open(&place).await;
        fill(&samples, DAY, DAY + 3600);
        samples.flush(DAY + 3300, false).await.unwrap();
        let now = DAY + 3600;
        let of = |series: Series, from: i64| Since { device: web(), series, from };
        let [load, disk] = [Series::of(Metric::LoadOne), Series::item(Metric::DiskRatio, "/srv/ü \0")];
        let other = Since { device: Name::parse("other"), series: load.clone(), from: DAY };
        let wanted = [of(load.clone(), now - 600), of(disk, now - 90), other, of(Series::of(Metric::SwapRatio), DAY)];
        let found = samples.since(&wanted, now).await.unwrap();
        let counts = |found: &[Vec<(Timestamp, f64)>]| found.iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(counts(&found), [20, 3, 0, 0], "{}: half of it from memory", place.name);
        assert_eq!(found[0][11], (Timestamp::from_second(now - 270).unwrap(), 1.0), "{}", place.name);
        assert!(found[0].is_sorted_by_key(|(at, _)| *at), "{}", place.name);
        // Another process, after a kill: what was in memory is lost, and after an orderly end nothing is.
        let killed = Samples::new(store.clone());
        assert_eq!(counts(&killed.since(&wanted, now).await.unwrap()), [10, 0, 0, 0], "{}", place.name);
        samples.flush(now, true).await.unwrap();
        assert_eq!(killed.since(&wanted, now).await.unwrap(), found, "{}", place.name);
        let many = vec![of(load.clone(), DAY); AT_ONCE + 1];
        assert_eq!(killed.since(&many, now).await.unwrap().len(), AT_ONCE, "{}: there is a limit", place.name);
        assert_eq!(killed.since(&[], now).await.unwrap(), Vec::<Vec<_>>::new(), "{}", place.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn older_samples_are_coarser() {
    for place in places().await {
        let (store, samples) = open(&place).await;
        fill(&samples, DAY, DAY + 7200);
        samples.flush(DAY + 7200, true).await.unwrap();
        store.sum_up(DAY, DAY + 7200).await.unwrap();
        let load = Series::of(Metric::LoadOne);
        let at = async |now: i64| store.samples(&web(), &load, DAY, DAY + 7200, POINTS, now).await.unwrap();
        assert_eq!(at(DAY + RAW_KEPT).await.len(), 240, "{}", place.name);
        let five = at(DAY + FIVE_MINUTES_KEPT).await;
        assert_eq!((five.len(), five[3].at), (24, DAY + 900), "{}", place.name);
        assert_eq!((five[3].lowest, five[3].mean, five[3].highest, five[3].readings), (0.0, 4.5, 9.0, 10), "{}", place.name);
        let hours = at(DAY + FIVE_MINUTES_KEPT + 1).await;
        assert_eq!((hours.len(), hours[1].at), (2, DAY + 3600), "{}", place.name);
        assert_eq!((hours[1].lowest, hours[1].mean, hours[1].highest, hours[1].readings), (0.0, 4.5, 9.0, 120), "{}", place.name);
        // Summing up again is the same as doing it once.
        store.sum_up(DAY, DAY + 7200).await.unwrap();
        assert_eq!(at(DAY + FIVE_MINUTES_KEPT + 1).await, hours, "{}", place.name);
        let few = store.samples(&web(), &load, DAY, DAY + 7200, 7, DAY + 7200).await.unwrap();
        assert!(few.len() <= 7 && few.iter().map(|point| point.readings).sum::<u64>() == 240, "{}: {few:?}", place.name);
        // Of few points hours are enough, and what is not summed up yet is not missing.
        fill(&samples, DAY + 7200, DAY + 9000);
        samples.flush(DAY + 9000, true).await.unwrap();
        let coarse = store.samples(&web(), &load, DAY, DAY + 9000, 2, DAY + RAW_KEPT + 1).await.unwrap();
        assert_eq!(coarse.iter().map(|point| point.readings).collect::<Vec<_>>(), [240, 60], "{}: {coarse:?}", place.name);
        assert_eq!((coarse[0].lowest, coarse[0].mean, coarse[0].highest), (0.0, 4.5, 9.0), "{}", place.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_old_goes() {
    for place in places().await {
        let (store, samples) = open(&place).await;
        fill(&samples, DAY, DAY + 3600);
        samples.flush(DAY + 3600, true).await.unwrap();
        let counts = async || {
            let mut counts = Vec::new();
            for table in ["sample_raw", "sample_5m", "sample_1h", "series"] {
                counts.push(place.count(table).await);
            }
            counts
        };
        // A partition goes when all that is in it is old: at most a day later.
        for (age, expected) in [
            (3600, [36, 36, 3, 3]),
            (RAW_KEPT, [36, 36, 3, 3]),
            (RAW_KEPT + 86_400, [0, 36, 3, 3]),
            (FIVE_MINUTES_KEPT + 86_400, [0, 0, 3, 3]),
            (HOURS_KEPT + 29 * 86_400, [0, 0, 0, 0]),
        ] {
            store.tidy_samples(DAY + age).await.unwrap();
            assert_eq!(counts().await, expected, "{}: after {age} s", place.name);
        }
        // And all begins anew.
        let later = DAY + HOURS_KEPT * 2;
        fill(&samples, later, later + 300);
        samples.flush(later + BELIEVED, true).await.unwrap();
        assert_eq!(counts().await, [3, 3, 0, 3], "{}", place.name);
    }
}

/// More than it is believed that a series is there.
const BELIEVED: i64 = 7 * 3600;

/// A process that was started anew within five minutes, and one that writes a window twice in one batch.
#[tokio::test(flavor = "multi_thread")]
async fn two_halves_of_a_window_are_one() {
    for place in places().await {
        let (store, first) = open(&place).await;
        let second = Samples::new(store.clone());
        let load = Series::of(Metric::LoadOne);
        first.push_one(&web(), &load, DAY, 1.0);
        first.push_one(&web(), &load, DAY + 600, 1.0);
        // A clock that went back.
        first.push_one(&web(), &load, DAY + 30, 3.0);
        second.push_one(&web(), &load, DAY + 60, 8.0);
        first.flush(DAY + 900, true).await.unwrap();
        second.flush(DAY + 900, true).await.unwrap();
        let points = store.samples(&web(), &load, DAY, DAY + 299, POINTS, DAY + 900).await.unwrap();
        assert_eq!(points.iter().map(|point| point.mean).collect::<Vec<_>>(), [1.0, 3.0, 8.0], "{}", place.name);
        let five = store.samples(&web(), &load, DAY, DAY + 299, POINTS, DAY + RAW_KEPT + 1).await.unwrap();
        assert_eq!((five[0].lowest, five[0].mean, five[0].highest, five[0].readings), (1.0, 4.0, 8.0, 3), "{}", place.name);
    }
}

/// The database refuses: what comes waits as long as there is room, then the oldest goes, and that is counted. What waited is written later.
#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_samples_give_way() {
    for place in places().await {
        let store = Arc::new(place.open().await);
        let samples = Samples::with_limit(store.clone(), 10);
        place.execute("ALTER TABLE sample_raw RENAME TO not_there").await;
        fill(&samples, DAY, DAY + 1200);
        assert!(samples.flush(DAY + 1200, false).await.is_err(), "{}", place.name);
        assert_eq!(samples.in_memory(), (0, 9), "{}", place.name);
        assert_eq!(samples.dropped(), 30, "{}: the three windows of the first five minutes", place.name);
        assert!(samples.flush(DAY + 1200, false).await.is_err(), "{}: it still does", place.name);
        assert_eq!((samples.dropped(), samples.in_memory()), (30, (0, 9)), "{}: nothing more is lost by that", place.name);
        place.execute("ALTER TABLE not_there RENAME TO sample_raw").await;
        assert_eq!(samples.flush(DAY + 1200, false).await.unwrap(), 9, "{}", place.name);
        assert_eq!((samples.dropped(), samples.in_memory()), (30, (0, 0)), "{}", place.name);
        let load = Series::of(Metric::LoadOne);
        let points = store.samples(&web(), &load, DAY, DAY + 1200, POINTS, DAY + 1200).await.unwrap();
        assert_eq!((points.len(), points[0].at, points[29].at), (30, DAY + 300, DAY + 1170), "{}", place.name);
    }
}

/// The same process writes what it read while the server was stopped, once, and in the order of its time.
#[tokio::test]
async fn what_waited_while_the_server_was_away_is_written() {
    let Some(server) = Server::start(false) else { return };
    let place = database(&server, server.port).await;
    let (store, samples) = open(&place).await;
    fill(&samples, DAY, DAY + 600);
    assert_eq!(samples.flush(DAY + 300, false).await.unwrap(), 3);
    server.stop();
    // Connections are refused at once, and tried again for a while.
    tokio::time::pause();
    assert_eq!(samples.flush(DAY + 600, false).await.unwrap_err().category(), "away");
    fill(&samples, DAY + 600, DAY + 900);
    assert_eq!(samples.flush(DAY + 900, false).await.unwrap_err().category(), "away");
    tokio::time::resume();
    assert_eq!((samples.in_memory(), samples.dropped()), ((0, 6), 0));
    server.start_again();
    store.health().await.unwrap();
    assert_eq!(samples.flush(DAY + 900, false).await.unwrap(), 6);
    assert_eq!((samples.in_memory(), samples.dropped()), ((0, 0), 0));
    let points = store.samples(&web(), &Series::of(Metric::LoadOne), DAY, DAY + 900, POINTS, DAY + 900).await.unwrap();
    let seconds: Vec<i64> = points.iter().map(|point| point.at).collect();
    assert_eq!(seconds, (DAY..DAY + 900).step_by(30).collect::<Vec<_>>());
    assert_eq!(place.count("sample_raw").await, 9);
}

/// What can be asked is bounded, however much there is.
#[tokio::test(flavor = "multi_thread")]
async fn answers_are_bounded() {
    for place in places().await {
        let (store, samples) = open(&place).await;
        let load = Series::of(Metric::LoadOne);
        for second in 0..20_000 {
            samples.push_one(&web(), &load, DAY + second, 1.0);
        }
        samples.flush(DAY + 20_000, true).await.unwrap();
        let points = store.samples(&web(), &load, DAY, DAY + 20_000, usize::MAX, DAY + 20_000).await.unwrap();
        assert!(points.len() <= POINTS, "{}: {}", place.name, points.len());
        assert_eq!(points.iter().map(|point| point.readings).sum::<u64>(), 20_000, "{}", place.name);
        assert_eq!(store.samples(&web(), &load, DAY, DAY + 20_000, 0, DAY + 20_000).await.unwrap().len(), 1, "{}", place.name);
    }
}

/// In PostgreSQL each day has a partition, and they are made once, whoever opens the store.
#[tokio::test(flavor = "multi_thread")]
async fn days_are_partitions() {
    let Some(place) = crate::places::postgres().await else { return };
    let (first, second) = (Arc::new(place.open().await), Arc::new(place.open().await));
    let (one, two) = (Samples::new(first), Samples::new(second));
    fill(&one, DAY, DAY + 300);
    fill(&two, DAY + 86_400, DAY + 86_700);
    let (one, two) = tokio::join!(one.flush(DAY + 90_000, true), two.flush(DAY + 90_000, true));
    one.unwrap();
    two.unwrap();
    assert_eq!(place.count("pg_inherits WHERE inhparent = 'sample_raw'::regclass").await, 3, "two days, and the one after them");
    assert_eq!(place.count(&format!("sample_raw_p{}", DAY / 86_400)).await, 3);
}

/// Nobody summed up for three days: each hour of them is there in the end, some in each go, and what is old went all the same.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_summed_up_is_made_up_for() {
    for place in places().await {
        let (store, samples) = open(&place).await;
        store.tidy_samples(DAY).await.unwrap();
        let load = Series::of(Metric::LoadOne);
        let end = DAY + 72 * 3600;
        (DAY..end).step_by(1800).for_each(|second| samples.push_one(&web(), &load, second, 1.0));
        samples.flush(end, true).await.unwrap();
        store.tidy_samples(end + 60).await.unwrap();
        let first = place.count("sample_1h").await;
        assert!((40..72).contains(&first), "{}: {first} hours in one go", place.name);
        for _ in 0..2 {
            store.tidy_samples(end + 60).await.unwrap();
        }
        assert_eq!(place.count("sample_1h").await, 72, "{}", place.name);
        // What comes late is in the sum once the next hour is over.
        samples.push_one(&web(), &load, end - 60, 7.0);
        samples.flush(end, true).await.unwrap();
        store.tidy_samples(end + 3600).await.unwrap();
        let highest = "sample_1h WHERE highest = 7";
        assert_eq!((place.count("sample_1h").await, place.count(highest).await), (72, 1), "{}", place.name);
    }
}

/// What is read goes by connections of its own: while somebody holds the writers' lock it is there all the same.
#[tokio::test(flavor = "multi_thread")]
async fn who_reads_does_not_wait_for_who_writes() {
    for place in places().await {
        let (store, samples) = open(&place).await;
        fill(&samples, DAY, DAY + 600);
        samples.flush(DAY + 600, true).await.unwrap();
        place.execute("BEGIN").await;
        place.execute("UPDATE audit_tree SET size = size").await;
        let load = Series::of(Metric::LoadOne);
        assert_eq!(store.samples(&web(), &load, DAY, DAY + 600, POINTS, DAY + 600).await.unwrap().len(), 20, "{}", place.name);
        assert_eq!(
            store.search_logs(&store::Search { words: "x".into(), limit: 1, ..Default::default() }).await.unwrap(),
            [],
            "{}",
            place.name
        );
        place.execute("ROLLBACK").await;
    }
}

/// What others read is there for whoever asks, page by page and the newest only; what is read no more goes.
#[tokio::test(flavor = "multi_thread")]
async fn last_readings_are_handed_on() {
    for place in places().await {
        let store = place.open().await;
        let reading = |number: usize, at: i64| store::LastReading {
            device: Name::parse(&format!("d{number:04}")),
            at,
            document: format!("{{\"n\":{number}}}"),
        };
        let all: Vec<_> = (0..1500).map(|number| reading(number, DAY + (number / 1000) as i64)).collect();
        store.write_last_readings(&all).await.unwrap();
        let first = store.last_readings(DAY, None).await.unwrap();
        assert_eq!((first.len(), &first[0]), (1000, &all[0]), "{}", place.name);
        let rest = store.last_readings(DAY, first.last()).await.unwrap();
        assert_eq!((rest.len(), &rest[0]), (500, &all[1000]), "{}", place.name);
        assert_eq!(store.last_readings(DAY + 1, None).await.unwrap(), rest, "{}", place.name);
        // An older word of somebody who was paused is not taken.
        store.write_last_readings(&[reading(3, DAY + 9), reading(1400, DAY)]).await.unwrap();
        assert_eq!(store.last_readings(DAY + 2, None).await.unwrap(), [reading(3, DAY + 9)], "{}", place.name);
        assert_eq!(place.count("last_reading").await, 1500, "{}", place.name);
        store.forget_last_readings(DAY + 1).await.unwrap();
        assert_eq!(place.count("last_reading").await, 501, "{}", place.name);
    }
}
