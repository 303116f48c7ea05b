//! Samples: what goes in comes out in the resolution that is left of it, and what is old goes.

use std::sync::Arc;

use jiff::Timestamp;
use reconcile::{Metric, Name, Series, Usage};
use store::{FIVE_MINUTES_KEPT, HOURS_KEPT, POINTS, RAW_KEPT, Samples, Store};

use crate::places::{Place, places};

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

/// The database is away: what comes waits as long as there is room, then the oldest goes, and that is counted.
#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_samples_give_way() {
    for place in places().await {
        let store = Arc::new(place.open().await);
        let samples = Samples::with_limit(store.clone(), 10);
        store.close().await;
        fill(&samples, DAY, DAY + 1200);
        assert!(samples.flush(DAY + 1200, false).await.is_err(), "{}", place.name);
        assert_eq!(samples.in_memory(), (0, 10), "{}", place.name);
        assert_eq!(samples.dropped(), 20, "{}: two windows of ten", place.name);
        // When it is back, what waited is written.
        let again = Arc::new(place.open().await);
        let samples = Samples::with_limit(again.clone(), 10);
        fill(&samples, DAY, DAY + 300);
        samples.flush(DAY + 300, true).await.unwrap();
        assert_eq!((samples.dropped(), samples.in_memory()), (0, (0, 0)), "{}", place.name);
    }
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
