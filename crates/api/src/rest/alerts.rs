//! Alerts, their life, and notices.

use super::gate::Routes;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
}
