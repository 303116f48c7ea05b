//! Secrets from a directory: `<secrets>/<name>/<key>`, one file each, as Kubernetes mounts them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::keys::PrivateKey;
use zeroize::Zeroizing;

/// The largest secret that is read.
const MAX: u64 = 1 << 20;

/// A directory of secrets.
#[derive(Clone, Debug)]
pub struct Secrets(PathBuf);

impl Secrets {
    /// The secrets below this directory.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self(directory.into())
    }

    /// One value. The error names the file and never what is in it.
    pub fn read(&self, name: &str, key: &str) -> Result<Zeroizing<Vec<u8>>, String> {
        if !is_name(name) || !is_name(key) {
            return Err(format!("`{name}/{key}` is not the name of a secret's key"));
        }
        let path = self.0.join(name).join(key);
        read(&path).map(Zeroizing::new).map_err(|error| format!("secret {}: {error}", path.display()))
    }

    /// The private key of a secret: under `ssh-privatekey`, `identity` or `id_ed25519`, or its only file.
    pub fn private_key(&self, name: &str) -> Result<Arc<PrivateKey>, String> {
        let mut first = None;
        let only = self.only_file(name);
        for key in ["ssh-privatekey", "identity", "id_ed25519"].into_iter().chain(only.as_deref()) {
            match self.read(name, key) {
                Ok(bytes) => {
                    let text = std::str::from_utf8(&bytes).map_err(|_| format!("secret {name}/{key} is not a private key"))?;
                    return match russh::keys::decode_secret_key(text, None) {
                        Ok(key_pair) => Ok(Arc::new(key_pair)),
                        Err(russh::keys::Error::KeyIsEncrypted) => Err(format!(
                            "secret {name}/{key} is protected by a passphrase, and nobody is there to type it: give a key without one"
                        )),
                        Err(error) => Err(format!("secret {name}/{key} can't be used as a private key: {error}")),
                    };
                }
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or_default())
    }

    /// The file of a secret that has one only; public keys and what begins with a dot don't count.
    fn only_file(&self, name: &str) -> Option<String> {
        if !is_name(name) {
            return None;
        }
        let names = std::fs::read_dir(self.0.join(name)).ok()?.take(100).filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names = names.filter(|name| !name.starts_with('.') && !name.ends_with(".pub"));
        names.next().filter(|_| names.next().is_none())
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text != "." && text != ".." && !text.contains(['/', '\0'])
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let file = std::fs::File::open(path)?;
    let mut bytes = Vec::new();
    file.take(MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX {
        return Err(std::io::Error::other("larger than 1 MiB"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_never_lead_out_of_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("outside"), "x").unwrap();
        std::fs::create_dir(directory.path().join("secrets")).unwrap();
        let secrets = Secrets::new(directory.path().join("secrets"));
        for (name, key) in [("..", "outside"), ("", "outside"), ("a/..", "outside"), (".", "../outside")] {
            assert!(secrets.read(name, key).unwrap_err().contains("not the name"), "{name}/{key}");
        }
    }
}
