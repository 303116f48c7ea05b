//! What a content becomes on a device: one script for the whole of it, put together from one piece per driver.

mod apt;
mod archive;
pub(crate) mod files;
mod service;

use std::fmt::Write as _;

use reconcile::content::Reboot;
use reconcile::{Apt, Archive, Content, Package, StepId};

use files::Bytes;

fn apts(content: &Content) -> Vec<&Apt> {
    let apts = content.packages.iter().filter_map(|package| match package {
        Package::Apt(apt) => Some(apt),
        Package::Archive(_) => None,
    });
    apts.collect()
}

/// The archives of a content.
pub(crate) fn archives(content: &Content) -> Vec<&Archive> {
    let archives = content.packages.iter().filter_map(|package| match package {
        Package::Archive(archive) => Some(archive),
        Package::Apt(_) => None,
    });
    archives.collect()
}

/// Proves the way back and fetches what is needed. Its last line of output says which: `::wayback proven`, or why not.
pub(crate) fn prepare(content: &Content) -> String {
    let mut script = String::from("missing=\n");
    script.push_str(&apt::prepare(&apts(content)));
    for archive in archives(content) {
        script.push_str(&archive::unpack(archive));
    }
    script.push_str("if [ -n \"$missing\" ]; then echo \"::wayback missing $missing\"; else echo '::wayback proven'; fi\n");
    script
}

/// Brings the whole content onto the device, having saved what was there under `$D/before`.
pub(crate) fn apply(content: &Content, bytes: &[Bytes], revert: bool) -> String {
    let mut script = String::from("S=\"$D/before\"\nmkdir -p \"$S\" || die cannot make $S\n");
    script.push_str(&apt::apply(&apts(content), revert));
    for (number, archive) in archives(content).into_iter().enumerate() {
        script.push_str(&archive::apply(number, archive));
    }
    for (number, (file, bytes)) in content.files.iter().zip(bytes).enumerate() {
        script.push_str(&files::apply(number, file, bytes));
    }
    script.push_str(&service::after(&content.services));
    match content.reboot {
        Reboot::Never => {}
        Reboot::IfRequired => script.push_str("[ -e \"$R/run/reboot-required\" ] && echo \"::reboot $(cat /proc/sys/kernel/random/boot_id)\"\n"),
        Reboot::Always => script.push_str("echo \"::reboot $(cat /proc/sys/kernel/random/boot_id)\"\n"),
    }
    script.push_str("exit 0\n");
    script
}

/// Brings back what the apply step `undo` saved.
pub(crate) fn restore(content: &Content, undo: &StepId) -> String {
    let mut script = format!("S=\"$E/steps/{undo}/before\"\n");
    // Never begun, or nothing saved yet: then nothing was changed either.
    script.push_str("[ -d \"$E/steps/");
    let _ = write!(script, "{undo}\" ] || die the saved state is gone\n");
    script.push_str(&apt::restore(&apts(content)));
    for (number, archive) in archives(content).into_iter().enumerate() {
        script.push_str(&archive::restore(number, archive));
    }
    for (number, file) in content.files.iter().enumerate() {
        script.push_str(&files::restore(number, file));
    }
    script.push_str(&service::after_restore(&content.services));
    script.push_str("exit 0\n");
    script
}

/// Takes the content off the device.
pub(crate) fn remove(content: &Content) -> String {
    let mut script = apt::remove(&apts(content));
    for archive in archives(content) {
        script.push_str(&archive::remove(archive));
    }
    for file in &content.files {
        script.push_str(&files::remove(file));
    }
    script.push_str("exit 0\n");
    script
}
