//! Signatures of commits: SSH (`ssh-keygen -Y sign -n git`, PROTOCOL.sshsig of OpenSSH), and OpenPGP.

#[cfg_attr(not(feature = "openpgp"), path = "verify/without_openpgp.rs")]
mod openpgp;

use std::path::Path;

use git2::{Commit, Repository};
use russh::keys::ssh_key::{HashAlg, PublicKey, SshSig};

/// Files in one directory of keys.
const MAX_FILES: usize = 1000;
/// Bytes of one of them.
const MAX_FILE: u64 = 1 << 20;

/// The keys whose signatures are accepted.
#[derive(Debug, Default)]
pub struct Keys {
    ssh: Vec<PublicKey>,
    openpgp: Vec<openpgp::Certificate>,
}

/// Whoever signed a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// For people.
    pub who: String,
    /// The key, as a Role names it: of SSH the public key, of OpenPGP the fingerprints of the key that signed and of its primary key.
    pub keys: Vec<String>,
    /// The commit.
    pub commit: String,
}

/// Whose signature it is.
struct Verified {
    who: String,
    keys: Vec<String>,
}

/// The time at which a key has to hold.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "openpgp"), allow(dead_code, reason = "SSH keys don't expire"))]
pub(crate) enum Judged {
    /// In seconds since 1970: for what comes in force.
    Now(u64),
    /// For what was in force before: a key that has expired since does not take it back.
    WhenSigned,
}

impl Keys {
    /// Reads a directory: `*.pub` and `*.sshpub` with OpenSSH public keys, one a line; `*.asc` and `*.gpg` with OpenPGP public keys.
    pub fn load(directory: &Path) -> Result<Self, String> {
        let wrong = |error: std::io::Error| format!("{}: {error}", directory.display());
        let mut keys = Self::default();
        let mut found = 0;
        for entry in std::fs::read_dir(directory).map_err(wrong)?.take(MAX_FILES) {
            let path = entry.map_err(wrong)?.path();
            let added = match path.extension().and_then(|suffix| suffix.to_str()) {
                Some("pub" | "sshpub") => read(&path).and_then(|bytes| keys.add_ssh(&bytes)),
                Some("asc" | "gpg") => read(&path).and_then(|bytes| keys.add_openpgp(&bytes)),
                _ => continue,
            };
            found += added.map_err(|error| format!("{}: {error}", path.display()))?;
        }
        match found {
            0 => Err(format!("{}: there is no public key (*.pub, *.asc, *.gpg)", directory.display())),
            _ => Ok(keys),
        }
    }

    pub(crate) fn add_ssh(&mut self, bytes: &[u8]) -> Result<usize, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "not text".to_owned())?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let before = self.ssh.len();
        for line in lines {
            self.ssh.push(PublicKey::from_openssh(line).map_err(|error| format!("not an OpenSSH public key: {error}"))?);
        }
        Ok(self.ssh.len() - before)
    }

    fn add_openpgp(&mut self, bytes: &[u8]) -> Result<usize, String> {
        let before = self.openpgp.len();
        self.openpgp.extend(openpgp::load(bytes)?);
        Ok(self.openpgp.len() - before)
    }

    fn verify(&self, signature: &str, signed: &[u8], judged: Judged) -> Result<Verified, String> {
        if signature.contains("BEGIN SSH SIGNATURE") {
            ssh(&self.ssh, signature, signed)
        } else if signature.contains("BEGIN PGP") {
            openpgp::verify(&self.openpgp, signature, signed, judged)
        } else {
            Err("its signature is of a kind that is not known: neither SSH nor OpenPGP".into())
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MAX_FILE { Err("larger than 1 MiB".into()) } else { Ok(bytes) }
}

/// Who signed the commit, if it is one of the keys; else what is wrong with its signature.
pub(crate) fn commit(repository: &Repository, commit: &Commit<'_>, keys: &Keys, judged: Judged) -> Result<Signer, String> {
    let author = commit.author().email().unwrap_or("?").chars().filter(|c| !c.is_control()).take(100).collect::<String>();
    let verified = match repository.extract_signature(&commit.id(), None) {
        Ok((signature, signed)) => match std::str::from_utf8(&signature) {
            Ok(signature) => keys.verify(signature, &signed, judged),
            Err(_) => Err("its signature is not text".into()),
        },
        Err(_) => Err("it is not signed".into()),
    };
    match verified {
        Ok(Verified { who, keys }) => Ok(Signer { who, keys, commit: commit.id().to_string() }),
        Err(reason) => Err(format!("{reason} (author {author})")),
    }
}

fn ssh(keys: &[PublicKey], signature: &str, signed: &[u8]) -> Result<Verified, String> {
    let signature = SshSig::from_pem(signature).map_err(|error| format!("its SSH signature can't be read: {error}"))?;
    let fingerprint = PublicKey::from(signature.public_key().clone()).fingerprint(HashAlg::Sha256).to_string();
    let Some(key) = keys.iter().find(|key| key.key_data() == signature.public_key()) else {
        return Err(format!("it is signed by the unknown key {fingerprint}"));
    };
    let who = format!("{} {fingerprint}", key.comment().to_string().chars().filter(|c| !c.is_control()).take(100).collect::<String>());
    let who = who.trim();
    if signature.namespace() != "git" {
        return Err(format!("the signature by {who} is not one of a commit"));
    }
    key.verify("git", signed, &signature)
        .map_err(|_| format!("the signature by {who} is wrong: the commit was changed after it was signed"))?;
    let openssh = PublicKey::from(signature.public_key().clone()).to_openssh().map_err(|error| format!("the key of {who}: {error}"))?;
    Ok(Verified { who: who.to_owned(), keys: vec![openssh] })
}
