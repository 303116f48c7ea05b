//! By an HTTP request, in the shape that the other side knows. Each body is made by a serializer, never by a template.

mod alertmanager;
mod generic;
mod pagerduty;
pub(crate) mod sign;
mod slack;
mod teams;

use crds::WebhookFormat;
use jiff::Timestamp;
use reconcile::alerting::Notice;
use reconcile::alerting::receiver::Webhook;
use reqwest::header::{HeaderName, HeaderValue};
use serde_json::Value;

use crate::channels::{Channels, Delivered, Reached};
use crate::error::{Category, Error};
use crate::http::{self, Request};
use crate::secret::Secret;
use crate::sms;
use crate::words::View;

/// Tries once. `secret` comes with the key that the Receiver names, if it names one.
pub(crate) async fn deliver(
    channels: &Channels,
    notice: &Notice,
    view: &View,
    webhook: &Webhook,
    (secret, key): (&Secret, Option<&str>),
    reached: &Reached,
    now: Timestamp,
) -> Result<Delivered, Error> {
    let url = match &webhook.url {
        Some(url) => http::url(url)?,
        None => http::url(secret.needed("url")?)?,
    };
    let (url, body) = match webhook.format {
        WebhookFormat::Generic => (url, generic::body(notice, view)),
        WebhookFormat::Slack => (url, slack::body(view)),
        WebhookFormat::Teams => (url, teams::body(view)),
        WebhookFormat::Alertmanager => (alertmanager::place(url), alertmanager::body(notice, view)),
        WebhookFormat::PagerDuty => {
            let key = secret.needed(key.unwrap_or("routingKey"))?;
            return pagerduty::deliver(channels, notice, view, (&url, key, secret), reached, now).await;
        }
    };
    let mut request = Request::post(url, "application/json", body.to_string().into_bytes());
    headers(&mut request, notice, webhook.format, (secret, key), now)?;
    let server = request.server();
    let answer = channels.http.send(request, secret, false, now).await?;
    http::judged(&server, &answer, secret)?;
    Ok(Delivered { reached: vec![server], notes: Vec::new() })
}

fn headers(
    request: &mut Request,
    notice: &Notice,
    format: WebhookFormat,
    (secret, key): (&Secret, Option<&str>),
    now: Timestamp,
) -> Result<(), Error> {
    match format {
        WebhookFormat::Generic => {
            let id = HeaderValue::from_str(&notice.id)
                .map_err(|_| Error::new(Category::Receiver, "the notice's id is none that a header takes"))?;
            request.headers.insert(HeaderName::from_static("idempotency-key"), id);
            let key = key.unwrap_or("key");
            if let Some(key) = secret.bytes(key) {
                for (name, value) in sign::sign(key, &notice.id, now, &request.body)? {
                    let value = HeaderValue::from_str(&value)
                        .map_err(|_| Error::new(Category::Secret, "a signature is none that a header takes"))?;
                    request.headers.insert(HeaderName::from_static(name), value);
                }
            } else if secret.bytes("url").is_none() {
                // A Secret is named, and what it is there for is not in it: better nothing than something unsigned.
                if !secret.texts().is_empty() {
                    return Err(Error::new(Category::Secret, format!("the secret has no `{key}` to sign with")));
                }
            }
        }
        WebhookFormat::Alertmanager => {
            if let Some(value) = sms::credentials(secret)? {
                request.headers.insert(reqwest::header::AUTHORIZATION, value);
            }
        }
        WebhookFormat::Slack | WebhookFormat::Teams | WebhookFormat::PagerDuty => {}
    }
    Ok(())
}

/// So many alerts of a notice that the body is no larger than the other side takes: all of them, or half as many until it fits.
fn fitting(
    view: &View,
    most_alerts: usize,
    most_bytes: usize,
    body: impl Fn(&[(&'static str, &crate::words::Line)], u64) -> Value,
) -> Value {
    let lines: Vec<_> = view.lines().collect();
    let total = view.count.firing + view.count.resolved;
    let mut shown = lines.len().min(most_alerts);
    loop {
        let left = total.saturating_sub(u64::try_from(shown).unwrap_or(u64::MAX));
        let body = body(&lines[..shown], left);
        if shown == 0 || body.to_string().len() <= most_bytes {
            return body;
        }
        shown /= 2;
    }
}

/// Words for what is not shown.
fn more(left: u64) -> String {
    format!("and {left} more that {} not listed", if left == 1 { "is" } else { "are" })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The texts of a body.
    fn texts(body: &Value) -> Vec<&str> {
        match body {
            Value::String(text) => vec![text],
            Value::Array(all) => all.iter().flat_map(texts).collect(),
            Value::Object(all) => all.values().flat_map(texts).collect(),
            _ => Vec::new(),
        }
    }

    /// Whatever a notice holds, people get one that moves no cursor and is no larger than the other side takes, and programs get it back.
    #[test]
    fn fuzz_bodies() {
        crate::fuzz::run(env!("CARGO_MANIFEST_DIR"), "notice", &crate::words::FUZZ, 4_000, |bytes| {
            let Some(notice) = crate::words::fuzzed(bytes) else { return };
            let view = View::new(&notice, Some("https://evenkeel.example.com/alerts"));
            for (body, most) in [(slack::body(&view), 40_000), (teams::body(&view), 25_000)] {
                assert!(body.to_string().len() <= most, "{body}");
                assert!(texts(&body).iter().all(|text| !text.contains(|c: char| c.is_control() && c != '\n')), "{body}");
            }
            for body in [generic::body(&notice, &view), alertmanager::body(&notice, &view)] {
                assert_eq!(serde_json::from_str::<Value>(&body.to_string()).unwrap(), body);
            }
        });
    }
}
