//! Alerts: conditions over what is known of devices, with memory, and what is said of them to whom.
//!
//! ```text
//! where a device is observed:   Rule::verdict ─► Verdict (true, false, unknown), told when it changes
//! the one writer:               Alerts ─► state ─► groups ─► Notice, stored together
//! ```

pub mod alerts;
pub mod backtest;
pub mod due;
pub mod expr;
pub mod flap;
pub mod groups;
pub mod history;
mod lines;
mod notice;
pub mod receiver;
pub mod rule;
pub mod sheet;
pub mod state;
pub mod success;
pub mod suppress;
pub mod text;
pub mod trial;
mod truth;

pub use notice::{Instead, LISTED, LastChange, Notice, Reason, Said};
pub use receiver::Receiver;
pub use truth::Truth;
