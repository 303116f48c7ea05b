//! The HTTP interface of a running engine: health, metrics, and what the command line asks.

pub mod view;
