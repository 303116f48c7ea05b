//! What a rule would have done, on the devices that who asks may see.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use crds::{Kind, Object, Verb};
use jiff::Timestamp;
use reconcile::access::What;
use reconcile::{Device, Name};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use store::FIVE_MINUTES_KEPT;

use super::body;
use crate::backtest::{Question, page, rule, turn};
use crate::rest::caller::Caller;
use crate::rest::refusal::{field, say};
use crate::rest::sight::Seen;
use crate::server::{Shared, read};

/// Time after which the answer is what there is by then, with where it goes on.
const LIMIT: Duration = Duration::from_secs(20);
/// The longest expression; what a rule may have is far shorter.
const MAX_EXPR: usize = 4096;

/// Which rule, over which time.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "BacktestQuestion")]
pub(crate) struct Asked {
    /// `namespace/name`, or a name in `default`.
    rule: String,
    /// Another condition than the rule has.
    expr: Option<String>,
    /// How far back, such as `30d`.
    since: String,
    /// Only devices after this one, where an answer had `next`.
    after: Option<String>,
}

pub(super) async fn backtest(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Seen(sight): Seen,
    bytes: Bytes,
) -> Response {
    let Asked { rule: of, expr, since, after } = match body(&bytes) {
        Ok(asked) => asked,
        Err(refusal) => return refusal,
    };
    let Ok(since) = since.parse::<crds::Duration>() else { return field("/since", "a time such as 30d or 12h") };
    if expr.as_ref().is_some_and(|expr| expr.len() > MAX_EXPR) {
        return field("/expr", format!("{MAX_EXPR} bytes at most"));
    }
    let name = Name::parse(&of);
    let desired = sight.desired.clone();
    let object = desired.objects.get(&(Kind::AlertRule, name.clone())).filter(|object| {
        read(&shared, |view| caller.may(view, Verb::View, Kind::AlertRule, name.namespace(), What::Object(object)).is_ok())
    });
    let Some(Object::AlertRule(object)) = object.map(|object| &**object) else {
        return say(StatusCode::NOT_FOUND, format!("there is no alertrule {name}"));
    };
    let spec = expr.map(|expr| crds::AlertRuleSpec { expr, ..object.spec.clone() });
    let now = Timestamp::now().as_second();
    let (from, to) = (now - since.0.as_secs().clamp(1, FIVE_MINUTES_KEPT), now);
    let question = Question { rule: name, spec, from, to, after: after.as_deref().map(Name::parse) };
    let rule = match rule(&desired, &question) {
        Ok(rule) => rule,
        Err(wrong) => return field("/expr", wrong),
    };
    let (Ok(start), Ok(end)) = (Timestamp::from_second(from), Timestamp::from_second(to)) else { return field("/since", "too long") };
    let (seen, of) = (sight.devices().await, rule.clone());
    let select = move || {
        let devices = seen.iter().filter_map(|at| sight.fleet.rows[*at as usize].device.as_ref());
        devices.filter(|device| of.applies_to(device)).cloned().collect()
    };
    let selected: Vec<Arc<Device>> = match tokio::task::spawn_blocking(select).await {
        Ok(selected) => selected,
        Err(error) => return say(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    let begin = Instant::now();
    let (mut devices, mut readings, mut after) = (Vec::new(), 0, question.after.clone());
    loop {
        let _turn = match turn().await {
            Ok(turn) => turn,
            Err(why) => return say(StatusCode::SERVICE_UNAVAILABLE, why),
        };
        let answer = match page(&shared, (&desired, &selected), &rule, after.as_ref(), (start, end)).await {
            Ok(answer) => answer,
            Err(error) => return say(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        };
        devices.extend(answer.devices);
        readings += answer.readings;
        after = answer.next;
        if after.is_none() || begin.elapsed() > LIMIT {
            return Json(json!({
                "selected": selected.len(),
                "devices": devices,
                "readings": readings,
                "notKept": answer.not_kept,
                "asOfToday": answer.as_of_today,
                "from": from,
                "to": to,
                "next": after,
            }))
            .into_response();
        }
    }
}
