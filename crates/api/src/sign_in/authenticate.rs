//! Finds out who asks, before anything else is done with a request.

use std::sync::Arc;

use axum::extract::Request as HttpRequest;
use axum::extract::connect_info::ConnectInfo;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use crds::{Kind, Verb};
use jiff::{SignedDuration, Timestamp};
use reconcile::access::Who;
use store::users::{TokenRow, TokenScope, User, UserKind};
use zeroize::Zeroizing;

use super::audit::refused;
use super::cookie::Cookie;
use super::whence::Whence;
use super::{Reviewed, secret};
use crate::places::Taken;
use crate::problem::problem;
use crate::rest::caller::{By, Caller, Scope};
use crate::shared::{self, Shared};

/// The longest token that is looked at: those of Kubernetes have a kilobyte or two.
const LONGEST: usize = 16 * 1024;
/// How often it is written down that a session or a token was used.
const OFTEN: SignedDuration = SignedDuration::from_secs(60);
/// The group of Kubernetes that may everything in the cluster, and so here.
const MASTERS: &str = "system:masters";
/// The header that repeats what `GET /session` said.
const CSRF: &str = "x-csrf-token";
/// What is said to whom `/v1` is not for.
const NOT_FOR_ALL: &str = "that is for administrators only: members of the group `admins`, by a token without scopes. Who may see something has \
                           `evenkeel get`, `explain`, `alerts`, `logs` and `rollout status`, the pages, and all of /api/v1";
/// Where a session begins: there is none whose token could be shown.
const BEGINNINGS: [&str; 3] = ["/session", "/session/first", "/session/invitation"];

/// A user of ours who asks, with what they showed.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    /// The user.
    pub(crate) user: User,
    /// The hash of the session, if it is one.
    pub(crate) session: Option<String>,
    /// The API token, if it is one.
    pub(crate) token: Option<TokenRow>,
    /// When it was last written down that it is used.
    pub(crate) seen_at: Option<Timestamp>,
}

/// The session's token against requests that begin elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct Csrf(pub(crate) String);

/// For what comes by TCP. `token` is the engine's own, if it has one.
pub(crate) async fn by_tcp(shared: Shared, token: Option<Arc<Zeroizing<String>>>, mut request: HttpRequest, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<Taken>>().map(|ConnectInfo(taken)| taken.peer);
    let proxies = &shared.sign_in.options().proxies;
    let whence = peer.map_or(Whence(None), |peer| Whence::of(peer, proxies, request.headers()));
    request.extensions_mut().insert(whence);
    let path = request.uri().path().to_owned();
    let is_v1 = path == "/v1" || path.starts_with("/v1/");
    // Webhooks are signed in their own way, metrics and pages are for everybody: whatever token they bring is none of ours.
    if !is_v1 && path != "/api" && !path.starts_with("/api/") {
        return next.run(request).await;
    }
    let caller = match known(&shared, token.as_deref(), whence, &mut request).await {
        Ok(caller) => caller,
        Err(refusal) => return refusal,
    };
    if is_v1 {
        match &caller {
            None => return problem(StatusCode::UNAUTHORIZED, "a token is needed: put it into EVENKEEL_TOKEN"),
            Some(caller) if !caller.is_admin || caller.scopes.is_some() => {
                return problem(StatusCode::FORBIDDEN, NOT_FOR_ALL);
            }
            Some(caller) => request.extensions_mut().insert(shared::Caller(caller.name.clone())),
        };
    }
    if let Some(caller) = caller {
        request.extensions_mut().insert(caller);
    }
    next.run(request).await
}

/// Who it is, if anybody; a refusal where something was shown that does not count.
async fn known(
    shared: &Shared,
    own: Option<&Zeroizing<String>>,
    whence: Whence,
    request: &mut HttpRequest,
) -> Result<Option<Caller>, Response> {
    match bearer(request.headers())? {
        Some(token) if own.is_some_and(|own| secret::same(own, &token)) => Ok(Some(Caller::owner("token", By::Operator))),
        Some(token) => {
            let (caller, signed) = match token.starts_with(secret::API) {
                true => by_api_token(shared, &token, whence).await.map(|(caller, signed)| (caller, Some(signed)))?,
                false => (by_kubernetes(shared, token, whence).await?, None),
            };
            if let Some(signed) = signed {
                request.extensions_mut().insert(signed);
            }
            Ok(Some(caller))
        }
        None => by_cookie(shared, whence, request).await,
    }
}

#[expect(clippy::result_large_err, reason = "it is answered at once")]
fn bearer(headers: &HeaderMap) -> Result<Option<Zeroizing<String>>, Response> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let refused = || problem(StatusCode::UNAUTHORIZED, "the header Authorization has to be: Bearer TOKEN");
    let value = value.to_str().map_err(|_| refused())?;
    let (scheme, token) = value.split_once(' ').ok_or_else(refused)?;
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() || token.len() > LONGEST {
        return Err(refused());
    }
    Ok(Some(Zeroizing::new(token.to_owned())))
}

async fn by_api_token(shared: &Shared, token: &str, whence: Whence) -> Result<(Caller, Signed), Response> {
    if !secret::is_api_token(token) {
        return Err(problem(StatusCode::UNAUTHORIZED, "that API token is mistyped or cut: it begins with ek_ and has 51 characters"));
    }
    let hash = secret::hash(token);
    let now = Timestamp::now();
    let found = match shared.sign_in.known().signed(&hash) {
        Some(known) => known,
        None => {
            may_look(shared, whence)?;
            let generation = shared.sign_in.known().generation();
            let found = shared.store.token(&hash, now).await.map_err(|error| unavailable(&error))?;
            let gone = || problem(StatusCode::UNAUTHORIZED, "that API token is revoked, or its time is over");
            let (token, user) = found.ok_or_else(gone)?;
            if let Err(why) = counts(&user, shared.sign_in.vouched_for(), now) {
                return Err(turned_away(shared, &token, &why, (whence, now)).await);
            }
            let caller = caller(&user, By::Token, scopes(&token));
            let seen_at = token.last_used.as_ref().map(|(at, _)| *at);
            let mut signed = Signed { user, session: None, token: Some(token), seen_at };
            if is_due(seen_at, now)
                && let Some(token) = &signed.token
            {
                shared.store.use_token(&token.id, now, &whence.to_string()).await.map_err(|error| unavailable(&error))?;
                signed.seen_at = Some(now);
            }
            shared.sign_in.known().remember(hash, generation, caller.clone(), signed.clone());
            (caller, signed)
        }
    };
    Ok(found)
}

/// Whether a user's tokens count: they may come in, and what a provider says of them was said not long ago.
fn counts(user: &User, vouched_for: SignedDuration, now: Timestamp) -> Result<(), String> {
    if user.disabled {
        return Err(format!("the user of this API token, {}, is disabled: an administrator can let them in again", user.name));
    }
    let last = user.last_sign_in.unwrap_or(user.created_at);
    if user.kind == UserKind::Oidc && now.duration_since(last) > vouched_for {
        let time = crds::Duration::from(vouched_for);
        return Err(format!(
            "it is longer than {time} ago that the provider said who {} is and in which groups: when they have signed in again, their API tokens count again",
            user.name
        ));
    }
    Ok(())
}

/// Whoever has the token is told why it does not count, and the audit log that it was shown.
async fn turned_away(shared: &Shared, token: &TokenRow, why: &str, (whence, now): (Whence, Timestamp)) -> Response {
    if shared.sign_in.said().again(&token.user, now) {
        let message = format!("by the API token {} ({}…): {why}; from {whence}", token.id, token.prefix);
        if let Err(error) = shared.store.log(vec![refused(&token.user, &message)]).await {
            tracing::error!(%error, "that an API token was refused can't be written into the audit log");
        }
    }
    problem(StatusCode::UNAUTHORIZED, why)
}

async fn by_cookie(shared: &Shared, whence: Whence, request: &mut HttpRequest) -> Result<Option<Caller>, Response> {
    let (method, headers) = (request.method().clone(), request.headers());
    let acts = ![Method::GET, Method::HEAD].contains(&method);
    if acts && is_from_elsewhere(headers, shared.sign_in.options().external_url.as_ref()) {
        return Err(problem(StatusCode::FORBIDDEN, "this was sent from a page of another site"));
    }
    let Some(cookie) = Cookie::Session.read(headers, shared.sign_in.is_secure()).map(str::to_owned) else { return Ok(None) };
    let Some((caller, signed)) = by_session(shared, &cookie, whence).await? else { return Ok(None) };
    let csrf = secret::csrf(&cookie);
    let begins = request.uri().path().strip_prefix("/api/v1").or_else(|| request.uri().path().strip_prefix("/api"));
    let begins = method == Method::POST && begins.is_some_and(|path| BEGINNINGS.contains(&path));
    let shown = headers.get(CSRF).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if acts && !begins && !secret::same(shown, &csrf) {
        let missing = "with a cookie, what changes something needs the header X-CSRF-Token: `csrf` of GET /api/v1/session";
        return Err(problem(StatusCode::FORBIDDEN, missing));
    }
    request.extensions_mut().insert(signed);
    request.extensions_mut().insert(Csrf(csrf));
    Ok(Some(caller))
}

/// Whose session a cookie is of, if it goes on.
async fn by_session(shared: &Shared, cookie: &str, whence: Whence) -> Result<Option<(Caller, Signed)>, Response> {
    let hash = secret::hash(cookie);
    if let Some(known) = shared.sign_in.known().signed(&hash) {
        return Ok(Some(known));
    }
    may_look(shared, whence)?;
    let (generation, now) = (shared.sign_in.known().generation(), Timestamp::now());
    let found = shared.store.session(&hash, now).await.map_err(|error| unavailable(&error))?;
    let Some(found) = found.filter(|found| !found.user.disabled) else { return Ok(None) };
    let caller = caller(&found.user, By::Session, None);
    let mut signed = Signed { user: found.user, session: Some(hash.clone()), token: None, seen_at: Some(found.seen_at) };
    if is_due(signed.seen_at, now) {
        shared.store.see_session(&hash, now).await.map_err(|error| unavailable(&error))?;
        signed.seen_at = Some(now);
    }
    shared.sign_in.known().remember(hash, generation, caller.clone(), signed.clone());
    Ok(Some((caller, signed)))
}

async fn by_kubernetes(shared: &Shared, token: Zeroizing<String>, whence: Whence) -> Result<Caller, Response> {
    let refused = |text: &str| problem(StatusCode::UNAUTHORIZED, text);
    if token.split('.').count() != 3 {
        return Err(refused("that token is none that is known here"));
    }
    let Some(review) = &shared.sign_in.options().review else {
        return Err(refused("tokens of Kubernetes are taken in a cluster only, and where `--kubernetes-tokens` says so"));
    };
    let hash = secret::hash(&token);
    let said = match shared.sign_in.known().reviewed(&hash) {
        Some(said) => said,
        None => {
            may_look(shared, whence)?;
            let said = review(token).await.map_err(|error| {
                tracing::warn!(%error, "a token of Kubernetes can't be reviewed");
                problem(StatusCode::SERVICE_UNAVAILABLE, "Kubernetes can't be asked about that token just now")
            })?;
            shared.sign_in.known().remember_review(hash, said.clone());
            said
        }
    };
    let Reviewed { name, groups } = said.ok_or_else(|| refused("Kubernetes does not know that token"))?;
    let is_admin = groups.iter().any(|group| group == MASTERS);
    let who = Who::parse(&format!("user:{name}")).unwrap_or_default().in_groups(groups);
    Ok(Caller { name, who, is_admin, by: By::Kubernetes, scopes: None })
}

/// Whether it is found out who shows what is not known; not, if too much of that came from there.
#[expect(clippy::result_large_err, reason = "it is answered at once")]
fn may_look(shared: &Shared, whence: Whence) -> Result<(), Response> {
    if shared.sign_in.looks().take(whence) {
        return Ok(());
    }
    let refusal = problem(StatusCode::TOO_MANY_REQUESTS, "too much that is not known here is shown from your address: come again in 1 s");
    Err(([(header::RETRY_AFTER, "1")], refusal).into_response())
}

/// A user of ours as a caller.
fn caller(user: &User, by: By, scopes: Option<Vec<Scope>>) -> Caller {
    let who = Who::parse(&format!("user:{}", user.name)).unwrap_or_default().in_groups(user.groups());
    Caller { name: user.name.clone(), who, is_admin: user.is_admin(), by, scopes }
}

/// What a token is narrowed to. A word that is not known (of a newer version) narrows its scope to nothing.
fn scopes(token: &TokenRow) -> Option<Vec<Scope>> {
    let scope = |scope: &TokenScope| {
        let verbs = scope.verbs.iter().map(|verb| Verb::parse(verb)).collect::<Option<Vec<_>>>()?;
        let kinds = scope.kinds.iter().map(|kind| Kind::parse(kind)).collect::<Option<Vec<_>>>()?;
        Some(Scope { verbs, kinds })
    };
    (!token.scopes.is_empty()).then(|| token.scopes.iter().filter_map(scope).collect())
}

fn is_due(last: Option<Timestamp>, now: Timestamp) -> bool {
    last.is_none_or(|last| now.duration_since(last) >= OFTEN)
}

/// Whether a browser says that another site's page sent this: then it is nobody's wish.
fn is_from_elsewhere(headers: &HeaderMap, external: Option<&reqwest::Url>) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if text("sec-fetch-site").is_some_and(|site| !["same-origin", "none"].contains(&site)) {
        return true;
    }
    let Some(origin) = text("origin") else { return false };
    let is_external = external.is_some_and(|url| url.origin().ascii_serialization() == origin);
    let host = origin.split_once("://").map(|(_, host)| host);
    let is_ours = host.is_some() && host == text("host");
    !is_external && !is_ours
}

/// The store can't be asked.
pub(crate) fn unavailable(error: &store::Error) -> Response {
    problem(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_sites_page_is_told_by_what_the_browser_says() {
        let external = "https://fleet.example.com/".parse().unwrap();
        let elsewhere = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            headers.insert("host", "127.0.0.1:8080".parse().unwrap());
            for (name, value) in pairs {
                headers.insert(*name, value.parse().unwrap());
            }
            is_from_elsewhere(&headers, Some(&external))
        };
        for fine in [
            &[][..],
            &[("origin", "http://127.0.0.1:8080"), ("sec-fetch-site", "same-origin")],
            &[("origin", "https://fleet.example.com")],
            &[("sec-fetch-site", "none")],
        ] {
            assert!(!elsewhere(fine), "{fine:?}");
        }
        for wrong in [
            &[("origin", "https://evil.example.com")][..],
            &[("origin", "null")],
            &[("origin", "http://fleet.example.com")],
            &[("origin", "https://fleet.example.com:444")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site"), ("origin", "https://fleet.example.com")],
        ] {
            assert!(elsewhere(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn what_a_provider_said_counts_for_a_while() {
        let now: Timestamp = "2026-11-27T12:00:00Z".parse().unwrap();
        let hours = SignedDuration::from_hours;
        let user = |kind: UserKind, ago: i64| User { kind, last_sign_in: Some(now - hours(ago)), ..User::local("ann", now - hours(9000)) };
        let counts = |user: &User| counts(user, hours(720), now).is_ok();
        assert!(counts(&user(UserKind::Oidc, 720)) && !counts(&user(UserKind::Oidc, 721)));
        assert!(counts(&user(UserKind::Local, 8000)), "who has a password here is vouched for by nobody");
        assert!(!counts(&User { last_sign_in: None, ..user(UserKind::Oidc, 0) }));
        assert!(!counts(&User { disabled: true, ..user(UserKind::Local, 0) }));
    }

    #[test]
    fn a_scope_that_is_not_understood_covers_nothing() {
        let row = |scopes: Vec<TokenScope>| TokenRow {
            id: String::new(),
            name: String::new(),
            user: String::new(),
            prefix: String::new(),
            scopes,
            created_at: Timestamp::UNIX_EPOCH,
            expires_at: Timestamp::UNIX_EPOCH,
            last_used: None,
        };
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        assert_eq!(scopes(&row(Vec::new())), None);
        assert_eq!(scopes(&row(vec![TokenScope { verbs: words(&["dance"]), kinds: words(&[]) }])), Some(Vec::new()));
        let scope = Scope { verbs: vec![Verb::View], kinds: Vec::new() };
        assert_eq!(scopes(&row(vec![TokenScope { verbs: words(&["view"]), kinds: words(&[]) }])), Some(vec![scope]));
    }
}
