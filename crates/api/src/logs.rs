//! `/v1/logs`: lines of logs, the newest first.

pub mod templates;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::json;
use store::{Place, Search};

use crate::problem::problem;
use crate::shared::Shared;

/// Lines in one answer where nothing is said.
const LIMIT: usize = 100;

/// Which lines.
#[derive(Debug, Deserialize)]
pub(crate) struct Lines {
    device: Option<String>,
    since: Option<jiff::Timestamp>,
    #[serde(default)]
    words: String,
    severity: Option<u32>,
    program: Option<String>,
    template: Option<String>,
    /// `received-number` of the last line of the page before.
    before: Option<String>,
    after: Option<u64>,
    limit: Option<usize>,
}

pub(crate) async fn lines(State(shared): State<Shared>, Query(query): Query<Lines>) -> Response {
    let before = match query.before.as_deref().map(place) {
        Some(None) => {
            return problem(StatusCode::BAD_REQUEST, "before: write RECEIVED-NUMBER, as the last line of the page before has them");
        }
        before => before.flatten(),
    };
    let search = Search {
        device: query.device,
        since: query.since.map(jiff::Timestamp::as_microsecond),
        until: None,
        words: query.words,
        severity: query.severity,
        program: query.program,
        template: query.template,
        before,
        after: query.after,
        limit: query.limit.unwrap_or(LIMIT),
    };
    match shared.store.search_logs(&search).await {
        Ok(lines) => Json(lines).into_response(),
        Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    }
}

/// `/v1/logs/senders`: who sent lines and is no device, and how it stands with the journals that are read.
pub(crate) async fn senders(State(shared): State<Shared>) -> Response {
    let (senders, journals) = {
        let view = shared.view.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        (view.senders.clone(), view.journals.clone())
    };
    let journals: std::collections::BTreeMap<String, _> = journals.into_iter().map(|(name, journal)| (name.to_string(), journal)).collect();
    Json(json!({"senders": senders.senders, "forgotten": senders.forgotten, "journals": journals})).into_response()
}

pub(crate) fn place(text: &str) -> Option<Place> {
    let (received, number) = text.rsplit_once('-')?;
    Some(Place { received: received.parse().ok()?, number: number.parse().ok()? })
}
