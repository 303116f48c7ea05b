//! PagerDuty's Events API version 2: developer.pagerduty.com, "Send an Alert Event".
//!
//! An event is about one alert, and PagerDuty groups them by itself: so each alert of a notice is one, under a key of its own. The same one
//! twice changes nothing there.

use jiff::Timestamp;
use reconcile::alerting::text::cut;
use reconcile::alerting::{Notice, Said};
use reqwest::Url;
use serde_json::{Value, json};

use crate::channels::{Channels, Delivered, Reached, Told};
use crate::error::{Category, Error};
use crate::http::{self, Request};
use crate::secret::Secret;
use crate::words::{Line, View};

/// Characters of a summary, by their rule.
const SUMMARY: usize = 1024;

/// Tries once to tell each alert that they don't have yet.
pub(super) async fn deliver(
    channels: &Channels,
    notice: &Notice,
    view: &View,
    (url, routing_key, secret): (&Url, &str, &Secret),
    reached: &Reached,
    now: Timestamp,
) -> Result<Delivered, Error> {
    let mut told = Told::new(reached);
    let all: Vec<_> = notice.firing.iter().chain(&notice.resolved).zip(view.firing.iter().chain(&view.resolved)).collect();
    for (said, line) in told.left(&all, |(said, _)| said.id.as_str()).into_iter().copied() {
        let body = event(view, (said, line), routing_key);
        let request = Request::post(url.clone(), "application/json", body.to_string().into_bytes());
        let server = request.server();
        let answer = channels.http.send(request, secret, false, now).await;
        match answer.and_then(|answer| http::judged(&server, &answer, secret)) {
            Ok(()) => told.took(&said.id).await,
            Err(error) => {
                // What is not about this one, the others would only hear again.
                let ends = error.category != Category::Refused;
                told.missed(error);
                if ends {
                    break;
                }
            }
        }
    }
    told.outcome(Vec::new())
}

fn event(view: &View, (said, line): (&Said, &Line), routing_key: &str) -> Value {
    let severity = match line.severity {
        "critical" => "critical",
        "warning" => "warning",
        _ => "info",
    };
    let links: Vec<Value> = view.url.iter().map(|url| json!({"href": url, "text": "Evenkeel"})).collect();
    json!({
        "routing_key": routing_key,
        "event_action": if said.ended.is_none() { "trigger" } else { "resolve" },
        "dedup_key": said.id,
        "client": "Evenkeel",
        "client_url": view.url.as_deref().unwrap_or_default(),
        "links": links,
        "payload": {
            "summary": cut(&format!("{}: {}", line.device, line.summary), SUMMARY),
            "source": line.device,
            "severity": severity,
            "timestamp": said.since,
            "group": view.title,
            "class": said.rule.to_string(),
            "custom_details": {"rule": line.rule, "labels": line.labels, "value": line.value.filter(|value| value.is_finite()), "when": line.when,
                "last_change": line.change, "behind": line.behind, "reason": view.reason, "notice": view.id},
        },
    })
}
