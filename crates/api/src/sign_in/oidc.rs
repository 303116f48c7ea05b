//! A provider of OpenID Connect: authorization code with PKCE (RFC 7636), state and nonce; see OpenID Connect Core 1.0, section 3.1.
//!
//! What the provider says is taken only if its signature, issuer, audience, times and nonce are right, and the state is one that this
//! very browser was given, once.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreErrorResponseType, CoreGenderClaim, CoreJsonWebKey, CoreJweContentEncryptionAlgorithm,
    CoreJwsSigningAlgorithm, CoreProviderMetadata, CoreResponseType, CoreRevocableToken, CoreRevocationErrorResponse,
    CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{
    AdditionalClaims, AuthenticationFlow, AuthorizationCode, ClaimsVerificationError, ClientId, ClientSecret, CsrfToken,
    EmptyExtraTokenFields, EndpointMaybeSet, EndpointNotSet, EndpointSet, HttpRequest, HttpResponse, IdTokenClaims, IdTokenFields,
    IssuerUrl, Nonce, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope, SignatureVerificationError, StandardErrorResponse,
    StandardTokenResponse, TokenResponse as _,
};
use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use store::users::ADMINS;
use zeroize::Zeroizing;

use super::whence::{Whence, network};
use super::{names, secret};

/// How long somebody may take at the provider.
const PATIENCE: Duration = Duration::from_secs(600);
/// Sign-ins that are under way at once; with more, the one that began first is given up.
const UNDER_WAY: usize = 1000;
/// Of these, from one address: an office may begin its day at once.
const FROM_ONE: usize = 100;
/// How long it is not asked again after it could not be.
const AWAY: Duration = Duration::from_secs(5);
/// How long what the provider says of itself, its keys among it, counts.
const FRESH: Duration = Duration::from_secs(3600);
/// A key that is not known has the keys fetched anew, but no more often than this.
const OFTEN: Duration = Duration::from_secs(30);
/// Longest wait for an answer of the provider.
const ANSWER: Duration = Duration::from_secs(10);
/// The largest answer of the provider.
const LARGEST: usize = 1 << 20;
/// Signatures that count: those by a key pair. `none` is none, and with HMAC whoever knows the client's secret could sign.
const SIGNATURES: [CoreJwsSigningAlgorithm; 8] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
];

/// Which provider, and what is made of what it says.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Its address, to the letter as it calls itself.
    pub issuer: String,
    /// Who we are there.
    pub client_id: String,
    /// How we show it.
    pub client_secret: Zeroizing<String>,
    /// Scopes beside `openid`.
    pub scopes: Vec<String>,
    /// The claim with the user's name.
    pub user_claim: String,
    /// The claim with their groups.
    pub groups_claim: String,
    /// If there are any: only members of one of these come in.
    pub allowed_groups: BTreeSet<String>,
    /// The provider's group whose members may everything here.
    pub admins_group: Option<String>,
    /// How long what it said of a user counts for their API tokens, from when they signed in last.
    pub vouched_for: SignedDuration,
    /// What the button says.
    pub title: String,
}

/// How long that is if nothing is said: who works with it signs in once a month.
pub const VOUCHED: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Why somebody did not come in.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// The provider can't be asked, or answers nonsense.
    #[error("the provider can't be asked just now")]
    Away(String),
    /// There is no such sign-in under way in this browser.
    #[error("this sign-in is over, or was begun in another browser: begin again")]
    State,
    /// The provider did not let them in.
    #[error("the provider did not let you in")]
    Denied,
    /// What the provider says can't be trusted.
    #[error("what the provider says of you can't be trusted")]
    Untrusted(String),
    /// It can be trusted, and they may not come in.
    #[error("{0}")]
    Refused(String),
}

/// A user as the provider knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Vouched {
    pub(crate) issuer: String,
    pub(crate) subject: String,
    pub(crate) name: String,
    pub(crate) display_name: String,
    pub(crate) email: String,
    pub(crate) groups: BTreeSet<String>,
}

/// A sign-in that begins: where the browser goes, and what its cookie holds.
pub(crate) struct Begun {
    pub(crate) url: Url,
    pub(crate) cookie: String,
}

/// The provider, with the sign-ins that are under way.
pub(crate) struct Oidc {
    provider: Provider,
    redirect: RedirectUrl,
    http: reqwest::Client,
    said: Mutex<Option<(Instant, Arc<CoreProviderMetadata>)>>,
    /// Whose turn it is to ask it, and when and why that failed last.
    turn: tokio::sync::Mutex<Option<(Instant, String)>>,
    under_way: Mutex<HashMap<String, UnderWay>>,
}

struct UnderWay {
    /// The hash of the browser's cookie.
    browser: String,
    nonce: Nonce,
    verifier: PkceCodeVerifier,
    next: String,
    since: Instant,
    from: Option<IpAddr>,
}

/// All other claims.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Claims(Map<String, Value>);
impl AdditionalClaims for Claims {}

type Fields = IdTokenFields<Claims, EmptyExtraTokenFields, CoreGenderClaim, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm>;
type Client = openidconnect::Client<
    Claims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    StandardTokenResponse<Fields, CoreTokenType>,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// Gives up what is over, and with too many the one that began first: of the same address, if these alone are too many.
fn make_room(under_way: &mut HashMap<String, UnderWay>, from: Option<IpAddr>) {
    under_way.retain(|_, one| one.since.elapsed() < PATIENCE);
    let is_theirs = |one: &UnderWay| one.from == from;
    let are_many = under_way.values().filter(|one| is_theirs(one)).count() >= FROM_ONE;
    if !are_many && under_way.len() < UNDER_WAY {
        return;
    }
    let mine = under_way.iter().filter(|(_, one)| !are_many || is_theirs(one));
    if let Some(first) = mine.min_by_key(|(_, one)| one.since).map(|(state, _)| state.clone()) {
        under_way.remove(&first);
    }
}

impl Oidc {
    /// For this provider, which sends browsers back to `external`.
    pub(crate) fn new(provider: Provider, external: &Url) -> Result<Self, String> {
        let redirect = external.join("/api/v1/oidc/callback").map_err(|error| error.to_string())?;
        // Nothing is followed: what is asked for is where the provider said it is.
        let mut http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(ANSWER);
        if provider.issuer.starts_with("http://") {
            // No certificate authorities are asked for where none can be needed: there may be none.
            http = http.tls_certs_only([]);
        }
        let http = http.build();
        Ok(Self {
            provider,
            redirect: RedirectUrl::from_url(redirect),
            http: http.map_err(|error| error.to_string())?,
            said: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            under_way: Mutex::default(),
        })
    }

    /// As if what it said were so much older.
    #[cfg(test)]
    pub(crate) fn grow_older(&self, by: Duration) {
        if let Some((at, _)) = &mut *self.said.lock().unwrap_or_else(PoisonError::into_inner) {
            *at = at.checked_sub(by).unwrap_or(*at);
        }
    }

    pub(crate) fn title(&self) -> &str {
        &self.provider.title
    }

    /// Sends a browser to the provider, and then to `next`, which is [`own_path`].
    pub(crate) async fn begin(&self, next: &str, whence: Whence) -> Result<Begun, Error> {
        let client = self.client(None).await?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let flow = AuthenticationFlow::<CoreResponseType>::AuthorizationCode;
        let mut request = client.authorize_url(flow, || CsrfToken::new(secret::random()), || Nonce::new(secret::random()));
        for scope in &self.provider.scopes {
            request = request.add_scope(Scope::new(scope.clone()));
        }
        let (url, state, nonce) = request.set_pkce_challenge(challenge).url();
        let cookie = secret::random();
        let from = whence.0.map(network);
        let one = UnderWay { browser: secret::hash(&cookie), nonce, verifier, next: next.to_owned(), since: Instant::now(), from };
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        make_room(&mut under_way, from);
        under_way.insert(secret::hash(state.secret()), one);
        Ok(Begun { url, cookie })
    }

    /// A browser comes back: who it is, and where it goes now.
    pub(crate) async fn finish(&self, state: &str, code: Option<&str>, cookie: Option<&str>) -> Result<(Vouched, String), Error> {
        // Whatever comes of it, this state counts once.
        let one = self.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&secret::hash(state)).ok_or(Error::State)?;
        let is_same = cookie.is_some_and(|cookie| secret::same(&secret::hash(cookie), &one.browser));
        if !is_same || one.since.elapsed() >= PATIENCE {
            return Err(Error::State);
        }
        let code = code.ok_or(Error::Denied)?;
        let client = self.client(None).await?;
        let http = self.http();
        let exchange = client.exchange_code(AuthorizationCode::new(code.to_owned())).map_err(|error| Error::Away(error.to_string()))?;
        let answer = exchange.set_pkce_verifier(one.verifier).request_async(&http).await.map_err(|error| match error {
            openidconnect::RequestTokenError::ServerResponse(_) => Error::Denied,
            // What was sent is in none of these.
            openidconnect::RequestTokenError::Request(error) => Error::Away(error.to_string()),
            openidconnect::RequestTokenError::Parse(..) => Error::Untrusted("its answer can't be read".into()),
            openidconnect::RequestTokenError::Other(error) => Error::Untrusted(error),
        })?;
        let token = answer.id_token().ok_or_else(|| Error::Untrusted("there is no ID token in its answer".into()))?;
        let claims = match token.claims(&client.id_token_verifier().set_allowed_algs(SIGNATURES), &one.nonce) {
            Err(ClaimsVerificationError::SignatureVerification(SignatureVerificationError::NoMatchingKey)) => {
                // The provider may have another key since we asked.
                let client = self.client(Some(OFTEN)).await?;
                token.claims(&client.id_token_verifier().set_allowed_algs(SIGNATURES), &one.nonce).cloned()
            }
            claims => claims.cloned(),
        };
        let vouched = self.vouched(&claims.map_err(|error| Error::Untrusted(error.to_string()))?)?;
        Ok((vouched, one.next))
    }

    /// The provider as it describes itself, not older than this.
    async fn client(&self, oldest: Option<Duration>) -> Result<Client, Error> {
        let known = self.said.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let metadata = match known.filter(|(at, _)| at.elapsed() < oldest.unwrap_or(FRESH)) {
            Some((_, metadata)) => metadata,
            None => {
                let mut failed = self.turn.lock().await;
                // Somebody else may have asked meanwhile.
                let known = self.said.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if let Some((_, metadata)) = known.filter(|(at, _)| at.elapsed() < oldest.unwrap_or(FRESH)) {
                    return Ok(self.client_by(&metadata));
                }
                if let Some((_, why)) = failed.as_ref().filter(|(at, _)| at.elapsed() < AWAY) {
                    return Err(Error::Away(why.clone()));
                }
                let issuer = IssuerUrl::new(self.provider.issuer.clone()).map_err(|error| Error::Away(error.to_string()))?;
                let http = self.http();
                let metadata = CoreProviderMetadata::discover_async(issuer, &http).await;
                let metadata = metadata.map_err(|error| {
                    let why = chain(&error);
                    *failed = Some((Instant::now(), why.clone()));
                    Error::Away(why)
                });
                let metadata = Arc::new(metadata?);
                *self.said.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), metadata.clone()));
                metadata
            }
        };
        Ok(self.client_by(&metadata))
    }

    fn client_by(&self, metadata: &CoreProviderMetadata) -> Client {
        let (id, secret) = (ClientId::new(self.provider.client_id.clone()), ClientSecret::new(self.provider.client_secret.to_string()));
        Client::from_provider_metadata(metadata.clone(), id, Some(secret)).set_redirect_uri(self.redirect.clone())
    }

    fn http(&self) -> impl Fn(HttpRequest) -> futures::future::BoxFuture<'static, Result<HttpResponse, HttpError>> + use<> {
        let http = self.http.clone();
        move |request| {
            let http = http.clone();
            Box::pin(async move { ask(&http, request).await })
        }
    }

    fn vouched(&self, claims: &IdTokenClaims<Claims, CoreGenderClaim>) -> Result<Vouched, Error> {
        let more = &claims.additional_claims().0;
        let refused = |why: &str| Error::Refused(why.to_owned());
        let email = claims.email().map(|email| email.as_str().to_owned()).unwrap_or_default();
        let name = match self.provider.user_claim.as_str() {
            // Whoever can write any address into their profile would be whoever has it.
            "email" if claims.email_verified() != Some(true) => {
                return Err(refused("the provider does not say that your address of mail is verified, and it is your name here"));
            }
            "email" => email.clone(),
            "sub" => claims.subject().to_string(),
            "preferred_username" => claims.preferred_username().map(|name| name.to_string()).unwrap_or_default(),
            other => more.get(other).and_then(Value::as_str).unwrap_or_default().to_owned(),
        };
        names::vouched(&name).map_err(Error::Refused)?;
        let said = match more.get(&self.provider.groups_claim) {
            Some(Value::Array(groups)) => groups.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            Some(Value::String(group)) => BTreeSet::from([group.clone()]),
            _ => BTreeSet::new(),
        };
        if !self.provider.allowed_groups.is_empty() && said.is_disjoint(&self.provider.allowed_groups) {
            return Err(refused("you are in none of the provider's groups that may come in here"));
        }
        let is_admin = self.provider.admins_group.as_ref().is_some_and(|group| said.contains(group));
        // `admins` is ours: whoever names groups at the provider does not make administrators here by accident.
        let mut groups: BTreeSet<String> = said.into_iter().filter(|group| group != ADMINS && names::group(group).is_ok()).collect();
        if groups.len() > names::GROUPS {
            return Err(refused("you are in more groups than are taken over from the provider: let it send fewer"));
        }
        if is_admin {
            groups.insert(ADMINS.into());
        }
        let display_name = claims.name().and_then(|name| name.get(None)).map(|name| name.to_string()).unwrap_or_default();
        let or_nothing = |text: String, fits: fn(&str) -> Result<(), String>| if fits(&text).is_ok() { text } else { String::new() };
        Ok(Vouched {
            issuer: claims.issuer().to_string(),
            subject: claims.subject().to_string(),
            name,
            display_name: or_nothing(display_name, names::display),
            email: or_nothing(email, names::email),
            groups,
        })
    }
}

/// Where a browser may be sent after it signed in: a page of ours, whatever it is that the link said.
pub(crate) fn own_path(next: Option<&str>) -> &str {
    let is_own = |path: &str| {
        // What browsers take for the beginning of another host.
        let is_path = path.starts_with('/') && !path.starts_with("//") && !path.contains(['\\', '\t', '\r', '\n']);
        let here = Url::parse("http://here.invalid/").and_then(|base| base.join(path));
        is_path
            && path.len() <= 512
            && path.bytes().all(|byte| (0x21..0x7f).contains(&byte))
            && !path.starts_with("/api")
            && here.is_ok_and(|url| url.host_str() == Some("here.invalid") && !url.path().starts_with("//"))
    };
    next.filter(|path| is_own(path)).unwrap_or("/")
}

/// What can go wrong on the way to the provider.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("{0}")]
    Request(String),
    #[error("its answer is larger than {LARGEST} bytes")]
    Large,
}

async fn ask(http: &reqwest::Client, request: HttpRequest) -> Result<HttpResponse, HttpError> {
    let wrong = |error: reqwest::Error| HttpError::Request(chain(&error.without_url()));
    let mut answer = http.execute(request.try_into().map_err(wrong)?).await.map_err(wrong)?;
    let mut response = axum::http::Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        response = response.header(name, value);
    }
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(wrong)? {
        if body.len() + piece.len() > LARGEST {
            return Err(HttpError::Large);
        }
        body.extend_from_slice(&piece);
    }
    response.body(body).map_err(|error| HttpError::Request(error.to_string()))
}

/// An error with what lies behind it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    for _ in 0..8 {
        let Some(next) = source else { break };
        text = format!("{text}: {next}");
        source = next.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_gives_up_only_its_own() {
        let since = Instant::now();
        let one = |from: [u8; 4]| {
            let (_, verifier) = PkceCodeChallenge::new_random_sha256();
            UnderWay {
                browser: String::new(),
                nonce: Nonce::new(String::new()),
                verifier,
                next: String::new(),
                since,
                from: Some(from.into()),
            }
        };
        let mut under_way = HashMap::from([("other".to_owned(), one([192, 0, 2, 2]))]);
        for number in 0..2 * FROM_ONE {
            let from = [192, 0, 2, 1];
            make_room(&mut under_way, Some(from.into()));
            under_way.insert(number.to_string(), one(from));
        }
        assert_eq!(under_way.len(), FROM_ONE + 1);
        assert!(under_way.contains_key("other"));
    }

    #[test]
    fn nobody_is_sent_elsewhere() {
        for own in ["/", "/devices/default/web-01?tab=logs#x", "/a//b", "/sign-in"] {
            assert_eq!(own_path(Some(own)), own);
        }
        let long = format!("/{}", "a".repeat(512));
        for other in [
            "https://evil.example.com",
            "//evil.example.com",
            "/\\evil.example.com",
            "\\\\evil",
            "/\t/evil",
            "javascript:alert(1)",
            "",
            "devices",
            "/ü",
            "/a b",
            "/api/v1/oidc/login",
            "/\r\nSet-Cookie: x=y",
            "/..//evil.example.com",
            "/.//evil.example.com",
            &long,
        ] {
            assert_eq!(own_path(Some(other)), "/", "{other:?}");
        }
        assert_eq!(own_path(None), "/");
    }
}
