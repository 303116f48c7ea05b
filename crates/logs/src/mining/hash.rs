//! Hashes of tokens: quick, and the same in every process. Who sends lines that collide gets two templates counted as one, no more.

use std::hash::{BuildHasher, Hasher};

use super::WILDCARD;

/// Of a place that varies; no other token has this hash.
pub(crate) const VARIES: u64 = 0;

const KEY: u64 = 0x9e37_79b9_7f4a_7c15;

/// Of a token, or of a branch.
pub(crate) fn token(token: &str) -> u64 {
    if token == WILDCARD || token.is_empty() { VARIES } else { bytes(token.as_bytes()) }
}

/// Of bytes. Never [`VARIES`].
pub(crate) fn bytes(bytes: &[u8]) -> u64 {
    let mut hash = KEY ^ bytes.len() as u64;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        hash = join(hash, u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    join(hash, u64::from_le_bytes(last)) | 1
}

/// Two in their order: the halves of their product (as wyhash does it).
pub(crate) fn join(first: u64, second: u64) -> u64 {
    let product = u128::from(first ^ 0xa076_1d64_78bd_642f) * u128::from(second ^ 0xe703_7ed1_a0b4_28db);
    (product as u64) ^ ((product >> 64) as u64)
}

/// For maps whose keys are hashes already.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pass(u64);

impl BuildHasher for Pass {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        Self(0)
    }
}

impl Hasher for Pass {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = join(self.0, self::bytes(bytes));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
