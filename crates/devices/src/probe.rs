//! Probes: is it up? Three-valued, counted, scheduled without storms.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use reconcile::{Check, Device, Name, Probe, ProbeSeen, ProbeState};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::devices::Devices;

/// Probes that run at once.
const AT_ONCE: usize = 256;
/// Tells apart pings to one host that run at once.
static PINGS: AtomicU16 = AtomicU16::new(1);
/// Bytes of an answer that are looked at.
const ANSWER: usize = 64 << 10;

/// What one run found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Run {
    /// It passed.
    Passed,
    /// It failed, for this reason.
    Failed(String),
    /// It could not be run: that says nothing about the device.
    NotRun(String),
}

/// A probe's state with what it has counted.
#[derive(Clone, Debug, Default)]
pub struct Counter {
    /// The state.
    pub seen: ProbeSeen,
    failures: u32,
    successes: u32,
}

impl Counter {
    /// Counts one run. The first run of all decides at once: there is no state yet that could flap.
    pub fn count(&mut self, probe: &Probe, run: &Run, at: Timestamp) {
        let first = self.seen.state == ProbeState::Unknown;
        let next = match run {
            Run::Passed => {
                (self.failures, self.successes) = (0, self.successes.saturating_add(1));
                self.seen.last_ok = Some(at);
                (first || self.successes >= probe.successes).then_some(ProbeState::Ok)
            }
            Run::Failed(_) => {
                (self.failures, self.successes) = (self.failures.saturating_add(1), 0);
                (self.failures >= probe.failures).then_some(ProbeState::Fail)
            }
            Run::NotRun(_) => {
                (self.failures, self.successes) = (0, 0);
                Some(ProbeState::Unknown)
            }
        };
        self.seen.seen_at = Some(at);
        self.seen.reason = match run {
            Run::Passed => String::new(),
            Run::Failed(reason) | Run::NotRun(reason) => reason.chars().filter(|c| !c.is_control()).take(300).collect(),
        };
        if let Some(next) = next.filter(|next| *next != self.seen.state || self.seen.since.is_none()) {
            self.seen.state = next;
            self.seen.since = Some(at);
        }
    }
}

/// Runs a probe once and wants it to pass.
pub(crate) async fn once(devices: &Devices, device: &Device, probe: &Probe) -> Result<(), String> {
    match run(devices, device, probe).await {
        Run::Passed => Ok(()),
        Run::Failed(reason) | Run::NotRun(reason) => Err(reason),
    }
}

/// Runs a probe once, within its time limit.
pub async fn run(devices: &Devices, device: &Device, probe: &Probe) -> Run {
    let limit = Duration::try_from(probe.timeout).unwrap_or(Duration::from_secs(5));
    // A command ends by its own limit, a little earlier: it then gives up its connection.
    let result = tokio::time::timeout(limit, check(devices, device, &probe.check, limit.mul_f32(0.95))).await;
    result.unwrap_or_else(|_| Run::Failed(format!("no answer within {limit:?}")))
}

async fn check(devices: &Devices, device: &Device, check: &Check, limit: Duration) -> Run {
    let failed = |result: Result<(), String>| result.map_or_else(Run::Failed, |()| Run::Passed);
    match check {
        Check::Tcp { port, send, expect } => failed(tcp(&device.address, *port, send.as_deref(), expect.as_deref()).await),
        Check::Http { .. } => failed(http(&devices.prober, &device.address, check, limit).await),
        Check::Icmp { count, max_loss_percent, max_rtt } => {
            icmp(&device.address, *count, *max_loss_percent, max_rtt.and_then(|rtt| Duration::try_from(rtt).ok()), limit).await
        }
        Check::Ssh { command, exit_code } => match devices.run(device, command, limit).await {
            Ok(output) if output.code == u32::try_from(*exit_code).ok() => Run::Passed,
            Ok(output) => Run::Failed(format!(
                "exit code {}: {}",
                output.code.map_or("none".into(), |code| code.to_string()),
                crate::devices::words(&output)
            )),
            Err(error) if error.is_transient() => Run::Failed(error.to_string()),
            Err(error) => Run::NotRun(error.to_string()),
        },
        Check::Snmp { agent, oid, expect } => crate::snmp::probe::run(devices, device, agent, oid, expect.as_deref()).await,
        Check::NotRun { kind } => Run::NotRun(format!("{kind} probes are not run by this version")),
    }
}

async fn tcp(address: &str, port: u16, send: Option<&str>, expect: Option<&str>) -> Result<(), String> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect((address, port)).await.map_err(|error| error.to_string())?;
    if let Some(text) = send {
        stream.write_all(text.as_bytes()).await.map_err(|error| error.to_string())?;
    }
    let Some(expect) = expect else { return Ok(()) };
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    while answer.len() < ANSWER {
        let read = stream.read(&mut piece).await.map_err(|error| error.to_string())?;
        if read == 0 {
            break;
        }
        answer.extend_from_slice(&piece[..read]);
        if contains(&answer, expect) {
            return Ok(());
        }
    }
    Err(format!("the answer does not contain `{expect}`"))
}

async fn http(client: &reqwest::Client, address: &str, check: &Check, limit: Duration) -> Result<(), String> {
    let Check::Http { scheme, port, path, method, headers, status, contains: wanted } = check else { return Ok(()) };
    let host = if address.parse::<std::net::Ipv6Addr>().is_ok() { format!("[{address}]") } else { address.to_owned() };
    let method = reqwest::Method::from_bytes(method.as_bytes()).map_err(|error| error.to_string())?;
    let mut request = client.request(method, format!("{scheme}://{host}:{port}{path}")).timeout(limit);
    for (key, value) in headers {
        request = request.header(key, value);
    }
    let mut answer = request.send().await.map_err(|error| cause(&error))?;
    let code = answer.status();
    let accepted = if status.is_empty() { code.is_success() } else { status.contains(&code.as_u16()) };
    if !accepted {
        return Err(format!("status {}", code.as_u16()));
    }
    let Some(wanted) = wanted else { return Ok(()) };
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(|error| cause(&error))? {
        body.extend_from_slice(&piece);
        if contains(&body, wanted) {
            return Ok(());
        }
        if body.len() > ANSWER {
            break;
        }
    }
    Err(format!("the body does not contain `{wanted}`"))
}

/// The innermost reason: the outer ones only repeat the address.
fn cause(error: &reqwest::Error) -> String {
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

fn contains(bytes: &[u8], text: &str) -> bool {
    !text.is_empty() && bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

async fn icmp(address: &str, count: u32, max_loss_percent: u32, max_rtt: Option<Duration>, limit: Duration) -> Run {
    let host = match address.parse::<IpAddr>() {
        Ok(address) => address,
        Err(_) => match tokio::net::lookup_host((address, 0)).await.ok().and_then(|mut found| found.next()) {
            Some(found) => found.ip(),
            None => return Run::Failed(format!("`{address}` has no address")),
        },
    };
    let config = match host {
        IpAddr::V4(_) => surge_ping::Config::default(),
        IpAddr::V6(_) => surge_ping::Config::builder().kind(surge_ping::ICMP::V6).build(),
    };
    let client = match surge_ping::Client::new(&config) {
        Ok(client) => client,
        Err(error) => {
            return Run::NotRun(format!("the kernel refuses ICMP sockets ({error}): allow our group in net.ipv4.ping_group_range"));
        }
    };
    let mut pinger = client.pinger(host, surge_ping::PingIdentifier(PINGS.fetch_add(1, Ordering::Relaxed))).await;
    let each = (limit / count.max(1)).max(Duration::from_millis(20));
    pinger.timeout(each.mul_f32(0.9));
    let (mut lost, mut total) = (0, Duration::ZERO);
    for sequence in 0..count.max(1) {
        match pinger.ping(surge_ping::PingSequence(u16::try_from(sequence).unwrap_or(0)), &[0; 32]).await {
            Ok((_, time)) => total += time,
            Err(_) => lost += 1,
        }
    }
    let count = count.max(1);
    if lost * 100 > max_loss_percent * count || lost == count {
        return Run::Failed(format!("{lost} of {count} echo requests were lost"));
    }
    let average = total / (count - lost);
    match max_rtt.filter(|limit| average > *limit) {
        Some(limit) => Run::Failed(format!("average round trip {average:?}, more than {limit:?}")),
        None => Run::Passed,
    }
}

/// What the scheduler tells: a probe ran.
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
pub struct Scheduler {
    devices: Arc<Devices>,
    out: mpsc::Sender<Ran>,
    permits: Arc<Semaphore>,
    running: HashMap<Name, (Arc<Device>, JoinHandle<()>)>,
}

impl Scheduler {
    /// A scheduler that tells what ran to `out`.
    pub fn new(devices: Arc<Devices>, out: mpsc::Sender<Ran>) -> Self {
        Self { devices, out, permits: Arc::new(Semaphore::new(AT_ONCE)), running: HashMap::new() }
    }

    /// A device as it is now, if its probes are to run; only one whose probes are otherwise begins anew.
    pub fn set(&mut self, name: &Name, now: Option<&Arc<Device>>) {
        let same = |(before, _): &(Arc<Device>, _)| {
            now.is_some_and(|now| now.probes == before.probes && now.address == before.address && now.access == before.access)
        };
        if self.running.get(name).is_some_and(same) {
            return;
        }
        if let Some((_, task)) = self.running.remove(name) {
            task.abort();
        }
        if let Some(device) = now {
            let watch = watch(self.devices.clone(), device.clone(), self.out.clone(), self.permits.clone());
            self.running.insert(name.clone(), (device.clone(), tokio::spawn(watch)));
        }
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        for (_, task) in self.running.values() {
            task.abort();
        }
    }
}

/// Runs one device's probes, each on its interval, beginning at a moment of its own so that a fleet does not beat in time.
async fn watch(devices: Arc<Devices>, device: Arc<Device>, out: mpsc::Sender<Ran>, permits: Arc<Semaphore>) {
    let probes = device.probes.iter().enumerate().map(|(number, probe)| {
        let (devices, device, out, permits) = (devices.clone(), device.clone(), out.clone(), permits.clone());
        async move {
            let interval = Duration::try_from(probe.interval).unwrap_or(Duration::from_secs(30)).max(Duration::from_secs(1));
            let mut counter = Counter::default();
            let spread = interval.min(Duration::from_secs(30)).mul_f64(share(&device.name, number));
            tokio::time::sleep(spread).await;
            let mut ticks = tokio::time::interval(interval);
            // After a pause the missed runs are not made up for: a probe is about now.
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let Ok(permit) = permits.acquire().await else { return };
                // A result counts for a gate by when it was asked for, not by when the answer came.
                let at = Timestamp::now();
                let run = run(&devices, &device, probe).await;
                drop(permit);
                counter.count(probe, &run, at);
                let ran = Ran { device: device.name.clone(), probe: probe.name.clone(), seen: counter.seen.clone() };
                if out.send(ran).await.is_err() {
                    return;
                }
            }
        }
    });
    futures::future::join_all(probes).await;
}

/// A share between 0 and 1 that is always the same for a device's probe.
fn share(name: &Name, number: usize) -> f64 {
    let hash = name.full().bytes().fold(14_695_981_039_346_656_037_u64.wrapping_add(number as u64), |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(1_099_511_628_211)
    });
    // Short names leave the high bits alike: mix them as MurmurHash3's finalizer does.
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = hash ^ (hash >> 33);
    f64::from(u32::try_from(hash >> 40).unwrap_or(0)) / f64::from(1_u32 << 24)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn probe() -> Probe {
        let check = Check::Tcp { port: 1, send: None, expect: None };
        Probe {
            name: "web".into(),
            check,
            interval: SignedDuration::from_secs(1),
            timeout: SignedDuration::from_secs(1),
            failures: 3,
            successes: 2,
        }
    }

    /// Runs as letters (p passed, f failed, n not run) and the states after each of them.
    #[test]
    fn states_follow_the_counts() {
        for (runs, states) in [
            ("p", "o"),
            ("fff", "uux"),
            ("pffpff", "oooooo"),
            ("pfff", "ooox"),
            ("pfffpp", "oooxxo"),
            ("pfffpfpp", "oooxxxxo"),
            ("pnp", "ouo"),
            ("pffnff", "ooouuu"),
        ] {
            let mut counter = Counter::default();
            let mut seen = String::new();
            for (second, run) in (0..).zip(runs.chars()) {
                let run = match run {
                    'p' => Run::Passed,
                    'f' => Run::Failed("down".into()),
                    _ => Run::NotRun("no key".into()),
                };
                counter.count(&probe(), &run, Timestamp::from_second(second).unwrap());
                seen.push(match counter.seen.state {
                    ProbeState::Ok => 'o',
                    ProbeState::Fail => 'x',
                    ProbeState::Unknown => 'u',
                });
            }
            assert_eq!(seen, states, "{runs}");
        }
    }

    #[test]
    fn the_first_passes_are_spread_over_the_interval() {
        let shares: Vec<f64> = (0..1000).map(|number| share(&Name::parse(&format!("web-{number}")), 0)).collect();
        assert!(shares.iter().all(|share| (0.0..1.0).contains(share)));
        let early = shares.iter().filter(|share| **share < 0.5).count();
        assert!((350..650).contains(&early), "{early} of 1000 in the first half");
    }
}
