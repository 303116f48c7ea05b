//! What devices say of themselves: syslog is taken in, parsed, matched to its device, and its lines are grouped by template.
//!
//! ```text
//! UDP, TCP, TLS ─► Batch (cleaned text) ─► parse ─► Line ─► senders: whose is it ─► mining: which template, is it new
//!     intake        batch, clean            parse    line    senders                mining
//! ```
//!
//! All of it is hostile: a line has a length, a sender a rate, and each list a limit. Nothing is dropped without being counted.

pub mod clean;
pub mod line;
pub mod mining;
pub mod parse;

pub use line::{Dialect, Facility, Field, Flags, Line, Severity};
