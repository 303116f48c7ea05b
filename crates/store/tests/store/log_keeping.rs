//! How lines go: by their age, by what they take, and when the disk has no room, in both databases.

use std::io::Write as _;

use store::{Forgotten, JournalPlace, Keep, LogLine, Search, Store, Unarchived};

use crate::logs::{DAY, found, line};
use crate::places::{entry, places, sqlite, verified};

fn words(words: &str) -> Search {
    Search { words: words.into(), ..Search::default() }
}

/// Again until nothing more goes, as the engine does.
async fn forget(store: &Store, keep: &Keep) -> Forgotten {
    let mut sum = Forgotten::default();
    for _ in 0..100 {
        let done = store.forget_logs(keep).await.unwrap();
        sum = Forgotten {
            aged: sum.aged + done.aged,
            oversize: sum.oversize + done.oversize,
            shed: sum.shed + done.shed,
            unarchived: sum.unarchived + done.unarchived,
            ..done
        };
        if !done.more {
            return sum;
        }
    }
    panic!("it never ends: {sum:?}");
}

fn keep(now: i64, age: i64, bytes: u64) -> Keep {
    Keep { now, age, bytes, unarchived: Unarchived::Go }
}

const PLENTY: u64 = 1 << 40;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_old_goes_and_can_not_be_found() {
    for place in places().await {
        let (store, name) = (place.open().await, place.name);
        let lines: Vec<LogLine> =
            (0..5000).map(|number| line(number / 1000 * DAY + number, "web-01", 6, &format!("word n{number}"))).collect();
        store.write_logs(&lines).await.unwrap();
        let done = forget(&store, &keep(5 * DAY, 3 * DAY, PLENTY)).await;
        assert_eq!((done.aged, done.oversize, done.shed, done.unarchived, done.held), (2000, 0, 0, 0, false), "{name}");
        assert_eq!(found(&store, words("n1999")).await, Vec::<String>::new(), "{name}");
        assert_eq!(found(&store, words("n2000")).await, ["word n2000"], "{name}");
        assert_eq!(forget(&store, &keep(5 * DAY, 3 * DAY, PLENTY)).await.aged, 0, "{name}");
        // A day that went can come again, here and in another process.
        let other = place.open().await;
        other.write_logs(&[line(5, "web-01", 6, "late")]).await.unwrap();
        forget(&store, &keep(5 * DAY, 3 * DAY, PLENTY)).await;
        other.write_logs(&[line(6, "web-01", 6, "later")]).await.unwrap();
        assert_eq!(found(&store, words("late")).await, ["later"], "{name}");
        assert_eq!(found(&store, Search { after: Some(5000), ..Search::default() }).await, ["later"], "{name}");
    }
}

/// However much comes in a day: the oldest of it goes, and what is left is about what may be.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_goes_within_a_day_too() {
    for place in places().await {
        let (store, name) = (place.open().await, place.name);
        let text = "a word and another one that makes a line as long as most lines of logs are, with an address 10.0.0.7 and port 22";
        let (mut now, mut gone, mut left) = (10 * DAY, 0, 0);
        let size = 4 << 20;
        for minute in 0..30_i64 {
            now += 601_000_000;
            let lines: Vec<LogLine> = (0..1000).map(|number| line(now + number, "a", 6, &format!("{text} n{minute}"))).collect();
            store.write_logs(&lines).await.unwrap();
            let done = forget(&store, &keep(now + 1000, 30 * DAY, size)).await;
            assert_eq!((done.aged, done.shed, done.unarchived), (0, 0, 0), "{name}");
            gone += done.oversize;
            left = done.bytes;
        }
        assert!(gone > 1000 && (name == "SQLite" || gone % 1000 == 0), "{name}: {gone}");
        // In PostgreSQL what is at hand may be beyond it by a part or two; an index alone begins with some pages.
        assert!(left <= size * 5 / 4 && left > size / 2, "{name}: {left}");
        assert_eq!(found(&store, words("n0")).await, Vec::<String>::new(), "{name}");
        assert!(!found(&store, words("n29")).await.is_empty(), "{name}");
        assert_eq!(place.count("log_line").await, 30_000 - i64::try_from(gone).unwrap(), "{name}");
    }
}

/// What is counted is about what the file grows by.
/// Whoever was killed while it split a partition leaves a check there: it refuses no line for longer than it takes to find that.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_kill_leaves_of_a_split_refuses_nothing() {
    let Some(place) = crate::places::postgres().await else { return };
    let store = place.open().await;
    store.write_logs(&[line(1, "web-01", 6, "one")]).await.unwrap();
    let left = "ALTER TABLE log_line_f0 ADD CONSTRAINT log_line_f0_until CHECK (received < 2) NOT VALID";
    place.execute(left).await;
    store.write_logs(&[line(5, "web-01", 6, "two")]).await.unwrap();
    let checks = "pg_constraint WHERE conname = 'log_line_f0_until'";
    assert_eq!(place.count(checks).await, 0);
    place.execute(left).await;
    place.open().await;
    assert_eq!(place.count(checks).await, 0, "the next start removes it too");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lines_take_in_sqlite_is_known() {
    let place = sqlite();
    let store = place.open().await;
    let file = place.options.data.join("evenkeel.db");
    let mut before = 0;
    for (length, fields) in [(60, "[]"), (250, "[[\"a\",\"b\",\"c\"]]"), (900, "[]")] {
        let lines = |turn: usize| -> Vec<LogLine> {
            let message = |number: usize| {
                let mut text = format!("Failed password for user{number} from 10.0.0.{turn} port {} ssh2", number * 37 % 65_536);
                while text.len() < length {
                    text += &format!(" some{} word", text.len() * (number + turn) % 977);
                }
                text
            };
            (0..1000).map(|number| LogLine { fields: fields.into(), ..line(1, "web-01", 6, &message(number)) }).collect()
        };
        for turn in 0..8 {
            store.write_logs(&lines(turn)).await.unwrap();
        }
        place.execute("PRAGMA wal_checkpoint(TRUNCATE)").await;
        let real = std::fs::metadata(&file).unwrap().len();
        let counted = store.forget_logs(&keep(0, 0, PLENTY)).await.unwrap().bytes;
        let grown = real - std::mem::replace(&mut before, real);
        println!("{length}: {} bytes a line; in all {real} and counted {counted}", grown / 8000);
        assert!(counted > real * 6 / 10 && counted < real * 16 / 10, "{length}: {counted} and not {real}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_archived_stays_as_long_as_it_can() {
    for place in places().await {
        let (store, name) = (place.open().await, place.name);
        let lines: Vec<LogLine> = (0..1000).map(|number| line(number, "a", 6, "x")).collect();
        store.write_logs(&lines).await.unwrap();
        let old = Keep { unarchived: Unarchived::StayWhile, ..keep(9 * DAY, DAY, PLENTY) };
        let done = forget(&store, &old).await;
        assert_eq!((done.aged, done.held), (0, true), "{name}");
        let done = forget(&store, &Keep { bytes: 1, unarchived: Unarchived::Stay, ..old }).await;
        assert_eq!((done.aged, done.held), (0, true), "{name}");
        // Beyond the size by more than a quarter.
        let done = forget(&store, &Keep { bytes: 1, ..old }).await;
        assert_eq!((done.aged, done.unarchived, done.held), (1000, 1000, false), "{name}");
    }
}

/// A disk of 100 megabytes, filled by somebody else: the oldest lines go, then no line is taken, and what is done goes on being recorded.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_takes_lines_and_not_the_audit() {
    let disk = tempfile::TempDir::new().unwrap();
    let mounted = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=100m", "tmpfs"]).arg(disk.path()).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "a small disk can't be mounted, and in CI nothing is skipped");
        // Not by eprintln, which a test that passes keeps to itself.
        let _ = writeln!(std::io::stderr(), "SKIPPED: mounting a small disk needs root");
        return;
    }
    struct Mounted<'a>(&'a std::path::Path);
    impl Drop for Mounted<'_> {
        fn drop(&mut self) {
            let _ = std::process::Command::new("umount").arg("-l").arg(self.0).status();
        }
    }
    let _mounted = Mounted(disk.path());
    let mut place = sqlite();
    place.options.data = disk.path().join("data");
    let store = place.open().await;
    let text = "word ".repeat(100);
    let lines: Vec<LogLine> = (0..1000).map(|number| line(number, "a", 6, &text)).collect();
    for _ in 0..24 {
        store.write_logs(&lines).await.unwrap();
    }
    let keep = Keep { unarchived: Unarchived::StayWhile, ..keep(1, DAY, PLENTY) };
    assert_eq!(forget(&store, &keep).await.shed, 0);
    let ballast = disk.path().join("ballast");
    // Leaves so many megabytes free beside what is there.
    let leave = |free: u64| {
        let files = std::fs::read_dir(&place.options.data).unwrap();
        let taken: u64 = files.map(|file| file.unwrap().metadata().unwrap().len()).sum();
        std::fs::write(&ballast, vec![0; usize::try_from((100 << 20) - taken - (free << 20)).unwrap()]).unwrap();
    };
    // The limit is 64.
    leave(58);
    let done = forget(&store, &keep).await;
    assert!(done.shed > 1000 && done.shed < 24_000 && done.shed == done.unarchived, "{done:?}");
    store.write_logs(&lines).await.unwrap();
    leave(4);
    let done = forget(&store, &keep).await;
    assert!(done.shed > 1000, "{done:?}");
    assert_eq!(store.write_logs(&lines).await.unwrap_err().category(), "full");
    for _ in 0..20 {
        store.log(vec![entry("apply", "device/web-01", ""); 100]).await.unwrap();
    }
    assert_eq!(verified(&store).await, 2000);
    std::fs::remove_file(&ballast).unwrap();
    store.write_logs(&lines).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_is_read_as_far_as_its_lines_are_written() {
    for place in places().await {
        let (store, name) = (place.open().await, place.name);
        assert_eq!(store.journal_place("web-01").await.unwrap(), None, "{name}");
        let read = |after: &str, cursor: &str, at| JournalPlace { device: "web-01".into(), cursor: cursor.into(), at, after: after.into() };
        let kept = |cursor: &str, at| Some(read(cursor, cursor, at));
        store.write_logs_of(&[line(1, "web-01", 6, "one")], &[read("", "s=1;i=2", 5)]).await.unwrap();
        assert_eq!(store.journal_place("web-01").await.unwrap(), kept("s=1;i=2", 5), "{name}");
        // A line that can't be written takes the place with it.
        let wrong = LogLine { severity: 9, ..line(1, "web-01", 6, "two") };
        assert!(store.write_logs_of(&[wrong], &[read("s=1;i=2", "s=1;i=3", 6)]).await.is_err(), "{name}");
        assert_eq!(store.journal_place("web-01").await.unwrap(), kept("s=1;i=2", 5), "{name}");
        // Somebody else read on: a line that both have read is there once.
        store.write_logs_of(&[line(2, "web-01", 6, "two")], &[read("s=1;i=2", "s=1;i=4", 7)]).await.unwrap();
        for late in [read("s=1;i=2", "s=1;i=4", 7), read("", "s=1;i=4", 7)] {
            let refused = store.write_logs_of(&[line(3, "web-01", 6, "two")], &[late]).await.unwrap_err();
            assert_eq!(refused.category(), "replaced", "{name}");
        }
        assert_eq!(found(&store, words("two")).await, ["two"], "{name}");
        assert_eq!(store.journal_place("web-01").await.unwrap(), kept("s=1;i=4", 7), "{name}");
        assert_eq!(store.journal_place("web-02").await.unwrap(), None, "{name}");
    }
}
