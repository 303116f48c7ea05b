//! What happens when the database does not do what it should: it is told in one word, nothing is half written, and it goes on by
//! itself when it can.

use std::io::Write as _;
use std::time::Duration;

use reconcile::Name;
use reconcile::record::{Record as _, resume};
use reconcile::{Action, Outcome};
use sqlx::Executor as _;
use store::{Error, Filter, Store};

use crate::places::{actor, at, change, content, database, device, entry, places, plan, postgres, server, sqlite, start, verified, work};
use crate::postgres::Server;
use crate::proxy::{Proxy, Wire};

async fn log(store: &Store) -> Result<(), Error> {
    store.log(vec![entry("apply", "device/web-01", "deployment/nginx")]).await
}

fn said(done: Result<(), Error>) -> (&'static str, bool) {
    let error = done.expect_err("it should have failed");
    (error.category(), error.is_transient())
}

#[tokio::test]
async fn a_lock_that_another_process_holds() {
    for place in places().await {
        let store = place.open().await;
        log(&store).await.unwrap();
        let mut other = place.behind().await;
        other.execute("BEGIN").await.unwrap();
        other.execute("UPDATE audit_tree SET size = size").await.unwrap();
        assert_eq!(said(log(&store).await), ("locked", true), "{}", place.name);
        // Who reads does not wait.
        assert_eq!(store.entries(&Filter { limit: 9, ..Filter::default() }).await.unwrap().len(), 1);
        other.execute("ROLLBACK").await.unwrap();
        log(&store).await.unwrap();
        assert_eq!(verified(&store).await, 2, "{}", place.name);
    }
}

#[tokio::test]
async fn a_server_that_is_stopped_and_started_again() {
    let Some(server) = Server::start(false) else { return };
    let place = database(&server, server.port).await;
    let store = place.open().await;
    let unit = Name::parse("nginx");
    store.commit(&plan(vec![change(&unit, 0, start(1, &content("1.0")))]), &actor(), at(1)).await.unwrap();
    server.stop();
    // Connections are refused at once, and tried again for a while.
    tokio::time::pause();
    assert_eq!(said(log(&store).await), ("away", true));
    assert_eq!(said(store.health().await), ("away", true));
    assert_eq!(said(store.rollouts().await.map(drop)), ("away", true));
    assert_eq!(place.refuses().await.category(), "away");
    tokio::time::resume();
    server.start_again();
    store.health().await.unwrap();
    log(&store).await.unwrap();
    assert_eq!(store.rollouts().await.unwrap()[&unit].version, 1);
    assert_eq!(verified(&store).await, 2);
}

/// Time runs ahead while nothing else happens: without a limit this would wait for ever.
#[tokio::test(start_paused = true)]
async fn a_server_that_accepts_and_never_answers() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut place = sqlite();
    place.options.url = Some(format!("postgres://u:p@127.0.0.1:{port}/d"));
    let error = place.refuses().await;
    assert_eq!((error.category(), error.is_transient()), ("away", true));
}

#[tokio::test]
async fn a_server_that_falls_silent() {
    let Some(server) = server() else { return };
    let proxy = Proxy::to(server.port);
    let place = database(server, proxy.port).await;
    let store = place.open().await;
    log(&store).await.unwrap();
    proxy.set(Wire::Silent);
    tokio::time::pause();
    // More often than there are connections.
    for _ in 0..12 {
        assert_eq!(said(log(&store).await), ("away", true));
        assert_eq!(said(store.rollouts().await.map(drop)), ("away", true));
    }
    tokio::time::resume();
    proxy.set(Wire::Open);
    let mut tries = 0;
    while let Err(error) = store.health().await {
        assert_eq!(error.category(), "away");
        tries += 1;
        assert!(tries < 20, "it does not come back: {error:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    log(&store).await.unwrap();
    verified(&store).await;
}

/// Whether a commit was done can't be known then; what is true is what is read afterwards.
#[tokio::test]
async fn an_answer_that_is_lost() {
    let Some(server) = server() else { return };
    let proxy = Proxy::to(server.port);
    let place = database(server, proxy.port).await;
    let store = place.open().await;
    let (unit, content) = (Name::parse("nginx"), content("1.0"));
    let first = plan(vec![change(&unit, 0, start(1, &content)), device(&unit, "web-01", 0, Action::Prepare(work(&unit, 1, &content)))]);
    proxy.set(Wire::CutAtCommit);
    assert_eq!(said(store.commit(&first, &actor(), at(1)).await), ("away", true));
    proxy.set(Wire::Open);
    assert_eq!(said(store.commit(&first, &actor(), at(1)).await), ("conflict", true));
    assert_eq!(store.rollouts().await.unwrap()[&unit].version, 2);

    let [step] = resume(&store).await.unwrap().try_into().unwrap();
    proxy.set(Wire::CutAtCommit);
    assert_eq!(said(store.finish(&step, &Outcome::done(at(2), "")).await), ("away", true));
    proxy.set(Wire::Open);
    store.finish(&step, &Outcome::done(at(2), "")).await.unwrap();
    assert_eq!(store.rollouts().await.unwrap()[&unit].version, 3);
    assert_eq!(verified(&store).await, 3);
}

/// A server that became a replica.
#[tokio::test]
async fn a_server_that_only_reads() {
    let Some(place) = postgres().await else { return };
    place.open().await.close().await;
    let name = place.options.url.as_deref().unwrap().rsplit('/').next().unwrap().split('?').next().unwrap().to_owned();
    place.execute(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await;
    assert_eq!(place.refuses().await.category(), "away");
}

#[tokio::test]
async fn a_file_that_was_moved_away() {
    let place = sqlite();
    let store = place.open().await;
    log(&store).await.unwrap();
    let (file, away) = (place.options.data.join("evenkeel.db"), place.options.data.join("away"));
    std::fs::rename(&file, &away).unwrap();
    assert_eq!(said(log(&store).await), ("away", true));
    assert_eq!(said(store.health().await), ("away", true));
    std::fs::write(&file, "").unwrap();
    let error = log(&store).await.unwrap_err();
    assert!(format!("{error:?}").contains("replaced by another file"), "{error:?}");
    std::fs::rename(&away, &file).unwrap();
    log(&store).await.unwrap();
    assert_eq!(verified(&store).await, 2);
}

/// A disk of 40 megabytes: while it is nearly full the store is not healthy, and before that nothing is half written.
#[tokio::test]
async fn a_disk_that_is_full() {
    let disk = tempfile::TempDir::new().unwrap();
    let mounted = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=40m", "tmpfs"]).arg(disk.path()).output();
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
    log(&store).await.unwrap();
    let ballast = disk.path().join("ballast");
    let _ = std::fs::write(&ballast, vec![0; 50 << 20]);
    assert_eq!(said(store.log(vec![entry("apply", "device/web-01", ""); 2000]).await), ("full", true));
    assert_eq!(said(store.health().await), ("full", true));
    std::fs::write(&ballast, vec![0; 20 << 20]).unwrap();
    store.health().await.unwrap();
    log(&store).await.unwrap();
    assert_eq!(verified(&store).await, 2);
    // What fails now takes nothing with it that was done since.
    assert_eq!(said(store.log(vec![entry("apply", "device/web-01", ""); 60_000]).await), ("full", true));
    log(&store).await.unwrap();
    store.close().await;
    assert_eq!(verified(&place.open().await).await, 3);
}

#[tokio::test]
async fn rows_that_we_did_not_write() {
    for place in places().await {
        let store = place.open().await;
        let (unit, content) = (Name::parse("nginx"), content("1.0"));
        let steps = vec![change(&unit, 0, start(1, &content)), device(&unit, "web-01", 0, Action::Prepare(work(&unit, 1, &content)))];
        store.commit(&plan(steps), &actor(), at(1)).await.unwrap();
        let damaged = |done: Result<(), Error>| assert_eq!(said(done), ("damaged", false), "{}", place.name);

        place.execute("UPDATE step SET document = 'x'").await;
        damaged(store.unfinished().await.map(drop));
        place.execute("UPDATE placement SET since = 'yesterday'").await;
        damaged(store.rollouts().await.map(drop));
        place.execute("UPDATE placement SET since = '2026-01-01T00:00:00Z', attempt = -1").await;
        damaged(store.rollouts().await.map(drop));
        place.execute("DELETE FROM placement").await;
        place.execute("UPDATE content SET document = '{}'").await;
        damaged(store.rollouts().await.map(drop));
        place.execute("UPDATE audit_entry SET text = '{}' WHERE number = 1").await;
        damaged(store.entries(&Filter { limit: 9, ..Filter::default() }).await.map(drop));
        place.execute("UPDATE audit_tree SET peaks = 'beef'").await;
        damaged(log(&store).await);
        damaged(Err(place.refuses().await));
        place.execute("DELETE FROM audit_tree").await;
        damaged(store.health().await);
    }
}

/// What appending would go on from is checked before anything is appended.
#[tokio::test]
async fn a_log_that_was_cut_off() {
    let cuts = [
        "DELETE FROM audit_entry WHERE number = 2",
        "DELETE FROM audit_checkpoint",
        "UPDATE audit_checkpoint SET note = 'evenkeel/audit'",
        "UPDATE audit_tree SET size = 4",
        "UPDATE audit_tree SET size = 0, peaks = ''",
    ];
    for cut in cuts {
        for place in places().await {
            let store = place.open().await;
            for _ in 0..3 {
                log(&store).await.unwrap();
            }
            store.close().await;
            place.execute(cut).await;
            assert_eq!(place.refuses().await.category(), "damaged", "{}: {cut}", place.name);
        }
    }
}

#[tokio::test]
async fn a_file_that_is_no_database() {
    let place = sqlite();
    std::fs::create_dir_all(&place.options.data).unwrap();
    std::fs::write(place.options.data.join("evenkeel.db"), "this is no database, whatever its name says".repeat(100)).unwrap();
    assert_eq!(place.refuses().await.category(), "damaged");
}
