//! Answers: lists in pages, parts of objects, and what did not change since it was asked for last.

use axum::body::Bytes;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::asked::{Asked, short};
use crate::problem::Problem;

/// What a handler answers.
pub(super) type Answer = Result<Response, Box<Problem>>;

/// Parts of an item that can be asked for.
const FIELDS: usize = 64;
/// Parts of a path to one: a label's key has some dots too.
const PARTS: usize = 8;
/// Bytes of a cursor: a name and a number.
const CURSOR: usize = 1024;

/// A document as it is sent, with its tag.
#[derive(Clone)]
pub(super) struct Rendered {
    tag: String,
    body: Bytes,
}

impl Rendered {
    pub(super) fn of(value: &impl Serialize) -> Result<Self, Box<Problem>> {
        let body = bytes(value)?;
        Ok(Self { tag: format!("W/\"{}\"", digest(&body)), body: body.into() })
    }

    pub(super) fn len(&self) -> usize {
        self.body.len()
    }

    /// Answers with it, or that it is as it was.
    pub(super) fn answer(self, asked: &Asked) -> Response {
        tagged(asked, &self.tag, self.body)
    }
}

/// Answers with a document, or that it is as it was.
pub(super) fn document(asked: &Asked, value: &impl Serialize) -> Answer {
    Ok(Rendered::of(value)?.answer(asked))
}

/// Answers with an object: its tag says how it is written and how it stands, and whoever changes it need only know the first.
pub(super) fn object(asked: &Asked, manifest: &str, value: &impl Serialize) -> Answer {
    let body = bytes(value)?;
    let tag = format!("\"{manifest}.{}\"", digest(&body));
    Ok(tagged(asked, &tag, body.into()))
}

/// What the tag of an object begins with: how it is written.
pub(crate) fn manifest_tag(object: &crds::Object) -> String {
    let mut value = object.to_value();
    value.as_object_mut().map(|value| value.remove("status"));
    digest(value.to_string().as_bytes())
}

fn bytes(value: &impl Serialize) -> Result<Vec<u8>, Box<Problem>> {
    serde_json::to_vec(value).map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

pub(super) fn digest(bytes: &[u8]) -> String {
    hex::encode(&Sha256::digest(bytes)[..8])
}

fn tagged(asked: &Asked, tag: &str, body: Bytes) -> Response {
    let bare = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let is_known = asked.none_match().is_some_and(|known| known.split(',').any(|known| known.trim() == "*" || bare(known) == bare(tag)));
    let mut response = match is_known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
    };
    if let Ok(tag) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// Where the next page begins: after this item, which was at this place.
pub(super) fn cursor(at: usize, item: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{at} {item}"))
}

/// Where a page begins, among items that are sorted by nothing but what the cursor holds or else are found by it.
pub(super) fn begin<'a>(asked: &Asked, count: usize, item: impl Fn(usize) -> &'a str) -> Result<usize, Box<Problem>> {
    let Some(text) = asked.one("cursor") else { return Ok(0) };
    let (at, name) = opened(text).ok_or_else(|| Problem::bad("cursor: take it from the answer before"))?;
    if at < count && item(at) == name {
        return Ok(at + 1);
    }
    // It moved, or is gone: then what stood behind it is now at its place.
    Ok((0..count).find(|at| item(*at) == name).map_or_else(|| at.min(count), |at| at + 1))
}

/// What a cursor says.
pub(super) fn opened(text: &str) -> Option<(usize, String)> {
    let bytes = (text.len() <= CURSOR).then(|| URL_SAFE_NO_PAD.decode(text).ok())??;
    let text = String::from_utf8(bytes).ok()?;
    let (at, name) = text.split_once(' ')?;
    Some((at.parse().ok()?, name.to_owned()))
}

/// The parts of items that are asked for.
pub(super) struct Fields(Vec<String>);

impl Fields {
    pub(super) fn of(asked: &Asked) -> Result<Self, Box<Problem>> {
        let fields: Vec<String> = asked.words("fields").map(str::to_owned).collect();
        if fields.len() > FIELDS {
            return Err(Problem::bad(format!("fields: more than {FIELDS}")));
        }
        let is_path =
            |field: &String| field.len() <= 256 && field.split('.').count() <= PARTS && field.split('.').all(|part| !part.is_empty());
        match fields.iter().find(|field| !is_path(field)) {
            Some(wrong) => Err(Problem::bad(format!("fields: `{}` is no path such as metadata.name", short(wrong)))),
            None => Ok(Self(fields)),
        }
    }

    /// Whether anything of a part at the top is asked for.
    pub(super) fn wants(&self, part: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|field| field.split('.').next() == Some(part))
    }

    /// What is asked for of some.
    pub(super) fn of_items(&self, items: Vec<Value>) -> Vec<Value> {
        items.into_iter().map(|item| self.of_item(item)).collect()
    }

    /// What is asked for of an item.
    pub(super) fn of_item(&self, item: Value) -> Value {
        if self.0.is_empty() {
            return item;
        }
        let mut picked = Value::Object(Map::new());
        for field in &self.0 {
            pick(&item, field, &mut picked);
        }
        picked
    }
}

/// Takes over what a path leads to. A key may have dots in it, so the longest that is there counts.
fn pick(from: &Value, path: &str, into: &mut Value) {
    match (from, into) {
        (Value::Object(from), Value::Object(into)) => {
            let ends = path.match_indices('.').map(|(at, _)| at).chain([path.len()]).collect::<Vec<_>>();
            let Some((end, found)) = ends.into_iter().rev().find_map(|end| Some((end, from.get(&path[..end])?))) else { return };
            let key = path[..end].to_owned();
            let Some(rest) = path.get(end + 1..).filter(|rest| !rest.is_empty()) else {
                into.insert(key, found.clone());
                return;
            };
            let empty = || match found {
                Value::Array(items) => Value::Array(vec![Value::Object(Map::new()); items.len()]),
                _ => Value::Object(Map::new()),
            };
            pick(found, rest, into.entry(key).or_insert_with(empty));
        }
        (Value::Array(from), Value::Array(into)) => from.iter().zip(into).for_each(|(from, into)| pick(from, path, into)),
        _ => {}
    }
}
