//! OpenPGP signatures (RFC 9580). The keys directory is trusted to hold the right certificates; whether one of their keys may sign,
//! and still may, is read from the certificate's own signatures.

use pgp::composed::{Deserializable as _, DetachedSignature, SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureType, SubpacketData};
use pgp::types::{KeyDetails, Tag, Timestamp, VerifyingKey};

use super::{Judged, Verified};

/// Certificates in one file.
const MAX_CERTIFICATES: usize = 1000;
/// A signature from the future is wrong, but clocks differ.
const SKEW: u64 = 600;

/// Somebody's public keys: a primary one, and those that it vouches for.
#[derive(Debug)]
pub(super) struct Certificate {
    key: SignedPublicKey,
    owner: String,
}

/// Reads the certificates of a file, armored or not.
pub(super) fn load(bytes: &[u8]) -> Result<Vec<Certificate>, String> {
    let unreadable = |error: pgp::errors::Error| format!("not an OpenPGP public key: {error}");
    let (found, _) = SignedPublicKey::from_reader_many(bytes).map_err(unreadable)?;
    let mut certificates = Vec::new();
    for key in found.take(MAX_CERTIFICATES) {
        let key = key.map_err(unreadable)?;
        let owner = key.details.users.iter().find_map(|user| user.id.as_str()).unwrap_or("somebody without a name");
        let owner = owner.chars().filter(|c| !c.is_control()).take(100).collect();
        let certificate = Certificate { key, owner };
        if certificate.newest_of_itself().is_none() {
            return Err(format!("the key of {} has no valid signature of its own", certificate.owner));
        }
        certificates.push(certificate);
    }
    if certificates.is_empty() { Err("there is no OpenPGP public key in it".into()) } else { Ok(certificates) }
}

/// Who made a signature, if it is good; else what is wrong with it.
pub(super) fn verify(certificates: &[Certificate], armored: &str, signed: &[u8], judged: Judged) -> Result<Verified, String> {
    let (signature, _) = DetachedSignature::from_string(armored).map_err(|_| "its OpenPGP signature can't be read".to_owned())?;
    let signature = signature.signature;
    let mut result = Err(match (signature.issuer_fingerprint().first(), signature.issuer_key_id().first()) {
        (Some(fingerprint), _) => format!("it is signed by the unknown key {fingerprint:X}"),
        (None, Some(id)) => format!("it is signed by the unknown key {}", id.to_string().to_uppercase()),
        (None, None) => "its signature does not say whose it is".into(),
    });
    for certificate in certificates {
        if is_by(&signature, &certificate.key.primary_key) {
            let primary = format!("{:X}", certificate.key.primary_key.fingerprint());
            result = certificate.by_primary(&signature, signed, judged).map(|who| Verified { who, keys: vec![primary] });
        }
        for subkey in certificate.key.public_subkeys.iter().filter(|subkey| is_by(&signature, &subkey.key)) {
            let keys = [subkey.key.fingerprint(), certificate.key.primary_key.fingerprint()].map(|of| format!("{of:X}"));
            result = certificate.by_subkey(subkey, &signature, signed, judged).map(|who| Verified { who, keys: keys.into() });
        }
        if result.is_ok() {
            break;
        }
    }
    result
}

fn is_by(signature: &Signature, key: &impl KeyDetails) -> bool {
    signature.issuer_fingerprint().contains(&&key.fingerprint()) || signature.issuer_key_id().contains(&&key.legacy_key_id())
}

impl Certificate {
    fn by_primary(&self, signature: &Signature, signed: &[u8], judged: Judged) -> Result<String, String> {
        let who = self.good(signature, &self.key.primary_key, signed)?;
        let at = self.valid(&who, signature, judged)?;
        let own = self.newest_of_itself().ok_or_else(|| format!("{who} has no valid signature of its own"))?;
        may_sign(&who, own)?;
        expired(&who, &self.key.primary_key, own, at)?;
        Ok(who)
    }

    fn by_subkey(&self, subkey: &SignedPublicSubKey, signature: &Signature, signed: &[u8], judged: Judged) -> Result<String, String> {
        let who = self.good(signature, &subkey.key, signed)?;
        let at = self.valid(&who, signature, judged)?;
        let own = self.newest_of_itself().ok_or_else(|| format!("{who} has no valid signature of its own"))?;
        expired(&who, &self.key.primary_key, own, at)?;
        let primary = &self.key.primary_key;
        let valid = || subkey.signatures.iter().filter(|binding| binding.verify_subkey_binding(primary, &subkey.key).is_ok());
        if valid().any(|binding| binding.typ() == Some(SignatureType::SubkeyRevocation)) {
            return Err(format!("{who} is revoked"));
        }
        let binding = newest(valid()).ok_or_else(|| format!("{who} is not bound to its owner's primary key"))?;
        may_sign(&who, binding)?;
        // A key that may sign has to agree to be somebody's: else anybody's key could be claimed.
        let agrees = binding.embedded_signature().is_some_and(|back| back.verify_primary_key_binding(&subkey.key, primary).is_ok());
        if !agrees {
            return Err(format!("{who} is not bound to its owner's primary key"));
        }
        expired(&who, &subkey.key, binding, at)?;
        Ok(who)
    }

    /// The signature is what this key makes of the commit. Returns owner and fingerprint.
    fn good(&self, signature: &Signature, key: &impl VerifyingKey, signed: &[u8]) -> Result<String, String> {
        let who = format!("{} {:X}", self.owner, key.fingerprint());
        if !matches!(signature.typ(), Some(SignatureType::Binary | SignatureType::Text)) {
            return Err(format!("the signature by {who} is not one of a document"));
        }
        match signature.hash_alg() {
            Some(HashAlgorithm::Md5 | HashAlgorithm::Sha1 | HashAlgorithm::Ripemd160) | None => {
                return Err(format!("the signature by {who} uses a hash that is broken (MD5, SHA-1 or RIPEMD)"));
            }
            Some(_) => {}
        }
        signature
            .verify(key, signed)
            .map_err(|_| format!("the signature by {who} is wrong: the commit was changed after it was signed"))?;
        Ok(who)
    }

    /// The signature and the certificate hold at the time that counts, which is returned.
    fn valid(&self, who: &str, signature: &Signature, judged: Judged) -> Result<u64, String> {
        let made = signature.created().ok_or_else(|| format!("the signature by {who} does not say when it was made"))?;
        let made = u64::from(made.as_secs());
        let unknown = |packet: &pgp::packet::Subpacket| {
            packet.is_critical && matches!(packet.data, SubpacketData::Experimental(..) | SubpacketData::Other(..))
        };
        if signature.config().is_some_and(|config| config.hashed_subpackets().any(unknown)) {
            return Err(format!("the signature by {who} has a condition that this version does not know"));
        }
        let (now, at) = match judged {
            Judged::Now(now) => (now, now),
            Judged::WhenSigned => (made, made),
        };
        if made > now + SKEW {
            return Err(format!("the signature by {who} was made in the future, on {}", day(made)));
        }
        let ends = signature.signature_expiration_time().map(|after| u64::from(after.as_secs())).filter(|after| *after > 0);
        if let Some(ends) = ends.map(|after| made + after).filter(|ends| *ends <= at) {
            return Err(format!("the signature by {who} ended on {}", day(ends)));
        }
        let revoked = |revocation: &Signature| {
            revocation.typ() == Some(SignatureType::KeyRevocation) && revocation.verify_key(&self.key.primary_key).is_ok()
        };
        // Also if it says that it was not stolen: whoever stole it would say so too.
        if self.key.details.revocation_signatures.iter().any(revoked) {
            return Err(format!("the key of {who} is revoked"));
        }
        if u64::from(self.key.primary_key.created_at().as_secs()) > made {
            return Err(format!("the signature by {who} is older than the key"));
        }
        Ok(at)
    }

    /// What the owner last said of the primary key.
    fn newest_of_itself(&self) -> Option<&Signature> {
        let key = &self.key.primary_key;
        let details = &self.key.details;
        let direct = details.direct_signatures.iter().filter(|own| own.typ() == Some(SignatureType::Key) && own.verify_key(key).is_ok());
        let users = details.users.iter().filter_map(|user| {
            let valid = user.signatures.iter().filter(|own| own.verify_certification(key, Tag::UserId, &user.id).is_ok());
            newest(valid).filter(|own| own.typ() != Some(SignatureType::CertRevocation))
        });
        newest(direct.chain(users))
    }
}

fn newest<'a>(signatures: impl Iterator<Item = &'a Signature>) -> Option<&'a Signature> {
    signatures.max_by_key(|signature| signature.created().map(Timestamp::as_secs))
}

/// A key that says what it is for has to say that it is for signing.
fn may_sign(who: &str, own: &Signature) -> Result<(), String> {
    let mut says = own.config().into_iter().flat_map(|config| config.hashed_subpackets());
    let says = says.any(|packet| matches!(packet.data, SubpacketData::KeyFlags(_)));
    if says && !own.key_flags().sign() { Err(format!("{who} is not for signing")) } else { Ok(()) }
}

fn expired(who: &str, key: &impl KeyDetails, own: &Signature, at: u64) -> Result<(), String> {
    let after = own.key_expiration_time().map(|after| u64::from(after.as_secs())).filter(|after| *after > 0);
    match after.map(|after| u64::from(key.created_at().as_secs()) + after).filter(|ends| *ends <= at) {
        Some(ends) => Err(format!(
            "the key of {who} expired on {}: its owner can extend it, then put the new public key into the keys directory",
            day(ends)
        )),
        None => Ok(()),
    }
}

fn day(seconds: u64) -> String {
    let second = i64::try_from(seconds).ok().and_then(|second| jiff::Timestamp::from_second(second).ok());
    second.map(|time| time.strftime("%Y-%m-%d").to_string()).unwrap_or_default()
}
