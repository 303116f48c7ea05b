//! Segments of an archive: written once whatever is killed when, proven against the audit log, and read back.

use std::path::{Path, PathBuf};

use store::archive::{Proof, Segment, Writer, lines, segments, sweep, verify};
use store::{Keep, LogLine, Search, Store, Unarchived};
use tempfile::TempDir;

use crate::logs::{DAY, line};
use crate::places::{at, export, places, verified};

/// Writes what is not archived yet, as the engine does.
async fn write(store: &Store, folder: &Path, most: usize) -> Option<Segment> {
    let after = store.log_tail().await.unwrap().archived;
    let search = Search { after: Some(after), limit: most, ..Search::default() };
    let lines = store.search_logs(&search).await.unwrap();
    let mut writer = Writer::begin(folder).unwrap();
    assert_eq!(writer.add(&lines).unwrap(), lines.len());
    (writer.lines() > 0).then(|| writer.finish(after).unwrap())
}

async fn record(store: &Store, folder: &Path, segment: &Segment) -> bool {
    let recorded = store.record_segment(segment, at(1)).await.unwrap();
    if recorded {
        sweep(folder, segment).unwrap();
    }
    recorded
}

async fn proof(store: &Store, folder: &Path) -> Proof {
    let file = folder.join("export.jsonl");
    std::fs::write(&file, export(store).await).unwrap();
    verify(folder, &file, &store.public_key(), None, None).unwrap()
}

fn read(folder: &Path) -> Vec<u64> {
    let names = segments(folder).unwrap();
    names.iter().flat_map(|name| lines(&folder.join(name)).unwrap().map(|line| line.unwrap().number)).collect()
}

async fn filled(store: &Store, many: i64) {
    let lines: Vec<LogLine> = (0..many).map(|number| line(DAY + number * 1_000_000, "web-01", 6, &format!("n{number}"))).collect();
    store.write_logs(&lines).await.unwrap();
}

/// Three segments of 100 lines, recorded.
async fn archived(store: &Store, folder: &Path) -> Vec<PathBuf> {
    filled(store, 300).await;
    let mut files = Vec::new();
    for _ in 0..3 {
        let segment = write(store, folder, 100).await.unwrap();
        assert!(record(store, folder, &segment).await);
        files.push(folder.join(segment.name));
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_archived_once_whatever_is_killed_when() {
    for place in places().await {
        let folder = TempDir::new().unwrap();
        let (store, name) = (place.open().await, place.name);
        filled(&store, 10).await;
        // Killed while it is written.
        let mut killed = Writer::begin(folder.path()).unwrap();
        killed.add(&[line(1, "a", 6, "x")]).unwrap();
        std::mem::forget(killed);
        // Killed before it is recorded; then more lines come.
        write(&store, folder.path(), 7).await.unwrap();
        filled(&store, 5).await;
        let store = {
            store.close().await;
            place.open().await
        };
        let segment = write(&store, folder.path(), 100).await.unwrap();
        assert_eq!((segment.after, segment.first, segment.last, segment.lines), (0, 1, 15, 15), "{name}");
        assert_eq!(segments(folder.path()).unwrap().len(), 2, "{name}");
        // Another replica was at it too.
        let other = write(&store, folder.path(), 3).await.unwrap();
        assert!(record(&store, folder.path(), &segment).await, "{name}");
        assert!(!record(&store, folder.path(), &other).await, "{name}");
        assert_eq!(segments(folder.path()).unwrap(), std::slice::from_ref(&segment.name), "{name}");
        assert_eq!(read(folder.path()), (1..=15).collect::<Vec<_>>(), "{name}");
        assert_eq!(write(&store, folder.path(), 9).await, None, "{name}");
        let proof = proof(&store, folder.path()).await;
        assert_eq!((proof.proven, proof.lines, proof.wrong, proof.notes), (1, 15, vec![], vec![]), "{name}");
        assert_eq!(verified(&store).await, 1, "{name}");
        // What was archived may go.
        let keep = Keep { now: 90 * DAY, age: DAY, bytes: 1 << 40, unarchived: Unarchived::StayWhile };
        let done = store.forget_logs(&keep).await.unwrap();
        assert_eq!((done.aged, done.held, done.unarchived), (15, false, 0), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_was_changed_is_told_so() {
    let place = crate::places::sqlite();
    let store = place.open().await;
    let folder = TempDir::new().unwrap();
    let files = archived(&store, folder.path()).await;
    let good = proof(&store, folder.path()).await;
    assert_eq!((good.proven, good.lines, &good.wrong), (3, 300, &vec![]));
    let original = std::fs::read(&files[1]).unwrap();

    // A byte.
    let mut bytes = original.clone();
    bytes[40] ^= 1;
    std::fs::write(&files[1], &bytes).unwrap();
    let said = proof(&store, folder.path()).await;
    assert!(said.proven == 2 && said.wrong.len() == 1 && said.wrong[0].contains("it was changed: its SHA-256 is"), "{said:?}");

    // Its end.
    std::fs::write(&files[1], &original[..original.len() - 1]).unwrap();
    let said = proof(&store, folder.path()).await;
    assert!(said.proven == 2 && said.wrong[0].contains("it was cut off"), "{said:?}");

    // All of it.
    std::fs::remove_file(&files[1]).unwrap();
    let said = proof(&store, folder.path()).await;
    assert!(said.proven == 2 && said.wrong[0].contains("it is missing, with 100 lines from 1970-01-02T00:01:40Z"), "{said:?}");

    // Another one in its place.
    std::fs::copy(&files[0], &files[1]).unwrap();
    assert_eq!(proof(&store, folder.path()).await.wrong.len(), 1);

    // One more.
    std::fs::write(&files[1], &original).unwrap();
    std::fs::copy(&files[0], folder.path().join("logs-000000000050-19700102T000000Z-00.jsonl.gz")).unwrap();
    let said = proof(&store, folder.path()).await;
    assert!(said.proven == 3 && said.wrong[0].ends_with("the audit log does not know it"), "{said:?}");
    std::fs::rename(
        folder.path().join("logs-000000000050-19700102T000000Z-00.jsonl.gz"),
        folder.path().join("logs-000000000301-19700102T000000Z-00.jsonl.gz"),
    )
    .unwrap();
    let said = proof(&store, folder.path()).await;
    assert!(said.wrong.is_empty() && said.notes.len() == 1, "{said:?}");

    // The audit log itself: then nothing is proven.
    let file = folder.path().join("export.jsonl");
    let text = export(&store).await.replace("lines 100", "lines 101");
    std::fs::write(&file, text).unwrap();
    let error = verify(folder.path(), &file, &store.public_key(), None, None).unwrap_err().to_string();
    assert!(error.contains("was changed"), "{error}");

    // What was taken away on purpose, as it was old.
    std::fs::write(&file, export(&store).await).unwrap();
    std::fs::remove_file(&files[0]).unwrap();
    let said = verify(folder.path(), &file, &store.public_key(), None, Some(DAY + 100_000_000)).unwrap();
    assert!(said.wrong.is_empty() && said.proven == 2, "{said:?}");
}
