//! Whether somebody may do something: the question and its answer, for the command line and whoever else asks.

use crds::{Kind, Verb};
use reconcile::access::{self, Decision, Request, What, Who};
use reconcile::{Desired, Name};
use serde::{Deserialize, Serialize};

/// Groups that one may be in.
const GROUPS: usize = 1000;

/// What is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Question {
    /// `alice@example.com`, `group:platform` or `signer:ssh-ed25519 AAAA…`.
    pub subject: String,
    /// Groups that they are in.
    #[serde(default)]
    pub groups: Vec<String>,
    /// What.
    pub verb: Verb,
    /// To which kind.
    pub kind: Kind,
    /// Where.
    pub namespace: String,
    /// To which object; whichever if none.
    #[serde(default)]
    pub name: Option<String>,
}

/// What there is to say to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Whether it is allowed.
    pub allowed: bool,
    /// By this Role.
    pub role: Option<String>,
    /// By this entry of it, such as `spec.allow[0]`.
    pub entry: Option<String>,
    /// Why not, if so.
    pub why: Option<String>,
    /// Whether kubectl may do it too, where that is a cluster's.
    pub kubectl: bool,
}

/// Answers by what is desired.
pub fn answer(desired: &Desired, question: &Question) -> Result<Answer, String> {
    let Question { subject, groups, verb, kind, namespace, name } = question;
    if groups.len() > GROUPS {
        return Err(format!("{} groups are more than {GROUPS}", groups.len()));
    }
    let who = Who::parse(subject)?.in_groups(groups.iter().cloned());
    let object = name.as_ref().and_then(|name| desired.objects.get(&(*kind, Name::new(namespace, name))));
    let what = object.map_or(What::Any, |object| What::Object(object));
    let request = Request { who: &who, verb: *verb, kind: *kind, namespace, what };
    Ok(match access::decide(desired, desired, &request) {
        Decision::Allowed { role, entry } => {
            let kubectl = kubectl(desired, &who, question);
            Answer { allowed: true, role: Some(role.name().to_owned()), entry: Some(format!("spec.allow[{entry}]")), why: None, kubectl }
        }
        Decision::Denied(why) => {
            // RBAC gives no more than the Roles that it comes from.
            let missing = name.as_ref().filter(|_| object.is_none());
            let missing = missing.map(|name| format!("; there is no {} {name} in {namespace}", kind.as_str())).unwrap_or_default();
            Answer { allowed: false, role: None, entry: None, why: Some(format!("{why}{missing}")), kubectl: false }
        }
    })
}

/// Whether the RBAC that the Roles become allows it: by name an update stands for `edit`, without one a create. What a Role becomes is much to
/// find out in a large fleet, and is not where no entry of it can matter: it needs the kind, and without a name, to be about all devices.
fn kubectl(desired: &Desired, who: &Who, question: &Question) -> bool {
    let verb = match (question.verb, &question.name) {
        (Verb::View, Some(_)) => "get",
        (Verb::View, None) => "list",
        (Verb::Edit, Some(_)) => "update",
        (Verb::Edit, None) => "create",
        (other, _) => other.as_str(),
    };
    access::roles(desired, &question.namespace).any(|(name, role)| {
        let is_named = role.spec.subjects.iter().any(|subject| subject.signer.is_none() && who.is(subject));
        let mut grants = role.spec.allow.iter().filter(|grant| grant.devices.is_none() || question.name.is_some());
        let may_matter = is_named && grants.any(|grant| grant.kinds.is_empty() || grant.kinds.contains(&question.kind));
        may_matter && access::allows(&access::rules(desired, name, role).rules, verb, question.kind, question.name.as_deref())
    })
}
