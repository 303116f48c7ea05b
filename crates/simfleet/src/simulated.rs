//! One simulated device.

use std::fs::File;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use reconcile::{Access, Device, Name, SshAccess};
use russh::keys::PrivateKey;
use rustix::fs::{FlockOperation, flock};
use tokio::process::Command;
use tokio::sync::watch;

use crate::fleet::{KEY, PORT, Shared};
use crate::numbers::Numbers;
use crate::ports::{Port, Unit};
use crate::{Error, Fault, io, process, ssh};

/// How long a reboot takes.
const REBOOT: Duration = Duration::from_millis(1500);
/// Devices that were never started anew were started at a multiple of this many seconds since 1970, whoever asks when.
const STARTED: u64 = 100 * 86_400;
/// Time for which what `/proc` and `df` say is not written anew.
const COUNTED: Duration = Duration::from_millis(500);
/// What its folders are.
const FOLDERS: [&str; 11] = [
    ".simulated/packages",
    ".simulated/control",
    ".simulated/units",
    ".simulated/owners",
    ".simulated/well",
    "etc/sudoers.d",
    "home",
    "run",
    "var/lib/dpkg/updates",
    "var/lib/apt/lists",
    "var/cache/apt/archives",
];

/// What a device has besides SSH.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Ports that it serves.
    pub ports: Vec<Port>,
    /// Units that no package brings, active from the start.
    pub units: Vec<String>,
    /// Where it sends lines of log by UDP, if anywhere.
    pub syslog: Option<SocketAddr>,
}

/// One simulated device.
pub struct Simulated {
    name: String,
    address: Ipv4Addr,
    root: PathBuf,
    host_key: String,
    fleet: Arc<Shared>,
    /// With the pinned host key, and with another one.
    configs: [Arc<russh::server::Config>; 2],
    up: watch::Sender<bool>,
    state: Mutex<State>,
}

/// What of its faults is not in files, and what it has open.
#[derive(Default)]
struct State {
    slow: Duration,
    drops: u32,
    away: bool,
    rebooting: bool,
    disk_full: bool,
    /// What it logs as errors.
    complains: Option<String>,
    other_key: bool,
    /// Since when its disk fills up, and how long that takes.
    filling: Option<(Instant, Duration)>,
    /// When it was started last; of the first time nobody knows more than its name says.
    booted: Option<Instant>,
    /// When `/proc` and `df` were written last.
    counted: Option<Instant>,
    boots: u32,
    lock: Option<Arc<File>>,
    wires: Vec<(u64, TcpStream)>,
    opened: u64,
}

/// What a command has to suffer.
pub(crate) struct Orders {
    pub(crate) slow: Duration,
    pub(crate) drop: bool,
}

impl Simulated {
    pub(crate) fn make(name: &str, address: Ipv4Addr, root: PathBuf, keys: &[PrivateKey; 2], fleet: Arc<Shared>) -> Result<Self, Error> {
        for folder in FOLDERS {
            std::fs::create_dir_all(root.join(folder)).map_err(io(root.display()))?;
        }
        let host_key = keys[0].public_key().to_openssh().map_err(|error| Error::Key(error.to_string()))?;
        let device = Self {
            name: name.to_owned(),
            address,
            root,
            host_key: host_key.split(' ').take(2).collect::<Vec<_>>().join(" "),
            fleet,
            configs: [ssh::config(&keys[0]), ssh::config(&keys[1])],
            up: watch::Sender::new(true),
            state: Mutex::default(),
        };
        device.write("etc/os-release", "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian 12, simulated\"\n")?;
        device.write("etc/evenkeel-boot-id", &format!("{name}-boot-0\n"))?;
        let newest = device.fleet.newest()?;
        std::os::unix::fs::symlink(newest, device.root.join("var/lib/apt/lists/simulated")).map_err(io(&device.name))?;
        Ok(device)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its loopback address.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The port of its SSH server.
    pub fn port(&self) -> u16 {
        PORT
    }

    /// Its root directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Its host key, as it has to be pinned: `ssh-ed25519 AAAA…`.
    pub fn host_key(&self) -> &str {
        &self.host_key
    }

    /// It as a device of a fleet whose secrets are those of [`Fleet::secrets`](crate::Fleet::secrets).
    pub fn declared(&self) -> Device {
        let access = SshAccess {
            port: self.port(),
            user: "ops".into(),
            secret: Some(KEY.into()),
            host_keys: vec![self.host_key.clone()],
            sudo: true,
            via: None,
        };
        Device {
            name: Name::parse(&self.name),
            device_type: crds::DeviceType::Server,
            address: self.address.to_string(),
            labels: Default::default(),
            parents: Vec::new(),
            access: Access::Ssh(access),
            probes: Vec::new(),
            metrics: None,
            logs: Default::default(),
            maintenance: Vec::new(),
            suspend: false,
            vars: Default::default(),
        }
    }

    /// A file of the device.
    pub fn read(&self, path: &str) -> std::io::Result<String> {
        std::fs::read_to_string(self.root.join(path.trim_start_matches('/')))
    }

    /// Writes a file of the device, as somebody does by hand.
    pub fn write(&self, path: &str, text: &str) -> Result<(), Error> {
        let path = self.root.join(path.trim_start_matches('/'));
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(io(folder.display()))?;
        }
        std::fs::write(&path, text).map_err(io(path.display()))
    }

    /// Runs a script on the device, as somebody does by hand. It must succeed.
    pub async fn run(&self, script: &str) -> Result<String, Error> {
        let said = |said: String| Error::Command { device: self.name.clone(), said };
        let output = tokio::time::timeout(Duration::from_secs(60), self.command(script).stdin(std::process::Stdio::null()).output()).await;
        let output = output.map_err(|_| said("took longer than a minute".into()))?.map_err(io(&self.name))?;
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        if output.status.success() { Ok(text) } else { Err(said(text)) }
    }

    /// Lets it misbehave from now on.
    pub fn suffer(&self, fault: &Fault) -> Result<(), Error> {
        tracing::debug!(device = self.name, %fault, "suffers");
        match fault {
            Fault::Slow(time) => self.state().slow = *time,
            Fault::Drops(times) => self.state().drops = *times,
            Fault::DiskFull => self.state().disk_full = true,
            Fault::Logs(words) => self.state().complains = Some(words.clone()),
            Fault::DiskFills(time) => self.state().filling = Some((Instant::now(), *time)),
            Fault::InstallFails(words) => self.write(".simulated/install-fails", &format!("{}\n", words.replace('\n', " ")))?,
            Fault::DiesAfter(time) => self.write(".simulated/dies", &format!("{}\n", time.as_secs()))?,
            Fault::LockHeld(time) => self.hold_lock(*time)?,
            Fault::Away => {
                self.state().away = true;
                self.power();
            }
            Fault::WrongHostKey => {
                self.state().other_key = true;
                self.cut();
            }
        }
        Ok(())
    }

    /// It behaves again, in every way.
    pub fn recover(&self) {
        let other_key = {
            let mut state = self.state();
            (state.slow, state.drops) = (Duration::ZERO, 0);
            if let Some(lock) = state.lock.take() {
                let _ = flock(&*lock, FlockOperation::Unlock);
            }
            (state.away, state.disk_full, state.filling, state.complains) = (false, false, None, None);
            std::mem::take(&mut state.other_key)
        };
        for file in ["install-fails", "dies"] {
            let _ = std::fs::remove_file(self.root.join(".simulated").join(file));
        }
        self.power();
        if other_key {
            self.cut();
        }
    }

    /// Breaks every connection that is open, as a network does; commands go on.
    pub fn cut(&self) {
        for (_, wire) in self.state().wires.drain(..) {
            let _ = wire.shutdown(Shutdown::Both);
        }
    }

    /// Pulls the plug and puts it in again: everything that runs on it ends, and it boots.
    pub async fn reboot(&self) {
        self.state().rebooting = true;
        self.power();
        process::end_all(&self.root);
        tokio::time::sleep(REBOOT).await;
        let boot = {
            let mut state = self.state();
            (state.boots, state.rebooting, state.booted) = (state.boots + 1, false, Some(Instant::now()));
            state.boots
        };
        let _ = std::fs::remove_file(self.root.join(".simulated/reboot"));
        let _ = std::fs::remove_file(self.root.join("run/reboot-required"));
        let _ = self.write("etc/evenkeel-boot-id", &format!("{}-boot-{boot}\n", self.name));
        for unit in std::fs::read_dir(self.root.join(".simulated/units")).into_iter().flatten().flatten() {
            let Ok(text) = std::fs::read_to_string(unit.path()) else { continue };
            let words: Vec<&str> = text.split_whitespace().collect();
            // All units are enabled; one that was stopped is started again.
            if let [_, _, dies, version] = words[..] {
                let _ = std::fs::write(unit.path(), started(dies, version));
            }
        }
        self.power();
    }

    pub(crate) fn add_unit(&self, unit: &str) -> Result<(), Error> {
        self.write(&format!(".simulated/units/{unit}"), &started("-", "-"))
    }

    pub(crate) fn fleet(&self) -> &Shared {
        &self.fleet
    }

    pub(crate) fn up(&self) -> watch::Receiver<bool> {
        self.up.subscribe()
    }

    pub(crate) fn config(&self) -> Arc<russh::server::Config> {
        self.configs[usize::from(self.state().other_key)].clone()
    }

    pub(crate) fn wants_reboot(&self) -> bool {
        self.root.join(".simulated/reboot").exists()
    }

    /// What a unit is; `None` while that is being written.
    pub(crate) fn unit(&self, unit: &str) -> Option<Unit> {
        match std::fs::read_to_string(self.root.join(".simulated/units").join(unit)) {
            Ok(text) => Unit::parse(&text, SystemTime::now()),
            Err(_) => Some(Unit::default()),
        }
    }

    /// A connection was opened; `None` if there are too many.
    pub(crate) fn opened(&self, wire: TcpStream, most: usize) -> Option<u64> {
        let mut state = self.state();
        if state.wires.len() >= most {
            return None;
        }
        state.opened += 1;
        let number = state.opened;
        state.wires.push((number, wire));
        Some(number)
    }

    pub(crate) fn closed(&self, wire: u64) {
        self.state().wires.retain(|(number, _)| *number != wire);
    }

    pub(crate) fn cut_one(&self, wire: u64) {
        if let Some((_, wire)) = self.state().wires.iter().find(|(number, _)| *number == wire) {
            let _ = wire.shutdown(Shutdown::Both);
        }
    }

    /// What it logs as errors.
    pub(crate) fn complains(&self) -> Option<String> {
        self.state().complains.clone()
    }

    /// What the next command has to suffer.
    pub(crate) fn orders(&self) -> Orders {
        let mut state = self.state();
        let drop = state.drops > 0;
        state.drops = state.drops.saturating_sub(1);
        Orders { slow: state.slow, drop }
    }

    /// Brings `/proc` and `df` up to date, before a command looks at them.
    pub(crate) fn count_on(&self) {
        let (filled, booted) = {
            let mut state = self.state();
            if state.counted.is_some_and(|counted| counted.elapsed() < COUNTED) {
                return;
            }
            state.counted = Some(Instant::now());
            let share = |(since, time): (Instant, Duration)| since.elapsed().as_secs_f64() / time.as_secs_f64().max(1.0);
            (if state.disk_full { 1.0 } else { state.filling.map_or(0.0, share) }, state.booted)
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let since_first = Duration::new(now.as_secs() % STARTED, now.subsec_nanos());
        let numbers = Numbers::new(&self.name, booted.map_or(since_first, |booted| booted.elapsed()), filled);
        if let Err(error) = numbers.write(&self.root) {
            tracing::debug!(%error, device = self.name, "its numbers can't be written");
        }
    }

    /// A command on the device.
    pub(crate) fn command(&self, script: &str) -> Command {
        // Every write beyond the limit fails, with nobody being killed for it: as close to a full disk as one gets without root.
        let full = format!("trap '' XFSZ; ulimit -f 0\n{script}");
        let mut command = ssh::shell(if self.state().disk_full { &full } else { script });
        command
            .env("PATH", format!("{}:{}", self.fleet.bin.display(), self.fleet.path))
            .env("HOME", &self.root)
            .env("SIMFLEET", &self.fleet.folder)
            .env("EVENKEEL_ROOT", &self.root)
            .current_dir(&self.root);
        command
    }

    fn hold_lock(&self, time: Duration) -> Result<(), Error> {
        let path = self.root.join("var/lib/dpkg/lock-frontend");
        let file = Arc::new(File::create(&path).map_err(io(path.display()))?);
        flock(&*file, FlockOperation::NonBlockingLockExclusive).map_err(|error| io(path.display())(error.into()))?;
        self.state().lock = Some(file.clone());
        let stop = self.fleet.stop.clone();
        tokio::spawn(async move {
            stop.run_until_cancelled(tokio::time::sleep(time)).await;
            let _ = flock(&*file, FlockOperation::Unlock);
        });
        Ok(())
    }

    /// Up unless it is away or rebooting; what is open breaks when it goes down.
    fn power(&self) {
        let up = {
            let state = self.state();
            !state.away && !state.rebooting
        };
        self.up.send_replace(up);
        if !up {
            self.cut();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn started(dies: &str, version: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    format!("active {now} {dies} {version}\n")
}
