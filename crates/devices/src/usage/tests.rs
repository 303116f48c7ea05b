use std::collections::BTreeMap;
use std::sync::Mutex;

use jiff::SignedDuration;
use reconcile::Access;

use super::*;

fn device(name: &str) -> Arc<Device> {
    let metrics = Metrics { source: MetricsSource::Ssh, interval: SignedDuration::from_secs(30) };
    Arc::new(Device {
        name: Name::parse(name),
        device_type: crds::DeviceType::Server,
        address: "192.0.2.1".into(),
        labels: Default::default(),
        parents: Vec::new(),
        access: Access::None,
        probes: Vec::new(),
        metrics: Some(metrics),
        logs: Default::default(),
        maintenance: Vec::new(),
        suspend: false,
        vars: BTreeMap::new(),
    })
}

/// A fleet in which those whose names begin with `dead` don't answer; how often each was read, and how many of the dead at once at most.
struct Fleet {
    scheduler: Scheduler,
    reads: Arc<Mutex<BTreeMap<String, usize>>>,
    at_once: Arc<Mutex<(usize, usize)>>,
    dead: Arc<Mutex<bool>>,
    _out: mpsc::Receiver<Measured>,
}

fn fleet(names: &[String]) -> Fleet {
    let (sender, out) = mpsc::channel(1_000_000);
    let (reads, at_once, dead) =
        (Arc::<Mutex<BTreeMap<String, usize>>>::default(), Arc::<Mutex<(usize, usize)>>::default(), Arc::new(Mutex::new(true)));
    let (counted, running, are_dead) = (reads.clone(), at_once.clone(), dead.clone());
    let read: Read = Arc::new(move |device, _, limit| {
        *counted.lock().unwrap().entry(device.name.name().to_owned()).or_default() += 1;
        let is_dead = device.name.name().starts_with("dead") && *are_dead.lock().unwrap();
        let running = running.clone();
        async move {
            if !is_dead {
                return Ok(Reading::default());
            }
            {
                let mut running = running.lock().unwrap();
                running.0 += 1;
                running.1 = running.1.max(running.0);
            }
            tokio::time::sleep(limit).await;
            running.lock().unwrap().0 -= 1;
            Err("no answer".into())
        }
        .boxed()
    });
    let mut scheduler = Scheduler::with(sender, read);
    names.iter().for_each(|name| scheduler.set(&Name::parse(name), Some(&device(name))));
    Fleet { scheduler, reads, at_once, dead, _out: out }
}

impl Fleet {
    fn reads(&self, name: &str) -> usize {
        self.reads.lock().unwrap().get(name).copied().unwrap_or(0)
    }
}

/// Two thousand dead ones: each that lives is read as often as if they were not there, and they themselves ever more seldom.
#[tokio::test(start_paused = true)]
async fn dead_devices_hold_up_nobody() {
    let names: Vec<String> =
        (0..2000).map(|number| format!("dead-{number}")).chain((0..300).map(|number| format!("web-{number}"))).collect();
    let fleet = fleet(&names);
    tokio::time::sleep(Duration::from_secs(600)).await;
    // Their first readings are in everybody's lane, since nobody knows yet.
    fleet.at_once.lock().unwrap().1 = 0;
    let before: Vec<usize> = (0..300).map(|number| fleet.reads(&format!("web-{number}"))).collect();
    tokio::time::sleep(Duration::from_secs(600)).await;
    for (number, before) in before.into_iter().enumerate() {
        let reads = fleet.reads(&format!("web-{number}")) - before;
        assert!((19..=21).contains(&reads), "web-{number}: {reads} in ten minutes");
    }
    assert!(fleet.at_once.lock().unwrap().1 <= FAILING, "{:?}", fleet.at_once);
}

#[tokio::test(start_paused = true)]
async fn who_is_back_is_read_at_once_and_who_is_away_seldom() {
    let names: Vec<String> = vec!["dead-1".into(), "web-1".into()];
    let mut fleet = fleet(&names);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let dead = fleet.reads("dead-1");
    assert!((10..=20).contains(&dead), "each five minutes in the end: {dead}");
    // It is back, and somebody has seen that.
    *fleet.dead.lock().unwrap() = false;
    fleet.scheduler.contact(&Name::parse("dead-1"), true);
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(fleet.reads("dead-1"), dead + 1);
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert!((10..=11).contains(&(fleet.reads("dead-1") - dead - 1)), "on its interval again");
    // Looks find that it is out of reach, before a reading did.
    let web = fleet.reads("web-1");
    fleet.scheduler.contact(&Name::parse("web-1"), false);
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert!(fleet.reads("web-1") <= web + 1, "{} {web}", fleet.reads("web-1"));
    fleet.scheduler.contact(&Name::parse("web-1"), true);
    tokio::time::sleep(Duration::from_millis(10)).await;
    let back = fleet.reads("web-1");
    // A second word of the same is none.
    fleet.scheduler.contact(&Name::parse("web-1"), true);
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(fleet.reads("web-1"), back);
}

#[test]
fn pauses_grow_to_a_bound() {
    let pauses: Vec<u64> = (0..8).map(|failures| pause(Duration::from_secs(30), failures, 0.5).as_secs()).collect();
    assert_eq!(pauses, [30, 60, 120, 240, 300, 300, 300, 300]);
    assert_eq!(pause(Duration::from_secs(900), 5, 0.5), Duration::from_secs(900), "its own interval is longer");
    assert!(pause(Duration::from_secs(30), u32::MAX, 1.0) <= LONGEST.mul_f64(1.2));
}
