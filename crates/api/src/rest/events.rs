//! What changed, as server-sent events (WHATWG HTML, 9.2): a word that something is otherwise, and never what; who wants to know asks.

mod sight;
mod stream;
mod tail;

use axum::Extension;
use axum::extract::State;
use axum::extract::connect_info::ConnectInfo;
use axum::http::{Extensions, HeaderMap, Method};
use axum::response::Response;

use super::caller::Caller;
use super::gate::{Access, Routes};
use crate::feed::After;
use crate::places::Taken;
use crate::shared::{Shared, read};
use stream::{Listener, Source};

pub(super) fn routes(routes: Routes) -> Routes {
    let routes = routes
        .add(Method::GET, "/events", Access::Known, events)
        .says("What changes, as server-sent events; goes on from `Last-Event-ID`")
        .media("text/event-stream");
    routes
        .add(Method::GET, "/logs/tail", Access::Known, tail::tail)
        .says("Lines of logs as they come, as server-sent events")
        .takes(&tail::QUERY)
        .media("text/event-stream")
}

/// `GET /events`, from now on, or from the change on that `Last-Event-ID` names.
async fn events(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    extensions: Extensions,
) -> Response {
    let feed = read(&shared, |view| view.feed.clone());
    let seat = match stream::seat(&feed.listeners, &caller) {
        Ok(seat) => seat,
        Err(refused) => return refused,
    };
    no_place(&extensions);
    let asked = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let place = asked.and_then(|id| feed.place(id)).filter(|place| !matches!(feed.after(*place, 0), After::Passed));
    // Who names a place that means nothing here has missed nobody knows what.
    let is_lost = asked.is_some() && place.is_none();
    let source = Changes {
        news: feed.news(),
        place: place.unwrap_or_else(|| feed.newest()),
        is_lost,
        shared,
        caller,
        sight: sight::Sight::default(),
    };
    Listener::new(seat, source).into_response()
}

/// Listeners are counted by themselves: they take no place from those who ask something.
fn no_place(extensions: &Extensions) {
    if let Some(ConnectInfo(taken)) = extensions.get::<ConnectInfo<Taken>>() {
        taken.give_up();
    }
}

/// The changes that a caller may hear of.
struct Changes {
    shared: Shared,
    caller: Caller,
    news: tokio::sync::watch::Receiver<u64>,
    /// The number of the last one that was told, or passed over.
    place: u64,
    /// What came before is not known any more.
    is_lost: bool,
    sight: sight::Sight,
}

/// Changes in one piece: some tens of kilobytes.
const PIECE: usize = 256;

impl Source for Changes {
    fn first(&mut self) -> String {
        let feed = read(&self.shared, |view| view.feed.clone());
        let id = feed.id(self.place);
        // Without data it is no event, but whoever comes again says this id.
        if std::mem::take(&mut self.is_lost) { reset(&id) } else { format!("id: {id}\n\n") }
    }

    async fn wait(&mut self) {
        let place = self.place;
        // The sender is in the view, which is there for as long as we are.
        let _ = self.news.wait_for(|newest| *newest > place).await;
    }

    async fn next(&mut self) -> Result<String, &'static str> {
        let feed = read(&self.shared, |view| view.feed.clone());
        let After::Changes(changes) = feed.after(self.place, PIECE) else {
            self.place = feed.newest();
            return Ok(reset(&feed.id(self.place)));
        };
        let Some(last) = changes.last() else { return Ok(String::new()) };
        self.place = last.number();
        let seen = read(&self.shared, |view| self.sight.seen(view, &self.caller, &changes));
        Ok(changes.iter().zip(seen).filter(|(_, seen)| *seen).map(|(change, _)| feed.event(change)).collect())
    }
}

/// What the client knows may be old, all of it.
fn reset(id: &str) -> String {
    format!("id: {id}\nevent: reset\ndata: {{}}\n\n")
}

#[cfg(test)]
mod tests;
