//! The scripts as text: what a reviewer of a driver reads.

use std::process::{Command, Stdio};
use std::sync::Arc;

use reconcile::content::{AfterChange, Digest};
use reconcile::{File, FileSource, Name, ServiceUse};

use super::*;

fn sample() -> Work {
    let apt =
        |name: &str, hold| Apt { name: name.into(), version: "1:2.0-3".into(), hold, allow_downgrade: false, replace_conffiles: false };
    let content = Content {
        packages: vec![
            Package::Apt(apt("nginx", true)),
            Package::Archive(Archive { url: "https://example.com/a.tar.gz".into(), sha256: "ab".repeat(32), into: "/opt/app".into() }),
            Package::Apt(apt("nginx-common", false)),
        ],
        files: vec![File {
            path: "/etc/app.conf".into(),
            source: FileSource::Text("port = 80\n".into()),
            mode: "0640".into(),
            owner: "root".into(),
            group: "www-data".into(),
        }],
        accounts: Vec::new(),
        services: vec![ServiceUse { unit: "nginx.service".into(), after: AfterChange::Reload }],
        before: Vec::new(),
        after: Vec::new(),
        reboot: Reboot::IfRequired,
    };
    Work {
        deployment: Name::parse("web"),
        revision: 7,
        digest: Digest::of_json(&content),
        content: Arc::new(content),
        batch: 1,
        attempt: 1,
        revert: false,
        healthy_before: true,
        from: None,
        deadline_seconds: 600,
    }
}

fn scripts() -> Vec<(&'static str, String)> {
    let work = sample();
    vec![
        ("prepare", prepare(&work)),
        ("apply", apply(&work, &[Bytes::Here(b"port = 80\n".to_vec())])),
        ("restore", restore(&work, &StepId("0123456789abcdef".into()))),
        ("remove", remove(&work.content)),
    ]
}

#[test]
fn scripts_read_like_this() {
    for (name, script) in scripts() {
        insta::assert_snapshot!(name, script);
    }
}

/// What logins add to them: functions that are the same everywhere, so they are read where they stand.
fn logins() -> Vec<(&'static str, String)> {
    let account = |user: &str, sudo: &[&str]| reconcile::Account {
        user: user.into(),
        authorized_keys: vec!["ssh-ed25519 AAAA it's".into()],
        sudo: sudo.iter().map(|command| (*command).to_owned()).collect(),
    };
    let content = Content { accounts: vec![account("alice", &["/bin/a x=1"]), account("bob", &[])], ..Content::nothing() };
    let work = Work { digest: content.digest(), content: Arc::new(content), deployment: Name::parse("fleet/role:team"), ..sample() };
    vec![
        ("prepare a login", prepare(&work)),
        ("apply a login", apply(&work, &[])),
        ("restore a login", restore(&work, &StepId("0123456789abcdef".into()))),
        ("remove a login", remove(&work.content)),
        ("read a login", account::read(&["alice", "bob"])),
    ]
}

/// Each account that is changed was saved before.
#[test]
fn accounts_are_saved_before_they_are_changed() {
    let apply = &logins()[1].1;
    let at = |text: &str| apply.rfind(text).unwrap_or_else(|| panic!("no {text}"));
    assert!(at("do save_account \"$S\" \"$u\"") < at(": > \"$S/saved\"") && at(": > \"$S/saved\"") < at("carefully \"$S\" change"));
    assert!(apply.contains("put_account \"$u\" fleet_role:team"), "{apply}");
}

/// The shells that a target may have for `sh` take every script; those that are not here are not asked.
#[test]
fn shells_can_read_every_script() {
    for shell in ["sh", "dash", "bash"] {
        for (name, script) in scripts().into_iter().chain(logins()) {
            let whole = crate::script::whole(&format!("{}{script}", crate::script::HEADER));
            let Ok(child) = Command::new(shell).args(["-n", "-c", &whole]).stdin(Stdio::null()).stderr(Stdio::piped()).spawn() else {
                continue;
            };
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{shell} {name}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

/// Nothing is changed before all that was there is saved.
#[test]
fn saving_comes_before_changing() {
    let apply = &scripts()[1].1;
    let at = |text: &str| apply.find(text).unwrap_or_else(|| panic!("no {text}"));
    let saved = at(": > \"$S/saved\"");
    for save in ["> \"$S/set\"", "\"$S/archive.0\"", "\"$S/file.0\"", ">> \"$S/units\""] {
        assert!(at(save) < saved, "{save}");
    }
    for change in [
        "hold install <",
        "$ALLOW install nginx=1:2.0-3 nginx-common=1:2.0-3",
        "mv -fT \"$p/current.evenkeel\"",
        "mv -fT \"$t\" \"$p\"",
        "systemctl reload-or-restart",
    ] {
        let last = apply.rfind(change).unwrap_or_else(|| panic!("no {change}"));
        assert!(last > saved, "{change}");
    }
}

/// Whoever may write to a folder must not lead us out of it: what they put in the way of a file is replaced and never followed.
#[test]
fn a_symlink_in_the_way_of_a_file_is_not_followed() {
    let root = tempfile::tempdir().unwrap();
    let at = |path: &str| root.path().join(path);
    for folder in ["bin", "srv", "step/before"] {
        std::fs::create_dir_all(at(folder)).unwrap();
    }
    let plant = "ln -sfn \"$R/victim\" \"$R/srv/conf.evenkeel-0\"\n";
    std::fs::write(at("bin/chmod"), format!("#!/bin/sh\n{plant}PATH=/usr/bin:/bin; exec chmod \"$@\"\n")).unwrap();
    std::fs::write(at("victim"), "untouched").unwrap();
    std::fs::write(at("step/before/file.0"), "old").unwrap();
    for program in [at("bin/chmod"), at("victim")] {
        Command::new("/bin/chmod").arg("0700").arg(program).status().unwrap();
    }
    let id = |what: &str| String::from_utf8(Command::new("id").arg(what).output().unwrap().stdout).unwrap().trim().to_owned();
    let file =
        File { path: "/srv/conf".into(), source: FileSource::Text(String::new()), mode: "0640".into(), owner: id("-un"), group: id("-gn") };
    let here = [files::change(0, &file, &Bytes::Here(b"new".to_vec())), format!("{plant}{}", files::restore(0, &file))];
    for (script, text) in here.into_iter().zip(["new", "old"]) {
        let script = format!("export R D; S=\"$D/before\"\ndie() {{ echo \"$*\"; exit 1; }}\n{script}");
        let mut command = Command::new("sh");
        command.args(["-c", &script]).env("R", root.path()).env("D", at("step"));
        let output = command.env("PATH", format!("{}:/usr/bin:/bin", at("bin").display())).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(std::fs::read_to_string(at("srv/conf")).unwrap(), text);
        assert_eq!(std::fs::read_to_string(at("victim")).unwrap(), "untouched");
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(at("victim")).unwrap().permissions()) & 0o777;
        assert_eq!(mode, 0o700);
    }
}
