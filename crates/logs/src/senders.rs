//! Whose a line is: a device, or a sender that is not known.
//!
//! What proves most comes first: the certificate's name, the address that the line came from, and last the name that the line itself
//! claims. That name is believed only where the address is no device's, or is a relay's that may speak for others: else a device that
//! was broken into could write into the logs of any other.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;

use crate::batch::Peer;

/// Unknown senders that are remembered; the one that was silent for longest goes first.
pub const UNKNOWN: usize = 1000;

/// Hosts that are remembered of one unknown sender: a relay has some, and who makes them up shall not fill our memory.
pub const HOSTS: usize = 8;

/// What a device may be known by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Names beside its own: the DNS name that it is reached by.
    pub names: Vec<String>,
    /// It sends lines of others.
    pub is_relay: bool,
    /// It should send nothing: what comes from it nevertheless is not taken for its own.
    pub is_kept_apart: bool,
}

/// Devices by what they are known by. Changes with each device on its own.
#[derive(Clone, Debug, Default)]
pub struct Devices {
    known: HashMap<Arc<str>, Known>,
    // Nearly always of one: a set or a vector with room to grow would be most of what a fleet takes here.
    addresses: HashMap<IpAddr, Box<[Arc<str>]>>,
    names: HashMap<Box<str>, Box<[Arc<str>]>>,
}

/// What tells whose a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The name in the sender's certificate.
    Certificate,
    /// The address that it came from.
    Address,
    /// The name or address that the line claims.
    Host,
    /// Nothing has to: we read it there ourselves.
    Read,
}

/// Whose a line is, and what tells so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// The device's name.
    pub device: Arc<str>,
    /// What tells so.
    pub by: By,
}

impl Devices {
    /// A device is there, or is known by something else now.
    pub fn set(&mut self, device: &str, known: Known) {
        self.remove(device);
        let device: Arc<str> = device.into();
        for address in &known.addresses {
            put_in(&mut self.addresses, address.to_canonical(), &device);
        }
        for name in names(&device, &known) {
            put_in(&mut self.names, name, &device);
        }
        self.known.insert(device, known);
    }

    /// A device is gone.
    pub fn remove(&mut self, device: &str) {
        let Some((device, known)) = self.known.remove_entry(device) else { return };
        for address in &known.addresses {
            take_out(&mut self.addresses, &address.to_canonical(), &device);
        }
        for name in names(&device, &known) {
            take_out(&mut self.names, &name, &device);
        }
    }

    /// Whose a line is that a peer sent and that claims to be of a host. Nobody's, if what should tell it fits two devices.
    pub fn find(&self, peer: &Peer, host: &str) -> Option<Match> {
        let sender = self.sender(peer);
        let speaks_for_itself = sender.as_ref().is_some_and(|sender| !self.known[&sender.device].is_relay);
        if speaks_for_itself || self.addresses.get(&peer.address).is_some_and(|all| all.len() > 1) {
            // Of several behind one address, the one that it says.
            return sender.or_else(|| {
                let claimed = self.claimed(host)?;
                self.addresses[&peer.address].contains(&claimed.device).then_some(claimed)
            });
        }
        self.claimed(host).or(sender)
    }

    /// Whether a device should send nothing.
    pub fn is_kept_apart(&self, device: &str) -> bool {
        self.known.get(device).is_some_and(|known| known.is_kept_apart)
    }

    /// The device of this address, if it is only one's.
    pub fn at(&self, address: IpAddr) -> Option<Arc<str>> {
        only(self.addresses.get(&address.to_canonical())?)
    }

    fn sender(&self, peer: &Peer) -> Option<Match> {
        let certificate = peer.certificate.as_deref().and_then(|name| self.by_name(name));
        let address = || only(self.addresses.get(&peer.address)?);
        certificate
            .map(|device| Match { device, by: By::Certificate })
            .or_else(|| address().map(|device| Match { device, by: By::Address }))
    }

    fn claimed(&self, host: &str) -> Option<Match> {
        let by_address = || only(self.addresses.get(&host.parse::<IpAddr>().ok()?.to_canonical())?);
        let device = self.by_name(host).or_else(by_address)?;
        Some(Match { device, by: By::Host })
    }

    /// By its whole name, or by what is before the first dot.
    fn by_name(&self, name: &str) -> Option<Arc<str>> {
        if name.is_empty() {
            return None;
        }
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        match self.names.get(name.as_str()) {
            Some(all) => only(all),
            None if name.parse::<IpAddr>().is_ok() => None,
            None => only(self.names.get(name.split_once('.')?.0)?),
        }
    }
}

fn names(device: &str, known: &Known) -> BTreeSet<Box<str>> {
    let all = std::iter::once(device).chain(known.names.iter().map(String::as_str));
    all.map(|name| name.trim_end_matches('.').to_ascii_lowercase().into()).collect()
}

fn only(all: &[Arc<str>]) -> Option<Arc<str>> {
    all.first().filter(|_| all.len() == 1).cloned()
}

fn put_in<K: Hash + Eq>(index: &mut HashMap<K, Box<[Arc<str>]>>, key: K, device: &Arc<str>) {
    let all = index.entry(key).or_default();
    if !all.contains(device) {
        *all = all.iter().chain([device]).cloned().collect();
    }
}

fn take_out<K: Hash + Eq>(index: &mut HashMap<K, Box<[Arc<str>]>>, key: &K, device: &str) {
    if let Some(all) = index.get_mut(key) {
        *all = all.iter().filter(|other| ***other != *device).cloned().collect();
        if all.is_empty() {
            index.remove(key);
        }
    }
}

/// A sender that is no device's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stranger {
    /// Where its lines come from.
    pub address: IpAddr,
    /// The host that its newest line claims to be of.
    pub host: String,
    /// The hosts that its lines claim to be of, in the order in which they came up, [`HOSTS`] at most.
    pub hosts: Vec<String>,
    /// Its lines so far.
    pub lines: u64,
    /// When the first one came.
    pub first: Timestamp,
    /// When the newest one came.
    pub last: Timestamp,
}

/// Senders that are no device's, with a limit.
#[derive(Clone, Debug, Default)]
pub struct Strangers {
    by_address: HashMap<IpAddr, Stranger>,
    forgotten: u64,
}

impl Strangers {
    /// One of them sent a line.
    pub fn add(&mut self, address: IpAddr, host: &str, at: Timestamp) {
        if let Some(stranger) = self.by_address.get_mut(&address) {
            stranger.lines += 1;
            stranger.last = at;
            if stranger.host != host {
                host.clone_into(&mut stranger.host);
                if !host.is_empty() && stranger.hosts.len() < HOSTS && !stranger.hosts.iter().any(|known| known == host) {
                    stranger.hosts.push(host.to_owned());
                }
            }
            return;
        }
        if self.by_address.len() >= UNKNOWN {
            // Many at once, so that a flood of addresses does not cost a search for each line.
            let mut ages: Vec<(Timestamp, IpAddr)> = self.by_address.values().map(|stranger| (stranger.last, stranger.address)).collect();
            ages.sort_unstable();
            for (_, address) in ages.iter().take(UNKNOWN / 10) {
                self.by_address.remove(address);
                self.forgotten += 1;
            }
        }
        let hosts = if host.is_empty() { Vec::new() } else { vec![host.to_owned()] };
        self.by_address.insert(address, Stranger { address, host: host.to_owned(), hosts, lines: 1, first: at, last: at });
    }

    /// They, those that were heard last first.
    pub fn list(&self) -> Vec<&Stranger> {
        let mut all: Vec<&Stranger> = self.by_address.values().collect();
        all.sort_by_key(|stranger| (std::cmp::Reverse(stranger.last), stranger.address));
        all
    }

    /// How many were forgotten, since there were too many.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str, certificate: &str) -> Peer {
        Peer { address: address.parse().unwrap(), certificate: (!certificate.is_empty()).then(|| certificate.into()) }
    }

    fn known(addresses: &[&str], names: &[&str], is_relay: bool) -> Known {
        Known {
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            is_relay,
            is_kept_apart: false,
        }
    }

    fn devices() -> Devices {
        let mut devices = Devices::default();
        devices.set("web-01", known(&["10.0.0.1"], &["web-01.example.org"], false));
        devices.set("web-02", known(&["10.0.0.2"], &[], false));
        devices.set("relay", known(&["10.0.0.9"], &[], true));
        devices.set("a", known(&["10.0.0.7"], &["twin.lan"], false));
        devices.set("b", known(&["10.0.0.7"], &["twin.lan"], false));
        devices
    }

    fn check(devices: &Devices, address: &str, certificate: &str, host: &str) -> String {
        devices.find(&peer(address, certificate), host).map_or("-".into(), |found| format!("{} {:?}", found.device, found.by))
    }

    #[test]
    fn what_proves_most_comes_first() {
        let devices = devices();
        for (address, certificate, host, want) in [
            ("10.0.0.1", "", "", "web-01 Address"),
            // A device can't speak for another one, a relay can.
            ("10.0.0.1", "", "web-02", "web-01 Address"),
            ("10.0.0.9", "", "web-02", "web-02 Host"),
            ("10.0.0.9", "", "unheard-of", "relay Address"),
            ("10.0.0.2", "web-01.example.org", "web-02", "web-01 Certificate"),
            ("10.0.0.2", "other.example.org", "", "web-02 Address"),
            // An address that is nobody's: what the line says.
            ("192.0.2.1", "", "WEB-01.example.org.", "web-01 Host"),
            ("192.0.2.1", "", "web-02.lan", "web-02 Host"),
            ("192.0.2.1", "", "10.0.0.2", "web-02 Host"),
            ("192.0.2.1", "", "10.0.0.99", "-"),
            ("192.0.2.1", "", "", "-"),
            // Two with one address or one name.
            ("10.0.0.7", "", "a", "a Host"),
            ("10.0.0.7", "", "web-01", "-"),
            ("10.0.0.7", "", "", "-"),
            ("192.0.2.1", "", "twin.lan", "-"),
        ] {
            assert_eq!(check(&devices, address, certificate, host), want, "{address} {certificate} {host}");
        }
    }

    #[test]
    fn what_changes_is_known_by_what_it_is_now() {
        let mut devices = devices();
        devices.set("web-01", known(&["10.0.1.1"], &[], false));
        devices.remove("b");
        devices.remove("never-there");
        assert_eq!(check(&devices, "10.0.0.1", "", ""), "-");
        assert_eq!(check(&devices, "10.0.1.1", "", ""), "web-01 Address");
        assert_eq!(check(&devices, "10.0.0.7", "", ""), "a Address");
        assert_eq!(check(&devices, "192.0.2.1", "", "twin.lan"), "a Host");
        for device in ["web-01", "web-02", "relay", "a"] {
            devices.remove(device);
        }
        assert!(devices.known.is_empty() && devices.addresses.is_empty() && devices.names.is_empty());
    }

    #[test]
    fn strangers_are_listed_and_bounded() {
        let mut strangers = Strangers::default();
        let at = |second: usize| Timestamp::from_second(i64::try_from(second).unwrap()).unwrap();
        let address = |number: usize| IpAddr::from(std::net::Ipv4Addr::from(u32::try_from(number).unwrap()));
        for number in 0..UNKNOWN {
            strangers.add(address(number), "x", at(number));
        }
        strangers.add(address(0), "y", at(UNKNOWN));
        (0..20).for_each(|_| strangers.add(address(0), "x", at(UNKNOWN)));
        (0..20).for_each(|number| strangers.add(address(0), &format!("h{number}"), at(UNKNOWN)));
        strangers.add(address(0), "y", at(UNKNOWN));
        assert_eq!(strangers.by_address[&address(0)].hosts, ["x", "y", "h0", "h1", "h2", "h3", "h4", "h5"]);
        strangers.add(address(UNKNOWN), "z", at(UNKNOWN + 1));
        let list = strangers.list();
        assert_eq!((list.len(), strangers.forgotten()), (UNKNOWN - 99, 100));
        assert_eq!((&*list[0].host, &*list[1].host, list[1].lines, list[1].first), ("z", "y", 43, at(0)));
        assert!(!list.iter().any(|stranger| stranger.address == address(1)));
    }
}
