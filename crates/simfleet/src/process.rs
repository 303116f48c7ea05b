//! The processes of a fleet: all that run with a device's root in their environment, however they detached themselves.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, getpid, kill_process};

/// Rounds in which processes are looked for and ended: each may have started another one meanwhile.
const ROUNDS: usize = 100;

/// Ends every process that runs on a device whose root is `root`, or below it. Returns how many there were.
pub(crate) fn end_all(root: &Path) -> usize {
    let mut ended = 0;
    for _ in 0..ROUNDS {
        let found = find(root);
        if found.is_empty() {
            break;
        }
        for pid in &found {
            let _ = kill_process(*pid, Signal::KILL);
        }
        ended += found.len();
        std::thread::sleep(Duration::from_millis(2));
    }
    ended
}

/// The processes that run on a device whose root is `root`, or below it.
pub(crate) fn find(root: &Path) -> Vec<Pid> {
    let wanted = [b"EVENKEEL_ROOT=", root.as_os_str().as_bytes()].concat();
    let is_ours = |environment: &[u8]| {
        let rest = environment.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(wanted.as_slice()));
        rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    };
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    // A process that has ended and was not asked for yet has no environment any more.
    pids.filter(|pid| *pid != getpid() && std::fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).is_ok_and(|text| is_ours(&text)))
        .collect()
}
