//! Following a real repository, made by git itself.

mod common;

use std::io::Write as _;
use std::path::Path;

use common::{World, blob, changed, commit, git};
use manifests::git::{Error, Follow, Options, Source};

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
async fn nothing_new_costs_a_list_of_refs_and_nothing_else() {
    let world = World::new();
    let first = commit(&world.work(), &[("a.yaml", "a: 1\n")]);
    let source = world.source(Options::default());
    source.poll(None).await.unwrap().unwrap();
    // No cache, and no file's content in the repository: there is nothing to read but its refs.
    std::fs::remove_dir_all(world.cache()).unwrap();
    let content = git(&world.work(), &["rev-parse", "HEAD:a.yaml"]);
    std::fs::remove_file(world.work().join(format!(".git/objects/{}/{}", &content[..2], &content[2..]))).unwrap();
    assert!(source.poll(Some(&first)).await.unwrap().is_none());
    assert!(!world.cache().exists());
}

#[tokio::test]
async fn tags_and_commits_are_followed() {
    let world = World::new();
    let follow = |follow, cache: &str| {
        Source::new(world.work().to_str().unwrap(), &world.path(cache), Options { follow, ..Options::default() }).unwrap()
    };
    let first = commit(&world.work(), &[("a.yaml", "a: 1\n")]);
    git(&world.work(), &["tag", "plain"]);
    git(&world.work(), &["tag", "-a", "-m", "x", "annotated"]);
    let second = commit(&world.work(), &[("a.yaml", "a: 2\n")]);
    for (what, follow) in [
        ("plain", follow(Follow::Tag("plain".into()), "plain")),
        ("annotated", follow(Follow::Tag("annotated".into()), "annotated")),
        ("commit", follow(Follow::Commit(first.clone()), "commit")),
    ] {
        let fetched = follow.poll(None).await.unwrap().unwrap();
        assert_eq!((fetched.revision.commit.as_str(), follow.reference()), (first.as_str(), fetched.revision.reference.as_str()), "{what}");
        assert!(follow.poll(Some(&first)).await.unwrap().is_none(), "{what}");
    }
    // A tag that is moved forward is no force, one that is moved back is.
    let source = follow(Follow::Tag("plain".into()), "plain");
    git(&world.work(), &["tag", "-f", "plain", &second]);
    assert!(!source.poll(Some(&first)).await.unwrap().unwrap().forced);
    git(&world.work(), &["tag", "-f", "plain", &first]);
    assert!(source.poll(Some(&second)).await.unwrap().unwrap().forced);
    let blob = git(&world.work(), &["rev-parse", &format!("{first}:a.yaml")]);
    git(&world.work(), &["tag", "blob", &blob]);
    let error = follow(Follow::Tag("blob".into()), "blob").poll(None).await.unwrap_err();
    assert!(error.to_string().contains("is not a commit"), "{error}");
    for bad in [Follow::Commit("HEAD".into()), Follow::Commit("abc".into()), Follow::Branch("a..b".into()), Follow::Tag(String::new())] {
        let result = Source::new("/x", &world.path("x"), Options { follow: bad.clone(), ..Options::default() });
        assert!(matches!(result, Err(Error::Unusable { .. })), "{bad:?}");
    }
}

#[tokio::test]
async fn a_folder_is_followed_through_its_changes() {
    let world = World::new();
    let first = commit(&world.work(), &[("fleet/a.yaml", "a: 1\n"), ("other/b.yaml", "b: 1\n")]);
    let source = world.source(Options { path: "./fleet/".into(), ..Options::default() });
    assert_eq!(changed(&source.poll(None).await.unwrap().unwrap()), [("a.yaml", "blob")]);
    // A change elsewhere is a new revision in which nothing changed.
    let second = commit(&world.work(), &[("other/b.yaml", "b: 2\n")]);
    assert_eq!(changed(&source.poll(Some(&first)).await.unwrap().unwrap()), []);
    git(&world.work(), &["mv", "fleet/a.yaml", "fleet/c.yaml"]);
    let third = commit(&world.work(), &[("fleet/b.yaml/x.yml", "x: 1\n")]);
    let fetched = source.poll(Some(&second)).await.unwrap().unwrap();
    assert_eq!(changed(&fetched), [("a.yaml", "gone"), ("b.yaml/x.yml", "blob"), ("c.yaml", "blob")]);
    git(&world.work(), &["mv", "fleet", "moved"]);
    let fourth = commit(&world.work(), &[]);
    let error = source.poll(Some(&third)).await.unwrap_err();
    assert_eq!(error.to_string(), format!("there is no folder `fleet` in commit {fourth}"));
    // It comes back: what is known is the last that could be read.
    git(&world.work(), &["mv", "moved", "fleet"]);
    commit(&world.work(), &[("fleet/a.yaml", "a: 2\n")]);
    assert_eq!(changed(&source.poll(Some(&third)).await.unwrap().unwrap()), [("a.yaml", "blob")]);
    // A file is no folder.
    let source = world.source(Options { path: "fleet/a.yaml".into(), ..Options::default() });
    assert!(matches!(source.poll(None).await, Err(Error::NoPath { .. })));
}

#[tokio::test]
async fn a_huge_file_is_not_read() {
    let world = World::new();
    commit(&world.work(), &[("huge.yaml", &"x".repeat(5 << 20)), ("small.yaml", "a: 1\n")]);
    let source = world.source(Options::default());
    let fetched = source.poll(None).await.unwrap().unwrap();
    let huge = blob(&fetched, "huge.yaml");
    let contents = source.blobs(vec![huge.clone(), blob(&fetched, "small.yaml")]).await.unwrap();
    assert_eq!(contents[&huge].len(), manifests::yaml::MAX_FILE + 1);
    assert!(contents[&huge].iter().all(|byte| *byte == b' '));
}

/// Rewrites each pack, or each index of one; nothing is left of one that becomes empty.
fn rewrite(cache: &Path, suffix: &str, write: fn(&[u8]) -> Vec<u8>) {
    for path in std::fs::read_dir(cache.join("objects/pack")).unwrap().map(|entry| entry.unwrap().path()) {
        if path.extension().is_some_and(|found| found == suffix) {
            let bytes = write(&std::fs::read(&path).unwrap());
            std::fs::remove_file(&path).unwrap();
            if !bytes.is_empty() {
                std::fs::write(&path, bytes).unwrap();
            }
        }
    }
}

type Damage = fn(&Path);

/// What happens to caches.
const DAMAGES: [(&str, Damage); 10] = [
    ("packs that are cut off", |cache| rewrite(cache, "pack", |bytes| bytes[..bytes.len() / 3].to_vec())),
    ("packs of zeros", |cache| rewrite(cache, "pack", |bytes| vec![0; bytes.len()])),
    ("no packs", |cache| rewrite(cache, "pack", |_| Vec::new())),
    ("indexes of zeros", |cache| rewrite(cache, "idx", |bytes| vec![0; bytes.len()])),
    ("no HEAD", |cache| std::fs::remove_file(cache.join("HEAD")).unwrap()),
    ("a bad config", |cache| std::fs::write(cache.join("config"), "[core\n").unwrap()),
    ("a bad ref", |cache| std::fs::write(cache.join("refs/evenkeel/head"), "nonsense\n").unwrap()),
    ("a lock that nobody holds", |cache| std::fs::write(cache.join("refs/evenkeel/head.lock"), "").unwrap()),
    ("no folder", |cache| std::fs::remove_dir_all(cache).unwrap()),
    ("a file in its place", |cache| {
        std::fs::remove_dir_all(cache).unwrap();
        std::fs::write(cache, "x").unwrap();
    }),
];

#[tokio::test]
async fn a_damaged_cache_is_made_again() {
    for (what, damage) in DAMAGES {
        let world = World::new();
        let first = commit(&world.work(), &[("a.yaml", "a: 1\n"), ("dir/b.yaml", "b: 1\n")]);
        let source = world.source(Options::default());
        source.poll(None).await.unwrap().unwrap();
        damage(&world.cache());
        // After a restart what was in force may be lost; the next look brings everything back.
        let source = world.source(Options::default());
        let _ = source.at(&first).await;
        let fetched = source.poll(None).await.unwrap_or_else(|error| panic!("{what}: {error}")).unwrap();
        assert_eq!(changed(&fetched), [("a.yaml", "blob"), ("dir/b.yaml", "blob")], "{what}");
        source.blobs(vec![blob(&fetched, "a.yaml"), blob(&fetched, "dir/b.yaml")]).await.unwrap();
        let second = commit(&world.work(), &[("a.yaml", "a: 2\n")]);
        let fetched = source.poll(Some(&first)).await.unwrap_or_else(|error| panic!("{what}: {error}")).unwrap();
        assert_eq!((fetched.revision.commit.as_str(), changed(&fetched)), (second.as_str(), vec![("a.yaml", "blob")]), "{what}");
    }
}

#[tokio::test]
async fn a_blob_that_is_lost_is_fetched_again() {
    let world = World::new();
    commit(&world.work(), &[("a.yaml", "a: 1\n"), ("b.yaml", "b: 1\n")]);
    let source = world.source(Options::default());
    let fetched = source.poll(None).await.unwrap().unwrap();
    let id = blob(&fetched, "a.yaml");
    // The trees are all there, and one file's content is not.
    git(&world.cache(), &["config", "core.bare", "true"]);
    for path in std::fs::read_dir(world.cache().join("objects/pack")).unwrap().map(|entry| entry.unwrap().path()) {
        std::fs::rename(&path, world.path("home-of-packs").with_file_name(path.file_name().unwrap())).unwrap();
    }
    for pack in std::fs::read_dir(world.home.path()).unwrap().map(|entry| entry.unwrap().path()) {
        if pack.extension().is_some_and(|suffix| suffix == "pack") {
            let unpacked = std::process::Command::new("git")
                .args(["-C", world.cache().to_str().unwrap(), "unpack-objects", "-q"])
                .stdin(std::fs::File::open(&pack).unwrap())
                .status();
            assert!(unpacked.unwrap().success());
        }
    }
    std::fs::remove_file(world.cache().join("objects").join(&id[..2]).join(&id[2..])).unwrap();
    assert!(matches!(source.blobs(vec![id.clone()]).await, Err(Error::Damaged { .. })));
    source.poll(None).await.unwrap().unwrap();
    assert_eq!(source.blobs(vec![id.clone()]).await.unwrap()[&id], b"a: 1\n");
}

#[tokio::test]
async fn many_fetches_leave_few_packs() {
    let world = World::new();
    let source = world.source(Options::default());
    let mut known = commit(&world.work(), &[("a.yaml", "a: 0\n")]);
    source.poll(None).await.unwrap().unwrap();
    let replaced = commit(&world.work(), &[("a.yaml", "a: gone\n")]);
    source.poll(Some(&known)).await.unwrap().unwrap();
    git(&world.work(), &["reset", "-q", "--hard", &known]);
    for at in 0..60 {
        let next = commit(&world.work(), &[("a.yaml", &format!("a: {at}\n")), ("b.yaml", &format!("b: {at}\n"))]);
        let fetched = source.poll(Some(if at == 0 { &replaced } else { &known })).await.unwrap().unwrap();
        assert_eq!(fetched.forced, at == 0);
        known = next;
    }
    let packs = std::fs::read_dir(world.cache().join("objects/pack")).unwrap().count();
    assert!(packs < 110, "{packs} files");
    for commit in [&replaced, &known] {
        let fetched = source.at(commit).await.unwrap();
        source.blobs(vec![blob(&fetched, "a.yaml")]).await.unwrap();
    }
    assert!(!world.path("cache.old").exists() && !world.path("cache.new").exists());
}

#[tokio::test]
async fn a_call_that_hangs_keeps_one_place() {
    let world = World::new();
    let first = commit(&world.work(), &[("a.yaml", "a: 1\n")]);
    // Reading a pipe that nobody writes to takes for ever.
    let config = world.work().join(".git/config");
    let text = std::fs::read(&config).unwrap();
    std::fs::remove_file(&config).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&config).status().unwrap().success());
    let source = world.source(Options { limit: std::time::Duration::from_millis(1500), ..Options::default() });
    for _ in 0..2 {
        assert!(matches!(source.poll(None).await, Err(Error::Slow { .. })));
    }
    // The first call still hangs, and the second was not begun: one writer lets that one go on, and the place is free.
    let pipe = world.path("pipe");
    std::fs::rename(&config, &pipe).unwrap();
    std::fs::write(&config, &text).unwrap();
    // It may not even want to read what it could open at last.
    let _ = std::fs::OpenOptions::new().write(true).open(&pipe).unwrap().write_all(&text);
    for _ in 0..20 {
        match source.poll(None).await {
            Err(Error::Slow { .. }) => {}
            result => return assert_eq!(result.unwrap().unwrap().revision.commit, first),
        }
    }
    panic!("the place was never free again");
}
