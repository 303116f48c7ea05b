//! A PostgreSQL server of our own: in a temporary directory, on a free loopback port.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};

use crate::{run, wait_until};

/// Who the server runs as where we are root: it refuses to be root.
const USER: &str = "nobody";

/// A server.
pub struct Postgres {
    folder: tempfile::TempDir,
    port: u16,
    process: Option<Child>,
}

/// A program of PostgreSQL: on the path, or where Debian keeps it.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let debian = (13..20).rev().map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")));
    debian.chain(std::env::split_paths(&path)).map(|folder| folder.join(name)).find(|path| path.exists())
}

fn unprivileged(program: &Path) -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", USER, "--regid", "nogroup", "--clear-groups"]).arg(program);
    command
}

impl Postgres {
    /// A new, empty server that is up; `None` where PostgreSQL is not installed.
    pub fn start() -> anyhow::Result<Option<Self>> {
        let Some(initdb) = program("initdb") else { return Ok(None) };
        let folder = tempfile::Builder::new().prefix("evenkeel-postgres-").tempdir()?;
        if rustix::process::geteuid().is_root() {
            run(Command::new("chown").arg(USER).arg(folder.path()))?;
        }
        let data = folder.path().join("data");
        run(unprivileged(&initdb).args(["--auth", "trust", "--username", "evenkeel", "--encoding", "UTF8", "--no-sync", "-D"]).arg(&data))?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut server = Self { folder, port, process: None };
        server.up()?;
        Ok(Some(server))
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("postgres://evenkeel@127.0.0.1:{}/postgres", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A hot standby of it that is up, and without which nothing is committed any more: whatever was committed, both have.
    pub fn standby(&self) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("evenkeel-postgres-").tempdir()?;
        if rustix::process::geteuid().is_root() {
            run(Command::new("chown").arg(USER).arg(folder.path()))?;
        }
        let backup = program("pg_basebackup").context("pg_basebackup is not installed")?;
        let port = self.port.to_string();
        let from =
            ["--host", "127.0.0.1", "--username", "evenkeel", "--checkpoint", "fast", "--write-recovery-conf", "--port", &port, "-D"];
        run(unprivileged(&backup).args(from).arg(folder.path().join("data")))?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut standby = Self { folder, port, process: None };
        standby.up()?;
        self.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")?;
        self.sql("SELECT pg_reload_conf()")?;
        wait_until("the standby following", Duration::from_secs(30), || {
            let state = self.sql("SELECT sync_state FROM pg_stat_replication").map_err(|error| error.to_string())?;
            if state.trim() == "sync" { Ok(()) } else { Err(state) }
        })?;
        Ok(standby)
    }

    /// Makes a standby the one that takes writes, waiting for no other.
    pub fn promote(&mut self) -> anyhow::Result<()> {
        let control = program("pg_ctl").context("pg_ctl is not installed")?;
        run(unprivileged(&control).args(["promote", "--wait", "-D"]).arg(self.folder.path().join("data")))?;
        self.sql("ALTER SYSTEM RESET synchronous_standby_names")?;
        self.sql("SELECT pg_reload_conf()").map(drop)
    }

    /// A statement as its administrator.
    fn sql(&self, statement: &str) -> anyhow::Result<String> {
        let client = program("psql").context("psql is not installed")?;
        run(Command::new(client).args(["--no-psqlrc", "--tuples-only", "--no-align", "-d", &self.url(), "-c", statement]))
    }

    /// Starts it again.
    pub fn up(&mut self) -> anyhow::Result<()> {
        let postgres = program("postgres").context("postgres is not installed")?;
        let process = unprivileged(&postgres)
            .arg("-D")
            .arg(self.folder.path().join("data"))
            .args(["-p", &self.port.to_string(), "-c", "listen_addresses=127.0.0.1", "-k"])
            .arg(self.folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        self.process = Some(process);
        let address = format!("127.0.0.1:{}", self.port).parse()?;
        wait_until("PostgreSQL", Duration::from_secs(30), || {
            std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)).map(drop).map_err(|error| error.to_string())
        })
    }

    /// Ends it at once, and every connection with it.
    pub fn down(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        if let Some(pid) = i32::try_from(process.id()).ok().and_then(Pid::from_raw) {
            // Immediate shutdown; see "Shutting Down the Server" in PostgreSQL's documentation.
            let _ = kill_process(pid, Signal::QUIT);
        }
        let _ = process.wait();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.down();
    }
}
