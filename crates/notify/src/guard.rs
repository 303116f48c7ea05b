//! Where webhooks and gateways may be: whoever writes a Receiver chooses the URL, and must not reach through us what only we can reach.
//!
//! What a name means is looked at where the connection is made, so that a name that means something else a moment later is no way around it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use reconcile::address::{is_near, is_private};
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::error::{Category, Error};

/// Where requests may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Places {
    /// Everywhere, this machine too.
    #[default]
    Any,
    /// Not to this machine and its link, where a cloud's metadata is.
    Remote,
    /// Nor to private networks, such as a cluster's.
    Public,
}

impl Places {
    fn has(self, address: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::Remote => !is_near(address),
            Self::Public => !is_near(address) && !is_private(address),
        }
    }

    /// Whether a URL may be asked, where it names an address itself: then nothing is looked up.
    pub(crate) fn allows(self, url: &Url) -> Result<(), Error> {
        let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        match host.parse::<IpAddr>() {
            Ok(address) if !self.has(address) => Err(Error::new(Category::Receiver, format!("{host}: {}", Refused(address)))),
            _ => Ok(()),
        }
    }
}

/// An address that nothing is sent to.
#[derive(Debug)]
pub(crate) struct Refused(IpAddr);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let near = if is_near(self.0) { "for the engine's own machine only" } else { "of a private network" };
        write!(f, "nothing is sent to {}, which is {near} (--receiver-places)", self.0)
    }
}

impl std::error::Error for Refused {}

/// Looks up names, and leaves out the addresses that nothing is sent to.
pub(crate) struct Guarded(pub(crate) Places);

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let places = self.0;
        Box::pin(async move {
            let all: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let (good, bad): (Vec<SocketAddr>, Vec<SocketAddr>) = all.into_iter().partition(|address| places.has(address.ip()));
            match bad.first() {
                Some(address) if good.is_empty() => Err(Box::new(Refused(address.ip())) as _),
                _ => Ok(Box::new(good.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_an_address_is_written_it_is_that_address() {
        let allows = |places: Places, url: &str| places.allows(&url.parse().unwrap()).is_ok();
        for url in [
            "http://127.0.0.1:9093/",
            "http://[::1]/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://169.254.169.254/latest",
            "http://[::ffff:7f00:1]/",
        ] {
            assert!(allows(Places::Any, url) && !allows(Places::Remote, url) && !allows(Places::Public, url), "{url}");
        }
        for url in ["http://10.96.0.1/", "https://[fd00::1]/", "http://192.168.1.1/"] {
            assert!(allows(Places::Remote, url) && !allows(Places::Public, url), "{url}");
        }
        assert!(allows(Places::Public, "https://192.0.2.1/x") && allows(Places::Public, "https://hooks.example.com/"));
    }
}
