//! Probes: is it up? Three-valued, counted, scheduled without storms.
//!
//! ```text
//! schedule (when) ─► scheduler ─► run (icmp, tcp, http, tls, dns, snmp, ssh) ─► counter (how often in a row) ─► told, if it is news
//! ```

mod counter;
mod dns;
mod exchange;
mod http;
mod icmp;
mod own_network;
pub(crate) mod reach;
mod schedule;
mod scheduler;
mod tcp;
mod tls;
mod trust;

use std::time::Duration;

use jiff::Timestamp;
use reconcile::{Check, Device, Probe, ProbeCode};
use tokio::time::Instant;

use crate::devices::Devices;

pub use counter::Counter;
pub use own_network::Reference;
pub use schedule::Measurement;
pub use scheduler::{Measurements, Ran, Scheduler};
pub(crate) use trust::Prober;

/// Bytes of an answer that are looked at.
const ANSWER: usize = 64 << 10;

/// What one run found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    /// In one word, which decides whether it passed, failed, or says nothing about the device.
    pub code: ProbeCode,
    /// Why it did not pass; where it did, what it has to say.
    pub words: String,
    /// How long it took.
    pub took: Duration,
    /// What was measured on the way.
    pub measured: Measured,
}

/// What was measured during a run, as far as it got.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measured {
    /// What took how long.
    pub phases: Phases,
    /// Of echo requests.
    pub echoes: Option<Echoes>,
    /// When the certificate ends.
    pub expires: Option<Timestamp>,
}

/// What took how long; a phase that was not come to, or that there was no need for, is missing. After redirects they are sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    /// Finding the address.
    pub resolve: Option<Duration>,
    /// Connecting.
    pub connect: Option<Duration>,
    /// The TLS handshake.
    pub tls: Option<Duration>,
    /// From asking to the first of the answer.
    pub first_byte: Option<Duration>,
    /// From there to as much of it as was wanted.
    pub transfer: Option<Duration>,
}

impl Phases {
    fn add(phase: &mut Option<Duration>, took: Duration) {
        *phase.get_or_insert_default() += took;
    }
}

/// `connect 1.2 ms, TLS 8.0 ms, first byte 20.1 ms`
impl std::fmt::Display for Phases {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let phases = [
            ("resolve", self.resolve),
            ("connect", self.connect),
            ("TLS", self.tls),
            ("first byte", self.first_byte),
            ("transfer", self.transfer),
        ];
        let mut between = "";
        for (name, took) in phases.into_iter().filter_map(|(name, took)| Some((name, took?))) {
            write!(f, "{between}{name} {:.1} ms", took.as_secs_f64() * 1000.0)?;
            between = ", ";
        }
        Ok(())
    }
}

/// How echo requests came back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Echoes {
    /// Sent.
    pub sent: u32,
    /// Answered.
    pub received: u32,
    /// The shortest round trip.
    pub least: Duration,
    /// Their mean.
    pub average: Duration,
    /// The longest.
    pub most: Duration,
    /// The mean difference between one and the next.
    pub jitter: Duration,
}

/// Why a run did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reason {
    pub(crate) code: ProbeCode,
    pub(crate) words: String,
}

impl Reason {
    pub(crate) fn new(code: ProbeCode, words: impl Into<String>) -> Self {
        Self { code, words: words.into() }
    }
}

/// It passed, with what there is to say, or not.
pub(crate) type Checked = Result<String, Reason>;

/// Runs a probe once and wants it to pass.
pub(crate) async fn once(devices: &Devices, device: &Device, probe: &Probe) -> Result<(), String> {
    let run = run(devices, device, probe).await;
    if run.code == ProbeCode::Passed { Ok(()) } else { Err(run.words) }
}

/// Runs a probe once, within its time limit.
pub async fn run(devices: &Devices, device: &Device, probe: &Probe) -> Run {
    let limit = Duration::try_from(probe.timeout).unwrap_or(Duration::from_secs(5));
    let mut measured = Measured::default();
    let began = Instant::now();
    let checked = tokio::time::timeout(limit, check(devices, device, probe, limit, &mut measured)).await;
    let (code, words) = match checked {
        Ok(Ok(says)) => (ProbeCode::Passed, says),
        Ok(Err(reason)) => (reason.code, reason.words),
        Err(_) => (ProbeCode::Timeout, format!("no answer within {limit:?}")),
    };
    Run { code, words, took: began.elapsed(), measured }
}

async fn check(devices: &Devices, device: &Device, probe: &Probe, limit: Duration, measured: &mut Measured) -> Checked {
    // A command ends by its own limit, a little earlier: it then gives up its connection. So do echo requests, which then count what came.
    let earlier = limit.mul_f32(0.95);
    let (host, way) = (device.address.as_str(), &probe.way);
    // Each kind lies elsewhere: a run is moved a few times until it lies where it runs, and would have room for the largest of them.
    match &probe.check {
        Check::Tcp { port, send, expect } => {
            Box::pin(tcp::check((host, *port), way, (send.as_deref(), expect.as_deref()), &mut measured.phases)).await
        }
        Check::Http(check) => Box::pin(http::check(devices, device, way, check, measured)).await,
        Check::Tls(check) => Box::pin(tls::check(devices, device, way, check, measured)).await,
        Check::Dns(check) => Box::pin(dns::check(host, way, check, &mut measured.phases)).await,
        Check::Icmp { count, max_loss_percent, max_rtt } => {
            let count = u16::try_from(*count).unwrap_or(u16::MAX).max(1);
            let max_rtt = max_rtt.and_then(|rtt| Duration::try_from(rtt).ok());
            let limits = icmp::Limits { count, max_loss_percent: *max_loss_percent, max_rtt };
            Box::pin(icmp::check(host, way, limits, earlier, measured)).await
        }
        Check::Ssh { command, exit_code } => Box::pin(ssh(devices, device, (command, *exit_code), earlier)).await,
        Check::Snmp { agent, oid, expect } => {
            Box::pin(crate::snmp::probe::check(devices, device, (agent, &probe.way), oid, expect.as_deref())).await
        }
    }
}

async fn ssh(devices: &Devices, device: &Device, (command, exit_code): (&str, i32), limit: Duration) -> Checked {
    match devices.run(device, command, limit).await {
        Ok(output) if output.code == u32::try_from(exit_code).ok() => Ok(String::new()),
        Ok(output) => {
            let code = output.code.map_or("none".into(), |code| code.to_string());
            Err(Reason::new(ProbeCode::BadExit, format!("exit code {code}: {}", crate::devices::words(&output))))
        }
        Err(error) => Err(Reason::new(error.code(), error.to_string())),
    }
}

/// Looks for a text in what comes piece by piece, without looking at any of it twice.
struct Search<'a> {
    wanted: &'a [u8],
    seen: Vec<u8>,
}

impl<'a> Search<'a> {
    fn new(wanted: &'a str) -> Self {
        Self { wanted: wanted.as_bytes(), seen: Vec::new() }
    }

    fn length(&self) -> usize {
        self.seen.len()
    }

    fn found_in(&mut self, piece: &[u8]) -> bool {
        // It may have begun in what came before.
        let from = (self.seen.len() + 1).saturating_sub(self.wanted.len());
        self.seen.extend_from_slice(piece);
        let new = self.seen.get(from..).unwrap_or_default();
        !self.wanted.is_empty() && new.windows(self.wanted.len()).any(|window| window == self.wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_however_it_is_cut() {
        let text = b"it is all right";
        for cut in 0..text.len() {
            let mut search = Search::new("all right");
            let found = text.chunks(cut.max(1)).any(|piece| search.found_in(piece));
            assert!(found, "in pieces of {cut}");
            let mut search = Search::new("all wrong");
            assert!(!text.chunks(cut.max(1)).any(|piece| search.found_in(piece)));
        }
        assert!(!Search::new("").found_in(b"x"));
    }
}
