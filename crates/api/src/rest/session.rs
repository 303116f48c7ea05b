//! Signing in and out.

use super::gate::Routes;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
}
