//! Which templates came from which device, the same in both databases.

use store::{LogCount, LogKnown, LogTemplate};

use crate::places::places;

fn known(device: &str, template: char, first: i64, last: i64) -> LogKnown {
    LogKnown { device: device.into(), template: template.to_string().repeat(16), first, last, document: format!("{{\"beats\":{last}}}") }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_from_where_is_known_since_it_first_did() {
    for place in places().await {
        let (store, name) = (place.open().await, place.name);
        let rows = [known("a", '1', 100, 100), known("b", '1', 50, 300), known("a", '2', 200, 200)];
        store.keep_log_known(&rows).await.unwrap();
        store.keep_log_known(&[known("a", '1', 999, 400)]).await.unwrap();
        let all = store.log_known(10).await.unwrap();
        let expected = [LogKnown { first: 100, ..known("a", '1', 0, 400) }, known("b", '1', 50, 300), known("a", '2', 200, 200)];
        assert_eq!(all, expected, "{name}");
        assert_eq!(store.log_known(1).await.unwrap(), expected[..1], "{name}");

        let template = |id: char| LogTemplate {
            id: id.to_string().repeat(16),
            program: "app".into(),
            text: format!("it's <num> {id} \u{1a}"),
            document: "{}".into(),
            seen: 500,
        };
        store.keep_log_templates(&[template('1'), template('2')]).await.unwrap();
        let kinds = |device: Option<&'static str>, since, only_new| {
            let store = &store;
            async move {
                let kinds = store.log_kinds(device, since, only_new).await.unwrap();
                kinds.into_iter().map(|kind| format!("{} {} {} {}", kind.device, kind.text, kind.first, kind.anywhere)).collect::<Vec<_>>()
            }
        };
        assert_eq!(
            kinds(None, 0, false).await,
            ["a it's <num> 1 \u{1a} 100 50", "b it's <num> 1 \u{1a} 50 50", "a it's <num> 2 \u{1a} 200 200"],
            "{name}"
        );
        assert_eq!(kinds(Some("a"), 150, true).await, ["a it's <num> 2 \u{1a} 200 200"], "{name}");
        assert_eq!(kinds(Some("a"), 350, false).await, ["a it's <num> 1 \u{1a} 100 50"], "{name}");

        let count = |slot, device: &str, lines| LogCount { slot, device: device.into(), template: "1".repeat(16), lines };
        store.keep_log_counts(&[count(0, "a", 3), count(300, "a", 5), count(300, "b", 4), count(600, "a", 1)]).await.unwrap();
        assert_eq!(store.loud_log_counts(300, 4).await.unwrap(), [count(300, "a", 5), count(300, "b", 4)], "{name}");
        assert_eq!(store.log_rates(Some("a"), 300).await.unwrap(), [count(600, "a", 1), count(300, "a", 5)], "{name}");
        assert_eq!(store.log_rates(None, 0).await.unwrap(), [count(600, "", 1), count(300, "", 9), count(0, "", 3)], "{name}");

        store.forget_log_known(300, 1000).await.unwrap();
        assert_eq!(store.log_known(10).await.unwrap().len(), 2, "{name}");
    }
}
