//! Passwords: what one may be, and hashing them by argon2id without letting a flood of them take the memory.

use std::sync::Arc;
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash};
use serde::{Deserialize, Deserializer};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

/// The least length: NIST SP 800-63B asks for 8 beside a second factor, and for 15 alone; there is lockout here, so 12.
pub(crate) const MIN: usize = 12;
/// The greatest length in characters, so that no time is spent on a megabyte.
const MAX: usize = 256;
/// A password has so many different characters at least.
const DIFFERENT: usize = 5;
/// Hashed at a time: each takes 19 MiB and a processor for some 30 ms.
const AT_A_TIME: usize = 2;
/// Further ones that wait for their turn; more are turned away.
const WAITING: usize = 64;
/// The longest wait: who waits for longer has gone away.
const PATIENCE: Duration = Duration::from_secs(10);
/// What the password of somebody is compared with who is not there: the same work for nothing.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A password as it was sent: it is in no message, and wiped when it is done with.
pub(crate) struct Password(Zeroizing<String>);

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

impl From<&str> for Password {
    fn from(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }
}

impl Password {
    /// As it was sent.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether somebody of this name may have it; if not, why.
    pub(crate) fn suits(&self, name: &str) -> Result<(), String> {
        let length = self.0.chars().count();
        if length < MIN {
            return Err(format!("a password has at least {MIN} characters"));
        }
        if length > MAX {
            return Err(format!("a password has at most {MAX} characters"));
        }
        let lower = self.0.to_lowercase();
        let own = name.split('@').next().unwrap_or(name);
        if own.len() >= 3 && lower.contains(&own.to_lowercase()) || lower.contains("evenkeel") {
            return Err("a password contains neither the user's name nor ours".into());
        }
        if lower.chars().collect::<std::collections::BTreeSet<_>>().len() < DIFFERENT {
            return Err(format!("a password has at least {DIFFERENT} different characters"));
        }
        Ok(())
    }
}

/// Why nothing was hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Busy;

/// Hashes passwords, a few at a time. By OWASP's recommendation: argon2id, 19 MiB, 2 passes, 1 lane.
pub(crate) struct Hashing {
    turns: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Default for Hashing {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(AT_A_TIME)), waiting: Arc::new(Semaphore::new(WAITING)) }
    }
}

impl Hashing {
    /// The hash of a password, as a PHC string.
    pub(crate) async fn hash(&self, password: Password) -> Result<String, Busy> {
        self.work(move || {
            let hash: Result<PasswordHash, _> = Argon2::default().hash_password(password.0.as_bytes());
            hash.map(|hash| hash.to_string()).ok()
        })
        .await?
        .ok_or(Busy)
    }

    /// Whether a password is the one of this hash. Without a hash it never is, and takes as long.
    pub(crate) async fn is(&self, password: Password, hash: Option<String>) -> Result<bool, Busy> {
        self.work(move || {
            let is_there = hash.is_some();
            let hash = hash.unwrap_or_else(|| NOBODY.to_owned());
            let parsed = PasswordHash::new(&hash);
            let same = parsed.is_ok_and(|hash| Argon2::default().verify_password(password.0.as_bytes(), &hash).is_ok());
            same && is_there
        })
        .await
    }

    async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Busy> {
        let _waiting = self.waiting.clone().try_acquire_owned().map_err(|_| Busy)?;
        let turn = tokio::time::timeout(PATIENCE, self.turns.clone().acquire_owned()).await;
        let turn = turn.map_err(|_| Busy)?.map_err(|_| Busy)?;
        // The turn goes with the work: it ends when the work does, also if whoever asked has gone away.
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        done.await.map_err(|_| Busy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_password_may_be() {
        for (password, name, part) in [
            ("short", "alice", "at least 12"),
            ("alice-in-wonderland", "alice", "name"),
            ("ALICE-in-wonderland", "alice@example.com", "name"),
            ("evenkeel-evenkeel", "bob", "ours"),
            ("abababababababab", "bob", "different"),
            (&"0123456789".repeat(30), "bob", "at most"),
        ] {
            let refused = Password::from(password).suits(name).unwrap_err();
            assert!(refused.contains(part) && !refused.contains(password), "{password}: {refused}");
        }
        for (password, name) in [("correct horse battery", "alice"), ("пароль длинный очень", "bob"), ("twelve-chars", "me")]
        {
            Password::from(password).suits(name).unwrap();
        }
    }

    #[tokio::test]
    async fn a_password_is_told_from_others_and_nobody_has_one() {
        let hashing = Hashing::default();
        let hash = hashing.hash("correct horse".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(hash, hashing.hash("correct horse".into()).await.unwrap(), "each has its own salt");
        assert!(hashing.is("correct horse".into(), Some(hash.clone())).await.unwrap());
        assert!(!hashing.is("correct hors".into(), Some(hash.clone())).await.unwrap());
        // The work is done where nobody is there, with the same parameters.
        assert!(!hashing.is("correct horse".into(), None).await.unwrap());
        assert!(hash.starts_with(&NOBODY[..NOBODY.len() - 66]), "{hash}");
        let nobody = PasswordHash::new(NOBODY).unwrap();
        assert_eq!(Argon2::default().verify_password(b"x", &nobody), Err(argon2::password_hash::Error::PasswordInvalid));
    }

    #[tokio::test]
    async fn a_flood_is_turned_away() {
        let hashing = Hashing::default();
        let all = futures::future::join_all((0..200).map(|_| hashing.work(|| std::thread::sleep(Duration::from_millis(1))))).await;
        let done = all.iter().filter(|done| done.is_ok()).count();
        assert_eq!((done, all.len() - done), (WAITING, 200 - WAITING));
    }
}
