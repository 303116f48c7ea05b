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
use serde::{Deserialize, Serialize};
use store::FIVE_MINUTES_KEPT;

use super::body;
use crate::backtest::{Question, TURNS, page, rule};
use crate::rest::caller::Caller;
use crate::rest::refusal::{field, say};
use crate::rest::sight::Seen;
use crate::shared::{Shared, read};

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

/// What came of it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Backtest")]
pub(super) struct Told {
    /// Devices that the rule selects, of those that one may see.
    selected: usize,
    /// What came of each that was looked at.
    #[schemars(with = "Vec<OfDevice>")]
    devices: Vec<crate::backtest::Of>,
    /// Readings that were looked at.
    readings: usize,
    /// What the rule asks for that is not stored, and so unknown.
    not_kept: Vec<String>,
    /// It asks for labels or variables, which are as they are today.
    as_of_today: bool,
    /// In seconds since 1970.
    from: i64,
    /// In seconds since 1970.
    to: i64,
    /// Where it goes on, as `after`; null: that was all.
    #[schemars(with = "Option<String>")]
    next: Option<Name>,
}

/// What came of one device.
#[derive(JsonSchema)]
#[schemars(rename = "BacktestDevice", rename_all = "camelCase")]
#[expect(dead_code, reason = "it says how `crate::backtest::Of` looks")]
struct OfDevice {
    device: String,
    /// Each time that it would have fired, the oldest first.
    firings: Vec<Firing>,
    /// How many more.
    more: usize,
    /// Seconds for which it would have fired.
    fired: i64,
    /// Of them while a rollout was under way.
    in_rollouts: i64,
    /// Seconds of which nobody can say how it was.
    unknown: i64,
    /// Why not, at the last of them.
    reason: String,
    /// It was not looked at to the end.
    cut: bool,
}

/// One time that it would have fired.
#[derive(JsonSchema)]
#[schemars(rename = "BacktestFiring", rename_all = "camelCase")]
#[expect(dead_code, reason = "it says how what came of a rule looks")]
struct Firing {
    from: Timestamp,
    /// null: it would fire still.
    to: Option<Timestamp>,
    /// The number that was compared when it began.
    value: Option<f64>,
    /// Seconds of it while a rollout was under way.
    in_rollouts: i64,
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
        let _turn = match TURNS.take().await {
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
            let (not_kept, as_of_today, selected) = (answer.not_kept, answer.as_of_today, selected.len());
            return Json(Told { selected, devices, readings, not_kept, as_of_today, from, to, next: after }).into_response();
        }
    }
}
