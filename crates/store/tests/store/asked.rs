//! Keys of requests.

use jiff::{SignedDuration, Timestamp};
use store::{ASKED_KEPT, AnswerKept, Asked, Store};

use crate::places::places;

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_used_once() {
    for place in places().await {
        let store = Store::open(&place.options).await.unwrap();
        let now: Timestamp = "2026-11-27T12:00:00Z".parse().unwrap();
        let ask = |caller: &'static str, key: &'static str, asked: &'static str, at: Timestamp| store.ask_once(caller, key, asked, at);
        assert_eq!(ask("ann", "k1", "a", now).await.unwrap(), Asked::New);
        assert_eq!(ask("ann", "k1", "a", now).await.unwrap(), Asked::Open, "it is worked on");
        assert_eq!(ask("bob", "k1", "b", now).await.unwrap(), Asked::New, "keys of others are theirs");
        let answer = AnswerKept { status: 202, location: Some("/api/v1/commits/c1".into()), body: "{\"commit\":\"c1\"}".into() };
        store.answered("ann", "k1", Some(&answer)).await.unwrap();
        assert_eq!(ask("ann", "k1", "a", now).await.unwrap(), Asked::Answered(answer));
        assert_eq!(ask("ann", "k1", "other", now).await.unwrap(), Asked::Otherwise);
        store.answered("bob", "k1", None).await.unwrap();
        assert_eq!(ask("bob", "k1", "something else", now).await.unwrap(), Asked::New, "nothing was done, so it is free");
        let later = now + SignedDuration::from_secs(ASKED_KEPT + 1);
        assert_eq!(ask("ann", "k1", "other", later).await.unwrap(), Asked::New, "after a day it is forgotten");
    }
}
