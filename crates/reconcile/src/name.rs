//! Identity: kind, namespace and name.

use std::fmt;
use std::sync::Arc;

use crds::Kind;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The namespace of an object that names none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// What the name of a rollout begins with that is a Role's login.
const LOGIN: &str = "role:";

/// Namespace and name of an object of a known kind; cheap to clone, ordered as text.
///
/// Shown without its namespace where that is `default`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// A name in a namespace.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self(format!("{namespace}/{name}").into())
    }

    /// Reads `name` or `namespace/name`.
    pub fn parse(text: &str) -> Self {
        if text.contains('/') { Self(text.into()) } else { Self::new(DEFAULT_NAMESPACE, text) }
    }

    /// A name beside this one, in the same namespace: how references inside an object are meant.
    pub fn sibling(&self, name: &str) -> Self {
        Self::new(self.namespace(), name)
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        self.0.split_once('/').map_or(DEFAULT_NAMESPACE, |(namespace, _)| namespace)
    }

    /// The name without its namespace.
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or(&self.0, |(_, name)| name)
    }

    /// What the rollout of a Role's login is called: `:` is in no object's name, so that it is no Deployment's.
    #[must_use]
    pub fn login(&self) -> Self {
        Self::new(self.namespace(), &format!("{LOGIN}{}", self.name()))
    }

    /// The Role whose login is rolled out under this name; `None`: it is a Deployment's.
    pub fn role(&self) -> Option<Self> {
        Some(Self::new(self.namespace(), self.name().strip_prefix(LOGIN)?))
    }

    /// Always `namespace/name`: the form that is stored.
    pub fn full(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.strip_prefix("default/").unwrap_or(&self.0))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::parse(&String::deserialize(deserializer)?))
    }
}

/// A typed address: what a step changes or a condition speaks of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// A device outside the cluster.
    Device(Name),
    /// A Deployment: its rollout is what changes.
    Deployment(Name),
    /// A source of desired state.
    Repository(Name),
    /// Any other object.
    Object(Kind, Name),
}

impl Target {
    /// Reads `device/web-01`, `deployment/nginx`, `repository/fleet` or another kind's `kind/name`.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, name) = text.split_once('/')?;
        if name.is_empty() {
            return None;
        }
        Some(Self::of(Kind::parse(kind)?, Name::parse(name)))
    }

    /// The address of an object.
    pub fn of(kind: Kind, name: Name) -> Self {
        match kind {
            Kind::Device => Self::Device(name),
            Kind::Deployment => Self::Deployment(name),
            Kind::Repository => Self::Repository(name),
            kind => Self::Object(kind, name),
        }
    }

    /// The object behind a unit of rollout: a Deployment, or a Role with its login.
    pub fn unit(name: &Name) -> Self {
        name.role().map_or_else(|| Self::Deployment(name.clone()), |role| Self::Object(Kind::Role, role))
    }

    /// What the rollout of this object is called; the way back from [`Target::unit`].
    pub fn rollout(&self) -> Name {
        match self {
            Self::Object(Kind::Role, name) => name.login(),
            other => other.name().clone(),
        }
    }

    /// The object's kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Device(_) => Kind::Device,
            Self::Deployment(_) => Kind::Deployment,
            Self::Repository(_) => Kind::Repository,
            Self::Object(kind, _) => *kind,
        }
    }

    /// The object's name.
    pub fn name(&self) -> &Name {
        match self {
            Self::Device(name) | Self::Deployment(name) | Self::Repository(name) | Self::Object(_, name) => name,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind().as_str().to_lowercase(), self.name())
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("not a target such as device/web-01: {text}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A login has a rollout of its own, whatever Deployment is called as its Role is, and is always spoken of as its Role.
    #[test]
    fn a_login_is_rolled_out_under_a_name_of_its_own() {
        let role = Name::parse("fleet/web-team");
        let unit = role.login();
        assert_eq!((unit.full(), unit.role()), ("fleet/role:web-team", Some(role.clone())));
        assert_eq!(role.role(), None);
        let target = Target::unit(&unit);
        assert_eq!((target.to_string().as_str(), target.rollout()), ("role/fleet/web-team", unit));
        assert_eq!(Target::parse(&target.to_string()), Some(target));
        assert_eq!((Target::unit(&role), Target::unit(&role).rollout()), (Target::Deployment(role.clone()), role));
    }
}
