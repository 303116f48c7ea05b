//! Commits of our own: made in the cache, signed, and pushed where the repository is.
//!
//! A push names the commit that has to be there still: whoever was faster is found out, and nothing of theirs is lost.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use git2::build::TreeUpdateBuilder;
use git2::{FileMode, ObjectType, Oid, Repository, Signature, Sort, Time};
use jiff::Timestamp;
use russh::keys::PrivateKey;
use russh::keys::ssh_key::{HashAlg, LineEnding};
use tokio::time::timeout;

use super::location::Location;
use super::remote::Connection;
use super::wire::Service;
use super::{Error, Source};

/// Commits of ours that are kept in the cache although nobody has merged them.
const WRITTEN: &str = "refs/evenkeel/written";
/// Of these, so many: whoever asks what became of one does so within days.
const MAX_WRITTEN: usize = 200;
/// Bytes of a pushed pack: one file of at most a mebibyte, the folders above it, and as much again.
const MAX_PUSH: usize = 64 << 20;
/// The branch, tag or commit of a name or a message that is shown is cut to so many characters.
const MAX_SHOWN: usize = 4000;

/// Signs commits.
#[derive(Clone)]
pub struct Signing(Arc<PrivateKey>);

impl std::fmt::Debug for Signing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signing")
    }
}

impl Signing {
    /// A private key in OpenSSH's format, without a passphrase. The error never says what is in it.
    pub fn read(text: &str) -> Result<Self, String> {
        match russh::keys::decode_secret_key(text, None) {
            Ok(key) => Ok(Self(Arc::new(key))),
            Err(russh::keys::Error::KeyIsEncrypted) => Err("it is protected by a passphrase: give one without".into()),
            Err(_) => Err("not a private key that can be used (OpenSSH)".into()),
        }
    }

    /// The public key, as a line of OpenSSH.
    pub fn public(&self) -> String {
        self.0.public_key().to_openssh().unwrap_or_default()
    }

    fn sign(&self, content: &str) -> Result<String, String> {
        let signature = self.0.sign("git", HashAlg::Sha512, content.as_bytes()).map_err(|error| error.to_string())?;
        signature.to_pem(LineEnding::LF).map_err(|error| error.to_string())
    }
}

/// A commit that is to be made.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The commit that it comes after.
    pub base: String,
    /// The file, below the folder that is followed.
    pub path: String,
    /// What it says; `None`: it is gone.
    pub text: Option<String>,
    /// Who wants it.
    pub author: Author,
    /// What it says of itself.
    pub message: String,
    /// When.
    pub at: Timestamp,
}

/// Who wrote a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// Name.
    pub name: String,
    /// Address.
    pub email: String,
}

/// Why a commit was not pushed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// Somebody was faster: the branch is at another commit than the one it was to be.
    #[error("the branch was moved meanwhile")]
    Moved,
    /// The server, or its owner's rules, refuse.
    #[error("it is refused: {0}")]
    Refused(String),
    /// It can't be reached, or something is wrong with it.
    #[error(transparent)]
    Git(#[from] Error),
}

/// A commit, as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its id.
    pub commit: String,
    /// Who wrote it.
    pub author: Author,
    /// What it says of itself.
    pub message: String,
    /// When it was written, by its author.
    pub at: Timestamp,
    /// Whether another commit contains it.
    pub is_in: bool,
}

impl Source {
    /// Makes a commit, in the cache only. Its author is a person, its committer the engine.
    pub async fn write(&self, draft: Draft, signing: Option<Signing>) -> Result<String, Error> {
        self.blocking(move |source| {
            let repository = source.0.cache.open()?;
            let id = source.commit_of(&repository, &draft, signing.as_ref())?;
            let failed = |error: git2::Error| source.0.cache.damaged(&error);
            repository.reference(&format!("{WRITTEN}/{:020}-{id}", draft.at.as_second().max(0)), id, true, "written").map_err(failed)?;
            let mut kept: Vec<String> = Vec::new();
            for reference in repository.references_glob(&format!("{WRITTEN}/*")).map_err(failed)? {
                kept.push(reference.map_err(failed)?.name().unwrap_or_default().to_owned());
            }
            kept.sort();
            for name in kept.iter().take(kept.len().saturating_sub(MAX_WRITTEN)) {
                repository.find_reference(name).and_then(|mut reference| reference.delete()).map_err(failed)?;
            }
            Ok(id.to_string())
        })
        .await
    }

    /// The commits that were made here last.
    pub(super) fn made_here(&self, repository: &Repository) -> Result<BTreeSet<Oid>, Error> {
        let damaged = |error: git2::Error| self.0.cache.damaged(&error);
        let references = repository.references_glob(&format!("{WRITTEN}/*")).map_err(damaged)?;
        references
            .map(|reference| reference.map(|reference| reference.target()))
            .filter_map(Result::transpose)
            .map(|id| id.map_err(damaged))
            .collect()
    }

    fn commit_of(&self, repository: &Repository, draft: &Draft, signing: Option<&Signing>) -> Result<Oid, Error> {
        let damaged = |error: git2::Error| self.0.cache.damaged(&error);
        let unusable = |reason: String| Error::Unusable { what: "commit to be made", reason };
        let base = Oid::from_str(&draft.base).ok().and_then(|id| repository.find_commit(id).ok());
        let base = base.ok_or_else(|| Error::NotCached(draft.base.clone()))?;
        let tree = base.tree().map_err(damaged)?;
        let path = if self.path().is_empty() { draft.path.clone() } else { format!("{}/{}", self.path(), draft.path) };
        if !is_below(&path) {
            return Err(unusable("its path leads out of the repository".into()));
        }
        let entry = tree.get_path(Path::new(&path)).ok();
        // A link would be written to where it leads on somebody's machine.
        if entry.as_ref().is_some_and(|entry| entry.kind() != Some(ObjectType::Blob) || entry.filemode() == i32::from(FileMode::Link)) {
            return Err(unusable(format!("{path} is not a plain file there")));
        }
        let mode = if entry.is_some_and(|entry| entry.filemode() == i32::from(FileMode::BlobExecutable)) {
            FileMode::BlobExecutable
        } else {
            FileMode::Blob
        };
        let mut update = TreeUpdateBuilder::new();
        match &draft.text {
            Some(text) => update.upsert(path.as_str(), repository.blob(text.as_bytes()).map_err(damaged)?, mode),
            None => update.remove(path.as_str()),
        };
        let tree = update.create_updated(repository, &tree).map_err(|error| unusable(format!("{path}: {}", error.message())))?;
        let tree = repository.find_tree(tree).map_err(damaged)?;
        let at = Time::new(draft.at.as_second(), 0);
        let author = Signature::new(&plain(&draft.author.name), &plain(&draft.author.email), &at);
        let author = author.map_err(|error| unusable(error.message().to_owned()))?;
        let committer = Signature::new("Evenkeel", "evenkeel@localhost", &at).map_err(|error| unusable(error.message().to_owned()))?;
        let content = repository.commit_create_buffer(&author, &committer, &draft.message, &tree, &[&base]).map_err(damaged)?;
        let content = std::str::from_utf8(&content).map_err(|_| unusable("it is not UTF-8 text".into()))?;
        let id = match signing {
            Some(key) => repository.commit_signed(content, &key.sign(content).map_err(unusable)?, None),
            None => repository.odb().and_then(|odb| odb.write(ObjectType::Commit, content.as_bytes())),
        };
        id.map_err(damaged)
    }

    /// Puts a commit that was made here on a branch where the repository is: on one that is at `expected` still, or, without that, on a
    /// new one.
    pub async fn push(&self, commit: &str, branch: &str, expected: Option<&str>) -> Result<(), PushError> {
        let oid = |text: &str| Oid::from_str(text).map_err(|_| Error::NotCached(text.to_owned()));
        let (commit, expected) = (oid(commit)?, expected.map(oid).transpose()?);
        let name = format!("refs/heads/{branch}");
        if !git2::Reference::is_valid_name(&name) {
            return Err(Error::Unusable { what: "branch to write on", reason: format!("`{}` is no name", branch.escape_default()) }.into());
        }
        if let Location::Local(path) = &self.0.location {
            let path = path.clone();
            return self.blocking(move |source| Ok(source.push_here(&path, commit, &name, expected))).await?;
        }
        let _place = self.place().await?;
        let pushed = timeout(self.0.limit, self.push_there(commit, &name, expected)).await;
        match pushed.unwrap_or_else(|_| Err(self.slow().into())) {
            Err(error) if error != PushError::Moved => {
                let found = timeout(self.0.limit, self.place_of(&name)).await;
                // Where it can't be seen either, it is said what went wrong first.
                let Ok(Ok(at)) = found else { return Err(error) };
                came_of(at, commit, expected, error)
            }
            done => done,
        }
    }

    /// Where a branch is in the repository.
    async fn place_of(&self, name: &str) -> Result<Option<Oid>, PushError> {
        let (listing, connection) = self.list().await?;
        connection.close().await;
        Ok(found(&listing, name))
    }

    async fn list(&self) -> Result<(super::wire::Listing, Connection), PushError> {
        let listed = Connection::list(&self.0.location, &self.0.secret, Service::Receive).await;
        listed.map_err(|reason| PushError::Git(self.remote(&reason)))
    }

    /// A repository on this machine: its objects, and then the branch, if that still is where it was.
    fn push_here(&self, path: &Path, commit: Oid, name: &str, expected: Option<Oid>) -> Result<(), PushError> {
        let refused = |error: git2::Error| PushError::Refused(error.message().to_owned());
        let there = Repository::discover(path).map_err(|error| self.remote(error.message()))?;
        if is_checked_out(&there, name) {
            let reason = "it is checked out in a working copy, whose files would not be what the branch says: follow a bare repository, or \
                          have changes written on another branch";
            return Err(PushError::Refused(reason.into()));
        }
        let pack = self.pack(&self.0.cache.open()?, commit, expected)?;
        let odb = there.odb().map_err(refused)?;
        let mut writer = odb.packwriter().map_err(refused)?;
        std::io::Write::write_all(&mut writer, &pack).map_err(|error| PushError::Refused(error.to_string()))?;
        writer.commit().map_err(refused)?;
        drop(writer);
        let at = || there.find_reference(name).ok().and_then(|reference| reference.target());
        let moved = match expected {
            Some(expected) => there.reference_matching(name, commit, true, expected, "evenkeel: a change by the API").map(drop),
            None => there.reference(name, commit, false, "evenkeel: a change by the API").map(drop),
        };
        moved.or_else(|error| came_of(at(), commit, expected, refused(error)))
    }

    async fn push_there(&self, commit: Oid, name: &str, expected: Option<Oid>) -> Result<(), PushError> {
        let (listing, connection) = self.list().await?;
        let at = found(&listing, name);
        if at != expected {
            connection.close().await;
            return if at == Some(commit) { Ok(()) } else { Err(PushError::Moved) };
        }
        let request = listing.command(name, expected, commit).map_err(|reason| self.remote(&reason))?;
        let pack = self.within(move |source| source.pack(&source.0.cache.open()?, commit, expected)).await?;
        let report = connection.push([request, pack].concat()).await.map_err(|reason| self.remote(&reason))?;
        report.of(name).map_err(PushError::Refused)
    }

    /// The commit with what the one before it does not have.
    fn pack(&self, repository: &Repository, commit: Oid, expected: Option<Oid>) -> Result<Vec<u8>, Error> {
        let damaged = |error: git2::Error| self.0.cache.damaged(&error);
        let mut walk = repository.revwalk().map_err(damaged)?;
        walk.set_sorting(Sort::TOPOLOGICAL).map_err(damaged)?;
        walk.push(commit).map_err(damaged)?;
        let parents: Vec<Oid> = repository.find_commit(commit).map_err(damaged)?.parent_ids().collect();
        for known in parents.into_iter().chain(expected).filter(|known| *known != commit) {
            // What it comes after was fetched from there.
            walk.hide(known).map_err(damaged)?;
        }
        let mut builder = repository.packbuilder().map_err(damaged)?;
        builder.insert_walk(&mut walk).map_err(damaged)?;
        let mut pack = git2::Buf::new();
        builder.write_buf(&mut pack).map_err(damaged)?;
        if pack.len() > MAX_PUSH {
            return Err(Error::TooMany { commit: commit.to_string(), what: format!("more than {MAX_PUSH} bytes to be pushed") });
        }
        Ok(pack.to_vec())
    }

    /// What a commit says of itself, and whether `other` contains it. `None`: nothing is known of it here.
    pub async fn told(&self, commit: &str, other: Option<&str>) -> Result<Option<Told>, Error> {
        let (Ok(id), other) = (Oid::from_str(commit), other.and_then(|other| Oid::from_str(other).ok())) else { return Ok(None) };
        self.blocking(move |source| {
            let repository = source.0.cache.open()?;
            let Ok(commit) = repository.find_commit(id) else { return Ok(None) };
            let text = |text: Result<&str, git2::Error>| text.unwrap_or("?").chars().take(MAX_SHOWN).collect::<String>();
            let author = commit.author();
            let is_in = other.is_some_and(|other| other == id || repository.graph_descendant_of(other, id).unwrap_or(false));
            Ok(Some(Told {
                commit: id.to_string(),
                author: Author { name: text(author.name()), email: text(author.email()) },
                message: text(commit.message()),
                at: Timestamp::from_second(author.when().seconds()).unwrap_or_default(),
                is_in,
            }))
        })
        .await
    }
}

fn found(listing: &super::wire::Listing, name: &str) -> Option<Oid> {
    listing.refs.iter().find(|(there, _)| there == name).map(|(_, id)| *id)
}

/// What came of a push that failed, by where the branch is now: an answer can be lost on its way although all was done.
fn came_of(at: Option<Oid>, commit: Oid, expected: Option<Oid>, error: PushError) -> Result<(), PushError> {
    match at {
        Some(at) if at == commit => Ok(()),
        at if at == expected => Err(error),
        _ => Err(PushError::Moved),
    }
}

/// Whether a branch is what a working copy has, be it the repository's own or one beside it.
fn is_checked_out(repository: &Repository, name: &str) -> bool {
    let is_at = |work: Repository| {
        let head = work.find_reference("HEAD").ok();
        !work.is_bare() && head.is_some_and(|head| head.symbolic_target().ok().flatten() == Some(name))
    };
    let beside = repository.worktrees().ok();
    let beside = beside.iter().flat_map(|names| names.iter()).filter_map(|name| repository.find_worktree(name.ok()??).ok());
    let mut works = beside.filter_map(|work| Repository::open_from_worktree(&work).ok()).collect::<Vec<_>>();
    works.extend(Repository::open(repository.commondir()).ok());
    works.into_iter().any(is_at)
}

/// Whether a path stays where it is said to be.
fn is_below(path: &str) -> bool {
    let is_plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.eq_ignore_ascii_case(".git");
    path.split('/').all(is_plain) && !path.chars().any(|c| c.is_control() || c == '\\')
}

/// A name as a commit can have it.
fn plain(name: &str) -> String {
    let name: String = name.chars().filter(|c| !c.is_control() && !"<>".contains(*c)).take(200).collect();
    let name = name.trim();
    if name.is_empty() { "unknown".into() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leads_out() {
        for good in ["a.yaml", "devices/web-01.yaml", "a/.b/c"] {
            assert!(is_below(good), "{good}");
        }
        for bad in ["", "/etc/passwd", "../a", "a/../b", "a//b", "./a", ".git/config", "a/.GIT/hooks/x", "a\\b", "a\nb"] {
            assert!(!is_below(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_lost_answer_is_not_a_failure() {
        let id = |digit: &str| Oid::from_str(&digit.repeat(40)).unwrap();
        let lost = || PushError::Refused("the connection was closed".into());
        for expected in [None, Some(id("a"))] {
            assert_eq!(came_of(Some(id("b")), id("b"), expected, lost()), Ok(()));
            assert_eq!(came_of(expected, id("b"), expected, lost()), Err(lost()));
            assert_eq!(came_of(Some(id("c")), id("b"), expected, lost()), Err(PushError::Moved));
        }
        assert_eq!(came_of(None, id("b"), Some(id("a")), lost()), Err(PushError::Moved));
    }

    #[test]
    fn a_name_fits_into_a_commit() {
        assert_eq!(plain("Ann <ann@example.com>\n"), "Ann ann@example.com");
        assert_eq!(plain("<>\u{7}"), "unknown");
    }
}
