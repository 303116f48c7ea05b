//! The SSH module against a real OpenSSH server.

mod common;

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use common::{Machine, desired, keygen, ssh};
use devices::ssh::{Error, OUTPUT, scan};
use reconcile::Name;

const LIMIT: Duration = Duration::from_secs(20);

/// `SHA256:…` as OpenSSH itself prints it, without the prefix.
fn fingerprint(machine: &Machine, kind: &str) -> String {
    let shown = Command::new("ssh-keygen").arg("-lf").arg(machine.path(&format!("ssh/{kind}.pub"))).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    shown.split_whitespace().nth(1).unwrap().trim_start_matches("SHA256:").to_owned()
}

#[tokio::test]
async fn a_script_goes_over_standard_input_and_leaves_nothing_in_the_argument_list() {
    let Some(machine) = Machine::start() else { return };
    let script = "echo out; echo err >&2; tr '\\0' ' ' < /proc/$$/cmdline; : sesame; exit 7";
    let output = machine.devices().run(&machine.device("web-01"), script, LIMIT).await.unwrap();
    assert_eq!(output.code, Some(7));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "out\nsh -s ");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "err\n");
    assert!(!output.truncated);
}

#[tokio::test]
async fn a_large_script_arrives_whole() {
    let Some(machine) = Machine::start() else { return };
    let line = "x".repeat(999);
    let script = format!("wc -c <<'END'\n{}END\n", format!("{line}\n").repeat(5_000));
    let output = machine.devices().run(&machine.device("web-01"), &script, LIMIT).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "5000000");
}

#[tokio::test]
async fn one_connection_is_kept_and_serves_every_command() {
    let Some(machine) = Machine::start() else { return };
    let (devices, device) = (machine.devices(), machine.device("web-01"));
    let session = || async { devices.run(&device, "echo $PPID", LIMIT).await.unwrap().stdout };
    let first = session().await;
    assert_eq!(session().await, first);
    let (second, third) = tokio::join!(session(), session());
    assert_eq!((&second, &third), (&first, &first));
    machine.cut();
    // What broke is not used again, and the next command opens another one.
    let mut after = devices.run(&device, "echo $PPID", LIMIT).await;
    if after.is_err() {
        after = devices.run(&device, "echo $PPID", LIMIT).await;
    }
    assert_ne!(after.unwrap().stdout, first);
}

#[tokio::test]
async fn without_a_pinned_host_key_nothing_is_said_but_the_key_that_was_seen() {
    let Some(machine) = Machine::start() else { return };
    let mut device = machine.device("web-01");
    ssh(&mut device).host_keys.clear();
    let error = machine.devices().run(&device, "touch \"$EVENKEEL_ROOT/been-here\"", LIMIT).await.unwrap_err();
    assert!(matches!(&error, Error::NotPinned { .. }), "{error}");
    assert!(!error.is_transient());
    assert_eq!(error.category(), "host_key");
    let text = error.to_string();
    assert!(
        ["ed25519", "ecdsa"].iter().any(|kind| text.contains(&machine.host_key(kind)) && text.contains(&fingerprint(&machine, kind))),
        "{text}"
    );
    assert!(text.contains(&format!("evenkeel scan 127.0.0.1:{}", machine.port)), "{text}");
    assert!(!machine.path("been-here").exists());
}

#[tokio::test]
async fn another_host_key_than_the_pinned_one_is_refused() {
    let Some(machine) = Machine::start() else { return };
    for kind in ["ed25519", "rsa"] {
        let mut device = machine.device("web-01");
        let other = machine.path(&format!("ssh/other-{kind}"));
        keygen(&other, kind, "");
        ssh(&mut device).host_keys = vec![machine.read(&format!("ssh/other-{kind}.pub")).trim().to_owned()];
        let error = machine.devices().run(&device, "true", LIMIT).await.unwrap_err();
        assert!(matches!(&error, Error::OtherKey { .. }), "{kind}: {error}");
        let text = error.to_string();
        assert!(
            ["ed25519", "ecdsa"].iter().any(|kind| text.contains(&machine.host_key(kind)) && text.contains(&fingerprint(&machine, kind))),
            "{text}"
        );
    }
    let mut device = machine.device("web-01");
    ssh(&mut device).host_keys = vec!["not a key".into()];
    assert!(matches!(machine.devices().run(&device, "true", LIMIT).await.unwrap_err(), Error::BadPin(_)));
}

#[tokio::test]
async fn any_of_the_pinned_keys_will_do() {
    let Some(machine) = Machine::start() else { return };
    let mut device = machine.device("web-01");
    for keys in [vec![machine.host_key("ecdsa")], vec![machine.host_key("ecdsa"), machine.host_key("ed25519")]] {
        ssh(&mut device).host_keys = keys;
        assert_eq!(machine.devices().run(&device, "true", LIMIT).await.unwrap().code, Some(0));
    }
}

#[tokio::test]
async fn a_key_that_can_not_be_used_is_said_clearly() {
    let Some(machine) = Machine::start() else { return };
    let mut device = machine.device("web-01");
    keygen(&machine.path("secrets/stranger"), "ed25519", "");
    let cases = [
        ("stranger", "does not accept the key SHA256:"),
        ("locked", "protected by a passphrase"),
        ("empty", "No such file"),
        ("rubbish", "can't be used as a private key"),
    ];
    for folder in ["s", "locked", "empty", "rubbish"] {
        std::fs::create_dir_all(machine.path(&format!("secrets/{folder}"))).unwrap();
    }
    std::fs::create_dir_all(machine.path("secrets/unknown")).unwrap();
    std::fs::rename(machine.path("secrets/stranger"), machine.path("secrets/unknown/any-name")).unwrap();
    keygen(&machine.path("secrets/locked/id_ed25519"), "ed25519", "open sesame");
    machine.write("secrets/rubbish/ssh-privatekey", "rubbish");
    for (secret, wanted) in cases {
        ssh(&mut device).secret = Some(if secret == "stranger" { "unknown" } else { secret }.into());
        let error = machine.devices().run(&device, "true", LIMIT).await.unwrap_err();
        assert!(error.to_string().contains(wanted), "{secret}: {error}");
        assert!(!error.is_transient(), "{secret}");
    }
}

#[tokio::test]
async fn a_command_has_a_time_limit_and_the_next_one_works() {
    let Some(machine) = Machine::start() else { return };
    let (devices, device) = (machine.devices(), machine.device("web-01"));
    let error = devices.run(&device, "sleep 600", Duration::from_millis(300)).await.unwrap_err();
    assert!(matches!(error, Error::Slow { .. }), "{error}");
    assert!(error.is_transient());
    assert_eq!(devices.run(&device, "true", LIMIT).await.unwrap().code, Some(0));
}

#[tokio::test]
async fn of_too_much_output_the_tail_is_kept() {
    let Some(machine) = Machine::start() else { return };
    let script = "echo head; head -c 5000000 /dev/zero | tr '\\0' x; echo; echo the end";
    let output = machine.devices().run(&machine.device("web-01"), script, LIMIT).await.unwrap();
    assert_eq!(output.stdout.len(), OUTPUT);
    assert!(output.stdout.ends_with(b"x\nthe end\n"));
    assert!(output.truncated);
}

#[tokio::test]
async fn a_connection_that_breaks_in_mid_command_is_an_error_and_no_answer() {
    let Some(machine) = Machine::start() else { return };
    let (devices, device) = (machine.devices(), machine.device("web-01"));
    let command = devices.run(&device, "echo begun; : > \"$EVENKEEL_ROOT/begun\"; sleep 60; echo done", LIMIT);
    let cut = async {
        while !machine.path("begun").exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        machine.cut();
    };
    let (result, ()) = tokio::join!(command, cut);
    assert!(matches!(result.unwrap_err(), Error::Broken(_)));
}

#[tokio::test]
async fn nobody_there_is_transient() {
    let Some(machine) = Machine::start() else { return };
    let mut device = machine.device("web-01");
    ssh(&mut device).port = 1;
    let error = machine.devices().run(&device, "true", LIMIT).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }) && error.is_transient(), "{error}");
    assert!(scan("127.0.0.1", 1).await.is_err());
}

#[tokio::test]
async fn a_scan_shows_every_host_key_with_its_fingerprint() {
    let Some(machine) = Machine::start() else { return };
    let mut found = scan("127.0.0.1", machine.port).await.unwrap();
    found.sort();
    let mut wanted: Vec<_> = ["ed25519", "ecdsa"].map(|kind| (machine.host_key(kind), fingerprint(&machine, kind))).into();
    wanted.sort();
    assert_eq!(found, wanted);
}

#[tokio::test]
async fn a_jump_host_leads_to_a_device_and_both_host_keys_count() {
    let (Some(bastion), Some(inner)) = (Machine::start(), Machine::start()) else { return };
    // Both accept the bastion's key.
    std::fs::copy(bastion.path("ssh/authorized"), inner.path("ssh/authorized")).unwrap();
    let (devices, jump) = (bastion.devices(), bastion.device("bastion"));
    let mut device = inner.device("web-01");
    ssh(&mut device).via = Some(Name::parse("bastion"));
    devices.update(desired(&[&jump, &device]), &BTreeSet::new()).await;
    let output = devices.run(&device, "echo \"$EVENKEEL_ROOT\"", LIMIT).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), inner.root.path().to_str().unwrap());

    // The way breaks: the next command finds another one.
    bastion.cut();
    let mut again = devices.run(&device, "true", LIMIT).await;
    if again.is_err() {
        again = devices.run(&device, "true", LIMIT).await;
    }
    assert_eq!(again.unwrap().code, Some(0));

    let mut strange = jump.clone();
    ssh(&mut strange).host_keys = vec![inner.host_key("ed25519")];
    let devices = bastion.devices();
    devices.update(desired(&[&strange, &device]), &BTreeSet::new()).await;
    let error = devices.run(&device, "true", LIMIT).await.unwrap_err();
    assert!(error.to_string().starts_with("through device bastion: the host key is not the pinned one"), "{error}");

    // Each other's jump hosts: an error at once, and no waiting for each other.
    let mut circle = jump.clone();
    ssh(&mut circle).via = Some(Name::parse("web-01"));
    let devices = bastion.devices();
    devices.update(desired(&[&circle, &device]), &BTreeSet::new()).await;
    let (one, other) = tokio::join!(devices.run(&device, "true", LIMIT), devices.run(&circle, "true", LIMIT));
    assert!(one.unwrap_err().to_string().contains("in a circle"));
    assert!(other.unwrap_err().to_string().contains("in a circle"));
}
