//! The HTTP interface of a running engine: health, metrics, and what the command line asks.

pub mod backtest;
pub mod can;
pub mod change;
pub mod client;
pub mod explain;
pub mod feed;
#[cfg(test)]
#[path = "../../../tests/fuzz.rs"]
mod fuzz;
pub mod hooks;
pub mod logs;
mod metrics;
mod places;
mod problem;
pub mod rest;
pub mod served;
pub mod server;
pub mod shared;
pub mod sign_in;
mod turns;
pub mod ui;
pub mod usage;
pub mod view;
