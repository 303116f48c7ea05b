//! `/api/v1`: what browsers and programs ask, each in their own name, and what the Roles let them see and do.
//!
//! ```text
//! request ─► who asks? (caller) ─► may they? (gate, by the route's Access) ─► handler ─► only what they may see
//! ```
//!
//! A route is registered by [`gate::Routes::add`] together with what it asks of its caller, and in no other way.

mod acts;
mod alerts;
mod audit;
pub mod caller;
mod events;
pub mod gate;
mod logs;
mod objects;
mod oidc;
mod overview;
mod rollouts;
mod samples;
mod session;
mod tokens;
mod topology;
mod users;
mod writes;

use axum::Router;

use crate::server::Shared;
use gate::Routes;

/// All of them, each with its guard. Who asks has been found out before: see [`caller`].
pub fn router(shared: &Shared) -> Router<Shared> {
    routes(shared).router()
}

/// All of them with what they ask for.
pub(crate) fn routes(shared: &Shared) -> Routes {
    let parts = [
        acts::routes,
        alerts::routes,
        audit::routes,
        events::routes,
        logs::routes,
        objects::routes,
        oidc::routes,
        overview::routes,
        rollouts::routes,
        samples::routes,
        session::routes,
        tokens::routes,
        topology::routes,
        users::routes,
        writes::routes,
    ];
    parts.into_iter().fold(Routes::new(shared.clone()), |routes, part| part(routes))
}
