//! The engine as a process: what it does where its own surroundings are odd.

use std::path::Path;
use std::process::{Command, Output, Stdio};

const CLASS: &str = "apiVersion: evenkeel.dev/v1alpha1\nkind: DeviceClass\nmetadata: {name: web}\nspec: {labels: {role: web}}\n";

fn once(folder: &Path, errors: Stdio, more: &[&str]) -> Output {
    let (fleet, data) = (folder.join("fleet"), folder.join("data"));
    std::fs::create_dir_all(&fleet).unwrap();
    std::fs::write(fleet.join("class.yaml"), CLASS).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    command.args(["apply", "--once", "--timeout", "30s", "--repo"]).arg(fleet).arg("--data").arg(data).args(more);
    command.env_remove("DATABASE_URL").stderr(errors).output().unwrap()
}

/// A full disk where the log goes, or nobody at the other end of the pipe, is no reason not to do the work.
#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    assert_eq!(once(folder.path(), full.into(), &[]).status.code(), Some(0));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(once(folder.path(), writer.into(), &[]).status.code(), Some(0));
}

/// With a token that no header can carry, nobody could ask anything.
#[test]
fn a_token_that_nobody_could_show_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let listen = ["--listen", "127.0.0.1:0", "--token-file", file.to_str().unwrap()];
    for (token, part) in [
        ("short", "at least 16"),
        (&"a".repeat(1 << 20), "less than"),
        ("0123456789abcdef\n0123456789abcdef\n", "one line"),
        ("0123456789 abcdef", "one line"),
    ] {
        std::fs::write(&file, token).unwrap();
        let output = once(folder.path(), Stdio::piped(), &listen);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains(part) && !said.contains("0123"), "{said}");
    }
    std::fs::write(&file, "0123456789abcdef\n").unwrap();
    assert_eq!(once(folder.path(), Stdio::piped(), &listen).status.code(), Some(0));
}

/// What is missing or makes no sense is said by the name of the option that mends it.
#[test]
fn what_is_missing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").display().to_string();
    let fleet = folder.path().display().to_string();
    for (arguments, parts) in [
        (&[][..], &["--repo <URL|DIR>|--kubernetes"][..]),
        (&["--kubernetes", "--lease-duration", "2s"], &["--lease-duration", "3s is the least"]),
        (&["--kubernetes", "--lease-duration", "3500ms"], &["--lease-duration", "whole seconds"]),
        (&["--kubernetes"], &["no cluster", "--kubeconfig FILE"]),
        (&["--repo", fleet.as_str(), "--notify-retry", "500ms"], &["--notify-retry 500ms: 1s is the least"]),
        (&["--repo", fleet.as_str(), "--notify-retry", "11m"], &["--notify-retry 11m: 10m is the most"]),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
        command.arg("run").args(arguments).args(["--data", &data]).env("HOME", folder.path());
        for variable in ["DATABASE_URL", "KUBECONFIG", "KUBERNETES_SERVICE_HOST"] {
            command.env_remove(variable);
        }
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && parts.iter().all(|part| said.contains(part)), "{arguments:?}: {said}");
    }
}
