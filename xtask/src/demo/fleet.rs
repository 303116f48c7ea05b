//! The fleets that the demo can be given on: simulated devices, or real machines.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use e2e::engine::Engine;
use e2e::machine::{Block, Machine};
use e2e::packages::Repository;
use e2e::simulated::Simulated;

use crate::{install, root};

/// Seconds that a batch is watched in the demo: long enough for the bad release to show, short enough to look on.
pub(super) const SOAK: &str = "5s";
/// What the release that is betrayed by its lines of log says.
pub(super) const WORDS: &str = "cannot parse header of frame";
/// Real machines of the demo.
const MACHINES: u8 = 5;

/// What is released in the demo.
#[derive(Clone)]
pub(super) struct Release {
    pub(super) deployment: &'static str,
    pub(super) package: &'static str,
    /// The file in Git.
    pub(super) file: &'static str,
    /// The first one, a good one, and a bad one.
    pub(super) versions: [&'static str; 3],
    /// One that serves well and logs errors; of simulated devices.
    pub(super) betrayed: &'static str,
    /// So many devices get it.
    pub(super) devices: usize,
}

/// A fleet with an engine that is not started yet. Dropped in this order: the engine, and then what it acts on.
pub(super) struct Fleet {
    pub(super) engine: Engine,
    pub(super) release: Release,
    pub(super) introduction: String,
    pub(super) log: PathBuf,
    /// Where the web UI is.
    pub(super) web: SocketAddr,
    /// A command that changes something on a device.
    pub(super) by_hand: Option<String>,
    binary: PathBuf,
    devices: Devices,
}

#[allow(dead_code, reason = "held for what their end does")]
enum Devices {
    Simulated(Simulated),
    Machines { machines: Vec<Machine>, repository: Repository, block: Block, folder: Folder },
}

/// A folder that goes with the demo.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Fleet {
    /// The devices of `examples/`, simulated.
    pub(super) fn simulated(binary: &Path) -> anyhow::Result<Self> {
        let release = Release {
            deployment: "nginx",
            package: "nginx",
            file: "deployments/nginx.yaml",
            versions: ["1.22.1-9", "1.24.0-1", "1.25.2-1"],
            betrayed: "1.26.0-1",
            devices: 12,
        };
        let [_, good, bad] = release.versions;
        let (good, bad) = (format!("nginx={good}"), format!("nginx={bad}"));
        let dies = format!("{bad}:dies-after=6s");
        let betrayed = format!("{}={}", release.package, release.betrayed);
        let logs = format!("{betrayed}:logs={WORDS}; upstream gave up after three tries");
        // Free now: the engine takes it in a moment.
        let syslog = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let more = ["--package", &good, "--package", &bad, "--package", &betrayed, "--bad", &dies, "--bad", &logs, "--syslog", &syslog];
        let devices = Simulated::start(binary, &root().join("examples"), &more)?;
        let folder = devices.folder.clone();
        let mut engine = Engine::with(binary, &folder, &devices.key())?;
        // What they say in the first moments is what they usually say.
        engine.arguments.extend(["--syslog-udp", &syslog, "--log-learning", "20s"].map(str::to_owned));
        let web = listen(&mut engine)?;
        // Whoever goes on by hand may have told Git nothing yet.
        for (key, value) in [("user.name", "Ann"), ("user.email", "ann@example.com")] {
            e2e::run(Command::new("git").arg("-C").arg(&engine.fleet).args(["config", key, value]))?;
        }
        for file in ["base", "nginx", "postgresql"] {
            hurry(&engine.fleet.join(format!("deployments/{file}.yaml")))?;
        }
        // And readings come often enough to look on.
        let classes = engine.fleet.join("devices/classes.yaml");
        std::fs::write(&classes, std::fs::read_to_string(&classes)?.replace("interval: 30s", "interval: 2s"))?;
        let introduction = format!(
            "24 simulated devices at three sites, each with a real SSH server on a loopback address: the fleet of examples/.\nIts Git repository is {}, \
             where batches are watched for {SOAK} instead of minutes, and readings come each 2 s.",
            engine.fleet.display()
        );
        let by_hand = Some(format!("echo mine > {}", folder.join("simulated/devices/web-ams1-01/etc/motd").display()));
        let log = folder.join("engine.log");
        Ok(Self { engine, release, introduction, log, web, by_hand, binary: binary.to_owned(), devices: Devices::Simulated(devices) })
    }

    /// Debian machines booted by systemd-nspawn, as the end-to-end tests have them.
    pub(super) fn machines(binary: &Path) -> anyhow::Result<Self> {
        let missing = install::ensure();
        if let Some(why) = e2e::unavailable() {
            bail!("{why} {}", missing.join(" "));
        }
        let folder = std::env::temp_dir().join(format!("evenkeel-demo-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let kept = Folder(folder.clone());
        let key = folder.join("key");
        e2e::run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key))?;
        let root = e2e::rootfs::ensure()?;
        let repository = Repository::make(&folder)?;
        let block = Block::take()?;
        let boot = |number| Machine::boot(&format!("web-{number}"), &block.address(number), &folder, &root, &repository.folder, &key);
        let machines = (1..=MACHINES).map(boot).collect::<anyhow::Result<Vec<Machine>>>()?;
        for machine in &machines {
            machine.exec("apt-get -q update")?;
        }
        let mut engine = Engine::with(binary, &folder, &key)?;
        engine.write_devices(&machines)?;
        let web = listen(&mut engine)?;
        let release = Release {
            deployment: "hello",
            package: "hello-keel",
            file: "hello.yaml",
            versions: ["1.0-1", "2.0-1", "3.0-1"],
            betrayed: "",
            devices: usize::from(MACHINES),
        };
        let introduction = format!(
            "{MACHINES} Debian machines with systemd, sshd and apt of their own, on loopback addresses.\nTheir Git repository is {}.",
            engine.fleet.display()
        );
        let by_hand = machines.first().map(|machine| format!("ssh -i {} ops@{} sudo dpkg -r hello-keel", key.display(), machine.address));
        let log = folder.join("engine.log");
        let devices = Devices::Machines { machines, repository, block, folder: kept };
        Ok(Self { engine, release, introduction, log, web, by_hand, binary: binary.to_owned(), devices })
    }

    /// Commits a version.
    pub(super) fn commit(&self, version: &str) -> anyhow::Result<()> {
        let Release { file, package, versions, .. } = &self.release;
        if !self.engine.fleet.join(file).exists() {
            return self.engine.deploy(version, "").map(drop);
        }
        let mut text = std::fs::read_to_string(self.engine.fleet.join(file)).with_context(|| (*file).to_owned())?;
        for other in versions {
            text = text.replace(&format!("version: {other}"), &format!("version: {version}"));
        }
        ensure!(text.contains(&format!("version: {version}")), "{file} names no version");
        self.engine.commit(file, &text, &format!("{package} {version}")).map(drop)
    }

    /// Where whoever looks at the web UI becomes its first administrator: it counts once.
    pub(super) fn way_in(&self) -> Option<String> {
        let said = std::fs::read_to_string(&self.log).ok()?;
        said.lines().map(str::trim).rfind(|line| line.contains("/sign-in#token=")).map(str::to_owned)
    }

    /// The answer to whoever opens the web UI.
    pub(super) fn page(&self) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(self.web)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(stream, "GET / HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.web)?;
        let mut answer = String::new();
        stream.take(1 << 20).read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Whether the devices are simulated, and can be told to misbehave.
    pub(super) fn is_simulated(&self) -> bool {
        matches!(self.devices, Devices::Simulated(_))
    }

    /// Lets simulated devices misbehave, or be `well` again.
    pub(super) fn order(&mut self, devices: &[&str], what: &str) -> anyhow::Result<()> {
        match &mut self.devices {
            Devices::Simulated(simulated) => devices.iter().try_for_each(|device| simulated.order(device, what)),
            Devices::Machines { .. } => bail!("real machines are not told how they are"),
        }
    }

    /// The key that opens the devices.
    pub(super) fn key(&self) -> PathBuf {
        self.engine.key()
    }

    /// A command that needs no engine.
    pub(super) fn offline(&self, arguments: &[&str]) -> anyhow::Result<String> {
        e2e::run(Command::new(&self.binary).args(arguments).env("NO_COLOR", "1"))
    }
}

/// Lets the engine serve its web UI on a port that is free now.
fn listen(engine: &mut Engine) -> anyhow::Result<SocketAddr> {
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    engine.arguments.extend(["--listen".into(), address.to_string()]);
    Ok(address)
}

/// Cuts the time short that batches are watched.
fn hurry(file: &Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let lines = text.lines().map(|line| match line.split_once("soak: ") {
        Some((before, _)) if before.trim().is_empty() => format!("{before}soak: {SOAK}\n"),
        _ => format!("{line}\n"),
    });
    Ok(std::fs::write(file, lines.collect::<String>())?)
}
