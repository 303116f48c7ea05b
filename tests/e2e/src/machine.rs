//! One machine: an overlay on the shared root, booted by systemd-nspawn on a loopback address of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::{run, wait_until};

/// Loopback addresses are shared by all that runs on this host: each fleet takes a block of its own, held by a lock file.
pub struct Block {
    number: u8,
    _lock: std::fs::File,
}

impl Block {
    /// A block that nobody else holds.
    pub fn take() -> anyhow::Result<Self> {
        std::fs::create_dir_all(crate::cache())?;
        for number in 20..60 {
            let lock = std::fs::File::create(crate::cache().join(format!("addresses-{number}.lock")))?;
            if rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_ok() {
                return Ok(Self { number, _lock: lock });
            }
        }
        bail!("every block of addresses is taken")
    }

    /// The address of a machine.
    pub fn address(&self, machine: u8) -> String {
        format!("127.0.{}.{machine}", self.number)
    }

    /// An address for a server that the test itself runs.
    pub fn own(&self) -> String {
        self.address(250)
    }
}

/// One machine.
pub struct Machine {
    /// Its name.
    pub name: String,
    /// Its loopback address.
    pub address: String,
    /// Its host key, as it has to be pinned.
    pub host_key: String,
    folder: PathBuf,
    root: PathBuf,
    repository: PathBuf,
    process: Option<Child>,
    key: PathBuf,
}

impl Machine {
    /// Makes a machine below `folder` and boots it. `key` is the private key that may log in as `ops`.
    pub fn boot(name: &str, address: &str, folder: &Path, root: &Path, repository: &Path, key: &Path) -> anyhow::Result<Self> {
        let mut machine = Self {
            name: name.to_owned(),
            address: address.to_owned(),
            host_key: String::new(),
            folder: folder.join(name),
            root: root.to_owned(),
            repository: repository.to_owned(),
            process: None,
            key: key.to_owned(),
        };
        for part in ["upper", "work", "merged"] {
            std::fs::create_dir_all(machine.folder.join(part))?;
        }
        machine.mount()?;
        machine.furnish()?;
        machine.power_on()?;
        Ok(machine)
    }

    fn merged(&self) -> PathBuf {
        self.folder.join("merged")
    }

    fn mount(&self) -> anyhow::Result<()> {
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            self.root.display(),
            self.folder.join("upper").display(),
            self.folder.join("work").display()
        );
        run(Command::new("mount").args(["-t", "overlay", "overlay", "-o"]).arg(options).arg(self.merged())).map(drop)
    }

    /// Address, user, keys, and the one package source.
    fn furnish(&mut self) -> anyhow::Result<()> {
        let root = self.merged();
        let write = |path: &str, text: &str| -> anyhow::Result<()> {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().context("a parent")?)?;
            std::fs::write(path, text).map_err(Into::into)
        };
        write("etc/hostname", &self.name)?;
        write("etc/hosts", &format!("127.0.0.1 localhost {}\n", self.name))?;
        write("etc/keel-address", &self.address)?;
        write("etc/ssh/sshd_config.d/test.conf", &format!("ListenAddress {}\nPasswordAuthentication no\nUsePAM no\n", self.address))?;
        write("etc/sudoers.d/ops", "ops ALL=(ALL) NOPASSWD: ALL\n")?;
        write("etc/apt/sources.list", "deb [signed-by=/srv/repository/key.gpg] file:/srv/repository ./\n")?;
        std::fs::create_dir_all(root.join("srv/repository"))?;
        std::fs::create_dir_all(root.join("home/ops/.ssh"))?;
        std::fs::copy(self.key.with_extension("pub"), root.join("home/ops/.ssh/authorized_keys"))?;
        let setup = "useradd -s /bin/sh -d /home/ops ops 2>/dev/null; usermod -p '*' ops; chown -R ops:ops /home/ops; chmod 700 /home/ops/.ssh; rm -f /etc/ssh/ssh_host_*; ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key; systemctl enable ssh >/dev/null 2>&1; true";
        run(Command::new("chroot").arg(&root).args(["sh", "-c", setup]))?;
        let key = std::fs::read_to_string(root.join("etc/ssh/ssh_host_ed25519_key.pub"))?;
        self.host_key = key.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
        Ok(())
    }

    /// Boots it, and waits until its sshd answers.
    pub fn power_on(&mut self) -> anyhow::Result<()> {
        let log = std::fs::File::create(self.folder.join("console.log"))?;
        // A machine name must be unique on the host; the address is.
        let name = format!("keel-{}", self.address.replace('.', "-"));
        let process = Command::new("systemd-nspawn")
            .arg("-q")
            .arg("-D")
            .arg(self.merged())
            .args(["-M", &name, "--register=no", "--keep-unit", "--resolv-conf=off", "-b"])
            .arg(format!("--bind-ro={}:/srv/repository", self.repository.display()))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.process = Some(process);
        let address = format!("{}:22", self.address);
        wait_until(&format!("sshd of {}", self.name), Duration::from_secs(60), || {
            let address = address.parse().map_err(|error| format!("{error}"))?;
            std::net::TcpStream::connect_timeout(&address, Duration::from_millis(500)).map(drop).map_err(|error| error.to_string())
        })?;
        wait_until(&format!("{} running", self.name), Duration::from_secs(60), || match self.exec("systemctl is-system-running || true") {
            Ok(text) if text.contains("running") || text.contains("degraded") => Ok(()),
            other => Err(format!("{other:?}")),
        })
    }

    /// Pulls the plug.
    pub fn power_off(&mut self) -> anyhow::Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        // SIGKILL is what a power cut is. With its init goes all that runs in it; nspawn alone may leave that running.
        let inside = descendants(process.id());
        process.kill()?;
        process.wait()?;
        for pid in inside.into_iter().rev().filter_map(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
        let address = format!("{}:22", self.address);
        wait_until("the machine going down", Duration::from_secs(20), || {
            let address = address.parse().map_err(|error| format!("{error}"))?;
            match std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
                Ok(_) => Err("sshd still answers".into()),
                Err(_) => Ok(()),
            }
        })
    }

    /// Runs a command as root, over SSH.
    pub fn exec(&self, command: &str) -> anyhow::Result<String> {
        let options = [
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-o",
            "LogLevel=ERROR",
            "-o",
            "ConnectTimeout=5",
            "-o",
            "BatchMode=yes",
        ];
        run(Command::new("ssh")
            .args(options)
            .arg("-i")
            .arg(&self.key)
            .arg(format!("ops@{}", self.address))
            .arg(format!("sudo -n sh -c '{}'", command.replace('\'', r"'\''"))))
    }

    /// The installed version of a package; empty if it is not installed.
    pub fn version(&self, package: &str) -> String {
        self.exec(&format!("dpkg-query -W -f='${{db:Status-Abbrev}} ${{Version}}' {package} 2>/dev/null | sed -n 's/^.i *//p'"))
            .map(|text| text.trim().to_owned())
            .unwrap_or_default()
    }

    /// Cuts every SSH connection that is open to it; sshd itself stays.
    pub fn cut_connections(&self) {
        // The command's own connection goes too, so it can't succeed.
        let _ = self.exec("for p in $(pgrep -f 'sshd: ops'); do kill -9 $p; done");
    }
}

/// The processes that a process started, and those that these started.
fn descendants(process: u32) -> Vec<i32> {
    let mut found = Vec::new();
    let mut open = vec![process];
    while let Some(parent) = open.pop() {
        let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|child| child.parse::<i32>().ok()).take(1000) {
            found.push(child);
            open.extend(u32::try_from(child));
        }
    }
    found
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let inside = descendants(process.id());
            if let Some(pid) = i32::try_from(process.id()).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::TERM);
            }
            for _ in 0..50 {
                if matches!(process.try_wait(), Ok(Some(_))) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            if !matches!(process.try_wait(), Ok(Some(_))) {
                let _ = process.kill();
                let _ = process.wait();
                for pid in inside.into_iter().rev().filter_map(Pid::from_raw) {
                    let _ = kill_process(pid, Signal::KILL);
                }
            }
        }
        let _ = Command::new("umount").arg(self.merged()).output();
    }
}
