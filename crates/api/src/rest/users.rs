//! Local users.

use super::gate::Routes;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
}
