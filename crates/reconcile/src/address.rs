//! Which addresses are whose: what a program must not ask on somebody else's word.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The prefix under which a translator to IPv4 is reached (RFC 6052).
const TRANSLATED: [u16; 6] = [0x64, 0xff9b, 0, 0, 0, 0];

/// Where clouds answer a machine with its own credentials, beside the address on its link: Amazon's and Google's with IPv6, Alibaba's, Azure's
/// and Oracle's.
const METADATA: [IpAddr; 5] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
];

/// Whether only this machine, or its link, is meant: its own ports, and what answers on the link alone, such as a cloud's metadata
/// (169.254.169.254). Nor is it an address that many have.
pub fn is_near(address: IpAddr) -> bool {
    let address = plain(address);
    METADATA.contains(&address)
        || match address {
            IpAddr::V4(address) => {
                address.is_loopback()
                || address.is_link_local()
                || address.is_multicast()
                || address.is_broadcast()
                // "This network" (RFC 791): 0.0.0.0 is this machine.
                || address.octets()[0] == 0
            }
            IpAddr::V6(address) => {
                address.is_loopback() || address.is_unicast_link_local() || address.is_unspecified() || address.is_multicast()
            }
        }
}

/// Whether it is of a network of one's own: RFC 1918, RFC 6598 and RFC 4193. A cluster's pods and services mostly have such ones.
pub fn is_private(address: IpAddr) -> bool {
    match plain(address) {
        IpAddr::V4(address) => address.is_private() || (address.octets()[0] == 100 && address.octets()[1] & 0xc0 == 64),
        IpAddr::V6(address) => address.is_unique_local(),
    }
}

/// An IPv4 address that is written as an IPv6 one as what it is.
fn plain(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if v6.segments()[..6] == TRANSLATED => {
            let [.., a, b] = v6.segments();
            IpAddr::V4(Ipv4Addr::from((u32::from(a) << 16) | u32::from(b)))
        }
        // The deprecated form (RFC 4291, 2.5.5.1); `::` and `::1` are none.
        IpAddr::V6(v6) if v6.segments()[..6] == [0; 6] && v6 != Ipv6Addr::UNSPECIFIED && v6 != Ipv6Addr::LOCALHOST => {
            let [.., a, b] = v6.segments();
            IpAddr::V4(Ipv4Addr::from((u32::from(a) << 16) | u32::from(b)))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::{is_near, is_private};

    #[test]
    fn what_is_near_and_what_is_ones_own() {
        let near = [
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "0.0.0.0",
            "0.1.2.3",
            "::1",
            "fe80::1",
            "::ffff:127.0.0.1",
            "224.0.0.1",
            "::",
            "64:ff9b::a9fe:a9fe",
            "::127.0.0.1",
            "ff02::1",
            "255.255.255.255",
            "fd00:ec2::254",
            "fd20:ce::254",
            "100.100.100.200",
            "::ffff:168.63.129.16",
            "192.0.0.192",
        ];
        for text in near {
            assert!(is_near(text.parse().unwrap()), "{text}");
        }
        let private =
            ["10.0.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "100.127.255.255", "fd00::1", "::ffff:10.0.0.1", "64:ff9b::a00:1"];
        for text in private {
            assert!(is_private(text.parse().unwrap()) && !is_near(text.parse().unwrap()), "{text}");
        }
        for text in ["192.0.2.1", "2001:db8::1", "100.63.0.1", "100.128.0.1", "172.32.0.1", "64:ff9b::c000:201"] {
            assert!(!is_private(text.parse().unwrap()) && !is_near(text.parse().unwrap()), "{text}");
        }
    }
}
