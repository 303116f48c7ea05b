//! What all handlers work with: the engine's view, the way to ask it, the store, and how people come in.

use std::sync::{Arc, PoisonError};

use axum::http::StatusCode;
use serde_json::Value;
use store::Store;
use tokio::sync::oneshot;

use crate::hooks::Hooks;
use crate::problem::Problem;
use crate::sign_in::SignIn;
use crate::view::{Ask, Request, Requests, SharedView, View, passes};

/// The largest request.
pub(crate) const BODY: usize = 1 << 20;
/// What handlers work with.
#[derive(Clone)]
pub struct Shared {
    /// What the engine shows.
    pub view: SharedView,
    /// Where requests go.
    pub requests: Requests,
    /// The store, for what is not in the view.
    pub store: Arc<Store>,
    /// Who takes webhooks, if anybody.
    pub hooks: Option<Hooks>,
    /// How people come in.
    pub sign_in: SignIn,
}

impl Shared {
    /// Something was taken from a user: what is remembered of them does not count any more, and who listens in their name comes again.
    pub(crate) fn took_from(&self, user: &str) {
        self.sign_in.known().forget();
        read(self, |view| view.feed.clone()).end(user, "sessions, tokens or groups changed");
    }
}

/// Who asks, as the listener knows them.
#[derive(Clone)]
pub(crate) struct Caller(pub(crate) String);

/// What the engine shows, as it is now.
pub(crate) fn read<T>(shared: &Shared, look: impl FnOnce(&View) -> T) -> T {
    look(&shared.view.read().unwrap_or_else(PoisonError::into_inner))
}

/// What the engine answers, or why it does not.
pub(crate) async fn ask_engine(shared: &Shared, what: Ask, by: String) -> Result<Value, Box<Problem>> {
    let stopping = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the engine is stopping");
    let (reply, answer) = oneshot::channel();
    shared.requests.send(Request { what, by, reply }).await.map_err(|_| stopping())?;
    let status = |error: &str| if passes(error) { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::CONFLICT };
    answer.await.map_err(|_| stopping())?.map_err(|error| Problem::new(status(&error), error))
}
