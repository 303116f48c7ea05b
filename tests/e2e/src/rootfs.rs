//! The root file system that all machines share: built once, kept outside of the checkout, keyed by what it is made from.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;

use crate::{cache, run};

/// What is in it besides Debian's minimum.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,openssh-server,iproute2,procps,sudo,ca-certificates";
const SUITE: &str = "bookworm";
/// Raise it when the recipe changes.
const RECIPE: u32 = 1;

/// The root file system; it is built if it isn't there, which takes under a minute.
pub fn ensure() -> anyhow::Result<PathBuf> {
    let key = format!("{SUITE}-{RECIPE}-{}", PACKAGES.len());
    let root = cache().join(format!("rootfs-{key}"));
    std::fs::create_dir_all(cache())?;
    let lock = std::fs::File::create(cache().join("rootfs.lock"))?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)?;
    if root.exists() {
        return Ok(root);
    }
    // The mirror is the machine's own: nothing here names one.
    let sites = run(Command::new("apt-get").args(["indextargets", "--format", "$(SITE)", "Codename: bookworm"]))
        .or_else(|_| run(Command::new("apt-get").args(["indextargets", "--format", "$(SITE)"])))?;
    let mirror = sites.lines().find(|site| !site.contains("security")).context("apt knows no mirror: run apt-get update")?.to_owned();
    eprintln!("building a Debian root file system in {} (once, under a minute)", root.display());
    let beside = root.with_extension(format!("new-{}", std::process::id()));
    run(Command::new("debootstrap").arg("--variant=minbase").arg(format!("--include={PACKAGES}")).arg(SUITE).arg(&beside).arg(mirror))?;
    std::fs::rename(&beside, &root)?;
    Ok(root)
}
