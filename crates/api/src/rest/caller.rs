//! Who asks.

use std::collections::BTreeSet;

use crds::{Kind, Verb};
use reconcile::Desired;
use reconcile::access::{self, Decision, Request, What, Who};

use crate::view::View;

/// Who asks, once that is known.
#[derive(Clone, Debug)]
pub struct Caller {
    /// As the audit log names them.
    pub name: String,
    /// As Roles know them.
    pub who: Who,
    /// May everything: whoever owns the engine's socket or token, and members of the group `admins`.
    pub is_admin: bool,
    /// How they are known.
    pub by: By,
    /// What an API token narrows it to; `None`: to nothing less than what its user may.
    pub scopes: Option<Vec<Scope>>,
}

/// How somebody is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The owner of the socket.
    Socket,
    /// The engine's own token (`--token-file`).
    Operator,
    /// A session in a browser.
    Session,
    /// An API token.
    Token,
    /// A Kubernetes token.
    Kubernetes,
}

/// A part of what a user may; an empty list means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// To do what.
    pub verbs: Vec<Verb>,
    /// To which kinds.
    pub kinds: Vec<Kind>,
}

impl Scope {
    fn covers(&self, verb: Verb, kind: Kind) -> bool {
        (self.verbs.is_empty() || self.verbs.contains(&verb)) && (self.kinds.is_empty() || self.kinds.contains(&kind))
    }
}

impl Caller {
    /// Whoever has the engine in hand.
    pub(crate) fn owner(name: &str, by: By) -> Self {
        Self { name: name.to_owned(), who: Who::default(), is_admin: true, by, scopes: None }
    }

    /// Whether what they hold is for that at all.
    pub(super) fn is_in_scope(&self, verb: Verb, kind: Kind) -> bool {
        self.scopes.as_ref().is_none_or(|scopes| scopes.iter().any(|scope| scope.covers(verb, kind)))
    }

    /// Whether they may; if not, why.
    pub fn may(&self, view: &View, verb: Verb, kind: Kind, namespace: &str, what: What<'_>) -> Result<(), String> {
        self.may_by(view.governing(), &view.desired, (verb, kind), namespace, what)
    }

    /// Whether they may in every namespace that there is, whichever object it is: for what speaks of all of them.
    pub(crate) fn may_everywhere(&self, roles: &Desired, fleet: &Desired, (verb, kind): (Verb, Kind)) -> Result<(), String> {
        self.may_by(roles, fleet, (verb, kind), "default", What::Any)?;
        if self.is_admin {
            return Ok(());
        }
        let namespaces: BTreeSet<&str> = fleet.objects.keys().map(|(_, name)| name.namespace()).collect();
        for namespace in namespaces {
            self.may_by(roles, fleet, (verb, kind), namespace, What::Any)?;
        }
        Ok(())
    }

    /// The same, by the Roles that `roles` has, for the devices of `fleet`.
    pub(crate) fn may_by(
        &self,
        roles: &Desired,
        fleet: &Desired,
        (verb, kind): (Verb, Kind),
        namespace: &str,
        what: What<'_>,
    ) -> Result<(), String> {
        if !self.is_in_scope(verb, kind) {
            return Err(format!("this token may not {} a {}", verb.as_str(), kind.as_str()));
        }
        if self.is_admin {
            return Ok(());
        }
        let request = Request { who: &self.who, verb, kind, namespace, what };
        match access::decide(roles, fleet, &request) {
            Decision::Allowed { .. } => Ok(()),
            Decision::Denied(denied) => Err(denied.to_string()),
        }
    }
}
