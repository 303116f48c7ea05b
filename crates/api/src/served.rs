//! What was asked of us: requests by route, method and status, and how long answers took.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::shared::{Shared, read};

/// Until an answer begins, in seconds.
const BUCKETS: [f64; 8] = [0.001, 0.005, 0.02, 0.05, 0.1, 0.5, 2.0, 10.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    route: String,
    method: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
}

/// What was asked since the start. Its labels are routes as they are declared, so their number is bounded.
#[derive(Clone, Debug)]
pub struct Served {
    requests: Family<Asked, Counter>,
    seconds: Family<Route, Histogram, fn() -> Histogram>,
}

impl Default for Served {
    fn default() -> Self {
        Self { requests: Family::default(), seconds: Family::new_with_constructor(|| Histogram::new(BUCKETS)) }
    }
}

impl Served {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("http_requests", "Requests, by route, method and status", self.requests.clone());
        registry.register("http_request_seconds", "Time until the answer began, by route", self.seconds.clone());
    }
}

/// Counts a request.
pub(crate) async fn count(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let method = word(request.method());
    let begin = Instant::now();
    let response = next.run(request).await;
    let served = read(&shared, |view| view.served.clone());
    served.requests.get_or_create(&Asked { route: route.clone(), method, status: response.status().as_u16() }).inc();
    served.seconds.get_or_create(&Route { route }).observe(begin.elapsed().as_secs_f64());
    response
}

/// A method: whoever asks may make up others.
fn word(method: &Method) -> &'static str {
    let known = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];
    let words = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    known.iter().position(|known| known == method).map_or("other", |at| words[at])
}
