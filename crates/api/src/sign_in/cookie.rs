//! Cookies.

use axum::http::{HeaderMap, HeaderValue, header};

/// The longest value of ours that is looked at.
const LONGEST: usize = 512;

/// A cookie of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cookie {
    /// Of a session: nothing that begins elsewhere brings it along.
    Session,
    /// Of a sign-in at a provider that is under way: the way back from there begins elsewhere.
    Provider,
}

impl Cookie {
    /// `__Host-`: browsers take it over https only, from this very host, and for all of it. That can't be where there is no TLS.
    fn name(self, secure: bool) -> &'static str {
        match (self, secure) {
            (Self::Session, true) => "__Host-evenkeel",
            (Self::Session, false) => "evenkeel",
            (Self::Provider, true) => "__Host-evenkeel-oidc",
            (Self::Provider, false) => "evenkeel-oidc",
        }
    }

    /// Its value in a request. One that is there twice was put there by somebody else.
    pub(crate) fn read(self, headers: &HeaderMap, secure: bool) -> Option<&str> {
        let pairs = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';'));
        let mut values = pairs.filter_map(|pair| pair.trim().split_once('=')).filter(|(name, _)| *name == self.name(secure));
        let (_, value) = values.next()?;
        (values.next().is_none() && !value.is_empty() && value.len() <= LONGEST).then_some(value)
    }

    /// The header that sets it for so many seconds; with 0 it goes.
    pub(crate) fn write(self, value: &str, secure: bool, seconds: i64) -> HeaderValue {
        let (only, site) = (if secure { "; Secure" } else { "" }, if self == Self::Session { "Strict" } else { "Lax" });
        let text = format!("{}={value}; Path=/; HttpOnly; SameSite={site}; Max-Age={seconds}{only}", self.name(secure));
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_say_where_they_may_go() {
        let text = |cookie: Cookie, secure| cookie.write("x", secure, 60).to_str().unwrap().to_owned();
        assert_eq!(text(Cookie::Session, true), "__Host-evenkeel=x; Path=/; HttpOnly; SameSite=Strict; Max-Age=60; Secure");
        assert_eq!(text(Cookie::Session, false), "evenkeel=x; Path=/; HttpOnly; SameSite=Strict; Max-Age=60");
        assert_eq!(text(Cookie::Provider, true), "__Host-evenkeel-oidc=x; Path=/; HttpOnly; SameSite=Lax; Max-Age=60; Secure");
    }

    #[test]
    fn a_cookie_that_is_there_twice_is_none() {
        let read = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::COOKIE, value.parse().unwrap());
            }
            Cookie::Session.read(&headers, false).map(str::to_owned)
        };
        assert_eq!(read(&["a=b; evenkeel=x; c"]).as_deref(), Some("x"));
        assert_eq!(read(&["a=b", "evenkeel=x"]).as_deref(), Some("x"));
        let long = format!("evenkeel={}", "x".repeat(513));
        for values in [&["evenkeel=x; evenkeel=y"][..], &["evenkeel=x", "evenkeel=y"], &["evenkeel="], &["__Host-evenkeel=x"], &[&long]] {
            assert_eq!(read(values), None, "{values:?}");
        }
    }
}
