//! Following a real repository, made by git itself.

mod common;

use common::{World, blob, changed, commit, git};
use manifests::git::{Error, Options, Source};

#[tokio::test]
async fn a_branch_is_followed_by_what_changed() {
    let world = World::new();
    let source = world.source(Options::default());
    assert!(matches!(source.poll(None).await, Err(Error::Empty(_))));
    let first = commit(&world.work(), &[("a.yaml", "a: 1\n"), ("dir/b.yml", "b: 1\n"), ("README.md", "x"), (".hidden/c.yaml", "c: 1\n")]);
    let fetched = source.poll(None).await.unwrap().unwrap();
    assert_eq!(fetched.revision.commit, first);
    assert_eq!(fetched.revision.author, "Ann <ann@example.com>");
    assert_eq!(changed(&fetched), [("a.yaml", "blob"), ("dir/b.yml", "blob")]);
    assert!(fetched.whole && !fetched.forced);
    assert!(source.poll(Some(&first)).await.unwrap().is_none());
    let second = commit(&world.work(), &[("a.yaml", "a: 2\n")]);
    let next = source.poll(Some(&first)).await.unwrap().unwrap();
    assert!(!next.forced && !next.whole);
    assert_eq!(changed(&next), [("a.yaml", "blob")]);
    let blobs = source.blobs(vec![blob(&next, "a.yaml")]).await.unwrap();
    assert_eq!(blobs[&blob(&next, "a.yaml")], b"a: 2\n");

    git(&world.work(), &["reset", "-q", "--hard", &first]);
    let third = commit(&world.work(), &[("a.yaml", "a: 3\n")]);
    let forced = source.poll(Some(&second)).await.unwrap().unwrap();
    assert!(forced.forced && forced.revision.commit == third);
    // What was in force before the branch was rewritten can still be read.
    let before = source.at(&second).await.unwrap();
    assert!(before.whole && blob(&before, "a.yaml") == blob(&next, "a.yaml"));

    git(&world.work(), &["branch", "-q", "-m", "main", "other"]);
    let error = source.poll(Some(&third)).await.unwrap_err().to_string();
    assert!(error.contains("refs/heads/main") && error.contains("refs/heads/other"), "{error}");
}

#[tokio::test]
async fn what_is_no_file_is_left_out_and_said() {
    let world = World::new();
    std::os::unix::fs::symlink("/etc/passwd", world.work().join("evil.yaml")).unwrap();
    let first = commit(&world.work(), &[("sub/a.yaml", "a: 1\n")]);
    git(&world.work(), &["update-index", "--add", "--cacheinfo", &format!("160000,{first},module")]);
    git(&world.work(), &["commit", "-q", "-m", "module"]);
    let fetched = world.source(Options::default()).poll(None).await.unwrap().unwrap();
    assert_eq!(changed(&fetched), [("evil.yaml", "left"), ("module", "left"), ("sub/a.yaml", "blob")]);
    assert_eq!(
        changed(&world.source(Options { path: "/sub/".into(), ..Options::default() }).poll(None).await.unwrap().unwrap()),
        [("a.yaml", "blob")]
    );
    assert!(matches!(world.source(Options { path: "nowhere".into(), ..Options::default() }).poll(None).await, Err(Error::NoPath { .. })));
    let gone = Source::new("/nonexistent/repository", &world.home.path().join("cache2"), Options::default()).unwrap();
    assert!(matches!(gone.poll(None).await, Err(Error::Remote { .. })));
}
