//! What lies between the commit that was in force and the head: whether every commit of it is signed, and who answers for which file.

use std::collections::BTreeMap;

use crds::VerifyMode;
use git2::{Commit, Oid, Repository, Revwalk};

use super::write::Signing;
use super::{Error, Source, tree};
use crate::verify::{self, Judged, Keys, Signer};

/// Commits that are verified for one new head. Each costs a signature, some tenths of a millisecond; a fleet that is looked at every minute
/// never gets near it.
pub const MAX_COMMITS: usize = 1000;

/// Bytes of one commit object: its message, its signature.
const MAX_COMMIT: usize = 1 << 20;

/// Who answers for what changed since a commit.
#[derive(Clone, Debug)]
pub struct Answers {
    /// Whether the head is that commit or comes after it; not where a branch was set back or rewritten.
    pub follows: bool,
    /// For whatever it is: whoever signed the head, where only that counts or the head does not follow.
    pub all: Option<Signer>,
    /// By file, below the folder that is followed: whoever signed the newest commit of the branch that touched it.
    pub files: BTreeMap<String, Signer>,
}

impl Answers {
    /// Who answers for what a file says. Nobody: none of these commits has touched it.
    pub fn of(&self, file: &str) -> Option<&Signer> {
        self.all.as_ref().or_else(|| self.files.get(file))
    }
}

impl Source {
    /// Who answers for what changed since a commit; for everything, the signer of the head, where only that is verified, there is no such
    /// commit, or the head does not follow it. `None`: signatures are not asked for.
    pub async fn answers(&self, head: &str, since: Option<&str>) -> Result<Option<Answers>, Error> {
        let Some(keys) = self.0.keys.clone() else { return Ok(None) };
        let oid = |commit: &str| Oid::from_str(commit).map_err(|_| Error::NotCached(commit.to_owned()));
        let (head, since) = (oid(head)?, since.map(oid).transpose()?);
        self.blocking(move |source| {
            let repository = source.0.cache.open()?;
            let keys = Keys::load(&keys).map_err(|reason| Error::Unverified { commit: head.to_string(), reason })?;
            source.answering(&repository, head, since, &keys).map(Some)
        })
        .await
    }

    /// Whether each commit that leads to a head and not to a known one may be built upon: one of the keys has signed it, or this key of ours,
    /// or it was made here. Where no signatures are asked for, any may.
    pub async fn may_build_on(&self, head: &str, known: &str, own: Option<&Signing>) -> Result<(), Error> {
        let Some(keys) = self.0.keys.clone() else { return Ok(()) };
        let oid = |commit: &str| Oid::from_str(commit).map_err(|_| Error::NotCached(commit.to_owned()));
        let (head, known, own) = (oid(head)?, oid(known)?, own.map(Signing::public));
        self.blocking(move |source| {
            let repository = source.0.cache.open()?;
            let unusable = |reason| Error::Unverified { commit: head.to_string(), reason };
            let mut keys = Keys::load(&keys).map_err(unusable)?;
            own.map_or(Ok(0), |own| keys.add_ssh(own.as_bytes())).map_err(unusable)?;
            let made_here = source.made_here(&repository)?;
            for id in source.bounded(source.between(&repository, head, known)?, head, known)? {
                if !made_here.contains(&id) {
                    source.signed(&repository, id, &keys, Judged::WhenSigned)?;
                }
            }
            Ok(())
        })
        .await
    }

    fn answering(&self, repository: &Repository, head: Oid, since: Option<Oid>, keys: &Keys) -> Result<Answers, Error> {
        let (_, signer) = self.signed(repository, head, keys, Judged::WhenSigned)?;
        let mut answers = Answers { follows: true, all: None, files: BTreeMap::new() };
        let Some(since) = since else { return Ok(Answers { all: Some(signer), ..answers }) };
        self.present(repository, head, since)?;
        answers.follows = head == since || self.follows(repository, head, since)?;
        if self.0.mode != VerifyMode::Ancestors || !answers.follows {
            return Ok(Answers { all: Some(signer), ..answers });
        }
        let line = if head == since { Vec::new() } else { self.line(repository, head, since)? };
        // From what was in force to the head without a gap, so that whatever is otherwise was touched by one of them.
        let before = line.iter().skip(1).chain([&since]);
        for (id, before) in line.iter().zip(before) {
            let (commit, signer) = self.signed(repository, *id, keys, Judged::WhenSigned)?;
            let old = self.folder(&self.commit(repository, *before)?)?;
            let touched = match (old, self.folder(&commit)?) {
                (old, Some(new)) => tree::compare(repository, old, new),
                // All of the folder is gone; whoever makes it again touches each of its files.
                (_, None) => Ok(BTreeMap::new()),
            };
            for path in touched.map_err(|error| self.compared(error, *id))?.into_keys() {
                answers.files.entry(path).or_insert_with(|| signer.clone());
            }
        }
        Ok(answers)
    }

    /// The branch's own commits from the head back to the last one that has the known one before it: what that one merged, from wherever, it
    /// answers for. Otherwise somebody could make another's old or unmerged commit a part of the branch, in that one's name.
    fn line(&self, repository: &Repository, head: Oid, known: Oid) -> Result<Vec<Oid>, Error> {
        let (mut line, mut id) = (vec![head], head);
        while let Some(parent) = self.commit(repository, id)?.parent_ids().next().filter(|parent| *parent != known) {
            if !self.follows(repository, parent, known)? {
                break;
            }
            if line.len() >= MAX_COMMITS {
                return Err(Self::too_many(head, known));
            }
            line.push(parent);
            id = parent;
        }
        Ok(line)
    }

    /// Every commit that comes with a new head and was not there before is signed by one of the keys.
    pub(super) fn ancestors(&self, repository: &Repository, head: Oid, known: Oid, keys: &Keys, judged: Judged) -> Result<(), Error> {
        for id in self.bounded(self.between(repository, head, known)?, head, known)? {
            self.signed(repository, id, keys, judged)?;
        }
        Ok(())
    }

    /// The commits of a walk, if they are not too many.
    fn bounded(&self, walk: Revwalk<'_>, head: Oid, known: Oid) -> Result<Vec<Oid>, Error> {
        let ids: Result<Vec<Oid>, git2::Error> = walk.take(MAX_COMMITS + 1).collect();
        let ids = ids.map_err(|error| self.0.cache.damaged(&error))?;
        if ids.len() <= MAX_COMMITS {
            return Ok(ids);
        }
        Err(Self::too_many(head, known))
    }

    fn too_many(head: Oid, known: Oid) -> Error {
        let what = format!(
            "more than {MAX_COMMITS} commits since {known}, which was read last: too many to verify each; follow a commit between them first, or verify the head alone for once"
        );
        Error::TooMany { commit: head.to_string(), what }
    }

    fn follows(&self, repository: &Repository, id: Oid, known: Oid) -> Result<bool, Error> {
        repository.graph_descendant_of(id, known).map_err(|error| self.0.cache.damaged(&error))
    }

    /// The known commit has to be there to be compared with.
    fn present(&self, repository: &Repository, head: Oid, known: Oid) -> Result<(), Error> {
        if repository.odb().is_ok_and(|odb| odb.exists(known)) {
            return Ok(());
        }
        let reason = format!("{known}, which was read last, is not there any more, so that nobody knows which commits came since");
        Err(Error::Unverified { commit: head.to_string(), reason })
    }

    /// The commits that lead to a head and not to the known one, from the head on.
    fn between<'r>(&self, repository: &'r Repository, head: Oid, known: Oid) -> Result<Revwalk<'r>, Error> {
        self.present(repository, head, known)?;
        let walk = || -> Result<Revwalk<'r>, git2::Error> {
            let mut walk = repository.revwalk()?;
            walk.push(head)?;
            walk.hide(known)?;
            Ok(walk)
        };
        walk().map_err(|error| self.0.cache.damaged(&error))
    }

    pub(super) fn commit<'r>(&self, repository: &'r Repository, id: Oid) -> Result<Commit<'r>, Error> {
        let size = repository.odb().and_then(|odb| odb.read_header(id)).map_err(|error| self.0.cache.damaged(&error))?.0;
        if size > MAX_COMMIT {
            return Err(Error::TooMany { commit: id.to_string(), what: format!("a message or signature of more than {MAX_COMMIT} bytes") });
        }
        repository.find_commit(id).map_err(|error| self.0.cache.damaged(&error))
    }

    pub(super) fn signed<'r>(
        &self,
        repository: &'r Repository,
        id: Oid,
        keys: &Keys,
        judged: Judged,
    ) -> Result<(Commit<'r>, Signer), Error> {
        let commit = self.commit(repository, id)?;
        match verify::commit(repository, &commit, keys, judged) {
            Ok(signer) => Ok((commit, signer)),
            Err(reason) => Err(Error::Unverified { commit: id.to_string(), reason }),
        }
    }
}
