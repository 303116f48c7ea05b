//! Sign-in at somebody else's place (OpenID Connect).

use super::gate::Routes;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
}
