//! The audit log: listing, export, checkpoints, and several who append.

use std::sync::Arc;

use reconcile::Name;
use store::audit::checkpoint::Checkpoint;
use store::{Error, Filter, Store};

use crate::places::{Place, entry, export, places, postgres, sqlite, verified};

fn about(about: Option<&str>, before: Option<u64>, limit: usize) -> Filter {
    Filter { about: about.map(str::to_owned), before, limit }
}

async fn indices(store: &Store, filter: Filter) -> Vec<u64> {
    store.entries(&filter).await.unwrap().iter().map(|entry| entry.index).collect()
}

#[tokio::test]
async fn entries_are_listed_newest_first_by_target_or_unit() {
    for place in places().await {
        let store = place.open().await;
        let of = |number: usize| {
            let (target, unit) = (format!("device/web-{}", number % 4), if number.is_multiple_of(3) { "deployment/nginx" } else { "" });
            entry("apply", &target, unit)
        };
        store.log((0..2400).map(of).collect()).await.unwrap();
        assert_eq!(indices(&store, about(None, None, 3)).await, [2399, 2398, 2397]);
        assert_eq!(indices(&store, about(None, Some(2), 10)).await, [1, 0]);
        assert_eq!(indices(&store, about(Some("device/web-1"), None, 3)).await, [2397, 2393, 2389]);
        assert_eq!(indices(&store, about(Some("deployment/nginx"), Some(7), 10)).await, [6, 3, 0]);
        assert_eq!(indices(&store, about(Some("device/web"), None, 10)).await, [0; 0]);
        assert_eq!(indices(&store, about(None, None, 0)).await, [2399], "at least one");
        assert_eq!(indices(&store, about(Some("deployment/nginx"), None, usize::MAX)).await.len(), 800, "{}", place.name);
        // An entry of which target and unit are the same is one entry.
        store.log(vec![entry("pause", "deployment/nginx", "deployment/nginx")]).await.unwrap();
        assert_eq!(indices(&store, about(Some("deployment/nginx"), None, 2)).await, [2400, 2397]);

        assert_eq!(store.entry(3).await.unwrap().unwrap().target, "device/web-3");
        assert_eq!(store.entry(2401).await.unwrap(), None);
        assert_eq!(store.entry(u64::MAX).await.unwrap(), None);
        assert_eq!(verified(&store).await, 2401);
    }
}

#[tokio::test]
async fn a_page_of_entries_has_a_limit() {
    let place = sqlite();
    let store = place.open().await;
    store.log(vec![entry("apply", "device/web", ""); 10_500]).await.unwrap();
    assert_eq!(indices(&store, about(None, None, usize::MAX)).await.len(), 10_000);
    assert_eq!(indices(&store, about(Some("device/web"), Some(600), usize::MAX)).await.len(), 600);
}

/// One by one, so that each has a checkpoint of its own: of those few are kept, and still they prove everything.
#[tokio::test]
async fn checkpoints_do_not_grow_with_each_entry() {
    for place in places().await {
        let store = place.open().await;
        assert_eq!(store.checkpoint().await.unwrap(), None);
        let mut kept: Option<Checkpoint> = None;
        for number in 0..600 {
            store.log(vec![entry("apply", &format!("device/web-{number}"), "")]).await.unwrap();
            if number == 300 {
                kept = store.checkpoint().await.unwrap();
            }
        }
        assert_eq!(place.count("audit_checkpoint").await, 3, "{}: at 256, at 512 and the newest", place.name);
        assert_eq!(store.checkpoint().await.unwrap().unwrap().size, 600);
        // One that was kept elsewhere is good for ever.
        let kept = kept.unwrap();
        let report = store::audit::verify(export(&store).await.as_bytes(), &store.public_key(), Some(&kept)).unwrap();
        assert_eq!((report.wrong, report.proven, kept.size), (None, 600, 301));
    }
}

/// A page is what one moment held, even while others append.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_verifies_while_others_append() {
    for place in places().await {
        let store = Arc::new(place.open().await);
        store.log(vec![entry("apply", "device/web", ""); 1500]).await.unwrap();
        let other = store.clone();
        let appending = tokio::spawn(async move {
            for _ in 0..100 {
                other.log(vec![entry("apply", "device/web", ""); 3]).await.unwrap();
            }
        });
        let mut exports = 0;
        while !appending.is_finished() || exports == 0 {
            assert!(verified(&store).await >= 1500, "{}", place.name);
            exports += 1;
        }
        appending.await.unwrap();
        assert_eq!(verified(&store).await, 1800);
    }
}

/// Two engines on one database: they stand in line, and the tree is one.
#[tokio::test(flavor = "multi_thread")]
async fn two_stores_append_to_one_tree() {
    for place in places().await {
        let stores = [Arc::new(place.open().await), Arc::new(place.open().await)];
        let append = |store: Arc<Store>, who: &'static str| async move {
            for number in 0..50 {
                store.log(vec![entry("apply", "device/web", &format!("deployment/{who}")); number % 3 + 1]).await.unwrap();
            }
        };
        let tasks = [tokio::spawn(append(stores[0].clone(), "one")), tokio::spawn(append(stores[1].clone(), "two"))];
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(verified(&stores[0]).await, 198, "{}", place.name);
        for who in ["deployment/one", "deployment/two"] {
            assert_eq!(indices(&stores[1], about(Some(who), None, 1000)).await.len(), 99);
        }
        place.open().await;
    }
}

/// Of two who plan from the same version, one is refused.
#[tokio::test(flavor = "multi_thread")]
async fn two_stores_do_not_both_go_on() {
    use crate::places::{actor, at, change, content, plan, start};
    use reconcile::Record as _;

    let Some(place) = postgres().await else { return };
    let stores = [Arc::new(place.open().await), Arc::new(place.open().await)];
    for round in 0..20 {
        let unit = Name::parse(&format!("nginx-{round}"));
        let commit = |store: Arc<Store>, version: &'static str| {
            let plan = plan(vec![change(&unit, 0, start(1, &content(version)))]);
            tokio::spawn(async move { store.commit(&plan, &actor(), at(1)).await })
        };
        let tasks = [commit(stores[0].clone(), "1.0"), commit(stores[1].clone(), "2.0")];
        let mut refused = 0;
        for task in tasks {
            refused += usize::from(matches!(task.await.unwrap(), Err(Error::Conflict { .. })));
        }
        assert_eq!(refused, 1);
    }
    assert_eq!(stores[0].rollouts().await.unwrap(), stores[1].rollouts().await.unwrap());
    assert_eq!(verified(&stores[0]).await, 20);
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused() {
    for place in places().await {
        place.open().await.close().await;
        let later = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) SELECT 9999, description, success, checksum, execution_time FROM _sqlx_migrations WHERE version = 1";
        place.execute(later).await;
        let error = place.refuses().await;
        assert!(matches!(error, Error::Newer(9999)), "{}: {error:?}", place.name);
        assert_eq!((error.category(), error.is_transient()), ("schema", false));
    }
}

/// A name with everything in it that means something in a URL.
#[tokio::test]
async fn any_directory_will_do() {
    let place: Place = sqlite();
    let data = place.options.data.join("a b?c#d%20é&mode=memory");
    let options = store::Options { data: data.clone(), url: None };
    let store = Store::open(&options).await.unwrap();
    store.log(vec![entry("apply", "device/web", "")]).await.unwrap();
    store.close().await;
    assert!(data.join("evenkeel.db").exists());
    assert_eq!(verified(&Store::open(&options).await.unwrap()).await, 1);
}

/// Told what is wrong, without what it is wrong with.
#[tokio::test]
async fn a_url_that_cannot_be_used_says_why() {
    for (url, why) in [("mysql://h/d", "postgres://"), ("postgres://h:port/d", "form"), ("postgres://h/d?sslmod=x", "sslmode")] {
        let mut place = sqlite();
        place.options.url = Some(url.into());
        let error = place.refuses().await;
        assert_eq!((error.category(), error.is_transient()), ("url", false));
        assert!(error.to_string().contains(why), "{url}: {error}");
    }
}
