//! Which Secrets are needed for what: a change of one is a matter of whoever needs it, and of nobody else.

use super::{Access, Check, Device, MetricsSource, Probe};
use crate::Name;

impl Device {
    /// Whether we log in there with this Secret.
    pub fn logs_in_with(&self, secret: &Name) -> bool {
        let Access::Ssh(access) = &self.access else { return false };
        self.has(access.secret.as_deref(), secret)
    }

    /// Whether a probe of this device needs this Secret: for its own question, or to log in.
    pub fn probes_with(&self, probe: &Probe, secret: &Name) -> bool {
        match &probe.check {
            Check::Http(http) => self.has(http.trust.authorities.as_ref().map(|(name, _)| name.as_str()), secret),
            Check::Tls(tls) => self.has(tls.trust.authorities.as_ref().map(|(name, _)| name.as_str()), secret),
            Check::Snmp { agent, .. } => self.has(agent.secret.as_deref(), secret),
            Check::Ssh { .. } => self.logs_in_with(secret),
            Check::Tcp { .. } | Check::Dns(_) | Check::Icmp { .. } => false,
        }
    }

    /// Whether it takes this Secret to read what the device uses.
    pub fn is_read_with(&self, secret: &Name) -> bool {
        match self.metrics.as_ref().map(|metrics| &metrics.source) {
            Some(MetricsSource::Ssh) => self.logs_in_with(secret),
            Some(MetricsSource::Snmp(agent)) => self.has(agent.secret.as_deref(), secret),
            Some(MetricsSource::NodeExporter { .. }) | None => false,
        }
    }

    fn has(&self, named: Option<&str>, secret: &Name) -> bool {
        self.name.namespace() == secret.namespace() && named == Some(secret.name())
    }
}
