//! Values as SOPS writes them: `ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]`, AES-256-GCM with nonces of 32 bytes.

use aes_gcm::aead::{AeadInOut as _, KeyInit as _};
use aes_gcm::aes::Aes256;
use aes_gcm::aes::cipher::consts::U32;
use aes_gcm::{AesGcm, Nonce, Tag};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Number, Value};
use zeroize::Zeroizing;

use super::Error;

/// What was wrong need not be told apart: who could tell would learn from it.
pub(super) struct Wrong;

/// One data key.
pub(super) struct Cipher(AesGcm<Aes256, U32>);

impl Cipher {
    pub(super) fn new(key: &[u8]) -> Result<Self, Error> {
        AesGcm::new_from_slice(key).map(Self).map_err(|_| Error::Format("its data key does not have 32 bytes"))
    }

    /// A value in the type that it had.
    pub(super) fn value(&self, text: &str, path: &str) -> Result<Value, Wrong> {
        let (plain, kind) = self.typed(text, path)?;
        match kind {
            "str" | "bytes" | "time" => Ok(Value::String(plain.to_string())),
            "int" => plain.parse::<i64>().map(Value::from).map_err(|_| Wrong),
            "float" => plain.parse::<f64>().ok().and_then(Number::from_f64).map(Value::Number).ok_or(Wrong),
            "bool" => match plain.as_str() {
                "True" | "true" => Ok(Value::Bool(true)),
                "False" | "false" => Ok(Value::Bool(false)),
                _ => Err(Wrong),
            },
            _ => Err(Wrong),
        }
    }

    /// A value that is text.
    pub(super) fn open(&self, text: &str, additional: &str) -> Result<Zeroizing<String>, Wrong> {
        self.typed(text, additional).map(|(plain, _)| plain)
    }

    fn typed<'a>(&self, text: &'a str, additional: &str) -> Result<(Zeroizing<String>, &'a str), Wrong> {
        let inner = text.strip_prefix("ENC[AES256_GCM,").and_then(|text| text.strip_suffix(']')).ok_or(Wrong)?;
        let mut parts = inner.split(',');
        let mut part = |name: &str| parts.next().and_then(|part| part.strip_prefix(name)).ok_or(Wrong);
        let (data, iv, tag, kind) = (part("data:")?, part("iv:")?, part("tag:")?, part("type:")?);
        if parts.next().is_some() {
            return Err(Wrong);
        }
        let decode = |text: &str| STANDARD.decode(text).map_err(|_| Wrong);
        let nonce: Nonce<U32> = decode(iv)?.as_slice().try_into().map_err(|_| Wrong)?;
        let tag: Tag = decode(tag)?.as_slice().try_into().map_err(|_| Wrong)?;
        let mut data = Zeroizing::new(decode(data)?);
        self.0.decrypt_inout_detached(&nonce, additional.as_bytes(), data.as_mut_slice().into(), &tag).map_err(|_| Wrong)?;
        let plain = std::str::from_utf8(&data).map_err(|_| Wrong)?;
        Ok((Zeroizing::new(plain.to_owned()), kind))
    }
}
