//! `evenkeel check` as a program: what it prints and how it ends.

use std::path::Path;
use std::process::{Command, Output};

const DEVICE: &str =
    "apiVersion: evenkeel.dev/v1alpha1\nkind: Device\nmetadata: {name: web-01}\nspec: {type: Server, address: 10.0.0.11}\n";

fn check(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_evenkeel")).arg("check").args(arguments).current_dir(folder).env("NO_COLOR", "1").output().unwrap()
}

fn git(folder: &Path, arguments: &[&str]) {
    let settings =
        ["-c", "user.name=Ann", "-c", "user.email=ann@example.com", "-c", "init.defaultBranch=main", "-c", "commit.gpgsign=false"];
    let output =
        Command::new("git").args(settings).args(arguments).current_dir(folder).env("GIT_CONFIG_GLOBAL", "/dev/null").output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn the_exit_code_says_how_it_went() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("fleet")).unwrap();
    let file = home.path().join("fleet/a.yaml");

    std::fs::write(&file, DEVICE).unwrap();
    let fine = check(home.path(), &["fleet"]);
    assert_eq!((fine.status.code(), text(&fine.stdout)), (Some(0), "1 device, 0 deployments, 1 object in all: 0 errors, 0 warnings\n"));

    std::fs::write(&file, format!("{DEVICE}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: x}}\n")).unwrap();
    let noted = check(home.path(), &[]);
    assert_eq!(noted.status.code(), Some(0), "a note is no reason to stop a pipeline");
    assert!(text(&noted.stdout).starts_with("note[other-group]: "));

    std::fs::write(&file, DEVICE.replace("address", "adress")).unwrap();
    for output in ["text", "json", "github"] {
        let wrong = check(home.path(), &["./fleet", "--output", output]);
        assert_eq!(wrong.status.code(), Some(1), "{output}");
        // Where it is, seen from where the command was given.
        assert!(text(&wrong.stdout).contains("fleet/a.yaml") && !text(&wrong.stdout).contains("./fleet"), "{output}");
    }
    let json = check(home.path(), &["fleet/a.yaml", "--output", "json"]);
    let findings: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&findings[1]["line"], &findings[1]["file"]), (&4.into(), &"fleet/a.yaml".into()));

    for nothing in [&["nowhere"][..], &["fleet", "--rev", "main"], &["https://ann:s3cret@git.example.com/x"], &["https://127.0.0.1:1/x"]] {
        let failed = check(home.path(), nothing);
        assert_eq!((failed.status.code(), text(&failed.stdout)), (Some(2), ""), "{nothing:?}");
        assert!(text(&failed.stderr).starts_with("evenkeel: ") && !text(&failed.stderr).contains("s3cret"), "{}", text(&failed.stderr));
    }
}

#[test]
fn a_repository_is_checked_as_git_has_it() {
    let home = tempfile::tempdir().unwrap();
    git(home.path(), &["init", "-q", "work"]);
    let work = home.path().join("work");
    std::fs::write(work.join("a.yaml"), DEVICE).unwrap();
    git(&work, &["add", "-A"]);
    git(&work, &["commit", "-q", "-m", "x"]);
    git(home.path(), &["clone", "-q", "--bare", "work", "fleet.git"]);
    std::fs::write(work.join("a.yaml"), "a: [\n").unwrap();
    assert_eq!(check(&work, &[]).status.code(), Some(1), "the files on disk");
    assert_eq!(check(&work, &["--rev", "HEAD"]).status.code(), Some(0), "the commit");
    assert_eq!(check(home.path(), &["fleet.git"]).status.code(), Some(0));
    git(&work, &["commit", "-q", "-a", "-m", "wrong"]);
    git(&work, &["push", "-q", "../fleet.git", "main"]);
    let bare = check(home.path(), &["fleet.git"]);
    assert_eq!(bare.status.code(), Some(1));
    assert!(text(&bare.stdout).contains("--> a.yaml:1:4"), "{}", text(&bare.stdout));
    assert_eq!(check(home.path(), &["fleet.git", "--rev", "main~1"]).status.code(), Some(0));
}
