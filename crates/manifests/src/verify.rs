//! Signatures of commits: SSH (`ssh-keygen -Y sign -n git`, PROTOCOL.sshsig of OpenSSH).

use std::path::Path;

use git2::{Commit, Repository};
use russh::keys::ssh_key::{HashAlg, PublicKey, SshSig};

/// Keys in one directory.
const MAX_KEYS: usize = 1000;

/// The keys whose signatures are accepted.
#[derive(Debug)]
pub struct Keys {
    ssh: Vec<PublicKey>,
}

impl Keys {
    /// Reads `*.pub` and `*.sshpub` of a directory, one OpenSSH public key a line.
    pub fn load(directory: &Path) -> Result<Self, String> {
        let wrong = |error: std::io::Error| format!("{}: {error}", directory.display());
        let mut ssh = Vec::new();
        for entry in std::fs::read_dir(directory).map_err(wrong)?.take(MAX_KEYS) {
            let path = entry.map_err(wrong)?.path();
            match path.extension().and_then(|suffix| suffix.to_str()) {
                Some("pub" | "sshpub") => {}
                Some("asc" | "gpg") => {
                    return Err(format!(
                        "{}: OpenPGP keys can't be used by this version; sign with SSH keys (gpg.format = ssh)",
                        path.display()
                    ));
                }
                _ => continue,
            }
            let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
                ssh.push(PublicKey::from_openssh(line).map_err(|error| format!("{}: {error}", path.display()))?);
            }
        }
        if ssh.is_empty() {
            return Err(format!("{}: there is no public key (*.pub)", directory.display()));
        }
        Ok(Self { ssh })
    }
}

/// Who signed the commit, if it is one of the keys; else what is wrong with its signature.
pub(crate) fn head(repository: &Repository, commit: &Commit<'_>, keys: &Keys) -> Result<String, String> {
    let author = commit.author().email().unwrap_or("?").chars().filter(|c| !c.is_control()).take(100).collect::<String>();
    let (signature, signed) =
        repository.extract_signature(&commit.id(), None).map_err(|_| format!("it is not signed (author {author})"))?;
    let signature = std::str::from_utf8(&signature).map_err(|_| format!("its signature is not text (author {author})"))?;
    if signature.contains("BEGIN PGP") {
        return Err(format!("it is signed with OpenPGP, which this version can't verify (author {author})"));
    }
    let signature = SshSig::from_pem(signature).map_err(|error| format!("its signature can't be read: {error} (author {author})"))?;
    let fingerprint = PublicKey::from(signature.public_key().clone()).fingerprint(HashAlg::Sha256).to_string();
    let Some(key) = keys.ssh.iter().find(|key| key.key_data() == signature.public_key()) else {
        return Err(format!("it is signed by the unknown key {fingerprint} (author {author})"));
    };
    key.verify("git", &signed, &signature)
        .map_err(|_| format!("the signature by {fingerprint} is wrong: it was changed after it was signed (author {author})"))?;
    Ok(format!("{} {fingerprint}", key.comment()).trim().to_owned())
}
