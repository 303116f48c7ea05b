//! A simulated fleet: many devices in one process that speak real SSH on loopback addresses of their own and run whatever they
//! are told in a real `sh`, each under a root directory of its own. It needs no root and no systemd.
//!
//! ```text
//! <folder>/bin          stand-ins for apt-get, dpkg, systemctl …, first on the PATH of every command
//! <folder>/catalogue    the packages that can be had; devices see a newer one after `apt-get update`
//! <folder>/secrets      the key that every device accepts, as `fleet-key/ssh-privatekey`
//! <folder>/devices/X    the root of device X; `.simulated` in it is what the stand-ins remember
//! ```
//!
//! A [`Fault`] makes a device misbehave, from the start or while it runs. What a fleet started ends with it.

mod artifacts;
mod catalogue;
mod chatter;
pub mod conformance;
mod fault;
mod fleet;
pub mod memory;
mod numbers;
mod ports;
mod process;
mod simulated;
mod ssh;
mod stand_ins;

pub use catalogue::{Catalogue, Package};
pub use fault::Fault;
pub use fleet::{Fleet, KEY, PORT as SSH};
pub use ports::{Port, Speaks};
pub use simulated::{Setup, Simulated};

/// What can go wrong with a fleet itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something on the disk or the network.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A key could not be made.
    #[error("a key can't be made: {0}")]
    Key(String),
    /// No block of loopback addresses is free.
    #[error("every block of loopback addresses from 127.100.0.0/16 to 127.199.0.0/16 is taken by another simulated fleet")]
    NoAddresses,
    /// More devices than a fleet has addresses for.
    #[error("a simulated fleet has at most {0} devices")]
    TooMany(usize),
    /// Two devices of one name, or a name that can't be a folder's.
    #[error("`{0}` can't be the name of another device")]
    Name(String),
    /// A command on a device that had to succeed.
    #[error("{device}: {said}")]
    Command {
        /// On which device.
        device: String,
        /// What it said.
        said: String,
    },
}

/// Turns an I/O error into ours, saying what was tried.
fn io(what: impl std::fmt::Display) -> impl FnOnce(std::io::Error) -> Error {
    move |source| Error::Io { what: what.to_string(), source }
}
