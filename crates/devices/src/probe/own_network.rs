//! Is it them, or is it us? Where most targets fail at once, places are asked that are always there: if none of those answers either, it is our
//! own network that is down, and nothing is held against anybody.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use reconcile::{Name, ProbeState, Way};
use tokio::time::Instant;

use super::{Measured, icmp, reach};

/// What ran within this counts as being at once: most intervals are as long, or shorter.
const AT_ONCE: Duration = Duration::from_secs(30);
/// With fewer that fail, most of them is too likely a coincidence; all of them is not, since references are asked too.
const FEW: usize = 5;
/// Time between two times that references are asked: while it is suspected, and until one answers.
pub(super) const AGAIN: Duration = Duration::from_secs(5);
/// Time that a reference has to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// A place that is always there if our network is: a router, a resolver, somebody outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    host: String,
    /// Asked by TCP; by echo requests if none.
    port: Option<u16>,
}

impl FromStr for Reference {
    type Err = String;

    /// `ADDRESS` or `ADDRESS:PORT`; an IPv6 address with a port is in brackets.
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is not ADDRESS or ADDRESS:PORT");
        if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return Ok(Self { host: address.to_string(), port: None });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host.trim_start_matches('[').trim_end_matches(']'), Some(port.parse().map_err(|_| bad())?)),
            None => (text, None),
        };
        let is_host = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
        if host.is_empty() || host.len() > 253 || !host.chars().all(is_host) || port == Some(0) {
            return Err(bad());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) if self.host.contains(':') => write!(f, "[{}]:{port}", self.host),
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

impl Reference {
    /// Whether it does not answer. That it can't be asked, as the kernel refuses it, says nothing.
    async fn fails(&self) -> bool {
        let (way, mut measured) = (Way::default(), Measured::default());
        let asked = async {
            match self.port {
                Some(port) => {
                    let address = reach::address(&self.host, &way, &mut measured.phases).await?;
                    reach::connect((address, port).into(), &way, &mut measured.phases).await.map(drop)
                }
                None => {
                    let limits = icmp::Limits { count: 3, max_loss_percent: 99, max_rtt: None };
                    icmp::check(&self.host, &way, limits, PATIENCE, &mut measured).await.map(drop)
                }
            }
        };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(())) => false,
            // Somebody is there, and says no.
            Ok(Err(reason)) if reason.code == reconcile::ProbeCode::Refused => false,
            // Our resolver is a part of our network.
            Ok(Err(reason)) => reason.code.state() == ProbeState::Fail || reason.code == reconcile::ProbeCode::NoResolver,
            Err(_) => true,
        }
    }
}

/// Whether each of them fails.
pub(super) async fn all_fail(references: &[Reference]) -> bool {
    let asked = futures::future::join_all(references.iter().map(Reference::fails)).await;
    !asked.is_empty() && asked.into_iter().all(|fails| fails)
}

/// How targets fared of late.
#[derive(Debug, Default)]
pub(super) struct Suspicion {
    /// Of each device whether its last run failed, and when that was.
    last: HashMap<Name, (Instant, bool)>,
    looked: Option<Instant>,
}

impl Suspicion {
    /// A run on a device ended. Returns whether so many fail at once that it may be us; that is looked at when something fails, and not more than
    /// once a second, since it costs a look at all of them.
    pub(super) fn note(&mut self, device: &Name, state: ProbeState, now: Instant) -> bool {
        if state == ProbeState::Unknown {
            return false;
        }
        let fails = state == ProbeState::Fail;
        self.last.insert(device.clone(), (now, fails));
        if !fails || self.looked.is_some_and(|at| now.saturating_duration_since(at) < Duration::from_secs(1)) {
            return false;
        }
        self.looked = Some(now);
        self.last.retain(|_, (at, _)| now.saturating_duration_since(*at) <= AT_ONCE);
        let failing = self.last.values().filter(|(_, fails)| *fails).count();
        failing == self.last.len() || (failing >= FEW && failing * 2 > self.last.len())
    }

    /// The next failure is looked at, however soon it comes.
    #[cfg(test)]
    pub(super) fn forget_when_it_was_looked(&mut self) {
        self.looked = None;
    }

    /// A device is not there any more.
    pub(super) fn forget(&mut self, device: &Name) {
        self.last.remove(device);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_and_shown() {
        for (text, shown) in [
            ("192.0.2.1", Some("192.0.2.1")),
            ("192.0.2.1:53", Some("192.0.2.1:53")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("[2001:db8::1]:443", Some("[2001:db8::1]:443")),
            ("router.example.com", Some("router.example.com")),
            ("router.example.com:22", Some("router.example.com:22")),
            ("router:ssh", None),
            ("router:0", None),
            (":53", None),
            ("", None),
            ("a b", None),
        ] {
            assert_eq!(text.parse::<Reference>().ok().map(|reference| reference.to_string()).as_deref(), shown, "{text}");
        }
    }

    #[test]
    fn it_takes_most_of_many_or_all_of_few_at_once() {
        let begun = Instant::now();
        // How many fail of how many, and how many seconds ago the others passed.
        for (fail, of, ago, expected) in [
            (1, 1, 0, true),
            (1, 2, 0, false),
            (2, 2, 0, true),
            (3, 4, 0, false),
            (4, 4, 0, true),
            (5, 5, 0, true),
            (4, 6, 0, false),
            (5, 10, 0, false),
            (6, 10, 0, true),
            (5, 100, 0, false),
            (5, 100, 60, true),
        ] {
            let mut suspicion = Suspicion::default();
            let name = |number| Name::new("default", &format!("web-{number}"));
            for number in fail..of {
                assert!(!suspicion.note(&name(number), ProbeState::Ok, begun));
            }
            let mut suspected = false;
            for number in 0..fail {
                // A second apart, so that each is looked at.
                let now = begun + Duration::from_secs(ago) + Duration::from_millis(1001 * number);
                suspected = suspicion.note(&name(number), ProbeState::Fail, now);
            }
            assert_eq!(suspected, expected, "{fail} of {of}, {ago} s");
        }
    }

    #[tokio::test]
    async fn one_that_answers_is_enough() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there: Reference = listener.local_addr().unwrap().to_string().parse().unwrap();
        // Loopback refuses what nobody listens on, which is an answer too; what is documented as being nowhere (RFC 5737) has none.
        let closed: Reference = "127.0.0.1:1".parse().unwrap();
        assert!(!all_fail(std::slice::from_ref(&there)).await);
        assert!(!all_fail(&[closed]).await);
        assert!(!all_fail(&[]).await);
        let nowhere = Reference { host: "nowhere.invalid".into(), port: Some(1) };
        assert!(all_fail(std::slice::from_ref(&nowhere)).await);
        assert!(!all_fail(&[nowhere, there]).await);
    }
}
