//! Whether somebody may do something: the question and its answer, for the command line and whoever else asks.

use crds::{Kind, Verb};
use reconcile::access::{self, Decision, Request, What, Who};
use reconcile::{Desired, Name};
use serde::{Deserialize, Serialize};
use store::Store;
use store::users::User;

/// Groups that one may be in.
const GROUPS: usize = 1000;

/// What is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Question {
    /// `alice@example.com`, `group:platform` or `signer:ssh-ed25519 AAAA…`.
    pub subject: String,
    /// Groups that they are in, beside those that are known here of a user.
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
    /// Why not; or why, if no Role says so.
    pub why: Option<String>,
    /// The groups that a user has here and that Roles there name: these count beside those that were said.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Whether kubectl may do it too, where that is a cluster's.
    pub kubectl: bool,
}

/// Whoever is asked about, if they are a user of ours.
pub(crate) async fn user(store: &Store, subject: &str) -> Result<Option<User>, store::Error> {
    let name = subject.trim();
    if name.starts_with("group:") || name.starts_with("signer:") {
        return Ok(None);
    }
    store.user(name.strip_prefix("user:").unwrap_or(name).trim()).await
}

/// Answers by what is desired, and by what is known of the user here.
pub fn answer(desired: &Desired, question: &Question, user: Option<&User>) -> Result<Answer, String> {
    let Question { subject, groups, verb, kind, namespace, name } = question;
    if groups.len() > GROUPS {
        return Err(format!("{} groups are more than {GROUPS}", groups.len()));
    }
    let asked = Who::parse(subject)?.in_groups(groups.iter().cloned());
    let own = user.map(User::groups).unwrap_or_default();
    let is_named = |group: &&String| {
        let mut subjects = access::roles(desired, namespace).flat_map(|(_, role)| &role.spec.subjects);
        subjects.any(|subject| subject.group.as_ref() == Some(*group))
    };
    let counting: Vec<String> = own.iter().filter(is_named).cloned().collect();
    let by_hand = |allowed: bool, why: &str| {
        let (role, entry, groups) = (None, None, Vec::new());
        Answer { allowed, role, entry, why: Some(why.to_owned()), groups, kubectl: false }
    };
    if user.is_some_and(|user| user.disabled) {
        return Ok(by_hand(false, "this user is disabled, and may not come in"));
    }
    if user.is_some_and(User::is_admin) {
        return Ok(by_hand(true, "a member of the group admins, who may everything"));
    }
    // A cluster knows nothing of the groups that users have here.
    let who = asked.clone().in_groups(own);
    let object = name.as_ref().and_then(|name| desired.objects.get(&(*kind, Name::new(namespace, name))));
    let what = object.map_or(What::Any, |object| What::Object(object));
    let request = Request { who: &who, verb: *verb, kind: *kind, namespace, what };
    Ok(match access::decide(desired, desired, &request) {
        Decision::Allowed { role, entry } => {
            let kubectl = kubectl(desired, &asked, question);
            let (role, entry) = (Some(role.name().to_owned()), Some(format!("spec.allow[{entry}]")));
            Answer { allowed: true, role, entry, why: None, groups: counting, kubectl }
        }
        Decision::Denied(why) => {
            // RBAC gives no more than the Roles that it comes from.
            let missing = name.as_ref().filter(|_| object.is_none());
            let missing = missing.map(|name| format!("; there is no {} {name} in {namespace}", kind.as_str())).unwrap_or_default();
            Answer { allowed: false, role: None, entry: None, why: Some(format!("{why}{missing}")), groups: counting, kubectl: false }
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
