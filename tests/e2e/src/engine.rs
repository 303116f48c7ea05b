//! The real engine on a fleet repository.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::machine::Machine;
use crate::{run, wait_until};

/// A Git repository with a fleet, and the engine on it.
pub struct Engine {
    /// The work tree of the fleet repository.
    pub fleet: PathBuf,
    /// The engine's data directory.
    pub data: PathBuf,
    /// Where a standalone engine has its secrets.
    pub secrets: PathBuf,
    /// Time between two looks of a standalone engine at the repository.
    pub interval: &'static str,
    /// Further arguments of `evenkeel run`.
    pub arguments: Vec<String>,
    /// Further environment variables of it.
    pub environment: Vec<(&'static str, String)>,
    /// The `postgres://` URL of its store; SQLite without.
    pub database: Option<String>,
    /// The kubeconfig of the cluster whose objects it serves; the repository without.
    pub kubeconfig: Option<PathBuf>,
    process: Option<Child>,
    binary: PathBuf,
    log: PathBuf,
}

impl Engine {
    /// A fleet repository and a data directory below `folder`; the engine is not started yet.
    pub fn new(folder: &Path, key: &Path) -> anyhow::Result<Self> {
        let binary = std::env::var("EVENKEEL_BIN").context("EVENKEEL_BIN names no evenkeel: run the tests by `cargo xtask test`")?;
        Self::with(Path::new(&binary), folder, key)
    }

    /// The same with this binary.
    pub fn with(binary: &Path, folder: &Path, key: &Path) -> anyhow::Result<Self> {
        let engine = Self {
            fleet: folder.join("fleet"),
            data: folder.join("data"),
            secrets: folder.join("secrets"),
            interval: "1s",
            arguments: Vec::new(),
            environment: Vec::new(),
            database: None,
            kubeconfig: None,
            process: None,
            binary: binary.to_owned(),
            log: folder.join("engine.log"),
        };
        std::fs::create_dir_all(&engine.fleet)?;
        std::fs::create_dir_all(engine.secrets.join("fleet-key"))?;
        std::fs::copy(key, engine.secrets.join("fleet-key/ssh-privatekey"))?;
        engine.git(&["init", "-q"])?;
        Ok(engine)
    }

    /// The key that opens its devices.
    pub fn key(&self) -> PathBuf {
        self.secrets.join("fleet-key/ssh-privatekey")
    }

    /// Git in the fleet repository.
    pub fn git(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let settings =
            ["-c", "user.name=Ann", "-c", "user.email=ann@example.com", "-c", "init.defaultBranch=main", "-c", "commit.gpgsign=false"];
        run(Command::new("git").arg("-C").arg(&self.fleet).args(settings).args(arguments).env("GIT_CONFIG_GLOBAL", "/dev/null"))
    }

    /// Writes the machines as Devices.
    pub fn write_devices(&self, machines: &[Machine]) -> anyhow::Result<()> {
        for machine in machines {
            let Machine { name, address, host_key, .. } = machine;
            let text = format!(
                "apiVersion: evenkeel.dev/v1alpha1\nkind: Device\nmetadata:\n  name: {name}\n  labels: {{role: web}}\nspec:\n  type: Server\n  address: {address}\n  access:\n    ssh:\n      user: ops\n      become: sudo\n      secretRef: {{name: fleet-key}}\n      hostKeys: [\"{host_key}\"]\n  probes:\n    - {{name: web, http: {{port: 8080, path: /healthz, contains: ok}}, interval: 1s, timeout: 2s, failures: 2, successes: 1}}\n"
            );
            std::fs::write(self.fleet.join(format!("{name}.yaml")), text)?;
        }
        Ok(())
    }

    /// Commits the Deployment of `hello-keel` at a version. `more` are further lines of its spec.
    pub fn deploy(&self, version: &str, more: &str) -> anyhow::Result<String> {
        let text = format!(
            "apiVersion: evenkeel.dev/v1alpha1\nkind: Deployment\nmetadata: {{name: hello}}\nspec:\n  selector: {{matchLabels: {{role: web}}}}\n  package: {{apt: {{name: hello-keel, version: {version}}}}}\n  service: {{unit: hello-keel}}\n  strategy:\n    batches: [{{max: 1}}, {{max: 2}}]\n    maxUnavailable: 2\n    soak: 4s\n    deadline: 60s\n{more}"
        );
        self.commit("hello.yaml", &text, &format!("hello {version}"))
    }

    /// Commits a file.
    pub fn commit(&self, file: &str, text: &str, message: &str) -> anyhow::Result<String> {
        std::fs::write(self.fleet.join(file), text)?;
        self.git(&["add", "-A"])?;
        self.git(&["commit", "-q", "-m", message])?;
        Ok(self.git(&["rev-parse", "HEAD"])?.trim().to_owned())
    }

    /// How it is started.
    pub fn command(&self) -> Command {
        self.command_of(&["run"])
    }

    /// How it is started by this command, `run` or `apply --once`.
    pub fn command_of(&self, verb: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(verb);
        match &self.kubeconfig {
            Some(kubeconfig) => command.args(["--kubernetes", "--lease-namespace", "evenkeel-system", "--kubeconfig"]).arg(kubeconfig),
            None => command.arg("--repo").arg(&self.fleet).arg("--secrets").arg(&self.secrets).args(["--interval", self.interval]),
        };
        command
            .arg("--data")
            .arg(&self.data)
            .args(if self.arguments.iter().any(|argument| argument == "--look-interval") { &[][..] } else { &["--look-interval", "5s"] })
            .args(&self.arguments)
            .env("NO_COLOR", "1")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env_remove("DATABASE_URL");
        if let Some(url) = &self.database {
            command.env("DATABASE_URL", url);
        }
        command
    }

    /// Starts it.
    pub fn start(&mut self) -> anyhow::Result<()> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&self.log)?;
        self.process = Some(self.command().stdout(log.try_clone()?).stderr(log).spawn()?);
        wait_until("the engine's socket", Duration::from_secs(20), || {
            let output = self.cli(&["status"]);
            if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
        })
    }

    /// SIGKILL, in the middle of whatever it is doing.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    /// Its process, if it runs.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Sends it a signal: STOP freezes it, CONT wakes it up.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let process = self.process.as_ref().context("it does not run")?;
        let pid = i32::try_from(process.id()).ok().and_then(Pid::from_raw).context("a process id")?;
        Ok(kill_process(pid, signal)?)
    }

    /// SIGTERM, and how long it took to end.
    pub fn terminate(&mut self) -> anyhow::Result<Duration> {
        let Some(mut process) = self.process.take() else { return Ok(Duration::ZERO) };
        let begin = std::time::Instant::now();
        if let Some(pid) = i32::try_from(process.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM)?;
        }
        process.wait()?;
        Ok(begin.elapsed())
    }

    /// A command of the engine's own command line.
    pub fn cli(&self, arguments: &[&str]) -> Output {
        Command::new(&self.binary).args(arguments).arg("--data").arg(&self.data).env("NO_COLOR", "1").output().expect("the binary runs")
    }

    /// What a command prints; it must succeed.
    pub fn text(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.cli(arguments);
        anyhow::ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The Deployment's status.
    pub fn status(&self) -> Value {
        let text = self.text(&["get", "deployment", "hello", "-o", "json"]).unwrap_or_default();
        serde_json::from_str::<Value>(&text).map(|value| value["status"].clone()).unwrap_or_default()
    }

    /// Waits for a phase with a number of updated devices at a version.
    pub fn wait(&self, phase: &str, version: &str, updated: i64, limit: u64) -> anyhow::Result<()> {
        let result = wait_until(&format!("{phase} of {version} on {updated}"), Duration::from_secs(limit), || {
            let status = self.status();
            let newest = status["history"]
                .as_array()
                .and_then(|history| history.last())
                .map(|revision| revision["version"].clone())
                .unwrap_or_default();
            let there = status["phase"] == phase
                && newest.as_str().is_some_and(|newest| newest.contains(version))
                && status["counts"]["updated"] == updated;
            if there { Ok(()) } else { Err(format!("{} {newest} {} {}", status["phase"], status["counts"], status["waitingOn"])) }
        });
        result.with_context(|| format!("the engine said:\n{}", self.tail()))
    }

    /// The engine's log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The end of it.
    pub fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
