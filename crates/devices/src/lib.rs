//! One device: SSH, probes, facts and package drivers.
//!
//! [`Devices`] is the real one of the core's ports `Observe` and `Act`. Targets need sshd, a POSIX shell and coreutils, nothing else.

mod act;
mod detached;
mod devices;
mod drivers;
mod fetch;
#[cfg(test)]
#[path = "../../../tests/fuzz.rs"]
mod fuzz;
pub mod journal;
mod local;
mod pool;
pub mod probe;
mod read;
mod script;
mod secrets;
mod snmp;
pub mod ssh;
pub mod usage;

pub use devices::Devices;
pub use secrets::{Secret, SecretSource, Secrets};
