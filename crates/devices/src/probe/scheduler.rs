//! Runs probes when they are due, and tells what is news.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use reconcile::{Check, Device, Name, Probe, ProbeCode, ProbeSeen, ProbeState};
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::own_network::{self, Reference, Suspicion};
use super::schedule::{Measurement, Schedule, Start, Told};
use super::{Run, run};
use crate::devices::Devices;

/// With nothing to do it looks again after this long; whoever has something for it wakes it.
const IDLE: Duration = Duration::from_secs(3600);
/// What is due within this time begins together, so that a busy thread does not wake for each. It adds to no measurement: what is asked later
/// begins later.
const TOGETHER: Duration = Duration::from_millis(20);
/// A run that took so much longer than its limit was held up by us: the process was stopped, or the machine slept.
const HELD_UP: Duration = Duration::from_secs(1);

/// What was tried while our own network was down has failed so long after it is back: longer than a look takes to be given up.
const STILL_TRIED: Duration = Duration::from_secs(60);

/// What the scheduler tells: how a probe stands, where that is news or somebody waits for it.
#[derive(Clone, Debug)]
pub struct Ran {
    /// On which device.
    pub device: Name,
    /// Which probe.
    pub probe: String,
    /// What is known of it now.
    pub seen: ProbeSeen,
}

/// Runs every device's probes on their intervals.
///
/// Told is what is news: another state, or, of what is not well, another reason. Where something is under way on a device each run is told
/// ([`Scheduler::attend`]), and after something was done there the next one of each probe is ([`Scheduler::ask`]): a gate asks when an answer was
/// given. What all runs took is taken from [`Scheduler::measurements`].
pub struct Scheduler {
    shared: Arc<Shared>,
    /// It runs as long as this is there.
    _runs: oneshot::Sender<()>,
}

struct Shared {
    schedule: Mutex<Schedule>,
    /// Something is due earlier than it was, or there is room again.
    wake: Notify,
    out: mpsc::Sender<Ran>,
    references: Vec<Reference>,
    suspicion: Mutex<Suspicion>,
    /// Whether our own network is down.
    is_down: watch::Sender<bool>,
    /// When it was back.
    back_since: Mutex<Option<Instant>>,
    /// Somebody is finding that out.
    asking: tokio::sync::Mutex<()>,
}

/// What all runs of a scheduler's probes measure.
pub struct Measurements(Arc<Shared>);

impl Measurements {
    /// What was measured since this was asked last: of each probe the newest.
    pub fn take(&self) -> Vec<Measurement> {
        self.0.schedule().measured()
    }
}

impl Scheduler {
    /// A scheduler that tells what is news to `out`. Where most targets fail at once, and all references too, nothing is held against them;
    /// without references that is not found out.
    ///
    /// It has a thread of its own: a probe is a few system calls, and handing each of them from one thread to another would cost more than they
    /// do. Nor does what is measured wait for somebody's long computation.
    pub fn new(devices: Arc<Devices>, out: mpsc::Sender<Ran>, references: Vec<Reference>) -> Self {
        let everybody = Handle::current();
        let run = move |start: Start| {
            let (devices, everybody) = (devices.clone(), everybody.clone());
            async move {
                // Their connections are shared with whoever else asks the device, and so belong where those are.
                let is_shared = matches!(start.probe().check, Check::Ssh { .. } | Check::Snmp { .. });
                let ran = async move { run(&devices, &start.device, start.probe()).await };
                match is_shared {
                    true => AbortOnDropHandle::new(everybody.spawn(ran)).await.unwrap_or_default(),
                    false => ran.await,
                }
            }
        };
        let (scheduler, drive) = Self::with(out, references, run);
        let thread = std::thread::Builder::new().name("probes".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map(|runtime| runtime.block_on(drive))
        });
        if let Err(error) = thread {
            tracing::error!(%error, "no probe runs: there is no thread for them");
        }
        scheduler
    }

    /// A scheduler, and what drives it.
    fn with<F: Future<Output = Run> + Send + 'static>(
        out: mpsc::Sender<Ran>,
        references: Vec<Reference>,
        run: impl Fn(Start) -> F + Send + Sync + 'static,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let shared = Arc::new(Shared {
            schedule: Mutex::default(),
            wake: Notify::new(),
            out,
            references,
            suspicion: Mutex::default(),
            is_down: watch::Sender::new(false),
            back_since: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        });
        let (runs, ended) = oneshot::channel();
        let driven = shared.clone();
        let drive = async move {
            tokio::select! {
                () = drive(driven, Arc::new(run)) => {}
                _ = ended => {}
            }
        };
        (Self { shared, _runs: runs }, drive)
    }

    /// A device as it is now, if its probes are to run; a probe that is as before goes on as before.
    pub fn set(&mut self, name: &Name, now: Option<&Arc<Device>>) {
        self.shared.schedule().set(name, now, Instant::now());
        if now.is_none() {
            self.shared.suspicion().forget(name);
        }
        self.shared.wake.notify_one();
    }

    /// What it takes to run these probes of a device is otherwise: they begin anew, at once.
    pub fn anew(&mut self, name: &Name, which: impl Fn(&Probe) -> bool) {
        self.shared.schedule().anew(name, which, Instant::now());
        self.shared.wake.notify_one();
    }

    /// Something is under way on the device, so that each run is told; or not any more.
    pub fn attend(&mut self, name: &Name, each: bool) {
        self.shared.schedule().attend(name, each);
    }

    /// Something happened on the device: of each of its probes the next run that begins from now on is told.
    pub fn ask(&mut self, name: &Name) {
        self.shared.schedule().ask(name, Timestamp::now());
    }

    /// Where what was measured is taken from.
    pub fn measurements(&self) -> Measurements {
        Measurements(self.shared.clone())
    }

    /// Whether our own network is down.
    pub fn own_network(&self) -> watch::Receiver<bool> {
        self.shared.is_down.subscribe()
    }

    /// Whether nothing is held against a device that could not be reached: our own network is down, or was when that was tried.
    pub fn excuses(&self) -> bool {
        let back_since = *self.shared.back_since.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.is_down() || back_since.is_some_and(|since| since.elapsed() < STILL_TRIED)
    }
}

impl Shared {
    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn suspicion(&self) -> MutexGuard<'_, Suspicion> {
        self.suspicion.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_down(&self) -> bool {
        *self.is_down.borrow()
    }
}

async fn drive<F: Future<Output = Run> + Send + 'static>(shared: Arc<Shared>, run: Arc<impl Fn(Start) -> F + Send + Sync + 'static>) {
    loop {
        let (starts, next) = {
            let mut schedule = shared.schedule();
            (schedule.take(Instant::now()), schedule.next())
        };
        for start in starts {
            tokio::spawn(once(shared.clone(), run.clone(), start));
        }
        let now = Instant::now();
        let next = next.map_or(now + IDLE, |next| next.max(now + TOGETHER));
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            () = shared.wake.notified() => {}
        }
    }
}

/// One run, from its beginning until it is told.
async fn once<F: Future<Output = Run> + Send + 'static>(
    shared: Arc<Shared>,
    run: Arc<impl Fn(Start) -> F + Send + Sync + 'static>,
    start: Start,
) {
    // A result counts for a gate by when it was asked for, not by when the answer came.
    let (at, began, by_the_clock) = (Timestamp::now(), Instant::now(), SystemTime::now());
    let limit = Duration::try_from(start.probe().timeout).unwrap_or_default() + HELD_UP;
    let ended = run(start.clone()).await;
    // A machine that sleeps stops the one clock, a process that is stopped does not: either way the run says nothing.
    let took = began.elapsed().max(by_the_clock.elapsed().unwrap_or_default());
    let ended = (took <= limit).then_some(ended);
    let mut ended = ended;
    if !shared.references.is_empty()
        && let Some(run) = &mut ended
    {
        let suspected = shared.suspicion().note(&start.device.name, run.code.state(), Instant::now());
        if suspected && !shared.is_down() {
            tokio::spawn(find_out(shared.clone()));
        }
        if shared.is_down() && run.code.state() == ProbeState::Fail {
            *run = excuse(run);
        }
    }
    let told = shared.schedule().ended(start.id, ended, at);
    if shared.schedule().is_crowded() {
        shared.wake.notify_one();
    }
    if let Some(told) = told {
        tell(&shared, told).await;
    }
    let is_sooner = {
        let mut schedule = shared.schedule();
        let before = schedule.next();
        schedule.rest(start.id, Instant::now());
        before.is_none() || schedule.next() < before
    };
    if is_sooner {
        shared.wake.notify_one();
    }
}

async fn tell(shared: &Shared, told: Told) {
    let _ = shared.out.send(Ran { device: told.device, probe: told.probe, seen: told.seen }).await;
}

/// What a failure comes to while our own network is down.
fn excuse(run: &Run) -> Run {
    let words = format!("our own network is down: {}", run.words);
    Run { code: ProbeCode::OwnNetwork, words, ..run.clone() }
}

/// Asks the references, and where none answers, goes on until one does.
async fn find_out(shared: Arc<Shared>) {
    let Ok(_asking) = shared.asking.try_lock() else { return };
    if !own_network::all_fail(&shared.references).await {
        return;
    }
    let references: Vec<String> = shared.references.iter().map(ToString::to_string).collect();
    tracing::warn!(
        references = references.join(" "),
        "our own network is down: most targets fail, and none of the references answers; nothing is held against the targets"
    );
    shared.is_down.send_replace(true);
    let run = Run { code: ProbeCode::OwnNetwork, words: "our own network is down".into(), ..Run::default() };
    let told = shared.schedule().excuse(&run, Timestamp::now());
    for told in told {
        tell(&shared, told).await;
    }
    while own_network::all_fail(&shared.references).await {
        if shared.out.is_closed() {
            return;
        }
        tokio::time::sleep(own_network::AGAIN).await;
    }
    tracing::info!("our own network is back");
    *shared.back_since.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    shared.is_down.send_replace(false);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::SignedDuration;
    use reconcile::{Access, Check, Probe, Way};

    use super::*;

    fn device(name: &str) -> Arc<Device> {
        let check = Check::Tcp { port: 1, send: None, expect: None };
        let (interval, timeout) = (SignedDuration::from_secs(10), SignedDuration::from_secs(5));
        let probe = Probe { name: "it".into(), check, interval, timeout, failures: 2, successes: 1, way: Way::default() };
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

    /// It is moved a few times before it lies where it runs.
    #[test]
    fn a_run_is_small() {
        let devices = Devices::new(crate::Secrets::new(std::path::Path::new("/nonexistent")), &std::env::temp_dir());
        let device = device("web");
        let size = size_of_val(&run(&devices, &device, &device.probes[0]));
        assert!(size < 1024, "{size} bytes");
    }

    fn ran(code: ProbeCode) -> Run {
        Run { code, ..Run::default() }
    }

    /// What was told until now, as `device state`.
    fn told(out: &mut mpsc::Receiver<Ran>) -> Vec<String> {
        std::iter::from_fn(|| out.try_recv().ok()).map(|ran| format!("{} {:?} {:?}", ran.device, ran.seen.state, ran.seen.code)).collect()
    }

    /// One whose answers come late delays no other one; an idle fleet is silent.
    #[tokio::test(start_paused = true)]
    async fn an_idle_fleet_is_silent_and_a_slow_one_delays_nobody() {
        let (out, mut inbox) = mpsc::channel(1000);
        let runs = Arc::new(Mutex::new(BTreeMap::<String, usize>::new()));
        let counted = runs.clone();
        let (mut scheduler, drive) = Scheduler::with(out, Vec::new(), move |start| {
            *counted.lock().unwrap().entry(start.device.name.to_string()).or_default() += 1;
            async move {
                let slow = start.device.name.name().starts_with("slow");
                tokio::time::sleep(Duration::from_secs(if slow { 5 } else { 0 })).await;
                ran(if slow { ProbeCode::Timeout } else { ProbeCode::Passed })
            }
        });
        tokio::spawn(drive);
        for number in 0..20 {
            for name in [format!("web-{number}"), format!("slow-{number}")] {
                scheduler.set(&Name::parse(&name), Some(&device(&name)));
            }
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
        // Of a slow one: not yet failed, then failed.
        assert_eq!(told(&mut inbox).len(), 20 + 2 * 20);
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert_eq!(told(&mut inbox), Vec::<String>::new());
        let runs = runs.lock().unwrap();
        assert!(runs.values().all(|runs| (65..=67).contains(runs)), "{runs:?}");
        assert_eq!(scheduler.measurements().take().len(), 40);
    }

    /// The process was stopped for a minute in the middle of runs: what came of them is nobody's fault.
    #[tokio::test(start_paused = true)]
    async fn what_ran_while_we_were_stopped_says_nothing() {
        let (out, mut inbox) = mpsc::channel(1000);
        let (mut scheduler, drive) = Scheduler::with(out, Vec::new(), |_| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            ran(ProbeCode::Passed)
        });
        tokio::spawn(drive);
        for number in 0..50 {
            let name = format!("web-{number}");
            scheduler.set(&Name::parse(&name), Some(&device(&name)));
        }
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!(told(&mut inbox).len(), 50);
        scheduler.measurements().take();
        // Nothing runs meanwhile: the clock goes on alone.
        tokio::time::advance(Duration::from_secs(60)).await;
        tokio::task::yield_now().await;
        let begun = Instant::now();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(scheduler.measurements().take().len() < 10, "no storm");
        tokio::time::sleep(Duration::from_secs(12)).await;
        assert_eq!(scheduler.measurements().take().len(), 50, "after {:?} each has run", begun.elapsed());
        assert_eq!(told(&mut inbox), Vec::<String>::new());
    }

    #[tokio::test]
    async fn while_our_own_network_is_down_nothing_is_held_against_anybody() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = listener.local_addr().unwrap().to_string().parse::<Reference>().unwrap();
        let nowhere = "nowhere.invalid:1".parse::<Reference>().unwrap();
        for (reference, expected) in [(there, false), (nowhere, true)] {
            let (out, mut inbox) = mpsc::channel(1000);
            let (scheduler, drive) = Scheduler::with(out, vec![reference], |_| async { ran(ProbeCode::NoRoute) });
            tokio::spawn(drive);
            let shared = scheduler.shared.clone();
            for number in 0..8 {
                let name = format!("web-{number}");
                shared.schedule().set(&Name::parse(&name), Some(&device(&name)), Instant::now());
                let start = Start { id: number + 1, device: device(&name), number: 0 };
                once(shared.clone(), Arc::new(|_| async { ran(ProbeCode::NoRoute) }), start).await;
                // So that each is looked at.
                shared.suspicion().forget_when_it_was_looked();
            }
            let mut is_down = scheduler.own_network();
            let limit = Duration::from_secs(if expected { 60 } else { 1 });
            // What it waits for holds the value for as long as it is there.
            let is_so = tokio::time::timeout(limit, is_down.wait_for(|down| *down)).await.is_ok();
            assert_eq!(is_so, expected);
            if expected {
                let last = async { while inbox.recv().await.is_some_and(|ran| ran.seen.code != ProbeCode::OwnNetwork) {} };
                tokio::time::timeout(Duration::from_secs(60), last).await.unwrap();
                let start = Start { id: 1, device: device("web-0"), number: 0 };
                once(shared.clone(), Arc::new(|_| async { ran(ProbeCode::Timeout) }), start).await;
                assert!(shared.schedule().excuse(&ran(ProbeCode::OwnNetwork), Timestamp::UNIX_EPOCH).is_empty(), "none counts as failing");
                assert!(scheduler.excuses());
                shared.is_down.send_replace(false);
                for (since, expected) in [(Some(Instant::now()), true), (Instant::now().checked_sub(STILL_TRIED), false)] {
                    *shared.back_since.lock().unwrap() = since;
                    assert_eq!(scheduler.excuses(), expected, "what was tried before fails after");
                }
            }
        }
    }
}
