//! One device: SSH, probes, facts and package drivers.

mod detached;
mod drivers;
mod read;
mod script;
pub mod ssh;
