//! Git as a source: one look at the remote's refs; a fetch only when the head moved; and then only what changed.
//!
//! libgit2 knows no time limits, so every call of it runs in a blocking task under ours. One that hangs keeps the source's only
//! place, so that hanging calls never pile up. HTTPS and SSH are our own: they are under the same roof of TLS, host keys and limits
//! as everything else, and end when their time is up.

mod cache;
mod commit;
mod error;
mod history;
mod http;
mod location;
mod remote;
mod secret;
mod ssh;
mod tree;
mod wire;
mod write;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crds::VerifyMode;
use git2::Oid;
use reconcile::Revision;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::verify::{Judged, Keys};
use cache::Cache;
use location::Location;
pub use secret::Held;
use secret::Secret;

pub use commit::read_commit;
pub use error::Error;
pub use history::{Answers, MAX_COMMITS};
pub use tree::Entry;
pub use write::{Author, Draft, PushError, Signing, Told};

/// Time limit of one look with its fetch, unless another one is asked for.
const LIMIT: Duration = Duration::from_secs(120);
/// A damaged cache is made again at most once in this time: a remote that lacks objects would have it made for ever.
const REMAKE: Duration = Duration::from_secs(600);

/// What to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Follow {
    /// A branch.
    Branch(String),
    /// A tag.
    Tag(String),
    /// One commit, by its whole id.
    Commit(String),
    /// The remote's default branch, whichever it is.
    Head,
}

impl Follow {
    /// What somebody may mean who names a revision, the likeliest first.
    pub fn guesses(name: &str) -> Vec<Self> {
        match name {
            "HEAD" => vec![Self::Head],
            _ if name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) => vec![Self::Commit(name.to_owned())],
            _ => vec![Self::Branch(name.to_owned()), Self::Tag(name.to_owned())],
        }
    }
}

/// How a repository is followed.
#[derive(Debug)]
pub struct Options {
    /// What of it.
    pub follow: Follow,
    /// The folder in it; empty for all of it.
    pub path: String,
    /// Directory of public keys (see [`Keys::load`]): only commits that one of them signed are applied. It is read again for each new
    /// commit. `None` applies any commit.
    pub keys: Option<PathBuf>,
    /// Which commits have to be signed, where there are keys.
    pub mode: VerifyMode,
    /// Directory with the credentials, one file for each: for HTTPS `token`, or `username` and `password`, or `bearerToken`, and
    /// `ca.crt` for an authority of one's own; for SSH `ssh-privatekey` (or `identity`) and `known_hosts`.
    pub secret: Option<PathBuf>,
    /// The same where it does not lie in a directory.
    pub held: Option<Held>,
    /// Time limit of one look with its fetch.
    pub limit: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            follow: Follow::Branch("main".into()),
            path: String::new(),
            keys: None,
            mode: VerifyMode::Head,
            secret: None,
            held: None,
            limit: LIMIT,
        }
    }
}

/// Whether this names a Git repository: a working copy, a bare repository, or something that only a remote can be. A plain folder
/// of manifests is none.
pub fn is_repository(text: &str) -> bool {
    let path = Path::new(text);
    if path.exists() {
        return path.join(".git").exists() || ["HEAD", "objects", "refs"].iter().all(|name| path.join(name).exists());
    }
    !matches!(Location::parse(text), Ok(Location::Local(_)))
}

/// A repository that is followed. Its clones are one.
#[derive(Clone)]
pub struct Source(Arc<Parts>);

struct Parts {
    url: String,
    location: Location,
    follow: Follow,
    path: String,
    keys: Option<PathBuf>,
    mode: VerifyMode,
    secret: Secret,
    limit: Duration,
    cache: Cache,
    /// Whoever works on the cache holds it.
    place: Arc<Semaphore>,
    /// Something in the cache could not be read.
    suspect: AtomicBool,
    /// The last pack did not fit to what is in the cache.
    from_nothing: AtomicBool,
    /// When the cache was made again.
    remade: Arc<Mutex<Option<Instant>>>,
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

impl Fetched {
    /// The same with paths below the repository's root, where a person looks for them.
    #[must_use]
    pub fn from_root(mut self, folder: &str) -> Self {
        if !folder.is_empty() {
            self.changed = self.changed.into_iter().map(|(path, entry)| (format!("{folder}/{path}"), entry)).collect();
        }
        self
    }
}

impl Source {
    /// A source whose objects are kept in a repository at `cache`.
    pub fn new(url: &str, cache: &Path, options: Options) -> Result<Self, Error> {
        let location = Location::parse(url).map_err(|reason| Error::Unusable { what: "URL", reason })?;
        if let Some(keys) = &options.keys {
            Keys::load(keys).map_err(|reason| Error::Unusable { what: "keys for verification", reason })?;
        }
        let path = options.path.trim_matches('/').trim_start_matches("./").to_owned();
        let source = Self(Arc::new(Parts {
            url: url.to_owned(),
            location,
            follow: options.follow,
            path: if path == "." { String::new() } else { path },
            keys: options.keys,
            mode: options.mode,
            secret: options.held.map_or(Secret::Folder(options.secret), Secret::Held),
            limit: options.limit,
            cache: Cache(cache.to_owned()),
            place: Arc::new(Semaphore::new(1)),
            suspect: AtomicBool::default(),
            from_nothing: AtomicBool::default(),
            remade: Arc::default(),
        }));
        let usable = match &source.0.follow {
            Follow::Commit(id) => id.len() == 40 && Oid::from_str(id).is_ok(),
            Follow::Head => true,
            Follow::Branch(_) | Follow::Tag(_) => git2::Reference::is_valid_name(&source.wanted()),
        };
        if !usable {
            let reason = format!("`{}` is neither a name nor a whole commit id of 40 digits", source.reference().escape_default());
            return Err(Error::Unusable { what: "branch, tag or commit", reason });
        }
        Ok(source)
    }

    /// The same repository, to look at something else in it that is not to be applied: its signature does not matter.
    pub fn aside(&self, follow: Follow) -> Result<Self, Error> {
        let Parts { url, path, secret, limit, cache, .. } = &*self.0;
        let (secret, held) = match secret {
            Secret::Folder(folder) => (folder.clone(), None),
            Secret::Held(held) => (None, Some(held.clone())),
        };
        let options = Options { follow, path: path.clone(), secret, held, limit: *limit, ..Options::default() };
        let mut aside = Self::new(url, &cache.0, options)?;
        // Both work on one cache: there is one place, and one memory of when it was made anew.
        if let Some(parts) = Arc::get_mut(&mut aside.0) {
            (parts.place, parts.remade) = (self.0.place.clone(), self.0.remade.clone());
        }
        Ok(aside)
    }

    /// Whether it lies on this machine.
    pub fn is_local(&self) -> bool {
        matches!(self.0.location, Location::Local(_))
    }

    /// The URL; it has no credentials.
    pub fn url(&self) -> String {
        self.0.url.clone()
    }

    /// The folder in the repository; empty for all of it.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// What is followed, in a word.
    pub fn reference(&self) -> &str {
        match &self.0.follow {
            Follow::Branch(name) | Follow::Tag(name) | Follow::Commit(name) => name,
            Follow::Head => "HEAD",
        }
    }

    /// Looks at the remote: `None` if it still is at `known`, else the new head with what changed since `known`. A cache that is
    /// damaged is made again on the way.
    pub async fn poll(&self, known: Option<&str>) -> Result<Option<Fetched>, Error> {
        if self.0.suspect.load(Ordering::Relaxed) && self.may_remake() {
            self.remake().await?;
        }
        match self.look(known).await {
            Err(Error::Damaged { path, reason }) if self.may_remake() => {
                tracing::warn!(path = %path.display(), reason, "the cache of a repository is damaged; it is fetched again");
                self.remake().await?;
                self.look(known).await
            }
            result => result,
        }
    }

    /// A commit that was fetched before, whole.
    pub async fn at(&self, commit: &str) -> Result<Fetched, Error> {
        let commit = commit.to_owned();
        self.blocking(move |source| {
            let repository = source.0.cache.open()?;
            let id = Oid::from_str(&commit).ok().filter(|id| repository.odb().is_ok_and(|odb| odb.exists(*id)));
            let id = id.ok_or(Error::NotCached(commit))?;
            source.suspected(source.files(&repository, id, None, Judged::WhenSigned))
        })
        .await
    }

    /// Contents of blobs by their ids; of one that is larger than a manifest may be, nothing but blanks, one more than that.
    pub async fn blobs(&self, ids: Vec<String>) -> Result<BTreeMap<String, Vec<u8>>, Error> {
        self.blocking(move |source| source.suspected(source.0.cache.open().and_then(|repository| source.contents(&repository, ids)))).await
    }

    /// The name of the ref that is followed, or the id of the commit.
    fn wanted(&self) -> String {
        match &self.0.follow {
            Follow::Branch(name) => format!("refs/heads/{name}"),
            Follow::Tag(name) => format!("refs/tags/{name}"),
            Follow::Commit(id) => id.clone(),
            Follow::Head => "HEAD".into(),
        }
    }

    /// The source's only place, which whoever works on the cache holds.
    async fn place(&self) -> Result<OwnedSemaphorePermit, Error> {
        timeout(self.0.limit, self.0.place.clone().acquire_owned()).await.map_err(|_| self.slow())?.map_err(|_| self.slow())
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Self) -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
        let place = self.place().await?;
        self.within(move |source| {
            // The place goes along: while a hung call holds it, no other is started.
            let _place = place;
            work(source)
        })
        .await
    }

    /// Work that blocks, under the time limit, for whoever holds the place.
    async fn within<T: Send + 'static>(&self, work: impl FnOnce(&Self) -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
        let source = self.clone();
        let task = tokio::task::spawn_blocking(move || work(&source));
        timeout(self.0.limit, task).await.map_err(|_| self.slow())?.map_err(|error| self.remote(&format!("our own fault: {error}")))?
    }

    fn may_remake(&self) -> bool {
        let remade = *self.0.remade.lock().unwrap_or_else(PoisonError::into_inner);
        remade.is_none_or(|remade| remade.elapsed() > REMAKE)
    }

    async fn remake(&self) -> Result<(), Error> {
        *self.0.remade.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.0.suspect.store(false, Ordering::Relaxed);
        self.blocking(|source| source.0.cache.remake()).await
    }

    /// A look that runs into damage lets the next poll make the cache again.
    fn suspected<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if matches!(result, Err(Error::Damaged { .. })) {
            self.0.suspect.store(true, Ordering::Relaxed);
        }
        result
    }

    fn remote(&self, reason: &str) -> Error {
        Error::Remote { url: self.url(), reason: reason.chars().filter(|c| !c.is_control()).take(400).collect() }
    }

    fn slow(&self) -> Error {
        Error::Slow { url: self.url(), limit: self.0.limit }
    }
}
