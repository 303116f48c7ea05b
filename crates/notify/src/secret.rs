//! The values of a Receiver's Secret, which the caller has read.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::digest;
use zeroize::Zeroizing;

use crate::error::{Category, Error};

/// The shortest value that is looked for in what a server said, to keep it out of messages: shorter ones are in everything.
const NOTEWORTHY: usize = 4;

/// The values of one Secret, by key.
#[derive(Clone, Default)]
pub struct Secret(BTreeMap<String, Zeroizing<Vec<u8>>>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl From<BTreeMap<String, Zeroizing<Vec<u8>>>> for Secret {
    fn from(values: BTreeMap<String, Zeroizing<Vec<u8>>>) -> Self {
        Self(values)
    }
}

impl Secret {
    /// A value's bytes.
    pub(crate) fn bytes(&self, key: &str) -> Option<&[u8]> {
        self.0.get(key).map(|value| value.as_slice())
    }

    /// A value as text in one line, without the line end that files have.
    pub(crate) fn text(&self, key: &str) -> Result<Option<&str>, Error> {
        let Some(bytes) = self.bytes(key) else { return Ok(None) };
        let text = std::str::from_utf8(bytes).ok().map(str::trim).filter(|text| !text.chars().any(char::is_control));
        text.map(Some).ok_or_else(|| Error::new(Category::Secret, format!("the secret's `{key}` is not text in one line")))
    }

    /// A value that must be there.
    pub(crate) fn needed(&self, key: &str) -> Result<&str, Error> {
        self.text(key)?.filter(|text| !text.is_empty()).ok_or_else(|| Error::new(Category::Secret, format!("the secret has no `{key}`")))
    }

    /// All values that are text, by key.
    pub(crate) fn texts(&self) -> BTreeMap<&str, &str> {
        self.0.keys().filter_map(|key| Some((key.as_str(), self.text(key).ok().flatten()?))).collect()
    }

    /// Something that is another one when any value is.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        let mut context = digest::Context::new(&digest::SHA256);
        for (key, value) in &self.0 {
            for part in [key.as_bytes(), value] {
                context.update(&(part.len() as u64).to_be_bytes());
                context.update(part);
            }
        }
        context.finish().as_ref().try_into().unwrap_or_default()
    }

    /// A server's own words without our secrets in them, should it repeat them.
    pub(crate) fn taken_out_of(&self, said: &str) -> String {
        let mut said = said.to_owned();
        for text in self.texts().into_values().flat_map(str::lines).filter(|text| text.len() >= NOTEWORTHY) {
            said = said.replace(text, "***");
        }
        said
    }
}

#[cfg(test)]
pub(crate) fn secret<const N: usize>(values: [(&str, &str); N]) -> Secret {
    Secret(values.into_iter().map(|(key, value)| (key.to_owned(), Zeroizing::new(value.as_bytes().to_vec()))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_it_is_shown() {
        let values = secret([("password", "hunter22\n"), ("pin", "1"), ("two", "a\r\nb")]);
        assert_eq!(format!("{values:?}"), "Secret(..)");
        assert_eq!(values.needed("password").unwrap(), "hunter22");
        assert_eq!(values.taken_out_of("no such user hunter22, 1"), "no such user ***, 1");
        let error = values.needed("two").unwrap_err().to_string();
        assert_eq!(error, "the secret's `two` is not text in one line");
        assert_eq!(values.needed("user").unwrap_err().category, Category::Secret);
        assert_ne!(values.fingerprint(), secret([("password", "hunter22")]).fingerprint());
    }
}
