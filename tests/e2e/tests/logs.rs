//! Lines of logs from a real journal and by syslog, into an archive and back, with kills in between.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use e2e::engine::Engine;
use e2e::wait_until;
use serde_json::Value;

const MAKER: &str = "/usr/lib/systemd/systemd-journal-remote";

struct World {
    engine: Engine,
    folder: tempfile::TempDir,
    port: u16,
    now: i64,
}

fn binary() -> PathBuf {
    std::env::var("EVENKEEL_BIN").expect("EVENKEEL_BIN names no evenkeel: run the tests by `cargo xtask test`").into()
}

/// A local device whose journal is one of ours, one that should send nothing, and a place for syslog.
fn world() -> Option<World> {
    if !Path::new(MAKER).exists() || !Path::new("/usr/bin/journalctl").exists() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "systemd-journal-remote is missing, and in CI nothing is skipped");
        eprintln!("SKIPPED: systemd-journal-remote or journalctl is not installed");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "none").unwrap();
    let mut engine = Engine::with(&binary(), folder.path(), &key).unwrap();
    let device = |name: &str, spec: &str| {
        format!("apiVersion: evenkeel.dev/v1alpha1\nkind: Device\nmetadata: {{name: {name}}}\nspec:\n  type: Server\n{spec}")
    };
    let here = "  address: box.example.org\n  access: {local: {}}\n  logs: {journald: {interval: 5s}}\n";
    engine.commit("here.yaml", &device("here", here), "a device").unwrap();
    engine.commit("mute.yaml", &device("mute", "  address: 127.0.0.1\n  logs: {syslog: false}\n"), "another").unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let archive = folder.path().join("archive");
    engine.arguments =
        vec![format!("--syslog-tcp=127.0.0.1:{port}"), format!("--log-archive={}", archive.display()), "--log-size=16Mi".into()];
    let bin = folder.path().join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::create_dir_all(folder.path().join("journal")).unwrap();
    let program = bin.join("journalctl");
    let script = format!("#!/bin/sh\nexec /usr/bin/journalctl --directory={} \"$@\"\n", folder.path().join("journal").display());
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    engine.environment = vec![("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()))];
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros();
    Some(World { engine, folder, port, now: i64::try_from(now).unwrap() - 300_000_000 })
}

impl World {
    /// Adds entries to the device's journal.
    fn journal(&mut self, messages: std::ops::Range<usize>) {
        let mut text = String::new();
        for number in messages {
            self.now += 1000;
            let now = self.now;
            text += &format!(
                "__REALTIME_TIMESTAMP={now}\n__MONOTONIC_TIMESTAMP={now}\n_BOOT_ID=0123456789abcdef0123456789abcdef\n_HOSTNAME=box\nPRIORITY=4\nSYSLOG_IDENTIFIER=app\nMESSAGE=entry {number}\n\n"
            );
        }
        let source = self.folder.path().join("export");
        std::fs::write(&source, text).unwrap();
        let made = Command::new(MAKER).arg("-o").arg(self.folder.path().join("journal/a.journal")).arg(source).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    fn send(&self, lines: impl Iterator<Item = String>) {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(lines.collect::<String>().as_bytes()).unwrap();
    }

    fn lines(&self, arguments: &[&str]) -> Vec<Value> {
        let text = self.engine.text(&[&["logs", "-o", "json", "--limit", "1000"], arguments].concat()).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    fn until(&self, what: &str, look: impl Fn() -> Result<(), String>) {
        wait_until(what, Duration::from_secs(90), look).unwrap_or_else(|error| panic!("{error}\n{}", self.engine.tail()));
    }

    fn until_read(&self, many: usize) {
        self.until("lines of the journal", || match self.lines(&["device/here"]).len() {
            there if there == many => Ok(()),
            there => Err(format!("{there} of {many}")),
        });
    }
}

#[test]
fn a_journal_is_read_once_whatever_is_killed() {
    let Some(mut world) = world() else { return };
    world.journal(0..300);
    world.engine.start().unwrap();
    world.until_read(300);
    world.journal(300..400);
    world.engine.kill().unwrap();
    world.journal(400..450);
    world.engine.start().unwrap();
    world.until_read(450);
    let said: Vec<String> = world.lines(&["device/here"]).iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect();
    assert_eq!(said, (0..450).map(|number| format!("entry {number}")).collect::<Vec<_>>());
    let line = &world.lines(&["device/here"])[0];
    assert_eq!(
        (&line["program"], &line["severity"], &line["address"], &line["host"]),
        (&"app".into(), &4.into(), &"journald".into(), &"box".into())
    );

    // The file with the place goes away.
    std::fs::remove_file(world.folder.path().join("journal/a.journal")).unwrap();
    world.journal(450..452);
    world.until_read(453);
    let lines = world.lines(&["device/here", "--grep", "vacuumed"]);
    assert_eq!((lines.len(), &lines[0]["program"]), (1, &"evenkeel".into()));

    // Who should send nothing is kept apart, with who is not known.
    world.send(std::iter::once("<13>1 - elsewhere.example.org app - - - hello\n".to_owned()));
    world.until("the sender", || {
        let text = world.engine.text(&["logs", "senders"]).unwrap();
        let said =
            text.contains("elsewhere.example.org") && text.contains("device/mute, that should send nothing") && text.contains("JOURNAL OF");
        if said { Ok(()) } else { Err(text) }
    });
    assert_eq!(world.lines(&["device/mute"]).len(), 0);
    assert_eq!(world.lines(&["--unknown"]).len(), 1);
    let declared = world.engine.text(&["logs", "senders", "--declare", "127.0.0.1"]).unwrap();
    assert!(declared.contains("  name: elsewhere\n"), "{declared}");
}

/// 16 MiB are far less than what comes: lines are archived, removed, and none is lost or there twice.
#[test]
fn lines_are_archived_before_they_go_whatever_is_killed() {
    let Some(mut world) = world() else { return };
    world.engine.arguments.push("--syslog-rate=1000000".into());
    world.engine.start().unwrap();
    let many = 60_000;
    let archive = world.folder.path().join("archive");
    let segments = || {
        std::fs::read_dir(&archive).unwrap().filter(|file| file.as_ref().unwrap().file_name().to_string_lossy().ends_with(".gz")).count()
    };
    let text = "word ".repeat(60);
    for part in 0..2 {
        let before = segments();
        world.send((0..many / 2).map(|number| format!("<13>1 - gw app - - - line{} {text}\n", part * many / 2 + number)));
        let wanted = (part + 1) * many / 2;
        world.until("all lines stored", || {
            let newest = world.lines(&["--unknown"]);
            let number = newest.last().map_or(0, |line| line["number"].as_u64().unwrap());
            if number == wanted as u64 { Ok(()) } else { Err(format!("{number} of {wanted}")) }
        });
        world.until("a segment", || if segments() > before { Ok(()) } else { Err("none".into()) });
        // In the middle of whatever it is doing with it.
        world.engine.kill().unwrap();
        world.engine.start().unwrap();
    }
    world.until("what is too much to go", || {
        let there = world.engine.text(&["logs", "--unknown", "--grep", "line0"]).unwrap();
        if there.is_empty() { Ok(()) } else { Err(there) }
    });
    let export = world.folder.path().join("export.jsonl");
    world.engine.text(&["audit", "export", "--file", export.to_str().unwrap()]).unwrap();
    let key = world.engine.data.join("audit.pub");
    let verify = || {
        let mut command = Command::new(binary());
        command.args(["logs", "archive", "verify"]).arg(&archive).arg("--export").arg(&export).arg("--key").arg(&key).output().unwrap()
    };
    let proven = verify();
    assert!(proven.status.success(), "{}{}", String::from_utf8_lossy(&proven.stdout), String::from_utf8_lossy(&proven.stderr));

    // Each line is in the archive or in the store; the archive has each of its own once.
    let restored = Command::new(binary()).args(["logs", "archive", "restore"]).arg(&archive).output().unwrap();
    assert!(restored.status.success());
    let numbers: Vec<u64> = String::from_utf8(restored.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["number"].as_u64().unwrap())
        .collect();
    let unique: BTreeSet<u64> = numbers.iter().copied().collect();
    assert_eq!(unique.len(), numbers.len(), "a line is there twice");
    let (first, last) = (unique.first().copied(), unique.last().copied());
    assert_eq!((first, last), (Some(1), Some(numbers.len() as u64)), "of {many}");
    let found = Command::new(binary()).args(["logs", "--unknown", "--grep", "line12345", "--archive"]).arg(&archive).output().unwrap();
    assert!(String::from_utf8_lossy(&found.stdout).contains(" app: line12345 word word"), "{found:?}");

    // One byte, of a segment that was recorded: one that was being written as the engine was killed is not.
    let recorded = std::fs::read_to_string(&export).unwrap();
    let is_recorded =
        |path: &PathBuf| path.extension().is_some_and(|end| end == "gz") && recorded.contains(path.file_name().unwrap().to_str().unwrap());
    let file = std::fs::read_dir(&archive).unwrap().map(|file| file.unwrap().path()).find(is_recorded).unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let wrong = verify();
    assert!(!wrong.status.success() && String::from_utf8_lossy(&wrong.stdout).contains("it was changed: its SHA-256 is"), "{wrong:?}");
}
