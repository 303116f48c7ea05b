//! Every answer is as `/api/v1/openapi.json` describes it: its status, its media type, and the shape of its body.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::http::{Method, StatusCode};
use jsonschema::Validator;
use serde_json::{Value, json};

/// The shape of each body, by path, method, status and media type; none: there is a body of that type and it has no shape.
static DESCRIBED: LazyLock<HashMap<String, Operation>> = LazyLock::new(|| {
    let document = crate::rest::openapi::document();
    let mut all = HashMap::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let Some(responses) = operation["responses"].as_object() else { continue };
            let answers = responses.iter().map(|(status, response)| (status.clone(), bodies(&document, response)));
            all.insert(format!("{} {path}", method.to_uppercase()), answers.collect());
        }
    }
    all
});

type Bodies = HashMap<String, Option<Validator>>;
type Operation = HashMap<String, Bodies>;

fn bodies(document: &Value, response: &Value) -> Bodies {
    let target = response["$ref"].as_str().and_then(|place| document.pointer(place.trim_start_matches('#')));
    let content = target.unwrap_or(response)["content"].as_object().cloned().unwrap_or_default();
    let compile = |schema: &Value| {
        let schema = json!({"allOf": [schema], "components": document["components"]});
        jsonschema::validator_for(&schema).unwrap_or_else(|error| panic!("{error}: {schema}"))
    };
    content.into_iter().map(|(media, of)| (media, of.get("schema").map(compile))).collect()
}

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
    let routes = DESCRIBED.keys().filter_map(|route| route.strip_prefix(method.as_str())?.strip_prefix(' '));
    // One that says all of its parts comes before one with a parameter.
    let Some(route) = routes.filter(|route| is_it(route)).min_by_key(|route| route.matches('{').count()) else { return };
    if let Some(fault) = fault(method, route, status, media, body) {
        panic!("{address} is not as it is described: {fault}");
    }
}

/// What is not as it is described, if anything: `route` is such as `/devices/{namespace}/{name}`.
pub(super) fn fault(method: &Method, route: &str, status: StatusCode, media: Option<&str>, body: &[u8]) -> Option<String> {
    let about = || format!("{method} {route}: {}", status.as_u16());
    let Some(operation) = DESCRIBED.get(&format!("{method} {route}")) else { return Some(format!("{method} {route} is not described")) };
    let Some(bodies) = operation.get(status.as_str()) else { return Some(format!("{}: it is not described", about())) };
    let Some(media) = media.map(|media| media.split(';').next().unwrap_or_default().trim()) else {
        return (!body.is_empty() || !bodies.is_empty()).then(|| format!("{}: it has no media type", about()));
    };
    let Some(shape) = bodies.get(media) else { return Some(format!("{}: no `{media}` is described", about())) };
    let shape = shape.as_ref().filter(|_| media.ends_with("json"))?;
    let value: Value = match serde_json::from_slice(body) {
        Ok(value) => value,
        Err(error) => return Some(format!("{}: {error}", about())),
    };
    let wrong: Vec<String> = shape.iter_errors(&value).take(3).map(|error| format!("{}: {error}", error.instance_path())).collect();
    (!wrong.is_empty()).then(|| format!("{}: {}", about(), wrong.join("; ")))
}
