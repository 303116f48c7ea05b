//! The server: on a unix socket for the command line on the same machine, and on TCP for whoever is known.

mod federate;
mod headers;
mod usage;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::{DefaultBodyLimit, Path as UrlPath, Query, Request as HttpRequest, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::serve::IncomingStream;
use axum::{Extension, Json, Router};
use reconcile::{Name, Target, report};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::Filter;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::backtest;
use crate::can::Question;
use crate::hooks;
use crate::logs;
use crate::metrics;
use crate::places::{Places, Taken};
use crate::problem::problem;
use crate::rest;
use crate::served;
use crate::shared::{BODY, Caller, Shared, ask_engine, read};
use crate::sign_in::authenticate;
use crate::sign_in::whence::Whence;
use crate::ui;
use crate::view::Ask;

/// Objects in one answer; more come with `after`.
const PAGE: usize = 1000;

/// Alerts in one answer.
const ALERTS: usize = 10_000;

/// Where to listen.
pub enum Listen {
    /// A unix socket that only its owner can use.
    Unix(PathBuf),
    /// TCP: for whoever signs in, and whoever has this token.
    Tcp(std::net::SocketAddr, Option<Zeroizing<String>>),
}

impl Connected<IncomingStream<'_, UnixListener>> for Caller {
    /// The user at the other end of the socket, as the kernel says; see SO_PEERCRED in unix(7).
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self(stream.io().peer_cred().map_or_else(|_| "unknown".into(), |peer| user(peer.uid())))
    }
}

/// A place that is listened on.
pub enum Bound {
    /// The unix socket.
    Unix(UnixListener),
    /// TCP, with the token if there is one.
    Tcp(Places, Option<Zeroizing<String>>),
}

impl Bound {
    /// Where it is reached by TCP.
    pub fn address(&self) -> Option<std::net::SocketAddr> {
        match self {
            Self::Unix(_) => None,
            Self::Tcp(places, _) => axum::serve::Listener::local_addr(places).ok(),
        }
    }
}

/// Takes the place, so that one that can't be had is known before anything is served or done.
pub async fn bind(listen: Listen) -> std::io::Result<Bound> {
    Ok(match listen {
        Listen::Unix(path) => Bound::Unix(unix(&path)?),
        Listen::Tcp(address, token) => {
            let bound = match tokio::net::TcpListener::bind(address).await {
                // `[::]` means every address: where there is no IPv6, every one of IPv4.
                Err(_) if address.ip() == Ipv6Addr::UNSPECIFIED => {
                    tokio::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await?
                }
                bound => bound?,
            };
            Bound::Tcp(Places::new(bound), token)
        }
    })
}

/// Serves until told to stop.
pub async fn serve(shared: Shared, bound: Bound, stop: CancellationToken) -> std::io::Result<()> {
    let feed = read(&shared, |view| view.feed.clone());
    // Who listens would be waited for without end.
    let stopped = async move {
        stop.cancelled().await;
        feed.close("the engine is stopping");
    };
    match bound {
        Bound::Unix(listener) => {
            let known = |ConnectInfo(caller): ConnectInfo<Caller>, mut request: HttpRequest, next: Next| {
                request.extensions_mut().insert(Whence(None));
                request.extensions_mut().insert(rest::caller::Caller::owner(&caller.0, rest::caller::By::Socket));
                request.extensions_mut().insert(caller);
                next.run(request)
            };
            let app = router(shared).layer(middleware::from_fn(known)).into_make_service_with_connect_info::<Caller>();
            axum::serve(listener, app).with_graceful_shutdown(stopped).await
        }
        Bound::Tcp(listener, token) => {
            let token = token.map(Arc::new);
            let listener = listener.beside(&shared.sign_in.options().proxies);
            let app = by_tcp(shared, token).into_make_service_with_connect_info::<Taken>();
            axum::serve(listener, app).with_graceful_shutdown(stopped).await
        }
    }
}

/// All routes behind whoever finds out who asks; `token` is the engine's own, if it has one.
pub(crate) fn by_tcp(shared: Shared, token: Option<Arc<Zeroizing<String>>>) -> Router {
    let known = {
        let shared = shared.clone();
        move |request, next| authenticate::by_tcp(shared.clone(), token.clone(), request, next)
    };
    let headers = middleware::from_fn_with_state(shared.clone(), headers::put);
    router(shared).layer(middleware::from_fn(known)).layer(headers)
}

/// All routes, without a guard.
pub fn router(shared: Shared) -> Router {
    let rates = Arc::<rest::limits::Rates>::default();
    let scrapes = Extension(Arc::<metrics::Scrapes>::default());
    // It is for everybody, and takes more than what else is: so often and no oftener.
    let scraped = rest::limits::counted(Router::new().route("/metrics", get(metrics)).layer(scrapes), rates.clone());
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/v1/status", get(status))
        .route("/v1/plan", get(plan))
        .route("/v1/outlook", get(preview))
        .route("/v1/devices", get(devices))
        .route("/v1/deployments", get(deployments))
        .route("/v1/objects/{kind}", get(objects))
        .route("/v1/rollouts/{namespace}/{name}", get(rollout))
        .route("/v1/federate", get(federate::federate))
        .route("/v1/usage", get(usage::all))
        .route("/v1/usage/{namespace}/{name}", get(usage::one))
        .route("/v1/samples/{namespace}/{name}", get(usage::samples))
        .route("/v1/audit", get(audit))
        .route("/v1/audit/checkpoint", get(checkpoint))
        .route("/v1/audit/export", get(export))
        .route("/v1/audit/{index}", get(audit_entry))
        .route("/v1/logs", get(logs::lines))
        .route("/v1/logs/senders", get(logs::senders))
        .route("/v1/logs/templates", get(logs::templates::templates))
        .route("/v1/alerts", get(alerts))
        .route("/v1/notices", get(notices))
        .route("/v1/backtest", post(backtest::run))
        .route("/v1/can", post(can))
        .route("/v1/ask", post(ask))
        .route("/hooks/{*place}", any(hook))
        .merge(scraped)
        .merge(rest::router(&shared, rates))
        .fallback(ui::page)
        .layer(DefaultBodyLimit::max(BODY))
        .layer(middleware::from_fn_with_state(shared.clone(), acting))
        .layer(middleware::from_fn_with_state(shared.clone(), served::count))
        .with_state(shared)
}

/// A replica that stands by knows nothing of the fleet: an empty answer of it would be a wrong one. The connection to it ends, so that a
/// Service may lead to another one at once.
async fn acting(State(shared): State<Shared>, request: HttpRequest, next: Next) -> Response {
    let path = request.uri().path();
    if (path.starts_with("/v1") || path.starts_with("/api")) && path != "/v1/status" && read(&shared, |view| view.stands_by) {
        let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, "this replica stands by: ask the one that holds the lease");
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        return response;
    }
    next.run(request).await
}

fn unix(path: &Path) -> std::io::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt as _;
    // The data directory is locked by us: a socket in it is left over from one that is gone.
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// The name of a user id; see passwd(5).
fn user(id: u32) -> String {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| format!("uid {id}"))
}

async fn ready(State(shared): State<Shared>) -> Response {
    match read(&shared, |view| (view.stands_by, view.not_ready.clone())) {
        (true, _) => "standing by\n".into_response(),
        (false, None) => "ok\n".into_response(),
        (false, Some(reason)) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

async fn metrics(State(shared): State<Shared>, Extension(scrapes): Extension<Arc<metrics::Scrapes>>) -> Response {
    match scrapes.text(&shared.view).await {
        Ok(text) => ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response(),
        Err(problem) => problem.into_response(),
    }
}

async fn status(State(shared): State<Shared>) -> Response {
    let value = read(
        &shared,
        |view| json!({"source": view.source, "notReady": view.not_ready, "devices": view.desired.devices.size(), "deployments": view.desired.plain_deployments().count(), "passes": view.passes, "shards": view.shards, "ownNetworkDown": view.own_network_down(), "logs": view.log_keeping}),
    );
    Json(value).into_response()
}

async fn plan(State(shared): State<Shared>) -> Response {
    let value = read(&shared, |view| {
        let in_flight: Vec<Value> = view.observed.rollouts.iter().flat_map(|(unit, rollout)| {
            rollout.in_flight().map(move |(device, placement)| json!({"deployment": report::by(unit), "device": device, "step": placement.step, "phase": placement.phase, "since": placement.since}))
        }).take(PAGE).collect();
        let deferred: Vec<_> = view.deferred.values().flatten().take(PAGE).collect();
        json!({"revision": view.desired.revision, "inFlight": in_flight, "deferred": deferred})
    });
    Json(value).into_response()
}

/// Which objects, and from where on.
#[derive(Debug, Default, Deserialize)]
pub struct Page {
    /// `key=value,key=value`.
    #[serde(default)]
    selector: String,
    /// Only those after this name.
    after: Option<String>,
}

impl Page {
    fn labels(&self) -> Vec<(&str, &str)> {
        self.selector.split(',').filter_map(|pair| pair.split_once("==").or_else(|| pair.split_once('='))).collect()
    }
}

async fn devices(State(shared): State<Shared>, Query(page): Query<Page>) -> Response {
    let items: Vec<Value> = read(&shared, |view| {
        let wanted = page.labels();
        let after = page.after.as_deref().map(Name::parse);
        let devices = view.desired.devices.values().filter(|device| after.as_ref().is_none_or(|after| device.name > *after));
        let devices =
            devices.filter(|device| wanted.iter().all(|(key, value)| device.labels.get(*key).is_some_and(|found| found == value)));
        let show = |device: &std::sync::Arc<reconcile::Device>| {
            let status = report::device(&view.desired, &view.observed, &device.name);
            let mut item = written(view, crds::Kind::Device, &device.name, status);
            if let Some(last) = view.usages.last(&device.name) {
                item["uses"] = json!(crate::usage::in_short(&last));
            }
            item["effective"] = json!({"address": device.address, "labels": device.labels});
            item
        };
        devices.take(PAGE).map(show).collect()
    });
    list(&items)
}

async fn deployments(State(shared): State<Shared>, Query(page): Query<Page>) -> Response {
    let items: Vec<Value> = read(&shared, |view| {
        let after = page.after.as_deref().map(Name::parse);
        let known = view.desired.objects.keys().filter(|(kind, _)| *kind == crds::Kind::Deployment).map(|(_, name)| name);
        // One that was never good is shown too: somebody is looking for it.
        let stalled = view.desired.stalled.keys().filter_map(|target| match target {
            Target::Deployment(name) => Some(name),
            _ => None,
        });
        let names: std::collections::BTreeSet<&Name> = known.chain(stalled).collect();
        let names = names.into_iter().filter(|name| after.as_ref().is_none_or(|after| *name > after));
        let show = |name: &Name| {
            let deferred = view.deferred.get(name).map(Vec::as_slice).unwrap_or_default();
            written(view, crds::Kind::Deployment, name, report::deployment(&view.desired, &view.observed, deferred, name))
        };
        names.take(PAGE).map(show).collect::<Vec<_>>()
    });
    list(&items)
}

async fn objects(State(shared): State<Shared>, UrlPath(kind): UrlPath<String>, Query(page): Query<Page>) -> Response {
    let Some(kind) = crds::Kind::parse(&kind) else { return problem(StatusCode::NOT_FOUND, format!("there is no kind {kind}")) };
    let items: Vec<Value> = read(&shared, |view| {
        let after = page.after.as_deref().map(Name::parse);
        let objects = view.desired.objects.iter().filter(|((of, name), _)| *of == kind && after.as_ref().is_none_or(|after| name > after));
        let show = |name: &Name| {
            let mut item = written(view, kind, name, Value::Null);
            if kind == crds::Kind::Role {
                let deferred = view.deferred.get(&name.login()).map(Vec::as_slice).unwrap_or_default();
                item["status"] = json!(report::role(&view.desired, &view.observed, deferred, name, view.roles.get(name)));
                item["login"] = json!(report::login_words(&view.desired, &view.observed, deferred, name));
            }
            item
        };
        objects.take(PAGE).map(|((_, name), _)| show(name)).collect()
    });
    list(&items)
}

/// An object as it was written, with its status, under its `name` here.
fn written(view: &crate::view::View, kind: crds::Kind, name: &Name, status: impl Serialize) -> Value {
    let mut item = rest::objects::written(&view.desired, kind, name);
    item["status"] = serde_json::to_value(status).unwrap_or_default();
    if item["status"].is_null() {
        item.as_object_mut().map(|item| item.remove("status"));
    }
    item["name"] = json!(name);
    item
}

fn list(items: &[Value]) -> Response {
    let more = (items.len() == PAGE).then(|| items.last().map(|item| item["name"].clone())).flatten();
    Json(json!({"items": items, "after": more})).into_response()
}

async fn rollout(State(shared): State<Shared>, UrlPath((namespace, name)): UrlPath<(String, String)>) -> Response {
    let name = Name::new(&namespace, &name);
    match read(&shared, |view| view.observed.rollouts.get(&name).cloned()) {
        Some(rollout) => {
            Json(json!({"history": rollout.history, "paused": rollout.paused, "placements": rollout.placements})).into_response()
        }
        None => problem(StatusCode::NOT_FOUND, format!("{} has never been rolled out", Target::unit(&name))),
    }
}

/// Which entries.
#[derive(Debug, Deserialize)]
pub struct Entries {
    about: Option<String>,
    before: Option<u64>,
    limit: Option<usize>,
    /// For an export: from this entry on.
    from: Option<u64>,
}

async fn audit(State(shared): State<Shared>, Query(query): Query<Entries>) -> Response {
    let filter = Filter { about: query.about, before: query.before, limit: query.limit.unwrap_or(50).min(PAGE) };
    answer(shared.store.entries(&filter).await)
}

async fn audit_entry(State(shared): State<Shared>, UrlPath(index): UrlPath<u64>) -> Response {
    match shared.store.entry(index).await {
        Ok(None) => problem(StatusCode::NOT_FOUND, format!("there is no entry {index}")),
        other => answer(other),
    }
}

async fn checkpoint(State(shared): State<Shared>) -> Response {
    match shared.store.checkpoint().await {
        Ok(Some(checkpoint)) => checkpoint.note.into_response(),
        Ok(None) => problem(StatusCode::NOT_FOUND, "the log is empty"),
        Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    }
}

/// One page of the export; `x-evenkeel-next` says where the next one begins.
async fn export(State(shared): State<Shared>, Query(query): Query<Entries>) -> Response {
    match shared.store.export(query.from.unwrap_or(0)).await {
        Ok((lines, next)) => {
            let text: String = lines.iter().map(|line| serde_json::to_string(line).unwrap_or_default() + "\n").collect();
            ([("x-evenkeel-next", next.map(|next| next.to_string()).unwrap_or_default())], text).into_response()
        }
        Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    }
}

/// Alerts are bounded by the limits of their rules; what is beyond a page is counted.
async fn alerts(State(shared): State<Shared>) -> Response {
    let (alerts, beyond_limit, lost) =
        read(&shared, |view| (view.alerts.clone(), view.beyond_limit.clone(), view.outbox.standing.lost.clone()));
    let own_network_down = read(&shared, |view| view.own_network_down());
    let left_off = alerts.len().saturating_sub(ALERTS);
    let items: Vec<_> = alerts.iter().take(ALERTS).collect();
    Json(json!({"items": items, "leftOff": left_off, "beyondLimit": beyond_limit, "undelivered": lost, "ownNetworkDown": own_network_down}))
        .into_response()
}

/// Notifications, the newest first.
async fn notices(State(shared): State<Shared>, Query(query): Query<Entries>) -> Response {
    let limit = u32::try_from(query.limit.unwrap_or(50).min(PAGE)).unwrap_or(50);
    answer(shared.store.notices(limit).await)
}

async fn ask(State(shared): State<Shared>, Extension(Caller(by)): Extension<Caller>, Json(what): Json<Ask>) -> Response {
    put(&shared, what, by).await
}

/// No token is asked for: what the request is signed with is its own.
async fn hook(State(shared): State<Shared>, method: Method, UrlPath(place): UrlPath<String>, headers: HeaderMap, body: Body) -> Response {
    hooks::answer(shared.hooks, &method, place, headers, body).await
}

async fn can(State(shared): State<Shared>, Json(question): Json<Question>) -> Response {
    let governing = read(&shared, |view| view.governing().clone());
    if governing.revision.commit.is_empty() {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "nothing is known yet: the first look at the source is not done");
    }
    let user = match crate::can::user(&shared.store, &question.subject).await {
        Ok(user) => user,
        Err(error) => return problem(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    };
    match crate::can::answer(&governing, &question, user.as_ref()) {
        Ok(answer) => Json(answer).into_response(),
        Err(error) => problem(StatusCode::BAD_REQUEST, error),
    }
}

/// What would come of a revision.
#[derive(Debug, Deserialize)]
pub struct Which {
    /// Branch, tag or commit; what is in force if none is given.
    revision: Option<String>,
    /// The Repository whose it is, as `NAMESPACE/NAME`, or `NAME` in the namespace `default`; in a cluster only.
    repository: Option<String>,
}

async fn preview(State(shared): State<Shared>, Extension(Caller(by)): Extension<Caller>, Query(which): Query<Which>) -> Response {
    put(&shared, Ask::Preview { reference: which.revision, repository: which.repository.as_deref().map(Name::parse) }, by).await
}

/// Puts a question to the engine.
async fn put(shared: &Shared, what: Ask, by: String) -> Response {
    match ask_engine(shared, what, by).await {
        Ok(value) => Json(value).into_response(),
        Err(why) => why.into_response(),
    }
}

fn answer<T: Serialize>(result: Result<T, store::Error>) -> Response {
    match result {
        Ok(value) => Json(value).into_response(),
        Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    }
}

#[cfg(test)]
mod tests;
