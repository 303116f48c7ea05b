//! Rollouts, plans and the source.

use super::gate::Routes;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
}
