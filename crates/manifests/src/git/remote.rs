//! One look at a remote: what it has, which of it is followed, and bringing that into the cache.

use std::sync::atomic::Ordering;

use git2::{AutotagOption, Direction, ErrorCode, FetchOptions, Oid};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::location::Location;
use super::wire::{Listing, Report, Service};
use super::{Error, Fetched, Follow, Source, http, ssh};
use crate::verify::Judged;

/// Refs that are named to somebody who follows one that is not there.
const SHOWN: usize = 10;
/// Pieces of a pack that wait to be stored.
const WAITING: usize = 16;

/// What is followed, as the remote has it now.
struct Head {
    /// The object: a commit, or an annotated tag.
    id: Oid,
    /// The commit, where the list says it.
    commit: Option<Oid>,
    /// Objects to ask for: the head, or everything where a server gives no commit by its id.
    wants: Vec<Oid>,
}

impl Source {
    /// Looks once.
    pub(super) async fn look(&self, known: Option<&str>) -> Result<Option<Fetched>, Error> {
        let known = known.and_then(|known| Oid::from_str(known).ok());
        let place = self.place().await?;
        if let Location::Local(path) = &self.0.location {
            let path = path.to_str().ok_or_else(|| self.remote("its path is not UTF-8"))?.to_owned();
            return self
                .within(move |source| {
                    let _place = place;
                    source.look_here(&path, known)
                })
                .await;
        }
        let looked = timeout(self.0.limit, self.look_there(known)).await.map_err(|_| self.slow());
        drop(place);
        looked?
    }

    /// A repository on this machine, which libgit2 reads itself.
    fn look_here(&self, path: &str, known: Option<Oid>) -> Result<Option<Fetched>, Error> {
        let wrong = |error: git2::Error| self.remote(error.message());
        let head = match self.pinned() {
            Some(head) => head,
            None => {
                let mut remote = git2::Remote::create_detached(path).map_err(wrong)?;
                let connection = remote.connect_auth(Direction::Fetch, None, None).map_err(wrong)?;
                let refs = connection.list().map_err(wrong)?.iter().map(|head| (head.name().to_owned(), head.oid()));
                self.pick(&Listing { refs: refs.collect(), ..Listing::default() })?
            }
        };
        if known.is_some() && head.commit == known {
            return Ok(None);
        }
        if !self.0.cache.has(head.id) {
            let repository = self.0.cache.open()?;
            let mut options = FetchOptions::new();
            options.download_tags(AutotagOption::None);
            let mut remote = repository.remote_anonymous(path).map_err(wrong)?;
            remote.fetch(&[self.wanted()], Some(&mut options), None).map_err(wrong)?;
        }
        self.settle(head.id, known)
    }

    /// A repository elsewhere.
    async fn look_there(&self, known: Option<Oid>) -> Result<Option<Fetched>, Error> {
        if let Some(head) = self.pinned() {
            if known == Some(head.id) {
                return Ok(None);
            }
            if self.within(move |source| Ok(source.0.cache.has(head.id))).await? {
                return self.within(move |source| source.settle(head.id, known)).await;
            }
        }
        let (listing, connection) =
            Connection::list(&self.0.location, &self.0.secret, Service::Upload).await.map_err(|reason| self.remote(&reason))?;
        let head = match self.pick(&listing) {
            Ok(head) if known.is_none() || head.commit != known => head,
            other => {
                connection.close().await;
                return other.map(|_| None);
            }
        };
        if self.within(move |source| Ok(source.0.cache.has(head.id))).await? {
            connection.close().await;
        } else {
            self.fetch(&listing, connection, &head.wants).await?;
        }
        self.within(move |source| source.settle(head.id, known)).await
    }

    async fn fetch(&self, listing: &Listing, connection: Connection, wants: &[Oid]) -> Result<(), Error> {
        let from_nothing = self.0.from_nothing.swap(false, Ordering::Relaxed);
        let haves = if from_nothing { Vec::new() } else { self.within(|source| Ok(source.0.cache.haves())).await? };
        let request = listing.request(wants, &haves).map_err(|reason| self.remote(&reason))?;
        let (sink, pieces) = mpsc::channel(WAITING);
        let store = self.within(move |source| source.0.cache.store(pieces));
        let receive = async move {
            // The sink goes with it: without its end, what came so far is thrown away.
            connection.fetch(request, &sink).await
        };
        let (received, stored) = tokio::join!(receive, store);
        received.map_err(|reason| self.remote(&reason))?;
        if matches!(stored, Err(Error::Pack(_))) {
            // We may lack what we said that we have: the next time nothing is said.
            self.0.from_nothing.store(true, Ordering::Relaxed);
        }
        stored
    }

    /// The commit that is followed by its id: nobody has to be asked for it.
    fn pinned(&self) -> Option<Head> {
        match &self.0.follow {
            Follow::Commit(id) => Oid::from_str(id).ok().map(|id| Head { id, commit: Some(id), wants: vec![id] }),
            Follow::Branch(_) | Follow::Tag(_) | Follow::Head => None,
        }
    }

    fn pick(&self, listing: &Listing) -> Result<Head, Error> {
        if listing.refs.is_empty() {
            return Err(Error::Empty(self.url()));
        }
        if let Some(head) = self.pinned() {
            let by_id = ["allow-tip-sha1-in-want", "allow-reachable-sha1-in-want", "allow-any-sha1-in-want"].map(|word| listing.can(word));
            let is_tip = listing.refs.iter().any(|(_, id)| *id == head.id);
            let mut tips: Vec<Oid> = listing.refs.iter().filter(|(name, _)| name.starts_with("refs/heads/")).map(|(_, id)| *id).collect();
            tips.sort_unstable();
            tips.dedup();
            let wants = if is_tip || by_id.contains(&true) { vec![head.id] } else { tips };
            return Ok(Head { wants, ..head });
        }
        let wanted = self.wanted();
        let find = |wanted: &str| listing.refs.iter().find(|(name, _)| name == wanted).map(|(_, id)| *id);
        match find(&wanted) {
            Some(id) => Ok(Head { id, commit: find(&format!("{wanted}^{{}}")).or(Some(id)), wants: vec![id] }),
            None => {
                let names = listing.refs.iter().map(|(name, _)| name.as_str()).filter(|name| *name != "HEAD" && !name.ends_with("^{}"));
                let known: String =
                    names.take(SHOWN).collect::<Vec<_>>().join(", ").chars().filter(|c| !c.is_control()).take(500).collect();
                Err(Error::NoReference { reference: wanted, url: self.url(), known })
            }
        }
    }

    /// Takes over a head that is in the cache.
    fn settle(&self, head: Oid, known: Option<Oid>) -> Result<Option<Fetched>, Error> {
        let fetched = {
            let repository = self.0.cache.open()?;
            let object = repository.find_object(head, None).map_err(|error| match error.code() {
                ErrorCode::NotFound if self.0.cache.is_whole(&repository) => self.remote(&format!("it does not give {head}")),
                _ => self.0.cache.damaged(&error),
            })?;
            let commit = object.peel_to_commit().map_err(|_| self.remote(&format!("{head} is not a commit")))?.id();
            // An annotated tag has an id of its own: the commit is what counts.
            if known == Some(commit) {
                return Ok(None);
            }
            let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default();
            let fetched = self.files(&repository, commit, known, Judged::Now(now));
            // Also of a head that is not applied: it need not be fetched again.
            let forced = known.filter(|known| !repository.graph_descendant_of(commit, *known).unwrap_or(false));
            self.0.cache.keep(&repository, head, forced)?;
            fetched?
        };
        self.0.cache.compact()?;
        Ok(Some(fetched))
    }
}

/// A server that told us its refs.
pub(super) enum Connection {
    Http(http::Connection),
    Ssh(Box<ssh::Connection>),
}

impl Connection {
    pub(super) async fn list(location: &Location, secret: &super::Secret, service: Service) -> Result<(Listing, Self), String> {
        match location {
            Location::Http(url) => http::list(url, secret, service).await.map(|(listing, connection)| (listing, Self::Http(connection))),
            Location::Ssh(at) => {
                ssh::list(at, secret, service).await.map(|(listing, connection)| (listing, Self::Ssh(Box::new(connection))))
            }
            Location::Local(_) => Err("it is on this machine".into()),
        }
    }

    async fn fetch(self, request: Vec<u8>, sink: &mpsc::Sender<super::wire::Pack>) -> Result<(), String> {
        match self {
            Self::Http(connection) => connection.fetch(request, sink).await,
            Self::Ssh(connection) => connection.fetch(request, sink).await,
        }
    }

    pub(super) async fn push(self, request: Vec<u8>) -> Result<Report, String> {
        match self {
            Self::Http(connection) => connection.push(request).await,
            Self::Ssh(connection) => connection.push(request).await,
        }
    }

    pub(super) async fn close(self) {
        if let Self::Ssh(connection) = self {
            connection.close().await;
        }
    }
}
