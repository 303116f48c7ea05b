//! Lines of logs: written, found again by what they say, and gone when they are old, the same in both databases.

use store::{Handed, JournalPlace, LogCount, LogLine, LogTemplate, Search, Store};

use crate::places::places;

pub const DAY: i64 = 86_400_000_000;

pub fn line(received: i64, device: &str, severity: u32, message: &str) -> LogLine {
    LogLine {
        received,
        device: device.into(),
        address: "10.0.0.1".into(),
        facility: 4,
        severity,
        program: "sshd".into(),
        fields: "[]".into(),
        message: message.into(),
        ..LogLine::default()
    }
}

pub async fn found(store: &Store, search: Search) -> Vec<String> {
    let lines = store.search_logs(&Search { limit: 100, ..search }).await.unwrap();
    lines.into_iter().map(|line| line.message).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_found_by_what_they_say() {
    for place in places().await {
        let (store, name) = (place.open().await, place.name);
        let full = LogLine {
            sent: Some(-5),
            host: "web".into(),
            process: "12".into(),
            kind: "K".into(),
            template: Some("0123456789abcdef".into()),
            flags: 4095,
            fields: "[[\"\",\"a\",\"b\"]]".into(),
            program: "app".into(),
            ..line(3 * DAY + 1, "web-01", 3, "Über /var/log/x_1.log failed: it's \"10.0.0.7\" \u{1a}")
        };
        let lines = [
            line(DAY - 1, "web-01", 6, "Failed password for root from 10.0.0.7"),
            line(DAY, "web-02", 5, "Accepted password for alice"),
            line(2 * DAY, "", 7, "a stranger's password"),
            full.clone(),
            line(3 * DAY + 1, "web-01", 6, "the last one"),
        ];
        assert_eq!(store.write_logs(&lines).await.unwrap(), 5, "{name}");
        assert_eq!(store.write_logs(&[]).await.unwrap(), 5, "{name}");

        let all = store.search_logs(&Search { limit: 9, ..Search::default() }).await.unwrap();
        assert_eq!(all.iter().map(|line| line.number).collect::<Vec<_>>(), [5, 4, 3, 2, 1], "{name}");
        assert_eq!(all[1], LogLine { number: 4, ..full }, "{name}");

        let words = |words: &str| Search { words: words.into(), ..Search::default() };
        let (failed, accepted, stranger, full, last) =
            (&*lines[0].message, &*lines[1].message, &*lines[2].message, &*lines[3].message, &*lines[4].message);
        for (search, want) in [
            (words("PASSWORD"), vec![stranger, accepted, failed]),
            (words("pass root"), vec![failed]),
            (words("fail"), vec![full, failed]),
            (words("10.0.0.7"), vec![full, failed]),
            (words("Über"), vec![full]),
            (words("/var/log/x_1"), vec![full]),
            (words("assword"), vec![]),
            (words("failed it s 10"), vec![full]),
            (words(&"w".repeat(300)), vec![]),
            // Nothing of these is a word of the database's own language.
            (words("root' OR NOT \" * : & | ! ( root"), vec![]),
            (words("\"*:&|!()'"), vec![last, full, stranger, accepted, failed]),
            (Search { device: Some("web-01".into()), ..Search::default() }, vec![last, full, failed]),
            (Search { device: Some(String::new()), ..Search::default() }, vec![stranger]),
            (Search { severity: Some(5), ..Search::default() }, vec![full, accepted]),
            (Search { program: Some("app".into()), ..Search::default() }, vec![full]),
            (Search { template: Some("0123456789abcdef".into()), ..Search::default() }, vec![full]),
            (Search { since: Some(2 * DAY), ..Search::default() }, vec![last, full, stranger]),
            (Search { before: Some(all[0].place()), ..Search::default() }, vec![full, stranger, accepted, failed]),
            (Search { before: Some(all[2].place()), ..words("password") }, vec![accepted, failed]),
            (Search { after: Some(3), ..Search::default() }, vec![full, last]),
        ] {
            assert_eq!(found(&store, search.clone()).await, want, "{name} {search:?}");
        }
        let one = store.search_logs(&Search { limit: 0, ..Search::default() }).await.unwrap();
        assert_eq!(one.len(), 1, "{name}: a page has at least one line");
        store.close().await;
        assert_eq!(found(&place.open().await, words("alice")).await, [accepted], "{name}: opened again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn words_of_any_length_and_lines_without_any_can_be_stored() {
    for place in places().await {
        let (store, name) = (place.open().await, place.name);
        let long = format!("begin {} end", "é".repeat(4000));
        let many = "a1 b2 ".repeat(1300);
        store.write_logs(&[line(1, "a", 6, &long), line(2, "a", 6, ""), line(3, "a", 6, "!?"), line(4, "a", 6, &many)]).await.unwrap();
        let words = |words: &str| Search { words: words.into(), ..Search::default() };
        assert_eq!(found(&store, words(&"é".repeat(3000))).await, [long.as_str()], "{name}");
        assert_eq!(found(&store, words("end BEGIN")).await, [long.as_str()], "{name}");
        assert_eq!(found(&store, words("b2")).await, [many.as_str()], "{name}");
        assert_eq!(found(&store, words("?")).await.len(), 4, "{name}");
    }
}

/// A database of before had the words in an index over an expression.
#[tokio::test(flavor = "multi_thread")]
async fn lines_of_before_are_found_by_their_words_too() {
    let Some(place) = crate::places::postgres().await else { return };
    let store = place.open().await;
    store.write_logs(&[line(1, "a", 6, "Failed password, 10.0.0.7")]).await.unwrap();
    store.close().await;
    place.execute("ALTER TABLE log_line DROP COLUMN words").await;
    let store = place.open().await;
    store.write_logs(&[line(2, "a", 6, "another password")]).await.unwrap();
    let words = Search { words: "PASSWORD".into(), ..Search::default() };
    assert_eq!(found(&store, words).await, ["another password", "Failed password, 10.0.0.7"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_write_lines_at_once() {
    for place in places().await {
        let store = std::sync::Arc::new(place.open().await);
        let writers: Vec<_> = (0..4_i64)
            .map(|writer| {
                let store = store.clone();
                tokio::spawn(async move {
                    for turn in 0..5 {
                        store.write_logs(&[line(turn * DAY, "a", 6, "x"), line(turn * DAY + writer, "b", 6, "y")]).await.unwrap();
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        let lines = store.search_logs(&Search { after: Some(0), limit: 100, ..Search::default() }).await.unwrap();
        let numbers: Vec<u64> = lines.iter().map(|line| line.number).collect();
        assert_eq!(numbers, (1..=40).collect::<Vec<_>>(), "{}", place.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_are_written_once_and_templates_are_kept() {
    for place in places().await {
        let (store, name) = (place.open().await, place.name);
        let count = |slot, template: &str, lines| LogCount { slot, device: "web-01".into(), template: template.into(), lines };
        store.keep_log_counts(&[count(300, "a", 2), count(300, "", 1), count(600, "a", 5)]).await.unwrap();
        // Whoever was killed counts again from where it was, and may know less of what lies before.
        store.keep_log_counts(&[count(300, "a", 5)]).await.unwrap();
        store.keep_log_counts(&[count(300, "a", 3)]).await.unwrap();
        assert_eq!(store.log_counts("web-01", 0).await.unwrap(), [count(300, "", 1), count(300, "a", 5), count(600, "a", 5)], "{name}");
        assert_eq!(store.log_counts("web-01", 301).await.unwrap(), [count(600, "a", 5)], "{name}");
        assert_eq!(store.log_counts("web-02", 0).await.unwrap(), [], "{name}");

        let template = |id: &str, text: &str, seen| LogTemplate {
            id: id.repeat(16),
            program: "p".into(),
            text: text.into(),
            document: "{}".into(),
            seen,
        };
        store.keep_log_templates(&[template("a", "one", 400), template("b", "two", 200)]).await.unwrap();
        store.keep_log_templates(&[template("a", "one <*>", 500)]).await.unwrap();
        assert_eq!(store.log_templates().await.unwrap(), [template("b", "two", 200), template("a", "one <*>", 500)], "{name}");
        store.forget_log_counts(500).await.unwrap();
        assert_eq!(store.log_templates().await.unwrap().len(), 2, "{name}");
        store.forget_log_templates(0, 2).await.unwrap();
        assert_eq!(store.log_templates().await.unwrap().len(), 2, "{name}");
        store.forget_log_templates(0, 1).await.unwrap();
        assert_eq!(store.log_templates().await.unwrap(), [template("a", "one <*>", 500)], "{name}");
        assert_eq!(store.log_counts("web-01", 0).await.unwrap(), [count(600, "a", 5)], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_replica_hands_over_is_taken_over_once() {
    for place in places().await {
        let (store, name) = (place.open().await, place.name);
        let handed = |at, sender: &str| Handed { at, sender: sender.into(), document: format!("[{at}, \"\u{1a}\"]") };
        for (at, sender) in [(2, "a"), (1, "b"), (1, "a")] {
            store.hand_over_logs(&handed(at, sender), &[]).await.unwrap();
        }
        assert_eq!(store.handed_bytes().await.unwrap(), 3 * 8, "{name}");
        let all = store.handed_logs().await.unwrap();
        assert_eq!(all, [handed(1, "a"), handed(1, "b"), handed(2, "a")], "{name}");
        store.take_over_logs(&[line(1, "web-01", 6, "one")], &all[0]).await.unwrap();
        let again = store.take_over_logs(&[line(1, "web-01", 6, "one")], &all[0]).await.unwrap_err();
        assert_eq!(again.category(), "replaced", "{name}");
        assert_eq!(store.search_logs(&Search::default()).await.unwrap().len(), 1, "{name}: neither twice nor not at all");
        assert_eq!(store.handed_logs().await.unwrap(), all[1..], "{name}");
        // A journal is read on in the same transaction, and not by two.
        let place = |after: &str, cursor: &str| JournalPlace { device: "web-01".into(), cursor: cursor.into(), at: 1, after: after.into() };
        store.hand_over_logs(&handed(3, "a"), &[place("", "s=1")]).await.unwrap();
        assert!(store.hand_over_logs(&handed(4, "b"), &[place("", "s=1")]).await.is_err(), "{name}");
        assert_eq!(store.handed_logs().await.unwrap().len(), 3, "{name}");
    }
}
