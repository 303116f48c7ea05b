//! API tokens: everybody's own, and for administrators all of them.

use std::collections::BTreeSet;

use axum::extract::{Path, Query, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use crds::{Kind, Verb};
use jiff::{SignedDuration, Timestamp};
use reconcile::record::Actor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::users::{TokenRow, TokenScope};

use super::asked::short;
use super::caller::{By, Caller};
use super::gate::{Access, Param, Routes, param};
use crate::problem::problem;
use crate::shared::Shared;
use crate::sign_in::audit::entry;
use crate::sign_in::authenticate::{Signed, unavailable};
use crate::sign_in::limits::Asked;
use crate::sign_in::{names, secret};

/// How long a token counts if nothing is said.
const USUAL: &str = "90d";
/// The longest that one counts.
const LONGEST: SignedDuration = SignedDuration::from_hours(365 * 24);
/// The shortest: a shorter one would be over before anybody has copied it.
const SHORTEST: SignedDuration = SignedDuration::from_mins(1);
/// Scopes of one token.
const SCOPES: usize = 16;
/// Characters of a token that are shown later, to tell it from others: 36 bits of 256.
const PREFIX: usize = 9;

const QUERY: [Param; 1] = [param("user", "Only those of this user.")];

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .add(Method::GET, "/tokens", Access::Known, list)
        .says("One's own API tokens; of administrators all")
        .takes(&QUERY)
        .gives::<List>(200)
        .add(Method::POST, "/tokens", Access::Known, add)
        .says("Makes an API token: only this answer has it")
        .reads::<New>()
        .gives::<Shown>(201)
        .add(Method::DELETE, "/tokens/{id}", Access::Known, revoke)
        .says("Revokes an API token")
        .gives_nothing(204)
}

/// API tokens.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TokenList")]
struct List {
    items: Vec<Shown>,
    total: usize,
    /// There is one page.
    cursor: Option<String>,
}

/// An API token.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Token")]
struct Shown {
    id: String,
    /// What it is for.
    name: String,
    /// Whose it is.
    user: String,
    /// What it begins with.
    prefix: String,
    /// What it may of what its user may; none: all of it.
    scopes: Vec<ShownScope>,
    created_at: Timestamp,
    expires_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<Timestamp>,
    /// From which address.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_from: Option<String>,
    /// The token itself: only the answer that made it has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

/// What a token may.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ShownTokenScope")]
struct ShownScope {
    /// None: all.
    verbs: BTreeSet<String>,
    /// None: all.
    kinds: BTreeSet<String>,
}

/// Whose.
#[derive(Debug, Default, Deserialize)]
struct Whose {
    user: Option<String>,
}

async fn list(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    signed: Option<Extension<Signed>>,
    Query(whose): Query<Whose>,
) -> Response {
    let signed = signed.map(|Extension(signed)| signed);
    // A token that is for something else is not for looking what others there are.
    let itself = signed.as_ref().filter(|_| caller.scopes.is_some()).and_then(|signed| signed.token.as_ref()).map(|token| token.id.clone());
    let own = signed.map(|signed| signed.user.name);
    let user = match (caller.is_admin && caller.scopes.is_none(), own) {
        (true, _) => whose.user,
        (false, Some(own)) if whose.user.as_ref().is_none_or(|user| *user == own) => Some(own),
        (false, Some(_)) => return problem(StatusCode::FORBIDDEN, "only administrators see the tokens of others"),
        // Kubernetes gives its users tokens of its own.
        (false, None) => return Json(List { items: Vec::new(), total: 0, cursor: None }).into_response(),
    };
    match shared.store.tokens(user.as_deref()).await {
        Ok(tokens) => {
            let tokens = tokens.iter().filter(|token| itself.as_ref().is_none_or(|id| *id == token.id));
            let items: Vec<Shown> = tokens.map(shown).collect();
            Json(List { total: items.len(), items, cursor: None }).into_response()
        }
        Err(error) => unavailable(&error),
    }
}

fn shown(token: &TokenRow) -> Shown {
    let scopes = token.scopes.iter().map(|scope| ShownScope { verbs: scope.verbs.clone(), kinds: scope.kinds.clone() });
    let (last_used_at, last_used_from) = token.last_used.clone().unzip();
    Shown {
        id: token.id.clone(),
        name: token.name.clone(),
        user: token.user.clone(),
        prefix: token.prefix.clone(),
        scopes: scopes.collect(),
        created_at: token.created_at,
        expires_at: token.expires_at,
        last_used_at,
        last_used_from,
        token: None,
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "NewToken")]
struct New {
    name: String,
    #[serde(default)]
    scopes: Vec<Scope>,
    expires_in: Option<String>,
    /// Whose: one's own, if nothing is said. Others' by administrators only.
    user: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "TokenScope")]
struct Scope {
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    kinds: Vec<String>,
}

async fn add(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    signed: Option<Extension<Signed>>,
    Asked(new): Asked<New>,
) -> Response {
    if [By::Token, By::Kubernetes].contains(&caller.by) {
        // A token that makes tokens would never end.
        return problem(StatusCode::FORBIDDEN, "sign in to make a token: another token can't");
    }
    let user = match (new.user, signed.map(|Extension(signed)| signed.user.name)) {
        (Some(user), own) if caller.is_admin || Some(&user) == own.as_ref() => user,
        (Some(_), _) => return problem(StatusCode::FORBIDDEN, "only administrators make tokens for others"),
        (None, Some(own)) => own,
        (None, None) => return problem(StatusCode::UNPROCESSABLE_ENTITY, "say for which `user`"),
    };
    match shared.store.user(&user).await {
        Ok(Some(_)) => {}
        Ok(None) => return problem(StatusCode::UNPROCESSABLE_ENTITY, "there is no such user"),
        Err(error) => return unavailable(&error),
    }
    let now = Timestamp::now();
    let read = named(&new.name).and_then(|()| {
        let expires_at = expires_at(new.expires_in.as_deref().unwrap_or(USUAL), now)?;
        Ok((expires_at, scopes(&new.scopes)?))
    });
    let (expires_at, scopes) = match read {
        Ok(read) => read,
        Err(why) => return problem(StatusCode::UNPROCESSABLE_ENTITY, why),
    };
    let (secret_token, id) = (secret::api_token(), secret::hash(&secret::random())[..12].to_owned());
    let prefix = secret_token[..PREFIX].to_owned();
    let token = TokenRow { id, name: new.name, user, prefix, scopes, created_at: now, expires_at, last_used: None };
    let mut said = entry(Actor::user(&caller.name), "make-token", &format!("user/{}", token.user), &token.name);
    said.changes = vec![format!("token: {} ({}…)", token.id, token.prefix), format!("until: {expires_at:.0}"), covers(&token.scopes)];
    match shared.store.add_token(&token, &secret::hash(&secret_token), said).await {
        Ok(()) => {
            let mut body = shown(&token);
            body.token = Some(secret_token);
            (StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
        }
        Err(error @ store::Error::TooMany(_)) => problem(StatusCode::CONFLICT, error.to_string()),
        Err(error) => unavailable(&error),
    }
}

fn named(name: &str) -> Result<(), String> {
    if name.trim().is_empty() { Err("a token has a name, by which you know later what it is for".into()) } else { names::display(name) }
}

fn expires_at(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let wrong = || "expiresIn: from 1m to 365d, such as 90d".to_owned();
    let length: crds::Duration = text.parse().map_err(|_| wrong())?;
    if length.0 < SHORTEST || length.0 > LONGEST {
        return Err(wrong());
    }
    now.checked_add(length.0).map_err(|_| wrong())
}

fn scopes(asked: &[Scope]) -> Result<Vec<TokenScope>, String> {
    if asked.len() > SCOPES {
        return Err(format!("a token has {SCOPES} scopes at most"));
    }
    let verb = |word: &String| {
        let known = || Verb::ALL.map(Verb::as_str).join(", ");
        let verb = Verb::parse(word).ok_or_else(|| format!("there is no verb `{}`, but {}", short(word), known()))?;
        Ok::<_, String>(verb.as_str().to_owned())
    };
    let kind = |word: &String| {
        let known = || Kind::ALL.iter().map(|kind| kind.plural()).collect::<Vec<_>>().join(", ");
        let kind =
            Kind::parse(word).ok_or_else(|| format!("there is no kind `{}` that a scope could be for, but {}", short(word), known()))?;
        Ok::<_, String>(kind.as_str().to_owned())
    };
    let scope = |(at, scope): (usize, &Scope)| -> Result<TokenScope, String> {
        let verbs = scope.verbs.iter().map(verb).collect::<Result<_, _>>().map_err(|why| format!("scopes[{at}].verbs: {why}"))?;
        let kinds = scope.kinds.iter().map(kind).collect::<Result<_, _>>().map_err(|why| format!("scopes[{at}].kinds: {why}"))?;
        Ok(TokenScope { verbs, kinds })
    };
    let example = "; such as {\"verbs\": [\"view\"], \"kinds\": [\"devices\", \"deployments\"]}, where an empty list stands for all";
    asked.iter().enumerate().map(scope).collect::<Result<_, String>>().map_err(|why| why + example)
}

fn covers(scopes: &[TokenScope]) -> String {
    let list = |set: &BTreeSet<String>| match set.is_empty() {
        true => "all".to_owned(),
        false => set.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
    };
    let scopes: Vec<String> = scopes.iter().map(|scope| format!("{} on {}", list(&scope.verbs), list(&scope.kinds))).collect();
    if scopes.is_empty() { "may: all that the user may".into() } else { format!("may: {}", scopes.join("; ")) }
}

async fn revoke(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    signed: Option<Extension<Signed>>,
    Path(id): Path<String>,
) -> Response {
    let missing = || problem(StatusCode::NOT_FOUND, "there is no such token");
    let own = signed.as_ref().map(|Extension(signed)| signed.user.name.as_str());
    let is_itself = signed.as_ref().and_then(|signed| signed.token.as_ref()).is_some_and(|token| token.id == id);
    if caller.scopes.is_some() && !is_itself {
        return problem(StatusCode::FORBIDDEN, "a token with scopes revokes none but itself");
    }
    let of = if caller.is_admin { None } else { own };
    if !caller.is_admin && own.is_none() {
        return missing();
    }
    let found = match shared.store.tokens(of).await {
        Ok(tokens) => tokens.into_iter().find(|token| token.id == id),
        Err(error) => return unavailable(&error),
    };
    let Some(token) = found else { return missing() };
    let mut said = entry(Actor::user(&caller.name), "revoke-token", &format!("user/{}", token.user), &token.name);
    said.changes = vec![format!("token: {} ({}…)", token.id, token.prefix)];
    let revoked = shared.store.revoke_token(&id, said).await;
    shared.took_from(&token.user);
    match revoked {
        Ok(true) => StatusCode::NO_CONTENT.into_response(),
        Ok(false) => missing(),
        Err(error) => unavailable(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_that_cannot_be_meant_is_told_what_there_is() {
        let asked = |verb: &str, kind: &str| {
            let good = Scope { verbs: vec!["view".into()], kinds: vec!["Device".into()] };
            scopes(&[good, Scope { verbs: vec![verb.into()], kinds: vec![kind.into()] }])
        };
        let good = asked("silence", "silences").unwrap();
        assert!(good[1].verbs.contains("silence") && good[1].kinds.contains("Silence"));
        for (verb, kind, parts) in [
            ("read", "devices", ["scopes[1].verbs", "`read`", "view, edit, deploy, rollback, approve, silence, acknowledge"]),
            ("view", "users", ["scopes[1].kinds", "`users`", "devices"]),
        ] {
            let why = asked(verb, kind).unwrap_err();
            assert!(parts.iter().all(|part| why.contains(part)) && why.contains("such as"), "{why}");
        }
    }
}
