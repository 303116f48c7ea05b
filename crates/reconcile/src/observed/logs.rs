//! What stands out in a device's logs, for whoever is told of it.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// Lines of one sort that are kept of a device.
pub const KEPT: usize = 20;

/// What stood out in a device's logs within the last hour, the newest first; [`KEPT`] of each sort. Written by whoever takes lines in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogsSeen {
    /// Kinds of lines that were never seen from it before.
    pub new: Vec<LogSaid>,
    /// Those that come far more often than they did.
    pub unusual: Vec<LogSaid>,
    /// Those that came regularly and don't any more.
    pub vanished: Vec<LogSaid>,
    /// The first errors of the last minutes.
    pub errors: Vec<LogSaid>,
    /// By pattern, the last line that matched.
    pub matched: BTreeMap<String, LogSaid>,
}

/// A line, or what lines of a kind have in common. From hostile text: to be escaped for where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSaid {
    /// When.
    pub at: Timestamp,
    /// `program: words`.
    pub text: String,
}

impl LogsSeen {
    /// Leaves out what was before this, and what is too much.
    pub fn forget(&mut self, before: Timestamp) {
        for said in [&mut self.new, &mut self.unusual, &mut self.vanished, &mut self.errors] {
            said.retain(|said| said.at >= before);
            said.truncate(KEPT);
        }
        self.matched.retain(|_, said| said.at >= before);
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        let Self { new, unusual, vanished, errors, matched } = self;
        new.is_empty() && unusual.is_empty() && vanished.is_empty() && errors.is_empty() && matched.is_empty()
    }
}
