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

    /// kstatus's second condition of what is not ready, if any.
    pub(super) fn also(&self) -> Option<&'static str> {
        match self.reason {
            _ if self.is_ready => None,
            "Suspended" => None,
            // It is tried again, or waits for a person who is asked.
            "Reading" | "GitFailed" | "NoCache" | "NotWritten" | "WaitsForApproval" | "Progressing" => Some("Reconciling"),
            _ => Some("Stalled"),
        }
    }
}
