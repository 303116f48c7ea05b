//! Finding an alert by what people call it.

use std::collections::BTreeSet;

use super::{Alerts, Key};
use crate::alerting::groups::Group;
use crate::alerting::state::Instance;
use crate::name::Name;

/// An alert that nothing can be done about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is none.
    #[error("there is no alert `{0}`: `evenkeel alerts --all` lists them")]
    Unknown(String),
    /// More than one is meant.
    #[error("`{0}` is the beginning of several alerts: write more of it")]
    Ambiguous(String),
    /// There is nothing to look after.
    #[error("alert {0} does not fire")]
    NotFiring(String),
    /// There is nothing to take back.
    #[error("nobody looks after alert {0}")]
    NotAcknowledged(String),
}

impl Alerts {
    /// All of them, by rule and device.
    pub fn all(&self) -> impl Iterator<Item = &Instance> {
        self.instances.iter().map(|(_, instance)| instance)
    }

    /// Groups of which something was said or is to be said.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.values()
    }

    /// The alert of that name, or of which the name begins so.
    pub fn find(&self, id: &str) -> Result<(&Key, &Instance), Refused> {
        let mut found = self.instances.iter().filter(|(_, instance)| !id.is_empty() && instance.id.starts_with(id));
        match (found.next(), found.next()) {
            (None, _) => Err(Refused::Unknown(id.chars().take(40).collect())),
            (Some(one), None) => Ok(one),
            (Some(one), Some(_)) if one.1.id == id => Ok(one),
            _ => Err(Refused::Ambiguous(id.to_owned())),
        }
    }

    /// Whether anything is remembered of a rule, on whichever device.
    pub fn is_about_any(&self, rule: &Name) -> bool {
        self.instances.has_any(rule) || !self.missing.is_empty() || self.over_limit.contains_key(rule)
    }

    /// Whether anything is remembered of a rule on a device, so that it matters also that nothing is wrong.
    pub fn is_about(&self, rule: &Name, device: &Name) -> bool {
        let key = (rule.clone(), device.clone());
        self.instances.contains(&key)
            || self.missing.get(device).is_some_and(|missing| missing.contains_key(rule))
            || self.over_limit.get(rule).is_some_and(|refused| refused.contains_key(device))
    }

    /// Whose value changed since this was last asked, and nothing followed from that: those are to be shown anew.
    pub fn take_refreshed(&mut self) -> BTreeSet<Key> {
        std::mem::take(&mut self.refreshed)
    }

    /// The alert of a rule on a device.
    pub fn get(&self, key: &Key) -> Option<&Instance> {
        self.instances.get(key)
    }
}
