//! Whether a webhook comes from who it says, and what it asks for.
//!
//! | | Signed with the secret | Against replay |
//! |---|---|---|
//! | GitHub | the body (HMAC-SHA256) | the same signature again asks for nothing |
//! | Gitea, Forgejo | the body (HMAC-SHA256) | the same |
//! | GitLab, secret token | nothing: the secret itself is sent | none |
//! | GitLab, signing token | as Standard Webhooks | as Standard Webhooks |
//! | Standard Webhooks | id, time and body (HMAC-SHA256) | within five minutes, and the same id again asks for nothing |
//!
//! Sources: docs.github.com "Validating webhook deliveries", docs.gitea.com "Webhooks", docs.gitlab.com "Webhooks", standardwebhooks.com.

use aws_lc_rs::{constant_time, digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crds::HookProvider;
use jiff::Timestamp;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use zeroize::Zeroizing;

/// The shortest secret: who can guess it can ask us to look as often as we let anybody.
const SHORTEST: usize = 16;
/// What is signed with a time is good for so long, before and after: the window of Standard Webhooks' own libraries.
const WINDOW: i64 = 300;
/// The longest id and the longest name of a branch or tag that is taken.
const LONGEST: usize = 1024;
/// Signatures of one request that are tried: while a secret is changed there are two.
const SIGNATURES: usize = 4;
/// What secrets of Standard Webhooks begin with; base64 follows.
const PREFIX: &str = "whsec_";

/// Why a request is not taken. Whoever sent it is not told which of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The Secret is not one to sign with.
    #[error("the secret is shorter than {SHORTEST} characters, or its `whsec_` is not followed by base64")]
    Secret,
    /// The headers are not those of the provider, or not there, or there twice.
    #[error("the headers of its signature are missing or malformed")]
    Unsigned,
    /// Somebody else signed it, or it was changed.
    #[error("its signature is wrong")]
    Signature,
    /// It was signed too long ago, or in the future.
    #[error("it was signed more than {WINDOW} s from now: it is a replay, or a clock is wrong")]
    Time,
}

/// A request whose sender is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// What it asks for.
    pub wants: Wants,
    /// What is the same when the same request is sent again, if it has that.
    pub once: Option<[u8; 32]>,
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wants {
    /// Nothing: the server tries out whether we are there, or something happened that does not concern us.
    Nothing,
    /// A look at the repository; the full name of the branch or tag that was pushed, such as `refs/heads/main`, if it says so.
    Look(Option<String>),
}

/// Whether requests can be signed with a secret.
pub fn usable(secret: &[u8]) -> Result<(), Refusal> {
    let secret = secret.trim_ascii();
    let is_key = secret.strip_prefix(PREFIX.as_bytes()).is_none_or(|encoded| STANDARD.decode(encoded).is_ok());
    if secret.len() < SHORTEST || !is_key { Err(Refusal::Secret) } else { Ok(()) }
}

/// Verifies a request: nothing of it is read before that.
pub fn verify(provider: HookProvider, secret: &[u8], headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<Verified, Refusal> {
    usable(secret)?;
    let secret = secret.trim_ascii();
    let event = |name: &str| header(headers, name).unwrap_or_default();
    let (once, is_push) = match provider {
        HookProvider::GitHub => {
            let given = header(headers, "x-hub-signature-256")?.strip_prefix("sha256=").ok_or(Refusal::Unsigned)?;
            (Some(signed(secret, body, given)?), event("x-github-event") == "push")
        }
        HookProvider::Gitea => {
            // Forgejo sends both; where its own is there, that counts.
            let own = if headers.contains_key("x-forgejo-signature") { "x-forgejo" } else { "x-gitea" };
            let given = header(headers, &format!("{own}-signature"))?;
            (Some(signed(secret, body, given)?), event(&format!("{own}-event")) == "push")
        }
        HookProvider::GitLab => {
            let once = if secret.starts_with(PREFIX.as_bytes()) {
                Some(standard(secret, headers, body, now)?)
            } else {
                equal(secret, header(headers, "x-gitlab-token")?.as_bytes())?;
                None
            };
            (once, ["Push Hook", "Tag Push Hook"].contains(&event("x-gitlab-event")))
        }
        HookProvider::Generic => {
            let once = standard(secret, headers, body, now)?;
            return Ok(Verified { wants: Wants::Look(None), once: Some(once) });
        }
    };
    let wants = if is_push { Wants::Look(pushed(body)) } else { Wants::Nothing };
    Ok(Verified { wants, once })
}

/// A header that is there once.
fn header<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, Refusal> {
    let mut values = headers.get_all(name).iter();
    match (values.next().and_then(|value| value.to_str().ok()), values.next()) {
        (Some(value), None) => Ok(value),
        _ => Err(Refusal::Unsigned),
    }
}

/// HMAC-SHA256 of the body in hexadecimal.
fn signed(secret: &[u8], body: &[u8], given: &str) -> Result<[u8; 32], Refusal> {
    let mut tag = [0; 32];
    hex::decode_to_slice(given, &mut tag).map_err(|_| Refusal::Unsigned)?;
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, secret), body, &tag).map_err(|_| Refusal::Signature)?;
    Ok(tag)
}

/// Compares in a time that says nothing about where they differ, nor about how long the secret is.
fn equal(secret: &[u8], given: &[u8]) -> Result<(), Refusal> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    hmac::verify(&key, given, hmac::sign(&key, secret).as_ref()).map_err(|_| Refusal::Signature)
}

/// Standard Webhooks, symmetric: HMAC-SHA256 of `id.timestamp.body` in base64.
fn standard(secret: &[u8], headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<[u8; 32], Refusal> {
    let key = match secret.strip_prefix(PREFIX.as_bytes()) {
        Some(encoded) => Zeroizing::new(STANDARD.decode(encoded).map_err(|_| Refusal::Secret)?),
        None => Zeroizing::new(secret.to_vec()),
    };
    let id = header(headers, "webhook-id")?;
    let time = header(headers, "webhook-timestamp")?;
    let seconds: i64 = time.parse().map_err(|_| Refusal::Unsigned)?;
    if id.is_empty() || id.len() > LONGEST {
        return Err(Refusal::Unsigned);
    }
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &key));
    [id.as_bytes(), b".", time.as_bytes(), b".", body].into_iter().for_each(|part| context.update(part));
    let tag = context.sign();
    let given = header(headers, "webhook-signature")?.split(' ').filter_map(|signature| signature.strip_prefix("v1,"));
    let mut given = given.take(SIGNATURES).filter_map(|encoded| STANDARD.decode(encoded).ok());
    if !given.any(|given| constant_time::verify_slices_are_equal(tag.as_ref(), &given).is_ok()) {
        return Err(Refusal::Signature);
    }
    // After the signature, so that the time of nobody but the sender counts.
    if now.as_second().abs_diff(seconds) > WINDOW.unsigned_abs() {
        return Err(Refusal::Time);
    }
    Ok(digest::digest(&digest::SHA256, id.as_bytes()).as_ref().try_into().unwrap_or_default())
}

/// The branch or tag that a push says it was to. A body that says nothing that we understand (GitHub can send forms) says that too.
fn pushed(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Push {
        #[serde(rename = "ref")]
        reference: String,
    }
    let push: Push = serde_json::from_slice(body).ok()?;
    Some(push.reference).filter(|reference| reference.len() <= LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples that docs.github.com gives.
    const SECRET: &[u8] = b"It's a Secret to Everybody";
    const BODY: &[u8] = b"Hello, World!";
    const SIGNATURE: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(reqwest::header::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        headers
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_614_265_330).unwrap()
    }

    fn of(provider: HookProvider, secret: &[u8], pairs: &[(&str, &str)], body: &[u8]) -> Result<Verified, Refusal> {
        verify(provider, secret, &headers(pairs), body, now())
    }

    #[test]
    fn githubs_own_example() {
        let signature = format!("sha256={SIGNATURE}");
        let github = |pairs: &[(&str, &str)], body: &[u8]| of(HookProvider::GitHub, SECRET, pairs, body);
        let good = github(&[("x-hub-signature-256", &signature)], BODY).unwrap();
        assert_eq!(good.wants, Wants::Nothing, "it names no event");
        assert_eq!(hex::encode(good.once.unwrap()), SIGNATURE);
        // A push whose body is no JSON is a push all the same.
        let push = github(&[("x-hub-signature-256", &signature), ("x-github-event", "push")], BODY).unwrap();
        assert_eq!(push.wants, Wants::Look(None));
        assert_eq!(github(&[("x-hub-signature-256", &signature)], b"Hello, World?"), Err(Refusal::Signature));
        for (name, value) in [
            ("x-hub-signature-256", SIGNATURE),
            ("x-hub-signature-256", "sha256="),
            ("x-hub-signature-256", "sha256=75"),
            ("x-hub-signature-256", "sha256=zz"),
            ("x-hub-signature", &signature),
            ("x-gitea-signature", SIGNATURE),
        ] {
            assert_eq!(github(&[(name, value)], BODY), Err(Refusal::Unsigned), "{name}: {value}");
        }
        let twice = [("x-hub-signature-256", signature.as_str()), ("x-hub-signature-256", "sha256=00")];
        assert_eq!(github(&twice, BODY), Err(Refusal::Unsigned));
        // With line ends, as editors leave them.
        assert!(of(HookProvider::GitHub, b"It's a Secret to Everybody\n", &[("x-hub-signature-256", &signature)], BODY).is_ok());
    }

    #[test]
    fn a_push_says_where_to_and_other_events_ask_for_nothing() {
        let body = br#"{"commits": [], "ref": "refs/heads/main", "x": {"ref": "no"}}"#;
        let signature = hex::encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), body));
        let wants = |event: &str| {
            let github = format!("sha256={signature}");
            let github = of(HookProvider::GitHub, SECRET, &[("x-hub-signature-256", &github), ("x-github-event", event)], body);
            let gitea = of(HookProvider::Gitea, SECRET, &[("x-gitea-signature", &signature), ("x-gitea-event", event)], body);
            let forgejo = [("x-gitea-signature", "00"), ("x-forgejo-signature", &signature), ("x-forgejo-event", event)];
            let forgejo = of(HookProvider::Gitea, SECRET, &forgejo, body);
            assert_eq!((&github, &github), (&gitea, &forgejo));
            github.unwrap().wants
        };
        assert_eq!(wants("push"), Wants::Look(Some("refs/heads/main".into())));
        for other in ["ping", "issues", "Push", ""] {
            assert_eq!(wants(other), Wants::Nothing, "{other}");
        }
        assert_eq!(pushed(format!(r#"{{"ref": "{}"}}"#, "x".repeat(LONGEST + 1)).as_bytes()), None);
        assert_eq!(pushed(br#"{"ref": 7}"#), None);
        assert_eq!(pushed("[".repeat(1 << 16).as_bytes()), None);
    }

    #[test]
    fn gitlabs_token_is_compared_and_its_signing_token_signs() {
        let gitlab = |secret: &[u8], given: &str| {
            let pairs = [("x-gitlab-token", given), ("x-gitlab-event", "Tag Push Hook")];
            of(HookProvider::GitLab, secret, &pairs, br#"{"ref": "refs/tags/v1"}"#)
        };
        let good = Verified { wants: Wants::Look(Some("refs/tags/v1".into())), once: None };
        assert_eq!(gitlab(b"0123456789abcdef", "0123456789abcdef"), Ok(good));
        for wrong in ["0123456789abcdeg", "0123456789abcdef0", "0123456789abcde", ""] {
            assert_eq!(gitlab(b"0123456789abcdef", wrong), Err(Refusal::Signature), "{wrong}");
        }
        // Sent along it proves nothing, where it is there to sign with.
        assert_eq!(gitlab(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), Err(Refusal::Unsigned));
        let pairs = [STANDARD_EXAMPLE.as_slice(), &[("x-gitlab-event", "Issue Hook")]].concat();
        let signed = of(HookProvider::GitLab, STANDARD_SECRET, &pairs, STANDARD_BODY).unwrap();
        assert_eq!(signed.wants, Wants::Nothing);
        assert!(signed.once.is_some());
    }

    /// The example that the libraries of Standard Webhooks are tested with.
    const STANDARD_SECRET: &[u8] = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const STANDARD_BODY: &[u8] = br#"{"test": 2432232314}"#;
    const STANDARD_EXAMPLE: [(&str, &str); 3] = [
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    ];

    #[test]
    fn the_example_of_standard_webhooks_within_its_window() {
        let at = |seconds: i64| {
            let now = Timestamp::from_second(1_614_265_330 + seconds).unwrap();
            verify(HookProvider::Generic, STANDARD_SECRET, &headers(&STANDARD_EXAMPLE), STANDARD_BODY, now).map(|verified| verified.wants)
        };
        for good in [0, 300, -300] {
            assert_eq!(at(good), Ok(Wants::Look(None)), "{good}");
        }
        for bad in [301, -301] {
            assert_eq!(at(bad), Err(Refusal::Time), "{bad}");
        }
        let with = |name: &str, value: &str| {
            let mut headers = headers(&STANDARD_EXAMPLE);
            headers.insert(reqwest::header::HeaderName::try_from(name).unwrap(), value.parse().unwrap());
            verify(HookProvider::Generic, STANDARD_SECRET, &headers, STANDARD_BODY, now())
        };
        let good = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert!(with("webhook-signature", &format!("v1a,AAAA v1,AAAA {good}")).is_ok(), "one of several is enough");
        assert_eq!(with("webhook-signature", &format!("v1,A v1,A v1,A v1,A {good}")), Err(Refusal::Signature), "but not of very many");
        assert_eq!(with("webhook-signature", ""), Err(Refusal::Signature));
        assert_eq!(with("webhook-id", "msg_other"), Err(Refusal::Signature), "another id is another message");
        assert_eq!(with("webhook-timestamp", "1614265331"), Err(Refusal::Signature));
        for (name, value) in [("webhook-timestamp", "soon"), ("webhook-timestamp", "99999999999999999999"), ("webhook-id", "")] {
            assert_eq!(with(name, value), Err(Refusal::Unsigned), "{name}: {value}");
        }
        assert_eq!(with("webhook-id", &"x".repeat(LONGEST + 1)), Err(Refusal::Unsigned));
    }

    #[test]
    fn what_is_no_secret_lets_nobody_in() {
        let empty = hex::encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b""), BODY));
        assert_eq!(of(HookProvider::Gitea, b"", &[("x-gitea-signature", &empty)], BODY), Err(Refusal::Secret));
        assert_eq!(of(HookProvider::GitLab, b" \n", &[("x-gitlab-token", "")], BODY), Err(Refusal::Secret));
        assert_eq!(of(HookProvider::GitLab, b"0123456789abcde", &[("x-gitlab-token", "0123456789abcde")], BODY), Err(Refusal::Secret));
        assert_eq!(of(HookProvider::Generic, b"whsec_not base64 at all!", &STANDARD_EXAMPLE, STANDARD_BODY), Err(Refusal::Secret));
    }
}
