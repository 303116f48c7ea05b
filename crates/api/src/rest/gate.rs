//! Routes, each with what it asks of its caller.

use axum::Router;
use axum::extract::{RawPathParams, Request, State};
use axum::handler::Handler;
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use crds::{Kind, Verb};
use reconcile::Name;
use reconcile::access::What;

use super::caller::Caller;
use super::once;
use crate::problem::problem;
use crate::server::{Shared, read};

/// What a route asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing: sign-in itself.
    Anyone,
    /// To be known. The handler answers about the caller, or only with what they may see, object by object.
    Known,
    /// To be an administrator.
    Admin,
    /// To have the verb on the object that the path names by `{namespace}` and `{name}`; one that may not be seen is not there.
    Object(Verb, Kind),
    /// To have the verb on every object of the kind in the namespace of the path, or in `default` where it names none.
    Kind(Verb, Kind),
}

/// A route as it was declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// Method.
    pub method: Method,
    /// Path with its parameters.
    pub path: &'static str,
    /// What it asks for.
    pub access: Access,
}

/// Routes under `/api/v1`.
pub(crate) struct Routes {
    shared: Shared,
    router: Router<Shared>,
    declared: Vec<Declared>,
}

impl Routes {
    pub(super) fn new(shared: Shared) -> Self {
        Self { shared, router: Router::new(), declared: Vec::new() }
    }

    /// One more. `path` is what comes behind `/api/v1`.
    pub(super) fn add<H, T>(mut self, method: Method, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, Shared>,
        T: 'static,
    {
        let Ok(filter) = MethodFilter::try_from(method.clone()) else { return self };
        let guard = middleware::from_fn_with_state((self.shared.clone(), access), guard);
        let mut route = on(filter, handler);
        if method == Method::POST && once::covers(path) {
            route = route.route_layer(middleware::from_fn_with_state(self.shared.clone(), once::once));
        }
        self.router = self.router.route(&format!("/api/v1{path}"), route.route_layer(guard));
        self.declared.push(Declared { method, path, access });
        self
    }

    pub(super) fn router(self) -> Router<Shared> {
        self.router
    }

    /// All that were added.
    #[cfg(test)]
    pub(crate) fn declared(&self) -> &[Declared] {
        &self.declared
    }
}

async fn guard(State((shared, access)): State<(Shared, Access)>, params: RawPathParams, request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<Caller>();
    match allowed(&shared, access, caller, &params) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal,
    }
}

#[expect(clippy::result_large_err, reason = "it is answered at once")]
fn allowed(shared: &Shared, access: Access, caller: Option<&Caller>, params: &RawPathParams) -> Result<(), Response> {
    if access == Access::Anyone {
        return Ok(());
    }
    let Some(caller) = caller else { return Err(problem(StatusCode::UNAUTHORIZED, "sign in, or send a token")) };
    let param = |wanted: &str| params.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value);
    let namespace = param("namespace").unwrap_or("default");
    match access {
        Access::Anyone | Access::Known => Ok(()),
        Access::Admin if caller.is_admin && caller.scopes.is_none() => Ok(()),
        Access::Admin => Err(problem(StatusCode::FORBIDDEN, "only administrators may do that: members of the group `admins`")),
        Access::Kind(verb, kind) => {
            read(shared, |view| caller.may(view, verb, kind, namespace, What::Any)).map_err(|why| problem(StatusCode::FORBIDDEN, why))
        }
        Access::Object(verb, kind) => {
            let name = Name::new(namespace, param("name").unwrap_or_default());
            let missing = || problem(StatusCode::NOT_FOUND, format!("there is no {} {name}", kind.as_str().to_lowercase()));
            read(shared, |view| {
                let object = view.desired.objects.get(&(kind, name.clone()));
                // What is not there is as what may not be seen.
                let what = object.map_or(What::Any, |object| What::Object(object));
                let sees = caller.may(view, Verb::View, kind, namespace, what);
                let may = caller.may(view, verb, kind, namespace, what);
                match (object.is_some(), sees, may) {
                    (_, Ok(()), Ok(())) | (_, Err(_), Ok(())) => Ok(()),
                    (true, Ok(()), Err(why)) => Err(problem(StatusCode::FORBIDDEN, why)),
                    _ => Err(missing()),
                }
            })
        }
    }
}
