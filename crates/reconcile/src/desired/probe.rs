//! What a probe tries: is it up?
//!
//! Probes are part of a Deployment's content, whose digest tells one revision from another. So a field that came later is left out of what
//! is written as long as it says what was so before.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use jiff::SignedDuration;

use super::Snmp;

/// One probe of a device, or one check of a Deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Unique on its device.
    pub name: String,
    /// What is tried.
    pub check: Check,
    /// Time between two runs.
    pub interval: SignedDuration,
    /// Time limit of one run.
    pub timeout: SignedDuration,
    /// Failures in a row until it counts as failed.
    pub failures: u32,
    /// Successes in a row until it counts as passed.
    pub successes: u32,
    /// From where, and to which of the addresses.
    #[serde(default, skip_serializing_if = "Way::is_any")]
    pub way: Way,
}

/// From where a device is asked, and at which of its addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Way {
    /// Which of the addresses of its name.
    pub family: crds::Family,
    /// The address that is asked from.
    pub source: Option<IpAddr>,
}

impl Way {
    /// Whatever the system takes.
    pub fn is_any(&self) -> bool {
        *self == Self::default()
    }

    /// Whether an address may be gone to on this way.
    pub fn takes(&self, address: IpAddr) -> bool {
        let family = match self.family {
            crds::Family::Any => true,
            crds::Family::IPv4 => address.is_ipv4(),
            crds::Family::IPv6 => address.is_ipv6(),
        };
        family && self.source.is_none_or(|source| source.is_ipv4() == address.is_ipv4())
    }
}

/// What a probe tries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Check {
    /// Opens a connection; may send and expect text.
    Tcp {
        /// Port.
        port: u16,
        /// Sent after connecting.
        send: Option<String>,
        /// Must appear in what comes back.
        expect: Option<String>,
    },
    /// One HTTP request.
    Http(Box<HttpCheck>),
    /// A TLS handshake and its certificate.
    Tls(Box<TlsCheck>),
    /// A DNS question.
    Dns(Box<DnsCheck>),
    /// Echo requests.
    Icmp {
        /// How many.
        count: u32,
        /// Share of losses that is still accepted, in percent.
        max_loss_percent: u32,
        /// Average round trip that is still accepted.
        max_rtt: Option<SignedDuration>,
    },
    /// A command on the device.
    Ssh {
        /// Run by `sh -c`.
        command: String,
        /// The exit code that means well.
        exit_code: i32,
    },
    /// One value of the SNMP agent.
    Snmp {
        /// How it is asked.
        agent: Snmp,
        /// The object identifier, in numbers.
        oid: String,
        /// The value that it must have; any, if none.
        expect: Option<String>,
    },
}

/// One HTTP request, and what has to come back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpCheck {
    /// `http` or `https`.
    pub scheme: String,
    /// Port.
    pub port: u16,
    /// Path with its query.
    pub path: String,
    /// Method.
    pub method: String,
    /// Request headers.
    pub headers: BTreeMap<String, String>,
    /// Accepted status codes; empty means 200 to 299.
    pub status: Vec<u16>,
    /// Must appear in the body.
    pub contains: Option<String>,
    /// A regular expression that must match somewhere in the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matches: Option<String>,
    /// What becomes of a redirect.
    #[serde(default, skip_serializing_if = "follows")]
    pub redirects: crds::Redirects,
    /// Whom to believe.
    #[serde(default, skip_serializing_if = "Trust::is_usual")]
    pub trust: Trust,
}

impl HttpCheck {
    /// A GET of a path over plain HTTP that any status from 200 to 299 answers.
    pub fn get(port: u16, path: &str) -> Self {
        Self {
            scheme: "http".into(),
            port,
            path: path.into(),
            method: "GET".into(),
            headers: BTreeMap::new(),
            status: Vec::new(),
            contains: None,
            matches: None,
            redirects: crds::Redirects::Follow,
            trust: Trust::default(),
        }
    }
}

fn follows(redirects: &crds::Redirects) -> bool {
    *redirects == crds::Redirects::Follow
}

/// Whom to believe over TLS, and as whom.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Trust {
    /// The name that the certificate must be for; the device's address if none.
    pub server_name: Option<String>,
    /// The Secret, and the key within it, with the only authorities that are believed; those of the system if none.
    pub authorities: Option<(String, String)>,
    /// Whoever made the certificate is believed.
    pub insecure: bool,
}

impl Trust {
    /// The system's authorities, and the device's address.
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// A TLS handshake, and what its certificate has to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsCheck {
    /// Port.
    pub port: u16,
    /// The certificate, and those above it, must be valid for so long from now.
    pub min_validity: Option<SignedDuration>,
    /// Whom to believe.
    pub trust: Trust,
}

/// A DNS question, and what has to come back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsCheck {
    /// Port.
    pub port: u16,
    /// The name asked for.
    pub name: String,
    /// The type of records.
    pub record: crds::RecordType,
    /// Must be among the answers.
    pub answer: Option<String>,
}
