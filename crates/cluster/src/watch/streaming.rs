//! A list that comes as a watch: the server sends what is there one by one, and goes on with what changes (`sendInitialEvents`, in Kubernetes
//! "streaming lists"). Neither side holds a page of it.
//!
//! It is read at least as new as when it was asked for. kube's own streaming lists ask for whatever the server has in its cache, which may be
//! older than what an earlier process saw: we would take devices back to that.

use futures::stream::{self, BoxStream, Stream, StreamExt as _};
use kube::api::{Api, DynamicObject, WatchEvent, WatchParams};
use kube::runtime::watcher::{Error, Event, Result};

type Sent = BoxStream<'static, kube::Result<WatchEvent<DynamicObject>>>;

/// What the server puts on the bookmark that ends the list.
const END: &str = "k8s.io/initial-events-end";
/// How a server answers that does not have it, or where it is turned off: `Invalid`, or as a request that makes no sense.
const NOT_OFFERED: [u16; 2] = [400, 422];

/// How far it has come.
enum State {
    Begin,
    /// What is there comes in.
    Listing(Sent),
    /// All that came until this version was told.
    From(String),
    Watching(String, Sent),
}

/// For ever: after an error it goes on where it was, if that can be.
pub(super) fn watch(api: Api<DynamicObject>) -> impl Stream<Item = Result<Event<DynamicObject>>> + Send {
    stream::unfold((api, State::Begin), |(api, mut state)| async move {
        loop {
            let (event, next) = step(&api, state).await;
            if let Some(event) = event {
                return Some((event, (api, next)));
            }
            state = next;
        }
    })
}

/// The server has no such lists.
pub(super) fn is_not_offered(event: &Result<Event<DynamicObject>>) -> bool {
    matches!(event, Err(Error::InitialListFailed(kube::Error::Api(status))) if NOT_OFFERED.contains(&status.code))
}

async fn step(api: &Api<DynamicObject>, state: State) -> (Option<Result<Event<DynamicObject>>>, State) {
    match state {
        State::Begin => match api.watch(&WatchParams::streaming_lists(), "").await {
            Ok(sent) => (Some(Ok(Event::Init)), State::Listing(sent.boxed())),
            Err(error) => (Some(Err(Error::InitialListFailed(error))), State::Begin),
        },
        State::Listing(mut sent) => match sent.next().await {
            Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
                (Some(Ok(Event::InitApply(object))), State::Listing(sent))
            }
            Some(Ok(WatchEvent::Bookmark(mark))) if mark.metadata.annotations.contains_key(END) => {
                (Some(Ok(Event::InitDone)), State::Watching(mark.metadata.resource_version, sent))
            }
            Some(Ok(WatchEvent::Deleted(_) | WatchEvent::Bookmark(_))) => (None, State::Listing(sent)),
            Some(Ok(WatchEvent::Error(status))) => (Some(Err(Error::InitialListFailed(kube::Error::Api(status)))), State::Begin),
            Some(Err(error)) => (Some(Err(Error::InitialListFailed(error))), State::Begin),
            // Half a list is none: what it lacked would be gone.
            None => (Some(Err(Error::NoResourceVersion)), State::Begin),
        },
        State::From(version) => match api.watch(&WatchParams::default(), &version).await {
            Ok(sent) => (None, State::Watching(version, sent.boxed())),
            // What came since is not there any more: all of it is asked for anew.
            Err(kube::Error::Api(status)) if status.code == 410 => (Some(Err(Error::WatchError(status))), State::Begin),
            Err(error) => (Some(Err(Error::WatchStartFailed(error))), State::From(version)),
        },
        State::Watching(version, mut sent) => match sent.next().await {
            Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
                let version = object.metadata.resource_version.clone().unwrap_or(version);
                (Some(Ok(Event::Apply(object))), State::Watching(version, sent))
            }
            Some(Ok(WatchEvent::Deleted(object))) => {
                let version = object.metadata.resource_version.clone().unwrap_or(version);
                (Some(Ok(Event::Delete(object))), State::Watching(version, sent))
            }
            Some(Ok(WatchEvent::Bookmark(mark))) => (None, State::Watching(mark.metadata.resource_version, sent)),
            Some(Ok(WatchEvent::Error(status))) if status.code == 410 => (Some(Err(Error::WatchError(status))), State::Begin),
            Some(Ok(WatchEvent::Error(status))) => (Some(Err(Error::WatchError(status))), State::From(version)),
            Some(Err(error)) => (Some(Err(Error::WatchFailed(error))), State::From(version)),
            None => (None, State::From(version)),
        },
    }
}
