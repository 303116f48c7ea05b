//! Following a real repository, made by git itself.

mod common;

use std::path::Path;
use std::process::Command;

use common::{World, blob, changed, commit, git};
use manifests::git::{Error, Options, Source};
use manifests::verify::Keys;

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

#[tokio::test]
async fn only_signed_heads_are_applied() {
    let world = World::new();
    let key = |name: &str| {
        let path = world.home.path().join(name);
        let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(&path).status().unwrap();
        assert!(made.success());
        path
    };
    let (ann, eve) = (key("ann"), key("eve"));
    let keys = world.home.path().join("keys");
    std::fs::create_dir(&keys).unwrap();
    std::fs::copy(ann.with_extension("pub"), keys.join("ann.pub")).unwrap();
    let source = || world.source(Options { keys: Some(Keys::load(&keys).unwrap()), ..Options::default() });
    let signed = |key: &Path, text: &str| {
        std::fs::write(world.work().join("a.yaml"), text).unwrap();
        git(&world.work(), &["add", "-A"]);
        let key = format!("user.signingKey={}", key.display());
        git(&world.work(), &["-c", "gpg.format=ssh", "-c", &key, "commit", "-q", "-S", "-m", "signed"]);
    };
    let refused = |result: Result<Option<manifests::git::Fetched>, Error>| match result {
        Err(Error::Unverified { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };

    commit(&world.work(), &[("a.yaml", "a: 0\n")]);
    assert!(refused(source().poll(None).await).contains("not signed (author ann@example.com)"));
    signed(&ann, "a: 1\n");
    let fetched = source().poll(None).await.unwrap().unwrap();
    assert!(fetched.revision.signer.unwrap().starts_with("ann SHA256:"));
    signed(&eve, "a: 2\n");
    assert!(refused(source().poll(None).await).contains("unknown key SHA256:"));

    // The same signature on another commit.
    signed(&ann, "a: 3\n");
    let raw = git(&world.work(), &["cat-file", "commit", "HEAD"]);
    let forged = world.home.path().join("forged");
    std::fs::write(&forged, raw.replace("\nsigned", "\nsigned, honestly\n")).unwrap();
    let id = git(&world.work(), &["hash-object", "-t", "commit", "-w", forged.to_str().unwrap()]);
    git(&world.work(), &["update-ref", "refs/heads/main", &id]);
    assert!(refused(source().poll(None).await).contains("is wrong"));
}
