//! Commits of our own: made, signed, and pushed to a folder, over HTTPS and over SSH, to git's own server side.

mod common;

use std::path::Path;

use common::https::{Reply, Server};
use common::{World, commit, git, sshd};
use jiff::Timestamp;
use manifests::git::{Author, Draft, Error, Options, PushError, Signing, Source};

fn draft(base: &str, path: &str, text: Option<&str>) -> Draft {
    Draft {
        base: base.into(),
        path: path.into(),
        text: text.map(str::to_owned),
        author: Author { name: "Ann <x>".into(), email: "ann@example.com".into() },
        message: "Change device/a\n\nBy Ann.\n".into(),
        at: "2026-11-27T12:00:00Z".parse::<Timestamp>().unwrap(),
    }
}

/// A bare repository with one commit.
fn bare(world: &World) -> (std::path::PathBuf, String) {
    let first = commit(&world.work(), &[("a.yaml", "a: 1\n"), ("dir/b.yaml", "b: 1\n")]);
    let bare = world.path("fleet.git");
    git(world.home.path(), &["clone", "-q", "--bare", "work", "fleet.git"]);
    git(&bare, &["config", "http.receivepack", "true"]);
    (bare, first)
}

/// What must hold wherever the repository is.
async fn is_written(source: &Source, bare: &Path, first: &str) {
    let fetched = source.poll(None).await.unwrap().unwrap();
    assert_eq!(fetched.revision.commit, first);
    let second = source.write(draft(first, "a.yaml", Some("a: 2\n")), None).await.unwrap();
    source.push(&second, "main", Some(first)).await.unwrap();
    assert_eq!(git(bare, &["rev-parse", "main"]), second);
    assert_eq!(git(bare, &["show", "main:a.yaml"]), "a: 2");
    assert_eq!(git(bare, &["log", "-1", "--format=%an|%ae|%cn|%s", "main"]), "Ann x|ann@example.com|Evenkeel|Change device/a");
    git(bare, &["fsck", "--strict"]);
    let next = source.poll(Some(first)).await.unwrap().unwrap();
    assert_eq!((next.revision.commit.as_str(), common::changed(&next)), (second.as_str(), vec![("a.yaml", "blob")]));

    // Two who write at the same commit: the second one is told, and nothing of the first is lost.
    let mine = source.write(draft(&second, "new/c.yaml", Some("c: 1\n")), None).await.unwrap();
    let theirs = source.write(draft(&second, "dir/b.yaml", None), None).await.unwrap();
    let (one, other) = tokio::join!(source.push(&mine, "main", Some(&second)), source.push(&theirs, "main", Some(&second)));
    assert!(one.is_ok() && other == Err(PushError::Moved), "{one:?} {other:?}");
    assert_eq!(git(bare, &["rev-parse", "main"]), mine);

    // A branch of its own, which nobody else must have.
    source.push(&theirs, "evenkeel/ann-1", None).await.unwrap();
    assert_eq!(git(bare, &["ls-tree", "-r", "--name-only", "evenkeel/ann-1"]), "a.yaml");
    assert_eq!(source.push(&mine, "evenkeel/ann-1", None).await, Err(PushError::Moved));
    assert!(matches!(source.push(&mine, "a b", None).await, Err(PushError::Git(Error::Unusable { .. }))));

    // What the repository's owner forbids is said.
    std::fs::write(bare.join("hooks/pre-receive"), "#!/bin/sh\necho main is ours >&2\nexit 1\n").unwrap();
    git(bare, &["config", "core.hooksPath", "hooks"]);
    std::process::Command::new("chmod").arg("+x").arg(bare.join("hooks/pre-receive")).status().unwrap();
    let third = source.write(draft(&mine, "a.yaml", Some("a: 3\n")), None).await.unwrap();
    if !source.is_local() {
        let refused = source.push(&third, "main", Some(&mine)).await;
        assert!(
            matches!(&refused, Err(PushError::Refused(why)) if why.contains("hook declined") && why.contains("main is ours")),
            "{refused:?}"
        );
        assert_eq!(git(bare, &["rev-parse", "main"]), mine);
    }
    let told = source.told(&second, Some(&mine)).await.unwrap().unwrap();
    assert!(told.is_in && told.author.email == "ann@example.com");
    assert!(!source.told(&third, Some(&mine)).await.unwrap().unwrap().is_in);
    assert_eq!(source.told(&"0".repeat(40), None).await.unwrap(), None);
}

#[tokio::test]
async fn to_a_folder() {
    let world = World::new();
    let (bare, first) = bare(&world);
    is_written(&world.at(bare.to_str().unwrap(), Options::default()), &bare, &first).await;
}

#[tokio::test]
async fn over_https() {
    let world = World::new();
    let (bare, first) = bare(&world);
    let server = Server::start(world.home.path(), |_| Reply::Git).await;
    let secret = world.secret("token", &[("ca.crt", &server.ca)]);
    is_written(&world.at(&server.url("fleet.git"), Options { secret: Some(secret), ..Options::default() }), &bare, &first).await;
}

#[tokio::test]
async fn over_ssh() {
    let Some(server) = sshd::Server::start() else { return };
    let world = World::new();
    let (bare, first) = bare(&world);
    let secret = world.secret("key", &[("ssh-privatekey", &server.key("client")), ("known_hosts", &server.known("host"))]);
    is_written(&world.at(&server.url(&bare), Options { secret: Some(secret), ..Options::default() }), &bare, &first).await;
}

/// Its files would not be what the branch says.
#[tokio::test]
async fn a_branch_that_somebody_works_on_is_left_alone() {
    let world = World::new();
    let first = commit(&world.work(), &[("a.yaml", "a: 1\n")]);
    let source = world.source(Options::default());
    source.poll(None).await.unwrap();
    let second = source.write(draft(&first, "a.yaml", Some("a: 2\n")), None).await.unwrap();
    let refused = source.push(&second, "main", Some(&first)).await;
    assert!(matches!(&refused, Err(PushError::Refused(why)) if why.contains("checked out")), "{refused:?}");
    assert_eq!(git(&world.work(), &["rev-parse", "main"]), first);
    source.push(&second, "evenkeel/x", None).await.unwrap();
    assert_eq!(git(&world.work(), &["status", "--porcelain"]), "");
    // Nor one that is checked out beside it.
    git(&world.work(), &["worktree", "add", "-q", "../beside", "evenkeel/x"]);
    let third = source.write(draft(&second, "a.yaml", Some("a: 3\n")), None).await.unwrap();
    assert!(matches!(source.push(&third, "evenkeel/x", Some(&second)).await, Err(PushError::Refused(_))));
}

#[tokio::test]
async fn a_signed_commit_is_one_that_git_and_we_accept() {
    let world = World::new();
    let (bare, first) = bare(&world);
    let key = world.path("signer");
    sshd::keygen(&key, "");
    let signing = Signing::read(&std::fs::read_to_string(&key).unwrap()).unwrap();
    let keys = world.secret("keys", &[("engine.pub", &signing.public())]);
    let trusting = world.at(bare.to_str().unwrap(), Options::default());
    trusting.poll(None).await.unwrap();
    let unsigned = trusting.write(draft(&first, "a.yaml", Some("a: 2\n")), None).await.unwrap();
    trusting.push(&unsigned, "main", Some(&first)).await.unwrap();
    let source = world.at(bare.to_str().unwrap(), Options { keys: Some(keys), ..Options::default() });
    assert!(matches!(source.poll(None).await, Err(Error::Unverified { .. })), "nobody signed that");
    let signed = source.write(draft(&unsigned, "a.yaml", Some("a: 3\n")), Some(signing.clone())).await.unwrap();
    source.push(&signed, "main", Some(&unsigned)).await.unwrap();
    let fetched = source.poll(None).await.unwrap().unwrap();
    assert!(fetched.revision.commit == signed && fetched.revision.signer.is_some());
    // As git itself says.
    std::fs::write(world.path("allowed"), format!("engine {}\n", signing.public())).unwrap();
    let allowed = format!("gpg.ssh.allowedSignersFile={}", world.path("allowed").display());
    git(&bare, &["-c", "gpg.format=ssh", "-c", &allowed, "verify-commit", "main"]);
    assert!(!format!("{signing:?}").contains("PRIVATE"));
    let protected = world.path("protected");
    sshd::keygen(&protected, "secret");
    assert!(Signing::read(&std::fs::read_to_string(protected).unwrap()).unwrap_err().contains("passphrase"));
    assert!(Signing::read("-----BEGIN nonsense").is_err());
}

#[tokio::test]
async fn nothing_but_plain_files_below_the_folder_is_written() {
    let world = World::new();
    std::fs::create_dir_all(world.work().join("fleet")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", world.work().join("fleet/link.yaml")).unwrap();
    let first = commit(&world.work(), &[("fleet/a.yaml", "a: 1\n"), ("other.yaml", "o: 1\n")]);
    let source = world.source(Options { path: "fleet".into(), ..Options::default() });
    source.poll(None).await.unwrap();
    for path in ["../other.yaml", "/etc/passwd", ".git/config", "link.yaml", "a.yaml/b.yaml", "x/../../other.yaml", ""] {
        let refused = source.write(draft(&first, path, Some("x")), None).await;
        assert!(matches!(refused, Err(Error::Unusable { .. })), "{path}: {refused:?}");
    }
    let second = source.write(draft(&first, "devices/b.yaml", Some("b: 1\n")), None).await.unwrap();
    source.push(&second, "x", None).await.unwrap();
    assert_eq!(
        git(&world.work(), &["ls-tree", "-r", "--name-only", "x"]),
        "fleet/a.yaml\nfleet/devices/b.yaml\nfleet/link.yaml\nother.yaml"
    );
    assert!(matches!(source.write(draft(&"1".repeat(40), "a.yaml", None), None).await, Err(Error::NotCached(_))));
}

/// On a branch for changes, nothing is built on what somebody has put there whom nobody answers for; not below a signed commit either.
#[tokio::test]
async fn what_nobody_answers_for_is_not_built_upon() {
    let world = World::new();
    let (bare, first) = bare(&world);
    let signer = |name: &str| {
        let path = world.path(name);
        sshd::keygen(&path, "");
        Signing::read(&std::fs::read_to_string(&path).unwrap()).unwrap()
    };
    let (ours, theirs, stranger) = (signer("ours"), signer("theirs"), signer("stranger"));
    let keys = world.secret("keys", &[("theirs.pub", &theirs.public())]);
    let at = |cache: &str, keys| Source::new(bare.to_str().unwrap(), &world.path(cache), Options { keys, ..Options::default() }).unwrap();
    let (elsewhere, source) = (at("elsewhere", None), at("cache", Some(keys)));
    elsewhere.poll(None).await.unwrap();
    let trusting = at("cache", None);
    trusting.poll(None).await.unwrap();
    let fetched = async |commit: &str| {
        elsewhere.push(commit, &format!("b-{commit}"), None).await.unwrap();
        trusting.aside(manifests::git::Follow::Branch(format!("b-{commit}"))).unwrap().poll(Some(&first)).await.unwrap();
    };
    let made = async |base: &str, text: &str, signing: Option<&Signing>| {
        let commit = elsewhere.write(draft(base, "a.yaml", Some(text)), signing.cloned()).await.unwrap();
        fetched(&commit).await;
        commit
    };
    let may = async |commit: &str| source.may_build_on(commit, &first, Some(&ours)).await;

    assert_eq!(may(&first).await, Ok(()));
    let by_them = made(&first, "a: 2\n", Some(&theirs)).await;
    assert_eq!(may(&by_them).await, Ok(()));
    let by_us = made(&by_them, "a: 3\n", Some(&ours)).await;
    assert_eq!(may(&by_us).await, Ok(()));
    assert!(source.may_build_on(&by_us, &first, None).await.is_err(), "another engine's key is one that nobody trusts");
    for (signing, why) in [(None, "it is not signed"), (Some(&stranger), "unknown key")] {
        let foreign = made(&by_us, "a: 4\n", signing).await;
        let above = made(&foreign, "a: 5\n", Some(&ours)).await;
        for head in [&foreign, &above] {
            let refused = may(head).await;
            assert!(
                matches!(&refused, Err(Error::Unverified { commit, reason }) if *commit == foreign && reason.contains(why)),
                "{refused:?}"
            );
        }
        assert_eq!(trusting.may_build_on(&above, &first, None).await, Ok(()), "where no signatures are asked for");
    }
    // What was made here need not be signed.
    let here = source.write(draft(&by_us, "a.yaml", Some("a: 6\n")), None).await.unwrap();
    assert_eq!(may(&here).await, Ok(()));
}
