//! What a commit says: who made it, what changed in it, and the contents of its files.

use std::collections::BTreeMap;
use std::path::Path;

use crds::VerifyMode;
use git2::{Commit, ObjectType, Oid, Repository};
use reconcile::Revision;

use super::{Entry, Error, Fetched, Follow, Options, Source, tree};
use crate::verify::{Judged, Keys};
use crate::yaml::MAX_FILE;

/// Bytes of manifests that are read at once.
const MAX_TOTAL: usize = 512 << 20;

/// A commit with the contents of its files.
pub type Contents = (Fetched, BTreeMap<String, Vec<u8>>);

/// Reads a commit of a repository on this machine where it is: nothing is fetched, nothing is checked out. `rev` is anything that
/// git-rev-parse(1) knows. A path inside of a working copy is read as that folder of the commit. Paths are below the repository's
/// root.
pub fn read_commit(path: &Path, rev: &str) -> Result<Contents, Error> {
    let unusable = |what: &'static str| move |error: git2::Error| Error::Unusable { what, reason: error.message().to_owned() };
    let repository = Repository::discover(path).map_err(unusable("path"))?;
    let commit = repository.revparse_single(rev).and_then(|object| object.peel_to_commit()).map_err(unusable("revision"))?;
    let folder =
        repository.workdir().and_then(|root| Some(path.canonicalize().ok()?.strip_prefix(root.canonicalize().ok()?).ok()?.to_owned()));
    let folder = folder.and_then(|folder| folder.to_str().map(str::to_owned)).unwrap_or_default();
    let follow = Follow::Commit(commit.id().to_string());
    // Never polled: its cache is somebody's repository.
    let source = Source::new("/", repository.commondir(), Options { follow, path: folder.clone(), ..Options::default() })?;
    let fetched = source.files(&repository, commit.id(), None, Judged::WhenSigned)?.from_root(&folder);
    let ids = fetched.changed.values().filter_map(|entry| match entry {
        Entry::Blob(id) => Some(id.clone()),
        Entry::Left(_) | Entry::Gone => None,
    });
    let contents = source.contents(&repository, ids.collect())?;
    Ok((fetched, contents))
}

impl Source {
    /// A commit with what changed in it since `known`, if it is signed as it has to be.
    pub(super) fn files(&self, repository: &Repository, id: Oid, known: Option<Oid>, judged: Judged) -> Result<Fetched, Error> {
        let commit = self.commit(repository, id)?;
        let signer = match &self.0.keys {
            Some(keys) => {
                let keys = Keys::load(keys).map_err(|reason| Error::Unverified { commit: id.to_string(), reason })?;
                let (_, signer) = self.signed(repository, id, &keys, judged)?;
                if let Some(known) = known.filter(|known| self.0.mode == VerifyMode::Ancestors && *known != id) {
                    self.ancestors(repository, id, known, &keys, judged)?;
                }
                Some(signer.who)
            }
            None => None,
        };
        let author = commit.author();
        let text = |text: Result<&str, git2::Error>| text.unwrap_or("?").chars().filter(|c| !c.is_control()).take(100).collect::<String>();
        let revision = Revision {
            reference: self.reference().to_owned(),
            commit: id.to_string(),
            author: format!("{} <{}>", text(author.name()), text(author.email())),
            signer,
        };
        let forced = known.is_some_and(|known| id != known && !repository.graph_descendant_of(id, known).unwrap_or(false));
        let new = self.folder(&commit)?.ok_or_else(|| Error::NoPath { path: self.0.path.clone(), commit: id.to_string() })?;
        // What is not in the cache any more can't be compared with: then everything is new.
        let known = known.and_then(|known| repository.find_commit(known).ok());
        let old = known.and_then(|known| self.folder(&known).ok().flatten());
        let (whole, changed) = match old.map(|old| tree::compare(repository, Some(old), new)) {
            Some(Ok(changed)) => (false, changed),
            _ => (true, tree::compare(repository, None, new).map_err(|error| self.compared(error, id))?),
        };
        Ok(Fetched { revision, forced, whole, changed })
    }

    /// The id of the folder that is followed; `None` if the commit does not have it.
    pub(super) fn folder(&self, commit: &Commit<'_>) -> Result<Option<Oid>, Error> {
        let root = commit.tree().map_err(|error| self.0.cache.damaged(&error))?;
        if self.0.path.is_empty() {
            return Ok(Some(root.id()));
        }
        let entry = root.get_path(Path::new(&self.0.path)).ok();
        Ok(entry.filter(|entry| entry.kind() == Some(ObjectType::Tree)).map(|entry| entry.id()))
    }

    pub(super) fn compared(&self, error: tree::Error, commit: Oid) -> Error {
        match error {
            tree::Error::Object(error) => self.0.cache.damaged(&error),
            tree::Error::TooMany(what) => Error::TooMany { commit: commit.to_string(), what },
        }
    }

    /// Contents of blobs by their ids.
    pub(super) fn contents(&self, repository: &Repository, ids: Vec<String>) -> Result<BTreeMap<String, Vec<u8>>, Error> {
        let damaged = |error: git2::Error| self.0.cache.damaged(&error);
        let odb = repository.odb().map_err(damaged)?;
        let (mut contents, mut total) = (BTreeMap::new(), 0);
        for id in ids {
            let oid = Oid::from_str(&id).map_err(damaged)?;
            let (size, _) = odb.read_header(oid).map_err(damaged)?;
            // A huge file is not even opened.
            let bytes =
                if size > MAX_FILE { vec![b' '; MAX_FILE + 1] } else { repository.find_blob(oid).map_err(damaged)?.content().to_vec() };
            total += bytes.len();
            if total > MAX_TOTAL {
                let what = format!("more than {MAX_TOTAL} bytes of manifests");
                return Err(Error::TooMany { commit: self.reference().to_owned(), what });
            }
            contents.insert(id, bytes);
        }
        Ok(contents)
    }
}
