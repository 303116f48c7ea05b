//! Who comes in: by a password, a provider, a session's cookie, an API token or a token of Kubernetes.
//!
//! ```text
//! request ─► whence (address) ─► bearer or cookie ─► known? ─► [Caller](crate::rest::caller::Caller), or nobody
//!                                          └► with a cookie that acts: same site, and the session's CSRF token
//! ```

pub(crate) mod audit;
pub(crate) mod authenticate;
pub(crate) mod cookie;
mod known;
pub(crate) mod limits;
pub(crate) mod lockout;
mod looks;
pub(crate) mod names;
pub mod oidc;
pub(crate) mod password;
pub(crate) mod secret;
#[cfg(test)]
mod tests;
pub(crate) mod whence;

use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use jiff::SignedDuration;
use reqwest::Url;
use zeroize::Zeroizing;

pub use whence::Network;

/// What Kubernetes says of a token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reviewed {
    /// The user's name.
    pub name: String,
    /// Their groups.
    pub groups: Vec<String>,
}

/// Asks Kubernetes for whom a token speaks; `None`: for nobody.
pub type Review = Arc<dyn Fn(Zeroizing<String>) -> BoxFuture<'static, Result<Option<Reviewed>, String>> + Send + Sync>;

/// How people come in.
#[derive(Clone, Default)]
pub struct Options {
    /// Where browsers find us, if that is said: with https cookies are for it alone.
    pub external_url: Option<Url>,
    /// Proxies whose word on where a request comes from is taken.
    pub proxies: Vec<Network>,
    /// `git`, `folder` or `kubernetes`, as browsers are told.
    pub mode: &'static str,
    /// A provider that vouches for people, if there is one: it needs the external URL.
    pub provider: Option<oidc::Provider>,
    /// Whom to ask about tokens of Kubernetes.
    pub review: Option<Review>,
}

/// What is needed to let somebody in, shared by all listeners.
#[derive(Clone, Default)]
pub struct SignIn(Arc<Parts>);

#[derive(Default)]
struct Parts {
    options: Options,
    oidc: Option<oidc::Oidc>,
    /// The hash of the one-time token for the first administrator.
    first: Mutex<Option<String>>,
    hashing: password::Hashing,
    known: known::Known,
    looks: looks::Looks,
    said: audit::Said,
}

impl SignIn {
    /// With these options.
    pub fn new(options: Options) -> Result<Self, String> {
        let oidc = match (&options.provider, &options.external_url) {
            (Some(provider), Some(external)) => Some(oidc::Oidc::new(provider.clone(), external)?),
            (Some(_), None) => return Err("a provider has to be told where browsers find us".into()),
            (None, _) => None,
        };
        Ok(Self(Arc::new(Parts { options, oidc, ..Parts::default() })))
    }

    pub(crate) fn oidc(&self) -> Option<&oidc::Oidc> {
        self.0.oidc.as_ref()
    }

    /// How long what the provider said of a user counts for their API tokens.
    pub(crate) fn vouched_for(&self) -> SignedDuration {
        self.0.options.provider.as_ref().map_or(oidc::VOUCHED, |provider| provider.vouched_for)
    }

    /// A one-time token for the first administrator: an earlier one counts no more. Only its hash is kept, in memory.
    pub fn first_token(&self) -> String {
        let token = secret::random();
        *self.0.first.lock().unwrap_or_else(PoisonError::into_inner) = Some(secret::hash(&token));
        token
    }

    pub(crate) fn is_first_token(&self, token: &str) -> bool {
        let first = self.0.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.as_ref().is_some_and(|hash| *hash == secret::hash(token))
    }

    pub(crate) fn first_token_is_used(&self) {
        *self.0.first.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(crate) fn options(&self) -> &Options {
        &self.0.options
    }

    pub(crate) fn hashing(&self) -> &password::Hashing {
        &self.0.hashing
    }

    pub(crate) fn known(&self) -> &known::Known {
        &self.0.known
    }

    pub(crate) fn looks(&self) -> &looks::Looks {
        &self.0.looks
    }

    pub(crate) fn said(&self) -> &audit::Said {
        &self.0.said
    }

    /// Cookies are for https only.
    pub(crate) fn is_secure(&self) -> bool {
        self.0.options.external_url.as_ref().is_some_and(|url| url.scheme() == "https")
    }
}
