//! Signed checkpoints of the audit tree, in the C2SP formats [`tlog-checkpoint`](https://c2sp.org/tlog-checkpoint) and
//! [`signed-note`](https://c2sp.org/signed-note).
//!
//! ```text
//! evenkeel/audit
//! 1234
//! base64(root)
//!
//! — evenkeel/audit base64(key hash ‖ signature)
//! ```

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::tree::Hash;

/// Name of the log, and of the key that signs it.
pub const ORIGIN: &str = "evenkeel/audit";
/// Algorithm byte of ed25519 in a signed note.
const ED25519_NOTE: u8 = 1;
/// Ours has some 200 bytes; a witness adds some 100 each.
const MAX_NOTE: usize = 16 << 10;
/// Signatures that are looked at.
const MAX_SIGNATURES: usize = 16;

/// What can be wrong with a checkpoint or a key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a checkpoint at all.
    #[error("not a checkpoint: {0}")]
    Shape(&'static str),
    /// Signed by nobody that we know.
    #[error("the checkpoint is not signed by the key that is trusted")]
    Stranger,
    /// Changed after it was signed.
    #[error("the checkpoint's signature is wrong: it was forged, or changed after it was signed")]
    Signature,
    /// The key file can't be used.
    #[error("not an ed25519 key: {0}")]
    Key(&'static str),
}

/// The key that signs checkpoints.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    seed: [u8; 32],
}

/// The key that checkpoints are verified by, as 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

/// A tree's size and root, signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Number of entries.
    pub size: u64,
    /// Root of the tree of that size.
    pub root: Hash,
    /// The whole signed note.
    pub note: String,
}

impl SigningKey {
    /// A new key.
    pub fn generate() -> Self {
        let mut seed = [0; 32];
        aws_lc_rs::rand::fill(&mut seed).expect("the system's random source works");
        Self::from_seed(seed).expect("any 32 bytes are a seed")
    }

    /// The key with this seed.
    pub fn from_seed(seed: [u8; 32]) -> Result<Self, Error> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| Error::Key("not a seed"))?;
        Ok(Self { pair, seed })
    }

    /// Reads what [`Self::to_text`] wrote.
    pub fn from_text(text: &str) -> Result<Self, Error> {
        let bytes = STANDARD.decode(text.trim()).map_err(|_| Error::Key("not base64"))?;
        Self::from_seed(bytes.try_into().map_err(|_| Error::Key("not 32 bytes"))?)
    }

    /// The seed, for a file that nobody else can read.
    pub fn to_text(&self) -> String {
        format!("{}\n", STANDARD.encode(self.seed))
    }

    /// What verifies it.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.pair.public_key().as_ref().try_into().expect("an ed25519 public key has 32 bytes"))
    }

    /// Signs a tree's size and root.
    pub fn sign(&self, size: u64, root: Hash) -> Checkpoint {
        let body = format!("{ORIGIN}\n{size}\n{}\n", STANDARD.encode(root));
        let mut signature = self.public().note_hash().to_vec();
        signature.extend_from_slice(self.pair.sign(body.as_bytes()).as_ref());
        let note = format!("{body}\n\u{2014} {ORIGIN} {}\n", STANDARD.encode(signature));
        Checkpoint { size, root, note }
    }
}

impl PublicKey {
    /// Reads what [`Self::to_text`] wrote: `name+hash+base64(algorithm ‖ key)`, a signed note's verifier key.
    pub fn from_text(text: &str) -> Result<Self, Error> {
        let mut parts = text.trim().splitn(3, '+');
        let (Some(ORIGIN), Some(hash), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Error::Key("not a verifier key such as evenkeel/audit+1234abcd+AQ…"));
        };
        let bytes = STANDARD.decode(key).map_err(|_| Error::Key("not base64"))?;
        let [ED25519_NOTE, key @ ..] = bytes.as_slice() else { return Err(Error::Key("not ed25519")) };
        let key = Self(key.try_into().map_err(|_| Error::Key("not 32 bytes"))?);
        if hex::encode(key.note_hash()) == hash { Ok(key) } else { Err(Error::Key("its hash does not fit")) }
    }

    /// A signed note's verifier key.
    pub fn to_text(&self) -> String {
        let mut bytes = vec![ED25519_NOTE];
        bytes.extend_from_slice(&self.0);
        format!("{ORIGIN}+{}+{}", hex::encode(self.note_hash()), STANDARD.encode(bytes))
    }

    /// Whether one of a note's signatures is ours, and right.
    fn verify(&self, body: &str, signatures: &str) -> Result<(), Error> {
        let prefix = format!("\u{2014} {ORIGIN} ");
        let lines = signatures.strip_suffix('\n').ok_or(Error::Shape("its last line does not end"))?.split('\n').take(MAX_SIGNATURES);
        let decoded = lines.filter_map(|line| STANDARD.decode(line.strip_prefix(&prefix)?).ok());
        let hash = self.note_hash();
        let ours: Vec<_> = decoded.filter_map(|signature| signature.strip_prefix(&hash).map(<[u8]>::to_vec)).collect();
        if ours.is_empty() {
            return Err(Error::Stranger);
        }
        let public = UnparsedPublicKey::new(&ED25519, &self.0);
        if ours.iter().any(|signature| public.verify(body.as_bytes(), signature).is_ok()) { Ok(()) } else { Err(Error::Signature) }
    }

    /// What tells it apart in a note.
    fn note_hash(&self) -> [u8; 4] {
        note_hash(ORIGIN, &self.0)
    }
}

/// Four bytes that tell keys apart: SHA-256 of name, newline, algorithm and key.
fn note_hash(name: &str, key: &[u8; 32]) -> [u8; 4] {
    let hash = Sha256::new().chain_update(name).chain_update("\n").chain_update([ED25519_NOTE]).chain_update(key).finalize();
    [hash[0], hash[1], hash[2], hash[3]]
}

impl Checkpoint {
    /// Reads a signed note and verifies it. Lines that extend a checkpoint, and other signers' signatures, are let be.
    pub fn open(note: &str, key: &PublicKey) -> Result<Self, Error> {
        if note.len() > MAX_NOTE {
            return Err(Error::Shape("it is too long"));
        }
        if note.contains(|character: char| character.is_ascii_control() && character != '\n') {
            return Err(Error::Shape("it has control characters"));
        }
        let at = note.rfind("\n\n").ok_or(Error::Shape("no empty line before the signature"))?;
        let (body, signatures) = (&note[..=at], &note[at + 2..]);
        let mut lines = body.split_terminator('\n');
        if lines.next() != Some(ORIGIN) {
            return Err(Error::Shape("its first line is not evenkeel/audit"));
        }
        let size = lines.next().and_then(decimal).ok_or(Error::Shape("its second line is no size"))?;
        let root = lines.next().and_then(|line| STANDARD.decode(line).ok()).and_then(|root| root.try_into().ok());
        let root = root.ok_or(Error::Shape("its third line is no root"))?;
        key.verify(body, signatures)?;
        Ok(Self { size, root, note: note.to_owned() })
    }
}

/// A number as there is only one way to write it: no sign, no leading zeros.
fn decimal(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_verified_by_its_key_only() {
        let key = SigningKey::generate();
        let checkpoint = key.sign(7, [9; 32]);
        assert_eq!(Checkpoint::open(&checkpoint.note, &key.public()).unwrap(), checkpoint);
        let open = |note: &str| Checkpoint::open(note, &key.public());
        assert!(matches!(open(&checkpoint.note.replace("\n7\n", "\n8\n")), Err(Error::Signature)));
        assert!(matches!(Checkpoint::open(&checkpoint.note, &SigningKey::generate().public()), Err(Error::Stranger)));
        let forged = format!("{}\n\n{}", "evenkeel/audit\n7\n".to_owned() + &STANDARD.encode([8; 32]), signature(&checkpoint.note));
        assert!(matches!(open(&forged), Err(Error::Signature)));
    }

    #[test]
    fn what_is_no_checkpoint_is_told_so() {
        let key = SigningKey::generate();
        let good = key.sign(7, [9; 32]).note;
        let signed = |body: &str| {
            let signature = [key.public().note_hash().as_slice(), key.pair.sign(body.as_bytes()).as_ref()].concat();
            format!("{body}\n\u{2014} {ORIGIN} {}\n", STANDARD.encode(signature))
        };
        let root = STANDARD.encode([9; 32]);
        assert_eq!(signed(&format!("{ORIGIN}\n7\n{root}\n")), good);
        let bad = [
            String::new(),
            "\n\n".into(),
            "evenkeel/audit\n\n".into(),
            "x\n1\nAAAA\n\n— x y\n".into(),
            good.trim_end().into(),
            good.replace('\n', "\r\n"),
            signed(&format!("{ORIGIN}\n07\n{root}\n")),
            signed(&format!("{ORIGIN}\n+7\n{root}\n")),
            signed(&format!("{ORIGIN}\n18446744073709551616\n{root}\n")),
            signed(&format!("{ORIGIN}\n7\n{}\n", STANDARD.encode([9; 31]))),
            signed(&format!("{ORIGIN}\n7\n{root}\n{}\n", "x".repeat(MAX_NOTE))),
        ];
        for note in &bad {
            assert!(matches!(Checkpoint::open(note, &key.public()), Err(Error::Shape(_))), "{note:?}");
        }
    }

    /// Witnesses cosign, and the format has room for lines to come.
    #[test]
    fn other_signatures_and_further_lines_are_let_be() {
        let key = SigningKey::generate();
        let body = format!("{ORIGIN}\n7\n{}\nfurther line\n", STANDARD.encode([9; 32]));
        let signature = [key.public().note_hash().as_slice(), key.pair.sign(body.as_bytes()).as_ref()].concat();
        let note =
            format!("{body}\n\u{2014} witness.example {}\n\u{2014} {ORIGIN} {}\n", STANDARD.encode([1; 72]), STANDARD.encode(signature));
        let opened = Checkpoint::open(&note, &key.public()).unwrap();
        assert_eq!((opened.size, opened.root), (7, [9; 32]));
    }

    fn signature(note: &str) -> &str {
        note.split_once("\n\n").unwrap().1
    }

    /// The example of Go's golang.org/x/mod/sumdb/note, where the format comes from.
    #[test]
    fn keys_and_signatures_are_those_of_signed_notes() {
        let seed = STANDARD.decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz").unwrap();
        let key = SigningKey::from_seed(seed[1..].try_into().unwrap()).unwrap();
        let public = STANDARD.decode("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW").unwrap();
        assert_eq!([[ED25519_NOTE].as_slice(), &key.public().0].concat(), public);
        let hash = note_hash("PeterNeumann", &key.public().0);
        assert_eq!(hex::encode(hash), "c74f20a3");
        let text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
        let signature = [hash.as_slice(), key.pair.sign(text.as_bytes()).as_ref()].concat();
        let expected = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=";
        assert_eq!(STANDARD.encode(signature), expected);
    }

    #[test]
    fn keys_survive_being_written_down() {
        let key = SigningKey::generate();
        assert_eq!(SigningKey::from_text(&key.to_text()).unwrap().public(), key.public());
        assert_eq!(PublicKey::from_text(&key.public().to_text()).unwrap(), key.public());
        assert!(PublicKey::from_text("evenkeel/audit+00000000+AQ==").is_err());
    }
}
