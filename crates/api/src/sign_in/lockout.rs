//! What failed sign-ins cost: each one after the first few makes the next one wait twice as long.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use store::Store;

use super::secret;
use super::whence::{Whence, network};

/// Failures of a name that cost nothing: people mistype.
const FREE: u32 = 5;
/// The same of an address, from which many people may come.
const FREE_FOR_ADDRESS: u32 = 20;
/// The first wait.
const FIRST: SignedDuration = SignedDuration::from_secs(15);
/// The longest wait of a name: whoever wants to keep somebody out has to go on for ever, and can be seen in the audit log.
const LONGEST: SignedDuration = SignedDuration::from_mins(15);

/// What is held against whom: the name, and the address.
pub(crate) struct Tried {
    name: String,
    address: Option<String>,
}

impl Tried {
    /// Somebody tries this name from there.
    pub(crate) fn new(name: &str, whence: Whence) -> Self {
        Self { name: of_name(name), address: whence.0.map(of_address) }
    }

    /// Somebody tries what has no name, such as a one-time token; by the socket there is nobody to be held off.
    pub(crate) fn by_address(what: &str, whence: Whence) -> Self {
        Self {
            name: of_name(&format!("{what} {}", whence.0.map_or_else(|| "socket".into(), |address| network(address).to_string()))),
            address: None,
        }
    }

    /// May they try? If not: until when.
    pub(crate) async fn begin(&self, store: &Store, now: Timestamp) -> Result<Option<Timestamp>, store::Error> {
        // What is locked anyway tells nothing about where it is tried from.
        if let Some(until) = store.locked_until(&self.name, now).await? {
            return Ok(Some(until));
        }
        if let Some(address) = &self.address
            && let Some(until) = store.attempt(address, now, address_lock).await?
        {
            return Ok(Some(until));
        }
        store.attempt(&self.name, now, lock).await
    }

    /// They were who they said.
    pub(crate) async fn succeeded(&self, store: &Store, now: Timestamp) -> Result<(), store::Error> {
        store.forgive(&self.name, true, now).await?;
        // Whoever has a name of their own must not wipe out with it all that came from their address; it makes up for one failure,
        // so that many people who mistype now and then behind one address are not locked out for good.
        match &self.address {
            Some(address) => store.forgive(address, false, now).await,
            None => Ok(()),
        }
    }
}

/// By what a name's failures are found.
pub(crate) fn of_name(name: &str) -> String {
    secret::hash(&format!("name {name}"))
}

/// By what an address's failures are found.
pub(crate) fn of_address(address: IpAddr) -> String {
    secret::hash(&format!("address {}", network(address)))
}

fn lock(failures: u32) -> SignedDuration {
    wait(failures, FREE)
}

fn address_lock(failures: u32) -> SignedDuration {
    wait(failures, FREE_FOR_ADDRESS)
}

fn wait(failures: u32, free: u32) -> SignedDuration {
    if failures < free {
        return SignedDuration::ZERO;
    }
    let doubled = 1_i32.checked_shl((failures - free).min(16)).unwrap_or(i32::MAX);
    FIRST.checked_mul(doubled).unwrap_or(LONGEST).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_costs_twice_as_much_up_to_a_limit() {
        let waits: Vec<i64> = [1, 4, 5, 6, 7, 10, 11, 1000, u32::MAX].map(|failures| lock(failures).as_secs()).into();
        assert_eq!(waits, [0, 0, 15, 30, 60, 480, 900, 900, 900]);
        assert_eq!(address_lock(19).as_secs(), 0);
        assert_eq!(address_lock(20).as_secs(), 15);
    }
}
