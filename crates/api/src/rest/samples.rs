//! What devices use, as charts want it.

use super::gate::Routes;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
}
