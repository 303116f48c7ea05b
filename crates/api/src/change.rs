//! Changes of objects, as the interface hands them to whoever keeps the truth: a repository, a folder, a cluster.

use std::sync::Arc;

use crds::Object;
use jiff::Timestamp;
use reconcile::Key;
use reconcile::access::Who;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What somebody wants of an object.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Which.
    pub key: Key,
    /// What it is to become.
    pub how: How,
    /// As it was in force when they asked.
    pub seen: Option<Arc<Object>>,
    /// Nothing is written: they want to see what would be.
    pub is_trial: bool,
    /// In a cluster: fields that others manage are taken over.
    pub is_forced: bool,
    /// What they say to it.
    pub message: Option<String>,
    /// Who.
    pub by: Author,
    /// Whose Roles have to allow it, as it was and as it becomes; `None`: they may everything.
    pub judged: Option<Who>,
    /// They may not see everything: what they are shown is about the object alone.
    pub is_narrow: bool,
    /// Nobody whom a cluster knows, such as the owner of the engine's socket: in whose name nothing is done there.
    pub is_nobody: bool,
    /// The groups that they are in, as a cluster knows them.
    pub groups: Vec<String>,
}

/// What an object is to become.
#[derive(Clone, Debug, PartialEq)]
pub enum How {
    /// A new one.
    Create(Value),
    /// This, and nothing else; a new one where there is none.
    Replace(Value),
    /// What this JSON merge patch (RFC 7396) makes of it.
    Merge(Value),
    /// Gone.
    Delete,
}

/// Whose change it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// Name.
    pub name: String,
    /// Address for mail.
    pub email: String,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// It was so already.
    Same,
    /// What would be.
    Tried(Trial),
    /// It is a commit, which may come in force.
    Committed(Committed),
    /// It is written.
    Done {
        /// The document was written anew, without its comments.
        is_rewritten: bool,
    },
}

/// What a change would do to the files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trial {
    /// As `diff -u` says it.
    pub diff: String,
    /// What would be wrong that is not wrong now.
    pub findings: Vec<Fault>,
    /// The file, where there is one.
    pub file: Option<String>,
    /// The document can't be changed in place: it would be written anew, without its comments.
    pub is_rewritten: bool,
}

/// A commit that was made of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Committed {
    /// Its id.
    pub commit: String,
    /// The branch that it is on.
    pub branch: String,
    /// What it says of itself.
    pub message: String,
    /// The file that it changes.
    pub file: String,
    /// The branch is followed: it comes in force by itself.
    pub is_followed: bool,
    /// The document could not be changed in place: it was written anew, without its comments.
    pub is_rewritten: bool,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// `error`, `warning` or `note`.
    pub severity: String,
    /// The object, such as `device/web-01`; empty if it is not known.
    pub object: String,
    /// Where in it, as a JSON pointer (RFC 6901).
    pub pointer: String,
    /// What, and what to do.
    pub detail: String,
    /// In which file.
    pub file: Option<String>,
    /// Line, from 1.
    pub line: Option<usize>,
    /// Column, from 1.
    pub column: Option<usize>,
}

/// Why it was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Refusal {
    /// It is otherwise than they have seen it, or can't be written where it is.
    Conflict {
        /// Why.
        detail: String,
        /// What became of it since.
        diff: Option<String>,
    },
    /// What it would be is not right.
    Invalid(Vec<Fault>),
    /// They may not.
    Forbidden(String),
    /// It is not there.
    Missing,
    /// Nothing can be written here.
    Never(String),
    /// Not just now.
    Away(String),
}

/// What became of a commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommitView {
    /// Its id.
    pub commit: String,
    /// Who wrote it: name and address.
    pub author: Author,
    /// What it says of itself.
    pub message: String,
    /// When it was written.
    pub at: Timestamp,
    /// How it stands.
    pub state: CommitState,
    /// What it waits for, or why it was refused.
    pub detail: Option<String>,
}

/// How it stands with a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum CommitState {
    /// It is not in force yet.
    Waiting,
    /// It is what is in force.
    InForce,
    /// A later one, which contains it, is in force.
    Superseded,
    /// It goes too far, is not signed as it has to be, or what it says can't be used.
    Refused,
}
