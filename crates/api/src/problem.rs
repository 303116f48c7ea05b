//! Answers that say no, as RFC 9457 has them.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The media type of such an answer.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";
/// Seconds after which who could not be answered just now may come again.
const AGAIN: u64 = 5;

/// An answer that says no.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Always `about:blank`: the status says what sort of problem it is.
    #[serde(rename = "type", default = "blank")]
    pub kind: String,
    /// The status in words.
    #[serde(default)]
    pub title: String,
    /// The status.
    #[serde(default)]
    pub status: u16,
    /// What is wrong, and what to do.
    #[serde(default)]
    pub detail: String,
    /// What is wrong with which field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Fault>,
    /// What became of an object since it was seen, or of a trial what it would become, as `diff -u` says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
    /// The same as `detail`: command lines of before read this.
    #[serde(default)]
    pub error: String,
}

/// What is wrong with one field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fault {
    /// Which, as RFC 6901 has it: `/spec/address`.
    pub pointer: String,
    /// What is wrong with it.
    pub detail: String,
    /// The object, where it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The file it stands in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// The column, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
}

fn blank() -> String {
    "about:blank".into()
}

impl Problem {
    /// One.
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Box<Self> {
        let detail = detail.into();
        Box::new(Self {
            kind: blank(),
            title: status.canonical_reason().unwrap_or("Problem").to_owned(),
            status: status.as_u16(),
            error: detail.clone(),
            detail,
            errors: Vec::new(),
            diff: None,
        })
    }

    /// What was sent can't be understood.
    pub(crate) fn bad(detail: impl Into<String>) -> Box<Self> {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// There is no such thing, or none that one may know of.
    pub(crate) fn missing(detail: impl Into<String>) -> Box<Self> {
        Self::new(StatusCode::NOT_FOUND, detail)
    }
}

impl From<store::Error> for Box<Problem> {
    fn from(error: store::Error) -> Self {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self)).into_response();
        complete(&mut response);
        response
    }
}

/// What every answer that says no carries.
pub(crate) fn complete(response: &mut Response) {
    let is_away = response.status() == StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    if is_away {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(AGAIN));
    }
}

impl IntoResponse for Box<Problem> {
    fn into_response(self) -> Response {
        (*self).into_response()
    }
}

/// Such an answer.
pub(crate) fn problem(status: StatusCode, error: impl Into<String>) -> Response {
    Problem::new(status, error).into_response()
}
