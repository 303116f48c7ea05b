//! Routes, each with what it asks of its caller.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::{RawPathParams, Request, State};
use axum::handler::Handler;
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use crds::{Kind, Verb};
use reconcile::Name;
use reconcile::access::What;
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::asked;
use super::caller::Caller;
use super::once;
use super::sight::Sights;
use crate::problem::Problem;
use crate::shared::{Shared, read};

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
    /// To have the verb on an object of the kind that no path names: the one in the body, or the device of an alert. The handler, which
    /// knows it, is who asks.
    Meant(Verb, Kind),
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anyone => f.write_str("anyone"),
            Self::Known => f.write_str("known"),
            Self::Admin => f.write_str("admin"),
            Self::Object(verb, kind) => write!(f, "{} this {}", verb.as_str(), kind.as_str()),
            Self::Kind(verb, kind) => write!(f, "{} every {}", verb.as_str(), kind.as_str()),
            Self::Meant(verb, kind) => write!(f, "{} the {} that is meant", verb.as_str(), kind.as_str()),
        }
    }
}

/// A parameter in the query of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param {
    /// Its name.
    pub name: &'static str,
    /// What it says, for people.
    pub what: &'static str,
}

/// A parameter.
pub(super) const fn param(name: &'static str, what: &'static str) -> Param {
    Param { name, what }
}

/// The schema of a body.
pub(super) type Shape = Arc<dyn Fn(&mut SchemaGenerator) -> Schema + Send + Sync>;

/// A route as it was declared.
#[derive(Clone)]
pub struct Declared {
    /// Method.
    pub method: Method,
    /// Path with its parameters.
    pub path: Cow<'static, str>,
    /// What it asks for.
    pub access: Access,
    /// What it is for.
    pub(super) summary: Cow<'static, str>,
    /// What may stand in its query; any other is refused. `None`: whatever somebody else puts there.
    pub(super) query: Option<&'static [Param]>,
    /// What is sent.
    pub(super) reads: Option<Shape>,
    /// How it says yes: each status once.
    pub(super) yes: Vec<Yes>,
    /// Its answers have tags: what is as it was is a 304.
    pub(super) is_tagged: bool,
}

/// One way of saying yes.
#[derive(Clone)]
pub(super) struct Yes {
    /// Such as 200.
    pub(super) status: u16,
    /// What is in it.
    pub(super) body: Said,
}

/// What is in an answer that says yes.
#[derive(Clone)]
pub(super) enum Said {
    /// Nothing.
    Nothing,
    /// JSON of this shape.
    Json(Shape),
    /// Text of this media type.
    Text(&'static str),
}

impl fmt::Debug for Declared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.method, self.path, self.access)
    }
}

/// Routes under `/api/v1`.
#[derive(Default)]
pub(crate) struct Routes {
    added: Vec<(Declared, MethodRouter<Shared>)>,
}

impl Routes {
    /// One more. `path` is what comes behind `/api/v1`.
    pub(super) fn add<H, T>(mut self, method: Method, path: impl Into<Cow<'static, str>>, access: Access, handler: H) -> Self
    where
        H: Handler<T, Shared>,
        T: 'static,
    {
        let Ok(filter) = MethodFilter::try_from(method.clone()) else { return self };
        let declared = Declared {
            method,
            path: path.into(),
            access,
            summary: "".into(),
            query: Some(&[]),
            reads: None,
            yes: Vec::new(),
            is_tagged: false,
        };
        self.added.push((declared, on(filter, handler)));
        self
    }

    fn last(mut self, change: impl FnOnce(&mut Declared)) -> Self {
        if let Some((declared, _)) = self.added.last_mut() {
            change(declared);
        }
        self
    }

    /// What the last one is for.
    pub(super) fn says(self, summary: impl Into<Cow<'static, str>>) -> Self {
        self.last(|declared| declared.summary = summary.into())
    }

    /// What may stand in the query of the last one, and nothing else.
    pub(super) fn takes(self, query: &'static [Param]) -> Self {
        self.last(|declared| declared.query = Some(query))
    }

    /// Whatever is in the query of the last one is taken: who sends people there decides it.
    pub(super) fn takes_any(self) -> Self {
        self.last(|declared| declared.query = None)
    }

    /// What is sent to the last one.
    pub(super) fn reads<T: JsonSchema>(self) -> Self {
        self.sent(Arc::new(|schemas| schemas.subschema_for::<T>()))
    }

    /// The same, where no type of ours has that shape.
    pub(super) fn sent(self, shape: Shape) -> Self {
        self.last(|declared| declared.reads = Some(shape))
    }

    /// What the last one answers: a document with a tag.
    pub(super) fn answers<T: JsonSchema>(self) -> Self {
        self.shaped(Arc::new(|schemas| schemas.subschema_for::<T>()))
    }

    /// The same, where no type of ours has that shape.
    pub(super) fn shaped(self, shape: Shape) -> Self {
        self.gives_shape(200, shape).last(|declared| declared.is_tagged = true)
    }

    /// What the last one says with a status.
    pub(super) fn gives<T: JsonSchema>(self, status: u16) -> Self {
        self.gives_shape(status, Arc::new(|schemas| schemas.subschema_for::<T>()))
    }

    /// The same, where no type of ours has that shape.
    pub(super) fn gives_shape(self, status: u16, shape: Shape) -> Self {
        self.yes(status, Said::Json(shape))
    }

    /// The last one says yes with this status and nothing more.
    pub(super) fn gives_nothing(self, status: u16) -> Self {
        self.yes(status, Said::Nothing)
    }

    /// The last one answers text of this media type.
    pub(super) fn media(self, media: &'static str) -> Self {
        self.yes(200, Said::Text(media))
    }

    fn yes(self, status: u16, body: Said) -> Self {
        self.last(|declared| declared.yes.push(Yes { status, body }))
    }

    /// All of them, each behind its guard; those that are [short](is_short) also without `/v1`.
    pub(super) fn router(self, shared: &Shared) -> Router<Shared> {
        let mut router = Router::new();
        for (declared, handler) in self.added {
            let short = is_short(&declared.path).then(|| format!("/api{}", declared.path));
            let long = format!("/api/v1{}", declared.path);
            let mut handler = handler;
            if declared.method == Method::POST {
                handler = match once::covers(&declared.path) {
                    true => handler.route_layer(middleware::from_fn_with_state(shared.clone(), once::once)),
                    false => handler.route_layer(middleware::from_fn(once::none)),
                };
            }
            let guard = middleware::from_fn_with_state((shared.clone(), Arc::new(declared)), guard);
            let handler = handler.route_layer(guard);
            if let Some(short) = short {
                router = router.route(&short, handler.clone());
            }
            router = router.route(&long, handler);
        }
        router
    }

    /// All that were added.
    pub(crate) fn declared(&self) -> impl Iterator<Item = &Declared> {
        self.added.iter().map(|(declared, _)| declared)
    }
}

/// Beside the kinds: what answers without the version too, since people look for it by its name.
const NOUNS: [&str; 8] = ["alerts", "audit", "logs", "plans", "rollouts", "samples", "tokens", "users"];

/// Whether a route answers without the version too.
pub(super) fn is_short(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    NOUNS.contains(&first) || Kind::ALL.iter().any(|kind| kind.plural() == first)
}

async fn guard(State((shared, declared)): State<(Shared, Arc<Declared>)>, params: RawPathParams, request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<Caller>();
    let allowed = allowed(&shared, declared.access, caller, &params).map_err(|mut refusal| {
        // Why not may name devices that they may not see.
        if let (Some(caller), Some(sights)) = (caller, request.extensions().get::<Arc<Sights>>()) {
            refusal.detail = sights.of(caller, &shared).masked(&refusal.detail);
            refusal.error = refusal.detail.clone();
        }
        refusal
    });
    match allowed.and_then(|()| declared.query.map_or(Ok(()), |query| asked::only(request.uri(), query))) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

fn allowed(shared: &Shared, access: Access, caller: Option<&Caller>, params: &RawPathParams) -> Result<(), Box<Problem>> {
    if access == Access::Anyone {
        return Ok(());
    }
    let Some(caller) = caller else { return Err(Problem::new(StatusCode::UNAUTHORIZED, "sign in, or send a token")) };
    let param = |wanted: &str| params.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value);
    let namespace = param("namespace").unwrap_or("default");
    let forbidden = |why: String| Problem::new(StatusCode::FORBIDDEN, why);
    match access {
        Access::Anyone | Access::Known | Access::Meant(..) => Ok(()),
        Access::Admin if caller.is_admin && caller.scopes.is_none() => Ok(()),
        Access::Admin => Err(forbidden("only administrators may do that: members of the group `admins`".into())),
        Access::Kind(verb, kind) => read(shared, |view| caller.may(view, verb, kind, namespace, What::Any)).map_err(forbidden),
        Access::Object(verb, kind) => {
            let name = Name::new(namespace, param("name").unwrap_or_default());
            read(shared, |view| {
                let object = view.desired.objects.get(&(kind, name.clone()));
                // What is not there is as what may not be seen.
                let what = object.map_or(What::Any, |object| What::Object(object));
                let Err(why) = caller.may(view, verb, kind, namespace, what) else { return Ok(()) };
                let is_seen = object.is_some() && caller.may(view, Verb::View, kind, namespace, what).is_ok();
                // In the same words whether it is there or not.
                let missing = || Problem::missing(format!("there is no {} of this name that you may see", kind.as_str().to_lowercase()));
                Err(if is_seen { forbidden(why) } else { missing() })
            })
        }
    }
}
