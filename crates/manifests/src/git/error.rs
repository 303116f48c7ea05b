//! What can go wrong between a repository and us.

use std::path::PathBuf;
use std::time::Duration;

/// Why a source gives nothing new. The last good commit stays in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The URL, or what is to be followed, can't be used.
    #[error("the repository's {what} can't be used: {reason}")]
    Unusable {
        /// Which part.
        what: &'static str,
        /// Why; never the URL itself, which may hold a password.
        reason: String,
    },
    /// The remote can't be reached, or refuses.
    #[error("{url} cannot be read: {reason}")]
    Remote {
        /// Which.
        url: String,
        /// Why.
        reason: String,
    },
    /// It has no commits yet.
    #[error("{0} is empty: it has no commits yet")]
    Empty(String),
    /// What is followed is not there.
    #[error("there is no {reference} in {url} (any more); it has {known}")]
    NoReference {
        /// What is followed.
        reference: String,
        /// Where.
        url: String,
        /// What is there instead.
        known: String,
    },
    /// The folder is not in the commit.
    #[error("there is no folder `{path}` in commit {commit}")]
    NoPath {
        /// Which.
        path: String,
        /// In which commit.
        commit: String,
    },
    /// It was fetched once, or never.
    #[error("commit {0} is not in the cache")]
    NotCached(String),
    /// More than an engine of this size can hold.
    #[error("commit {commit} has {what}")]
    TooMany {
        /// Which.
        commit: String,
        /// Of what.
        what: String,
    },
    /// The commit's signature is not what was asked for.
    #[error("commit {commit} is not applied: {reason}")]
    Unverified {
        /// Which.
        commit: String,
        /// Whose signature failed, and how.
        reason: String,
    },
    /// A call took too long.
    #[error("{url}: no answer within {limit:?}")]
    Slow {
        /// Which.
        url: String,
        /// The time it had.
        limit: Duration,
    },
    /// What was fetched can't be stored.
    #[error("what was fetched can't be stored: {0}")]
    Pack(String),
    /// The cache repository can't be read.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// Where.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The cache repository can't be written.
    #[error("{path}: {reason}")]
    Cache {
        /// Where.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl Error {
    /// It is about the commit that was asked for: asking for that one again gives the same, until more is fetched or the settings change.
    pub fn is_about_commit(&self) -> bool {
        matches!(self, Self::NotCached(_) | Self::NoPath { .. } | Self::TooMany { .. } | Self::Unverified { .. })
    }

    /// The commit that was found and is not taken, if it is about one.
    pub fn commit(&self) -> Option<&str> {
        match self {
            Self::NoPath { commit, .. } | Self::TooMany { commit, .. } | Self::Unverified { commit, .. } => Some(commit),
            _ => None,
        }
    }

    /// A bounded word for metrics.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Unusable { .. } => "settings",
            Self::Remote { .. } | Self::Pack(_) => "remote",
            Self::Empty(_) | Self::NoReference { .. } | Self::NoPath { .. } | Self::NotCached(_) => "missing",
            Self::TooMany { .. } => "too_many",
            Self::Unverified { .. } => "signature",
            Self::Slow { .. } => "timeout",
            Self::Damaged { .. } | Self::Cache { .. } => "cache",
        }
    }
}
