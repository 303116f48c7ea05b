//! The way to a device: its address, a connection, and what is said where there is none.

use std::io;
use std::net::{IpAddr, SocketAddr};

use reconcile::{ProbeCode, Way};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

use super::{Phases, Reason};

/// `EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM` of Linux.
const OUT_OF: [i32; 4] = [24, 23, 105, 12];

/// The address that a device is asked at: the first of its name's that the way takes. No other one is tried: half of a device that is up
/// would look like all of it.
pub(crate) async fn address(host: &str, way: &Way, phases: &mut Phases) -> Result<IpAddr, Reason> {
    let none = |words: String| Reason { code: ProbeCode::NoAddress, words };
    let misses = || match way.family {
        crds::Family::IPv6 => format!("`{host}` has no IPv6 address"),
        crds::Family::IPv4 => format!("`{host}` has no IPv4 address"),
        crds::Family::Any => format!("`{host}` has no address of the family that is asked from"),
    };
    if let Ok(address) = host.parse::<IpAddr>() {
        return if way.takes(address) { Ok(address) } else { Err(none(misses())) };
    }
    let began = Instant::now();
    let found = tokio::net::lookup_host((host, 0)).await;
    Phases::add(&mut phases.resolve, began.elapsed());
    let mut found = found.map_err(|error| unresolved(host, &error))?.peekable();
    if found.peek().is_none() {
        return Err(none(format!("`{host}` has no address")));
    }
    found.map(|found| found.ip()).find(|address| way.takes(*address)).ok_or_else(|| none(misses()))
}

/// A name that is not there is the device's affair, a resolver that does not answer is ours. The two are told apart by the words of
/// `getaddrinfo` for `EAI_AGAIN`, of glibc and of musl; the standard library has no kind for it.
fn unresolved(host: &str, error: &io::Error) -> Reason {
    let words = error.to_string();
    if words.ends_with("Temporary failure in name resolution") || words.ends_with("Try again") {
        return Reason { code: ProbeCode::NoResolver, words: format!("`{host}`: our resolver does not answer") };
    }
    if is_ours(error) {
        return broken(error);
    }
    Reason { code: ProbeCode::NoAddress, words: format!("`{host}` has no address") }
}

/// A TCP connection.
pub(super) async fn connect(address: SocketAddr, way: &Way, phases: &mut Phases) -> Result<TcpStream, Reason> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(|error| broken(&error))?;
    if let Some(source) = way.source {
        socket.bind(SocketAddr::new(source, 0)).map_err(|error| unbound(source, &error))?;
    }
    let began = Instant::now();
    let stream = socket.connect(address).await.map_err(|error| broken(&error))?;
    Phases::add(&mut phases.connect, began.elapsed());
    Ok(stream)
}

/// The address to ask from can't be had.
pub(crate) fn unbound(source: IpAddr, error: &io::Error) -> Reason {
    match error.kind() {
        io::ErrorKind::AddrNotAvailable => {
            Reason { code: ProbeCode::NoSource, words: format!("{source} is not an address of the machine that asks") }
        }
        _ => broken(error),
    }
}

fn is_ours(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|number| OUT_OF.contains(&number))
}

/// What an error of the network says, and of whom.
pub(super) fn broken(error: &io::Error) -> Reason {
    use io::ErrorKind as Kind;
    let code = match error.kind() {
        _ if is_ours(error) => ProbeCode::Exhausted,
        Kind::ConnectionRefused => ProbeCode::Refused,
        Kind::TimedOut => ProbeCode::Timeout,
        Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NetworkDown => ProbeCode::NoRoute,
        // Routers say that something is forbidden as if there was no way; this is said here.
        Kind::PermissionDenied => ProbeCode::NotPermitted,
        // No port is left to ask from.
        Kind::AddrNotAvailable | Kind::AddrInUse => ProbeCode::Exhausted,
        Kind::Unsupported => ProbeCode::NotPermitted,
        _ => ProbeCode::Closed,
    };
    Reason { code, words: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_fault_an_error_is() {
        let said = |error: io::Error| broken(&error).code;
        assert_eq!(said(io::Error::from_raw_os_error(111)), ProbeCode::Refused);
        assert_eq!(said(io::Error::from_raw_os_error(113)), ProbeCode::NoRoute);
        assert_eq!(said(io::Error::from_raw_os_error(101)), ProbeCode::NoRoute);
        assert_eq!(said(io::Error::from_raw_os_error(104)), ProbeCode::Closed);
        for ours in [1, 13, 23, 24, 99, 105] {
            let code = said(io::Error::from_raw_os_error(ours));
            assert_eq!(code.state(), reconcile::ProbeState::Unknown, "{ours}: {code:?}");
        }
        let resolver = io::Error::other("failed to lookup address information: Temporary failure in name resolution");
        assert_eq!(unresolved("web", &resolver).code, ProbeCode::NoResolver);
        let gone = io::Error::other("failed to lookup address information: Name or service not known");
        assert_eq!(unresolved("web", &gone).code, ProbeCode::NoAddress);
    }

    #[tokio::test]
    async fn the_family_is_a_condition() {
        let way = |family| Way { family, source: None };
        let asked = async |host: &str, family| address(host, &way(family), &mut Phases::default()).await.map_err(|reason| reason.code);
        assert_eq!(asked("192.0.2.1", crds::Family::Any).await, Ok("192.0.2.1".parse().unwrap()));
        assert_eq!(asked("192.0.2.1", crds::Family::IPv6).await, Err(ProbeCode::NoAddress));
        assert_eq!(asked("2001:db8::1", crds::Family::IPv4).await, Err(ProbeCode::NoAddress));
        assert_eq!(asked("localhost", crds::Family::IPv4).await, Ok("127.0.0.1".parse().unwrap()));
    }
}
