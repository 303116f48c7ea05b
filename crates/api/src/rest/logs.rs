//! Lines of logs, their kinds and senders.

use super::gate::Routes;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
}
