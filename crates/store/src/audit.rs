//! The audit log: who did what to what, when and why, in a tree that can be proven complete.
//!
//! An act is two entries: one written in the transaction that records it, *before* it is done, and one with its outcome, which
//! refers to the first. What can be proven, and to whom, is said in [`verify`].

pub mod checkpoint;
pub mod tree;
mod verify;

use jiff::Timestamp;
use reconcile::record::Actor;
use serde::{Deserialize, Serialize};

pub use verify::{Header, Line, Report, verify};

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// Counts from 0 without gaps.
    pub index: u64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// What: `apply`, `restore`, `roll-back`, `approve` …
    pub verb: String,
    /// On what: `device/web-01`.
    pub target: String,
    /// For what: `deployment/nginx`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unit: String,
    /// The plan it belongs to.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub plan: String,
    /// The step it belongs to.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub step: String,
    /// What was there and what will be, secrets masked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
    /// Why, or in the second entry of an act what came of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// `begun`, `done`, `failed` or `refused`.
    pub outcome: String,
    /// In the second entry of an act: the index of the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refers_to: Option<u64>,
}

impl Entry {
    /// An act that belongs to no plan, and is done with the transaction that writes it.
    pub fn act(at: Timestamp, actor: Actor, verb: &str, target: &str, message: &str) -> Self {
        Self {
            index: 0,
            at,
            actor,
            verb: verb.to_owned(),
            target: target.to_owned(),
            unit: String::new(),
            plan: String::new(),
            step: String::new(),
            changes: Vec::new(),
            message: message.to_owned(),
            outcome: "done".into(),
            refers_to: None,
        }
    }

    /// The bytes that are hashed: JSON with the fields in the order of their declaration.
    pub fn canonical(&self) -> String {
        serde_json::to_string(self).expect("our own types always serialize")
    }
}

/// Cuts a text at a length, on a character's border.
pub(crate) fn cut(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let end = (0..=bytes).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}…", &text[..end])
}
