//! Hours of schedules, told in moments.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use reconcile::{Access, Check, Way};

use super::*;

fn device(name: &str, seconds: i64) -> Arc<Device> {
    let check = Check::Tcp { port: 1, send: None, expect: None };
    let interval = SignedDuration::from_secs(seconds);
    let probe =
        Probe { name: "it".into(), check, interval, timeout: SignedDuration::from_secs(5), failures: 1, successes: 1, way: Way::default() };
    Arc::new(Device {
        name: Name::parse(name),
        device_type: crds::DeviceType::Server,
        address: "192.0.2.1".into(),
        labels: Default::default(),
        parents: Vec::new(),
        access: Access::None,
        probes: vec![probe],
        metrics: None,
        logs: Default::default(),
        maintenance: Vec::new(),
        suspend: false,
        vars: BTreeMap::new(),
    })
}

/// A schedule with its clock; runs take as long as `takes` says of the device.
struct Clock {
    schedule: Schedule,
    begun: Instant,
    now: Duration,
    running: Vec<(Duration, u64, ProbeCode)>,
    /// When each run was begun, by device.
    runs: BTreeMap<String, Vec<Duration>>,
    most: usize,
    told: usize,
}

impl Clock {
    fn new(devices: &[Arc<Device>]) -> Self {
        let (mut schedule, begun) = (Schedule::default(), Instant::now());
        devices.iter().for_each(|device| schedule.set(&device.name, Some(device), begun));
        Self { schedule, begun, now: Duration::ZERO, running: Vec::new(), runs: BTreeMap::new(), most: 0, told: 0 }
    }

    fn at(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH + self.now
    }

    /// So much time passes, in steps of 10 ms.
    fn pass(&mut self, time: Duration, takes: impl Fn(&Name) -> (Duration, ProbeCode)) {
        let end = self.now + time;
        while self.now < end {
            self.now += Duration::from_millis(10);
            let (now, at) = (self.begun + self.now, self.at());
            let ended: Vec<_> = self.running.extract_if(.., |(end, _, _)| *end <= self.now).collect();
            for (_, id, code) in ended {
                self.told += usize::from(self.schedule.ended(id, Some(Run { code, ..Run::default() }), at).is_some());
                self.schedule.rest(id, now);
            }
            for start in self.schedule.take(now) {
                let (takes, code) = takes(&start.device.name);
                self.running.push((self.now + takes, start.id, code));
                self.runs.entry(start.device.name.to_string()).or_default().push(self.now);
            }
            self.most = self.most.max(self.running.len());
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);
const QUICK: (Duration, ProbeCode) = (Duration::from_millis(10), ProbeCode::Passed);

#[test]
fn each_runs_on_its_interval_and_the_fleet_does_not_beat_in_time() {
    let devices: Vec<_> = (0..200).map(|number| device(&format!("web-{number}"), 10)).collect();
    let mut clock = Clock::new(&devices);
    clock.pass(100 * SECOND, |_| QUICK);
    assert!(clock.runs.values().all(|runs| (9..=10).contains(&runs.len())), "{:?}", clock.runs);
    let mut second = [0; 10];
    clock.runs.values().for_each(|runs| second[usize::try_from(runs[0].as_secs()).unwrap()] += 1);
    assert!(second.iter().all(|count| (8..40).contains(count)), "{second:?} first runs in each second");
    assert_eq!(clock.told, 200, "the first run of each, and nothing after that");
}

#[test]
fn of_a_long_interval_the_first_run_is_soon_and_the_others_are_spread() {
    let devices: Vec<_> = (0..50).map(|number| device(&format!("web-{number}"), 3600)).collect();
    let mut clock = Clock::new(&devices);
    clock.pass(7200 * SECOND, |_| QUICK);
    assert!(clock.runs.values().all(|runs| runs[0] <= SOON + SECOND && runs.len() >= 2));
    let seconds: Vec<u64> = clock.runs.values().map(|runs| runs[1].as_secs()).collect();
    let spread = seconds.iter().max().unwrap() - seconds.iter().min().unwrap();
    assert!(spread > 1200, "second runs within {spread} s");
}

/// A Secret changed that the probes of one of two devices need.
#[test]
fn what_begins_anew_runs_at_once_and_then_as_before() {
    let (web, db) = (device("web", 3600), device("db", 3600));
    let mut clock = Clock::new(&[web.clone(), db.clone()]);
    clock.pass(60 * SECOND, |_| QUICK);
    assert!(clock.runs.values().all(|runs| runs.len() == 1), "{:?}", clock.runs);
    let now = clock.begun + clock.now;
    clock.schedule.anew(&web.name, |_| true, now);
    clock.schedule.anew(&db.name, |_| false, now);
    clock.pass(SECOND, |_| QUICK);
    assert_eq!((clock.runs["web"].len(), clock.runs["db"].len()), (2, 1));
    clock.pass(3600 * SECOND, |_| QUICK);
    assert_eq!(clock.runs["web"].len(), 3, "once in its interval");
}

/// Somebody changes a Secret again and again while a probe that needs it waits for its answer.
#[test]
fn what_begins_anew_while_it_runs_runs_once_at_a_time() {
    let web = device("web", 10);
    let mut clock = Clock::new(std::slice::from_ref(&web));
    let slow = |_: &Name| (5 * SECOND, ProbeCode::Timeout);
    while clock.running.is_empty() {
        clock.pass(Duration::from_millis(10), slow);
    }
    clock.runs.clear();
    for _ in 0..20 {
        let now = clock.begun + clock.now;
        clock.schedule.anew(&web.name, |_| true, now);
        clock.pass(Duration::from_millis(100), slow);
    }
    assert_eq!(clock.schedule.lanes.iter().map(|lane| lane.running).sum::<usize>(), 1);
    // With what the Secret says by then, at once.
    clock.pass(5 * SECOND, |_| QUICK);
    assert_eq!((clock.most, clock.runs["web"].len()), (1, 1));
    assert_eq!(clock.told, 1, "the run that went on says nothing");
    clock.pass(10 * SECOND, |_| QUICK);
    assert_eq!(clock.runs["web"].len(), 2, "and then as before");
}

/// The process was stopped for ten minutes, or the machine slept.
#[test]
fn after_a_pause_there_is_no_storm() {
    let devices: Vec<_> = (0..300).map(|number| device(&format!("web-{number}"), 10)).collect();
    let mut clock = Clock::new(&devices);
    clock.pass(30 * SECOND, |_| QUICK);
    clock.now += 600 * SECOND;
    clock.runs.clear();
    let most = std::mem::take(&mut clock.most);
    clock.pass(SECOND, |_| QUICK);
    let at_once: usize = clock.runs.values().map(Vec::len).sum();
    assert!(at_once < 60, "{at_once} of 300 in the first second after it");
    clock.pass(9 * SECOND, |_| QUICK);
    assert!(clock.runs.values().all(|runs| runs.len() <= 2), "nothing is made up for");
    assert_eq!(clock.runs.len(), 300, "each has run again within its interval");
    assert!(clock.most <= most + 5, "{} at once, before it {most}", clock.most);
}

/// 2000 devices behind one dead switch are asked in vain for 5 s each time.
#[test]
fn those_that_do_not_answer_hold_up_nobody_else() {
    let mut devices: Vec<_> = (0..2000).map(|number| device(&format!("dead-{number}"), 15)).collect();
    devices.extend((0..100).map(|number| device(&format!("well-{number}"), 15)));
    let mut clock = Clock::new(&devices);
    let takes = |name: &Name| if name.name().starts_with("dead") { (5 * SECOND, ProbeCode::Timeout) } else { QUICK };
    clock.pass(45 * SECOND, takes);
    clock.runs.clear();
    clock.pass(150 * SECOND, takes);
    assert!(clock.most <= 2 * AT_ONCE, "{} at once", clock.most);
    for (name, runs) in &clock.runs {
        match name.starts_with("well") {
            true => assert!((9..=11).contains(&runs.len()), "{name}: {} runs", runs.len()),
            false => assert!(!runs.is_empty(), "{name} has its turn too"),
        }
    }
}

#[test]
fn one_that_takes_longer_than_its_interval_runs_once_at_a_time() {
    let mut clock = Clock::new(&[device("web", 1)]);
    clock.pass(60 * SECOND, |_| (5 * SECOND, ProbeCode::Timeout));
    assert_eq!(clock.most, 1);
    assert!((11..=13).contains(&clock.runs["web"].len()), "{}", clock.runs["web"].len());
}

#[test]
fn what_is_asked_for_is_told_if_it_began_afterwards() {
    let mut schedule = Schedule::default();
    let (web, begun) = (device("web", 10), Instant::now());
    let run = || Some(Run { code: ProbeCode::Passed, ..Run::default() });
    let at = |second| Timestamp::from_second(second).unwrap();
    schedule.set(&web.name, Some(&web), begun);
    let id = schedule.take(begun + LATE).first().map_or(1, |start| start.id);
    let ended = |schedule: &mut Schedule, second| schedule.ended(id, run(), at(second)).is_some();
    assert!(ended(&mut schedule, 10), "the first");
    assert!(!ended(&mut schedule, 20), "nothing new");
    schedule.ask(&web.name, at(30));
    assert!(!ended(&mut schedule, 30), "it began before");
    assert!(ended(&mut schedule, 40));
    assert!(!ended(&mut schedule, 50), "once is enough");
    schedule.attend(&web.name, true);
    assert!(ended(&mut schedule, 60) && ended(&mut schedule, 70), "each");
    schedule.attend(&web.name, false);
    assert!(!ended(&mut schedule, 80));
    assert_eq!(schedule.measured().len(), 1);
    assert!(schedule.measured().is_empty(), "the newest is taken once");
}

#[test]
fn what_is_as_before_goes_on_and_what_left_is_forgotten() {
    let mut schedule = Schedule::default();
    let (web, now) = (device("web", 1), Instant::now());
    schedule.set(&web.name, Some(&web), now);
    let started = schedule.take(now + SECOND);
    assert_eq!(started.len(), 1);
    assert!(schedule.ended(started[0].id, Some(Run { code: ProbeCode::Passed, ..Run::default() }), Timestamp::UNIX_EPOCH).is_some());
    // Another probe beside it, and other labels: the one that was there keeps what it has counted.
    let mut more = (*web).clone();
    more.labels = std::sync::Arc::new([("role".to_owned(), "web".to_owned())].into());
    more.probes.push(Probe { name: "other".into(), ..web.probes[0].clone() });
    let more = Arc::new(more);
    schedule.set(&web.name, Some(&more), now);
    assert!(schedule.ended(started[0].id, Some(Run { code: ProbeCode::Passed, ..Run::default() }), Timestamp::UNIX_EPOCH).is_none());
    // Another address: whatever was known of it is of another machine.
    let mut moved = (*more).clone();
    moved.address = "192.0.2.2".into();
    schedule.set(&web.name, Some(&Arc::new(moved)), now);
    assert!(schedule.ended(started[0].id, Some(Run { code: ProbeCode::Refused, ..Run::default() }), Timestamp::UNIX_EPOCH).is_none());
    assert_eq!(schedule.slots.len(), 2);
    schedule.set(&web.name, None, now);
    assert!(schedule.slots.is_empty() && schedule.devices.is_empty());
    // A thousand commits leave nothing behind.
    for number in 0..3000 {
        let mut changed = (*web).clone();
        changed.address = format!("192.0.2.{number}");
        schedule.set(&web.name, Some(&Arc::new(changed)), now);
    }
    assert!(schedule.due.len() <= DEAD + 8, "{}", schedule.due.len());
}

#[test]
fn lanes_are_given_back_by_those_that_left() {
    let mut schedule = Schedule::default();
    let now = Instant::now();
    for round in 0..3 {
        for number in 0..AT_ONCE {
            let device = device(&format!("r{round}-{number}"), 1);
            schedule.set(&device.name, Some(&device), now);
        }
        assert_eq!(schedule.take(now + SECOND).len(), AT_ONCE, "round {round}");
        let names: Vec<Name> = schedule.devices.keys().cloned().collect();
        names.iter().for_each(|name| schedule.set(name, None, now));
    }
    assert_eq!(schedule.lanes[0].running, 0);
}
