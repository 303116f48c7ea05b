//! The audit log, searched, proven and exported.

use super::gate::Routes;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
}
