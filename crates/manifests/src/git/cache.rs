//! The repository that keeps what was fetched. It is a cache: what is broken in it is fetched again.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use git2::{ErrorClass, ErrorCode, Indexer, Oid, Repository, Sort};
use tokio::sync::mpsc::Receiver;

use super::Error;
use super::wire::Pack;

/// The head that was fetched last.
const HEAD: &str = "refs/evenkeel/head";
/// Commits that were known and that the remote's history does not have any more; each with a number, in order.
const REPLACED: &str = "refs/evenkeel/replaced";
/// Of these, so many are kept.
const MAX_REPLACED: usize = 100;
/// Commits that a server is told we have.
const MAX_HAVES: usize = 256;
/// Each fetch makes one pack; with more than so many, all are made one.
const MAX_PACKS: usize = 50;

/// A bare repository below the data directory.
#[derive(Clone, Debug)]
pub(super) struct Cache(pub(super) PathBuf);

impl Cache {
    /// Opens it, or makes an empty one.
    pub(super) fn open(&self) -> Result<Repository, Error> {
        match Repository::open_bare(&self.0) {
            Err(error) if error.code() == ErrorCode::NotFound && !self.0.exists() => {
                Repository::init_bare(&self.0).map_err(|error| self.failed(error.message()))
            }
            opened => opened.map_err(|error| self.damaged(&error)),
        }
    }

    /// Puts a damaged one aside, where somebody can look at it; the next [`Self::open`] makes a new one.
    pub(super) fn remake(&self) -> Result<(), Error> {
        let aside = self.beside("damaged");
        remove(&aside).and_then(|()| std::fs::rename(&self.0, &aside)).map_err(|error| self.failed(&error.to_string()))
    }

    /// Whether an object is there; whether it can be read is another question.
    pub(super) fn has(&self, id: Oid) -> bool {
        Repository::open_bare(&self.0).is_ok_and(|repository| repository.odb().is_ok_and(|odb| odb.exists(id)))
    }

    /// Whether the head that was fetched last can still be read.
    pub(super) fn is_whole(&self, repository: &Repository) -> bool {
        repository.find_reference(HEAD).and_then(|head| head.peel_to_tree()).is_ok_and(|_| true)
            || repository.find_reference(HEAD).is_err_and(|error| error.code() == ErrorCode::NotFound)
    }

    /// What a server is told that we have: the newest commits, also of what was replaced.
    pub(super) fn haves(&self) -> Vec<Oid> {
        let newest = || -> Result<Vec<Oid>, git2::Error> {
            let repository = Repository::open_bare(&self.0)?;
            let mut walk = repository.revwalk()?;
            walk.set_sorting(Sort::TIME)?;
            walk.push_glob("refs/evenkeel/*")?;
            walk.take(MAX_HAVES).collect()
        };
        // Without them everything is fetched, which is right too.
        newest().unwrap_or_default()
    }

    /// Stores a pack as it arrives. Only a complete one counts, whose objects miss nothing that they refer to.
    pub(super) fn store(&self, mut pieces: Receiver<Pack>) -> Result<(), Error> {
        let wrong = |reason: &str| Error::Pack(reason.to_owned());
        let repository = self.open()?;
        let odb = repository.odb().map_err(|error| self.damaged(&error))?;
        let folder = self.0.join("objects/pack");
        std::fs::create_dir_all(&folder).map_err(|error| self.failed(&error.to_string()))?;
        let mut indexer = Indexer::new(Some(&odb), &folder, 0, true).map_err(|error| self.failed(error.message()))?;
        loop {
            match pieces.blocking_recv() {
                Some(Pack::Piece(piece)) => indexer.write_all(&piece).map_err(|error| wrong(&error.to_string()))?,
                Some(Pack::End) => break,
                None => return Err(wrong("it ended early")),
            }
        }
        indexer.commit().map(|_| ()).map_err(|error| wrong(error.message()))
    }

    /// Remembers a head, and keeps the one before if the new one does not contain it.
    pub(super) fn keep(&self, repository: &Repository, head: Oid, replaced: Option<Oid>) -> Result<(), Error> {
        // A ref that is broken, or locked by nobody, is damage; a full disk is not.
        let failed = |error: git2::Error| match (error.class(), error.code()) {
            (ErrorClass::Reference, _) | (_, ErrorCode::Locked) => self.damaged(&error),
            _ => self.failed(error.message()),
        };
        if let Some(replaced) = replaced.filter(|replaced| repository.find_commit(*replaced).is_ok()) {
            let mut names = self.replaced(repository)?;
            let number = names.last().and_then(|(name, _)| name.rsplit('/').next()?.parse::<u64>().ok()).unwrap_or(0) + 1;
            if names.iter().all(|(_, id)| *id != Some(replaced)) {
                repository.reference(&format!("{REPLACED}/{number:012}"), replaced, true, "replaced").map_err(failed)?;
                names.push((String::new(), None));
            }
            for (name, _) in names.iter().take(names.len().saturating_sub(MAX_REPLACED)) {
                repository.find_reference(name).and_then(|mut reference| reference.delete()).map_err(failed)?;
            }
        }
        repository.reference(HEAD, head, true, "fetched").map(|_| ()).map_err(failed)
    }

    fn replaced(&self, repository: &Repository) -> Result<Vec<(String, Option<Oid>)>, Error> {
        let found = repository.references_glob(&format!("{REPLACED}/*")).map_err(|error| self.damaged(&error))?;
        let mut names = Vec::new();
        for reference in found {
            let reference = reference.map_err(|error| self.damaged(&error))?;
            names.push((reference.name().unwrap_or_default().to_owned(), reference.target()));
        }
        names.sort();
        Ok(names)
    }

    /// Makes many packs one, by fetching from itself what is still of use.
    pub(super) fn compact(&self) -> Result<(), Error> {
        let packs = std::fs::read_dir(self.0.join("objects/pack")).map(|entries| {
            entries
                .filter(|entry| entry.as_ref().is_ok_and(|entry| entry.path().extension().is_some_and(|suffix| suffix == "pack")))
                .count()
        });
        if packs.is_ok_and(|packs| packs <= MAX_PACKS) {
            return Ok(());
        }
        let (new, old) = (self.beside("new"), self.beside("old"));
        let failed = |error: std::io::Error| self.failed(&error.to_string());
        remove(&new).and_then(|()| remove(&old)).map_err(failed)?;
        let fresh = Repository::init_bare(&new).map_err(|error| self.failed(error.message()))?;
        let here = self.0.to_str().ok_or_else(|| self.failed("its path is not UTF-8"))?;
        let mut fetch = git2::FetchOptions::new();
        fetch.download_tags(git2::AutotagOption::None);
        fresh
            .remote_anonymous(here)
            .and_then(|mut remote| remote.fetch(&["+refs/evenkeel/*:refs/evenkeel/*"], Some(&mut fetch), None))
            .map_err(|error| self.damaged(&error))?;
        drop(fresh);
        // Ended between these two, there is none: it is fetched again.
        std::fs::rename(&self.0, &old).and_then(|()| std::fs::rename(&new, &self.0)).and_then(|()| remove(&old)).map_err(failed)
    }

    fn beside(&self, word: &str) -> PathBuf {
        let mut name = self.0.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{word}"));
        self.0.with_file_name(name)
    }

    /// Something in it can't be read: fetching it again helps.
    pub(super) fn damaged(&self, error: &git2::Error) -> Error {
        Error::Damaged { path: self.0.clone(), reason: error.message().to_owned() }
    }

    /// It can't be written: fetching again would not help.
    fn failed(&self, reason: &str) -> Error {
        Error::Cache { path: self.0.clone(), reason: reason.to_owned() }
    }
}

fn remove(folder: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_replaced_is_kept_within_a_bound() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache(home.path().join("cache"));
        let repository = cache.open().unwrap();
        let tree = repository.find_tree(repository.treebuilder(None).unwrap().write().unwrap()).unwrap();
        let commit = |at: usize| {
            let who = git2::Signature::new("ann", "ann@example.com", &git2::Time::new(at.try_into().unwrap(), 0)).unwrap();
            repository.commit(None, &who, &who, "x", &tree, &[]).unwrap()
        };
        let commits: Vec<Oid> = (0..MAX_REPLACED + 20).map(commit).collect();
        for pair in commits.windows(2) {
            cache.keep(&repository, pair[1], Some(pair[0])).unwrap();
            // Asking again for the same, and for what was never there, changes nothing.
            cache.keep(&repository, pair[1], Some(pair[0])).unwrap();
            cache.keep(&repository, pair[1], Some(tree.id())).unwrap();
        }
        let kept: Vec<Oid> = cache.replaced(&repository).unwrap().into_iter().filter_map(|(_, id)| id).collect();
        assert_eq!(kept, commits[19..19 + MAX_REPLACED]);
        assert!(cache.haves().len() <= MAX_HAVES && cache.haves().contains(commits.last().unwrap()));
    }
}
