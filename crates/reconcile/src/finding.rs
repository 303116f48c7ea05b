//! What is wrong with a set of objects, each with the place in the object.

use serde::Serialize;

use crate::name::Target;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The object can't be used as it is.
    Error,
    /// It can be used, but hardly as it was meant.
    Warning,
    /// Worth knowing.
    Note,
}

impl Severity {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// One thing that is wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Stable name of the rule, in kebab-case.
    pub code: &'static str,
    /// The object.
    pub object: Target,
    /// The field, such as `spec.parents[0]`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
    /// The object is left out of what is in force.
    pub stalls: bool,
}
