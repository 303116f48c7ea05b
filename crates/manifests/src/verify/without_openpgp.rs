//! In a program that was built without the feature `openpgp`: such keys and signatures are refused.

use super::{Judged, Verified};

#[derive(Debug)]
pub(super) struct Certificate;

pub(super) fn load(_: &[u8]) -> Result<Vec<Certificate>, String> {
    Err("OpenPGP keys can't be used: this program was built without the feature `openpgp`".into())
}

pub(super) fn verify(_: &[Certificate], _: &str, _: &[u8], _: Judged) -> Result<Verified, String> {
    Err("it is signed with OpenPGP, and this program was built without the feature `openpgp`".into())
}
