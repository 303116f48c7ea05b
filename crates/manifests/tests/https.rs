//! Following a repository over HTTPS: git's own server side behind a TLS server.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::https::{LISTING, PACK, Reply, Request, Server, answer};
use common::{World, changed, commit, git, snapshot};
use manifests::git::{Entry, Error, Follow, Options, Source};

const TOKEN: &str = "s3cret-token";

/// As `base64` has it: `ann:s3cret-token`.
fn wants_token(request: &Request) -> Reply {
    match request.authorization.as_str() {
        "Basic YW5uOnMzY3JldC10b2tlbg==" | "Bearer s3cret-token" => Reply::Git,
        _ => answer("401 Unauthorized", "text/plain", b"who are you?"),
    }
}

async fn refused(source: &Source) -> String {
    let error = source.poll(None).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains(TOKEN), "{error:?}");
    error.to_string()
}

#[tokio::test]
async fn a_branch_is_followed_with_a_token() {
    let world = World::new();
    let server = Server::start(world.home.path(), wants_token).await;
    let url = server.url("work/.git");
    let secret = world.secret("token", &[("username", "ann\n"), ("token", &format!("{TOKEN}\n")), ("ca.crt", &server.ca)]);
    let source = world.at(&url, Options { secret: Some(secret), ..Options::default() });
    assert!(matches!(source.poll(None).await, Err(Error::Empty(_))));

    let first = commit(&world.work(), &[("a.yaml", "a: 1\n"), ("dir/b.yaml", "b: 1\n")]);
    let fetched = source.poll(None).await.unwrap().unwrap();
    assert_eq!((fetched.revision.commit.as_str(), fetched.whole), (first.as_str(), true));
    assert_eq!(changed(&fetched), [("a.yaml", "blob"), ("dir/b.yaml", "blob")]);

    // Nothing new: the list of refs, once, and the cache is not even opened.
    server.forget();
    let before = snapshot(&world.cache());
    assert!(source.poll(Some(&first)).await.unwrap().is_none());
    assert_eq!(server.asked(), ["GET /work/.git/info/refs?service=git-upload-pack"]);
    assert_eq!(snapshot(&world.cache()), before);

    let second = commit(&world.work(), &[("a.yaml", "a: 2\n")]);
    server.forget();
    let next = source.poll(Some(&first)).await.unwrap().unwrap();
    assert_eq!(server.asked().len(), 2);
    assert_eq!((next.revision.commit.as_str(), next.whole, next.forced), (second.as_str(), false, false));
    assert_eq!(changed(&next), [("a.yaml", "blob")]);
    assert_eq!(source.blobs(vec![common::blob(&next, "a.yaml")]).await.unwrap().into_values().next().unwrap(), b"a: 2\n");
    // What came was the change, not the repository: a commit, a tree, a blob.
    let packs: Vec<u64> = snapshot(&world.cache().join("objects/pack")).iter().map(|(_, size, _)| *size).collect();
    assert!(packs.iter().filter(|size| **size < 1500).count() >= 2, "{packs:?}");

    git(&world.work(), &["reset", "-q", "--hard", &first]);
    let third = commit(&world.work(), &[("a.yaml", "a: 3\n")]);
    let forced = source.poll(Some(&second)).await.unwrap().unwrap();
    assert!(forced.forced && !forced.whole && forced.revision.commit == third);
    assert!(source.at(&second).await.unwrap().whole, "what was replaced can still be read");

    git(&world.work(), &["branch", "-q", "-m", "main", "other"]);
    assert!(matches!(source.poll(Some(&third)).await, Err(Error::NoReference { known, .. }) if known == "refs/heads/other"));
}

#[tokio::test]
async fn tags_and_commits_are_followed() {
    let world = World::new();
    let server = Server::start(world.home.path(), |_| Reply::Git).await;
    let url = server.url("work/.git");
    let secret = world.secret("ca", &[("ca.crt", &server.ca)]);
    let follow = |follow, cache: &str| {
        Source::new(&url, &world.path(cache), Options { follow, secret: Some(secret.clone()), ..Options::default() }).unwrap()
    };
    let first = commit(&world.work(), &[("a.yaml", "a: 1\n")]);
    git(&world.work(), &["tag", "plain"]);
    git(&world.work(), &["tag", "-a", "-m", "x", "annotated"]);
    let second = commit(&world.work(), &[("a.yaml", "a: 2\n")]);
    for tag in ["plain", "annotated"] {
        let source = follow(Follow::Tag(tag.into()), tag);
        assert_eq!(source.poll(None).await.unwrap().unwrap().revision.commit, first, "{tag}");
        server.forget();
        assert!(source.poll(Some(&first)).await.unwrap().is_none());
        assert_eq!(server.asked().len(), 1, "{tag}");
    }
    // A commit that no ref points to: this server does not give it by its id, so the branches are fetched.
    let source = follow(Follow::Commit(first.clone()), "commit");
    assert_eq!(source.poll(None).await.unwrap().unwrap().revision.commit, first);
    server.forget();
    assert!(source.poll(Some(&first)).await.unwrap().is_none());
    assert_eq!(source.poll(None).await.unwrap().unwrap().revision.commit, first);
    assert!(server.asked().is_empty(), "a commit never changes: nobody is asked");
    assert_ne!(first, second);
    let nowhere = follow(Follow::Commit("1234567890123456789012345678901234567890".into()), "nowhere");
    assert!(refused(&nowhere).await.contains("does not give 1234567890"));
}

#[tokio::test]
async fn wrong_credentials_say_what_is_wrong() {
    let world = World::new();
    commit(&world.work(), &[("a.yaml", "a: 1\n")]);
    let server = Server::start(world.home.path(), wants_token).await;
    let url = server.url("work/.git");
    let with = |name: &str, keys: &[(&str, &str)]| world.at(&url, Options { secret: Some(world.secret(name, keys)), ..Options::default() });
    let source = with("wrong", &[("token", "guess"), ("ca.crt", &server.ca)]);
    assert!(refused(&source).await.contains("the secret's credentials are not accepted (401"));
    let source = with("none", &[("ca.crt", &server.ca)]);
    assert!(refused(&source).await.contains("it wants credentials (401"));
    let source = with("no-authority", &[("bearerToken", TOKEN)]);
    assert!(refused(&source).await.contains("certificate"), "{}", refused(&source).await);
    let source = with("bad-authority", &[("ca.crt", "nonsense")]);
    assert!(refused(&source).await.contains("there is no PEM certificate in it"));
    let source = with("bearer", &[("bearerToken", TOKEN), ("ca.crt", &server.ca)]);
    source.poll(None).await.unwrap().unwrap();
    // A new token counts at the next look.
    world.secret("bearer", &[("bearerToken", "another")]);
    assert!(refused(&source).await.contains("not accepted"));
    let source = world.at(&url, Options { secret: Some(world.path("missing")), ..Options::default() });
    assert!(refused(&source).await.contains("missing/bearerToken"));
    for bad in ["https://ann:s3cret-token@localhost/x", "https://s3cret-token@localhost/x"] {
        let error = Source::new(bad, &world.cache(), Options::default()).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("put them into a secret") && !format!("{error:?}").contains(TOKEN));
    }
}

#[tokio::test]
async fn a_token_never_goes_to_another_server() {
    let world = World::new();
    commit(&world.work(), &[("a.yaml", "a: 1\n")]);
    let other = Server::start(world.home.path(), |_| Reply::Git).await;
    let elsewhere = other.url("work/.git/info/refs?service=git-upload-pack");
    let moved = move |request: &Request| match request.target.as_str() {
        target if target.starts_with("/away") => {
            Reply::Raw(format!("HTTP/1.1 302 Found\r\nLocation: {elsewhere}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into())
        }
        target if target.starts_with("/old") => {
            let to = target.replace("/old", "/work/.git");
            Reply::Raw(format!("HTTP/1.1 301 Moved\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into())
        }
        target if target.starts_with("/loop") => {
            Reply::Raw(b"HTTP/1.1 302 Found\r\nLocation: /loop\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec())
        }
        _ => wants_token(request),
    };
    let server = Server::start(world.home.path(), moved).await;
    let secret = world.secret("token", &[("bearerToken", TOKEN), ("ca.crt", &format!("{}{}", server.ca, other.ca))]);
    let source = |path: &str| world.at(&server.url(path), Options { secret: Some(secret.clone()), ..Options::default() });
    assert!(refused(&source("away")).await.contains("it redirects to another server (localhost)"));
    assert!(other.asked().is_empty(), "it was asked");
    assert!(refused(&source("loop")).await.contains("too many redirects"));
    // On the same server a repository may have moved; the rest of the talk is at the new place.
    server.forget();
    source("old").poll(None).await.unwrap().unwrap();
    assert_eq!(server.asked().last().unwrap(), "POST /work/.git/git-upload-pack");
}

#[tokio::test]
async fn plain_http_is_for_this_machine() {
    let world = World::new();
    commit(&world.work(), &[("a.yaml", "a: 1\n")]);
    let server = Server::start_plain(world.home.path(), |_| Reply::Git).await;
    let source = world.at(&format!("http://127.0.0.1:{}/work/.git", server.port), Options::default());
    source.poll(None).await.unwrap().unwrap();
    assert!(Source::new("http://192.0.2.1/work", &world.cache(), Options::default()).is_err());
}

fn packet(text: &str) -> Vec<u8> {
    format!("{:04x}{text}", text.len() + 4).into_bytes()
}

/// A list of refs with one branch.
fn listing(id: &str) -> Vec<u8> {
    let refs = packet(&format!("{id} refs/heads/main\0side-band-64k ofs-delta\n"));
    [packet("# service=git-upload-pack\n"), b"0000".to_vec(), refs, b"0000".to_vec()].concat()
}

#[tokio::test]
async fn a_server_that_talks_nonsense_is_told_off() {
    let world = World::new();
    let id = "1".repeat(40);
    let cases: Vec<(&str, Reply, &str)> = vec![
        ("a web page", answer("200 OK", "text/html", b"<html>"), "not a Git repository"),
        ("nothing", answer("200 OK", LISTING, b""), "ended early"),
        ("garbage", answer("200 OK", LISTING, b"zzzz\xff\xfe"), "not Git's protocol"),
        ("a length that can't be", answer("200 OK", LISTING, b"0003"), "not Git's protocol"),
        ("words", answer("200 OK", LISTING, &packet("nonsense\n")), "not a list of refs"),
        ("SHA-256", answer("200 OK", LISTING, &listing(&"1".repeat(64))), "not SHA-1"),
        ("an error", answer("200 OK", LISTING, &packet("ERR go away\x1b[2J\n")), "the server says: go away[2J"),
        ("too old", answer("200 OK", LISTING, &[packet(&format!("{id} refs/heads/main\0\n")), b"0000".to_vec()].concat()), "too old"),
        ("a failure", answer("500 Oops", "text/plain", b""), "it answers 500"),
    ];
    for (what, reply, wanted) in cases {
        let Reply::Raw(bytes) = reply else { unreachable!() };
        let server = Server::start_plain(world.home.path(), move |_| Reply::Raw(bytes.clone())).await;
        let error = refused(&world.at(&format!("http://127.0.0.1:{}/x", server.port), Options::default())).await;
        assert!(error.contains(wanted), "{what}: {error}");
    }
}

#[tokio::test]
async fn a_bad_pack_changes_nothing() {
    let world = World::new();
    let first = commit(&world.work(), &[("a.yaml", "a: 1\n")]);
    let band = |band: u8, bytes: &[u8]| [format!("{:04x}", bytes.len() + 5).as_bytes(), &[band], bytes].concat();
    let pack = |count: u32, rest: &[u8]| [&b"PACK\0\0\0\x02"[..], &count.to_be_bytes(), rest].concat();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("no pack", [packet("NAK\n"), b"0000".to_vec()].concat(), "has no pack"),
        ("not a pack", [packet("NAK\n"), band(1, b"JUNKJUNKJUNK"), b"0000".to_vec()].concat(), "not a pack"),
        ("too many objects", band(1, &pack(u32::MAX, b"")), "4294967295 objects"),
        ("garbage in a pack", [band(1, &pack(1, &[0xff; 64])), b"0000".to_vec()].concat(), "can't be stored"),
        ("a pack that is cut off", band(1, &pack(1, b"")), "ended early"),
        ("an error in between", [band(1, &pack(1, b"")), band(3, b"out of memory")].concat(), "the server says: out of memory"),
        ("an empty pack", [band(1, &EMPTY), b"0000".to_vec()].concat(), "does not give"),
    ];
    for (what, body, wanted) in cases {
        let id = first.clone();
        let server = Server::start_plain(world.home.path(), move |request| match request.method.as_str() {
            "GET" => answer("200 OK", LISTING, &listing(&id)),
            _ => answer("200 OK", PACK, &body),
        })
        .await;
        let error = refused(&world.at(&format!("http://127.0.0.1:{}/x", server.port), Options::default())).await;
        assert!(error.contains(wanted), "{what}: {error}");
    }
    // The same cache with an honest server.
    world.source(Options::default()).poll(None).await.unwrap().unwrap();
}

/// A pack of nothing, with its hash.
const EMPTY: [u8; 32] = *b"PACK\0\0\0\x02\0\0\0\0\x02\x9d\x08\x82\x3b\xd8\xa8\xea\xb5\x10\xad\x6a\xc7\x5c\x82\x3c\xfd\x3e\xd3\x1e";

#[tokio::test]
async fn a_server_that_floods_or_hangs_is_left() {
    let world = World::new();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {LISTING}\r\nConnection: close\r\n\r\n").into_bytes();
    let lines = packet(&format!("{} refs/heads/{}\n", "1".repeat(40), "x".repeat(4000))).repeat(256);
    let begun = AtomicUsize::new(0);
    let server = Server::start_plain(world.home.path(), move |_| match begun.fetch_add(1, Ordering::Relaxed) {
        0 => Reply::Flood(head.clone(), lines.clone()),
        _ => Reply::Hang,
    })
    .await;
    let url = format!("http://127.0.0.1:{}/x", server.port);
    let error = refused(&world.at(&url, Options::default())).await;
    assert!(error.contains("the answer is larger than 67108864 bytes"), "{error}");
    let source = world.at(&url, Options { limit: Duration::from_millis(300), ..Options::default() });
    assert!(matches!(source.poll(None).await, Err(Error::Slow { .. })));
    // Its place is free again.
    assert!(matches!(source.poll(None).await, Err(Error::Slow { .. })));
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn a_cache_that_lost_objects_is_filled_again() {
    let world = World::new();
    let server = Server::start_plain(world.home.path(), |_| Reply::Git).await;
    let source = world.at(&format!("http://127.0.0.1:{}/work/.git", server.port), Options::default());
    let first = commit(&world.work(), &[("a.yaml", "a: 1\n"), ("b.yaml", "b: 1\n")]);
    source.poll(None).await.unwrap().unwrap();
    let packs = world.cache().join("objects/pack");
    for (path, ..) in snapshot(&packs) {
        std::fs::remove_file(path).unwrap();
    }
    let second = commit(&world.work(), &[("a.yaml", "a: 2\n")]);
    let fetched = source.poll(Some(&first)).await.unwrap().unwrap();
    assert_eq!(fetched.revision.commit, second);
    assert!(fetched.changed.values().all(|entry| matches!(entry, Entry::Blob(_))));
}
