//! What goes wrong on a simulated device, and what our devices crate makes of it.

#[path = "../../devices/tests/common/mod.rs"]
mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{act, content, recorded, restarted, step, text, work};
use devices::{Devices, Secrets};
use reconcile::{
    Act as _, Action, Apt, Contact, Content, Device, ItemKey, Metric, Metrics, MetricsSource, Observe as _, Outcome, Package, Series,
    StepId, Usage, Verdict,
};
use simfleet::{Fault, Fleet, Setup, Simulated};

const CATALOGUE: &str = "app 1.0 unit=app.service\napp 2.0 unit=app.service\n";

struct World {
    fleet: Option<Fleet>,
    simulated: Arc<Simulated>,
    devices: Devices,
    device: Device,
    _folder: tempfile::TempDir,
}

fn world() -> World {
    let folder = tempfile::Builder::new().prefix("ek-faults-").tempdir().unwrap();
    let fleet = Fleet::start(folder.path(), &CATALOGUE.parse().unwrap()).unwrap();
    let simulated = fleet.add("web-01", &Setup::default()).unwrap();
    let devices = Devices::new(Secrets::new(fleet.secrets()), &folder.path().join("cache"));
    let device = simulated.declared();
    World { fleet: Some(fleet), simulated, devices, device, _folder: folder }
}

impl World {
    async fn act(&self, number: u32, action: Action) -> Outcome {
        act(&self.devices, &self.device, step(&format!("{number:016x}"), action)).await
    }

    async fn reason(&self) -> String {
        match self.devices.observe(&self.device, &[]).await.contact {
            Contact::Unreachable { reason, .. } => reason,
            other => format!("{other:?}"),
        }
    }
}

fn app(version: &str) -> Content {
    let apt = Apt { name: "app".into(), version: version.into(), hold: false, allow_downgrade: false, replace_conffiles: false };
    Content { packages: vec![Package::Apt(apt)], services: vec![restarted("app.service")], ..content() }
}

#[tokio::test]
async fn slow_is_only_slow() {
    let world = world();
    world.simulated.suffer(&Fault::Slow(Duration::from_millis(300))).unwrap();
    let begin = Instant::now();
    assert!(world.devices.observe(&world.device, &[]).await.is_reachable());
    assert!(begin.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn away_and_back() {
    let world = world();
    assert_eq!(world.reason().await, "Known");
    world.simulated.suffer(&Fault::Away).unwrap();
    let reason = world.reason().await;
    assert!(reason.contains("refused"), "{reason}");
    assert!(
        world.devices.act(&world.device, &recorded(step("0000000000000001", Action::Apply(work(1, app("1.0"))))).await).await.is_none()
    );
    world.simulated.recover();
    for _ in 0..50 {
        if world.reason().await == "Known" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("did not come back: {}", world.reason().await);
}

#[tokio::test]
async fn another_host_key_is_refused_and_shown() {
    let world = world();
    world.simulated.suffer(&Fault::WrongHostKey).unwrap();
    let reason = world.reason().await;
    assert!(reason.contains("not the pinned one") && reason.contains("SHA256"), "{reason}");
    world.simulated.recover();
    assert_eq!(world.reason().await, "Known");
}

/// Whichever of its commands lose their connection: the step ends, and what it does was done once.
#[tokio::test]
async fn a_step_whose_connections_drop_runs_once() {
    let world = world();
    world.simulated.run("apt-get install app=1.0").await.unwrap();
    for drops in 1..=3 {
        let new = Content { services: vec![restarted("app.service")], files: vec![text("/etc/app", &drops.to_string())], ..content() };
        let recorded = recorded(step(&format!("{drops:016x}"), Action::Apply(work(drops, new)))).await;
        world.simulated.suffer(&Fault::Drops(drops)).unwrap();
        // The engine asks again as long as the device is lost from sight.
        let mut outcome = None;
        for _ in 0..20 {
            outcome = world.devices.act(&world.device, &recorded).await;
            if outcome.is_some() {
                break;
            }
        }
        let outcome = outcome.unwrap_or_else(|| panic!("lost for good after {drops} drops"));
        assert_eq!(outcome.verdict, Verdict::Done, "{drops} drops: {}", outcome.message);
        let restarts = world.simulated.read(".simulated/log").unwrap().matches("restart app.service").count();
        assert_eq!(restarts, drops as usize, "each step restarted it once");
        assert_eq!(world.simulated.read("etc/app").unwrap(), drops.to_string());
    }
}

#[tokio::test]
async fn an_installation_that_fails_speaks_for_itself_and_goes_back() {
    let world = world();
    assert_eq!(world.act(1, Action::Apply(work(1, app("1.0")))).await.verdict, Verdict::Done);
    world.act(2, Action::Prepare(work(2, app("2.0")))).await;
    world.simulated.suffer(&Fault::InstallFails("the schema is too old".into())).unwrap();
    let outcome = world.act(3, Action::Apply(work(2, app("2.0")))).await;
    assert_eq!((outcome.verdict, outcome.message.contains("the schema is too old")), (Verdict::Failed, true), "{}", outcome.message);
    let back = Action::Restore { work: work(2, app("2.0")), undo: StepId(format!("{:016x}", 3)) };
    assert_eq!(world.act(4, back).await.verdict, Verdict::Done);
    let seen = world.devices.observe(&world.device, &[ItemKey::apt("app")]).await;
    assert_eq!(seen.items[&ItemKey::apt("app")].shown().as_deref(), Some("1.0"));
}

#[tokio::test]
async fn a_unit_that_dies_is_told_with_its_words() {
    let world = world();
    world.simulated.suffer(&Fault::DiesAfter(Duration::from_secs(1))).unwrap();
    let outcome = world.act(1, Action::Apply(work(1, app("1.0")))).await;
    assert_eq!(outcome.verdict, Verdict::Failed);
    assert!(
        outcome.message.contains("app.service is failed/failed") && outcome.message.contains("gave up after 1 s"),
        "{}",
        outcome.message
    );
}

/// What it uses is plausible, and its disk can fill up.
#[tokio::test]
async fn it_counts_and_its_disk_fills_up() {
    let mut world = world();
    let interval = jiff::SignedDuration::from_secs(5);
    world.device.metrics = Some(Metrics { source: MetricsSource::Ssh, interval });
    let read = async || devices::usage::once(&world.devices, &world.device, Duration::from_millis(1100)).await.unwrap();
    let usage = read().await;
    let value = |usage: &Usage, metric, item: &str| usage.values.get(&Series::item(metric, item)).copied().unwrap_or(-1.0);
    for metric in [Metric::CpuRatio, Metric::MemoryRatio, Metric::SwapRatio] {
        assert!((0.0..1.0).contains(&value(&usage, metric, "")), "{metric:?}: {usage:?}");
    }
    assert!(value(&usage, Metric::InterfaceReceived, "eth0") > 0.0 && value(&usage, Metric::Uptime, "") > 0.0, "{usage:?}");
    let before = value(&usage, Metric::DiskRatio, "/");
    assert!((0.2..0.7).contains(&before), "{before}");
    world.simulated.suffer(&Fault::DiskFills(Duration::from_secs(1))).unwrap();
    let full = value(&read().await, Metric::DiskRatio, "/");
    assert!(full > 0.99, "{full}");
    world.simulated.recover();
    assert_eq!(value(&read().await, Metric::DiskRatio, "/"), before);
}

#[tokio::test]
async fn a_full_disk_refuses_a_step_before_anything_is_touched() {
    let world = world();
    world.simulated.suffer(&Fault::DiskFull).unwrap();
    assert!(world.devices.observe(&world.device, &[]).await.is_reachable(), "reading writes nothing");
    let outcome = world.act(1, Action::Apply(work(1, app("1.0")))).await;
    assert_eq!(outcome.verdict, Verdict::Refused);
    assert!(outcome.message.contains("cannot write"), "{}", outcome.message);
    world.simulated.recover();
    assert_eq!(world.act(2, Action::Apply(work(1, app("1.0")))).await.verdict, Verdict::Done);
}

#[tokio::test]
async fn a_lock_that_somebody_else_holds_is_waited_for() {
    let world = world();
    world.simulated.suffer(&Fault::LockHeld(Duration::from_secs(3))).unwrap();
    let begin = Instant::now();
    let outcome = world.act(1, Action::Apply(work(1, app("1.0")))).await;
    assert_eq!(outcome.verdict, Verdict::Done, "{}", outcome.message);
    assert!(begin.elapsed() >= Duration::from_secs(3));
}

#[tokio::test]
async fn everything_ends_with_the_fleet() {
    let mut world = world();
    let root = world.simulated.root().to_owned();
    world.simulated.run("setsid sleep 1000 >/dev/null 2>&1 & (sleep 1001 >/dev/null 2>&1 &); exit 0").await.unwrap();
    let running = || {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let wanted = format!("EVENKEEL_ROOT={}", root.display());
        processes
            .filter(|entry| std::fs::read(entry.path().join("environ")).is_ok_and(|text| String::from_utf8_lossy(&text).contains(&wanted)))
            .count()
    };
    assert_eq!(running(), 2);
    world.fleet = None;
    assert_eq!(running(), 0);
}
