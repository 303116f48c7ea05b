//! Accounts on a device: made, kept, taken off, and undone unless somebody can still log in. Real sshd and real sh; who keeps accounts and
//! sudo's rules is a stand-in, since only root has them. On real machines: `tests/e2e/tests/logins.rs`.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use common::{Machine, act, content, recorded, step, work};
use devices::Devices;
use reconcile::rollout::WayBackSeen;
use reconcile::{Account, Act as _, Action, Content, Device, ItemSeen, Observe as _, Outcome, StepId, Verdict};

const PROGRAMS: [(&str, &str); 7] = [
    ("getent", include_str!("../../simfleet/src/stand-ins/getent.sh")),
    ("useradd", include_str!("../../simfleet/src/stand-ins/useradd.sh")),
    ("usermod", include_str!("../../simfleet/src/stand-ins/usermod.sh")),
    ("setpriv", include_str!("../../simfleet/src/stand-ins/setpriv.sh")),
    ("visudo", include_str!("../../simfleet/src/stand-ins/visudo.sh")),
    ("id", include_str!("../../simfleet/src/stand-ins/id.sh")),
    ("chown", "exit 0"),
];
const KEYS: &str = "home/alice/.ssh/authorized_keys";
const RULES: &str = "etc/sudoers.d/evenkeel-alice";

struct World {
    machine: Machine,
    devices: Devices,
    device: Device,
    steps: u32,
}

impl World {
    fn start() -> Option<Self> {
        let machine = Machine::start()?;
        PROGRAMS.iter().for_each(|(name, script)| machine.program(name, script));
        fs::create_dir_all(machine.path("etc/sudoers.d")).unwrap();
        fs::create_dir_all(machine.path("home")).unwrap();
        let (devices, mut device) = (machine.devices(), machine.device("web-01"));
        // The test's own user may well be `alice`.
        assert_ne!(common::ssh(&mut device).user, "alice");
        Some(Self { machine, devices, device, steps: 0 })
    }

    fn id(number: u32) -> String {
        format!("{number:016x}")
    }

    async fn act(&mut self, action: Action) -> Outcome {
        self.steps += 1;
        act(&self.devices, &self.device, step(&Self::id(self.steps), action)).await
    }

    async fn must(&mut self, action: Action) -> Outcome {
        let outcome = self.act(action).await;
        assert_eq!(outcome.verdict, Verdict::Done, "{}", outcome.message);
        outcome
    }

    async fn seen(&self, content: &Content) -> ItemSeen {
        let items: Vec<_> = content.items().collect();
        let seen = self.devices.observe(&self.device, &items).await;
        seen.items.get(&items[0]).cloned().unwrap_or_else(|| panic!("not seen: {:?}", seen.contact))
    }

    fn is_there(&self, path: &str) -> bool {
        self.machine.path(path).exists()
    }

    /// Waits until the newest step waits for somebody to log in.
    async fn waits(&self, step: u32) {
        let mark = self.machine.path("var/lib/evenkeel/steps").join(Self::id(step)).join("confirm");
        for _ in 0..2000 {
            if mark.exists() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("step {step} never waited");
    }
}

fn login(user: &str, keys: &[&str], sudo: &[&str]) -> Content {
    let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let account = Account { user: user.into(), authorized_keys: list(keys), sudo: list(sudo) };
    Content { accounts: vec![account], ..content() }
}

/// Who waits in the home of an account and can't be ended, such as for a file system of its owner's, is left behind, and is the only one.
#[tokio::test]
async fn whoever_hangs_in_a_home_keeps_nothing() {
    let Some(mut world) = World::start() else { return };
    let login = login("alice", &["ssh-ed25519 AAAA alice"], &["/usr/bin/id"]);
    world.must(Action::Apply(work(1, login.clone()))).await;
    // Only what is done in a home has to end by SIGKILL.
    world.machine.program("timeout", "[ \"$1\" != -s ] || exec sleep 60\nexec /usr/bin/timeout \"$@\"");
    world.must(Action::Remove(work(1, login.clone()))).await;
    assert!(!world.is_there(RULES) && world.machine.read("etc/shadow").contains("alice:!*:"), "{}", world.machine.read("etc/shadow"));
    assert!(world.is_there("var/lib/evenkeel/stuck.1000"));
    assert!(matches!(world.seen(&login).await, ItemSeen::Account { locked: true, .. }), "the device is read all the same");
}

#[tokio::test]
async fn an_account_comes_is_kept_and_goes() {
    let Some(mut world) = World::start() else { return };
    let first = login("alice", &["ssh-ed25519 AAAA alice", "ssh-rsa BBBB"], &["/usr/bin/systemctl restart nginx"]);
    assert_eq!(world.seen(&first).await, ItemSeen::Absent);
    assert_eq!(world.must(Action::Prepare(work(1, first.clone()))).await.way_back, WayBackSeen::Proven);
    world.must(Action::Apply(work(1, first.clone()))).await;
    assert_eq!(world.seen(&first).await, first.accounts[0].seen());
    assert_eq!(world.machine.read(KEYS), first.accounts[0].keys_file());
    assert_eq!(world.machine.read(RULES), first.accounts[0].sudoers_file().unwrap());
    let mode = |path: &str| fs::metadata(world.machine.path(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(RULES), mode(KEYS)), (0o440, 0o600));
    assert!(world.machine.read("etc/passwd").starts_with("alice:x:1000:"), "{}", world.machine.read("etc/passwd"));

    // A key that somebody adds is seen.
    world.machine.write(KEYS, &format!("{}ssh-rsa CCCC eve\n", first.accounts[0].keys_file()));
    assert_ne!(world.seen(&first).await, first.accounts[0].seen());
    // Fewer keys, and no rules any more; and back again.
    let second = login("alice", &["ssh-rsa BBBB"], &[]);
    world.must(Action::Apply(work(2, second.clone()))).await;
    assert_eq!(world.seen(&second).await, second.accounts[0].seen());
    assert!(!world.is_there(RULES));
    let undo = StepId(World::id(world.steps));
    world.must(Action::Restore { work: work(2, second), undo }).await;
    assert!(world.machine.read(KEYS).ends_with("ssh-rsa CCCC eve\n"), "what was there is back, whatever it was");
    assert!(world.is_there(RULES));

    // Whatever she puts there: what can't even be read takes nothing from anybody.
    fs::remove_file(world.machine.path(KEYS)).unwrap();
    std::os::unix::fs::symlink("/proc/self/mem", world.machine.path(KEYS)).unwrap();
    world.must(Action::Remove(work(1, first.clone()))).await;
    assert_eq!(world.seen(&first).await, ItemSeen::Absent);
    assert!(!world.is_there(KEYS) && !world.is_there(RULES) && world.is_there("home/alice"));
    assert!(world.machine.read("etc/shadow").contains("alice:!*:19700:0:99999:7::1:"), "{}", world.machine.read("etc/shadow"));
    // Who comes back is who they were.
    world.must(Action::Prepare(work(3, first.clone()))).await;
    world.must(Action::Apply(work(3, first.clone()))).await;
    assert_eq!(world.seen(&first).await, first.accounts[0].seen());
    assert!(world.machine.read("etc/shadow").contains("alice:*:19700:0:99999:7:::"), "{}", world.machine.read("etc/shadow"));
}

/// An account that was there before us gets back what it had.
#[tokio::test]
async fn who_was_there_before_stays() {
    let Some(mut world) = World::start() else { return };
    world.machine.write("etc/passwd", "alice:x:1500:1500:Alice:/home/alice:/bin/sh\n");
    world.machine.write("etc/shadow", "alice:$6$secret:19700:0:99999:7::30000:\n");
    world.machine.write(KEYS, "ssh-rsa OLD alice@home\n");
    let wanted = login("alice", &["ssh-ed25519 AAAA"], &["ALL"]);
    world.must(Action::Prepare(work(1, wanted.clone()))).await;
    world.must(Action::Apply(work(1, wanted.clone()))).await;
    assert_eq!(world.seen(&wanted).await, wanted.accounts[0].seen());
    let more = login("alice", &["ssh-ed25519 AAAA", "ssh-ed25519 BBBB"], &["ALL"]);
    world.must(Action::Apply(work(2, more.clone()))).await;
    world.must(Action::Remove(work(2, more))).await;
    assert_eq!(world.machine.read(KEYS), "ssh-rsa OLD alice@home\n");
    assert_eq!(world.machine.read("etc/shadow"), "alice:$6$secret:19700:0:99999:7::30000:\n");
    assert!(!world.is_there(RULES) && !world.is_there("var/lib/evenkeel/accounts/alice"));
}

/// An account of a login that has another name now goes as the new one comes.
#[tokio::test]
async fn the_account_of_before_goes_with_the_new_one() {
    let Some(mut world) = World::start() else { return };
    let (alice, bob) = (login("alice", &["ssh-ed25519 AAAA"], &["ALL"]), login("bob", &["ssh-ed25519 AAAA"], &[]));
    world.must(Action::Apply(work(1, alice.clone()))).await;
    world.must(Action::Apply(work(2, bob.clone()))).await;
    assert_eq!((world.seen(&alice).await, world.seen(&bob).await), (ItemSeen::Absent, bob.accounts[0].seen()));
    assert!(!world.is_there(RULES));
    // And the way back leads to the one before.
    let undo = StepId(World::id(2));
    world.must(Action::Restore { work: work(2, bob.clone()), undo }).await;
    assert_eq!((world.seen(&alice).await, world.seen(&bob).await), (alice.accounts[0].seen(), ItemSeen::Absent));
}

/// What can't be had is said before anything is changed.
#[tokio::test]
async fn what_is_the_systems_own_is_left_alone() {
    let Some(mut world) = World::start() else { return };
    world.machine.write(
        "etc/passwd",
        "backup:x:34:34::/var/backups:/bin/sh\ntoor:x:0:0::/root:/bin/sh\nhomeless:x:1500:1500::/home/homeless:/bin/sh\nshut:x:1501:1501::/home/shut:/usr/sbin/nologin\n",
    );
    world.machine.write("home/shut/x", "");
    world.machine.write("etc/group", "docker:x:999:\n");
    let passwd = world.machine.read("etc/passwd");
    for (user, why) in [
        ("backup", "backup is an account of the system (uid 34)"),
        ("toor", "toor is an account of the system (uid 0)"),
        ("homeless", "homeless has no home"),
        ("shut", "shut can't log in"),
        ("docker", "there is a group docker"),
    ] {
        let outcome = world.act(Action::Prepare(work(1, login(user, &["ssh-ed25519 AAAA"], &[])))).await;
        assert_eq!((outcome.verdict, outcome.message.contains(why)), (Verdict::Failed, true), "{user}: {}", outcome.message);
    }
    world.machine.program("visudo", "echo '/etc/sudoers:7:1: syntax error'; exit 1");
    let outcome = world.act(Action::Prepare(work(1, login("alice", &["ssh-ed25519 AAAA"], &["ALL"])))).await;
    assert_eq!((outcome.verdict, outcome.message.contains("sudo's own rules are broken")), (Verdict::Failed, true), "{}", outcome.message);
    world.must(Action::Prepare(work(1, login("alice", &["ssh-ed25519 AAAA"], &[])))).await;
    assert_eq!(world.machine.read("etc/passwd"), passwd);

    // The engine's own account is refused by whoever does the step, too.
    let own = common::user();
    let outcome = world.act(Action::Apply(work(1, login(&own, &["ssh-ed25519 AAAA"], &[])))).await;
    assert_eq!((outcome.verdict, outcome.message.contains("by which the engine logs in")), (Verdict::Refused, true), "{}", outcome.message);
}

/// Sudo's rules that turn out to be broken once they are in place are out again at once, and the keys too.
#[tokio::test]
async fn rules_that_break_sudo_are_taken_back() {
    let Some(mut world) = World::start() else { return };
    let first = login("alice", &["ssh-ed25519 AAAA"], &["/bin/a"]);
    world.must(Action::Apply(work(1, first.clone()))).await;
    let broken = "[ \"${2##*/}\" = sudoers ] && grep -q /bin/b \"$EVENKEEL_ROOT/etc/sudoers.d/evenkeel-alice\" && { echo 'parse error near b'; exit 1; }";
    world.machine.program("visudo", &format!("{broken}\n{}", PROGRAMS[4].1));
    let outcome = world.act(Action::Apply(work(2, login("alice", &["ssh-ed25519 BBBB"], &["/bin/b"])))).await;
    assert_eq!(
        (outcome.verdict, outcome.message.contains("what was there before is back")),
        (Verdict::Failed, true),
        "{}",
        outcome.message
    );
    assert!(outcome.message.contains("parse error near b"), "{}", outcome.message);
    assert_eq!(world.seen(&first).await, first.accounts[0].seen());
}

/// Nobody can log in any more after a change: the connection that was open all the while proves nothing, and the device undoes it.
#[tokio::test]
async fn a_change_after_which_nobody_can_log_in_undoes_itself() {
    let Some(mut world) = World::start() else { return };
    let first = login("alice", &["ssh-ed25519 AAAA"], &[]);
    world.must(Action::Apply(work(1, first.clone()))).await;
    let keys = world.machine.read("ssh/authorized");
    let next = recorded(step(&World::id(2), Action::Apply(work(2, login("alice", &["ssh-ed25519 BBBB"], &["ALL"]))))).await;
    let shut = async {
        world.waits(2).await;
        assert!(world.is_there(RULES));
        world.machine.write("ssh/authorized", "");
    };
    let (outcome, ()) = tokio::join!(world.devices.act(&world.device, &next), shut);
    // It may be that it was just about to log in.
    world.machine.write("ssh/authorized", &keys);
    let outcome = outcome.expect("the connection that was open stays");
    assert_eq!(
        (outcome.verdict, outcome.message.contains("undone: the engine could not log in")),
        (Verdict::Failed, true),
        "{}",
        outcome.message
    );
    assert_eq!(world.seen(&first).await, first.accounts[0].seen());

    // The same with a removal: who was to lose the account keeps it, and that is said.
    let next = recorded(step(&World::id(3), Action::Remove(work(1, first.clone())))).await;
    let shut = async {
        world.waits(3).await;
        world.machine.write("ssh/authorized", "");
    };
    let (outcome, ()) = tokio::join!(world.devices.act(&world.device, &next), shut);
    world.machine.write("ssh/authorized", &keys);
    assert_eq!(outcome.map(|outcome| outcome.verdict), Some(Verdict::Failed));
    assert_eq!(world.seen(&first).await, first.accounts[0].seen());
}

/// The engine is killed while a change waits: the next one finds it waiting and logs in, or finds it undone.
#[tokio::test]
async fn a_change_that_waits_survives_the_engine() {
    let Some(world) = World::start() else { return };
    let first = login("alice", &["ssh-ed25519 AAAA"], &[]);
    let one = recorded(step(&World::id(1), Action::Apply(work(1, first.clone())))).await;
    // No key: it can start nothing that it then could say yes to.
    let keys = world.machine.read("ssh/authorized");
    let killed = async {
        world.waits(1).await;
        world.machine.write("ssh/authorized", "");
    };
    tokio::select! {
        _ = world.devices.act(&world.device, &one) => panic!("it ended"),
        () = killed => {}
    }
    world.machine.write("ssh/authorized", &keys);
    let outcome = world.machine.devices().act(&world.device, &one).await.expect("found again");
    assert_eq!(outcome.verdict, Verdict::Done, "{}", outcome.message);
    assert_eq!(world.seen(&first).await, first.accounts[0].seen());

    let second = recorded(step(&World::id(2), Action::Apply(work(2, login("alice", &["ssh-ed25519 BBBB"], &[]))))).await;
    let killed = async {
        world.waits(2).await;
        world.machine.write("ssh/authorized", "");
    };
    tokio::select! {
        _ = world.devices.act(&world.device, &second) => panic!("it ended"),
        () = killed => {}
    }
    let code = world.machine.path("var/lib/evenkeel/steps").join(World::id(2)).join("code");
    for _ in 0..6000 {
        if code.exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    world.machine.write("ssh/authorized", &keys);
    let outcome = world.machine.devices().act(&world.device, &second).await.expect("found again");
    assert_eq!((outcome.verdict, outcome.message.contains("undone")), (Verdict::Failed, true), "{}", outcome.message);
    assert_eq!(world.seen(&first).await, first.accounts[0].seen());
}
