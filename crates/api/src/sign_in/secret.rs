//! What lets in: 256 random bits, of which only a hash is kept.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

/// What API tokens begin with.
pub(crate) const API: &str = "ek_";
/// Bytes of the checksum that follows the random ones.
const CHECK: usize = 4;

/// 256 random bits as text.
pub(crate) fn random() -> String {
    URL_SAFE_NO_PAD.encode(bits())
}

/// SHA-256 in hex. There is nothing to guess about 256 random bits, so it needs no salt and no time.
pub(crate) fn hash(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}

/// What a browser shows beside the cookie when it wants something done: whoever has the cookie can tell it, and nobody else.
pub(crate) fn csrf(session: &str) -> String {
    let mut hasher = Sha256::new();
    hasher.update(b"evenkeel csrf\0");
    hasher.update(session.as_bytes());
    URL_SAFE_NO_PAD.encode(hasher.finalize())
}

/// A new API token: random bytes and a checksum over them, so that a mistyped or cut one is told from a revoked one.
pub(crate) fn api_token() -> String {
    let bits = bits();
    let mut bytes = bits.to_vec();
    bytes.extend(check(&bits));
    format!("{API}{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// Whether it is an API token as it was made, wherever it may let in.
pub(crate) fn is_api_token(token: &str) -> bool {
    let bytes = token.strip_prefix(API).and_then(|rest| URL_SAFE_NO_PAD.decode(rest).ok());
    bytes.is_some_and(|bytes| bytes.len() == 32 + CHECK && bytes[32..] == check(&bytes[..32]))
}

/// Compares in a time that does not depend on where they differ.
pub(crate) fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |different, (a, b)| different | (a ^ b)) == 0
}

fn check(bits: &[u8]) -> [u8; CHECK] {
    let digest = Sha256::digest([API.as_bytes(), bits].concat());
    [digest[0], digest[1], digest[2], digest[3]]
}

fn bits() -> [u8; 32] {
    let mut bits = [0; 32];
    aws_lc_rs::rand::fill(&mut bits).expect("the system has random numbers, or nothing here is safe");
    bits
}
