//! What is asked of sign-in, users and tokens: small JSON, and no more.

use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use axum::response::Response;
use serde::de::DeserializeOwned;

use crate::problem::problem;

/// The largest body: a user with two hundred groups.
const BODY: usize = 64 * 1024;

/// A body that was read.
pub(crate) struct Asked<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Asked<T> {
    type Rejection = Response;

    async fn from_request(request: Request, _: &S) -> Result<Self, Response> {
        // A form of another site's page can be sent without asking; JSON can't.
        let said = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let kind = said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if !["application/json", "application/merge-patch+json"].contains(&kind.as_str()) {
            return Err(problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send application/json"));
        }
        let body = axum::body::to_bytes(request.into_body(), BODY).await;
        let body = body.map_err(|_| problem(StatusCode::PAYLOAD_TOO_LARGE, format!("send {} KiB at most", BODY / 1024)))?;
        serde_json::from_slice(&body).map(Self).map_err(|error| problem(StatusCode::BAD_REQUEST, told(&error)))
    }
}

/// What is wrong with a body, without its values: one of them may be a password.
fn told(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if ["unknown field", "missing field", "duplicate field"].iter().any(|known| text.starts_with(known)) {
        return text;
    }
    format!("the body is not what is expected here, at line {} column {}", error.line(), error.column())
}
