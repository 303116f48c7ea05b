//! The HTTP interface of a running engine: health, metrics, and what the command line asks.

pub mod backtest;
pub mod can;
pub mod client;
pub mod explain;
#[cfg(test)]
#[path = "../../../tests/fuzz.rs"]
mod fuzz;
pub mod hooks;
pub mod logs;
mod metrics;
mod places;
mod problem;
pub mod rest;
pub mod server;
pub mod sign_in;
pub mod usage;
pub mod view;
