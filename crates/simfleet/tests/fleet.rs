//! The simulated fleet as our devices crate sees it: over real SSH, with the very scripts that it sends to real machines.

#[path = "../../devices/tests/common/mod.rs"]
mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{act, content, desired, digest, file, restarted, step, text, work};
use devices::{Devices, Secrets, probe};
use reconcile::content::Reboot;
use reconcile::outcome::Outcome;
use reconcile::rollout::WayBackSeen;
use reconcile::{
    Access, Action, Apt, Archive, Check, Content, Device, FileSource, HttpCheck, ItemKey, ItemSeen, Observe as _, Package, Probe,
    ProbeCode, StepId, Verdict,
};
use simfleet::{Fleet, Port, Setup, Simulated, Speaks};

const CATALOGUE: &str = "app 1.0 depends=lib=1.0 unit=app.service
app 2.0 depends=lib=2.0 unit=app.service
app 3.0 depends=lib=2.0 depends=extra=1:5 unit=app.service dies-after=2
lib 1.0
lib 2.0
extra 1:5
broken 1.0 fails=the_database_said_no
";

/// A fleet with one device, as the engine has it.
struct World {
    fleet: Fleet,
    simulated: Arc<Simulated>,
    devices: Devices,
    device: Device,
    steps: u32,
    folder: tempfile::TempDir,
}

impl World {
    fn start(setup: &Setup) -> Self {
        let folder = tempfile::Builder::new().prefix("ek-fleet-").tempdir().unwrap();
        let fleet = Fleet::start(folder.path(), &CATALOGUE.parse().unwrap()).unwrap();
        let simulated = fleet.add("web-01", setup).unwrap();
        let devices = Devices::new(Secrets::new(fleet.secrets()), &folder.path().join("cache"));
        let device = simulated.declared();
        Self { fleet, simulated, devices, device, steps: 0, folder }
    }

    async fn act(&mut self, action: Action) -> Outcome {
        self.steps += 1;
        act(&self.devices, &self.device, step(&format!("{:016x}", self.steps), action)).await
    }

    async fn must(&mut self, action: Action) -> Outcome {
        let outcome = self.act(action).await;
        assert_eq!(outcome.verdict, Verdict::Done, "{}", outcome.message);
        outcome
    }

    async fn restore(&mut self, content: Content, undo: u32) -> Outcome {
        self.must(Action::Restore { work: work(1, content), undo: StepId(format!("{undo:016x}")) }).await
    }

    async fn has(&self) -> String {
        let items = ["app", "lib", "extra"].map(ItemKey::apt);
        let seen = self.devices.observe(&self.device, &items).await;
        let shown = items.iter().filter_map(|item| Some(format!("{} {}", item.split().1, seen.items.get(item).and_then(ItemSeen::shown)?)));
        shown.collect::<Vec<_>>().join(", ")
    }
}

fn apt(name: &str, version: &str) -> Content {
    let apt = Apt { name: name.into(), version: version.into(), hold: false, allow_downgrade: false, replace_conffiles: false };
    Content { packages: vec![Package::Apt(apt)], ..content() }
}

fn app(version: &str) -> Content {
    Content { services: vec![restarted("app.service")], ..apt("app", version) }
}

#[tokio::test]
async fn a_device_is_seen() {
    let world = World::start(&Setup::default());
    let items = [ItemKey::apt("app"), ItemKey::unit("app.service"), ItemKey::file("/etc/os-release"), ItemKey::archive("/opt/app")];
    let seen = world.devices.observe(&world.device, &items).await;
    assert!(seen.is_reachable(), "{:?}", seen.contact);
    assert_eq!((seen.facts.os.as_str(), seen.facts.os_version.as_str()), ("debian", "12"));
    assert_eq!(seen.boot_id, "web-01-boot-0");
    assert_eq!(seen.items.values().filter(|item| **item == ItemSeen::Absent).count(), 3, "{:?}", seen.items);
    let ItemSeen::File { owner, .. } = &seen.items[&items[2]] else { panic!("{:?}", seen.items) };
    assert_eq!(owner, "root");
}

#[tokio::test]
async fn packages_come_as_a_set_and_go_back_as_a_set() {
    let mut world = World::start(&Setup::default());
    assert_eq!(world.must(Action::Prepare(work(1, app("1.0")))).await.way_back, WayBackSeen::Proven);
    // There is a newer one of the library: apt does not choose the old one by itself, so this goes the driver's long way.
    world.must(Action::Apply(work(1, app("1.0")))).await;
    assert_eq!(world.has().await, "app 1.0, lib 1.0");
    assert_eq!(world.must(Action::Prepare(work(2, app("2.0")))).await.way_back, WayBackSeen::Proven);
    world.must(Action::Apply(work(2, app("2.0")))).await;
    assert_eq!(world.has().await, "app 2.0, lib 2.0");
    world.restore(app("2.0"), 4).await;
    assert_eq!(world.has().await, "app 1.0, lib 1.0");

    // Down only where that is asked for, or on the way back.
    world.must(Action::Apply(work(3, apt("app", "2.0")))).await;
    let outcome = world.act(Action::Apply(work(4, apt("app", "1.0")))).await;
    assert_eq!((outcome.verdict, outcome.message.contains("--allow-downgrades")), (Verdict::Failed, true), "{}", outcome.message);
    // What others need is not taken away.
    let outcome = world.act(Action::Remove(work(1, apt("lib", "2.0")))).await;
    assert_eq!(
        (outcome.verdict, outcome.message.contains("other packages need them: app")),
        (Verdict::Failed, true),
        "{}",
        outcome.message
    );
    world.must(Action::Remove(work(3, apt("app", "2.0")))).await;
    assert_eq!(world.has().await, "lib 2.0");
}

#[tokio::test]
async fn what_an_upgrade_brought_in_newly_goes_again_and_a_hold_stays() {
    let mut world = World::start(&Setup::default());
    let held = |version: &str| {
        let mut content = apt("app", version);
        let Package::Apt(apt) = &mut content.packages[0] else { unreachable!() };
        apt.hold = true;
        content
    };
    world.must(Action::Apply(work(1, held("2.0")))).await;
    world.must(Action::Prepare(work(2, held("3.0")))).await;
    world.must(Action::Apply(work(2, held("3.0")))).await;
    assert_eq!(world.has().await, "app 3.0 (held), lib 2.0, extra 1:5");
    world.restore(held("3.0"), 3).await;
    assert_eq!(world.has().await, "app 2.0 (held), lib 2.0");
}

#[tokio::test]
async fn a_version_is_known_after_an_update_and_not_before() {
    let mut world = World::start(&Setup::default());
    let outcome = world.act(Action::Prepare(work(1, apt("app", "9.9")))).await;
    assert_eq!((outcome.verdict, outcome.message.contains("VersionUnavailable")), (Verdict::Failed, true), "{}", outcome.message);
    world.fleet.publish(&format!("{CATALOGUE}app 9.9\n").parse().unwrap()).unwrap();
    world.must(Action::Apply(work(1, apt("app", "9.9")))).await;
    assert_eq!(world.has().await, "app 9.9");
    // A repository that has the old version no more: there is no way back, and that is said.
    world.fleet.publish(&"app 9.9 gone\napp 10.0\n".parse().unwrap()).unwrap();
    world.simulated.run("rm -rf \"$EVENKEEL_ROOT\"/var/cache/apt/archives/*; apt-get update").await.unwrap();
    let outcome = world.must(Action::Prepare(work(2, apt("app", "10.0")))).await;
    assert_eq!(outcome.way_back, WayBackSeen::Missing("app 9.9 is installed, but neither in a repository nor in the cache".into()));
}

#[tokio::test]
async fn a_maintainer_script_that_fails_is_quoted_and_the_old_package_comes_back() {
    let mut world = World::start(&Setup::default());
    let outcome = world.act(Action::Apply(work(1, apt("broken", "1.0")))).await;
    assert_eq!((outcome.verdict, outcome.message.contains("the database said no")), (Verdict::Failed, true), "{}", outcome.message);
    world.restore(apt("broken", "1.0"), 1).await;
    let seen = world.devices.observe(&world.device, &[ItemKey::apt("broken")]).await;
    assert_eq!(seen.items[&ItemKey::apt("broken")], ItemSeen::Absent);
}

#[tokio::test]
async fn files_keep_their_owners_and_archives_are_switched() {
    let mut world = World::start(&Setup { units: vec!["app.service".into()], ..Setup::default() });
    let (url, tar) = world.fleet.offer_archive("app.tar", "release 1").unwrap();
    let archive = Archive { url, sha256: digest(&tar), into: "/opt/app".into() };
    let mut owned = file("/etc/app.conf", FileSource::Text("new".into()));
    (owned.owner, owned.group) = ("www-data".into(), "adm".into());
    let new = Content {
        packages: vec![Package::Archive(archive)],
        files: vec![owned, text("/etc/motd", "hello\n")],
        services: vec![restarted("app.service")],
        ..content()
    };
    let items: Vec<ItemKey> = new.items().collect();
    world.simulated.write("etc/app.conf", "old").unwrap();
    let before = world.devices.observe(&world.device, &items).await;
    world.must(Action::Apply(work(1, new.clone()))).await;
    let after = world.devices.observe(&world.device, &items).await;
    assert_eq!(new.changes(&after), Some(Vec::new()));
    assert_eq!(world.simulated.read("opt/app/current/release").unwrap(), "release 1");
    world.restore(new, 1).await;
    let again = world.devices.observe(&world.device, &items).await;
    assert_eq!(again.items, before.items);
}

/// One suite for both: what is true on a simulated device must be true on one with a real OpenSSH server.
#[tokio::test]
async fn a_simulated_device_and_a_real_server_agree() {
    let world = World::start(&Setup::default());
    agree(&world.devices, &world.device, world.simulated.root()).await;
    let Some(machine) = common::Machine::start() else { return };
    agree(&machine.devices(), &machine.device("web-01"), machine.root.path()).await;
}

async fn agree(devices: &Devices, device: &Device, root: &std::path::Path) {
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_default();
    let run = async |script: &str| devices.run(device, script, Duration::from_secs(10)).await.unwrap();
    let output = run("printf out; printf err >&2; exit 7").await;
    assert_eq!((output.code, output.stdout.as_slice(), output.stderr.as_slice()), (Some(7), b"out".as_slice(), b"err".as_slice()));
    assert_ne!(run("kill -9 $$").await.code, Some(0));
    // More than a window of output in one piece, and input that is never read.
    let output = run("head -c 3000000 /dev/zero | tr '\\0' x; printf end").await;
    assert_eq!((output.stdout.len(), output.stdout.ends_with(b"xend"), output.truncated), (devices::ssh::OUTPUT, true, true));
    assert_eq!(run(&format!("exit 0\n{}", ": not read\n".repeat(100_000))).await.code, Some(0));

    std::fs::write(root.join("etc/motd"), "old").unwrap();
    let new = Content { files: vec![text("/etc/motd", "new"), text("/srv/a", "")], ..content() };
    let items: Vec<ItemKey> = new.items().collect();
    let before = devices.observe(device, &items).await;
    let mut first = step("00000000000000a1", Action::Apply(work(1, new.clone())));
    first.expects = Some(before.fingerprint(&new));
    assert_eq!(act(devices, device, first.clone()).await.verdict, Verdict::Done);
    assert_eq!(read("etc/motd"), "new");
    // Not again, and not from another state than it expects.
    std::fs::write(root.join("etc/motd"), "by hand").unwrap();
    assert_eq!(act(devices, device, first).await.verdict, Verdict::Done);
    assert_eq!(read("etc/motd"), "by hand");
    let mut second = step("00000000000000a2", Action::Apply(work(1, new.clone())));
    second.expects = Some(before.fingerprint(&new));
    assert_eq!(act(devices, device, second).await.verdict, Verdict::Refused);
    let back = Action::Restore { work: work(1, new), undo: StepId("00000000000000a1".into()) };
    assert_eq!(act(devices, device, step("00000000000000a3", back)).await.verdict, Verdict::Done);
    assert_eq!((read("etc/motd").as_str(), root.join("srv/a").exists()), ("old", false));
}

#[tokio::test]
async fn a_reboot_takes_the_device_away_and_brings_it_back_with_another_boot_id() {
    let mut world = World::start(&Setup::default());
    let new = Content { reboot: Reboot::Always, ..app("2.0") };
    let outcome = world.must(Action::Apply(work(1, new.clone()))).await;
    assert_eq!(outcome.reboot_from.as_deref(), Some("web-01-boot-0"));
    world.must(Action::Reboot { work: work(1, new), boot_id: "web-01-boot-0".into() }).await;
    let seen = world.devices.observe(&world.device, &[ItemKey::unit("app.service")]).await;
    assert_eq!(seen.boot_id, "web-01-boot-1");
    assert_eq!(seen.items[&ItemKey::unit("app.service")].shown().as_deref(), Some("active/running"));
}

fn web(port: u16) -> Probe {
    let check = Check::Http(Box::new(HttpCheck { contains: Some("ok".into()), ..HttpCheck::get(port, "/healthz") }));
    let second = jiff::SignedDuration::from_secs(1);
    Probe { name: "web".into(), check, interval: second, timeout: second, failures: 1, successes: 1, way: Default::default() }
}

/// Until it is as wanted, or five seconds are over.
async fn until(mut wanted: impl AsyncFnMut() -> bool) -> bool {
    for _ in 0..100 {
        if wanted().await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}

#[tokio::test]
async fn ports_are_open_while_the_unit_is_active() {
    let port = Port { number: 8080, speaks: Speaks::Http { status: 200, body: "hello".into() }, units: vec!["app.service".into()] };
    let mut world = World::start(&Setup { ports: vec![port], ..Setup::default() });
    let probe = web(8080);
    let code = async |world: &World, probe: &Probe| probe::run(&world.devices, &world.device, probe).await.code;
    assert_eq!(code(&world, &probe).await, ProbeCode::Refused);
    world.must(Action::Apply(work(1, app("2.0")))).await;
    assert!(until(async || code(&world, &probe).await == ProbeCode::Passed).await);
    let mut version = probe.clone();
    let Check::Http(http) = &mut version.check else { unreachable!() };
    let contains = &mut http.contains;
    *contains = Some("ok 2.0".into());
    assert_eq!(code(&world, &version).await, ProbeCode::Passed);
    // A release whose service dies after two seconds: the step sees that it does not stay.
    world.must(Action::Prepare(work(2, app("3.0")))).await;
    let outcome = world.act(Action::Apply(work(2, app("3.0")))).await;
    assert_eq!((outcome.verdict, outcome.message.contains("did not stay active")), (Verdict::Failed, true), "{}", outcome.message);
    assert!(until(async || code(&world, &probe).await != ProbeCode::Passed).await);
    world.restore(app("3.0"), 3).await;
    assert!(until(async || code(&world, &version).await == ProbeCode::Passed).await);
}

#[tokio::test]
async fn a_device_is_a_way_to_the_others_and_to_nothing_else() {
    let world = World::start(&Setup::default());
    let other = world.fleet.add("db-01", &Setup::default()).unwrap();
    let mut behind = other.declared();
    common::ssh(&mut behind).via = Some(world.device.name.clone());
    world.devices.update(desired(&[&world.device, &behind]), &[behind.name.clone()].into()).await;
    assert!(world.devices.observe(&behind, &[]).await.is_reachable());
    behind.address = "127.0.0.1".into();
    assert!(!world.devices.observe(&behind, &[]).await.is_reachable());
}

#[tokio::test]
async fn only_the_fleets_own_key_is_let_in() {
    let world = World::start(&Setup::default());
    let other = Fleet::start(&world.folder.path().join("other"), &"".parse().unwrap()).unwrap();
    let stranger = Devices::new(Secrets::new(other.secrets()), &world.folder.path().join("cache-2"));
    let seen = stranger.observe(&world.device, &[]).await;
    assert!(format!("{:?}", seen.contact).contains("was refused"), "{:?}", seen.contact);
}

#[tokio::test]
async fn names_that_could_lead_elsewhere_or_are_taken_are_refused() {
    let world = World::start(&Setup::default());
    for name in ["web-01", "", "..", ".hidden"] {
        assert!(world.fleet.add(name, &Setup::default()).is_err(), "{name}");
    }
    assert!(world.fleet.add("other/../web", &Setup::default()).unwrap().root().ends_with("devices/other_.._web"));
}

/// What does not end, or is too much, is cut off.
#[tokio::test]
async fn there_is_a_limit_to_everything() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let port = Port { number: 8080, speaks: Speaks::Http { status: 200, body: String::new() }, units: Vec::new() };
    let world = World::start(&Setup { ports: vec![port], ..Setup::default() });
    let output = world.devices.run(&world.device, "yes", Duration::from_secs(60)).await.unwrap();
    assert!(output.truncated && output.code != Some(0), "{:?}", output.code);

    let address = world.simulated.address();
    let mut open = Vec::new();
    let mut refused = 0;
    for _ in 0..80 {
        let mut stream = tokio::net::TcpStream::connect((address, world.simulated.port())).await.unwrap();
        let mut greeting = [0; 4];
        match stream.read_exact(&mut greeting).await {
            Ok(_) => open.push(stream),
            Err(_) => refused += 1,
        }
    }
    // One is the engine's own.
    assert_eq!((open.len(), refused), (63, 17));

    assert!(until(async || tokio::net::TcpStream::connect((address, 8080)).await.is_ok()).await);
    let mut stream = tokio::net::TcpStream::connect((address, 8080)).await.unwrap();
    let _ = stream.write_all(&[b'x'; 64 << 10]).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.is_empty(), "a request without an end gets no answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_devices_at_once() {
    let world = World::start(&Setup::default());
    let devices: Vec<Device> = (1..=200).map(|n| world.fleet.add(&format!("d{n:03}"), &Setup::default()).unwrap().declared()).collect();
    let items = [ItemKey::apt("app"), ItemKey::unit("app.service")];
    let looks = devices.iter().map(|device| world.devices.observe(device, &items));
    let seen = futures::future::join_all(looks).await;
    let away: Vec<_> = seen.iter().filter(|seen| !seen.is_reachable()).map(|seen| &seen.contact).collect();
    assert!(away.is_empty(), "{away:?}");
    let boots: std::collections::BTreeSet<_> = seen.iter().map(|seen| &seen.boot_id).collect();
    assert_eq!(boots.len(), 200, "each has a root of its own");
    assert!(devices.iter().all(|device| matches!(&device.access, Access::Ssh(ssh) if !ssh.host_keys.is_empty())));
}
