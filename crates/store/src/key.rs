//! The key that signs the audit log: `audit.key` in the data directory, with `audit.pub` beside it to verify by.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use crate::Error;
use crate::audit::checkpoint::SigningKey;

/// A key file is some 45 bytes long.
const MAX_FILE: u64 = 4096;
/// Its group may read it, since that is how Kubernetes shows a Secret to who does not run as root; nobody else may do anything.
const TOO_OPEN: u32 = 0o037;

/// Reads the key, or makes it if nobody signs the log yet. `signer` is the verifier key of who does.
pub(crate) fn read(data: &Path, signer: Option<&str>) -> Result<SigningKey, Error> {
    let path = data.join("audit.key");
    let key = match fs::File::open(&path) {
        Ok(file) => load(&path, file)?,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if let Some(signer) = signer {
                return Err(Error::OtherKey { path, have: "there is no such file".into(), signer: id(signer) });
            }
            let key = SigningKey::generate();
            write(&path, 0o600, &key.to_text())?;
            key
        }
        Err(source) => return Err(Error::File { path, source }),
    };
    is_signer(data, &key, signer)?;
    publish(data, &key)?;
    Ok(key)
}

/// Only one key signs a log.
pub(crate) fn is_signer(data: &Path, key: &SigningKey, signer: Option<&str>) -> Result<(), Error> {
    let own = key.public().to_text();
    match signer {
        Some(signer) if signer != own => {
            Err(Error::OtherKey { path: data.join("audit.key"), have: format!("this is key {}", id(&own)), signer: id(signer) })
        }
        _ => Ok(()),
    }
}

/// A verifier key's name and hash: enough to tell keys apart.
fn id(verifier: &str) -> String {
    verifier.rsplit_once('+').map_or(verifier, |(id, _)| id).to_owned()
}

fn load(path: &Path, file: fs::File) -> Result<SigningKey, Error> {
    let broken = |source| Error::File { path: path.to_owned(), source };
    let mode = file.metadata().map_err(broken)?.permissions().mode() & 0o7777;
    if mode & TOO_OPEN != 0 {
        return Err(Error::KeyMode { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    file.take(MAX_FILE).read_to_string(&mut text).map_err(broken)?;
    SigningKey::from_text(&text).map_err(|source| Error::Key { path: path.to_owned(), source })
}

/// `audit.pub` follows from the key: it is written again where it is missing or says something else.
fn publish(data: &Path, key: &SigningKey) -> Result<(), Error> {
    let path = data.join("audit.pub");
    let text = format!("{}\n", key.public().to_text());
    match fs::read(&path) {
        Ok(there) if there == text.as_bytes() => Ok(()),
        Ok(_) => {
            tracing::warn!(path = %path.display(), "audit.pub was not that of audit.key, and is written again");
            write(&path, 0o644, &text)
        }
        Err(_) => write(&path, 0o644, &text),
    }
}

/// Whole or not at all: a key that is half written would be lost.
fn write(path: &Path, mode: u32, text: &str) -> Result<(), Error> {
    let beside = path.with_extension("new");
    let written = || {
        let _ = fs::remove_file(&beside);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    written().map_err(|source| Error::File { path: path.to_owned(), source })
}
