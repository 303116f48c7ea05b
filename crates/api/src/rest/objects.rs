//! Objects of every kind, as they were written, with their status.

mod devices;

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path as UrlPath, State};
use axum::http::Method;
use crds::{Kind, Object, Verb};
use reconcile::{Deferred, Desired, Name, Target, report};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::{Value, json};

pub(crate) use devices::last_of;

use super::answer::{self, Answer, Fields};
use super::asked::{Asked, LIST};
use super::caller::Caller;
use super::fleet::{Lists, contains};
use super::gate::{Access, Param, Routes, Shape, param};
use super::sight::{Seen, Sight};
use crate::problem::Problem;
use crate::shared::{Shared, ask_engine, read};
use crate::view::{Ask, View};

/// What one object takes.
const ONE: [Param; 1] = [param("fields", "Only these parts of it, such as `metadata.name,status.health`.")];
/// By what other objects are sorted.
const SORTED: [&str; 1] = ["name"];

pub(super) fn routes(routes: Routes) -> Routes {
    let routes = devices::routes(routes);
    Kind::ALL.iter().fold(routes, |routes, kind| {
        let (kind, plural) = (*kind, kind.plural());
        let routes = match kind {
            Kind::Device => routes,
            kind => routes
                .add(Method::GET, format!("/{plural}"), Access::Known, move |state: State<Shared>, seen: Seen, asked: Asked| {
                    list(kind, state, seen, asked)
                })
                .says(format!("The {plural} that one may see"))
                .takes(&LIST)
                .shaped(list_of(kind)),
        };
        routes
            .add(
                Method::GET,
                format!("/{plural}/{{namespace}}/{{name}}"),
                Access::Object(Verb::View, kind),
                move |state: State<Shared>, seen: Seen, place: UrlPath<(String, String)>, asked: Asked| {
                    one(kind, state, seen, place, asked)
                },
            )
            .says(format!("One {} as it is written, and how it stands", kind.as_str()))
            .takes(&ONE)
            .shaped(object_of(kind))
            .add(
                Method::GET,
                format!("/{plural}/{{namespace}}/{{name}}/origin"),
                Access::Object(Verb::View, kind),
                move |state: State<Shared>, caller: Extension<Caller>, place: UrlPath<(String, String)>, asked: Asked| {
                    origin(kind, state, caller, place, asked)
                },
            )
            .says(format!("Where a {} stands in the source: its file and its line", kind.as_str()))
            .answers::<Origin>()
    })
}

async fn list(kind: Kind, State(shared): State<Shared>, Seen(sight): Seen, asked: Asked) -> Answer {
    // Each of their statuses may ask for many of them.
    sight.devices().await;
    let (fields, limit, words, selector) = (Fields::of(&asked)?, asked.limit()?, asked.search()?, asked.selector()?);
    let is_down = asked.sort(&SORTED)?.first().is_some_and(|(_, is_down)| *is_down);
    let wanted = |name: &&Name| {
        let object = sight.desired.objects.get(&(kind, (*name).clone()));
        let labels = object.map(|object| object.labels()).unwrap_or_default();
        let has = |word: &String| contains(name.name(), word) || labels.values().any(|value| contains(value, word));
        asked.one("namespace").is_none_or(|namespace| name.namespace() == namespace) && selector.matches(&labels) && words.iter().all(has)
    };
    let mut names: Vec<&Name> = sight.names(kind).iter().filter(wanted).collect();
    if is_down {
        names.reverse();
    }
    let from = answer::begin(&asked, names.len(), |at| names[at].full())?;
    let items: Vec<Value> = read(&shared, |view| {
        let page = names.iter().skip(from).take(limit);
        page.map(|name| shown(view, &sight, kind, name, &fields)).collect()
    });
    let items = fields.of_items(items);
    let last = from + items.len();
    let cursor = (last < names.len()).then(|| answer::cursor(last - 1, names[last - 1].full()));
    answer::document(&asked, &json!({"items": items, "total": names.len(), "cursor": cursor}))
}

async fn one(
    kind: Kind,
    State(shared): State<Shared>,
    Seen(sight): Seen,
    UrlPath((namespace, name)): UrlPath<(String, String)>,
    asked: Asked,
) -> Answer {
    let (name, fields) = (Name::new(&namespace, &name), Fields::of(&asked)?);
    let object = sight.desired.objects.get(&(kind, name.clone()));
    if object.is_none() && !sight.desired.stalled.contains_key(&Target::of(kind, name.clone())) {
        return Err(Problem::missing(format!("there is no {} {name}", kind.as_str().to_lowercase())));
    }
    sight.devices().await;
    let tag = object.map(|object| answer::manifest_tag(object)).unwrap_or_default();
    let item = fields.of_item(read(&shared, |view| shown(view, &sight, kind, &name, &fields)));
    answer::object(&asked, &tag, &item)
}

/// Where an object stands.
#[derive(Serialize, JsonSchema)]
struct Origin {
    /// From the root of the repository, or of the folder; null: it stands in no file that is known here, as in a cluster.
    file: Option<String>,
    /// From 1.
    line: Option<usize>,
}

async fn origin(
    kind: Kind,
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    UrlPath((namespace, name)): UrlPath<(String, String)>,
    asked: Asked,
) -> Answer {
    let key = (kind, Name::new(&namespace, &name));
    let found = ask_engine(&shared, Ask::Origin { key }, caller.name).await?;
    let (file, line) = serde_json::from_value::<Option<(String, usize)>>(found).ok().flatten().unzip();
    answer::document(&asked, &Origin { file, line })
}

/// An object as it is written, with how it stands and where it comes from.
fn shown(view: &View, sight: &Sight, kind: Kind, name: &Name, fields: &Fields) -> Value {
    let mut item = written(&sight.desired, kind, name);
    item["metadata"]["namespace"] = json!(name.namespace());
    item.as_object_mut().map(|item| item.remove("status"));
    if fields.wants("status") {
        let mut status = status(view, sight, kind, name);
        sight.mask(&mut status);
        item["status"] = status;
    }
    if fields.wants("origin") {
        let revision = &sight.desired.revision;
        item["origin"] = json!({"commit": revision.commit, "author": view.source.author});
    }
    if kind == Kind::Device {
        devices::add(&mut item, view, sight, name, fields);
    }
    if kind == Kind::Role && fields.wants("login") {
        let deferred = view.deferred.get(&name.login()).map(Vec::as_slice).unwrap_or_default();
        item["login"] = json!(report::login_words(&sight.desired, &view.observed, deferred, name));
    }
    item
}

/// An object as it was written.
pub(crate) fn written(desired: &Desired, kind: Kind, name: &Name) -> Value {
    let unread = || json!({"apiVersion": format!("{}/{}", crds::GROUP, crds::VERSION), "kind": kind.as_str(), "metadata": {"namespace": name.namespace(), "name": name.name()}});
    desired.objects.get(&(kind, name.clone())).map_or_else(unread, |object: &Arc<Object>| object.to_value())
}

fn status(view: &View, sight: &Sight, kind: Kind, name: &Name) -> Value {
    let desired = &sight.desired;
    fn value(status: impl Serialize) -> Value {
        serde_json::to_value(status).unwrap_or_default()
    }
    match kind {
        Kind::Device => {
            let mut status = report::device(desired, &view.observed, name);
            // Whose something is on it they may not see.
            let by = status.packages.iter_mut().map(|package| &mut package.deployment);
            by.chain(status.deviations.iter_mut().map(|deviation| &mut deviation.deployment)).for_each(|by| {
                *by = crate::explain::owner(by, &|kind, name| sight.sees(kind, name));
            });
            value(status)
        }
        Kind::Deployment => {
            // What it waits for may name devices.
            let seen = |deferred: &Deferred| Deferred {
                waiting_on: crate::explain::seen(&deferred.waiting_on, &|kind, name| sight.sees(kind, name)),
                ..deferred.clone()
            };
            let deferred: Vec<Deferred> = view.deferred.get(name).into_iter().flatten().map(seen).collect();
            let mut status = report::deployment(desired, &view.observed, &deferred, name);
            if !sight.is_all() {
                status.counts = report::counts_of(desired, &view.observed, name, &|device| sight.sees_device(device));
            }
            value(status)
        }
        Kind::AlertRule => value(report::rule(desired, name, view.beyond_limit.get(name).copied().unwrap_or_default())),
        Kind::Repository if view.repositories.contains_key(name) => value(&view.repositories[name]),
        Kind::Role => {
            let deferred = view.deferred.get(&name.login()).map(Vec::as_slice).unwrap_or_default();
            let seen = |deferred: &Deferred| Deferred {
                waiting_on: crate::explain::seen(&deferred.waiting_on, &|kind, name| sight.sees(kind, name)),
                ..deferred.clone()
            };
            let deferred: Vec<Deferred> = deferred.iter().map(seen).collect();
            value(report::role(desired, &view.observed, &deferred, name, view.roles.get(name)))
        }
        kind => value(report::other(desired, kind, name)),
    }
}

/// The schema of an object with what is added to it.
pub(super) fn object_of(kind: Kind) -> Shape {
    Arc::new(move |schemas: &mut SchemaGenerator| object_schema(schemas, kind))
}

fn object_schema(schemas: &mut SchemaGenerator, kind: Kind) -> Schema {
    let mut schema = crds::schema(kind).clone();
    say_null(&mut schema);
    schema["properties"]["metadata"] = json!({
        "type": "object",
        "required": ["namespace", "name"],
        "properties": {
            "namespace": {"type": "string"},
            "name": {"type": "string"},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
        },
    });
    schema["properties"]["apiVersion"] = json!({"type": "string"});
    schema["properties"]["kind"] = json!({"type": "string", "const": kind.as_str()});
    schema["properties"]["origin"] = json!({
        "type": "object",
        "properties": {"commit": {"type": "string"}, "author": {"type": "string"}},
    });
    if kind == Kind::Device {
        schema["properties"]["uses"] = json!({"type": "string", "description": "What it uses just now, in a few words."});
        schema["properties"]["lastChange"] = json!({
            "type": "object",
            "description": "What a Deployment that one may see changed on it last.",
            "properties": {
                "deployment": {"type": "string", "description": "As `NAMESPACE/NAME`."},
                "revision": {"type": "string"},
                "commit": {"type": "string"},
                "at": {"type": "string", "format": "date-time"},
            },
        });
        schema["properties"]["effective"] = json!({
            "type": "object",
            "description": "What its class adds to it.",
            "properties": {"address": {"type": "string"}, "labels": {"type": "object", "additionalProperties": {"type": "string"}}},
        });
    }
    schema["required"] = json!(["apiVersion", "kind", "metadata"]);
    schemas.definitions_mut().insert(kind.as_str().to_owned(), schema);
    json_schema!({"$ref": format!("#/components/schemas/{}", kind.as_str())})
}

/// A custom resource's schema is that of OpenAPI 3.0, whose `nullable` says nothing in 3.1: there null is a type among others.
fn say_null(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.get("nullable") == Some(&json!(true)) {
                fields.remove("nullable");
                if let Some(of) = fields.get_mut("type").filter(|of| of.is_string()) {
                    *of = json!([of, "null"]);
                }
                if let Some(Value::Array(words)) = fields.get_mut("enum")
                    && !words.contains(&Value::Null)
                {
                    words.push(Value::Null);
                }
            }
            fields.values_mut().for_each(say_null);
        }
        Value::Array(all) => all.iter_mut().for_each(say_null),
        _ => {}
    }
}

/// The schema of a list of objects.
fn list_of(kind: Kind) -> Shape {
    Arc::new(move |schemas: &mut SchemaGenerator| {
        let item = object_schema(schemas, kind);
        let mut schema = json_schema!({
            "type": "object",
            "required": ["items", "total", "cursor"],
            "properties": {
                "items": {"type": "array", "items": item},
                "total": {"type": "integer", "description": "Of those that one may see."},
                "cursor": {"type": ["string", "null"], "description": "Where the next page begins; null: this was the last."},
            },
        });
        if kind == Kind::Device {
            let counts = json!({"type": "object", "additionalProperties": {"type": "object", "additionalProperties": {"type": "integer"}}});
            if let Some(properties) = schema.get_mut("properties") {
                properties["facets"] = counts;
            }
        }
        schema
    })
}

/// What lists share.
type SharedLists = Extension<Arc<Lists>>;
