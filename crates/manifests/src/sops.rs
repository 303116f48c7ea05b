//! Documents that [SOPS](https://github.com/getsops/sops) has encrypted for age keys, decrypted: whole or not at all.
//!
//! A random data key, encrypted for each recipient, encrypts each value by itself; its path is authenticated with it. A MAC over all values
//! in their order is encrypted too, and nothing is given before that holds. No error says what is in a document.

mod cipher;
mod rules;

use std::io::Read as _;

use serde_json::Value;
use sha2::{Digest as _, Sha512};
use zeroize::{Zeroize as _, Zeroizing};

use crate::yaml::{Node, Tree};
use cipher::Cipher;
use rules::Rules;

/// The field of a document that says how it is encrypted.
pub const FIELD: &str = "sops";
/// Values in one file: no more than a Secret can hold has so many.
pub const MAX_LEAVES: usize = 10_000;
/// Recipients of one file.
const MAX_RECIPIENTS: usize = 50;
/// Bytes of a data key as it is encrypted for a recipient; it has about 400, and each 150 more cost another try of every identity.
const MAX_ENCRYPTED_KEY: usize = 2 << 10;
/// Bytes of the keys that lead to a value.
const MAX_PATH: usize = 4096;
/// Age identities that are tried.
const MAX_IDENTITIES: usize = 20;
/// What the MAC begins with where only encrypted values count: the SHA-256 of `sops`.
const ONLY_ENCRYPTED: [u8; 32] = [
    0x8a, 0x3f, 0xd2, 0xad, 0x54, 0xce, 0x66, 0x52, 0x7b, 0x10, 0x34, 0xf3, 0xd1, 0x47, 0xbe, 0x0b, 0x0b, 0x97, 0x5b, 0x3b, 0xf4, 0x4f,
    0x72, 0xc6, 0xfd, 0xad, 0xec, 0x81, 0x76, 0xf2, 0x7d, 0x69,
];

/// Why a file can't be decrypted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// What `sops` says is not what this can read.
    #[error("{0}")]
    Format(&'static str),
    /// There are keys, but it was encrypted for others.
    #[error("none of the age keys given is one that it was encrypted for")]
    NoKey,
    /// Something of it was changed since.
    #[error("`{0}` was changed since it was encrypted, or moved from elsewhere")]
    Value(String),
    /// Something of it was changed, added, taken away or moved since.
    #[error("its MAC does not fit: values were changed, added, taken away or moved since it was encrypted")]
    Mac,
    /// A limit.
    #[error("it has more than {MAX_LEAVES} values")]
    TooMany,
}

/// The private keys that files are decrypted with.
#[derive(Default)]
pub struct Identities(Vec<age::x25519::Identity>);

impl Identities {
    /// Reads those in the keys of a Secret that end in `.agekey`: files as `age-keygen` writes them.
    pub fn read<'a>(values: impl Iterator<Item = (&'a str, &'a [u8])>) -> Result<Self, String> {
        let mut identities = Vec::new();
        for (key, bytes) in values.filter(|(key, _)| key.ends_with(".agekey")) {
            let text = std::str::from_utf8(bytes).map_err(|_| format!("key {key} is not text"))?;
            for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
                let identity = line.parse().map_err(|_| format!("key {key} is no age identity (AGE-SECRET-KEY-1…)"))?;
                identities.push(identity);
            }
        }
        match identities.len() {
            0 => Err("it has no key that ends in .agekey with an age identity in it".into()),
            count if count > MAX_IDENTITIES => Err(format!("it has {count} age identities, more than {MAX_IDENTITIES}")),
            _ => Ok(Self(identities)),
        }
    }
}

/// Whether a document says that it is encrypted.
pub fn is_encrypted(document: &Node) -> bool {
    document.get(FIELD).is_some()
}

/// Decrypts all documents of a file, which SOPS encrypts as one. Without `sops`, and with every value as it was.
pub fn decrypt(documents: &[Node], identities: &Identities) -> Result<Vec<Node>, Error> {
    let first = documents.first().and_then(|document| document.get(FIELD)).ok_or(Error::Format("it is not encrypted"))?;
    let said = first.to_value();
    if documents.iter().any(|document| document.get(FIELD).map(Node::to_value).as_ref() != Some(&said)) {
        return Err(Error::Format("a file is encrypted as a whole: each of its documents must have the same `sops`"));
    }
    let rules = Rules::read(first)?;
    let text = |field: &str| first.text(field).ok_or(Error::Format("`sops` has no `mac` or no `lastmodified`"));
    let (mac, last_modified) = (text("mac")?, text("lastmodified")?);
    let cipher = Cipher::new(&data_key(first, identities)?)?;
    let mut walk = Walk { cipher, hash: Sha512::new(), rules, leaves: 0 };
    if walk.rules.only_encrypted {
        walk.hash.update(ONLY_ENCRYPTED);
    }
    let mut opened = documents.to_vec();
    let mut result = opened.iter_mut().try_for_each(|document| walk.document(document));
    if result.is_ok() {
        let expected = walk.cipher.open(mac, last_modified).map_err(|_| Error::Mac)?;
        let found = hex::encode_upper(walk.hash.finalize());
        if expected.as_bytes() != found.as_bytes() {
            result = Err(Error::Mac);
        }
    }
    match result {
        Ok(()) => Ok(opened),
        Err(error) => {
            opened.iter_mut().for_each(wipe);
            Err(error)
        }
    }
}

/// Overwrites what was decrypted, as far as it is still where it was put.
pub fn wipe(node: &mut Node) {
    match &mut node.value {
        Tree::Scalar(Value::String(text)) => text.zeroize(),
        Tree::Scalar(_) => {}
        Tree::List(items) => items.iter_mut().for_each(wipe),
        Tree::Map(entries) => entries.iter_mut().for_each(|(_, _, node)| wipe(node)),
    }
}

/// The data key, from the first recipient that an identity opens.
fn data_key(said: &Node, identities: &Identities) -> Result<Zeroizing<Vec<u8>>, Error> {
    if said.get("key_groups").is_some() {
        return Err(Error::Format("a data key that is split into groups (`key_groups`) can't be put together here"));
    }
    let recipients = match said.get("age").map(|age| &age.value) {
        Some(Tree::List(recipients)) if !recipients.is_empty() => recipients,
        _ => return Err(Error::Format("it was not encrypted for an age key: encrypt it with `sops --age`")),
    };
    if recipients.len() > MAX_RECIPIENTS {
        return Err(Error::Format("it was encrypted for more than 50 age keys"));
    }
    for recipient in recipients {
        let encrypted = recipient.text("enc").ok_or(Error::Format("a recipient in `sops.age` has no `enc`"))?;
        if encrypted.len() > MAX_ENCRYPTED_KEY {
            return Err(Error::Format("a data key in `sops.age` is longer than 2 KiB"));
        }
        if let Some(key) = unwrap_key(encrypted, identities) {
            return Ok(key);
        }
    }
    Err(Error::NoKey)
}

fn unwrap_key(encrypted: &str, identities: &Identities) -> Option<Zeroizing<Vec<u8>>> {
    let armored = age::armor::ArmoredReader::new(encrypted.as_bytes());
    let decryptor = age::Decryptor::new_buffered(armored).ok()?;
    let reader = decryptor.decrypt(identities.0.iter().map(|identity| identity as &dyn age::Identity)).ok()?;
    // One byte more than a key has shows one that is too long.
    let mut key = Zeroizing::new(Vec::with_capacity(64));
    reader.take(33).read_to_end(&mut key).ok()?;
    Some(key)
}

/// On the way through the documents.
struct Walk {
    cipher: Cipher,
    hash: Sha512,
    rules: Rules,
    leaves: usize,
}

impl Walk {
    fn document(&mut self, document: &mut Node) -> Result<(), Error> {
        let Tree::Map(entries) = &mut document.value else { return Err(Error::Format("a document is no map")) };
        entries.retain(|(key, ..)| key != FIELD);
        self.node(document, &mut String::new(), self.rules.at_root())
    }

    /// How deep a file nests is limited where it is read.
    fn node(&mut self, node: &mut Node, path: &mut String, is_encrypted: rules::State) -> Result<(), Error> {
        match &mut node.value {
            Tree::Scalar(Value::Null) => Ok(()),
            Tree::Scalar(value) => self.leaf(value, path, self.rules.decide(is_encrypted)),
            // Items of a list have the path of the list.
            Tree::List(items) => items.iter_mut().try_for_each(|item| self.node(item, path, is_encrypted)),
            Tree::Map(entries) => {
                for (key, _, node) in entries {
                    let before = path.len();
                    path.push_str(key);
                    path.push(':');
                    if path.len() > MAX_PATH {
                        return Err(Error::Format("the keys that lead to one of its values are longer than 4096 bytes"));
                    }
                    self.node(node, path, self.rules.below(is_encrypted, key))?;
                    path.truncate(before);
                }
                Ok(())
            }
        }
    }

    fn leaf(&mut self, value: &mut Value, path: &str, is_encrypted: bool) -> Result<(), Error> {
        self.leaves += 1;
        if self.leaves > MAX_LEAVES {
            return Err(Error::TooMany);
        }
        if is_encrypted {
            let Value::String(text) = value else { return Err(Error::Value(path.trim_end_matches(':').into())) };
            // SOPS leaves empty text as it is.
            if !text.is_empty() {
                *value = self.cipher.value(text, path).map_err(|_| Error::Value(path.trim_end_matches(':').into()))?;
            }
        }
        if is_encrypted || !self.rules.only_encrypted {
            self.hash.update(as_bytes(value).as_bytes());
        }
        Ok(())
    }
}

/// A value as the MAC sees it.
fn as_bytes(value: &Value) -> Zeroizing<String> {
    Zeroizing::new(match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        // As Go writes it: no exponent, and no fraction where there is none.
        Value::Number(number) if number.is_f64() => number.as_f64().unwrap_or_default().to_string(),
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests;
