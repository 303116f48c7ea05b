//! Git as a source: one look at the remote's refs; a fetch only when the head moved.
//!
//! libgit2 knows no time limits, so every call runs in a blocking task under ours. One that hangs keeps the source's only place,
//! so that hanging calls never pile up.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use git2::{Commit, Direction, ErrorCode, ObjectType, Oid, Repository};
use reconcile::Revision;
use tokio::sync::Semaphore;

use crate::verify::{self, Keys};
use crate::yaml::MAX_FILE;

mod tree;

pub use tree::Entry;

/// Time limit of one look or fetch.
const LIMIT: Duration = Duration::from_secs(120);
/// Where the fetched head is kept in the cache repository.
const HEAD: &str = "refs/evenkeel/head";

/// Why a source gives nothing new. The last good commit stays in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The remote can't be reached, or refuses.
    #[error("{url} cannot be read: {reason}")]
    Remote {
        /// Which, without credentials.
        url: String,
        /// Why.
        reason: String,
    },
    /// It has no commits yet.
    #[error("{0} is empty: it has no commits yet")]
    Empty(String),
    /// What is followed is not there.
    #[error("there is no {reference} in {url} (any more); it has {known}")]
    NoReference {
        /// What is followed.
        reference: String,
        /// Where.
        url: String,
        /// What is there instead.
        known: String,
    },
    /// The folder is not in the commit.
    #[error("there is no folder `{path}` in commit {commit}")]
    NoPath {
        /// Which.
        path: String,
        /// In which commit.
        commit: String,
    },
    /// More than an engine of this size can hold.
    #[error("commit {commit} has {what}")]
    TooMany {
        /// Which.
        commit: String,
        /// Of what.
        what: String,
    },
    /// The commit's signature is not what was asked for.
    #[error("commit {commit} is not applied: {reason}")]
    Unverified {
        /// Which.
        commit: String,
        /// Whose signature failed, and how.
        reason: String,
    },
    /// A call took too long.
    #[error("{url}: no answer within {LIMIT:?}")]
    Slow {
        /// Which.
        url: String,
    },
    /// The cache repository.
    #[error("{path}: {reason}")]
    Cache {
        /// Where.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// What to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Follow {
    /// A branch.
    Branch(String),
    /// A tag.
    Tag(String),
    /// One commit.
    Commit(String),
}

/// A repository that is followed.
#[derive(Clone)]
pub struct Source {
    url: String,
    follow: Follow,
    path: String,
    cache: PathBuf,
    keys: Option<Arc<Keys>>,
    place: Arc<Semaphore>,
}

/// A commit, with what changed in it since the commit that was known.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The commit.
    pub revision: Revision,
    /// What is followed was moved to a commit that does not come after the one that was known.
    pub forced: bool,
    /// No commit was known to compare with: `changed` is everything that there is, and nothing is `Gone`.
    pub whole: bool,
    /// Paths of manifests, below the folder that is followed, with what became of them.
    pub changed: BTreeMap<String, Entry>,
}

impl Source {
    /// A source whose objects are kept below `cache`. With `keys`, only commits that one of them signed are applied.
    pub fn new(url: &str, follow: Follow, path: &str, cache: &Path, keys: Option<Keys>) -> Self {
        let path = path.trim_matches('/').trim_start_matches("./").to_owned();
        let path = if path == "." { String::new() } else { path };
        Self { url: url.to_owned(), follow, path, cache: cache.to_owned(), keys: keys.map(Arc::new), place: Arc::new(Semaphore::new(1)) }
    }

    /// The URL without credentials.
    pub fn url(&self) -> String {
        match self.url.split_once("://") {
            Some((scheme, rest)) => {
                let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
                format!("{scheme}://{}/{path}", host.rsplit('@').next().unwrap_or(host))
            }
            None => self.url.clone(),
        }
    }

    /// What is followed, in a word.
    pub fn reference(&self) -> &str {
        match &self.follow {
            Follow::Branch(name) | Follow::Tag(name) | Follow::Commit(name) => name,
        }
    }

    /// Looks at the remote: `None` if it still is at `known`, else the new head with what changed since `known`.
    pub async fn poll(&self, known: Option<&str>) -> Result<Option<Fetched>, Error> {
        let known = known.map(str::to_owned);
        self.blocking(move |source| source.poll_now(known.as_deref())).await
    }

    /// A commit that was fetched before, whole.
    pub async fn at(&self, commit: &str) -> Result<Fetched, Error> {
        let commit = commit.to_owned();
        self.blocking(move |source| {
            let repository = source.open()?;
            let id = Oid::from_str(&commit).map_err(|error| source.cached(&error))?;
            source.files(&repository, id, None)
        })
        .await
    }

    /// Contents of blobs by their ids; of one that is larger than a manifest may be, one byte more than that.
    pub async fn blobs(&self, ids: Vec<String>) -> Result<BTreeMap<String, Vec<u8>>, Error> {
        self.blocking(move |source| {
            let repository = source.open()?;
            let mut contents = BTreeMap::new();
            for id in ids {
                let blob = Oid::from_str(&id).and_then(|id| repository.find_blob(id)).map_err(|error| source.cached(&error))?;
                let bytes = blob.content();
                contents.insert(id, bytes[..bytes.len().min(MAX_FILE + 1)].to_vec());
            }
            Ok(contents)
        })
        .await
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Self) -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
        let slow = || Error::Slow { url: self.url() };
        let place = tokio::time::timeout(LIMIT, self.place.clone().acquire_owned()).await.map_err(|_| slow())?.map_err(|_| slow())?;
        let source = self.clone();
        // The place goes along: while a hung call holds it, no other is started.
        let task = tokio::task::spawn_blocking(move || {
            let _place = place;
            work(&source)
        });
        tokio::time::timeout(LIMIT, task).await.map_err(|_| slow())?.map_err(|_| slow())?
    }

    fn poll_now(&self, known: Option<&str>) -> Result<Option<Fetched>, Error> {
        let repository = self.open()?;
        let mut remote = repository.remote_anonymous(&self.url).map_err(|error| self.remote(&error))?;
        let wanted = match &self.follow {
            Follow::Branch(name) => format!("refs/heads/{name}"),
            Follow::Tag(name) => format!("refs/tags/{name}"),
            Follow::Commit(id) => id.clone(),
        };
        let head = match &self.follow {
            Follow::Commit(id) => Oid::from_str(id).map_err(|error| self.remote(&error))?,
            _ => {
                let connection = remote.connect_auth(Direction::Fetch, None, None).map_err(|error| self.remote(&error))?;
                let heads = connection.list().map_err(|error| self.remote(&error))?;
                match heads.iter().find(|head| head.name() == wanted) {
                    Some(head) => head.oid(),
                    None if heads.is_empty() => return Err(Error::Empty(self.url())),
                    None => {
                        let known: Vec<&str> = heads.iter().map(git2::RemoteHead::name).filter(|name| *name != "HEAD").take(10).collect();
                        return Err(Error::NoReference { reference: wanted, url: self.url(), known: known.join(", ") });
                    }
                }
            }
        };
        if known == Some(head.to_string().as_str()) {
            return Ok(None);
        }
        let refspec = format!("+{wanted}:{HEAD}");
        remote.fetch(&[&refspec], None, None).map_err(|error| self.remote(&error))?;
        let commit = repository.find_object(head, None).and_then(|object| object.peel_to_commit()).map_err(|error| self.remote(&error))?;
        // An annotated tag has an id of its own: the commit is what counts.
        if known == Some(commit.id().to_string().as_str()) {
            return Ok(None);
        }
        // Kept under its own name too, so that what is in force survives a branch that is rewritten.
        let keep = format!("refs/evenkeel/seen/{}", commit.id());
        repository.reference(&keep, commit.id(), true, "seen").map_err(|error| self.cached(&error))?;
        self.files(&repository, commit.id(), known).map(Some)
    }

    fn files(&self, repository: &Repository, id: Oid, known: Option<&str>) -> Result<Fetched, Error> {
        let commit = repository.find_commit(id).map_err(|error| self.cached(&error))?;
        let signer = match &self.keys {
            Some(keys) => {
                Some(verify::head(repository, &commit, keys).map_err(|reason| Error::Unverified { commit: id.to_string(), reason })?)
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
        let forced = known
            .and_then(|known| Oid::from_str(known).ok())
            .is_some_and(|known| id != known && !repository.graph_descendant_of(id, known).unwrap_or(false));
        let new = self.folder(&commit)?.ok_or_else(|| Error::NoPath { path: self.path.clone(), commit: id.to_string() })?;
        // What is not in the cache any more can't be compared with: then everything is new.
        let known = known.and_then(|known| repository.find_commit(Oid::from_str(known).ok()?).ok());
        let old = known.and_then(|known| self.folder(&known).ok().flatten());
        let (whole, changed) = match old.map(|old| tree::compare(repository, Some(old), new)) {
            Some(Ok(changed)) => (false, changed),
            _ => (true, tree::compare(repository, None, new).map_err(|error| self.compared(error, id))?),
        };
        Ok(Fetched { revision, forced, whole, changed })
    }

    /// The id of the folder that is followed; `None` if the commit does not have it.
    fn folder(&self, commit: &Commit<'_>) -> Result<Option<Oid>, Error> {
        let root = commit.tree().map_err(|error| self.cached(&error))?;
        if self.path.is_empty() {
            return Ok(Some(root.id()));
        }
        let entry = root.get_path(Path::new(&self.path)).ok();
        Ok(entry.filter(|entry| entry.kind() == Some(ObjectType::Tree)).map(|entry| entry.id()))
    }

    fn open(&self) -> Result<Repository, Error> {
        let opened = match Repository::open_bare(&self.cache) {
            Err(error) if error.code() == ErrorCode::NotFound => Repository::init_bare(&self.cache),
            opened => opened,
        };
        opened.map_err(|error| self.cached(&error))
    }

    fn remote(&self, error: &git2::Error) -> Error {
        Error::Remote { url: self.url(), reason: error.message().chars().filter(|c| !c.is_control()).take(300).collect() }
    }

    fn compared(&self, error: tree::Error, commit: Oid) -> Error {
        match error {
            tree::Error::Object(error) => self.cached(&error),
            tree::Error::TooMany(what) => Error::TooMany { commit: commit.to_string(), what },
        }
    }

    fn cached(&self, error: &git2::Error) -> Error {
        Error::Cache { path: self.cache.clone(), reason: error.message().to_owned() }
    }
}
