//! Mailboxes: what is put in is read once and in order, of each matter the newest, and nobody speaks in the name of one who was replaced.

use std::collections::BTreeMap;

use store::{Error, Letter, Options, Store};

use crate::places::places;

fn letter(matter: &str, document: &str) -> Letter {
    Letter { matter: matter.into(), document: (!document.is_empty()).then(|| document.to_owned()) }
}

async fn open(options: &Options) -> Store {
    Store::open(options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_each_matter_the_newest_word_is_read_once() {
    for place in places().await {
        let store = open(&place.options).await;
        let planner = store.open_mailbox("planner").await.unwrap();
        // Into one that nobody has opened yet.
        store.send(&planner, "shard-0", vec![letter("device a", "1"), letter("device b", "1")]).await.unwrap();
        store.send(&planner, "shard-0", vec![letter("device a", "2")]).await.unwrap();
        let shard = store.open_mailbox("shard-0").await.unwrap();
        let (to, letters) = store.letters(&shard, 0).await.unwrap();
        assert_eq!(letters, [letter("device b", "1"), letter("device a", "2")], "{}", place.name);
        assert_eq!(store.letters(&shard, to).await.unwrap(), (to, vec![]), "{}", place.name);

        // One that is closed is read as that once, and then is not there any more for anybody.
        store.send(&planner, "shard-0", vec![letter("device a", "")]).await.unwrap();
        let (to, letters) = store.letters(&shard, to).await.unwrap();
        assert_eq!(letters, [letter("device a", "")], "{}", place.name);
        assert_eq!(store.letters(&shard, 0).await.unwrap().1, [letter("device b", "1")], "{}", place.name);
        assert_eq!(store.letters(&shard, to).await.unwrap().1, [], "{}", place.name);

        // To oneself, and nothing at all.
        store.send(&planner, "planner", vec![letter("outcome x", "1"), letter("outcome y", "\0 and \u{1a}")]).await.unwrap();
        store.send(&planner, "planner", vec![]).await.unwrap();
        assert_eq!(store.letters(&planner, 0).await.unwrap().1.len(), 2, "{}", place.name);
        let asked = store.asked_of_others(&planner).await.unwrap();
        assert_eq!(asked, [("shard-0".to_owned(), letter("device b", "1"))], "{}", place.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_mailbox_is_read_in_pieces() {
    for place in places().await {
        let store = open(&place.options).await;
        let planner = store.open_mailbox("planner").await.unwrap();
        let many: Vec<Letter> = (0..2500).map(|number| letter(&format!("device {number:04}"), "x")).collect();
        store.send(&planner, "shard-0", many.clone()).await.unwrap();
        let shard = store.open_mailbox("shard-0").await.unwrap();
        let (mut after, mut read) = (0, Vec::new());
        loop {
            let (to, letters) = store.letters(&shard, after).await.unwrap();
            assert!(letters.len() <= 1000, "{}", place.name);
            if to == after {
                break;
            }
            after = to;
            read.extend(letters);
        }
        assert_eq!(read, many, "{}", place.name);
    }
}

/// Whoever opens it tells by that what is old: one new letter does not make the others so.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_there_before_is_read_by_itself() {
    for place in places().await {
        let store = open(&place.options).await;
        let shard = store.open_mailbox("shard-0").await.unwrap();
        store.send(&shard, "planner", vec![letter("alive 0", "1"), letter("alive 1", "1")]).await.unwrap();
        let planner = store.open_mailbox("planner").await.unwrap();
        store.send(&shard, "planner", vec![letter("alive 1", "2")]).await.unwrap();
        assert_eq!(store.letters(&planner, 0).await.unwrap(), (planner.newest(), vec![letter("alive 0", "1")]), "{}", place.name);
        let (to, letters) = store.letters(&planner, planner.newest()).await.unwrap();
        assert_eq!(letters, [letter("alive 1", "2")], "{}", place.name);
        assert_eq!(store.letters(&planner, to).await.unwrap(), (to, vec![]), "{}", place.name);

        // All that was there has a newer word.
        let next = store.open_mailbox("planner").await.unwrap();
        store.send(&shard, "planner", vec![letter("alive 0", "3"), letter("alive 1", "3")]).await.unwrap();
        assert_eq!(store.letters(&next, 0).await.unwrap(), (next.newest(), vec![]), "{}", place.name);
        assert_eq!(store.letters(&next, next.newest()).await.unwrap().1.len(), 2, "{}", place.name);
    }
}

/// A process that was frozen, and replaced, wakes up: it can neither read nor say anything more.
#[tokio::test(flavor = "multi_thread")]
async fn who_was_replaced_is_not_heard() {
    for place in places().await {
        let store = open(&place.options).await;
        let frozen = store.open_mailbox("shard-0").await.unwrap();
        let planner = store.open_mailbox("planner").await.unwrap();
        store.send(&frozen, "planner", vec![letter("seen a", "old")]).await.unwrap();
        let awake = store.open_mailbox("shard-0").await.unwrap();
        for refused in [
            store.send(&frozen, "planner", vec![letter("seen a", "late")]).await,
            store.is_owner(&frozen).await,
            store.letters(&frozen, 0).await.map(drop),
        ] {
            assert!(matches!(refused, Err(Error::Replaced(_))), "{}: {refused:?}", place.name);
        }
        assert_eq!(store.letters(&planner, 0).await.unwrap().1, [letter("seen a", "old")], "{}", place.name);
        store.is_owner(&awake).await.unwrap();
        store.send(&awake, "planner", vec![letter("seen a", "new")]).await.unwrap();
        assert_eq!(store.letters(&planner, 0).await.unwrap().1, [letter("seen a", "new")], "{}", place.name);
    }
}

/// Those who write to each other at once don't wait for each other, and nobody reads past a letter that is still on its way.
#[tokio::test(flavor = "multi_thread")]
async fn many_write_to_each_other_at_once() {
    for place in places().await {
        let store = std::sync::Arc::new(open(&place.options).await);
        let planner = store.open_mailbox("planner").await.unwrap();
        let mut writers = Vec::new();
        for shard in 0..4 {
            let owner = store.open_mailbox(&format!("shard-{shard}")).await.unwrap();
            let (store, planner) = (store.clone(), planner.clone());
            writers.push(tokio::spawn(async move {
                for turn in 0..10 {
                    store.send(&owner, "planner", vec![letter(&format!("seen {shard}-{turn}"), "x")]).await.unwrap();
                    store.send(&planner, owner.mailbox(), vec![letter("device", &turn.to_string())]).await.unwrap();
                }
            }));
        }
        let (mut after, mut read) = (0, BTreeMap::new());
        while read.len() < 40 && !writers.iter().all(tokio::task::JoinHandle::is_finished) {
            let (to, letters) = store.letters(&planner, after).await.unwrap();
            after = to;
            for letter in letters {
                assert!(read.insert(letter.matter.clone(), letter).is_none(), "{}: read twice", place.name);
            }
        }
        for writer in writers {
            writer.await.unwrap();
        }
        let (_, letters) = store.letters(&planner, after).await.unwrap();
        read.extend(letters.into_iter().map(|letter| (letter.matter.clone(), letter)));
        assert_eq!(read.len(), 40, "{}: nothing was passed over", place.name);
    }
}
