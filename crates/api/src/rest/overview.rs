//! What is wrong, what is changing, what changed last.

use super::gate::Routes;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
}
