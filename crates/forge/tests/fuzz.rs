//! Webhooks as somebody makes them of real ones: signed rightly, so that the body is read, and with headers of their own.

#[path = "../../../tests/fuzz.rs"]
mod fuzz;

use aws_lc_rs::hmac;
use crds::HookProvider;
use forge::webhook::{Refusal, Wants, verify};
use jiff::Timestamp;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

const SECRET: &[u8] = b"a secret for this test";
const WORDS: [&str; 16] = [
    "\"ref\":",
    "\"refs/heads/main\"",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\ud800",
    "\\u0000",
    "null",
    "\u{feff}",
    "sha256=",
    "v1,",
    "whsec_",
    "Push Hook",
    "\n",
];

fn now() -> Timestamp {
    Timestamp::from_second(1_614_265_330).unwrap()
}

/// A push with this body is a look at what it names, whatever it holds, and the same again is the same.
#[test]
fn fuzz_bodies() {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    fuzz::run(env!("CARGO_MANIFEST_DIR"), "body", &WORDS, 20_000, |body| {
        let tag = hex::encode(hmac::sign(&key, body));
        let mut headers = HeaderMap::new();
        headers.insert("x-hub-signature-256", format!("sha256={tag}").parse().unwrap());
        headers.insert("x-github-event", HeaderValue::from_static("push"));
        let github = verify(HookProvider::GitHub, SECRET, &headers, body, now()).unwrap();
        let Wants::Look(reference) = &github.wants else { panic!("{github:?}") };
        assert!(reference.as_ref().is_none_or(|reference| reference.len() <= 1024));
        headers.insert("x-gitea-signature", tag.parse().unwrap());
        headers.insert("x-gitea-event", HeaderValue::from_static("push"));
        assert_eq!(verify(HookProvider::Gitea, SECRET, &headers, body, now()).as_ref(), Ok(&github));
        let other = [body, b" "].concat();
        assert_eq!(verify(HookProvider::GitHub, SECRET, &headers, &other, now()), Err(Refusal::Signature));
    });
}

/// Nobody gets in by headers alone, whatever they are: lines `name: value`, a provider in the first.
#[test]
fn fuzz_headers() {
    fuzz::run(env!("CARGO_MANIFEST_DIR"), "headers", &WORDS, 20_000, |bytes| {
        let mut lines = bytes.split(|byte| *byte == b'\n');
        let provider = match lines.next() {
            Some(b"gitea") => HookProvider::Gitea,
            Some(b"gitlab") => HookProvider::GitLab,
            Some(b"generic") => HookProvider::Generic,
            _ => HookProvider::GitHub,
        };
        let mut headers = HeaderMap::new();
        for line in lines.take(50) {
            let (name, value) = line.split_at(line.iter().position(|byte| *byte == b':').unwrap_or(line.len()));
            let value = HeaderValue::from_bytes(value.strip_prefix(b":").unwrap_or_default().trim_ascii());
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), value) {
                headers.append(name, value);
            }
        }
        for secret in [SECRET, b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
            let refusal = verify(provider, secret, &headers, b"{}", now()).unwrap_err();
            assert!(matches!(refusal, Refusal::Unsigned | Refusal::Signature), "{refusal}");
        }
    });
}
