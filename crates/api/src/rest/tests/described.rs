//! Every answer is as `/api/v1/openapi.json` describes it: its status, its media type, and the shape of its body.

#[path = "../../../../../tests/described.rs"]
mod description;

use std::sync::LazyLock;

use axum::http::{Method, StatusCode};

use description::{Answered, Described};

static DESCRIBED: LazyLock<Described> = LazyLock::new(|| Described::of(&crate::rest::openapi::document()));

/// The same of what was asked for by its address; nothing, if that is no route.
pub(super) fn holds(method: &Method, address: &str, status: StatusCode, media: Option<&str>, body: &[u8]) {
    let path = address.split('?').next().unwrap_or_default();
    let Some(path) = path.strip_prefix("/api/v1") else { return };
    // Fields that were chosen are a part of the shape.
    if address.contains("fields=") {
        return;
    }
    let is_it = |route: &str| {
        let (route, path): (Vec<&str>, Vec<&str>) = (route.split('/').collect(), path.split('/').collect());
        route.len() == path.len() && route.iter().zip(&path).all(|(of, part)| of.starts_with('{') || of == part)
    };
    let routes = DESCRIBED.routes(method.as_str());
    // One that says all of its parts comes before one with a parameter.
    let Some(route) = routes.filter(|route| is_it(route)).min_by_key(|route| route.matches('{').count()) else { return };
    if let Some(fault) = fault(method, route, status, media, body) {
        panic!("{address} is not as it is described: {fault}");
    }
}

/// What is not as it is described, if anything: `route` is such as `/devices/{namespace}/{name}`.
pub(super) fn fault(method: &Method, route: &str, status: StatusCode, media: Option<&str>, body: &[u8]) -> Option<String> {
    DESCRIBED.fault(method.as_str(), route, &Answered { status: status.as_u16(), media, body: Some(body) })
}
