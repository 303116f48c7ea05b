//! What somebody may.

use std::collections::BTreeMap;

use axum::extract::{Query, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use crds::{Kind, Verb};
use reconcile::Name;
use reconcile::access::{self, Decision, Request, What};
use serde::Deserialize;
use serde_json::{Value, json};

use super::caller::Caller;
use super::gate::{Access, Routes};
use crate::can::{Question, answer};
use crate::problem::problem;
use crate::server::{Shared, read};
use crate::sign_in::authenticate::unavailable;
use crate::view::View;

pub(super) fn routes(routes: Routes) -> Routes {
    routes.add(Method::GET, "/can", Access::Known, can).add(Method::GET, "/access", Access::Known, everything)
}

/// What the caller may to anything at all, kind by kind.
async fn everything(State(shared): State<Shared>, Extension(caller): Extension<Caller>) -> Response {
    let verbs: BTreeMap<&str, Vec<&str>> = read(&shared, |view| {
        let of = |kind: Kind| Verb::ALL.into_iter().filter(|verb| caller.might(view, *verb, kind)).map(Verb::as_str).collect::<Vec<_>>();
        Kind::ALL.iter().map(|kind| (kind.as_str(), of(*kind))).collect()
    });
    Json(json!({"isAdmin": caller.is_admin && caller.scopes.is_none(), "verbs": verbs})).into_response()
}

#[derive(Deserialize)]
struct Asked {
    verb: String,
    kind: String,
    namespace: Option<String>,
    name: Option<String>,
    /// Somebody else: `alice`, `group:web` or `signer:ssh-ed25519 …`.
    subject: Option<String>,
    /// Their groups beside those that are known here, with commas between them.
    groups: Option<String>,
}

async fn can(State(shared): State<Shared>, Extension(caller): Extension<Caller>, Query(asked): Query<Asked>) -> Response {
    let Some(verb) = Verb::parse(&asked.verb) else { return problem(StatusCode::BAD_REQUEST, "verb: there is no such verb") };
    let Some(kind) = Kind::parse(&asked.kind) else { return problem(StatusCode::BAD_REQUEST, "kind: there is no such kind") };
    let namespace = asked.namespace.unwrap_or_else(|| "default".into());
    let name = asked.name.filter(|name| !name.is_empty());
    let Some(subject) = asked.subject.filter(|subject| !subject.is_empty()) else {
        return Json(read(&shared, |view| own(view, &caller, verb, kind, &namespace, name.as_deref()))).into_response();
    };
    if let Err(why) = read(&shared, |view| caller.may(view, Verb::View, Kind::Role, &namespace, What::Any)) {
        return problem(StatusCode::FORBIDDEN, why);
    }
    let user = match shared.store.user(subject.strip_prefix("user:").unwrap_or(&subject)).await {
        Ok(user) => user.filter(|_| caller.is_admin),
        Err(error) => return unavailable(&error),
    };
    if user.as_ref().is_some_and(|user| user.is_admin() && !user.disabled) {
        return Json(json!({"allowed": true, "reason": "a member of the group admins may everything"})).into_response();
    }
    let said = asked.groups.unwrap_or_default();
    let said = said.split(',').map(str::trim).filter(|group| !group.is_empty()).map(str::to_owned);
    let groups = user.map(|user| user.groups()).unwrap_or_default().into_iter().chain(said).collect();
    let governing = read(&shared, |view| view.governing().clone());
    match answer(&governing, &Question { subject, groups, verb, kind, namespace, name }) {
        Ok(answer) => {
            let reason = answer.why.unwrap_or_else(|| "a Role allows it".into());
            Json(json!({"allowed": answer.allowed, "reason": reason, "role": answer.role, "entry": answer.entry})).into_response()
        }
        Err(error) => problem(StatusCode::BAD_REQUEST, error),
    }
}

/// What the caller may; an object that they may not see is as one that is not there.
fn own(view: &View, caller: &Caller, verb: Verb, kind: Kind, namespace: &str, name: Option<&str>) -> Value {
    let object = name.and_then(|name| view.desired.objects.get(&(kind, Name::new(namespace, name))));
    let what = object.map_or(What::Any, |object| What::Object(object));
    let what = if caller.may(view, Verb::View, kind, namespace, what).is_ok() { what } else { What::Any };
    if let Err(why) = caller.may(view, verb, kind, namespace, what) {
        return json!({"allowed": false, "reason": why});
    }
    if caller.is_admin {
        return json!({"allowed": true, "reason": "an administrator may everything"});
    }
    match access::decide(view.governing(), &view.desired, &Request { who: &caller.who, verb, kind, namespace, what }) {
        Decision::Allowed { role, entry } => {
            json!({"allowed": true, "reason": "a Role allows it", "role": role, "entry": format!("spec.allow[{entry}]")})
        }
        Decision::Denied(denied) => json!({"allowed": false, "reason": denied.to_string()}),
    }
}
