//! Following a repository over SSH: a real OpenSSH server that runs git's own `git-upload-pack`.

mod common;

use std::time::Duration;

use common::sshd::{Server, keygen};
use common::{World, changed, commit, git, snapshot};
use manifests::git::{Error, Options, Source};

async fn refused(source: &Source) -> String {
    let error = source.poll(None).await.unwrap_err();
    assert!(!format!("{error:?}").contains("PRIVATE KEY"), "{error:?}");
    error.to_string()
}

#[tokio::test]
async fn a_branch_is_followed_with_a_key() {
    let Some(server) = Server::start() else { return };
    let world = World::new();
    let secret = world.secret("key", &[("ssh-privatekey", &server.key("client")), ("known_hosts", &server.known("host"))]);
    let source = world.at(&server.url(&world.work()), Options { secret: Some(secret), ..Options::default() });
    assert!(matches!(source.poll(None).await, Err(Error::Empty(_))));
    let first = commit(&world.work(), &[("a.yaml", "a: 1\n"), ("it's/b!.yaml", "b: 1\n")]);
    let fetched = source.poll(None).await.unwrap().unwrap();
    assert_eq!((fetched.revision.commit.as_str(), fetched.whole), (first.as_str(), true));
    assert_eq!(changed(&fetched), [("a.yaml", "blob"), ("it's/b!.yaml", "blob")]);

    let before = snapshot(&world.cache());
    assert!(source.poll(Some(&first)).await.unwrap().is_none());
    assert_eq!(snapshot(&world.cache()), before);

    let second = commit(&world.work(), &[("a.yaml", "a: 2\n")]);
    let next = source.poll(Some(&first)).await.unwrap().unwrap();
    assert_eq!((next.revision.commit.as_str(), changed(&next)), (second.as_str(), vec![("a.yaml", "blob")]));

    // A repository whose own history is long is told apart from one that was rewritten.
    for at in 0..300 {
        git(&world.work(), &["commit", "-q", "--allow-empty", "-m", &at.to_string()]);
    }
    let third = commit(&world.work(), &[("b.yaml", "b: 3\n")]);
    let later = source.poll(Some(&second)).await.unwrap().unwrap();
    assert!(!later.forced && later.revision.commit == third);
    git(&world.work(), &["reset", "-q", "--hard", &first]);
    let fourth = commit(&world.work(), &[("a.yaml", "a: 4\n")]);
    let forced = source.poll(Some(&third)).await.unwrap().unwrap();
    assert!(forced.forced && forced.revision.commit == fourth);
}

#[tokio::test]
async fn paths_are_quoted() {
    let Some(server) = Server::start() else { return };
    let world = World::new();
    let folder = world.path("it's a \"fleet\"; touch pwned! $(touch pwned)");
    std::fs::rename(world.work(), &folder).unwrap();
    commit(&folder, &[("a.yaml", "a: 1\n")]);
    let secret = world.secret("key", &[("identity", &server.key("client")), ("known_hosts", &server.known("host"))]);
    let source = world.at(&server.url(&folder), Options { secret: Some(secret), ..Options::default() });
    source.poll(None).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_unknown_server_is_refused_and_shown() {
    let Some(server) = Server::start() else { return };
    let world = World::new();
    commit(&world.work(), &[("a.yaml", "a: 1\n")]);
    let key = server.key("client");
    let with = |name: &str, known: &str| {
        let secret = world.secret(name, &[("ssh-privatekey", &key), ("known_hosts", known)]);
        world.at(&server.url(&world.work()), Options { secret: Some(secret), ..Options::default() })
    };
    let line = server.known("host");
    let error = refused(&with("none", "# nothing\n")).await;
    assert!(error.contains("no host key of it is pinned; it shows SHA256:") && error.contains(line.trim()), "{error}");
    let error = refused(&with("other", &server.known("other-host"))).await;
    assert!(error.contains("not the pinned one: it shows SHA256:") && error.contains("somebody is in between"), "{error}");
    for pins_nothing in [
        format!("127.0.0.1 {}", server.public("host")),
        format!("@cert-authority * {}", server.public("host")),
        format!("{line}@revoked * {}", server.public("host")),
        format!("*,!{line}"),
    ] {
        assert!(refused(&with("nothing", &pins_nothing)).await.contains("is pinned"), "{pins_nothing}");
    }
    std::fs::write(server.path("hashed"), &line).unwrap();
    let hashed = std::process::Command::new("ssh-keygen").args(["-q", "-H", "-f"]).arg(server.path("hashed")).output().unwrap();
    assert!(hashed.status.success());
    let (hashed, public) = (server.key("hashed"), server.public("host"));
    assert!(hashed.starts_with("|1|"));
    for pins in [
        format!("# ours\n\n{line}"),
        hashed,
        format!("[127.0.0.?]:*  {public} of the Git server"),
        format!("other,[127.*]:{} {public}", server.port),
    ] {
        assert!(with("good", &pins).poll(None).await.unwrap().is_some(), "{pins}");
    }
}

#[tokio::test]
async fn wrong_keys_say_what_is_wrong() {
    let Some(server) = Server::start() else { return };
    let world = World::new();
    commit(&world.work(), &[("a.yaml", "a: 1\n")]);
    let known = server.known("host");
    let with = |path: &std::path::Path, keys: &[(&str, &str)]| {
        let secret = tempfile::tempdir_in(world.home.path()).unwrap().keep();
        for (key, text) in keys.iter().chain([&("known_hosts", known.as_str())]) {
            std::fs::write(secret.join(key), text).unwrap();
        }
        world.at(&server.url(path), Options { secret: Some(secret), ..Options::default() })
    };
    let work = world.work();
    let error = refused(&with(&work, &[("identity", &server.key("stranger"))])).await;
    assert!(error.contains("was refused: the server does not accept the key SHA256:"), "{error}");
    assert!(refused(&with(&work, &[])).await.contains("has no private key"));
    assert!(refused(&with(&work, &[("identity", "s3cret")])).await.contains("not a private key"));
    assert!(refused(&world.at(&server.url(&work), Options::default())).await.contains("SSH needs a private key"));
    let error = refused(&with(&world.path("nothing-here"), &[("identity", &server.key("client"))])).await;
    assert!(error.contains("the server says:") && error.contains("nothing-here"), "{error}");

    keygen(&server.path("locked"), "open sesame");
    assert!(refused(&with(&work, &[("identity", &server.key("locked"))])).await.contains("passphrase"));
    std::fs::copy(server.path("locked.pub"), server.path("authorized")).unwrap();
    assert!(with(&work, &[("identity", &server.key("locked")), ("password", "open sesame\n")]).poll(None).await.unwrap().is_some());
}

#[tokio::test]
async fn a_server_that_hangs_is_left() {
    let world = World::new();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    keygen(&world.path("id"), "");
    let secret = world.secret("key", &[("identity", &std::fs::read_to_string(world.path("id")).unwrap())]);
    let url = format!("ssh://git@127.0.0.1:{}/fleet.git", silent.local_addr().unwrap().port());
    let source = world.at(&url, Options { secret: Some(secret), limit: Duration::from_millis(300), ..Options::default() });
    assert!(matches!(source.poll(None).await, Err(Error::Slow { .. })));
    drop(silent);
    assert!(refused(&source).await.contains("cannot connect"));
}

#[tokio::test]
async fn a_server_that_talks_nonsense_is_told_off() {
    let Some(server) = Server::start() else { return };
    let world = World::new();
    commit(&world.work(), &[("a.yaml", "a: 1\n")]);
    let secret = world.secret("key", &[("identity", &server.key("client")), ("known_hosts", &server.known("host"))]);
    let with = |command: &str, limit| {
        std::fs::write(server.path("authorized"), format!("command=\"{command}\" {}\n", server.public("client"))).unwrap();
        world.at(&server.url(&world.work()), Options { secret: Some(secret.clone()), limit, ..Options::default() })
    };
    let limit = Duration::from_secs(60);
    assert!(refused(&with("yes", limit)).await.contains("not Git's protocol"));
    assert!(refused(&with("true", limit)).await.contains("ended early"));
    assert!(refused(&with("printf '\\033[2Jno such user' >&2; exit 1", limit)).await.contains("the server says: [2Jno such user"));
    let listing = format!("printf '003d{} refs/heads/main\\n0000'; sleep 60", "1".repeat(40));
    assert!(refused(&with(&listing, limit)).await.contains("too old"));
    assert!(matches!(with("exec sleep 60", Duration::from_millis(1500)).poll(None).await, Err(Error::Slow { .. })));

    let banner = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = banner.local_addr().unwrap().port();
    std::thread::spawn(move || {
        use std::io::Write as _;
        for stream in banner.incoming() {
            let _ = stream.unwrap().write_all(b"HTTP/1.1 400 Bad Request\r\n\r\nwhat?\r\n");
        }
    });
    let source = world.at(&format!("ssh://git@127.0.0.1:{port}/x"), Options { secret: Some(secret), ..Options::default() });
    assert!(refused(&source).await.contains("the connection broke"));
}
