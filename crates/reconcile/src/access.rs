//! Who may do what: Roles are read here and nowhere else, whoever asks – the API, `evenkeel can`, Kubernetes by way of RBAC, a commit.
//!
//! Nothing is allowed that no Role allows, what several Roles allow adds up, and a suspended one allows nothing. A Role counts in its own
//! namespace.

pub mod commit;
mod concerned;
mod covers;
mod rules;
pub(crate) mod trial;
mod who;

use std::fmt;

use crds::{Grant, Kind, Object, Role, Verb};

use crate::desired::Desired;
use crate::name::Name;

pub use concerned::concerned;
pub use covers::Miss;
pub use rules::{MAX_NAMES, Rule, Rules, allows, rules, summary};
pub use who::{Who, signer};

/// Roles that are named in a refusal; of more, how many.
const NAMED: usize = 3;

/// What somebody wants to do.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Who.
    pub who: &'a Who,
    /// What.
    pub verb: Verb,
    /// To which kind.
    pub kind: Kind,
    /// Where.
    pub namespace: &'a str,
    /// To which object.
    pub what: What<'a>,
}

/// To which object of the kind.
#[derive(Clone, Copy, Debug)]
pub enum What<'a> {
    /// Whichever: all that are there, and those that are not there yet.
    Any,
    /// This one.
    Object(&'a Object),
    /// One that is about this device only.
    On(&'a Name),
}

/// Whether it is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// By this entry of `spec.allow` of this Role.
    Allowed {
        /// The Role.
        role: Name,
        /// The entry, from 0.
        entry: usize,
    },
    /// By none; this one was nearest.
    Denied(Denied),
}

/// Why something is not allowed: the nearest miss.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// No Role names who asks.
    Nobody {
        /// Who.
        who: String,
        /// Where.
        namespace: String,
    },
    /// Roles name them, and none has this verb for this kind.
    Verb {
        /// What was asked for.
        verb: Verb,
        /// Of which kind.
        kind: Kind,
        /// The Roles that name them.
        roles: Vec<Name>,
    },
    /// A Role would allow it, if it were not suspended.
    Suspended {
        /// The Role.
        role: Name,
    },
    /// An entry has verb and kind, but not on these devices.
    Devices {
        /// The Role.
        role: Name,
        /// The entry of its `spec.allow`, from 0.
        entry: usize,
        /// What it lacks.
        miss: Miss,
    },
}

impl Denied {
    fn nearness(&self) -> u8 {
        match self {
            Self::Nobody { .. } => 0,
            Self::Verb { .. } => 1,
            Self::Suspended { .. } => 2,
            Self::Devices { .. } => 3,
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody { who, namespace } => write!(f, "no Role in namespace {namespace} names {who}"),
            Self::Verb { verb, kind, roles } => {
                let names = roles.iter().take(NAMED).map(|role| format!("role/{role}")).collect::<Vec<_>>().join(", ");
                let more = if roles.len() > NAMED { format!(" and {} more", roles.len() - NAMED) } else { String::new() };
                write!(f, "{names}{more}: nothing there allows to {} a {}", verb.as_str(), kind.as_str())
            }
            Self::Suspended { role } => write!(f, "role/{role} is suspended (spec.suspend)"),
            Self::Devices { role, entry, miss } => write!(f, "role/{role} spec.allow[{entry}].devices: {miss}"),
        }
    }
}

/// The Roles of a namespace.
pub fn roles<'a>(desired: &'a Desired, namespace: &'a str) -> impl Iterator<Item = (&'a Name, &'a Role)> {
    let from = (Kind::Role, Name::new(namespace, ""));
    let there = desired.objects.range(from..).take_while(move |((kind, name), _)| *kind == Kind::Role && name.namespace() == namespace);
    there.filter_map(|((_, name), object)| match &**object {
        Object::Role(role) => Some((name, &**role)),
        _ => None,
    })
}

/// Decides by the Roles that `roles` has, where `fleet` knows devices and their labels.
pub fn decide(roles: &Desired, fleet: &Desired, request: &Request<'_>) -> Decision {
    let Request { who, verb, kind, namespace, what } = *request;
    let mut denied = Denied::Nobody { who: who.to_string(), namespace: namespace.to_owned() };
    let mut naming = Vec::new();
    for (name, role) in self::roles(roles, namespace) {
        if !role.spec.subjects.iter().any(|subject| who.is(subject)) {
            continue;
        }
        naming.push(name.clone());
        let granting = role.spec.allow.iter().enumerate().filter(|(_, grant)| grants(grant, verb, kind));
        for (entry, grant) in granting {
            let miss = match &grant.devices {
                None => Ok(()),
                Some(selector) => covers::covers(fleet, selector, kind, namespace, what),
            };
            let nearer = match miss {
                Ok(()) if role.spec.suspend != Some(true) => return Decision::Allowed { role: name.clone(), entry },
                Ok(()) => Denied::Suspended { role: name.clone() },
                Err(_) if role.spec.suspend == Some(true) => continue,
                Err(miss) => Denied::Devices { role: name.clone(), entry, miss },
            };
            if nearer.nearness() > denied.nearness() {
                denied = nearer;
            }
        }
    }
    if matches!(denied, Denied::Nobody { .. }) && !naming.is_empty() {
        denied = Denied::Verb { verb, kind, roles: naming };
    }
    Decision::Denied(denied)
}

/// Whether an entry is about this verb and kind. Who may change a thing may see it.
fn grants(grant: &Grant, verb: Verb, kind: Kind) -> bool {
    let has = |wanted: Verb| grant.verbs.contains(&wanted);
    (has(verb) || (verb == Verb::View && has(Verb::Edit))) && (grant.kinds.is_empty() || grant.kinds.contains(&kind))
}
