//! `/api/v1`: what browsers and programs ask, each in their own name, and what the Roles let them see and do.
//!
//! ```text
//! request ─► who asks? (caller) ─► may they? (gate, by the route's Access) ─► handler ─► only what they may see
//! ```
//!
//! A route is registered by [`gate::Routes::add`] together with what it asks of its caller, and in no other way.

mod acts;
mod alerts;
mod answer;
mod asked;
mod audit;
pub mod caller;
mod devices;
mod events;
mod fleet;
pub mod gate;
pub(crate) mod limits;
mod logs;
pub(crate) mod objects;
mod oidc;
mod once;
pub mod openapi;
mod overview;
mod pattern;
mod refusal;
mod rights;
mod rollouts;
mod samples;
mod seal;
mod selector;
mod session;
mod sessions;
mod sight;
pub(crate) mod tag;
#[cfg(test)]
mod tests;
mod tokens;
mod topology;
mod users;
mod writes;

use std::sync::Arc;

use axum::routing::any;
use axum::{Extension, Router};

use crate::shared::Shared;
use gate::Routes;

/// All of them, each with its guard. Who asks has been found out before: see [`caller`]; how often they do is counted by `rates`.
pub(crate) fn router(shared: &Shared, rates: Arc<limits::Rates>) -> Router<Shared> {
    let lists = Arc::new(fleet::Lists::default());
    let sights = Arc::new(sight::Sights::default());
    let router = routes().router(shared).layer(Extension(lists)).layer(Extension(sights));
    // What no route is for is answered by none of the others, however long its path is.
    let router = router.route("/api", any(limits::nothing)).route("/api/{*path}", any(limits::nothing));
    limits::around(router, rates)
}

/// All of them with what they ask for.
pub(crate) fn routes() -> Routes {
    let parts = [
        acts::routes,
        alerts::routes,
        audit::routes,
        devices::routes,
        events::routes,
        logs::routes,
        objects::routes,
        oidc::routes,
        openapi::routes,
        overview::routes,
        rights::routes,
        rollouts::routes,
        samples::routes,
        session::routes,
        sessions::routes,
        tokens::routes,
        topology::routes,
        users::routes,
        writes::routes,
    ];
    parts.into_iter().fold(Routes::default(), |routes, part| part(routes))
}
