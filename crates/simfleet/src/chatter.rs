//! What simulated devices say of themselves by syslog (RFC 5424 over UDP): a heartbeat, cron, logins, requests; and the errors of a bad
//! release.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::simulated::Simulated;

/// Time between two beats; some lines come with each, others with every so many.
const BEAT: Duration = Duration::from_secs(1);
/// Sentences of one bad release that are said.
const SENTENCES: usize = 32;

/// Says it until the fleet ends.
pub(crate) async fn send(device: Arc<Simulated>, to: SocketAddr) {
    // From its own address, by which it is known.
    let socket = UdpSocket::bind((device.address(), 0)).and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
    let socket = match socket {
        Ok(socket) => socket,
        Err(error) => return tracing::warn!(%error, device = device.name(), "it can't send lines of log"),
    };
    let mut beats = tokio::time::interval(BEAT);
    beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for beat in 0_u64.. {
        beats.tick().await;
        if !*device.up().borrow() {
            continue;
        }
        for (severity, program, message) in usual(beat).into_iter().chain(errors(&device, beat)) {
            // Facility 3, daemon.
            let (priority, at) = (3 * 8 + severity, Timestamp::now());
            let host = device.name().rsplit('/').next().unwrap_or_default();
            // Nobody listens: as with any syslog by UDP, it is lost.
            let _ = socket.send_to(format!("<{priority}>1 {at:.6} {host} {program} 7 - - {message}").as_bytes(), to);
        }
    }
}

/// Each of these comes within the first six beats.
fn usual(beat: u64) -> Vec<(u8, String, String)> {
    let mut lines = vec![(6, "agent".to_owned(), format!("alive, {} checks passed", 40 + beat % 7))];
    let mut line = |is_due: bool, severity: u8, program: &str, message: String| {
        if is_due {
            lines.push((severity, program.to_owned(), message));
        }
    };
    line(beat.is_multiple_of(2), 6, "web", format!("GET /healthz 200 in {} ms", 3 + beat % 5));
    line(beat % 5 == 1, 6, "CRON", format!("({}) CMD (run-parts --report /etc/cron.hourly)", "root"));
    line(beat % 6 == 4, 6, "sshd", format!("Accepted publickey for ops from 192.0.2.7 port {}", 40_000 + beat % 1000));
    line(beat % 30 == 3, 4, "kernel", format!("clocksource: timekeeping watchdog: marking as unstable after {} s", beat % 90));
    lines
}

/// What the packages on it say that are bad, and the device itself if it suffers from that: a sentence each.
fn errors(device: &Simulated, beat: u64) -> Vec<(u8, String, String)> {
    let installed = std::fs::read_dir(device.root().join(".simulated/packages")).into_iter().flatten().flatten();
    let bad = installed.filter_map(|package| {
        let name = package.file_name().into_string().ok()?;
        Some((complaints(device.root(), &name, &std::fs::read_to_string(package.path()).ok()?)?, name))
    });
    let own = device.complains().map(|words| (words, "kernel".to_owned()));
    let sentences = |(words, program): (String, String)| {
        let sentences = words.split(';').map(|sentence| sentence.trim().to_owned()).filter(|sentence| !sentence.is_empty());
        sentences.take(SENTENCES).map(move |sentence| (3, program.clone(), format!("{sentence} (request {beat})"))).collect::<Vec<_>>()
    };
    bad.chain(own).flat_map(sentences).collect()
}

/// What a package says that is installed, if its version is a bad one. `state` is `want state version`.
fn complaints(root: &Path, package: &str, state: &str) -> Option<String> {
    let mut words = state.split_whitespace();
    let version = words.next().zip(words.next()).filter(|(_, state)| *state == "i").and_then(|_| words.next())?;
    let stanza = std::fs::read_to_string(root.join("var/lib/apt/lists/simulated").join(package).join(version)).ok()?;
    stanza.lines().find_map(|line| line.strip_prefix("Logs: ")).map(str::to_owned)
}
