//! Alerts that are over.

use crds::AlertState;
use jiff::{SignedDuration, Timestamp};
use reconcile::alerting::alerts::Changes;
use serde_json::Value;

use super::{World, admin, alert, user};
use crate::rest::answer;
use crate::rest::caller::Caller;

/// Alerts of both sites in turn that came to be well, one an hour, the last one an hour ago.
async fn world(count: i64) -> World {
    world_of(&["ams1", "fra1"], count).await
}

/// The same without those of some sites.
async fn world_of(sites: &[&str], count: i64) -> World {
    let world = World::new().await;
    world.shared.store.alerts().await.unwrap();
    for hour in 1..=count {
        let site = if hour % 2 == 0 { "ams1" } else { "fra1" };
        if !sites.contains(&site) {
            continue;
        }
        over(&world, site, &format!("past-{hour:02}"), hour).await;
    }
    world
}

/// An alert of a site that came to be well so many hours ago.
pub(super) async fn over(world: &World, site: &str, id: &str, hours: i64) {
    let mut over = alert(&format!("load-{site}"), &format!("web-{site}"), id);
    let resolved = Timestamp::now() - SignedDuration::from_hours(hours);
    (over.state, over.resolved_at) = (AlertState::Resolved, Some(resolved));
    let key = (over.subject.rule.clone(), over.subject.device.clone());
    for instance in [Some(over), None] {
        let changes = Changes { instances: [(key.clone(), instance)].into(), ..Changes::default() };
        world.shared.store.record_alerts(&changes, Vec::new(), Timestamp::now()).await.unwrap();
    }
}

fn ids(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect()
}

/// All that somebody is told, each page by itself.
async fn pages(world: &World, query: &str, caller: &Caller) -> Vec<Vec<String>> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    for _ in 0..50 {
        let page = world.document(&format!("/api/v1/alerts/history?{query}{cursor}"), caller).await;
        found.push(ids(&page).into_iter().map(str::to_owned).collect());
        let Some(next) = page["cursor"].as_str() else { return found };
        cursor = format!("&cursor={next}");
    }
    panic!("it has no end: {found:?}");
}

#[tokio::test]
async fn what_is_over_is_listed_page_by_page_to_who_may_see_its_device() {
    let world = world(9).await;
    for limit in [1, 2, 3, 4, 100] {
        let query = format!("limit={limit}");
        let seen = pages(&world, &query, &user("viewer")).await;
        assert_eq!(seen.concat(), ["past-02", "past-04", "past-06", "past-08"], "{limit}");
        // The last page that holds something is the last one.
        assert_eq!(seen.len(), 4_usize.div_ceil(limit), "{limit}");
        let all = pages(&world, &query, &admin()).await;
        assert_eq!((all.concat().len(), all.len()), (9, 9_usize.div_ceil(limit)), "{limit}");
        assert_eq!(pages(&world, &query, &user("approver")).await, [[""; 0]], "{limit}");
    }
    let everything = world.document("/api/v1/alerts/history", &user("viewer")).await;
    assert!(!everything.to_string().contains("fra1"), "{everything}");
    assert_eq!((&everything["items"][0]["state"], &everything["items"][0]["rule"]), (&"resolved".into(), &"default/load-ams1".into()));
}

/// Neither a page nor its cursor says whether there is anything that one may not see.
#[tokio::test]
async fn what_is_hidden_changes_no_answer() {
    let (whole, only) = (world(9).await, world_of(&["ams1"], 9).await);
    for query in ["limit=1", "limit=3", "limit=4", "limit=100", "since=150m", "rule=load-fra1", "device=web-fra1", "q=fra1"] {
        let viewer = user("viewer");
        assert_eq!(pages(&whole, query, &viewer).await, pages(&only, query, &viewer).await, "{query}");
    }
}

/// Where an answer goes on can't be read, since something hidden may be there, nor made up.
#[tokio::test]
async fn a_cursor_is_sealed_for_who_may_not_see_everything() {
    let world = world(9).await;
    let ask = async |cursor: &str, caller: &Caller| world.get(&format!("/api/v1/alerts/history?limit=1&cursor={cursor}"), caller).await;
    let first = world.document("/api/v1/alerts/history?limit=1", &user("viewer")).await;
    let sealed = first["cursor"].as_str().unwrap();
    assert_eq!(answer::opened(sealed), None, "{sealed}");
    assert_eq!(ids(&ask(sealed, &user("viewer")).await.1), ["past-04"]);
    let open = answer::cursor(0, &format!("{} past-03", Timestamp::now()));
    assert_eq!((ask(&open, &user("viewer")).await.0.as_u16(), ask(&open, &admin()).await.0.as_u16()), (400, 200));
}

#[tokio::test]
async fn it_is_looked_for_by_time_rule_device_and_words() {
    let world = world(6).await;
    for (query, expected) in [
        ("since=150m", vec!["past-01", "past-02"]),
        ("since=30m", vec![]),
        ("rule=load-fra1", vec!["past-01", "past-03", "past-05"]),
        ("device=web-ams1&since=3h", vec!["past-02"]),
        ("severity=info", vec![]),
        ("severity=critical,info&limit=1", vec!["past-01"]),
        ("q=WEB-fra1&since=2h", vec!["past-01"]),
        ("labelSelector=site%3Dams1", vec!["past-02", "past-04", "past-06"]),
        ("namespace=lab", vec![]),
    ] {
        assert_eq!(ids(&world.document(&format!("/api/v1/alerts/history?{query}"), &admin()).await), expected, "{query}");
    }
    for wrong in ["cursor=AAAA", "severity=grave", "since=yesterday", "sort=device"] {
        assert_eq!(world.get(&format!("/api/v1/alerts/history?{wrong}"), &admin()).await.0, 400, "{wrong}");
    }
    // What is hidden is not found either.
    assert_eq!(pages(&world, "q=web-fra1", &user("viewer")).await, [[""; 0]]);
}

#[tokio::test]
async fn whoever_was_told_of_one_finds_it_later() {
    let world = world(2).await;
    let told = world.document("/api/v1/alerts/past-02", &user("viewer")).await;
    assert_eq!((&told["state"], &told["device"]), (&"resolved".into(), &"default/web-ams1".into()));
    let (hidden, never) = ("/api/v1/alerts/past-01", "/api/v1/alerts/past-77");
    assert_eq!(world.get(hidden, &user("viewer")).await.0, 404);
    assert_eq!(world.get(never, &admin()).await.0, 404);
}
