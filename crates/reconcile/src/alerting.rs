//! Alerts: conditions over what is known of devices, with memory, and what is said of them to whom.

mod notice;
pub mod receiver;
pub mod success;
pub mod text;

pub use notice::{LISTED, LastChange, Notice, Reason, Said};
pub use receiver::Receiver;
