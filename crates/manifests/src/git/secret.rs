//! The credentials of a repository: a directory with one file for each key, as Kubernetes mounts them. Read at each look, so that a
//! new token counts at once.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use russh::keys::PrivateKey;
use zeroize::Zeroizing;

/// The largest value: a file of known hosts may be long.
const MAX: u64 = 1 << 20;

/// Credentials, which need not be there for a repository that everybody may read.
#[derive(Clone, Debug)]
pub(super) enum Secret {
    Folder(Option<PathBuf>),
    Held(Held),
}

/// Credentials that whoever follows the repository keeps up to date, by key: those that do not lie in a directory.
#[derive(Clone, Default)]
pub struct Held(Arc<RwLock<BTreeMap<String, Zeroizing<Vec<u8>>>>>);

impl Held {
    /// What counts from now on.
    pub fn put(&self, values: BTreeMap<String, Zeroizing<Vec<u8>>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = values;
    }

    fn text(&self, key: &str) -> Result<Option<Zeroizing<String>>, String> {
        let values = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let Some(value) = values.get(key) else { return Ok(None) };
        match std::str::from_utf8(value) {
            Ok(text) => Ok(Some(Zeroizing::new(text.to_owned()))),
            Err(_) => Err(format!("secret: {key} is not text")),
        }
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Held")
    }
}

/// How we show who we are over HTTP.
pub(super) enum Login {
    Basic(Zeroizing<String>, Zeroizing<String>),
    Bearer(Zeroizing<String>),
}

impl Secret {
    /// The text of a key; `None` if the secret does not have it. The error names the file and never what is in it.
    pub(super) fn text(&self, key: &str) -> Result<Option<Zeroizing<String>>, String> {
        let directory = match self {
            Self::Folder(None) => return Ok(None),
            Self::Folder(Some(directory)) => directory,
            Self::Held(held) => return held.text(key),
        };
        let path = directory.join(key);
        let wrong = |reason: &str| format!("secret {}: {reason}", path.display());
        let mut text = Zeroizing::new(String::new());
        match File::open(&path).map(|file| file.take(MAX + 1).read_to_string(&mut text)) {
            Ok(Ok(length)) if length as u64 <= MAX => Ok(Some(text)),
            Ok(Ok(_)) => Err(wrong("larger than 1 MiB")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && directory.is_dir() => Ok(None),
            Ok(Err(error)) | Err(error) => Err(wrong(&error.to_string())),
        }
    }

    /// The same without the line end that editors and `echo` leave.
    fn word(&self, key: &str) -> Result<Option<Zeroizing<String>>, String> {
        Ok(self.text(key)?.map(|text| Zeroizing::new(text.trim().to_owned())).filter(|text| !text.is_empty()))
    }

    /// `bearerToken`, or `token`, or `password`, with `username` if the server wants a certain one.
    pub(super) fn login(&self) -> Result<Option<Login>, String> {
        if let Some(token) = self.word("bearerToken")? {
            return Ok(Some(Login::Bearer(token)));
        }
        let password = match self.word("token")? {
            Some(token) => Some(token),
            None => self.word("password")?,
        };
        let Some(password) = password else { return Ok(None) };
        // Servers that take a token as password want some user name, and mostly don't look at it.
        let username = self.word("username")?.unwrap_or_else(|| Zeroizing::new("git".into()));
        Ok(Some(Login::Basic(username, password)))
    }

    /// `ssh-privatekey` or `identity`, with `password` as its passphrase.
    pub(super) fn private_key(&self) -> Result<Arc<PrivateKey>, String> {
        for key in ["ssh-privatekey", "identity", "id_ed25519"] {
            let Some(text) = self.text(key)? else { continue };
            let passphrase = self.word("password")?;
            let of = |reason: &str| format!("secret {}: {reason}", self.place(key));
            return match russh::keys::decode_secret_key(&text, passphrase.as_ref().map(|text| text.as_str())) {
                Ok(key_pair) => Ok(Arc::new(key_pair)),
                Err(russh::keys::Error::KeyIsEncrypted) => {
                    Err(of("it is protected by a passphrase: give that as `password`, or a key without one"))
                }
                // The parser's words may quote what it read.
                Err(_) => Err(of("not a private key that can be used (OpenSSH or PEM), or its passphrase is wrong")),
            };
        }
        Err(match self {
            Self::Folder(Some(directory)) => {
                format!("secret {} has no private key: name it `ssh-privatekey` or `identity`", directory.display())
            }
            Self::Held(_) => "the secret has no private key: name it `ssh-privatekey` or `identity`".into(),
            Self::Folder(None) => "SSH needs a private key: name a secret that holds `ssh-privatekey` and `known_hosts`".into(),
        })
    }

    /// Where a key is kept, for messages.
    pub(super) fn place(&self, key: &str) -> String {
        match self {
            Self::Folder(directory) => directory.as_deref().unwrap_or(Path::new("(none)")).join(key).display().to_string(),
            Self::Held(_) => key.to_owned(),
        }
    }
}
