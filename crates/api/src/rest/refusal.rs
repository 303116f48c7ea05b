//! What is said to who asked for a change that is not made: problem details (RFC 9457), with the fields that are wrong.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use crds::{Kind, Verb};
use reconcile::access::What;
use reconcile::{Name, Target};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::caller::Caller;
use crate::change::{Fault, Refusal};
use crate::problem::complete;
use crate::shared::{Shared, read};

/// A field that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FieldError {
    /// Where in the object, as a JSON pointer (RFC 6901).
    pub(crate) pointer: String,
    /// What is wrong, and what to do.
    pub(crate) detail: String,
    /// The object, where it is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) object: Option<String>,
    /// The file that it would stand in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<String>,
    /// Line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<usize>,
    /// Column, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) column: Option<usize>,
}

/// Problem details of a change that was refused.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Details {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
    /// The same: every problem has it.
    error: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    /// What became of the object since it was seen, or of a trial what it would become, as `diff -u` says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    diff: Option<String>,
}

pub(super) fn say(status: StatusCode, detail: impl Into<String>) -> Response {
    with(status, detail.into(), Vec::new(), None)
}

fn with(status: StatusCode, detail: String, errors: Vec<FieldError>, diff: Option<String>) -> Response {
    let title = status.canonical_reason().unwrap_or("Problem");
    let details = Details { r#type: "about:blank", title, status: status.as_u16(), error: detail.clone(), detail, errors, diff };
    let mut response = (status, Json(details)).into_response();
    complete(&mut response);
    response
}

/// It is not any more as it was expected to be.
pub(super) fn moved(detail: String, diff: Option<String>) -> Response {
    with(StatusCode::PRECONDITION_FAILED, detail, Vec::new(), diff)
}

/// One field is wrong.
pub(super) fn field(pointer: &str, detail: impl Into<String>) -> Response {
    let detail = detail.into();
    let error = FieldError { pointer: pointer.into(), detail: detail.clone(), object: None, file: None, line: None, column: None };
    with(StatusCode::UNPROCESSABLE_ENTITY, format!("{pointer}: {detail}"), vec![error], None)
}

/// What was sent is not as it has to be; with no pointer it is wrong as a whole.
pub(super) fn mistyped(pointer: String, detail: String) -> Response {
    if pointer.is_empty() {
        return say(StatusCode::BAD_REQUEST, detail);
    }
    let error = FieldError { pointer, detail: detail.clone(), object: None, file: None, line: None, column: None };
    with(StatusCode::BAD_REQUEST, detail, vec![error], None)
}

/// Why a change of an object was not made.
pub(super) fn response(shared: &Shared, caller: &Caller, kind: Kind, name: &Name, refusal: Refusal) -> Response {
    match refusal {
        Refusal::Conflict { detail, diff } => with(StatusCode::CONFLICT, detail, Vec::new(), diff),
        Refusal::Invalid(faults) => invalid(shared, caller, &Target::of(kind, name.clone()), faults, None),
        Refusal::Forbidden(detail) => say(StatusCode::FORBIDDEN, detail),
        Refusal::Missing => say(StatusCode::NOT_FOUND, format!("there is no {} {name}", kind.as_str().to_lowercase())),
        Refusal::Never(detail) => say(StatusCode::METHOD_NOT_ALLOWED, detail),
        Refusal::Away(detail) => say(StatusCode::SERVICE_UNAVAILABLE, detail),
    }
}

/// What would be wrong, and of a trial also what it would become.
pub(super) fn invalid(shared: &Shared, caller: &Caller, own: &Target, faults: Vec<Fault>, diff: Option<String>) -> Response {
    let errors = seen(shared, caller, own, faults);
    let first = errors.first().map(|error| format!("{} {}", error.pointer, error.detail)).unwrap_or_default();
    let more = if errors.len() > 1 { format!(" (and {} more)", errors.len() - 1) } else { String::new() };
    with(StatusCode::UNPROCESSABLE_ENTITY, format!("it would not be right: {}{more}", first.trim()), errors, diff)
}

/// Faults as the caller may see them: of what they may not view, only that something is wrong.
pub(super) fn seen(shared: &Shared, caller: &Caller, own: &Target, faults: Vec<Fault>) -> Vec<FieldError> {
    let sees = |object: &str| {
        let Some(target) = Target::parse(object) else { return object.is_empty() };
        if target == *own {
            return true;
        }
        let (kind, name) = (target.kind(), target.name().clone());
        read(shared, |view| {
            let object = view.desired.objects.get(&(kind, name.clone()));
            object.is_some_and(|object| caller.may(view, Verb::View, kind, name.namespace(), What::Object(object)).is_ok())
        })
    };
    let masked = |text: String| {
        if caller.is_admin && caller.scopes.is_none() { text } else { masked(shared, &text, sees) }
    };
    let own_name = own.to_string();
    let mut hidden = false;
    let mut errors = Vec::new();
    for fault in faults {
        let Fault { object, pointer, detail, file, line, column, severity: _ } = fault;
        if !sees(&object) {
            hidden = true;
            continue;
        }
        let object = Some(object).filter(|object| *object != own_name && !object.is_empty());
        errors.push(FieldError { pointer, detail: masked(detail), object, file, line, column });
    }
    if hidden {
        let detail = "something that you may not see would not be right any more".to_owned();
        errors.push(FieldError { pointer: String::new(), detail, object: None, file: None, line: None, column: None });
    }
    errors
}

/// A text without the devices and Deployments that they may not see, be they named as `device/NAME` or by their name alone.
fn masked(shared: &Shared, text: &str, sees: impl Fn(&str) -> bool) -> String {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-./".contains(c);
    let is_there = |kind: Kind, word: &str| read(shared, |view| view.desired.objects.contains_key(&(kind, Name::parse(word))));
    let hidden = |word: &str| match Target::parse(word) {
        Some(_) => (!sees(word)).then(|| format!("{}/(hidden)", word.split('/').next().unwrap_or_default())),
        None => {
            let kinds = [Kind::Device, Kind::Deployment].into_iter();
            let mut there = kinds.filter(|kind| is_there(*kind, word)).map(|kind| Target::of(kind, Name::parse(word)).to_string());
            there.any(|target| !sees(&target)).then(|| "(hidden)".to_owned())
        }
    };
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_name) {
        let end = rest[start..].find(|c| !is_name(c)).map_or(rest.len(), |end| start + end);
        let whole = &rest[start..end];
        let word = whole.trim_end_matches(['.', '/', '-']);
        shown.push_str(&rest[..start]);
        shown.push_str(&hidden(word).unwrap_or_else(|| word.to_owned()));
        shown.push_str(&whole[word.len()..]);
        rest = &rest[end..];
    }
    shown + rest
}
