//! What `evenkeel check` says: each `check/NAME.yaml` (or folder) beside the text that it must print, in `NAME.txt`. `UPDATE=1` writes
//! that; it is read as a person would who made the mistake.

mod common;

use std::path::Path;

use common::{World, commit, git};
use manifests::finding::{Finding, Format, render};
use reconcile::finding::Severity;

fn findings(path: &Path) -> Vec<Finding> {
    manifests::check(path).unwrap().1
}

fn compare(path: &Path, text: &str) -> Option<String> {
    if std::env::var("UPDATE").is_ok() {
        std::fs::write(path, text).unwrap();
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    (expected != text).then(|| format!("{}:\n--- expected\n{expected}\n--- found\n{text}", path.display()))
}

#[test]
fn every_mistake_is_explained() {
    let mut wrong = Vec::new();
    let mut cases: Vec<_> = std::fs::read_dir("tests/check").unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    for case in &cases {
        let suffix = case.extension().and_then(|suffix| suffix.to_str());
        match suffix {
            None if case.is_dir() => {}
            Some("yaml") => {}
            Some("txt" | "json" | "github") => {
                let of = [case.with_extension("yaml"), case.with_extension("")];
                assert!(of.iter().any(|of| of.exists()), "{}: of nothing", case.display());
                continue;
            }
            _ => continue,
        }
        let findings = findings(case);
        wrong.extend(compare(&case.with_extension("txt"), &render(&findings, Format::Text { colour: false })));
        // The other forms, once each.
        if case.ends_with("unknown-field.yaml") {
            wrong.extend(compare(&case.with_extension("json"), &render(&findings, Format::Json)));
            wrong.extend(compare(&case.with_extension("github"), &render(&findings, Format::Github)));
        }
        let helpless = findings.iter().filter(|finding| finding.help.is_empty());
        wrong.extend(helpless.map(|finding| format!("{}: what is to be done? {finding:?}", case.display())));
    }
    assert!(wrong.is_empty(), "{}\n(UPDATE=1 writes what was found)", wrong.join("\n"));
}

/// Files that Git would not keep as they are.
#[test]
fn what_is_no_text_is_explained_too() {
    use std::os::unix::ffi::OsStrExt as _;
    let home = tempfile::tempdir().unwrap();
    let write = |name: &[u8], bytes: &[u8]| std::fs::write(home.path().join(std::ffi::OsStr::from_bytes(name)), bytes).unwrap();
    write(b"latin1.yaml", b"# caf\xe9\n");
    write(b"huge.yaml", &b"#".repeat(manifests::yaml::MAX_FILE + 1));
    write(b"name\xff.yaml", b"");
    write(b"notes.txt", b"not looked at");
    std::os::unix::fs::symlink("/etc/passwd", home.path().join("link.yaml")).unwrap();
    std::fs::create_dir(home.path().join("folder.yaml")).unwrap();
    let found = render(&findings(home.path()), Format::Text { colour: false });
    let found = found.replace(&format!("{}/", home.path().display()), "");
    if let Some(wrong) = compare(Path::new("tests/no-text.txt"), &found) {
        panic!("{wrong}");
    }
}

#[test]
fn a_place_without_manifests_is_not_fine() {
    let home = tempfile::tempdir().unwrap();
    let error = manifests::check(home.path()).map(|_| ()).unwrap_err();
    assert!(error.starts_with("there are no manifests (*.yaml, *.yml) in "), "{error}");
    assert!(manifests::check(&home.path().join("nowhere")).is_err());
}

#[tokio::test]
async fn a_commit_is_checked_where_it_is() {
    let world = World::new();
    let good = "apiVersion: evenkeel.dev/v1alpha1\nkind: Device\nmetadata: {name: web-01}\nspec: {type: Server, address: 10.0.0.11}\n";
    commit(&world.work(), &[("fleet/a.yaml", good), ("elsewhere/b.yaml", "a: [\n")]);
    git(&world.work(), &["tag", "-a", "-m", "x", "v1"]);
    commit(
        &world.work(),
        &[("fleet/a.yaml", &good.replace("address", "adress")), ("fleet/lfs.yaml", "version https://git-lfs.github.com/spec/v1\n")],
    );
    // What is on disk does not matter, not even whether it is there.
    std::fs::write(world.work().join("fleet/a.yaml"), "nonsense").unwrap();
    let bare = world.path("bare.git");
    git(world.home.path(), &["clone", "-q", "--bare", "work", "bare.git"]);
    let places = |path: &Path, rev: &str| -> Vec<String> {
        let (_, findings) = manifests::check_commit(path, rev).unwrap();
        findings.iter().map(|finding| format!("{}:{} {}", finding.file, finding.line, finding.code)).collect()
    };
    let of_head = ["fleet/a.yaml:4 missing-field", "fleet/a.yaml:4 unknown-field", "fleet/lfs.yaml:1 lfs-pointer"];
    assert_eq!(places(&world.work().join("fleet"), "HEAD"), of_head);
    assert_eq!(places(&world.work().join("fleet"), "v1"), [""; 0]);
    assert_eq!(places(&bare, "HEAD~1"), ["elsewhere/b.yaml:1 yaml"]);
    assert_eq!(places(&bare, "main").len(), 4);
    for wrong in ["nothing", "HEAD:fleet/a.yaml", "--help"] {
        let error = manifests::check_commit(&bare, wrong).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("revision can't be used"), "{error}");
    }
    assert!(manifests::check_commit(world.home.path(), "HEAD").is_err());

    // From elsewhere, through a cache that is thrown away.
    let server = common::https::Server::start_plain(world.home.path(), |_| common::https::Reply::Git).await;
    let url = format!("http://127.0.0.1:{}/bare.git", server.port);
    let follow = |rev: &str| manifests::git::Follow::guesses(rev).remove(0);
    let source = |rev| world.at(&url, manifests::git::Options { follow: follow(rev), path: "fleet".into(), ..Default::default() });
    let (desired, findings) = manifests::check_source(&source("HEAD")).await.unwrap();
    assert_eq!((desired.devices.size(), findings.len()), (0, 3));
    assert_eq!(findings[0].file, "fleet/a.yaml");
    assert!(findings.iter().all(|finding| finding.severity == Severity::Error));
}
