//! Probes of a device, and checks of a Deployment.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::quantity::{Duration, Percent};

/// One probe: exactly one of its kinds, and how often and how patiently it runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("[has(self.icmp), has(self.tcp), has(self.http), has(self.tls), has(self.dns), has(self.snmp), has(self.ssh)].filter(x, x).size() == 1").message("exactly one of icmp, tcp, http, tls, dns, snmp, ssh"))]
#[x_kube(validation = Rule::new("!has(self.ssh) || (!has(self.family) && !has(self.sourceAddress))").message("ssh goes by the connection of the device's access: family and sourceAddress are not for it"))]
pub struct ProbeSpec {
    /// Unique on its device; what other objects call it.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Echo requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp: Option<IcmpProbe>,
    /// A TCP connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpProbe>,
    /// An HTTP request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<Box<HttpProbe>>,
    /// A TLS handshake and its certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Box<TlsProbe>>,
    /// A DNS question to the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<Box<DnsProbe>>,
    /// An SNMP value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snmp: Option<Box<SnmpProbe>>,
    /// A command on the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<SshProbe>,
    /// Time between two runs; 30s if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
    /// Time limit of one run; 5s if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Failures in a row until it counts as failed; 3 if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub failures: Option<i32>,
    /// Successes in a row until it counts as passed again; 2 if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub successes: Option<i32>,
    /// Which of the addresses of the device's name is asked; whichever the resolver names first if none. Not for ssh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,
    /// The address of the engine's machine that is asked from; whichever the system takes if none. Not for ssh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 45), regex(pattern = r"^[0-9a-fA-F.:]+$"))]
    pub source_address: Option<String>,
}

/// A family of IP addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Family {
    /// Whichever the resolver names first.
    #[default]
    Any,
    /// IPv4 only.
    IPv4,
    /// IPv6 only.
    IPv6,
}

/// Echo requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IcmpProbe {
    /// How many; 4 if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 20))]
    pub count: Option<i32>,
    /// Share of lost ones that is still accepted; 50% if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_loss: Option<Percent>,
    /// Average round trip that is still accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rtt: Option<Duration>,
}

/// A TCP connection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TcpProbe {
    /// The port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// Sent after connecting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub send: Option<String>,
    /// Must appear in what comes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub expect: Option<String>,
}

/// `http` or `https`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Plain.
    #[default]
    Http,
    /// Over TLS.
    Https,
}

/// An HTTP request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpProbe {
    /// `http` (if none) or `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<Scheme>,
    /// The port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// Path with its query; `/` if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = "^/"))]
    pub path: Option<String>,
    /// Method; GET if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// Request headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub headers: BTreeMap<String, String>,
    /// Accepted status codes; 200 to 299 if none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(range(min = 100, max = 599)))]
    pub status: Vec<i32>,
    /// Must appear in the first 64 KiB of the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub contains: Option<String>,
    /// A regular expression that must match somewhere in the first 64 KiB of the body, in the syntax of Rust's `regex`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub matches: Option<String>,
    /// What becomes of a redirect whose status is not among `status`: `Follow` (if none; up to 5 of them) or `Refuse`, which fails. What
    /// `headers` say goes to no other place than the one that was asked first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirects: Option<Redirects>,
    /// With `https`: whom to believe, and as whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsPolicy>,
}

/// What becomes of a redirect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Redirects {
    /// The next place is asked.
    #[default]
    Follow,
    /// It is a failure.
    Refuse,
}

/// Whom to believe over TLS.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TlsPolicy {
    /// The name that the certificate must be for, and that is asked for; the device's address if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub server_name: Option<String>,
    /// The Secret with the certificates, in PEM, of the only authorities that are believed, under `ca.crt` if no key is named; those of the
    /// engine's system if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<crate::SecretRef>,
    /// Whoever made the certificate, and whatever it is for, is believed: for boxes that made theirs themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub insecure: Option<bool>,
}

/// An HTTP method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// GET
    Get,
    /// HEAD
    Head,
    /// POST
    Post,
    /// OPTIONS
    Options,
}

/// A TLS handshake and its certificate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TlsProbe {
    /// The port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// The certificate, and those above it, must be valid for at least this long from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_validity: Option<Duration>,
    /// The name that it must be for; the device's address if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub server_name: Option<String>,
    /// The Secret with the certificates, in PEM, of the only authorities that are believed, under `ca.crt` if no key is named; those of the
    /// engine's system if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<crate::SecretRef>,
    /// Whoever made the certificate, and whatever it is for, is believed: only its time counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub insecure: Option<bool>,
}

/// A DNS question to the device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DnsProbe {
    /// The name asked for.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Record type; A if none.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "type")]
    pub record_type: Option<RecordType>,
    /// Must be among the answers, as `dig +short` writes them; of MX, SRV and SOA also the name alone. If none, any answer of the type does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub answer: Option<String>,
    /// The port; 53 if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
}

/// A type of DNS records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum RecordType {
    /// IPv4 address.
    #[default]
    A,
    /// IPv6 address.
    Aaaa,
    /// Another name.
    Cname,
    /// Mail servers.
    Mx,
    /// Name servers.
    Ns,
    /// A name by its address.
    Ptr,
    /// Start of authority.
    Soa,
    /// Where a service is.
    Srv,
    /// Text.
    Txt,
}

/// An SNMP value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SnmpProbe {
    /// The object identifier, in numbers; sysUpTime if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[0-9]+(\.[0-9]+)*$"))]
    pub oid: Option<String>,
    /// The value that it must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub expect: Option<String>,
    /// Community or user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<crate::SecretRef>,
}

/// A command on the device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SshProbe {
    /// Run by `sh -c`.
    #[schemars(length(min = 1, max = 1024))]
    pub command: String,
    /// The exit code that means well; 0 if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 255))]
    pub exit_code: Option<i32>,
}
