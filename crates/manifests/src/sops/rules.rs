//! Which values of a document are encrypted, by their keys.

use regex::{Regex, RegexBuilder};

use super::Error;
use crate::yaml::{Node, Tree};

/// The longest rule.
const MAX_RULE: usize = 1024;
/// Memory of a compiled rule.
const MAX_COMPILED: usize = 256 << 10;

/// Which of the rules a key on the path has met so far.
#[derive(Clone, Copy, Default)]
pub(super) struct State {
    unencrypted_suffix: bool,
    encrypted_suffix: bool,
    unencrypted_regex: bool,
    encrypted_regex: bool,
}

#[derive(Default)]
pub(super) struct Rules {
    unencrypted_suffix: Option<String>,
    encrypted_suffix: Option<String>,
    unencrypted_regex: Option<Regex>,
    encrypted_regex: Option<Regex>,
    /// The MAC is over encrypted values only.
    pub(super) only_encrypted: bool,
}

impl Rules {
    pub(super) fn read(said: &Node) -> Result<Self, Error> {
        if said.get("unencrypted_comment_regex").is_some() || said.get("encrypted_comment_regex").is_some() {
            return Err(Error::Format("what is encrypted is chosen by comments, which are not read here: use `encrypted_regex`"));
        }
        let text = |field: &str| match said.get(field) {
            None => Ok(None),
            Some(_) => match said.text(field) {
                Some(text) if text.len() <= MAX_RULE => Ok(Some(text).filter(|text| !text.is_empty()).map(str::to_owned)),
                _ => Err(Error::Format("a rule in `sops` is no text of at most 1024 bytes")),
            },
        };
        let regex = |field: &str| {
            let compile = |text: String| RegexBuilder::new(&text).size_limit(MAX_COMPILED).dfa_size_limit(MAX_COMPILED).build();
            text(field)?.map(compile).transpose().map_err(|_| Error::Format("a regular expression in `sops` can't be used"))
        };
        let only_encrypted = match said.get("mac_only_encrypted").map(|node| &node.value) {
            None => false,
            Some(Tree::Scalar(serde_json::Value::Bool(is))) => *is,
            Some(_) => return Err(Error::Format("`sops.mac_only_encrypted` is no boolean")),
        };
        Ok(Self {
            unencrypted_suffix: text("unencrypted_suffix")?,
            encrypted_suffix: text("encrypted_suffix")?,
            unencrypted_regex: regex("unencrypted_regex")?,
            encrypted_regex: regex("encrypted_regex")?,
            only_encrypted,
        })
    }

    pub(super) fn at_root(&self) -> State {
        State::default()
    }

    /// One key further down.
    pub(super) fn below(&self, state: State, key: &str) -> State {
        let ends = |suffix: &Option<String>| suffix.as_ref().is_some_and(|suffix| key.ends_with(suffix));
        let matches = |regex: &Option<Regex>| regex.as_ref().is_some_and(|regex| regex.is_match(key));
        State {
            unencrypted_suffix: state.unencrypted_suffix || ends(&self.unencrypted_suffix),
            encrypted_suffix: state.encrypted_suffix || ends(&self.encrypted_suffix),
            unencrypted_regex: state.unencrypted_regex || matches(&self.unencrypted_regex),
            encrypted_regex: state.encrypted_regex || matches(&self.encrypted_regex),
        }
    }

    /// Of several rules the last one counts, as in SOPS.
    pub(super) fn decide(&self, state: State) -> bool {
        if self.encrypted_regex.is_some() {
            return state.encrypted_regex;
        }
        if state.unencrypted_regex {
            return false;
        }
        if self.encrypted_suffix.is_some() {
            return state.encrypted_suffix;
        }
        !state.unencrypted_suffix
    }
}
