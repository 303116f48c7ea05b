//! What changed, as server-sent events.

use super::gate::Routes;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
}
