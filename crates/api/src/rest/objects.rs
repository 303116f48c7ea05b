//! Objects of every kind, as they were written, with their status.

use super::gate::Routes;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
}
