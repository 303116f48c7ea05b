//! Finding an alert by what people call it.

use super::{Alerts, Key};
use crate::alerting::groups::Group;
use crate::alerting::state::Instance;

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

    /// The alert of a rule on a device.
    pub fn get(&self, key: &Key) -> Option<&Instance> {
        self.instances.get(key)
    }
}
