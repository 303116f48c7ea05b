//! Steps on a device: detached, found again, never twice, and taken back. Real sshd, real sh; files, archives and units.

mod common;

use std::io::Write as _;
use std::process::Command;
use std::time::Duration;

use common::{Machine, act, content, digest, file, recorded, restarted, step, text, work};
use devices::Devices;
use reconcile::content::Reboot;
use reconcile::rollout::WayBackSeen;
use reconcile::{
    Act as _, Action, Archive, Check, Content, Device, FileSource, ItemKey, ItemSeen, Observe as _, Package, Probe, StepId, Verdict,
};

/// A `systemctl` that keeps the state of units in files below the device's root, and writes down what it was told.
const SYSTEMCTL: &str = r#"u="$EVENKEEL_ROOT/units"; mkdir -p "$u"
echo "$*" >> "$EVENKEEL_ROOT/systemctl.log"
case "$1" in
  show) unit="$4"; [ "$2" = -p ] && unit="$4"; for last; do unit="$last"; done
    while [ $# -gt 1 ]; do [ "$1" = -p ] && case "$2" in
      ActiveState) echo "ActiveState=$(cat "$u/$unit" 2>/dev/null || echo inactive)" ;;
      SubState) echo "SubState=running" ;; NRestarts) echo "NRestarts=0" ;;
      LoadState) if [ -f "$u/$unit" ]; then echo LoadState=loaded; else echo LoadState=not-found; fi ;; esac; shift; done ;;
  restart|start|reload-or-restart) sleep "$(cat "$u/delay" 2>/dev/null || echo 0)"; cat "$u/$2.next" > "$u/$2" 2>/dev/null || echo active > "$u/$2" ;;
  stop) echo inactive > "$u/$2" ;;
  reboot) echo boot-2 > "$EVENKEEL_ROOT/etc/evenkeel-boot-id" ;;
  status) echo "$4: the program said so" ;;
esac"#;

fn machine() -> Option<(Machine, Devices, Device)> {
    let machine = Machine::start()?;
    machine.program("systemctl", SYSTEMCTL);
    let (devices, device) = (machine.devices(), machine.device("web-01"));
    Some((machine, devices, device))
}

fn id(number: u32) -> String {
    format!("{number:016x}")
}

fn restore(content: Content, undo: u32) -> Action {
    Action::Restore { work: work(2, content), undo: StepId(id(undo)) }
}

fn with_files(files: Vec<reconcile::File>) -> Content {
    Content { files, ..content() }
}

#[tokio::test]
async fn files_come_and_go_back_and_what_is_read_is_what_was_written() {
    let Some((machine, devices, device)) = machine() else { return };
    machine.write("etc/motd", "old");
    let new = with_files(vec![text("/etc/motd", "it's new\n"), text("/srv/a/b", "")]);
    let items: Vec<ItemKey> = new.items().collect();
    let before = devices.observe(&device, &items).await;
    assert_eq!(before.items[&ItemKey::file("/srv/a/b")], ItemSeen::Absent);
    assert!(!new.changes(&before).unwrap().is_empty());

    let mut first = step(&id(1), Action::Apply(work(2, new.clone())));
    first.expects = Some(before.fingerprint(&new));
    let outcome = act(&devices, &device, first.clone()).await;
    assert_eq!(outcome.verdict, Verdict::Done, "{}", outcome.message);
    let after = devices.observe(&device, &items).await;
    assert_eq!(new.changes(&after), Some(Vec::new()));
    assert_eq!(machine.read("etc/motd"), "it's new\n");

    // The same step again finds its end and does nothing: what was done by hand since then stays.
    machine.write("etc/motd", "by hand");
    assert_eq!(act(&devices, &device, first).await.verdict, Verdict::Done);
    assert_eq!(machine.read("etc/motd"), "by hand");

    // A step that expects another state does not begin.
    let mut second = step(&id(2), Action::Apply(work(2, new.clone())));
    second.expects = Some(before.fingerprint(&new));
    let outcome = act(&devices, &device, second).await;
    assert_eq!((outcome.verdict, outcome.message.contains("not as it was")), (Verdict::Refused, true));
    assert!(!machine.path("var/lib/evenkeel/steps").join(id(2)).exists());

    let outcome = act(&devices, &device, step(&id(3), restore(new, 1))).await;
    assert_eq!(outcome.verdict, Verdict::Done, "{}", outcome.message);
    assert_eq!(machine.read("etc/motd"), "old");
    assert!(!machine.path("srv/a/b").exists());
}

#[tokio::test]
async fn a_step_goes_on_when_the_connection_is_cut_and_is_found_again() {
    let Some((machine, devices, device)) = machine() else { return };
    machine.write("units/delay", "2");
    let new = Content { services: vec![restarted("app.service")], ..with_files(vec![text("/etc/app", "new")]) };
    let recorded = recorded(step(&id(1), Action::Apply(work(2, new)))).await;
    let cut = async {
        while !machine.path("systemctl.log").exists() || !machine.read("systemctl.log").contains("restart") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        machine.cut();
    };
    let (outcome, ()) = tokio::join!(devices.act(&device, &recorded), cut);
    // It looks once more by itself; if it was lost from sight all the same, the engine asks again.
    assert!(outcome.is_none_or(|outcome| outcome.verdict == Verdict::Done));
    // Another engine, as after a crash, finds the step too.
    let outcome = machine.devices().act(&device, &recorded).await.expect("found again");
    assert_eq!(outcome.verdict, Verdict::Done, "{}", outcome.message);
    assert_eq!(machine.read("systemctl.log").lines().filter(|line| *line == "restart app.service").count(), 1);
}

#[tokio::test]
async fn a_step_goes_on_when_the_engine_is_gone_and_the_next_one_waits_for_it() {
    let Some((machine, devices, device)) = machine() else { return };
    machine.write("units/delay", "2");
    let new = Content { services: vec![restarted("app.service")], ..content() };
    let recorded = recorded(step(&id(1), Action::Apply(work(2, new)))).await;
    // The engine goes away as soon as the step has begun, and its connection with it.
    let begun = async {
        while !machine.path("systemctl.log").exists() || !machine.read("systemctl.log").contains("restart") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        _ = devices.act(&device, &recorded) => panic!("it takes two seconds"),
        () = begun => {}
    }
    drop(devices);
    machine.cut();
    assert!(!machine.path("var/lib/evenkeel/steps").join(id(1)).join("code").exists());
    let outcome = machine.devices().act(&device, &recorded).await.expect("found again");
    assert_eq!(outcome.verdict, Verdict::Done, "{}", outcome.message);
    assert_eq!(machine.read("systemctl.log").lines().filter(|line| *line == "restart app.service").count(), 1);
}

#[tokio::test]
async fn two_engines_with_one_step_run_it_once() {
    let Some((machine, devices, device)) = machine() else { return };
    machine.write("units/delay", "1");
    let new = Content { services: vec![restarted("app.service")], ..content() };
    let recorded = recorded(step(&id(1), Action::Apply(work(2, new)))).await;
    let other = machine.devices();
    let (one, two) = tokio::join!(devices.act(&device, &recorded), other.act(&device, &recorded));
    for outcome in [one, two] {
        // One of them may have looked at the very moment in which the other one began.
        let outcome = match outcome {
            Some(outcome) => outcome,
            None => devices.act(&device, &recorded).await.unwrap(),
        };
        assert_eq!(outcome.verdict, Verdict::Done, "{}", outcome.message);
    }
    assert_eq!(machine.read("systemctl.log").lines().filter(|line| *line == "restart app.service").count(), 1);
}

#[tokio::test]
async fn a_power_cut_in_the_middle_is_a_failure_and_the_way_back_still_works() {
    let Some((machine, devices, device)) = machine() else { return };
    machine.write("etc/app", "old");
    machine.write("units/app.service", "active");
    machine.write("units/delay", "600");
    let new = Content { services: vec![restarted("app.service")], ..with_files(vec![text("/etc/app", "new")]) };
    let recorded = recorded(step(&id(1), Action::Apply(work(2, new.clone())))).await;
    let power = async {
        let at = machine.path("var/lib/evenkeel/steps").join(id(1));
        while !machine.path("systemctl.log").exists() || !machine.read("systemctl.log").contains("restart") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // The step's own process group, as it was started by setsid.
        let pid = std::fs::read_to_string(at.join("pid")).unwrap();
        kill_below(pid.trim());
        machine.write("etc/evenkeel-boot-id", "boot-2\n");
    };
    let (outcome, ()) = tokio::join!(devices.act(&device, &recorded), power);
    let outcome = outcome.expect("a look at it");
    assert_eq!(outcome.verdict, Verdict::Failed);
    assert!(outcome.message.contains("interrupted"), "{}", outcome.message);
    assert_eq!(machine.read("etc/app"), "new");

    machine.write("units/delay", "0");
    let outcome = act(&devices, &device, step(&id(2), restore(new, 1))).await;
    assert_eq!(outcome.verdict, Verdict::Done, "{}", outcome.message);
    assert_eq!(machine.read("etc/app"), "old");
    assert_eq!(machine.read("units/app.service"), "active\n");
}

/// Kills a process that this test's device started, and those below it.
fn kill_below(pid: &str) {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let _ = Command::new("kill").args(["-KILL", pid]).status();
    for child in children.split_whitespace() {
        kill_below(child);
    }
}

#[tokio::test]
async fn a_unit_that_fails_fails_the_step_with_its_own_words_and_goes_back_to_what_it_was() {
    let Some((machine, devices, device)) = machine() else { return };
    machine.write("units/app.service.next", "failed");
    let new = Content { services: vec![restarted("app.service")], ..with_files(vec![text("/etc/app", "bad")]) };
    let outcome = act(&devices, &device, step(&id(1), Action::Apply(work(2, new.clone())))).await;
    assert_eq!(outcome.verdict, Verdict::Failed);
    assert!(outcome.message.contains("app.service is failed/running"), "{}", outcome.message);
    assert!(outcome.message.contains("the program said so"), "{}", outcome.message);
    // It was not active before, so the way back stops it and asks no more of it.
    let outcome = act(&devices, &device, step(&id(2), restore(new, 1))).await;
    assert_eq!(outcome.verdict, Verdict::Done, "{}", outcome.message);
    assert_eq!(machine.read("units/app.service"), "inactive\n");
    assert!(!machine.path("etc/app").exists());
}

#[tokio::test]
async fn what_could_not_be_saved_is_not_touched() {
    let Some((machine, devices, device)) = machine() else { return };
    machine.write("etc/one", "old");
    std::fs::create_dir_all(machine.path("etc/two")).unwrap();
    let new = with_files(vec![text("/etc/one", "new"), text("/etc/two", "new")]);
    let outcome = act(&devices, &device, step(&id(1), Action::Apply(work(2, new.clone())))).await;
    assert_eq!((outcome.verdict, outcome.message.as_str()), (Verdict::Failed, "evenkeel: /etc/two is a folder"));
    assert_eq!(machine.read("etc/one"), "old");
    let outcome = act(&devices, &device, step(&id(2), restore(new.clone(), 1))).await;
    assert_eq!((outcome.verdict, outcome.message.contains("had changed nothing")), (Verdict::Done, true));
    // A step that never reached the device has nothing to undo either.
    let outcome = act(&devices, &device, step(&id(3), restore(new, 99))).await;
    assert_eq!((outcome.verdict, outcome.message.contains("had changed nothing")), (Verdict::Done, true));
    assert_eq!(machine.read("etc/one"), "old");
}

#[tokio::test]
async fn applying_a_revision_again_and_again_keeps_its_first_way_back() {
    let Some((machine, devices, device)) = machine() else { return };
    machine.write("etc/app", "old");
    let new = with_files(vec![text("/etc/app", "new")]);
    // As many steps as make the oldest ones go, each with a saved state of its own.
    for number in 1..=55 {
        assert_eq!(act(&devices, &device, step(&id(number), Action::Apply(work(2, new.clone())))).await.verdict, Verdict::Done);
    }
    let kept = std::fs::read_dir(machine.path("var/lib/evenkeel/steps")).unwrap().count();
    assert!((50..=52).contains(&kept), "{kept} steps are kept");
    assert!(!machine.path("var/lib/evenkeel/steps").join(id(2)).exists());
    let outcome = act(&devices, &device, step(&id(99), restore(new, 1))).await;
    assert_eq!(outcome.verdict, Verdict::Done, "{}", outcome.message);
    assert_eq!(machine.read("etc/app"), "old");
}

#[tokio::test]
async fn a_secret_reaches_the_file_and_nothing_else() {
    let Some((machine, devices, device)) = machine() else { return };
    machine.write("secrets/db/password", "correct horse");
    machine.program("systemctl", "[ \"$1\" != restart ] || { cat \"$EVENKEEL_ROOT/etc/db\"; exit 1; }");
    let source = FileSource::Secret { name: "db".into(), key: "password".into() };
    let new = Content { services: vec![restarted("db.service")], ..with_files(vec![file("/etc/db", source)]) };
    let outcome = act(&devices, &device, step(&id(1), Action::Apply(work(2, new)))).await;
    assert_eq!(machine.read("etc/db"), "correct horse");
    assert_eq!(outcome.verdict, Verdict::Failed);
    assert!(outcome.message.contains("***") && !outcome.message.contains("correct horse"), "{}", outcome.message);
    // The script that held it is gone, and what is left of the step is for root's eyes only.
    let at = machine.path("var/lib/evenkeel/steps").join(id(1));
    assert!(!at.join("script").exists());
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&at).unwrap().permissions()) & 0o777, 0o700);
}

/// Another store counts from the beginning again: neither its steps nor its revisions are those of the first one.
#[tokio::test]
async fn steps_of_another_log_are_others() {
    let Some((machine, devices, device)) = machine() else { return };
    machine.write("etc/app", "old");
    devices.belong_to("0a1b2c3d4e5f");
    let [first, second] = ["one", "two"].map(|what| with_files(vec![text("/etc/app", what)]));
    assert_eq!(act(&devices, &device, step(&id(1), Action::Apply(work(1, first)))).await.verdict, Verdict::Done);
    let devices = machine.devices();
    devices.belong_to("ffffffffffff");
    assert_eq!(act(&devices, &device, step(&id(1), Action::Apply(work(1, second.clone())))).await.verdict, Verdict::Done);
    assert_eq!(machine.read("etc/app"), "two");
    assert_eq!(machine.read("var/lib/evenkeel/undo/default_web").lines().count(), 2, "each has its way back");
    let outcome = act(&devices, &device, step(&id(2), restore(second, 1))).await;
    assert_eq!(outcome.verdict, Verdict::Done, "{}", outcome.message);
    assert_eq!(machine.read("etc/app"), "one");
}

/// What is cut off or taken out of a message must not hide a secret's rest from the masking.
#[tokio::test]
async fn no_part_of_a_secret_is_told() {
    let Some((machine, devices, device)) = machine() else { return };
    machine.program("systemctl", "[ \"$1\" != restart ] || { cat \"$EVENKEEL_ROOT/etc/db\"; exit 1; }");
    for (number, length) in [(1, 10), (2, 3_000), (3, 30_000)] {
        machine.write("secrets/db/password", &format!("correct\thorse\n{}\nthe last line", "x7".repeat(length)));
        let source = FileSource::Secret { name: "db".into(), key: "password".into() };
        let new = Content { services: vec![restarted("db.service")], ..with_files(vec![file("/etc/db", source)]) };
        let outcome = act(&devices, &device, step(&id(number), Action::Apply(work(number, new)))).await;
        assert_eq!(outcome.verdict, Verdict::Failed);
        assert!(outcome.message.contains("***"), "{length}: {}", outcome.message);
        for part in ["x7x7", "correct", "last"] {
            assert!(!outcome.message.contains(part), "{length}: {}", outcome.message);
        }
    }
}

/// Serves one body to every request, on a loopback port.
fn serve(body: Vec<u8>) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 1024];
            let _ = std::io::Read::read(&mut stream, &mut request);
            let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len()).as_bytes());
            let _ = stream.write_all(&body);
        }
    });
    format!("http://127.0.0.1:{port}/app.tar.gz")
}

/// An archive with one file in it.
fn archive(machine: &Machine, said: &str) -> Archive {
    machine.write("build/app", said);
    let done = Command::new("tar")
        .args(["-czf"])
        .arg(machine.path("app.tar.gz"))
        .arg("-C")
        .arg(machine.path("build"))
        .arg("app")
        .status()
        .unwrap();
    assert!(done.success());
    let bytes = std::fs::read(machine.path("app.tar.gz")).unwrap();
    Archive { sha256: digest(&bytes), url: serve(bytes), into: "/opt/app".into() }
}

#[tokio::test]
async fn an_archive_is_unpacked_beside_switched_in_and_switched_back() {
    let Some((machine, devices, device)) = machine() else { return };
    let of = |archive: &Archive| Content { packages: vec![Package::Archive(archive.clone())], ..content() };
    let (one, two) = (archive(&machine, "one"), archive(&machine, "two"));
    let outcome = act(&devices, &device, step(&id(1), Action::Apply(work(1, of(&one))))).await;
    assert_eq!(outcome.verdict, Verdict::Done, "{}", outcome.message);
    assert_eq!(machine.read("opt/app/current/app"), "one");

    let outcome = act(&devices, &device, step(&id(2), Action::Prepare(work(2, of(&two))))).await;
    assert_eq!((outcome.verdict, outcome.way_back), (Verdict::Done, WayBackSeen::Proven), "{}", outcome.message);
    assert_eq!(machine.read("opt/app/current/app"), "one", "preparing changes nothing that serves");

    let outcome = act(&devices, &device, step(&id(3), Action::Apply(work(2, of(&two))))).await;
    assert_eq!(outcome.verdict, Verdict::Done, "{}", outcome.message);
    assert_eq!(machine.read("opt/app/current/app"), "two");
    let seen = devices.observe(&device, &[ItemKey::archive("/opt/app")]).await;
    assert_eq!(seen.items[&ItemKey::archive("/opt/app")], ItemSeen::Archive { sha256: two.sha256.clone() });

    let outcome = act(&devices, &device, step(&id(4), restore(of(&two), 3))).await;
    assert_eq!(outcome.verdict, Verdict::Done, "{}", outcome.message);
    assert_eq!(machine.read("opt/app/current/app"), "one");

    let wrong = Archive { sha256: digest(b"something else"), ..two };
    let outcome = act(&devices, &device, step(&id(5), Action::Prepare(work(3, of(&wrong))))).await;
    assert_eq!((outcome.verdict, outcome.message.contains("its SHA-256 is")), (Verdict::Failed, true), "{}", outcome.message);
}

#[tokio::test]
async fn a_reboot_is_proven_by_another_boot_id() {
    let Some((machine, devices, device)) = machine() else { return };
    let new = Content { reboot: Reboot::Always, ..with_files(vec![text("/etc/app", "new")]) };
    let outcome = act(&devices, &device, step(&id(1), Action::Apply(work(2, new.clone())))).await;
    assert_eq!(outcome.reboot_from.as_deref(), Some("boot-1"), "{}", outcome.message);
    let boot_id = devices.observe(&device, &[]).await.boot_id;
    assert_eq!(boot_id, "boot-1");
    let outcome = act(&devices, &device, step(&id(2), Action::Reboot { work: work(2, new.clone()), boot_id })).await;
    assert_eq!(outcome.verdict, Verdict::Done, "{}", outcome.message);
    assert_eq!(machine.read("etc/evenkeel-boot-id"), "boot-2\n");

    let wanted = Content { reboot: Reboot::IfRequired, ..new };
    let outcome = act(&devices, &device, step(&id(3), Action::Apply(work(3, wanted.clone())))).await;
    assert_eq!(outcome.reboot_from, None);
    machine.write("run/reboot-required", "");
    let outcome = act(&devices, &device, step(&id(4), Action::Apply(work(4, wanted)))).await;
    assert_eq!(outcome.reboot_from.as_deref(), Some("boot-2"));
}

#[tokio::test]
async fn checks_before_and_after_decide() {
    let Some((machine, devices, device)) = machine() else { return };
    let check = |command: &str| {
        let check = Check::Ssh { command: command.into(), exit_code: 0 };
        let second = jiff::SignedDuration::from_secs(5);
        vec![Probe { name: "ready".into(), check, interval: second, timeout: second, failures: 3, successes: 2, way: Default::default() }]
    };
    let bad = Content { before: check("echo not now; exit 3"), ..with_files(vec![text("/etc/app", "new")]) };
    let outcome = act(&devices, &device, step(&id(1), Action::Prepare(work(2, bad)))).await;
    assert_eq!((outcome.verdict, outcome.message.as_str()), (Verdict::Failed, "check ready before the change: exit code 3: not now"));
    let mut short = work(2, Content { after: check("exit 4"), ..with_files(vec![text("/etc/app", "new")]) });
    short.deadline_seconds = 1;
    let outcome = act(&devices, &device, step(&id(2), Action::Apply(short))).await;
    assert_eq!((outcome.verdict, outcome.message.as_str()), (Verdict::Failed, "check ready after the change: exit code 4: "));
    let good = Content {
        before: check("true"),
        after: check("grep -q new \"$EVENKEEL_ROOT/etc/app\""),
        ..with_files(vec![text("/etc/app", "new")])
    };
    assert_eq!(act(&devices, &device, step(&id(3), Action::Prepare(work(3, good.clone())))).await.verdict, Verdict::Done);
    assert_eq!(act(&devices, &device, step(&id(4), Action::Apply(work(3, good)))).await.verdict, Verdict::Done);
    assert_eq!(machine.read("etc/app"), "new");
}

#[tokio::test]
async fn a_device_that_cannot_be_written_to_says_so() {
    let Some((machine, devices, device)) = machine() else { return };
    // A file where the folder of steps should be: even root can't make it.
    machine.write("var/lib/evenkeel/steps", "");
    let outcome = act(&devices, &device, step(&id(1), Action::Apply(work(2, with_files(vec![text("/etc/app", "new")]))))).await;
    assert_eq!(outcome.verdict, Verdict::Refused);
    assert!(outcome.message.contains("cannot make"), "{}", outcome.message);
}

#[tokio::test]
async fn what_is_removed_is_gone() {
    let Some((machine, devices, device)) = machine() else { return };
    let new = with_files(vec![text("/etc/app", "new")]);
    act(&devices, &device, step(&id(1), Action::Apply(work(2, new.clone())))).await;
    let outcome = act(&devices, &device, step(&id(2), Action::Remove(work(2, new)))).await;
    assert_eq!(outcome.verdict, Verdict::Done, "{}", outcome.message);
    assert!(!machine.path("etc/app").exists());
}
