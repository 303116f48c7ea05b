//! The ports in memory: a store and devices that need no disk, no network and no time, and misbehave when they are told to.

mod devices;
mod machine;
mod store;

pub use devices::Devices;
pub use machine::{Breaks, Fate, Machine};
pub use store::{Error, Store};
