//! `evenkeel can` as a program, on a folder: what it prints and how it ends.

use std::path::Path;
use std::process::{Command, Output};

const FLEET: &str = "
apiVersion: evenkeel.dev/v1alpha1
kind: Device
metadata: {name: web-01, namespace: fleet, labels: {site: ams}}
spec: {type: Server, address: 10.0.0.11}
---
apiVersion: evenkeel.dev/v1alpha1
kind: Deployment
metadata: {name: web, namespace: fleet}
spec: {selector: {matchLabels: {site: ams}}, package: {apt: {name: web, version: '1'}}}
---
apiVersion: evenkeel.dev/v1alpha1
kind: Role
metadata: {name: ams, namespace: fleet}
spec:
  subjects: [{user: alice}, {group: ams}, {signer: ssh-ed25519 AAAAC3Nz}]
  allow: [{verbs: [edit], devices: {matchLabels: {site: ams}}}]
";

fn can(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    let Output { status, stdout, stderr } = command.arg("can").args(arguments).current_dir(folder).env("NO_COLOR", "1").output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn it_says_yes_or_no_and_why() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("fleet.yaml"), FLEET).unwrap();
    let asked = |words: &str, more: &[&str]| {
        let (code, out, err) =
            can(home.path(), &[&words.splitn(3, ' ').collect::<Vec<_>>()[..], &["-n", "fleet", "--in", "."], more].concat());
        assert_eq!(err, "", "{words}");
        (code, out)
    };
    let yes = "yes: role/ams spec.allow[0]\n";
    assert_eq!(asked("alice edit device/web-01", &[]), (Some(0), yes.into()));
    assert_eq!(asked("bob view dev/web-01", &["--group", "x", "--group", "ams"]), (Some(0), yes.into()));
    let less = format!("{yes}not by kubectl: RBAC knows names only, and changes no Repositories (docs/kinds.md, Role, `allow.devices`)\n");
    assert_eq!(asked("alice edit deployment/web", &[]), (Some(0), less));
    let no = "no: role/fleet/ams spec.allow[0].devices: only on some devices, and no object was named that is about these only";
    assert_eq!(asked("alice edit devices", &[]), (Some(1), format!("{no}\n")));
    assert_eq!(asked("alice edit device/web-02", &[]), (Some(1), format!("{no}; there is no Device web-02 in fleet\n")));
    assert_eq!(asked("bob edit device/web-01", &[]), (Some(1), "no: no Role in namespace fleet names bob\n".into()));
    let (code, json) = asked("alice approve deployment/web", &["-o", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (code, &json["allowed"], &json["kubectl"], &json["role"]),
        (Some(1), &false.into(), &false.into(), &serde_json::Value::Null)
    );
    let (code, out, _) =
        can(home.path(), &["signer:ssh-ed25519 AAAAC3Nz me@here", "edit", "deployment/web", "-n", "fleet", "--in", "fleet.yaml"]);
    assert_eq!((code, out.as_str()), (Some(0), yes));
}

#[test]
fn what_can_not_be_told_is_neither_yes_nor_no() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("fleet.yaml"), FLEET).unwrap();
    for (arguments, said) in [
        (&["alice", "fly", "device"][..], "there is no verb fly; there are view, edit"),
        (&["alice", "view", "secrets"], "there is no kind secrets; there are"),
        (&["alice", "view", "device/a/b"], "write KIND or KIND/NAME"),
        (&["group:", "view", "device"], "not a subject such as"),
        (&["signer:alice", "view", "device"], "neither an SSH public key nor an OpenPGP fingerprint"),
    ] {
        let (code, out, err) = can(home.path(), &[arguments, &["--in", "."]].concat());
        assert_eq!((code, out.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(err.contains(said), "{err}");
    }
    let (code, _, err) = can(home.path(), &["alice", "view", "device", "--in", "nowhere"]);
    assert_eq!(code, Some(2), "{err}");
    let (code, _, err) = can(home.path(), &["alice", "view", "device", "--data", "nowhere"]);
    assert!(code == Some(2) && err.contains("no engine answers"), "{err}");
}
