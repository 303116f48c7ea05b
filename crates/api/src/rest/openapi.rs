//! The description of `/api/v1` (OpenAPI 3.1), made from the routes as they are declared, and a page that shows it.

use std::sync::Arc;

use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use crds::Kind;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::json_schema;
use serde_json::{Map, Value, json};

use super::gate::{Access, Declared, Routes, Said, Yes};
use super::once;
use crate::problem::{MEDIA_TYPE, Problem};

/// The description as it is committed; a test holds it to the routes.
const DOCUMENT: &str = include_str!("../../openapi.json");
/// What the page may load: nothing but what stands beside it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .add(Method::GET, "/openapi.json", Access::Known, || async { file("application/json", DOCUMENT) })
        .says("This description")
        .takes(&[])
        .gives_shape(200, Arc::new(|_| json_schema!({"type": "object", "description": "An OpenAPI 3.1 document."})))
        .add(Method::GET, "/docs", Access::Known, || async { file("text/html; charset=utf-8", include_str!("docs/page.html")) })
        .says("This description as a page")
        .takes(&[])
        .media("text/html")
        .add(Method::GET, "/docs/page.js", Access::Known, || async { file("text/javascript; charset=utf-8", include_str!("docs/page.js")) })
        .says("What the page runs")
        .takes(&[])
        .media("text/javascript")
        .add(Method::GET, "/docs/page.css", Access::Known, || async { file("text/css; charset=utf-8", include_str!("docs/page.css")) })
        .says("How the page looks")
        .takes(&[])
        .media("text/css")
}

fn file(media: &'static str, text: &'static str) -> Response {
    let mut response = ([(header::CONTENT_TYPE, media)], text).into_response();
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

/// The description of all routes.
pub fn document() -> Value {
    let mut settings = SchemaSettings::draft2020_12().for_serialize();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    let mut schemas = settings.into_generator();
    let problem = schemas.subschema_for::<Problem>();
    let mut paths: Map<String, Value> = Map::new();
    let routes = super::routes();
    for declared in routes.declared() {
        let operation = operation(declared, &mut schemas);
        let path = paths.entry(declared.path.clone().into_owned()).or_insert_with(|| json!({}));
        path[declared.method.as_str().to_ascii_lowercase()] = operation;
    }
    paths.sort_keys();
    let said_no = |what: &str| json!({"description": what, "content": {MEDIA_TYPE: {"schema": problem}}});
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Evenkeel",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Lists and documents hold what the caller may see, and nothing else: neither names nor counts of anything else. `x-access` says what a route asks of its caller. What begins with a kind, or with alerts, audit, logs, plans, rollouts, samples, tokens or users, answers under `/api` as well. A POST that has no `Idempotency-Key` among its headers refuses one.",
        },
        "servers": [{"url": "/api/v1"}],
        "security": [{"cookie": []}, {"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas.take_definitions(true),
            "securitySchemes": {
                "cookie": {"type": "apiKey", "in": "cookie", "name": "__Host-evenkeel"},
                "token": {"type": "http", "scheme": "bearer"},
            },
            "responses": {
                "BadRequest": said_no("What was sent can't be understood."),
                "Unauthorized": said_no("Nobody knows who asks."),
                "Forbidden": said_no("One may not."),
                "NotFound": said_no("There is no such thing, or none that one may know of."),
                "NotAllowed": said_no("Nobody may, as the engine was started."),
                "Gone": said_no("It was there once, and is over."),
                "Conflict": said_no("It can't be done as things are."),
                "PreconditionFailed": said_no("It is not any more as `If-Match` says."),
                "TooLarge": said_no("What was sent is too large."),
                "UnsupportedMediaType": said_no("What was sent has another media type than is taken."),
                "Unprocessable": said_no("What was sent is understood, and wrong."),
                "TooMany": said_no("One asked too often: `Retry-After` says when to come again."),
                "Unavailable": said_no("The engine can't answer just now."),
            },
        },
    })
}

/// The description as text, as it is committed.
pub fn text() -> String {
    let text = serde_json::to_string_pretty(&document()).unwrap_or_default();
    format!("{text}\n")
}

fn operation(declared: &Declared, schemas: &mut SchemaGenerator) -> Value {
    let Declared { method, path, access, summary, query, reads, yes, is_tagged: _ } = declared;
    let of_path = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let of_path = of_path.map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}));
    let of_query = query.iter().flat_map(|query| query.iter()).map(|param| {
        let schema = json!({"type": "array", "items": {"type": "string"}});
        json!({"name": param.name, "in": "query", "description": param.what, "style": "form", "explode": true, "schema": schema_of(param.name, schema)})
    });
    let mut operation = json!({
        "operationId": id(method, path),
        "tags": [path.split('/').nth(1).unwrap_or_default()],
        "summary": summary,
        "x-access": access.to_string(),
        "parameters": of_path.chain(of_query).chain(of_headers(declared)).collect::<Vec<_>>(),
        "responses": responses(declared),
    });
    for Yes { status, body } in yes {
        let status = StatusCode::from_u16(*status).unwrap_or_default();
        let mut answer = json!({"description": status.canonical_reason().unwrap_or_default()});
        match body {
            Said::Nothing => {}
            Said::Json(shape) => answer["content"]["application/json"]["schema"] = json!(shape(schemas)),
            Said::Text(media) => answer["content"][media]["schema"] = json!({"type": "string"}),
        }
        operation["responses"][status.as_str()] = answer;
    }
    if let Some(reads) = reads {
        let media = if *method == Method::PATCH && is_object(path) { "application/merge-patch+json" } else { "application/json" };
        operation["requestBody"] = json!({"required": true, "content": {media: {"schema": json!(reads(schemas))}}});
    }
    if *access == Access::Anyone {
        operation["security"] = json!([]);
    }
    operation
}

/// Whether it is one object as it is written.
fn is_object(path: &str) -> bool {
    path.ends_with("/{namespace}/{name}")
}

/// Headers that mean something there.
fn of_headers(declared: &Declared) -> impl Iterator<Item = Value> {
    let header = |name: &str, what: &str| json!({"name": name, "in": "header", "description": what, "schema": {"type": "string"}});
    let takes_keys = declared.method == Method::POST && once::covers(&declared.path);
    let is_user = [Method::PATCH, Method::DELETE].contains(&declared.method) && declared.path == "/users/{name}";
    let is_write = is_user || (declared.method != Method::GET && is_object(&declared.path));
    let key =
        takes_keys.then(|| header("Idempotency-Key", "The same request under the same key is done once within a day, and answered alike."));
    key.into_iter().chain(is_write.then(|| header("If-Match", "Only if it is still as this `ETag` says.")))
}

/// Of what can be said several times, an array.
fn schema_of(name: &str, several: Value) -> Value {
    match name {
        "series" | "group" => several,
        "limit" | "points" | "buckets" => json!({"type": "integer", "minimum": 1}),
        "before" => json!({"type": "integer", "minimum": 0}),
        "dead" | "suppressed" | "new" | "dryRun" | "force" => json!({"type": "boolean"}),
        _ => json!({"type": "string"}),
    }
}

fn responses(declared: &Declared) -> Value {
    let mut responses = Map::new();
    let mut add = |status: &str, name: &str| responses.insert(status.into(), json!({"$ref": format!("#/components/responses/{name}")}));
    // Whoever shows a token that does not count is told so, also where nobody has to show one.
    add("400", "BadRequest");
    add("401", "Unauthorized");
    add("429", "TooMany");
    add("503", "Unavailable");
    if !matches!(declared.access, Access::Anyone | Access::Known) || ["/can", "/sessions", "/tokens"].contains(&&*declared.path) {
        add("403", "Forbidden");
    }
    // There may be no provider, and no such Repository.
    if declared.path.starts_with("/oidc/") || declared.path == "/plans/preview" {
        add("404", "NotFound");
    }
    if declared.path.contains('{') || declared.query.is_some_and(|query| query.iter().any(|param| param.name == "device")) {
        add("404", "NotFound");
    }
    // What the engine is asked for it may have to refuse.
    if ["/plans/preview", "/sessions", "/commits/{id}"].contains(&&*declared.path) || declared.path.ends_with("/origin") {
        add("409", "Conflict");
    }
    if declared.method != Method::GET {
        let more = [
            ("403", "Forbidden"),
            ("404", "NotFound"),
            ("409", "Conflict"),
            ("412", "PreconditionFailed"),
            ("413", "TooLarge"),
            ("415", "UnsupportedMediaType"),
            ("422", "Unprocessable"),
        ];
        more.iter().for_each(|(status, name)| drop(add(status, name)));
    }
    // Objects may be written nowhere (`--write never`).
    if declared.method != Method::GET && Kind::ALL.iter().any(|kind| declared.path.split('/').nth(1) == Some(kind.plural())) {
        add("405", "NotAllowed");
    }
    if declared.path.ends_with("/acknowledge") {
        add("410", "Gone");
    }
    if declared.is_tagged {
        responses.insert("304".into(), json!({"description": "It is as it was: `If-None-Match` names it."}));
    }
    Value::Object(responses)
}

/// `getDevicesByNamespaceByName`.
fn id(method: &Method, path: &str) -> String {
    let mut id = method.as_str().to_ascii_lowercase();
    for part in path.split(['/', '.']).filter(|part| !part.is_empty()) {
        let (by, part) = part.strip_prefix('{').map_or(("", part), |part| ("By", part.trim_end_matches('}')));
        id.push_str(by);
        let mut letters = part.chars();
        id.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        id.push_str(letters.as_str());
    }
    id
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_is_committed_describes_the_routes_that_there_are() {
        assert!(DOCUMENT == text(), "crates/api/openapi.json is stale: run `cargo xtask generate`");
    }

    #[test]
    fn every_route_is_described_with_its_parameters_and_answers() {
        let document = document();
        let mut ids = BTreeSet::new();
        for declared in super::super::routes().declared() {
            let operation = &document["paths"][&*declared.path][declared.method.as_str().to_ascii_lowercase()];
            assert_eq!(operation["x-access"], declared.access.to_string(), "{declared:?}");
            assert!(ids.insert(operation["operationId"].to_string()), "{declared:?}: the id is another one's too");
            assert!(!declared.yes.is_empty(), "{declared:?}: how does it say yes?");
            assert!(operation["summary"].as_str().is_some_and(|summary| summary.len() > 8), "{declared:?}: what is it for?");
            let is_empty = ["/look", "/sync", "/test", "/invitation"].iter().any(|end| declared.path.ends_with(end))
                && declared.path != "/session/invitation";
            let sends = !is_empty && [Method::POST, Method::PUT, Method::PATCH].contains(&declared.method);
            assert_eq!(operation["requestBody"].is_object(), sends, "{declared:?}: what is sent?");
            let names: Vec<&str> = operation["parameters"].as_array().unwrap().iter().filter_map(|param| param["name"].as_str()).collect();
            assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{declared:?}: {names:?}");
            for part in declared.path.split('/').filter(|part| part.starts_with('{')) {
                assert!(names.contains(&part.trim_matches(['{', '}'])), "{declared:?}: {part}");
            }
        }
    }

    /// What only few are told, or only where the engine is asked.
    #[test]
    fn each_way_to_say_no_is_described() {
        let document = document();
        for (path, status) in [
            ("/tokens", "403"),
            ("/plans/preview", "404"),
            ("/plans/preview", "409"),
            ("/devices/{namespace}/{name}/origin", "409"),
            ("/commits/{id}", "409"),
        ] {
            assert!(document["paths"][path]["get"]["responses"][status].is_object(), "{path}: {status}");
        }
    }

    /// What has no shape of its own, and why.
    const FREE: [(&str, &str); 7] = [
        ("/audit/export", "lines of JSON that `evenkeel audit verify` reads"),
        ("/docs", "a page"),
        ("/docs/page.css", "a page's style"),
        ("/docs/page.js", "a page's program"),
        ("/events", "a stream"),
        ("/logs/tail", "a stream"),
        ("/openapi.json", "what OpenAPI says"),
    ];

    /// Programs are written against what is said of bodies: each has fields, or is named above.
    #[test]
    fn every_body_has_a_shape() {
        let document = document();
        let has_shape = |schema: &Value| {
            let found = schema["$ref"].as_str().map_or(Some(schema), |place| document.pointer(place.trim_start_matches('#')));
            let says = |key: &str| found.is_some_and(|schema| schema.get(key).is_some());
            ["properties", "anyOf", "oneOf", "items", "enum"].into_iter().any(says)
        };
        let mut free = BTreeSet::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                let answers = operation["responses"].as_object().unwrap().iter().filter(|(status, _)| status.starts_with('2'));
                let of_answers = answers.flat_map(|(_, answer)| answer["content"].as_object().into_iter().flatten());
                let is_patch = |media: &String| media == "application/merge-patch+json" && path.ends_with("/{namespace}/{name}");
                let sent = operation["requestBody"]["content"].as_object().into_iter().flatten().filter(|(media, _)| !is_patch(media));
                for (media, content) in of_answers.chain(sent) {
                    if !has_shape(&content["schema"]) {
                        assert!(FREE.iter().any(|(known, _)| known == path), "{method} {path}: what is {media} like?");
                        free.insert(path.as_str());
                    }
                }
            }
        }
        assert_eq!(free, FREE.map(|(path, _)| path).into());
    }

    /// Each `$ref` leads somewhere.
    #[test]
    fn nothing_is_referred_to_that_is_not_there() {
        fn refs(value: &Value, found: &mut BTreeSet<String>) {
            match value {
                Value::Object(fields) => {
                    found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                    fields.values().for_each(|field| refs(field, found));
                }
                Value::Array(items) => items.iter().for_each(|item| refs(item, found)),
                _ => {}
            }
        }
        let (document, mut found) = (document(), BTreeSet::new());
        refs(&document, &mut found);
        assert!(found.len() > 20, "{found:?}");
        for place in found {
            assert!(document.pointer(place.trim_start_matches('#')).is_some(), "{place}");
        }
    }
}
