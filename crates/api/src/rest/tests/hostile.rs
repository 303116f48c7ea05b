//! Whatever stands in a query, it is understood or refused, and nothing of it comes back as anything but text.

use axum::http::StatusCode;
use proptest::prelude::{Strategy, any};
use proptest::test_runner::{Config, TestRunner};

use super::{World, admin, user};

/// A text as it stands in a URL.
fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn hostile_queries_are_answered_or_refused() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world = runtime.block_on(World::new());
    let names =
        ["labelSelector", "sort", "fields", "cursor", "q", "limit", "facets", "health", "namespace", "since", "until", "device", "state"];
    let text = proptest::prop_oneof![
        any::<String>(),
        "[a-z=!,(). -]{0,30}",
        "(metadata|status|spec)(\\.[a-z]{0,9}){0,40}",
        Strategy::prop_map("[ -~]{0,2000}", |text| text),
    ];
    let mut runner = TestRunner::new(Config { cases: 200, failure_persistence: None, ..Config::default() });
    let ran = runner.run(&(0..names.len(), text, proptest::bool::ANY), |(at, text, is_admin)| {
        let caller = if is_admin { admin() } else { user("viewer") };
        for path in ["devices", "alerts", "logs", "roles", "audit", "topology"] {
            let path = format!("/api/v1/{path}?{}={}", names[at], escaped(&text));
            let (status, value) = runtime.block_on(world.get(&path, &caller));
            let is_answer = [StatusCode::OK, StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND].contains(&status);
            assert!(is_answer, "{status} {path}: {value}");
            assert!(is_admin || !value["items"].to_string().contains("fra1"), "{path}: {value}");
        }
        Ok(())
    });
    ran.unwrap();
}

#[tokio::test]
async fn there_is_a_limit_to_everything_that_is_asked() {
    let world = World::new().await;
    let many = |one: &str, count: usize| vec![one; count].join(",");
    for query in [
        format!("fields={}", many("a", 65)),
        format!("fields={}", "a.".repeat(200)),
        format!("sort={}", many("name", 5)),
        format!("facets={}", many("a", 9)),
        format!("q={}", "a".repeat(300)),
        format!("labelSelector={}", many("a", 33)),
        format!("cursor={}", "A".repeat(2000)),
        vec!["q=a"; 129].join("&"),
    ] {
        let (status, _) = world.get(&format!("/api/v1/devices?{query}"), &admin()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}");
    }
    let many = vec!["series=cpu.ratio"; 65].join("&");
    assert_eq!(world.get(&format!("/api/v1/samples?device=web-ams1&{many}"), &admin()).await.0, StatusCode::BAD_REQUEST);
}
