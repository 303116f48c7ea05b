//! From where a request comes.

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;

/// Entries of `X-Forwarded-For` that are looked at.
const PROXIES: usize = 16;

/// The address from which a request comes, behind the proxies whose word is taken; none by the socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Whence(pub Option<IpAddr>);

/// As the listener found it out.
impl<S: Sync> FromRequestParts<S> for Whence {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().copied().unwrap_or_default())
    }
}

impl fmt::Display for Whence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("the socket"),
        }
    }
}

impl Whence {
    /// The nearest address that is no proxy of ours: what is farther away anybody may have written.
    pub(crate) fn of(peer: IpAddr, proxies: &[Network], headers: &HeaderMap) -> Self {
        let is_ours = |address: IpAddr| proxies.iter().any(|network| network.has(address));
        let mut nearest = peer;
        // From the right, as bytes: what a client wrote before is there whatever it is, and need be no text.
        let said = headers.get_all("x-forwarded-for").iter().rev().flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
        for said in said.take(PROXIES) {
            if !is_ours(nearest) {
                break;
            }
            let Some(address) = std::str::from_utf8(said).ok().and_then(|said| said.trim().parse::<IpAddr>().ok()) else { break };
            nearest = address.to_canonical();
        }
        Self(Some(nearest))
    }
}

/// A network such as `10.0.0.0/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text}: not an address such as 10.1.2.3, or a network such as 10.0.0.0/8");
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits: u8 = bits.map_or(Ok(most), str::parse).map_err(|_| wrong())?;
        if bits > most { Err(wrong()) } else { Ok(Self { address, bits }) }
    }
}

impl Network {
    pub(crate) fn has(self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).checked_shr(32 - u32::from(self.bits)).unwrap_or(0) == 0,
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).checked_shr(128 - u32::from(self.bits)).unwrap_or(0) == 0,
            _ => false,
        }
    }
}

/// The address, or where there is more than one can count (IPv6) its network: one customer gets 2^64 of them.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whence(peer: &str, forwarded: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        let proxies = ["10.0.0.0/8", "::1"].map(|text| text.parse().unwrap());
        Whence::of(peer.parse().unwrap(), &proxies, &headers).to_string()
    }

    #[test]
    fn only_proxies_of_ours_are_believed() {
        assert_eq!(whence("203.0.113.7", &["1.1.1.1"]), "203.0.113.7");
        assert_eq!(whence("10.1.2.3", &["1.1.1.1, 203.0.113.9"]), "203.0.113.9");
        assert_eq!(whence("10.1.2.3", &["1.1.1.1", "203.0.113.9, 10.9.9.9"]), "203.0.113.9");
        assert_eq!(whence("::1", &["nonsense"]), "::1");
        assert_eq!(whence("::1", &[]), "::1");
        assert_eq!(whence("10.1.2.3", &["::ffff:1.2.3.4"]), "1.2.3.4");
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", axum::http::HeaderValue::from_bytes(b"\xff\xfe, 203.0.113.9").unwrap());
        let behind = Whence::of("10.1.2.3".parse().unwrap(), &["10.0.0.0/8".parse().unwrap()], &headers);
        assert_eq!(behind.to_string(), "203.0.113.9", "what is no text hides nobody");
        let many = vec!["10.0.0.1"; 1000].join(", ");
        assert_eq!(whence("10.1.2.3", &[&many]), "10.0.0.1");
    }

    #[test]
    fn networks_are_read() {
        for wrong in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/x", "example.com"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
        let all: Network = "0.0.0.0/0".parse().unwrap();
        assert!(all.has("8.8.8.8".parse().unwrap()) && !all.has("::1".parse().unwrap()));
        assert!("::/0".parse::<Network>().unwrap().has("::1".parse().unwrap()));
        assert_eq!(network("2001:db8:1:2:3:4:5:6".parse().unwrap()).to_string(), "2001:db8:1:2::");
    }
}
