//! Where a page goes on, sealed: it may be at something that is hidden from who asks, so they can neither read it nor make one up.

use std::sync::LazyLock;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Bytes of a sealed place at most.
const SEALED: usize = 1024;

/// What seals places for as long as this process lives; none: then pages end where something is hidden.
fn key() -> Option<&'static RandomizedNonceKey> {
    static KEY: LazyLock<Option<RandomizedNonceKey>> = LazyLock::new(|| {
        let mut key = [0; 32];
        aws_lc_rs::rand::fill(&mut key).ok()?;
        RandomizedNonceKey::new(&AES_256_GCM, &key).ok()
    });
    KEY.as_ref()
}

pub(super) fn sealed(place: &str) -> Option<String> {
    let mut bytes = place.as_bytes().to_vec();
    let nonce = key()?.seal_in_place_append_tag(Aad::empty(), &mut bytes).ok()?;
    Some(URL_SAFE_NO_PAD.encode([&nonce.as_ref()[..], &bytes].concat()))
}

pub(super) fn opened(cursor: &str) -> Option<String> {
    let bytes = (cursor.len() <= SEALED).then(|| URL_SAFE_NO_PAD.decode(cursor).ok())??;
    let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
    let (nonce, mut sealed) = (Nonce::try_assume_unique_for_key(nonce).ok()?, sealed.to_vec());
    let place = key()?.open_in_place(nonce, Aad::empty(), &mut sealed).ok()?;
    Some(std::str::from_utf8(place).ok()?.to_owned())
}
