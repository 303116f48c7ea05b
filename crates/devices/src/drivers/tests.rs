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

/// The shells that a target may have for `sh` take every script; those that are not here are not asked.
#[test]
fn shells_can_read_every_script() {
    for shell in ["sh", "dash", "bash"] {
        for (name, script) in scripts() {
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
