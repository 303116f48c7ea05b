//! Real machines for tests: Debian root file systems booted by systemd-nspawn, with real systemd, sshd and apt, on loopback
//! addresses only; a signed package repository; and the real engine.

pub mod control_plane;
pub mod engine;
pub mod fleet;
pub mod machine;
pub mod packages;
pub mod postgres;
pub mod proxy;
pub mod rest;
pub mod rootfs;
pub mod simulated;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// Tools that the tests need, each with the Debian package that has it.
const TOOLS: [(&str, &str); 8] = [
    ("systemd-nspawn", "systemd-container"),
    ("debootstrap", "debootstrap"),
    ("apt-ftparchive", "apt-utils"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("dpkg-deb", "dpkg"),
    ("gpg", "gnupg"),
    ("git", "git"),
];

/// Why real machines can't be had here, if so.
pub fn unavailable() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("real machines need root".into());
    }
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let missing: Vec<&str> = TOOLS
        .iter()
        .filter(|(tool, _)| !std::env::split_paths(&path).any(|folder| folder.join(tool).exists()))
        .map(|(_, package)| *package)
        .collect();
    (!missing.is_empty()).then(|| format!("missing Debian packages: {}", missing.join(" ")))
}

/// Where things are kept that are too dear to make anew: outside of the checkout.
pub fn cache() -> PathBuf {
    let home = || std::env::var("HOME").unwrap_or_else(|_| "/root".into());
    std::env::var("EVENKEEL_CACHE").map_or_else(|_| PathBuf::from(home()).join(".cache/evenkeel"), PathBuf::from)
}

/// Runs a command and wants it to succeed; gives back what it printed.
pub fn run(command: &mut Command) -> anyhow::Result<String> {
    let shown = format!("{command:?}");
    let output = command.output().with_context(|| shown.clone())?;
    if !output.status.success() {
        bail!("{shown}: {}\n{}{}", output.status, String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Waits until something holds, with a bound; the error says what was last seen.
pub fn wait_until(what: &str, limit: Duration, mut look: impl FnMut() -> Result<(), String>) -> anyhow::Result<()> {
    let end = Instant::now() + limit;
    loop {
        match look() {
            Ok(()) => return Ok(()),
            Err(last) if Instant::now() >= end => bail!("{what}: not within {limit:?}; last: {last}"),
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}
