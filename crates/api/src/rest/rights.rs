//! Who may do what: what one may oneself, and what others may.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use axum::http::{Method, StatusCode};
use crds::{Kind, Object, Verb};
use reconcile::access::What;
use reconcile::{Desired, Name};
use schemars::JsonSchema;
use serde::Serialize;

use super::answer::{self, Answer};
use super::asked::Asked;
use super::caller::Caller;
use super::gate::{Access, Param, Routes, param};
use super::sight::{Seen, Sight};
use crate::can::{self, Question};
use crate::problem::Problem;
use crate::shared::{Shared, read};

const QUERY: [Param; 6] = [
    param("verb", "What: `view`, `edit`, `deploy`, `rollback`, `approve`, `silence`, `acknowledge`."),
    param("kind", "To which kind, such as `Device`."),
    param("namespace", "Where; `default` if nothing is said."),
    param("name", "To which object; whichever if nothing is said."),
    param("subject", "Who: `alice@example.com`, `group:platform`, `signer:ssh-ed25519 AAAA…`; oneself if nothing is said."),
    param("group", "A group that they are in; several may be named. Those that a user has here count anyway."),
];

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .add(Method::GET, "/can", Access::Known, can)
        .says("Whether one may do something; of others those ask who may see Roles")
        .takes(&QUERY)
        .answers::<Can>()
        .add(Method::GET, "/access", Access::Known, access)
        .says("What one may do at all, somewhere")
        .takes(&[])
        .answers::<Rights>()
}

/// Whether it is allowed.
#[derive(Serialize, JsonSchema)]
struct Can {
    allowed: bool,
    /// By whom or what, or why not.
    reason: String,
    /// The Role that allows it.
    role: Option<String>,
    /// The entry of it, such as `spec.allow[0]`.
    entry: Option<String>,
    /// The groups that a user has here and that Roles there name: these count beside those that were said.
    groups: Vec<String>,
}

/// What one may do.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Rights {
    is_admin: bool,
    /// Verbs by kind. That one is here does not say on which objects.
    verbs: BTreeMap<&'static str, Vec<&'static str>>,
}

async fn can(State(shared): State<Shared>, Seen(sight): Seen, asked: Asked) -> Answer {
    let need = |name: &str| asked.one(name).ok_or_else(|| Problem::bad(format!("{name}: say one")));
    let verb = Verb::parse(need("verb")?).ok_or_else(|| Problem::bad("verb: there is no such verb"))?;
    let kind = Kind::parse(need("kind")?).ok_or_else(|| Problem::bad("kind: there is no such kind"))?;
    let namespace = asked.one("namespace").unwrap_or("default");
    let name = asked.one("name");
    let Some(subject) = asked.one("subject") else { return answer::document(&asked, &own(&sight, verb, kind, (namespace, name))) };
    if !sight.sees_every(Kind::Role, namespace) {
        return Err(Problem::new(StatusCode::FORBIDDEN, "what others may is told to those who may see Roles"));
    }
    let question = Question {
        subject: subject.to_owned(),
        groups: asked.all("group").map(str::to_owned).collect(),
        verb,
        kind,
        namespace: namespace.to_owned(),
        // One that may not be seen is as one that is not there: then it is asked of whichever.
        name: name.filter(|name| sight.sees(kind, &Name::new(namespace, name))).map(str::to_owned),
    };
    let user = can::user(&shared.store, subject).await?;
    let found = can::answer(sight.governing(), &question, user.as_ref()).map_err(Problem::bad)?;
    let by = found.role.as_ref().map(|role| format!("role/{role} allows it"));
    let reason = sight.masked(&found.why.clone().or(by).unwrap_or_default());
    answer::document(&asked, &Can { allowed: found.allowed, reason, role: found.role, entry: found.entry, groups: found.groups })
}

fn own(sight: &Sight, verb: Verb, kind: Kind, (namespace, name): (&str, Option<&str>)) -> Can {
    let object = name.and_then(|name| sight.desired.objects.get(&(kind, Name::new(namespace, name))));
    // One that may not be seen is as one that is not there.
    let object = object.filter(|object| sight.may(Verb::View, kind, namespace, What::Object(object)).is_ok());
    let what = object.map_or(What::Any, |object| What::Object(object));
    let can = |allowed, reason| Can { allowed, reason, role: None, entry: None, groups: Vec::new() };
    match sight.may(verb, kind, namespace, what) {
        Ok(()) if sight.caller.is_admin => can(true, "administrators may do everything".into()),
        Ok(()) => {
            let by = sight.allowed_by(verb, kind, namespace, what);
            let reason = by.as_ref().map(|(role, _)| format!("role/{role} allows it")).unwrap_or_default();
            let (role, entry) = by.map(|(role, entry)| (role.name().to_owned(), format!("spec.allow[{entry}]"))).unzip();
            Can { role, entry, ..can(true, reason) }
        }
        Err(why) => can(false, sight.masked(&why)),
    }
}

async fn access(State(shared): State<Shared>, Seen(sight): Seen, asked: Asked) -> Answer {
    let governing = read(&shared, |view| view.governing().clone());
    answer::document(&asked, &Rights { is_admin: sight.is_all(), verbs: verbs(&governing, &sight.caller) })
}

/// What a caller may do to some object of each kind.
fn verbs(governing: &Desired, caller: &Caller) -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut granted: BTreeMap<Kind, BTreeSet<&'static str>> = BTreeMap::new();
    let mut grant = |kinds: &[Kind], verbs: &[Verb]| {
        for kind in kinds {
            granted.entry(*kind).or_default().extend(verbs.iter().map(|verb| verb.as_str()));
        }
    };
    if caller.is_admin {
        grant(Kind::ALL, &Verb::ALL);
    } else {
        let roles = governing.objects.range((Kind::Role, Name::new("", ""))..).take_while(|((kind, _), _)| *kind == Kind::Role);
        for (_, object) in roles {
            let Object::Role(role) = &**object else { continue };
            let is_theirs = role.spec.suspend != Some(true) && role.spec.subjects.iter().any(|subject| caller.who.is(subject));
            for entry in role.spec.allow.iter().filter(|_| is_theirs) {
                let kinds = if entry.kinds.is_empty() { Kind::ALL } else { &entry.kinds };
                grant(kinds, &entry.verbs);
                if entry.verbs.contains(&Verb::Edit) {
                    grant(kinds, &[Verb::View]);
                }
            }
        }
    }
    let covered = |kind: Kind, verb: &str| Verb::parse(verb).is_some_and(|verb| caller.is_in_scope(verb, kind));
    let of = |(kind, verbs): (Kind, BTreeSet<&'static str>)| {
        (kind.as_str(), verbs.into_iter().filter(|verb| covered(kind, verb)).collect::<Vec<_>>())
    };
    granted.into_iter().map(of).filter(|(_, verbs)| !verbs.is_empty()).collect()
}
