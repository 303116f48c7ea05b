//! Secrets: from a directory, `<secrets>/<name>/<key>`, one file each, as Kubernetes mounts them; or from wherever a [`SecretSource`] has
//! them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::BoxFuture;
use reconcile::Name;
use russh::keys::PrivateKey;
use zeroize::Zeroizing;

/// The largest secret that is read.
const MAX: u64 = 1 << 20;

/// Keys of one secret that are read.
const KEYS: usize = 100;

/// The values of one secret, by key.
pub type Secret = BTreeMap<String, Zeroizing<Vec<u8>>>;

/// Has secrets by namespace and name.
pub trait SecretSource: Send + Sync {
    /// One secret as it is now. The error says why it can't be had, and never what is in it.
    fn secret<'a>(&'a self, namespace: &'a str, name: &'a str) -> BoxFuture<'a, Result<Arc<Secret>, String>>;
    /// The same, of one that says itself that it is for receivers of notifications; of another one an error that says what to do.
    fn for_receiver<'a>(&'a self, namespace: &'a str, name: &'a str) -> BoxFuture<'a, Result<Arc<Secret>, String>>;
    /// Waits until secrets are otherwise than at the change of this number, and tells which, with the number to go on from.
    fn changed(&self, after: u64) -> BoxFuture<'_, (u64, Vec<Name>)>;
}

/// Where secrets are read.
#[derive(Clone)]
pub struct Secrets(Place);

#[derive(Clone)]
enum Place {
    /// The namespace does not matter.
    Directory(PathBuf),
    Source(Arc<dyn SecretSource>),
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Directory(path) => f.debug_tuple("Secrets").field(path).finish(),
            Place::Source(_) => f.write_str("Secrets(..)"),
        }
    }
}

impl Secrets {
    /// The secrets below this directory.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self(Place::Directory(directory.into()))
    }

    /// The secrets that this has.
    pub fn from_source(source: Arc<dyn SecretSource>) -> Self {
        Self(Place::Source(source))
    }

    /// One value. The error names the secret and never what is in it.
    pub async fn read(&self, namespace: &str, name: &str, key: &str) -> Result<Zeroizing<Vec<u8>>, String> {
        if !is_name(name) || !is_name(key) {
            return Err(format!("`{name}/{key}` is not the name of a secret's key"));
        }
        match &self.0 {
            Place::Directory(directory) => {
                let path = directory.join(name).join(key);
                read(&path).map(Zeroizing::new).map_err(|error| format!("secret {}: {error}", path.display()))
            }
            Place::Source(source) => {
                let secret = source.secret(namespace, name).await?;
                secret.get(key).cloned().ok_or_else(|| format!("secret {namespace}/{name} has no key {key}"))
            }
        }
    }

    /// All values of a secret that a receiver of notifications needs. Whoever writes a Receiver chooses where they go, so a source has only
    /// those that say themselves that they are for that. The error names the secret and never what is in it.
    pub async fn for_receiver(&self, namespace: &str, name: &str) -> Result<Secret, String> {
        if !is_name(name) {
            return Err(format!("`{name}` is not the name of a secret"));
        }
        let directory = match &self.0 {
            Place::Directory(directory) => directory.join(name),
            Place::Source(source) => return Ok((*source.for_receiver(namespace, name).await?).clone()),
        };
        let entries = std::fs::read_dir(&directory).map_err(|error| format!("secret {}: {error}", directory.display()))?;
        let mut values = Secret::new();
        // A Secret that is mounted has links and folders beside its keys, which begin with two dots.
        for entry in entries.flatten().take(KEYS).filter(|entry| entry.path().is_file()) {
            let Ok(key) = entry.file_name().into_string() else { continue };
            let value = read(&entry.path()).map_err(|error| format!("secret {}: {error}", entry.path().display()))?;
            values.insert(key, Zeroizing::new(value));
        }
        Ok(values)
    }

    /// Waits until secrets that were read are otherwise than at the change of this number, and tells which, with the number to go on from; of
    /// files that is not known.
    pub async fn changed(&self, after: u64) -> (u64, Vec<Name>) {
        match &self.0 {
            Place::Directory(_) => std::future::pending().await,
            Place::Source(source) => source.changed(after).await,
        }
    }

    /// The private key of a secret: under `ssh-privatekey`, `identity` or `id_ed25519`, or its only value.
    pub async fn private_key(&self, namespace: &str, name: &str) -> Result<Arc<PrivateKey>, String> {
        let mut first = None;
        let only = self.only_key(namespace, name).await;
        for key in ["ssh-privatekey", "identity", "id_ed25519"].into_iter().chain(only.as_deref()) {
            match self.read(namespace, name, key).await {
                Ok(bytes) => return parse(name, key, &bytes),
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or_default())
    }

    /// The key of a secret that has one only; public keys and what begins with a dot don't count.
    async fn only_key(&self, namespace: &str, name: &str) -> Option<String> {
        if !is_name(name) {
            return None;
        }
        let names: Vec<String> = match &self.0 {
            Place::Directory(directory) => {
                let entries = std::fs::read_dir(directory.join(name)).ok()?.take(100);
                entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
            }
            Place::Source(source) => source.secret(namespace, name).await.ok()?.keys().take(100).cloned().collect(),
        };
        let mut names = names.into_iter().filter(|name| !name.starts_with('.') && !name.ends_with(".pub"));
        names.next().filter(|_| names.next().is_none())
    }
}

fn parse(name: &str, key: &str, bytes: &[u8]) -> Result<Arc<PrivateKey>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| format!("secret {name}/{key} is not a private key"))?;
    match russh::keys::decode_secret_key(text, None) {
        Ok(key_pair) => Ok(Arc::new(key_pair)),
        Err(russh::keys::Error::KeyIsEncrypted) => {
            Err(format!("secret {name}/{key} is protected by a passphrase, and nobody is there to type it: give a key without one"))
        }
        Err(error) => Err(format!("secret {name}/{key} can't be used as a private key: {error}")),
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

    #[tokio::test]
    async fn a_whole_secret_is_its_files() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("mail/..data")).unwrap();
        std::fs::write(directory.path().join("mail/username"), "keel").unwrap();
        std::fs::write(directory.path().join("mail/password"), "hush").unwrap();
        let secrets = Secrets::new(directory.path());
        let whole = secrets.for_receiver("default", "mail").await.unwrap();
        assert_eq!(whole.keys().collect::<Vec<_>>(), ["password", "username"]);
        assert_eq!(**whole["password"], *b"hush");
        assert!(secrets.for_receiver("default", "..").await.unwrap_err().contains("not the name"));
        assert!(secrets.for_receiver("default", "gone").await.unwrap_err().contains("gone"));
    }

    #[tokio::test]
    async fn names_never_lead_out_of_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("outside"), "x").unwrap();
        std::fs::create_dir(directory.path().join("secrets")).unwrap();
        let secrets = Secrets::new(directory.path().join("secrets"));
        for (name, key) in [("..", "outside"), ("", "outside"), ("a/..", "outside"), (".", "../outside")] {
            assert!(secrets.read("default", name, key).await.unwrap_err().contains("not the name"), "{name}/{key}");
        }
    }

    struct One(Arc<Secret>);

    impl SecretSource for One {
        fn secret<'a>(&'a self, namespace: &'a str, name: &'a str) -> BoxFuture<'a, Result<Arc<Secret>, String>> {
            let found = (namespace, name) == ("ours", "db");
            Box::pin(async move { if found { Ok(self.0.clone()) } else { Err(format!("there is no secret {namespace}/{name}")) } })
        }

        fn for_receiver<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<Arc<Secret>, String>> {
            Box::pin(async { Err("it is not for receivers".to_owned()) })
        }

        fn changed(&self, _: u64) -> BoxFuture<'_, (u64, Vec<Name>)> {
            Box::pin(std::future::pending())
        }
    }

    #[tokio::test]
    async fn another_source_is_asked_by_namespace() {
        let values = [("password".to_owned(), Zeroizing::new(b"hush".to_vec()))];
        let secrets = Secrets::from_source(Arc::new(One(Arc::new(values.into()))));
        assert_eq!(secrets.read("ours", "db", "password").await.unwrap().as_slice(), b"hush");
        assert_eq!(secrets.read("ours", "db", "user").await.unwrap_err(), "secret ours/db has no key user");
        assert_eq!(secrets.read("theirs", "db", "password").await.unwrap_err(), "there is no secret theirs/db");
        assert_eq!(
            secrets.for_receiver("ours", "db").await.unwrap_err(),
            "it is not for receivers",
            "what devices need is not what receivers may have"
        );
        // Its only value is tried as a key, and what is wrong with it does not say what it is.
        let error = secrets.private_key("ours", "db").await.unwrap_err();
        assert!(error.starts_with("secret db/password can't be used as a private key") && !error.contains("hush"), "{error}");
        assert!(!format!("{secrets:?}").contains("hush"));
    }
}
