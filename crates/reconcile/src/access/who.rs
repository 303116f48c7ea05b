//! Who asks, and whether a subject of a Role means them.

use std::collections::BTreeSet;
use std::fmt;

use crds::Subject;

/// Who asks: a user with groups, or whoever signed a commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Who {
    /// The user's name.
    user: Option<String>,
    /// The groups that they are in.
    groups: BTreeSet<String>,
    /// The key that they sign with, as [`signer`] has it; an OpenPGP key may have a primary one beside it.
    signers: BTreeSet<String>,
}

impl Who {
    /// Reads `alice@example.com`, `group:platform` or `signer:ssh-ed25519 AAAA…`; `user:` before a name says that it is one.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let filled = |name: &str| match name.trim() {
            "" => Err(format!("{text:?}: not a subject such as alice@example.com, group:platform or signer:ssh-ed25519 AAAA…")),
            name => Ok(name.to_owned()),
        };
        if let Some(group) = text.strip_prefix("group:") {
            return Ok(Self::default().in_groups([filled(group)?]));
        }
        if let Some(key) = text.strip_prefix("signer:") {
            return Self::signing(key);
        }
        Ok(Self { user: Some(filled(text.strip_prefix("user:").unwrap_or(text))?), ..Self::default() })
    }

    /// Whoever signs with this key.
    pub fn signing(key: &str) -> Result<Self, String> {
        let key = signer(key).ok_or_else(|| format!("{key:?} is neither an SSH public key nor an OpenPGP fingerprint"))?;
        Ok(Self { signers: BTreeSet::from([key]), ..Self::default() })
    }

    /// Whoever signed a commit, by what their key is known by.
    pub fn signed(keys: &[String]) -> Self {
        Self { signers: keys.iter().filter_map(|key| signer(key)).collect(), ..Self::default() }
    }

    /// The same, in these groups too.
    #[must_use]
    pub fn in_groups(mut self, groups: impl IntoIterator<Item = String>) -> Self {
        self.groups.extend(groups);
        self
    }

    /// The groups that they are in.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().map(String::as_str)
    }

    /// Whether a subject means them.
    pub fn is(&self, subject: &Subject) -> bool {
        let Subject { user, group, signer: key } = subject;
        let is_user = user.is_some() && *user == self.user;
        let is_member = group.as_ref().is_some_and(|group| self.groups.contains(group));
        let is_signer = key.as_deref().and_then(signer).is_some_and(|key| self.signers.contains(&key));
        is_user || is_member || is_signer
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.user.iter().cloned();
        let signer = self.signers.iter().map(|key| format!("signer {key}"));
        let groups = self.groups.iter().map(|group| format!("group {group}"));
        f.write_str(&user.chain(signer).chain(groups).collect::<Vec<_>>().join(", "))
    }
}

/// A public key as it is compared: of an SSH key its type and its base64, since the comment is anybody's; of an OpenPGP key the
/// fingerprint. `None`: it is neither.
pub fn signer(text: &str) -> Option<String> {
    let mut words = text.split_whitespace();
    let first = words.next()?;
    if ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"].iter().any(|prefix| first.starts_with(prefix)) {
        let key = words.next().filter(|key| key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte)))?;
        return Some(format!("{first} {}", key.trim_end_matches('=')));
    }
    // Version 4 has 20 bytes, version 6 has 32 (RFC 9580, section 5.5.4); people write them in groups.
    let digits: String = text.split_whitespace().collect::<String>().to_ascii_uppercase();
    let digits = digits.strip_prefix("0X").unwrap_or(&digits);
    let is_one = [40, 64].contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_one.then(|| digits.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_same_whatever_is_written_around_it() {
        let key = signer("ssh-ed25519 AAAAC3Nz alice@laptop").unwrap();
        assert_eq!(signer("  ssh-ed25519   AAAAC3Nz== "), Some(key));
        assert_ne!(signer("ssh-ed25519 AAAAC3Nz"), signer("ssh-ed25519 AAAAC3NZ"), "base64 has cases");
        let fingerprint = "0123456789ABCDEF0123456789ABCDEF01234567";
        for same in ["0x0123456789abcdef0123456789abcdef01234567", "0123 4567 89AB CDEF 0123  4567 89AB CDEF 0123 4567"] {
            assert_eq!(signer(same).as_deref(), Some(fingerprint), "{same}");
        }
        for none in ["", "ssh-ed25519", "ssh-ed25519 AA!A", "alice", "0123456789ABCDEF", &"Z".repeat(40)] {
            assert_eq!(signer(none), None, "{none}");
        }
    }

    #[test]
    fn nobody_is_somebody_by_having_no_name() {
        let nobody = Who::default();
        assert!(!nobody.is(&Subject::default()));
        assert!(!Who::parse("alice").unwrap().is(&Subject::default()));
        let signer = Subject { signer: Some("not a key".into()), ..Subject::default() };
        assert!(!nobody.is(&signer), "two that are no keys are not the same key");
        for wrong in ["", " ", "group:", "signer:", "user: ", "signer:alice"] {
            assert!(Who::parse(wrong).is_err(), "{wrong:?}");
        }
        // A user who is called as a group is none.
        assert!(!Who::parse("user:platform").unwrap().is(&Subject { group: Some("platform".into()), ..Subject::default() }));
    }
}
