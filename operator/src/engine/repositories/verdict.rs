//! How a look at a Repository went.

/// How a look went.
#[derive(Clone)]
pub(super) struct Verdict {
    pub(super) is_ready: bool,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Verdict {
    pub(super) fn not(reason: &'static str, message: impl Into<String>) -> Self {
        Self { is_ready: false, reason, message: message.into() }
    }
}
