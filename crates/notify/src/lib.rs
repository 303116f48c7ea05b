//! Delivers one notification: by e-mail, SMS or webhook.
//!
//! ```text
//! Notice ─┐
//! Receiver ├─► Channels::deliver() ─► Delivered | Error { permanent or transient, retry_after, category, reached }
//! Secret ──┘                                        │
//!                                     retry::Backoff ─► again at … | dead letter
//! ```
//!
//! Each call tries once; patience is the outbox's, and [`retry`] has what it decides with. A notice may be delivered twice (its answer may be
//! lost), never silently not at all; everything that can carry it has the notice's id, so that whoever gets it twice can tell.

mod channels;
mod error;
#[cfg(test)]
#[path = "../../../tests/fuzz.rs"]
mod fuzz;
mod guard;
mod heartbeat;
mod http;
mod mail;
pub mod retry;
mod secret;
mod sms;
mod trial;
mod webhook;
mod words;

pub use channels::{Channels, Delivered, One, Origin, Reached};
pub use error::{Category, Error};
pub use guard::Places;
pub use heartbeat::Heartbeat;
pub use secret::Secret;
pub use sms::segments;
pub use trial::trial;
pub use webhook::sign::sign;
