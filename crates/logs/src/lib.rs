//! What devices say of themselves: syslog is taken in, parsed, matched to its device, and its lines are grouped by template.
//!
//! ```text
//! UDP, TCP, TLS ─► Batch (cleaned text) ─► parse ─► Line ─► whose is it ─► which template, is it new ─► Record
//!     intake        batch, clean            parse    line    senders         mining                    reading
//! ```
//!
//! All of it is hostile: a line has a length, a sender a rate, and each list a limit. Nothing is dropped without being counted.

pub mod anomaly;
pub mod batch;
pub mod clean;
pub mod intake;
pub mod line;
pub mod mining;
pub mod parse;
pub mod reading;
pub mod senders;

pub use line::{Dialect, Facility, Field, Flags, Line, Severity};
