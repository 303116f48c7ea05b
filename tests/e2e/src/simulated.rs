//! Simulated devices in a process of their own: real SSH on loopback addresses, without root.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, ensure};

/// The process of the simulated devices; it ends when its input does, and takes its folder with it.
pub struct Simulated {
    /// `fleet/` has the manifests as they speak of the simulated devices, `simulated/secrets/` the keys.
    pub folder: PathBuf,
    process: Child,
}

impl Simulated {
    /// Simulates the devices of a folder of manifests.
    pub fn start(binary: &Path, manifests: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut process = Command::new(binary)
            .arg("simulate")
            .arg(manifests)
            .arg("--serve")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("evenkeel simulate")?;
        let out = process.stdout.take().context("its output")?;
        let mut simulated = Self { folder: PathBuf::new(), process };
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        simulated.folder = PathBuf::from(line.trim());
        ensure!(simulated.folder.is_dir(), "the simulated devices did not start");
        Ok(simulated)
    }

    /// Lets a device misbehave, or be `well` again.
    pub fn order(&mut self, device: &str, what: &str) -> anyhow::Result<()> {
        let to = self.process.stdin.as_mut().context("its input")?;
        Ok(writeln!(to, "{device}={what}")?)
    }

    /// What each device was told to install, remove, restart and stop, by its own log; nothing, where it was told nothing yet.
    pub fn logs(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let devices = std::fs::read_dir(self.folder.join("simulated/devices"))?.flatten();
        let log = |folder: &Path| std::fs::read_to_string(folder.join(".simulated/log")).unwrap_or_default();
        // `_` is in no object's name.
        Ok(devices.map(|entry| (entry.file_name().to_string_lossy().replace('_', "/"), log(&entry.path()))).collect())
    }

    /// The key that opens every device.
    pub fn key(&self) -> PathBuf {
        self.folder.join("simulated/secrets/fleet-key/ssh-privatekey")
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
